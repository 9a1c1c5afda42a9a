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

from .emit.bounds import (
    BOUND_UP,
    MOST_SQUARE,
    bounds_of_coarse_tile,
    bounds_of_tile,
    keep_bounds,
)
from .emit.changes import (
    account,
    add_unlabelled,
    differing_labels,
    list_changed,
    winners_of,
)
from .emit.cpu import ALL_ROWS, NARROW, TILE_ROWS, WIDE, lanes, round_up
from .emit.labelling import (
    find_two,
    find_two_coarsely,
    gather,
    nearest_in_place,
    settle_doubt_among,
)
from .emit.masks import list_changes, unlabelled_rows
from .emit.packing import pack_rows
from .emit.search_rows import distances_in_tile
from .lloyd import Lloyd
from .machine.compiling import kernel
from .machine.parallel import Team, next_task
from .records import LABELS_ONLY, PILES, Array, Bounds, Panels, Rows
from .rounds import LIST_ROOM, LISTED, list_unsettled, rows_below, tile_on
from .screening import fill_screen
from .tiles import aligned_empty, fill_panels, make_panels, make_rows, scratch
from .update import Update, merge_pile

MOSTLY = 0.7  # share of a slice from which on all of its rows are read, without a list
# The lower bounds of a cluster fall by the largest movement among the centers within so many
# radii of it, or so many distances to its nearest one.
RADII, GAPS = 2.3, 2.0
# Rounds after which radii are measured; until then they grow from nothing as the centers move.
RADIUS_ROUNDS = 16
MOST_GROUPS = 64  # of slices, for each of which something is kept of each cluster
# A list of rows is followed by a tile, and one vector more that the packing looks ahead.
LIST_END = TILE_ROWS + lanes(np.float32)


class Counts(NamedTuple):
    """Per slice: rows whose distances were computed, and rows that float64 had to decide."""

    computed: Array
    doubted: Array


class Centers(NamedTuple):
    """Centers for the tile by rows, and for Lloyd's tile."""

    by_rows: Panels
    panels: Panels


