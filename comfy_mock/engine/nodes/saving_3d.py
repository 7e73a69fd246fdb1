"""Nodes that show and write 3D models (protocol 7.2). A model is a file with a format; meshes become a small cube."""

from __future__ import annotations

from typing import Any

from comfy_mock.engine.media import Texts
from comfy_mock.engine.media.glb import glb
from comfy_mock.engine.metadata import texts
from comfy_mock.engine.nodes import arguments
from comfy_mock.engine.nodes.api import Call, Output, node
from comfy_mock.engine.nodes.saving_images import preview_items
from comfy_mock.engine.saving import file_item, save_path
from comfy_mock.engine.values import Opaque


@node("SaveGLB", seconds=0.02)
def save_glb(call: Call) -> Output:
    """One model file; meshes become GLB."""
    model = arguments.argument(call, "mesh")
    item = _write(call, model, call.inputs["filename_prefix"], "_." + file_format(model), texts(call))
    return Output((), {"3d": [item]})


@node("Preview3D", seconds=0.02)
def preview_3d(call: Call) -> Output:
    """A model for the viewer, by the name that was given or as a file of its own."""
    model = arguments.argument(call, "model_file")
    background = arguments.optional_image(call, "bg_image")
    picture = None
    if background is not None and background.batch:
        picture = f"temp/{preview_items(call, background.frames[:1])[0]['filename']}"
    name = model if isinstance(model, str) else _shown_file(call, model)
    return Output((), {"result": [name, _plain(call.inputs.get("camera_info")), picture]})


@node("Preview3DAdvanced", "PreviewGaussianSplat", "PreviewPointCloud", seconds=0.02)
def preview_model(call: Call) -> Output:
    """A model for the viewer with its viewport."""
    return _edited(call, _shown_file(call, arguments.argument(call, "model_3d")))


@node("Save3DAdvanced", "SaveGaussianSplat", "SavePointCloud", seconds=0.02)
def save_model_3d(call: Call) -> Output:
    """One model file, shown with its viewport; no underscore behind the number."""
    model = arguments.argument(call, "model_3d")
    item = _write(call, model, call.inputs["filename_prefix"], "." + file_format(model), texts(call))
    name = f"{item['subfolder']}/{item['filename']}" if item["subfolder"] else item["filename"]
    return _edited(call, name)


def file_format(model: Any) -> str:
    """The extension of a model's file, without its dot: `glb` for what is no file yet."""
    if isinstance(model, Opaque):
        declared = model.type.removeprefix("FILE_3D_").lower() if model.type.startswith("FILE_3D_") else "glb"
        known = declared in ("glb", "gltf", "obj", "fbx", "stl", "usdz", "ply", "splat", "spz", "ksplat")
        return str(model.facts.get("format") or (declared if known else "glb"))
    return "glb"


def _write(call: Call, model: Any, prefix: str, ending: str, metadata: Texts) -> dict[str, str]:
    where = save_path(prefix, call.folders.output, call.files, now=call.now, utc_offset_s=call.utc_offset_s)
    name = where.name(0, ending)
    call.files.write(where.path(name), _content(model, metadata), now=call.now)
    return file_item(name, where.subfolder, "output")


def _shown_file(call: Call, model: Any) -> str:
    """Write the model for the viewer, under a random name in the output folder."""
    name = f"preview3d_{call.random.getrandbits(128):032x}.{file_format(model)}"
    call.files.write(f"{call.folders.output}/{name}", _content(model, ()), now=call.now)
    return name


def _content(model: Any, metadata: Texts) -> bytes:
    loaded = model.facts.get("content") if isinstance(model, Opaque) else None
    return loaded if isinstance(loaded, bytes) else glb(metadata)


def _edited(call: Call, name: str) -> Output:
    """What the nodes with a viewport report and pass on: the state of the viewport unless an input overrides it."""
    state = call.inputs.get("viewport_state")
    viewport = state if isinstance(state, dict) else {}
    camera = _plain(call.inputs.get("camera_info")) or viewport.get("camera_info")
    info = _plain(call.inputs.get("model_3d_info")) or viewport.get("model_3d_info")
    values = (call.inputs["model_3d"], info, camera, call.inputs["width"], call.inputs["height"])
    return Output(values, {"result": [name, camera, info]})


def _plain(value: Any) -> Any:
    """`value` if JSON can write it: the invented values of unknown nodes cannot be shown."""
    return None if isinstance(value, Opaque) else value
