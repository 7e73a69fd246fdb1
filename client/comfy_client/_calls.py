"""Every call of the API, described once: what is sent, and how the answer is read.

Pure; both shells send these. Paths are those of the core without `/api`, which all versions have, but for the routes
that exist only below `/api` (protocol 1.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from comfy_client._errors import ComfyError, InvalidName, PromptRejected
from comfy_client._leniency import readable_answer, readable_history
from comfy_contracts import jsontext
from comfy_contracts.prompts import PromptAccepted, PromptRefused
from comfy_contracts.results import (
    Features,
    HistoryEntry,
    Job,
    JobList,
    PromptInfo,
    Queue,
    SystemStats,
    UploadedFile,
    read_history,
)
from comfy_contracts.structs import ShapeError

T = TypeVar("T")
Params = dict[str, str]


@dataclass(frozen=True)
class Answer:
    """An answer of the server, read whole."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The JSON value of the body. Raises `ShapeError` where it is not JSON."""
        try:
            return jsontext.loads(self.content)
        except (ValueError, RecursionError) as error:
            raise ShapeError(f"the answer is not JSON: {error}") from error

    def text(self) -> str:
        """The body as text."""
        return self.content.decode("utf-8", "replace")


@dataclass(frozen=True)
class Upload:
    """A file in a form."""

    filename: str
    content: bytes


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request. `read` makes its result of an answer with a status from 200 to 299, and raises `ShapeError`.

    `repeatable` says that sending it twice does no more than sending it once. `refusal` makes an error of an answer of
    400 where the call has its own. `form` and `file` make a multipart body, `content` a raw one.
    """

    method: str
    path: str
    read: Callable[[Answer], T]
    params: Params = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] | None = None
    file: Upload | None = None
    content: bytes | None = None
    repeatable: bool = True
    refusal: Callable[[Answer], ComfyError] | None = None

    def __post_init__(self) -> None:
        for text in (*self.params.values(), *(self.form or {}).values(), self.file.filename if self.file else ""):
            sendable(text)


def sendable(text: str) -> str:
    """The same text. Raises `InvalidName` where no request can carry it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidName(text) from None
    return text


def _json(answer: Answer) -> Any:
    return answer.json()


def _nothing(_answer: Answer) -> None:
    return None


def _bytes(answer: Answer) -> bytes:
    if answer.status != 200:
        raise ShapeError(f"a file comes with status 200, not {answer.status}")
    return answer.content


def _object(answer: Answer) -> dict[str, Any]:
    value = answer.json()
    if not isinstance(value, dict):
        raise ShapeError(f"a JSON object was expected, not {type(value).__name__}")
    return value


def _list(answer: Answer) -> list[Any]:
    value = answer.json()
    if not isinstance(value, list):
        raise ShapeError(f"a JSON list was expected, not {type(value).__name__}")
    return value


def _names(answer: Answer) -> list[str]:
    return [str(item) for item in _list(answer)]


def _text(answer: Answer) -> str:
    value = answer.json()
    if not isinstance(value, str):
        raise ShapeError(f"a JSON string was expected, not {type(value).__name__}")
    return value


def _flag(name: str) -> Callable[[Answer], bool]:
    return lambda answer: bool(_object(answer).get(name))


def _given(**params: str | int | None) -> Params:
    return {name: sendable(str(value)) for name, value in params.items() if value is not None}


def _segment(text: str, safe: str = "") -> str:
    return quote(sendable(text), safe=safe)


# Prompts


def post_prompt(body: Mapping[str, Any], titles: Mapping[str, str]) -> Call[PromptAccepted]:
    """POST /prompt (protocol 3); `titles` of nodes make the text of a refusal readable."""

    def refusal(answer: Answer) -> ComfyError:
        refused = PromptRefused.from_builtins(answer.json())
        return PromptRejected(refused.error, refused.node_errors, titles)

    return Call(
        "POST",
        "/prompt",
        lambda answer: PromptAccepted.from_builtins(readable_answer(answer.json())),
        json=dict(body),
        repeatable=False,
        refusal=refusal,
    )


def prompt_info() -> Call[PromptInfo]:
    """GET /prompt (protocol 2.2)."""
    return Call("GET", "/prompt", lambda answer: PromptInfo.from_builtins(answer.json()))


def queue() -> Call[Queue]:
    """GET /queue (protocol 4.2)."""
    return Call("GET", "/queue", lambda answer: Queue.from_builtins(answer.json()))


def change_queue(*, delete: Sequence[str] = (), clear: bool = False) -> Call[None]:
    """POST /queue (protocol 4.2)."""
    return Call("POST", "/queue", _nothing, json={"clear": True} if clear else {"delete": list(delete)})


def history(max_items: int | None, offset: int | None) -> Call[dict[str, HistoryEntry]]:
    """GET /history (protocol 4.3)."""
    params = _given(max_items=max_items, offset=offset)
    return Call("GET", "/history", lambda answer: read_history(readable_history(answer.json())), params)


