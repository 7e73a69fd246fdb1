"""The growing `progress_state`, and which updates are sent (protocol 6.7)."""

from __future__ import annotations

import pytest

from comfy_mock.engine.order import PromptGraph
from comfy_mock.engine.progress import PromptProgress, Throttle


def sent(times: int, pause: float, maximum: float, *, always: bool = False) -> list[int]:
    throttle = Throttle()
    return [
        value
        for value in range(1, times + 1)
        if throttle.passes(value, maximum, 100.0 + (value - 1) * pause, always=always)
    ]


def test_of_a_thousand_fast_updates_two_are_sent() -> None:
    assert sent(1000, 0.00001, 1000) == [1, 1000]


def test_thirty_updates_thirty_milliseconds_apart() -> None:
    assert sent(30, 0.03, 30) == [1, 5, 9, 13, 17, 21, 25, 29, 30]


def test_time_alone_is_not_enough() -> None:
    assert sent(400, 0.1, 1000)[:4] == [1, 6, 11, 16]


def test_an_update_with_a_preview_is_always_sent() -> None:
    assert sent(20, 0.0, 20, always=True) == list(range(1, 21))


def test_a_second_bar_begins_anew() -> None:
    throttle = Throttle()
    assert throttle.passes(1, 10, 0.0, always=False)
    assert not throttle.passes(2, 10, 0.01, always=False)
    throttle.restart()
    assert throttle.passes(1, 10, 0.02, always=False)


def test_nodes_stand_in_the_order_of_first_mention_with_the_numbers_they_gave() -> None:
    progress = PromptProgress("p", PromptGraph({"a": {}, "b": {}, "c": {}}))
    progress.start("b")
    progress.update("b", 3, 4)
    progress.finish("a")
    progress.finish("b")
    nodes = progress.start("c").nodes
    numbers = {name: (repr(node.value), repr(node.max), node.state) for name, node in nodes.items()}
    assert list(numbers) == ["b", "a", "c"]
    assert numbers == {"b": ("4", "4", "finished"), "a": ("1", "1", "finished"), "c": ("0.0", "1.0", "running")}


def test_without_updates_the_numbers_stay_floats() -> None:
    progress = PromptProgress("p", PromptGraph({"a": {}}))
    progress.start("a")
    node = progress.finish("a").nodes["a"]
    assert (repr(node.value), repr(node.max)) == ("1.0", "1.0")


@pytest.mark.parametrize(("node_id", "parent", "real"), [("2.0.0.1", "2", "2"), ("2", None, "2")])
def test_children_are_shown_on_their_ancestor(node_id: str, parent: str | None, real: str) -> None:
    graph = PromptGraph({"2": {}})
    graph.add_child("2.0.0.1", {}, "2", "2")
    node = PromptProgress("p", graph).start(node_id).nodes[node_id]
    assert (node.node_id, node.display_node_id, node.parent_node_id, node.real_node_id) == (node_id, "2", parent, real)


def test_a_state_that_was_sent_does_not_change_later() -> None:
    progress = PromptProgress("p", PromptGraph({"a": {}}))
    early = progress.start("a")
    progress.finish("a")
    assert early.nodes["a"].state == "running"
