"""What prompts over a catalogue can be made of: which classes give what, and how many nodes each needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from comfy_contracts.catalogue import Catalogue, NodeDefinition
from comfy_contracts.strategies.constants import choices_of, constants, options_of

MATCH_TYPE = "COMFY_MATCHTYPE_V3"
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
AUTOGROW = "COMFY_AUTOGROW_V3"
DYNAMIC_SLOT = "COMFY_DYNAMICSLOT_V3"

_TYPES_FOR_ANY = ("IMAGE", "MASK", "LATENT", "INT", "STRING")
"""What stands for a type that may be any, where several inputs and outputs must have the same."""

_NEEDED_TOO = {"ComfySoftSwitchNode": ("on_true",)}
"""Optional inputs that the class's own check wants (protocol 3.10)."""


def types_match(given: Any, wanted: Any) -> bool:
    """Whether an output of the type `given` may be linked to an input of the type `wanted` (protocol 3.8)."""
    if given == wanted or "*" in (given, wanted) or MATCH_TYPE in (given, wanted):
        return True
    if not isinstance(given, str):
        return bool(wanted == "COMBO")
    if not isinstance(wanted, str):
        return False
    offered = {part.strip() for part in given.split(",")}
    taken = {part.strip() for part in wanted.split(",")}
    return "*" in offered | taken or not offered.isdisjoint(taken)


@dataclass(frozen=True)
class Recipe:
    """A way to use a class: its inputs and outputs, with one type for all that must be of the same.

    `needed` and `extra` are its required and optional inputs, each `[type]` or `[type, options]`.
    """

    definition: NodeDefinition
    needed: Mapping[str, Any]
    extra: Mapping[str, Any]
    outputs: tuple[Any, ...]

    @property
    def class_type(self) -> str:
        return self.definition.class_type


@dataclass
class Supply:
    """The classes of a catalogue that prompts may use, `largest` the largest number in them."""

    catalogue: Catalogue
    classes: frozenset[str]
    largest: int
    costs: dict[int, float] = field(default_factory=dict)
    """The least number of nodes that a recipe needs, itself included, by its place in `recipes`."""

    def __post_init__(self) -> None:
        self._producers: dict[Any, list[tuple[int, int]]] = {}
        self.costs = dict.fromkeys(range(len(self.recipes)), math.inf)
        changed = True
        while changed:
            changed = False
            self._cheapest: dict[Any, float] = {}
            for place, recipe in enumerate(self.recipes):
                cost = 1 + sum(self.cost(name, spec) for name, spec in recipe.needed.items())
                if cost < self.costs[place]:
                    self.costs[place] = cost
                    changed = True
        self._cheapest = {}

    @cached_property
    def recipes(self) -> list[Recipe]:
        """All ways to use all classes."""
        return [recipe for name in self.catalogue if name in self.classes for recipe in _recipes(self.catalogue[name])]

    @cached_property
    def outputs(self) -> list[int]:
        """The recipes of output nodes that can be made, the cheapest first."""
        found = [place for place, recipe in enumerate(self.recipes) if recipe.definition.output_node]
        return sorted((place for place in found if self.costs[place] < math.inf), key=self.costs.__getitem__)

    def producers(self, wanted: Any) -> list[tuple[int, int]]:
        """Recipes and the slots of theirs that give this type, in the order of the catalogue."""
        key = str(wanted)
        if key not in self._producers:
            self._producers[key] = [
                (place, slot)
                for place, recipe in enumerate(self.recipes)
                for slot, given in enumerate(recipe.outputs)
                if types_match(given, wanted)
            ]
        return self._producers[key]

    def cost(self, name: str, spec: Any) -> float:
        """How many nodes a required input needs: none where a constant will do, infinitely many where nothing does."""
        kind, options = spec[0], options_of(spec)
        if kind == DYNAMIC_COMBO:
            return min((self._cost_of_option(option) for option in options.get("options", [])), default=math.inf)
        if kind == AUTOGROW:
            return sum(self.cost(inner, inner_spec) for inner, inner_spec, needed in grown(options, 0) if needed)
        if kind == DYNAMIC_SLOT:
            return self._cheapest_of(options.get("slotType", "*"))
        if constants(name, spec, self.largest) is not None:
            return 0
        # nothing to choose from: what a link gives would be no choice either
        return self._cheapest_of(kind) if choices_of(spec) is None else math.inf

    def _cost_of_option(self, option: Mapping[str, Any]) -> float:
        return sum(self.cost(name, spec) for name, spec in option["inputs"].get("required", {}).items())

    def _cheapest_of(self, wanted: Any) -> float:
        key = str(wanted)
        if key not in self._cheapest:
            costs = (self.costs[place] for place, _slot in self.producers(wanted))
            self._cheapest[key] = min(costs, default=math.inf)
        return self._cheapest[key]


