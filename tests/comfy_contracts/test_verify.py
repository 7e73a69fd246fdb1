"""Verifying a server: what a contract needs, what came of it, and the reports."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import pytest
from traffic_maker import PROMPT, exchange, har, queued, socket

from comfy_contracts.canonical import Canon
from comfy_contracts.compare import Comparison, compare
from comfy_contracts.difference import NOTHING, Difference
from comfy_contracts.equivalence import (
    CHECKS,
    FIELD_RULES,
    HEADER_RULES,
    STATUS_RULES,
    TEXT_RULES,
    FieldRule,
    Free,
    HeaderFree,
    HeaderRule,
    TextRule,
)
from comfy_contracts.har import Har, load, packaged_recordings
from comfy_contracts.needs import Needs, ServerState, lacking, needs_of, switches_of
from comfy_contracts.report import Outcome, Report, not_tried, outcome_of, rules_as_table, rules_of
from comfy_contracts.report_html import html
from comfy_contracts.report_junit import junit
from comfy_contracts.verify import ServerUnreachable, Verifier, about, in_gentle_order, wait_until_it_answers
from comfy_mock import ComfyMock

RECORDINGS = packaged_recordings("0.33.0")
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"


def recorded(name: str) -> Har:
    return load(RECORDINGS[name])


# What a contract needs


def test_switches_that_change_what_a_client_sees() -> None:
    words = ["main.py", "--port", "1", "--cache-lru", "3", "--multi-user", "--enable-cors-header", "--cpu"]
    assert switches_of(words) == {"--cache-lru": "3", "--multi-user": "", "--enable-cors-header": "*"}
    assert switches_of(["--preview-method", "none", "--max-upload-size", "100", "--cache-lru=0"]) == {}
    assert switches_of(["--enable-cors-header", "http://a"]) == {"--enable-cors-header": "http://a"}


def test_needs_are_read_from_the_recording() -> None:
    needs = needs_of(recorded("t2i_fresh"))
    assert needs.version == "0.33.0"
    assert needs.switches == {"--preview-method": "latent2rgb"}
    assert needs.classes["CheckpointLoaderSimple"] == (("ckpt_name", CHECKPOINT),)
    assert (needs.runs, needs.samples, needs.history, needs.uploads, needs.settings) == (True, True, True, False, False)
    assert needs_of(recorded("settings")).settings
    assert needs_of(recorded("upload_image")).uploads
    assert needs_of(recorded("cache_lru_aba")).switches["--cache-lru"] == "3"
    assert needs_of(recorded("metadata_routes")).models["checkpoints"] == (CHECKPOINT,)


T2I: dict[str, Any] = {
    "version": "0.33.0",
    "switches": {"--preview-method": "latent2rgb"},
    "queued": 0,
    "history": 0,
    "outputs": [],
    "inputs": ["example.png"],
    "users": False,
}


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("t2i_fresh", {}, None),
        ("t2i_fresh", {"version": "0.34.0"}, None),
        ("t2i_fresh", {"version": "0.8.0"}, "other version: recorded from ComfyUI 0.33.0, and this is the older 0.8.0"),
        ("t2i_fresh", {"switches": {}}, "other switches: --preview-method"),
        ("image_only", {"switches": {}}, None),
        ("image_only", {"switches": {"--cache-none": ""}}, "this server runs with --cache-none"),
        ("cache_lru_aba", {}, "it was recorded as --cache-lru 3, and this server runs without"),
        ("settings", {"switches": {"--cache-none": ""}}, None),
        ("t2i_fresh", {"queued": 2}, "needs an empty queue: 2 prompts are in it"),
        ("t2i_fresh", {"history": 1}, "its history has 1 prompts or more"),
        ("t2i_fresh", {"posted": 3}, "it has counted 3 prompts"),
        ("t2i_fresh", {"outputs": ["a.png"]}, "files in its output folder (a.png)"),
        ("t2i_fresh", {"outputs": ["_output_images_will_be_put_here"]}, None),
        ("upload_image", {"inputs": ["example.png", "mine.png"]}, "other files than example.png"),
        ("upload_image", {"history": 1, "outputs": ["a.png"]}, None),
        ("settings", {"settings": {"Comfy.X": 1}}, "it has settings (Comfy.X)"),
        ("userdata", {"users": True}, "a user has been there"),
        ("t2i_fresh", {"users": True, "settings": {"a": 1}}, None),
        ("metadata_routes", {"models": {"checkpoints": ["other.ckpt"]}}, "other models: the folder checkpoints"),
        ("t2i_fresh", {"object_info": {}}, "no such node class: CheckpointLoaderSimple"),
        (
            "t2i_fresh",
            {"object_info": {"CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": [["b.ckpt"], {}]}}}}},
            f"no such model: '{CHECKPOINT}', for ckpt_name of CheckpointLoaderSimple",
        ),
    ],
)
def test_what_a_server_lacks(name: str, state: dict[str, Any], reason: str | None) -> None:
    reasons = lacking(needs_of(recorded(name)), ServerState(**{**T2I, **state}))
    if reason is None:
        assert reasons == []
    else:
        assert any(reason in one for one in reasons), reasons


def test_an_older_server_can_be_tried_all_the_same() -> None:
    needs = Needs(version="0.33.0")
    assert lacking(needs, ServerState(version="0.3.64"), any_version=True) == []
    assert lacking(needs, ServerState()) == []


def test_a_body_that_was_too_large_to_keep() -> None:
    entry = exchange("POST", "/upload/image", sent=b"abc")
    entry["request"]["postData"] = {"mimeType": "", "_omitted": True, "_sha256": "00"}
    assert needs_of(har(entry)).unknown == ("POST /upload/image",)
    assert needs_of(har(exchange("POST", "/upload/image", sent=b"abc"))).unknown == ()


def test_the_gentle_order() -> None:
    names = ["t2i_fresh", "upload_image", "settings", "http_edges"]
    order = [name for name, _ in in_gentle_order([(name, recorded(name)) for name in names])]
    assert order[-1] == "t2i_fresh"
    assert order.index("settings") < order.index("upload_image")


# Verifying


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyMock]:
    with ComfyMock() as mock:
        yield mock


@pytest.fixture
def fresh(server: ComfyMock) -> ComfyMock:
    server.reset(clock="real", speed=20, models={"checkpoints": [CHECKPOINT]})
    return server


def verified(url: str, name: str, **options: Any) -> Outcome:
    return asyncio.run(Verifier(url, **options).verify(name, recorded(name)))


def test_a_server_that_behaves_is_equal(fresh: ComfyMock) -> None:
    outcome = verified(fresh.url, "image_only")
    assert (outcome.verdict, outcome.differences, outcome.reasons) == ("equal", (), ())
    amounts = {rule.name: rule.amount for rule in outcome.rules}
    assert (amounts["requests"], amounts["messages"], amounts["sockets"]) == (7, 44, 1)
    assert amounts["anywhere: **.timestamp"] > 0
    assert {rule.verdict for rule in outcome.rules} == {"equal"}


def test_asking_what_a_server_has_changes_nothing(fresh: ComfyMock) -> None:
    asyncio.run(Verifier(fresh.url).state(needs_of(recorded("metadata_routes"))))
    assert httpx.get(f"{fresh.url}/users").json() == {"storage": "server", "migrated": False}
    assert httpx.get(f"{fresh.url}/history").json() == {}


def test_a_server_that_is_not_fresh_is_left_alone(fresh: ComfyMock) -> None:
    outcomes = []

    async def twice() -> None:
        verifier = Verifier(fresh.url)
        outcomes.extend([await verifier.verify("image_only", recorded("image_only")) for _ in range(2)])

    asyncio.run(twice())
    before = httpx.get(f"{fresh.url}/history").json()
    assert [outcome.verdict for outcome in outcomes] == ["equal", "cannot be tried"]
    assert "its history has 1 prompts or more" in outcomes[1].reasons[0]
    assert len(before) == 3


def test_a_server_that_is_made_fresh_can_be_tried_again(fresh: ComfyMock) -> None:
    async def twice() -> list[str]:
        verifier = Verifier(fresh.url, freshen=fresh.reset_async)
        return [(await verifier.verify("image_only", recorded("image_only"))).verdict for _ in range(2)]

    assert asyncio.run(twice()) == ["equal", "equal"]


def test_a_server_that_misbehaves_differs_by_rule(fresh: ComfyMock) -> None:
    fresh.reset(clock="real", speed=20, disable_metadata=True)
    outcome = verified(fresh.url, "image_only")
    assert outcome.verdict == "differs"
    assert [rule.name for rule in outcome.rules if rule.verdict == "differs"] == ["bodies"]


def test_a_server_on_which_the_replay_stops_differs(fresh: ComfyMock) -> None:
    silent = har(socket((1, {"type": "never", "data": {}})), exchange("GET", "/queue", at=2, answer={}))
    outcome = asyncio.run(Verifier(fresh.url, timeout=0.1).verify("silent", silent))
    assert outcome.verdict == "differs"
    assert outcome.differences[0].where == "the replay stopped"
    assert "has not sent" in str(outcome.differences[0].got)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ServerUnreachable, match="does not answer"):
        verified("http://127.0.0.1:1", "image_only")
    with pytest.raises(ServerUnreachable, match="after its restart"):
        asyncio.run(wait_until_it_answers("http://127.0.0.1:1", within=0))
    assert asyncio.run(about("http://127.0.0.1:1")) == {}


def test_a_recording_that_cannot_be_read_cannot_be_tried(fresh: ComfyMock) -> None:
    entry = exchange(answer=b"x")
    entry["response"]["content"]["text"] = "?"
    outcome = asyncio.run(Verifier(fresh.url).verify("broken", har(entry)))
    assert outcome.verdict == "cannot be tried"
    assert "is not base64" in outcome.reasons[0]


def test_what_a_recording_tells_of_its_server(fresh: ComfyMock) -> None:
    fresh.reset(argv=("main.py", "--cache-lru", "3", "--preview-method", "latent2rgb", "--port", "1"))
    assert asyncio.run(about(fresh.url)) == {
        "comfyui_version": "0.33.0",
        "preview_method": "latent2rgb",
        "fresh_server": True,
        "server_args": ["--cache-lru", "3"],
    }


# Reports


def reports() -> Report:
    where = "exchange 3 (GET /history) body.a.timestamp"
    found = [
        Difference(where, "<int>", "1 < 2 & \x00", "bodies"),
        Difference("socket 0", {"a": 1}, NOTHING, "messages"),
    ]
    freed = {"anywhere: **.timestamp": 2, "header date": 4}
    differs = outcome_of("bad", "what it shows", Comparison(found, {"bodies": 7, "messages": 2}, freed), 1.5)
    equal = outcome_of("good", "", Comparison([], {"bodies": 7}, {}), 0.5)
    return Report("http://h", "the recordings", (differs, equal, not_tried("other", "", ["no such model: 'x'"])))


def test_a_report_counts_and_says_how_it_ends() -> None:
    report = reports()
    assert report.summary == "1 equal, 1 differs, 1 cannot be tried"
    ends = [
        Report("", "", outcomes).exit_code for outcomes in (report.outcomes, report.outcomes[1:], report.outcomes[2:])
    ]
    assert ends == [1, 0, 2]


def test_each_difference_is_told_by_its_rules() -> None:
    rules = {rule.name: (rule.kind, rule.verdict, len(rule.differences)) for rule in reports().outcomes[0].rules}
    assert rules == {
        "bodies": ("check", "differs", 1),
        "messages": ("check", "differs", 1),
        "anywhere: **.timestamp": ("free", "differs", 1),
        "header date": ("free", "equal", 0),
    }


def test_junit_has_a_suite_per_contract_and_a_case_per_rule() -> None:
    suites = ET.fromstring(junit(reports()))
    assert [(suite.get("name"), suite.get("failures"), suite.get("skipped")) for suite in suites] == [
        ("bad", "3", "0"),
        ("good", "0", "0"),
        ("other", "0", "1"),
    ]
    failure = suites.find("testsuite/testcase[@name='bodies']/failure")
    assert failure is not None
    assert 'expected "<int>", got "1 < 2 & \\u0000"' in (failure.text or "")
    skipped = suites.find("testsuite/testcase/skipped")
    assert skipped is not None
    assert skipped.get("message") == "no such model: 'x'"


class Page(HTMLParser):
    """What a page loads from elsewhere, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "action")]
        self.loads += [tag] if tag in ("script", "link", "iframe", "img") else []

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    page = Page()
    source = html(reports())
    page.feed(source)
    assert page.loads == []
    assert not re.search(r"url\(|@import|https?://(?!h\b)", source)
    assert "prefers-color-scheme: dark" in source
    assert '"1 < 2 & \\u0000"' in page.text
    assert "no such model: 'x'" in page.text
    for where, _, _ in rules_as_table():
        assert where in page.text


