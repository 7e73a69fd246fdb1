"""The node catalogue: what `GET /object_info` says of every class (protocol 2.2)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import resources
from typing import Any

from comfy_contracts import jsontext

DEFAULT_VERSION = "0.33.0"


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
    """The classes that a server knows, in its order of registration."""

    def __init__(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        self._definitions = {name: NodeDefinition(name, entry) for name, entry in entries.items()}

    def __getitem__(self, class_type: str) -> NodeDefinition:
        return self._definitions[class_type]

    def __iter__(self) -> Iterator[str]:
        return iter(self._definitions)

    def __len__(self) -> int:
        return len(self._definitions)

    @classmethod
    def packaged(cls, version: str = DEFAULT_VERSION) -> Catalogue:
        """The catalogue that ships with this package for a ComfyUI version."""
        name = f"object_info-{version}.json.gz"
        packed = resources.files("comfy_contracts").joinpath("data", name).read_bytes()
        return cls(jsontext.loads(gzip.decompress(packed)))
