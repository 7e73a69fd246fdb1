"""One run of one prompt: node by node, in the real order, with the real events (protocol 5)."""

from __future__ import annotations

import math
from typing import Any

from comfy_mock.engine.async_calls import AsyncNode
from comfy_mock.engine.cache import KeyMaker, Result
from comfy_mock.engine.calls import CallResult, NodeCalls, Turn, gather_inputs, merge_outputs, merge_ui
from comfy_mock.engine.expansion import Expansion, expand
from comfy_mock.engine.failures import Interrupted
from comfy_mock.engine.graph import links_of
from comfy_mock.engine.host import Doze, Host, Steps
from comfy_mock.engine.node_facts import NodeFacts
from comfy_mock.engine.order import PromptGraph, Schedule
from comfy_mock.engine.queue import PromptItem
from comfy_mock.engine.script.casting import Casting
from comfy_mock.engine.telling import Telling

_PAUSE_S = 0.0005


class PromptRun:
    """The run of `item` on `host`. `steps()` simulates it; `telling` then has what the history is to keep.

    With `earlier_of` it is one that came before that run: of the same nodes with the same keys in the cache.
    """

    def __init__(self, host: Host, item: PromptItem, *, earlier_of: PromptRun | None = None) -> None:
        self.host, self.item = host, item
        if earlier_of is None:
            # a copy, as change values are written into nodes (protocol 5.13) but not into queue and history
            self.graph = PromptGraph({node_id: dict(node) for node_id, node in item.prompt.items()})
            self.casting = Casting(host.director, item, self.graph)
            self._facts = facts = NodeFacts(host, self.graph)
            self._keys = KeyMaker(self.graph, facts.change_value, facts.wants_id)
        else:
            self.graph, self.casting = earlier_of.graph, earlier_of.casting.rehearsal()
            self._facts = facts = earlier_of._facts
            self._keys = earlier_of._keys
        self.telling = Telling(host, item, self.graph)
        self._current = ""
        self._values: dict[str, Result] = {}
        self._tasks: dict[str, AsyncNode] = {}
        self._expanded: dict[str, Expansion] = {}
        self.schedule = Schedule(
            self.graph,
            is_cached=lambda node_id: self._cached(node_id) is not None,
            is_output=lambda node_id: facts.definition(node_id).output_node,
            is_async=lambda node_id: facts.definition(node_id).api_node,
            is_lazy=facts.is_lazy,
        )

    def steps(self) -> Steps:
        """Simulate the run from `execution_start` to its terminal message."""
        self.telling.report_start()
        yield _PAUSE_S
        try:
            yield from self._begin()
            while self.schedule:
                picked = self.schedule.pick()
                if picked is not None:
                    self._current = picked
                    yield from self._turn(picked)
                    self.host.success = True
                    self.host.cache.turn_done()
                    self._step_due_tasks()
                elif self._tasks:
                    yield from self._await_tasks()
                else:
                    self.telling.report_cycle(list(self.schedule))
                    return
        except Interrupted as interruption:
            self.host.success = False
            self.telling.report_interruption(interruption.node_id)
            return
        except Exception as error:
            self.host.success = False
            self.telling.report_error(error, self._current)
            return
        if self.host.profile.has("intermediate_outputs"):
            self._send_intermediate_outputs()
        self.telling.report_success()

    def _begin(self) -> Steps:
        """All keys, what is cached, and the first pending nodes (protocol 5.2, 5.3)."""
        keys = {node_id: self._keys.key(node_id) for node_id in self.graph.posted}
        self._drop_instances()
        self.host.cache.begin(keys)
        cached = self.host.cache.ids(self.graph.posted)
        self.telling.report_cached([node_id for node_id in cached if node_id not in self.casting.fresh])
        yield _PAUSE_S
        for node_id in self.item.outputs_to_execute:
            self._current = node_id
            self.schedule.add(node_id)

    def _cached(self, node_id: str) -> Result | None:
        """The result of a node in the cache, unless it is to run all the same."""
        return None if node_id in self.casting.fresh else self.host.cache.get(node_id)

    def _drop_instances(self) -> None:
        alive = {(node_id, node.get("class_type")) for node_id, node in self.graph.posted.items()}
        for identity in [identity for identity in self.host.instances if identity not in alive]:
            del self.host.instances[identity]

    def _instance(self, node_id: str, class_type: str) -> dict[str, Any]:
        if self.host.cache.mode == "none":
            return {}
        return self.host.instances.setdefault((node_id, class_type), {})

    def _turn(self, node_id: str) -> Steps:
        """A node's turn (protocol 5.5)."""
        if node_id in self._expanded:
            self._collect_expansion(node_id)
            return
        task = self._tasks.pop(node_id, None)
        if task is not None:
            self._finish(node_id, task.turn, task.results())
            return
        cached = self._cached(node_id)
        if cached is not None:
            self._answer_from_cache(node_id, cached)
            return
        self.telling.send_progress(self.telling.progress.start(node_id))
        self.telling.send_executing(node_id)
        turn = self._gather(node_id)
        calls = NodeCalls(self.host, self.telling, turn, self.casting.rule)
        try:
            yield from self._first_turn(turn, calls)
        except Interrupted:
            raise
        except Exception as error:
            raise calls.failed(error) from error

    def _first_turn(self, turn: Turn, calls: NodeCalls) -> Steps:
        if self._waits_for_lazy(turn, calls):
            return
        if turn.definition.api_node:
            task = AsyncNode(turn, calls.each(), self.host.now)
            if not task.done:
                self._tasks[turn.node_id] = task
                self.schedule.waiting.add(turn.node_id)
                return
            results = task.results()
        else:
            results = []
            for call in calls.each():
                results.append((yield from call))
        self._finish(turn.node_id, turn, results)

    def _answer_from_cache(self, node_id: str, cached: Result) -> None:
        self.telling.send_executed(node_id, cached.ui)
        if cached.ui is not None:
            self.telling.record(node_id, cached.ui, cached.meta)
        self._values[node_id] = cached
        self.telling.send_progress(self.telling.progress.finish(node_id))
        self.schedule.complete(node_id)

    def _gather(self, node_id: str) -> Turn:
        """A turn of a node, with the inputs that are there."""
        definition = self._facts.definition(node_id)
        turn = Turn(
            node_id=node_id,
            node=self.graph.node(node_id),
            definition=definition,
            behaviour=self.host.behaviour(definition),
            instance=self._instance(node_id, definition.class_type),
            random=self._facts.random(node_id),
        )
        gather_inputs(turn, self._source_result)
        return turn

    def _waits_for_lazy(self, turn: Turn, calls: NodeCalls) -> bool:
        """Whether the node is put back, because it needs inputs that are not there yet (protocol 5.7)."""
        sources = [turn.missing[name] for name in calls.needed() if name in turn.missing]
        for source in sources:
            self.schedule.need(source, turn.node_id)
        return bool(sources)

    def _source_result(self, source: str, consumer: str) -> Result | None:
        if not self.schedule.has(source, consumer):
            return None
        return self._values.get(source) or self._cached(source)

    def _finish(self, node_id: str, turn: Turn, results: list[CallResult]) -> None:
        """The calls of a node returned: send its ui, keep its values, or go on with its expansion."""
        ui = merge_ui(results)
        meta = self.telling.meta_of(node_id)
        if ui:
            self.telling.record(node_id, ui, meta)
            self.telling.send_executed(node_id, ui)
        if any(result.expand is not None for result in results):
            expansion = expand(self.graph, node_id, results, ui)
            self._check_classes(expansion.children)
            self._expanded[node_id] = expansion
            self.host.cache.add_keys({child: self._keys.key(child) for child in expansion.children})
            for child in expansion.children:
                if self._facts.definition(child).output_node:
                    self.schedule.add(child)
            for source in expansion.sources:
                self.schedule.need(source, node_id)
            return
        self._keep(node_id, Result(merge_outputs(turn.definition, results), ui or None, meta))

    def _check_classes(self, children: list[str]) -> None:
        """Nobody has validated what an expansion brings: an unknown class fails the node that brought it."""
        for child in children:
            class_type = self.graph.node(child).get("class_type")
            if class_type is None or self.host.definition(class_type) is None:
                raise KeyError("class_type" if class_type is None else class_type)

    def _collect_expansion(self, node_id: str) -> None:
        expansion = self._expanded.pop(node_id)

        def values(source: str) -> list[list[Any]]:
            found = self._source_result(source, node_id)
            assert found is not None, f"{source} is done"
            return found.outputs

        outputs = merge_outputs(self._facts.definition(node_id), expansion.resolve(values))
        self._keep(node_id, Result(outputs, expansion.ui or None, self.telling.meta_of(node_id)))

    def _keep(self, node_id: str, result: Result) -> None:
        self._check_slots(node_id, result)
        self._values[node_id] = result
        self.host.cache.put(node_id, result)
        self.casting.fresh.discard(node_id)
        self.telling.send_progress(self.telling.progress.finish(node_id))
        self.telling.executed[node_id] = None
        self.schedule.complete(node_id)

    def _check_slots(self, node_id: str, result: Result) -> None:
        """A link to a slot that the node does not have fails in the node itself (protocol 9)."""
        for consumer in self.schedule.consumers(node_id):
            for _name, source, slot in links_of(self.graph.node(consumer)):
                if source == node_id:
                    result.outputs[slot]

    # -- asynchronous nodes

    def _await_tasks(self) -> Steps:
        due = min(task.due for task in self._tasks.values())
        if due == math.inf:
            yield due
        elif due > self.host.now:
            # one that is held meanwhile may be released before another one is due
            yield Doze(due - self.host.now)
        self._step_due_tasks()

    def _step_due_tasks(self) -> None:
        for node_id, task in self._tasks.items():
            task.advance(self.host.now)
            if task.done:
                self.schedule.waiting.discard(node_id)

    def _send_intermediate_outputs(self) -> None:
        """Cached ui of classes flagged `has_intermediate_output` that had no turn (protocol 5.15)."""
        for node_id in self.graph.posted:
            if not self._facts.definition(node_id).has_intermediate_output:
                continue
            cached = self.host.cache.get(node_id)
            if cached is not None and cached.ui is not None and node_id not in self.telling.executed:
                self.telling.record(node_id, cached.ui, cached.meta)
                self.telling.send_executed(node_id, cached.ui)
