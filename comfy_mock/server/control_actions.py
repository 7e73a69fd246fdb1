"""What the control API does, by method and path."""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from comfy_contracts import frames, jsontext
from comfy_mock.engine.answers import JSON, PLAIN
from comfy_mock.engine.script.problems import did_you_mean
from comfy_mock.engine.script.reading import read_data, read_rules, read_script, to_json, to_yaml
from comfy_mock.server.clocks import InstantClock, ManualClock, RealClock
from comfy_mock.server.control_records import payload_data, record_data, use_data
from comfy_mock.server.http import HttpRequest
from comfy_mock.server.journal_records import AnyRecord
from comfy_mock.server.timeline import timeline

if TYPE_CHECKING:
    from comfy_mock.server.instance import Instance

_YAML = "application/yaml; charset=utf-8"
_WAIT_S, _WAIT_S_MAX = 10.0, 600.0
_CLOCKS: Mapping[type, str] = {InstantClock: "instant", ManualClock: "manual", RealClock: "real"}


class BadRequest(ValueError):
    """A body or a query that does not say what must be said."""


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def json(value: Any, status: int = 200) -> Reply:
        """An answer in JSON."""
        return Reply(status, jsontext.dumps(value).encode("ascii"))


Action = Callable[["Instance", HttpRequest], Awaitable[Reply]]

ACTIONS: dict[tuple[str, str], Action] = {}
"""The actions by method and path; the file `data/control-openapi.json` says what they take and answer."""


def _on(method: str, path: str) -> Callable[[Action], Action]:
    def register(action: Action) -> Action:
        ACTIONS[method, path] = action
        return action

    return register


# -- the server


@_on("GET", "/state")
async def get_state(server: Instance, _request: HttpRequest) -> Reply:
    engine = server.engine
    running = engine.queue.running
    return Reply.json(
        {
            "comfy_mock": version("comfy-mock"),
            "comfyui": engine.options.version,
            "clock": _CLOCKS.get(type(server.clock), "other"),
            "now": server.now(),
            "down": server.down,
            "paused": engine.director.paused,
            "running": None if running is None else running.prompt_id,
            "pending": len(engine.queue.pending),
            "held": server.held,
            "standing": engine.standing(),
            "rules": [use_data(use) for use in server.rules],
        }
    )


@_on("POST", "/reset")
async def post_reset(server: Instance, request: HttpRequest) -> Reply:
    """Begin anew; with arguments these are changed, and the others stay as they are."""
    given = _object(request)
    changed = dict(given)
    arguments = server.arguments
    _only(given, [name for name in arguments if name not in ("storage", "catalogue")])
    if changed:
        script = changed.get("script", UNSET)
        if isinstance(script, Mapping):
            changed["script"] = read_data(script, name="script")
        elif script is not UNSET and script is not None:
            raise BadRequest("`script` is an object, as PUT script takes it")
        await server.reset_async(**{**arguments, **changed})
    else:
        await server.reset_async()
    return Reply.json({})


@_on("POST", "/restart")
async def post_restart(server: Instance, request: HttpRequest) -> Reply:
    body = _object(request, "down")
    server.restart(_number(body, "down", 0.0))
    return Reply.json({})


@_on("POST", "/pause")
async def post_pause(server: Instance, _request: HttpRequest) -> Reply:
    server.pause_queue()
    return Reply.json({"paused": True})


@_on("POST", "/resume")
async def post_resume(server: Instance, _request: HttpRequest) -> Reply:
    server.resume_queue()
    return Reply.json({"paused": False})


@_on("POST", "/advance")
async def post_advance(server: Instance, request: HttpRequest) -> Reply:
    await server.advance_async(_number(_object(request, "seconds"), "seconds"))
    return Reply.json({"now": server.now()})


@_on("POST", "/run_until")
async def post_run_until(server: Instance, request: HttpRequest) -> Reply:
    body = _object(request, "event", "node", "value", "prompt_id")
    payload = await server.run_until_async(
        _text(body, "event"),
        node=None if body.get("node", UNSET) is None else _text(body, "node") if "node" in body else UNSET,
        value=_number(body, "value") if "value" in body else None,
        prompt_id=_text(body, "prompt_id") if "prompt_id" in body else None,
    )
    return Reply.json({**payload_data(payload), "now": server.now()})


@_on("POST", "/push")
async def post_push(server: Instance, request: HttpRequest) -> Reply:
    """Send a JSON message (`type`, `data`) or a binary frame (`event`, a number, and `data` in base64)."""
    body = _object(request, "type", "event", "data", "client_id")
    client_id = body.get("client_id")
    if client_id is not None and not isinstance(client_id, str):
        raise BadRequest("`client_id` is a text")
    if ("type" in body) == ("event" in body):
        raise BadRequest("give `type` for a JSON message, or `event`, a number, for a binary one")
    if "type" in body:
        server.push(_text(body, "type"), body.get("data", UNSET), client_id)
    else:
        server.push(_frame(body), client_id=client_id)
    return Reply.json({})


# -- the script


@_on("GET", "/script")
async def get_script(server: Instance, request: HttpRequest) -> Reply:
    script = msgspec.structs.replace(server.engine.director.script, rules=[use.rule for use in server.rules])
    if "yaml" in request.headers.get("accept", ""):
        return Reply(200, to_yaml(script).encode("utf-8"), _YAML)
    return Reply(200, to_json(script).encode("utf-8"))


@_on("PUT", "/script")
async def put_script(server: Instance, request: HttpRequest) -> Reply:
    server.follow(read_script(request.text(), name=_name(request)))
    return _rules(server)


