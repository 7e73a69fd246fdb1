from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from comfy_contracts import har
from comfy_contracts.har import Har, HarError

RECORDINGS = har.packaged_recordings("0.33.0")


def chrome_har() -> dict[str, Any]:
    """A file as a browser saves it: fields of its own, and none of ours."""
    request = {
        "method": "POST",
        "url": "http://127.0.0.1:8188/api/prompt",
        "httpVersion": "http/1.1",
        "headers": [{"name": "Content-Type", "value": "application/json"}],
        "queryString": [],
        "cookies": [{"name": "a", "value": "b", "httpOnly": False}],
        "headersSize": -1,
        "bodySize": 4,
        "postData": {"mimeType": "application/json", "text": '"é"', "params": []},
    }
    response = {
        "status": 200,
        "statusText": "",
        "httpVersion": "http/1.1",
        "headers": [{"name": "content-type", "value": "image/png"}, {"name": "Content-Type", "value": "second"}],
        "cookies": [],
        "content": {"size": 3, "mimeType": "image/png", "text": "//79", "encoding": "base64", "compression": 0},
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": -1,
        "_transferSize": 200,
        "_error": None,
    }
    entry = {
        "_initiator": {"type": "script"},
        "_priority": "High",
        "_resourceType": "fetch",
        "cache": {},
        "connection": "123",
        "pageref": "page_1",
        "request": request,
        "response": response,
        "serverIPAddress": "127.0.0.1",
        "startedDateTime": "2026-11-23T13:21:38.725Z",
        "time": 12.5,
        "timings": {"blocked": 1.1, "send": 0.1, "wait": 10, "receive": 1},
    }
    socket = {
        **entry,
        "_resourceType": "websocket",
        "_webSocketMessages": [
            {"type": "send", "time": 1795440098.5, "opcode": 1, "data": "{}"},
            {"type": "receive", "time": 1795440099, "opcode": 2, "data": "AAAAAQ==", "mask": False},
        ],
    }
    pages = [{"id": "page_1", "title": "ComfyUI", "pageTimings": {"onLoad": 5}}]
    return {"log": {"version": "1.2", "creator": {"name": "WebInspector"}, "pages": pages, "entries": [entry, socket]}}


