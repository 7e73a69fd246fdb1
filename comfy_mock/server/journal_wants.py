"""What is looked for in a journal, by difference: a record that fits has none, and the others say why they do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import SequenceMatcher, get_close_matches
from typing import Any, ClassVar, Generic, TypedDict, TypeVar

from msgspec import UNSET, UnsetType

from comfy_mock.engine.awaited_event import AwaitedEvent
from comfy_mock.engine.script.matching import (
    Difference,
    EventSubject,
    NodeSubject,
    equal,
    event_differences,
    node_differences,
    request_differences,
)
from comfy_mock.engine.script.model import EventMatch, NodeMatch, RequestMatch
from comfy_mock.server.journal_payloads import nodes_of
from comfy_mock.server.journal_records import (
    AnyRecord,
    EventRecord,
    HoldRecord,
    PromptRecord,
    RequestRecord,
    SocketRecord,
    path_of,
)

RecordT = TypeVar("RecordT", bound=AnyRecord)
WantT = TypeVar("WantT", bound="Want[Any]")

NOTHING = "nothing"
"""What a `Difference` has for a value that is not there."""

_COMPARED_MAX = 200
_TEXT_MAX = 200


class RequestFilter(TypedDict, total=False):
    """Which requests. `query` and `headers` are some of those that it has, `json_contains` is part of its body.

    A JSON object is part of another if this has all its keys, with values of which the same is true. Lists must be
    equally long, and other values equal. `status` is that of the answer that was sent.
    """

    query: Mapping[str, str]
    headers: Mapping[str, str]
    json_contains: Any
    client_id: str
    status: int


class PromptFilter(TypedDict, total=False):
    """Which prompts: those that have a node with this id, class and inputs (some of those that it has, as posted).

    Those that were accepted, unless `accepted` is false (those that were refused) or None (both).
    """

    class_type: str
    inputs: Mapping[str, Any]
    node: str
    client_id: str
    prompt_id: str
    accepted: bool | None


class SocketFilter(TypedDict, total=False):
    """Which WebSockets: of this client, the `connection`-th of the server, those that are open, or not."""

    client_id: str
    connection: int
    open: bool


class EventFilter(TypedDict, total=False):
    """Which messages. `node` None is the `executing` that ends a prompt, `value` the step of a progress.

    `connection` is a WebSocket that it went to, by its place among those of the server, from 1.
    """

    node: str | None
    value: float
    prompt_id: str
    connection: int


@dataclass(frozen=True)
class Want(Generic[RecordT]):
    """What is looked for among the records of one kind."""

    kind: ClassVar[Any]
    name_in_calls: ClassVar[str]
    plural: ClassVar[str]

    def differences(self, record: RecordT) -> list[Difference]:
        """All that keeps a record from being this; empty where it is."""
        raise NotImplementedError

    def actual(self, record: RecordT) -> dict[str, Any]:
        """What the arguments would have to be for this record; without those that it has no value for."""
        raise NotImplementedError

    def fits(self, record: AnyRecord) -> bool:
        """Whether a record is this."""
        return isinstance(record, self.kind) and not self.differences(record)

    def given(self) -> dict[str, Any]:
        """The arguments that it was made with."""
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {name: value for name, (value, default) in values.items() if value is not default}

    def corrected(self, record: RecordT) -> dict[str, Any]:
        """The arguments with which it would be this record."""
        actual = self.actual(record)
        kept = {name: _common(value, actual[name]) for name, value in self.given().items() if name in actual}
        return {name: value for name, value in kept.items() if value != {}}

    def nearest(self, records: Iterable[RecordT]) -> tuple[RecordT, list[Difference]] | None:
        """The record with the fewest differences, of several that whose values are most alike, and these."""
        found = [(record, self.differences(record)) for record in records]
        fewest = min((len(differences) for _record, differences in found), default=0)
        near = [pair for pair in found if len(pair[1]) == fewest][-_COMPARED_MAX:]
        return max(near, key=lambda pair: alikeness(pair[1]), default=None)


@dataclass(frozen=True)
class WantedRequest(Want[RequestRecord]):
    """A request. `route` is a method and a path as in a script's rules; either may be left out."""

    kind: ClassVar[Any] = RequestRecord
    name_in_calls: ClassVar[str] = "request"
    plural: ClassVar[str] = "requests"

    route: str = "*"
    query: Mapping[str, str] | UnsetType = UNSET
    headers: Mapping[str, str] | UnsetType = UNSET
    json_contains: Any = UNSET
    client_id: str | UnsetType = UNSET
    status: int | UnsetType = UNSET

    def differences(self, record: RequestRecord) -> list[Difference]:
        match = RequestMatch(
            route=rule_route(self.route), query=dict(_mapping(self.query)), client_id=_optional(self.client_id)
        )
        found = request_differences(match, record.subject)
        for name, value in _mapping(self.headers).items():
            got = record.headers.get(name.lower(), NOTHING)
            found += [] if got == value else [Difference(f"headers.{name}", value, got)]
        if self.json_contains is not UNSET:
            found += _json_differences("json", self.json_contains, record.json)
        return found + _of("status", self.status, NOTHING if record.status is None else record.status)

    def actual(self, record: RequestRecord) -> dict[str, Any]:
        fits = not request_differences(RequestMatch(route=rule_route(self.route)), record.subject)
        headers = {
            name: record.headers[name.lower()] for name in _mapping(self.headers) if name.lower() in record.headers
        }
        values = {
            "route": self.route if fits else f"{record.method} {record.path}",
            "query": record.query,
            "headers": headers,
            "json_contains": record.json,
            "client_id": record.client_id,
            "status": record.status,
        }
        return _without_none(values)


