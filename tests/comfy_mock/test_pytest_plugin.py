"""The pytest plugin from outside: suites that use it."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_runs import run, run_here

from comfy_mock import pytest_plugin
from comfy_mock.server.journal import Journal
from comfy_mock.server.journal_wants import EventFilter, PromptFilter, RequestFilter, SocketFilter

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "pytest.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
LOAD_MS_MAX = 20

ASKS = """
import os
import httpx
import pytest

def loras(server):
    return httpx.get(f"{server.url}/models/loras").json()

def theme(server):
    return httpx.get(f"{server.url}/settings/Theme").json()

def set_theme(server, value):
    httpx.post(f"{server.url}/settings/Theme", json=value)
"""


@pytest.fixture(autouse=True)
def _installed() -> None:
    points = importlib.metadata.entry_points(group="pytest11")
    if "comfy_mock" not in points.names:
        pytest.fail("the plugin is not installed; `pip install --no-deps -e .` again", pytrace=False)


def test_each_test_has_a_fresh_server_at_one_url(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ASKS
        + """
seen = []

@pytest.mark.parametrize("number", range(3))
def test_fresh(comfy_mock, number):
    assert theme(comfy_mock) is None
    set_theme(comfy_mock, number)
    assert os.environ["COMFY_MOCK_URL"] == comfy_mock.url
    seen.append(comfy_mock.url)

def test_after():
    assert "COMFY_MOCK_URL" not in os.environ
    assert len(set(seen)) == 1

def test_reset_and_failure(comfy_mock):
    set_theme(comfy_mock, 1)
    comfy_mock.reset()
    assert theme(comfy_mock) is None
    assert False, "on purpose"

def test_after_a_failure(comfy_mock):
    assert comfy_mock.url == seen[0]
    comfy_mock.stop()

def test_after_a_stop(comfy_mock):
    assert theme(comfy_mock) is None
    assert os.environ["COMFY_MOCK_URL"] == comfy_mock.url
"""
    )
    run_here(pytester).assert_outcomes(passed=6, failed=1)


def test_marks_configure_and_leave_nothing_behind(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ASKS
        + """
pytestmark = pytest.mark.comfy_mock(models={"loras": ["module.safetensors"]}, seed=7)

def test_module(comfy_mock):
    assert loras(comfy_mock) == ["module.safetensors"]
    assert comfy_mock.engine.options.seed == 7

@pytest.mark.comfy_mock(clock="manual", models={"loras": ["own.safetensors"]})
class TestClass:
    def test_class(self, comfy_mock):
        assert loras(comfy_mock) == ["own.safetensors"]
        assert comfy_mock.engine.options.seed == 7
        comfy_mock.advance(1)

    @pytest.mark.comfy_mock(seed=8)
    def test_function(self, comfy_mock):
        assert loras(comfy_mock) == ["own.safetensors"]
        assert comfy_mock.engine.options.seed == 8
        comfy_mock.advance(1)

def test_the_clock_is_instant_again(comfy_mock):
    with pytest.raises(RuntimeError, match="manual"):
        comfy_mock.advance(1)
"""
    )
    pytester.makepyfile(
        test_other=ASKS
        + """
def test_no_mark(comfy_mock):
    assert comfy_mock.engine.options.seed == 0
    assert loras(comfy_mock) != ["module.safetensors"]
"""
    )
    run_here(pytester).assert_outcomes(passed=5)


def test_defaults_for_a_suite_and_servers_from_the_factory(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
import pytest

@pytest.fixture(scope="session")
def comfy_mock_options():
    return {"seed": 5, "clock": "manual"}
"""
    )
    pytester.makepyfile(
        ASKS
        + """
import threading

def ours():
    return [thread for thread in threading.enumerate() if thread.name == "comfy-mock"]

@pytest.mark.comfy_mock(seed=6)
def test_mark_over_default(comfy_mock):
    comfy_mock.advance(1)
    assert comfy_mock.engine.options.seed == 6

@pytest.mark.comfy_mock(seed=6)
def test_factory(comfy_mock, comfy_mock_factory):
    first, second = comfy_mock_factory(), comfy_mock_factory(seed=9, clock="instant")
    assert [server.engine.options.seed for server in (first, second)] == [5, 9]
    set_theme(first, "dark")
    assert theme(second) is theme(comfy_mock) is None
    assert len(ours()) == 3
    assert False, "on purpose"

def test_after():
    assert len(ours()) == 1
"""
    )
    run_here(pytester).assert_outcomes(passed=2, failed=1)


