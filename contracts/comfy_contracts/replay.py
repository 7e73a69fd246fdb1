"""Drives a live server with the requests of a recording, and records what it says.

    recorded = load("t2i_fresh.har")
    live = asyncio.run(replay(recorded, "http://127.0.0.1:8188"))
    differences = compare(recorded, live)

HTTP requests are sent one after another, sockets opened, used and closed, in the recorded order. Nothing is timed:
before each step the replay waits until every open socket has received what it had received in the recording
(`replay_plan`). Words that the live server made (ids, file names, entity tags) take the place of the recorded ones
(`replay_names`).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from comfy_contracts import jsontext
from comfy_contracts.har import Entry, Har, NameValue, Response
from comfy_contracts.replay_har import exchange_entry, headers_of, no_response, request_of, response_of
from comfy_contracts.replay_names import Translation
from comfy_contracts.replay_plan import Received, Step, Tally, received_before, steps_of
from comfy_contracts.replay_socket import ReplaySocket

_CODES_OF_THE_CLIENT = frozenset({None, 1000, 1001, 1005})
_T = TypeVar("_T")


class ReplayError(Exception):
    """A replay could not go on: the server did not answer, or did not send what the next step waits for.

    `partial` is the traffic up to there.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.partial: Har | None = None


async def replay(har: Har, base_url: str, *, timeout: float = 60.0) -> Har:
    """Drive the server at `base_url` with the requests of `har`; its traffic, as a HAR with the same entries.

    `timeout`, in seconds, is the longest wait for one answer, or for the messages that one step needs. A request that
    gets no HTTP answer at all is recorded with status 0. Beside the recorded requests the server gets a GET of /prompt
    after each socket that closes in the middle, and one more socket at the end: they prove that it has got that far.

    Raises `ReplayError` where the server does not come to the point at which the recorded client took its next step;
    the text says which step that is, and what each socket lacks.
    """
    run = _Replay(har, base_url.rstrip("/"), timeout)
    try:
        await run.run()
    except ReplayError as error:
        error.partial = run.har()
        raise
    finally:
        await run.stop()
    return run.har()


