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
)
from comfy_client._prompt_state import PromptState
from comfy_client._retries import Retries
from comfy_client._sync_channel import Channel, logger, now
from comfy_client._sync_io import sleep
from comfy_contracts.prompts import PromptAccepted

_TEMPORARY = frozenset({408, 425, 429})

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
        try:
            with self._news:
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
        with self._news:
            self.tracker.rejected(prompt_id)

    def attach(self, prompt_id: str, *, uses_socket: bool, poll_interval: float | None) -> PromptState:
        """Follow a prompt that was posted before."""
        self.check_open()
        with self._news:
            return self.tracker.attach(prompt_id, now(), uses_socket=uses_socket, poll_interval=poll_interval)

    def cancelled(self, state: PromptState) -> None:
        """The server has said that it cancels a prompt."""
        with self._news:
            self.tracker.cancelled(state.prompt_id, now())
        self._spread()

    def post(self, wanted: Call[PromptAccepted], state: PromptState, *, minted: bool) -> None:
        """Post the prompt of `state`, once, however often it must be sent.

        After a failure the queue and the history tell whether it arrived; in the history only an id that this client
        has `minted` proves that. Raises `PromptRejected` and the errors of `call`.
        """
        answer = None
        try:
            answer = self._posted(wanted, state.prompt_id, minted)
        finally:
            with self._news:
                if answer is None:
                    self.tracker.rejected(state.prompt_id)
                else:
                    self.tracker.accepted(state.prompt_id, answer, now())
            self._spread()

    def _posted(self, wanted: Call[PromptAccepted], prompt_id: str, minted: bool) -> PromptAccepted:
        attempt = 1
        while True:
            failure, outcome = self.attempt(wanted, None)
            if failure is None:
                accepted: PromptAccepted = outcome
                return accepted
            if isinstance(outcome, PromptRejected):
                raise outcome
            wait = self.retries.wait_to_post_again(failure, attempt, random=self.rng.random())
            if wait is not None:
                sleep(wait)
            arrived = self._arrived(prompt_id, minted)
            if arrived is not None:
                return arrived
            if wait is None:
                raise outcome
            attempt += 1

    def _arrived(self, prompt_id: str, minted: bool) -> PromptAccepted | None:
        """What the server would have answered to a POST that it took, None where it did not, or cannot be asked."""
        once = Retries(attempts=1)
        with suppress(ComfyError):
            queue = self.call(calls.queue(), retries=once)
            for item in (*queue.queue_running, *queue.queue_pending):
                if item.prompt_id == prompt_id:
                    return PromptAccepted(prompt_id, item.number, {})
            entry = self.call(calls.history_of(prompt_id), retries=once) if minted else None
            if entry is not None:
                return PromptAccepted(prompt_id, entry.prompt.number, {})
        return None

    def advance(self, state: PromptState, until: float) -> None:
        """Do the next thing for a prompt, or wait for news of it, at most until the time `until`.

        Raises `ServerUnreachable` or `ServerError` where the server has not answered for too long.
        """
        self.check_open()
        with self._news:
            version = state.version
            action = self.tracker.next_action(state.prompt_id, now())
        if isinstance(action, (PollHistory, PollQueue)) and state.end_message is None:
            # What has come already is told first: an answer about the end would leave it out.
            self.wait(state, version, min(now() + _DRAIN_S, until), only_reading=True)
        with self._news:
            if state.version != version:
                return
            action = self.tracker.next_action(state.prompt_id, now())
            if not isinstance(action, (WaitUntil, Nothing, GiveUp)):
                self.tracker.begin(action)
        if isinstance(action, WaitUntil):
            self.wait(state, version, min(action.at, until))
        elif isinstance(action, GiveUp):
            self._last_try(state)
        elif not isinstance(action, Nothing):
            self._hand_over()
            try:
                self._do(action, until)
            finally:
                with self._news:
                    self.tracker.finish(action)
                self._spread()

    def look(self, state: PromptState) -> None:
        """Ask the server for a prompt now."""
        self._poll(PollQueue(), None)
        if not state.ended and state.phase != "running":
            self._poll(PollHistory(state.prompt_id), None)
        self._spread()

    def _do(self, action: Action, until: float) -> None:
        timeout = None if until == float("inf") else max(until - now(), 0.01)
        if isinstance(action, Reconnect):
            with suppress(ComfyError):
                self.connect(timeout, anew=True)
            return
        try:
            self._poll(action, timeout)
        except (ServerUnreachable, ServerError, ProtocolError) as error:
            if isinstance(error, ServerError) and error.status < 500 and error.status not in _TEMPORARY:
                raise
            logger.info("%s", error)
            with self._news:
                self.tracker.poll_failed(action, now())

    def _poll(self, action: Action, timeout: float | None) -> None:
        once = Retries(attempts=1)
        timeout = self._request_timeout(timeout)
        asked_at = now()
        if isinstance(action, PollQueue):
            queue = self.call(calls.queue(), retries=once, timeout=timeout)
            with self._news:
                self.tracker.queue(queue, asked_at, now())
        elif isinstance(action, PollHistory):
            entry = self.call(calls.history_of(action.prompt_id), retries=once, timeout=timeout)
            with self._news:
                self.tracker.history(action.prompt_id, entry, asked_at, now())

    def _last_try(self, state: PromptState) -> None:
        """The server has not answered for long: ask once more, and let the error out."""
        with self._news:
            self.tracker.try_again()
        self._poll(PollHistory(state.prompt_id), None)

    def _request_timeout(self, left: float | None) -> float | None:
        """The timeout of one request when `left` seconds are left, in seconds; None is httpx's own."""
        own = self.http.timeout.read
        return None if left is None or (own is not None and own <= left) else left
