"""Requests as bytes on a connection to a fake, and the answers in their parts."""

from __future__ import annotations

from dataclasses import dataclass

from shell_driver import exchange

FREE_HEADERS = ("Date", "Server", "Connection")


@dataclass(frozen=True)
class Received:
    """One answer. `headers` are those that say something about it, under the names as they were written."""

    status_line: str
    headers: dict[str, str]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.status_line.split(" ")[1])


def request(line: str | bytes, *headers: str, body: bytes = b"") -> bytes:
    """The bytes of a request that ends its connection. `line` is the method and the target."""
    first = line.encode("ascii") if isinstance(line, str) else line
    lines = ["Host: 127.0.0.1:8188", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return first + b" HTTP/1.1\r\n" + "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def ask(port: int, line: str | bytes, *headers: str, body: bytes = b"") -> Received:
    """The answer to a request on a connection of its own."""
    return received(exchange(port, request(line, *headers, body=body), until_closed=True))


def received(answer: bytes) -> Received:
    """The parts of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    return Received(status_line, {name: value for name, value in pairs if name not in FREE_HEADERS}, body)
