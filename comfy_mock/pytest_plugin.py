"""The pytest plugin: a fake ComfyUI server for every test that asks for one (docs/pytest.md).

pytest loads this module in every run, also where nobody uses it: what is heavy is imported where it is needed.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from comfy_client import AsyncClient, Client
    from comfy_mock.engine.script.model import AnyRule
    from comfy_mock.server.network import ComfyMock

URL_VARIABLE = "COMFY_MOCK_URL"
"""The environment variable that has the URL of `comfy_mock` while a test uses it."""

TIMELINE = "comfy-mock timeline"
"""The title of the section that is added to the report of a test that failed."""

_LOCAL: dict[str, Any] = {"verify": False, "trust_env": False}
"""For clients of a server on this machine: no proxy is meant, and certificates would take 30 ms to load."""

_MARKER = "@pytest.mark.comfy_mock"
_CLOCKS = ("instant", "real", "manual")
_UNUSED_RULES, _UNSERVED_REQUESTS = "allow_unused_rules", "allow_unserved_requests"
_SWITCHES = {
    _UNUSED_RULES: "rules of a test's script that were never used",
    _UNSERVED_REQUESTS: "requests that no route and no rule served",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a whole suite."""
    group = parser.getgroup("comfy-mock", "fake ComfyUI servers (comfy-mock)")
    group.addoption("--comfy-mock-clock", choices=_CLOCKS, help="The clock of servers whose test does not say another.")
    group.addoption("--comfy-mock-script", metavar="FILE", help="The script of servers whose test has none of its own.")
    parser.addini("comfy_mock_clock", "As --comfy-mock-clock.", default="")
    parser.addini("comfy_mock_script", "As --comfy-mock-script; the file lies beside the ini file.", default="")
    for switch, what in _SWITCHES.items():
        parser.addini(f"comfy_mock_{switch}", f"Let tests pass in spite of {what}.", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and refuse wrong options."""
    config.addinivalue_line(
        "markers",
        "comfy_mock(**arguments): configure the server of the fixture `comfy_mock`, for example "
        'clock="manual", seed=7, models={"loras": ["a.safetensors"]}, script="flaky.yaml"',
    )
    clock = config.getini("comfy_mock_clock")
    if clock and clock not in _CLOCKS:
        raise pytest.UsageError(f"comfy_mock_clock is one of {', '.join(_CLOCKS)}, not {clock!r}")
    for option, script in _scripts_of_the_suite(config).items():
        if not script.is_file():
            raise pytest.UsageError(f"{option}: there is no file {script}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Refuse a script of a test's own mark that no server has followed."""
    yield
    own = [mark for mark in item.own_markers if mark.name == "comfy_mock" and mark.kwargs.get("script") is not None]
    if own and not item.stash.get(_CONFIGURED, False):
        pytest.fail(
            f"{_MARKER}(script=…) is for the fixture `comfy_mock`, which this test does not use: use it, or give the "
            "script to comfy_mock_factory(script=…)",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the timelines of its servers to the report of a test that failed."""
    report = yield
    watch = item.stash.get(_WATCH, None)
    if watch is not None:
        watch.see(report)
        if report.when == "teardown":
            del item.stash[_WATCH]
    return report


@pytest.fixture(scope="session")
def comfy_mock_options() -> Mapping[str, Any]:
    """Arguments for all servers of `comfy_mock` and `comfy_mock_factory`: override this fixture to give some."""
    return {}


@pytest.fixture(scope="session")
def _comfy_mock_server() -> Iterator[ComfyMock]:
    """The one server behind `comfy_mock`."""
    from comfy_mock.server.network import ComfyMock

    with ComfyMock() as server:
        yield server


@pytest.fixture
def _comfy_mock_watch(request: pytest.FixtureRequest) -> Iterator[_Watch]:
    """What the servers of a test are looked at for, when all that uses them is over."""
    watch = request.node.stash[_WATCH] = _Watch()
    yield watch
    allowed = {switch for switch in _SWITCHES if _switch(request.node, switch)}
    problems = watch.problems(allowed)
    if problems:
        pytest.fail("\n\n".join(problems), pytrace=False)


@pytest.fixture(name="comfy_mock")
def _comfy_mock(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    comfy_mock_options: Mapping[str, Any],
    _comfy_mock_server: ComfyMock,
    _comfy_mock_watch: _Watch,
) -> ComfyMock:
    """A fake ComfyUI server, fresh for each test: `comfy_mock.url`, also in $COMFY_MOCK_URL.

    Its clock is instant; `@pytest.mark.comfy_mock(clock="manual", ...)` configures it. Rules of its script that were
    not used, and requests that it has no route for, fail the test.
    """
    marked = _marked(request.node)
    arguments = {"clock": "instant", **_for_the_suite(request.config, comfy_mock_options), **marked}
    server = _comfy_mock_server
    if not server.running:  # the test before may have stopped it
        server.start()
    try:
        # never without arguments: that would keep the configuration of the test before
        server.reset(**arguments)
    except (OSError, TypeError, ValueError) as problem:
        raise pytest.fail.Exception(f"comfy_mock cannot be configured like this: {problem}", pytrace=False) from None
    request.node.stash[_CONFIGURED] = True
    monkeypatch.setenv(URL_VARIABLE, server.url)
    _comfy_mock_watch.add("comfy_mock", server, own_script="script" in marked)
    return server


@pytest.fixture
def comfy_mock_factory(
    request: pytest.FixtureRequest, comfy_mock_options: Mapping[str, Any], _comfy_mock_watch: _Watch
) -> Iterator[Callable[..., ComfyMock]]:
    """Starts a server of its own at each call, with the arguments of `comfy_mock.ComfyMock`; all end with the test."""
    from comfy_mock.server.network import ComfyMock

    defaults = _for_the_suite(request.config, comfy_mock_options)
    with contextlib.ExitStack() as servers:

        def start(**arguments: Any) -> ComfyMock:
            server = servers.enter_context(ComfyMock(**{**defaults, **arguments}))
            _comfy_mock_watch.add("comfy_mock_factory", server, own_script="script" in arguments)
            return server

        yield start


@pytest.fixture(name="comfy_client")
def _comfy_client(comfy_mock: ComfyMock) -> Iterator[Client]:
    """A `comfy_client.Client` of `comfy_mock`, closed when the test is over."""
    from comfy_client import Client

    with Client(comfy_mock.url, **_LOCAL) as client:
        yield client


@pytest.fixture
def async_comfy_client(request: pytest.FixtureRequest, comfy_mock: ComfyMock) -> Iterator[AsyncClient]:
    """A `comfy_client.AsyncClient` of `comfy_mock`, for `async def` tests; closed when the test's body is over."""
    from comfy_client import AsyncClient

    item, test = request.node, request.node.obj
    if not inspect.iscoroutinefunction(test):
        pytest.fail("async_comfy_client is for `async def` tests; the others use comfy_client", pytrace=False)
    client = AsyncClient(comfy_mock.url, **_LOCAL)

    @functools.wraps(test)
    async def with_client(*args: Any, **kwargs: Any) -> Any:
        async with client:
            return await test(*args, **kwargs)

    # A client belongs to an event loop, and only the test itself is sure to run in the right one: pytest-asyncio and
    # anyio disagree on how an asynchronous fixture is declared.
    item.obj = with_client
    yield client
    item.obj = test


class _Watch:
    """The servers of a test, and whether its body ran."""

    def __init__(self) -> None:
        self._servers: list[tuple[str, str, ComfyMock, list[AnyRule]]] = []
        self._body_ran = self._shown = False

    def add(self, fixture: str, server: ComfyMock, *, own_script: bool) -> None:
        """A server was made ready. Without a script of its own, the rules that it has now need not be used."""
        need_not = [] if own_script else [use.rule for use in server.rules]
        self._servers.append((fixture, server.url, server, need_not))

    def see(self, report: pytest.TestReport) -> None:
        """A phase of the test is over."""
        if report.when == "call":
            # one that is skipped or fails as expected is none that proves anything
            self._body_ran = report.outcome != "skipped"
        if report.failed and not self._shown:
            self._shown = True
            report.sections += self._timelines()

    def problems(self, allowed: set[str]) -> list[str]:
        """What is wrong though the test did not notice."""
        if not self._body_ran:
            return []
        from comfy_mock.server.journal_rules import unused_rules
        from comfy_mock.server.journal_unserved import unserved_requests

        found = []
        for fixture, _url, server, need_not in self._servers:
            complaints = {
                _UNUSED_RULES: unused_rules(use for use in server.rules if use.rule not in need_not),
                _UNSERVED_REQUESTS: unserved_requests(server.journal.unserved()),
            }
            found += [
                f"{fixture}: {complaint}\n\n{_how_to_allow(switch)}"
                for switch, complaint in complaints.items()
                if complaint and switch not in allowed
            ]
        return found

    def _timelines(self) -> list[tuple[str, str]]:
        from comfy_mock.server.timeline import timeline

        single = len(self._servers) == 1
        return [
            (TIMELINE if single else f"{TIMELINE} of {fixture} {url}", timeline(server.journal))
            for fixture, url, server, _need_not in self._servers
        ]


_WATCH = pytest.StashKey[_Watch]()
_CONFIGURED = pytest.StashKey[bool]()


def _how_to_allow(switch: str) -> str:
    return (
        f"To let that be: {_MARKER}({switch}=True) on the test, `pytestmark` in its module, or "
        f"`comfy_mock_{switch} = true` in the ini file"
    )


def _for_the_suite(config: pytest.Config, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the servers of all tests are made with: by the ini file, the fixture, the command line."""
    _check(options, "the fixture comfy_mock_options")
    clock, scripts = config.getini("comfy_mock_clock"), _scripts_of_the_suite(config)
    given = {"clock": config.getoption("--comfy-mock-clock"), "script": scripts.get("--comfy-mock-script")}
    return {
        **({"clock": clock} if clock else {}),
        **({"script": scripts["comfy_mock_script"]} if "comfy_mock_script" in scripts else {}),
        **options,
        **{name: value for name, value in given.items() if value is not None},
    }


def _scripts_of_the_suite(config: pytest.Config) -> dict[str, Path]:
    """The scenario files that the options name, by option."""
    beside = config.rootpath if config.inipath is None else config.inipath.parent
    given = {
        "comfy_mock_script": (beside, config.getini("comfy_mock_script")),
        "--comfy-mock-script": (config.invocation_params.dir, config.getoption("--comfy-mock-script")),
    }
    return {option: folder / name for option, (folder, name) in given.items() if name}


def _marked(node: pytest.Item) -> dict[str, Any]:
    """What the marks of a test say of its server, the nearest with the last word."""
    arguments: dict[str, Any] = {}
    for mark in reversed(list(node.iter_markers("comfy_mock"))):
        if mark.args:
            pytest.fail(
                f"{_MARKER} takes named arguments only, such as seed=7; it was given {mark.args[0]!r}", pytrace=False
            )
        _check(mark.kwargs, _MARKER, *_SWITCHES)
        for switch in _SWITCHES:
            if not isinstance(mark.kwargs.get(switch, False), bool):
                pytest.fail(f"{_MARKER}: {switch} is True or False, not {mark.kwargs[switch]!r}", pytrace=False)
        arguments.update(mark.kwargs)
    if "script" in arguments:
        arguments["script"] = _path(arguments["script"], node.path.parent)
    return {name: value for name, value in arguments.items() if name not in _SWITCHES}


def _switch(node: pytest.Item, name: str) -> bool:
    """Whether something is allowed in a test, by its nearest mark that says so or not, or by the ini file."""
    marks = (mark.kwargs[name] for mark in node.iter_markers("comfy_mock") if name in mark.kwargs)
    return bool(next(marks, node.config.getini(f"comfy_mock_{name}")))


def _path(script: Any, folder: Path) -> Any:
    """A scenario file as it is found from a folder; other scripts as they are."""
    return folder / script if isinstance(script, (str, Path)) else script


def _check(arguments: Mapping[str, Any], giver: str, *switches: str) -> None:
    from dataclasses import fields

    from comfy_mock.engine.options import Options

    known = ["clock", "speed", "storage", "catalogue", "script", *switches, *(field.name for field in fields(Options))]
    for name in arguments:
        if name not in known:
            from difflib import get_close_matches

            close = get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            pytest.fail(f"{giver} cannot set {name!r}{hint} It can set {', '.join(known)}", pytrace=False)
