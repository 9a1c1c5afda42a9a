"""Hamerly's algorithm with compaction: rows that two bounds settle are not even read.

Hamerly, G.: Making k-means even faster. SDM 2010.

Every row keeps an upper bound of the distance to its own center and one lower bound for all the
others, moved along with the centers.  Rows that the bounds do not settle are gathered, 64 at a
time, into the tile that Lloyd's algorithm uses, in the form that also finds the second nearest
center.  How far a lower bound has to fall depends on the cluster: centers so far away that they
can not matter do not count (Ryšavý, P., Hamerly, G.: Geometric methods to accelerate k-means
algorithms. SDM 2016).

The distances of float64 data are screened in float32, as Lloyd's are; see :mod:`.screening`.  A row
in doubt has a label from float64 and bounds from float32: no center is nearer than the nearest.

Bounds are float32 whatever the data, 8 bytes a row, and are widened by every rounding on the way,
that of the tile included: labels, and with them centers, are the same bits as Lloyd's.  A row with
bounds u and l keeps its label where ``l² > u² + slack · (u + reach)²``, which is more than the
tile can be wrong by.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .emit.bounds import BOUND_DOWN, BOUND_UP, unsettled_rows
from .emit.cpu import ALL_ROWS, NARROW, TILE_ROWS, WIDE, lanes, round_up
from .emit.masks import below, changed_labels, list_changes, lowest_bit, unlabelled_rows
from .emit.packing import pack_listed_rows, pack_rows
from .emit.screens import doubtful_rows
from .emit.search_in_place import FEATURE_ROWS, nearest_of_few
from .emit.search_rows import distances_in_tile, nearest_in_row, nearest_two_in_tile
from .emit.sums import add_rows, move_rows
from .lloyd import Lloyd
from .machine.compiling import kernel
from .machine.parallel import Team, next_task
from .screening import LEAST_SCORE, fill_screen
from .tiles import (
    Array,
    Rows,
    aligned_empty,
    fill_panels,
    make_panels,
    make_rows,
    scratch,
)
from .update import (
    LABELS_ONLY,
    LIST_ROOM,
    LISTED,
    PILES,
    RECORD,
    Update,
    merge_pile,
    record_changes,
)

FEW_FEATURES = 4  # up to here rows are gathered one number at a time
MOSTLY = 0.7  # share of a slice from which on all of its rows are read, without a list
# The lower bounds of a cluster fall by the largest movement among the centers within so many
# radii of it, or so many distances to its nearest one.
RADII, GAPS = 2.3, 2.0
# Rounds after which radii are measured; until then they grow from nothing as the centers move.
RADIUS_ROUNDS = 16
MOST_GROUPS = 64  # of slices, for each of which something is kept of each cluster
MOST_SQUARE = 1e38  # of a distance that is used as a bound


@kernel
def _assign(
    counter, gate, n_tasks, slice_size, size, rows, mean, panels, few, screen, asks, labels, mode,
    piles, changes, upper, lower, table, slack, reach, largest, fresh, computed, doubted,
):  # fmt: skip
    """Move the bounds slice by slice; label the rows that they do not settle.

    With `fresh`, all rows: there are no bounds yet.  `panels` are the centers by rows; `few` the
    same by features, where that is Lloyd's tile.  Where it `asks` the `screen`, None for float32
    data, `doubted` rows of a slice had to be looked at again.
    """
    X, tail, row_weights = rows
    _, n_wide, n_narrow, centers, bias = panels
    by_features, few_wide, few_narrow, few_centers, few_bias = few
    records, touched, arrivals = piles
    n_changes, changed_rows, changed_sources = changes
    n_samples, n_features = X.shape
    packed = scratch(mean, len(mean) * TILE_ROWS)
    best, index = scratch(mean, TILE_ROWS), scratch(mean, TILE_ROWS)
    second, norms = scratch(mean, TILE_ROWS), scratch(mean, TILE_ROWS)
    few_best = scratch(mean, TILE_ROWS)
    gathered = np.empty((TILE_ROWS if by_features else 0, n_features), mean.dtype)
    winners, old = np.empty(TILE_ROWS, np.int32), np.empty(TILE_ROWS, np.int32)
    movers, sources = np.empty(LIST_ROOM, np.int64), np.empty(LIST_ROOM, np.int32)
    # The packing looks one vector ahead.
    listed = np.zeros(slice_size + TILE_ROWS + size, np.int64)
    if screen is not None:
        coarse_centers, coarse_bias, _, coarse_slack = screen
        shrunk = scratch(upper, len(mean) * TILE_ROWS)
        coarse_best, coarse_index = scratch(upper, TILE_ROWS), scratch(upper, TILE_ROWS)
        coarse_second, coarse_norms = scratch(upper, TILE_ROWS), scratch(upper, TILE_ROWS)
        bits, coarse_bits = index.view(np.int64), coarse_index.view(np.int32)
        x = scratch(mean, len(mean))
    highs, lows = np.empty(TILE_ROWS, np.float32), np.empty(TILE_ROWS, np.float32)
    errors = np.empty(TILE_ROWS)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start, stop = task * slice_size, min((task + 1) * slice_size, n_samples)
        count = 0
        if not fresh:
            for first in range(start, stop, TILE_ROWS):
                mask = unsettled_rows(labels, first, upper, lower, table, slack, reach)
                if first + TILE_ROWS > n_samples:
                    mask &= (np.uint64(1) << np.uint64(n_samples - first)) - np.uint64(1)
                while mask != 0:
                    listed[count] = first + lowest_bit(mask)
                    mask &= mask - np.uint64(1)
                    count += 1
        dense = fresh or count > MOSTLY * (stop - start)
        if dense:
            count = stop - start
        elif count:
            for i in range(count, count + TILE_ROWS + size):
                listed[i] = listed[count - 1]
        n_changed, n_listed, n_doubted = np.int64(0), np.int64(0), np.int64(0)
        for place in range(0, count, TILE_ROWS):
            filled = min(TILE_ROWS, count - place)
            first = start + place
            if screen is not None and asks:
                if dense:
                    pack_rows(X, tail, first, mean, shrunk)
                elif n_features <= FEW_FEATURES:
                    for i in range(TILE_ROWS):
                        for t in range(n_features):
                            shrunk[t * TILE_ROWS + i] = X[listed[place + i], t] - mean[t]
                else:
                    pack_listed_rows(X, listed, place, n_features, mean, shrunk)
                nearest_two_in_tile(
                    shrunk, coarse_centers, coarse_bias, n_wide, n_narrow, n_features, coarse_best,
                    coarse_index, coarse_second,
                )  # fmt: skip
                doubt = doubtful_rows(
                    shrunk, n_features, coarse_best, coarse_second, coarse_slack, LEAST_SCORE,
                    coarse_norms,
                )  # fmt: skip
                if filled < TILE_ROWS:
                    doubt &= (np.uint64(1) << np.uint64(filled)) - np.uint64(1)
                while doubt != 0:
                    bit = lowest_bit(doubt)
                    doubt &= doubt - np.uint64(1)
                    row = first + bit if dense else listed[place + bit]
                    for t in range(n_features):
                        x[t] = X[row, t] - mean[t]
                    coarse_bits[bit] = nearest_in_row(
                        x, centers, bias, n_wide, n_narrow, n_features
                    )
                    coarse_second[bit] = coarse_best[bit]
                    n_doubted += 1
                for i in range(TILE_ROWS):
                    best[i], second[i] = coarse_best[i], coarse_second[i]
                    norms[i], bits[i] = coarse_norms[i], coarse_bits[i]
                    error = coarse_slack * (4.5 * norms[i] + 4 * second[i]) + LEAST_SCORE
                    errors[i] = 2 * error + coarse_slack * norms[i]  # of the norm, too
                    if not errors[i] < np.inf:
                        best[i], second[i], norms[i], errors[i] = 0, 0, 0, np.inf
            else:
                if dense:
                    pack_rows(X, tail, first, mean, packed)
                elif n_features <= FEW_FEATURES:
                    for i in range(TILE_ROWS):
                        for t in range(n_features):
                            packed[t * TILE_ROWS + i] = X[listed[place + i], t] - mean[t]
                else:
                    pack_listed_rows(X, listed, place, n_features, mean, packed)
                nearest_two_in_tile(
                    packed, centers, bias, n_wide, n_narrow, n_features, best, index, second
                )
                norms[:] = 0
                for t in range(n_features):
                    for i in range(TILE_ROWS):
                        value = packed[t * TILE_ROWS + i]
                        norms[i] += value * value
                for i in range(TILE_ROWS):
                    # Score and norm may each be off by some roundings of the largest term.
                    errors[i] = slack * np.float64(norms[i] + largest)
            if by_features:
                # Lloyd's labels come from this tile; the bounds allow for the difference.
                if not dense:
                    for i in range(TILE_ROWS):
                        for t in range(n_features):
                            gathered[i, t] = X[listed[place + i], t]
                for i in range(0, TILE_ROWS, FEATURE_ROWS):
                    if dense:
                        nearest_of_few(
                            X, tail, first, mean, few_centers, few_bias, few_wide, few_narrow,
                            few_best, index, i,
                        )  # fmt: skip
                    else:
                        nearest_of_few(
                            gathered, gathered, np.int64(0), mean, few_centers, few_bias, few_wide,
                            few_narrow, few_best, index, i,
                        )  # fmt: skip
            for i in range(TILE_ROWS):
                above = max(np.float64(norms[i] + best[i] + best[i]), 0.0) + errors[i]
                below = max(np.float64(norms[i] + second[i] + second[i]) - errors[i], 0.0)
                highs[i] = np.sqrt(np.float32(above)) * np.float32(BOUND_UP)
                lows[i] = np.sqrt(np.float32(min(below, MOST_SQUARE))) * np.float32(BOUND_DOWN)
            if dense:
                mask = changed_labels(index, labels, first, winners, np.int64(0))
                if filled < TILE_ROWS:
                    mask &= (np.uint64(1) << np.uint64(filled)) - np.uint64(1)
                for i in range(TILE_ROWS):
                    upper[first + i] = highs[i]
                    lower[first + i] = lows[i]
                # Where no row of a tile has had a label there is nothing to list.
                if mask != 0 and mode == PILES and unlabelled_rows(labels, first) == ALL_ROWS:
                    for i in range(filled):
                        labels[first + i] = winners[i]
                    add_rows(X, mean, row_weights, first, filled, labels, records, touched, task)
                    n_changed += filled
                elif mask != 0:
                    n_listed = list_changes(
                        mask, first, winners, np.int64(0), labels, movers, sources, n_listed
                    )
            else:
                for i in range(filled):
                    row = listed[place + i]
                    old[i] = labels[row]
                    upper[row] = highs[i]
                    lower[row] = lows[i]
                mask = changed_labels(index, old, np.int64(0), winners, np.int64(0))
                if filled < TILE_ROWS:
                    mask &= (np.uint64(1) << np.uint64(filled)) - np.uint64(1)
                while mask != 0:
                    bit = lowest_bit(mask)
                    mask &= mask - np.uint64(1)
                    movers[n_listed], sources[n_listed] = listed[place + bit], old[bit]
                    labels[listed[place + bit]] = winners[bit]
                    n_listed += 1
            if n_listed >= LISTED or (n_listed and place + TILE_ROWS >= count):
                if mode == PILES:
                    move_rows(
                        X, mean, row_weights, movers, sources, n_listed, labels, records, touched,
                        task,
                    )  # fmt: skip
                elif mode == RECORD:
                    record_changes(
                        movers, sources, n_listed, changed_rows, changed_sources, start + n_changed
                    )
                n_changed += n_listed
                n_listed = np.int64(0)
        n_changes[task] = n_changed
        computed[task], doubted[task] = count, n_doubted
        if mode == PILES:
            merge_pile(task, n_tasks, records, touched, arrivals)


@kernel
def _measure(counter, gate, n_tasks, slice_size, n_samples, labels, upper, largest, sums, counts):
    """Per slice and cluster: largest upper bound; where `sums` has room, their sum and number."""
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        largest[task, :] = 0
        start, stop = task * slice_size, min((task + 1) * slice_size, n_samples)
        for row in range(start, stop):
            own = np.int64(labels[row])
            largest[task, own] = max(largest[task, own], upper[row])
        if len(sums):
            sums[task, :] = 0
            counts[task, :] = 0
            for row in range(start, stop):
                own = np.int64(labels[row])
                sums[task, own] += upper[row]
                counts[task, own] += 1


@kernel
def _tabulate(
    counter, gate, n_tasks, rows, zeros, panels, drifts, radii, down, table, levels,
):  # fmt: skip
    """What the bounds of each cluster need to know of the other centers, 64 clusters a task.

    `rows` are the centers as rows, `panels` as centers; `drifts` (k,) rounded up.  ``radii``
    (levels, k), growing, say up to which distance other centers are neighbours; the last level is
    extended to ``GAPS`` distances to the nearest center, and makes `table` (k, 4), written as
    :func:`unsettled_rows` reads it.  For each level, `levels` receives the neighbours, the
    own center among them, in order, their number (-1 for too many), and a lower bound of the
    distances of the centers left out.
    """
    X, tail, _ = rows
    _, n_wide, n_narrow, centers, _ = panels
    neighbours, n_neighbours, outside = levels
    n_levels, n_clusters, most = neighbours.shape
    n_features = X.shape[1]
    packed = scratch(zeros, len(zeros) * TILE_ROWS)
    squares = scratch(zeros, (WIDE * n_wide + NARROW * n_narrow) * TILE_ROWS)
    limits, nearest = scratch(zeros, TILE_ROWS), scratch(zeros, TILE_ROWS)
    left_out, fall = scratch(zeros, TILE_ROWS), np.empty(TILE_ROWS)
    lengths = np.empty(TILE_ROWS, np.int64)
    infinity = zeros[0] + np.inf
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        first = task * TILE_ROWS
        count = min(TILE_ROWS, n_clusters - first)
        pack_rows(X, tail, first, zeros, packed)
        distances_in_tile(packed, centers, n_wide, n_narrow, n_features, squares)
        for i in range(count):
            squares[(first + i) * TILE_ROWS + i] = infinity  # the own center is no rival
        for i in range(TILE_ROWS):
            nearest[i] = infinity
        for j in range(n_clusters):
            for i in range(TILE_ROWS):
                value = squares[j * TILE_ROWS + i]
                nearest[i] = value if value < nearest[i] else nearest[i]
        for level in range(n_levels):
            last = level == n_levels - 1
            for i in range(TILE_ROWS):
                radius = radii[level, min(first + i, n_clusters - 1)]
                gap = GAPS * GAPS * np.float64(nearest[i]) if last else 0.0
                limits[i] = max(radius * radius, gap)
                left_out[i] = infinity
                lengths[i] = 0
                fall[i] = 0.0
            for j in range(n_clusters):
                for i in range(TILE_ROWS):
                    value = squares[j * TILE_ROWS + i]
                    near = value < limits[i]
                    low = infinity if near else value
                    left_out[i] = low if low < left_out[i] else left_out[i]
                drift = drifts[j]
                if last and drift > 0.0:
                    for i in range(TILE_ROWS):
                        high = drift if squares[j * TILE_ROWS + i] < limits[i] else 0.0
                        fall[i] = high if high > fall[i] else fall[i]
                if most:
                    mask = below(squares, j * TILE_ROWS, limits)
                    if first <= j < first + TILE_ROWS:
                        mask |= np.uint64(1) << np.uint64(j - first)
                    while mask != 0:
                        i = lowest_bit(mask)
                        mask &= mask - np.uint64(1)
                        if lengths[i] < most and i < count:
                            neighbours[level, first + i, lengths[i]] = j
                        lengths[i] += 1
            for i in range(count):
                own = first + i
                outside[level, own] = np.sqrt(np.float64(left_out[i])) * down
                n_neighbours[level, own] = lengths[i] if lengths[i] <= most else -1
                if last:
                    table[own, 0] = drifts[own] * BOUND_UP
                    table[own, 1] = fall[i] * BOUND_UP
                    table[own, 2] = 0.5 * np.sqrt(np.float64(nearest[i])) * down
                    table[own, 3] = outside[level, own]


class Levels(NamedTuple):
    """Neighbours of every center, by growing radii: (levels, k, most), (levels, k) twice."""

    neighbours: Array
    n_neighbours: Array
    outside: Array


@kernel
def _move_listed(
    counter, gate, n_tasks, n_together, slice_size, rows, mean, labels, mode, piles, changes,
    listed, n_listed, winners,
):  # fmt: skip
    """Account for the listed rows that have changed, in row order; `n_together` slices a task."""
    X, _, row_weights = rows
    records, touched, arrivals = piles
    n_changes, changed_rows, changed_sources = changes
    n_slices = len(n_changes)
    movers, sources = np.empty(LISTED, np.int64), np.empty(LISTED, np.int32)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        place = task * n_together * slice_size
        end = place + n_listed[task]
        for number in range(task * n_together, min((task + 1) * n_together, n_slices)):
            start, stop = number * slice_size, (number + 1) * slice_size
            n_changed, count = np.int64(0), np.int64(0)
            while place < end and listed[place] < stop:
                row = np.int64(listed[place])
                place += 1
                if winners[row] != labels[row]:
                    movers[count], sources[count] = row, labels[row]
                    labels[row] = winners[row]
                    count += 1
                if count == LISTED or (count and (place == end or listed[place] >= stop)):
                    if mode == PILES:
                        move_rows(
                            X, mean, row_weights, movers, sources, count, labels, records, touched,
                            number,
                        )  # fmt: skip
                    elif mode == RECORD:
                        record_changes(
                            movers, sources, count, changed_rows, changed_sources, start + n_changed
                        )
                    n_changed += count
                    count = np.int64(0)
            n_changes[number] = n_changed
            if mode == PILES:
                merge_pile(number, n_slices, records, touched, arrivals)


class Hamerly(Lloyd):
    """Assignment by Hamerly's bounds; parameters and attributes as for :class:`Lloyd`.

    Notes
    -----
    Memory: 8 bytes a row, and 4 bytes for each cluster in each of up to 64 groups of slices; for
    float64 data, the centers once more in float32.
    """

    needs_typical = False  # whether :meth:`_radii` looks at the typical distances

    def __init__(
        self, rows: Rows, mean: Array, n_clusters: int, update: Update, team: Team
    ) -> None:
        super().__init__(rows, mean, n_clusters, update, team)
        self.n_clusters = n_clusters
        self.zeros = np.zeros_like(mean)
        n_features, epsilon = rows.X.shape[1], float(np.finfo(rows.X.dtype).eps)
        self.slack = 4 * (n_features + 8) * epsilon
        self.down = 1 - 2 * (n_features + 8) * epsilon - 1e-6
        self.before: Array | None = None
        self.rounds = 0
        self.largest, self.reach = 0.0, np.float32(0)
        self.equipped = False
        # What is kept of each cluster and of each part of the rows is kept for groups of slices.
        self.n_together = -(-self.n_slices // MOST_GROUPS)
        self.n_groups = -(-self.n_slices // self.n_together)
        self.group_rows = self.n_together * update.slice_rows

    def _equip(self) -> None:
        """Make room for the bounds: when they are first asked for, since little work needs none."""
        n_clusters, n_features, dtype = self.n_clusters, self.rows.X.shape[1], self.rows.X.dtype
        by_rows = make_panels(n_clusters, n_features, dtype, by_features=False)
        self.by_rows = by_rows if self.panels.by_features else self.panels
        self.upper = aligned_empty(len(self.labels), np.float32)
        self.lower = aligned_empty(len(self.labels), np.float32)
        self.table = aligned_empty((n_clusters, 4), np.float32)
        largest = np.empty((self.n_groups, n_clusters), np.float32)
        sums, counts = np.empty((2, self.n_groups if self.needs_typical else 0, n_clusters))
        self.measured = largest, sums, counts
        self.radii = np.zeros((1, n_clusters))
        self.computed = np.zeros(self.n_slices, np.int64)
        self.levels = self._make_levels(1, n_clusters, 0)
        self.equipped = True

    @property
    def iterates(self) -> bool:
        """As Lloyd's, where bounds are not looked at."""
        return self.is_small

    def reset(self) -> None:
        """Forget labels and bounds."""
        super().reset()
        self.forget()

    def forget(self) -> None:
        """Forget the bounds: those of the next round are measured afresh."""
        self.before = None
        self.screens = self.pays_to_screen

    def assign(self, centers: Array, *, account: bool = True) -> int:
        """Label every row with its nearest center; see :meth:`Lloyd.assign`."""
        if self.is_small:  # what is done before bounds are looked at
            return super().assign(centers, account=account)
        return self.assign_by_bounds(centers, self.update.mode if account else LABELS_ONLY)

    def assign_by_bounds(self, centers: Array, mode: int) -> int:
        """Label every row, those that the bounds settle by the bounds; `mode` is the update's."""
        fresh = self.before is None
        self._prepare(centers)
        asks = self.screens and fill_screen(self.by_rows, self.screen)
        update = self.update
        self.team.run(
            _assign,
            self.work,
            self.n_slices,
            update.slice_rows,
            lanes(np.float32),
            self.rows,
            self.mean,
            self.by_rows,
            self.panels,
            self.screen,
            asks,
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
            self.computed,
            self.doubted,
        )
        self._count_distances(int(self.computed.sum()), int(self.doubted.sum()))
        self._finish(centers)
        return int(update.changes.n.sum())

    @staticmethod
    def _make_levels(n_levels: int, n_clusters: int, most: int) -> Levels:
        return Levels(
            np.zeros((n_levels, n_clusters, most), np.int32),
            np.zeros((n_levels, n_clusters), np.int32),
            np.zeros((n_levels, n_clusters)),
        )

    def _due(self) -> bool:
        """Whether the radii are to be measured."""
        return self.rounds % RADIUS_ROUNDS == 0

    def _radii(self, largest: Array, typical: Array) -> Array:
        """Radii of the neighbourhoods (levels, k), given those of the clusters."""
        return RADII * largest[None]

    def _prepare(self, centers: Array) -> None:
        """Pack the centers; tell the bounds how they have moved."""
        if not self.equipped:
            self._equip()
        fill_panels(centers, self.panels)
        if self.by_rows is not self.panels:
            fill_panels(centers, self.by_rows)
        self.largest = float(np.einsum("ij,ij->i", centers, centers, dtype=np.float64).max())
        reach = 2 * np.sqrt(self.largest) * (1 + 1e-6)
        # An infinite bound settles nothing.
        self.reach = np.float32(reach if reach < MOST_SQUARE else np.inf)
        if self.before is not None:
            self._tabulate(centers)

    def _make_lists(self) -> None:
        """Room for the numbers of rows that are to be looked at, and for their centers."""
        n_padded = self.n_slices * self.update.slice_rows
        self.listed = np.empty(n_padded, np.int64 if n_padded > 2**31 - 1 else np.int32)
        self.winners = np.empty(n_padded, np.int32)

    def _move_listed(self, n_listed: Array, mode: int, n_together: int = 1) -> None:
        """Account for rows that are listed, so many for each `n_together` slices, and changed."""
        update = self.update
        self.team.run(
            _move_listed,
            float(n_listed.sum()) * (self.rows.X.shape[1] + 4),
            len(n_listed),
            n_together,
            update.slice_rows,
            self.rows,
            self.mean,
            self.labels,
            mode,
            update.piles,
            update.changes,
            self.listed,
            n_listed,
            self.winners,
        )

    def _finish(self, centers: Array) -> None:
        """Remember the centers, and measure the clusters from time to time."""
        self.rounds = 1 if self.before is None else self.rounds + 1
        self.before = centers.copy()
        if self._due():
            n_samples = self.rows.X.shape[0]
            self.team.run(
                _measure,
                4.0 * n_samples,
                self.n_groups,
                self.group_rows,
                n_samples,
                self.labels,
                self.upper,
                *self.measured,
            )
            largest, sums, counts = self.measured
            typical = sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
            self.radii = self._radii(largest.max(axis=0).astype(np.float64), typical)

    def _tabulate(self, centers: Array) -> None:
        """Bring the table up to date with how the centers have moved."""
        assert self.before is not None
        k, d = centers.shape
        moved = np.subtract(centers, self.before, dtype=np.float64)
        drifts = np.sqrt(np.einsum("ij,ij->i", moved, moved)) * (1 + 1e-6)
        self.radii = self.radii + RADII * drifts
        self.team.run(
            _tabulate,
            float(k) * k * (d + 8),
            round_up(k, TILE_ROWS) // TILE_ROWS,
            make_rows(np.ascontiguousarray(centers)),
            self.zeros,
            self.by_rows,
            drifts,
            self.radii,
            self.down,
            self.table,
            self.levels,
        )
