"""Every field of a recording that is not declared free is looked at: a sample here, all by the command."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
from traffic_maker import PROMPT, exchange, har, queued, socket, status

from comfy_contracts.compare import Comparison, Traffic
from comfy_contracts.har import Har, load, packaged_recordings
from comfy_contracts.mutations import Tally, examine, main
from comfy_contracts.mutations_made import mutations_of

RECORDINGS = packaged_recordings("0.33.0")

# At least one to which each stream rule applies, and one of each kind of route.
SAMPLED = (
    "error_first_then_cache",
    "interrupt_targeted",
    "multi_user",
    "partly_invalid_prompt",
    "progress_text",
    "queue_front_and_number",
    "reconnect_mid_run",
    "slow_middle_of_queue_status",
    "t2i_preview_metadata",
    "two_clients",
    "upload_mask",
)


@functools.cache
def recorded(name: str) -> Har:
    return load(RECORDINGS[name])


@pytest.mark.parametrize("name", SAMPLED)
def test_every_change_is_noticed(name: str) -> None:
    tally = examine(name, recorded(name), sample=1, seed=1)
    assert tally.missed == []
    assert tally.share == 1.0
    assert tally.made.total() > 10


@pytest.mark.parametrize("name", ["t2i_fresh", "jobs_routes", "view"])
def test_all_is_as_it_was_afterwards(name: str) -> None:
    world = recorded(name).to_builtins()
    before = Har.from_builtins(world)
    undo = [mutation.make() for mutation in mutations_of(world, Traffic.read(before)) if not mutation.text]
    assert Har.from_builtins(world) != recorded(name)
    for back in reversed(undo):
        back()
    assert Har.from_builtins(world) == recorded(name)


def test_there_is_a_change_of_everything() -> None:
    recording = har(
        socket((1, status(0, "s")), (2, b"\x00\x00\x00\x01\x00\x00\x00\x02abc")),
        queued(PROMPT, at=3),
        exchange("GET", "/view", at=4, answer=b"\x89PNG\xff"),
        exchange("GET", "/x", at=5, answer="text", headers={"Vary": "a"}),
    )
    kinds = {mutation.kind for mutation in mutations_of(recording.to_builtins(), Traffic.read(recording))}
    assert kinds == {
        "binary body cut",
        "body: key missing",
        "body: order of keys",
        "body: value",
        "close code",
        "entries swapped",
        "entry doubled",
        "entry missing",
        "frame: event",
        "frame: format",
        "frame: picture",
        "header added",
        "header missing",
        "header value",
        "message doubled",
        "message missing",
        "message: key missing",
        "message: order of keys",
        "message: value",
        "messages swapped",
        "reason",
        "status",
        "text body",
    }


def test_what_is_declared_free_is_counted_apart() -> None:
    recording = har(exchange("GET", "/x", answer={"timestamp": 1, "a": 2}, headers={"Date": "x"}))
    tally = examine("x", recording)
    assert (tally.made["body: value"], tally.free["body: value"]) == (1, 1)
    assert tally.free["header value"] == 1


def test_a_comparison_that_does_not_look_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Traffic.compare

    def careless(self: Traffic, got: Traffic) -> Comparison:
        found = looking(self, got)
        return replace(found, differences=[one for one in found.differences if not one.where.endswith(" status")])

    monkeypatch.setattr(Traffic, "compare", careless)
    tally = examine("x", har(exchange(answer={"a": 1})))
    assert tally.share < 1
    assert tally.missed == ["x: status: exchange 0", "x: reason: exchange 0"]


def test_the_command_prints_the_share(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["two_sockets_same_client_id", "--sample", "2"]) == 0
    total = capsys.readouterr().out.splitlines()[-1]
    assert total.startswith("all ")
    assert "100.00%" in total
    with pytest.raises(SystemExit):
        main(["no_such_recording"])
    assert "no such recording: no_such_recording" in capsys.readouterr().err


def test_a_table_of_what_was_missed_is_not_endless() -> None:
    tally = Tally(missed=[str(number) for number in range(50)])
    assert tally.lines()[-1] == "… and 10 more"
