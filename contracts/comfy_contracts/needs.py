"""What a recording needs of a server, so that the same requests can get the same answers there.

`needs_of` reads it from the recording, `lacking` holds it against what a server says of itself (`ServerState`). A
contract whose needs are not met cannot be tried on that server, which is another thing than a difference.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from msgspec import UNSET

from comfy_contracts import jsontext
from comfy_contracts.catalogue import Catalogue
from comfy_contracts.har import Entry, Har
from comfy_contracts.replay_plan import received_by

SWITCHES: Mapping[str, str] = {
    "--cache-classic": "cache",
    "--high-ram": "cache",
    "--cache-lru": "cache",
    "--cache-none": "cache",
    "--enable-cors-header": "origins",
    "--enable-compress-response-body": "compression",
    "--multi-user": "users",
    "--disable-metadata": "metadata",
    "--disable-api-nodes": "origins of pages",
    "--max-upload-size": "upload size",
    "--preview-method": "previews",
    "--preview-size": "preview size",
}
"""ComfyUI's switches that change what a client sees, and of what (protocol 8)."""

_WITHOUT_VALUE = frozenset(
    {
        "--cache-classic",
        "--high-ram",
        "--cache-none",
        "--enable-compress-response-body",
        "--multi-user",
        "--disable-metadata",
        "--disable-api-nodes",
    }
)
_DEFAULTS = {"--preview-method": "none", "--cache-lru": "0", "--max-upload-size": "100", "--preview-size": "512"}
_PLACEHOLDERS = frozenset({"_output_images_will_be_put_here"})
"""What lies in the output folder of a fresh checkout."""

_IF_RUNS = frozenset({"cache", "metadata"})
_IF_SAMPLES = frozenset({"previews", "preview size"})


