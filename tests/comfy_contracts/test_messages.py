from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from comfy_contracts import har, messages
from comfy_contracts.messages import (
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    FeatureFlags,
    LogEntry,
    Logs,
    NodeProgress,
    Progress,
    ProgressState,
    Status,
    TerminalSize,
    Unknown,
)

RECORDINGS = har.packaged_recordings("0.33.0")
PROMPT = "b324ebee-4e6e-47d3-8545-45fc63b48271"

ERROR_DATA = {
    "prompt_id": PROMPT,
    "node_id": "5",
    "node_type": "SomeNode",
    "executed": ["4"],
    "exception_message": "boom\n",
    "exception_type": "ValueError",
    "traceback": ['  File "a.py", line 1, in f\n'],
    "current_inputs": {"x": [1], "msg": ["boom"]},
    "current_outputs": ["4", "5", "6"],
    "timestamp": 1795443511447,
}

NODE_WITH_MORE = (
    '{"value": 1, "max": 2, "state": "error", "node_id": "1", "prompt_id": "p", "display_node_id": "1", '
    '"parent_node_id": null, "real_node_id": "1", "eta": 0.5}'
)


def canonical(value: Any) -> str:
    """A text that tells 1 from 1.0 and from true, and is blind to the order of keys."""
    return json.dumps(value, sort_keys=True)


@cache
def texts(name: str) -> list[str]:
    sockets = har.load(RECORDINGS[name]).sockets()
    return [m.data for socket in sockets for m in socket.messages if m.type == "receive" and m.opcode == 1]


def progress(node_id: str, value: float, maximum: float, state: str, **more: Any) -> NodeProgress:
    return NodeProgress(value, maximum, state, node_id, PROMPT, node_id, None, node_id, **more)


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recorded_message_is_typed_and_written_back_as_it_was(name: str) -> None:
    for text in texts(name):
        message = messages.decode(text)
        assert not isinstance(message, Unknown)
        assert messages.encode(message) == text
        assert messages.message_data(message) == json.loads(text)["data"]


def test_the_recordings_hold_every_type_of_message() -> None:
    types = {messages.decode(text).type for name in RECORDINGS for text in texts(name)}

    assert types == {
        *("status", "execution_start", "execution_cached", "executing", "progress_state", "progress", "executed"),
        *("execution_success", "execution_error", "execution_interrupted", "feature_flags", "logs"),
    }


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (Status(1), '{"status": {"exec_info": {"queue_remaining": 1}}}'),
        (Status(0, "860a"), '{"status": {"exec_info": {"queue_remaining": 0}}, "sid": "860a"}'),
        (ExecutionStart("p", 5), '{"prompt_id": "p", "timestamp": 5}'),
        (ExecutionCached(["1", "2"], "p", 5), '{"nodes": ["1", "2"], "prompt_id": "p", "timestamp": 5}'),
        (Executing("1", "2", "p"), '{"node": "1", "display_node": "2", "prompt_id": "p"}'),
        (Executing(None, prompt_id="p"), '{"node": null, "prompt_id": "p"}'),
        (Executing("1"), '{"node": "1"}'),
        (Progress(1, 20, "p", "3"), '{"value": 1, "max": 20, "prompt_id": "p", "node": "3"}'),
        (
            Executed("2", "2", {"text": ["é"]}, "p"),
            '{"node": "2", "display_node": "2", "output": {"text": ["\\u00e9"]}, "prompt_id": "p"}',
        ),
        (Executed("1", "1", None, "p"), '{"node": "1", "display_node": "1", "output": null, "prompt_id": "p"}'),
        (ExecutionSuccess("p", 5), '{"prompt_id": "p", "timestamp": 5}'),
        (ExecutionError(**ERROR_DATA), json.dumps(ERROR_DATA)),
        (
            ExecutionInterrupted("p", "3", "KSampler", ["6"], 5),
            '{"prompt_id": "p", "node_id": "3", "node_type": "KSampler", "executed": ["6"], "timestamp": 5}',
        ),
        (FeatureFlags({"supports_preview_metadata": True}), '{"supports_preview_metadata": true}'),
        (FeatureFlags(None), "null"),
        (
            Logs([LogEntry("t", "m\n")], TerminalSize(80, 24)),
            '{"entries": [{"t": "t", "m": "m\\n"}], "size": {"cols": 80, "rows": 24}}',
        ),
        (Logs([], None), '{"entries": [], "size": null}'),
        (Unknown("my.event", [1, {"a": None}]), '[1, {"a": null}]'),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_each_message_has_the_text_of_the_protocol(message: messages.Message, data: str) -> None:
    text = f'{{"type": "{message.type}", "data": {data}}}'

    assert messages.encode(message) == text
    assert messages.decode(text) == message


