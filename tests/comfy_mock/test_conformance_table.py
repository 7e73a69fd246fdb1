"""The table of docs/conformance.md, and the page itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from comfy_mock.conformance.catalogue import SITUATIONS
from comfy_mock.conformance.report import Outcome
from comfy_mock.conformance.table import column, columns_of, place, situations, table, written
from comfy_mock.conformance.third_party import THIRD_PARTIES
from comfy_mock.conformance.verdicts import Verdict

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
BEGIN, END = place("the table")
SIGNS = {"·", "–", "**wrong**", "**hangs**", "**crash**"}


def outcomes(verdicts: dict[str, Verdict], *absent: str) -> dict[str, Outcome]:
    return {
        name: Outcome(situation, verdicts.get(name, "passes"), "", came_up=name not in absent)
        for name, situation in SITUATIONS.items()
    }


def test_a_row_shows_the_worst_of_the_ways_of_a_client() -> None:
    mine = column(outcomes({}, "quick", "cached"), outcomes({"plain": "hangs"}, "quick"))
    theirs = column(outcomes({"quick": "wrong result", "fails": "crashes"}))
    text = table({"mine": mine, "comfy-ui-client 0.1.2": theirs})
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text, flags=re.MULTILINE))
    assert list(rows) == list(SITUATIONS)
    assert rows["plain"] == "**hangs** | ·"
    assert rows["quick"] == "– | **wrong**"
    assert rows["cached"] == "· | ·"
    assert rows["fails"] == "· | **crash**"
    assert f"fails 1 of {len(SITUATIONS)}" in text
    assert f"**B** comfy-ui-client 0.1.2 (`getImages`): fails 2 of {len(SITUATIONS)}" in text
    page = f"{BEGIN}\n{text}\n{END}\n{situations()}"
    assert columns_of(page) == {"mine": mine, "comfy-ui-client 0.1.2": theirs}


def test_the_table_is_written_into_its_place() -> None:
    begin, end = place("it")
    assert written(f"a\n{begin}\nold\n{end}\nb\n", "it", "new") == f"a\n{begin}\n\nnew\n\n{end}\nb\n"
    with pytest.raises(ValueError, match="the page needs the lines"):
        written("a", "it", "new")


def test_the_page_has_the_table_of_today() -> None:
    page = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, flags=re.MULTILINE))
    assert list(rows) == list(SITUATIONS)
    assert all(set(row.split(" | ")) <= SIGNS for row in rows.values())
    assert all(row.split(" | ")[0] in ("·", "–") for row in rows.values())  # the reference client
    assert all(f" {name} (" in page for name in THIRD_PARTIES)


def test_the_page_says_what_every_situation_is() -> None:
    assert situations() in PAGE.read_text(encoding="utf-8")
    assert all(f"| `{situation.name}` | {situation.does} |" in situations() for situation in SITUATIONS.values())
