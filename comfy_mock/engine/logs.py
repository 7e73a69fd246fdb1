"""The server's log as the console panel shows it (protocol 2.7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from comfy_contracts.messages import LogEntry, Logs, TerminalSize
from comfy_mock.engine.options import Options

ENTRIES_MAX = 300
"""How many entries `/internal/logs` goes back."""

Level = Literal["INFO", "WARNING", "ERROR"]

_SIZE = TerminalSize(cols=80, rows=24)
_COLOURS: dict[Level, str] = {"INFO": "\x1b[32m", "WARNING": "\x1b[1m\x1b[33m", "ERROR": "\x1b[1m\x1b[31m"}
_PLAIN = "\x1b[0m"


class LogBook:
    """The last entries of the log, and the client ids that want to be told of new ones.

    `now` is in seconds since the epoch, `utc_offset_s` makes it the server's local time, which is what entries show.
    `start_up` are lines that were written before the server answered.
    """

    def __init__(self, now: float, *, utc_offset_s: int = 0, start_up: Iterable[str] = ()) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=ENTRIES_MAX)
        self._zone = timezone(timedelta(seconds=utc_offset_s))
        self._size_told = False
        self.subscribers: dict[str, None] = {}
        for line in start_up:
            self.write(line, now=now)

    def write(self, message: str, *, now: float, level: Level = "INFO") -> LogEntry:
        """Write a line; the entry is what subscribers are to be told, see `message`."""
        time = datetime.fromtimestamp(now, self._zone).replace(tzinfo=None).isoformat()
        entry = LogEntry(t=time, m=f"{_COLOURS[level]}[{level}]{_PLAIN} {message}\n")
        self._entries.append(entry)
        return entry

    def message(self, entry: LogEntry) -> Logs:
        """The `logs` message of a new entry. The first that is ever sent tells the terminal's size (protocol 6.6)."""
        return Logs(entries=[entry], size=self._size())

    def subscribe(self, client_id: str, *, enabled: bool) -> None:
        """Begin or end telling a client of new entries."""
        if enabled:
            self.subscribers[client_id] = None
        else:
            self.subscribers.pop(client_id, None)

    def text(self) -> str:
        """What `GET /internal/logs` answers."""
        return "".join(f"{entry.t} - {entry.m}" for entry in self._entries)

    def raw(self) -> dict[str, Any]:
        """What `GET /internal/logs/raw` answers."""
        self._size_told = True
        return {
            "entries": [{"t": entry.t, "m": entry.m} for entry in self._entries],
            "size": {"cols": _SIZE.cols, "rows": _SIZE.rows},
        }

    def _size(self) -> TerminalSize | None:
        told, self._size_told = self._size_told, True
        return None if told else _SIZE


def refusal_lines(node_errors: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a server writes about outputs that it will not run, given the `node_errors` of its answer (protocol 3.4)."""
    lines: list[str] = []
    for output in dict.fromkeys(output for entry in node_errors.values() for output in entry["dependent_outputs"]):
        lines.append(f"Failed to validate prompt for output {output}:")
        if output in node_errors:
            lines += ["* (prompt):", *_reason_lines(node_errors[output])]
        for node_id, entry in node_errors.items():
            if entry["dependent_outputs"][0] == output:
                lines += [f"* {entry['class_type']} {node_id}:", *_reason_lines(entry)]
        lines.append("Output will be ignored")
    return lines


def _reason_lines(entry: Mapping[str, Any]) -> list[str]:
    return [f"  - {reason['message']}: {reason['details']}" for reason in entry["errors"]]


def start_up_lines(options: Options) -> list[str]:
    """What a server writes before it answers: what it is, and how it was started."""
    cache = {
        "default": "Using RAM pressure cache.",
        "classic": "Using the classic cache.",
        "lru": f"Using LRU cache of {options.cache_size} results.",
        "none": "Keeping no results.",
    }
    return [
        f"Simulating ComfyUI version: {options.version}",
        "No model is loaded and nothing is computed: pictures are drawn.",
        "Device: cpu (simulated)",
        f"Preview method: {options.preview_method}",
        f"User mode: {'multi-user' if options.multi_user else 'single user'}",
        cache[options.cache],
        "Starting server\n",
    ]
