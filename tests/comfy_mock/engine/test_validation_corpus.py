"""Every body of the validation corpus, posted to an engine in order, as it was to a real ComfyUI 0.33.0."""

from __future__ import annotations

import json
import re
from typing import Any

from engine_driver import corpus, recorded_engine

from comfy_contracts.catalogue import Catalogue
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.validation import validate

EXCEPTIONS: dict[int, str] = {}
"""Lines that cannot be met, by their place in the corpus, each with the reason."""

TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"
FRAME = re.compile(r'  File "(?:/comfyui/)?([^"]+)", (line \d+, in \w+)\n')


def frames(traceback: list[str]) -> list[tuple[str, str]]:
    """File, line and function of each frame; the lines of source that Python adds are not imitated."""
    matches = [FRAME.match(line) for line in traceback]
    assert all(matches)
    return [(match[1], match[2]) for match in matches if match]


def comparable(answer: Any) -> str:
    """An answer as text, so that the order of keys and of lists counts, and 1 is not 1.0."""
    if isinstance(answer, dict):
        answer = json.loads(json.dumps(answer))
        if "prompt_id" in answer:
            answer["prompt_id"] = "<prompt_id>"
        for entry in answer["node_errors"].values():
            for error in entry["errors"]:
                if "traceback" in error["extra_info"]:
                    error["extra_info"]["traceback"] = frames(error["extra_info"]["traceback"])
    return json.dumps(answer)


def test_status_and_body_are_the_recorded_ones() -> None:
    engine = recorded_engine(hash_seed=0)
    lines = corpus("validation")
    differing: dict[int, str] = {}
    for place, line in enumerate(lines):
        try:
            answer = engine.submit(line["request"])
            got = (answer.status, comparable(json.loads(answer.body)))
        except ServerTrouble:
            got = (500, comparable(TROUBLE))
        expected = (line["status"], comparable(line["response"]))
        if got != expected:
            differing[place] = f"{line['tags']}: expected {expected}, got {got}"
        engine.edit_queue({"clear": True})
    assert len(lines) == 1700
    assert {place: text for place, text in differing.items() if place not in EXCEPTIONS} == {}
    assert set(EXCEPTIONS) <= set(differing), "an exception is no longer one"
    assert len(EXCEPTIONS) < len(lines) * 0.005


def test_outputs_come_in_the_recorded_order() -> None:
    catalogue, files, folders = Catalogue.packaged(), MemoryFiles(), Folders()
    files.write(f"{folders.input}/example.png", b"x", now=0.0)
    several = 0
    for line in corpus("execution_order"):
        verdict = validate(line["prompt"], None, definitions=catalogue.get, files=files, folders=folders, hash_seed=0)
        assert verdict.outputs == line["outputs_to_execute"], line["id"]
        several += len(verdict.outputs) > 1
    assert several > 100
