"""One client in one situation, on a server of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import httpx

from comfy_mock.conformance.clients import Client, Ending
from comfy_mock.conformance.moves import Move, Over, Stage
from comfy_mock.conformance.report import Outcome
from comfy_mock.conformance.situations import FAULT, Situation
from comfy_mock.conformance.verdicts import File, Truth, files_of, judge
from comfy_mock.server.network import ComfyMock
from comfy_mock.server.timeline import timeline as timeline_of

TIMEOUT_S = 20.0
"""How long a client may take in a situation, times its patience."""


def try_out(client: Client, situation: Situation, timeout: float = TIMEOUT_S) -> Outcome:
    """Put a client into a situation, and judge how it ends. Raises as `Client.run` does, for one that cannot run."""
    server = ComfyMock(control=False, **situation.options)
    for node in situation.nodes:
        server.add_node(node)
    server.add_rules(*situation.rules)
    with server:
        stage = Stage(server)
        _play(stage, situation.before)
        if situation.queue_paused:
            server.pause_queue()
        begun = time.monotonic()
        with _playing(stage, situation.moves):
            ending = client.run(server.url, situation.workflow, timeout * situation.patience)
        seconds = time.monotonic() - begun
        return _judged(stage, situation, ending, seconds)


def _play(stage: Stage, moves: Sequence[Move]) -> None:
    for move in moves:
        move.play(stage)


@contextlib.contextmanager
def _playing(stage: Stage, moves: Sequence[Move]) -> Iterator[None]:
    def play() -> None:
        with contextlib.suppress(Over):
            _play(stage, moves)

    thread = threading.Thread(target=play, name="conformance moves", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stage.over.set()
        thread.join()


def _judged(stage: Stage, situation: Situation, ending: Ending, seconds: float) -> Outcome:
    server = stage.server
    timeline = timeline_of(server.journal)
    faults = [use for use in server.rules if use.rule.name == FAULT]
    came_up = not faults or any(use.served > use.waiting for use in faults)
    server.clear_rules()
    with httpx.Client(base_url=server.url, trust_env=False, verify=False, timeout=5) as http:  # noqa: S501 - http

        def read(file: File) -> bytes:
            query = {key: str(file[key]) for key in ("filename", "subfolder", "type") if key in file}
            return http.get("/view", params=query).content

        verdict, why = judge(situation, ending, _truth(stage, read))
    return Outcome(situation, verdict, why, timeline, seconds, came_up)


def _truth(stage: Stage, read: Callable[[File], bytes]) -> Truth:
    prompts = stage.prompts
    history = stage.server.engine.queue.history
    entries = [history[record.prompt_id] for record in prompts if record.prompt_id in history]
    ended_well = [entry for entry in entries if entry["status"]["status_str"] == "success"]
    return Truth([files_of(entry["outputs"]) for entry in ended_well], len(prompts), len(entries), read)
