"""What a journal holds: requests, prompts, WebSockets, messages and holds, each in a record of its own.

Times are simulated seconds since the epoch, as the server's clock has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, Union
from urllib.parse import unquote

from msgspec import UNSET

from comfy_contracts import jsontext
from comfy_mock.engine.answers import Answer
from comfy_mock.engine.clients import Payload
from comfy_mock.engine.script.matching import EventSubject, RequestSubject, SocketSubject
from comfy_mock.server.journal_payloads import data_of, nodes_of, prompt_id_of, type_of

ANSWER_BYTES_MAX = 64 * 1024
"""How much of an answer's body is kept."""


class Book(Protocol):
    """Where records stand, and who is told when one of them changes."""

    def handled(self, record: RequestRecord, answer: Answer) -> None:
        """The server itself has answered a request."""

    def answered(self, record: RequestRecord) -> None:
        """The exchange is over."""

    def ended(self, record: SocketRecord | HoldRecord, at: float) -> None:
        """A WebSocket is gone, or a hold was released."""


@dataclass(eq=False)
class RequestRecord:
    """A request, from its coming to its answer.

    `raw_path` is percent-encoded, without the query; `query` has the first value of each parameter, `headers` the first
    of each header under its lower-case name, `client` is the address of who asked. `route` is the path of the endpoint
    that served it, None where there is none; `rules` are the names of the script's rules that were used on it.

    `status`, `answer` (its first 64 KiB; `answer_bytes` is its whole length) and `ended_at` are what was sent; the
    status is None where nothing was, or not yet.
    """

    book: Book = field(repr=False)
    at: float
    method: str
    raw_path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    client: tuple[str, int] | None = None
    route: str | None = None
    rules: tuple[str, ...] = ()
    status: int | None = None
    answer: bytes = field(default=b"", repr=False)
    answer_bytes: int = 0
    ended_at: float | None = None
    prompt: PromptRecord | None = field(default=None, repr=False)

    def handled(self, answer: Answer) -> None:
        """For the shell: the endpoint's handler has answered. What is sent may be something else."""
        self.book.handled(self, answer)

    def answered(self, at: float, status: int | None, body: bytes = b"") -> None:
        """For the shell: the exchange is over. `status` is None where the connection broke off before its headers."""
        self.status, self.answer_bytes = status, len(body)
        self.answer = body if len(body) <= ANSWER_BYTES_MAX else body[:ANSWER_BYTES_MAX]
        self.ended_at = at
        self.book.answered(self)

    @property
    def path(self) -> str:
        """The path, decoded, without the `/api` that may stand before it."""
        return path_of(unquote(self.raw_path))

    @cached_property
    def json(self) -> Any:
        """The body as JSON; `UNSET` where it is none."""
        return json_of(self.body)

    @property
    def client_id(self) -> str | None:
        """The client id in the query or in the body."""
        given = self.query.get("clientId", self.query.get("client_id"))
        if given is None and self.body[:1] == b"{" and isinstance(self.json, dict):
            given = self.json.get("client_id")
        return given if isinstance(given, str) else None

    @property
    def subject(self) -> RequestSubject:
        """The request as rules see it."""
        return RequestSubject(self.method, self.path, self.query, self.client_id)

    @property
    def unserved(self) -> bool:
        """Whether neither a route nor a rule had an answer: it got a 404 or 405 for want of a route."""
        return self.route is None and not self.rules and self.status in (404, 405)


