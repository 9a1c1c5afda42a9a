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

Iterations follow one another in compiled code, as Lloyd's do; see :func:`.lloyd.iterate`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
from .emit.cpu import ALL_ROWS, NARROW, TILE_ROWS, WIDE, lanes
from .emit.labelling import (
    find_two,
    find_two_coarsely,
    gather,
    nearest_in_place,
    settle_doubt_among,
)
from .emit.masks import list_changes, unlabelled_rows
from .emit.search_rows import distances_in_tile
from .lloyd import Limits, Lloyd, Sums, asks_first, copy_centers, move_centers, pack
from .machine.calling import call, offer_tasks, reference
from .machine.compiling import helper, kernel
from .machine.loops import Launch, launch_for, offer
from .machine.parallel import LOOP_WORK, Team, next_task
from .records import LABELS_ONLY, PILES, Array, Bounds, Job, Panels, Rows, Screen
from .rounds import LIST_ROOM, LISTED, list_unsettled, rows_below, tile_on
from .screening import MOST_DOUBTED, screen_reference
from .tiles import aligned_empty, make_panels, panels_reference, scratch
from .update import Update, average_reference, merge_pile

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


class Motion(NamedTuple):
    """How centers have moved since the round before, and what is known of the clusters."""

    before: Array  # (k, d): the centers of that round
    drifts: Array  # (k,): how far each has moved, rounded up
    radii: Array  # (k,): up to which distance other centers matter to it
    measured: Array  # (groups, k) float32: largest upper bounds
    group_rows: int  # of a group of slices
    down: float  # a distance of two centers times this is rounded down


@kernel
def _measure(counter, gate, n_tasks, motion, n_samples, labels, upper):
    """Per group and cluster: the largest upper bound."""
    group_rows, largest = motion.group_rows, motion.measured
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        largest[task, :] = 0
        start, stop = task * group_rows, min((task + 1) * group_rows, n_samples)
        for row in range(start, stop):
            own = np.int64(labels[row])
            largest[task, own] = max(largest[task, own], upper[row])


@kernel
def _tabulate(counter, gate, n_tasks, points, panels, motion, table):
    """What the bounds of each cluster need to know of the other centers, 64 clusters a task.

    `points` are the centers as rows, `panels` as centers.  A radius is extended to ``GAPS``
    distances to the nearest center; `table` (k, 4) is written as :func:`unsettled_rows` reads it.
    """
    _, n_wide, n_narrow, centers, bias = panels
    drifts, radii, down = motion.drifts, motion.radii, motion.down
    n_clusters, n_features = points.shape
    packed = scratch(bias, n_features * TILE_ROWS)
    squares = scratch(bias, (WIDE * n_wide + NARROW * n_narrow) * TILE_ROWS)
    limits, nearest = scratch(bias, TILE_ROWS), scratch(bias, TILE_ROWS)
    left_out, fall = scratch(bias, TILE_ROWS), np.empty(TILE_ROWS)
    infinity = np.inf
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        first = task * TILE_ROWS
        count = min(TILE_ROWS, n_clusters - first)
        for t in range(n_features):
            for i in range(TILE_ROWS):
                packed[t * TILE_ROWS + i] = points[min(first + i, n_clusters - 1), t]
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


class Calls(NamedTuple):
    """References to the kernels of a round; see :mod:`.machine.calling`."""

    assign: Any
    tabulate: Any
    measure: Any
    move: Any  # as :class:`.lloyd.Calls`, from here on
    average: Any
    pack: Any
    screen: Any


class Pass(NamedTuple):
    """What every round of one data set is run with."""

    job: Job
    centers: Centers
    screen: Screen | None
    bounds: Bounds  # of which `reach` and `largest` change from round to round
    counts: Counts
    motion: Motion


