"""The check of single nodes, upstream first: declared inputs, links, constants, cycles, validators (protocol 3.5)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine import reasons
from comfy_mock.engine.dynamic_inputs import DeclaredInputs, declared_inputs, input_type
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.graph import is_link
from comfy_mock.engine.pyset import union_order
from comfy_mock.engine.reasons import VALIDATE_SOURCE, Frame, PythonError, Reason
from comfy_mock.engine.validation_inputs import (
    ConversionError,
    check_choice,
    check_range,
    coerce,
    types_match,
    unwrap,
)
from comfy_mock.engine.validators import VALIDATORS, Validator

_INPUTS: Frame = ("execution.py", 870, "validate_inputs")
_SOURCE: Frame = ("execution.py", 933, "validate_inputs")
_SLOT: Frame = ("execution.py", 935, "validate_inputs")
_RECURSION = VALIDATE_SOURCE

# The real server checks sources by recursion, which Python ends after 1000 frames, some of them the HTTP server's.
# Where exactly has not been observed. It also bounds the texts of cycles, which grow with the square of their length.
_DEEPEST = 950

Walk = Generator[str, bool, bool]
"""The check of one node: yields the ids of sources, is sent whether they are valid, returns whether the node is."""


@dataclass(slots=True)
class Outcome:
    """What is known of a node: whether it is valid, and its own reasons if it is not."""

    valid: bool
    reasons: list[Reason] = field(default_factory=list)


class NodeChecks:
    """The checks of the nodes of one prompt, each node once. Constants are coerced in the prompt itself.

    The arguments are those of `validation.validate`. Each node of `prompt` must be of a class that `definitions` knows.
    """

    def __init__(
        self,
        prompt: dict[str, Any],
        definitions: Callable[[str], NodeDefinition | None],
        files: Files,
        folders: Folders,
        hash_seed: int,
        accepts_any: Callable[[str, str], bool],
    ) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._prompt = prompt
        self._definitions = definitions
        self._files = files
        self._folders = folders
        self._hash_seed = hash_seed
        self._accepts_any = accepts_any
        self._path: dict[str, None] = {}

    def check(self, node_id: str) -> bool:
        """Whether the node and all that it needs are valid; `outcomes` tells why not.

        Raises `PythonError` where the real server's check of this very node raises. The walks upstream are kept in a
        list, so how deep a prompt may be does not depend on Python's own stack.
        """
        walks = [self._check_node(node_id)]
        told: bool | PythonError | None = None
        while walks:
            event = _advance(walks[-1], told)
            if isinstance(event, str):
                walks.append(self._check_node(event))
                told = None
            else:
                walks.pop()
                told = event
        if isinstance(told, PythonError):
            raise told
        return bool(told)

    def _check_node(self, node_id: str) -> Walk:
        if node_id in self.outcomes:
            return self.outcomes[node_id].valid
        if node_id in self._path:
            self._mark_cycle(node_id)
            return False
        node = self._prompt[node_id]
        if len(self._path) >= _DEEPEST:
            raise PythonError("RecursionError", "maximum recursion depth exceeded", _RECURSION)
        if "inputs" not in node:
            raise PythonError("KeyError", "'inputs'", _INPUTS)
        definition = self._definition(node_id)
        declared = declared_inputs(definition, node["inputs"])
        validator = VALIDATORS.get(definition.class_type)
        errors: list[Reason] = []
        self._path[node_id] = None
        try:
            sound = yield from self._check_inputs(node, declared, validator, errors)
        finally:
            del self._path[node_id]
        if validator is not None:
            errors += self._ask(validator, node["inputs"], declared)
        marks = self.outcomes[node_id].reasons if node_id in self.outcomes else []
        own = marks + [error for error in errors if error not in marks]
        self.outcomes[node_id] = Outcome(sound and not own, own)
        return self.outcomes[node_id].valid

    def _check_inputs(
        self, node: dict[str, Any], declared: DeclaredInputs, validator: Validator | None, errors: list[Reason]
    ) -> Walk:
        """Go through the declared inputs; false if a source is invalid. What is wrong with inputs goes to `errors`."""
        inputs = node["inputs"]
        sound = True
        for name in union_order(declared.required, declared.optional, self._hash_seed):
            spec = declared.spec(name)
            if name not in inputs:
                if name in declared.required:
                    shown = name.rpartition(".")[2] if declared.live else name
                    errors.append(reasons.required_input_missing(name, shown))
            elif not isinstance(inputs[name], list):
                errors += self._check_constant(node, name, spec, validator)
            elif len(inputs[name]) != 2:
                errors.append(reasons.bad_linked_input(name, spec, inputs[name]))
            else:
                link = inputs[name]
                received = self._received_type(link)
                if types_match(received, input_type(spec)):
                    sound = (yield from self._check_source(name, spec, link)) and sound
                else:
                    errors.append(reasons.return_type_mismatch(name, spec, received, link))
        return sound

    def _check_source(self, name: str, spec: Any, link: list[Any]) -> Walk:
        """Check the node that `link` names. If that raises, the source is to blame, and is described by this input."""
        try:
            return (yield link[0])
        except PythonError as raised:
            why = reasons.exception_during_inner_validation(raised, self._folders.base, name, spec, link)
            self.outcomes[link[0]] = Outcome(False, [why])
            return False

    def _check_constant(self, node: dict[str, Any], name: str, spec: Any, validator: Validator | None) -> list[Reason]:
        inputs = node["inputs"]
        inputs[name] = unwrap(inputs[name])
        try:
            inputs[name] = coerce(input_type(spec), inputs[name])
        except ConversionError as error:
            return [reasons.invalid_input_type(name, spec, inputs[name], str(error))]
        if validator is not None and validator.takes(name):
            return []
        wrong = check_range(name, spec, inputs[name])
        if wrong is None and not self._accepts_any(node["class_type"], name):
            wrong = check_choice(name, spec, inputs[name])
        return [] if wrong is None else [wrong]

    def _received_type(self, link: list[Any]) -> Any:
        """The type of the output that `link` names, found as Python would: negative slots count from the end."""
        source_id, slot = link
        if isinstance(source_id, (list, dict)):
            raise PythonError("TypeError", f"unhashable type: '{type(source_id).__name__}'", _SOURCE)
        if source_id not in self._prompt:
            raise PythonError("KeyError", repr(source_id), _SOURCE)
        definition = self._definition(source_id)
        sequence = "list" if definition.is_v3 else "tuple"
        if not isinstance(slot, int):
            text = f"{sequence} indices must be integers or slices, not {type(slot).__name__}"
            raise PythonError("TypeError", text, _SLOT)
        if not -(1 << 63) <= slot < 1 << 63:
            raise PythonError("IndexError", "cannot fit 'int' into an index-sized integer", _SLOT)
        if not -len(definition.outputs) <= slot < len(definition.outputs):
            raise PythonError("IndexError", f"{sequence} index out of range", _SLOT)
        return definition.outputs[slot]

    def _ask(self, validator: Validator, inputs: dict[str, Any], declared: DeclaredInputs) -> list[Reason]:
        """What the class's own validator complains about: the same of every input that it was given."""
        arguments = {
            name: None if is_link(value) else value
            for name, value in inputs.items()
            if name in declared and validator.takes(name)
        }
        result = validator.call(arguments, self._files, self._folders)
        return [] if result is True else [reasons.custom_validation_failed(name, result) for name in arguments]

    def _mark_cycle(self, node_id: str) -> None:
        ids = list(self._path)
        cycle = [(each, self._prompt[each]["class_type"]) for each in ids[ids.index(node_id) :]]
        for each, _ in cycle:
            self.outcomes[each] = Outcome(False, [reasons.dependency_cycle(cycle, each)])

    def _definition(self, node_id: str) -> NodeDefinition:
        definition = self._definitions(self._prompt[node_id]["class_type"])
        assert definition is not None
        return definition


def _advance(walk: Walk, told: bool | PythonError | None) -> str | bool | PythonError:
    """Run a walk, told what became of the source it asked for (None to start it).

    Returns the id of the next source that it wants to know of, or how it ended: its answer, or what it raised.
    """
    try:
        if isinstance(told, PythonError):
            return walk.throw(told)
        return next(walk) if told is None else walk.send(told)
    except StopIteration as end:
        return bool(end.value)
    except PythonError as raised:
        return raised
