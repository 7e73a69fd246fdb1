"""What rules have nodes show while they work: time, steps, previews, texts, messages, logs (protocol 6.5-6.8)."""

from __future__ import annotations

import io
from typing import Any

import PIL.Image
import PIL.ImageChops
import PIL.ImageStat
import pytest
from protocol_events import CLIENT, image, node, text_to_image
from scripted_watch import SAMPLER, ScriptedWatch, of_node, told

from comfy_contracts import frames, messages
from comfy_contracts.frames import PreviewFrame, PreviewWithMetadata, UnknownFrame
from comfy_mock.engine.nodes.api import Blocker, Output
from comfy_mock.engine.script.model import (
    BinaryAt,
    Expand,
    LogAt,
    MessageAt,
    NodeMatch,
    NodeRule,
    Previews,
    TextAt,
)

FLAGGED = '{"type": "feature_flags", "data": {"supports_preview_metadata": true}}'
TWO_NODES = {"1": image(), "2": node("SaveImage", images=["1", 0], filename_prefix="x")}


def times_of_progress(watch: ScriptedWatch, prompt: dict[str, Any]) -> list[float]:
    """When each `progress` came, in seconds after the node's `executing`."""
    watch.post(prompt)
    times, begun = [], 0.0
    while (due := watch.engine.next_wakeup()) is not None:
        watch.engine.advance_once(due)
        for payload in watch.take():
            if isinstance(payload, messages.Executing) and payload.node == "3":
                begun = watch.engine.now
            if isinstance(payload, messages.Progress):
                times.append(round(watch.engine.now - begun, 3))
    return times


def picture(content: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(content))


def file_of(colour: str, kind: str) -> bytes:
    data = io.BytesIO()
    PIL.Image.new("RGB", (4, 4), colour).save(data, kind)
    return data.getvalue()


# -- time and steps


def test_steps_replace_those_of_the_class_and_its_outputs_stay() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, steps=3))
    events = told_by(watch, text_to_image(20))
    assert of_node("3", events) == [
        "PS 3 r 1/3",
        "progress 1/3 3",
        "PS 3 r 2/3",
        "progress 2/3 3",
        "PS 3 r 3/3",
        "progress 3/3 3",
        "PS 3 f 3/3",
    ]
    assert watch.entry["outputs"]["9"]["images"][0]["filename"] == "x_00001_.png"
    assert watch.entry["status"]["completed"]


def told_by(watch: ScriptedWatch, prompt: dict[str, Any], client_id: Any = CLIENT) -> list[str]:
    watch.post(prompt, client_id)
    return told(watch.rest())


def test_a_class_without_steps_gets_some() -> None:
    watch = ScriptedWatch(NodeRule(match=NodeMatch(node="2"), steps=2))
    assert of_node("2", told_by(watch, TWO_NODES)) == [
        "PS 2 r 1/2",
        "progress 1/2 2",
        "PS 2 r 2/2",
        "progress 2/2 2",
        'executed 2 {"images": [{"filename": "x_00001_.png", "subfolder": "", "type": "output"}]}',
        "PS 2 f 2/2",
    ]


def test_no_steps_at_all() -> None:
    assert of_node("3", told_by(ScriptedWatch(NodeRule(match=SAMPLER, steps=0)), text_to_image(4))) == [
        "PS 3 f 1.0/1.0"
    ]


def test_duration_passes_before_the_steps_and_the_last_of_uneven_times_goes_on() -> None:
    rule = NodeRule(match=SAMPLER, duration=10, steps=4, step_time=[1, 0.25])
    assert times_of_progress(ScriptedWatch(rule), text_to_image()) == [11.0, 11.25, 11.5, 11.75]


def test_each_of_many_fast_steps_is_sent() -> None:
    rule = NodeRule(match=SAMPLER, steps=1000, step_time=0.001)
    assert len(times_of_progress(ScriptedWatch(rule), text_to_image())) == 1000


def test_without_steps_the_class_makes_its_own() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, duration=5))
    assert times_of_progress(watch, text_to_image(2)) == [5.15, 5.3]


