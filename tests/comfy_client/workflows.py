"""Prompts for tests of the client."""

from __future__ import annotations

import itertools
from typing import Any

from comfy_mock import ComfyMock, CustomNode

_numbers = itertools.count(1)


def image(*, outputs: int = 1, prefix: str = "test", color: int | None = None) -> dict[str, Any]:
    """A picture, saved so many times; another colour each time, so that no cache knows it."""
    made = {"width": 16, "height": 8, "batch_size": 1, "color": next(_numbers) if color is None else color}
    graph: dict[str, Any] = {"1": {"class_type": "EmptyImage", "inputs": made}}
    for number in range(outputs):
        inputs = {"images": ["1", 0], "filename_prefix": f"{prefix}{number}"}
        graph[str(2 + number)] = {"class_type": "SaveImage", "inputs": inputs}
    return graph


def sampled(*, steps: int = 4, seed: int | None = None) -> dict[str, Any]:
    """Text to image."""
    text = {"clip": ["4", 1]}
    return {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": next(_numbers) if seed is None else seed,
                "steps": steps,
                "cfg": 7.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
        },
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", **text}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", **text}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "sampled"}},
    }


def failing() -> dict[str, Any]:
    """A run that fails at node 2."""
    return {"1": {"class_type": "Number", "inputs": {"value": next(_numbers)}},
            "2": {"class_type": "Failing", "inputs": {"value": ["1", 0]}}}  # fmt: skip


def slow(value: int | None = None) -> dict[str, Any]:
    """A run that takes as long as the server's node `Slow`."""
    return {"1": {"class_type": "Slow", "inputs": {"value": next(_numbers) if value is None else value}}}


def add_nodes(server: ComfyMock, *, seconds: float = 0.3) -> ComfyMock:
    """Give a server the nodes `Number`, `Slow` (so many seconds), `Failing` and `Text`."""

    def fail(value: Any) -> Any:
        raise ValueError(f"boom {value}")

    number = {"value": ("INT", {"default": 0, "min": 0, "max": 10**9})}
    server.add_node(CustomNode("Number", number, ["INT"], lambda value: value))
    shown = {"value": ["done"]}
    server.add_node(CustomNode("Slow", number, [], lambda value: {"ui": shown}, output_node=True, seconds=seconds))
    server.add_node(CustomNode("Failing", {"value": "INT"}, [], fail, output_node=True))
    text = {"size": ("INT", {"default": 0, "min": 0, "max": 2**31})}
    server.add_node(CustomNode("Text", text, [], lambda size: {"ui": {"text": ["x" * size]}}, output_node=True))
    return server
