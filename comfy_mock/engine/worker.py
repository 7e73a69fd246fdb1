"""The worker: takes one prompt at a time and runs it to its end (protocol 5.1, 5.2, 5.16)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_contracts import messages
from comfy_mock.engine.execution import PromptRun
from comfy_mock.engine.host import Host, Steps
from comfy_mock.engine.queue import PromptItem, PromptQueue
from comfy_mock.engine.rehearsal import rehearse
from comfy_mock.engine.script.points import Points

_GREEN, _PLAIN = "\x1b[32m", "\x1b[0m"

_PAUSE_S = 0.0005
"""The little time that passes between two things that the real server does one right after the other."""


def run_prompt(host: Host, queue: PromptQueue, points: Points, log: Callable[[str], None]) -> Steps:
    """Take the first pending prompt and simulate it, to the last message that it causes.

    `execution_success` goes out before the history has the prompt, then it moves from running to history in one step,
    then come `status` and the closing `executing`. Between them are gaps that a script may hold open. None is taken
    where none is left, or the queue is paused, when the first gap closes.
    """
    first = queue.first
    assert first is not None, "a prompt is pending"
    yield from points.hold_open("before_taken", first)
    if queue.first is None or host.director.paused:
        return
    item = queue.take()
    yield _PAUSE_S
    yield from points.hold_open("before_first_event", item)
    host.interrupt_requested = False
    host.client_id = item.extra_data.get("client_id")
    host.last_node_id = None
    started = host.now
    run = PromptRun(host, item)
    run.casting.decide()
    rehearse(run)
    yield from run.steps()
    yield _PAUSE_S
    host.last_node_id = None
    yield from _before_history(queue, points, item)
    queue.finish(run.telling.outputs, run.telling.status(), run.telling.meta)
    yield from points.hold_open("after_history_before_end", item)
    _close(host, item)
    log(f"{_GREEN}Prompt executed in {host.now - started:.2f} seconds{_PLAIN}")


def _before_history(queue: PromptQueue, points: Points, item: PromptItem) -> Steps:
    yield from points.hold_open("after_success_before_history", item)
    rule = points.rule("queue_empty_before_history", item)
    if rule is not None:
        queue.is_running_hidden = True
        yield from points.wait(rule, item)


def _close(host: Host, item: PromptItem) -> None:
    closing: dict[str, Any] = {"node": None, "prompt_id": item.prompt_id}
    host.to_client(messages.Executing(**closing))
