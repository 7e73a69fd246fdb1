"""Random names in two traffics: which of the one is which of the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

_NAME = re.compile(r"<(id|letters) (\S+?)((?: hex)?(?: upper)?)>")


class Agreement(Enum):
    """Whether two texts say the same."""

    EQUAL = "equal"
    OTHER_NAME = "alike, but one of the random names in them is another one"
    DIFFERENT = "different"


class Pairs:
    """Which name in the one traffic stands for which in the other, learned from texts that stand at the same place.

    Texts are those of `canonical.Canon`, in which random ids and letters are replaced with names. Where one side says
    more than the other, names are counted differently; so they are paired by where they stand, not by what they are.
    """

    def __init__(self) -> None:
        self._after: dict[tuple[str, str], str] = {}
        self._before: dict[tuple[str, str], str] = {}

    def agree(self, before: str, after: str) -> Agreement:
        """Whether two texts say the same. Names that are new stand for each other from now on."""
        if "<" not in before:
            return Agreement.EQUAL if before == after else Agreement.DIFFERENT
        if nameless(before) != nameless(after):
            return Agreement.DIFFERENT
        pairs = zip(_NAME.finditer(before), _NAME.finditer(after), strict=True)
        met = [self._meet(one[1], one[2], other[2]) for one, other in pairs]
        return Agreement.EQUAL if all(met) else Agreement.OTHER_NAME

    def after_of(self, before: str) -> str:
        """A text of the one traffic in the words of the other, as far as they are known."""
        return _translated(before, self._after)

    def before_of(self, after: str) -> str:
        """The same the other way round."""
        return _translated(after, self._before)

    def _meet(self, rule: str, before: str, after: str) -> bool:
        if (rule, before) not in self._after and (rule, after) not in self._before:
            self._after[rule, before] = after
            self._before[rule, after] = before
        return self._after.get((rule, before)) == after


def nameless(text: str) -> str:
    """A text that says of its random names only that they are there."""
    return _NAME.sub(r"<\1\3>", text)


def names_in(text: str) -> list[str]:
    """The random names in a text, in their order."""
    return [name[2] for name in _NAME.finditer(text)]


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A text with other names for its random names; those that `names` does not have are all alike."""
    return _NAME.sub(lambda name: f"<{name[1]} {names.get(name[2], 'any')}{name[3]}>", text)


def has_name(text: str) -> bool:
    """Whether a text has a random name in it."""
    return _NAME.search(text) is not None


def _translated(text: str, known: dict[tuple[str, str], str]) -> str:
    return _NAME.sub(lambda name: f"<{name[1]} {known.get((name[1], name[2]), name[2])}{name[3]}>", text)
