"""Calls rules of nodes without an engine, and finds what the recordings have of their files."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import parse_qs, urlsplit

from comfy_contracts import har
from comfy_contracts.catalogue import Catalogue
from comfy_mock.engine.files import Folders
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.nodes import behaviour
from comfy_mock.engine.nodes.api import Call, ChangeCall, Output
from comfy_mock.engine.values import Frame, Image

NOW = 1_795_440_000.0
CATALOGUE = Catalogue.packaged()
FOLDERS = Folders()


def colours(*levels: int, size: tuple[int, int] = (16, 16), channels: int = 3) -> Image:
    """A batch of uniform pictures, one per level of 0 to 255."""
    return Image(tuple(Frame(*size, channels, fill=(level / 255,) * channels) for level in levels))


def make_call(class_type: str, inputs: dict[str, Any], files: MemoryFiles | None = None, **others: Any) -> Call:
    facts: dict[str, Any] = {
        "class_type": class_type,
        "node_id": "9",
        "definition": CATALOGUE[class_type],
        "inputs": inputs,
        "files": files if files is not None else MemoryFiles(now=NOW),
        "folders": FOLDERS,
        "random": random.Random(1),
        "now": NOW,
        "prompt": {"9": {"class_type": class_type, "inputs": {}}},
    }
    return Call(**{**facts, **others})


def run(call: Call) -> Output:
    output = behaviour(call.definition).rule(call)
    assert isinstance(output, Output)
    return output


def changed(class_type: str, inputs: dict[str, Any], files: MemoryFiles) -> Any:
    function = behaviour(CATALOGUE[class_type]).changed
    assert function is not None
    return function(ChangeCall(inputs, files, FOLDERS, NOW))


def content(call: Call, item: dict[str, str]) -> bytes:
    """The bytes of a file item."""
    folder = FOLDERS.of_type(item["type"])
    return call.files.read(f"{folder}/{item['subfolder']}/{item['filename']}")


def recorded_prompts(name: str) -> list[dict[str, Any]]:
    """The bodies of the POST /prompt requests of a recording, in their order."""
    entries = har.load(har.packaged_recordings("0.33.0")[name]).exchanges()
    posts = [entry.request for entry in entries if entry.request.method == "POST"]
    return [json.loads(post.body) for post in posts if urlsplit(post.url).path == "/prompt"]


def recorded_file(name: str, ending: str) -> bytes:
    """The first file of a recording whose name ends with `ending`."""
    for entry in har.load(har.packaged_recordings("0.33.0")[name]).exchanges():
        url = urlsplit(entry.request.url)
        names = parse_qs(url.query).get("filename", [""])
        if url.path == "/view" and names[0].endswith(ending) and entry.response.body is not None:
            return entry.response.body
    raise LookupError(f"no file that ends with {ending} in {name}")
