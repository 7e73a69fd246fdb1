"""Scripts, clocks and clients by the pytest plugin, and its options for a whole suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from plugin_runs import run_here

pytest_plugins = ["pytester"]

BUSY = "rules:\n- on: request\n  match: {route: GET /queue}\n  status: 503\n"
ASK = "import httpx\nimport pytest\n\ndef status(server): return httpx.get(f'{server.url}/queue').status_code\n\n"


def test_the_script_of_a_mark_lies_beside_its_test(pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("inner")
    (folder / "busy.yaml").write_text(BUSY, "utf-8")
    mark = '@pytest.mark.comfy_mock(script="busy.yaml")\n'
    test = "def test_it(comfy_mock): assert status(comfy_mock) == 503\n"
    (folder / "test_it.py").write_text(f"{ASK}{mark}{test}", "utf-8")
    run_here(pytester).assert_outcomes(passed=1)


def test_a_wrong_script_fails_the_test_at_once(pytester: pytest.Pytester) -> None:
    Path("wrong.yaml").write_text(BUSY.replace("GET /queue", "GET /queu"), "utf-8")
    marks = ['script="wrong.yaml"', 'script="none.yaml"', "script=5"]
    tests = [f"@pytest.mark.comfy_mock({mark})\ndef test_{n}(comfy_mock): pass\n" for n, mark in enumerate(marks)]
    pytester.makepyfile(f"{ASK}{''.join(tests)}")
    result = run_here(pytester)
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(
        [
            "comfy_mock cannot be configured like this: *wrong.yaml:3*/queu*",
            "comfy_mock cannot be configured like this: *No such file or directory*none.yaml*",
            "comfy_mock cannot be configured like this: a script is *, not int",
        ]
    )


INI = "[pytest]\ncomfy_mock_script = scripts/busy.yaml\ncomfy_mock_clock = manual\n"
OPTIONS = "import pytest\n@pytest.fixture(scope='session')\ndef comfy_mock_options(): return {'clock': 'real'}\n"
CLOCK = "def test_{name}(comfy_mock, comfy_mock_factory):\n    {body}\n"


def test_the_script_of_a_suite_is_for_all_and_need_not_be_used(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    (pytester.mkdir("scripts") / "busy.yaml").write_text(BUSY, "utf-8")
    pytester.makepyfile(
        ASK
        + """
def test_used(comfy_mock, comfy_mock_factory):
    assert status(comfy_mock) == status(comfy_mock_factory()) == 503

def test_not_used(comfy_mock, comfy_mock_factory):
    comfy_mock_factory()

@pytest.mark.comfy_mock(script=None)
def test_none(comfy_mock, comfy_mock_factory):
    assert status(comfy_mock) == status(comfy_mock_factory(script=None)) == 200

def test_after_a_reset(comfy_mock):
    comfy_mock.reset()
    assert len(comfy_mock.rules) == 1
"""
    )
    run_here(pytester).assert_outcomes(passed=4)
    Path("other.yaml").write_text(BUSY.replace("503", "500"), "utf-8")
    result = run_here(pytester, "--comfy-mock-script", "other.yaml")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["E*assert 500 == 503"])


@pytest.mark.parametrize(
    ("options", "arguments", "mark", "clock"),
    [
        ("", [], "", "ManualClock"),
        (OPTIONS, [], "", "RealClock"),
        (OPTIONS, ["--comfy-mock-clock", "instant"], "", "InstantClock"),
        (OPTIONS, ["--comfy-mock-clock", "instant"], '@pytest.mark.comfy_mock(clock="manual")\n', "ManualClock"),
    ],
)
def test_what_is_nearer_to_the_test_has_the_last_word(
    pytester: pytest.Pytester, options: str, arguments: list[str], mark: str, clock: str
) -> None:
    pytester.makeini("[pytest]\ncomfy_mock_clock = manual\n")
    pytester.makeconftest(options)
    test = f"{mark}def test_it(comfy_mock): assert type(comfy_mock.clock).__name__ == {clock!r}\n"
    pytester.makepyfile(f"import pytest\n{test}")
    run_here(pytester, *arguments).assert_outcomes(passed=1)


def test_wrong_options_are_refused(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ncomfy_mock_clock = fast\n")
    pytester.makepyfile("def test_it(): pass\n")
    run_here(pytester).stderr.fnmatch_lines(["*comfy_mock_clock is one of instant, real, manual, not 'fast'"])
    pytester.makeini("[pytest]\n")
    run_here(pytester, "--comfy-mock-clock", "fast").stderr.fnmatch_lines(
        ["*--comfy-mock-clock*invalid choice: 'fast'*"]
    )


def test_pytest_explains_the_options(pytester: pytest.Pytester) -> None:
    said = run_here(pytester, "--help").stdout.str()
    for name in ("clock", "script"):
        assert f"--comfy-mock-{name}" in said
        assert f"comfy_mock_{name} (string)" in said
    for name in ("comfy_mock_allow_unused_rules (bool)", "comfy_mock_allow_unserved_requests (bool)"):
        assert name in said


PROMPT = """
import pytest
import comfy_client

