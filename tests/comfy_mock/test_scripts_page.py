"""docs/scripts.md: its programs run, what stands side by side is the same, and its tables have what there is."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from comfy_mock.engine.options import Options
from comfy_mock.engine.script import model
from comfy_mock.script import Script, read_script
from comfy_mock.server.scripts import script_for

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scripts.md").read_text("utf-8")
BLOCKS = re.findall(r"```(python|yaml|http)\n(.*?)```", PAGE, flags=re.DOTALL)
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in re.sub(r"`[^`\n]*`", lambda code: code[0].replace("|", "/"), PAGE).splitlines()
    if line.startswith("| `")
]


def numbered(language: str) -> list[Any]:
    found = [text for kind, text in BLOCKS if kind == language]
    return [pytest.param(text, id=f"{language} {number}") for number, text in enumerate(found)]


def run(program: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(program, "scripts.md", "exec"), names)
    return names


@pytest.mark.parametrize("program", numbered("python"))
def test_the_programs_run(program: str) -> None:
    run(program)


@pytest.mark.parametrize("text", numbered("yaml"))
def test_the_scenarios_are_right(text: str) -> None:
    assert script_for(read_script(text), Options()) != Script()


def test_what_stands_side_by_side_is_the_same() -> None:
    pairs = 0
    for (kind, program), (other_kind, text) in pairwise(BLOCKS):
        if (kind, other_kind) == ("python", "yaml"):
            assert run(program)["script"] == read_script(text)
            pairs += 1
        if (kind, other_kind) == ("yaml", "http"):
            assert read_script(text.partition("\n\n")[2], name="body.json") == read_script(program)
            pairs += 1
    assert pairs == 4


def code(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def fields(*classes: Any) -> set[str]:
    return {field.name for cls in classes for field in msgspec.structs.fields(cls)}


def test_the_page_has_every_field() -> None:
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    named = {word for text in code(prose) for word in re.findall(r"\w+", text)}
    rules = [getattr(model, name) for name in vars(model) if re.search("Rule$|Match$|At$", name) and name != "AnyRule"]
    parts = [model.Previews, model.OutputFile, model.Failure, model.Hold, model.Expand, model.Memory, model.ModelChange]
    assert fields(*rules, *parts, model.Script) - named == set()
    for choice in ("JPEG", "PNG", "WARNING", "everybody", "client", "out_of_memory", "after_headers", "temp"):
        assert choice in named


def test_the_points_are_those_that_there_are() -> None:
    start = PAGE.index("| `point` |")
    rows = [row for row in ROWS if row[0].strip("`") in get_args(model.Point)]
    assert [row[0].strip("`") for row in rows] == list(get_args(model.Point))
    assert start > 0
    broken = {row[0].strip("`") for row in rows if row[1] == "broken"}
    assert broken == model.BROKEN_POINTS


def test_what_is_broken_is_called_so() -> None:
    said = {code(row[1]).pop(): row[2] for row in ROWS if row[0] == "`message`" and row[2] in ("legal", "broken")}
    assert len(said) == 5
    for name, legality in said.items():
        value: Any = True if name == "lose" else 1
        rule = model.MessageRule(match=model.MessageMatch(event="status"), **{name: value})
        assert rule.legality == legality


def test_every_scenario_is_right_and_described() -> None:
    readme = (ROOT / "fixtures" / "README.md").read_text("utf-8")
    scenarios = sorted((ROOT / "fixtures" / "scenarios").glob("*.yaml"))
    assert len(scenarios) == 5
    for path in scenarios:
        assert script_for(path, Options()).rules
        assert f"`{path.name}`" in readme
