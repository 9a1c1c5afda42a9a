"""Elkan's algorithm: distances that the triangle inequality proves useless are not computed.

Elkan, C.: Using the triangle inequality to accelerate k-means. ICML 2003.

Every row keeps an upper bound of the distance to its own center and a lower bound for every other
center.  Moving n·k bounds in every round would cost more than the distances they save, so they are
left where they are: what is kept for each center is how far it has moved in all, round by round,
and a row remembers in which round its bounds were measured.  They are looked at only where the two
bounds of :mod:`.hamerly` do not settle a row; where they do not settle it either, the row goes
through Lloyd's tile, and its bounds are measured afresh, from distances in difference form.

The memory is bounded: where n·k bounds would take more than :data:`MOST_BYTES`, neighbouring
centers share one.  Bounds are widened by every rounding on the way, that of the tile included, so
that labels, and with them centers, are the same bits as Lloyd's.
"""

from __future__ import annotations

import numpy as np

from .compiling import kernel
from .hamerly import FEW_FEATURES, Hamerly
from .parallel import Team, enter, leave, next_task
from .simd import (
    BOUND_DOWN,
    BOUND_UP,
    FEATURE_ROWS,
    LEAST_SQUARE,
    NARROW,
    TILE_ROWS,
    WIDE,
    changed_labels,
    least_bound,
    lowest_bit,
    nearest_of_few,
    pack_listed_rows,
    round_up,
    scatter_lines,
    scores_in_tile,
    unsettled_rows,
)
from .tiles import Array, Rows, scratch
from .update import Update, move_rows

MOST_BYTES = 1 << 30
AHEAD = 16  # rows that the packing looks ahead, at most
LANES = 16  # bounds that are looked at together; their number is padded to this


