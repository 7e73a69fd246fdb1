"""What a changelog says: of each change one line, as a person would write it."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import struct
from typing import Any

import pytest
from chrome_maker import as_chrome_saves
from traffic_maker import OTHER, PROMPT, exchange, har, message, queued, socket, status, steps

from comfy_contracts.changelog import Changelog, changelog
from comfy_contracts.changelog.text import line, markdown, plain
from comfy_contracts.har import Har, load, packaged_recordings

RECORDINGS = packaged_recordings("0.33.0")
EMPTY_CHUNKED = {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
Entry = dict[str, Any]


@functools.cache
def recorded(name: str) -> Har:
    return load(RECORDINGS[name])


def between(before: Har, after: Har) -> Changelog:
    return changelog({"run": before}, {"run": after})


def lines(before: Har, after: Har) -> list[str]:
    return [line(change) for change in between(before, after).changes]


def answered(before: Entry, after: Entry) -> list[str]:
    """What is said where the only request was answered so, and then so."""
    return lines(har(before), har(after))


def said(before: list[Any], after: list[Any]) -> list[str]:
    """What is said where a socket was told these messages, and then those."""
    prompt = queued(PROMPT, at=1)
    told = [socket(*((2 + number, one) for number, one in enumerate(side))) for side in (before, after)]
    return lines(har(told[0], prompt), har(told[1], prompt))


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_has_not_changed_from_itself(name: str) -> None:
    found = between(recorded(name), recorded(name))
    assert found.changes == ()
    assert found.requests + found.sockets == len(recorded(name).entries)
    assert (found.only_before, found.only_after) == ({}, {})


# Routes


UNKNOWN_PATH = exchange("GET", "/node_replacements", status=404, headers=EMPTY_CHUNKED)
HAS_ROUTE = exchange("GET", "/node_replacements", answer={"A": []})


def test_a_route_that_came_is_one_line() -> None:
    assert answered(UNKNOWN_PATH, HAS_ROUTE) == ["`GET /node_replacements` added (404 before)"]


def test_a_route_that_went_is_one_line() -> None:
    assert answered(HAS_ROUTE, UNKNOWN_PATH) == ["`GET /node_replacements` removed (404 now)"]


def test_a_route_of_another_method_that_went_is_one_line() -> None:
    gone = exchange("POST", f"/api/jobs/{PROMPT}/cancel", status=405, answer="405: Method Not Allowed")
    there = exchange("POST", f"/api/jobs/{PROMPT}/cancel", answer={"cancelled": True})
    assert answered(there, gone) == ["`POST /api/jobs/{job_id}/cancel` removed (405 now)"]


@pytest.mark.parametrize(
    "answer",
    [
        exchange("GET", "/view?filename=x", status=404),
        exchange("GET", "/view?filename=x", status=404, answer={"error": "Job not found"}),
        exchange("GET", "/view?filename=x", status=404, answer="Directory not found"),
    ],
)
def test_what_a_handler_does_not_find_is_no_lack_of_a_route(answer: Entry) -> None:
    (said,) = answered(exchange("GET", "/view?filename=x", answer=b"\xff\0"), answer)
    assert said.startswith("`GET /view`: status: `200` → `404")


def test_a_route_is_there_if_any_answer_of_it_says_so() -> None:
    both = exchange("GET", "/history/a", answer={})
    before = har(both, exchange("GET", "/history/b", at=1, answer={}))
    after = har(both, exchange("GET", "/history/b", at=1, status=404, headers=EMPTY_CHUNKED))
    assert lines(before, after) == ["`GET /history/{prompt_id}`: status: `200` → `404`"]


def test_a_route_and_its_alias_share_a_line() -> None:
    def world(**more: Any) -> Har:
        paths = ("/features", "/api/features", "/queue", "/api/jobs")
        return har(*(exchange("GET", path, at=at, answer={"a": 1}, headers=more) for at, path in enumerate(paths)))

    assert lines(world(), world(Vary="Origin")) == [
        "`GET [/api]/features`, `GET /api/jobs`, `GET /queue`: header `vary` added (`Origin`)"
    ]


def test_many_routes_are_counted() -> None:
    def world(**more: Any) -> Har:
        return har(*(exchange("GET", f"/{name}", at=at, answer="", headers=more) for at, name in enumerate("abcde")))

    assert lines(world(), world(Vary="x")) == ["`GET /a`, `GET /b`, `GET /c` and 2 more: header `vary` added (`x`)"]


# Answers


def test_a_status_and_the_type_of_its_error() -> None:
    refused = exchange("POST", "/prompt", sent={}, status=400, answer={"error": {"type": "missing_node_type"}})
    assert answered(exchange("POST", "/prompt", sent={}, answer={"prompt_id": "a"}), refused) == [
        "`POST /prompt`: status: `200` → `400 missing_node_type`"
    ]


def test_a_status_of_the_same_sort_does_not_hide_the_body() -> None:
    before = exchange(status=400, answer={"error": "a"})
    assert answered(before, exchange(status=409, answer={"error": "b"})) == [
        "`GET /prompt`: status: `400 a` → `409 b`",
        '`GET /prompt`: `$.error`: `"a"` → `"b"`',
    ]


def test_a_reason() -> None:
    other = exchange(answer={})
    other["response"]["statusText"] = "Fine"
    assert answered(exchange(answer={}), other) == ["`GET /prompt`: reason: `200 OK` → `200 Fine`"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"X-New": "1"}, "header `x-new` added (`1`)"),
        ({"X-Old": "1"}, {}, "header `x-old` removed (`1`)"),
        (
            {"Cache-Control": "no-cache"},
            {"Cache-Control": "no-store"},
            "header `cache-control`: `no-cache` → `no-store`",
        ),
    ],
)
def test_a_header(before: dict[str, str], after: dict[str, str], expected: str) -> None:
    one, other = exchange(answer={}, headers=before), exchange(answer={}, headers=after)
    assert answered(one, other) == [f"`GET /prompt`: {expected}"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1, "b": "x"}, "`$.b` added (`string`)"),
        ({"a": 1, "b": [0]}, {"a": 1}, "`$.b` removed (`list`)"),
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}, "`$.a.b`: integer → float"),
        ({"a": None}, {"a": {}}, "`$.a`: null → object"),
        ({"a": 1, "b": 2}, {"a": 1, "c": 2}, "a field of `$` renamed: `b` → `c`"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}]}, "`$.a[].c` added (`integer`)"),
        ({"a": "x"}, {"a": "y"}, '`$.a`: `"x"` → `"y"`'),
        ({"a": 0.0}, {"a": -0.0}, "`$.a`: `0.0` → `-0.0`"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, 'order of keys of `$`: `["a", "b"]` → `["b", "a"]`'),
        ({"a": ["x"]}, {"a": ["x", "y"]}, '`$.a[]` added (`"y"`)'),
        ({"a": ["x", "y"]}, {"a": ["y"]}, '`$.a[]` removed (`"x"`)'),
        ({"a": [{}]}, {"a": [{}, {}]}, "length of `$.a`: `1` → `2`"),
        ({"outputs": {"9": 1}}, {"outputs": {"9": 1, "7": 1}}, "`$.outputs.*` added (`integer`)"),
        ({"nodes": {"a": {"x": 1}}}, {"nodes": {"a": {"x": 2}}}, "`$.nodes.*.x`: `1` → `2`"),
        ({"a b": 1}, {"a b": 2}, '`$["a b"]`: `1` → `2`'),
        ([], {}, "`$`: list → object"),
        ("a", "b", "`text`: `\"a\"` → `\"b\"`"),
        ({}, "text", "body: JSON → text"),
        ({"a": [{"b": 1, "c": 1}] * 2}, {"a": [{"b": 1}]}, "`$.a[].c` removed (`integer`)"),
    ],
)  # fmt: skip
def test_a_body(before: Any, after: Any, expected: str) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    found = answered(exchange(answer=before, headers=headers), exchange(answer=after, headers=headers))
    assert found[0] == f"`GET /prompt`: {expected}"
    assert found[1:] in ([], ["`GET /prompt`: length of `$.a`: `2` → `1`"])


def test_a_form() -> None:
    headers = {"Content-Type": "application/json"}
    assert answered(exchange(answer={"a": 1}, headers=headers), exchange(answer='{"a":1}', headers=headers)) == [
        "`GET /prompt`: form of the JSON: `Python's default form` → `another form`"
    ]


def test_a_type_of_content_that_alone_has_changed() -> None:
    text = {"Content-Type": "text/plain"}
    assert answered(exchange(answer={"a": 1}), exchange(answer='{"a": 1}', headers=text)) == [
        "`GET /prompt`: header `content-type`: `application/json; charset=utf-8` → `text/plain`"
    ]


def test_many_values_of_one_place_are_one_line() -> None:
    def world(*values: str) -> Har:
        return har(*(exchange("GET", f"/history/{at}", at=at, answer={"a": one}) for at, one in enumerate(values)))

    assert lines(world(*"aabcde"), world(*"xxyzvw")) == [
        '`GET /history/{prompt_id}`: `$.a`: `"a"` → `"x"`; `"b"` → `"y"`; `"c"` → `"z"`; and 2 more, in 6 answers'
    ]


def test_a_long_value_is_cut_where_it_changed() -> None:
    long = "x" * 500
    (said,) = answered(exchange(answer={"a": f"{long}1{long}"}), exchange(answer={"a": f"{long}2{long}"}))
    assert len(said) < 300
    assert "x1x" in said
    assert "x2x" in said


def test_an_error_answer_has_a_section_of_its_own() -> None:
    found = between(
        har(exchange(status=400, answer={"error": {"message": "a"}})),
        har(exchange(status=400, answer={"error": {"message": "b"}})),
    )
    assert [(one.section, one.what) for one in found.changes] == [("errors", "`$.error.message`")]


def test_a_file() -> None:
    headers = {"Content-Type": "image/png"}
    one, other = (
        exchange("GET", "/view?filename=a", answer=body, headers=headers) for body in (b"\xff\0a", b"\xff\0bc")
    )
    (said,) = answered(one, other)
    assert said.startswith("`GET /view`: state of `file`: `3 bytes, SHA-256 ")
    assert "→ `4 bytes, SHA-256 " in said


def test_what_tells_of_the_machine_is_no_change_but_what_tells_of_comfyui_is() -> None:
    def stats(version: str, ram: int) -> Entry:
        return exchange("GET", "/system_stats", answer={"system": {"comfyui_version": version, "ram_total": ram}})

    found = between(har(stats("0.8.0", 1)), har(stats("0.33.0", 2)))
    assert [line(one) for one in found.changes] == [
        "`GET /system_stats`: `$.system.comfyui_version`: `0.8.0` → `0.33.0`"
    ]
    assert found.versions == ("0.8.0", "0.33.0")


def test_what_a_rule_frees_still_has_a_type() -> None:
    one, other = exchange(answer={"create_time": 1}), exchange(answer={"create_time": 2})
    assert answered(one, other) == []
    assert answered(one, exchange(answer={"create_time": 2.0})) == ["`GET /prompt`: `$.create_time`: integer → float"]


def test_a_body_that_was_left_out_is_told_of() -> None:
    omitted = exchange("GET", "/object_info")
    omitted["response"]["content"] |= {"_omitted": True, "_sha256": "0"}
    found = between(har(exchange("GET", "/object_info", answer={})), har(omitted))
    assert (found.changes[1:], found.not_compared) == ((), {"GET /object_info": 1})


# Which request is which


def test_ids_are_no_change_but_mixed_up_ids_are() -> None:
    def world(one: str, other: str, shown: str) -> Har:
        prompts = [queued(prompt, at=at, sent={"prompt": {"1": at}}) for at, prompt in enumerate((one, other))]
        return har(*prompts, exchange("GET", "/queue", at=5, answer={"running": shown}))

    new = [prompt.replace("1", "3").replace("2", "4") for prompt in (PROMPT, OTHER)]
    assert lines(world(PROMPT, OTHER, PROMPT), world(*new, new[0])) == []
    assert lines(world(PROMPT, OTHER, PROMPT), world(*new, new[1])) == [
        "`GET /queue`: which random name is in `$.running`"
    ]


def test_the_order_of_requests_is_no_change() -> None:
    def world(order: list[str]) -> Har:
        prompts = {"a": PROMPT, "b": OTHER}
        made = [queued(prompts[name], at=at, sent={"prompt": {"1": name}}) for at, name in enumerate(order)]
        got = [
            exchange("GET", f"/history/{prompts[name]}", at=5 + at, answer={prompts[name]: {"of": name}})
            for at, name in enumerate(order)
        ]
        return har(*made, *got)

    assert lines(world(["a", "b"]), world(["b", "a"])) == []


def test_a_new_id_before_the_others_does_not_shift_them() -> None:
    history = exchange("GET", f"/history/{PROMPT}", at=1, answer={PROMPT: {}})
    before = har(queued(PROMPT), history)
    after = har(
        queued(PROMPT, answer={"request_id": OTHER, "prompt_id": PROMPT, "number": 0, "node_errors": {}}), history
    )
    assert lines(before, after) == ["`POST /prompt`: `$.request_id` added (`string`)"]


def test_requests_of_one_side_alone_are_no_changes() -> None:
    found = between(
        har(exchange("GET", "/queue", answer={}), *(exchange("GET", f"/history/{at}", at=at) for at in (1, 2))),
        har(exchange("GET", "/queue", answer={}), exchange("POST", "/free", at=1, sent={"unload_models": True})),
    )
    assert (found.changes, found.requests) == ((), 1)
    assert (found.only_before, found.only_after) == ({"GET /history/{prompt_id}": 2}, {"POST /free": 1})


def test_requests_with_other_bodies_or_conditions_are_others() -> None:
    def world(*entries: tuple[str, int]) -> Har:
        return har(
            *(
                exchange(at=at, sent_headers={"Origin": origin}, status=code)
                for at, (origin, code) in enumerate(entries)
            )
        )

    assert lines(world(("http://a", 200), ("http://b", 403)), world(("http://b", 403), ("http://a", 200))) == []
    found = between(har(queued(sent={"prompt": {"1": 1}})), har(queued(sent={"prompt": {"1": 2}})))
    assert (found.requests, found.only_before, found.only_after) == (0, {"POST /prompt": 1}, {"POST /prompt": 1})


def test_an_upload_is_the_same_whatever_its_boundary() -> None:
    def upload(boundary: str) -> Entry:
        sent = f"--{boundary}\r\nContent-Disposition: form-data; name=image\r\n\r\nabc\r\n--{boundary}--".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return exchange("POST", "/upload/image", sent=sent, sent_headers=headers, answer={"name": "a"})

    assert between(har(upload("x1")), har(upload("y22"))).requests == 1


def test_recordings_are_paired_by_name() -> None:
    one, other = har(exchange(answer={"a": 1})), har(exchange(answer={"a": 2}))
    found = changelog({"a": one, "b": one, "c": one}, {"a": other, "b": other, "d": one})
    assert [line(change) for change in found.changes] == ["`GET /prompt`: `$.a`: `1` → `2`, in 2 answers"]
    assert (found.only_before, found.only_after) == ({"GET /prompt": 1}, {"GET /prompt": 1})


# Sockets

START = message("execution_start", timestamp=1)
RUN = [
    START,
    message("execution_cached", nodes=[], timestamp=2),
    message("executing", node="3", display_node="3"),
    message("progress", node="3", value=1, max=2),
    message("progress", node="3", value=2, max=2),
    message("executed", node="3", output={"text": ["a"]}),
    message("execution_success", timestamp=3),
]


def instead(index: int, *others: Any) -> list[Any]:
    """The run with other messages in the place of one."""
    return [*RUN[:index], *others, *RUN[index + 1 :]]


def preview(event: int = 1, picture_format: int = 1) -> bytes:
    return struct.pack(">II", event, picture_format) + b"picture"


def text(words: bytes) -> bytes:
    return struct.pack(">II", 3, 1) + b"3" + words


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([*RUN[:3], *RUN[5:]], "`progress` removed, in 2 messages"),
        (instead(0, START, message("new", a=1)), "`new` added"),
        (
            instead(2, message("running", node="3", display_node="3")),
            "message type renamed: `executing` → `running`",
        ),
        (
            [RUN[1], RUN[0], *RUN[2:]],
            "order of messages: `execution_start, execution_cached` → `execution_cached, execution_start`",
        ),
        (instead(3), "`progress`: messages of a run: `2` → `1`"),
        (
            instead(0, message("execution_start", timestamp=1, extra="x")),
            "`execution_start`: `$.data.extra` added (`string`)",
        ),
        (
            instead(0, message("execution_start", timestamp=1.5)),
            "`execution_start`: `$.data.timestamp`: integer → float",
        ),
        (
            instead(2, message("executing", node="4", display_node="3")),
            '`executing`: `$.data.node`: `"3"` → `"4"`',
        ),
        (
            instead(2, message("executing", id="3", display_node="3")),
            "`executing`: a field of `$.data` renamed: `node` → `id`",
        ),
        (
            instead(0, json.dumps(START, separators=(",", ":"))),
            "`execution_start`: form of the JSON: `Python's default form` → `another form`",
        ),
        ([*RUN, preview()], "`binary frame 1` added"),
        (
            RUN[:1],
            "`executed`, `executing`, `execution_cached`, `execution_success`, `progress` removed, in 6 messages",
        ),
    ],
)
def test_a_message(after: list[Any], expected: str) -> None:
    assert said(RUN, after) == [expected]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([preview()], [preview(picture_format=2)], '`binary frame 1`: `frame.format`: `"JPEG"` → `"PNG"`'),
        ([preview()] * 3, [preview()] * 2, "`binary frame 1`: messages of a run: `3` → `2`"),
        ([preview(9)], [preview(9, 2)], "`binary frame 9`: `frame.sha256`: "),
        ([text(b"a")], [text(b"b")], '`binary frame 3`: `frame.text`: `"a"` → `"b"`'),
    ],
)
def test_a_frame(before: list[bytes], after: list[bytes], expected: str) -> None:
    (found,) = said([START, *before], [START, *after])
    assert found.startswith(expected)


def test_a_field_of_messages_that_are_not_as_many() -> None:
    progress = [message("progress", value=value, max=3) for value in (1, 2, 3)]
    fewer = [message("progress", value=value / 2, max=3, node="3") for value in (1, 3)]
    assert said([START, *progress, RUN[-1]], [START, *fewer, RUN[-1]]) == [
        "`progress`: `$.data.node` added (`string`)",
        "`progress`: `$.data.value`: integer → float",
        "`progress`: messages of a run: `3` → `2`",
    ]


def test_a_node_in_a_state() -> None:
    before, after = steps({"a": (1, 2, "running")}), steps({"a": (1, 2, "finished")})
    assert said([START, before], [START, after]) == [
        '`progress_state`: `$.data.nodes.*.state`: `"running"` → `"finished"`'
    ]


def test_a_status_among_the_messages_of_a_run() -> None:
    assert said([status(0, "s"), START, status(1)], [status(0, "s"), status(1), START]) == [
        "order of runs and other messages: `execution_start, status` → `status, execution_start`"
    ]


def test_statuses_without_a_place() -> None:
    """Rule "overlap": where prompts wait, only the values count, and how many there were."""
    waiting = [status(0, "s"), status(1), status(2), START, status(1), status(0)]
    assert said(waiting, [status(0, "s"), status(1), START, status(2), status(1), status(0)]) == []
    assert said(waiting, [*waiting, status(0)]) == ["`status`: messages outside of runs: `5` → `6`"]
    assert said(waiting, [*waiting[:4], status(0), status(0)]) == [
        "`status`: course of the queue: `0, 1, 2, 1, 0` → `0, 1, 2, 0`"
    ]


def test_a_run_that_a_socket_was_not_told_of() -> None:
    other = queued(OTHER, at=2, sent={"prompt": {"1": 1}})
    world = [queued(PROMPT, at=1), other]
    told = message("execution_start", OTHER, timestamp=1)
    assert lines(har(socket((3, START), (4, told)), *world), har(socket((3, START)), *world)) == [
        "all messages of a run removed"
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_runs_that_one_side_alone_asked_for_are_left_out(packed: bool) -> None:
    other = queued(OTHER, at=2, sent={"prompt": {"1": 1}})
    if packed:
        body = base64.b64encode(gzip.compress(other["response"]["content"]["text"].encode())).decode()
        other["response"]["content"] |= {"text": body, "encoding": "base64"}
        other["response"]["headers"].append({"name": "Content-Encoding", "value": "gzip"})
    told = [(5, message("execution_start", OTHER, timestamp=1)), (6, preview()), (7, status(0))]
    before = har(socket((0.5, status(0, "s")), (3, START), (4, status(1))), queued(PROMPT, at=1))
    after = har(socket((0.5, status(0, "s")), (3, START), (4, status(2)), *told), queued(PROMPT, at=1), other)
    assert lines(before, after) == []


def test_a_handshake_and_a_close() -> None:
    other = socket(code=1001)
    other["response"]["headers"] = [{"name": "X-A", "value": "1"}]
    assert lines(har(socket()), har(other)) == [
        "`WebSocket /ws`: header `x-a` added (`1`)",
        "`WebSocket /ws`: code of closing: `1000` → `1001`",
    ]
    other["response"]["status"], other["_webSocketClose"] = 200, {}
    assert lines(har(socket()), har(other))[0] == "`WebSocket /ws`: status: `101` → `200`"


def test_sockets_are_told_apart_by_what_their_clients_ask() -> None:
    def world(*clients: str) -> Har:
        sockets = [
            socket((1 + at, status(0, f"sid of {client[0]}")), path=f"/ws?clientId={client}", at=at)
            for at, client in enumerate(clients)
        ]
        prompts = [
            queued(prompt, at=5 + at, sent={"client_id": client, "prompt": {"1": at}})
            for at, (prompt, client) in enumerate(((PROMPT, "a" * 32), (OTHER, "b" * 32)))
        ]
        return har(*sockets, *prompts)

    found = between(world("a" * 32, "b" * 32), world("b" * 32))
    assert (found.changes, found.sockets, found.only_before) == ((), 1, {"WebSocket /ws": 1})


# Nodes

SEED, MODE = ["INT", {"default": 0}], [["a", "b"]]


def sampler(
    required: dict[str, Any] | None = None, *, optional: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A class of nodes, or what has become of it."""
    inputs = {
        "required": {"seed": SEED, "mode": MODE} if required is None else required,
        "hidden": {"prompt": "PROMPT"},
    }
    if optional is not None:
        inputs["optional"] = optional
    return {
        "input": inputs,
        "input_order": {kind: list(names) for kind, names in inputs.items()},
        "output": ["LATENT"],
        "output_name": ["LATENT"],
        "output_is_list": [False],
        "name": "Sampler",
        **more,
    }


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (sampler({"seed": SEED, "mode": MODE, "steps": ["INT"]}), "input `steps` added (`INT, required`)"),
        (sampler({"seed": SEED}), "input `mode` removed (`list of choices, required`)"),
        (sampler({"mode": MODE, "seed": SEED}), "order of inputs: `seed, mode, prompt` → `mode, seed, prompt`"),
        (sampler({"seed": ["FLOAT", {"default": 0}], "mode": MODE}), "input `seed`: INT → FLOAT"),
        (sampler({"seed": ["INT", {"default": 1}], "mode": MODE}), "input `seed`, `default`: `0` → `1`"),
        (sampler({"seed": ["INT", {"default": 0, "min": 1}], "mode": MODE}), "input `seed`, `min` added (`integer`)"),
        (sampler({"seed": SEED, "mode": [["a", "b", "c"]]}), 'choices of input `mode` added (`"c"`)'),
        (sampler({"seed": SEED, "mode": [["b"]]}), 'choices of input `mode` removed (`"a"`)'),
        (
            sampler({"seed": SEED, "mode": [["b", "a"]]}),
            'order of choices of input `mode`: `["a", "b"]` → `["b", "a"]`',
        ),
        (
            sampler({"seed": SEED, "mode": ["COMBO", {"options": ["a", "b"]}]}),
            "input `mode`: list of choices → COMBO",
        ),
        (
            sampler({"seed": SEED, "mode": [["a", "b"], {}]}),
            'form of input `mode`: `[["a", "b"]]` → `[["a", "b"], {}]`',
        ),
        (
            sampler(output=["LATENT", "INT"], output_name=["LATENT", "n"], output_is_list=[False, False]),
            '`output`: `["LATENT"]` → `["LATENT", "INT"]`',
        ),
        (sampler(output_is_list=[True]), "`output_is_list`: `[false]` → `[true]`"),
        (sampler(api_node=True), "`api_node` added (`boolean`)"),
        (sampler(name="Other"), '`name`: `"Sampler"` → `"Other"`'),
        (
            sampler(input_order={"required": ["seed", "x"], "hidden": ["prompt"]}),
            '`input_order.required[]`: `"mode"` → `"x"`',
        ),
    ],
)
def test_a_node_class(after: dict[str, Any], expected: str) -> None:
    before = exchange("GET", "/object_info", answer={"Sampler": sampler()})
    found = answered(before, exchange("GET", "/object_info", answer={"Sampler": after}))
    assert found == [f"`Sampler`: {expected}"]


