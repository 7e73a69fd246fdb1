# Written by client/make_sync.py from _async_api.py: change that one.
"""The calls of the API, one method each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Union

import httpx

from comfy_client import _calls as calls
from comfy_client._errors import NotFound
from comfy_client._models import OutputFile
from comfy_client._sync_link import Link
from comfy_client.images import to_pil
from comfy_contracts.catalogue import Catalogue
from comfy_contracts.results import (
    Features,
    FileItem,
    HistoryEntry,
    Job,
    JobList,
    Queue,
    SystemStats,
    UploadedFile,
)

if TYPE_CHECKING:
    import PIL.Image

FileSource = Union[str, os.PathLike[str], bytes, bytearray, memoryview, IO[bytes]]
AnyFile = Union[OutputFile, FileItem, UploadedFile]


class Api:
    """What every ComfyUI server can be asked.

    All methods raise `ServerUnreachable` where no answer comes, `ServerError` (for 404 `NotFound`) for an answer that
    means failure, and `ProtocolError` for one that no ComfyUI server gives.
    """

    _link: Link

    # Queue

    def queue(self) -> Queue:
        """The prompts that run and wait (protocol 4.2). `queue_pending` is in no order of running."""
        return self._link.call(calls.queue())

    def queue_remaining(self) -> int:
        """How many prompts run or wait (protocol 2.2)."""
        return (self._link.call(calls.prompt_info())).exec_info.queue_remaining

    def delete_from_queue(self, *prompt_ids: str) -> None:
        """Take pending prompts out of the queue; ids of others do nothing (protocol 4.2)."""
        self._link.call(calls.change_queue(delete=prompt_ids))

    def clear_queue(self) -> None:
        """Take all pending prompts out of the queue, also those of others (protocol 4.2)."""
        self._link.call(calls.change_queue(clear=True))

    def interrupt(self, prompt_id: str | None = None) -> None:
        """Interrupt that prompt if it runs; without an id, whatever runs (protocol 4.4).

        Servers before 0.3.56 do not read the id, and interrupt whatever runs; `Job.cancel` minds that.
        """
        self._link.call(calls.interrupt(prompt_id))

    def free(self, *, unload_models: bool = False, free_memory: bool = False) -> None:
        """Unload models; with `free_memory` also forget cached results (protocol 4.5). It happens between two runs."""
        self._link.call(calls.free(unload_models, free_memory))

    # History and jobs

    def history(self, *, max_items: int | None = None, offset: int | None = None) -> dict[str, HistoryEntry]:
        """The finished prompts by id, oldest first: the newest `max_items`, or some from `offset` on (protocol 4.3)."""
        return self._link.call(calls.history(max_items, offset))

    def history_entry(self, prompt_id: str) -> HistoryEntry | None:
        """The entry of one finished prompt; None where the history has none (protocol 4.3)."""
        return self._link.call(calls.history_of(prompt_id))

    def delete_from_history(self, *prompt_ids: str) -> None:
        """Forget finished prompts (protocol 4.3)."""
        self._link.call(calls.change_history(delete=prompt_ids))

    def clear_history(self) -> None:
        """Forget all finished prompts (protocol 4.3)."""
        self._link.call(calls.change_history(clear=True))

    def jobs(
        self,
        *,
        status: Iterable[str] | None = None,
        workflow_id: str | None = None,
        sort_by: str | None = None,
        sort_order: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> JobList:
        """Pending, running and finished prompts in one list (protocol 4.6); servers have it since 0.5.1.

        `status` is any of `pending`, `in_progress`, `completed`, `failed`, `cancelled`; `sort_by` is `created_at` or
        `execution_duration`, `sort_order` `desc` or `asc`.
        """
        return self._link.call(calls.jobs(status, workflow_id, sort_by, sort_order, limit, offset))

    def get_job(self, job_id: str) -> Job:
        """One prompt with all that is known of it (protocol 4.6). Raises `NotFound`."""
        return self._link.call(calls.job(job_id))

    def cancel_jobs(self, *job_ids: str) -> bool:
        """Interrupt or delete prompts; whether there was one to cancel (protocol 4.6). Servers have it since 0.25.0."""
        return self._link.call(calls.cancel_jobs(job_ids))

    # The server and its nodes

    def system_stats(self) -> SystemStats:
        """Versions, memory and devices (protocol 2.2)."""
        return self._link.call(calls.system_stats())

    def features(self) -> Features:
        """What the server can do (protocol 2.2)."""
        return self._link.call(calls.features())

    def object_info(self, node_class: str | None = None) -> dict[str, Any]:
        """The definitions of all node classes, or of one; of an unknown one nothing (protocol 2.2)."""
        return self._link.call(calls.object_info(node_class))

    def catalogue(self) -> Catalogue:
        """The same, for a `Workflow` to be checked against."""
        return Catalogue(self.object_info())

    def node_replacements(self) -> dict[str, Any]:
        """Which new class stands for an old one (protocol 2.2)."""
        return self._link.call(calls.json_object("/node_replacements"))

    def extensions(self) -> list[str]:
        """The paths of the frontend's extensions (protocol 2.2)."""
        return self._link.call(calls.names("/extensions"))

    def workflow_templates(self) -> dict[str, Any]:
        """The names of the workflow templates of custom nodes (protocol 2.2)."""
        return self._link.call(calls.json_object("/workflow_templates"))

    def translations(self) -> dict[str, Any]:
        """The translations of custom nodes (protocol 2.2)."""
        return self._link.call(calls.json_object("/i18n"))

    def global_subgraphs(self) -> dict[str, Any]:
        """The subgraphs that the server offers, by id (protocol 2.2)."""
        return self._link.call(calls.json_object("/global_subgraphs"))

    def global_subgraph(self, subgraph_id: str) -> dict[str, Any] | None:
        """One of them, with its `data`; None where it is unknown (protocol 2.2)."""
        found: dict[str, Any] | None = self._link.call(calls.global_subgraph(subgraph_id))
        return found

    # Models

    def embeddings(self) -> list[str]:
        """The embeddings, without extensions (protocol 2.3)."""
        return self._link.call(calls.names("/embeddings"))

    def model_types(self) -> list[str]:
        """The names of the model folders: `checkpoints`, `loras` … (protocol 2.3)."""
        return self._link.call(calls.names("/models"))

    def models(self, folder: str) -> list[str]:
        """The files in a model folder (protocol 2.3). Raises `NotFound` for an unknown one."""
        return self._link.call(calls.models(folder))

    def model_folders(self) -> list[dict[str, Any]]:
        """The model folders with their places on the server's disk and extensions (protocol 2.3)."""
        return self._link.call(calls.model_folders())

    def model_files(self, folder: str) -> list[dict[str, Any]]:
        """The files in a model folder with sizes and times (protocol 2.3). Raises `NotFound` for an unknown folder."""
        return self._link.call(calls.model_files(folder))

    def model_preview(self, folder: str, filename: str, path_index: int = 0) -> bytes:
        """The picture of a model, a WEBP file (protocol 2.3). Raises `NotFound` where there is none."""
        return self._link.call(calls.model_preview(folder, path_index, filename))

    def model_metadata(self, folder: str, filename: str) -> dict[str, Any]:
        """The metadata in a safetensors file (protocol 2.3). Raises `NotFound` where there are none."""
        return self._link.call(calls.view_metadata(folder, filename))

    def samplers(self) -> list[str]:
        """The samplers that KSampler takes."""
        return self._link.call(calls.choices("samplers"))

    def schedulers(self) -> list[str]:
        """The schedulers that KSampler takes."""
        return self._link.call(calls.choices("schedulers"))

    def checkpoints(self) -> list[str]:
        """The checkpoints that can be loaded."""
        return self._link.call(calls.choices("checkpoints"))

    def loras(self) -> list[str]:
        """The LoRAs that can be loaded."""
        return self._link.call(calls.choices("loras"))

    def vaes(self) -> list[str]:
        """The VAEs that can be loaded."""
        return self._link.call(calls.choices("vaes"))

    def controlnets(self) -> list[str]:
        """The ControlNets that can be loaded."""
        return self._link.call(calls.choices("controlnets"))

    def upscalers(self) -> list[str]:
        """The upscale models that can be loaded."""
        return self._link.call(calls.choices("upscalers"))

    def hypernetworks(self) -> list[str]:
        """The hypernetworks that can be loaded."""
        return self._link.call(calls.choices("hypernetworks"))

    # Files

    def view_url(self, file: AnyFile | str, *, subfolder: str = "", type: str = "output") -> str:  # noqa: A002 - its word
        """Where a file can be fetched; `file` is one of a result, or a name (protocol 2.4)."""
        params = _place(file, subfolder, type)
        return str(self._link.request("GET", "/view", params=params).url)

    def view(
        self,
        file: AnyFile | str,
        *,
        subfolder: str = "",
        type: str = "output",  # noqa: A002 - ComfyUI's own word
        preview: str | None = None,
        channel: str | None = None,
    ) -> bytes:
        """The content of a file, or with `preview` or `channel` a picture made of it (protocol 2.4).

        `file` is one of a result, or a name in the folder `type` (`output`, `input`, `temp`). `preview` is `webp` or
        `jpeg`, also with a quality, `webp;80`; `channel` is `rgb` or `a`. Raises `NotFound`.
        """
        params = _place(file, subfolder, type)
        extra = {name: value for name, value in (("preview", preview), ("channel", channel)) if value is not None}
        return self._link.call(calls.view({**params, **extra}))

    def view_image(self, file: AnyFile | str, **place: str) -> PIL.Image.Image:
        """A picture as Pillow has it; arguments as of `view`."""
        return to_pil(self.view(file, **place))

    def upload_image(
        self,
        file: FileSource,
        *,
        name: str | None = None,
        subfolder: str = "",
        type: str = "input",  # noqa: A002 - ComfyUI's own word
        overwrite: bool = False,
    ) -> UploadedFile:
        """Put a file, of any kind, where nodes can load it (protocol 2.5).

        `file` is a path, a file opened for reading bytes, or content, which needs a `name`.

        The `name` of the answer may be another one: unless `overwrite` is set, a file with other content is kept.
        """
        upload = _upload(file, name)
        form = {"type": type, "subfolder": subfolder, **({"overwrite": "true"} if overwrite else {})}
        return self._link.call(calls.upload_image(upload, form))

    def upload_mask(
        self,
        file: FileSource,
        original: AnyFile,
        *,
        name: str | None = None,
        subfolder: str = "",
        type: str = "input",  # noqa: A002 - ComfyUI's own word
        overwrite: bool = False,
    ) -> UploadedFile:
        """Put a copy of `original`, with the alpha of the picture `file`, where nodes can load it (protocol 2.5).

        Raises `NotFound` where there is no `original`: the server itself would not say so.
        """
        place = _place(original, "", "output")
        self._link.call(calls.view({**place, "channel": "a"}))
        form = {
            "type": type,
            "subfolder": subfolder,
            "original_ref": calls.json_text(place),
            **({"overwrite": "true"} if overwrite else {}),
        }
        return self._link.call(calls.upload_mask(_upload(file, name), form))

    def files(self, type: str = "output") -> list[str]:  # noqa: A002 - ComfyUI's own word
        """The names in a folder, the newest first, each followed by ` [output]` or the like (protocol 2.7)."""
        return self._link.call(calls.files(type))

    def folder_paths(self) -> dict[str, Any]:
        """Where on the server's disk models are (protocol 2.7)."""
        return self._link.call(calls.json_object("/internal/folder_paths"))

    # Users, settings, user data

    def users(self) -> dict[str, Any]:
        """How users are kept, and in multi-user mode their names by id (protocol 2.6)."""
        return self._link.call(calls.users())

    def create_user(self, username: str) -> str:
        """Make a user; its id (protocol 2.6). Raises `ServerError` (400) for a name that is taken or not allowed."""
        return self._link.call(calls.create_user(username))

    def settings(self) -> dict[str, Any]:
        """All settings of the user (protocol 2.6)."""
        return self._link.call(calls.json_object("/settings"))

    def setting(self, setting_id: str) -> Any:
        """One setting; None where it was never stored (protocol 2.6)."""
        return self._link.call(calls.setting(setting_id))

    def store_settings(self, settings: Mapping[str, Any]) -> None:
        """Store several settings; others stay (protocol 2.6)."""
        self._link.call(calls.store_settings(settings))

    def store_setting(self, setting_id: str, value: Any) -> None:
        """Store one setting (protocol 2.6)."""
        self._link.call(calls.store_setting(setting_id, value))

    def list_user_data(
        self, directory: str, *, recurse: bool = False, full_info: bool = False, split: bool = False
    ) -> list[Any]:
        """The files in a folder of the user's data (protocol 2.6). Raises `NotFound` where there is no such folder."""
        return self._link.call(calls.list_user_data(directory, recurse, full_info, split))

    def user_data(self, file: str) -> bytes | None:
        """A file of the user's data; None where there is none (protocol 2.6)."""
        try:
            return self._link.call(calls.user_data(file))
        except NotFound:
            return None

    def store_user_data(self, file: str, content: bytes, *, overwrite: bool = True) -> str:
        """Write a file of the user's data; its path (protocol 2.6).

        Raises `ServerError` (409) where there is one and `overwrite` is false.
        """
        return self._link.call(calls.store_user_data(file, content, overwrite))

    def delete_user_data(self, file: str) -> None:
        """Remove a file of the user's data (protocol 2.6). Raises `NotFound`."""
        self._link.call(calls.delete_user_data(file))

    def move_user_data(self, file: str, dest: str, *, overwrite: bool = True) -> str:
        """Rename a file of the user's data; its path (protocol 2.6). Raises `NotFound`."""
        return self._link.call(calls.move_user_data(file, dest, overwrite))

    # Logs

    def logs(self) -> str:
        """The server's log (protocol 2.7)."""
        return self._link.call(calls.logs())

    def raw_logs(self) -> dict[str, Any]:
        """Its last entries with their times, and the size of its terminal (protocol 2.7)."""
        return self._link.call(calls.json_object("/internal/logs/raw"))

    def subscribe_logs(self, enabled: bool = True) -> None:
        """Have new log entries sent as events `logs`, while connected (protocol 2.7)."""
        self._link.call(calls.subscribe_logs(self._link.client_id, enabled))

    # Anything else

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Any request, for routes of custom nodes; arguments as of httpx's `build_request`, no status is an error."""
        return self._link.send(self._link.request(method, path, **arguments))


def _place(file: AnyFile | str, subfolder: str, folder_type: str) -> dict[str, str]:
    if isinstance(file, str):
        return calls.view_params(file, subfolder, folder_type)
    name = file.name if isinstance(file, UploadedFile) else file.filename
    return calls.view_params(name, file.subfolder, file.type)


def _upload(file: FileSource, name: str | None) -> calls.Upload:
    if isinstance(file, (str, os.PathLike)):
        path = Path(file)
        return calls.Upload(name or path.name, path.read_bytes())
    if isinstance(file, (bytes, bytearray, memoryview)):
        content = bytes(file)
    else:
        content = file.read()
        if not isinstance(content, bytes):
            raise TypeError("the file gives text: open it with mode 'rb'")
        own = getattr(file, "name", None)
        name = name or (Path(own).name if isinstance(own, str) else None)
    if name is None:
        raise ValueError("content has no name of its own: give one, name='picture.png'")
    return calls.Upload(name, content)
