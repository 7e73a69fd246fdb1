"""What a server would say of a prompt, said before it is sent (protocol 3.3-3.9)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from comfy_client._declared_inputs import (
    AUTOGROW,
    DYNAMIC_COMBO,
    DeclaredInput,
    autogrow_names,
    declared_inputs,
    options_of,
)
from comfy_client._input_checks import Consequence, Finding, check_constant, is_custom, types_match
from comfy_contracts.catalogue import Catalogue, NodeDefinition

Prompt = Mapping[str, Mapping[str, Any]]
"""A prompt in API format: node id to `class_type`, `inputs` and `_meta`."""

_REPLACED = frozenset(
    {
        *("ResizeImagesByLongerEdge", "ImageBatch", "ImageScaleBy", "T2IAdapterLoader", "Load3DAnimation"),
        *("Preview3DAnimation", "SDV_img2vid_Conditioning", "ConditioningAverage "),
    }
)
"""Classes that a server which lacks them replaces by their successors (protocol 2.2, 3.12)."""

_ROW_SHOWN_MAX = 6

_WITHOUT_OWN_CATALOGUE = (
    "the catalogue that comes with this package knows ComfyUI's own classes only; for custom nodes give the Workflow "
    "the server's catalogue"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a node. `kind` is the server's word for it (protocol 3.6), or, where it has none,
    `no_such_node`, `no_such_output`, `unknown_input` or `constant_for_link`.

    `node_id`, `class_type` and `title` are of the node, `input_name` is the input, where there are any.
    """

    kind: str
    message: str
    consequence: Consequence
    node_id: str = ""
    class_type: str = ""
    title: str = ""
    input_name: str = ""

    def __str__(self) -> str:
        if not self.node_id:
            return self.message
        title = f" {self.title!r}" if self.title and self.title != self.class_type else ""
        return f"node {self.node_id} ({self.class_type}{title}): {self.message}"


