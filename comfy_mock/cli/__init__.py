"""The command line: `comfy-mock serve`, `demo`, `run`, `record`, `verify`, `diff`, `learn` and `conform`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import comfy_mock
from comfy_mock.cli.arguments import fill_bare_switches
from comfy_mock.cli.conform import conform
from comfy_mock.cli.demo import demo
from comfy_mock.cli.diff import diff
from comfy_mock.cli.learn import learn
from comfy_mock.cli.record import record
from comfy_mock.cli.run import run
from comfy_mock.cli.serve import serve
from comfy_mock.cli.verify import verify

app = typer.Typer(
    name="comfy-mock",
    help="A fake ComfyUI server: every route and every event of a real one, without a GPU.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(demo)
app.command()(run)
app.command()(record)
app.command()(verify)
app.command()(diff)
app.command()(learn)
app.command()(conform)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"comfy-mock {comfy_mock.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with `arguments`, by default those of the process. Always raises `SystemExit`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    app(fill_bare_switches(given), prog_name="comfy-mock", obj=given)