def test_a_duration_alone_changes_nothing_else() -> None:
    plain, slow = ScriptedWatch(), ScriptedWatch(NodeRule(match=NodeMatch(node="2"), duration=60))
    assert told_by(plain, TWO_NODES) == told_by(slow, TWO_NODES)
    assert slow.engine.now - plain.engine.now == pytest.approx(60, abs=0.1)
    assert plain.engine.files.read("/comfyui/output/x_00001_.png") == slow.engine.files.read(
        "/comfyui/output/x_00001_.png"
    )


# -- previews


def test_drawn_previews_grow_sharper_and_fit_the_size() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, steps=4, previews=Previews(size=256)))
    watch.post(text_to_image(width=128, height=64))
    shown = [payload for payload in watch.rest() if isinstance(payload, PreviewFrame)]
    pictures = [picture(frame.image) for frame in shown]
    assert [(frame.format_name, each.format, each.size) for frame, each in zip(shown, pictures, strict=True)] == [
        ("JPEG", "JPEG", (256, 128))
    ] * 4
    last = pictures[-1].convert("RGB")
    distances = [sum(PIL.ImageStat.Stat(PIL.ImageChops.difference(last, each.convert("RGB"))).sum) for each in pictures]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > distances[1] > distances[2] > 0


def test_previews_as_png() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, steps=1, previews=Previews(format="PNG", size=64)))
    watch.post(text_to_image())
    (frame,) = [payload for payload in watch.rest() if isinstance(payload, PreviewFrame)]
    assert (frame.format_name, picture(frame.image).format, picture(frame.image).size) == ("PNG", "PNG", (64, 64))


def test_given_pictures_are_sent_as_they_are_and_the_last_goes_on() -> None:
    given = [file_of("red", "JPEG"), file_of("blue", "PNG")]
    watch = ScriptedWatch(NodeRule(match=SAMPLER, steps=3, previews=Previews(images=given)))
    watch.post(text_to_image())
    shown = [payload for payload in watch.rest() if isinstance(payload, PreviewFrame)]
    assert [(frame.image_format, frame.image) for frame in shown] == [
        (frames.JPEG, given[0]),
        (frames.PNG, given[1]),
        (frames.PNG, given[1]),
    ]


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        (None, ["PS 3 r 1/1", "progress 1/1 3", "binary 1", "PS 3 f 1/1"]),
        (FLAGGED, ["PS 3 r 1/1", "binary 4", "progress 1/1 3", "PS 3 f 1/1"]),
    ],
    ids=["without metadata", "with metadata"],
)
def test_the_flag_decides_about_metadata(flag: str | None, expected: list[str]) -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, steps=1, previews=Previews(images=[file_of("red", "PNG")])))
    if flag is not None:
        watch.engine.receive(watch.socket, flag)
        watch.take()
    prompt_id = watch.post(text_to_image())
    payloads = watch.rest()
    assert of_node("3", told(payloads)) == expected
    for frame in payloads:
        if isinstance(frame, PreviewWithMetadata):
            assert (frame.node_id, frame.prompt_id, frame.image_type) == ("3", prompt_id, "image/png")


def test_a_class_without_previews_gets_some_for_its_own_steps() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, previews=True))
    assert told_by(watch, text_to_image(2)).count("binary 1") == 2


def test_without_a_client_everybody_sees_progress_and_previews() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, steps=1, previews=True))
    events = told_by(watch, text_to_image(), None)
    assert "progress 1/1 3" in events
    assert "binary 1" in events


# -- texts, messages, binaries, logs


AT_A_STEP: dict[str, Any] = {
    "binaries": [BinaryAt(event=77, data=b"q", at_step=1)],
    "messages": [MessageAt(type="my.event", data={"a": [1]}, at_step=1)],
    "texts": [TextAt(text="half", at_step=1), TextAt(text="begun"), TextAt(text="way", at_step=1)],
}


def test_what_comes_at_a_step_and_in_which_order() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, steps=2, previews=True, **AT_A_STEP))
    assert of_node("3", told_by(watch, text_to_image())) == [
        "text 3: begun",
        "PS 3 r 1/2",
        "progress 1/2 3",
        "binary 1",
        "text 3: half",
        "text 3: way",
        "my.event",
        "binary 77 b'q'",
        "PS 3 r 2/2",
        "progress 2/2 3",
        "binary 1",
        "PS 3 f 2/2",
    ]


