"""The order in which the recorded servers list a directory: that of an ext4 file system.

ext4 lists names by a hash of theirs. `os.listdir` does not sort, nor do the routes that are built on it (protocol 2.6:
"unsorted"), so their answers have this order, the same on every ext4 file system with the default hash: rounds of MD4
(RFC 1320) over eight words per block, started from MD4's own constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

_WORD = 0xFFFFFFFF
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)

_Mix = Callable[[int, int, int], int]
_ROUNDS: tuple[tuple[_Mix, int, tuple[int, ...], tuple[int, ...]], ...] = (
    (lambda x, y, z: z ^ (x & (y ^ z)), 0, (0, 1, 2, 3, 4, 5, 6, 7), (3, 7, 11, 19)),
    (lambda x, y, z: (x & y) | (z & (x | y)), 0x5A827999, (1, 3, 5, 7, 0, 2, 4, 6), (3, 5, 9, 13)),
    (lambda x, y, z: x ^ y ^ z, 0x6ED9EBA1, (3, 7, 2, 6, 1, 5, 0, 4), (3, 9, 11, 15)),
)


def directory_order(names: Iterable[str]) -> list[str]:
    """`names` in the order in which a directory of the recorded servers lists them."""
    return sorted(names, key=lambda name: (_hash(name), name))


@lru_cache(maxsize=4096)
def _hash(name: str) -> int:
    encoded = name.encode("utf-8", "surrogateescape")
    state = list(_START)
    for begin in range(0, len(encoded), 32):
        _stir(state, _words(encoded[begin:]))
    return state[1] >> 1


def _words(rest: bytes) -> list[int]:
    """The eight words of a block that starts with what is left of the name; its length fills the gaps."""
    filler = len(rest) & 0xFF
    filler |= filler << 8 | filler << 16 | filler << 24
    words = [filler] * 8
    for index, begin in enumerate(range(0, min(len(rest), 32), 4)):
        for byte in rest[begin : begin + 4]:
            signed = byte - 256 if byte > 127 else byte
            words[index] = ((words[index] << 8) + signed) & _WORD
    return words


def _stir(state: list[int], words: list[int]) -> None:
    work = list(state)
    for mix, constant, order, shifts in _ROUNDS:
        for step, word in enumerate(order):
            at = -step % 4
            mixed = mix(work[(at + 1) % 4], work[(at + 2) % 4], work[(at + 3) % 4])
            total = (work[at] + mixed + words[word] + constant) & _WORD
            shift = shifts[step % 4]
            work[at] = (total << shift | total >> (32 - shift)) & _WORD
    for index, value in enumerate(work):
        state[index] = (state[index] + value) & _WORD
