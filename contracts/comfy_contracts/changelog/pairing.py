"""Which request to the one server is which request to the other, and which was asked of one alone."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from msgspec import UNSET, structs

from comfy_contracts.canonical import Canon, dumps
from comfy_contracts.changelog.names import names_in, renamed
from comfy_contracts.changelog.routes import route_of
from comfy_contracts.changelog.runs import runs_asked_for, without_runs
from comfy_contracts.changelog.values import parsed
from comfy_contracts.compare_http import json_of
from comfy_contracts.har import Entry, Har, Request

_CONDITIONS = ("origin", "sec-fetch-site", "comfy-user", "range", "if-none-match", "if-modified-since", "connection")
"""Headers of requests by which an answer goes (protocol 1.4, 2.4 and 2.6)."""
_BOUNDARY = re.compile(r'boundary="?([^";,]+)')


@dataclass(frozen=True)
class Paired:
    """Two traffics reduced to the requests and sockets that both have, in the same order.

    `only_before` and `only_after` count what the one or the other alone has, by what was asked for.
    """

    before: Har
    after: Har
    only_before: Counter[str]
    only_after: Counter[str]


def paired(before: Har, after: Har) -> Paired:
    """What two traffics have in common, in the order of the first.

    Requests are the same if their method, path, query and body are. Where there are several, those with the same
    conditions in their headers are, then the first is the first. An id that the server made counts as the request that
    made it, any other as any id. Sockets are the same if their address is; of several, those whose client first asked
    the same. What a socket says of runs that one side alone asked for is left out, and then all it says of the queue as
    well. Raises `HarError` where a body cannot be decoded.
    """
    pairs = _pairs(_asked(before), _asked(after))
    old_alone = _others(before, [one for one, _ in pairs])
    new_alone = _others(after, [other for _, other in pairs])
    runs = {*runs_asked_for(old_alone), *runs_asked_for(new_alone)}
    return Paired(
        _reduced(before, [without_runs(one, runs) for one, _ in pairs]),
        _reduced(after, [without_runs(other, runs) for _, other in pairs]),
        Counter(map(asked_for, old_alone)),
        Counter(map(asked_for, new_alone)),
    )


def asked_for(entry: Entry) -> str:
    """What a request asks for: its route, or the path of a socket."""
    path = urlsplit(entry.request.url).path or "/"
    return f"WebSocket {path}" if entry.is_socket else route_of(entry.request.method, path)


def _reduced(har: Har, entries: list[Entry]) -> Har:
    return structs.replace(har, log=structs.replace(har.log, entries=entries))


def _others(har: Har, entries: list[Entry]) -> list[Entry]:
    chosen = {id(entry) for entry in entries}
    return [entry for entry in har.entries if id(entry) not in chosen]


@dataclass(frozen=True)
class _Asked:
    """What was asked for: what makes it the same as in another traffic, and what tells it from others of that kind."""

    question: str
    detail: tuple[str | None, ...]
    entry: Entry


def _pairs(before: list[_Asked], after: list[_Asked]) -> list[tuple[Entry, Entry]]:
    left: defaultdict[str, list[_Asked]] = defaultdict(list)
    for other in after:
        left[other.question].append(other)
    pairs: dict[int, tuple[Entry, Entry]] = {}
    for in_detail in (True, False):
        for index, one in enumerate(before):
            alike = (other for other in left[one.question] if one.detail == other.detail or not in_detail)
            found = None if index in pairs else next(alike, None)
            if found is not None:
                pairs[index] = one.entry, found.entry
                left[one.question].remove(found)
    return [pairs[index] for index in sorted(pairs)]


def _asked(har: Har) -> list[_Asked]:
    canon = Canon(har)
    makers: dict[str, str] = {}
    users: dict[str, str] = {}
    put: Counter[str] = Counter()
    asked = []
    for entry in har.exchanges():
        text = canon.text(_question(entry))
        question = renamed(text, makers)
        asked.append(_Asked(question, tuple(map(entry.request.header, _CONDITIONS)), entry))
        digest = hashlib.sha256(f"{put[question]} {question}".encode("utf-8", "replace")).hexdigest()
        put[question] += 1
        for name in names_in(text):
            users.setdefault(name, digest)
        if entry.request.method != "GET":
            for place, made in _texts(json_of(entry.response)):
                for name in names_in(canon.text(made)):
                    makers.setdefault(name, f"{digest}{place}")
    for entry in har.sockets():
        address = canon.text(_question(entry))
        clients = tuple(users.get(name) for name in names_in(address))
        asked.append(_Asked(renamed(address, {}), clients, entry))
    return asked


def _question(entry: Entry) -> str:
    url = urlsplit(entry.request.url)
    what = "WebSocket" if entry.is_socket else entry.request.method
    return f"{what} {url.path or '/'}?{url.query}\n{_body(entry.request)}"


def _body(request: Request) -> str:
    """The body of a request as a text that is the same for the same body."""
    if request.post_data is not UNSET and request.post_data.omitted is True:
        return f"sha256 {request.post_data.sha256}"
    value = parsed(request.body)
    if value is not None:
        return dumps(value)
    body = request.body
    boundary = _BOUNDARY.search(request.header("content-type") or "")
    if boundary is not None:
        body = body.replace(boundary[1].encode("utf-8", "replace"), b"boundary")
    return f"sha256 {hashlib.sha256(body).hexdigest()[:31]}" if body else ""


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a JSON value, with where it stands."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, f"{place}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{place}/{index}")
