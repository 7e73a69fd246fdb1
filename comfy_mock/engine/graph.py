"""The links of a prompt: how a node's inputs name the outputs of other nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_link(value: Any) -> bool:
    """Whether execution follows `value`: a list of exactly a string and a number (protocol 5.3).

    Booleans are numbers, as in Python. Validation is less strict: there every list is a link (protocol 3.5).
    """
    return (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], (int, float))
    )


def links_of(node: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """The links of a node, declared or not, in the order of its inputs: (input name, source id, slot).

    A slot is what the client sent, a fraction or out of range perhaps. A node without an object of inputs has no links.
    """
    inputs = node.get("inputs")
    if not isinstance(inputs, dict):
        return []
    return [(name, value[0], value[1]) for name, value in inputs.items() if is_link(value)]
