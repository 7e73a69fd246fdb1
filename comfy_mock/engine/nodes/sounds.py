"""Nodes that make and change sound."""

from __future__ import annotations

from dataclasses import replace

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import audio
from comfy_mock.engine.values import Audio, allocate


@node("EmptyAudio")
def empty_audio(call: Call) -> Output:
    """Silence."""
    duration, rate, channels = (call.inputs[name] for name in ("duration", "sample_rate", "channels"))
    allocate(1, round(duration * rate), channels, 1)
    return Output((Audio(duration, rate, channels),))


@node("TrimAudioDuration")
def trim_audio_duration(call: Call) -> Output:
    """A stretch; a negative start counts from the end. Raises `ValueError` for an empty one."""
    given = audio(call, "audio")
    rate, length = given.sample_rate, _samples(given)
    start = round(call.inputs["start_index"] * rate)
    first = max(0, min(start + length if start < 0 else start, length - 1))
    last = max(0, min(first + round(call.inputs["duration"] * rate), length))
    if first >= last:
        raise ValueError("AudioTrim: Start time must be less than end time and be within the audio length.")
    return Output((replace(given, seconds=(last - first) / rate, content=None),))


def _samples(given: Audio) -> int:
    return round(given.seconds * given.sample_rate)


@node("SplitAudioChannels")
def split_audio_channels(call: Call) -> Output:
    """Left and right. Raises `ValueError` for sound of one channel."""
    given = audio(call, "audio")
    if given.channels == 1:
        raise ValueError("AudioSplit: Input audio has only one channel.")
    half = replace(given, channels=1, content=None)
    return Output((half, half))


@node("JoinAudioChannels")
def join_audio_channels(call: Call) -> Output:
    """Two sounds as left and right, as long as the shorter."""
    left, right = audio(call, "audio_left"), audio(call, "audio_right")
    shorter = min(left, right, key=lambda one: one.seconds)
    return Output((replace(left, seconds=shorter.seconds, channels=2, content=None),))


@node("AudioConcat")
def audio_concat(call: Call) -> Output:
    """One after the other."""
    one, other = audio(call, "audio1"), audio(call, "audio2")
    first = one if call.inputs["direction"] == "after" else other
    joined = replace(
        first,
        seconds=one.seconds + other.seconds,
        sample_rate=max(one.sample_rate, other.sample_rate),
        channels=max(one.channels, other.channels),
        content=None,
    )
    return Output((joined,))


@node("AudioMerge")
def audio_merge(call: Call) -> Output:
    """One over the other, as long as the first."""
    one, other = audio(call, "audio1"), audio(call, "audio2")
    return Output((replace(one, tone=one.tone or other.tone, content=None),))


@node("AudioAdjustVolume", "AudioEqualizer3Band")
def audio_adjust(call: Call) -> Output:
    """Louder, softer, brighter or duller: the same sound here."""
    return Output((audio(call, "audio"),))
