"""An older version is a matter of data: the profile table switches what it did not have yet (protocol 10)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from comfy_mock import ComfyMock

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


def test_what_is_no_version_is_said() -> None:
    with pytest.raises(ValueError, match="newest"):
        ComfyMock(version="newest")
