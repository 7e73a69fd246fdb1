"""Files as HTTP answers: validators, conditional requests and ranges, for /view, user data and static files alike."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import format_datetime, parsedate

from comfy_mock.engine.answers import Answer
from comfy_mock.engine.byte_ranges import UnsatisfiableRangeError, byte_range
from comfy_mock.engine.content_types import BINARY, content_type_of
from comfy_mock.engine.files import Files, FileStat

_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,\s*|$)')

Headers = tuple[tuple[str, str], ...]


def file_answer(
    files: Files,
    path: str,
    request_headers: Mapping[str, str],
    *,
    content_type: str | None = None,
    headers: Headers = (),
) -> Answer:
    """The file at a virtual `path` as the real server's file handler answers it (protocol 2.4, 2.6, 2.8).

    `request_headers` are those of the request under lower-case names: conditions and ranges are obeyed. `content_type`
    None means: guess from the name. `headers` are put on every answer, refusals too. A missing file is an empty
    chunked 404, a folder an empty chunked 403. The answer to HEAD is the same, the shell drops the body.
    """
    kind = content_type_of(path) if content_type is None else content_type
    stat = files.stat(path)
    if stat is None or stat.is_folder:
        return Answer(404 if stat is None else 403, b"", content_type or BINARY, headers, chunked=True)
    validators = (("ETag", f'"{_etag(stat)}"'), ("Last-Modified", _http_date(stat.modified)))
    refusal = _failed_condition(stat, request_headers)
    if refusal is not None:
        return Answer(refusal, b"", kind, headers + validators if refusal == 304 else headers)
    part: slice | None = None
    if "range" in request_headers and not _changed_since(stat, request_headers.get("if-range")):
        try:
            part = byte_range(request_headers["range"], stat.size)
        except UnsatisfiableRangeError:
            unsatisfied = ("Content-Range", f"bytes */{stat.size}")
            return Answer(416, b"", kind, (*headers, unsatisfied), chunked=True)
    body = files.read(path)
    headers = (*headers, *validators, ("Accept-Ranges", "bytes"))
    if part is None:
        return Answer(200, body, kind, headers)
    shown = ("Content-Range", f"bytes {part.start}-{part.stop - 1}/{stat.size}")
    return Answer(206, body[part], kind, (*headers, shown))


def _etag(stat: FileStat) -> str:
    return f"{round(stat.modified * 1_000_000_000):x}-{stat.size:x}"


def _http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(math.ceil(seconds), timezone.utc), usegmt=True)


def _failed_condition(stat: FileStat, headers: Mapping[str, str]) -> int | None:
    """The status that a condition of the request calls for instead of the file: 412, 304, or None.

    A condition on the ETag counts over the one on the time; an empty one is none."""
    if headers.get("if-match"):
        if not _matches(headers["if-match"], _etag(stat), weak=False):
            return 412
    elif _changed_since(stat, headers.get("if-unmodified-since")):
        return 412
    if headers.get("if-none-match"):
        if _matches(headers["if-none-match"], _etag(stat), weak=True):
            return 304
    elif "if-modified-since" in headers:
        since = _seconds(headers["if-modified-since"])
        if since is not None and stat.modified <= since:
            return 304
    return None


def _matches(header: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of ETags holds `etag`. `*` matches any; what follows a malformed one is not looked at."""
    if header.strip() == "*":
        return True
    position = 0
    while match := _ETAG.match(header, position):
        if match.group(2) == etag and (weak or not match.group(1)):
            return True
        position = match.end()
        if position == len(header):
            break
    return False


def _changed_since(stat: FileStat, date: str | None) -> bool:
    """Whether the file is younger than an HTTP date. An ETag in its place is no date, and ignored (protocol 2.4)."""
    since = None if date is None else _seconds(date)
    return since is not None and stat.modified > since


def _seconds(date: str) -> float | None:
    """An HTTP date in seconds since the epoch, None if it is none."""
    parsed = parsedate(date)
    if parsed is None:
        return None
    try:
        return datetime(*parsed[:6], tzinfo=timezone.utc).timestamp()
    except (ValueError, OverflowError):
        return None
