"""Single rules of the tracker that a property could miss."""

from __future__ import annotations

from typing import Any

import pytest
from tracker_world import PACE

from comfy_client import events as ev
from comfy_client._actions import GiveUp, Nothing, PollHistory, PollQueue, Reconnect, WaitUntil
from comfy_client._prompt_state import PromptState, verdict
from comfy_client._schedule import POSITION_AFTER_S, UNREADABLE_MAX
from comfy_client._tracker import QUEUE_REST_MAX, STRANGERS_MAX, Tracker
from comfy_contracts import frames, messages
from comfy_contracts.prompts import PromptAccepted
from comfy_contracts.results import HistoryEntry, Queue

EMPTY = Queue([], [])


def entry(prompt_id: str = "p", number: float = 0, messages: Any = (), status: str = "success") -> HistoryEntry:
    return HistoryEntry.from_builtins(
        {
            "prompt": [number, prompt_id, {}, {}, []],
            "outputs": {},
            "status": {"status_str": status, "completed": status == "success", "messages": list(messages)},
        }
    )


def queue_of(*pending: str, running: str | None = None) -> Queue:
    items = [[number, prompt_id, {}, {}, []] for number, prompt_id in enumerate(pending)]
    return Queue.from_builtins(
        {"queue_running": [] if running is None else [[-1, running, {}, {}, []]], "queue_pending": items}
    )


def followed(*, socket: bool = True, prompt_id: str = "p", **arguments: Any) -> tuple[Tracker, PromptState]:
    tracker = Tracker(PACE)
    if socket:
        tracker.socket_opened(0.0)
    state = tracker.submitting(prompt_id, 0.0, uses_socket=socket, **arguments)
    tracker.accepted(prompt_id, PromptAccepted(prompt_id, 0, {}), 0.0)
    return tracker, state


def test_with_a_live_socket_the_queue_is_asked_now_and_then() -> None:
    tracker, state = followed()
    tracker.message(messages.ExecutionStart("p", 1), 0.1)
    assert state.phase == "running"
    assert tracker.next_action("p", 0.1) == WaitUntil(0.1 + PACE.watch_interval)
    assert tracker.next_action("p", 0.1 + PACE.watch_interval) == PollQueue()


def test_of_a_prompt_that_waits_the_position_is_asked_for_soon_and_once() -> None:
    tracker, state = followed()
    assert tracker.next_action("p", 0.0) == WaitUntil(POSITION_AFTER_S)
    tracker.queue(queue_of("p", running="other"), POSITION_AFTER_S, POSITION_AFTER_S)
    assert state.position == 1
    assert tracker.next_action("p", POSITION_AFTER_S) == WaitUntil(POSITION_AFTER_S + PACE.watch_interval)


def test_a_terminal_message_is_followed_by_the_history_until_it_is_there() -> None:
    tracker, state = followed()
    tracker.message(messages.ExecutionSuccess("p", 1), 1.0)
    assert tracker.next_action("p", 1.0) == PollHistory("p")
    tracker.history("p", None, 1.0, 1.01)
    assert not state.ended
    again = tracker.next_action("p", 1.01)
    assert isinstance(again, WaitUntil)
    assert again.at - 1.01 <= 0.05
    tracker.history("p", entry(), again.at, again.at)
    assert state.phase == "success"
    assert tracker.next_action("p", 2.0) == Nothing()


@pytest.mark.parametrize(
    ("message", "phase"),
    [
        (messages.ExecutionSuccess("p", 1), "success"),
        (messages.ExecutionError("p", "1", "N", [], "m\n", "T", [], {}, [], timestamp=1), "error"),
        (messages.ExecutionInterrupted("p", "1", "N", [], 1), "interrupted"),
        (messages.Executing(None, prompt_id="p"), "success"),
    ],
)
def test_where_the_history_was_cleared_messages_have_to_do(message: messages.Message, phase: str) -> None:
    tracker, state = followed()
    tracker.message(messages.Executed("1", "1", {"text": ["x"]}, "p"), 0.5)
    tracker.message(message, 1.0)
    tracker.history("p", None, 1.0, 1.1)
    assert not state.ended
    tracker.history("p", None, 5.0, 5.1)
    assert state.phase == phase
    assert state.outputs == {"1": {"text": ["x"]}}


