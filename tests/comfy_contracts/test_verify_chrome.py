"""Recordings that Chrome's developer tools saved.

There is no browser here, so `chrome_maker` turns recorded traffic into the shapes that Chrome's exporter gives it.
Beside the API there are the page, data: URLs, what came from the cache, and requests that were blocked.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest
from chrome_maker import PAGE, as_chrome_saves
from traffic_maker import PROMPT, exchange, har, queued, socket, status

from comfy_contracts.compare import compare
from comfy_contracts.har import Har, load, of_server, packaged_recordings
from comfy_contracts.needs import ServerState, lacking, needs_of
from comfy_contracts.replay_plan import steps_of
from comfy_contracts.verify import Verifier
from comfy_mock import ComfyMock

RECORDINGS = packaged_recordings("0.33.0")


def from_chrome(value: dict[str, Any]) -> Har:
    return of_server(load(json.dumps(value).encode()))


def beside_the_api(started: str) -> list[dict[str, Any]]:
    """What else is in such a file."""

    def other(url: str, kind: str, status: int = 200, **more: Any) -> dict[str, Any]:
        request = {
            "method": "GET",
            "url": url,
            "httpVersion": "http/1.1",
            "headers": [],
            "queryString": [],
            "cookies": [],
        }
        content = {"size": 3, "mimeType": "text/plain", "text": "abc"}
        response = {
            "status": status,
            "statusText": "",
            "headers": [],
            "cookies": [],
            "content": content,
            "redirectURL": "",
        }
        return {
            "_resourceType": kind,
            "startedDateTime": started,
            "time": 1,
            "request": request,
            "response": response,
            **more,
        }

    return [
        other(PAGE, "document"),
        other(f"{PAGE}assets/index.js", "script"),
        other("data:image/png;base64,AAAA", "image"),
        other("https://fonts.example/a.woff2", "font"),
        other("https://telemetry.example/prompt", "xhr"),
        other(f"{PAGE}queue", "fetch", _fromCache="disk"),
        other(f"{PAGE}history", "fetch", 0, _blocked_queueing=1),
    ]


def test_what_a_browser_adds_is_left_out() -> None:
    value = as_chrome_saves(har(socket(), exchange("GET", "/queue", at=1, answer={})))
    plain = from_chrome(value)
    value["log"]["entries"] += beside_the_api(value["log"]["entries"][0]["startedDateTime"])

    kept = from_chrome(value)

    assert kept == plain
    assert [entry.is_socket for entry in kept.entries] == [True, False]


def test_pseudo_headers_are_left_out() -> None:
    value = as_chrome_saves(
        har(exchange("GET", "/queue", sent_headers={":method": "GET", ":path": "/queue", "Accept": "*"}))
    )
    assert [header.name for header in from_chrome(value).entries[0].request.headers] == ["Host", "Accept"]


@pytest.mark.parametrize("name", ["t2i_fresh", "http_edges"])
def test_other_recordings_stay_as_they_are(name: str) -> None:
    assert of_server(load(RECORDINGS[name])) == load(RECORDINGS[name])


def test_a_body_that_the_browser_unpacked_is_what_was_packed() -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    recorded = har(exchange(answer=gzip.compress(b'{"a": 1}'), headers=headers))
    unpacked = har(exchange(answer='{"a": 1}', headers=headers))
    assert compare(recorded, unpacked) == []
    assert compare(recorded, har(exchange(answer='{"a": 2}', headers=headers))) != []


def test_a_socket_is_closed_after_all_that_it_received() -> None:
    value = as_chrome_saves(
        har(socket((0.5, status(0, "s")), (9, status(1)), until=10), exchange("GET", "/queue", at=5))
    )
    steps = steps_of(from_chrome(value))
    assert [step.action for step in steps] == ["open", "request", "close"]


def test_an_error_on_a_socket_is_no_message() -> None:
    value = as_chrome_saves(har(socket((0.5, status(0, "s")))))
    error = {"type": "error", "time": 1795000001, "opcode": -1, "data": "WebSocket is closed"}
    value["log"]["entries"][0]["_webSocketMessages"].append(error)
    assert compare(from_chrome(value), har(socket((0.5, status(0, "s"))))) == []
    assert [step.action for step in steps_of(from_chrome(value))] == ["open", "close"]


def test_a_binary_message_is_base64() -> None:
    value = as_chrome_saves(har(socket((1, b"\x00\x00\x00\x01ab"))))
    assert (
        value["log"]["entries"][0]["_webSocketMessages"][0]["data"] == base64.b64encode(b"\x00\x00\x00\x01ab").decode()
    )
    assert from_chrome(value).entries[0].messages[0].payload == b"\x00\x00\x00\x01ab"


def test_an_upload_whose_body_the_browser_did_not_keep_cannot_be_tried() -> None:
    entry = exchange("POST", "/upload/image")
    entry["request"]["bodySize"] = 5000
    (reason,) = lacking(needs_of(from_chrome(as_chrome_saves(har(entry)))), ServerState())
    assert reason == "the recording does not have the body of POST /upload/image"


def test_a_recording_of_chrome_is_verified_like_any_other() -> None:
    recording = from_chrome(as_chrome_saves(load(RECORDINGS["image_only"])))
    with ComfyMock(clock="real", speed=20) as server:
        outcome = asyncio.run(Verifier(server.url).verify("image_only", recording))
    assert (outcome.verdict, list(map(str, outcome.differences))) == ("equal", [])


def test_a_prompt_in_it_is_known() -> None:
    value = as_chrome_saves(har(queued(PROMPT)))
    assert needs_of(from_chrome(value)).runs
