"""Hypothesis strategies for scripts: schedules of all that a real server and its network may do (docs/strategies.md).

They need the extra `test`. Prompts and event traces are in `comfy_contracts.strategies`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

try:
    from hypothesis import strategies as st
except ImportError as missing:
    raise ImportError(
        "comfy_mock.strategies needs Hypothesis; install it with `pip install comfy-mock[test]`"
    ) from missing

from comfy_mock.engine.script.model import (
    AnyRule,
    EventMatch,
    Failure,
    MessageMatch,
    MessageRule,
    NodeRule,
    Point,
    PointRule,
    RequestMatch,
    RequestRule,
    Script,
    ServerRule,
    SocketRule,
)

FaultKind = Literal["answers", "sockets", "messages", "gaps", "nodes", "restarts"]
"""What has faults: answers to requests, whole WebSockets, messages on their way, the protocol's gaps, nodes of a
prompt, and the server as a whole."""

FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

ROUTES = ("POST /prompt", "GET /queue", "GET /history/{prompt_id}", "GET /view")
"""What a client asks in the course of a prompt."""

_EVENTS = (
    *("status", "execution_start", "execution_cached", "executing", "progress_state", "progress", "executed"),
    *("execution_success", "execution_error", "execution_interrupted"),
)
_GAPS: tuple[Point, ...] = (
    *("before_taken", "before_first_event", "after_success_before_history", "after_history_before_end"),
    "after_upgrade",
)


def fault_schedules(
    kinds: Iterable[FaultKind] = FAULT_KINDS,
    *,
    routes: Iterable[str] = ROUTES,
    max_faults: int = 3,
    longest: float = 0.05,
) -> st.SearchStrategy[Script]:
    """Scripts of up to `max_faults` faults, all of which a real server, or the network before it, may have.

    Every rule is legal, is used once, and is `optional`. What waits goes on by itself, after at most `longest` seconds:
    nothing is held, and the server does not stop for good. A WebSocket that falls silent stays so, until the client
    opens another one. `routes` are those whose answers have faults.

        @given(fault_schedules(["sockets", "gaps"]))
        def test_my_client(script):
            server.reset(script=script)

    With `"nodes"` a prompt may fail, and with `"restarts"` it may be lost: what became of it, the server's own history
    knows. They shrink to few and simple faults; `comfy_mock.script.to_yaml` shows them.

    Raises `ValueError` for a kind that there is not, and where there is none.
    """
    chosen = list(kinds)
    unknown = [kind for kind in chosen if kind not in FAULT_KINDS]
    if unknown or not chosen:
        problem = f"there are no faults of {unknown[0]!r}" if unknown else "no kind of faults was named"
        raise ValueError(f"{problem}; the kinds are: {', '.join(FAULT_KINDS)}")
    seconds = st.sampled_from([longest, longest / 5])
    of_kind: dict[FaultKind, st.SearchStrategy[AnyRule]] = {
        "answers": _answers(list(routes), seconds),
        "sockets": _sockets(seconds),
        "messages": _messages(seconds),
        "gaps": _gaps(seconds),
        "nodes": _nodes(),
        "restarts": _restarts(seconds),
    }
    rules: st.SearchStrategy[AnyRule] = st.one_of([of_kind[kind] for kind in chosen])
    return st.builds(Script, rules=st.lists(rules, max_size=max_faults))


_LATER = st.sampled_from([0, 0, 1, 3])
"""How many that fit a fault lets pass first."""

_AWAITED = st.builds(EventMatch, event=st.sampled_from(_EVENTS))


def _answers(routes: list[str], seconds: st.SearchStrategy[float]) -> st.SearchStrategy[RequestRule]:
    match = st.builds(RequestMatch, route=st.sampled_from(routes))

    def fault(**how: st.SearchStrategy[object]) -> st.SearchStrategy[RequestRule]:
        return st.builds(RequestRule, match=match, times=st.just(1), after=_LATER, optional=st.just(True), **how)

    return st.one_of(
        fault(delay=seconds),
        fault(status=st.sampled_from([429, 503]), retry_after=st.just(0)),
        fault(status=st.sampled_from([500, 502, 504]), handled=st.booleans()),
        fault(reset=st.sampled_from(["before_headers", "after_headers"]), handled=st.booleans()),
        fault(truncate=st.integers(0, 20)),
    )


def _sockets(seconds: st.SearchStrategy[float]) -> st.SearchStrategy[SocketRule]:
    def fault(**how: st.SearchStrategy[object]) -> st.SearchStrategy[SocketRule]:
        return st.builds(SocketRule, times=st.just(1), after=st.sampled_from([0, 0, 1]), optional=st.just(True), **how)

    def ends(**how: st.SearchStrategy[object]) -> st.SearchStrategy[SocketRule]:
        after_event, after_messages = fault(event=_AWAITED, **how), fault(messages=st.integers(1, 20), **how)
        return after_event | after_messages

    return st.one_of(
        fault(refuse=st.sampled_from([403, 502, 503])),
        ends(end=st.just("close"), code=st.sampled_from([1000, 1001, 1011, 1012])),
        ends(end=st.sampled_from(["abort", "silence"])),
        ends(end=st.just("stall"), seconds=seconds),
    )


def _messages(seconds: st.SearchStrategy[float]) -> st.SearchStrategy[MessageRule]:
    match = st.builds(MessageMatch, event=st.sampled_from([*_EVENTS, "preview"]))

    def fault(**how: st.SearchStrategy[object]) -> st.SearchStrategy[MessageRule]:
        return st.builds(MessageRule, match=match, times=st.just(1), after=_LATER, optional=st.just(True), **how)

    return fault(delay=seconds) | fault(oversize=st.sampled_from([5, 1000, 100_000]))


def _gaps(seconds: st.SearchStrategy[float]) -> st.SearchStrategy[PointRule]:
    def fault(point: st.SearchStrategy[Point], **how: st.SearchStrategy[object]) -> st.SearchStrategy[PointRule]:
        return st.builds(PointRule, point=point, times=st.just(1), optional=st.just(True), **how)

    return st.one_of(
        # polls end it where somebody asks, the seconds where nobody does
        fault(st.sampled_from(_GAPS), seconds=seconds, polls=st.none() | st.integers(1, 3)),
        fault(st.just("between_queue_and_interrupt")),
    )


def _nodes() -> st.SearchStrategy[NodeRule]:
    def fault(**how: st.SearchStrategy[object]) -> st.SearchStrategy[NodeRule]:
        return st.builds(NodeRule, times=st.just(1), after=_LATER, optional=st.just(True), **how)

    failures = st.builds(Failure, type=st.sampled_from(["ValueError", "RuntimeError"]), message=st.just("bad latent"))
    return st.one_of(
        fault(duration=st.sampled_from([0.5, 30.0])),
        fault(steps=st.integers(1, 4), previews=st.booleans()),
        fault(cached=st.just(True)),
        fault(raises=failures),
        fault(raises=st.just("out_of_memory")),
    )


def _restarts(seconds: st.SearchStrategy[float]) -> st.SearchStrategy[ServerRule]:
    return st.builds(
        ServerRule,
        event=_AWAITED,
        action=st.just("restart"),
        down=seconds,
        times=st.just(1),
        after=_LATER,
        optional=st.just(True),
    )
