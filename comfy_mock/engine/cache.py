"""The result cache: the key of a node, and what is kept from one prompt to the next (protocol 5.13, 5.14)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from comfy_mock.engine.graph import is_link
from comfy_mock.engine.options import CacheMode
from comfy_mock.engine.order import PromptGraph


class Key:
    """The signature of a node and those of its ancestors. It may be long, so its hash is computed once."""

    __slots__ = ("_hash", "_signatures")

    def __init__(self, signatures: tuple[Any, ...]) -> None:
        self._signatures, self._hash = signatures, hash(signatures)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self._hash == other._hash and self._signatures == other._signatures

    def __hash__(self) -> int:
        return self._hash


@dataclass(slots=True)
class Result:
    """What a node left: per output the list of its values, its ui if any, and the meta that goes with the ui."""

    outputs: list[list[Any]]
    ui: dict[str, Any] | None = None
    meta: dict[str, Any] = field(default_factory=dict)


class _EqualsNothing:
    """Stands for NaN and for values without a hash: a key that has one is never found again."""


def _hashable(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return _EqualsNothing()
    if value is None or isinstance(value, (int, float, str, bool, bytes)):
        return value
    if isinstance(value, Mapping):
        return frozenset((_hashable(key), _hashable(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(item) for item in value)
    return _EqualsNothing()


@dataclass(frozen=True, slots=True)
class _Node:
    """What is the same of a node in all keys: its class, change value and constants, and its links in order of name."""

    own: tuple[Any, ...]
    links: list[tuple[str, str, Any]]


class KeyMaker:
    """Computes cache keys over one graph.

    `change_value` gives a node's change value (False without a change function), `wants_id` says whether the id of a
    node is part of its key.
    """

    def __init__(self, graph: PromptGraph, change_value: Callable[[str], Any], wants_id: Callable[[str], bool]) -> None:
        self._graph, self._change_value, self._wants_id = graph, change_value, wants_id
        self._known: dict[str, _Node] = {}

    def key(self, node_id: str) -> Key:
        """The node's signature followed by those of its ancestors, in order of first meeting."""
        ancestors = self._ancestors(node_id)
        index = {ancestor: place for place, ancestor in enumerate(ancestors)}
        return Key(
            tuple(
                (node.own, tuple((name, index[source], slot) for name, source, slot in node.links))
                for node in map(self._node, (node_id, *ancestors))
            )
        )

    def _node(self, node_id: str) -> _Node:
        known = self._known.get(node_id)
        if known is None:
            known = self._known[node_id] = self._look_at(node_id)
        return known

    def _look_at(self, node_id: str) -> _Node:
        if node_id not in self._graph:
            return _Node(("missing", node_id), [])
        node = self._graph.node(node_id)
        inputs = node.get("inputs")
        own: list[Any] = [node.get("class_type"), _hashable(self._change_value(node_id))]
        if self._wants_id(node_id):
            own.append(node_id)
        links = []
        for name, value in sorted(inputs.items()) if isinstance(inputs, dict) else ():
            if is_link(value):
                links.append((name, value[0], value[1]))
            else:
                own.append((name, _hashable(value)))
        return _Node(tuple(own), links)

    def _sources(self, node_id: str) -> Iterator[str]:
        return (source for _name, source, _slot in self._node(node_id).links)

    def _ancestors(self, node_id: str) -> list[str]:
        """Depth-first, each node entered right after it is first met; a stack, as prompts can be long chains."""
        met: dict[str, None] = {}
        stack = [self._sources(node_id)]
        while stack:
            source = next(stack[-1], None)
            if source is None:
                stack.pop()
            elif source not in met:
                met[source] = None
                stack.append(self._sources(source))
        return list(met)


class ResultCache:
    """Results by key, in one of the server's cache modes."""

    def __init__(self, mode: CacheMode = "default", size_max: int = 0) -> None:
        self.mode, self._size_max = mode, size_max
        self._results: dict[Key, Result] = {}
        self._keys: dict[str, Key] = {}
        self._generation = 0
        self._oldest_generation = 0
        self._used: dict[Key, int] = {}
        self._may_have_idle = False

    def begin(self, keys: Mapping[str, Key]) -> None:
        """A prompt starts: these are the keys of its nodes."""
        self._keys = dict(keys)
        self._generation += 1
        self._may_have_idle = True
        if self.mode == "classic":
            self._evict_idle()
        elif self.mode == "lru":
            for key in self._keys.values():
                if key in self._results:
                    self._used[key] = self._generation
            self._evict_oldest()

    def add_keys(self, keys: Mapping[str, Key]) -> None:
        """An expansion added nodes to the running prompt."""
        self._keys.update(keys)

    def get(self, node_id: str) -> Result | None:
        """The result of a node of the running prompt, None where there is none."""
        key = self._keys.get(node_id)
        if key is None:
            return None
        result = self._results.get(key)
        if result is not None and self.mode == "lru":
            self._used[key] = self._generation
        return result

    def put(self, node_id: str, result: Result) -> None:
        """Keep the result of a node of the running prompt."""
        if self.mode == "none":
            return
        key = self._keys[node_id]
        self._results[key] = result
        if self.mode == "lru":
            self._used[key] = self._generation

    def turn_done(self) -> None:
        """A turn that did not fail is over: the default mode now drops what is not this prompt's."""
        if self.mode == "default" and self._may_have_idle:
            self._evict_idle()

    def clear(self) -> None:
        """Forget everything (`POST /free`, protocol 4.5)."""
        self._results.clear()
        self._used.clear()

    def ids(self, node_ids: Iterable[str]) -> list[str]:
        """Those of the ids whose result is here."""
        return [node_id for node_id in node_ids if self._keys.get(node_id) in self._results]

    def _evict_idle(self) -> None:
        wanted = set(self._keys.values())
        for key in [key for key in self._results if key not in wanted]:
            del self._results[key]
        self._may_have_idle = False

    def _evict_oldest(self) -> None:
        while len(self._results) > self._size_max and self._oldest_generation < self._generation:
            self._oldest_generation += 1
            for key in [key for key in self._results if self._used[key] < self._oldest_generation]:
                del self._results[key]
                del self._used[key]
