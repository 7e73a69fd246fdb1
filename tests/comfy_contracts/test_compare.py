from __future__ import annotations

import gzip
import io
import json
import re
import uuid
from typing import Any

import PIL.Image
import pytest
import traffic_maker as make
from traffic_maker import OTHER, PROMPT, exchange, har, history, message, queued, socket, status, steps

from comfy_contracts import frames
from comfy_contracts.compare import compare
from comfy_contracts.equivalence import FIELD_RULES, STREAM_RULES, TEXT_RULES, StreamRule, describe
from comfy_contracts.har import Har, load, packaged_recordings

RECORDINGS = packaged_recordings("0.33.0")


def told(expected: Har, got: Har) -> list[str]:
    return [str(difference) for difference in compare(expected, got)]


def equal(left: Har, right: Har) -> bool:
    return not told(left, right) and not told(right, left)


# Recordings


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_is_equal_to_itself(name: str) -> None:
    recording = load(RECORDINGS[name])
    assert told(recording, recording) == []


def with_other_words(text: str) -> str:
    """The recording of another run: other ids, other random letters, another port."""

    def other_id(match: re.Match[str]) -> str:
        word = str(uuid.uuid5(uuid.NAMESPACE_OID, match.group().lower().replace("-", "")))
        word = word if "-" in match.group() else word.replace("-", "")
        return word.upper() if match.group() == match.group().upper() != match.group().lower() else word

    text = re.sub(TEXT_RULES[0].pattern, other_id, text)
    return re.sub(r"(?<=_temp_)[a-z]{5}(?=_)", lambda match: match.group()[::-1], text).replace(":8189", ":40123")


# One recording has prompt ids inside base64, where a plain replacement does not find them.
@pytest.mark.parametrize("name", sorted(RECORDINGS.keys() - {"t2i_preview_metadata"}))
def test_other_ids_letters_and_ports_are_the_same_traffic(name: str) -> None:
    text = gzip.decompress(RECORDINGS[name].read_bytes()).decode()
    # The workflow's id is sent by the client: it is no word of the server's, and stands in bodies as base64 too.
    other = with_other_words(re.sub("6f2e2b0e-0000-4000-8000-000000000001|00000000-0000-[0-9a-f-]{22}", "WF", text))
    recording = re.sub("6f2e2b0e-0000-4000-8000-000000000001|00000000-0000-[0-9a-f-]{22}", "WF", text)
    assert other != recording
    assert told(load(recording.encode()), load(other.encode())) == []


# Exchanges


def answering(answer: Any, path: str = "/x", **arguments: Any) -> Har:
    return har(exchange("GET", path, answer=answer, **arguments))


@pytest.mark.parametrize(
    ("expected", "got", "difference"),
    [
        ({"a": 1}, {"a": 2}, "exchange 0 (GET /x) body.a: expected 1, got 2"),
        ({"a": 1}, {"a": 1.0}, "exchange 0 (GET /x) body.a: expected 1, got 1.0"),
        (
            {"a": 1, "b": 2},
            {"b": 2, "a": 1},
            'exchange 0 (GET /x) body (order of keys): expected ["a", "b"], got ["b", "a"]',
        ),
        ("text", "test", 'exchange 0 (GET /x) body: expected "text", got "test"'),
    ],
)
def test_bodies_differ(expected: Any, got: Any, difference: str) -> None:
    assert told(answering(expected), answering(got)) == [difference]


def test_statuses_and_reasons_differ() -> None:
    assert told(answering("", status=200), answering("", status=201)) == [
        'exchange 0 (GET /x) status: expected "200 OK", got "201 OK"'
    ]


def test_a_preview_of_a_model_may_be_refused_or_missing() -> None:
    path = "/api/experiment/models/preview/checkpoints/0/x.safetensors"
    assert equal(answering("", path, status=403), answering("", path, status=404))
    assert not equal(answering("", path, status=403), answering("", path, status=200))
    assert not equal(
        answering("", "/experiment/models/x", status=403), answering("", "/experiment/models/x", status=404)
    )


