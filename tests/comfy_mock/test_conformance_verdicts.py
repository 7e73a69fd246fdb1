"""How a client's ending is read, and when it is right."""

from __future__ import annotations

import hashlib
import io

import PIL.Image
import pytest

from comfy_mock.conformance.clients import Ending, ending_of
from comfy_mock.conformance.report import NotConforming, Outcome, Report
from comfy_mock.conformance.situations import Situation
from comfy_mock.conformance.verdicts import File, Truth, differences, files_of, judge

PLAIN = Situation("plain", "does", "should")
FAILING = Situation("failing", "does", "should", "failure")
REFUSED = Situation("refused", "does", "should", "failure", queues=False)
EITHER = Situation("either", "does", "should", "either")

ONE = {"filename": "a_00001_.png", "subfolder": "", "type": "output"}
TWO = {"filename": "a_00002_.png", "subfolder": "", "type": "output"}
RUN: dict[str, list[File]] = {"9": [ONE, TWO]}


def png(file: File) -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("RGB", (16, 8) if file == ONE else (8, 8)).save(stream, "PNG")
    return stream.getvalue()


DONE = Truth([RUN], 1, 1, png)
FAILED = Truth([], 1, 1)


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (0, 'hello\n{"9": ["a.png"]}\n', "outputs"),
        (0, '{"9": []}\nbye', "nothing"),
        (0, "", "nothing"),
        (0, "[1]", "nothing"),
        (0, '{"error": "no"}', "failure"),
        (1, '{"error": "no"}', "failure"),
        (1, '{"9": ["a.png"]}', "crash"),
        (1, "", "crash"),
        (-11, "", "crash"),
    ],
)
def test_a_program_is_read_by_its_last_line_and_its_exit_code(code: int, said: str, kind: str) -> None:
    assert ending_of(code, said).kind == kind


@pytest.mark.parametrize(
    ("situation", "kind", "truth", "verdict"),
    [
        (PLAIN, "outputs", DONE, "passes"),
        (PLAIN, "outputs", FAILED, "wrong result"),
        (PLAIN, "failure", DONE, "wrong result"),
        (PLAIN, "crash", DONE, "crashes"),
        (PLAIN, "nothing", DONE, "wrong result"),
        (PLAIN, "hang", DONE, "hangs"),
        (FAILING, "outputs", FAILED, "wrong result"),
        (FAILING, "failure", FAILED, "passes"),
        (FAILING, "crash", FAILED, "passes"),
        (FAILING, "crash", Truth(), "wrong result"),  # it has not even begun
        (REFUSED, "crash", Truth(), "passes"),
        (FAILING, "nothing", FAILED, "wrong result"),
        (FAILING, "hang", FAILED, "hangs"),
        (FAILING, "outputs", DONE, "passes"),  # queued again, and got
        (EITHER, "outputs", DONE, "passes"),
        (EITHER, "failure", DONE, "passes"),
        (EITHER, "crash", DONE, "passes"),
        (EITHER, "nothing", DONE, "wrong result"),
        (PLAIN, "outputs", Truth([RUN, RUN], 2, 2, png), "wrong result"),  # ran twice
    ],
)
def test_verdicts(situation: Situation, kind: str, truth: Truth, verdict: str) -> None:
    ending = Ending(kind, "", {"9": ["a_00001_.png", "a_00002_.png"]} if kind == "outputs" else {})  # type: ignore[arg-type]
    assert judge(situation, ending, truth)[0] == verdict


def test_who_returns_before_the_end_is_told_so() -> None:
    assert "was not over" in judge(PLAIN, Ending("outputs"), Truth([], 1, 0))[1]


@pytest.mark.parametrize(
    "items",
    [
        [ONE, TWO],
        [TWO, ONE],
        {"images": [ONE, TWO], "animated": [False]},
        [{"width": 16, "height": 8}, {"width": 8, "height": 8}],
        [{"sha256": hashlib.sha256(png(ONE)).hexdigest()}, "a_00002_.png"],
    ],
)
def test_files_may_be_told_by_name_by_content_and_by_size(items: object) -> None:
    assert differences({"9": items, "10": []}, RUN, png) == []


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, 1),
        ({"9": ["a_00001_.png"]}, 1),
        ({"9": ["a_00001_.png", "a_00001_.png"]}, 2),
        ({"9": [ONE, TWO, ONE]}, 1),
        ({"9": [ONE, TWO], "8": ["a_00001_.png"]}, 1),
        ({"9": [ONE, {**TWO, "type": "temp"}]}, 2),
        ({"9": [ONE, {}]}, 2),
        ({"9": [ONE, 2]}, 2),
        ({"9": [ONE, {"width": 16, "height": 8}]}, 2),
        ({"9": [ONE, {"sha256": "00"}]}, 2),
        ({"9": "a_00001_.png"}, 1),
    ],
)
def test_what_is_missing_and_what_is_too_much_is_wrong(given: dict[str, object], wrong: int) -> None:
    assert len(differences(given, RUN, png)) == wrong


def test_nodes_without_files_do_not_count() -> None:
    outputs = {"9": {"images": [ONE], "animated": [False]}, "13": {"text": ["7"]}, "14": {"images": []}}
    assert files_of(outputs) == {"9": [ONE]}


def test_a_report_raises_with_what_was_wrong() -> None:
    good, bad = Outcome(PLAIN, "passes", "fine"), Outcome(FAILING, "hangs", "had not ended", "0.000 s  GET /queue")
    Report([good]).check()
    with pytest.raises(
        NotConforming, match=r"1 of 2 situations failed\nfailing: hangs: had not ended(.|\n)*GET /queue"
    ):
        Report([good, bad]).check()
    assert Report([good, bad]).plain()["situations"][1]["verdict"] == "hangs"
