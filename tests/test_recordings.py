"""The fake against recorded traffic of real servers: the same requests, the same answers and messages.

The real servers had random hash seeds, and the order of outputs follows from them (protocol 3.13). So a seed is looked
for that gives the recorded orders; with it the traffic must be equal message by message.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from comfy_contracts import jsontext
from comfy_contracts.catalogue import Catalogue
from comfy_contracts.compare import compare
from comfy_contracts.har import Har, load, packaged_recordings
from comfy_contracts.replay import ReplayError, replay
from comfy_contracts.replay_plan import received_by
from comfy_mock import ComfyMock
from comfy_mock.engine.pyset import set_order

HASH_SEEDS = 10_000
"""How many are tried: the recorded orders need a few hundred at most."""

RECORDINGS = packaged_recordings("0.33.0")
SWITCHES: dict[str, dict[str, Any]] = {
    "": {},
    "--cache-classic": {"cache": "classic"},
    "--cache-lru 3": {"cache": "lru", "cache_size": 3},
    "--cache-lru 100": {"cache": "lru", "cache_size": 100},
    "--cache-none": {"cache": "none"},
    "--enable-compress-response-body": {"enable_compress_response_body": True},
    "--enable-cors-header": {"enable_cors_header": "*"},
    "--multi-user": {"multi_user": True},
}


@functools.cache
def recorded(name: str) -> Har:
    return load(RECORDINGS[name])


def queue_items(har: Har) -> list[list[Any]]:
    """All queue items in the answers: [number, id, graph, extra data, outputs]."""
    return [item for entry in har.exchanges() for item in _items(_json(entry.response.body))]


def _json(body: bytes | None) -> Any:
    try:
        return jsontext.loads(body or b"")
    except ValueError:
        return None


def _items(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list) and [type(item) for item in value[1:5]] == [str, dict, dict, list]:
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _items(item)


def hash_seed(har: Har) -> int:
    """A seed under which a set of outputs, copied into a set of valid outputs, has every recorded order."""
    catalogue = Catalogue.packaged()
    orders = {
        tuple(
            node for node, entry in graph.items() if node in outputs and catalogue[entry["class_type"]].output_node
        ): outputs
        for _, _, graph, _, outputs, *_ in queue_items(har)
    }
    for seed in range(HASH_SEEDS):
        if all(set_order(set_order(nodes, seed), seed) == order for nodes, order in orders.items()):
            return seed
    raise AssertionError(f"none of {HASH_SEEDS} hash seeds gives these orders of outputs: {list(orders.values())}")


def test_orders_that_no_hash_seed_gives_are_said() -> None:
    graph = {"1": {"class_type": "SaveImage"}, "2": {"class_type": "PreviewImage"}}
    item = [0, "an id", graph, {}, ["2", "3"]]
    entry: Any = SimpleNamespace(response=SimpleNamespace(body=jsontext.dumps(item).encode()))
    har: Any = SimpleNamespace(exchanges=lambda: [entry])
    with pytest.raises(AssertionError, match=r"none of 10000 hash seeds .*'2', '3'"):
        hash_seed(har)


def speed(har: Har) -> float:
    """How fast the fake's clock may run: slowly where the client did something between two steps of a sampler."""
    steps: defaultdict[str | None, list[float]] = defaultdict(list)
    for socket in har.sockets():
        for message in received_by(socket):
            if message.kind in ("progress", "execution_interrupted"):
                steps[message.prompt].append(message.time)
    busy = any(min(times) < entry.started < max(times) for times in steps.values() for entry in har.entries)
    return 1.0 if busy else 5.0


def play(name: str, **options: Any) -> Har:
    """The traffic of a fake that was started as the recorded server was; `options` change that."""
    comfy: Any = recorded(name).log.comfy
    switches = SWITCHES[" ".join(comfy.get("server_args", []))]
    started = {
        "preview_method": comfy["preview_method"],
        "models": {"checkpoints": ["v1-5-pruned-emaonly-fp16.safetensors"]},
        **switches,
        **options,
    }
    with ComfyMock(clock="real", speed=speed(recorded(name)), **started) as server:
        return asyncio.run(replay(recorded(name), server.url, timeout=30))


def told(name: str, live: Har) -> str:
    """The differences, as text for the one who must mend them."""
    differences = compare(recorded(name), live)
    shown = "".join(f"\n  {difference}" for difference in differences[:20])
    return f"{name}: {len(differences)} differences{shown}" if differences else ""


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_fake_says_what_the_real_server_said(name: str) -> None:
    try:
        live = play(name, hash_seed=hash_seed(recorded(name)))
    except ReplayError as error:
        pytest.fail(f"{error}\n{told(name, error.partial) if error.partial else ''}")
    assert not told(name, live), told(name, live)


def orders(har: Har) -> list[list[str]]:
    return [item[4] for item in queue_items(har)]


@pytest.mark.parametrize("name", [name for name in RECORDINGS if hash_seed(recorded(name)) != 0])
def test_another_order_of_outputs_is_the_same_traffic(name: str) -> None:
    live = play(name, hash_seed=0)
    assert orders(live) != orders(recorded(name))
    assert not told(name, live), told(name, live)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cache_default_aba", {"cache": "none"}),
        ("cache_lru_aba", {"cache": "default"}),
        ("t2i_seed_changed", {"cache": "none"}),
        ("t2i_fresh", {"preview_method": "none"}),
        ("t2i_batch3", {"disable_metadata": True}),
        ("http_edges", {"enable_cors_header": "*"}),
        ("metadata_routes", {"models": {"checkpoints": ["another.safetensors"]}}),
    ],
)
def test_a_server_of_another_kind_is_told_apart(name: str, options: dict[str, Any]) -> None:
    assert told(name, play(name, hash_seed=hash_seed(recorded(name)), **options))