def switches_of(words: Sequence[str]) -> dict[str, str]:
    """Those of a server's arguments that change what a client sees: switch to value, `` where it has none."""
    found: dict[str, str] = {}
    for index, word in enumerate(words):
        switch, equals, value = word.partition("=")
        if switch not in SWITCHES:
            continue
        after = words[index + 1] if index + 1 < len(words) and not words[index + 1].startswith("--") else ""
        given = "" if switch in _WITHOUT_VALUE else value if equals else after
        if _DEFAULTS.get(switch) != given:
            # Without its value this switch lets in every origin.
            found[switch] = given or "*" if switch == "--enable-cors-header" else given
    return found


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a recording needs. `unknown` has requests whose bodies the recording does not have.

    `classes` maps the node classes of prompts that were accepted to the values of their inputs; `models` the folders
    that were listed to what was in them. The flags say of which parts of its state the answers tell.
    """

    version: str = ""
    switches: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    classes: Mapping[str, tuple[tuple[str, Any], ...]] = field(default_factory=dict)
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    runs: bool = False
    samples: bool = False
    uploads: bool = False
    files: bool = False
    settings: bool = False
    userdata: bool = False
    history: bool = False


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """What a server says of itself; None where it does not say.

    `posted` is how many prompts it is known to have taken since it was fresh. `inputs` and `outputs` name the
    files in these folders. `users` is whether there is a folder of any user. `object_info` has its node classes.
    """

    version: str | None = None
    switches: Mapping[str, str] | None = None
    queued: int | None = None
    history: int | None = None
    posted: int = 0
    inputs: Sequence[str] | None = None
    outputs: Sequence[str] | None = None
    users: bool | None = None
    settings: Mapping[str, Any] | None = None
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    object_info: Mapping[str, Any] | None = None


def needs_of(har: Har) -> Needs:
    """What the answers of a recording depend on."""
    comfy = har.log.comfy if isinstance(har.log.comfy, dict) else {}
    paths = {_path(entry) for entry in har.exchanges()}
    methods = {(entry.request.method, _path(entry)) for entry in har.exchanges()}
    graphs = list(_accepted(har))
    progress = any(message.kind == "progress" for socket in har.sockets() for message in received_by(socket))
    words = [str(word) for word in comfy.get("server_args", ())]
    preview = str(comfy.get("preview_method", "none"))
    return Needs(
        version=str(comfy.get("comfyui_version", "")),
        switches=switches_of([*words, "--preview-method", preview]) if comfy else {},
        unknown=tuple(f"{e.request.method} {_path(e)}" for e in har.exchanges() if not _body_is_known(e)),
        classes=_classes(graphs),
        models=dict(_listed_models(har)),
        runs=bool(graphs) or ("POST", "/prompt") in methods,
        samples=progress,
        uploads=any(path.startswith("/upload/") or path == "/internal/files/input" for path in paths),
        files=bool(graphs) or any(path.startswith("/internal/files/output") for path in paths),
        settings=any(path.startswith("/settings") for path in paths),
        userdata=any(re.match(r"/(?:v2/)?userdata|/users", path) for path in paths),
        history=bool(graphs) or any(re.match(r"/(?:history|queue|jobs|api/jobs)", path) for path in paths),
    )


def lacking(needs: Needs, state: ServerState, *, any_version: bool = False) -> list[str]:
    """Why the contract cannot be tried on a server in this state: one sentence each; none: it can.

    A server of an older version than the recorded one is refused unless `any_version`; a newer one never is.
    """
    return [
        *(f"the recording does not have the body of {request}" for request in needs.unknown),
        *_of_another_version(needs, state, any_version),
        *_switches(needs, state),
        *_nodes(needs, state),
        *_models(needs, state),
        *_freshness(needs, state),
    ]


def _of_another_version(needs: Needs, state: ServerState, any_version: bool) -> Iterator[str]:
    if any_version or not needs.version or state.version is None:
        return
    if _numbers(state.version) < _numbers(needs.version):
        yield f"other version: recorded from ComfyUI {needs.version}, and this is the older {state.version}"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _switches(needs: Needs, state: ServerState) -> Iterator[str]:
    if state.switches is None:
        return
    for switch, what in SWITCHES.items():
        if (what in _IF_RUNS and not needs.runs) or (what in _IF_SAMPLES and not needs.samples):
            continue
        recorded, live = needs.switches.get(switch), state.switches.get(switch)
        if recorded != live:
            was = "without it" if recorded is None else f"as {_spelled(switch, recorded)}"
            here = "without" if live is None else f"with {_spelled(switch, live)}"
            yield f"other switches: {switch} (it was recorded {was}, and this server runs {here})"


def _spelled(switch: str, value: str) -> str:
    return f"{switch} {value}".strip()


def _nodes(needs: Needs, state: ServerState) -> Iterator[str]:
    if state.object_info is None:
        return
    for name, values in needs.classes.items():
        entry = state.object_info.get(name)
        if entry is None:
            yield f"no such node class: {name}"
            continue
        for field_name, value in values:
            choices, uploaded = _choices(entry, field_name)
            if choices is None or value in choices or (uploaded and needs.uploads):
                continue
            what = "input file" if uploaded else "model"
            yield f"no such {what}: {value!r}, for {field_name} of {name}"


def _choices(entry: Any, name: str) -> tuple[list[Any] | None, bool]:
    """The values that an input can have, and whether they are files that a client can upload."""
    inputs = entry.get("input", {}) if isinstance(entry, dict) else {}
    for kind in ("required", "optional"):
        spec = inputs.get(kind, {}).get(name)
        if isinstance(spec, list) and spec:
            more = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
            choices = spec[0] if isinstance(spec[0], list) else more.get("options")
            uploaded = any(str(key).endswith("_upload") for key in more)
            return (choices if isinstance(choices, list) else None), uploaded
    return None, False


def _models(needs: Needs, state: ServerState) -> Iterator[str]:
    for folder, names in needs.models.items():
        here = state.models.get(folder)
        if here is not None and sorted(here) != sorted(names):
            known = ", ".join(names) or "none"
            yield f"other models: the folder {folder} was listed, and had {known}; here it has {len(here)}"


def _freshness(needs: Needs, state: ServerState) -> Iterator[str]:
    if state.queued:
        yield f"needs an empty queue: {state.queued} prompts are in it"
    if needs.history and state.history:
        yield f"needs a fresh server: its history has {state.history} prompts or more"
    elif needs.runs and state.posted:
        yield f"needs a fresh server: it has counted {state.posted} prompts or more, and may have cached results"
    outputs = [name for name in state.outputs or () if name not in _PLACEHOLDERS]
    if needs.files and outputs:
        yield f"needs a fresh server: there are files in its output folder ({outputs[0]})"
    if needs.uploads and state.inputs is not None and list(state.inputs) != ["example.png"]:
        yield "needs a fresh server: there are other files than example.png in its input folder"
    if needs.settings and state.settings:
        yield f"needs a fresh server: it has settings ({next(iter(state.settings))})"
    if needs.userdata and state.users:
        yield "needs a fresh server: a user has been there (GET /users tells it)"


# Reading a recording


def _path(entry: Entry) -> str:
    path = urlsplit(entry.request.url).path
    return path.removeprefix("/api") if not path.startswith("/api/jobs") else path


def _body_is_known(entry: Entry) -> bool:
    data, size = entry.request.post_data, entry.request.body_size
    if data is not UNSET and data.omitted is True:
        return False
    return size in (UNSET, -1, len(entry.request.body)) or "_scrubbed" in entry.extra


def _accepted(har: Har) -> Iterator[dict[str, Any]]:
    """The nodes of the prompts that were accepted, but for those with errors."""
    for entry in har.exchanges():
        if entry.request.method != "POST" or _path(entry) != "/prompt" or entry.response.status != 200:
            continue
        asked, answer = _json(entry.request.body), _json(entry.response.body)
        graph = asked.get("prompt") if isinstance(asked, dict) else None
        errors = answer.get("node_errors") if isinstance(answer, dict) else None
        if isinstance(graph, dict):
            yield {node: one for node, one in graph.items() if not (isinstance(errors, dict) and node in errors)}


def _classes(graphs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[tuple[str, Any], ...]]:
    found: dict[str, dict[tuple[str, Any], None]] = {}
    for graph in graphs:
        for node in graph.values():
            if isinstance(node, dict) and isinstance(node.get("class_type"), str):
                name, inputs = node["class_type"], node.get("inputs")
                values = inputs.items() if isinstance(inputs, dict) else ()
                files = {(key, value): None for key, value in values if _names_a_file(name, key, value)}
                found.setdefault(name, {}).update(files)
    return {name: tuple(values) for name, values in found.items()}


def _names_a_file(class_type: str, name: str, value: Any) -> bool:
    """Whether a value is the name of a file that a server has or not: a model, an input."""
    return isinstance(value, str) and (class_type, name) in _file_inputs()


@functools.cache
def _file_inputs() -> frozenset[tuple[str, str]]:
    """The inputs whose choices are files. The packaged catalogue has none of them, but for the input pictures."""
    found = set()
    for class_type, definition in Catalogue.packaged().items():
        for name in (*definition.required, *definition.optional):
            choices, uploaded = _choices(definition.entry, name)
            if choices is not None and (uploaded or not choices or _look_like_files(choices)):
                found.add((class_type, name))
    return frozenset(found)


_FILE = re.compile(r".+\.(?:safetensors|sft|ckpt|pt|pt2|pth|bin|pkl|gguf|yaml)")


def _look_like_files(choices: Sequence[Any]) -> bool:
    return any(isinstance(choice, str) and _FILE.fullmatch(choice) for choice in choices)


def _listed_models(har: Har) -> Iterator[tuple[str, tuple[str, ...]]]:
    for entry in har.exchanges():
        match = re.fullmatch(r"/models/([^/]+)", _path(entry))
        names = _json(entry.response.body) if match and entry.response.status == 200 else None
        if match and isinstance(names, list):
            yield match[1], tuple(map(str, names))


def _json(body: bytes | None) -> Any:
    try:
        return jsontext.loads(body or b"")
    except (ValueError, RecursionError):
        return None
