"""What is said of scripts that cannot be read: each problem with its file, line and column, and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_mock.engine.script.reading import read_data
from comfy_mock.script import ScriptError, read_script


def problems(text: str, **arguments: Any) -> list[str]:
    with pytest.raises(ScriptError) as caught:
        read_script(text, **{"name": "s.yaml", **arguments})
    assert all(str(problem) in str(caught.value) for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


RULE = "rules:\n- on: node\n  "


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ruls: []", "s.yaml:1:1: ruls: the script has no `ruls`; did you mean 'rules'?"),
        (RULE + "match: {clas_type: X}", "3:11: rules[0].match.clas_type: the match of a node has no `clas_type`; did"),
        (RULE + "match: {clas_type: X}", "did you mean 'class_type'?"),
        (RULE + "class_type: X", "3:3: rules[0].class_type: a node rule has no `class_type`; it belongs into `match`"),
        (RULE + "clas_type: X", "did you mean 'class_type' in `match`?"),
        (RULE + "steps: 2.5", "s.yaml:3:3: rules[0].steps: must be a whole number or null, not 2.5"),
        (RULE + "steps: true", "rules[0].steps: must be a whole number or null, not true"),
        (RULE + "optional: yes", "rules[0].optional: must be true or false, not 'yes'; did you mean true?"),
        (RULE + "raises: oom", "rules[0].raises: must be an object (type, message, at_step, traceback)"),
        (RULE + "previews: {format: jpg}", "3:14: rules[0].previews.format: must be \"JPEG\" or \"PNG\", not 'jpg'"),
        (RULE + "texts: [{at_step: 1}]", "s.yaml:3:11: rules[0].texts[0]: this needs `text`: a text"),
        (RULE + "match: []", "3:3: rules[0].match: must be an object (node, class_type, inputs, prompt …), not"),
        (RULE + "duration: .inf", "rules[0].duration: must be a number or null, not inf"),
        (RULE + "binaries: [{event: 1, data: hello}]", "binaries[0].data: must be bytes in base64, not 'hello'"),
        (RULE + "ui: {a: !!binary aGk=}", "rules[0].ui.a: must be what JSON has"),
        (RULE + "files: [{filename: a, file: a.png}]", "rules[0].files[0].file: no files are read here"),
        ("rules: [{on: nod}]", "s.yaml:1:10: rules[0].on: there is no 'nod' rule; it is one of node, request, socket"),
        ("rules: [{on: nod}]", "did you mean 'node'?"),
        ("rules: [{match: {}}]", "s.yaml:1:9: rules[0]: needs `on`, which says what it is about: one of node, request"),
        ("rules: [{On: node}]", "it is written as 'On' here"),
        ("rules: [{on: point, point: before}]", 'rules[0].point: must be "after_history_before_end" or '),
        ("rules: [{on: point}]", "rules[0]: a point rule needs `point`"),
        ("- on: node", "s.yaml:1:1: must be an object (rules, queue_paused, start_up, memory …), not a list"),
        ("rules: x", "s.yaml:1:1: rules: must be a list, not 'x'"),
        ("a: 1\nb: [", "s.yaml:2:5: this is no YAML: expected the node content"),
        ("rules: []\nrules: []", "s.yaml:2:1: the key 'rules' is there twice"),
        ("rules: &r [*r]", "s.yaml:1:8: this alias stands for something that it is a part of"),
        ("a: !!python/name:os.system x", "s.yaml:1:4: the tag 'tag:yaml.org,2002:python/name:os.system'"),
        ("a: !!int x", "s.yaml:1:4: 'x' is no int"),
        ("a: !!binary '*'", "s.yaml:1:4: '*' is no binary"),
        ("? [a]\n: b", "s.yaml:1:3: a key must be a text"),
        ("a: {<<: 1}", "s.yaml:1:9: `<<` takes an object"),
        ("a: 1\n---\nb: 1", "s.yaml:2:1: this is no YAML: but found another document"),
        ("a: *b", "s.yaml:1:4: this is no YAML: found undefined alias 'b'"),
        ("\x07", "s.yaml: this is no YAML: unacceptable character"),
        ("[" * 5000, "it is nested more than 100 deep"),
        ("a: " + "9" * 5000, "is no int"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert expected in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"rules": [\n  {"on": "node",\n   "step": 1}]}', "s.json:3:4: rules[0].step: a node rule has no `step`"),
        ('{"rules": [{"on": "node", "match": {"node": 4}}]}', 'must be a text or null, not 4; write "4"'),
        ('{"rules": []\n "a": 1}', "s.json:2:2: a comma or the end of the object is missing here"),
        ("[1 2]", "s.json:1:4: a comma or the end of the list is missing here"),
        ("{a: 1}", "s.json:1:2: a key in double quotes is missing here"),
        ('{"a" 1}', "s.json:1:6: a colon is missing here"),
        ('{"a": 1, "a": 2}', "s.json:1:10: the key 'a' is there twice"),
        ('{"a": nope}', "s.json:1:7: this is no JSON: Expecting value"),
        ("{} x", "s.json:1:4: the text goes on behind the value"),
        ("[" * 5000, "s.json:1:102: it is nested more than 100 deep"),
        ('{"a": ' + "9" * 5000 + "}", "s.json:1:7: this number cannot be read"),
    ],
)  # fmt: skip
def test_json_tells_its_lines_too(text: str, expected: str) -> None:
    (problem,) = problems(text, name="s.json")
    assert expected in problem


def test_all_problems_come_at_once() -> None:
    text = "start: 1\nrules:\n- on: node\n  step: 1\n  times: x\n- on: nothing\n- {}\n"
    found = problems(text)
    assert [line.split(": ")[0] for line in found] == [
        "s.yaml:1:1",
        "s.yaml:4:3",
        "s.yaml:5:3",
        "s.yaml:6:3",
        "s.yaml:7:3",
    ]


def test_a_script_of_thousand_errors_shows_some() -> None:
    with pytest.raises(ScriptError, match=r"1000 things are wrong(.|\n)*and 980 more") as caught:
        read_data({"rules": [{"on": "node", "steps": "x"}] * 1000})
    assert len(caught.value.problems) == 1000


def test_aliases_do_not_blow_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (problem,) = problems("\n".join(lines))
    assert "there are more than 100000 values, with aliases" in problem


def test_python_data_has_no_lines() -> None:
    with pytest.raises(ScriptError) as caught:
        read_data({"rules": [{"on": "node", "match": {"inputs": {"my input": {1, 2}}}}]})
    (problem,) = caught.value.problems
    assert (problem.path, problem.place) == ('rules[0].match.inputs["my input"]', None)
    assert "must be what JSON has" in problem.text
