"""The ids of a recording, and those that take their place when it is played to another run of a client.

What a client makes up (its own id, prompt ids that it chooses) is another one in each run: it is bound to the recorded
one where it is first used, one to one. What the recorded server made up is told as recorded, so a client sends it back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from comfy_contracts import jsontext
from comfy_contracts.equivalence import TEXT_RULES

_ID = re.compile(next(rule.pattern for rule in TEXT_RULES if rule.name == "id"))
_CLIENT_KEYS = frozenset({"clientId", "client_id"})
"""Where a client says who it is: any text may stand there."""

_NAMED = re.compile(r'("(?:clientId|client_id|sid)": ?)("(?:[^"\\]|\\.)*")')


def ids_in(text: str) -> list[str]:
    """All ids in a text."""
    return _ID.findall(text)


def names_in(value: Any, key: str = "") -> Iterator[str]:
    """All ids in the texts of a JSON value, and what stands where a client says who it is."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _ID.findall(name)
            yield from names_in(member, name)
    elif isinstance(value, list):
        for member in value:
            yield from names_in(member, key)
    elif isinstance(value, str):
        yield from [value] if key in _CLIENT_KEYS and value else _ID.findall(value)


class Ids:
    """What the recorded ids are called now. `made_by_client` are those that the recorded client made up."""

    def __init__(self, made_by_client: frozenset[str]) -> None:
        self._made_by_client = made_by_client
        self._live: dict[str, str] = {}
        self._recorded: dict[str, str] = {}

    def bind(self, pairs: Mapping[str, str]) -> None:
        """Call recorded ids so from now on."""
        self._live.update(pairs)
        self._recorded.update({live: recorded for recorded, live in pairs.items()})

    def may_be(self, recorded: str, live: str, made: bool = False) -> bool:
        """Whether a recorded id may be called so. `made`: although the recorded server made it, for nobody knows it."""
        if recorded in self._live:
            return self._live[recorded] == live
        if live in self._recorded:
            return False
        return recorded == live or made or recorded in self._made_by_client

    def text(self, text: str) -> str:
        """A text of the recording, with the ids of now."""
        if not self._changed:
            return text
        text = _ID.sub(lambda match: self._live.get(match.group(), match.group()), text)
        return _NAMED.sub(self._named, text)

    def frame(self, frame: bytes) -> bytes:
        """A binary message with the ids of now, which the metadata of a preview have (protocol 6.8)."""
        if frame[:4] != _WITH_METADATA or not self._changed:
            return frame
        end = 8 + int.from_bytes(frame[4:8], "big")
        metadata = self.text(frame[8:end].decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        return _WITH_METADATA + len(metadata).to_bytes(4, "big") + metadata + frame[end:]

    @property
    def _changed(self) -> bool:
        return any(recorded != live for recorded, live in self._live.items())

    def _named(self, match: re.Match[str]) -> str:
        name = self._live.get(jsontext.loads(match[2]))
        return match.group() if name is None else match[1] + jsontext.dumps(name)


_WITH_METADATA = (4).to_bytes(4, "big")


class Trial:
    """Whether something recorded and something live can be the same. `pairs` are the ids that it would take."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self.pairs: dict[str, str] = {}

    @property
    def renamed(self) -> int:
        """How many ids would be called anew."""
        return sum(recorded != live for recorded, live in self.pairs.items())

    def same(self, recorded: Any, live: Any, key: str = "") -> bool:
        """Whether two JSON values are the same but for their ids. Numbers are equal by their value."""
        if isinstance(recorded, dict):
            return (
                isinstance(live, dict)
                and recorded.keys() == live.keys()
                and all(self.same(value, live[name], name) for name, value in recorded.items())
            )
        if isinstance(recorded, list):
            return (
                isinstance(live, list)
                and len(recorded) == len(live)
                and all(self.same(one, other, key) for one, other in zip(recorded, live, strict=True))
            )
        if isinstance(recorded, str):
            return isinstance(live, str) and self._same_text(recorded, live, key)
        return _same_plain(recorded, live)

    def same_id(self, recorded: str, live: str, *, made: bool = False) -> bool:
        """Whether two ids can be the same; `made` as in `Ids.may_be`."""
        if recorded in self.pairs:
            return self.pairs[recorded] == live
        if live in self.pairs.values() or not self._ids.may_be(recorded, live, made):
            return False
        self.pairs[recorded] = live
        return True

    def aligned(self, recorded: Any, live: Any, key: str = "") -> Any:
        """The recorded value with what is the same as in the live one said as there, so that only the rest differs."""
        if isinstance(recorded, dict) and isinstance(live, dict):
            return {
                name: self.aligned(value, live[name], name) if name in live else value
                for name, value in recorded.items()
            }
        if isinstance(recorded, list) and isinstance(live, list):
            pairs = [self.aligned(one, other, key) for one, other in zip(recorded, live, strict=False)]
            return [*pairs, *recorded[len(pairs) :]]
        return live if self.same(recorded, live, key) else recorded

    def _same_text(self, recorded: str, live: str, key: str) -> bool:
        if key in _CLIENT_KEYS and recorded and live:
            return self.same_id(recorded, live)
        ids, others = _ID.findall(recorded), _ID.findall(live)
        return (
            len(ids) == len(others)
            and _ID.sub("", recorded) == _ID.sub("", live)
            and all(self.same_id(one, other) for one, other in zip(ids, others, strict=True))
        )


def _same_plain(recorded: Any, live: Any) -> bool:
    if isinstance(recorded, (bool, type(None))) or isinstance(live, (bool, type(None), str, dict, list)):
        return recorded is live
    return bool(recorded == live) or (math.isnan(recorded) and math.isnan(live))
