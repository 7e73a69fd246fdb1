"""The earlier run that a script plays: what it leaves in the cache, and no sign of it else."""

from __future__ import annotations

from typing import Any

from comfy_mock.engine.clients import Payload
from comfy_mock.engine.execution import PromptRun
from comfy_mock.engine.host import Host
from comfy_mock.engine.logs import Level
from comfy_mock.engine.queue import PromptItem
from comfy_mock.engine.script.director import Director


def rehearse(run: PromptRun) -> None:
    """Put the nodes that the script wants cached, and all that they need, into the cache of the run's host.

    No time passes by it and nobody is told of it; files are written, as the earlier run would have left them. A node
    that fails, or a server that caches nothing, leaves nothing: then the log says so.
    """
    wanted = run.casting.cached
    if not wanted:
        return
    host, item = run.host, run.item
    earlier = PromptItem(item.number, item.prompt_id, item.prompt, {**item.extra_data, "client_id": None}, wanted)
    muted = _Muted(host)
    for seconds in PromptRun(muted, earlier, earlier_of=run).steps():
        muted.now += seconds
    run.graph.forget_children()
    for node_id in set(wanted) - set(host.cache.ids(wanted)):
        host.log(f"The script wants node {node_id} to be cached, but it left no result", level="WARNING")


class _Muted:
    """A host that keeps what a run leaves, and that nobody hears."""

    director = Director()

    def __init__(self, host: Host) -> None:
        self.options, self.profile, self.files, self.folders = host.options, host.profile, host.files, host.folders
        self.cache, self.instances = host.cache, host.instances
        self.definition, self.behaviour = host.definition, host.behaviour
        self.now = host.now
        self.interrupt_requested = False
        self.client_id: Any = None
        self.last_node_id: str | None = None
        self.success = True
        self.executions = 0

    def to_client(self, payload: Payload) -> None:
        pass

    to_client_or_all = to_all = to_client

    def has_listener(self) -> bool:
        return False

    def log(self, message: str, *, level: Level = "INFO") -> None:
        pass

    def wants_preview_metadata(self) -> bool:
        return False
