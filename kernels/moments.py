"""Mean and variance of every column in one read of X, without cancellation far from the origin.

Chan, T. F., Golub, G. H., LeVeque, R. J.: Algorithms for computing the sample variance. The
American Statistician 37 (1983).  Each slice of rows is shifted by its own first row; slices are
merged in their order.
"""

from __future__ import annotations

import numpy as np

from .compiling import kernel
from .parallel import Team, enter, leave, next_task
from .simd import TILE_ROWS, round_up
from .tiles import Array

MIN_SLICE_ELEMENTS = 32_768
MAX_SLICES = 64
LANES = 64  # elements that the inner loop runs over at least, so that it vectorises


@kernel
def _slice_moments(counter, gate, n_tasks, slice_size, X, flat, sums, squares):
    """Per slice: sums of ``x - first row of the slice`` and of its squares, (n_tasks, d) each."""
    enter(counter, gate)
    n_samples, n_features = X.shape
    together = -(-LANES // n_features)  # rows
    width = together * n_features
    first, total, square = np.empty(width), np.empty(width), np.empty(width)
    while True:
        task = next_task(counter)
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
    leave(counter, gate)


def _merge(X: Array, slice_size: int, sums: Array, squares: Array) -> tuple[Array, Array]:
    """Mean and variance out of the slices', each relative to its own first row."""
    # Whoever asked sees from infinite results that the data are too large.
    with np.errstate(over="ignore", invalid="ignore"):
        return _merged(X, slice_size, sums, squares)


def _merged(X: Array, slice_size: int, sums: Array, squares: Array) -> tuple[Array, Array]:
    sizes = np.full((len(sums), 1), float(slice_size))
    sizes[-1] = len(X) - slice_size * (len(sums) - 1)
    shifts = sums / sizes
    means = X[::slice_size].astype(np.float64) + shifts
    mean = means[0] + (sizes * (means - means[0])).sum(axis=0) / len(X)
    inside = np.maximum(squares - shifts * sums, 0.0).sum(axis=0)
    between = (sizes * (means - mean) ** 2).sum(axis=0)
    return mean, (inside + between) / len(X)


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
    n_samples, n_features = X.shape
    least = max(-(-MIN_SLICE_ELEMENTS // n_features), -(-n_samples // MAX_SLICES))
    slice_size = round_up(least, TILE_ROWS)
    n_slices = -(-n_samples // slice_size)
    sums, squares = np.empty((2, n_slices, n_features))
    work, flat = 2.0 * X.size, X.reshape(-1)
    team.run(_slice_moments, work, n_slices, slice_size, X, flat, sums, squares)
    return _merge(X, slice_size, sums, squares)
