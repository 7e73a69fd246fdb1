"""Putting the fake on a real port: as a context manager beside your code, or in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import uvicorn
from msgspec import UNSET, UnsetType

from comfy_mock.engine.awaited_event import AwaitedEvent
from comfy_mock.engine.clients import Payload
from comfy_mock.engine.script.model import ServerRule
from comfy_mock.server.calls import NOT_RUNNING, Calls
from comfy_mock.server.clocks import call_later
from comfy_mock.server.instance import Instance
from comfy_mock.server.listening import Listening, Port, PortTaken
from comfy_mock.server.wire import HttpProtocol
from comfy_mock.server.wire_websocket import WebSocketProtocol

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send
    from typing_extensions import Self

T = TypeVar("T")

logger = logging.getLogger("comfy_mock.server")

WEBSOCKET_BYTES_MAX = 4 * 1024 * 1024
_START_S_MAX = 30.0
_UNREAD_BYTES_MAX = 64 * 1024
_LAST_ANSWERS_S_MAX = 2.0


class ComfyMock(Instance):
    """A fake ComfyUI server on a real port.

    As a context manager it serves from a background thread: it is ready when `with` is entered, and gone when it is
    left. `async with` does the same without blocking the event loop. Port 0 takes a free one; `url` says which. All
    other arguments are those of `Instance`.

        with ComfyMock() as server:
            httpx.get(f"{server.url}/queue")

    All that it can be told may be told from any thread; `reset`, `advance` and `run_until` have twins for event loops.

    Raises `PortTaken` when the port is taken.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, **arguments: Any) -> None:
        self._server: _Server | None = None
        super().__init__(**arguments)
        if not 0 <= port <= 65535:
            raise ValueError(f"a port is a number from 0 (a free one) to 65535, not {port}")
        self.host, self._wanted_port = host, port
        self._port: Port | None = None
        self._ended = False
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def port(self) -> int:
        """The port it listens on. Raises `RuntimeError` before the start."""
        if self._port is None:
            raise RuntimeError("this ComfyMock has not been started: use `with ComfyMock() as server:` or call start()")
        return self._port.number

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - only translated
        return (
            f"http://[{host}]:{self.port}" if ":" in host and not host.startswith("[") else f"http://{host}:{self.port}"
        )

    @property
    def running(self) -> bool:
        """Whether it has been started, and not been stopped since, by a rule of its script neither."""
        return self._port is not None and not self._ended

    def start(self) -> Self:
        """Serve from a background thread; returns when it is ready."""
        if self._ended:
            self.stop()
        if self._thread is not None:
            raise RuntimeError("this ComfyMock is running already")
        self._failure = None
        self._port = port = Port(self.host, self._wanted_port)
        ready = threading.Event()
        self._server = _Server(self, port, ready.set)
        self._thread = threading.Thread(target=self._serve_in_thread, args=(ready,), name="comfy-mock", daemon=True)
        self._thread.start()
        if not ready.wait(_START_S_MAX):
            raise TimeoutError(f"the fake did not start within {_START_S_MAX:.0f} s")
        if self._failure is not None:
            failure = self._failure
            self.stop()
            if isinstance(failure, PortTaken):
                raise failure
            raise RuntimeError("the fake could not start") from failure
        return self

    def stop(self) -> None:
        """Close all connections and end the thread, or `serve` where that runs. Stopping twice is fine."""
        server, thread = self._server, self._thread
        if server is not None:
            server.ask_to_exit()
        if thread is not None:
            thread.join()
            self._server = self._thread = None
            self._give_up_port()

    def reset(self, **arguments: Any) -> None:
        """Become a fresh server on the same port, in less than a millisecond.

        Queue, history, caches, settings, counters, added nodes, files in memory and the seed's random numbers begin
        anew, and so does the clock; files in a directory (`storage`) stay. WebSockets are closed with code 1012, as by
        a server that restarts, after what waits for them has been sent; HTTP connections stay open.

        With `arguments`, those of `Instance`, it is configured by them alone, from now on; they raise what `Instance`
        raises, and then nothing is reset. Raises `RuntimeError` while it does not run.
        """
        self._call(lambda: Instance.reset_async(self, **arguments))

    def advance(self, seconds: float) -> None:
        """With `clock="manual"`: let `seconds` of simulated time pass, and all happen that is due in them.

        Returns when the messages of that time have been handed to the sockets. Raises as `advance_async` does, and
        `RuntimeError` while the server does not run.
        """
        self._call(lambda: self.runner.advance(seconds))

    def run_until(
        self,
        event: str,
        *,
        node: str | UnsetType | None = UNSET,
        value: float | None = None,
        prompt_id: str | None = None,
    ) -> Payload:
        """With `clock="manual"`: let simulated time pass until the event comes, and return its message.

            server.run_until("progress", node="3", value=3)

        What the arguments mean, and what it raises, stands with `run_until_async`; `RuntimeError` also while the server
        does not run.
        """
        awaited = AwaitedEvent(event, node=node, value=value, prompt_id=prompt_id)
        return self._call(lambda: self.runner.run_until(awaited))

    async def reset_async(self, **arguments: Any) -> None:
        """`reset`, without blocking the event loop."""
        await self._await(lambda: Instance.reset_async(self, **arguments))

    async def advance_async(self, seconds: float) -> None:
        """`advance`, without blocking the event loop."""
        await self._await(lambda: self.runner.advance(seconds))

    async def run_until_async(
        self,
        event: str,
        *,
        node: str | UnsetType | None = UNSET,
        value: float | None = None,
        prompt_id: str | None = None,
    ) -> Payload:
        """`run_until`, without blocking the event loop."""
        awaited = AwaitedEvent(event, node=node, value=value, prompt_id=prompt_id)
        return await self._await(lambda: self.runner.run_until(awaited))

    def _do(self, action: Callable[[], T]) -> T:
        """Do something where the server runs; where it does not, here."""
        server = self._server
        if server is None or server.loop is None or self._ended or server.runs_here:
            return action()

        async def there() -> T:
            done = action()
            await server.listening.settled()
            return done

        return server.submit(there).result()

    def _go_down(self, seconds: float) -> None:
        super()._go_down(seconds)
        if self._server is not None and self._server.runs_here:
            self._server.refuse_for(seconds)

    def _restart(self, down: float) -> None:
        super()._restart(down)
        if self._server is not None:
            self._server.break_off_connections()

    def _obey(self, rule: ServerRule) -> None:
        super()._obey(rule)
        if rule.action == "stop":
            self.end()

    def end(self) -> None:
        """Serve no longer, as by a rule of the script: `stop` is still to be called."""
        if self._server is not None:
            self._ended = True
            self._server.ask_to_exit()

    def _call(self, action: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something in the server's event loop, from another thread."""
        server = self._running_server()
        if server.runs_here:
            raise RuntimeError("this would wait for itself: in the server's own event loop await the `_async` method")
        return server.submit(action).result()

    async def _await(self, action: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something in the server's event loop, from any event loop."""
        server = self._running_server()
        if server.runs_here:
            return await action()
        return await asyncio.wrap_future(server.submit(action))

    def _running_server(self) -> _Server:
        server = self._server
        if server is None or server.loop is None or self._ended:
            raise RuntimeError(NOT_RUNNING)
        return server

    async def serve(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve in this event loop until cancelled or, in the main thread, until SIGINT or SIGTERM."""
        self._port = port = Port(self.host, self._wanted_port)
        self._server = server = _Server(self, port, on_ready)
        try:
            await server.serve()
        finally:
            server.abandon_calls()
            self._server = None
            self._give_up_port()

    def _give_up_port(self) -> None:
        self._ended = False
        if self._port is not None:
            self._port.close()
            self._port = None

    def _serve_in_thread(self, ready: threading.Event) -> None:
        assert self._server is not None
        try:
            asyncio.run(self._server.serve())
        except BaseException as failure:
            self._failure = failure
        finally:
            self._server.abandon_calls()
            ready.set()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await _to_the_end(self.start, undo=self.stop)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await _to_the_end(self.stop)


async def _to_the_end(action: Callable[[], object], *, undo: Callable[[], object] | None = None) -> None:
    """Do something in a thread; one who is cancelled meanwhile waits for it all the same, and has it undone."""
    doing = asyncio.ensure_future(asyncio.to_thread(action))
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        if undo is not None:
            await asyncio.to_thread(undo)
        raise


class _Server(uvicorn.Server):
    """uvicorn, told to exit by an event rather than by looking ten times a second."""

    def __init__(self, mock: ComfyMock, port: Port, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                _current_app(mock),
                lifespan="off",
                http=HttpProtocol,
                ws=WebSocketProtocol,
                ws_max_size=WEBSOCKET_BYTES_MAX,
                ws_ping_interval=None,
                log_config=None,
                access_log=False,
                date_header=False,
                server_header=False,
            )
        )
        self._mock, self._on_ready = mock, on_ready
        self.loop: asyncio.AbstractEventLoop | None = None
        self._calls: Calls | None = None
        self._exit = asyncio.Event()
        self.listening = Listening(port, self._listen, self._not_listening, self._lose_port)
        self._lost: PortTaken | None = None

    @property
    def runs_here(self) -> bool:
        """Whether this is called in its own event loop."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def submit(self, action: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Do something in this server's event loop; see `Calls.submit`."""
        if self._calls is None:
            raise RuntimeError(NOT_RUNNING)
        return self._calls.submit(action)

    def abandon_calls(self) -> None:
        """The event loop has ended."""
        if self._calls is not None:
            self._calls.abandon()

    def ask_to_exit(self) -> None:
        """End, from any thread, also one that lets time pass without an end."""
        self._mock.runner.give_up()
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has closed already
                self.loop.call_soon_threadsafe(self._exit.set)

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        self.ask_to_exit()

    def break_off_connections(self) -> None:
        """End all HTTP connections without a word; WebSockets end when what was sent to them has left."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpProtocol):
                connection.break_off()

    def refuse_for(self, seconds: float) -> None:
        """Be down for so many seconds of the network's time: who wants to connect is refused."""
        self.listening.want(not seconds)
        if 0 < seconds < math.inf:
            self.listening.timer = call_later(self._mock.clock, seconds, self._mock.come_up)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - of uvicorn
        """Not yet: a server that is slow to start listens later."""
        self.started = True

    async def _listen(self, listener: socket.socket) -> asyncio.base_events.Server:
        await super().startup([listener])
        return self.servers[0]

    def _not_listening(self) -> None:
        if not self.should_exit:  # a stop lets answers come to their end
            self.break_off_connections()

    def _lose_port(self, problem: PortTaken) -> None:
        self._lost = problem
        logger.error("the server ends: %s", problem.strerror)
        self._mock.end()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve to the end. Raises `PortTaken` where the port was another program's when it was to be listened at."""
        await super().serve(sockets)
        if self._lost is not None:
            raise self._lost

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - of uvicorn
        """Stop listening, let answers that are being sent come to their end for a while, and end all connections.

        uvicorn's own way takes a tenth of a second at least.
        """
        await self.listening.end()
        for connection in list(self.server_state.connections):
            # a client that does not read would be waited for, and its answer then be reported as an error of the app
            unread = connection.transport.get_write_buffer_size() > _UNREAD_BYTES_MAX
            if unread or (isinstance(connection, HttpProtocol) and connection.is_waiting):
                connection.transport.abort()
            else:
                connection.shutdown()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._all_gone(), _LAST_ANSWERS_S_MAX)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()

    async def _all_gone(self) -> None:
        pause_s = 0.0
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s + 0.001, 0.02)

    async def main_loop(self) -> None:
        self._calls = Calls()
        self._mock.runner.live_in(asyncio.get_running_loop())
        self.loop, self._exit = asyncio.get_running_loop(), asyncio.Event()
        self._mock.power_on()
        await self.listening.settled()
        if self._lost is None:
            self._on_ready()
        try:
            await self._exit.wait()
        finally:
            self._calls.end()
        self.should_exit = True
        await self._mock.runner.stop()


def _current_app(mock: ComfyMock) -> Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # looked up each time, for a reset may have exchanged it
        await mock.app(scope, receive, send)

    return app
