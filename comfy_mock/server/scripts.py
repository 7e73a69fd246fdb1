"""The script of a server: from what its user gives to a `Script` that is right for it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union

from comfy_contracts.catalogue import Catalogue, NodeDefinition
from comfy_contracts.profiles import Profile
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.options import Options
from comfy_mock.engine.script.checks import check, require
from comfy_mock.engine.script.model import Script
from comfy_mock.engine.script.problems import Problem
from comfy_mock.engine.script.reading import read_data
from comfy_mock.server.script_files import load_script

ScriptSource = Union[Script, str, Path, Mapping[str, Any], None]
"""A script, the path of a scenario file, or its data; None for a sunny day."""


def script_for(source: ScriptSource, options: Options, catalogue: Catalogue | None = None) -> Script:
    """The script that a server with these options and node classes (None: ComfyUI's own) is to follow.

    Raises `ScriptError`, a `ValueError`, with everything that is wrong with it, and `OSError` where its file cannot be
    read.
    """
    if source is None:
        return Script()
    script = _script(source)
    require(_problems(script, Catalogue.packaged() if catalogue is None else catalogue, options))
    return script


def check_rules(engine: Engine, script: Script) -> None:
    """Raise `ScriptError` where something is wrong with rules for a running server, with the classes it has by now."""
    require(_problems(script, _Classes(engine), engine.options))


@functools.cache
def known_routes(version: str) -> tuple[str, ...]:
    """The routes of a version of ComfyUI, such as `GET /history/{prompt_id}`."""
    from comfy_mock.server.app import ROUTES

    profile = Profile.of(version)
    endpoints = (endpoint for module in ROUTES for endpoint in module.ENDPOINTS)
    return (
        "GET /ws",
        *(
            f"{endpoint.method} {endpoint.path}"
            for endpoint in endpoints
            if endpoint.fact is None or profile.has(endpoint.fact)
        ),
    )


def _script(source: ScriptSource) -> Script:
    if isinstance(source, Script):
        return source
    if isinstance(source, Mapping):
        return read_data(source, read_file=lambda name: Path(name).read_bytes())
    if isinstance(source, (str, Path)):
        return load_script(source)
    raise TypeError(f"a script is a Script, the path of a scenario file or its data, not {type(source).__name__}")


def _problems(script: Script, classes: Mapping[str, NodeDefinition], options: Options) -> list[Problem]:
    return check(script, classes, accept_any_node=options.accept_any_node, routes=known_routes(options.version))


class _Classes(Mapping[str, NodeDefinition]):
    """The classes of an engine, with those that were added to it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getitem__(self, class_type: str) -> NodeDefinition:
        definition = self._engine.definition(class_type)
        if definition is None:
            raise KeyError(class_type)
        return definition

    def __iter__(self) -> Iterator[str]:
        return iter(self._engine.object_info.entries())

    def __len__(self) -> int:
        return len(self._engine.object_info)
