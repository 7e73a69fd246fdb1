"""Plays faults: a server with a script, a client at work on it, and what comes of that."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest

from comfy_client import ComfyError, ExecutionInterrupted, SocketSettings
from comfy_client import events as ev
from comfy_mock import ComfyMock
from comfy_mock.script import Hold, Legality, Rule, Script, on_node

sys.path.append(str(Path(__file__).parent / "comfy_client"))

import workflows
from both_clients import PACE, Kind, client_of, sockets_to

T = TypeVar("T")

Way = Literal["websocket", "polling", "auto"]
Task = Literal[
    "run",
    "two runs",
    "count",
    "interrupt",
    "cancel",
    "cancel many",
    "interrupt of two",
    "interrupt of the first of two",
]

LONG_S = 15.0
"""Nothing takes a client so long: what does has hung."""

QUICK = replace(PACE, watch_interval=0.05, lost_after=0.1, entry_after=0.15, unreachable_after=LONG_S)
SETTINGS = SocketSettings(close_timeout=0.05, trust_env=False)
GRAPHS = [workflows.sampled(steps=4, seed=seed) for seed in (1, 2)]
HOLD = Hold(name="at step 2", at_step=2)
AT_STEP_2 = on_node("KSampler", steps=4, times=1, holds=HOLD)
"""What is to be interrupted stands there, and goes on when it was."""


class Hasty(random.Random):
    """Random numbers by which a client waits a tenth of what it would wait at least before it asks again."""

    def random(self) -> float:
        return -0.45


@dataclass(frozen=True)
class Fault:
    """A line of the table.

    The first of `rules` is the fault, those behind it make its moment; with `script` are the other parts of the script,
    with `server` the arguments of the server. A client of each of these `kinds` goes each of these `ways` to do the
    `task`, while `aside` is done beside it.

    `outcome` is None where all must be as without the fault, else the error that it ends with. `first_error` is what
    one of its calls raises, which then is made again. The server has accepted so many `prompts` in the end.
    """

    name: str
    rules: tuple[Rule, ...]
    outcome: type[ComfyError] | None = None
    ways: tuple[Way, ...] = ("auto",)
    kinds: tuple[Kind, ...] = ("blocking", "async")
    legality: Legality = "legal"
    task: Task = "run"
    first_error: type[ComfyError] | None = None
    aside: Callable[[ComfyMock], Any] | None = None
    prompts: int = 1
    patience_s: float = LONG_S
    at_least_s: float = 0.0
    client: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    script: Mapping[str, Any] = field(default_factory=dict)

    @property
    def runs(self) -> int:
        """How many runs end well."""
        return {"count": 0, "two runs": 2, "interrupt of the first of two": 2}.get(self.task, 1)


@dataclass(frozen=True)
class Made:
    """What a run made: what its nodes showed, and the bytes of its pictures."""

    outputs: Mapping[str, Any]
    pictures: tuple[bytes, ...]


class Stage:
    """One server, which is reset for each fault."""

    def __init__(self, server: ComfyMock) -> None:
        self.server = server
        self.helper = ThreadPoolExecutor(1)
        # its thread must be there before a client is looked at for what it leaves behind
        self.helper.submit(int).result()

    def play(self, fault: Fault, kind: Kind, way: Way) -> list[Made]:
        """Let a client of this kind meet a fault: what its runs made. Raises what it raises."""
        server = self.server
        if not server.running:
            server.start()
        server.reset(
            **{
                "clock": "instant",
                "preview_method": "latent2rgb",
                **fault.server,
                "script": Script(rules=[*fault.rules], **fault.script),
            }
        )
        aside = None if fault.aside is None else self.helper.submit(fault.aside, server)
        begun = time.monotonic()
        with client_of(
            kind, server.url, **{"pace": QUICK, "socket": SETTINGS, "timeout": LONG_S, **fault.client}
        ) as client:
            try:
                return Player(server, client, fault, way).play()
            finally:
                took = time.monotonic() - begun
                assert fault.at_least_s <= took < LONG_S
                server.journal.assert_rules_used()
                assert len(server.journal.prompts()) == fault.prompts
                if aside is not None:
                    aside.result(LONG_S)
                if fault.outcome is not None and server.running:
                    self._goes_on(client, way)

    def _goes_on(self, client: Any, way: Way) -> None:
        """The same client can use the server when the fault is gone."""
        server = self.server
        server.clear_rules()
        server.resume_queue()
        while server.down:
            time.sleep(0.001)
        assert len(client.run(GRAPHS[0], path=way, timeout=LONG_S).images) == 1

    def left_in_order(self) -> None:
        """A client that is closed has left no connection, on neither side."""
        assert sockets_to(self.server.url) == []
        self.server.release()
        begun = time.monotonic()
        while self.server.journal.sockets(open=True) and time.monotonic() < begun + LONG_S:
            time.sleep(0.001)
        assert self.server.journal.sockets(open=True) == []


class Player:
    """A client at its task."""

    def __init__(self, server: ComfyMock, client: Any, fault: Fault, way: Way) -> None:
        self.server, self.client, self.fault, self.way = server, client, fault, way
        self.first_error = fault.first_error

    def play(self) -> list[Made]:
        """Do the task: what the runs made."""
        task = self.fault.task
        if task == "count":
            assert self._called(self.client.queue_remaining) == 0
            made = []
        elif task in ("interrupt", "cancel", "cancel many"):
            made = self._interrupted(task)
        elif task == "run":
            made = [self._finished(self._submitted(GRAPHS[0]))]
        else:
            jobs = [self._submitted(graph) for graph in GRAPHS]
            if task != "two runs":
                self.server.journal.wait_for_hold(HOLD.name)
                self._called(lambda: self.client.interrupt(jobs[0].prompt_id if "first" in task else None))
            made = [self._finished(jobs[0])]
            if task == "interrupt of two":
                with pytest.raises(ExecutionInterrupted):
                    self._finished(jobs[1])
            else:
                made.append(self._finished(jobs[1]))
        assert self.first_error is None
        return made

    def _called(self, call: Callable[[], T]) -> T:
        """What a call returns, the second time where it may raise an error the first time."""
        try:
            return call()
        except ComfyError as error:
            if self.first_error is not type(error):
                raise
            self.first_error = None
            return call()

    def _submitted(self, graph: Any) -> Any:
        options = {"poll_interval": 0.01} if self.way == "polling" else {}
        return self._called(lambda: self.client.submit(graph, path=self.way, **options))

    def _finished(self, job: Any) -> Made:
        try:
            result = self._called(lambda: job.result(self.fault.patience_s))
        finally:
            if job.phase in ("success", "error", "interrupted", "lost"):
                check_events(job)
        pictures = tuple(self._called(image.read) for image in result.images)
        return Made(result.outputs, pictures)

    def _interrupted(self, task: str) -> list[Made]:
        job = self._submitted(GRAPHS[0])
        self.server.journal.wait_for_hold(HOLD.name)
        if task == "cancel":
            assert self._called(job.cancel)
        elif task == "cancel many":
            assert self._called(lambda: self.client.cancel_jobs(job.prompt_id))
        else:
            self._called(lambda: self.client.interrupt(job.prompt_id))
        self.server.release(HOLD.name)
        assert self.first_error is None
        try:
            return [self._finished(job)]
        finally:
            assert len(self.server.journal.events("progress")) == HOLD.at_step


def check_events(job: Any) -> None:
    """What was told of a run that is over: of this one alone, nothing twice, nothing that goes back, and its end."""
    events = list(job.events())
    assert {event.prompt_id for event in events} == {job.prompt_id}
    assert [type(event) for event in events].count(ev.Ended) == 1
    assert events[-1] == ev.Ended(job.prompt_id, job.phase)
    assert [type(event) for event in events].count(ev.Started) <= 1
    shown = [event.node_id for event in events if isinstance(event, ev.NodeOutput)]
    assert len(shown) == len(set(shown))
    if job.phase == "success":
        outputs = job.result().outputs
        assert {event.node_id: event.output for event in events if isinstance(event, ev.NodeOutput)} == outputs
    for node in {event.node_id for event in events if isinstance(event, ev.NodeProgress)}:
        steps = [event.fraction for event in events if isinstance(event, ev.NodeProgress) and event.node_id == node]
        assert steps == sorted(steps)
