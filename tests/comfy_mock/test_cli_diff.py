"""`comfy-mock diff`: what it says, in which forms, and its exit codes; and what it finds between two versions."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from comfy_contracts.har import Har, load, packaged_recordings, save
from comfy_contracts.record import RecordingProxy
from comfy_contracts.recorder import Recorder
from comfy_mock import ComfyMock
from comfy_mock.cli import main

RECORDINGS = packaged_recordings("0.33.0")
CLIENT, PROMPT = "c" * 32, "12345678-1234-4234-8234-123456789abc"


def diff(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["diff", *map(str, arguments)])
    return int(exit_.value.code or 0)


def recording(path: Path, name: str, *changes: tuple[str, str]) -> Path:
    """A packaged recording as a file, with other words in it."""
    text = json.dumps(load(RECORDINGS[name]).to_builtins())
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")
    return path


def test_no_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (recording(tmp_path / f"{name}.har", "settings") for name in "ab")
    assert diff(one, other) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"Changes from ComfyUI 0.33.0 ({one}) to ComfyUI 0.33.0 ({other})",
        "",
        f"0 changes in {len(load(RECORDINGS['settings']).entries)} answers and on 0 sockets",
    ]


def test_changes_under_their_headings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = recording(tmp_path / "a.har", "image_only")
    after = recording(tmp_path / "b.har", "image_only", ('\\"execution_success\\"', '\\"execution_done\\"'))
    assert diff(before, after) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[1:4] == [
        "",
        "WebSocket",
        "  message type renamed: `execution_success` → `execution_done`, in 3 messages",
    ]
    assert out[-1].endswith(" answers and on 1 socket")


def test_as_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = recording(tmp_path / "a.har", "settings")
    after = recording(tmp_path / "b.har", "settings", ("json; charset=utf-8", "json; charset=utf8"))
    assert diff(before, after, "--format", "markdown") == 1
    out = capsys.readouterr().out
    assert out.startswith(f"# Changes from ComfyUI 0.33.0 ({before}) to ComfyUI 0.33.0 ({after})\n\n1 change in ")
    assert "\n## Headers\n\n* `GET /settings`, " in out
    assert "header `content-type`: `application/json; charset=utf-8` → `application/json; charset=utf8`" in out
    assert out.endswith("\n")


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = recording(tmp_path / "a.har", "settings")
    after = recording(tmp_path / "b.har", "settings", ("json; charset=utf-8", "json; charset=utf8"))
    assert diff(before, after, "-f", "json") == 1
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert (change["section"], change["kind"], change["what"]) == ("headers", "changed", "header `content-type`")
    forms = {"before": "application/json; charset=utf-8", "after": "application/json; charset=utf8"}
    assert change["values"] == [forms]


def test_folders_are_compared_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    for folder in (old, new):
        recording(folder / "settings.har", "settings")
    save(load(RECORDINGS["compressed"]), old / "image.har.gz")
    assert diff(old, new) == 0
    out = capsys.readouterr().out
    assert "Asked before only" in out
    assert "Asked after only" not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no.har", "a.har"], "no.har"),
        (["a.har", "broken.har"], "broken.har is not JSON"),
        (["empty", "empty"], "there are no .har or .har.gz files in empty"),
        (["a.har", "folder"], "two recordings, or two folders"),
        (["a.har", "other.har"], "no request in common"),
        (["a.har"], "B.har"),
        (["a.har", "a.har", "--format", "xml"], "xml"),
        (["garbled.har", "garbled.har"], "not base64"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder").mkdir()
    for name in ("a.har", "folder/a.har"):
        recording(tmp_path / name, "settings")
    recording(tmp_path / "other.har", "compressed")
    (tmp_path / "broken.har").write_text("{", encoding="utf-8")
    garbled = load(RECORDINGS["compressed"]).to_builtins()
    garbled["log"]["entries"][0]["response"]["content"] |= {"text": "#", "encoding": "base64"}
    (tmp_path / "garbled.har").write_text(json.dumps(garbled), encoding="utf-8")

    assert diff(*arguments) == 2
    assert said in capsys.readouterr().err


# Two versions

WORKFLOW = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}
ROUTES = (
    "/node_replacements",
    "/features",
    "/object_info/EmptyImage",
    "/system_stats",
    "/api/jobs",
    "/api/tags",
    "/queue",
)


async def recorded(version: str) -> Har:
    """What a server of a version said to a client that looks around and runs a prompt."""
    recorder = Recorder()
    with ComfyMock(version=version, clock="instant") as server:
        async with RecordingProxy(server.url, recorder) as proxy, httpx.AsyncClient(base_url=proxy.url) as http:
            async with connect(f"{proxy.url.replace('http', 'ws')}/ws?clientId={CLIENT}") as socket:
                for route in ROUTES:
                    await http.get(route)
                nameless = {"1": {"class_type": "NoSuchNode", "inputs": {}}}
                await http.post("/prompt", json={"prompt": nameless})
                await http.post("/prompt", json={"prompt": WORKFLOW, "client_id": CLIENT, "prompt_id": PROMPT})
                async for message in socket:
                    value = json.loads(message)
                    if value["type"] == "executing" and value["data"]["node"] is None:
                        break
            await http.get(f"/history/{PROMPT}")
    return recorder.har(time.time())


def test_two_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line is a row of protocol 10, or a version number of the table of versions (`profiles`)."""
    for version in ("0.3.40", "0.33.0"):
        save(asyncio.run(recorded(version)), tmp_path / f"{version}.har")

    assert diff(tmp_path / "0.3.40.har", tmp_path / "0.33.0.har") == 1
    assert (
        capsys.readouterr().out
        == """\
Changes from ComfyUI 0.3.40 to ComfyUI 0.33.0

Routes
  `GET /api/jobs`, `GET /node_replacements`, `GET /api/tags` added (404 before)

Bodies
  `GET /features`: `$.assets` added (`boolean`)
  `GET /features`: `$.extension` added (`object`)
  `GET /features`: `$.node_replacements` added (`boolean`)
  `GET /features`: `$.supports_model_type_tags` added (`boolean`)
  `GET /history/{prompt_id}`: `$.*.prompt[].create_time` added (`integer`)
  `GET /system_stats`: `$.system.comfy_package_versions` added (`list`)
  `GET /system_stats`: `$.system.deploy_environment` added (`string`)

Error answers
  `POST /prompt`: `$.error.extra_info.class_type` added (`string`)
  `POST /prompt`: `$.error.extra_info.node_id` added (`string`)
  `POST /prompt`: `$.error.extra_info.node_title` added (`string`)
  `POST /prompt`: `$.error.message`: `"Cannot execute because node NoSuchNode does not exist."` → \
`"Node 'NoSuchNode' not found. The custom node may not be installed."`
  `POST /prompt`: `$.error.type`: `"invalid_prompt"` → `"missing_node_type"`

WebSocket
  `progress_state` added, in 4 messages

Node catalogue
  `EmptyImage`: `has_intermediate_output` added (`boolean`)
  `EmptyImage`: `is_input_list` added (`boolean`)
  `EmptyImage`: `search_aliases` added (`list`)

Other values
  `GET /system_stats`: `$.system.comfyui_version`: `0.3.40` → `0.33.0`
  `GET /system_stats`: `$.system.os`: `posix` → `linux`

19 changes in 10 answers and on 1 socket
"""
    )
