"""Scripts as YAML, as JSON and in Python: equal data, and errors that say where and what."""

from __future__ import annotations

import base64
import contextlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from comfy_mock.engine.script import model
from comfy_mock.engine.script.reading import read_data, read_rules, to_builtins
from comfy_mock.script import (
    BinaryAt,
    EventMatch,
    Expand,
    Failure,
    Hold,
    LogAt,
    Memory,
    MessageAt,
    MessageMatch,
    MessageRule,
    ModelChange,
    NodeMatch,
    NodeRule,
    OutputFile,
    PointRule,
    Previews,
    PromptMatch,
    RequestMatch,
    RequestRule,
    Script,
    ScriptError,
    ServerRule,
    SocketMatch,
    SocketRule,
    TextAt,
    at_point,
    load_file,
    load_previews,
    load_script,
    on_message,
    on_node,
    on_request,
    on_server,
    on_socket,
    read_script,
    to_json,
    to_yaml,
)

EVERYTHING = """\
queue_paused: true
start_up: 0.5
memory: {vram_free: 1000000}
models:
  - {folder: loras, add: [new.safetensors], after_prompts: 1}
rules:
  - on: node
    name: slow
    match: {class_type: KSampler, inputs: {steps: 20, model: ["4", 0], scheduler: normal}, prompt: 1}
    times: 2
    steps: 3
    step_time: [0.5, 1]
    previews: {format: PNG, size: 64}
    texts: [{text: "hello", at_step: 1}]
    messages: [{type: my.event, data: {a: [1, null]}, to: client}]
    binaries: [{event: 7, data: aGVsbG8=}]
    logs: [{text: careful}]
    holds: [{name: h, at_step: 3}]
    raises: {type: ValueError, message: bad, at_step: 3}
  - on: node
    match: {node: 9}
    ui: {images: []}
    files: [{filename: a.png, data: !!binary aGVsbG8=}]
    text: [one, two]
    values: [[1, 2.5]]
    cached: true
  - on: node
    match: {class_type: LoraLoader}
    expand: {nodes: {1: {class_type: EmptyImage, inputs: {width: 8}}}, outputs: [["1", 0]]}
  - on: request
    match: {route: POST /prompt, query: {a: 1}}
    after: 1
    status: 503
    body: null
    headers: {X-A: b}
    retry_after: 2
    handled: yes please
  - on: socket
    match: {connection: 1}
    end: close
    code: 1001
    event: {event: progress, value: 3}
  - on: message
    match: {event: executing, node: null, client_id: me}
    priority: 5
    lose: true
  - on: point
    point: after_success_before_history
    match: {prompt: 2}
    polls: 3
  - on: server
    event: {event: execution_start}
    action: restart
    down: 1.5
    optional: true
""".replace("    handled: yes please\n", "    handled: true\n")

SCRIPT = Script(
    queue_paused=True,
    start_up=0.5,
    memory=Memory(vram_free=1000000),
    models=[ModelChange(folder="loras", add=["new.safetensors"], after_prompts=1)],
    rules=[
        NodeRule(
            name="slow",
            match=NodeMatch(
                class_type="KSampler", inputs={"steps": 20, "model": ["4", 0], "scheduler": "normal"}, prompt=1
            ),
            times=2,
            steps=3,
            step_time=[0.5, 1.0],
            previews=Previews(format="PNG", size=64),
            texts=[TextAt(text="hello", at_step=1)],
            messages=[MessageAt(type="my.event", data={"a": [1, None]}, to="client")],
            binaries=[BinaryAt(event=7, data=b"hello")],
            logs=[LogAt(text="careful")],
            holds=[Hold(name="h", at_step=3)],
            raises=Failure(type="ValueError", message="bad", at_step=3),
        ),
        NodeRule(
            match=NodeMatch(node="9"),
            ui={"images": []},
            files=[OutputFile(filename="a.png", data=b"hello")],
            text=["one", "two"],
            values=[[1, 2.5]],
            cached=True,
        ),
        NodeRule(
            match=NodeMatch(class_type="LoraLoader"),
            expand=Expand(nodes={"1": {"class_type": "EmptyImage", "inputs": {"width": 8}}}, outputs=[["1", 0]]),
        ),
        RequestRule(
            match=RequestMatch(route="POST /prompt", query={"a": "1"}),
            after=1,
            status=503,
            body=None,
            headers={"X-A": "b"},
            retry_after=2,
            handled=True,
        ),
        SocketRule(
            match=SocketMatch(connection=1), end="close", code=1001, event=EventMatch(event="progress", value=3.0)
        ),
        MessageRule(match=MessageMatch(event="executing", node=None, client_id="me"), priority=5, lose=True),
        PointRule(point="after_success_before_history", match=PromptMatch(prompt=2), polls=3),
        ServerRule(event=EventMatch(event="execution_start"), action="restart", down=1.5, optional=True),
    ],
)


