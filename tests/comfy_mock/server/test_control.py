"""The control API over real sockets: each operation, who may use it, and that its description tells the truth."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import json
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
import refresh_control_openapi
from refresh_control_openapi import script_schemas
from websockets.sync.client import connect

from comfy_mock import ComfyMock, Instance
from comfy_mock.engine.script.model import Script
from comfy_mock.script import on_node, on_request
from comfy_mock.server.control_actions import ACTIONS, openapi_text

OPENAPI: dict[str, Any] = json.loads(openapi_text())
PREFIX = "/__comfy_mock__"
PROMPT = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 3}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "c"}},
}


class Driver:
    """Drives a fake by HTTP; each answer must be as the description says, and so must each body that is taken."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url + PREFIX, headers=headers, timeout=20)
        self.used: set[tuple[str, str]] = set()

    def ask(self, method: str, path: str, body: Any = None, **arguments: Any) -> httpx.Response:
        if body is not None:
            arguments["json"] = body
        answer = self._client.request(method, path, **arguments)
        operation = OPENAPI["paths"].get(path, {}).get(method.lower())
        if operation is not None:
            self.used.add((method, path))
            validate_answer(operation, answer)
            if body is not None and answer.is_success:
                validate(operation["requestBody"]["content"]["application/json"]["schema"], body)
        return answer

    def __call__(self, method: str, path: str, body: Any = None, **arguments: Any) -> Any:
        answer = self.ask(method, path, body, **arguments)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.headers["content-type"].startswith("application/json") else answer.text

    def close(self) -> None:
        self._client.close()


def validate_answer(operation: dict[str, Any], answer: httpx.Response) -> None:
    described = operation["responses"][str(answer.status_code)]
    if "$ref" in described:
        described = OPENAPI["components"]["responses"][described["$ref"].rpartition("/")[2]]
    kind = answer.headers["content-type"].partition(";")[0]
    schema = described["content"][kind]["schema"]
    if kind == "application/json":
        validate(schema, answer.json())


def validate(schema: dict[str, Any], value: Any) -> None:
    jsonschema.Draft202012Validator({**schema, "components": OPENAPI["components"]}).validate(value)


@pytest.fixture
def server() -> Iterator[ComfyMock]:
    with ComfyMock() as running:
        yield running


@pytest.fixture
def drive(server: ComfyMock) -> Iterator[Driver]:
    driver = Driver(server.url)
    yield driver
    driver.close()


