"""What a script does to WebSockets and to the messages on their way to them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from comfy_mock.engine.script.director import Director, RuleUse
from comfy_mock.engine.script.matching import EventSubject, MessageSubject, SocketSubject, event_differences
from comfy_mock.engine.script.model import AnyRule, MessageRule, SocketRule
from comfy_mock.server.faults_waiting import Waits
from comfy_mock.server.journal_records import EventRecord, SocketRecord
from comfy_mock.server.sockets import Ending, Outbox

UNKNOWN_EVENT = 0x7FFF_FFFF
"""The event number of oversize frames: no client knows it."""

_EVENT = struct.Struct(">I")


@dataclass(frozen=True)
class ToldEvent:
    """A message that is handed over, as rules see it, and its record, which notes the rules that were used on it."""

    record: EventRecord
    subject: EventSubject


@dataclass
class _Aside:
    """Frames that come when so many more messages have come."""

    left: int
    frames: list[str | bytes]


@dataclass
class _Stream:
    """One socket: the rule that is to befall it, those that have, and what was taken out of its order."""

    outbox: Outbox
    socket: SocketSubject
    record: SocketRecord
    use: RuleUse | None = None
    befallen: list[AnyRule] = field(default_factory=list)
    aside: list[_Aside] = field(default_factory=list)

    def may_befall(self, rule: AnyRule) -> bool:
        """Whether a rule can befall a socket that is open already, and has not befallen this one."""
        return isinstance(rule, SocketRule) and rule.refuse is None and rule not in self.befallen


class SocketFaults:
    """The faults of all WebSockets of one life of a server. A socket has one `SocketRule` at a time."""

    def __init__(self, director: Director, waits: Waits) -> None:
        self._director, self._waits = director, waits
        self._streams: dict[int, _Stream] = {}
        self._aside = 0
        self._prompt_ended = False

    @property
    def active(self) -> bool:
        """Whether messages must be looked at one by one."""
        return self._director.has(MessageRule) or self._director.has(SocketRule) or self._aside > 0

    def opened(
        self, socket: int, outbox: Outbox, record: SocketRecord, subject: SocketSubject, use: RuleUse | None
    ) -> None:
        """A socket was opened, and this rule chosen for it."""
        stream = self._streams[socket] = _Stream(outbox, subject, record)
        if use is not None:
            self._await(stream, use)

    def closed(self, socket: int) -> None:
        """A socket is gone; a rule that waited for something in vain may befall another one."""
        stream = self._streams.pop(socket, None)
        if stream is not None:
            self._aside -= len(stream.aside)
            self._give_back(stream)

    def look_again(self) -> None:
        """Rules were added, which also befall sockets that are open, or taken away."""
        uses = self._director.uses
        for stream in list(self._streams.values()):
            if stream.use not in uses:
                self._give_back(stream)
            if stream.use is None:
                use = self._director.use_for(stream.socket, among=stream.may_befall)
                if use is not None:
                    self._await(stream, use)

    def put(self, socket: int, data: str | bytes, told: ToldEvent) -> None:
        """Put a message into the outbox of its socket, as the rules will have it."""
        stream = self._streams[socket]
        use = None
        if self._director.has(MessageRule):
            use = self._director.use_for(MessageSubject(told.subject, stream.socket))
        if use is None:
            self._pass_on(stream, [data])
        else:
            if use.label not in told.record.rules:
                told.record.rules += (use.label,)
            self._apply(stream, use.rule, data)
        if told.subject.event == "executing" and told.subject.nodes == ((None, None),):
            self._prompt_ended = True
        if stream.use is not None and _is_due(stream, told.subject):
            self._befall(stream)

    def rest(self) -> None:
        """The server is at rest: what waits for others that follow it is sent, if they were those of a prompt."""
        if self._prompt_ended:
            self.send_all()

    def send_all(self) -> None:
        """Send what waits for others that follow it."""
        self._prompt_ended = False
        for stream in self._streams.values() if self._aside else ():
            self._send_aside(stream)

    def _send_aside(self, stream: _Stream) -> None:
        self._aside -= len(stream.aside)
        left, stream.aside = stream.aside, []
        for aside in left:
            for part in aside.frames:
                stream.outbox.put(part)

    def _apply(self, stream: _Stream, rule: AnyRule, data: str | bytes) -> None:
        assert isinstance(rule, MessageRule)
        if rule.lose:
            return
        parts: list[str | bytes] = [data] * (1 + rule.duplicate)
        if rule.oversize:
            parts.insert(0, _EVENT.pack(UNKNOWN_EVENT) + bytes(max(0, rule.oversize - _EVENT.size)))
        if rule.delay:
            stream.outbox.pause(self._waits.begin(seconds=rule.delay))
        if rule.reorder:
            stream.aside.append(_Aside(rule.reorder, parts))
            self._aside += 1
        else:
            self._pass_on(stream, parts)

    def _pass_on(self, stream: _Stream, parts: list[str | bytes]) -> None:
        for part in parts:
            stream.outbox.put(part)
        for aside in list(stream.aside):
            aside.left -= 1
            if aside.left <= 0:
                stream.aside.remove(aside)
                self._aside -= 1
                for part in aside.frames:
                    stream.outbox.put(part)

    @staticmethod
    def _give_back(stream: _Stream) -> None:
        if stream.use is not None:
            stream.use.waiting -= 1
            stream.use.served -= 1
            stream.use = None

    def _await(self, stream: _Stream, use: RuleUse) -> None:
        stream.use = use
        use.waiting += 1
        if _is_due(stream, None):
            self._befall(stream)

    def _befall(self, stream: _Stream) -> None:
        use = stream.use
        assert use is not None
        rule = use.rule
        assert isinstance(rule, SocketRule)
        use.waiting -= 1
        stream.use = None
        stream.befallen.append(rule)
        stream.record.rules += (use.label,)
        if rule.end == "stall":
            stream.outbox.pause(self._waits.begin(seconds=rule.seconds, hold=rule.hold))
        elif rule.end is not None:
            self._send_aside(stream)
            stream.outbox.end(Ending(rule.end, rule.code))


def _is_due(stream: _Stream, event: EventSubject | None) -> bool:
    """Whether the rule of this socket has its moment, just after this message, or before the first one."""
    assert stream.use is not None
    rule = stream.use.rule
    assert isinstance(rule, SocketRule)
    if rule.event is not None:
        return event is not None and not event_differences(rule.event, event)
    return stream.outbox.handed >= (rule.messages or 0)
