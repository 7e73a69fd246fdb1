"""Pictures larger than Pillow likes: nothing warns, nothing is refused, and the user's own limit stays."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import PIL.Image
import pytest
from node_calls import make_call, run

from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.files import Folders
from comfy_mock.engine.media.opening import PIXELS_MAX, opened_picture, without_pixel_limit
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.model_previews import model_preview
from comfy_mock.engine.models import ModelFolders
from comfy_mock.engine.nodes.api import NodeError
from comfy_mock.engine.uploads import UploadedFile, upload_mask
from comfy_mock.engine.view import view

LIMIT = 100
SIZES = [(15, 10), (30, 10)]
"""Pillow warns of more pixels than its limit, and refuses more than twice as many."""

FOLDERS = Folders()


@pytest.fixture(params=SIZES, ids=["warned of", "refused"])
def files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MemoryFiles:
    picture = PIL.Image.linear_gradient("L").resize(request.param).convert("RGBA")
    picture.putalpha(PIL.Image.linear_gradient("L").resize(request.param))
    data = io.BytesIO()
    picture.save(data, "PNG")
    found = MemoryFiles()
    for folder in (FOLDERS.input, FOLDERS.output, f"{FOLDERS.models}/checkpoints"):
        found.write(f"{folder}/a.png", data.getvalue(), now=0.0)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", LIMIT)
    with pytest.raises((PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError)):
        PIL.Image.open(io.BytesIO(data.getvalue()))
    return found


def load_image(files: MemoryFiles) -> Any:
    images, mask = run(make_call("LoadImage", {"image": "a.png"}, files)).values
    return images.frames[0].image(), mask.frames[0].image()


def load_image_mask(files: MemoryFiles) -> Any:
    return run(make_call("LoadImageMask", {"image": "a.png", "channel": "alpha"}, files)).values[0].frames[0].image()


def paint(files: MemoryFiles) -> Any:
    inputs = {"mask": "a.png", "width": 30, "height": 30, "bg_color": "#102030"}
    return run(make_call("Painter", inputs, files)).values[0].frames[0].image()


def crop(files: MemoryFiles) -> Any:
    images = run(make_call("LoadImage", {"image": "a.png"}, files)).values[0]
    region = {"x": 0, "y": 1, "width": 30, "height": 30}
    cut = run(make_call("ImageCropV2", {"image": images, "crop_region": region}, files)).values[0]
    return cut.frames[0].image()


def look(**query: str) -> Callable[[MemoryFiles], Any]:
    return lambda files: view(files, FOLDERS, {"filename": "a.png", **query}, {})


def put_mask(files: MemoryFiles) -> Any:
    image = UploadedFile("b.png", files.read(f"{FOLDERS.input}/a.png"))
    return upload_mask(files, FOLDERS, {"image": image, "original_ref": json.dumps({"filename": "a.png"})}, now=0.0)


def preview_model(files: MemoryFiles) -> Any:
    return model_preview(ModelFolders({}, files, FOLDERS), files, "checkpoints", "0", "a.safetensors")


@pytest.mark.parametrize(
    "use",
    [
        load_image,
        load_image_mask,
        paint,
        crop,
        look(preview="webp"),
        look(channel="rgb"),
        look(channel="a"),
        put_mask,
        preview_model,
    ],
)
def test_large_pictures_are_opened_and_the_limit_is_what_it_was(
    files: MemoryFiles, use: Callable[[MemoryFiles], Any]
) -> None:
    assert getattr(use(files), "status", 200) == 200
    assert PIL.Image.MAX_IMAGE_PIXELS == LIMIT


def test_the_limit_comes_back_when_the_last_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", LIMIT)
    one, other = without_pixel_limit(), without_pixel_limit()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert PIL.Image.MAX_IMAGE_PIXELS is None
    other.__exit__(None, None, None)
    assert PIL.Image.MAX_IMAGE_PIXELS == LIMIT


def test_a_limit_that_is_set_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", LIMIT)
    with without_pixel_limit():
        PIL.Image.MAX_IMAGE_PIXELS = 7
    assert PIL.Image.MAX_IMAGE_PIXELS == 7


def claiming(width: int, height: int) -> bytes:
    """The beginning of a PNG file with a picture of this size, none of which is there."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (header, b"IDAT")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def test_more_than_a_value_can_have_is_refused() -> None:
    side = int(PIXELS_MAX**0.5)
    with opened_picture(claiming(side, side)) as picture:
        assert picture.size == (side, side)
    too_large = claiming(side + 1, side + 1)
    with pytest.raises(PIL.Image.DecompressionBombError), opened_picture(too_large):
        pass
    files = MemoryFiles()
    files.write(f"{FOLDERS.input}/a.png", too_large, now=0.0)
    files.write(f"{FOLDERS.output}/a.png", too_large, now=0.0)
    with pytest.raises(NodeError, match="Invalid data found"):
        load_image(files)
    with pytest.raises(ServerTrouble, match="is not a picture"):
        look(preview="webp")(files)
