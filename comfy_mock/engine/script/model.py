"""A script as data: the one model behind the Python builders, the scenario files and the control API.

Times are seconds. Node behaviours and gaps count simulated seconds; the delays of the network, `delay`, `down` and the
`seconds` of a stall, are real ones by the instant clock too, for it is the client's own timers that they are to run
out.
"""

from __future__ import annotations

from typing import Any, Literal, Union

import msgspec
from msgspec import UNSET, UnsetType

Legality = Literal["legal", "broken"]
"""Whether a real ComfyUI, or the network before it, can do so; what is `broken` only proxies and other fakes do."""

Point = Literal[
    "before_taken",
    "before_first_event",
    "after_success_before_history",
    "after_history_before_end",
    "after_upgrade",
    "between_queue_and_interrupt",
    "queue_empty_before_history",
    "events_before_answer",
]
"""The gaps of the protocol, by name; docs/scripts.md says what a client sees in each.

* `before_taken`: `POST /prompt` was answered, the prompt is pending, and the worker has not noticed.
* `before_first_event`: the prompt is in `queue_running`, and no `execution_start` was sent.
* `after_success_before_history`: `execution_success` (or the error, or the interruption) was sent, the prompt is still
  in `queue_running`, and the history does not have it.
* `after_history_before_end`: the history has it, the closing `executing` was not sent.
* `after_upgrade`: a WebSocket is open, and its first `status` was not sent.
* `between_queue_and_interrupt`: the running prompt ends while `POST /interrupt` is on its way, so that another one, or
  none, is hit.
* `queue_empty_before_history` (broken): as `after_success_before_history`, but `/queue` has forgotten the prompt.
* `events_before_answer` (broken): all of a prompt's messages go out before `POST /prompt` is answered.
"""

BROKEN_POINTS: frozenset[Point] = frozenset({"queue_empty_before_history", "events_before_answer"})


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Any part of a script: plain data, equal by value, and nothing in it but what is declared."""


# -- what rules match


class NodeMatch(Part, frozen=True, kw_only=True):
    """A call of a node. `prompt` is the prompt's place among those accepted, from 1; `inputs` are some of the node's
    inputs as they stand in the prompt (a link is `[id, slot]`); `client_id` is the prompt's."""

    node: str | None = None
    class_type: str | None = None
    inputs: dict[str, Any] = {}
    prompt: int | None = None
    client_id: str | None = None


class RequestMatch(Part, frozen=True, kw_only=True):
    """A request. `route` is a method and a path, either of which may be `*`: `GET /history/{prompt_id}`, `* /view`.

    A `{name}` stands for one segment, a `*` at the end of a path for all that follows; `/api` before a path is
    left out. `query` are some of its parameters. `client_id` is the one in the query or in the body.
    """

    route: str = "*"
    query: dict[str, str] = {}
    client_id: str | None = None


class SocketMatch(Part, frozen=True, kw_only=True):
    """A WebSocket. `connection` is its place among those of the server, from 1."""

    client_id: str | None = None
    connection: int | None = None


class EventMatch(Part, frozen=True, kw_only=True):
    """A message as it is sent. `event` is its type, or `preview`, `text` or `binary`; `*` is any message.

    `node` and `value` are those of `progress`, `executing` and so on; `node: null` is the `executing` that ends a
    prompt. `prompt` is the prompt's place among those accepted, from 1.
    """

    event: str
    node: str | UnsetType | None = UNSET
    value: float | None = None
    prompt: int | None = None


class MessageMatch(EventMatch, frozen=True, kw_only=True):
    """A message on its way to one socket."""

    client_id: str | None = None
    connection: int | None = None


class PromptMatch(Part, frozen=True, kw_only=True):
    """A prompt, by its place among those accepted, from 1, and by its client."""

    prompt: int | None = None
    client_id: str | None = None


# -- what nodes do


class Previews(Part, frozen=True, kw_only=True):
    """The pictures that go with the steps. `images` are whole JPEG or PNG files, sent as they are, one per step and the
    last of them to the end; without any they are drawn, at most `size` pixels wide and high, as `format`.

    Whether they say of which node they are is, as ever, decided by the client's feature flags.
    """

    format: Literal["JPEG", "PNG"] = "JPEG"
    size: int = 512
    images: list[bytes] = []
    files: list[str] = []


