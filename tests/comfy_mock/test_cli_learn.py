"""`comfy-mock learn`: what it says and writes, and the page about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from comfy_contracts.har import load, packaged_recordings, save
from comfy_mock.cli import main
from comfy_mock.script import load_script

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = packaged_recordings("0.33.0")


def ended(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as exit_:
        main(["learn", *arguments])
    return exit_.value.code


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recording(name: str, path: Path) -> str:
    save(load(RECORDINGS[name]), path)
    return str(path)


def test_it_writes_a_scenario_and_says_how_to_serve_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = recording("t2i_fresh", here / "run.har.gz")
    assert ended(run, "--out", "mine/deep", "--keep-pictures") == 0
    said = capsys.readouterr()
    folder = Path("mine") / "deep"
    assert said.out == f"comfy-mock serve --script {folder / 'scenario.yaml'} --add-nodes {folder / 'catalogue.json'}\n"
    assert said.err == "comfy-mock: 7 nodes in 1 prompts taught 7 rules for 6 classes, 0 of which are custom ones\n"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "catalogue.json",
        *(f"files/00{number}-preview.jpg" for number in (1, 2, 3, 4)),
        "files/005-ComfyUI_00001_.png",
        "scenario.yaml",
    ]
    assert [rule.name for rule in load_script(folder / "scenario.yaml").rules][-1] == "SaveImage"


def test_notes_go_to_stderr(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = recording("error_in_middle_node", here / "run.har")
    assert ended(run, "-o", "mine") == 0
    assert "--with-failures does" in capsys.readouterr().err
    assert ended(run, "-o", "mine", "--with-failures") == 0
    assert "--with-failures" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "out", "code", "said"),
    [
        (None, "mine", 1, "there is nothing to learn"),
        (b"no HAR", "mine", 2, "run.har is not JSON"),
        ("t2i_cached", "run.har", 1, "run.har"),
    ],
)
def test_what_is_wrong_is_said(
    content: bytes | str | None, out: str, code: int, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "run.har"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        recording(content or "settings", path)
    assert ended(str(path), "--out", out) == code
    assert said in capsys.readouterr().err


def test_the_page_is_right(here: Path) -> None:
    page = (ROOT / "docs" / "learn.md").read_text("utf-8").partition("\n## Replay\n")[0]
    recording("t2i_fresh", here / "run.har")
    assert ended("run.har", "--out", "mine") == 0
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "docs/learn.md", "exec"), {})
