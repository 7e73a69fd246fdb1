"""docs/control.md: its example runs in Node.js, and its table is that of the operations."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from comfy_mock import ComfyMock
from comfy_mock.server.control_actions import ACTIONS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "control.md").read_text("utf-8")
EXAMPLE = DOCS / "examples" / "control" / "control.test.mjs"


def test_the_example_is_the_one_on_the_page() -> None:
    (shown,) = re.findall(r"```javascript\n(.*?)```", PAGE, flags=re.DOTALL)
    assert shown == EXAMPLE.read_text("utf-8")


def test_the_example_passes_in_node(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not on this machine: install node to run the example in JavaScript")
    shutil.copy(EXAMPLE, tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
    with ComfyMock() as server:
        done = subprocess.run(
            [node, "--test", "--test-reporter=tap"],
            cwd=tmp_path,
            env={**kept, "COMFYUI_URL": server.url},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 2" in done.stdout


def test_every_operation_is_in_the_table_and_no_other() -> None:
    listed = set()
    for line in (line for line in PAGE.splitlines() if re.match(r"\| `[A-Z]+` \|", line)):
        method, paths = (re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3])
        listed |= {(method[0], f"/{path}") for path in paths}
    assert listed == set(ACTIONS)
