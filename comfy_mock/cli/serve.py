"""`comfy-mock serve`: a fake server in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import typer

import comfy_mock
from comfy_mock.cli import arguments
from comfy_mock.cli import switches as s
from comfy_mock.cli.catalogues import catalogue_from, models_offered
from comfy_mock.cli.replay import replay_of, report

if TYPE_CHECKING:
    from comfy_mock.server.network import ComfyMock
    from comfy_mock.server.replay import Replay


logger = logging.getLogger("comfy_mock.cli")


def serve(
    context: typer.Context,
    host: s.Host = "127.0.0.1",
    port: s.Port = 8188,
    speed: s.Speed = 1.0,
    catalogue: s.Nodes = None,
    add_nodes: s.MoreNodes = None,
    model: s.Models = None,
    accept_any_model: s.AcceptAnyModel = False,
    accept_any_node: s.AcceptAnyNode = False,
    script: s.Script = None,
    replay: s.Replays = None,
    control: s.Control = False,
    control_token: s.ControlToken = None,
    seed: s.Seed = 0,
    log_level: s.LogLevel = "warning",
    quiet: s.Quiet = False,
    storage: s.Storage = None,
    output_directory: s.OutputDirectory = None,
    input_directory: s.InputDirectory = None,
    temp_directory: s.TempDirectory = None,
    user_directory: s.UserDirectory = None,
    models_directory: s.ModelsDirectory = None,
    preview_method: s.PreviewMethod = "none",
    preview_size: s.PreviewSize = 512,
    cache_classic: s.CacheClassic = False,
    high_ram: s.HighRam = False,
    cache_lru: s.CacheLru = 0,
    cache_none: s.CacheNone = False,
    cache_ram: s.CacheRam = None,
    enable_cors_header: s.EnableCorsHeader = None,
    enable_compress_response_body: s.EnableCompressResponseBody = False,
    max_upload_size: s.MaxUploadSize = 100,
    multi_user: s.MultiUser = False,
    disable_metadata: s.DisableMetadata = False,
    disable_api_nodes: s.DisableApiNodes = False,
    feature_flag: s.FeatureFlags = None,
    default_hashing_function: s.DefaultHashingFunction = "sha256",
) -> None:
    """Run a fake ComfyUI server until Ctrl+C or SIGTERM. The first line on stdout is its URL.

    Every start is a fresh state: no history, an empty queue, and example.png among the inputs.
    """
    logging.basicConfig(level="ERROR" if quiet else log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    if replay:
        played = replay_of(context, replay, host, port, speed)
        _run(played, f"replays {', '.join(path.name for path in replay)}", quiet=quiet)
        report(played, quiet=quiet)
        return
    folders = {
        "base": storage,
        "output": output_directory,
        "input": input_directory,
        "temp": temp_directory,
        "user": user_directory,
        "models": models_directory,
    }
    nodes = catalogue_from(catalogue, add_nodes or ())
    named = arguments.models(model or ())
    options = {
        "accept_any_model": accept_any_model,
        "accept_any_node": accept_any_node,
        "script": script,
        "control": control or control_token is not None,
        "control_token": control_token,
        "seed": seed,
        "preview_method": preview_method,
        "preview_size": preview_size,
        "cache": arguments.cache_mode(
            classic=cache_classic, lru=cache_lru, none=cache_none, ram=cache_ram is not None, high_ram=high_ram
        ),
        "cache_size": cache_lru,
        "enable_cors_header": enable_cors_header,
        "enable_compress_response_body": enable_compress_response_body,
        "max_upload_size": max_upload_size,
        "multi_user": multi_user,
        "disable_metadata": disable_metadata,
        "disable_api_nodes": disable_api_nodes,
        "default_hashing_function": default_hashing_function,
        "models": named or models_offered(catalogue, nodes),
        "feature_flags": arguments.feature_flags(feature_flag or ()),
        "catalogue": nodes,
        "storage": {name: folder for name, folder in folders.items() if folder is not None} or None,
        "argv": ("main.py", *context.obj[1:]),
    }
    mock = _create(host=host, port=port, clock="real", speed=speed, **options)
    if named and "checkpoints" not in named and not mock.engine.models.names("checkpoints"):
        logger.warning("no checkpoints: name some with --model checkpoints=NAME")
    if not options["control"]:
        mock.journal.records_max = 0  # nobody can ask for them, and a server may run for weeks
    _serve(mock, quiet=quiet)


def _create(**options: Any) -> ComfyMock:
    from comfy_mock.engine.script.problems import ScriptError
    from comfy_mock.server.network import ComfyMock

    try:
        return ComfyMock(**options)
    except ScriptError as problem:  # without a box around it, which would break paths apart
        typer.echo(f"comfy-mock: {problem}", err=True)
        raise typer.Exit(2) from problem
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from problem
    except OSError as problem:
        _fail(problem)


def _serve(mock: ComfyMock, *, quiet: bool) -> None:
    _run(mock, f"plays ComfyUI {mock.engine.options.version}", quiet=quiet)


def _run(server: ComfyMock | Replay, what_it_does: str, *, quiet: bool) -> None:
    def announce() -> None:
        typer.echo(server.url)
        if not quiet:
            typer.echo(f"comfy-mock {comfy_mock.__version__} {what_it_does} there. Ctrl+C ends it.", err=True)

    with _sigterm_as_ctrl_c(), contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(server.serve(announce))
        except comfy_mock.PortTaken as problem:
            _fail(problem)


@contextlib.contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Make SIGTERM a `KeyboardInterrupt` too: uvicorn raises it again when it has shut down."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(problem: OSError) -> NoReturn:
    typer.echo(f"comfy-mock: {problem.strerror or problem}", err=True)
    raise typer.Exit(1)
