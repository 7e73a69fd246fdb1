"""Sound files: FLAC, MP3 and Opus made from AUDIO values, and AUDIO values read from files.

PyAV is heavy, so it is imported where it is used. Samples travel as interleaved 16-bit integers.
"""

from __future__ import annotations

import io
import math
from array import array
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, repeat
from typing import TYPE_CHECKING

from comfy_mock.engine.media import Texts
from comfy_mock.engine.values import Audio

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer

BIT_EXACT = {"fflags": "+bitexact"}
"""The muxers' switch for equal bytes from equal inputs: no random ids, no dates, no library versions."""

_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_CODECS = {"flac": "flac", "mp3": "libmp3lame", "opus": "libopus"}
_BITS_PER_CHANNEL_MAX = 256_000
"""Opus refuses more bits per second and channel."""

_LOUDNESS = 8000
_BYTES_PER_SAMPLE = 2


class NotMediaError(ValueError):
    """The bytes are no file that FFmpeg can read."""


class NoAudioError(ValueError):
    """The file can be read, but there is no sound in it."""


def encode(audio: Audio, *, file_format: str, quality: str | None = None, texts: Texts = ()) -> bytes:
    """One sound file of one clip of `audio`: `file_format` is `flac`, `mp3` or `opus`.

    `quality` is the saver's word: `V0` for the best variable rate, else kilobits per second such as `128k`. The texts
    become tags of the container (protocol 7.2). Opus and MP3 take the next rate that they have.
    """
    import av

    data = io.BytesIO()
    rate = output_rate(audio.sample_rate, file_format)
    with av.open(data, "w", format=file_format, container_options=BIT_EXACT) as container:
        container.metadata.update(texts)
        stream = container.add_stream(_CODECS[file_format], rate=rate, layout=layout_of(audio))
        if quality == "V0":
            stream.codec_context.qscale = 1
        elif quality is not None:
            stream.bit_rate = min(int(quality.rstrip("k")) * 1000, _BITS_PER_CHANNEL_MAX * _channels(audio))
        write_samples(container, stream, audio, rate)
    return data.getvalue()


def output_rate(sample_rate: int, file_format: str) -> int:
    """The rate in Hz at which a format stores a sound of `sample_rate` Hz: the next one that it has."""
    rates = {"mp3": _MP3_RATES, "opus": _OPUS_RATES}.get(file_format, (sample_rate,))
    return next((rate for rate in rates if rate >= sample_rate), rates[-1])


def layout_of(audio: Audio) -> str:
    """The channel layout in which a sound is stored."""
    return "mono" if _channels(audio) == 1 else "stereo"


def write_samples(container: OutputContainer, stream: AudioStream, audio: Audio, rate: int) -> None:
    """Encode all of `audio` at `rate` Hz into a stream, and flush it."""
    import av

    layout = layout_of(audio)
    width = _BYTES_PER_SAMPLE * _channels(audio)
    position = 0
    for chunk in _chunks(audio, rate):
        count = len(chunk) // width
        frame = av.AudioFrame(format="s16", layout=layout, samples=count)
        frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
        frame.planes[0].update(chunk)
        container.mux(stream.encode(frame))
        position += count
    container.mux(stream.encode(None))


def opened(data: bytes) -> InputContainer:
    """A media file, open for reading. Raises `av.error.FFmpegError` for other files."""
    import av

    try:
        return av.open(io.BytesIO(data), "r", metadata_errors="replace")
    except TypeError:  # from PyAV 19 on metadata are read whatever they hold, and the word is unknown
        return av.open(io.BytesIO(data), "r")


def read(data: bytes) -> Audio:
    """The sound in a file: its length, rate and channels; the file itself stays with it.

    Raises `NotMediaError`, and `NoAudioError` for a file without sound.
    """
    import av

    try:
        with opened(data) as container:
            if not container.streams.audio:
                raise NoAudioError("No audio stream found in the file.")
            stream = container.streams.audio[0]
            rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
            samples = sum(frame.samples for frame in container.decode(stream))
    except av.error.FFmpegError as error:
        raise NotMediaError(str(error)) from error
    return Audio(seconds=samples / rate, sample_rate=rate, channels=channels, content=data)


def _channels(audio: Audio) -> int:
    return 1 if audio.channels == 1 else 2


def _chunks(audio: Audio, rate: int) -> Iterator[bytes]:
    """The samples of `audio` in pieces of a second or less; a file that is shorter than its value ends in silence."""
    channels = _channels(audio)
    left = round(audio.seconds * rate) * _BYTES_PER_SAMPLE * channels
    found = iter(()) if audio.content is None else _decoded(audio.content, rate, layout_of(audio))
    for piece in chain(found, repeat(_second(0.0 if audio.content is not None else audio.tone, rate, channels))):
        if left <= 0:
            return
        yield piece[:left]
        left -= len(piece)


def _second(tone: float, rate: int, channels: int) -> bytes:
    """One second of a tone, fit to be repeated: the frequency in Hz is rounded for that; 0 is silence."""
    frequency = round(tone)
    if frequency <= 0:
        return bytes(_BYTES_PER_SAMPLE * channels * rate)
    turn = 2 * math.pi * frequency / rate
    wave = [round(_LOUDNESS * math.sin(turn * number)) for number in range(rate)]
    samples = array("h", bytes(_BYTES_PER_SAMPLE * channels * rate))
    for channel in range(channels):
        samples[channel::channels] = array("h", wave)
    return samples.tobytes()


def _decoded(data: bytes, rate: int, layout: str) -> Iterator[bytes]:
    import av

    with opened(data) as container:
        resampler = av.AudioResampler(format="s16", layout=layout, rate=rate)
        for frame in container.decode(audio=0):
            yield from map(_samples_of, resampler.resample(frame))
        yield from map(_samples_of, resampler.resample(None))


def _samples_of(frame: av.AudioFrame) -> bytes:
    width = _BYTES_PER_SAMPLE * (1 if frame.layout.name == "mono" else 2)
    return bytes(frame.planes[0])[: frame.samples * width]
