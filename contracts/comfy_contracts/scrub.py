"""Takes out of a recording what nobody else should read: secrets, and where things lie on the recorded machine.

`SCRUB_RULES` says what; `docs/contracts.md` shows it. What is inside binary bodies (a picture's own metadata) and in a
compressed answer is not looked at. An entry in which something was replaced has `_scrubbed: true`; the sizes in its
headers are still the original ones, as is the form of its JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from comfy_contracts.har import BINARY_OPCODE, Har

SCRUBBED = "scrubbed"
"""What stands in the place of a secret."""

_SHORTEST_SECRET = 8
_NAMES_OF_KEYS = (
    r"(?:[\w.-]*[_.-])?"
    r"(?:api[_-]?key|token|(?:access|auth|bearer|refresh|id|session)[_-]?token|secret|(?:client[_-]?)?secret|password|"
    r"passwd|authorization|credentials?)"
    r"(?:[_-]comfy[_-]org)?"
)


@dataclass(frozen=True, slots=True)
class ScrubRule:
    """Something that is replaced. `pattern` is what the rule looks for at its place, `instead` what it leaves."""

    name: str
    where: str
    pattern: str
    instead: str
    why: str


SCRUB_RULES: tuple[ScrubRule, ...] = (
    ScrubRule(
        "secret headers",
        "the values of headers of these names, of requests and answers",
        r"(?i)(?:proxy-)?authorization|cookie|set-cookie|x-api-key|x-auth-token|x-csrf-token|(?:proxy|www)-authenticate",
        SCRUBBED,
        "they let one in",
    ),
    ScrubRule("cookies", "the lists of cookies of requests and answers", "", "an empty list", "they let one in"),
    ScrubRule(
        "secret parameters",
        "the values of these parameters in the query of an address, and in forms",
        rf"(?i)(?:{_NAMES_OF_KEYS}|key|sig|signature)",
        SCRUBBED,
        "proxies and hosting services put their keys there",
    ),
    ScrubRule(
        "secret fields",
        "the texts in JSON fields of these names, at any depth, in bodies and messages",
        rf"(?i){_NAMES_OF_KEYS}",
        SCRUBBED,
        "keys for paid nodes travel in extra_data and in inputs of nodes",
    ),
    ScrubRule(
        "secrets seen",
        f"a secret of {_SHORTEST_SECRET} characters or more that a rule above has found, wherever else it stands",
        "",
        SCRUBBED,
        "servers repeat what they are sent",
    ),
    ScrubRule(
        "folders",
        "absolute paths in bodies, messages and headers, up to ComfyUI's own folder, one of packages, or the last name",
        r"/(?:home|Users|root|mnt|media|opt|srv|var|tmp|usr|workspace|data|app|content|private|Volumes|notebooks|nix|run"
        r"|ComfyUI|comfyui)(?=/)|[A-Za-z]:(?=[\\/])",
        "the rest of the path",
        "they tell of the machine and its user",
    ),
)

_RULES = {rule.name: rule for rule in SCRUB_RULES}
_HEADER = re.compile(_RULES["secret headers"].pattern)
_PARAMETER = re.compile(rf"(?<![^?&])({_RULES['secret parameters'].pattern[4:]})=([^&#\s\"'\\<>]+)", re.IGNORECASE)
_FIELD = re.compile(rf'(\\?"{_RULES["secret fields"].pattern[4:]}\\?"\s*:\s*\\?")((?:[^"\\]|\\(?!").)+)', re.IGNORECASE)
_START = rf"(?<![\w.:/\\~-])(?:{_RULES['folders'].pattern})"
_QUOTED_PATH = re.compile(rf"(?P<quote>\\?\"|'){_START}[^\"'\n<>|]*?(?=\\?\"|')")
_BARE_PATH = re.compile(rf"{_START}[^\s\"'<>|,;()\[\]{{}}]*")
_HOME = re.compile(r"(?:/home|/Users|[A-Za-z]:[\\/]+Users)[\\/]+[^\\/]+[\\/]*")
_KEPT = re.compile(r"(?i)^.*(?:[/\\]ComfyUI|[/\\]site-packages|[/\\]dist-packages)[/\\]+")
_FOLDERS_OF_COMFYUI = re.compile(r"^.*?[/\\](?=(?:models|output|input|temp|user|custom_nodes)(?:[/\\]|$))")
_LAST_NAME = re.compile(r"^.*[/\\](?=[^/\\])")


def scrub(har: Har) -> Har:
    """The recording without what `SCRUB_RULES` speak of. One in which nothing is to be replaced is given back equal."""
    world = har.to_builtins()
    secrets: set[str] = set()
    first = [_Entry(secrets).of(entry) for entry in world["log"]["entries"]]
    words = sorted((secret for secret in secrets if len(secret) >= _SHORTEST_SECRET), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, {form for word in words for form in (word, quote(word))})))
    if words:
        first = [_texts_replaced(entry, lambda text: pattern.sub(SCRUBBED, text)) for entry in first]
    entries = [
        after if after == before else {**after, "_scrubbed": True}
        for before, after in zip(world["log"]["entries"], first, strict=True)
    ]
    return Har.from_builtins({**world, "log": {**world["log"], "entries": entries}})


def without_folders(text: str) -> str:
    """A text whose absolute paths begin at ComfyUI's own folder."""
    text = _QUOTED_PATH.sub(lambda match: match["quote"] + _shortened(match.group()[len(match["quote"]) :]), text)
    return _BARE_PATH.sub(lambda match: _shortened(match.group()), text)