@pytest.mark.parametrize(
    ("name", "expected", "got", "same"),
    [
        ("Date", "Mon", "Tue", True),
        ("Content-Length", "5", "7", True),
        ("ETag", '"a"', '"b"', True),
        ("Cache-Control", "no-store", "no-cache", False),
        ("Connection", "Close", "close", True),
        ("X-Unheard-Of", "1", "2", False),
        ("Content-Range", "bytes 0-3/96", "bytes 0-3/81", True),
        ("Content-Range", "bytes 0-3/96", "bytes */96", False),
    ],
)
def test_headers(name: str, expected: str, got: str, same: bool) -> None:
    assert equal(answering("", headers={name: expected}), answering("", headers={name: got})) is same


@pytest.mark.parametrize(("name", "same"), [("Date", True), ("Server", True), ("ETag", False), ("Vary", False)])
def test_a_header_may_be_missing(name: str, same: bool) -> None:
    assert equal(answering("", headers={name: "x"}), answering("")) is same


def test_json_must_have_pythons_default_form() -> None:
    headers = {"Content-Type": "application/json"}
    assert told(answering('{"a": 1}', headers=headers), answering('{"a":1}', headers=headers)) == [
        "exchange 0 (GET /x) body is JSON in Python's default form: expected true, got false"
    ]


def test_a_packed_body_is_what_is_in_it() -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json; charset=utf-8"}
    packed = [gzip.compress(b'{"a": 1}', level) for level in (1, 9)]
    assert equal(answering(packed[0], headers=headers), answering(packed[1], headers=headers))
    assert not equal(answering(packed[0], headers=headers), answering(gzip.compress(b'{"a": 2}'), headers=headers))
    assert not equal(answering(packed[0], headers=headers), answering(b"\xff garbage", headers=headers))


def test_omitted_body_is_not_compared() -> None:
    omitted = exchange("GET", "/object_info")
    omitted["response"]["content"] = {"size": 300000, "mimeType": "application/json", "_omitted": True}
    full = exchange("GET", "/object_info")
    full["response"]["content"] = {"size": 2, "mimeType": "application/json", "text": "{}"}
    assert told(har(omitted), har(full)) == []
    assert told(har(full), har(omitted)) != []


