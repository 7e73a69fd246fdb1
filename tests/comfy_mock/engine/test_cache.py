"""Keys of nodes, and what each cache mode keeps (protocol 5.13)."""

from __future__ import annotations

import gc
import math
from typing import Any
from weakref import WeakValueDictionary

import pytest

from comfy_mock.engine.cache import Key, KeyMaker, Result, ResultCache
from comfy_mock.engine.options import CacheMode
from comfy_mock.engine.order import PromptGraph

NAN = math.nan


def node(class_type: str = "A", **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def keys(prompt: dict[str, Any], *, change: dict[str, Any] | None = None, with_id: str = "") -> dict[str, Key]:
    maker = KeyMaker(
        PromptGraph(prompt),
        lambda name: (change or {}).get(name, False),
        lambda name: prompt[name]["class_type"] in with_id.split(),
    )
    return {name: maker.key(name) for name in prompt}


BASE = {"1": node(x=1), "2": node("B", a=["1", 0], b="t")}


@pytest.mark.parametrize(
    "other",
    [
        {"7": node(x=1), "2": node("B", a=["7", 0], b="t")},  # another id
        {"2": node("B", a=["1", 0], b="t"), "1": node(x=1)},  # another order of nodes
        {"1": node(x=1), "2": node("B", b="t", a=["1", 0])},  # another order of inputs
        {"1": {**node(x=1), "_meta": {"title": "T"}}, "2": node("B", a=["1", 0], b="t")},
        {"1": node(x=1.0), "2": node("B", a=["1", 0.0], b="t")},  # Python's equality
        {"1": node(x=True), "2": node("B", a=["1", False], b="t")},
        {"1": node(x=1), "2": node("B", a=["1", 0], b="t"), "3": node("C")},  # a node nobody needs
    ],
)
def test_what_does_not_matter(other: dict[str, Any]) -> None:
    assert keys(other)["2"] == keys(BASE)["2"]


@pytest.mark.parametrize(
    "other",
    [
        {"1": node(x=2), "2": node("B", a=["1", 0], b="t")},
        {"1": node(x="1"), "2": node("B", a=["1", 0], b="t")},
        {"1": node(x=1), "2": node("B", a=["1", 1], b="t")},
        {"1": node(x=1), "2": node("C", a=["1", 0], b="t")},
        {"1": node(x=1), "2": node("B", c=["1", 0], b="t")},
        {"1": node(x=1, undeclared=0), "2": node("B", a=["1", 0], b="t")},
        {"1": node(x=1), "2": node("B", a=["1", 0, 0], b="t")},  # no link but a constant
    ],
)
def test_what_matters(other: dict[str, Any]) -> None:
    assert keys(other)["2"] != keys(BASE)["2"]


def test_one_source_twice_is_not_two_equal_sources() -> None:
    shared = keys({"1": node(), "3": node("B", a=["1", 0], b=["1", 0])})["3"]
    apart = keys({"1": node(), "2": node(), "3": node("B", a=["1", 0], b=["2", 0])})["3"]
    assert shared != apart


def test_twins_have_equal_keys() -> None:
    found = keys({"1": node(x=1), "2": node(x=1), "3": node("B", a=["1", 0]), "4": node("B", a=["2", 0])})
    assert found["1"] == found["2"]
    assert found["3"] == found["4"]


@pytest.mark.parametrize("value", [NAN, [NAN], {"a": NAN}])
def test_nan_equals_nothing(value: Any) -> None:
    assert keys({"1": node(x=value)})["1"] != keys({"1": node(x=value)})["1"]


@pytest.mark.parametrize("value", [None, "t", {"a": [1, {"b": 2}]}, [], ["1"], ["1", 0, 2]])
def test_other_constants_equal_themselves(value: Any) -> None:
    assert keys({"1": node(x=value)})["1"] == keys({"1": node(x=value)})["1"]


def test_change_values_matter_downstream_as_well() -> None:
    assert keys(BASE, change={"1": ["sum"]})["2"] != keys(BASE)["2"]
    assert keys(BASE, change={"1": ["sum"]})["2"] == keys(BASE, change={"1": ["sum"]})["2"]
    assert keys(BASE, change={"1": NAN})["2"] != keys(BASE, change={"1": NAN})["2"]


def test_some_classes_have_their_id_in_the_key() -> None:
    found = keys({"1": node(x=1), "2": node(x=1)}, with_id="A")
    assert found["1"] != found["2"]


def test_links_in_a_circle_and_to_nowhere_have_keys_too() -> None:
    circle = {"1": node(a=["2", 0]), "2": node(a=["1", 0]), "3": node(a=["missing", 0])}
    assert keys(circle) == keys(circle)


def test_a_long_chain_is_no_problem() -> None:
    chain = {"0": node(), **{str(place): node(a=[str(place - 1), 0]) for place in range(1, 3000)}}
    first, second = (KeyMaker(PromptGraph(chain), lambda _name: False, lambda _name: False) for _ in range(2))
    assert first.key("2999") == second.key("2999")


# -- modes: prompts A and B have one node each, C has both


def play(mode: CacheMode, *prompts: str, size: int = 0, turns: bool = True) -> list[str]:
    """Which nodes of each prompt were cached when it began; every node then runs."""
    cache = ResultCache(mode, size)
    cached = []
    for prompt in prompts:
        cache.begin({name: Key((name,)) for name in prompt})
        cached.append("".join(cache.ids(prompt)))
        for name in prompt:
            if cache.get(name) is None:
                cache.put(name, Result([[name]]))
            if turns:
                cache.turn_done()
    return cached


@pytest.mark.parametrize(
    ("mode", "prompts", "cached"),
    [
        ("default", ["A", "A"], ["", "A"]),
        ("default", ["A", "B", "A"], ["", "", ""]),
        ("default", ["AB", "A", "AB"], ["", "A", "A"]),
        ("classic", ["A", "B", "A"], ["", "", ""]),
        ("none", ["A", "A"], ["", ""]),
        ("lru", ["A", "B", "A"], ["", "", "A"]),
    ],
)
def test_modes(mode: CacheMode, prompts: list[str], cached: list[str]) -> None:
    assert play(mode, *prompts, size=10) == cached


def test_lru_drops_the_oldest_prompts_results() -> None:
    assert play("lru", "A", "B", "C", "D", "ABC", size=2) == ["", "", "", "", "BC"]
    assert play("lru", "A", "B", "A", "C", "D", "ABCD", size=2) == ["", "", "A", "", "", "ACD"]


def test_the_default_mode_evicts_only_after_a_turn_that_did_not_fail() -> None:
    assert play("default", "A", "B", "A", turns=False) == ["", "", "A"]
    assert play("classic", "A", "B", "A", turns=False) == ["", "", ""]


class WatchedKey(Key):
    """A key without slots, so that it can be seen whether it is still held."""


@pytest.mark.parametrize(("mode", "kept"), [("default", 1), ("classic", 1), ("none", 1), ("lru", 4)])
def test_the_keys_of_what_is_dropped_are_dropped_too(mode: CacheMode, kept: int) -> None:
    cache = ResultCache(mode, 3)
    held: WeakValueDictionary[int, WatchedKey] = WeakValueDictionary()
    for number in range(50):
        key = held[number] = WatchedKey((number,))
        cache.begin({"1": key})
        cache.put("1", Result([]))
        cache.turn_done()
    gc.collect()
    assert len(held) == kept


def test_free_forgets_everything() -> None:
    cache = ResultCache("lru", 5)
    cache.begin({"A": Key(("A",))})
    cache.put("A", Result([]))
    cache.clear()
    assert cache.ids("A") == []
