"""What may differ between two traffics that count as equal: the rules, as data.

A recording of a real server and the same requests driven against another one never agree to the byte: ids are random,
clocks go on, pictures are drawn anew. The tables here say all that is free, how, and why. Whatever no rule names must
be equal: keys and their order, types (int and float differ), strings, the order of lists, counts. The comparison
(`comfy_contracts.compare`) reads these tables, and documentation prints them with `describe`.

HTTP answers and the messages of each socket are separate channels: order counts inside each of them, not between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Free(Enum):
    """How the value of a field is free. The text says what is still compared."""

    NUMBER = "a number: only whether it is an int or a float"
    PROSE = "not compared, may be absent"
    KIND = "only its JSON type"
    TEXTURE = "keys and types at every depth, of a list the kinds of its members"
    STRINGS = "only that it is a list of strings, and whether it is empty"
    SET = "a list: its members in any order"
    LINES = "a text: its lines in any order"
    SOME = "a list: only whether it is empty"
    KEYS = "an object: its keys in any order"
    BY_DURATION = "a list: its members in any order (with `limit` their number), and that it follows its own durations"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A field of a JSON value that is free.

    `place` is where the value stands: `anywhere`, a route (`GET /history/{prompt_id}`, which covers `/api/history/…`),
    a route with a condition (`several outputs`), or `socket <type of message>`. `path` leads to the field: names and
    list positions joined with dots, `*` for any one of them, `**.name` for a name at any depth, nothing for the value
    itself.
    """

    place: str
    path: str
    free: Free
    why: str

    @property
    def name(self) -> str:
        """What the rule is called in reports."""
        return f"{self.place}: {self.path or 'the whole body'}"


_CLOCK = "a clock"
_PROSE = "prose; the packaged node catalogue has none"
_HASH = "a Python set of strings: its order changes with every server process (protocol 3.13)"
_MACHINE = "tells of the machine"

FIELD_RULES: tuple[FieldRule, ...] = (
    FieldRule("anywhere", "**.timestamp", Free.NUMBER, _CLOCK),
    FieldRule("anywhere", "**.create_time", Free.NUMBER, _CLOCK),
    FieldRule("anywhere", "**.execution_start_time", Free.NUMBER, _CLOCK),
    FieldRule("anywhere", "**.execution_end_time", Free.NUMBER, _CLOCK),
    FieldRule("anywhere", "**.modified", Free.NUMBER, _CLOCK),
    FieldRule("anywhere", "**.created", Free.NUMBER, _CLOCK),
    FieldRule("anywhere", "**.traceback", Free.STRINGS, "lines of the server's own source"),
    FieldRule("anywhere", "**.tooltip", Free.PROSE, _PROSE),
    FieldRule("anywhere", "**.description", Free.PROSE, _PROSE),
    FieldRule("anywhere", "**.output_tooltips", Free.PROSE, _PROSE),
    FieldRule("anywhere", "**.executed", Free.SET, _HASH),
    FieldRule("anywhere", "**.current_outputs", Free.SET, _HASH),
    FieldRule("POST /prompt", "error.details", Free.LINES, _HASH),
    FieldRule("POST /prompt", "node_errors", Free.KEYS, _HASH),
    FieldRule("POST /prompt", "node_errors.*.errors", Free.SET, _HASH),
    FieldRule("POST /prompt", "node_errors.*.dependent_outputs", Free.SET, _HASH),
    FieldRule(
        "POST /prompt, several outputs",
        "node_errors.*.dependent_outputs",
        Free.SOME,
        "lists the outputs checked after the error was known, in the order of a set (protocol 3.4)",
    ),
    FieldRule("GET /queue", "queue_running.*.4", Free.SET, _HASH),
    FieldRule("GET /queue", "queue_pending.*.4", Free.SET, _HASH),
    FieldRule("GET /history", "*.prompt.4", Free.SET, _HASH),
    FieldRule("GET /history/{prompt_id}", "*.prompt.4", Free.SET, _HASH),
    FieldRule(
        "GET /queue, equal numbers",
        "queue_pending",
        Free.SET,
        "prompts of equal number stand in the order of their random ids, and the list is a heap (protocol 4.1)",
    ),
    FieldRule(
        "GET /api/jobs?sort_by=execution_duration",
        "jobs",
        Free.BY_DURATION,
        "which of two runs of some milliseconds was longer is chance",
    ),
    FieldRule("GET /system_stats", "", Free.TEXTURE, _MACHINE),
    FieldRule("GET /internal/logs", "", Free.KIND, _MACHINE),
    FieldRule("GET /internal/logs/raw", "", Free.TEXTURE, _MACHINE),
    FieldRule("socket logs", "data", Free.TEXTURE, _MACHINE),
    FieldRule("GET /internal/folder_paths", "*", Free.TEXTURE, _MACHINE),
    FieldRule("GET /experiment/models", "*.folders", Free.TEXTURE, _MACHINE),
    FieldRule("GET /experiment/models/{folder}", "*.size", Free.NUMBER, "the size of a model file"),
    FieldRule("GET /extensions", "", Free.KIND, "lists what the frontend package holds"),
    FieldRule("GET /global_subgraphs", "", Free.KIND, "lists what other packages hold"),
)


