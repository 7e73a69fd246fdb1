"""One fake server without a network: the engine, its clock, its sockets and the ASGI app over them."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Union

from msgspec import UNSET, UnsetType
from starlette.applications import Starlette
from starlette.websockets import WebSocket

from comfy_contracts.catalogue import Catalogue
from comfy_mock.engine.answers import Answer
from comfy_mock.engine.awaited_event import AwaitedEvent
from comfy_mock.engine.clients import Payload
from comfy_mock.engine.custom_nodes import CustomNode
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.options import Options
from comfy_mock.engine.script.model import Script, ServerRule
from comfy_mock.server.app import create_app
from comfy_mock.server.clocks import Clock, Deadline, InstantClock, ManualClock, RealClock
from comfy_mock.server.control import Control
from comfy_mock.server.directory_files import DirectoryFiles
from comfy_mock.server.faults_waiting import Waits
from comfy_mock.server.journal_records import RequestRecord
from comfy_mock.server.runner import Runner
from comfy_mock.server.scripted import Scripted
from comfy_mock.server.scripts import ScriptSource, script_for
from comfy_mock.server.websocket import serve_websocket

ClockName = Literal["instant", "real", "manual"]
Storage = Union[str, Path, Mapping[str, Union[str, Path]], None]

_OWN = ("clock", "speed", "storage", "catalogue", "script")
"""The arguments of an `Instance` that are no fields of `Options`."""


class Instance(Scripted):
    """A fake ComfyUI server as an ASGI app: `app` is what a test client or an ASGI server runs.

    `clock` is `"instant"` (simulated durations elapse at once), `"real"` (as they pass, `speed` times as fast),
    `"manual"` (only by `advance_async` and `run_until_async`) or one of your own. `storage` keeps files in a directory
    instead of in memory; a mapping gives single folders (`output`, `input`, `temp`, `user`, `models`) a directory of
    their own. `catalogue` replaces the node classes. `script` makes the server do what real ones do rarely: a `Script`,
    the path of a scenario file, or its data. With `control` it can be driven by HTTP (docs/control.md), by whom has the
    `control_token`, or, without one, from this machine alone. Everything else is a field of `Options`.

    Raises `ValueError` for an unknown clock or folder, `TypeError` for an unknown option, and `ScriptError`, a
    `ValueError`, for a wrong script.

    Without a network some faults of a script can only be played as near as can be: where a connection is broken off, a
    request raises `ConnectionResetError` and a WebSocket is closed with code 1006; one that falls silent still takes
    what it is sent.
    """

    clock: Clock

    def __init__(
        self,
        *,
        clock: ClockName | Clock = "instant",
        speed: float = 1.0,
        storage: Storage = None,
        catalogue: Catalogue | None = None,
        script: ScriptSource = None,
        control: bool = True,
        control_token: str | None = None,
        **options: Any,
    ) -> None:
        own = {"clock": clock, "speed": speed, "storage": storage, "catalogue": catalogue, "script": script}
        self._begin(_configured({**options, **own}))
        self._control = Control(self, control_token) if control else None
        self.app: Starlette = create_app(self, self._control)

    def _begin(self, configuration: _Configuration) -> None:
        clock = configuration.new_clock()
        engine = Engine(
            configuration.options,
            now=clock.now(),
            files=configuration.new_files(),
            catalogue=configuration.catalogue,
            script=configuration.script,
        )
        self._configuration = configuration
        self._nodes: list[CustomNode] = []
        self.clock = clock
        self.runner = Runner(engine, clock, self._obey)
        self.power_on()

    def power_on(self) -> None:
        """The server is started now: one that its script starts up slowly is down at first."""
        self.runner.resume()
        self._go_down(self._configuration.script.start_up)

    def _go_down(self, seconds: float) -> None:
        self._down = Deadline(self.clock, seconds) if seconds else None

    def come_up(self) -> None:
        """It was down for long enough."""
        self._go_down(0)

    @property
    def arguments(self) -> dict[str, Any]:
        """What it is configured by: the arguments with which `reset` would make it the same."""
        configuration = self._configuration
        own = {name: getattr(configuration, name) for name in _OWN}
        return {**own, **{each.name: getattr(configuration.options, each.name) for each in fields(Options)}}

    @property
    def engine(self) -> Engine:
        """The engine that runs now."""
        return self.runner.engine

    @property
    def waits(self) -> Waits:
        """What is late on purpose."""
        return self.runner.waits

    @property
    def down(self) -> bool:
        """Whether the server starts up or restarts, or was stopped by its script: it answers nobody."""
        if self._down is not None and self._down.passed:
            self._down = None
        return self._down is not None

    def now(self) -> float:
        """The simulated time, in seconds since the epoch."""
        return self.runner.now()

    def _obey(self, rule: ServerRule) -> None:
        """A rule restarts the server, or stops it."""
        self._restart(rule.down if rule.action == "restart" else math.inf)

    def _restart(self, down: float) -> None:
        old, configuration = self.engine, self._configuration
        self.waits.end(going_on=False)
        old.director.release()
        engine = Engine(
            configuration.options,
            now=self.now(),
            files=old.files,
            catalogue=configuration.catalogue,
            script=old.director,
        )
        # the ids that it makes up must not be those that it gave before
        engine.random = old.random
        for node in self._nodes:
            engine.add_node(node.class_type, node.entry(), node.behaviour())
        self.runner.begin_anew(engine)
        self._go_down(down)

    def polled(self) -> None:
        """A question about prompts was answered."""
        self.runner.polled()

    def add_node(self, node: CustomNode) -> None:
        """Add a custom node class, or replace a class of the catalogue. Raises `ValueError` for a wrong definition."""
        self.engine.add_node(node.class_type, node.entry(), node.behaviour())
        self._nodes.append(node)

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
        self.runner.live_in(asyncio.get_running_loop())
        old.journal.end("the server was reset, and goes on in `server.journal`")
        if self.engine.options.version != version:
            self.app = create_app(self, self._control)
        await old.retire()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Held by the HTTP shell while it handles a request and sends the answer."""
        with self.runner.answering():
            yield

    async def websocket_endpoint(self, websocket: WebSocket, record: RequestRecord) -> Answer | None:
        """Serves `/ws`, or says what its upgrade is answered instead."""
        return await serve_websocket(self.runner, websocket, record)


