"""Scripts that are well-formed and cannot be meant: each is refused with its line, and what is right passes."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from comfy_contracts.catalogue import Catalogue
from comfy_mock.engine.custom_nodes import CustomNode
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.options import Options
from comfy_mock.engine.script.checks import check
from comfy_mock.engine.script.model import AnyRule, NodeMatch, NodeRule
from comfy_mock.script import Previews, Script, ScriptError, at_point, on_node, on_request, read_script, to_json
from comfy_mock.server.scripts import checked_rules, known_routes, script_for

CATALOGUE = Catalogue.packaged()
ROUTES = known_routes("0.33.0")


def found(text: str, **arguments: bool) -> list[str]:
    """What is wrong with a YAML text, without the name of the file."""
    script = read_script(text, name="s.yaml")
    problems = check(script, CATALOGUE, routes=ROUTES, **arguments)
    assert all(str(problem).startswith("s.yaml:") for problem in problems)
    return [str(problem).removeprefix("s.yaml:") for problem in problems]


def rule(text: str) -> list[str]:
    return found(f"rules:\n- {{on: {text}}}\n")


SAMPLER = "node, match: {class_type: KSampler, inputs: "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # classes and inputs
        ("node, match: {class_type: KSampelr}", "2:22: rules[0].match.class_type: the server has no class 'KSampelr'"),
        ("node, match: {class_type: KSampelr}", "; did you mean 'KSampler'?"),
        ("node, match: {class_type: ksampler}", "; did you mean 'KSampler'?"),
        ("node, match: {class_type: Qqqqqqqqqqq}", "add the rule (add_rules) after the class (add_node)"),
        (SAMPLER + "{step: 3}}", "inputs.step: KSampler has no input 'step'; did you mean 'steps'?"),
        (SAMPLER + "{steps: '20'}}", "inputs.steps: is a whole number in every prompt, or a link [id, slot]; '20'"),
        (SAMPLER + "{steps: 2.5}}", "inputs.steps: is a whole number"),
        (SAMPLER + "{steps: true}}", "inputs.steps: is a whole number"),
        (SAMPLER + "{steps: 0}}", "inputs.steps: is 1 to 10000 in every prompt that is accepted; 0 never is"),
        (SAMPLER + "{cfg: 100.5}}", "inputs.cfg: is 0.0 to 100.0 in every prompt that is accepted; 100.5 never is"),
        (SAMPLER + "{sampler_name: eulr}}", "inputs.sampler_name: is one of 44 choices in every prompt; 'eulr' never"),
        (SAMPLER + "{sampler_name: eulr}}", "did you mean 'euler'?"),
        ("node, match: {class_type: SaveVideo, inputs: {format.codecs: a}}", "did you mean 'format.codec'?"),
        # what a node does
        ("node, times: 0", "2:14: rules[0].times: is 0; it takes 1 or more"),
        ("node, after: -1", "rules[0].after: is -1; it takes 0 or more"),
        ("node, match: {prompt: 0}", "rules[0].match.prompt: is 0; it takes 1 or more"),
        ("node, duration: -1", "rules[0].duration: is -1.0; it takes 0 or more"),
        ("node, steps: 0", "rules[0].steps: is 0; it takes 1 or more"),
        ("node, step_time: []", "rules[0].step_time: is an empty list"),
        ("node, step_time: [1, -1]", "rules[0].step_time: time does not run backwards"),
        ("node, steps: 3, holds: [{at_step: 4}]", "rules[0].holds[0].at_step: there is no step 4: `steps` is 3"),
        ("node, steps: 3, texts: [{text: a, at_step: -1}]", "texts[0].at_step: is -1; it takes 0 or more"),
        ("node, steps: 3, raises: {at_step: 4}", "rules[0].raises.at_step: there is no step 4"),
        ("node, raises: {type: ''}", "rules[0].raises.type: an exception has a type"),
        ("node, raises: out_of_memory, values: [1]", "rules[0].values: a node that raises has no outputs"),
        ("node, raises: {}, ui: {}", "rules[0].ui: a node that raises has no outputs"),
        ("node, expand: {nodes: {'1': {class_type: EmptyImage}}}, values: [1]", "values: what an expansion gives"),
        ("node, cached: true, raises: {}", "rules[0].raises: a node that is cached does not run"),
        ("node, previews: {size: 0}", "rules[0].previews.size: is 0; it takes 1 or more"),
        ("node, previews: {images: [aGVsbG8=]}", "rules[0].previews.images[0]: is neither a JPEG nor a PNG"),
        ("node, binaries: [{event: -1}]", "rules[0].binaries[0].event: the number of an event has 32 bits"),
        ("node, files: [{filename: a/b.png}]", "rules[0].files[0].filename: 'a/b.png' is no file's name"),
        ("node, files: [{filename: b, subfolder: ../a}]", "files[0].subfolder: '../a' leads out of the output folder"),
        ("node, match: {class_type: KSampler}, values: [1, 2]", "there are 2, and KSampler has 1 outputs"),
        ("node, expand: {nodes: {}}", "rules[0].expand.nodes: an expansion has nodes"),
        ("node, expand: {nodes: {1: {class_type: EmptyImag}}}", 'expand.nodes["1"].class_type: the server'),
        ("node, expand: {nodes: {a: {}}}", "expand.nodes.a: a node needs a `class_type`"),
        ("node, expand: {nodes: {a: {class_type: EmptyImage, inputs: 1}}}", "nodes.a.inputs: must be"),
        ("node, expand: {nodes: {a: {class_type: EmptyImage}}, outputs: [[a]]}", "expand.outputs[0]: is a link"),
        ("node, expand: {nodes: {a: {class_type: EmptyImage}}, outputs: [[b, 0]]}", "no node of the expansion has"),
        # requests
        ("request, match: {route: POST /promt}, status: 500", "did you mean 'POST /prompt'?"),
        ("request, match: {route: POST /promt}, delay: 1", "match.route: the server has no route 'POST /promt'"),
        ("request, match: {route: GET /interrupt}, delay: 1", "no 'GET /interrupt'; it has POST /interrupt"),
        ("request, match: {route: /prompt}, status: 500", "must be a method and a path, such as 'GET /queue', or '*'"),
        ("request, match: {route: GET queue}, status: 500", "must begin with a slash"),
        ("request, match: {route: GET /__comfy_mock__/state}, status: 500", "control API, which no rule touches"),
        ("request, match: {route: GET /my/own}, delay: 1", "the server has no route 'GET /my/own'"),
        ("request, status: 99", "rules[0].status: an answer's status is 200 to 599, not 99"),
        ("request, status: 200, retry_after: 1", "rules[0].retry_after: goes with status 429 or 503, not with 200"),
        ("request, delay: -1", "rules[0].delay: is -1.0; it takes 0 or more"),
        ("request, truncate: -1", "rules[0].truncate: is -1; it takes 0 or more"),
        ("request, status: 500, reset: before_headers", "rules[0].reset: before the headers nothing"),
        ("request, truncate: 1, reset: after_headers", "rules[0].truncate: the connection breaks once"),
        ("request, handled: true", "rules[0].handled: the server's own answer is sent anyway"),
        ('request, status: 500, headers: {A: "b\\r\\nc: d"}', "rules[0].headers.A: a header has no line breaks"),
        # sockets and messages
        ("socket", "2:3: rules[0]: it does nothing: give `refuse` (a status), or `end`"),
        ("socket, refuse: 200", "rules[0].refuse: an upgrade is refused with a status from 400 to 599, not 200"),
        ("socket, refuse: 503, end: close", "rules[0].end: a WebSocket that is refused is never open"),
        ("socket, end: close, code: 1006", "rules[0].code: is 1000 to 4999, but none of the reserved"),
        ("socket, end: stall", "rules[0].end: a stall needs `seconds` or a `hold`"),
        ("socket, end: abort, seconds: 1", "rules[0].seconds: only a stall ends again, not 'abort'"),
        ("socket, end: abort, messages: 3, event: {event: progress}", "rules[0].messages: it happens once"),
        ("socket, end: abort, match: {connection: 0}", "rules[0].match.connection: is 0; it takes 1 or more"),
        ("socket, end: abort, event: {event: progres}", "event.event: ComfyUI sends no 'progres'; did you mean"),
        ("message, match: {event: executng}, lose: true", "match.event: ComfyUI sends no 'executng'; did you mean"),
        ("message, match: {event: status, node: '3'}, lose: true", "match.node: no 'status' event has a node"),
        ("message, match: {event: executed, value: 3}, lose: true", "match.value: no 'executed' event has a value"),
        ("message, match: {event: status, prompt: 1}, lose: true", "match.prompt: no 'status' event has a prompt"),
        ("message, match: {event: status}", "it does nothing: give `lose` or one of duplicate"),
        ("message, match: {event: status}, lose: true, delay: 1", "lose: a message that is lost does not come"),
        ("message, match: {event: status}, duplicate: -1", "rules[0].duplicate: is -1; it takes 0 or more"),
        # points and the server
        ("point, point: before_taken", "rules[0]: before_taken closes at once"),
        ("point, point: before_taken, polls: 0", "rules[0].polls: is 0; it takes 1 or more"),
        ("point, point: after_upgrade, seconds: 1, match: {prompt: 1}", "match.prompt: a WebSocket that opens"),
        ("server, event: {event: execution_start, value: 1}, action: stop", "event.value: no 'execution_start'"),
        ("server, event: {event: progress}, action: stop, down: 1", "rules[0].down: a server that stops"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_meant(text: str, expected: str) -> None:
    (problem,) = rule(text)
    assert expected in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start_up: -1", "1:1: start_up: is -1.0; it takes 0 or more"),
        ("memory: {vram_free: -1}", "1:10: memory.vram_free: is -1; it takes 0 or more"),
        ("memory: {ram_total: 1, ram_free: 2}", "1:24: memory.ram_free: more is free than there is: 2 of 1 bytes"),
        ("models: [{folder: lora, add: [a]}]", "1:11: models[0].folder: there is no models folder 'lora'; did you"),
        ("models: [{folder: loras}]", "1:10: models[0]: nothing changes"),
        ("models: [{folder: loras, add: [a], remove: [a]}]", "1:36: models[0].remove: 'a' is added, too"),
        ("models: [{folder: loras, add: [a], after_prompts: -1}]", "models[0].after_prompts: is -1"),
        ("rules: [{on: node}, {on: node, steps: 3}]", "1:21: rules[1]: it is never reached: rules[0] matches the same"),
        (
            "rules: [{on: request, status: 500}, {on: request, priority: 1, delay: 1}]",
            "1:9: rules[0]: it is never reached: rules[1] matches the same",
        ),
        (
            "rules: [{on: point, point: before_taken, polls: 1}, {on: point, point: before_taken, polls: 2}]",
            "rules[1]: it is never reached",
        ),
    ],
)  # fmt: skip
def test_a_script_that_cannot_be_meant(text: str, expected: str) -> None:
    (problem,) = found(text)
    assert expected in problem


@pytest.mark.parametrize(
    "text",
    [
        "node, match: {class_type: KSampler, inputs: {steps: ['4', 0], cfg: 8, sampler_name: euler}}, duration: 1",
        "node, match: {class_type: KSampler, inputs: {model: ['4', 0], seed: 18446744073709551615}}, duration: 1",
        "node, match: {class_type: CheckpointLoaderSimple, inputs: {ckpt_name: not-yet.safetensors}}, duration: 1",
        "node, match: {class_type: LoraLoader, inputs: {lora_name: added-later.safetensors}}, duration: 1",
        "node, match: {class_type: LoadImage, inputs: {image: uploaded-later.png}}, duration: 1",
        "node, match: {class_type: SaveVideo, inputs: {format.codec: auto}}, duration: 1",
        "node, match: {class_type: SaveImage, inputs: {prompt: null}}, duration: 1",
        "node, match: {inputs: {whatever: 1}}, duration: 1",
        "node, steps: 3, holds: [{at_step: 3}, {at_step: 0}], raises: {at_step: 3}",
        "node, holds: [{at_step: 30}]",
        "node, cached: true, ui: {text: [a]}",
        "request, hold: h",
        "request, match: {route: '*'}, status: 500",
        "request, match: {route: '* /view'}, truncate: 0",
        "request, match: {route: GET /history/*}, delay: 1",
        "request, match: {route: 'GET /history/{prompt_id}'}, delay: 1",
        "request, match: {route: 'GET /history/{any}'}, delay: 1",
        "request, match: {route: GET /history/0a}, delay: 1",
        "request, match: {route: HEAD /view}, delay: 1",
        "request, match: {route: GET /api/queue}, delay: 1",
        "request, match: {route: GET /api/jobs}, delay: 1",
        "request, match: {route: 'GET /experiment/models/preview/loras/0/a/b'}, delay: 1",
        "request, match: {route: GET /ws}, status: 503",
        "request, match: {route: GET /my/own/node}, body: {a: 1}",
        "request, match: {route: GET /prompt}, retry_after: 1",
        "request, status: 500, handled: true",
        "request, handled: true, reset: before_headers",
        "request, status: 500, reset: after_headers",
        "socket, end: stall, hold: h, messages: 0",
        "message, match: {event: my_node.event, node: '3'}, lose: true",
        "message, match: {event: '*', value: 3}, lose: true",
        "message, match: {event: executing, node: null}, delay: 1, reorder: 1",
        "point, point: events_before_answer",
        "point, point: between_queue_and_interrupt",
        "point, point: before_taken, polls: 1, seconds: 5",
        "server, event: {event: progress, value: 3, node: '4'}, action: restart, down: 1",
    ],
)
def test_a_rule_that_may_be_meant(text: str) -> None:
    assert rule(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "[{on: node, priority: 1}, {on: node, match: {node: '1'}, steps: 3}]",
        "[{on: node, match: {node: '1'}, priority: 1}]",
        "[{on: node, times: 1}, {on: node, steps: 3}]",
        "[{on: node, after: 1}, {on: node, steps: 3}]",
        "[{on: node, match: {node: '1'}}, {on: node, steps: 3}]",
        "[{on: point, point: before_taken, polls: 1}, {on: point, point: before_first_event, polls: 1}]",
        "[{on: socket, end: abort}, {on: socket, end: close}]",
        "[{on: request, delay: 1}, {on: node, steps: 3}]",
        "[{on: node, messages: [{type: progres}]}, {on: message, match: {event: progres, node: a}, lose: true}]",
    ],
)
def test_rules_that_may_stand_together(text: str) -> None:
    assert found(f"rules: {text}") == []


def test_classes_that_no_catalogue_has() -> None:
    text = "rules: [{on: node, match: {class_type: MyOwn, inputs: {a: 1}}, steps: 3}]"
    assert found(text, accept_any_node=True) == []
    assert len(found(text)) == 1


def test_routes_are_those_of_the_version() -> None:
    script = Script(rules=[on_request("GET /api/jobs", delay=1)])
    assert script_for(script, Options()) == script
    with pytest.raises(ScriptError, match="the server has no route 'GET /api/jobs'"):
        script_for(script, Options(version="0.3.64"))


def test_a_server_that_runs_knows_the_classes_it_was_given() -> None:
    engine = Engine(now=0.0)
    script = Script(rules=[on_node("MyOwn", inputs={"size": 9})])
    with pytest.raises(ScriptError, match="the server has no class 'MyOwn'"):
        checked_rules(engine, script)
    node = CustomNode("MyOwn", {"size": ("INT", {"max": 8})})
    engine.add_node(node.class_type, node.entry(), node.behaviour())
    with pytest.raises(ScriptError, match=r"inputs\.size: is 8 or less in every prompt that is accepted; 9 never is"):
        checked_rules(engine, script)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (on_node(steps="3"), "rules[0].steps: must be a whole number or null, not '3'"),  # type: ignore[arg-type]
        (on_node(node=4), 'rules[0].match.node: must be a text or null, not 4; write "4"'),  # type: ignore[arg-type]
        (on_node(ui={"a": object}), "rules[0].ui.a: must be what JSON has"),
        (on_node(previews=Previews(files=["a.png"])), "rules[0].previews.files[0]: no files are read here"),
        (on_request(delay=float("nan")), "rules[0].delay: must be a number, not nan"),
        ("node", "rules[0]: must be an object (name, times, after, priority …), not 'node'"),
    ],
)
def test_python_code_is_checked_for_types_too(wrong: AnyRule, expected: str) -> None:
    problems = check(Script(rules=[wrong]), CATALOGUE)
    (told,) = map(str, problems)
    assert re.sub(rf"^{re.escape(__file__)}:\d+: ", "", told).startswith(expected)


def test_what_is_wrong_with_a_rule_of_python_code_is_told_with_the_line_that_made_it() -> None:
    rules = [
        on_node("KSampler", steps=3),
        at_point("before_taken", polls=-1), on_node("KSampelr", steps=3),
    ]  # fmt: skip
    line = inspect.currentframe().f_lineno - 2
    with pytest.raises(ScriptError) as error:
        script_for(Script(rules=rules), Options())
    told = [str(problem) for problem in error.value.problems]
    assert told[0] == f"{__file__}:{line}: rules[1].polls: is -1; it takes 1 or more"
    assert told[1].startswith(f"{__file__}:{line}: rules[2].match.class_type: the server has no class 'KSampelr'")
    assert "did you mean 'KSampler'?" in told[1]


def test_rules_that_were_made_elsewhere_are_equal() -> None:
    assert on_node("KSampler", steps=3) == NodeRule(match=NodeMatch(class_type="KSampler"), steps=3)
    one = on_node(steps=3)
    another = on_node(steps=3)
    assert one == another
    assert to_json(Script(rules=[one])) == to_json(Script(rules=[another]))


def test_what_a_server_takes_for_a_script(tmp_path: Path) -> None:
    assert script_for(None, Options()) == Script()
    assert script_for({"rules": [{"on": "node", "steps": 3}]}, Options()) == Script(rules=[on_node(steps=3)])
    with pytest.raises(TypeError, match="a script is a Script, the path of a scenario file or its data, not list"):
        script_for([], Options())  # type: ignore[arg-type]


def test_a_file_keeps_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("rules:\n- on: node\n  match:\n    class_type: KSampelr\n", encoding="utf-8")
    with pytest.raises(ScriptError) as caught:
        script_for(path, Options())
    assert str(caught.value) == (
        f"{path}:4:5: rules[0].match.class_type: the server has no class 'KSampelr'; did you mean 'KSampler'?"
    )
