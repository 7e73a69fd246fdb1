"""Uploads beyond what the recordings show (protocol 2.5)."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.uploads import UploadedFile, upload_image, upload_mask

FOLDERS = Folders()


def png(mode: str, colour: object, size: tuple[int, int] = (3, 2)) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new(mode, size, colour).save(buffer, "png")  # type: ignore[arg-type]
    return buffer.getvalue()


def everything(files: MemoryFiles, path: str = "/comfyui") -> list[str]:
    found: list[str] = []
    for name in files.names(path) if files.stat(path) else []:
        below = f"{path}/{name}"
        stat = files.stat(below)
        found += everything(files, below) if stat is not None and stat.is_folder else [below]
    return found


def uploaded(files: MemoryFiles, name: str, content: bytes = b"x", **fields: Any) -> tuple[int, Any]:
    answer = upload_image(files, FOLDERS, {"image": UploadedFile(name, content), **fields}, now=5.0)
    return answer.status, json.loads(answer.body) if answer.body else None


def test_a_file_is_stored_with_the_time_of_its_upload() -> None:
    files = MemoryFiles()
    assert uploaded(files, "a.txt", subfolder="b/../c") == (
        200,
        {"name": "a.txt", "subfolder": "b/../c", "type": "input"},
    )
    stat = files.stat("/comfyui/input/c/a.txt")
    assert files.read("/comfyui/input/c/a.txt") == b"x"
    assert stat is not None
    assert stat.modified == 5.0


def test_a_taken_name_gets_a_number() -> None:
    files = MemoryFiles()
    names = [uploaded(files, "a.tar.gz", content)[1]["name"] for content in (b"1", b"2", b"2", b"3", b"1")]
    assert names == ["a.tar.gz", "a.tar (1).gz", "a.tar (1).gz", "a.tar (2).gz", "a.tar.gz"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"overwrite": "true"}, "a"), ({"overwrite": "1"}, "a"), ({"overwrite": "yes"}, "a (1)"), ({}, "a (1)")],
)
def test_overwrite_counts_in_two_spellings(fields: dict[str, str], name: str) -> None:
    files = MemoryFiles()
    uploaded(files, "a", b"old")
    assert uploaded(files, "a", b"new", **fields)[1]["name"] == name
    assert files.read(f"/comfyui/input/{name}") == b"new"


@pytest.mark.parametrize(
    ("name", "fields", "outcome"),
    [
        ("../a.png", {}, 400),
        ("a.png", {"subfolder": ".."}, 400),
        ("a.png", {"subfolder": "../inputs"}, 400),
        ("a.png", {"subfolder": "/etc"}, 400),
        ("/etc/a.png", {}, 400),
        ("..", {}, 400),
        ("x/../../../a.png", {}, 400),
        ("a/../b.png", {}, 200),
        ("..a.png", {}, 200),
        ("\\..\\a.png", {}, 200),
        ("there/a.png", {}, 200),
        ("../b.png", {"subfolder": "there/file"}, 200),
        ("x/y.png", {}, 500),
        (".", {}, 500),
        ("there", {}, 500),
        ("..", {"subfolder": "there"}, 500),
        ("a.png", {"subfolder": "there/file"}, 500),
        ("a\0.png", {}, 500),
        ("a.png", {"subfolder": "a\0"}, 500),
        ("a" * 300, {}, 500),
        ("a" * 1_000_000, {}, 500),
        ("\ud800.png", {}, 500),
        ("a.png", {"type": ""}, 500),
        ("a.png", {"type": "models"}, 500),
        ("a.png", {"type": b"input"}, 500),
        ("a.png", {"subfolder": UploadedFile("a", b"")}, 500),
    ],
)
def test_where_a_name_may_lead(name: str, fields: dict[str, Any], outcome: int) -> None:
    files = MemoryFiles()
    uploaded(files, "file", subfolder="there")
    try:
        status = uploaded(files, name, **fields)[0]
    except ServerTrouble:
        status = 500
    assert status == outcome
    assert len(everything(files)) == (2 if status == 200 else 1)


@given(
    st.lists(st.sampled_from(["..", ".", "/", "\\", "a", "input", "\0", "%2e"])).map("".join), st.text(alphabet="./a")
)
def test_no_name_leads_out_of_the_folder(name: str, subfolder: str) -> None:
    files = MemoryFiles()
    files.make_folder("/comfyui/input", now=0.0)
    with contextlib.suppress(ServerTrouble):
        uploaded(files, name or "a", subfolder=subfolder)
    assert files.names("/") == ["comfyui"]
    assert files.names("/comfyui") == ["input"]


@pytest.mark.parametrize("form", [{}, {"file": UploadedFile("a", b"")}, {"image": ""}, {"image": b""}])
def test_without_a_file_nothing_happens(form: dict[str, Any]) -> None:
    assert upload_image(MemoryFiles(), FOLDERS, form, now=0.0).status == 400
    assert upload_mask(MemoryFiles(), FOLDERS, form, now=0.0).status == 400


@pytest.mark.parametrize("image", ["text", b"bytes"])
def test_a_file_must_be_a_file(image: Any) -> None:
    with pytest.raises(ServerTrouble):
        upload_image(MemoryFiles(), FOLDERS, {"image": image}, now=0.0)


def masked(files: MemoryFiles, name: str, reference: Any, mask: bytes | None = None) -> str:
    image = UploadedFile(name, png("RGBA", (0, 0, 0, 64)) if mask is None else mask)
    sent = reference if isinstance(reference, (bytes, str)) else json.dumps(reference)
    answer = upload_mask(files, FOLDERS, {"image": image, "original_ref": sent}, now=0.0)
    assert answer.status == 200
    return str(json.loads(answer.body)["name"])


def with_original() -> MemoryFiles:
    files = MemoryFiles()
    files.write("/comfyui/input/o.png", png("RGBA", (9, 8, 7, 200)), now=0.0)
    files.write("/comfyui/secret.png", png("RGB", (1, 1, 1)), now=0.0)
    return files


@pytest.mark.parametrize(
    "reference", [{"filename": "o.png", "type": "input"}, b'{"filename": "o.png [input]", "type": 5}']
)
def test_the_alpha_is_replaced(reference: Any) -> None:
    files = with_original()
    name = masked(files, "m.png", reference)
    image = PIL.Image.open(io.BytesIO(files.read(f"/comfyui/input/{name}")))
    assert (image.mode, image.getpixel((0, 0))) == ("RGBA", (9, 8, 7, 64))


def test_the_extension_says_the_format() -> None:
    files = with_original()
    name = masked(files, "m.WebP", {"filename": "o.png", "type": "input"})
    assert PIL.Image.open(io.BytesIO(files.read(f"/comfyui/input/{name}"))).format == "WEBP"


@pytest.mark.parametrize(
    "reference",
    [
        {"filename": "o.png"},
        {"filename": "", "type": "input"},
        {"filename": "nope.png", "type": "input"},
        {"filename": "../secret.png", "type": "input"},
        {"filename": "/comfyui/secret.png", "type": "input"},
        {"filename": "secret.png", "subfolder": "..", "type": "input"},
        {"filename": "o.png", "type": "bogus"},
        {"filename": "o.png", "type": None},
        {"filename": "o.png\0", "type": "input"},
        {"filename": "\ud800", "type": "input"},
        {"filename": "o" * 1000, "type": "input"},
    ],
)
def test_a_bad_reference_is_not_reported(reference: dict[str, Any]) -> None:
    files = with_original()
    before = everything(files)
    assert masked(files, "m.png", reference) == "m.png"
    assert everything(files) == before


def test_a_bad_reference_is_not_reported_even_where_nothing_could_be_written() -> None:
    files = with_original()
    before = everything(files)
    assert masked(files, "nope/m.png", {"filename": "nope.png", "type": "input"}) == "nope/m.png"
    assert masked(files, "m.png", {"filename": "o.png", "type": "input", "subfolder": "nope/.."}) == "m.png"
    assert everything(files) == before
    with pytest.raises(ServerTrouble):
        masked(files, "nope/m.png", {"filename": "o.png", "type": "input"})


@pytest.mark.parametrize(
    ("name", "reference", "mask"),
    [
        ("m.png", "not json", None),
        ("m.png", "[" * 100_000, None),
        ("m.png", {}, None),
        ("m.png", [], None),
        ("m.png", {"filename": 5}, None),
        ("m.png", {"filename": "o.png", "type": "input", "subfolder": 5}, None),
        ("m.png", {"filename": "o.png", "type": "input"}, b"no picture"),
        ("m.png", {"filename": "o.png", "type": "input"}, png("RGBA", (0, 0, 0, 0), (5, 5))),
        ("m.jpg", {"filename": "o.png", "type": "input"}, None),
        ("m.xyz", {"filename": "o.png", "type": "input"}, None),
        ("noext", {"filename": "o.png", "type": "input"}, None),
    ],
)
def test_what_no_mask_can_be_made_of_is_trouble(name: str, reference: Any, mask: bytes | None) -> None:
    files = with_original()
    before = everything(files)
    with pytest.raises(ServerTrouble):
        masked(files, name, reference, mask)
    assert everything(files) == before


def test_a_mask_needs_a_reference() -> None:
    with pytest.raises(ServerTrouble):
        upload_mask(with_original(), FOLDERS, {"image": UploadedFile("m.png", b"")}, now=0.0)
