"""The worker: takes one prompt at a time and runs it to its end (protocol 5.1, 5.2, 5.16)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_contracts import messages
from comfy_mock.engine.execution import PromptRun
from comfy_mock.engine.host import Host, Steps
from comfy_mock.engine.queue import PromptItem, PromptQueue

_GREEN, _PLAIN = "\x1b[32m", "\x1b[0m"

_PAUSE_S = 0.0005
"""The little time that passes between two things that the real server does one right after the other."""


def run_prompt(host: Host, queue: PromptQueue, log: Callable[[str], None]) -> Steps:
    """Take the first pending prompt and simulate it, to the last message that it causes.

    `execution_success` goes out before the history has the prompt, then it moves from running to history in one step,
    then come `status` and the closing `executing`.
    """
    item = queue.take()
    yield _PAUSE_S
    host.interrupt_requested = False
    host.client_id = item.extra_data.get("client_id")
    host.last_node_id = None
    started = host.now
    run = PromptRun(host, item)
    yield from run.steps()
    yield _PAUSE_S
    host.last_node_id = None
    queue.finish(run.telling.outputs, run.telling.status(), run.telling.meta)
    _close(host, item)
    log(f"{_GREEN}Prompt executed in {host.now - started:.2f} seconds{_PLAIN}")


def _close(host: Host, item: PromptItem) -> None:
    closing: dict[str, Any] = {"node": None, "prompt_id": item.prompt_id}
    host.to_client(messages.Executing(**closing))