@dataclass(frozen=True)
class WantedPrompt(Want[PromptRecord]):
    """A prompt, by one of its nodes and by itself."""

    kind: ClassVar[Any] = PromptRecord
    name_in_calls: ClassVar[str] = "prompt"
    plural: ClassVar[str] = "prompts"

    class_type: str | UnsetType = UNSET
    inputs: Mapping[str, Any] | UnsetType = UNSET
    node: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    prompt_id: str | UnsetType = UNSET
    accepted: bool | None = True

    def differences(self, record: PromptRecord) -> list[Difference]:
        found = (
            [] if self.accepted in (None, record.accepted) else [Difference("accepted", self.accepted, record.accepted)]
        )
        found += _of("prompt_id", self.prompt_id, record.prompt_id)
        found += _of("client_id", self.client_id, record.client_id)
        return found + self.nearest_node(record)[1]

    def nearest_node(self, record: PromptRecord) -> tuple[str | None, list[Difference]]:
        """The id of the node that is nearest, and what is different in it; None where no node is asked for."""
        match = NodeMatch(
            node=_optional(self.node), class_type=_optional(self.class_type), inputs=dict(_mapping(self.inputs))
        )
        if match == NodeMatch():
            return None, []
        found = [(node_id, node_differences(match, _subject(node_id, node))) for node_id, node in record.graph.items()]
        empty = (None, node_differences(match, NodeSubject(NOTHING, NOTHING, {}, 0, None)))
        return min(found, key=lambda pair: (len(pair[1]), -alikeness(pair[1])), default=empty)

    def actual(self, record: PromptRecord) -> dict[str, Any]:
        values: dict[str, Any] = {"client_id": record.client_id, "prompt_id": record.prompt_id}
        values["accepted"] = record.accepted
        node_id, _differences = self.nearest_node(record)
        if node_id is not None:
            subject = _subject(node_id, record.graph[node_id])
            values |= {"class_type": subject.class_type, "inputs": subject.inputs, "node": node_id}
        return _without_none(values)

    def corrected(self, record: PromptRecord) -> dict[str, Any]:
        found = super().corrected(record)
        return found if self.accepted in (None, record.accepted) else {**found, "accepted": record.accepted}


@dataclass(frozen=True)
class WantedSocket(Want[SocketRecord]):
    """A WebSocket."""

    kind: ClassVar[Any] = SocketRecord
    name_in_calls: ClassVar[str] = "socket"
    plural: ClassVar[str] = "WebSockets"

    client_id: str | UnsetType = UNSET
    connection: int | UnsetType = UNSET
    open: bool | UnsetType = UNSET

    def differences(self, record: SocketRecord) -> list[Difference]:
        return [
            *_of("client_id", self.client_id, record.client_id),
            *_of("connection", self.connection, record.connection),
            *_of("open", self.open, record.open),
        ]

    def actual(self, record: SocketRecord) -> dict[str, Any]:
        return _without_none({"client_id": record.client_id, "connection": record.connection, "open": record.open})


@dataclass(frozen=True)
class WantedEvent(Want[EventRecord]):
    """A message. Raises `ValueError` where no message of the type has such a node, value or prompt."""

    kind: ClassVar[Any] = EventRecord
    name_in_calls: ClassVar[str] = "event"
    plural: ClassVar[str] = "messages"

    event: str = "*"
    node: str | UnsetType | None = UNSET
    value: float | UnsetType = UNSET
    prompt_id: str | UnsetType = UNSET
    connection: int | UnsetType = UNSET

    def __post_init__(self) -> None:
        AwaitedEvent(self.event, node=self.node, value=_optional(self.value), prompt_id=_optional(self.prompt_id))

    def differences(self, record: EventRecord) -> list[Difference]:
        found = event_differences(self._match, record.subject())
        found += _of("prompt_id", self.prompt_id, record.prompt_id)
        if self.connection is not UNSET and self.connection not in record.connections:
            found.append(Difference("connection", self.connection, list(record.connections) or NOTHING))
        return found

    @property
    def _match(self) -> EventMatch:
        return EventMatch(event=self.event, node=self.node, value=_optional(self.value))

    def actual(self, record: EventRecord) -> dict[str, Any]:
        values = _without_none({"prompt_id": record.prompt_id, "connection": next(iter(record.connections), None)})
        values["event"] = record.type if self.event != "*" else "*"
        pairs = nodes_of(record.payload)
        if pairs:
            one = {pair: event_differences(self._match, EventSubject(record.type, (pair,))) for pair in pairs}
            values["node"], value = min(pairs, key=lambda pair: len(one[pair]))
            values |= {} if value is None else {"value": value}
        return values


