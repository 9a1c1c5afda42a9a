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

from typing import NamedTuple

import numpy as np

from .emit.bounds import (
    BOUND_DOWN,
    BOUND_LANES,
    BOUND_UP,
    LEAST_SQUARE,
    MOST_SQUARE,
    near_centers,
    squares_to_four,
)
from .emit.changes import account, winners_of
from .emit.cpu import TILE_ROWS, lanes, round_up
from .emit.labelling import gather, nearest_in_place
from .emit.masks import list_bits
from .emit.packing import scatter_lines
from .emit.search_rows import scores_in_tile
from .hamerly import Hamerly, Pass, prepare
from .machine.compiling import inlined, kernel
from .machine.parallel import Team, next_task
from .records import PILES, Array, Rows
from .rounds import LISTED, list_unsettled, tile_on
from .tiles import aligned_empty, scratch
from .update import Update, merge_pile

MOST_BYTES = 1 << 30  # of bounds
AHEAD = 16  # rows that the packing looks ahead, at most
# Operations of the float32 tile for a row from which on bounds of all centers pay, as measured, and
# the share of the rows that may still change their cluster then.
DEAR, AT_REST = 3000.0, 0.1


@kernel
def _move_listed(counter, gate, n_tasks, mode, job, listed, n_listed, winners):
    """Account for the listed rows that have changed, in row order; a slice a task."""
    slice_size, labels = job.slice_size, job.labels
    movers, sources = np.empty(LISTED, np.int64), np.empty(LISTED, np.int32)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start = task * slice_size
        end = start + n_listed[task]
        n_changed, count = np.int64(0), np.int64(0)
        for place in range(start, end):
            row = np.int64(listed[place])
            if winners[row] != labels[row]:
                movers[count], sources[count] = row, labels[row]
                labels[row] = winners[row]
                count += 1
            if count == LISTED or (count and place == end - 1):
                n_changed += account(mode, job, movers, sources, count, start + n_changed, task)
                count = np.int64(0)
        job.changes.n[task] = n_changed
        if mode == PILES:
            merge_pile(task, n_tasks, job.piles)


class AllBounds(NamedTuple):
    """Bounds of all centers, as :func:`near_centers` reads them."""

    halves: Array  # (rows that have room + 1, m) uint16
    measured: Array  # (n,) int32: in which round those of a row were measured, -1 for never
    fallen: Array  # (rounds, m) float32: how far each center has moved since each round
    most: int  # centers left open, above which all distances come cheaper
    down: float  # a distance times this is rounded down


class Lists(NamedTuple):
    """Lists of rows, slice by slice, and how long they are."""

    listed: Array  # (n padded to slices,): rows whose label changes or may change
    n_listed: Array
    afresh: Array  # those among them whose bounds must be measured afresh
    n_afresh: Array
    winners: Array  # (n,) int32: nearest centers of the listed rows
    computed: Array  # per slice: distances


@inlined
def _limit(square, up, slack, reach):
    """Upper bound of a distance, and what squared lower bounds of others must be above."""
    u = np.sqrt(np.float64(square)) * up
    wall = u + reach
    return u, (u * u + slack * wall * wall) * BOUND_UP + LEAST_SQUARE


