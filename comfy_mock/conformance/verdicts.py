"""Whether a client has ended as it must."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import PIL.Image

from comfy_mock.conformance.clients import Ending
from comfy_mock.conformance.situations import Situation

Verdict = Literal["passes", "wrong result", "hangs", "crashes"]

File = Mapping[str, Any]
"""A file as an output names it: `filename`, `subfolder`, `type`."""


@dataclass(frozen=True)
class Truth:
    """What became of a client's prompts on the server.

    `runs` has, for each that ended well, the files of its output nodes by node id; `accepted` is how many it has
    queued, and `ended` how many of them were over when the client was. `read` gives the content of a file.
    """

    runs: Sequence[Mapping[str, Sequence[File]]] = ()
    accepted: int = 0
    ended: int = 0
    read: Callable[[File], bytes] = field(default=lambda _file: b"", repr=False)


def files_of(outputs: Mapping[str, Any]) -> dict[str, list[File]]:
    """The files that the history's `outputs` name, by node id; nodes without any are left out."""
    found = {node_id: list(_files(ui)) for node_id, ui in outputs.items()}
    return {node_id: files for node_id, files in found.items() if files}


def judge(situation: Situation, ending: Ending, truth: Truth) -> tuple[Verdict, str]:
    """The verdict on a client that ended so, and why, as a sentence without its client."""
    if ending.kind == "hang":
        return "hangs", "had not ended when its time was over"
    if situation.once and truth.accepted > 1:
        return "wrong result", f"queued the workflow {truth.accepted} times"
    if ending.kind == "nothing":
        return "wrong result", f"ended as if all were well, and gave no outputs: {ending.text}"
    if ending.kind == "outputs":
        return _judge_outputs(situation, ending, truth)
    if situation.expect == "outputs" and ending.kind == "crash":
        return "crashes", ending.text
    never = situation.expect == "failure" and situation.queues and not truth.accepted
    if situation.expect == "outputs" or never:
        return "wrong result", f"reported a failure, though {_state(truth)}: {ending.text}"
    return "passes", f"reported a failure: {ending.text}"


def _state(truth: Truth) -> str:
    if truth.runs:
        return "the run ended well"
    return "the run was not over" if truth.accepted else "it never queued the workflow"


def _judge_outputs(situation: Situation, ending: Ending, truth: Truth) -> tuple[Verdict, str]:
    if not truth.runs:
        why = "the run did not end well" if truth.ended else "the run was not over"
        return "wrong result", f"returned outputs, though {why}: {ending.text}"
    found = [differences(ending.outputs, files, truth.read) for files in truth.runs]
    fewest = min(found, key=len)
    if fewest:
        return "wrong result", "; ".join(fewest)
    note = "" if situation.expect != "failure" else ", of a run that it queued again"
    return "passes", f"returned the outputs{note}"


def differences(
    given: Mapping[str, Any], files: Mapping[str, Sequence[File]], read: Callable[[File], bytes]
) -> list[str]:
    """What is wrong with outputs that a client gave; nothing, where they name exactly these files."""
    wrong: list[str] = []
    for node_id in {**files, **given}:
        wanted = list(files.get(node_id, ()))
        left = list(wanted)
        for item in _items(given.get(node_id)):
            fitting = next((file for file in left if _is(item, file, read)), None)
            if fitting is None:
                wrong.append(f"node {node_id}: {item!r} is none of its {len(wanted)} files, or there twice")
            else:
                left.remove(fitting)
        if left:
            wrong.append(f"node {node_id}: lacks {', '.join(str(file['filename']) for file in left)}")
    return wrong


def _items(value: Any) -> list[Any]:
    """What a client says of a node: a list of files, or the node's ui as the server gave it."""
    if isinstance(value, Mapping):
        return list(_files(value))
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


def _files(ui: Any) -> Iterator[File]:
    for items in ui.values() if isinstance(ui, Mapping) else ():
        for item in items if isinstance(items, Sequence) else ():
            if isinstance(item, Mapping) and isinstance(item.get("filename"), str):
                yield item


def _is(item: Any, file: File, read: Callable[[File], bytes]) -> bool:
    """Whether what a client says of a file is true of this one: its name, or its content, or its size in pixels."""
    if isinstance(item, str):
        return bool(item == file["filename"])
    if not isinstance(item, Mapping):
        return False
    checks: list[bool] = [item[key] == file[key] for key in ("filename", "subfolder", "type") if key in item]
    if "sha256" in item:
        checks.append(item["sha256"] == hashlib.sha256(read(file)).hexdigest())
    if "width" in item or "height" in item:
        with PIL.Image.open(io.BytesIO(read(file))) as picture:
            checks.append((item.get("width"), item.get("height")) == picture.size)
    return bool(checks) and all(checks)
