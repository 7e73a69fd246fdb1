"""The table of docs/conformance.md: `python -m comfy_mock.conformance.table`, in a checkout of the repository.

It installs the clients that others wrote, puts them and the reference client through the catalogue, and writes the
table into the page. What fails is tried again, and counts where it fails each time: what a client does may hang on
chance.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from comfy_mock.conformance.catalogue import GROUPS, SITUATIONS
from comfy_mock.conformance.check import run
from comfy_mock.conformance.clients import Client, Function
from comfy_mock.conformance.reference import REFERENCE
from comfy_mock.conformance.report import Outcome
from comfy_mock.conformance.third_party import THIRD_PARTIES, CannotInstall
from comfy_mock.conformance.trial import TIMEOUT_S

# of the checkout that the command is run in: an installed package has neither
PAGE, DRIVERS = Path("docs/conformance.md"), Path("tests/interop/conform")
_REFERENCE = "comfy_client"
_PASSES, _ABSENT = "·", "–"
_SIGNS = {"wrong result": "**wrong**", "hangs": "**hangs**", "crashes": "**crash**"}
_FAILURES = frozenset(_SIGNS.values())
_JOBS, _CLIENTS = 4, 4
_JOBS_ALONE, _TRIES_ALONE = 2, 5

Outcomes = Mapping[str, Outcome]
"""What a client did, by the name of the situation."""

Column = Mapping[str, str]
"""What the table says of a client, by the name of the situation."""


def outcomes_of(client: Client, *, tries: int = 2, timeout: float = TIMEOUT_S, jobs: int = _JOBS) -> dict[str, Outcome]:
    """Put a client through the catalogue. A failure is one that has happened in all of so many tries."""
    found: dict[str, Outcome] = {}
    for _ in range(tries):
        left = [each for each in SITUATIONS.values() if each.name not in found or not found[each.name].passed]
        found |= {outcome.situation.name: outcome for outcome in run(client, left, timeout=timeout, jobs=jobs).outcomes}
    return {name: found[name] for name in SITUATIONS}


def column(*ways: Outcomes) -> dict[str, str]:
    """What the table says of a client that did this in its ways: a failure in any of them is one."""
    return {name: _cell([outcomes[name] for outcomes in ways]) for name in SITUATIONS}


def table(columns: Mapping[str, Column]) -> str:
    """The table as Markdown, of the columns of clients by name."""
    letters = dict(zip(columns, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", strict=False))
    lines = [_key(name, letter, columns[name]) for name, letter in letters.items()]
    for title, group in GROUPS.items():
        lines += ["", f"| {title} | {' | '.join(letters.values())} |", "|---|" + "---|" * len(letters)]
        for situation in group:
            cells = [cells.get(situation.name, "") for cells in columns.values()]
            lines.append(f"| `{situation.name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def columns_of(page: str) -> dict[str, dict[str, str]]:
    """The columns of the table that stands in the page."""
    begin, end = place("the table")
    text = page.partition(begin)[2].partition(end)[0]
    names = re.findall(r"^\* \*\*[A-Z]\*\* (.+?) \(", text, flags=re.MULTILINE)
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, flags=re.MULTILINE)
    return {name: {row: cells.split(" | ")[number] for row, cells in rows} for number, name in enumerate(names)}


def _key(name: str, letter: str, cells: Column) -> str:
    failed = sum(cell in _FAILURES for cell in cells.values())
    third = THIRD_PARTIES.get(name)
    drives = third.drives if third else f"{', '.join(REFERENCE)}: a failure of any is one"
    return f"* **{letter}** {name} ({drives}): fails {failed} of {len(SITUATIONS)}"


def _cell(outcomes: Sequence[Outcome]) -> str:
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if failed:
        return _SIGNS[failed[0].verdict]
    return _PASSES if any(outcome.came_up for outcome in outcomes) else _ABSENT


def situations() -> str:
    """What each situation is, as Markdown."""
    lines: list[str] = []
    for title, group in GROUPS.items():
        lines += ["", f"| {title} | What the server does | What a client should do |", "|---|---|---|"]
        lines += [f"| `{situation.name}` | {situation.does} | {situation.should} |" for situation in group]
    return "\n".join(lines[1:])


def place(name: str) -> tuple[str, str]:
    """The lines of the page between which the part of this name stands."""
    return f"<!-- begin of {name} -->", f"<!-- end of {name} -->"


def written(page: str, name: str, text: str) -> str:
    """The page with this text as the part of this name. Raises `ValueError` where the page has no place for it."""
    begin, end = place(name)
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"the page needs the lines {begin!r} and {end!r}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table into the page. Returns the exit code: 1 where the reference client fails."""
    parser = argparse.ArgumentParser(prog="python -m comfy_mock.conformance.table", description=__doc__)
    parser.add_argument("--client", choices=THIRD_PARTIES, action="append", help="only the columns of these")
    parser.add_argument("--jobs", type=int, default=_JOBS, help="how many situations of a client at a time")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, help="seconds that a client may take in one")
    given = parser.parse_args(arguments)
    if not DRIVERS.is_dir():
        parser.error(f"there are no drivers in {DRIVERS}: run this at the top of a checkout of the repository")
    try:
        columns = _columns(given.client, given.timeout, given.jobs)
    except CannotInstall as problem:
        parser.error(str(problem))
    page = PAGE.read_text(encoding="utf-8")
    known = columns_of(page) | columns
    page = written(
        page, "the table", table({name: known[name] for name in (_REFERENCE, *THIRD_PARTIES) if name in known})
    )
    PAGE.write_text(written(page, "the situations", situations()), encoding="utf-8")
    return int(any(cell in _FAILURES for cell in columns.get(_REFERENCE, {}).values()))


def _columns(only: Sequence[str] | None, timeout: float, jobs: int) -> dict[str, dict[str, str]]:
    def reference(name: str) -> Outcomes:
        return _told(name, outcomes_of(Function(REFERENCE[name]), timeout=timeout, jobs=jobs))

    def third_party(name: str, jobs: int) -> dict[str, str]:
        with THIRD_PARTIES[name].command(DRIVERS.resolve()) as client:
            tries = _TRIES_ALONE if THIRD_PARTIES[name].alone else 2
            return column(_told(name, outcomes_of(client, tries=tries, timeout=timeout, jobs=jobs)))

    chosen = [name for name in THIRD_PARTIES if only is None or name in only]
    together = [name for name in chosen if not THIRD_PARTIES[name].alone]
    columns: dict[str, dict[str, str]] = {}
    # most of the time is spent on waiting for clients that hang
    with ThreadPoolExecutor(_CLIENTS) as pool:
        ways = [pool.submit(reference, name) for name in REFERENCE if only is None]
        others = {name: pool.submit(third_party, name, jobs) for name in together}
        if ways:
            columns[_REFERENCE] = column(*(way.result() for way in ways))
        columns |= {name: other.result() for name, other in others.items()}
    return columns | {name: third_party(name, _JOBS_ALONE) for name in chosen if THIRD_PARTIES[name].alone}


def _told(name: str, outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
    failed = [outcome for outcome in outcomes.values() if not outcome.passed]
    lines = [
        f"{name}: fails {len(failed)}",
        *(f"  {each.situation.name}: {each.verdict}: {each.why}" for each in failed),
    ]
    print("\n".join(lines), flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
