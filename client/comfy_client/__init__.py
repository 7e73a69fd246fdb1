"""The reference client of the ComfyUI API.

    from comfy_client import Client

    with Client("http://127.0.0.1:8188") as client:
        result = client.run(workflow, timeout=300)
        for image in result.images:
            image.save("out/")

`Client` blocks, `AsyncClient` is awaited; they are the same otherwise. `Workflow` builds what they run, and
`comfy_client.events` has what a `Job` tells while it runs.
"""

from __future__ import annotations

from comfy_client import events
from comfy_client._actions import Pace
from comfy_client._async_client import AsyncClient
from comfy_client._async_jobs import AsyncEvents, AsyncJob, AsyncListening, AsyncOutput, AsyncResult
from comfy_client._errors import (
    ClientClosed,
    ComfyError,
    ExecutionFailed,
    ExecutionInterrupted,
    InvalidName,
    InvalidWorkflow,
    MetadataError,
    NotFound,
    PromptFailed,
    PromptLost,
    PromptRejected,
    ProtocolError,
    ServerError,
    ServerUnreachable,
    WaitTimeout,
    WorkflowError,
)
from comfy_client._models import OutputFile, SocketImage
from comfy_client._plugins import Plugin, TokenPlugin
from comfy_client._prompt_state import NodeView, Phase, Progress
from comfy_client._prompts import SubmitOptions
from comfy_client._retries import Retries
from comfy_client._socket_settings import SocketSettings
from comfy_client._sync_client import Client
from comfy_client._sync_jobs import Events, Job, Listening, Output, Result
from comfy_client.workflow import Workflow

__all__ = [
    "AsyncClient",
    "AsyncEvents",
    "AsyncJob",
    "AsyncListening",
    "AsyncOutput",
    "AsyncResult",
    "Client",
    "ClientClosed",
    "ComfyError",
    "Events",
    "ExecutionFailed",
    "ExecutionInterrupted",
    "InvalidName",
    "InvalidWorkflow",
    "Job",
    "Listening",
    "MetadataError",
    "NodeView",
    "NotFound",
    "Output",
    "OutputFile",
    "Pace",
    "Phase",
    "Plugin",
    "Progress",
    "PromptFailed",
    "PromptLost",
    "PromptRejected",
    "ProtocolError",
    "Result",
    "Retries",
    "ServerError",
    "ServerUnreachable",
    "SocketImage",
    "SocketSettings",
    "SubmitOptions",
    "TokenPlugin",
    "WaitTimeout",
    "Workflow",
    "WorkflowError",
    "events",
]
