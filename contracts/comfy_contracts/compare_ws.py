"""WebSocket connections made comparable, and compared (the rules stand in `equivalence`)."""

from __future__ import annotations

import difflib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from comfy_contracts import frames, jsontext
from comfy_contracts.canonical import Canon, dumps
from comfy_contracts.compare_http import mask_files, read_headers
from comfy_contracts.difference import NOTHING, Difference, differences, found_by
from comfy_contracts.equivalence import ENDS, STREAM_RULE
from comfy_contracts.har import Entry
from comfy_contracts.media_facts import picture_facts

OTHER_FORM = "not in Python's default form"
"""The key under which a message stands that is not written as Python's default dump writes it (protocol 1.1)."""

NUMBER_OF_STATUSES = "number of statuses"
"""The kind of the message that stands for how many there were, where a rule leaves statuses no place."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message without what is free.

    `kind` is its type, or `binary <event>`; `prompt` the run it belongs to; `time` when it came, in epoch seconds.
    """

    kind: str
    value: Any
    prompt: str | None
    time: float = 0.0

    @property
    def data(self) -> dict[str, Any]:
        """The `data` of the message, empty where it is no object."""
        data = self.value.get("data") if isinstance(self.value, dict) else None
        return data if isinstance(data, dict) else {}

    @property
    def queue_remaining(self) -> int:
        """The length of the queue that a `status` tells; 0 where it tells none."""
        try:
            return int(self.data["status"]["exec_info"]["queue_remaining"])
        except (KeyError, TypeError, ValueError):
            return 0


@dataclass(frozen=True, slots=True)
class Connection:
    """A socket: its handshake, what the server sent, and the code with which it was closed."""

    index: int
    request: str
    status: int
    headers: dict[str, str]
    close: int | None
    messages: list[Message]


@dataclass(frozen=True, slots=True)
class Leniency:
    """Which of the stream rules apply to a pair of traffics; prompts are given by name.

    `equal_numbers` has groups of prompts in the order in which they were posted. `reordered` ran their outputs in
    another order, `unordered` have several outputs in an order that nothing tells. `failed_late` are all prompts from
    the first on that failed in another order.
    """

    overlap: bool = False
    race: bool = False
    equal_numbers: tuple[tuple[str, ...], ...] = ()
    reordered: frozenset[str] = frozenset()
    unordered: frozenset[str] = frozenset()
    failed_late: frozenset[str] = frozenset()

    @property
    def key_order(self) -> bool:
        """Whether the order of keys counts."""
        return not (self.equal_numbers or self.reordered)


def read_connections(entries: Sequence[Entry], canon: Canon) -> list[Connection]:
    """The connections of a traffic, in their order. Ids new in the k-th are named `s<k>`."""
    connections = []
    for index, entry in enumerate(entries):
        canon.at(f"s{index}")
        url = urlsplit(entry.request.url)
        close = entry.web_socket_close
        connections.append(
            Connection(
                index,
                canon.text(f"{url.path}?{url.query}"),
                entry.response.status,
                read_headers(entry.response, canon),
                getattr(close, "code", None),
                _read_messages(entry, canon),
            )
        )
    return connections


def _read_messages(entry: Entry, canon: Canon) -> list[Message]:
    messages = []
    running: str | None = None
    for message in entry.messages:
        if message.type != "receive":
            continue
        payload = message.payload
        if isinstance(payload, bytes):
            # Frames do not all tell their prompt; they belong to the run that spoke last.
            read = _read_frame(payload, canon, running)
        else:
            read = _read_text(payload, canon)
            running = read.prompt or running
        messages.append(replace(read, time=float(message.time)))
    return messages


def _read_text(text: str, canon: Canon) -> Message:
    try:
        value = jsontext.loads(text)
    except (ValueError, RecursionError):
        return Message("text", canon.text(text), None)
    kind = str(value.get("type")) if isinstance(value, dict) else "text"
    found = canon.json(value, [f"socket {kind}"])
    if text != jsontext.dumps(value):
        return Message(kind, {OTHER_FORM: found}, None)
    message = Message(kind, found, None)
    prompt = message.data.get("prompt_id")
    return replace(message, prompt=prompt if isinstance(prompt, str) else None)


