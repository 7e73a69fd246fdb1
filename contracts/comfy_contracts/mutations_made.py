"""The changes that can be made to a recording, one field at a time, each with the rule that declares it free, if any.

What is free in JSON is told by `mutations_free`, what is free in the stream of messages stands here.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from comfy_contracts import frames, jsontext
from comfy_contracts.compare import Traffic, leniency_of
from comfy_contracts.compare_http import Exchange
from comfy_contracts.compare_ws import Leniency, Message, cut_runs
from comfy_contracts.equivalence import HEADER_RULES, STATUS_RULES, STREAM_RULE, HeaderFree
from comfy_contracts.mutations_free import (
    Path,
    free_order,
    freed_by,
    is_free_as_a_whole,
    is_route,
    key_may_lack,
    prose_may_lack,
)

Undo = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change of one field. `make` makes it and returns what undoes it.

    `where` begins the places of the differences that show it, nothing where it must be tried alone. `free` names the
    rule that declares it free, nothing where it must be noticed. `what` is for people. Of the changes with the same
    `text` only one can be made at a time.
    """

    kind: str
    what: str
    where: str
    free: str
    make: Callable[[], Undo]
    text: str = ""


def mutations_of(world: dict[str, Any], traffic: Traffic) -> Iterator[Mutation]:
    """Every change of one field of a HAR. `world` is its JSON value, which `make` changes; `traffic` is it, read."""
    leniency = leniency_of(traffic, traffic)
    entries = world["log"]["entries"]
    exchanges = sockets = 0
    for entry in entries:
        if "_webSocketMessages" in entry or entry.get("_resourceType") == "websocket":
            where = f"socket {sockets}"
            yield from _of_response(entry["response"], where, "socket")
            yield from _of_close(entry, where)
            yield from _of_messages(entry, sockets, traffic, leniency)
            sockets += 1
        else:
            where, place = f"exchange {exchanges}", _place_of(entry, traffic.exchanges[exchanges], leniency)
            yield from _of_response(entry["response"], where, place)
            yield from _of_body(entry, where, place, leniency)
            exchanges += 1
    yield from _of_order(entries, traffic)


# Small changes, and how they are undone


def _setting(holder: Any, key: Any, value: Any) -> Callable[[], Undo]:
    def make() -> Undo:
        before = holder[key]
        holder[key] = value
        return lambda: holder.__setitem__(key, before)

    return make


def _removing(items: list[Any], index: int) -> Callable[[], Undo]:
    def make() -> Undo:
        item = items.pop(index)
        return lambda: items.insert(index, item)

    return make


def _inserting(items: list[Any], index: int, item: Any) -> Callable[[], Undo]:
    def make() -> Undo:
        items.insert(index, item)
        return lambda: items.__delitem__(index)

    return make


def _swapping(items: list[Any], index: int) -> Callable[[], Undo]:
    def swap() -> None:
        items[index], items[index + 1] = items[index + 1], items[index]

    def make() -> Undo:
        swap()
        return swap

    return make


def _rewriting(holder: dict[str, Any], key: str, change: Callable[..., Any], *how: Any) -> Callable[[], Undo]:
    """Change the JSON value that a text holds; `how` are further arguments of `change`."""

    def make() -> Undo:
        before = holder[key]
        holder[key] = jsontext.dumps(change(jsontext.loads(before), *how))
        return lambda: holder.__setitem__(key, before)

    return make


# Answers


def _place_of(entry: dict[str, Any], exchange: Exchange, leniency: Leniency) -> str:
    """The place of an exchange with the conditions that it fulfils, as the places of rules are written."""
    held = {"several outputs": exchange.several, "equal numbers": bool(leniency.equal_numbers)}
    return ", ".join([place_of(entry), *(condition for condition, holds in held.items() if holds)])


