"""The files of the simulated server: a small POSIX tree, whatever machine the fake runs on.

Every path in the engine is absolute, POSIX and virtual (`/comfyui/output/a.png`), so that the real server's path rules
hold on Windows too. `MemoryFiles` keeps the tree in memory; the shell has one that keeps it in a directory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Union

Content = Union[bytes, Callable[[], bytes]]
"""The bytes of a file, or a function that makes them when they are first read (pictures are drawn late)."""


@dataclass(frozen=True, slots=True)
class FileStat:
    """What `stat` tells: times are seconds since the epoch, size is in bytes (0 for a folder)."""

    is_folder: bool
    size: int
    modified: float
    created: float


class Files(Protocol):
    """The tree. Missing paths raise `FileNotFoundError`, folders read as files `IsADirectoryError`, files listed as
    folders `NotADirectoryError`, as the calls of `os` do."""

    def stat(self, path: str) -> FileStat | None:
        """The facts of `path`, or None where nothing is."""

    def read(self, path: str) -> bytes:
        """The content of a file."""

    def write(self, path: str, content: Content, *, now: float) -> None:
        """Create or replace a file; folders on the way are made."""

    def make_folder(self, path: str, *, now: float) -> None:
        """Make a folder and its parents; one that is there already is fine."""

    def names(self, path: str) -> list[str]:
        """The names in a folder, in order of creation."""

    def remove(self, path: str) -> None:
        """Delete a file."""

    def move(self, source: str, target: str) -> None:
        """Rename a file or folder; an existing target file is replaced."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the server keeps its things, as virtual paths."""

    base: str = "/comfyui"

    @property
    def input(self) -> str:
        return f"{self.base}/input"

    @property
    def output(self) -> str:
        return f"{self.base}/output"

    @property
    def temp(self) -> str:
        return f"{self.base}/temp"

    @property
    def user(self) -> str:
        return f"{self.base}/user"

    @property
    def models(self) -> str:
        return f"{self.base}/models"

    @property
    def custom_nodes(self) -> str:
        return f"{self.base}/custom_nodes"

    def of_type(self, name: str) -> str | None:
        """The folder of a file item's `type`: `output`, `input` or `temp`; None for any other word."""
        return {"output": self.output, "input": self.input, "temp": self.temp}.get(name)
