# Written by client/make_sync.py from _async_link.py: change that one.
"""The connection to one server: following prompts with its requests and its WebSocket."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from comfy_client import _calls as calls
from comfy_client._actions import Action, GiveUp, Nothing, PollHistory, PollQueue, Reconnect, WaitUntil
from comfy_client._calls import Call
from comfy_client._errors import (
    ComfyError,
    PromptRejected,
    ProtocolError,
    ServerError,
    ServerUnreachable,
    WorkflowError,
    maybe_queued,
)
from comfy_client._event_log import EventLog
from comfy_client._prompt_state import Phase, Progress, PromptState
from comfy_client._retries import Retries, is_refused, may_arrive_late, was_sent
from comfy_client._sync_channel import Channel, logger, now
from comfy_client._sync_io import sleep, whoami
from comfy_client.events import Event
from comfy_contracts.prompts import PromptAccepted

_MAY_PASS = frozenset({404, 408, 425, 429})
"""Statuses below 500 that a proxy, or a server that starts, may answer for a while."""

_DRAIN_S = 0.001


class Link(Channel):
    """One client's connection to its server."""

    # Prompts

    def track(
        self,
        prompt_id: str,
        *,
        uses_socket: bool,
        nodes: Iterable[str],
        senders: Iterable[str],
        poll_interval: float | None,
    ) -> PromptState:
        """Follow a prompt that is about to be posted. Raises `WorkflowError` for the id of one that is under way."""
        self.check_open()
        calls.sendable(prompt_id)
        try:
            with self.lock:
                return self.tracker.submitting(
                    prompt_id,
                    now(),
                    uses_socket=uses_socket,
                    nodes=nodes,
                    senders=senders,
                    poll_interval=poll_interval,
                )
        except ValueError as error:
            raise WorkflowError(str(error)) from error

    def untrack(self, prompt_id: str) -> None:
        """Follow a prompt no longer that was not posted."""
        with self.lock:
            self.tracker.rejected(prompt_id)

    def attach(self, prompt_id: str, *, uses_socket: bool, poll_interval: float | None) -> PromptState:
        """Follow a prompt that was posted before. Raises `InvalidName`."""
        self.check_open()
        calls.sendable(prompt_id)
        with self.lock:
            return self.tracker.attach(prompt_id, now(), uses_socket=uses_socket, poll_interval=poll_interval)

    def subscribe(self, state: PromptState) -> EventLog:
        """A reader of the events of a prompt; `next_event` reads."""
        with self.lock:
            return state.subscribe()

    def next_event(self, reader: EventLog) -> Event | None:
        """The oldest event that waits; None where none does."""
        with self.lock:
            return reader.pop()

    def progress(self, state: PromptState) -> Progress:
        """A snapshot of a prompt."""
        with self.lock:
            return state.progress()

    def cancel(self, wanted: Call[bool], state: PromptState) -> bool:
        """Cancel a prompt; whether there was something to cancel, also where the answer that said so was lost."""
        try:
            cancelled, attempts = self.counted(wanted)
        except ServerUnreachable:
            self.cancelled(state)
            raise
        if cancelled or attempts > 1:
            self.cancelled(state)
        return cancelled or (attempts > 1 and self.look(state) == "interrupted")

    def cancelled(self, state: PromptState) -> None:
        """The server was told to cancel a prompt."""
        with self.lock:
            self.tracker.cancelled(state.prompt_id, now())
        self._spread()

    def note_earlier(self, state: PromptState) -> bool:
        """Keep what the history has under the id of a prompt that is about to be posted; whether it could be asked."""
        try:
            state.stale = self.call(calls.history_of(state.prompt_id))
        except (ServerUnreachable, ServerError, ProtocolError):
            return False
        return True

    def post(self, wanted: Call[PromptAccepted], state: PromptState, *, provable: bool) -> None:
        """Post the prompt of `state`, again only where the server has surely not taken it.

        After a failure the queue and the history tell whether it arrived; an entry of the history proves that where
        the id is new, or it is known what the history had before: where it is `provable`. Raises `PromptRejected` and
        the errors of `call`.
        """
        answer = None
        try:
            answer = self._posted(wanted, state, provable)
        finally:
            with self.lock:
                if answer is None:
                    self.tracker.rejected(state.prompt_id)
                else:
                    self.tracker.accepted(state.prompt_id, answer, now())
            self._spread()

    def _posted(self, wanted: Call[PromptAccepted], state: PromptState, provable: bool) -> PromptAccepted:
        attempt, is_open = 1, False
        failure, outcome = self.attempt(wanted, None)
        while failure is not None:
            if isinstance(outcome, PromptRejected) or is_refused(failure):
                raise outcome
            is_open = is_open or may_arrive_late(failure)
            wait = self.retries.wait_to_post_again(failure, attempt, random=self.rng.random())
            if wait is not None:
                sleep(wait)
            if was_sent(failure):
                arrived, is_known = self._arrived(state, provable)
                if arrived is not None:
                    return arrived
                is_open = is_open or not is_known
            if wait is None:
                raise maybe_queued(outcome, state.prompt_id) if is_open else outcome
            attempt += 1
            if not is_open:
                failure, outcome = self.attempt(wanted, None)
        accepted: PromptAccepted = outcome
        return accepted

    def _arrived(self, state: PromptState, provable: bool) -> tuple[PromptAccepted | None, bool]:
        """What the server would have answered to a POST that it took, or None; and whether it could be asked."""
        once, prompt_id = Retries(attempts=1), state.prompt_id
        try:
            queue = self.call(calls.queue(), retries=once)
            for item in (*queue.queue_running, *queue.queue_pending):
                if item.prompt_id == prompt_id:
                    return PromptAccepted(prompt_id, item.number, {}), True
            entry = self.call(calls.history_of(prompt_id), retries=once) if provable else None
        except (ServerUnreachable, ServerError, ProtocolError) as error:
            logger.info("whether prompt %s was queued is not known: %s", prompt_id, error)
            return None, False
        if entry is not None and entry != state.stale:
            return PromptAccepted(prompt_id, entry.prompt.number, {}), True
        return None, True

    def advance(self, state: PromptState, until: float) -> None:
        """Do the next thing for a prompt, or wait for news of it, at most until the time `until`.

        Raises `ServerUnreachable` or `ServerError` where the server has not answered for too long.
        """
        self.check_open()
        me = whoami()
        with self.lock:
            # A KeyboardInterrupt can come anywhere, also where an action is about to be finished.
            self.tracker.asks_anew(me)
            version = state.version
            action = self.tracker.next_action(state.prompt_id, now())
        if isinstance(action, (PollHistory, PollQueue)) and state.end_message is None:
            # What has come already is told first: an answer about the end would leave it out.
            self.wait(state, version, min(now() + _DRAIN_S, until), only_reading=True)
        begun: Action | None = None
        try:
            with self.lock:
                if state.version != version:
                    return
                action = self.tracker.next_action(state.prompt_id, now())
                if not isinstance(action, (WaitUntil, Nothing, GiveUp)):
                    begun = action
                    self.tracker.begin(begun, me)
            if isinstance(action, WaitUntil):
                self.wait(state, version, min(action.at, until))
            elif isinstance(action, GiveUp):
                self._last_try(state, until)
            elif begun is not None:
                self._hand_over()
                self._do(begun, until)
        finally:
            if begun is not None:
                with self.lock:
                    self.tracker.finish(begun)
                self._spread()

    def look(self, state: PromptState) -> Phase:
        """Ask the server for a prompt now. One that it does not know is `lost`, or `interrupted` if cancelled."""
        self._poll(PollQueue(), None)
        if not state.ended and self._whereabouts(state) is None:
            self._poll(PollHistory(state.prompt_id), None)
        self._spread()
        if state.ended:
            return state.phase
        return self._whereabouts(state) or ("interrupted" if self.tracker.is_cancelled(state.prompt_id) else "lost")

    def _whereabouts(self, state: PromptState) -> Phase | None:
        with self.lock:
            return self.tracker.whereabouts(state.prompt_id)

    def _do(self, action: Action, until: float) -> None:
        if isinstance(action, Reconnect):
            with suppress(ComfyError):
                self.connect(min(self.patience(), until - now()), anew=True)
            return
        asked_at = now()
        try:
            self._poll(action, self.request_timeout(until))
        except (ServerUnreachable, ServerError, ProtocolError) as error:
            if isinstance(error, ServerError) and error.status < 500 and error.status not in _MAY_PASS:
                raise
            logger.info("%s", error)
            with self.lock:
                unreadable = isinstance(error, ProtocolError)
                self.tracker.poll_failed(action, now(), asked_at=asked_at, unreadable=unreadable)

    def _poll(self, action: Action, timeout: float | None) -> None:
        once = Retries(attempts=1)
        asked_at = now()
        if isinstance(action, PollQueue):
            queue = self.call(calls.queue(), retries=once, timeout=timeout)
            with self.lock:
                self.tracker.queue(queue, asked_at, now())
        elif isinstance(action, PollHistory):
            entry = self.call(calls.history_of(action.prompt_id), retries=once, timeout=timeout)
            with self.lock:
                self.tracker.history(action.prompt_id, entry, asked_at, now())

    def _last_try(self, state: PromptState, until: float) -> None:
        """The server has not answered for long: ask once more, and let the error out."""
        with self.lock:
            self.tracker.try_again()
        self._poll(PollHistory(state.prompt_id), self.request_timeout(until))
