"""Where file names of clients lead (protocol 2.4, 2.5)."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.paths import annotated, file_stat, inside, passable


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png [input]", ("a.png", "input")),
        ("a.png[input]", ("a.pn", "input")),
        ("a.png [output]", ("a.png", "output")),
        ("a.png [temp]", ("a.png", "temp")),
        ("a.png [other]", ("a.png [other]", None)),
        ("[temp]", ("", "temp")),
        ("a.png", ("a.png", None)),
    ],
)
def test_a_tag_says_the_folder(name: str, expected: tuple[str, str | None]) -> None:
    assert annotated(name) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b", "/out/a/b"),
        ("", "/out"),
        (".", "/out"),
        ("../out/sub", "/out/sub"),
        ("/out/sub", "/out/sub"),
        ("//out/sub", "/out/sub"),
        ("..", None),
        ("/", None),
        ("../outer", None),
        ("a/../../b", None),
        ("/etc/passwd", None),
    ],
)
def test_a_path_stays_inside_or_is_refused(path: str, expected: str | None) -> None:
    assert inside("/out", path) == expected


@given(st.lists(st.sampled_from(["..", ".", "", "a", "out", "/"])).map("/".join))
def test_no_spelling_leads_out(path: str) -> None:
    found = inside("/x/out", path)
    if found is not None:
        assert posixpath.commonpath(["/x/out", found]) == "/x/out"
        assert ".." not in found.split("/")


def test_only_regular_files_have_facts() -> None:
    files = MemoryFiles()
    files.write("/a/b.txt", b"x", now=0.0)
    assert file_stat(files, "/a/b.txt") is not None
    assert [file_stat(files, path) for path in ("/a", "/a/nope", "/a/\0", "/a/" + "b" * 5000, "/a/\ud800")] == [
        None
    ] * 5


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/out/sub", True),
        ("/out/nope/x", True),
        ("/out/sub/../sub", True),
        ("/out/sub/./..//x", True),
        ("/out/nope/../sub", False),
        ("/out/file/..", False),
        ("/out/sub/../../out/nope/..", False),
    ],
)
def test_the_way_back_leads_through_folders_only(path: str, expected: bool) -> None:
    files = MemoryFiles()
    files.make_folder("/out/sub", now=0.0)
    files.write("/out/file", b"", now=0.0)
    assert passable(files, path) is expected
