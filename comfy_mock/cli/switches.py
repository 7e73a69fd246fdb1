"""The switches of `comfy-mock serve`: their names, values and help, as types for typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Option

from comfy_mock.cli import arguments

Host = Annotated[str, Option("--host", "--listen", metavar="ADDRESS", help="Where to listen; --listen alone: 0.0.0.0.")]
Port = Annotated[int, Option(min=0, max=65535, metavar="PORT", help="0 takes a free one.")]


def _fake(*names: str, help: str, **more: Any) -> Any:  # noqa: A002 - typer's word
    return Option(*names, help=help, rich_help_panel="What only a fake has", **more)


Speed = Annotated[
    float,
    _fake(
        metavar="FACTOR",
        callback=arguments.speed,
        help="How many times as fast as on a real server a prompt runs.",
    ),
]
Nodes = Annotated[
    str | None,
    _fake("--catalogue", metavar="FILE|URL", help="Have the node classes and the models of this /object_info instead."),
]
MoreNodes = Annotated[
    list[str] | None,
    _fake("--add-nodes", metavar="FILE|URL", help="Have the node classes of this /object_info too. Repeatable."),
]
Models = Annotated[
    list[str] | None,
    _fake(
        "--model",
        metavar="FOLDER=NAME",
        help="Have this model, and no others than those so named; FOLDER= names none. Repeatable.",
    ),
]
AcceptAnyModel = Annotated[bool, _fake("--accept-any-model", help="Let prompts name any model file.")]
AcceptAnyNode = Annotated[bool, _fake("--accept-any-node", help="Let prompts have nodes of any class.")]
Script = Annotated[
    Path | None,
    _fake(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Do what this scenario file says, YAML or JSON (docs/scripts.md).",
    ),
]
Replays = Annotated[
    list[Path] | None,
    _fake(
        "--replay",
        metavar="RUN.har",
        exists=True,
        dir_okay=False,
        help="Answer as this recording, and nothing else; at once, or with --speed as recorded. Repeatable.",
    ),
]
Control = Annotated[bool, _fake("--control", help="Let programs on this machine drive it by HTTP (docs/control.md).")]
ControlToken = Annotated[str | None, _fake(metavar="TOKEN", help="--control for those who have this, from anywhere.")]
Seed = Annotated[int, _fake(metavar="N", help="The seed of what a server draws at random: ids, letters in file names.")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], _fake(help="What to log on stderr.")]
Quiet = Annotated[bool, _fake("--quiet", help="Print the URL and errors only.")]


def _comfyui(*names: str, help: str, **more: Any) -> Any:  # noqa: A002 - typer's word
    return Option(*names, help=help, rich_help_panel="ComfyUI's own switches", **more)


Storage = Annotated[
    Path | None, _comfyui("--base-directory", "--storage", metavar="DIR", help="Keep all files here, not in memory.")
]
OutputDirectory = Annotated[Path | None, _comfyui(metavar="DIR", help="Keep the outputs here.")]
InputDirectory = Annotated[Path | None, _comfyui(metavar="DIR", help="Keep the inputs here.")]
TempDirectory = Annotated[Path | None, _comfyui(metavar="DIR", help="Keep the previewed files here.")]
UserDirectory = Annotated[Path | None, _comfyui(metavar="DIR", help="Keep settings and user data here.")]
ModelsDirectory = Annotated[Path | None, _comfyui(metavar="DIR", help="Have the models in the folders below this too.")]
PreviewMethod = Annotated[
    Literal["none", "auto", "latent2rgb", "taesd"], _comfyui(help="Whether samplers send previews.")
]
PreviewSize = Annotated[int, _comfyui(min=1, metavar="PIXELS", help="The longer side of their previews.")]
CacheClassic = Annotated[bool, _comfyui("--cache-classic", help="Drop old results when a prompt starts.")]
CacheLru = Annotated[int, _comfyui(min=0, metavar="N", help="Keep the N results used last; 0: the default cache.")]
CacheNone = Annotated[bool, _comfyui("--cache-none", help="Keep no results.")]
CacheRam = Annotated[float | None, _comfyui(metavar="[GB]", help="The default cache, whatever the number.")]
HighRam = Annotated[bool, _comfyui("--high-ram", help="Like --cache-classic.")]
EnableCorsHeader = Annotated[
    str | None, _comfyui(metavar="[ORIGIN]", help="Let pages of this origin in; without ORIGIN, of any.")
]
EnableCompressResponseBody = Annotated[bool, _comfyui("--enable-compress-response-body", help="Compress answers.")]
MaxUploadSize = Annotated[float, _comfyui(metavar="MB", help="The largest request body; above 0.")]
MultiUser = Annotated[bool, _comfyui("--multi-user", help="Keep settings and user data per user.")]
DisableMetadata = Annotated[bool, _comfyui("--disable-metadata", help="Write no prompt into saved files.")]
DisableApiNodes = Annotated[bool, _comfyui("--disable-api-nodes", help="Forbid pages to reach other hosts.")]
FeatureFlags = Annotated[
    list[str] | None, _comfyui("--feature-flag", metavar="KEY[=VALUE]", help="Add to /features. Repeatable.")
]
DefaultHashingFunction = Annotated[
    Literal["md5", "sha1", "sha256", "sha512"], _comfyui(help="Accepted; changes nothing that can be seen.")
]
