"""The pages about the client: their programs run, and the names in the table are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import PIL.Image
import pytest

import comfy_client
from comfy_client import Client, Workflow
from comfy_client import workflow as workflow_module
from comfy_mock import ComfyMock
from comfy_mock.cli.demo import default_workflow

DOCS = Path(__file__).parents[2] / "docs"
PROGRAMS = re.findall(r"```python\n(.*?)```", (DOCS / "client.md").read_text("utf-8"), re.DOTALL)
TABLE = (DOCS / "client-from-javascript.md").read_text("utf-8")

MEMBERS = re.findall(
    r"\w+",
    """
    use getExtensions getEmbeddings getNodeDefs queuePrompt getItems getQueue getHistory getSystemStats deleteItem
    clearItems interrupt free getUserConfig createUser getSettings getSetting storeSettings storeSetting getUserData
    storeUserData getModelFolders getModels viewMetadata getLogs getRawLogs getSamplers getSchedulers getSDModels
    getCNetModels getUpscaleModels getHyperNetworks getLoRAs getVAEs getPromptStatus getPromptOutputs getPromptResult
    waitForPrompt waitForPromptWebSocket _enqueue_prompt runPrompt enqueue_polling enqueue on_progress

    DEFAULT_API_HOST DEFAULT_API_BASE DEFAULT_USER IS_BROWSER readBinaryData api_host api_base clientId socket WebSocket
    ssl user fetch events registered apiHeaders apiURL internalURL viewURL wsURL fetchApi addEventListener on once init
    closed close connect disconnect _disconnectSocket _disconnectPolling

    task_id is_done enqueued query interrupt wait_polling wait on_start dispose is_disposed resolver delay_done_ms
    is_current_ws_executing

    classes node reset end workflow invoke instance invoke_polling

    install addHook LoginAuthPlugin RESOLVERS outToB64Urls BasePipe EfficientPipe
    """,
)
"""The public members of Client, WsClient, InvokedWorkflow, Workflow, Plugin: the declarations of release 1.5.9."""


@pytest.fixture(scope="module")
def server() -> Iterator[ComfyMock]:
    with ComfyMock() as mock:
        yield mock


@pytest.mark.parametrize("program", PROGRAMS, ids=[str(number) for number in range(len(PROGRAMS))])
def test_the_programs_run(
    program: str, server: ComfyMock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Workflow.from_dict(default_workflow()).save("workflow.json")
    PIL.Image.new("RGB", (4, 2)).save("photo.png")
    there = program.replace("http://127.0.0.1:8188", server.url).replace("Client()", f'Client("{server.url}")')
    names: dict[str, Any] = {
        "__name__": "__main__",
        "Client": Client,
        "Workflow": Workflow,
        "workflow": Workflow.from_dict(default_workflow()),
    }
    exec(compile(there, "client.md", "exec"), names)


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def rows() -> list[list[str]]:
    lines = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| JavaScript")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_member_of_the_javascript_client_is_in_the_table() -> None:
    named = {word for row in rows() for text in code(row[0]) for word in re.findall(r"\w+", text)}
    assert set(MEMBERS) <= named


def test_every_name_on_our_side_of_the_table_is_there() -> None:
    checked = 0
    for row in rows():
        for text in code(row[1]):
            owner, _, member = text.partition("(")[0].partition(".")
            home = next((one for one in (comfy_client, workflow_module) if hasattr(one, owner)), None)
            if owner[:1].isupper():
                assert home is not None, text
                target = getattr(home, owner)
                assert not member or member in names_of(target), text
                checked += 1
    assert checked > 80


def names_of(cls: type) -> set[str]:
    """The public names of a class and of its instances."""
    own = set(vars(cls(None))) if cls is Workflow else set(getattr(cls, "__dataclass_fields__", ()))
    return {name for name in {*dir(cls), *own} if not name.startswith("_")}


def test_every_public_name_is_in_the_documentation() -> None:
    named = set(re.findall(r"\w+", (DOCS / "client.md").read_text("utf-8")))
    public = {*comfy_client.__all__, *(event.__name__ for event in get_args(comfy_client.events.Event))}
    for cls in (Client, comfy_client.Job, comfy_client.Result, comfy_client.Output, comfy_client.SocketImage, Workflow):
        public |= names_of(cls)
    assert public - named == set()