@dataclass(frozen=True)
class WantedHold(Want[HoldRecord]):
    """Something that is held now."""

    kind: ClassVar[Any] = HoldRecord
    name_in_calls: ClassVar[str] = "hold"
    plural: ClassVar[str] = "holds"

    name: str | UnsetType = UNSET

    def differences(self, record: HoldRecord) -> list[Difference]:
        held = [] if record.held else [Difference("held", True, False)]
        return [*_of("name", self.name, record.name), *held]

    def actual(self, record: HoldRecord) -> dict[str, Any]:
        return {"name": record.name}


def wanted(kind: type[WantT], arguments: Mapping[str, Any]) -> WantT:
    """What is looked for, from arguments. Raises `TypeError` for one that there is none of."""
    known = [each.name for each in fields(kind)]
    for name in arguments:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it can say {', '.join(known)}"
            raise TypeError(f"nothing can be said of {kind.plural} with {name!r}; {hint}")
        fits, words = _KINDS.get(name, (object, "anything"))
        if not isinstance(arguments[name], fits) or (isinstance(arguments[name], bool) and name not in _SWITCHES):
            raise TypeError(f"{name} of {kind.plural} is {words}, not {arguments[name]!r}")
    return kind(**arguments)


_SWITCHES = ("open", "accepted", "json_contains")
_TEXT, _PART = (str, "a text"), (Mapping, "a mapping")
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    **dict.fromkeys(("route", "event", "class_type", "client_id", "prompt_id", "name"), _TEXT),
    **dict.fromkeys(("query", "headers", "inputs"), _PART),
    **dict.fromkeys(("status", "connection"), (int, "a whole number")),
    "node": ((str, type(None)), "a text or None"),
    "value": ((int, float), "a number"),
    "open": (bool, "true or false"),
    "accepted": ((bool, type(None)), "true, false or None"),
}
"""What the arguments of questions are, by their names."""


def alikeness(differences: Iterable[Difference]) -> float:
    """How much the texts that differ are alike."""
    return sum(
        SequenceMatcher(None, expected[:_TEXT_MAX], got[:_TEXT_MAX]).ratio()
        for _field, expected, got in differences
        if isinstance(expected, str) and isinstance(got, str) and got != NOTHING
    )


def _subject(node_id: str, node: Any) -> NodeSubject:
    """A node as it was posted; what is no sound node has nothing."""
    node = node if isinstance(node, dict) else {}
    inputs = node.get("inputs")
    return NodeSubject(node_id, node.get("class_type", NOTHING), inputs if isinstance(inputs, dict) else {}, 0, None)


def rule_route(route: str) -> str:
    """A route as rules have it: with a method, and without `/api`."""
    method, _, path = ("*", "", route) if route.startswith("/") else route.partition(" ")
    return f"{method.upper()} {path_of(path)}" if path else method.upper()


def _json_differences(where: str, wanted: Any, got: Any) -> Iterator[Difference]:
    """All that `got` lacks of `wanted`."""
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        for key, value in wanted.items():
            yield from _json_differences(f"{where}.{key}", value, got.get(key, UNSET))
    elif isinstance(wanted, (list, tuple)) and isinstance(got, list) and len(wanted) == len(got):
        for index, (left, right) in enumerate(zip(wanted, got, strict=True)):
            yield from _json_differences(f"{where}[{index}]", left, right)
    elif got is UNSET or not equal(wanted, got):
        yield Difference(where, wanted, NOTHING if got is UNSET else got)


def _common(wanted: Any, actual: Any) -> Any:
    """What is there of what is wanted: its shape with the actual values."""
    if isinstance(wanted, Mapping) and isinstance(actual, Mapping):
        return {key: _common(value, actual[key]) for key, value in wanted.items() if key in actual}
    if isinstance(wanted, (list, tuple)) and isinstance(actual, list) and len(wanted) == len(actual):
        return [_common(left, right) for left, right in zip(wanted, actual, strict=True)]
    return actual


def _of(name: str, wanted: Any, got: Any) -> list[Difference]:
    if wanted is UNSET or wanted == got:
        return []
    return [Difference(name, wanted, NOTHING if got is None else got)]


def _optional(value: Any) -> Any:
    return None if value is UNSET else value


def _mapping(value: Any) -> Mapping[str, Any]:
    return {} if value is UNSET else value


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value is not UNSET}
