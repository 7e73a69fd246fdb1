"""Readers of all that comes over a socket."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

EVENTS_MAX: Final = 4096
"""How many events wait for a reader; of more, the oldest are dropped."""


class Tap:
    """Events that wait to be read; `version` grows with each, and `dropped` counts those that were too many."""

    def __init__(self) -> None:
        self.version = 0
        self.dropped = 0
        self._events: deque[tuple[str, Any]] = deque()

    def add(self, name: str, payload: Any) -> None:
        """Append an event."""
        if len(self._events) >= EVENTS_MAX:
            self._events.popleft()
            self.dropped += 1
        self._events.append((name, payload))
        self.version += 1

    def pop(self) -> tuple[str, Any] | None:
        """Take the oldest event; None where none waits."""
        return self._events.popleft() if self._events else None
