"""The two file trees: one suite for both, their agreement, and what only a real directory has."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comfy_mock.engine.files import Files
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.server.directory_files import DirectoryFiles, windows_refuses


@pytest.fixture(params=["memory", "directory", "mixed"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "memory":
        return MemoryFiles()
    mounts = {"/": tmp_path} if request.param == "directory" else {"/comfyui/output": tmp_path / "made" / "here"}
    return DirectoryFiles(mounts)


OUT = "/comfyui/output"


def test_a_written_file_can_be_read_and_stated(files: Files) -> None:
    files.write(f"{OUT}/sub/a.png", b"12345", now=1000.5)
    facts = files.stat(f"{OUT}/sub/a.png")
    assert facts is not None
    assert (facts.is_folder, facts.size, facts.modified, facts.created) == (False, 5, 1000.5, 1000.5)
    assert files.read(f"{OUT}/sub/a.png") == b"12345"
    folder = files.stat(f"{OUT}/sub")
    assert folder is not None
    assert folder.is_folder
    assert folder.size == 0


def test_writing_again_replaces_content_and_time_but_not_the_place(files: Files) -> None:
    for name in ("b", "a", "c"):
        files.write(f"{OUT}/{name}", b"old", now=1.0)
    files.write(f"{OUT}/b", b"newer", now=2.0)
    facts = files.stat(f"{OUT}/b")
    assert facts is not None
    assert (facts.size, facts.modified) == (5, 2.0)
    assert files.names(OUT) == ["b", "a", "c"]


def test_a_file_written_after_its_removal_is_a_new_one(files: Files) -> None:
    for name in ("b", "a"):
        files.write(f"{OUT}/{name}", b"", now=1.0)
    files.remove(f"{OUT}/b")
    assert files.stat(f"{OUT}/b") is None
    files.write(f"{OUT}/b", b"", now=0.5)
    assert files.names(OUT) == ["a", "b"]


def test_paths_are_resolved_like_posix_ones(files: Files) -> None:
    files.write(f"{OUT}//x/../y/./f", b"1", now=1.0)
    assert files.read(f"/..{OUT}/y/f") == b"1"
    assert files.stat(f"{OUT}/x") is None


def test_a_content_made_late_is_made_once(files: Files) -> None:
    made: list[int] = []

    def draw() -> bytes:
        made.append(1)
        return b"picture"

    files.write(f"{OUT}/a.png", draw, now=3.0)
    facts = files.stat(f"{OUT}/a.png")
    assert facts is not None
    assert facts.size == 7
    assert files.read(f"{OUT}/a.png") == files.read(f"{OUT}/a.png") == b"picture"
    assert made == [1]


def test_in_memory_nothing_is_drawn_before_somebody_looks() -> None:
    def draw() -> bytes:
        raise AssertionError("drawn")

    files = MemoryFiles()
    files.write("/a/b.png", draw, now=3.0)
    facts = files.stat("/a/b.png")
    assert facts is not None
    assert (facts.is_folder, facts.modified) == (False, 3.0)
    files.move("/a/b.png", "/a/c.png")
    assert files.names("/a") == ["c.png"]
    with pytest.raises(AssertionError, match="drawn"):
        _ = facts.size


def test_moving_a_file_keeps_its_time_and_puts_it_last(files: Files) -> None:
    for name in ("a", "b", "c"):
        files.write(f"{OUT}/{name}", name.encode(), now=1.0)
    files.move(f"{OUT}/a", f"{OUT}/c")
    assert files.names(OUT) == ["b", "c"]
    facts = files.stat(f"{OUT}/c")
    assert facts is not None
    assert facts.modified == 1.0
    assert files.read(f"{OUT}/c") == b"a"


def test_moving_a_folder_takes_along_what_is_in_it(files: Files) -> None:
    files.write(f"{OUT}/old/z", b"1", now=1.0)
    files.write(f"{OUT}/old/in/a", b"2", now=1.0)
    files.make_folder(f"{OUT}/new", now=1.0)
    files.move(f"{OUT}/old", f"{OUT}/new")
    assert files.names(OUT) == ["new"]
    assert files.names(f"{OUT}/new") == ["z", "in"]
    assert files.read(f"{OUT}/new/in/a") == b"2"


REFUSED: list[tuple[Callable[[Files], Any], type[Exception], int | None]] = [
    (lambda files: files.read(f"{OUT}/none"), FileNotFoundError, errno.ENOENT),
    (lambda files: files.read(f"{OUT}/file/below"), FileNotFoundError, errno.ENOENT),
    (lambda files: files.read(f"{OUT}/folder"), IsADirectoryError, errno.EISDIR),
    (lambda files: files.names(f"{OUT}/none"), FileNotFoundError, errno.ENOENT),
    (lambda files: files.names(f"{OUT}/file"), NotADirectoryError, errno.ENOTDIR),
    (lambda files: files.write(f"{OUT}/folder", b"", now=1.0), IsADirectoryError, errno.EISDIR),
    (lambda files: files.write(f"{OUT}/file/below/x", b"", now=1.0), NotADirectoryError, errno.ENOTDIR),
    (lambda files: files.write(f"{OUT}/{'x' * 256}", b"", now=1.0), OSError, errno.ENAMETOOLONG),
    (lambda files: files.write(f"{OUT}/{'é' * 128}", b"", now=1.0), OSError, errno.ENAMETOOLONG),
    (lambda files: files.write(f"{OUT}/a\0b", b"", now=1.0), ValueError, None),
    (lambda files: files.write(f"{OUT}/\ud800", b"", now=1.0), ValueError, None),
    (lambda files: files.write("relative", b"", now=1.0), ValueError, None),
    (lambda files: files.make_folder(f"{OUT}/file", now=1.0), FileExistsError, errno.EEXIST),
    (lambda files: files.make_folder(f"{OUT}/file/x", now=1.0), NotADirectoryError, errno.ENOTDIR),
    (lambda files: files.remove(f"{OUT}/none"), FileNotFoundError, errno.ENOENT),
    (lambda files: files.remove(f"{OUT}/folder"), IsADirectoryError, errno.EISDIR),
    (lambda files: files.move(f"{OUT}/none", f"{OUT}/x"), FileNotFoundError, errno.ENOENT),
    (lambda files: files.move(f"{OUT}/file", f"{OUT}/none/x"), FileNotFoundError, errno.ENOENT),
    (lambda files: files.move(f"{OUT}/folder", f"{OUT}/folder/in/x"), OSError, errno.EINVAL),
    (lambda files: files.move(f"{OUT}/file", f"{OUT}/folder"), IsADirectoryError, errno.EISDIR),
    (lambda files: files.move(f"{OUT}/folder", f"{OUT}/file"), NotADirectoryError, errno.ENOTDIR),
    (lambda files: files.move(f"{OUT}/full", f"{OUT}/folder"), OSError, errno.ENOTEMPTY),
    (lambda files: files.move(f"{OUT}/folder/in", f"{OUT}/file/x"), NotADirectoryError, errno.ENOTDIR),
]


@pytest.mark.parametrize(("call", "error", "number"), REFUSED)
def test_what_cannot_be_done_raises_what_os_raises_and_changes_nothing(
    files: Files, call: Callable[[Files], Any], error: type[Exception], number: int | None
) -> None:
    files.write(f"{OUT}/file", b"1", now=1.0)
    files.write(f"{OUT}/folder/in/f", b"2", now=1.0)
    files.make_folder(f"{OUT}/full/x", now=1.0)
    before = snapshot(files, OUT)
    with pytest.raises(error) as raised:
        call(files)
    if number is not None:
        assert isinstance(raised.value, OSError)
        assert raised.value.errno == number
    assert snapshot(files, OUT) == before


def snapshot(files: Files, path: str = "/") -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for name in files.names(path):
        below = f"{path.rstrip('/')}/{name}"
        facts = files.stat(below)
        assert facts is not None, below
        if facts.is_folder:
            found += [(below,), *snapshot(files, below)]
        else:
            found.append((below, files.read(below), facts.size, facts.modified, facts.created))
    return found


names = st.sampled_from(["a", "b", "ü x.json", ".dot"])
paths = st.lists(names | st.sampled_from(["..", "."]), max_size=4).map(lambda parts: "/m/" + "/".join(parts))
times = st.integers(0, 2_000_000_000).map(float)
calls = st.one_of(
    st.tuples(st.just("write"), paths, st.binary(max_size=4), times),
    st.tuples(st.just("make_folder"), paths, times),
    st.tuples(st.just("remove"), paths),
    st.tuples(st.just("move"), paths, paths),
    st.tuples(st.just("names"), paths),
    st.tuples(st.just("read"), paths),
)


def outcome(files: Files, call: tuple[Any, ...]) -> Any:
    name, *arguments = call
    extra = {"now": arguments.pop()} if name in ("write", "make_folder") else {}
    try:
        return getattr(files, name)(*arguments, **extra)
    except OSError as error:
        return type(error), error.errno


@settings(max_examples=150, deadline=None)
@given(st.lists(calls, max_size=20))
def test_memory_and_directory_agree(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        memory, directory = MemoryFiles(), DirectoryFiles({"/": Path(folder)})
        for files in (memory, directory):
            files.make_folder("/m", now=0.0)
        for step in steps:
            assert outcome(memory, step) == outcome(directory, step), step
        assert snapshot(memory) == snapshot(directory)


def test_what_lies_in_the_directory_already_is_there_by_age(tmp_path: Path) -> None:
    for name, time in (("b.png", 30), ("a.png", 10), ("c.png", 20)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time, time))
    files = DirectoryFiles({OUT: tmp_path})
    files.write(f"{OUT}/new.png", b"", now=1.0)
    assert files.names(OUT) == ["a.png", "c.png", "b.png", "new.png"]
    (tmp_path / "a.png").unlink()
    (tmp_path / "later.png").write_bytes(b"y")
    assert files.names(OUT) == ["c.png", "b.png", "new.png", "later.png"]
    assert files.read(f"{OUT}/later.png") == b"y"


def test_files_land_in_the_directory(tmp_path: Path) -> None:
    files = DirectoryFiles({OUT: tmp_path / "out", "/comfyui/input": tmp_path / "in"})
    files.write(f"{OUT}/s/a.png", b"1", now=1.0)
    files.write("/comfyui/user/u", b"2", now=1.0)
    files.move(f"{OUT}/s/a.png", "/comfyui/input/b.png")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "in",
        "in/b.png",
        "out",
        "out/s",
    ]
    assert files.names("/comfyui") == ["output", "input", "user"]
    files.move("/comfyui/user/u", f"{OUT}/u")
    assert (tmp_path / "out" / "u").read_bytes() == b"2"


def test_mounts_and_folders_across_them_do_not_move(tmp_path: Path) -> None:
    files = DirectoryFiles({OUT: tmp_path / "out", "/comfyui/input": tmp_path / "in"})
    files.make_folder(f"{OUT}/s", now=1.0)
    assert outcome(files, ("move", OUT, "/elsewhere")) == (OSError, errno.EBUSY)
    assert outcome(files, ("move", f"{OUT}/s", "/comfyui/input/s")) == (OSError, errno.EXDEV)


@pytest.fixture
def linked(tmp_path: Path) -> DirectoryFiles:
    (tmp_path / "root" / "real").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_bytes(b"secret")
    (tmp_path / "root" / "real" / "f").write_bytes(b"inside")
    try:
        (tmp_path / "root" / "out").symlink_to(tmp_path / "secret")
    except OSError as error:
        pytest.skip(f"this machine makes no symbolic links: {error}")
    (tmp_path / "root" / "key").symlink_to(tmp_path / "secret" / "key")
    (tmp_path / "root" / "new").symlink_to(tmp_path / "secret" / "new")
    (tmp_path / "root" / "in").symlink_to("real")
    return DirectoryFiles({OUT: tmp_path / "root"})


def test_links_that_lead_out_are_not_there(linked: DirectoryFiles) -> None:
    assert sorted(linked.names(OUT)) == ["in", "real"]
    for path in ("out", "out/key", "key", "new"):
        assert linked.stat(f"{OUT}/{path}") is None
        with pytest.raises(PermissionError, match="a symbolic link leads out of"):
            linked.read(f"{OUT}/{path}")


@pytest.mark.parametrize("path", ["out/key", "out/x/y", "key", "new"])
def test_nothing_is_written_moved_or_removed_through_a_link(linked: DirectoryFiles, path: str, tmp_path: Path) -> None:
    tries: list[Callable[[], None]] = [
        lambda: linked.write(f"{OUT}/{path}", b"overwritten", now=1.0),
        lambda: linked.make_folder(f"{OUT}/{path}/x", now=1.0),
        lambda: linked.remove(f"{OUT}/{path}"),
        lambda: linked.move(f"{OUT}/real/f", f"{OUT}/{path}"),
        lambda: linked.move(f"{OUT}/{path}", f"{OUT}/x"),
    ]
    for attempt in tries:
        with pytest.raises((PermissionError, FileNotFoundError)):
            attempt()
    assert [(file.name, file.read_bytes()) for file in (tmp_path / "secret").iterdir()] == [("key", b"secret")]


def test_links_that_stay_inside_work(linked: DirectoryFiles, tmp_path: Path) -> None:
    assert linked.read(f"{OUT}/in/f") == b"inside"
    linked.write(f"{OUT}/in/g", b"new", now=1.0)
    assert (tmp_path / "root" / "real" / "g").read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a POSIX thing")
def test_a_named_pipe_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    files = DirectoryFiles({OUT: tmp_path})
    assert files.names(OUT) == []
    with pytest.raises(FileNotFoundError):
        files.read(f"{OUT}/pipe")
    with pytest.raises(PermissionError, match="neither a file nor a folder"):
        files.write(f"{OUT}/pipe", b"", now=1.0)


@pytest.mark.parametrize(
    "name",
    ["a:b", "C:", "a\\b", "..\\x", "con", "NUL.txt", "com1", "aux .x", "dot.", "space ", "a*", "a\n"],
)
def test_names_that_windows_cannot_hold_are_refused_there(tmp_path: Path, name: str) -> None:
    assert windows_refuses(name)
    files = DirectoryFiles({OUT: tmp_path}, windows=True)
    with pytest.raises(OSError, match="Windows does not allow the name"):
        files.write(f"{OUT}/{name}", b"", now=1.0)
    assert files.stat(f"{OUT}/{name}") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.png", "console", "com", "com10", "nulls.txt", "é ü.json", ".index.json"])
def test_other_names_are_fine_on_windows(name: str) -> None:
    assert not windows_refuses(name)


def test_a_failing_disk_says_what_failed_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    files = DirectoryFiles({OUT: tmp_path})
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"could not write .*a\.png") as raised:
        files.write(f"{OUT}/a.png", b"1", now=1.0)
    assert raised.value.errno == errno.ENOSPC
    assert os.strerror(errno.ENOSPC) in str(raised.value)
