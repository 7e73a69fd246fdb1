"""What came of verifying a server: per contract and rule equal, differs, or cannot be tried here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from comfy_contracts.compare import Comparison
from comfy_contracts.compare_http import covers_request
from comfy_contracts.difference import Difference
from comfy_contracts.equivalence import CHECKS, FIELD_RULES, HEADER_RULES, FieldRule, describe

Verdict = Literal["equal", "differs", "cannot be tried"]
VERDICTS: tuple[Verdict, ...] = ("equal", "differs", "cannot be tried")


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What one rule says in one contract.

    A rule is a check, which compares (`amount`: how many things), or one that declares something free (`amount`: how
    often it did so in the recording; it differs where what it still compares is not equal).
    """

    name: str
    kind: Literal["check", "free"]
    verdict: Verdict
    amount: int
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one contract. `reasons` say why it could not be tried; `seconds` is how long it took."""

    name: str
    comment: str
    verdict: Verdict
    rules: tuple[RuleOutcome, ...] = ()
    differences: tuple[Difference, ...] = ()
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What came of all contracts. `server` and `evidence` say what was verified, and against what."""

    server: str
    evidence: str
    outcomes: tuple[Outcome, ...]

    def count(self, verdict: Verdict) -> int:
        """How many contracts have this verdict."""
        return sum(outcome.verdict == verdict for outcome in self.outcomes)

    @property
    def summary(self) -> str:
        """The counts, in words."""
        return ", ".join(f"{self.count(verdict)} {verdict}" for verdict in VERDICTS)

    @property
    def exit_code(self) -> int:
        """0: all that could be tried is equal; 1: something differs; 2: nothing could be tried."""
        if self.count("differs"):
            return 1
        return 0 if self.count("equal") else 2


def outcome_of(name: str, comment: str, comparison: Comparison, seconds: float) -> Outcome:
    """What a comparison says of a contract, rule by rule."""
    differences = tuple(comparison.differences)
    return Outcome(
        name,
        comment,
        "differs" if differences else "equal",
        (*_checks(comparison, differences), *_free(comparison, differences)),
        differences,
        seconds=seconds,
    )


def not_tried(name: str, comment: str, reasons: Sequence[str]) -> Outcome:
    """The outcome of a contract that cannot be tried."""
    return Outcome(name, comment, "cannot be tried", reasons=tuple(reasons))


def _checks(comparison: Comparison, differences: Sequence[Difference]) -> Iterator[RuleOutcome]:
    for check in CHECKS:
        found = tuple(difference for difference in differences if difference.check == check.name)
        amount = comparison.compared.get(check.name, 0)
        if amount or found:
            yield RuleOutcome(check.name, "check", "differs" if found else "equal", amount, found)


def _free(comparison: Comparison, differences: Sequence[Difference]) -> Iterator[RuleOutcome]:
    for name, amount in sorted(comparison.freed.items()):
        found = tuple(difference for difference in differences if name in rules_of(difference))
        yield RuleOutcome(name, "free", "differs" if found else "equal", amount, found)


_EXCHANGE = re.compile(r"exchange \d+ \((?P<method>\S+) (?P<url>[^)]*)\)(?P<rest>.*)", re.DOTALL)
_MESSAGE = re.compile(r"socket \d+ message \d+ \((?P<kind>[^)]*)\)(?P<rest>.*)", re.DOTALL)


def rules_of(difference: Difference) -> set[str]:
    """The rules of `equivalence` that speak of the place of a difference, whether or not their conditions hold."""
    exchange, message = _EXCHANGE.match(difference.where), _MESSAGE.match(difference.where)
    rest = (exchange or message or {"rest": difference.where})["rest"].lstrip()
    header = re.match(r"headers\.([\w-]+)", rest)
    if header:
        return {f"header {rule.name}" for rule in HEADER_RULES if rule.name == header[1]}
    body = rest.removeprefix("body")
    return {rule.name for rule in FIELD_RULES if _speaks_of(rule, exchange, message) and _leads_to(rule.path, body)}


def _speaks_of(rule: FieldRule, exchange: re.Match[str] | None, message: re.Match[str] | None) -> bool:
    if rule.place == "anywhere":
        return True
    if exchange is not None:
        return covers_request(rule.place, exchange["method"], exchange["url"])
    return message is not None and rule.place == f"socket {message['kind']}"


def _leads_to(path: str, rest: str) -> bool:
    """Whether a path of a rule leads to a place in a value, as differences name places, or to something around it."""
    if path.startswith("**."):
        return re.search(rf"\.{re.escape(path[3:])}(?=[.\[ ]|$)", rest) is not None
    steps = "".join(
        r"(?:\.[^.\[]+|\[\d+\])" if step == "*" else rf"(?:\.{re.escape(step)}|\[{re.escape(step)}\])"
        for step in path.split(".")
        if step
    )
    return re.match(rf"{steps}(?=[.\[ ]|$)", rest) is not None


def rules_as_table() -> Iterator[tuple[str, str, str]]:
    """All rules for people, as rows of where, what is free or compared, and why: first the checks."""
    yield from ((check.name, check.what, "") for check in CHECKS)
    yield from describe()


def shortened(differences: Sequence[Difference], most: int) -> Iterable[str]:
    """The differences as lines, `most` of them, and how many more there are."""
    yield from map(str, differences[:most])
    if len(differences) > most:
        yield f"… and {len(differences) - most} more"
