"""File names: the rules of protocol 7.1, on its own examples and on the recorded ones."""

from __future__ import annotations

import posixpath
import random
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.saving import SavePath, file_item, save_path, temp_prefix, temp_prefix_for_audio

OUT = "/comfyui/output"
AT_NOON = 1_795_435_200.0  # 2026-11-23 12:00:00 UTC


def place(prefix: str, files: MemoryFiles | None = None, **others: Any) -> SavePath:
    arguments = {"now": AT_NOON, "utc_offset_s": 0, **others}
    return save_path(prefix, OUT, files if files is not None else MemoryFiles(), **arguments)


def with_entries(*names: str, folder: str = OUT) -> MemoryFiles:
    files = MemoryFiles()
    for name in names:
        path = posixpath.join(folder, name)
        if name.endswith("/"):
            files.make_folder(path, now=0)
        else:
            files.write(path, b"", now=0)
    return files


@pytest.mark.parametrize(
    ("prefix", "subfolder", "first"),
    [
        ("ComfyUI", "", "ComfyUI_00001_.png"),
        ("sub/dir/x", "sub/dir", "x_00001_.png"),
        ("n1/./x/../y/z", "n1/y", "z_00001_.png"),
        ("", "", "._00001_.png"),
        ("trailing/", "", "trailing_00001_.png"),
        ("dots.in.name", "", "dots.in.name_00001_.png"),
        (" a b ", "", " a b _00001_.png"),
        ("back\\slash", "", "back\\slash_00001_.png"),
        ("%date:yyyy-MM-dd%", "", "%date:yyyy-MM-dd%_00001_.png"),
        ("%Node.widget%", "", "%Node.widget%_00001_.png"),
    ],
)
def test_prefix_is_a_path(prefix: str, subfolder: str, first: str) -> None:
    where = place(prefix)
    assert (where.subfolder, where.name(0, "_.png")) == (subfolder, first)


def test_tokens_are_filled_in() -> None:
    where = place("%width%x%height%_%year%-%month%-%day%_%hour%%minute%%second%", width=8, height=16)
    assert where.filename == "8x16_2026-11-23_120000"


def test_time_tokens_are_local() -> None:
    assert place("%day%.%hour%:%minute%", utc_offset_s=12 * 3600 + 1800).filename == "24.00:30"


def test_sounds_and_latents_have_no_size() -> None:
    assert place("%width%x%height%").filename == "0x0"


def test_batch_number_is_filled_in_per_file() -> None:
    where = place("b%batch_num%_x")
    # As recorded in image_batch_prefix_tokens.
    assert [where.name(index, "_.png") for index in range(2)] == ["b0_x_00001_.png", "b1_x_00002_.png"]


def test_counter_follows_the_largest_number_of_files_and_folders() -> None:
    names = ("p_00007_.png", "p_12.txt", "p_abc.png", "p_3_x_.png", "pp_00050_.png", "p_00040_/")
    assert place("p", with_entries(*names)).counter == 41


@pytest.mark.parametrize(
    ("names", "prefix", "counter"),
    [
        (["P_00005_.png"], "p", 1),
        (["r_00007.png"], "r", 8),
        (["ComfyUI_00001.flac", "ComfyUI_00002.mp3"], "ComfyUI", 3),
        (["p_-5_.png"], "p", -4),
        (["p_x.png"], "p", 1),
        (["trailing_00001_.png"], "trailing/", 1),
        (["b0_00001_.png"], "b%batch_num%", 1),
        (["p_99999_.png"], "p", 100000),
    ],
)
def test_counter(names: list[str], prefix: str, counter: int) -> None:
    assert place(prefix, with_entries(*names)).counter == counter


def test_numbers_have_at_least_five_digits() -> None:
    assert place("p", with_entries("p_99998_.png")).name(0, "_.png") == "p_99999_.png"
    assert place("p", with_entries("p_99999_.png")).name(0, ".flac") == "p_100000.flac"


def test_counter_looks_only_into_its_folder() -> None:
    assert place("a/p", with_entries("p_00009_.png")).counter == 1
    assert place("a/p", with_entries("p_00009_.png", folder=f"{OUT}/a")).counter == 10


def test_missing_folders_are_made() -> None:
    files = MemoryFiles()
    where = place("a/b/p", files)
    stat = files.stat(where.folder)
    assert stat is not None
    assert stat.is_folder


@pytest.mark.parametrize(
    ("prefix", "folder"),
    [
        ("../../evil", "/"),
        ("../x", "/comfyui"),
        ("/etc/x", "/etc"),
        ("a/../../x", "/comfyui"),
        ("../output2/x", "/comfyui/output2"),
    ],
)
def test_leaving_the_output_folder_is_refused(prefix: str, folder: str) -> None:
    with pytest.raises(Exception, match="outside the output folder") as caught:
        place(prefix)
    # The words are those of the recording error_in_save_prefix.
    assert type(caught.value) is Exception
    assert str(caught.value) == (
        "**** ERROR: Saving image outside the output folder is not allowed."
        f"\n full_output_folder: {folder}\n         output_dir: {OUT}"
    )


def test_a_file_in_the_way_is_an_error() -> None:
    with pytest.raises(NotADirectoryError):
        place("x/p", with_entries("x"))


@given(st.text(alphabet="ab/.%_ ", max_size=12), st.integers(1, 4))
def test_saved_files_stay_inside_and_never_share_a_name(prefix: str, count: int) -> None:
    files = MemoryFiles()
    try:
        where = place(prefix, files)
    except Exception as error:
        assert "outside the output folder" in str(error)  # noqa: PT017 - the refusal is one of two good ends
        return
    assert (where.folder + "/").startswith(OUT + "/")
    names = [where.name(index, "_.png") for index in range(count)]
    assert len(set(names)) == count
    for name in names:
        assert posixpath.dirname(where.path(name)) == where.folder


@given(st.lists(st.integers(0, 200_000), max_size=8))
def test_the_next_counter_is_free(numbers: list[int]) -> None:
    names = [f"p_{number:05}_.png" for number in numbers]
    where = place("p", with_entries(*names))
    assert where.counter == max(numbers, default=0) + 1
    assert where.name(0, "_.png") not in names


def test_random_letters_of_images() -> None:
    letters = "".join(temp_prefix("ComfyUI", random.Random(seed))[len("ComfyUI_temp_") :] for seed in range(400))
    assert len(letters) == 5 * 400
    assert set(letters) == set(string.ascii_lowercase) - {"w"}
    # p stands in the alphabet twice.
    assert letters.count("p") > 1.4 * letters.count("q")


def test_random_letters_of_audio() -> None:
    letters = "".join(temp_prefix_for_audio(random.Random(seed))[len("ComfyUI_temp_") :] for seed in range(200))
    assert set(letters) == set(string.ascii_lowercase)


def test_file_item_has_the_keys_in_the_order_of_the_wire() -> None:
    assert list(file_item("a.png", "s", "temp").items()) == [
        ("filename", "a.png"),
        ("subfolder", "s"),
        ("type", "temp"),
    ]
