# Written by client/make_sync.py from _async_jobs.py: change that one.
"""Prompts that were submitted, and what they made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from comfy_client import _calls as calls
from comfy_client._errors import (
    ClientClosed,
    ExecutionFailed,
    ExecutionInterrupted,
    PromptLost,
    ServerError,
    WaitTimeout,
)
from comfy_client._listeners import check_listener
from comfy_client._models import OutputFile, SocketImage, output_files, output_texts
from comfy_client._prompt_state import Phase, Progress, PromptState
from comfy_client._prompts import FollowPath
from comfy_client._sync_io import each
from comfy_client._sync_link import Link
from comfy_client.events import Event
from comfy_client.images import Metadata, read_metadata, save_file, to_pil
from comfy_contracts.prompts import NodeErrors
from comfy_contracts.results import HistoryEntry

if TYPE_CHECKING:
    import PIL.Image
    from typing_extensions import Self

T = TypeVar("T")

_FOREVER = float("inf")


@dataclass(frozen=True)
class Output:
    """A file that a prompt made, on the server until it is read. Equal ones are the same file of the same node."""

    file: OutputFile
    _link: Link = field(repr=False, compare=False)
    _kept: list[bytes] = field(default_factory=list, repr=False, compare=False)

    @property
    def node_id(self) -> str:
        """The node that shows it."""
        return self.file.node_id

    @property
    def filename(self) -> str:
        """The server's name for it."""
        return self.file.filename

    @property
    def url(self) -> str:
        """Where it can be fetched."""
        return str(self._link.request("GET", "/view", params=self._params()).url)

    def read(self) -> bytes:
        """Its content; fetched once. Raises `NotFound` where the server has it no longer, and as all calls do."""
        if not self._kept:
            self._kept.append(self._link.call(calls.view(self._params())))
        return self._kept[0]

    def pil(self) -> PIL.Image.Image:
        """The picture as Pillow has it."""
        return to_pil(self.read())

    def metadata(self) -> Metadata:
        """The prompt and workflow that ComfyUI wrote into the picture."""
        return read_metadata(self.read())

    def save(self, to: str | os.PathLike[str] | None = None, *, overwrite: bool = False) -> Path:
        """Write it to a file and return where; `to` is a folder or a path, as for `images.save_file`."""
        return save_file(self.read(), self.filename, to, overwrite=overwrite)

    def _params(self) -> dict[str, str]:
        return calls.view_params(self.file.filename, self.file.subfolder, self.file.type)


@dataclass(frozen=True)
class Result:
    """What a prompt made. Runs that made the same are equal, whichever way they were followed.

    `outputs` is what its nodes showed, by node id (protocol 7.2). `entry` is its entry in the history; None where that
    was cleared before it could be read, and `outputs` is what messages told. `files` are its files, in the order of the
    outputs.

    `socket_images` are the pictures that nodes sent over the WebSocket and wrote to no file (`SaveImageWebsocket`), of
    prompts that this client submitted. They do not count for equality: the server sends them once, so nobody can have
    them by polling, or where the socket was lost.
    """

    prompt_id: str = field(compare=False)
    outputs: Mapping[str, dict[str, Any]]
    entry: HistoryEntry | None = field(repr=False, compare=False)
    files: list[Output] = field(repr=False, compare=False)
    socket_images: list[SocketImage] = field(default_factory=list, repr=False, compare=False)

    def fetch(self) -> Self:
        """Fetch all files now, as `Output.read` does, several at a time where the client is asynchronous; this result.

        Raises what the first one that cannot be fetched raises; those that were fetched are kept.
        """
        each([output.read for output in self.files])
        return self

    @property
    def images(self) -> list[Output]:
        """The files that are pictures, previews too."""
        return [output for output in self.files if output.file.is_image]

    def reduce(self, resolver: Callable[[T, dict[str, Any], str], T], start: T) -> T:
        """Fold the outputs: `resolver` is called with what it returned last, an output, and the id of its node."""
        for node_id, output in self.outputs.items():
            start = resolver(start, output, node_id)
        return start

    @property
    def texts(self) -> dict[str, tuple[str, ...]]:
        """What nodes showed as text, by node id."""
        return output_texts(self.outputs)


def result_of(state: PromptState, link: Link) -> Result:
    """What a prompt that is over made. Raises `ExecutionFailed`, `ExecutionInterrupted` or `PromptLost`."""
    if state.phase == "error":
        raise ExecutionFailed(state.prompt_id, state.error, state.outputs)
    if state.phase == "interrupted":
        raise ExecutionInterrupted(state.prompt_id, state.interrupted, state.outputs)
    if state.phase == "lost":
        raise PromptLost(state.prompt_id)
    files = [Output(file, link) for file in output_files(state.outputs)]
    return Result(state.prompt_id, dict(state.outputs), state.entry, files, list(state.sent))


def _until(timeout: float | None) -> float:
    if timeout is not None and timeout != timeout:
        raise ValueError(f"a timeout is a number of seconds, or None to wait for ever, not {timeout}")
    return _FOREVER if timeout is None else time.monotonic() + timeout


