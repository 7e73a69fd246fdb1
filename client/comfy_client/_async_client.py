"""The client."""

from __future__ import annotations

import random
import ssl
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx

from comfy_client import _calls as calls
from comfy_client._actions import Pace
from comfy_client._async_api import AsyncApi
from comfy_client._async_io import HttpClient, HttpTransport
from comfy_client._async_jobs import AsyncJob, AsyncListening, AsyncResult, result_of
from comfy_client._async_link import AsyncLink
from comfy_client._errors import ComfyError, PromptLost, ServerError, ServerUnreachable, WaitTimeout
from comfy_client._listeners import Listener
from comfy_client._plugins import Plugin
from comfy_client._prompt_state import Phase, Progress, PromptState
from comfy_client._prompts import (
    AnyWorkflow,
    FollowPath,
    SubmitOptions,
    graph_of,
    nodes_of,
    prompt_body,
    senders_of,
    titles_of,
)
from comfy_client._requests import base_url_of
from comfy_client._retries import Retries
from comfy_client._socket_settings import SocketSettings
from comfy_client._tracker import Tracker

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class AsyncClient(AsyncApi):
    """A client of one ComfyUI server.

        async with AsyncClient("http://127.0.0.1:8188") as client:
            result = await client.run(workflow, timeout=300)

    `base_url` is a URL, with the path of a proxy where there is one, or `host[:port]`. `client_id` is the name under
    which the server sends messages, made up if not given; no two clients of a server may share one. `user` is sent as
    `Comfy-User`, for servers with several users (protocol 2.6).

    `headers`, `cookies`, `auth`, `verify`, `timeout`, `trust_env` and `transport` are those of httpx, and count for the
    WebSocket too (the transport does not, nor does a `timeout`: see `socket`). Instead of them, `http_client` may be
    one of your own; it is not closed then, and `verify` is what the WebSocket has to go by.

    `retries` says when failed calls are made again, `pace` how often prompts are looked after, and `socket` how the
    WebSocket is kept. Raises `ValueError` where `base_url` is no server.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8188",
        *,
        client_id: str | None = None,
        user: str | None = None,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        auth: httpx.Auth | tuple[str, str] | None = None,
        verify: bool | ssl.SSLContext = True,
        timeout: float | httpx.Timeout | None = 30.0,
        trust_env: bool = True,
        transport: HttpTransport | None = None,
        http_client: HttpClient | None = None,
        retries: Retries | None = None,
        pace: Pace | None = None,
        socket: SocketSettings | None = None,
    ) -> None:
        url = base_url_of(base_url)
        if http_client is not None and http_client.base_url.host:
            url = http_client.base_url
        context = _context(url, verify, trust_env)
        self._owns_http = http_client is None
        http = http_client or HttpClient(
            base_url=url,
            headers=dict(headers or {}),
            cookies=dict(cookies or {}),
            auth=auth,
            verify=verify if context is None else context,
            timeout=timeout,
            trust_env=trust_env,
            transport=transport,
        )
        if not http.base_url.host:
            http.base_url = url
        if user is not None:
            http.headers["Comfy-User"] = user
        rng = random.Random()
        self._rng = rng
        self._link = AsyncLink(
            http=http,
            client_id=uuid.uuid4().hex if client_id is None else client_id,
            tracker=Tracker(pace or Pace(), rng),
            retries=retries or Retries(),
            socket_settings=socket or SocketSettings(trust_env=trust_env),
            ssl_context=context if url.scheme == "https" else None,
            rng=rng,
        )

    @property
    def client_id(self) -> str:
        """The name under which the server sends messages."""
        return self._link.client_id

    @property
    def base_url(self) -> str:
        """The server's URL."""
        return str(self._link.http.base_url)

    @property
    def connected(self) -> bool:
        """Whether there is a WebSocket, as far as is known."""
        return self._link.connected

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._link.closed

    # Running

    async def run(
        self,
        workflow: AnyWorkflow,
        *,
        timeout: float | None = None,
        on_progress: Callable[[Progress], Any] | None = None,
        fetch: bool = False,
        **options: Unpack[SubmitOptions],
    ) -> AsyncResult:
        """Submit a workflow, wait until it is over, and return what it made.

        `timeout` is in seconds, from the moment at which the server has taken it; the prompt goes on after it. With
        `fetch` the files are fetched as well, as `Result.fetch` does. All else is as for `submit`, and `on_progress` as
        for `Job.on_progress`. Raises as `submit`, `Job.result` and `Result.fetch` do.
        """
        job = await self.submit(workflow, **options)
        if on_progress is not None:
            job.on_progress(on_progress)
        result = await job.result(timeout)
        return await result.fetch() if fetch else result

    async def submit(self, workflow: AnyWorkflow, **options: Unpack[SubmitOptions]) -> AsyncJob:
        """Put a workflow into the queue, once, whatever the network does (protocol 3).

        The options are those of `SubmitOptions`. A `Workflow` is checked before it is sent.

        Raises `WorkflowError`, `PromptRejected`, `ServerUnreachable`, `ServerError` and `ProtocolError`.
        """
        seed, targets, own_id = options.get("seed"), options.get("targets"), options.get("prompt_id")
        path = options.get("path", "auto")
        wanted = None if targets is None else [targets] if isinstance(targets, str) else list(targets)
        graph = graph_of(workflow, self._rng.getrandbits(63) if seed == "random" else seed, wanted)
        prompt_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4)) if own_id is None else own_id
        body = prompt_body(
            graph,
            self.client_id,
            prompt_id,
            front=options.get("front", False),
            number=options.get("number"),
            extra_data=options.get("extra_data"),
            workflow_metadata=options.get("workflow_metadata"),
            targets=wanted,
        )
        state = self._link.track(
            prompt_id,
            uses_socket=path != "polling",
            nodes=nodes_of(graph, wanted),
            senders=senders_of(graph),
            poll_interval=options.get("poll_interval"),
        )
        try:
            await self._ensure_socket(path, prompt_id)
            await self._link.post(calls.post_prompt(body, titles_of(graph)), state, minted=own_id is None)
        except ComfyError:
            await self._link.settle()
            raise
        return AsyncJob(self._link, state)

    async def _ensure_socket(self, path: FollowPath, prompt_id: str) -> None:
        if path == "polling":
            return
        try:
            await self._link.connect()
        except BaseException as error:
            # Only those without a socket are the server's own affair: the POST will tell whether it is there.
            if path == "websocket" or not isinstance(error, (ServerUnreachable, ServerError)):
                self._link.untrack(prompt_id)
                raise

    def job(self, prompt_id: str, *, path: FollowPath = "auto", poll_interval: float | None = None) -> AsyncJob:
        """Follow a prompt that was submitted before, maybe by others: theirs is known by what the server is asked."""
        state = self._link.attach(prompt_id, uses_socket=path != "polling", poll_interval=poll_interval)
        return AsyncJob(self._link, state)

    async def wait_for(
        self,
        prompt_id: str,
        *,
        timeout: float | None = None,
        path: FollowPath = "auto",
        poll_interval: float | None = None,
    ) -> AsyncResult:
        """Wait for a prompt that was submitted before, and return what it made. Raises as `Job.result` does."""
        return await self.job(prompt_id, path=path, poll_interval=poll_interval).result(timeout)

    async def prompt_status(self, prompt_id: str) -> Phase:
        """How far a prompt is: asks the server once. `lost` is one that it does not know."""
        state = PromptState(prompt_id)
        queue = await self.queue()
        if any(item.prompt_id == prompt_id for item in queue.queue_running):
            return "running"
        if any(item.prompt_id == prompt_id for item in queue.queue_pending):
            return "queued"
        entry = await self.history_entry(prompt_id)
        if entry is None:
            return "lost"
        state.end_with(entry)
        return state.phase

    async def prompt_result(self, prompt_id: str) -> AsyncResult:
        """What a finished prompt made: asks the server once.

        Raises `ExecutionFailed`, `ExecutionInterrupted`, `PromptLost` where the server does not know it, and
        `WaitTimeout` where it is not over yet.
        """
        state = PromptState(prompt_id)
        entry = await self.history_entry(prompt_id)
        if entry is None:
            phase = await self.prompt_status(prompt_id)
            if phase in ("running", "queued"):
                raise WaitTimeout(f"prompt {prompt_id}", 0.0, phase)
            entry = await self.history_entry(prompt_id)
        if entry is None:
            raise PromptLost(prompt_id)
        state.end_with(entry)
        return result_of(state, self._link)

    async def prompt_outputs(self, prompt_id: str) -> dict[str, dict[str, Any]]:
        """What the nodes of a finished prompt showed, by node id. Raises as `prompt_result` does."""
        return dict((await self.prompt_result(prompt_id)).outputs)

    # The socket

    async def connect(self, path: FollowPath = "auto") -> None:
        """Open the WebSocket and keep it, until `disconnect` or `close`; `submit` opens it by itself where needed.

        While connected somebody should wait or `listen`: a socket that nobody reads makes all clients of the server
        wait in the end (protocol 6.9). By `polling`, or where `auto` gets no socket, the server is only asked whether
        it is there. Raises `ServerUnreachable` and `ServerError`.
        """
        if path != "polling":
            try:
                await self._link.connect()
            except (ServerUnreachable, ServerError):
                if path == "websocket":
                    raise
            else:
                self._link.stays_connected = True
                return
        await self.queue_remaining()

    async def disconnect(self) -> None:
        """Close the WebSocket. Jobs go on by polling, until it is opened again."""
        self._link.stays_connected = False
        await self._link.disconnect()

    def listen(
        self, timeout: float | None = None, *, path: FollowPath = "auto", poll_interval: float = 1.0
    ) -> AsyncListening:
        """All that comes over the socket, also of others, as pairs of a name (see `on`) and a message or frame.

        Connects, and connects again when the socket is lost. Ends after `timeout` seconds, or when the client is
        closed. By `polling`, and while `auto` has no socket, there is a `status` every `poll_interval` seconds.
        """
        return AsyncListening(self._link, timeout, path, poll_interval)

    def on(self, name: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each event of that name that comes while somebody waits; returned is what takes it off.

        A name is the `type` of a message, known or not, with its struct of `comfy_contracts.messages`; `preview`,
        `text` or `binary` with a struct of `comfy_contracts.frames`; `connected` or `disconnected` with None; `*` for
        every event, with its name and that; `unhandled` for those whose name nobody listens to.
        """
        return self._link.listeners.on(name, listener)

    def once(self, name: str, listener: Listener) -> Callable[[], None]:
        """As `on`, for the next event alone."""
        return self._link.listeners.on(name, listener, once=True)

    def off(self, name: str, listener: Listener | None = None) -> None:
        """Take off a listener, or all of that name."""
        self._link.listeners.off(name, listener)

    def listened_names(self) -> list[str]:
        """The names that somebody listens to."""
        return self._link.listeners.names()

    def use(self, plugin: Plugin) -> None:
        """Let a plugin see and change all that is sent, and see what comes; the first one used is the outermost."""
        self._link.plugins.append(plugin)

    async def close(self) -> None:
        """Close all connections. What waits gets `ClientClosed`; prompts go on. Closing twice is fine."""
        try:
            await self._link.close()
        finally:
            if self._owns_http:
                await self._link.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def _context(url: httpx.URL, verify: bool | ssl.SSLContext, trust_env: bool) -> ssl.SSLContext | None:
    """The TLS of both connections; None for a server without."""
    if url.scheme != "https" or isinstance(verify, ssl.SSLContext):
        return verify if isinstance(verify, ssl.SSLContext) else None
    return httpx.create_ssl_context(verify=verify, trust_env=trust_env)