def _shortened(path: str) -> str:
    if _HOME.fullmatch(path):
        return "~"
    for prefix in (_KEPT, _FOLDERS_OF_COMFYUI, _LAST_NAME):
        if prefix.match(path):
            return prefix.sub("", path)
    return path


class _Entry:
    """Scrubs one entry; the secrets it finds are added to `secrets`."""

    def __init__(self, secrets: set[str]) -> None:
        self._secrets = secrets

    def of(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The entry, scrubbed."""
        scrubbed = _texts_replaced(entry, self._text)
        for side in ("request", "response"):
            scrubbed[side] = {**scrubbed[side], "headers": [self._header(one) for one in scrubbed[side]["headers"]]}
            for cookie in scrubbed[side].get("cookies", []):
                self._secrets.add(str(cookie.get("value", "")))
            if "cookies" in scrubbed[side]:
                scrubbed[side]["cookies"] = []
        request = scrubbed["request"]
        request["url"] = _PARAMETER.sub(self._parameter, request["url"])
        if "queryString" in request:
            request["queryString"] = [self._pair(pair) for pair in request["queryString"]]
        return scrubbed

    def _header(self, header: dict[str, Any]) -> dict[str, Any]:
        if not _HEADER.fullmatch(header["name"]):
            return header
        self._secrets.update(re.split(r"[\s;,=]+", header["value"]))
        return {**header, "value": SCRUBBED}

    def _text(self, text: str) -> str:
        return without_folders(_FIELD.sub(self._field, _PARAMETER.sub(self._parameter, text)))

    def _field(self, match: re.Match[str]) -> str:
        self._secrets.add(match[2])
        return f"{match[1]}{SCRUBBED}"

    def _parameter(self, match: re.Match[str]) -> str:
        self._secrets.add(unquote(match[2]))
        return f"{match[1]}={SCRUBBED}"

    def _pair(self, pair: dict[str, Any]) -> dict[str, Any]:
        found = re.fullmatch(_RULES["secret parameters"].pattern, pair["name"])
        return pair if found is None else {**pair, "value": SCRUBBED}


def _texts_replaced(entry: dict[str, Any], replaced: Callable[[str], str]) -> dict[str, Any]:
    """The entry with other texts in its bodies, messages and addresses; base64 stays."""
    request, response = dict(entry["request"]), dict(entry["response"])
    for holder, key, encoding in ((request, "postData", "_encoding"), (response, "content", "encoding")):
        body = holder.get(key)
        if body and encoding not in body and isinstance(body.get("text"), str):
            holder[key] = {**body, "text": replaced(body["text"])}
    scrubbed = {**entry, "request": request, "response": response}
    if "_webSocketMessages" in entry:
        scrubbed["_webSocketMessages"] = [
            one if one["opcode"] == BINARY_OPCODE else {**one, "data": replaced(one["data"])}
            for one in entry["_webSocketMessages"]
        ]
    for side in (request, response):
        side["headers"] = [{**one, "value": replaced(one["value"])} for one in side["headers"]]
    return scrubbed
