"""Form bodies (protocol 2.5)."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.uploads import UploadedFile
from comfy_mock.server.forms import header_value, parse_form

TYPE = "multipart/form-data; boundary=zzz"


def part(headers: str, content: bytes = b"x") -> bytes:
    return b"--zzz\r\n" + headers.encode() + b"\r\n\r\n" + content + b"\r\n"


def parsed(*parts: bytes) -> Any:
    return parse_form(TYPE, b"".join(parts) + b"--zzz--\r\n")


def disposition(parameters: str) -> str:
    return f"Content-Disposition: form-data; {parameters}"


@pytest.mark.parametrize(
    ("parameters", "filename"),
    [
        ('name="image"; filename="a.png"', "a.png"),
        ("name=image; filename=a.png", "a.png"),
        ('name="image"; filename="ü 图.png"', "ü 图.png"),
        ('name="image"; filename="q%22uote.png"', "q%22uote.png"),
        (r'name="image"; filename="q\"u\\o.png"', 'q"u\\o.png'),
        ('name="image"; filename="a;b.png"', "a;b.png"),
        ('name="image"; filename="/abs/t.png"', "abs/t.png"),
        ("name=\"image\"; filename*=utf-8''%C3%BC%20x.png", "ü x.png"),
        ('name="image"; filename="u.png"; filename*=UTF-8\'\'%C3%BC.png', "ü.png"),
        ('NAME="image"; FileName="a.png"', "a.png"),
    ],
)
def test_a_part_with_a_file_name_is_a_file(parameters: str, filename: str) -> None:
    assert parsed(part(disposition(parameters))) == {"image": UploadedFile(filename, b"x")}


@pytest.mark.parametrize(
    ("headers", "content", "value"),
    [
        (disposition('name="image"'), b"\xc3\xbc", "ü"),
        (disposition('name="image"; filename=""'), b"x", "x"),
        (disposition('name="image"') + "\r\nContent-Type: text/plain; charset=latin-1", b"\xfc", "ü"),
        (disposition('name="image"') + "\r\nContent-Type: image/png", b"\xfc", b"\xfc"),
        (disposition('name="image"') + "\r\nContent-Type: ", b"", ""),
        (disposition('name="image"') + "\r\nContent-Transfer-Encoding: base64", b"w7w=", "ü"),
        (disposition('name="image"') + "\r\nContent-Transfer-Encoding: quoted-printable", b"=C3=BC", "ü"),
    ],
)
def test_other_parts_are_values(headers: str, content: bytes, value: Any) -> None:
    assert parsed(part(headers, content)) == {"image": value}


def test_of_a_repeated_field_the_first_counts() -> None:
    first, second = part(disposition('name="a"'), b"1"), part(disposition('name="a"'), b"2")
    assert parsed(first, second) == {"a": "1"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"garbage"),
        (TYPE, b"garbage"),
        (TYPE, b""),
        (TYPE, part(disposition('name="a"'))),
        (TYPE, part("X-Nothing: 1") + b"--zzz--\r\n"),
        (TYPE, part(disposition('name="a"') + "\r\nContent-Type: multipart/mixed; boundary=y") + b"--zzz--\r\n"),
        (TYPE, part(disposition('name="a"'), b"\xff") + b"--zzz--\r\n"),
        (TYPE, part(disposition('name="image"; filename="' + "a" * 1_000_000 + '"')) + b"--zzz--\r\n"),
        ("multipart/form-data; boundary=" + "z" * 5000, b""),
        ("application/x-www-form-urlencoded; charset=nope", b"a=b"),
        ("application/x-www-form-urlencoded", b"a=\xff"),
    ],
)
def test_where_the_real_parser_gives_up_there_is_trouble(content_type: str, body: bytes) -> None:
    with pytest.raises(ServerTrouble):
        parse_form(content_type, body)


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain"])
def test_what_is_no_form_has_no_fields(content_type: str | None) -> None:
    assert parse_form(content_type, b"{}") == {}


def test_an_urlencoded_form_has_texts() -> None:
    assert parse_form("application/x-www-form-urlencoded", b"a=b+c&d=%C3%BC&a=2&e=\r\n") == {
        "a": "b c",
        "d": "ü",
        "e": "",
    }


NAMES = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters='"\\%/'), min_size=1)


@given(st.dictionaries(NAMES, st.one_of(st.text(), st.tuples(NAMES, st.binary())), min_size=1))
def test_what_httpx_sends_is_read_back(fields: dict[str, Any]) -> None:
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    files = {name: value for name, value in fields.items() if isinstance(value, tuple)}
    forced = {**files, "forced": ("f", b"")}
    request = httpx.Request("POST", "http://x/", data=texts, files=forced)
    read = dict(parse_form(request.headers["content-type"], request.read()))
    expected = {**texts, **{name: UploadedFile(*value) for name, value in forced.items()}}
    assert read == expected


@given(st.sampled_from([b"", b"--zzz\r\n", part(disposition('name="a"'))]), st.binary())
def test_garbage_never_does_more_than_trouble(start: bytes, rest: bytes) -> None:
    with contextlib.suppress(ServerTrouble):
        parse_form(TYPE, start + rest)


@given(st.text())
def test_any_header_has_a_value(header: str) -> None:
    value, parameters = header_value(header)
    assert value == value.lower()
    assert all(name == name.lower() for name in parameters)
