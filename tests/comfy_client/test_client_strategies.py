"""The client on generated traces and schedules of faults, over real sockets: it comes to the truth, and in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
from both_clients import PACE, RETRIES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from misbehaving import serving
from trace_server import TraceServer

from comfy_client import (
    Client,
    ExecutionFailed,
    ExecutionInterrupted,
    PromptFailed,
    ServerError,
    ServerUnreachable,
    SocketSettings,
)
from comfy_client import events as ev
from comfy_contracts.strategies import Trace, prompts, traces
from comfy_mock import ComfyMock
from comfy_mock.script import RequestRule, Script, ServerRule, SocketRule, to_yaml
from comfy_mock.strategies import FAULT_KINDS, fault_schedules

PATHS = ("websocket", "auto", "polling")
Path = Literal["websocket", "auto", "polling"]
WAIT = 20.0
QUICK = replace(PACE, poll_interval=0.01, watch_interval=0.05, lost_after=0.3, entry_after=0.2, reconnect_first=0.005)
SOCKET = SocketSettings(ping_interval=0.2, ping_timeout=0.2)
"""A server that has fallen silent is noticed soon."""

CLASSES = ["EmptyImage", "ImageInvert", "ImageScale", "PreviewImage", "SaveImage", "ComfySwitchNode"]
a_prompt = prompts(classes=CLASSES, max_nodes=5, max_outputs=2, largest=8)
a_trace = a_prompt.flatmap(lambda prompt: st.booleans().flatmap(lambda flag: traces(prompt, metadata=flag)))
bounded = settings(max_examples=max(25, settings().max_examples // 4), suppress_health_check=list(HealthCheck))


def client_for(url: str) -> Client:
    return Client(url, pace=QUICK, retries=RETRIES, socket=SOCKET, trust_env=False, verify=False)


def outcome_of(job: Any) -> tuple[str, Any]:
    """How a job ended, and what it gave."""
    outcome = job.wait(WAIT)
    if outcome == "success":
        return outcome, job.result(WAIT).outputs
    expected = {"error": ExecutionFailed, "interrupted": ExecutionInterrupted}
    with pytest.raises(expected.get(outcome, PromptFailed)):
        job.result(WAIT)
    return outcome, None


@pytest.fixture(scope="module")
def teller() -> Iterator[tuple[TraceServer, str]]:
    server = TraceServer()
    with serving(server) as (url, _loop):
        yield server, url


@bounded
@given(told=st.lists(a_trace, min_size=1, max_size=2), drop=st.none() | st.integers(1, 25), path=st.sampled_from(PATHS))
def test_each_trace_comes_to_its_end(
    teller: tuple[TraceServer, str], told: list[Trace], drop: int | None, path: Path
) -> None:
    server, url = teller
    server.play(told, drop)
    with client_for(url) as client:
        for trace in told:
            job = client.submit(trace.prompt, path=path)
            events = list(job.events())
            assert outcome_of(job) == (trace.ending, trace.outputs if trace.ending == "success" else None)
            check_events(events, trace, job.prompt_id, heard_all=drop is None and path != "polling")


def check_events(events: list[Any], trace: Trace, prompt_id: str, *, heard_all: bool) -> None:
    """None is another's, none comes twice, and nothing is told that was not said."""
    assert {event.prompt_id for event in events} == {prompt_id}
    assert events[-1] == ev.Ended(prompt_id, trace.ending)
    shown = {event.node_id: event.output for event in events if isinstance(event, ev.NodeOutput)}
    begun = [event.node_id for event in events if isinstance(event, ev.NodeStarted)]
    assert len(begun) == len(set(begun))
    assert set(begun) <= set(trace.order)
    if heard_all:
        assert begun == list(dict.fromkeys(trace.order))
        assert shown == trace.outputs
    for kind in (ev.Started, ev.Cached, ev.Ended):
        assert sum(isinstance(event, kind) for event in events) <= 1


PICTURE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 2, "color": 3}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    "4": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}


@pytest.fixture(scope="module")
def fake() -> Iterator[ComfyMock]:
    with ComfyMock() as server:
        yield server


@bounded
@given(script=fault_schedules(), path=st.sampled_from(PATHS))
def test_no_legal_schedule_of_faults_leads_astray(fake: ComfyMock, script: Script, path: Path) -> None:
    fake.reset(script=script)
    with client_for(fake.url) as client:
        try:
            job = client.submit(PICTURE, path=path)
            outcome, outputs = outcome_of(job)
        except (ServerError, ServerUnreachable):
            # an answer that is an error, or none: that much is true, whatever became of the prompt
            assert has(script, RequestRule, SocketRule, ServerRule)
            return
    entry = fake.engine.queue.history.get(job.prompt_id)
    if outcome == "lost":
        assert entry is None
        assert has(script, ServerRule)
    elif entry is not None:  # else it had ended before a restart
        ends = {"execution_success": "success", "execution_error": "error", "execution_interrupted": "interrupted"}
        assert outcome == ends[entry["status"]["messages"][-1][0]]
        assert outputs in (None, entry["outputs"])
    else:
        assert has(script, ServerRule)


def has(script: Script, *kinds: type[Any]) -> bool:
    return any(isinstance(rule, kinds) for rule in script.rules)


@given(fault_schedules(longest=0.5))
def test_schedules_are_legal_end_by_themselves_and_can_be_written_down(script: Script) -> None:
    to_yaml(script)
    assert len(script.rules) <= 3
    for rule in script.rules:
        assert rule.legality == "legal"
        assert (rule.times, rule.optional) == (1, True)
        assert getattr(rule, "hold", None) is None
        assert getattr(rule, "action", "restart") == "restart"
        for name in ("delay", "seconds", "down"):
            assert (getattr(rule, name, 0) or 0) <= 0.5


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_each_kind_of_fault_is_taken_by_a_server(fake: ComfyMock, kind: Any) -> None:
    seen = 0

    @settings(max_examples=10, suppress_health_check=list(HealthCheck))
    @given(fault_schedules([kind]))
    def taken(script: Script) -> None:
        nonlocal seen
        fake.reset(script=script)
        seen += len(script.rules)

    taken()
    assert seen


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="there are no faults of 'weather'; the kinds are: answers, sockets, "):
        fault_schedules(["weather"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no kind of faults was named"):
        fault_schedules([])
