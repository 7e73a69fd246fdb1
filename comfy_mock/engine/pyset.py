"""The iteration order of a `set` of strings in CPython 3.11, whatever interpreter and hash seed this process has.

A ComfyUI server walks sets of node ids and of input names, so the order of its outputs and errors follows from Python's
string hashes (protocol 3.13). Here those hashes and the table of a set are computed from PYTHONHASHSEED alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

_WORD = (1 << 64) - 1
_SMALLEST_TABLE = 8
_LINEAR_PROBES = 9
_PERTURB_SHIFT = 5
_BIG_SET = 50000


def hash_string(text: str, seed: int) -> int:
    """`hash(text)` of a 64-bit little-endian CPython 3.11 or later that was started with PYTHONHASHSEED=`seed`.

    `seed` is 0 to 4294967295. Python 3.10 has another hash function (SipHash-2-4 instead of 1-3) and thus other orders.
    """
    unsigned = _unsigned_hash(text, seed)
    return unsigned - (1 << 64) if unsigned >> 63 else unsigned


def set_order(items: Iterable[str], seed: int) -> list[str]:
    """The order in which a set iterates to which `items` were added one by one."""
    table = _Table(seed)
    for item in items:
        table.add(item)
    return table.in_order()


def union_order(first: Collection[str], second: Collection[str], seed: int) -> list[str]:
    """The order of `set(a).union(set(b))`, a and b being dicts with the keys `first` and `second`, in their order."""
    return list(_union_order(tuple(first), tuple(second), seed))


@lru_cache(maxsize=4096)
def _union_order(first: tuple[str, ...], second: tuple[str, ...], seed: int) -> tuple[str, ...]:
    # Three tables, as in the original: each resize and each copy may change the order of colliding strings.
    union = _Table(seed)
    union.merge(_Table.of_dict(first, seed))
    union.merge(_Table.of_dict(second, seed))
    return tuple(union.in_order())


@lru_cache(maxsize=65536)
def _unsigned_hash(text: str, seed: int) -> int:
    if not text:
        return 0
    widest = max(text)
    encoding = "latin-1" if widest < "\u0100" else "utf-16-le" if widest < "\U00010000" else "utf-32-le"
    value = _siphash13(text.encode(encoding, "surrogatepass"), *_key(seed))
    return value if value != _WORD else _WORD - 1  # -1 means an error in C, so no hash is -1


@lru_cache(maxsize=64)
def _key(seed: int) -> tuple[int, int]:
    """The two halves of the hash key that CPython derives from PYTHONHASHSEED."""
    if not 0 <= seed < 1 << 32:
        raise ValueError(f"a hash seed must be between 0 and 4294967295, not {seed}")
    if seed == 0:
        return 0, 0
    key = bytearray()
    for _ in range(16):
        seed = (seed * 214013 + 2531011) & 0xFFFFFFFF
        key.append(seed >> 16 & 0xFF)
    return int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")


def _siphash13(data: bytes, k0: int, k1: int) -> int:
    """SipHash with one round per block and three at the end (Aumasson and Bernstein)."""
    state = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573)
    whole = len(data) & ~7
    blocks = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    blocks.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    for block in blocks:
        v0, v1, v2, v3 = _round(state[0], state[1], state[2], state[3] ^ block)
        state = (v0 ^ block, v1, v2, v3)
    state = (state[0], state[1], state[2] ^ 0xFF, state[3])
    for _ in range(3):
        state = _round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _WORD
    v2 = (v2 + v3) & _WORD
    v1 = _rotate(v1, 13) ^ v0
    v3 = _rotate(v3, 16) ^ v2
    v0 = (_rotate(v0, 32) + v3) & _WORD
    v2 = (v2 + v1) & _WORD
    v1 = _rotate(v1, 17) ^ v2
    v3 = _rotate(v3, 21) ^ v0
    return v0, v1, _rotate(v2, 32), v3


def _rotate(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _WORD


class _Table:
    """The open-addressed table of a set from which nothing is ever removed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._slots: list[str | None] = [None] * _SMALLEST_TABLE
        self._used = 0

    @classmethod
    def of_dict(cls, keys: Collection[str], seed: int) -> _Table:
        """`set(d)`: the length of a dict is known, so room for it is made first."""
        table = cls(seed)
        table._make_room(len(keys))
        for key in keys:
            table.add(key)
        return table

    def in_order(self) -> list[str]:
        return [key for key in self._slots if key is not None]

    def add(self, key: str) -> None:
        """`set.add`: a table that becomes three fifths full grows fourfold."""
        at = self._find(key)
        if self._slots[at] is not None:
            return
        self._slots[at] = key
        self._used += 1
        if self._used * 5 >= (len(self._slots) - 1) * 3:
            self._resize(self._used * (2 if self._used > _BIG_SET else 4))

    def merge(self, other: _Table) -> None:
        """`set.update(other set)`, which is also how a set is copied."""
        if not other._used:
            return
        self._make_room(other._used)
        if not self._used and len(self._slots) == len(other._slots):
            self._slots = list(other._slots)
            self._used = other._used
            return
        for key in other.in_order():
            self.add(key)

    def _make_room(self, coming: int) -> None:
        if (self._used + coming) * 5 >= (len(self._slots) - 1) * 3:
            self._resize((self._used + coming) * 2)

    def _resize(self, least: int) -> None:
        size = _SMALLEST_TABLE
        while size <= least:
            size *= 2
        if size == len(self._slots) == _SMALLEST_TABLE:
            return
        keys = self.in_order()
        self._slots = [None] * size
        for key in keys:
            self._slots[self._find(key)] = key

    def _find(self, key: str) -> int:
        """The slot that holds `key`, or the free one where it belongs."""
        slots = self._slots
        mask = len(slots) - 1
        perturb = _unsigned_hash(key, self._seed)
        start = perturb & mask
        while True:
            # A probe looks at the neighbours too, unless that would lead over the end of the table.
            last = start + _LINEAR_PROBES if start + _LINEAR_PROBES <= mask else start
            for at in range(start, last + 1):
                if slots[at] is None or slots[at] == key:
                    return at
            perturb >>= _PERTURB_SHIFT
            start = (start * 5 + 1 + perturb) & mask
