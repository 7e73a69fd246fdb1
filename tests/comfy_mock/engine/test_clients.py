"""The session registry and feature flags (protocol 6.2-6.5)."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_contracts.messages import FeatureFlags, Status
from comfy_mock.engine.clients import Clients

FLAGS = '{"type": "feature_flags", "data": {"supports_preview_metadata": true}}'
STATUS = Status(queue_remaining=0)


@pytest.fixture
def clients() -> Clients:
    return Clients(lambda: {"known": True})


def addressed(outgoing: list[Any]) -> list[int]:
    return [socket for out in outgoing for socket in out.sockets]


def test_a_newer_socket_gets_everything_and_the_older_nothing(clients: Clients) -> None:
    old, other = clients.connect("a"), clients.connect("b")
    new = clients.connect("a")
    assert addressed(clients.to_client("a", STATUS)) == [new]
    assert sorted(addressed(clients.to_all(STATUS))) == sorted([other, new])
    assert old != new


@pytest.mark.parametrize("closing", ["old", "new"])
def test_when_either_socket_closes_the_id_is_gone(clients: Clients, closing: str) -> None:
    sockets = {"old": clients.connect("a"), "new": clients.connect("a")}
    clients.disconnect(sockets[closing])
    assert not clients.is_connected("a")
    assert addressed(clients.to_all(STATUS)) == []
    again = clients.connect("a")
    assert addressed(clients.to_client("a", STATUS)) == [again]


def test_closing_twice_is_harmless(clients: Clients) -> None:
    socket = clients.connect("a")
    clients.disconnect(socket)
    again = clients.connect("a")
    clients.disconnect(socket)
    assert addressed(clients.to_client("a", STATUS)) == [again]


@pytest.mark.parametrize("client_id", [5, True, None, "nobody", [], {}])
def test_a_message_for_nobody_is_dropped(clients: Clients, client_id: Any) -> None:
    clients.connect("a")
    assert clients.to_client(client_id, STATUS) == []
    assert not clients.is_connected(client_id)
    assert not clients.wants_preview_metadata(client_id)


@pytest.mark.parametrize(
    "nothing", ["", "x", "null", "5", "[]", '"x"', b"\x00", FLAGS.encode(), "[" * 100_000, '{"type": "feature_flags"']
)
def test_what_does_not_close_the_window(clients: Clients, nothing: str | bytes) -> None:
    socket = clients.connect("a")
    assert clients.receive(socket, nothing) == []
    assert addressed(clients.receive(socket, FLAGS)) == [socket]
    assert clients.wants_preview_metadata("a")


@pytest.mark.parametrize("first", ["{}", '{"type": 7}', '{"type": "other", "data": {}}', '{"type": "feature_flags"}'])
def test_any_other_object_closes_the_window(clients: Clients, first: str) -> None:
    socket = clients.connect("a")
    clients.receive(socket, first)
    assert clients.receive(socket, FLAGS) == []
    assert not clients.wants_preview_metadata("a")


def test_the_answer_tells_the_servers_features(clients: Clients) -> None:
    (answer,) = clients.receive(clients.connect("a"), '{"type": "feature_flags"}')
    assert isinstance(answer.payload, FeatureFlags)
    assert answer.payload.data == {"known": True}


def test_a_new_socket_starts_without_flags(clients: Clients) -> None:
    clients.receive(clients.connect("a"), FLAGS)
    clients.connect("a")
    assert not clients.wants_preview_metadata("a")


def test_flags_of_a_replaced_socket_land_on_the_id(clients: Clients) -> None:
    old = clients.connect("a")
    new = clients.connect("a")
    assert addressed(clients.receive(old, FLAGS)) == [new]
    assert clients.wants_preview_metadata("a")


def test_flags_of_a_silenced_socket_are_lost(clients: Clients) -> None:
    old = clients.connect("a")
    new = clients.connect("a")
    clients.disconnect(old)
    assert clients.receive(new, FLAGS) == []
    assert not clients.wants_preview_metadata("a")


def test_null_as_flags_raises_when_asked(clients: Clients) -> None:
    clients.receive(clients.connect("a"), '{"type": "feature_flags", "data": null}')
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'get'"):
        clients.wants_preview_metadata("a")
