"""What a HAR has of runs: the prompts, what sockets heard of each, and the files and classes that were asked for."""

from __future__ import annotations

import gzip
import posixpath
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Union
from urllib.parse import parse_qs, urlsplit

from comfy_contracts import frames, jsontext, messages
from comfy_contracts.catalogue import Catalogue, CatalogueError
from comfy_contracts.frames import Frame, FrameError
from comfy_contracts.har import Entry, Har, Response, of_server
from comfy_contracts.messages import Message, MessageError
from comfy_contracts.results import queue_items

Said = Union[Message, Frame]
_AROUND_S = 1.0
"""How far apart one message may come to several sockets."""

FileKey = tuple[str, str, str]
"""Type, subfolder and name of a file."""


class Heard(NamedTuple):
    """A message that came to a socket; `time` in seconds since the epoch."""

    time: float
    said: Said


@dataclass
class Socket:
    """A recorded WebSocket: whose it was, what it heard, and when it was opened and closed."""

    client_id: str | None
    heard: list[Heard]
    opened: float
    closed: float


@dataclass
class RecordedRun:
    """A prompt that a recorded server accepted.

    `graph` is the prompt after validation where an answer shows it, else as it was posted. `outputs` are the nodes that
    the server ran as its outputs, None where no answer tells. `heard` is what was heard from its first message to its
    last, `shown` the outputs that the history had. `sockets` are all of the recording.
    """

    prompt_id: str
    graph: dict[str, Any]
    posted_at: float
    outputs: list[str] | None = None
    heard: list[Heard] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)
    sockets: list[Socket] = field(default_factory=list)


@dataclass
class Recorded:
    """All that is learned from in one HAR. `contents` has each file as often as it was fetched, with the time;
    `classes` are entries of `/object_info`; `chatter` the types of messages that come though nothing runs; `uploads`
    the names of files that clients uploaded."""

    runs: list[RecordedRun] = field(default_factory=list)
    contents: dict[FileKey, list[tuple[float, bytes]]] = field(default_factory=dict)
    classes: dict[str, dict[str, Any]] = field(default_factory=dict)
    chatter: set[str] = field(default_factory=set)
    uploads: set[str] = field(default_factory=set)

    def content(self, key: FileKey, after: float) -> bytes | None:
        """What a file held that was made at that time: as it was fetched next, else as it was fetched last."""
        fetched = self.contents.get(key)
        if not fetched:
            return None
        return next((content for time, content in fetched if time >= after), fetched[-1][1])


def read(har: Har) -> Recorded:
    """What a HAR has of runs. Raises `HarError` where a date or a body in it is garbled."""
    recorded = Recorded()
    runs: dict[str, RecordedRun] = {}
    exchanges = sorted(of_server(har).exchanges(), key=lambda entry: entry.started)
    for entry in exchanges:
        _note_exchange(recorded, runs, entry)
    sockets = [_socket(entry) for entry in of_server(har).sockets()]
    taken: set[int] = set()
    for run in runs.values():
        run.sockets = sockets
        run.heard = list(_heard_of(run.prompt_id, sockets, taken))
    in_runs = [heard for run in runs.values() for heard in run.heard]
    recorded.chatter = {
        heard.said.type
        for socket in sockets
        for heard in socket.heard
        if isinstance(heard.said, messages.Unknown) and id(heard) not in taken and not is_among(in_runs, heard)
    }
    recorded.runs = sorted(runs.values(), key=lambda run: run.heard[0].time if run.heard else run.posted_at)
    return recorded


def _note_exchange(recorded: Recorded, runs: dict[str, RecordedRun], entry: Entry) -> None:
    if entry.response.status != 200:
        return
    method, segments = entry.request.method, urlsplit(entry.request.url).path.strip("/").split("/")
    if method == "GET" and segments[-1] == "view":
        _note_file(recorded, entry)
    elif method == "POST" and segments[-1] == "prompt":
        _note_posted(runs, entry)
    elif method == "POST" and "upload" in segments:
        answer = _json(entry.response)
        recorded.uploads.add(posixpath.join(*(str(_field(answer, name) or "") for name in ("subfolder", "name"))))
    elif "object_info" in segments:
        _note_classes(recorded, _json(entry.response))
    elif {"history", "queue"} & set(segments):
        _note_items(runs, entry, _json(entry.response))


def _note_posted(runs: dict[str, RecordedRun], entry: Entry) -> None:
    sent, prompt_id = _loads(entry.request.body), _field(_json(entry.response), "prompt_id")
    graph = _field(sent, "prompt")
    if isinstance(prompt_id, str) and isinstance(graph, dict):
        runs.setdefault(prompt_id, RecordedRun(prompt_id, graph, entry.started))


