"""`comfy-mock serve --replay`: what it says, what it refuses, and the page about it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from comfy_contracts.har import load, packaged_recordings, save
from comfy_mock.cli import main

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = packaged_recordings("0.33.0")


@pytest.fixture
def run_har(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    save(load(RECORDINGS["image_only"]), "run.har")
    return "run.har"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `serve` builds its replay from, which has nothing left when it ends."""
    arguments: dict[str, Any] = {}

    class Served:
        url = "http://127.0.0.1:1"

        def __init__(self, *recordings: Path, **given: Any) -> None:
            arguments.update(given, recordings=recordings)

        async def serve(self, on_ready: Any) -> None:
            on_ready()

        def problems(self) -> list[str]:
            return []

    monkeypatch.setattr("comfy_mock.server.replay.Replay", Served)
    return arguments


def ended(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as exit_:
        main(["serve", *arguments])
    return exit_.value.code


def test_a_process_answers_as_recorded_and_says_what_was_not(run_har: str) -> None:
    posted, *_ = [entry.request.body for entry in load(run_har).exchanges() if entry.request.method == "POST"]
    command = [sys.executable, "-m", "comfy_mock", "serve", "--port", "0", "--replay", run_har]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        accepted = httpx.post(f"{url}/prompt", content=posted).json()
        refused = httpx.get(f"{url}/queue")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert accepted["number"] == 0
    assert refused.status_code == 501
    first, warned, *rest = said.splitlines()
    assert re.fullmatch(r"comfy-mock \S+ replays run\.har there\. Ctrl\+C ends it\.", first)
    assert warned.startswith("WARNING comfy_mock.server: Not as recorded: GET /queue: there is no such request")
    assert rest[0] == "not as recorded:"
    assert rest[2] == "recorded, but never asked for:"
    assert sum(line.startswith("  POST /prompt") for line in rest) == 2
    assert rest[-1].startswith("  GET /view?filename=img_00002_.png")
    if sys.platform != "win32":
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ([], {"speed": None, "host": "127.0.0.1", "port": 8188, "recordings": (Path("run.har"),)}),
        (["--speed", "1"], {"speed": 1.0}),
        (["--port", "0", "--listen"], {"host": "0.0.0.0", "port": 0}),
        (["--replay", "run.har", "--log-level", "info"], {"recordings": (Path("run.har"), Path("run.har"))}),
    ],
)
def test_a_switch_reaches_the_server(
    switches: list[str],
    expected: dict[str, Any],
    run_har: str,
    served: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended("--replay", run_har, *switches) == 0
    assert {name: served[name] for name in expected} == expected
    said = capsys.readouterr()
    assert said.out == "http://127.0.0.1:1\n"
    assert said.err.endswith("all was asked for as recorded\n")


def test_it_can_be_quiet(run_har: str, served: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("--replay", run_har, "--quiet") == 0
    assert capsys.readouterr() == ("http://127.0.0.1:1\n", "")


@pytest.mark.parametrize(
    ("switches", "named"),
    [
        (["--script", "run.har"], "--script"),
        (["--model", "vae=a"], "--model"),
        (["--control"], "--control"),
        (["--seed", "0", "--cache-none"], "--seed and --cache-none"),
    ],
)
def test_switches_that_mean_nothing_there_are_refused(
    switches: list[str], named: str, run_har: str, served: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("--replay", run_har, *switches) == 2
    said = re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert f"a replay answers as recorded, so {named} cannot be given with it" in said
    assert not served


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no HAR", "comfy-mock: run.har is not JSON: "),
        (b'{"log": {}}', "comfy-mock: run.har is not a HAR: "),
        (b'{"log": {"version": "1.2", "creator": {}, "entries": []}}', "comfy-mock: run.har has no request"),
    ],
)
def test_a_wrong_recording_is_told(content: bytes, said: str, run_har: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(run_har).write_bytes(content)
    assert ended("--replay", run_har) == 2
    assert capsys.readouterr().err.startswith(said)
    assert ended("--replay", "none.har") == 2


def test_the_page_is_right(run_har: str) -> None:
    page = (ROOT / "docs" / "learn.md").read_text("utf-8").partition("\n## Replay\n")[2]
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    asked: list[str] = []

    def my_client(url: str) -> None:
        for entry in load(run_har).exchanges():
            target = entry.request.url.partition("//")[2].partition("/")[2]
            answer = httpx.request(entry.request.method, f"{url}/{target}", content=entry.request.body)
            assert answer.content == entry.response.body
            asked.append(url)

    recorded = load(run_har).to_builtins()
    recorded["log"]["entries"] = [entry for entry in recorded["log"]["entries"] if "_webSocketMessages" not in entry]
    Path(run_har).write_text(json.dumps(recorded), encoding="utf-8")
    exec(compile(block, "docs/learn.md", "exec"), {"my_client": my_client})
    assert len(asked) == len(recorded["log"]["entries"])