@kernel
def _assign(
    counter, gate, n_tasks, fresh, asks, mode, job, centers, screen, bounds, counts,
):  # fmt: skip
    """Move the bounds slice by slice; label the rows that they do not settle.

    With `fresh`, all rows: there are no bounds yet.  The `screen`, None for float32 data, is looked
    at where the kernel `asks` it.
    """
    slice_size, rows, mean, labels, _, _ = job
    by_rows, panels = centers
    n_samples, n_features = rows.X.shape
    by_features, mode_of_piles = panels.by_features, mode == PILES
    packed = scratch(mean, len(mean) * TILE_ROWS)
    tile = tile_on(packed, packed)
    index = tile.index
    if screen is not None:
        shrunk = scratch(bounds.upper, len(mean) * TILE_ROWS)
        coarse = tile_on(shrunk, packed)
        coarse_index = coarse.index
    gathered = np.empty((TILE_ROWS if by_features else 0, n_features), mean.dtype)
    winners, highs = np.empty(TILE_ROWS, np.int32), np.empty(TILE_ROWS, np.float32)
    movers, sources = np.empty(LIST_ROOM, np.int64), np.empty(LIST_ROOM, np.int32)
    lows, listed = np.empty(TILE_ROWS, np.float32), np.zeros(slice_size + LIST_END, np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start, stop = task * slice_size, min((task + 1) * slice_size, n_samples)
        count = np.int64(0)
        if not fresh:
            count = list_unsettled(start, stop, labels, bounds, listed)
        dense = fresh or count > MOSTLY * (stop - start)
        if dense:
            count = stop - start
        elif count:
            for i in range(count, count + LIST_END):
                listed[i] = listed[count - 1]
        n_changed, n_listed, n_doubted = np.int64(0), np.int64(0), np.int64(0)
        for place in range(0, count, TILE_ROWS):
            first, filled = start + place, min(TILE_ROWS, count - place)
            valid = rows_below(filled)
            if screen is not None and asks:
                gather(rows, mean, dense, first, listed, place, shrunk)
                doubt = find_two_coarsely(coarse, by_rows, screen, n_features) & valid
                n_doubted += settle_doubt_among(
                    doubt, rows, mean, dense, first, listed, place, by_rows, coarse
                )
                bounds_of_coarse_tile(coarse, screen, highs, lows)
                winners_of(coarse_index, winners)
            else:
                gather(rows, mean, dense, first, listed, place, packed)
                find_two(tile, by_rows, n_features)
                bounds_of_tile(tile, n_features, bounds, highs, lows)
                if by_features:  # Lloyd's labels come from this tile; the bounds allow for it
                    nearest_in_place(
                        rows, mean, dense, first, listed, place, panels, gathered, tile
                    )
                winners_of(index, winners)
            keep_bounds(highs, lows, bounds, dense, first, listed, place, filled)
            if not dense:
                n_listed = list_changed(
                    winners, listed, place, filled, labels, movers, sources, n_listed
                )
            else:
                mask = differing_labels(winners, labels, first) & valid
                # Where no row of a tile has had a label there is nothing to list.
                if mask != 0 and mode_of_piles and unlabelled_rows(labels, first) == ALL_ROWS:
                    n_changed += add_unlabelled(job, first, filled, winners, np.int64(0), task)
                elif mask != 0:
                    n_listed = list_changes(
                        mask, first, winners, np.int64(0), labels, movers, sources, n_listed
                    )
            if n_listed >= LISTED or (n_listed and place + TILE_ROWS >= count):
                start_of_list = start + n_changed
                n_changed += account(mode, job, movers, sources, n_listed, start_of_list, task)
                n_listed = np.int64(0)
        job.changes.n[task] = n_changed
        counts.computed[task], counts.doubted[task] = count, n_doubted
        if mode_of_piles:
            merge_pile(task, n_tasks, job.piles)


@kernel
def _measure(counter, gate, n_tasks, slice_size, n_samples, labels, upper, largest):
    """Per slice and cluster: the largest upper bound."""
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        largest[task, :] = 0
        start, stop = task * slice_size, min((task + 1) * slice_size, n_samples)
        for row in range(start, stop):
            own = np.int64(labels[row])
            largest[task, own] = max(largest[task, own], upper[row])


class Moved(NamedTuple):
    """How far each center has moved, rounded up, and up to which distance others matter to it."""

    drifts: Array
    radii: Array
    down: float  # a distance of two centers times this is rounded down


@kernel
def _tabulate(counter, gate, n_tasks, rows, zeros, panels, moved, table):
    """What the bounds of each cluster need to know of the other centers, 64 clusters a task.

    `rows` are the centers as rows, `panels` as centers.  A radius is extended to ``GAPS`` distances
    to the nearest center; `table` (k, 4) is written as :func:`unsettled_rows` reads it.
    """
    X, tail, _ = rows
    _, n_wide, n_narrow, centers, _ = panels
    drifts, radii, down = moved
    n_clusters, n_features = X.shape
    packed = scratch(zeros, len(zeros) * TILE_ROWS)
    squares = scratch(zeros, (WIDE * n_wide + NARROW * n_narrow) * TILE_ROWS)
    limits, nearest = scratch(zeros, TILE_ROWS), scratch(zeros, TILE_ROWS)
    left_out, fall = scratch(zeros, TILE_ROWS), np.empty(TILE_ROWS)
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
        for i in range(TILE_ROWS):
            radius = radii[min(first + i, n_clusters - 1)]
            limits[i] = max(radius * radius, GAPS * GAPS * np.float64(nearest[i]))
            left_out[i] = infinity
            fall[i] = 0.0
        for j in range(n_clusters):
            for i in range(TILE_ROWS):
                value = squares[j * TILE_ROWS + i]
                low = infinity if value < limits[i] else value
                left_out[i] = low if low < left_out[i] else left_out[i]
            drift = drifts[j]
            if drift > 0.0:
                for i in range(TILE_ROWS):
                    high = drift if squares[j * TILE_ROWS + i] < limits[i] else 0.0
                    fall[i] = high if high > fall[i] else fall[i]
        for i in range(count):
            own = first + i
            table[own, 0] = drifts[own] * BOUND_UP
            table[own, 1] = fall[i] * BOUND_UP
            table[own, 2] = 0.5 * np.sqrt(np.float64(nearest[i])) * down
            table[own, 3] = np.sqrt(np.float64(left_out[i])) * down


class Hamerly(Lloyd):
    """Assignment by Hamerly's bounds; parameters and attributes as for :class:`Lloyd`.

    Notes
    -----
    Memory: 8 bytes a row, and 4 bytes for each cluster in each of up to 64 groups of slices; for
    float64 data, the centers once more in float32.
    """

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
        n_together = -(-self.n_slices // MOST_GROUPS)
        self.n_groups = -(-self.n_slices // n_together)
        self.group_rows = n_together * update.slice_rows

    def _equip(self) -> None:
        """Make room for the bounds: when they are first asked for, since little work needs none."""
        n_clusters, n_features, dtype = self.n_clusters, self.rows.X.shape[1], self.rows.X.dtype
        by_rows = make_panels(n_clusters, n_features, dtype, by_features=False)
        self.by_rows = by_rows if self.panels.by_features else self.panels
        self.upper = aligned_empty(len(self.labels), np.float32)
        self.lower = aligned_empty(len(self.labels), np.float32)
        self.table = aligned_empty((n_clusters, 4), np.float32)
        self.measured = np.empty((self.n_groups, n_clusters), np.float32)
        self.radii = np.zeros(n_clusters)
        self.computed = np.zeros(self.n_slices, np.int64)
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
        self.team.run(
            _assign,
            self.work,
            self.n_slices,
            fresh,
            asks,
            mode,
            self.job(),
            Centers(self.by_rows, self.panels),
            self.screen,
            self.bounds(),
            Counts(self.computed, self.doubted),
        )
        self._count_distances(int(self.computed.sum()), int(self.doubted.sum()))
        self._finish(centers)
        return int(self.update.changes.n.sum())

    def bounds(self) -> Bounds:
        """The bounds as they are now."""
        slack = np.float32(self.slack)
        return Bounds(self.upper, self.lower, self.table, slack, self.reach, self.largest)

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

    def _finish(self, centers: Array) -> None:
        """Remember the centers, and measure the clusters from time to time."""
        self.rounds = 1 if self.before is None else self.rounds + 1
        self.before = centers.copy()
        if self.rounds % RADIUS_ROUNDS == 0:
            n_samples = self.rows.X.shape[0]
            self.team.run(
                _measure,
                4.0 * n_samples,
                self.n_groups,
                self.group_rows,
                n_samples,
                self.labels,
                self.upper,
                self.measured,
            )
            self.radii = RADII * self.measured.max(axis=0).astype(np.float64)

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
            Moved(drifts, self.radii, self.down),
            self.table,
        )
