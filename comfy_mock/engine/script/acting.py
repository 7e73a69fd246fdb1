"""A call of a node as a rule of the script has it.

First `duration` passes, then come the steps. What belongs to a step happens after its update, in this order: texts,
messages, binaries, logs, holds, and the exception. What belongs to a step that the node does not have happens at its
end, and the outputs come after all.

Steps are those of the rule, and every one is sent, however fast they follow each other, unless it wants them
throttled; else they are those that the class itself makes. Of these too the ones at which something happens are
always sent.
"""

from __future__ import annotations

import inspect
import posixpath
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Union

from comfy_mock.engine.logs import Level
from comfy_mock.engine.nodes import generic
from comfy_mock.engine.nodes.api import (
    Behaviour,
    Call,
    Output,
    Preview,
    PreviewFile,
    Send,
    Step,
    Text,
    Update,
    Wait,
)
from comfy_mock.engine.nodes.generated import prompts_of
from comfy_mock.engine.previews import sampler_preview
from comfy_mock.engine.saving import file_item
from comfy_mock.engine.script.failing import error_of, failure_of
from comfy_mock.engine.script.model import NodeRule, OutputFile, Previews
from comfy_mock.engine.values import Latent, Subject

_CELLS = 64
_PNG = b"\x89PNG"


@dataclass(frozen=True, slots=True)
class SendBinary:
    """A binary message of the node's own: its number and what follows it. `to_client` is as in `Send`."""

    event: int
    data: bytes
    to_client: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """A line in the server's log."""

    text: str
    level: Level


@dataclass(frozen=True, slots=True)
class Stand:
    """Nothing happens until the hold of this name is released; `step` is the last step before."""

    name: str
    step: int


Act = Union[Step, SendBinary, Log, Stand]
Acts = Generator[Act, None, Output]


def act(rule: NodeRule, behaviour: Behaviour, call: Call, now: Callable[[], float]) -> Acts:
    """Play one call by a rule of the script: what happens in it, and what it returns.

    `behaviour` is what its class does where the rule says nothing, `now` tells the simulated time. Raises what the rule
    or the class raises.
    """
    return _Performance(rule, behaviour, call, now).acts()


