"""Runs prompts on a bare engine and tells what its client got, in the notation of protocol 6.10."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comfy_contracts import messages
from comfy_contracts.frames import PreviewFrame, PreviewWithMetadata, TextFrame
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.nodes.api import Behaviour, Rule
from comfy_mock.engine.options import Options

NOW = 1_767_225_600.0
CLIENT = "0123456789abcdef0123456789abcdef"
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def image(color: int = 1, **inputs: Any) -> dict[str, Any]:
    return node("EmptyImage", **{"width": 8, "height": 8, "batch_size": 1, "color": color, **inputs})


def text_to_image(steps: int = 2, width: int = 64, height: int = 64, seed: int = 1) -> dict[str, Any]:
    """The default graph of protocol 5.4, inputs in alphabetical order."""
    return {
        "3": node(
            "KSampler",
            cfg=8,
            denoise=1,
            latent_image=["5", 0],
            model=["4", 0],
            negative=["7", 0],
            positive=["6", 0],
            sampler_name="euler",
            scheduler="normal",
            seed=seed,
            steps=steps,
        ),
        "4": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "5": node("EmptyLatentImage", batch_size=1, height=height, width=width),
        "6": node("CLIPTextEncode", clip=["4", 1], text="a"),
        "7": node("CLIPTextEncode", clip=["4", 1], text="b"),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="x", images=["8", 0]),
    }


class Watch:
    """An engine, and a client of it that notes what it gets."""

    def __init__(self, **options: Any) -> None:
        self.engine = Engine(Options(**options), now=NOW)
        self.socket = self.engine.connect(CLIENT)
        self.engine.take_outgoing()

    def add(
        self,
        class_type: str,
        rule: Rule,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = ("*",),
        *,
        lists: Sequence[bool] = (),
        hidden: Mapping[str, str] | None = None,
        **keys: Any,
    ) -> None:
        """Add a V1 class whose required inputs and outputs take anything; `keys` go into its `/object_info`."""
        seconds = keys.pop("seconds", 0.002)
        entry = {
            "input": {"required": {name: ["*", {}] for name in inputs}, "hidden": dict(hidden or {})},
            "output": list(outputs),
            "output_is_list": list(lists) or [False] * len(outputs),
            "output_name": list(outputs),
            **keys,
        }
        self.engine.add_node(class_type, entry, Behaviour(rule, seconds))

    def post(self, prompt: Mapping[str, Any], client_id: Any = CLIENT, **body: Any) -> str:
        """Post a prompt that is accepted; its id."""
        answer = self.engine.submit({"prompt": json.loads(json.dumps(prompt)), "client_id": client_id, **body})
        assert answer.status == 200, answer.body
        prompt_id: str = json.loads(answer.body)["prompt_id"]
        return prompt_id

    def take(self, socket: int | None = None) -> list[Any]:
        """What has been sent to a socket, by default to the client's."""
        wanted = self.socket if socket is None else socket
        return [out.payload for out in self.engine.take_outgoing() if wanted in out.sockets]

    def until(self, wanted: Callable[[Any], bool]) -> list[Any]:
        """Let time pass until the client has got something that is wanted; all that it got."""
        got: list[Any] = []
        while not any(map(wanted, got)):
            due = self.engine.next_wakeup()
            assert due is not None, "it never came"
            self.engine.advance(due)
            got += self.take()
        return got

    def rest(self) -> list[Any]:
        """Let time pass until nothing is left to do; what the client got."""
        got = self.take()
        while (due := self.engine.next_wakeup()) is not None:
            self.engine.advance(due)
            got += self.take()
        return got

    def run(self, prompt: Mapping[str, Any], client_id: Any = CLIENT, **body: Any) -> list[str]:
        """Post a prompt and run it: what was said between `execution_cached` and the end."""
        self.post(prompt, client_id, **body)
        return inner(said(self.rest()))

    @property
    def entry(self) -> dict[str, Any]:
        """The newest entry of the history."""
        return list(self.engine.queue.history.values())[-1]

    def error(self) -> dict[str, Any]:
        """The data of the `execution_error` that ended the last prompt."""
        event, data = self.entry["status"]["messages"][-1]
        assert event == "execution_error"
        return dict(data)


def starts(node_id: str) -> Callable[[Any], bool]:
    return lambda payload: isinstance(payload, messages.Executing) and payload.node == node_id


def steps(value: int) -> Callable[[Any], bool]:
    return lambda payload: isinstance(payload, messages.Progress) and payload.value == value


def said(payloads: Sequence[Any]) -> list[str]:
    return [_short(payload) for payload in payloads]


def inner(events: list[str]) -> list[str]:
    """Without the frame that every run has."""
    frame = ("status", "execution_start", "execution_cached", "executing null", "execution_success")
    return [event for event in events if not event.startswith(frame)]


def without_progress(events: list[str]) -> list[str]:
    return [event for event in events if not event.startswith("PS")]


def _short(payload: Any) -> str:
    if isinstance(payload, messages.ProgressState):
        nodes = (f"{name} {state.state[0]} {state.value!r}/{state.max!r}" for name, state in payload.nodes.items())
        return f"PS{{{', '.join(nodes)}}}"
    if isinstance(payload, PreviewFrame):
        return "binary 1"
    if isinstance(payload, PreviewWithMetadata):
        return "binary 4"
    if isinstance(payload, TextFrame):
        return f"text {payload.node_id}: {payload.text}"
    message = json.loads(messages.encode(payload))
    kind, data = message["type"], message["data"]
    if kind == "status":
        return f"status {data['status']['exec_info']['queue_remaining']}"
    if kind == "execution_cached":
        return " ".join([kind, *data["nodes"]])
    if kind == "executing":
        shown = (
            data["node"]
            if data.get("display_node") in (None, data["node"])
            else f"{data['node']}/{data['display_node']}"
        )
        return f"executing {shown or 'null'}"
    if kind == "executed":
        return f"executed {data['node']} {json.dumps(data['output'])}"
    if kind == "progress":
        return f"progress {data['value']!r}/{data['max']!r} {data['node']}"
    return f"{kind} {data['node_id']}" if "node_id" in data else str(kind)
