"""Which rule of the script each node of one prompt follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from comfy_mock.engine.graph import links_of
from comfy_mock.engine.order import PromptGraph
from comfy_mock.engine.queue import PromptItem
from comfy_mock.engine.script.director import Director, RuleUse
from comfy_mock.engine.script.matching import NodeSubject
from comfy_mock.engine.script.model import AnyRule, NodeRule


class Casting:
    """The rules for the nodes of `item`, whose graph as it runs is `graph`.

    A rule that says whether a node is cached is chosen when the prompt begins (`decide`), if the prompt needs the node.
    All others are chosen when the node is called: once for each time that it runs, also where its inputs are lists and
    it is called for every element.
    """

    def __init__(self, director: Director | None, item: PromptItem, graph: PromptGraph) -> None:
        self._director, self._item, self._graph = director, item, graph
        self._decided: dict[str, NodeRule] = {}
        self._expanders: dict[str, NodeRule] = {}
        self.cached: list[str] = []
        """Nodes that an earlier run is to have left in the cache."""
        self.fresh: set[str] = set()
        """Nodes that run though they may be in the cache; as they run, so do those that their outputs go to."""

    def decide(self) -> None:
        """Choose the rules that say whether a node is in the cache."""
        director = self._director
        if director is None or not director.has(NodeRule) or not any(map(_is_about_cache, director.uses)):
            return
        needed = _with_sources(self._graph, self._item.outputs_to_execute)
        for node_id in self._graph.posted:
            rule = director.choose_cached(self._subject(node_id)) if node_id in needed else None
            if rule is not None:
                self._decided[node_id] = rule
                if rule.cached:
                    self.cached.append(node_id)
                else:
                    self.fresh.add(node_id)
        if self.fresh:
            self._spread()

    def _spread(self) -> None:
        grown = True
        while grown:
            consumers = {
                node_id
                for node_id, node in self._graph.posted.items()
                if node_id not in self.fresh and any(source in self.fresh for _name, source, _slot in links_of(node))
            }
            self.fresh |= consumers
            grown = bool(consumers)

    def rule(self, node_id: str) -> NodeRule | None:
        """The rule for a node that is about to be called; its use is counted.

        A rule never fits what descends from its own expansion, which would have no end.
        """
        rule = self._decided.get(node_id)
        if rule is None and self._director is not None and self._director.has(NodeRule):
            rule = self._chosen(self._director, node_id)
        if rule is not None and rule.expand is not None:
            self._expanders[node_id] = rule
        return rule

    def _chosen(self, director: Director, node_id: str) -> NodeRule | None:
        # those that say whether it is cached were asked when the prompt began; of children that is asked nowhere
        among = _is_about_calls if node_id in self._graph.posted else _is_about_children
        expanders = self._expanders_of(node_id)
        use = director.use_for(
            self._subject(node_id), among=lambda rule: among(rule) and all(rule is not other for other in expanders)
        )
        if use is None:
            return None
        assert isinstance(use.rule, NodeRule)
        return use.rule

    def _expanders_of(self, node_id: str) -> list[NodeRule]:
        """The rules whose expansions a node descends from."""
        found: list[NodeRule] = []
        parent = self._graph.parent(node_id)
        while parent is not None:
            if parent in self._expanders:
                found.append(self._expanders[parent])
            parent = self._graph.parent(parent)
        return found

    def rehearsal(self) -> Casting:
        """The casting of the earlier run that leaves `cached`: these give what the script says, the rest is itself."""
        earlier = Casting(None, self._item, self._graph)
        for node_id in self.cached:
            rule = self._decided[node_id]
            earlier._decided[node_id] = NodeRule(
                ui=rule.ui, files=rule.files, text=rule.text, values=rule.values, expand=rule.expand
            )
        return earlier

    def _subject(self, node_id: str) -> NodeSubject:
        node = self._graph.node(node_id)
        inputs, client_id = node.get("inputs"), self._item.extra_data.get("client_id")
        return NodeSubject(
            node=node_id,
            class_type=str(node.get("class_type", "")),
            inputs=inputs if isinstance(inputs, dict) else {},
            prompt=self._item.place,
            client_id=client_id if isinstance(client_id, str) else None,
        )


def _is_about_cache(use: RuleUse) -> bool:
    return isinstance(use.rule, NodeRule) and use.rule.cached is not None


def _is_about_calls(rule: AnyRule) -> bool:
    return isinstance(rule, NodeRule) and rule.cached is None


def _is_about_children(rule: AnyRule) -> bool:
    return isinstance(rule, NodeRule) and not rule.cached


def _with_sources(graph: PromptGraph, node_ids: Iterable[str]) -> set[str]:
    """These nodes and all that they may need."""
    found: set[str] = set()
    stack = list(node_ids)
    while stack:
        node_id = stack.pop()
        if node_id not in found and node_id in graph:
            found.add(node_id)
            node: Mapping[str, Any] = graph.node(node_id)
            stack.extend(source for _name, source, _slot in links_of(node))
    return found