def test_a_blocker_is_not_the_end() -> None:
    tracker, state = followed()
    blocked = messages.ExecutionError("p", "1", "N", [], "Execution Blocked: no", "ExecutionBlocked", [], [], [])
    reader = state.subscribe()
    tracker.message(blocked, 1.0)
    assert state.end_message is None
    assert ev.Blocked("p", "1", "no") in list(reader)


def test_a_run_time_cycle_is_an_error_although_its_status_says_success() -> None:
    data = messages.ExecutionError("p", "1", "N", [], "Dependency cycle detected", "G", [], [], [], timestamp=1)
    outcome, said = verdict(entry(messages=[("execution_error", data.to_builtins())], status="success"))
    assert (outcome, said) == ("error", data)


def test_an_entry_without_status_is_a_success_of_an_old_server() -> None:
    old = HistoryEntry.from_builtins({"prompt": [0, "p", {}, {}, []], "outputs": {}})
    assert verdict(old) == ("success", None)


def test_one_empty_queue_proves_nothing() -> None:
    tracker, state = followed(socket=False)
    tracker.queue(EMPTY, 1.0, 1.0)
    tracker.history("p", None, 1.0, 1.0)
    tracker.queue(EMPTY, 1.1, 1.1)
    tracker.history("p", None, 1.1, 1.1)
    assert not state.ended
    tracker.queue(queue_of("p"), 1.2, 1.2)
    tracker.queue(EMPTY, 5.0, 5.0)
    tracker.history("p", None, 5.0, 5.0)
    assert not state.ended
    tracker.queue(EMPTY, 5.0 + PACE.lost_after, 5.0 + PACE.lost_after)
    tracker.history("p", None, 5.0 + PACE.lost_after, 5.0 + PACE.lost_after)
    assert state.phase == "lost"


def test_a_history_that_was_asked_before_the_queue_does_not_count() -> None:
    tracker, state = followed(socket=False)
    for moment in (1.0, 10.0, 20.0):
        tracker.queue(EMPTY, moment, moment)
        tracker.history("p", None, moment - 0.5, moment + 0.1)
    assert not state.ended


def test_a_queue_that_was_asked_before_the_post_does_not_count() -> None:
    tracker, state = followed(socket=False)
    tracker.queue(EMPTY, -1.0, 0.5)
    tracker.history("p", None, 0.6, 0.6)
    tracker.queue(EMPTY, -1.0, 9.0)
    tracker.history("p", None, 9.1, 9.1)
    assert not state.ended


def test_an_old_run_with_the_same_id_is_another_one() -> None:
    tracker, state = followed(socket=False)
    tracker.history("p", entry(number=-7), 1.0, 1.0)
    assert not state.ended
    tracker.history("p", entry(number=0), 2.0, 2.0)
    assert state.phase == "success"


def test_positions_are_in_the_order_of_running() -> None:
    tracker = Tracker(PACE)
    states = {}
    for name in ("a", "b", "c"):
        states[name] = tracker.submitting(name, 0.0, uses_socket=False)
        tracker.accepted(name, PromptAccepted(name, 0, {}), 0.0)
    heap = [[-104, "x", {}, {}, []], [3.5, "a", {}, {}, []], [-5.0, "b", {}, {}, []], [103, "c", {}, {}, []]]
    tracker.queue(Queue.from_builtins({"queue_running": [[0, "y", {}, {}, []]], "queue_pending": heap}), 1.0, 1.0)
    assert {name: state.position for name, state in states.items()} == {"b": 2, "a": 3, "c": 4}


def test_a_message_without_a_prompt_is_nobodys() -> None:
    tracker, state = followed()
    reader = state.subscribe()
    before = len(reader)
    tracker.message(messages.Executing("3"), 1.0)
    tracker.frame(frames.PreviewFrame(frames.JPEG, b"x"), 1.0)
    tracker.frame(frames.TextFrame("3", "x"), 1.0)
    tracker.message(messages.Unknown("custom", {"prompt_id": "other"}), 1.0)
    assert len(reader) == before
    tracker.message(messages.Unknown("custom", {"prompt_id": "p"}), 1.0)
    assert isinstance(list(reader)[-1], ev.CustomMessage)


