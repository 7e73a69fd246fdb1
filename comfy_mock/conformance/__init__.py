"""Conformance: is a client right, in any language, in everything that a real server can do to it (docs/conformance.md)?

from comfy_mock.conformance import check_client

def test_my_client():
    check_client(run_workflow, random=20).check()
"""

from __future__ import annotations

from comfy_mock.conformance.catalogue import GROUPS, SITUATIONS
from comfy_mock.conformance.check import check_client
from comfy_mock.conformance.clients import Command, Function
from comfy_mock.conformance.report import NotConforming, Outcome, Report
from comfy_mock.conformance.situations import Situation

__all__ = [
    "GROUPS",
    "SITUATIONS",
    "Command",
    "Function",
    "NotConforming",
    "Outcome",
    "Report",
    "Situation",
    "check_client",
]
