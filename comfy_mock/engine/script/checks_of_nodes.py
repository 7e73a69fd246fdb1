"""The checks of node rules: what a class has, what its inputs can be, and what a node cannot do at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from comfy_contracts.catalogue import NodeDefinition
from comfy_mock.engine.choice_lists import MODEL_INPUTS, looks_like_models
from comfy_mock.engine.dynamic_inputs import AUTOGROW, DYNAMIC_COMBO, DYNAMIC_SLOT, input_options, input_type
from comfy_mock.engine.graph import is_link
from comfy_mock.engine.script.findings import SECONDS_MAX, Finding, Findings, at_least, under, within
from comfy_mock.engine.script.model import Expand, Failure, NodeRule, OutputFile, Previews
from comfy_mock.engine.script.problems import did_you_mean, shown
from comfy_mock.engine.validation_inputs import choices_of
from comfy_mock.engine.validators import VALIDATORS

_CHOICES_SHOWN_MAX = 12
_EVENT_MAX = 2**32 - 1
_STEPS_MAX = 1_000_000
_PREVIEW_SIZE_MAX = 16_384
_OUTPUTS = ("ui", "text", "files", "values", "expand")
_KINDS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "INT": (int, "a whole number"),
    "FLOAT": ((int, float), "a number"),
    "STRING": (str, "a text"),
    "BOOLEAN": (bool, "true or false"),
}
"""What a constant of a type is once the server has converted it (protocol 3.7)."""


class NodeKnowledge:
    """The classes of a server; what `accept_any_node` lets in is not known, and may be anything."""

    def __init__(self, catalogue: Mapping[str, NodeDefinition], *, accept_any_node: bool) -> None:
        self._catalogue, self._any_node = catalogue, accept_any_node

    def definition(self, class_type: str) -> NodeDefinition | None:
        """The class of this name, if it is known."""
        return self._catalogue.get(class_type)

    def complaint(self, class_type: str) -> str | None:
        """What is wrong with a class that the server does not have."""
        if self._any_node or class_type in self._catalogue:
            return None
        near = did_you_mean(class_type, self._catalogue)
        if near:
            return f"the server has no class {class_type!r}{near}"
        return (
            f"the server has no class {class_type!r}. For one of your own give it a `catalogue` with it or "
            "accept_any_node, or add the rule (add_rules) after the class (add_node)"
        )


def node_findings(rule: NodeRule, nodes: NodeKnowledge) -> Findings:
    """All that is wrong with a node rule."""
    match = rule.match
    if match.class_type is not None:
        unknown = nodes.complaint(match.class_type)
        if unknown is not None:
            yield Finding(("match", "class_type"), unknown)
        definition = nodes.definition(match.class_type)
        if definition is not None:
            yield from under(("match", "inputs"), _inputs(definition, match.inputs))
            if rule.values is not None and len(rule.values) > len(definition.outputs):
                text = f"there are {len(rule.values)}, and {match.class_type} has {len(definition.outputs)} outputs"
                yield Finding(("values",), text)
    yield from _behaviour(rule)
    yield from _exclusions(rule)
    if rule.expand is not None:
        yield from under(("expand",), _expansion(rule.expand, nodes))


def _behaviour(rule: NodeRule) -> Findings:
    yield from within(0, SECONDS_MAX, duration=rule.duration)
    yield from within(1, _STEPS_MAX, steps=rule.steps)
    yield from under(("step_time",), _step_times(rule))
    for name, value in (rule.ui or {}).items():
        if not isinstance(value, list):
            text = f"is a list in every node's ui, for those of several calls are joined; write [{shown(value)}]"
            yield Finding(("ui", name), text)
    if isinstance(rule.previews, Previews):
        yield from under(("previews",), _previews(rule.previews))
    for name in ("texts", "messages", "binaries", "logs", "holds"):
        for index, part in enumerate(getattr(rule, name)):
            yield from under((name, index), _step(part.at_step, rule.steps))
    for index, binary in enumerate(rule.binaries):
        if not 0 <= binary.event <= _EVENT_MAX:
            yield Finding(("binaries", index, "event"), f"the number of an event has 32 bits, unlike {binary.event}")
    for index, file in enumerate(rule.files):
        yield from under(("files", index), _file(file))
    if isinstance(rule.raises, Failure):
        yield from under(("raises",), _step(rule.raises.at_step, rule.steps))
        if not rule.raises.type.strip():
            yield Finding(("raises", "type"), "an exception has a type, such as ValueError or torch.OutOfMemoryError")


def _step_times(rule: NodeRule) -> Findings:
    times = rule.step_time if isinstance(rule.step_time, list) else [rule.step_time]
    if not times:
        yield Finding((), "is an empty list: give the seconds of each step, the last ones go on")
    elif min(times) < 0:
        yield Finding((), f"time does not run backwards: {shown(rule.step_time)}")
    elif max(times) > SECONDS_MAX:
        yield Finding((), f"a step takes at most {SECONDS_MAX:.0f} seconds, not {shown(rule.step_time)}")
    elif rule.steps is None and rule.step_time != NodeRule().step_time:
        yield Finding((), "is for the `steps` of the rule: say how many there are")


def _file(file: OutputFile) -> Findings:
    if not file.filename or "/" in file.filename or "\0" in file.filename:
        yield Finding(("filename",), f"{file.filename!r} is no file's name; the folder goes into `subfolder`")
    if file.subfolder.startswith("/") or ".." in file.subfolder.split("/"):
        yield Finding(("subfolder",), f"{file.subfolder!r} leads out of the {file.type} folder")


def _previews(previews: Previews) -> Findings:
    yield from within(1, _PREVIEW_SIZE_MAX, size=previews.size)
    for index, image in enumerate(previews.images):
        if not image.startswith((b"\xff\xd8", b"\x89PNG\r\n\x1a\n")):
            yield Finding(("images", index), "is neither a JPEG nor a PNG file")


def _step(at_step: int | None, steps: int | None) -> Findings:
    yield from at_least(0, at_step=at_step)
    if at_step is not None and steps is not None and at_step > steps:
        yield Finding(("at_step",), f"there is no step {at_step}: `steps` is {steps}")


def _exclusions(rule: NodeRule) -> Findings:
    given = [name for name in _OUTPUTS if getattr(rule, name) not in (None, [])]
    if rule.raises is not None and given:
        yield Finding((given[0],), "a node that raises has no outputs: give `raises` or outputs")
    if rule.expand is not None and rule.values is not None:
        yield Finding(("values",), "what an expansion gives are its `outputs`: give `expand` or `values`")
    if rule.cached:
        running = [
            name
            for name in ("raises", "steps", "duration", "holds", "texts", "messages", "binaries", "logs")
            if getattr(rule, name) not in (None, [])
        ]
        if running:
            yield Finding((running[0],), "a node that is cached does not run: leave this out, or `cached`")


def _inputs(definition: NodeDefinition, wanted: Mapping[str, Any]) -> Findings:
    declared = dict(_all_inputs(definition))
    for name, value in wanted.items():
        spec = next((each for declared_name, each in declared.items() if _fits(declared_name, name)), None)
        if spec is None:
            near = did_you_mean(name, declared)
            has = ", ".join(declared) or "none"
            yield Finding((name,), f"{definition.class_type} has no input {name!r}{near or '.'} It has {has}")
        else:
            text = _impossible(definition.class_type, name, spec, value)
            if text is not None:
                yield Finding((name,), text)


def misspelt_inputs(definition: NodeDefinition, names: Iterable[str]) -> str | None:
    """What is wrong with the first of these names that no input of a class has, but one has nearly."""
    declared = [name for name, _spec in _all_inputs(definition)]
    for name in names:
        near = "" if any(_fits(known, name) for known in declared) else did_you_mean(name, declared)
        if near:
            return f"{definition.class_type} has no input {name!r}{near}"
    return None


def _impossible(class_type: str, name: str, spec: Any, value: Any) -> str | None:
    """Why no prompt that is accepted has this value here; a link, `[id, slot]`, may stand everywhere."""
    if is_link(value):
        return None
    kind = input_type(spec)
    if isinstance(kind, str) and kind in _KINDS:
        types, words = _KINDS[kind]
        if not isinstance(value, types) or (isinstance(value, bool) and kind != "BOOLEAN"):
            return f"is {words} in every prompt, or a link [id, slot]; {shown(value)} never fits"
    validator = VALIDATORS.get(class_type)
    if validator is not None and validator.takes(name):
        return None
    options = input_options(spec)
    if isinstance(value, (int, float)):
        low, high = options.get("min"), options.get("max")
        if (low is not None and value < low) or (high is not None and value > high):
            return f"is {_range(low, high)} in every prompt that is accepted; {shown(value)} never is"
    choices = choices_of(spec)
    if choices is None or _offers_files(class_type, name, spec):
        return None
    strangers = [each for each in (value if isinstance(value, list) else [value]) if each not in choices]
    if not strangers:
        return None
    texts = [str(choice) for choice in choices]
    listed = f"one of {', '.join(texts)}" if len(texts) <= _CHOICES_SHOWN_MAX else f"one of {len(texts)} choices"
    return f"is {listed} in every prompt; {shown(strangers[0])} never fits{did_you_mean(strangers[0], texts)}"


def _range(low: Any, high: Any) -> str:
    if low is None:
        return f"{high} or less"
    return f"{low} or more" if high is None else f"{low} to {high}"


def _offers_files(class_type: str, name: str, spec: Any) -> bool:
    """Whether the choices of an input are files, which come and go."""
    choices, options = choices_of(spec), input_options(spec)
    return (
        not choices
        or (class_type, name) in MODEL_INPUTS
        or looks_like_models(choices)
        or "remote" in options
        or any(key.endswith(("_upload", "_folder")) for key in options)
    )


def _all_inputs(definition: NodeDefinition) -> Iterator[tuple[str, Any]]:
    """The inputs that nodes of a class may have, by full name; `*` in one stands for the number of a growing row."""
    for name, kind in definition.hidden.items():
        yield name, [kind]
    yield from _declared({**definition.required, **definition.optional}, "")


def _declared(inputs: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, spec in inputs.items():
        full_name, kind, options = prefix + name, input_type(spec), input_options(spec)
        if kind == AUTOGROW:
            template = options["template"]
            names = template.get("names") or [f"{template.get('prefix', '')}*"]
            for inner in template["input"].values():
                for inner_spec in inner.values():
                    yield from _declared(dict.fromkeys(names, inner_spec), f"{full_name}.")
            continue
        yield full_name, [kind, {}] if kind == DYNAMIC_COMBO else spec
        for option in options.get("options", []) if kind == DYNAMIC_COMBO else []:
            for group in option["inputs"].values():
                yield from _declared(group, f"{full_name}.")
        if kind == DYNAMIC_SLOT:
            for group in options.get("inputs", {}).values():
                yield from _declared(group, f"{full_name}.")


def _fits(declared: str, name: str) -> bool:
    if declared.endswith("*"):
        return name.startswith(declared[:-1]) and name[len(declared) - 1 :].isdecimal()
    return declared == name


def _expansion(expand: Expand, nodes: NodeKnowledge) -> Findings:
    if not expand.nodes:
        yield Finding(("nodes",), "an expansion has nodes: an object of them by id, as in a prompt")
    for node_id, node in expand.nodes.items():
        path = ("nodes", node_id)
        class_type = node.get("class_type")
        if not isinstance(class_type, str):
            yield Finding(path, "a node needs a `class_type`")
        elif (unknown := nodes.complaint(class_type)) is not None:
            yield Finding((*path, "class_type"), unknown)
        if not isinstance(node.get("inputs", {}), dict):
            yield Finding((*path, "inputs"), "must be an object")
    for index, link in enumerate(expand.outputs):
        if not is_link(link):
            yield Finding(("outputs", index), f"is a link [id, slot], not {shown(link)}")
        elif link[0] not in expand.nodes:
            yield Finding(("outputs", index), f"no node of the expansion has the id {link[0]!r}")
