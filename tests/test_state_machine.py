"""A server driven by real sockets, against a model of its queue, history, numbers and status messages (protocol 4).

The model knows the protocol's words alone: nothing of it was taken from the fake.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import Any, ClassVar

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from websockets.sync.client import ClientConnection, connect

from comfy_contracts import messages
from comfy_mock import ComfyMock

NUMBERS = st.sampled_from([0, 1, -1, 2.5, "3.5", -104, True])
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def picture(color: int) -> dict[str, Any]:
    """One node that runs and one that saves; no two colours share a result."""
    image = {"width": 8, "height": 8, "batch_size": 1, "color": color}
    return {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }


class Model:
    """What protocol 4 says of a server that runs one prompt after the other."""

    def __init__(self) -> None:
        self.counter = 0
        self.pending: list[tuple[float, str]] = []
        self.running: tuple[float, str] | None = None
        self.interrupted = False
        self.history: dict[str, str] = {}
        """How each prompt ended, by id, the oldest first."""
        self.statuses: list[int] = []
        """All `queue_remaining` that were told."""

    @property
    def remaining(self) -> int:
        return len(self.pending) + (self.running is not None)

    def told(self, times: int = 1) -> None:
        self.statuses += [self.remaining] * times

    def number(self, body: dict[str, Any]) -> float:
        """Spends a number, also for a prompt that will be refused (protocol 3.2)."""
        if "number" in body:
            return float(body["number"])
        self.counter += 1
        return -(self.counter - 1) if body.get("front") else self.counter - 1

    def accepted(self, number: float, prompt_id: str) -> None:
        self.pending.append((number, prompt_id))
        self.told()

    def take(self) -> None:
        """The worker takes the smallest: by number, then by id (4.1)."""
        self.running = min(self.pending)
        self.pending.remove(self.running)
        self.interrupted = False
        self.told()

    def end(self) -> None:
        assert self.running is not None
        prompt_id = self.running[1]
        self.running = None
        self.history[prompt_id] = "error" if self.interrupted else "success"
        self.told()

    def delete(self, prompt_id: str) -> None:
        found = [item for item in self.pending if item[1] == prompt_id]
        if found:
            self.pending.remove(found[0])
            self.told(1 if self.pending else 2)

    def clear(self) -> None:
        self.pending.clear()
        self.told()

    def slice(self, max_items: int | None, offset: int | None) -> list[str]:
        """Which entries `GET /history` shows (4.3)."""
        ids = list(self.history)
        if max_items is None:
            return ids[max(offset or 0, 0) :]
        if offset is None or offset < 0:
            return ids[-max_items:] if max_items else []
        return ids[offset : offset + max(max_items, 1)]


class Machine(RuleBasedStateMachine):
    """Everything that touches queue and history, in any order."""

    server: ClassVar[ComfyMock]
    client: ClassVar[httpx.Client]
    prompts = Bundle("prompts")

    @initialize(target=prompts, waiting=st.integers(0, 4), turns=st.integers(0, 3))
    def begin(self, waiting: int, turns: int) -> Any:
        self.server.reset(clock="manual")
        self.model = Model()
        self.colors = 0
        self.closing = contextlib.ExitStack()
        url = f"{self.server.url.replace('http', 'ws')}/ws?clientId=watcher"
        self.socket: ClientConnection = self.closing.enter_context(
            connect(url, proxy=None, compression=None, max_queue=None)
        )
        assert messages.decode(self.socket.recv(timeout=20)) == messages.Status(0, "watcher")
        self.seen: list[int] = []
        ids = [self.submit({}, None) for _ in range(waiting)]
        self.go_on_for_a_while(turns)
        return multiple(*ids)

    def teardown(self) -> None:
        if not hasattr(self, "closing"):
            return
        while self.model.remaining:
            self.go_on()
        self.statuses_were_told()
        for max_items, offset in ((None, None), (1, None), (2, -1), (2, 1), (0, 1), (None, 1)):
            self.history_is_as_it_should_be(max_items, offset)
        self.closing.close()

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.client.post(path, content=json.dumps(body))

    # -- prompts come

    @rule(
        target=prompts,
        body=st.fixed_dictionaries({}, optional={"number": NUMBERS, "front": st.booleans()}),
        own_id=st.none() | st.uuids(version=4),
    )
    def submit(self, body: dict[str, Any], own_id: uuid.UUID | None) -> str:
        self.colors += 1
        ids = {} if own_id is None else {"prompt_id": str(own_id)}
        answer = self.post("/prompt", {"prompt": picture(self.colors), **body, **ids})
        number = self.model.number(body)
        assert answer.status_code == 200
        told = answer.json()
        assert (told["number"], type(told["number"])) == (number, type(number))
        assert told["node_errors"] == {}
        assert own_id is None or told["prompt_id"] == str(own_id)
        assert str(uuid.UUID(told["prompt_id"])) == told["prompt_id"]
        self.model.accepted(number, told["prompt_id"])
        return str(told["prompt_id"])

    @rule(
        body=st.sampled_from([{"prompt": {}}, {}, {"prompt": picture(0), "prompt_id": "X"}]),
        extra=st.sampled_from([{}, {"front": True}, {"number": 5}]),
    )
    def submit_what_is_refused(self, body: dict[str, Any], extra: dict[str, Any]) -> None:
        self.model.number(extra)
        assert self.post("/prompt", {**body, **extra}).status_code == 400

    @rule(content=st.sampled_from(["", "{", "null", "5", '{"number": null}', '{"number": "many", "front": true}']))
    def submit_what_is_trouble(self, content: str) -> None:
        """These fail before a number is spent."""
        assert self.client.post("/prompt", content=content).status_code == 500

    # -- and go

    @rule(prompt_id=prompts | st.just(UNKNOWN))
    def delete(self, prompt_id: str) -> None:
        assert self.post("/queue", {"delete": [prompt_id]}).status_code == 200
        self.model.delete(prompt_id)

    @rule(prompt_id=prompts | st.just(UNKNOWN))
    def cancel(self, prompt_id: str) -> None:
        is_running = self.model.running is not None and self.model.running[1] == prompt_id
        is_there = is_running or any(prompt_id == each for _number, each in self.model.pending)
        answer = self.post(f"/api/jobs/{prompt_id}/cancel", {})
        assert answer.json() == {"cancelled": is_there}
        self.model.interrupted |= is_running
        self.model.delete(prompt_id)

    @rule()
    def clear(self) -> None:
        assert self.post("/queue", {"clear": True}).status_code == 200
        self.model.clear()

    @rule(body=st.sampled_from([{}, [], {"clear": False}, {"delete": []}]))
    def edit_nothing(self, body: Any) -> None:
        assert self.post("/queue", body).status_code == 200
        assert self.post("/history", body).status_code == 200

    @rule(prompt_id=prompts | st.just(UNKNOWN))
    def forget(self, prompt_id: str) -> None:
        assert self.post("/history", {"delete": [prompt_id]}).status_code == 200
        self.model.history.pop(prompt_id, None)

    @rule()
    def forget_all(self) -> None:
        assert self.post("/history", {"clear": True}).status_code == 200
        self.model.history.clear()

    # -- the worker

    @precondition(lambda self: self.model.remaining)
    @rule(times=st.integers(1, 4))
    def go_on_for_a_while(self, times: int) -> None:
        for _ in range(times):
            if self.model.remaining:
                self.go_on()

    def go_on(self) -> None:
        """Until the next prompt begins, or the running one has ended."""
        if self.model.running is None:
            self.model.take()
            assert self.model.running is not None
            self.server.run_until("execution_start", prompt_id=self.model.running[1])
        else:
            self.server.run_until("status")
            self.model.end()

    @rule()
    def interrupt(self) -> None:
        """It hits what runs, whatever that is, and nothing that comes later."""
        assert self.client.post("/interrupt").status_code == 200
        self.model.interrupted = self.model.running is not None

    @rule(prompt_id=prompts | st.just(UNKNOWN))
    def interrupt_one(self, prompt_id: str) -> None:
        assert self.post("/interrupt", {"prompt_id": prompt_id}).status_code == 200
        self.model.interrupted |= self.model.running is not None and self.model.running[1] == prompt_id

    # -- what must hold

    @rule(max_items=st.none() | st.integers(0, 4), offset=st.none() | st.integers(-1, 4))
    def history_is_as_it_should_be(self, max_items: int | None, offset: int | None) -> None:
        query = {key: value for key, value in (("max_items", max_items), ("offset", offset)) if value is not None}
        shown = self.client.get("/history", params=query).json()
        assert list(shown) == self.model.slice(max_items, offset)
        for prompt_id, entry in shown.items():
            assert entry["prompt"][1] == prompt_id
            assert entry["status"]["status_str"] == self.model.history[prompt_id]
            assert entry["status"]["completed"] is (self.model.history[prompt_id] == "success")
            assert ("2" in entry["outputs"]) is (self.model.history[prompt_id] == "success")

    @invariant()
    def the_queue_is_as_it_should_be(self) -> None:
        if not hasattr(self, "model"):
            return
        shown = self.client.get("/queue").json()
        assert [(item[0], item[1]) for item in shown["queue_running"]] == [
            item for item in [self.model.running] if item is not None
        ]
        pending = [(item[0], item[1]) for item in shown["queue_pending"]]
        assert sorted(pending) == sorted(self.model.pending)
        # the order of a heap: nobody is before his parent
        assert all(pending[(place - 1) // 2] <= pending[place] for place in range(1, len(pending)))

    @invariant()
    def the_statuses_are_as_they_should_be(self) -> None:
        if hasattr(self, "model"):
            self.statuses_were_told()

    def statuses_were_told(self) -> None:
        self.server.advance(0)
        assert self.socket.ping().wait(20)
        with contextlib.suppress(TimeoutError):
            while True:
                # the prompts have no client, so that everybody is told of their progress too
                message = messages.decode(self.socket.recv(timeout=0))
                if isinstance(message, messages.Status):
                    self.seen.append(message.queue_remaining)
        assert self.seen == self.model.statuses


def test_queue_and_history_are_those_of_the_protocol() -> None:
    examples = max(25, settings().max_examples // 4)  # each takes some dozen requests
    with (
        ComfyMock(clock="manual") as server,
        httpx.Client(base_url=server.url, trust_env=False, verify=False) as client,
    ):
        Machine.server, Machine.client = server, client
        run_state_machine_as_test(
            Machine,
            settings=settings(max_examples=examples, stateful_step_count=25, suppress_health_check=list(HealthCheck)),
        )


@pytest.mark.parametrize(
    ("max_items", "offset", "expected"),
    [
        (None, None, "01234"),
        (2, None, "34"),
        (2, 1, "12"),
        (2, 4, "4"),
        (2, 9, ""),
        (None, 2, "234"),
        (None, -3, "01234"),
        (0, None, ""),
        (0, 3, "3"),
    ],
)
def test_the_model_slices_as_the_table_of_the_protocol(
    max_items: int | None, offset: int | None, expected: str
) -> None:
    model = Model()
    model.history = dict.fromkeys("01234", "success")
    assert "".join(model.slice(max_items, offset)) == expected