# Every rule catches a real difference


CANON = har(exchange())


def sample(rule: FieldRule) -> tuple[Any, Any, Any]:
    """A value for a field under a rule, another one that is free, and one that is not."""
    if rule.free is Free.NUMBER:
        return 1, 2, 1.5
    if rule.free is Free.PROSE:
        return "a", "b", 1
    if rule.free is Free.KIND:
        return ({"a": 1}, {}, []) if rule.path else (["a"], [], {"a": 1})
    if rule.free is Free.TEXTURE:
        return {"a": [1, 2]}, {"a": [7]}, {"a": ["x"]}
    if rule.free is Free.STRINGS:
        return ["a"], ["b", "c"], []
    if rule.free is Free.SET:
        return ["a", "b"], ["b", "a"], ["a", "c"]
    if rule.free is Free.LINES:
        return "a\nb", "b\na", "a\nc"
    if rule.free is Free.SOME:
        return ["a"], ["b", "c"], []
    if rule.free is Free.KEYS:
        return {"a": {}, "b": {}}, {"b": {}, "a": {}}, {"a": {}}
    jobs = [{"id": n, "execution_start_time": 0, "execution_end_time": end} for n, end in (("a", 9), ("b", 5))]
    other = [{**jobs[1], "execution_end_time": 9}, {**jobs[0], "execution_end_time": 5}]
    return jobs, other, [jobs[1], jobs[0]]


