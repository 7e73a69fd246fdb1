"""Calling a node: its inputs gathered, one call per list index, results merged (protocol 5.6, 5.10)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from comfy_contracts import messages
from comfy_contracts.catalogue import NodeDefinition
from comfy_contracts.frames import PreviewFrame, PreviewWithMetadata, TextFrame, UnknownFrame
from comfy_mock.engine.cache import Result
from comfy_mock.engine.dynamic_inputs import declared_inputs, run_time_complaint
from comfy_mock.engine.failures import Interrupted, NodeFailed
from comfy_mock.engine.graph import is_link
from comfy_mock.engine.host import Host
from comfy_mock.engine.nodes.api import Behaviour, Blocker, Call, Output, Preview, PreviewFile, Text, Update, Wait
from comfy_mock.engine.previews import preview_bytes
from comfy_mock.engine.progress import Throttle
from comfy_mock.engine.script.acting import Act, Log, SendBinary, Stand, act
from comfy_mock.engine.script.model import NodeRule
from comfy_mock.engine.telling import Telling
from comfy_mock.engine.tensor_text import json_inputs

_PREVIEW_FORMATS: dict[str, Literal[1, 2]] = {"JPEG": 1, "PNG": 2}


@dataclass(slots=True)
class Turn:
    """One node about to be called. `inputs` has a list of values per input, `missing` the sources of those that are not
    there (lazy ones), which stand as null in `inputs`."""

    node_id: str
    node: Mapping[str, Any]
    definition: NodeDefinition
    behaviour: Behaviour
    instance: dict[str, Any]
    random: random.Random
    inputs: dict[str, list[Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def slices(self) -> Iterator[dict[str, Any]]:
        """The inputs of each call. Raises `IndexError` where an input is an empty list."""
        if self.definition.is_input_list:
            yield dict(self.inputs)
            return
        calls = max((len(values) for values in self.inputs.values()), default=0)
        if self.definition.hidden and not self.definition.is_v3:
            calls = max(calls, 1)
        if not calls:
            yield {}
        for index in range(calls):
            yield {name: values[index if index < len(values) else -1] for name, values in self.inputs.items()}


@dataclass(slots=True)
class CallResult:
    """What one call gave: values per output, or a blocker in place of all of them."""

    values: tuple[Any, ...] = ()
    blocked: Blocker | None = None
    ui: dict[str, Any] | None = None
    expand: dict[str, Any] | None = None


def gather_inputs(turn: Turn, source_result: Callable[[str, str], Result | None]) -> None:
    """Fill `turn.inputs`: constants of declared inputs, and the values behind every link, declared or not."""
    inputs = turn.node.get("inputs")
    if not isinstance(inputs, dict):
        return
    declared = declared_inputs(turn.definition, inputs)
    for name, value in inputs.items():
        spec = declared.spec(name) if name in declared else None
        options = spec[1] if spec is not None and len(spec) > 1 and isinstance(spec[1], dict) else {}
        if is_link(value) and not options.get("rawLink"):
            result = source_result(value[0], turn.node_id)
            if result is None:
                turn.missing[name] = value[0]
                turn.inputs[name] = [None]
            else:
                turn.inputs[name] = result.outputs[value[1]]
        elif spec is not None:
            turn.inputs[name] = [value]


def merge_outputs(definition: NodeDefinition, results: list[CallResult]) -> list[list[Any]]:
    """One list per output: values of list outputs joined over the calls, others collected."""
    count = len(definition.outputs) or max((len(result.values) for result in results), default=0)
    is_list = definition.output_is_list + [False] * count
    outputs: list[list[Any]] = [[] for _ in range(count)]
    for result in results:
        for slot, collected in enumerate(outputs):
            if result.blocked is not None:
                collected.append(result.blocked)
                continue
            value = result.values[slot] if slot < len(result.values) else None
            if is_list[slot] and isinstance(value, (list, tuple)):
                collected.extend(value)
            else:
                collected.append(value)
    return outputs


def merge_ui(results: list[CallResult]) -> dict[str, Any]:
    """The ui of several calls as one: the lists under the first one's keys, joined. Raises `KeyError` where a later one
    lacks such a key."""
    uis = [result.ui for result in results if result.ui is not None]
    return {key: [item for ui in uis for item in ui[key]] for key in uis[0]} if uis else {}


class NodeCalls:
    """The calls of one turn. `rule_for` gives the script's rule for a node when it is called, if there is one."""

    def __init__(self, host: Host, telling: Telling, turn: Turn, rule_for: Callable[[str], NodeRule | None]) -> None:
        self._host, self._telling, self._turn = host, telling, turn
        self._throttle = Throttle()
        self._rule_for = rule_for
        self._rule: NodeRule | None = None
        self._is_cast = False

    def needed(self) -> list[str]:
        """The lazy inputs that the node asks for (protocol 5.7). Raises `Interrupted`: asking is a call like any."""
        names: dict[str, None] = {}
        lazy = self._turn.behaviour.lazy
        if lazy is not None:
            for inputs in self._turn.slices():
                self._look_at_interrupt()
                if self._blocker_in(inputs) is None:
                    names.update(dict.fromkeys(lazy(inputs)))
        return list(names)

    def each(self) -> Iterator[Generator[float, None, CallResult]]:
        """One simulation per call, to be run one after the other or, for an asynchronous node, at once.

        They yield the seconds that pass and raise `Interrupted` or what the node raises.
        """
        return (self._one(index, inputs) for index, inputs in enumerate(self._turn.slices()))

    def _one(self, index: int, inputs: dict[str, Any]) -> Generator[float, None, CallResult]:
        self._look_at_interrupt()
        blocker = self._blocker_in(inputs)
        if blocker is not None:
            return self._blocked(blocker)
        return (yield from self._call(index, inputs))

    def failed(self, error: Exception) -> NodeFailed:
        """The failure of this node by an exception, with its inputs."""
        return NodeFailed(self._turn.node_id, error, self._turn.definition.class_type, self._current_inputs())

    def _call(self, index: int, inputs: dict[str, Any]) -> Generator[float, None, CallResult]:
        complaint = run_time_complaint(self._turn.definition, inputs)
        if complaint is not None:
            raise TypeError(complaint)
        call = self._make_call(index, inputs)
        rule = self._cast()
        if rule is not None:
            outcome = yield from self._drive(act(rule, self._turn.behaviour, call, lambda: self._host.now))
        else:
            outcome = yield from self._plain(call)
        return CallResult(outcome.values, None, outcome.ui, outcome.expand)

    def _cast(self) -> NodeRule | None:
        if not self._is_cast:
            self._is_cast, self._rule = True, self._rule_for(self._turn.node_id)
        return self._rule

    def _plain(self, call: Call) -> Generator[float, None, Output]:
        seconds = self._turn.behaviour.seconds
        yield seconds(call) if callable(seconds) else seconds
        call.now = self._host.now
        outcome = self._turn.behaviour.rule(call)
        return outcome if isinstance(outcome, Output) else (yield from self._drive(outcome))

    def _drive(self, steps: Generator[Act, None, Output]) -> Generator[float, None, Output]:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                output = stop.value
                assert isinstance(output, Output), "a rule returns an Output"
                return output
            if isinstance(step, Wait):
                yield step.seconds
            elif isinstance(step, Stand):
                yield from self._stand(step)
            else:
                self._carry_out(step)
                # no time passes, but whoever steps through the run can stop right here
                yield 0.0

    def _stand(self, stand: Stand) -> Generator[float, None, None]:
        director, turn = self._host.director, self._turn
        gate = director.hold(stand.name, f"node {turn.node_id} ({turn.definition.class_type}) after step {stand.step}")
        try:
            while not gate.opened:
                yield math.inf
        finally:
            director.let_go(gate)

    def _carry_out(self, step: Act) -> None:
        host = self._host
        if isinstance(step, Update):
            self._update(step)
        elif isinstance(step, Text):
            host.to_all(TextFrame(self._turn.node_id, step.text))
        elif isinstance(step, Log):
            host.log(step.text, level=step.level)
        else:
            assert not isinstance(step, (Wait, Stand)), "time passes elsewhere"
            payload: UnknownFrame | messages.Unknown
            if isinstance(step, SendBinary):
                payload = UnknownFrame(step.event, step.data)
            else:
                payload = messages.Unknown(type=step.type, data=step.data)
            send = host.to_client_or_all if step.to_client else host.to_all
            send(payload)

    def _update(self, update: Update) -> None:
        """One step of a bar: `progress_state`, `progress` and the preview, in the order of protocol 6.8."""
        if update.first:
            self._throttle.restart()
        value = min(update.value, update.max)
        preview = update.preview
        always = update.always or preview is not None or not self._host.profile.has("progress_throttle")
        if not self._throttle.passes(value, update.max, self._host.now, always=always):
            return
        self._look_at_interrupt()
        node_id = self._turn.node_id
        self._telling.send_progress(self._telling.progress.update(node_id, value, update.max))
        with_metadata = preview is not None and self._host.wants_preview_metadata()
        if preview is not None and with_metadata:
            self._send_preview(preview, with_metadata=True)
        self._host.to_client_or_all(
            messages.Progress(value=value, max=update.max, prompt_id=self._telling.prompt_id, node=node_id)
        )
        if preview is not None and not with_metadata:
            self._send_preview(preview, with_metadata=False)

    def _send_preview(self, preview: Preview | PreviewFile, *, with_metadata: bool) -> None:
        if not self._host.has_listener():
            return
        image_format, image = preview_bytes(preview)
        if not with_metadata:
            self._host.to_client_or_all(PreviewFrame(_PREVIEW_FORMATS[image_format], image))
            return
        node_id, graph = self._turn.node_id, self._telling.graph
        self._host.to_client(
            PreviewWithMetadata(
                node_id=node_id,
                prompt_id=self._telling.prompt_id,
                display_node_id=graph.display(node_id),
                parent_node_id=graph.parent(node_id),
                real_node_id=graph.real(node_id),
                image_type=f"image/{image_format.lower()}",
                image=image,
            )
        )

    def _look_at_interrupt(self) -> None:
        if self._host.interrupt_requested:
            self._host.interrupt_requested = False
            raise Interrupted(self._turn.node_id)

    def _blocker_in(self, inputs: Mapping[str, Any]) -> Blocker | None:
        lists = inputs.values() if self._turn.definition.is_input_list else [list(inputs.values())]
        return next((value for values in lists for value in values if isinstance(value, Blocker)), None)

    def _blocked(self, blocker: Blocker) -> CallResult:
        if blocker.message is not None:
            node_id = self._turn.node_id
            self._host.to_client_or_all(
                messages.ExecutionError(
                    prompt_id=self._telling.prompt_id,
                    node_id=node_id,
                    node_type=self._turn.definition.class_type,
                    executed=list(self._telling.executed),
                    exception_message=f"Execution Blocked: {blocker.message}",
                    exception_type="ExecutionBlocked",
                    traceback=[],
                    current_inputs=[],
                    current_outputs=[],
                )
            )
        return CallResult(blocked=Blocker())

    def _make_call(self, index: int, inputs: dict[str, Any]) -> Call:
        host, options, extra_data = self._host, self._host.options, self._telling.item.extra_data
        wanted_method = extra_data.get("preview_method") if host.profile.has("preview_method_in_extra_data") else None
        return Call(
            class_type=self._turn.definition.class_type,
            node_id=self._turn.node_id,
            definition=self._turn.definition,
            inputs=inputs,
            files=host.files,
            folders=host.folders,
            random=self._turn.random,
            now=host.now,
            prompt=self._telling.graph.posted,
            extra_pnginfo=extra_data.get("extra_pnginfo"),
            unique_id=self._turn.node_id,
            instance=self._turn.instance,
            preview_method=options.preview_method_for(wanted_method),
            preview_size=options.preview_size,
            utc_offset_s=options.utc_offset_s,
            disable_metadata=options.disable_metadata,
            call_index=index,
        )

    def _current_inputs(self) -> dict[str, Any]:
        values: dict[str, list[Any]] = dict(self._turn.inputs)
        if not self._turn.definition.is_v3:
            hidden = {
                "PROMPT": self._telling.graph.posted,
                "EXTRA_PNGINFO": self._telling.item.extra_data.get("extra_pnginfo"),
                "UNIQUE_ID": self._turn.node_id,
            }
            for name, kind in self._turn.definition.hidden.items():
                values[name] = [hidden.get(kind)]
        return {name: [json_inputs(value) for value in items] for name, items in values.items()}
