"""A replay over real sockets: recordings of a real server, driven again, and everything that is not as recorded."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from replay_making import (
    OTHER,
    PROMPT,
    as_driven,
    exchange,
    har,
    history,
    message,
    packaged,
    queued,
    socket,
    status,
    with_other_client_ids,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from comfy_client import AsyncClient, Client
from comfy_contracts.compare import compare
from comfy_contracts.har import Har, HarError, save
from comfy_contracts.replay import replay
from comfy_mock import NotAsRecorded, PortTaken, Replay

WAIT_S = 10.0
CHOSEN = "33333333-3333-4333-8333-333333333333"
GREETING = status(0, "watcher")
PICTURE = b"\x89PNG\xff"


def opened(server: Replay, client_id: str = "watcher") -> ClientConnection:
    return connect(f"{server.url.replace('http', 'ws')}/ws?clientId={client_id}")


def told(connection: ClientConnection) -> Any:
    payload = connection.recv(WAIT_S)
    return json.loads(payload) if isinstance(payload, str) else payload


@contextmanager
def playing(*entries: dict[str, Any], **arguments: Any) -> Iterator[tuple[Replay, httpx.Client]]:
    with (
        Replay(har(*entries), **arguments) as server,
        httpx.Client(base_url=server.url, timeout=WAIT_S, trust_env=False) as http,
    ):
        yield server, http


# -- recordings of the real server


@pytest.mark.parametrize(
    "name",
    [
        "compressed",  # gzip where asked for
        "http_edges",  # odd methods, HEAD, OPTIONS, origins that are refused
        "interrupt_targeted",
        "multi_user",  # who asks is told by a header
        "prompt_id_chosen_by_client",  # an id that is used twice, and ids that are refused
        "queue_delete_clear",
        "reconnect_mid_run",
        "slow_middle_of_queue_status",  # three clients that do not wait for each other
        "socket_without_client_id",  # an id that the server makes up, and the client then uses
        "t2i_fresh",  # the same questions in mid-run and after
        "two_sockets_same_client_id",
        "upload_mask",
        "values_coerced",
        "view",  # ranges, conditions, HEAD
        "ws_api_alias_and_logs",
        "ws_garbage_from_client",
    ],
)
def test_a_recording_that_is_driven_again_comes_out_equal(name: str) -> None:
    recording = packaged(name)
    with Replay(as_driven(recording)) as server:
        live = asyncio.run(replay(recording, server.url, timeout=WAIT_S))
    assert compare(recording, live) == []
    assert server.problems() == []


@pytest.mark.parametrize("name", ["t2i_preview_metadata", "two_clients", "compressed", "ws_flags_null_then_sampler"])
def test_a_client_calls_itself_otherwise_in_each_run(name: str) -> None:
    recording = with_other_client_ids(packaged(name))
    with Replay(as_driven(packaged(name))) as server:
        live = asyncio.run(replay(recording, server.url, timeout=WAIT_S))
    assert compare(recording, live) == []


def frames(recording: Har) -> list[str | bytes]:
    return [one.payload for entry in recording.sockets() for one in entry.messages if one.type == "receive"]


@pytest.mark.parametrize("path", ["websocket", "polling"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_the_reference_client_gets_the_recorded_pictures(kind: type[Client] | type[AsyncClient], path: str) -> None:
    """It names its prompts itself, unlike the recorded client."""
    recording = packaged("t2i_fresh")
    (posted,) = [json.loads(entry.request.body) for entry in recording.exchanges() if entry.request.method == "POST"]
    (picture,) = [entry.response.body for entry in recording.exchanges() if "/view?" in entry.request.url]
    (connection,) = recording.sockets()
    more = {"path": path, "extra_data": posted["extra_data"]}

    async def asynchronously(url: str) -> tuple[Any, list[bytes]]:
        async with AsyncClient(url) as client:
            result = await (await client.submit(posted["prompt"], **more)).result(WAIT_S)
            return result.outputs, [await image.read() for image in result.images]

    def blocking(url: str) -> tuple[Any, list[bytes]]:
        with Client(url) as client:
            result = client.submit(posted["prompt"], **more).result(WAIT_S)
            return result.outputs, [image.read() for image in result.images]

    with Replay(recording, check=False) as server:
        got = blocking(server.url) if kind is Client else asyncio.run(asynchronously(server.url))
    (ran,) = [entry.response.body for entry in recording.exchanges() if "/history/" in entry.request.url][1:]
    ((_, entry),) = json.loads(ran or b"").items()
    assert got == (entry["outputs"], [picture])
    flags = '{"type": "feature_flags", "data": {"supports_preview_metadata": true}}'
    said = [f"the message {flags} on the WebSocket {connection.request.url.partition('8189')[2]} (entry 0)"]
    assert [miss.asked for miss in server.unmatched] == (said if path == "websocket" else [])


def test_a_plain_script_gets_the_recorded_bytes() -> None:
    recording = packaged("t2i_fresh")
    exchanges = [entry for entry in recording.exchanges() if "/api/jobs" not in entry.request.url]
    (connection,) = recording.sockets()
    query = urlsplit(connection.request.url).query
    with (
        Replay(recording, check=False) as server,
        httpx.Client(base_url=server.url, trust_env=False) as http,
        connect(f"{server.url.replace('http', 'ws')}/ws?{query}") as listener,
    ):
        got = [http.request(e.request.method, _target(e.request.url), content=e.request.body) for e in exchanges]
        assert [listener.recv(WAIT_S) for _ in frames(recording)] == frames(recording)
    assert [(answer.status_code, answer.content) for answer in got] == [
        (entry.response.status, entry.response.body) for entry in exchanges
    ]
    left = [line.partition(" (")[0] for line in server.unused]
    assert len(left) == 2
    assert all(line.startswith("GET /api/jobs") for line in left)


def _target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


# -- requests


def test_a_poll_gets_what_the_server_said_at_that_point() -> None:
    empty: dict[str, Any] = {}
    entries = [
        exchange("GET", "/history", at=0, answer=empty),
        queued(at=1),
        exchange("GET", f"/history/{PROMPT}", at=2, answer=empty),
        exchange("GET", f"/history/{PROMPT}", at=3, answer=empty),
        history(PROMPT, ["9"], at=4),
    ]
    done = {PROMPT: {"prompt": [0, PROMPT, {}, {}, ["9"]], "outputs": {}}}
    with playing(*entries, check=False) as (server, http):
        assert [http.get("/history").json() for _ in range(3)] == [empty] * 3
        early = http.get(f"/history/{PROMPT}")
        assert early.status_code == 501
        assert "only after POST /prompt (entry 1), which has not been asked yet" in early.json()["error"]
        assert http.post("/prompt", json={"prompt": {}}).json()["prompt_id"] == PROMPT
        assert [http.get(f"/history/{PROMPT}").json() for _ in range(5)] == [empty, empty, done, done, done]
        late = http.get("/history")
        assert late.status_code == 501
        assert "only before POST /prompt (entry 1), which has been asked by now" in late.json()["error"]
        with pytest.raises(NotAsRecorded, match=r"not as recorded:\n  GET /history/1111.*\n  GET /history: "):
            server.assert_as_recorded()


def test_a_poll_that_is_asked_less_often_is_not_missed() -> None:
    with playing(*[exchange("GET", "/queue", at=n, answer=[n]) for n in range(3)]) as (server, http):
        assert http.get("/queue").json() == [0]
        assert server.unused == []


def test_what_does_not_tell_of_prompts_may_be_asked_at_any_time() -> None:
    entries = [exchange("GET", "/object_info", at=0, answer={"A": 1}), queued(at=1), exchange("GET", "/users", at=2)]
    with playing(*entries) as (_, http):
        assert http.get("/users").status_code == 200
        assert http.post("/prompt", json={"prompt": {}}).status_code == 200
        assert http.get("/object_info").json() == {"A": 1}


def test_another_prompt_is_told_with_the_difference() -> None:
    prompt = {"3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 4}}}
    other = {"3": {"class_type": "KSampler", "inputs": {"seed": 2, "steps": 4}}}
    seed = "request.json.prompt.3.inputs.seed: recorded 1, asked 2"
    entries = [queued(at=0, sent={"prompt": prompt, "client_id": "a"}), exchange("POST", "/queue", at=1)]
    with playing(*entries, check=False) as (server, http):
        answer = http.post("/prompt", json={"prompt": other, "client_id": "b", "prompt_id": CHOSEN})
        assert answer.status_code == 501
        assert answer.json() == {
            "error": "not as recorded: there is no such request in the recording",
            "asked": "POST /prompt",
            "nearest": "POST /prompt (entry 0)",
            "differences": [seed],
            "unused": 2,
        }
        # nothing was bound, and nothing used, by what did not fit
        assert http.post("/prompt", json={"prompt": prompt, "client_id": "a"}).status_code == 200
    assert [str(miss) for miss in server.unmatched] == [
        f"POST /prompt: there is no such request in the recording; the nearest is POST /prompt (entry 0), but {seed}"
    ]
    assert server.unused == ["POST /queue (entry 1)"]


@pytest.mark.parametrize(
    ("method", "path", "sent", "difference"),
    [
        ("GET", "/view?filename=b.png", None, 'request.query.filename[0]: recorded "a.png", asked "b.png"'),
        ("GET", "/views?filename=a.png", None, 'request.path: recorded "/view", asked "/views"'),
        ("GET", "/view", None, 'request.query.filename: recorded ["a.png"], asked nothing'),
        ("PUT", "/free", b'{"unload_models": true}', 'request.method: recorded "POST", asked "PUT"'),
        ("POST", "/free", b'{"unload_models": 1}', "request.json.unload_models: recorded true, asked 1"),
        ("POST", "/free", b"", 'request.json: recorded {"unload_models": true}, asked nothing'),
        ("POST", "/free", b"\xff", "request.bytes: recorded nothing, asked 1"),
    ],
)
def test_the_nearest_request_is_named(method: str, path: str, sent: bytes | None, difference: str) -> None:
    entries = [
        exchange("GET", "/view?filename=a.png", at=0, answer=b"\x89PNG"),
        exchange("POST", "/free", at=1, sent={"unload_models": True}),
    ]
    with playing(*entries, check=False) as (_, http):
        answer = http.request(method, path, content=sent)
        assert answer.status_code == 501
        assert difference in answer.json()["differences"]


def test_what_changes_something_is_answered_as_often_as_recorded() -> None:
    entries = [exchange("POST", "/free", at=n, sent={}, status=200 + n) for n in range(2)]
    with playing(*entries, check=False) as (_, http):
        assert [http.post("/free", json={}).status_code for _ in range(3)] == [200, 201, 501]
        error = http.post("/free", json={}).json()["error"]
        assert error == "not as recorded: it was asked 2 times in the recording, and has been now"


def test_an_upload_may_have_another_boundary_but_not_another_file() -> None:
    boundary = {"Content-Type": "multipart/form-data; boundary=xyz"}
    part = b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n\x89PNG\xff\r\n--xyz--\r\n'
    entry = exchange("POST", "/upload/image", sent=part, sent_headers=boundary, answer={"name": "a.png"})
    with playing(entry, check=False) as (_, http):
        refused = http.post("/upload/image", files={"image": ("a.png", b"other")})
        assert refused.json()["differences"] == [
            "request.form.image.bytes: recorded 5, asked nothing",
            f'request.form.image.sha256: recorded "{sha256(PICTURE).hexdigest()}", asked nothing',
            'request.form.image.text: recorded nothing, asked "other"',
        ]
        assert http.post("/upload/image", files={"image": ("a.png", PICTURE)}).json() == {"name": "a.png"}


def test_a_question_for_a_part_of_a_file_is_another_one() -> None:
    whole = exchange("GET", "/view?filename=a", at=0, answer=b"abc\xff")
    part = exchange("GET", "/view?filename=a", at=1, answer=b"a\xff", status=206, sent_headers={"Range": "bytes=0-1"})
    head = exchange("HEAD", "/view?filename=a", at=2, headers={"Content-Length": "4", "Content-Type": "image/png"})
    with playing(whole, part, head) as (_, http):
        assert http.get("/view?filename=a", headers={"Range": "bytes=0-1"}).status_code == 206
        assert http.get("/view?filename=a").content == b"abc\xff"
        said = http.head("/view?filename=a")
        assert (said.headers["content-length"], said.headers["content-type"], said.content) == ("4", "image/png", b"")


def test_errors_are_answered_as_recorded() -> None:
    refused = {"error": {"type": "prompt_no_outputs"}, "node_errors": {}}
    entries = [
        queued(at=0, status=400, answer=refused, sent={"prompt": {}}),
        exchange("GET", "/nope", at=1, status=404, headers={"X-Odd": "1"}),
        exchange("POST", "/free", at=2, status=500, answer="500 Internal", headers={"Connection": "close"}),
    ]
    with playing(*entries) as (_, http):
        named = http.post("/prompt", json={"prompt": {}, "prompt_id": CHOSEN})
        assert (named.status_code, named.json()) == (400, refused)
        missing = http.get("/nope")
        assert (missing.status_code, missing.content, missing.headers["x-odd"]) == (404, b"", "1")
        trouble = http.post("/free")
        assert (trouble.status_code, trouble.text, trouble.headers["connection"]) == (500, "500 Internal", "close")


def test_a_body_that_was_not_kept_cannot_be_answered() -> None:
    entry = exchange("GET", "/object_info", answer={})
    entry["response"]["content"] = {"size": 9, "mimeType": "", "_omitted": True, "_sha256": "0"}
    sent = exchange("POST", "/upload/image", at=1, answer={"name": "a"})
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    sent["request"]["postData"] = {"mimeType": "image/png", "_omitted": True, "_sha256": digest}
    with playing(entry, sent, check=False) as (_, http):
        assert "was not kept" in http.get("/object_info").json()["error"]
        assert "request.sha256: recorded" in http.post("/upload/image", content=b"x").json()["differences"][0]
        assert http.post("/upload/image", content=b"").json() == {"name": "a"}


# -- WebSockets


def run(prompt: str, at: float, **arguments: Any) -> list[tuple[float, Any]]:
    return [
        (at + 0.1, status(1)),
        (at + 0.2, message("execution_start", prompt, timestamp=1)),
        (at + 0.3, message("execution_success", prompt, timestamp=2)),
    ]


def test_nothing_is_told_of_a_run_before_its_prompt_is_posted() -> None:
    first, second = run(PROMPT, 1), run(OTHER, 2)
    entries = [socket((0.1, GREETING), *first, *second, until=9), queued(PROMPT, at=1), queued(OTHER, at=2, number=1)]
    with playing(*entries) as (server, http), opened(server) as connection:
        assert told(connection) == GREETING
        for prompt, run_of_it, waiting in ((PROMPT, first, 6), (OTHER, second, 3)):
            with pytest.raises(TimeoutError):
                connection.recv(0)
            assert server.problems()[-1].startswith(f"{waiting} recorded messages were not sent")
            assert http.post("/prompt", json={"prompt": {}}).json()["prompt_id"] == prompt
            assert [told(connection) for _ in run_of_it] == [what for _, what in run_of_it]


def test_ids_that_a_client_makes_up_are_its_own_in_all_that_it_is_told() -> None:
    metadata = json.dumps({"prompt_id": PROMPT, "image_type": "image/png"}).encode()
    preview = (4).to_bytes(4, "big") + len(metadata).to_bytes(4, "big") + metadata + PROMPT.encode()
    picture = (1).to_bytes(4, "big") + (2).to_bytes(4, "big") + PROMPT.encode()
    sent = {"prompt": {}, "client_id": "watcher", "prompt_id": PROMPT}
    entries = [
        socket((0.1, GREETING), *run(PROMPT, 1), (1.4, preview), (1.5, picture), until=9),
        queued(PROMPT, at=1, sent=sent),
        history(PROMPT, [], {"watcher": PROMPT, "client_id": "watcher"}, at=2),
    ]
    with playing(*entries) as (server, http), opened(server, "it's%20me") as connection:
        assert told(connection) == status(0, "it's me")
        posted = http.post("/prompt", json={**sent, "client_id": "it's me", "prompt_id": CHOSEN})
        assert posted.json()["prompt_id"] == CHOSEN
        assert [told(connection)["data"].get("prompt_id") for _ in range(3)] == [None, CHOSEN, CHOSEN]
        named = metadata.replace(PROMPT.encode(), CHOSEN.encode())
        assert connection.recv(WAIT_S) == preview.replace(metadata, named)
        assert connection.recv(WAIT_S) == picture
        entry = http.get(f"/history/{CHOSEN}").json()[CHOSEN]
        assert entry["prompt"][1] == CHOSEN
        assert entry["outputs"] == {"watcher": CHOSEN, "client_id": "it's me"}


def test_an_id_of_one_client_is_not_that_of_another() -> None:
    entries = [
        socket((0.1, status(0, "a")), path="/ws?clientId=a", at=0, until=9),
        socket((0.2, status(0, "b")), path="/ws?clientId=b", at=0.1, until=9),
        queued(at=1, sent={"prompt": {}, "client_id": "b"}),
    ]
    with playing(*entries, check=False) as (server, http), opened(server, "x") as first, opened(server, "y") as second:
        assert (told(first)["data"]["sid"], told(second)["data"]["sid"]) == ("x", "y")
        refused = http.post("/prompt", json={"prompt": {}, "client_id": "x"})
        assert refused.json()["differences"] == ['request.json.client_id: recorded "b", asked "x"']
        assert http.post("/prompt", json={"prompt": {}, "client_id": "y"}).status_code == 200


def test_an_id_of_the_server_stays_its_own() -> None:
    with playing(queued(PROMPT, at=0), history(PROMPT, [], at=1), check=False) as (_, http):
        assert http.post("/prompt", json={"prompt": {}}).json()["prompt_id"] == PROMPT
        assert http.get(f"/history/{OTHER}").status_code == 501


def test_what_the_client_says_is_part_of_the_recording() -> None:
    flags = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
    answer = {"type": "feature_flags", "data": {"max_upload_size": 1}}
    with playing(socket((0.1, [flags]), (0.2, GREETING), (0.3, answer), until=9), check=False) as (server, _):
        with opened(server) as connection:
            assert told(connection) == GREETING
            with pytest.raises(TimeoutError):
                connection.recv(0)
            connection.send("garbage")
            connection.send(flags.replace(" ", ""))
            assert told(connection) == answer
        assert [miss.asked for miss in server.unmatched] == [
            "the message garbage on the WebSocket /ws?clientId=watcher (entry 0)"
        ]
        assert server.unused == []


def test_a_run_does_not_wait_for_what_another_client_never_says() -> None:
    entries = [socket((0.1, GREETING), (0.5, ["hello"]), *run(PROMPT, 1), until=9), queued(at=1)]
    with playing(*entries, check=False) as (server, http), opened(server) as connection:
        http.post("/prompt", json={"prompt": {}})
        assert [told(connection)["type"] for _ in range(4)][-1] == "execution_success"
        assert server.unused == ["a message on the WebSocket /ws?clientId=watcher (entry 0): hello"]


def test_a_socket_that_is_lost_goes_on_where_it_was() -> None:
    entries = [socket((0.1, GREETING), (1.1, status(1)), (2.1, status(0)), until=9), queued(at=1), queued(OTHER, at=2)]
    with playing(*entries) as (server, http):
        with opened(server) as connection:
            http.post("/prompt", json={"prompt": {}})
            assert [told(connection), told(connection)] == [GREETING, status(1)]
        with opened(server) as connection:
            assert told(connection) == status(1, "watcher")
            http.post("/prompt", json={"prompt": {}})
            assert told(connection) == status(0)


def test_a_server_that_hung_up_hangs_up_again() -> None:
    entries = [socket((0.1, GREETING), at=0, until=2, code=1009), exchange("POST", "/interrupt", at=1)]
    with playing(*entries) as (server, http), opened(server) as connection:
        assert told(connection) == GREETING
        http.post("/interrupt")
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(WAIT_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("refused", [None, 403])
def test_a_socket_that_was_not_recorded_or_was_refused(refused: int | None) -> None:
    entries = [socket(path="/ws?clientId=a")] if refused else [exchange("GET", "/queue", answer={})]
    if refused:
        entries[0]["response"]["status"] = refused
        entries[0]["_webSocketMessages"] = []
    with Replay(har(*entries), check=False) as server, pytest.raises(InvalidStatus) as answered:
        opened(server, "b")
    assert answered.value.response.status_code == (refused or 501)
    if refused is None:
        assert json.loads(answered.value.response.body)["asked"] == "WebSocket /ws?clientId=b"


def test_prompts_that_come_in_another_order_are_told_of_when_both_have_come(caplog: pytest.LogCaptureFixture) -> None:
    one, two = {"prompt": {"1": {}}}, {"prompt": {"2": {}}}
    entries = [
        socket((0.1, GREETING), *run(PROMPT, 1), *run(OTHER, 2), until=9),
        queued(PROMPT, at=1, sent=one),
        queued(OTHER, at=2, sent=two),
        history(OTHER, [], at=3),
    ]
    with playing(*entries) as (server, http), opened(server) as connection:
        assert http.post("/prompt", json=two).json()["prompt_id"] == OTHER
        assert http.get(f"/history/{OTHER}").status_code == 200
        assert http.post("/prompt", json=one).json()["prompt_id"] == PROMPT
        assert [told(connection)["type"] for _ in range(7)][-1] == "execution_success"
    assert "POST /prompt has come before POST /prompt (entry 1)" in caplog.text


# -- the server


def test_an_exit_tells_what_is_left() -> None:
    recording = har(exchange("GET", "/queue", at=0), queued(at=1))
    left = r"^recorded, but never asked for:\n  POST /prompt \(entry 1\)$"
    with pytest.raises(NotAsRecorded, match=left), Replay(recording) as server:
        httpx.get(f"{server.url}/queue")
    with pytest.raises(ZeroDivisionError), Replay(recording):
        raise ZeroDivisionError
    with Replay(recording, check=False):
        pass


def test_it_serves_beside_an_event_loop() -> None:
    async def asking() -> int:
        async with Replay(har(exchange("GET", "/queue", answer={}))) as server, httpx.AsyncClient() as http:
            return (await http.get(f"{server.url}/queue")).status_code

    assert asyncio.run(asking()) == 200

    async def not_asking() -> None:
        async with Replay(har(exchange("GET", "/queue", answer={}))):
            pass

    with pytest.raises(NotAsRecorded):
        asyncio.run(not_asking())


def test_it_can_be_asked_without_a_port() -> None:
    async def asking(server: Replay) -> Any:
        transport = httpx.ASGITransport(app=server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://fake") as http:
            return (await http.get("/queue")).json()

    server = Replay(har(exchange("GET", "/queue", answer=[1])))
    assert asyncio.run(asking(server)) == [1]
    server.assert_as_recorded()


def test_several_recordings_are_played_one_after_the_other() -> None:
    first, second = (
        har(queued(prompt, sent={"prompt": {node: {}}}), exchange("GET", "/queue", at=1, answer=[node]))
        for prompt, node in ((PROMPT, "1"), (OTHER, "2"))
    )
    with Replay(first, second) as server, httpx.Client(base_url=server.url) as http:
        assert http.post("/prompt", json={"prompt": {"1": {}}}).json()["prompt_id"] == PROMPT
        assert [http.get("/queue").json() for _ in range(2)] == [["1"], ["1"]]
        assert server.unused == ["recording 1: POST /prompt (entry 0)", "recording 1: GET /queue (entry 1)"]
        assert http.post("/prompt", json={"prompt": {"2": {}}}).json()["prompt_id"] == OTHER
        assert http.get("/queue").json() == ["2"]


def test_a_wrong_recording_is_refused(tmp_path: Path) -> None:
    garbled = exchange("GET", "/queue", answer=b"\xff")
    garbled["response"]["content"]["text"] = "!"
    undated = exchange("GET", "/queue")
    undated["startedDateTime"] = "yesterday"
    for content, said in [
        (b"no JSON", "the HAR is not JSON"),
        (b"{}", "the HAR is not a HAR"),
        (har(), "recording 0 has no request to a ComfyUI server that was answered: there is nothing to replay"),
        (har(exchange(status=0)), "there is nothing to replay"),
        (har(garbled), "recording 0: the body of a response with status 200 is not base64"),
        (Har.from_builtins({"log": {"version": "1", "creator": {}, "entries": [undated]}}), "'yesterday' is not"),
        (str(tmp_path / "none.har"), "cannot read none.har"),
        (tmp_path, f"cannot read {tmp_path.name}"),
    ]:
        with pytest.raises(HarError, match=said):
            Replay(content)
    with pytest.raises(ValueError, match="at least one recording"):
        Replay()
    with pytest.raises(ValueError, match="speed must be above 0, not 0"):
        Replay(har(exchange()), speed=0)
    path = tmp_path / "run.har.gz"
    save(har(exchange()), path)
    assert Replay(str(path)).unused == ["GET /prompt (entry 0)"]
    assert Replay(path.read_bytes()).unused == ["GET /prompt (entry 0)"]


def test_a_port_that_is_taken_is_told() -> None:
    with sockets.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken):
        Replay(har(exchange()), port=taken.getsockname()[1]).start()
