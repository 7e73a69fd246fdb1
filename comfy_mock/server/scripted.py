"""What a test does to a running server: rules, holds, the queue, messages, a restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, Union

from msgspec import UNSET

from comfy_contracts.frames import PreviewFrame, PreviewWithMetadata, TextFrame, UnknownFrame
from comfy_contracts.messages import Unknown
from comfy_mock.engine.script.director import Director, RuleUse
from comfy_mock.engine.script.model import AnyRule, Script
from comfy_mock.engine.script.problems import did_you_mean
from comfy_mock.server.journal import Journal
from comfy_mock.server.runner import Runner
from comfy_mock.server.scripts import checked_rules

T = TypeVar("T")

AnyFrame = Union[PreviewFrame, PreviewWithMetadata, TextFrame, UnknownFrame]


class Scripted:
    """The verbs of a script for a server that runs, the same for `Instance` and `ComfyMock`.

    With `ComfyMock` they may be called from any thread, and from any event loop.
    """

    runner: Runner

    def _do(self, action: Callable[[], T]) -> T:
        """Do something where the server runs."""
        return action()

    @property
    def director(self) -> Director:
        """The script at work."""
        return self.runner.director

    @property
    def journal(self) -> Journal:
        """What the server was asked since its last reset, and what it said."""
        return self.runner.journal

    @property
    def rules(self) -> list[RuleUse]:
        """The rules in the order in which they are asked, each with its use."""
        return self.director.uses

    @property
    def held(self) -> list[str]:
        """The names of what is held now, in the order in which it came."""
        return [gate.name for gate in self.director.held]

    def add_rules(self, *rules: AnyRule) -> None:
        """Append rules; each stands behind those of its own or a higher priority.

        Rules for WebSockets also befall those that are open and have none so far. Raises `ScriptError`, a `ValueError`,
        where something is wrong with them, and then adds none.
        """

        self.add_script(Script(rules=list(rules)))

    def add_script(self, script: Script) -> None:
        """Add the rules of a script: as `add_rules`, and where it was read from a text, errors tell its lines."""

        def add() -> None:
            self.director.add(*checked_rules(self.runner.engine, script).rules)
            self.runner.rules_changed()

        self._do(add)

    def follow(self, script: Script) -> None:
        """Go on by another script, in place of the present one and all rules; what is held is released.

        Nothing else is reset, and `reset()` begins with the script that the server was made with. Raises `ScriptError`,
        a `ValueError`, where something is wrong with it, and `ValueError` for one with a `start_up`, which is for a
        start, or with models that there are not.
        """

        def follow() -> None:
            copied = checked_rules(self.runner.engine, script)
            if copied.start_up:
                raise ValueError("start_up is for a start: reset the server with this script")
            self.runner.engine.follow(copied)
            self.runner.rules_changed()

        self._do(follow)

    def remove_rules(self, name: str) -> int:
        """Take away the rules of this name, and return how many there were. What they hold stays held."""

        def remove() -> int:
            removed = self.director.remove(name)
            self.runner.rules_changed()
            return removed

        return self._do(remove)

    def clear_rules(self) -> None:
        """Take away all rules, and release all that is held."""

        def clear() -> None:
            self.director.clear()
            self.runner.rules_changed()

        self._do(clear)

    def release(self, name: str | None = None) -> int:
        """Release what is held under this name (None: all), and return how much that was.

        Raises `ValueError` for a name under which no rule ever held anything, or could.
        """
        known = self.director.known_holds | {*self.held}
        if name is not None and name not in known:
            names = f"; the names are {', '.join(map(repr, sorted(known)))}" if known else "; the script has no holds"
            raise ValueError(f"nothing is held under {name!r}{did_you_mean(name, known) or names}")

        def release() -> int:
            released = self.director.release(name)
            self.runner.go_on()
            return released

        return self._do(release)

    def pause_queue(self) -> None:
        """Take no prompt until `resume_queue`; one that runs goes on."""
        self._do(lambda: self.runner.engine.pause_queue())

    def resume_queue(self) -> None:
        """Take prompts again."""

        def resume() -> None:
            self.runner.engine.resume_queue()
            self.runner.go_on()

        self._do(resume)

    def push(self, message: str | AnyFrame, data: Any = UNSET, client_id: str | None = None) -> None:
        """Send a message now, to one client or by default to everybody.

        `message` is the type of a JSON message with these `data` (without any, it has none), or a binary frame of
        `comfy_contracts.frames`.
        """

        def push() -> None:
            payload = Unknown(type=message, data=data) if isinstance(message, str) else message
            self.runner.engine.push(payload, client_id)
            self.runner.flush()

        self._do(push)

    def change_models(self, folder: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        """Let files of a models folder appear and disappear, in all that the server says and checks from now on.

        Raises `ValueError` for a folder that there is not, or a file to remove that is not in it.
        """
        self._do(lambda: self.runner.engine.change_models(folder, add, remove))

    def restart(self, down: float = 0.0) -> None:
        """Restart the server, as one that was killed is started again.

        Queue, history and caches are gone; files, added nodes, the script with its counts, and the journal stay, and
        time goes on. What was held is released; connections are broken off, WebSockets when what was sent to them has
        left, and answers that are late are never sent. For `down` seconds nobody listens, and connections are refused:
        simulated seconds by the manual clock, else real ones, `speed` times as short by a real one.

        Raises `ValueError` for less than 0 seconds.
        """
        if not down >= 0:
            raise ValueError(f"a server is down for a number of seconds from 0 up, not for {down}")
        self._do(lambda: self._restart(down))

    def _restart(self, down: float) -> None:
        raise NotImplementedError
