"""Clients that others wrote, installed unchanged from their registries, against a `comfy-mock serve` process.

They are installed once, into the user's cache folder. Their drivers (`js/`, `py/`) print a report as their last line.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from comfy_mock.conformance.third_party import INSTALL_S_MAX, installed, python_of

HERE = Path(__file__).resolve().parent
DRIVER_S_MAX = 240


@dataclass(frozen=True)
class Report:
    """What a driver said: its `steps` by name with their error or None, and whatever `facts` it added."""

    driver: Path
    steps: dict[str, str | None]
    facts: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Fail with the text of every step that failed, and where the driver has steps that did not run."""
        failed = [f"{name}\n{error}" for name, error in self.steps.items() if error is not None]
        assert not failed, "\n\n".join(failed)
        written = re.findall(r"^(?:await step\(|@step$)", self.driver.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert len(self.steps) == len(written) > 0


Serve = Callable[..., str]
Drive = Callable[..., Report]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start `comfy-mock serve` with these switches on a free port: its URL. Nothing may be logged as an error."""
    running: list[tuple[subprocess.Popen[str], Path]] = []

    def start(*switches: str) -> str:
        log = tmp_path / f"server-{len(running)}.log"
        with log.open("w", encoding="utf-8") as stderr:
            command = [sys.executable, "-m", "comfy_mock", "serve", "--port", "0", *switches]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        running.append((process, log))
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), log.read_text(encoding="utf-8")
        return url

    yield start
    for process, log in running:
        process.terminate()
        process.communicate(timeout=30)
        text = log.read_text(encoding="utf-8")
        assert "ERROR" not in text, text
        assert "Traceback" not in text, text


@pytest.fixture
def drive_node(tmp_path: Path) -> Drive:
    """Run a driver under `js/` with these npm packages: its report."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("Node.js is not on this machine: install node and npm to run the JavaScript clients")

    def drive(driver: str, url: str, packages: Sequence[str]) -> Report:
        flags = ["--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund", "--no-package-lock"]
        home = installed(
            "npm", packages, lambda folder: run([npm, "install", *flags, *packages], folder, INSTALL_S_MAX)
        )
        # Node.js looks for packages in the folders above a script, so the drivers move in for the time of their run.
        guests = home / f"run-{uuid.uuid4().hex}"
        shutil.copytree(HERE / "js", guests)
        try:
            said = run([node, str(guests / driver), url], tmp_path, DRIVER_S_MAX, tmp_path / "home")
            return report(HERE / "js" / driver, said)
        finally:
            shutil.rmtree(guests)

    return drive


@pytest.fixture
def drive_python(tmp_path: Path) -> Drive:
    """Run a driver under `py/` with these PyPI packages in a virtual environment of their own: its report."""

    def drive(driver: str, url: str, packages: Sequence[str]) -> Report:
        def install(folder: Path) -> None:
            run([sys.executable, "-m", "venv", str(folder / "venv")], folder, INSTALL_S_MAX)
            pip = [str(python_of(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([*pip, *packages], folder, INSTALL_S_MAX)

        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        home = installed(version, packages, install)
        command = [str(python_of(home)), str(HERE / "py" / driver), url]
        return report(HERE / "py" / driver, run(command, tmp_path, DRIVER_S_MAX, tmp_path / "home"))

    return drive


def run(command: Sequence[str], folder: Path, seconds_max: float, home: Path | None = None) -> str:
    """The output of a command that must succeed; with a `home`, your own settings neither count nor change."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COMFY", "PYTHON"))}
    environment |= {"DO_NOT_TRACK": "1", "NO_COLOR": "1", "COLUMNS": "200", "PYTHONUTF8": "1"}
    if home is not None:
        home.mkdir(exist_ok=True)
        environment |= dict.fromkeys(["HOME", "USERPROFILE", "APPDATA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"], str(home))
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=seconds_max,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def report(driver: Path, output: str) -> Report:
    """The report on the last line of a driver's output."""
    line = output.rstrip().rpartition("\n")[2]
    assert line.startswith("REPORT "), f"the driver ended without a report:\n{output}"
    facts = json.loads(line.removeprefix("REPORT "))
    return Report(driver, {step["name"]: step["error"] for step in facts.pop("steps")}, facts)
