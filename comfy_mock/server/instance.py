"""One fake server without a network: the engine, its clock, its sockets and the ASGI app over them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union

from starlette.applications import Starlette
from starlette.websockets import WebSocket

from comfy_contracts.catalogue import Catalogue
from comfy_mock.engine.custom_nodes import CustomNode
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.options import Options
from comfy_mock.server.app import create_app
from comfy_mock.server.clocks import Clock, InstantClock, RealClock
from comfy_mock.server.directory_files import DirectoryFiles
from comfy_mock.server.runner import Runner
from comfy_mock.server.sockets import Sockets
from comfy_mock.server.websocket import serve_websocket

ClockName = Literal["instant", "real"]
Storage = Union[str, Path, Mapping[str, Union[str, Path]], None]


class Instance:
    """A fake ComfyUI server as an ASGI app: `app` is what a test client or an ASGI server runs.

    `clock` is `"instant"` (simulated durations elapse at once), `"real"` (as they pass, `speed` times as fast) or one
    of your own. `storage` keeps files in a directory instead of in memory; a mapping gives single folders (`output`,
    `input`, `temp`, `user`, `models`) a directory of their own. `catalogue` replaces the node classes. Everything else
    is a field of `Options`.

    Raises `ValueError` for an unknown clock or folder and `TypeError` for an unknown option.
    """

    def __init__(
        self,
        *,
        clock: ClockName | Clock = "instant",
        speed: float = 1.0,
        storage: Storage = None,
        catalogue: Catalogue | None = None,
        **options: Any,
    ) -> None:
        self.clock = _clock(clock, speed)
        files = MemoryFiles() if storage is None else DirectoryFiles(_mounts(storage))
        self.engine = Engine(Options(**options), now=self.clock.now(), files=files, catalogue=catalogue)
        self.sockets = Sockets()
        self.runner = Runner(self.engine, self.clock, self.sockets)
        self.app: Starlette = create_app(self)

    def add_node(self, node: CustomNode) -> None:
        """Add a custom node class, or replace a class of the catalogue. Raises `ValueError` for a wrong definition."""
        self.engine.add_node(node.class_type, node.entry(), node.behaviour())

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Held by the HTTP shell while it handles a request and sends the answer."""
        with self.runner.answering():
            yield

    async def websocket_endpoint(self, websocket: WebSocket) -> None:
        """Serves `/ws`."""
        await serve_websocket(self.runner, websocket)


def _clock(clock: ClockName | Clock, speed: float) -> Clock:
    if not isinstance(clock, str):
        return clock
    if clock == "instant":
        return InstantClock()
    if clock == "real":
        return RealClock(speed)
    raise ValueError(f"there is no clock {clock!r}; the clocks are 'instant' and 'real'")


def _mounts(storage: Union[str, Path, Mapping[str, Union[str, Path]]]) -> dict[str, Path]:
    folders = Folders()
    if not isinstance(storage, Mapping):
        return {folders.base: Path(storage)}
    known = {name: getattr(folders, name) for name in ("base", "input", "output", "temp", "user", "models")}
    unknown = set(storage) - set(known)
    if unknown:
        raise ValueError(f"there is no folder {sorted(unknown)[0]!r}; the folders are {', '.join(known)}")
    return {known[name]: Path(path) for name, path in storage.items()}
