"""`comfy-mock serve --replay`: recordings in place of a fake server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from comfy_mock.server.replay import Replay

_TOGETHER = frozenset({"replay", "host", "port", "speed", "log_level", "quiet"})
"""The switches of `serve` that mean something for a replay."""


def replay_of(context: typer.Context, recordings: Sequence[Path], host: str, port: int, speed: float) -> Replay:
    """The server that `serve --replay` runs. Ends the command with 2 where a recording or another switch is wrong."""
    from comfy_mock.server.replay import Replay

    others = [switch for name, switch in _given(context) if name not in _TOGETHER]
    if others:
        raise typer.BadParameter(
            f"a replay answers as recorded, so {' and '.join(others)} cannot be given with it", param_hint="--replay"
        )
    at_once = "speed" not in dict(_given(context))
    try:
        return Replay(*recordings, host=host, port=port, speed=None if at_once else speed)
    except ValueError as problem:  # without a box around it, which would break paths apart
        typer.echo(f"comfy-mock: {problem}", err=True)
        raise typer.Exit(2) from problem


def report(server: Replay, *, quiet: bool) -> None:
    """Say what was not as recorded, now that the server has ended."""
    problems = server.problems()
    for line in problems:
        typer.echo(line, err=True)
    if not problems and not quiet:
        typer.echo("all was asked for as recorded", err=True)


def _given(context: typer.Context) -> list[tuple[str, str]]:
    """The switches that stand on the command line: their names in the code, and as they are written."""
    sources = {parameter: context.get_parameter_source(parameter.name or "") for parameter in context.command.params}
    return [
        (parameter.name or "", parameter.opts[0])
        for parameter, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    ]
