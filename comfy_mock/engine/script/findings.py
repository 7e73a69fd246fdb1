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


def at_least(least: int, **values: float | None) -> Findings:
    """Those of these numbers that are less, or no numbers at all."""
    for name, value in values.items():
        if value is not None and not (least <= value < math.inf):
            yield Finding((name,), f"is {value}; it takes {least} or more")