class TextAt(Part, frozen=True, kw_only=True):
    """A line of text that the node shows (a binary frame of type 3), after step `at_step`; 0 is before the first."""

    text: str
    at_step: int = 0


class MessageAt(Part, frozen=True, kw_only=True):
    """A message of the node's own, `{"type": type, "data": data}`, to everybody, or to the prompt's client alone (to
    everybody after all, if the prompt has none)."""

    type: str
    data: Any = msgspec.field(default_factory=dict)
    at_step: int = 0
    to: Literal["everybody", "client"] = "everybody"


class BinaryAt(Part, frozen=True, kw_only=True):
    """A binary message of the node's own: the event number and what follows it. `to` is as in `MessageAt`."""

    event: int
    data: bytes = b""
    at_step: int = 0
    to: Literal["everybody", "client"] = "everybody"


class LogAt(Part, frozen=True, kw_only=True):
    """A line in the server's log."""

    text: str
    level: Literal["INFO", "WARNING", "ERROR"] = "WARNING"
    at_step: int = 0


class OutputFile(Part, frozen=True, kw_only=True):
    """A file that the node makes. It is listed in the node's ui under `key`. `data` is its content; `file` names one
    beside the scenario file that has it; without either it has none. `more` are further fields of its item in the ui.
    """

    filename: str
    subfolder: str = ""
    type: Literal["output", "temp", "input"] = "output"
    key: str = "images"
    data: bytes = b""
    file: str | None = None
    more: dict[str, Any] = {}


class Failure(Part, frozen=True, kw_only=True):
    """An exception in the node, after step `at_step` (None: at the end). `type` is its name as the server gives it,
    such as `ValueError` or `torch.OutOfMemoryError`; without a `traceback` one that looks real is made up."""

    type: str = "RuntimeError"
    message: str = ""
    at_step: int | None = None
    traceback: list[str] | None = None


class Hold(Part, frozen=True, kw_only=True):
    """The node stands still after step `at_step` (0: before the first) until the hold of this name is released."""

    name: str = "hold"
    at_step: int = 0


class Expand(Part, frozen=True, kw_only=True):
    """Nodes that run in the node's place, by id, and the links `[id, slot]` to what it gives."""

    nodes: dict[str, dict[str, Any]]
    outputs: list[list[Any]] = []


OUT_OF_MEMORY = "out_of_memory"


# -- rules


class Rule(Part, frozen=True, kw_only=True, dict=True, tag_field="on"):
    """What all rules have.

    The first rule that fits is used, those of a higher `priority` first. It lets the first `after` fits pass, serves
    `times` of them (None: all), and is done. One that was never used fails the test, unless it is `optional`.
    """

    name: str | None = None
    times: int | None = None
    after: int = 0
    priority: int = 0
    optional: bool = False

    @property
    def legality(self) -> Legality:
        """Whether a real server, or the network before it, can do what the rule does."""
        return "legal"


class NodeRule(Rule, frozen=True, kw_only=True, tag="node"):
    """How a node behaves. What is not said stays as the class does it; with `ui`, `files`, `text`, `values`, `expand`
    or `raises` its own work is not done.

    `duration` passes before all else. `steps` make a progress bar, each `step_time` seconds long (a list: one after the
    other, and the last of them to the end); all of them are sent, however fast, unless they are
    `throttled` as those of real nodes (protocol 6.7). Without `steps` an `at_step` counts
    those that the class itself makes, up to where it `raises`. At one step come the progress with its preview, texts,
    messages, binaries, logs, holds, and the exception. What belongs to a step that the node does not have comes at its
    end.

    `cached` plays that an earlier run has left the node, and all before it, in the cache; with false the node, and all
    behind it, runs though it is there. That is decided when the prompt begins, by the first rule that fits, if the
    prompt needs the node. All other rules are chosen when the node is called: once each time it runs, also where it
    then is called, and the rule played, for each element of a list. A rule never fits the nodes that it `expand`s to.
    """

    match: NodeMatch = NodeMatch()
    duration: float | None = None
    steps: int | None = None
    step_time: float | list[float] = 0.05
    previews: bool | Previews = False
    throttled: bool = False
    texts: list[TextAt] = []
    messages: list[MessageAt] = []
    binaries: list[BinaryAt] = []
    logs: list[LogAt] = []
    holds: list[Hold] = []
    ui: dict[str, Any] | None = None
    files: list[OutputFile] = []
    text: str | list[str] | None = None
    values: list[Any] | None = None
    raises: Failure | Literal["out_of_memory"] | None = None
    expand: Expand | None = None
    cached: bool | None = None


