"""One recording at play: which of its answers a request gets, and which of its messages may be sent by now.

Nothing here waits. `now` is a time in seconds, by any clock that does not go back; it counts only where there is a
`speed`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from comfy_contracts import jsontext
from comfy_mock.server.replay_ids import Ids, Trial
from comfy_mock.server.replay_match import same_request
from comfy_mock.server.replay_question import Question
from comfy_mock.server.replay_recording import Recorded, RecordedSocket, Recording, Said
from comfy_mock.server.replay_sockets import Later, PlayedSocket, shortened


@dataclass(frozen=True)
class Refused:
    """There is such a request in the recording, and yet it has no answer to it now: why."""

    nearest: Recorded
    why: str


@dataclass(frozen=True)
class _Candidate:
    recorded: Recorded
    trial: Trial


class Reel:
    """Plays one recording. With a `speed` what follows a request follows it as in the recording, so many times as fast;
    without one, at once."""

    def __init__(self, recording: Recording, speed: float | None = None) -> None:
        self.recording = recording
        self.ids = Ids(recording.made_by_client)
        self._speed = speed
        self._used: set[Recorded] = set()
        self._passed: set[Recorded] = set()
        self._reached = -math.inf
        self._anchor: tuple[float, float] | None = None
        self._sockets: dict[RecordedSocket, PlayedSocket] = {}
        self._changes = [one for one in recording.requests if one.changes_runs]

    # Requests

    def answer(self, question: Question, now: float) -> Recorded | Refused | Later | None:
        """The recorded request whose answer this one gets, which counts as asked from now on; None: there is none."""
        candidates = list(self._candidates(question))
        if not candidates:
            return None
        least = min(candidate.trial.renamed for candidate in candidates)
        found = self._chosen([one for one in candidates if one.trial.renamed == least], now)
        if not isinstance(found, _Candidate):
            return found
        if found.recorded.omitted:
            return Refused(found.recorded, "the recording does not have the body of this answer: it was not kept")
        self.ids.bind(found.trial.pairs)
        self._used.add(found.recorded)
        return found.recorded

    def passed(self, recorded: Recorded, now: float) -> None:
        """A request was answered: its consequences may come."""
        if recorded.is_safe:
            return
        self._passed.add(recorded)
        self._reached = max(self._reached, recorded.moment)
        if recorded.stirs and (self._anchor is None or recorded.moment >= self._anchor[0]):
            self._anchor = recorded.moment, now

    def overtaken(self, recorded: Recorded) -> Recorded | None:
        """A request that came before this one in the recording, and has not come yet: messages wait for both."""
        earlier = (one for one in self._changes if one.stirs and one.moment < recorded.moment)
        return next((one for one in earlier if one not in self._passed), None) if recorded.stirs else None

    def _candidates(self, question: Question) -> Iterator[_Candidate]:
        for recorded in self.recording.requests:
            trial = Trial(self.ids)
            if same_request(recorded, question, trial):
                yield _Candidate(recorded, trial)

    def _chosen(self, candidates: Sequence[_Candidate], now: float) -> _Candidate | Refused | Later:
        unused = [one for one in candidates if one.recorded not in self._used]
        first = candidates[0].recorded
        if not first.is_safe:
            times = "once" if len(candidates) == 1 else f"{len(candidates)} times"
            return unused[0] if unused else Refused(first, f"it was asked {times} in the recording, and has been now")
        current = [one for one in candidates if self._state_of(one.recorded) is None]
        if not current:
            return Refused(first, self._state_of(first) or "")
        if self._speed is None or not first.reads_runs:
            return next((one for one in current if one in unused), current[-1])
        due = [one for one in current if self.seconds_until(one.recorded.moment, now) <= 0]
        return due[-1] if due else Later(self.seconds_until(current[0].recorded.moment, now))

    def _state_of(self, recorded: Recorded) -> str | None:
        """Why an answer is not the one of this point of the recording; None where it is."""
        changes = [one for one in self._changes if recorded.concerns(one)]
        for change in changes:
            if change.moment < recorded.moment and change not in self._passed:
                return f"the recording has an answer to it only after {change}, which has not been asked yet"
        for change in changes:
            if change.moment > recorded.moment and change in self._passed:
                return f"the recording has an answer to it only before {change}, which has been asked by now"
        return None

    # Time

    def seconds_until(self, moment: float, now: float) -> float:
        """In how many seconds a moment of the recording has come; at once before anything was asked that counts."""
        if self._speed is None or self._anchor is None:
            return 0.0
        recorded, since = self._anchor
        return (moment - recorded) / self._speed - (now - since)

    # Sockets

    def open(self, question: Question) -> PlayedSocket | None:
        """The recorded socket that this upgrade opens; one that was opened before, where it is the same again."""
        trials = [(socket, Trial(self.ids)) for socket in self.recording.sockets]
        fitting = [(one, trial) for one, trial in trials if trial.same(one.question.value, question.value)]
        fresh = [pair for pair in fitting if pair[0] not in self._sockets]
        if not fitting:
            return None
        socket, trial = min(fresh, key=lambda pair: pair[1].renamed) if fresh else fitting[-1]
        self.ids.bind(trial.pairs)
        return self._sockets.setdefault(socket, PlayedSocket(socket, self.ids, self._seconds_to))

    def _seconds_to(self, said: Said, come: float, unsaid: Sequence[Said], now: float) -> float | None:
        """See `Due`. What may have been brought about by something that has not come is not waited for any longer when
        the client has done what it did later."""
        if any(request not in self._passed for request in said.surely):
            return None
        reached = max(self._reached, come)
        waits = any(request not in self._passed and request.moment > reached for request in said.perhaps)
        if waits or any(one.moment > reached for one in unsaid):
            return None
        return self.seconds_until(said.moment, now)

    # What is left

    def unused(self) -> list[str]:
        """What was never asked for, opened or sent. A question that may be repeated was asked if it was asked once."""
        asked = {jsontext.dumps(one.question.value) for one in self._used if one.is_safe}
        left: list[tuple[float, str]] = []
        for one in self.recording.requests:
            value = jsontext.dumps(one.question.value) if one.is_safe else None
            if one not in self._used and value not in asked:
                left.append((one.moment, str(one)))
            if value is not None:
                asked.add(value)
        for socket in self.recording.sockets:
            played = self._sockets.get(socket)
            if played is None:
                left.append((socket.moment, str(socket)))
            else:
                left.extend((one.moment, f"a message on {socket}: {shortened(one.payload)}") for one in played.unsaid())
        return [text for _, text in sorted(left)]

    def untold(self) -> int:
        """How many messages wait on sockets that were opened."""
        return sum(played.untold for played in self._sockets.values())
