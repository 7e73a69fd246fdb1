"""The main path of comfyui-workflow-client, its blocking and its asynchronous half."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from comfyuiclient import ComfyUIClient, ComfyUIClientAsync
from harness import HOST, failing, finish, image_to_image, raises, step, text_to_image
from PIL import Image


def write(name: str, graph: object) -> str:
    Path(name).write_text(json.dumps(graph), encoding="utf-8")
    return name


@step
def blocking_prompt_and_picture() -> None:
    client = ComfyUIClient(HOST, write("t2i.json", text_to_image(5001)))
    client.connect()
    client.set_data(key="KSampler", seed=5002)
    client.set_data(key="Positive", text="a castle")
    results = client.generate(["Save Image"])
    assert results["Save Image"].size == (64, 64)
    client.close()


@step
def blocking_upload_and_use() -> None:
    client = ComfyUIClient(HOST, write("load.json", image_to_image(5006)))
    client.connect()
    client.set_data(key="Load Image", image=Image.new("RGB", (128, 64), (200, 30, 90)))
    assert client.comfyui_prompt["10"]["inputs"]["image"] == "temp/temp.png"
    assert client.generate(["Save Image"])["Save Image"].size == (128, 64)
    client.close()


@step
def blocking_refused() -> None:
    broken = text_to_image(5003)
    del broken["9"]["inputs"]["images"]
    client = ComfyUIClient(HOST, write("broken.json", broken))
    client.connect()
    assert "400" in str(raises(ConnectionError, lambda: client.generate(["Save Image"])))
    client.close()


@step
def asynchronous_refused() -> None:
    async def run() -> None:
        client = ComfyUIClientAsync(HOST, write("empty.json", {}))
        await client.connect()
        await client.generate()

    assert "400" in str(raises(ConnectionError, lambda: asyncio.run(run())))


@step
def a_workflow_of_the_editor_is_converted() -> None:
    workflow = {
        "nodes": [
            {"id": 1, "type": "EmptyLatentImage", "widgets_values": [32, 16, 2], "inputs": []},
            {"id": 2, "type": "CheckpointLoaderSimple", "widgets_values": ["v1-5-pruned-emaonly-fp16.safetensors"]},
            {"id": 3, "type": "VAEDecode", "inputs": [{"name": "samples", "link": 1}, {"name": "vae", "link": 2}]},
            {"id": 4, "type": "PreviewImage", "inputs": [{"name": "images", "link": 3}]},
        ],
        "links": [[1, 1, 0, 3, 0, "LATENT"], [2, 2, 2, 3, 1, "VAE"], [3, 3, 0, 4, 0, "IMAGE"]],
    }
    client = ComfyUIClient(HOST, write("editor.json", workflow))
    client.connect()
    assert client.generate(["PreviewImage"])["PreviewImage"].size == (32, 16)
    client.close()


@step
def asynchronous() -> None:
    async def run() -> None:
        client = ComfyUIClientAsync(HOST, write("async.json", text_to_image(5004)))
        await client.connect()
        await client.set_data(key="KSampler", seed=5005)
        assert (await client.generate(["Save Image"]))["Save Image"].size == (64, 64)
        client.comfyui_prompt = image_to_image(5007)
        await client.set_data(key="Load Image", image=Image.new("RGB", (64, 128)))
        assert (await client.generate(["Save Image"]))["Save Image"].size == (64, 128)
        client.comfyui_prompt = failing(5008)
        assert await client.generate(["Save Image"]) == {}
        await client.close()

    asyncio.run(asyncio.wait_for(run(), 60))


finish()
