"""Runs that a script holds: what has been sent by then, and what happens after (protocol 5.9, 5.12, 6.7)."""

from __future__ import annotations

import pytest
from protocol_events import NOW, image, node, text_to_image
from scripted_watch import SAMPLER, ScriptedWatch, told

from comfy_contracts import messages
from comfy_mock.engine.awaited_event import AwaitedEvent, EventNeverCame
from comfy_mock.engine.nodes.api import Call, Output
from comfy_mock.engine.script.director import Director
from comfy_mock.engine.script.model import Hold, MessageAt, NodeMatch, NodeRule, Script, TextAt

PREVIEWED = {"1": image(), "2": node("PreviewImage", images=["1", 0])}
AT_THREE = NodeRule(match=SAMPLER, steps=20, holds=[Hold(name="three", at_step=3)])


def progress(payloads: list[object]) -> list[float]:
    return [payload.value for payload in payloads if isinstance(payload, messages.Progress)]


def test_everything_of_the_step_comes_before_the_hold() -> None:
    watch = ScriptedWatch(
        NodeRule(
            match=SAMPLER,
            steps=20,
            holds=[Hold(at_step=3)],
            texts=[TextAt(text="t", at_step=3)],
            messages=[MessageAt(type="m", at_step=3)],
        )
    )
    watch.post(text_to_image())
    assert told(watch.rest())[-3:] == ["progress 3/20 3", "text 3: t", "m"]
    assert watch.engine.next_wakeup() is None
    assert watch.engine.queue.running is not None


def test_time_does_not_help_and_the_name_must_be_right() -> None:
    watch = ScriptedWatch(AT_THREE)
    watch.post(text_to_image())
    assert progress(watch.rest()) == [1, 2, 3]
    watch.engine.advance(NOW + 3600)
    assert watch.director.release("four") == 0
    assert not watch.take()
    assert [gate.name for gate in watch.director.held] == ["three"]
    assert watch.director.release("three") == 1
    assert not watch.director.held


def test_after_the_release_the_next_step_takes_its_time() -> None:
    watch = ScriptedWatch(AT_THREE)
    watch.post(text_to_image())
    watch.rest()
    released = watch.engine.now + 3600
    watch.engine.advance(released)
    watch.director.release()
    assert watch.engine.next_wakeup() == released
    watch.engine.advance(released + 0.04)
    assert not watch.take()
    watch.engine.advance(released + 0.051)
    assert progress(watch.take()) == [4]


def test_a_shell_whose_clock_goes_on_meanwhile_says_what_time_it_is() -> None:
    watch = ScriptedWatch(AT_THREE)
    watch.post(text_to_image())
    watch.rest()
    watch.engine.present = lambda: NOW + 100
    watch.director.release()
    assert watch.engine.next_wakeup() == NOW + 100
    watch.engine.advance(NOW + 100.051)
    assert progress(watch.take()) == [4]


def test_a_thousand_interrupts_at_step_three_of_twenty() -> None:
    watch = ScriptedWatch(AT_THREE)
    for seed in range(1000):
        watch.post(text_to_image(seed=seed))
        got = watch.rest()
        watch.engine.interrupt()
        assert watch.director.release() == 1
        ended = watch.rest()
        assert progress(got + ended) == [1, 2, 3]
        assert told(ended) == ["execution_interrupted 3", "status 0", "executing null"]


def test_an_interrupt_does_not_end_the_hold() -> None:
    watch = ScriptedWatch(AT_THREE)
    watch.post(text_to_image())
    watch.rest()
    watch.engine.interrupt()
    assert not watch.rest()
    assert watch.director.held


def test_before_the_first_step_and_twice_at_one() -> None:
    holds = [Hold(name="first"), Hold(name="a", at_step=1), Hold(name="b", at_step=1)]
    watch = ScriptedWatch(NodeRule(match=SAMPLER, steps=2, holds=holds))
    watch.post(text_to_image())
    last, held = [], []
    for _ in range(4):
        last.append(told(watch.rest())[-1:])
        held.append([gate.name for gate in watch.director.held])
        watch.director.release()
    assert held == [["first"], ["a"], ["b"], []]
    assert last == [["executing 3"], ["progress 1/2 3"], [], ["executing null"]]


