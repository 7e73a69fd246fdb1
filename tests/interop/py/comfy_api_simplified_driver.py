"""The main path of comfy-api-simplified."""

from __future__ import annotations

import json
from pathlib import Path

from comfy_api_simplified import ComfyApiError, ComfyApiWrapper, ComfyWorkflowWrapper
from harness import BASE, CHECKPOINT, failing, finish, image_to_image, png_size, raises, step, text_to_image

api = ComfyApiWrapper(f"{BASE}/")


@step
def metadata() -> None:
    assert api.get_system_stats()["system"]["comfyui_version"] == "0.33.0"
    assert len(api.get_object_info()) == 887
    assert list(api.get_object_info("KSampler")) == ["KSampler"]
    assert isinstance(api.get_embeddings(), list)
    assert api.get_queue() == {"queue_running": [], "queue_pending": []}


@step
def a_prompt_and_its_picture() -> None:
    Path("workflow.json").write_text(json.dumps(text_to_image(4001, batch=2)), encoding="utf-8")
    workflow = ComfyWorkflowWrapper("workflow.json")
    workflow.set_node_param("Load Checkpoint", "ckpt_name", CHECKPOINT)
    workflow.set_node_param("KSampler", "steps", 5)
    images = api.queue_and_wait_images(workflow, "Save Image")
    assert list(images) == ["interop_00001_.png", "interop_00002_.png"]
    assert {png_size(data) for data in images.values()} == {(64, 64)}


@step
def places_in_the_queue_and_interrupt() -> None:
    running = api.queue_prompt(text_to_image(4002, steps=200))["prompt_id"]
    while not api.get_queue()["queue_running"]:
        pass
    waiting = api.queue_prompt(text_to_image(4003), client_id="someone")["prompt_id"]
    assert api.get_queue_size_before(running) == 0
    assert api.get_queue_size_before(waiting) == 1
    api.interrupt()
    while waiting not in api.get_history(waiting):
        pass
    assert api.get_history(running)[running]["status"]["status_str"] == "error"
    raises(ValueError, lambda: api.get_queue_size_before(waiting))


@step
def upload_and_use() -> None:
    first = api.queue_and_wait_images(ComfyWorkflowWrapper(text_to_image(4004)), "Save Image")
    Path("mine.png").write_bytes(next(iter(first.values())))
    stored = api.upload_image("mine.png")
    assert stored == {"name": "mine.png", "subfolder": "default_upload_folder", "type": "input"}
    assert api.get_image("mine.png", "default_upload_folder", "input") == Path("mine.png").read_bytes()
    workflow = ComfyWorkflowWrapper(image_to_image(4005))
    workflow.set_node_param("Load Image", "image", f"{stored['subfolder']}/{stored['name']}")
    assert [png_size(data) for data in api.queue_and_wait_images(workflow, "Save Image").values()] == [(64, 64)]


@step
def refused_and_failing_prompts() -> None:
    broken = text_to_image(4006)
    broken["4"]["inputs"]["ckpt_name"] = "none.safetensors"
    assert "400" in str(raises(ComfyApiError, lambda: api.queue_prompt(broken)))
    raises(ComfyApiError, lambda: api.queue_and_wait_images(ComfyWorkflowWrapper(failing(4007)), "Save Image"))
    raises(ComfyApiError, lambda: api.get_image("none.png", "", "output"))


finish()
