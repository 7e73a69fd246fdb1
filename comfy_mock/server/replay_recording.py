"""A recording, read for being played: its requests with what they change, and its sockets with what came after what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from msgspec import UNSET

from comfy_contracts import jsontext
from comfy_contracts.har import Entry, Har, HarError, Response, WebSocketMessage, of_server
from comfy_contracts.replay_plan import Received, Step, received_before, steps_of
from comfy_mock.server.replay_ids import ids_in, names_in
from comfy_mock.server.replay_question import Question, recorded_question

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_RUNS = frozenset({"prompt", "queue", "history", "interrupt", "jobs"})
"""The routes, by their first word, that tell of prompts or change what becomes of them."""

_SILENT = frozenset({"history", "free", "settings", "userdata", "users", "upload"})
"""Changes there are told to no socket (protocol 4.2)."""

_BY_SERVER = frozenset({1002, 1003, *range(1007, 1015), *range(3000, 5000)})
"""Codes with which a server closes a socket that does not want to (1000, 1001), and that can be sent."""

_SWITCHING_PROTOCOLS = 101


@dataclass(frozen=True, eq=False)
class Recorded:
    """A recorded request with its answer.

    `place` is that of its entry among those of the server, `moment` when it was sent, in seconds since the epoch.
    `omitted` says that the body of the answer was not kept. `posted` is the prompt that it brought about, `names` are
    those it speaks of.
    """

    place: int
    moment: float
    question: Question
    response: Response
    omitted: bool = False
    posted: str | None = None
    names: frozenset[str] = frozenset()

    @property
    def is_safe(self) -> bool:
        """Whether it changes nothing, and may be asked again."""
        return self.question.method in SAFE

    @property
    def reads_runs(self) -> bool:
        """Whether its answer depends on what became of prompts."""
        return self.is_safe and self.question.topic in _RUNS

    @property
    def changes_runs(self) -> bool:
        """Whether what is told of prompts is another thing afterwards."""
        return not self.is_safe and self.response.status < 400 and self.question.topic in _RUNS

    @property
    def stirs(self) -> bool:
        """Whether sockets are told of what it changes."""
        return self.changes_runs and self.question.topic not in _SILENT

    @property
    def may_stir(self) -> bool:
        """Whether it is on a route of which nothing is known, so that what was told later may be its consequence."""
        return not self.is_safe and self.response.status < 400 and self.question.topic not in _RUNS | _SILENT

    def concerns(self, change: Recorded) -> bool:
        """Whether another request's change can be seen in this one's answer."""
        others = self.names and change.names and not self.names & change.names
        return self.reads_runs and change.changes_runs and not others

    def __str__(self) -> str:
        return f"{self.question} (entry {self.place})"


@dataclass(frozen=True, eq=False)
class Said:
    """A message on a socket. `surely` and `perhaps` are the requests that it follows: those that sockets are told of,
    and others, of which that is not known. A `greeting` follows nothing."""

    moment: float
    payload: str | bytes
    by_client: bool
    greeting: bool = False
    surely: tuple[Recorded, ...] = ()
    perhaps: tuple[Recorded, ...] = ()


@dataclass(frozen=True, eq=False)
class RecordedSocket:
    """A recorded WebSocket. `ending` is when the server closed it, where it did, and `code` how."""

    place: int
    moment: float
    question: Question
    response: Response
    said: tuple[Said, ...] = ()
    ending: Said | None = None
    code: int = 1000

    @property
    def is_open(self) -> bool:
        """Whether the upgrade was granted."""
        return self.response.status == _SWITCHING_PROTOCOLS

    def __str__(self) -> str:
        return f"the WebSocket {self.question.target} (entry {self.place})"


@dataclass(frozen=True)
class Recording:
    """All that a recording has of one server, in the order of time; `made_by_client` are ids that the client made."""

    name: str
    requests: tuple[Recorded, ...]
    sockets: tuple[RecordedSocket, ...]
    made_by_client: frozenset[str] = field(default_factory=frozenset)


def read_recording(name: str, har: Har) -> Recording:
    """What a HAR has of a ComfyUI server. Raises `HarError` where it has nothing, or what it has is garbled."""
    har = of_server(har)
    entries = [(place, entry) for place, entry in enumerate(har.entries) if _was_answered(entry)]
    if not entries:
        raise HarError(f"{name} has no request to a ComfyUI server that was answered: there is nothing to replay")
    try:
        entries.sort(key=lambda numbered: numbered[1].started)
        requests = _requests([(place, entry) for place, entry in entries if not entry.is_socket])
        steps = {step.entry: step for step in steps_of(har) if step.action == "request"}
        sockets = tuple(
            _socket(place, entry, [(request, steps[request.place]) for request in requests])
            for place, entry in entries
            if entry.is_socket
        )
        return Recording(name, requests, sockets, _made_by_client([entry for _, entry in entries], requests, sockets))
    except HarError as problem:
        raise HarError(f"{name}: {problem}") from problem


def _was_answered(entry: Entry) -> bool:
    return entry.response.status >= 200 or (entry.is_socket and entry.response.status == _SWITCHING_PROTOCOLS)


def _requests(entries: Sequence[tuple[int, Entry]]) -> tuple[Recorded, ...]:
    asked = [(place, entry, recorded_question(entry.request)) for place, entry in entries]
    requests = [
        Recorded(place, entry.started, question, entry.response, _is_omitted(entry), _posted(question, entry.response))
        for place, entry, question in asked
    ]
    prompts = {request.posted for request in requests} - {None}
    return tuple(replace(request, names=_prompts_in(request, prompts)) for request in requests)


def _prompts_in(request: Recorded, prompts: AbstractSet[str | None]) -> frozenset[str]:
    """Which prompts a request speaks of; one that posts a prompt speaks of this."""
    if request.posted is not None:
        return frozenset({request.posted})
    named = [*ids_in(unquote(request.question.target)), *names_in(request.question.json)]
    return frozenset(name for name in named if name in prompts)


def _is_omitted(entry: Entry) -> bool:
    """Whether an answer's body was not kept: it was too large, or the browser did not care."""
    response = entry.response
    has_body = entry.request.method != "HEAD" and response.content.size > 0
    return response.body is None or (has_body and response.content.text is UNSET)


