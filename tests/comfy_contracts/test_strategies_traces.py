"""Traces that strategies make are what protocol 5 and 6 allow, and what a real server and the fake have done."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st

from comfy_contracts import frames, messages
from comfy_contracts.catalogue import Catalogue
from comfy_contracts.results import HistoryEntry
from comfy_contracts.strategies import Trace, prompts, traces
from comfy_contracts.strategies.order import Pending, cache_key, links
from comfy_mock.engine.engine import Engine

CATALOGUE = Catalogue.packaged()
PICTURES = ["EmptyImage", "ImageInvert", "ImageBatch", "ImageScale", "SolidMask", "MaskToImage", "PreviewImage"]
SWITCHED = [*PICTURES, "ComfySwitchNode", "ImageCropV2"]
TERMINAL = (messages.ExecutionSuccess, messages.ExecutionError, messages.ExecutionInterrupted)
made = prompts(classes=SWITCHED, max_nodes=7).flatmap(lambda prompt: traces(prompt, progress=True))


def is_blocked(payload: Any) -> bool:
    return isinstance(payload, messages.ExecutionError) and payload.timestamp is messages.UNSET


def told(trace: Trace, *kinds: Any) -> list[Any]:
    return [payload for payload in trace.payloads if isinstance(payload, kinds) and not is_blocked(payload)]


def check_its_frame(trace: Trace) -> None:
    """It has its beginning and one end."""
    start, (success,) = trace.payloads[:3], told(trace, *TERMINAL)
    assert [type(payload) for payload in start] == [messages.Status, messages.Status, messages.ExecutionStart]
    assert trace.payloads[3] == messages.ExecutionCached(trace.cached, trace.prompt_id, trace.payloads[3].timestamp)  # type: ignore[union-attr]
    remaining = told(trace, messages.Status)[0].queue_remaining
    closing = messages.Executing(None, prompt_id=trace.prompt_id)
    assert trace.payloads[-3:] == [success, messages.Status(remaining - 1), closing]
    assert {"ExecutionSuccess": "success", "ExecutionError": "error"}.get(
        type(success).__name__, "interrupted"
    ) == trace.ending
    stamps = [payload.timestamp for payload in trace.payloads if isinstance(getattr(payload, "timestamp", None), int)]
    assert stamps == sorted(stamps)


def check_its_nodes(trace: Trace) -> None:
    """Nodes begin, go on and finish in a legal way."""
    states: dict[str, Any] = {}
    begun: list[str] = []
    for payload in trace.payloads:
        if isinstance(payload, messages.ProgressState):
            assert list(payload.nodes)[: len(states)] == list(states)  # it grows, in the order of first mention
            changed = [key for key, state in payload.nodes.items() if states.get(key) != state]
            assert len(changed) <= 1
            for key in changed:
                assert key not in states or states[key].state == "running"
                assert payload.nodes[key].value <= payload.nodes[key].max
            states = dict(payload.nodes)
        elif isinstance(payload, messages.Executing) and payload.node is not None:
            assert (states[payload.node].value, states[payload.node].state) == (0.0, "running")
            begun.append(payload.node)
        elif isinstance(payload, messages.Progress):
            assert (states[payload.node].value, states[payload.node].max) == (payload.value, payload.max)
    assert begun == trace.order
    assert not set(begun) & set(trace.cached)
    if trace.ending == "success":
        assert {state.state for state in states.values()} == {"finished"}
        outputs = {key for key, node in trace.prompt.items() if CATALOGUE[node["class_type"]].output_node}
        assert outputs <= set(states)


def check_its_order(trace: Trace) -> None:
    """No node begins before what it needs."""
    finished = set(trace.cached)
    for payload in trace.payloads:
        if isinstance(payload, messages.ProgressState):
            finished |= {key for key, state in payload.nodes.items() if state.state == "finished"}
        elif isinstance(payload, messages.Executing) and payload.node in trace.prompt:
            node = trace.prompt[payload.node]
            if node["class_type"] != "ComfySwitchNode":
                assert {source for _name, source, _slot in links(node)} <= finished


def check_its_history(trace: Trace) -> None:
    """The history says what the socket said."""
    entry = HistoryEntry.from_builtins(json.loads(json.dumps(trace.entry)))
    shown = {message.node: message.output for message in told(trace, messages.Executed) if message.output is not None}
    assert trace.outputs == shown
    assert list(trace.outputs) == list(trace.entry["meta"])
    kept = told(trace, messages.ExecutionStart, messages.ExecutionCached, *TERMINAL)
    assert trace.entry["status"]["messages"] == [[message.type, message.to_builtins()] for message in kept]
    assert entry.status is not None
    assert entry.status.completed is (trace.ending == "success")


def check_its_wire_form(trace: Trace) -> None:
    """It survives the wire."""
    for payload, data in zip(trace.payloads, trace.encoded(), strict=True):
        assert (frames.decode(data) if isinstance(data, bytes) else messages.decode(data)) == payload


@given(made)
def test_traces_are_legal(trace: Trace) -> None:
    check_its_frame(trace)
    check_its_nodes(trace)
    check_its_order(trace)
    check_its_history(trace)
    check_its_wire_form(trace)


def expands(trace: Trace) -> bool:
    return any("." in node for node in trace.order)


SORTS: dict[str, Callable[[Trace], Any]] = {
    "all cached": lambda trace: not trace.order,
    "some cached": lambda trace: trace.cached and trace.order,
    "fails late": lambda trace: trace.ending == "error" and trace.outputs,
    "interrupted": lambda trace: trace.ending == "interrupted",
    "expands": expands,
    "a child fails": lambda trace: expands(trace) and trace.ending == "error",
    "blocked": lambda trace: any(map(is_blocked, trace.payloads)) and trace.ending == "success",
    "a preview": lambda trace: told(trace, frames.PreviewFrame),
    "a text": lambda trace: told(trace, frames.TextFrame),
    "a lazy input": lambda trace: max(Counter(trace.order).values(), default=0) == 2,
    "nothing shown": lambda trace: any(message.output is None for message in told(trace, messages.Executed)),
}


def test_all_sorts_of_traces_come() -> None:
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
        "4": {"class_type": "ComfySwitchNode", "inputs": {"switch": True, "on_true": ["1", 0], "on_false": ["1", 0]}},
        "5": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}},
    }
    seen: set[str] = set()

    @settings(max_examples=600, phases=[Phase.generate])
    @given(traces(prompt))
    def look(trace: Trace) -> None:
        seen.update(name for name in SORTS.keys() - seen if SORTS[name](trace))

    look()
    assert seen == set(SORTS)


def test_a_trace_is_shown_by_its_course() -> None:
    prompt = {"1": {"class_type": "EmptyImage", "inputs": {}}, "2": {"class_type": "PreviewImage", "inputs": {}}}
    prompt["2"]["inputs"] = {"images": ["1", 0]}
    freely = {"cached": False, "expansions": False, "blockers": False, "progress": False}
    plain = traces(prompt, endings=["success"], prompt_id="p", **freely)
    shown = repr(find(plain, lambda trace: not trace.outputs, settings=settings(derandomize=True)))
    assert shown.endswith(
        "prompt_id='p', ending='success', course='status 1 · status 1 · execution_start · execution_cached []"
        " · PS{1 r 0.0/1.0} · executing 1 · PS{1 f 1.0/1.0}"
        " · PS{1 f 1.0/1.0, 2 r 0.0/1.0} · executing 2 · PS{1 f 1.0/1.0, 2 f 1.0/1.0}"
        " · execution_success · status 0 · executing null')"
    )


def test_a_client_with_the_flag_gets_other_previews() -> None:
    nodes = {"1": ("EmptyImage", {}), "2": ("PreviewImage", {"images": ["1", 0]})}
    prompt = {key: {"class_type": name, "inputs": inputs} for key, (name, inputs) in nodes.items()}

    def has_preview(trace: Trace) -> bool:
        return any(isinstance(payload, frames.PreviewWithMetadata) for payload in trace.payloads)

    trace = find(traces(prompt, metadata=True, prompt_id="p"), has_preview, settings=settings(derandomize=True))
    place = next(
        place for place, payload in enumerate(trace.payloads) if isinstance(payload, frames.PreviewWithMetadata)
    )
    assert isinstance(trace.payloads[place - 1], messages.ProgressState)
    assert isinstance(trace.payloads[place + 1], messages.Progress)
    assert trace.prompt_id == "p"


@pytest.mark.parametrize(
    ("prompt", "arguments", "message"),
    [
        ({}, {"endings": []}, "a run ends in one of these ways: success, error, interrupted"),
        (
            {"1": {"class_type": "Nope", "inputs": {}}},
            {},
            "node 1 is of a class that the catalogue does not have: 'Nope'",
        ),
    ],
)
def test_what_has_no_trace_is_refused(prompt: Any, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        traces(prompt, **arguments)


# -- against what servers did


def recorded(name: str) -> list[dict[str, Any]]:
    packed = resources.files("comfy_contracts").joinpath("oracle", "comfyui-0.33.0", f"{name}.jsonl.gz").read_bytes()
    return [json.loads(line) for line in gzip.decompress(packed).splitlines()]


def is_lazy(prompt: dict[str, Any], node_id: str, name: str) -> bool:
    definition = CATALOGUE[prompt[node_id]["class_type"]]
    spec = {**definition.optional, **definition.required}.get(name, ["", {}])
    return bool(spec[1].get("lazy")) if len(spec) > 1 else False


def in_order(prompt: dict[str, Any], outputs: list[str], cached: list[str]) -> list[str]:
    """Which nodes are begun, and in which order, where nothing fails and nothing is lazy."""
    keys = {node_id: cache_key(prompt, node_id, lambda _: False) for node_id in prompt}
    there = {keys[node_id] for node_id in cached}
    is_output = {node_id: CATALOGUE[node["class_type"]].output_node for node_id, node in prompt.items()}
    pending = Pending(
        prompt,
        is_cached=lambda node_id: keys[node_id] in there,
        is_output=is_output.__getitem__,
        goes_first=is_output.__getitem__,
        is_lazy=lambda node_id, name: is_lazy(prompt, node_id, name),
    )
    for node_id in outputs:
        pending.add(node_id)
    begun = []
    while pending:
        node_id = pending.pick()
        if keys[node_id] not in there:
            begun.append(node_id)
            there.add(keys[node_id])
        pending.done(node_id)
    return begun


def test_nodes_have_their_turn_in_the_order_of_a_real_server() -> None:
    compared = 0
    for line in recorded("execution_order"):
        prompt = line["prompt"]
        is_plain = not any(is_lazy(prompt, node_id, name) for node_id in prompt for name in prompt[node_id]["inputs"])
        if line["history_status"] == "success" and is_plain:
            begun = [event["node"] for event in line["events"] if event["type"] == "executing" and event["node"]]
            assert in_order(prompt, line["outputs_to_execute"], line["cached"]) == begun, line["id"]
            compared += 1
    assert compared > 100


def watched(engine: Engine, prompt: dict[str, Any], client_id: str) -> tuple[str, list[Any]]:
    answer = json.loads(engine.submit({"prompt": json.loads(json.dumps(prompt)), "client_id": client_id}).body)
    while (due := engine.next_wakeup()) is not None:
        engine.advance(due)
    payloads = [outgoing.payload for outgoing in engine.take_outgoing()]
    return answer["prompt_id"], payloads


def without_freedom(payloads: list[Any]) -> list[Any]:
    """Without what a class decides (what nodes show) and without times."""
    kept = []
    for payload in payloads:
        if isinstance(payload, (messages.ProgressState, messages.Executing, messages.Status)):
            kept.append(messages.encode(payload))  # in which 1 and 1.0 differ
        elif isinstance(payload, (messages.ExecutionStart, messages.ExecutionCached, messages.ExecutionSuccess)):
            kept.append({key: value for key, value in payload.to_builtins().items() if key != "timestamp"})
    return kept


@settings(max_examples=max(40, settings().max_examples // 4))
@given(prompts(classes=PICTURES, max_nodes=6, max_outputs=2), st.booleans(), st.data())
def test_the_fake_does_what_a_trace_says(prompt: dict[str, Any], again: bool, data: st.DataObject) -> None:
    engine = Engine(now=1_767_225_600.0)
    engine.connect("me")
    engine.take_outgoing()
    if again:
        watched(engine, prompt, "me")
    prompt_id, payloads = watched(engine, prompt, "me")
    trace = data.draw(
        traces(
            prompt,
            endings=["success"],
            cached=again,
            expansions=False,
            blockers=False,
            progress=False,
            prompt_id=prompt_id,
        )
    )
    item = engine.queue.history[prompt_id]["prompt"]
    remaining = told(trace, messages.Status)[0].queue_remaining
    assume(trace.entry["prompt"][4] == item[4] and remaining == 1)
    assume(len(trace.cached) == (len(prompt) if again else 0))
    assert without_freedom(payloads) == without_freedom(trace.payloads)