def at(path: str, value: Any) -> Any:
    """A JSON value that has `value` where the path of a rule leads."""
    for step in reversed(path.removeprefix("**.").split(".") if path else []):
        value = [None] * int(step) + [value] if step.isdigit() else {"any" if step == "*" else step: value}
    return value


def traffic_with(rule: FieldRule, value: Any) -> Har:
    body = at(rule.path, value)
    if rule.place.startswith("socket "):
        return har(socket((1, {"type": rule.place.removeprefix("socket "), **body})))
    route, _, condition = ("GET /x" if rule.place == "anywhere" else rule.place).partition(", ")
    method, _, path = route.partition(" ")
    path = re.sub(r"{\w+}", "any", path)
    node = {"class_type": "SaveImage", "inputs": {}}
    sent = {"prompt": {"1": node, "2": node}} if condition == "several outputs" else None
    posted = [queued(PROMPT, at=5), queued(PROMPT, at=6)] if condition == "equal numbers" else []
    return har(*posted, exchange(method, path, sent=sent, answer=body))


@pytest.mark.parametrize("rule", FIELD_RULES, ids=lambda rule: rule.name)
def test_a_field_rule_frees_what_it_says_and_catches_the_rest(rule: FieldRule) -> None:
    value, free, other = sample(rule)
    assert compare(traffic_with(rule, value), traffic_with(rule, free)) == []
    found = compare(traffic_with(rule, value), traffic_with(rule, other))
    assert found
    assert any(rule.name in rules_of(difference) for difference in found)