WORKFLOW = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 32, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "mine"}},
}
clients = []
"""

AFTER = """
def test_after():
    (client,) = clients
    assert client.closed
"""


def test_a_client_that_is_closed_when_the_test_is_over(pytester: pytest.Pytester) -> None:
    test = """
def test_it(comfy_client, comfy_mock):
    clients.append(comfy_client)
    result = comfy_client.run(WORKFLOW, timeout=20)
    assert len(result.images) == 1
    comfy_mock.journal.assert_prompt(class_type="SaveImage", times=1)
"""
    pytester.makepyfile(f"{PROMPT}{test}{AFTER}")
    run_here(pytester).assert_outcomes(passed=2)


ASYNC = """
async def test_it({self}async_comfy_client, comfy_mock):
    clients.append(async_comfy_client)
    result = await async_comfy_client.run(WORKFLOW, timeout=20)
    assert len(result.images) == 1
    await comfy_mock.journal.wait_for_event_async("executing", node=None)
"""
ANYIO = "@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n"


def in_class(test: str) -> str:
    return "class TestIt:\n" + "\n".join(f"    {line}" for line in test.splitlines()) + "\n"


def test_an_asynchronous_client_beside_anyio(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_function=f"{PROMPT}{ANYIO}@pytest.mark.anyio{ASYNC.format(self='')}{AFTER}",
        test_method=f"{PROMPT}{ANYIO}{in_class('@pytest.mark.anyio' + ASYNC.format(self='self, '))}{AFTER}",
    )
    run_here(pytester).assert_outcomes(passed=4)


def test_an_asynchronous_client_beside_pytest_asyncio(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_asyncio", reason="pytest-asyncio is not installed")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        test_function=f"{PROMPT}@pytest.mark.asyncio{ASYNC.format(self='')}{AFTER}",
        test_method=f"{PROMPT}{in_class('@pytest.mark.asyncio' + ASYNC.format(self='self, '))}{AFTER}",
    )
    run_here(pytester, plugins="no:anyio").assert_outcomes(passed=4)


def test_an_asynchronous_client_in_another_test_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(async_comfy_client): pass\n")
    result = run_here(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["async_comfy_client is for `async def` tests; the others use comfy_client"])


UNITTEST = """
import unittest
import httpx
from comfy_mock import ComfyMock

class TestIt(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = ComfyMock().start()
        cls.addClassCleanup(cls.server.stop)

    def setUp(self):
        self.server.reset()

    def test_it(self):
        httpx.get(f"{self.server.url}/queue")
        self.server.journal.assert_request("GET /queue", times=1)

    def test_fresh(self):
        self.server.journal.assert_no_request()
"""


def test_unittest_needs_no_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(UNITTEST, "utf-8")
    command = [sys.executable, "-W", "error", "-m", "unittest", "test_it"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (done.returncode, "Ran 2 tests" in done.stderr) == (0, True), done.stderr


@pytest.mark.parametrize("option", ["--comfy-mock-script", "comfy_mock_script"])
def test_a_script_of_the_suite_that_is_missing_is_one_error(pytester: pytest.Pytester, option: str) -> None:
    if option == "comfy_mock_script":
        pytester.makeini("[pytest]\ncomfy_mock_script = none.yaml\n")
    pytester.makepyfile("def test_a(comfy_mock): pass\ndef test_b(comfy_mock): pass\n")
    result = run_here(pytester, *(["--comfy-mock-script", "none.yaml"] if option.startswith("--") else []))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option}: there is no file *none.yaml"])


def test_a_script_that_no_server_follows_fails_its_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
import pytest

pytestmark = pytest.mark.comfy_mock(script={"start_up": 0})
MINE = pytest.mark.comfy_mock(script={"start_up": 0})

@MINE
def test_with_a_factory(comfy_mock_factory):
    comfy_mock_factory()

@MINE
def test_with_nothing(): pass

@MINE
def test_that_asks_for_it_late(request):
    request.getfixturevalue("comfy_mock")

@MINE
def test_with_it(comfy_mock): pass

def test_the_mark_of_the_module_is_for_those_that_use_it(): pass
"""
    )
    result = run_here(pytester)
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(["*(script=…) is for the fixture `comfy_mock`, which this test does not use*"])


def test_a_switch_is_on_or_off(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.comfy_mock(allow_unused_rules='no')\ndef test_it(comfy_mock): pass\n"
    )
    result = run_here(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*allow_unused_rules is True or False, not 'no'*"])
