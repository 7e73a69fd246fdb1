"""The README and the page on the command line say what is so."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
import typer

from comfy_contracts import jsontext
from comfy_contracts.har import packaged_recordings
from comfy_mock.cli import app
from comfy_mock.cli.run import ExitCode

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DRIVER = re.compile(r"py/\w+_driver\.py$|js/(?!harness|surface)\w+\.mjs$")
CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_the_examples_are_passing_tests(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    for number, example in enumerate(examples):
        (tmp_path / f"test_example_{number}.py").write_text(example, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(examples)} passed" in done.stdout


def test_the_files_and_links_it_names_are_there() -> None:
    named = re.findall(r"\]\(([\w/.]+)\)", README) + re.findall(r"pytest (tests[\w/.]+)", README)
    assert len(named) >= 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_its_figures_are_those_of_the_evidence() -> None:
    folder = resources.files("comfy_contracts") / "oracle" / "comfyui-0.33.0"
    lines = {
        name: [
            jsontext.loads(line) for line in gzip.decompress((folder / f"{name}.jsonl.gz").read_bytes()).splitlines()
        ]
        for name in ("validation", "execution_order", "cache_sequences")
    }
    answers, sequences = lines["validation"], lines["cache_sequences"]
    refusals = sum(line["status"] != 200 for line in answers)
    assert f"| {len(answers)} answers to `POST /prompt`, {refusals} of them refusals |" in README
    assert f"| {len(lines['execution_order'])} runs of random graphs" in README
    prompts = sum(len(sequence["steps"]) for sequence in sequences)
    assert f"| {len(sequences)} sequences of {prompts} prompts" in README
    assert f"| {len(packaged_recordings('0.33.0'))} recorded scenarios" in README
    drivers = [path for path in (ROOT / "tests" / "interop").rglob("*") if DRIVER.search(path.as_posix())]
    assert f"| {len(drivers)} clients that others wrote" in README


def section_of(command: str) -> str:
    (text,) = [part for part in re.split(r"^## comfy-mock ", CLI, flags=re.MULTILINE) if part.startswith(command)]
    return text


def test_the_exit_codes_of_run_are_on_the_page() -> None:
    assert [int(code) for code in re.findall(r"^\| (\d) \|", section_of("run"), flags=re.MULTILINE)] == list(ExitCode)


@pytest.mark.parametrize("command", ["serve", "demo", "run"])
def test_every_switch_is_on_the_page_and_no_other(command: str) -> None:
    text = section_of(command)
    group = typer.main.get_command(app)
    params = group.commands[command].params
    switches = {name for param in params for name in param.opts if name.startswith("--")} - {"--help"}
    assert set(re.findall(r"--[a-z][a-z-]+", text)) == switches
