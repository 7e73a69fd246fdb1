"""Scenario files: scripts that lie on a disk, with the files that they name beside them."""

from __future__ import annotations

from pathlib import Path

from comfy_mock.engine.script.model import Script
from comfy_mock.engine.script.problems import Problem, ScriptError
from comfy_mock.engine.script.reading import read_script


def load_script(path: str | Path) -> Script:
    """The script in a scenario file, YAML or (`.json`) JSON. Files that it names lie beside it, and are read at once.

    Raises `ScriptError` for one that is wrong, with file, line and column, and `OSError` where it cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScriptError([Problem("", f"is not UTF-8: {error.reason}", None, str(path))]) from error
    return read_script(text, name=str(path), read_file=lambda name: (path.parent / name).read_bytes())
