"""From words on the command line to values: what typer alone cannot read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import typer

from comfy_mock.engine.options import CacheMode

BARE_SWITCHES: Mapping[str, str] = {
    "--listen": "0.0.0.0",  # noqa: S104 - what the user asks for
    "--enable-cors-header": "*",
    "--cache-ram": "0",
}
"""ComfyUI's switches whose value may be left out, and what they then mean."""


def fill_bare_switches(arguments: Sequence[str]) -> list[str]:
    """`arguments` with the value written out behind every switch of `BARE_SWITCHES` that comes without one.

    As in ComfyUI's own command line, a word that starts with `-` is the next switch and not a value.
    """
    filled = []
    for position, argument in enumerate(arguments):
        after = arguments[position + 1 : position + 2]
        if argument in BARE_SWITCHES and (not after or after[0].startswith("-")):
            filled += [argument, BARE_SWITCHES[argument]]
        else:
            filled.append(argument)
    return filled


def speed(factor: float) -> float:
    """`factor` itself. Raises `typer.BadParameter` unless time can pass that many times as fast."""
    if not 0 < factor < math.inf:
        raise typer.BadParameter(f"speed must be above 0 and finite, for example 4, not {factor:g}")
    return factor


def models(pairs: Iterable[str]) -> dict[str, list[str]] | None:
    """`FOLDER=NAME` words as folder to names; `FOLDER=` names an empty folder. None where there are no words.

    Raises `typer.BadParameter` for a word of another form.
    """
    named: dict[str, list[str]] = {}
    for pair in pairs:
        folder, equals, name = pair.partition("=")
        if not folder or not equals:
            raise typer.BadParameter(
                f"{pair!r} is not of the form FOLDER=NAME, for example checkpoints=model.safetensors",
                param_hint="--model",
            )
        files = named.setdefault(folder, [])
        if name:
            files.append(name)
    return named or None


def feature_flags(pairs: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` words as a mapping; a bare `KEY` is `true` (protocol 2.2).

    Raises `typer.BadParameter` for a word without a key.
    """
    flags = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key:
            raise typer.BadParameter(f"{pair!r} is not of the form KEY or KEY=VALUE", param_hint="--feature-flag")
        flags[key] = value if equals else "true"
    return flags


def cache_mode(*, classic: bool, lru: int, none: bool, ram: bool, high_ram: bool) -> CacheMode:
    """The cache that ComfyUI's switches ask for (protocol 5.13). Raises `typer.BadParameter` where they ask for two."""
    asked: dict[str, CacheMode] = {}
    if classic:
        asked["--cache-classic"] = "classic"
    if lru:
        asked["--cache-lru"] = "lru"
    if none:
        asked["--cache-none"] = "none"
    if ram:
        asked["--cache-ram"] = "default"
    if len(asked) > 1:
        raise typer.BadParameter(f"{' and '.join(asked)} exclude each other: give one of them")
    return next(iter(asked.values()), "classic" if high_ram else "default")
