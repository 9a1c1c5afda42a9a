"""Distances that are reported rather than compared: inertia, and rows to their own or all centers.

All in difference form and, except for the centring, in float64, whatever the dtype of X.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .emit.rows_and_rows import PANEL, squares_to_panel
from .machine.calling import reference
from .machine.compiling import helper, kernel, vector_least
from .machine.parallel import Team, next_task
from .slices import tree_sum
from .tiles import Array, Rows, aligned_empty, scratch, squared_distance
from .update import slice_rows

# Bytes of rows that meet one panel of centers after the other, and how many rows that is at most.
BLOCK_BYTES, BLOCK_ROWS = 1 << 17, 60


@kernel
def _own_distances(
    counter, gate, n_tasks, slice_size, rows, shift, centers, labels, inertias, distances,
):  # fmt: skip
    """Per slice: weighted sum of squared distances to the own center; each one where asked for."""
    n_samples = rows.X.shape[0]
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        total = 0.0
        start = task * slice_size
        for row in range(start, min(start + slice_size, n_samples)):
            square = squared_distance(rows.X[row], shift, centers[labels[row]])
            if len(distances):
                distances[row] = square
            if len(rows.weights):
                square *= rows.weights[row]
            total += square
        inertias[task] = total


def own_reference(
    rows: Rows, shift: Array, centers: Array, labels: Array, inertias: Array, gate: Array
) -> Any:
    """To the kernel of :func:`own_inertias`; see :mod:`.machine.calling`."""
    arguments = 1, rows, shift, centers, labels, inertias, inertias
    return reference(_own_distances, shift.dtype, gate, gate, 1, *arguments)


def own_distances(
    rows: Rows,
    shift: Array,
    centers: Array,
    labels: Array,
    team: Team,
    *,
    distances: Array | None = None,
) -> float:
    """Weighted sum of squared distances of rows, minus `shift`, to the centers of their labels.

    Parameters
    ----------
    rows : Rows
        The data.
    shift : ndarray of shape (at least n_features,), of the dtype of the rows
        Subtracted from every row.
    centers : ndarray of shape (n_clusters, n_features)
        Centers, with the shift subtracted.
    labels : ndarray of shape (at least n_samples,), int32
        Index of each row's center.
    team : Team
        Threads to run on.
    distances : ndarray of shape (n_samples,), float64, optional
        Receives the unweighted squared distance of each row.

    Returns
    -------
    float
        The inertia: the same bits for any number of threads.
    """
    n_samples, n_features = rows.X.shape
    size = slice_rows(n_samples, n_features, 1)
    return float(tree_sum(own_inertias(rows, shift, centers, labels, team, size, distances)))


def own_inertias(
    rows: Rows,
    shift: Array,
    centers: Array,
    labels: Array,
    team: Team,
    slice_size: int,
    distances: Array | None = None,
) -> Array:
    """As :func:`own_distances`, but the sum of each slice of `slice_size` rows."""
    n_slices = -(-len(rows.X) // slice_size)
    inertias = np.empty(n_slices)
    team.run(
        _own_distances,
        2.0 * rows.X.size,
        n_slices,
        slice_size,
        rows,
        shift,
        centers.astype(np.float64, copy=False),
        labels,
        inertias,
        np.empty(0) if distances is None else distances,
    )
    return inertias


@helper
def prefer(distances, label, tolerance):
    """Make the distance of a row to the center of its label the smallest, if rounding allows it.

    A label is the smallest of scores, which round otherwise than distances do.  Where another
    center is nearer by no more than a share `tolerance`, or as near and before it, the own one is
    made nearer than both.
    """
    own = distances[label]
    least, beaten = own, False
    for j in range(len(distances)):
        value = distances[j]
        if value < least or (value == least and j < label):
            least, beaten = value, True
    if beaten and own - least <= tolerance * own:
        distances[label] = np.nextafter(least, least - least)


@vector_least
def _least(values):
    least = values.dtype.type(np.inf)
    for j in range(len(values)):
        least = min(least, values[j])
    return least


@helper
def are_close(distances, tolerance):
    """Whether the two least distances of a row are so close that :func:`prefer` may change one.

    Where not, it changes nothing, whichever center is the label: nobody need know.
    """
    # Twice the tolerance: this is rounded otherwise than what `prefer` compares.
    share = distances.dtype.type(1.0 - 2.0 * tolerance)
    least, count = _least(distances), 0
    for j in range(len(distances)):
        count += distances[j] * share <= least
    return count > 1


@kernel
def _prefer_all(numbers, labels, tolerance, distances):
    """Have the distances of the listed rows agree with their labels."""
    for i in range(len(numbers)):
        prefer(distances[numbers[i]], labels[i], tolerance)


def agree(close: Array, labels_of: Callable[[Array], Array], dtype: Any, distances: Array) -> None:
    """Make each row's distance to its label the smallest, where rounding decides which one is.

    Parameters
    ----------
    close : ndarray of shape (n_samples,), bool
        Rows whose least distances are close to each other.
    labels_of : callable
        Gives the labels of the rows of these indices.
    dtype : dtype
        Of the rows.
    distances : ndarray of shape (n_samples, n_clusters)
        Written.
    """
    numbers = np.flatnonzero(close)
    if len(numbers):
        _prefer_all(numbers, labels_of(numbers), rounding_of(dtype), distances)


@kernel
def _all_distances(
    counter, gate, n_tasks, slice_size, block_size, X, panels, tolerance, distances, close, finite,
):  # fmt: skip
    """Distances of all rows to all centers, panel by panel.

    Per row, where asked for, whether the least are close; per slice, whether all are finite.
    """
    n_samples, n_features = X.shape
    n_clusters = distances.shape[1]
    squares = scratch(panels, BLOCK_ROWS * PANEL)
    # Numbers of half the width are widened once, and not for each panel.
    widened = X.itemsize < panels.itemsize
    wide = np.empty((block_size if widened else 0, n_features), panels.dtype)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        sound = True
        stop = min((task + 1) * slice_size, n_samples)
        for first in range(task * slice_size, stop, block_size):
            count = min(block_size, stop - first)
            if widened:
                for i in range(count):
                    for t in range(n_features):
                        wide[i, t] = X[first + i, t]
            for center in range(0, n_clusters, PANEL):
                if widened:
                    squares_to_panel(wide, 0, count, panels, center * n_features, squares)
                else:
                    squares_to_panel(X, first, count, panels, center * n_features, squares)
                width = min(PANEL, n_clusters - center)
                for i in range(count * PANEL):  # by itself: in vectors
                    squares[i] = np.sqrt(squares[i])
                for i in range(count):
                    # What is not finite in a row is in its distance to every center.
                    sound &= squares[i * PANEL] < np.inf
                    if width == PANEL:  # a loop of known length is a few vectors
                        for j in range(PANEL):
                            distances[first + i, center + j] = squares[i * PANEL + j]
                    else:
                        for j in range(width):
                            distances[first + i, center + j] = squares[i * PANEL + j]
            if len(close):
                for row in range(first, first + count):
                    close[row] = are_close(distances[row], tolerance)
        finite[task] = sound


def distance_panels(centers: Array) -> Array:
    """Centers (k, d) as :func:`squares_to_panel` wants them: negated, padded with zeros."""
    n_clusters, n_features = centers.shape
    n_panels = -(-n_clusters // PANEL)
    panels = aligned_empty((n_panels, n_features, PANEL), np.float64)
    for number, panel in enumerate(panels):
        own = centers[number * PANEL : (number + 1) * PANEL]
        np.negative(own.T, out=panel[:, : len(own)], dtype=np.float64)
        panel[:, len(own) :] = 0.0
    return panels.reshape(-1)


def rounding_of(dtype: Any) -> float:
    """Share of a distance that scores of this dtype cannot be expected to tell."""
    return float(np.sqrt(np.finfo(dtype).eps))


def all_distances(X: Array, panels: Array, close: Array, team: Team, distances: Array) -> bool:
    """Write the distances of all rows to all centers.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), C-contiguous
        Rows.
    panels : ndarray
        Centers, by :func:`distance_panels`.
    close : ndarray of shape (n_samples,), bool, or empty
        Written: whether the least distances of a row are close, for :func:`agree`.
    team : Team
        Threads to run on.
    distances : ndarray of shape (n_samples, n_clusters)
        Written: the same bits for any number of threads and whichever rows come together.

    Returns
    -------
    bool
        Whether squared distances are finite, as they are for finite rows that are not huge.
    """
    n_samples, n_features = X.shape
    work = float(n_features + 8) * len(panels) // n_features * n_samples
    size = slice_rows(n_samples, n_features, len(panels) // n_features)
    n_slices = -(-n_samples // size)
    finite = np.empty(n_slices, np.bool_)
    block_size = max(4, min(BLOCK_ROWS, BLOCK_BYTES // (n_features * X.itemsize)))
    team.run(
        _all_distances, work, n_slices, size, block_size, X, panels, rounding_of(X.dtype),
        distances, close, finite,
    )  # fmt: skip
    return bool(finite.all())