def _note_items(runs: dict[str, RecordedRun], entry: Entry, value: Any) -> None:
    for _number, prompt_id, graph, _extra, outputs, *_more in queue_items(value):
        run = runs.setdefault(prompt_id, RecordedRun(prompt_id, graph, entry.started))
        run.graph, run.outputs = graph, outputs
    for prompt_id, run in runs.items():
        shown = _field(_field(value, prompt_id), "outputs")
        if isinstance(shown, dict):
            run.shown = shown


def _note_classes(recorded: Recorded, value: Any) -> None:
    for class_type, entry in value.items() if isinstance(value, dict) else ():
        try:
            Catalogue({class_type: entry})
        except CatalogueError:
            continue
        recorded.classes[class_type] = entry


def _note_file(recorded: Recorded, entry: Entry) -> None:
    query = {name: values[0] for name, values in parse_qs(urlsplit(entry.request.url).query).items()}
    content = _body(entry.response)
    is_whole = not {"preview", "channel"} & set(query) and entry.request.header("range") is None
    if is_whole and content is not None and "filename" in query:
        key = (query.get("type", "output"), query.get("subfolder", ""), query["filename"])
        recorded.contents.setdefault(key, []).append((entry.started, content))


# -- sockets


def _socket(entry: Entry) -> Socket:
    client_id = parse_qs(urlsplit(entry.request.url).query).get("clientId", [None])[0]
    heard = []
    for message in entry.messages:
        said = _said(message.payload) if message.type == "receive" else None
        if said is not None:
            heard.append(Heard(float(message.time), said))
            if isinstance(said, messages.Status) and said.sid is not None:
                client_id = said.sid
    # browsers do not tell when it was closed
    closed = max([entry.started + entry.time / 1000, *(each.time for each in heard)])
    return Socket(client_id, heard, entry.started, closed)


def _said(payload: str | bytes) -> Said | None:
    try:
        return messages.decode(payload) if isinstance(payload, str) else frames.decode(payload)
    except (MessageError, FrameError):
        return None


def _heard_of(prompt_id: str, sockets: list[Socket], taken: set[int]) -> Iterator[Heard]:
    """What was heard of a run, by the socket that heard most of it, and from where that one fell silent by another."""
    until = 0.0
    for heard in sorted((_slice(prompt_id, socket.heard) for socket in sockets), key=_order):
        taken.update(map(id, heard))
        if not heard or (heard[0].time < until and heard[-1].time <= until):
            continue
        for each in heard:
            if each.time > until:
                yield each
        until = heard[-1].time
        if any(_is_end(each.said) for each in heard):
            until = float("inf")


def _order(heard: list[Heard]) -> tuple[bool, float, int]:
    starts = bool(heard) and any(isinstance(each.said, messages.ExecutionStart) for each in heard)
    return not starts, heard[0].time if heard else 0.0, -len(heard)


def _slice(prompt_id: str, heard: list[Heard]) -> list[Heard]:
    of_run = [index for index, each in enumerate(heard) if prompt_of(each.said) == prompt_id]
    if not of_run:
        return []
    between = heard[of_run[0] : of_run[-1] + 1]
    return [each for each in between if prompt_of(each.said) in (prompt_id, None)]


def prompt_of(said: Said) -> str | None:
    """The prompt that a message speaks of, None where it names none."""
    prompt_id = getattr(said, "prompt_id", None)
    if isinstance(said, messages.Unknown):
        prompt_id = _field(said.data, "prompt_id")
    return prompt_id if isinstance(prompt_id, str) else None


def _is_end(said: Said) -> bool:
    return isinstance(said, messages.Executing) and said.node is None


def is_among(others: Iterable[Heard], heard: Heard) -> bool:
    """Whether one of the others is the same message, as it came to another socket."""
    return any(abs(other.time - heard.time) < _AROUND_S and other.said == heard.said for other in others)


# -- bodies


def _body(response: Response) -> bytes | None:
    """The body as it was before it was packed; None where it was not kept, or cannot be unpacked."""
    body, packed = response.body, (response.header("content-encoding") or "").lower()
    try:
        if body and packed == "gzip" and body[:2] == b"\x1f\x8b":  # browsers keep it unpacked
            return gzip.decompress(body)
        return zlib.decompress(body) if body and packed == "deflate" and body[:1] == b"\x78" else body
    except (OSError, EOFError, zlib.error):
        return None


def _json(response: Response) -> Any:
    return _loads(_body(response) or b"")


def _loads(content: bytes) -> Any:
    try:
        return jsontext.loads(content)
    except (ValueError, RecursionError):
        return None


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