def post(server: ComfyMock, **more: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/prompt", json={"prompt": PROMPT, **more})


def test_the_script_by_http(server: ComfyMock, drive: Driver) -> None:
    rule = {"on": "request", "match": {"route": "GET /queue"}, "times": 1, "status": 500, "name": "once"}
    (use,) = drive("PUT", "/script", {"rules": [rule], "queue_paused": True})["rules"]
    assert (use["label"], use["unused"], use["legality"]) == ("once", True, "legal")
    assert drive("GET", "/state")["paused"] is True
    assert [httpx.get(f"{server.url}/queue").status_code for _ in range(2)] == [500, 200]
    assert drive("POST", "/script", {"on": "node", "steps": 3})["rules"][1]["rule"] == {"on": "node", "steps": 3}
    drive("POST", "/script", [{"on": "node", "priority": 1}])
    assert [use["rule"].get("priority") for use in drive("GET", "/state")["rules"]] == [1, None, None]
    assert drive("GET", "/script")["rules"] == [
        {"on": "node", "priority": 1},
        rule_in_order(rule),
        {"on": "node", "steps": 3},
    ]
    assert "- on: node\n" in drive.ask("GET", "/script", headers={"Accept": "application/yaml"}).text
    assert drive("DELETE", "/script", params={"name": "once"}) == {"removed": 1}
    assert drive("DELETE", "/script") == {"removed": 2}
    assert server.rules == []


def rule_in_order(rule: dict[str, Any]) -> dict[str, Any]:
    return {name: rule[name] for name in ("on", "name", "times", "match", "status")}


def test_a_script_in_yaml(server: ComfyMock, drive: Driver) -> None:
    text = "rules:\n- on: node\n  match: {node: 1}\n  text: no\n"
    drive("PUT", "/script", content=text, headers={"Content-Type": "application/yaml"})
    assert [use.rule for use in server.rules] == [on_node(node="1", text="no")]


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_wrong_script_changes_nothing(server: ComfyMock, drive: Driver, method: str) -> None:
    server.add_rules(on_request("GET /queue", status=500))
    answer = drive.ask(
        method, "/script", content='{"rules": [\n{"on": "node", "match": {"class_type": "KSampelr"}},\n{"on": "nod"}]}'
    )
    assert answer.status_code == 400
    (problem,) = answer.json()["problems"]
    assert (problem["path"], problem["line"]) == ("rules[1].on", 3)
    answer = drive.ask(method, "/script", {"rules": [{"on": "node", "match": {"class_type": "KSampelr"}}]})
    (problem,) = answer.json()["problems"]
    assert problem["text"].endswith("did you mean 'KSampler'?")
    assert problem["line"] == 1
    answer = drive.ask(method, "/script", {"rules": [{"on": "node", "previews": {"files": ["/etc/hostname"]}}]})
    assert "no files are read here" in answer.json()["error"]
    assert len(server.rules) == 1


def test_start_up_is_not_for_a_server_that_runs(drive: Driver) -> None:
    assert "start_up is for a start" in drive.ask("PUT", "/script", {"start_up": 1}).json()["error"]


def test_models_and_memory_follow_the_script(server: ComfyMock, drive: Driver) -> None:
    drive("PUT", "/script", {"models": [{"folder": "loras", "add": ["new.safetensors"]}], "memory": {"vram_free": 7}})
    assert "new.safetensors" in httpx.get(f"{server.url}/models/loras").json()
    assert httpx.get(f"{server.url}/system_stats").json()["devices"][0]["vram_free"] == 7
    answer = drive.ask("PUT", "/script", {"models": [{"folder": "loras", "remove": ["gone.safetensors"]}]})
    assert answer.status_code == 400
    assert "gone.safetensors" in answer.json()["error"]


def test_a_hold_and_its_release(server: ComfyMock, drive: Driver) -> None:
    drive(
        "PUT",
        "/script",
        {"rules": [{"on": "node", "match": {"node": "1"}, "steps": 3, "holds": [{"name": "h", "at_step": 2}]}]},
    )
    assert post(server).status_code == 200
    held = drive("POST", "/journal/wait", {"for": "hold", "name": "h"})
    assert (held["name"], held["held"]) == ("h", True)
    state = drive("GET", "/state")
    assert (state["held"], state["pending"]) == (["h"], 0)
    assert "release('h')" in state["standing"][0]
    refused = drive.ask("POST", "/release", {"name": "other"})
    assert (refused.status_code, refused.json()["error"]) == (400, "nothing is held under 'other'; the names are 'h'")
    assert drive("POST", "/release", {"name": "h"}) == {"released": 1}
    assert drive("POST", "/release", {"name": "h"}) == {"released": 0}
    drive("POST", "/journal/wait", {"for": "event", "event": "progress", "node": "1", "value": 3})
    assert drive("POST", "/release") == {"released": 0}


def test_the_queue_is_paused_and_resumed(server: ComfyMock, drive: Driver) -> None:
    assert drive("POST", "/pause") == {"paused": True}
    prompt_id = post(server).json()["prompt_id"]
    assert drive("GET", "/state")["pending"] == 1
    assert drive("POST", "/resume") == {"paused": False}
    drive("POST", "/journal/wait", {"for": "event", "event": "execution_success", "prompt_id": prompt_id})


def test_time_by_the_manual_clock(server: ComfyMock, drive: Driver) -> None:
    assert drive.ask("POST", "/advance", {"seconds": 1}).status_code == 409
    drive("POST", "/reset", {"clock": "manual", "script": {"rules": [{"on": "node", "steps": 3, "step_time": 1}]}})
    before = drive("GET", "/state")
    assert before["clock"] == "manual"
    assert drive("POST", "/advance", {"seconds": 1.5}) == {"now": before["now"] + 1.5}
    prompt_id = post(server).json()["prompt_id"]
    come = drive("POST", "/run_until", {"event": "progress", "value": 2, "prompt_id": prompt_id})
    assert (come["type"], come["data"]["value"]) == ("progress", 2)
    assert come["now"] > before["now"] + 3.5
    assert drive("POST", "/run_until", {"event": "executing", "node": None})["data"]["node"] is None
    answer = drive.ask("POST", "/run_until", {"event": "progress"})
    assert answer.status_code == 409
    assert "the server is at rest" in answer.json()["error"]


def test_a_reset_keeps_what_it_does_not_change() -> None:
    with ComfyMock(clock="manual", models={"loras": ["mine.safetensors"]}, script=Script(queue_paused=True)) as server:
        drive = Driver(server.url)
        drive("POST", "/script", {"on": "node", "steps": 3})
        drive("POST", "/reset")
        state = drive("GET", "/state")
        assert (state["clock"], state["rules"], state["paused"]) == ("manual", [], True)
        drive("POST", "/reset", {"script": {"rules": [{"on": "node", "steps": 3}]}})
        state = drive("GET", "/state")
        assert (state["clock"], len(state["rules"]), state["paused"]) == ("manual", 1, False)
        assert httpx.get(f"{server.url}/models/loras").json() == ["mine.safetensors"]
        drive("POST", "/reset")
        assert len(drive("GET", "/state")["rules"]) == 1
        for wrong, expected in (
            ({"sed": 3}, "did you mean 'seed'?"),
            ({"storage": "/tmp"}, "there is no 'storage' here"),
            ({"seed": "x"}, "seed must be a whole number"),
            ({"script": "a.yaml"}, "`script` is an object"),
            ({"clock": "quartz"}, "there is no clock 'quartz'"),
        ):
            answer = drive.ask("POST", "/reset", wrong)
            assert answer.status_code == 400
            assert expected in answer.json()["error"]
        drive.close()


def test_a_restart_and_a_server_that_is_down(server: ComfyMock, drive: Driver) -> None:
    prompt_id = post(server).json()["prompt_id"]
    drive("POST", "/journal/wait", {"for": "event", "event": "execution_success"})
    drive("POST", "/restart", {"down": 60})
    assert drive("GET", "/state")["down"] is True
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{server.url}/queue")
    drive("POST", "/restart")
    assert drive("GET", "/state")["down"] is False
    assert httpx.get(f"{server.url}/history/{prompt_id}").json() == {}
    assert drive.ask("POST", "/restart", {"down": -1}).status_code == 400


def test_a_message_is_pushed(server: ComfyMock, drive: Driver) -> None:
    with connect(server.url.replace("http", "ws") + "/ws?clientId=me", proxy=None) as websocket:
        websocket.recv(timeout=20)
        drive("POST", "/push", {"type": "my.event", "data": {"a": [1]}, "client_id": "me"})
        drive("POST", "/push", {"type": "bare"})
        drive("POST", "/push", {"event": 1001, "data": base64.b64encode(b"hello").decode()})
        assert json.loads(websocket.recv(timeout=20)) == {"type": "my.event", "data": {"a": [1]}}
        assert json.loads(websocket.recv(timeout=20)) == {"type": "bare"}
        assert websocket.recv(timeout=20) == (1001).to_bytes(4, "big") + b"hello"
    events = drive("GET", "/journal/events", params={"event": "my.event"})["events"]
    assert [event["connections"] for event in events] == [[1]]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "give `type` for a JSON message, or `event`"),
        ({"type": 1}, "`type` must be a text"),
        ({"event": -1}, "`event` must be a number of 32 bits"),
        ({"event": 1, "data": "?"}, "must be base64"),
        ({"type": "a", "client_id": 1}, "`client_id` is a text"),
        ({"typ": "a"}, "there is no 'typ' here; did you mean 'type'?"),
        ([], "the body is a JSON object, or nothing"),
    ],
)
def test_what_cannot_be_pushed(drive: Driver, body: Any, expected: str) -> None:
    answer = drive.ask("POST", "/push", body)
    assert answer.status_code == 400
    assert expected in answer.json()["error"]


