"""The script of a server: from what its user gives to a `Script` that is right for it."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union

from comfy_contracts.catalogue import Catalogue, NodeDefinition
from comfy_contracts.profiles import Profile
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.options import Options
from comfy_mock.engine.script.checks import check, checked
from comfy_mock.engine.script.model import Script
from comfy_mock.engine.script.problems import Problem
from comfy_mock.engine.script.reading import read_data
from comfy_mock.server.script_files import load_script_again

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
    known = _CHECKED.find(script, options, catalogue)
    if known is not None:
        return known
    problems = _problems(script, Catalogue.packaged() if catalogue is None else catalogue, options)
    return _CHECKED.keep(script, options, catalogue, checked(script, problems))


def checked_rules(engine: Engine, script: Script) -> Script:
    """A copy of a script for a running server, which has these classes by now.

    Raises `ScriptError` where something is wrong with it.
    """
    return checked(script, _problems(script, _Classes(engine), engine.options))


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
        return load_script_again(source)
    raise TypeError(f"a script is a Script, the path of a scenario file or its data, not {type(source).__name__}")


def _problems(script: Script, classes: Mapping[str, NodeDefinition], options: Options) -> list[Problem]:
    return check(script, classes, accept_any_node=options.accept_any_node, routes=known_routes(options.version))


class _Checked:
    """The scripts that were found right last: a suite gives the same ones again and again.

    A script is known again by itself, and by being equal to the copy that was made of it, for it may have been changed.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, int, bool, str], tuple[Script, Catalogue | None, Script]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, script: Script, options: Options, catalogue: Catalogue | None) -> Script | None:
        """The copy of a script that is right for a server with these options and this catalogue."""
        with self._lock:
            found = self._kept.get(self._key(script, options, catalogue))
        return found[2] if found is not None and found[2] == script else None

    def keep(self, script: Script, options: Options, catalogue: Catalogue | None, copied: Script) -> Script:
        """Remember a script that is right, and return its copy."""
        with self._lock:
            # with what the ids in the key are of, so that they stay theirs
            self._kept[self._key(script, options, catalogue)] = (script, catalogue, copied)
            if len(self._kept) > _CHECKED_MAX:
                self._kept.popitem(last=False)
        return copied

    @staticmethod
    def _key(script: Script, options: Options, catalogue: Catalogue | None) -> tuple[int, int, bool, str]:
        return id(script), id(catalogue), options.accept_any_node, options.version


_CHECKED_MAX = 32
_CHECKED = _Checked()


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
