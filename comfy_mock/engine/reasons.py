"""The reasons for which a node is refused: the error catalogue of protocol 3.6, exact to the key order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Reason = dict[str, Any]
"""`{"type", "message", "details", "extra_info"}`"""

Frame = tuple[str, int, str]
"""A line of the real server's traceback: file below its folder, line number, function."""

_NO_CLASS = " has no class_type. The workflow may be corrupted or a custom node is missing."

VALIDATE_OUTPUT: Frame = ("execution.py", 1184, "validate_prompt")
VALIDATE_SOURCE: Frame = ("execution.py", 955, "validate_inputs")


class PythonError(Exception):
    """The real server's code raises a Python exception while it checks a node.

    `type_name` and `text` are those of that exception, `frames` where it comes from below the check of the node.
    """

    def __init__(self, type_name: str, text: str, *frames: Frame) -> None:
        super().__init__(f"{type_name}: {text}")
        self.type_name = type_name
        self.text = text
        self.frames = frames

    def traceback(self, base: str, caught_at: Frame) -> list[str]:
        """The lines Python would print for a server that is installed in the folder `base`."""
        return [
            f'  File "{base}/{file}", line {line}, in {function}\n'
            for file, line, function in (caught_at, *self.frames)
        ]


def reason(kind: str, message: str, details: str, extra_info: dict[str, Any]) -> Reason:
    """An error object, of a node or of the whole prompt."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info}


def input_config(spec: Sequence[Any]) -> list[Any]:
    """`[type, options]`, with empty options where the class gives none."""
    return [spec[0], spec[1] if len(spec) > 1 else {}]


def required_input_missing(name: str, details: str) -> Reason:
    return reason("required_input_missing", "Required input is missing", details, {"input_name": name})


def bad_linked_input(name: str, spec: Sequence[Any], value: Any) -> Reason:
    message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
    return reason("bad_linked_input", message, name, _about_value(name, input_config(spec), value))


def return_type_mismatch(name: str, spec: Sequence[Any], received: Any, link: list[Any]) -> Reason:
    extra_info = {
        "input_name": name,
        "input_config": input_config(spec),
        "received_type": received,
        "linked_node": link,
    }
    details = f"{name}, received_type({received}) mismatch input_type({spec[0]})"
    return reason("return_type_mismatch", "Return type mismatch between linked nodes", details, extra_info)


def invalid_input_type(name: str, spec: Sequence[Any], value: Any, exception_message: str) -> Reason:
    extra_info = _about_value(name, input_config(spec), value) | {"exception_message": exception_message}
    message = f"Failed to convert an input value to a {spec[0]} value"
    return reason("invalid_input_type", message, f"{name}, {value}, {exception_message}", extra_info)


def value_smaller_than_min(name: str, spec: Sequence[Any], value: Any) -> Reason:
    message = f"Value {value} smaller than min of {spec[1]['min']}"
    return reason("value_smaller_than_min", message, name, _about_value(name, input_config(spec), value))


def value_bigger_than_max(name: str, spec: Sequence[Any], value: Any) -> Reason:
    message = f"Value {value} bigger than max of {spec[1]['max']}"
    return reason("value_bigger_than_max", message, name, _about_value(name, input_config(spec), value))


def value_not_in_list(name: str, spec: Sequence[Any], value: Any, strangers: list[Any], choices: list[Any]) -> Reason:
    """`strangers` are the parts of `value` that are no choice; long lists of choices are not shown."""
    long = len(choices) > 20
    shown = f"(list of length {len(choices)})" if long else str(choices)
    details = f"{name}: {', '.join(repr(stranger) for stranger in strangers)} not in {shown}"
    extra_info = _about_value(name, None if long else input_config(spec), value)
    return reason("value_not_in_list", "Value not in list", details, extra_info)


def custom_validation_failed(name: str, result: Any) -> Reason:
    """`result` is what the node's own validator returned instead of true."""
    details = name if result is False else f"{name} - {result}"
    return reason("custom_validation_failed", "Custom validation failed for node", details, {"input_name": name})


def dependency_cycle(path: Sequence[tuple[str, str]], node_id: str) -> Reason:
    """`path` has (id, class) of the nodes of the cycle, each once, from where it was entered; `node_id` is of them."""
    details = " -> ".join(f"{each} ({class_type})" for each, class_type in (*path, path[0]))
    extra_info = {"node_id": node_id, "cycle_nodes": [each for each, _ in path]}
    return reason("dependency_cycle", "Dependency cycle detected", details, extra_info)


def exception_during_validation(raised: PythonError, base: str) -> Reason:
    extra_info = {"exception_type": raised.type_name, "traceback": raised.traceback(base, VALIDATE_OUTPUT)}
    return reason("exception_during_validation", "Exception when validating node", raised.text, extra_info)


def exception_during_inner_validation(
    raised: PythonError, base: str, name: str, spec: Sequence[Any], link: list[Any]
) -> Reason:
    """The reason of a source whose check raised; `name` and `spec` are the consumer's input that links to it."""
    extra_info = {
        "input_name": name,
        "input_config": input_config(spec),
        "exception_message": raised.text,
        "exception_type": raised.type_name,
        "traceback": raised.traceback(base, VALIDATE_SOURCE),
        "linked_node": link,
    }
    message = "Exception when validating inner node"
    return reason("exception_during_inner_validation", message, raised.text, extra_info)


def missing_class(node_id: str, title: Any) -> Reason:
    """The prompt's error for a node without `class_type`; `title` is its `_meta.title` (protocol 3.3)."""
    shown = title or f"ID #{node_id}"
    message = f"Node '{shown}'{_NO_CLASS}"
    return _missing_node_type(node_id, message, None, title)


def unknown_class(node_id: str, class_type: Any, title: Any) -> Reason:
    """The prompt's error for a node of a class that the server does not have (protocol 3.3)."""
    message = f"Node '{title}' not found. The custom node may not be installed."
    return _missing_node_type(node_id, message, class_type, title)


def _missing_node_type(node_id: str, message: str, class_type: Any, title: Any) -> Reason:
    extra_info = {"node_id": node_id, "class_type": class_type, "node_title": title}
    return reason("missing_node_type", message, f"Node ID '#{node_id}'", extra_info)


def before_missing_node_type(error: Reason | None) -> Reason | None:
    """A prompt's error in the words of versions that did not have `missing_node_type` (protocol 10)."""
    if error is None or error["type"] != "missing_node_type":
        return error
    if error["message"].endswith(_NO_CLASS):
        message = "Cannot execute because a node is missing the class_type property."
    else:
        message = f"Cannot execute because node {error['extra_info']['class_type']} does not exist."
    return reason("invalid_prompt", message, error["details"], {})


def prompt_no_outputs() -> Reason:
    return reason("prompt_no_outputs", "Prompt has no outputs", "", {})


def prompt_outputs_failed_validation(reasons_of_outputs: Sequence[Mapping[str, Any]]) -> Reason:
    """No output is good; only the outputs' own reasons are told, not those of the nodes upstream (protocol 3.4)."""
    details = "\n".join(f"{each['message']}: {each['details']}" for each in reasons_of_outputs)
    return reason("prompt_outputs_failed_validation", "Prompt outputs failed validation", details, {})


def _about_value(name: str, config: list[Any] | None, value: Any) -> dict[str, Any]:
    return {"input_name": name, "input_config": config, "received_value": value}