def test_a_server_that_marks_previews_sends_unmarked_ones_of_others_only() -> None:
    for marks in (True, False):
        tracker, state = followed()
        tracker.message(messages.FeatureFlags({"supports_preview_metadata": marks}), 0.5)
        tracker.message(messages.Progress(1, 2, "p", "3"), 1.0)
        tracker.frame(frames.PreviewFrame(frames.PNG, b"x"), 1.0)
        assert state.progress().previews == (0 if marks else 1)


def test_messages_of_an_id_that_the_server_mints_are_kept_for_the_answer() -> None:
    tracker = Tracker(PACE)
    tracker.socket_opened(0.0)
    state = tracker.submitting("mine", 0.0, uses_socket=True)
    for number in range(STRANGERS_MAX + 5):
        tracker.message(messages.ExecutionStart(f"other{number}", 1), 0.1)
    tracker.message(messages.ExecutionStart("theirs", 1), 0.1)
    tracker.message(messages.ExecutionSuccess("theirs", 1), 0.1)
    tracker.accepted("mine", PromptAccepted("theirs", 4, {}), 0.2)
    assert (state.prompt_id, state.phase) == ("theirs", "running")
    assert tracker.next_action("theirs", 0.2) == PollHistory("theirs")


def test_a_deaf_socket_is_replaced() -> None:
    tracker, _ = followed()
    tracker.submitting("q", 0.0, uses_socket=True)
    tracker.accepted("q", PromptAccepted("q", 1, {}), 0.0)
    tracker.queue(queue_of("q", running="p"), 2.0, 2.0)
    tracker.history("p", entry(), 4.0, 4.0)
    assert Reconnect() not in [tracker.next_action("q", 4.0)]
    tracker.queue(queue_of(running="q"), 5.0, 5.0)
    assert tracker.next_action("q", 5.5) == Reconnect()


def test_the_socket_is_tried_for_again_with_growing_waits() -> None:
    tracker, _ = followed()
    waits = []
    moment = 1.0
    for _ in range(8):
        tracker.socket_lost(moment)
        waits.append(tracker.reconnect_at - moment)
        moment = tracker.reconnect_at
    assert waits[0] <= 2 * PACE.reconnect_first
    assert waits[-1] > waits[0] * 4
    assert max(waits) <= 1.5 * PACE.reconnect_max


def test_a_server_that_never_answers_is_given_up() -> None:
    tracker, _ = followed(socket=False)
    moment = 1.0
    while tracker.next_action("p", moment) != GiveUp():
        tracker.poll_failed(PollHistory("p"), moment)
        moment += 1.0
    assert moment >= PACE.unreachable_after
    tracker.try_again()
    assert tracker.next_action("p", moment) != GiveUp()


def test_a_pause_in_which_nobody_asks_is_no_outage() -> None:
    tracker, _ = followed(socket=False)
    moment = 1.0
    for _ in range(20):  # in all far longer than `unreachable_after`
        tracker.poll_failed(PollHistory("p"), moment, asked_at=moment)
        assert tracker.next_action("p", moment + 10.0) != GiveUp()
        moment += 10.0


def test_attempts_to_get_a_socket_are_no_pause() -> None:
    tracker = Tracker(PACE)
    tracker.submitting("p", 0.0, uses_socket=True)
    tracker.accepted("p", PromptAccepted("p", 0, {}), 0.0)
    moment = 1.0
    while tracker.next_action("p", moment) != GiveUp():
        assert moment < 3 * PACE.unreachable_after
        tracker.poll_failed(PollHistory("p"), moment, asked_at=moment)
        tracker.socket_lost(moment + 10.0, took=10.0)
        moment += 10.0


def test_answers_that_cannot_be_read_are_borne_a_few_times() -> None:
    tracker, _ = followed(socket=False)
    for number in range(UNREADABLE_MAX):
        assert tracker.next_action("p", 1.0 + number) != GiveUp()
        tracker.poll_failed(PollHistory("p"), 1.0 + number, unreadable=True)
        tracker.queue(queue_of("p"), 1.5 + number, 1.5 + number)
    assert tracker.next_action("p", 9.0) == GiveUp()
    tracker.history("p", None, 9.0, 9.0)
    assert tracker.next_action("p", 9.0) != GiveUp()