HEADER_VALUES = {
    HeaderFree.IGNORED: ("a", None, "a"),
    HeaderFree.PRESENT: ("a", "b", None),
    HeaderFree.CASE: ("Close", "close", "keep"),
    HeaderFree.NAME: ("x; a=1", "x; a=2", "y; a=1"),
    HeaderFree.DIGITS: ("bytes 0-3/9", "bytes 1-4/7", "bytes */9"),
}


@pytest.mark.parametrize("rule", HEADER_RULES, ids=lambda rule: rule.name)
def test_a_header_rule_frees_what_it_says_and_catches_the_rest(rule: HeaderRule) -> None:
    value, free, other = HEADER_VALUES[rule.free]

    def traffic(text: str | None, **more: str) -> Har:
        return har(exchange(headers={**({} if text is None else {rule.name: text}), **more}))

    assert compare(traffic(value), traffic(free)) == []
    found = compare(traffic(value), traffic(other, Vary="x") if rule.free is HeaderFree.IGNORED else traffic(other))
    assert found
    if rule.free is not HeaderFree.IGNORED:
        assert [rules_of(difference) for difference in found] == [{f"header {rule.name}"}]


TEXTS = {
    "id": (PROMPT, PROMPT.replace("1", "3"), "11111111-1111"),
    "letters": ("ComfyUI_temp_abcde_1", "ComfyUI_temp_vwxyz_1", "ComfyUI_temp_abc_1"),
    "server": ("http://127.0.0.1:8188/x", "http://localhost:8188/x", "http://127.0.0.1:8189/x"),
    "day": ("a_2026-11-18", "a_2026-11-19", "a_2026-01-01"),
    "address": ("<X at 0x7f>", "<X at 0x80>", "<Y at 0x7f>"),
    "path": ("output_dir: /a", "output_dir: /b", "elsewhere: /b"),
    "tensor": ("tensor([1, 2])", "tensor([3])", "tensors"),
}


