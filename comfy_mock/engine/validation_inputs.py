"""Constants in the inputs of a node: coercion to the declared type, range and list checks (protocol 3.5 and 3.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_mock.engine import reasons
from comfy_mock.engine.dynamic_inputs import input_options
from comfy_mock.engine.reasons import Frame, PythonError, Reason

_COMPARE: Frame = ("execution.py", 1010, "validate_inputs")

_COERCIONS: dict[str, Callable[[Any], Any]] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


class ConversionError(Exception):
    """A constant cannot be converted to the declared type; the message is Python's."""


def unwrap(value: Any) -> Any:
    """What a constant stands for: `{"__value__": x}` is the way to send a list that is not a link."""
    return value["__value__"] if isinstance(value, dict) and "__value__" in value else value


def coerce(declared_type: Any, value: Any) -> Any:
    """`value` converted to exactly `INT`, `FLOAT`, `STRING` or `BOOLEAN`; for any other type as it is (protocol 3.7).

    Raises `ConversionError` with the words of Python 3.11.
    """
    convert = _COERCIONS.get(declared_type) if isinstance(declared_type, str) else None
    if convert is None:
        return value
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ConversionError(str(error)) from error


def check_range(name: str, spec: Any, value: Any) -> Reason | None:
    """What is wrong with a coerced value that is out of range. Raises `PythonError` where it cannot be compared."""
    options = input_options(spec)
    try:
        if "min" in options and value < options["min"]:
            return reasons.value_smaller_than_min(name, spec, value)
        if "max" in options and value > options["max"]:
            return reasons.value_bigger_than_max(name, spec, value)
    except TypeError as error:
        raise PythonError("TypeError", str(error), _COMPARE) from error
    return None


def choices_of(spec: Any) -> list[Any] | None:
    """The choices of a COMBO in its old form (the type itself) or new form (an option); None for any other type."""
    if isinstance(spec[0], list):
        return spec[0]
    if spec[0] == "COMBO":
        choices: list[Any] = input_options(spec).get("options", [])
        return choices
    return None


def check_choice(name: str, spec: Any, value: Any) -> Reason | None:
    """What is wrong with a coerced value that is none of the choices of a COMBO, by Python's equality."""
    choices = choices_of(spec)
    if choices is None:
        return None
    many = isinstance(value, list) and input_options(spec).get("multiselect", False)
    strangers = [each for each in (value if many else [value]) if each not in choices]
    return reasons.value_not_in_list(name, spec, value, strangers, choices) if strangers else None


def types_match(received: Any, wanted: Any) -> bool:
    """Whether an output of type `received` may be linked to an input of type `wanted` (protocol 3.8)."""
    if received == wanted or "*" in (received, wanted) or "COMFY_MATCHTYPE_V3" in (received, wanted):
        return True
    if isinstance(received, list):
        return bool(wanted == "COMBO")
    if not isinstance(received, str) or not isinstance(wanted, str):
        return False
    ours = {part.strip() for part in received.split(",")}
    theirs = {part.strip() for part in wanted.split(",")}
    return bool(ours & theirs) or "*" in ours | theirs
