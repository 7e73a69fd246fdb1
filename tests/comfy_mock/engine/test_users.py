"""Users and their settings (protocol 2.6, recordings settings, userdata and multi_user)."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_contracts import jsontext
from comfy_mock.engine.answers import Answer, ServerTrouble
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.user_settings import UserSettings
from comfy_mock.engine.users import UnknownUser, Users

NEW_ID = "2fb71142-e8f1-4d06-aa7d-2995e135790e"


def make(*, multi_user: bool = False, files: MemoryFiles | None = None) -> Users:
    return Users(files or MemoryFiles(), Folders(), multi_user=multi_user)


def add(users: Users, body: Any) -> Answer:
    return users.add(body, mint_id=lambda: NEW_ID, now=1.0)


def shown(answer: Answer) -> tuple[int, Any]:
    return answer.status, jsontext.loads(answer.body)


def test_alone_the_header_does_not_count() -> None:
    users = make()
    assert [users.identify(header) for header in (None, "nobody", "__x")] == ["default"] * 3


@pytest.mark.parametrize("header", [None, "", "nobody", "__x", "default", "alice"])
def test_with_several_users_only_those_that_exist_are_known(header: str | None) -> None:
    users = make(multi_user=True)
    add(users, {"username": "alice"})
    assert users.identify(f"alice_{NEW_ID}") == f"alice_{NEW_ID}"
    with pytest.raises(UnknownUser):
        users.identify(header)


@pytest.mark.parametrize(
    ("name", "user"), [("bob smith!", "bob-smith-"), ("Bob & Co.", "Bob-Co-"), ("  a_b-c  ", "a_b-c"), ("é", "-")]
)
def test_an_id_is_made_of_the_name_and_a_uuid(name: str, user: str) -> None:
    users = make(multi_user=True)
    assert shown(add(users, {"username": name})) == (200, f"{user}_{NEW_ID}")
    assert shown(users.overview()) == (200, {"storage": "server", "users": {f"{user}_{NEW_ID}": name.strip()}})


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("alice", "Duplicate username."),
        ("", "username not provided"),
        (" ", "username not provided"),
        ("__system", "System User prefix not allowed"),
    ],
)
def test_refused_names(name: str, error: str) -> None:
    users = make()
    add(users, {"username": "alice"})
    assert shown(add(users, {"username": name})) == (400, {"error": error})
    assert list(users.names.values()) == ["alice"]


@pytest.mark.parametrize("body", [None, 5, "x", [], {}, {"username": 5}, {"username": None}, {"name": "x"}])
def test_a_body_without_a_username_is_trouble(body: Any) -> None:
    with pytest.raises(ServerTrouble):
        add(make(), body)


def test_migrated_says_whether_the_default_user_has_a_folder() -> None:
    users = make()
    assert shown(users.overview())[1] == {"storage": "server", "migrated": False}
    users.path("default", "x.txt", now=1.0)
    assert shown(users.overview())[1] == {"storage": "server", "migrated": True}


def test_users_are_found_again_in_the_storage() -> None:
    files = MemoryFiles()
    add(make(multi_user=True, files=files), {"username": "alice"})
    assert make(multi_user=True, files=files).identify(f"alice_{NEW_ID}")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"a": 1}'])
def test_a_broken_list_of_users_is_named(content: bytes) -> None:
    files = MemoryFiles()
    files.write("/comfyui/user/users.json", content, now=1.0)
    with pytest.raises(ValueError, match=r"/comfyui/user/users\.json .* delete it to start afresh"):
        make(files=files)


@pytest.mark.parametrize("file", ["../x", "..", "a/../../x", "/etc/x", "..%2Fx", "%2e%2e", "../defaultx", "/"])
def test_no_path_leads_out_of_the_folder(file: str) -> None:
    assert make().path("default", file, now=1.0) is None


@pytest.mark.parametrize(
    ("file", "below"), [("a", "/a"), ("w%2Fa", "/w/a"), ("./b/../a", "/a"), (".", ""), ("%zz", "/%zz")]
)
def test_paths_lie_in_the_folder(file: str, below: str) -> None:
    assert make().path("default", file, now=1.0) == f"/comfyui/user/default{below}"


class Bench:
    def __init__(self) -> None:
        self.files = MemoryFiles()
        self.settings = UserSettings(self.files, make(files=self.files), "default", now=1.0)
        self.path = "/comfyui/user/default/comfy.settings.json"


def test_settings_are_an_indented_object_in_a_file() -> None:
    bench = Bench()
    assert bench.settings.all() == {}
    bench.settings.set("Comfy.A", "again")
    bench.settings.merge({"Comfy.B": 1, "a/b": 1})
    assert bench.files.read(bench.path) == b'{\n    "Comfy.A": "again",\n    "Comfy.B": 1,\n    "a/b": 1\n}'
    assert bench.settings.get("Comfy.B") == 1
    assert bench.settings.get("Comfy.Nope") is None


def test_merging_is_shallow() -> None:
    bench = Bench()
    bench.settings.set("a", {"x": 1})
    bench.settings.merge({"a": {"y": 2}})
    assert bench.settings.all() == {"a": {"y": 2}}


@pytest.mark.parametrize(
    "content", [b"{broken", b"", b"\xff", b"[" * 100_000, b"\xef\xbb\xbf{}", "{}".encode("utf-16")]
)
def test_a_corrupt_file_counts_as_none_and_is_replaced(content: bytes) -> None:
    bench = Bench()
    bench.files.write(bench.path, content, now=1.0)
    assert bench.settings.all() == {}
    bench.settings.set("Z", 1)
    assert bench.settings.all() == {"Z": 1}


def test_a_file_with_something_else_than_an_object_is_shown_but_not_changed() -> None:
    bench = Bench()
    bench.files.write(bench.path, b"[1]", now=1.0)
    assert bench.settings.all() == [1]
    with pytest.raises(ServerTrouble):
        bench.settings.set("Z", 1)


@pytest.mark.parametrize(
    ("content", "known"),
    [(b"[]", None), (b'["Y"]', None), (b'["Z"]', "trouble"), (b'"XYZ"', "trouble"), (b"5", "trouble")],
)
def test_one_setting_of_a_file_without_an_object_is_found_as_python_finds_it(content: bytes, known: str | None) -> None:
    bench = Bench()
    bench.files.write(bench.path, content, now=1.0)
    if known is None:
        assert bench.settings.get("Z") is None
    else:
        with pytest.raises(ServerTrouble):
            bench.settings.get("Z")


@pytest.mark.parametrize("changes", [None, 5, "x", [], [["k", "v"]]])
def test_only_an_object_can_be_merged(changes: Any) -> None:
    with pytest.raises(ServerTrouble):
        Bench().settings.merge(changes)
