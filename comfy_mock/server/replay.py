"""A server that answers as a recorded one did, to the byte, and to nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Union

from starlette.applications import Starlette

from comfy_contracts.har import Har, HarError, HarSource, load
from comfy_mock.server.network import ComfyMock
from comfy_mock.server.replay_app import ReplayApp
from comfy_mock.server.replay_miss import Miss
from comfy_mock.server.replay_recording import Recording, read_recording

if TYPE_CHECKING:
    from typing_extensions import Self

_LINES_MAX = 20


class NotAsRecorded(AssertionError):
    """A client has asked for what was not recorded, or not for all that was."""


class Replay:
    """Plays recordings of a ComfyUI server, strictly, on a real port.

        with Replay("run.har") as server:
            my_client(server.url)

    Each request must be one that was recorded (docs/learn.md says what counts), and gets the recorded answer; another
    one gets status 501, and a body that says what comes nearest. WebSockets are sent the recorded messages, each after
    the requests that it followed. `recordings` are paths, contents or `Har` objects, of `comfy-mock record` or a
    browser. Without a `speed` all comes at once; with one, what follows a request follows it as in the recording, so
    many times as fast. Port 0 takes a free one; `url` says which.

    When `with` is left without another error, `NotAsRecorded` is raised if there was anything `unmatched` or is
    anything `unused`, unless `check` is false. `async with` does the same without blocking the event loop.

    Raises `HarError` for a recording that is damaged or has nothing to replay, `ValueError` for no recordings or a
    wrong speed or port, and at the start `PortTaken`.
    """

    def __init__(
        self,
        *recordings: HarSource | Har,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float | None = None,
        check: bool = True,
    ) -> None:
        if not recordings:
            raise ValueError("a replay needs at least one recording")
        if speed is not None and not 0 < speed < float("inf"):
            raise ValueError(f"speed must be above 0, not {speed!r}; leave it out for no waiting at all")
        self._played = ReplayApp([_read(source, place) for place, source in enumerate(recordings)], speed)
        self._check = check
        # Of the fake only what listens is used: its app is replaced.
        self._fake = ComfyMock(host=host, port=port, control=False)
        self._fake.app = Starlette()
        self._fake.app.router.default = self._played

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end. Raises `RuntimeError` before the start."""
        return self._fake.url

    @property
    def app(self) -> Starlette:
        """The ASGI app, for those who need no port."""
        return self._fake.app

    @property
    def unmatched(self) -> list[Miss]:
        """What was asked and had no recorded answer, or was said on a WebSocket and had not been recorded there."""
        return list(self._played.unmatched)

    @property
    def unused(self) -> list[str]:
        """What was recorded, and has not been asked, opened or said yet. What only reads counts once it was asked once,
        however often it was recorded."""
        return self._played.unused()

    def assert_as_recorded(self) -> None:
        """Raises `NotAsRecorded` where something is `unmatched` or `unused`."""
        problems = self.problems()
        if problems:
            raise NotAsRecorded("\n".join(problems))

    def problems(self) -> list[str]:
        """What is `unmatched` and `unused`, in lines for people; none where all was as recorded."""
        lines = [
            *_listed("not as recorded", [str(miss) for miss in self._played.unmatched]),
            *_listed("recorded, but never asked for", self._played.unused()),
        ]
        untold = self._played.untold()
        if lines and untold:
            lines.append(f"{untold} recorded messages were not sent: what they follow has not come, or nobody listened")
        return lines

    def start(self) -> Self:
        """Serve from a background thread; returns when it is ready."""
        self._fake.start()
        return self

    def stop(self) -> None:
        """Close all connections and end the thread, or `serve` where that runs. Stopping twice is fine."""
        self._fake.stop()

    async def serve(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Serve in this event loop until cancelled or, in the main thread, until SIGINT or SIGTERM."""
        await self._fake.serve(on_ready)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if self._check and error is None:
            self.assert_as_recorded()

    async def __aenter__(self) -> Self:
        await self._fake.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._fake.__aexit__(kind, error, traceback)
        if self._check and error is None:
            self.assert_as_recorded()


def _read(source: Union[HarSource, Har], place: int) -> Recording:
    if isinstance(source, Har):
        return read_recording(f"recording {place}", source)
    if isinstance(source, bytes):
        return read_recording(f"recording {place}", load(source))
    file = Path(source) if isinstance(source, str) else source
    try:
        return read_recording(file.name, load(file))
    except OSError as problem:
        raise HarError(f"cannot read {file.name}: {problem.strerror or problem}") from problem


def _listed(what: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = len(items) - _LINES_MAX
    return [
        f"{what}:",
        *(f"  {item}" for item in items[:_LINES_MAX]),
        *([f"  … and {more} more"] if more > 0 else []),
    ]
