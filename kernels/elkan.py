"""Elkan's algorithm: distances that the triangle inequality proves useless are not computed.

Elkan, C.: Using the triangle inequality to accelerate k-means. ICML 2003.

Every row keeps an upper bound of the distance to its own center and a lower bound for each other
center, moved along with the centers; a row is settled where all lower bounds (or half the distances
between its center and the others) stay above the upper bound.  Rows that are not settled are
gathered into tiles: the label comes from the very tile that Lloyd's algorithm uses, the bounds from
distances in difference form.

The bounds are widened by every rounding on the way, that of the tile included, so that labels,
and with them centers, are the same bits as Lloyd's.  The lower bounds take n·k numbers, and moving
them takes a pass over all of those: this pays where distances are dear (many features) and
clusters are apart.
"""

from __future__ import annotations

import numpy as np

from .compiling import kernel
from .lloyd import Lloyd
from .parallel import Team, enter, leave, next_task
from .simd import (
    FEATURE_ROWS,
    NARROW,
    TILE_ROWS,
    WIDE,
    changed_labels,
    distances_in_tile,
    nearest_in_tile,
    nearest_of_few,
    pack_rows,
)
from .tiles import Array, Rows, fill_panels, make_panels, scratch
from .update import Update, move_rows


@kernel
def _list_unsettled(
    counter, gate, n_tasks, slice_size, labels, upper, lower, shift, half, slack, reach, listed,
    n_listed,
):  # fmt: skip
    """Move all bounds along with the centers; list the rows, slice by slice, that are not settled.

    `upper` (n,) and `lower` (n, k) are updated; `listed` (n,) and `n_listed` (n_tasks,) written.
    `slack` bounds the relative error of a score whose terms are no larger than ``(u + reach)²``.
    """
    enter(counter, gate)
    n_samples, n_clusters = lower.shape
    epsilon = 2.4e-7 if lower.itemsize == 4 else 4.5e-16
    up, down = 1.0 + epsilon, 1.0 - epsilon
    while True:
        task = next_task(counter)
        if task >= n_tasks:
            break
        start = task * slice_size
        count = 0
        for row in range(start, min(start + slice_size, n_samples)):
            own = np.int64(labels[row])
            listed[start + count] = row
            if own < 0:
                count += 1
                continue
            u = (np.float64(upper[row]) + shift[own]) * up
            upper[row] = u * up
            wall = u + reach
            limit = u * u + slack * wall * wall
            unsettled = 0
            for j in range(n_clusters):
                below = max((np.float64(lower[row, j]) - shift[j]) * down, 0.0)
                lower[row, j] = below * down
                best = max(below, half[own, j])
                unsettled += best * best <= limit
            count += unsettled > 0
        n_listed[task] = count
    leave(counter, gate)


@kernel
def _assign_listed(
    counter, gate, n_tasks, slice_size, rows, mean, panels, apart, labels, mode, piles, changes,
    upper, lower, slack, listed, n_listed,
):  # fmt: skip
    """Label the listed rows by Lloyd's tile, and measure their bounds afresh.

    `apart` are the centers packed by rows, for distances.
    """
    enter(counter, gate)
    X, _, _ = rows
    by_features, n_wide, n_narrow, centers, bias = panels
    _, apart_wide, apart_narrow, apart_centers, _ = apart
    n_changes = changes.n
    n_features, n_clusters = X.shape[1], lower.shape[1]
    packed = scratch(mean, len(mean) * TILE_ROWS)
    best, index = scratch(mean, TILE_ROWS), scratch(mean, TILE_ROWS)
    distances = scratch(mean, (WIDE * apart_wide + NARROW * apart_narrow) * TILE_ROWS)
    gathered = np.zeros((TILE_ROWS, n_features), mean.dtype)
    winners, old = np.empty(TILE_ROWS, np.int32), np.empty(TILE_ROWS, np.int32)
    single = np.empty(TILE_ROWS, np.int32)
    while True:
        task = next_task(counter)
        if task >= n_tasks:
            break
        start = task * slice_size
        n_changed = np.int64(0)
        for first in range(start, start + n_listed[task], TILE_ROWS):
            filled = min(TILE_ROWS, start + n_listed[task] - first)
            for i in range(TILE_ROWS):
                row = listed[first + min(i, filled - 1)]
                old[i] = labels[row]
                for t in range(n_features):
                    gathered[i, t] = X[row, t]
            pack_rows(gathered, gathered, np.int64(0), mean, packed)
            if by_features:
                for i in range(0, TILE_ROWS, FEATURE_ROWS):
                    nearest_of_few(
                        gathered, gathered, np.int64(0), mean, centers, bias, n_wide, n_narrow,
                        best, index, i,
                    )  # fmt: skip
            else:
                nearest_in_tile(packed, centers, bias, n_wide, n_narrow, n_features, best, index)
            mask = changed_labels(index, old, np.int64(0), winners)
            distances_in_tile(
                packed, apart_centers, apart_wide, apart_narrow, n_features, distances
            )
            for i in range(filled):
                row = listed[first + i]
                upper[row] = np.sqrt(distances[winners[i] * TILE_ROWS + i]) * (1.0 + slack)
                for j in range(n_clusters):
                    lower[row, j] = np.sqrt(distances[j * TILE_ROWS + i]) * (1.0 - slack)
                if (mask >> np.uint64(i)) & np.uint64(1):
                    # One row at a time, since those of a tile need not be neighbours.
                    single[0] = winners[i]
                    n_changed = move_rows(
                        np.uint64(1), row, n_changed, start, task, mode, rows, mean, single,
                        labels, piles, changes,
                    )  # fmt: skip
        n_changes[task] = n_changed
    leave(counter, gate)


