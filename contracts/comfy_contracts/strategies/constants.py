"""Constants that an input takes: of its type, in its range, among its choices (protocol 3.5, 3.7)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

LARGEST = 64
"""How far numbers go beyond what an input's range begins with, seeds apart: pictures stay small, runs short."""

_SEEDS = ("seed", "noise_seed")
_LETTERS = st.characters(min_codepoint=32, max_codepoint=0x17F)
_TEXTS = st.one_of(
    st.text(_LETTERS, max_size=12), st.sampled_from(["", "a cat in the snow", "1", "wörter", '"quoted"'])
)
_PREFIXES = st.sampled_from(["ComfyUI", "a", "sub/folder", "with blank", "%width%x%height%"])


def options_of(spec: Any) -> Mapping[str, Any]:
    """The options of an input's `[type]` or `[type, options]`."""
    options: Mapping[str, Any] = spec[1] if len(spec) > 1 else {}
    return options


def choices_of(spec: Any) -> list[Any] | None:
    """What a COMBO of the old form (the type itself) or the new one offers; None for any other type."""
    if isinstance(spec[0], (list, tuple)):
        return list(spec[0])
    return list(options_of(spec).get("options") or []) if spec[0] == "COMBO" else None


def constants(name: str, spec: Any, largest: int = LARGEST) -> st.SearchStrategy[Any] | None:
    """Constants for the input `name`, or None where it takes no constant, or where there is nothing to choose from.

    Numbers go up to `largest`, or as far as their range begins, but for seeds.
    """
    options = options_of(spec)
    choices = choices_of(spec)
    if choices is not None:
        return _chosen(choices, several=bool(options.get("multiselect"))) if choices else None
    if spec[0] == "INT":
        return _integers(options, None if name.rpartition(".")[2] in _SEEDS else largest)
    if spec[0] == "FLOAT":
        return _floats(options, largest)
    if spec[0] == "STRING":
        return _PREFIXES if name == "filename_prefix" else _TEXTS
    if spec[0] == "BOOLEAN":
        return st.booleans()
    default = options.get("default")
    return None if default is None or isinstance(default, list) else st.just(default)


def _chosen(choices: list[Any], *, several: bool) -> st.SearchStrategy[Any]:
    one = st.sampled_from(choices)
    if not several:
        return one
    # a bare list would be a link (protocol 3.7)
    lists = st.lists(one, max_size=3, unique=True)
    return one | lists.map(lambda chosen: {"__value__": chosen})


def _bounds(options: Mapping[str, Any], largest: float) -> tuple[float, float]:
    low, high = options.get("min", -largest), options.get("max", largest)
    low = low if low >= -largest else -largest if high >= -largest else high
    return low, max(low, min(high, max(largest, low)))


def _integers(options: Mapping[str, Any], largest: int | None) -> st.SearchStrategy[int]:
    low, high = _bounds(options, 2**64 - 1 if largest is None else largest)
    low, high = math.ceil(low), math.floor(high)
    step = options.get("step", 1)
    if not isinstance(step, int) or step < 2 or low + step > high:
        return st.integers(low, high) | st.sampled_from([low, high])
    return st.integers(0, (high - low) // step).map(lambda steps: low + steps * step)


def _floats(options: Mapping[str, Any], largest: float) -> st.SearchStrategy[float]:
    low, high = _bounds(options, largest)
    return st.floats(float(low), float(high), allow_nan=False) | st.sampled_from([float(low), float(high)])
