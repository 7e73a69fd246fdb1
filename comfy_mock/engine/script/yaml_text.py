"""YAML as scripts are written in it: the core schema of YAML 1.2, in which `on` and `no` are texts."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any

import yaml

from comfy_mock.engine.script.documents import DEPTH_MAX, Document, Field
from comfy_mock.engine.script.problems import Place, Problem, ScriptError

VALUES_MAX = 100_000
"""How many values a script may have once its aliases are written out."""

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_CORE = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
)


class _TooDeep(Exception):
    pass


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own declaration

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, and all in it, as far down as a script may go."""
        if self._depth > DEPTH_MAX:
            raise _TooDeep
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own declaration


for _kind, _pattern, _first in _CORE:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_pattern})\Z"), _first)


def yaml_document(text: str, name: str) -> Document:
    """The document of a YAML text. Raises `ScriptError`, with all problems that are not of its syntax at once."""
    reader = _Reader(name)
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ScriptError([reader.problem(mark, f"this is no YAML: {error.problem or error.context}")]) from error
    except yaml.YAMLError as error:
        raise ScriptError([Problem("", f"this is no YAML: {' '.join(str(error).split())}", None, name)]) from error
    except _TooDeep as error:
        raise ScriptError([Problem("", f"it is nested more than {DEPTH_MAX} deep", None, name)]) from error
    document = Document(None) if root is None else reader.read(root)
    if reader.problems:
        raise ScriptError(reader.problems)
    return document


def yaml_dump(data: Any) -> str:
    """The YAML text of what JSON has, and bytes."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


class _Reader:
    """From PyYAML's nodes to documents."""

    def __init__(self, name: str) -> None:
        self.problems: list[Problem] = []
        self._name = name
        self._values = 0
        self._path: list[yaml.Node] = []

    def problem(self, mark: yaml.Mark | None, text: str) -> Problem:
        """What is wrong at this mark."""
        return Problem("", text, None if mark is None else Place(mark.line + 1, mark.column + 1), self._name)

    def read(self, node: yaml.Node) -> Document:
        """The document of a node and all in it."""
        if any(outer is node for outer in self._path):
            return self._wrong(node, "this alias stands for something that it is a part of")
        if len(self._path) > DEPTH_MAX:  # by aliases
            raise ScriptError([self.problem(node.start_mark, f"it is nested more than {DEPTH_MAX} deep")])
        self._values += 1
        if self._values > VALUES_MAX:
            raise ScriptError([self.problem(node.start_mark, f"there are more than {VALUES_MAX} values, with aliases")])
        self._path.append(node)
        try:
            if isinstance(node, yaml.ScalarNode):
                return self._scalar(node)
            if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
                return Document([self.read(item) for item in node.value], _place(node))
            if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
                return Document(self._fields(node), _place(node))
            return self._wrong(node, f"the tag {node.tag!r} is not known here")
        finally:
            self._path.pop()

    def _scalar(self, node: yaml.ScalarNode) -> Document:
        convert = _SCALARS.get(node.tag)
        if convert is None:
            return self._wrong(node, f"the tag {node.tag!r} is not known here")
        try:
            content = convert(node.value)
        except (ValueError, KeyError) as error:
            return self._wrong(node, f"{node.value!r} is no {node.tag.removeprefix(_TAG)}: {error}")
        plain = node.value if node.style is None and node.tag not in _SAID else None
        return Document(content, _place(node), plain)

    def _fields(self, node: yaml.MappingNode) -> dict[str, Field]:
        own: dict[str, Field] = {}
        merged: dict[str, Field] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(key, "a key must be a text")
            elif key.tag == _MERGE:
                merged = {**self._merged(value), **merged}
            elif key.value in own:
                self._wrong(key, f"the key {key.value!r} is there twice")
            else:
                own[key.value] = Field(_place(key), self.read(value))
        return {**merged, **own}

    def _merged(self, node: yaml.Node) -> dict[str, Field]:
        """What `<<` brings in: an object, or several, of which the first counts."""
        fields: dict[str, Field] = {}
        for each in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            document = self.read(each)
            if isinstance(document.content, dict):
                fields = {**document.content, **fields}
            else:
                self._wrong(each, "`<<` takes an object, or a list of objects")
        return fields

    def _wrong(self, node: yaml.Node, text: str) -> Document:
        self.problems.append(self.problem(node.start_mark, text))
        return Document(None, _place(node))


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _integer(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _binary(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is not base64 ({error})") from error


_SCALARS: dict[str, Callable[[str], Any]] = {
    f"{_TAG}null": lambda _text: None,
    f"{_TAG}bool": lambda text: {"true": True, "false": False}[text.lower()],
    f"{_TAG}int": _integer,
    f"{_TAG}float": _float,
    f"{_TAG}str": str,
    f"{_TAG}binary": _binary,
    f"{_TAG}merge": str,
}
_SAID = (f"{_TAG}binary",)
"""Tags that never come of themselves."""
