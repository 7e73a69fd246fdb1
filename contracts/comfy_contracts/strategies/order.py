"""In which order a prompt's nodes have their turn, and which of them are the same (protocol 5.3, 5.4, 5.13).

Written from the protocol for event traces; the fake has an order of its own, and each is checked against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Nodes = Mapping[str, Mapping[str, Any]]


def links(node: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(input name, source id, slot) of a node's links, in the order of its inputs."""
    for name, value in node["inputs"].items():
        if _is_link(value):
            yield name, value[0], value[1]


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) in (int, float)


def cache_key(nodes: Nodes, node_id: str, has_own_id: Callable[[str], bool]) -> str:
    """What two nodes have in common that are computed once: class, constants and ancestors.

    `has_own_id` says of a node whether its id counts as well.
    """
    ancestors: dict[str, int] = {}

    def enter(current: str) -> None:
        for _name, source, _slot in sorted(links(nodes[current]), key=lambda link: link[0]):
            if source not in ancestors:
                ancestors[source] = len(ancestors)
                enter(source)

    def signature(current: str) -> list[Any]:
        node = nodes[current]
        parts: list[Any] = [node["class_type"], current if has_own_id(current) else None]
        for name, value in sorted(node["inputs"].items()):
            parts.append([name, "link", ancestors[value[0]], value[1]] if _is_link(value) else [name, repr(value)])
        return parts

    enter(node_id)
    return repr([signature(each) for each in (node_id, *ancestors)])


class Pending:
    """The nodes of a run that are still to have their turn.

    `is_cached` says whether a node's result is there already, `goes_first` whether a node is an output or asynchronous,
    `is_lazy` whether an input of a node is lazy.
    """

    def __init__(
        self,
        nodes: Nodes,
        *,
        is_cached: Callable[[str], bool],
        is_output: Callable[[str], bool],
        goes_first: Callable[[str], bool],
        is_lazy: Callable[[str, str], bool],
    ) -> None:
        self._nodes = nodes
        self._is_cached, self._is_output, self._goes_first, self._is_lazy = is_cached, is_output, goes_first, is_lazy
        self._blocked_by: dict[str, set[str]] = {}
        self._consumers: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._blocked_by)

    def add(self, node_id: str) -> None:
        """A node is needed, and so is all upstream of it that is not cached."""
        stack, edges = [node_id], []
        while stack:
            current = stack.pop()
            if current in self._blocked_by:
                continue
            self._blocked_by[current] = set()
            self._consumers[current] = []
            for name, source, _slot in links(self._nodes[current]):
                if not self._is_lazy(current, name):
                    if not self._is_cached(source):
                        stack.append(source)
                    edges.append((source, current))
        for source, consumer in edges:
            self.block(source, consumer)

    def block(self, source: str, consumer: str) -> None:
        """A pending node waits for another one, unless that is cached."""
        if not self._is_cached(source) and source not in self._blocked_by[consumer]:
            self._blocked_by[consumer].add(source)
            self._consumers[source].append(consumer)

    def pick(self) -> str:
        """Whose turn it is."""
        ready = [node_id for node_id, blockers in self._blocked_by.items() if not blockers]
        rules: tuple[Callable[[str], bool], ...] = (
            self._goes_first,
            lambda node_id: any(map(self._is_output, self._consumers[node_id])),
            lambda node_id: any(
                self._is_output(second) for first in self._consumers[node_id] for second in self._consumers[first]
            ),
        )
        for rule in rules:
            for node_id in ready:
                if rule(node_id):
                    return node_id
        return ready[0]

    def done(self, node_id: str) -> None:
        """A node had its last turn."""
        del self._blocked_by[node_id]
        for consumer in self._consumers.pop(node_id):
            self._blocked_by[consumer].discard(node_id)
