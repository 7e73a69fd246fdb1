"""`Range` requests for one part of a file (protocol 2.4)."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=([0-9]{0,4000})-([0-9]{0,4000})", re.IGNORECASE)


class UnsatisfiableRangeError(Exception):
    """The answer is 416: the range is malformed, reversed, one of several, or outside the file."""


def byte_range(header: str, size: int) -> slice:
    """The part of a file of `size` bytes that a `Range` header asks for, as a slice with start and stop.

    An end beyond the file is cut. Raises `UnsatisfiableRangeError`.
    """
    match = _RANGE.fullmatch(header)
    if match is None or match.groups() == ("", ""):
        raise UnsatisfiableRangeError(header)
    first, last = match.groups()
    if not first:
        # The length of a suffix is read as a negative start, so that a suffix of none is the whole file.
        start = max(size - int(last), 0) if int(last) else 0
        stop = size
    else:
        start = int(first)
        stop = int(last) + 1 if last else size
        if last and start >= stop:
            raise UnsatisfiableRangeError(header)
    if start >= size:
        raise UnsatisfiableRangeError(header)
    return slice(start, min(stop, size))
