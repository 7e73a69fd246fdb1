"""What a run needs of the server around it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

from comfy_contracts.catalogue import NodeDefinition
from comfy_contracts.profiles import Profile
from comfy_mock.engine.cache import ResultCache
from comfy_mock.engine.clients import Payload
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.logs import Level
from comfy_mock.engine.nodes.api import Behaviour
from comfy_mock.engine.options import Options
from comfy_mock.engine.script.director import Director

Steps = Generator[float, None, None]
"""A simulation in progress: it yields the seconds that pass until it goes on. Infinity is until something that is held
is released; then, as after `Doze`, it looks whether it was meant."""


class Doze(float):
    """Seconds that pass, unless something that is held is released meanwhile."""


class Host(Protocol):
    """The worker's view of the server: what it keeps between prompts, and to whom messages go."""

    options: Options
    profile: Profile
    files: Files
    folders: Folders
    cache: ResultCache
    instances: dict[tuple[str, str], dict[str, Any]]
    interrupt_requested: bool
    client_id: Any
    last_node_id: str | None
    success: bool
    executions: int
    director: Director

    @property
    def now(self) -> float: ...

    def definition(self, class_type: str) -> NodeDefinition | None: ...

    def behaviour(self, definition: NodeDefinition) -> Behaviour: ...

    def to_client(self, payload: Payload) -> None: ...

    def to_client_or_all(self, payload: Payload) -> None: ...

    def to_all(self, payload: Payload) -> None: ...

    def has_listener(self) -> bool: ...

    def log(self, message: str, *, level: Level = "INFO") -> None: ...

    def wants_preview_metadata(self) -> bool: ...
