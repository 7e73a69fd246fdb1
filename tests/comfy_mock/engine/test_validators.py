"""The validators of the core classes (protocol 3.10)."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_contracts.catalogue import Catalogue
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.reasons import PythonError
from comfy_mock.engine.validators import VALIDATORS, annotated_path

FOLDERS = Folders()


@pytest.fixture
def files() -> MemoryFiles:
    tree = MemoryFiles()
    for path in ("input/example.png", "input/sub/x/b.png", "output/o.png", "temp/t.png", "secret.png", "input2/a.png"):
        tree.write(f"{FOLDERS.base}/{path}", b"x", now=0.0)
    return tree


@pytest.mark.parametrize(
    "name",
    [
        "example.png",
        "sub/x/b.png",
        "sub/../example.png",
        "o.png [output]",
        "t.png [temp]",
        "example.png [input]",
        f"{FOLDERS.input}/example.png",
        "sub",
        "",
    ],
)
def test_files_and_folders_that_are_there_pass(files: MemoryFiles, name: str) -> None:
    assert VALIDATORS["LoadImage"].call({"image": name}, files, FOLDERS) is True


@pytest.mark.parametrize(
    "name",
    [
        "nope",
        "EXAMPLE.PNG",
        "example.png ",
        "o.png",
        "o.png [input]",
        "o.png[output]",
        "example.png [other]",
        "../secret.png",
        "../input2/a.png",
        f"{FOLDERS.base}/secret.png",
        "/",
        "example.png\0",
        "\ud800",
        "x" * 5000,
    ],
)
def test_anything_else_is_an_invalid_file(files: MemoryFiles, name: str) -> None:
    assert VALIDATORS["LoadImage"].call({"image": name}, files, FOLDERS) == f"Invalid image file: {name}"


def test_an_annotation_takes_the_character_before_it_along() -> None:
    assert annotated_path("a.png[output]", FOLDERS) == f"{FOLDERS.output}/a.pn"
    assert annotated_path("[temp]", FOLDERS) == FOLDERS.temp


@pytest.mark.parametrize(
    ("value", "kind"), [(None, "NoneType"), (0, "int"), (1.5, "float"), (True, "bool"), ({}, "dict"), ([], "list")]
)
def test_what_is_no_string_raises(files: MemoryFiles, value: Any, kind: str) -> None:
    with pytest.raises(PythonError) as caught:
        VALIDATORS["LoadImage"].call({"image": value}, files, FOLDERS)
    assert caught.value.type_name == "AttributeError"
    assert caught.value.text == f"'{kind}' object has no attribute 'endswith'"


@pytest.mark.parametrize(
    ("class_type", "name", "complaint"),
    [
        ("LoadImageMask", "image", "Invalid image file: nope"),
        ("LoadImageOutput", "image", "Invalid image file: nope"),
        ("LoadLatent", "latent", "Invalid latent file: nope"),
        ("LoadAudio", "audio", "Invalid audio file: nope"),
        ("LoadVideo", "file", "Invalid video file: nope"),
        ("Load3D", "model_file", "Invalid 3D model file: nope"),
        ("Load3DAdvanced", "model_file", "Invalid 3D model file: nope"),
    ],
)
def test_every_loader_has_its_words(files: MemoryFiles, class_type: str, name: str, complaint: str) -> None:
    validator = VALIDATORS[class_type]
    assert validator.call({name: "nope"}, files, FOLDERS) == complaint
    assert validator.call({name: "example.png"}, files, FOLDERS) is True
    assert name in Catalogue.packaged()[class_type].required


@pytest.mark.parametrize("value", ["", "none", None])
def test_a_3d_node_may_have_no_model(files: MemoryFiles, value: Any) -> None:
    assert VALIDATORS["Load3D"].call({"model_file": value}, files, FOLDERS) is True


@pytest.mark.parametrize(
    ("class_type", "text"),
    [
        ("LoadImage", "LoadImage.VALIDATE_INPUTS() missing 1 required positional argument: 'image'"),
        ("LoadAudio", "LoadAudio.validate_inputs() missing 1 required positional argument: 'audio'"),
    ],
)
def test_a_missing_argument_raises(files: MemoryFiles, class_type: str, text: str) -> None:
    with pytest.raises(PythonError) as caught:
        VALIDATORS[class_type].call({}, files, FOLDERS)
    assert (caught.value.type_name, caught.value.text) == ("TypeError", text)


def test_a_soft_switch_needs_one_side(files: MemoryFiles) -> None:
    validator = VALIDATORS["ComfySoftSwitchNode"]
    complaint = "At least one of on_false or on_true must be connected to Switch node"
    assert validator.call({"switch": True}, files, FOLDERS) == complaint
    assert validator.call({"switch": True, "on_true": None}, files, FOLDERS) is True


@pytest.mark.parametrize(
    ("class_type", "name", "taken"),
    [
        ("LoadImage", "image", True),
        ("LoadImageMask", "channel", False),
        ("Load3D", "width", True),
        ("CustomCombo", "choice", True),
        ("SelectModelDevice", "device", True),
        ("SelectModelDevice", "model", False),
        ("ModelAttentionBackend", "attention", True),
    ],
)
def test_what_a_validator_is_given(class_type: str, name: str, taken: bool) -> None:
    assert VALIDATORS[class_type].takes(name) is taken


@pytest.mark.parametrize("class_type", ["SelectModelDevice", "SelectCLIPDevice", "SelectVAEDevice"])
def test_devices_pass_whatever_they_are(files: MemoryFiles, class_type: str) -> None:
    assert VALIDATORS[class_type].call({"device": "gpu:7"}, files, FOLDERS) is True
