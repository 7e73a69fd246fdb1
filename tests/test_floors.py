"""The rules of architecture.md that can be checked by reading the imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

IO_MODULES = {
    "asyncio", "concurrent.futures", "http.client", "http.server", "multiprocessing", "secrets", "select", "selectors",
    "signal", "socket", "socketserver", "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request",
    "anyio", "httpx", "httpcore", "h11", "starlette", "uvicorn", "websockets",
}  # fmt: skip
LOCKS = {"threading.Lock"}
"""What guards the engine's state while the shell looks at it from more than one thread. It starts none."""

UNSEEDED = {
    "datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow", "datetime.date.today",
    "os.urandom", "uuid.uuid1", "uuid.uuid4",
}  # fmt: skip

SHELLS_OF_CONTRACTS = {"record", "record_tap", "replay", "replay_socket", "verify"}
"""The modules of comfy_contracts that do talk to a server."""


def pure_files() -> list[Path]:
    """The files that must do no I/O and know no clock: the engine, and the wire half of the contracts."""
    contracts = (ROOT / "contracts" / "comfy_contracts").rglob("*.py")
    engine = (ROOT / "comfy_mock" / "engine").rglob("*.py")
    return sorted([*engine, *(path for path in contracts if path.stem not in SHELLS_OF_CONTRACTS)])


def imported(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """(name in the file, what it stands for, line) of every import, also those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".", 1)[0]
                yield alias.asname or alias.name, alias.name if alias.asname else top, node.lineno
                yield alias.asname or alias.name, alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}", node.lineno


def impurities(source: str) -> list[str]:
    """What in a file's text does I/O, reads a clock, or draws random numbers without a seed."""
    tree = ast.parse(source)
    names = {}
    found = []
    for name, target, line in imported(tree):
        names[name] = target
        if target not in LOCKS and any(target == module or target.startswith(f"{module}.") for module in IO_MODULES):
            found.append(f"line {line}: imports {target}")
        if target in UNSEEDED or (target.startswith("random.") and target != "random.Random"):
            found.append(f"line {line}: imports {target}")
    for node in ast.walk(tree):
        head, _, rest = dotted(node).partition(".")
        target = f"{names.get(head, head)}.{rest}"
        if target in UNSEEDED or (names.get(head) == "random" and rest and rest.partition(".")[0] != "Random"):
            found.append(f"line {node.lineno}: uses {target}")
    return sorted(set(found))


def dotted(node: ast.AST) -> str:
    """`a.b.c` where a node is written so, else nothing."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner else ""


def test_the_import_contracts_of_pyproject_hold() -> None:
    # In a process of its own, because import-linter configures logging for the whole process.
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", run, "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", pure_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_pure_file_does_no_io(path: Path) -> None:
    assert impurities(path.read_text(encoding="utf-8")) == []


def test_the_shells_of_contracts_are_there() -> None:
    stems = {path.stem for path in (ROOT / "contracts" / "comfy_contracts").rglob("*.py")}
    assert stems >= SHELLS_OF_CONTRACTS


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import time", ["line 1: imports time"]),
        ("def f():\n    import asyncio.queues", ["line 2: imports asyncio", "line 2: imports asyncio.queues"]),
        ("from socket import create_connection", ["line 1: imports socket.create_connection"]),
        ("from threading import Lock", []),
        ("from threading import Lock, Thread", ["line 1: imports threading.Thread"]),
        ("import threading", ["line 1: imports threading"]),
        ("import urllib.request", ["line 1: imports urllib.request"]),
        ("import urllib.parse", []),
        ("import random\nrandom.Random(1).random()", []),
        ("import random\nrandom.random()", ["line 2: uses random.random"]),
        ("import random as r\nr.seed(1)", ["line 2: uses random.seed"]),
        ("import random\ndef f(random: random.Random) -> int: ...", []),
        ("from random import choice", ["line 1: imports random.choice"]),
        ("import uuid\nuuid.UUID(int=1)\nuuid.uuid4()", ["line 3: uses uuid.uuid4"]),
        ("from datetime import datetime as d\nd.now()", ["line 2: uses datetime.datetime.now"]),
        ("import datetime\ndatetime.datetime.fromtimestamp(0)", []),
    ],
)
def test_impurities_are_found(source: str, expected: list[str]) -> None:
    assert impurities(source) == expected
