"""Scripts as texts: YAML and JSON scenario files, and back again (docs/scripts.md).

A text gives the same `Script` as the Python builders, byte for byte: files that it names are read at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import msgspec

from comfy_mock.engine.script.documents import Document, Field, data_document, json_document
from comfy_mock.engine.script.model import AnyRule, Script
from comfy_mock.engine.script.problems import Problem, ScriptError, Source
from comfy_mock.engine.script.shapes import Builder, ReadFile, type_of


def read_script(text: str, *, name: str = "scenario.yaml", read_file: ReadFile | None = None) -> Script:
    """The script in a text: YAML, or JSON where `name` ends in `.json` or the text is JSON.

    `name` is what errors call the text. `read_file` gives the files that the script names, and may raise `OSError`;
    without it a script may name none. An empty text is an empty script.

    Raises `ScriptError` with all problems: line and column, the place in the script, and what is allowed there.
    """
    return _script(_document(text, name), Source(name), read_file)


def read_data(data: Mapping[str, Any], *, name: str = "script", read_file: ReadFile | None = None) -> Script:
    """The script in Python data of the same form as a text. Raises `ScriptError`."""
    return _script(data_document(data), Source(name), read_file)


def read_rules(text: str, *, name: str = "rules.yaml", read_file: ReadFile | None = None) -> Script:
    """A script of the rules in a text: one, a list of them, or an object with `rules` alone. Raises `ScriptError`."""
    document = _document(text, name)
    content = document.content
    if isinstance(content, list) or (isinstance(content, dict) and "on" in content):
        rules = Document(content if isinstance(content, list) else [document], document.place)
        document = Document({"rules": Field(document.place, rules)}, document.place)
    script = _script(document, Source(name), read_file)
    if script != Script(rules=script.rules):
        raise ScriptError([Problem("", "rules alone can be added to a script", None, name)])
    return script


def source_of(script: Script) -> Source | None:
    """The text that a script was read from, None where it was made otherwise."""
    source: Source | None = vars(script).get("source")
    return source


def to_builtins(script: Script | AnyRule) -> dict[str, Any]:
    """A script or a rule as data; what has its default is left out, bytes stay bytes."""
    data: dict[str, Any] = msgspec.to_builtins(script, builtin_types=(bytes,))
    return data


def to_plain(script: Script | AnyRule) -> dict[str, Any]:
    """As `to_builtins`, bytes in base64: what JSON has."""
    data: dict[str, Any] = msgspec.to_builtins(script)
    return data


def to_json(script: Script) -> str:
    """The script as JSON, bytes in base64."""
    return json.dumps(to_plain(script), indent=2, ensure_ascii=False)


def to_yaml(script: Script) -> str:
    """The script as YAML, bytes tagged `!!binary`."""
    from comfy_mock.engine.script.yaml_text import yaml_dump

    return yaml_dump(to_builtins(script))


def _document(text: str, name: str) -> Document:
    """The document of a text. PyYAML is loaded where it is needed only."""
    is_json = PurePath(name).suffix.lower() == ".json"
    if is_json or text.lstrip().startswith(("{", "[")):
        try:
            return json_document(text, name)
        except ScriptError:
            if is_json:
                raise
    from comfy_mock.engine.script.yaml_text import yaml_document

    return yaml_document(text, name)


def _script(document: Document, source: Source, read_file: ReadFile | None) -> Script:
    if document.content is None:
        document = Document({}, document.place)
    builder = Builder(source, read_file)
    script: Script = builder.build(document, type_of(Script), ())
    if builder.problems:
        raise ScriptError(builder.problems)
    vars(script)["source"] = source
    return script
