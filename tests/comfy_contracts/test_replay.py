from __future__ import annotations

import asyncio
from typing import Any

import pytest
from stub_server import Stub, replayed, serving
from traffic_maker import OTHER, PROMPT, exchange, har, message, queued, socket, status

from comfy_contracts.compare import compare
from comfy_contracts.har import load, packaged_recordings
from comfy_contracts.replay import ReplayError, replay

JSON = {"content-type": "application/json; charset=utf-8"}
POST = "POST /prompt"
ACCEPTED: dict[str, Any] = {POST: (200, JSON, {"prompt_id": OTHER, "number": 0, "node_errors": {}})}


def greeted(query: str) -> list[Any]:
    return [status(0, query.partition("=")[2] or "0123456789abcdef0123456789abcdef")]


def test_requests_go_out_as_they_were_recorded() -> None:
    recording = har(
        exchange("GET", "/userdata/..%2Fx?a=%20b&a=c+d", at=0, sent_headers={"Accept": "x/y", "X-Case": "1"}),
        exchange(
            "PUT", "/a/../b//c", at=1, sent=b"\0\xff", sent_headers={"Content-Type": "x/z", "Content-Length": "2"}
        ),
        exchange("POST", "/empty", at=2, sent_headers={"Content-Length": "0"}),
        exchange("BREW", "/%zz", at=3),
        exchange("GET", "/queue#frag", at=4, sent_headers={"Origin": "http://127.0.0.1:8188"}),
    )
    stub = Stub()
    live = replayed(recording, stub)
    assert stub.requests == [
        "GET /userdata/..%2Fx?a=%20b&a=c+d",
        "PUT /a/../b//c",
        "POST /empty",
        "BREW /%zz",
        "GET /queue",
    ]
    first, second, third, _, last = stub.heard
    port = first.headers["host"].rpartition(":")[2]
    assert first.headers == {"host": f"127.0.0.1:{port}", "accept": "x/y", "x-case": "1"}
    assert (second.body, second.headers["content-type"], second.headers["content-length"]) == (b"\0\xff", "x/z", "2")
    assert third.headers["content-length"] == "0"
    assert last.headers["origin"] == f"http://127.0.0.1:{port}"
    assert port != "8188"
    assert [entry.request.method for entry in live.entries] == ["GET", "PUT", "POST", "BREW", "GET"]


def test_answers_are_kept_to_the_byte() -> None:
    recording = har(exchange("GET", "/a", at=0), exchange("GET", "/b", at=1), exchange("GET", "/c", at=2))
    stub = Stub(
        answers={
            "GET /a": (200, {"content-type": "image/png", "x-two": "1"}, b"\x89PNG\xff\0"),
            "GET /b": (418, {"content-type": "text/plain"}, "ü".encode()),
            "GET /c": (204, {}, b""),
        }
    )
    first, second, third = (entry.response for entry in replayed(recording, stub).entries)
    assert (first.status, first.body, first.header("X-Two")) == (200, b"\x89PNG\xff\0", "1")
    assert (second.status, second.body, second.content.text) == (418, "ü".encode(), "ü")
    assert (third.status, third.status_text, third.body) == (204, "No Content", b"")


def test_a_replay_is_equal_to_its_recording_under_other_ids() -> None:
    done = [message("execution_start", PROMPT, timestamp=1), message("execution_success", PROMPT, timestamp=2)]
    recording = har(
        socket((0.1, status(0, "watcher")), *[(1.1 + n / 10, one) for n, one in enumerate(done)], until=9),
        queued(PROMPT, at=1, headers={"Date": "x"}),
        exchange("GET", f"/history/{PROMPT}", at=2, answer={PROMPT: {"id": PROMPT}}),
    )
    live = [message("execution_start", OTHER, timestamp=7), message("execution_success", OTHER, timestamp=8)]
    stub = Stub(
        answers={**ACCEPTED, f"GET /history/{OTHER}": (200, JSON, {OTHER: {"id": OTHER}})},
        afterwards={POST: live},
        greeting=greeted,
    )
    result = replayed(recording, stub)
    assert stub.requests == [POST, f"GET /history/{OTHER}"]
    told = [str(one) for one in compare(recording, result) if "headers" not in one.where]
    assert told == []


