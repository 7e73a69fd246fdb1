"""What recorded runs teach: a script and node classes with which a fake does again what the recorded server did."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from comfy_contracts.catalogue import Catalogue
from comfy_contracts.har import Har
from comfy_mock.engine import nodes
from comfy_mock.engine.choice_lists import MODEL_INPUTS
from comfy_mock.engine.default_models import DEFAULT_MODELS
from comfy_mock.engine.failures import without_tip
from comfy_mock.engine.learning.behaviour import Ways, behaviour_of
from comfy_mock.engine.learning.definitions import definitions
from comfy_mock.engine.learning.recorded import Recorded, read
from comfy_mock.engine.learning.rules import Learned, rules_for
from comfy_mock.engine.learning.watching import NodeCall, watch
from comfy_mock.engine.nodes.generic import GENERIC
from comfy_mock.engine.script.model import ModelChange, NodeRule, Script
from comfy_mock.engine.script.reading import to_builtins

SCENARIO, CATALOGUE, FILES = "scenario.yaml", "catalogue.json", "files"
_INPUT_FILES = {("LoadImage", "image"), ("LoadImageMask", "image"), ("LoadAudio", "audio"), ("LoadVideo", "file")}
_EXAMPLE = "example.png"
"""What lies in the input folder of every server."""


class NothingToLearn(ValueError):
    """No prompt ran in the recordings."""


@dataclass(frozen=True)
class Lesson:
    """What was learned.

    `script` has all contents in it, `classes` are entries of `/object_info` for the classes that the packaged catalogue
    does not have, `notes` say what was not learned, or not exactly. `runs` and `calls` count what it was learned from.

        lesson = learn([load("run.har")])
        with ComfyMock(script=lesson.script, catalogue=lesson.catalogue) as server:
            ...
    """

    script: Script
    classes: dict[str, dict[str, Any]]
    notes: list[str]
    runs: int
    calls: int

    @property
    def rules(self) -> list[NodeRule]:
        """The rules of the script: all are about nodes."""
        return [rule for rule in self.script.rules if isinstance(rule, NodeRule)]

    @cached_property
    def catalogue(self) -> Catalogue:
        """The packaged catalogue with the learned classes."""
        return Catalogue.packaged().merged(self.classes)

    def files(self) -> dict[str, bytes]:
        """What to write into a folder, by path: the scenario, the catalogue, and the files that the scenario names."""
        from comfy_mock.engine.script.yaml_text import yaml_dump

        contents: dict[str, bytes] = {}
        data = to_builtins(self.script)
        for rule in data.get("rules", []):
            for file in rule.get("files", []):
                if file.get("data"):
                    file["file"] = _kept(contents, file.pop("data"), file["filename"])
            previews = rule.get("previews")
            if isinstance(previews, dict) and previews.get("images"):
                images = previews.pop("images")
                kind = "png" if images[0].startswith(b"\x89PNG") else "jpg"
                previews["files"] = [_kept(contents, image, f"preview.{kind}") for image in images]
        scenario = yaml_dump(data).encode("utf-8")
        catalogue = (json.dumps(self.classes, indent=1, sort_keys=False) + "\n").encode("ascii")
        return {SCENARIO: scenario, CATALOGUE: catalogue, **contents}


def _kept(contents: dict[str, bytes], content: bytes, name: str) -> str:
    """The path under which a content is kept; equal ones are kept once. Names come from servers: they are made safe."""
    known = next((path for path, kept in contents.items() if kept == content), None)
    if known is not None:
        return known
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[-80:] or "file"
    path = f"{FILES}/{len(contents) + 1:03}-{safe}"
    contents[path] = content
    return path


def learn(hars: Iterable[Har], *, keep_pictures: bool = False, with_failures: bool = False) -> Lesson:
    """What recorded runs teach.

    With `keep_pictures` previews are the recorded pictures, without it they are drawn, in the recorded format and size.
    With `with_failures` nodes that failed fail again, the same time; without it they are only told of, as interrupted
    ones always are: what they did is not known to its end.

    Raises `NothingToLearn` where no prompt ran, and `HarError` where a date or a body in a HAR is garbled.
    """
    return _Teacher(keep_pictures=keep_pictures, with_failures=with_failures).lesson([read(har) for har in hars])


class _Teacher:
    def __init__(self, *, keep_pictures: bool, with_failures: bool) -> None:
        self._notes: dict[str, None] = {}
        self._with_failures = with_failures
        self._known = Catalogue.packaged()
        self._ways = Ways(keep_pictures, self._plays, self._note)

    def _note(self, text: str) -> None:
        self._notes.setdefault(text)

    def _plays(self, class_type: str) -> bool:
        definition = self._known.get(class_type)
        return definition is not None and nodes.behaviour(definition) is not GENERIC

    def lesson(self, recordings: list[Recorded]) -> Lesson:
        runs = [(recorded, run) for recorded in recordings for run in recorded.runs]
        classes = definitions(recordings, self._known, self._note)
        learned: list[Learned] = []
        cached: list[Learned] = []
        for recorded, run in runs:
            for call in watch(run, recorded.chatter, self._note):
                if self._is_to_be_learned(call):
                    rule = behaviour_of(call, recorded, self._ways)
                    into = learned if call.ran else cached
                    into.append(Learned(call.node, call.class_type, call.inputs, rule))
        seen = {each.class_type for each in learned}
        for each in cached:
            if each.class_type not in seen and _says_something(each.rule):
                self._note(f"{each.class_type} was never seen at work: how long it takes is not known")
                learned.append(each)
        if not learned:
            raise NothingToLearn("no prompt ran to any node's end in these recordings: there is nothing to learn")
        catalogue = self._known.merged(classes)
        rules = [rule for rule in rules_for(learned, catalogue.get, self._plays) if _says_something(rule)]
        script = Script(rules=[*rules], models=_models(recordings))
        silent = sum(not run.heard and not run.shown for _recorded, run in runs)
        if silent:
            self._note(f"{silent} of {len(runs)} prompts: no message and no history tells what they did")
        self._look_at_inputs(recordings)
        return Lesson(script, classes, list(self._notes), len(runs), len(learned))

    def _is_to_be_learned(self, call: NodeCall) -> bool:
        if call.failure is not None and not self._with_failures:
            error = call.failure
            message = without_tip(error.exception_message)
            self._note(f"{call.at} failed, {error.exception_type}: {message}. Not learned (--with-failures does)")
            return False
        if call.cut:
            self._note(f"{call.at} was interrupted, or the recording ends in the middle of it: not learned")
            return False
        return True

    def _look_at_inputs(self, recordings: list[Recorded]) -> None:
        for recorded in recordings:
            for class_type, name, value in _constants(recorded):
                if (class_type, name) in _INPUT_FILES and _is_missing(value, recorded):
                    self._note(f"{class_type} loads {value!r} from the input folder: upload it, or put it there")


def _is_missing(name: Any, recorded: Recorded) -> bool:
    """Whether an input file is to be there that no client uploads, and that is not made by a node."""
    if not isinstance(name, str) or name.endswith((" [output]", " [temp]")):
        return False
    return name.removesuffix(" [input]") not in recorded.uploads | {_EXAMPLE}


def _says_something(rule: NodeRule) -> bool:
    bare = NodeRule(match=rule.match, name=rule.name, optional=rule.optional, times=rule.times)
    return rule != bare


def _models(recordings: list[Recorded]) -> list[ModelChange]:
    """Models that core loaders loaded, and that a server does not have by itself."""
    missing: dict[str, dict[str, None]] = {}
    for recorded in recordings:
        for class_type, name, value in _constants(recorded):
            folder = MODEL_INPUTS.get((class_type, name))
            if folder is not None and isinstance(value, str) and value not in DEFAULT_MODELS.get(folder, ()):
                missing.setdefault(folder, {})[value] = None
    return [ModelChange(folder=folder, add=list(names)) for folder, names in missing.items()]


def _constants(recorded: Recorded) -> Iterable[tuple[str, str, Any]]:
    for run in recorded.runs:
        for node in run.graph.values():
            if isinstance(node, dict) and isinstance(node.get("inputs"), dict):
                for name, value in node["inputs"].items():
                    yield str(node.get("class_type")), name, value
