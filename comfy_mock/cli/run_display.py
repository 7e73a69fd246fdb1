"""How far a run is, on a terminal or in a log."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from typing_extensions import Self

    from comfy_client import Progress as Snapshot


class Display(Protocol):
    """Shows snapshots of a prompt while it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def show(self, snapshot: Snapshot) -> None:
        """Show how far the prompt is now."""


def display_for(console: Console, titles: Mapping[str, str]) -> Display:
    """Bars where `console` is a terminal, lines where it is a file or a pipe. `titles` names the nodes by id."""
    return Bars(console, titles) if console.is_terminal else Lines(console, titles)


class Bars:
    """A bar for the whole prompt, with the time that is left, and one for each node at work or with steps."""

    def __init__(self, console: Console, titles: Mapping[str, str]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]:>9}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._titles = titles
        self._total = self._progress.add_task("total", total=1.0, count="", note="")
        self._nodes: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._progress.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Move the bars."""
        self._progress.update(
            self._total, completed=snapshot.fraction, count=f"{snapshot.fraction:.0%}", note=_note(snapshot)
        )
        for node_id, node in snapshot.nodes.items():
            if node_id not in self._nodes:
                self._nodes[node_id] = self._progress.add_task(
                    _name(node_id, self._titles), total=1.0, count="", note=""
                )
            has_steps = node.max > 1
            self._progress.update(
                self._nodes[node_id],
                completed=1.0 if node.state != "running" else node.fraction,
                count=f"{node.value:g}/{node.max:g}" if has_steps else "",
                visible=has_steps or node.state == "running",
            )


class Lines:
    """A line whenever another phase or node begins: what a log can use."""

    def __init__(self, console: Console, titles: Mapping[str, str]) -> None:
        self._console = console
        self._titles = titles
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass

    def show(self, snapshot: Snapshot) -> None:
        """Print a line if there is news."""
        if snapshot.phase == "running" and snapshot.node_id is not None:
            line = f"running {_name(snapshot.node_id, self._titles)}"
        else:
            line = " ".join(filter(None, [snapshot.phase, _note(snapshot)]))
        if line != self._said:
            self._said = line
            self._console.print(f"{snapshot.fraction:4.0%} {line}", markup=False)


def _note(snapshot: Snapshot) -> str:
    if snapshot.phase == "queued":
        return "next in the queue" if not snapshot.position else f"{snapshot.position} before it in the queue"
    return f"{snapshot.previews} previews" if snapshot.previews else ""


def _name(node_id: str, titles: Mapping[str, str]) -> str:
    return f"{node_id} {titles.get(node_id, '')}".rstrip()
