"""Clients as conformance sees them: given a URL and a workflow, they end in some way, or do not.

A command is any program. A function is called in a thread, so it can be given up on but not ended; a coroutine function
is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Union

URL_VARIABLE, WORKFLOW_VARIABLE = "COMFYUI_URL", "COMFYUI_WORKFLOW"
"""The environment variables that a command gets: the server's URL, and a file with a workflow in API format."""

ClientFunction = Callable[[str, dict[str, Any]], Union[Any, Awaitable[Any]]]
"""A client as a function of the URL and the workflow: returns the outputs, or raises."""

_TEXT_MAX = 300
_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Closed\w*)\b")


@dataclass(frozen=True)
class Ending:
    """How a client ended.

    * `outputs`: it returned some; `outputs` are by node id, as it gave them.
    * `failure`: it reported one, in so many words.
    * `crash`: it ended with an exit code or an exception, without saying that the run had failed.
    * `nothing`: it ended as if all were well, and said nothing that can be read.
    * `hang`: it had not ended when its time was over, and was ended.
    """

    kind: Literal["outputs", "failure", "crash", "nothing", "hang"]
    text: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)


class Client(Protocol):
    """Anything that can run a workflow."""

    def run(self, url: str, workflow: Mapping[str, Any], seconds: float) -> Ending:
        """Run a workflow on the server at `url`: how it ended, after at most so many seconds."""


@dataclass(frozen=True)
class Command:
    """A program. In its words `{url}` and `{workflow}` stand for the server's URL and the workflow file.

    Both are in the environment too, as `COMFYUI_URL` and `COMFYUI_WORKFLOW`. It runs in a folder of its own.
    `environment` are more variables.
    """

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, url: str, workflow: Mapping[str, Any], seconds: float) -> Ending:
        """Run the program, and end it with all that it started when its time is over. Raises `OSError`."""
        folder = Path(tempfile.mkdtemp(prefix="comfy-mock-conform-"))
        try:
            path = folder / "workflow.json"
            path.write_text(json.dumps(workflow), encoding="utf-8")
            return self._run(url, path, folder, seconds)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, url: str, path: Path, folder: Path, seconds: float) -> Ending:
        words = [word.replace("{url}", url).replace("{workflow}", str(path)) for word in self.words]
        environment = {**os.environ, **self.environment, URL_VARIABLE: url, WORKFLOW_VARIABLE: str(path)}
        said, logged = folder / "stdout", folder / "stderr"
        # files, not pipes: a grandchild that holds a pipe open would be waited for
        with said.open("wb") as stdout, logged.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 - what the user asks for
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=os.name != "nt",
            )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                return Ending("hang", _tail(logged) or _tail(said))
            finally:
                _end(process)
        return ending_of(code, _text(said), _tail(logged))


@dataclass(frozen=True)
class Function:
    """A Python function, or coroutine function, of the URL and the workflow."""

    function: ClientFunction

    def run(self, url: str, workflow: Mapping[str, Any], seconds: float) -> Ending:
        """Call the function in a thread of its own; one that does not end in time is left behind."""
        endings: list[Ending] = []

        def call() -> None:
            endings.append(self._call(url, dict(workflow), seconds))

        thread = threading.Thread(target=call, name="conformance client", daemon=True)
        thread.start()
        thread.join(seconds + (1 if inspect.iscoroutinefunction(self.function) else 0))
        return endings[0] if endings else Ending("hang")

    def _call(self, url: str, workflow: dict[str, Any], seconds: float) -> Ending:
        try:
            if inspect.iscoroutinefunction(self.function):
                returned = asyncio.run(_within(self.function(url, workflow), seconds))
            else:
                returned = self.function(url, workflow)
        except _TimeIsOver:
            return Ending("hang")
        except BaseException as problem:
            return Ending("crash", _shortened(f"{type(problem).__name__}: {problem}"))
        return _ending_with(returned)


class _TimeIsOver(Exception):
    """The time of a coroutine is over; not `TimeoutError`, which may be the client's own."""


async def _within(coroutine: Awaitable[Any], seconds: float) -> Any:
    doing = asyncio.ensure_future(coroutine)
    done, _ = await asyncio.wait([doing], timeout=seconds)
    if not done:
        doing.cancel()
        raise _TimeIsOver
    return doing.result()


def ending_of(code: int, said: str, logged: str = "") -> Ending:
    """How a program ended that left with this exit code, and printed this; `logged` is the end of its stderr."""
    line = said.rstrip().rpartition("\n")[2]
    try:
        printed = json.loads(line)
    except ValueError:
        printed = None
    if isinstance(printed, dict) and "error" in printed:
        return _ending_with(printed)
    if code:
        how = f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}"
        return Ending("crash", f"{how}: {logged}" if logged else how)
    if isinstance(printed, dict):
        return _ending_with(printed)
    return Ending("nothing", _shortened(line) or "no output")


def _ending_with(returned: Any) -> Ending:
    if not isinstance(returned, Mapping):
        return Ending("nothing", _shortened(repr(returned)))
    if "error" in returned:
        return Ending("failure", _shortened(str(returned["error"])))
    return Ending("outputs", _shortened(json.dumps(returned, default=str)), returned)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and, where that can be done, all that it has started."""
    if os.name != "nt":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        taskkill = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(taskkill, capture_output=True, check=False)  # noqa: S603 - Windows has no process groups
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _tail(path: Path) -> str:
    """What a program has said last, or rather the error that it ended with, as Python and Node.js print theirs."""
    # what Python complains of while it leaves comes after that, and is none
    lines = _text(path).partition("Exception ignored in")[0].splitlines()
    if any(line.startswith("Node.js v") for line in lines):
        stack = next((place for place, line in enumerate(lines) if line.startswith("    at ")), 0)
        return _shortened(lines[stack - 1].strip())
    errors = [line for line in lines if _ERROR.match(line)]
    if errors:
        return _shortened(errors[-1])
    spoken = [line.strip() for line in lines if any(map(str.isalpha, line))]
    return _shortened(spoken[-1] if spoken else "")


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 1]}…"
