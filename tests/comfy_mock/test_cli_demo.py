"""`comfy-mock demo`: the picture it saves and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import PIL.Image
import pytest
import typer

from comfy_contracts import frames, har, messages
from comfy_mock.cli import main
from comfy_mock.cli.demo import default_workflow, save_new
from comfy_mock.cli.trace import Trace


def run_demo() -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["demo", "--speed", "50"])
    assert exit_.value.code == 0


def test_it_saves_and_names_the_picture_and_tells_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_demo()
    said = capsys.readouterr().out
    with PIL.Image.open("ComfyUI_00001_.png") as picture:
        assert picture.size == (512, 512)
        assert json.loads(picture.info["prompt"]) == default_workflow()
    assert "Saved ComfyUI_00001_.png" in said
    assert "20 previews on the way" in said
    assert "3 KSampler: 20/20" in said
    assert "executing         null: the end" in said
    assert "comfy-mock serve" in said
    run_demo()
    assert "Saved ComfyUI_00002_.png" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ComfyUI_00001_.png", "ComfyUI_00002_.png"]


@pytest.mark.parametrize("speed", ["0", "inf", "nan"])
def test_a_speed_that_is_none_is_said(speed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["demo", "--speed", speed])
    assert exit_.value.code == 2
    assert "speed must be above 0 and finite" in capsys.readouterr().err


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a_00009_.png").write_bytes(b"mine")
    Path("a_00010_.png").write_bytes(b"mine too")
    assert save_new("a_00009_.png", b"new") == Path("a_00011_.png")
    assert Path("a_00009_.png").read_bytes() == b"mine"
    assert Path("a_00011_.png").read_bytes() == b"new"


def test_a_place_that_refuses_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit_:
        save_new("no/such/folder/a_00001_.png", b"")
    assert exit_.value.exit_code == 1
    assert capsys.readouterr().err.startswith(f"comfy-mock: cannot save {Path('no/such/folder/a_00001_.png')} in ")


def test_a_trace_of_the_real_server() -> None:
    recording = har.load(har.packaged_recordings("0.33.0")["t2i_fresh"])
    (socket,) = recording.sockets()
    received = [message for message in socket.messages if message.type == "receive"]
    trace = Trace({"3": "KSampler", "9": "SaveImage"})
    for message in received[1:]:
        payload = message.payload
        event = messages.decode(payload) if isinstance(payload, str) else frames.decode(payload)
        trace.add(message.time - received[0].time, event)
    # Protocol 6.10: the default graph with four steps and previews makes 41 messages after the first status.
    assert trace.counts == {
        "status": 3,
        "execution_start": 1,
        "execution_cached": 1,
        "execution_success": 1,
        "executing": 8,
        "executed": 1,
        "progress_state": 18,
        "progress": 4,
        "preview": 4,
    }
    said = trace.lines()
    assert said[-1].startswith("41 events: 18 progress_state, 8 executing, ")
    kinds = [line.split()[2] for line in said[:-1]]
    assert kinds[:4] == ["status", "status", "execution_start", "execution_cached"]
    assert kinds.count("progress") == 1
    (progress,) = [line for line in said if " progress " in line]
    assert progress.endswith("3 KSampler: 4/4")
    assert said[-2].endswith("executing         null: the end")
