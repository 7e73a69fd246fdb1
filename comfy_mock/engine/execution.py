"""One run of one prompt: node by node, in the real order, with the real events (protocol 5)."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from comfy_contracts import messages
from comfy_contracts.catalogue import NodeDefinition
from comfy_contracts.profiles import Profile
from comfy_mock.engine.async_calls import AsyncNode
from comfy_mock.engine.cache import KeyMaker, Result, ResultCache
from comfy_mock.engine.calls import CallResult, NodeCalls, Turn, gather_inputs, merge_outputs, merge_ui
from comfy_mock.engine.clients import Payload
from comfy_mock.engine.expansion import Expansion, expand
from comfy_mock.engine.failures import Interrupted, describe
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.graph import is_link, links_of
from comfy_mock.engine.logs import Level
from comfy_mock.engine.nodes.api import Behaviour, ChangeCall
from comfy_mock.engine.options import Options
from comfy_mock.engine.order import PromptGraph, Schedule
from comfy_mock.engine.progress import PromptProgress
from comfy_mock.engine.queue import PromptItem

logger = logging.getLogger("comfy_mock.engine")

_PAUSE_S = 0.0005

Steps = Generator[float, None, None]
"""A simulation in progress: it yields the seconds that pass until it goes on."""


class Host(Protocol):
    """What a run needs of the server around it."""

    options: Options
    profile: Profile
    files: Files
    folders: Folders
    cache: ResultCache
    instances: dict[tuple[str, str], dict[str, Any]]
    interrupt_requested: bool
    client_id: Any
    last_node_id: str | None
    success: bool
    executions: int

    @property
    def now(self) -> float: ...

    def definition(self, class_type: str) -> NodeDefinition | None: ...

    def behaviour(self, definition: NodeDefinition) -> Behaviour: ...

    def to_client(self, payload: Payload) -> None: ...

    def to_client_or_all(self, payload: Payload) -> None: ...

    def to_all(self, payload: Payload) -> None: ...

    def has_listener(self) -> bool: ...

    def log(self, message: str, *, level: Level = "INFO") -> None: ...

    def wants_preview_metadata(self) -> bool: ...


@dataclass
class PromptRun:
    """The run of `item` on `host`. `steps()` simulates it; `outputs`, `meta` and `status()` then are its history."""

    host: Host
    item: PromptItem
    outputs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    told: list[list[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        # a copy, as change values are written into nodes (protocol 5.13) but not into queue and history
        self.graph = PromptGraph({node_id: dict(node) for node_id, node in self.item.prompt.items()})
        self.prompt_id = self.item.prompt_id
        self.progress = PromptProgress(self.prompt_id, self.graph)
        self.executed: dict[str, None] = {}
        self._current = ""
        self._values: dict[str, Result] = {}
        self._tasks: dict[str, AsyncNode] = {}
        self._expanded: dict[str, Expansion] = {}
        self._changes: dict[str, Any] = {}
        self._definitions: dict[str, NodeDefinition] = {}
        self._digests: dict[str, bytes] = {}
        self._keys = KeyMaker(self.graph, self._change_value, self._wants_id)
        self.schedule = Schedule(
            self.graph,
            is_cached=lambda node_id: self.host.cache.get(node_id) is not None,
            is_output=lambda node_id: self.definition(node_id).output_node,
            is_async=lambda node_id: self.definition(node_id).api_node,
            is_lazy=self._is_lazy,
        )

    # -- what is known of a node

    def definition(self, node_id: str) -> NodeDefinition:
        """The definition of a node's class."""
        class_type = self.graph.node(node_id).get("class_type", "")
        found = self._definitions.get(class_type)
        if found is None:
            found = self.host.definition(class_type) or NodeDefinition(str(class_type), {})
            self._definitions[class_type] = found
        return found

    def _is_lazy(self, node_id: str, name: str) -> bool:
        definition = self.definition(node_id)
        spec = definition.required.get(name) or definition.optional.get(name)
        return bool(spec and len(spec) > 1 and isinstance(spec[1], dict) and spec[1].get("lazy"))

    def _wants_id(self, node_id: str) -> bool:
        definition = self.definition(node_id)
        return not definition.is_v3 and "UNIQUE_ID" in definition.hidden.values()

    def _change_value(self, node_id: str) -> Any:
        """The change value of a node, found once per prompt and written into the node (protocol 5.13)."""
        if node_id in self._changes:
            return self._changes[node_id]
        node = self.graph.node(node_id)
        definition = self.definition(node_id)
        changed = self.host.behaviour(definition).changed
        value: Any = False
        if changed is not None:
            if "is_changed" not in node:
                inputs = node.get("inputs")
                constants = (
                    {k: None if is_link(v) else v for k, v in inputs.items()} if isinstance(inputs, dict) else {}
                )
                call = ChangeCall(constants, self.host.files, self.host.folders, self.host.now)
                try:
                    node["is_changed"] = [changed(call)]
                except Exception:
                    # the real server counts any failure of a change function as a value that equals nothing
                    node["is_changed"] = float("nan")
            value = node["is_changed"]
        self._changes[node_id] = value
        return value

    # -- the run

    def steps(self) -> Steps:
        """Simulate the run from `execution_start` to its terminal message."""
        self._tell("execution_start", messages.ExecutionStart(prompt_id=self.prompt_id, timestamp=self._ms()))
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
                    self._report_cycle()
                    return
        except Interrupted as interruption:
            self.host.success = False
            self._report_interruption(interruption.node_id)
            return
        except Exception as error:
            self.host.success = False
            self._report_error(error)
            return
        if self.host.profile.has("intermediate_outputs"):
            self._send_intermediate_outputs()
        self._tell("execution_success", messages.ExecutionSuccess(prompt_id=self.prompt_id, timestamp=self._ms()))

    def _begin(self) -> Steps:
        """All keys, what is cached, and the first pending nodes (protocol 5.2, 5.3)."""
        keys = {node_id: self._keys.key(node_id) for node_id in self.graph.posted}
        self._drop_instances()
        self.host.cache.begin(keys)
        cached = self.host.cache.ids(self.graph.posted)
        self._tell(
            "execution_cached",
            messages.ExecutionCached(nodes=cached, prompt_id=self.prompt_id, timestamp=self._ms()),
        )
        yield _PAUSE_S
        for node_id in self.item.outputs_to_execute:
            self._current = node_id
            self.schedule.add(node_id)

    def status(self) -> dict[str, Any]:
        """The `status` of the history entry."""
        success = self.host.success
        return {"status_str": "success" if success else "error", "completed": success, "messages": self.told}

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
        cached = self.host.cache.get(node_id)
        if cached is not None:
            self._answer_from_cache(node_id, cached)
            return
        self.send_progress(self.progress.start(node_id))
        self._send_executing(node_id)
        turn = self._gather(node_id)
        calls = NodeCalls(self, turn)
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
        self._send_executed(node_id, cached.ui)
        if cached.ui is not None:
            self._record(node_id, cached.ui, cached.meta)
        self._values[node_id] = cached
        self.send_progress(self.progress.finish(node_id))
        self.schedule.complete(node_id)

    def _gather(self, node_id: str) -> Turn:
        """A turn of a node, with the inputs that are there."""
        definition = self.definition(node_id)
        turn = Turn(
            node_id=node_id,
            node=self.graph.node(node_id),
            definition=definition,
            behaviour=self.host.behaviour(definition),
            instance=self._instance(node_id, definition.class_type),
            random=self._random(node_id),
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
        return self._values.get(source) or self.host.cache.get(source)

    def _random(self, node_id: str) -> random.Random:
        """Fresh numbers for each execution, the same in every run of the same program."""
        self.host.executions += 1
        return random.Random(f"{self.host.options.seed}/{self.host.executions}/{self._digest(node_id).hex()}")

    def _digest(self, node_id: str) -> bytes:
        """A number for a node, made of its class, its constants and its ancestors'."""
        stack = [node_id]
        while stack:
            current = stack[-1]
            if current in self._digests:
                stack.pop()
                continue
            inputs = self.graph.node(current).get("inputs") or {}
            sources = [value[0] for value in inputs.values() if is_link(value) and value[0] in self.graph]
            todo = [source for source in sources if source not in self._digests and source not in stack]
            if todo:
                stack.extend(todo)
                continue
            digest = hashlib.blake2b(repr(self.graph.node(current).get("class_type")).encode(), digest_size=16)
            for name, value in sorted(inputs.items()):
                digest.update(repr((name, value[1] if is_link(value) else value)).encode("utf-8", "surrogatepass"))
                if is_link(value):
                    digest.update(self._digests.get(value[0], b""))
            self._digests[current] = digest.digest()
            stack.pop()
        return self._digests[node_id]

    def _finish(self, node_id: str, turn: Turn, results: list[CallResult]) -> None:
        """The calls of a node returned: send its ui, keep its values, or go on with its expansion."""
        ui = merge_ui(results)
        meta = self._meta(node_id)
        if ui:
            self._record(node_id, ui, meta)
            self._send_executed(node_id, ui)
        if any(result.expand is not None for result in results):
            expansion = expand(self.graph, node_id, results, ui)
            self._check_classes(expansion.children)
            self._expanded[node_id] = expansion
            self.host.cache.add_keys({child: self._keys.key(child) for child in expansion.children})
            for child in expansion.children:
                if self.definition(child).output_node:
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

        outputs = merge_outputs(self.definition(node_id), expansion.resolve(values))
        self._keep(node_id, Result(outputs, expansion.ui or None, self._meta(node_id)))

    def _keep(self, node_id: str, result: Result) -> None:
        self._check_slots(node_id, result)
        self._values[node_id] = result
        self.host.cache.put(node_id, result)
        self.send_progress(self.progress.finish(node_id))
        self.executed[node_id] = None
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
        if due > self.host.now:
            yield due - self.host.now
        self._step_due_tasks()

    def _step_due_tasks(self) -> None:
        for node_id, task in self._tasks.items():
            task.advance(self.host.now)
            if task.done:
                self.schedule.waiting.discard(node_id)

    # -- messages

    def send_progress(self, state: messages.ProgressState) -> None:
        """Send the progress of the prompt to its client, to everybody if it has none."""
        if self.host.profile.has("progress_state"):
            self.host.to_client_or_all(state)

    def _ms(self) -> int:
        return int(self.host.now * 1000)

    def _tell(self, event: str, message: messages.Message) -> None:
        """Send to the client and note for the history."""
        self.told.append([event, messages.message_data(message)])
        self.host.to_client(message)

    def _send_executing(self, node_id: str) -> None:
        display = self.graph.display(node_id)
        if self.host.client_id is not None:
            self.host.last_node_id = display
        self.host.to_client(messages.Executing(node=node_id, display_node=display, prompt_id=self.prompt_id))

    def _send_executed(self, node_id: str, ui: dict[str, Any] | None) -> None:
        display = self.graph.display(node_id)
        self.host.to_client(messages.Executed(node=node_id, display_node=display, output=ui, prompt_id=self.prompt_id))

    def _record(self, node_id: str, ui: dict[str, Any], meta: Mapping[str, Any]) -> None:
        self.outputs[node_id] = ui
        self.meta[node_id] = dict(meta)

    def _meta(self, node_id: str) -> dict[str, Any]:
        return {
            "node_id": node_id,
            "display_node": self.graph.display(node_id),
            "parent_node": self.graph.parent(node_id),
            "real_node_id": self.graph.real(node_id),
        }

    def _send_intermediate_outputs(self) -> None:
        """Cached ui of classes flagged `has_intermediate_output` that had no turn (protocol 5.15)."""
        for node_id in self._intermediate_nodes():
            cached = self.host.cache.get(node_id)
            if cached is not None and cached.ui is not None and node_id not in self.executed:
                self._record(node_id, cached.ui, cached.meta)
                self._send_executed(node_id, cached.ui)

    def _intermediate_nodes(self) -> Iterator[str]:
        return (node_id for node_id in self.graph.posted if self.definition(node_id).has_intermediate_output)

    def _report_cycle(self) -> None:
        pending = list(self.schedule)
        # posted nodes were looked at by validation, so a cycle is rather the fault of an expansion
        expanded = next((node_id for node_id in pending if self.graph.parent(node_id) is not None), pending[0])
        blamed = self.graph.display(expanded)
        self._tell_error(
            blamed, "Dependency cycle detected", "graph.DependencyCycleError", traceback=[], current_inputs=[]
        )

    def _report_interruption(self, node_id: str) -> None:
        self.host.log("Processing interrupted")
        real = self.graph.real(node_id)
        message = messages.ExecutionInterrupted(
            prompt_id=self.prompt_id,
            node_id=real,
            node_type=self.graph.node(real).get("class_type", ""),
            executed=list(self.executed),
            timestamp=self._ms(),
        )
        self.told.append(["execution_interrupted", messages.message_data(message)])
        self.host.to_client_or_all(message)

    def _report_error(self, error: Exception) -> None:
        failure = describe(error, self._current)
        self.host.log(f"!!! Exception during processing !!! {failure.message}", level="ERROR")
        self.host.log("Traceback (most recent call last):\n" + "".join(failure.traceback), level="ERROR")
        logger.debug("prompt %s failed in node %s", self.prompt_id, failure.node_id, exc_info=error)
        self._tell_error(
            failure.node_id,
            failure.message,
            failure.type_name,
            traceback=failure.traceback,
            current_inputs=failure.current_inputs,
        )

    def _tell_error(self, node_id: str, message: str, kind: str, *, traceback: list[str], current_inputs: Any) -> None:
        real = self.graph.real(node_id)
        outputs = [] if self.host.cache.mode == "none" else [*self.graph.posted, *self.graph.ephemeral]
        self._tell(
            "execution_error",
            messages.ExecutionError(
                prompt_id=self.prompt_id,
                node_id=real,
                node_type=self.graph.node(real).get("class_type", "") if real in self.graph else "",
                executed=list(self.executed),
                exception_message=message,
                exception_type=kind,
                traceback=traceback,
                current_inputs=current_inputs,
                current_outputs=outputs,
                timestamp=self._ms(),
            ),
        )