def test_a_slow_queue_is_asked_again_some_time() -> None:
    tracker, _ = followed(socket=False)
    tracker.queue(queue_of("p"), 0.0, 1000.0)
    asked: list[float] = []
    moment = 1000.0
    while not asked and moment < 2000.0:
        action = tracker.next_action("p", moment)
        if isinstance(action, WaitUntil):
            moment = action.at
        elif isinstance(action, PollQueue):
            asked.append(moment)
        else:
            tracker.history("p", None, moment, moment)
    assert asked
    assert asked[0] <= 1000.0 + (QUEUE_REST_MAX + 1) * PACE.watch_interval


def test_without_a_socket_the_queue_is_asked_at_once_whatever_it_took_before() -> None:
    tracker, _ = followed()
    tracker.queue(queue_of("p"), 0.0, 0.3)
    tracker.socket_lost(0.4)
    tracker.history("p", None, 0.4, 0.4)
    assert tracker.next_action("p", 0.4) == PollQueue()


def test_a_socket_that_opens_and_closes_at_once_is_tried_for_less_and_less() -> None:
    tracker, _ = followed()
    waits, moment = [], 1.0
    for _ in range(8):
        tracker.socket_opened(moment)
        tracker.message(messages.Status(1, "me"), moment)
        tracker.socket_lost(moment + 0.01)
        waits.append(tracker.reconnect_at - moment)
        moment = tracker.reconnect_at
    assert waits[-1] > waits[0] * 4
    tracker.socket_opened(moment)
    tracker.message(messages.ExecutionStart("other", 1), moment)
    tracker.socket_lost(moment + 0.01)
    assert tracker.reconnect_at - moment <= 0.01 + 1.5 * PACE.reconnect_first
    for _ in range(8):  # of those that lasted, each is a new beginning
        tracker.socket_opened(moment)
        moment += 2 * PACE.reconnect_max
        tracker.socket_lost(moment)
        assert tracker.reconnect_at - moment <= 1.5 * PACE.reconnect_first


def test_an_attempt_that_took_long_is_followed_by_a_longer_rest() -> None:
    tracker, _ = followed()
    tracker.socket_lost(5.0, took=4.0)
    assert tracker.reconnect_at - 5.0 >= 4.0
    patience = [tracker.connect_patience]
    tracker.socket_closed()  # there was none: nothing is forgotten
    tracker.socket_lost(20.0)
    patience.append(tracker.connect_patience)
    tracker.socket_lost(30.0)
    patience.append(tracker.connect_patience)
    assert patience == [2.0, 4.0, 8.0]
    assert followed(socket=False)[0].connect_patience == 5.0


def test_of_a_prompt_of_others_the_queue_is_asked_first() -> None:
    tracker = Tracker(PACE)
    state = tracker.attach("p", 0.0, uses_socket=False)
    assert tracker.next_action("p", 0.0) == PollQueue()
    tracker.history("p", entry(number=-3), 0.0, 0.0)  # of an earlier run
    assert not state.ended
    tracker.queue(queue_of("p"), 0.1, 0.1)
    tracker.history("p", entry(number=-3), 0.2, 0.2)
    assert state.phase == "queued"
    tracker.history("p", entry(number=0), 0.3, 0.3)
    assert state.phase == "success"


@pytest.mark.parametrize("failing", [True, False])
def test_of_a_prompt_of_others_the_history_tells_where_the_queue_has_it_not(failing: bool) -> None:
    tracker = Tracker(PACE)
    state = tracker.attach("p", 0.0, uses_socket=False)
    if failing:
        tracker.poll_failed(PollQueue(), 0.1, asked_at=0.0)
    else:
        tracker.queue(EMPTY, 0.1, 0.1)
    tracker.history("p", entry(number=-3), 0.2, 0.2)
    assert state.phase == "success"


def test_an_entry_of_before_the_post_is_not_of_this_run() -> None:
    tracker, state = followed(socket=False)
    state.stale = entry(number=0)
    tracker.history("p", entry(number=0), 1.0, 1.0)
    assert not state.ended
    tracker.history("p", entry(number=0, messages=[("execution_start", {"timestamp": 5})]), 2.0, 2.0)
    assert state.phase == "success"


