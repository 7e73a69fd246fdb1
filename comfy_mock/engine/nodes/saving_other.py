"""Nodes that write or show text, latents, vector pictures, models and training data (protocol 7.2)."""

from __future__ import annotations

import json
import posixpath
import random
import struct
from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

from comfy_mock.engine.media import Texts, safetensors
from comfy_mock.engine.media import pictures as files_of
from comfy_mock.engine.metadata import texts
from comfy_mock.engine.nodes import arguments
from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.saving_images import SAVED_COMPRESSION
from comfy_mock.engine.paths import inside
from comfy_mock.engine.saving import SavePath, file_item, save_path
from comfy_mock.engine.tensor_text import text_of
from comfy_mock.engine.values import Frame, Image, Latent, Opaque

_EDGE_ITEMS = 6
"""PreviewAny has torch print twice as many numbers at the edges of a tensor as usual."""

_NOISE = struct.unpack("<256f", struct.pack("<256f", *((step - 127.5) / 64 for step in range(256))))


@node("PreviewAny")
def preview_any(call: Call) -> Output:
    """Any value as text; the text is the output too."""
    text = any_text(call.inputs.get("source"))
    return Output((text,), {"text": [text]})


def any_text(value: Any) -> str:
    """A value as PreviewAny shows it: see protocol 7.2."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (bool, int, float)):
        return str(value)
    try:
        return json.dumps(value, indent=4, ensure_ascii=False)
    except (TypeError, ValueError):
        return text_of(value, _EDGE_ITEMS)


@node("SaveText")
def save_text(call: Call) -> Output:
    """One text file."""
    text = arguments.argument(call, "text")
    where = _place(call, call.inputs["filename_prefix"])
    name = where.name(0, f".{call.inputs['format']}")
    call.files.write(where.path(name), text.encode(), now=call.now)
    return Output((text,), {"text": [text], "files": [file_item(name, where.subfolder, "output")]})


@node("SaveLatent", seconds=0.01)
def save_latent(call: Call) -> Output:
    """One `.latent` file, which LoadLatent reads."""
    latent = arguments.latent(call, "samples")
    where = _place(call, call.inputs["filename_prefix"])
    name = where.name(0, "_.latent")
    call.files.write(where.path(name), partial(latent_file, latent, texts(call)), now=call.now)
    return Output((latent,), {"latents": [file_item(name, where.subfolder, "output")]})


def latent_file(latent: Latent, metadata: Texts) -> bytes:
    """The `.latent` file of a value: safetensors with the empty marker of the format and the numbers, F32."""
    size = (latent.height, latent.width) if latent.frames is None else (latent.frames, latent.height, latent.width)
    shape = (latent.batch, latent.channels, *size)
    if latent.fill == 0:
        tensor = safetensors.zeros("latent_tensor", "F32", shape)
    else:
        count = len(safetensors.zeros("latent_tensor", "U8", shape).data)
        tensor = safetensors.Tensor("latent_tensor", "F32", shape, _numbers(latent, count))
    return safetensors.write([safetensors.zeros("latent_format_version_0", "F32", [0]), tensor], metadata)


def _numbers(latent: Latent, count: int) -> bytes:
    if latent.fill is not None:
        return struct.pack("<f", latent.fill) * count
    noise = random.Random(f"latent/{latent.subject.seed}").randbytes(count)
    return struct.pack(f"<{count}f", *map(_NOISE.__getitem__, noise))


@node("SaveSVGNode")
def save_svg(call: Call) -> Output:
    """One SVG file with the metadata inside."""
    svg = arguments.argument(call, "svg")
    where = _place(call, call.inputs["filename_prefix"])
    name = where.name(0, "_.svg")
    call.files.write(where.path(name), _svg_file(svg, texts(call)), now=call.now)
    return Output((svg,), {"images": [file_item(name, where.subfolder, "output")]})


def _svg_file(svg: Any, metadata: Texts) -> bytes:
    label = str(svg.facts.get("prompt", "")) if isinstance(svg, Opaque) else str(svg)
    notes = escape(json.dumps({key: json.loads(text) for key, text in metadata}))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 512 512">'
        f"<metadata>{notes}</metadata>"
        '<rect width="512" height="512" fill="#345"/><circle cx="256" cy="200" r="120" fill="#e94"/>'
        f'<text x="256" y="440" text-anchor="middle" font-size="24" fill="#fff">{escape(label)}</text></svg>'
    ).encode()


@node(
    "CheckpointSave",
    "CLIPSave",
    "VAESave",
    "ModelSave",
    "ImageOnlyCheckpointSave",
    "LoraSave",
    "SaveLoRA",
    seconds=0.5,
)
def save_model(call: Call) -> Output:
    """One small safetensors file in place of a model's weights. No ui."""
    where = _place(call, call.inputs["prefix" if call.class_type == "SaveLoRA" else "filename_prefix"])
    steps = call.inputs.get("steps") if call.class_type == "SaveLoRA" else None
    stem = where.filename if steps is None else f"{where.filename}_{steps}_steps"
    content = safetensors.write([safetensors.zeros("weight", "F16", [1])], texts(call))
    call.files.write(where.path(f"{stem}_{where.counter:05}_.safetensors"), content, now=call.now)
    return Output()


@node("SaveImageDataSetToFolder", "SaveImageTextDataSetToFolder", seconds=0.05)
def save_dataset(call: Call) -> Output:
    """The pictures of a list, numbered from 0, each with its text beside it. No ui."""
    folder = _dataset_folder(call, call.inputs["folder_name"][0])
    prefix, mode = call.inputs["filename_prefix"][0], call.inputs["mode"][0]
    captions: Sequence[str] = call.inputs.get("texts") or ()
    frames = [frame for images in call.inputs["images"] for frame in arguments.checked(images, Image).frames]
    there = [name for name in call.files.names(folder) if name.startswith(prefix) and name.endswith(".png")]
    first = len(there) if mode == "increment" else 0
    for number, frame in enumerate(frames):
        stem = posixpath.join(folder, f"{prefix}_{first + number:05}")
        call.files.write(f"{stem}.png", partial(_png_of, frame), now=call.now)
        if number < len(captions):
            call.files.write(f"{stem}.txt", captions[number].encode(), now=call.now)
    return Output()


@node("SaveTrainingDataset", seconds=0.05)
def save_training_dataset(call: Call) -> Output:
    """A folder with the facts of the data set, and one placeholder per shard. No ui."""
    folder = _dataset_folder(call, call.inputs["folder_name"][0])
    samples, size = len(call.inputs["latents"]), call.inputs["shard_size"][0]
    shards = -(-samples // size)
    for number in range(shards):
        call.files.write(posixpath.join(folder, f"shard_{number:04}.pkl"), b"", now=call.now)
    facts = {"num_samples": samples, "num_shards": shards, "shard_size": size}
    call.files.write(posixpath.join(folder, "metadata.json"), json.dumps(facts, indent=2).encode(), now=call.now)
    return Output()


def _place(call: Call, prefix: str) -> SavePath:
    return save_path(prefix, call.folders.output, call.files, now=call.now, utc_offset_s=call.utc_offset_s)


def _dataset_folder(call: Call, name: str) -> str:
    """The folder of a data set; it is made if it is missing. Raises `ValueError` where it is not an output folder."""
    folder = inside(call.folders.output, name)
    if folder is None:
        raise ValueError(f"the folder_name {name!r} leads out of the output folder")
    call.files.make_folder(folder, now=call.now)
    return folder


def _png_of(frame: Frame) -> bytes:
    return files_of.png(frame.image(), compress_level=SAVED_COMPRESSION)
