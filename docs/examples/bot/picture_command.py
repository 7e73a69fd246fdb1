"""The `/picture` command of a chat bot: one reply that tells the place in the queue, then the progress, then shows it.

Nothing in here knows the chat: `Reply` is the one thing that it needs of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Protocol

from comfy_client import (
    AsyncClient,
    AsyncJob,
    ComfyError,
    ExecutionFailed,
    ExecutionInterrupted,
    PromptLost,
    PromptRejected,
    ServerError,
    Workflow,
)
from comfy_client.events import NodeProgress, Queued

logger = logging.getLogger(__name__)

WORKFLOW = Path(__file__).with_name("workflow.json")  # Workflow > Export (API) in ComfyUI


class Reply(Protocol):
    """The bot's own message below a command, which is edited as things go on."""

    async def edit(self, text: str, picture: bytes | None = None) -> None: ...


class PictureCommand:
    """Paints what users wish: one picture a user at a time, and none while `queue_max` others wait.

    `timeout` is how many seconds one may take, the time in the queue included.
    """

    def __init__(self, comfyui: AsyncClient, *, queue_max: int = 20, timeout: float = 600.0) -> None:
        self._comfyui, self._queue_max, self._timeout = comfyui, queue_max, timeout
        self._workflow = Workflow.from_file(WORKFLOW)
        self._jobs: dict[str, AsyncJob | None] = {}

    async def __call__(self, user: str, wish: str, reply: Reply) -> None:
        """Paint, and tell how it goes. What ComfyUI or the network does wrong ends as a text, not as an exception."""
        if user in self._jobs:
            await reply.edit("One picture at a time: yours is still in the works.")
            return
        self._jobs[user] = None
        try:
            await reply.edit("Here you are:", await self._picture(user, wish, reply))
        except (ComfyError, Refusal) as error:
            logger.warning("no picture for %s: %s", user, error)
            await reply.edit(explanation(error))
        finally:
            del self._jobs[user]

    async def cancel(self, user: str) -> bool:
        """Stop painting for a user; whether there was something to stop."""
        job = self._jobs.get(user)
        return job is not None and await job.cancel()

    async def _picture(self, user: str, wish: str, reply: Reply) -> bytes:
        if await self._comfyui.queue_remaining() >= self._queue_max:
            raise Refusal("The queue is full. Please ask again in a few minutes.")
        workflow = self._workflow.copy()
        workflow.one(title="Positive Prompt").inputs["text"] = wish
        try:
            return await self._painted(user, workflow, reply)
        except PromptLost:
            await reply.edit("ComfyUI was restarted in the middle of your picture: starting over.")
            return await self._painted(user, workflow, reply)

    async def _painted(self, user: str, workflow: Workflow, reply: Reply) -> bytes:
        self._jobs[user] = job = await self._comfyui.submit(workflow, seed="random")
        try:
            await asyncio.wait_for(follow(job, reply), self._timeout)
        except asyncio.TimeoutError:
            await job.cancel()
            raise Refusal(f"This took more than {self._timeout:g} seconds, so I gave up.") from None
        result = await job.result()
        return await result.images[0].read()


class Refusal(Exception):
    """The bot itself says no; the text is for the user."""


async def follow(job: AsyncJob, reply: Reply) -> None:
    """Edit the reply as a job goes on, until it is over. A chat allows few edits, so progress comes in tens."""
    told = ""
    with contextlib.suppress(ComfyError):  # a courtesy: the server does not tell the place in the queue by itself
        await job.status()
    async for event in job.events():
        text = told
        if isinstance(event, Queued) and event.position is not None:
            text = f"In the queue; pictures before yours: {event.position}"
        elif isinstance(event, NodeProgress):
            text = f"Painting: {10 * int(10 * event.value / event.max)} %"
        if text != told:
            told = text
            await reply.edit(text)


def explanation(error: Exception) -> str:
    """What went wrong, for somebody who has never heard of ComfyUI."""
    match error:
        case Refusal():
            return str(error)
        case ExecutionInterrupted():
            return "Cancelled."
        case ExecutionFailed(exception_type=kind) if kind and kind.endswith("OutOfMemoryError"):
            return "The graphics card ran out of memory. Please ask for something simpler, or later."
        case ExecutionFailed(node_type=node):
            return f"Painting failed at the step {node}. The people who run me will find out why."
        case PromptRejected():
            return "The server cannot paint this at the moment. The people who run me will find out why."
        case PromptLost():
            return "ComfyUI keeps restarting. Please ask again later."
        case ServerError(status=429 | 503):
            return "The server has too much to do. Please ask again in a few minutes."
        case _:
            return "The server cannot be reached. Please ask again later."
