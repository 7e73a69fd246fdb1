"""The requests that no route and no rule served, and what may have been meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from comfy_mock.engine.options import Options
from comfy_mock.server.journal_records import RequestRecord
from comfy_mock.server.journal_words import described

_SHOWN_MAX = 10
_ALIKE = 0.7


def unserved_requests(records: Sequence[RequestRecord]) -> str:
    """What is to be said of requests that no route or rule served; nothing where there are none."""
    if not records:
        return ""
    head = "1 request was" if len(records) == 1 else f"{len(records)} requests were"
    lines = [f"    {described(record)}{_hint(record)}" for record in records[:_SHOWN_MAX]]
    more = [f"    … and {len(records) - _SHOWN_MAX} more"] if len(records) > _SHOWN_MAX else []
    return "\n".join([f"{head} served by no route and no rule:", *lines, *more])


def _hint(record: RequestRecord) -> str:
    from comfy_mock.server.scripts import (
        known_routes,  # which imports the shell's routes, and the shell writes journals
    )

    routes = [tuple(route.split(" ", 1)) for route in known_routes(Options().version)]
    alike = {path: _alikeness(path, record.path) for _method, path in routes}
    method, path = max(routes, key=lambda route: (alike[route[1]], route[0] == record.method))
    return f" (did you mean {method} {path}?)" if alike[path] >= _ALIKE else ""


def _alikeness(route: str, path: str) -> float:
    """How much a path is like those of a route, apart from the route's variable segments."""
    wanted, given = route.split("/"), path.split("/")
    if len(wanted) != len(given):
        return 0.0
    literal = [pair for pair in zip(wanted, given, strict=True) if not pair[0].startswith("{")]
    left, right = ("/".join(side) for side in zip(*literal, strict=True))
    return SequenceMatcher(None, left, right).ratio()