@helper
def _tell_of_motion(calls, launch, centers, n_rounds, passed):
    """Bring the table of the bounds up to date with how the centers have moved."""
    before, drifts, radii, measured, _, _ = passed.motion
    n_clusters, n_features = centers.shape
    counter, n_samples = launch.counter, passed.job.rows.X.shape[0]
    if n_rounds % RADIUS_ROUNDS == 0:
        own_gate = offer(launch, 4.0 * n_samples)
        arguments = counter, own_gate, np.int64(len(measured)), passed.motion, n_samples
        call(calls.measure, None, arguments, (passed.job.labels, passed.bounds.upper))
        for cluster in range(n_clusters):
            largest = measured[0, cluster]
            for group in range(1, len(measured)):
                largest = max(largest, measured[group, cluster])
            radii[cluster] = RADII * np.float64(largest)
    for cluster in range(n_clusters):
        square = 0.0
        for t in range(n_features):
            move = np.float64(centers[cluster, t]) - np.float64(before[cluster, t])
            square += move * move
        drifts[cluster] = np.sqrt(square) * (1 + 1e-6)
        radii[cluster] += RADII * drifts[cluster]
    n_tasks = (n_clusters + TILE_ROWS - 1) // TILE_ROWS
    own_gate = offer(launch, np.float64(n_clusters) * n_clusters * (n_features + 8))
    arguments = counter, own_gate, n_tasks, centers, passed.centers.by_rows, passed.motion
    call(calls.tabulate, None, arguments, (passed.bounds.table,))


@helper
def prepare(calls, launch, centers, n_rounds, passed):
    """Pack the centers of a round, and tell the bounds how they have moved; the bounds.

    There have been `n_rounds` before; where there were none there are no bounds yet.
    """
    by_rows, panels = passed.centers
    pack(calls, centers, panels)
    if panels.by_features:
        pack(calls, centers, by_rows)
    largest, before = 0.0, passed.motion.before
    for cluster in range(centers.shape[0]):
        square = 0.0
        for t in range(centers.shape[1]):
            square += np.float64(centers[cluster, t]) * np.float64(centers[cluster, t])
        largest = max(largest, square)
    reach = 2 * np.sqrt(largest) * (1 + 1e-6)
    if n_rounds > 0:
        _tell_of_motion(calls, launch, centers, n_rounds, passed)
    copy_centers(centers, before)
    upper, lower, table, slack, _, _ = passed.bounds
    # An infinite bound settles nothing.
    reach = np.float32(reach if reach < MOST_SQUARE else np.inf)
    return Bounds(upper, lower, table, slack, reach, largest)


