from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import comfy_mock
from comfy_contracts.catalogue import DEFAULT_VERSION
from comfy_contracts.profiles import FACTS, NEWEST, Profile, ProfileError

ASKING = re.compile(r"""\bhas\("(\w+)"\)|\bfact="(\w+)\"""")


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("progress_state", "0.3.44"),
        ("targeted_interrupt", "0.3.56"),
        ("create_time", "0.3.68"),
        ("jobs_api", "0.5.1"),
        ("canonical_uuid_prompt_ids", "0.24.0"),
        ("cancel_routes", "0.25.0"),
    ],
)
def test_a_fact_holds_from_its_first_version_on(name: str, first: str) -> None:
    *front, last = (int(part) for part in first.split("."))
    newer = ".".join(map(str, [*front, last + 1]))
    older = ".".join(map(str, [*front, last - 1] if last else [front[0], front[1] - 1, 99]))

    assert Profile.of(first).has(name)
    assert Profile.of(newer).has(name)
    assert not Profile.of(older).has(name)


def test_the_default_version_has_all_facts() -> None:
    profile = Profile.of("0.33.0")

    assert all(profile.has(fact.name) for fact in FACTS)


@pytest.mark.parametrize("name", ["missing_node_type", "cycle_check", "node_replacements", "ram_pressure_cache"])
def test_what_came_after_0_8_0_is_not_in_it(name: str) -> None:
    assert not Profile.of("0.8.0").has(name)


@pytest.mark.parametrize("name", ["preview_method_in_extra_data", "dynamic_inputs", "jobs_api", "global_subgraphs"])
def test_what_came_between_0_3_64_and_0_8_0_is_in_the_latter(name: str) -> None:
    assert Profile.of("0.8.0").has(name)
    assert not Profile.of("0.3.64").has(name)


@pytest.mark.parametrize("name", ["progress_state", "targeted_interrupt", "partial_execution_targets"])
def test_what_0_3_64_has_already(name: str) -> None:
    assert Profile.of("0.3.64").has(name)


@pytest.mark.parametrize("version", ["0.33", "v0.33.0", " 0.33.0 ", "0.33.0.0"])
def test_spellings_of_one_version_are_one(version: str) -> None:
    assert Profile.of(version).facts == Profile.of("0.33.0").facts


@pytest.mark.parametrize("version", ["", "latest", "0.33.", "0.x", "0.33.0-dev", "1,2"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(ProfileError, match="not a ComfyUI version"):
        Profile.of(version)


def test_a_name_outside_the_table_is_refused_with_a_hint() -> None:
    with pytest.raises(ProfileError, match="did you mean 'jobs_api'"):
        Profile.of("0.33.0").has("job_api")
    with pytest.raises(ProfileError, match="no fact 'qqq'"):
        Profile.of("0.33.0").has("qqq")


def test_names_are_unique_and_every_row_says_something() -> None:
    assert len({fact.name for fact in FACTS}) == len(FACTS)
    assert all(fact.name.isidentifier() and fact.what for fact in FACTS)
    assert all(Profile.of(fact.since).has(fact.name) for fact in FACTS)


def test_what_the_table_says_of_the_fake_is_so() -> None:
    sources = Path(comfy_mock.__file__).parent.rglob("*.py")
    asked = {name for path in sources for pair in ASKING.findall(path.read_text("utf-8")) for name in pair if name}
    assert asked == {fact.name for fact in FACTS if fact.imitated}


@pytest.mark.parametrize("version", ["0.33.1", "0.34.0", "1.0", "9.9"])
def test_a_version_that_nobody_knows_yet_is_refused(version: str) -> None:
    with pytest.raises(ProfileError, match=rf"{re.escape(version)} is newer than 0\.33\.0"):
        Profile.of(version)


def test_the_newest_version_is_the_one_with_a_catalogue() -> None:
    assert NEWEST == DEFAULT_VERSION


versions = st.tuples(st.just(0), st.integers(0, 32), st.integers(0, 99)).map(list) | st.lists(
    st.just(0) | st.integers(0, 33), max_size=2
).map(lambda parts: [0, *parts])


@given(versions, versions)
def test_newer_versions_have_what_older_ones_have(one: list[int], other: list[int]) -> None:
    length = max(len(one), len(other))
    older, newer = sorted((one, other), key=lambda parts: parts + [0] * (length - len(parts)))

    assert Profile.of(".".join(map(str, older))).facts <= Profile.of(".".join(map(str, newer))).facts
