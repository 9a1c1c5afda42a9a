"""Exponion: rows that the bounds do not settle are compared with the centers around their own.

Newling, J., Fleuret, F.: Fast k-means with accurate bounds. ICML 2016.

The bounds are Hamerly's.  A row whose distance to its own center is at most u can only change to a
center within 2u of it.  Here the rows of a cluster go through the tile together, with the centers
around theirs as its only opponents: rows that are not settled are sorted by cluster, and each
cluster packs its neighbours once.  Clusters with too few rows, or too many neighbours, for that to
pay go through the tile with all centers, as in :mod:`.hamerly`.

Neighbours keep their order, so that ties go to the lowest index; rows that have changed are moved
in row order: the same bits as Lloyd's.
"""

from __future__ import annotations

import numpy as np

from .compiling import kernel
from .emit.bounds import BOUND_DOWN, BOUND_UP, LEAST_SQUARE, unsettled_rows
from .emit.cpu import TILE_ROWS, WIDE, lanes, round_up
from .emit.masks import changed_labels, lowest_bit
from .emit.packing import pack_listed_rows
from .emit.search_rows import nearest_two_in_tile
from .hamerly import FEW_FEATURES, RADII, Hamerly
from .parallel import next_task
from .tiles import Array, scratch

MOST_NEIGHBOURS = 512
TASK_ROWS = 1024  # rows of a cluster that one task takes
# What packing one center costs, in rows compared with it.
PACKING_ROWS = 32
# Neighbourhoods of a cluster reach so many times the mean distance of its rows from their center,
# and at last as far as any row may need.
TYPICAL_RADII = (3.0, 5.0)
EARLY_ROUNDS = 8  # rounds in which they are measured: without them, nothing is near
N_LEVELS = len(TYPICAL_RADII) + 1


@kernel
def _list_unsettled(
    counter, gate, n_tasks, slice_size, n_samples, labels, upper, lower, table, slack, reach,
    levels, listed, keys, n_listed, histogram,
):  # fmt: skip
    """Move the bounds; list the rows that they do not settle, and count them by opponents.

    The key of a row is its cluster and the lowest level outside of which no center can be nearest:
    ``cluster · levels + level``; the last key is for all centers.
    """
    _, n_neighbours, outside = levels
    n_levels, n_clusters = n_neighbours.shape
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start, stop = task * slice_size, min((task + 1) * slice_size, n_samples)
        count = start
        for key in range(n_levels * n_clusters + 1):
            histogram[task, key] = 0
        for first in range(start, stop, TILE_ROWS):
            mask = unsettled_rows(labels, first, upper, lower, table, slack, reach)
            if first + TILE_ROWS > n_samples:
                mask &= (np.uint64(1) << np.uint64(n_samples - first)) - np.uint64(1)
            while mask != 0:
                row = first + lowest_bit(mask)
                mask &= mask - np.uint64(1)
                own, u = np.int64(labels[row]), np.float64(upper[row])
                wall = u + reach
                limit = (u * u + slack * wall * wall) * BOUND_UP + LEAST_SQUARE
                key = n_levels * n_clusters
                for level in range(n_levels):
                    beyond = outside[level, own] - u
                    if n_neighbours[level, own] >= 0 and beyond > 0 and beyond * beyond > limit:
                        key = own * n_levels + level
                        break
                listed[count] = row
                keys[count] = key
                count += 1
                histogram[task, key] += 1
        n_listed[task] = count - start