def test_a_request_waits_for_what_its_client_had_received() -> None:
    recording = har(
        socket((0.1, status(0, "watcher")), (1.5, message("execution_success", PROMPT)), until=9),
        queued(PROMPT, at=1),
        exchange("GET", "/history", at=2),
    )
    stub = Stub(answers=ACCEPTED, greeting=greeted)
    with pytest.raises(ReplayError) as caught:
        replayed(recording, stub, timeout=0.3)
    assert stub.requests == [POST]
    assert "before entry 2, request GET /history" in str(caught.value)
    assert f"/ws?clientId=watcher lacks 1 x execution_success of prompt {OTHER}" in str(caught.value)
    assert "it has received 1 messages, the last: status" in str(caught.value)
    partial = caught.value.partial
    assert partial is not None
    assert [entry.is_socket for entry in partial.entries] == [True, False]


def test_at_the_end_all_that_was_recorded_is_waited_for() -> None:
    recording = har(
        socket((0.1, status(0, "watcher")), (1.5, message("executed", PROMPT)), until=9), queued(PROMPT, at=1)
    )
    with pytest.raises(ReplayError, match=r"at the end: within 0.3 s the server has not sent"):
        replayed(recording, Stub(answers=ACCEPTED, greeting=greeted), timeout=0.3)


def test_a_run_that_ended_early_is_not_waited_for() -> None:
    recorded = [message("progress", PROMPT), message("progress", PROMPT), message("execution_interrupted", PROMPT)]
    recording = har(
        socket((0.1, status(0, "watcher")), *[(1.1 + n / 10, one) for n, one in enumerate(recorded)], until=9),
        queued(PROMPT, at=1),
        exchange("GET", "/queue", at=2),
    )
    stub = Stub(ACCEPTED, {POST: [message("execution_interrupted", OTHER)]}, greeted)
    replayed(recording, stub)
    assert stub.requests == [POST, "GET /queue"]


def test_a_prompt_that_was_refused_is_not_waited_for() -> None:
    recording = har(
        socket((0.1, status(0, "watcher")), (1.5, message("execution_success", PROMPT)), until=9),
        queued(PROMPT, at=1),
        exchange("GET", "/queue", at=2),
    )
    stub = Stub(answers={POST: (400, JSON, {"error": {}})}, greeting=greeted)
    replayed(recording, stub)
    assert stub.requests == [POST, "GET /queue"]


def test_a_socket_is_greeted_before_the_next_request() -> None:
    # The recorded client posted before it had read its greeting.
    recording = har(socket((1.5, status(0, "watcher")), until=9), queued(at=1))
    with pytest.raises(ReplayError, match=r"(?s)after opening ws://.*lacks 1 x status"):
        replayed(recording, Stub(answers=ACCEPTED), timeout=0.3)


def test_surplus_messages_are_found_before_the_sockets_are_closed() -> None:
    recording = har(socket((0.1, status(0, "watcher")), until=9), exchange("GET", "/free", at=1))
    stub = Stub(greeting=greeted, afterwards={"GET /free": [message("executed", str(n)) for n in range(50)]})
    live = replayed(recording, stub)
    assert len(live.entries[0].messages) == 51
    assert len(compare(recording, live)) >= 50


def test_sockets_speak_and_close_where_they_did() -> None:
    recording = har(
        socket(
            (0.1, status(0, "a")), (0.2, ["hello"]), (0.3, {"type": "x", "data": {}}), path="/ws?clientId=a", until=1.5
        ),
        exchange("GET", "/one", at=1),
        exchange("GET", "/two", at=2),
        socket((3.1, status(0, "b")), path="/api/ws?clientId=b", at=3, until=9),
    )
    stub = Stub(greeting=greeted, replies={"hello": [{"type": "x", "data": {}}]})
    live = replayed(recording, stub)
    story = [one for one in stub.story if "clientId=" not in one or one.endswith(("=a", "=a 1000", "=b", "=b 1000"))]
    # After a socket that closes in the middle comes a request of the replay's own.
    assert story == [
        "open clientId=a", "said hello", "GET /one", "close clientId=a 1000", "GET /prompt", "GET /two",
        "open clientId=b", "close clientId=b 1000",
    ]  # fmt: skip
    close = live.entries[0].web_socket_close
    assert getattr(close, "code", None) == 1000
    assert [one.type for one in live.entries[0].messages] == ["receive", "send", "receive"]


def test_a_socket_that_the_server_closed_is_closed_by_the_server() -> None:
    recording = har(socket((0.1, status(0, "a")), (0.2, ["too much"]), until=1, code=1009), exchange("GET", "/x", at=2))
    live = replayed(recording, Stub(greeting=greeted, replies={"too much": [1009]}))
    assert getattr(live.entries[0].web_socket_close, "code", None) == 1009
    with pytest.raises(
        ReplayError, match=r"closing of a socket by the server .with code 1009.: no answer within 0.3 s"
    ):
        replayed(recording, Stub(greeting=greeted), timeout=0.3)


