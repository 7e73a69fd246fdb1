"""What the checks of a script find, before it is known where in its text that stands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from comfy_mock.engine.script.problems import Path


class Finding(NamedTuple):
    """Something wrong with a part of a script; `path` leads to it from the part that is looked at."""

    path: Path
    text: str


Findings = Iterator[Finding]


def under(path: Path, findings: Iterable[Finding]) -> Findings:
    """The findings in a part that stands at `path`."""
    for finding in findings:
        yield Finding((*path, *finding.path), finding.text)


SECONDS_MAX = 1e9
"""The longest time: some thirty years."""


def at_least(least: int, **values: float | None) -> Findings:
    """Those of these numbers that are less, or no numbers at all."""
    for name, value in values.items():
        if value is not None and not (least <= value < math.inf):
            yield Finding((name,), f"is {value}; it takes {least} or more")


def within(least: int, most: float, **values: float | None) -> Findings:
    """Those of these numbers that are less, or more, or no numbers at all."""
    for name, value in values.items():
        if value is not None and value > most:
            yield Finding((name,), f"is {value}; it takes at most {most:.0f}")
        else:
            yield from at_least(least, **{name: value})
