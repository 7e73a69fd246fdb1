from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_contracts.difference import NOTHING, Difference, differences

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@pytest.mark.parametrize(
    ("expected", "got", "difference"),
    [
        (1, 2, Difference("x", 1, 2)),
        (1, 1.0, Difference("x", 1, 1.0)),
        (1, True, Difference("x", 1, True)),
        (None, {}, Difference("x", None, {})),
        ({"a": 1}, {}, Difference("x.a", 1, NOTHING)),
        ({}, {"a": None}, Difference("x.a", NOTHING, None)),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, Difference("x.a[0].b", 1, 2)),
        ([1], [1, 2], Difference("x (length)", 1, 2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, Difference("x (order of keys)", ["a", "b"], ["b", "a"])),
        (math.nan, 1.5, Difference("x", math.nan, 1.5)),
    ],
)
def test_each_kind_of_difference(expected: Any, got: Any, difference: Difference) -> None:
    assert [str(found) for found in differences(expected, got, "x")] == [str(difference)]


def test_all_differences_are_told() -> None:
    found = list(differences({"a": 1, "b": [1, 2, 3]}, {"a": 2, "b": [0, 2, 0]}, "x"))
    assert [one.where for one in found] == ["x.a", "x.b[0]", "x.b[2]"]


def test_the_order_of_keys_may_be_free() -> None:
    assert not list(differences([{"a": 1, "b": 2}], [{"b": 2, "a": 1}], "x", key_order=False))


def test_a_difference_reads_as_a_sentence() -> None:
    assert str(Difference("body.a", "x", NOTHING)) == 'body.a: expected "x", got nothing'
    assert str(Difference("body", "x" * 500, 1)).startswith(f'body: expected "{"x" * 199}… (502 characters), got 1')


@given(values)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert not list(differences(value, value, "x"))


@given(values, values)
def test_values_differ_exactly_where_their_texts_do(expected: Any, got: Any) -> None:
    assert bool(list(differences(expected, got, "x"))) == (repr(expected) != repr(got))
