"""Nodes that make, change and take apart videos."""

from __future__ import annotations

import random
from dataclasses import replace

from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.arguments import image, optional_audio, video
from comfy_mock.engine.values import Audio, Frame, Image, Video

_BIT_DEPTH = 8
_COLOR_SPACE = "auto"


@node("CreateVideo")
def create_video(call: Call) -> Output:
    """Pictures one after the other, with or without sound."""
    return Output((Video(image(call, "images"), call.inputs["fps"], optional_audio(call, "audio")),))


@node("GetVideoComponents")
def get_video_components(call: Call) -> Output:
    """Pictures, sound (null if it has none), frames a second, bits per channel and colour space."""
    given = video(call, "video")
    return Output((given.images, given.audio, float(given.fps), _BIT_DEPTH, _COLOR_SPACE))


@node("Video Slice")
def video_slice(call: Call) -> Output:
    """A stretch in seconds; no duration means to the end, and a negative start counts from there.

    Raises `ValueError` where the video is too short and the duration is strict.
    """
    given = video(call, "video")
    length = given.images.batch / given.fps
    start = call.inputs["start_time"]
    start = max(0.0, start + length if start < 0 else start)
    wanted = call.inputs["duration"]
    if call.inputs.get("strict_duration") and start + wanted > length:
        raise ValueError(f"Video is too short: it lasts {length:.3f} s, {start + wanted:.3f} s were asked for.")
    first = round(start * given.fps)
    last = round((start + wanted) * given.fps) if wanted else given.images.batch
    return Output((_part(given, first, last - first),))


@node("VideoTemporalCrop")
def video_temporal_crop(call: Call) -> Output:
    """So many frames from one on."""
    return Output((_part(video(call, "video"), call.inputs["start_frame"], call.inputs["length"]),))


@node("VideoRandomTemporalCrop")
def video_random_temporal_crop(call: Call) -> Output:
    """So many frames from one on that the seed chooses."""
    given, length = video(call, "video"), call.inputs["length"]
    start = random.Random(call.inputs["seed"]).randint(0, max(0, given.images.batch - length))
    return Output((_part(given, start, length),))


def _part(given: Video, start: int, length: int) -> Video:
    start = min(start, max(0, given.images.batch - 1))
    frames = given.images.frames[start : start + max(1, length)]
    sound: Audio | None = given.audio
    if sound is not None:
        sound = replace(sound, seconds=min(sound.seconds, len(frames) / given.fps), content=None)
    return Video(Image(frames), given.fps, sound)


@node("VideoFrameSample")
def video_frame_sample(call: Call) -> Output:
    """So many frames: evenly spread, the first, the last, or some that the seed chooses."""
    given = video(call, "video")
    frames, count = given.images.frames, min(call.inputs["num_frames"], given.images.batch)
    return Output((Video(Image(_chosen(frames, count, call.inputs["strategy"], call.inputs["seed"])), given.fps),))


def _chosen(frames: tuple[Frame, ...], count: int, strategy: str, seed: int) -> tuple[Frame, ...]:
    if strategy == "head":
        return frames[:count]
    if strategy == "tail":
        return frames[len(frames) - count :]
    if strategy == "random":
        return tuple(frames[place] for place in sorted(random.Random(seed).sample(range(len(frames)), count)))
    step = (len(frames) - 1) / max(1, count - 1)
    return tuple(frames[round(place * step)] for place in range(count))


@node("FrameInterpolate", seconds=0.1)
def frame_interpolate(call: Call) -> Output:
    """Between every two pictures so many that the rate is multiplied."""
    frames, multiplier = image(call, "images").frames, call.inputs["multiplier"]
    filled = [frame for frame in frames[:-1] for _ in range(multiplier)]
    return Output((Image((*filled, *frames[-1:])),))
