"""What a server tells of its queue, its history, its jobs and itself, as typed structs (protocol 2.2, 4).

Each struct is made with `from_builtins` or `from_json`, and `jsontext.dumps` writes it back without loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import UNSET, UnsetType, field

from comfy_contracts.messages import ExecutionError, Message, typed
from comfy_contracts.structs import Lossless, ShapeError, read_map


class ExecInfo(Lossless, frozen=True):
    """The length of the queue, pending and running together."""

    queue_remaining: int


class PromptInfo(Lossless, frozen=True):
    """The answer of `GET /prompt`."""

    exec_info: ExecInfo


class QueueItem(Lossless, frozen=True):
    """A prompt in the queue, or in a history entry: on the wire a list of five.

    `number` is its place, lowest first. `prompt` is the graph after validation, as builtins, since a server accepts
    nodes that no client should send; `prompts.parse_prompt` types it. `more` are elements past the fifth.
    """

    number: int | float
    prompt_id: str
    prompt: dict[str, Any]
    extra_data: dict[str, Any]
    outputs_to_execute: list[str]
    more: list[Any] = field(default_factory=list)

    @classmethod
    def from_builtins(cls, value: Any) -> QueueItem:
        """The item of the list. Raises `ShapeError` where it does not fit."""
        if not isinstance(value, list) or len(value) < 5:
            raise ShapeError("a queue item must be a list: number, prompt_id, prompt, extra_data, outputs_to_execute")
        names = ("number", "prompt_id", "prompt", "extra_data", "outputs_to_execute")
        return super().from_builtins({**dict(zip(names, value, strict=False)), "more": value[5:]})

    def to_builtins(self) -> list[Any]:
        """The list."""
        return [self.number, self.prompt_id, self.prompt, self.extra_data, self.outputs_to_execute, *self.more]


class Queue(Lossless, frozen=True):
    """The answer of `GET /queue`. `queue_pending` is the server's raw heap: not in order of running (protocol 4.2)."""

    queue_running: list[QueueItem]
    queue_pending: list[QueueItem]


class HistoryStatus(Lossless, frozen=True):
    """How a run ended. `status_str` is `success` or `error`; `messages` are pairs of a type and its data."""

    status_str: str
    completed: bool
    messages: list[tuple[str, Any]]

    def to_builtins(self) -> Any:
        """The JSON value."""
        return {**super().to_builtins(), "messages": [list(pair) for pair in self.messages]}

    def typed_messages(self) -> Iterator[Message]:
        """The messages of the run as `messages` has them."""
        return (typed(kind, data) for kind, data in self.messages)


class NodeMeta(Lossless, frozen=True):
    """Whose an output is: the ids of `messages.NodeProgress`."""

    node_id: str
    display_node: str
    parent_node: str | None
    real_node_id: str


class HistoryEntry(Lossless, frozen=True):
    """A finished prompt. `outputs` maps node ids to what they showed, as in `messages.Executed`."""

    prompt: QueueItem
    outputs: dict[str, dict[str, Any]]
    status: HistoryStatus | UnsetType | None = UNSET
    meta: dict[str, NodeMeta] | UnsetType = UNSET


class FileItem(Lossless, frozen=True):
    """A file that a node made or shows: `type` is `output`, `temp` or `input`, `subfolder` relative to its folder."""

    filename: str
    subfolder: str
    type: str


class JobWorkflow(Lossless, frozen=True):
    """What a job ran."""

    prompt: dict[str, Any]
    extra_data: dict[str, Any]


