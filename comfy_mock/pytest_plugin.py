"""The pytest plugin: a fake ComfyUI server for every test that asks for one (docs/pytest.md).

pytest loads this module in every run, also where nobody uses it: what is heavy is imported where it is needed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from comfy_mock.server.network import ComfyMock

URL_VARIABLE = "COMFY_MOCK_URL"
"""The environment variable that has the URL of `comfy_mock` while a test uses it."""

_MARKER = "@pytest.mark.comfy_mock"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "comfy_mock(**arguments): configure the server of the fixture `comfy_mock`, for example "
        'clock="manual", seed=7, models={"loras": ["a.safetensors"]}',
    )


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


@pytest.fixture(name="comfy_mock")
def _comfy_mock(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    comfy_mock_options: Mapping[str, Any],
    _comfy_mock_server: ComfyMock,
) -> ComfyMock:
    """A fake ComfyUI server, fresh for each test: `comfy_mock.url`, also in $COMFY_MOCK_URL.

    Its clock is instant; `@pytest.mark.comfy_mock(clock="manual", ...)` configures it.
    """
    arguments = _arguments(request.node, comfy_mock_options)
    server = _comfy_mock_server
    if not server.running:  # the test before may have stopped it
        server.start()
    try:
        # never without arguments: that would keep the configuration of the test before
        server.reset(**{"clock": "instant", **arguments})
    except (OSError, ValueError) as problem:
        raise pytest.fail.Exception(f"comfy_mock cannot be configured like this: {problem}", pytrace=False) from None
    monkeypatch.setenv(URL_VARIABLE, server.url)
    return server


@pytest.fixture
def comfy_mock_factory(comfy_mock_options: Mapping[str, Any]) -> Iterator[Callable[..., ComfyMock]]:
    """Starts a server of its own at each call, with the arguments of `comfy_mock.ComfyMock`; all end with the test."""
    from comfy_mock.server.network import ComfyMock

    with contextlib.ExitStack() as servers:
        yield lambda **arguments: servers.enter_context(ComfyMock(**{**comfy_mock_options, **arguments}))


def _arguments(node: pytest.Item, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What the server of a test is made with: the defaults, and what its marks say, the nearest with the last word."""
    _check(defaults, "the fixture comfy_mock_options")
    arguments = dict(defaults)
    for mark in reversed(list(node.iter_markers("comfy_mock"))):
        if mark.args:
            pytest.fail(
                f"{_MARKER} takes named arguments only, such as seed=7; it was given {mark.args[0]!r}", pytrace=False
            )
        _check(mark.kwargs, _MARKER)
        arguments.update(mark.kwargs)
    return arguments


def _check(arguments: Mapping[str, Any], giver: str) -> None:
    from dataclasses import fields

    from comfy_mock.engine.options import Options

    known = ["clock", "speed", "storage", "catalogue", *(field.name for field in fields(Options))]
    for name in arguments:
        if name not in known:
            from difflib import get_close_matches

            close = get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            pytest.fail(f"{giver} cannot set {name!r}{hint} It can set {', '.join(known)}", pytrace=False)
