"""The examples in docs/examples do what they say: each is copied out of here, and run as its user would run it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
PAGE = (EXAMPLES / "README.md").read_text(encoding="utf-8")
EXCERPTS = re.findall(r"```(?:python|javascript|yaml)\n(.*?)```", PAGE, flags=re.DOTALL)
JOBS: dict[str, Any] = yaml.safe_load((EXAMPLES / "ci" / "comfyui.yml").read_text(encoding="utf-8"))["jobs"]
SUITES = {"python": "web_backend", "node": "js_client"}
"""The project that each job of the workflow is run in."""

SECONDS_MAX = 120
WEBSOCKET_FLAG = "--experimental-websocket"


def environment(**more: str) -> dict[str, str]:
    """What a fresh terminal has, with the comfy-mock and the Python of this environment first on the PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMFY", "NODE_", "PYTEST_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    # pytest-asyncio and the cache are this project's affair: one warns of what it is not asked to do, the other writes
    return kept | {"PATH": path, "PYTHONUTF8": "1", "PYTEST_ADDOPTS": "-p no:asyncio -p no:cacheprovider"} | more


def copied(example: str, to: Path) -> Path:
    """A copy of an example, with nothing of this project around it."""
    leftovers = shutil.ignore_patterns("__pycache__", ".*_cache")
    return Path(shutil.copytree(EXAMPLES / example, to / example, ignore=leftovers))


def run(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}"
    return done.stdout


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node.js is not on this machine: install node to run the example in JavaScript")
    return found


@pytest.mark.parametrize("example", ["bot", "web_backend"])
def test_the_suites_in_python_pass(example: str, tmp_path: Path) -> None:
    said = run([sys.executable, "-m", "pytest", "-q"], copied(example, tmp_path), environment())
    outcome = said.rstrip().rpartition("\n")[2]
    assert re.fullmatch(r"1\d passed in .*", outcome), said  # and none skipped


@pytest.mark.interop
def test_the_suite_in_javascript_passes(node: str, tmp_path: Path) -> None:
    folder = copied("js_client", tmp_path)
    counts = counted(run([node, "--test", "--test-reporter=tap"], folder, environment()))
    assert counts["fail"] == 0
    assert counts["pass"] >= 5
    if counts["skipped"]:
        said = run([node, "--test", "--test-reporter=tap"], folder, environment(NODE_OPTIONS=WEBSOCKET_FLAG))
        counts = counted(said)
        assert (counts["fail"], counts["skipped"]) == (0, 0)
        assert counts["pass"] >= 11


def counted(tap: str) -> dict[str, int]:
    """The figures at the end of a run of `node --test`."""
    return {name: int(count) for name, count in re.findall(r"^# (\w+) (\d+)$", tap, flags=re.MULTILINE)}


class Runner:
    """Does the `run:` steps of a job as GitHub's runner does, with pip left out: comfy-mock is here already."""

    def __init__(self, folder: Path, project: Path) -> None:
        self.folder, self.project = folder, project
        self.exported = folder / "exported"
        self.exported.touch()
        self.groups: list[int] = []

    def step(self, script: str) -> str:
        """Do one step; its output."""
        lines = [line for line in script.splitlines() if "pip install" not in line]
        exported = dict(line.split("=", 1) for line in self.exported.read_text(encoding="utf-8").splitlines())
        said = self.folder / "said"
        with said.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", "\n".join(lines)],
                cwd=self.project,
                env=environment(GITHUB_ENV=str(self.exported), RUNNER_TEMP=str(self.folder), **exported),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            self.groups.append(process.pid)
            code = process.wait(SECONDS_MAX)
        text = said.read_text(encoding="utf-8")
        assert code == 0, f"{script}\nended with {code}\n{text}"
        return text

    def stop(self) -> None:
        """End what the steps have left running, as the end of a job does."""
        for group in self.groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)


@pytest.fixture
def runner(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Runner]:
    if os.name == "nt" or shutil.which("bash") is None:
        pytest.skip("the workflow runs on Linux: there is no bash here")
    folder = tmp_path / "runner"
    folder.mkdir()
    runner = Runner(folder, copied(SUITES[request.param], tmp_path))
    yield runner
    runner.stop()


def steps_of(job: str) -> dict[str, str]:
    """The `run:` steps of a job by name, in their order."""
    return {step["name"]: step["run"] for step in JOBS[job]["steps"] if "run" in step}


@pytest.mark.parametrize("runner", ["python"], indirect=True)
def test_the_job_for_python_passes(runner: Runner) -> None:
    said = {name: runner.step(script) for name, script in steps_of("python").items()}
    assert " passed" in said["Test"]


@pytest.mark.interop
@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("runner", ["node"], indirect=True)
def test_the_job_for_node_passes(runner: Runner) -> None:
    said = {name: runner.step(script) for name, script in steps_of("node").items()}
    assert counted(said["Test"].replace("ℹ", "#"))["fail"] == 0
    assert "COMFYUI_URL=http://127.0.0.1:" in runner.exported.read_text(encoding="utf-8")
    assert "plays ComfyUI" in said["What the server has said"]


def test_all_jobs_are_run_here() -> None:
    assert set(JOBS) == set(SUITES)
    for job in JOBS.values():
        installing = [step["run"] for step in job["steps"] if "pip install" in step.get("run", "")]
        assert len(installing) == 1
        assert "comfy-mock" in installing[0].split()


@pytest.mark.parametrize("excerpt", EXCERPTS, ids=[str(number) for number in range(len(EXCERPTS))])
def test_the_page_quotes_what_is_there(excerpt: str) -> None:
    files = [path for path in EXAMPLES.glob("*/*") if path.suffix in (".py", ".mjs", ".yml")]
    assert any(excerpt in path.read_text(encoding="utf-8") for path in files)


def test_the_files_that_the_page_names_are_there() -> None:
    named = re.findall(r"\]\(([\w/.]+)\)", PAGE)
    assert len(named) >= 7
    assert [name for name in named if not (EXAMPLES / name).exists()] == []
