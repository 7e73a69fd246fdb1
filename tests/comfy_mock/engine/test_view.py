"""GET /view beyond what the recordings show (protocol 2.4)."""

from __future__ import annotations

import io

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.answers import Answer, ServerTrouble
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.view import view

FOLDERS = Folders()
SECRET = b"not for clients"


def png(mode: str, colour: object, size: tuple[int, int] = (3, 2)) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new(mode, size, colour).save(buffer, "png")  # type: ignore[arg-type]
    return buffer.getvalue()


def stored() -> MemoryFiles:
    files = MemoryFiles()
    files.write("/comfyui/secret.txt", SECRET, now=0.0)
    files.write("/comfyui/outputs/secret.txt", SECRET, now=0.0)
    files.write("/comfyui/output/a.txt", b"a", now=0.0)
    files.write("/comfyui/output/sub/s.txt", b"s", now=0.0)
    files.write("/comfyui/output/rgba.png", png("RGBA", (200, 100, 50, 40)), now=0.0)
    files.write("/comfyui/output/grey.png", png("L", 7), now=0.0)
    files.write('/comfyui/output/q"u\\o.txt', b"q", now=0.0)
    files.write("/comfyui/output/ü.txt", b"u", now=0.0)
    return files


def seen(headers: dict[str, str] | None = None, **query: str) -> Answer:
    return view(stored(), FOLDERS, query, headers or {})


def picture(**query: str) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(seen(**query).body))


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 404),
        ({"filename": ""}, 400),
        ({"filename": "[output]"}, 400),
        ({"filename": "blake3:abc"}, 404),
        ({"filename": "a.txt", "type": "models"}, 400),
        ({"filename": "a.txt", "type": ""}, 400),
        ({"filename": "a.txt [output]", "type": "bogus"}, 200),
        ({"filename": "/comfyui/output/a.txt"}, 400),
        ({"filename": "..%2fsecret.txt"}, 400),
        ({"filename": "a..b.txt"}, 400),
        ({"filename": "sub/s.txt"}, 404),
        ({"filename": "s.txt", "subfolder": "sub"}, 200),
        ({"filename": "s.txt", "subfolder": "../output/sub"}, 200),
        ({"filename": "s.txt", "subfolder": "/comfyui/output/sub"}, 200),
        ({"filename": "s.txt", "subfolder": "sub/../sub"}, 200),
        ({"filename": "s.txt", "subfolder": "nope/../sub"}, 404),
        ({"filename": "s.txt", "subfolder": "sub/s.txt/../"}, 404),
        ({"filename": "secret.txt", "subfolder": ".."}, 403),
        ({"filename": "secret.txt", "subfolder": "../outputs"}, 403),
        ({"filename": "secret.txt", "subfolder": "/"}, 403),
        ({"filename": "s.txt", "subfolder": "sub\0"}, 404),
        ({"filename": "a.txt\0.png"}, 404),
        ({"filename": "a" * 100_000}, 404),
        ({"filename": "a.txt", "subfolder": "a" * 100_000}, 404),
        ({"filename": "sub"}, 404),
        ({"filename": "."}, 404),
    ],
)
def test_what_is_found(query: dict[str, str], status: int) -> None:
    answer = seen(**query)
    assert answer.status == status
    assert status == 200 or answer == Answer(status)


@given(
    st.lists(st.sampled_from(["..", ".", "/", "\\", "secret.txt", "outputs", "\0", "%2e", "[input]", " "])).map("".join)
)
def test_no_spelling_shows_what_lies_outside(path: str) -> None:
    queries = [{"filename": path}, {"filename": "secret.txt", "subfolder": path}, {"filename": path, "subfolder": path}]
    assert all(seen(**query).body != SECRET for query in queries)