@_on("POST", "/script")
async def post_script(server: Instance, request: HttpRequest) -> Reply:
    server.add_script(read_rules(request.text(), name=_name(request)))
    return _rules(server)


@_on("DELETE", "/script")
async def delete_script(server: Instance, request: HttpRequest) -> Reply:
    """Take away the rules of a name, or all, which also releases what is held."""
    _only(request.query, ["name"])
    if "name" in request.query:
        return Reply.json({"removed": server.remove_rules(request.query["name"])})
    removed = len(server.rules)
    server.clear_rules()
    return Reply.json({"removed": removed})


@_on("POST", "/release")
async def post_release(server: Instance, request: HttpRequest) -> Reply:
    body = _object(request, "name")
    return Reply.json({"released": server.release(_text(body, "name") if body.get("name") is not None else None)})


def _rules(server: Instance) -> Reply:
    return Reply.json({"rules": [use_data(use) for use in server.rules]})


def _name(request: HttpRequest) -> str:
    """What errors call the body; its end says what it is."""
    return "body.json" if "json" in request.headers.get("content-type", "") else "body.yaml"


# -- the journal


@_on("GET", "/journal/requests")
async def get_requests(server: Instance, request: HttpRequest) -> Reply:
    which = _which(request, "route", "client_id", status=int)
    return _records("requests", server.journal.requests(**which))


@_on("GET", "/journal/prompts")
async def get_prompts(server: Instance, request: HttpRequest) -> Reply:
    """Those that were accepted, unless `accepted` is `false` (those that were refused) or `any`."""
    which = _which(request, "class_type", "node", "client_id", "prompt_id", accepted=_accepted)
    return _records("prompts", server.journal.prompts(**which))


@_on("GET", "/journal/sockets")
async def get_sockets(server: Instance, request: HttpRequest) -> Reply:
    return _records("sockets", server.journal.sockets(**_which(request, "client_id", connection=int, open=_flag)))


@_on("GET", "/journal/events")
async def get_events(server: Instance, request: HttpRequest) -> Reply:
    which = _which(request, "event", "node", "prompt_id", value=float, connection=int)
    return _records("events", server.journal.events(**which))


@_on("GET", "/journal/unserved")
async def get_unserved(server: Instance, _request: HttpRequest) -> Reply:
    return _records("requests", server.journal.unserved())


@_on("GET", "/journal/timeline")
async def get_timeline(server: Instance, _request: HttpRequest) -> Reply:
    return Reply(200, f"{timeline(server.journal)}\n".encode(), PLAIN)


@_on("POST", "/journal/wait")
async def post_wait(server: Instance, request: HttpRequest) -> Reply:
    """Wait for a request, a prompt, a WebSocket, a message or a hold: the `for` of the body."""
    body = _object(request)
    kind, timeout = _text(body, "for"), _number(body, "timeout", _WAIT_S)
    waits: dict[str, Callable[..., Awaitable[AnyRecord]]] = {
        "request": server.journal.wait_for_request_async,
        "prompt": server.journal.wait_for_prompt_async,
        "socket": server.journal.wait_for_socket_async,
        "event": server.journal.wait_for_event_async,
        "hold": server.journal.wait_for_hold_async,
    }
    if kind not in waits:
        raise BadRequest(f"`for` is one of {', '.join(waits)}{did_you_mean(kind, waits)}")
    which = {name: value for name, value in body.items() if name not in ("for", "timeout")}
    return Reply.json(record_data(await waits[kind](timeout=min(timeout, _WAIT_S_MAX), **which)))


@_on("GET", "/openapi.json")
async def get_openapi(_server: Instance, _request: HttpRequest) -> Reply:
    return Reply(200, openapi_text())


@functools.cache
def openapi_text() -> bytes:
    """The description of this API, as it is shipped."""
    return resources.files("comfy_mock").joinpath("data/control-openapi.json").read_bytes()


def _records(name: str, records: list[Any]) -> Reply:
    return Reply.json({name: [record_data(record) for record in records]})


# -- bodies and queries


def _object(request: HttpRequest, *known: str) -> dict[str, Any]:
    """The body, an object; nothing is an empty one. With `known` it may have no other keys than these."""
    if not request.body.strip():
        return {}
    try:
        body = jsontext.loads(request.text())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body is a JSON object, or nothing")
    if known:
        _only(body, known)
    return body


def _only(given: Mapping[str, Any], known: Any) -> None:
    for name in given:
        if name not in known:
            raise BadRequest(f"there is no {name!r} here{did_you_mean(name, known) or '.'} There is {', '.join(known)}")


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"`{name}` must be a text")
    return value


def _number(body: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = body.get(name, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise BadRequest(f"`{name}` must be a number")
    return value


def _frame(body: Mapping[str, Any]) -> frames.UnknownFrame:
    event, data = body["event"], body.get("data", "")
    if not isinstance(event, int) or isinstance(event, bool) or not 0 <= event < 2**32:
        raise BadRequest("`event` must be a number of 32 bits")
    try:
        return frames.UnknownFrame(event, base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadRequest(f"`data` of a binary message must be base64: {error}") from error


def _which(request: HttpRequest, *texts: str, **others: Callable[[str], Any]) -> dict[str, Any]:
    """The query as arguments."""
    _only(request.query, [*texts, *others])
    found: dict[str, Any] = {name: request.query[name] for name in texts if name in request.query}
    for name, convert in others.items():
        if name in request.query:
            try:
                found[name] = convert(request.query[name])
            except (ValueError, KeyError) as error:
                raise BadRequest(f"{name}={request.query[name]} cannot be") from error
    return found


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text]


def _accepted(text: str) -> bool | None:
    return {"true": True, "false": False, "any": None}[text]
