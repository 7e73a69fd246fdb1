"""Which inputs a node takes, once the choices in its dynamic inputs are known (protocol 3.9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comfy_contracts.catalogue import NodeDefinition
from comfy_contracts.prompts import Link

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
AUTOGROW = "COMFY_AUTOGROW_V3"
DYNAMIC_SLOT = "COMFY_DYNAMICSLOT_V3"

_Groups = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class DeclaredInput:
    """An input that a node takes. `name` is the full one (`format.codec`); `type` is a string, or a list of choices.

    `validated` is whether the server looks for it when it validates: a choice of dynamic inputs that is absent or
    unknown is missed only when the node runs (protocol 3.9).
    """

    name: str
    type: Any
    options: Mapping[str, Any]
    required: bool
    validated: bool = True

    @property
    def choices(self) -> list[Any] | None:
        """What a COMBO, old, new or dynamic, offers; None for an input of any other type."""
        if isinstance(self.type, list):
            return self.type
        if self.type == "COMBO":
            return list(self.options.get("options") or [])
        if self.type == DYNAMIC_COMBO:
            return [option["key"] for option in self.options.get("options", [])]
        return None

    @property
    def has_default(self) -> bool:
        """Whether an editor would fill it in: by the default of its class, or the first choice."""
        return not self.options.get("forceInput") and ("default" in self.options or bool(self.choices))

    @property
    def default(self) -> Any:
        """What an editor would fill in. Only for an input that `has_default`."""
        return self.options["default"] if "default" in self.options else (self.choices or [None])[0]

    @property
    def type_name(self) -> str:
        """The type as a person reads it."""
        return self.type if isinstance(self.type, str) and self.type != DYNAMIC_COMBO else "COMBO"


def declared_inputs(definition: NodeDefinition, inputs: Mapping[str, Any]) -> dict[str, DeclaredInput]:
    """The inputs of a node of this class that has these `inputs`, by full name in declared order; hidden ones not."""
    groups = {"required": definition.required, "optional": definition.optional}
    return {declared.name: declared for declared in _declared(groups, inputs, "")}


def spread(definition: NodeDefinition, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """`inputs` with the values of dynamic inputs written out under full names.

    A row of equal inputs takes a list, or a mapping by name: `images=[a, b]` is `images.image0` and `images.image1`.
    A choice that brings inputs takes a mapping that holds the choice under its own name:
    `format={"format": "mp4", "codec": "auto"}` is `format` and `format.codec`. All else stays as it is.
    """
    groups = {**definition.required, **definition.optional}
    full: dict[str, Any] = {}
    for name, value in inputs.items():
        full.update(_spread(name, groups.get(name), value))
    return full


def autogrow_names(options: Mapping[str, Any]) -> list[str]:
    """The names that a row of equal inputs may use, from the options of its input."""
    template = options["template"]
    names = template.get("names")
    return list(names) if names else [f"{template['prefix']}{index}" for index in range(template["max"])]


def options_of(spec: Any) -> Mapping[str, Any]:
    """The options in `[type, options]`; empty where there are none."""
    return spec[1] if len(spec) > 1 and isinstance(spec[1], Mapping) else {}


def _declared(groups: _Groups, inputs: Mapping[str, Any], prefix: str) -> Iterator[DeclaredInput]:
    for group in ("required", "optional"):
        for short_name, spec in groups.get(group, {}).items():
            kind, options, name = spec[0], options_of(spec), prefix + short_name
            required = group == "required"
            if kind == DYNAMIC_COMBO:
                yield from _declared_by_choice(name, options, required, inputs)
            elif kind == AUTOGROW:
                yield from _declared_row(name, options, inputs)
            elif kind == DYNAMIC_SLOT:
                yield DeclaredInput(name, options.get("slotType", "*"), options, required, validated=name in inputs)
                if name in inputs:
                    yield from _declared(options.get("inputs", {}), inputs, f"{name}.")
            else:
                yield DeclaredInput(name, kind, options, required)


def _declared_by_choice(
    name: str, options: Mapping[str, Any], required: bool, inputs: Mapping[str, Any]
) -> Iterator[DeclaredInput]:
    chosen = [option for option in options.get("options", []) if name in inputs and option["key"] == inputs[name]]
    yield DeclaredInput(name, DYNAMIC_COMBO, options, required, validated=bool(chosen))
    for option in chosen[:1]:
        yield from _declared(option["inputs"], inputs, f"{name}.")


def _declared_row(name: str, options: Mapping[str, Any], inputs: Mapping[str, Any]) -> Iterator[DeclaredInput]:
    template = options["template"]
    for group, inner in template["input"].items():
        for spec in inner.values():
            for index, own_name in enumerate(autogrow_names(options)):
                needed = group == "required" and index < template.get("min", 0)
                yield from _declared({"required" if needed else "optional": {own_name: spec}}, inputs, f"{name}.")


def _spread(name: str, spec: Any, value: Any) -> Iterator[tuple[str, Any]]:
    kind = spec[0] if spec else None
    is_row = isinstance(value, (list, tuple)) and Link.of(list(value)) is None
    if kind == AUTOGROW and is_row and len(value) <= len(names := autogrow_names(options_of(spec))):
        for own_name, item in zip(names, value, strict=False):
            yield f"{name}.{own_name}", item
    elif kind == AUTOGROW and isinstance(value, Mapping):
        for own_name, item in value.items():
            yield f"{name}.{own_name}", item
    elif kind == DYNAMIC_COMBO and isinstance(value, Mapping):
        yield from _spread_choice(name, spec, value)
    else:
        yield name, value


def _spread_choice(name: str, spec: Any, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    own_name = name.rpartition(".")[2]
    inner: dict[str, Any] = {}
    for option in options_of(spec).get("options", []):
        if option["key"] == value.get(own_name):
            inner = {**option["inputs"].get("required", {}), **option["inputs"].get("optional", {})}
    for key, item in value.items():
        if key == own_name:
            yield name, item
        else:
            yield from _spread(f"{name}.{key}", inner.get(key), item)
