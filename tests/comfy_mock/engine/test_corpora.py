"""The engine against what a real ComfyUI 0.33.0 did with some hundred prompts, in the order it did it.

The recorded server ran with PYTHONHASHSEED=0, so its orders of outputs are reproduced and everything is compared
exactly: no line is compared as a set.
"""

from __future__ import annotations

from typing import Any

import pytest
from engine_driver import Driver, corpus, recorded_engine

ORDER = corpus("execution_order")
SEQUENCES = corpus("cache_sequences")


@pytest.fixture(scope="module")
def order_driver() -> Driver:
    return Driver(recorded_engine())


@pytest.mark.parametrize("line", ORDER, ids=lambda line: str(line["id"]))
def test_every_event_of_a_run_comes_in_the_recorded_order(order_driver: Driver, line: dict[str, Any]) -> None:
    order_driver.empty_cache()
    got = order_driver.run(line["prompt"])
    assert got["outputs_to_execute"] == line["outputs_to_execute"]
    assert got["cached"] == line["cached"]
    for place, (expected, event) in enumerate(zip(line["events"], got["events"], strict=False)):
        assert event == expected, f"event {place}"
        assert list(event.get("nodes", ())) == list(expected.get("nodes", ())), f"order of nodes in event {place}"
    assert len(got["events"]) == len(line["events"])
    assert got["history_outputs"] == line["history_outputs"]
    assert got["history_status"] == line["history_status"]


def facts(run: dict[str, Any]) -> dict[str, Any]:
    events = run["events"]
    states = [event for event in events if event["type"] == "progress_state"]
    ends = ("execution_success", "execution_error", "execution_interrupted")
    return {
        "status": 200,
        "outputs_to_execute": run["outputs_to_execute"],
        "cached": run["cached"],
        "executing": [e["node"] for e in events if e["type"] == "executing" and e["node"] is not None],
        "executed": [[e["node"], e["output"]] for e in events if e["type"] == "executed"],
        "progress_nodes": list(states[-1]["nodes"]) if states else [],
        "end": [e["type"] for e in events if e["type"] in ends],
        "history_outputs": run["history_outputs"],
    }


@pytest.fixture(scope="module")
def cache_driver() -> Driver:
    return Driver(recorded_engine())


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: str(sequence["id"]))
def test_the_cache_answers_what_the_real_one_answered(cache_driver: Driver, sequence: dict[str, Any]) -> None:
    cache_driver.empty_cache()
    for place, step in enumerate(sequence["steps"]):
        extra = {key: step[key] for key in ("partial_execution_targets",) if key in step}
        got = cache_driver.run(step["prompt"], **extra)
        if step["status"] != 200:
            assert got == {"status": step["status"], "error_type": step["error_type"]}, f"step {place}"
            continue
        assert got["status"] == 200, f"step {place} is refused: {got}"
        for name, value in facts(got).items():
            assert value == step[name], f"{name} of step {place} ({step['change']})"
