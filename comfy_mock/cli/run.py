"""`comfy-mock run`: a workflow on any ComfyUI server, real or fake, and its files saved."""

from __future__ import annotations

import contextlib
import enum
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from comfy_mock.cli.run_display import display_for

if TYPE_CHECKING:
    from comfy_client import Client, ComfyError, Job, Result, Workflow


class ExitCode(enum.IntEnum):
    """What the exit code of `comfy-mock run` says."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    UNREACHABLE = 3
    TIMEOUT = 4
    INTERRUPTED = 5


def run(
    workflow: Annotated[
        str,
        typer.Argument(metavar="WORKFLOW", help="JSON in API format, a picture that ComfyUI saved, or - for stdin."),
    ],
    server: Annotated[
        str, typer.Option(metavar="URL", envvar="COMFYUI_URL", help="The server.")
    ] = "http://127.0.0.1:8188",
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", metavar="DIR", help="Where to save; made if it is not there.")
    ] = Path(),
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**64 - 1, metavar="N", help="Set all seeds of the workflow to N.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Stop waiting after this long; the run goes on.")
    ] = None,
    path: Annotated[Literal["auto", "websocket", "polling"], typer.Option(help="How to follow the run.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Run a workflow and save its files. Their paths, one a line, are all that goes to stdout.

    Saved is what the run put into the server's output folder, or what it previewed where that is nothing. No file is
    overwritten: a new one is counted on, as `name (1).png`. Ctrl+C cancels the run on the server.

    Exit codes: 0 all went well; 1 the run failed or was lost; 2 the workflow cannot be read, or the server refused it;
    3 the server cannot be reached; 4 --timeout has passed; 5 the run was interrupted, here or on the server.
    """
    from comfy_client import ComfyError

    try:
        loaded = _load(workflow)
        with _client(server) as client:
            job = client.submit(loaded.to_prompt(check=False), seed=seed, path=path)
            with _cancelling(job):
                _warn(job)
                for saved in _save(_follow(job, loaded, timeout, quiet=quiet), output_dir):
                    typer.echo(saved)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except ComfyError as problem:
        typer.echo(f"comfy-mock: {problem}", err=True)
        raise typer.Exit(exit_code_of(problem)) from problem
    except OSError as problem:
        typer.echo(f"comfy-mock: cannot save in {output_dir}: {problem.strerror or problem}", err=True)
        raise typer.Exit(ExitCode.FAILED) from problem


def exit_code_of(problem: ComfyError) -> ExitCode:
    """What `comfy-mock run` exits with after an error of the client."""
    from comfy_client import ExecutionInterrupted, PromptRejected, ServerUnreachable, WaitTimeout, WorkflowError

    if isinstance(problem, (WorkflowError, PromptRejected)):
        return ExitCode.BAD_INPUT
    if isinstance(problem, ServerUnreachable):
        return ExitCode.UNREACHABLE
    if isinstance(problem, WaitTimeout):
        return ExitCode.TIMEOUT
    return ExitCode.INTERRUPTED if isinstance(problem, ExecutionInterrupted) else ExitCode.FAILED


def _client(server: str) -> Client:
    import httpx

    from comfy_client import Client

    try:
        return Client(server)
    except (ValueError, httpx.InvalidURL) as problem:
        raise typer.BadParameter(str(problem), param_hint="--server") from problem


def _load(source: str) -> Workflow:
    from comfy_client import Workflow

    return Workflow.from_json(sys.stdin.buffer.read()) if source == "-" else Workflow.from_file(source)


def _warn(job: Job) -> None:
    """Tell of outputs that will not run, where others do (protocol 3.4)."""
    for node_id, errors in job.node_errors.items():
        for reason in errors.errors:
            typer.echo(
                f"comfy-mock: outputs {', '.join(errors.dependent_outputs)} will not run: node {node_id} "
                f"({errors.class_type}): {reason.message}: {reason.details}",
                err=True,
            )


def _follow(job: Job, workflow: Workflow, timeout: float | None, *, quiet: bool) -> Result:
    console = Console(stderr=True, quiet=quiet, highlight=False)
    with display_for(console, {node.id: node.title for node in workflow}) as display:
        display.show(job.progress())
        job.on_progress(display.show)
        return job.result(timeout)


@contextlib.contextmanager
def _cancelling(job: Job) -> Iterator[None]:
    """Cancel the job on the server when Ctrl+C ends what is inside."""
    try:
        yield
    except KeyboardInterrupt:
        if job.cancel():
            typer.echo(f"comfy-mock: cancelled prompt {job.prompt_id}", err=True)
        raise


def _save(result: Result, folder: Path) -> Iterator[Path]:
    for kind in ("output", "temp"):
        files = [output for output in result.files if output.file.type == kind]
        if files:
            folder.mkdir(parents=True, exist_ok=True)
            for output in files:
                yield output.save(folder)
            return
