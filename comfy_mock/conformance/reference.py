"""The reference client as conformance drives it: async and sync, by WebSocket and by polling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_client import AsyncClient, Client
from comfy_mock.conformance.clients import ClientFunction

_LOCAL: Mapping[str, Any] = {"verify": False, "trust_env": False}
"""The server is on this machine: no proxy is meant, and certificates would take a while to load."""


def by_websocket(url: str, workflow: dict[str, Any]) -> dict[str, Any]:
    """`Client`, by WebSocket, and by asking where it fails."""
    with Client(url, **_LOCAL) as client:
        return dict(client.run(workflow, fetch=True).outputs)


def by_polling(url: str, workflow: dict[str, Any]) -> dict[str, Any]:
    """`Client`, which only asks."""
    with Client(url, **_LOCAL) as client:
        return dict(client.run(workflow, path="polling", fetch=True).outputs)


async def async_by_websocket(url: str, workflow: dict[str, Any]) -> dict[str, Any]:
    """`AsyncClient`, by WebSocket, and by asking where it fails."""
    async with AsyncClient(url, **_LOCAL) as client:
        return dict((await client.run(workflow, fetch=True)).outputs)


async def async_by_polling(url: str, workflow: dict[str, Any]) -> dict[str, Any]:
    """`AsyncClient`, which only asks."""
    async with AsyncClient(url, **_LOCAL) as client:
        return dict((await client.run(workflow, path="polling", fetch=True)).outputs)


REFERENCE: Mapping[str, ClientFunction] = {
    "Client, WebSocket": by_websocket,
    "Client, polling": by_polling,
    "AsyncClient, WebSocket": async_by_websocket,
    "AsyncClient, polling": async_by_polling,
}
"""The ways of the reference client, by name."""
