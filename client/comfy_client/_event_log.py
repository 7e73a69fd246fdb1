"""Events that wait to be read, in a bounded space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy_client.events import CustomMessage, Event, NodeProgress, NodeText, Preview, Queued

PREVIEWS_PER_NODE_MAX: Final = 16
"""Previews are large, and a reader that is late wants the newest."""

_PASSING = (Queued, NodeProgress, Preview, NodeText, CustomMessage)


class EventLog:
    """Events in their order.

    Nothing is lost while fewer than `limit` wait. Beyond that the older ones of those that a newer one makes stale
    (positions, progress, previews, texts, custom messages) are dropped; what happened to nodes and how it ended is not.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: dict[int, Event] = {}
        self._passing: dict[tuple[type, str | None], list[int]] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(list(self._events.values()))

    def add(self, event: Event) -> None:
        """Append an event, dropping what has become stale where space is short."""
        if isinstance(event, _PASSING):
            same = self._passing.setdefault(_key(event), [])
            if isinstance(event, Preview) and len(same) >= PREVIEWS_PER_NODE_MAX:
                del self._events[same.pop(0)]
            elif len(self._events) >= self._limit:
                self._make_space(same)
            same.append(self._next)
        self._events[self._next] = event
        self._next += 1

    def pop(self) -> Event | None:
        """Take the oldest event; None where none waits."""
        if not self._events:
            return None
        number = next(iter(self._events))
        event = self._events.pop(number)
        if isinstance(event, _PASSING):
            self._passing[_key(event)].remove(number)
        return event

    def _make_space(self, same: list[int]) -> None:
        if same:
            del self._events[same.pop(0)]
            return
        # The last of each kind is kept, for it says how things stand.
        most = max(self._passing.values(), key=len)
        if len(most) > 1:
            del self._events[most.pop(0)]


def _key(event: Event) -> tuple[type, str | None]:
    if isinstance(event, CustomMessage):
        return CustomMessage, event.message.type
    return type(event), getattr(event, "node_id", None)
