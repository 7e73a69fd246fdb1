"""Questions to a journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_mock.server.journal_records import EventRecord, HoldRecord, PromptRecord, RequestRecord, SocketRecord
from comfy_mock.server.journal_store import Store
from comfy_mock.server.journal_wants import (
    EventFilter,
    PromptFilter,
    RequestFilter,
    SocketFilter,
    WantedEvent,
    WantedPrompt,
    WantedRequest,
    WantedSocket,
    wanted,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Queries(Store):
    """What can be asked of a journal. Answers are in the order in which things began.

    All raise `TypeError` for an argument that there is none of.
    """

    def requests(self, route: str = "*", **which: Unpack[RequestFilter]) -> list[RequestRecord]:
        """The requests like this: `journal.requests("GET /history/*", status=200)`. See `assert_request`."""
        want = wanted(WantedRequest, {"route": route, **which})
        return [record for record in self.of_kind(RequestRecord) if want.fits(record)]

    def prompts(self, **which: Unpack[PromptFilter]) -> list[PromptRecord]:
        """The prompts like this: `journal.prompts(class_type="KSampler")`. See `assert_prompt`.

        Those that were accepted, unless `accepted` is false (those that were refused) or None (all).
        """
        want = wanted(WantedPrompt, which)
        return [record for record in self.of_kind(PromptRecord) if want.fits(record)]

    def sockets(self, **which: Unpack[SocketFilter]) -> list[SocketRecord]:
        """The WebSockets like this, also those whose upgrade was refused: `journal.sockets(open=True)`."""
        want = wanted(WantedSocket, which)
        return [record for record in self.of_kind(SocketRecord) if want.fits(record)]

    def events(self, event: str = "*", **which: Unpack[EventFilter]) -> list[EventRecord]:
        """The messages like this: `journal.events("progress", node="3")`. See `assert_event`."""
        want = wanted(WantedEvent, {"event": event, **which})
        return [record for record in self.of_kind(EventRecord) if want.fits(record)]

    def holds(self) -> list[HoldRecord]:
        """All that was held by a rule, and is held still or was released."""
        return self.of_kind(HoldRecord)

    def unserved(self) -> list[RequestRecord]:
        """The requests that no route or rule served: what they got was a 404 or 405 for want of a route."""
        return [record for record in self.of_kind(RequestRecord) if record.unserved]
