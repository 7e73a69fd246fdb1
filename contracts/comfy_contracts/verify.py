"""Verifies a server: drives it with recorded contracts, and says of each whether it behaves as the recorded server did.

    verifier = Verifier("http://127.0.0.1:8188")
    outcome = asyncio.run(verifier.verify("t2i_fresh", load("t2i_fresh.har")))

A server is first asked for what the contract needs (`needs`): a contract that cannot be tried leaves it untouched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import httpx

from comfy_contracts.compare import Comparison, Traffic
from comfy_contracts.difference import Difference
from comfy_contracts.har import Har, HarError, of_server
from comfy_contracts.needs import Needs, ServerState, lacking, needs_of, switches_of
from comfy_contracts.replay import ReplayError, replay
from comfy_contracts.report import Outcome, not_tried, outcome_of

_ANSWER_S = 30.0
_COMES_BACK_S = 300.0
_STEP_S = 0.1


class ServerUnreachable(Exception):
    """The server that is to be verified does not answer, or is no ComfyUI."""


class Verifier:
    """Verifies the server at `url`, contract by contract.

    `freshen` makes the server fresh again, and is awaited before each contract. `timeout`, in seconds, is the longest
    wait for one answer or for the messages that one step needs. With `any_version` an older server is tried too.
    """

    def __init__(
        self,
        url: str,
        *,
        freshen: Callable[[], Awaitable[None]] | None = None,
        timeout: float = 60.0,
        any_version: bool = False,
    ) -> None:
        self._url = url.rstrip("/")
        self._freshen, self._timeout, self._any_version = freshen, timeout, any_version
        self._posted = 0
        self._object_info: Mapping[str, Any] | None = None

    async def verify(self, name: str, har: Har) -> Outcome:
        """Try one contract. Raises `ServerUnreachable` where the server does not answer before it begins."""
        har = of_server(har)
        comment = har.log.comment if isinstance(har.log.comment, str) else ""
        try:
            needs, recorded = needs_of(har), Traffic.read(har)
        except HarError as error:
            return not_tried(name, comment, [f"the recording cannot be read: {error}"])
        if self._freshen is not None:
            await self._freshen()
            self._posted = 0
        reasons = lacking(needs, await self.state(needs), any_version=self._any_version)
        if reasons:
            return not_tried(name, comment, reasons)
        self._posted += sum(entry.request.url.endswith("/prompt") for entry in har.exchanges())
        started = time.monotonic()
        comparison = await self._compared(har, recorded)
        return outcome_of(name, comment, comparison, time.monotonic() - started)

    async def _compared(self, har: Har, recorded: Traffic) -> Comparison:
        try:
            return recorded.compare(Traffic.read(await replay(har, self._url, timeout=self._timeout)))
        except ReplayError as error:
            stopped = Difference("the replay stopped", "an answer, or messages", str(error), "requests")
            if error.partial is None:
                return Comparison([stopped], {}, {})
            partial = recorded.compare(Traffic.read(error.partial))
            return Comparison([stopped, *partial.differences], partial.compared, partial.freed)

    async def state(self, needs: Needs | None = None) -> ServerState:
        """What the server says of itself; of what can be large, only what `needs` ask for.

        Raises `ServerUnreachable` where it is no ComfyUI that answers.
        """
        async with httpx.AsyncClient(base_url=self._url, timeout=_ANSWER_S, trust_env=False) as http:
            system = await _system(http)
            queue, history = await _json(http, "/queue"), await _json(http, "/history?max_items=1")
            users = _users(await _json(http, "/users"))
            if needs is not None and needs.classes and self._object_info is None:
                self._object_info = _mapping(await _json(http, "/object_info"))
            argv = system.get("argv")
            return ServerState(
                version=_text(system.get("comfyui_version")),
                switches=switches_of(argv) if isinstance(argv, list) else None,
                queued=_queued(queue),
                history=len(history) if isinstance(history, dict) else None,
                posted=self._posted,
                inputs=_names(await _json(http, "/internal/files/input")),
                outputs=_names(await _json(http, "/internal/files/output")),
                users=users,
                # To ask for settings is to visit: the server makes a folder for the user.
                settings=_mapping(await _json(http, "/settings")) if users else None,
                models={folder: await _listed(http, folder) for folder in (needs.models if needs else ())},
                object_info=self._object_info,
            )


async def about(url: str) -> dict[str, Any]:
    """What a recording should tell of the server that it was made from, for `log._comfy`; nothing where it is mute."""
    try:
        state = await Verifier(url).state()
    except ServerUnreachable:
        return {}
    words = [word for switch, value in (state.switches or {}).items() for word in (switch, value) if word]
    preview = (state.switches or {}).get("--preview-method", "none")
    fresh = state.queued == 0 and not state.history and not state.outputs
    return {
        "comfyui_version": state.version or "",
        "preview_method": preview,
        "fresh_server": fresh,
        "server_args": [word for word in words if word not in ("--preview-method", preview)],
    }


async def wait_until_it_answers(url: str, *, within: float = _COMES_BACK_S) -> None:
    """Wait for a server that is starting. Raises `ServerUnreachable` where it does not answer in so many seconds."""
    deadline = time.monotonic() + within
    while not await _answers(url):
        if time.monotonic() > deadline:
            raise ServerUnreachable(f"{url} does not answer within {within:g} s after its restart")
        await asyncio.sleep(_STEP_S)


async def _answers(url: str) -> bool:
    try:
        await Verifier(url).state()
    except ServerUnreachable:
        return False
    return True


def in_gentle_order(contracts: Iterable[tuple[str, Har]]) -> list[tuple[str, Har]]:
    """Contracts for a server that nobody makes fresh: first those that leave least behind."""

    def leaves_behind(contract: tuple[str, Har]) -> tuple[bool, ...]:
        needs = needs_of(of_server(contract[1]))
        return needs.runs, needs.uploads, needs.userdata, needs.settings

    return sorted(contracts, key=leaves_behind)


async def _system(http: httpx.AsyncClient) -> dict[str, Any]:
    try:
        answer = await http.get("/system_stats")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerUnreachable(f"{http.base_url} does not answer: {error or type(error).__name__}") from error
    try:
        system = answer.json()["system"]
    except (ValueError, KeyError, TypeError) as error:
        raise ServerUnreachable(
            f"{http.base_url} is no ComfyUI: GET /system_stats was answered with {answer.status_code}, not its JSON"
        ) from error
    return system if isinstance(system, dict) else {}


async def _json(http: httpx.AsyncClient, path: str) -> Any:
    """The JSON of an answer; None where there is none, as on older servers."""
    try:
        answer = await http.get(path)
        return answer.json() if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return None


async def _listed(http: httpx.AsyncClient, folder: str) -> list[str]:
    names = await _json(http, f"/models/{folder}")
    return list(map(str, names)) if isinstance(names, list) else []


def _queued(queue: Any) -> int | None:
    try:
        return len(queue["queue_running"]) + len(queue["queue_pending"])
    except (KeyError, TypeError):
        return None


def _users(answer: Any) -> bool | None:
    if not isinstance(answer, dict):
        return None
    return bool(answer.get("migrated") or answer.get("users"))


def _names(files: Any) -> list[str] | None:
    """`name [folder]` as `name`."""
    return [str(one).rpartition(" [")[0] for one in files] if isinstance(files, list) else None


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
