"""Runs of suites that use the pytest plugin."""

from __future__ import annotations

import httpcore  # which httpx imports late, and would then know only as the first of these runs had it
import pytest

# A run in this process forgets what it imports: imported here, it need not be imported by each.
import comfy_client
import comfy_mock.script
import comfy_mock.server.network
import comfy_mock.server.timeline

__all__ = ["comfy_client", "comfy_mock", "httpcore", "run", "run_here"]

_OPTIONS = ("-p", "no:cacheprovider", "-p", "no:randomly", "-W", "error", "--strict-markers")


def run(pytester: pytest.Pytester, *arguments: str, plugins: str = "no:asyncio") -> pytest.RunResult:
    """A run of the suite that lies there, in a process of its own, with warnings as errors.

    pytest-asyncio warns in every run that it is in.
    """
    return pytester.runpytest_subprocess(*_OPTIONS, "-p", plugins, *arguments, timeout=120)


def run_here(pytester: pytest.Pytester, *arguments: str, plugins: str = "no:asyncio") -> pytest.RunResult:
    """The same in this process, which takes a tenth of the time."""
    return pytester.runpytest_inprocess(*_OPTIONS, "-p", plugins, "-p", "no:xdist", *arguments)