def grown(options: Mapping[str, Any], more: int) -> Iterator[tuple[str, Any, bool]]:
    """The names of a row of inputs, their spec, and whether they are required: the least number and `more`."""
    template = options["template"]
    names = template.get("names") or [f"{template['prefix']}{index}" for index in range(template["max"])]
    least = template.get("min", 0)
    for group in ("required", "optional"):
        for spec in template["input"].get(group, {}).values():
            for index, name in enumerate(names[: least + more]):
                yield name, spec, group == "required" and index < least


def supply_of(catalogue: Catalogue | None, classes: Iterable[str] | None, largest: int) -> Supply:
    """What prompts over a catalogue, by default the packaged one, may be made of.

    Without `classes` these are all but the API nodes. Raises `ValueError` for a class that the catalogue does not have,
    and where no output node can be made of them.
    """
    catalogue = Catalogue.packaged() if catalogue is None else catalogue
    chosen = {name for name in catalogue if not catalogue[name].api_node} if classes is None else set(classes)
    unknown = sorted(chosen - set(catalogue))
    if unknown:
        raise ValueError(f"the catalogue has no class {unknown[0]!r}")
    supply = Supply(catalogue, frozenset(chosen), largest)
    if not supply.outputs:
        raise ValueError("no prompt can be made of these classes: none of them is an output node that gets its inputs")
    return supply


def _recipes(definition: NodeDefinition) -> Iterator[Recipe]:
    needed, extra = dict(definition.required), dict(definition.optional)
    for name in _NEEDED_TOO.get(definition.class_type, ()):
        if name in extra:
            needed[name] = extra.pop(name)
    allowed = _allowed_types({**needed, **extra})
    if allowed is None:
        yield Recipe(definition, needed, extra, tuple(definition.outputs))
        return
    for chosen in allowed:
        outputs = tuple(chosen if kind == MATCH_TYPE else kind for kind in definition.outputs)
        yield Recipe(definition, _with_type(needed, chosen), _with_type(extra, chosen), outputs)


def _allowed_types(inputs: Mapping[str, Any]) -> list[str] | None:
    """The types that inputs of a common type may have, None where there are no such inputs."""
    allowed: list[str] | None = None
    for spec in inputs.values():
        template = options_of(spec).get("template", {})
        if spec[0] == AUTOGROW:
            inner = [each for group in template["input"].values() for each in group.values()]
            found = _allowed_types(dict(enumerate(inner)))  # type: ignore[arg-type]
        else:
            listed = str(template.get("allowed_types", "*")).split(",") if spec[0] == MATCH_TYPE else None
            found = None if listed is None else [kind.strip() for kind in listed]
        if found is not None:
            types = list(_TYPES_FOR_ANY) if "*" in found else found
            allowed = types if allowed is None else [kind for kind in allowed if kind in types]
    return allowed


def _with_type(inputs: Mapping[str, Any], chosen: str) -> dict[str, Any]:
    return {name: _typed(spec, chosen) for name, spec in inputs.items()}


def _typed(spec: Any, chosen: str) -> Any:
    if spec[0] == MATCH_TYPE:
        return [chosen, {**options_of(spec), "forceInput": True}]
    if spec[0] == AUTOGROW:
        template = options_of(spec)["template"]
        inner = {group: _with_type(inputs, chosen) for group, inputs in template["input"].items()}
        return [spec[0], {**options_of(spec), "template": {**template, "input": inner}}]
    return spec
