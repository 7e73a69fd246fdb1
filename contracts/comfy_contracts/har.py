"""Recorded traffic: HAR 1.2 with Chrome's `_webSocketMessages`.

Every field that a file holds survives `load` and `save`. HAR keeps a body as text where it can and in base64 where it
must; here `body` and `payload` are the bytes, or the text, that were on the wire.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import re
import zlib
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, Union
from urllib.parse import urlsplit

from msgspec import UNSET, UnsetType, field, structs

from comfy_contracts import jsontext
from comfy_contracts.structs import Lossless, ShapeError

TEXT_OPCODE = 1
BINARY_OPCODE = 2


class HarError(ValueError):
    """A file is not a HAR that can be used; the message names the file and the place in it."""


class Readable(Protocol):
    """A file that can be read whole: a `Path`, or a file inside a package."""

    @property
    def name(self) -> str: ...

    def read_bytes(self) -> bytes: ...


HarSource = Union[str, Readable, bytes]


class NameValue(Lossless, frozen=True):
    """A header, or a parameter of a query."""

    name: str
    value: str


class PostData(Lossless, frozen=True, kw_only=True, rename="camel"):
    """The body of a request. `omitted` is true where it was too large to keep; then `sha256` tells what it was."""

    mime_type: str
    text: str | UnsetType = UNSET
    encoding: str | UnsetType = field(default=UNSET, name="_encoding")
    omitted: bool | UnsetType = field(default=UNSET, name="_omitted")
    sha256: str | UnsetType = field(default=UNSET, name="_sha256")


class Content(Lossless, frozen=True, kw_only=True, rename="camel"):
    """The body of a response. `omitted` is true where it was too large to keep; then `sha256` tells what it was."""

    size: int
    mime_type: str
    text: str | UnsetType = UNSET
    encoding: str | UnsetType = UNSET
    omitted: bool | UnsetType = field(default=UNSET, name="_omitted")
    sha256: str | UnsetType = field(default=UNSET, name="_sha256")


class Request(Lossless, frozen=True, kw_only=True, rename="camel", dict=True):
    """The request of an exchange. Sizes are in bytes; -1 stands for unknown."""

    method: str
    url: str
    http_version: str | UnsetType = UNSET
    cookies: list[dict[str, Any]] | UnsetType = UNSET
    headers: list[NameValue] = field(default_factory=list)
    query_string: list[NameValue] | UnsetType = UNSET
    headers_size: int | UnsetType = UNSET
    body_size: int | UnsetType = UNSET
    post_data: PostData | UnsetType = UNSET

    @cached_property
    def body(self) -> bytes:
        """The bytes of the body, none where there is no body. Raises `HarError` where they cannot be decoded."""
        if self.post_data is UNSET:
            return b""
        return _body(self.post_data.text, self.post_data.encoding, f"the body of {self.method} {self.url}")

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case; None where there is none."""
        return _header(self.headers, name)


_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


