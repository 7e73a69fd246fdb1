# Written by client/make_sync.py from _async_link.py: change that one.
"""The connection to one server: requests, the one WebSocket, and following prompts with both.

There is no task or thread of its own. Whoever waits does the work: one of the waiting reads the socket for all, until
what it waits for has come; then another one takes over.
"""

from __future__ import annotations

import logging
import ssl
import time
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from comfy_client import _calls as calls
from comfy_client._actions import Action, GiveUp, Nothing, PollHistory, PollQueue, Reconnect, WaitUntil
from comfy_client._calls import Call
from comfy_client._errors import (
    ClientClosed,
    ComfyError,
    NotFound,
    PromptRejected,
    ProtocolError,
    ServerError,
    ServerUnreachable,
    WorkflowError,
)
from comfy_client._listeners import Listeners, call, event_name
from comfy_client._plugins import chained
from comfy_client._prompt_state import PromptState
from comfy_client._prompts import FollowPath
from comfy_client._retries import Retries
from comfy_client._socket_settings import SocketLost, SocketRefused, SocketSettings
from comfy_client._sync_io import Lock, News, Socket, sleep
from comfy_client._sync_requests import Requests
from comfy_client._taps import Tap
from comfy_client._tracker import Tracker
from comfy_contracts import frames, messages
from comfy_contracts.prompts import PromptAccepted

logger = logging.getLogger("comfy_client")

T = TypeVar("T")

_FLAGS = messages.encode(messages.FeatureFlags({"supports_preview_metadata": True}))
_TEMPORARY = frozenset({408, 425, 429})

_DRAIN_S = 0.001

now = time.monotonic


