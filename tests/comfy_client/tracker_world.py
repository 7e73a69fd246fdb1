"""A server, a network and a clock, all made up, around a tracker: what clients can meet, in no time.

The server follows protocol 6.10 (or, for an old one, the dialect before `progress_state`). Every node id starts with
the id of its prompt, so that an event that was counted for the wrong prompt shows.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from comfy_client._actions import GiveUp, Nothing, Pace, PollHistory, PollQueue, Reconnect, WaitUntil
from comfy_client._prompt_state import PromptState
from comfy_client._tracker import Tracker
from comfy_contracts import frames, messages
from comfy_contracts.prompts import PromptAccepted
from comfy_contracts.results import HistoryEntry, Queue

Payload = Any
End = Literal["success", "error", "interrupted", "deleted"]

PACE = Pace(poll_interval=0.5, watch_interval=2.0, lost_after=1.0, entry_after=0.8, unreachable_after=60.0)


@dataclass(frozen=True)
class Plan:
    """A prompt: when it is posted, whose it is, how many steps each node has, which are cached, and how it ends."""

    posted: float
    owner: Literal["me", "other", "nobody"]
    steps: tuple[int, ...]
    cached: int
    end: End
    blocker: bool


@dataclass
class Noise:
    """What the network does. Chances are from 0 to 1, times in seconds."""

    lose: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    fail_poll: float = 0.0
    fail_connect: float = 0.0
    drops: tuple[float, ...] = ()
    """When the socket is lost."""
    history_lag: float = 0.0
    post_lag: float = 0.05


@dataclass
class Run:
    """What a plan came to."""

    plan: Plan
    prompt_id: str
    number: int
    started: float | None = None
    ended: float | None = None
    entry: dict[str, Any] | None = None
    messages: list[tuple[float, Payload]] = field(default_factory=list)


class World:
    """The server's whole day, worked out beforehand, and the clients that live through it."""

    def __init__(self, plans: list[Plan], noise: Noise, rng: random.Random, *, old: bool = False) -> None:
        self.noise, self.rng, self.old = noise, rng, old
        order = sorted(range(len(plans)), key=lambda index: plans[index].posted)
        self.runs = [Run(plans[index], f"p{index}", number) for number, index in enumerate(order)]
        free_at = 0.0
        for run in self.runs:
            start = max(free_at, run.plan.posted)
            if run.plan.end == "deleted":
                run.ended = start
            else:
                free_at = self._execute(run, start)
        for run in self.runs:
            run.messages += [(run.plan.posted, messages.Status(1)), (run.ended or 0.0, messages.Status(0))]

    # The server

    def _execute(self, run: Run, start: float) -> float:
        moment, outputs = start, {}
        run.started = start
        stamp = {"prompt_id": run.prompt_id, "timestamp": int(start * 1000)}
        ids = [f"{run.prompt_id}.{index}" for index in range(len(run.plan.steps))]
        cached = ids[: run.plan.cached]
        log: list[list[Any]] = [["execution_start", stamp], ["execution_cached", {"nodes": cached, **stamp}]]
        self._say(run, moment, *(messages.typed(kind, data) for kind, data in log))
        states: dict[str, messages.NodeProgress] = {}
        for node_id, steps in list(zip(ids, run.plan.steps, strict=True))[run.plan.cached :]:
            self._progress(run, moment, states, node_id, 0.0, 1.0, "running")
            self._say(run, moment, messages.Executing(node_id, node_id, run.prompt_id))
            if run.plan.blocker:
                self._say(run, moment, self._blocked(run, node_id))
            for step in range(1, steps + 1):
                moment += 0.1
                self._progress(run, moment, states, node_id, step, steps, "running")
                self._say(run, moment, messages.Progress(step, steps, run.prompt_id, node_id))
                if run.plan.owner == "nobody" or self.old:
                    self._say(run, moment, frames.PreviewFrame(frames.JPEG, node_id.encode()))
                else:
                    self._say(run, moment, _marked_preview(run.prompt_id, node_id))
            self._say(run, moment, frames.TextFrame(node_id, node_id))
            if node_id == ids[-1] and run.plan.end != "success":
                break
            moment += 0.02
            outputs[node_id] = {"images": [{"filename": f"{node_id}.png", "subfolder": "", "type": "output"}]}
            self._say(run, moment, messages.Executed(node_id, node_id, outputs[node_id], run.prompt_id))
            self._progress(run, moment, states, node_id, steps or 1.0, steps or 1.0, "finished")
        kind, data = self._ending(run, ids[-1], int(moment * 1000))
        log.append([kind, data])
        if not (self.old and kind == "execution_success"):
            self._say(run, moment, messages.typed(kind, data))
        good = kind == "execution_success"
        run.entry = {
            "prompt": [run.number, run.prompt_id, {}, {}, []],
            "outputs": outputs,
            "status": {"status_str": "success" if good else "error", "completed": good, "messages": log},
        }
        run.ended = moment + self.noise.history_lag
        self._say(run, run.ended, messages.Executing(None, prompt_id=run.prompt_id))
        return run.ended + 0.01

    def _ending(self, run: Run, node_id: str, stamp: int) -> tuple[str, dict[str, Any]]:
        if run.plan.end == "success" or run.plan.cached >= len(run.plan.steps):
            return "execution_success", {"prompt_id": run.prompt_id, "timestamp": stamp}
        where = {"prompt_id": run.prompt_id, "node_id": node_id, "node_type": "N", "executed": []}
        if run.plan.end == "interrupted":
            return "execution_interrupted", {**where, "timestamp": stamp}
        more = {"exception_message": "boom\n", "exception_type": "ValueError", "traceback": []}
        return "execution_error", {**where, **more, "current_inputs": {}, "current_outputs": [], "timestamp": stamp}

    def _blocked(self, run: Run, node_id: str) -> messages.Message:
        where = {"prompt_id": run.prompt_id, "node_id": node_id, "node_type": "N", "executed": []}
        more = {"exception_message": "Execution Blocked: no", "exception_type": "ExecutionBlocked", "traceback": []}
        return messages.typed("execution_error", {**where, **more, "current_inputs": [], "current_outputs": []})

    def _progress(
        self,
        run: Run,
        moment: float,
        states: dict[str, messages.NodeProgress],
        node_id: str,
        value: float,
        max_value: float,
        state: str,
    ) -> None:
        states[node_id] = messages.NodeProgress(value, max_value, state, node_id, run.prompt_id, node_id, None, node_id)
        if not self.old:
            self._say(run, moment, messages.ProgressState(run.prompt_id, dict(states)))

    def _say(self, run: Run, moment: float, *payloads: Payload) -> None:
        run.messages += [(moment, payload) for payload in payloads]

    def queue(self, moment: float) -> Queue:
        """The answer of /queue."""
        running, pending = [], []
        for run in self.runs:
            item = [run.number, run.prompt_id, {}, {}, []]
            if run.started is not None and run.started <= moment < (run.ended or 0.0):
                running.append(item)
            elif run.plan.posted <= moment < (run.ended if run.started is None else run.started):  # type: ignore[operator]
                pending.append(item)
        return Queue.from_builtins({"queue_running": running, "queue_pending": pending})

    def history(self, prompt_id: str, moment: float) -> HistoryEntry | None:
        """The entry of a prompt."""
        run = self.run(prompt_id)
        done = run.entry is not None and run.ended is not None and run.ended <= moment
        return HistoryEntry.from_builtins(run.entry) if done else None

    def run(self, prompt_id: str) -> Run:
        """The run of that id."""
        return next(run for run in self.runs if run.prompt_id == prompt_id)

    def mine(self) -> list[Run]:
        """The prompts of the client under test."""
        return [run for run in self.runs if run.plan.owner == "me"]

    # The network

    def traffic(self) -> list[tuple[float, Payload]]:
        """What the socket of the client under test would carry, in order, as the network leaves it."""
        sent = []
        for run in self.runs:
            for moment, payload in run.messages:
                to_all = isinstance(payload, (messages.Status, frames.TextFrame))
                if to_all or run.plan.owner == "me" or (run.plan.owner == "nobody" and _goes_to_all(payload)):
                    sent.append((moment, payload))
        sent.sort(key=lambda pair: pair[0])
        return sorted(self._disturbed(sent), key=lambda pair: pair[0])

    def _disturbed(self, sent: list[tuple[float, Payload]]) -> Iterator[tuple[float, Payload]]:
        latest = 0.0
        for moment, payload in sent:
            if self.rng.random() < self.noise.lose:
                continue
            # One socket keeps the order: a delay holds back all that follows.
            latest = max(latest, moment + self.rng.random() * self.noise.delay)
            yield latest, payload
            if self.rng.random() < self.noise.duplicate and type(payload).__module__ == messages.__name__:
                yield latest + self.rng.random() * 2 * (self.rng.random() < 0.5), payload