class Events:
    """The events of one prompt, from its beginning on; ends after `Ended`.

    A reader may be slow: of what waits for it, stale positions, progress and previews are dropped beyond a thousand.
    """

    def __init__(self, link: Link, state: PromptState) -> None:
        self._link, self._state = link, state
        self._reader = link.subscribe(state)

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> Event:
        """The next event. Raises as `Job.wait` does, but for the timeout."""
        while True:
            ended = self._state.ended
            event = self._link.next_event(self._reader)
            if event is not None:
                return event
            if ended:
                self._link.settle()
                raise StopIteration
            self._link.advance(self._state, _FOREVER)


class Job:
    """A prompt in the server's hands. Made by `submit`, or by `job` for one that was submitted before."""

    def __init__(self, link: Link, state: PromptState) -> None:
        self._link, self._state = link, state
        self._result: Result | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.prompt_id}: {self._state.phase}>"

    @property
    def prompt_id(self) -> str:
        """Its id."""
        return self._state.prompt_id

    @property
    def number(self) -> int | float | None:
        """Its place in the queue, lowest first; None while unknown, for one that was submitted before."""
        return self._state.number

    @property
    def node_errors(self) -> dict[str, NodeErrors]:
        """What is wrong with outputs that will not run, where others will (protocol 3.4)."""
        return dict(self._state.node_errors)

    @property
    def phase(self) -> Phase:
        """How far it is, as far as is known; see `status`."""
        return self._state.phase

    def progress(self) -> Progress:
        """How far it is, as far as is known: it is learned while somebody waits."""
        return self._link.progress(self._state)

    def on_progress(self, listener: Callable[[Progress], None]) -> Callable[[], None]:
        """Call `listener` whenever something happens to it, while somebody waits; what is returned takes it off.

        Raises `TypeError` for a function that must be awaited: nobody would.
        """
        check_listener(listener)
        self._state.progress_listeners.append(listener)

        def off() -> None:
            if listener in self._state.progress_listeners:
                self._state.progress_listeners.remove(listener)

        return off

    def events(self) -> Events:
        """What happens to it, from the beginning on."""
        return Events(self._link, self._state)

    def status(self) -> Phase:
        """How far it is: asks the server. `lost` is one that it does not know at this moment; `wait` asks again."""
        return self._state.phase if self._state.ended else self._link.look(self._state)

    def wait(self, timeout: float | None = None) -> Phase:
        """Wait until it is over, and say how it ended: `success`, `error`, `interrupted` or `lost`.

        `timeout` is in seconds. Raises `WaitTimeout` after it, and `ServerUnreachable` or `ServerError` where the
        server has not answered for long, or says that it wants other credentials, and `ProtocolError` where nobody can
        read what it says; the prompt may go on then, and can be waited for again.
        """
        until = _until(timeout)
        try:
            while not self._state.ended:
                if timeout is not None and time.monotonic() >= until:
                    raise WaitTimeout(f"prompt {self.prompt_id}", timeout, self._state.phase)
                self._link.advance(self._state, until)
        finally:
            if self._state.ended:
                self._link.settle()
        return self._state.phase

    def result(self, timeout: float | None = None) -> Result:
        """Wait until it is over, and return what it made.

        Raises as `wait` does; `ExecutionFailed`, `ExecutionInterrupted` or `PromptLost` where it did not end well.
        """
        self.wait(timeout)
        if self._result is None:
            self._result = result_of(self._state, self._link)
        return self._result

    def cancel(self) -> bool:
        """Take it out of the queue, or interrupt it; whether there was something to cancel.

        It is over a moment later: wait for that. Never touches another prompt, also on servers that know no cancelling.
        """
        if self._state.ended:
            return False
        try:
            return self._link.cancel(calls.cancel_job(self.prompt_id), self._state)
        except ServerError as error:
            if error.status not in (404, 405):
                raise
        cancelled = self._cancel_on_old_server()
        if cancelled:
            self._link.cancelled(self._state)
        return cancelled

    def _cancel_on_old_server(self) -> bool:
        before = self._link.call(calls.queue())
        self._link.call(calls.change_queue(delete=[self.prompt_id]))
        after = self._link.call(calls.queue())
        if any(item.prompt_id == self.prompt_id for item in after.queue_running):
            # Servers before 0.3.56 ignore the id and interrupt what runs: that is this prompt.
            self._link.call(calls.interrupt(self.prompt_id))
            return True
        return any(item.prompt_id == self.prompt_id for item in before.queue_pending)


class Listening:
    """Everything that comes over the socket, as (name, message or frame); see `Client.listen`."""

    def __init__(self, link: Link, timeout: float | None, path: FollowPath, poll_interval: float) -> None:
        self._link = link
        self._tap = link.tap()
        self._path = path
        self._poll_interval = poll_interval
        self._until = _until(timeout)

    @property
    def dropped(self) -> int:
        """How many events were dropped because they were not read in time."""
        return self._tap.dropped

    def __iter__(self) -> Listening:
        return self

    def __next__(self) -> tuple[str, Any]:
        """The next event; ends when the time is over, or the client is closed."""
        while True:
            version = self._tap.version
            event = self._link.pop(self._tap)
            if event is not None:
                return event
            if time.monotonic() >= self._until:
                raise StopIteration
            try:
                self._link.listen(self._tap, version, self._until, self._path, self._poll_interval)
            except ClientClosed:
                raise StopIteration from None