def test_steps_are_those_of_the_class_where_the_rule_has_none() -> None:
    watch = ScriptedWatch(NodeRule(match=SAMPLER, texts=[TextAt(text="two", at_step=2)]))
    events = of_node("3", told_by(watch, text_to_image(3)))
    assert events[events.index("text 3: two") - 1 :][:3] == ["progress 2/3 3", "text 3: two", "PS 3 r 3/3"]


def test_what_happens_at_a_step_of_the_class_is_not_throttled_away() -> None:
    # of a thousand steps a real server sends every fifth, for the others have moved by less than half a percent
    watch = ScriptedWatch(NodeRule(match=SAMPLER, texts=[TextAt(text="here", at_step=3)]))
    events = told_by(watch, text_to_image(1000))
    assert events[events.index("text 3: here") - 1] == "progress 3/1000 3"
    assert len([event for event in events if event.startswith("progress ")]) < 300


def test_a_step_that_the_node_does_not_have_is_its_end() -> None:
    watch = ScriptedWatch(
        NodeRule(
            match=NodeMatch(node="2"),
            texts=[TextAt(text="third", at_step=3), TextAt(text="second", at_step=2), TextAt(text="before")],
        )
    )
    assert of_node("2", told_by(watch, TWO_NODES)) == [
        "text 2: before",
        "text 2: second",
        "text 2: third",
        'executed 2 {"images": [{"filename": "x_00001_.png", "subfolder": "", "type": "output"}]}',
        "PS 2 f 1.0/1.0",
    ]


def test_messages_come_whole_and_go_to_everybody_or_to_the_client() -> None:
    watch = ScriptedWatch(
        NodeRule(
            match=NodeMatch(node="2"),
            messages=[MessageAt(type="all"), MessageAt(type="mine", data=[1, None], to="client")],
            binaries=[BinaryAt(event=5, data=b"\0\1"), BinaryAt(event=6, to="client")],
        )
    )
    other = watch.engine.connect("other")
    watch.engine.take_outgoing()
    watch.post(TWO_NODES)
    mine: list[Any] = []
    others: list[Any] = []
    while (due := watch.engine.next_wakeup()) is not None:
        watch.engine.advance(due)
        for outgoing in watch.engine.take_outgoing():
            if isinstance(outgoing.payload, (messages.Unknown, UnknownFrame)):
                mine += [outgoing.payload] * (watch.socket in outgoing.sockets)
                others += [outgoing.payload] * (other in outgoing.sockets)
    assert mine == [
        messages.Unknown("all", {}),
        messages.Unknown("mine", [1, None]),
        UnknownFrame(5, b"\0\1"),
        UnknownFrame(6, b""),
    ]
    assert others == [mine[0], mine[2]]


def test_without_a_client_what_is_meant_for_it_goes_to_everybody() -> None:
    watch = ScriptedWatch(NodeRule(match=NodeMatch(node="2"), messages=[MessageAt(type="mine", to="client")]))
    assert "mine" in told_by(watch, TWO_NODES, None)


def test_logs_reach_the_log_and_its_readers() -> None:
    watch = ScriptedWatch(
        NodeRule(match=NodeMatch(node="2"), logs=[LogAt(text="careful"), LogAt(text="worse", level="ERROR")])
    )
    watch.engine.logs.subscribe(CLIENT, enabled=True)
    watch.post(TWO_NODES)
    lines = [entry.m for payload in watch.rest() if isinstance(payload, messages.Logs) for entry in payload.entries]
    assert [line for line in lines if "careful" in line or "worse" in line] == [
        "\x1b[1m\x1b[33m[WARNING]\x1b[0m careful\n",
        "\x1b[1m\x1b[31m[ERROR]\x1b[0m worse\n",
    ]
    assert "careful" in watch.engine.logs.text()


# -- which rule, and how often