@kernel
def _plan(histogram, n_neighbours, tasks):
    """Turn counts by group of slices and key into places, and make tasks (key, begin, end).

    Rows that it does not pay to compare with neighbours alone come first, as tasks of the last
    key.  Returns the numbers of tasks and of comparisons.
    """
    n_slices, n_keys = histogram.shape
    n_levels, n_clusters = n_neighbours.shape
    place, n_tasks, compared = 0, 0, 0
    totals = np.zeros(n_keys, np.int64)
    for s in range(n_slices):
        for key in range(n_keys):
            totals[key] += histogram[s, key]
    for grouped in range(2):
        for key in range(n_keys):
            total, n_near = totals[key], n_clusters
            if total == 0:
                continue
            if key < n_keys - 1:
                n_near = np.int64(n_neighbours[key % n_levels, key // n_levels])
            padded = (total + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS
            pays = (padded + PACKING_ROWS) * n_near < total * n_clusters
            if pays != (grouped == 1):
                continue
            begin = place
            for s in range(n_slices):
                count = histogram[s, key]
                histogram[s, key] = place
                place += count
            if grouped == 1:
                compared += total * n_near
                while begin < place:
                    end = min(begin + TASK_ROWS, place)
                    tasks[n_tasks, 0], tasks[n_tasks, 1], tasks[n_tasks, 2] = key, begin, end
                    n_tasks += 1
                    begin = end
        if grouped == 0:
            compared += place * n_clusters
            for begin in range(0, place, TASK_ROWS):
                tasks[n_tasks, 0] = n_keys - 1
                tasks[n_tasks, 1], tasks[n_tasks, 2] = begin, min(begin + TASK_ROWS, place)
                n_tasks += 1
    return n_tasks, compared


@kernel
def _group(counter, gate, n_tasks, slice_size, listed, keys, n_listed, places, grouped):
    """Sort the listed rows by key: each group of slices knows its places."""
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start = task * slice_size
        for i in range(start, start + n_listed[task]):
            row = np.int64(listed[i])
            key = np.int64(keys[i])
            grouped[places[task, key]] = row
            places[task, key] += 1


@kernel
def _compare(
    counter, gate, n_tasks, size, rows, mean, panels, levels, tasks, grouped, slack, largest, upper,
    lower, winners, centers,
):  # fmt: skip
    """Find the nearest center, and bounds, of all grouped rows; `winners` (n,) receives it.

    `centers` (k, d) are those of `panels`.
    """
    X, _, _ = rows
    _, all_wide, all_narrow, all_centers, all_bias = panels
    neighbours, n_neighbours, outside = levels
    n_features, n_clusters, n_levels = X.shape[1], len(centers), len(outside)
    packed = scratch(mean, len(mean) * TILE_ROWS)
    best, index = scratch(mean, TILE_ROWS), scratch(mean, TILE_ROWS)
    second, norms = scratch(mean, TILE_ROWS), scratch(mean, TILE_ROWS)
    most = neighbours.shape[2] + WIDE
    own_centers = scratch(mean, most * n_features)
    own_bias = scratch(mean, most)
    labels64, none = np.empty(TILE_ROWS, np.int32), np.full(TILE_ROWS, -1, np.int32)
    rows64 = np.zeros(TILE_ROWS + size, np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        key, begin, end = tasks[task, 0], tasks[task, 1], tasks[task, 2]
        alone = key < n_levels * n_clusters
        cluster, level = key // n_levels, key % n_levels
        n_wide, n_narrow, count = all_wide, all_narrow, n_clusters
        if alone:
            count = np.int64(n_neighbours[level, cluster])
            n_wide, n_narrow = (count + WIDE - 1) // WIDE, 0 * all_narrow
            for place in range(n_wide * WIDE):
                group, j = place // WIDE, place % WIDE
                start = group * WIDE * n_features + j
                real = place < count
                source = np.int64(neighbours[level, cluster, place]) if real else np.int64(0)
                own_bias[place] = all_bias[source] if real else np.inf
                for t in range(n_features):
                    value = centers[source, t] if real else centers[0, 0] * 0
                    own_centers[start + t * WIDE] = -value
        for first in range(begin, end, TILE_ROWS):
            filled = min(TILE_ROWS, end - first)
            for i in range(TILE_ROWS + size):
                rows64[i] = grouped[min(first + i, end - 1)]
            if n_features <= FEW_FEATURES:
                for i in range(TILE_ROWS):
                    for t in range(n_features):
                        packed[t * TILE_ROWS + i] = X[rows64[i], t] - mean[t]
            else:
                pack_listed_rows(X, rows64, np.int64(0), n_features, mean, packed)
            if alone:
                nearest_two_in_tile(
                    packed, own_centers, own_bias, n_wide, n_narrow, n_features, best, index,
                    second,
                )  # fmt: skip
            else:
                nearest_two_in_tile(
                    packed, all_centers, all_bias, n_wide, n_narrow, n_features, best, index,
                    second,
                )  # fmt: skip
            changed_labels(index, none, np.int64(0), labels64, np.int64(0))
            norms[:] = 0
            for t in range(n_features):
                for i in range(TILE_ROWS):
                    value = packed[t * TILE_ROWS + i]
                    norms[i] += value * value
            far = outside[level, cluster] if alone else np.inf
            for i in range(filled):
                row = rows64[i]
                # Score and norm may each be off by some roundings of the largest term.
                error = slack * np.float64(norms[i] + largest)
                above = max(np.float64(norms[i] + best[i] + best[i]), 0.0) + error
                below = max(np.float64(norms[i] + second[i] + second[i]) - error, 0.0)
                # What is not a neighbour is at least so far away from the old center …
                beyond = max(far - np.float64(upper[row]), 0.0)
                upper[row] = np.sqrt(above) * BOUND_UP
                lower[row] = min(np.sqrt(below), beyond) * BOUND_DOWN
                where = np.int64(labels64[i])
                winners[row] = neighbours[level, cluster, where] if alone else where


class Exponion(Hamerly):
    """Assignment by Hamerly's bounds and the centers around each row's own.

    Parameters and attributes as for :class:`.lloyd.Lloyd`.

    Notes
    -----
    Memory: 24 bytes a row, and up to 8 KB a cluster.
    """

    needs_typical = True

    def _equip(self) -> None:
        super()._equip()
        n_clusters, n_padded = self.n_clusters, self.n_slices * self.update.slice_rows
        most = min(MOST_NEIGHBOURS, max(WIDE, n_clusters // 2))
        self.levels = self._make_levels(N_LEVELS, n_clusters, round_up(most, WIDE))
        self._make_lists()
        self.grouped, self.keys = np.empty_like(self.listed), np.empty(n_padded, np.int32)
        n_keys = N_LEVELS * n_clusters + 1
        self.histogram = np.zeros((self.n_groups, n_keys), np.int64)
        self.n_listed = np.zeros(self.n_groups, np.int64)
        self.tasks = np.empty((n_padded // TASK_ROWS + n_keys + 2, 3), np.int64)

    def _due(self) -> bool:
        return self.rounds <= EARLY_ROUNDS or self.rounds % EARLY_ROUNDS == 0

    def _radii(self, largest: Array, typical: Array) -> Array:
        inner = np.multiply.outer(TYPICAL_RADII, typical)
        return np.concatenate([inner, RADII * largest[None]])

    def assign_by_bounds(self, centers: Array, mode: int) -> int:
        """Label every row, those that the bounds settle by the bounds; `mode` is the update's."""
        if self.before is None or self.panels.by_features:
            return super().assign_by_bounds(centers, mode)
        self._prepare(centers)
        size = self.group_rows
        n_samples = self.rows.X.shape[0]
        self.team.run(
            _list_unsettled,
            4.0 * n_samples,
            self.n_groups,
            size,
            n_samples,
            self.labels,
            self.upper,
            self.lower,
            self.table,
            np.float32(self.slack),
            self.reach,
            self.levels,
            self.listed,
            self.keys,
            self.n_listed,
            self.histogram,
        )
        n_tasks, n_compared = _plan(self.histogram, self.levels.n_neighbours, self.tasks)
        n_listed = float(self.n_listed.sum())
        self.team.run(
            _group,
            4.0 * n_listed,
            self.n_groups,
            size,
            self.listed,
            self.keys,
            self.n_listed,
            self.histogram,
            self.grouped,
        )
        self.team.run(
            _compare,
            float(n_compared) * (centers.shape[1] + 4),
            n_tasks,
            lanes(np.float32),
            self.rows,
            self.mean,
            self.by_rows,
            self.levels,
            self.tasks,
            self.grouped,
            self.slack,
            self.largest,
            self.upper,
            self.lower,
            self.winners,
            np.ascontiguousarray(centers),
        )
        self._move_listed(self.n_listed, mode, self.n_together)
        self.n_distances += n_compared
        self._finish(centers)
        return int(self.update.changes.n.sum())