def _read_frame(payload: bytes, canon: Canon, running: str | None) -> Message:
    try:
        frame = frames.decode(payload)
    except frames.FrameError as error:
        return Message("broken frame", {"broken": str(error)}, running)
    value: dict[str, Any]
    if isinstance(frame, frames.PreviewFrame):
        value = {"binary": 1, "format": frame.format_name, "image": picture_facts(frame.image)}
    elif isinstance(frame, frames.TextFrame):
        value = {"binary": 3, "node_id": canon.text(frame.node_id), "text": canon.text(frame.text)}
    elif isinstance(frame, frames.PreviewWithMetadata):
        metadata = canon.json(frame.to_builtins(), ["socket binary 4"])
        value = {"binary": 4, "metadata": metadata, "image": picture_facts(frame.image)}
    else:
        event = frame.event if isinstance(frame, frames.UnknownFrame) else frames.UNENCODED_PREVIEW_IMAGE
        value = {"binary": event, "sha256": hashlib.sha256(frame.payload).hexdigest()}
    return Message(f"binary {value['binary']}", value, running)


# Comparing


def compare_connections(
    expected: Sequence[Connection], got: Sequence[Connection], leniency: Leniency
) -> Iterator[Difference]:
    """Every difference between the sockets of two traffics."""
    if len(expected) != len(got):
        yield Difference("number of sockets", len(expected), len(got), "sockets")
    for left, right in zip(expected, got, strict=False):
        where = f"socket {left.index}"
        yield from found_by("sockets", _compare_handshakes(left, right, where))
        if left.close is not None:
            yield from found_by("closing", differences(left.close, right.close, f"{where} close code"))
        yield from found_by("messages", _compare_streams(left.messages, right.messages, where, leniency))


def _compare_handshakes(expected: Connection, got: Connection, where: str) -> Iterator[Difference]:
    yield from differences(expected.request, got.request, f"{where} request")
    yield from differences(expected.status, got.status, f"{where} status")
    yield from differences(expected.headers, got.headers, f"{where} headers", key_order=False)


def _compare_streams(
    expected: list[Message], got: list[Message], where: str, leniency: Leniency
) -> Iterator[Difference]:
    for part, left, right in softened_streams(expected, got, leniency, cut_runs(expected)):
        yield from _align(left, right, f"{where}{part}", leniency.key_order)


def softened_streams(
    expected: list[Message], got: list[Message], leniency: Leniency, cut: frozenset[str]
) -> Iterator[tuple[str, list[Message], list[Message]]]:
    """What the stream rules leave of two streams: the messages without a place, if any, and the others.

    The first of three is what such a part is called, nothing for the others. `cut` are the runs of `cut_runs`.
    """
    softeners: list[Callable[[list[Message]], list[Message]]] = [
        lambda messages: _only_ends(messages, leniency.failed_late),
        lambda messages: _without_steps(messages, cut),
        lambda messages: _in_posted_order(messages, leniency.equal_numbers),
    ]
    for soften in softeners:
        expected, got = soften(expected), soften(got)
    several = (leniency.reordered | leniency.unordered) - cut
    reordered = {prompt for prompt in several if _run(expected, prompt) != _run(got, prompt)}
    expected, got = _in_blocks(expected, reordered), _in_blocks(got, reordered)
    if leniency.overlap or leniency.race:
        statuses = _last_of if leniency.race else _without_repeats
        yield " statuses", statuses(expected), statuses(got)
        expected, got = _placed(expected), _placed(got)
    yield "", expected, got


def _run(messages: list[Message], prompt: str) -> list[str]:
    return [dumps(message.value, sort_keys=False) for message in messages if message.prompt == prompt]


