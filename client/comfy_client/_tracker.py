"""What a client knows of its prompts, and what to do next to know more.

Pure: it is told of messages, answers, failures and the time (seconds of any clock that never goes back), in whatever
order they come, and says what to do. Both shells ask `next_action` for the prompt that they wait for, `begin` that
action, do it, tell the tracker what came of it, and `finish` it.

What makes it right where clients commonly are not:

* History and queue are the truth, messages are hints that come early. A prompt is over when the history has it, so that
  a run has the same result by socket and by polling; an `execution_success` is followed by asking the history until its
  entry is there (protocol 6.9).
* A prompt is lost when the queue and, asked afterwards, the history do not have it, twice, `lost_after` seconds apart.
  Behind a proxy, or just after the POST, one empty queue proves nothing.
* A socket is never believed to be complete: a terminal message may be lost, and the closing of an old connection
  silences a new one with the same client id (protocol 6.2). So the queue is asked from time to time in any case.
* A message counts for the prompt that it names. What names none counts only where there is no doubt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from comfy_client._actions import PollHistory, PollQueue
from comfy_client._prompt_state import Phase, PromptState
from comfy_client._schedule import (
    DEAF_AFTER_S,
    ENTRY_RETRY_MAX_S,
    FIRST_ATTEMPT_S,
    NEXT_ATTEMPT_S,
    POSITION_AFTER_S,
    Schedule,
)
from comfy_client._watch import SocketState, Watch, is_of, node_at_work, prompt_id_of
from comfy_contracts.frames import Frame, PreviewFrame, PreviewWithMetadata, TextFrame
from comfy_contracts.messages import (
    Executing,
    ExecutionStart,
    FeatureFlags,
    Message,
    Progress,
    ProgressState,
    Status,
)
from comfy_contracts.prompts import PromptAccepted
from comfy_contracts.results import HistoryEntry, Queue

STRANGERS_MAX: Final = 1000
"""How many messages about unknown prompts are kept while the answer of a POST is outstanding."""

QUEUE_REST_FACTOR: Final = 10.0
"""After an answer of the queue it is left alone for so many times as long as the answer took: it may be very long."""

QUEUE_REST_MAX: Final = 2
"""But not for more than so many of the intervals at which prompts with a socket are looked after."""

_HINT_REST_S: Final = 0.5


class Tracker(Schedule):
    """What a client is told, and what that means for its prompts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._unanswered = 0
        self._strangers: deque[tuple[str, Message]] = deque(maxlen=STRANGERS_MAX)

    # Prompts

    def submitting(
        self,
        prompt_id: str,
        now: float,
        *,
        uses_socket: bool,
        nodes: Iterable[str] = (),
        senders: Iterable[str] = (),
        poll_interval: float | None = None,
    ) -> PromptState:
        """A prompt is about to be posted. Raises `ValueError` for the id of one that is under way.

        `nodes` are the ids of those that will run, `senders` of those among them that send pictures by socket.
        """
        if prompt_id in self._watches:
            raise ValueError(f"prompt {prompt_id} is under way; leave prompt_id out, or take another")
        state = PromptState(prompt_id, frozenset(nodes), frozenset(senders))
        self._watches[prompt_id] = self._watch(state, now, uses_socket, poll_interval)
        self._unanswered += 1
        return state

    def accepted(self, prompt_id: str, answer: PromptAccepted, now: float) -> None:
        """The POST was answered with 200. Servers that mint ids themselves may have given another one."""
        watch = self._watches[prompt_id]
        if answer.prompt_id != prompt_id:
            self._watches[answer.prompt_id] = self._watches.pop(prompt_id)
            watch.state.prompt_id = answer.prompt_id
        watch.confirmed, watch.since, watch.state.number = True, now, answer.number
        watch.state.node_errors = dict(answer.node_errors)
        watch.state.queued_at(None)
        for stranger, message in list(self._strangers):
            if stranger == watch.state.prompt_id:
                self._hear(watch, message, now)
        if watch.end_message_at is None:
            self._plan(watch, now + self._interval(watch))
            if watch.next_poll is PollQueue and watch.state.phase == "queued":
                watch.position_wanted, watch.poll_at = True, min(watch.poll_at, now + POSITION_AFTER_S)
        self._answered(watch)

    def rejected(self, prompt_id: str) -> None:
        """The POST was refused."""
        watch = self._watches[prompt_id]
        self._end(watch)
        watch.state.reject()
        self._answered(watch)

    def attach(
        self, prompt_id: str, now: float, *, uses_socket: bool, poll_interval: float | None = None
    ) -> PromptState:
        """Follow a prompt that was posted before, maybe by others. Of one that is followed already, the same state."""
        if prompt_id in self._watches:
            return self._watches[prompt_id].state
        watch = self._watch(PromptState(prompt_id), now, uses_socket, poll_interval)
        watch.confirmed, watch.gap, watch.queue_first = True, True, True
        self._watches[prompt_id] = watch
        self._plan(watch, now)
        return watch.state

    def whereabouts(self, prompt_id: str) -> Phase | None:
        """How far a prompt is by the last answers; None where neither the queue nor, asked next, the history has it."""
        watch = self._watches.get(prompt_id)
        return None if watch is None or watch.strikes or watch.absent_since is not None else watch.state.phase

    def is_cancelled(self, prompt_id: str) -> bool:
        """Whether the server was told to cancel it."""
        watch = self._watches.get(prompt_id)
        return watch is not None and watch.cancelled

    def cancelled(self, prompt_id: str, now: float) -> None:
        """The server was told to cancel the prompt: if it disappears now, that is why."""
        watch = self._watches.get(prompt_id)
        if watch is not None:
            watch.cancelled = True
            self._plan(watch, now)
            self._touch(watch.state)

    # What to do

    # The socket

    @property
    def socket_open(self) -> bool:
        """Whether there is a socket, as far as is known."""
        return self._socket.open

    @property
    def reconnect_at(self) -> float:
        """When a socket should be tried for, while there is none."""
        return self._socket.retry_at

    @property
    def connect_patience(self) -> float:
        """How long an attempt to get a socket may take while there is something else to do, in seconds."""
        failures = self._socket.failures
        return NEXT_ATTEMPT_S * 2.0 ** min(failures - 1, 20) if failures else FIRST_ATTEMPT_S

    def socket_opened(self, now: float) -> None:
        """A socket is there."""
        self._socket = SocketState(open=True, failures=self._socket.failures, opened_at=now)
        self._queue_free_at = min(self._queue_free_at, now)
        for watch in self._watches.values():
            if watch.uses_socket:
                if watch.confirmed:
                    watch.gap = True
                self._plan(watch, now)
                self._touch(watch.state)

    def socket_lost(self, now: float, *, took: float = 0.0) -> None:
        """The socket is gone, or could not be had in an attempt that `took` so many seconds."""
        was_open = self._socket.open
        if was_open and now - self._socket.opened_at > self.pace.reconnect_max:
            self._socket.failures = 0
        failures = self._socket.failures + 1
        wait = min(max(self.pace.reconnect_first * 2 ** min(failures - 1, 20), 2 * took), self.pace.reconnect_max)
        retry_at = now + wait * (0.5 + self.rng.random())
        self._socket = SocketState(failures=failures, retry_at=retry_at)
        self._asks_again_at = max(self._asks_again_at, now)
        if was_open:
            self._queue_free_at = min(self._queue_free_at, now)
        for watch in self._watches.values():
            if watch.uses_socket and was_open:
                watch.gap = True
                self._plan(watch, now)
                self._touch(watch.state)

    def socket_closed(self) -> None:
        """The socket was closed on purpose, or there was none."""
        if self._socket.open:
            self._socket = SocketState(failures=self._socket.failures)

    def message(self, message: Message, now: float) -> None:
        """A text message came."""
        self._socket.at_work = None
        if isinstance(message, Status):
            self._queue_length(message.queue_remaining, now)
            return
        if isinstance(message, FeatureFlags):
            flags = message.data if isinstance(message.data, dict) else {}
            self._socket.marks_previews = flags.get("supports_preview_metadata") is True
            return
        self._socket.failures = 0
        prompt_id = prompt_id_of(message)
        if prompt_id is None:
            return
        watch = self._watches.get(prompt_id)
        if watch is None:
            if self._unanswered:
                self._strangers.append((prompt_id, message))
            self._overtaken_by(message, now)
            return
        self._overtaken_by(message, now, watch)
        self._hear(watch, message, now)
        if isinstance(message, (Progress, Executing, ProgressState)):
            self._socket.at_work = (prompt_id, node_at_work(message))

    def frame(self, frame: Frame, now: float) -> None:
        """A binary message came."""
        at_work, self._socket.at_work = self._socket.at_work, None
        if isinstance(frame, PreviewWithMetadata):
            watch = self._watches.get(frame.prompt_id)
            if watch is not None:
                self._heard(watch, now)
                watch.state.preview(frame.node_id, frame.image_type, frame.image)
        elif isinstance(frame, PreviewFrame):
            # It follows the progress of its own prompt at once. A client whose previews are marked gets those only of
            # prompts without a client, which are not its own (protocol 6.5, 6.8).
            if at_work is not None and not self._socket.marks_previews and at_work[0] in self._watches:
                state = self._watches[at_work[0]].state
                state.preview(at_work[1], f"image/{frame.format_name.lower()}", frame.image)
                self._touch(state)
        elif isinstance(frame, TextFrame) and at_work is not None and at_work[0] in self._watches:
            # Texts go to everybody, and name a node but no prompt: only right after a sign of that very node.
            state = self._watches[at_work[0]].state
            if state.node_running(frame.node_id) and at_work[1] == frame.node_id:
                state.text(frame.node_id, frame.text)
                self._touch(state)

    # Answers

    def queue(self, queue: Queue, asked_at: float, now: float) -> None:
        """The queue as it was after `asked_at`."""
        self.try_again()
        self._queue_free_at = now + min((now - asked_at) * QUEUE_REST_FACTOR, QUEUE_REST_MAX * self.pace.watch_interval)
        numbers = {item.prompt_id: item.number for item in (*queue.queue_pending, *queue.queue_running)}
        running = {item.prompt_id for item in queue.queue_running}
        pending = sorted(queue.queue_pending, key=lambda item: (item.number, item.prompt_id))
        ahead = {item.prompt_id: len(running) + place for place, item in reversed(list(enumerate(pending)))}
        for prompt_id, watch in list(self._watches.items()):
            if prompt_id in numbers:
                watch.queue_first = watch.position_wanted = False
                watch.state.number = numbers[prompt_id] if watch.state.number is None else watch.state.number
            if prompt_id in running:
                self._present(watch, now)
                watch.state.running()
                self._running[watch] = None
            elif prompt_id in ahead:
                self._present(watch, now)
                watch.state.queued_at(ahead[prompt_id])
            elif watch.confirmed and watch.since <= asked_at:
                watch.absent_since, watch.queue_first = now, False
                watch.next_poll, watch.poll_at = PollHistory, now
            self._touch(watch.state)

    def history(self, prompt_id: str, entry: HistoryEntry | None, asked_at: float, now: float) -> None:
        """The history's entry of a prompt as it was after `asked_at`; None where there was none."""
        self.try_again()
        watch = self._watches.get(prompt_id)
        if watch is None:
            return
        watch.unreadable = 0
        if watch.queue_first and watch.end_message_at is None:
            return
        if entry is not None and is_of(entry, watch.state):
            if self._pictures_may_come(watch, now):
                return
            self._suspect(watch, now)
            self._end(watch)
            watch.state.end_with(entry)
        elif watch.end_message_at is not None:
            self._entry_missing(watch, now, entry)
        elif watch.absent_since is not None and asked_at >= watch.absent_since:
            self._strike(watch, now, entry)
        elif watch.next_poll is PollHistory:
            again_at = now + self._interval(watch)
            queue_is_due = watch.confirmed and self._queue_free_at <= again_at
            watch.next_poll = PollQueue if queue_is_due else PollHistory
            watch.poll_at = now if queue_is_due else again_at

    # Inside

    def _hear(self, watch: Watch, message: Message, now: float) -> None:
        self._heard(watch, now)
        watch.state.hear(message)
        if watch.state.phase == "running":
            self._running[watch] = None
            if watch.position_wanted:
                watch.position_wanted = False
                self._plan(watch, now + self._interval(watch))
        if watch.state.end_message is not None and watch.end_message_at is None:
            watch.end_message_at = now
            self._plan(watch, now)

    def _heard(self, watch: Watch, now: float) -> None:
        watch.heard_at = now
        self._socket.deaf_since = None
        self._touch(watch.state)

    def _queue_length(self, remaining: int, now: float) -> None:
        if remaining:
            self._busy_lengths += 1
        else:
            # Without a length above 0 before, it may be from before the prompt was posted.
            seen_busy = (watch for watch in self._watches.values() if watch.busy_lengths < self._busy_lengths)
            self._hint(seen_busy, now)

    def _overtaken_by(self, message: Message, now: float, watch: Watch | None = None) -> None:
        """One prompt runs at a time: where another one starts, those that were running are over."""
        if isinstance(message, (ExecutionStart, ProgressState)):
            self._hint((other for other in self._running if other is not watch), now)

    def _hint(self, watches: Iterable[Watch], now: float) -> None:
        """These may be over: look at the history soon."""
        for watch in watches:
            rested = watch.hinted_at is None or now - watch.hinted_at >= _HINT_REST_S
            asked = watch.confirmed and watch.uses_socket and not watch.queue_first
            if asked and watch.end_message_at is None and rested:
                watch.hinted_at = now
                watch.next_poll, watch.poll_at = PollHistory, now
                self._touch(watch.state)

    def _pictures_may_come(self, watch: Watch, now: float) -> bool:
        """The history has the entry, but what was sent by socket before may still be on its way."""
        if not watch.state.senders or not self._complete(watch) or watch.end_message_at is not None:
            return False
        watch.entry_at = now if watch.entry_at is None else watch.entry_at
        if now - max(watch.entry_at, watch.heard_at) >= self.pace.entry_after:
            return False
        watch.next_poll, watch.poll_at = PollHistory, now + min(self.pace.entry_after, ENTRY_RETRY_MAX_S)
        return True

    def _complete(self, watch: Watch) -> bool:
        """Whether the socket should tell all of it, as far as is known."""
        return watch.uses_socket and self._socket.open and not watch.gap

    def _suspect(self, watch: Watch, now: float) -> None:
        """The history tells of an end that the socket should have told: maybe the server sends it nothing any more."""
        if self._complete(watch) and watch.end_message_at is None and now - watch.heard_at > DEAF_AFTER_S:
            self._socket.deaf_since = now

    def _answered(self, watch: Watch) -> None:
        self._unanswered -= 1
        if not self._unanswered:
            self._strangers.clear()
        self._touch(watch.state)
