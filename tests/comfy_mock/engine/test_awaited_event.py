"""Which event is meant, and what is said when it does not come (protocol 6.6, 6.8)."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_contracts import messages
from comfy_contracts.frames import JPEG, PreviewFrame, PreviewWithMetadata, TextFrame
from comfy_mock.engine.awaited_event import AwaitedEvent, EventNeverCame


def state(node_id: str, value: float) -> messages.NodeProgress:
    return messages.NodeProgress(
        value=value,
        max=20,
        state="running",
        node_id=node_id,
        prompt_id="p",
        display_node_id=node_id,
        parent_node_id=None,
        real_node_id=node_id,
    )


PROGRESS = messages.Progress(value=3, max=20, prompt_id="p", node="4")
STATES = messages.ProgressState(prompt_id="p", nodes={"1": state("1", 1.0), "4": state("4", 3)})
CLOSING = messages.Executing(node=None, prompt_id="p")
EXECUTING = messages.Executing(node="4", display_node="4", prompt_id="p")
INTERRUPTED = messages.ExecutionInterrupted(prompt_id="p", node_id="4", node_type="X", executed=[], timestamp=0)
STATUS = messages.Status(queue_remaining=0)
OWN = messages.Unknown(type="mine", data={"node": "4", "value": 3})
LIST = messages.Unknown(type="mine", data=[1])
PREVIEW = PreviewFrame(JPEG, b"")
RICH = PreviewWithMetadata("4", "p", "4", None, "4", "image/jpeg")
TEXT = TextFrame("4", "hello")


@pytest.mark.parametrize(
    ("event", "details", "meant"),
    [
        ("progress", {}, [PROGRESS]),
        ("progress", {"node": "4", "value": 3, "prompt_id": "p"}, [PROGRESS]),
        ("progress", {"value": 4}, []),
        ("progress", {"node": "5"}, []),
        ("progress", {"prompt_id": "q"}, []),
        ("progress_state", {"node": "4", "value": 3}, [STATES]),
        ("progress_state", {"node": "1", "value": 3}, []),
        ("executing", {}, [CLOSING, EXECUTING]),
        ("executing", {"node": None}, [CLOSING]),
        ("executing", {"node": "4"}, [EXECUTING]),
        ("execution_interrupted", {"node": "4"}, [INTERRUPTED]),
        ("status", {}, [STATUS]),
        ("mine", {}, [OWN, LIST]),
        ("mine", {"node": "4", "value": 3}, [OWN]),
        ("preview", {}, [PREVIEW, RICH]),
        ("preview", {"node": "4"}, [RICH]),
        ("text", {"node": "4"}, [TEXT]),
        ("executed", {}, []),
    ],
)
def test_an_event_is_told_from_others(event: str, details: dict[str, Any], meant: list[Any]) -> None:
    awaited = AwaitedEvent(event, **details)
    everything = [PROGRESS, STATES, CLOSING, EXECUTING, INTERRUPTED, STATUS, OWN, LIST, PREVIEW, RICH, TEXT]
    assert [payload for payload in everything if awaited.matches(payload)] == meant


@pytest.mark.parametrize(
    ("event", "details", "complaint"),
    [
        ("status", {"node": "4"}, "no 'status' event has a node; it has neither node, value nor prompt_id"),
        ("executed", {"value": 4}, "no 'executed' event has a value; it has node, prompt_id"),
        ("execution_start", {"node": None}, "no 'execution_start' event has a node; it has prompt_id"),
    ],
)
def test_what_no_event_of_a_type_has_is_refused(event: str, details: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        AwaitedEvent(event, **details)


def test_what_came_is_told_without_the_states_of_nodes_unless_they_are_meant() -> None:
    seen = [STATUS, STATES, PROGRESS, PREVIEW, RICH, TEXT, OWN, LIST, CLOSING]
    told = str(EventNeverCame(AwaitedEvent("executed", node="9"), seen)).splitlines()
    assert told == [
        "the server came to rest before executed node='9'; what came:",
        *("  status", "  progress 4 3/20", "  preview", "  preview 4", "  text 4"),
        *("  mine 4 3", "  mine", "  executing None"),
    ]
    told = str(EventNeverCame(AwaitedEvent("progress_state", value=7), seen)).splitlines()
    assert told[2] == "  progress_state 1 1.0/20 4 3/20"


def test_a_misspelt_type_is_recognized_and_a_long_list_cut() -> None:
    told = str(EventNeverCame(AwaitedEvent("execution_sucess"), [PROGRESS] * 50 + [CLOSING])).splitlines()
    assert "before execution_sucess (did you mean 'execution_success'?); what came:" in told[0]
    assert told[1] == "  (11 more)"
    assert len(told) == 42
    assert told[-1] == "  executing None"