def test_the_same_script_gives_the_same_messages() -> None:
    def trace() -> list[Any]:
        watch = ScriptedWatch(NodeRule(match=SAMPLER, steps=2, previews=True, **AT_A_STEP))
        watch.post(text_to_image())
        return watch.rest()

    assert trace() == trace()


def test_a_node_is_matched_by_class_inputs_client_and_place() -> None:
    def matched(match: NodeMatch) -> list[bool]:
        watch = ScriptedWatch(NodeRule(match=match, texts=[TextAt(text="hit")]))
        heard = []
        for colour in (1, 2):
            prompt = {"1": image(colour), "2": node("PreviewImage", images=["1", 0])}
            heard.append(any("hit" in event for event in told_by(watch, prompt)))
        return heard

    assert matched(NodeMatch(prompt=2)) == [False, True]
    assert matched(NodeMatch(client_id="somebody else")) == [False, False]
    assert matched(NodeMatch(client_id=CLIENT, class_type="EmptyImage", inputs={"color": 1.0})) == [True, False]
    assert matched(NodeMatch(inputs={"images": ["1", 0]}, node="2")) == [True, True]


def test_refused_prompts_have_no_place() -> None:
    watch = ScriptedWatch(NodeRule(match=NodeMatch(prompt=1, node="2"), texts=[TextAt(text="hit")]))
    assert watch.engine.submit({"prompt": {}}).status == 400
    assert "text 2: hit" in told_by(watch, TWO_NODES)


def test_times_and_after_count_calls_and_a_cached_node_is_not_called() -> None:
    watch = ScriptedWatch(NodeRule(match=NodeMatch(node="2"), after=1, times=1, texts=[TextAt(text="hit")]))
    hits = []
    for colour in (1, 1, 2, 3):
        prompt = {"1": image(colour), "2": node("SaveImage", images=["1", 0], filename_prefix="x")}
        hits.append("text 2: hit" in told_by(watch, prompt))
    assert hits == [False, False, True, False]
    assert watch.served() == [1]


def test_a_node_that_is_called_for_each_element_of_a_list_uses_its_rule_once() -> None:
    rules = [NodeRule(match=NodeMatch(node="2"), times=1, steps=1), NodeRule(match=NodeMatch(node="2"), steps=5)]
    watch = ScriptedWatch(*rules)
    watch.add("Three", lambda _call: Output((["a", "b", "c"],)), lists=[True])
    events = told_by(watch, {"1": node("Three"), "2": node("PreviewAny", source=["1", 0])})
    assert [event for event in events if event.startswith("progress ")] == ["progress 1/1 2"] * 3
    assert watch.served() == [1, 0]
    assert watch.entry["outputs"]["2"] == {"text": ["a", "b", "c"]}


def test_the_rule_of_a_node_whose_inputs_are_blocked_is_not_used() -> None:
    watch = ScriptedWatch(NodeRule(match=NodeMatch(node="2"), texts=[TextAt(text="hit")]))
    watch.add("Block", lambda _call: Output((Blocker(),)))
    told_by(watch, {"1": node("Block"), "2": node("PreviewAny", source=["1", 0])})
    assert watch.served() == [0]


def test_a_lazy_node_uses_its_rule_when_it_is_called() -> None:
    switch = node("ComfySwitchNode", switch=True, on_false=["1", 0], on_true=["1", 0])
    watch = ScriptedWatch(NodeRule(match=NodeMatch(node="2"), times=1, texts=[TextAt(text="now")]))
    events = told_by(watch, {"1": image(), "2": switch, "3": node("PreviewAny", source=["2", 0])})
    assert events.count("executing 2") == 2
    assert events.count("text 2: now") == 1


def test_children_of_an_expansion_can_be_matched_too() -> None:
    expand = Expand(nodes={"a": node("PreviewAny", source="x")}, outputs=[["a", 0]])
    watch = ScriptedWatch(
        NodeRule(match=NodeMatch(node="1"), expand=expand),
        NodeRule(match=NodeMatch(node="1.0.0.a"), texts=[TextAt(text="child")]),
    )
    events = told_by(watch, {"1": image(), "2": node("PreviewImage", images=["1", 0])})
    assert "text 1.0.0.a: child" in events
