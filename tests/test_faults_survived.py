"""Each fault that a real server or network can have is survived by the client, and no other leads it to wrong results.

What a client may do about a fault is documented in docs/client.md; where it cannot come to a result, the error must be
the right one. The table is in `fault_table`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace

import msgspec
import pytest

from comfy_client import _async_client, _sync_client
from comfy_mock import ComfyMock
from comfy_mock.script import MessageRule, NodeRule, PointRule, RequestRule, ServerRule, SocketRule
from fault_play import Fault, Hasty, Kind, Made, Stage, Way
from fault_table import TABLE

CASES = [
    pytest.param(fault, way, kind, id=f"{fault.name}-{way}-{kind}")
    for fault in TABLE
    for way in fault.ways
    for kind in fault.kinds
]
BEHAVIOURS = {
    RequestRule: ("status", "body", "headers", "retry_after", "handled", "delay", "hold", "reset", "truncate"),
    SocketRule: ("refuse", "end", "code", "event", "messages", "seconds", "hold"),
    MessageRule: ("lose", "duplicate", "delay", "reorder", "oversize"),
    PointRule: ("point", "polls", "hold", "seconds"),
    ServerRule: ("action", "down"),
    NodeRule: ("raises", "holds", "duration", "texts", "messages", "binaries", "logs"),
}
CHOICES: dict[type, dict[str, set[str]]] = {
    RequestRule: {"reset": {"before_headers", "after_headers"}},
    SocketRule: {"end": {"close", "abort", "silence", "stall"}},
    PointRule: {
        "point": {
            *("before_taken", "before_first_event", "after_success_before_history", "after_history_before_end"),
            *("after_upgrade", "between_queue_and_interrupt", "queue_empty_before_history", "events_before_answer"),
        }
    },
    ServerRule: {"action": {"restart", "stop"}},
}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    # what there is by now need not be looked through for connections each time
    gc.collect()
    gc.freeze()
    with ComfyMock() as server:
        stage = Stage(server)
        yield stage
        stage.helper.shutdown()
    gc.unfreeze()


@pytest.fixture(scope="module")
def sunny(stage: Stage) -> list[Made]:
    """What two runs give without a fault."""
    made = stage.play(Fault("none", (), task="two runs", prompts=2), "blocking", "websocket")
    assert [picture[:4] for run in made for picture in run.pictures] == [b"\x89PNG"] * 2
    assert made[0].pictures != made[1].pictures
    return made


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_sync_client, _async_client):
        monkeypatch.setattr(module, "random", SimpleNamespace(Random=Hasty))


@pytest.mark.parametrize(("fault", "way", "kind"), CASES)
def test_a_fault(stage: Stage, sunny: list[Made], fault: Fault, way: Way, kind: Kind) -> None:
    if fault.outcome is None:
        assert stage.play(fault, kind, way) == sunny[: fault.runs]
    else:
        with pytest.raises(fault.outcome) as caught:
            stage.play(fault, kind, way)
        assert type(caught.value) is fault.outcome
    stage.left_in_order()


def test_the_table_says_of_each_fault_whether_a_real_server_can_have_it() -> None:
    for fault in TABLE:
        legalities = [rule.legality for rule in fault.rules]
        assert legalities == [fault.legality, *["legal"] * (len(legalities) - 1)][: len(legalities)], fault.name


def test_the_table_has_every_behaviour_of_every_rule() -> None:
    rules = [rule for fault in TABLE for rule in fault.rules]
    for kind, names in BEHAVIOURS.items():
        blank = {field.name: field.default for field in msgspec.structs.fields(kind)}
        own = [rule for rule in rules if type(rule) is kind]
        for name in names:
            assert any(getattr(rule, name) != blank[name] for rule in own), (kind, name)
        for name, choices in CHOICES.get(kind, {}).items():
            assert {getattr(rule, name) for rule in own} - {None} == choices
