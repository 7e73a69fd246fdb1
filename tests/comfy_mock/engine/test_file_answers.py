"""Files as HTTP answers: validators, conditions, ranges (protocol 2.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.answers import Answer
from comfy_mock.engine.file_answers import file_answer
from comfy_mock.engine.memory_files import MemoryFiles

MODIFIED = 1_795_440_217.827853  # recorded with this time: Last-Modified 13:23:38, the next full second
LAST_MODIFIED = "Mon, 23 Nov 2026 13:23:38 GMT"
BEFORE = "Mon, 23 Nov 2026 13:23:37 GMT"
EXTRA = (("X-Content-Type-Options", "nosniff"),)


def asked(path: str = "/a.txt", **headers: str) -> Answer:
    files = MemoryFiles()
    files.write("/a.txt", b"0123456789", now=MODIFIED)
    files.write("/empty.bin", b"", now=MODIFIED)
    files.make_folder("/folder", now=MODIFIED)
    return file_answer(files, path, {name.replace("_", "-"): value for name, value in headers.items()}, headers=EXTRA)


ETAG = dict(asked().headers)["ETag"]


def test_a_file_comes_with_its_validators() -> None:
    answer = asked()
    nanoseconds, size = ETAG.strip('"').split("-")
    assert (answer.status, answer.body, answer.content_type) == (200, b"0123456789", "text/plain")
    assert int(nanoseconds, 16) == pytest.approx(MODIFIED * 1e9)
    assert size == "a"
    assert dict(answer.headers) == {
        "X-Content-Type-Options": "nosniff",
        "ETag": ETAG,
        "Last-Modified": LAST_MODIFIED,
        "Accept-Ranges": "bytes",
    }


@pytest.mark.parametrize(("path", "status"), [("/nope.txt", 404), ("/folder", 403)])
def test_what_is_no_file_is_an_empty_chunked_answer(path: str, status: int) -> None:
    answer = asked(path)
    assert (answer.status, answer.body, answer.chunked) == (status, b"", True)
    assert (answer.content_type, answer.headers) == ("application/octet-stream", EXTRA)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_none_match": ETAG}, 304),
        ({"if_none_match": f'"x", {ETAG}'}, 304),
        ({"if_none_match": f"W/{ETAG}"}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"zzz"'}, 200),
        ({"if_none_match": "garbage"}, 200),
        ({"if_none_match": '"zzz"', "if_modified_since": LAST_MODIFIED}, 200),
        ({"if_modified_since": LAST_MODIFIED}, 304),
        ({"if_modified_since": BEFORE}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_modified_since": "Mon, 99 Nov 2026 99:23:37 GMT"}, 200),
        ({"if_match": ETAG}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": '"zzz"'}, 412),
        ({"if_match": f"W/{ETAG}"}, 412),
        ({"if_unmodified_since": LAST_MODIFIED}, 200),
        ({"if_unmodified_since": BEFORE}, 412),
        ({"if_match": ETAG, "if_unmodified_since": BEFORE}, 200),
        ({"if_match": '"zzz"', "if_none_match": ETAG}, 412),
    ],
)
def test_conditions(headers: dict[str, str], status: int) -> None:
    answer = asked(**headers)
    assert answer.status == status
    assert answer.body == (b"0123456789" if status == 200 else b"")
    assert ("ETag" in dict(answer.headers)) == (status != 412)


@pytest.mark.parametrize(
    ("headers", "status", "content_range"),
    [
        ({"range": "bytes=2-4"}, 206, "bytes 2-4/10"),
        ({"range": "bytes=-3"}, 206, "bytes 7-9/10"),
        ({"range": "bytes=0-"}, 206, "bytes 0-9/10"),
        ({"range": "bytes=10-"}, 416, "bytes */10"),
        ({"range": "bytes=0-1,4-5"}, 416, "bytes */10"),
        ({"range": "bytes=2-4", "if_range": ETAG}, 206, "bytes 2-4/10"),
        ({"range": "bytes=2-4", "if_range": LAST_MODIFIED}, 206, "bytes 2-4/10"),
        ({"range": "bytes=2-4", "if_range": BEFORE}, 200, None),
    ],
)
def test_ranges(headers: dict[str, str], status: int, content_range: str | None) -> None:
    answer = asked(**headers)
    assert (answer.status, dict(answer.headers).get("Content-Range")) == (status, content_range)
    assert answer.chunked == (status == 416)
    assert ("Accept-Ranges" in dict(answer.headers)) == (status != 416)


def test_nothing_of_an_empty_file_can_be_given() -> None:
    assert asked("/empty.bin").body == b""
    assert asked("/empty.bin", range="bytes=0-").status == 416


@given(
    st.dictionaries(
        st.sampled_from(["if_match", "if_none_match", "if_modified_since", "if_unmodified_since", "if_range", "range"]),
        st.text(alphabet='W/"abc*, \t-=0:GMTonv2') | st.text(),
    )
)
def test_any_header_is_survived(headers: dict[str, str]) -> None:
    assert asked(**headers).status in (200, 206, 304, 412, 416)
