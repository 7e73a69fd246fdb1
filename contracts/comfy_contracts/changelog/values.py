"""What is another thing in one JSON value than in another: in its shape, and in values of the same shape."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from comfy_contracts import jsontext
from comfy_contracts.canonical import dumps
from comfy_contracts.changelog.model import Kind
from comfy_contracts.changelog.names import Agreement, Pairs, has_name, nameless

Path = tuple[str, ...]

_WORDS = {
    "NoneType": "null",
    "null": "null",
    "bool": "boolean",
    "int": "integer",
    "float": "float",
    "str": "string",
    "list": "list",
    "dict": "object",
}
_PLACEHOLDER = re.compile(r"<(null|bool|int|float|str|list|dict)>")
_NUMBERED = re.compile(r"\d+(?:[.:]\d+)*")
_PLAIN = re.compile(r"[\w-]+")
_MEMBER, _ANY_KEY = "[]", ".*"
_KEYED_BY_NODES = frozenset({".nodes", ".outputs", ".meta", ".node_errors"})
"""Fields whose values are objects with node ids for keys (protocol 3.6, 4.3, 6.6)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that has changed in a value.

    `path` is where, with `[]` for any member of a list and `*` for any key that is an id or a number. `structural` says
    that the shape has changed, not just a value.
    """

    kind: Kind
    path: str
    before: str
    after: str
    structural: bool = True


def word(value: Any) -> str:
    """The JSON type of a canonical value, integers and floats being two."""
    found = _PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    return _WORDS[found[1] if found else type(value).__name__]


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text; None where it is none."""
    try:
        return jsontext.loads(text)
    except (ValueError, RecursionError):
        return None


def shown(value: Any) -> str:
    """A value as JSON, for people."""
    return nameless(dumps(value, sort_keys=False))


class Walk:
    """Goes through two canonical values. `key_order` says that the order of keys counts; `root` begins all paths."""

    def __init__(self, names: Pairs, *, root: str, key_order: bool = True) -> None:
        self._names, self._root, self._key_order = names, root, key_order

    def steps(self, before: Any, after: Any, path: Path = ()) -> Iterator[Step]:
        """All that has changed."""
        if word(before) != word(after):
            yield self._step("retyped", path, word(before), word(after))
        elif isinstance(before, dict) and isinstance(after, dict):
            of_files = _is_file(before) and _is_file(after)
            yield from self._of_files(before, after, path) if of_files else self._of_objects(before, after, path)
        elif isinstance(before, list) and isinstance(after, list):
            yield from self._of_lists(before, after, path)
        elif isinstance(before, str) and isinstance(after, str):
            agreement = self._names.agree(before, after)
            if agreement is Agreement.DIFFERENT:
                yield self._step("changed", path, shown(before), shown(after), structural=False)
            elif agreement is Agreement.OTHER_NAME:
                yield Step("changed", f"which random name is in `{self._text(path)}`", "", "", structural=False)
        elif repr(before) != repr(after):
            yield self._step("changed", path, shown(before), shown(after), structural=False)

    def pooled(self, before: Sequence[Any], after: Sequence[Any], path: Path = ()) -> Iterator[Step]:
        """What has changed in the shape of values of which there are more on one side than on the other.

        Which is which is not known: a field has come or gone if it is always there on one side, never on the other.
        """
        old, new = _shapes(before, path), _shapes(after, path)
        for place in [*old, *(place for place in new if place not in old)]:
            if place in old and place in new:
                if old[place].keys().isdisjoint(new[place]):
                    yield self._step("retyped", place, _either(old[place]), _either(new[place]))
            elif place[:-1] in old and place[:-1] in new and place[-1] not in (_MEMBER, _ANY_KEY):
                side = old if place in old else new
                if side[place].total() == side[place[:-1]]["object"]:
                    yield self._appearance(place, _either(old.get(place)), _either(new.get(place)))

    def _step(self, kind: Kind, path: Path, before: str, after: str, *, structural: bool = True) -> Step:
        return Step(kind, f"`{self._text(path)}`", before, after, structural)

    def _text(self, path: Path) -> str:
        return (self._root + "".join(path)).removeprefix(".")

    def _appearance(self, path: Path, before: str, after: str) -> Step:
        kind: Kind = "removed" if before else "added"
        # What is under an id or a number is one of many, not a field.
        return self._step(kind, path, before, after, structural=path[-1] not in (_MEMBER, _ANY_KEY))

    def _of_objects(self, before: dict[str, Any], after: dict[str, Any], path: Path) -> Iterator[Step]:
        pairs = self._paired_keys(before, after)
        paired = set(pairs.values())
        gone = [key for key in before if key not in pairs]
        come = [key for key in after if key not in paired]
        are_fields = all(_into(path, key)[-1] != _ANY_KEY for key in (*gone, *come))
        if are_fields and _is_renaming(before, after, gone, come):
            yield Step("renamed", f"a field of `{self._text(path)}`", gone[0], come[0])
        else:
            yield from (self._appearance(_into(path, key), word(before[key]), "") for key in gone)
            yield from (self._appearance(_into(path, key), "", word(after[key])) for key in come)
        for key, other in pairs.items():
            yield from self.steps(before[key], after[other], _into(path, key))
        order, other_order = list(pairs.values()), [key for key in after if key in paired]
        if self._key_order and order != other_order:
            what = f"order of keys of `{self._text(path)}`"
            yield Step("changed", what, shown(order), shown(other_order), structural=False)

    def _of_files(self, before: dict[str, Any], after: dict[str, Any], path: Path) -> Iterator[Step]:
        """The facts of two files (`media_facts`): of one that cannot be read there are no others."""
        old, new = _state(before), _state(after)
        if old != new:
            yield Step("changed", f"state of `{self._text(path)}`", old, new, structural=False)
        elif old == _READABLE:
            yield from self._of_objects(before, after, path)

    def _paired_keys(self, before: dict[str, Any], after: dict[str, Any]) -> dict[str, str]:
        """The keys of the one that are keys of the other, each with what it is called there."""
        pairs = {key: self._names.after_of(key) for key in before if has_name(key)}
        pairs = {key: other for key, other in pairs.items() if other in after and self._names.before_of(other) == key}
        left = [key for key in after if has_name(key) and key not in pairs.values()]
        for key in before:
            if key in pairs or not has_name(key):
                continue
            other = next((one for one in left if self._names.agree(key, one) is Agreement.EQUAL), None)
            if other is not None:
                pairs[key] = other
                left.remove(other)
        return {key: pairs.get(key, key) for key in before if key in pairs or (key in after and not has_name(key))}

    def _of_lists(self, before: list[Any], after: list[Any], path: Path) -> Iterator[Step]:
        inside = (*path, _MEMBER)
        if len(before) == len(after):
            for one, other in zip(before, after, strict=True):
                yield from self.steps(one, other, inside)
        elif any(isinstance(item, (dict, list)) for item in (*before, *after)):
            yield from self.pooled(before, after, inside)
            what = f"length of `{self._text(path)}`"
            yield Step("changed", what, str(len(before)), str(len(after)), structural=False)
        else:
            old, new = Counter(map(shown, before)), Counter(map(shown, after))
            yield from (self._step("removed", inside, text, "", structural=False) for text in (old - new).elements())
            yield from (self._step("added", inside, "", text, structural=False) for text in (new - old).elements())


