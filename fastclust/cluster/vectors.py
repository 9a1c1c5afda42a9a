"""NumPy's own sum of a vector of which everybody holds a part: the same bits.

NumPy halves a vector until 128 numbers are left (at multiples of eight), and adds these in an order
of their own.  Numbers that it converts on the way come in chunks of 8,192, whose sums are added one
after the other.  Who holds a part gives the sums of all halves that lie in it, and the numbers
themselves of the few shortest ones that do not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..kernels.tiles import Array

SHORTEST, CHUNK = 128, 8192
# By range of the vector: its sum, or those of its numbers that somebody holds.
Pieces = dict[tuple[int, int], Array]


def _chunks(n: int, chunked: bool) -> Iterator[tuple[int, int]]:
    size = CHUNK if chunked else max(1, n)
    return ((start, min(start + size, n)) for start in range(0, n, size))


def _halves(low: int, high: int) -> int:
    half = (high - low) // 2
    return low + half - half % 8


def pieces(part: Array, first: int, n: int, *, chunked: bool = False) -> Pieces:
    """What a holder knows of the sum of `n` numbers, of which those from `first` on are `part`."""
    found: Pieces = {}

    def look(low: int, high: int) -> None:
        start, stop = max(low, first), min(high, first + len(part))
        if start >= stop:
            return
        own = part[start - first : stop - first]
        if (start, stop) == (low, high):
            found[low, high] = own.sum(keepdims=True)
        elif high - low <= SHORTEST:
            found[low, high] = own
        else:
            middle = _halves(low, high)
            look(low, middle)
            look(middle, high)

    for low, high in _chunks(n, chunked):
        look(low, high)
    return found


def total(parts: list[Pieces], n: int, *, chunked: bool = False) -> Array:
    """The sum of all, a scalar of their dtype."""
    known: dict[tuple[int, int], list[Array]] = {}
    for part in parts:
        for place, own in part.items():
            known.setdefault(place, []).append(own)

    def look(low: int, high: int) -> Array:
        if (low, high) in known:
            return np.concatenate(known[low, high]).sum()
        middle = _halves(low, high)
        result: Array = look(low, middle) + look(middle, high)
        return result

    sums = [look(low, high) for low, high in _chunks(n, chunked)]
    result = sums[0]
    for more in sums[1:]:
        result = result + more
    return result