def test_who_waits_for_an_event_is_told_what_holds_it() -> None:
    watch = ScriptedWatch(AT_THREE)
    watch.post(text_to_image())
    seen = watch.rest()
    assert watch.engine.standing() == ["node 3 (KSampler) after step 3 is held: release('three')"]
    awaited = AwaitedEvent("progress", value=5)
    message = str(EventNeverCame(awaited, seen, watch.engine.standing()))
    assert message.startswith("the server came to rest before progress value=5; what came:\n  status\n")
    assert message.endswith("  progress 3 3/20\n  node 3 (KSampler) after step 3 is held: release('three')")
    nothing_new = str(EventNeverCame(awaited, [], watch.engine.standing()))
    assert nothing_new == (
        "the server stands still, and progress value=5 cannot come\n"
        "  node 3 (KSampler) after step 3 is held: release('three')"
    )


def test_whoever_waits_for_a_hold_is_told_when_it_begins() -> None:
    watch = ScriptedWatch(AT_THREE)
    names: list[str] = []
    watch.director.on_held = lambda gate: names.append(gate.name)
    watch.post(text_to_image())
    watch.rest()
    assert names == ["three"]


def test_nothing_is_held_on_when_the_server_is_gone() -> None:
    director = Director(Script(rules=[AT_THREE]))
    watch = ScriptedWatch(script=director)
    watch.post(text_to_image())
    watch.rest()
    assert director.held
    director.release()
    again = ScriptedWatch(script=director)
    assert not director.held
    again.post(text_to_image())
    assert progress(again.rest()) == [1, 2, 3]
    assert [gate.name for gate in director.held] == ["three"]
    director.release()
    assert told(again.rest())[-1] == "executing null"


# -- asynchronous nodes


ASYNC = {"1": node("Call", x="a"), "2": node("PreviewAny", source="other"), "3": node("PreviewAny", source=["1", 0])}


def asynchronous(*rules: NodeRule, seconds: float = 1.0) -> ScriptedWatch:
    watch = ScriptedWatch(*rules)

    def answer(call: Call) -> Output:
        return Output((call.inputs["x"],))

    watch.add("Call", answer, ["x"], api_node=True, seconds=seconds)
    return watch


def test_other_nodes_run_while_an_asynchronous_one_is_held() -> None:
    watch = asynchronous(NodeRule(match=NodeMatch(node="1"), holds=[Hold()]))
    watch.post(ASYNC)
    got = told(watch.rest())
    assert 'executed 2 {"text": ["other"]}' in got
    assert not [event for event in got if event.startswith("executed 3")]
    watch.director.release()
    assert 'executed 3 {"text": ["a"]}' in told(watch.rest())


def test_a_held_one_goes_on_while_another_takes_its_time() -> None:
    watch = asynchronous(
        NodeRule(match=NodeMatch(node="1"), duration=0, holds=[Hold()]),
        NodeRule(match=NodeMatch(node="4"), duration=60),
    )
    watch.post({**ASYNC, "4": node("Call", x="b"), "5": node("PreviewAny", source=["4", 0])})
    watch.engine.advance(NOW + 1)
    watch.take()
    watch.director.release()
    watch.engine.advance(NOW + 2)
    assert 'executed 3 {"text": ["a"]}' in told(watch.take())
    watch.engine.advance(NOW + 59)
    assert not watch.take()
    watch.engine.advance(NOW + 61)
    assert 'executed 5 {"text": ["b"]}' in told(watch.take())


def test_a_release_does_not_shorten_what_takes_time() -> None:
    watch = ScriptedWatch(NodeRule(match=NodeMatch(node="2"), duration=60))
    watch.post(PREVIEWED)
    watch.engine.advance(NOW + 10)
    assert told(watch.take())[-1] == "executing 2"
    watch.director.hold("an answer, say")
    assert watch.director.release() == 1
    watch.engine.advance(NOW + 59)
    assert not watch.take()
    watch.engine.advance(NOW + 61)
    assert told(watch.take())[-1] == "executing null"


@pytest.mark.parametrize("elements", [1, 3])
def test_all_calls_of_an_asynchronous_node_are_held_at_once(elements: int) -> None:
    watch = asynchronous(NodeRule(match=NodeMatch(class_type="Call"), holds=[Hold()]))
    watch.add("Several", lambda _call: Output((list(range(elements)),)), lists=[True])
    watch.post({"0": node("Several"), "1": node("Call", x=["0", 0]), "3": node("PreviewAny", source=["1", 0])})
    watch.rest()
    assert len(watch.director.held) == elements
    watch.director.release()
    assert told(watch.rest())[-1] == "executing null"
    assert len(watch.entry["outputs"]["3"]["text"]) == elements
