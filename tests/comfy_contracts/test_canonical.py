from __future__ import annotations

from typing import Any

import pytest
import traffic_maker as make

from comfy_contracts.canonical import Canon, texture


def canon() -> Canon:
    made = Canon(make.har(make.exchange(host="127.0.0.1:9000")))
    made.at("h0")
    return made


def test_an_id_is_named_after_the_place_where_it_was_first_seen() -> None:
    made = canon()
    made.text(make.PROMPT)
    made.at("h7")
    assert made.text(f"{make.OTHER} {make.PROMPT}") == "<id h7.1> <id h0.1>"


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("abcdef12-1111-4111-8111-111111111111", "<id h0.1>"),
        ("abcdef12111141118111111111111111", "<id h0.1 hex>"),
        ("ABCDEF12-1111-4111-8111-111111111111", "<id h0.1 upper>"),
        ("alice_abcdef12-1111-4111-8111-111111111111", "alice_<id h0.1>"),
        ("abcdef12-1111-4111-8111-1111111111112", "abcdef12-1111-4111-8111-1111111111112"),
        ("a" * 64, "a" * 64),
    ],
)
def test_an_id_has_forms_and_edges(form: str, name: str) -> None:
    made = canon()
    made.text("abcdef12-1111-4111-8111-111111111111")
    assert made.text(form) == name


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("ComfyUI_temp_abcde_00001_.png", "ComfyUI_temp_<letters h0.1>_00001_.png"),
        ("http://127.0.0.1:9000/x localhost:9000", "http://HOST:PORT/x HOST:PORT"),
        ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("2026-11-18_y_00001_.png", "TODAY_y_00001_.png"),
        ("2025-11-18_y", "2025-11-18_y"),
        ("<Model object at 0x7f00aa>", "<Model object at 0x>"),
        (
            "no\n full_output_folder: /a/b\n         output_dir: /c",
            "no\n full_output_folder: PATH\n         output_dir: PATH",
        ),
        ("[[tensor([[1.5, -2]], device='cpu', f=(1)), {}]]", "[[tensor(…), {}]]"),
        ("ordinary", "ordinary"),
    ],
)
def test_what_is_free_in_a_string(text: str, left: str) -> None:
    assert canon().text(text) == left


@pytest.mark.parametrize(
    ("place", "value", "left"),
    [
        ("", {"timestamp": 5}, {"timestamp": "<int>"}),
        ("", {"timestamp": 5.0}, {"timestamp": "<float>"}),
        ("", {"timestamp": "5"}, {"timestamp": "5"}),
        ("", {"timestamp": True}, {"timestamp": True}),
        ("", {"traceback": ["a", "b"]}, {"traceback": "<strings>"}),
        ("", {"traceback": []}, {"traceback": "<no strings>"}),
        ("", {"traceback": [1]}, {"traceback": [1]}),
        ("", {"tooltip": "prose", "min": 0}, {"min": 0}),
        ("", {"description": {"a": 1}}, {"description": {"a": 1}}),
        ("", {"executed": ["2", "1"]}, {"executed": ["1", "2"]}),
        ("", {"b": 1, "a": 1.0}, {"b": 1, "a": 1.0}),
        ("POST /prompt", {"error": {"details": "b\na"}}, {"error": {"details": ["a", "b"]}}),
        (
            "GET /queue",
            {"queue_running": [[0, "", {}, 0, ["9", "3"]]]},
            {"queue_running": [[0, "", {}, 0, ["3", "9"]]]},
        ),
        ("GET /system_stats", {"d": [{"a": 1}, {"a": 2}], "n": None}, {"d": [{"a": "<int>"}], "n": "<null>"}),
        ("GET /extensions", ["/x.js"], "<list>"),
    ],
)
def test_what_is_free_in_json(place: str, value: Any, left: Any) -> None:
    assert canon().json(value, [place]) == left


def test_the_more_particular_place_wins() -> None:
    value = {"node_errors": {"1": {"dependent_outputs": ["2", "3"]}}}
    both = canon().json(value, ["POST /prompt", "POST /prompt, several outputs"])
    assert both == {"node_errors": {"1": {"dependent_outputs": "<some>"}}}


def test_the_keys_of_errors_are_a_set_but_those_of_a_history_are_not() -> None:
    made = canon()
    assert list(made.json({"node_errors": {"9": {}, "1": {}}}, ["POST /prompt"])["node_errors"]) == ["1", "9"]
    assert list(made.json({"9": {}, "1": {}}, ["GET /history"])) == ["9", "1"]


def test_ids_are_named_in_keys_too() -> None:
    assert canon().json({make.PROMPT: {"id": make.PROMPT}}, []) == {"<id h0.1>": {"id": "<id h0.1>"}}


def test_a_texture_has_each_kind_of_member_once() -> None:
    assert texture([{"a": 1}, {"a": 2}, {"a": 1.0}, "x"]) == [{"a": "<int>"}, {"a": "<float>"}, "<str>"]
