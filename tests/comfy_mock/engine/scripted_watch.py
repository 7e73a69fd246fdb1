"""A `Watch` of an engine that follows a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protocol_events import CHECKPOINT, CLIENT, NOW, Watch, said

from comfy_contracts.frames import UnknownFrame
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.options import Options
from comfy_mock.engine.script.director import Director
from comfy_mock.engine.script.model import AnyRule, NodeMatch, Script

SAMPLER = NodeMatch(class_type="KSampler")


class ScriptedWatch(Watch):
    """An engine with these rules, and a client of it that notes what it gets."""

    def __init__(self, *rules: AnyRule, script: Script | Director | None = None, **options: Any) -> None:
        self.engine = Engine(
            Options(**{"models": {"checkpoints": [CHECKPOINT]}, **options}),
            now=NOW,
            script=script or Script(rules=list(rules)),
        )
        self.socket = self.engine.connect(CLIENT)
        self.engine.take_outgoing()

    @property
    def director(self) -> Director:
        return self.engine.director

    def served(self) -> list[int]:
        """How often each rule was used, in the order in which they are asked."""
        return [use.served for use in self.director.uses]


def told(payloads: Sequence[Any]) -> list[str]:
    """As `said`, with the binary messages that only custom nodes send."""
    return [
        f"binary {payload.event} {payload.payload!r}" if isinstance(payload, UnknownFrame) else said([payload])[0]
        for payload in payloads
    ]


def of_node(node_id: str, events: list[str]) -> list[str]:
    """What was told between a node's `executing` and the next one's or the end, of `progress_state` only this node."""
    start = events.index(f"executing {node_id}") + 1
    ends = ("executing", "execution_", "status")
    end = next((place for place in range(start, len(events)) if events[place].startswith(ends)), len(events))
    found = []
    for event in events[start:end]:
        if event.startswith("PS"):
            states = event[3:-1].split(", ")
            if states[-1].startswith(f"{node_id} "):
                found.append(f"PS {states[-1]}")
        else:
            found.append(event)
    return found
