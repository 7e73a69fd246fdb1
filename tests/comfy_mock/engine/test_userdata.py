"""User data beyond the recordings (protocol 2.6; the recordings are sent again in test_routes_recordings)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_contracts import jsontext
from comfy_mock.engine.answers import Answer, ServerTrouble
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.userdata import UserData
from comfy_mock.engine.users import Users

ROOT = "/comfyui/user/default"


class Bench:
    def __init__(self) -> None:
        self.files = MemoryFiles()
        self.users = Users(self.files, Folders())

    def ask(self, **query: str) -> UserData:
        return UserData(self.files, self.users, header=None, query=query, now=12.3456)


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    for name in ("workflows/a.json", "workflows/sub/b.json", ".hidden/x", "top.txt"):
        made.files.write(f"{ROOT}/{name}", b"12", now=1.0)
    return made


def test_times_are_whole_milliseconds_and_the_flags_are_true_in_any_case(bench: Bench) -> None:
    answer = bench.ask(full_info="TRUE").write("n.txt", b"123")
    assert jsontext.loads(answer.body) == {"path": "n.txt", "size": 3, "modified": 12345, "created": 12345}
    assert bench.ask(full_info="1").write("n.txt", b"123").body == b'"n.txt"'


def test_only_the_text_false_keeps_an_existing_file(bench: Bench) -> None:
    assert bench.ask(overwrite="false").write("top.txt", b"").status == 409
    assert bench.ask(overwrite="FALSE").write("top.txt", b"").status == 200


@pytest.mark.parametrize("name", ["workflows", ".", "x" * 256, "top.txt/x"])
def test_what_the_file_system_refuses_is_a_bad_name(bench: Bench, name: str) -> None:
    answer = bench.ask().write(name, b"")
    assert (answer.status, answer.body, answer.content_type) == (400, b"", None)
    assert answer.reason == 'Invalid filename. Please avoid special characters like :\\/*?"<>|'


@pytest.mark.parametrize("name", ["a\0b", "top.txt/x/y", f"{'x' * 256}/y"])
def test_what_breaks_the_handler_is_trouble(bench: Bench, name: str) -> None:
    with pytest.raises(ServerTrouble):
        bench.ask().write(name, b"")


def test_a_folder_is_moved_into_a_folder_once(bench: Bench) -> None:
    assert bench.ask().move("top.txt", "workflows").status == 200
    assert bench.files.read(f"{ROOT}/workflows/top.txt") == b"12"
    bench.files.write(f"{ROOT}/top.txt", b"3", now=1.0)
    with pytest.raises(ServerTrouble):
        bench.ask().move("top.txt", "workflows")
    with pytest.raises(ServerTrouble):
        bench.ask().move("workflows", "workflows/sub")


def test_asking_for_a_file_makes_the_folder_it_would_be_in() -> None:
    bench = Bench()
    assert bench.ask().read("workflows/.index.json", {}).status == 404
    assert bench.files.names(ROOT) == ["workflows"]


def test_hidden_files_are_left_out_of_the_listing_and_shown_in_the_tree(bench: Bench) -> None:
    listed = jsontext.loads(bench.ask(dir=".", recurse="true").listing().body)
    assert sorted(listed) == ["top.txt", "workflows/a.json", "workflows/sub/b.json"]
    tree = jsontext.loads(bench.ask().tree().body)
    assert [entry["path"] for entry in tree] == [
        ".hidden",
        "workflows/sub",
        "workflows",
        "workflows/a.json",
        "workflows/sub/b.json",
        "top.txt",
        ".hidden/x",
    ]


def test_of_equal_names_in_the_tree_the_upper_comes_first() -> None:
    """Folder by folder, as `os.walk` goes; the sort keeps the order of equal names."""
    bench = Bench()
    for file in ("b/same.json", "same.json", "b/c/SAME.json", "d/same.json"):
        assert bench.ask().write(file, b"").status == 200
    tree = jsontext.loads(bench.ask().tree().body)
    files = [entry["path"] for entry in tree if entry["type"] == "file"]
    assert files[0] == "same.json"
    assert files.index("b/same.json") < files.index("b/c/SAME.json")
    assert len(files) == 4


def test_a_folder_that_was_moved_has_the_size_of_a_folder(bench: Bench) -> None:
    info = jsontext.loads(bench.ask(full_info="true").move("workflows", "flows").body)
    assert (info["path"], info["size"]) == ("flows", 4096)


def outside(files: Files, path: str = "/") -> list[str]:
    """Everything that is not the default user's."""
    found = []
    for name in files.names(path):
        entry = f"{path.rstrip('/')}/{name}"
        if entry != ROOT:
            stat = files.stat(entry)
            assert stat is not None
            found += [entry, *(outside(files, entry) if stat.is_folder else [])]
    return found


pieces = st.lists(
    st.sampled_from(["..", ".", "/", "%2e%2e", "%2F", "%252F", "\\", "a", "b", "\0", "\ud800", "workflows", "é"])
    | st.text(max_size=3),
    max_size=8,
).map("".join)


@given(
    st.lists(
        st.tuples(st.sampled_from(["write", "read", "delete", "move", "listing", "tree"]), pieces, pieces), max_size=6
    )
)
def test_whatever_is_asked_nothing_outside_is_touched(steps: list[tuple[str, str, str]]) -> None:
    bench = Bench()
    bench.files.write("/comfyui/user/other/secret", b"secret", now=1.0)
    bench.files.write(f"{ROOT}/workflows/a.json", b"{}", now=1.0)
    before = outside(bench.files)
    for verb, one, other in steps:
        arguments: dict[str, tuple[Any, ...]] = {
            "write": (one, b"new"),
            "read": (one, {}),
            "delete": (one,),
            "move": (one, other),
        }
        asked = bench.ask(dir=one, path=one, recurse="true")
        try:
            answer: Answer = getattr(asked, verb)(*arguments.get(verb, ()))
        except ServerTrouble:
            continue
        assert b"secret" not in answer.body
        assert answer.status in (200, 204, 400, 403, 404, 409)
    assert outside(bench.files) == before
    assert bench.files.read("/comfyui/user/other/secret") == b"secret"