WRONG = {
    '"manual"': "@pytest.mark.comfy_mock takes named arguments only, such as seed=7; it was given 'manual'",
    "sed=7": "@pytest.mark.comfy_mock cannot set 'sed'; did you mean 'seed'? It can set clock, speed, *, seed, *",
    "port=1": "@pytest.mark.comfy_mock cannot set 'port'. It can set clock, speed, storage, catalogue, script, *",
    'clock="fast"': "comfy_mock cannot be configured like this: there is no clock 'fast'; the clocks are *",
    'storage={"outputs": "x"}': "comfy_mock cannot be configured like this: there is no folder 'outputs'; the *",
}


def test_wrong_marks_fail_their_test_and_say_why(pytester: pytest.Pytester) -> None:
    tests = [f"@pytest.mark.comfy_mock({given})\ndef test_{n}(comfy_mock): pass\n" for n, given in enumerate(WRONG)]
    pytester.makepyfile("import pytest\n" + "\n".join(tests) + "\ndef test_last(comfy_mock): pass\n")
    result = run_here(pytester)
    result.assert_outcomes(errors=len(WRONG), passed=1)
    result.stdout.fnmatch_lines(list(WRONG.values()))
    result.stdout.no_fnmatch_line("During handling of *")


def test_wrong_defaults_are_told_from_wrong_marks(pytester: pytest.Pytester) -> None:
    fixture = "import pytest\n@pytest.fixture\ndef comfy_mock_options(): return {'clok': 'manual'}\n"
    pytester.makepyfile(f"{fixture}def test_it(comfy_mock): pass\n")
    result = run_here(pytester)
    result.assert_outcomes(errors=1)
    text = "the fixture comfy_mock_options cannot set 'clok'; did you mean 'clock'? It can set clock, *"
    result.stdout.fnmatch_lines([text])


