"""Writes the blocking half of comfy_client from its asynchronous half: `python client/make_sync.py`.

The two differ in a few words only, so one of them is the source. `_sync_io.py` is written by hand.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent / "comfy_client"
NOTICE = "# Written by client/make_sync.py from {source}: change that one.\n"

_WORDS = (
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\b_async_(\w+)", r"_sync_\1"),
    (r"\bAsync(?=[A-Z]\w)", ""),
    (r"\basync_auth_flow\b", "sync_auth_flow"),
    (r"\basend\b", "send"),
    (r"\baclose\b", "close"),
)


def blocking(source: str, name: str) -> str:
    """The blocking form of a module's text, as ruff formats it."""
    for pattern, replacement in _WORDS:
        source = re.sub(pattern, replacement, source)
    text = NOTICE.format(source=name) + source
    for command in (["check", "--fix-only", "--select", "I", "--quiet"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(PACKAGE / name), "-"]
        done = subprocess.run(ruff, input=text, capture_output=True, encoding="utf-8", check=True)  # noqa: S603 - ruff
        text = done.stdout
    return text


def sources() -> list[Path]:
    """The modules that have a blocking twin made of them."""
    return [path for path in sorted(PACKAGE.glob("_async_*.py")) if path.name != "_async_io.py"]


def target(source: Path) -> Path:
    """Where the blocking twin of a module stands."""
    return source.with_name(source.name.replace("_async_", "_sync_"))


if __name__ == "__main__":
    for path in sources():
        target(path).write_text(blocking(path.read_text(encoding="utf-8"), path.name), encoding="utf-8")
