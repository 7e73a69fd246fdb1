"""A strict user of all that comfy_client makes public. mypy reads it, and its blocking form; nobody runs it."""

from __future__ import annotations

import io
import ssl
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Literal

import httpx
import PIL.Image

from comfy_client import (
    AsyncClient,
    AsyncEvents,
    AsyncJob,
    AsyncListening,
    AsyncOutput,
    AsyncResult,
    ClientClosed,
    ComfyError,
    ExecutionFailed,
    ExecutionInterrupted,
    InvalidName,
    InvalidWorkflow,
    MetadataError,
    NodeView,
    NotFound,
    OutputFile,
    Pace,
    Phase,
    Plugin,
    Progress,
    PromptFailed,
    PromptLost,
    PromptRejected,
    ProtocolError,
    Retries,
    ServerError,
    ServerUnreachable,
    SocketImage,
    SocketSettings,
    SubmitOptions,
    TokenPlugin,
    WaitTimeout,
    Workflow,
    WorkflowError,
    events,
)
from comfy_contracts.catalogue import Catalogue
from comfy_contracts.prompts import NodeErrors
from comfy_contracts.results import Features, HistoryEntry, JobList, Queue, SystemStats, UploadedFile
from comfy_contracts.results import Job as ListedJob


class Login(Plugin):
    def __init__(self) -> None:
        self.token: str | None = None

    def flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        if response.status_code == 401:
            yield request

    def on_event(self, name: str, payload: Any) -> None:
        print(name.upper(), payload)


def made() -> AsyncClient:
    client = AsyncClient(
        "https://example.com/comfy",
        client_id="me",
        user="bob",
        headers={"X": "1"},
        cookies={"a": "b"},
        auth=("me", "secret"),
        verify=ssl.create_default_context(),
        timeout=httpx.Timeout(5.0),
        trust_env=False,
        retries=Retries(attempts=2, first_wait=0.1, longest_wait=1.0, retry_after_max=5.0),
        pace=Pace(poll_interval=0.5, watch_interval=2.0, lost_after=5.0, entry_after=2.0, unreachable_after=9.0),
        socket=SocketSettings(max_size=None, max_queue=1, ping_interval=None, ping_timeout=None, open_timeout=1.0),
    )
    client.use(Login())
    client.use(TokenPlugin("t", param="token"))
    return client


async def running(client: AsyncClient, workflow: Workflow, own: dict[str, Any]) -> None:
    options: SubmitOptions = {"path": "polling", "seed": "random", "front": True, "number": 1.5, "targets": ["9"]}
    job: AsyncJob = await client.submit(workflow, **options)
    stop = job.on_progress(lambda progress: print(progress.fraction + 1))
    stop()
    phase: Phase = await job.status()
    number: float | None = job.number
    errors: dict[str, NodeErrors] = job.node_errors
    told: AsyncEvents = job.events()
    async for event in told:
        seen(event)
    state: str = await job.wait(3.0)
    result: AsyncResult = await job.result(timeout=None)
    cancelled: bool = await job.cancel()
    progress: Progress = job.progress()
    nodes: Mapping[str, NodeView] = progress.nodes
    print(job.prompt_id.upper(), job.phase, phase, number, errors, state, cancelled, nodes, progress.position)
    again = await client.run(own, timeout=5, on_progress=print, fetch=True, seed=4, poll_interval=0.1, prompt_id="x")
    assert again == result
    await results(await again.fetch())
    later: AsyncJob = client.job("id", path="auto", poll_interval=1.0)
    await results(await client.wait_for(later.prompt_id, timeout=1.0, path="websocket"))
    word: Literal["submitted", "queued", "running", "success", "error", "interrupted", "lost", "rejected"]
    word = await client.prompt_status("id")
    outputs: dict[str, dict[str, Any]] = await client.prompt_outputs("id")
    print(word, outputs, await client.prompt_result("id"))


def seen(event: events.Event) -> float | str | None:
    if isinstance(event, events.NodeProgress):
        return event.fraction + event.value / event.max
    if isinstance(event, events.Preview):
        return event.image_type if event.image.startswith(b"x") else event.node_id
    if isinstance(event, events.Ended):
        return event.outcome.upper()
    return event.prompt_id


async def results(result: AsyncResult) -> list[PIL.Image.Image]:
    pictures: list[PIL.Image.Image] = []
    files: list[AsyncOutput] = [*result.files, *result.images]
    for output in files:
        content: bytes = await output.read()
        where: Path = await output.save("out/", overwrite=True)
        file: OutputFile = output.file
        pictures.append(await output.pil())
        workflow: Any = (await output.metadata()).workflow
        print(output.filename + output.url + output.node_id + file.type, len(content), where.stem, workflow)
    sent: list[SocketImage] = result.socket_images
    pictures += [image.pil() for image in sent]
    names: list[str] = result.reduce(lambda found, output, node_id: [*found, node_id], list[str]())
    texts: dict[str, tuple[str, ...]] = result.texts
    entry: HistoryEntry | None = result.entry
    print(names, texts, entry, result.outputs["9"]["images"], result.prompt_id.upper())
    return pictures