def _align(expected: list[Message], got: list[Message], where: str, key_order: bool) -> Iterator[Difference]:
    """Compare two streams message by message, so that a missing one does not make all that follow it differ."""
    for tag, start, end, got_start, got_end in _opcodes(expected, got, key_order):
        if tag == "replace" and end - start == got_end - got_start:
            for index, other in zip(range(start, end), got[got_start:got_end], strict=True):
                place = f"{where} message {index} ({expected[index].kind})"
                yield from differences(expected[index].value, other.value, place, key_order=key_order)
        elif tag != "equal":
            for index in range(start, end):
                yield Difference(f"{where} message {index}", expected[index].value, NOTHING)
            for other in got[got_start:got_end]:
                yield Difference(f"{where} after message {start - 1}", NOTHING, other.value)


def _opcodes(expected: list[Message], got: list[Message], key_order: bool) -> Sequence[tuple[str, int, int, int, int]]:
    left = [dumps(message.value, sort_keys=not key_order) for message in expected]
    right = [dumps(message.value, sort_keys=not key_order) for message in got]
    if left == right:
        return []
    if [message.kind for message in expected] == [message.kind for message in got]:
        return [("replace", 0, len(left), 0, len(right))]
    return difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes()


# The stream rules


def _differ(left: Any, right: Any) -> bool:
    """Whether two values are not the same, in types and order of keys too: in Python 1 and 1.0 are equal."""
    return dumps(left, sort_keys=False) != dumps(right, sort_keys=False)


def _nodes(message: Message) -> dict[str, dict[str, Any]]:
    """The nodes of a `progress_state`; whatever has not its shape counts as empty."""
    nodes = message.data.get("nodes")
    entries = nodes.items() if isinstance(nodes, dict) else ()
    return {node: entry if isinstance(entry, dict) else {} for node, entry in entries}


