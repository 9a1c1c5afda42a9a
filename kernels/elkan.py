"""Elkan's algorithm: distances that the triangle inequality proves useless are not computed.

Elkan, C.: Using the triangle inequality to accelerate k-means. ICML 2003.

Every row keeps an upper bound of the distance to its own center and a lower bound for every center.
Rows that the two bounds of :mod:`.hamerly` settle are not looked at.  Of the others only the
distances to the centers that the bounds leave open are computed, one row against four centers at a
time; where these are so many that all distances come cheaper, or two are too close to tell which of
them Lloyd's tile would take for the smaller, the row goes through that tile, and all its bounds are
measured afresh.

Moving n·k bounds in every round would cost more than the distances they save, so they are left
where they are: what is kept for each center is how far it has moved since each round, and a row
remembers in which round its bounds were measured.  They are the upper halves of float32 numbers:
looking at a bound means reading it from memory.

Bounds of all centers pay where centers have come to rest and all distances of a row cost much more
than to look at its bounds.  Until then, and where they never do, this is Hamerly's algorithm.  All
bounds are widened by every rounding on the way, that of the tile included, so that labels, and with
them centers, are the same bits as Lloyd's.
"""

from __future__ import annotations

import numpy as np

from .emit.bounds import (
    BOUND_DOWN,
    BOUND_LANES,
    BOUND_UP,
    LEAST_SQUARE,
    near_centers,
    squares_to_four,
    unsettled_rows,
)
from .emit.cpu import NARROW, TILE_ROWS, WIDE, lanes, round_up
from .emit.masks import changed_labels, lowest_bit
from .emit.packing import pack_listed_rows, scatter_lines
from .emit.search_in_place import FEATURE_ROWS, nearest_of_few
from .emit.search_rows import scores_in_tile
from .hamerly import FEW_FEATURES, MOST_SQUARE, Hamerly
from .machine.compiling import kernel
from .machine.parallel import Team, next_task
from .tiles import Array, Rows, aligned_empty, scratch
from .update import Update

MOST_BYTES = 1 << 30  # of bounds
AHEAD = 16  # rows that the packing looks ahead, at most
# Operations of the float32 tile for a row from which on bounds of all centers pay, as measured, and
# the share of the rows that may still change their cluster then.
DEAR, AT_REST = 3000.0, 0.1


