"""The workflows in `fixtures/` run on a fake as it comes, and leave what they say."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest

from comfy_mock import ComfyMock

WORKFLOWS = Path(__file__).resolve().parent.parent / "fixtures" / "workflows"


def outputs(server: ComfyMock, name: str) -> dict[str, Any]:
    prompt = json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
    answer = httpx.post(f"{server.url}/prompt", json={"prompt": prompt})
    assert answer.status_code == 200, answer.text
    prompt_id = answer.json()["prompt_id"]
    while not (history := httpx.get(f"{server.url}/history/{prompt_id}").json()):
        pass
    entry = history[prompt_id]
    assert entry["status"]["status_str"] == "success", entry["status"]
    found: dict[str, Any] = entry["outputs"]
    return found


def picture(server: ComfyMock, item: dict[str, str]) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(httpx.get(f"{server.url}/view", params=item).content))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("text_to_image", [(512, 512)]),
        ("image_to_image", None),
        ("lora_and_upscale", [(2048, 2048)] * 2),
        ("images_without_a_model", [(64, 48)] * 2),
    ],
)
def test_a_workflow_saves_its_pictures(name: str, sizes: list[tuple[int, int]] | None) -> None:
    with ComfyMock() as server:
        saved = [
            item for ui in outputs(server, name).values() for item in ui.get("images", ()) if item["type"] != "temp"
        ]
        pictures = [picture(server, item) for item in saved]
        if sizes is None:
            example = {"filename": "example.png", "subfolder": "", "type": "input"}
            sizes = [picture(server, example).size]
        assert [shown.size for shown in pictures] == sizes
        assert all("prompt" in shown.info for shown in pictures)


def test_a_workflow_saves_a_video() -> None:
    with ComfyMock() as server:
        (item,) = outputs(server, "video")["3"]["images"]
        content = httpx.get(f"{server.url}/view", params=item)
        assert content.headers["content-type"] == "video/mp4"
        assert content.content[4:8] == b"ftyp"


def test_every_fixture_is_described() -> None:
    text = (WORKFLOWS.parent / "README.md").read_text("utf-8")
    for path in WORKFLOWS.glob("*.json"):
        assert f"`{path.name}`" in text
