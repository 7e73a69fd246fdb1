"""A report as JUnit XML: a test suite per contract, a test case per rule."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from comfy_contracts.report import Outcome, Report, RuleOutcome, shortened

_DIFFERENCES_SHOWN = 50
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """The XML of a report. A contract that cannot be tried is one skipped test case, and says why."""
    suites = ET.Element("testsuites", name=f"comfy-mock verify {report.server}")
    for outcome in report.outcomes:
        suites.append(_suite(outcome))
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _suite(outcome: Outcome) -> ET.Element:
    cases = [_case(outcome, rule) for rule in outcome.rules] or [_skipped(outcome)]
    suite = ET.Element(
        "testsuite",
        name=outcome.name,
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
        errors="0",
        time=f"{outcome.seconds:.3f}",
    )
    suite.extend(cases)
    return suite


def _case(outcome: Outcome, rule: RuleOutcome) -> ET.Element:
    name = rule.name if rule.kind == "check" else f"free: {rule.name}"
    case = ET.Element("testcase", classname=outcome.name, name=_clean(name), time="0")
    if rule.verdict == "differs":
        failure = ET.SubElement(case, "failure", message=f"{len(rule.differences)} differences")
        failure.text = _clean("\n".join(shortened(rule.differences, _DIFFERENCES_SHOWN)))
    return case


def _skipped(outcome: Outcome) -> ET.Element:
    case = ET.Element("testcase", classname=outcome.name, name="the contract", time="0")
    ET.SubElement(case, "skipped", message=_clean("; ".join(outcome.reasons)))
    return case


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
