"""Coercion, ranges, choices and types of single inputs (protocol 3.7, 3.8)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from comfy_mock.engine.reasons import PythonError
from comfy_mock.engine.validation_inputs import (
    ConversionError,
    check_choice,
    check_range,
    coerce,
    types_match,
    unwrap,
)


@pytest.mark.parametrize(
    ("declared", "sent", "stored"),
    [
        ("INT", 5.9, 5),
        ("INT", -5.9, -5),
        ("INT", "7", 7),
        ("INT", " 7 ", 7),
        ("INT", "1_0", 10),
        ("INT", True, 1),
        ("FLOAT", 1, 1.0),
        ("FLOAT", "0.25", 0.25),
        ("FLOAT", True, 1.0),
        ("FLOAT", "inf", math.inf),
        ("STRING", 5, "5"),
        ("STRING", 1.0, "1.0"),
        ("STRING", True, "True"),
        ("STRING", None, "None"),
        ("STRING", {"a": 1}, "{'a': 1}"),
        ("BOOLEAN", "false", True),
        ("BOOLEAN", "", False),
        ("BOOLEAN", 0, False),
        ("BOOLEAN", None, False),
        ("BOOLEAN", {}, False),
        ("FLOAT,INT", "7", "7"),
        ("*", 1, 1),
        ("IMAGE", None, None),
        ("COMBO", 5, 5),
        (["a", "b"], 5, 5),
    ],
)
def test_constants_become_what_is_declared(declared: Any, sent: Any, stored: Any) -> None:
    got = coerce(declared, sent)
    assert (type(got), got) == (type(stored), stored)


def test_nan_is_a_float_and_is_never_out_of_range() -> None:
    value = coerce("FLOAT", "nan")
    assert math.isnan(value)
    assert check_range("cfg", ["FLOAT", {"min": 0.0, "max": 1.0}], value) is None


@pytest.mark.parametrize(
    ("declared", "sent", "message"),
    [
        ("INT", "abc", "invalid literal for int() with base 10: 'abc'"),
        ("INT", "7.5", "invalid literal for int() with base 10: '7.5'"),
        ("INT", "", "invalid literal for int() with base 10: ''"),
        ("INT", None, "int() argument must be a string, a bytes-like object or a real number, not 'NoneType'"),
        ("INT", [1], "int() argument must be a string, a bytes-like object or a real number, not 'list'"),
        ("INT", math.nan, "cannot convert float NaN to integer"),
        ("INT", math.inf, "cannot convert float infinity to integer"),
        ("FLOAT", "x", "could not convert string to float: 'x'"),
        ("FLOAT", None, "float() argument must be a string or a real number, not 'NoneType'"),
        ("FLOAT", 10**400, "int too large to convert to float"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_pythons_words(declared: str, sent: Any, message: str) -> None:
    with pytest.raises(ConversionError) as caught:
        coerce(declared, sent)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("sent", "meant"), [({"__value__": ["4", 0]}, ["4", 0]), ({"__value__": None}, None), ({"a": 1}, {"a": 1})]
)
def test_a_wrapped_value_is_unwrapped(sent: Any, meant: Any) -> None:
    assert unwrap(sent) == meant


@pytest.mark.parametrize("value", [0, 1, 0.5, True])
def test_values_on_the_limits_pass(value: Any) -> None:
    assert check_range("x", ["FLOAT", {"min": 0, "max": 1}], value) is None


def test_values_beyond_the_limits_are_named() -> None:
    spec = ["FLOAT", {"min": 0.5, "max": 1.0}]
    assert check_range("x", spec, 2.0) == {
        "type": "value_bigger_than_max",
        "message": "Value 2.0 bigger than max of 1.0",
        "details": "x",
        "extra_info": {"input_name": "x", "input_config": spec, "received_value": 2.0},
    }
    assert check_range("x", spec, 0.25) == {
        "type": "value_smaller_than_min",
        "message": "Value 0.25 smaller than min of 0.5",
        "details": "x",
        "extra_info": {"input_name": "x", "input_config": spec, "received_value": 0.25},
    }


def test_comparing_what_cannot_be_compared_raises_as_python_does() -> None:
    with pytest.raises(PythonError) as caught:
        check_range("x", ["FLOAT,INT", {"min": 0}], "a")
    assert caught.value.type_name == "TypeError"
    assert caught.value.text == "'<' not supported between instances of 'str' and 'int'"


@pytest.mark.parametrize("spec", [[[1, "b"]], ["COMBO", {"options": [1, "b"]}]])
@pytest.mark.parametrize("value", ["b", 1, 1.0, True])
def test_choices_are_compared_as_python_does(spec: Any, value: Any) -> None:
    assert check_choice("x", spec, value) is None


@pytest.mark.parametrize("spec", [["COMBO"], ["COMBO", {}]])
def test_a_combo_without_choices_accepts_nothing(spec: Any) -> None:
    assert check_choice("x", spec, "a") == {
        "type": "value_not_in_list",
        "message": "Value not in list",
        "details": "x: 'a' not in []",
        "extra_info": {"input_name": "x", "input_config": ["COMBO", {}], "received_value": "a"},
    }


def test_long_lists_are_not_shown() -> None:
    twenty = [f"m{index}" for index in range(20)]
    shown = check_choice("x", [twenty], "a")
    hidden = check_choice("x", [[*twenty, "m20"]], "a")
    assert shown is not None
    assert hidden is not None
    assert shown["details"] == f"x: 'a' not in {twenty}"
    assert shown["extra_info"]["input_config"] == [twenty, {}]
    assert hidden["details"] == "x: 'a' not in (list of length 21)"
    assert hidden["extra_info"]["input_config"] is None


def test_of_several_choices_the_wrong_ones_are_named() -> None:
    spec = ["COMBO", {"options": ["a", "b"], "multiselect": True}]
    assert check_choice("x", spec, ["b", "a"]) is None
    wrong = check_choice("x", spec, ["a", "c", None])
    assert wrong is not None
    assert wrong["details"] == "x: 'c', None not in ['a', 'b']"
    assert wrong["extra_info"]["received_value"] == ["a", "c", None]


def test_a_list_is_no_choice_without_multiselect() -> None:
    wrong = check_choice("x", ["COMBO", {"options": ["a"]}], ["a"])
    assert wrong is not None
    assert wrong["details"] == "x: ['a'] not in ['a']"


def test_other_types_have_no_choices() -> None:
    assert check_choice("x", ["INT", {"options": ["a"]}], "b") is None


@pytest.mark.parametrize(
    ("received", "wanted", "match"),
    [
        ("IMAGE", "IMAGE", True),
        ("IMAGE", "MASK", False),
        ("*", "IMAGE", True),
        ("IMAGE", "*", True),
        ("COMFY_MATCHTYPE_V3", "IMAGE", True),
        ("IMAGE", "COMFY_MATCHTYPE_V3", True),
        (["a"], "COMBO", True),
        (["a"], ["a"], True),
        (["a"], ["b"], False),
        (["a"], "STRING", False),
        ("COMBO", ["a"], False),
        ("STRING", ["a"], False),
        (["a"], "*", True),
        ("INT", "FLOAT,INT", True),
        ("INT, STRING", "STRING,BOOLEAN", True),
        ("INT", "FLOAT,STRING", False),
        ("INT,*", "FLOAT,STRING", True),
    ],
)
def test_types_of_links(received: Any, wanted: Any, match: bool) -> None:
    assert types_match(received, wanted) is match
