"""A text or Python data as a tree that knows where everything in it stands; JSON is read here, YAML in `yaml_text`."""

from __future__ import annotations

import bisect
import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Union

import msgspec

from comfy_mock.engine.script.problems import Place, Problem, ScriptError

DEPTH_MAX = 100
"""How deep values may be nested."""


class Field(NamedTuple):
    """A member of an object: the place of its key, and its value."""

    place: Place | None
    value: Document


@dataclass(frozen=True)
class Document:
    """A value: a scalar, a list or an object.

    `plain` is a scalar as it is written in YAML without quotes: where a text is wanted, that is the text, so `no`,
    `4` and `1.0` mean themselves there.
    """

    content: Content
    place: Place | None = None
    plain: str | None = None


Content = Union[dict[str, Field], list[Document], Any]


def data_document(data: Any, depth: int = 0) -> Document:
    """The document of Python data: what JSON has, bytes, and parts of scripts. Raises `ScriptError`."""
    if depth > DEPTH_MAX:
        raise ScriptError([Problem("", f"it is nested more than {DEPTH_MAX} deep")])
    if isinstance(data, msgspec.Struct):
        data = _members(data)
    if isinstance(data, Mapping):
        return Document({_key(key): Field(None, data_document(value, depth + 1)) for key, value in data.items()})
    if isinstance(data, (list, tuple)):
        return Document([data_document(item, depth + 1) for item in data])
    return Document(data)


def _key(key: Any) -> str:
    """`on` is true to readers of YAML 1.1."""
    return "on" if key is True else str(key)


def _members(part: msgspec.Struct) -> dict[str, Any]:
    """What is not at its default; in Python code it may be anything."""
    config = part.__struct_config__
    tag = {} if config.tag_field is None else {config.tag_field: config.tag}
    values = ((name, getattr(part, name), default) for name, default in _defaults(type(part)))
    return {**tag, **{name: value for name, value, default in values if value is not default and value != default}}


@functools.cache
def _defaults(cls: type[msgspec.Struct]) -> list[tuple[str, Any]]:
    return [
        (field.name, field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory())
        for field in msgspec.structs.fields(cls)
    ]


def json_document(text: str, name: str) -> Document:
    """The document of a JSON text. Raises `ScriptError`, which says where it is broken."""
    return _JsonReader(text, name).read()


class _JsonReader:
    """Reads JSON as Python's `json` does, and notes where everything stands."""

    def __init__(self, text: str, name: str) -> None:
        self._text, self._name = text, name
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self._scalar: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().raw_decode

    def read(self) -> Document:
        document, end = self._value(self._skip(0), 0)
        if self._skip(end) != len(self._text):
            raise self._broken(self._skip(end), "the text goes on behind the value")
        return document

    def _value(self, start: int, depth: int) -> tuple[Document, int]:
        if depth > DEPTH_MAX:
            raise self._broken(start, f"it is nested more than {DEPTH_MAX} deep")
        opening = self._text[start : start + 1]
        if opening == "{":
            return self._object(start, depth)
        if opening == "[":
            return self._list(start, depth)
        content, end = self._read_scalar(start)
        return Document(content, self._place(start)), end

    def _object(self, start: int, depth: int) -> tuple[Document, int]:
        fields: dict[str, Field] = {}
        at = self._skip(start + 1)
        while self._text[at : at + 1] != "}":
            if fields:
                at = self._skip(self._expect(",", at, "a comma or the end of the object"))
            if self._text[at : at + 1] != '"':
                raise self._broken(at, "a key in double quotes is missing here")
            key, end = self._read_scalar(at)
            if key in fields:
                raise self._broken(at, f"the key {key!r} is there twice")
            value, end = self._value(self._skip(self._expect(":", self._skip(end), "a colon")), depth + 1)
            fields[key] = Field(self._place(at), value)
            at = self._skip(end)
        return Document(fields, self._place(start)), at + 1

    def _list(self, start: int, depth: int) -> tuple[Document, int]:
        items: list[Document] = []
        at = self._skip(start + 1)
        while self._text[at : at + 1] != "]":
            if items:
                at = self._skip(self._expect(",", at, "a comma or the end of the list"))
            item, end = self._value(at, depth + 1)
            items.append(item)
            at = self._skip(end)
        return Document(items, self._place(start)), at + 1

    def _read_scalar(self, start: int) -> tuple[Any, int]:
        try:
            return self._scalar(self._text, start)
        except json.JSONDecodeError as error:
            raise self._broken(error.pos, f"this is no JSON: {error.msg}") from error
        except ValueError as error:
            raise self._broken(start, f"this number cannot be read: {error}") from error

    def _expect(self, sign: str, at: int, what: str) -> int:
        if self._text[at : at + 1] != sign:
            raise self._broken(at, f"{what} is missing here")
        return at + 1

    def _skip(self, at: int) -> int:
        while self._text[at : at + 1] in (" ", "\t", "\n", "\r"):
            at += 1
        return at

    def _place(self, at: int) -> Place:
        line = bisect.bisect_right(self._lines, at)
        return Place(line, at - self._lines[line - 1] + 1)

    def _broken(self, at: int, text: str) -> ScriptError:
        return ScriptError([Problem("", text, self._place(at), self._name)])
