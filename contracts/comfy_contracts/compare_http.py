"""HTTP exchanges made comparable, and compared (the rules stand in `equivalence`)."""

from __future__ import annotations

import difflib
import functools
import hashlib
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from comfy_contracts import jsontext
from comfy_contracts.canonical import Canon, kind
from comfy_contracts.catalogue import Catalogue
from comfy_contracts.difference import NOTHING, Difference, differences, found_by
from comfy_contracts.equivalence import (
    FIELD_RULES,
    FILE_COUNTER,
    HEADER_RULES,
    STATUS_RULES,
    STREAM_RULE,
    HeaderFree,
)
from comfy_contracts.har import Entry, Response
from comfy_contracts.media_facts import media_facts

_BY_DURATION = "GET /api/jobs?sort_by=execution_duration"
_SHORTEST_UPLOAD = 4
OMITTED = "<omitted>"
"""Stands for a body that the recording leaves out."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An HTTP exchange without what is free.

    `request` is its method and URL, `started` its time in epoch seconds, `status` the code and reason. `value` is the
    JSON of the answer as it was, None where it is none; `dump` says that it was written as Python's default dump writes
    it (protocol 1.1). `prompt` is the name of the prompt that the exchange queued, `number` its number, `several` that
    it has several outputs.
    """

    index: int
    started: float
    request: str
    status: str
    headers: dict[str, str]
    body: Any
    value: Any = None
    dump: bool = False
    prompt: str | None = None
    number: float | None = None
    several: bool = False


def read_exchanges(entries: Sequence[Entry], canon: Canon, *, equal_numbers: bool) -> list[Exchange]:
    """The exchanges of a traffic, in their order. Ids new in the k-th are named `h<k>`.

    `equal_numbers` says that prompts of the same number were posted.
    """
    uploads = [entry.request.body for entry in entries if entry.request.method in ("POST", "PUT")]
    exchanges = []
    for index, entry in enumerate(entries):
        canon.at(f"h{index}")
        exchanges.append(_read(index, entry, canon, uploads, equal_numbers))
    return exchanges


def queued_number(entry: Entry) -> float | None:
    """The number under which this exchange queued a prompt; None where it queued none (protocol 4.1)."""
    if entry.request.method != "POST" or not urlsplit(entry.request.url).path.endswith("/prompt"):
        return None
    value = json_of(entry.response)
    number = value.get("number") if isinstance(value, dict) and "prompt_id" in value else None
    return number if isinstance(number, (int, float)) else None


