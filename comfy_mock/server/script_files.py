"""Scenario files: scripts that lie on a disk, with the files that they name beside them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from comfy_mock.engine.script.model import Script
from comfy_mock.engine.script.problems import Problem, ScriptError
from comfy_mock.engine.script.reading import read_script


def load_script(path: str | Path) -> Script:
    """The script in a scenario file, YAML or (`.json`) JSON. Files that it names lie beside it, and are read at once.

    Raises `ScriptError` for one that is wrong, with file, line and column, and `OSError` where it cannot be read.
    """
    path = Path(path)
    stamps = {path: _stamp(path)}

    def read_file(name: str) -> bytes:
        stamps[path.parent / name] = _stamp(path.parent / name)
        return (path.parent / name).read_bytes()

    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScriptError([Problem("", f"is not UTF-8: {error.reason}", None, str(path))]) from error
    script = read_script(text, name=str(path), read_file=read_file)
    _LOADED[str(path)] = _Loaded(script, stamps)
    return script


def load_script_again(path: str | Path) -> Script:
    """As `load_script`, but the same `Script` as before where no file of it has changed since."""
    loaded = _LOADED.get(str(path))
    if loaded is not None:
        with contextlib.suppress(OSError):
            if all(_stamp(file) == stamp for file, stamp in loaded.stamps.items()):
                return loaded.script
    return load_script(path)


class _Loaded(NamedTuple):
    script: Script
    stamps: dict[Path, tuple[int, int]]


_LOADED: dict[str, _Loaded] = {}


def _stamp(path: Path) -> tuple[int, int]:
    """What changes with a file: the time of its last change in ns, and its size in bytes."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size
