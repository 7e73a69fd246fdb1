"""`comfy-mock verify`: what it says, what it writes, and its exit codes."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from comfy_contracts.har import Har, load, packaged_recordings, save
from comfy_contracts.needs import needs_of
from comfy_contracts.report import Outcome
from comfy_contracts.verify import Verifier
from comfy_mock import ComfyMock
from comfy_mock.cli import main
from comfy_mock.cli.fresh_fakes import fake_for

RECORDINGS = packaged_recordings("0.33.0")
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"


@pytest.fixture
def server() -> Iterator[ComfyMock]:
    with ComfyMock(clock="real", speed=20, models={"checkpoints": [CHECKPOINT]}) as mock:
        yield mock


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def verify(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["verify", *arguments])
    return int(exit_.value.code or 0)


def rows(out: str) -> dict[str, str]:
    """The table: contract to what is said of it."""
    return {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in out.splitlines() if "  " in line}


def test_without_a_url_the_fake_itself_is_verified(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("cache_lru_aba", "compressed", "multi_user", "settings")
    assert verify(*(word for name in names for word in ("--only", name))) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "4 equal, 0 differs, 0 cannot be tried"
    assert rows(out)["multi_user"].startswith("equal")


def test_a_fake_that_takes_orders_is_reset_before_each_contract(
    server: ComfyMock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(server.url, "--only", "settings", "--only", "multi_user", "--only", "userdata") == 0
    out = capsys.readouterr().out
    assert rows(out)["settings"].startswith("equal")
    assert rows(out)["userdata"].startswith("equal")
    assert rows(out)["multi_user"].startswith("cannot be tried  other switches: --multi-user")
    assert out.splitlines()[-1] == "2 equal, 0 differs, 1 cannot be tried"


def test_a_server_that_takes_no_orders_is_verified_as_far_as_it_is_fresh(
    server: ComfyMock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def none(_: str) -> None:
        return None

    monkeypatch.setattr(importlib.import_module("comfy_mock.cli.verify"), "_by_control", none)
    assert verify(server.url, "--only", "settings", "--only", "userdata", "--only", "image_only") == 0
    out = rows(capsys.readouterr().out)
    assert sorted(out[name].split("  ")[0] for name in ("settings", "userdata")) == ["cannot be tried", "equal"]
    assert out["image_only"].startswith("equal")


def test_nothing_that_can_be_tried_is_no_success(server: ComfyMock, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(server.url, "--only", "cache_none_aba") == 2
    assert "cannot be tried" in capsys.readouterr().out


def test_differences_are_shown_and_written(
    server: ComfyMock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.reset(clock="real", speed=20, disable_metadata=True)
    junit, page = tmp_path / "junit.xml", tmp_path / "report.html"
    assert verify(server.url, "--only", "image_only", "--junit", str(junit), "--html", str(page), "-v") == 1
    out = capsys.readouterr().out
    assert "differences in: bodies" in rows(out)["image_only"]
    assert "    - " in out
    assert "    + " in out
    assert "7 compared" in rows(out)["requests"]
    suites = ET.parse(junit).getroot()
    assert suites.find("testsuite[@name='image_only']/testcase[@name='bodies']/failure") is not None
    assert "image_only" in page.read_text(encoding="utf-8")


def test_recordings_of_ones_own(server: ComfyMock, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(load(RECORDINGS["settings"]), tmp_path / "mine.har.gz")
    save(load(RECORDINGS["compressed"]), tmp_path / "other.har")
    assert verify("--against", str(tmp_path)) == 0
    assert set(rows(capsys.readouterr().out)) >= {"mine", "other"}
    assert verify(server.url, "--against", str(tmp_path / "mine.har.gz")) == 0


def test_a_command_makes_the_server_fresh(
    server: ComfyMock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flag = tmp_path / "ran"
    command = f"\"{sys.executable}\" -c \"open(r'{flag}', 'a').write('x')\""
    assert verify(server.url, "--only", "compressed", "--only", "settings", "--restart", command) == 0
    assert flag.read_text() == "xx"
    assert verify(server.url, "--only", "settings", "--restart", f'"{sys.executable}" -c "raise SystemExit(3)"') == 2
    assert "failed with exit code 3" in capsys.readouterr().err


def test_a_server_that_goes_away_is_reported(
    server: ComfyMock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verified = Verifier.verify

    async def once(self: Verifier, name: str, har: Har) -> Outcome:
        outcome = await verified(self, name, har)
        await asyncio.to_thread(server.stop)
        return outcome

    monkeypatch.setattr(Verifier, "verify", once)
    assert verify(server.url, "--only", "settings", "--only", "http_edges") == 0
    out = rows(capsys.readouterr().out)
    assert out["http_edges"].startswith("equal")
    assert out["settings"].startswith("cannot be tried")
    assert "does not answer" in out["settings"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:1"], "does not answer"),
        (["--only", "nothing"], "no contract has such a name"),
        (["--against", "no/such.har"], "no/such.har"),
        (["--against", "."], "there are no .har or .har.gz files"),
        (["--timeout", "0"], "0.1"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert verify(*arguments) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_cannot_be_written(server: ComfyMock, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(server.url, "--only", "compressed", "--junit", str(tmp_path / "no" / "x.xml")) == 2
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "t2i_fresh",
            {"preview_method": "latent2rgb", "cache": "default", "argv": ("main.py", "--preview-method", "latent2rgb")},
        ),
        ("cache_lru_aba", {"cache": "lru", "cache_size": 3}),
        ("cache_none_aba", {"cache": "none"}),
        ("cache_classic_aba", {"cache": "classic"}),
        ("compressed", {"enable_compress_response_body": True}),
        ("cors_enabled", {"enable_cors_header": "*"}),
        ("multi_user", {"multi_user": True}),
    ],
)
def test_a_fake_is_started_as_the_recorded_server_was(name: str, options: dict[str, Any]) -> None:
    recording = load(RECORDINGS[name])
    found = fake_for(recording).engine.options
    assert {key: getattr(found, key) for key in options} == options
    assert found.models == {**(found.models or {}), "checkpoints": [CHECKPOINT]}
    assert needs_of(recording).version == found.version