def test_the_journal_by_http(server: ComfyMock, drive: Driver) -> None:
    prompt_id = post(server, client_id="me").json()["prompt_id"]
    assert httpx.post(f"{server.url}/prompt", json={"prompt": {}}).status_code == 400
    assert httpx.get(f"{server.url}/not/there").status_code == 404
    with connect(server.url.replace("http", "ws") + "/ws?clientId=me", proxy=None) as websocket:
        websocket.recv(timeout=20)
        assert [
            socket["client_id"] for socket in drive("GET", "/journal/sockets", params={"open": "true"})["sockets"]
        ] == ["me"]
    drive("POST", "/journal/wait", {"for": "socket", "open": False})
    drive("POST", "/journal/wait", {"for": "event", "event": "executing", "node": None})
    first, second = drive("GET", "/journal/requests", params={"route": "POST /prompt"})["requests"]
    assert (first["status"], first["body"]["json"]["client_id"], first["answer"]["json"]["prompt_id"]) == (
        200,
        "me",
        prompt_id,
    )
    assert second["status"] == 400
    assert drive("GET", "/journal/requests", params={"status": "400"})["requests"] == [second]
    (prompt,) = drive("GET", "/journal/prompts", params={"class_type": "SaveImage"})["prompts"]
    assert (prompt["prompt_id"], prompt["place"], prompt["graph"]) == (prompt_id, 1, PROMPT)
    (refused,) = drive("GET", "/journal/prompts", params={"accepted": "false"})["prompts"]
    assert refused["refusal"]["error"]["type"] == "prompt_no_outputs"
    assert len(drive("GET", "/journal/prompts", params={"accepted": "any"})["prompts"]) == 2
    assert [request["path"] for request in drive("GET", "/journal/unserved")["requests"]] == ["/not/there"]
    events = drive("GET", "/journal/events", params={"event": "executed", "node": "2"})["events"]
    assert [event["data"]["node"] for event in events] == ["2"]
    text = drive("GET", "/journal/timeline")
    assert "POST /prompt" in text
    assert PREFIX not in text
    assert not any("__comfy" in request["path"] for request in drive("GET", "/journal/requests")["requests"])


