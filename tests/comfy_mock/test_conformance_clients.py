"""Clients as commands and as functions, and what is done with those that hang."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from comfy_mock.conformance.clients import Command, Function

URL = "http://127.0.0.1:1"
ECHO = """
import json, os, sys
assert json.load(open(os.environ["COMFYUI_WORKFLOW"])) == {"1": {}}
print(json.dumps({"got": [os.environ["COMFYUI_URL"], *sys.argv[1:]]}))
"""
HANGING = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""


def python(source: str, *words: str) -> Command:
    return Command([sys.executable, "-c", source, *words])


def test_a_command_gets_url_and_workflow_in_both_ways() -> None:
    ending = python(ECHO, "--at={url}", "{workflow}").run(URL, {"1": {}}, 30)
    url, at, workflow = ending.outputs["got"]
    assert (url, at) == (URL, f"--at={URL}")
    assert Path(workflow).name == "workflow.json"
    assert not Path(workflow).exists()  # its folder is gone with it


def test_what_a_command_says_on_stderr_is_told_when_it_crashes() -> None:
    assert python("raise ValueError('deep inside')").run(URL, {}, 30).text.endswith("ValueError: deep inside")


def test_a_command_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="nowhere"):
        Command(["/nowhere/client"]).run(URL, {}, 1)


@pytest.mark.skipif(os.name == "nt", reason="looks for the process by a signal")
def test_a_command_that_hangs_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    begun = time.monotonic()
    ending = python(HANGING, str(note)).run(URL, {}, 1.5)
    assert ending.kind == "hang"
    assert time.monotonic() - begun < 20
    assert is_gone(int(note.read_text()))


def is_gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked for its exit code."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_function_returns_raises_or_hangs() -> None:
    release = threading.Event()

    def hanging(_url: str, _workflow: dict[str, Any]) -> None:
        release.wait(60)

    def raising(_url: str, _workflow: dict[str, Any]) -> None:
        raise LookupError("no such prompt")

    assert Function(lambda url, workflow: {url: [*workflow]}).run(URL, {"1": {}}, 10).outputs == {URL: ["1"]}
    assert Function(lambda _url, _workflow: {"error": "lost"}).run(URL, {}, 10).kind == "failure"
    assert Function(lambda _url, _workflow: None).run(URL, {}, 10).kind == "nothing"
    crash = Function(raising).run(URL, {}, 10)
    assert (crash.kind, crash.text) == ("crash", "LookupError: no such prompt")
    assert Function(hanging).run(URL, {}, 0.05).kind == "hang"
    release.set()


def test_a_coroutine_function_is_cancelled_when_it_hangs() -> None:
    ended: list[str] = []

    async def quick(url: str, _workflow: dict[str, Any]) -> dict[str, list[str]]:
        return {url: []}

    async def impatient(_url: str, _workflow: dict[str, Any]) -> None:
        raise asyncio.TimeoutError("its own")

    async def hanging(_url: str, _workflow: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    assert Function(quick).run(URL, {}, 10).kind == "outputs"
    assert Function(impatient).run(URL, {}, 10).kind == "crash"
    assert Function(hanging).run(URL, {}, 0.05).kind == "hang"
    assert ended == ["cancelled"]
