"""`POST /queue` and `POST /history`: what the bodies delete (protocol 4.2, 4.3)."""

from __future__ import annotations

from typing import Any

from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.queue import PromptQueue


def edit_queue(queue: PromptQueue, body: Any) -> None:
    """Clear the pending prompts, or delete some, as the body says. Raises `ServerTrouble`."""
    if _wants_clear(body):
        queue.clear()
    for prompt_id in _ids_to_delete(body):
        queue.delete(prompt_id)


def edit_history(queue: PromptQueue, body: Any) -> None:
    """Clear the history, or delete some entries, as the body says. Raises `ServerTrouble`."""
    if _wants_clear(body):
        queue.history.clear()
    for prompt_id in _ids_to_delete(body):
        # an empty dict does not look at the key it is asked for
        if queue.history and isinstance(prompt_id, (list, dict)):
            raise ServerTrouble(f"an id of the history cannot be {type(prompt_id).__name__}")
        if isinstance(prompt_id, str):
            queue.delete_history(prompt_id)


def _wants_clear(body: Any) -> bool:
    """A list or a string has no `clear`, or breaks the real server when it seems to have one."""
    try:
        return bool(body["clear"]) if "clear" in body else False
    except TypeError as problem:
        raise ServerTrouble(f"the body cannot be read: {problem}") from problem


def _ids_to_delete(body: Any) -> list[Any]:
    try:
        return list(body["delete"]) if "delete" in body else []
    except TypeError as problem:
        raise ServerTrouble(f"the body cannot be read: {problem}") from problem
