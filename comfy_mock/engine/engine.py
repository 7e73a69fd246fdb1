"""The whole state of a simulated ComfyUI server, and its verbs.

Inputs come in with the current time; what the server sends to its sockets is collected until `take_outgoing`. The same
inputs at the same times give the same bytes.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from comfy_contracts import messages
from comfy_contracts.catalogue import Catalogue, NodeDefinition
from comfy_contracts.profiles import Profile
from comfy_mock.engine.answers import Answer, ServerTrouble, empty, json_answer
from comfy_mock.engine.cache import ResultCache
from comfy_mock.engine.clients import Clients, Outgoing, Payload
from comfy_mock.engine.features import features
from comfy_mock.engine.files import Files, Folders
from comfy_mock.engine.host import Doze, Steps
from comfy_mock.engine.jobs import BadQuery, InvalidJobIds, cancel_targets
from comfy_mock.engine.logs import Level, LogBook, refusal_lines, start_up_lines
from comfy_mock.engine.memory_files import MemoryFiles
from comfy_mock.engine.models import ModelFolders
from comfy_mock.engine.nodes import behaviour
from comfy_mock.engine.nodes.api import Behaviour
from comfy_mock.engine.object_info import ObjectInfo
from comfy_mock.engine.options import CacheMode, Options
from comfy_mock.engine.pictures import example_png
from comfy_mock.engine.queue import PromptItem, PromptQueue
from comfy_mock.engine.queue_edits import edit_history, edit_queue
from comfy_mock.engine.replacement import replace_nodes
from comfy_mock.engine.script.director import Director
from comfy_mock.engine.script.model import ModelChange, Script
from comfy_mock.engine.script.points import Points
from comfy_mock.engine.submission import NumberCounter, submit, uuid_of
from comfy_mock.engine.users import Users
from comfy_mock.engine.validation import Verdict, validate
from comfy_mock.engine.worker import run_prompt

logger = logging.getLogger("comfy_mock.engine")

TAKE_S = 0.004
"""How long the worker needs to notice a prompt: clients have read the answer to `POST /prompt` by then."""

PLACES_MAX = 20_000
"""Of how many prompts the place is known: more than the history has."""


class Engine:
    """A server. `now` is the time it starts at, in seconds since the epoch.

    `files` is where it keeps its files, in memory by default; `catalogue` the node classes it knows, those of
    `options.version` by default. `script` says what it does differently from a sunny day; a `Director` goes on with one
    that is at work, as after a restart.

    Raises `ValueError` where the script changes models that there are not.
    """

    def __init__(
        self,
        options: Options | None = None,
        *,
        now: float,
        files: Files | None = None,
        catalogue: Catalogue | None = None,
        script: Script | Director | None = None,
    ) -> None:
        self.options = options or Options()
        self.profile = Profile.of(self.options.version)
        self.now = now
        self.files: Files = files if files is not None else MemoryFiles()
        self.folders = Folders()
        self.random = random.Random(f"comfy-mock {self.options.seed}")
        self.models = ModelFolders(self.options.models, self.files, self.folders)
        self.object_info = ObjectInfo(
            catalogue if catalogue is not None else Catalogue.packaged(),
            self.models,
            self.files,
            self.folders,
            self.options,
        )
        self.users = Users(self.files, self.folders, multi_user=self.options.multi_user)
        self.logs = LogBook(now, utc_offset_s=self.options.utc_offset_s, start_up=start_up_lines(self.options))
        self.clients = Clients(lambda: features(self.options))
        self.queue = PromptQueue(self._send_status)
        self.cache = ResultCache(self._cache_mode(), self.options.cache_size)
        self.instances: dict[tuple[str, str], dict[str, Any]] = {}
        self.interrupt_requested = False
        self.client_id: Any = None
        self.last_node_id: str | None = None
        self.success = True
        self.executions = 0
        self.witness: Callable[[Payload], None] | None = None
        self.keeps_unheard = False
        self.present: Callable[[], float] = lambda: self.now
        """The time between two calls of `advance`, when something is released: for a shell whose clock goes on then."""
        self._behaviours: dict[str, Behaviour] = {}
        self._counter = NumberCounter()
        self._outgoing: list[Outgoing] = []
        self._run: Steps | None = None
        self._due = now
        self._take_at: float | None = None
        self._free_requested = False
        self._begin_script(script)
        self._prepare_folders()

    def _begin_script(self, script: Script | Director | None) -> None:
        self.director = director = script if isinstance(script, Director) else Director(script)
        director.on_open = self._look_again
        self.memory = director.script.memory
        self._points = Points(director, lambda: self.now, self._look_again)
        self._dozes = False
        self._places: dict[str, int] = {}
        if director.script.models and not director.model_changes:
            self.models.check_changes(director.script.models)
        self._change_models_as_scripted(director.model_changes)

    def _change_models_as_scripted(self, changes: Sequence[ModelChange]) -> None:
        for change in [*changes, *self.director.due_model_changes()]:
            self.models.change(change.folder, change.add, change.remove, must_be_there=False)

    def _cache_mode(self) -> CacheMode:
        if self.options.cache == "default" and not self.profile.has("ram_pressure_cache"):
            return "classic"
        return self.options.cache

    def _prepare_folders(self) -> None:
        for folder in (self.folders.input, self.folders.output, self.folders.temp, self.folders.user):
            self.files.make_folder(folder, now=self.now)
        for name in self.files.names(self.folders.temp):
            stat = self.files.stat(f"{self.folders.temp}/{name}")
            if stat is not None and not stat.is_folder:
                self.files.remove(f"{self.folders.temp}/{name}")
        example = f"{self.folders.input}/example.png"
        if self.files.stat(example) is None:
            self.files.write(example, example_png, now=self.now)

    # -- time

    def advance(self, now: float) -> None:
        """Let everything happen that is due by `now`."""
        while self.advance_once(now):
            pass
        self.now = max(self.now, now)

    def advance_once(self, now: float) -> bool:
        """Let the next thing happen that is due by `now`, and time come to it; whether there was one."""
        if (self._run is None and not self._take(now)) or self._due > now:
            return False
        self.now = max(self.now, self._due)
        self._step()
        return True

    def next_wakeup(self) -> float | None:
        """When `advance` is wanted next, None while nothing is going on."""
        if self._run is not None:
            return self._due if self._due < math.inf else None
        if self.queue.pending and not self.director.paused:
            return self.now if self._take_at is None else self._take_at
        return self.now if self._free_requested else None

    def take_outgoing(self) -> list[Outgoing]:
        """The messages collected since the last call, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def _take(self, now: float) -> bool:
        """Begin the next prompt if there is one and the worker has noticed by `now`."""
        if not self.queue.pending or self.director.paused:
            self._take_at = None
            self._free_if_asked()
            return False
        if self._take_at is None:
            self._take_at = self.now + TAKE_S
        if self._take_at > now:
            return False
        self.now = self._due = max(self.now, self._take_at)
        self._take_at = None
        self._run = run_prompt(self, self.queue, self._points, self.log)
        return True

    def _step(self) -> None:
        assert self._run is not None
        try:
            pause = next(self._run)
            self._due += pause
            self._dozes = pause == math.inf or isinstance(pause, Doze)
        except StopIteration:
            self._run = None
        except Exception:
            # what nodes do wrong is reported by the run itself; this is ours, and must not stall the queue
            logger.exception("A bug in comfy-mock: a prompt's run broke off")
            self._run = None
            if self.queue.running is not None:
                self.queue.finish({}, {"status_str": "error", "completed": False, "messages": []}, {})
            self._free_if_asked()

    def _look_again(self) -> None:
        """Something that was held was released: what waits for it goes on now."""
        self._come_to_present()
        if self._run is not None and self._dozes:
            self._due = self.now

    def _come_to_present(self) -> None:
        """What begins by itself begins now, and not when `advance` was called the last time."""
        self.now = max(self.now, self.present())

    def _free_if_asked(self) -> None:
        """What the worker does when it is idle, and between two prompts (protocol 4.5)."""
        if self._free_requested:
            self._free_requested = False
            self.cache.clear()
            self.instances.clear()
            self.success = True

    # -- sending

    def to_client(self, payload: Payload) -> None:
        """Send to the current prompt's client; nobody gets it if the prompt has none (protocol 6.5).

        `witness`, if there is one, is told of everything that a prompt sends, whoever gets it.
        """
        if self.witness is not None:
            self.witness(payload)
        self._address(self.clients.to_client(self.client_id, payload), payload)

    def _address(self, addressed: list[Outgoing], payload: Payload) -> None:
        """What nobody gets is forgotten, or is a message to no sockets where `keeps_unheard` says so."""
        if addressed:
            self._outgoing += addressed
        elif self.keeps_unheard:
            self._outgoing.append(Outgoing((), payload))

    def to_client_or_all(self, payload: Payload) -> None:
        """Send to the current prompt's client, to everybody if the prompt has none."""
        if self.client_id is None:
            self.to_all(payload)
        else:
            self.to_client(payload)

    def to_all(self, payload: Payload) -> None:
        """Send to every connected client."""
        if self.witness is not None:
            self.witness(payload)
        self._address(self.clients.to_all(payload), payload)

    def has_listener(self) -> bool:
        """Whether anybody would get what `to_client_or_all` sends."""
        return self.clients.has_any() if self.client_id is None else self.clients.is_connected(self.client_id)

    def wants_preview_metadata(self) -> bool:
        """Whether the current prompt's client asked for previews with metadata."""
        return self.client_id is not None and self.clients.wants_preview_metadata(self.client_id)

    def _send_status(self) -> None:
        self.to_all(messages.Status(queue_remaining=len(self.queue)))

    def log(self, message: str, *, level: Level = "INFO") -> None:
        """Write a line to the server's log and to those who subscribed to it.

        A subscriber that has no socket now is forgotten: it must subscribe again (protocol 2.7).
        """
        entry = self.logs.write(message, now=self.now, level=level)
        for client_id in list(self.logs.subscribers):
            if not self.clients.is_connected(client_id):
                self.logs.subscribe(client_id, enabled=False)
        if self.logs.subscribers:
            told = self.logs.message(entry)
            for client_id in self.logs.subscribers:
                self._outgoing += self.clients.to_client(client_id, told)

    # -- sockets

    def connect(self, client_id: str | None) -> int:
        """A socket was opened with this `clientId` (protocol 6.1). Returns the socket's number."""
        sid = client_id or f"{self.random.getrandbits(128):032x}"
        socket = self.clients.connect(sid)
        self._outgoing.append(Outgoing((socket,), messages.Status(queue_remaining=len(self.queue), sid=sid)))
        if self.client_id == sid and self.last_node_id is not None:
            self._outgoing.append(Outgoing((socket,), messages.Executing(node=self.last_node_id)))
        return socket

    def disconnect(self, socket: int) -> None:
        """A socket closed."""
        self.clients.disconnect(socket)

    def receive(self, socket: int, data: str | bytes) -> None:
        """A client sent something over its socket."""
        self._outgoing += self.clients.receive(socket, data)

    # -- prompts

    @property
    def queue_remaining(self) -> int:
        """Pending and running prompts."""
        return len(self.queue)

    def submit(self, body: Any, *, usage_source: str | None = None) -> Answer:
        """`POST /prompt`. Raises `ServerTrouble`."""
        self.log("got prompt")
        submission = submit(
            body,
            counter=self._counter,
            mint_id=self.mint_uuid,
            validate=self._validate,
            now_ms=int(self.now * 1000),
            usage_source=usage_source,
            profile=self.profile,
        )
        if submission.item is not None:
            self._accept(submission.item)
        return submission.answer

    def _accept(self, item: PromptItem) -> None:
        item.place = self.director.accept()
        if len(self._places) >= PLACES_MAX:
            del self._places[next(iter(self._places))]
        self._places[item.prompt_id] = item.place
        self._change_models_as_scripted(())
        self.queue.put(item)

    def place_of(self, prompt_id: str) -> int | None:
        """The place of a prompt among those that were accepted, from 1, by which scripts know it.

        None for one that is unknown or long gone; of several with one id, the last.
        """
        return self._places.get(prompt_id)

    def _validate(self, prompt: Any, targets: Any) -> Verdict:
        self.object_info.learn(prompt)
        if self.profile.has("node_replacements"):
            replace_nodes(prompt, self.definition)
        verdict = validate(
            prompt,
            targets,
            definitions=self.definition,
            files=self.files,
            folders=self.folders,
            hash_seed=self.options.hash_seed,
            accepts_any=self.object_info.accepts_any,
        )
        for line in refusal_lines(verdict.node_errors):
            self.log(line, level="ERROR")
        if not verdict.valid:
            self.log(f"invalid prompt: {verdict.error}", level="WARNING")
        return verdict

    def mint_uuid(self) -> str:
        """A random UUID of version 4, from the engine's own seed."""
        return uuid_of(self.random.getrandbits(128))

    def edit_queue(self, body: Any) -> Answer:
        """`POST /queue` (protocol 4.2). Raises `ServerTrouble`."""
        edit_queue(self.queue, body)
        return empty()

    def edit_history(self, body: Any) -> Answer:
        """`POST /history` (protocol 4.3). Raises `ServerTrouble`."""
        edit_history(self.queue, body)
        return empty()

    def interrupt(self, prompt_id: Any = None) -> None:
        """Ask the running prompt to stop; with an id only if that is the running one (protocol 4.4)."""
        running = self.queue.running
        if not self.profile.has("targeted_interrupt"):
            prompt_id = None
        if not prompt_id or (running is not None and running.prompt_id == prompt_id):
            self.interrupt_requested = True

    def cancel(self, job_id: str) -> bool:
        """Interrupt a running or delete a pending prompt; whether it was either (protocol 4.6)."""
        running = self.queue.running
        if running is not None and running.prompt_id == job_id:
            self.interrupt_requested = True
            return True
        return self.queue.delete(job_id)

    def cancel_jobs(self, body: Any) -> Answer:
        """`POST /api/jobs/cancel`."""
        try:
            ids = cancel_targets(body)
        except InvalidJobIds as problem:
            return json_answer({"error": str(problem), "invalid_ids": problem.ids}, 400)
        except BadQuery as problem:
            return json_answer({"error": str(problem)}, 400)
        return json_answer({"cancelled": sum(self.cancel(job_id) for job_id in ids) > 0})

    def free(self, body: Any) -> Answer:
        """`POST /free` (protocol 4.5): only `free_memory` has an effect that can be seen."""
        if not isinstance(body, dict):
            raise ServerTrouble("the body is no object")
        if body.get("free_memory"):
            self._free_requested = True
        return empty()

    # -- what scripts and tests do

    def follow(self, script: Script) -> None:
        """Go on by another script. Models that the one before has changed stay so.

        Raises `ValueError` where it changes models that there are not, and then does nothing.
        """
        self.models.check_changes(script.models)
        self.director.follow(script)
        self.memory = script.memory
        self._change_models_as_scripted(())

    def pause_queue(self) -> None:
        """Take no prompt until `resume_queue`; one that runs goes on."""
        self.director.paused = True

    def resume_queue(self) -> None:
        """Take prompts again."""
        self._come_to_present()
        self.director.paused = False

    def polled(self) -> None:
        """A question about prompts was answered: gaps that a script holds open for so many may close."""
        self._points.polled()

    def standing(self) -> list[str]:
        """What keeps the server from going on, and how to let it: holds, gaps that wait for polls, a paused queue."""
        lines = [f"{gate.what or 'something'} is held: release({gate.name!r})" for gate in self.director.held]
        lines += self._points.standing()
        if self.director.paused and self.queue.pending:
            lines.append("the queue is paused: resume_queue()")
        return lines

    def push(self, payload: Payload, client_id: str | None = None) -> None:
        """Send a message of any kind to a client, by default to everybody."""
        if client_id is None:
            self.to_all(payload)
            return
        if self.witness is not None:
            self.witness(payload)
        self._address(self.clients.to_client(client_id, payload), payload)

    def change_models(self, folder: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Let files of a models folder appear and disappear, in all that the server says and checks from now on.

        Raises `ValueError` for a folder that there is not, or a file to remove that is not in it, and `TypeError` for a
        text instead of a list.
        """
        self.models.change(folder, add, remove)
        self.director.model_changes.append(ModelChange(folder=folder, add=list(add), remove=list(remove)))

    # -- nodes

    def definition(self, class_type: str) -> NodeDefinition | None:
        """A class as the server knows it now, with its current lists of files."""
        return self.object_info.definition(class_type)

    def behaviour(self, definition: NodeDefinition) -> Behaviour:
        """What nodes of a class do."""
        return self._behaviours.get(definition.class_type) or behaviour(definition)

    def add_node(self, class_type: str, entry: Mapping[str, Any], node_behaviour: Behaviour | None = None) -> None:
        """Add a class, or replace one: `entry` is its `/object_info`."""
        self.object_info.add_node(class_type, entry)
        if node_behaviour is not None:
            self._behaviours[class_type] = node_behaviour
