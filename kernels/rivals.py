"""Distances of rows to their own center and to the nearest other one, in one pass.

What a center is worth is how much farther its rows would be from the next one; how well a row lies
is how much farther that one is.  Distances are squared and taken as differences; nothing of size
n·k is stored.
"""

from __future__ import annotations

import numpy as np

from .emit.cpu import TILE_ROWS
from .emit.packing import pack_rows
from .emit.search_rows import own_and_rival_in_tile
from .machine.compiling import kernel
from .machine.parallel import Team, next_task
from .slices import rows_per_slice
from .sparse import SparseRows
from .tiles import Array, Rows, aligned_empty, fill_panels, make_panels, scratch


@kernel
def _rivals(counter, gate, n_tasks, slice_size, rows, mean, panels, begin, labels, own, rival):
    """Squared distances of each row to the center of its label, and to the nearest other one."""
    X, tail, _ = rows
    _, n_wide, n_narrow, centers, _ = panels
    n_samples, n_features = X.shape
    packed, numbers = scratch(mean, len(mean) * TILE_ROWS), scratch(mean, TILE_ROWS)
    mine, least = scratch(mean, TILE_ROWS), scratch(mean, TILE_ROWS)
    # Integers as wide as the rows' elements: these are their lower halves, and zeros.
    halves, step = numbers.view(np.int32), mean.itemsize // 4
    halves[:] = 0
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for first in range(task * slice_size, min((task + 1) * slice_size, n_samples), TILE_ROWS):
            filled = min(TILE_ROWS, n_samples - first)
            pack_rows(X, tail, first, mean, packed)
            for i in range(filled):
                halves[step * i] = labels[first + i]
            own_and_rival_in_tile(
                packed, centers, begin, n_wide, n_narrow, n_features, numbers, mine, least
            )
            for i in range(filled):
                own[first + i] = mine[i]
                rival[first + i] = least[i]


@kernel
def _sparse_rivals(counter, gate, n_tasks, slice_size, rows, table, norms, labels, own, rival):
    """As :func:`_rivals`, for sparse rows; `table` (d, k) are the centers, float64."""
    data, indices, indptr, _, _ = rows
    n_samples, n_clusters = len(indptr) - 1, len(norms)
    squares = np.empty(n_clusters)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for row in range(task * slice_size, min((task + 1) * slice_size, n_samples)):
            length = 0.0
            for j in range(n_clusters):
                squares[j] = norms[j]
            for place in range(indptr[row], indptr[row + 1]):
                value, line = np.float64(data[place]), indices[place]
                length += value * value
                for j in range(n_clusters):
                    squares[j] -= 2.0 * value * table[line, j]
            own[row] = max(squares[labels[row]] + length, 0.0)
            squares[labels[row]] = np.inf
            nearest = np.inf
            for j in range(n_clusters):
                nearest = min(nearest, squares[j])
            rival[row] = max(nearest + length, 0.0)


def rivals(
    rows: Rows | SparseRows, mean: Array, centers: Array, labels: Array, team: Team
) -> tuple[Array, Array]:
    """Squared distances of each row to its own center, and to the nearest of the others.

    Parameters
    ----------
    rows : Rows or SparseRows
        The data.
    mean : ndarray of shape (padded n_features,), of the dtype of the rows
        Subtracted from every row; zero for sparse ones.
    centers : ndarray of shape (n_clusters, n_features)
        Centers, with the mean subtracted.
    labels : ndarray of shape (at least n_samples,), int32
        Index of each row's own center, which need not be the nearest one.
    team : Team
        Threads to run on.

    Returns
    -------
    own, rival : ndarray of shape (n_samples,), float64
        The same bits for any number of threads; `rival` is infinite where there is one center.
    """
    n_samples, n_features = rows.shape
    own, rival = np.empty((2, n_samples))
    size = rows_per_slice(n_samples, n_features, 1)
    n_tasks = -(-n_samples // size)
    if isinstance(rows, SparseRows):
        table = np.ascontiguousarray(centers.T, np.float64)
        norms = np.einsum("ij,ij->j", table, table)
        work = n_samples * rows.row_size * len(centers)
        team.run(_sparse_rivals, work, n_tasks, size, rows, table, norms, labels, own, rival)
    else:
        panels = make_panels(len(centers), n_features, rows.dtype, by_features=False)
        fill_panels(np.ascontiguousarray(centers, rows.dtype), panels)
        work = float(n_samples) * (n_features + 2) * len(centers)
        begin = aligned_empty(len(panels.bias), rows.dtype)  # nobody is near what is no center
        begin[: len(centers)], begin[len(centers) :] = 0, np.inf
        team.run(_rivals, work, n_tasks, size, rows, mean, panels, begin, labels, own, rival)
    return own, rival
