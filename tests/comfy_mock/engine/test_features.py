"""Feature flags and system stats (protocol 2.2)."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_contracts import jsontext
from comfy_mock.engine.features import features
from comfy_mock.engine.options import Options
from comfy_mock.engine.system_stats import system_stats


def test_the_text_is_the_recorded_one() -> None:
    assert jsontext.dumps(features(Options())) == (
        '{"supports_preview_metadata": true, "supports_model_type_tags": true, "max_upload_size": 104857600, '
        '"extension": {"manager": {"supports_v4": true}}, "node_replacements": true, "assets": false}'
    )


@pytest.mark.parametrize(
    ("megabytes", "text"), [(0.01, "10485.76"), (1, "1048576.0"), (2.5, "2621440.0"), (100.0, "104857600")]
)
def test_the_upload_limit_is_a_float_unless_it_is_the_default(megabytes: float, text: str) -> None:
    assert f'"max_upload_size": {text},' in jsontext.dumps(features(Options(max_upload_size=megabytes)))


def test_flags_of_the_command_line_are_texts_but_for_the_registered_ones() -> None:
    flags = {"num": "3", "show_signin_button": "true", "enable_telemetry": "False", "assets": "true"}
    shown = features(Options(feature_flags=flags))
    assert (shown["num"], shown["show_signin_button"], shown["enable_telemetry"]) == ("3", True, False)
    assert shown["assets"] is False
    assert list(shown)[-3:] == ["num", "show_signin_button", "enable_telemetry"]


def test_system_stats_speak_of_the_version_and_the_arguments() -> None:
    stats = system_stats(Options(argv=("main.py", "--cpu")))
    assert stats["system"]["comfyui_version"] == "0.33.0"
    assert stats["system"]["argv"] == ["main.py", "--cpu"]
    assert [device["type"] for device in stats["devices"]] == ["cpu"]


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("0.8.0", ["supports_preview_metadata", "max_upload_size", "extension"]),
        ("0.3.64", ["supports_preview_metadata", "max_upload_size"]),
    ],
)
def test_older_versions_have_fewer_flags(version: str, names: list[str]) -> None:
    assert list(features(Options(version=version))) == names


@pytest.mark.parametrize(
    ("version", "system", "packages", "devices"),
    [("0.33.0", "linux", True, 2), ("0.8.0", "linux", False, 1), ("0.3.64", "posix", False, 1)],
)
def test_older_versions_say_less_of_their_machine(version: str, system: str, packages: bool, devices: int) -> None:
    stats = system_stats(Options(version=version, system={"devices": [{"index": 0}, {"index": 1}]}))
    assert stats["system"]["os"] == system
    assert [name in stats["system"] for name in ("comfy_package_versions", "deploy_environment")] == [packages] * 2
    assert stats["devices"] == [{"index": 0}, {"index": 1}][:devices]


def test_a_user_may_describe_another_machine() -> None:
    card: dict[str, Any] = {"name": "cuda:0 card : native", "type": "cuda", "index": 0}
    stats = system_stats(Options(system={"os": "win32", "devices": [card]}))
    assert stats["system"]["os"] == "win32"
    assert list(stats["system"]) == list(system_stats(Options())["system"])
    assert stats["devices"] == [card]