def test_workers_of_xdist_have_a_server_each(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ASKS
        + """
from pathlib import Path

@pytest.mark.parametrize("number", range(12))
def test_fresh(comfy_mock, number, worker_id):
    assert theme(comfy_mock) is None
    set_theme(comfy_mock, number)
    assert theme(comfy_mock) == number
    Path("urls").mkdir(exist_ok=True)
    Path("urls", f"{worker_id} {comfy_mock.port}").touch()

def test_reports_come_whole(comfy_mock):
    httpx.get(f"{comfy_mock.url}/hstory")
    assert False, "on purpose"
"""
    )
    result = run(pytester, "-n", "2", "--dist", "load")
    result.assert_outcomes(passed=12, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*- comfy-mock timeline -*", "    0.000 s  GET /hstory → 404"])
    seen = [path.name.split() for path in (pytester.path / "urls").iterdir()]
    assert sorted(worker for worker, _port in seen) == ["gw0", "gw1"]
    assert len({port for _worker, port in seen}) == 2


ASYNC_TEST = """
async def test_it(comfy_mock, comfy_mock_factory):
    async with httpx.AsyncClient(base_url=comfy_mock.url) as client:
        await client.post("/settings/Theme", json="dark")
        await comfy_mock.advance_async(1)
        comfy_mock.advance(1)
        await comfy_mock.reset_async()
        assert (await client.get("/settings")).json() == {}
        comfy_mock_factory()
"""


def test_beside_anyio(pytester: pytest.Pytester) -> None:
    marks = '@pytest.mark.anyio\n@pytest.mark.comfy_mock(clock="manual")'
    backend = "@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n"
    pytester.makepyfile(f"{ASKS}{backend}{marks}{ASYNC_TEST}")
    run_here(pytester).assert_outcomes(passed=1)


def test_beside_pytest_asyncio(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_asyncio", reason="pytest-asyncio is not installed")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(f'{ASKS}@pytest.mark.asyncio\n@pytest.mark.comfy_mock(clock="manual"){ASYNC_TEST}')
    run_here(pytester, plugins="no:anyio").assert_outcomes(passed=1)


def test_a_run_that_does_not_use_it_loads_and_starts_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import sys
import threading

def test_it():
    assert "comfy_mock.pytest_plugin" in sys.modules
    heavy = {"asyncio", "httpx", "msgspec", "PIL", "starlette", "uvicorn", "websockets", "comfy_mock.engine"}
    assert heavy & set(sys.modules) == set()
    assert len(threading.enumerate()) == 1
"""
    )
    result = run(pytester, "-p", "no:anyio", "-p", "no:hypothesispytest", "-p", "no:xdist")
    result.assert_outcomes(passed=1)


def test_loading_it_is_cheap() -> None:
    script = (
        "import pytest, time; began = time.perf_counter(); import comfy_mock.pytest_plugin;"
        "print((time.perf_counter() - began) * 1000)"
    )
    command = [sys.executable, "-c", script]
    # the fastest of some, for the first may compile it and others may be disturbed
    times = [float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(5)]
    assert min(times) < LOAD_MS_MAX


def test_pytest_explains_the_marker_and_the_fixtures(pytester: pytest.Pytester) -> None:
    run_here(pytester, "--markers").stdout.fnmatch_lines(
        ["@pytest.mark.comfy_mock(**arguments): configure the server of *"]
    )
    listed = run_here(pytester, "--fixtures").stdout.str()
    for name in ("comfy_mock", "comfy_mock_factory", "comfy_mock_options"):
        assert re.search(rf"^{name}\b.* -- .*pytest_plugin\.py:\d+\n    [A-Z]", listed, flags=re.MULTILINE)


def test_the_page_says_what_is_so(pytester: pytest.Pytester) -> None:
    conftests = [block for block in BLOCKS if block.startswith("# conftest.py")]
    programs = [block for block in BLOCKS if "def " not in block]
    tests = [block for block in BLOCKS if block not in conftests and block not in programs]
    assert (len(conftests), len(programs), len(tests)) == (1, 1, 11)
    pytester.makeconftest(conftests[0])
    pytester.makepyfile(**{f"test_block_{number}": block for number, block in enumerate(tests)})
    run_here(pytester).assert_outcomes(passed=sum(block.count("def test_") for block in tests))
    exec(programs[0], {})


def test_the_page_shows_what_a_failed_test_says(pytester: pytest.Pytester) -> None:
    (test,), (shown,) = (re.findall(rf"```{fence}\n(.*?)```", PAGE, flags=re.DOTALL) for fence in ("py", "text"))
    pytester.makepyfile(test)
    result = run_here(pytester)
    result.assert_outcomes(failed=1)
    lines = [line for line in shown.splitlines() if line != "…"]
    assert [line for line in result.outlines if line in lines] == lines


def test_the_page_has_all_fixtures_options_and_questions() -> None:
    plugin = (ROOT / "comfy_mock" / "pytest_plugin.py").read_text("utf-8")
    names = re.findall(r'addoption\("([^"]+)"', plugin) + re.findall(r'addini\("([^"]+)"', plugin)
    names += [f"comfy_mock_{switch}" for switch in pytest_plugin._SWITCHES]
    names += ["comfy_mock", "comfy_mock_factory", "comfy_mock_options", "comfy_client", "async_comfy_client"]
    public = [
        name for name in dir(Journal) if name.startswith(("assert_", "wait_for_")) and not name.endswith("_async")
    ]
    asked = ["requests", "prompts", "sockets", "events", "holds", "unserved"]
    for name in (*names, *public, *asked):
        assert re.search(rf"`{name}\b", PAGE), name
    for which in (RequestFilter, PromptFilter, SocketFilter, EventFilter):
        assert all(f"`{name}`" in PAGE for name in which.__annotations__)
