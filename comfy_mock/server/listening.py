"""The port of a server: bound from its start to its stop, and listened at while the server is up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from comfy_mock.server.clocks import Timer

_ACCEPTING_TURNS = 3
"""So many turns of the event loop after it was accepted a connection is among those that the server knows."""

_BACKLOG = 2048
"""How many connections may wait to be accepted, as uvicorn has it."""


class PortTaken(OSError):
    """Another program listens where the fake was to listen."""


class Port:
    """A TCP port, bound: who connects to it is refused until somebody listens at `socket`.

    Port 0 takes a free one; `number` says which. Raises `PortTaken`. While nobody listens, systems differ in whether
    another program may take it.
    """

    def __init__(self, host: str, number: int) -> None:
        self._host = host
        self.socket = _bound(host, number)
        self.number = int(self.socket.getsockname()[1])

    def hold(self) -> None:
        """Bind it anew, where the socket that was listened at has been closed. Raises `PortTaken`."""
        if self.socket.fileno() == -1:
            self.socket = _bound(self._host, self.number)

    def refuse(self) -> None:
        """Refuse who connects from now on, where the platform can do so before the socket is closed."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def admit(self) -> None:
        """Let who connects from now on wait until the connection is accepted. Raises `PortTaken`.

        Another program may have bound the port too, while nobody listened, and listen by now.
        """
        self.hold()
        try:
            self.socket.listen(_BACKLOG)
        except OSError as problem:
            raise _taken(self._host, self.number, problem) from problem

    def close(self) -> None:
        """Give it back."""
        self.socket.close()


def _bound(host: str, number: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, not implied: asyncio turns off Nagle's delay only on sockets that say they are TCP.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host.strip("[]"), number))
    except OSError as problem:
        bound.close()
        raise _taken(host, number, problem) from problem
    return bound


def _taken(host: str, number: int, problem: OSError) -> PortTaken:
    return PortTaken(
        problem.errno,
        f"cannot listen on {host}:{number}: {problem.strerror or problem}. Choose another port, or 0 for a free one",
    )


class Listening:
    """Listens at a port or refuses who comes, as it is told last; it belongs to one event loop.

    `listen` begins to accept connections at the port's socket and returns what does so. `closed` is called when that
    has ended and all connections that it accepted are known, `lost` where the port cannot be had again.
    """

    def __init__(
        self,
        port: Port,
        listen: Callable[[socket.socket], Awaitable[asyncio.base_events.Server]],
        closed: Callable[[], object],
        lost: Callable[[PortTaken], object],
    ) -> None:
        self._port, self._listen, self._closed, self._lost = port, listen, closed, lost
        self._server: asyncio.base_events.Server | None = None
        self._wanted = False
        self._task: asyncio.Task[None] | None = None
        self.timer: Timer | None = None
        """What tells it next."""

    def want(self, listening: bool) -> None:
        """Listen from now on, or refuse."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if listening == self._wanted:
            return
        self._wanted = listening
        if listening and self._task is None:
            with contextlib.suppress(PortTaken):  # it is tried again by the task, and told
                self._port.admit()
        elif not listening and self._server is not None:
            self._accept_no_more(self._server)
            self._port.refuse()
        if self._task is None:
            self._task = asyncio.ensure_future(self._follow())

    async def settled(self) -> None:
        """Return when all is as it was told last."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def end(self) -> None:
        """Accept no more connections, and let those that were accepted come to be known."""
        self.want(False)
        await self.settled()

    async def _follow(self) -> None:
        try:
            while self._wanted != (self._server is not None):
                if self._wanted:
                    self._port.admit()
                    self._server = await self._listen(self._port.socket)
                elif self._server is not None:
                    await self._close(self._server)
        except PortTaken as problem:
            self._lost(problem)
        finally:
            self._task = None

    async def _close(self, server: asyncio.base_events.Server) -> None:
        """Close what listens. asyncio forgets, and leaves open, what it has accepted for it until just now."""
        self._accept_no_more(server)
        for _ in range(_ACCEPTING_TURNS):
            await asyncio.sleep(0)
        server.close()
        self._server = None
        self._closed()
        with contextlib.suppress(PortTaken):  # it is tried again, and told, when it is needed
            self._port.hold()

    def _accept_no_more(self, server: asyncio.base_events.Server) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # on Windows
            for listener in server.sockets:
                loop.remove_reader(listener.fileno())
