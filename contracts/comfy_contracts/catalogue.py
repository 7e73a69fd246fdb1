"""The node catalogue: what `GET /object_info` says of every class (protocol 2.2)."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from comfy_contracts import jsontext

DEFAULT_VERSION = "0.33.0"

_V1_KEYS = (
    *("input", "input_order", "is_input_list", "output", "output_is_list", "output_name"),
    *("name", "display_name", "description", "python_module", "category", "output_node", "has_intermediate_output"),
    *("output_tooltips", "deprecated", "experimental", "dev_only", "api_node"),
    *("search_aliases", "essentials_category"),
)
_V1_OPTIONAL = {"output_tooltips", "deprecated", "experimental", "dev_only", "api_node", "essentials_category"}
_V3_KEYS = (
    *("input", "input_order", "is_input_list", "output", "output_is_list", "output_name"),
    *("output_tooltips", "output_matchtypes", "name", "display_name", "description", "python_module", "category"),
    *("output_node", "deprecated", "experimental", "dev_only", "api_node", "price_badge"),
    *("search_aliases", "essentials_category", "has_intermediate_output"),
)


class CatalogueError(ValueError):
    """A catalogue cannot be read: no such file or version, not JSON, or not of the form of `/object_info`."""


class NodeDefinition:
    """One class of nodes, read from its entry. The entry is shared, never copied: treat it as frozen."""

    def __init__(self, class_type: str, entry: Mapping[str, Any]) -> None:
        self.class_type = class_type
        self.entry = entry

    @cached_property
    def is_v3(self) -> bool:
        """Declared by the newer schema; several behaviours differ by that (protocol 2.2)."""
        return "output_matchtypes" in self.entry

    @cached_property
    def required(self) -> dict[str, Any]:
        """Input name to `[type]` or `[type, options]`."""
        return dict(self.entry.get("input", {}).get("required", {}))

    @cached_property
    def optional(self) -> dict[str, Any]:
        return dict(self.entry.get("input", {}).get("optional", {}))

    @cached_property
    def hidden(self) -> dict[str, str]:
        """Hidden input name to its kind: `PROMPT`, `EXTRA_PNGINFO`, `UNIQUE_ID` …"""
        raw = self.entry.get("input", {}).get("hidden", {})
        return {name: kind if isinstance(kind, str) else kind[0] for name, kind in raw.items()}

    @cached_property
    def outputs(self) -> list[Any]:
        """The types of the outputs: strings, or lists of choices."""
        return list(self.entry.get("output") or [])

    @cached_property
    def output_is_list(self) -> list[bool]:
        return list(self.entry.get("output_is_list") or [False] * len(self.outputs))

    @property
    def is_input_list(self) -> bool:
        return bool(self.entry.get("is_input_list"))

    @property
    def output_node(self) -> bool:
        return bool(self.entry.get("output_node"))

    @property
    def has_intermediate_output(self) -> bool:
        return bool(self.entry.get("has_intermediate_output"))

    @property
    def api_node(self) -> bool:
        return bool(self.entry.get("api_node"))

    @property
    def python_module(self) -> str:
        return str(self.entry.get("python_module", "nodes"))


class Catalogue(Mapping[str, NodeDefinition]):
    """The classes that a server knows, in its order of registration.

    `entries` has the form of the answer to `GET /object_info`. Raises `CatalogueError` where an entry is not one.
    """

    def __init__(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        for class_type, entry in entries.items():
            _check_entry(class_type, entry)
        self._definitions = {name: NodeDefinition(name, entry) for name, entry in entries.items()}

    def __getitem__(self, class_type: str) -> NodeDefinition:
        return self._definitions[class_type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._definitions)

    def __len__(self) -> int:
        return len(self._definitions)

    @property
    def entries(self) -> dict[str, Mapping[str, Any]]:
        """The catalogue in the form of `/object_info`. The entries are shared."""
        return {name: definition.entry for name, definition in self._definitions.items()}

    def merged(self, entries: Mapping[str, Mapping[str, Any]]) -> Catalogue:
        """A catalogue with these classes too. One that is known already is replaced, and keeps its place."""
        return Catalogue({**self.entries, **entries})

    @classmethod
    def load(cls, path: str | Path) -> Catalogue:
        """The catalogue in a file: the saved answer of `GET /object_info`, as JSON or gzipped JSON.

        Raises `CatalogueError` where the file cannot be read or holds something else.
        """
        try:
            content = Path(path).read_bytes()
            entries = jsontext.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
        except OSError as error:
            raise CatalogueError(f"cannot read the catalogue {path}: {error.strerror or error}") from error
        except (ValueError, EOFError) as error:
            raise CatalogueError(f"the catalogue {path} is not JSON: {error}") from error
        if not isinstance(entries, dict):
            raise CatalogueError(f"the catalogue {path} must be an object of classes, as GET /object_info answers")
        try:
            return cls(entries)
        except CatalogueError as error:
            raise CatalogueError(f"the catalogue {path} is wrong: {error}") from error

    @staticmethod
    def packaged(version: str = DEFAULT_VERSION) -> Catalogue:
        """The catalogue that ships with this package for a ComfyUI version.

        Raises `CatalogueError` where there is none.
        """
        return _packaged(version)


def complete_entry(entry: Mapping[str, Any], class_type: str | None = None) -> dict[str, Any]:
    """An entry with every key that the real server writes, in its order; what is missing becomes empty.

    The packaged data leave out prose, and users may describe a class by its inputs and outputs alone. Keys that no
    ComfyUI entry has are kept, at the end. `class_type` is the name for an entry that has none.
    """
    is_v3 = "output_matchtypes" in entry
    missing = _missing_values(entry, class_type, is_v3=is_v3)
    keys = _V3_KEYS if is_v3 else _V1_KEYS
    complete = {key: entry[key] if key in entry else missing[key] for key in keys if key in entry or key in missing}
    return {**complete, **entry}


def _missing_values(entry: Mapping[str, Any], class_type: str | None, *, is_v3: bool) -> dict[str, Any]:
    """What the keys stand at when a class says nothing of them."""
    inputs = entry.get("input", {"required": {}})
    outputs = entry.get("output") or []
    name = entry.get("name", class_type or "")
    empty: dict[str, Any] = {
        "input": inputs,
        "input_order": {kind: list(names) for kind, names in inputs.items()},
        "is_input_list": False,
        "output": [],
        "output_is_list": [False] * len(outputs),
        "output_name": list(outputs),
        "output_tooltips": [None] * len(outputs),
        "name": name,
        "display_name": name,
        "description": "",
        "python_module": "nodes",
        "category": "",
        "output_node": False,
        "has_intermediate_output": False,
        "deprecated": False,
        "experimental": False,
        "dev_only": False,
        "api_node": False,
        "price_badge": None,
        "search_aliases": None if is_v3 else [],
        "essentials_category": None,
    }
    return empty if is_v3 else {key: value for key, value in empty.items() if key not in _V1_OPTIONAL}


def _check_entry(class_type: str, entry: Any) -> None:
    if not isinstance(entry, Mapping):
        raise CatalogueError(f"class {class_type!r} must be an object, not {type(entry).__name__}")
    inputs = entry.get("input", {})
    if not isinstance(inputs, Mapping) or not all(isinstance(names, Mapping) for names in inputs.values()):
        raise CatalogueError(f"class {class_type!r}: `input` must be an object of objects, such as `required`")
    for kind in ("required", "optional"):
        for name, spec in inputs.get(kind, {}).items():
            if not isinstance(spec, (list, tuple)) or not spec or not isinstance(spec[0], (str, list, tuple)):
                raise CatalogueError(f"class {class_type!r}: input {name!r} must be [type] or [type, options]")
    for name, kind in inputs.get("hidden", {}).items():
        if not isinstance(kind, str) and not (isinstance(kind, (list, tuple)) and kind and isinstance(kind[0], str)):
            raise CatalogueError(f"class {class_type!r}: hidden input {name!r} must be a type or [type]")
    for key in ("output", "output_is_list", "output_name"):
        if not isinstance(entry.get(key) or [], (list, tuple)):
            raise CatalogueError(f"class {class_type!r}: `{key}` must be a list")


@functools.cache
def _packaged(version: str) -> Catalogue:
    data = resources.files("comfy_contracts").joinpath("data")
    try:
        packed = data.joinpath(f"object_info-{version}.json.gz").read_bytes()
    except FileNotFoundError:
        known = sorted(item.name[12:-8] for item in data.iterdir() if item.name.startswith("object_info-"))
        raise CatalogueError(f"no catalogue of ComfyUI {version} is packaged; there is: {', '.join(known)}") from None
    return Catalogue(jsontext.loads(gzip.decompress(packed)))
