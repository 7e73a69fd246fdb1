"""Assertions on a journal: what passes, and what those that fail say."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from journal_making import GRAPH, new_journal, prompt, request

from comfy_contracts.messages import Executing, Progress, Status
from comfy_mock.engine.script.director import Director
from comfy_mock.engine.script.matching import (
    EventSubject,
    MessageSubject,
    NodeSubject,
    PromptSubject,
    RequestSubject,
    SocketSubject,
    Subject,
)
from comfy_mock.engine.script.model import AnyRule, EventMatch, Point, Script
from comfy_mock.script import at_point, on_message, on_node, on_request, on_server, on_socket
from comfy_mock.server.journal import Journal
from comfy_mock.server.journal_rules import rule_line


@pytest.fixture
def journal() -> Journal:
    """A journal of a client that posted a prompt and asked for its end."""
    made, _time = new_journal()
    made.socket(100.0, 1, "me")
    prompt(made, client_id="me", prompt_id="p1")
    made.event(100.0, Progress(value=3, max=20, prompt_id="p1", node="3"), (1,))
    made.event(100.0, Executing(node=None, prompt_id="p1"), (1,))
    request(made, "GET", "/history/p1", headers={"comfy-user": "me"})
    request(made, "GET", "/history/p1")
    return made


def complaint(claim: Callable[[], object]) -> str:
    with pytest.raises(AssertionError) as failed:
        claim()
    return str(failed.value)


def test_what_is_so_passes(journal: Journal) -> None:
    journal.assert_prompt()
    journal.assert_prompt(class_type="KSampler", inputs={"steps": 20}, times=1)
    journal.assert_prompt(class_type="VAEDecode", times=0)
    journal.assert_request("GET /history/{prompt_id}", times=2)
    journal.assert_request("POST /prompt", json_contains={"prompt": {"3": {"inputs": {"steps": 20}}}})
    journal.assert_no_request("POST /interrupt")
    journal.assert_event("progress", node="3", value=3, connection=1)
    journal.assert_event("executing", node=None, times=1)
    journal.assert_socket(client_id="me", times=1)
    journal.assert_rules_used()
    journal.assert_all_served()


def test_the_input_that_differs_is_shown_and_how_to_write_it(journal: Journal) -> None:
    assert complaint(lambda: journal.assert_prompt(class_type="KSampler", inputs={"cfg": 8, "steps": 30})) == (
        "wanted at least 1 prompt like this, found 0:\n"
        '    journal.assert_prompt(class_type="KSampler", inputs={"cfg": 8, "steps": 30})\n'
        'The nearest of 1 others is node "3" of prompt 1 (p1):\n'
        "    (- wanted, + got)\n"
        "    - inputs.steps: 30\n"
        "    + inputs.steps: 20\n"
        "This would match it:\n"
        '    journal.assert_prompt(class_type="KSampler", inputs={"cfg": 8.0, "steps": 20})'
    )


def test_the_line_that_a_failure_gives_passes(journal: Journal) -> None:
    claims = [
        'assert_prompt(class_type="KSampler", inputs={"steps": 30, "sed": 1}, client_id="you")',
        'assert_prompt(class_type="Ksampler")',
        'assert_prompt(class_type="KSampler", node="4")',
        'assert_prompt(prompt_id="p2")',
        "assert_prompt(accepted=False)",
        'assert_request("POST /promt")',
        'assert_request("PUT /prompt", json_contains={"client_id": "you", "front": True})',
        'assert_request("/history/p1", headers={"Comfy-User": "you"}, status=404)',
        'assert_request("GET /history/p1", query={"max_items": "1"})',
        'assert_event("progress", node="4", value=3)',
        'assert_event("executing", node="3")',
        'assert_event("executed", prompt_id="p1")',
        'assert_event("progress", connection=2)',
        'assert_socket(client_id="you", open=False)',
    ]
    for claim in claims:
        said = complaint(lambda claim=claim: eval(f"journal.{claim}", {"journal": journal}))
        assert f"    journal.{claim}\n" in said
        line = said.partition("This would match it:\n    ")[2]
        assert line, said
        eval(line, {"journal": journal})


def test_a_prompt_that_was_refused_is_near() -> None:
    journal, _time = new_journal()
    prompt(journal, status=400)
    said = complaint(lambda: journal.assert_prompt(class_type="KSampler"))
    assert 'is node "3" of a refused prompt → 400 prompt_no_outputs: Prompt has no outputs:' in said
    assert "- accepted: True\n    + accepted: False" in said
    assert said.endswith('journal.assert_prompt(class_type="KSampler", accepted=False)')


def test_of_several_the_one_that_is_most_alike_is_the_nearest() -> None:
    journal, _time = new_journal()
    for text in ("a lighthouse at dusk", "a lighthouse at dawn", "nothing of the kind"):
        prompt(journal, {"6": {"class_type": "CLIPTextEncode", "inputs": {"text": text}}})
    wanted = {"text": "a lighthouse at dawn!"}
    assert '"6" of prompt 2 (p)' in complaint(lambda: journal.assert_prompt(inputs=wanted))


def test_of_long_texts_the_place_where_they_differ_is_shown() -> None:
    journal, _time = new_journal()
    text = "word " * 200
    prompt(journal, {"6": {"class_type": "CLIPTextEncode", "inputs": {"text": f"{text}dusk"}}})
    said = complaint(lambda: journal.assert_prompt(inputs={"text": f"{text}dawn"}))
    (got,) = re.findall(r"^    \+ inputs\.text: (.*)$", said, flags=re.MULTILINE)
    assert got.startswith("…")
    assert got.endswith('word dusk"')
    assert len(got) < 100


def test_wrong_numbers_of_times_list_what_there_is(journal: Journal) -> None:
    said = complaint(lambda: journal.assert_request("GET /history/*", times=1))
    assert said.splitlines()[0] == "wanted 1 request like this, found 2:"
    assert said.splitlines()[2:] == ["Found:", "    GET /history/p1 → 200", "    GET /history/p1 → 200"]
    said = complaint(lambda: journal.assert_no_request("/prompt"))
    assert said.splitlines()[0] == "wanted 0 requests like this, found 1:"
    assert said.splitlines()[1] == '    journal.assert_no_request("/prompt")'
    said = complaint(lambda: journal.assert_event("progress", times=2))
    assert "Found:\n    progress 3 3/20 to WebSocket 1\nThe nearest of 1 others is executing null" in said


def test_where_there_is_nothing_that_is_said() -> None:
    journal, _time = new_journal()
    assert complaint(journal.assert_socket).endswith("There were no WebSockets.")


def test_many_are_not_all_listed(journal: Journal) -> None:
    for _ in range(30):
        journal.event(100.0, Status(1), (1,))
    said = complaint(lambda: journal.assert_event("status", times=1))
    assert said.count("status 1 to WebSocket 1") == 10
    assert said.endswith("    … and 20 more")


NODE = NodeSubject("3", "KSampler", {"steps": 20, "model": ["4", 0]}, 2, "me")
SOCKET = SocketSubject(2, "me")
PROGRESS = EventSubject("progress", (("3", 3),), 1)

MISSES: list[tuple[AnyRule, Subject, Point | None, str, str]] = [
    (
        on_node("KSampler", inputs={"steps": 30, "sed": 1}, raises="out_of_memory"),
        NODE,
        None,
        'node "3" (KSampler) of prompt 2',
        'on_node("KSampler", inputs={"steps": 20}, raises="out_of_memory")',
    ),
    (on_node(node="4", prompt=1, steps=5), NODE, None, 'node "3"', 'on_node(node="3", prompt=2, steps=5)'),
    (
        on_request("GET /histry/{id}", status=500, times=2, body={"a": [1]}),
        RequestSubject("GET", "/history/p"),
        None,
        "GET /history/p",
        'on_request("GET /history/p", times=2, status=500, body={"a": [1]})',
    ),
    (
        on_request("POST /view", query={"type": "temp"}, delay=1.5),
        RequestSubject("GET", "/view", {"type": "output"}),
        None,
        "GET /view",
        'on_request("GET /view", query={"type": "output"}, delay=1.5)',
    ),
    (
        on_socket(connection=1, end="abort", event=EventMatch(event="progress", value=3)),
        SOCKET,
        None,
        'WebSocket 2 of client "me"',
        'on_socket(connection=2, end="abort", event=EventMatch(event="progress", value=3))',
    ),
    (
        on_message("progress", node="4", connection=1, lose=True),
        MessageSubject(PROGRESS, SOCKET),
        None,
        'progress to WebSocket 2 of client "me"',
        'on_message("progress", node="3", connection=2, lose=True)',
    ),
    (
        on_server("progress", value=4, down=0.5),
        PROGRESS,
        None,
        "progress of prompt 1",
        'on_server("progress", value=3, action="restart", down=0.5)',
    ),
    (
        at_point("before_taken", prompt=2, polls=1),
        PromptSubject(1, "me"),
        "before_taken",
        "prompt 1 of 'me'",
        'at_point("before_taken", prompt=1, polls=1)',
    ),
]


@pytest.mark.parametrize(("rule", "subject", "point", "near", "line"), MISSES)
def test_an_unused_rule_is_shown_with_its_nearest_miss(
    rule: AnyRule, subject: Subject, point: Point | None, near: str, line: str
) -> None:
    director = Director(Script(rules=[rule]))
    journal, _time = new_journal(director)
    assert director.choose(subject, point=point) is None
    said = complaint(journal.assert_rules_used)
    assert said.startswith(f"1 rule of the script was never used:\n\n  {rule_line(rule)}\n")
    assert f"    The nearest was {near}" in said
    assert said.endswith(f"    This would have matched it:\n        {line}")
    corrected = eval(line, dict(globals()))
    director.add(corrected)
    assert director.choose(subject, point=point) == corrected


def test_rules_for_which_nothing_came_or_too_little() -> None:
    director = Director(Script(rules=[on_socket(refuse=503), on_request("GET /queue", after=2, status=500)]))
    journal, _time = new_journal(director)
    director.choose(RequestSubject("GET", "/queue"))
    assert complaint(journal.assert_rules_used) == (
        "2 rules of the script were never used:\n\n"
        "  on_socket(refuse=503)\n"
        "    Nothing of its kind came: no WebSocket was opened.\n\n"
        '  on_request("GET /queue", after=2, status=500)\n'
        "    What fitted it came once; with after=2 it lets that pass."
    )


def test_a_rule_that_still_waits_is_unused() -> None:
    director = Director(Script(rules=[on_socket(end="abort", event="executed")]))
    journal, _time = new_journal(director)
    use = director.use_for(SOCKET)
    assert use is not None
    use.waiting += 1
    assert complaint(journal.assert_rules_used).endswith("but what it waits for then never came.")
    use.waiting -= 1
    journal.assert_rules_used()


def test_optional_rules_need_not_be_used() -> None:
    director = Director(Script(rules=[on_request("GET /queue", optional=True, status=500), on_request(times=0)]))
    new_journal(director)[0].assert_rules_used()


def test_requests_that_nothing_served_are_listed_with_what_may_have_been_meant() -> None:
    journal, _time = new_journal()
    for method, path, status in (
        ("GET", "/api/hstory/p", 404),
        ("DELETE", "/queue", 405),
        ("GET", "/sdapi/v1/txt2img", 404),
        ("GET", "/queue", 200),
    ):
        request(journal, method, path, status=status, route="/queue" if status == 200 else None)
    assert complaint(journal.assert_all_served).splitlines() == [
        "3 requests were served by no route and no rule:",
        "    GET /api/hstory/p → 404 (did you mean GET /history/{prompt_id}?)",
        "    DELETE /queue → 405 (did you mean GET /queue?)",
        "    GET /sdapi/v1/txt2img → 404",
    ]


def test_graphs_are_left_as_they_were_posted(journal: Journal) -> None:
    complaint(lambda: journal.assert_prompt(inputs={"steps": 30}))
    assert journal.prompts()[0].graph == GRAPH
