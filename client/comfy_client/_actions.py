"""What a tracker can want done, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union


@dataclass(frozen=True)
class Pace:
    """How often things are done, and how long they are borne; all in seconds.

    `poll_interval`: between two looks at a prompt without a socket, after a few quicker ones.
    `watch_interval`: the same with a socket.
    `lost_after`: how long a prompt must be unknown to the server to be lost.
    `entry_after`: how long the history is waited for once a message has said that a prompt is over.
    `unreachable_after`: how long questions may fail in a row.
    `reconnect_first`, `reconnect_max`: the waits before the first and the last attempts to get a socket back.
    """

    poll_interval: float = 1.0
    watch_interval: float = 5.0
    lost_after: float = 5.0
    entry_after: float = 2.0
    unreachable_after: float = 30.0
    reconnect_first: float = 0.1
    reconnect_max: float = 10.0


@dataclass(frozen=True)
class PollHistory:
    """Ask `/history/{prompt_id}`."""

    prompt_id: str


@dataclass(frozen=True)
class PollQueue:
    """Ask `/queue`."""


@dataclass(frozen=True)
class Reconnect:
    """Open a socket, in place of the one there may be."""


@dataclass(frozen=True)
class WaitUntil:
    """Nothing to do before `at`, unless news comes."""

    at: float


@dataclass(frozen=True)
class GiveUp:
    """The server has not answered for too long."""


@dataclass(frozen=True)
class Nothing:
    """The prompt is over."""


Action = Union[PollHistory, PollQueue, Reconnect, WaitUntil, GiveUp, Nothing]
