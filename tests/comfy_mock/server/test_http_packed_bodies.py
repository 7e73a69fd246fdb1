"""Bodies with a `Content-Encoding`: what is in them, and what they cost."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.server.asgi import MEMBERS_MAX, BodyTooLarge, unpacked

EMPTY = gzip.compress(b"", mtime=0)
LIMIT = 100 * 1024 * 1024


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=8))
def test_several_gzip_files_in_a_row_are_one_body(contents: list[bytes]) -> None:
    packed = b"".join(gzip.compress(content, mtime=0) for content in contents)
    assert unpacked(packed, "gzip", LIMIT) == b"".join(contents)


@given(st.binary(max_size=5000), st.data())
def test_a_body_may_end_too_soon(content: bytes, data: st.DataObject) -> None:
    packed = gzip.compress(content, mtime=0)
    got = unpacked(packed[: data.draw(st.integers(0, len(packed)))], "gzip", LIMIT)
    assert content.startswith(got)
    # Only the check sum behind the data is missing here.
    assert unpacked(packed[:-8], "gzip", LIMIT) == content


@pytest.mark.parametrize("pack", [zlib.compress, bare_deflate])
def test_deflate_comes_with_its_header_or_without(pack: object) -> None:
    content = random.Random(1).randbytes(300_000)
    assert callable(pack)
    assert unpacked(pack(content), "deflate", LIMIT) == content


def test_other_encodings_are_left_as_they_are() -> None:
    assert unpacked(EMPTY, "br", LIMIT) == EMPTY


@pytest.mark.parametrize(
    "packed", [b"no gzip", gzip.compress(b"a", mtime=0) + b"no gzip", gzip.compress(b"a", mtime=0)[:-8] + b"12345678"]
)
def test_what_is_not_gzip_is_trouble(packed: bytes) -> None:
    with pytest.raises(ServerTrouble, match="the body is not gzip"):
        unpacked(packed, "gzip", LIMIT)


@pytest.mark.parametrize("parts", [[b"a" * 1000], [b"a" * 500] * 2, [b"a"] * 1000])
def test_the_limit_counts_for_all_of_them_together(parts: list[bytes]) -> None:
    packed = b"".join(gzip.compress(part, mtime=0) for part in parts)
    assert unpacked(packed, "gzip", 1000) == b"a" * 1000
    with pytest.raises(BodyTooLarge):
        unpacked(packed, "gzip", 999)


def test_as_many_as_there_may_be_cost_little_whatever_follows_them() -> None:
    """Copying what follows at each of them would be copying 320 GB."""
    content = random.Random(2).randbytes(32 * 1024 * 1024)
    packed = EMPTY * (MEMBERS_MAX - 1) + gzip.compress(content, 0, mtime=0)
    assert unpacked(packed, "gzip", LIMIT) == content


def test_an_absurd_number_of_them_is_refused() -> None:
    with pytest.raises(ServerTrouble, match="in a row"):
        unpacked(EMPTY * 200_000, "gzip", LIMIT)
