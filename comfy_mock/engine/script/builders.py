"""Rules as calls: each function takes what a rule matches and what it does, flat (docs/scripts.md).

What may be written short is: a text for a `TextAt` or a `LogAt` before the first step, a name for a `Hold` there, one
thing for a list of one, an exception for a `Failure`. All times are seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

from msgspec import UNSET, UnsetType

from comfy_mock.engine.failures import type_name
from comfy_mock.engine.script.model import (
    BinaryAt,
    EventMatch,
    Expand,
    Failure,
    Hold,
    LogAt,
    MessageAt,
    MessageMatch,
    MessageRule,
    NodeMatch,
    NodeRule,
    OutputFile,
    Point,
    PointRule,
    Previews,
    PromptMatch,
    RequestMatch,
    RequestRule,
    Rule,
    ServerRule,
    SocketMatch,
    SocketRule,
    TextAt,
)

T = TypeVar("T")
OneOrMore = Union[T, Sequence[T]]

Raises = Union[Failure, BaseException, Literal["out_of_memory"], None]
"""What a node raises: an exception is one of its type and message at the end, "out_of_memory" the graphics card's."""


RuleT = TypeVar("RuleT", bound=Rule)


def _placed(rule: RuleT) -> RuleT:
    """The rule, which remembers the line of code that asked for it: what is wrong with it is told by that."""
    asked = sys._getframe(2)
    vars(rule)["made_at"] = f"{asked.f_code.co_filename}:{asked.f_lineno}"
    return rule


def on_node(
    class_type: str | None = None,
    *,
    node: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    prompt: int | None = None,
    client_id: str | None = None,
    name: str | None = None,
    times: int | None = None,
    after: int = 0,
    priority: int = 0,
    optional: bool = False,
    duration: float | None = None,
    steps: int | None = None,
    step_time: float | Sequence[float] = 0.05,
    previews: bool | Previews = False,
    throttled: bool = False,
    texts: OneOrMore[str | TextAt] = (),
    messages: OneOrMore[MessageAt] = (),
    binaries: OneOrMore[BinaryAt] = (),
    logs: OneOrMore[str | LogAt] = (),
    holds: OneOrMore[str | Hold] = (),
    ui: Mapping[str, Any] | None = None,
    files: OneOrMore[OutputFile] = (),
    text: str | Sequence[str] | None = None,
    values: Sequence[Any] | None = None,
    raises: Raises = None,
    expand: Expand | None = None,
    cached: bool | None = None,
) -> NodeRule:
    """How the nodes behave that are of this class, have this id, or these inputs (`NodeMatch`, `NodeRule`).

    on_node("KSampler", inputs={"steps": 20}, times=1, raises="out_of_memory")
    """
    return _placed(
        NodeRule(
            match=NodeMatch(
                node=node, class_type=class_type, inputs=dict(inputs or {}), prompt=prompt, client_id=client_id
            ),
            name=name,
            times=times,
            after=after,
            priority=priority,
            optional=optional,
            duration=duration,
            steps=steps,
            step_time=list(step_time) if isinstance(step_time, Sequence) else step_time,
            previews=previews,
            throttled=throttled,
            texts=_parts(texts, lambda text: TextAt(text=text)),
            messages=_several(messages),
            binaries=_several(binaries),
            logs=_parts(logs, lambda text: LogAt(text=text)),
            holds=_parts(holds, lambda name: Hold(name=name)),
            ui=None if ui is None else dict(ui),
            files=_several(files),
            text=text if text is None or isinstance(text, str) else list(text),
            values=None if values is None else list(values),
            raises=Failure(type=type_name(raises), message=str(raises))
            if isinstance(raises, BaseException)
            else raises,
            expand=expand,
            cached=cached,
        )
    )


def on_request(
    route: str = "*",
    *,
    query: Mapping[str, str] | None = None,
    client_id: str | None = None,
    name: str | None = None,
    times: int | None = None,
    after: int = 0,
    priority: int = 0,
    optional: bool = False,
    status: int | None = None,
    body: Any = UNSET,
    headers: Mapping[str, str] | None = None,
    retry_after: int | None = None,
    handled: bool = False,
    delay: float = 0,
    hold: str | None = None,
    reset: Literal["before_headers", "after_headers"] | None = None,
    truncate: int | None = None,
) -> RequestRule:
    """A fault of the requests for a route (`RequestMatch`, `RequestRule`).

    on_request("POST /prompt", times=2, status=429, retry_after=1)
    """
    return _placed(
        RequestRule(
            match=RequestMatch(route=route, query=dict(query or {}), client_id=client_id),
            name=name,
            times=times,
            after=after,
            priority=priority,
            optional=optional,
            status=status,
            body=body,
            headers=dict(headers or {}),
            retry_after=retry_after,
            handled=handled,
            delay=delay,
            hold=hold,
            reset=reset,
            truncate=truncate,
        )
    )


