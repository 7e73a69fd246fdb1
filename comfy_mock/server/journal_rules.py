"""The rules of a script that were never used: what came nearest, and the line of Python that would have matched it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET
from msgspec.structs import fields

from comfy_mock.engine.script.director import RuleUse
from comfy_mock.engine.script.matching import (
    Difference,
    EventSubject,
    MessageSubject,
    NodeSubject,
    PromptSubject,
    RequestSubject,
    SocketSubject,
    Subject,
)
from comfy_mock.engine.script.model import (
    AnyRule,
    MessageRule,
    NodeRule,
    PointRule,
    RequestRule,
    ServerRule,
    SocketRule,
)
from comfy_mock.server.journal_wants import NOTHING
from comfy_mock.server.journal_words import diff, literal, shortened

_LINE_MAX = 300

_BUILDERS: dict[type, tuple[str, str]] = {
    NodeRule: ("on_node", "no node was called"),
    RequestRule: ("on_request", "no request came"),
    SocketRule: ("on_socket", "no WebSocket was opened"),
    MessageRule: ("on_message", "no message was sent to a WebSocket"),
    PointRule: ("at_point", "no prompt came there"),
    ServerRule: ("on_server", "no message was sent"),
}
"""The function that makes a rule of the kind (docs/scripts.md), and what may be the reason that it was not used."""

_POSITIONAL = {
    NodeRule: "class_type",
    RequestRule: "route",
    MessageRule: "event",
    PointRule: "point",
    ServerRule: "event",
}


def unused_rules(uses: Iterable[RuleUse]) -> str:
    """What is to be said of the rules that should have been used, and were not; nothing where all were."""
    unused = [use for use in uses if use.unused]
    if not unused:
        return ""
    head = "1 rule of the script was" if len(unused) == 1 else f"{len(unused)} rules of the script were"
    return "\n".join([f"{head} never used:", *(line for use in unused for line in _complaint(use))])


def rule_line(rule: AnyRule, corrected: Iterable[Difference] = ()) -> str:
    """A rule as the line of Python that makes it; `corrected` are what is to be different in its match."""
    values = _with(_flat(rule), corrected)
    first = _POSITIONAL.get(type(rule))
    words = [_source(value) if name == first else f"{name}={_source(value)}" for name, value in values.items()]
    return shortened(f"{_BUILDERS[type(rule)][0]}({', '.join(words)})", _LINE_MAX)


def _complaint(use: RuleUse) -> list[str]:
    lines = ["", f"  {rule_line(use.rule)}"]
    if use.served:
        return [*lines, "    It found what it is for, but what it waits for then never came."]
    if use.fits:
        return [*lines, f"    What fitted it came {_times(use.fits)}; with after={use.rule.after} it lets that pass."]
    if use.hidden_by is not None:
        by = use.hidden_by
        return [
            *lines,
            f"    What it is for came, but {by.label} was asked first, and took it:",
            f"        {rule_line(by.rule)}",
            "    Give that one `times`, or this one a higher `priority`.",
        ]
    if use.nearest is None:
        return [*lines, f"    Nothing of its kind came: {_BUILDERS[type(use.rule)][1]}."]
    subject, differences = use.nearest
    lines.append(f"    The nearest was {_described(subject)}:")
    lines += [f"        {line}" for line in diff(differences)]
    return [*lines, "    This would have matched it:", f"        {rule_line(use.rule, _fields(subject, differences))}"]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _described(subject: Subject) -> str:
    if isinstance(subject, NodeSubject):
        return f"node {literal(subject.node)} ({subject.class_type}) of prompt {subject.prompt}"
    if isinstance(subject, RequestSubject):
        return f"{subject.method} {subject.path}"
    if isinstance(subject, SocketSubject):
        return f"WebSocket {subject.connection} of client {literal(subject.client_id)}"
    if isinstance(subject, MessageSubject):
        return f"{subject.event.event} to {_described(subject.socket)}"
    if isinstance(subject, EventSubject):
        return subject.event if subject.prompt is None else f"{subject.event} of prompt {subject.prompt}"
    assert isinstance(subject, PromptSubject)
    return (
        f"prompt {subject.prompt}" if subject.client_id is None else f"prompt {subject.prompt} of {subject.client_id!r}"
    )


def _fields(subject: Subject, differences: Iterable[Difference]) -> list[Difference]:
    """The differences by the arguments that they are to be corrected in."""
    found = [each for each in differences if each.field not in ("method", "path")]
    if isinstance(subject, RequestSubject) and len(found) < len(list(differences)):
        found.append(Difference("route", "", f"{subject.method} {subject.path}"))
    return found


def _flat(rule: AnyRule) -> dict[str, Any]:
    """All that a rule says, its match first, and what it has by default left out."""
    values: dict[str, Any] = {}
    match = rule.event if isinstance(rule, ServerRule) else rule.match
    if isinstance(rule, PointRule):
        values["point"] = rule.point
    values |= _said(match)
    first = _POSITIONAL.get(type(rule))
    if first in values:
        values = {first: values[first], **values}
    own = ("match", "point") if not isinstance(rule, ServerRule) else ("event",)
    return values | {name: value for name, value in _said(rule).items() if name not in own}


def _said(part: Any) -> dict[str, Any]:
    """The fields of a part that are not what they are by default."""
    return {
        field.name: getattr(part, field.name)
        for field in fields(part)
        if getattr(part, field.name) not in (field.default, UNSET, _made(field))
    }


def _made(field: Any) -> Any:
    return field.default_factory() if callable(field.default_factory) else UNSET


def _with(values: Mapping[str, Any], corrected: Iterable[Difference]) -> dict[str, Any]:
    found = dict(values)
    for name, _expected, got in corrected:
        outer, _, inner = name.partition(".")
        if inner:
            inside = {key: value for key, value in found[outer].items() if key != inner}
            found[outer] = inside if got == NOTHING else {**inside, inner: got}
        elif got == NOTHING:
            found.pop(outer, None)
        else:
            found[outer] = got
    return {name: value for name, value in found.items() if value != {}}


def _source(value: Any) -> str:
    """A value as source; a part of a script by the name of its class."""
    if isinstance(value, list):
        return f"[{', '.join(map(_source, value))}]"
    if hasattr(value, "__struct_fields__"):
        inside = ", ".join(f"{name}={_source(item)}" for name, item in _said(value).items())
        return f"{type(value).__name__}({inside})"
    return literal(value)
