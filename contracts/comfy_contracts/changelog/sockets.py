"""What has changed in what servers say on their WebSockets (protocol 6)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from comfy_contracts.changelog.http import header_changes
from comfy_contracts.changelog.model import Finding, Kind
from comfy_contracts.changelog.names import Pairs
from comfy_contracts.changelog.values import Step, Walk, shown
from comfy_contracts.compare_ws import (
    NUMBER_OF_STATUSES,
    OTHER_FORM,
    Connection,
    Leniency,
    Message,
    cut_runs,
    softened_streams,
)

_BEFORE, _AFTER = 0, 1
_UNTYPED = "None"
_ORDER = "order of messages"
_FORMS = {False: "Python's default form", True: "another form"}


@dataclass(frozen=True)
class Streams:
    """What two servers sent on the same socket, without what is free; `place` tells it from all others.

    Runs are called by the same name in both parts of each pair in `parts`.
    """

    place: tuple[object, ...]
    before: Connection
    after: Connection
    parts: Sequence[tuple[list[Message], list[Message]]]
    names: Pairs
    key_order: bool

    @classmethod
    def read(
        cls, place: tuple[object, ...], before: Connection, after: Connection, leniency: Leniency, names: Pairs
    ) -> Streams:
        """`names` must know the runs already, from the answers that told of them."""
        old, new = [_with_run(one) for one in before.messages], [_with_run(one) for one in after.messages]
        _learn_runs(old, new, names)
        new = [_called_as_before(message, names) for message in new]
        cut = cut_runs(old) | cut_runs(new)
        parts = [(left, right) for _, left, right in softened_streams(old, new, leniency, cut)]
        return cls(place, before, after, parts, names, leniency.key_order)

    def runs(self) -> Iterator[tuple[str, list[Message], list[Message]]]:
        """The messages of each run; of those that belong to none the run is called nothing."""
        for old, new in self.parts:
            for run in dict.fromkeys(message.prompt for message in (*old, *new)):
                yield run or "", [one for one in old if one.prompt == run], [one for one in new if one.prompt == run]


def socket_findings(sockets: Sequence[Streams]) -> Iterator[Finding]:
    """What has changed on all sockets: whether a server knows a type of message is told by all of them together."""
    new_names = _renamings(sockets)
    for before, after in new_names.items():
        places = _kinds(sockets, side=_BEFORE)[before]
        yield from (_finding("renamed", "", "message type", before, after, place) for place in places)
    sockets = [_with_old_names(streams, {after: before for before, after in new_names.items()}) for streams in sockets]
    old, new = _kinds(sockets, side=_BEFORE), _kinds(sockets, side=_AFTER)
    for kind in old.keys() - new.keys():
        yield from (_finding("removed", _label(kind), "", "", "", place) for place in old[kind])
    for kind in new.keys() - old.keys():
        yield from (_finding("added", _label(kind), "", "", "", place) for place in new[kind])
    for streams in sockets:
        yield from _of_connection(streams)
        yield from _of_streams(streams, old.keys() & new.keys())


def _of_streams(streams: Streams, known: Collection[str]) -> Iterator[Finding]:
    """What has changed in the messages of one socket, of the types that both servers know."""
    parts = [
        ([one for one in left if one.kind in known], [one for one in right if one.kind in known])
        for left, right in streams.parts
    ]
    streams = replace(streams, parts=parts)
    in_runs = [one for run, before, after in streams.runs() for one in _of_run(streams, run, before, after)]
    yield from in_runs
    if not any(one.what == _ORDER for one in in_runs):
        for before, after in parts:
            yield from _of_order("order of runs and other messages", before, after, streams.place, "socket")


def _finding(
    kind: Kind, where: str, what: str, before: str, after: str, place: tuple[object, ...], unit: str = "message"
) -> Finding:
    return Finding("sockets", kind, where, what, before, after, place, unit)


def _with_run(message: Message) -> Message:
    """The message with the run it belongs to, also where it is written in another form."""
    content, other_form = _content(message)
    run = Message(message.kind, content, None).data.get("prompt_id") if other_form else None
    return replace(message, prompt=run) if isinstance(run, str) else message


def _called_as_before(message: Message, names: Pairs) -> Message:
    return message if message.prompt is None else replace(message, prompt=names.before_of(message.prompt))


def _learn_runs(before: list[Message], after: list[Message], names: Pairs) -> None:
    """Runs that no answer told of are the same in their order, if there are as many."""
    old, new = (dict.fromkeys(one.prompt for one in side if one.prompt is not None) for side in (before, after))
    unknown_before = [run for run in old if names.after_of(run) not in new]
    unknown_after = [run for run in new if names.before_of(run) not in old]
    if len(unknown_before) == len(unknown_after):
        for run, other in zip(unknown_before, unknown_after, strict=True):
            names.agree(run, other)


def _label(kind: str) -> str:
    if kind.startswith("binary "):
        return kind.replace("binary", "binary frame")
    return "(without a type)" if kind == _UNTYPED else kind


# Types of messages


def _kinds(sockets: Sequence[Streams], *, side: int) -> dict[str, list[tuple[object, ...]]]:
    """The types of messages on one side, with the places of all their messages."""
    found: defaultdict[str, list[tuple[object, ...]]] = defaultdict(list)
    for streams in sockets:
        for part, pair in enumerate(streams.parts):
            for index, message in enumerate(pair[side]):
                found[message.kind].append((*streams.place, part, index))
    return found


def _renamings(sockets: Sequence[Streams]) -> dict[str, str]:
    """Types that are gone, each with the new one that says the same as it did, message by message."""
    old, new = _kinds(sockets, side=_BEFORE), _kinds(sockets, side=_AFTER)
    gone = _by_what_they_say(sockets, old.keys() - new.keys() - {_UNTYPED}, side=_BEFORE)
    come = _by_what_they_say(sockets, new.keys() - old.keys() - {_UNTYPED}, side=_AFTER)
    return {kinds[0]: come[said][0] for said, kinds in gone.items() if len(kinds) == len(come.get(said, ())) == 1}


def _by_what_they_say(
    sockets: Sequence[Streams], kinds: Collection[str], *, side: int
) -> dict[tuple[object, ...], list[str]]:
    found: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    for kind in kinds:
        said = (
            (streams.place, message.prompt, shown(_without_type(message.value)))
            for streams in sockets
            for pair in streams.parts
            for message in pair[side]
            if message.kind == kind
        )
        found[tuple(said)].append(kind)
    return found


def _without_type(value: Any) -> Any:
    return {key: item for key, item in value.items() if key != "type"} if isinstance(value, dict) else value


def _with_old_names(streams: Streams, old: Mapping[str, str]) -> Streams:
    """The streams with the old names of renamed types after as well as before."""

    def as_before(message: Message) -> Message:
        if message.kind not in old:
            return message
        return replace(message, kind=old[message.kind], value={**message.value, "type": old[message.kind]})

    return replace(streams, parts=[(left, [as_before(one) for one in right]) for left, right in streams.parts])


# Connections


def _of_connection(streams: Streams) -> Iterator[Finding]:
    before, after = streams.before, streams.after
    where = f"WebSocket {before.request.partition('?')[0]}"
    if before.status != after.status:
        old, new = str(before.status), str(after.status)
        yield Finding("statuses", "changed", where, "status", old, new, streams.place, "answer")
    for kind, what, old, new in header_changes(before.headers, after.headers, streams.names):
        yield Finding("headers", kind, where, what, old, new, streams.place, "answer")
    if before.close is not None and after.close is not None and before.close != after.close:
        yield _finding(
            "changed", where, "code of closing", str(before.close), str(after.close), streams.place, "socket"
        )


# Runs


def _of_run(streams: Streams, run: str, before: list[Message], after: list[Message]) -> Iterator[Finding]:
    place, unit = ((*streams.place, run), "run") if run else (streams.place, "socket")
    if run and not (before and after):
        if before or after:
            yield _finding("removed" if before else "added", "", "all messages of a run", "", "", place, unit)
        return
    old, new = _by_kind(before), _by_kind(after)
    what = "messages of a run" if run else "messages outside of runs"
    counts = list(_counts(old, new))
    yield from (_finding("changed", _label(kind), what, left, right, place, unit) for kind, left, right in counts)
    if NUMBER_OF_STATUSES in old and not counts:
        yield from _of_course(old.get("status", []), new.get("status", []), place)
    for kind in sorted({*old, *new} - {NUMBER_OF_STATUSES}):
        yield from _of_messages(streams, (*streams.place, run), kind, old.get(kind, []), new.get(kind, []))
    yield from _of_order(_ORDER, before, after, place, unit)


def _counts(old: dict[str, list[Message]], new: dict[str, list[Message]]) -> Iterator[tuple[str, str, str]]:
    """The types of which there are more on one side, and how many there are."""
    for kind in sorted({*old, *new}):
        left, right = old.get(kind, []), new.get(kind, [])
        if kind == NUMBER_OF_STATUSES:
            amounts = [sum(one.value["statuses"] for one in side) for side in (left, right)]
            if amounts[0] != amounts[1]:
                yield "status", str(amounts[0]), str(amounts[1])
        elif len(left) != len(right) and not (kind == "status" and NUMBER_OF_STATUSES in old):
            yield kind, str(len(left)), str(len(right))


def _of_course(before: list[Message], after: list[Message], place: tuple[object, ...]) -> Iterator[Finding]:
    """Whether the queue grew and shrank in other steps, where it is not known which status was which."""
    if len(before) != len(after):
        old, new = (", ".join(str(one.queue_remaining) for one in side) for side in (before, after))
        yield Finding("values", "changed", "status", "course of the queue", old, new, place, "socket")


def _of_order(
    what: str, before: list[Message], after: list[Message], place: tuple[object, ...], unit: str
) -> Iterator[Finding]:
    """Whether the messages of which there are as many on both sides come in another order."""
    old, new = Counter(map(_turn, before)), Counter(map(_turn, after))
    order, other_order = ([one for one in side if old[_turn(one)] == new[_turn(one)]] for side in (before, after))
    if [_turn(one) for one in order] != [_turn(one) for one in other_order]:
        yield _finding("changed", "", what, *_where_they_part(order, other_order), place, unit)


def _turn(message: Message) -> tuple[str, str | None]:
    return message.kind, message.prompt


def _by_kind(messages: list[Message]) -> dict[str, list[Message]]:
    found: defaultdict[str, list[Message]] = defaultdict(list)
    for message in messages:
        found[message.kind].append(message)
    return dict(found)


def _where_they_part(before: list[Message], after: list[Message]) -> tuple[str, str]:
    """Two orders of the same messages without what they have in common at the beginning and at the end."""
    differ = [_turn(one) != _turn(other) for one, other in zip(before, after, strict=True)]
    start, end = differ.index(True), len(differ) - differ[::-1].index(True)
    return _listed(before[start:end]), _listed(after[start:end])


def _listed(messages: list[Message]) -> str:
    counts = [(_label(kind), len(list(group))) for kind, group in groupby(one.kind for one in messages)]
    return ", ".join(f"{kind} ×{count}" if count > 1 else kind for kind, count in counts)


def _of_messages(
    streams: Streams, place: tuple[object, ...], kind: str, before: list[Message], after: list[Message]
) -> Iterator[Finding]:
    """What has changed inside the messages of one type in one run."""
    root = "frame" if kind.startswith("binary ") else "$"
    walk = Walk(streams.names, root=root, key_order=streams.key_order)
    if len(before) != len(after):
        steps = walk.pooled([_content(one)[0] for one in before], [_content(one)[0] for one in after])
        yield from (_of_step(step, kind, place, "run" if place[-1] else "socket") for step in steps)
        return
    for index, (one, other) in enumerate(zip(before, after, strict=True)):
        at = (*place, kind, index)
        (old, old_form), (new, new_form) = _content(one), _content(other)
        if old_form != new_form:
            yield _finding("changed", _label(kind), "form of the JSON", _FORMS[old_form], _FORMS[new_form], at)
        yield from (_of_step(step, kind, at, "message") for step in walk.steps(old, new))


def _content(message: Message) -> tuple[Any, bool]:
    """What a message says, and whether it is JSON of another form than Python's default (protocol 1.1)."""
    if isinstance(message.value, dict) and OTHER_FORM in message.value:
        return message.value[OTHER_FORM], True
    return message.value, False


def _of_step(step: Step, kind: str, place: tuple[object, ...], unit: str) -> Finding:
    section = "sockets" if step.structural else "values"
    return Finding(section, step.kind, _label(kind), step.path, step.before, step.after, place, unit)