def history_of(prompt_id: str) -> Call[HistoryEntry | None]:
    """GET /history/{prompt_id} (protocol 4.3)."""
    path = f"/history/{_segment(prompt_id)}"
    return Call("GET", path, lambda answer: read_history(readable_history(answer.json())).get(prompt_id))


def change_history(*, delete: Sequence[str] = (), clear: bool = False) -> Call[None]:
    """POST /history (protocol 4.3)."""
    return Call("POST", "/history", _nothing, json={"clear": True} if clear else {"delete": list(delete)})


def interrupt(prompt_id: str | None) -> Call[None]:
    """POST /interrupt (protocol 4.4). Without an id, a second one could hit the next prompt."""
    body = {} if prompt_id is None else {"prompt_id": prompt_id}
    return Call("POST", "/interrupt", _nothing, json=body, repeatable=prompt_id is not None)


def free(unload_models: bool, free_memory: bool) -> Call[None]:
    """POST /free (protocol 4.5)."""
    return Call("POST", "/free", _nothing, json={"unload_models": unload_models, "free_memory": free_memory})


# Jobs


def jobs(
    status: Iterable[str] | None,
    workflow_id: str | None,
    sort_by: str | None,
    sort_order: str | None,
    limit: int | None,
    offset: int | None,
) -> Call[JobList]:
    """GET /api/jobs (protocol 4.6)."""
    params = _given(
        status=None if status is None else ",".join(status),
        workflow_id=workflow_id,
        sort_by=sort_by,
        sort_order=sort_order,
        limit=limit,
        offset=offset,
    )
    return Call("GET", "/api/jobs", lambda answer: JobList.from_builtins(answer.json()), params)


def job(job_id: str) -> Call[Job]:
    """GET /api/jobs/{id} (protocol 4.6)."""
    return Call("GET", f"/api/jobs/{_segment(job_id)}", lambda answer: Job.from_builtins(answer.json()))


def cancel_job(job_id: str) -> Call[bool]:
    """POST /api/jobs/{id}/cancel (protocol 4.6)."""
    return Call("POST", f"/api/jobs/{_segment(job_id)}/cancel", _flag("cancelled"), json={})


def cancel_jobs(job_ids: Sequence[str]) -> Call[bool]:
    """POST /api/jobs/cancel (protocol 4.6)."""
    return Call("POST", "/api/jobs/cancel", _flag("cancelled"), json={"job_ids": list(job_ids)})


# What the server is, and has


def object_info(node_class: str | None) -> Call[dict[str, Any]]:
    """GET /object_info (protocol 2.2)."""
    return Call("GET", "/object_info" if node_class is None else f"/object_info/{_segment(node_class)}", _object)


def system_stats() -> Call[SystemStats]:
    """GET /system_stats (protocol 2.2)."""
    return Call("GET", "/system_stats", lambda answer: SystemStats.from_builtins(answer.json()))


def features() -> Call[Features]:
    """GET /features (protocol 2.2)."""
    return Call("GET", "/features", lambda answer: Features.from_builtins(answer.json()))


def json_object(path: str) -> Call[dict[str, Any]]:
    """GET of a JSON object."""
    return Call("GET", path, _object)


def names(path: str) -> Call[list[str]]:
    """GET of a list of names."""
    return Call("GET", path, _names)


def models(folder: str) -> Call[list[str]]:
    """GET /models/{folder} (protocol 2.3)."""
    return names(f"/models/{_segment(folder)}")


def global_subgraph(subgraph_id: str) -> Call[Any]:
    """GET /global_subgraphs/{id} (protocol 2.2)."""
    return Call("GET", f"/global_subgraphs/{_segment(subgraph_id)}", _json)


def model_folders() -> Call[list[dict[str, Any]]]:
    """GET /experiment/models (protocol 2.3)."""
    return Call("GET", "/experiment/models", _list)


def model_files(folder: str) -> Call[list[dict[str, Any]]]:
    """GET /experiment/models/{folder} (protocol 2.3)."""
    return Call("GET", f"/experiment/models/{_segment(folder)}", _list)


def model_preview(folder: str, path_index: int, filename: str) -> Call[bytes]:
    """GET /experiment/models/preview/… (protocol 2.3)."""
    path = f"/experiment/models/preview/{_segment(folder)}/{path_index}/{_segment(filename, '/')}"
    return Call("GET", path, _bytes)


def view_metadata(folder: str, filename: str) -> Call[dict[str, Any]]:
    """GET /view_metadata/{folder} (protocol 2.3)."""
    return Call("GET", f"/view_metadata/{_segment(folder)}", _object, {"filename": filename})


# Files


def view_params(
    filename: str, subfolder: str, folder_type: str, preview: str | None = None, channel: str | None = None
) -> Params:
    """The query of /view (protocol 2.4)."""
    return _given(filename=filename, subfolder=subfolder, type=folder_type, preview=preview, channel=channel)


def view(params: Params) -> Call[bytes]:
    """GET /view (protocol 2.4)."""
    return Call("GET", "/view", _bytes, params)