@kernel
def _try_bounds(counter, gate, n_tasks, job, centers, bounds, everyone, lists):
    """Move two bounds a row; where they do not settle it, look at those of `everyone`.

    Where few enough centers are left, `lists` receive the nearest; rows that have changed are
    listed, and so are those whose bounds must be measured afresh.
    """
    slice_size, rows, mean, labels, _, _ = job
    X, n_words = rows.X, (everyone.halves.shape[1] + 63) // 64
    upper, lower, _, slack, reach, _ = bounds
    halves, measured, fallen, most, down = everyone
    listed, n_listed, afresh, n_afresh, winners, computed = lists
    n_samples, n_features = X.shape
    x, squares = scratch(mean, centers.shape[1]), np.empty(most + 4, mean.dtype)
    x[:] = 0
    near, masks = np.empty(64 * n_words + 4, np.int64), np.zeros(n_words, np.uint64)
    lows, up = np.empty(most + 4, np.float32), (2 - down) * BOUND_UP
    falls = np.empty_like(lows)
    bits, pending = falls.view(np.uint32), np.empty(slice_size, np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start, stop = task * slice_size, min((task + 1) * slice_size, n_samples)
        count, n_open, n_computed = start, start, 0
        n_pending = list_unsettled(start, stop, labels, bounds, pending)
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
                u, limit = _limit(squares[0], up, slack, reach)
                upper[row] = u * BOUND_UP
                if np.float64(lower[row]) ** 2 * BOUND_DOWN > limit:
                    continue
                wall = np.float32(np.sqrt(limit) * BOUND_UP)
                ahead = pending[min(place + 2, n_pending - 1)]
                rest = near_centers(halves, row, ahead, fallen, since, wall, masks)
                n_near = list_bits(masks, n_words, near)
                if n_near <= 1:  # its own center
                    lower[row] = rest * np.float32(BOUND_DOWN)
                    continue
                if n_near <= most:
                    for i in range(n_near, n_near + 3):
                        near[i] = own
                    for i in range(0, n_near, 4):
                        squares_to_four(x, centers, near, i, squares)
                    n_computed += n_near - 1
                    best, second = 0, rest
                    for i in range(n_near):
                        lows[i] = np.sqrt(squares[i]) * down
                        best = i if squares[i] < squares[best] else best
                    for i in range(n_near):
                        second = lows[i] if i != best and lows[i] < second else second
                        falls[i] = (lows[i] + fallen[since, near[i]]) * np.float32(BOUND_DOWN)
                        halves[row, near[i]] = bits[i] >> np.uint32(16)
                    u, limit = _limit(squares[best], up, slack, reach)
                    least = np.float64(second) * BOUND_DOWN
                    if least * least > limit:
                        upper[row], lower[row] = u * BOUND_UP, least
                        if near[best] != own:
                            winners[row], listed[count] = near[best], row
                            count += 1
                        continue
            listed[count], afresh[n_open] = row, row
            count += 1
            n_open += 1
        n_listed[task], n_afresh[task], computed[task] = count - start, n_open - start, n_computed


@kernel
def _measure_afresh(counter, gate, n_tasks, now, job, centers, bounds, everyone, afresh, winners):
    """Find the nearest center of the rows `afresh`, and measure all their bounds in round `now`.

    Rows for which `everyone` has no room share the last line, and have only two bounds.
    """
    rows, mean, upper, lower = job.rows, job.mean, bounds.upper, bounds.lower
    by_rows, panels = centers
    halves, measured, n_clusters = everyone.halves, everyone.measured, len(bounds.table)
    by_features, n_features, n_afresh = panels.by_features, rows.X.shape[1], len(afresh)
    n_kept, n_bounds = len(halves) - 1, halves.shape[1]
    packed = scratch(mean, len(mean) * TILE_ROWS)
    tile = tile_on(packed, packed)
    best, norms, numbers = tile.best, tile.norms, tile.index
    _, n_wide, n_narrow, panel, bias = by_rows
    scores = scratch(mean, len(bias) * TILE_ROWS)
    errors, index = np.empty_like(best), np.empty(TILE_ROWS, np.int32)
    lines = scratch(upper, n_bounds * TILE_ROWS)
    for i in range(len(lines)):
        lines[i] = np.inf
    leasts, rows64 = np.empty(TILE_ROWS, np.float32), np.empty(TILE_ROWS + AHEAD, np.int64)
    gathered = np.empty((TILE_ROWS if by_features else 0, n_features), mean.dtype)
    zero, most = mean[0] * 0, mean[0] * 0 + np.float32(MOST_SQUARE)
    slack, largest = bounds.slack, bounds.largest
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        first = task * TILE_ROWS
        for i in range(TILE_ROWS + AHEAD):
            rows64[i] = afresh[min(first + i, n_afresh - 1)]
        gather(rows, mean, False, 0, rows64, 0, packed)
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
        if by_features:  # Lloyd's labels come from this tile; the bounds allow for it
            nearest_in_place(rows, mean, False, 0, rows64, 0, panels, gathered, tile)
            winners_of(numbers, index)
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
        scatter_lines(lines, n_bounds, rows64, np.int64(0), halves)


@kernel
def _prepare(calls, launch, centers, n_rounds, passed):
    bounds = prepare(calls, launch, centers, n_rounds, passed)
    return bounds.reach, bounds.largest


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
        if self.at_rest:
            return self._assign_by_all_bounds(centers, mode)
        n_changed = super().assign_by_bounds(centers, mode)
        self._see_rest(n_changed)
        return n_changed

    @property
    def iterates(self) -> bool:
        """Not where bounds of all centers are kept: a round takes milliseconds there."""
        return not self.at_rest

    def iterate_by_bounds(
        self, n_steps: int, tol: float, centers: Array, new_centers: Array, few: int = 0
    ) -> tuple[int, int, float, int]:
        """As :meth:`.hamerly.Hamerly.iterate_by_bounds`, until bounds of all centers would pay."""
        if self.dear:
            few = max(few, int(AT_REST * self.rows.X.shape[0]))
        outcome = super().iterate_by_bounds(n_steps, tol, centers, new_centers, few)
        self._see_rest(outcome[1])
        return outcome

    def _see_rest(self, n_changed: int) -> None:
        """Keep bounds of all centers from now on, where they would pay after such a round."""
        if self.dear and n_changed <= AT_REST * self.rows.X.shape[0]:
            self._keep_all_bounds()

    def _keep_all_bounds(self) -> None:
        """Make room for the bounds of all centers; none is known yet."""
        n_clusters, (n_samples, n_features) = self.n_clusters, self.rows.X.shape
        n_bounds = round_up(n_clusters, BOUND_LANES)
        n_kept = min(n_samples, MOST_BYTES // (2 * n_bounds))
        self.halves = np.empty((n_kept + 1, n_bounds), np.uint16)
        self.measured_in = np.full(n_samples, -1, np.int32)
        self.fallen = np.zeros((1, n_bounds), np.float32)
        n_padded = self.n_slices * self.update.slice_rows
        listed, afresh = np.empty((2, n_padded), np.int64 if n_padded > 2**31 - 1 else np.int32)
        n_listed, n_afresh = np.zeros((2, self.n_slices), np.int64)
        winners = np.empty(n_padded, np.int32)
        self.lists = Lists(listed, n_listed, afresh, n_afresh, winners, self.computed)
        width = round_up(n_features, lanes(self.mean.dtype))
        self.by_centers = aligned_empty((n_clusters, width), self.mean.dtype)
        self.by_centers[:] = 0
        self.at_rest = True

    def _move_listed(self, mode: int) -> None:
        """Account for rows that are listed and have changed."""
        self.team.run(
            _move_listed,
            float(self.lists.n_listed.sum()) * (self.rows.X.shape[1] + 4),
            self.n_slices,
            mode,
            self.job(),
            self.lists.listed,
            self.lists.n_listed,
            self.lists.winners,
        )

    def _assign_by_all_bounds(self, centers: Array, mode: int) -> int:
        passed, sums = self.passed_by_bounds(), self.sums(centers.copy(), self.no_centers)
        calls = self.calls_by_bounds(passed, sums)
        reach, largest = _prepare(calls, self.launch(), sums.centers, self.n_rounds, passed)
        bounds = passed.bounds._replace(reach=np.float32(reach), largest=largest)
        passed = passed._replace(bounds=bounds)
        self.n_rounds += 1
        self.by_centers[:, : centers.shape[1]] = centers
        # One round more in the record of how far the centers have moved, rounded up.
        self.fallen[:, : len(centers)] += self.table[:, 0]
        self.fallen *= np.float32(BOUND_UP)
        self.fallen = np.vstack([self.fallen, np.zeros_like(self.fallen[:1])])
        self.team.run(
            _try_bounds,
            self.work,
            self.n_slices,
            passed.job,
            self.by_centers,
            bounds,
            self.everyone(),
            self.lists,
        )
        self._measure_afresh(passed)
        self._move_listed(mode)
        n_afresh = int(self.lists.n_afresh.sum())
        self.n_distances += int(self.computed.sum()) + n_afresh * len(centers)
        return int(self.update.changes.n.sum())

    def everyone(self) -> AllBounds:
        """The bounds of all centers as they are now."""
        return AllBounds(self.halves, self.measured_in, self.fallen, self.most, self.down)

    def _measure_afresh(self, passed: Pass) -> None:
        size, lists = self.update.slice_rows, self.lists
        parts = [lists.afresh[i * size : i * size + n] for i, n in enumerate(lists.n_afresh)]
        afresh = np.concatenate(parts)
        self.team.run(
            _measure_afresh,
            float(len(afresh)) * self.rows.X.shape[1] * self.n_clusters,
            -(-len(afresh) // TILE_ROWS),
            len(self.fallen) - 1,
            passed.job,
            passed.centers,
            passed.bounds,
            self.everyone(),
            afresh,
            lists.winners,
        )
