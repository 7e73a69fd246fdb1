"""Matching by difference: what keeps a rule from fitting, so that every miss has its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Union

from msgspec import UNSET, UnsetType

from comfy_mock.engine.script.model import (
    AnyRule,
    EventMatch,
    MessageRule,
    NodeMatch,
    NodeRule,
    PointRule,
    PromptMatch,
    RequestMatch,
    RequestRule,
    ServerRule,
    SocketMatch,
    SocketRule,
)

_MISSING = "nothing"


class Difference(NamedTuple):
    """One thing that does not fit: `field` of the match, what the rule wants there, and what there was."""

    field: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        got = self.got if self.got == _MISSING else repr(self.got)
        return f"{self.field}: wanted {self.expected!r}, got {got}"


@dataclass(frozen=True)
class NodeSubject:
    """A node about to be called. `inputs` as they stand in the prompt; `prompt` is its place, from 1."""

    node: str
    class_type: str
    inputs: Mapping[str, Any]
    prompt: int
    client_id: str | None


@dataclass(frozen=True)
class RequestSubject:
    """A request that came. `path` is without `/api`."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    client_id: str | None = None


@dataclass(frozen=True)
class SocketSubject:
    """A WebSocket that was opened, or is to be."""

    connection: int
    client_id: str | None


@dataclass(frozen=True)
class EventSubject:
    """A message that is sent. `nodes` are pairs of the nodes that it speaks of and their values (`progress_state` has
    several, a message that names none has none); `prompt` is its prompt's place, None where it has none."""

    event: str
    nodes: tuple[tuple[str | None, float | None], ...] = ()
    prompt: int | None = None


@dataclass(frozen=True)
class MessageSubject:
    """A message on its way to one socket."""

    event: EventSubject
    socket: SocketSubject


@dataclass(frozen=True)
class PromptSubject:
    """A prompt that was accepted, by its place, from 1; None for a WebSocket, at the point `after_upgrade`."""

    prompt: int | None
    client_id: str | None


Subject = Union[NodeSubject, RequestSubject, SocketSubject, MessageSubject, EventSubject, PromptSubject]


def differences(rule: AnyRule, subject: Subject) -> list[Difference] | None:
    """All that keeps `rule` from fitting; empty where it fits, None where it is about another kind of thing."""
    if isinstance(rule, NodeRule) and isinstance(subject, NodeSubject):
        return node_differences(rule.match, subject)
    if isinstance(rule, RequestRule) and isinstance(subject, RequestSubject):
        return request_differences(rule.match, subject)
    if isinstance(rule, SocketRule) and isinstance(subject, SocketSubject):
        return socket_differences(rule.match, subject)
    if isinstance(rule, MessageRule) and isinstance(subject, MessageSubject):
        socket = SocketMatch(client_id=rule.match.client_id, connection=rule.match.connection)
        return [*event_differences(rule.match, subject.event), *socket_differences(socket, subject.socket)]
    if isinstance(rule, PointRule) and isinstance(subject, PromptSubject):
        return prompt_differences(rule.match, subject)
    if isinstance(rule, ServerRule) and isinstance(subject, EventSubject):
        return event_differences(rule.event, subject)
    return None


def node_differences(match: NodeMatch, subject: NodeSubject) -> list[Difference]:
    """What is different in a node."""
    found = [
        *_of("node", match.node, subject.node),
        *_of("class_type", match.class_type, subject.class_type),
        *_of("prompt", match.prompt, subject.prompt),
        *_of("client_id", match.client_id, subject.client_id),
    ]
    return found + input_differences(match.inputs, subject.inputs)


def input_differences(wanted: Mapping[str, Any], inputs: Mapping[str, Any]) -> list[Difference]:
    """What is different in a node's inputs, of those that are wanted."""
    return [
        Difference(f"inputs.{name}", value, inputs.get(name, _MISSING))
        for name, value in wanted.items()
        if name not in inputs or not equal(value, inputs[name])
    ]


def request_differences(match: RequestMatch, subject: RequestSubject) -> list[Difference]:
    """What is different in a request."""
    method, _, path = match.route.partition(" ")
    found = [] if method in ("*", subject.method) else [Difference("method", method, subject.method)]
    if path and not path_fits(path.removeprefix("/api") if path.startswith("/api/") else path, subject.path):
        found.append(Difference("path", path, subject.path))
    for name, value in match.query.items():
        if subject.query.get(name) != value:
            found.append(Difference(f"query.{name}", value, subject.query.get(name, _MISSING)))
    return found + _of("client_id", match.client_id, subject.client_id)


def path_fits(pattern: str, path: str) -> bool:
    """Whether a path is of the pattern: `{name}` is one segment, a `*` at the end all that follows."""
    if pattern == "*":
        return True
    wanted, given = pattern.split("/"), path.split("/")
    if wanted[-1] == "*":
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    return len(wanted) == len(given) and all(
        bool(segment) if part.startswith("{") else part == segment for part, segment in zip(wanted, given, strict=True)
    )


def socket_differences(match: SocketMatch, subject: SocketSubject) -> list[Difference]:
    """What is different in a WebSocket."""
    return [
        *_of("client_id", match.client_id, subject.client_id),
        *_of("connection", match.connection, subject.connection),
    ]


def event_differences(match: EventMatch, subject: EventSubject) -> list[Difference]:
    """What is different in a message."""
    found = [] if match.event in ("*", subject.event) else [Difference("event", match.event, subject.event)]
    found += _of("prompt", match.prompt, subject.prompt)
    per_node = [_node_of_event(match, node, value) for node, value in subject.nodes or ((UNSET, None),)]
    return found + min(per_node, key=len)


def _node_of_event(match: EventMatch, node: str | UnsetType | None, value: float | None) -> list[Difference]:
    found = []
    if match.node is not UNSET and match.node != node:
        found.append(Difference("node", match.node, _MISSING if node is UNSET else node))
    return found + _of("value", match.value, value)


def prompt_differences(match: PromptMatch, subject: PromptSubject) -> list[Difference]:
    """What is different in a prompt."""
    return [*_of("prompt", match.prompt, subject.prompt), *_of("client_id", match.client_id, subject.client_id)]


def equal(wanted: Any, given: Any) -> bool:
    """Whether two JSON values are the same; 1 is 1.0, but true is not 1."""
    if isinstance(wanted, bool) or isinstance(given, bool):
        return wanted is given
    if isinstance(wanted, dict) and isinstance(given, dict):
        return wanted.keys() == given.keys() and all(equal(value, given[key]) for key, value in wanted.items())
    if isinstance(wanted, (list, tuple)) and isinstance(given, (list, tuple)):
        return len(wanted) == len(given) and all(map(equal, wanted, given))
    return bool(wanted == given)


def _of(name: str, wanted: Any, given: Any) -> list[Difference]:
    if wanted is None or wanted == given:
        return []
    return [Difference(name, wanted, _MISSING if given is None else given)]
