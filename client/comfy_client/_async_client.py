"""The client."""

from __future__ import annotations

import random
import ssl
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
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
from comfy_client._listeners import Listener, check_listener
from comfy_client._plugins import Plugin
from comfy_client._prompt_state import Phase, Progress, PromptState
from comfy_client._prompts import (
    AnyWorkflow,
    FollowPath,
    SubmitOptions,
    check_following,
    check_options,
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


_TIMEOUT_S = 30.0


class AsyncClient(AsyncApi):
    """A client of one ComfyUI server.

        async with AsyncClient("http://127.0.0.1:8188") as client:
            result = await client.run(workflow, timeout=300)

    `base_url` is a URL, with the path of a proxy where there is one, or `host[:port]`. `client_id` is the name under
    which the server sends messages, made up if not given; no two clients of a server may share one. `user` is sent as
    `Comfy-User`, for servers with several users (protocol 2.6).

    `headers`, `cookies`, `auth`, `verify`, `timeout`, `trust_env` and `transport` are those of httpx, and count for the
    WebSocket too (the transport does not, nor does a `timeout`: see `socket`). Instead of them, `http_client` may be
    one of your own; it is neither changed nor closed then, and `verify` and `trust_env` are what the WebSocket has to
    go by.

    `retries` says when failed calls are made again, `pace` how often prompts are looked after, and `socket` how the
    WebSocket is kept. Raises `ValueError` where `base_url` is no server, and `TypeError` for `http_client` along with
    what that should have been made with.
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
        timeout: float | httpx.Timeout | None = _TIMEOUT_S,
        trust_env: bool = True,
        transport: HttpTransport | None = None,
        http_client: HttpClient | None = None,
        retries: Retries | None = None,
        pace: Pace | None = None,
        socket: SocketSettings | None = None,
    ) -> None:
        url = base_url_of(base_url)
        if http_client is not None:
            made_with = {"headers": headers, "cookies": cookies, "auth": auth, "transport": transport}
            given = [name for name, value in made_with.items() if value is not None]
            given += ["timeout"] if timeout != _TIMEOUT_S else []
            if given:
                raise TypeError(f"give {', '.join(given)} to the http_client of your own: it is used as it is")
            url = http_client.base_url if http_client.base_url.host else url
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
        rng = random.Random()
        self._rng = rng
        self._link = AsyncLink(
            http=http,
            base_url=url,
            headers={} if user is None else {"Comfy-User": user},
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
        return str(self._link.base_url)

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
        on_progress: Callable[[Progress], None] | None = None,
        fetch: bool = False,
        **options: Unpack[SubmitOptions],
    ) -> AsyncResult:
        """Submit a workflow, wait until it is over, and return what it made.

        `timeout` is in seconds, from the moment at which the server has taken it; the prompt goes on after it. With
        `fetch` the files are fetched as well, as `Result.fetch` does. All else is as for `submit`, and `on_progress` as
        for `Job.on_progress`. Raises as `submit`, `Job.result` and `Result.fetch` do.
        """
        if on_progress is not None:
            check_listener(on_progress)
        job = await self.submit(workflow, **options)
        if on_progress is not None:
            job.on_progress(on_progress)
        result = await job.result(timeout)
        return await result.fetch() if fetch else result

    async def submit(self, workflow: AnyWorkflow, **options: Unpack[SubmitOptions]) -> AsyncJob:
        """Put a workflow into the queue, and never twice (protocol 3).

        The options are those of `SubmitOptions`. A `Workflow` is checked before it is sent. It is sent again only where
        the first request cannot have been taken: the connection was refused, or the server answered that it failed,
        and has the prompt neither in its queue nor in its history. After a request without an answer it is looked for,
        for as long as attempts would have taken; where it does not turn up, the error says that it still may, and its
        `prompt_id` is that of the prompt.

        Raises `WorkflowError`, `PromptRejected`, `ServerUnreachable`, `ServerError` and `ProtocolError`; `TypeError` or
        `ValueError` for options that there are not.
        """
        check_options(options)
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
        wanted_call = calls.post_prompt(body, titles_of(graph))
        try:
            provable = await self._prepare(state, path, is_new=own_id is None)
            await self._link.post(wanted_call, state, provable=provable)
        except ComfyError:
            await self._link.settle()
            raise
        except BaseException:
            self._link.drop()
            raise
        return AsyncJob(self._link, state)

    async def _prepare(self, state: PromptState, path: FollowPath, *, is_new: bool) -> bool:
        """Get a socket, and know what the history has under the id, before a prompt is posted; whether it is known."""
        try:
            if path == "websocket":
                await self._link.connect()
            elif path == "auto":
                # The POST will tell whether the server is there.
                with suppress(ServerUnreachable, ServerError):
                    await self._link.connect_if_due()
            return is_new or await self._link.note_earlier(state)
        except BaseException:
            self._link.untrack(state.prompt_id)
            raise

    def job(self, prompt_id: str, *, path: FollowPath = "auto", poll_interval: float | None = None) -> AsyncJob:
        """Follow a prompt that was submitted before, maybe by others: theirs is known by what the server is asked."""
        check_following(path, poll_interval)
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
        state = await self._asked(prompt_id)
        return "lost" if state.phase == "submitted" else state.phase

    async def _asked(self, prompt_id: str) -> PromptState:
        """What the server says of a prompt: the queue first, for the history may tell of an earlier run."""
        state = PromptState(prompt_id)
        queue = await self.queue()
        if any(item.prompt_id == prompt_id for item in queue.queue_running):
            state.running()
        elif any(item.prompt_id == prompt_id for item in queue.queue_pending):
            state.queued_at(None)
        else:
            entry = await self.history_entry(prompt_id)
            if entry is not None:
                state.end_with(entry)
        return state

    async def prompt_result(self, prompt_id: str) -> AsyncResult:
        """What a finished prompt made: asks the server once.

        Raises `ExecutionFailed`, `ExecutionInterrupted`, `PromptLost` where the server does not know it, and
        `WaitTimeout` where it is not over yet.
        """
        state = await self._asked(prompt_id)
        if state.phase in ("running", "queued"):
            raise WaitTimeout(f"prompt {prompt_id}", 0.0, state.phase)
        if not state.ended:
            raise PromptLost(prompt_id)
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
        check_following(path)
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
        check_following(path, poll_interval)
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
        check_listener(plugin.on_event)
        self._link.plugins.append(plugin)

    async def close(self) -> None:
        """Close all connections. What waits gets `ClientClosed`; prompts go on. Closing twice is fine.

        A thread of a blocking client that waits for the answer to a request gets it then: nobody can break that off,
        so it lasts until the answer, or the `timeout`, has come.
        """
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
