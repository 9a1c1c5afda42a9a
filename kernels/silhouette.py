"""Silhouettes: how much nearer each row is to its own cluster than to the next one.

Rousseeuw, P. J.: Silhouettes: a graphical aid to the interpretation and validation of cluster
analysis. Journal of Computational and Applied Mathematics 20 (1987).

Rows come sorted by cluster.  A tile of 64 of them meets all rows, a few at a time; the distances
are summed at once, and what is kept of a cluster when its last row has passed is one mean for each
row of the tile.  Distances are taken from differences: nothing cancels, and none is stored.
"""

from __future__ import annotations

import numpy as np

from .compiling import kernel
from .parallel import Team, enter, leave, next_task
from .simd import TILE_ROWS, WIDE, distances_in_tile, pack_rows, round_up
from .tiles import Array, aligned_empty, make_rows, padded_vector, scratch

CHUNK = 8 * WIDE  # rows that a tile meets at a time: their distances stay in the caches
MOST_WORK = 2e9  # multiply-adds of one call of the kernel, which Ctrl-C cannot interrupt


@kernel
def _tiles(counter, gate, n_tasks, skipped, X, tail, labels, sizes, panel, zero, values):
    """Silhouettes of the rows of tiles ``skipped, skipped + 1, …``, written to `values` (n,)."""
    enter(counter, gate)
    n_samples, n_features = X.shape
    packed = scratch(zero, len(zero) * TILE_ROWS)
    squares = scratch(zero, CHUNK * TILE_ROWS)
    total, own, next_one = np.empty(TILE_ROWS), np.empty(TILE_ROWS), np.empty(TILE_ROWS)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        first = (skipped + task) * TILE_ROWS
        filled = min(TILE_ROWS, n_samples - first)
        pack_rows(X, tail, first, zero, packed)
        for i in range(TILE_ROWS):
            total[i], own[i], next_one[i] = 0.0, 0.0, np.inf
        for start in range(0, n_samples, CHUNK):
            stop = min(start + CHUNK, n_samples)
            distances_in_tile(
                packed, panel[start * n_features :], -(-(stop - start) // WIDE), 0, n_features,
                squares,
            )  # fmt: skip
            for row in range(start, stop):
                line = (row - start) * TILE_ROWS
                for i in range(TILE_ROWS):
                    total[i] += np.sqrt(squares[line + i])
                cluster = labels[row]
                if row + 1 == n_samples or labels[row + 1] != cluster:
                    size = sizes[cluster]
                    for i in range(filled):
                        if labels[first + i] == cluster:
                            own[i] = total[i] / max(size - 1, 1)  # of the others
                        else:
                            next_one[i] = min(next_one[i], total[i] / size)
                    total[:] = 0.0
        for i in range(filled):
            larger = max(own[i], next_one[i])
            alone = sizes[labels[first + i]] == 1 or larger == 0.0
            values[first + i] = 0.0 if alone else (next_one[i] - own[i]) / larger
    leave(counter, gate)


def silhouettes(X: Array, labels: Array, sizes: Array, team: Team) -> Array:
    """Silhouette of each row.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64, C-contiguous
        Rows.
    labels : ndarray of shape (n_samples,), int64
        Cluster of each row, from 0.
    sizes : ndarray of shape (n_clusters,), int64
        Number of rows of each cluster; none is empty.
    team : Team
        Threads to run on.

    Returns
    -------
    values : ndarray of shape (n_samples,), float64
        The same bits for any number of threads; 0 for rows that are alone in their cluster.

    Notes
    -----
    Memory: two copies of `X`.
    """
    n_samples, n_features = X.shape
    order = np.argsort(labels, kind="stable")
    labels = labels[order]
    rows = make_rows(X[order])
    panel = _packed(rows.X)
    zero = padded_vector(np.zeros(n_features), X.dtype)
    values = np.empty(n_samples)
    n_tiles = -(-n_samples // TILE_ROWS)
    work = float(TILE_ROWS * n_samples * (n_features + 2))
    together = max(team.n_threads, int(MOST_WORK / work))
    for skipped in range(0, n_tiles, together):
        n_tasks = min(together, n_tiles - skipped)
        team.run(
            _tiles, work * n_tasks, n_tasks, skipped, rows.X, rows.tail, labels, sizes, panel, zero,
            values,
        )  # fmt: skip
    result = np.empty(n_samples)
    result[order] = values
    return result


def _packed(X: Array) -> Array:
    """All rows as centers are packed for the tiles: negated, in groups that end with zeros."""
    n_samples, n_features = X.shape
    padded = round_up(n_samples, WIDE)
    panel = aligned_empty((padded // WIDE, n_features, WIDE), X.dtype)
    whole = n_samples // WIDE
    np.negative(
        X[: whole * WIDE].reshape(whole, WIDE, n_features).swapaxes(1, 2), out=panel[:whole]
    )
    if padded > n_samples:
        panel[whole] = 0
        panel[whole, :, : n_samples - whole * WIDE] = -X[whole * WIDE :].T
    return panel.reshape(-1)
