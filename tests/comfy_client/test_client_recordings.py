"""Both clients against every recording of a real server: each prompt comes to the recorded end, by either path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from both_clients import PACE, Kind, client_of
from misbehaving import serving
from recorded_server import Post, RecordedServer, posts_of, sockets_of

from comfy_client import ExecutionFailed, ExecutionInterrupted, PromptRejected
from comfy_client import events as ev
from comfy_contracts import har

WAIT = 20
HURRIED = replace(PACE, poll_interval=0.02, watch_interval=0.1, lost_after=0.1, entry_after=0.1)
"""Each prompt that was deleted, or whose entry was not recorded, is waited for so long."""

RECORDINGS = {name: har.load(file) for name, file in har.packaged_recordings("0.33.0").items()}
WITH_PROMPTS = [name for name, recording in RECORDINGS.items() if posts_of(recording)]


def client_id_of(recording: har.Har) -> str | None:
    """The client whose socket was recorded first, of those that posted a prompt."""
    return next(
        (post.body["client_id"] for post in posts_of(recording) if isinstance(post.body.get("client_id"), str)), None
    )


def submitted(client: Any, post: Post, path: str) -> Any:
    body = post.body
    return client.submit(
        body["prompt"], path=path, targets=body.get("partial_execution_targets"), extra_data=body.get("extra_data")
    )


def test_there_is_something_to_replay() -> None:
    assert len(WITH_PROMPTS) > 45
    recordings = [RECORDINGS[name] for name in WITH_PROMPTS]
    posts = [post for recording in recordings for post in posts_of(recording, client_id_of(recording))]
    assert {post.ending() for post in posts} >= {"success", "error", "interrupted", None}


@pytest.mark.parametrize("name", WITH_PROMPTS)
@pytest.mark.parametrize(("kind", "path"), [("async", "websocket"), ("blocking", "auto"), ("blocking", "polling")])
def test_each_prompt_comes_to_its_recorded_end(name: str, kind: Kind, path: str) -> None:
    recording = RECORDINGS[name]
    server = RecordedServer(recording, client_id_of(recording) if path != "polling" else None)
    if path == "polling":
        for post in server.posts:
            post.messages.clear()  # no socket tells of them: the history has them at once
    with serving(server) as (url, _), client_of(kind, url, client_id=server.client_id, pace=HURRIED) as client:
        jobs = []
        for post in server.posts:
            if post.status == 400:
                with pytest.raises(PromptRejected) as caught:
                    submitted(client, post, path)
                assert caught.value.error.to_builtins() == post.answer["error"]
                assert {key: value.to_builtins() for key, value in caught.value.node_errors.items()} == post.answer[
                    "node_errors"
                ]
            else:
                jobs.append((post, submitted(client, post, path)))
        for post, job in jobs:
            if post.history is None and len(sockets_of(recording, server.client_id)) > 1:
                # What was told between two sockets is lost, and no history was recorded to make up for it.
                assert job.wait(WAIT) in (post.ending(), "lost")
            else:
                check(post, job)


def check(post: Post, job: Any) -> None:
    events = list(job.events())
    assert {event.prompt_id for event in events} == {job.prompt_id}
    outcome = post.ending() or "lost"
    assert events[-1] == ev.Ended(job.prompt_id, outcome)
    assert job.wait(WAIT) == outcome
    if outcome == "success":
        result = job.result(WAIT)
        if post.history is not None:
            assert result.outputs == post.history["outputs"]
        else:
            shown = [message["data"] for message in post.messages if message["type"] == "executed"]
            assert result.outputs == {data["node"]: data["output"] for data in shown if data["output"] is not None}
    elif outcome == "error":
        with pytest.raises(ExecutionFailed) as failed:
            job.result(WAIT)
        messages = [(message["type"], message["data"]) for message in post.messages]
        told = post.history["status"]["messages"] if post.history else messages
        (said,) = [data for kind, data in told if kind == "execution_error" and "timestamp" in data]
        assert failed.value.details.to_builtins() == {**said, "prompt_id": job.prompt_id}
    elif outcome == "interrupted":
        with pytest.raises(ExecutionInterrupted):
            job.result(WAIT)