def test_progress_state_has_the_text_of_the_protocol() -> None:
    child = NodeProgress(1, 2, "running", "2.0.0.1", PROMPT, "2", "2", "2")
    message = ProgressState(PROMPT, {"1": progress("1", 0.0, 1.0, "running"), "2.0.0.1": child})

    text = messages.encode(message)

    assert text == (
        f'{{"type": "progress_state", "data": {{"prompt_id": "{PROMPT}", "nodes": {{'
        f'"1": {{"value": 0.0, "max": 1.0, "state": "running", "node_id": "1", "prompt_id": "{PROMPT}", '
        '"display_node_id": "1", "parent_node_id": null, "real_node_id": "1"}, '
        f'"2.0.0.1": {{"value": 1, "max": 2, "state": "running", "node_id": "2.0.0.1", "prompt_id": "{PROMPT}", '
        '"display_node_id": "2", "parent_node_id": "2", "real_node_id": "2"}}}}'
    )
    assert messages.decode(text) == message


def test_progress_state_writes_further_fields_of_a_node() -> None:
    text = f'{{"type": "progress_state", "data": {{"prompt_id": "p", "nodes": {{"1": {NODE_WITH_MORE}}}}}}}'

    assert messages.encode(messages.decode(text)) == text


@pytest.mark.parametrize("value", [0.0, 1, 1.0, 1e300, float("nan"), float("inf"), float("-inf"), 2**70, 0.1])
def test_progress_state_writes_numbers_as_the_default_dump_does(value: float) -> None:
    message = ProgressState("p", {"ü\ud800": progress('"é', value, value, "finished")})

    text = messages.encode(message)

    assert text == json.dumps({"type": "progress_state", "data": message.to_builtins()})


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("status", '{"status": {"exec_info": {"queue_remaining": 1, "a": 2}, "b": 3}, "c": [4]}'),
        ("executing", '{"node": "1", "display_node": "1", "prompt_id": "p", "extra": {"x": 1}}'),
        ("progress_state", f'{{"prompt_id": "p", "nodes": {{"1": {NODE_WITH_MORE}}}, "more": null}}'),
        ("logs", '{"entries": [{"t": "t", "m": "m", "level": 1}], "size": {"cols": 1, "rows": 2, "z": 3}}'),
        ("execution_start", '{"prompt_id": "p", "timestamp": 1, "envelope": 2}'),
        ("feature_flags", '{"extra": 1, "data": 2}'),
        ("mine", '{"extra": 1, "data": 2}'),
    ],
)
def test_fields_that_nobody_typed_survive_at_every_depth(kind: str, data: str) -> None:
    text = f'{{"type": "{kind}", "data": {data}, "envelope": 5, "extra": null}}'

    message = messages.decode(text)

    assert message.type == kind
    assert message.envelope == {"envelope": 5, "extra": None}
    assert isinstance(message, Unknown) == (kind == "mine")
    assert messages.encode(message) == text


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "executing", "data": {"node": 5}}',
        '{"type": "executing", "data": {}}',
        '{"type": "executing", "data": null}',
        '{"type": "executing"}',
        '{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": "1"}}}}',
        '{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1}}, "sid": null}}',
        '{"type": "status", "data": {"sid": "a"}}',
        '{"type": "progress", "data": {"value": true, "max": 1, "prompt_id": "p", "node": "1"}}',
        '{"type": "execution_start", "data": {"prompt_id": "p", "timestamp": 1.0}}',
        '{"type": "feature_flags", "data": [1]}',
        '{"type": "progress_state", "data": {"prompt_id": "p", "nodes": {"1": {"value": 1}}}}',
        '{"type": "logs", "data": {"entries": "none", "size": null}}',
    ],
)
def test_a_known_type_of_another_shape_is_kept_as_unknown(text: str) -> None:
    message = messages.decode(text)

    assert isinstance(message, Unknown)
    assert messages.encode(message) == text


