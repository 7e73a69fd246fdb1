"""Pictures of models (protocol 2.3)."""

from __future__ import annotations

import base64
import io
import json

import PIL.Image
import pytest
from test_models import safetensors

from comfy_mock.engine.answers import Answer, ServerTrouble
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.model_previews import model_preview
from comfy_mock.engine.models import ModelFolders


def png(colour: str) -> bytes:
    written = io.BytesIO()
    PIL.Image.new("RGB", (8, 6), colour).save(written, format="PNG")
    return written.getvalue()


STORED = {
    "/comfyui/models/loras/a.safetensors": b"",
    "/comfyui/models/loras/a.png": png("red"),
    "/comfyui/models/loras/b.preview.jpg": png("red"),
    "/comfyui/models/loras/b.text.png": png("blue"),
    "/comfyui/models/loras/b.json": b"{}",
    "/comfyui/models/loras/broken.png": b"no picture",
    "/comfyui/models/loras/cover.safetensors": safetensors(
        {"__metadata__": {"ssmd_cover_images": json.dumps([base64.b64encode(png("red")).decode()])}}
    ),
    "/comfyui/models/secret.png": png("blue"),
}


def preview(folder: str, index: str, name: str) -> Answer:
    files = MemoryFiles()
    for path, content in STORED.items():
        files.write(path, content, now=1.0)
    return model_preview(ModelFolders({"loras": ["plain.safetensors"]}, files, Folders()), files, folder, index, name)


@pytest.mark.parametrize("name", ["a.safetensors", "b.safetensors", "cover.safetensors"])
def test_the_picture_beside_or_inside_the_file_comes_as_webp(name: str) -> None:
    answer = preview("loras", "0", name)
    assert (answer.status, answer.content_type) == (200, "image/webp")
    picture = PIL.Image.open(io.BytesIO(answer.body)).convert("RGB")
    assert (picture.format or "WEBP", picture.size) == ("WEBP", (8, 6))
    red, _, blue = picture.getpixel((4, 3))  # type: ignore[misc]  # an RGB picture has triples
    assert red > 200 > blue


@pytest.mark.parametrize(
    ("folder", "index", "name", "status"),
    [
        ("nope", "0", "x", 404),
        ("loras", "x", "x", 400),
        ("loras", "9", "x", 404),
        ("loras", "-1", "x", 404),
        ("loras", "0", "", 400),
        ("loras", "0", "plain.safetensors", 404),
        ("loras", "0", "nowhere/plain.safetensors", 404),
        ("loras", "0", "a\0.safetensors", 404),
        ("loras", "0", "../secret.safetensors", 403),
        ("loras", "0", "/comfyui/models/secret.safetensors", 403),
    ],
)
def test_refusals_are_empty(folder: str, index: str, name: str, status: int) -> None:
    answer = preview(folder, index, name)
    assert (answer.status, answer.body, answer.content_type) == (status, b"", None)


def test_a_broken_picture_is_trouble() -> None:
    with pytest.raises(ServerTrouble):
        preview("loras", "0", "broken.safetensors")
