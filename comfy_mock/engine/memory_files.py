"""The files of the simulated server, kept in memory."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from threading import Lock
from typing import NoReturn, Union

from comfy_mock.engine.files import Content, FileStat

NAME_BYTES_MAX = 255
"""The longest name of one file or folder, in UTF-8 bytes, as on the usual Linux file systems."""

_TICK_S = 2**-9
"""Seconds between two writes of one moment: a fraction that floats and file systems hold exactly."""


class WriteTimes:
    """Tells writes apart that happen at one moment of simulated time, for listings by time and for ETags."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def next(self, now: float) -> float:
        """The time of a write: `now`, or a little after the last one."""
        self._last = now if now > self._last else self._last + _TICK_S
        return self._last


def split_path(path: str) -> tuple[str, ...]:
    """The names on the way to a virtual path, with `.`, `..` and doubled slashes resolved.

    Raises `ValueError` for what no call of `os` accepts (null bytes, lone surrogates) and for relative paths, `OSError`
    with `ENAMETOOLONG` for names that no file system holds.
    """
    if not path.startswith("/"):
        raise ValueError(f"{path!r} is not an absolute virtual path such as /comfyui/output/a.png")
    if "\0" in path:
        raise ValueError("embedded null byte")
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            if len(name) > NAME_BYTES_MAX // 4 and len(os.fsencode(name)) > NAME_BYTES_MAX:
                fail(errno.ENAMETOOLONG, path)
            names.append(name)
    path.encode("utf-8", "surrogateescape")
    return tuple(names)


def fail(number: int, path: str) -> NoReturn:
    """Raise the `OSError` of an error number for a virtual path, with the text that the system has for it."""
    raise OSError(number, os.strerror(number), path)


@dataclass(slots=True, eq=False)
class _File:
    content: Content
    modified: float
    making: Lock = field(default_factory=Lock)

    def read(self) -> bytes:
        content = self.content
        if not isinstance(content, bytes):
            with self.making:
                # Another thread may have made it while this one waited.
                content = self.content
                if not isinstance(content, bytes):
                    self.content = content = bytes(content())
        return content


@dataclass(slots=True, eq=False)
class _Folder:
    modified: float
    children: dict[str, _Node] = field(default_factory=dict)


_Node = Union[_File, _Folder]


class _LateStat(FileStat):
    """The facts of a file whose content may not be made yet: looking at `size` makes it."""

    __slots__ = ("_file",)

    def __init__(self, file: _File) -> None:
        object.__setattr__(self, "_file", file)
        for name, value in (("is_folder", False), ("modified", file.modified), ("created", file.modified)):
            object.__setattr__(self, name, value)

    @property
    def size(self) -> int:
        file: _File = object.__getattribute__(self, "_file")
        return len(file.read())


class MemoryFiles:
    """The `Files` protocol in memory.

    A lazily made content is made once, when somebody reads the file or asks for its size, and stays. `stat` and
    `read` are safe in every thread; all else belongs in one. `created` is
    renewed by each write, as the change time is that the real server reports on Linux (protocol 2.6).
    """

    def __init__(self, *, now: float = 0.0) -> None:
        self._root = _Folder(now)
        self._times = WriteTimes()

    def stat(self, path: str) -> FileStat | None:
        try:
            node = self._find(split_path(path))
        except OSError:
            return None
        if node is None:
            return None
        if isinstance(node, _Folder):
            return FileStat(is_folder=True, size=0, modified=node.modified, created=node.modified)
        if isinstance(node.content, bytes):
            return FileStat(is_folder=False, size=len(node.content), modified=node.modified, created=node.modified)
        return _LateStat(node)

    def read(self, path: str) -> bytes:
        node = self._find(split_path(path))
        if node is None:
            fail(errno.ENOENT, path)
        if isinstance(node, _Folder):
            fail(errno.EISDIR, path)
        return node.read()

    def write(self, path: str, content: Content, *, now: float) -> None:
        *parents, name = split_path(path) or fail(errno.EISDIR, path)
        folder = self._make(parents, path, now)
        known = folder.children.get(name)
        if isinstance(known, _Folder):
            fail(errno.EISDIR, path)
        folder.children[name] = _File(content, self._times.next(now))

    def make_folder(self, path: str, *, now: float) -> None:
        names = split_path(path)
        if isinstance(self._find(names), _File):
            fail(errno.EEXIST, path)
        self._make(names, path, now)

    def names(self, path: str) -> list[str]:
        node = self._find(split_path(path))
        if node is None:
            fail(errno.ENOENT, path)
        if isinstance(node, _File):
            fail(errno.ENOTDIR, path)
        return list(node.children)

    def remove(self, path: str) -> None:
        names = split_path(path)
        node = self._find(names)
        if node is None:
            fail(errno.ENOENT, path)
        if isinstance(node, _Folder):
            fail(errno.EISDIR, path)
        del self._parent(names).children[names[-1]]

    def move(self, source: str, target: str) -> None:
        old, new = split_path(source), split_path(target)
        node = self._find(old)
        if node is None:
            fail(errno.ENOENT, source)
        if old == new:
            return
        if not old or not new:
            fail(errno.EBUSY, source)
        if isinstance(node, _Folder) and new[: len(old)] == old:
            fail(errno.EINVAL, target)
        above = self._find(new[:-1])
        if above is None:
            fail(errno.ENOENT, target)
        if isinstance(above, _File):
            fail(errno.ENOTDIR, target)
        self._check_replaceable(node, self._find(new), target)
        del self._parent(old).children[old[-1]]
        above.children.pop(new[-1], None)
        above.children[new[-1]] = node

    @staticmethod
    def _check_replaceable(node: _Node, known: _Node | None, target: str) -> None:
        if isinstance(known, _Folder):
            if isinstance(node, _File):
                fail(errno.EISDIR, target)
            if known.children:
                fail(errno.ENOTEMPTY, target)
        elif isinstance(known, _File) and isinstance(node, _Folder):
            fail(errno.ENOTDIR, target)

    def _find(self, names: tuple[str, ...]) -> _Node | None:
        node: _Node = self._root
        for name in names:
            if not isinstance(node, _Folder):
                return None
            below = node.children.get(name)
            if below is None:
                return None
            node = below
        return node

    def _parent(self, names: tuple[str, ...]) -> _Folder:
        parent = self._find(names[:-1])
        assert isinstance(parent, _Folder)
        return parent

    def _make(self, names: list[str] | tuple[str, ...], path: str, now: float) -> _Folder:
        folder = self._root
        for name in names:
            below = folder.children.setdefault(name, _Folder(now))
            if not isinstance(below, _Folder):
                fail(errno.ENOTDIR, path)
            folder = below
        return folder
