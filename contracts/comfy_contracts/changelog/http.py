"""What has changed in the answers to the same requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from comfy_contracts.changelog.model import Finding, Kind
from comfy_contracts.changelog.names import Agreement, Pairs, nameless
from comfy_contracts.changelog.nodes import is_catalogue, node_findings
from comfy_contracts.changelog.pairing import asked_for
from comfy_contracts.changelog.routes import is_unrouted
from comfy_contracts.changelog.values import Step, Walk, parsed, word
from comfy_contracts.compare_http import OMITTED, Exchange
from comfy_contracts.har import Entry

_TOLD = ("os", "comfyui_version", "required_frontend_version", "required_templates_version")
"""What `GET /system_stats` tells of the server and not of the machine (protocol 2.2); its other values are free."""


@dataclass(frozen=True)
class Answers:
    """What two servers answered to the same request: as recorded, and without what is free.

    `names` are those of the two traffics, `place` tells these answers from all others.
    """

    place: tuple[object, ...]
    old: Entry
    new: Entry
    before: Exchange
    after: Exchange
    names: Pairs
    key_order: bool

    @property
    def route(self) -> str:
        """The route that was asked for."""
        return asked_for(self.old)


def http_findings(pairs: Iterable[Answers]) -> Iterator[Finding]:
    """What has changed in answers, of all recordings: whether a server has a route is told by all answers of it."""
    routes: defaultdict[str, list[Answers]] = defaultdict(list)
    for pair in pairs:
        routes[pair.route].append(pair)
    for route, group in routes.items():
        fate = _fate(group)
        if fate is None:
            for pair in group:
                yield from _of_answers(pair)
        else:
            for pair in group:
                yield Finding("routes", fate, route, "", *_statuses_of_absence(pair, fate), pair.place, "answer")


def _fate(group: Sequence[Answers]) -> Kind | None:
    """Whether a route has come or gone."""
    lacked_before = all(is_unrouted(pair.old) for pair in group)
    lacked_after = all(is_unrouted(pair.new) for pair in group)
    if lacked_before == lacked_after:
        return None
    return "added" if lacked_before else "removed"


def _statuses_of_absence(pair: Answers, fate: Kind) -> tuple[str, str]:
    return (str(pair.old.response.status), "") if fate == "added" else ("", str(pair.new.response.status))


def _of_answers(pair: Answers) -> Iterator[Finding]:
    before, after = _status(pair.before.status), _status(pair.after.status)
    if before[0] != after[0]:
        yield _finding(pair, "statuses", "changed", "status", _outcome(pair.before), _outcome(pair.after))
        if _failed(pair.old) != _failed(pair.new):
            return  # The rest of an error and of a success have nothing to do with each other.
    elif before[1] and after[1] and before != after:  # Over HTTP/2 there are no reasons, so browsers save none.
        yield _finding(pair, "statuses", "changed", "reason", pair.before.status, pair.after.status)
    yield from _of_headers(pair)
    yield from _of_bodies(pair)


def _finding(pair: Answers, section: str, kind: Kind, what: str, before: str, after: str) -> Finding:
    return Finding(section, kind, pair.route, what, before, after, pair.place, "answer")


def _status(status: str) -> tuple[str, str]:
    code, _, reason = status.partition(" ")
    # "403 or 404": statuses that count as one have no reason.
    return (status, "") if reason.startswith("or ") else (code, reason)


def _failed(entry: Entry) -> bool:
    return entry.response.status >= 400


def _outcome(exchange: Exchange) -> str:
    """The code of an answer, and of an error its type."""
    code = _status(exchange.status)[0]
    error = exchange.value.get("error") if isinstance(exchange.value, dict) else None
    kind = error.get("type") if isinstance(error, dict) else error
    return f"{code} {kind}" if isinstance(kind, str) and kind else code


def _of_headers(pair: Answers) -> Iterator[Finding]:
    yield from (
        _finding(pair, "headers", kind, what, before, after)
        for kind, what, before, after in header_changes(pair.before.headers, pair.after.headers, pair.names)
    )


def header_changes(before: dict[str, str], after: dict[str, str], names: Pairs) -> Iterator[tuple[Kind, str, str, str]]:
    """What has changed in headers: the kind of change, the header, and its values."""
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            kind: Kind = "added" if old is None else "removed"
            yield kind, f"header `{name}`", nameless(old or ""), nameless(new or "")
        elif names.agree(old, new) is not Agreement.EQUAL:
            yield "changed", f"header `{name}`", nameless(old), nameless(new)


def _of_bodies(pair: Answers) -> Iterator[Finding]:
    before, after = pair.before, pair.after
    if OMITTED in (before.body, after.body):
        return
    kinds = _kind_of_body(before), _kind_of_body(after)
    section = "errors" if _failed(pair.old) else "bodies"
    if kinds[0] != kinds[1]:
        retitled = before.headers.get("content-type") != after.headers.get("content-type")
        both = [parsed(entry.response.body or b"") for entry in (pair.old, pair.new)]
        if not retitled or None in both:  # Else the header of the type says all.
            yield _finding(pair, section, "retyped", "body", *kinds)
        return
    if before.dump != after.dump:
        forms = {True: "Python's default form", False: "another form"}
        yield _finding(pair, section, "changed", "form of the JSON", forms[before.dump], forms[after.dump])
    if is_catalogue(pair.route) and isinstance(before.body, dict) and isinstance(after.body, dict):
        yield from node_findings(before.body, after.body, pair.names, key_order=pair.key_order)
        return
    root = {"JSON": "$", "text": "text"}.get(kinds[0], "file")
    for step in Walk(pair.names, root=root, key_order=pair.key_order).steps(before.body, after.body):
        yield _finding(pair, _section(step, section), step.kind, step.path, step.before, step.after)
    yield from _of_what_is_told(pair)


def _section(step: Step, section: str) -> str:
    return section if step.structural or section == "errors" else "values"


def _kind_of_body(exchange: Exchange) -> str:
    if exchange.value is not None:
        return "JSON"
    if isinstance(exchange.body, dict):
        return str(exchange.body.get("kind", "file"))
    if exchange.body == "null" and "json" in exchange.headers.get("content-type", ""):
        return "null"
    return "text" if exchange.body else "nothing"


def _of_what_is_told(pair: Answers) -> Iterator[Finding]:
    if not pair.route.endswith("/system_stats"):
        return
    old, new = told_of_system(pair.before.value), told_of_system(pair.after.value)
    for name in _TOLD:
        if name in old and name in new and old[name] != new[name] and word(old[name]) == word(new[name]):
            yield _finding(pair, "values", "changed", f"`$.system.{name}`", str(old[name]), str(new[name]))


def told_of_system(value: Any) -> dict[str, Any]:
    """What an answer of `GET /system_stats` says of the system; nothing where it is no such answer."""
    system = value.get("system") if isinstance(value, dict) else None
    return system if isinstance(system, dict) else {}
