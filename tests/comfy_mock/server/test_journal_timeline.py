"""A journal as lines to read."""

from __future__ import annotations

from journal_making import new_journal, prompt, request

from comfy_contracts.frames import PreviewFrame
from comfy_contracts.messages import (
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    Progress,
    ProgressState,
    Status,
    Unknown,
)
from comfy_mock.engine.script.director import Director
from comfy_mock.server.timeline import COLUMNS, LINES_MAX, timeline


def test_a_run_from_its_prompt_to_its_end() -> None:
    director = Director()
    journal, time = new_journal(director)
    socket = journal.socket(100.0, 1, "me")
    journal.event(100.0, Status(0, sid="me"), (1,))
    prompt(journal)
    journal.event(100.0, ExecutionCached(nodes=["4"], prompt_id="p", timestamp=0), (1,))
    for value in (1, 2, 3):
        journal.event(100.0 + value, ProgressState(prompt_id="p", nodes={}), (1,))
        journal.event(100.0 + value, Progress(value=value, max=20, prompt_id="p", node="3"), (1,))
        journal.event(100.0 + value, PreviewFrame(1, b"jpeg"), (1,))
    time.now = 103.0
    director.hold("step 3")
    for _ in range(4):
        request(journal, "GET", "/history/p")
    time.now = 104.25
    director.release()
    lost = journal.event(104.25, Progress(value=4, max=20, prompt_id="p", node="3"), ())
    lost.rules = ("lossy", "rule 2")
    journal.event(104.25, ProgressState(prompt_id="p", nodes={}), (1,))
    journal.event(104.25, Executed("9", "9", {"images": [{}, {}], "animated": [True]}, "p"), (1,))
    journal.event(104.25, Unknown("mine", {"a": 1}), (1, 2))
    journal.event(104.25, Executing(node=None, prompt_id="p"), (1,))
    socket.closed(105.0, None)
    assert timeline(journal).splitlines() == [
        '    0.000 s  WebSocket 1 opened by client "me"',
        "    0.000 s    status 0 → WebSocket 1",
        "    0.000 s  POST /prompt → 200: prompt 1 is p, 3 nodes",
        "    0.000 s    execution_cached: 4 → WebSocket 1",
        "    1.000 s    progress 3 1/20 … 3/20 (3 progress_state, 3 progress, 3 preview) → WebSocket 1",
        '    3.000 s  held: "step 3"',
        "    0.000 s  GET /history/p → 200, 4 times",
        '    4.250 s  released: "step 3"',
        "    4.250 s    progress 3 4/20 → nobody  [lossy, rule 2]",
        "    4.250 s    executed 9: images (2), animated (1) → WebSocket 1",
        '    4.250 s    mine: {"a": 1} → WebSocket 1, 2',
        "    4.250 s    executing null → WebSocket 1",
        "    5.000 s  WebSocket 1 broken off",
    ]


def test_requests_that_went_wrong() -> None:
    journal, _time = new_journal()
    prompt(journal, {}, status=400)
    late = journal.request(100.0, "GET", "/view", {"filename": "a b.png"}, {})
    late.rules = ("slow",)
    broken = journal.request(100.0, "GET", "/queue", {}, {})
    journal.request(100.0, "GET", "/queue", {}, {})
    broken.answered(100.0, None)
    late.answered(101.5, 200)
    refused = journal.socket(100.0, None, None)
    refused.refused = 503
    assert timeline(journal).splitlines() == [
        "    0.000 s  POST /prompt → 400: refused prompt_no_outputs: Prompt has no outputs",
        "    0.000 s  GET /view?filename=a b.png → 200, after 1.500 s  [slow]",
        "    0.000 s  GET /queue → broken off",
        "    0.000 s  GET /queue → no answer yet",
        "    0.000 s  WebSocket of client None refused with 503",
    ]


def test_no_line_is_too_wide_and_rules_stay_readable() -> None:
    journal, _time = new_journal()
    path = f"/view/{'x' * 200}"
    for _ in range(2):
        request(journal, "GET", path)
    request(journal, "GET", path).rules = ("slow",)
    error = ExecutionError(
        prompt_id="p",
        node_id="3",
        node_type="KSampler",
        executed=[],
        exception_message="Allocation on device\n" * 9,
        exception_type="torch.OutOfMemoryError",
        traceback=[],
        current_inputs={},
        current_outputs=[],
    )
    journal.event(100.0, error, (1,)).rules = ("oom",)
    lines = timeline(journal).splitlines()
    assert [len(line) for line in lines] == [COLUMNS] * 3
    assert lines[0].endswith("…, 2 times")
    assert lines[1].endswith("…  [slow]")
    assert lines[2].endswith("… → WebSocket 1  [oom]")


def test_long_ones_are_cut_in_the_middle_and_say_what_is_gone() -> None:
    journal, _time = new_journal(records_max=LINES_MAX + 50)
    for number in range(LINES_MAX + 57):
        journal.event(100.0, Status(number), ())
    lines = timeline(journal).splitlines()
    assert lines[0].strip() == "(7 older records are gone)"
    assert lines[1].split() == ["0.000", "s", "status", "7", "→", "nobody"]
    assert "            (50 lines are left out)" in lines
    assert lines[-1].split()[3] == str(LINES_MAX + 56)
    assert len(lines) == LINES_MAX + 2


def test_nothing_is_said_to_be_nothing() -> None:
    assert timeline(new_journal()[0]) == "(nothing came, and nothing was sent)"
