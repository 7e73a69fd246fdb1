"""`POST /prompt` step by step (protocol 3.1, 3.2)."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from comfy_contracts.profiles import Profile
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.submission import NumberCounter, Submission, submit
from comfy_mock.engine.validation import Verdict

MINTED = "11111111-1111-4111-8111-111111111111"
GOOD = Verdict(valid=True, outputs=["1"])
BAD = Verdict(valid=False, error={"type": "prompt_no_outputs"}, node_errors={})


class Desk:
    """Takes bodies in, with one counter."""

    def __init__(self, verdict: Verdict = GOOD) -> None:
        self.counter = NumberCounter()
        self.verdict = verdict

    def post(self, body: Any, *, usage_source: str | None = None) -> Submission:
        return submit(
            body,
            counter=self.counter,
            mint_id=lambda: MINTED,
            validate=lambda _prompt, _targets: self.verdict,
            now_ms=1234,
            usage_source=usage_source,
            profile=Profile.of("0.33.0"),
        )

    def extra_data(self, body: dict[str, Any], *, usage_source: str | None = None) -> str:
        item = self.post({"prompt": {}, **body}, usage_source=usage_source).item
        assert item is not None
        return json.dumps(item.extra_data)


def test_the_answer_and_the_item() -> None:
    submission = Desk().post({"prompt": {"1": {}}})
    assert submission.answer.body == b'{"prompt_id": "%s", "number": 0, "node_errors": {}}' % MINTED.encode()
    assert submission.item is not None
    assert submission.item.shown() == [0, MINTED, {"1": {}}, {"create_time": 1234}, ["1"]]


@pytest.mark.parametrize(
    ("keys", "number", "spent"),
    [
        ({}, "7", 1),
        ({"front": True}, "-7", 1),
        ({"front": 1}, "-7", 1),
        ({"front": 0}, "7", 1),
        ({"number": 1}, "1.0", 0),
        ({"number": "3.5"}, "3.5", 0),
        ({"number": True}, "1.0", 0),
        ({"number": -2, "front": True}, "-2.0", 0),
        ({"number": math.nan}, "NaN", 0),
    ],
)
def test_numbers(keys: dict[str, Any], number: str, spent: int) -> None:
    desk = Desk()
    desk.counter.next = 7
    answer = desk.post({"prompt": {}, **keys}).answer
    assert json.loads(answer.body, parse_constant=str)["number"] == json.loads(number, parse_constant=str)
    assert f'"number": {number},'.encode() in answer.body
    assert desk.counter.next == 7 + spent


def test_the_first_number_of_all_is_0_in_front_too() -> None:
    assert b'"number": 0,' in Desk().post({"prompt": {}, "front": True}).answer.body


@pytest.mark.parametrize("number", [None, "x", [], {}, 10**400])
def test_what_is_no_number_is_trouble_and_spends_none(number: Any) -> None:
    desk = Desk()
    with pytest.raises(ServerTrouble):
        desk.post({"prompt": {}, "number": number})
    assert desk.counter.next == 0


@pytest.mark.parametrize(
    ("body", "status", "spent"),
    [
        ({}, 400, 1),
        ([], 400, 1),
        ("text", 400, 1),
        (None, 500, 0),
        (5, 500, 0),
        (["number"], 500, 0),
        (["prompt"], 500, 1),
        ({"prompt": {}, "prompt_id": "x"}, 400, 1),
        ({"prompt": {}, "extra_data": None}, 500, 1),
    ],
)
def test_a_number_is_spent_before_anything_is_checked(body: Any, status: int, spent: int) -> None:
    desk = Desk()
    try:
        answered = desk.post(body).answer.status
    except ServerTrouble:
        answered = 500
    assert (answered, desk.counter.next) == (status, spent)


def test_no_prompt() -> None:
    problem = {"type": "no_prompt", "message": "No prompt provided", "details": "No prompt provided", "extra_info": {}}
    assert json.loads(Desk().post({"prompts": {}}).answer.body) == {"error": problem, "node_errors": {}}


@pytest.mark.parametrize("prompt_id", [MINTED, "abcdef01-2345-6789-abcd-ef0123456789", None])
def test_ids_that_are_taken(prompt_id: Any) -> None:
    item = Desk().post({"prompt": {}, "prompt_id": prompt_id}).item
    assert item is not None
    assert item.prompt_id == (prompt_id or MINTED)


@pytest.mark.parametrize(
    "prompt_id",
    [
        *("", "x", MINTED.replace("-", ""), f"{{{MINTED}}}", f" {MINTED}", f"{MINTED}\n", f"urn:uuid:{MINTED}"),
        *("ABCDEF01-2345-6789-ABCD-EF0123456789", 5, True, [], {}, [MINTED]),
    ],
)
def test_ids_that_are_refused(prompt_id: Any) -> None:
    answer = Desk().post({"prompt": {}, "prompt_id": prompt_id}).answer
    assert answer.status == 400
    body = json.loads(answer.body)
    assert (body["error"]["type"], body["node_errors"]) == ("invalid_prompt_id", {})


@pytest.mark.parametrize(
    ("body", "usage_source", "extra_data"),
    [
        ({}, None, '{"create_time": 1234}'),
        ({"client_id": "c"}, None, '{"client_id": "c", "create_time": 1234}'),
        ({"client_id": None}, None, '{"client_id": null, "create_time": 1234}'),
        (
            {"client_id": "c", "extra_data": {"a": 1, "client_id": "d"}},
            None,
            '{"a": 1, "client_id": "c", "create_time": 1234}',
        ),
        ({"extra_data": {"client_id": "d"}}, None, '{"client_id": "d", "create_time": 1234}'),
        ({"extra_data": {"create_time": 5, "a": 1}}, None, '{"create_time": 1234, "a": 1}'),
        ({"client_id": "c"}, "web", '{"client_id": "c", "comfy_usage_source": "web", "create_time": 1234}'),
        ({"extra_data": {"comfy_usage_source": "own"}}, "web", '{"comfy_usage_source": "own", "create_time": 1234}'),
    ],
)
def test_extra_data(body: dict[str, Any], usage_source: str | None, extra_data: str) -> None:
    assert Desk().extra_data(body, usage_source=usage_source) == extra_data


def test_secrets_are_given_to_nodes_and_never_shown() -> None:
    secrets = {"auth_token_comfy_org": "a", "api_key_comfy_org": "b"}
    item = Desk().post({"prompt": {}, "extra_data": {**secrets, "mine": 1}}).item
    assert item is not None
    assert item.sensitive == secrets
    assert item.shown()[3] == {"mine": 1, "create_time": 1234}


@pytest.mark.parametrize("extra_data", [[], "text"])
def test_extra_data_that_is_no_object_is_trouble_once_it_is_touched(extra_data: Any) -> None:
    body = {"prompt": {}, "extra_data": extra_data}
    assert Desk(BAD).post(body).answer.status == 400
    for desk, more, usage_source in [(Desk(), {}, None), (Desk(BAD), {"client_id": "c"}, None), (Desk(BAD), {}, "web")]:
        with pytest.raises(ServerTrouble):
            desk.post({**body, **more}, usage_source=usage_source)


@pytest.mark.parametrize("extra_data", [None, 5])
def test_extra_data_that_cannot_be_copied_is_trouble_at_once(extra_data: Any) -> None:
    with pytest.raises(ServerTrouble):
        Desk(BAD).post({"prompt": {}, "extra_data": extra_data})


def test_a_refusal_queues_nothing() -> None:
    submission = Desk(BAD).post({"prompt": {}})
    assert submission.item is None
    assert json.loads(submission.answer.body) == {"error": {"type": "prompt_no_outputs"}, "node_errors": {}}
