"""How `comfy-mock verify` shows what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from comfy_contracts.report import Outcome, Report

_STYLES = {"equal": "green", "differs": "bold red", "cannot be tried": "yellow"}


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[Outcome], Outcome]]:
    """A bar on stderr, where that is a terminal. It is given each outcome, and hands it on."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("verifying", total=total)

        def done(outcome: Outcome) -> Outcome:
            bar.update(task, advance=1, description=outcome.name)
            return outcome

        yield done


def show(report: Report, differences: int, *, verbose: bool) -> None:
    """The report on stdout: a row per contract (with `verbose` and rule), the differences, and the counts."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in ("contract", "verdict", "what was compared"):
        table.add_column(name, overflow="fold")
    for outcome in report.outcomes:
        table.add_row(escape(outcome.name), _styled(outcome.verdict), escape(_details(outcome)))
        for rule in outcome.rules if verbose else ():
            what = "times freed" if rule.kind == "free" else "compared"
            table.add_row(f"  {escape(rule.name)}", _styled(rule.verdict), f"{rule.amount} {what}")
    console.print(table)
    for outcome in report.outcomes:
        if outcome.verdict == "differs":
            _show_differences(console, outcome, differences)
    console.print(f"\n{report.summary}")


def _styled(verdict: str) -> str:
    return f"[{_STYLES[verdict]}]{verdict}[/]"


def _details(outcome: Outcome) -> str:
    if outcome.reasons:
        return "; ".join(outcome.reasons)
    checks = [f"{rule.amount} {rule.name}" for rule in outcome.rules if rule.kind == "check"]
    if outcome.verdict == "differs":
        differing = ", ".join(rule.name for rule in outcome.rules if rule.verdict == "differs") or "the replay"
        return f"{len(outcome.differences)} differences in: {differing}"
    return ", ".join(checks)


def _show_differences(console: Console, outcome: Outcome, most: int) -> None:
    from comfy_contracts.difference import values_as_text

    console.print(f"\n[bold]{escape(outcome.name)}[/]")
    for difference in outcome.differences[:most]:
        expected, got = values_as_text(difference)
        console.print(f"  {escape(difference.where)}")
        console.print(f"    [green]- {escape(expected)}[/]\n    [red]+ {escape(got)}[/]")
    more = len(outcome.differences) - most
    if more > 0:
        console.print(f"  … and {more} more: --differences N, --html FILE")