class Response(Lossless, frozen=True, kw_only=True, rename="camel", dict=True):
    """The response of an exchange. Sizes are in bytes; -1 stands for unknown."""

    status: int
    status_text: str
    http_version: str | UnsetType = UNSET
    cookies: list[dict[str, Any]] | UnsetType = UNSET
    headers: list[NameValue] = field(default_factory=list)
    content: Content = field(default_factory=lambda: Content(size=0, mime_type=""))
    redirect_url: str | UnsetType = field(default=UNSET, name="redirectURL")
    headers_size: int | UnsetType = UNSET
    body_size: int | UnsetType = UNSET

    @cached_property
    def body(self) -> bytes | None:
        """The bytes of the body; None where the recording left them out. Raises `HarError` where they are garbled."""
        if self.content.omitted is True:
            return None
        return _body(self.content.text, self.content.encoding, f"the body of a response with status {self.status}")

    @cached_property
    def unpacked(self) -> bytes | None:
        """The body without its content encoding; None where it does not unpack, or was left out of the recording."""
        encoding = self.header("content-encoding")
        if self.body is None or encoding not in _WINDOW_BITS or self.content.encoding is UNSET:
            # Browsers save the text that they unpacked; what is still packed is never text.
            return self.body
        try:
            return zlib.decompress(self.body, _WINDOW_BITS[encoding])
        except zlib.error:
            return None

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case; None where there is none."""
        return _header(self.headers, name)


class WebSocketMessage(Lossless, frozen=True):
    """A message on a socket. `type` is `send` for the client's, `receive` for the server's; `time` in epoch seconds."""

    type: str
    time: float | int
    opcode: int
    data: str

    @property
    def payload(self) -> str | bytes:
        """What was sent: text, or the bytes of a binary message. Raises `HarError` where they cannot be decoded."""
        if self.opcode == TEXT_OPCODE:
            return self.data
        return _body(self.data, "base64", "a WebSocket message")


class WebSocketClose(Lossless, frozen=True):
    """How a socket ended; null where that is not known."""

    code: int | UnsetType | None = UNSET
    reason: str | UnsetType | None = UNSET


class Entry(Lossless, frozen=True, kw_only=True, rename="camel"):
    """One HTTP exchange, or one WebSocket connection with all its messages. `time` is in milliseconds."""

    started_date_time: str
    time: float | int
    resource_type: str | UnsetType = field(default=UNSET, name="_resourceType")
    web_socket_messages: list[WebSocketMessage] | UnsetType = field(default=UNSET, name="_webSocketMessages")
    web_socket_close: WebSocketClose | UnsetType = field(default=UNSET, name="_webSocketClose")
    request: Request
    response: Response
    cache: dict[str, Any] | UnsetType = UNSET
    timings: dict[str, Any] | UnsetType = UNSET

    @property
    def is_socket(self) -> bool:
        """Whether this is a WebSocket connection; its request is the handshake."""
        return self.web_socket_messages is not UNSET or self.resource_type == "websocket"

    @property
    def messages(self) -> list[WebSocketMessage]:
        """The messages of a connection in their order; none for an HTTP exchange."""
        return [] if self.web_socket_messages is UNSET else self.web_socket_messages

    @property
    def started(self) -> float:
        """When the request was sent, in seconds since the epoch. Raises `HarError` where the date is not one."""
        return _epoch(self.started_date_time)


class Log(Lossless, frozen=True, kw_only=True):
    """What a HAR file is about. `comfy` tells of the recorded server: version, cache mode, switches."""

    version: str
    creator: dict[str, Any]
    comment: str | UnsetType = UNSET
    comfy: dict[str, Any] | UnsetType = field(default=UNSET, name="_comfy")
    entries: list[Entry]


class Har(Lossless, frozen=True):
    """A HAR file."""

    log: Log

    @property
    def entries(self) -> list[Entry]:
        """All entries, in the order of the file."""
        return self.log.entries

    def exchanges(self) -> Iterator[Entry]:
        """The HTTP exchanges, in the order of the file."""
        return (entry for entry in self.log.entries if not entry.is_socket)

    def sockets(self) -> Iterator[Entry]:
        """The WebSocket connections, in the order of the file."""
        return (entry for entry in self.log.entries if entry.is_socket)


def load(source: HarSource) -> Har:
    """The HAR in a file, gzipped or not. `source` is a path, an object with `read_bytes`, or the content itself.

    Raises `HarError` where it is not a HAR, and `OSError` where the file cannot be read.
    """
    if isinstance(source, bytes):
        content, name = source, "the HAR"
    else:
        file: Readable = Path(source) if isinstance(source, str) else source
        content, name = file.read_bytes(), file.name
    try:
        value = jsontext.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise HarError(f"{name} is not JSON: {error}") from error
    try:
        return Har.from_builtins(value)
    except ShapeError as error:
        raise HarError(f"{name} is not a HAR: {error}") from error


_PAGE = frozenset({"document", "font", "manifest", "script", "stylesheet", "texttrack", "preflight"})
_ROUTES = re.compile(
    r"(?:/api)?/(?:ws|prompt|queue|history|object_info|system_stats|features|settings|users|view|upload)\b"
)


def of_server(har: Har) -> Har:
    """What a browser's recording has of a ComfyUI server: what its API was asked, as other recordings have it.

    Left out is what went to other servers or to none (`data:`), what the page is made of, what the browser answered
    from its cache, requests that got no answer, and headers of HTTP/2 that are none (`:authority`). The server is the
    first that was asked for one of ComfyUI's routes. Recordings that are not a browser's stay as they are.
    """
    asked = (urlsplit(entry.request.url) for entry in har.entries)
    server = next((url.netloc for url in asked if url.scheme in _SCHEMES and _ROUTES.match(url.path)), None)
    entries = [_without_pseudo_headers(entry) for entry in har.entries if server is None or _was_asked(entry, server)]
    return structs.replace(har, log=structs.replace(har.log, entries=entries))


_SCHEMES = frozenset({"http", "https", "ws", "wss"})


def _was_asked(entry: Entry, server: str) -> bool:
    return (
        urlsplit(entry.request.url).netloc == server
        and entry.resource_type not in _PAGE
        and "_fromCache" not in entry.extra
        and (entry.response.status != 0 or entry.resource_type is UNSET)
    )


def _without_pseudo_headers(entry: Entry) -> Entry:
    headers = [header for header in entry.request.headers if not header.name.startswith(":")]
    if len(headers) == len(entry.request.headers):
        return entry
    return structs.replace(entry, request=structs.replace(entry.request, headers=headers))


def dumps(har: Har) -> bytes:
    """The content of a HAR file: JSON in ASCII, one field a line."""
    return (jsontext.dumps(har, indent=1) + "\n").encode("ascii")


def save(har: Har, path: str | Path) -> None:
    """Write a HAR file; gzipped where the name ends in `.gz`. Equal HARs make equal files."""
    content = dumps(har)
    target = Path(path)
    target.write_bytes(gzip.compress(content, mtime=0) if target.suffix == ".gz" else content)


def packaged_recordings(version: str) -> dict[str, Readable]:
    """The recordings of a real server of that ComfyUI version that ship with this package, by name.

    Raises `HarError` where there are none of that version.
    """
    root = resources.files("comfy_contracts").joinpath("recordings")
    folder = root.joinpath(f"comfyui-{version}")
    if not folder.is_dir():
        known = sorted(item.name.removeprefix("comfyui-") for item in root.iterdir() if item.is_dir())
        raise HarError(f"no recordings of ComfyUI {version} are packaged; there are: {', '.join(known)}")
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".har.gz")), key=lambda item: item.name)
    return {item.name.removesuffix(".har.gz"): item for item in files}


def _header(headers: list[NameValue], name: str) -> str | None:
    return next((header.value for header in headers if header.name.lower() == name.lower()), None)


def _body(text: str | UnsetType, encoding: str | UnsetType, what: str) -> bytes:
    if text is UNSET:
        return b""
    if encoding is UNSET:
        return text.encode("utf-8", "surrogatepass")
    if encoding != "base64":
        raise HarError(f"{what} has the encoding {encoding!r}; only base64 is known")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HarError(f"{what} is not base64: {error}") from error


_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):?(\d\d))", re.IGNORECASE)


def _epoch(date: str) -> float:
    match = _DATE.fullmatch(date)
    if match is None:
        raise HarError(f"startedDateTime {date!r} is not an ISO 8601 date with a time zone")
    seconds, fraction, sign, hours, minutes = match.groups()
    try:
        # fromisoformat reads neither Z nor other fractions than of 3 or 6 digits before Python 3.11
        moment = datetime.fromisoformat(seconds).replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise HarError(f"startedDateTime {date!r} is not a date: {error}") from error
    offset = 0 if sign is None else int(f"{sign}1") * (int(hours) * 3600 + int(minutes) * 60)
    return moment.timestamp() - offset + float(f"0.{fraction or 0}")
