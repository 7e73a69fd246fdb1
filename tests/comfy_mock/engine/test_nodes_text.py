"""Text, arithmetic, choices, sound and video."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_calls import CATALOGUE
from node_runner import call_of, outcome_of, plain_image, recorded_messages, value_of, values_of

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine.nodes import behaviour
from comfy_mock.engine.nodes.api import NodeError
from comfy_mock.engine.nodes.maths import evaluate
from comfy_mock.engine.values import Audio, Image, Video


@pytest.mark.parametrize(
    ("class_type", "inputs", "expected"),
    [
        ("PrimitiveInt", {"value": 3}, 3),
        ("PrimitiveFloat", {"value": 1.5}, 1.5),
        ("PrimitiveBoolean", {"value": True}, True),
        ("PrimitiveString", {"value": "a"}, "a"),
        ("PrimitiveBoundingBox", {"x": 1, "y": 2, "width": 3, "height": 4}, {"x": 1, "y": 2, "width": 3, "height": 4}),
        ("SeedNode", {"seed": 7}, 7),
        ("StringConcatenate", {"string_a": "s8", "string_b": "s3s7s8", "delimiter": ", "}, "s8, s3s7s8"),
        ("StringConcatenate", {"string_a": "s4", "string_b": "s4", "delimiter": ""}, "s4s4"),
        ("StringSubstring", {"string": "abcdef", "start": 1, "end": -2}, "bcd"),
        ("StringLength", {"string": "naïve"}, 5),
        ("CaseConverter", {"string": "a cat SAT", "mode": "UPPERCASE"}, "A CAT SAT"),
        ("CaseConverter", {"string": "a cat SAT", "mode": "Capitalize"}, "A cat sat"),
        ("CaseConverter", {"string": "a cat SAT", "mode": "Title Case"}, "A Cat Sat"),
        ("StringTrim", {"string": " a ", "mode": "Both"}, "a"),
        ("StringTrim", {"string": " a ", "mode": "Left"}, "a "),
        ("StringReplace", {"string": "aXbX", "find": "X", "replace": "-"}, "a-b-"),
        ("StringContains", {"string": "A cat", "substring": "CAT", "case_sensitive": False}, True),
        ("StringContains", {"string": "A cat", "substring": "CAT", "case_sensitive": True}, False),
        ("StringCompare", {"string_a": "abc", "string_b": "AB", "mode": "Starts With", "case_sensitive": False}, True),
        ("StringCompare", {"string_a": "abc", "string_b": "bc", "mode": "Ends With", "case_sensitive": True}, True),
        ("StringCompare", {"string_a": "abc", "string_b": "ABC", "mode": "Equal", "case_sensitive": True}, False),
        ("RegexMatch", {"string": "a1", "regex_pattern": r"A\d", "case_insensitive": True}, True),
        ("RegexMatch", {"string": "a1", "regex_pattern": "(", "case_insensitive": True}, False),
        ("RegexExtract", {"string": "a1 b2", "regex_pattern": r"\w(\d)", "mode": "First Match"}, "a1"),
        ("RegexExtract", {"string": "a1 b2", "regex_pattern": r"\w(\d)", "mode": "All Matches"}, "a1\nb2"),
        ("RegexExtract", {"string": "a1 b2", "regex_pattern": r"\w(\d)", "mode": "First Group", "group_index": 1}, "1"),
        ("RegexExtract", {"string": "a1", "regex_pattern": r"\w(\d)", "mode": "All Groups", "group_index": 2}, ""),
        ("RegexReplace", {"string": "aAa", "regex_pattern": "a", "replace": "-", "count": 2}, "--a"),
        ("JsonExtractString", {"json_string": '{"a": [1]}', "key": "a"}, "[1]"),
        ("JsonExtractString", {"json_string": "[]", "key": "a"}, ""),
        ("ConvertArrayToString", {"array": [1, "ü"], "indent": 0}, '[1, "ü"]'),
        ("StringFormat", {"f_string": "{a} and {b:.1f}", "values.a": "x", "values.b": 2}, "x and 2.0"),
        ("TextToUppercase", {"texts": "a"}, "A"),
        ("TruncateText", {"texts": "abc", "max_length": 2}, "ab"),
        ("AddTextPrefix", {"texts": "b", "prefix": "a"}, "ab"),
        ("StripWhitespace", {"texts": " b "}, "b"),
        ("ComfyNotNode", {"value": ""}, True),
        ("ComfyAndNode", {"values.value0": 1, "values.value1": 0}, False),
        ("ComfyOrNode", {"values.value0": 1, "values.value1": 0}, True),
        ("CreateList", {"inputs.input0": ["a"], "inputs.input1": ["b", "c"]}, ["a", "b", "c"]),
    ],
)
def test_one_output(class_type: str, inputs: dict[str, Any], expected: Any) -> None:
    assert value_of(class_type, inputs) == expected


@pytest.mark.parametrize(
    ("class_type", "inputs", "expected"),
    [
        ("ComfyNumberConvert", {"value": "2.5"}, (2.5, 2)),
        ("ComfyNumberConvert", {"value": True}, (1.0, 1)),
        ("ComfyNumberConvert", {"value": 2**60 + 1}, (float(2**60), 2**60 + 1)),
        ("CustomCombo", {"choice": "b", "index": 1}, ("b", 1)),
        ("CustomCombo", {"choice": "b"}, ("b", 0)),
        ("ColorToRGBInt", {"color": "#ff8000"}, (0xFF8000, "#ff8000", 1.0)),
        ("ResolutionSelector", {"aspect_ratio": "1:1 (Square)", "megapixels": 1.0, "multiple": 8}, (1024, 1024)),
        ("ResolutionSelector", {"aspect_ratio": "16:9 (Widescreen)", "megapixels": 1.0, "multiple": 64}, (1344, 768)),
    ],
)
def test_several_outputs(class_type: str, inputs: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert values_of(class_type, **inputs) == expected


def test_a_text_that_is_no_number_cannot_be_converted() -> None:
    with pytest.raises(ValueError, match="could not convert string to float: 'x'"):
        values_of("ComfyNumberConvert", value="x")


@pytest.mark.parametrize(("switch", "taken"), [(True, "on_true"), (False, "on_false")])
def test_a_switch_needs_and_gives_the_branch_that_is_taken(switch: bool, taken: str) -> None:
    inputs = {"switch": switch, "on_true": "yes", "on_false": "no"}
    lazy = behaviour(CATALOGUE["ComfySwitchNode"]).lazy
    assert lazy is not None
    assert list(lazy({"switch": switch})) == [taken]
    assert value_of("ComfySwitchNode", inputs) == inputs[taken]


@pytest.mark.parametrize(
    ("inputs", "needed", "expected"),
    [
        ({"switch": True, "on_true": "yes", "on_false": "no"}, "on_true", "yes"),
        ({"switch": False, "on_true": "yes", "on_false": "no"}, "on_false", "no"),
        ({"switch": True, "on_false": "no"}, "on_false", "no"),
        ({"switch": False, "on_true": "yes"}, "on_true", "yes"),
    ],
)
def test_a_soft_switch_makes_do_with_what_is_connected(inputs: dict[str, Any], needed: str, expected: str) -> None:
    soft = NodeDefinition("ComfySoftSwitchNode", {})
    lazy = behaviour(soft).lazy
    assert lazy is not None
    assert list(lazy(inputs)) == [needed]
    call = replace(call_of("ComfySwitchNode", inputs), class_type="ComfySoftSwitchNode", definition=soft)
    assert outcome_of(call)[1].values == (expected,)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + 1", (4.0, 4, True)),
        ("a / 2", (1.5, 1, True)),
        ("a // 2 - 1", (0.0, 0, False)),
        ("a > 2", (1.0, 1, True)),
        ("2 ** a % 5", (3.0, 3, True)),
        ("max(a, b) if a < b else -a", (5.5, 5, True)),
        ("not a or b", (5.5, 5, True)),
        ("1 < a < 3", (0.0, 0, False)),
        ("sqrt(sum(values) + 0.5)", (3.0, 3, True)),
    ],
)
def test_arithmetic(expression: str, expected: tuple[Any, ...]) -> None:
    assert values_of("ComfyMathExpression", **{"expression": expression, "values.a": 3, "values.b": 5.5}) == expected


def test_division_by_zero_fails_as_recorded() -> None:
    (error,) = [
        data
        for data in recorded_messages("error_in_middle_node", "execution_error")
        if data["node_type"] == "ComfyMathExpression"
    ]
    with pytest.raises(ZeroDivisionError) as caught:
        values_of("ComfyMathExpression", **{"expression": "a / 0", "values.a": 3})
    assert f"{caught.value}\n" == error["exception_message"]
    assert type(caught.value).__name__ == error["exception_type"]


@pytest.mark.parametrize(
    ("expression", "type_name"),
    [
        ("c", "simpleeval.NameNotDefined"),
        ("__import__('os')", "simpleeval.FunctionNotDefined"),
        ("a.real", "simpleeval.FeatureNotAvailable"),
        ("[1, 2]", "simpleeval.FeatureNotAvailable"),
        ("a @ b", "simpleeval.FeatureNotAvailable"),
        ("9 ** 9 ** 9", "simpleeval.NumberTooHigh"),
        ("  ", "simpleeval.InvalidExpression"),
    ],
)
def test_the_evaluator_can_do_nothing_else(expression: str, type_name: str) -> None:
    with pytest.raises(NodeError) as caught:
        evaluate(expression, {"a": 3, "b": 5.5})
    assert caught.value.type_name == type_name


@pytest.mark.parametrize("expression", ["a +", "1 2", "'a' * 9", "'a' + 1"])
def test_expressions_that_make_no_sense(expression: str) -> None:
    with pytest.raises((SyntaxError, TypeError)):
        evaluate(expression, {"a": 3})


@pytest.mark.parametrize("expression", ["'text'", "1e308 * 10"])
def test_results_that_are_no_finite_number(expression: str) -> None:
    with pytest.raises(ValueError, match="Math Expression"):
        values_of("ComfyMathExpression", expression=expression)


@given(
    st.recursive(
        st.integers(0, 50).map(str),
        lambda inner: st.tuples(inner, inner).flatmap(
            lambda pair: st.sampled_from([f"({pair[0]} {sign} {pair[1]})" for sign in ("+", "-", "*", "<", ">=", "==")])
        ),
        max_leaves=8,
    )
)
def test_arithmetic_is_pythons(expression: str) -> None:
    expected = eval(expression, {})
    assert evaluate(expression, {}) == expected
    assert math.isfinite(float(expected))


def test_silence_and_its_parts() -> None:
    sound = value_of("EmptyAudio", duration=2.0, sample_rate=8000, channels=2)
    assert sound == Audio(2.0, 8000, 2)
    assert value_of("TrimAudioDuration", audio=sound, start_index=0.5, duration=60.0).seconds == 1.5
    assert value_of("TrimAudioDuration", audio=sound, start_index=-0.5, duration=0.25).seconds == 0.25
    with pytest.raises(ValueError, match="AudioTrim"):
        value_of("TrimAudioDuration", audio=sound, start_index=0.0, duration=0.0)
    left, right = values_of("SplitAudioChannels", audio=sound)
    assert left.channels == right.channels == 1
    with pytest.raises(ValueError, match="only one channel"):
        values_of("SplitAudioChannels", audio=left)
    assert value_of("JoinAudioChannels", audio_left=left, audio_right=right).channels == 2
    assert value_of("AudioConcat", audio1=sound, audio2=left, direction="after").seconds == 4.0
    assert value_of("AudioMerge", audio1=sound, audio2=Audio(9.0), merge_method="add").seconds == 2.0


def video_of(length: int, audio: Audio | None = None) -> Video:
    frames = tuple(plain_image(4, 4, (place / 255,) * 3).frames[0] for place in range(length))
    return Video(Image(frames), 10.0, audio)


def places(video: Video) -> list[int]:
    return [round(frame.fill[0] * 255) for frame in video.images.frames if frame.fill]


def test_a_video_is_put_together_and_taken_apart() -> None:
    images, sound = plain_image(batch=3), Audio(1.0)
    video = value_of("CreateVideo", images=images, fps=25.0, audio=sound)
    assert values_of("GetVideoComponents", video=video)[:4] == (images, sound, 25.0, 8)
    assert value_of("CreateVideo", images=images, fps=25.0).audio is None


@pytest.mark.parametrize(
    ("class_type", "inputs", "expected"),
    [
        ("VideoTemporalCrop", {"start_frame": 2, "length": 3}, [2, 3, 4]),
        ("VideoTemporalCrop", {"start_frame": 8, "length": 30}, [8, 9]),
        ("Video Slice", {"start_time": 0.2, "duration": 0.3}, [2, 3, 4]),
        ("Video Slice", {"start_time": -0.2, "duration": 0.0}, [8, 9]),
        ("VideoFrameSample", {"num_frames": 4, "strategy": "uniform", "seed": 0}, [0, 3, 6, 9]),
        ("VideoFrameSample", {"num_frames": 2, "strategy": "head", "seed": 0}, [0, 1]),
        ("VideoFrameSample", {"num_frames": 2, "strategy": "tail", "seed": 0}, [8, 9]),
    ],
)
def test_parts_of_a_video(class_type: str, inputs: dict[str, Any], expected: list[int]) -> None:
    part = value_of(class_type, inputs, video=video_of(10, Audio(1.0)))
    assert places(part) == expected


def test_random_parts_come_from_their_seed() -> None:
    def sampled(seed: int) -> list[int]:
        inputs = {"num_frames": 5, "strategy": "random", "seed": seed}
        return places(value_of("VideoFrameSample", inputs, video=video_of(10)))

    assert sampled(1) == sampled(1) == sorted(sampled(1))
    assert any(sampled(1) != sampled(seed) for seed in range(2, 6))


def test_a_strict_duration_must_be_there() -> None:
    with pytest.raises(ValueError, match="too short"):
        value_of("Video Slice", video=video_of(10), start_time=0.5, duration=0.6, strict_duration=True)


def test_interpolation_multiplies_the_frames() -> None:
    assert value_of("FrameInterpolate", interp_model=None, images=plain_image(batch=5), multiplier=3).batch == 13
