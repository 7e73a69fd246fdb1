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
_ESCAPED = re.compile(r"\\([\x00-\x7f])")


def header_value(header: str) -> tuple[str, dict[str, str]]:
    """A header such as `Content-Type` as its lower-case value and its parameters by lower-case name.

    Quoted parameters lose their escapes and, as on the real server, slashes at their start. `name*=utf-8''…` counts
    over a plain `name=`.
    """
    parameters: dict[str, str] = {}
    for name, value in _PARAMETER.findall(header):
        key = name.lower()
        if key.endswith("*"):
            decoded = _extended(value.strip())
            if decoded is not None:
                parameters[key] = decoded
        elif value.startswith('"'):
            parameters[key] = _ESCAPED.sub(r"\1", value[1:-1].lstrip("\\/"))
        else:
            parameters[key] = value.strip()
    for key in [key for key in parameters if key.endswith("*")]:
        parameters[key[:-1]] = parameters.pop(key)
    return header.partition(";")[0].strip().lower(), parameters


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


class _Part:
    """One part of a multipart body while it is read."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.content = bytearray()

    def field(self) -> tuple[str, FormValue]:
        """Its name and value. Raises `ServerTrouble` if it is not a field of a form."""
        _, names = header_value(self.headers.get("content-disposition", ""))
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
        self.parts[-1].headers.setdefault(self._name.decode("latin-1").lower(), value)
        self._name = self._value = b""

    def on_end(self) -> None:
        self.complete = True


def _multipart(boundary: str, body: bytes) -> Form:
    if not boundary:
        raise ServerTrouble("the multipart form names no boundary")
    collector = _Collector()
    try:
        parser = MultipartParser(
            boundary.encode("utf-8", "surrogateescape"),
            {
                "on_part_begin": collector.on_part_begin,
                "on_part_data": collector.on_part_data,
                "on_header_field": collector.on_header_field,
                "on_header_value": collector.on_header_value,
                "on_header_end": collector.on_header_end,
                "on_end": collector.on_end,
            },
        )
        parser.write(body)
    except (FormParserError, ValueError) as error:
        raise ServerTrouble(f"the multipart form cannot be read: {error}") from error
    if not collector.complete:
        raise ServerTrouble("the multipart form ends before its last boundary")
    fields = [part.field() for part in collector.parts]
    return dict(reversed(fields))
