"""Reads the messages in the bytes of a WebSocket that somebody else holds: nothing is answered, nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from websockets.exceptions import InvalidHeaderFormat
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.headers import parse_extension
from websockets.protocol import CLIENT, SERVER, Protocol

Side = Literal["send", "receive"]
_LARGEST_WINDOW = 15


class Tap:
    """One direction of a connection. `side` is `send` for what the client says, `receive` for what the server says.

    `extensions` is the header of the handshake's answer, by which messages may be compressed (RFC 7692). `on_message`
    gets each message when it is complete, `on_close` code and reason when the connection is closed by a word.
    """

    def __init__(
        self,
        side: Side,
        extensions: str | None,
        on_message: Callable[[str | bytes], None],
        on_close: Callable[[int, str], None],
    ) -> None:
        # Whoever listens to the client stands where the server is.
        self._protocol = Protocol(SERVER if side == "send" else CLIENT, max_size=None)
        self._protocol.extensions = _decompression(side, extensions)
        self._on_message, self._on_close = on_message, on_close
        self._pieces: list[bytes] = []
        self._is_text = False

    def feed(self, data: bytes) -> None:
        """What has just passed. Bytes that are no WebSocket are passed over."""
        self._protocol.receive_data(data)
        # What the protocol would answer is the business of those who really talk.
        self._protocol.data_to_send()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            close = Close.parse(bytes(frame.data))
            self._on_close(close.code, close.reason)
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._pieces, self._is_text = [], frame.opcode is Opcode.TEXT
        self._pieces.append(bytes(frame.data))
        if frame.fin:
            whole = b"".join(self._pieces)
            self._pieces = []
            self._on_message(whole.decode("utf-8", "replace") if self._is_text else whole)


def _decompression(side: Side, header: str | None) -> list[Extension]:
    """The extension as the answer to the handshake agreed on it; none where there is none that is known."""
    try:
        agreed = {str(name): dict(parameters) for name, parameters in parse_extension(header)} if header else {}
    except InvalidHeaderFormat:
        return []
    if "permessage-deflate" not in agreed:
        return []
    parameters = agreed["permessage-deflate"]
    remote, local = ("client", "server") if side == "send" else ("server", "client")
    return [
        PerMessageDeflate(
            remote_no_context_takeover=f"{remote}_no_context_takeover" in parameters,
            local_no_context_takeover=f"{local}_no_context_takeover" in parameters,
            remote_max_window_bits=_bits(parameters, remote),
            local_max_window_bits=_bits(parameters, local),
        )
    ]


def _bits(parameters: dict[str, str | None], side: str) -> int:
    return int(parameters.get(f"{side}_max_window_bits") or _LARGEST_WINDOW)
