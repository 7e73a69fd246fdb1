"""docs/strategies.md: its programs run, with all their tests, and its tables have what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from comfy_contracts import strategies
from comfy_mock.strategies import FAULT_KINDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "strategies.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("program", [pytest.param(text, id=f"{place}") for place, text in enumerate(PROGRAMS, 1)])
def test_the_programs_run(program: str) -> None:
    names: dict[str, Any] = {"__name__": "strategies_page"}
    exec(compile(program, "strategies.md", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


def first_cells(heading: str) -> set[str]:
    """What the first cells of the table below a heading name."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([a-z_]+)", row)}


def test_the_tables_have_what_there_is() -> None:
    assert first_cells("Broken prompts") - {"fault"} == set(strategies.FAULTS)
    assert first_cells("Schedules of faults") == set(FAULT_KINDS)


def test_all_that_is_public_is_named() -> None:
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))
    types = {"Ending", "Fault", "Payload", "FAULTS"}
    assert set(strategies.__all__) - types <= named
