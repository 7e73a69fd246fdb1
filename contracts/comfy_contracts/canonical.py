"""JSON values and strings without what the rules of `equivalence` leave free, so that what is equal looks equal."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

from comfy_contracts import jsontext
from comfy_contracts.equivalence import FIELD_RULES, TEXT_RULES, FieldRule, Free, TextRule
from comfy_contracts.har import Har

Path = tuple[str, ...]


def dumps(value: Any, *, sort_keys: bool = True) -> str:
    """A text that is the same for equal values, for sorting and aligning."""
    return jsontext.dumps(_sorted_keys(value) if sort_keys else value)


def kind(value: Any) -> str:
    """The JSON type of a value, int and float being two."""
    return f"<{'null' if value is None else type(value).__name__}>"


def texture(value: Any) -> Any:
    """Keys and types at every depth; of a list, the textures of its members, each once."""
    if isinstance(value, dict):
        return {key: texture(item) for key, item in value.items()}
    if isinstance(value, list):
        members: list[Any] = []
        for item in value:
            found = texture(item)
            if found not in members:
                members.append(found)
        return members
    return kind(value)


class Names:
    """Gives every random word a name made of the place where it was first seen."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._seen: Counter[str] = Counter()
        self._place = ""

    def at(self, place: str) -> None:
        """What is named from now on was first seen at `place`."""
        self._place = place

    def name(self, rule: str, word: str) -> str:
        """The name of a word; an id in upper case or without hyphens is the same word in another form."""
        key = (rule, word.lower().replace("-", ""))
        if key not in self._names:
            self._seen[self._place] += 1
            self._names[key] = f"{self._place}.{self._seen[self._place]}"
        form = ("" if "-" in word else " hex") if rule == "id" else ""
        return f"<{rule} {self._names[key]}{form}{' upper' if word != word.lower() else ''}>"


class Canon:
    """Makes the values of one traffic comparable. Ids are named in the order in which they are given in.

    `freed` counts how often each rule took something away, by the rule's name.
    """

    def __init__(self, har: Har) -> None:
        self.freed: Counter[str] = Counter()
        self._names = Names()
        self._substitutions = [(re.compile(_filled(rule.pattern, har)), self._replacement(rule)) for rule in TEXT_RULES]

    def at(self, place: str) -> None:
        """Ids that are new from now on are named after `place`."""
        self._names.at(place)

    def text(self, text: str) -> str:
        """A string without its free parts."""
        for pattern, replacement in self._substitutions:
            text = pattern.sub(replacement, text)
        return text

    def json(self, value: Any, places: Collection[str]) -> Any:
        """A JSON value without its free parts. `places` are those of `FieldRule.place`, beside `anywhere`."""
        return self._walk(value, (), _rules_at(frozenset(places)))

    def _replacement(self, rule: TextRule) -> Callable[[re.Match[str]], str]:
        def instead(match: re.Match[str]) -> str:
            self.freed[rule.name] += 1
            return self._names.name(rule.name, match.group()) if rule.named else rule.instead

        return instead

    def _walk(self, value: Any, path: Path, rules: _Rules) -> Any:
        rule = rules.at(path)
        if rule is not None:
            self.freed[rule.name] += 1
            return self._freed(rule.free, value, path, rules)
        return self._plain(value, path, rules)

    def _plain(self, value: Any, path: Path, rules: _Rules) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.text(key): self._walk(item, (*path, key), rules)
                for key, item in value.items()
                if not self._is_prose(rules.at((*path, key)), item)
            }
        if isinstance(value, list):
            return [self._walk(item, (*path, str(index)), rules) for index, item in enumerate(value)]
        return value

    def _is_prose(self, rule: FieldRule | None, value: Any) -> bool:
        if rule is None or rule.free is not Free.PROSE or not isinstance(value, (str, list)):
            return False
        self.freed[rule.name] += 1
        return True

    def _freed(self, free: Free, value: Any, path: Path, rules: _Rules) -> Any:
        """The value under a rule; one that is not of the kind the rule speaks of is compared as it is."""
        if free is Free.KIND:
            return kind(value)
        if free is Free.TEXTURE:
            return texture(value)
        plain = self._plain(value, path, rules)
        if free is Free.NUMBER and isinstance(value, (int, float)) and not isinstance(value, bool):
            return kind(value)
        if free is Free.LINES and isinstance(plain, str):
            return sorted(plain.split("\n"))
        if free is Free.KEYS and isinstance(plain, dict):
            return {key: plain[key] for key in sorted(plain)}
        if not isinstance(value, list):
            return plain
        if free is Free.STRINGS and all(isinstance(item, str) for item in value):
            return "<strings>" if value else "<no strings>"
        if free is Free.SOME:
            return "<some>" if value else "<none>"
        if free is Free.SET or free is Free.BY_DURATION:
            return sorted(plain, key=dumps)
        return plain


@dataclass(frozen=True, slots=True)
class _Rules:
    """The field rules of one place: by the name of the field at any depth, and by whole path."""

    deep: dict[str, FieldRule]
    whole: tuple[tuple[Path, FieldRule], ...]

    def at(self, path: Path) -> FieldRule | None:
        for pattern, rule in self.whole:
            if len(pattern) == len(path) and all(map(_fits, pattern, path)):
                return rule
        return self.deep.get(path[-1]) if path else None


def _fits(part: str, step: str) -> bool:
    return part in ("*", step)


@functools.cache
def _rules_at(places: frozenset[str]) -> _Rules:
    deep: dict[str, FieldRule] = {}
    whole: list[tuple[Path, FieldRule]] = []
    for rule in FIELD_RULES:
        if rule.place != "anywhere" and rule.place not in places:
            continue
        steps = tuple(rule.path.split(".")) if rule.path else ()
        if steps[:1] == ("**",):
            deep[steps[1]] = rule
        else:
            # Later rows are more particular: "POST /prompt, several outputs" after "POST /prompt".
            whole.insert(0, (steps, rule))
    return _Rules(deep, tuple(whole))


def _sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted_keys(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted_keys(item) for item in value]
    return value


def _filled(pattern: str, har: Har) -> str:
    """The pattern with the host, port and days of the traffic in the place of `{host}`, `{port}` and `{day}`."""
    address = urlsplit(har.entries[0].request.url) if har.entries else urlsplit("")
    host = re.escape(address.hostname or "localhost")
    pattern = pattern.replace("{host}", host).replace("{port}", str(address.port or "80"))
    return pattern.replace("{day}", "|".join(_days(entry.started for entry in har.entries)) or "(?!)")


def _days(moments: Iterable[float]) -> list[str]:
    """The dates of the traffic in any time zone."""
    days: set[str] = set()
    for moment in moments:
        there = datetime.fromtimestamp(moment, timezone.utc)
        days.update((there + timedelta(hours=hours)).strftime("%Y-%m-%d") for hours in (-12, 0, 14))
    return sorted(days)
