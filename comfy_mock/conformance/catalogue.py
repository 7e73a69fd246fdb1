"""The catalogue of situations."""

from __future__ import annotations

from collections.abc import Mapping

from comfy_mock.conformance.catalogue_ends import ENDS, OTHERS
from comfy_mock.conformance.catalogue_requests import REQUESTS
from comfy_mock.conformance.catalogue_runs import RUNS
from comfy_mock.conformance.catalogue_sockets import SOCKETS
from comfy_mock.conformance.situations import Situation

GROUPS: Mapping[str, tuple[Situation, ...]] = {
    "Runs that go well": RUNS,
    "The WebSocket fails": SOCKETS,
    "The prompt fails": ENDS,
    "Others' prompts": OTHERS,
    "A request fails once": REQUESTS,
}
"""All situations, by what they are about."""

SITUATIONS: Mapping[str, Situation] = {each.name: each for group in GROUPS.values() for each in group}
"""All situations by name."""
