"""Metadata of pictures, and saving files."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import PIL.Image
import pytest
from PIL.PngImagePlugin import PngInfo

from comfy_client._errors import WorkflowError
from comfy_client.images import (
    Metadata,
    MetadataError,
    is_picture,
    read_metadata,
    safe_name,
    save_file,
    to_pil,
)
from comfy_client.workflow import Workflow
from comfy_contracts import har

PROMPT = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}}


def picture(kind: str = "PNG", **save: Any) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (4, 3), "red").save(file, kind, **save)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(kind: bytes, data: bytes) -> bytes:
    png = picture()
    return png[:33] + chunk(kind, data) + png[33:]


def recorded(name: str) -> tuple[list[Any], dict[str, bytes]]:
    """The prompts that were posted in a recording, and the pictures that were viewed, by file name."""
    recording = har.load(har.packaged_recordings("0.33.0")[name])
    prompts, pictures = [], {}
    for exchange in recording.exchanges():
        body = exchange.response.body
        if exchange.request.url.endswith("/prompt") and exchange.request.body and exchange.response.status == 200:
            prompts.append(json.loads(exchange.request.body))
        elif "/view?" in exchange.request.url and body and is_picture(body):
            query = {pair.name: pair.value for pair in exchange.request.query_string or []}
            pictures[query.get("filename", exchange.request.url.split("filename=")[1].split("&")[0])] = body
    return prompts, pictures


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_animations_that_a_real_server_saved(suffix: str) -> None:
    (posted,), pictures = recorded("animated_webp_png")
    (content,) = (content for name, content in pictures.items() if name.endswith(suffix))
    metadata = read_metadata(content)
    assert metadata.prompt == posted["prompt"]
    assert metadata.workflow == posted["extra_data"]["extra_pnginfo"]["workflow"]
    assert metadata.extra == {}


def test_a_picture_that_a_real_server_saved_gives_the_workflow_without_what_the_server_noted_in_it() -> None:
    prompts, pictures = recorded("load_image_after_upload")
    content = pictures["loaded_00001_.png"]
    assert "is_changed" in read_metadata(content).prompt["1"]
    assert Workflow.from_image(content).to_prompt() == prompts[0]["prompt"]


def test_every_recorded_picture_can_be_read() -> None:
    found = 0
    for name in har.packaged_recordings("0.33.0"):
        for content in recorded(name)[1].values():
            found += read_metadata(content).prompt is not None
    assert found > 20


@pytest.mark.parametrize("form", ["tEXt", "zTXt", "iTXt", "packed iTXt"])
def test_each_form_of_text_in_a_png(form: str) -> None:
    info = PngInfo()
    text = json.dumps({"a": "ü"}, ensure_ascii="i" not in form)
    if "iTXt" in form:
        info.add_itxt("workflow", text, zip=form.startswith("packed"))
    else:
        info.add_text("workflow", text, zip=form == "zTXt")
    info.add_text("parameters", "steps: 20")
    metadata = read_metadata(picture(pnginfo=info))
    assert metadata == Metadata(None, {"a": "ü"}, {"parameters": "steps: 20"})


def test_text_in_utf_8_and_in_latin_1() -> None:
    assert read_metadata(with_chunk(b"tEXt", b"a\0" + "ü".encode())).extra == {"a": "ü"}
    assert read_metadata(with_chunk(b"tEXt", b"a\0" + "ü".encode("latin-1"))).extra == {"a": "ü"}


def test_numbers_that_only_python_writes() -> None:
    metadata = read_metadata(with_chunk(b"tEXt", b'prompt\0{"1": NaN}'))
    assert metadata.prompt["1"] != metadata.prompt["1"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"GIF89a", "no PNG, WEBP or JPEG"),
        (b"", "no PNG, WEBP or JPEG"),
        (picture()[:50], "cut off in its chunk IDAT: fetch it again"),
        (with_chunk(b"zTXt", b"prompt\0\0rubbish"), "text 'prompt' is damaged"),
        (with_chunk(b"iTXt", b"prompt\0"), "text 'prompt' is damaged"),
        (with_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * (65 * 2**20))), "unpacks to more than 64 MiB"),
        (picture("WEBP")[:20], "the picture is damaged"),
    ],
    ids=["gif", "empty", "cut off", "zTXt", "iTXt", "bomb", "webp"],
)
def test_what_cannot_be_read_is_told(content: bytes, said: str) -> None:
    with pytest.raises(MetadataError, match=said):
        read_metadata(content)
    with pytest.raises(WorkflowError, match=said):
        Workflow.from_image(content)


@hypothesis.given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff"])
)
def test_no_bytes_make_it_fall_over(content: bytes, magic: bytes) -> None:
    try:
        read_metadata(magic + content)
    except MetadataError as error:
        assert str(error)  # noqa: PT017 - any other error fails the test


def test_a_picture_without_a_workflow_says_what_to_do() -> None:
    with pytest.raises(WorkflowError, match="no workflow: it was not saved by ComfyUI, or its metadata were removed"):
        Workflow.from_image(picture())
    only_editor = with_chunk(b"tEXt", b'workflow\0{"nodes": []}')
    with pytest.raises(WorkflowError, match=r"the editor's workflow only: .*Export \(API\)"):
        Workflow.from_image(only_editor)


def test_a_workflow_file_may_be_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(with_chunk(b"tEXt", b"prompt\0" + json.dumps(PROMPT).encode()))
    assert Workflow.from_file(path).to_prompt(check=False) == PROMPT


def test_pixels() -> None:
    image = to_pil(picture())
    assert (image.size, image.getpixel((0, 0))) == ((4, 3), (255, 0, 0))
    with pytest.raises(PIL.UnidentifiedImageError):
        to_pil(b"not a picture")


def test_saving_into_a_folder_counts_on_and_touches_nothing(tmp_path: Path) -> None:
    names = [save_file(bytes([number]), "a_00001_.png", tmp_path).name for number in range(3)]
    assert names == ["a_00001_.png", "a_00001_ (1).png", "a_00001_ (2).png"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"\0", b"\1", b"\2"]


def test_saving_under_a_name_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.png"
    assert save_file(b"1", "a.png", path) == path
    assert save_file(b"2", "a.png", path) == tmp_path / "mine (1).png"
    assert save_file(b"3", "a.png", path, overwrite=True) == path
    assert path.read_bytes() == b"3"


def test_saving_makes_a_folder_where_a_slash_asks_for_it(tmp_path: Path) -> None:
    assert save_file(b"1", "a.png", f"{tmp_path}/new/er/") == tmp_path / "new" / "er" / "a.png"
    with pytest.raises(FileNotFoundError):
        save_file(b"1", "a.png", tmp_path / "missing" / "b.png")


def test_saving_without_a_place_is_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert save_file(b"1", "a.png").resolve() == tmp_path / "a.png"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a_00001_.png", "a_00001_.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:evil.png", "C_evil.png"),
        ("a:b?.png", "a_b_.png"),
        ("CON.png", "_CON.png"),
        ("..", "unnamed"),
        ("x/", "unnamed"),
        ("name. ", "name"),
        ("图.png", "图.png"),
    ],
)
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@hypothesis.given(st.text())
def test_no_name_leaves_its_folder(name: str) -> None:
    safe = safe_name(name)
    assert safe not in ("", ".", "..")
    assert not set(safe) & set('/\\:*?"<>|\0')
    assert os.path.basename(safe) == safe  # noqa: PTH119 - of a text, not of a path