@kernel
def _iterate(calls, launch, limits, mode, n_rounds, screens, passed, sums):
    """Whole iterations as :func:`.lloyd.iterate`; with no step allowed, an assignment alone.

    Returns steps, changed rows, shift and number of empty clusters of the last step, whether the
    screen still pays, and for how many rows all distances were computed.
    """
    counter, gate, n_tasks, _ = launch
    n_steps, tol, few = limits
    job, packed, _, _, counts, _ = passed
    centers = sums.centers
    row_work = np.float64(centers.shape[1]) * (centers.shape[0] + 4)
    step, n_computed, work, shift, n_empty = 0, np.int64(0), 0.0, np.inf, np.int64(0)
    while True:
        bounds = prepare(calls, launch, centers, n_rounds, passed)
        asks = asks_first(calls, packed.by_rows, passed.screen, screens)
        offer_tasks(counter)
        arguments = counter, gate, n_tasks, n_rounds == 0, asks, mode
        call(calls.assign, None, arguments, (job, packed, passed.screen, bounds, counts))
        n_rounds += 1
        n_changed, n_open, n_doubted = np.int64(0), np.int64(0), np.int64(0)
        for task in range(n_tasks):
            n_changed += job.changes.n[task]
            n_open += counts.computed[task]
            n_doubted += counts.doubted[task]
        screens = screens and n_doubted <= MOST_DOUBTED * n_open
        n_computed += n_open
        if n_steps == 0:
            break
        shift, n_empty = move_centers(calls, launch, mode, n_changed, job, sums)
        step += 1
        work += n_open * row_work + 8.0 * job.rows.X.shape[0]
        if step == n_steps or n_changed <= few or shift <= tol or n_empty > 0 or work > LOOP_WORK:
            break
        copy_centers(sums.new_centers, centers)
    return step, n_changed, shift, n_empty, screens, n_computed


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
        n_features, epsilon = rows.X.shape[1], float(np.finfo(rows.X.dtype).eps)
        self.slack = 4 * (n_features + 8) * epsilon
        self.down = 1 - 2 * (n_features + 8) * epsilon - 1e-6
        self.n_rounds = 0  # since bounds were measured afresh
        self.equipped = False
        self.no_centers = np.empty((n_clusters, n_features), rows.X.dtype)  # an assignment has none
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
        self.motion = Motion(
            np.empty((n_clusters, n_features), dtype),
            np.zeros(n_clusters),
            np.zeros(n_clusters),
            np.empty((self.n_groups, n_clusters), np.float32),
            self.group_rows,
            self.down,
        )
        self.computed = np.zeros(self.n_slices, np.int64)
        self.equipped = True

    def reset(self) -> None:
        """Forget labels and bounds."""
        super().reset()
        self.forget()

    def forget(self) -> None:
        """Forget the bounds: those of the next round are measured afresh."""
        self.n_rounds = 0
        self.screens = self.pays_to_screen

    def assign(self, centers: Array, *, account: bool = True) -> int:
        """Label every row with its nearest center; see :meth:`Lloyd.assign`."""
        if self.is_small:  # what is done before bounds are looked at
            return super().assign(centers, account=account)
        return self.assign_by_bounds(centers, self.update.mode if account else LABELS_ONLY)

    def assign_by_bounds(self, centers: Array, mode: int) -> int:
        """Label every row, those that the bounds settle by the bounds; `mode` is the update's."""
        sums = self.sums(np.array(centers, order="C"), self.no_centers)
        return self._run_rounds(Limits(0, 0.0, 0), mode, sums)[1]

    def iterate(
        self, n_steps: int, tol: float, centers: Array, new_centers: Array, few: int = 0
    ) -> tuple[int, int, float, int]:
        """Run up to `n_steps` whole iterations; see :meth:`.lloyd.Lloyd.iterate`."""
        if self.is_small:
            return super().iterate(n_steps, tol, centers, new_centers, few)
        return self.iterate_by_bounds(n_steps, tol, centers, new_centers, few)

    def iterate_by_bounds(
        self, n_steps: int, tol: float, centers: Array, new_centers: Array, few: int = 0
    ) -> tuple[int, int, float, int]:
        """As :meth:`iterate`, with bounds however small the work is."""
        limits, sums = Limits(n_steps, float(tol), few), self.sums(centers, new_centers)
        return self._run_rounds(limits, self.update.mode, sums)

    def _run_rounds(self, limits: Limits, mode: int, sums: Sums) -> tuple[int, int, float, int]:
        if not self.equipped:
            self._equip()
        passed = self.passed_by_bounds()
        n_steps, n_changed, shift, n_empty, self.screens, n_computed = _iterate(
            self.calls_by_bounds(passed, sums),
            self.launch(),
            limits,
            mode,
            self.n_rounds,
            self.screens,
            passed,
            sums,
        )
        self.n_rounds += max(n_steps, 1)
        self.n_distances += n_computed * self.n_clusters
        return n_steps, n_changed, shift, n_empty

    def launch(self) -> Launch:
        """By what the launches of rounds take their tasks."""
        return launch_for(self.team, self.work, self.n_slices)

    def passed_by_bounds(self) -> Pass:
        """What rounds are run with."""
        slack, nothing = np.float32(self.slack), np.float32(0)
        bounds = Bounds(self.upper, self.lower, self.table, slack, nothing, 0.0)
        counts, centers = Counts(self.computed, self.doubted), Centers(self.by_rows, self.panels)
        return Pass(self.job(), centers, self.screen, bounds, counts, self.motion)

    def calls_by_bounds(self, passed: Pass, sums: Sums) -> Calls:
        """References to the kernels of a round on such arguments."""
        gate, key = self.team.gate, (self.rows.dtype, passed.job.changes.rows.dtype)
        job, centers, screen, bounds, counts, motion = passed
        of_round = job, centers, screen, bounds, counts
        of_groups = motion, 1, job.labels, bounds.upper
        of_centers = sums.centers, centers.by_rows, motion, bounds.table
        return Calls(
            reference(_assign, key, gate, gate, 1, True, True, PILES, *of_round),
            reference(_tabulate, key[:1], gate, gate, 1, *of_centers),
            reference(_measure, key[:1], gate, gate, 1, *of_groups),
            self._move_reference(sums.totals),
            average_reference(*sums),
            panels_reference(sums.centers, centers.by_rows),
            screen_reference(centers.by_rows, screen),
        )
