"""Where two JSON values differ, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from comfy_contracts import jsontext

_LONGEST_TEXT = 200
_CONTEXT = 40


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()
"""Stands in a `Difference` for a value that is not there."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between a recording and another traffic: where, what was expected, what came instead.

    Values are without what is free; either may be `NOTHING`. `check` names the one of `CHECKS` that found it.
    """

    where: str
    expected: Any
    got: Any
    check: str = ""

    def __str__(self) -> str:
        return f"{self.where}: expected {_short(self.expected)}, got {_short(self.got)}"


def values_as_text(difference: Difference) -> tuple[str, str]:
    """What was expected and what came, as JSON cut to a readable length; from where they part, where they are long."""
    return cut_where_they_part(_text(difference.expected), _text(difference.got), _LONGEST_TEXT)


def cut_where_they_part(expected: str, got: str, longest: int) -> tuple[str, str]:
    """Two texts, cut to `longest` characters: from shortly before where they part, if one of them is longer."""
    if max(len(expected), len(got)) <= longest:
        return expected, got
    pairs = enumerate(zip(expected, got, strict=False))
    start = max(0, next((index for index, (left, right) in pairs if left != right), 0) - _CONTEXT)
    return _cut(expected, start, longest), _cut(got, start, longest)


def _cut(text: str, start: int, longest: int) -> str:
    part = text[start : start + longest]
    return f"{'…' if start else ''}{part}{'…' if start + longest < len(text) else ''}"


def _text(value: Any) -> str:
    return "nothing" if value is NOTHING else jsontext.dumps(value)


def differences(expected: Any, got: Any, where: str, *, key_order: bool = True) -> Iterator[Difference]:
    """Every place at which two JSON values differ; `where` names the place of the values themselves.

    Ints, floats and booleans are different things; so are 0.0 and -0.0, but NaN is equal to itself. `key_order` says
    that objects with the same keys in another order differ.
    """
    if type(expected) is not type(got):
        yield Difference(where, expected, got)
    elif isinstance(expected, dict):
        yield from _of_objects(expected, got, where, key_order)
    elif isinstance(expected, list):
        for index, (left, right) in enumerate(zip(expected, got, strict=False)):
            yield from differences(left, right, f"{where}[{index}]", key_order=key_order)
        if len(expected) != len(got):
            yield Difference(f"{where} (length)", len(expected), len(got))
    elif repr(expected) != repr(got):
        yield Difference(where, expected, got)


def found_by(check: str, differences: Iterable[Difference]) -> Iterator[Difference]:
    """The differences, marked with the check that found them."""
    return (replace(difference, check=check) for difference in differences)


def _of_objects(expected: dict[str, Any], got: dict[str, Any], where: str, key_order: bool) -> Iterator[Difference]:
    for key, value in expected.items():
        if key in got:
            yield from differences(value, got[key], f"{where}.{key}", key_order=key_order)
        else:
            yield Difference(f"{where}.{key}", value, NOTHING)
    for key, value in got.items():
        if key not in expected:
            yield Difference(f"{where}.{key}", NOTHING, value)
    if key_order and expected.keys() == got.keys() and list(expected) != list(got):
        yield Difference(f"{where} (order of keys)", list(expected), list(got))


def _short(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(text)} characters)"
