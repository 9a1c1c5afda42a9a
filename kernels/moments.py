"""Mean and variance of every column in one read of X, without cancellation far from the origin.

Chan, T. F., Golub, G. H., LeVeque, R. J.: Algorithms for computing the sample variance. The
American Statistician 37 (1983).  Each slice of rows is shifted by its own first row; slices are
merged in their order.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .compiling import kernel
from .parallel import Team, next_task
from .simd import TILE_ROWS, round_up
from .tiles import Array

MIN_SLICE_ELEMENTS = 32_768
MAX_SLICES = 64
MAX_SLICE_ELEMENTS = 1 << 21
LANES = 64  # elements that the inner loop runs over at least, so that it vectorises


@kernel
def _slice_moments(counter, gate, n_tasks, slice_size, X, flat, sums, squares):
    """Per slice: sums of ``x - first row of the slice`` and of its squares, (n_tasks, d) each."""
    n_samples, n_features = X.shape
    together = -(-LANES // n_features)  # rows
    width = together * n_features
    first, total, square = np.empty(width), np.empty(width), np.empty(width)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start, stop = task * slice_size, min((task + 1) * slice_size, n_samples)
        for i in range(width):
            first[i] = X[start, i % n_features]
            total[i] = 0.0
            square[i] = 0.0
        whole = start + (stop - start) // together * together
        for row in range(start, whole, together):
            chunk = flat[row * n_features : row * n_features + width]
            for i in range(width):
                value = chunk[i] - first[i]
                total[i] += value
                square[i] += value * value
        for i in range(n_features, width):
            total[i % n_features] += total[i]
            square[i % n_features] += square[i]
        for row in range(whole, stop):
            for i in range(n_features):
                value = X[row, i] - first[i]
                total[i] += value
                square[i] += value * value
        for i in range(n_features):
            sums[task, i] = total[i]
            squares[task, i] = square[i]


# Whoever asked sees from infinite results that the data are too large.
@np.errstate(over="ignore", invalid="ignore")
def _merge(
    n_samples: int, slice_size: int, firsts: Array, sums: Array, squares: Array
) -> tuple[Array, Array]:
    """Mean and variance out of the slices', each relative to its own first row."""
    sizes = np.full((len(sums), 1), float(slice_size))
    sizes[-1] = n_samples - slice_size * (len(sums) - 1)
    shifts = sums / sizes
    means = firsts.astype(np.float64) + shifts
    mean = means[0] + (sizes * (means - means[0])).sum(axis=0) / n_samples
    inside = np.maximum(squares - shifts * sums, 0.0).sum(axis=0)
    between = (sizes * (means - mean) ** 2).sum(axis=0)
    return mean, (inside + between) / n_samples


def moment_slice_rows(n_samples: int, n_features: int) -> int:
    """Rows per slice, decided by the shape alone."""
    share = min(-(-n_samples // MAX_SLICES), MAX_SLICE_ELEMENTS // n_features)
    return round_up(max(-(-MIN_SLICE_ELEMENTS // n_features), share), TILE_ROWS)


def column_moments(X: Array, team: Team) -> tuple[Array, Array]:
    """Mean and population variance of the columns of `X`.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64, C-contiguous
        At least one row.
    team : Team
        Threads to run on.

    Returns
    -------
    mean, variance : ndarray of shape (n_features,), float64
        The same bits for any number of threads.
    """
    return moments_of_blocks([X], X.shape, team)


def moments_of_blocks(
    blocks: Iterable[Array], shape: tuple[int, ...], team: Team
) -> tuple[Array, Array]:
    """As :func:`column_moments`, for rows that come in blocks.

    Parameters
    ----------
    blocks : iterable of ndarray
        All rows in order; the number of rows of each block but the last is a multiple of
        :func:`moment_slice_rows`.
    shape : tuple of int
        Rows and columns of all blocks together.
    team : Team
        Threads to run on.

    Returns
    -------
    mean, variance : ndarray of shape (n_features,), float64
        The same bits however the rows are cut into blocks.
    """
    n_samples, n_features = shape
    slice_size = moment_slice_rows(n_samples, n_features)
    n_slices = -(-n_samples // slice_size)
    firsts, sums, squares = np.empty((3, n_slices, n_features))
    first = 0
    for X in blocks:
        here = slice(first, first + -(-len(X) // slice_size))
        firsts[here] = X[::slice_size]
        team.run(
            _slice_moments, 2.0 * X.size, here.stop - first, slice_size, X, X.reshape(-1),
            sums[here], squares[here],
        )  # fmt: skip
        first = here.stop
    return _merge(n_samples, slice_size, firsts, sums, squares)