def _marked_preview(prompt_id: str, node_id: str) -> frames.Frame:
    return frames.PreviewWithMetadata(node_id, prompt_id, node_id, None, node_id, "image/jpeg", image=node_id.encode())


def _goes_to_all(payload: Payload) -> bool:
    kinds = (messages.ProgressState, messages.Progress, messages.ExecutionInterrupted, frames.PreviewFrame)
    return isinstance(payload, kinds)


class Watcher:
    """One client that follows all its prompts in a world, with its own clock."""

    def __init__(self, world: World, *, uses_socket: bool) -> None:
        self.world = world
        self.tracker = Tracker(PACE, random.Random(1))
        self.uses_socket = uses_socket
        self.now = -1.0
        self.states: dict[str, PromptState] = {}
        self.ended_at: dict[str, float] = {}
        self._due: list[tuple[float, int, str, Any]] = []
        self._order = 0
        for run in world.mine():
            self._at(run.plan.posted, "post", run)
            self._at(run.plan.posted + world.noise.post_lag, "accepted", run)
        if uses_socket:
            self._connect(fails=False)
            for moment, payload in world.traffic():
                self._at(moment, "message", payload)
            for moment in world.noise.drops:
                self._at(moment, "drop", None)

    def follow(self, limit: float = 400.0) -> None:
        """Live until all is over. Raises `AssertionError` where something is wrong on the way, or takes for ever."""
        unfinished = {run.prompt_id for run in self.world.mine()}
        steps = 0
        while unfinished:
            steps += 1
            assert self.now < limit, f"hangs: {unfinished}"
            assert steps < 20000, f"spins: {unfinished}"
            self._happen()
            wakes = [self._due[0][0]] if self._due else []
            acted = False
            for prompt_id in sorted(unfinished & self.states.keys()):
                action = self.tracker.next_action(prompt_id, self.now)
                if isinstance(action, Nothing):
                    unfinished.discard(prompt_id)
                    self.ended_at[prompt_id] = self.now
                elif isinstance(action, WaitUntil):
                    assert action.at > self.now
                    wakes.append(action.at)
                else:
                    self._do(action)
                    acted = True
            if not acted and unfinished:
                assert wakes, "nothing to wait for"
                self.now = max(min(wakes), self.now)

    def _at(self, moment: float, what: str, subject: Any) -> None:
        self._order += 1
        heapq.heappush(self._due, (moment, self._order, what, subject))

    def _happen(self) -> None:
        while self._due and self._due[0][0] <= self.now:
            _, _, what, subject = heapq.heappop(self._due)
            if what == "post":
                nodes = [f"{subject.prompt_id}.{index}" for index in range(len(subject.plan.steps))]
                self.states[subject.prompt_id] = self.tracker.submitting(
                    subject.prompt_id, self.now, uses_socket=self.uses_socket, nodes=nodes
                )
            elif what == "accepted":
                answer = PromptAccepted(subject.prompt_id, subject.number, {})
                self.tracker.accepted(subject.prompt_id, answer, self.now)
            elif what == "drop":
                if self.tracker.socket_open:
                    self.tracker.socket_lost(self.now)
            elif self.tracker.socket_open:
                self._receive(subject)

    def _receive(self, payload: Payload) -> None:
        if isinstance(payload, messages.ProgressState):
            self._check_snapshot()
        if type(payload).__module__.endswith("frames"):
            self.tracker.frame(payload, self.now)
        else:
            self.tracker.message(payload, self.now)

    def _check_snapshot(self) -> None:
        for state in self.states.values():
            progress = state.progress()
            assert 0.0 <= progress.fraction <= 1.0

    def _connect(self, *, fails: bool) -> None:
        if fails:
            self.tracker.socket_lost(self.now)
            return
        self.tracker.socket_opened(self.now)
        self.tracker.message(messages.Status(0, "me"), self.now)
        if not self.world.old:
            self.tracker.message(messages.FeatureFlags({"supports_preview_metadata": True}), self.now)

    def _do(self, action: Any) -> None:
        self.tracker.begin(action, 1)
        asked_at, answered_at = self.now, self.now + 0.01
        fails = self.world.rng.random()
        if isinstance(action, Reconnect):
            self.now = answered_at
            self._connect(fails=fails < self.world.noise.fail_connect)
        elif isinstance(action, GiveUp):
            raise AssertionError("gave up although the server answers")  # noqa: TRY004 - not a matter of types
        elif fails < self.world.noise.fail_poll:
            self.now = answered_at
            self.tracker.poll_failed(action, self.now)
        elif isinstance(action, PollQueue):
            queue = self.world.queue(asked_at + 0.005)
            self.now = answered_at
            self._happen()
            self.tracker.queue(queue, asked_at, self.now)
        else:
            assert isinstance(action, PollHistory)
            entry = self.world.history(action.prompt_id, asked_at + 0.005)
            self.now = answered_at
            self._happen()
            self.tracker.history(action.prompt_id, entry, asked_at, self.now)
        self.tracker.finish(action)
