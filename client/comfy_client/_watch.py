"""How a tracker keeps what it knows of a prompt and of its socket, and what it reads out of messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from comfy_client._actions import PollHistory, PollQueue
from comfy_client._prompt_state import PromptState
from comfy_contracts.messages import Executing, Message, Progress, ProgressState, Unknown
from comfy_contracts.results import HistoryEntry


@dataclass(eq=False)
class Watch:
    """How one prompt is looked after."""

    state: PromptState
    uses_socket: bool
    poll_interval: float
    busy_lengths: int
    """How many messages had told of a queue that is not empty, when it was posted."""
    since: float
    confirmed: bool = False
    next_poll: type[PollHistory] | type[PollQueue] = PollHistory
    poll_at: float = 0.0
    absent_since: float | None = None
    """When the queue was found without it, until the history has been asked as well."""
    looks: int = 0
    strikes: int = 0
    first_strike: float = 0.0
    end_message_at: float | None = None
    entry_misses: int = 0
    entry_at: float | None = None
    """When the history was first found to have it, while pictures may still come by socket."""
    heard_at: float = 0.0
    hinted_at: float | None = None
    cancelled: bool = False
    queue_first: bool = False
    """Whether what the history has may be of an earlier run: it may wait again, with the same id."""
    unreadable: int = 0
    """How many answers of the history in a row could not be read."""
    position_wanted: bool = False
    """Whether the next look at the queue is to tell its position, and early."""
    gap: bool = False
    """Whether messages about it may have been missed."""


@dataclass
class SocketState:
    open: bool = False
    failures: int = 0
    """How many attempts have come to nothing, also by a socket that was lost before it told anything."""
    opened_at: float = 0.0
    retry_at: float = 0.0
    deaf_since: float | None = None
    marks_previews: bool = False
    """Whether previews for this client name their prompt, as the server has said."""
    at_work: tuple[str, str | None] | None = None
    """The prompt and node of the message just before, where it was about work under way."""


def prompt_id_of(message: Message) -> str | None:
    """The prompt that a message names; None where it names none."""
    if isinstance(message, Unknown):
        named = message.data.get("prompt_id") if isinstance(message.data, dict) else None
        return named if isinstance(named, str) else None
    named = getattr(message, "prompt_id", None)
    return None if named is UNSET else named


def node_at_work(message: Progress | Executing | ProgressState) -> str | None:
    """The one node that is at work by a message; None where there is none, or several are."""
    if isinstance(message, ProgressState):
        running = [node.node_id for node in message.nodes.values() if node.state == "running"]
        return running[-1] if len(running) == 1 else None
    return message.node


def is_of(entry: HistoryEntry, state: PromptState) -> bool:
    """Whether an entry is of this run: an id can be used again, a number tells runs apart (protocol 4.1)."""
    number: Any = state.number
    if state.stale is not None and entry == state.stale:
        return False
    return number is None or number != number or entry.prompt.number == number
