"""The main path of comfy-cli: `comfy run` in its ways, uploads, jobs, downloads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from harness import HOST, failing, finish, image_to_image, png_size, step, text_to_image

ADDRESS = ["--host", HOST.split(":")[0], "--port", HOST.split(":")[1]]


def comfy(*words: str, exit_code: int = 0) -> str:
    """The output of a `comfy` command."""
    command = [sys.executable, "-m", "comfy_cli", "--skip-prompt", *words]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False)
    assert done.returncode == exit_code, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout


def stream(*words: str, exit_code: int = 0) -> list[dict[str, Any]]:
    """The events of a `comfy … --json` command."""
    return [json.loads(line) for line in comfy(*words, exit_code=exit_code).splitlines()]


def write(name: str, graph: object) -> str:
    Path(name).write_text(json.dumps(graph), encoding="utf-8")
    return name


@step
def run_and_wait() -> None:
    path = write("t2i.json", text_to_image(7001))
    output = comfy("--no-json", "run", "--workflow", path, *ADDRESS, "--wait")
    assert "interop_00001_.png" in output, output


@step
def run_as_a_stream_of_events() -> None:
    graph = text_to_image(7002, steps=6)
    events = stream("run", "--workflow", write("t2i.json", graph), *ADDRESS, "--wait", "--json")
    kinds = [event["type"] for event in events]
    assert kinds[0] == "prompt_preview", kinds
    assert kinds[-1] == "envelope", kinds
    assert events[-1]["ok"] is True, events[-1]
    assert {event["total"] for event in events if event["type"] == "progress"} == {6}
    ran = [event["node"] for event in events if event["type"] == "executing"]
    cached = [event["node"] for event in events if event["type"] == "execution_cached"]
    assert sorted(ran + cached) == sorted(graph)
    (url,) = [event["url"] for event in events if event["type"] == "output"]
    with urlopen(url) as answer:
        assert png_size(answer.read()) == (64, 64)


@step
def the_bundled_workflow() -> None:
    events = stream("run", "--prompt", "a lighthouse", "--set", "steps=2", *ADDRESS, "--wait", "--json")
    assert events[-1]["ok"] is True, events[-1]


@step
def submit_look_and_cancel() -> None:
    path = write("slow.json", text_to_image(7003, steps=300))
    submitted = stream("run", "--workflow", path, *ADDRESS, "--no-watch", "--json")
    prompt_id = submitted[-1]["data"]["prompt_id"]
    status = comfy("--json", "jobs", "status", prompt_id, *ADDRESS)
    assert json.loads(status)["data"]["status"] in ("running", "in_progress"), status
    comfy("--json", "jobs", "cancel", prompt_id, *ADDRESS)


@step
def upload_and_use() -> None:
    with urlopen(f"http://{HOST}/view?filename=example.png&type=input") as answer:
        Path("mine.png").write_bytes(answer.read())
    comfy("upload", "mine.png", *ADDRESS)
    events = stream(
        "run", "--workflow", write("i2i.json", image_to_image(7006, "mine.png")), *ADDRESS, "--wait", "--json"
    )
    assert events[-1]["ok"] is True, events[-1]


@step
def refused_before_it_is_sent() -> None:
    graph = text_to_image(7004)
    graph["9"]["class_type"] = "NoSuchClass"
    events = stream("run", "--workflow", write("unknown.json", graph), *ADDRESS, "--json", exit_code=1)
    assert events[-1]["error"]["code"] == "workflow_unknown_nodes", events[-1]


@step
def refused_by_the_server() -> None:
    graph = text_to_image(7005)
    graph["3"]["inputs"]["steps"] = 0
    events = stream("run", "--workflow", write("refused.json", graph), *ADDRESS, "--json", exit_code=1)
    assert events[-1]["ok"] is False, events[-1]


@step
def failing_while_it_runs() -> None:
    path = write("failing.json", failing(7007))
    events = stream("run", "--workflow", path, *ADDRESS, "--wait", "--json", exit_code=1)
    (error,) = [event for event in events if event["type"] == "execution_error"]
    assert error["details"]["node_id"] == "9", error
    assert error["details"]["exception_type"] == "Exception", error


finish()
