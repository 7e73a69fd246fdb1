"""Writes `_core_nodes.pyi`: what type checkers and editors know of ComfyUI's own node classes.

    python -m comfy_client._stubs

makes it anew from the packaged catalogue.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comfy_client._declared_inputs import AUTOGROW, DYNAMIC_COMBO, options_of
from comfy_contracts.catalogue import Catalogue, NodeDefinition

PATH = Path(__file__).with_name("_core_nodes.pyi")

_HEAD = """\
# Generated from the catalogue of ComfyUI's own classes by `python -m comfy_client._stubs`: change that, not this.
# The names are ComfyUI's, and a line is a class.
# ruff: noqa: A002, E501, N802, N803
# fmt: off
from collections.abc import Mapping, Sequence
from typing import Any, Union

from comfy_client._nodes import InputValue, Node, Output

Link = Union[Output, Node, Sequence[str | int]]
Int = Union[int, str, Link]
Float = Union[float, str, Link]
Text = Union[str, Link]
Bool = Union[bool, Link]
Choice = Union[str, int, float, bool, Link, Mapping[str, Any], Sequence[Any]]
Row = Union[Sequence[InputValue], Mapping[str, InputValue]]
Given = Mapping[str, InputValue]

class CoreNodes:
"""

_TYPES = {"INT": "Int", "FLOAT": "Float", "STRING": "Text", "BOOLEAN": "Bool", "COMBO": "Choice"}


def stub(catalogue: Catalogue) -> str:
    """The text of the stub file: a method for each class of the catalogue whose name is a Python name."""
    return _HEAD + "".join(f"    {_method(definition)}\n" for definition in _named(catalogue))


def _named(catalogue: Catalogue) -> Iterator[NodeDefinition]:
    return (definition for name, definition in catalogue.items() if _is_name(name))


def _method(definition: NodeDefinition) -> str:
    # None is required: values may come in the mapping, or from the defaults of the workflow.
    specs = {**definition.required, **definition.optional}
    named = [f"{name}: {_type(spec)} = ..." for name, spec in specs.items() if _is_name(name)]
    # Names such as `format.codec` come in the mapping, or as **{"format.codec": ...}.
    others = [] if len(named) == len(specs) and not any(map(_brings_more, specs.values())) else ["**others: InputValue"]
    star = ["*"] if named else []
    parameters = ["self", "given: Given | None = ...", "/", *star, *named, *others]
    return f"def {definition.class_type}({', '.join(parameters)}) -> Node: ..."


def _type(spec: Any) -> str:
    kind = spec[0]
    if isinstance(kind, list) or kind == DYNAMIC_COMBO:
        return "Choice"
    if kind == AUTOGROW:
        return "Row"
    if kind in _TYPES:
        return _TYPES[kind]
    is_widget = "default" in options_of(spec) or options_of(spec).get("socketless")
    return "InputValue" if is_widget or "," in kind or kind == "*" or kind.startswith("COMFY_") else "Link | None"


def _brings_more(spec: Any) -> bool:
    return spec[0] in (DYNAMIC_COMBO, AUTOGROW)


def _is_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


if __name__ == "__main__":
    PATH.write_text(stub(Catalogue.packaged()), encoding="utf-8", newline="\n")
