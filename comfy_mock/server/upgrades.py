"""What is wrong with a request that wants to open a WebSocket, in the real server's words (protocol 1.3)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

_KEY_BYTES = 16


def upgrade_fault(headers: Mapping[str, str]) -> str | None:
    """Why these headers (names in lower case) open no WebSocket; None if they do."""
    upgrade, connection = headers.get("upgrade"), headers.get("connection")
    if upgrade is None or upgrade.strip().lower() != "websocket":
        return f'No WebSocket UPGRADE hdr: {upgrade}\n Can "Upgrade" only to "WebSocket".'
    if connection is None or "upgrade" not in connection.lower():
        return f"No CONNECTION upgrade hdr: {connection}"
    version = headers.get("sec-websocket-version", "")
    if version != "13":
        return f"Unsupported version: {version}"
    key = headers.get("sec-websocket-key")
    return None if _is_key(key) else f"Handshake error: {key!r}"


def _is_key(key: str | None) -> bool:
    try:
        return key is not None and len(base64.b64decode(key)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False
