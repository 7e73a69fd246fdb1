"""What is wrong with a script that is well-formed: classes, inputs and events that no server has, contradictions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine.awaited_event import AwaitedEvent
from comfy_mock.engine.models import FOLDERS
from comfy_mock.engine.script.checks_of_nodes import NodeKnowledge, node_findings
from comfy_mock.engine.script.documents import data_document
from comfy_mock.engine.script.findings import SECONDS_MAX, Finding, Findings, at_least, under, within
from comfy_mock.engine.script.model import (
    AnyRule,
    EventMatch,
    MessageRule,
    NodeRule,
    PointRule,
    RequestRule,
    Rule,
    Script,
    ServerRule,
    SocketRule,
)
from comfy_mock.engine.script.problems import Problem, ScriptError, Source, did_you_mean, written
from comfy_mock.engine.script.reading import source_of
from comfy_mock.engine.script.routes import RouteTable
from comfy_mock.engine.script.shapes import Builder, type_of

MESSAGES = (
    *("status", "execution_start", "execution_cached", "executing", "progress_state", "progress", "executed"),
    *("execution_success", "execution_error", "execution_interrupted", "feature_flags", "logs"),
    *("preview", "text", "binary", "*"),
)
"""What `EventMatch.event` may be, besides the types that custom nodes send (protocol 6.6, 6.8)."""

OVERSIZE_MAX = 256 * 1024 * 1024
"""The largest frame that is sent on purpose, in bytes."""

_COPIES_MAX = 10_000
LIKE_A_MISSPELLING = 0.8
"""How much alike a name and a known one are where one was meant for the other."""

_RULE = re.compile(r"rules\[(\d+)\]")
_BODILESS = (204, 304)
_FRAMING = ("content-length", "transfer-encoding")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_RESERVED_CODES = (1004, 1005, 1006, 1015)
_SELF_ENDING_POINTS = ("between_queue_and_interrupt", "events_before_answer")
_EXCLUSIVE = (NodeRule, RequestRule, MessageRule)
"""Rules of which the first that fits takes what it fits, so that an equal one behind it gets nothing."""


def check(
    script: Script,
    catalogue: Mapping[str, NodeDefinition],
    *,
    accept_any_node: bool = False,
    routes: Iterable[str] | None = None,
) -> list[Problem]:
    """All that is wrong with a script for a server with these node classes, in the order of the script.

    `accept_any_node` is the server's option. `routes` are those of the server, such as `GET
    /history/{prompt_id}`; None leaves routes alone. Lines are known for scripts that were read from a text.
    """
    source = source_of(script) or Source("")
    builder = Builder(source, None)
    built = _rebuilt(script, builder)
    if builder.problems:
        return [_placed(problem, script) for problem in builder.problems]
    nodes = NodeKnowledge(catalogue, accept_any_node=accept_any_node)
    look = _Look(nodes, None if routes is None else RouteTable(routes), _custom_messages(built))
    found = [*_script_findings(built), *look.rules(built.rules)]
    return [
        _placed(Problem(written(finding.path), finding.text, source.place(finding.path), source.name or None), script)
        for finding in found
    ]


def _placed(problem: Problem, script: Script) -> Problem:
    """The problem with the line of Python code that has made its rule, where no text tells of it."""
    index = _RULE.match(problem.path)
    if problem.source is not None or index is None:
        return problem
    return problem._replace(source=getattr(script.rules[int(index[1])], "made_at", None))


def checked(script: Script, problems: list[Problem]) -> Script:
    """A copy of a script of which these are all problems, which nobody else can change.

    Raises `ScriptError` where there are any. What Python code has put into it as data is then parts of a script.
    """
    if problems:
        raise ScriptError(problems)
    copied = _rebuilt(script, Builder(Source(""), None))
    vars(copied).update(vars(script))
    return copied


def _rebuilt(script: Script, builder: Builder) -> Script:
    """The script anew from its data, for Python code can put anything into it."""
    built: Script = builder.build(data_document(script), type_of(Script), ())
    return built


def _custom_messages(script: Script) -> set[str]:
    return {message.type for rule in script.rules if isinstance(rule, NodeRule) for message in rule.messages}


def _script_findings(script: Script) -> Findings:
    yield from within(0, SECONDS_MAX, start_up=script.start_up)
    memory = {name: getattr(script.memory, name) for name in script.memory.__struct_fields__}
    yield from under(("memory",), at_least(0, **memory))
    for kind in ("ram", "vram", "torch_vram"):
        total, free = memory[f"{kind}_total"], memory[f"{kind}_free"]
        if total is not None and free is not None and free > total:
            yield Finding(("memory", f"{kind}_free"), f"more is free than there is: {free} of {total} bytes")
    for index, change in enumerate(script.models):
        path = ("models", index)
        yield from under(path, at_least(0, after_prompts=change.after_prompts))
        if change.folder not in FOLDERS:
            near = did_you_mean(change.folder, FOLDERS)
            yield Finding((*path, "folder"), f"there is no models folder {change.folder!r}{near}")
        if not change.add and not change.remove:
            yield Finding(path, "nothing changes: give names to `add` or to `remove`")
        for name in set(change.add) & set(change.remove):
            yield Finding((*path, "remove"), f"{name!r} is added, too")


class _Look:
    """Looks at rules."""

    def __init__(self, nodes: NodeKnowledge, routes: RouteTable | None, custom_messages: set[str]) -> None:
        self._nodes, self._routes, self._custom_messages = nodes, routes, custom_messages

    def rules(self, rules: list[AnyRule]) -> Findings:
        hidden, last = _hidden(rules), _last_of_their_kind(rules)
        for index, rule in enumerate(rules):
            findings = [*_common(rule), *self._of_its_kind(rule)]
            yield from under(("rules", index), findings)
            if not findings and index in last and _does_nothing(rule):
                yield Finding(("rules", index), "it does nothing: say what is to happen")
            if index in hidden:
                text = f"it is never reached: rules[{hidden[index]}] matches the same, for ever. Give that one `times`"
                yield Finding(("rules", index), text)

    def _of_its_kind(self, rule: AnyRule) -> Findings:
        if isinstance(rule, NodeRule):
            yield from node_findings(rule, self._nodes)
        elif isinstance(rule, RequestRule):
            yield from self._request(rule)
        elif isinstance(rule, SocketRule):
            yield from self._socket(rule)
        elif isinstance(rule, MessageRule):
            yield from self._message(rule)
        elif isinstance(rule, PointRule):
            yield from _point(rule)
        else:
            yield from self._server(rule)

    def _request(self, rule: RequestRule) -> Findings:
        answers_itself = rule.status is not None or rule.body is not UNSET or rule.retry_after is not None
        if self._routes is not None:
            unknown = self._routes.complaint(rule.match.route, only_misspelt=answers_itself)
            if unknown is not None:
                yield Finding(("match", "route"), unknown)
        yield from within(0, SECONDS_MAX, delay=rule.delay, retry_after=rule.retry_after)
        yield from at_least(0, truncate=rule.truncate)
        if rule.status in _BODILESS and rule.body not in (UNSET, ""):
            yield Finding(("body",), f"an answer with status {rule.status} has no body")
        if rule.status is not None and not 200 <= rule.status <= 599:
            yield Finding(("status",), f"an answer's status is 200 to 599, not {rule.status}")
        if rule.retry_after is not None and rule.status not in (None, 429, 503):
            yield Finding(("retry_after",), f"goes with status 429 or 503, not with {rule.status}")
        if rule.reset == "before_headers" and (answers_itself or rule.headers):
            yield Finding(
                ("reset",), "before the headers nothing of `status`, `body` and `headers` is sent: leave them out"
            )
        if rule.reset is not None and rule.truncate is not None:
            yield Finding(("truncate",), "the connection breaks once: give `reset` or `truncate`")
        if rule.handled and not (answers_itself or rule.reset or rule.truncate is not None):
            yield Finding(
                ("handled",), "the server's own answer is sent anyway: give what is sent, or breaks off, instead"
            )
        yield from under(("headers",), _headers(rule))

    def _socket(self, rule: SocketRule) -> Findings:
        yield from at_least(0, messages=rule.messages)
        yield from within(0, SECONDS_MAX, seconds=rule.seconds)
        yield from under(("match",), at_least(1, connection=rule.match.connection))
        if rule.event is not None:
            yield from under(("event",), self._event(rule.event))
        if rule.refuse is not None:
            yield from _refusal(rule, rule.refuse)
        elif rule.end is None:
            yield Finding((), "it does nothing: give `refuse` (a status), or `end`")
        else:
            yield from _ending(rule)

    def _message(self, rule: MessageRule) -> Findings:
        yield from under(("match",), self._event(rule.match))
        yield from under(("match",), at_least(1, connection=rule.match.connection))
        faults = {name: getattr(rule, name) for name in ("duplicate", "delay", "reorder", "oversize")}
        yield from within(0, _COPIES_MAX, duplicate=rule.duplicate, reorder=rule.reorder)
        yield from within(0, SECONDS_MAX, delay=rule.delay)
        yield from within(0, OVERSIZE_MAX, oversize=rule.oversize)
        given = [name for name, value in faults.items() if value]
        if rule.lose and given:
            yield Finding(("lose",), f"a message that is lost does not come: leave out `{given[0]}`")
        if not rule.lose and not given:
            yield Finding((), f"it does nothing: give `lose` or one of {', '.join(faults)}")

    def _server(self, rule: ServerRule) -> Findings:
        yield from under(("event",), self._event(rule.event))
        yield from within(0, SECONDS_MAX, down=rule.down)
        if rule.action == "stop" and rule.down:
            yield Finding(("down",), "a server that stops does not come back: `down` is for restarts")

    def _event(self, match: EventMatch) -> Findings:
        yield from at_least(1, prompt=match.prompt)
        if not match.event:
            yield Finding(("event",), "is empty: give the type of a message, or `*` for any")
            return
        if match.event not in MESSAGES and match.event not in self._custom_messages:
            near = did_you_mean(match.event, MESSAGES, cutoff=LIKE_A_MISSPELLING)
            if near:
                yield Finding(("event",), f"ComfyUI sends no {match.event!r}{near}")
            return
        if match.event in ("*", "binary") or match.event in self._custom_messages:
            return
        # of each by itself, so that the complaint is about the one that cannot be
        for name, wanted in (("node", match.node), ("value", match.value), ("prompt", match.prompt)):
            if wanted is UNSET or (wanted is None and name != "node"):
                continue
            try:
                AwaitedEvent(match.event, **{"prompt_id" if name == "prompt" else name: wanted})  # type: ignore[arg-type]
            except ValueError as problem:
                yield Finding((name,), str(problem).replace("prompt_id", "prompt"))


def _headers(rule: RequestRule) -> Findings:
    for name, value in rule.headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield Finding((name,), "the name of a header has letters, digits and dashes only")
        if not _HEADER_VALUE.fullmatch(value) or value != value.strip():
            yield Finding((name,), "a header has no line breaks, nor blanks at its ends")
        if name.lower() in _FRAMING:
            yield Finding((name,), "is made by the server from the body; to break that off give `truncate`")
        if name.lower() == "retry-after" and rule.retry_after is not None:
            yield Finding((name,), "there is `retry_after` too: give one of them")


def _refusal(rule: SocketRule, status: int) -> Findings:
    if not 400 <= status <= 599:
        yield Finding(("refuse",), f"an upgrade is refused with a status from 400 to 599, not {status}")
    for name in ("end", "event", "messages", "seconds", "hold"):
        if getattr(rule, name) is not None:
            yield Finding((name,), "a WebSocket that is refused is never open: give `refuse` or this")


def _ending(rule: SocketRule) -> Findings:
    if rule.event is not None and rule.messages is not None:
        yield Finding(("messages",), "it happens once: give `event` or `messages`")
    if rule.end == "stall" and rule.seconds is None and rule.hold is None:
        yield Finding(("end",), "a stall needs `seconds` or a `hold`; without an end it is `silence`")
    for name in ("seconds", "hold"):
        if rule.end != "stall" and getattr(rule, name) is not None:
            yield Finding((name,), f"only a stall ends again, not {rule.end!r}")
    if not 1000 <= rule.code <= 4999 or rule.code in _RESERVED_CODES:
        yield Finding(("code",), f"is 1000 to 4999, but none of the reserved {_RESERVED_CODES}; not {rule.code}")


def _common(rule: AnyRule) -> Findings:
    yield from at_least(0, after=rule.after)
    yield from at_least(1, times=rule.times)
    prompt = getattr(getattr(rule, "match", None), "prompt", None)
    if not isinstance(rule, MessageRule):
        yield from under(("match",), at_least(1, prompt=prompt))


def _point(rule: PointRule) -> Findings:
    yield from within(0, SECONDS_MAX, seconds=rule.seconds)
    yield from at_least(1, polls=rule.polls)
    endless = rule.polls is None and rule.hold is None and rule.seconds is None
    if endless and rule.point not in _SELF_ENDING_POINTS:
        yield Finding((), f"{rule.point} closes at once: say how long it is open, by `polls`, `hold` or `seconds`")
    if rule.point == "after_upgrade" and rule.match.prompt is not None:
        yield Finding(("match", "prompt"), "a WebSocket that opens is not of any prompt")


def _hidden(rules: list[AnyRule]) -> dict[int, int]:
    """The rules that can never be used, each with the one that wants the same and takes it all, by their indices."""
    taken: dict[Any, int] = {}
    hidden: dict[int, int] = {}
    for index in sorted(range(len(rules)), key=lambda index: -rules[index].priority):
        rule = rules[index]
        wants = _wants(rule)
        if wants is None:
            continue
        if wants in taken:
            hidden[index] = taken[wants]
        elif rule.times is None and rule.after == 0:
            taken[wants] = index
    return hidden


def _does_nothing(rule: AnyRule) -> bool:
    if not isinstance(rule, (NodeRule, RequestRule)):
        return False
    common = {name: getattr(rule, name) for name in ("match", *Rule.__struct_fields__)}
    return rule == type(rule)(**common)


def _last_of_their_kind(rules: list[AnyRule]) -> set[int]:
    """The rules that take nothing away from others of the script, by their indices."""
    last: dict[type, int] = {}
    for index, rule in enumerate(rules):
        if type(rule) not in last or rule.priority <= rules[last[type(rule)]].priority:
            last[type(rule)] = index
    return {index for index in last.values() if rules[index].priority <= 0}


def _wants(rule: AnyRule) -> Any:
    """What a rule takes, as a key that is equal for equal ones; None where it leaves it to others as well."""
    if isinstance(rule, PointRule):
        return (rule.point, _frozen(msgspec.structs.asdict(rule.match)))
    return (type(rule), _frozen(msgspec.structs.asdict(rule.match))) if isinstance(rule, _EXCLUSIVE) else None


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((key, _frozen(item)) for key, item in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list) else (type(value) is bool, value)
