"""How a journal is kept: within bounds, written in the server's event loop, read from any thread."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from comfy_mock.engine.answers import Answer
from comfy_mock.engine.clients import Payload
from comfy_mock.engine.script.director import Director, Gate
from comfy_mock.server.journal_payloads import weight_of
from comfy_mock.server.journal_records import (
    AnyRecord,
    EndRecord,
    EventRecord,
    HoldRecord,
    PromptRecord,
    RequestRecord,
    SocketRecord,
)

RECORDS_MAX = 100_000
"""How many records are kept; the oldest go."""

BYTES_MAX = 256 * 1024 * 1024
"""How much content (bodies, pictures) the records may keep alive; the oldest go."""

RecordT = TypeVar("RecordT", bound=AnyRecord)

Listener = Callable[[AnyRecord], None]


class Store:
    """The records of a journal, in the order in which they began.

    `director` is that of the server's script: its holds are noted, and its rules are those that must be used. `now`
    gives the simulated time, in seconds since the epoch. `began` is when the first record was made. At most
    `records_max` are kept; `dropped` says how many are gone.

    What is held is noted by `note_holds`, when the messages before it have been handed over: `on_hold` is called when
    that is due. Without one it is noted at once.
    """

    on_hold: Callable[[], None] | None = None

    lives_here: Callable[[], bool] = staticmethod(lambda: False)
    """Whether the running event loop is the server's own."""

    circumstances: Callable[[], list[str]] = staticmethod(list)
    """What keeps the server from going on now, in words."""

    over: str | None = None
    """Why nothing is written here any more; None while something may be."""

    def __init__(
        self,
        director: Director | None = None,
        *,
        now: Callable[[], float] = lambda: 0.0,
        records_max: int = RECORDS_MAX,
    ) -> None:
        self.director = director or Director()
        self.director.on_held = self._held
        self.began: float | None = None
        self.dropped = 0
        self._now, self.records_max = now, records_max
        self._records: deque[AnyRecord] = deque()
        self._weights: deque[int] = deque()
        self._bytes = 0
        self._prompts_accepted = 0
        self._new_holds: list[HoldRecord] = []
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()
        self._on_end: tuple[Callable[[], None], ...] = ()
        self._writer: int | None = None

    # -- writing

    def end(self, why: str) -> None:
        """Nothing is written here any more, and whoever waits is told `why`."""
        with self._lock:
            self.over, waiting = why, self._on_end
        for wake in waiting:
            wake()

    def request(
        self,
        at: float,
        method: str,
        raw_path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes = b"",
        client: tuple[str, int] | None = None,
    ) -> RequestRecord:
        """A request came, and its body, if it is to be read, was read."""
        self._writer = threading.get_ident()
        record = RequestRecord(self, at, method, raw_path, query, headers, body, client)
        self._add(record, len(body))
        return record

    def socket(self, at: float, connection: int | None, client_id: str | None) -> SocketRecord:
        """A WebSocket was opened; `connection` is None where its upgrade is refused."""
        self._writer = threading.get_ident()
        record = SocketRecord(self, at, connection, client_id)
        self._add(record)
        return record

    def event(self, at: float, payload: Payload, connections: tuple[int, ...]) -> EventRecord:
        """A message was handed over to these WebSockets, which may be none."""
        record = EventRecord(at, payload, connections)
        self._add(record, weight_of(payload))
        return record

    def handled(self, record: RequestRecord, answer: Answer) -> None:
        """`RequestRecord.handled`."""
        if _posts_prompt(record):
            self._note_prompt(record, answer.body, accepted=answer.status == 200)

    def answered(self, record: RequestRecord) -> None:
        """`RequestRecord.answered`."""
        with self._lock:
            if self._weights:
                # Counted as the newest record's: whose they are matters little, and finding out would take time.
                self._weights[-1] += len(record.answer)
                self._bytes += len(record.answer)
        self._tell(record)
        if record.prompt is None and _posts_prompt(record):
            self._note_prompt(record, record.answer, accepted=False)

    def ended(self, record: SocketRecord | HoldRecord, at: float) -> None:
        """A WebSocket is gone, or a hold was released."""
        self._tell(record)
        self._add(EndRecord(at, record))

    def _note_prompt(self, request: RequestRecord, answer: bytes, *, accepted: bool) -> None:
        request.prompt = PromptRecord(self._now(), request, answer)
        if accepted:
            self._prompts_accepted += 1
            request.prompt.place = self._prompts_accepted
        self._add(request.prompt)

    def _held(self, gate: Gate) -> None:
        record = HoldRecord(self._now(), gate.name)
        gate.on_open.append(lambda: self._released(record))
        self._new_holds.append(record)
        if self.on_hold is None:
            self.note_holds()
        else:
            self.on_hold()

    def note_holds(self) -> None:
        """Note what is held by now, all that was said before having been noted."""
        holds, self._new_holds = self._new_holds, []
        for record in holds:
            record.at = self._now()
            self._add(record)

    def _released(self, record: HoldRecord) -> None:
        self.note_holds()
        record.released_at = self._now()
        self.ended(record, record.released_at)

    def _add(self, record: AnyRecord, weight: int = 0) -> None:
        if self.began is None:
            self.began = record.at
        with self._lock:
            self._records.append(record)
            self._weights.append(weight)
            self._bytes += weight
            while len(self._records) > self.records_max or (self._bytes > BYTES_MAX and len(self._records) > 1):
                self._records.popleft()
                self._bytes -= self._weights.popleft()
                self.dropped += 1
        self._tell(record)

    def _tell(self, record: AnyRecord) -> None:
        for listener in self._listeners:
            listener(record)

    # -- reading

    @property
    def records(self) -> list[AnyRecord]:
        """All records, in the order in which they began."""
        with self._lock:
            return list(self._records)

    @contextlib.contextmanager
    def listening(self, listener: Listener, on_end: Callable[[], None]) -> Iterator[list[AnyRecord]]:
        """The records so far; `listener` is called with each that comes or changes after them, in the server's loop.

        `on_end` is called when none comes any more, also where that is so already.
        """
        with self._lock:
            records = list(self._records)
            self._listeners, self._on_end = (*self._listeners, listener), (*self._on_end, on_end)
            over = self.over is not None
        if over:
            on_end()
        try:
            yield records
        finally:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)
                self._on_end = tuple(other for other in self._on_end if other is not on_end)

    @property
    def is_written_here(self) -> bool:
        """Whether the server runs in this thread, so that nothing can come while the thread waits."""
        return self._writer == threading.get_ident() or self.lives_here()

    def of_kind(self, kind: type[RecordT]) -> list[RecordT]:
        """The records of one kind, in the order in which they began."""
        return [record for record in self.records if isinstance(record, kind)]


def _posts_prompt(record: RequestRecord) -> bool:
    return record.method == "POST" and record.path == "/prompt"
