"""From documents to the parts of a script, by the types that the model declares; all problems are found at once."""

from __future__ import annotations

import base64
import binascii
import functools
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import inspect

from comfy_mock.engine.script.documents import Document, Field
from comfy_mock.engine.script.model import OutputFile, Previews
from comfy_mock.engine.script.problems import Path, Problem, Source, did_you_mean, shown, written

ReadFile = Callable[[str], bytes]
"""Gives the content of a file by the name that a script has for it. Raises `OSError`."""

_HALF_PAIR = re.compile("[\ud800-\udfff]")

BAD: Any = object()
"""What a value becomes that has a problem."""

_SCALARS = (
    inspect.NoneType,
    inspect.BoolType,
    inspect.LiteralType,
    inspect.StrType,
    inspect.IntType,
    inspect.FloatType,
    inspect.BytesType,
)
"""The order in which a scalar is tried as one of several types."""


class Builder:
    """Builds parts of a script. `problems` has what was wrong, `source` learns where everything stands.

    Files that the script names are read with `read_file`; without it they are a problem.
    """

    def __init__(self, source: Source, read_file: ReadFile | None) -> None:
        self.problems: list[Problem] = []
        self._source, self._read_file = source, read_file

    def build(self, document: Document, kind: inspect.Type, path: Path) -> Any:
        """The value of a type that a document stands for; `BAD` where it stands for none."""
        if document.place is not None:
            self._source.places.setdefault(path, document.place)
        if isinstance(document.content, str) and _HALF_PAIR.search(document.content):
            return self.wrong(path, f"has half of a surrogate pair, which no text can hold: {shown(document.content)}")
        if isinstance(kind, inspect.AnyType):
            return self._plain(document, path)
        kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
        content = document.content
        structs = [each for each in kinds if isinstance(each, inspect.StructType)]
        if isinstance(content, dict) and structs:
            return self._struct(content, structs, path)
        for each in kinds:
            if isinstance(content, dict) and isinstance(each, inspect.DictType):
                return self._object(content, each.value_type, path)
            if isinstance(content, list) and isinstance(each, inspect.ListType):
                return self._list(content, each.item_type, path)
        if isinstance(content, (dict, list)):
            return self._unlike(document, kinds, path)
        return self._scalar(document, kinds, path)

    def wrong(self, path: Path, text: str) -> Any:
        """Note a problem."""
        self.problems.append(Problem(written(path), text, self._source.place(path), self._source.name or None))
        return BAD

    # -- scalars

    def _scalar(self, document: Document, kinds: Iterable[inspect.Type], path: Path) -> Any:
        for kind in sorted(kinds, key=lambda kind: _SCALARS.index(type(kind)) if type(kind) in _SCALARS else -1):
            value = _scalar_as(document, kind)
            if value is not BAD:
                return value
        return self._unlike(document, kinds, path)

    def _unlike(self, document: Document, kinds: Iterable[inspect.Type], path: Path) -> Any:
        content = document.content
        text = f"must be {_any_of(kinds)}, not {_described(content)}"
        if any(isinstance(kind, inspect.StrType) for kind in kinds) and isinstance(content, (int, float)):
            text += f'; write "{str(content).lower() if isinstance(content, bool) else content}"'
        if any(isinstance(kind, inspect.BoolType) for kind in kinds) and str(content).lower() in _SWITCHES:
            text += f"; did you mean {_SWITCHES[str(content).lower()]}?"
        choices = [value for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]
        return self.wrong(path, text + did_you_mean(content, map(str, choices)))

    def _plain(self, document: Document, path: Path) -> Any:
        """What JSON has, as it is."""
        content = document.content
        if isinstance(content, dict):
            return self._object(content, inspect.AnyType(), path)
        if isinstance(content, list):
            return self._list(content, inspect.AnyType(), path)
        if content is None or isinstance(content, (str, int, float)):
            return content
        return self.wrong(path, f"must be what JSON has (text, number, list, object …), not {_described(content)}")

    # -- lists and objects

    def _list(self, items: list[Document], kind: inspect.Type, path: Path) -> Any:
        built = [self.build(item, kind, (*path, index)) for index, item in enumerate(items)]
        return BAD if any(item is BAD for item in built) else built

    def _object(self, fields: dict[str, Field], kind: inspect.Type, path: Path) -> Any:
        built = {name: self.build(field.value, kind, (*path, name)) for name, field in fields.items()}
        return BAD if any(item is BAD for item in built.values()) else built

    def _struct(self, fields: dict[str, Field], kinds: list[inspect.StructType], path: Path) -> Any:
        kind = self._of_its_tag(fields, kinds, path)
        if kind is None:
            return BAD
        known = {field.encode_name: field for field in kind.fields}
        values = {}
        for name, field in fields.items():
            inside = (*path, name)
            if field.place is not None:
                self._source.places[inside] = field.place
            if name in known:
                values[name] = self.build(field.value, known[name].type, inside)
            elif name != kind.tag_field:
                self.wrong(inside, _unknown_key(name, kind))
        missing = [name for name, declared in known.items() if declared.required and name not in fields]
        for name in missing:
            self.wrong(path, f"{_name(kind)} needs `{name}`: {_describe(known[name].type)}")
        if missing or any(value is BAD for value in values.values()):
            return BAD
        return kind.cls(**self._with_files(kind.cls, values, path))

    def _of_its_tag(
        self, fields: dict[str, Field], kinds: list[inspect.StructType], path: Path
    ) -> inspect.StructType | None:
        tag_field = kinds[0].tag_field
        if tag_field is None:
            return kinds[0]
        tags = {str(kind.tag): kind for kind in kinds}
        if tag_field not in fields:
            alike = [name for name in fields if name.lower() == tag_field]
            hint = f"; it is written as {alike[0]!r} here" if alike else ""
            self.wrong(path, f"needs `{tag_field}`, which says what it is about: one of {', '.join(tags)}{hint}")
            return None
        place, tag = fields[tag_field]
        if isinstance(tag.content, str) and tag.content in tags:
            return tags[tag.content]
        where = (*path, tag_field)
        if place is not None:
            self._source.places[where] = place
        near = did_you_mean(tag.content, tags)
        self.wrong(where, f"there is no {shown(tag.content)} rule; it is one of {', '.join(tags)}{near}")
        return None

    # -- files

    def _with_files(self, cls: type, values: dict[str, Any], path: Path) -> dict[str, Any]:
        """The values with the contents of the files that they name in place of the names."""
        if cls is Previews and values.get("files"):
            read = [self._file(name, (*path, "files", index)) for index, name in enumerate(values["files"])]
            return {**values, "files": [], "images": [*values.get("images", []), *read]}
        if cls is OutputFile and values.get("file") is not None:
            if values.get("data"):
                self.wrong((*path, "file"), "there is `data` too: give one of them")
            return {**values, "file": None, "data": self._file(values["file"], (*path, "file"))}
        return values

    def _file(self, name: str, path: Path) -> bytes:
        if self._read_file is None:
            self.wrong(path, f"no files are read here: give the content of {name!r} itself, as base64")
            return b""
        try:
            return self._read_file(name)
        except (OSError, ValueError) as error:
            self.wrong(path, f"cannot read {name!r}: {getattr(error, 'strerror', None) or error}")
            return b""


_SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""What was true and false in older YAML."""


def _scalar_as(document: Document, kind: inspect.Type) -> Any:
    content = document.content
    if isinstance(kind, inspect.NoneType) and content is None:
        return None
    if isinstance(kind, inspect.BoolType) and isinstance(content, bool):
        return content
    if isinstance(kind, inspect.LiteralType) and isinstance(content, str) and content in kind.values:
        return content
    if isinstance(kind, inspect.StrType):
        if isinstance(content, str):
            return content
        return BAD if document.plain is None or content is None else document.plain
    if isinstance(content, bool):
        return BAD
    if isinstance(kind, inspect.IntType) and isinstance(content, int):
        return content
    if isinstance(kind, inspect.FloatType) and isinstance(content, (int, float)):
        return _as_float(content)
    if isinstance(kind, inspect.BytesType):
        return _as_bytes(content)
    return BAD


def _as_float(number: float) -> Any:
    try:
        return float(number) if math.isfinite(number) else BAD
    except OverflowError:
        return BAD


def _as_bytes(content: Any) -> Any:
    if isinstance(content, bytes):
        return content
    try:
        return base64.b64decode(content, validate=True) if isinstance(content, str) else BAD
    except (binascii.Error, ValueError):
        return BAD


def _unknown_key(name: str, kind: inspect.StructType) -> str:
    own = [*([kind.tag_field] if kind.tag_field else []), *(field.encode_name for field in kind.fields)]
    near = did_you_mean(name, own)
    for field in kind.fields:
        inner = [each.encode_name for each in field.type.fields] if isinstance(field.type, inspect.StructType) else []
        if name in inner:
            near = f"; it belongs into `{field.encode_name}`."
        elif not near and did_you_mean(name, inner):
            near = f"{did_you_mean(name, inner)[:-1]} in `{field.encode_name}`?"
    return f"{_name(kind)} has no `{name}`{near or '.'} It has {', '.join(own)}"


def _name(kind: inspect.StructType) -> str:
    if kind.tag_field is not None:
        return f"a {kind.tag} rule"
    return _WORDS.get(kind.cls.__name__, "the script" if kind.cls.__name__ == "Script" else "this")


_WORDS = {
    "NodeMatch": "the match of a node",
    "RequestMatch": "the match of a request",
    "SocketMatch": "the match of a WebSocket",
    "EventMatch": "the match of a message",
    "MessageMatch": "the match of a message",
    "PromptMatch": "the match of a prompt",
}


def _any_of(kinds: Iterable[inspect.Type]) -> str:
    return " or ".join(dict.fromkeys(_describe(kind) for kind in kinds))


def _describe(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.UnionType):
        return _any_of(kind.types)
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(f'"{value}"' for value in kind.values)
    if isinstance(kind, inspect.ListType):
        return "a list"
    if isinstance(kind, inspect.StructType):
        fields = [field.encode_name for field in kind.fields]
        return f"an object ({', '.join(fields[:4])}{' …' if len(fields) > 4 else ''})"
    return {
        inspect.StrType: "a text",
        inspect.IntType: "a whole number",
        inspect.FloatType: "a number",
        inspect.BoolType: "true or false",
        inspect.BytesType: "bytes in base64",
        inspect.NoneType: "null",
        inspect.DictType: "an object",
    }.get(type(kind), "anything")


def _described(content: Any) -> str:
    if isinstance(content, dict):
        return "an object"
    if isinstance(content, list):
        return "a list"
    if content is None or isinstance(content, (str, int, float)):
        return shown(content)
    return f"{type(content).__name__} ({shown(content)})"


@functools.cache
def type_of(cls: Any) -> inspect.Type:
    """What the model says of a class, or of several."""
    return inspect.type_info(cls)
