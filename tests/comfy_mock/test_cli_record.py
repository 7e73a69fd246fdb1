"""`comfy-mock record`: a session of a client through it, and the file that comes of it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from comfy_client import Client, Workflow
from comfy_contracts.har import Har, load
from comfy_contracts.recorder import Recorder
from comfy_contracts.verify import Verifier
from comfy_mock import ComfyMock
from comfy_mock.cli import main
from comfy_mock.cli.demo import default_workflow
from comfy_mock.cli.fresh_fakes import fake_for
from comfy_mock.cli.record import write

KEY = "comfyui-0123456789abcdef"


@pytest.fixture
def server() -> Iterator[ComfyMock]:
    # instant: a history that is asked for within the gap after `execution_success` says nothing, and that is a race
    with ComfyMock() as mock:
        yield mock


@contextmanager
def recording(target: str, *switches: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The URL of a proxy in a process of its own."""
    command = [sys.executable, "-m", "comfy_mock", "record", "--target", target, "--port", "0", *switches]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.terminate()


def run(url: str) -> None:
    """A run of the reference client, and a look at what it made."""
    with Client(url) as client:
        result = client.run(Workflow.from_json(json.dumps(default_workflow())), seed=5)
        assert result.images[0].read().startswith(b"\x89PNG")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows can send no signals to one process, but kill it")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_session_is_recorded_and_another_fake_is_equal_to_it(name: str, server: ComfyMock, tmp_path: Path) -> None:
    out = tmp_path / "mine.har.gz"
    with recording(server.url, "--out", str(out), "--comment", "a session") as (url, process):
        run(url)
        httpx.get(f"{url}/queue", headers={"Authorization": f"Bearer {KEY}"})
        process.send_signal(signal.Signals[name])
        said, err = process.communicate()
    assert (process.returncode, said) == (0, "")
    assert "entries in" in err
    har = load(out)
    assert har.log.comment == "a session"
    assert KEY not in json.dumps(har.to_builtins())
    assert har.log.comfy["fresh_server"] is True
    assert asyncio.run(verified(har)) == ("equal", ())


async def verified(har: Har) -> tuple[str, tuple[Any, ...]]:
    async with fake_for(har) as another:
        outcome = await Verifier(another.url).verify("mine", har)
        return outcome.verdict, outcome.reasons or outcome.differences


def test_the_file_is_written_while_it_records(server: ComfyMock, tmp_path: Path) -> None:
    out = tmp_path / "mine.har"
    with recording(server.url, "--out", str(out), "--every", "0.1") as (url, process):
        assert load(out).entries == []
        httpx.get(f"{url}/prompt")
        while not load(out).entries:
            pass
        process.kill()
    assert [entry.request.url for entry in load(out).entries] == [f"{server.url}/prompt"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.har"]


def test_secrets_are_kept_where_that_is_asked_for(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.finish(recorder.begin("GET", f"http://h/x?token={KEY}", [], 1_795_000_000.0), 1_795_000_001.0)
    for scrubbed in (True, False):
        write(recorder, tmp_path / "a.har", scrubbed=scrubbed)
        assert (KEY in (tmp_path / "a.har").read_text()) is not scrubbed


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--target", "127.0.0.1:8188"], 2, "the target must be an address"),
        (["--target", "http://h", "--port", "70000"], 2, "65535"),
        ([], 2, "--target"),
        (["--target", "http://127.0.0.1:1", "--out", "no/such/folder/x.har"], 1, "No such file"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["record", "--port", "0", *arguments])
    assert exit_.value.code == code
    assert said in capsys.readouterr().err


def test_a_taken_port_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit) as exit_:
            main(["record", "--target", "http://127.0.0.1:1", "--port", port, "--out", str(tmp_path / "x.har")])
    assert exit_.value.code == 1
    assert "comfy-mock: " in capsys.readouterr().err