def test_an_input_that_has_become_optional() -> None:
    before = exchange("GET", "/object_info", answer={"Sampler": sampler({"seed": SEED, "mode": MODE}, optional={})})
    after = exchange("GET", "/object_info", answer={"Sampler": sampler({"seed": SEED}, optional={"mode": MODE})})
    assert answered(before, after) == ["`Sampler`: input `mode`: `required` → `optional`"]


def test_classes_that_came_and_went_are_all_named() -> None:
    def world(names: str, path: str = "/object_info") -> Entry:
        return exchange("GET", path, answer=dict.fromkeys(names, sampler()))

    assert answered(world("abcdeX"), world("aX")) == ["`b`, `c`, `d`, `e` removed"]
    assert answered(world("a"), world("abcde")) == ["`b`, `c`, `d`, `e` added"]
    assert answered(world("ab"), world("ba")) == ["order of classes: `a, b` → `b, a`"]
    assert answered(world("", "/api/object_info/a"), world("a", "/api/object_info/a")) == ["`a` added"]


def test_what_all_classes_have_in_common_is_one_line() -> None:
    def world(**more: Any) -> Entry:
        return exchange("GET", "/object_info", answer={name: sampler(**more) for name in "abcdef"})

    assert answered(world(), world(dev_only=False)) == ["`a`, `b`, `c` and 3 more: `dev_only` added (`boolean`)"]


