"""What k-means|| does in a round with rows whose nearest new candidate is known.

Sums are taken slice by slice, in row order and in float64.  A slice is decided by the shape of all
rows, so that whoever holds some of the slices makes the sums that the holder of all would make.
"""

from __future__ import annotations

import numpy as np

from .machine.compiling import kernel
from .machine.parallel import Team, next_task
from .records import Array


@kernel
def _approach(
    counter, gate, n_tasks, slice_size, n_before, labels, squares, weights, closest, nearest, sums
):
    """Tell rows of new candidates; per slice, the weighted sum of the distances that are left."""
    n_samples = len(closest)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        total = 0.0
        for row in range(task * slice_size, min((task + 1) * slice_size, n_samples)):
            own = closest[row]
            if squares[row] < own:
                own = squares[row]
                closest[row] = own
                nearest[row] = n_before + labels[row]
            total += own * np.float64(weights[row]) if len(weights) else own
        sums[task] = total


@kernel
def _find(values, start, stop, weights, closest, found):
    """Rows at which the cumulative weighted distance goes beyond each of the ascending values.

    Values that rounding has brought beyond the sum of all get the last row that can be drawn.
    """
    total, last, place = 0.0, start, 0
    for row in range(start, stop):
        own = closest[row] * np.float64(weights[row]) if len(weights) else closest[row]
        if own > 0.0:
            total += own
            last = row
            while place < len(values) and total > values[place]:
                found[place] = row
                place += 1
    while place < len(values):
        found[place] = last
        place += 1


def approach(
    n_before: int,
    labels: Array,
    squares: Array,
    weights: Array,
    closest: Array,
    nearest: Array,
    slice_size: int,
    team: Team,
) -> Array:
    """Bring what rows know of their nearest candidate up to date.

    Parameters
    ----------
    n_before : int
        Number of the first of the new candidates.
    labels, squares : ndarray of shape (n_samples,), int32 and float64
        The nearest of the new candidates, and the squared distance to it.
    weights : ndarray of shape (n_samples,) or empty
        Weights of the rows.
    closest, nearest : ndarray of shape (n_samples,), float64 and int32
        The same of all candidates: written.  The earlier one is kept of two that are equally near.
    slice_size : int
        Rows that share a sum.
    team : Team
        Threads to run on.

    Returns
    -------
    ndarray of shape (n_slices,), float64
        Weighted sums of `closest`.
    """
    n_slices = -(-len(closest) // slice_size)
    sums = np.empty(n_slices)
    team.run(
        _approach, 4.0 * len(closest), n_slices, slice_size, np.int32(n_before), labels, squares,
        weights, closest, nearest, sums,
    )  # fmt: skip
    return sums


def find(values: Array, start: int, stop: int, weights: Array, closest: Array) -> Array:
    """Rows from `start` to `stop` that ascending values of their cumulative sum fall on."""
    found = np.empty(len(values), np.int64)
    _find(values, start, stop, weights, closest, found)
    return found