def test_waiting_for_what_does_not_come(drive: Driver) -> None:
    answer = drive.ask("POST", "/journal/wait", {"for": "request", "route": "GET /queue", "timeout": 0.01})
    assert answer.status_code == 408
    assert "there was not what was waited for" in answer.json()["error"]
    assert "did you mean 'event'?" in drive.ask("POST", "/journal/wait", {"for": "evnt"}).json()["error"]
    assert drive.ask("POST", "/journal/wait", {"for": "request", "rout": "a"}).status_code == 400
    assert drive.ask("GET", "/journal/requests", params={"status": "x"}).status_code == 400
    assert drive.ask("GET", "/journal/requests", params={"stat": "1"}).status_code == 400


def test_waiting_ends_with_what_is_waited_for(server: ComfyMock, drive: Driver) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(drive, "POST", "/journal/wait", {"for": "request", "route": "GET /queue", "count": 2})
        while not waiting.done():
            httpx.get(f"{server.url}/queue")
        assert waiting.result()["path"] == "/queue"


def test_faults_leave_it_alone(server: ComfyMock, drive: Driver) -> None:
    drive("PUT", "/script", {"rules": [{"on": "request", "status": 500}]})
    assert httpx.get(f"{server.url}/queue").status_code == 500
    assert drive("GET", "/state")["rules"][0]["served"] == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/stat", 404),
        ("DELETE", "/state", 405),
        ("HEAD", "/state", 200),
        ("GET", "/reset", 405),
    ],
)
def test_other_paths_and_methods(drive: Driver, method: str, path: str, status: int) -> None:
    answer = drive.ask(method, path)
    assert answer.status_code == status
    assert bool(answer.content) is (method != "HEAD")


# -- who may


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "rebound.example", "Origin": "http://rebound.example"},
    ],
)
def test_pages_of_other_origins_are_refused(server: ComfyMock, headers: dict[str, str]) -> None:
    assert httpx.get(f"{server.url}{PREFIX}/state", headers=headers).status_code == 403
    assert httpx.post(f"{server.url}{PREFIX}/reset", headers=headers).status_code == 403


