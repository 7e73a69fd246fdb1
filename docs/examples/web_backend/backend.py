"""The back end of a web page that paints pictures, in front of a ComfyUI that the page must never see.

* `POST /generate` takes `{"prompt": "a fox", "width": 512, "height": 512}`, and answers 202 and where the job is.
* `GET /jobs/{id}` says how far it is.
* `GET /jobs/{id}/events` tells it as it happens, as server-sent events: queued, progress, preview, and ended at last.
* `GET /jobs/{id}/image` is the picture.
* `DELETE /jobs/{id}` stops it.

`COMFYUI_URL=http://gpu:8188 uvicorn --factory backend:from_environment` starts it.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import anyio.abc
import msgspec
from msgspec import Meta
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from comfy_client import (
    AsyncClient,
    AsyncJob,
    ComfyError,
    ExecutionFailed,
    PromptFailed,
    ServerError,
    ServerUnreachable,
    Workflow,
)
from comfy_client.events import Ended, Event, NodeProgress, Preview, Queued

logger = logging.getLogger(__name__)

JOBS_MAX = 1000
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /generate`."""

    prompt: Annotated[str, Meta(min_length=1, max_length=1000)]
    width: Annotated[int, Meta(ge=64, le=1024, multiple_of=8)] = 512
    height: Annotated[int, Meta(ge=64, le=1024, multiple_of=8)] = 512

    def workflow(self) -> Workflow:
        """What ComfyUI is to do for it."""
        workflow = Workflow()
        nodes = workflow.nodes
        model, clip, vae = nodes.CheckpointLoaderSimple(ckpt_name=CHECKPOINT)
        samples = nodes.KSampler(
            model=model,
            positive=nodes.CLIPTextEncode(text=self.prompt, clip=clip),
            negative=nodes.CLIPTextEncode(text="text, watermark", clip=clip),
            latent_image=nodes.EmptyLatentImage(width=self.width, height=self.height, batch_size=1),
            seed=0,
            steps=20,
            cfg=8.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        )
        nodes.SaveImage(images=nodes.VAEDecode(samples=samples, vae=vae), filename_prefix="web")
        return workflow


class Studio:
    """The jobs that this back end knows: the last `JOBS_MAX` of them, while it runs."""

    def __init__(self, comfyui: AsyncClient, tasks: anyio.abc.TaskGroup) -> None:
        self._comfyui, self._tasks = comfyui, tasks
        self._jobs: dict[str, AsyncJob] = {}

    async def start(self, wish: Wish) -> AsyncJob:
        """Put a wish into ComfyUI's queue."""
        job = await self._comfyui.submit(wish.workflow(), seed="random")
        self._jobs[job.prompt_id] = job
        if len(self._jobs) > JOBS_MAX:
            del self._jobs[next(iter(self._jobs))]
        self._tasks.start_soon(follow, job)
        return job

    def job(self, request: Request) -> AsyncJob:
        """The job in the path of a request."""
        try:
            return self._jobs[request.path_params["id"]]
        except KeyError:
            raise HTTPException(404, "there is no such job") from None


async def follow(job: AsyncJob) -> None:
    """Wait for a job, also when no browser does: somebody has to read what ComfyUI sends."""
    try:
        await job.result()
    except ComfyError as error:
        logger.warning("no picture: %s", error)


async def described(job: AsyncJob) -> dict[str, Any]:
    """A job as the page sees it. What ComfyUI calls things and where it lives stays in here."""
    state = await job.status()
    progress = job.progress()
    document = {"id": job.prompt_id, "state": state, "position": progress.position, "progress": progress.fraction}
    try:
        if state == "success":
            document["image"] = f"/jobs/{job.prompt_id}/image"
        elif state in ("error", "interrupted", "lost"):
            await job.result()
    except PromptFailed as error:
        document["error"] = explanation(error)
    return document


def explanation(error: PromptFailed) -> str:
    """Why there is no picture, for whoever asked for it."""
    if isinstance(error, ExecutionFailed):
        out_of_memory = (error.exception_type or "").endswith("OutOfMemoryError")
        return "the picture is too large for the graphics card" if out_of_memory else "the picture could not be painted"
    return "the job was stopped"


async def generate(request: Request) -> Response:
    try:
        wish = msgspec.json.decode(await request.body(), type=Wish)
    except msgspec.DecodeError as problem:
        return JSONResponse({"error": str(problem)}, 422)
    job = await studio(request).start(wish)
    return JSONResponse({"id": job.prompt_id}, 202, {"Location": f"/jobs/{job.prompt_id}"})


async def show(request: Request) -> Response:
    return JSONResponse(await described(studio(request).job(request)))


async def stop(request: Request) -> Response:
    return JSONResponse({"stopped": await studio(request).job(request).cancel()})


async def image(request: Request) -> Response:
    job = studio(request).job(request)
    if await job.status() != "success":
        raise HTTPException(409, "there is no picture, or not yet")
    picture = (await job.result()).images[0]
    return Response(await picture.read(), media_type="image/png")


async def events(request: Request) -> Response:
    job = studio(request).job(request)

    async def stream() -> AsyncIterator[str]:
        async for event in job.events():  # from the beginning on, also for those who come late or again
            message = await message_of(event, job)
            if message is not None:
                name, data = message
                yield f"event: {name}\ndata: {msgspec.json.encode(data).decode()}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def message_of(event: Event, job: AsyncJob) -> tuple[str, dict[str, Any]] | None:
    """What the page is told of an event; None where it is none of its business."""
    if isinstance(event, Queued):
        return "queued", {"position": event.position}
    if isinstance(event, NodeProgress):
        return "progress", {"value": event.value, "max": event.max}
    if isinstance(event, Preview):
        return "preview", {"url": f"data:{event.image_type};base64,{base64.b64encode(event.image).decode()}"}
    if isinstance(event, Ended):
        return "ended", await described(job)
    return None


async def comfyui_failed(_request: Request, error: Exception) -> Response:
    """An answer for what ComfyUI did not do: the page may try again later, or somebody has to look at it."""
    logger.error("ComfyUI: %s", error)
    if isinstance(error, ServerUnreachable) or (isinstance(error, ServerError) and error.status in (429, 503)):
        return JSONResponse({"error": "no painter is free at the moment"}, 503, {"Retry-After": "10"})
    return JSONResponse({"error": "the painter does not do as it should"}, 502)


async def error_document(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


def studio(request: Request) -> Studio:
    found: Studio = request.app.state.studio
    return found


def create_app(comfyui: AsyncClient) -> Starlette:
    """The back end over a ComfyUI. The client is closed when it ends; what is in ComfyUI's queue goes on."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with comfyui, anyio.create_task_group() as tasks:
            app.state.studio = Studio(comfyui, tasks)
            yield
            tasks.cancel_scope.cancel()

    return Starlette(
        routes=[
            Route("/generate", generate, methods=["POST"]),
            Route("/jobs/{id}", show),
            Route("/jobs/{id}", stop, methods=["DELETE"]),
            Route("/jobs/{id}/events", events),
            Route("/jobs/{id}/image", image),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: error_document, ComfyError: comfyui_failed},
    )


def from_environment() -> Starlette:
    """The back end for production."""
    return create_app(AsyncClient(os.environ.get("COMFYUI_URL", "http://127.0.0.1:8188")))
