"""A report as one HTML file: it needs nothing else, no server, no script, and follows the reader's light or dark."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from comfy_contracts.difference import NOTHING, Difference
from comfy_contracts.report import VERDICTS, Outcome, Report, RuleOutcome, rules_as_table

_DIFFERENCES_SHOWN = 100
_LONGEST_VALUE = 4000

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --equal: #1a7f37; --differs: #cf222e; --not: #9a6700 }
@media (prefers-color-scheme: dark) { :root { --equal: #3fb950; --differs: #ff7b72; --not: #d29922 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem } pre { font: 13px/1.45 ui-monospace, monospace }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .25rem .6rem; border-bottom: 1px solid var(--line) }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; padding: .3rem .8rem }
summary { cursor: pointer } pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .1rem 0 }
.verdict { font-weight: 600 } .equal { color: var(--equal) }
.differs { color: var(--differs) } .not { color: var(--not) }
.where { font-weight: 600; margin-top: .6rem } .side { display: grid; grid-template-columns: 1fr 1fr; gap: .6rem }
.side > pre { background: var(--soft); padding: .3rem .5rem; border-radius: 4px } .quiet { opacity: .75 }
"""


def html(report: Report) -> str:
    """The page of a report."""
    counts = " · ".join(f"<span class='verdict {_class(v)}'>{report.count(v)} {v}</span>" for v in VERDICTS)
    order = sorted(report.outcomes, key=lambda outcome: (VERDICTS[::-1].index(outcome.verdict) == 2, outcome.name))
    contracts = "\n".join(_contract(outcome) for outcome in order)
    rules = "\n".join(
        f"<tr><td>{escape(where)}</td><td>{escape(free)}</td><td>{escape(why)}</td></tr>"
        for where, free, why in rules_as_table()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>comfy-mock verify: {escape(report.summary)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>comfy-mock verify</h1>
<p>{escape(report.server)}<br><span class="quiet">against {escape(report.evidence)}</span></p>
<p>{counts}</p>
<h2>Contracts</h2>
{contracts}
<h2>The rules</h2>
<details><summary>What is compared, what is free, and why</summary>
<table><tr><th>Where</th><th>Compared or free</th><th>Why</th></tr>
{rules}
</table></details>
</body>
</html>
"""


def _class(verdict: str) -> str:
    return "not" if verdict == "cannot be tried" else verdict


def _contract(outcome: Outcome) -> str:
    opened = " open" if outcome.verdict == "differs" else ""
    head = (
        f"<summary><span class='verdict {_class(outcome.verdict)}'>{outcome.verdict}</span> "
        f"<b>{escape(outcome.name)}</b> <span class='quiet'>{escape(outcome.comment)}</span></summary>"
    )
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in outcome.reasons)
    inner = f"<ul>{reasons}</ul>" if reasons else _rules(outcome) + _differences(outcome)
    return f"<details{opened}>{head}{inner}</details>"


def _rules(outcome: Outcome) -> str:
    rows = "".join(map(_rule, outcome.rules))
    return f"<table><tr><th>Rule</th><th></th><th>Compared, or freed</th></tr>{rows}</table>"


def _rule(rule: RuleOutcome) -> str:
    name = escape(rule.name) if rule.kind == "check" else f"<span class='quiet'>free:</span> {escape(rule.name)}"
    told = f"{len(rule.differences)} differ" if rule.differences else "equal"
    return f"<tr><td>{name}</td><td class='{_class(rule.verdict)}'>{told}</td><td>{rule.amount}</td></tr>"


def _differences(outcome: Outcome) -> str:
    shown = "".join(map(_difference, outcome.differences[:_DIFFERENCES_SHOWN]))
    more = len(outcome.differences) - _DIFFERENCES_SHOWN
    return shown + (f"<p>… and {more} more</p>" if more > 0 else "")


def _difference(difference: Difference) -> str:
    return (
        f"<div class='where'>{escape(difference.where)}</div><div class='side'>"
        f"<pre>expected\n{escape(_value(difference.expected))}</pre>"
        f"<pre>got\n{escape(_value(difference.got))}</pre></div>"
    )


def _value(value: Any) -> str:
    if value is NOTHING:
        return "nothing"
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"