def test_a_session_id_that_the_server_made_is_used() -> None:
    minted = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    recording = har(
        socket((0.1, status(0, minted)), path="/ws", until=9),
        exchange("POST", "/prompt", at=1, sent={"client_id": minted}),
    )
    stub = Stub(greeting=greeted)
    replayed(recording, stub)
    assert stub.heard[0].body == b'{"client_id": "0123456789abcdef0123456789abcdef"}'


def test_a_refused_socket_is_an_answer() -> None:
    recording = har(socket(until=1), exchange("GET", "/x", at=2))
    stub = Stub(refuse_sockets=True)
    live = replayed(recording, stub)
    assert live.entries[0].response.status == 403
    assert live.entries[0].messages == []
    assert stub.requests[-1] == "GET /x"


def test_handshakes_have_the_recorded_headers() -> None:
    plain = socket((0.1, status(0, "watcher")), until=9)
    plain["request"]["headers"] = [
        {"name": "Host", "value": "127.0.0.1:8188"},
        {"name": "Origin", "value": "http://evil.example"},
        {"name": "User-Agent", "value": "recorder"},
    ]
    stub = Stub(greeting=greeted)
    replayed(har(plain), stub)
    headers = stub.socket_headers[0]
    assert headers["origin"] == "http://evil.example"
    assert headers["user-agent"] == "recorder"
    assert "sec-websocket-extensions" not in headers


def test_names_of_files_are_learned_from_outputs() -> None:
    def output(prompt: str, letters: str) -> dict[str, Any]:
        images = {"images": [{"filename": f"ComfyUI_temp_{letters}_00001_.png"}]}
        return message("executed", prompt, node="3", output=images)

    recording = har(
        socket((0.1, status(0, "watcher")), (1.5, output(PROMPT, "abcde")), until=9),
        queued(PROMPT, at=1),
        exchange("GET", "/view?filename=ComfyUI_temp_abcde_00001_.png", at=2),
    )
    stub = Stub(ACCEPTED, {POST: [output(OTHER, "vwxyz")]}, greeted)
    replayed(recording, stub)
    assert stub.requests[-1] == "GET /view?filename=ComfyUI_temp_vwxyz_00001_.png"


def test_conditional_requests_have_the_live_tag() -> None:
    tagged = exchange("GET", "/f", at=0, headers={"ETag": '"old"'})
    recording = har(tagged, exchange("GET", "/f", at=1, sent_headers={"If-None-Match": '"old"'}))
    stub = Stub(answers={"GET /f": (200, {"etag": '"new"'}, b"x")})
    replayed(recording, stub)
    assert stub.heard[1].headers["if-none-match"] == '"new"'


def test_a_base_url_may_have_a_path() -> None:
    stub = Stub()

    async def run() -> None:
        async with serving(stub) as url:
            await replay(har(exchange("GET", "/x?y=1")), f"{url}/behind/", timeout=20)

    asyncio.run(run())
    assert stub.requests == ["GET /behind/x?y=1"]


def broken_server(first_bytes: bytes) -> Any:
    """Replays one GET against a server that hangs up after `first_bytes`."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first_bytes)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def run() -> Any:
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await replay(har(exchange("GET", "/x")), f"http://127.0.0.1:{port}", timeout=20)

    return asyncio.run(run()).entries[0].response


def test_a_connection_that_breaks_is_an_answer_with_status_0() -> None:
    response = broken_server(b"")
    assert response.status == 0
    assert "disconnected" in response.status_text


def test_of_a_body_that_breaks_off_the_beginning_is_kept() -> None:
    response = broken_server(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    assert (response.status, response.body) == (200, b"half")


def test_a_server_that_does_not_answer_is_an_error() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(never, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(ReplayError, match=r"GET /x: no answer within 0\.3 s"):
                await replay(har(exchange("GET", "/x")), url, timeout=0.3)

    asyncio.run(run())


def test_nobody_there() -> None:
    async def run() -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        with pytest.raises(ReplayError, match=r"cannot open ws://127.0.0.1"):
            await replay(har(socket()), f"http://127.0.0.1:{port}", timeout=20)

    asyncio.run(run())


def test_an_empty_recording_is_replayed_at_once() -> None:
    assert replayed(har(), Stub()).entries == []


def test_what_was_not_recorded_of_the_server_stays_in_the_log() -> None:
    recording = load(packaged_recordings("0.33.0")["settings"])
    assert replayed(har(), Stub()).log.creator["name"] == "comfy-mock replay"
    assert recording.log.comfy["scenario"] == "settings"  # type: ignore[index]  # recordings have it
