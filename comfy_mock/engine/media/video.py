"""Films: MP4, Matroska and WebM made from pictures and sound, and VIDEO values read from files.

PyAV is heavy, so it is imported where it is used.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import PIL.Image

from comfy_mock.engine.media import Texts
from comfy_mock.engine.media import audio as sound
from comfy_mock.engine.media.opening import without_pixel_limit
from comfy_mock.engine.values import Audio, Frame, Image, Video

if TYPE_CHECKING:
    import av
    from av.container import OutputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class _Codec:
    """An encoder: its name, its pixel format, options for speed, and what sizes it takes."""

    encoder: str
    pixels: str
    options: Mapping[str, str]
    even: bool
    smallest: int


_CODECS = {
    # Without these two x264's decisions, and so the bytes, depend on what lay in its memory before.
    "h264": _Codec(
        "libx264",
        "yuv420p",
        {"preset": "veryfast", "x264-params": "bframes=0:mbtree=0"},
        even=True,
        smallest=2,
    ),
    # 8 bits: with 10 the encoder's output differs from run to run at most sizes.
    "av1": _Codec("libsvtav1", "yuv420p", {"preset": "10", "svtav1-params": "lp=1"}, even=True, smallest=4),
    "vp9": _Codec("libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}, even=False, smallest=1),
}

_FPS_MIN, _FPS_MAX = 0.01, 1000.0
_SIDE_MAX = 16384
"""The limits of the widgets, which the encoders can do; broken files say anything."""

_OPEN_FORMATS = {"mp4": "mp4", "mkv": "matroska", "webm": "webm"}
_SOUND_CODECS = {"mp4": "aac", "mkv": "aac", "webm": "libopus"}


def encode(
    images: Sequence[PIL.Image.Image],
    *,
    file_format: str,
    codec: str,
    frames_per_second: float,
    crf: float | None = None,
    texts: Texts = (),
    audio: Audio | None = None,
) -> bytes:
    """A film that plays: `file_format` is `mp4`, `mkv` or `webm`, `codec` `h264`, `av1` or `vp9`.

    `crf` is the codec's constant rate factor. The texts become tags of the container (protocol 7.2). Sizes that a codec
    cannot have are cut to the next even ones.
    """
    # SVT-AV1 writes a page of its own to the process's stderr unless this says "errors only".
    os.environ.setdefault("SVT_LOG", "1")
    kind = _CODECS[codec]
    rate = Fraction(round(min(max(frames_per_second, _FPS_MIN), _FPS_MAX) * 1000), 1000)
    options = dict(kind.options) if crf is None else {**kind.options, "crf": f"{crf:g}"}
    data = io.BytesIO()
    with _open_output(data, file_format, texts) as container:
        stream = container.add_stream(kind.encoder, rate=rate, options=options)
        stream.width, stream.height = _size_for(kind, images[0].size)
        stream.pix_fmt = kind.pixels
        # One thread: the bytes must not depend on how many cores the machine has.
        stream.codec_context.thread_count = 1
        sound_stream = None
        if audio is not None:
            sound_rate = sound.output_rate(audio.sample_rate, "opus" if file_format == "webm" else "mp3")
            sound_stream = container.add_stream(
                _SOUND_CODECS[file_format], rate=sound_rate, layout=sound.layout_of(audio)
            )
        for number, image in enumerate(images):
            frame = _frame(_fitted(image, (stream.width, stream.height))).reformat(format=kind.pixels)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None and sound_stream is not None:
            sound.write_samples(container, sound_stream, audio, sound_rate)
    return data.getvalue()


def rewrap(content: bytes, *, file_format: str, texts: Texts) -> bytes | None:
    """The streams of a film in another container, unchanged, or None where it cannot hold them."""
    import av

    data = io.BytesIO()
    with sound.opened(content) as source:
        wanted = [stream for stream in source.streams if stream.type in ("video", "audio")]
        try:
            with _open_output(data, file_format, texts) as container:
                copies = {stream.index: container.add_stream_from_template(stream) for stream in wanted}
                for packet in source.demux(wanted):
                    if packet.size:
                        packet.stream = copies[packet.stream.index]
                        container.mux(packet)
        except (av.error.FFmpegError, ValueError):
            return None
    return data.getvalue()


def read(data: bytes) -> Video:
    """The film in a file: pictures that are decoded when one of them is looked at, rate, sound; the file stays with it.

    Raises `media.audio.NotMediaError` for a file without pictures.
    """
    import av

    try:
        with sound.opened(data) as container:
            stream = next((stream for stream in container.streams.video if _size_of(stream) is not None), None)
            size = None if stream is None else _size_of(stream)
            if stream is None or size is None:
                raise sound.NotMediaError("No video stream found in the file.")
            rate = float(stream.average_rate or stream.guessed_rate or 1)
            has_sound = bool(container.streams.audio)
            count = sum(1 for packet in container.demux(stream) if packet.size)
    except av.error.FFmpegError as error:
        raise sound.NotMediaError(str(error)) from error
    film = _Film(data, size)
    frames = tuple(Frame(*size, 3, film.picture(number)) for number in range(count))
    return Video(Image(frames), rate, sound.read(data) if has_sound else None, data)


def _size_of(stream: VideoStream) -> tuple[int, int] | None:
    """The size of a stream's pictures; None for those that cannot be decoded."""
    # The stubs do not know that streams without a decoder, such as SVG's, have no context.
    context: VideoCodecContext | None = stream.codec_context
    return (context.width, context.height) if context is not None and context.width and context.height else None


class _Film:
    """Decodes a film once, when its first picture is wanted."""

    def __init__(self, data: bytes, size: tuple[int, int]) -> None:
        self._data, self._size = data, size
        self._pictures: list[PIL.Image.Image] | None = None

    def picture(self, number: int) -> Callable[[], PIL.Image.Image]:
        return lambda: self._decoded()[min(number, len(self._decoded()) - 1)]

    def _decoded(self) -> list[PIL.Image.Image]:
        import av

        if self._pictures is not None:
            return self._pictures
        pictures: list[PIL.Image.Image] = []
        with suppress(av.error.FFmpegError), sound.opened(self._data) as container:
            pictures.extend(frame.to_image() for frame in container.decode(video=0))
        # A broken film shows what can be decoded, or nothing. Other threads see all of it or none.
        self._pictures = pictures = pictures or [PIL.Image.new("RGB", self._size)]
        return pictures


def _open_output(data: io.BytesIO, file_format: str, texts: Texts) -> OutputContainer:
    import av

    # Without its flag the MP4 muxer drops every tag that QuickTime has no name for.
    flags = {"movflags": "use_metadata_tags"} if file_format == "mp4" else {}
    container = av.open(data, "w", format=_OPEN_FORMATS[file_format], container_options={**sound.BIT_EXACT, **flags})
    container.metadata.update(texts)
    return container


def _size_for(kind: _Codec, size: tuple[int, int]) -> tuple[int, int]:
    width, height = (min(length - length % 2 if kind.even else length, _SIDE_MAX) for length in size)
    return max(width, kind.smallest), max(height, kind.smallest)


def _frame(image: PIL.Image.Image) -> av.VideoFrame:
    import av

    frame = av.VideoFrame(image.width, image.height, "rgb24")
    plane = frame.planes[0]
    plane.update(image.tobytes("raw", "RGB", plane.line_size, 1))
    return frame


def _fitted(image: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if rgb.size == size:
        return rgb
    if rgb.width < size[0] or rgb.height < size[1]:
        return rgb.resize(size)
    with without_pixel_limit():
        return rgb.crop((0, 0, *size))
