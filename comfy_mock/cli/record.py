"""`comfy-mock record`: a proxy in front of a server, and what passes through it as a HAR file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from comfy_contracts.recorder import Recorder

_EXIT_FAILED = 1
_MIB = 1024 * 1024


def record(
    target: Annotated[str, typer.Option("--target", metavar="URL", help="The server to pass everything on to.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The recording; gzipped where the name ends in .gz.")
    ] = Path("recording.har"),
    host: Annotated[str, typer.Option("--host", "--listen", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="0 takes a free one.")] = 8189,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Write the file so often while recording.")
    ] = 10.0,
    max_body: Annotated[
        float, typer.Option(min=0, metavar="MB", help="Keep bodies up to this size; of larger ones their SHA-256.")
    ] = 10.0,
    comment: Annotated[str, typer.Option(metavar="TEXT", help="What the recording shows.")] = "",
    keep_secrets: Annotated[
        bool, typer.Option("--keep-secrets", help="Write the recording unscrubbed: keys, cookies and paths stay in it.")
    ] = False,
) -> None:
    """Record what clients and a ComfyUI server say to each other, HTTP and WebSocket, until Ctrl+C or SIGTERM.

    Let clients, or the browser, talk to the URL that is the first line on stdout. The file is HAR 1.2 with Chrome's
    _webSocketMessages; secrets and the machine's folders are taken out of it.
    """
    try:
        asyncio.run(_record(target, out, host, port, every, int(max_body * _MIB), comment, scrubbed=not keep_secrets))
    except KeyboardInterrupt:
        return
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--target") from problem
    except OSError as problem:
        typer.echo(f"comfy-mock: {problem.strerror or problem}", err=True)
        raise typer.Exit(_EXIT_FAILED) from problem


async def _record(
    target: str, out: Path, host: str, port: int, every: float, limit: int, comment: str, *, scrubbed: bool
) -> None:
    from comfy_contracts.record import RecordingProxy
    from comfy_contracts.recorder import Recorder
    from comfy_contracts.verify import about

    recorder = Recorder(about=await about(target), comment=comment, limit=limit)
    async with RecordingProxy(target, recorder, host=host, port=port) as proxy:
        write(recorder, out, scrubbed=scrubbed)
        typer.echo(proxy.url)
        typer.echo(f"comfy-mock records {target} into {out}. Ctrl+C ends it.", err=True)
        try:
            await _until_a_signal(recorder, out, every, scrubbed=scrubbed)
        finally:
            write(recorder, out, scrubbed=scrubbed)
    typer.echo(f"comfy-mock: {len(recorder.har(time.time()).entries)} entries in {out}", err=True)


async def _until_a_signal(recorder: Recorder, out: Path, every: float, *, scrubbed: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGINT, signal.SIGTERM):
        # Windows has no such handlers; there Ctrl+C cancels this task, and the file is written all the same.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(wanted, stop.set)
    while not stop.is_set():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), every)
        if not stop.is_set():
            await asyncio.to_thread(write, recorder, out, scrubbed=scrubbed)


def write(recorder: Recorder, out: Path, *, scrubbed: bool = True) -> None:
    """Write the recording so far, whole: whoever opens the file never finds half of one."""
    from comfy_contracts.har import save
    from comfy_contracts.scrub import scrub

    har = recorder.har(time.time())
    # The ending decides whether it is gzipped.
    unfinished = out.with_name(f".{os.getpid()}-{out.name}")
    try:
        save(scrub(har) if scrubbed else har, unfinished)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
