"""Takes runs out of what a socket was told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from msgspec import structs

from comfy_contracts.changelog.values import parsed
from comfy_contracts.compare_http import json_of, queued_number
from comfy_contracts.har import Entry, WebSocketMessage


def runs_asked_for(entries: Iterable[Entry]) -> Iterator[str]:
    """The ids of the prompts that some exchanges queued."""
    for entry in entries:
        if not entry.is_socket and queued_number(entry) is not None:
            yield str(json_of(entry.response)["prompt_id"])


def without_runs(entry: Entry, runs: Collection[str]) -> Entry:
    """A socket without what it was told of some runs, nor of the queue (protocol 6.6), which tells of them as well.

    Where there are no such runs, and of anything but a socket, it is the entry itself.
    """
    if not runs or not entry.messages:
        return entry
    return structs.replace(entry, web_socket_messages=list(_others(entry.messages, runs)))


def _others(messages: Iterable[WebSocketMessage], runs: Collection[str]) -> Iterator[WebSocketMessage]:
    running = ""
    for message in messages:
        payload = message.payload
        value = parsed(payload) if isinstance(payload, str) else None
        told = value if isinstance(value, dict) else {}
        data = told["data"] if isinstance(told.get("data"), dict) else {}
        # Frames do not all tell their prompt; they belong to the run that spoke last.
        running = str(data.get("prompt_id", running))
        is_of_run = "prompt_id" in data or isinstance(payload, bytes)
        is_of_queue = told.get("type") == "status" and "sid" not in data
        if message.type != "receive" or not (is_of_queue or (is_of_run and running in runs)):
            yield message
