"""The order of directories, against what recorded servers listed (recording userdata)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.directory_order import directory_order

RECORDED = [
    "top.txt",
    "i.png",
    "x.js",
    "ü x.json",
    "other.css",
    "bin.bin",
    "index.json",
    "page.html",
    "user.css",
    "noext",
]


def test_names_come_as_recorded_whatever_order_they_were_made_in() -> None:
    assert directory_order(sorted(RECORDED)) == RECORDED
    assert directory_order(reversed(RECORDED)) == RECORDED


@given(st.sets(st.text(min_size=1, max_size=80).filter(lambda name: name.isprintable())))
def test_the_order_is_total_and_loses_nothing(names: set[str]) -> None:
    ordered = directory_order(names)
    assert set(ordered) == names
    assert len(ordered) == len(names)
    assert directory_order(reversed(ordered)) == ordered
