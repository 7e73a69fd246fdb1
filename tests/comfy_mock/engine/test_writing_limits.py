"""Scripts that ask for what nothing can do, or no server sends."""

from __future__ import annotations

import pytest

from comfy_contracts.catalogue import Catalogue
from comfy_mock.engine.options import Options
from comfy_mock.engine.script.checks import check
from comfy_mock.engine.script.problems import ScriptError
from comfy_mock.engine.script.reading import read_script
from comfy_mock.script import Script, on_node
from comfy_mock.server.scripts import known_routes, script_for

ROUTES = known_routes(Options().version)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # more than a server survives
        ("message, match: {event: status}, duplicate: 10001", "duplicate: is 10001; it takes at most 10000"),
        ("message, match: {event: status}, reorder: 10001", "reorder: is 10001; it takes at most 10000"),
        ("message, match: {event: status}, oversize: 4611686018427387904", "it takes at most 268435456"),
        ("message, match: {event: status}, delay: 1.0e+10", "it takes at most 1000000000"),
        ("node, duration: 1.0e+300", "it takes at most 1000000000"),
        ("node, steps: 2000000", "steps: is 2000000; it takes at most 1000000"),
        ("node, steps: 1, step_time: 1.0e+10", "step_time: a step takes at most 1000000000 seconds"),
        ("node, steps: 1, previews: {size: 20000}", "size: is 20000; it takes at most 16384"),
        # what can do nothing
        ("node", "2:3: rules[0]: it does nothing"),
        ("request, match: {route: GET /queue}, times: 1", "2:3: rules[0]: it does nothing"),
        ("node, step_time: 2", "step_time: is for the `steps` of the rule"),
        ("message, match: {event: ''}, lose: true", "match.event: is empty"),
        ("request, match: {route: 'GET /queue?a=1'}, delay: 1", "parameters are matched by `query`"),
        ("request, match: {route: 'GET /history/{id'}, delay: 1", "a brace of 'GET /history/{id' is not closed"),
        ("request, match: {route: 'POST /prompt, GET /queue'}, status: 500", "give each route a rule of its own"),
        ("request, match: {route: GET /foo*}, status: 500", "it is alone behind the last slash"),
        ("request, match: {route: GET /*/x}, status: 500", "it is alone behind the last slash"),
        # what cannot be sent
        ("node, ui: {text: a}", "ui.text: is a list in every node's ui, for those of several calls are joined; write"),
        ('node, text: "\\ud800"', "text: has half of a surrogate pair"),
        ("request, status: 204, body: a", "body: an answer with status 204 has no body"),
        ("request, status: 500, headers: {a b: c}", 'headers["a b"]: the name of a header'),
        ("request, status: 500, headers: {A: ' c'}", "headers.A: a header has no line breaks"),
        ("request, status: 500, headers: {content-length: '1'}", "is made by the server from the body"),
        ("request, retry_after: 1, headers: {retry-after: '9'}", "there is `retry_after` too"),
        ("request, retry_after: 0.5", "retry_after: must be a whole number or null, not 0.5"),
    ],
)
def test_a_rule_that_no_server_can_follow(text: str, expected: str) -> None:
    try:
        problems = check(read_script(f"rules:\n- {{on: {text}}}\n"), Catalogue.packaged(), routes=ROUTES)
    except ScriptError as error:
        problems = error.problems
    (problem,) = map(str, problems)
    assert expected in problem


def test_half_a_surrogate_pair_in_python() -> None:
    with pytest.raises(ScriptError, match=r"rules\[0\]\.text: has half of a surrogate pair"):
        script_for(Script(rules=[on_node("SaveImage", text="\ud800")]), Options())


def test_a_thousand_rules_are_looked_at_in_their_number() -> None:
    # by pairs they would be compared a hundred million times
    rules = [on_node("EmptyImage", inputs={"color": color}, duration=1) for color in range(10_000)]
    problems = check(Script(rules=[*rules, rules[77]]), Catalogue.packaged())
    assert [problem.text for problem in problems] == [
        "it is never reached: rules[77] matches the same, for ever. Give that one `times`"
    ]


def test_a_script_belongs_to_the_server_from_when_it_was_given() -> None:
    ui = {"text": ["mine"]}
    script = Script(rules=[on_node("SaveImage", ui=ui)])
    given = script_for(script, Options())
    script.rules[0].ui["text"].append("more")  # type: ignore[union-attr, index]
    script.rules.clear()
    assert given == Script(rules=[on_node("SaveImage", ui={"text": ["mine"]})])
    assert script_for(script, Options()) == Script()


def test_a_script_that_was_found_right_is_not_looked_at_again() -> None:
    script = Script(rules=[on_node("SaveImage", text="mine")])
    assert script_for(script, Options()) is script_for(script, Options())
    script.rules.append(on_node("SaveImagee", text="mine"))
    with pytest.raises(ScriptError, match="did you mean 'SaveImage'"):
        script_for(script, Options())


def test_rules_that_are_data_become_rules() -> None:
    script = script_for(Script(rules=[{"on": "node", "steps": 3}]), Options())  # type: ignore[list-item]
    assert script.rules == [on_node(steps=3)]
