# Written by client/make_sync.py from _async_channel.py: change that one.
"""The WebSocket half of a connection: keeping the one socket, reading it, and telling what came.

There is no task or thread of its own. Whoever waits does the work: one of the waiting reads the socket for all, until
what it waits for has come; then another one takes over.
"""

from __future__ import annotations

import logging
import ssl
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from comfy_client import _calls as calls
from comfy_client._errors import ClientClosed, ComfyError, NotFound, ServerError, ServerUnreachable
from comfy_client._listeners import Listeners, call, event_name
from comfy_client._prompt_state import PromptState
from comfy_client._prompts import FollowPath
from comfy_client._requests import shown
from comfy_client._retries import Retries
from comfy_client._socket_settings import MessageTooLarge, SocketLost, SocketRefused, SocketSettings
from comfy_client._sync_handshake import Handshake
from comfy_client._sync_io import Lock, News, Socket, whoami
from comfy_client._sync_requests import Requests
from comfy_client._taps import Tap
from comfy_client._tracker import Tracker
from comfy_contracts import frames, messages

logger = logging.getLogger("comfy_client")

_FLAGS = messages.encode(messages.FeatureFlags({"supports_preview_metadata": True}))

_GREETING_S = 1.0

now = time.monotonic


@dataclass(eq=False, kw_only=True)
class Channel(Requests):
    """A connection that reads its WebSocket for all who wait."""

    client_id: str
    tracker: Tracker
    socket_settings: SocketSettings
    ssl_context: ssl.SSLContext | None
    listeners: Listeners = field(default_factory=Listeners)
    stays_connected: bool = False
    """Whether the socket is kept when no prompt needs it."""

    def __post_init__(self) -> None:
        self._news = News()
        self.lock = self._news.lock
        """Guards what those who wait share, the tracker's states too."""
        self._socket: Socket | None = None
        self._reader: int | None = None
        self._taps: weakref.WeakSet[Tap] = weakref.WeakSet()
        self._connecting = Lock()

    # Waiting

    def wait(self, subject: PromptState | Tap, version: int, until: float, *, only_reading: bool = False) -> None:
        """Return when the version of `subject` is another one, or at the time `until`.

        With `only_reading` at once, where there is no socket, or somebody else reads it.
        """
        me, reads = whoami(), False
        try:
            while subject.version == version and not self.closed:
                left = until - now()
                if left <= 0:
                    return
                with self.lock:
                    takeovers = self._news.takeovers
                    # One who comes to wait is not reading any more: a KeyboardInterrupt can come anywhere.
                    reads = self._socket is not None and self._reader in (None, me)
                    if reads:
                        self._reader = me
                if reads:
                    self._read(subject, version, until, me)
                    reads, self._reader = False, None
                elif only_reading:
                    return
                else:
                    self._news.wait(subject, version, takeovers, None if left == float("inf") else left)
        finally:
            if reads:
                self._reader = None
            self._hand_over()

    def _read(self, subject: PromptState | Tap, version: int, until: float, me: int) -> None:
        """Read the socket until there is news of `subject`, or a listener of ours has waited and taken over."""
        socket = self._socket
        while socket is not None and socket is self._socket and self._reader == me and subject.version == version:
            left = until - now()
            if left <= 0:
                return
            try:
                data = socket.receive(None if left == float("inf") else left)
            except SocketLost as error:
                self._lost(socket, error)
                return
            if data is not None:
                self._feed(data)

    def _hand_over(self) -> None:
        """Let another of the waiting read the socket, if nobody does."""
        if self._socket is not None and self._reader is None:
            self._news.tell_one()

    def _feed(self, data: str | bytes) -> None:
        """Take in what came over the socket."""
        moment = now()
        payload: messages.Message | frames.Frame
        try:
            if isinstance(data, str):
                payload = message = messages.decode(data)
                with self.lock:
                    self.tracker.message(message, moment)
            else:
                payload = frame = frames.decode(data)
                with self.lock:
                    self.tracker.frame(frame, moment)
        except (messages.MessageError, frames.FrameError, ArithmeticError, RecursionError) as error:
            logger.warning("what the server sent is left out: %s", error)
            return
        self._spread()
        self.emit(event_name(payload), payload)

    def _spread(self) -> None:
        """Wake those who wait for what has changed, and tell their listeners."""
        with self.lock:
            changed = self.tracker.take_changed()
            self._news.tell(changed)
        for state in changed:
            with self.lock:
                listeners = state.progress_to_tell()
                progress = state.progress() if listeners else None
            for listener in listeners:
                call(listener, progress)

    def emit(self, name: str, payload: Any = None) -> None:
        """Tell listeners, plugins and taps of an event."""
        with self.lock:
            taps: Sequence[Any] = list(self._taps)
            for tap in taps:
                tap.add(name, payload)
            self._news.tell(list(taps))
        for plugin in list(self.plugins):
            call(plugin.on_event, name, payload)
        self.listeners.emit(name, payload)

    # The socket

    @property
    def connected(self) -> bool:
        """Whether there is a WebSocket."""
        return self._socket is not None

    def listen(self, tap: Tap, version: int, until: float, path: FollowPath, poll_interval: float) -> None:
        """Wait for news of a tap; get a socket for that, or ask for the length of the queue where there is none."""
        self.check_open()
        left = until - now()
        if path == "websocket" and self.tracker.reconnect_at <= now():
            self.connect(left)
        elif path == "auto" and self._socket is None:
            with suppress(ServerUnreachable, ServerError):
                self.connect_if_due(left)
        if self._socket is None:
            with suppress(ServerUnreachable, ServerError):
                once = Retries(attempts=1)
                info = self.call(calls.prompt_info(), retries=once, timeout=self.request_timeout(until))
                self.emit("status", messages.Status(info.exec_info.queue_remaining))
            until = min(until, now() + poll_interval)
        self.wait(tap, version, until)

    def tap(self) -> Tap:
        """A reader of all events from now on; let go of it when done."""
        tap = Tap()
        with self.lock:
            self._taps.add(tap)
        return tap

    def pop(self, tap: Tap) -> tuple[str, Any] | None:
        """The oldest event of a reader; None where none waits."""
        with self.lock:
            return tap.pop()

    def connect(self, timeout: float = float("inf"), *, anew: bool = False) -> None:
        """Open the WebSocket, unless there is one; with `anew`, in its place. It takes `timeout` seconds at most.

        Raises `ServerUnreachable`, or `ServerError` where the server answers with another status than 101.
        """
        self.check_open()
        with self._connecting:
            if self._socket is not None:
                if not anew:
                    return
                self.disconnect()
            self._open(min(timeout, self.socket_settings.open_timeout))

    def connect_if_due(self, timeout: float = float("inf")) -> None:
        """The same for those who can do without it: not soon after an attempt has failed, and with less patience."""
        self.check_open()
        with self._connecting:
            if self._socket is None and self.tracker.reconnect_at <= now():
                self._open(min(timeout, self.patience()))

    def patience(self) -> float:
        """How long an attempt may take while prompts could be asked for instead: longer each time, in seconds."""
        return min(self.tracker.connect_patience, self.socket_settings.open_timeout)

    def _open(self, timeout: float) -> None:
        began = now()
        handshake = Handshake(
            http=self.http,
            plugins=self.plugins,
            ssl_context=self.ssl_context,
            settings=self.socket_settings,
            until=began + timeout,
        )
        request = self.request("GET", "/ws", params={"clientId": self.client_id})
        url = shown(request.url)
        try:
            socket = handshake.open(request)
            first = self._greet(socket, began + timeout - now())
        except (SocketLost, httpx.RequestError) as error:
            self.check_open()
            with self.lock:
                self.tracker.socket_lost(now(), took=now() - began)
            self._spread()
            raise _connect_error(url, error) from error
        self._opened(socket, first)

    def _opened(self, socket: Socket, first: str | bytes | None) -> None:
        if self.closed:
            socket.abort()
            raise ClientClosed
        with self.lock:
            self._socket = socket
            self.tracker.socket_opened(now())
        self._spread()
        self.emit("connected")
        if first is not None:
            self._feed(first)
        self._hand_over()

    def _greet(self, socket: Socket, timeout: float) -> str | bytes | None:
        """Say what this client can do, and hear the first message: from then on the server knows its id (6.1)."""
        try:
            socket.send(_FLAGS)
            return socket.receive(max(min(timeout, _GREETING_S), 0.0))
        except BaseException:
            socket.abort()
            raise

    def disconnect(self) -> None:
        """Close the WebSocket, if there is one."""
        socket = self._take_socket()
        if socket is not None:
            try:
                socket.close()
            finally:
                self.emit("disconnected")

    def drop(self) -> None:
        """The same as `settle`, at once and without farewell, for one who was cancelled and must not wait."""
        socket = None if self._is_needed() else self._take_socket()
        if socket is not None:
            socket.abort()
            self.emit("disconnected")

    def _take_socket(self) -> Socket | None:
        with self.lock:
            socket, self._socket = self._socket, None
            self.tracker.socket_closed()
        return socket

    def _is_needed(self) -> bool:
        return self.stays_connected or self.tracker.wants_socket or bool(self._taps)

    def settle(self) -> None:
        """Close the WebSocket when nothing needs it: one that nobody reads makes all clients wait (protocol 6.9)."""
        if not self._is_needed():
            self.disconnect()

    def _lost(self, socket: Socket, error: SocketLost) -> None:
        if socket is not self._socket:
            return
        level = logging.WARNING if isinstance(error, MessageTooLarge) else logging.INFO
        logger.log(level, "the WebSocket is gone: %s", error)
        with self.lock:
            self._socket = None
            self.tracker.socket_lost(now())
        self._spread()
        self.emit("disconnected")

    def request_timeout(self, until: float) -> float | None:
        """How long one request may take until that time, in seconds; None where httpx's own timeouts alone count."""
        return None if until == float("inf") else max(until - now(), 0.01)

    def close(self) -> None:
        """Close everything. Those who wait get `ClientClosed`."""
        self.closed = True
        with self.lock:
            waiting: Sequence[Any] = [*self.tracker.prompts.values(), *self._taps]
            for subject in waiting:
                subject.version += 1
            self._news.tell(list(waiting))
        self.disconnect()


def _connect_error(url: str, error: Exception) -> ComfyError:
    if isinstance(error, SocketRefused) and error.status is not None:
        cls = NotFound if error.status == 404 else ServerError
        return cls("GET", url, error.status, str(error), error.location)
    return ServerUnreachable(url, str(error) or type(error).__name__)