def _posted(question: Question, response: Response) -> str | None:
    """The prompt that was accepted."""
    if not question.posts_prompt or response.status != 200:
        return None
    try:
        prompt = jsontext.loads(response.unpacked or b"")["prompt_id"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return prompt if isinstance(prompt, str) else None


def _socket(place: int, entry: Entry, requests: Sequence[tuple[Recorded, Step]]) -> RecordedSocket:
    code = entry.web_socket_close.code if entry.web_socket_close is not UNSET else None
    ended = entry.started + entry.time / 1000
    gates = [(request, step) for request, step in requests if request.stirs or request.may_stir]
    ending = None
    if isinstance(code, int) and code in _BY_SERVER:
        before = [request for request, _ in gates if request.moment < ended]
        ending = _after(Said(ended, b"", by_client=False), before)
    return RecordedSocket(
        place,
        entry.started,
        recorded_question(entry.request),
        entry.response,
        tuple(_said(entry.messages, gates)),
        ending,
        code if ending is not None and isinstance(code, int) else 1000,
    )


def _said(messages: Sequence[WebSocketMessage], gates: Sequence[tuple[Recorded, Step]]) -> Iterator[Said]:
    received = [Received.read(message.payload, float(message.time)) for message in messages]
    last = [(request, _last_before(step, received)) for request, step in gates]
    posted = {request.posted: request for request, _ in reversed(gates)}
    first = next((index for index, message in enumerate(messages) if message.type == "receive"), None)
    for index, (message, one) in enumerate(zip(messages, received, strict=True)):
        said = Said(one.time, message.payload, message.type == "send")
        if index == first and one.is_greeting:
            # it is due when the socket is open, whatever the clocks of the recorder say
            yield replace(said, greeting=True)
            continue
        own = posted.get(one.prompt) if one.prompt is not None else None
        yield _after(said, [request for request, end in last if index > end or request is own])


def _last_before(step: Step, received: list[Received]) -> int:
    """The position of the last message before a step; those in front of it came before the step, too."""
    before = {id(one) for one in received_before(step, received)}
    return max((index for index, one in enumerate(received) if id(one) in before), default=-1)


def _after(said: Said, requests: Sequence[Recorded]) -> Said:
    surely = tuple(request for request in requests if request.stirs)
    return replace(said, surely=surely, perhaps=tuple(request for request in requests if not request.stirs))


def _made_by_client(
    entries: Sequence[Entry], requests: Sequence[Recorded], sockets: Sequence[RecordedSocket]
) -> frozenset[str]:
    """The ids that the client said before the server did."""
    by_client: dict[str, float] = {}
    by_server: dict[str, float] = {}

    def mention(where: dict[str, float], names: Iterator[str] | Sequence[str], moment: float) -> None:
        for name in names:
            where[name] = min(moment, where.get(name, moment))

    asked: list[Recorded | RecordedSocket] = [*requests, *sockets]
    for one in asked:
        mention(by_client, [*names_in(dict(one.question.value)), *ids_in(unquote(one.question.target))], one.moment)
    for entry in entries:
        answered = entry.started + max(entry.time, 0) / 1000
        mention(by_server, _names_in_answer(entry.response), answered)
        for message in entry.messages:
            names = _names_in_text(message.payload)
            mention(by_client if message.type == "send" else by_server, names, float(message.time))
    return frozenset(name for name, moment in by_client.items() if moment <= by_server.get(name, moment))


def _names_in_answer(response: Response) -> list[str]:
    if "json" not in (response.header("content-type") or ""):
        return []
    return _names_in_text((response.unpacked or b"").decode("utf-8", "replace"))


def _names_in_text(payload: str | bytes) -> list[str]:
    if isinstance(payload, bytes):
        return []
    try:
        value: Any = jsontext.loads(payload)
    except (ValueError, RecursionError):
        return ids_in(payload)
    return list(names_in(value))
