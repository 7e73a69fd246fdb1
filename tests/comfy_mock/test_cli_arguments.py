"""What the words of a command line stand for."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from comfy_mock.cli.arguments import cache_mode, feature_flags, fill_bare_switches, models


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["serve", "--enable-cors-header"], ["serve", "--enable-cors-header", "*"]),
        (["serve", "--enable-cors-header", "--quiet"], ["serve", "--enable-cors-header", "*", "--quiet"]),
        (["serve", "--enable-cors-header", "http://a"], ["serve", "--enable-cors-header", "http://a"]),
        (["serve", "--enable-cors-header=http://a", "--quiet"], ["serve", "--enable-cors-header=http://a", "--quiet"]),
        (["serve", "--listen"], ["serve", "--listen", "0.0.0.0"]),
        (["serve", "--listen", "::1"], ["serve", "--listen", "::1"]),
        (["serve", "--cache-ram", "--port", "0"], ["serve", "--cache-ram", "0", "--port", "0"]),
        (["serve", "--cache-none"], ["serve", "--cache-none"]),
        ([], []),
    ],
)
def test_a_switch_without_its_value_gets_it(given: list[str], expected: list[str]) -> None:
    assert fill_bare_switches(given) == expected


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], None),
        (["checkpoints=a.safetensors"], {"checkpoints": ["a.safetensors"]}),
        (["loras=a", "loras=b", "vae=c"], {"loras": ["a", "b"], "vae": ["c"]}),
        (["checkpoints="], {"checkpoints": []}),
        (["checkpoints=", "checkpoints=a"], {"checkpoints": ["a"]}),
        (["loras=sub/x=1.safetensors"], {"loras": ["sub/x=1.safetensors"]}),
    ],
)
def test_models(pairs: list[str], expected: dict[str, list[str]] | None) -> None:
    assert models(pairs) == expected


@pytest.mark.parametrize("pair", ["model.safetensors", "=model.safetensors", ""])
def test_a_model_without_its_folder_is_refused(pair: str) -> None:
    with pytest.raises(typer.BadParameter, match="FOLDER=NAME"):
        models([pair])


def test_feature_flags() -> None:
    assert feature_flags(["num=3", "bare", "text=a=b", "empty="]) == {
        "num": "3",
        "bare": "true",
        "text": "a=b",
        "empty": "",
    }
    with pytest.raises(typer.BadParameter, match="KEY=VALUE"):
        feature_flags(["=3"])


NOTHING: dict[str, Any] = {"classic": False, "lru": 0, "none": False, "ram": False, "high_ram": False}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "default"),
        ({"classic": True}, "classic"),
        ({"high_ram": True}, "classic"),
        ({"lru": 3}, "lru"),
        ({"lru": 3, "high_ram": True}, "lru"),
        ({"none": True}, "none"),
        ({"ram": True}, "default"),
    ],
)
def test_the_cache_that_is_asked_for(asked: dict[str, Any], expected: str) -> None:
    assert cache_mode(**{**NOTHING, **asked}) == expected


def test_two_caches_are_refused() -> None:
    with pytest.raises(typer.BadParameter, match="--cache-classic and --cache-lru exclude each other"):
        cache_mode(**{**NOTHING, "classic": True, "lru": 1})
