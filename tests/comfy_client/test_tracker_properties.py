"""Whatever the server and the network do, within the protocol, a tracker comes to the truth, and in time."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tracker_world import PACE, End, Noise, Plan, Watcher, World

from comfy_client import events as ev
from comfy_client._event_log import EventLog
from comfy_client._prompt_state import PromptState

ends: st.SearchStrategy[End] = st.sampled_from(["success", "success", "error", "interrupted", "deleted"])

plans = st.builds(
    Plan,
    posted=st.floats(0, 4),
    owner=st.sampled_from(["me", "me", "other", "nobody"]),
    steps=st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple),
    cached=st.integers(0, 4),
    end=ends,
    blocker=st.booleans(),
)
chances = st.sampled_from([0.0, 0.1, 0.5])
noises = st.builds(
    Noise,
    lose=chances,
    duplicate=chances,
    delay=st.sampled_from([0.0, 0.05, 3.0]),
    fail_poll=chances,
    fail_connect=st.sampled_from([0.0, 0.5, 1.0]),
    drops=st.lists(st.floats(0, 6), max_size=3).map(tuple),
    history_lag=st.sampled_from([0.0, 0.001, 0.3]),
    post_lag=st.sampled_from([0.0, 0.05, 1.5]),
)

OUTCOMES = {"deleted": "lost"}


class Log:
    """All events of a prompt, in their order, as a reader gets them that reads at once."""

    def __init__(self) -> None:
        self.events: list[ev.Event] = []

    def add(self, event: ev.Event) -> None:
        self.events.append(event)


def followed(world: World, *, uses_socket: bool) -> tuple[Watcher, dict[str, list[ev.Event]]]:
    logs: dict[str, Log] = {}

    class Recording(Watcher):
        def _happen(self) -> None:
            super()._happen()
            for prompt_id, state in self.states.items():
                if prompt_id not in logs:
                    logs[prompt_id] = Log()
                    for event in state.subscribe():
                        logs[prompt_id].add(event)
                    state._readers.add(logs[prompt_id])  # type: ignore[arg-type]

    watcher = Recording(world, uses_socket=uses_socket)
    watcher.follow()
    return watcher, {prompt_id: log.events for prompt_id, log in logs.items()}


def truth(world: World, prompt_id: str) -> str:
    run = world.run(prompt_id)
    if run.entry is None:
        return "lost"
    return {"execution_success": "success", "execution_error": "error"}.get(
        run.entry["status"]["messages"][-1][0], "interrupted"
    )


@given(st.lists(plans, min_size=1, max_size=5), noises, st.integers(0, 2**32), st.booleans())
def test_both_paths_come_to_the_same_truth_in_time(plans: list[Plan], noise: Noise, seed: int, old: bool) -> None:
    outputs: list[dict[str, Any]] = []
    for uses_socket in (True, False):
        world = World(plans, noise, random.Random(seed), old=old)
        watcher, _ = followed(world, uses_socket=uses_socket)
        outputs.append({prompt_id: state.outputs for prompt_id, state in watcher.states.items()})
        for prompt_id, state in watcher.states.items():
            assert state.phase == truth(world, prompt_id)
            over = max(world.run(prompt_id).ended or 0.0, world.run(prompt_id).plan.posted + noise.post_lag)
            # a look each watch_interval, failing looks with their waits, and the patience with lost prompts
            patience = PACE.watch_interval + 3 * PACE.lost_after + (40 if noise.fail_poll else 0)
            assert watcher.ended_at[prompt_id] - over <= patience
    assert outputs[0] == outputs[1]


@given(st.lists(plans, min_size=1, max_size=5), noises, st.integers(0, 2**32), st.booleans())
def test_no_event_is_counted_for_another_prompt_and_none_comes_twice(
    plans: list[Plan], noise: Noise, seed: int, old: bool
) -> None:
    world = World(plans, noise, random.Random(seed), old=old)
    watcher, logs = followed(world, uses_socket=True)
    for prompt_id, events in logs.items():
        for event in events:
            assert event.prompt_id == prompt_id
            node_id = getattr(event, "node_id", None)
            # Texts and unmarked previews name no prompt. Where single messages are lost or come twice, which no socket
            # does, nobody can be sure of them.
            unsure = isinstance(event, ev.NodeText) or (isinstance(event, ev.Preview) and old)
            if not (unsure and (noise.lose or noise.duplicate)):
                assert node_id is None or node_id.startswith(f"{prompt_id}.")
                assert not isinstance(event, ev.Preview) or event.image.startswith(prompt_id.encode())
        for kind in (ev.Started, ev.Ended, ev.Cached):
            assert sum(isinstance(event, kind) for event in events) <= 1
        assert isinstance(events[-1], ev.Ended)
        once = [event for event in events if isinstance(event, (ev.NodeStarted, ev.NodeFinished, ev.NodeOutput))]
        assert len({(type(event), event.node_id) for event in once}) == len(once)
        assert watcher.states[prompt_id].ended


@given(st.lists(plans, min_size=1, max_size=4), noises, st.integers(0, 2**32), st.booleans())
def test_progress_never_runs_backwards(plans: list[Plan], noise: Noise, seed: int, old: bool) -> None:
    world = World(plans, noise, random.Random(seed), old=old)
    seen: dict[str, list[float]] = {}

    class Looking(Watcher):
        def _happen(self) -> None:
            super()._happen()
            for prompt_id, state in self.states.items():
                seen.setdefault(prompt_id, []).append(state.progress().fraction)

    watcher = Looking(world, uses_socket=True)
    watcher.follow()
    for prompt_id, fractions in seen.items():
        assert fractions == sorted(fractions)
        state = watcher.states[prompt_id]
        if state.phase == "success":
            assert state.progress().fraction == 1.0
    for events in followed(World(plans, noise, random.Random(seed), old=old), uses_socket=True)[1].values():
        per_node: dict[str, list[float]] = {}
        for event in events:
            if isinstance(event, ev.NodeProgress):
                per_node.setdefault(event.node_id, []).append(event.fraction)
        assert all(fractions == sorted(set(fractions)) for fractions in per_node.values())


@given(st.lists(st.sampled_from(["progress", "preview", "started", "text"]), max_size=200), st.integers(1, 20))
def test_a_slow_reader_loses_only_what_is_stale(kinds: list[str], limit: int) -> None:
    state, reader = PromptState("p"), EventLog(limit)
    for number, kind in enumerate(kinds):
        node_id = str(number % 3)
        if kind == "progress":
            reader.add(ev.NodeProgress("p", node_id, node_id, number, 200, number / 200))
        elif kind == "preview":
            reader.add(ev.Preview("p", node_id, "image/png", str(number).encode()))
        elif kind == "text":
            reader.add(ev.NodeText("p", node_id, str(number)))
        else:
            reader.add(ev.NodeStarted("p", str(number), str(number)))
    got = []
    while (event := reader.pop()) is not None:
        got.append(event)
    assert not state.ended
    assert sum(isinstance(event, ev.NodeStarted) for event in got) == kinds.count("started")
    for node_id in ("0", "1", "2"):
        numbers = [n for n, kind in enumerate(kinds) if kind == "progress" and str(n % 3) == node_id]
        kept = [event.value for event in got if isinstance(event, ev.NodeProgress) and event.node_id == node_id]
        assert kept == sorted(kept)
        assert kept[-1:] == numbers[-1:]
    passing = [event for event in got if not isinstance(event, ev.NodeStarted)]
    assert len(passing) <= max(limit, 9)
