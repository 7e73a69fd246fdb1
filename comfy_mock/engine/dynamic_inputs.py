"""Which inputs a node declares, once the choices in its dynamic inputs are known (protocol 3.9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine.signatures import function_name, missing_arguments, takes_any_argument, unexpected_argument

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
AUTOGROW = "COMFY_AUTOGROW_V3"
DYNAMIC_SLOT = "COMFY_DYNAMICSLOT_V3"


@dataclass(slots=True)
class DeclaredInputs:
    """The inputs of one node by full name (`format.codec`), each `[type]` or `[type, options]`, in declared order.

    `live` is whether any of them was brought by a dynamic input.
    """

    required: dict[str, Any] = field(default_factory=dict)
    optional: dict[str, Any] = field(default_factory=dict)
    live: bool = False

    def __contains__(self, name: object) -> bool:
        return name in self.required or name in self.optional

    def spec(self, name: str) -> Any:
        """`[type]` or `[type, options]` of an input that is declared; raises `KeyError` for any other."""
        return self.required[name] if name in self.required else self.optional[name]


def declared_inputs(definition: NodeDefinition, inputs: Mapping[str, Any]) -> DeclaredInputs:
    """What `definition` declares for a node with these `inputs`, hidden ones left out (protocol 3.9)."""
    declared = DeclaredInputs()
    _declare(declared, {"required": definition.required, "optional": definition.optional}, inputs, "")
    return declared


def run_time_complaint(definition: NodeDefinition, inputs: Mapping[str, Any]) -> str | None:
    """The text of the `TypeError` with which Python refuses to call the node's function, or None if it can be called.

    `inputs` is what the function is given: constants of declared inputs, and values of links, declared or not. An
    undeclared one is unexpected (protocol 3.11); a required choice of dynamic inputs that is absent or unknown is
    missing (protocol 3.9). Other required inputs are there, or the prompt would not have passed validation, unless all
    of them were empty lists: then `inputs` is empty.
    """
    declared = declared_inputs(definition, inputs)
    parameters = {*definition.required, *definition.optional, *definition.hidden}
    if not takes_any_argument(definition):
        for name in inputs:
            if name not in declared and name not in parameters:
                return unexpected_argument(function_name(definition), name)
    missing = [
        name
        for name, spec in definition.required.items()
        if name not in inputs
        and (name not in declared if input_type(spec) == DYNAMIC_COMBO else _is_lost(spec, inputs))
    ]
    return missing_arguments(function_name(definition), missing) if missing else None


def input_type(spec: Any) -> Any:
    """The type of an input's spec: a string, or a list of choices."""
    return spec[0]


def input_options(spec: Any) -> dict[str, Any]:
    """The options of an input's spec, empty where the class gives none."""
    options: dict[str, Any] = spec[1] if len(spec) > 1 else {}
    return options


def _is_lost(spec: Any, inputs: Mapping[str, Any]) -> bool:
    return not inputs and input_type(spec) not in (AUTOGROW, DYNAMIC_SLOT)


def _declare(
    declared: DeclaredInputs, groups: Mapping[str, Mapping[str, Any]], inputs: Mapping[str, Any], prefix: str
) -> None:
    for group in ("required", "optional"):
        for name, spec in groups.get(group, {}).items():
            full_name = prefix + name
            kind = input_type(spec)
            if kind == DYNAMIC_COMBO:
                _declare_combo(declared, group, full_name, spec, inputs)
            elif kind == AUTOGROW:
                _declare_autogrow(declared, full_name, spec, inputs)
            elif kind == DYNAMIC_SLOT:
                _declare_slot(declared, group, full_name, spec, inputs)
            else:
                _add(declared, group, full_name, spec)
                declared.live = declared.live or bool(prefix)


def _add(declared: DeclaredInputs, group: str, name: str, spec: Any) -> None:
    (declared.required if group == "required" else declared.optional)[name] = spec


def _declare_combo(declared: DeclaredInputs, group: str, name: str, spec: Any, inputs: Mapping[str, Any]) -> None:
    """A choice that brings inputs of its own. Unknown or absent, it declares nothing, not even itself."""
    if name not in inputs:
        return
    for option in input_options(spec).get("options", []):
        if option["key"] == inputs[name]:
            _add(declared, group, name, spec)
            _declare(declared, option["inputs"], inputs, f"{name}.")
            return


def _declare_autogrow(declared: DeclaredInputs, name: str, spec: Any, inputs: Mapping[str, Any]) -> None:
    """A row of equal inputs, of which the first `min` are required if the template is; the row itself is no input."""
    template = input_options(spec)["template"]
    names = template.get("names") or [f"{template['prefix']}{index}" for index in range(template["max"])]
    for group, inner in template["input"].items():
        for inner_spec in inner.values():
            for index, inner_name in enumerate(names):
                needed = group == "required" and index < template.get("min", 0)
                _declare(declared, {"required" if needed else "optional": {inner_name: inner_spec}}, inputs, f"{name}.")


def _declare_slot(declared: DeclaredInputs, group: str, name: str, spec: Any, inputs: Mapping[str, Any]) -> None:
    """A socket that brings further inputs when something is connected to it."""
    if name in inputs:
        options = input_options(spec)
        _add(declared, group, name, [options.get("slotType", "*"), options])
        _declare(declared, options.get("inputs", {}), inputs, f"{name}.")
