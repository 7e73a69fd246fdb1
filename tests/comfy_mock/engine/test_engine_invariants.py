"""Any sequence of verbs keeps what must hold of a server (protocol 4, 5, 6)."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from engine_driver import NOW, recorded_engine
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from comfy_contracts import messages

TERMINAL = (messages.ExecutionSuccess, messages.ExecutionError, messages.ExecutionInterrupted)


def image_prompt(color: int, prefix: str = "p") -> dict[str, Any]:
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 2, "color": color}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": prefix}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }


def sampler_prompt(seed: int) -> dict[str, Any]:
    return {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "cfg": 8,
                "denoise": 1,
                "latent_image": ["5", 0],
                "model": ["4", 0],
                "negative": ["6", 0],
                "positive": ["6", 0],
                "sampler_name": "euler",
                "scheduler": "normal",
                "seed": seed,
                "steps": 5,
            },
        },
        "4": {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"},
        },
        "5": {"class_type": "EmptyLatentImage", "inputs": {"batch_size": 1, "height": 64, "width": 64}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["4", 1], "text": "x"}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "s", "images": ["8", 0]}},
    }


PROMPTS = st.one_of(
    st.builds(image_prompt, st.integers(0, 2)),
    st.builds(sampler_prompt, st.integers(0, 2)),
    st.just(image_prompt(5, "../../out")),
)
CLIENTS = st.sampled_from(["a", "b", None])


class AnyProgram(RuleBasedStateMachine):
    """Submits, interrupts, deletes, clears, connects, disconnects and advances in any order."""

    prompts = Bundle("prompts")
    sockets = Bundle("sockets")

    @initialize()
    def start(self) -> None:
        self.engine = recorded_engine()
        self.now = NOW
        self.accepted: list[str] = []
        self.deleted: Counter[str] = Counter()
        self.watcher = self.engine.connect("watcher")
        self.seen: list[Any] = []
        self.remaining = 0

    def collect(self) -> None:
        for outgoing in self.engine.take_outgoing():
            assert outgoing.sockets, "a message without anybody to get it"
            if self.watcher in outgoing.sockets:
                self.seen.append(outgoing.payload)
                if isinstance(outgoing.payload, messages.Status):
                    self.remaining = outgoing.payload.queue_remaining

    def pending_ids(self) -> list[str]:
        return [item.prompt_id for item in self.engine.queue.pending]

    @rule(target=prompts, prompt=PROMPTS, client=CLIENTS, front=st.booleans(), number=st.none() | st.integers(-2, 2))
    def submit(self, prompt: dict[str, Any], client: str | None, front: bool, number: int | None) -> str:
        body: dict[str, Any] = {"prompt": prompt, "front": front}
        if client is not None:
            body["client_id"] = client
        if number is not None:
            body["number"] = number
        answer = self.engine.submit(body)
        assert answer.status == 200, answer.body
        prompt_id: str = json.loads(answer.body)["prompt_id"]
        self.accepted.append(prompt_id)
        return prompt_id

    @rule(prompt=PROMPTS)
    def submit_for_the_watcher(self, prompt: dict[str, Any]) -> None:
        answer = self.engine.submit({"prompt": prompt, "client_id": "watcher"})
        self.accepted.append(json.loads(answer.body)["prompt_id"])

    @rule()
    def submit_something_wrong(self) -> None:
        before = len(self.engine.queue)
        assert self.engine.submit({"prompt": {"1": {"class_type": "PreviewImage", "inputs": {}}}}).status == 400
        assert len(self.engine.queue) == before

    @rule()
    def interrupt(self) -> None:
        self.engine.interrupt()

    @rule(prompt_id=prompts)
    def interrupt_one(self, prompt_id: str) -> None:
        self.engine.interrupt(prompt_id)

    @rule(prompt_id=prompts)
    def delete(self, prompt_id: str) -> None:
        was_pending = prompt_id in self.pending_ids()
        self.engine.edit_queue({"delete": [prompt_id]})
        self.deleted[prompt_id] += was_pending
        assert prompt_id not in self.pending_ids()

    @rule()
    def clear(self) -> None:
        self.deleted.update(self.pending_ids())
        self.engine.edit_queue({"clear": True})
        assert not self.engine.queue.pending

    @rule(target=sockets, client=st.sampled_from(["a", "b"]))
    def connect(self, client: str) -> int:
        return self.engine.connect(client)

    @rule(socket=consumes(sockets))
    def disconnect(self, socket: int) -> None:
        self.engine.disconnect(socket)

    @rule(socket=sockets, data=st.sampled_from(['{"type": "feature_flags"}', "x", "[]", "5"]) | st.binary(max_size=8))
    def say(self, socket: int, data: str | bytes) -> None:
        self.engine.receive(socket, data)

    @rule(seconds=st.sampled_from([0.0, 0.0005, 0.001, 0.01, 0.2, 1.0, 60.0]))
    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.engine.advance(self.now)
        assert self.engine.now == self.now

    @invariant()
    def every_prompt_is_in_one_place(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.collect()
        running = self.engine.queue.running
        places = Counter(self.pending_ids())
        places.update(list(self.engine.queue.history))
        places += self.deleted
        if running is not None:
            places[running.prompt_id] += 1
        assert places == Counter(self.accepted)

    @invariant()
    def queue_remaining_is_true(self) -> None:
        if hasattr(self, "engine"):
            waiting = len(self.engine.queue.pending) + (self.engine.queue.running is not None)
            assert self.engine.queue_remaining == waiting
            assert self.remaining == waiting

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        while (due := self.engine.next_wakeup()) is not None:
            self.engine.advance(due)
        self.collect()
        assert self.engine.queue_remaining == 0
        assert self.remaining == 0
        self.check_runs()
        self.check_files()

    def check_runs(self) -> None:
        """The events of each prompt that the watcher owns are well ordered."""
        owned = [
            prompt_id
            for prompt_id, entry in self.engine.queue.history.items()
            if entry["prompt"][3].get("client_id") == "watcher"
        ]
        for prompt_id in owned:
            events = [event for event in self.seen if getattr(event, "prompt_id", None) == prompt_id]
            assert isinstance(events[0], messages.ExecutionStart)
            assert isinstance(events[1], messages.ExecutionCached)
            ends = [event for event in events if isinstance(event, TERMINAL)]
            assert events[-2:] == [ends[0], messages.Executing(node=None, prompt_id=prompt_id)]
            assert len(ends) == 1
            executing = {event.node for event in events if isinstance(event, messages.Executing)}
            finished = {
                node
                for event in events
                if isinstance(event, messages.ProgressState)
                for node, state in event.nodes.items()
                if state.state == "finished"
            }
            assert not finished & set(events[1].nodes) & executing, "a cached node was executed"
            values = [(e.node, e.value) for e in events if isinstance(e, messages.Progress)]
            assert values == sorted(values)

    def check_files(self) -> None:
        for entry in self.engine.queue.history.values():
            for ui in entry["outputs"].values():
                for item in ui.get("images", ()):
                    folder = self.engine.folders.of_type(item["type"])
                    path = "/".join(part for part in (folder, item["subfolder"], item["filename"]) if part)
                    assert self.engine.files.read(path).startswith(b"\x89PNG")


TestAnyProgram = AnyProgram.TestCase
