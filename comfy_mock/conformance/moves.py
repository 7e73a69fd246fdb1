"""What happens around a client while it runs: others' prompts, an interruption, a second socket, as data.

A situation has a list of moves, which are played one after the other on a stage. One that waits for something waits
until it is there, or until the client has ended.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from comfy_mock.conformance.workflows import quick
from comfy_mock.script import on_socket
from comfy_mock.server.journal_records import PromptRecord
from comfy_mock.server.network import ComfyMock

FAULT = "fault"
"""The name of the rules that are what a situation is about: where none was used, it did not come up."""

_LOOK_S = 0.01
_OTHERS = "00000000-0000-4000-8000-"
"""What the ids of others' prompts begin with."""


class Over(Exception):
    """The client has ended: there is nothing more to play."""


@dataclass(eq=False)
class Stage:
    """A server, and whether the client is done with it."""

    server: ComfyMock
    over: threading.Event = field(default_factory=threading.Event)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait until this is so. Raises `Over` when the client has ended."""
        while not is_so():
            if self.over.wait(_LOOK_S):
                raise Over

    @property
    def prompts(self) -> list[PromptRecord]:
        """The client's prompts that were accepted."""
        return [record for record in self.server.journal.prompts() if not is_others(record.prompt_id)]

    def prompt(self) -> PromptRecord:
        """The client's first prompt, once it was accepted. Raises `Over` when the client has ended."""
        self.wait_until(lambda: bool(self.prompts))
        return self.prompts[0]

    def ended(self, prompt_id: str | None) -> bool:
        """Whether a prompt is over."""
        return prompt_id in self.server.engine.queue.history

    @contextlib.contextmanager
    def http(self) -> Iterator[httpx.Client]:
        """Requests of others; that the server is gone does not matter to them."""
        with (
            contextlib.suppress(httpx.HTTPError),
            httpx.Client(base_url=self.server.url, trust_env=False, verify=False, timeout=5) as http,  # noqa: S501 - http
        ):
            yield http


def is_others(prompt_id: str | None) -> bool:
    """Whether a prompt was posted by a move, and not by the client."""
    return (prompt_id or "").startswith(_OTHERS)


class Move:
    """Something that happens around the client."""

    def play(self, stage: Stage) -> None:
        """Let it happen. Raises `Over` where it waits, and the client has ended."""
        raise NotImplementedError


@dataclass(frozen=True)
class Posted(Move):
    """Wait until the client's prompt was accepted."""

    def play(self, stage: Stage) -> None:
        stage.prompt()


@dataclass(frozen=True)
class Held(Move):
    """Wait until something is held under this name."""

    name: str

    def play(self, stage: Stage) -> None:
        stage.wait_until(lambda: self.name in stage.server.held)


@dataclass(frozen=True)
class Ended(Move):
    """Wait until the client's prompt is over."""

    def play(self, stage: Stage) -> None:
        prompt_id = stage.prompt().prompt_id
        stage.wait_until(lambda: stage.ended(prompt_id))


@dataclass(frozen=True)
class Pause(Move):
    """So many real seconds pass."""

    seconds: float

    def play(self, stage: Stage) -> None:
        if stage.over.wait(self.seconds):
            raise Over


@dataclass(frozen=True)
class Release(Move):
    """Release what is held under this name."""

    name: str

    def play(self, stage: Stage) -> None:
        stage.server.release(self.name)


@dataclass(frozen=True)
class ResumeQueue(Move):
    """Let the prompts that wait run."""

    def play(self, stage: Stage) -> None:
        stage.server.resume_queue()


@dataclass(frozen=True)
class OtherPrompt(Move):
    """Somebody posts a prompt: with the `client`'s own id, with another, or with none. With `front` it is the next.

    With `waits` it is over before the next move, and has been posted before the client starts.
    """

    graph: Mapping[str, Any] = field(default_factory=lambda: quick(width=24, height=24))
    client: Literal["same", "other", "none"] = "none"
    front: bool = False
    waits: bool = False

    def play(self, stage: Stage) -> None:
        prompt_id = f"{_OTHERS}{uuid.uuid4().hex[:12]}"
        body: dict[str, Any] = {"prompt": self.graph, "prompt_id": prompt_id, "front": self.front}
        if self.client == "other":
            body["client_id"] = "somebody else"
        elif self.client == "same":
            body["client_id"] = stage.prompt().client_id
        with stage.http() as http:
            http.post("/prompt", json=body)
        if self.waits:
            stage.wait_until(lambda: stage.ended(prompt_id))


@dataclass(frozen=True)
class Interrupt(Move):
    """Somebody interrupts what runs."""

    def play(self, stage: Stage) -> None:
        with stage.http() as http:
            http.post("/interrupt")


@dataclass(frozen=True)
class Delete(Move):
    """Somebody takes the client's prompt out of the queue."""

    def play(self, stage: Stage) -> None:
        prompt_id = stage.prompt().prompt_id
        with stage.http() as http:
            http.post("/queue", json={"delete": [prompt_id]})


@dataclass(frozen=True)
class Drop(Move):
    """The client's WebSocket breaks off without a word, is closed with `code`, or falls silent."""

    end: Literal["abort", "close", "silence"] = "abort"
    code: int = 1001

    def play(self, stage: Stage) -> None:
        client_id = stage.prompt().client_id
        stage.server.add_rules(on_socket(name=FAULT, client_id=client_id, end=self.end, code=self.code, times=1))


@dataclass(frozen=True)
class Deafen(Move):
    """A second WebSocket with the client's id opens and closes, and the first gets nothing any more (protocol 6.2)."""

    def play(self, stage: Stage) -> None:
        client_id = stage.prompt().client_id
        if client_id is None:
            return
        url = f"{stage.server.url.replace('http', 'ws', 1)}/ws?clientId={quote(client_id, safe='')}"
        with contextlib.suppress(OSError, WebSocketException), connect(url, proxy=None) as socket:
            socket.recv(timeout=5)
        # its end must have been noticed before anything more is sent
        second = stage.server.journal.sockets(client_id=client_id)[-1:]
        stage.wait_until(lambda: not any(record.open for record in second))