def test_feature_flags_may_come_without_data() -> None:
    message = messages.decode('{"type": "feature_flags"}')

    assert message == FeatureFlags()
    assert message.data is UNSET
    assert messages.encode(message) == '{"type": "feature_flags"}'


def test_a_blockers_error_has_no_timestamp() -> None:
    data = {**ERROR_DATA, "current_inputs": [], "traceback": []}
    del data["timestamp"]
    text = json.dumps({"type": "execution_error", "data": data})

    message = messages.decode(text)

    assert isinstance(message, ExecutionError)
    assert message.timestamp is UNSET
    assert messages.encode(message) == text


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", "5", "null", '"str"', "{}", '{"type": 7}', '{"data": {}}', b"\xff", "[" * 100_000]
)
def test_what_is_no_message_is_refused(text: str | bytes) -> None:
    with pytest.raises(messages.MessageError, match="a message must be"):
        messages.decode(text)


def test_a_long_text_is_not_repeated_whole_in_the_error() -> None:
    with pytest.raises(messages.MessageError) as caught:
        messages.decode("x" * 10_000)

    assert len(str(caught.value)) < 300


def test_a_copy_of_a_node_does_not_keep_the_text_of_the_old_one() -> None:
    node = progress("1", 0, 2, "running")
    before = node.wire_text

    after = progress("1", 1, 2, "running").wire_text

    assert before != after
    assert '"value": 1' in after


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["extra", "envelope", "data", "type", "node", "value", "prompt_id", "nodes", "status", "sid"])


@st.composite
def damaged_messages(draw: st.DrawFn) -> Any:
    """A recorded message in which something was replaced, removed or added, at any depth."""
    recorded = texts(draw(st.sampled_from(["t2i_fresh", "ws_api_alias_and_logs", "interrupt_global"])))
    message = copy.deepcopy(json.loads(draw(st.sampled_from(recorded))))
    for _ in range(draw(st.integers(1, 3))):
        place = message
        while True:
            children = [child for child in place.values() if isinstance(child, dict)]
            if not children or draw(st.booleans()):
                break
            place = draw(st.sampled_from(children))
        key = draw((st.sampled_from(list(place)) if place else names) | names | st.text(max_size=3))
        if key in place and draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(json_values)
    if not isinstance(message.get("type"), str):
        message["type"] = "executed"
    return message


@given(damaged_messages())
def test_nothing_is_lost_whatever_comes(message: Any) -> None:
    decoded = messages.decode(json.dumps(message))

    assert canonical(json.loads(messages.encode(decoded))) == canonical(message)


@given(st.text(st.characters(exclude_categories=[])), json_values)
@example("\ud800", {"\udfff": "\ud800"})
def test_an_unknown_type_keeps_its_data(kind: str, data: Any) -> None:
    text = json.dumps({"type": f"custom.{kind}", "data": data})

    message = messages.decode(text)

    assert isinstance(message, Unknown)
    assert messages.encode(message) == text