@dataclass(frozen=True, slots=True)
class TextRule:
    """A part of a string that is free, wherever the string stands: in bodies, keys, URLs and headers.

    `pattern` is a regular expression; `{port}`, `{host}` and `{day}` stand for those of the traffic. With `named` it
    still counts *which* of all it is: each one found is replaced by a name made of the place where it was first seen,
    so that mixed-up ids are noticed. Otherwise `instead` replaces it.
    """

    name: str
    pattern: str
    why: str
    named: bool = False
    instead: str = ""


TEXT_RULES: tuple[TextRule, ...] = (
    TextRule(
        "id",
        r"(?<![0-9A-Fa-f-])(?:[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|[0-9A-Fa-f]{32})(?![0-9A-Fa-f-])",
        "prompt, client, session and user ids are random",
        named=True,
    ),
    TextRule("letters", r"(?<=_temp_)[a-z]{5}(?=_)", "names in the temp folder have random letters", named=True),
    TextRule("server", r"(?:{host}|127\.0\.0\.1|localhost):{port}\b", "the address of the server", instead="HOST:PORT"),
    TextRule("day", r"(?<!\d)(?:{day})(?!\d)", "file names may hold the date of the run", instead="TODAY"),
    TextRule("address", r"(?<= at )0x[0-9a-f]+(?=>)", "the place of an object in memory", instead="0x"),
    TextRule(
        "path",
        r"(?<=full_output_folder: )[^\n]*|(?<=output_dir: )[^\n]*|(?<=commonpath: )[^\n]*",
        "a folder of the machine, in the message about a prefix that leaves the output folder (protocol 7.1)",
        instead="PATH",
    ),
    TextRule(
        "tensor",
        r"tensor\([^()]*(?:\([^()]*\)[^()]*)*\)",
        "the numbers in a tensor are its pixels",
        instead="tensor(…)",
    ),
)

FILE_COUNTER = re.compile(r"_\d{5}(?=[_.])")
"""The counter in the name of a saved file (protocol 7.1)."""


class HeaderFree(Enum):
    """How a header of an answer is free."""

    IGNORED = "not compared, may be absent"
    PRESENT = "only that it is there"
    CASE = "its letters' case"
    NAME = "its parameters"
    DIGITS = "its numbers, where the body is not a file that the client uploaded"


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """A header that is free. The order of headers is free as well."""

    name: str
    free: HeaderFree
    why: str


HEADER_RULES: tuple[HeaderRule, ...] = (
    HeaderRule("date", HeaderFree.IGNORED, _CLOCK),
    HeaderRule("server", HeaderFree.IGNORED, "names the HTTP library"),
    HeaderRule("content-length", HeaderFree.PRESENT, "bodies are compared by themselves"),
    HeaderRule("etag", HeaderFree.PRESENT, "made of a file's time and size"),
    HeaderRule("last-modified", HeaderFree.PRESENT, _CLOCK),
    HeaderRule("content-range", HeaderFree.DIGITS, "the size of a picture that was drawn anew"),
    HeaderRule("connection", HeaderFree.CASE, "tokens have no case"),
    HeaderRule("upgrade", HeaderFree.CASE, "tokens have no case"),
    HeaderRule("sec-websocket-accept", HeaderFree.IGNORED, "follows from the client's random key"),
    HeaderRule("sec-websocket-extensions", HeaderFree.NAME, "window sizes of the compression"),
)


@dataclass(frozen=True, slots=True)
class StatusRule:
    """Statuses of a route that count as one."""

    place: str
    statuses: frozenset[int]
    why: str


STATUS_RULES: tuple[StatusRule, ...] = (
    StatusRule(
        "GET /experiment/models/preview/{folder}/{path_index}/{filename}",
        frozenset({403, 404}),
        "a model file that is a link out of its folder is refused, one that lies there just has no picture",
    ),
)


RACE_S = 1.0
"""So close to each other, in seconds, a request and the end of a run may change places."""

ENDS = ("execution_success", "execution_error", "execution_interrupted")
"""The messages with which a run ends. A blocker's `execution_error` is not one, but no recording tells them apart."""


@dataclass(frozen=True, slots=True)
class StreamRule:
    """Something in the traffic as a whole that is free. `when` says where the rule applies, `free` what it frees.

    What decides about `when` stands in `compare`; what takes away the free in `compare_http` and `compare_ws`, which
    read from `words` of which messages and fields it is to be taken away.
    """

    name: str
    when: str
    free: str
    why: str
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