def cut_runs(messages: list[Message]) -> frozenset[str]:
    """The runs of which this socket saw an unknown number of steps: interrupted, or seen without start or end."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for message in messages:
        if message.prompt is not None:
            seen[message.prompt].add(message.kind)
    # A broadcast run (no client id) shows progress too, but neither start nor end: all of it is seen.
    return frozenset(
        prompt
        for prompt, kinds in seen.items()
        if "execution_interrupted" in kinds
        or ("progress" in kinds and ("execution_start" in kinds) != (not kinds.isdisjoint(ENDS)))
    )


_CUT = STREAM_RULE["cut run"].words
_STEPS = _CUT["only the first counts"]
_PREVIEWS = _CUT["only the first counts, where the run succeeds"]
_FREE_IN_STEPS = _CUT["fields that are free"]
_ONLY_STATES = _CUT["only the states of nodes count"]


def _without_steps(messages: list[Message], cut: frozenset[str]) -> list[Message]:
    """Rule "cut run"."""
    finished = {message.prompt for message in messages if message.kind == "execution_success"}
    kept: list[Message] = []
    states: dict[str, Any] = {}
    once: set[tuple[str, str]] = set()
    for message in messages:
        prompt = message.prompt
        if prompt is None or prompt not in cut:
            kept.append(message)
        elif message.kind in _ONLY_STATES:
            state = {node: entry.get("state") for node, entry in _nodes(message).items()}
            if _differ(states.get(prompt), state):
                states[prompt] = state
                kept.append(replace(message, value={"type": message.kind, "prompt_id": prompt, "states": state}))
        elif message.kind in (*_STEPS, *_PREVIEWS):
            # An interrupted run may end before its first preview; one that goes on to its end has some.
            if (prompt, message.kind) not in once and (message.kind in _STEPS or prompt in finished):
                once.add((prompt, message.kind))
                kept.append(_step(message))
        else:
            kept.append(message)
    return kept


def _step(message: Message) -> Message:
    if message.kind not in _STEPS:
        return message
    data = {key: item for key, item in message.data.items() if key not in _FREE_IN_STEPS}
    return replace(message, value={**message.value, "data": data})


def _in_posted_order(messages: list[Message], groups: tuple[tuple[str, ...], ...]) -> list[Message]:
    """Rule "equal numbers": the runs of a group in the order of posting, on the places that they took together."""
    messages = list(messages)
    for group in groups:
        places = [index for index, message in enumerate(messages) if message.prompt in group]
        ordered = [messages[index] for prompt in group for index in places if messages[index].prompt == prompt]
        for index, message in zip(places, ordered, strict=True):
            messages[index] = message
    return messages


def _without_repeats(messages: list[Message]) -> list[Message]:
    """Rule "overlap": the statuses without neighbours that are equal, then how many there were."""
    floating = _floating(messages, "overlap")
    changes = [one for index, one in enumerate(floating) if index == 0 or _differ(one.value, floating[index - 1].value)]
    return [*changes, _number_of(floating)]


def _last_of(messages: list[Message]) -> list[Message]:
    """Rule "race": the last status, and how many there were."""
    floating = _floating(messages, "race")
    return [*floating[-1:], _number_of(floating)]


_NO_PLACE = "messages that have no place"


def _floating(messages: list[Message], rule: str) -> list[Message]:
    return [message for message in messages if message.kind in STREAM_RULE[rule].words[_NO_PLACE]]


def _number_of(statuses: list[Message]) -> Message:
    return Message(NUMBER_OF_STATUSES, {"statuses": len(statuses)}, None)


def _placed(messages: list[Message]) -> list[Message]:
    floating = {*STREAM_RULE["overlap"].words[_NO_PLACE], *STREAM_RULE["race"].words[_NO_PLACE]}
    return [message for message in messages if message.kind not in floating]


_LATE = STREAM_RULE["failed in another order"].words


def _only_ends(messages: list[Message], prompts: frozenset[str]) -> list[Message]:
    """Rule "failed in another order": of these runs only how they began and ended."""
    kept = []
    for message in messages:
        if message.prompt not in prompts:
            kept.append(message)
        elif message.kind in _LATE["messages that stay"] or _is_closing(message):
            data = {key: message.data[key] for key in _LATE["fields that stay"] if key in message.data}
            kept.append(replace(message, value={"type": message.kind, "data": data}))
    return kept


def _is_closing(message: Message) -> bool:
    return message.kind == "executing" and message.data.get("node") is None


def _in_blocks(messages: list[Message], prompts: set[str]) -> list[Message]:
    """Rule "other order of outputs": between head and tail of a run, the blocks of its nodes in a fixed order."""
    messages = list(messages)
    for prompt in prompts:
        places = [index for index, message in enumerate(messages) if message.prompt == prompt]
        for index, message in zip(places, _blocks_sorted([messages[index] for index in places]), strict=True):
            messages[index] = message
    return messages


def _blocks_sorted(run: list[Message]) -> list[Message]:
    head: list[Message] = []
    blocks: list[list[Message]] = []
    tail: list[Message] = []
    for message in _changes(run):
        if tail or message.kind in ENDS:
            tail.append(message)
        elif _starts_block(message, blocks):
            blocks.append([message])
        else:
            (blocks[-1] if blocks else head).append(message)
    masked = [[replace(message, value=mask_files(message.value)) for message in block] for block in blocks]
    masked.sort(key=lambda block: [dumps(message.value) for message in block])
    return [*head, *(message for block in masked for message in block), *tail]


def _changes(run: list[Message]) -> Iterator[Message]:
    """The run with each `progress_state` reduced to the nodes that have changed since the one before it."""
    before: dict[str, Any] = {}
    for message in run:
        if message.kind == "progress_state":
            nodes = _nodes(message)
            changed = {node: entry for node, entry in nodes.items() if _differ(before.get(node), entry)}
            before = nodes
            message = replace(message, value={"type": "progress_state", "data": {"changed": changed}})
        yield message


def _starts_block(message: Message, blocks: list[list[Message]]) -> bool:
    """Whether a node's turn begins: it is now running, or it was answered from the cache and just shows its output."""
    if message.kind == "progress_state":
        changed = message.data["changed"]
        started = [entry for entry in changed.values() if entry.get("state") == "running" and entry.get("value") == 0]
        return bool(started) or not changed
    if message.kind != "executed":
        return False
    turns = [one.data.get("node") for one in (blocks[-1] if blocks else []) if one.kind == "executing"]
    return turns[-1:] != [message.data.get("node")]