def test_a_scenario_file_says_all_that_python_does() -> None:
    assert read_script(EVERYTHING) == SCRIPT
    assert read_script(to_json(SCRIPT), name="scenario.json") == SCRIPT
    assert read_data(json.loads(to_json(SCRIPT))) == SCRIPT
    assert read_script(to_yaml(SCRIPT)) == SCRIPT
    assert to_yaml(SCRIPT).count("!!binary") == 2


def test_the_builders_say_it_too() -> None:
    rules = [
        on_node(
            "KSampler",
            inputs={"steps": 20, "model": ["4", 0], "scheduler": "normal"},
            prompt=1,
            name="slow",
            times=2,
            steps=3,
            step_time=[0.5, 1],
            previews=Previews(format="PNG", size=64),
            texts=TextAt(text="hello", at_step=1),
            messages=MessageAt(type="my.event", data={"a": [1, None]}, to="client"),
            binaries=BinaryAt(event=7, data=b"hello"),
            logs="careful",
            holds=[Hold(name="h", at_step=3)],
            raises=Failure(type="ValueError", message="bad", at_step=3),
        ),
        on_node(
            node="9",
            ui={"images": []},
            files=OutputFile(filename="a.png", data=b"hello"),
            text=("one", "two"),
            values=[[1, 2.5]],
            cached=True,
        ),
        on_node(
            "LoraLoader",
            expand=Expand(nodes={"1": {"class_type": "EmptyImage", "inputs": {"width": 8}}}, outputs=[["1", 0]]),
        ),
        on_request(
            "POST /prompt",
            query={"a": "1"},
            after=1,
            status=503,
            body=None,
            headers={"X-A": "b"},
            retry_after=2,
            handled=True,
        ),
        on_socket(connection=1, end="close", code=1001, event=EventMatch(event="progress", value=3)),
        on_message("executing", node=None, client_id="me", priority=5, lose=True),
        at_point("after_success_before_history", prompt=2, polls=3),
        on_server("execution_start", down=1.5, optional=True),
    ]
    assert rules == SCRIPT.rules


def test_what_builders_let_one_write_short() -> None:
    short = on_node(texts="a", logs=["b", LogAt(text="c")], holds="d", raises=ZeroDivisionError("e"))
    assert short.texts == [TextAt(text="a")]
    assert short.logs == [LogAt(text="b"), LogAt(text="c")]
    assert short.holds == [Hold(name="d")]
    assert short.raises == Failure(type="ZeroDivisionError", message="e")
    assert on_node(raises="out_of_memory").raises == model.OUT_OF_MEMORY
    assert on_socket(event="executed", end="abort").event == EventMatch(event="executed")


