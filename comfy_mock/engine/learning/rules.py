"""Rules for what nodes did: one for a class where all its nodes did the same, else one for each that did not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine.graph import is_link
from comfy_mock.engine.script.matching import equal
from comfy_mock.engine.script.model import NodeMatch, NodeRule

_CLOSE_S = 0.01
_CLOSE_SHARE = 0.1
"""Times that differ by less than the one or the other are taken for equal: no two runs take equally long."""


@dataclass(frozen=True)
class Learned:
    """What a node with these inputs did, as a rule that matches everything."""

    node: str
    class_type: str
    inputs: dict[str, Any]
    rule: NodeRule


def rules_for(
    learned: Sequence[Learned], definition: Callable[[str], NodeDefinition | None], plays: Callable[[str], bool]
) -> list[NodeRule]:
    """The rules for all that was learned, in the order in which the runs had it.

    A class whose nodes did the same has one rule. Else each node has its own, and of a node that did several things
    each has one for the inputs with which it did so, or, where those were the same, one for each time. The last rule
    of each is for all others: what it does is the best guess for what was not recorded.
    """
    rules = []
    for class_type, of_class in _grouped(learned, lambda each: each.class_type).items():
        kept = _steps_are_an_input(of_class, plays)
        rules += [_for_class(rule, class_type, kept) for rule in _by_node(of_class, class_type, definition(class_type))]
    return [structs.replace(rule, optional=True) for rule in rules]


def _for_class(rule: NodeRule, class_type: str, kept: str) -> NodeRule:
    inputs = {**rule.match.inputs, kept: rule.steps} if kept and rule.steps is not None else rule.match.inputs
    match = structs.replace(rule.match, class_type=class_type, inputs=inputs)
    return structs.replace(rule, match=match, name=rule.name or class_type)


def _steps_are_an_input(of_class: Sequence[Learned], plays: Callable[[str], bool]) -> str:
    """`steps` where the class counts to that input of its nodes, and knows itself what to do for another number."""
    counted = [each for each in of_class if each.rule.steps is not None]
    fits = all(each.inputs.get("steps") == each.rule.steps for each in counted)
    return "steps" if counted and fits and plays(of_class[0].class_type) else ""


def _by_node(of_class: Sequence[Learned], class_type: str, definition: NodeDefinition | None) -> list[NodeRule]:
    if all(_are_alike(each.rule, of_class[0].rule) for each in of_class):
        return [_mean([each.rule for each in of_class])]
    nodes = _grouped(of_class, lambda each: each.node)
    rules: list[NodeRule] = []
    for index, (node, of_node) in enumerate(nodes.items()):
        is_last = index == len(nodes) - 1
        match = NodeMatch() if is_last else NodeMatch(node=node)
        name = class_type if len(nodes) == 1 else f"{class_type} {node}"
        rules += [
            structs.replace(rule, match=structs.replace(match, inputs=rule.match.inputs), name=name)
            for rule in _by_inputs(of_node, definition)
        ]
    return rules


def _by_inputs(of_node: Sequence[Learned], definition: NodeDefinition | None) -> list[NodeRule]:
    declared = {} if definition is None else {**definition.required, **definition.optional}
    varying = [
        name
        for name, value in of_node[0].inputs.items()
        if name in declared and not all(equal(value, each.inputs.get(name)) for each in of_node)
    ]
    groups: list[tuple[dict[str, Any], list[Learned]]] = []
    for each in of_node:
        values = {name: each.inputs[name] for name in varying if _is_constant(each.inputs, name)}
        group = next((group for known, group in groups if equal(known, values)), None)
        if group is None:
            groups.append((values, [each]))
        else:
            group.append(each)
    if all(_are_alike(each.rule, of_node[0].rule) for each in of_node):
        return [_mean([each.rule for each in of_node])]
    rules = []
    for index, (values, group) in enumerate(groups):
        # what has no values would fit all, also those that come behind it
        match = NodeMatch(inputs={} if index == len(groups) - 1 else values)
        rules += [structs.replace(rule, match=match) for rule in _one_after_the_other([each.rule for each in group])]
    return rules


def _is_constant(inputs: dict[str, Any], name: str) -> bool:
    return name in inputs and not is_link(inputs[name])


def _one_after_the_other(rules: Sequence[NodeRule]) -> list[NodeRule]:
    """Rules for what was done each time: those that are alike are one, and the last goes on for ever."""
    stretches: list[list[NodeRule]] = []
    for rule in rules:
        if stretches and _are_alike(stretches[-1][0], rule):
            stretches[-1].append(rule)
        else:
            stretches.append([rule])
    means = [structs.replace(_mean(stretch), times=len(stretch)) for stretch in stretches]
    return [*means[:-1], structs.replace(means[-1], times=None)]


def _are_alike(one: NodeRule, other: NodeRule) -> bool:
    same = structs.replace(one, duration=None, step_time=0.0) == structs.replace(other, duration=None, step_time=0.0)
    return same and _are_close(_length(one), _length(other))


def _length(rule: NodeRule) -> float | None:
    if rule.duration is None:
        return None
    return rule.duration + sum(step_times(rule))


def step_times(rule: NodeRule) -> list[float]:
    """The seconds of every step of a rule."""
    if rule.steps is None:
        return []
    times = rule.step_time if isinstance(rule.step_time, list) else [rule.step_time]
    return [*times[: rule.steps], *[times[-1]] * (rule.steps - len(times))]


def _are_close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return True
    return abs(one - other) <= max(_CLOSE_S, _CLOSE_SHARE * max(one, other))


def _mean(rules: Sequence[NodeRule]) -> NodeRule:
    """The first of rules that are alike, with the mean of what they do before the steps."""
    timed = [rule for rule in rules if rule.duration is not None] or list(rules)
    durations = [rule.duration for rule in timed if rule.duration is not None]
    return structs.replace(timed[0], duration=round(sum(durations) / len(durations), 3)) if durations else timed[0]


def _grouped(learned: Iterable[Learned], by: Callable[[Learned], str]) -> dict[str, list[Learned]]:
    groups: dict[str, list[Learned]] = {}
    for each in learned:
        groups.setdefault(by(each), []).append(each)
    return groups
