"""Clients that others wrote, as conformance drives them: which, how they are installed, and by which driver.

The drivers are ours, and lie in the repository under tests/interop/conform. The packages are installed unchanged from
their registries into the user's cache folder, once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comfy_mock.conformance.clients import Command

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "comfy-mock" / "interop"
INSTALL_S_MAX = 600
_ONE_AT_A_TIME = threading.Lock()
_NPM_FLAGS = ("--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund", "--no-package-lock")
_QUIET = {"DO_NOT_TRACK": "1", "NO_COLOR": "1", "COLUMNS": "200", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class CannotInstall(Exception):
    """A client cannot be installed here; the message says why."""


@dataclass(frozen=True)
class ThirdParty:
    """A client: `packages` of a `registry`, and the words of its driver. `drives` says what of it is driven.

    One that is `alone` races with itself where the machine is busy, so it is tried while nothing else is.
    """

    registry: Literal["PyPI", "npm"]
    packages: Sequence[str]
    driver: Sequence[str]
    drives: str
    alone: bool = False

    @contextmanager
    def command(self, drivers: Path) -> Iterator[Command]:
        """The client, installed, as a command. `drivers` is the folder of the drivers.

        Raises `CannotInstall`.
        """
        name, *words = self.driver
        if self.registry == "PyPI":
            home = installed(f"python{sys.version_info[0]}.{sys.version_info[1]}", self.packages, self._pip)
            yield Command([str(python_of(home)), str(drivers / name), *words], _environment(home))
            return
        node = _found("node")
        home = installed("npm", self.packages, self._npm)
        # Node.js looks for packages in the folders above a script, so the drivers move in for a while
        guests = home / f"run-{uuid.uuid4().hex}"
        shutil.copytree(drivers, guests)
        try:
            yield Command([node, str(guests / name), *words], _environment(home))
        finally:
            shutil.rmtree(guests, ignore_errors=True)

    def _pip(self, folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder / "venv")], folder)
        pip = [str(python_of(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *self.packages], folder)

    def _npm(self, folder: Path) -> None:
        _run([_found("npm"), "install", *_NPM_FLAGS, *self.packages], folder)


THIRD_PARTIES: Mapping[str, ThirdParty] = {
    "comfy-api-simplified 1.6.0": ThirdParty(
        "PyPI", ["comfy-api-simplified==1.6.0"], ["comfy_api_simplified_client.py"], "`queue_and_wait_images`"
    ),
    "comfyui-workflow-client 0.1.0": ThirdParty(
        "PyPI", ["comfyui-workflow-client==0.1.0"], ["comfyui_workflow_client.py"], "`ComfyUIClient.generate`"
    ),
    "comfyui-workflow-client 0.1.0, async": ThirdParty(
        "PyPI",
        ["comfyui-workflow-client==0.1.0"],
        ["comfyui_workflow_client.py", "async"],
        "`ComfyUIClientAsync.generate`",
    ),
    "comfy-script 0.6.1": ThirdParty(
        "PyPI",
        ["comfy-script[client]==0.6.1", "tqdm==4.67.1"],
        ["comfy_script_client.py"],
        "`Workflow(wait=True)` of runtime nodes, and `wait()` of each output",
        alone=True,
    ),
    "comfy-cli 1.23.0": ThirdParty(
        "PyPI", ["comfy-cli==1.23.0"], ["comfy_cli_client.py"], "`comfy run --wait --json --timeout 10`"
    ),
    "comfy-ui-client 0.1.2": ThirdParty("npm", ["comfy-ui-client@0.1.2"], ["comfy_ui_client.mjs"], "`getImages`"),
    "@saintno/comfyui-sdk 0.3.1": ThirdParty(
        "npm", ["@saintno/comfyui-sdk@0.3.1"], ["saintno.mjs"], "`CallWrapper.run`"
    ),
    "@stable-canvas/comfyui-client 1.5.9": ThirdParty(
        "npm", ["@stable-canvas/comfyui-client@1.5.9", "ws@8.23.0"], ["stable_canvas.mjs"], "`enqueue`"
    ),
    "@stable-canvas/comfyui-client 1.5.9, polling": ThirdParty(
        "npm",
        ["@stable-canvas/comfyui-client@1.5.9", "ws@8.23.0"],
        ["stable_canvas.mjs", "polling"],
        "`enqueue_polling`",
    ),
}
"""The clients of the table, by name."""


def installed(kind: str, packages: Sequence[str], install: Callable[[Path], object]) -> Path:
    """The folder where exactly these packages are installed; `install` fills it where it is not there yet."""
    key = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    home = CACHE / f"{kind}-{key}"
    done = home / "installed"
    with _ONE_AT_A_TIME:
        if not done.exists():
            # a virtual environment cannot be moved, so it is made in place and marked when it is whole
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            install(home)
            done.write_text("\n".join(packages), encoding="utf-8")
    return home


def _environment(home: Path) -> Mapping[str, str]:
    """Settings of one's own neither count nor change."""
    own = home / "home"
    own.mkdir(exist_ok=True)
    return {
        **_QUIET,
        **dict.fromkeys(["HOME", "USERPROFILE", "APPDATA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"], str(own)),
    }


def python_of(home: Path) -> Path:
    """The Python of a virtual environment that `installed` has filled."""
    return home / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise CannotInstall(f"{program} is not on this machine: install Node.js to run the JavaScript clients")
    return path


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - the words are ours
            command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=INSTALL_S_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise CannotInstall(f"{' '.join(command)}: {problem}") from problem
    if done.returncode:
        raise CannotInstall(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