class _Performance:
    def __init__(self, rule: NodeRule, behaviour: Behaviour, call: Call, now: Callable[[], float]) -> None:
        self._rule, self._behaviour, self._call, self._now = rule, behaviour, call, now
        self._failure = None if rule.raises is None else failure_of(rule.raises)
        self._reached = -1
        given = (rule.ui, rule.text, rule.values, rule.expand)
        self._gives_outputs = bool(rule.files) or any(part is not None for part in given)
        self._subject: Subject | None = None

    def acts(self) -> Acts:
        yield Wait(self._duration())
        yield from self._at(0)
        own: Output | None = None
        if self._rule.steps is not None:
            yield from self._scripted_steps(self._rule.steps)
        elif self._plays_own_steps():
            own = yield from self._own_steps()
        yield from self._at_the_end()
        if self._gives_outputs:
            return self._given()
        return own if own is not None else (yield from self._own_work())

    def _duration(self) -> float:
        if self._rule.duration is not None:
            return self._rule.duration
        seconds = self._behaviour.seconds
        return seconds(self._call) if callable(seconds) else seconds

    # -- steps

    def _scripted_steps(self, steps: int) -> Iterator[Act]:
        times = self._rule.step_time
        uneven = times if isinstance(times, list) else [times]
        for step in range(1, steps + 1):
            yield Wait(uneven[min(step, len(uneven)) - 1] if uneven else 0.0)
            yield Update(step, steps, self._preview(step, steps), first=step == 1, always=not self._rule.throttled)
            yield from self._at(step)

    def _plays_own_steps(self) -> bool:
        """Whether the class's own steps are shown: not where its work is not done, but up to the one that fails.

        Functions that make no steps do all their work at once, so they are called last.
        """
        if not inspect.isgeneratorfunction(self._behaviour.rule) or self._gives_outputs:
            return False
        return self._failure is None or bool(self._failure.at_step)

    def _own_steps(self) -> Acts:
        own = self._begin_own_work()
        if isinstance(own, Output):
            return own
        count = 0
        while True:
            try:
                step = next(own)
            except StopIteration as stop:
                return _returned(stop)
            if not isinstance(step, Update):
                yield step
                continue
            count += 1
            preview = self._preview(count, max(count, int(step.max))) or step.preview
            always = step.always or self._has_anything_at(count)
            yield replace(step, preview=preview, always=always)
            yield from self._at(count)

    def _own_work(self) -> Acts:
        """What the class does, without its steps: those of the rule were shown in their place."""
        own = self._begin_own_work()
        if isinstance(own, Output):
            return own
        while True:
            try:
                step = next(own)
            except StopIteration as stop:
                return _returned(stop)
            if isinstance(step, (Text, Send)) or self._rule.steps is None:
                yield step

    def _begin_own_work(self) -> Output | Generator[Step, None, Output]:
        self._call.now = self._now()
        return self._behaviour.rule(self._call)

    # -- what happens at a step

    def _has_anything_at(self, step: int) -> bool:
        return any(event.at_step == step for event in self._events()) or self._fails_at(step)

    def _events(self) -> list[Any]:
        rule = self._rule
        return [*rule.texts, *rule.messages, *rule.binaries, *rule.logs, *rule.holds]

    def _fails_at(self, step: int) -> bool:
        return self._failure is not None and self._failure.at_step == step

    def _at(self, step: int) -> Iterator[Act]:
        rule = self._rule
        self._reached = step
        yield from (Text(event.text) for event in rule.texts if event.at_step == step)
        yield from (
            Send(event.type, event.data, event.to == "client") for event in rule.messages if event.at_step == step
        )
        yield from (
            SendBinary(event.event, event.data, event.to == "client")
            for event in rule.binaries
            if event.at_step == step
        )
        yield from (Log(event.text, event.level) for event in rule.logs if event.at_step == step)
        yield from (Stand(hold.name, step) for hold in rule.holds if hold.at_step == step)
        if self._fails_at(step):
            self._fail()

    def _at_the_end(self) -> Iterator[Act]:
        steps = {event.at_step for event in self._events()}
        if self._failure is not None and self._failure.at_step is not None:
            steps.add(self._failure.at_step)
        for step in sorted(step for step in steps if step > self._reached):
            yield from self._at(step)
        if self._failure is not None:
            self._fail()

    def _fail(self) -> None:
        assert self._failure is not None
        raise error_of(self._failure, self._call.definition)

    # -- previews

    def _preview(self, step: int, steps: int) -> Preview | PreviewFile | None:
        wanted = self._rule.previews
        if wanted is False:
            return None
        previews = wanted if isinstance(wanted, Previews) else Previews()
        if previews.images:
            content = previews.images[min(step, len(previews.images)) - 1]
            return PreviewFile(content, "PNG" if content.startswith(_PNG) else "JPEG")
        width, height = self._cells()
        draw = partial(sampler_preview, self._shown(), width, height, step, steps)
        return Preview(draw, previews.format, previews.size)

    def _cells(self) -> tuple[int, int]:
        latent = self._call.inputs.get("latent_image")
        return (latent.width, latent.height) if isinstance(latent, Latent) else (_CELLS, _CELLS)

    def _shown(self) -> Subject:
        """What previews show: not a random number of the call's, which its outputs are to be drawn from."""
        if self._subject is None:
            inputs = self._call.inputs
            seed = next((inputs[name] for name in ("seed", "noise_seed") if isinstance(inputs.get(name), int)), None)
            seed = zlib.crc32(self._call.node_id.encode("utf-8", "surrogatepass")) if seed is None else seed
            self._subject = Subject(seed, prompts_of(self._call))
        return self._subject

    # -- outputs

    def _given(self) -> Output:
        rule, call = self._rule, self._call
        ui: dict[str, Any] = {} if rule.ui is None else {key: _copy(value) for key, value in rule.ui.items()}
        for file in rule.files:
            ui[file.key] = [*ui.get(file.key, ()), self._write(file)]
        if rule.text is not None:
            ui["text"] = [rule.text] if isinstance(rule.text, str) else list(rule.text)
        if rule.expand is not None:
            links = tuple(list(link) for link in rule.expand.outputs)
            return Output(links, ui or None, {node_id: dict(node) for node_id, node in rule.expand.nodes.items()})
        values = tuple(rule.values or ())
        if len(values) < len(call.definition.outputs):
            values += generic.run(call).values[len(values) :]
        return Output(values, ui or None)

    def _write(self, file: OutputFile) -> dict[str, Any]:
        folder = self._call.folders.of_type(file.type)
        assert folder is not None, file.type
        path = posixpath.normpath(posixpath.join(folder, file.subfolder, file.filename))
        if not path.startswith(f"{folder}/"):
            raise ValueError(f"the script's file {file.subfolder}/{file.filename} lies outside of {folder}")
        self._call.files.write(path, file.data, now=self._now())
        return {**file_item(file.filename, file.subfolder, file.type), **file.more}


def _returned(stop: StopIteration) -> Output:
    assert isinstance(stop.value, Output), "a rule returns an Output"
    return stop.value


def _copy(value: Any) -> Any:
    """A list of its own for each call, as those of several calls are joined."""
    return list(value) if isinstance(value, list) else value
