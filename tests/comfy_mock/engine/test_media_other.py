"""Safetensors and GLB files."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_mock.engine.media import safetensors
from comfy_mock.engine.media.glb import glb


@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda name: name != "__metadata__"), st.binary(max_size=64), max_size=4
    ),
    st.lists(st.tuples(st.text(max_size=8), st.text(max_size=20)), max_size=3, unique_by=lambda pair: pair[0]),
)
def test_safetensors_come_back(contents: dict[str, bytes], texts: list[tuple[str, str]]) -> None:
    tensors = [safetensors.Tensor(name, "U8", (len(data),), data) for name, data in contents.items()]
    data = safetensors.write(tensors, tuple(texts))
    assert struct.unpack_from("<Q", data)[0] % 8 == 0
    metadata, found = safetensors.read(data)
    assert metadata == dict(texts)
    assert list(found.values()) == tensors


def test_the_header_is_compact_json() -> None:
    tensors = [safetensors.zeros("latent_format_version_0", "F32", [0]), safetensors.zeros("t", "F16", [1, 4, 2, 2])]
    data = safetensors.write(tensors)
    length = struct.unpack_from("<Q", data)[0]
    assert data[8 : 8 + length].rstrip() == (
        b'{"latent_format_version_0":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},'
        b'"t":{"dtype":"F16","shape":[1,4,2,2],"data_offsets":[0,32]}}'
    )
    assert data[8 + length :] == bytes(32)


def _with_header(header: bytes, rest: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + rest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        b"\xff" * 16,
        _with_header(b"not json"),
        _with_header(b"[]"),
        _with_header(b'{"t": 1}'),
        _with_header(b'{"t": {"dtype": "F32", "shape": [1]}}'),
        _with_header(b'{"t": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', b"\0\0"),
        _with_header(b'{"t": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}', bytes(8)),
    ],
)
def test_other_files_are_no_safetensors(data: bytes) -> None:
    with pytest.raises(ValueError, match="Error while deserializing header"):
        safetensors.read(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        safetensors.read(data)
    except ValueError as error:
        assert "header" in str(error)  # noqa: PT017 - the refusal is one of two good ends


def test_a_glb_has_its_parts_where_its_lengths_say() -> None:
    data = glb((("prompt", '{"1": 2}'),))
    magic, version, total = struct.unpack_from("<4sII", data)
    assert (magic, version, total) == (b"glTF", 2, len(data))
    length, kind = struct.unpack_from("<I4s", data, 12)
    tree = json.loads(data[20 : 20 + length])
    rest, rest_kind = struct.unpack_from("<I4s", data, 20 + length)
    assert (kind, rest_kind, 28 + length + rest) == (b"JSON", b"BIN\0", len(data))
    assert tree["asset"]["extras"] == {"prompt": {"1": 2}}
    views = tree["bufferViews"]
    assert views[-1]["byteOffset"] + views[-1]["byteLength"] == tree["buffers"][0]["byteLength"] <= rest
    indices = struct.unpack_from(f"<{tree['accessors'][1]['count']}H", data, 28 + length + views[1]["byteOffset"])
    assert set(indices) == set(range(tree["accessors"][0]["count"]))
