"""The safetensors format: a length, a JSON header, and the tensors' bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comfy_mock.engine.media import Texts

_ALIGNMENT = 8
_BYTES_PER_NUMBER = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "U8": 1, "I8": 1, "BOOL": 1}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: its name, a dtype such as `F32`, its shape, and its little-endian bytes."""

    name: str
    dtype: str
    shape: Sequence[int]
    data: bytes


def write(tensors: Sequence[Tensor], texts: Texts = ()) -> bytes:
    """A safetensors file; the texts become its `__metadata__`, which is left out where there are none."""
    entries: dict[str, Any] = {"__metadata__": dict(texts)} if texts else {}
    end = 0
    for tensor in tensors:
        start, end = end, end + len(tensor.data)
        entries[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    return struct.pack("<Q", len(header)) + header + b"".join(tensor.data for tensor in tensors)


def read(data: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors, by name, of a safetensors file. Raises `ValueError` for anything else."""
    if len(data) < 8:
        raise ValueError("Error while deserializing header: header too small")
    (length,) = struct.unpack_from("<Q", data)
    if length > len(data) - 8:
        raise ValueError("Error while deserializing header: invalid header length")
    content = memoryview(data)[8 + length :]
    try:
        entries = json.loads(data[8 : 8 + length])
        metadata = {str(key): str(text) for key, text in entries.pop("__metadata__", {}).items()}
        tensors = {name: _tensor(name, entry, content) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError("Error while deserializing header: invalid JSON in header") from error
    return metadata, tensors


def zeros(name: str, dtype: str, shape: Sequence[int]) -> Tensor:
    """A tensor of zeros."""
    count = 1
    for length in shape:
        count *= length
    return Tensor(name, dtype, shape, bytes(count * _BYTES_PER_NUMBER[dtype]))


def _tensor(name: str, entry: Mapping[str, Any], content: memoryview) -> Tensor:
    start, end = entry["data_offsets"]
    if not 0 <= start <= end <= len(content):
        raise ValueError(f"the data of {name} is not in the file")
    return Tensor(name, str(entry["dtype"]), tuple(int(length) for length in entry["shape"]), bytes(content[start:end]))
