"""What a situation is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from comfy_mock.conformance.moves import FAULT, Held, Move, Pause, Release
from comfy_mock.conformance.workflows import FIRST, SECOND, text_to_image
from comfy_mock.engine.custom_nodes import CustomNode
from comfy_mock.engine.script.model import AnyRule, Failure, Hold, NodeRule
from comfy_mock.script import on_node

Expect = Literal["outputs", "failure", "either"]
"""What a client must end with: the outputs of its prompt, a reported failure, or any of the two."""


@dataclass(frozen=True)
class Situation:
    """One course of events that a real server can give a client, and how the client must end.

    `does` says what the server does, `should` what the client should do, and where that stands. `workflow` is what the
    client runs. `rules` are the script of the server and `options` are more arguments of it; `nodes` are classes that
    it has besides. `before` are moves that are over when the client starts, `moves` are played while it runs.

    `patience` is how many times the usual limit the client has. `once`: it may queue its workflow only once. `queues`:
    the server takes it.
    """

    name: str
    does: str
    should: str
    expect: Expect = "outputs"
    workflow: Mapping[str, Any] = field(default_factory=text_to_image)
    rules: tuple[AnyRule, ...] = ()
    queue_paused: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    nodes: tuple[CustomNode, ...] = ()
    before: tuple[Move, ...] = ()
    moves: tuple[Move, ...] = ()
    patience: float = 1.0
    once: bool = True
    queues: bool = True


SAMPLING, SAVING, SCALING = "sampling", "saving", "scaling"
"""The names of what holds the runs: those of the script below."""


def sampling(*, times: int | None = None, previews: bool = False) -> NodeRule:
    """The sampler stands still after its second step."""
    hold = Hold(name=SAMPLING, at_step=2)
    return on_node("KSampler", steps=4, holds=hold, previews=previews, times=times, optional=True)


def saving(raises: Failure | None = None) -> NodeRule:
    """The output node, of two the first, stands still before it saves, or raises."""
    return on_node("SaveImage", inputs=FIRST, times=1, holds=SAVING, raises=raises, optional=True)


def scaling(raises: Failure | None = None) -> NodeRule:
    """The second output node stands still before it saves, or raises."""
    return on_node("SaveImage", inputs=SECOND, holds=SCALING, raises=raises, optional=True)


def meanwhile(name: str, *moves: Move, seconds: float = 0.4) -> tuple[Move, ...]:
    """While something is held, let these happen, and after a while let it go on."""
    return (Held(name), *moves, Pause(seconds), Release(name))


RUNNING = meanwhile(SAMPLING, seconds=0.3)
"""The run takes a while, so that a client that opens its WebSocket after it has posted is in time."""

__all__ = [
    "FAULT",
    "RUNNING",
    "SAMPLING",
    "SAVING",
    "SCALING",
    "Expect",
    "Situation",
    "meanwhile",
    "sampling",
    "saving",
    "scaling",
]