async def errors(client: AsyncClient) -> str | None:
    try:
        await client.run({})
    except InvalidWorkflow as error:
        return error.problems[0].message
    except WorkflowError as error:
        return str(error)
    except PromptRejected as error:
        return error.error.message + error.node_errors["1"].class_type
    except ExecutionFailed as error:
        return "".join(error.traceback) + str(error.current_inputs["x"])
    except ExecutionInterrupted as error:
        return error.node_id
    except PromptLost as error:
        return error.prompt_id
    except PromptFailed as error:
        return error.prompt_id
    return None


async def errors_of_the_server(client: AsyncClient) -> str | None:
    try:
        await client.run({})
    except WaitTimeout as error:
        return error.state
    except ServerUnreachable as error:
        return error.url + error.reason
    except NotFound as error:
        return error.body
    except ServerError as error:
        return str(error.status + 1)
    except ProtocolError as error:
        return error.problem
    except InvalidName as error:
        return error.name
    except MetadataError as error:
        return str(error)
    except (ClientClosed, ComfyError):
        return None
    return None


async def socket(client: AsyncClient) -> None:
    await client.connect("auto")
    off = client.on("executed", print)
    off()
    client.once("*", lambda name, payload: print(name, payload))
    client.off("executed")
    names: list[str] = client.listened_names()
    listening: AsyncListening = client.listen(1.0, path="polling", poll_interval=0.5)
    async for name, payload in listening:
        print(name.upper(), payload, listening.dropped + 1)
    up: tuple[bool, bool] = client.connected, client.closed
    print(names, up, client.client_id.upper(), client.base_url.upper())
    await client.subscribe_logs()
    await client.disconnect()
    await client.close()


async def prompts(client: AsyncClient) -> None:
    queue: Queue = await client.queue()
    left: int = await client.queue_remaining()
    await client.delete_from_queue("a", "b")
    await client.clear_queue()
    await client.interrupt("a")
    await client.free(unload_models=True, free_memory=True)
    history: dict[str, HistoryEntry] = await client.history(max_items=1, offset=2)
    entry: HistoryEntry | None = await client.history_entry("a")
    await client.delete_from_history("a")
    await client.clear_history()
    jobs: JobList = await client.jobs(status=["pending"], limit=1, offset=0, sort_by="created_at", sort_order="asc")
    one: ListedJob = await client.get_job("a")
    cancelled: bool = await client.cancel_jobs("a")
    print(queue.queue_running[0].prompt_id, left + 1, history, entry, jobs.jobs, one.id, cancelled)


async def server(client: AsyncClient) -> None:
    stats: SystemStats = await client.system_stats()
    features: Features = await client.features()
    catalogue: Catalogue = await client.catalogue()
    objects: list[dict[str, Any]] = [
        await client.object_info("KSampler"),
        await client.node_replacements(),
        await client.workflow_templates(),
        await client.translations(),
        await client.global_subgraphs(),
        await client.global_subgraph("a") or {},
        await client.model_metadata("loras", "a"),
        await client.folder_paths(),
        await client.users(),
        await client.settings(),
        await client.raw_logs(),
        *await client.model_folders(),
        *await client.model_files("loras"),
    ]
    names: list[str] = [
        *await client.extensions(),
        *await client.embeddings(),
        *await client.model_types(),
        *await client.models("loras"),
        *await client.samplers(),
        *await client.schedulers(),
        *await client.checkpoints(),
        *await client.loras(),
        *await client.vaes(),
        *await client.controlnets(),
        *await client.upscalers(),
        *await client.hypernetworks(),
        *await client.files("output"),
        await client.create_user("bob"),
        await client.store_user_data("a", b"", overwrite=False),
        await client.move_user_data("a", "b"),
        await client.logs(),
    ]
    await client.store_settings({"a": 1})
    await client.store_setting("a", 1)
    await client.delete_user_data("a")
    value: Any = await client.setting("a")
    listed: list[Any] = await client.list_user_data("workflows", recurse=True)
    data: bytes | None = await client.user_data("a")
    response: httpx.Response = await client.request("GET", "/custom", params={"a": "b"})
    print(stats.system.comfyui_version, features, catalogue, objects, names, value, listed, data, response.status_code)


async def files(client: AsyncClient) -> None:
    await client.upload_image(io.BytesIO(b"x"), name="b.png")
    uploaded: UploadedFile = await client.upload_image(Path("a.png"), subfolder="b", type="input", overwrite=True)
    mask: UploadedFile = await client.upload_mask(b"", uploaded, name="m.png")
    content: bytes = await client.view(uploaded, preview="webp;80", channel="rgb") + await client.view("a.png")
    picture: PIL.Image.Image = await client.view_image(mask)
    preview: bytes = await client.model_preview("loras", "a", path_index=1)
    print(client.view_url(uploaded).upper(), client.view_url("a", type="temp"), content, picture.size, preview)
