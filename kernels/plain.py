"""NumPy twins of the intrinsics in :mod:`fastclust.kernels.simd`, for ``NUMBA_DISABLE_JIT=1``.

Same arguments, same layouts, same ties; they run in the interpreter, so that a kernel can be
stepped through in a debugger and tested without a compiler.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _integers(index: Array) -> Any:
    """Integer type as wide as the elements of `index`, whose bits are integers."""
    return np.dtype(f"i{index.itemsize}")


def _unpacked(centers: Array, n_wide: int, n_narrow: int, n_features: int) -> Array:
    """Negated centers (padded centers, features) out of their packed groups."""
    flat = centers.reshape(-1)
    split = n_wide * 6 * n_features
    end = split + n_narrow * 4 * n_features
    wide = flat[:split].reshape(n_wide, n_features, 6).transpose(0, 2, 1)
    narrow = flat[split:end].reshape(n_narrow, n_features, 4).transpose(0, 2, 1)
    return np.concatenate([wide.reshape(-1, n_features), narrow.reshape(-1, n_features)])


def _scores(
    packed: Array, centers: Array, bias: Array, n_wide: int, n_narrow: int, n_features: int
) -> Array:
    negated = _unpacked(centers, n_wide, n_narrow, n_features)
    rows = packed.reshape(-1, 64)[None, :n_features]
    # Not a matrix product, which may round equal columns differently.
    return bias[: len(negated), None] + (negated[:, :, None] * rows).sum(axis=1)


def nearest_in_tile(
    packed: Array,
    centers: Array,
    bias: Array,
    n_wide: int,
    n_narrow: int,
    n_features: int,
    best: Array,
    index: Array,
) -> None:
    """Write the smallest score and its lowest center for each of 64 packed rows."""
    scores = _scores(packed, centers, bias, n_wide, n_narrow, n_features)
    index.view(_integers(index))[:] = scores.argmin(axis=0)
    best[:] = scores.min(axis=0)


def nearest_two_in_tile(
    packed: Array,
    centers: Array,
    bias: Array,
    n_wide: int,
    n_narrow: int,
    n_features: int,
    best: Array,
    index: Array,
    second: Array,
) -> None:
    """As :func:`nearest_in_tile`, and the second smallest score."""
    scores = np.sort(_scores(packed, centers, bias, n_wide, n_narrow, n_features), axis=0)
    nearest_in_tile(packed, centers, bias, n_wide, n_narrow, n_features, best, index)
    second[:] = scores[1]


def distances_in_tile(
    packed: Array, centers: Array, n_wide: int, n_narrow: int, n_features: int, distances: Array
) -> None:
    """Write squared distances, difference form."""
    negated = _unpacked(centers, n_wide, n_narrow, n_features)
    difference = packed.reshape(-1, 64)[None, :n_features] + negated[:, :, None]
    distances.reshape(-1, 64)[: len(negated)] = (difference * difference).sum(axis=1)


def _tile(X: Array, tail: Array, first: int) -> Array:
    """64 rows from `first` on, of `tail` where `X` ends before."""
    return X[first : first + 64] if first + 64 <= len(X) else tail


def nearest_of_few(
    X: Array,
    tail: Array,
    first_row: int,
    mean: Array,
    centers: Array,
    bias: Array,
    n_wide: int,
    n_narrow: int,
    best: Array,
    index: Array,
    slot: int,
) -> None:
    """Nearest center of a few rows of X; centers packed by chunks of features."""
    from .simd import FEATURE_ROWS, lanes, round_up

    size, n_features = lanes(X.dtype), X.shape[1]
    chunks = round_up(n_features, size) // size
    flat = centers.reshape(-1)
    split = n_wide * 6 * chunks * size
    end = split + n_narrow * 4 * chunks * size
    wide = flat[:split].reshape(n_wide, chunks, 6, size).transpose(0, 2, 1, 3)
    narrow = flat[split:end].reshape(n_narrow, chunks, 4, size).transpose(0, 2, 1, 3)
    negated = np.concatenate([wide.reshape(-1, chunks * size), narrow.reshape(-1, chunks * size)])[
        :, :n_features
    ]
    rows = _tile(X, tail, first_row)[slot : slot + FEATURE_ROWS] - mean[:n_features]
    scores = (rows[:, None] * negated[None]).sum(axis=2) + bias[: len(negated)]
    best[slot : slot + FEATURE_ROWS] = scores.min(axis=1)
    index.view(_integers(index))[slot : slot + FEATURE_ROWS] = scores.argmin(axis=1)


def pack_rows(X: Array, tail: Array, first_row: int, mean: Array, packed: Array) -> None:
    """Centre and transpose 64 adjacent rows."""
    n_features = X.shape[1]
    packed.reshape(-1, 64)[:n_features] = (_tile(X, tail, first_row) - mean[:n_features]).T


def pack_listed_rows(
    X: Array, rows: Array, first: int, n_features: int, mean: Array, packed: Array
) -> None:
    """Centre and transpose 64 listed rows."""
    packed = packed.reshape(-1, 64)
    packed[:n_features] = (X[rows[first : first + 64]] - mean[:n_features]).T


def add_row(
    X: Array, row: int, n_features: int, mean: Array, weight: float, sums: Array, place: int
) -> None:
    """Add one weighted, centred row to a float64 sum."""
    total = sums.reshape(-1)[place : place + n_features]
    total += weight * (X[row] - mean[:n_features]).astype(np.float64)


def changed_labels(index: Array, labels: Array, first: int, winners: Array) -> np.uint64:
    """Write the winners as int32; the mask of those that differ from the labels."""
    winners[:] = index.view(_integers(index))
    mask = 0
    for bit in np.flatnonzero(labels[first : first + 64] != winners):
        mask |= 1 << int(bit)
    return np.uint64(mask)


def lowest_bit(mask: int) -> int:
    """Position of the lowest set bit."""
    return (int(mask) & -int(mask)).bit_length() - 1


def fetch_add(counters: Array, slot: int, amount: int) -> int:
    """Add and return the old value; the interpreter's lock makes one thread of them all."""
    old = int(counters[slot])
    counters[slot] += amount
    return old


def peek(counters: Array, slot: int) -> int:
    """Read one counter."""
    return int(counters[slot])


def nearest_of_sparse(
    values: Array,
    columns: Array,
    first: int,
    last: int,
    table: Array,
    bias: Array,
    n_vectors: int,
    best: Array,
    index: Array,
) -> int:
    """Lowest of the columns with the smallest score."""
    scores = bias.copy()
    lines = table.reshape(-1, len(bias))
    for value, column in zip(values[first:last], columns[first:last], strict=True):
        scores += value * lines[column]
    return int(scores.argmin())


def sparse_products(
    values: Array,
    columns: Array,
    first: int,
    last: int,
    table: Array,
    n_vectors: int,
    out: Array,
) -> None:
    """Sums in the order of the entries, as a lane makes them."""
    out[:] = 0
    lines = table.reshape(-1, len(out))
    for value, column in zip(values[first:last], columns[first:last], strict=True):
        out += np.float64(value) * lines[column]


def multiply_add(a: float, b: float, c: float) -> float:
    """Not fused."""
    return a * b + c


def spin_multiply_adds(values: Array, count: int) -> None:
    """The roof of an interpreter is not worth measuring; the values are what they would be."""
    factor = values[: len(values) // 24].copy()
    for _ in range(count):
        values.reshape(24, -1)[:] = values.reshape(24, -1) * factor + factor
