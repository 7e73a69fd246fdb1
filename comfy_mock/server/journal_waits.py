"""Waiting until something stands in a journal."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, cast

from comfy_mock.server.journal_queries import Queries
from comfy_mock.server.journal_records import (
    AnyRecord,
    EventRecord,
    HoldRecord,
    PromptRecord,
    RequestRecord,
    SocketRecord,
)
from comfy_mock.server.journal_wants import (
    EventFilter,
    PromptFilter,
    RecordT,
    RequestFilter,
    SocketFilter,
    Want,
    WantedEvent,
    WantedHold,
    WantedPrompt,
    WantedRequest,
    WantedSocket,
    wanted,
)
from comfy_mock.server.journal_words import call, listed, nothing_fits

if TYPE_CHECKING:
    from typing_extensions import Unpack

TIMEOUT_S = 10.0
_TIMEOUT_S_MAX = 1_000_000


class NeverCame(TimeoutError):
    """What was waited for did not come in time. The message says what came instead."""


class Waits(Queries):
    """Waiting for what is not in the journal yet; what is there already counts, and is returned at once.

    `count` is how many such records there must be; the last of them is returned. `timeout` is in real seconds. All
    raise `NeverCame` when it is over, `RuntimeError` where the server is reset meanwhile, `ValueError` for a count or a
    timeout that cannot be, and `TypeError` for an argument that there is none of. The twins `…_async` do not
    block the event loop, and must be used where that is the server's own (`Instance`); the others raise `RuntimeError`
    there. By the manual clock prompts run only in `advance` and `run_until`.
    """

    def wait_for_request(
        self, route: str = "*", *, count: int = 1, timeout: float = TIMEOUT_S, **which: Unpack[RequestFilter]
    ) -> RequestRecord:
        """Wait until such a request has come; with `status`, until it is answered. See `assert_request`."""
        __tracebackhide__ = True
        return self._wait(wanted(WantedRequest, {"route": route, **which}), count, timeout)

    async def wait_for_request_async(
        self, route: str = "*", *, count: int = 1, timeout: float = TIMEOUT_S, **which: Unpack[RequestFilter]
    ) -> RequestRecord:
        """`wait_for_request`, without blocking the event loop."""
        __tracebackhide__ = True
        want = wanted(WantedRequest, {"route": route, **which})
        return await self._wait_async(want, count, timeout)

    def wait_for_prompt(
        self, *, count: int = 1, timeout: float = TIMEOUT_S, **which: Unpack[PromptFilter]
    ) -> PromptRecord:
        """Wait until such a prompt was accepted. See `assert_prompt`."""
        __tracebackhide__ = True
        return self._wait(wanted(WantedPrompt, which), count, timeout)

    async def wait_for_prompt_async(
        self, *, count: int = 1, timeout: float = TIMEOUT_S, **which: Unpack[PromptFilter]
    ) -> PromptRecord:
        """`wait_for_prompt`, without blocking the event loop."""
        __tracebackhide__ = True
        return await self._wait_async(wanted(WantedPrompt, which), count, timeout)

    def wait_for_socket(
        self, *, count: int = 1, timeout: float = TIMEOUT_S, **which: Unpack[SocketFilter]
    ) -> SocketRecord:
        """Wait until such a WebSocket was opened; with `open=False`, until it is closed."""
        __tracebackhide__ = True
        return self._wait(wanted(WantedSocket, which), count, timeout)

    async def wait_for_socket_async(
        self, *, count: int = 1, timeout: float = TIMEOUT_S, **which: Unpack[SocketFilter]
    ) -> SocketRecord:
        """`wait_for_socket`, without blocking the event loop."""
        __tracebackhide__ = True
        return await self._wait_async(wanted(WantedSocket, which), count, timeout)

    def wait_for_event(
        self, event: str = "*", *, count: int = 1, timeout: float = TIMEOUT_S, **which: Unpack[EventFilter]
    ) -> EventRecord:
        """Wait until such a message was sent. See `assert_event`."""
        __tracebackhide__ = True
        return self._wait(wanted(WantedEvent, {"event": event, **which}), count, timeout)

    async def wait_for_event_async(
        self, event: str = "*", *, count: int = 1, timeout: float = TIMEOUT_S, **which: Unpack[EventFilter]
    ) -> EventRecord:
        """`wait_for_event`, without blocking the event loop."""
        __tracebackhide__ = True
        want = wanted(WantedEvent, {"event": event, **which})
        return await self._wait_async(want, count, timeout)

    def wait_for_hold(self, name: str | None = None, *, timeout: float = TIMEOUT_S) -> HoldRecord:
        """Wait until something is held under this name (None: under any)."""
        __tracebackhide__ = True
        return self._wait(_hold(name), 1, timeout)

    async def wait_for_hold_async(self, name: str | None = None, *, timeout: float = TIMEOUT_S) -> HoldRecord:
        """`wait_for_hold`, without blocking the event loop."""
        __tracebackhide__ = True
        return await self._wait_async(_hold(name), 1, timeout)

    def _wait(self, want: Want[RecordT], count: int, timeout: float) -> RecordT:
        __tracebackhide__ = True
        if self.is_written_here:
            raise RuntimeError("this would wait for itself: in the server's own event loop await the `_async` method")
        _check(count, timeout)
        come = threading.Event()
        waiting = _Waiting(want, count, come.set)
        with self.listening(waiting.offer, come.set) as records:
            waiting.offer_all(records)
            if not come.wait(timeout):
                raise self._never_came(want, count, timeout)
        return self._outcome(waiting)

    async def _wait_async(self, want: Want[RecordT], count: int, timeout: float) -> RecordT:
        __tracebackhide__ = True
        _check(count, timeout)
        loop, come = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
                loop.call_soon_threadsafe(come.set)

        waiting = _Waiting(want, count, wake)
        with self.listening(waiting.offer, wake) as records:
            waiting.offer_all(records)
            try:
                if not waiting.over:
                    await asyncio.wait_for(come.wait(), timeout)
            except asyncio.TimeoutError:
                raise self._never_came(want, count, timeout) from None
        return self._outcome(waiting)

    def _outcome(self, waiting: _Waiting[RecordT]) -> RecordT:
        __tracebackhide__ = True
        if not waiting.over:
            raise RuntimeError(f"what was waited for cannot come any more: {self.over}")
        return waiting.last

    def _never_came(self, want: Want[Any], count: int, timeout: float) -> NeverCame:
        records = self.of_kind(want.kind)
        fitting = [record for record in records if want.fits(record)]
        function = f"journal.wait_for_{want.name_in_calls}"
        claim = {**want.given(), **({} if count == 1 else {"count": count})}
        lines = [f"after {timeout:g} s there was not what was waited for:", f"    {call(function, claim)}"]
        if fitting:
            lines += [f"{len(fitting)} {want.plural} like this came:", *listed(fitting)]
        others = [record for record in records if record not in fitting]
        return NeverCame("\n".join([*lines, *nothing_fits(want, others, function), *self.circumstances()]))


class _Waiting(Generic[RecordT]):
    """Counts the records that fit; `wake` is called when there are enough, and `last` is the last of them then."""

    last: RecordT

    def __init__(self, want: Want[RecordT], count: int, wake: Callable[[], None]) -> None:
        self._want, self._count, self._wake = want, count, wake
        self._lock = threading.Lock()
        self._seen: set[RecordT] = set()

    @property
    def over(self) -> bool:
        """Whether there are enough."""
        return len(self._seen) == self._count

    def offer_all(self, records: list[AnyRecord]) -> None:
        for record in records:
            self.offer(record)

    def offer(self, record: AnyRecord) -> None:
        """A record came, or changed."""
        if not self._want.fits(record):
            return
        record = cast("RecordT", record)
        with self._lock:
            if record in self._seen or len(self._seen) >= self._count:
                return
            self._seen.add(record)
            self.last = record
            if len(self._seen) == self._count:
                self._wake()


def _check(count: int, timeout: float) -> None:
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"one waits for 1 record or more, not for {count!r}")
    if not isinstance(timeout, (int, float)) or not 0 <= timeout <= _TIMEOUT_S_MAX:
        raise ValueError(f"timeout is a number of seconds from 0 to {_TIMEOUT_S_MAX}, not {timeout!r}")


def _hold(name: str | None) -> WantedHold:
    return WantedHold() if name is None else WantedHold(name)