# Browsers


@pytest.mark.parametrize("name", ["image_only", "t2i_preview_metadata", "compressed"])
def test_a_browsers_recording_of_the_same_has_not_changed(name: str) -> None:
    value = as_chrome_saves(recorded(name))
    for entry in value["log"]["entries"]:
        entry["response"]["statusText"] = ""  # as over HTTP/2
    page = {**value["log"]["entries"][0], "_resourceType": "document"}
    value["log"]["entries"].append({**page, "request": {**page["request"], "url": "http://127.0.0.1:8188/"}})
    found = between(recorded(name), load(json.dumps(value).encode()))
    assert [line(change) for change in found.changes] == []
    assert found.requests + found.sockets == len(recorded(name).entries)


# Text


def test_as_markdown() -> None:
    before = har(exchange("GET", "/system_stats", answer={"system": {"comfyui_version": "0.8.0", "os": "linux"}}))
    after = har(
        exchange("GET", "/system_stats", answer={"system": {"comfyui_version": "0.33.0", "os": "linux", "new": True}}),
        *(exchange("POST", "/free", at=at, sent={}) for at in (1, 2)),
    )
    assert markdown(between(before, after)) == (
        "# Changes from ComfyUI 0.8.0 to ComfyUI 0.33.0\n\n"
        "2 changes in 1 answer and on 0 sockets.\n\n"
        "## Bodies\n\n"
        "* `GET /system_stats`: `$.system.new` added (`boolean`)\n\n"
        "## Other values\n\n"
        "* `GET /system_stats`: `$.system.comfyui_version`: `0.8.0` → `0.33.0`\n\n"
        "## Asked after only\n\n"
        "* `POST /free` ×2\n"
    )


def test_as_json() -> None:
    before, after = har(exchange(answer={"a": 1})), har(exchange(answer={"a": 2}))
    found = plain(between(before, after))
    assert json.loads(json.dumps(found)) == {
        "versions": ["", ""],
        "compared": {"requests": 1, "sockets": 0},
        "changes": [
            {
                "section": "values",
                "kind": "changed",
                "where": ["GET /prompt"],
                "what": "`$.a`",
                "values": [{"before": "1", "after": "2"}],
                "count": 1,
                "unit": "answer",
                "text": "`GET /prompt`: `$.a`: `1` → `2`",
            }
        ],
        "only_before": {},
        "only_after": {},
        "not_compared": {},
    }


def test_backticks_in_a_value_do_not_end_it() -> None:
    assert answered(exchange(answer={"a": "`"}), exchange(answer={"a": "b"})) == [
        '`GET /prompt`: `$.a`: `` "`" `` → `"b"`'
    ]
