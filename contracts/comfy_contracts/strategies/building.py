"""Valid prompts over a catalogue, built from their outputs upstream (protocol 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from comfy_contracts.catalogue import Catalogue
from comfy_contracts.strategies.constants import LARGEST, constants, options_of
from comfy_contracts.strategies.supply import (
    AUTOGROW,
    DYNAMIC_COMBO,
    DYNAMIC_SLOT,
    Recipe,
    Supply,
    grown,
    supply_of,
    types_match,
)

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[Any]], Any]

_SELDOM = st.sampled_from([False, False, False, True])
"""Whether something happens that editors do now and then, such as a link to a number."""


def prompts(
    catalogue: Catalogue | None = None,
    *,
    classes: Iterable[str] | None = None,
    max_nodes: int = 10,
    max_outputs: int = 3,
    largest: int = LARGEST,
) -> st.SearchStrategy[dict[str, Any]]:
    """Prompts that a server with this catalogue (by default ComfyUI's own classes) accepts as a whole.

    All links are of the right type, all constants in their range, and every node is needed by an output node. `classes`
    are those that may be used, by default all but the API nodes. A prompt has at most `max_nodes` nodes, and 1 to
    `max_outputs` outputs chosen first (output nodes upstream of them come on top). `largest` bounds widths, heights,
    batches and all other numbers as far as their range allows; seeds have their full range.

    What is valid (protocol 3.3 to 3.9) can still fail at run time, as on a real server. Classes with a check of their
    own beyond the catalogue's, in custom nodes, are taken to accept what the catalogue allows. Prompts shrink to few
    nodes. The catalogue of a running server is `Catalogue(httpx.get(f"{url}/object_info").json())`.

    Raises `ValueError` for a class that the catalogue does not have, and where no prompt can be made.
    """
    supply = supply_of(catalogue, classes, largest)
    if supply.costs[supply.outputs[0]] > max_nodes:
        least = supply.costs[supply.outputs[0]]
        raise ValueError(f"the smallest prompt of these classes has {least} nodes, and max_nodes is {max_nodes}")
    return blueprints(supply, max_nodes, max_outputs).map(lambda blueprint: blueprint.prompt)


class Blueprint:
    """A prompt, and what each input of it was made by: `specs` by node id and input name, with whether it is needed."""

    def __init__(self, supply: Supply, draw: Draw) -> None:
        self.supply = supply
        self.prompt: dict[str, Any] = {}
        self.specs: dict[str, dict[str, tuple[Any, bool]]] = {}
        self._draw = draw
        self._given: list[tuple[str, int, Any]] = []
        """What can be linked to: id, slot and type of every output so far."""

    def choose(self, several: Sequence[T]) -> T:
        """One of them."""
        chosen: T = several[0] if len(several) == 1 else self._draw(st.sampled_from(several))
        return chosen

    def add(self, recipe: Recipe, budget: float) -> str:
        """Make a node, with all upstream of it, of at most `budget` nodes; its id. Sources come before it."""
        spare = budget - 1 - sum(self.supply.cost(name, spec) for name, spec in recipe.needed.items())
        inputs: dict[str, Any] = {}
        specs: dict[str, tuple[Any, bool]] = {}
        for name, spec in recipe.needed.items():
            reserved = self.supply.cost(name, spec)
            spare += reserved - self._fill(inputs, specs, name, spec, reserved + spare, needed=True)
        for name, spec in recipe.extra.items():
            if self.supply.cost(name, spec) <= spare and self._draw(_SELDOM):
                spare -= self._fill(inputs, specs, name, spec, spare, needed=False)
        node_id = str(len(self.prompt) + 1)
        self.prompt[node_id] = {"class_type": recipe.class_type, "inputs": inputs}
        self.specs[node_id] = specs
        self._given += [(node_id, slot, kind) for slot, kind in enumerate(recipe.outputs)]
        return node_id

    def _fill(
        self,
        inputs: dict[str, Any],
        specs: dict[str, tuple[Any, bool]],
        name: str,
        spec: Any,
        budget: float,
        *,
        needed: bool,
    ) -> int:
        """Give an input its value, and those that it brings theirs; returns how many nodes that took."""
        kind, options = spec[0], options_of(spec)
        before = len(self.prompt)
        if kind == DYNAMIC_COMBO:
            affordable = [each for each in options["options"] if self._cost_of(each) <= budget]
            option = self.choose(affordable)
            inputs[name] = option["key"]
            left = budget
            for inner, inner_spec in option["inputs"].get("required", {}).items():
                others = self._cost_of(option) - self.supply.cost(inner, inner_spec)
                left -= self._fill(inputs, specs, f"{name}.{inner}", inner_spec, max(left - others, 0), needed=True)
        elif kind == AUTOGROW:
            left = budget
            for inner, inner_spec, must in grown(options, self.choose([0, 1, 2])):
                if must or self.supply.cost(inner, inner_spec) <= left - self._cost_of_row(options):
                    left -= self._fill(inputs, specs, f"{name}.{inner}", inner_spec, left, needed=must)
        else:
            wanted = options.get("slotType", "*") if kind == DYNAMIC_SLOT else kind
            inputs[name] = self._value(name, spec, wanted, budget)
            specs[name] = (spec, needed)
        return len(self.prompt) - before

    def _cost_of(self, option: Any) -> float:
        required = option["inputs"].get("required", {})
        return sum(self.supply.cost(name, spec) for name, spec in required.items())

    def _cost_of_row(self, options: Any) -> float:
        return sum(self.supply.cost(name, spec) for name, spec, must in grown(options, 0) if must)

    def _value(self, name: str, spec: Any, wanted: Any, budget: float) -> Any:
        made = constants(name, spec, self.supply.largest)
        links = [[node_id, slot] for node_id, slot, given in self._given if types_match(given, wanted)]
        affordable = [
            (place, slot) for place, slot in self.supply.producers(wanted) if self.supply.costs[place] <= budget
        ]
        if made is not None:
            wants_link = bool(options_of(spec).get("forceInput")) or self._draw(_SELDOM)
            is_linkable = isinstance(wanted, str) and wanted != "COMBO" and not options_of(spec).get("socketless")
            if not (wants_link and is_linkable and (links or affordable)):
                return self._draw(made)
        if links and (not affordable or self._draw(st.booleans()) is False):
            return self.choose(links)
        place, slot = self.choose(affordable)
        return [self.add(self.supply.recipes[place], budget), slot]


@st.composite
def blueprints(draw: Draw, supply: Supply, max_nodes: int, max_outputs: int) -> Blueprint:
    """Prompts with what they were made by, in any order of their nodes."""
    blueprint = Blueprint(supply, draw)
    size = draw(st.integers(int(supply.costs[supply.outputs[0]]), max_nodes))
    for count in range(draw(st.integers(1, max_outputs))):
        left = size - len(blueprint.prompt)
        affordable = [place for place in supply.outputs if supply.costs[place] <= left]
        if count and not affordable:
            break
        blueprint.add(supply.recipes[blueprint.choose(affordable)], left)
    ids = list(blueprint.prompt)
    blueprint.prompt = {node_id: blueprint.prompt[node_id] for node_id in draw(st.permutations(ids))}
    return blueprint
