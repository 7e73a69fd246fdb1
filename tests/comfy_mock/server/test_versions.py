"""An older version is a matter of data: the profile table switches what it did not have yet (protocol 10)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from comfy_mock import ComfyMock, CustomNode

IMAGE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 3}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "v"}},
}
AN_ID = "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    ("version", "jobs", "cancel", "subgraphs", "replacements", "assets"),
    [
        ("0.33.0", 200, 200, 200, 200, 503),
        ("0.8.0", 200, 405, 200, 404, 404),
        ("0.3.64", 404, 405, 404, 404, 404),
    ],
)
def test_a_version_has_the_routes_that_it_had(
    version: str, jobs: int, cancel: int, subgraphs: int, replacements: int, assets: int
) -> None:
    with ComfyMock(version=version) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/api/jobs").status_code == jobs
        assert client.post(f"/api/jobs/{AN_ID}/cancel").status_code == cancel
        assert client.get("/global_subgraphs").status_code == subgraphs
        assert client.get("/node_replacements").status_code == replacements
        assert client.get("/api/assets").status_code == assets


@pytest.mark.parametrize(("version", "status"), [("0.33.0", 400), ("0.8.0", 200)])
def test_any_prompt_id_was_good_once(version: str, status: int) -> None:
    with ComfyMock(version=version) as server:
        answer = httpx.post(f"{server.url}/prompt", json={"prompt": IMAGE, "prompt_id": "mine"})
        assert answer.status_code == status


def run(server: ComfyMock) -> list[dict[str, Any]]:
    with connect(f"{server.url.replace('http', 'ws')}/ws?clientId=c", proxy=None) as websocket:
        httpx.post(f"{server.url}/prompt", json={"prompt": IMAGE, "client_id": "c"})
        got = []
        while not got or got[-1]["type"] != "executing" or got[-1]["data"]["node"] is not None:
            got.append(json.loads(websocket.recv(timeout=20)))
        return got


def test_progress_state_and_create_time_came_with_a_version() -> None:
    with ComfyMock(version="0.3.40") as server:
        assert "progress_state" not in {message["type"] for message in run(server)}
        (entry,) = httpx.get(f"{server.url}/history").json().values()
        assert "create_time" not in entry["prompt"][3]
    with ComfyMock() as server:
        assert "progress_state" in {message["type"] for message in run(server)}
        (entry,) = httpx.get(f"{server.url}/history").json().values()
        assert isinstance(entry["prompt"][3]["create_time"], int)


@pytest.mark.parametrize("version", ["latest", "9.9"])
def test_a_version_that_cannot_be_played_is_said(version: str) -> None:
    with pytest.raises(ValueError, match=version):
        ComfyMock(version=version)


def refused(version: str, node: dict[str, Any]) -> dict[str, Any]:
    with ComfyMock(version=version) as server:
        answer = httpx.post(f"{server.url}/prompt", json={"prompt": {"7": node}})
    assert answer.status_code == 400
    return dict(answer.json()["error"])


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"inputs": {}}, "Cannot execute because a node is missing the class_type property."),
        ({"class_type": "Nope", "inputs": {}}, "Cannot execute because node Nope does not exist."),
        ({"class_type": None, "inputs": {}}, "Cannot execute because node None does not exist."),
    ],
)
def test_an_unknown_class_was_an_invalid_prompt(node: dict[str, Any], message: str) -> None:
    assert refused("0.8.0", node) == {
        "type": "invalid_prompt",
        "message": message,
        "details": "Node ID '#7'",
        "extra_info": {},
    }
    assert refused("0.33.0", node)["type"] == "missing_node_type"
    assert refused("0.8.0", {"class_type": "EmptyImage", "inputs": {}})["type"] == "prompt_no_outputs"


@pytest.mark.parametrize(("version", "has_tip"), [("0.33.0", True), ("0.8.0", False)])
def test_samplers_have_a_tip_about_shapes_since_a_version(version: str, has_tip: bool) -> None:
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with ComfyMock(version=version, clock="manual") as server:
        server.add_node(CustomNode("MySampler", {}, [], fail, output_node=True))
        httpx.post(f"{server.url}/prompt", json={"prompt": {"1": {"class_type": "MySampler", "inputs": {}}}})
        error = server.run_until("execution_error")
    assert ("CLIP Loader" in error.exception_message) is has_tip


@pytest.mark.parametrize(("version", "shown"), [("0.8.0", False), ("0.3.64", True)])
def test_keys_of_the_api_were_shown_while_a_prompt_waited(version: str, shown: bool) -> None:
    with ComfyMock(version=version, clock="manual") as server:
        extra_data = {"api_key_comfy_org": "secret", "mine": 1}
        httpx.post(f"{server.url}/prompt", json={"prompt": IMAGE, "extra_data": extra_data})
        (item,) = httpx.get(f"{server.url}/queue").json()["queue_pending"]
        assert ("api_key_comfy_org" in item[3]) is shown
        server.advance(60)
        (entry,) = httpx.get(f"{server.url}/history").json().values()
        assert entry["prompt"][3]["mine"] == 1
        assert "api_key_comfy_org" not in entry["prompt"][3]


@pytest.mark.parametrize(("version", "count"), [("0.3.64", 1), ("0.3.60", 2)])
def test_a_prompt_may_name_its_outputs_since_a_version(version: str, count: int) -> None:
    two = {**IMAGE, "3": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
    with ComfyMock(version=version, clock="manual") as server:
        httpx.post(f"{server.url}/prompt", json={"prompt": two, "partial_execution_targets": ["2"]})
        (item,) = httpx.get(f"{server.url}/queue").json()["queue_pending"]
    assert len(item[4]) == count


NEW_KEYS = {"is_input_list", "has_intermediate_output", "search_aliases", "dev_only", "essentials_category"}


def test_old_classes_had_fewer_keys_and_new_ones_all() -> None:
    def has_new(entry: dict[str, Any]) -> bool:
        return bool(NEW_KEYS & set(entry))

    with ComfyMock() as server:
        new = httpx.get(f"{server.url}/object_info").json()
    with ComfyMock(version="0.8.0") as server:
        old = httpx.get(f"{server.url}/object_info").json()
        one = httpx.get(f"{server.url}/object_info/KSampler").json()
    assert list(old) == list(new)
    assert one == {"KSampler": old["KSampler"]}
    assert all(has_new(entry) for entry in new.values())
    assert all(has_new(entry) == ("output_matchtypes" in entry) for entry in old.values())
    assert all(set(new[name]) - set(entry) <= NEW_KEYS for name, entry in old.items())


@pytest.mark.parametrize(("version", "scripts"), [("0.33.0", "no-store"), ("0.8.0", "no-cache")])
def test_scripts_might_be_kept_once(version: str, scripts: str) -> None:
    with ComfyMock(version=version) as server:
        assert httpx.get(f"{server.url}/userdata/none.js").headers["cache-control"] == scripts


@pytest.mark.parametrize(("version", "patch"), [("0.8.0", True), ("0.3.64", False)])
def test_patch_is_a_method_for_other_origins_since_a_version(version: str, patch: bool) -> None:
    with ComfyMock(version=version, enable_cors_header="*") as server:
        methods = httpx.options(f"{server.url}/prompt").headers["access-control-allow-methods"]
    assert methods == "POST, GET, DELETE, PUT, OPTIONS" + (", PATCH" if patch else "")
