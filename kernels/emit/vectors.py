"""Vectors taken apart and put together: transpositions, and sums over lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .language import Value, shuffle


def crossed(
    step: Callable[..., Value],
    vectors: Sequence[Value],
    values: Iterable[Value],
    sums: Sequence[Sequence[Value]],
) -> list[list[Value]]:
    """``step(vector, value, sum)`` of all vectors with all values: ``[value][vector]``."""
    return [
        [step(vector, value, total) for vector, total in zip(vectors, totals, strict=True)]
        for value, totals in zip(values, sums, strict=True)
    ]


def exchanged(vectors: list[Value], block: int) -> list[Value]:
    """A step of a transposition: lanes and vectors whose numbers differ in a bit change places."""
    result, size = list(vectors), vectors[0].kind.lanes
    for i in range(len(vectors)):
        if i & block:
            continue
        a, b = vectors[i], vectors[i | block]
        low = [size + (lane ^ block) if lane & block else lane for lane in range(size)]
        high = [size + lane if lane & block else lane | block for lane in range(size)]
        result[i], result[i | block] = shuffle(a, b, low), shuffle(a, b, high)
    return result


def transposed(vectors: list[Value]) -> list[Value]:
    """A square of vectors, with rows and columns exchanged; of blocks, where they are longer."""
    block = len(vectors) // 2
    while block:
        vectors = exchanged(vectors, block)
        block //= 2
    return vectors


def fold(vector: Value, join: Callable[[Value, Value], Value]) -> Value:
    """All lanes joined to one number, halves first."""
    size = vector.kind.lanes
    while size > 1:
        size //= 2
        low = shuffle(vector, vector, range(size))
        high = shuffle(vector, vector, range(size, 2 * size))
        vector = join(low, high)
    return vector.lane(0)


def lane_sums(vectors: list[Value]) -> Value:
    """One vector with the sum of the lanes of each vector; as many as a power of two."""
    wanted, held, lanes = len(vectors), 1, vectors[0].kind.lanes
    parts = lanes
    while len(vectors) > 1 and parts > 1:
        # Lane `part · held + i` holds a part of sum i: of two vectors, halves are added.
        halves = [
            [
                lanes * of + held * part + i
                for part in range(first, first + parts // 2)
                for of in range(2)
                for i in range(held)
            ]
            for first in (0, parts // 2)
        ]
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [shuffle(a, b, halves[0]) + shuffle(a, b, halves[1]) for a, b in pairs]
        held, parts = 2 * held, parts // 2
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [shuffle(a, b, range(2 * a.kind.lanes)) for a, b in pairs]
    (total,) = vectors
    while total.kind.lanes > wanted:
        size = total.kind.lanes // 2
        total = shuffle(total, total, range(size)) + shuffle(total, total, range(size, 2 * size))
    return total


def tree_sum(values: list[Value]) -> Value:
    """The sum of values, pair by pair."""
    while len(values) > 1:
        odd = values[len(values) - len(values) % 2 :]
        values = [a + b for a, b in zip(values[::2], values[1::2], strict=False)] + odd
    return values[0]
