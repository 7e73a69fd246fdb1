"""When to try again, and after how long. Pure: the random number comes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Union


@dataclass(frozen=True)
class NoAnswer:
    """The network failed. `sent` is false where the request cannot have reached the server."""

    reason: str
    sent: bool


@dataclass(frozen=True)
class BadStatus:
    """An answer whose status may mean that another attempt helps. `retry_after` is what it asks for, in seconds."""

    status: int
    retry_after: float | None = None


Failure = Union[NoAnswer, BadStatus]

_TOO_MUCH_TO_DO = frozenset({429, 503})
_GATEWAY_TIMEOUT = 504


@dataclass(frozen=True)
class Retries:
    """How often and when a failed call is made again.

    `attempts` counts the first one too. The waits, in seconds, double from `first_wait` up to `longest_wait`, each made
    shorter or longer by up to half at random. A server that asks for a longer wait by `Retry-After` gets it, as long as
    that is not above `retry_after_max`.

    A connection that failed, and the statuses 429 and 503, are tried again for calls that may be made twice. A request
    that cannot have reached the server is tried again in any case.
    """

    attempts: int = 4
    first_wait: float = 0.25
    longest_wait: float = 8.0
    retry_after_max: float = 60.0

    def wait(self, failure: Failure, attempt: int, *, repeatable: bool, random: float) -> float | None:
        """The seconds to wait before another attempt after number `attempt`, from 1 on; None where it is the last.

        `random` is from 0 to 1.
        """
        if attempt >= self.attempts or not self._helps(failure, repeatable):
            return None
        wait: float = min(self.first_wait * 2 ** (attempt - 1), self.longest_wait) * (0.5 + random)
        if isinstance(failure, BadStatus) and failure.retry_after is not None:
            if failure.retry_after > self.retry_after_max:
                return None
            wait = max(wait, failure.retry_after)
        return wait

    def _helps(self, failure: Failure, repeatable: bool) -> bool:
        if isinstance(failure, NoAnswer):
            return repeatable or not failure.sent
        return repeatable and failure.status in _TOO_MUCH_TO_DO

    def wait_to_post_again(self, failure: Failure, attempt: int, *, random: float) -> float | None:
        """The same for `POST /prompt`, of which the queue and the history tell whether it arrived.

        Then any failure of the server is worth another attempt, or where that `may_arrive_late`, another look.
        """
        if isinstance(failure, BadStatus) and failure.status >= 500:
            failure = BadStatus(503, failure.retry_after)
        return self.wait(failure, attempt, repeatable=True, random=random)


def was_sent(failure: Failure) -> bool:
    """Whether the server may have got the request."""
    return not isinstance(failure, NoAnswer) or failure.sent


def is_refused(failure: Failure) -> bool:
    """Whether the server, or what stands before it, has said that it will not do what was asked, now or later."""
    return isinstance(failure, BadStatus) and failure.status < 500 and failure.status not in _TOO_MUCH_TO_DO


def may_arrive_late(failure: Failure) -> bool:
    """Whether the server may do what was asked after all: nobody has said that it will not."""
    return failure.sent if isinstance(failure, NoAnswer) else failure.status == _GATEWAY_TIMEOUT


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds that a `Retry-After` header asks for, given as a number or as a date; None without a readable one."""
    value = next((text for name, text in headers.items() if name.lower() == "retry-after"), "").strip()
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max((moment - now).total_seconds(), 0.0)
