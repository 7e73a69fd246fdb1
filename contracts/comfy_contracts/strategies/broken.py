"""Prompts with one fault each, whose name, place and consequence are known (protocol 3.3 to 3.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from hypothesis import reject
from hypothesis import strategies as st

from comfy_contracts.catalogue import Catalogue
from comfy_contracts.prompts import Link
from comfy_contracts.strategies.building import Blueprint, Draw, blueprints
from comfy_contracts.strategies.constants import LARGEST, choices_of, options_of
from comfy_contracts.strategies.supply import DYNAMIC_COMBO, DYNAMIC_SLOT, supply_of, types_match

Fault = Literal[
    "no_outputs",
    "no_class_type",
    "unknown_class",
    "no_inputs",
    "required_input_missing",
    "bad_linked_input",
    "unknown_source",
    "slot_out_of_range",
    "return_type_mismatch",
    "invalid_input_type",
    "value_smaller_than_min",
    "value_bigger_than_max",
    "value_not_in_list",
    "dependency_cycle",
]
"""What can be wrong with a prompt. Those that the server has a word for have that name (protocol 3.6)."""

FAULTS: tuple[Fault, ...] = get_args(Fault)

_EXCEPTIONS: tuple[Fault, ...] = ("no_inputs", "unknown_source", "slot_out_of_range")
"""Faults that are reported as a Python exception."""

_OWN_CHECKS = frozenset(
    {
        *("LoadImage", "LoadImageMask", "LoadImageOutput", "LoadLatent", "LoadAudio", "LoadVideo"),
        *("Load3D", "Load3DAdvanced", "ComfySoftSwitchNode", "ModelAttentionBackend", "CustomCombo"),
        *("SelectModelDevice", "SelectCLIPDevice", "SelectVAEDevice"),
    }
)
"""Core classes that check inputs themselves, and then say other things of what is wrong (protocol 3.10)."""


@dataclass(frozen=True)
class BrokenPrompt:
    """A prompt with one fault.

    The fault is in the node `node_id`, and there in the input `input_name`, where it is in one. With `refused` the
    server answers 400, and `error.type` is `error`. Otherwise some outputs do not need the faulty node: it answers 200,
    and `error` is None. `reason` is the type of the reason that `node_errors[node_id]` has, None where it has no entry.
    """

    prompt: dict[str, Any]
    fault: Fault
    node_id: str | None = None
    input_name: str | None = None
    refused: bool = True
    error: str | None = "prompt_outputs_failed_validation"
    reason: str | None = None


def broken_prompts(
    catalogue: Catalogue | None = None,
    *,
    faults: Iterable[Fault] = FAULTS,
    classes: Iterable[str] | None = None,
    max_nodes: int = 10,
    max_outputs: int = 2,
    largest: int = LARGEST,
) -> st.SearchStrategy[BrokenPrompt]:
    """Prompts that are valid but for one fault, one of `faults` that can be made of the classes.

    The other arguments are those of `prompts`. Core classes that check their inputs themselves are not the faulty ones;
    custom classes that do so may give other reasons than are foretold.

    Raises what `prompts` raises, and `ValueError` for a fault that there is not.
    """
    wanted = tuple(faults)
    unknown = [fault for fault in wanted if fault not in FAULTS]
    if unknown or not wanted:
        problem = f"there is no fault {unknown[0]!r}" if unknown else "no fault was named"
        raise ValueError(f"{problem}; the faults are: {', '.join(FAULTS)}")
    return _broken(supply_of(catalogue, classes, largest), wanted, max_nodes, max_outputs)


@st.composite
def _broken(draw: Draw, supply: Any, faults: tuple[Fault, ...], max_nodes: int, max_outputs: int) -> BrokenPrompt:
    whole = _Whole(draw(blueprints(supply, max_nodes, max_outputs)))
    possible = {fault: places for fault in faults if (places := whole.places(fault))}
    if not possible:
        # Some faults need certain inputs, such as one with a range: then this prompt will not do.
        reject()
    fault = draw(st.sampled_from(list(possible)))
    place = draw(st.sampled_from(possible[fault]))
    return whole.broken(fault, place, draw)


class _Whole:
    """A valid prompt, and where each fault could be put into it."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._prompt, self._specs = blueprint.prompt, blueprint.specs
        self._catalogue = blueprint.supply.catalogue
        self._sources = {
            node_id: {link.node_id for value in node["inputs"].values() if (link := Link.of(value)) is not None}
            for node_id, node in self._prompt.items()
        }
        self._upstream = {node_id: self._needs(node_id) for node_id in self._prompt}

    def _needs(self, node_id: str) -> set[str]:
        needed, left = {node_id}, [node_id]
        while left:
            new = self._sources[left.pop()] - needed
            needed |= new
            left += new
        return needed

    def places(self, fault: Fault) -> list[Any]:
        """Where a fault can be: nodes, nodes with an input, or a link that is to be made."""
        if fault == "no_outputs":
            return [None]
        if fault in ("no_class_type", "unknown_class"):
            return list(self._prompt)
        if fault == "no_inputs":
            return [node_id for node_id in self._prompt if self._has_one_blamer(node_id)]
        if fault in ("return_type_mismatch", "dependency_cycle"):
            return list(self._wrong_links(closes_cycle=fault == "dependency_cycle"))
        fits = _FITS[fault]
        return [
            (node_id, name)
            for node_id, name, spec, needed in self._inputs()
            if fits(spec, needed) and (fault not in _EXCEPTIONS or self._has_one_blamer(node_id))
        ]

    def _inputs(self) -> Iterator[tuple[str, str, Any, bool]]:
        for node_id, specs in self._specs.items():
            if self._prompt[node_id]["class_type"] not in _OWN_CHECKS:
                for name, (spec, needed) in specs.items():
                    if spec[0] not in (DYNAMIC_COMBO, DYNAMIC_SLOT):
                        yield node_id, name, spec, needed

    def _has_one_blamer(self, node_id: str) -> bool:
        """Whether it is certain who reports an exception: the server itself, or a consumer (protocol 3.5)."""
        consumed = any(node_id in sources for sources in self._sources.values())
        return not (consumed and self._is_output(node_id))

    def _wrong_links(self, *, closes_cycle: bool) -> Iterator[tuple[str, str, Link]]:
        for node_id, name, spec, _needed in self._inputs():
            wanted = self._declared(node_id, name, spec)
            for source_id, node in self._prompt.items():
                if (node_id in self._upstream[source_id]) is not closes_cycle or not isinstance(wanted, str):
                    continue
                for slot, given in enumerate(self._catalogue[node["class_type"]].outputs):
                    if isinstance(given, str) and types_match(given, wanted) is closes_cycle:
                        yield node_id, name, Link(source_id, slot)

    def _declared(self, node_id: str, name: str, spec: Any) -> Any:
        """The type as the server knows it, which does not know that some types must be the same."""
        definition = self._catalogue[self._prompt[node_id]["class_type"]]
        own = definition.required.get(name) or definition.optional.get(name)
        row = definition.required.get(name.partition(".")[0]) or definition.optional.get(name.partition(".")[0])
        if own is None and "COMFY_MATCHTYPE_V3" in str(row):
            return "*"
        return spec[0] if own is None else own[0]

    def _is_output(self, node_id: str) -> bool:
        return self._catalogue[self._prompt[node_id]["class_type"]].output_node

    def broken(self, fault: Fault, place: Any, draw: Draw) -> BrokenPrompt:
        """The prompt with a fault at one of its `places`."""
        prompt = {
            node_id: {"class_type": node["class_type"], "inputs": dict(node["inputs"])}
            for node_id, node in self._prompt.items()
        }
        if fault == "no_outputs":
            left = {node_id: node for node_id, node in prompt.items() if not self._is_output(node_id)}
            return BrokenPrompt(left, fault, error="prompt_no_outputs")
        if fault in ("no_class_type", "unknown_class"):
            del prompt[place]["class_type"]
            if fault == "unknown_class":
                prompt[place]["class_type"] = "NoSuchClass"
            return BrokenPrompt(prompt, fault, place, error="missing_node_type")
        if fault == "no_inputs":
            del prompt[place]["inputs"]
            return self._told(BrokenPrompt(prompt, fault, place))
        node_id, name = place[:2]
        inputs = prompt[node_id]["inputs"]
        if fault == "required_input_missing":
            del inputs[name]
        else:
            spec = self._specs[node_id][name][0]
            inputs[name] = list(place[2]) if len(place) > 2 else draw(self._wrong_values(fault, spec))
        return self._told(BrokenPrompt(prompt, fault, node_id, name))

    def _told(self, broken: BrokenPrompt) -> BrokenPrompt:
        """With what the server says of a fault that it finds in validation."""
        node_id = broken.node_id
        assert node_id is not None
        reason: str = broken.fault
        if broken.fault in _EXCEPTIONS:
            inner = "" if self._is_output(node_id) else "inner_"
            reason = f"exception_during_{inner}validation"
        outputs = [each for each in self._prompt if self._is_output(each)]
        refused = all(node_id in self._upstream[output] for output in outputs)
        return replace(broken, reason=reason, refused=refused, error=broken.error if refused else None)

    def _wrong_values(self, fault: Fault, spec: Any) -> st.SearchStrategy[Any]:
        options = options_of(spec)
        some_id = next(iter(self._prompt))
        by = st.integers(1, 1000)
        if fault == "bad_linked_input":
            return st.sampled_from([[], [some_id], [some_id, 0, 0]])
        if fault == "unknown_source":
            return st.sampled_from([["no such node", 0], ["", 0]])
        if fault == "slot_out_of_range":
            slots = {key: len(self._catalogue[node["class_type"]].outputs) for key, node in self._prompt.items()}
            return st.sampled_from([[key, count] for key, count in slots.items()])
        if fault == "invalid_input_type":
            return st.sampled_from(["many", None, "", {"a": 1}])
        if fault == "value_smaller_than_min":
            return by.map(lambda less: options["min"] - less)
        if fault == "value_bigger_than_max":
            return by.map(lambda more: options["max"] + more)
        assert fault == "value_not_in_list"
        return st.sampled_from(["none of them", None, -1.5])


def _is_number(spec: Any) -> bool:
    return spec[0] in ("INT", "FLOAT")


_FITS: dict[Fault, Callable[[Any, bool], bool]] = {
    "required_input_missing": lambda _spec, needed: needed,
    "bad_linked_input": lambda _spec, _needed: True,
    "unknown_source": lambda _spec, _needed: True,
    "slot_out_of_range": lambda _spec, _needed: True,
    "invalid_input_type": lambda spec, _needed: _is_number(spec),
    "value_smaller_than_min": lambda spec, _needed: _is_number(spec) and "min" in options_of(spec),
    "value_bigger_than_max": lambda spec, _needed: _is_number(spec) and "max" in options_of(spec),
    "value_not_in_list": lambda spec, _needed: choices_of(spec) is not None,
}
"""Which inputs a fault of an input can be in, by their spec and whether they are required."""
