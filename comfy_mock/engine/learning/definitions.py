"""Node classes that the packaged catalogue does not have: as the recorded server declares them, else made up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from comfy_contracts.catalogue import Catalogue, NodeDefinition, complete_entry
from comfy_mock.engine.graph import is_link
from comfy_mock.engine.learning.recorded import Recorded, RecordedRun
from comfy_mock.engine.unknown_nodes import UnknownNodes

_ANY = "*"
_NUMBERS = {"INT", "FLOAT"}


def definitions(
    recordings: Iterable[Recorded], known: Catalogue, note: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """The entries of all classes in the prompts that are not `known`, by name.

    Made-up ones have all inputs that were seen, with the types of their values, and outputs of the types that their
    consumers want. `note` is told of those.
    """
    recordings = list(recordings)
    runs = [run for recorded in recordings for run in recorded.runs]
    declared = {name: entry for recorded in recordings for name, entry in recorded.classes.items()}
    used = {name for run in runs for name in _classes(run.graph).values()}
    unknown = {name for name in used if name not in known}
    # in the order of their registration, which a client can see
    entries = {name: complete_entry(entry, name) for name, entry in declared.items() if name in unknown}
    made_up = sorted(unknown - entries.keys())
    if made_up:
        note(f"made up from how prompts use them, for no recording has their /object_info: {', '.join(made_up)}")
        entries |= _made_up(made_up, runs, known.merged(entries))
    return entries


def _made_up(names: list[str], runs: list[RecordedRun], known: Catalogue) -> dict[str, dict[str, Any]]:
    guesses = UnknownNodes()
    types: dict[tuple[str, str], str] = {}
    sinks: set[str] = set()
    others: set[str] = set()
    for run in runs:
        guesses.learn(run.graph, known=known.get)
    for run in runs:
        classes = _classes(run.graph)
        outputs = set(run.outputs or ())
        sources = {node_id: _definition(class_type, known, guesses) for node_id, class_type in classes.items()}
        for node_id, class_type in classes.items():
            if class_type not in names:
                continue
            if run.outputs is not None:
                (sinks if node_id in outputs else others).add(class_type)
            for name, value in _inputs(run.graph[node_id]).items():
                kind = _type_of(value, sources)
                before = types.get((class_type, name), kind)
                types[class_type, name] = _joined(before, kind)
    made = {}
    for name in names:
        definition = guesses.definition(name)
        assert definition is not None, name
        inputs = {each: [types.get((name, each), _ANY), {}] for each in definition.optional}
        is_output = name in sinks or (name not in others and definition.output_node)
        changed = {"input": {"required": {}, "optional": inputs}, "output_node": is_output}
        made[name] = complete_entry({**definition.entry, **changed}, name)
    return made


def _type_of(value: Any, sources: Mapping[str, NodeDefinition | None]) -> str:
    if is_link(value):
        source = sources.get(value[0])
        outputs = [] if source is None else source.outputs
        declared = outputs[value[1]] if isinstance(value[1], int) and 0 <= value[1] < len(outputs) else _ANY
        return declared if isinstance(declared, str) and not declared.startswith("COMFY_") else _ANY
    if isinstance(value, bool):
        return "BOOLEAN"
    kinds: tuple[tuple[type, str], ...] = ((int, "INT"), (float, "FLOAT"), (str, "STRING"))
    return next((kind for cls, kind in kinds if isinstance(value, cls)), _ANY)


def _joined(one: str, other: str) -> str:
    if one == other:
        return one
    return "FLOAT" if {one, other} == _NUMBERS else _ANY


def _definition(class_type: str, known: Catalogue, guesses: UnknownNodes) -> NodeDefinition | None:
    return known.get(class_type) or guesses.definition(class_type)


def _classes(graph: Mapping[str, Any]) -> dict[str, str]:
    """The class of each node of a prompt that has one."""
    return {
        node_id: node["class_type"]
        for node_id, node in graph.items()
        if isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
    }


def _inputs(node: Mapping[str, Any]) -> dict[str, Any]:
    return dict(node["inputs"])