class Job(Lossless, frozen=True, kw_only=True):
    """A prompt as `/api/jobs` shows it (protocol 4.6). Times are in milliseconds since the epoch.

    `status` is `pending`, `in_progress`, `completed`, `failed` or `cancelled`; `priority` is the number of the queue
    item. `workflow_id` is what the client put there, of any type. The last three come from `/api/jobs/{id}` only.
    """

    id: str
    status: str
    priority: int | float
    create_time: int | UnsetType = UNSET
    execution_start_time: int | UnsetType = UNSET
    execution_end_time: int | UnsetType = UNSET
    execution_error: ExecutionError | UnsetType = UNSET
    outputs_count: int | UnsetType = UNSET
    previewable_outputs_count: int | UnsetType = UNSET
    preview_output: dict[str, Any] | UnsetType = UNSET
    workflow_id: Any = UNSET
    outputs: dict[str, dict[str, Any]] | UnsetType = UNSET
    execution_status: HistoryStatus | UnsetType = UNSET
    workflow: JobWorkflow | UnsetType = UNSET


class Pagination(Lossless, frozen=True):
    """Which part of the jobs a list is; `total` counts after filtering."""

    offset: int
    limit: int | None
    total: int
    has_more: bool


class JobList(Lossless, frozen=True):
    """The answer of `GET /api/jobs`."""

    jobs: list[Job]
    pagination: Pagination


class PackageVersion(Lossless, frozen=True):
    """A package that ComfyUI ships with; null where it is not installed or not required."""

    name: str
    installed: str | None
    required: str | None


class SystemInfo(Lossless, frozen=True, kw_only=True):
    """The machine and the versions; sizes are in bytes. What older servers do not tell is `UNSET` (protocol 10)."""

    os: str
    ram_total: int
    ram_free: int
    comfyui_version: str
    required_frontend_version: str | UnsetType | None = UNSET
    installed_templates_version: str | UnsetType | None = UNSET
    required_templates_version: str | UnsetType | None = UNSET
    comfy_package_versions: list[PackageVersion] | UnsetType = UNSET
    python_version: str
    pytorch_version: str
    embedded_python: bool
    deploy_environment: str | UnsetType = UNSET
    argv: list[str]


class Device(Lossless, frozen=True, kw_only=True):
    """A device that computes; `index` is null for the CPU. Sizes are in bytes."""

    name: str
    type: str
    index: int | None
    vram_total: int
    vram_free: int
    torch_vram_total: int
    torch_vram_free: int


class SystemStats(Lossless, frozen=True):
    """The answer of `GET /system_stats`; the first device is the primary one."""

    system: SystemInfo
    devices: list[Device]


class Features(Lossless, frozen=True, kw_only=True):
    """The answer of `GET /features`, and the data of the server's `feature_flags` message.

    `max_upload_size` is in bytes. Flags from the command line stand in `extra`.
    """

    supports_preview_metadata: bool
    supports_model_type_tags: bool | UnsetType = UNSET
    max_upload_size: int | float
    extension: dict[str, Any] | UnsetType = UNSET
    node_replacements: bool | UnsetType = UNSET
    assets: bool | UnsetType = UNSET


class UploadedFile(Lossless, frozen=True):
    """The answer of the upload routes: the name that the file got, and where it lies (protocol 2.5)."""

    name: str
    subfolder: str
    type: str
    asset: dict[str, Any] | UnsetType = UNSET


def read_history(value: Any) -> dict[str, HistoryEntry]:
    """The answer of `GET /history` or `/history/{prompt_id}`, by prompt id.

    Raises `ShapeError` where it does not fit.
    """
    return read_map(HistoryEntry, value, "a history")


def queue_items(value: Any) -> Iterator[list[Any]]:
    """The queue items in a JSON value, at any depth: in the answers of `/queue`, `/history` and `/history/{id}`.

    Each is `[number, id, graph, extra data, outputs, …]`, as it stands there (protocol 4.1).
    """
    if isinstance(value, list) and [type(item) for item in value[1:5]] == [str, dict, dict, list]:
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from queue_items(item)


def file_items(output: Mapping[str, Any] | None) -> Iterator[tuple[str, FileItem]]:
    """The files in what one node showed, each with its kind: `images`, `audio`, `latents` …"""
    for kind, items in (output or {}).items():
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict) and all(
                isinstance(item.get(key), str) for key in ("filename", "subfolder", "type")
            ):
                yield kind, FileItem.from_builtins(item)
