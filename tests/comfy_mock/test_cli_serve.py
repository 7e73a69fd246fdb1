"""`comfy-mock serve`: what its switches do, and how it starts and ends."""

from __future__ import annotations

import importlib
import json
import re
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

import comfy_mock
from comfy_contracts.catalogue import Catalogue
from comfy_mock.cli import main

SCENARIO = Path(__file__).resolve().parents[2] / "fixtures" / "scenarios" / "out_of_memory.yaml"


class Built(Exception):
    """Raised in place of serving."""


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `serve` builds its server from."""
    arguments: dict[str, Any] = {}

    def build(**given: Any) -> None:
        arguments.update(given)
        raise Built

    monkeypatch.setattr("comfy_mock.server.network.ComfyMock", build)
    return arguments


@contextmanager
def serving(*switches: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server process and its URL."""
    command = [sys.executable, "-m", "comfy_mock", "serve", "--port", "0", *switches]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.terminate()


def flat(text: str) -> str:
    """A boxed message as one line."""
    return re.sub(r"[\s│]+", " ", text)


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ([], {"host": "127.0.0.1", "port": 8188, "clock": "real", "speed": 1.0, "cache": "default", "models": None}),
        ([], {"storage": None, "catalogue": None, "preview_method": "none", "enable_cors_header": None, "seed": 0}),
        (["--listen", "::1", "--port", "0", "--speed", "20"], {"host": "::1", "port": 0, "speed": 20.0}),
        (["--host", "localhost"], {"host": "localhost"}),
        (["--listen"], {"host": "0.0.0.0"}),
        (
            ["--preview-method", "latent2rgb", "--preview-size", "64"],
            {"preview_method": "latent2rgb", "preview_size": 64},
        ),
        (["--cache-lru", "3"], {"cache": "lru", "cache_size": 3}),
        (["--cache-none"], {"cache": "none"}),
        (["--high-ram"], {"cache": "classic"}),
        (["--cache-ram"], {"cache": "default"}),
        (["--enable-cors-header"], {"enable_cors_header": "*"}),
        (["--enable-cors-header", "http://a"], {"enable_cors_header": "http://a"}),
        (["--multi-user", "--disable-metadata", "--disable-api-nodes"], {"multi_user": True, "disable_metadata": True}),
        (["--disable-api-nodes", "--enable-compress-response-body"], {"disable_api_nodes": True}),
        (["--enable-compress-response-body", "--seed", "7"], {"enable_compress_response_body": True, "seed": 7}),
        (["--max-upload-size", "0.5"], {"max_upload_size": 0.5}),
        ([], {"script": None, "control": False, "control_token": None}),
        (["--script", str(SCENARIO)], {"script": SCENARIO}),
        (["--control"], {"control": True, "control_token": None}),
        (["--control-token", "secret"], {"control": True, "control_token": "secret"}),
        (["--feature-flag", "a=1", "--feature-flag", "b"], {"feature_flags": {"a": "1", "b": "true"}}),
        (["--default-hashing-function", "md5"], {"default_hashing_function": "md5"}),
        (["--model", "vae=a", "--model", "loras="], {"models": {"vae": ["a"], "loras": []}}),
        (["--accept-any-model", "--accept-any-node"], {"accept_any_model": True, "accept_any_node": True}),
        (["--storage", "s", "--output-directory", "o"], {"storage": {"base": Path("s"), "output": Path("o")}}),
        (["--base-directory", "s", "--models-directory", "m"], {"storage": {"base": Path("s"), "models": Path("m")}}),
        (["--port", "0", "--enable-cors-header"], {"argv": ("main.py", "--port", "0", "--enable-cors-header")}),
    ],
)
def test_a_switch_reaches_the_server(switches: list[str], expected: dict[str, Any], built: dict[str, Any]) -> None:
    with pytest.raises(Built):
        main(["serve", *switches])
    assert {name: built[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        (["--preview-method", "zzz"], "'none', 'auto', 'latent2rgb', 'taesd'"),
        (["--default-hashing-function", "crc"], "'md5', 'sha1', 'sha256', 'sha512'"),
        (["--log-level", "loud"], "'debug', 'info', 'warning', 'error', 'critical'"),
        (["--port", "70000"], "65535"),
        (["--speed", "0"], "speed must be above 0"),
        (["--speed", "-1"], "above 0 and finite, for example 4, not -1"),
        (["--speed", "inf"], "above 0 and finite, for example 4, not inf"),
        (["--speed", "nan"], "above 0 and finite, for example 4, not nan"),
        (["--model", "a.safetensors"], "FOLDER=NAME"),
        (["--model", "lora=a.safetensors"], "loras"),
        (["--cache-none", "--cache-classic"], "exclude each other"),
        (["--catalogue", "no/such/file.json"], "no/such/file.json"),
        (["--max-upload-size", "0"], "max_upload_size must be a number of MiB above 0"),
        (["--max-upload-size", "nan"], "max_upload_size must be a number of MiB above 0"),
        (["--add-nodes", "http://127.0.0.1:1"], "/object_info"),
        (["--script", "no/such/file.yaml"], "no/such/file.yaml"),
        (["--no-such-switch"], "--no-such-switch"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(
    switches: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["serve", "--port", "0", *switches])
    assert exit_.value.code == 2
    assert message in flat(capsys.readouterr().err)


def test_a_wrong_script_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("rules:\n- on: node\n  match: {class_type: KSampelr}\n", encoding="utf-8")
    with pytest.raises(SystemExit) as exit_:
        main(["serve", "--port", "0", "--script", str(path)])
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"comfy-mock: {path}:3:11: rules[0].match.class_type: the server has no class 'KSampelr'")


def test_a_script_and_the_control_api() -> None:
    with serving("--control", "--script", str(SCENARIO)) as (url, _process):
        state = httpx.get(f"{url}/__comfy_mock__/state").json()
        assert [use["label"] for use in state["rules"]] == ["the card is full"]
        assert state["clock"] == "real"


@pytest.mark.parametrize(("switches", "kept"), [((), 0), (("--control",), 1)])
def test_a_journal_is_kept_only_for_those_who_can_ask_for_it(
    monkeypatch: pytest.MonkeyPatch, switches: tuple[str, ...], kept: int
) -> None:
    records: list[int] = []

    def asked(mock: comfy_mock.ComfyMock, *, quiet: bool) -> None:
        mock.journal.request(0.0, "GET", "/queue", {}, {})
        records.append(len(mock.journal.records))

    monkeypatch.setattr(importlib.import_module("comfy_mock.cli.serve"), "_serve", asked)
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", "0", *switches])
    assert (ended.value.code, records) == (0, [kept])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"comfy-mock {comfy_mock.__version__}\n"


def test_the_first_line_is_the_url_of_a_fresh_server() -> None:
    with serving() as (url, process):
        assert httpx.get(f"{url}/prompt").json() == {"exec_info": {"queue_remaining": 0}}
        assert httpx.get(f"{url}/internal/files/input").json() == ["example.png [input]"]
        assert httpx.get(f"{url}/history").json() == {}
        assert httpx.get(f"{url}/__comfy_mock__/state").status_code == 404
        process.terminate()
        out, err = process.communicate()
    assert out == ""
    assert "plays ComfyUI 0.33.0" in err
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows can send no signals to one process, but kill it")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_quietly_and_well(name: str) -> None:
    with serving("--quiet") as (url, process):
        assert httpx.get(f"{url}/queue").status_code == 200
        process.send_signal(signal.Signals[name])
        out, err = process.communicate()
    assert (out, err, process.returncode) == ("", "", 0)


class Served(Exception):
    """Raised when the server would begin to serve."""


@pytest.mark.parametrize(
    ("switches", "told"),
    [
        (["--model", "loras=a.safetensors"], True),
        (["--model", "loras=a.safetensors", "--model", "checkpoints=b.safetensors"], False),
        (["--model", "checkpoints="], False),
        ([], False),
        (["--model", "loras=a.safetensors", "--models-directory", "FOLDER"], False),
    ],
)
def test_a_world_without_checkpoints_is_told_of(
    switches: list[str],
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mine.safetensors").write_bytes(b"")

    async def begin(*_: object) -> None:
        raise Served

    monkeypatch.setattr("comfy_mock.server.network.ComfyMock.serve", begin)
    with pytest.raises(Served):
        main(["serve", *(str(tmp_path) if word == "FOLDER" else word for word in switches)])
    assert caplog.messages == (["no checkpoints: name some with --model checkpoints=NAME"] if told else [])


def test_a_taken_port_is_said_and_ends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "comfy_mock", "serve", "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"comfy-mock: cannot listen on 127.0.0.1:{port}: ")
    assert "another port" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_a_saved_catalogue_a_server_offers_the_models_of_that_one(tmp_path: Path) -> None:
    loader = Catalogue.packaged()["CheckpointLoaderSimple"].entry
    mine = json.loads(json.dumps(dict(loader)))
    mine["input"]["required"]["ckpt_name"][0] = ["mine.safetensors", "sub/other.ckpt"]
    file = tmp_path / "nodes.json"
    file.write_text(json.dumps({"CheckpointLoaderSimple": mine}), encoding="utf-8")

    def checkpoints(*switches: str) -> Any:
        with serving(*switches) as (url, _):
            info = httpx.get(f"{url}/object_info/CheckpointLoaderSimple").json()["CheckpointLoaderSimple"]
            listed = httpx.get(f"{url}/models/checkpoints").json()
            assert info["input"]["required"]["ckpt_name"][0] == listed
            return listed

    assert checkpoints("--catalogue", str(file)) == ["mine.safetensors", "sub/other.ckpt"]
    assert checkpoints("--catalogue", str(file), "--model", "checkpoints=a.ckpt") == ["a.ckpt"]
    assert "mine.safetensors" not in checkpoints("--add-nodes", str(file))


def test_node_classes_from_a_file_and_from_a_server(tmp_path: Path, built: dict[str, Any]) -> None:
    mine = {"Mine": {"input": {"required": {"x": ["INT", {"default": 1}]}}, "output": ["IMAGE"], "name": "Mine"}}
    file = tmp_path / "nodes.json"
    file.write_text(json.dumps(mine), encoding="utf-8")
    with pytest.raises(Built):
        main(["serve", "--catalogue", str(file)])
    assert list(built["catalogue"]) == ["Mine"]
    with pytest.raises(Built):
        main(["serve", "--add-nodes", str(file)])
    assert list(built["catalogue"]) == [*Catalogue.packaged(), "Mine"]
    with serving("--catalogue", str(file)) as (url, _), pytest.raises(Built):
        main(["serve", "--catalogue", url])
    assert list(built["catalogue"]) == ["Mine"]
    assert built["catalogue"]["Mine"].required == {"x": ["INT", {"default": 1}]}
