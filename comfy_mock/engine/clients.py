"""Who is connected: client ids and their sockets, feature flags, and to whom a message goes (protocol 6.1-6.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Union

from comfy_contracts import jsontext
from comfy_contracts.frames import PreviewFrame, PreviewWithMetadata, TextFrame, UnknownFrame
from comfy_contracts.messages import FeatureFlags, Message

Payload = Union[Message, PreviewFrame, PreviewWithMetadata, TextFrame, UnknownFrame]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message and the sockets that get it."""

    sockets: tuple[int, ...]
    payload: Payload


@dataclass(slots=True)
class _Socket:
    client_id: str
    first_message_seen: bool = False


class Clients:
    """The session registry.

    A client id has one socket, the newest; when any socket of an id closes, old or new, the id has none. That is the
    real server's way, and a client that reconnects before its dead connection is noticed goes deaf by it.
    """

    def __init__(self, features: Callable[[], dict[str, Any]]) -> None:
        self._features = features
        self._sockets: dict[int, _Socket] = {}
        self._current: dict[str, int] = {}
        self._flags: dict[str, Any] = {}
        self._next_socket = 1

    def connect(self, client_id: str) -> int:
        """Register a new socket for an id and return the socket's number."""
        number = self._next_socket
        self._next_socket += 1
        self._sockets[number] = _Socket(client_id)
        self._current[client_id] = number
        self._flags.pop(client_id, None)
        return number

    def disconnect(self, socket: int) -> None:
        """A socket closed: its id has no socket any more, even if this was an older one."""
        gone = self._sockets.pop(socket, None)
        if gone is not None:
            self._current.pop(gone.client_id, None)
            self._flags.pop(gone.client_id, None)

    def receive(self, socket: int, data: str | bytes) -> list[Outgoing]:
        """A frame from the client. Only a first JSON object that says `feature_flags` means anything (protocol 6.3)."""
        state = self._sockets.get(socket)
        if state is None or state.first_message_seen or isinstance(data, bytes):
            return []
        try:
            message = jsontext.loads(data)
        except (ValueError, RecursionError):
            return []
        if not isinstance(message, dict):
            return []
        is_flags = message.get("type") == "feature_flags"
        if is_flags and state.client_id not in self._current:
            # the real server fails to store them, and so the window stays open
            return []
        state.first_message_seen = True
        if not is_flags:
            return []
        self._flags[state.client_id] = message.get("data", {})
        return self.to_client(state.client_id, FeatureFlags(data=self._features()))

    def to_all(self, payload: Payload) -> list[Outgoing]:
        """Address every registered socket."""
        return [Outgoing(tuple(self._current.values()), payload)] if self._current else []

    def to_client(self, client_id: Any, payload: Payload) -> list[Outgoing]:
        """Address the socket of one id; a message for an id that is not connected is dropped."""
        socket = self._current.get(client_id) if isinstance(client_id, str) else None
        return [] if socket is None else [Outgoing((socket,), payload)]

    def has_any(self) -> bool:
        """Whether any id has a socket."""
        return bool(self._current)

    def is_connected(self, client_id: Any) -> bool:
        """Whether an id has a socket; one that is no string never has."""
        return isinstance(client_id, str) and client_id in self._current

    def wants_preview_metadata(self, client_id: Any) -> bool:
        """Whether the client asked for previews with metadata: only by exactly `true` (protocol 6.3).

        Raises `AttributeError` where it sent `"data": null` or anything else that is no object, which fails the run
        there as here.
        """
        flags: Any = self._flags.get(client_id, {}) if isinstance(client_id, str) else {}
        return flags.get("supports_preview_metadata") is True
