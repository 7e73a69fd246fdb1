"""Sound files: length, rate, channels and tags, read back by FFmpeg."""

from __future__ import annotations

import io
import itertools
import struct

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_contracts.media_facts import media_facts
from comfy_mock.engine.media import audio as sounds
from comfy_mock.engine.pictures import example_png
from comfy_mock.engine.values import Audio

TEXTS = (("prompt", '{"1": "\\u00fc"}'), ("workflow", "{}"))


@pytest.mark.parametrize(
    ("file_format", "quality"),
    [("flac", None), ("mp3", "V0"), ("mp3", "128k"), ("mp3", "320k"), ("opus", "64k"), ("opus", "320k")],
)
@pytest.mark.parametrize(
    "audio", [Audio(0.2, 8000, 1), Audio(1.3, 44100, 2, tone=440.0), Audio(0.25, 96000, 6, tone=220.5)]
)
def test_files_have_the_length_rate_and_channels(file_format: str, quality: str | None, audio: Audio) -> None:
    data = sounds.encode(audio, file_format=file_format, quality=quality, texts=TEXTS)
    found = sounds.read(data)
    # Opus is always decoded at 48 kHz.
    rate = 48000 if file_format == "opus" else sounds.output_rate(audio.sample_rate, file_format)
    assert (found.sample_rate, found.channels) == (rate, min(audio.channels, 2))
    assert found.seconds == pytest.approx(audio.seconds, abs=1e-4)
    assert found.content == data


@pytest.mark.parametrize("file_format", ["flac", "mp3", "opus"])
def test_tags_are_those_of_the_prompt(file_format: str) -> None:
    facts = media_facts(sounds.encode(Audio(0.1, 8000, 1), file_format=file_format, texts=TEXTS))
    assert facts["tags"] == {"prompt": {"1": "ü"}, "workflow": {}}


@pytest.mark.parametrize("file_format", ["flac", "mp3", "opus"])
def test_equal_inputs_make_equal_bytes(file_format: str) -> None:
    audio = Audio(0.7, 44100, 2, tone=300)
    first = sounds.encode(audio, file_format=file_format, quality="128k", texts=TEXTS)
    assert first == sounds.encode(audio, file_format=file_format, quality="128k", texts=TEXTS)


def samples(data: bytes) -> list[int]:
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="s16", layout="mono")
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        raw = b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)
    return list(struct.unpack(f"<{len(raw) // 2}h", raw))


def test_a_tone_has_its_frequency_and_no_tone_is_silence() -> None:
    heard = samples(sounds.encode(Audio(2.5, 8000, 1, tone=100.0), file_format="flac"))
    risings = sum(left < 0 <= right for left, right in itertools.pairwise(heard))
    assert risings == pytest.approx(250, abs=2)
    assert set(samples(sounds.encode(Audio(0.5, 8000, 1), file_format="flac"))) == {0}


def test_a_loaded_sound_is_written_again() -> None:
    loaded = sounds.read(sounds.encode(Audio(0.5, 8000, 1, tone=100.0), file_format="flac"))
    assert samples(sounds.encode(loaded, file_format="flac")) == samples(loaded.content or b"")


def test_a_value_longer_or_shorter_than_its_file_is_filled_or_cut() -> None:
    content = sounds.encode(Audio(0.5, 8000, 1, tone=100.0), file_format="flac")
    for seconds in (0.2, 1.75):
        heard = samples(sounds.encode(Audio(seconds, 8000, 1, content=content), file_format="flac"))
        assert len(heard) == round(8000 * seconds)
        assert not any(heard[4000:])


@given(st.floats(0.01, 0.5), st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000]), st.integers(1, 2))
def test_flac_has_every_sample(seconds: float, rate: int, channels: int) -> None:
    found = sounds.read(sounds.encode(Audio(seconds, rate, channels), file_format="flac"))
    assert round(found.seconds * rate) == round(seconds * rate)
    assert (found.sample_rate, found.channels) == (rate, channels)


@pytest.mark.parametrize("data", [b"", b"hello", bytes(1000)])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(sounds.NotMediaError):
        sounds.read(data)


def test_pictures_have_no_sound() -> None:
    with pytest.raises(sounds.NoAudioError, match="No audio stream found in the file"):
        sounds.read(example_png())
