from __future__ import annotations

import pytest
import traffic_maker as make

from comfy_contracts.har import Response
from comfy_contracts.replay_names import Translation

OLD, NEW = "aaaaaaaa-1111-4111-8111-111111111111", "bbbbbbbb-2222-4222-8222-222222222222"


def words(live: str = "http://127.0.0.1:40123", *, learned: bool = True) -> Translation:
    translation = Translation("http://127.0.0.1:8189/prompt", live)
    if learned:
        translation.learn({"prompt_id": OLD}, {"prompt_id": NEW})
    return translation


@pytest.mark.parametrize(
    ("said", "translated"),
    [
        (f"/history/{OLD}", f"/history/{NEW}"),
        (OLD.upper(), NEW.upper()),
        (OLD.replace("-", ""), NEW.replace("-", "")),
        (f"{{{OLD}}}", f"{{{NEW}}}"),
        (f"alice_{OLD}", f"alice_{NEW}"),
        (make.PROMPT, make.PROMPT),
        ("nothing", "nothing"),
    ],
)
def test_ids_take_their_live_form(said: str, translated: str) -> None:
    assert words().text(said) == translated
    assert words().body(said.encode()) == translated.encode()


def test_bytes_that_are_no_text_stay() -> None:
    assert words().body(b"\xff\0" + OLD.encode() + b"\xfe") == b"\xff\0" + NEW.encode() + b"\xfe"


def test_ids_are_known_both_ways() -> None:
    assert words().live_id(OLD) == NEW
    assert words().recorded_id(NEW) == OLD
    assert words().live_id(make.PROMPT) is None
    assert words().recorded_id(make.PROMPT) is None


def test_the_first_answer_that_names_an_id_counts() -> None:
    translation = words()
    translation.learn([OLD], [make.PROMPT])
    assert translation.live_id(OLD) == NEW


def test_keys_are_followed_under_their_live_names() -> None:
    translation = words()
    translation.learn({OLD: {"sid": make.PROMPT}}, {NEW: {"sid": make.OTHER}})
    assert translation.live_id(make.PROMPT) == make.OTHER


@pytest.mark.parametrize("live", [None, [], {"prompt_id": 5}, {"prompt_id": "no id"}, {"error": {}}])
def test_an_answer_of_another_shape_teaches_nothing(live: object) -> None:
    translation = words(learned=False)
    translation.learn({"prompt_id": OLD}, live)
    assert translation.live_id(OLD) is None


def test_files_that_got_another_name() -> None:
    translation = words()
    translation.learn(
        {"images": [{"filename": "ComfyUI_temp_abcde_00001_.png"}, {"filename": "a ü.png"}, {"filename": "same.png"}]},
        {"images": [{"filename": "ComfyUI_temp_vwxyz_00001_.png"}, {"filename": "b ü.png"}, {"filename": "same.png"}]},
    )
    assert (
        translation.text("/view?filename=ComfyUI_temp_abcde_00001_.png")
        == "/view?filename=ComfyUI_temp_vwxyz_00001_.png"
    )
    assert translation.text("/view?filename=a%20%C3%BC.png") == "/view?filename=b%20%C3%BC.png"
    assert translation.body("a ü.png [output]".encode()) == "b ü.png [output]".encode()
    assert translation.text("same.png") == "same.png"
    assert translation.text(OLD) == NEW


def test_files_that_exchanged_their_names() -> None:
    translation = words()
    translation.learn(
        [{"filename": "x_1.png"}, {"filename": "x_2.png"}], [{"filename": "x_2.png"}, {"filename": "x_1.png"}]
    )
    assert translation.text("x_1.png x_2.png") == "x_2.png x_1.png"
    translation.learn({"filename": "x_1.png"}, {"filename": "x_1.png"})
    assert translation.text("x_1.png x_2.png") == "x_1.png x_1.png"


def response(**headers: str) -> Response:
    return Response.from_builtins(
        {
            "status": 200,
            "statusText": "OK",
            "headers": [{"name": name, "value": value} for name, value in headers.items()],
        }
    )


def test_entity_tags_and_times_come_from_the_live_answer() -> None:
    translation = words()
    recorded = response(Etag='"old"', **{"Last-Modified": "Mon"})
    translation.learn_headers(recorded, response(etag='"new"', **{"last-modified": "Tue"}))
    assert translation.header("If-None-Match", '"old"') == '"new"'
    assert translation.header("If-Range", '"old"') == '"new"'
    assert translation.header("If-Modified-Since", "Mon") == "Tue"
    assert translation.header("If-None-Match", '"zzz"') == '"zzz"'


@pytest.mark.parametrize(
    ("live", "said", "translated"),
    [
        ("http://127.0.0.1:40123", "http://127.0.0.1:8189", "http://127.0.0.1:40123"),
        ("http://127.0.0.1:40123", "https://localhost:8189", "https://localhost:40123"),
        ("http://localhost:40123", "http://127.0.0.1:8189", "http://127.0.0.1:40123"),
        ("http://127.0.0.1:40123", "http://127.0.0.1", "http://127.0.0.1"),
        ("http://127.0.0.1:40123", "http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.0.0.1:40123", "http://evil.example", "http://evil.example"),
        ("http://10.0.0.5:8188", "127.0.0.1:8189", "10.0.0.5:8188"),
        ("https://comfy.example", "127.0.0.1:8189", "comfy.example"),
        ("http://10.0.0.5:8188", "http://evil.example", "http://evil.example"),
    ],
)
def test_addresses_name_the_live_server_where_they_named_the_recorded_one(
    live: str, said: str, translated: str
) -> None:
    assert words(live).header("Host", said) == translated
    assert words(live).header("Origin", said) == translated


def test_other_headers_have_live_ids() -> None:
    assert words().header("comfy-user", f"alice_{OLD}") == f"alice_{NEW}"
