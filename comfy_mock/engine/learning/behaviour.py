"""What a node did, as a rule of a script has it (docs/scripts.md)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import PIL.Image
from msgspec import UNSET, structs

from comfy_contracts import messages
from comfy_contracts.frames import TextFrame, UnencodedPreview, UnknownFrame
from comfy_contracts.messages import ExecutionError
from comfy_mock.engine.failures import without_tip
from comfy_mock.engine.learning.recorded import Recorded
from comfy_mock.engine.learning.watching import Event, NodeCall, Tick
from comfy_mock.engine.progress import PAUSE_S
from comfy_mock.engine.script.model import (
    BinaryAt,
    Failure,
    MessageAt,
    NodeRule,
    OutputFile,
    Previews,
    TextAt,
)

_DIGITS = 3
"""Seconds are told to the millisecond: those of a recording are no finer."""

_FOLDERS: tuple[Literal["output", "temp", "input"], ...] = ("output", "temp", "input")
_ITEM_KEYS = ("filename", "subfolder", "type")
_PICTURES = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "gif": "GIF"}
_PLACEHOLDER_SIZE = (64, 64)
_UNENCODED = 2
Note = Callable[[str], None]


@dataclass(frozen=True)
class Ways:
    """How to learn. `plays` says of a class whether the fake plays it by itself: of such a one what it sends by itself
    is not learned, so that it does not come twice."""

    keep_pictures: bool
    plays: Callable[[str], bool]
    note: Note


def behaviour_of(call: NodeCall, recorded: Recorded, ways: Ways) -> NodeRule:
    """A rule that matches everything and does what the node did."""
    ui, files = _outputs(call, recorded, ways)
    # without outputs of the rule the class does its own work, and sends what it sends
    sends_itself = ways.plays(call.class_type) and ui is None and not files
    steps = None if sends_itself and not _counts_from_one(call) else _steps(call, ways)
    events = [] if sends_itself else call.events
    _look_at_order(call, events, ways)
    duration, step_time = _times(call, steps, events)
    return NodeRule(
        duration=duration,
        steps=steps,
        step_time=step_time,
        previews=False if steps is None else _previews(call, steps, ways),
        throttled=steps is not None and _is_throttled(call, steps),
        texts=[each for event in events for each in _text(event, steps)],
        messages=[each for event in events for each in _message(event, steps)],
        binaries=[each for event in events for each in _binary(event, steps)],
        ui=None if call.failure is not None else ui,
        files=[] if call.failure is not None else files,
        raises=None if call.failure is None else _failure(call.failure, call, steps),
    )


# -- steps and times


def _counts_from_one(call: NodeCall) -> bool:
    return bool(call.ticks) and call.ticks[0].value >= 1 and call.has_progress


def _steps(call: NodeCall, ways: Ways) -> int | None:
    if not call.ticks:
        return None
    bar = _first_bar(call)
    steps = max(1, round(max(tick.max for tick in bar)))
    if len(bar) < len(call.ticks):
        ways.note(f"{call.at} has several bars: the first is learned, and the time of all")
    missed = steps - len(bar)
    if missed and call.failure is None and not _is_throttled(call, steps):
        ways.note(f"{call.at} told {len(bar)} of its {steps} steps: the learned one tells all of them")
    if not call.has_progress:
        ways.note(f"{call.at} moved its bar without `progress` messages: the learned one sends them")
    return steps


def _is_throttled(call: NodeCall, steps: int) -> bool:
    """Whether steps are missing as the server leaves out those that follow too fast (protocol 6.7)."""
    values = [tick.value for tick in _first_bar(call)]
    return not call.previews and len(values) < steps and values[0] == 1 and values[-1] == steps


def _first_bar(call: NodeCall) -> list[Tick]:
    bar: list[Tick] = []
    for tick in call.ticks:
        if bar and (tick.value <= bar[-1].value or tick.max != bar[-1].max):
            break
        bar.append(tick)
    return bar


def _times(call: NodeCall, steps: int | None, events: list[Event]) -> tuple[float | None, float | list[float]]:
    """Seconds before all else, and of each step. What passes after the last step is in the former: a rule knows no
    other place for it, and so the whole is as long as it was."""
    default = NodeRule().step_time
    if call.began is None or call.cut:
        return None, default
    end = call.ended if call.ended is not None else _last_time(call)
    if steps is None:
        return _rounded(end - call.began), default
    times = _step_times(call, steps, max([call.began, *(event.time for event in events if event.step == 0)]))
    duration = _rounded(max(0.0, end - call.began - sum(times)))
    times += [0.0] * (steps - len(times))
    while len(times) > 1 and times[-1] == times[-2]:
        times.pop()
    return duration, times[0] if len(times) == 1 else times


def _step_times(call: NodeCall, steps: int, before: float) -> list[float]:
    times: list[float] = []
    throttled = _is_throttled(call, steps)
    for tick in _first_bar(call):
        passed = max(0.0, tick.time - before)
        untold = min(round(tick.value), steps) - len(times) - 1
        if throttled:
            # those that are to be left out come at once, and the next one when the pause is over
            is_paced = 1 < tick.value < steps
            times += [*[0.0] * untold, max(passed, PAUSE_S) if is_paced else passed]
        elif untold >= 0:
            times += [passed / (untold + 1)] * (untold + 1)
        before = tick.time
    return [_rounded(seconds) for seconds in times[:steps]]


def _last_time(call: NodeCall) -> float:
    """When the last was heard of a node that failed; nothing tells when it did."""
    assert call.began is not None
    return max([call.began, *(tick.time for tick in call.ticks), *(event.time for event in call.events)])


def _rounded(seconds: float) -> float:
    return round(max(0.0, seconds), _DIGITS)


# -- what it sent


def _rank(event: Event) -> int:
    return 0 if isinstance(event.said, TextFrame) else 1 if isinstance(event.said, messages.Unknown) else 2


def _look_at_order(call: NodeCall, events: list[Event], ways: Ways) -> None:
    order = [(event.step, _rank(event)) for event in events]
    if order != sorted(order):
        ways.note(f"{call.at} mixed texts, messages and binary messages at one step: here they come in that order")


def _at(event: Event, steps: int | None) -> int:
    return 0 if steps is None else min(event.step, steps)


def _text(event: Event, steps: int | None) -> Iterator[TextAt]:
    if isinstance(event.said, TextFrame):
        yield TextAt(text=event.said.text, at_step=_at(event, steps))


def _message(event: Event, steps: int | None) -> Iterator[MessageAt]:
    said = event.said
    if isinstance(said, messages.Unknown):
        data = {} if said.data is UNSET else said.data
        yield MessageAt(type=said.type, data=data, at_step=_at(event, steps), to=_to(event))


def _binary(event: Event, steps: int | None) -> Iterator[BinaryAt]:
    said = event.said
    if isinstance(said, (UnknownFrame, UnencodedPreview)):
        number = said.event if isinstance(said, UnknownFrame) else _UNENCODED
        yield BinaryAt(event=number, data=said.payload, at_step=_at(event, steps), to=_to(event))


def _to(event: Event) -> Literal["everybody", "client"]:
    return "client" if event.to_client else "everybody"


def _previews(call: NodeCall, steps: int, ways: Ways) -> bool | Previews:
    if not call.previews:
        return False
    shown = len({step for step, _kind, _image in call.previews})
    if shown < steps and call.failure is None:
        ways.note(f"{call.at} showed {shown} previews in {steps} steps: the learned one shows one at each")
    _step, kind, image = call.previews[0]
    if ways.keep_pictures:
        return Previews(images=[image for _step, _kind, image in call.previews])
    return Previews(format="PNG" if kind == "PNG" else "JPEG", size=_longer_side(image))


def _longer_side(image: bytes) -> int:
    try:
        with PIL.Image.open(io.BytesIO(image)) as opened:
            return max(int(side) for side in opened.size)
    except (OSError, ValueError):
        return Previews().size


def _failure(error: ExecutionError, call: NodeCall, steps: int | None) -> Failure:
    message = without_tip(error.exception_message)
    at_step = call.step if steps is not None and call.step < steps else None
    return Failure(type=error.exception_type, message=message, at_step=at_step, traceback=error.traceback)


# -- what it showed


def _outputs(call: NodeCall, recorded: Recorded, ways: Ways) -> tuple[dict[str, Any] | None, list[OutputFile]]:
    """The ui without its files, and the files; keys stay in their order."""
    if not call.ui:
        return None, []
    files: list[OutputFile] = []
    ui: dict[str, Any] = {}
    missing: list[OutputFile] = []
    for key, items in call.ui.items():
        if not (isinstance(items, list) and items and all(map(_is_file, items))):
            ui[key] = items
            continue
        ui[key] = []
        for item in items:
            file = _file(key, item, recorded, call.ended or 0.0)
            missing += [] if file.data else [file]
            files.append(file)
    if files and len(missing) == len(files) and ways.plays(call.class_type):
        ways.note(f"{call.at}: nobody fetched its files, so the class makes its own")
        return None, []
    for file in missing:
        ways.note(f"{call.at}: nobody fetched {file.filename}, so its content is made up, or empty")
    by_name = {id(file): _placeholder(file) for file in missing}
    files = [by_name.get(id(file), file) for file in files]
    return (ui if any(ui.values()) or list(ui) != _keys(files) else None), files


def _keys(files: list[OutputFile]) -> list[str]:
    return list(dict.fromkeys(file.key for file in files))


def _is_file(item: Any) -> bool:
    """Whether it is a file as the server lists it, one that lies where the fake can put it."""
    if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in _ITEM_KEYS):
        return False
    name, subfolder = item["filename"], item["subfolder"]
    sound = name and "/" not in name and "\0" not in name and not subfolder.startswith("/")
    return bool(sound) and ".." not in subfolder.split("/") and item["type"] in _FOLDERS


def _file(key: str, item: Mapping[str, Any], recorded: Recorded, made: float) -> OutputFile:
    content = recorded.content((item["type"], item["subfolder"], item["filename"]), made)
    return OutputFile(
        filename=item["filename"],
        subfolder=item["subfolder"],
        type=item["type"],
        key=key,
        data=content or b"",
        more={name: value for name, value in item.items() if name not in _ITEM_KEYS},
    )


def _placeholder(file: OutputFile) -> OutputFile:
    """The file with a plain picture in it, where its name is one of a picture."""
    picture = _PICTURES.get(file.filename.rpartition(".")[2].lower())
    if picture is None:
        return file
    content = io.BytesIO()
    PIL.Image.new("RGB", _PLACEHOLDER_SIZE, "gray").save(content, picture)
    return structs.replace(file, data=content.getvalue())