def test_pages_of_its_own_are_not(server: ComfyMock) -> None:
    for headers in ({"Origin": server.url}, {"Host": "localhost:1", "Sec-Fetch-Site": "same-origin"}):
        assert httpx.get(f"{server.url}{PREFIX}/state", headers=headers).status_code == 200


def test_a_token() -> None:
    with ComfyMock(control_token="secret") as server:
        assert httpx.get(f"{server.url}{PREFIX}/state").status_code == 401
        assert httpx.get(f"{server.url}{PREFIX}/state", headers={"Authorization": "Bearer no"}).status_code == 401
        drive = Driver(server.url, Authorization="Bearer secret")
        drive("GET", "/state")
        drive("POST", "/reset", {"version": "0.8.0"})
        assert drive("GET", "/state")["comfyui"] == "0.8.0"
        drive.close()
        assert httpx.get(f"{server.url}{PREFIX}/state").status_code == 401


def test_an_empty_token_is_none() -> None:
    with pytest.raises(ValueError, match="control_token cannot be empty"):
        Instance(control_token="")


def test_without_it_the_routes_are_a_real_servers() -> None:
    with ComfyMock(control=False) as server:
        answer = httpx.get(f"{server.url}{PREFIX}/state")
        assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize(
    ("client", "status"), [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("10.0.0.7", 403)]
)
def test_other_machines_need_a_token(client: str, status: int) -> None:
    async def state(server: Instance, **headers: str) -> int:
        transport = httpx.ASGITransport(server.app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as asking:
            return (await asking.get(f"{PREFIX}/state", headers=headers)).status_code

    assert asyncio.run(state(Instance())) == status
    assert asyncio.run(state(Instance(control_token="x"), authorization="Bearer x")) == 200


# -- its description


def test_the_description_has_every_operation_and_no_other(drive: Driver) -> None:
    described = {(method.upper(), path) for path, methods in OPENAPI["paths"].items() for method in methods}
    assert described == set(ACTIONS)
    assert drive("GET", "/openapi.json") == OPENAPI
    assert OPENAPI["openapi"] == "3.1.0"
    assert OPENAPI["servers"] == [{"url": PREFIX}]
    ids = [operation["operationId"] for methods in OPENAPI["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


def test_its_scripts_are_those_of_the_model() -> None:
    described = OPENAPI["components"]["schemas"]
    parts = script_schemas()
    stale = [name for name in parts if described.get(name) != parts[name]]
    assert not stale, f"run python {refresh_control_openapi.__file__}"


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_what_it_refers_to_is_there() -> None:
    found = set(references(OPENAPI))
    for reference in found:
        target: Any = OPENAPI
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        assert isinstance(target, dict)
    for name, schema in OPENAPI["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert f"#/components/schemas/{name}" in found


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("/journal/wait", '{"for": "request", "route": 5}', "route of requests is a text, not 5"),
        ("/journal/wait", '{"for": "request", "headers": [1]}', "headers of requests is a mapping"),
        ("/journal/wait", '{"for": "event", "node": 4}', "node of messages is a text or None"),
        ("/journal/wait", '{"for": "event", "count": 0}', "one waits for 1 record or more"),
        ("/reset", b"\xff\xfe", "the body cannot be read"),
        ("/reset", '{"clock": 5}', "a clock is 'instant', 'real', 'manual'"),
        ("/reset", '{"speed": "fast"}', "speed must be above 0"),
        ("/script", b"\xff", "the body cannot be read"),
    ],
)
def test_what_cannot_be_read_is_answered_400(drive: Driver, path: str, content: str | bytes, expected: str) -> None:
    answer = drive.ask("POST", path, content=content)  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert expected in answer.json()["error"]


@pytest.mark.parametrize("headers", [{"Host": "["}, {"Origin": "http://["}])
def test_a_header_that_is_no_address(server: ComfyMock, headers: dict[str, str]) -> None:
    answer = httpx.get(f"{server.url}/__comfy_mock__/state", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "the headers Host and Origin must be those of a URL")
