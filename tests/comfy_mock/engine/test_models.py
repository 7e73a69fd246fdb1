"""Folders of models (protocol 2.3, recordings metadata_routes)."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence

import pytest

from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.default_models import DEFAULT_MODELS
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.models import FOLDERS, MODEL_EXTENSIONS, ModelFolders

RECORDED_FOLDERS = [
    *("checkpoints", "configs", "loras", "vae", "text_encoders", "diffusion_models", "clip_vision", "style_models"),
    *("embeddings", "diffusers", "vae_approx", "controlnet", "gligen", "upscale_models", "latent_upscale_models"),
    *("custom_nodes", "datasets", "hypernetworks", "photomaker", "classifiers", "model_patches", "audio_encoders"),
    *("background_removal", "frame_interpolation", "geometry_estimation", "optical_flow", "detection"),
]


def folders(
    models: Mapping[str, Sequence[str]] | None = None, stored: Mapping[str, bytes] | None = None
) -> ModelFolders:
    files = MemoryFiles()
    for path, content in (stored or {}).items():
        files.write(path, content, now=10.0)
    return ModelFolders(models, files, Folders())


def safetensors(header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def test_the_folders_are_the_recorded_ones_in_their_order() -> None:
    assert list(FOLDERS) == RECORDED_FOLDERS


def test_a_mapping_names_everything_but_what_every_server_has() -> None:
    models = folders({"checkpoints": ["b.safetensors", "a.ckpt", "b.safetensors"]})
    assert models.names("checkpoints") == ["a.ckpt", "b.safetensors"]
    assert models.names("configs")[0] == "anything_v3.yaml"
    assert models.names("custom_nodes") == ["example_node.py.example", "websocket_image_save.py"]
    assert all(models.names(name) == [] for name in FOLDERS if name not in ("checkpoints", "configs", "custom_nodes"))


def test_without_a_mapping_there_are_common_names() -> None:
    models = folders()
    assert "v1-5-pruned-emaonly-fp16.safetensors" in models.names("checkpoints")
    for name, files in DEFAULT_MODELS.items():
        assert models.names(name) == sorted(files)
        assert all(file.endswith(tuple(MODEL_EXTENSIONS)) for file in files)


def test_an_unknown_folder_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(ValueError, match="no folder of models 'checkpoint'; the folders are checkpoints, configs"):
        folders({"checkpoint": ["a.ckpt"]})


def test_a_text_instead_of_a_list_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a list of file names"):
        folders({"checkpoints": "a.ckpt"})


def test_users_may_use_the_names_of_old() -> None:
    models = folders({"clip": ["c.safetensors"], "unet": ["u.safetensors"]})
    assert models.names("text_encoders") == ["c.safetensors"]
    assert models.names("diffusion_models") == ["u.safetensors"]


def test_files_in_the_storage_count_by_their_extension() -> None:
    stored = {
        "/comfyui/models/loras/mine.safetensors": b"",
        "/comfyui/models/loras/sub/other.PT": b"",
        "/comfyui/models/loras/readme.txt": b"",
        "/comfyui/models/loras/.git/x.safetensors": b"",
        "/comfyui/output/loras/trained.safetensors": b"",
        "/comfyui/models/classifiers/noext": b"",
        "/comfyui/models/classifiers/file.safetensors": b"",
        "/comfyui/datasets/any.thing": b"",
    }
    models = folders({"loras": ["named.safetensors"]}, stored)
    assert models.names("loras") == [
        "mine.safetensors",
        "named.safetensors",
        "sub/other.PT",
        "trained.safetensors",
    ]
    assert models.names("classifiers") == ["noext"]
    assert models.names("datasets") == ["any.thing"]


def test_the_listing_has_facts_of_files_with_and_without_a_file() -> None:
    stored = {"/comfyui/output/loras/trained.safetensors": b"12345"}
    named, trained = folders({"loras": ["named.safetensors"]}, stored).listing("loras")
    assert (trained.name, trained.path_index, trained.size, trained.modified) == ("trained.safetensors", 1, 5, 10.0)
    assert named.path_index == 0
    assert named.size > 0
    assert [named] == folders({"loras": ["named.safetensors"]}).listing("loras")


def test_a_file_hides_a_name_and_a_file_in_a_later_path() -> None:
    stored = {"/comfyui/models/loras/a.safetensors": b"1", "/comfyui/output/loras/a.safetensors": b"22"}
    listed = folders({"loras": ["a.safetensors"]}, stored).listing("loras")
    assert [(file.path_index, file.size) for file in listed] == [(0, 1)]


def test_the_metadata_of_the_recorded_checkpoint() -> None:
    models = folders({"checkpoints": ["v1-5-pruned-emaonly-fp16.safetensors"]})
    found = models.metadata("checkpoints", "v1-5-pruned-emaonly-fp16.safetensors")
    assert found == {"modelspec.title": "random weights"}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("checkpoints", "nope.safetensors"),
        ("checkpoints", "x.ckpt"),
        ("checkpoints", ""),
        ("checkpoints", "../x.safetensors"),
        ("checkpoints", "a\0.safetensors"),
        ("nope", "x.safetensors"),
    ],
)
def test_no_metadata(folder: str, name: str) -> None:
    assert folders({"checkpoints": ["x.ckpt", "y.safetensors"]}).metadata(folder, name) is None


def test_metadata_are_read_from_a_real_file() -> None:
    stored = {
        "/comfyui/models/loras/a.safetensors": safetensors({"__metadata__": {"modelspec.title": "Mine"}}),
        "/comfyui/models/loras/none.safetensors": safetensors({}),
        "/comfyui/models/loras/long.safetensors": struct.pack("<Q", 1 << 40),
        "/comfyui/models/loras/bad.safetensors": b"\x02\0\0\0\0\0\0\0{x",
    }
    models = folders({}, stored)
    assert models.metadata("loras", "a.safetensors") == {"modelspec.title": "Mine"}
    assert models.metadata("loras", "sub/../a.safetensors") == {"modelspec.title": "Mine"}
    assert models.metadata("loras", "none.safetensors") is None
    assert models.metadata("loras", "long.safetensors") is None
    with pytest.raises(ServerTrouble):
        models.metadata("loras", "bad.safetensors")


def test_pipelines_of_diffusers_are_folders() -> None:
    models = folders({"diffusers": ["named"]}, {"/comfyui/models/diffusers/sd/model_index.json": b"{}"})
    assert models.diffusers() == ["named", "sd"]
