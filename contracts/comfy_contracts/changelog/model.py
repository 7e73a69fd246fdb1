"""The parts of a changelog: findings at one place of the traffic, and the changes that they add up to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["added", "removed", "renamed", "retyped", "changed"]

SECTIONS: Mapping[str, str] = {
    "routes": "Routes",
    "statuses": "Statuses",
    "headers": "Headers",
    "bodies": "Bodies",
    "errors": "Error answers",
    "sockets": "WebSocket",
    "nodes": "Node catalogue",
    "values": "Other values",
}
"""The sections of a changelog in their order, and their headings."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is another thing after than before, at one place of the traffic.

    `where` names the route, message, frame or node class; `what` the part of it, nothing for the whole of it. `before`
    and `after` are texts (of values their JSON, of fields their type), nothing where there is nothing. `place` tells
    one answer, message, run or class from the others, and `unit` says which of those it is.
    """

    section: str
    kind: Kind
    where: str
    what: str
    before: str
    after: str
    place: tuple[object, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a changelog: what is alike in all its findings.

    `where`, `what`, and the pairs of before and after in `values` are as in `Finding`. `count` says in how many
    answers, messages, runs or node classes it was found, `unit` which of those they are.
    """

    section: str
    kind: Kind
    where: tuple[str, ...]
    what: str
    values: tuple[tuple[str, str], ...]
    count: int
    unit: str


def changes_of(findings: Iterable[Finding]) -> tuple[Change, ...]:
    """The changes that findings add up to, in the order of a changelog.

    What is found at one place of a route is one change, whatever the values; routes that share all of it share it.
    """
    alike: defaultdict[tuple[str, Kind, str, str, str], list[Finding]] = defaultdict(list)
    for one in findings:
        alike[one.section, one.kind, one.where, one.what, one.unit].append(one)
    shared: defaultdict[tuple[str, Kind, str, str, tuple[tuple[str, str], ...]], list[Finding]] = defaultdict(list)
    for (section, kind, _, what, unit), group in alike.items():
        shared[section, kind, what, unit, tuple(sorted({(one.before, one.after) for one in group}))] += group
    changes = [
        Change(
            section,
            kind,
            tuple(sorted({one.where for one in group} - {""}, key=_without_alias)),
            what,
            values,
            len({one.place for one in group}),
            unit,
        )
        for (section, kind, what, unit, values), group in shared.items()
    ]
    return tuple(sorted(changes, key=_rank))


def _without_alias(where: str) -> tuple[str, str]:
    """What puts a route before its alias under `/api` (protocol 1.2), and both together."""
    return where.replace(" /api/", " /", 1), where


def _rank(change: Change) -> tuple[object, ...]:
    where = tuple(map(_without_alias, change.where))
    return (list(SECTIONS).index(change.section), where, change.what, change.kind, change.values, change.unit)
