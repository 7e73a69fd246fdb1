"""Which node runs next: the pending set of a prompt, what blocks what, and the order of picking (protocol 5.3, 5.4)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from comfy_mock.engine.graph import links_of
from comfy_mock.engine.nodes.api import NodeError


class MissingNode(NodeError):
    """A link names a node that the prompt does not have. The real server's worker thread dies of it (protocol 9)."""

    def __init__(self, node_id: str) -> None:
        super().__init__("comfy_execution.graph.NodeNotFoundError", f"Node {node_id} not found")


@dataclass(slots=True)
class PromptGraph:
    """The nodes of a running prompt: those that were posted and those that expansions added (protocol 5.8)."""

    posted: dict[str, dict[str, Any]]
    ephemeral: dict[str, dict[str, Any]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    displays: dict[str, str] = field(default_factory=dict)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self.posted or node_id in self.ephemeral

    def node(self, node_id: str) -> dict[str, Any]:
        """A node by its id. Raises `MissingNode`."""
        found = self.posted.get(node_id) or self.ephemeral.get(node_id)
        if found is None:
            raise MissingNode(node_id)
        return found

    def add_child(self, node_id: str, node: dict[str, Any], parent: str, display: str) -> None:
        """Take a node of an expansion in; one that is there already is replaced."""
        self.ephemeral[node_id] = node
        self.parents[node_id] = parent
        self.displays[node_id] = display

    def forget_children(self) -> None:
        """Be as it was posted."""
        for mapping in (self.ephemeral, self.parents, self.displays):
            mapping.clear()

    def parent(self, node_id: str) -> str | None:
        """The node whose expansion made this one, None for a posted node."""
        return self.parents.get(node_id)

    def display(self, node_id: str) -> str:
        """The id under which a frontend shows the node."""
        return self.displays.get(node_id, node_id)

    def real(self, node_id: str) -> str:
        """The posted node that this one descends from, itself if it was posted."""
        while node_id in self.parents:
            node_id = self.parents[node_id]
        return node_id

    def ids(self) -> list[str]:
        """All ids, posted ones first."""
        return [*self.posted, *self.ephemeral]


class Schedule:
    """The pending nodes of one run.

    `is_cached` says whether a node's result is in the cache, `is_output` whether its class is an output or runs
    asynchronously or not, `is_lazy` whether an input of a node is lazy.
    """

    def __init__(
        self,
        graph: PromptGraph,
        *,
        is_cached: Callable[[str], bool],
        is_output: Callable[[str], bool],
        is_async: Callable[[str], bool],
        is_lazy: Callable[[str, str], bool],
    ) -> None:
        self._graph = graph
        self._is_cached, self._is_output, self._is_async, self._is_lazy = is_cached, is_output, is_async, is_lazy
        self._blockers: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._next_place = 0
        self._ready: list[tuple[int, str]] = []
        self._consumers: dict[str, dict[str, None]] = {}
        self._linked: dict[str, set[str]] = {}
        self.waiting: set[str] = set()
        """Pending nodes that an asynchronous call keeps from being picked."""

    def __bool__(self) -> bool:
        return bool(self._blockers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._blockers)

    def consumers(self, node_id: str) -> list[str]:
        """The pending nodes that wait for a pending node."""
        return list(self._consumers[node_id])

    def add(self, node_id: str) -> None:
        """Make a node pending, with all that it needs and that is not cached. Raises `MissingNode`."""
        stack, edges = [node_id], []
        while stack:
            current = stack.pop()
            if current in self._blockers:
                continue
            self._blockers[current] = 0
            self._consumers[current] = {}
            self._places[current] = self._next_place
            self._ready.append((self._next_place, current))
            self._next_place += 1
            for name, source, _slot in links_of(self._graph.node(current)):
                if self._is_lazy(current, name):
                    continue
                if source not in self._graph:
                    raise MissingNode(source)
                if not self._is_cached(source):
                    stack.append(source)
                edges.append((source, current))
        for source, consumer in edges:
            self._connect(source, consumer)

    def need(self, source: str, consumer: str) -> None:
        """A pending node asks for a source that it did not need before (protocol 5.7). Raises `MissingNode`."""
        if source not in self._graph:
            raise MissingNode(source)
        if not self._is_cached(source):
            self.add(source)
        self._connect(source, consumer)

    def has(self, source: str, consumer: str) -> bool:
        """Whether the source has been made available to the consumer."""
        return source in self._linked.get(consumer, ())

    def _connect(self, source: str, consumer: str) -> None:
        self._linked.setdefault(consumer, set()).add(source)
        if not self._is_cached(source) and consumer not in self._consumers[source]:
            self._consumers[source][consumer] = None
            if not self._blockers[consumer]:
                self._not_ready(consumer)
            self._blockers[consumer] += 1

    def _not_ready(self, node_id: str) -> None:
        del self._ready[bisect_left(self._ready, (self._places[node_id], node_id))]

    def pick(self) -> str | None:
        """The node whose turn it is, by the four rules of protocol 5.4; None when nothing is ready."""
        for node in self._pickable():
            if self._is_output(node) or self._is_async(node):
                return node
        for node in self._pickable():
            if any(self._is_output(consumer) for consumer in self._consumers[node]):
                return node
        for node in self._pickable():
            for consumer in self._consumers[node]:
                if any(self._is_output(second) for second in self._consumers[consumer]):
                    return node
        return next(self._pickable(), None)

    def _pickable(self) -> Iterator[str]:
        return (node for _place, node in self._ready if node not in self.waiting)

    def complete(self, node_id: str) -> None:
        """The node, which was ready, is done: it leaves the pending set and unblocks its consumers."""
        self._not_ready(node_id)
        del self._blockers[node_id]
        for consumer in self._consumers.pop(node_id):
            self._blockers[consumer] -= 1
            if not self._blockers[consumer]:
                insort(self._ready, (self._places[consumer], consumer))