def picture(color: str, size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def test_media_of_pictures_the_facts_count() -> None:
    assert equal(answering(picture("red")), answering(picture("blue")))
    assert "body.size[0]: expected 8, got 9" in told(answering(picture("red")), answering(picture("red", (9, 8))))[0]


def test_media_an_uploaded_picture_comes_back_to_the_byte() -> None:
    def upload_and_view(sent: bytes, shown: bytes) -> Har:
        return har(exchange("POST", "/upload/image", sent=sent), exchange("GET", "/view", at=1, answer=shown))

    red, blue = picture("red"), picture("blue")
    assert equal(upload_and_view(red, red), upload_and_view(red, red))
    assert not equal(upload_and_view(red, red), upload_and_view(red, blue))


def test_media_of_a_part_of_a_drawn_picture_the_length_counts() -> None:
    assert equal(answering(b"\xff\0\1", status=206), answering(b"\xff\0\2", status=206))
    assert not equal(answering(b"\xff\0\1", status=206), answering(b"\xff\0\1\2", status=206))


def test_missing_and_surplus_exchanges() -> None:
    one, two, three = (exchange("GET", f"/{n}", at=n) for n in range(3))
    assert told(har(one, two, three), har(one, three)) == ['exchange 1 (GET /1): expected "GET /1", got nothing']
    assert told(har(one, three), har(one, two, three)) == ['exchange 1 (GET /1): expected nothing, got "GET /1"']


def test_files_of_one_prompt_are_fetched_in_any_order() -> None:
    first, second = (
        [exchange("GET", f"/view?filename={name}", at=at, answer=name) for at, name in enumerate(names)]
        for names in ("ab", "ba")
    )
    assert equal(har(*first), har(*second))
    other = [exchange("GET", f"/queue?{name}", at=at, answer=name) for at, name in enumerate("ab")]
    assert not equal(
        har(*other), har(*[exchange("GET", f"/queue?{name}", at=at, answer=name) for at, name in enumerate("ba")])
    )


def jobs(durations: list[int], *, ids: str = "abc", query: str = "", prefix: str = "") -> Har:
    listed = [
        {"id": name, "execution_start_time": 10, "execution_end_time": 10 + duration}
        for name, duration in zip(ids, durations, strict=True)
    ]
    return answering({"jobs": listed}, f"{prefix}/api/jobs?sort_by=execution_duration{query}")


def test_jobs_sorted_by_duration_follow_their_own_durations() -> None:
    assert equal(jobs([9, 5, 1]), jobs([8, 7, 0], ids="cab"))
    assert not equal(jobs([9, 5, 1]), jobs([1, 5, 9]))
    assert equal(jobs([9, 5, 1], prefix="/api"), jobs([8, 7, 0], ids="cab", prefix="/api"))
    assert equal(jobs([1, 5, 9], query="&sort_order=asc"), jobs([2, 3, 4], query="&sort_order=asc"))
    assert not equal(jobs([9, 5, 1]), jobs([9, 5, 1], ids="abd"))
    assert equal(jobs([9, 5, 1], query="&limit=3"), jobs([9, 5, 1], ids="abd", query="&limit=3"))
    assert not equal(jobs([9, 5], ids="ab", query="&limit=3"), jobs([9, 5, 1], query="&limit=3"))


def test_an_id_counts_as_which_one_it_is() -> None:
    def two_prompts(shown: str) -> Har:
        return har(
            queued(PROMPT, at=0), queued(OTHER, number=1, at=1), answering({"id": shown}, at=2).entries[0].to_builtins()
        )

    assert not equal(two_prompts(PROMPT), two_prompts(OTHER))


# Sockets


def run(prompt: str = PROMPT, *, progress: int = 3, most: int = 3, end: str = "execution_success") -> list[Any]:
    """The messages of a run without its statuses."""
    shown = [
        one
        for value in range(1, progress + 1)
        for one in (
            steps({"3": (value, most, "running")}, prompt),
            message("progress", prompt, value=value, max=most, node="3"),
        )
    ]
    return [
        message("execution_start", prompt, timestamp=1),
        message("execution_cached", prompt, nodes=[], timestamp=1),
        steps({"3": (0.0, 1.0, "running")}, prompt),
        message("executing", prompt, node="3", display_node="3"),
        *shown,
        message(end, prompt, timestamp=2),
        message("executing", prompt, node=None),
    ]


def watched(*messages: Any, **arguments: Any) -> dict[str, Any]:
    return socket(*[(1 + index / 100, one) for index, one in enumerate(messages)], **arguments)


def seen(*messages: Any) -> Har:
    return har(watched(*messages))


def test_a_message_that_is_missing_surplus_or_out_of_place() -> None:
    messages = run()
    assert told(seen(*messages), seen(*messages[:-1])) != []
    assert told(seen(*messages[:-1]), seen(*messages)) != []
    swapped = [messages[1], messages[0], *messages[2:]]
    assert told(seen(*messages), seen(*swapped)) != []
    lost = told(seen(status(0, "s"), status(1), status(0)), seen(status(0, "s"), status(0)))
    assert lost == [f"socket 0 message 1: expected {json.dumps(status(1))}, got nothing"]


def test_a_message_must_have_pythons_default_form() -> None:
    spaced, tight = socket(), socket()
    for made, separators in ((spaced, (", ", ": ")), (tight, (",", ":"))):
        text = json.dumps(status(0), separators=separators)
        made["_webSocketMessages"] = [{"type": "receive", "time": make.START + 1, "opcode": 1, "data": text}]
    assert told(har(spaced), har(tight)) != []


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        (frames.PreviewFrame(2, picture("red")), frames.PreviewFrame(2, picture("blue")), True),
        (frames.PreviewFrame(2, picture("red")), frames.PreviewFrame(2, picture("red", (9, 9))), False),
        (frames.PreviewFrame(2, picture("red")), frames.PreviewFrame(1, picture("red")), False),
        (frames.TextFrame("1", "a"), frames.TextFrame("1", "b"), False),
        (frames.TextFrame("1", "a"), frames.TextFrame("2", "a"), False),
        (frames.UnknownFrame(9, b"a"), frames.UnknownFrame(9, b"b"), False),
        (frames.UnknownFrame(9, b"a"), frames.UnknownFrame(8, b"a"), False),
    ],
)
def test_frames(expected: frames.Frame, got: frames.Frame, same: bool) -> None:
    assert equal(seen(frames.encode(expected)), seen(frames.encode(got))) is same


