"""The node classes with their current lists (protocol 2.2, recordings upload_image and metadata_routes)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfy_contracts.catalogue import Catalogue, CatalogueError
from comfy_mock.engine.choice_lists import MODEL_INPUTS, choices_of, models_of
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.models import FOLDERS, ModelFolders
from comfy_mock.engine.object_info import ObjectInfo
from comfy_mock.engine.options import Options

CATALOGUE = Catalogue.packaged()
RECORDED_MODELS: dict[str, Sequence[str]] = {"checkpoints": ["v1-5-pruned-emaonly-fp16.safetensors"]}
INPUT = Folders().input


class Info(ObjectInfo):
    def __init__(self, **options: Any) -> None:
        self.files = MemoryFiles()
        chosen = Options(**{"models": RECORDED_MODELS, **options})
        self.files.write(f"{INPUT}/example.png", b"png", now=1.0)
        super().__init__(CATALOGUE, ModelFolders(chosen.models, self.files, Folders()), self.files, Folders(), chosen)

    def choices(self, class_type: str, name: str) -> Any:
        definition = self.definition(class_type)
        assert definition is not None
        return choices_of({**definition.required, **definition.optional}[name])


def test_with_the_recorded_models_and_files_every_class_is_as_the_real_server_said() -> None:
    info = Info()
    for class_type, definition in CATALOGUE.items():
        entry = info.entry(class_type)
        assert entry is not None
        assert {key: entry[key] for key in definition.entry} == dict(definition.entry), class_type


def test_lists_of_models_follow_the_folder_in_both_forms() -> None:
    info = Info(models={"checkpoints": ["b.ckpt", "a.ckpt"], "upscale_models": ["u.pth"], "loras": ["l.pt"]})
    assert info.choices("CheckpointLoaderSimple", "ckpt_name") == ["a.ckpt", "b.ckpt"]
    assert info.choices("UpscaleModelLoader", "model_name") == ["u.pth"]
    assert info.choices("TrainLoraNode", "existing_lora") == ["l.pt", "[None]"]
    definition = info.definition("UpscaleModelLoader")
    assert definition is not None
    assert definition.required["model_name"] == ["COMBO", {"multiselect": False, "options": ["u.pth"]}]
    assert CATALOGUE["UpscaleModelLoader"].required["model_name"][1]["options"] == []


def test_approximate_vaes_are_offered_when_both_halves_are_there() -> None:
    approximations = ["taesd_encoder.pth", "taesd_decoder.pth", "taef1_decoder.pth", "taehv.safetensors"]
    info = Info(models={"vae": ["v.pt"], "vae_approx": approximations})
    assert info.choices("VAELoader", "vae_name") == ["v.pt", "taehv.safetensors", "taesd", "pixel_space"]


def test_every_input_of_the_table_is_a_list_of_its_class_and_every_folder_is_one() -> None:
    assert set(MODEL_INPUTS.values()) <= set(FOLDERS)
    for class_type, name in MODEL_INPUTS:
        definition = CATALOGUE[class_type]
        assert isinstance(choices_of({**definition.required, **definition.optional}[name]), list), (class_type, name)


def test_images_in_the_input_folder_are_offered_as_recorded() -> None:
    info = Info()
    uploaded = ["a.png", "a (1).png", "m1.png", "q%22uote.png", "ü ñ 图.png", "empty.png", "noext", ".hidden", "a.txt"]
    for name in (*uploaded, "sub/s.png"):
        info.files.write(f"{INPUT}/{name}", b"", now=2.0)
    expected = ["a (1).png", "a.png", "empty.png", "example.png", "m1.png", "q%22uote.png", "ü ñ 图.png"]
    assert info.choices("LoadImage", "image") == expected
    info.files.remove(f"{INPUT}/a.png")
    assert "a.png" not in info.choices("LoadImage", "image")


def test_other_kinds_of_files_are_offered_where_they_are_loaded() -> None:
    info = Info()
    for name in ("v.mp4", "s.flac", "l.latent", "t.txt", "3d/m.glb", "3d/in/n.obj", "3d/readme.md", "set/1.png"):
        info.files.write(f"{INPUT}/{name}", b"", now=2.0)
    info.files.make_folder("/comfyui/output/training", now=2.0)
    assert info.choices("LoadAudio", "audio") == ["s.flac", "v.mp4"]
    assert info.choices("LoadVideo", "file") == ["v.mp4"]
    assert info.choices("LoadLatent", "latent") == ["l.latent"]
    assert info.choices("Load3D", "model_file") == ["none", "3d/in/n.obj", "3d/m.glb"]
    assert info.choices("LoadImageDataSetFromFolder", "folder") == ["3d", "3d/in", "set"]
    assert info.choices("LoadTrainingDataset", "folder_name") == ["training"]
    assert info.choices("OpenAIInputFiles", "file") == ["t.txt"]


def test_a_definition_is_made_anew_only_when_its_list_changes() -> None:
    info = Info()
    first = info.definition("LoadImage")
    assert info.definition("LoadImage") is first
    info.files.write(f"{INPUT}/b.png", b"", now=2.0)
    assert info.definition("LoadImage") is not first


def test_unknown_classes_are_unknown() -> None:
    info = Info()
    assert info.definition("NoSuchNode") is None
    assert info.entry("ksampler") is None
    info.learn({"1": {"class_type": "NoSuchNode", "inputs": {}}})
    assert info.definition("NoSuchNode") is None


def test_an_added_class_is_completed_and_comes_last() -> None:
    info = Info()
    before = len(info)
    info.add_node("Mine", {"input": {"required": {"x": ["INT", {}]}}, "output": ["IMAGE"]})
    entry = info.entry("Mine")
    assert entry is not None
    assert entry["input_order"] == {"required": ["x"]}
    assert (entry["name"], entry["output_is_list"], entry["output_node"]) == ("Mine", [False], False)
    assert list(info.entries())[-1] == "Mine"
    assert len(info) == before + 1
    info.add_node("SaveImage", {"output": []})
    assert len(info) == before + 1
    assert list(info.entries()).index("SaveImage") == list(CATALOGUE).index("SaveImage")


def test_what_is_no_entry_is_refused() -> None:
    with pytest.raises(CatalogueError, match="Mine"):
        Info().add_node("Mine", {"input": ["x"]})


def test_two_servers_with_one_catalogue_do_not_share_what_is_added() -> None:
    one, other = Info(), Info()
    one.add_node("Mine", {"output": []})
    assert other.entry("Mine") is None
    assert b'"Mine"' in one.json_bytes()
    assert b'"Mine"' not in other.json_bytes()


changes = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["a.png", "b.mp4", "c.latent", "3d/d.glb"])),
        st.tuples(st.just("model"), st.sampled_from(["checkpoints/a.pt", "loras/b.safetensors"])),
        st.tuples(st.just("add"), st.sampled_from(["Mine", "LoadImage", "Ünïcode"])),
        st.tuples(st.just("look"), st.just("")),
    ),
    max_size=6,
)


@settings(max_examples=25)
@given(changes)
def test_the_bytes_are_always_the_dump_of_the_current_entries(steps: list[tuple[str, str]]) -> None:
    info = Info()
    for kind, name in [*steps, ("look", "")]:
        if kind == "write":
            info.files.write(f"{INPUT}/{name}", b"", now=1.0)
        elif kind == "model":
            info.files.write(f"/comfyui/models/{name}", b"", now=1.0)
        elif kind == "add":
            info.add_node(name, {"input": {"required": {"image": [["x"], {}]}}, "output": ["IMAGE"]})
        else:
            assert info.json_bytes() == json.dumps(info.entries()).encode("ascii")


def test_any_model_is_accepted_only_when_asked_and_only_where_models_are_named() -> None:
    strict, lenient = Info(), Info(accept_any_model=True)
    lenient.add_node("Custom", {"input": {"required": {"m": [["a.gguf"], {}], "n": ["COMBO", {"options": ["x"]}]}}})
    assert not strict.accepts_any("CheckpointLoaderSimple", "ckpt_name")
    assert lenient.accepts_any("CheckpointLoaderSimple", "ckpt_name")
    assert lenient.accepts_any("Custom", "m")
    for class_type, name in (("KSampler", "sampler_name"), ("Custom", "n"), ("Custom", "o"), ("NoSuchNode", "m")):
        assert not lenient.accepts_any(class_type, name)


def test_unknown_classes_are_made_up_from_their_use() -> None:
    info = Info(accept_any_node=True)
    assert info.definition("Custom") is None
    prompt = {
        "1": {"class_type": "Custom", "inputs": {"a": 1, "b": ["2", 0]}},
        "2": {"class_type": "EmptyImage", "inputs": {}},
        "3": {"class_type": "VideoCombine", "inputs": {"x": ["1", 2]}},
        "4": {"class_type": "My Preview", "inputs": {}},
        "5": {"class_type": "Sink", "inputs": {"y": ["4", 0]}},
    }
    info.learn(prompt)
    custom = info.definition("Custom")
    assert custom is not None
    assert custom.required == {}
    assert custom.optional == {"a": ["*", {}], "b": ["*", {}]}
    assert custom.outputs == ["*", "*", "*"]
    shown = [info.definition(name) for name in ("Custom", "VideoCombine", "My Preview", "Sink")]
    assert [definition is not None and definition.output_node for definition in shown] == [False, True, True, True]
    assert info.entry("Custom") is None
    assert "Custom" not in info.entries()


def test_more_use_teaches_more() -> None:
    info = Info(accept_any_node=True)
    info.learn({"1": {"class_type": "Custom", "inputs": {"a": 1}}, "2": {"class_type": "X", "inputs": {"x": ["1", 0]}}})
    info.learn({"1": {"class_type": "Custom", "inputs": {"b": 1}}, "2": {"class_type": "X", "inputs": {"x": ["1", 4]}}})
    custom = info.definition("Custom")
    assert custom is not None
    assert list(custom.optional) == ["a", "b"]
    assert len(custom.outputs) == 5


def test_an_output_of_an_unknown_class_has_the_type_that_its_consumers_want() -> None:
    info = Info(accept_any_node=True)
    consumers = {
        "2": {"class_type": "VAEDecode", "inputs": {"samples": ["1", 1], "vae": ["1", 2]}},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
        "4": {"class_type": "Unknown too", "inputs": {"x": ["1", 3]}},
    }
    info.learn({"1": {"class_type": "Custom", "inputs": {}}, **consumers})
    custom = info.definition("Custom")
    assert custom is not None
    assert custom.outputs == ["*", "LATENT", "VAE", "*"]
    saved = {"class_type": "SaveImage", "inputs": {"images": ["1", 1]}}
    info.learn({"1": {"class_type": "Custom", "inputs": {}}, "2": saved})
    custom = info.definition("Custom")
    assert custom is not None
    assert custom.outputs == ["*", "*", "VAE", "*"]


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)
nodes = st.fixed_dictionaries({"class_type": junk, "inputs": st.dictionaries(st.text(max_size=4), junk, max_size=3)})


@given(junk | st.dictionaries(st.text(max_size=2), nodes | junk, max_size=4))
def test_nothing_that_is_sent_breaks_the_learning(prompt: Any) -> None:
    info = Info(accept_any_node=True)
    info.learn(prompt)


@pytest.mark.parametrize("slot", [10**12, -1, 1.5, float("nan"), True])
def test_odd_slots_do_not_make_odd_classes(slot: Any) -> None:
    info = Info(accept_any_node=True)
    info.learn({"1": {"class_type": "Custom", "inputs": {}}, "2": {"class_type": "X", "inputs": {"x": ["1", slot]}}})
    custom = info.definition("Custom")
    assert custom is not None
    assert 1 <= len(custom.outputs) <= 2


def test_the_models_of_a_saved_catalogue() -> None:
    models = models_of(CATALOGUE)
    assert models["checkpoints"] == ["v1-5-pruned-emaonly-fp16.safetensors"]
    assert set(models) == {"checkpoints", "configs"}
    info = Info(models={"vae": ["v.pt"], "loras": ["l.pt"]})
    assert models_of(Catalogue(info.entries())) == {"vae": ["v.pt"], "loras": ["l.pt"], "configs": models["configs"]}