@dataclass(frozen=True)
class _Configuration:
    """The arguments of an `Instance`: what a reset begins with again."""

    options: Options
    clock: ClockName | Clock = "instant"
    speed: float = 1.0
    storage: Storage = None
    catalogue: Catalogue | None = None
    script: Script = field(default_factory=Script)

    def new_clock(self) -> Clock:
        """A clock at its beginning; one of the user's own is kept as it is."""
        if not isinstance(self.clock, str):
            if not callable(getattr(self.clock, "now", None)) or not callable(getattr(self.clock, "wait", None)):
                raise TypeError(
                    f"a clock is 'instant', 'real', 'manual', or has now() and wait(), unlike {self.clock!r}"
                )
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
    own = {name: value for name, value in arguments.items() if name in _OWN}
    speed, catalogue = own.get("speed", 1.0), own.get("catalogue")
    if not isinstance(speed, (int, float)) or not 0 < speed < math.inf:
        raise ValueError(f"speed must be above 0, not {speed!r}; use the instant clock for no waiting at all")
    if not isinstance(catalogue, (Catalogue, type(None))):
        raise TypeError(f"a catalogue is a comfy_contracts.catalogue.Catalogue, not {type(catalogue).__name__}")
    options = Options(**{name: value for name, value in arguments.items() if name not in own})
    script = script_for(own.pop("script", None), options, own.get("catalogue"))
    return _Configuration(options, **own, script=script)


def _mounts(storage: Union[str, Path, Mapping[str, Union[str, Path]]]) -> dict[str, Path]:
    folders = Folders()
    if not isinstance(storage, Mapping):
        return {folders.base: Path(storage)}
    known = {name: getattr(folders, name) for name in ("base", "input", "output", "temp", "user", "models")}
    unknown = set(storage) - set(known)
    if unknown:
        raise ValueError(f"there is no folder {sorted(unknown)[0]!r}; the folders are {', '.join(known)}")
    return {known[name]: Path(path) for name, path in storage.items()}
