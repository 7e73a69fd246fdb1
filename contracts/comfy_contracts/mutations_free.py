"""What the rules of `equivalence` declare free in a JSON value, read from its tables by a second, plain interpreter.

So a fault in the comparison's own reading of them shows up as a change that nobody notices (`mutations`). A place here
is `METHOD /path?query` with the conditions that hold, as in `POST /prompt, several outputs`, or `socket <type>`.
"""

from __future__ import annotations

import re
from typing import Any

from comfy_contracts.compare_ws import Leniency
from comfy_contracts.equivalence import FIELD_RULES, FieldRule, Free

Path = tuple[Any, ...]


def is_free_as_a_whole(place: str) -> bool:
    """Whether a rule frees all that stands there."""
    return any(not rule.path and is_route(rule.place, place) for rule in FIELD_RULES)


def freed_by(place: str, path: Path, leaf: Any) -> str:
    """The name of the rule that lets the value at `path` be another one of the same type; nothing where none does."""
    for rule in FIELD_RULES:
        if covers(rule, place, path) and _frees(rule, leaf):
            return rule.name
    return ""


def _frees(rule: FieldRule, leaf: Any) -> bool:
    if rule.free is Free.NUMBER:
        return isinstance(leaf, (int, float)) and not isinstance(leaf, bool)
    if rule.free is Free.STRINGS:
        return isinstance(leaf, str)
    if rule.free is Free.KIND:
        return True
    if rule.free is Free.SOME:
        return bool(leaf != [])
    if rule.free in (Free.PROSE, Free.TEXTURE):
        # What these leave is the type, and that changes where there was nothing.
        return bool(leaf is not None and leaf != [] and leaf != {})
    return False


def key_may_lack(place: str, path: Path) -> str:
    """The rule under which the key at the end of `path` may be missing; nothing where none does."""
    kinds = (Free.KIND, Free.PROSE)
    return next((rule.name for rule in FIELD_RULES if rule.free in kinds and covers(rule, place, path)), "")


def prose_may_lack(place: str, path: Path, inner: dict[str, Any]) -> str:
    """The rule under which the first key of the object at `path` may be missing, being prose."""
    first = next(iter(inner))
    return freed_by(place, (*path, first), inner[first]) if first in ("tooltip", "description") else ""


def free_order(place: str, path: Path, leniency: Leniency) -> str:
    """The rule under which the keys of the object at `path` may stand in another order; nothing where none does."""
    if not leniency.key_order:
        return "equal numbers"
    steps = ".".join(map(str, path))
    keyed = (rule for rule in FIELD_RULES if rule.free is Free.KEYS and is_route(rule.place, place))
    return next((rule.name for rule in keyed if rule.path == steps), "")


def covers(rule: FieldRule, place: str, path: Path) -> bool:
    """Whether the rule speaks of the value at `path` of this place, or of something around it."""
    if rule.place != "anywhere" and not is_route(rule.place, place):
        return False
    steps = rule.path.split(".") if rule.path else []
    keys = [str(key) for key in path]
    if steps[:1] == ["**"]:
        return steps[1] in keys
    return len(steps) <= len(keys) and all(step in ("*", key) for step, key in zip(steps, keys, strict=False))


def is_route(ruled: str, place: str) -> bool:
    """Whether the place of a rule is this one, which names the conditions that it fulfils."""
    (route, _, condition), (place, _, held) = ruled.partition(", "), place.partition(", ")
    if condition and condition not in held.split(", "):
        return False
    pattern = re.escape(route).replace(r"\{", "{").replace(r"\}", "}")
    asked = place if "?" in route else place.partition("?")[0]
    return re.fullmatch(re.sub(r"{\w+}", "[^/?]+", pattern), asked) is not None
