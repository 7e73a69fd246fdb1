"""The node classes that a server offers, with their current lists of files (protocol 2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_contracts import jsontext
from comfy_contracts.catalogue import Catalogue, NodeDefinition, complete_entry
from comfy_contracts.profiles import Profile
from comfy_mock.engine.choice_lists import MODEL_INPUTS, ChoiceLists, choices_of, looks_like_models
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.models import ModelFolders
from comfy_mock.engine.options import Options
from comfy_mock.engine.unknown_nodes import UnknownNodes

_NEW_V1_KEYS = {"is_input_list", "has_intermediate_output", "search_aliases", "dev_only", "essentials_category"}


class ObjectInfo:
    """The classes of `catalogue`, and those that are added, as `/object_info` shows them.

    Looking up a class is cheap: its entry is made anew only when one of its lists has changed.
    """

    def __init__(
        self, catalogue: Catalogue, models: ModelFolders, files: Files, folders: Folders, options: Options
    ) -> None:
        self._base = _Base.of(catalogue)
        self._all_keys = Profile.of(options.version).has("object_info_v1_keys")
        self._own: dict[str, NodeDefinition] = {}
        self._choices = ChoiceLists(models, files, folders)
        self._current: dict[str, tuple[dict[str, list[str]], NodeDefinition]] = {}
        self._json: tuple[tuple[Any, ...], bytes] | None = None
        self._any_model = options.accept_any_model
        self._unknown = UnknownNodes() if options.accept_any_node else None

    def definition(self, class_type: str) -> NodeDefinition | None:
        """A class with its current choices; None for an unknown one, unless `learn` has met it."""
        plain = self._plain(class_type)
        if plain is None:
            return None if self._unknown is None else self._unknown.definition(class_type)
        choices = self._choices.of(class_type)
        if not choices:
            return plain
        known = self._current.get(class_type)
        if known is None or known[0] != choices:
            known = (choices, NodeDefinition(class_type, _with_choices(plain.entry, choices)))
            self._current[class_type] = known
        return known[1]

    def entry(self, class_type: str) -> Mapping[str, Any] | None:
        """What `/object_info/{class_type}` shows of a class, None for an unknown one."""
        definition = None if self._plain(class_type) is None else self.definition(class_type)
        return None if definition is None else self._shown(definition)

    def entries(self) -> dict[str, Mapping[str, Any]]:
        """What `/object_info` shows, in the order of registration. The entries are shared: treat them as frozen."""
        names = [*self._base.catalogue, *(name for name in self._own if name not in self._base.catalogue)]
        return {name: entry for name in names if (entry := self.entry(name)) is not None}

    def __len__(self) -> int:
        """How many classes there are."""
        return len({*self._base.catalogue, *self._own})

    def json_bytes(self) -> bytes:
        """`entries` in the text form of the real server, made anew only when something has changed."""
        varying = {name: self.definition(name) for name in (*self._choices.classes(), *self._own) if self._plain(name)}
        stamp = tuple(varying.items())
        if self._json is None or self._json[0] != stamp:
            texts = dict(self._base.texts() if self._all_keys else self._old_texts())
            for name, definition in varying.items():
                assert definition is not None
                texts[name] = _text(name, self._shown(definition))
            self._json = stamp, f"{{{', '.join(texts.values())}}}".encode("ascii")
        return self._json[1]

    def add_node(self, class_type: str, entry: Mapping[str, Any]) -> None:
        """Add a class, or replace one: `entry` is its `/object_info`, of which what is missing is filled in.

        Raises `CatalogueError` if it is not of that form.
        """
        entry = Catalogue({class_type: entry})[class_type].entry
        self._own[class_type] = NodeDefinition(class_type, complete_entry(entry, class_type))
        self._current.pop(class_type, None)

    def accepts_any(self, class_type: str, input_name: str) -> bool:
        """Whether any value will do for an input, because it names a model and `accept_any_model` is on."""
        if not self._any_model:
            return False
        if (class_type, input_name) in MODEL_INPUTS:
            return True
        definition = self.definition(class_type)
        declared = {} if definition is None else {**definition.required, **definition.optional}
        return looks_like_models(choices_of(declared.get(input_name)))

    def learn(self, prompt: Any) -> None:
        """With `accept_any_node`: make up definitions for the classes of `prompt` that nobody knows, from their use."""
        if self._unknown is not None:
            self._unknown.learn(prompt, known=self._plain)

    def _shown(self, definition: NodeDefinition) -> Mapping[str, Any]:
        """The entry of a class, without the keys that this version does not have."""
        if self._all_keys or definition.is_v3:
            return definition.entry
        return {key: value for key, value in definition.entry.items() if key not in _NEW_V1_KEYS}

    def _old_texts(self) -> Mapping[str, str]:
        completed = {name: self._base.definition(name) for name in self._base.catalogue}
        return {name: _text(name, self._shown(known)) for name, known in completed.items() if known is not None}

    def _plain(self, class_type: str) -> NodeDefinition | None:
        return self._own.get(class_type) or self._base.definition(class_type)


class _Base:
    """What all servers with one catalogue share: its entries, completed, and their text."""

    _made: tuple[Catalogue, _Base] | None = None

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._definitions: dict[str, NodeDefinition] = {}
        self._texts: dict[str, str] | None = None

    @classmethod
    def of(cls, catalogue: Catalogue) -> _Base:
        """The base of a catalogue. The last one is kept, because tests start many servers with the same."""
        if cls._made is None or cls._made[0] is not catalogue:
            cls._made = catalogue, cls(catalogue)
        return cls._made[1]

    def definition(self, class_type: str) -> NodeDefinition | None:
        known = self._definitions.get(class_type)
        if known is None and class_type in self.catalogue:
            entry = complete_entry(self.catalogue[class_type].entry, class_type)
            known = self._definitions[class_type] = NodeDefinition(class_type, entry)
        return known

    def texts(self) -> Mapping[str, str]:
        """Each class as a member of the JSON object that `/object_info` answers."""
        if self._texts is None:
            completed = {name: self.definition(name) for name in self.catalogue}
            self._texts = {name: _text(name, known.entry) for name, known in completed.items() if known is not None}
        return self._texts


def _text(class_type: str, entry: Mapping[str, Any]) -> str:
    return f"{jsontext.dumps(class_type)}: {jsontext.dumps(entry)}"


def _with_choices(entry: Mapping[str, Any], choices: Mapping[str, list[str]]) -> dict[str, Any]:
    """A copy of an entry in which some inputs have these choices."""
    inputs = {
        kind: {
            name: _declared(spec, choices[name]) if kind != "hidden" and name in choices else spec
            for name, spec in declared.items()
        }
        for kind, declared in entry.get("input", {}).items()
    }
    return {**entry, "input": inputs}


def _declared(spec: Any, choices: list[str]) -> list[Any]:
    if spec[0] == "COMBO":
        return ["COMBO", {**(spec[1] if len(spec) > 1 else {}), "options": choices}]
    return [choices, *spec[1:]]
