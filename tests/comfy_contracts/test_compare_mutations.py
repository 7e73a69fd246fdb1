"""Does the comparison notice every change of what is not declared free, and nothing of what is?

The table of `equivalence` is read here by a second, plain interpreter. By it the leaves of all JSON bodies and messages
are sorted into free ones and others; a changed leaf of the others must be noticed, one of the free ones must not.
"""

from __future__ import annotations

import functools
import gzip
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from comfy_contracts import jsontext
from comfy_contracts.compare import Traffic
from comfy_contracts.difference import Difference
from comfy_contracts.equivalence import FIELD_RULES, FieldRule, Free
from comfy_contracts.har import Har, load, packaged_recordings

RECORDINGS = packaged_recordings("0.33.0")

# Recordings to which a stream rule applies: what it frees there is not mutated.
CUT = {
    "error_first_then_cache",
    "interrupt_global",
    "interrupt_targeted",
    "jobs_routes",
    "queue_delete_clear",
    "queue_delete_last_pending",
    "queue_front_and_number",
    "reconnect_mid_run",
}
OVERLAP = {*CUT - {"reconnect_mid_run"}, "slow_middle_of_queue_status", "two_clients", "validation_errors"}
RACE = {"slow_middle_of_queue_status", "validation_errors"}
SEVERAL_OUTPUTS = {"partly_invalid_prompt", "validation_errors"}

Path = tuple[Any, ...]


@functools.cache
def text_of(name: str) -> str:
    return gzip.decompress(RECORDINGS[name].read_bytes()).decode()


@functools.cache
def recorded(name: str) -> Traffic:
    return Traffic.read(load(RECORDINGS[name]))


def compare(name: str, mutated: Har) -> list[Difference]:
    """What `comfy_contracts.compare.compare` tells of a recording and a mutated one; the recording is read once."""
    return recorded(name).compare(Traffic.read(mutated)).differences


def fresh(name: str) -> Any:
    """A copy of the recording to spoil; parsing is faster than copying."""
    return jsontext.loads(text_of(name))


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Scalars and empty containers, with their paths."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    empty = True
    for key, item in items:
        empty = False
        yield from leaves(item, (*path, key))
    if empty:
        yield path, value


def changed(value: Any, path: Path) -> Any:
    """`value`, spoiled: another leaf at `path`, of the same type but for null."""
    if not path:
        return other(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = other(inner[path[-1]])
    return value


def other(leaf: Any) -> Any:
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, (int, float)):
        return leaf + 1000
    if isinstance(leaf, str):
        return f"~{leaf}"
    return {"x": 0} if isinstance(leaf, dict) else [0] if isinstance(leaf, list) else 0


def speaks_of(rule: FieldRule, place: str) -> bool:
    """Whether the rule holds at this place. A rule with a condition is taken to hold nowhere."""
    if rule.place == "anywhere":
        return True
    route, _, condition = rule.place.partition(", ")
    pattern = re.sub(r"{\w+}", "[^/?]+", re.escape(route).replace(r"\{", "{").replace(r"\}", "}"))
    return not condition and re.fullmatch(pattern, place) is not None


@functools.cache
def rules_at(place: str) -> list[FieldRule]:
    return [rule for rule in FIELD_RULES if speaks_of(rule, place)]


def covers(rule: FieldRule, path: Path) -> bool:
    """Whether a rule of this place speaks of this leaf, or of something around it."""
    steps = rule.path.split(".") if rule.path else []
    keys = [str(key) for key in path]
    if steps[:1] == ["**"]:
        return steps[1] in keys
    return len(steps) <= len(keys) and all(step in ("*", key) for step, key in zip(steps, keys, strict=False))


def is_free(name: str, place: str, path: Path, leaf: Any) -> bool | None:
    """Whether another leaf of the same type is free; None where the table alone does not tell."""
    if "jobs" in path and "sort_by=execution_duration" in place:
        return None
    if path == ("type",) or (name in SEVERAL_OUTPUTS and "dependent_outputs" in path):
        return None
    for rule in rules_at(place):
        if covers(rule, path):
            if rule.free is Free.NUMBER and isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
                return True
            if rule.free in (Free.PROSE, Free.TEXTURE, Free.KIND):
                return None if leaf is None or leaf == [] or leaf == {} else True
            if rule.free is Free.STRINGS and isinstance(leaf, str):
                return True
    return False


def is_free_in_stream(name: str, value: Any) -> bool:
    """Whether a stream rule frees something of this message: then it is left alone."""
    kind = value.get("type")
    if kind == "status":
        return name in RACE
    return name in CUT and kind in ("progress", "progress_state")


def place_of(entry: Any) -> str:
    path = re.sub(r"^\w+://[^/]+", "", entry["request"]["url"])
    return f"{entry['request']['method']} {path.removeprefix('/api') if not path.startswith('/api/jobs') else path}"


