"""Faults of WebSockets and of the messages on their way to them."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import websockets
from fault_driver import IMAGE, WAIT_S_MAX, heard, kind, open_socket, post, until_lost
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection

from comfy_mock import ComfyMock, Instance
from comfy_mock.engine.script.model import (
    AnyRule,
    EventMatch,
    MessageMatch,
    MessageRule,
    PointRule,
    RequestMatch,
    RequestRule,
    Script,
    SocketMatch,
    SocketRule,
)
from comfy_mock.server.clocks import START
from comfy_mock.server.faults_sockets import SocketFaults

THIRD = EventMatch(event="progress", value=2)
RUN = [
    *("status", "status", "execution_start", "execution_cached", "progress_state", "executing", "progress_state"),
    *("progress_state", "executing"),
    *("progress_state", "progress 0", "binary", "progress_state", "progress 1", "binary"),
    *("progress_state", "progress 2", "binary", "progress_state"),
    *("execution_success", "status", "executing null"),
]
"""What a run of `IMAGE` sends (protocol 5.2-5.5, 6.7, 6.8), after the first `status`."""

Scripted = Callable[..., ComfyMock]


@pytest.fixture(scope="module")
def shared() -> Iterator[ComfyMock]:
    with ComfyMock() as server:
        yield server


@pytest.fixture
def scripted(shared: ComfyMock) -> Scripted:
    """A fresh server with these rules."""

    def begin(*rules: AnyRule, **arguments: Any) -> ComfyMock:
        shared.reset(**{"clock": "instant", "script": Script(rules=list(rules)), **arguments})
        return shared

    return begin


def greeted(websocket: ClientConnection) -> ClientConnection:
    assert kind(websocket.recv(timeout=WAIT_S_MAX)) == "status"
    return websocket


def test_without_rules_a_run_is_as_it_is(scripted: Scripted) -> None:
    server = scripted()
    with open_socket(server) as websocket:
        greeted(websocket)
        post(server)
        assert heard(websocket) == RUN


@pytest.mark.parametrize("status", [401, 403, 500, 503, 520])
def test_an_upgrade_is_refused(scripted: Scripted, status: int) -> None:
    server = scripted(SocketRule(match=SocketMatch(connection=1), refuse=status))
    with pytest.raises(websockets.InvalidStatus) as refused, open_socket(server):
        pass
    assert refused.value.response.status_code == status
    with open_socket(server) as websocket:
        greeted(websocket)
    first, second = server.journal.sockets()
    assert (first.refused, first.rules, second.refused, second.connection) == (status, ("rules[0]",), None, 2)
    assert [record.status for record in server.journal.requests("GET /ws")] == [status, 101]


def test_a_socket_is_closed_at_once(scripted: Scripted) -> None:
    server = scripted(SocketRule(match=SocketMatch(client_id="c"), end="close", code=1013))
    with open_socket(server) as websocket, open_socket(server, "d") as other:
        assert until_lost(websocket) == ([], 1013)
        greeted(other)


@pytest.mark.parametrize(("end", "code"), [("close", 1011), ("abort", None)])
@pytest.mark.parametrize("clock", ["instant", "manual"])
def test_a_socket_ends_after_an_event(scripted: Scripted, end: Any, code: int | None, clock: str) -> None:
    server = scripted(SocketRule(end=end, event=THIRD), clock=clock)
    with open_socket(server) as websocket:
        greeted(websocket)
        post(server)
        if clock == "manual":
            server.advance(10)
        assert until_lost(websocket) == (RUN[: RUN.index("progress 2") + 1], code)
    assert [use.unused for use in server.rules] == [False]


def test_a_socket_ends_after_so_many_messages(scripted: Scripted) -> None:
    server = scripted(SocketRule(end="abort", messages=4, times=1))
    with open_socket(server) as websocket:
        post(server)
        assert until_lost(websocket) == (["status", *RUN[:3]], None)
    with open_socket(server) as websocket:
        greeted(websocket)


def test_a_broken_off_socket_is_gone_for_the_server_too(scripted: Scripted) -> None:
    server = scripted(SocketRule(end="abort", event=EventMatch(event="execution_start"), times=1), clock="manual")
    with open_socket(server) as websocket:
        greeted(websocket)
        post(server)
        server.run_until("execution_start")
        until_lost(websocket)
        record = server.journal.sockets()[0]
        while record.open:
            pass
        assert record.code is None
        assert server.engine.clients.is_connected("c") is False


def test_a_rule_that_waited_in_vain_befalls_the_next_socket(scripted: Scripted) -> None:
    server = scripted(SocketRule(end="abort", event=THIRD, times=1))
    (use,) = server.rules
    with open_socket(server) as websocket:
        greeted(websocket)
        assert (use.served, use.unused) == (1, True)
    while use.served:
        pass
    with open_socket(server) as websocket:
        greeted(websocket)
        post(server)
        assert until_lost(websocket)[0][-1] == "progress 2"
    assert (use.served, use.unused) == (1, False)


def test_silence_is_neither_an_end_nor_an_answer(scripted: Scripted) -> None:
    server = scripted(SocketRule(end="silence", event=THIRD, match=SocketMatch(connection=1)))
    with open_socket(server, ping_interval=None) as websocket:
        greeted(websocket)
        post(server)
        assert heard(websocket, "progress 2")[-2:] == ["progress_state", "progress 2"]
        pong = websocket.ping()
        with open_socket(server, "d") as other:
            greeted(other)
            post(server, client_id="d")
            heard(other)
            assert other.ping().wait(WAIT_S_MAX)
        assert not pong.is_set()
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=0)
        # the engine knows nothing of it
        assert server.engine.clients.is_connected("c")
        assert httpx.get(f"{server.url}/queue").json() == {"queue_running": [], "queue_pending": []}
    record = server.journal.sockets()[0]
    while record.open:
        pass


@pytest.mark.parametrize("ending", ["reset", "stop", "restart"])
def test_what_is_silent_ends_with_the_server(ending: str) -> None:
    with ComfyMock(script=Script(rules=[SocketRule(end="silence")])) as server, open_socket(server) as websocket:
        getattr(server, ending)()
        assert until_lost(websocket) == ([], None)


def test_a_stalled_socket_gets_everything_late_and_in_order(scripted: Scripted) -> None:
    server = scripted(SocketRule(end="stall", event=EventMatch(event="execution_start"), hold="net", times=1))
    with open_socket(server) as websocket:
        greeted(websocket)
        post(server)
        heard(websocket, "execution_start")
        while len(httpx.get(f"{server.url}/history").json()) < 1:
            pass
        assert server.held == ["net"]
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=0)
        # it lives, it is only slow
        assert websocket.ping().wait(WAIT_S_MAX)
        server.release("net")
        assert heard(websocket) == RUN[3:]


def test_a_stall_ends_by_time(scripted: Scripted) -> None:
    server = scripted(SocketRule(end="stall", seconds=30), clock="manual")
    with open_socket(server) as websocket:
        server.advance(29)
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=0.02)
        server.advance(1)
        greeted(websocket)


def test_rules_that_are_added_befall_open_sockets(scripted: Scripted) -> None:
    server = scripted()
    with open_socket(server) as one, open_socket(server, "d") as two:
        greeted(one), greeted(two)
        server.add_rules(SocketRule(end="close", code=1001, match=SocketMatch(connection=2)))
        assert until_lost(two) == ([], 1001)
        server.add_rules(SocketRule(end="stall", hold="h", match=SocketMatch(client_id="c"), name="s"))
        assert server.held == ["h"]
        server.add_rules(SocketRule(refuse=500), SocketRule(end="close", event=THIRD))
        server.release()
        post(server)
        assert until_lost(one)[1] == 1011


def test_rules_that_are_taken_away_befall_nobody(scripted: Scripted) -> None:
    server = scripted(SocketRule(end="close", event=THIRD, name="x"))
    with open_socket(server) as websocket:
        greeted(websocket)
        server.remove_rules("x")
        post(server)
        assert heard(websocket)[-1] == "executing null"


# -- messages


def played(server: ComfyMock) -> list[str]:
    with open_socket(server) as websocket:
        greeted(websocket)
        post(server)
        return heard(websocket)


def without(kinds: list[str], *left_out: str) -> list[str]:
    return [message for message in kinds if message not in left_out]


def test_messages_are_lost(scripted: Scripted) -> None:
    server = scripted(
        MessageRule(match=MessageMatch(event="progress"), lose=True, name="gap"),
        MessageRule(match=MessageMatch(event="binary"), lose=True, optional=True),
        MessageRule(match=MessageMatch(event="preview"), lose=True, after=1, times=1),
    )
    got = played(server)
    assert without(got, "binary") == without(RUN, "progress 0", "progress 1", "progress 2", "binary")
    assert got.count("binary") == 2
    assert [record.rules for record in server.journal.events("progress")] == [("gap",)] * 3


def test_a_message_comes_twice_and_more(scripted: Scripted) -> None:
    server = scripted(MessageRule(match=MessageMatch(event="progress", value=1), duplicate=2))
    place = RUN.index("progress 1")
    assert played(server) == [*RUN[:place], "progress 1", "progress 1", *RUN[place:]]


@pytest.mark.parametrize("places", [1, 3])
def test_a_message_comes_out_of_order(scripted: Scripted, places: int) -> None:
    server = scripted(MessageRule(match=MessageMatch(event="progress", value=1), reorder=places))
    place = RUN.index("progress 1")
    after = RUN[place + 1 : place + 1 + places]
    assert played(server) == [*RUN[:place], *after, "progress 1", *RUN[place + 1 + places :]]


def test_a_large_frame_comes_before_a_message(scripted: Scripted) -> None:
    server = scripted(MessageRule(match=MessageMatch(event="execution_start"), oversize=2_000_000))
    with open_socket(server) as websocket:
        greeted(websocket)
        post(server)
        heard(websocket, "status"), heard(websocket, "status")
        frame = websocket.recv(timeout=WAIT_S_MAX)
        assert isinstance(frame, bytes)
        assert (len(frame), frame[:4]) == (2_000_000, struct.pack(">I", 2**31 - 1))
        assert kind(websocket.recv(timeout=WAIT_S_MAX)) == "execution_start"


def test_a_late_message_keeps_those_behind_it_in_order(scripted: Scripted) -> None:
    server = scripted(MessageRule(match=MessageMatch(event="execution_start"), delay=60), clock="manual")
    with open_socket(server) as websocket:
        greeted(websocket)
        post(server)
        server.run_until("executing", node=None)
        assert [heard(websocket, "status"), heard(websocket, "status")] == [["status"], ["status"]]
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=0.02)
        server.advance(60)
        assert heard(websocket) == RUN[2:]


def test_a_late_message_is_late_in_real_time_by_the_instant_clock(scripted: Scripted) -> None:
    server = scripted(MessageRule(match=MessageMatch(event="execution_start"), delay=0.1))
    begun = time.monotonic()
    assert played(server) == RUN
    assert time.monotonic() - begun >= 0.1


def test_only_the_socket_that_is_meant(scripted: Scripted) -> None:
    server = scripted(MessageRule(match=MessageMatch(event="*", client_id="c"), lose=True))
    with open_socket(server) as deaf, open_socket(server, "d") as other:
        greeted(other)
        post(server)
        assert heard(other, "status") == ["status"]
        assert httpx.get(f"{server.url}/prompt").status_code == 200
        with pytest.raises(TimeoutError):
            deaf.recv(timeout=0)


def test_a_prompt_is_known_by_its_place(scripted: Scripted) -> None:
    server = scripted(MessageRule(match=MessageMatch(event="preview", prompt=2), lose=True))
    with open_socket(server) as websocket:
        greeted(websocket)
        counts = []
        for colour in range(3):
            inputs = {**IMAGE["1"]["inputs"], "color": colour}  # type: ignore[dict-item]
            post(server, {**IMAGE, "1": {"class_type": "EmptyImage", "inputs": inputs}})
            counts.append(heard(websocket).count("binary"))
    assert counts == [3, 0, 3]


MESSAGE_FAULTS = st.builds(
    MessageRule,
    match=st.builds(MessageMatch, event=st.sampled_from(["*", "progress", "preview", "status", "progress_state"])),
    lose=st.booleans(),
    duplicate=st.integers(0, 2),
    reorder=st.integers(0, 3),
    delay=st.sampled_from([0.0, 0.5, 2.0]),
    after=st.integers(0, 5),
    times=st.none() | st.integers(1, 4),
    optional=st.just(True),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rules=st.lists(MESSAGE_FAULTS, min_size=1, max_size=4, unique=True))
def test_whatever_is_done_to_messages_is_done_alike_each_time(scripted: Scripted, rules: list[MessageRule]) -> None:
    """The same script and the same inputs give the same bytes, and nothing is made up."""
    traces = []
    assume(all(rule.lose != any((rule.duplicate, rule.reorder, rule.delay)) for rule in rules))
    for _ in range(2):
        server = scripted(clock="manual")
        server.director.add(*rules)
        with open_socket(server) as websocket:
            post(server)
            server.advance(100)
            server.clear_rules()
            server.push("the end")
            got: list[str | bytes] = []
            while not got or kind(got[-1]) != "the end":
                got.append(websocket.recv(timeout=WAIT_S_MAX))
            traces.append(got)
    assert traces[0] == traces[1]
    assert {kind(message) for message in traces[0]} <= {*RUN, "the end"}


# -- around the upgrade


def test_an_upgrade_may_be_late_or_answered_by_a_proxy(scripted: Scripted) -> None:
    server = scripted(
        RequestRule(match=RequestMatch(route="GET /ws"), times=1, status=502, body="<p>bad gateway"),
        RequestRule(match=RequestMatch(route="GET /ws"), times=1, reset="before_headers"),
        RequestRule(match=RequestMatch(route="GET /ws"), hold="ws"),
    )
    with pytest.raises(websockets.InvalidStatus) as refused, open_socket(server):
        pass
    assert (refused.value.response.status_code, refused.value.response.body) == (502, b"<p>bad gateway")
    with pytest.raises((ConnectionError, EOFError, websockets.InvalidMessage)), open_socket(server):
        pass
    releasing = threading.Thread(target=lambda: (server.journal.wait_for_hold("ws"), server.release("ws")))
    releasing.start()
    with open_socket(server) as websocket:
        greeted(websocket)
    releasing.join()


def test_a_client_that_leaves_before_its_upgrade_is_answered(
    scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    server = scripted(RequestRule(match=RequestMatch(route="GET /ws"), hold="ws", times=1))
    with pytest.raises(TimeoutError), open_socket(server, open_timeout=0.05):
        pass
    server.release("ws")
    while server.journal.sockets() == [] or server.journal.sockets()[0].open:
        httpx.get(f"{server.url}/queue")
    with open_socket(server) as websocket:
        greeted(websocket)
    assert caplog.messages == []


def test_a_late_upgrade_does_not_outlive_a_reset(scripted: Scripted) -> None:
    """The fresh server has not been asked for it: its first WebSocket is the next one."""
    server = scripted(RequestRule(match=RequestMatch(route="GET /ws"), hold="ws"))
    with pytest.raises(TimeoutError), open_socket(server, open_timeout=0.05):
        pass
    server.reset(script=Script(rules=[SocketRule(match=SocketMatch(connection=1), end="close", messages=1)]))
    with open_socket(server) as websocket:
        assert until_lost(websocket) == (["status"], 1011)
    (record,) = server.journal.sockets()
    assert record.client_id == "c"


def test_the_gap_after_the_upgrade(scripted: Scripted) -> None:
    """A socket that is open, and not known to the server yet: what is sent meanwhile, it never gets."""
    server = scripted(PointRule(point="after_upgrade", hold="gap"))
    with open_socket(server) as websocket:
        server.journal.wait_for_hold("gap")
        post(server)
        while not httpx.get(f"{server.url}/history").json():
            pass
        with pytest.raises(TimeoutError):
            websocket.recv(timeout=0)
        server.release("gap")
        first = json.loads(websocket.recv(timeout=WAIT_S_MAX))
        assert first["data"] == {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "c"}
    assert server.journal.sockets()[0].rules == ("rules[0]",)


@pytest.mark.parametrize("ends", [{"polls": 2}, {"seconds": 4.0}])
def test_the_gap_after_the_upgrade_closes_by_polls_or_time(scripted: Scripted, ends: dict[str, Any]) -> None:
    server = scripted(PointRule(point="after_upgrade", **ends), clock="manual")
    with open_socket(server) as websocket:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                websocket.recv(timeout=0.02)
            if "polls" in ends:
                httpx.get(f"{server.url}/queue")
            else:
                server.advance(2)
        greeted(websocket)


def test_messages_can_be_pushed(scripted: Scripted) -> None:
    server = scripted(clock="manual")
    with open_socket(server) as websocket, open_socket(server, "d") as other:
        greeted(websocket), greeted(other)
        server.push("my.event", {"a": 1})
        server.push("mine", client_id="c")
        assert [json.loads(websocket.recv(timeout=WAIT_S_MAX)) for _ in range(2)] == [
            {"type": "my.event", "data": {"a": 1}},
            {"type": "mine"},
        ]
        assert heard(other, "my.event") == ["my.event"]


# -- without a network


def without_a_network(rule: SocketRule) -> list[dict[str, Any]]:
    """What the app sends to a WebSocket, up to its end."""

    async def run() -> list[dict[str, Any]]:
        instance = Instance(script=Script(rules=[rule]))
        sent: list[dict[str, Any]] = []
        ended = asyncio.Event()
        comes = iter(["websocket.connect"])

        async def receive() -> dict[str, Any]:
            kind = next(comes, None)
            if kind is None:
                await ended.wait()
            return {"type": kind or "websocket.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] in ("websocket.close", "websocket.http.response.body"):
                ended.set()

        headers = [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
        scope = {"type": "websocket", "path": "/ws", "raw_path": b"/ws", "query_string": b"", "headers": headers}
        await instance.app({**scope, "extensions": {"websocket.http.response": {}}}, receive, send)
        await instance.runner.stop()
        return sent

    return asyncio.run(run())


@pytest.mark.parametrize(("end", "code"), [("close", 1011), ("abort", 1006)])
def test_without_a_network_a_socket_is_closed(end: Any, code: int) -> None:
    accepted, status, closed = without_a_network(SocketRule(end=end, messages=1))
    assert (accepted["type"], kind(status["text"])) == ("websocket.accept", "status")
    assert (closed["type"], closed["code"]) == ("websocket.close", code)


def test_without_a_network_an_upgrade_is_refused() -> None:
    assert [message.get("status") for message in without_a_network(SocketRule(refuse=503))] == [503, None]


def test_a_message_that_nothing_follows_comes_at_the_end_of_its_prompt(scripted: Scripted) -> None:
    server = scripted(MessageRule(match=MessageMatch(event="executing", node=None), reorder=3))
    with open_socket(server) as websocket:
        greeted(websocket)
        post(server)
        assert heard(websocket)[-1] == "executing null"


def test_a_message_that_waits_for_others_comes_before_its_socket_is_closed(scripted: Scripted) -> None:
    late = MessageRule(match=MessageMatch(event="execution_start"), reorder=100)
    server = scripted(late, SocketRule(end="close", code=4001, event=EventMatch(event="progress", value=1)))
    with open_socket(server) as websocket:
        greeted(websocket)
        post(server)
        got, code = until_lost(websocket)
        assert (got[-2:], code) == (["progress 1", "execution_start"], 4001)


def test_a_fault_that_breaks_leaves_out_one_message_and_no_more(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(SocketFaults, "_apply", breaks)
    server = scripted(MessageRule(match=MessageMatch(event="progress", value=1), duplicate=1))
    assert played(server) == [each for each in RUN if each != "progress 1"]
    assert "A fault cannot be played, and its message is left out: progress" in caplog.text


def test_the_gap_after_an_upgrade_counts_simulated_seconds(scripted: Scripted) -> None:
    server = scripted(PointRule(point="after_upgrade", seconds=1000), clock="instant")
    with open_socket(server) as websocket:
        assert heard(websocket, "status") == ["status"]
        assert server.now() >= START + 1000
