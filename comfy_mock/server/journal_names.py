"""Names in claims that something did not happen: a misspelt one would make any such claim true."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from comfy_mock.engine.engine import Engine
from comfy_mock.engine.script.checks import LIKE_A_MISSPELLING, MESSAGES
from comfy_mock.engine.script.checks_of_nodes import misspelt_inputs
from comfy_mock.engine.script.problems import did_you_mean
from comfy_mock.engine.script.routes import RouteTable
from comfy_mock.server.journal_records import AnyRecord, EventRecord
from comfy_mock.server.journal_wants import Want, WantedEvent, WantedPrompt, WantedRequest, rule_route

_LIKE_A_ROUTE = 0.85


class Names:
    """What the server of a journal knows by name; `engine` gives the one that runs now."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    def complaint(self, want: Want[Any], records: Iterable[AnyRecord]) -> str | None:
        """Why nothing can be like this, whatever happens; None where something can, for all that is known.

        `records` are those of the journal: what was there once is no slip.
        """
        if isinstance(want, WantedRequest):
            return self._of_route(rule_route(want.route))
        if isinstance(want, WantedEvent):
            return _of_event(want.event, records)
        return self._of_class(want) if isinstance(want, WantedPrompt) else None

    def _of_route(self, route: str) -> str | None:
        from comfy_mock.server.scripts import (
            known_routes,  # which imports the shell's routes, and the shell writes journals
        )

        routes = known_routes(self._engine().options.version)
        complaint = RouteTable(routes).complaint(route, only_misspelt=True)
        if complaint is None and route.startswith("* /"):
            near = did_you_mean(route[2:], {known.split(" ", 1)[1] for known in routes}, cutoff=_LIKE_A_ROUTE)
            known = RouteTable(routes).complaint(route) is None
            complaint = f"the server has no route {route[2:]!r}{near}" if near and not known else None
        return complaint

    def _of_class(self, want: WantedPrompt) -> str | None:
        engine = self._engine()
        if not isinstance(want.class_type, str):
            return None
        definition = engine.definition(want.class_type)
        if definition is not None:
            return misspelt_inputs(definition, want.inputs) if isinstance(want.inputs, dict) else None
        near = did_you_mean(want.class_type, engine.object_info.entries())
        if near or (want.accepted and not engine.options.accept_any_node):
            return f"the server has no class {want.class_type!r}{near}"
        return None


def _of_event(event: str, records: Iterable[AnyRecord]) -> str | None:
    if event in MESSAGES or any(isinstance(record, EventRecord) and record.type == event for record in records):
        return None
    near = did_you_mean(event, MESSAGES, cutoff=LIKE_A_MISSPELLING)
    return f"ComfyUI sends no {event!r}{near}" if near else None
