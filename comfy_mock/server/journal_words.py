"""Records, and what they lack, in words: for the messages of assertions and of waits that came to nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from comfy_mock.engine.script.matching import Difference
from comfy_mock.server.journal_payloads import words_of
from comfy_mock.server.journal_records import (
    AnyRecord,
    EndRecord,
    EventRecord,
    PromptRecord,
    RequestRecord,
    SocketRecord,
)
from comfy_mock.server.journal_wants import NOTHING, RecordT, Want, WantedPrompt

_SHOWN_MAX = 10
_VALUE_MAX = 160
_AROUND = 40

_POSITIONAL = ("route", "event")


def call(function: str, arguments: Mapping[str, Any]) -> str:
    """A line of Python."""
    words = [literal(value) if name in _POSITIONAL else f"{name}={literal(value)}" for name, value in arguments.items()]
    return f"{function}({', '.join(words)})"


def literal(value: Any) -> str:
    """A value as Python source, its texts in double quotes."""
    if isinstance(value, str):
        # JSON's escapes are Python's, but for the pairs of surrogates
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{literal(key)}: {literal(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)


def diff(differences: Sequence[Difference]) -> list[str]:
    """Differences as lines: what was wanted after a minus, what there was after a plus."""
    lines = ["(- wanted, + got)"]
    for name, expected, got in differences:
        left, right = _side_by_side(expected, got)
        lines += [f"- {name}: {left}", f"+ {name}: {right}"]
    return lines


def described(record: AnyRecord) -> str:
    """A record in a few words."""
    if isinstance(record, RequestRecord):
        return f"{record.method} {with_query(record)}{answered(record)}"
    if isinstance(record, PromptRecord):
        return (
            f"prompt {record.place} ({record.prompt_id})"
            if record.accepted
            else f"a refused prompt{answered(record.request)} {why(record)}".rstrip()
        )
    if isinstance(record, SocketRecord):
        return f"WebSocket {record.connection} of client {literal(record.client_id)}{_end_of(record)}"
    if isinstance(record, EventRecord):
        return f"{shortened(words_of(record.payload), 80)} to {receivers(record)}"
    if isinstance(record, EndRecord):
        return described(record.of)
    return f"{literal(record.name)}, {'held' if record.held else 'released'}"


def answered(record: RequestRecord) -> str:
    """What came of a request, to be put behind it."""
    if record.ended_at is None:
        return " → no answer yet"
    return f" → {'broken off' if record.status is None else record.status}"


def why(record: PromptRecord) -> str:
    """Why a prompt was refused, in a line; nothing where its client was told no reason."""
    error = (record.refusal or {}).get("error")
    if isinstance(error, dict):
        return shortened(f"{error.get('type')}: {error.get('message')}", 80)
    return ""


def receivers(record: EventRecord) -> str:
    """Who got a message."""
    if not record.connections:
        return "nobody"
    return f"WebSocket {', '.join(map(str, record.connections))}"


def shortened(text: str, most: int) -> str:
    """A text in one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def nothing_fits(want: Want[RecordT], records: Sequence[RecordT], function: str) -> list[str]:
    """What came instead of what was wanted: the nearest miss, and the line that would match it."""
    found = want.nearest(records)
    if found is None:
        return [f"There were no {'other ' if want.given() else ''}{want.plural}."]
    record, differences = found
    part = ""
    if isinstance(want, WantedPrompt) and isinstance(record, PromptRecord):
        node_id, _differences = want.nearest_node(record)
        part = "" if node_id is None else f"node {literal(node_id)} of "
    lines = [f"The nearest of {len(records)} others is {part}{described(record)}:"]
    lines += [f"    {line}" for line in diff(differences)]
    return [*lines, "This would match it:", f"    {call(function, want.corrected(record))}"]


def listed(records: Iterable[AnyRecord]) -> list[str]:
    """Records as lines, the first few of them."""
    lines = [f"    {described(record)}" for record in records]
    more = len(lines) - _SHOWN_MAX
    return lines if more <= 0 else [*lines[:_SHOWN_MAX], f"    … and {more} more"]


def with_query(record: RequestRecord) -> str:
    """The path of a request and its query."""
    query = "&".join(f"{name}={value}" for name, value in record.query.items())
    return shortened(f"{record.raw_path}?{query}" if query else record.raw_path, 120)


def _end_of(record: SocketRecord) -> str:
    if record.refused is not None:
        return f", refused with {record.refused}"
    if record.closed_at is None:
        return ", open"
    return ", broken off" if record.code is None else f", closed with {record.code}"


def _side_by_side(expected: Any, got: Any) -> tuple[str, str]:
    """Two values as source; of long ones what is around the first place where they differ."""
    left, right = literal(expected), NOTHING if got == NOTHING else literal(got)
    if max(len(left), len(right)) <= _VALUE_MAX:
        return left, right
    same = next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    start = max(0, same - _AROUND)
    return _window(left, start), _window(right, start)


def _window(text: str, start: int) -> str:
    end = start + _VALUE_MAX
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
