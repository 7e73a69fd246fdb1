"""`comfy-mock conform`: does a client, in any language, end as it must in all that a real server can do to it?"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from comfy_mock.conformance.report import Outcome, Report
    from comfy_mock.conformance.situations import Situation

_EXIT_FAILED, _EXIT_NOT_TRIED = 1, 2
_COLOURS = {"passes": "green", "wrong result": "red", "hangs": "magenta", "crashes": "red"}


def conform(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- CMD…",
            help="The client: {url} and {workflow} in its words stand for the server and the workflow file, which are "
            "also in COMFYUI_URL and COMFYUI_WORKFLOW.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only these situations or schedules; * stands for anything. Repeatable."),
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the situations and exit.")] = False,
    random: Annotated[
        int, typer.Option(min=0, metavar="N", help="Try so many random schedules of faults after the catalogue.")
    ] = 0,
    seed: Annotated[int, typer.Option(metavar="N", help="What the random schedules are drawn by.")] = 0,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="How long the client may take in a situation.")
    ] = 20.0,
    jobs: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="How many situations at a time.")] = 4,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write a report there.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the timelines of what failed.")] = False,
) -> None:
    """Put a client through situations, each on a fresh fake, and say of each: passes, wrong result, hangs, crashes.

    The client runs the workflow and prints, as its last line, the files it got as JSON, by node id; or {"error": …}, or
    ends with another exit code than 0, where the run failed. docs/conformance.md has all of it.

    Exit codes: 0 it passes in all; 1 it does not; 2 the client cannot be started, or the command is wrong.
    """
    from comfy_mock.conformance.check import chosen, run
    from comfy_mock.conformance.clients import Command

    try:
        situations = chosen(only or [])
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--only") from problem
    if list_them:
        for situation in situations:
            typer.echo(f"{situation.name}: {situation.does}")
        return
    client = Command(_words(command or []))
    console = Console(stderr=True, highlight=False)
    with console.status("") as status:
        over: list[Outcome] = []

        def done(outcome: Outcome) -> None:
            over.append(outcome)
            status.update(f"{len(over)} of {len(situations) + random}: {outcome.situation.name} {outcome.verdict}")

        try:
            report = run(client, situations, random=random, seed=seed, timeout=timeout, jobs=jobs, done=done)
        except OSError as problem:
            typer.echo(f"comfy-mock: cannot run {client.words[0]}: {problem.strerror or problem}", err=True)
            raise typer.Exit(_EXIT_NOT_TRIED) from problem
    _show(report, verbose=verbose)
    if json_file is not None:
        _write(report, json_file)
    raise typer.Exit(0 if report.passed else _EXIT_FAILED)


def _words(command: Sequence[str]) -> list[str]:
    """The words of the client, the first of which is where the program lies: it runs in another folder."""
    if not command:
        raise typer.BadParameter("give the client's command behind `--`: comfy-mock conform -- python my_client.py")
    found = shutil.which(command[0])
    first = str(Path(found).absolute()) if found else command[0]
    return [first, *(_absolute(word) for word in command[1:])]


def _absolute(word: str) -> str:
    """A word that names a file here, so that it names the same one from another folder."""
    with contextlib.suppress(OSError, ValueError):
        if word and not word.startswith("-") and Path(word).exists():
            return str(Path(word).absolute())
    return word


def _show(report: Report, *, verbose: bool) -> None:
    console = Console(highlight=False)
    table = Table("situation", "verdict", "what the client did", box=None, pad_edge=False, header_style="bold")
    for outcome in report.outcomes:
        verdict = Text(outcome.verdict if outcome.came_up else f"{outcome.verdict} (did not come up)")
        verdict.stylize(_COLOURS[outcome.verdict])
        table.add_row(Text(outcome.situation.name), verdict, Text(outcome.why))
    console.print(table)
    for outcome in report.failed:
        console.print()
        _explain(console, outcome.situation, outcome, verbose=verbose)
    console.print(f"\n{len(report.outcomes) - len(report.failed)} of {len(report.outcomes)} pass")


def _explain(console: Console, situation: Situation, outcome: Outcome, *, verbose: bool) -> None:
    console.print(Text(f"{situation.name}: {outcome.verdict}", style="bold"))
    console.print(Text(f"  The server: {situation.does}"))
    console.print(Text(f"  The client: {outcome.why}"))
    console.print(Text(f"  It should:  {situation.should}"))
    if verbose:
        for line in outcome.timeline.splitlines():
            console.print(Text(f"    {line}"), soft_wrap=True)


def _write(report: Report, path: Path) -> None:
    try:
        path.write_text(json.dumps(report.plain(), indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError as problem:
        typer.echo(f"comfy-mock: cannot write {path}: {problem.strerror or problem}", err=True)
        raise typer.Exit(_EXIT_NOT_TRIED) from problem