def _read(index: int, entry: Entry, canon: Canon, uploads: list[bytes], equal_numbers: bool) -> Exchange:
    url = urlsplit(entry.request.url)
    request = canon.text(f"{entry.request.method} {url.path or '/'}" + (f"?{url.query}" if url.query else ""))
    # Ids that the client chose are named after the request, not after an answer that happens to show them.
    canon.text(entry.request.body.decode("utf-8", "replace"))
    number = queued_number(entry)
    several = _has_several_outputs(entry) if url.path.endswith("/prompt") else False
    conditions = {"equal numbers": equal_numbers, "several outputs": several}
    places = frozenset(
        place.text for place in _PLACES if place.covers(entry.request.method, url.path, url.query, conditions)
    )
    value = json_of(entry.response)
    prompt = canon.text(value["prompt_id"]) if number is not None else None
    return Exchange(
        index,
        entry.started,
        request,
        _status(entry.response, places, canon),
        read_headers(entry.response, canon, uploaded=_is_uploaded(entry.response.body, uploads)),
        _body(entry, canon, uploads, places),
        value,
        value is not None and entry.response.unpacked == jsontext.dumps(value).encode("ascii"),
        prompt,
        number,
        several,
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A place of a rule, taken apart: `METHOD /path/{any}?parameter=value, condition`."""

    text: str
    method: str
    path: re.Pattern[str]
    parameter: str
    condition: str

    @classmethod
    def parse(cls, text: str) -> _Place:
        route, _, condition = text.partition(", ")
        method, _, url = route.partition(" ")
        path, _, parameter = url.partition("?")
        parts = re.split(r"({\w+})", path)
        pattern = re.compile("".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts))
        return cls(text, method, pattern, parameter, condition)

    def covers(self, method: str, path: str, query: str, conditions: Mapping[str, bool]) -> bool:
        paths = (path, path.removeprefix("/api"))
        return (
            method == self.method
            and any(self.path.fullmatch(path) for path in paths)
            and (not self.parameter or self.parameter in query.split("&"))
            and (not self.condition or conditions[self.condition])
        )


def covers_request(place: str, method: str, url: str) -> bool:
    """Whether the place of a rule is that of a request; a condition on the traffic is taken as fulfilled."""
    if not re.match(r"[A-Z]+ /", place):
        return False
    path, _, query = url.partition("?")
    return _Place.parse(place).covers(method, path, query, defaultdict(lambda: True))


_RULED_PLACES = dict.fromkeys([rule.place for rule in FIELD_RULES] + [rule.place for rule in STATUS_RULES])
_PLACES = tuple(_Place.parse(place) for place in _RULED_PLACES if re.match(r"[A-Z]+ /", place))


def _status(response: Response, places: frozenset[str], canon: Canon) -> str:
    for rule in STATUS_RULES:
        if rule.place in places and response.status in rule.statuses:
            canon.freed[f"status of {rule.place}"] += 1
            return " or ".join(map(str, sorted(rule.statuses)))
    return f"{response.status} {response.status_text}"


@functools.cache
def _output_classes() -> frozenset[str]:
    return frozenset(name for name, definition in Catalogue.packaged().items() if definition.output_node)


def _has_several_outputs(entry: Entry) -> bool:
    try:
        nodes = jsontext.loads(entry.request.body)["prompt"].values()
        return sum(node["class_type"] in _output_classes() for node in nodes) > 1
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


# Headers


def read_headers(response: Response, canon: Canon, *, uploaded: bool = False) -> dict[str, str]:
    """The headers of an answer by lower-case name, without what is free. `uploaded`: the body is the client's file."""
    found: dict[str, str] = {}
    for header in response.headers:
        name = header.name.lower()
        found[name] = f"{found[name]}, {header.value}" if name in found else header.value
    canon.freed.update(f"header {name}" for name in found if name in _HEADERS_FREE)
    freed = {name: _header(name, canon.text(value), uploaded) for name, value in found.items()}
    return {name: value for name, value in sorted(freed.items()) if value is not None}


_HEADERS_FREE = {rule.name: rule.free for rule in HEADER_RULES}


def _header(name: str, value: str, uploaded: bool) -> str | None:
    free = _HEADERS_FREE.get(name)
    if free is HeaderFree.IGNORED:
        return None
    if free is HeaderFree.PRESENT:
        return "<present>"
    if free is HeaderFree.CASE:
        return value.lower()
    if free is HeaderFree.NAME:
        return value.partition(";")[0].strip()
    if free is HeaderFree.DIGITS and not uploaded:
        return re.sub(r"\d+", "N", value)
    return value


# Bodies


def _is_uploaded(body: bytes | None, uploads: list[bytes]) -> bool:
    return body is not None and len(body) >= _SHORTEST_UPLOAD and any(body in upload for upload in uploads)


def json_of(response: Response) -> Any:
    """The JSON value of an answer, unpacked; None where it has none, or is not called JSON."""
    if "json" not in (response.header("content-type") or ""):
        return None
    try:
        return jsontext.loads(response.unpacked or b"")
    except (ValueError, RecursionError):
        return None


def _body(entry: Entry, canon: Canon, uploads: list[bytes], places: frozenset[str]) -> Any:
    response = entry.response
    if response.body is None:
        canon.freed["omitted body"] += 1
        return OMITTED
    raw = response.unpacked
    if raw is None:
        return "<does not unpack>"
    value = json_of(response)
    if value is not None:
        return _jobs(value, canon.json(value, places), entry) if _BY_DURATION in places else canon.json(value, places)
    text = _text(raw)
    if text is not None:
        return canon.text(text)
    if _is_uploaded(response.body, uploads):
        return {"kind": "uploaded", "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    canon.freed["media"] += 1
    if response.status == 206:
        return {"kind": "part", "bytes": len(raw)}
    return canon.json(media_facts(raw), ["media"])


def _text(raw: bytes) -> str | None:
    """The body as text, where it is text."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _jobs(value: Any, canonical: Any, entry: Entry) -> Any:
    """Jobs sorted by duration: with `limit` chance says which are shown, but they must follow their own times."""
    if not isinstance(value, dict) or not isinstance(value.get("jobs"), list):
        return canonical
    query = dict(parse_qsl(urlsplit(entry.request.url).query))
    durations = [
        job.get("execution_end_time", 0) - job.get("execution_start_time", 0) if "execution_end_time" in job else 0
        for job in value["jobs"]
    ]
    in_order = durations == sorted(durations, reverse=query.get("sort_order", "desc").lower() == "desc")
    jobs = len(value["jobs"]) if "limit" in query else canonical["jobs"]
    return {**canonical, "jobs": jobs, "jobs (follow their durations)": in_order}


# Comparing


def compare_exchanges(expected: list[Exchange], got: list[Exchange], *, key_order: bool) -> Iterator[Difference]:
    """Every difference between two lists of exchanges. `key_order`: the order of keys counts."""
    if [one.request for one in expected] != [one.request for one in got]:
        expected, got = _views_sorted(expected), _views_sorted(got)
    matcher = difflib.SequenceMatcher(
        None, [one.request for one in expected], [one.request for one in got], autojunk=False
    )
    for tag, start, end, got_start, got_end in matcher.get_opcodes():
        if tag == "equal" or end - start == got_end - got_start:
            for left, right in zip(expected[start:end], got[got_start:got_end], strict=True):
                yield from _compare(left, right, key_order)
        else:
            yield from (Difference(_where(one), one.request, NOTHING, "requests") for one in expected[start:end])
            yield from (Difference(_where(one), NOTHING, one.request, "requests") for one in got[got_start:got_end])


def _compare(expected: Exchange, got: Exchange, key_order: bool) -> Iterator[Difference]:
    where = _where(expected)
    yield from found_by("requests", differences(expected.request, got.request, f"{where} request"))
    yield from found_by("statuses", differences(expected.status, got.status, f"{where} status"))
    yield from found_by("headers", differences(expected.headers, got.headers, f"{where} headers", key_order=False))
    if expected.body != OMITTED:
        form = differences(expected.dump, got.dump, f"{where} body is JSON in Python's default form")
        yield from found_by("JSON form", form)
        yield from found_by("bodies", differences(expected.body, got.body, f"{where} body", key_order=key_order))


def _where(exchange: Exchange) -> str:
    request = exchange.request if len(exchange.request) <= 100 else f"{exchange.request[:100]}…"
    return f"exchange {exchange.index} ({request})"


def _views_sorted(exchanges: list[Exchange]) -> list[Exchange]:
    """Rule "files of one prompt": every run of neighbours that fetch files in the order of their requests."""
    ordered: list[Exchange] = []
    for is_view, group in itertools.groupby(exchanges, key=_fetches_a_file):
        members = list(group)
        ordered.extend(sorted(members, key=lambda one: one.request) if is_view else members)
    return ordered


def _fetches_a_file(exchange: Exchange) -> bool:
    return exchange.request.startswith(STREAM_RULE["files of one prompt"].words["requests that begin with"])


def without_order_of_outputs(exchange: Exchange) -> Exchange:
    """The exchange without what another order of outputs changes: file counters, letters, a job's preview."""
    return replace(
        exchange,
        request=mask_files(exchange.request),
        headers={name: mask_files(value) for name, value in exchange.headers.items()},
        body=mask_files(exchange.body),
    )


_LETTERS = re.compile(r"<letters [^>]*>")
_KEYS_ONLY = STREAM_RULE["other order of outputs"].words["fields with keys only"]


def mask_files(value: Any) -> Any:
    """A canonical value without file counters and random letters; of a `preview_output`, only its keys."""
    if isinstance(value, str):
        return _LETTERS.sub("<letters>", FILE_COUNTER.sub("_NNNNN", value))
    if isinstance(value, dict):
        return {
            key: sorted(item) if key in _KEYS_ONLY and isinstance(item, dict) else mask_files(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [mask_files(item) for item in value]
    return value


def without_results(exchange: Exchange) -> Exchange:
    """The exchange with the keys of its body alone: after a failure in another order the rest is another story."""
    body = sorted(exchange.body) if isinstance(exchange.body, dict) else kind(exchange.body)
    return replace(without_order_of_outputs(exchange), body=body)
