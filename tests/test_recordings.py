"""The fake against recorded traffic of real servers: the same requests, the same answers and messages.

The real servers had random hash seeds, and the order of outputs follows from them (protocol 3.13). So a seed is looked
for that gives the recorded orders; with it the traffic must be equal message by message.
"""

from __future__ import annotations

import asyncio
import functools
from types import SimpleNamespace
from typing import Any

import pytest

from comfy_contracts import jsontext
from comfy_contracts.compare import compare
from comfy_contracts.har import Har, load, packaged_recordings
from comfy_contracts.replay import ReplayError, replay
from comfy_mock import ComfyMock
from comfy_mock.cli.fresh_fakes import hash_seed, recorded_items, speed

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


def orders(har: Har) -> list[list[str]]:
    return [item[4] for item in recorded_items(har)]


def order_seed(har: Har) -> int:
    """The hash seed under which sets have every recorded order."""
    seed = hash_seed(har)
    assert seed is not None, f"no hash seed gives these orders of outputs: {orders(har)}"
    return seed


def test_an_order_that_no_hash_seed_gives() -> None:
    graph = {"1": {"class_type": "SaveImage"}, "2": {"class_type": "PreviewImage"}}
    item = [0, "an id", graph, {}, ["2", "3"]]
    entry: Any = SimpleNamespace(response=SimpleNamespace(body=jsontext.dumps(item).encode()))
    har: Any = SimpleNamespace(exchanges=lambda: [entry])
    assert hash_seed(har) is None


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
        live = play(name, hash_seed=order_seed(recorded(name)))
    except ReplayError as error:
        pytest.fail(f"{error}\n{told(name, error.partial) if error.partial else ''}")
    assert not told(name, live), told(name, live)


@pytest.mark.parametrize("name", [name for name in RECORDINGS if order_seed(recorded(name)) != 0])
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