@kernel
def _assign(
    counter, gate, n_tasks, slice_size, rows, mean, panels, few, labels, mode, piles, changes,
    upper, lower, table, slack, reach, largest, fresh, shared, bounds, measured, fallen, halves,
    computed,
):  # fmt: skip
    """Move two bounds a row; where they do not settle it, try all bounds, then the tile.

    ``bounds`` (n, groups) hold since round ``measured`` (n,); ``fallen`` (rounds, groups) is how
    far the centers of a group have moved since each round, the last of them this one.  `shared` is
    the number of centers of a group; padding groups have no center and infinite bounds.  `panels`
    are the centers by rows, `few` those of Lloyd's tile; ``halves`` (k, groups) is half of the
    distance of every two centers, or (1, groups) and nothing where groups share bounds.
    """
    enter(counter, gate)
    X, _, _ = rows
    _, n_wide, n_narrow, panel, bias = panels
    by_features, few_wide, few_narrow, few_centers, few_bias = few
    n_changes = changes.n
    n_samples, n_features = X.shape
    n_clusters, n_groups, now = table.shape[0], bounds.shape[1], len(fallen) - 1
    infinity, paired = mean[0] + np.inf, shared == 1
    packed = scratch(mean, len(mean) * TILE_ROWS)
    scores = scratch(mean, (WIDE * n_wide + NARROW * n_narrow) * TILE_ROWS)
    best, bits = scratch(mean, TILE_ROWS), scratch(mean, TILE_ROWS)
    norms, rivals, errors = np.empty_like(best), np.empty_like(best), np.empty(TILE_ROWS)
    index, winners = np.empty(TILE_ROWS, np.int64), np.empty(TILE_ROWS, np.int32)
    lines = scratch(upper, n_groups * TILE_ROWS)
    highs, leasts = np.empty(TILE_ROWS, np.float32), np.empty(TILE_ROWS, np.float32)
    gathered = np.empty((TILE_ROWS if by_features else 0, n_features), mean.dtype)
    nowhere, single = np.full(TILE_ROWS, -1, np.int32), np.empty(1, np.int32)
    listed = np.zeros(slice_size + TILE_ROWS + AHEAD, np.int64)
    while True:
        task = next_task(counter)
        if task >= n_tasks:
            break
        start, stop = task * slice_size, min((task + 1) * slice_size, n_samples)
        count = 0
        for first in range(start, stop, TILE_ROWS):
            mask = ~np.uint64(0)
            if not fresh:
                mask = unsettled_rows(labels, first, upper, lower, table, slack, reach)
            if first + TILE_ROWS > n_samples:
                mask &= (np.uint64(1) << np.uint64(n_samples - first)) - np.uint64(1)
            while mask != 0:
                row = first + lowest_bit(mask)
                mask &= mask - np.uint64(1)
                listed[count] = row
                count += 1
        n_unsettled, count = count, 0
        for place in range(n_unsettled):
            row = listed[place]
            if not fresh:
                own = np.int64(labels[row]) if paired else np.int64(0)
                ahead = listed[min(place + AHEAD, n_unsettled - 1)]
                least = np.float64(
                    least_bound(bounds, row, ahead, fallen, measured[row], halves, own, n_groups)
                )
                least = max(least, 0.0) * BOUND_DOWN
                if not paired:  # half the distance of two centers bounds nothing tomorrow
                    lower[row] = max(lower[row], np.float32(least * BOUND_DOWN))
                u = np.float64(upper[row])
                wall = u + reach
                limit = (u * u + slack * wall * wall) * BOUND_UP + LEAST_SQUARE
                if least * least > limit:
                    continue
            listed[count] = row
            count += 1
        for i in range(TILE_ROWS + AHEAD):
            listed[count + i] = listed[count - 1] if count else 0
        n_changed = np.int64(0)
        for place in range(0, count, TILE_ROWS):
            filled = min(TILE_ROWS, count - place)
            if n_features <= FEW_FEATURES:
                for i in range(TILE_ROWS):
                    for t in range(n_features):
                        packed[t * TILE_ROWS + i] = X[listed[place + i], t] - mean[t]
            else:
                pack_listed_rows(X, listed, place, n_features, mean, packed)
            scores_in_tile(packed, panel, bias, n_wide, n_narrow, n_features, scores)
            for i in range(TILE_ROWS):
                best[i], index[i], norms[i] = scores[i], 0, 0
            for j in range(1, n_clusters):
                for i in range(TILE_ROWS):
                    score = scores[j * TILE_ROWS + i]
                    index[i] = j if score < best[i] else index[i]
                    best[i] = score if score < best[i] else best[i]
            for t in range(n_features):
                for i in range(TILE_ROWS):
                    value = packed[t * TILE_ROWS + i]
                    norms[i] += value * value
            if by_features:
                # Lloyd's labels come from this tile; the bounds allow for the difference.
                for i in range(TILE_ROWS):
                    for t in range(n_features):
                        gathered[i, t] = X[listed[place + i], t]
                for i in range(0, TILE_ROWS, FEATURE_ROWS):
                    nearest_of_few(
                        gathered, gathered, np.int64(0), mean, few_centers, few_bias, few_wide,
                        few_narrow, best, bits, i,
                    )  # fmt: skip
                changed_labels(bits, nowhere, np.int64(0), winners)
                for i in range(TILE_ROWS):
                    index[i] = winners[i]
            for i in range(TILE_ROWS):
                # Score and norm may each be off by some roundings of the largest term.
                errors[i] = slack * np.float64(norms[i] + largest)
                score = scores[index[i] * TILE_ROWS + i]
                above = max(np.float64(norms[i] + score + score), 0.0) + errors[i]
                highs[i] = np.sqrt(above) * BOUND_UP
                leasts[i] = np.inf
                # The own center is no rival.  It stays the own one until the next measurement.
                scores[index[i] * TILE_ROWS + i] = infinity
            for group in range(n_groups):
                line = group * TILE_ROWS
                for i in range(TILE_ROWS):
                    rivals[i] = infinity
                for j in range(group * shared, min((group + 1) * shared, n_clusters)):
                    for i in range(TILE_ROWS):
                        score = scores[j * TILE_ROWS + i]
                        rivals[i] = score if score < rivals[i] else rivals[i]
                for i in range(TILE_ROWS):
                    square = np.float32(np.float64(norms[i] + rivals[i] + rivals[i]) - errors[i])
                    square = square if square > 0 else np.float32(0)
                    below = np.float32(np.sqrt(square)) * np.float32(BOUND_DOWN)
                    lines[line + i] = below
                    leasts[i] = below if below < leasts[i] else leasts[i]
            scatter_lines(lines, n_groups, listed, place, bounds)
            mask = np.uint64(0)
            for i in range(filled):
                row = listed[place + i]
                upper[row], lower[row], measured[row] = highs[i], leasts[i], now
                winners[i] = index[i]
                if index[i] != labels[row]:
                    mask |= np.uint64(1) << np.uint64(i)
            while mask != 0:
                # One row at a time, since those of a tile need not be neighbours.
                bit = lowest_bit(mask)
                mask &= mask - np.uint64(1)
                single[0] = winners[bit]
                n_changed = move_rows(
                    np.uint64(1), listed[place + bit], n_changed, start, task, mode, rows, mean,
                    single, labels, piles, changes,
                )  # fmt: skip
        n_changes[task] = n_changed
        computed[task] = count
    leave(counter, gate)


