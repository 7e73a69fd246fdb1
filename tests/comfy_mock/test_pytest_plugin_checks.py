"""What the pytest plugin looks at when a test is over, and what it adds to the report of one that failed."""

from __future__ import annotations

import pytest
from plugin_runs import run_here

pytest_plugins = ["pytester"]

ASKS = """
import httpx
import pytest
from comfy_mock.script import on_node, on_request

PROMPT = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 32, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "mine"}},
}
UNUSED = {"rules": [{"on": "node", "match": {"class_type": "EmptyImage", "inputs": {"width": 128}}, "duration": 1}]}

def get(server, path):
    return httpx.get(f"{server.url}{path}").status_code

def run_prompt(server):
    httpx.post(f"{server.url}/prompt", json={"prompt": PROMPT})
    server.journal.wait_for_event("executing", node="2")
"""

RULE = 'on_node("EmptyImage", inputs={"width": 128}, duration=1'
SECTION = "*- comfy-mock timeline -*"


def test_a_rule_that_was_not_used_fails_the_test_with_its_nearest_miss(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"{ASKS}@pytest.mark.comfy_mock(script=UNUSED)\ndef test_it(comfy_mock): run_prompt(comfy_mock)\n"
    )
    result = run_here(pytester)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_it*",
            "comfy_mock: 1 rule of the script was never used:",
            f"  {RULE}*",
            '    The nearest was node "1" (EmptyImage) of prompt 1:',
            "        - inputs.width: 128",
            "        + inputs.width: 64",
            "To let that be: @pytest.mark.comfy_mock(allow_unused_rules=True) on the test, *",
            SECTION,
            "    0.000 s  POST /prompt → 200: prompt 1 is *, 2 nodes",
            "*  executing 1 → nobody",
        ]
    )


def test_a_request_that_nothing_served_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"{ASKS}def test_it(comfy_mock): assert get(comfy_mock, '/hstory') == 404\n")
    result = run_here(pytester)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "comfy_mock: 1 request was served by no route and no rule:",
            "    GET /hstory → 404 (did you mean GET /history?)",
            "To let that be: @pytest.mark.comfy_mock(allow_unserved_requests=True) on the test, *",
        ]
    )


def test_both_are_told_beside_the_failure_of_the_body_and_the_timeline_once(pytester: pytest.Pytester) -> None:
    body = "    get(comfy_mock, '/hstory')\n    assert False, 'on purpose'\n"
    pytester.makepyfile(f"{ASKS}@pytest.mark.comfy_mock(script=UNUSED)\ndef test_it(comfy_mock):\n{body}")
    result = run_here(pytester)
    result.assert_outcomes(failed=1, errors=1)
    said = result.stdout.str()
    for text in ("AssertionError: on purpose", "rule of the script was never used", "request was served by no route"):
        assert text in said
    assert said.count("comfy-mock timeline") == 1
    assert "GET /hstory → 404\n" in said


