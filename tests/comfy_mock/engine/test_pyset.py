"""Set order, compared with sets of CPython itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.pyset import hash_string, set_order, union_order

SEEDS = (0, 1, 42, 4294967295)

OBSERVED_HASHES = {
    0: [
        0,
        4644417185603328019,
        -4594863902769663758,
        7814988168590570332,
        6047309291227476195,
        5505924979564498116,
        -6970120874385731343,
        -3619735891002176770,
    ],
    1: [
        0,
        -3012895188637184397,
        -4667308735975688587,
        -1925721023216579639,
        8133168473585362875,
        -5861521633624029763,
        7860550542609649698,
        3175202310219116319,
    ],
    42: [
        0,
        -123207753977932514,
        3869580338025362921,
        5575372629573416903,
        5653850369683463245,
        -5815714853612135442,
        3739657454509745579,
        -883958860841339979,
    ],
}
"""`hash()` of WORDS in CPython 3.11.7 under PYTHONHASHSEED: Latin-1, UCS-2 and UCS-4 strings."""
WORDS = ["", "a", "abc", "images", "é", "图33", "a😀", "filename_prefix"]

same_hash_function = pytest.mark.skipif(
    (sys.hash_info.algorithm, sys.hash_info.width, sys.byteorder) != ("siphash13", 64, "little"),
    reason="this interpreter hashes strings in another way than the 64-bit CPython 3.11 that is imitated",
)

CHILD = """
import json, sys
for line in sys.stdin:
    first, second = json.loads(line)
    grown = set()
    for item in first:
        grown.add(item)
    union = set(dict.fromkeys(first)).union(set(dict.fromkeys(second)))
    print(json.dumps([[hash(item) for item in first], list(grown), list(union)]), flush=True)
"""


class Interpreter:
    """A Python process with a given hash seed, asked line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, first: list[str], second: list[str]) -> list[Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([first, second]) + "\n")
        self.process.stdin.flush()
        answer: list[Any] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture(scope="module", params=SEEDS)
def seeded(request: pytest.FixtureRequest) -> Iterator[tuple[int, Interpreter]]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env={**os.environ, "PYTHONHASHSEED": str(request.param)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield request.param, Interpreter(process)


node_ids = st.integers(0, 999).map(str)
names = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz_.0123456789"), max_size=20)
strange = st.text(st.one_of(st.characters(), st.sampled_from("éÿĀ图😀\ud800")), max_size=12)
strings = st.one_of(node_ids, names, strange)


def lists(smallest: int) -> st.SearchStrategy[list[str]]:
    return st.lists(strings, min_size=smallest, max_size=smallest + 30)


sizes = st.sampled_from([0, 0, 3, 5, 20, 100, 160]).flatmap(lists)


@same_hash_function
@given(first=sizes, second=sizes)
def test_hashes_and_orders_are_those_of_the_interpreter(
    seeded: tuple[int, Interpreter], first: list[str], second: list[str]
) -> None:
    seed, interpreter = seeded
    hashes, grown, union = interpreter.ask(first, second)
    assert [hash_string(item, seed) for item in first] == hashes
    assert set_order(first, seed) == grown
    assert union_order(list(dict.fromkeys(first)), list(dict.fromkeys(second)), seed) == union


@same_hash_function
def test_a_set_grows_like_a_big_one_of_the_interpreter(seeded: tuple[int, Interpreter]) -> None:
    seed, interpreter = seeded
    many = [f"node {number}" for number in range(2500)]
    assert set_order(many, seed) == interpreter.ask(many, [])[1]


@pytest.mark.parametrize("seed", OBSERVED_HASHES)
def test_hashes_do_not_depend_on_the_interpreter(seed: int) -> None:
    assert [hash_string(word, seed) for word in WORDS] == OBSERVED_HASHES[seed]


@given(items=st.lists(strings), seed=st.integers(0, 4294967295))
def test_order_is_a_permutation_of_the_distinct_items(items: list[str], seed: int) -> None:
    order = set_order(items, seed)
    assert len(order) == len(set(order))
    assert set(order) == set(items)


def test_another_seed_gives_another_order() -> None:
    ids = [str(number) for number in range(2, 10)]
    assert len({tuple(set_order(ids, seed)) for seed in range(20)}) > 10


@pytest.mark.parametrize("seed", [-1, 4294967296])
def test_a_seed_that_python_would_refuse_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="between 0 and 4294967295"):
        set_order(["a"], seed)
