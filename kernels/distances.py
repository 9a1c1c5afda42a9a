"""Distances that are reported rather than compared: inertia, and rows to their own centers.

All in difference form and, but for the centring, in float64, whatever the dtype of X.
"""

from __future__ import annotations

import numpy as np

from .compiling import kernel
from .parallel import Team, enter, leave, next_task
from .tiles import Array, Rows, squared_distance
from .update import slice_rows


@kernel
def _own_distances(
    counter, gate, n_tasks, slice_size, rows, shift, centers, labels, inertias, distances,
):  # fmt: skip
    """Per slice: weighted sum of squared distances to the own center; each one where asked for."""
    enter(counter, gate)
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
    leave(counter, gate)


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
    return float(own_inertias(rows, shift, centers, labels, team, size, distances).sum())


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
        centers.astype(np.float64),
        labels,
        inertias,
        np.empty(0) if distances is None else distances,
    )
    return inertias