def test_an_entry_as_before_to_the_letter_counts_when_the_prompt_is_nowhere_else() -> None:
    for ends_by_message in (False, True):
        tracker, state = followed(socket=False)
        state.stale = entry(number=0)
        if ends_by_message:
            tracker.message(messages.ExecutionSuccess("p", 1), 1.0)
        moment = 1.0
        while not state.ended:
            assert moment < 10.0
            tracker.queue(EMPTY, moment, moment)
            tracker.history("p", entry(number=0), moment, moment)
            moment += 0.5
        assert (state.phase, state.entry) == ("success", state.stale)


def test_numbers_too_large_for_python_do_not_end_a_wait() -> None:
    tracker, state = followed()
    for message in (messages.Progress(10**400, 10**400, "p", "3"), messages.Progress(10**400, 1, "p", "3")):
        with pytest.raises(ArithmeticError):
            tracker.message(message, 1.0)
    tracker.message(messages.Progress(float("nan"), float("inf"), "p", "3"), 1.0)
    tracker.message(messages.Progress(1, 2, "p", "3"), 1.0)
    assert state.progress().nodes["3"].fraction == 0.5


def test_an_action_under_way_is_not_given_twice() -> None:
    tracker, _ = followed(socket=False)
    action = tracker.next_action("p", 1.0)
    assert action == PollHistory("p")
    tracker.begin(action, 1)
    assert isinstance(tracker.next_action("p", 1.0), WaitUntil)
    tracker.finish(action)
    assert tracker.next_action("p", 1.0) == action


def test_an_action_is_no_longer_under_way_when_the_one_who_did_it_asks_anew() -> None:
    tracker, _ = followed(socket=False)
    action = tracker.next_action("p", 1.0)
    tracker.begin(action, 1)
    tracker.asks_anew(2)
    assert isinstance(tracker.next_action("p", 1.0), WaitUntil)
    tracker.asks_anew(1)
    assert tracker.next_action("p", 1.0) == action


def test_an_id_that_is_under_way_cannot_be_taken_again() -> None:
    tracker, _ = followed()
    with pytest.raises(ValueError, match="under way"):
        tracker.submitting("p", 1.0, uses_socket=True)


def test_ten_thousand_queued_prompts_cost_few_questions() -> None:
    tracker = Tracker(PACE)
    tracker.socket_opened(0.0)
    ids = [f"p{number:05}" for number in range(10_000)]
    states = [tracker.submitting(prompt_id, 0.0, uses_socket=True) for prompt_id in ids]
    for number, prompt_id in enumerate(ids):
        tracker.accepted(prompt_id, PromptAccepted(prompt_id, number, {}), 0.0)
    asked = {PollQueue: 0, PollHistory: 0}
    for moment in range(20):
        for prompt_id in ids:
            action = tracker.next_action(prompt_id, float(moment))
            if isinstance(action, PollQueue):
                asked[PollQueue] += 1
                tracker.queue(queue_of(*ids[1:], running=ids[0]), float(moment), moment + 0.4)
            elif isinstance(action, PollHistory):
                asked[PollHistory] += 1
                tracker.history(prompt_id, None, float(moment), float(moment))
    assert states[-1].position == 9999
    # a queue that takes 0.4 s to be read is left alone for 4 s
    assert asked[PollQueue] <= 5
    assert asked[PollHistory] == 0


def test_what_comes_by_socket_costs_the_same_for_one_prompt_and_for_ten_thousand() -> None:
    class Unwalked(dict[str, Any]):
        """Lets nobody go through all prompts."""

        def values(self) -> Any:
            raise AssertionError("all prompts are gone through for one message")

        items = keys = __iter__ = values

    tracker = Tracker(PACE)
    tracker.socket_opened(0.0)
    for number in range(3):
        tracker.submitting(f"p{number}", 0.0, uses_socket=True, nodes=["3"])
        tracker.accepted(f"p{number}", PromptAccepted(f"p{number}", number, {}), 0.0)
    tracker._watches = Unwalked(tracker._watches)
    step = messages.NodeProgress(1, 4, "running", "3", "p1", "3", None, "3")
    tracker.take_changed()
    told: list[Any] = [
        messages.Status(3),
        messages.ExecutionStart("p1", 1),
        messages.ExecutionCached(nodes=[], prompt_id="p1", timestamp=1),
        messages.Executing("3", "3", "p1"),
        messages.ProgressState("p1", {"3": step}),
        messages.Progress(1, 4, "p1", "3"),
        messages.Executed("3", "3", {"text": ["x"]}, "p1"),
        messages.Unknown("custom", {"prompt_id": "p1"}),
        messages.ExecutionSuccess("p1", 1),
        messages.Executing(None, prompt_id="p1"),
        messages.ExecutionStart("somebody's", 1),
    ]
    for message in told:
        tracker.message(message, 1.0)
        tracker.frame(frames.PreviewFrame(frames.JPEG, b"x"), 1.0)
        assert {state.prompt_id for state in tracker.take_changed()} <= {"p1"}
    assert tracker.next_action("p1", 1.0) == PollHistory("p1")
    tracker.history("p1", entry("p1", 1), 1.0, 1.0)
    assert tracker.wants_socket
    assert tracker.next_action("p1", 1.0) == Nothing()