@pytest.mark.parametrize(
    ("query", "image_format", "mode"),
    [
        ({"preview": "jpeg"}, "JPEG", "RGB"),
        ({"preview": "webp"}, "WEBP", "RGBA"),
        ({"preview": "webp", "channel": "rgb"}, "WEBP", "RGB"),
        ({"preview": "jpeg", "channel": "alpha"}, "WEBP", "RGBA"),
        ({"preview": "nonsense;7"}, "WEBP", "RGBA"),
        ({"preview": "jpeg;5"}, "JPEG", "RGB"),
        ({"channel": "rgb"}, "PNG", "RGB"),
        ({"channel": "a"}, "PNG", "RGBA"),
    ],
)
def test_other_pictures_of_a_picture(query: dict[str, str], image_format: str, mode: str) -> None:
    answer = seen(filename="rgba.png", **query)
    image = PIL.Image.open(io.BytesIO(answer.body))
    assert (image.format, image.mode, image.size) == (image_format, mode, (3, 2))
    assert answer.content_type == f"image/{image_format.lower()}"
    assert answer.headers == (("Content-Disposition", 'filename="rgba.png"'),)


@pytest.mark.parametrize("quality", ["²", "9" * 50, "9" * 5000])
def test_digits_that_are_no_quality_are_trouble(quality: str) -> None:
    with pytest.raises(ServerTrouble):
        seen(filename="rgba.png", preview=f"jpeg;{quality}")


def test_only_an_alpha_channel_is_decoded() -> None:
    files = MemoryFiles()
    for mode in ("RGB", "RGBA"):
        buffer = io.BytesIO()
        PIL.Image.effect_noise((64, 64), 90.0).convert(mode).save(buffer, "png")
        files.write(f"/comfyui/output/{mode}.png", buffer.getvalue()[:-100], now=0.0)
    assert view(files, FOLDERS, {"filename": "RGB.png", "channel": "a"}, {}).status == 200
    for query in ({"filename": "RGBA.png", "channel": "a"}, {"filename": "RGB.png", "channel": "rgb"}):
        with pytest.raises(ServerTrouble):
            view(files, FOLDERS, query, {})


def test_quality_counts() -> None:
    """A lower quality is coarser: fewer bytes for a picture with detail."""
    files = MemoryFiles()
    noise = PIL.Image.effect_noise((64, 64), 90.0)
    buffer = io.BytesIO()
    noise.save(buffer, "png")
    files.write("/comfyui/output/n.png", buffer.getvalue(), now=0.0)
    sizes = [len(view(files, FOLDERS, {"filename": "n.png", "preview": f"jpeg;{q}"}, {}).body) for q in (5, 50, 95)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3
    assert view(files, FOLDERS, {"filename": "n.png", "preview": "jpeg"}, {}) == view(
        files, FOLDERS, {"filename": "n.png", "preview": "jpeg;90"}, {}
    )


def test_the_channels_of_a_picture() -> None:
    assert picture(filename="rgba.png", channel="rgb").getpixel((0, 0)) == (200, 100, 50)
    assert picture(filename="rgba.png", channel="a").getpixel((0, 0)) == (0, 0, 0, 40)
    assert picture(filename="grey.png", channel="rgb").getpixel((0, 0)) == (7, 7, 7)
    assert picture(filename="grey.png", channel="a").getpixel((0, 0)) == (0, 0, 0, 255)


@pytest.mark.parametrize("query", [{"preview": "webp"}, {"channel": "rgb"}, {"channel": "a"}])
def test_there_is_no_picture_of_what_is_none(query: dict[str, str]) -> None:
    with pytest.raises(ServerTrouble, match=r"a\.txt is not a picture"):
        seen(filename="a.txt", **query)


@given(st.binary())
def test_a_broken_picture_is_trouble(rest: bytes) -> None:
    files = MemoryFiles()
    files.write("/comfyui/output/x.png", png("RGB", (1, 2, 3))[:30] + rest, now=0.0)
    with pytest.raises(ServerTrouble):
        view(files, FOLDERS, {"filename": "x.png", "preview": "webp"}, {})


@pytest.mark.parametrize(
    ("name", "disposition"), [('q"u\\o.txt', 'filename="q\\"u\\\\o.txt"'), ("ü.txt", 'filename="ü.txt"')]
)
def test_names_are_quoted(name: str, disposition: str) -> None:
    assert dict(seen(filename=name).headers)["Content-Disposition"] == disposition