@kernel
def _try_bounds(
    counter, gate, n_tasks, slice_size, most, rows, mean, centers, labels, upper, lower, table,
    slack, reach, down, bounds, measured, fallen, listed, n_listed, winners, afresh, n_afresh,
    computed,
):  # fmt: skip
    """Move two bounds a row; where they do not settle it, look at those of all centers.

    ``bounds`` (n, m) hold since round ``measured`` (n,), -1 for never; ``fallen`` (rounds, m) is
    how far each center has moved since each round.  Where up to `most` centers are left, `winners`
    (n,) receives the nearest; rows that have changed are `listed`, and so are those whose bounds
    must be measured `afresh`, slice by slice.
    """
    X, _, _ = rows
    n_samples, n_features = X.shape
    n_words = (bounds.shape[1] + 63) // 64
    x, squares = scratch(mean, centers.shape[1]), np.empty(most + 4, mean.dtype)
    x[:] = 0
    near, masks = np.empty(64 * n_words + 4, np.int64), np.zeros(n_words, np.uint64)
    lows, up = np.empty(most + 4, np.float32), (2 - down) * BOUND_UP
    falls = np.empty_like(lows)
    bits = falls.view(np.uint32)
    pending = np.empty(slice_size, np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start, stop = task * slice_size, min((task + 1) * slice_size, n_samples)
        n_pending, count, n_open, n_computed = 0, start, start, 0
        for first in range(start, stop, TILE_ROWS):
            mask = unsettled_rows(labels, first, upper, lower, table, slack, reach)
            if first + TILE_ROWS > n_samples:
                mask &= (np.uint64(1) << np.uint64(n_samples - first)) - np.uint64(1)
            while mask != 0:
                pending[n_pending] = first + lowest_bit(mask)
                mask &= mask - np.uint64(1)
                n_pending += 1
        for place in range(n_pending):
            row = pending[place]
            since, own = measured[row], np.int64(labels[row])
            if since >= 0:
                for t in range(n_features):
                    x[t] = X[row, t] - mean[t]
                for i in range(4):
                    near[i] = own
                squares_to_four(x, centers, near, 0, squares)
                n_computed += 1
                u = np.sqrt(np.float64(squares[0])) * up
                wall = u + reach
                limit = (u * u + slack * wall * wall) * BOUND_UP + LEAST_SQUARE
                upper[row] = u * BOUND_UP
                if np.float64(lower[row]) ** 2 * BOUND_DOWN > limit:
                    continue
                wall = np.float32(np.sqrt(limit) * BOUND_UP)
                ahead = pending[min(place + 2, n_pending - 1)]
                rest = near_centers(bounds, row, ahead, fallen, since, wall, masks)
                n_near = 0
                for word in range(n_words):
                    mask = masks[word]
                    while mask != 0:
                        near[n_near] = 64 * word + lowest_bit(mask)
                        mask &= mask - np.uint64(1)
                        n_near += 1
                if n_near <= 1:  # its own center
                    lower[row] = rest * np.float32(BOUND_DOWN)
                    continue
                if n_near <= most:
                    for i in range(n_near, n_near + 3):
                        near[i] = own
                    for i in range(0, n_near, 4):
                        squares_to_four(x, centers, near, i, squares)
                    n_computed += n_near - 1
                    best = 0
                    for i in range(n_near):
                        lows[i] = np.sqrt(squares[i]) * down
                    for i in range(1, n_near):
                        best = i if squares[i] < squares[best] else best
                    second = rest
                    for i in range(n_near):
                        second = lows[i] if i != best and lows[i] < second else second
                        falls[i] = (lows[i] + fallen[since, near[i]]) * np.float32(BOUND_DOWN)
                        bounds[row, near[i]] = bits[i] >> np.uint32(16)
                    u = np.sqrt(np.float64(squares[best])) * up
                    wall = u + reach
                    limit = (u * u + slack * wall * wall) * BOUND_UP + LEAST_SQUARE
                    least = np.float64(second) * BOUND_DOWN
                    if least * least > limit:
                        upper[row], lower[row] = u * BOUND_UP, least
                        if near[best] != own:
                            winners[row] = near[best]
                            listed[count] = row
                            count += 1
                        continue
            listed[count], afresh[n_open] = row, row
            count += 1
            n_open += 1
        n_listed[task], n_afresh[task], computed[task] = count - start, n_open - start, n_computed


@kernel
def _measure_afresh(
    counter, gate, n_tasks, n_clusters, now, rows, mean, panels, few, upper, lower, slack, largest,
    bounds, measured, afresh, winners,
):  # fmt: skip
    """Find the nearest center of the rows `afresh`, and measure all their bounds in round `now`.

    `panels` are the centers by rows, `few` those of Lloyd's tile.  Rows for which `bounds` have no
    room share its last line, and have only the bounds `upper` and `lower`.
    """
    X, _, _ = rows
    _, n_wide, n_narrow, panel, bias = panels
    by_features, few_wide, few_narrow, few_centers, few_bias = few
    n_features, n_afresh = X.shape[1], len(afresh)
    n_kept, n_bounds = len(bounds) - 1, bounds.shape[1]
    packed = scratch(mean, len(mean) * TILE_ROWS)
    scores = scratch(mean, (WIDE * n_wide + NARROW * n_narrow) * TILE_ROWS)
    best, bits = scratch(mean, TILE_ROWS), scratch(mean, TILE_ROWS)
    norms, errors = np.empty_like(best), np.empty_like(best)
    index = np.empty(TILE_ROWS, np.int32)
    lines = scratch(upper, n_bounds * TILE_ROWS)
    for i in range(len(lines)):
        lines[i] = np.inf
    leasts = np.empty(TILE_ROWS, np.float32)
    gathered = np.empty((TILE_ROWS if by_features else 0, n_features), mean.dtype)
    nowhere, rows64 = np.full(TILE_ROWS, -1, np.int32), np.empty(TILE_ROWS + AHEAD, np.int64)
    zero, most = mean[0] * 0, mean[0] * 0 + np.float32(MOST_SQUARE)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        first = task * TILE_ROWS
        for i in range(TILE_ROWS + AHEAD):
            rows64[i] = afresh[min(first + i, n_afresh - 1)]
        if n_features <= FEW_FEATURES:
            for i in range(TILE_ROWS):
                for t in range(n_features):
                    packed[t * TILE_ROWS + i] = X[rows64[i], t] - mean[t]
        else:
            pack_listed_rows(X, rows64, np.int64(0), n_features, mean, packed)
        scores_in_tile(packed, panel, bias, n_wide, n_narrow, n_features, scores)
        for i in range(TILE_ROWS):
            best[i], index[i], norms[i], leasts[i] = scores[i], 0, 0, np.inf
        for j in range(1, n_clusters):
            for i in range(TILE_ROWS):
                score = scores[j * TILE_ROWS + i]
                index[i] = np.int32(j) if score < best[i] else index[i]
                best[i] = score if score < best[i] else best[i]
        for t in range(n_features):
            for i in range(TILE_ROWS):
                value = packed[t * TILE_ROWS + i]
                norms[i] += value * value
        if by_features:
            # Lloyd's labels come from this tile; the bounds allow for the difference.
            for i in range(TILE_ROWS):
                for t in range(n_features):
                    gathered[i, t] = X[rows64[i], t]
            for i in range(0, TILE_ROWS, FEATURE_ROWS):
                nearest_of_few(
                    gathered, gathered, np.int64(0), mean, few_centers, few_bias, few_wide,
                    few_narrow, best, bits, i,
                )  # fmt: skip
            changed_labels(bits, nowhere, np.int64(0), index, np.int64(0))
        for i in range(TILE_ROWS):
            # Score and norm may each be off by some roundings of the largest term.
            errors[i] = slack * (norms[i] + largest)
            best[i] = norms[i] - errors[i]
        for j in range(n_clusters):
            for i in range(TILE_ROWS):
                score = scores[j * TILE_ROWS + i]
                square = best[i] + (score + score)
                square = square if square > zero else zero
                square = square if square < most else most
                low = np.sqrt(np.float32(square)) * np.float32(BOUND_DOWN)
                lines[j * TILE_ROWS + i] = low
                low = low if np.int32(j) != index[i] else np.float32(np.inf)
                leasts[i] = low if low < leasts[i] else leasts[i]
        for i in range(min(TILE_ROWS, n_afresh - first)):
            row, score = rows64[i], scores[index[i] * TILE_ROWS + i]
            above = max(np.float64(norms[i] + score + score), 0.0) + np.float64(errors[i])
            upper[row], lower[row] = np.sqrt(above) * BOUND_UP, leasts[i]
            winners[row] = index[i]
            if row < n_kept:
                measured[row] = now
        for i in range(TILE_ROWS):
            rows64[i] = min(rows64[i], n_kept)
        scatter_lines(lines, n_bounds, rows64, np.int64(0), bounds)


class Elkan(Hamerly):
    """Assignment by Elkan's bounds; parameters and attributes as for :class:`.lloyd.Lloyd`.

    Notes
    -----
    Memory: where bounds of all centers are kept, 2 bytes for every row and center, at most
    :data:`MOST_BYTES` (rows beyond have Hamerly's bounds alone), 16 bytes a row, and 4 bytes a
    center for every round; otherwise that of Hamerly.
    """

    def __init__(
        self, rows: Rows, mean: Array, n_clusters: int, update: Update, team: Team
    ) -> None:
        super().__init__(rows, mean, n_clusters, update, team)
        n_features, size = rows.X.shape[1], lanes(rows.X.dtype)
        self.dear = n_clusters * (n_features + 3) / lanes(np.float32) >= DEAR
        # Vector operations of a distance in the tile with its bound, and of one by itself.
        together, alone = (n_features + 3) / size + 3, 2 * n_features / size + 11
        self.most = int(n_clusters * together / alone)
        self.at_rest = False

    def forget(self) -> None:
        """Forget the bounds: those of the next round are measured afresh."""
        super().forget()
        self.at_rest = False

    def assign_by_bounds(self, centers: Array, mode: int) -> int:
        """Label every row, those that the bounds settle by the bounds; `mode` is the update's."""
        n_samples = self.rows.X.shape[0]
        if self.at_rest:
            n_changed = self._assign_by_all_bounds(centers, mode)
        else:
            n_changed = super().assign_by_bounds(centers, mode)
            if self.dear and n_changed <= AT_REST * n_samples:
                self._keep_all_bounds()
        return n_changed

    def _keep_all_bounds(self) -> None:
        """Make room for the bounds of all centers; none is known yet."""
        n_clusters, (n_samples, n_features) = self.n_clusters, self.rows.X.shape
        n_bounds = round_up(n_clusters, BOUND_LANES)
        n_kept = min(n_samples, MOST_BYTES // (2 * n_bounds))
        self.bounds = np.empty((n_kept + 1, n_bounds), np.uint16)
        self.measured_in = np.full(n_samples, -1, np.int32)
        self.fallen = np.zeros((1, n_bounds), np.float32)
        self._make_lists()
        self.afresh = np.empty_like(self.listed)
        self.n_listed, self.n_afresh = np.zeros((2, self.n_slices), np.int64)
        width = round_up(n_features, lanes(self.mean.dtype))
        self.by_centers = aligned_empty((n_clusters, width), self.mean.dtype)
        self.by_centers[:] = 0
        self.at_rest = True

    def _assign_by_all_bounds(self, centers: Array, mode: int) -> int:
        self._prepare(centers)
        self.by_centers[:, : centers.shape[1]] = centers
        # One round more in the record of how far the centers have moved, rounded up.
        self.fallen[:, : len(centers)] += self.table[:, 0]
        self.fallen *= np.float32(BOUND_UP)
        self.fallen = np.vstack([self.fallen, np.zeros_like(self.fallen[:1])])
        update, size, now = self.update, self.update.slice_rows, len(self.fallen) - 1
        self.team.run(
            _try_bounds,
            self.work,
            self.n_slices,
            size,
            self.most,
            self.rows,
            self.mean,
            self.by_centers,
            self.labels,
            self.upper,
            self.lower,
            self.table,
            np.float32(self.slack),
            self.reach,
            self.down,
            self.bounds,
            self.measured_in,
            self.fallen,
            self.listed,
            self.n_listed,
            self.winners,
            self.afresh,
            self.n_afresh,
            self.computed,
        )
        self._measure_afresh(now)
        self._move_listed(self.n_listed, mode)
        self.n_distances += int(self.computed.sum()) + int(self.n_afresh.sum()) * len(centers)
        self._finish(centers)
        return int(update.changes.n.sum())

    def _measure_afresh(self, now: int) -> None:
        size = self.update.slice_rows
        parts = [self.afresh[i * size : i * size + n] for i, n in enumerate(self.n_afresh)]
        afresh = np.concatenate(parts)
        n_clusters = self.n_clusters
        self.team.run(
            _measure_afresh,
            float(len(afresh)) * self.rows.X.shape[1] * n_clusters,
            -(-len(afresh) // TILE_ROWS),
            n_clusters,
            now,
            self.rows,
            self.mean,
            self.by_rows,
            self.panels,
            self.upper,
            self.lower,
            np.float32(self.slack),
            self.largest,
            self.bounds,
            self.measured_in,
            afresh,
            self.winners,
        )