def test_a_prompt_may_have_its_own_interval_of_polling() -> None:
    def looks(poll_interval: float | None) -> list[float]:
        tracker, _ = followed(socket=False, poll_interval=poll_interval)
        moment, found = 0.0, []
        while moment < 10.0:
            action = tracker.next_action("p", moment)
            if isinstance(action, WaitUntil):
                found.append(action.at - moment)
                moment = action.at
            elif isinstance(action, PollQueue):
                tracker.queue(queue_of("p"), moment, moment)
            else:
                tracker.history("p", None, moment, moment)
        return found

    assert max(looks(None)) == pytest.approx(PACE.poll_interval)
    assert max(looks(0.07)) == pytest.approx(0.07)
    assert max(looks(4.0)) == pytest.approx(4.0)
    assert min(looks(0.0)) > 0


def test_a_cancelled_prompt_that_is_gone_was_interrupted_after_two_looks() -> None:
    tracker, state = followed(socket=False)
    tracker.cancelled("p", 1.0)
    tracker.queue(EMPTY, 1.0, 1.0)
    tracker.history("p", None, 1.0, 1.0)
    assert not state.ended
    tracker.queue(EMPTY, 1.1, 1.1)
    tracker.history("p", None, 1.1, 1.1)
    assert state.phase == "interrupted"


def test_an_empty_queue_in_a_status_is_a_reason_to_look_at_the_history() -> None:
    tracker, _ = followed()
    tracker.message(messages.Status(0), 0.1)  # from before the POST
    assert isinstance(tracker.next_action("p", 0.2), WaitUntil)
    tracker.message(messages.Status(2), 0.2)
    assert isinstance(tracker.next_action("p", 0.2), WaitUntil)
    tracker.message(messages.Status(0), 0.2)
    assert tracker.next_action("p", 0.2) == PollHistory("p")


def test_the_start_of_another_prompt_is_a_reason_to_look_at_the_history() -> None:
    tracker, _ = followed()
    tracker.message(messages.ExecutionStart("p", 1), 1.0)
    tracker.message(messages.ExecutionStart("other", 1), 1.5)
    assert tracker.next_action("p", 1.5) == PollHistory("p")


def test_a_picture_or_text_counts_only_right_after_a_sign_of_its_node() -> None:
    progress = messages.Progress(1, 2, "p", "3")
    for between, frame, told in [
        (None, frames.TextFrame("3", "x"), True),
        (None, frames.TextFrame("4", "x"), False),
        (messages.Status(1), frames.TextFrame("3", "x"), False),
        (messages.Progress(1, 2, "other", "3"), frames.TextFrame("3", "x"), False),
        (None, frames.PreviewFrame(frames.JPEG, b"x"), True),
        (messages.Progress(1, 2, "other", "3"), frames.PreviewFrame(frames.JPEG, b"x"), False),
        (messages.Status(1), frames.PreviewFrame(frames.JPEG, b"x"), False),
    ]:
        tracker, state = followed()
        tracker.message(messages.Executing("4", "4", "p"), 1.0)
        tracker.message(progress, 1.0)
        if between is not None:
            tracker.message(between, 1.0)
        tracker.frame(frame, 1.0)
        found = [event for event in state.subscribe() if isinstance(event, (ev.NodeText, ev.Preview))]
        assert bool(found) is told