@dataclass(eq=False)
class PromptRecord:
    """A prompt that was posted, and what the server said to it; what its client was told is `request.status`.

    `place` is its place among those accepted, from 1; None where it was refused.
    """

    at: float
    request: RequestRecord
    answer_text: bytes = field(repr=False)
    place: int | None = None
    rules: tuple[str, ...] = ()

    @cached_property
    def answer(self) -> dict[str, Any]:
        """What the server answered, or a rule in its place; empty where that is no JSON object."""
        answer = json_of(self.answer_text)
        return answer if isinstance(answer, dict) else {}

    @property
    def accepted(self) -> bool:
        """Whether it came into the queue."""
        return self.place is not None

    @property
    def prompt_id(self) -> str | None:
        """The id that the server gave it or took over; of a refused one the id that it was posted with."""
        given = (self.answer if self.accepted else self._body).get("prompt_id")
        return given if isinstance(given, str) else None

    @property
    def number(self) -> float | None:
        """Its number in the queue; None where it was refused."""
        return self.answer.get("number") if self.accepted else None

    @property
    def refusal(self) -> dict[str, Any] | None:
        """What was answered instead: `error` and `node_errors`, empty where it was no JSON. None: it was accepted."""
        return None if self.accepted else self.answer

    @property
    def graph(self) -> dict[str, Any]:
        """The nodes by id, as they were posted."""
        graph = self._body.get("prompt")
        return graph if isinstance(graph, dict) else {}

    @property
    def client_id(self) -> str | None:
        """The client that its messages go to."""
        given = self._body.get("client_id")
        return given if isinstance(given, str) else None

    @property
    def _body(self) -> dict[str, Any]:
        body = self.request.json
        return body if isinstance(body, dict) else {}


@dataclass(eq=False)
class SocketRecord:
    """A WebSocket. `connection` is its place among those of the server, from 1.

    It is None where the upgrade was refused, with the status `refused`. `code` is the one that it was closed with; None
    while it is open, and where it broke off.
    """

    book: Book = field(repr=False)
    at: float
    connection: int | None
    client_id: str | None
    refused: int | None = None
    closed_at: float | None = None
    code: int | None = None
    rules: tuple[str, ...] = ()

    def closed(self, at: float, code: int | None) -> None:
        """For the shell: it is gone."""
        self.closed_at, self.code = at, code
        self.book.ended(self, at)

    @property
    def open(self) -> bool:
        """Whether it is open."""
        return self.connection is not None and self.closed_at is None

    @property
    def subject(self) -> SocketSubject:
        """The WebSocket as rules see it."""
        return SocketSubject(self.connection or 0, self.client_id)


@dataclass(eq=False)
class EventRecord:
    """A message that was handed over. `connections` are the WebSockets that it went to; it may be that none got it."""

    at: float
    payload: Payload
    connections: tuple[int, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """The type of a JSON message, or `preview`, `text` or `binary`."""
        return type_of(self.payload)

    @property
    def data(self) -> Any:
        """The `data` of a JSON message as plain data; `UNSET` for a binary one, and where there is none."""
        return data_of(self.payload)

    @property
    def prompt_id(self) -> str | None:
        """The prompt that it is about; None where it names none."""
        return prompt_id_of(self.payload)

    def subject(self, prompt: int | None = None) -> EventSubject:
        """The message as rules see it; `prompt` is the place of its prompt."""
        return EventSubject(self.type, nodes_of(self.payload), prompt)


@dataclass(eq=False)
class HoldRecord:
    """Something that a rule held; `released_at` is None while it does."""

    at: float
    name: str
    released_at: float | None = None
    rules: tuple[str, ...] = ()

    @property
    def held(self) -> bool:
        """Whether it is held still."""
        return self.released_at is None


@dataclass(eq=False)
class EndRecord:
    """A WebSocket is gone, or a hold was released: the place of that among the other records."""

    at: float
    of: SocketRecord | HoldRecord
    rules: tuple[str, ...] = ()


AnyRecord = Union[RequestRecord, PromptRecord, SocketRecord, EventRecord, HoldRecord, EndRecord]


def path_of(path: str) -> str:
    """A path without the `/api` that may stand before it (protocol 1.2)."""
    return path.removeprefix("/api") if path.startswith("/api/") else path


def json_of(text: bytes) -> Any:
    """The JSON value of a text; `UNSET` where it is none."""
    try:
        return jsontext.loads(text) if text else UNSET
    except (ValueError, RecursionError):
        return UNSET