_READABLE = "readable"


def _is_file(value: dict[str, Any]) -> bool:
    return isinstance(value.get("kind"), str) and not {"size", "broken", "sha256"}.isdisjoint(value)


def _state(facts: dict[str, Any]) -> str:
    """Whether a file could be read; of one that was only looked at from outside, which one it is."""
    digest = f"SHA-256 {str(facts['sha256'])[:8]}…" if "sha256" in facts else ""
    if "broken" in facts:
        return f"broken ({facts['broken']}){digest and f', {digest}'}"
    return f"{facts.get('bytes')} bytes, {digest}" if digest else _READABLE


def _is_renaming(before: dict[str, Any], after: dict[str, Any], gone: list[str], come: list[str]) -> bool:
    """Whether the one key that is gone and the one that has come stand at the same place with the same value."""
    if len(gone) != 1 or len(come) != 1:
        return False
    at_the_same_place = list(before).index(gone[0]) == list(after).index(come[0])
    return at_the_same_place and shown(before[gone[0]]) == shown(after[come[0]])


def _into(path: Path, key: str) -> Path:
    """The path to a key of the object at a path."""
    if has_name(key) or _NUMBERED.fullmatch(key) or (path and path[-1] in _KEYED_BY_NODES):
        return (*path, _ANY_KEY)
    return (*path, f".{key}" if _PLAIN.fullmatch(key) else f"[{dumps(key)}]")


def _shapes(values: Sequence[Any], path: Path) -> dict[Path, Counter[str]]:
    """Every path in some values, with how often which type was found there."""
    found: dict[Path, Counter[str]] = {}

    def look(value: Any, at: Path) -> None:
        found.setdefault(at, Counter())[word(value)] += 1
        if isinstance(value, dict):
            for key, item in value.items():
                look(item, _into(at, key))
        elif isinstance(value, list):
            for item in value:
                look(item, (*at, _MEMBER))

    for value in values:
        look(value, path)
    return found


def _either(words: Collection[str] | None) -> str:
    return " or ".join(sorted(words or ()))
