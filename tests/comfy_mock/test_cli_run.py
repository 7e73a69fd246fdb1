"""`comfy-mock run`: the files it saves, what it says, and its exit codes."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest
from rich.console import Console

from comfy_client import (
    ClientClosed,
    ComfyError,
    ExecutionFailed,
    ExecutionInterrupted,
    NodeView,
    Progress,
    PromptLost,
    ServerError,
    ServerUnreachable,
    WaitTimeout,
    WorkflowError,
)
from comfy_mock import ComfyMock
from comfy_mock.cli import main
from comfy_mock.cli.demo import default_workflow
from comfy_mock.cli.run import ExitCode, exit_code_of
from comfy_mock.cli.run_display import Bars, display_for

IMAGE = {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 8, "batch_size": 2, "color": 255}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "out"}}
PREVIEW = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}


@pytest.fixture
def server() -> Iterator[ComfyMock]:
    with ComfyMock() as mock:
        yield mock


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(prompt: Any, name: str = "workflow.json") -> str:
    Path(name).write_text(json.dumps(prompt))
    return name


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["run", *arguments])
    return int(exit_.value.code or 0)


@pytest.mark.parametrize("path", ["auto", "websocket", "polling"])
def test_it_saves_the_outputs_and_prints_their_paths_alone(
    path: str, server: ComfyMock, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow = write({"1": IMAGE, "2": SAVE, "3": PREVIEW})
    assert run(workflow, "--server", server.url, "--output-dir", "new/dir", "--path", path) == 0
    said = capsys.readouterr()
    paths = [Path(line) for line in said.out.splitlines()]
    assert paths == [Path("new/dir/out_00001_.png"), Path("new/dir/out_00002_.png")]
    for saved in paths:
        with PIL.Image.open(saved) as image:
            assert (image.size, image.getpixel((0, 0))) == ((16, 8), (0, 0, 255))
    assert said.err.splitlines()[-1] == "100% success"


def test_nothing_is_overwritten(server: ComfyMock, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out_00001_.png").write_bytes(b"mine")
    assert run(write({"1": IMAGE, "2": SAVE}), "--server", server.url) == 0
    assert capsys.readouterr().out.splitlines() == ["out_00001_ (1).png", "out_00002_.png"]
    assert Path("out_00001_.png").read_bytes() == b"mine"


def test_previews_are_saved_where_there_is_nothing_else(
    server: ComfyMock, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write({"1": IMAGE, "3": PREVIEW}), "--server", server.url, "--quiet") == 0
    said = capsys.readouterr()
    assert [line.startswith("ComfyUI_temp_") for line in said.out.splitlines()] == [True, True]
    assert said.err == ""


def test_it_tells_which_node_runs(server: ComfyMock, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(write(default_workflow()), "--server", server.url) == 0
    said = capsys.readouterr().err
    assert "running 3 KSampler" in said
    assert "running 9 Save Image" in said


def test_seeds_are_set_and_a_saved_picture_can_be_run_again(
    server: ComfyMock, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(default_workflow()), "--server", server.url, "--seed", "77") == 0
    (saved,) = capsys.readouterr().out.splitlines()
    with PIL.Image.open(saved) as image:
        assert json.loads(image.info["prompt"])["3"]["inputs"]["seed"] == 77
    assert run(saved, "--server", server.url) == 0
    prompts = [entry["prompt"][2] for entry in httpx.get(f"{server.url}/history").json().values()]
    assert prompts[0] == prompts[1]


def test_a_workflow_from_stdin(
    server: ComfyMock, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps({"1": IMAGE, "2": SAVE}).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert run("-", "--server", server.url) == 0
    assert "out_00001_.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "workflow.json: the workflow is not JSON"),
        ('{"nodes": [], "links": []}', "in ComfyUI choose Workflow > Export (API)"),
    ],
)
def test_a_file_without_a_workflow(content: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("workflow.json").write_text(content)
    assert run("workflow.json") == ExitCode.BAD_INPUT
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_there_and_a_server_that_is_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("nowhere.json") == ExitCode.BAD_INPUT
    assert "cannot read the workflow nowhere.json" in capsys.readouterr().err
    assert run(write({"1": IMAGE, "2": SAVE}), "--server", "ftp://host") == ExitCode.BAD_INPUT
    assert "Invalid value for --server" in capsys.readouterr().err


def test_a_prompt_that_the_server_refuses(server: ComfyMock, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {"1": {**IMAGE, "inputs": {**IMAGE["inputs"], "width": 0}}, "2": SAVE}
    assert run(write(wrong), "--server", server.url) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert "node 1 (EmptyImage): input 'width': Value 0 smaller than min of 1" in said


def test_outputs_that_the_server_leaves_out_are_told(
    server: ComfyMock, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = {"1": IMAGE, "2": SAVE, "3": {"class_type": "PreviewImage", "inputs": {}}}
    assert run(write(half), "--server", server.url) == 0
    assert "outputs 3 will not run: node 3 (PreviewImage): Required input is missing" in capsys.readouterr().err


def test_a_run_that_fails(server: ComfyMock, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Protocol 7.1: a prefix that leaves the output folder fails when it runs.
    outside = {"1": IMAGE, "2": {**SAVE, "inputs": {"images": ["1", 0], "filename_prefix": "../../x"}}}
    assert run(write(outside), "--server", server.url) == ExitCode.FAILED
    said = capsys.readouterr()
    assert "node 2 (SaveImage)" in said.err
    assert "outside the output folder" in said.err
    assert said.out == ""


def test_a_server_that_is_not_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ComfyMock() as mock:
        url = mock.url
    assert run(write({"1": IMAGE, "2": SAVE}), "--server", url) == ExitCode.UNREACHABLE
    assert f"no answer from {url}" in capsys.readouterr().err


def test_a_timeout(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ComfyMock(clock="real", speed=0.001) as mock:
        assert run(write({"1": IMAGE, "2": SAVE}), "--server", mock.url, "--timeout", "0.1") == ExitCode.TIMEOUT
        assert "waited 0.1 s" in capsys.readouterr().err


def test_a_place_that_refuses(server: ComfyMock, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_bytes(b"")
    assert run(write({"1": IMAGE, "2": SAVE}), "--server", server.url, "-o", "file") == ExitCode.FAILED
    assert "comfy-mock: cannot save in file: " in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_cancels_the_run_on_the_server(here: Path) -> None:
    with ComfyMock(clock="real", speed=0.001) as mock:
        command = [sys.executable, "-m", "comfy_mock", "run", write({"1": IMAGE, "2": SAVE}), "--server", mock.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            first = process.stderr.readline()
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
        assert process.returncode == ExitCode.INTERRUPTED, first + rest
        assert "comfy-mock: cancelled prompt " in rest
        assert "Traceback" not in rest


def test_the_exit_code_of_each_error() -> None:
    codes: dict[ComfyError, ExitCode] = {
        WorkflowError(""): ExitCode.BAD_INPUT,
        ServerUnreachable("http://h", "refused"): ExitCode.UNREACHABLE,
        WaitTimeout("it", 1.0): ExitCode.TIMEOUT,
        ExecutionInterrupted("p"): ExitCode.INTERRUPTED,
        ExecutionFailed("p"): ExitCode.FAILED,
        PromptLost("p"): ExitCode.FAILED,
        ServerError("GET", "http://h", 500): ExitCode.FAILED,
        ClientClosed(): ExitCode.FAILED,
    }
    assert {problem: exit_code_of(problem) for problem in codes} == codes


def snapshot(**given: Any) -> Progress:
    empty: dict[str, Any] = {
        "position": None,
        "fraction": 0.0,
        "node_id": None,
        "nodes": {},
        "previews": 0,
        "preview": None,
    }
    return Progress(prompt_id="p", **{**empty, **given})


def test_bars_on_a_terminal() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    display = display_for(console, {"3": "KSampler", "8": "VAE Decode"})
    assert isinstance(display, Bars)
    with display:
        display.show(snapshot(phase="queued", position=2))
        display.show(snapshot(phase="queued", position=0))
        nodes = {"3": NodeView("3", "3", "running", 5, 20, 0.25)}
        display.show(snapshot(phase="running", fraction=0.5, node_id="3", nodes=nodes, previews=5))
        done = {"3": NodeView("3", "3", "finished", 20, 20, 1.0), "8": NodeView("8", "8", "finished", 1, 1, 1.0)}
        display.show(snapshot(phase="success", fraction=1.0, nodes=done, previews=20))
    last = screen.getvalue().split("total")[-1]
    assert "100%" in last
    assert "20 previews" in last
    assert "3 KSampler" in last
    assert "20/20" in last
    assert "VAE Decode" not in last


def test_lines_in_a_log() -> None:
    log = io.StringIO()
    display = display_for(Console(file=log, width=120), {"3": "[bold]"})
    with display:
        display.show(snapshot(phase="submitted"))
        display.show(snapshot(phase="queued", position=2))
        display.show(snapshot(phase="queued", position=0))
        for fraction in (0.25, 0.5):
            display.show(snapshot(phase="running", fraction=fraction, node_id="3", previews=1))
        display.show(snapshot(phase="running", fraction=0.75, node_id="9", previews=1))
        display.show(snapshot(phase="success", fraction=1.0, previews=1))
    assert log.getvalue().splitlines() == [
        "  0% submitted",
        "  0% queued 2 before it in the queue",
        "  0% queued next in the queue",
        " 25% running 3 [bold]",
        " 75% running 9",
        "100% success 1 previews",
    ]
