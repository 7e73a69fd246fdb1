"""Numbers, the heap, the history and its slices (protocol 4.1-4.3)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from comfy_mock.engine import queue as queue_module
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.queue import PromptItem, PromptQueue


class Counted(PromptQueue):
    """A queue that counts its `status` messages."""

    def __init__(self) -> None:
        super().__init__(self._count)
        self._messages = 0

    def _count(self) -> None:
        self._messages += 1

    def messages(self) -> int:
        count, self._messages = self._messages, 0
        return count

    def add(self, number: float, prompt_id: str) -> None:
        self.put(PromptItem(number, prompt_id, {"1": {}}, {"client_id": "c"}, ["1"], {"api_key_comfy_org": "secret"}))

    def run(self) -> str:
        item = self.take()
        self.finish({}, {"status_str": "success"}, {})
        return item.prompt_id


def test_the_smallest_number_first_then_the_smallest_id() -> None:
    queue = Counted()
    for number, prompt_id in [(2, "b"), (1, "z"), (2.0, "a"), (-3, "m"), (2, "c")]:
        queue.add(number, prompt_id)
    assert [queue.run() for _ in range(5)] == ["m", "z", "a", "b", "c"]


def test_pending_is_the_raw_heap() -> None:
    queue = Counted()
    for number in (103, 3.5, -5.0, -104):
        queue.add(number, str(number))
    # a heap whose last element has risen twice
    assert [item[0] for item in queue.shown()["queue_pending"]] == [-104, -5.0, 3.5, 103]


def test_nan_is_a_number() -> None:
    queue = Counted()
    queue.add(math.nan, "a")
    queue.add(1, "b")
    assert sorted(queue.run() for _ in range(2)) == ["a", "b"]


def test_an_item_shows_five_fields_and_no_secret() -> None:
    queue = Counted()
    queue.add(1, "a")
    queue.take()
    queue.add(2, "b")
    assert queue.shown() == {
        "queue_running": [[1, "a", {"1": {}}, {"client_id": "c"}, ["1"]]],
        "queue_pending": [[2, "b", {"1": {}}, {"client_id": "c"}, ["1"]]],
    }
    assert len(queue) == 2


def test_status_messages_of_each_action() -> None:
    queue = Counted()
    queue.add(1, "a")
    assert queue.messages() == 1
    queue.take()
    assert queue.messages() == 1
    queue.finish({}, {}, {})
    assert queue.messages() == 1
    queue.clear()
    assert queue.messages() == 1
    queue.add(1, "a")
    queue.add(2, "b")
    queue.messages()
    assert queue.delete("a")
    assert queue.messages() == 1
    assert queue.delete("b")
    assert queue.messages() == 2
    assert not queue.delete("b")
    assert queue.messages() == 0
    queue.delete_history("a")
    assert queue.messages() == 0


def test_the_running_prompt_is_neither_deleted_nor_cleared() -> None:
    queue = Counted()
    queue.add(1, "a")
    queue.take()
    assert not queue.delete("a")
    queue.clear()
    assert queue.running is not None


def test_delete_removes_the_first_of_one_id() -> None:
    queue = Counted()
    queue.add(1, "a")
    queue.add(2, "a")
    assert queue.delete("a")
    assert [item.number for item in queue.pending] == [2]


def test_one_number_and_one_id_twice_is_trouble_and_queued() -> None:
    queue = Counted()
    queue.add(1, "a")
    with pytest.raises(ServerTrouble):
        queue.add(1.0, "a")
    assert [queue.run() for _ in range(2)] == ["a", "a"]


def test_the_same_id_again_keeps_its_place_in_the_history() -> None:
    queue = Counted()
    for number, prompt_id in [(1, "a"), (2, "b"), (3, "a")]:
        queue.add(number, prompt_id)
    for _ in range(3):
        queue.run()
    assert [(name, entry["prompt"][0]) for name, entry in queue.history.items()] == [("a", 3), ("b", 2)]
    assert list(queue.history["a"]) == ["prompt", "outputs", "status", "meta"]


def test_the_history_holds_one_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert queue_module.HISTORY_MAX == 10000
    monkeypatch.setattr(queue_module, "HISTORY_MAX", 3)
    queue = Counted()
    for number in range(6):
        queue.add(number, str(number))
        queue.run()
    assert list(queue.history) == ["2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("max_items", "offset", "shown"),
    [
        (None, -1, "01234"),
        (2, -1, "34"),
        (2, -3, "34"),
        (2, 1, "12"),
        (2, 4, "4"),
        (2, 9, ""),
        (None, 2, "234"),
        (None, -3, "01234"),
        (0, -1, ""),
        (-2, -1, ""),
        (0, 3, "3"),
        (9, -1, "01234"),
    ],
)
def test_slices_of_the_history(max_items: int | None, offset: int, shown: str) -> None:
    queue = Counted()
    for number in range(5):
        queue.add(number, str(number))
        queue.run()
    found: dict[str, Any] = queue.shown_history(max_items, offset)
    assert "".join(found) == shown
