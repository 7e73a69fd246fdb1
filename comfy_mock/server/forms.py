"""Form bodies, read as the real server's HTTP library reads them (protocol 2.5)."""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Mapping
from typing import Union
from urllib.parse import parse_qsl, unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.uploads import UploadedFile

FormValue = Union[str, bytes, UploadedFile]
"""A text field, one whose own `Content-Type` is no text, or a file (a part with a file name)."""

Form = Mapping[str, FormValue]

_PARAMETER = re.compile(r';\s*([^=;\s]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.DOTALL)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ESCAPED = re.compile(r"\\([\x00-\x7f])")


def header_value(header: str) -> tuple[str, dict[str, str]]:
    """A header such as `Content-Type` as its lower-case value and its parameters by lower-case name.

    Quoted parameters lose their escapes; of a repeated one the first counts.
    """
    parameters: dict[str, str] = {}
    for name, value in _PARAMETER.findall(header):
        plain = _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value.strip()
        parameters.setdefault(name.lower(), plain)
    return header.partition(";")[0].strip().lower(), parameters


def disposition_parameters(header: str) -> dict[str, str]:
    """The parameters of a `Content-Disposition` by lower-case name; none at all where any of it is malformed.

    As on the real server, quoted values lose slashes at their start with their escapes, `name*=utf-8''…` counts over a
    plain `name=`, and a quoted value may have one semicolon but not two.
    """
    kind, *pieces = header.split(";")
    if not _TOKEN.fullmatch(kind.strip()):
        return {}
    plain: dict[str, str] = {}
    extended: dict[str, str | None] = {}
    while pieces:
        piece = pieces.pop(0)
        if not piece.strip():
            continue
        name, equals, value = (part.strip() for part in piece.partition("="))
        key = name.lower()
        if not equals or key in plain or key in extended:
            return {}
        if key.endswith("*"):
            if not _TOKEN.fullmatch(value):
                return {}
            extended[key] = _extended(value)
            continue
        if not _is_quoted(value) and not _TOKEN.fullmatch(value):
            value = f"{value};{pieces.pop(0)}".strip() if pieces else value
            if not _is_quoted(value):
                return {}
        plain[key] = _ESCAPED.sub(r"\1", value[1:-1].lstrip("\\/")) if _is_quoted(value) else value
    return plain | {key[:-1]: value for key, value in extended.items() if value is not None}


def _is_quoted(value: str) -> bool:
    return len(value) >= 2 and value[0] == value[-1] == '"'


def parse_form(content_type: str | None, body: bytes) -> Form:
    """The fields of a form body, of a repeated one the first; none at all where the type is not that of a form.

    Raises `ServerTrouble` where the real server's parser gives up: no boundary, garbage, a body that ends too soon.
    """
    kind, parameters = header_value(content_type or "")
    if kind == "multipart/form-data":
        return _multipart(parameters.get("boundary", ""), body)
    if kind == "application/x-www-form-urlencoded":
        charset = parameters.get("charset", "utf-8")
        try:
            pairs = parse_qsl(body.rstrip().decode(charset), keep_blank_values=True, encoding=charset)
        except (LookupError, ValueError) as error:
            raise ServerTrouble(f"the urlencoded form cannot be read: {error}") from error
        return dict(reversed(pairs))
    return {}


def _extended(value: str) -> str | None:
    """The text of a `charset'language'percent-encoded` value, None if it is none."""
    charset, quote, rest = value.partition("'")
    _, second_quote, encoded = rest.partition("'")
    if not quote or not second_quote:
        return None
    try:
        return unquote(encoded, charset or "utf-8", "strict")
    except (LookupError, ValueError):
        return None


_ENCODINGS = ("base64", "quoted-printable", "binary", "8bit", "7bit")
_BOUNDARY_MAX = 70


class _Part:
    """One part of a multipart body while it is read."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.content = bytearray()

    def field(self) -> tuple[str, FormValue]:
        """Its name and value. Raises `ServerTrouble` if it is not a field of a form."""
        names = disposition_parameters(self.headers.get("content-disposition", ""))
        if "name" not in names:
            raise ServerTrouble("a part of the multipart form has no name")
        kind, parameters = header_value(self.headers.get("content-type", ""))
        if kind.startswith("multipart/"):
            raise ServerTrouble("a part of the multipart form is itself multipart")
        if names.get("filename"):
            return names["name"], UploadedFile(names["filename"], self._decoded())
        if kind and not kind.startswith("text/"):
            return names["name"], self._decoded()
        try:
            return names["name"], self._decoded().decode(parameters.get("charset", "utf-8"))
        except (LookupError, ValueError) as error:
            raise ServerTrouble(f"the form field {names['name']!r} cannot be decoded: {error}") from error

    def _decoded(self) -> bytes:
        encoding = self.headers.get("content-transfer-encoding", "binary").lower()
        if encoding not in _ENCODINGS:
            raise ServerTrouble(f"a part of the multipart form is encoded as {encoding!r}")
        if encoding == "base64":
            try:
                return base64.b64decode(self.content)
            except ValueError as error:
                raise ServerTrouble(f"a part of the multipart form is not base64: {error}") from error
        return quopri.decodestring(self.content) if encoding == "quoted-printable" else bytes(self.content)


class _Collector:
    """The parts of a multipart body, from the parser's callbacks."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.complete = False
        self._name = b""
        self._value = b""

    def on_part_begin(self) -> None:
        self.parts.append(_Part())

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].content += memoryview(data)[start:end]

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        value = self._value.strip().decode("utf-8", "surrogateescape")
        if _CONTROL.search(value):
            raise ServerTrouble("a header of the multipart form has a control character in it")
        self.parts[-1].headers.setdefault(self._name.decode("latin-1").lower(), value)
        self._name = self._value = b""

    def on_end(self) -> None:
        self.complete = True


def _multipart(boundary: str, body: bytes) -> Form:
    if not 0 < len(boundary) <= _BOUNDARY_MAX:
        raise ServerTrouble(f"the boundary of the multipart form has {len(boundary)} characters")
    encoded = boundary.encode("utf-8", "surrogateescape")
    collector = _Collector()
    try:
        parser = MultipartParser(
            encoded,
            {
                "on_part_begin": collector.on_part_begin,
                "on_part_data": collector.on_part_data,
                "on_header_field": collector.on_header_field,
                "on_header_value": collector.on_header_value,
                "on_header_end": collector.on_header_end,
                "on_end": collector.on_end,
            },
        )
        parser.write(_from_first_boundary(body, b"--" + encoded))
    except (FormParserError, ValueError) as error:
        raise ServerTrouble(f"the multipart form cannot be read: {error}") from error
    if not collector.complete:
        raise ServerTrouble("the multipart form ends before its last boundary")
    fields = [part.field() for part in collector.parts]
    return dict(reversed(fields))


def _from_first_boundary(body: bytes, delimiter: bytes) -> bytes:
    """The body without what may stand before its parts."""
    return body if body.startswith(delimiter) else body[body.find(b"\n" + delimiter) + 1 :]
