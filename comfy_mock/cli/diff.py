"""`comfy-mock diff`: what changed between two servers, as a changelog of the protocol."""

from __future__ import annotations

import io
import json
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comfy_mock.cli.recording_files import recordings_at

if TYPE_CHECKING:
    from comfy_contracts.changelog import Changelog
    from comfy_contracts.har import Har

_EXIT_CHANGES = 1
_EXIT_NOTHING_IN_COMMON = 2


class Format(str, Enum):
    """How a changelog is written."""

    CONSOLE = "console"
    MARKDOWN = "markdown"
    JSON = "json"


def diff(
    before: Annotated[
        Path, typer.Argument(metavar="A.har", help="What the one server said: a recording, or a folder.")
    ],
    after: Annotated[Path, typer.Argument(metavar="B.har", help="What the other one said.")],
    form: Annotated[Format, typer.Option("--format", "-f", help="How to write it.")] = Format.CONSOLE,
) -> None:
    """Say what changed between two servers or versions, from recordings of the same requests to both.

    Of two folders the recordings of the same name are compared. What the rules of docs/contracts.md declare free (ids,
    times, the machine) is no change, nor is what was asked of one server alone.

    Exit codes: 0 no change; 1 changes; 2 the recordings cannot be read or have nothing in common, or the command is
    wrong.
    """
    from comfy_contracts.changelog import changelog
    from comfy_contracts.har import HarError

    old, new = _recordings(before, "A.har"), _recordings(after, "B.har")
    if before.is_dir() != after.is_dir():
        raise typer.BadParameter("give two recordings, or two folders of them", param_hint="A.har B.har")
    if not before.is_dir():
        old, new = {"": next(iter(old.values()))}, {"": next(iter(new.values()))}
    try:
        found = changelog(old, new)
    except HarError as problem:
        raise typer.BadParameter(str(problem), param_hint="A.har B.har") from problem
    _show(found, form, before, after)
    if not found.requests and not found.sockets:
        typer.echo("comfy-mock: the recordings have no request in common: nothing could be compared", err=True)
        raise typer.Exit(_EXIT_NOTHING_IN_COMMON)
    raise typer.Exit(_EXIT_CHANGES if found.changes else 0)


def _recordings(source: Path, argument: str) -> dict[str, Har]:
    from comfy_contracts.har import load

    try:
        return {name: load(file) for name, file in recordings_at(source).items()}
    except (OSError, ValueError) as problem:
        raise typer.BadParameter(str(problem), param_hint=argument) from problem


def _show(found: Changelog, form: Format, before: Path, after: Path) -> None:
    from comfy_contracts.changelog import text

    if isinstance(sys.stdout, io.TextIOWrapper):
        # Arrows are not in every code page; a file it is redirected into is to be UTF-8 everywhere.
        sys.stdout.reconfigure(encoding="utf-8")
    if form is Format.JSON:
        typer.echo(json.dumps(text.plain(found), indent=2))
    elif form is Format.MARKDOWN:
        typer.echo(text.markdown(found, str(before), str(after)), nl=False)
    else:
        typer.secho(text.title(found, str(before), str(after)), bold=True)
        for heading, lines in text.sections(found):
            typer.secho(f"\n{heading}", bold=True)
            for line in lines:
                typer.echo(f"  {line}")
        typer.echo(f"\n{text.summary(found)}")
