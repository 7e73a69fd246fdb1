"""A journal as lines to read, in the order in which things happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import cast

from comfy_contracts.messages import Progress
from comfy_mock.server.journal_payloads import PREVIEW, words_of
from comfy_mock.server.journal_records import (
    AnyRecord,
    EndRecord,
    EventRecord,
    HoldRecord,
    PromptRecord,
    RequestRecord,
    SocketRecord,
)
from comfy_mock.server.journal_store import Store
from comfy_mock.server.journal_words import answered, literal, receivers, shortened, why, with_query

COLUMNS = 100
LINES_MAX = 400
_LINES_FIRST = 100
_MARGIN = " " * 12
_PROGRESS_STATE = "progress_state"
_PROGRESS = frozenset({Progress.type, _PROGRESS_STATE, PREVIEW})
_AT_ONCE_S = 0.0005


def timeline(journal: Store) -> str:
    """The journal as text: a line of at most 100 columns for each thing, and at most 400 of them.

    Times are simulated seconds since the first of them. A request stands where it came. The steps of a node are one
    line, and so are equal requests one after another; a `progress_state` without a `progress` is left out. The rules of
    the script that were used on something stand behind it in brackets.
    """
    shown = [record for record in journal.records if not isinstance(record, PromptRecord) and not _is_upgrade(record)]
    runs = [list(run) for _key, run in groupby(shown, _key)]
    lines = [_line(run, journal.began or 0.0) for run in runs if not _is_silent(run)]
    left_out = len(lines) - LINES_MAX
    if left_out > 0:
        note = f"{_MARGIN}({left_out} lines are left out)"
        lines = [*lines[:_LINES_FIRST], note, *lines[_LINES_FIRST + left_out :]]
    if journal.dropped:
        lines.insert(0, f"{_MARGIN}({journal.dropped} older records are gone)")
    return "\n".join(lines) or "(nothing came, and nothing was sent)"


def _key(record: AnyRecord) -> Hashable:
    """Records one after another with the same key are one line."""
    if record.rules:
        return id(record)
    if isinstance(record, EventRecord) and record.type in _PROGRESS:
        return record.connections
    if isinstance(record, RequestRecord) and record.prompt is None:
        return (record.method, with_query(record), record.status, record.ended_at is None)
    return id(record)


def _is_upgrade(record: AnyRecord) -> bool:
    """Whether this is the request of a WebSocket that has a record of its own."""
    return isinstance(record, RequestRecord) and record.status == 101


def _is_silent(run: Sequence[AnyRecord]) -> bool:
    return all(
        isinstance(record, EventRecord) and record.type == _PROGRESS_STATE and not record.rules for record in run
    )


def _line(run: Sequence[AnyRecord], began: float) -> str:
    first = run[0]
    head = f"{first.at - began:9.3f} s  "
    rules = f"  [{', '.join(first.rules)}]" if first.rules else ""
    most = COLUMNS - len(head) - len(rules)
    if isinstance(first, EventRecord):
        return f"{head}{_events(cast('Sequence[EventRecord]', run), most)}{rules}"
    times = f", {len(run)} times" if len(run) > 1 else ""
    return f"{head}{shortened(_text(first), most - len(times))}{times}{rules}"


def _events(run: Sequence[EventRecord], most: int) -> str:
    to = f" → {receivers(run[0])}"
    told = words_of(run[0].payload) if len(run) == 1 else _progress(run)
    return f"  {shortened(told, most - len(to) - 2)}{to}"


def _progress(run: Sequence[EventRecord]) -> str:
    counts = Counter(record.type for record in run)
    total = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    steps = [words_of(record.payload) for record in run if record.type == Progress.type]
    last = f" … {steps[-1].rpartition(' ')[2]}" if len(steps) > 1 else ""
    return f"{steps[0] if steps else PREVIEW}{last} ({total})"


def _text(record: AnyRecord) -> str:
    if isinstance(record, RequestRecord):
        return f"{record.method} {with_query(record)}{answered(record)}{_prompt(record.prompt)}{_late(record)}"
    if isinstance(record, SocketRecord):
        if record.refused is not None:
            return f"WebSocket of client {literal(record.client_id)} refused with {record.refused}"
        return f"WebSocket {record.connection} opened by client {literal(record.client_id)}"
    if isinstance(record, HoldRecord):
        return f"held: {literal(record.name)}"
    assert isinstance(record, EndRecord)
    if isinstance(record.of, HoldRecord):
        return f"released: {literal(record.of.name)}"
    end = "broken off" if record.of.code is None else f"closed with {record.of.code}"
    return f"WebSocket {record.of.connection} {end}"


def _prompt(record: PromptRecord | None) -> str:
    if record is None:
        return ""
    if not record.accepted:
        return f": refused {why(record)}".rstrip()
    return f": prompt {record.place} is {record.prompt_id}, {len(record.graph)} nodes"


def _late(record: RequestRecord) -> str:
    taken = 0.0 if record.ended_at is None else record.ended_at - record.at
    return f", after {taken:.3f} s" if taken > _AT_ONCE_S else ""
