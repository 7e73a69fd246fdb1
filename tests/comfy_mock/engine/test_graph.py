"""The links of a prompt (protocol 5.3)."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_mock.engine.graph import is_link, links_of


@pytest.mark.parametrize("value", [["4", 0], ["", -1], ["4", 0.5], ["4", True]])
def test_a_list_of_a_string_and_a_number_is_a_link(value: Any) -> None:
    assert is_link(value)


@pytest.mark.parametrize("value", [[4, 0], ["4", "0"], ["4"], ["4", 0, 0], ["4", None], [], "40", {"4": 0}, None, 4])
def test_anything_else_is_a_constant(value: Any) -> None:
    assert not is_link(value)


def test_links_come_in_the_order_of_the_inputs_declared_or_not() -> None:
    node = {"class_type": "KSampler", "inputs": {"seed": 1, "model": ["4", 0], "extra": ["9", 1.5], "cfg": ["x"]}}
    assert links_of(node) == [("model", "4", 0), ("extra", "9", 1.5)]


@pytest.mark.parametrize("node", [{}, {"inputs": None}, {"inputs": [["4", 0]]}])
def test_a_node_without_an_object_of_inputs_has_no_links(node: dict[str, Any]) -> None:
    assert links_of(node) == []