@pytest.mark.parametrize(
    ("build", "rule", "flattened"),
    [
        (on_node, NodeRule, {"match": NodeMatch}),
        (on_request, RequestRule, {"match": RequestMatch}),
        (on_socket, SocketRule, {"match": SocketMatch}),
        (on_message, MessageRule, {"match": MessageMatch}),
        (at_point, PointRule, {"match": PromptMatch}),
        (on_server, ServerRule, {"event": EventMatch}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_builder_takes_every_field_with_its_default(
    build: Callable[..., Any], rule: Any, flattened: dict[str, Any]
) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(rule) if field.name not in flattened}
    for part in flattened.values():
        fields.update((field.name, field) for field in msgspec.structs.fields(part))
    parameters = inspect.signature(build).parameters
    assert set(parameters) == set(fields)
    for name, parameter in parameters.items():
        if not fields[name].required and fields[name].default is not msgspec.NODEFAULT:
            assert parameter.default in (fields[name].default, None), name


# -- YAML's traps


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("off", "off"),
        ("012", "012"),
        ("4", "4"),
        ("1.50", "1.50"),
        ("2026-01-01", "2026-01-01"),
        ("12:30:45", "12:30:45"),
        ("true", "true"),
        ("=", "="),
        ("1e3", "1e3"),
        ('"null"', "null"),
        ("null", None),
        ("~", None),
        ("", None),
        ("!!str 12", "12"),
    ],
)
def test_a_text_is_what_is_written(written: str, meant: str | None) -> None:
    script = read_script(f"rules:\n- on: node\n  match:\n    node: {written}\n")
    assert script.rules == [NodeRule(match=NodeMatch(node=meant))]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("012", 12),
        ("0o14", 12),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("-7", -7),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("2026-01-01", "2026-01-01"),
        ("1:30", "1:30"),
        ("~", None),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("[a, 1]", ["a", 1]),
        ("{1: a, no: b, null: c}", {"1": "a", "no": "b", "null": "c"}),
        ("<<", "<<"),
    ],
)
def test_other_values_are_those_of_yaml_1_2(written: str, meant: Any) -> None:
    rule = read_script(f"rules: [{{on: node, match: {{inputs: {{x: {written}}}}}}}]").rules[0]
    assert isinstance(rule, NodeRule)
    found = rule.match.inputs["x"]
    assert (found, type(found)) == (meant, type(meant))


def test_the_key_on_survives_readers_of_yaml_1_1() -> None:
    assert read_data({"rules": [{True: "node"}]}) == Script(rules=[NodeRule()])
    assert "on: node" in to_yaml(SCRIPT)
    assert "'on'" not in to_yaml(SCRIPT)


def test_anchors_and_merges() -> None:
    text = """
rules:
- &flaky {on: request, match: {route: GET /queue}, status: 500, times: 1}
- <<: *flaky
  match: {route: GET /history}
- <<: [{status: 502}, *flaky]
- *flaky
"""
    expected = [
        on_request("GET /queue", status=500, times=1),
        on_request("GET /history", status=500, times=1),
        on_request("GET /queue", status=502, times=1),
        on_request("GET /queue", status=500, times=1),
    ]
    assert read_script(text).rules == expected


def test_json_may_be_indented_with_tabs_and_hold_any_character() -> None:
    text = '{\n\t"rules": [\n\t\t{"on": "node", "match": {"node": "\\ud83d\\ude00\\/"}, "step_time": 1e-1}\n\t]\n}\n'
    rule = NodeRule(match=NodeMatch(node="\U0001f600/"), step_time=0.1)
    assert read_script(text) == Script(rules=[rule])
    assert read_script(text, name="a.json") == Script(rules=[rule])


def test_an_empty_text_is_an_empty_script() -> None:
    assert read_script("") == read_script("# nothing\n") == read_script("{}") == Script()


# -- rules alone, and files


RULES_ALONE = [
    "on: request\nmatch: {route: GET /queue}\nstatus: 500\n",
    '{"on": "request", "match": {"route": "GET /queue"}, "status": 500}',
    "- {on: request, match: {route: GET /queue}, status: 500}",
    "rules: [{on: request, match: {route: GET /queue}, status: 500}]",
]


@pytest.mark.parametrize("text", RULES_ALONE)
def test_rules_alone(text: str) -> None:
    assert read_rules(text).rules == [on_request("GET /queue", status=500)]


def test_rules_alone_are_no_script() -> None:
    with pytest.raises(ScriptError, match="rules alone can be added"):
        read_rules("queue_paused: true")
    with pytest.raises(ScriptError, match=r"r\.yaml:2:1: rules\[0\]\.stops: a node rule has no `stops`"):
        read_rules("on: node\nstops: 3\n", name="r.yaml")


PNG = b"\x89PNG\r\n\x1a\n picture"


