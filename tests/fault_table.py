"""The table of faults: all that a script can do between a client and its server, and what the client makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from comfy_client import (
    ExecutionFailed,
    ExecutionInterrupted,
    NotFound,
    PromptLost,
    ProtocolError,
    Retries,
    ServerError,
    ServerUnreachable,
    WaitTimeout,
)
from comfy_mock import ComfyMock
from comfy_mock.script import (
    BinaryAt,
    EventMatch,
    Failure,
    MessageAt,
    Rule,
    SocketRule,
    at_point,
    on_message,
    on_node,
    on_request,
    on_server,
    on_socket,
)
from fault_play import AT_STEP_2, HOLD, QUICK, SETTINGS, Fault, Way

HTML = {"body": "<html><h1>Bad Gateway</h1></html>", "headers": {"Content-Type": "text/html"}}
IMPATIENT = {"timeout": 0.2}
HURRIED, HURRYING = ({"socket": replace(SETTINGS, open_timeout=seconds)} for seconds in (0.1, 0.25))
"""For clients that are to give up waiting for a WebSocket: those that can do without one, and those that cannot."""

SOON_S, LATER_S = 0.1, 0.4
"""When a client is to give up waiting for a prompt that waits, and for one that is to get somewhere first."""

HISTORY, QUEUE = "GET /history/{prompt_id}", "GET /queue"

Variants = dict[str, dict[str, Any]]

WAYS: tuple[Way, ...] = ("websocket", "polling", "auto")
BY_SOCKET: tuple[Way, ...] = ("websocket", "auto")
BOTH: tuple[Way, ...] = ("websocket", "polling")


def release(*names: str) -> Any:
    """Let go of these when they are held, one after the other."""

    def do(server: ComfyMock) -> None:
        for name in names:
            server.journal.wait_for_hold(name)
            server.release(name)

    return do


def release_when_asked(route: str, name: str) -> Any:
    """Let go of this when a request came."""

    def do(server: ComfyMock) -> None:
        server.journal.wait_for_request(route)
        server.release(name)

    return do


def go_on_at_the_second_upgrade(server: ComfyMock) -> None:
    """Let the run stand until a client wants a second socket."""
    server.journal.wait_for_request("GET /ws", count=2)
    release(HOLD.name)(server)


def resume(server: ComfyMock) -> None:
    """Let the queue go on when there is a prompt in it."""
    server.journal.wait_for_prompt()
    server.resume_queue()


# -- answers of HTTP

BUSY = {"429": {"retry_after": 0}, "503, three times": {"status": 503, "times": 3}}
FAILING = {"500": {"status": 500}, "502 of a proxy": {"status": 502, **HTML}}
GATEWAY = {"504 of a proxy": {"status": 504, **HTML}}
REFUSING = {"401": {"status": 401}, "403 of a proxy": {"status": 403, **HTML}}
MISSING = {"404 of a proxy": {"status": 404, **HTML}}
ODD = {"a page": {"status": 200, **HTML}, "null": {"body": None}}
LATE = {"late": {"delay": 0.01}, "held": {"hold": "answer"}}
TOO_LATE = {"too late": {"delay": 60}, "held for ever": {"hold": "answer for ever"}}
CUT = {
    "reset after headers": {"reset": "after_headers"},
    "truncated to nothing": {"truncate": 0},
    "truncated, three times": {"truncate": 5, "times": 3},
}
RESET = {"reset before headers": {"reset": "before_headers"}}
CUT_ERROR = {"500, truncated": {"status": 500, "truncate": 3}}
HARMLESS = {"other headers": {"headers": {"X-Cache": "HIT", "Connection": "close"}}}
NETWORK = {**TOO_LATE, **CUT, **RESET}
SOME = {"503": {"status": 503}, "late": LATE["late"], "too late": TOO_LATE["too late"], **RESET}

OF_PROMPTS = {
    "pending": at_point("before_taken", polls=3),
    "running": at_point("before_first_event", polls=3),
    "over": at_point("after_success_before_history", polls=3),
}
"""Gaps that close by questions about prompts, so that these are asked while it is there."""


def answers(route: str, variants: Variants, *more: Rule, moment: str = "", **fault: Any) -> Iterator[Fault]:
    """Faults of the answers of a route: of the first one, or of as many as they say."""
    for name, variant in variants.items():
        rule = on_request(route, **{"times": 1, **variant})
        title = " ".join(filter(None, (route, moment, name))) + (", handled" if variant.get("handled") else "")
        own = {"aside": release("answer")} if variant.get("hold") == "answer" else {}
        if name in TOO_LATE:
            own = {"client": IMPATIENT}
        yield Fault(title, (rule, *more), **{**own, **fault})


def handled(*groups: Variants) -> Variants:
    """The same, and the server does what it was asked."""
    return {name: {**variant, "handled": True} for group in groups for name, variant in group.items()}


def polls() -> Iterator[Fault]:
    """Questions about prompts: any failure is borne, but the news that the client is not wanted."""
    everything = {**BUSY, **FAILING, **GATEWAY, **MISSING, **ODD, **LATE, **NETWORK, **CUT_ERROR, **HARMLESS}
    for route, variants in ((HISTORY, everything), (QUEUE, {**SOME, **ODD, **MISSING})):
        for place, (name, variant) in enumerate(variants.items()):
            moment = tuple(OF_PROMPTS)[place % 3]
            yield from answers(route, {name: variant}, OF_PROMPTS[moment], moment=moment, ways=("polling",))
        for moment, gap in OF_PROMPTS.items():
            twice = {"reset twice": {**RESET["reset before headers"], "times": 2}}
            yield from answers(route, twice, gap, moment=moment, ways=("polling",))
        refused = {"401": REFUSING["401"]}
        yield from answers(route, refused, OF_PROMPTS["running"], ways=("polling",), first_error=ServerError)
    yield from answers(HISTORY, SOME, moment="after the end", ways=("websocket",))
    endless = on_request(HISTORY, hold="history")
    yield Fault(f"{HISTORY} held each time", (endless,), WaitTimeout, ways=("polling",), patience_s=LATER_S)


def submissions() -> Iterator[Fault]:
    """`POST /prompt`: sent again only where the server has surely not taken it."""
    route = "POST /prompt"
    yield from answers(route, {**BUSY, **FAILING, **LATE, **TOO_LATE, **CUT, **HARMLESS})
    yield from answers(route, handled(BUSY, FAILING, GATEWAY), ways=("websocket",))
    yield from answers(route, handled(RESET, CUT_ERROR), ways=("polling",))
    yield from answers(route, GATEWAY, outcome=ServerError, prompts=0)
    yield from answers(route, {**RESET, **CUT_ERROR}, outcome=ServerUnreachable, prompts=0)
    yield from answers(route, REFUSING, first_error=ServerError)
    yield from answers(route, MISSING, first_error=NotFound)
    yield from answers(route, ODD, outcome=ProtocolError, prompts=0)
    yield from answers(route, handled(ODD), outcome=ProtocolError)
    busy = on_request(route, times=1, status=429, retry_after=1)
    yield Fault(f"{route} limited to one each second", (busy,), at_least_s=1.0)


def pictures() -> Iterator[Fault]:
    """`GET /view`."""
    route = "GET /view"
    yield from answers(route, {**BUSY, **LATE, **NETWORK, **HARMLESS})
    yield from answers(route, {**FAILING, **GATEWAY, **REFUSING}, first_error=ServerError)
    yield from answers(route, MISSING, first_error=NotFound)


def counts() -> Iterator[Fault]:
    """`GET /prompt`."""
    route = "GET /prompt"
    one: dict[str, Any] = {"task": "count", "prompts": 0}
    yield from answers(route, {**BUSY, **SOME, **CUT}, **one)
    yield from answers(route, {"500": FAILING["500"], **REFUSING}, first_error=ServerError, **one)
    yield from answers(route, MISSING, first_error=NotFound, **one)
    yield from answers(route, ODD, first_error=ProtocolError, **one)


def interruptions() -> Iterator[Fault]:
    """`POST /interrupt` of a prompt by its id, and the routes to cancel."""
    routes = {
        "interrupt": "POST /interrupt",
        "cancel": "POST /api/jobs/{job_id}/cancel",
        "cancel many": "POST /api/jobs/cancel",
    }
    for task, route in routes.items():
        one: dict[str, Any] = {"task": task, "outcome": ExecutionInterrupted}
        yield from answers(route, {"429": BUSY["429"], **SOME, "truncated": {"truncate": 1}}, AT_STEP_2, **one)
        yield from answers(route, handled(RESET), AT_STEP_2, **one)
        yield from answers(route, {"500": FAILING["500"], **REFUSING}, AT_STEP_2, first_error=ServerError, **one)
    # the first stands still; it ends, and the second begins, while the interruption is on its way
    late: dict[str, Any] = {"rules": (at_point("between_queue_and_interrupt"), AT_STEP_2), "prompts": 2}
    late["aside"] = release_when_asked("POST /interrupt", HOLD.name)
    yield Fault("between_queue_and_interrupt hits the next one", task="interrupt of two", **late)
    yield Fault("between_queue_and_interrupt hits nobody else", task="interrupt of the first of two", **late)


def upgrades() -> Iterator[Fault]:
    """`GET /ws`, the first time, and when the first socket was lost."""
    route = "GET /ws"
    bad = {**BUSY, **FAILING, **GATEWAY, **REFUSING, **MISSING, **ODD, **RESET, **CUT_ERROR}
    yield from answers(route, {**LATE, **HARMLESS}, ways=BY_SOCKET)
    yield from answers(route, bad)
    yield from answers(route, TOO_LATE, client=HURRIED)
    told = {"500": FAILING["500"], "401": REFUSING["401"], **ODD}
    yield from answers(route, told, ways=("websocket",), first_error=ServerError)
    yield from answers(route, MISSING, ways=("websocket",), first_error=NotFound)
    yield from answers(route, RESET, ways=("websocket",), first_error=ServerUnreachable)
    yield from answers(route, TOO_LATE, ways=("websocket",), first_error=ServerUnreachable, client=HURRYING)
    lost = on_socket(connection=1, end="abort", event=EventMatch(event="progress", value=2))
    for name, variant in {**SOME, "500": FAILING["500"], **REFUSING, "a page": ODD["a page"]}.items():
        rule = on_request(route, **{"after": 1, "times": 1, **variant})
        again: dict[str, Any] = {"aside": go_on_at_the_second_upgrade, "client": HURRIED}
        yield Fault(f"{route} again {name}", (rule, lost, AT_STEP_2), **again)


# -- WebSockets

MOMENTS: Variants = {
    "after 2 messages": {"messages": 2},
    "as it begins": {"event": "execution_start"},
    "at step 2": {"event": "progress", "value": 2},
    "at an output": {"event": "executed"},
    "at success": {"event": "execution_success"},
    "at its end": {"event": "executing", "node": None},
}
ENDS: Variants = {
    "closed": {"end": "close"},
    "broken off": {"end": "abort"},
    "silent": {"end": "silence"},
    "stalled": {"end": "stall", "seconds": 0.01},
}


def socket_rule(when: str, **rule: Any) -> SocketRule:
    """A fault of WebSockets at one of the `MOMENTS`."""
    moment = MOMENTS[when]
    return on_socket(**rule, **(moment if "messages" in moment else {"event": EventMatch(**moment)}))


def sockets() -> Iterator[Fault]:
    """WebSockets that are refused, closed, broken off, or that fall silent."""
    for status, error in ((401, ServerError), (404, NotFound), (503, ServerError)):
        rule = on_socket(times=1, refuse=status)
        yield Fault(f"refused with {status}", (rule,))
        yield Fault(f"refused with {status}, and told", (rule,), ways=("websocket",), first_error=error)
    yield Fault("refused each time", (on_socket(refuse=503),))
    for what, end in ENDS.items():
        for when in MOMENTS:
            yield Fault(f"{what} {when}", (socket_rule(when, connection=1, **end),), ways=("websocket",))
        yield Fault(f"{what} at once", (on_socket(connection=1, **end),), client=HURRIED)
        yield Fault(f"{what} at once, each time", (on_socket(**end),), client=HURRIED)
        yield Fault(f"{what} as it begins, each time", (socket_rule("as it begins", **end),))
    for what in ("closed", "broken off"):
        rule = on_socket(connection=1, **ENDS[what])
        yield Fault(f"{what} at once, and told", (rule,), ways=("websocket",), first_error=ServerUnreachable)
    for code in (1000, 1001, 1012, 4000):
        rule = socket_rule("at step 2", connection=1, end="close", code=code)
        yield Fault(f"closed with {code}", (rule,), ways=("websocket",))
    for when in ("as it begins", "at success"):
        stalled = socket_rule(when, connection=1, end="stall", hold="net")
        yield Fault(f"stalled {when} for ever", (stalled,), ways=("websocket",))
        yield Fault(f"stalled {when}, and released", (stalled,), ways=("websocket",), aside=release("net"))


# -- messages

SHOWN = {"preview_method": "latent2rgb"}
MESSAGES: Variants = {
    "status": {"event": "status"},
    "execution_start": {"event": "execution_start"},
    "executing": {"event": "executing", "node": "3"},
    "progress_state": {"event": "progress_state"},
    "progress": {"event": "progress", "value": 2},
    "preview": {"event": "preview"},
    "executed": {"event": "executed"},
    "execution_success": {"event": "execution_success"},
    "the end": {"event": "executing", "node": None},
}


def messages() -> Iterator[Fault]:
    """Messages that are late, or come behind a large frame."""
    for what, match in MESSAGES.items():
        late = on_message(**match, times=1, delay=0.01)
        yield Fault(f"{what} is late", (late,), ways=("websocket",), server=SHOWN)
    for what in ("status", "progress", "execution_success", "the end"):
        behind = on_message(**MESSAGES[what], times=1, oversize=100_000)
        yield Fault(f"{what} behind a frame", (behind,), ways=("websocket",))
    small = {"socket": replace(SETTINGS, max_size=50_000)}
    for what in ("execution_start", "progress", "execution_success"):
        behind = on_message(**MESSAGES[what], times=1, oversize=100_000)
        yield Fault(f"{what} behind a frame that is too large", (behind,), ways=("websocket",), client=small)
        late = on_message(**MESSAGES[what], delay=60)
        yield Fault(f"{what} is too late", (late,), ways=("websocket",))
    yield Fault("all messages are late", (on_message("*", delay=0.001),), ways=("websocket",))


def broken_messages() -> Iterator[Fault]:
    """Messages that are lost, repeated or out of order: of two runs each has what is its own in the end."""
    two: dict[str, Any] = {
        "ways": ("websocket",),
        "task": "two runs",
        "prompts": 2,
        "legality": "broken",
        "server": SHOWN,
    }
    for what, match in {**MESSAGES, "any message": {"event": "*", "after": 1}}.items():
        yield Fault(f"{what} is lost", (on_message(**match, lose=True),), **two)
        yield Fault(f"{what} comes three times", (on_message(**match, duplicate=2),), **two)
        yield Fault(f"{what} comes out of order", (on_message(**match, reorder=2),), **two)


# -- gaps


def gaps() -> Iterator[Fault]:
    """The gaps of the protocol."""
    accelerated = {"clock": "real", "speed": 100}
    for point, polls in (
        ("before_taken", 3),
        ("before_first_event", 3),
        ("after_success_before_history", 3),
        ("after_history_before_end", 1),
    ):
        held, open_a_while = at_point(point, hold="gap"), at_point(point, seconds=1.0)
        yield Fault(f"{point}, released", (held,), ways=BOTH, aside=release("gap"))
        yield Fault(f"{point}, a while", (open_a_while,), ways=BOTH, server=accelerated)
        yield Fault(f"{point}, polls", (at_point(point, polls=polls),), ways=("polling",))
        if point.startswith("before"):
            yield Fault(f"{point} for ever", (held,), WaitTimeout, ways=BOTH, patience_s=SOON_S)
    success, end = (
        at_point("after_success_before_history", hold="gap"),
        at_point("after_history_before_end", hold="gap"),
    )
    yield Fault("after_success_before_history, polls", (OF_PROMPTS["over"],), ways=("websocket",))
    yield Fault("after_success_before_history for ever", (success,), WaitTimeout, ways=("polling",), patience_s=LATER_S)
    # what the socket has told of it must do then, as where somebody else has cleared the history
    yield Fault("after_success_before_history for ever", (success,), ways=("websocket",))
    yield Fault("after_history_before_end for ever", (end,), ways=BOTH)
    upgraded = at_point("after_upgrade", hold="gap")
    yield Fault("after_upgrade, released", (upgraded,), ways=BY_SOCKET, aside=release("gap"))
    yield Fault("after_upgrade, a while", (at_point("after_upgrade", seconds=0.01),), ways=BY_SOCKET)
    yield Fault("after_upgrade, a poll", (at_point("after_upgrade", polls=1),), client=HURRIED)
    yield Fault("after_upgrade for ever", (upgraded,), client=HURRIED)


def broken_gaps() -> Iterator[Fault]:
    """Gaps that only proxies and other fakes have."""
    gap = "queue_empty_before_history"
    for_ever = at_point(gap, hold="gap")
    broken: dict[str, Any] = {"legality": "broken"}
    two: dict[str, Any] = {"task": "two runs", "prompts": 2, **broken}
    yield Fault("events_before_answer", (at_point("events_before_answer"),), ways=WAYS, **two)
    yield Fault(f"{gap}, polls", (at_point(gap, polls=2),), ways=WAYS, **two)
    yield Fault(f"{gap}, released", (at_point(gap, hold="gap", times=1),), ways=WAYS, aside=release("gap"), **two)
    yield Fault(f"{gap} for ever", (for_ever,), PromptLost, ways=("polling",), **broken)
    yield Fault(f"{gap} for ever", (for_ever,), ways=("websocket",), **broken)


# -- the server


def servers() -> Iterator[Fault]:
    """A server that restarts, stops, is slow to start, or takes no prompt."""
    for when in ("as it begins", "at step 2", "at an output"):
        yield Fault(f"restart {when}", (on_server(**MOMENTS[when], times=1),), PromptLost, ways=BOTH)
    down = on_server(**MOMENTS["at step 2"], times=1, down=0.05)
    yield Fault("restart that takes a while", (down,), PromptLost, ways=BOTH)
    for when in ("at success", "at its end"):
        # the files are there, and the socket has told all
        yield Fault(f"restart {when}", (on_server(**MOMENTS[when], times=1),), ways=("websocket",))
    yield Fault("restart at success", (on_server("execution_success", times=1),), PromptLost, ways=("polling",))
    yield Fault("restart before the POST", (on_server("status", times=1),))
    gone: dict[str, Any] = {"client": {"pace": replace(QUICK, unreachable_after=0.05)}}
    for when in ("as it begins", "at step 2", "at its end"):
        stop = on_server(action="stop", **MOMENTS[when], times=1)
        yield Fault(f"stop {when}", (stop,), ServerUnreachable, ways=BOTH, **gone)
    stop = on_server("status", "stop", times=1)
    yield Fault("stop before the POST", (stop,), ServerUnreachable, prompts=0, **gone)
    slow: dict[str, Any] = {"script": {"start_up": 0.05}}
    patient = {"retries": Retries(attempts=10, first_wait=0.01)}
    yield Fault("slow start", (), ways=("auto", "polling"), client=patient, **slow)
    # who insists on a socket is told at once that there is none, before anything is queued
    yield Fault("slow start", (), ServerUnreachable, ways=("websocket",), prompts=0, **slow)
    yield Fault("paused queue", (), WaitTimeout, ways=WAYS, script={"queue_paused": True}, patience_s=SOON_S)
    yield Fault("queue that is resumed", (), ways=WAYS, script={"queue_paused": True}, aside=resume)


# -- nodes


def nodes() -> Iterator[Fault]:
    """Nodes that fail, come to no end, or have much to say."""
    failing = on_node("KSampler", raises=Failure(type="ValueError", message="bad latent", at_step=2))
    yield Fault("a node raises", (failing,), ExecutionFailed, ways=BOTH)
    yield Fault("a node is out of memory", (on_node("VAEDecode", raises="out_of_memory"),), ExecutionFailed, ways=BOTH)
    yield Fault("a node is held for ever", (AT_STEP_2,), WaitTimeout, ways=BOTH, patience_s=LATER_S)
    yield Fault("a node is held", (AT_STEP_2,), ways=BOTH, aside=release(HOLD.name))
    talk = on_node(
        "VAEDecode",
        duration=100,
        texts="hm",
        messages=MessageAt(type="pack.x", data={"a": 1}),
        binaries=BinaryAt(event=77, data=b"x"),
        logs="hm",
    )
    yield Fault("a node talks", (talk,), ways=BOTH)


MANY_OF_A_SORT = (polls, submissions, pictures, counts, interruptions, upgrades, messages, broken_messages)
OTHERS = (sockets, gaps, servers, nodes, broken_gaps)


def turn_about(faults: Iterable[Fault]) -> Iterator[Fault]:
    """Each for one kind of client, in turn: of many of a sort both meet some, and their course is the same."""
    for place, fault in enumerate(faults):
        yield replace(fault, kinds=("blocking", "async")[place % 2 : place % 2 + 1])


TABLE = [
    *(fault for part in MANY_OF_A_SORT for fault in turn_about(part())),
    *(fault for part in OTHERS for fault in part()),
]