class RequestRule(Rule, frozen=True, kw_only=True, tag="request"):
    """A fault of one HTTP exchange.

    `status`, `body` (text, or JSON of any kind) and `headers` are sent instead of the server's answer; `retry_after`,
    whole seconds, goes with a 429 or 503. With `handled` the server does what it was asked, and its answer is lost.
    `delay` holds the answer back for so many seconds, `hold` until it is released. `reset` breaks the connection off in
    place of the answer or after its headers, `truncate` after so many bytes of its body.
    """

    match: RequestMatch = RequestMatch()
    status: int | None = None
    body: Any = UNSET
    headers: dict[str, str] = {}
    retry_after: int | None = None
    handled: bool = False
    delay: float = 0
    hold: str | None = None
    reset: Literal["before_headers", "after_headers"] | None = None
    truncate: int | None = None


class SocketRule(Rule, frozen=True, kw_only=True, tag="socket"):
    """A fault of one WebSocket.

    `refuse` answers the upgrade with this status. Otherwise, with `event` after the first such message, with
    `messages` after so many, else at once: `end: close` closes it with `code`, `abort` breaks the connection off
    without a word, `silence` leaves it open, and nothing comes or is answered any more; `stall` keeps all messages back
    for `seconds`, or until the hold `hold` is released, and then they come in order.
    """

    match: SocketMatch = SocketMatch()
    refuse: int | None = None
    end: Literal["close", "abort", "silence", "stall"] | None = None
    code: int = 1011
    event: EventMatch | None = None
    messages: int | None = None
    seconds: float | None = None
    hold: str | None = None


class MessageRule(Rule, frozen=True, kw_only=True, tag="message"):
    """A fault of one message to one socket: it is lost, comes `duplicate` more times, `delay` seconds late (those
    behind it too), after the next `reorder` ones, or after a frame of `oversize` bytes that no client knows.

    What waits for others that do not come any more is sent when the server is at rest after a prompt."""

    match: MessageMatch
    lose: bool = False
    duplicate: int = 0
    delay: float = 0
    reorder: int = 0
    oversize: int = 0

    @property
    def legality(self) -> Legality:
        """TCP loses, repeats and changes nothing within one connection."""
        return "broken" if self.lose or self.duplicate or self.reorder else "legal"


class PointRule(Rule, frozen=True, kw_only=True, tag="point"):
    """Holds one of the protocol's gaps open: for `seconds` of simulated time, until `polls` questions about prompts
    (`/history`, `/queue`, `/prompt`, `/api/jobs`) were answered in it, or until the hold `hold` is released."""

    point: Point
    match: PromptMatch = PromptMatch()
    polls: int | None = None
    hold: str | None = None
    seconds: float | None = None

    @property
    def legality(self) -> Legality:
        """The gaps are the protocol's own, but for those that only proxies and other fakes have."""
        return "broken" if self.point in BROKEN_POINTS else "legal"


class ServerRule(Rule, frozen=True, kw_only=True, tag="server"):
    """When a message is sent, the server restarts (queue, history, caches and sockets are gone, files stay), and
    refuses connections for `down` seconds; or it stops for good."""

    event: EventMatch
    action: Literal["restart", "stop"]
    down: float = 0


AnyRule = Union[NodeRule, RequestRule, SocketRule, MessageRule, PointRule, ServerRule]


# -- the server as a whole


class Memory(Part, frozen=True, kw_only=True):
    """Figures of `/system_stats`, in bytes."""

    ram_total: int | None = None
    ram_free: int | None = None
    vram_total: int | None = None
    vram_free: int | None = None
    torch_vram_total: int | None = None
    torch_vram_free: int | None = None


class ModelChange(Part, frozen=True, kw_only=True):
    """Files that appear in a models folder and disappear from it, once so many prompts were accepted."""

    folder: str
    add: list[str] = []
    remove: list[str] = []
    after_prompts: int = 0


class Script(Part, frozen=True, kw_only=True, dict=True):
    """A whole script.

    `queue_paused` lets prompts wait until the queue is resumed. For `start_up` seconds connections are refused.

    One that was read from a text has `source`, which knows the line of everything in it.
    """

    rules: list[AnyRule] = []
    queue_paused: bool = False
    start_up: float = 0
    memory: Memory = Memory()
    models: list[ModelChange] = []
