"""Whatever clients do: the engine, the app and the server say the same, to the byte.

Nothing is made equal before it is compared. What is not compared: of the bare engine, which has no HTTP, the headers
but `Content-Type`; of the app, which has no connection, the headers `Connection` and `Transfer-Encoding`.

A program that fails is shown and saved (docs/strategies.md). To run a saved one:

    COMFY_MOCK_PROGRAM=program.jsonl pytest tests/test_agreement.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from comfy_contracts.catalogue import Catalogue
from comfy_mock import ComfyMock
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.options import Options
from program_runners import Said, Transcript, on_app, on_engine, on_server
from programs import LAST, Program, Step, load, programs, save, text_of

SAVED = Path(os.environ.get("COMFY_MOCK_SAVE_PROGRAM", ".hypothesis/failing-program.jsonl"))
OF_THE_NETWORK = ("connection", "transfer-encoding")
CATALOGUE = Catalogue(Engine(Options(), now=0.0).object_info.entries())


class Disagreement(AssertionError):
    """Two servers said different things."""


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyMock]:
    with ComfyMock(clock="manual") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: ComfyMock) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, verify=False) as client:
        yield client


def agree(program: Program, server: ComfyMock, client: httpx.Client) -> list[Transcript]:
    """Run it, and what every program ends with, on all three.

    Raises `Disagreement` with the program, and saves it, where they do not say the same.
    """
    whole = program + LAST
    told = {"engine": on_engine(whole), "app": on_app(whole), "server": on_server(whole, server, client)}
    for name in ("engine", "server"):
        problem = difference(whole, "app", told["app"], name, told[name])
        if problem is not None:
            save(program, SAVED)
            raise Disagreement(
                f"{problem}\n\nthe program:\n{text_of(program)}\n"
                f"it is saved: COMFY_MOCK_PROGRAM={SAVED} pytest tests/test_agreement.py"
            )
    return list(told.values())


def difference(program: Program, name: str, one: Transcript, other_name: str, other: Transcript) -> str | None:
    """The first difference of two transcripts, or None."""
    for place, (step, said, said_too) in enumerate(zip(program, one.answers, other.answers, strict=True), 1):
        if shown(said, said_too) != shown(said_too, said):
            return f"step {place} {step}:\n  {name}: {shown(said, said_too)}\n  {other_name}: {shown(said_too, said)}"
    for place, (got, got_too) in enumerate(zip_longest(one.sockets, other.sockets)):
        for message, (data, data_too) in enumerate(zip_longest(got or (), got_too or ()), 1):
            if data != data_too:
                return f"message {message} to socket {place}:\n  {name}: {data!r}\n  {other_name}: {data_too!r}"
    return None


def shown(said: Said | None, beside: Said | None) -> Any:
    """What of an answer is compared with one beside it."""
    if said is None:
        return None
    headers: Any = None
    if said.headers is not None and beside is not None and beside.headers is not None:
        headers = sorted((key, value) for key, value in said.headers if key.lower() not in OF_THE_NETWORK)
    return said.status, said.content_type, said.body, headers


@settings(max_examples=max(50, settings().max_examples // 2), suppress_health_check=list(HealthCheck))
@given(program=programs(CATALOGUE))
def test_engine_app_and_server_say_the_same(server: ComfyMock, client: httpx.Client, program: Program) -> None:
    agree(program, server, client)


PICTURE = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 3}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "ComfyUI"}},
}
SIZED = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 4, "batch_size": 1, "color": 4}},
    "2": {"class_type": "GetImageSize", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 0]}},
}
EVERYTHING: list[Step] = [
    {"do": "connect", "client": "a"},
    {"do": "connect", "client": "b"},
    {"do": "say", "socket": 0, "text": '{"type": "feature_flags", "data": {"supports_preview_metadata": true}}'},
    {"do": "submit", "body": {"prompt": PICTURE, "client_id": "a"}},
    {"do": "submit", "body": {"prompt": PICTURE, "client_id": "b", "front": True}},
    {"do": "submit", "body": {"prompt": PICTURE, "number": "7.5"}},
    {"do": "queue", "body": {"delete": ["$3"]}},
    {"do": "wait", "seconds": 60.0},
    {"do": "read", "path": "/history/$2"},
    {"do": "read", "path": "/view?filename=ComfyUI_00001_.png"},
    {"do": "read", "path": "/api/jobs"},
    {"do": "upload", "name": "up.png", "color": 1, "overwrite": False},
    {"do": "upload", "name": "up.png", "color": 2, "overwrite": False},
    {"do": "connect", "client": "a"},
    {"do": "disconnect", "socket": 0},
    {"do": "submit", "body": {"prompt": {}}},
    {"do": "interrupt", "body": {}},
    {"do": "free", "body": []},
    {"do": "submit", "body": {"prompt": SIZED, "client_id": "b"}},
]


def test_a_program_does_what_it_says(server: ComfyMock, client: httpx.Client) -> None:
    """Else all could agree on nothing."""
    for told in agree(EVERYTHING, server, client):
        statuses = [None if said is None else said.status for said in told.answers[: len(EVERYTHING)]]
        assert statuses == [None, None, None, 200, 200, 200, 200, None, *[200] * 5, None, None, 400, 200, 500, 200]
        assert len(told.ids) == 4
        first, second, third = told.sockets
        for kind in ("execution_start", "execution_success", "feature_flags"):
            assert sum(f'"type": "{kind}"' in str(text) for text in first) == 1
        assert sum('"type": "executed"' in str(text) for text in second) == 2
        assert sum(isinstance(data, bytes) for data in second) == 1
        # when the first socket of its client closed, the second one was forgotten (protocol 6.2)
        assert len(third) == 1
        answers = [said.body for said in told.answers if said is not None]
        assert told.ids[1].encode() in answers[4]
        assert answers[5].startswith(b"\x89PNG")
        assert b'"up.png"' in answers[7]
        assert b'"up (1).png"' in answers[8]


def test_a_disagreement_is_shown_saved_and_can_be_replayed(
    server: ComfyMock, client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program: Program = [{"do": "read", "path": "/queue"}, {"do": "connect", "client": "a"}]
    path = tmp_path / "new" / "program.jsonl"
    monkeypatch.setattr("test_agreement.SAVED", path)
    with monkeypatch.context() as broken:
        broken.setattr("comfy_mock.engine.queue.PromptQueue.shown", lambda _queue: {"wrong": id(_queue)})
        with pytest.raises(Disagreement) as caught:
            agree(program, server, client)
    assert str(caught.value).startswith("step 1 {'do': 'read', 'path': '/queue'}:\n  app: (200, ")
    assert f"the program:\n{text_of(program)}" in str(caught.value)
    assert load(path) == program
    agree(load(path), server, client)


if "COMFY_MOCK_PROGRAM" in os.environ:

    def test_a_saved_program(server: ComfyMock, client: httpx.Client) -> None:
        agree(load(Path(os.environ["COMFY_MOCK_PROGRAM"])), server, client)
