"""Schedules: legal faults put together at random, and made smaller where a client fails by them.

A schedule is a course of a run with faults on top, and its name says all of it, so that it can be tried again:
`schedule:two_outputs+drop_at_step+history_late`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from comfy_mock.conformance.moves import Deafen, Drop, Held, Interrupt, Move, Pause, Release
from comfy_mock.conformance.report import Outcome
from comfy_mock.conformance.situations import FAULT, SAMPLING, SAVING, Expect, Situation, sampling, saving
from comfy_mock.conformance.workflows import text_beside, text_to_image, two_outputs
from comfy_mock.engine.script.model import AnyRule, EventMatch, Failure, MessageAt
from comfy_mock.script import at_point, on_message, on_node, on_request, on_server, on_socket

_PREFIX = "schedule:"
_FAULTS_MAX = 4
SHRINK_TRIALS_MAX, SHRINK_S_MAX = 30, 120.0
_HOLD_S = 0.3

_WORKFLOWS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "one_output": text_to_image,
    "two_outputs": two_outputs,
    "text_beside": text_beside,
    "three_pictures": lambda: text_to_image(batch=3),
}


@dataclass(frozen=True)
class Fault:
    """One legal fault. `at_sampling` and `at_saving` are moves while the run stands still there.

    Of those with the same `kind` a schedule has one at most, as they decide how the run ends, or befall the same thing.
    """

    rules: tuple[AnyRule, ...] = ()
    at_sampling: tuple[Move, ...] = ()
    at_saving: tuple[Move, ...] = ()
    expect: Expect = "outputs"
    kind: str = ""
    patience: float = 1.0
    once: bool = True


_FAILS = Failure(type="ValueError", message="no room")

FAULTS: Mapping[str, Fault] = {
    "raise": Fault((saving(_FAILS),), expect="failure", kind="end"),
    "interrupt": Fault(at_sampling=(Interrupt(),), expect="failure", kind="end"),
    "restart": Fault(
        (on_server("progress", value=4, times=1, down=0.3),), expect="failure", kind="end", once=False, patience=2.0
    ),
    "drop_at_step": Fault((on_socket(times=1, end="abort", event=EventMatch(event="progress", value=2)),)),
    "drop_at_saving": Fault(at_saving=(Drop(),)),
    "drop_at_executed": Fault((on_socket(times=1, end="abort", event="executed"),)),
    "drop_at_success": Fault((on_socket(times=1, end="abort", event="execution_success"),)),
    "close_at_start": Fault((on_socket(times=1, end="close", code=1012, event="execution_start"),)),
    "deaf_at_sampling": Fault(at_sampling=(Deafen(),)),
    "deaf_at_saving": Fault(at_saving=(Deafen(),)),
    "large_frame": Fault((on_message("executed", times=1, oversize=3 * 2**20),)),
    "late_message": Fault((on_message("execution_success", times=1, delay=0.5),)),
    "unknown_messages": Fault(
        (
            on_node(
                "VAEDecode",
                messages=[MessageAt(type="pack.a", data=None), MessageAt(type="pack.b", data=["x"])],
                steps=2,
            ),
        )
    ),
    "texts": Fault((on_node("CLIPTextEncode", texts=["reading"], steps=1),)),
    "previews": Fault((sampling(times=1, previews=True),)),
    "late_answer": Fault((on_request("POST /prompt", times=1, delay=0.3),), kind="post"),
    "post_429": Fault((on_request("POST /prompt", times=1, status=429, retry_after=1),), expect="either", kind="post"),
    "history_500": Fault((on_request("GET /history/*", times=1, status=500),), kind="history"),
    "history_429": Fault((on_request("GET /history/*", times=1, status=429, retry_after=1),), kind="history"),
    "history_reset": Fault((on_request("GET /history/*", times=1, reset="before_headers"),), kind="history"),
    "queue_503": Fault((on_request("GET /queue", times=1, status=503),)),
    "view_reset": Fault((on_request("GET /view", times=1, reset="after_headers"),)),
    "history_late": Fault((at_point("after_success_before_history", polls=2, seconds=0.5),)),
    "slow_to_begin": Fault((at_point("before_first_event", polls=1, seconds=0.5),)),
}
"""What schedules are made of, by name."""


_HOLDING: Mapping[str, AnyRule] = {"previews": sampling(times=1), "raise": saving()}
"""What makes a run stand still, by the fault whose rule does so in its place."""


@dataclass(frozen=True)
class Schedule:
    """A workflow, by name, and faults of its run, by name."""

    workflow: str
    faults: tuple[str, ...] = ()

    @staticmethod
    def is_name(text: str) -> bool:
        """Whether this is the name of a schedule, or meant to be."""
        return text.startswith(_PREFIX)

    def __str__(self) -> str:
        return _PREFIX + "+".join([self.workflow, *self.faults])

    def situation(self) -> Situation:
        """The schedule as a situation."""
        faults = [FAULTS[name] for name in self.faults]
        named = tuple(_named(rule) for fault in faults for rule in fault.rules)
        at_sampling = [move for fault in faults for move in fault.at_sampling]
        at_saving = [move for fault in faults for move in fault.at_saving]
        pause = Pause(_HOLD_S)
        expects = {fault.expect for fault in faults}
        return Situation(
            str(self),
            f"A run ({self.workflow}) with {', '.join(self.faults) or 'no faults'}.",
            _SHOULD,
            "failure" if "failure" in expects else "either" if "either" in expects else "outputs",
            workflow=_WORKFLOWS[self.workflow](),
            rules=(*named, *(rule for name, rule in _HOLDING.items() if name not in self.faults)),
            moves=(
                *(Held(SAMPLING), pause, *at_sampling, Release(SAMPLING)),
                *(Held(SAVING), pause, *at_saving, Release(SAVING)),
            ),
            patience=max([fault.patience for fault in faults], default=1.0),
            once=all(fault.once for fault in faults),
        )


_SHOULD = (
    "Ask the server what became of the prompt when messages stop, a request fails, or the WebSocket ends; return what "
    "the history has, or report the failure."
)


def _named(rule: AnyRule) -> AnyRule:
    """The rule as one that need not be used."""
    changed: AnyRule = msgspec.structs.replace(rule, name=FAULT)
    return changed


def read_schedule(name: str) -> Schedule:
    """The schedule of this name. Raises `ValueError` where there is no such workflow or fault."""
    workflow, *faults = name.removeprefix(_PREFIX).split("+")
    for word, known in [(workflow, _WORKFLOWS), *((fault, FAULTS) for fault in faults)]:
        if word not in known:
            raise ValueError(f"{name}: there is no {word!r}; there are: {', '.join(known)}")
    return Schedule(workflow, tuple(faults))


def schedules(count: int, seed: int) -> list[Schedule]:
    """So many different schedules, drawn by the seed."""
    rng = random.Random(seed)
    drawn: dict[Schedule, None] = {}
    while len(drawn) < count:
        drawn[_draw(rng)] = None
    return list(drawn)


def _draw(rng: random.Random) -> Schedule:
    names = rng.sample(list(FAULTS), rng.randint(1, _FAULTS_MAX))
    kinds: dict[str, str] = {}
    for name in names:
        kinds.setdefault(FAULTS[name].kind or name, name)
    return Schedule(rng.choice(list(_WORKFLOWS)), tuple(kinds.values()))


def shrunk(
    schedule: Schedule,
    outcome: Outcome,
    attempt: Callable[[Schedule], Outcome],
    *,
    trials: int = SHRINK_TRIALS_MAX,
    seconds: float = SHRINK_S_MAX,
    now: Callable[[], float] = time.monotonic,
) -> Outcome:
    """The outcome of the smallest schedule found that fails, too, from one that has failed with this outcome.

    One fault after the other is left out, and the workflow made the plain one, as long as what is left fails; with at
    most so many trials, none of which begins after so many seconds.
    """
    until = now() + seconds
    smaller = iter(_smaller(schedule))
    while trials > 0 and now() < until:
        candidate = next(smaller, None)
        if candidate is None:
            break
        trials -= 1
        found = attempt(candidate)
        if not found.passed:
            outcome, smaller = found, iter(_smaller(candidate))
    return outcome


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """The schedules that have one thing less."""
    for place in range(len(schedule.faults)):
        yield replace(schedule, faults=schedule.faults[:place] + schedule.faults[place + 1 :])
    plain = next(iter(_WORKFLOWS))
    if schedule.workflow != plain:
        yield replace(schedule, workflow=plain)