STREAM_RULES: tuple[StreamRule, ...] = (
    StreamRule(
        "omitted body",
        "a body that the recording leaves out for its size",
        "the body",
        "there is nothing to compare with",
    ),
    StreamRule(
        "media",
        "a binary body that no client uploaded",
        "bytes and pixels; compared are the facts of `media_facts`, of a partial answer (206) only the length",
        "encoders differ, and a fake draws other pictures",
    ),
    StreamRule(
        "untold close",
        "a recording that does not tell with which code a socket was closed",
        "the code",
        "browsers do not save it, and a connection that breaks has none",
    ),
    StreamRule(
        "failed in another order",
        "a prompt with several outputs ran them in another order than in the recording, and failed",
        "from there on all but statuses, headers, the keys of bodies, and how each run began and ended",
        "what ran before the failure, and so what is cached later, follows from the order of outputs",
        {
            "messages that stay": ("execution_start", *ENDS),
            "fields that stay": ("prompt_id", "node_id", "node_type", "exception_type", "exception_message", "node"),
        },
    ),
    StreamRule(
        "cut run",
        "a run was interrupted, or a socket came or went while it went on",
        "on that socket: how many progress messages and previews there were; compared are the node and maximum of the"
        " first one, the states of the nodes as they change, and the kind of previews if the end was reached",
        "the step at which it happened is a matter of time",
        {
            "only the first counts": ("progress",),
            "only the first counts, where the run succeeds": ("binary 1", "binary 4"),
            "fields that are free": ("value",),
            "only the states of nodes count": ("progress_state",),
        },
    ),
    StreamRule(
        "equal numbers",
        "prompts were posted with the same number",
        "the order of their runs, and of keys that are prompt ids",
        "they run in the order of their random ids (protocol 4.1)",
    ),
    StreamRule(
        "other order of outputs",
        "a prompt with several outputs ran them in another order than in the recording",
        "the order of its nodes' blocks of messages between the head and the tail of the run, the counters in file"
        " names, random letters, the order of keys, and which output is the preview of a job",
        "the order of outputs is that of a set (protocol 3.13)",
        {"fields with keys only": ("preview_output",)},
    ),
    StreamRule(
        "overlap",
        "prompts wait behind another, or a run was interrupted",
        "where a `status` stands among the other messages, and which of two equal neighbours was repeated; compared are"
        " their values in order and their number",
        "requests and the worker are not in step",
        {"messages that have no place": ("status",)},
    ),
    StreamRule(
        "race",
        "a prompt was posted less than a second before another one ended by itself, both being in the queue",
        "of the `status` messages all but their number and the last value",
        "how many prompts are left when a status goes out depends on milliseconds",
        {"messages that have no place": ("status",)},
    ),
    StreamRule(
        "files of one prompt",
        "neighbouring requests for files (`GET /view?…`)",
        "their order",
        "a client fetches the files of a prompt in the order of its outputs, a set",
        {"requests that begin with": ("GET /view?",)},
    ),
)

STREAM_RULE: Mapping[str, StreamRule] = {rule.name: rule for rule in STREAM_RULES}
"""The stream rules by name."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something that is compared, less what the rules free. Each difference is told by one check."""

    name: str
    what: str


CHECKS: tuple[Check, ...] = (
    Check("requests", "every recorded request has its answer, in the recorded order, and there is no other"),
    Check("statuses", "code and reason of every answer"),
    Check("headers", "names and values of the headers of every answer; their order is free"),
    Check("JSON form", "JSON is written as Python's default dump writes it (protocol 1.1)"),
    Check("bodies", "every body: keys and their order, types, values, the order of lists; of media the facts"),
    Check("sockets", "how many WebSockets there are, where to, and how they are answered"),
    Check(
        "messages",
        "every message of each socket in its order: keys and their order, types, values; of pictures the facts",
    ),
    Check("closing", "the code with which each socket is closed"),
)


def describe() -> Iterator[tuple[str, str, str]]:
    """Every rule as three texts for people: where, what is free or still compared there, why."""
    for rule in FIELD_RULES:
        yield rule.name, rule.free.value, rule.why
    for text in TEXT_RULES:
        kept = "counts only as which one it is" if text.named else f"compared as {text.instead}"
        yield f"in any string: {text.name} (`{text.pattern}`)", kept, text.why
    for header in HEADER_RULES:
        yield f"header {header.name}", header.free.value, header.why
    for status in STATUS_RULES:
        yield f"status of {status.place}", " and ".join(map(str, sorted(status.statuses))) + " are equal", status.why
    for stream in STREAM_RULES:
        words = "".join(f"; {what}: {', '.join(names)}" for what, names in stream.words.items())
        yield f"{stream.name}: {stream.when}", stream.free + words, stream.why
