"""What the pytest plugin costs: `python benchmarks/plugin.py`.

Times depend on the machine, so each is also given as a multiple of another of the same run: an empty test, and the
import of pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = 300
IMPORTS = 15

CONFTEST = """
import statistics
import time
import pytest

times = []

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    began = time.perf_counter()
    result = yield
    times.append(time.perf_counter() - began)
    return result

def pytest_sessionfinish():
    # without the first, which starts the server
    print("median", statistics.median(times[1:]))
"""

SUITE = """
import pytest

@pytest.fixture
def nothing():
    yield

@pytest.mark.parametrize("number", range({tests}))
def test_it({fixture}number):
    pass
"""


def per_test(fixture: str, folder: Path) -> float:
    """How long an empty test takes that uses this fixture, in seconds."""
    (folder / "conftest.py").write_text(CONFTEST, "utf-8")
    (folder / "test_it.py").write_text(SUITE.format(tests=TESTS, fixture=fixture and f"{fixture}, "), "utf-8")
    plugins = ["-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:asyncio", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", "-q", "-s", *plugins, str(folder)]
    said = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    return next(float(line.rpartition(" ")[2]) for line in said.splitlines() if "median" in line)


def per_import(statement: str, measured: str) -> float:
    """How long `measured` takes to import in a new process after `statement`, in seconds: the fastest of some."""
    script = (
        f"{statement}\nimport time\nbegan = time.perf_counter()\nimport {measured}\nprint(time.perf_counter() - began)"
    )
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    times = [
        float(subprocess.run(command, check=True, capture_output=True, env=environment).stdout) for _ in range(IMPORTS)
    ]
    return min(times)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: per_test(name, Path(folder)) for name in ("", "nothing", "comfy_mock", "comfy_client")}
    empty = runs[""]
    print(f"{'an empty test':<40}{empty * 1e3:8.2f} ms")
    for name in ("nothing", "comfy_mock", "comfy_client"):
        more = runs[name] - empty
        label = f"with {name}, more than an empty one"
        print(f"{label:<40}{more * 1e3:8.2f} ms = {more / empty:.2f} empty tests")
    pytest_import, plugin = per_import("", "pytest"), per_import("import pytest", "comfy_mock.pytest_plugin")
    print(f"{'import of pytest':<40}{pytest_import * 1e3:8.2f} ms")
    print(
        f"{'import of the plugin, unused':<40}{plugin * 1e3:8.2f} ms = {plugin / pytest_import:.3f} imports of pytest"
    )


if __name__ == "__main__":
    main()
