"""What every driver shares: steps that are run one after another, and a report on the last line of stdout.

Drivers run in the virtual environment of the client they drive, so this needs the standard library only.
"""

from __future__ import annotations

import json
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any

BASE = sys.argv[1] if len(sys.argv) > 1 else ""
HOST = BASE.removeprefix("http://")
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"

_steps: list[dict[str, str | None]] = []


def step(body: Callable[[], None]) -> None:
    """Run a step; one that fails is reported and does not keep the next ones from running."""
    name = (body.__doc__ or body.__name__).strip()
    try:
        body()
    except BaseException:
        _steps.append({"name": name, "error": traceback.format_exc()})
    else:
        _steps.append({"name": name, "error": None})


def finish() -> None:
    """Print the report."""
    print("\nREPORT " + json.dumps({"steps": _steps}), flush=True)


def raises(kind: type[BaseException], call: Callable[[], Any]) -> BaseException:
    """The exception of this kind that `call` raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n", data[:16]
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def text_to_image(
    seed: int, *, steps: int = 4, size: int = 64, batch: int = 1, prefix: str = "interop"
) -> dict[str, Any]:
    """The default text-to-image graph, small. Other seeds keep the server's cache from answering."""
    sampler = {"cfg": 8, "denoise": 1, "sampler_name": "euler", "scheduler": "normal", "seed": seed, "steps": steps}
    links = {"latent_image": ["5", 0], "model": ["4", 0], "negative": ["7", 0], "positive": ["6", 0]}
    return {
        "3": _node("KSampler", "KSampler", **sampler, **links),
        "4": _node("CheckpointLoaderSimple", "Load Checkpoint", ckpt_name=CHECKPOINT),
        "5": _node("EmptyLatentImage", "Empty Latent Image", batch_size=batch, height=size, width=size),
        "6": _node("CLIPTextEncode", "Positive", clip=["4", 1], text="a lighthouse"),
        "7": _node("CLIPTextEncode", "Negative", clip=["4", 1], text="bad hands"),
        "8": _node("VAEDecode", "VAE Decode", samples=["3", 0], vae=["4", 2]),
        "9": _node("SaveImage", "Save Image", filename_prefix=prefix, images=["8", 0]),
    }


def image_to_image(seed: int, image: str = "example.png") -> dict[str, Any]:
    """Image to image, from an uploaded picture."""
    graph = text_to_image(seed)
    graph["5"] = _node("VAEEncode", "VAE Encode", pixels=["10", 0], vae=["4", 2])
    graph["10"] = _node("LoadImage", "Load Image", image=image)
    return graph


def failing(seed: int) -> dict[str, Any]:
    """A graph that is accepted and fails in its last node: it saves outside of the output folder."""
    return text_to_image(seed, prefix="../../outside")


def _node(class_type: str, title: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}
