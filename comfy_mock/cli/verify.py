"""`comfy-mock verify`: does a server, real or fake, behave as the recorded one did?"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from comfy_mock.cli import verify_display
from comfy_mock.cli.recording_files import recordings_at

if TYPE_CHECKING:
    from comfy_contracts.har import Har
    from comfy_contracts.report import Outcome, Report
    from comfy_contracts.verify import Verifier

VERSION = "0.33.0"
"""The ComfyUI version whose recordings are packaged."""

_EXIT_NOT_TRIED = 2


def verify(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL", help="The server to verify. Without it: for each contract a fresh fake, started as recorded."
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE|DIR", help="Recordings (.har, .har.gz) instead of the packaged ones. Repeatable."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Try these contracts only; * stands for anything. Repeatable."),
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML there.")] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page there that needs nothing else.")
    ] = None,
    restart: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="What makes the server fresh again: run before each contract."),
    ] = None,
    any_version: Annotated[
        bool, typer.Option("--any-version", help="Try a server that is older than the recorded one, too.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, metavar="SECONDS", help="The longest wait for an answer, or for a step's messages."),
    ] = 60.0,
    differences: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show so many differences of each contract.")
    ] = 10,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every rule of every contract.")] = False,
) -> None:
    """Drive a server with recorded contracts, and say of each: equal, differs, or cannot be tried here, and why.

    A contract that a server cannot meet (no such model, other switches, not fresh) leaves it untouched; one that is
    tried runs prompts there, uploads files and changes settings. So give it a server of its own, and a --restart
    command that empties its folders too: most contracts need a server that is fresh.

    Exit codes: 0 all that could be tried is equal; 1 something differs; 2 nothing could be tried, or the command is
    wrong.
    """
    from comfy_contracts.verify import ServerUnreachable

    contracts = _contracts(against or [], only or [])
    evidence = ", ".join(map(str, against)) if against else f"the recordings of ComfyUI {VERSION}"
    try:
        with verify_display.progress(len(contracts)) as done:
            if url is None:
                outcomes = [done(asyncio.run(_on_a_fresh_fake(*contract, timeout))) for contract in contracts]
            else:
                outcomes = asyncio.run(_on_a_server(url, contracts, restart, timeout, any_version, done))
    except ServerUnreachable as problem:
        _fail(str(problem))
    except KeyboardInterrupt:
        raise typer.Exit(_EXIT_NOT_TRIED) from None
    report = _report(url, evidence, outcomes)
    verify_display.show(report, differences, verbose=verbose)
    _write(report, junit, html)
    raise typer.Exit(report.exit_code)


def _contracts(sources: list[Path], only: list[str]) -> list[tuple[str, Har]]:
    from comfy_contracts.har import HarError, Readable, load, packaged_recordings

    try:
        given: dict[str, Readable] = {name: file for source in sources for name, file in recordings_at(source).items()}
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--against") from problem
    files = given or packaged_recordings(VERSION)
    names = [name for name in files if not only or any(fnmatch.fnmatchcase(name, pattern) for pattern in only)]
    if not names:
        known = ", ".join(files) or "none"
        raise typer.BadParameter(f"no contract has such a name; there are: {known}", param_hint="--only")
    try:
        return [(name, load(files[name])) for name in names]
    except (HarError, OSError) as problem:
        raise typer.BadParameter(str(problem), param_hint="--against") from problem


async def _on_a_fresh_fake(name: str, har: Har, timeout: float) -> Outcome:
    from comfy_contracts.har import of_server
    from comfy_contracts.verify import Verifier
    from comfy_mock.cli.fresh_fakes import fake_for

    async with fake_for(of_server(har)) as server:
        return await Verifier(server.url, timeout=timeout).verify(name, har)


async def _on_a_server(
    url: str,
    contracts: list[tuple[str, Har]],
    restart: str | None,
    timeout: float,
    any_version: bool,
    done: Callable[[Outcome], Outcome],
) -> list[Outcome]:
    from comfy_contracts.verify import Verifier, in_gentle_order

    freshen = _by_command(restart, url) if restart else await _by_control(url)
    if freshen is None:
        contracts = in_gentle_order(contracts)
    verifier = Verifier(url, freshen=freshen, timeout=timeout, any_version=any_version)
    outcomes: list[Outcome] = []
    for name, har in contracts:
        outcomes.append(done(await _outcome(verifier, name, har, is_first=not outcomes)))
    return sorted(outcomes, key=lambda outcome: outcome.name)


async def _outcome(verifier: Verifier, name: str, har: Har, *, is_first: bool) -> Outcome:
    from comfy_contracts.report import not_tried
    from comfy_contracts.verify import ServerUnreachable

    try:
        return await verifier.verify(name, har)
    except ServerUnreachable as problem:
        if is_first:
            raise
        # One contract may have brought the server down: what is known of the others is still worth a report.
        return not_tried(name, "", [str(problem)])


def _by_command(command: str, url: str) -> Callable[[], Awaitable[None]]:
    from comfy_contracts.verify import ServerUnreachable, wait_until_it_answers

    async def freshen() -> None:
        process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.DEVNULL)
        code = await process.wait()
        if code:
            raise ServerUnreachable(f"the command of --restart failed with exit code {code}: {command}")
        await wait_until_it_answers(url)

    return freshen


async def _by_control(url: str) -> Callable[[], Awaitable[None]] | None:
    """What resets a fake that takes orders; None where the server is real, or takes none."""
    import httpx

    from comfy_contracts.verify import ServerUnreachable
    from comfy_mock.engine.script.routes import CONTROL_PREFIX

    orders = f"{url.rstrip('/')}{CONTROL_PREFIX}"
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            if (await http.get(f"{orders}/state")).status_code != 200:
                return None
    except httpx.HTTPError:
        return None

    async def freshen() -> None:
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                (await http.post(f"{orders}/reset")).raise_for_status()
        except httpx.HTTPError as problem:
            raise ServerUnreachable(f"{orders}/reset does not answer: {problem}") from problem

    return freshen


def _report(url: str | None, evidence: str, outcomes: list[Outcome]) -> Report:
    from comfy_contracts.report import Report

    server = url or "comfy-mock itself, a fresh server for each contract"
    return Report(server, evidence, tuple(outcomes))


def _write(report: Report, junit: Path | None, html: Path | None) -> None:
    from comfy_contracts import report_html, report_junit

    try:
        if junit is not None:
            junit.write_text(report_junit.junit(report), encoding="utf-8")
        if html is not None:
            html.write_text(report_html.html(report), encoding="utf-8")
    except OSError as problem:
        _fail(f"cannot write {problem.filename}: {problem.strerror or problem}")


def _fail(problem: str) -> NoReturn:
    typer.echo(f"comfy-mock: {problem}", err=True)
    raise typer.Exit(_EXIT_NOT_TRIED)
