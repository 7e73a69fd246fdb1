"""Assertions on a journal. One that fails says what came nearest, and how to write what would match it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comfy_mock.server.journal_names import Names
from comfy_mock.server.journal_queries import Queries
from comfy_mock.server.journal_records import AnyRecord
from comfy_mock.server.journal_rules import unused_rules
from comfy_mock.server.journal_unserved import unserved_requests
from comfy_mock.server.journal_wants import (
    EventFilter,
    PromptFilter,
    RequestFilter,
    SocketFilter,
    Want,
    WantedEvent,
    WantedPrompt,
    WantedRequest,
    WantedSocket,
    wanted,
)
from comfy_mock.server.journal_words import call, listed, nothing_fits

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Assertions(Queries):
    """What a test may claim of a journal. `times` is how often, exactly; None is at least once.

    All raise `AssertionError`, and `TypeError` for an argument that there is none of. A claim that something did not
    happen (`times=0`) raises `ValueError` where it says a name that looks misspelt, and `RuntimeError` in the journal
    from before a reset.
    """

    names: Names | None = None
    """What the server knows by name."""

    def assert_prompt(self, *, times: int | None = None, **which: Unpack[PromptFilter]) -> None:
        """A prompt was accepted that has such a node, is of this client, has this id.

            server.journal.assert_prompt(class_type="KSampler", inputs={"steps": 20})

        The inputs are those that were posted. What can be said stands with `PromptFilter`.
        """
        __tracebackhide__ = True
        self._assert("assert_prompt", wanted(WantedPrompt, which), times)

    def assert_request(self, route: str = "*", *, times: int | None = None, **which: Unpack[RequestFilter]) -> None:
        """Such a request came.

            server.journal.assert_request("POST /prompt", times=1, json_contains={"front": True})

        `route` is that of rules: a method and a path, each of which may be left out; `{name}` in the path is one
        segment, a `*` at its end the rest, and `/api` before it counts for nothing. What else can be said stands with
        `RequestFilter`.
        """
        __tracebackhide__ = True
        self._assert("assert_request", wanted(WantedRequest, {"route": route, **which}), times)

    def assert_no_request(self, route: str = "*", **which: Unpack[RequestFilter]) -> None:
        """No such request came."""
        __tracebackhide__ = True
        self._assert("assert_no_request", wanted(WantedRequest, {"route": route, **which}), 0)

    def assert_event(self, event: str = "*", *, times: int | None = None, **which: Unpack[EventFilter]) -> None:
        """Such a message was sent, whether or not a WebSocket got it.

            server.journal.assert_event("progress", node="3", value=20)

        `event` is the type of a JSON message, or `preview`, `text` or `binary`. What else can be said stands with
        `EventFilter`. Raises `ValueError` where no message of the type has such a thing.
        """
        __tracebackhide__ = True
        self._assert("assert_event", wanted(WantedEvent, {"event": event, **which}), times)

    def assert_socket(self, *, times: int | None = None, **which: Unpack[SocketFilter]) -> None:
        """Such a WebSocket was opened."""
        __tracebackhide__ = True
        self._assert("assert_socket", wanted(WantedSocket, which), times)

    def assert_rules_used(self) -> None:
        """Every rule of the script was used, but for those that are `optional`."""
        __tracebackhide__ = True
        problem = unused_rules(self.director.uses)
        if problem:
            raise AssertionError(problem)

    def assert_all_served(self) -> None:
        """Every request was one that a route or a rule serves."""
        __tracebackhide__ = True
        problem = unserved_requests(self.unserved())
        if problem:
            raise AssertionError(problem)

    def _require_possible(self, want: Want[Any], records: Sequence[AnyRecord]) -> None:
        """Refuse claims that would be true whatever had happened."""
        __tracebackhide__ = True
        if self.over is not None:
            raise RuntimeError(f"this journal says nothing of what happens now: {self.over}")
        complaint = None if self.names is None else self.names.complaint(want, records)
        if complaint is not None:
            raise ValueError(f"{complaint} (a claim that there was none would prove nothing)")

    def _assert(self, function: str, want: Want[Any], times: int | None) -> None:
        __tracebackhide__ = True
        records = self.of_kind(want.kind)
        fitting = [record for record in records if want.fits(record)]
        if times == 0 and not fitting:
            self._require_possible(want, records)
        if len(fitting) == times or (times is None and fitting):
            return
        claim = {**want.given(), **({} if times is None or function == "assert_no_request" else {"times": times})}
        often = "at least 1" if times is None else str(times)
        noun = want.plural[:-1] if times in (None, 1) else want.plural
        lines = [f"wanted {often} {noun} like this, found {len(fitting)}:", f"    {call(f'journal.{function}', claim)}"]
        if fitting:
            lines += ["Found:", *listed(fitting)]
        if len(fitting) < (times or 1):
            others = [record for record in records if record not in fitting]
            lines += nothing_fits(want, others, f"journal.{function}")
        raise AssertionError("\n".join(lines))