def test_broken_frames_and_texts_are_compared_too() -> None:
    assert equal(seen(b"\0\0\0"), seen(b"\0\0\0"))
    assert not equal(seen(b"\0\0\0"), seen(b"\0\0"))
    assert equal(seen("null"), seen("null"))
    assert not equal(seen("null"), seen("nul"))


def test_logs_have_only_a_texture() -> None:
    def logs(text: str, size: Any) -> Har:
        return seen({"type": "logs", "data": {"entries": [{"t": "1", "m": text}], "size": size}})

    assert equal(logs("a", None), logs("b", None))
    assert not equal(logs("a", None), logs("a", {"cols": 80, "rows": 24}))


def test_sockets_differ_in_number_and_in_the_way_they_close() -> None:
    assert told(har(socket(), socket(at=1)), har(socket())) == ["number of sockets: expected 2, got 1"]
    assert told(har(socket()), har(socket(code=1009))) == ["socket 0 close code: expected 1000, got 1009"]


# The stream rules


def test_untold_close_the_code_is_not_compared() -> None:
    untold = har(socket(code=None))
    assert equal(untold, untold)
    assert told(untold, har(socket(code=1011))) == []
    assert told(har(socket(code=1011)), untold) == ["socket 0 close code: expected 1011, got null"]


def test_cut_run_an_interrupted_one_may_have_any_number_of_steps() -> None:
    recorded = seen(*run(progress=3, most=60, end="execution_interrupted"))
    assert equal(recorded, seen(*run(progress=1, most=60, end="execution_interrupted")))
    assert not equal(recorded, seen(*run(progress=0, most=60, end="execution_interrupted")))
    assert not equal(recorded, seen(*run(progress=3, most=50, end="execution_interrupted")))
    assert not equal(seen(*run(progress=3)), seen(*run(progress=2)))


def test_cut_run_a_socket_that_came_in_the_middle_may_see_any_number_of_steps() -> None:
    late = [status(1, "s"), {"type": "executing", "data": {"node": "3"}}]
    assert equal(seen(*late, *run(progress=9)[-5:]), seen(*late, *run(progress=9)[-9:]))
    assert not equal(seen(*late, *run(progress=9)[-5:]), seen(*late, *run(progress=9)[-2:]))


def test_cut_run_previews_count_by_kind_once_the_end_is_reached() -> None:
    preview = frames.encode(frames.PreviewFrame(2, picture("red")))
    step = run()[4:6]
    assert equal(seen(*step, preview, preview, *run()[-2:]), seen(*step, preview, *run()[-2:]))
    assert not equal(seen(*step, preview, *run()[-2:]), seen(*step, *run()[-2:]))


def test_overlap_the_place_of_a_status_is_free() -> None:
    one, two = run()[:4], run()[4:]
    start = [status(0, "s"), status(1), status(1)]
    assert equal(seen(*start, *one, status(2), *two), seen(*start, status(2), *one, *two))
    assert equal(
        seen(status(0, "s"), status(1), status(1), status(2)), seen(status(0, "s"), status(1), status(2), status(2))
    )
    assert not equal(seen(*start, *one, status(2), *two), seen(*start, *one, *two))
    assert not equal(seen(*start, *one, status(2), *two), seen(*start, *one, status(3), *two))
    assert not equal(seen(*start, *one, *two), seen(status(0, "s"), status(1), *one, status(1), *two))


def hurried(*lengths: int, gap: float) -> Har:
    """Two prompts posted one after another, and the statuses that came from `gap` seconds after the second."""
    statuses = [(1.1 + gap + index / 100, status(length)) for index, length in enumerate(lengths)]
    early = [(0.5, status(0, "s")), (1.05, status(1)), (1.06, status(2))]
    return har(socket(*early, *statuses), queued(at=1.0), queued(OTHER, 1, at=1.1))


def test_race_the_lengths_of_the_queue_are_free() -> None:
    assert equal(hurried(1, 1, 0, gap=0.1), hurried(3, 1, 0, gap=0.1))
    assert not equal(hurried(1, 1, 0, gap=0.1), hurried(1, 0, gap=0.1))
    assert not equal(hurried(1, 1, 0, gap=0.1), hurried(1, 1, 1, gap=0.1))
    assert not equal(hurried(1, 1, 0, gap=5), hurried(3, 1, 0, gap=5))