@dataclass(eq=False, kw_only=True)
class Link(Requests):
    """One client's connection to its server."""

    client_id: str
    tracker: Tracker
    socket_settings: SocketSettings
    ssl_context: ssl.SSLContext | None
    listeners: Listeners = field(default_factory=Listeners)
    stays_connected: bool = False
    """Whether the socket is kept when no prompt needs it."""

    def __post_init__(self) -> None:
        self._news = News()
        self._socket: Socket | None = None
        self._reading = False
        self._taps: weakref.WeakSet[Tap] = weakref.WeakSet()
        self._connecting = Lock()

    # Prompts

    def track(
        self, prompt_id: str, *, uses_socket: bool, nodes: Iterable[str], poll_interval: float | None
    ) -> PromptState:
        """Follow a prompt that is about to be posted. Raises `WorkflowError` for the id of one that is under way."""
        self.check_open()
        try:
            with self._news:
                return self.tracker.submitting(
                    prompt_id, now(), uses_socket=uses_socket, nodes=nodes, poll_interval=poll_interval
                )
        except ValueError as error:
            raise WorkflowError(str(error)) from error

    def untrack(self, prompt_id: str) -> None:
        """Follow a prompt no longer that was not posted."""
        with self._news:
            self.tracker.rejected(prompt_id)

    def attach(self, prompt_id: str, *, uses_socket: bool, poll_interval: float | None) -> PromptState:
        """Follow a prompt that was posted before."""
        self.check_open()
        with self._news:
            return self.tracker.attach(prompt_id, now(), uses_socket=uses_socket, poll_interval=poll_interval)

    def cancelled(self, state: PromptState) -> None:
        """The server has said that it cancels a prompt."""
        with self._news:
            self.tracker.cancelled(state.prompt_id, now())
        self._spread()

    def post(self, wanted: Call[PromptAccepted], state: PromptState, *, minted: bool) -> None:
        """Post the prompt of `state`, once, however often it must be sent.

        After a failure the queue and the history tell whether it arrived; in the history only an id that this client
        has `minted` proves that. Raises `PromptRejected` and the errors of `call`.
        """
        answer = None
        try:
            answer = self._posted(wanted, state.prompt_id, minted)
        finally:
            with self._news:
                if answer is None:
                    self.tracker.rejected(state.prompt_id)
                else:
                    self.tracker.accepted(state.prompt_id, answer, now())
            self._spread()

    def _posted(self, wanted: Call[PromptAccepted], prompt_id: str, minted: bool) -> PromptAccepted:
        attempt = 1
        while True:
            failure, outcome = self.attempt(wanted, None)
            if failure is None:
                accepted: PromptAccepted = outcome
                return accepted
            if isinstance(outcome, PromptRejected):
                raise outcome
            wait = self.retries.wait_to_post_again(failure, attempt, random=self.rng.random())
            if wait is not None:
                sleep(wait)
            arrived = self._arrived(prompt_id, minted)
            if arrived is not None:
                return arrived
            if wait is None:
                raise outcome
            attempt += 1

    def _arrived(self, prompt_id: str, minted: bool) -> PromptAccepted | None:
        """What the server would have answered to a POST that it took, None where it did not, or cannot be asked."""
        once = Retries(attempts=1)
        with suppress(ComfyError):
            queue = self.call(calls.queue(), retries=once)
            for item in (*queue.queue_running, *queue.queue_pending):
                if item.prompt_id == prompt_id:
                    return PromptAccepted(prompt_id, item.number, {})
            entry = self.call(calls.history_of(prompt_id), retries=once) if minted else None
            if entry is not None:
                return PromptAccepted(prompt_id, entry.prompt.number, {})
        return None

    def advance(self, state: PromptState, until: float) -> None:
        """Do the next thing for a prompt, or wait for news of it, at most until the time `until`.

        Raises `ServerUnreachable` or `ServerError` where the server has not answered for too long.
        """
        self.check_open()
        with self._news:
            version = state.version
            action = self.tracker.next_action(state.prompt_id, now())
        if isinstance(action, (PollHistory, PollQueue)) and state.end_message is None:
            # What has come already is told first: an answer about the end would leave it out.
            self.wait(state, version, min(now() + _DRAIN_S, until), only_reading=True)
        with self._news:
            if state.version != version:
                return
            action = self.tracker.next_action(state.prompt_id, now())
            if not isinstance(action, (WaitUntil, Nothing, GiveUp)):
                self.tracker.begin(action)
        if isinstance(action, WaitUntil):
            self.wait(state, version, min(action.at, until))
        elif isinstance(action, GiveUp):
            self._last_try(state)
        elif not isinstance(action, Nothing):
            self._hand_over()
            try:
                self._do(action, until)
            finally:
                with self._news:
                    self.tracker.finish(action)
                self._spread()

    def look(self, state: PromptState) -> None:
        """Ask the server for a prompt now."""
        self._poll(PollQueue(), None)
        if not state.ended and state.phase != "running":
            self._poll(PollHistory(state.prompt_id), None)
        self._spread()

    def _do(self, action: Action, until: float) -> None:
        timeout = None if until == float("inf") else max(until - now(), 0.01)
        if isinstance(action, Reconnect):
            with suppress(ComfyError):
                self.connect(timeout, anew=True)
            return
        try:
            self._poll(action, timeout)
        except (ServerUnreachable, ServerError, ProtocolError) as error:
            if isinstance(error, ServerError) and error.status < 500 and error.status not in _TEMPORARY:
                raise
            logger.info("%s", error)
            with self._news:
                self.tracker.poll_failed(action, now())

    def _poll(self, action: Action, timeout: float | None) -> None:
        once = Retries(attempts=1)
        timeout = self._request_timeout(timeout)
        asked_at = now()
        if isinstance(action, PollQueue):
            queue = self.call(calls.queue(), retries=once, timeout=timeout)
            with self._news:
                self.tracker.queue(queue, asked_at, now())
        elif isinstance(action, PollHistory):
            entry = self.call(calls.history_of(action.prompt_id), retries=once, timeout=timeout)
            with self._news:
                self.tracker.history(action.prompt_id, entry, asked_at, now())

    def _last_try(self, state: PromptState) -> None:
        """The server has not answered for long: ask once more, and let the error out."""
        with self._news:
            self.tracker.try_again()
        self._poll(PollHistory(state.prompt_id), None)

    def _request_timeout(self, left: float | None) -> float | None:
        """The timeout of one request when `left` seconds are left, in seconds; None is httpx's own."""
        own = self.http.timeout.read
        return None if left is None or (own is not None and own <= left) else left

    # Waiting

    def wait(self, subject: PromptState | Tap, version: int, until: float, *, only_reading: bool = False) -> None:
        """Return when the version of `subject` is another one, or at the time `until`.

        With `only_reading` at once, where there is no socket, or somebody else reads it.
        """
        try:
            while subject.version == version and not self.closed:
                left = until - now()
                if left <= 0:
                    return
                with self._news:
                    reads = self._socket is not None and not self._reading
                    self._reading = self._reading or reads
                if reads:
                    try:
                        self._read(subject, version, until)
                    finally:
                        self._reading = False
                elif only_reading:
                    return
                else:
                    self._news.wait(subject, version, None if left == float("inf") else left)
        finally:
            self._hand_over()

    def _read(self, subject: PromptState | Tap, version: int, until: float) -> None:
        """Read the socket until there is news of `subject`."""
        socket = self._socket
        while socket is not None and socket is self._socket and subject.version == version:
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
        if self._socket is not None and not self._reading:
            self._news.tell_one()

    def _feed(self, data: str | bytes) -> None:
        """Take in what came over the socket."""
        moment = now()
        payload: messages.Message | frames.Frame
        try:
            if isinstance(data, str):
                payload = message = messages.decode(data)
                with self._news:
                    self.tracker.message(message, moment)
            else:
                payload = frame = frames.decode(data)
                with self._news:
                    self.tracker.frame(frame, moment)
        except (messages.MessageError, frames.FrameError) as error:
            logger.warning("what the server sent is left out: %s", error)
            return
        self._spread()
        self.emit(event_name(payload), payload)

    def _spread(self) -> None:
        """Wake those who wait for what has changed, and tell their listeners."""
        with self._news:
            changed = self.tracker.take_changed()
            self._news.tell(changed)
        for state in changed:
            listeners = state.progress_to_tell()
            for listener in listeners:
                call(listener, state.progress())

    def emit(self, name: str, payload: Any = None) -> None:
        """Tell listeners, plugins and taps of an event."""
        for tap in list(self._taps):
            tap.add(name, payload)
            self._news.tell([tap])
        for plugin in self.plugins:
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
        if path != "polling" and self._socket is None and self.tracker.reconnect_at <= now():
            try:
                self.connect()
            except (ServerUnreachable, ServerError):
                if path == "websocket":
                    raise
        if self._socket is None:
            with suppress(ServerUnreachable, ServerError):
                info = self.call(calls.prompt_info(), retries=Retries(attempts=1))
                self.emit("status", messages.Status(info.exec_info.queue_remaining))
            until = min(until, now() + poll_interval)
        self.wait(tap, version, until)

    def tap(self) -> Tap:
        """A reader of all events from now on; let go of it when done."""
        tap = Tap()
        self._taps.add(tap)
        return tap

    def connect(self, timeout: float | None = None, *, anew: bool = False) -> None:
        """Open the WebSocket, unless there is one; with `anew`, in its place.

        Raises `ServerUnreachable`, or `ServerError` where the server answers with another status than 101.
        """
        self.check_open()
        with self._connecting:
            if self._socket is not None:
                if not anew:
                    return
                self.disconnect()
            url = str(self.http.base_url)
            timeout = min(self.socket_settings.open_timeout, float("inf") if timeout is None else timeout)
            try:
                request = self._handshake()
                url = str(request.url)
                socket = Socket.open(
                    _websocket_url(request.url), _own_headers(request), self.ssl_context, self.socket_settings, timeout
                )
                first = self._greet(socket, timeout)
            except (SocketLost, httpx.RequestError) as error:
                with self._news:
                    self.tracker.socket_lost(now())
                self._spread()
                raise _connect_error(url, error) from error
            self._opened(socket, first)

    def _opened(self, socket: Socket, first: str | bytes | None) -> None:
        if self.closed:
            socket.abort()
            raise ClientClosed
        with self._news:
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
            return socket.receive(timeout)
        except BaseException:
            socket.abort()
            raise

    def _handshake(self) -> httpx.Request:
        """The request that opens a WebSocket, as plugins and credentials make it."""
        wanted = self.http.build_request("GET", "/ws", params={"clientId": self.client_id})
        flow = chained(self.plugins, wanted)
        request = next(flow)
        while request is not wanted:
            request = flow.send(self.http.send(request))
        flow.close()
        auth = self.http.auth
        if auth is not None:
            credentials = auth.sync_auth_flow(request)
            request = next(credentials)
            credentials.close()
        return request

    def disconnect(self) -> None:
        """Close the WebSocket, if there is one."""
        with self._news:
            socket, self._socket = self._socket, None
            self.tracker.socket_closed()
        if socket is not None:
            try:
                socket.close()
            finally:
                self.emit("disconnected")

    def settle(self) -> None:
        """Close the WebSocket when nothing needs it: one that nobody reads makes all clients wait (protocol 6.9)."""
        if not (self.stays_connected or self.tracker.wants_socket or self._taps):
            self.disconnect()

    def _lost(self, socket: Socket, error: SocketLost) -> None:
        if socket is not self._socket:
            return
        logger.info("the WebSocket is gone: %s", error)
        with self._news:
            self._socket = None
            self.tracker.socket_lost(now())
        self._spread()
        self.emit("disconnected")

    def close(self) -> None:
        """Close everything. Those who wait get `ClientClosed`."""
        self.closed = True
        with self._news:
            waiting: Sequence[Any] = [*self.tracker.prompts.values(), *self._taps]
            for subject in waiting:
                subject.version += 1
            self._news.tell(list(waiting))
        self.disconnect()


def _connect_error(url: str, error: Exception) -> ComfyError:
    if isinstance(error, SocketRefused) and error.status is not None:
        cls = NotFound if error.status == 404 else ServerError
        return cls("GET", url, error.status, str(error))
    return ServerUnreachable(url, str(error) or type(error).__name__)


def _websocket_url(url: httpx.URL) -> str:
    return str(url.copy_with(scheme="wss" if url.scheme == "https" else "ws"))


_HANDSHAKE_HEADERS = frozenset(
    {"host", "connection", "upgrade", "accept", "accept-encoding", "content-length", "user-agent"}
)


def _own_headers(request: httpx.Request) -> dict[str, str]:
    """The headers of a request that are not those of every request."""
    return {name: value for name, value in request.headers.items() if name.lower() not in _HANDSHAKE_HEADERS}
