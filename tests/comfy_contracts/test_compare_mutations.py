"""Does the comparison notice every change of what is not declared free, and nothing of what is?

The table of `equivalence` is read here by a second, plain interpreter. By it the leaves of all JSON bodies and messages
are sorted into free ones and others; a changed leaf of the others must be noticed, one of the free ones must not.
"""

from __future__ import annotations

import copy
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from comfy_contracts import jsontext
from comfy_contracts.compare import compare
from comfy_contracts.equivalence import FIELD_RULES, FieldRule, Free
from comfy_contracts.har import Har, load, packaged_recordings

RECORDINGS = packaged_recordings("0.33.0")
ROUNDS = 3

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
RACE = {"slow_middle_of_queue_status", "validation_errors"}
SEVERAL_OUTPUTS = {"partly_invalid_prompt", "validation_errors"}

Path = tuple[Any, ...]


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
    """`value` with another leaf at `path`: of the same type but for null and empty containers."""
    value = copy.deepcopy(value)
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
        return leaf + 1
    if isinstance(leaf, str):
        return f"~{leaf}"
    return {None: 0}.get(leaf, 0) if leaf is None else [0] if isinstance(leaf, list) else {"x": 0}


def covers(rule: FieldRule, place: str, path: Path) -> bool:
    """Whether the rule speaks of this leaf, or of something around it."""
    route, _, condition = rule.place.partition(", ")
    if rule.place != "anywhere" and (
        condition
        or not re.fullmatch(re.sub(r"{\w+}", "[^/?]+", re.escape(route).replace(r"\{", "{").replace(r"\}", "}")), place)
    ):
        return False
    steps = rule.path.split(".") if rule.path else []
    keys = [str(key) for key in path]
    if steps[:1] == ["**"]:
        return steps[1] in keys
    return len(steps) <= len(keys) and all(step in ("*", key) for step, key in zip(steps, keys, strict=False))


def is_free(name: str, place: str, path: Path, leaf: Any) -> bool:
    for rule in FIELD_RULES:
        if covers(rule, place, path):
            if rule.free is Free.NUMBER and isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
                return True
            if rule.free in (Free.PROSE, Free.TEXTURE) or (rule.free is Free.KIND and path):
                return True
            if rule.free is Free.STRINGS and isinstance(leaf, str):
                return True
    if "jobs" in path and "sort_by=execution_duration" in place and "limit=" in place:
        return True
    return name in SEVERAL_OUTPUTS and "dependent_outputs" in path


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


def mutate(name: str, round_: int, *, free: bool) -> tuple[Har, Har, list[tuple[str, Path]]]:
    """The recording and one in which one leaf of every JSON text is another; and where."""
    original = load(RECORDINGS[name])
    mutated = copy.deepcopy(original.to_builtins())
    chance = random.Random(f"{name} {round_} {free}")
    done = []
    for place, where, holder, key in sites(mutated, name):
        value = jsontext.loads(holder[key])
        if jsontext.dumps(value) != holder[key]:
            continue
        candidates = [path for path, leaf in leaves(value) if is_free(name, place, path, leaf) is free]
        if candidates:
            path = chance.choice(candidates)
            holder[key] = jsontext.dumps(changed(value, path))
            done.append((where, path))
    return original, Har.from_builtins(mutated), done


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_every_change_of_a_leaf_is_noticed(name: str, round_: int) -> None:
    original, mutated, done = mutate(name, round_, free=False)
    told = [difference.where for difference in compare(original, mutated)]
    # Where the statuses are a channel of their own, positions are counted without them.
    in_place = not any(where.startswith("socket") and "statuses" in where for where in told)
    missed = [
        (where, path)
        for where, path in done
        if (in_place or where.startswith("exchange")) and not any(one.startswith(where) for one in told)
    ]
    assert not missed, f"{len(missed)} of {len(done)} changes were not noticed"
    if not in_place:
        changed_messages = sum(where.startswith("socket") for where, _ in done)
        assert sum(one.startswith("socket") for one in told) >= changed_messages


@pytest.mark.parametrize("name", RECORDINGS)
def test_no_change_of_a_free_leaf_is_noticed(name: str) -> None:
    original, mutated, _ = mutate(name, 0, free=True)
    assert [str(difference) for difference in compare(original, mutated)] == []


def test_the_mutations_reach_all_kinds_of_bodies_and_messages() -> None:
    places: Counter[str] = Counter()
    free = 0
    for name in RECORDINGS:
        places.update(where.split()[0] for where, _ in mutate(name, 0, free=False)[2])
        free += len(mutate(name, 0, free=True)[2])
    assert places["exchange"] > 700
    assert places["socket"] > 2000
    assert free > 700


# Structure


def restructured(name: str, chance: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """Copies of the recording, each with one thing lost, doubled, swapped or otherwise wrong."""
    source = load(RECORDINGS[name]).to_builtins()
    entries = source["log"]["entries"]

    def copy_of() -> dict[str, Any]:
        return copy.deepcopy(source)

    http = [index for index, entry in enumerate(entries) if "_webSocketMessages" not in entry]
    index = chance.choice(http)
    lost = copy_of()
    del lost["log"]["entries"][index]
    yield "an exchange is lost", lost
    doubled = copy_of()
    doubled["log"]["entries"].insert(index, doubled["log"]["entries"][index])
    yield "an exchange is doubled", doubled
    status = copy_of()
    status["log"]["entries"][index]["response"]["status"] += 1
    yield "another status", status
    header = copy_of()
    header["log"]["entries"][index]["response"]["headers"].append({"name": "Vary", "value": "X"})
    yield "a header too much", header
    yield from _restructured_streams(name, chance, copy_of)


def _restructured_streams(name: str, chance: random.Random, copy_of: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    found = copy_of()
    places = [
        (index, position)
        for index, entry in enumerate(found["log"]["entries"])
        for position, one in enumerate(entry.get("_webSocketMessages", []))
        if one["type"] == "receive"
        and one["opcode"] == 1
        and not is_free_in_stream(name, jsontext.loads(one["data"]))
        and '"type": "logs"' not in one["data"]
    ]
    if not places:
        return
    index, position = chance.choice(places)
    lost = copy_of()
    del lost["log"]["entries"][index]["_webSocketMessages"][position]
    yield "a message is lost", lost
    doubled = copy_of()
    messages = doubled["log"]["entries"][index]["_webSocketMessages"]
    messages.insert(position, messages[position])
    yield "a message is doubled", doubled
    for index, position in chance.sample(places, len(places)):
        swapped = copy_of()
        messages = swapped["log"]["entries"][index]["_webSocketMessages"]
        pair = messages[position : position + 2]
        if (index, position + 1) in places and len({one["data"] for one in pair}) == 2 and "status" not in _kinds(pair):
            messages[position : position + 2] = pair[::-1]
            yield "two messages are swapped", swapped
            return


def _kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [jsontext.loads(one["data"])["type"] for one in messages]


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_change_of_structure_is_noticed(name: str) -> None:
    original = load(RECORDINGS[name])
    for what, mutated in restructured(name, random.Random(name)):
        assert compare(original, Har.from_builtins(mutated)), what
