"""Nodes that choose between inputs, and logic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import argument, grown


def _branch(inputs: Mapping[str, Any]) -> str:
    return "on_true" if inputs.get("switch") else "on_false"


def _needed(inputs: Mapping[str, Any]) -> Sequence[str]:
    return (_branch(inputs),)


@node("ComfySwitchNode", lazy=_needed, seconds=0.0005)
def comfy_switch(call: Call) -> Output:
    """The value of the branch that is taken; the other one is never computed (protocol 5.7)."""
    return Output((argument(call, _branch(call.inputs)),))


def _soft_branch(inputs: Mapping[str, Any]) -> str:
    branch = _branch(inputs)
    if branch in inputs:
        return branch
    return "on_false" if branch == "on_true" else "on_true"


def _softly_needed(inputs: Mapping[str, Any]) -> Sequence[str]:
    return (_soft_branch(inputs),)


@node("ComfySoftSwitchNode", lazy=_softly_needed, seconds=0.0005)
def comfy_soft_switch(call: Call) -> Output:
    """As ComfySwitchNode; the branch that is connected stands in for one that is not."""
    return Output((argument(call, _soft_branch(call.inputs)),))


@node("ComfyNotNode", seconds=0.0005)
def comfy_not(call: Call) -> Output:
    """Whether the value is false, empty or zero."""
    return Output((not argument(call, "value"),))


@node("ComfyAndNode", seconds=0.0005)
def comfy_and(call: Call) -> Output:
    """Whether all values are true."""
    return Output((all(grown(call, "values")),))


@node("ComfyOrNode", seconds=0.0005)
def comfy_or(call: Call) -> Output:
    """Whether any value is true."""
    return Output((any(grown(call, "values")),))