def sites(recording: dict[str, Any], name: str) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Every JSON text: the place of its rules, where differences will be told, and the object and key that hold it."""
    exchanges = sockets = 0
    for entry in recording["log"]["entries"]:
        if entry.get("_resourceType") != "websocket":
            content = entry["response"]["content"]
            if "json" in content["mimeType"] and content.get("text") and "encoding" not in content:
                yield place_of(entry), f"exchange {exchanges} ", content, "text"
            exchanges += 1
            continue
        received = [one for one in entry["_webSocketMessages"] if one["type"] == "receive"]
        for index, one in enumerate(received):
            if one["opcode"] == 1 and not is_free_in_stream(name, jsontext.loads(one["data"])):
                yield f"socket {jsontext.loads(one['data'])['type']}", f"socket {sockets} message {index} ", one, "data"
        sockets += 1


def mutate(name: str, channel: str, *, free: bool) -> tuple[Har, list[str]]:
    """The recording with one leaf of every JSON text of a channel (`exchange`, `socket`) spoiled, and where that is."""
    mutated = fresh(name)
    chance = random.Random(f"{name} {channel} {free}")
    done = []
    for place, where, holder, key in sites(mutated, name):
        value = jsontext.loads(holder[key])
        if not where.startswith(channel) or jsontext.dumps(value) != holder[key]:
            continue
        candidates = [path for path, leaf in leaves(value) if is_free(name, place, path, leaf) is free]
        if candidates:
            holder[key] = jsontext.dumps(changed(value, chance.choice(candidates)))
            done.append(where)
    return Har.from_builtins(mutated), done


def missed(name: str, mutated: Har, done: list[str]) -> list[str]:
    told = [difference.where for difference in compare(name, mutated)]
    return [where for where in done if not any(one.startswith(where) for one in told)]


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_change_in_a_body_is_noticed(name: str) -> None:
    assert missed(name, *mutate(name, "exchange", free=False)) == []


@pytest.mark.parametrize("name", sorted(RECORDINGS.keys() - CUT - OVERLAP))
def test_every_change_in_a_message_is_noticed(name: str) -> None:
    assert missed(name, *mutate(name, "socket", free=False)) == []


@pytest.mark.parametrize("name", sorted(CUT | OVERLAP))
def test_every_change_in_a_message_is_noticed_where_stream_rules_apply(name: str) -> None:
    # Messages are compared there in other groups, so one is changed at a time.
    _, done = mutate(name, "socket", free=False)
    chance = random.Random(name)
    for chosen in chance.sample(done, 8):
        mutated = fresh(name)
        for place, where, holder, key in sites(mutated, name):
            if where == chosen:
                value = jsontext.loads(holder[key])
                paths = [path for path, leaf in leaves(value) if is_free(name, place, path, leaf) is False]
                holder[key] = jsontext.dumps(changed(value, chance.choice(paths)))
        assert compare(name, Har.from_builtins(mutated)), chosen


@pytest.mark.parametrize("name", RECORDINGS)
def test_no_change_of_what_is_free_is_noticed(name: str) -> None:
    mutated, _ = mutate(name, "", free=True)
    assert [str(difference) for difference in compare(name, mutated)] == []


def test_the_mutations_reach_what_there_is() -> None:
    assert len(mutate("t2i_fresh", "exchange", free=False)[1]) == 13
    assert len(mutate("t2i_fresh", "socket", free=False)[1]) == 38
    assert len(mutate("t2i_fresh", "socket", free=True)[1]) == 3
    assert len(mutate("validation_errors", "exchange", free=False)[1]) > 60
    assert len(mutate("jobs_routes", "exchange", free=True)[1]) > 30


# Structure

Entries = list[dict[str, Any]]


def restructured(name: str, chance: random.Random) -> Iterator[tuple[str, Callable[[Entries], None]]]:
    """What does one thing wrong with the entries of the recording: loses, doubles, swaps or renames something."""
    entries = fresh(name)["log"]["entries"]
    index = chance.choice([index for index, entry in enumerate(entries) if "_webSocketMessages" not in entry])

    def another_status(entries: Entries) -> None:
        entries[index]["response"]["status"] += 1

    yield "an exchange is lost", lambda entries: entries.pop(index)
    yield "an exchange is doubled", lambda entries: entries.insert(index, entries[index])
    yield "another status", another_status
    yield (
        "a header too much",
        lambda entries: entries[index]["response"]["headers"].append({"name": "Vary", "value": "X"}),
    )
    yield from _restructured_streams(name, entries, chance)


def _restructured_streams(
    name: str, entries: Entries, chance: random.Random
) -> Iterator[tuple[str, Callable[[Entries], None]]]:
    places = [
        (index, position)
        for index, entry in enumerate(entries)
        for position, one in enumerate(entry.get("_webSocketMessages", []))
        if one["type"] == "receive"
        and one["opcode"] == 1
        and not is_free_in_stream(name, jsontext.loads(one["data"]))
        and '"type": "logs"' not in one["data"]
    ]
    if not places:
        return
    index, position = chance.choice(places)

    def renamed(entries: Entries) -> None:
        one = entries[index]["_webSocketMessages"][position]
        one["data"] = one["data"].replace('{"type": "', '{"type": "~')

    def doubled(entries: Entries) -> None:
        messages = entries[index]["_webSocketMessages"]
        messages.insert(position, messages[position])

    yield "a message is lost", lambda entries: entries[index]["_webSocketMessages"].pop(position)
    yield "another type", renamed
    yield "a message is doubled", doubled
    swappable = (place for place in chance.sample(places, len(places)) if _may_be_swapped(entries, places, *place))
    for where, first in swappable:
        yield "two messages are swapped", functools.partial(_swap, where, first)
        return


def _may_be_swapped(entries: Entries, places: list[tuple[int, int]], index: int, position: int) -> bool:
    pair = entries[index]["_webSocketMessages"][position : position + 2]
    return (index, position + 1) in places and len({one["data"] for one in pair}) == 2 and "status" not in _kinds(pair)


def _swap(index: int, position: int, entries: Entries) -> None:
    messages = entries[index]["_webSocketMessages"]
    messages[position : position + 2] = messages[position : position + 2][::-1]


def _kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [jsontext.loads(one["data"])["type"] for one in messages]


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_change_of_structure_is_noticed(name: str) -> None:
    chance = random.Random(name)
    mutations = list(restructured(name, chance))
    for what, spoil in chance.sample(mutations, 4):
        mutated = fresh(name)
        spoil(mutated["log"]["entries"])
        assert compare(name, Har.from_builtins(mutated)), what
