"""Whatever rules say of the nodes of a prompt, its run ends, is in the history, and is told in a legal way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_events import CLIENT, text_to_image
from scripted_watch import ScriptedWatch

from comfy_contracts import messages
from comfy_mock.engine.script.model import (
    BinaryAt,
    Expand,
    Failure,
    Hold,
    LogAt,
    MessageAt,
    NodeMatch,
    NodeRule,
    OutputFile,
    PointRule,
    Previews,
    TextAt,
)

GRAPH = text_to_image(3)
TERMINAL = (messages.ExecutionSuccess, messages.ExecutionError, messages.ExecutionInterrupted)
STEPS = st.integers(0, 5)
WHO = st.sampled_from(["client", "everybody"])
SECONDS = st.sampled_from([0.0, 0.001, 0.1, 2.5])
PNG = b"\x89PNG\r\n\x1a\n not one"

MATCHES = st.builds(
    NodeMatch,
    node=st.none() | st.sampled_from(sorted(GRAPH)),
    class_type=st.none() | st.sampled_from(sorted({node["class_type"] for node in GRAPH.values()})),
    prompt=st.none() | st.integers(1, 2),
)
NODE_RULES = st.builds(
    NodeRule,
    match=MATCHES,
    times=st.none() | st.integers(0, 2),
    after=st.integers(0, 1),
    priority=st.integers(-1, 1),
    duration=st.none() | SECONDS,
    steps=st.none() | STEPS,
    step_time=SECONDS | st.lists(SECONDS, min_size=1, max_size=3),
    previews=st.booleans() | st.builds(Previews, size=st.integers(1, 16), images=st.lists(st.just(PNG), max_size=2)),
    texts=st.lists(st.builds(TextAt, text=st.text(max_size=3), at_step=STEPS), max_size=2),
    messages=st.lists(st.builds(MessageAt, type=st.just("own"), at_step=STEPS, to=WHO), max_size=2),
    binaries=st.lists(st.builds(BinaryAt, event=st.integers(5, 9), data=st.binary(max_size=3), to=WHO), max_size=2),
    logs=st.lists(st.builds(LogAt, text=st.just("line"), at_step=STEPS), max_size=1),
    holds=st.lists(st.builds(Hold, at_step=STEPS), max_size=2),
    ui=st.none() | st.just({}) | st.just({"images": [{"filename": "x.png", "subfolder": "", "type": "output"}]}),
    files=st.lists(st.builds(OutputFile, filename=st.just("made.png"), data=st.binary(max_size=3)), max_size=1),
    text=st.none() | st.text(max_size=3),
    values=st.none() | st.lists(st.none() | st.integers() | st.text(max_size=2), max_size=3),
    raises=st.none() | st.just("out_of_memory") | st.builds(Failure, at_step=st.none() | STEPS),
    expand=st.none() | st.just(Expand(nodes={"1": {"class_type": "PreviewAny", "inputs": {"source": "in"}}})),
    cached=st.none() | st.booleans(),
)
POINT_RULES = st.builds(
    PointRule,
    point=st.sampled_from(
        [
            "before_taken",
            "before_first_event",
            "after_success_before_history",
            "after_history_before_end",
            "queue_empty_before_history",
        ]
    ),
    times=st.none() | st.integers(1, 2),
    polls=st.none() | st.integers(1, 2),
    hold=st.none() | st.just("gap"),
    seconds=st.none() | SECONDS,
)
RULES = st.lists(NODE_RULES | POINT_RULES, max_size=4)
DEEDS = st.lists(st.sampled_from(["interrupt", "release", "poll"]), max_size=6)


@settings(deadline=None, max_examples=150)
@given(rules=RULES, deeds=DEEDS)
def test_rules_never_break_a_server(rules: list[Any], deeds: list[str]) -> None:
    watch = ScriptedWatch(*rules)
    ids = [watch.post(GRAPH), watch.post(GRAPH)]
    events = list(carried_out(watch, deeds))
    assert list(watch.engine.queue.history) == ids
    assert watch.engine.queue_remaining == 0
    assert not watch.director.held
    assert not watch.engine.standing()
    for prompt_id in ids:
        check_run([event for event in events if getattr(event, "prompt_id", None) == prompt_id], prompt_id)
        check_entry(watch.engine.queue.history[prompt_id])
    for use in watch.director.uses:
        assert use.rule.times is None or use.served <= use.rule.times


def carried_out(watch: ScriptedWatch, deeds: list[str]) -> Iterator[Any]:
    """All that the client is told; when the server stands still something is done, and at last what lets it go on."""
    left = list(deeds)
    for _ in range(200):
        yield from watch.rest()
        if not watch.engine.queue_remaining and not watch.engine.standing():
            return
        deed = left.pop(0) if left else "all"
        if deed == "interrupt":
            watch.engine.interrupt()
        if deed in ("release", "all"):
            watch.director.release()
        if deed in ("poll", "all"):
            watch.engine.polled()
    raise AssertionError(f"it never ends: {watch.engine.standing()}")


def check_run(events: list[Any], prompt_id: str) -> None:
    assert isinstance(events[0], messages.ExecutionStart)
    assert isinstance(events[1], messages.ExecutionCached)
    ends = [event for event in events if isinstance(event, TERMINAL)]
    assert len(ends) == 1
    assert events[-2:] == [ends[0], messages.Executing(node=None, prompt_id=prompt_id)]
    started: set[str] = set()
    finished: set[str] = set()
    for event in events:
        if isinstance(event, messages.Executing) and event.node is not None:
            assert event.node not in finished
            started.add(event.node)
        if isinstance(event, messages.Progress):
            assert event.node in started - finished
            assert 0 < event.value <= event.max
        if isinstance(event, messages.ProgressState):
            finished |= {node_id for node_id, state in event.nodes.items() if state.state == "finished"}
    bars = {event.node for event in events if isinstance(event, messages.Progress)}
    for bar in bars:
        values = [event.value for event in events if isinstance(event, messages.Progress) and event.node == bar]
        assert values == sorted(values)
    # a result that was in the cache is not computed again
    assert not started & set(events[1].nodes)


def check_entry(entry: dict[str, Any]) -> None:
    names = [name for name, _data in entry["status"]["messages"]]
    assert names[:2] == ["execution_start", "execution_cached"]
    assert entry["status"]["completed"] == (names[2] == "execution_success")
    assert entry["outputs"].keys() == entry["meta"].keys()
    json.dumps(entry)


@settings(deadline=None, max_examples=40)
@given(rules=RULES)
def test_the_same_rules_give_the_same_run(rules: list[Any]) -> None:
    def told() -> list[Any]:
        watch = ScriptedWatch(*rules)
        watch.post(GRAPH, CLIENT)
        watch.post(GRAPH, None)
        return list(carried_out(watch, []))

    assert told() == told()
