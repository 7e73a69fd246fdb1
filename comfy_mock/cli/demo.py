"""`comfy-mock demo`: the default text-to-image workflow on a fake server, through its HTTP and WebSocket."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

import comfy_mock
from comfy_contracts import frames, jsontext, messages
from comfy_mock.cli import arguments
from comfy_mock.cli.trace import PREVIEW, Trace

if TYPE_CHECKING:
    import httpx
    from websockets.sync.client import ClientConnection

CLIENT_ID = "comfy-mock-demo"
_SILENCE_S_MAX = 60.0

NEXT = """\
Where to go next
  comfy-mock serve         a fake ComfyUI on port 8188, for your app to talk to
  comfy-mock serve --help  its models, node classes, speed, and ComfyUI's own switches
  in your tests            from comfy_mock import ComfyMock
                           with ComfyMock() as server: ...  # server.url"""


def demo(
    speed: Annotated[
        float, typer.Option(metavar="FACTOR", callback=arguments.speed, help="How many times as fast to run.")
    ] = 1.0,
) -> None:
    """Run the default text-to-image workflow on a fake server, and save its picture in the current directory."""
    import httpx
    from websockets.sync.client import connect

    console = Console(highlight=False, soft_wrap=True)
    workflow = default_workflow()
    with comfy_mock.ComfyMock(clock="real", speed=speed, preview_method="latent2rgb") as server:
        console.print(
            f"comfy-mock {comfy_mock.__version__} plays ComfyUI {server.engine.options.version} at {server.url}"
        )
        address = f"{server.url.replace('http', 'ws', 1)}/ws?clientId={CLIENT_ID}"
        with httpx.Client(base_url=server.url) as http, connect(address, max_size=None) as socket:
            trace = run(http, socket, workflow, console)
            picture = fetch_picture(http)
    path = save_new(*picture)
    console.print("\nWhat its socket said")
    for line in trace.lines():
        console.print(f"  {line}", markup=False)
    console.print(
        f"\nSaved {path} ({len(picture[1])} bytes, {trace.counts[PREVIEW]} previews on the way).\n", markup=False
    )
    console.print(NEXT, markup=False)


def default_workflow() -> dict[str, Any]:
    """ComfyUI's default text-to-image graph, in API format."""
    file = resources.files("comfy_mock") / "data" / "default_workflow.json"
    return dict(jsontext.loads(file.read_bytes()))


def run(http: httpx.Client, socket: ClientConnection, workflow: dict[str, Any], console: Console) -> Trace:
    """Submit the workflow and follow it to its end, showing how far it is."""
    trace = Trace({node_id: node["class_type"] for node_id, node in workflow.items()})
    body = jsontext.dumps({"prompt": workflow, "client_id": CLIENT_ID})
    started = time.monotonic()
    prompt_id = http.post("/prompt", content=body).raise_for_status().json()["prompt_id"]
    console.print(f"POST /prompt: the default text-to-image workflow, {len(workflow)} nodes, is prompt {prompt_id}")
    with _Bars(console, nodes=len(workflow)) as bars:
        for event in _events(socket):
            trace.add(time.monotonic() - started, event)
            bars.show(event)
            if isinstance(event, messages.Executing) and event.node is None:
                return trace
    raise AssertionError("the events end with the prompt")


def _events(socket: ClientConnection) -> Iterator[messages.Message | frames.Frame]:
    while True:
        received = socket.recv(timeout=_SILENCE_S_MAX)
        yield messages.decode(received) if isinstance(received, str) else frames.decode(received)


class _Bars:
    """One bar for the nodes, one for the sampler's steps."""

    def __init__(self, console: Console, *, nodes: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._nodes = self._progress.add_task("nodes", total=nodes, note="")
        self._steps: TaskID | None = None
        self._previews = 0

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: messages.Message | frames.Frame) -> None:
        if isinstance(event, messages.ProgressState):
            done = sum(node.state == "finished" for node in event.nodes.values())
            self._progress.update(self._nodes, completed=done)
        elif isinstance(event, messages.Progress):
            if self._steps is None:
                self._steps = self._progress.add_task("steps", total=event.max, note="")
            self._progress.update(self._steps, completed=event.value)
        elif isinstance(event, frames.PreviewFrame) and self._steps is not None:
            self._previews += 1
            self._progress.update(self._steps, note=f"{self._previews} previews")


def fetch_picture(http: httpx.Client) -> tuple[str, bytes]:
    """Name and content of the first picture in the history."""
    (entry,) = http.get("/history").raise_for_status().json().values()
    (image,) = next(iter(entry["outputs"].values()))["images"]
    return image["filename"], http.get("/view", params=image).raise_for_status().content


def save_new(name: str, content: bytes) -> Path:
    """Save under the server's name in the current directory, counting on where that is taken, as ComfyUI does."""
    path = Path(name)
    while path.exists():
        path = Path(re.sub(r"_(\d+)_", lambda match: f"_{int(match[1]) + 1:05}_", path.name))
    try:
        with path.open("xb") as file:
            file.write(content)
    except OSError as problem:
        typer.echo(f"comfy-mock: cannot save {path} in {Path.cwd()}: {problem.strerror}", err=True)
        raise typer.Exit(1) from problem
    return path