def content_of(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_the_recordings_are_packaged() -> None:
    assert len(RECORDINGS) == 66
    assert "t2i_fresh" in RECORDINGS


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recording_survives(name: str) -> None:
    value = json.loads(gzip.decompress(RECORDINGS[name].read_bytes()))

    recording = har.load(RECORDINGS[name])

    assert json.dumps(recording.to_builtins()) == json.dumps(value)
    assert json.loads(har.dumps(recording)) == value


@pytest.mark.parametrize("name", RECORDINGS)
def test_bodies_have_the_recorded_sizes(name: str) -> None:
    for entry in har.load(RECORDINGS[name]).exchanges():
        response = entry.response
        if response.body is not None and "_scrubbed" not in entry.extra:
            prose_left_out = "/object_info" in entry.request.url or b'"input_config"' in response.body
            assert prose_left_out or len(response.body) == response.content.size
        assert len(entry.request.body) == entry.request.body_size


def test_entries_are_exchanges_and_sockets() -> None:
    recording = har.load(RECORDINGS["t2i_fresh"])

    sockets, exchanges = list(recording.sockets()), list(recording.exchanges())

    assert len(sockets) + len(exchanges) == len(recording.entries)
    assert all(socket.response.status == 101 and socket.messages for socket in sockets)
    assert all(exchange.messages == [] for exchange in exchanges)
    assert recording.log.comfy["comfyui_version"] == "0.33.0"


def test_what_a_browser_saves_survives() -> None:
    value = chrome_har()

    recording = har.load(content_of(value))

    assert recording.to_builtins() == value
    exchange, socket = recording.entries
    assert exchange.request.body == '"é"'.encode()
    assert exchange.response.body == b"\xff\xfe\xfd"
    assert exchange.response.header("CONTENT-TYPE") == "image/png"
    assert exchange.request.header("accept") is None
    assert [message.payload for message in socket.messages] == ["{}", b"\0\0\0\1"]
    assert not exchange.is_socket
    assert socket.is_socket


@pytest.mark.parametrize("name", ["a.har", "a.har.gz"])
def test_a_saved_file_is_loaded(tmp_path: Path, name: str) -> None:
    recording = har.load(content_of(chrome_har()))

    har.save(recording, tmp_path / name)

    assert har.load(tmp_path / name) == recording
    assert har.load(str(tmp_path / name)) == recording
    assert ((tmp_path / name).read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_equal_hars_make_equal_files_whenever_they_are_saved(tmp_path: Path) -> None:
    har.save(har.load(content_of(chrome_har())), tmp_path / "a.har.gz")

    seconds_in_the_header = (tmp_path / "a.har.gz").read_bytes()[4:8]
    assert seconds_in_the_header == b"\0\0\0\0"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\xfd", "is not JSON"),
        (gzip.compress(b"{}", mtime=0)[:-9], "is not JSON"),
        (b"\x1f\x8bgarbage", "is not JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"log": {}}', "in `log`"),
    ],
)
def test_what_is_no_har_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "broken.har"
    path.write_bytes(content)

    with pytest.raises(HarError, match=rf"broken\.har .*{problem}"):
        har.load(path)


def test_an_error_names_the_place_in_the_file() -> None:
    value = chrome_har()
    value["log"]["entries"][1]["_webSocketMessages"][1]["opcode"] = "text"

    with pytest.raises(HarError, match=r"in `log\.entries\[1\]\._webSocketMessages\[1\]`: .*opcode"):
        har.load(content_of(value))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        har.load(tmp_path / "none.har")


def exchange(**content: Any) -> har.Entry:
    value = chrome_har()
    value["log"]["entries"][0]["response"]["content"] = {"size": 1, "mimeType": "text/plain", **content}
    return har.load(content_of(value)).entries[0]


def test_a_body_left_out_is_none_and_an_absent_one_is_empty() -> None:
    assert exchange(_omitted=True, _sha256="00").response.body is None
    assert exchange().response.body == b""


def test_a_garbled_body_is_refused() -> None:
    with pytest.raises(HarError, match="status 200 is not base64"):
        _ = exchange(text="?", encoding="base64").response.body
    with pytest.raises(HarError, match="only base64 is known"):
        _ = exchange(text="?", encoding="rot13").response.body


def test_a_binary_request_body_is_decoded() -> None:
    value = chrome_har()
    post_data = {"mimeType": "", "text": base64.b64encode(b"\0\xff").decode(), "_encoding": "base64"}
    value["log"]["entries"][0]["request"]["postData"] = post_data

    assert har.load(content_of(value)).entries[0].request.body == b"\0\xff"


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01T00:00:01.250Z", 1.25),
        ("1970-01-01T00:00:01.2500000z", 1.25),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1969-12-31T18:30:00-0530", 0.0),
        ("2026-11-23T13:21:38.725Z", 1795440098.725),
    ],
)
def test_the_start_is_read_as_seconds(date: str, seconds: float) -> None:
    value = chrome_har()
    value["log"]["entries"][0]["startedDateTime"] = date

    assert har.load(content_of(value)).entries[0].started == seconds


@pytest.mark.parametrize("date", ["", "yesterday", "2026-11-23", "2026-11-23T13:21:38", "2026-13-41T00:00:00Z"])
def test_a_start_that_is_no_date_is_refused(date: str) -> None:
    value = chrome_har()
    value["log"]["entries"][0]["startedDateTime"] = date

    with pytest.raises(HarError, match="startedDateTime"):
        _ = har.load(content_of(value)).entries[0].started


def test_recordings_of_an_unknown_version_are_refused() -> None:
    with pytest.raises(HarError, match=r"no recordings of ComfyUI 0\.1\.0 .* 0\.33\.0"):
        har.packaged_recordings("0.1.0")


def test_a_har_is_built_from_scratch() -> None:
    log = har.Log(version="1.2", creator={"name": "comfy-mock", "version": "1"}, entries=[])

    assert json.loads(har.dumps(Har(log))) == {
        "log": {"version": "1.2", "creator": {"name": "comfy-mock", "version": "1"}, "entries": []}
    }