class _Replay:
    def __init__(self, har: Har, base_url: str, timeout: float) -> None:
        self._recorded, self._base_url, self._timeout = har, base_url, timeout
        self._words = Translation(har.entries[0].request.url if har.entries else base_url, base_url)
        self._http = httpx.AsyncClient(timeout=timeout, trust_env=False)
        self._news = asyncio.Condition()
        self._sockets: dict[int, ReplaySocket] = {}
        self._exchanges: dict[int, Entry] = {}
        self._read_outputs: dict[int, int] = {}

    async def run(self) -> None:
        """Take all steps."""
        steps = steps_of(self._recorded)
        while steps and any(step.action != "close" for step in steps):
            step = steps.pop(0)
            await self._ready_for(step)
            await self._take(step)
        await self._settle()
        for step in steps:
            await self._close(step)

    async def stop(self) -> None:
        """Close whatever is still open."""
        for socket in self._sockets.values():
            await socket.close()
        await self._http.aclose()

    def har(self) -> Har:
        """The traffic so far, in the order of the recording."""
        entries = {**self._exchanges, **{index: socket.entry() for index, socket in self._sockets.items()}}
        log = self._recorded.log.to_builtins()
        log["creator"] = {"name": "comfy-mock replay", "version": "1"}
        log["entries"] = [entries[index].to_builtins() for index in sorted(entries)]
        return Har.from_builtins({"log": log})

    # Steps

    async def _take(self, step: Step) -> None:
        if step.action == "open":
            await self._open(step)
        elif step.action == "request":
            await self._request(step)
        elif step.action == "send":
            payload = self._recorded.entries[step.entry].messages[step.message].payload
            await self._sockets[step.entry].send(self._words.text(payload) if isinstance(payload, str) else payload)
        else:
            await self._close(step)
            # The server has seen the end of a connection when it answers what was asked after it.
            await self._answer(self._http.get(f"{self._base_url}/prompt"), "GET /prompt")

    async def _open(self, step: Step) -> None:
        entry = self._recorded.entries[step.entry]
        socket = self._sockets[step.entry] = ReplaySocket(entry, self._news)
        url = self._socket_url(self._target(entry))
        try:
            await socket.open(url, self._headers(entry), self._timeout)
        except (OSError, InvalidHandshake, asyncio.TimeoutError) as error:
            raise ReplayError(f"cannot open {url}: {error or type(error).__name__}") from error
        greeting = next((message for message in socket.expected if message.is_greeting), None)
        if greeting is not None and socket.expected[0] is greeting and socket.is_open:
            # The server knows a socket when it has greeted it; the client's next request must not come before that.
            await self._wait(f"after opening {url}", {socket: Tally([greeting])})
            self._words.learn(greeting.data, socket.received[0].data if socket.received else None)

    async def _request(self, step: Step) -> None:
        entry = self._recorded.entries[step.entry]
        for index, socket in self._sockets.items():
            self._learn_outputs(index, socket)
        method, target = entry.request.method, self._target(entry)
        headers = [header for header in self._headers(entry) if header.name.lower() != "content-length"]
        body = self._words.body(entry.request.body)
        request = httpx.Request(
            method,
            self._base_url,
            headers=[(header.name.encode("latin-1"), header.value.encode("latin-1")) for header in headers],
            content=body or None,
            # The library would tidy up a path like `/a/../b`; the server must get what the recording has.
            extensions={"target": self._path(target), "timeout": httpx.Timeout(self._timeout).as_dict()},
        )
        started = time.time()
        response = await self._answer(self._send(request), f"{method} {target}")
        url = f"{self._base_url}{target}"
        live = exchange_entry(request_of(method, url, headers, body), response, started, time.time())
        self._exchanges[step.entry] = live
        self._words.learn_headers(entry.response, response)
        self._words.learn(_json(entry.response), _json(response))

    async def _send(self, request: httpx.Request) -> Response:
        """The answer; status 0 where the server broke the connection instead of answering."""
        try:
            response = await self._http.send(request, stream=True, follow_redirects=False)
        except httpx.TimeoutException:
            raise
        except httpx.TransportError as error:
            return no_response(str(error) or type(error).__name__)
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                body += chunk
        except httpx.RemoteProtocolError:
            # A body that breaks off: what came is what the server said.
            return _answered(response, bytes(body))
        finally:
            await response.aclose()
        return _answered(response, bytes(body))

    async def _close(self, step: Step) -> None:
        recorded = self._recorded.entries[step.entry].web_socket_close
        code = getattr(recorded, "code", None)
        socket = self._sockets[step.entry]
        if code in _CODES_OF_THE_CLIENT:
            await socket.close(code if code in (1000, 1001) else 1000)
            return
        waiting = socket.closed_by_server()
        await self._answer(waiting, f"closing of a socket by the server (with code {code})")

    # Words

    def _target(self, entry: Entry) -> str:
        """The path and query of a recorded URL, with live words."""
        url = entry.request.url.partition("#")[0]
        start = url.find("/", url.index("//") + 2)
        return self._words.text(url[start:] if start >= 0 else "/")

    def _path(self, target: str) -> bytes:
        """A target below the path of the base URL, as it goes on the wire."""
        return f"{urlsplit(self._base_url).path}{target}".encode("ascii")

    def _socket_url(self, target: str) -> str:
        return f"{self._base_url.replace('http', 'ws', 1)}{target}"

    def _headers(self, entry: Entry) -> list[NameValue]:
        return [
            NameValue(header.name, self._words.header(header.name, header.value)) for header in entry.request.headers
        ]

    def _learn_outputs(self, index: int, socket: ReplaySocket) -> None:
        """Learn the names of saved files from the `executed` messages of runs that the recording has too."""
        recorded = {_output_key(message): message for message in socket.expected if message.kind == "executed"}
        start = self._read_outputs.get(index, 0)
        for message in socket.received[start:]:
            if message.kind == "executed" and message.prompt is not None:
                prompt = self._words.recorded_id(message.prompt)
                same = recorded.get((prompt, message.data.get("node")))
                if same is not None:
                    self._words.learn(same.data, message.data)
        self._read_outputs[index] = len(socket.received)

    # Waiting

    async def _ready_for(self, step: Step) -> None:
        needs = {
            socket: Tally(received_before(step, socket.expected)) for socket in self._sockets.values() if socket.is_open
        }
        entry = self._recorded.entries[step.entry]
        await self._wait(
            f"before entry {step.entry}, {step.action} {entry.request.method} {self._target(entry)}", needs
        )

    async def _wait(self, when: str, needs: dict[ReplaySocket, Tally]) -> None:
        def lacking() -> dict[ReplaySocket, list[str]]:
            found = {
                socket: list(socket.tally.lacks(needed, self._words.live_id))
                for socket, needed in needs.items()
                if socket.is_open
            }
            return {socket: lacks for socket, lacks in found.items() if lacks}

        async def until_nothing_lacks() -> None:
            async with self._news:
                await self._news.wait_for(lambda: not lacking())

        try:
            await asyncio.wait_for(until_nothing_lacks(), self._timeout)
        except asyncio.TimeoutError as error:
            lines = [_what_lacks(socket, lacks) for socket, lacks in lacking().items()]
            raise ReplayError(
                f"{when}: within {self._timeout:g} s the server has not sent what it had sent in the recording."
                + "".join(f"\n  {line}" for line in lines)
            ) from error

    async def _answer(self, waiting: Awaitable[_T], what: str) -> _T:
        try:
            return await asyncio.wait_for(waiting, self._timeout)
        except (asyncio.TimeoutError, httpx.TimeoutException) as error:
            raise ReplayError(f"{what}: no answer within {self._timeout:g} s") from error
        except httpx.TransportError as error:
            raise ReplayError(f"{what}: {error or type(error).__name__}") from error

    async def _settle(self) -> None:
        """Wait for all that was recorded, then make sure that nothing else is on its way."""
        watching = [socket for socket in self._sockets.values() if socket.is_open]
        await self._wait("at the end", {socket: Tally(socket.expected) for socket in watching})
        queues = [message for socket in watching for message in socket.expected if message.kind == "status"]
        if queues and _queue_length(max(queues, key=lambda message: message.time)) == 0:
            await self._answer(self._queue_empty(), "an idle server at the end")
        for socket in watching:
            await self._answer(socket.flush(), "ping")

    async def _queue_empty(self) -> None:
        """Wait until a socket of our own is told that nothing is queued; messages go to all sockets in one order."""
        try:
            async with connect(self._socket_url(f"/ws?clientId={uuid.uuid4().hex}"), proxy=None) as fence:
                async for payload in fence:
                    message = Received.read(payload, time.time())
                    if message.kind == "status" and _queue_length(message) == 0:
                        return
        except (OSError, InvalidHandshake, ConnectionClosed) as error:
            raise ReplayError(f"at the end: the server takes no more sockets: {error}") from error


def _answered(response: httpx.Response, body: bytes) -> Response:
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw]
    return response_of(response.status_code, response.reason_phrase, headers_of(pairs), body)


def _what_lacks(socket: ReplaySocket, lacks: list[str]) -> str:
    last = socket.received[-1].kind if socket.received else "none"
    return f"{socket.url} lacks {', '.join(lacks)}; it has received {len(socket.received)} messages, the last: {last}"


def _output_key(message: Received) -> tuple[str | None, Any]:
    return message.prompt, message.data.get("node")


def _queue_length(message: Received) -> int | None:
    try:
        return int(message.data["status"]["exec_info"]["queue_remaining"])
    except (KeyError, TypeError, ValueError):
        return None


def _json(response: Response) -> Any:
    try:
        return jsontext.loads(response.body or b"")
    except (ValueError, RecursionError):
        return None