def test_race_needs_that_nobody_shortened_the_queue() -> None:
    recorded, other = (
        Har.from_builtins({"log": {**one.log.to_builtins(), "entries": [*one.log.to_builtins()["entries"], delete]}})
        for delete in [exchange("POST", "/queue", at=1.15, sent={"clear": True})]
        for one in (hurried(1, 1, 0, gap=0.1), hurried(3, 1, 0, gap=0.1))
    )
    assert not equal(recorded, other)


def tied(first: str, second: str, *, number: float = 1.0) -> Har:
    """PROMPT is posted before OTHER; `first` runs before `second`."""
    listed = {prompt: {"prompt": [1, prompt, {}, {}, []]} for prompt in (first, second)}
    return har(
        queued(PROMPT, 1, at=0),
        queued(OTHER, number, at=1),
        exchange("GET", "/queue", at=2, answer={"queue_pending": [[1, first, {}, {}, []], [1, second, {}, {}, []]]}),
        exchange("GET", "/history", at=3, answer=listed),
        watched(*run(first), *run(second)),
    )


def test_equal_numbers_run_in_any_order() -> None:
    assert equal(tied(PROMPT, OTHER), tied(OTHER, PROMPT))
    assert not equal(tied(PROMPT, OTHER, number=2), tied(OTHER, PROMPT, number=2))


def block(node: str, name: str, done: list[str]) -> list[Any]:
    """The messages of a node that saves a picture, after those in `done`."""
    before = dict.fromkeys(done, (1.0, 1.0, "finished"))
    return [
        steps({**before, node: (0.0, 1.0, "running")}),
        message("executing", node=node, display_node=node),
        message("executed", node=node, display_node=node, output={"images": [{"filename": name}]}),
        steps({**before, node: (1.0, 1.0, "finished")}),
    ]


def saved(
    order: list[str], *, end: str = "execution_success", names: tuple[str, ...] = ("x_00001_.png", "x_00002_.png")
) -> Har:
    messages = [message("execution_start", timestamp=1), message("execution_cached", nodes=[], timestamp=1)]
    for index, node in enumerate(order):
        messages += block(node, names[index], order[:index])
    messages += [message(end, timestamp=2, exception_type="E"), message("executing", node=None)]
    outputs = {node: {"images": [{"filename": names[index]}]} for index, node in enumerate(order)}
    preview = {"preview_output": {"filename": names[0], "nodeId": order[0]}}
    return har(
        queued(at=0),
        watched(*messages, until=3),
        history(PROMPT, order, outputs, at=4),
        exchange("GET", "/api/jobs", at=5, answer=preview),
    )


def test_other_order_of_outputs_blocks_and_counters_may_change_places() -> None:
    assert equal(saved(["3", "9"]), saved(["9", "3"]))
    assert not equal(saved(["3", "9"]), saved(["9", "3"], names=("x_00001_.png", "y_00001_.png")))
    same_order = saved(["3", "9"], names=("x_00002_.png", "x_00001_.png"))
    assert not equal(saved(["3", "9"]), same_order)


def test_failed_in_another_order_only_the_end_counts() -> None:
    recorded = saved(["3", "9"], end="execution_error")
    other = saved(["9", "3"], end="execution_error", names=("a", "b"))
    assert equal(recorded, other)
    assert not equal(recorded, saved(["9", "3"], end="execution_interrupted"))
    assert not equal(recorded, saved(["3", "9"], end="execution_error", names=("a", "b")))


# The table


def test_every_rule_can_be_printed() -> None:
    rows = list(describe())
    assert len(rows) > len(FIELD_RULES) + len(TEXT_RULES) + len(STREAM_RULES)
    assert all(where and free and why for where, free, why in rows)
    assert len({where for where, _, _ in rows}) == len(rows)


@pytest.mark.parametrize("rule", STREAM_RULES, ids=lambda rule: rule.name)
def test_every_stream_rule_has_a_test_above(rule: StreamRule) -> None:
    prefix = f"test_{rule.name.replace(' ', '_')}_"
    assert [name for name in globals() if name.startswith(prefix)]
