"""Films: they play, with the sizes, counts, rates and tags that were asked for."""

from __future__ import annotations

import io

import av
import PIL.Image
import pytest

from comfy_contracts.media_facts import media_facts
from comfy_mock.engine.media import audio as sounds
from comfy_mock.engine.media import video as films
from comfy_mock.engine.pictures import draw_subject
from comfy_mock.engine.values import Audio, Subject

TEXTS = (("prompt", '{"1": "x"}'), ("workflow", "{}"))
KINDS = [("mp4", "h264"), ("mp4", "av1"), ("mkv", "h264"), ("mkv", "av1"), ("webm", "vp9"), ("webm", "av1")]
PICTURES = [draw_subject(Subject(1), 48, 32, index) for index in range(5)]


@pytest.mark.parametrize(("file_format", "codec"), KINDS)
@pytest.mark.parametrize("audio", [None, Audio(0.5, 44100, 2, tone=300)])
def test_films_play(file_format: str, codec: str, audio: Audio | None) -> None:
    data = films.encode(PICTURES, file_format=file_format, codec=codec, frames_per_second=10, texts=TEXTS, audio=audio)
    film = films.read(data)
    assert (film.images.width, film.images.height, film.images.batch, film.fps) == (48, 32, 5, 10.0)
    assert (film.audio is None) == (audio is None)
    for frame, picture in zip(film.images.frames, PICTURES, strict=True):
        pairs = zip(frame.image().resize((6, 4)).tobytes(), picture.resize((6, 4)).tobytes(), strict=True)
        assert max(abs(left - right) for left, right in pairs) < 48
    assert media_facts(data)["tags"] == {"prompt": {"1": "x"}, "workflow": {}}
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


@pytest.mark.parametrize(("file_format", "codec"), KINDS)
@pytest.mark.parametrize("size", [(64, 64), (71, 33), (1, 1)])
def test_odd_sizes_are_made_even_where_the_codec_wants_it(file_format: str, codec: str, size: tuple[int, int]) -> None:
    film = films.read(
        films.encode(
            [PIL.Image.new("RGBA", size, "red")] * 2,
            file_format=file_format,
            codec=codec,
            frames_per_second=0.5,
            crf=40.0,
        )
    )
    smallest = {"h264": 2, "av1": 4, "vp9": 1}[codec]
    even = size if codec == "vp9" else tuple(max(smallest, side - side % 2) for side in size)
    assert (film.images.width, film.images.height) == even
    assert (film.images.batch, film.fps) == (2, 0.5)


@pytest.mark.parametrize(("file_format", "codec"), KINDS)
def test_equal_inputs_make_equal_bytes(file_format: str, codec: str) -> None:
    audio = Audio(0.5, 44100, 1, tone=200)

    def make() -> bytes:
        return films.encode(
            PICTURES, file_format=file_format, codec=codec, frames_per_second=24, texts=TEXTS, audio=audio
        )

    assert len({make() for _ in range(5)}) == 1


def test_a_film_is_rewrapped_without_loss() -> None:
    data = films.encode(
        PICTURES, file_format="mkv", codec="h264", frames_per_second=10, audio=Audio(0.5, 44100, 2, tone=300)
    )
    copy = films.rewrap(data, file_format="mp4", texts=TEXTS)
    assert copy is not None
    old, new = films.read(data), films.read(copy)
    pixels = [[frame.image().tobytes() for frame in film.images.frames] for film in (old, new)]
    assert pixels[0] == pixels[1]
    assert new.audio is not None
    assert media_facts(copy)["tags"] == {"prompt": {"1": "x"}, "workflow": {}}


def test_rewrapping_gives_up_where_the_container_cannot_hold_it() -> None:
    data = films.encode(PICTURES, file_format="mp4", codec="h264", frames_per_second=10)
    assert films.rewrap(data, file_format="webm", texts=()) is None


def test_other_files_are_refused() -> None:
    sound = sounds.encode(Audio(0.1, 8000, 1), file_format="flac")
    for data in (b"", b"hello", sound):
        with pytest.raises(sounds.NotMediaError):
            films.read(data)
