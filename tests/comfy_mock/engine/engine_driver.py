"""Runs prompts on a bare engine and tells what happened in the form of the oracle corpora."""

from __future__ import annotations

import gzip
import json
import re
from importlib import resources
from typing import Any

from comfy_contracts import messages
from comfy_contracts.frames import TextFrame
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.options import Options

NOW = 1_767_225_600.0
RECORDED = {"preview_method": "latent2rgb", "models": {"checkpoints": ["v1-5-pruned-emaonly-fp16.safetensors"]}}
"""How the server of the recordings and corpora was started."""

CLIENT = "0123456789abcdef0123456789abcdef"


def corpus(name: str) -> list[dict[str, Any]]:
    packed = resources.files("comfy_contracts").joinpath("oracle", "comfyui-0.33.0", f"{name}.jsonl.gz").read_bytes()
    return [json.loads(line) for line in gzip.decompress(packed).splitlines()]


def recorded_engine(**options: Any) -> Engine:
    return Engine(Options(**{**RECORDED, **options}), now=NOW)


class Driver:
    """One client of an engine, which it lets run until nothing is left to do."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.socket = engine.connect(CLIENT)
        engine.take_outgoing()

    def finish(self) -> list[Any]:
        """Advance to the end; the payloads that the client's socket got."""
        payloads = []
        for _ in range(1_000_000):
            payloads += [out.payload for out in self.engine.take_outgoing() if self.socket in out.sockets]
            due = self.engine.next_wakeup()
            if due is None:
                return payloads
            self.engine.advance(due)
        raise AssertionError("the engine never comes to rest")

    def empty_cache(self) -> None:
        self.engine.free({"free_memory": True})
        self.finish()

    def run(self, prompt: dict[str, Any], **extra: Any) -> dict[str, Any]:
        """Post a prompt, run it, and give the facts that a line of a corpus has."""
        answer = self.engine.submit({"prompt": json.loads(json.dumps(prompt)), "client_id": CLIENT, **extra})
        body = json.loads(answer.body)
        if answer.status != 200:
            return {"status": answer.status, "error_type": body["error"]["type"]}
        events = [event for payload in self.finish() if (event := plain(payload)) is not None]
        entry = self.engine.queue.history[body["prompt_id"]]
        return {
            "status": 200,
            "outputs_to_execute": entry["prompt"][4],
            "cached": next(event["nodes"] for event in events if event["type"] == "execution_cached"),
            "events": events,
            "history_outputs": list(entry["outputs"]),
            "history_status": entry["status"]["status_str"],
        }


def plain(payload: Any) -> dict[str, Any] | None:
    """A message without ids of prompts, times and tracebacks."""
    if isinstance(payload, TextFrame):
        return {"type": "binary", "event": 3, "node": payload.node_id, "text": payload.text}
    if isinstance(payload, messages.ProgressState):
        nodes = {name: f"{node.state} {node.value:g}/{node.max:g}" for name, node in payload.nodes.items()}
        return {"type": "progress_state", "nodes": nodes}
    if isinstance(payload, messages.Status):
        return {"type": "status", "queue_remaining": payload.queue_remaining}
    message = json.loads(messages.encode(payload))
    data = {k: v for k, v in message["data"].items() if k not in ("prompt_id", "timestamp", "traceback")}
    return json.loads(without_counters(json.dumps({"type": message["type"], **data})))


def without_counters(text: str) -> str:
    return re.sub(r"_temp_[a-z]{5}_", "_temp_XXXXX_", re.sub(r"_\d{5}_", "_NNNNN_", text))
