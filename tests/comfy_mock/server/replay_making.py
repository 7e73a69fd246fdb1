"""Small recordings, and what the replay driver of the contracts asks beyond a recording."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import structs

sys.path.append(str(Path(__file__).parents[2] / "comfy_contracts"))

from chrome_maker import as_chrome_saves
from traffic_maker import OTHER, PROMPT, START, exchange, har, history, message, queued, socket, status

from comfy_contracts.har import Har, load, packaged_recordings
from comfy_contracts.replay_plan import received_by, steps_of
from comfy_mock.server.replay_question import Question, recorded_question

__all__ = [
    "OTHER",
    "PROMPT",
    "START",
    "as_chrome_saves",
    "as_driven",
    "asked",
    "exchange",
    "har",
    "history",
    "message",
    "packaged",
    "queued",
    "socket",
    "status",
    "with_other_client_ids",
]


def packaged(name: str) -> Har:
    """A recording of a real server."""
    return load(packaged_recordings("0.33.0")[name])


def asked(method: str, path: str, sent: Any = None, **headers: str) -> Question:
    """A request as the server sees it."""
    (entry,) = har(exchange(method, path, sent=sent, sent_headers=headers)).entries
    return recorded_question(entry.request)


def as_driven(recording: Har) -> Har:
    """A recording with what `comfy_contracts.replay` asks beside its requests: GET /prompt after each socket that
    closes in the middle, and one more socket at the end, where the queue was empty."""
    host = urlsplit(recording.entries[0].request.url).netloc
    steps = steps_of(recording)
    more = [
        exchange("GET", "/prompt", at=step.moment - START, answer={"exec_info": {"queue_remaining": 0}}, host=host)
        for index, step in enumerate(steps)
        if step.action == "close" and any(later.action != "close" for later in steps[index + 1 :])
    ]
    told = [one for entry in recording.sockets() for one in received_by(entry) if one.kind == "status"]
    if told and max(told, key=lambda one: one.time).data["status"]["exec_info"]["queue_remaining"] == 0:
        end = max(step.moment for step in steps) + 1 - START
        more.append(socket((end, status(0, "driver")), path="/ws?clientId=driver", at=end, until=end, host=host))
    added = har(*more).entries if more else []
    return structs.replace(recording, log=structs.replace(recording.log, entries=[*recording.entries, *added]))


def with_other_client_ids(recording: Har) -> Har:
    """The same, of a client that calls itself by other ids."""
    text = json.dumps(recording.to_builtins())
    for number, entry in enumerate(recording.sockets()):
        client_id = urlsplit(entry.request.url).query.partition("clientId=")[2]
        text = text.replace(client_id, f"{number + 7:032x}")
    return Har.from_builtins(json.loads(text))
