"""The catalogue is legal and says what it should; schedules are drawn by a seed, and shrink."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.conformance.catalogue import SITUATIONS
from comfy_mock.conformance.check import chosen
from comfy_mock.conformance.report import Outcome
from comfy_mock.conformance.schedules import FAULTS, Schedule, read_schedule, schedules, shrunk
from comfy_mock.conformance.situations import Situation

DRAWN = [schedule.situation() for schedule in schedules(40, seed=1)]


@pytest.mark.parametrize("situation", [*SITUATIONS.values(), *DRAWN], ids=lambda situation: situation.name)
def test_a_situation_does_only_what_a_real_server_or_network_can(situation: Situation) -> None:
    assert [rule for rule in situation.rules if rule.legality != "legal"] == []


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=lambda situation: situation.name)
def test_a_situation_says_what_happens_and_what_is_right(situation: Situation) -> None:
    assert situation.does.endswith(".")
    assert situation.should.endswith((".", ")."))
    sections = re.findall(r"\(?protocol ([\d., ]+)|RFC (\d+)", situation.should)
    assert sections or situation.name in (
        "server_gone",
        "socket_refused_once",
        "500_once_post_prompt",
        "429_once_post_prompt",
    )


def test_the_situations_that_issue_5_asks_for_are_there() -> None:
    assert set(SITUATIONS) >= {
        "quick", "cached", "two_outputs", "dropped_and_the_run_goes_on", "dropped_and_the_run_ends", "success_lost",
        "error_lost", "interruption_lost", "closing_message_lost", "executed_lost", "interrupted", "fails",
        "deleted_while_pending", "anothers_failure", "anothers_success", "restart_in_mid_run", "previews_between",
        "500_once_post_prompt", "500_once_get_history", "429_once_get_history", "500_once_get_view",
        "429_once_get_view",
    }  # fmt: skip


def test_situations_are_chosen_by_name_by_pattern_and_as_schedules() -> None:
    assert len(chosen([])) == len(SITUATIONS)
    assert [each.name for each in chosen(["plain", "cach*"])] == ["plain", "cached", "cached_answer_after_the_end"]
    (schedule,) = chosen(["schedule:two_outputs+raise+texts"])
    assert (schedule.name, schedule.expect) == ("schedule:two_outputs+raise+texts", "failure")
    with pytest.raises(ValueError, match="no situation 'plian'"):
        chosen(["plian"])
    with pytest.raises(ValueError, match="no 'fire'; there are: raise, "):
        chosen(["schedule:two_outputs+fire"])


@given(st.integers(0, 2**32))
def test_schedules_follow_their_seed_and_are_what_their_names_say(seed: int) -> None:
    drawn = schedules(6, seed)
    assert drawn == schedules(6, seed)
    assert len(set(drawn)) == 6
    for schedule in drawn:
        assert read_schedule(str(schedule)) == schedule
        kinds = [FAULTS[name].kind or name for name in schedule.faults]
        assert len(kinds) == len(set(kinds))


@given(
    st.sets(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=8).flatmap(
        lambda names: st.tuples(st.permutations(sorted(names)), st.sets(st.sampled_from(sorted(names)), min_size=1))
    )
)
def test_shrinking_finds_exactly_the_faults_that_a_failure_needs(case: tuple[list[str], set[str]]) -> None:
    faults, needed = case
    start = Schedule("three_pictures", tuple(faults))
    found = shrunk(start, outcome(start, needed), lambda less: outcome(less, needed), trials=200, seconds=60)
    assert read_schedule(found.situation.name) == Schedule("one_output", tuple(f for f in faults if f in needed))


def test_shrinking_ends_after_so_many_trials_and_after_so_long() -> None:
    start = Schedule("one_output", tuple(sorted(FAULTS)))
    tried: list[Schedule] = []

    def attempt(less: Schedule) -> Outcome:
        tried.append(less)
        return outcome(less, set(start.faults))

    shrunk(start, outcome(start, set()), attempt, trials=3)
    assert len(tried) == 3
    shrunk(start, outcome(start, set()), attempt, seconds=10, now=iter(range(0, 100, 4)).__next__)
    assert len(tried) == 3 + 2


def outcome(schedule: Schedule, needed: set[str]) -> Outcome:
    """That of a client that fails where all the `needed` faults come together."""
    situation = Situation(str(schedule), "", "")
    return Outcome(situation, "hangs" if needed <= set(schedule.faults) else "passes", "")
