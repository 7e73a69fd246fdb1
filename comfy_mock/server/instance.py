"""One fake server without a network: the engine, its clock, its sockets and the ASGI app over them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

from msgspec import UNSET, UnsetType
from starlette.applications import Starlette
from starlette.websockets import WebSocket

from comfy_contracts.catalogue import Catalogue
from comfy_mock.engine.awaited_event import AwaitedEvent
from comfy_mock.engine.clients import Payload
from comfy_mock.engine.custom_nodes import CustomNode
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.options import Options
from comfy_mock.server.app import create_app
from comfy_mock.server.clocks import Clock, InstantClock, ManualClock, RealClock
from comfy_mock.server.directory_files import DirectoryFiles
from comfy_mock.server.runner import Runner
from comfy_mock.server.sockets import Sockets
from comfy_mock.server.websocket import serve_websocket

ClockName = Literal["instant", "real", "manual"]
Storage = Union[str, Path, Mapping[str, Union[str, Path]], None]


class Instance:
    """A fake ComfyUI server as an ASGI app: `app` is what a test client or an ASGI server runs.

    `clock` is `"instant"` (simulated durations elapse at once), `"real"` (as they pass, `speed` times as fast),
    `"manual"` (only by `advance_async` and `run_until_async`) or one of your own. `storage` keeps files in a directory
    instead of in memory; a mapping gives single folders (`output`, `input`, `temp`, `user`, `models`) a directory of
    their own. `catalogue` replaces the node classes. Everything else is a field of `Options`.

    Raises `ValueError` for an unknown clock or folder and `TypeError` for an unknown option.
    """

    engine: Engine
    clock: Clock
    sockets: Sockets
    runner: Runner

    def __init__(
        self,
        *,
        clock: ClockName | Clock = "instant",
        speed: float = 1.0,
        storage: Storage = None,
        catalogue: Catalogue | None = None,
        **options: Any,
    ) -> None:
        self._begin(_Configuration(Options(**options), clock, speed, storage, catalogue))
        self.app: Starlette = create_app(self)

    def _begin(self, configuration: _Configuration) -> None:
        clock = configuration.new_clock()
        engine = Engine(
            configuration.options, now=clock.now(), files=configuration.new_files(), catalogue=configuration.catalogue
        )
        self._configuration = configuration
        self.clock, self.engine, self.sockets = clock, engine, Sockets()
        self.runner = Runner(engine, clock, self.sockets)

    def add_node(self, node: CustomNode) -> None:
        """Add a custom node class, or replace a class of the catalogue. Raises `ValueError` for a wrong definition."""
        self.engine.add_node(node.class_type, node.entry(), node.behaviour())

    async def advance_async(self, seconds: float) -> None:
        """With the manual clock: let `seconds` of simulated time pass, and all happen that is due in them.

        Returns when the messages of that time have been handed to the sockets; no request is answered meanwhile.
        Raises `ValueError` for less than 0 seconds, `RuntimeError` with another clock.
        """
        await self.runner.advance(seconds)

    async def run_until_async(
        self,
        event: str,
        *,
        node: str | UnsetType | None = UNSET,
        value: float | None = None,
        prompt_id: str | None = None,
    ) -> Payload:
        """With the manual clock: let simulated time pass until the event comes, and return its message.

        `event` is the type of a JSON message, or `"preview"` or `"text"` for binary ones; `node`, `value` (of a
        progress) and `prompt_id` narrow it down, `node=None` to the `executing` that closes a prompt. Events count
        whether or not a socket gets them, those of the past do not. Time then stands still behind the event: what the
        server does before any more time passes (such as the next node's `executing`) may have been told already.

        Raises `EventNeverCame`, which lists what came instead, where the server comes to rest first, `ValueError` where
        no event of this type has such a node, value or prompt, and `RuntimeError` with another clock.
        """
        return await self.runner.run_until(AwaitedEvent(event, node=node, value=value, prompt_id=prompt_id))

    async def reset_async(self, **arguments: Any) -> None:
        """Become a fresh server, with nothing of what happened so far: see `ComfyMock.reset`.

        `app` stays the same, unless `arguments` ask for another version of ComfyUI.
        """
        old, version = self.runner, self.engine.options.version
        self._begin(_configured(arguments) if arguments else self._configuration)
        if self.engine.options.version != version:
            self.app = create_app(self)
        await old.retire()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Held by the HTTP shell while it handles a request and sends the answer."""
        with self.runner.answering():
            yield

    async def websocket_endpoint(self, websocket: WebSocket) -> None:
        """Serves `/ws`."""
        await serve_websocket(self.runner, websocket)


@dataclass(frozen=True)
class _Configuration:
    """The arguments of an `Instance`: what a reset begins with again."""

    options: Options
    clock: ClockName | Clock = "instant"
    speed: float = 1.0
    storage: Storage = None
    catalogue: Catalogue | None = None

    def new_clock(self) -> Clock:
        """A clock at its beginning; one of the user's own is kept as it is."""
        if not isinstance(self.clock, str):
            return self.clock
        if self.clock == "instant":
            return InstantClock()
        if self.clock == "real":
            return RealClock(self.speed)
        if self.clock == "manual":
            return ManualClock()
        raise ValueError(f"there is no clock {self.clock!r}; the clocks are 'instant', 'real' and 'manual'")

    def new_files(self) -> Files:
        """Empty files in memory, or the directories as they are."""
        return MemoryFiles() if self.storage is None else DirectoryFiles(_mounts(self.storage))


def _configured(arguments: Mapping[str, Any]) -> _Configuration:
    own = {name: value for name, value in arguments.items() if name in ("clock", "speed", "storage", "catalogue")}
    options = {name: value for name, value in arguments.items() if name not in own}
    return _Configuration(Options(**options), **own)


def _mounts(storage: Union[str, Path, Mapping[str, Union[str, Path]]]) -> dict[str, Path]:
    folders = Folders()
    if not isinstance(storage, Mapping):
        return {folders.base: Path(storage)}
    known = {name: getattr(folders, name) for name in ("base", "input", "output", "temp", "user", "models")}
    unknown = set(storage) - set(known)
    if unknown:
        raise ValueError(f"there is no folder {sorted(unknown)[0]!r}; the folders are {', '.join(known)}")
    return {known[name]: Path(path) for name, path in storage.items()}
