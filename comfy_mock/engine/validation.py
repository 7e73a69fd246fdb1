"""Validation of a prompt, as `POST /prompt` does it: which outputs may run, what is wrong with others (protocol 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine import reasons
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.pyset import set_order
from comfy_mock.engine.reasons import PythonError, Reason
from comfy_mock.engine.validation_nodes import NodeChecks, Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """`valid` if at least one output may run: `outputs` are those, in order of execution (`prompt[4]` of the queue).

    `error` and `node_errors` are parts of the answer: `error` is None of a valid prompt, whose `node_errors`
    tell of the outputs that will not run.
    """

    valid: bool
    error: dict[str, Any] | None = None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, Any] = field(default_factory=dict)


def validate(
    prompt: Any,
    targets: Any,
    *,
    definitions: Callable[[str], NodeDefinition | None],
    files: Files,
    folders: Folders,
    hash_seed: int = 0,
    accepts_any: Callable[[str, str], bool] | None = None,
) -> Verdict:
    """Check a prompt whose outdated nodes have been replaced: step 6 of protocol 3.2.

    The prompt is changed in place: constants become what the classes declare (protocol 3.7). `targets` is the body's
    `partial_execution_targets`, whatever the client sent; None is as good as absent. `definitions` tells what a class
    is now, with its current lists, or None. `files` and `folders` are what the file validators look at (protocol 3.10).
    `hash_seed` decides the order of outputs and errors as PYTHONHASHSEED does (protocol 3.13). Where
    `accepts_any(class_type, input_name)` is true, a COMBO takes any value.

    Raises `ServerTrouble` where the real server answers 500 (protocol 3.3).
    """
    outputs, error = _outputs_of(prompt, targets, definitions)
    if error is not None:
        return Verdict(valid=False, error=error)
    checks = NodeChecks(prompt, definitions, files, folders, hash_seed, accepts_any or _accepts_listed)
    good: list[str] = []
    refused: list[Reason] = []
    node_errors: dict[str, Any] = {}
    for output in set_order(outputs, hash_seed):
        if _output_is_valid(output, checks, folders):
            good.append(output)
            continue
        refused += checks.outcomes[output].reasons
        for node_id, outcome in checks.outcomes.items():
            if not outcome.valid and outcome.reasons:
                entry = node_errors.setdefault(node_id, _entry(prompt[node_id], outcome))
                entry["dependent_outputs"].append(output)
    if not good:
        return Verdict(valid=False, error=reasons.prompt_outputs_failed_validation(refused), node_errors=node_errors)
    # The good outputs go through a second set, which may iterate in another order than the first.
    return Verdict(valid=True, outputs=set_order(good, hash_seed), node_errors=node_errors)


def _accepts_listed(_class_type: str, _input_name: str) -> bool:
    return False


def _outputs_of(
    prompt: Any, targets: Any, definitions: Callable[[str], NodeDefinition | None]
) -> tuple[list[str], Reason | None]:
    """The output nodes asked for, in the prompt's order, or the error that ends the whole prompt (protocol 3.3)."""
    if not isinstance(prompt, dict):
        raise ServerTrouble(f"prompt is not an object but {type(prompt).__name__}")
    outputs: list[str] = []
    for node_id, node in prompt.items():
        if not isinstance(node, dict):
            raise ServerTrouble(f"node {node_id!r} is not an object but {type(node).__name__}")
        if "class_type" not in node:
            return [], reasons.missing_class(node_id, _meta(node_id, node).get("title"))
        class_type = node["class_type"]
        if isinstance(class_type, (list, dict)):
            raise ServerTrouble(f"class_type of node {node_id!r} is not hashable")
        definition = definitions(class_type) if isinstance(class_type, str) else None
        if definition is None:
            return [], reasons.unknown_class(node_id, class_type, _meta(node_id, node).get("title", class_type))
        if not isinstance(node.get("inputs", {}), dict):
            raise ServerTrouble(f"inputs of node {node_id!r} is not an object but {type(node['inputs']).__name__}")
        if definition.output_node and _is_target(node_id, targets):
            outputs.append(node_id)
    return outputs, None if outputs else reasons.prompt_no_outputs()


def _meta(node_id: str, node: dict[str, Any]) -> dict[str, Any]:
    meta = node.get("_meta", {})
    if not isinstance(meta, dict):
        raise ServerTrouble(f"_meta of node {node_id!r} is not an object but {type(meta).__name__}")
    return meta


def _is_target(node_id: str, targets: Any) -> bool:
    """Whether an output is asked for: Python's `in`, so a string of targets is searched for the id (protocol 3.3)."""
    if targets is None:
        return True
    if not isinstance(targets, (list, dict, str)):
        raise ServerTrouble(f"partial_execution_targets is {targets!r}, which contains nothing")
    return node_id in targets


def _output_is_valid(output: str, checks: NodeChecks, folders: Folders) -> bool:
    try:
        return checks.check(output)
    except PythonError as raised:
        why = reasons.exception_during_validation(raised, folders.base)
        checks.outcomes[output] = Outcome(False, [why])
        return False


def _entry(node: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    return {"errors": outcome.reasons, "dependent_outputs": [], "class_type": node["class_type"]}
