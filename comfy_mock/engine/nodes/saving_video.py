"""Nodes that write films (protocol 7.2)."""

from __future__ import annotations

from functools import partial

from comfy_mock.engine.files import Content
from comfy_mock.engine.media import video as films
from comfy_mock.engine.metadata import texts
from comfy_mock.engine.nodes import arguments
from comfy_mock.engine.nodes.api import Call, NodeError, Output, node
from comfy_mock.engine.nodes.saving_animations import write_one
from comfy_mock.engine.values import Audio, Image, Video

_AUTO_CODECS = {"mp4": "h264", "mkv": "h264", "webm": "av1"}


@node("SaveWEBM", seconds=0.05)
def save_webm(call: Call) -> Output:
    """One WEBM; its metadata is written whatever the switch says."""
    images = arguments.image(call, "images")
    content = partial(
        encoded,
        images,
        audio=None,
        file_format="webm",
        codec=call.inputs["codec"],
        frames_per_second=call.inputs["fps"],
        crf=call.inputs["crf"],
        texts=texts(call, even_if_disabled=True),
    )
    item = write_one(call, images.frames, call.inputs["filename_prefix"], "_.webm", content)
    return Output((images,), {"images": [item], "animated": [True]})


@node("SaveVideo", seconds=0.05)
def save_video(call: Call) -> Output:
    """One film in the chosen container; a loaded one is copied, not encoded anew, where the container takes it."""
    video = arguments.video(call, "video")
    if video.images.batch == 0 and video.content is not None:
        message = "[Errno 1094995529] Invalid data found when processing input: '<none>'"
        raise NodeError("av.error.InvalidDataError", message)
    file_format = "mp4" if call.inputs["format"] == "auto" else call.inputs["format"]
    item = write_one(
        call,
        video.images.frames,
        call.inputs["filename_prefix"],
        f"_.{file_format}",
        _video_content(call, video, file_format),
    )
    return Output((video,), {"images": [item], "animated": [True]})


def _video_content(call: Call, video: Video, file_format: str) -> Content:
    # Older prompts have `codec` beside `format` instead of below it.
    below = "format.codec" if "format.codec" in call.inputs else "codec"
    codec = call.inputs.get(below, "auto")
    crf = call.inputs.get(f"{below}.encoding.crf")
    metadata = texts(call)
    encode = partial(
        encoded,
        video.images,
        audio=video.audio,
        file_format=file_format,
        codec=_AUTO_CODECS[file_format] if codec == "auto" else codec,
        frames_per_second=video.fps,
        crf=crf,
        texts=metadata,
    )
    loaded = video.content
    if loaded is None or codec != "auto":
        return encode
    return lambda: films.rewrap(loaded, file_format=file_format, texts=metadata) or encode()


def encoded(
    images: Image,
    *,
    audio: Audio | None,
    file_format: str,
    codec: str,
    frames_per_second: float,
    crf: float | None,
    texts: tuple[tuple[str, str], ...],
) -> bytes:
    """The film of a batch: draws all of its pictures. Arguments as those of `media.video.encode`."""
    return films.encode(
        [frame.image() for frame in images.frames],
        file_format=file_format,
        codec=codec,
        frames_per_second=frames_per_second,
        crf=crf,
        texts=texts,
        audio=audio,
    )