def upload_image(file: Upload, form: Mapping[str, str]) -> Call[UploadedFile]:
    """POST /upload/image (protocol 2.5). Sending the same bytes again finds the file that is there."""
    return Call("POST", "/upload/image", lambda answer: UploadedFile.from_builtins(answer.json()), form=form, file=file)


def upload_mask(file: Upload, form: Mapping[str, str]) -> Call[UploadedFile]:
    """POST /upload/mask (protocol 2.5). A second time normally makes another file."""
    return Call(
        "POST",
        "/upload/mask",
        lambda answer: UploadedFile.from_builtins(answer.json()),
        form=form,
        file=file,
        repeatable=False,
    )


# Users, settings, user data


def users() -> Call[dict[str, Any]]:
    """GET /users (protocol 2.6)."""
    return json_object("/users")


def create_user(username: str) -> Call[str]:
    """POST /users (protocol 2.6)."""
    return Call("POST", "/users", _text, json={"username": username}, repeatable=False)


def setting(setting_id: str) -> Call[Any]:
    """GET /settings/{id} (protocol 2.6)."""
    return Call("GET", f"/settings/{_segment(setting_id)}", _json)


def store_settings(settings: Mapping[str, Any]) -> Call[None]:
    """POST /settings (protocol 2.6)."""
    return Call("POST", "/settings", _nothing, json=dict(settings))


def store_setting(setting_id: str, value: Any) -> Call[None]:
    """POST /settings/{id} (protocol 2.6)."""
    content = jsontext.dumps(value).encode("ascii")
    return Call("POST", f"/settings/{_segment(setting_id)}", _nothing, content=content)


def list_user_data(directory: str, recurse: bool, full_info: bool, split: bool) -> Call[list[Any]]:
    """GET /userdata (protocol 2.6)."""
    flags = {"recurse": recurse, "full_info": full_info, "split": split}
    return Call(
        "GET", "/userdata", _list, {"dir": directory, **{name: "true" for name, is_set in flags.items() if is_set}}
    )


def user_data(file: str) -> Call[bytes]:
    """GET /userdata/{file} (protocol 2.6)."""
    return Call("GET", f"/userdata/{_segment(file)}", _bytes)


def store_user_data(file: str, content: bytes, overwrite: bool) -> Call[str]:
    """POST /userdata/{file} (protocol 2.6)."""
    params = {"overwrite": "true" if overwrite else "false"}
    return Call("POST", f"/userdata/{_segment(file)}", _text, params, content=content, repeatable=overwrite)


def delete_user_data(file: str) -> Call[None]:
    """DELETE /userdata/{file} (protocol 2.6)."""
    return Call("DELETE", f"/userdata/{_segment(file)}", _nothing, repeatable=False)


def move_user_data(file: str, dest: str, overwrite: bool) -> Call[str]:
    """POST /userdata/{file}/move/{dest} (protocol 2.6)."""
    path = f"/userdata/{_segment(file)}/move/{_segment(dest)}"
    params = {"overwrite": "true" if overwrite else "false"}
    return Call("POST", path, _text, params, repeatable=False)


# Internal


def logs() -> Call[str]:
    """GET /internal/logs (protocol 2.7)."""
    return Call("GET", "/internal/logs", _text)


def subscribe_logs(client_id: str, enabled: bool) -> Call[None]:
    """PATCH /internal/logs/subscribe (protocol 2.7)."""
    return Call("PATCH", "/internal/logs/subscribe", _nothing, json={"clientId": client_id, "enabled": enabled})


def files(folder_type: str) -> Call[list[str]]:
    """GET /internal/files/{type} (protocol 2.7)."""
    return names(f"/internal/files/{_segment(folder_type)}")


CHOICES: Final[Mapping[str, tuple[str, str]]] = {
    "samplers": ("KSampler", "sampler_name"),
    "schedulers": ("KSampler", "scheduler"),
    "checkpoints": ("CheckpointLoaderSimple", "ckpt_name"),
    "loras": ("LoraLoader", "lora_name"),
    "vaes": ("VAELoader", "vae_name"),
    "controlnets": ("ControlNetLoader", "control_net_name"),
    "upscalers": ("UpscaleModelLoader", "model_name"),
    "hypernetworks": ("HypernetworkLoader", "hypernetwork_name"),
}
"""Where a class offers a list of names: the class and its input."""


def choices(what: str) -> Call[list[str]]:
    """GET /object_info/{class}, for the choices of one input, in either form of a COMBO (protocol 2.2)."""
    node_class, name = CHOICES[what]

    def read(answer: Answer) -> list[str]:
        inputs = _object(answer).get(node_class, {}).get("input", {})
        for group in ("required", "optional"):
            spec = inputs.get(group, {}).get(name)
            if isinstance(spec, list) and spec:
                found = spec[0] if isinstance(spec[0], list) else spec[1].get("options", [])
                return [str(choice) for choice in found]
        raise ShapeError(f"this server has no class {node_class} with an input {name}")

    return Call("GET", f"/object_info/{node_class}", read)


def json_text(value: Any) -> str:
    """A value as a JSON text, for a field of a form."""
    return jsontext.dumps(value)
