"""The main path of comfy-script's runtime: nodes from the server, queue, progress, previews, pictures, failure."""

from __future__ import annotations

import threading
from typing import Any

from comfy_script.runtime import TaskProgress, Workflow, load, queue
from harness import BASE, CHECKPOINT, finish, step

load(f"{BASE}/")
from comfy_script.runtime.nodes import (  # noqa: E402  the names exist once a server's catalogue was loaded
    CheckpointLoaderSimple,
    CLIPTextEncode,
    EmptyImage,
    EmptyLatentImage,
    KSampler,
    PreviewAny,
    SaveImage,
    VAEDecode,
)


def text_to_image(seed: int, steps: int = 5, prefix: str = "script") -> Any:
    model, clip, vae = CheckpointLoaderSimple(CHECKPOINT)
    positive, negative = CLIPTextEncode("a lighthouse", clip), CLIPTextEncode("text", clip)
    latent = EmptyLatentImage(64, 32, 1)
    latent = KSampler(model, seed, steps, 8, "euler", "normal", positive, negative, latent, 1)
    return SaveImage(VAEDecode(latent, vae), prefix)


@step
def a_prompt_with_progress_and_its_picture() -> None:
    progress: list[tuple[str, int, int]] = []
    previews: list[tuple[int, int]] = []

    def note(update: TaskProgress) -> None:
        progress.append((update.node_id, update.value, update.max))

    with Workflow() as workflow:
        saved = text_to_image(6001)
    assert workflow.task is not None
    workflow.task.add_progress_callback(note)
    workflow.task.add_preview_callback(lambda task, node, image: previews.append(image.size))
    images = saved.wait()
    assert images[0].size == (64, 32)
    assert [(value, maximum) for _, value, maximum in progress][-1] == (5, 5)
    assert set(previews) == {(512, 256)}


@step
def several_outputs() -> None:
    with Workflow(wait=True) as workflow:
        picture = EmptyImage(16, 8, 2, 255)
        first = SaveImage(picture, "one")
        PreviewAny(7)
    assert [image.size for image in first.wait()] == [(16, 8), (16, 8)]
    assert workflow.task is not None
    assert workflow.task.done()


@step
def cancel() -> None:
    running = threading.Event()
    with Workflow() as workflow:
        saved = text_to_image(6002, steps=200)
    assert workflow.task is not None
    workflow.task.add_progress_callback(lambda update: running.set())
    assert running.wait(20)
    queue.cancel_all()
    assert saved.wait() is None
    assert workflow.task.done()


@step
def a_prompt_that_fails() -> None:
    with Workflow() as workflow:
        text_to_image(6003, prefix="../../outside")
    assert workflow.task is not None
    workflow.task.wait()


@step
def a_prompt_that_is_refused() -> None:
    with Workflow() as workflow:
        SaveImage(EmptyImage(0, 8, 1, 0), "refused")
    assert workflow.task is None


finish()