def test_rules_that_were_used_and_routes_that_are_there_are_fine(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ASKS
        + """
@pytest.mark.comfy_mock(script={"rules": [
    {"on": "request", "match": {"route": "GET /mine"}, "status": 200, "body": "mine"},
    {"on": "request", "match": {"route": "GET /queue"}, "status": 500, "optional": True},
]})
def test_it(comfy_mock):
    assert get(comfy_mock, "/mine") == 200
    assert get(comfy_mock, "/view?filename=none.png") == 404
"""
    )
    result = run_here(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line(SECTION)


def test_rules_that_the_test_adds_must_be_used_too(pytester: pytest.Pytester) -> None:
    body = "    comfy_mock.add_rules(on_request('GET /queue', status=500))\n"
    pytester.makepyfile(f"{ASKS}def test_it(comfy_mock):\n{body}")
    result = run_here(pytester)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(['  on_request("GET /queue", status=500)'])


SWITCHED = """
pytestmark = pytest.mark.comfy_mock(script=UNUSED{module})

@pytest.mark.comfy_mock({test})
def test_it(comfy_mock):
    get(comfy_mock, "/hstory")
"""


@pytest.mark.parametrize(
    ("ini", "module", "test", "told"),
    [
        ("", "", "", {"rule", "request"}),
        ("", "", "allow_unused_rules=True", {"request"}),
        ("", "", "allow_unserved_requests=True", {"rule"}),
        ("", ", allow_unused_rules=True, allow_unserved_requests=True", "", set()),
        ("", ", allow_unused_rules=True, allow_unserved_requests=True", "allow_unused_rules=False", {"rule"}),
        ("comfy_mock_allow_unused_rules = true", "", "", {"request"}),
        ("comfy_mock_allow_unserved_requests = true", "", "", {"rule"}),
        ("comfy_mock_allow_unserved_requests = true", ", allow_unserved_requests=False", "", {"rule", "request"}),
    ],
)
def test_either_can_be_allowed(pytester: pytest.Pytester, ini: str, module: str, test: str, told: set[str]) -> None:
    pytester.makeini(f"[pytest]\n{ini}\n")
    pytester.makepyfile(ASKS + SWITCHED.format(module=module, test=test))
    result = run_here(pytester)
    result.assert_outcomes(passed=1, errors=1 if told else 0)
    said = result.stdout.str()
    assert {"rule": "was never used", "request": "was served by no route"}.keys() >= told
    assert ("was never used" in said) == ("rule" in told)
    assert ("was served by no route" in said) == ("request" in told)


def test_a_test_that_was_not_to_pass_proves_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ASKS
        + """
pytestmark = pytest.mark.comfy_mock(script=UNUSED)

def test_skipped(comfy_mock):
    pytest.skip("on purpose")

@pytest.mark.xfail
def test_expected_to_fail(comfy_mock):
    get(comfy_mock, "/hstory")
    assert False

@pytest.fixture
def broken(comfy_mock):
    get(comfy_mock, "/hstory")
    raise ValueError("on purpose")

def test_never_began(broken):
    pass
"""
    )
    result = run_here(pytester)
    result.assert_outcomes(skipped=1, xfailed=1, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at setup of test_never_began*", SECTION, "*GET /hstory → 404"])
    result.stdout.no_fnmatch_line("*ERROR at teardown*")


def test_requests_of_other_fixtures_at_their_end_count(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ASKS
        + """
@pytest.fixture
def app(comfy_mock):
    yield
    get(comfy_mock, "/goodbye")

def test_it(app): pass
"""
    )
    result = run_here(pytester)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["    GET /goodbye → 404"])


def test_servers_of_the_factory_are_looked_at_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ASKS
        + """
def test_it(comfy_mock, comfy_mock_factory):
    first, second = comfy_mock_factory(script=UNUSED), comfy_mock_factory()
    get(second, "/hstory")
    second.stop()

@pytest.mark.comfy_mock(allow_unused_rules=True)
def test_allowed(comfy_mock_factory):
    comfy_mock_factory(script=UNUSED)
"""
    )
    result = run_here(pytester)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "comfy_mock_factory: 1 rule of the script was never used:",
            "    Nothing of its kind came: no node was called.",
            "comfy_mock_factory: 1 request was served by no route and no rule:",
            "*- comfy-mock timeline of comfy_mock http://127.0.0.1:*-*",
            "(nothing came, and nothing was sent)",
            "*- comfy-mock timeline of comfy_mock_factory http://127.0.0.1:*-*",
            "*- comfy-mock timeline of comfy_mock_factory http://127.0.0.1:*-*",
            "    0.000 s  GET /hstory → 404",
        ]
    )


def test_journals_do_not_outlive_their_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ASKS
        + """
import gc
import weakref

journals = []

@pytest.mark.parametrize("number", range(3))
def test_some(comfy_mock, number):
    get(comfy_mock, "/queue")
    journals.append(weakref.ref(comfy_mock.journal))

def test_after(comfy_mock):
    gc.collect()
    assert [journal() for journal in journals] == [None] * 3
"""
    )
    run_here(pytester).assert_outcomes(passed=4)