@pytest.mark.parametrize("rule", TEXT_RULES, ids=lambda rule: rule.name)
def test_a_text_rule_frees_what_it_says_and_catches_the_rest(rule: TextRule) -> None:
    value, free, other = (har(exchange(answer={"a": text})) for text in TEXTS[rule.name])
    assert Canon(value).text(TEXTS[rule.name][0]) != TEXTS[rule.name][0]
    assert compare(value, free) == []
    assert compare(value, other) != []


def test_a_status_rule_frees_what_it_says_and_catches_the_rest() -> None:
    for rule in STATUS_RULES:
        method, _, path = re.sub(r"{\w+}", "any", rule.place).partition(" ")
        first, second = (har(exchange(method, path, status=status)) for status in sorted(rule.statuses))
        assert compare(first, second) == []
        assert compare(first, har(exchange(method, path, status=500))) != []


SPOILED: dict[str, Any] = {
    "requests": [exchange(), exchange("GET", "/queue", at=1)],
    "statuses": [exchange(status=500)],
    "headers": [exchange(headers={"Vary": "x"})],
    "JSON form": [exchange(answer='{"a":1}', headers={"Content-Type": "application/json; charset=utf-8"})],
    "bodies": [exchange(answer={"a": 2})],
    "sockets": [socket(path="/ws?clientId=other")],
    "messages": [socket((1, {"type": "x", "data": {}}))],
    "closing": [socket(code=1011)],
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_catches_what_it_speaks_of(check: Any) -> None:
    spoiled = SPOILED[check.name]
    expected = [socket()] if "_webSocketMessages" in spoiled[0] else [exchange(answer={"a": 1})]
    if check.name not in ("JSON form", "bodies") and "_webSocketMessages" not in spoiled[0]:
        expected = [exchange()]
    found = compare(har(*expected), har(*spoiled))
    assert {difference.check for difference in found} == {check.name}
    assert compare(har(*expected), har(*expected)) == []


def test_the_documentation_has_every_rule() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "contracts.md").read_text(encoding="utf-8")
    for row in rules_as_table():
        assert "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" in text, json.dumps(row)
