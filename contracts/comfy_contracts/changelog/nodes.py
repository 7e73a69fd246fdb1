"""What has changed in the node catalogue: `GET /object_info` and `GET /object_info/{node_class}` (protocol 2.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comfy_contracts.changelog.model import Finding, Kind
from comfy_contracts.changelog.names import Pairs
from comfy_contracts.changelog.values import Step, Walk, shown

_ROUTES = ("GET /object_info", "GET /object_info/{node_class}")
_OUTPUTS = ("output", "output_name", "output_is_list", "output_matchtypes")


def is_catalogue(route: str) -> bool:
    """Whether a route tells of node classes."""
    return route.replace(" /api/", " /") in _ROUTES


def node_findings(
    before: Mapping[str, Any], after: Mapping[str, Any], names: Pairs, *, key_order: bool
) -> Iterator[Finding]:
    """What has changed in a catalogue, a class at a time. Both are canonical."""
    yield from (_finding(name, "removed", "") for name in before if name not in after)
    yield from (_finding(name, "added", "") for name in after if name not in before)
    common, other_order = _in_both(before, after)
    if key_order and common != other_order:
        yield _finding("", "changed", "order of classes", ", ".join(common), ", ".join(other_order))
    walk = Walk(names, root="", key_order=key_order)
    for name in common:
        for step in _of_class(before[name], after[name], walk):
            yield _finding(name, step.kind, step.path, step.before, step.after)


def _finding(name: str, kind: Kind, what: str, before: str = "", after: str = "") -> Finding:
    return Finding("nodes", kind, name, what, before, after, ("class", name), "class")


def _in_both(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The names that are in both, in the order of the one and of the other."""
    return [name for name in before if name in after], [name for name in after if name in before]


def _of_class(before: Any, after: Any, walk: Walk) -> Iterator[Step]:
    if not (_is_entry(before) and _is_entry(after)):
        yield from walk.steps(before, after)
        return
    old, new = _inputs(before), _inputs(after)
    yield from (Step("removed", f"input `{name}`", str(one), "") for name, one in old.items() if name not in new)
    yield from (Step("added", f"input `{name}`", "", str(one)) for name, one in new.items() if name not in old)
    for name in old:
        if name in new:
            yield from _of_input(f"input `{name}`", old[name], new[name], walk)
    order, other_order = ([name for name in names if _stays(name, old, new)] for names in _in_both(old, new))
    if order != other_order:
        yield Step("changed", "order of inputs", ", ".join(order), ", ".join(other_order))
    yield from _of_outputs(before, after)
    yield from walk.steps(_rest(before, after), _rest(after, before))


def _is_entry(value: Any) -> bool:
    inputs = value.get("input", {}) if isinstance(value, dict) else None
    return isinstance(inputs, dict) and all(isinstance(one, dict) for one in inputs.values())


@dataclass(frozen=True)
class _Input:
    """An input of a class: `spec` is all of it, `choices` is None where it has none, `options` are its others."""

    category: str
    type: str
    choices: list[Any] | None
    options: dict[str, Any]
    spec: Any

    @classmethod
    def read(cls, category: str, spec: Any) -> _Input:
        parts = spec if isinstance(spec, list) else [spec]
        kind = parts[0] if parts else ""
        options = parts[1] if len(parts) > 1 and isinstance(parts[1], dict) else {}
        if isinstance(kind, list):
            return cls(category, "list of choices", kind, options, spec)
        choices = options.get("options")
        if isinstance(choices, list):
            others = {key: item for key, item in options.items() if key != "options"}
            return cls(category, str(kind), choices, others, spec)
        return cls(category, str(kind), None, options, spec)

    def __str__(self) -> str:
        return f"{self.type}, {self.category}"


def _inputs(entry: Mapping[str, Any]) -> dict[str, _Input]:
    categories = entry.get("input", {})
    return {name: _Input.read(category, spec) for category, specs in categories.items() for name, spec in specs.items()}


def _stays(name: str, before: Mapping[str, _Input], after: Mapping[str, _Input]) -> bool:
    """Whether an input is of the same category, so that its place counts."""
    return before[name].category == after[name].category


def _of_input(what: str, before: _Input, after: _Input, walk: Walk) -> Iterator[Step]:
    changed = False
    for step in _of_parts(what, before, after, walk):
        changed = True
        yield step
    if not changed and shown(before.spec) != shown(after.spec):
        yield Step("changed", f"form of {what}", shown(before.spec), shown(after.spec))


def _of_parts(what: str, before: _Input, after: _Input, walk: Walk) -> Iterator[Step]:
    if before.category != after.category:
        yield Step("changed", what, before.category, after.category)
    if before.type != after.type:
        yield Step("retyped", what, before.type, after.type)
    if before.choices is not None and after.choices is not None:
        yield from _of_choices(f"choices of {what}", before.choices, after.choices)
    for step in walk.steps(before.options, after.options):
        yield Step(step.kind, f"{what}, {step.path}", step.before, step.after)


def _of_choices(what: str, before: list[Any], after: list[Any]) -> Iterator[Step]:
    old, new = Counter(map(shown, before)), Counter(map(shown, after))
    if old == new and shown(before) != shown(after):
        yield Step("changed", f"order of {what}", shown(before), shown(after))
    yield from (Step("removed", what, text, "") for text in old - new)
    yield from (Step("added", what, "", text) for text in new - old)


def _of_outputs(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Step]:
    for key in _OUTPUTS:
        old, new = before.get(key), after.get(key)
        if key in before and key in after and shown(old) != shown(new):
            yield Step("changed", f"`{key}`", shown(old), shown(new))
            return  # The lists go together: what follows from another number of outputs is no change of its own.


def _rest(entry: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The entry without what is compared in a way of its own; the keys stay, for their order."""
    apart = {"input", *_OUTPUTS}
    if shown(entry.get("input")) != shown(other.get("input")):
        apart.add("input_order")
    return {key: None if key in apart and key in other else item for key, item in entry.items()}
