"""A changelog as text: a line a change, Markdown, and JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from comfy_contracts.changelog import Changelog
from comfy_contracts.changelog.model import SECTIONS, Change
from comfy_contracts.difference import cut_where_they_part

_LONGEST_VALUE = 80
_VALUES_SHOWN = 3
_PLACES_SHOWN = 3
_PLURALS = {"class": "classes"}
_VERBS = {"added": "added", "removed": "removed", "renamed": "renamed"}


def line(change: Change) -> str:
    """A change as a line of text; names and values stand in backticks, as in Markdown."""
    where = _places(change)
    what = " ".join(part for part in (change.what, _VERBS.get(change.kind, "")) if part)
    values = _values(change)
    if not change.what:
        said = f"{where} {what}{f' ({values})' if values else ''}"
    elif change.kind in ("added", "removed"):
        said = f"{what}{f' ({values})' if values else ''}"
    else:
        said = f"{what}: {values}" if values else what
    head = f"{where}: " if change.what and where else ""
    return f"{head}{said}{_amount(change)}"


def sections(found: Changelog) -> Iterator[tuple[str, list[str]]]:
    """The headings of a changelog, each with the lines under it; what is no change comes last."""
    for section, changes in groupby(found.changes, key=lambda change: change.section):
        yield SECTIONS[section], [line(change) for change in changes]
    for heading, counted in (
        ("Asked before only", found.only_before),
        ("Asked after only", found.only_after),
        ("Not compared, as a recording leaves the body out", found.not_compared),
    ):
        if counted:
            yield heading, [f"`{what}`{f' ×{count}' if count > 1 else ''}" for what, count in counted.items()]


def title(found: Changelog, before: str, after: str) -> str:
    """What a changelog is about. `before` and `after` say what the recordings are called."""
    one_version = found.versions[0] == found.versions[1]

    def called(version: str, name: str) -> str:
        if not version:
            return name
        return f"ComfyUI {version} ({name})" if one_version else f"ComfyUI {version}"

    return f"Changes from {called(found.versions[0], before)} to {called(found.versions[1], after)}"


def summary(found: Changelog) -> str:
    """How much was compared, and how many changes there are."""
    changes = _counted(len(found.changes), "change")
    return f"{changes} in {_counted(found.requests, 'answer')} and on {_counted(found.sockets, 'socket')}"


def markdown(found: Changelog, before: str = "before", after: str = "after") -> str:
    """A changelog as Markdown."""
    parts = [f"# {title(found, before, after)}", f"{summary(found)}."]
    for heading, lines in sections(found):
        parts.append(f"## {heading}\n\n" + "\n".join(f"* {one}" for one in lines))
    return "\n\n".join(parts) + "\n"


def plain(found: Changelog) -> dict[str, Any]:
    """A changelog as JSON (its form stands in docs/contracts.md)."""
    return {
        "versions": list(found.versions),
        "compared": {"requests": found.requests, "sockets": found.sockets},
        "changes": [_plain(change) for change in found.changes],
        "only_before": dict(found.only_before),
        "only_after": dict(found.only_after),
        "not_compared": dict(found.not_compared),
    }


def _plain(change: Change) -> dict[str, Any]:
    return {
        "section": change.section,
        "kind": change.kind,
        "where": list(change.where),
        "what": change.what,
        "values": [{"before": before, "after": after} for before, after in change.values],
        "count": change.count,
        "unit": change.unit,
        "text": line(change),
    }


def _places(change: Change) -> str:
    # A list of node classes or routes that came or went is what one looks for; elsewhere some of them will do.
    places = _with_aliases(change.where)
    shown = places if not change.what else places[:_PLACES_SHOWN]
    more = len(places) - len(shown)
    return ", ".join(map(_code, shown)) + (f" and {more} more" if more else "")


def _with_aliases(places: Sequence[str]) -> list[str]:
    """`GET [/api]/queue` for a route and its alias (protocol 1.2), where both are there."""
    alias_of = {place: place.replace(" /", " /api/", 1) for place in places if " /" in place}
    aliased = {place for place, alias in alias_of.items() if alias in places}
    aliases = {alias_of[place] for place in aliased}
    return [
        place.replace(" /", " [/api]/", 1) if place in aliased else place for place in places if place not in aliases
    ]


def _values(change: Change) -> str:
    shown = [_value(change, before, after) for before, after in change.values if before or after]
    more = len(shown) - _VALUES_SHOWN
    between = ", " if change.kind in ("added", "removed") else "; "
    return between.join(shown[:_VALUES_SHOWN]) + (f"{between}and {more} more" if more > 0 else "")


def _value(change: Change, before: str, after: str) -> str:
    if change.section == "routes":
        return f"{before} before" if before else f"{after} now"
    if change.kind in ("added", "removed"):
        return _code(cut_where_they_part(before or after, "", _LONGEST_VALUE)[0])
    if change.kind == "retyped":
        return f"{before} → {after}"
    left, right = cut_where_they_part(before, after, _LONGEST_VALUE)
    return f"{_code(left)} → {_code(right)}"


def _amount(change: Change) -> str:
    if change.count <= max(1, len(change.where)):
        return ""
    return f", in {_counted(change.count, change.unit)}"


def _counted(count: int, one: str) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {_PLURALS.get(one, f'{one}s')}"


def _code(text: str) -> str:
    """A text as code in Markdown: between more backticks than it has in a row."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"`{text}`" if fence == "`" else f"{fence} {text} {fence}"
