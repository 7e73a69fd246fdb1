"""Range headers (protocol 2.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.byte_ranges import UnsatisfiableRangeError, byte_range

CONTENT = b"0123456789"


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=2-4", b"234"),
        ("bytes=-3", b"789"),
        ("bytes=0-", CONTENT),
        ("bytes=9-", b"9"),
        ("bytes=8-100", b"89"),
        ("bytes=-100", CONTENT),
        ("bytes=0-0", b"0"),
    ],
)
def test_a_part_of_the_file(header: str, part: bytes) -> None:
    assert CONTENT[byte_range(header, len(CONTENT))] == part


@pytest.mark.parametrize(
    "header",
    [
        "bytes=10-",
        "bytes=5-2",
        "bytes=0-1,4-5",
        "lines=1-2",
        "bytes=-",
        "bytes=a-b",
        "bytes = 1-2",
        "1-2",
        "",
        "bytes=1",
        "bytes=" + "9" * 5000 + "-",
        "bytes=٣-٤",
    ],
)
def test_what_cannot_be_given(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        byte_range(header, len(CONTENT))


@given(st.binary(min_size=1, max_size=30), st.data())
def test_any_part_of_any_file_can_be_asked_for(content: bytes, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(content) - 1))
    last = data.draw(st.integers(first, len(content) + 5))
    length = data.draw(st.integers(1, len(content) + 5))
    assert content[byte_range(f"bytes={first}-{last}", len(content))] == content[first : last + 1]
    assert content[byte_range(f"bytes={first}-", len(content))] == content[first:]
    assert content[byte_range(f"bytes=-{length}", len(content))] == content[-length:]


@given(st.text(alphabet="bytes=-0123456789, "), st.integers(0, 20))
def test_a_range_lies_in_the_file_or_is_refused(header: str, size: int) -> None:
    try:
        part = byte_range(header, size)
    except UnsatisfiableRangeError:
        return
    assert 0 <= part.start < part.stop <= size
