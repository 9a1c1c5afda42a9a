"""Mean and variance of every column in one read of X, without cancellation far from the origin.

Chan, T. F., Golub, G. H., LeVeque, R. J.: Algorithms for computing the sample variance. The
American Statistician 37 (1983).  Each slice of rows is shifted by its own first row; means and sums
of squares about them are merged along the tree of :mod:`.slices`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .machine.compiling import helper, kernel
from .machine.parallel import Team, next_task
from .slices import first_of, next_merge, rows_per_slice
from .tiles import Array

LEAST_ELEMENTS, LEAST_ROWS = 32_768, 256  # of a slice
LANES = 64  # elements that the inner loop runs over at least, so that it vectorises


@helper
def _merge(number, slice_size, n_samples, arrivals, means, squares):
    """After slice `number`: merge what can be; see :func:`.slices.next_merge`."""
    n_slices = len(arrivals)
    step = next_merge(number, np.int64(1), n_slices, arrivals)
    while step > 0:
        left = first_of(number, 2 * step)
        right = left + step
        before = step * slice_size
        rows = np.float64(min((right + step) * slice_size, n_samples) - left * slice_size)
        share = (rows - before) / rows
        for i in range(means.shape[1]):
            gap = means[right, i] - means[left, i]
            means[left, i] += gap * share
            squares[left, i] += squares[right, i] + gap * gap * (before * share)
        step = next_merge(number, 2 * step, n_slices, arrivals)


@kernel
def _slice_moments(
    counter, gate, n_tasks, first_slice, slice_size, n_samples, X, flat, arrivals, means, squares,
):  # fmt: skip
    """Means of the columns, and sums of squares about them, of the slices that `X` has.

    Merged along the tree: those of all `n_samples` rows, of which `X` may be a part, are in the
    first line of `means` and `squares` (all slices, d) at last.
    """
    n_rows, n_features = X.shape
    together = -(-LANES // n_features)  # rows
    width = together * n_features
    first, total, square = np.empty(width), np.empty(width), np.empty(width)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start, stop = task * slice_size, min((task + 1) * slice_size, n_rows)
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
        number = first_slice + task
        for i in range(n_features):
            shift = total[i] / (stop - start)
            left = square[i] - shift * total[i]
            means[number, i] = first[i] + shift
            squares[number, i] = 0.0 if left < 0.0 else left
        _merge(number, slice_size, n_samples, arrivals, means, squares)


def moment_slice_rows(n_samples: int, n_features: int) -> int:
    """Rows per slice, decided by the shape alone."""
    least = max(LEAST_ROWS, -(-LEAST_ELEMENTS // n_features))
    return rows_per_slice(n_samples, n_features, least)


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
    n_samples = shape[0]
    means, squares = node_of_blocks(blocks, shape, moment_slice_rows(*shape), team)
    return means, squares / n_samples


def node_of_blocks(
    blocks: Iterable[Array], shape: tuple[int, ...], slice_size: int, team: Team
) -> tuple[Array, Array]:
    """Means of the columns, and sums of squares about them, of a node of the tree of slices.

    As :func:`moments_of_blocks`, with a size of slices that all rows decide and these may not.
    """
    n_samples, n_features = shape
    n_slices = -(-n_samples // slice_size)
    arrivals = np.zeros(n_slices, np.int64)
    means, squares = np.empty((2, n_slices, n_features))
    first = 0
    for X in blocks:
        n_here = -(-len(X) // slice_size)
        team.run(
            _slice_moments, 2.0 * X.size, n_here, first, slice_size, n_samples, X, X.reshape(-1),
            arrivals, means, squares,
        )  # fmt: skip
        first += n_here
    return means[0].copy(), squares[0].copy()


class Node(NamedTuple):
    """Number of rows, means of their columns, and sums of squares about these."""

    n_rows: int
    means: Array
    squares: Array


def merged(left: Node, right: Node) -> Node:
    """The node of two siblings; see :func:`_merge`."""
    before, rows = left.n_rows, np.float64(left.n_rows + right.n_rows)
    share = (rows - before) / rows
    gap = right.means - left.means
    squares = left.squares + (right.squares + gap * gap * (before * share))
    return Node(left.n_rows + right.n_rows, left.means + gap * share, squares)


def near_most(means: Array, variances: Array) -> Array:
    """Where to centre columns of these means: at zero, unless that is far from most numbers.

    A mean within a standard deviation of zero may be that of a few huge numbers, and to subtract it
    would round off what the others are; where it is not, next to nothing is gained by it.
    """
    with np.errstate(under="ignore"):
        return np.where(means * means > variances, means, 0.0)
