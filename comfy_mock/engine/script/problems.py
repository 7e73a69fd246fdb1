"""What is wrong with a script, and where: in its file, and in its structure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

SHOWN_MAX = 20
"""How many problems an error lists; it says how many more there are."""

Path = tuple[str | int, ...]
"""Where something stands in a script: `("rules", 2, "match", "class_type")`."""


class Place(NamedTuple):
    """Where something stands in a text; lines and columns count from 1."""

    line: int
    column: int


class Problem(NamedTuple):
    """One thing that is wrong. `path` is its place in the script, such as `rules[2].match.class_type`, empty for the
    script as a whole; `place` and `source`, the name of the file, are None for what was not read from a text."""

    path: str
    text: str
    place: Place | None = None
    source: str | None = None

    def __str__(self) -> str:
        where = [] if self.source is None else [self.source if self.place is None else f"{self.source}:{_at(self)}"]
        return ": ".join([*where, *([self.path] if self.path else []), self.text])


class ScriptError(ValueError):
    """A script is wrong. `problems` has everything that was found, and the message says it line by line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        lines = [str(problem) for problem in self.problems[:SHOWN_MAX]]
        if len(self.problems) > SHOWN_MAX:
            lines.append(f"and {len(self.problems) - SHOWN_MAX} more")
        if len(self.problems) > 1:
            lines = [f"{len(self.problems)} things are wrong with the script:", *lines]
        super().__init__("\n  ".join(lines))


class Source:
    """The text that a script was read from: its name, and the place of everything in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.places: dict[Path, Place] = {}

    def place(self, path: Path) -> Place | None:
        """Where this stands in the text; for something that is not written out, where what it belongs to stands."""
        return next((self.places[path[:end]] for end in range(len(path), -1, -1) if path[:end] in self.places), None)


def written(path: Iterable[str | int]) -> str:
    """A path as one writes it: `rules[2].match.inputs["my input"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier():
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def did_you_mean(given: Any, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """`; did you mean 'this'?` where one of the `known` is close to what was given, else nothing."""
    names = list(known)
    by_lower = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(str(given).lower(), by_lower, n=1, cutoff=cutoff)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def shown(value: Any) -> str:
    """A value as it is written in a script, shortened."""
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    else:
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _at(problem: Problem) -> str:
    assert problem.place is not None
    return f"{problem.place.line}:{problem.place.column}"