def on_socket(
    *,
    client_id: str | None = None,
    connection: int | None = None,
    name: str | None = None,
    times: int | None = None,
    after: int = 0,
    priority: int = 0,
    optional: bool = False,
    refuse: int | None = None,
    end: Literal["close", "abort", "silence", "stall"] | None = None,
    code: int = 1011,
    event: str | EventMatch | None = None,
    messages: int | None = None,
    seconds: float | None = None,
    hold: str | None = None,
) -> SocketRule:
    """A fault of the WebSockets of a client, or of the n-th (`SocketMatch`, `SocketRule`).

    on_socket(connection=1, end="abort", event=EventMatch(event="progress", value=3))
    """
    return _placed(
        SocketRule(
            match=SocketMatch(client_id=client_id, connection=connection),
            name=name,
            times=times,
            after=after,
            priority=priority,
            optional=optional,
            refuse=refuse,
            end=end,
            code=code,
            event=EventMatch(event=event) if isinstance(event, str) else event,
            messages=messages,
            seconds=seconds,
            hold=hold,
        )
    )


def on_message(
    event: str,
    *,
    node: str | UnsetType | None = UNSET,
    value: float | None = None,
    prompt: int | None = None,
    client_id: str | None = None,
    connection: int | None = None,
    name: str | None = None,
    times: int | None = None,
    after: int = 0,
    priority: int = 0,
    optional: bool = False,
    lose: bool = False,
    duplicate: int = 0,
    delay: float = 0,
    reorder: int = 0,
    oversize: int = 0,
) -> MessageRule:
    """A fault of a message on its way to a WebSocket (`MessageMatch`, `MessageRule`).

    on_message("execution_success", times=1, lose=True)
    """
    return _placed(
        MessageRule(
            match=MessageMatch(
                event=event, node=node, value=value, prompt=prompt, client_id=client_id, connection=connection
            ),
            name=name,
            times=times,
            after=after,
            priority=priority,
            optional=optional,
            lose=lose,
            duplicate=duplicate,
            delay=delay,
            reorder=reorder,
            oversize=oversize,
        )
    )


def at_point(
    point: Point,
    *,
    prompt: int | None = None,
    client_id: str | None = None,
    name: str | None = None,
    times: int | None = None,
    after: int = 0,
    priority: int = 0,
    optional: bool = False,
    polls: int | None = None,
    hold: str | None = None,
    seconds: float | None = None,
) -> PointRule:
    """Holds one of the protocol's gaps open, until the first of `polls`, `hold` and `seconds` (`Point`, `PointRule`).

    at_point("after_success_before_history", polls=2)
    """
    return _placed(
        PointRule(
            point=point,
            match=PromptMatch(prompt=prompt, client_id=client_id),
            name=name,
            times=times,
            after=after,
            priority=priority,
            optional=optional,
            polls=polls,
            hold=hold,
            seconds=seconds,
        )
    )


def on_server(
    event: str,
    action: Literal["restart", "stop"] = "restart",
    *,
    node: str | UnsetType | None = UNSET,
    value: float | None = None,
    prompt: int | None = None,
    name: str | None = None,
    times: int | None = None,
    after: int = 0,
    priority: int = 0,
    optional: bool = False,
    down: float = 0,
) -> ServerRule:
    """The server restarts or stops when a message is sent (`EventMatch`, `ServerRule`).

    on_server("progress", value=3, times=1, down=0.5)
    """
    return _placed(
        ServerRule(
            event=EventMatch(event=event, node=node, value=value, prompt=prompt),
            action=action,
            name=name,
            times=times,
            after=after,
            priority=priority,
            optional=optional,
            down=down,
        )
    )


def _several(given: OneOrMore[T]) -> list[T]:
    return list(given) if isinstance(given, Sequence) else [given]


def _parts(given: OneOrMore[str | T], make: Callable[[str], T]) -> list[T]:
    several: Sequence[str | T] = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    return [make(each) if isinstance(each, str) else each for each in several]
