"""The words of a recording and those that took their place in its replay: ids, file names, entity tags, addresses."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlsplit

from comfy_contracts.equivalence import TEXT_RULES
from comfy_contracts.har import Response

_ID = re.compile(next(rule.pattern for rule in TEXT_RULES if rule.name == "id"))
_VALIDATORS = ("etag", "last-modified")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Translation:
    """Turns what the recorded client said into what the live server understands.

    It learns from pairs of answers: what stands at the same place in both is the same thing. A word it has not learned
    stays as it is, so ids that the client chose are kept.
    """

    def __init__(self, recorded_url: str, live_url: str) -> None:
        self._recorded, self._live = urlsplit(recorded_url), urlsplit(live_url)
        self._ids: dict[str, str] = {}
        self._recorded_ids: dict[str, str] = {}
        self._files: dict[str, str] = {}
        self._validators: dict[str, str] = {}
        self._pattern = _ID

    def live_id(self, recorded: str) -> str | None:
        """The live id of a recorded one; None where it has not been learned."""
        return self._ids.get(_plain(recorded))

    def recorded_id(self, live: str) -> str | None:
        """The recorded id of a live one; None where it has not been learned."""
        return self._recorded_ids.get(_plain(live))

    def learn(self, recorded: Any, live: Any) -> None:
        """Learn from two JSON values that answer the same question."""
        if isinstance(recorded, dict) and isinstance(live, dict):
            for key, value in recorded.items():
                live_key = self.text(key)
                if live_key in live:
                    self.learn(value, live[live_key])
                    if key == "filename":
                        self._learn_file(value, live[live_key])
        elif isinstance(recorded, list) and isinstance(live, list):
            for value, live_value in zip(recorded, live, strict=False):
                self.learn(value, live_value)
        elif isinstance(recorded, str) and isinstance(live, str):
            self._learn_ids(_ID.findall(recorded), _ID.findall(live))

    def learn_headers(self, recorded: Response, live: Response) -> None:
        """Learn the entity tag and time of a file."""
        for name in _VALIDATORS:
            old, new = recorded.header(name), live.header(name)
            if old is not None and new is not None:
                self._validators[old] = new

    def text(self, text: str) -> str:
        """A text of the client, with live words."""
        return self._pattern.sub(self._word, text)

    def body(self, body: bytes) -> bytes:
        """A body of the client, with live words."""
        return self.text(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def header(self, name: str, value: str) -> str:
        """A header of the client, with live words; `Host` and `Origin` name the live server where they named the
        recorded one."""
        if name.lower() in ("host", "origin", "referer"):
            return self._address(value)
        if value in self._validators:
            return self._validators[value]
        return self.text(value)

    def _address(self, value: str) -> str:
        """The port is replaced, so that what named another host still does; the host only where it is a real name."""
        host, port = self._recorded.hostname or "", self._recorded.port or 80
        value = re.sub(rf":{port}\b", f":{self._live.port}" if self._live.port else "", value)
        if self._live.hostname in _LOOPBACK:
            return value
        return re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w.-])", self._live.hostname or host, value)

    def _learn_ids(self, recorded: list[str], live: list[str]) -> None:
        if len(recorded) != len(live):
            return
        for old, new in zip(recorded, live, strict=True):
            # The first answer that names an id is the one that made it; later ones may list them in another order.
            if _plain(old) not in self._ids:
                self._ids[_plain(old)] = new
                self._recorded_ids[_plain(new)] = old

    def _learn_file(self, recorded: Any, live: Any) -> None:
        if not isinstance(recorded, str) or not isinstance(live, str) or self._files.get(recorded) == live:
            return
        if recorded == live and recorded not in self._files:
            return
        self._files[recorded] = live
        self._files[quote(recorded)] = quote(live)
        names = sorted(self._files, key=len, reverse=True)
        self._pattern = re.compile("|".join([*map(re.escape, names), _ID.pattern]))

    def _word(self, match: re.Match[str]) -> str:
        word = match.group()
        if word in self._files:
            return self._files[word]
        live = self._ids.get(_plain(word), word)
        if "-" not in word:
            live = live.replace("-", "")
        return live.upper() if word == word.upper() != word.lower() else live


def _plain(word: str) -> str:
    return word.lower().replace("-", "")
