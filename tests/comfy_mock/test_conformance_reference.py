"""The reference client passes everywhere; clients with known faults fail just where these show."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from comfy_client import AsyncClient, Client, Pace
from comfy_mock.conformance import SITUATIONS, Outcome, check_client
from comfy_mock.conformance.check import chosen, run
from comfy_mock.conformance.clients import Ending
from comfy_mock.conformance.reference import REFERENCE

LOCAL: dict[str, Any] = {"verify": False, "trust_env": False}
BRISK: dict[str, Any] = {
    **LOCAL,
    "pace": Pace(poll_interval=0.2, watch_interval=0.3, lost_after=1.0, unreachable_after=1.5),
}
JOBS = 16


def by_websocket(url: str, workflow: dict[str, Any]) -> Any:
    with Client(url, **BRISK) as client:
        return client.run(workflow, fetch=True).outputs


async def by_polling(url: str, workflow: dict[str, Any]) -> Any:
    async with AsyncClient(url, **BRISK) as client:
        return (await client.run(workflow, path="polling", fetch=True)).outputs


def test_the_reference_client_passes_in_all_situations_by_websocket() -> None:
    report = check_client(by_websocket, jobs=JOBS, random=12, seed=3)
    report.check()
    assert len(report.outcomes) == len(SITUATIONS) + 12
    absent = {outcome.situation.name for outcome in report.outcomes if not outcome.came_up}
    unasked = {f"{status}_once_get_{route}" for status in (500, 429) for route in ("queue", "object_info", "jobs")}
    assert absent & set(SITUATIONS) <= unasked


@pytest.mark.slow
def test_the_reference_client_passes_in_all_situations_by_polling() -> None:
    check_client(by_polling, jobs=JOBS, random=12, seed=3).check()


@pytest.mark.parametrize("way", REFERENCE)
def test_its_ways_in_the_table(way: str) -> None:
    check_client(REFERENCE[way], only=["plain", "fails_at_once", "dropped_and_the_run_ends"], jobs=3).check()


# Clients with one fault each


class Naive:
    """A client by WebSocket as one writes it in ten minutes: waits for the closing `executing`, reads the history."""

    checks_the_id = True
    reads_status = True
    expects_output = False
    knows_data = False
    collects = False
    ends = "executing"

    def __call__(self, url: str, workflow: dict[str, Any]) -> Any:
        client_id = uuid.uuid4().hex
        socket_url = f"{url.replace('http', 'ws', 1)}/ws?clientId={client_id}"
        with (
            httpx.Client(base_url=url, trust_env=False) as http,
            connect(socket_url, proxy=None, close_timeout=0.1) as socket,
        ):
            answer = http.post("/prompt", json={"prompt": workflow, "client_id": client_id}).json()
            got = self.wait(socket, answer["prompt_id"])
            entry = http.get(f"/history/{answer['prompt_id']}").json()[answer["prompt_id"]]
        if self.reads_status and entry["status"]["status_str"] != "success":
            return {"error": entry["status"]["status_str"]}
        return got if self.collects else entry["outputs"]

    def wait(self, socket: Any, prompt_id: str) -> dict[str, Any]:
        got = {}
        while True:
            frame = socket.recv()
            if isinstance(frame, bytes):
                continue
            message = json.loads(frame)
            data = message["data"]
            if self.knows_data:
                data.get("prompt_id")
            if self.checks_the_id and (not isinstance(data, dict) or data.get("prompt_id") != prompt_id):
                continue
            if message["type"] == "executed":
                if self.expects_output and not data["output"]["images"]:
                    raise LookupError
                got[data["node"]] = data["output"]
            if message["type"] == self.ends and data.get("node") is None:
                return got


class AnyId(Naive):
    checks_the_id = False


class AnyData(Naive):
    knows_data = True


class AnyStatus(Naive):
    reads_status = False


class Success(Naive):
    ends = "execution_success"


class Output(Naive):
    expects_output = True


class FirstOutput(Naive):
    ends = "executed"
    collects = True

    def wait(self, socket: Any, prompt_id: str) -> dict[str, Any]:
        while True:
            frame = socket.recv()
            if isinstance(frame, str) and '"executed", "data": {"node"' in frame:
                data = json.loads(frame)["data"]
                return {data["node"]: data["output"]}


class Twice(Naive):
    def __call__(self, url: str, workflow: dict[str, Any]) -> Any:
        with httpx.Client(base_url=url, trust_env=False) as http:
            http.post("/prompt", json={"prompt": workflow})
        return super().__call__(url, workflow)


def verdicts(client: Any, *names: str) -> dict[str, str]:
    report = check_client(client, only=names, timeout=3, jobs=JOBS)
    return {outcome.situation.name: outcome.verdict for outcome in report.outcomes}


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (
            Naive(),
            {
                "plain": "passes",
                "two_outputs": "passes",
                "success_lost": "hangs",
                "deleted_while_pending": "hangs",
                "dropped_and_the_run_ends": "crashes",
                "large_frame": "crashes",
                "answer_after_the_end": "passes",
                "anothers_success": "passes",
                "429_once_get_history": "crashes",
            },
        ),
        (AnyId(), {"plain": "passes", "anothers_success": "crashes", "anothers_failure": "crashes"}),
        (AnyData(), {"plain": "passes", "messages_of_custom_nodes": "crashes"}),
        (AnyStatus(), {"plain": "passes", "fails": "wrong result", "fails_after_an_output": "wrong result"}),
        (Success(), {"plain": "passes", "history_is_late": "crashes", "closing_message_lost": "passes"}),
        (Output(), {"plain": "passes", "executed_without_output": "crashes", "text_beside_a_picture": "crashes"}),
        (FirstOutput(), {"two_outputs": "crashes"}),
        (Twice(), {"plain": "wrong result"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_client_with_a_fault_fails_where_it_shows(client: Any, expected: dict[str, str]) -> None:
    assert verdicts(client, *expected) == expected


def test_a_hung_client_costs_no_more_than_its_time() -> None:
    begun = time.monotonic()
    report = check_client(lambda _url, _workflow: time.sleep(30), only=["plain"], timeout=0.5)
    assert time.monotonic() - begun < 10
    assert report.outcomes[0].verdict == "hangs"
    assert "(nothing came, and nothing was sent)" in report.outcomes[0].timeline


class Crashing:
    """A client that ends at once."""

    def run(self, _url: str, _workflow: Mapping[str, Any], _seconds: float) -> Ending:
        return Ending("crash", "no good")


def test_of_the_random_schedules_that_fail_only_the_smallest_found_is_reported() -> None:
    heard: list[Outcome] = []
    report = run(Crashing(), chosen(["quick", "refused"]), random=6, seed=5, done=heard.append)
    assert [(outcome.situation.name, outcome.verdict) for outcome in report.failed] == [
        ("quick", "crashes"),
        ("schedule:one_output", "crashes"),
    ]
    assert len(heard) == 2 + 6
    assert sum(not outcome.passed for outcome in heard) > 2  # of which but one is left