class Elkan(Hamerly):
    """Assignment by Elkan's bounds; parameters and attributes as for :class:`.lloyd.Lloyd`.

    Notes
    -----
    Memory: ``4 * n_samples * n_clusters`` bytes of lower bounds, at most :data:`MOST_BYTES` (then
    neighbouring centers share bounds), 12 bytes a row, and 8 bytes a cluster for every round;
    4 bytes for every two clusters.
    """

    def __init__(
        self, rows: Rows, mean: Array, n_clusters: int, update: Update, team: Team
    ) -> None:
        super().__init__(rows, mean, n_clusters, update, team)
        n_samples = rows.X.shape[0]
        most = max(LANES, MOST_BYTES // (4 * n_samples) // LANES * LANES)
        self.shared = -(-n_clusters // most)
        self.n_groups = round_up(-(-n_clusters // self.shared), LANES)
        self.bounds = np.empty((n_samples, self.n_groups), np.float32)
        self.measured_in = np.zeros(n_samples, np.int32)
        self.moved = np.zeros((1, self.n_groups))
        self.pairs = np.full((1, self.n_groups), -np.inf, np.float32)
        if self.shared == 1:
            self.pairs = self.halves = np.full((n_clusters, self.n_groups), np.inf, np.float32)

    def assign_by_bounds(self, centers: Array, mode: int) -> int:
        """Label every row, those that the bounds settle by the bounds; `mode` is the update's."""
        fresh = self.before is None
        if fresh:
            self.moved = np.zeros((1, self.n_groups))
        self._prepare(centers)
        if not fresh:
            self._add_movement()
        update = self.update
        self.team.run(
            _assign,
            self.work,
            self.n_slices,
            update.slice_rows,
            self.rows,
            self.mean,
            self.by_rows,
            self.panels,
            self.labels,
            mode,
            update.piles,
            update.changes,
            self.upper,
            self.lower,
            self.table,
            np.float32(self.slack),
            self.reach,
            self.largest,
            fresh,
            self.shared,
            self.bounds,
            self.measured_in,
            ((self.moved[-1] - self.moved) * (1 + 1e-6)).astype(np.float32),
            self.pairs,
            self.computed,
        )
        self._finish(centers, int(self.computed.sum()) * len(centers))
        return int(update.changes.n.sum())

    def _add_movement(self) -> None:
        """One round more in the record of how far the centers have moved, rounded up."""
        drifts = np.zeros(self.n_groups * self.shared)
        drifts[: len(self.table)] = self.table[:, 0]
        step = drifts.reshape(self.n_groups, self.shared).max(axis=1)
        self.moved = np.vstack([self.moved, (self.moved[-1] + step) * (1 + 1e-15)])
