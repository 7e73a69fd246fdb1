"""When to ask the server for which prompt, and what its silence means. Pure, as the tracker that builds on it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from comfy_client._actions import Action, GiveUp, Nothing, Pace, PollHistory, PollQueue, Reconnect, WaitUntil
from comfy_client._prompt_state import PromptState
from comfy_client._watch import SocketState, Watch
from comfy_client.events import Outcome
from comfy_contracts.messages import Executing, ExecutionError, ExecutionInterrupted, ExecutionSuccess
from comfy_contracts.results import HistoryEntry

MANY_PROMPTS: Final = 8
"""From so many prompts on, one look at the queue comes before a look at the history for each."""

ENTRY_RETRY_MAX_S: Final = 0.5
"""The longest wait between two looks for an entry of the history that must come soon."""

DEAF_AFTER_S: Final = 1.0
"""How long a socket may tell nothing of a run that goes on, or has ended, before it is replaced."""

POSITION_AFTER_S: Final = 0.5
"""When a prompt that a socket tells of, and that has not begun, is looked for in the queue for the first time."""

FIRST_ATTEMPT_S: Final = 5.0
"""How long the first attempt to get a socket may take where polling would do."""

NEXT_ATTEMPT_S: Final = 2.0
"""The same for the second, which keeps somebody from asking; each one after it may take twice as long."""

UNREADABLE_MAX: Final = 3
"""So many answers of the history in a row that nobody can read are no accident."""

_PAUSE_S: Final = 1.0
_POLL_INTERVAL_MIN_S: Final = 0.01
_FIRST_LOOK_S: Final = 0.025
_ENTRY_RETRY_FIRST_S: Final = 0.02

_OUTCOMES: Final[Mapping[type, Outcome]] = {
    ExecutionSuccess: "success",
    ExecutionError: "error",
    ExecutionInterrupted: "interrupted",
}


@dataclass
class Schedule:
    """The prompts of one client and its one socket.

    `rng` spreads the attempts of many clients to reconnect.
    """

    pace: Pace = field(default_factory=Pace)
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        self._watches: dict[str, Watch] = {}
        self._running: dict[Watch, None] = {}
        self._socket = SocketState()
        self._busy: dict[Action, int] = {}
        self._queue_free_at = 0.0
        self._failing_since: float | None = None
        self._failed_at = 0.0
        self._asks_again_at = 0.0
        self._failures = 0
        self._changed: dict[int, PromptState] = {}
        self._busy_lengths = 0
        self._socket_users = 0

    @property
    def prompts(self) -> Mapping[str, PromptState]:
        """The prompts that are not over."""
        return {prompt_id: watch.state for prompt_id, watch in self._watches.items()}

    @property
    def wants_socket(self) -> bool:
        """Whether a prompt that is not over uses the socket."""
        return self._socket_users > 0

    def take_changed(self) -> list[PromptState]:
        """The prompts of which something was learned, or for which there is something else to do, since the last call.

        Their `version` has grown: who waits for one of them must ask for its next action again.
        """
        changed, self._changed = list(self._changed.values()), {}
        return changed

    # What to do

    def next_action(self, prompt_id: str, now: float) -> Action:
        """What to do next for one prompt; `Nothing` when it is over (or was never followed)."""
        watch = self._watches.get(prompt_id)
        if watch is None:
            return Nothing()
        if self._is_out() or watch.unreadable >= UNREADABLE_MAX:
            return GiveUp()
        plans = [self._next_poll(watch)]
        reconnect_at = self._reconnect_at(watch)
        if reconnect_at is not None:
            plans.append((reconnect_at, Reconnect()))
        free = [(at, action) for at, action in plans if action not in self._busy]
        if not free:
            return WaitUntil(now + self.pace.poll_interval)
        at, action = min(free, key=lambda plan: plan[0])
        return action if at <= now else WaitUntil(at)

    def begin(self, action: Action, who: int) -> None:
        """The action is under way: nobody else is told to do it, until it is over or `who` does it asks anew."""
        self._busy[action] = who

    def finish(self, action: Action) -> None:
        """The action is over, whatever came of it."""
        self._busy.pop(action, None)
        if isinstance(action, PollHistory) and action.prompt_id in self._watches:
            self._touch(self._watches[action.prompt_id].state)

    def asks_anew(self, who: int) -> None:
        """One who asks what to do does nothing else any more, also where nobody has heard that it is over."""
        for action in [action for action, doer in self._busy.items() if doer == who]:
            self.finish(action)

    def poll_failed(
        self, action: Action, now: float, *, asked_at: float | None = None, unreadable: bool = False
    ) -> None:
        """A question of the time `asked_at` got no answer, one that means failure, or one that nobody can read."""
        # Where nobody has waited for a while nobody has asked: that says nothing of the server.
        paused = asked_at is not None and asked_at > self._asks_again_at + _PAUSE_S
        if self._failing_since is None or paused:
            self._failing_since = now
        self._failed_at = now
        self._failures += 1
        wait = min(0.1 * 2 ** min(self._failures, 20), max(self.pace.poll_interval, 1.0)) * (0.5 + self.rng.random())
        self._asks_again_at = now + wait
        if isinstance(action, PollQueue):
            self._queue_free_at = now + wait
            for watch in self._watches.values():
                watch.queue_first = False
                if watch.next_poll is PollQueue:
                    watch.next_poll, watch.poll_at = PollHistory, max(watch.poll_at, now + wait)
        elif isinstance(action, PollHistory) and action.prompt_id in self._watches:
            watch = self._watches[action.prompt_id]
            watch.poll_at = now + wait
            watch.unreadable += unreadable

    def try_again(self) -> None:
        """Forget that questions have failed, for somebody waits anew."""
        self._failing_since, self._failures = None, 0

    # Inside

    def _is_out(self) -> bool:
        since = self._failing_since
        return since is not None and self._failed_at - since >= self.pace.unreachable_after

    def _watch(self, state: PromptState, now: float, uses_socket: bool, poll_interval: float | None) -> Watch:
        interval = self.pace.poll_interval if poll_interval is None else max(poll_interval, _POLL_INTERVAL_MIN_S)
        self._socket_users += uses_socket
        watch = Watch(state, uses_socket, interval, self._busy_lengths, since=now, heard_at=now)
        self._plan(watch, now)
        return watch

    def _plan(self, watch: Watch, at: float) -> None:
        """Look at a prompt anew from `at` on; where its end is known, only for its entry in the history."""
        if watch.end_message_at is not None:
            watch.next_poll = PollHistory
        elif watch.queue_first or (watch.uses_socket and self._socket.open and not watch.gap):
            watch.next_poll = PollQueue
        else:
            watch.next_poll = PollQueue if len(self._watches) >= MANY_PROMPTS else PollHistory
        watch.poll_at = at

    def _interval(self, watch: Watch) -> float:
        if watch.uses_socket and self._socket.open:
            return max(self.pace.watch_interval, watch.poll_interval)
        watch.looks = min(watch.looks + 1, 20)
        quick: float = _FIRST_LOOK_S * 2**watch.looks
        return min(watch.poll_interval, quick)

    def _next_poll(self, watch: Watch) -> tuple[float, Action]:
        if not watch.confirmed:
            return float("inf"), Nothing()
        if watch.next_poll is PollQueue:
            return max(watch.poll_at, self._queue_free_at), PollQueue()
        return watch.poll_at, PollHistory(watch.state.prompt_id)

    def _reconnect_at(self, watch: Watch) -> float | None:
        if not watch.uses_socket:
            return None
        if not self._socket.open:
            return self._socket.retry_at
        return None if self._socket.deaf_since is None else self._socket.deaf_since + DEAF_AFTER_S

    def _present(self, watch: Watch, now: float) -> None:
        watch.strikes, watch.absent_since = 0, None
        if watch.end_message_at is None:
            watch.gap = watch.gap and not self._socket.open
            self._plan(watch, now + self._interval(watch))

    def _entry_missing(self, watch: Watch, now: float, entry: HistoryEntry | None) -> None:
        """A message has said that it is over, but the history does not have it (yet).

        `entry` is what it has, of an earlier run as it seems.
        """
        assert watch.end_message_at is not None
        if now - watch.end_message_at < self.pace.entry_after:
            wait = min(_ENTRY_RETRY_FIRST_S * 2**watch.entry_misses, ENTRY_RETRY_MAX_S)
            watch.entry_misses = min(watch.entry_misses + 1, 20)
            watch.poll_at = now + wait
            return
        self._end(watch)
        said = watch.state.end_message
        if entry is not None and entry == watch.state.stale:
            watch.state.end_with(entry)  # the same as the last time, to the letter
        elif isinstance(said, Executing):
            # It says that the run is over but not how; only without a gap is silence about errors good news.
            watch.state.end_without_entry("lost" if watch.gap else "success")
        else:
            watch.state.end_without_entry(_OUTCOMES[type(said)])

    def _strike(self, watch: Watch, now: float, entry: HistoryEntry | None) -> None:
        """Neither the queue nor, asked after it, the history has the prompt; `entry` is as of `_entry_missing`."""
        watch.absent_since = None
        watch.first_strike = now if watch.strikes == 0 else watch.first_strike
        watch.strikes += 1
        patience = 0.0 if watch.cancelled else self.pace.lost_after
        if watch.strikes >= 2 and now - watch.first_strike >= patience:
            self._end(watch)
            if entry is not None and entry == watch.state.stale:
                watch.state.end_with(entry)
            else:
                watch.state.end_without_entry("interrupted" if watch.cancelled else "lost")
            return
        left = watch.first_strike + patience - now
        watch.next_poll = PollQueue
        watch.poll_at = now + max(min(watch.poll_interval, left / 2 if left > 0.1 else left), 0.02)

    def _end(self, watch: Watch) -> None:
        if self._watches.pop(watch.state.prompt_id, None) is not None:
            self._socket_users -= watch.uses_socket
        self._running.pop(watch, None)
        self._touch(watch.state)

    def _touch(self, state: PromptState) -> None:
        state.version += 1
        self._changed[id(state)] = state
