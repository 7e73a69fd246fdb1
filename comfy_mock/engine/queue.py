"""The prompt queue: numbers, the pending heap, the running prompt and the history (protocol 4.1-4.3)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from comfy_mock.engine.answers import ServerTrouble

HISTORY_MAX = 10000

SENSITIVE_KEYS = ("auth_token_comfy_org", "api_key_comfy_org")
"""Keys of extra_data that the history never has."""


@dataclass(slots=True)
class PromptItem:
    """A prompt that was accepted.

    `sensitive` is given to nodes at run time and never shown (protocol 3.2). `place` is its place among those that were
    accepted, from 1, by which scripts know it.
    """

    number: float
    prompt_id: str
    prompt: dict[str, Any]
    extra_data: dict[str, Any]
    outputs_to_execute: list[str]
    sensitive: dict[str, Any] = field(default_factory=dict)
    place: int = 0

    def shown(self) -> list[Any]:
        """The five fields that `/queue` and the history show."""
        return [self.number, self.prompt_id, self.prompt, self.extra_data, self.outputs_to_execute]


_Entry = tuple[float, str, int, PromptItem]


class PromptQueue:
    """Pending prompts in a binary heap of (number, id), at most one running, and the history.

    `changed` is called once for each `status` message that the real server broadcasts (protocol 4.2).
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._heap: list[_Entry] = []
        self._arrivals = 0
        self.running: PromptItem | None = None
        self.is_running_hidden = False
        """Whether the running prompt is in no list and no count, as if the history had it (never on a real server)."""
        self.history: dict[str, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._heap) + (self.listed is not None)

    @property
    def listed(self) -> PromptItem | None:
        """The running prompt, if there is one and it is not hidden."""
        return None if self.is_running_hidden else self.running

    @property
    def first(self) -> PromptItem | None:
        """The pending prompt that is taken next."""
        return self._heap[0][-1] if self._heap else None

    @property
    def pending(self) -> list[PromptItem]:
        """The pending prompts in heap order, which is how `/queue` lists them."""
        return [entry[-1] for entry in self._heap]

    def put(self, item: PromptItem) -> None:
        """Enqueue a prompt.

        Raises `ServerTrouble` where a pending prompt has the same number and id: the real server then fails to compare
        the two, after it has queued the second (protocol 9).
        """
        twin = any(entry[0] == item.number and entry[1] == item.prompt_id for entry in self._heap)
        self._arrivals += 1
        heapq.heappush(self._heap, (item.number, item.prompt_id, self._arrivals, item))
        if twin:
            raise ServerTrouble("two pending prompts have the same number and the same prompt_id")
        self._changed()

    def take(self) -> PromptItem:
        """Make the smallest pending prompt the running one."""
        item = heapq.heappop(self._heap)[-1]
        self.running = item
        self._changed()
        return item

    def finish(self, outputs: dict[str, Any], status: dict[str, Any], meta: dict[str, Any]) -> None:
        """Move the running prompt into the history, in one step."""
        item = self.running
        assert item is not None
        if len(self.history) > HISTORY_MAX:
            del self.history[next(iter(self.history))]
        for key in SENSITIVE_KEYS:
            item.extra_data.pop(key, None)
        self.history[item.prompt_id] = {"prompt": item.shown(), "outputs": outputs, "status": status, "meta": meta}
        self.running = None
        self.is_running_hidden = False
        self._changed()

    def delete(self, prompt_id: Any) -> bool:
        """Drop the first pending prompt with this id. Deleting the only one is told twice (protocol 4.2)."""
        for place, entry in enumerate(self._heap):
            if entry[1] == prompt_id:
                if len(self._heap) == 1:
                    self.clear()
                else:
                    del self._heap[place]
                    heapq.heapify(self._heap)
                self._changed()
                return True
        return False

    def clear(self) -> None:
        """Drop all pending prompts."""
        self._heap.clear()
        self._changed()

    def shown(self) -> dict[str, Any]:
        """The body of `GET /queue`."""
        return {
            "queue_running": [] if self.listed is None else [self.listed.shown()],
            "queue_pending": [item.shown() for item in self.pending],
        }

    def shown_history(self, max_items: int | None, offset: int) -> dict[str, Any]:
        """The body of `GET /history`: a slice of it, oldest first (protocol 4.3)."""
        if offset < 0 and max_items is not None:
            offset = len(self.history) - max_items
        chosen: dict[str, Any] = {}
        for place, (prompt_id, entry) in enumerate(self.history.items()):
            if place >= offset:
                chosen[prompt_id] = entry
                # looked at only after an entry was taken, so that 0 with an offset gives one
                if max_items is not None and len(chosen) >= max_items:
                    break
        return chosen

    def delete_history(self, prompt_id: str) -> None:
        """Forget one entry; an unknown id is ignored."""
        self.history.pop(prompt_id, None)