def test_files_are_read_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.png").write_bytes(PNG)
    path = tmp_path / "s.yaml"
    lines = ["\ufeffrules:", "- on: node", "  previews: {files: [pictures/one.png]}"]
    lines.append("  files: [{filename: a.png, file: pictures/one.png}]")
    path.write_text("\n".join(lines), encoding="utf-8")
    rule = on_node(previews=Previews(images=[PNG]), files=OutputFile(filename="a.png", data=PNG))
    assert load_script(path) == Script(rules=[rule])
    picture = tmp_path / "pictures" / "one.png"
    assert on_node(previews=load_previews(picture), files=load_file(picture, filename="a.png")) == rule
    assert base64.b64encode(PNG).decode() in to_json(Script(rules=[rule]))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("rules:\n- on: node\n  previews:\n    files:\n    - a.png\n", encoding="utf-8")
    with pytest.raises(ScriptError) as caught:
        load_script(path)
    assert (
        str(caught.value) == f"{path}:5:7: rules[0].previews.files[0]: cannot read 'a.png': No such file or directory"
    )
    path.write_text("rules:\n- on: node\n  previews:\n    files: [[a.png]]\n", encoding="utf-8")
    with pytest.raises(ScriptError, match=r"files\[0\]: must be a text, not a list"):
        load_script(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ScriptError, match="is not UTF-8"):
        load_script(path)


# -- properties

texts = st.text(max_size=12)
numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
objects = st.dictionaries(texts, json_values, max_size=3)
steps = st.integers(0, 9)
seconds = st.floats(0, 1e6)
common = {
    "name": st.none() | texts,
    "times": st.none() | steps,
    "after": steps,
    "priority": st.integers(),
    "optional": st.booleans(),
}


def parts(cls: Any, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Structs of a class, each field given or left at its default."""
    required = {field.name for field in msgspec.structs.fields(cls) if field.required}
    given = {name: made for name, made in fields.items() if name in required}
    others = {name: made for name, made in fields.items() if name not in required}
    return st.fixed_dictionaries(given, optional=others).map(lambda values: cls(**values))


events = {
    "event": texts,
    "node": st.just(UNSET) | st.none() | texts,
    "value": st.none() | seconds,
    "prompt": st.none() | steps,
}
rules = st.one_of(
    parts(
        NodeRule,
        **common,
        match=parts(NodeMatch, node=st.none() | texts, inputs=objects),
        step_time=seconds | st.lists(seconds, max_size=3),
        previews=st.booleans() | parts(Previews, images=st.lists(st.binary(max_size=9), max_size=2)),
        texts=st.lists(parts(TextAt, text=texts, at_step=steps), max_size=2),
        messages=st.lists(parts(MessageAt, type=texts, data=json_values), max_size=2),
        binaries=st.lists(parts(BinaryAt, event=steps, data=st.binary(max_size=99)), max_size=2),
        ui=st.none() | objects,
        text=st.none() | texts | st.lists(texts, max_size=2),
        raises=st.none() | st.just(model.OUT_OF_MEMORY) | parts(Failure, type=texts, message=texts),
        cached=st.none() | st.booleans(),
    ),
    parts(RequestRule, **common, match=parts(RequestMatch, route=texts), body=st.just(UNSET) | json_values),
    parts(SocketRule, **common, event=st.none() | parts(EventMatch, **events)),
    parts(MessageRule, **common, match=parts(MessageMatch, **events), lose=st.booleans()),
    parts(PointRule, **common, point=st.sampled_from(sorted(model.BROKEN_POINTS)), seconds=st.none() | seconds),
    parts(ServerRule, **common, event=parts(EventMatch, **events), action=st.just("stop")),
)
scripts = parts(Script, rules=st.lists(rules, max_size=4), queue_paused=st.booleans(), start_up=seconds)


@given(scripts)
def test_nothing_is_lost_on_the_way_to_a_file_and_back(script: Script) -> None:
    assert read_script(to_json(script), name="a.json") == script
    assert read_script(to_yaml(script)) == script
    assert read_data(to_builtins(script)) == script


@given(st.text() | st.lists(st.sampled_from(list("{}[]:,-&*!? \n#'\"|>on1x")), max_size=30).map("".join))
def test_any_text_is_a_script_or_said_to_be_wrong(text: str) -> None:
    for name in ("a.yaml", "a.json"):
        with contextlib.suppress(ScriptError):
            read_script(text, name=name)


@given(st.integers(0, len(EVERYTHING)), st.integers(1, 20), st.text(max_size=3))
def test_a_damaged_script_is_read_or_said_to_be_wrong(at: int, length: int, put_in: str) -> None:
    text = EVERYTHING[:at] + put_in + EVERYTHING[at + length :]
    with contextlib.suppress(ScriptError):
        read_script(text)