def place_of(entry: dict[str, Any]) -> str:
    """`METHOD /path?query` of an exchange."""
    path = re.sub(r"^\w+://[^/]+", "", entry["request"]["url"])
    return f"{entry['request']['method']} {path.removeprefix('/api') if not path.startswith('/api/jobs') else path}"


def _of_response(response: dict[str, Any], where: str, place: str) -> Iterator[Mutation]:
    status = response["status"]
    equal = next((rule for rule in STATUS_RULES if is_route(rule.place, place) and status in rule.statuses), None)
    yield Mutation("status", where, f"{where} status", "", _setting(response, "status", status + 100))
    if place != "socket":
        free = "" if equal is None else f"status of {equal.place}"
        text = response["statusText"]
        yield Mutation("reason", where, f"{where} status", free, _setting(response, "statusText", f"~{text}"))
    headers = response["headers"]
    for index, header in enumerate(headers):
        yield from _of_header(headers, index, f"{where} headers.{header['name'].lower()}")
    extra = {"name": "X-Never-Sent", "value": "1"}
    yield Mutation(
        "header added", where, f"{where} headers.x-never-sent", "", _inserting(headers, len(headers), extra), where
    )


def _of_header(headers: list[dict[str, str]], index: int, where: str) -> Iterator[Mutation]:
    name, value = headers[index]["name"].lower(), headers[index]["value"]
    rule = next((rule for rule in HEADER_RULES if rule.name == name), None)
    ignored = rule is not None and rule.free is HeaderFree.IGNORED
    present = rule is not None and rule.free is HeaderFree.PRESENT
    named = f"header {name}"
    spoiled = _setting(headers[index], "value", f"~{value}")
    yield Mutation("header value", where, where, named if ignored or present else "", spoiled)
    # One at a time: others would not be where they were in the list any more.
    answer = where.partition(" headers.")[0]
    yield Mutation("header missing", where, where, named if ignored else "", _removing(headers, index), answer)


