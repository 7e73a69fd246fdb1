"""The pending set and the order of picking (protocol 5.3, 5.4)."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_mock.engine.order import MissingNode, PromptGraph, Schedule


def schedule(
    links: dict[str, list[str]],
    *,
    outputs: str = "",
    cached: str = "",
    asynchronous: str = "",
    lazy: set[tuple[str, str]] | None = None,
) -> Schedule:
    """A schedule of nodes named by letters; `links` gives the sources of each, in the order of its inputs."""
    inputs: dict[str, dict[str, Any]] = {
        name: {"inputs": {f"i{place}": [source, 0] for place, source in enumerate(sources)}}
        for name, sources in links.items()
    }
    return Schedule(
        PromptGraph(inputs),
        is_cached=lambda name: name in cached,
        is_output=lambda name: name in outputs,
        is_async=lambda name: name in asynchronous,
        is_lazy=lambda name, of: (name, of) in (lazy or set()),
    )


def run(plan: Schedule, outputs: str) -> str:
    for name in outputs:
        plan.add(name)
    order = ""
    while (picked := plan.pick()) is not None:
        order += picked
        plan.complete(picked)
    return order


def test_the_worked_example() -> None:
    graph = {"9": ["8"], "8": ["3", "4"], "3": ["5", "4", "7", "6"], "4": [], "5": [], "6": ["4"], "7": ["4"]}
    plan = schedule(graph, outputs="9")
    plan.add("9")
    assert "".join(plan) == "9843675"
    assert run(plan, "") == "4675389"


@pytest.mark.parametrize(
    ("links", "keys", "outputs", "order"),
    [
        ({"o": ["a"], "p": [], "a": []}, {"outputs": "op"}, "op", "pao"),  # a ready output first
        ({"o": ["b"], "b": ["a", "c"], "a": [], "c": []}, {"outputs": "o", "asynchronous": "a"}, "o", "acbo"),
        ({"o": ["b", "a"], "b": ["c"], "a": [], "c": []}, {"outputs": "o"}, "o", "acbo"),  # what blocks an output
        ({"o": ["b"], "b": ["c"], "c": ["d", "e"], "d": ["f"], "e": [], "f": []}, {"outputs": "o"}, "o", "efdcbo"),
        ({"o": ["b", "c"], "b": ["d"], "c": [], "d": []}, {"outputs": "o", "cached": "d"}, "o", "cbo"),
        ({"o": ["b"], "b": []}, {"outputs": "o", "cached": "o"}, "o", "bo"),  # an output is pending even when cached
        ({"o": ["b", "b"], "b": []}, {"outputs": "o"}, "o", "bo"),  # two links, one blocker
        ({"o": ["x"], "x": ["o"]}, {"outputs": "o"}, "o", ""),  # a cycle: nothing is ready
    ],
)
def test_picking(links: dict[str, list[str]], keys: dict[str, str], outputs: str, order: str) -> None:
    assert run(schedule(links, **keys), outputs) == order


def test_a_lazy_source_is_not_followed_until_it_is_needed() -> None:
    plan = schedule({"o": ["s"], "s": ["a"], "a": []}, outputs="o", lazy={("s", "i0")})
    plan.add("o")
    assert list(plan) == ["o", "s"]
    assert plan.pick() == "s"
    assert not plan.has("a", "s")
    plan.need("a", "s")
    assert plan.has("a", "s")
    assert plan.pick() == "a"
    plan.complete("a")
    assert run(plan, "") == "so"


def test_a_node_that_waits_is_passed_over_and_keeps_its_place() -> None:
    plan = schedule({"o": ["a", "b", "c"], "a": [], "b": [], "c": []}, outputs="o")
    plan.add("o")
    assert plan.pick() == "c"
    plan.waiting.add("c")
    assert plan.pick() == "b"
    plan.waiting.clear()
    assert plan.pick() == "c"


@pytest.mark.parametrize("outputs", ["o", "p"])
def test_a_link_to_no_node_is_an_error(outputs: str) -> None:
    plan = schedule({"o": ["missing"], "p": ["o"]}, outputs="op")
    with pytest.raises(MissingNode, match="Node missing not found"):
        run(plan, outputs)


def test_children_of_an_expansion() -> None:
    graph = PromptGraph({"2": {"class_type": "A"}})
    graph.add_child("2.0.0.1", {"class_type": "B"}, "2", graph.display("2"))
    graph.add_child("2.0.0.1.0.0.1", {"class_type": "C"}, "2.0.0.1", graph.display("2.0.0.1"))
    assert graph.ids() == ["2", "2.0.0.1", "2.0.0.1.0.0.1"]
    assert [graph.display(name) for name in graph.ids()] == ["2", "2", "2"]
    assert [graph.real(name) for name in graph.ids()] == ["2", "2", "2"]
    assert [graph.parent(name) for name in graph.ids()] == [None, "2", "2.0.0.1"]
