"""Moves the engine through time, and its messages to the sockets."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator

from msgspec import UNSET

from comfy_mock.engine.awaited_event import AwaitedEvent, EventNeverCame
from comfy_mock.engine.clients import Payload
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.script.director import Director
from comfy_mock.engine.script.model import ServerRule
from comfy_mock.server.clocks import ROUNDING_S, Clock, ManualClock
from comfy_mock.server.faults_sockets import SocketFaults, ToldEvent
from comfy_mock.server.faults_waiting import Waits
from comfy_mock.server.journal import Journal
from comfy_mock.server.journal_names import Names
from comfy_mock.server.journal_records import EventRecord
from comfy_mock.server.sockets import Ending, Sockets

ANSWER_S_MAX = 0.2
"""How long an answer holds messages back: one that takes longer waits for a client that does not read."""

SLICE_S_MAX = 0.005
"""How long the simulation may keep the event loop to itself, in real seconds."""

_SERVICE_RESTART = 1012


class Runner:
    """Advances `engine` by `clock` in a task of the running event loop.

    While an answer is being sent (`answering`) no message goes to any socket, so that `POST /prompt` is answered before
    the prompt's first event is seen. By a manual clock nothing happens but in `advance` and `run_until`.

    All that is handed to sockets is noted in `journal`; `on_server_rule` is called when a script's rule for the server
    as a whole has its moment.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        on_server_rule: Callable[[ServerRule], None] = lambda _: None,
    ) -> None:
        self.clock, self._on_server_rule = clock, on_server_rule
        self._answers: set[object] = set()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._home: asyncio.AbstractEventLoop | None = None
        self._wake, self._all_answered = asyncio.Event(), asyncio.Event()
        self._retired = self._given_up = False
        self._connections = 0
        self._live(engine)
        self.journal = Journal(engine.director, now=self.now)
        self.journal.on_hold = self.wake
        self.journal.lives_here, self.journal.circumstances = self._lives_here, self._circumstances
        self.journal.names = Names(lambda: self.engine)

    def live_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """The server belongs to this event loop, before it has been asked anything."""
        self._home = loop

    def _lives_here(self) -> bool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        return (self._loop or self._home or loop) is loop

    def _circumstances(self) -> list[str]:
        """What keeps the server from going on, for those who wait in vain."""
        lines = [f"Held now: {gate.name!r} ({gate.what or 'an exchange'})" for gate in self.director.held if gate.name]
        busy = self.engine.queue.running is not None or self.engine.queue.pending
        if busy and isinstance(self.clock, ManualClock):
            lines.append("By the manual clock prompts run only in advance() and run_until().")
        if busy and self.director.paused:
            lines.append("The queue is paused.")
        return lines

    def _live(self, engine: Engine) -> None:
        engine.keeps_unheard = True
        engine.present = self.clock.now
        self.engine = engine
        self.waits = Waits(self.clock, engine.director, self.wake)
        self.sockets = Sockets(SocketFaults(engine.director, self.waits))

    @property
    def director(self) -> Director:
        """The script at work."""
        return self.engine.director

    def begin_anew(self, engine: Engine) -> None:
        """Go on with another engine, as after a restart: sockets are broken off."""
        engine.witness, self.engine.witness = self.engine.witness, None
        sockets = self.sockets
        self._live(engine)
        sockets.end_all(Ending("abort"))
        self.go_on()

    def now(self) -> float:
        """The time, in the midst of what happens too."""
        return max(self.clock.now(), self.engine.now)

    def go_on(self) -> None:
        """Something that kept the engine from going on is over."""
        if self._loop is not None:
            self._wake.set()

    def rules_changed(self) -> None:
        """Rules were added or taken away, or what they held was released."""
        if self.sockets.faults is not None:
            self.sockets.faults.look_again()
        self.go_on()

    def polled(self) -> None:
        """A question about prompts was answered."""
        self.engine.polled()
        self.waits.polled()
        self.go_on()

    def next_connection(self) -> int:
        """The place of a WebSocket that is about to be opened."""
        self._connections += 1
        return self._connections

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Hold messages back while a request is handled and its answer sent."""
        self._ensure_running()
        self._catch_up()
        # what has happened by now is told before the answer shows it
        self.flush()
        answer = object()
        self._answers.add(answer)
        self._all_answered.clear()
        timer = asyncio.get_running_loop().call_later(ANSWER_S_MAX, self._answered, answer)
        try:
            yield
        finally:
            timer.cancel()
            self._answered(answer)

    def _answered(self, answer: object) -> None:
        self._answers.discard(answer)
        if not self._answers:
            self._all_answered.set()
        self._wake.set()

    def wake(self) -> None:
        """Something outside of a request changed the engine: look at it now."""
        self._ensure_running()
        self._wake.set()

    def flush(self) -> None:
        """Hand over what the engine has to send, unless an answer is under way."""
        if self._answers:
            return
        taken = self.engine.take_outgoing()
        if taken:
            now, sockets, waits = self.now(), self.sockets, self.waits
            looked_at = self.director.has(ServerRule) or (sockets.faults is not None and sockets.faults.active)
            for outgoing in taken:
                record = self.journal.event(now, outgoing.payload, sockets.connections(outgoing.sockets))
                told = ToldEvent(record, record.subject(self._place(record))) if looked_at else None
                sockets.deliver(outgoing, told)
                waits.told(outgoing.payload)
                if told is not None and self._ends_with(told):
                    break  # the rest was in the memory that is lost
        if self.sockets.faults is not None and self.engine.next_wakeup() is None:
            self.sockets.faults.rest()
        self.journal.note_holds()

    def _place(self, record: EventRecord) -> int | None:
        """The place of the prompt that a message is about; binary ones, but for some previews, do not name theirs."""
        running = self.engine.queue.running
        if record.prompt_id is not None:
            return self.engine.place_of(record.prompt_id)
        return running.place if running is not None and record.data is UNSET else None

    def _ends_with(self, told: ToldEvent) -> bool:
        """Whether a rule restarts or stops the server at this message."""
        use = self.director.use_for(told.subject) if self.director.has(ServerRule) else None
        if use is None:
            return False
        assert isinstance(use.rule, ServerRule)
        told.record.rules += (use.label,)
        self._on_server_rule(use.rule)
        return True

    def _advance_once(self, now: float) -> bool:
        """Let the next thing happen that is due; whether there was one.

        It is told at once where the server may end with it, or where time moves by hand and must be right to the step.
        """
        if not self.engine.advance_once(now):
            return False
        if isinstance(self.clock, ManualClock):
            self.clock.move_to(self.engine.now)
            self.flush()
        elif self.director.has(ServerRule):
            self.flush()
        return True

    def give_up(self) -> None:
        """The server is to stop, said from any thread: time that is being let pass does not keep it."""
        self._given_up = True

    def resume(self) -> None:
        """The server was stopped and is started again."""
        self._given_up = False
        self.waits.resume()

    def _go_on_or_stop(self) -> None:
        if self._given_up:
            raise RuntimeError("the server was stopped before so much time had passed")

    async def advance(self, seconds: float) -> None:
        """Let `seconds` of simulated time pass; returns when what happened in them was handed to the sockets.

        No request is answered meanwhile. Raises `ValueError` for less than 0 seconds, and `RuntimeError` where the
        clock is not a manual one.
        """
        clock = self._manual_clock()
        if not 0 <= seconds < math.inf:
            raise ValueError(f"time advances by a number of seconds from 0 up, not by {seconds}")
        await self._settle()
        target = clock.now() + seconds
        while self._advance_once(target + ROUNDING_S):
            self._go_on_or_stop()
        self.engine.advance(target)
        clock.move_to(target)
        self.flush()

    async def run_until(self, awaited: AwaitedEvent) -> Payload:
        """Let simulated time pass until the event comes, and return it when it was handed to the sockets.

        Raises `EventNeverCame` where the server comes to rest first, and `RuntimeError` where the clock is not a manual
        one.
        """
        clock = self._manual_clock()
        await self._settle()
        seen: list[Payload] = []
        self.engine.witness = seen.append
        try:
            return self._run_until(awaited, clock, seen)
        finally:
            self.engine.witness = None
            self.flush()

    def _run_until(self, awaited: AwaitedEvent, clock: ManualClock, seen: list[Payload]) -> Payload:
        looked_at = 0
        while (due := self.engine.next_wakeup()) is not None:
            self._go_on_or_stop()
            clock.move_to(due)
            self._advance_once(clock.now())
            for payload in seen[looked_at:]:
                if awaited.matches(payload):
                    return payload
            looked_at = len(seen)
        raise EventNeverCame(awaited, seen, self.engine.standing())

    def _manual_clock(self) -> ManualClock:
        if isinstance(self.clock, ManualClock):
            return self.clock
        raise RuntimeError(
            f"advance() and run_until() are for clock='manual'; by this server's {type(self.clock).__name__} "
            "time moves by itself"
        )

    async def _settle(self) -> None:
        """Return when no answer is under way: what the caller asked for before has come to him."""
        self._ensure_running()
        while self._answers:
            await self._all_answered.wait()

    async def stop(self) -> None:
        """End the task; time stands still from now on, and what waits is lost."""
        self.waits.end(going_on=self._retired)
        task, self._task = self._task, None
        if task is not None and self._loop is asyncio.get_running_loop():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def retire(self) -> None:
        """Stop for good, and close the sockets as a server does that restarts."""
        self._retired = True
        if self.sockets.faults is not None:
            self.sockets.faults.send_all()
        self.sockets.end_all(Ending("close", _SERVICE_RESTART))
        await self.stop()

    def _ensure_running(self) -> None:
        """Start the task, anew in another event loop: a bare ASGI app is not told when one begins or ends."""
        loop = asyncio.get_running_loop()
        if not self._retired and (self._task is None or self._task.done() or self._loop is not loop):
            self._loop, self._wake, self._all_answered = loop, asyncio.Event(), asyncio.Event()
            self._task = loop.create_task(self._run(), name="comfy-mock runner")

    def _catch_up(self) -> bool:
        """Let happen what is due by the clock, for as long as others can wait for it; whether there is more."""
        if isinstance(self.clock, ManualClock) or (self._answers and self.director.has(ServerRule)):
            return False
        now, loop = self.clock.now(), asyncio.get_running_loop()
        begun = loop.time()
        while self._advance_once(now):
            if loop.time() - begun > SLICE_S_MAX:
                return True
        self.engine.advance(now)
        return False

    async def _run(self) -> None:
        wake = self._wake
        while True:
            wake.clear()
            if not self._answers:
                behind = self._catch_up()
                self.flush()
                await self.sockets.relieved()
                if behind:
                    await asyncio.sleep(0)
                else:
                    await self.clock.wait(self.engine.next_wakeup(), wake)
            else:
                await wake.wait()