class Checks:
    """The rules, with the catalogue they are read from.

    `catalogue` is the server's own. Without it the packaged one is used, and what only the server knows (its files,
    its custom nodes) makes a problem `unsure`.
    """

    def __init__(self, catalogue: Catalogue | None = None) -> None:
        self.catalogue = Catalogue.packaged() if catalogue is None else catalogue
        self.of_server = catalogue is not None

    def definition(self, class_type: str) -> NodeDefinition | None:
        """The class, or None where the catalogue does not know it."""
        return self.catalogue.get(class_type)

    def unknown_class(self, class_type: str) -> str:
        """The message about a class that the catalogue does not know."""
        near = nearest(class_type, self.catalogue)
        hint = "" if self.of_server else f" ({_WITHOUT_OWN_CATALOGUE})"
        return f"there is no class {class_type!r}{did_you_mean(near)}{hint}"

    def prompt(self, prompt: Prompt, targets: Iterable[str] | None = None) -> list[Problem]:
        """All that is wrong with a prompt. `targets` are the ids of the outputs to run; None runs all.

        Nodes that no output needs are not validated, so what is wrong with them is `ignored` (protocol 3.4).
        """
        wanted = None if targets is None else set(targets)
        problems = [problem for node_id in prompt for problem in self._class(prompt, node_id)]
        outputs = [
            node_id
            for node_id, node in prompt.items()
            if self._is_output(node["class_type"]) and (wanted is None or node_id in wanted)
        ]
        if not outputs:
            problems.append(self._no_outputs(prompt, wanted))
        needed = self._needed(prompt, outputs)
        for node_id in prompt:
            found = self.node(prompt, node_id)
            problems += found if node_id in needed else [replace(problem, consequence="ignored") for problem in found]
        problems.extend(self._cycles(prompt, outputs))
        return problems

    def node(self, prompt: Prompt, node_id: str, names: Iterable[str] | None = None) -> list[Problem]:
        """What is wrong with the inputs of one node; `names` limits it to these inputs, and leaves out missing ones."""
        node = prompt[node_id]
        definition = self.definition(node["class_type"])
        if definition is None:
            return []
        declared = declared_inputs(definition, node["inputs"])
        if names is None:
            findings = [*_missing(declared, node["inputs"]), *self._values(prompt, node, declared, node["inputs"])]
        else:
            findings = list(self._values(prompt, node, declared, names))
        return [_at(prompt, node_id, finding) for finding in findings]

    def _values(
        self, prompt: Prompt, node: Mapping[str, Any], declared: Mapping[str, DeclaredInput], names: Iterable[str]
    ) -> Iterator[Finding]:
        definition = self.catalogue[node["class_type"]]
        for name in names:
            value = node["inputs"][name]
            if name not in declared:
                yield _unknown_input(definition, name, value, declared)
            elif isinstance(value, list) and declared[name].type == DYNAMIC_COMBO:
                text = f"`{name}` decides which inputs the node has, so it cannot come from another node: give a choice"
                yield Finding("value_not_in_list", name, text, "fails")
            elif isinstance(value, list):
                yield from self._link(prompt, declared[name], value, definition)
            else:
                yield from check_constant(definition, declared[name], value, of_server=self.of_server)

    def _link(
        self, prompt: Prompt, declared: DeclaredInput, value: list[Any], definition: NodeDefinition
    ) -> Iterator[Finding]:
        name = declared.name
        if value and all(isinstance(item, list) for item in value):
            text = f"`{name}` is given {len(value)} links; it takes one"
            yield Finding("bad_linked_input", name, text, "refused")
            return
        if len(value) != 2:
            text = (
                f"`{name}` is a list of {len(value)}: a link is [node id, output number], "
                'and a list that is a value {"__value__": [...]}'
            )
            yield Finding("bad_linked_input", name, text, "refused")
            return
        source_id, slot = value
        source = prompt.get(source_id) if isinstance(source_id, str) else None
        if source is None:
            text = f"`{name}` is linked to node {source_id!r}, which is not in the workflow"
            yield Finding("no_such_node", name, text + did_you_mean(nearest(str(source_id), prompt)), "refused")
            return
        source_definition = self.definition(source["class_type"])
        if source_definition is None:
            return
        outputs = source_definition.outputs
        if not isinstance(slot, int) or not -len(outputs) <= slot < len(outputs):
            has = describe_outputs(source_definition)
            text = f"`{name}` is linked to output {slot!r} of node {source_id}, which has {has}"
            yield Finding("no_such_output", name, text, "refused")
        elif not types_match(outputs[slot], declared.type):
            # A validator of a custom node may take any type, and the catalogue does not tell.
            consequence: Consequence = "unsure" if is_custom(definition) else "refused"
            yield Finding(
                "return_type_mismatch", name, _mismatch(declared, source_id, slot, source_definition), consequence
            )

    def _class(self, prompt: Prompt, node_id: str) -> Iterator[Problem]:
        class_type = prompt[node_id]["class_type"]
        if class_type not in self.catalogue:
            consequence: Consequence = "refused" if self.of_server and class_type not in _REPLACED else "unsure"
            yield _at(prompt, node_id, Finding("missing_node_type", "", self.unknown_class(class_type), consequence))

    def _is_output(self, class_type: str) -> bool:
        definition = self.definition(class_type)
        return definition is not None and definition.output_node

    def _no_outputs(self, prompt: Prompt, wanted: set[str] | None) -> Problem:
        unknown = not self.of_server and any(node["class_type"] not in self.catalogue for node in prompt.values())
        text = "nothing would run: there is no output node, such as SaveImage or PreviewImage"
        if wanted is not None:
            text = f"nothing would run: no output node is among the targets {sorted(wanted)}"
        return Problem("prompt_no_outputs", text, "unsure" if unknown else "refused")

    def _needed(self, prompt: Prompt, outputs: Iterable[str]) -> set[str]:
        needed: set[str] = set()
        waiting = list(outputs)
        while waiting:
            node_id = waiting.pop()
            if node_id not in needed:
                needed.add(node_id)
                waiting.extend(self._sources(prompt, node_id))
        return needed

    def _sources(self, prompt: Prompt, node_id: str) -> Iterator[str]:
        """The nodes that a server visits from this one: by links of declared inputs."""
        node = prompt[node_id]
        definition = self.definition(node["class_type"])
        declared = None if definition is None else declared_inputs(definition, node["inputs"])
        for name, value in node["inputs"].items():
            is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
            if is_link and value[0] in prompt and (declared is None or _validated(declared, name)):
                yield value[0]

    def _cycles(self, prompt: Prompt, outputs: Iterable[str]) -> Iterator[Problem]:
        done: set[str] = set()
        for output in outputs:
            path: dict[str, Iterator[str]] = {output: self._sources(prompt, output)} if output not in done else {}
            while path:
                node_id = next(reversed(path))
                source = next(path[node_id], None)
                if source is None:
                    done.add(node_id)
                    del path[node_id]
                elif source in path:
                    ids = list(path)[list(path).index(source) :]
                    round_trip = " <- ".join([*ids, source])
                    text = f"its inputs lead back to itself: {round_trip}; remove one of these links"
                    yield _at(prompt, source, Finding("dependency_cycle", "", text, "refused"))
                elif source not in done:
                    path[source] = self._sources(prompt, source)


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known words that are most like this one, best first."""
    words = list(known)
    lowered = {known_word.lower(): known_word for known_word in reversed(words)}
    close = difflib.get_close_matches(word.lower(), lowered, n=count, cutoff=0.6)
    return [lowered[match] for match in close]


def did_you_mean(near: list[str]) -> str:
    """`; did you mean 'this' or 'that'?`, or nothing."""
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def describe_outputs(definition: NodeDefinition) -> str:
    """`3 outputs: 0 MODEL, 1 CLIP, 2 VAE`."""
    names = output_names(definition)
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(names))
    return f"{len(names)} output{'s' if len(names) != 1 else ''}: {listed}" if names else "no outputs"


def output_names(definition: NodeDefinition) -> list[str]:
    """The names of the outputs; one that has none is called by its type."""
    names = definition.entry.get("output_name") or []
    types = [kind if isinstance(kind, str) else "COMBO" for kind in definition.outputs]
    return [str(names[index]) if index < len(names) else kind for index, kind in enumerate(types)]


def _validated(declared: Mapping[str, DeclaredInput], name: str) -> bool:
    return name in declared and declared[name].validated


def _mismatch(declared: DeclaredInput, source_id: str, slot: int, source: NodeDefinition) -> str:
    names, types = output_names(source), source.outputs
    found = types[slot] if isinstance(types[slot], str) else "COMBO"
    fitting = [f"{index} {names[index]}" for index, kind in enumerate(types) if types_match(kind, declared.type)]
    hint = f"; its output {' or '.join(fitting)} would fit" if fitting else ""
    return (
        f"`{declared.name}` takes {declared.type_name}, but output {slot} ({names[slot]}) of node {source_id} "
        f"({source.class_type}) is {found}{hint}"
    )


def _missing(declared: Mapping[str, DeclaredInput], inputs: Mapping[str, Any]) -> Iterator[Finding]:
    for name, one in declared.items():
        if one.required and name not in inputs:
            text = f"required input `{name}` ({one.type_name}) is missing"
            yield Finding("required_input_missing", name, text, "refused" if one.validated else "fails")


def _unknown_input(definition: NodeDefinition, name: str, value: Any, declared: Mapping[str, DeclaredInput]) -> Finding:
    spec = definition.required.get(name) or definition.optional.get(name)
    if spec is not None and spec[0] == AUTOGROW:
        names = autogrow_names(options_of(spec))
        text = f"`{name}` is a row of up to {len(names)} inputs, `{name}.{names[0]}` to `{name}.{names[-1]}`"
        text += f", and is given {len(value)}" if isinstance(value, list) else ""
    else:
        hint = did_you_mean(nearest(name, declared)) or "."
        text = f"there is no input `{name}`{hint} It takes: {_listed(declared)}"
    # The server drops constants that nobody declared, and passes on links (protocol 3.11).
    return Finding("unknown_input", name, text, "fails" if isinstance(value, list) else "ignored")


def _listed(names: Iterable[str]) -> str:
    """The names of inputs; of a long row only the first and the last."""
    rows: dict[str, list[str]] = {}
    for name in names:
        row, dot, _ = name.rpartition(".")
        rows.setdefault(row if dot else name, []).append(name)
    shown = [row if len(row) <= _ROW_SHOWN_MAX else [f"{row[0]} ... {row[-1]}"] for row in rows.values()]
    return ", ".join(name for row in shown for name in row) or "none"


def _at(prompt: Prompt, node_id: str, finding: Finding) -> Problem:
    node = prompt[node_id]
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, Mapping) else None
    return Problem(
        kind=finding.kind,
        message=finding.message,
        consequence=finding.consequence,
        node_id=node_id,
        class_type=str(node["class_type"]),
        title=title if isinstance(title, str) else "",
        input_name=finding.input_name,
    )