class Elkan(Lloyd):
    """Assignment by Elkan's bounds; parameters and attributes as for :class:`Lloyd`.

    Notes
    -----
    Memory: ``n_samples * n_clusters`` lower bounds of the dtype of the rows.
    """

    def __init__(
        self, rows: Rows, mean: Array, n_clusters: int, update: Update, team: Team
    ) -> None:
        super().__init__(rows, mean, n_clusters, update, team)
        n_samples, n_features = rows.X.shape
        dtype = rows.X.dtype
        self.apart = make_panels(n_clusters, n_features, dtype, by_features=False)
        self.upper = np.zeros(n_samples, dtype)
        self.lower = np.zeros((n_samples, n_clusters), dtype)
        self.listed = np.empty(self.n_slices * update.slice_rows, np.int64)
        self.n_listed = np.zeros(self.n_slices, np.int64)
        self.slack = float(8 * (n_features + 8) * np.finfo(dtype).eps)
        self.before: Array | None = None

    def reset(self) -> None:
        """Forget labels and bounds."""
        super().reset()
        self.before = None

    @property
    def iterates(self) -> bool:
        """Never: bounds are moved by one kernel and measured by another."""
        return False

    def assign(self, centers: Array, *, account: bool = True) -> int:
        """Label every row with its nearest center; see :meth:`Lloyd.assign`."""
        if not account:
            return super().assign(centers, account=False)
        shift, half, reach = self._geometry(centers)
        fill_panels(centers, self.panels)
        fill_panels(centers, self.apart)
        self.before = centers.copy()
        update = self.update
        self.team.run(
            _list_unsettled,
            float(self.lower.size),
            self.n_slices,
            update.slice_rows,
            self.labels,
            self.upper,
            self.lower,
            shift,
            half,
            self.slack,
            reach,
            self.listed,
            self.n_listed,
        )
        n_unsettled = int(self.n_listed.sum())
        self.n_distances += 2 * n_unsettled * len(centers)
        self.team.run(
            _assign_listed,
            2.0 * n_unsettled * centers.size,
            self.n_slices,
            update.slice_rows,
            self.rows,
            self.mean,
            self.panels,
            self.apart,
            self.labels,
            update.mode,
            update.piles,
            update.changes,
            self.upper,
            self.lower,
            self.slack,
            self.listed,
            self.n_listed,
        )
        return int(update.changes.n.sum())

    def _geometry(self, centers: Array) -> tuple[Array, Array, float]:
        """Movements of the centers (rounded up), half their distances (down), largest norm."""
        wide = centers.astype(np.float64)
        before = wide if self.before is None else self.before.astype(np.float64)
        shift = np.sqrt(((wide - before) ** 2).sum(axis=1)) * (1 + 1e-9)
        half = np.empty((len(wide), len(wide)))
        for j, center in enumerate(wide):
            half[j] = 0.5 * (1 - 1e-9) * np.sqrt(((wide - center) ** 2).sum(axis=1))
        np.fill_diagonal(half, np.inf)  # the own center is no rival
        return shift, half, 2.0 * float(np.sqrt((wide**2).sum(axis=1).max()))
