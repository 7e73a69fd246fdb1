"""The workflows that clients are given, in API format. Pictures are told apart by their size."""

from __future__ import annotations

from typing import Any

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"

FIRST, SECOND = {"filename_prefix": "conform"}, {"filename_prefix": "scaled"}
"""Inputs by which rules know the output nodes: clients may give nodes ids of their own."""


def node(class_type: str, title: str, **inputs: Any) -> dict[str, Any]:
    """A node with the title that an editor gives it."""
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


def text_to_image(*, batch: int = 1, seed: int = 7) -> dict[str, Any]:
    """The default text-to-image graph with four steps: node 9 saves 64×64 pictures."""
    return {
        "3": node(
            "KSampler", "KSampler", seed=seed, steps=4, cfg=8, sampler_name="euler", scheduler="normal", denoise=1,
            model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0],
        ),
        "4": node("CheckpointLoaderSimple", "Load Checkpoint", ckpt_name=CHECKPOINT),
        "5": node("EmptyLatentImage", "Empty Latent Image", width=64, height=64, batch_size=batch),
        "6": node("CLIPTextEncode", "Positive", text="a lighthouse", clip=["4", 1]),
        "7": node("CLIPTextEncode", "Negative", text="bad hands", clip=["4", 1]),
        "8": node("VAEDecode", "VAE Decode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", "Save Image", **FIRST, images=["8", 0]),
    }  # fmt: skip


def two_outputs() -> dict[str, Any]:
    """Text to image, and a second output: node 12 saves it upscaled to 96×48, after node 9."""
    return text_to_image() | {
        "11": node(
            "ImageScale", "Upscale", image=["8", 0], upscale_method="bilinear", width=96, height=48, crop="disabled"
        ),
        "12": node("SaveImage", "Save Scaled", **SECOND, images=["11", 0]),
    }


def quick(*, width: int = 48, height: int = 32) -> dict[str, Any]:
    """Two nodes that take no time: node 9 saves a picture of this size."""
    return {
        "8": node("EmptyImage", "Empty Image", width=width, height=height, batch_size=1, color=255),
        "9": node("SaveImage", "Save Image", filename_prefix="quick", images=["8", 0]),
    }


def twins() -> dict[str, Any]:
    """Two equal nodes, each with an output: the second of them is answered from the cache of the run itself."""
    return quick() | {
        "11": node("EmptyImage", "The same", width=48, height=32, batch_size=1, color=255),
        "12": node("PreviewImage", "Preview Image", images=["11", 0]),
    }


def preview() -> dict[str, Any]:
    """Its only output is a temporary picture."""
    return {**quick(), "9": node("PreviewImage", "Preview Image", images=["8", 0])}


def text_beside() -> dict[str, Any]:
    """Text to image, and an output node that shows a text."""
    return text_to_image() | {"13": node("PreviewAny", "Preview as Text", source=7)}


def refused() -> dict[str, Any]:
    """Text to image with a checkpoint that the server does not have."""
    graph = text_to_image()
    graph["4"]["inputs"]["ckpt_name"] = "none.safetensors"
    return graph


def blocked() -> dict[str, Any]:
    """Others' workflow whose output is blocked with a message, which is an `execution_error` (protocol 5.10)."""
    return {**quick(width=24, height=24), "8": node("Blocks", "Blocks")}