def _of_body(entry: dict[str, Any], where: str, place: str, leniency: Leniency) -> Iterator[Mutation]:
    content = entry["response"]["content"]
    text = content.get("text")
    if not text:
        free = "omitted body" if content.get("_omitted") else ""
        kind = "body left out" if free else "body added"
        yield Mutation(kind, where, f"{where} body", free, _adding_text(content, "~"))
        return
    if "encoding" in content:
        raw = base64.b64decode(text)
        cut = base64.b64encode(raw[: len(raw) // 2]).decode("ascii")
        yield Mutation("binary body cut", where, f"{where} body", "", _setting(content, "text", cut))
    elif _is_default_json(text) and _is_called_json(entry["response"]):
        yield from _of_json(content, "text", "body", f"{where} body", place, leniency)
    else:
        whole = "" if not is_free_as_a_whole(place) else place
        yield Mutation("text body", where, f"{where} body", whole, _setting(content, "text", f"~{text}"))


def _is_called_json(response: dict[str, Any]) -> bool:
    return any(one["name"].lower() == "content-type" and "json" in one["value"] for one in response["headers"])


def _adding_text(content: dict[str, Any], text: str) -> Callable[[], Undo]:
    def make() -> Undo:
        before = content.get("text")
        content["text"] = text

        def undo() -> None:
            if before is None:
                del content["text"]
            else:
                content["text"] = before

        return undo

    return make


def _is_default_json(text: str) -> bool:
    try:
        value = jsontext.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, (dict, list)) and jsontext.dumps(value) == text


# JSON


def _of_json(
    holder: dict[str, Any], key: str, what: str, where: str, place: str, leniency: Leniency
) -> Iterator[Mutation]:
    """Changes of a JSON text. `where` is the place at which its differences are told."""
    value = jsontext.loads(holder[key])
    for path, leaf in leaves(value):
        at = where + _steps(path)
        free = freed_by(place, path, leaf)
        yield Mutation(f"{what}: value", at, at, free, _rewriting(holder, key, changed, path))
    for path, inner in _objects(value):
        at = where + _steps(path)
        first = next(iter(inner))
        free = freed_by(place, path, inner)
        may_lack = free or key_may_lack(place, (*path, first)) or prose_may_lack(place, path, inner)
        lost = _rewriting(holder, key, _without, path, first)
        yield Mutation(f"{what}: key missing", f"{at}.{first}", f"{at}.{first}", may_lack, lost, where)
        if len(inner) > 1:
            order = free or free_order(place, path, leniency)
            turned = _rewriting(holder, key, _turned, path)
            yield Mutation(f"{what}: order of keys", at, f"{at} (order of keys)", order, turned, where)


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The scalars and empty containers in a JSON value, with their paths."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    empty = True
    for key, item in items:
        empty = False
        yield from leaves(item, (*path, key))
    if empty:
        yield path, value


def _objects(value: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    if isinstance(value, dict) and value:
        yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _objects(item, (*path, key))


def _steps(path: Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def changed(value: Any, path: Path) -> Any:
    """`value` with another leaf at `path`, of the same type but for null."""
    if not path:
        return _other(value)
    holder = _at(value, path[:-1])
    holder[path[-1]] = _other(holder[path[-1]])
    return value


def _other(leaf: Any) -> Any:
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, (int, float)):
        # To a very large float, an infinite one or NaN a thousand is nothing.
        return leaf + 1000 if repr(leaf + 1000) != repr(leaf) else type(leaf)(-1)
    if isinstance(leaf, str):
        return f"~{leaf}"
    return {"x": 0} if isinstance(leaf, dict) else [0] if isinstance(leaf, list) else 0


def _without(value: Any, path: Path, key: str) -> Any:
    del _at(value, path)[key]
    return value


def _turned(value: Any, path: Path) -> Any:
    inner = _at(value, path)
    turned = dict(reversed(inner.items()))
    inner.clear()
    inner.update(turned)
    return value


# Sockets


def _of_close(entry: dict[str, Any], where: str) -> Iterator[Mutation]:
    close = entry.get("_webSocketClose")
    if close and close.get("code") is not None:
        yield Mutation("close code", where, f"{where} close code", "", _setting(close, "code", close["code"] + 1))


def _of_messages(entry: dict[str, Any], socket: int, traffic: Traffic, leniency: Leniency) -> Iterator[Mutation]:
    messages = entry.get("_webSocketMessages", [])
    received = [index for index, one in enumerate(messages) if one["type"] == "receive"]
    read = traffic.connections[socket].messages
    cut = cut_runs(read)
    soft = leniency.overlap or leniency.race or bool(cut) or bool(leniency.unordered)
    for number, index in enumerate(received):
        one, message = messages[index], read[number]
        where = f"socket {socket} message {number}"
        free = _freed_in_stream(message, cut, leniency)
        if one["opcode"] == 1 and _is_default_json(one["data"]):
            for mutation in _of_json(one, "data", "message", where, f"socket {message.kind}", leniency):
                shown = "" if soft else mutation.where
                yield replace(mutation, where=shown, free=mutation.free or free)
        elif one["opcode"] == 1:
            yield Mutation("message: text", where, "", free, _setting(one, "data", f"~{one['data']}"))
        else:
            yield from _of_frame(one, where, free)
        steps = _freed_steps(message, cut)
        yield Mutation("message missing", where, "", steps, _removing(messages, index))
        yield Mutation("message doubled", where, "", steps, _inserting(messages, index, one))
        if number + 1 < len(received) and received[number + 1] == index + 1:
            order = steps or _freed_steps(read[number + 1], cut) or _freed_order(read, number, leniency)
            yield Mutation("messages swapped", where, "", order, _swapping(messages, index))


def _freed_in_stream(message: Message, cut: frozenset[str], leniency: Leniency) -> str:
    if leniency.race and message.kind in STREAM_RULE["race"].words["messages that have no place"]:
        return "race"
    words = STREAM_RULE["cut run"].words
    if message.prompt in cut and message.kind in words["only the states of nodes count"]:
        return "cut run"
    return _freed_steps(message, cut)


def _freed_steps(message: Message, cut: frozenset[str]) -> str:
    """Whether there may be any number of such messages."""
    words = STREAM_RULE["cut run"].words
    kinds = {kind for what, names in words.items() if what != "fields that are free" for kind in names}
    return "cut run" if message.prompt in cut and message.kind in kinds else ""


def _freed_order(read: list[Message], number: int, leniency: Leniency) -> str:
    """Whether a message and its neighbour may change places."""
    message, after = read[number], read[number + 1]
    if message.value == after.value:
        return "they are equal"
    floating = STREAM_RULE["overlap"].words["messages that have no place"]
    statuses = [one.kind in floating for one in (message, after)]
    if leniency.race and any(statuses):
        return "race"
    if not leniency.overlap or not any(statuses):
        return ""
    turned = [*read[:number], after, message, *read[number + 2 :]]
    return "overlap" if _changes(read, floating) == _changes(turned, floating) else ""


def _changes(messages: list[Message], kinds: tuple[str, ...]) -> list[Any]:
    """The values of messages of these kinds, without those that repeat the one before."""
    values = [message.value for message in messages if message.kind in kinds]
    return [value for index, value in enumerate(values) if index == 0 or value != values[index - 1]]


def _of_frame(one: dict[str, Any], where: str, free: str) -> Iterator[Mutation]:
    raw = base64.b64decode(one["data"])
    frame = frames.decode(raw)
    other = [("frame: event", _number(int.from_bytes(raw[:4], "big") + 40) + raw[4:])]
    if isinstance(frame, frames.PreviewFrame):
        other.append(("frame: format", raw[:4] + _number(3 - frame.image_format) + raw[8:]))
        other.append(("frame: picture", raw[: len(raw) // 2]))
    elif isinstance(frame, frames.PreviewWithMetadata):
        for path, leaf in leaves(frame.to_builtins()):
            if not freed_by("socket binary 4", path, leaf):
                metadata = jsontext.dumps(changed(frame.to_builtins(), path)).encode("ascii")
                other.append(("frame: metadata", raw[:4] + _number(len(metadata)) + metadata + frame.image))
        other.append(("frame: picture", raw[: -len(frame.image) // 2]))
    elif isinstance(frame, frames.TextFrame):
        other.append(("frame: text", frames.encode(frames.TextFrame(frame.node_id, f"~{frame.text}"))))
        other.append(("frame: node", frames.encode(frames.TextFrame(f"~{frame.node_id}", frame.text))))
    else:
        other.append(("frame: payload", raw[: len(raw) // 2]))
    for kind, content in other:
        yield Mutation(kind, where, "", free, _setting(one, "data", base64.b64encode(content).decode("ascii")))


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


# Exchanges as a whole


def _of_order(entries: list[dict[str, Any]], traffic: Traffic) -> Iterator[Mutation]:
    exchanges = iter(traffic.exchanges)
    read = [None if "_webSocketMessages" in entry else next(exchanges) for entry in entries]
    for index, entry in enumerate(entries):
        what = f"entry {index}"
        yield Mutation("entry missing", what, "", "", _removing(entries, index))
        yield Mutation("entry doubled", what, "", "", _inserting(entries, index, entry))
        one, after = read[index], read[index + 1] if index + 1 < len(read) else None
        if one is not None and after is not None:
            views = all(exchange.request.startswith("GET /view?") for exchange in (one, after))
            same = _compared(one) == _compared(after)
            free = "files of one prompt" if views else "they are equal" if same else ""
            yield Mutation("entries swapped", what, "", free, _swapping(entries, index))


def _compared(exchange: Exchange) -> tuple[Any, ...]:
    return exchange.request, exchange.status, exchange.headers, exchange.body, exchange.dump
