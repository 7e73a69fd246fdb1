"""Functions that are called with what comes over the socket."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from comfy_contracts.frames import (
    Frame,
    PreviewFrame,
    PreviewWithMetadata,
    TextFrame,
    UnencodedPreview,
    UnknownFrame,
)
from comfy_contracts.messages import Message

logger = logging.getLogger("comfy_client")

Listener = Callable[..., Any]

EVERY: Final = "*"
UNHANDLED: Final = "unhandled"


class Listeners:
    """Listeners by the name of an event.

    A name is the `type` of a message, `preview`, `text` or `binary` for a frame, or `connected`, `disconnected`. Those
    of `*` get every event as (name, what came); those of `unhandled` what no listener of its own name was there for.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, list[tuple[Listener, bool]]] = {}
        self._lock = threading.Lock()

    def on(self, name: str, listener: Listener, *, once: bool = False) -> Callable[[], None]:
        """Call `listener` for each event of that name, or for the next alone; what is returned takes it off.

        Raises `TypeError` for a function that must be awaited.
        """
        check_listener(listener)
        entry = (listener, once)
        with self._lock:
            self._by_name.setdefault(name, []).append(entry)

        def off() -> None:
            with self._lock:
                self._by_name[name] = [other for other in self._by_name.get(name, []) if other is not entry]

        return off

    def off(self, name: str, listener: Listener | None = None) -> None:
        """Take off a listener, or all of that name."""
        with self._lock:
            there = self._by_name.get(name, [])
            self._by_name[name] = [] if listener is None else [entry for entry in there if entry[0] != listener]

    def names(self) -> list[str]:
        """The names that somebody listens to."""
        with self._lock:
            return [name for name, entries in self._by_name.items() if entries]

    def emit(self, name: str, *payload: Any) -> None:
        """Call the listeners. One that raises is logged: it must not end the wait of somebody else."""
        called = self._call(name, *payload)
        if not called:
            self._call(UNHANDLED, *payload)
        self._call(EVERY, name, *payload)

    def _call(self, name: str, *payload: Any) -> bool:
        with self._lock:
            called = list(self._by_name.get(name, ()))
            if not called:
                return False
            self._by_name[name] = [entry for entry in called if not entry[1]]
        for listener, _ in called:
            call(listener, *payload)
        return True


def call(listener: Listener, *payload: Any) -> None:
    """Call a function of the user; an exception is logged."""
    try:
        listener(*payload)
    except Exception:
        logger.exception("a listener failed: %r", listener)


def check_listener(listener: Listener) -> None:
    """Raise `TypeError` for a function whose calls must be awaited: listeners are called, and that is all."""
    if inspect.iscoroutinefunction(listener) or inspect.iscoroutinefunction(getattr(listener, "__call__", None)):  # noqa: B004
        raise TypeError(f"{listener!r} is an `async def`, and listeners are not awaited: give an ordinary function")


def event_name(payload: Message | Frame) -> str:
    """The name of the event that a message or a frame is."""
    if isinstance(payload, (PreviewFrame, PreviewWithMetadata)):
        return "preview"
    if isinstance(payload, TextFrame):
        return "text"
    if isinstance(payload, (UnencodedPreview, UnknownFrame)):
        return "binary"
    return payload.type
