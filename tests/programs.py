"""Programs: what clients do with a server, step by step, as plain data that can be drawn, printed, saved and replayed.

A step is a JSON object with its verb under `do`. `$1`, `$2` … in a step stand for the ids of the prompts that were
accepted so far, in the order of their acceptance.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from comfy_contracts.catalogue import Catalogue
from comfy_contracts.strategies import broken_prompts, prompts

Step = dict[str, Any]
Program = list[Step]

CLASSES = ["EmptyImage", "ImageInvert", "ImageScale", "PrimitiveInt", "SaveImage", "PreviewImage", "GetImageSize"]
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
CLIENTS = ["a", "b"]


LAST: Program = [
    {"do": "wait", "seconds": 600.0},
    *({"do": "read", "path": path} for path in ("/queue", "/prompt", "/history", "/history/$1", "/history/$9")),
    *({"do": "read", "path": path} for path in ("/history?max_items=1", "/api/jobs", "/api/jobs/$1")),
]
"""How every program ends: all that is left to do is done, and what became of it is looked at."""


def text_of(program: Program) -> str:
    """A program as text, a step a line."""
    return "".join(f"{json.dumps(step)}\n" for step in program)


def save(program: Program, path: Path) -> None:
    """Write it to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(program), "utf-8")


def load(path: Path) -> Program:
    """The program in a file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def filled_in(step: Step, ids: list[str]) -> Step:
    """The step with the ids of prompts in place of `$1`, `$2` …; one that there is not is an unknown id."""

    def id_of(match: re.Match[str]) -> str:
        place = int(match[1])
        return ids[place - 1] if place <= len(ids) else UNKNOWN_ID

    filled: Step = json.loads(re.sub(r"\$(\d)", id_of, json.dumps(step)))
    return filled


_ids = st.sampled_from(["$1", "$2", "$3", UNKNOWN_ID])
_sampler = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["1", 1]}},
    "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "4": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0], "seed": 1,
            "steps": 4, "cfg": 8.0, "denoise": 1.0, "sampler_name": "euler", "scheduler": "normal",
        },
    },
    "5": {"class_type": "PreviewImage", "inputs": {"images": ["6", 0]}},
    "6": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
}  # fmt: skip
_uploaded = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "up.png"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "up"}},
}


def _body(prompt: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"prompt": prompt, "client_id": st.sampled_from(["a", "a", "b", "c", None])},
        optional={
            "front": st.booleans(),
            "number": st.sampled_from([0, -1, 2.5, "3.5", 1e300, float("nan")]),
            "extra_data": st.sampled_from([{}, {"x": "ü"}, {"preview_method": "latent2rgb"}]),
        },
    )


_odd_bodies = st.sampled_from(
    [
        *({}, [], None, 5, {"prompt": {}}, {"prompt": None}, {"prompt": _sampler, "number": None}),
        *({"prompt": _sampler, "extra_data": extra} for extra in ([], None, "x")),
        *({"prompt": _sampler, "prompt_id": given} for given in ("x", UNKNOWN_ID.upper(), None, UNKNOWN_ID)),
        *({"prompt": _sampler, "partial_execution_targets": targets} for targets in (["5"], ["1"], [], None, "5")),
    ]
)


def programs(catalogue: Catalogue, max_steps: int = 30) -> st.SearchStrategy[Program]:
    """Programs of all that clients do in the course of prompts."""
    valid = prompts(catalogue, classes=CLASSES, max_nodes=5, max_outputs=2, largest=8)
    broken = broken_prompts(catalogue, classes=CLASSES, max_nodes=4, largest=8).map(lambda broken: broken.prompt)
    known = st.sampled_from([_sampler, _uploaded])
    bodies = [_body(valid), _body(valid), _body(known), _body(known), _body(broken), _odd_bodies]
    submit = st.sampled_from(bodies).flatmap(lambda body: body).map(lambda body: {"do": "submit", "body": body})
    edits = st.sampled_from([{"clear": True}, {}, [], {"delete": 5}]) | _ids.map(lambda each: {"delete": [each]})
    edit = st.builds(lambda which, body: {"do": which, "body": body}, st.sampled_from(["queue", "history"]), edits)
    interrupt = st.none().map(lambda _: {"do": "interrupt", "body": {}}) | _ids.map(
        lambda each: {"do": "interrupt", "body": {"prompt_id": each}}
    )
    cancel = _ids.map(lambda each: {"do": "cancel", "body": {"job_ids": [each]}})
    read = st.sampled_from(
        [
            *("/queue", "/prompt", "/history", "/history/$1", "/history/$9", "/history?max_items=1"),
            *("/history?max_items=2&offset=1", "/history?offset=x", "/api/jobs", "/api/jobs?limit=1&offset=1"),
            *("/api/jobs?status=completed,failed", "/api/jobs/$1", "/api/jobs/$9"),
            *("/view?filename=up.png&type=input", "/view?filename=ComfyUI_00001_.png", "/view?filename=../x", "/view"),
            "/view?filename=up.png&type=input&preview=webp;50&channel=rgb",
        ]
    ).map(lambda path: {"do": "read", "path": path})
    upload = st.builds(
        lambda name, color, overwrite: {"do": "upload", "name": name, "color": color, "overwrite": overwrite},
        st.sampled_from(["up.png", "up.png", "../up.png", ""]),
        st.integers(0, 2),
        st.booleans(),
    )
    connect = st.sampled_from(CLIENTS).map(lambda client: {"do": "connect", "client": client})
    disconnect = st.integers(0, 3).map(lambda socket: {"do": "disconnect", "socket": socket})
    said = ['{"type": "feature_flags", "data": {"supports_preview_metadata": true}}', "x", '{"type": "y"}']
    say = st.builds(
        lambda socket, text: {"do": "say", "socket": socket, "text": text}, st.integers(0, 3), st.sampled_from(said)
    )
    free = st.sampled_from([{"free_memory": True}, {"unload_models": True}, []]).map(
        lambda body: {"do": "free", "body": body}
    )
    wait = st.sampled_from([0.0, 0.003, 0.01, 0.3, 60.0]).map(lambda seconds: {"do": "wait", "seconds": seconds})
    # not one_of, which would count the alternatives inside of each
    step = st.sampled_from(
        [
            *(submit, submit, submit, wait, wait, wait, wait, connect, connect, read, read, read),
            *(edit, interrupt, cancel, upload, disconnect, say, free),
        ]
    ).flatmap(lambda kind: kind)
    # one list alone would be short most of the time
    parts = st.tuples(*[st.lists(step, max_size=max_steps // 3)] * 3)
    return parts.map(lambda several: [step for part in several for step in part])
