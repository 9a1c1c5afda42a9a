"""Mini-batch k-means: many steps in one call, each a pass over the rows that a batch lists.

Sculley, D.: Web-scale k-means clustering. WWW 2010.

A step assigns the rows of one batch, moves every center to the mean of all rows it has been given
so far, and follows the smoothed inertia of the batches, as scikit-learn does.  Rows are read where
they lie, by their numbers; no batch is ever copied.  What one step costs beside the distances is
little enough that Python would cost more: :func:`_steps` therefore draws the batches itself, makes
a launch for each, and comes back early only where the rules end a run or centers are reassigned.

Centers are sums and weights in float64 of centred rows; what rows are compared with is their
quotient, rounded to the dtype of the rows.  Sums are made in the order of the batch, by one thread,
so that results are the same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .draws import RowDraws, draw_rows
from .emit.cpu import TILE_ROWS, lanes, round_up
from .emit.masks import changed_labels
from .emit.packing import pack_listed_rows
from .emit.search_in_place import FEATURE_ROWS, nearest_of_few
from .emit.search_rows import nearest_in_tile, nearest_two_in_tile
from .emit.sums import add_row
from .machine.calling import NOWHERE, call, offer_tasks, reference
from .machine.compiling import helper, kernel, vector_sum
from .machine.parallel import LOOP_WORK, Team, next_task
from .tiles import (
    Array,
    Panels,
    centred_difference,
    fill_panels,
    make_panels,
    panels_reference,
    prefers_features,
    read_only,
    scratch,
)

# Why `_steps` has come back.
MORE, REASSIGN, SMALL_SHIFT, NO_IMPROVEMENT = 0, 1, 2, 3
# Slots of `Running.monitor`.
MEAN, SMOOTHED, LEAST, SINCE_LEAST, SEEN, STEP, SHIFT = range(7)
MONITOR_SIZE = 7

TASK_TILES = 2
# Most rows stay where they are when a batch is labelled once more: a task finds the others among so
# many that they fill a tile.
RELABEL_TILES = 8
# Multiply-adds, those of float64 counted twice, from which on a step is worth a call of its own by
# all threads: some 100 µs.
LARGE_STEP = 5_000_000
ROW_WORK = 100.0  # what a step does for each row beside the distances, in multiply-adds
FEW_FEATURES = 4  # up to here, listed rows are transposed one number at a time


NO_DRAWS = RowDraws(0, 0, np.empty(0))


class Rules(NamedTuple):
    """What ends a run and when centers are reassigned; see :class:`fastclust.MiniBatchKMeans`.

    `patience` is -1 and `tol` 0 where there is no such limit; `smoothing` is the weight of the
    latest batch in the average of the inertias; a weighing is due whenever `period` rows have been
    seen, `seen_per_step` in each step.
    """

    tol: float
    smoothing: float
    patience: int
    ratio: float
    period: int
    seen_per_step: int


class Piles(NamedTuple):
    """Sums of what each task adds, one row per task and cluster, where rows are read only once."""

    sums: Array
    weights: Array
    touched: Array


class Running(NamedTuple):
    """State carried from step to step."""

    centers: Array  # (k, d), of the dtype of the rows
    exact: Array  # (k, d) float64: sums / weights, or what a center that has no rows started from
    sums: Array  # (k, d) float64
    weights: Array  # (k,) float64
    previous: Array  # (k, d) float64, `exact` before the step; empty where nobody asks
    touched: Array  # (k,) bool, scratch
    monitor: Array  # see the slots above; NaN stands for nothing yet


@vector_sum
def _copy_row(X, row, shift, block, slot):
    """Copy a row of `X` to a row of `block`; the squared length of it minus `shift`."""
    total = shift[0] - shift[0]  # zero, of their type
    for t in range(X.shape[1]):
        block[slot, t] = X[row, t]
        value = X[row, t] - shift[t]
        total += value * value
    return total


@helper
def begin(rules, running):
    """Before the rows of a step are added; whether reassignment is due, by the weights so far."""
    _, exact, _, weights, previous, touched, monitor = running
    if len(previous):
        for cluster in range(exact.shape[0]):
            for t in range(exact.shape[1]):
                previous[cluster, t] = exact[cluster, t]
    monitor[SEEN] += rules.seen_per_step
    due = monitor[SEEN] >= rules.period
    for cluster in range(len(weights)):
        touched[cluster] = False
        due = due or weights[cluster] == 0.0
    if due:
        monitor[SEEN] = 0
    return due


@helper
def _add_rows(start, stop, X, listed, labels, row_weights, shift, sums, weights, touched, base):
    """Add rows `start` to `stop` of the batch to the sums of their clusters, from `base` on."""
    n_features = X.shape[1]
    weighted = len(row_weights) > 0
    for i in range(start, stop):
        weight = np.float64(row_weights[i]) if weighted else 1.0
        if weight > 0.0:
            cluster = base + np.int64(labels[i])
            add_row(X, listed[i], n_features, shift, weight, sums, cluster * n_features)
            weights[cluster] += weight
            touched[cluster] = True


@helper
def _follow(rules, running):
    """scikit-learn's early stopping, after a step; why to stop, or `MORE`."""
    _, exact, _, _, previous, _, monitor = running
    monitor[STEP] += 1
    if monitor[STEP] == 1:  # its inertia is that of the first centers
        return MORE
    mean = monitor[MEAN]
    if np.isnan(monitor[SMOOTHED]):
        monitor[SMOOTHED] = mean
    else:
        monitor[SMOOTHED] = monitor[SMOOTHED] * (1 - rules.smoothing) + mean * rules.smoothing
    if len(previous):
        shift = 0.0
        for cluster in range(exact.shape[0]):
            for t in range(exact.shape[1]):
                change = exact[cluster, t] - previous[cluster, t]
                shift += change * change
        monitor[SHIFT] = shift
        if rules.tol > 0.0 and shift <= rules.tol:
            return SMALL_SHIFT
    if np.isnan(monitor[LEAST]) or monitor[SMOOTHED] < monitor[LEAST]:
        monitor[SINCE_LEAST] = 0
        monitor[LEAST] = monitor[SMOOTHED]
    else:
        monitor[SINCE_LEAST] += 1
    if rules.patience >= 0 and monitor[SINCE_LEAST] >= rules.patience:
        return NO_IMPROVEMENT
    return MORE


@helper
def _add_piles(piles, running):
    """Add what the tasks have summed, in their order."""
    _, _, sums, weights, _, touched, _ = running
    n_clusters = len(weights)
    for place in range(len(piles.touched)):
        if piles.touched[place]:
            cluster = place % n_clusters
            touched[cluster] = True
            weights[cluster] += piles.weights[place]
            for t in range(sums.shape[1]):
                sums[cluster, t] += piles.sums[place, t]


@helper
def _add_batch(X, listed, labels, row_weights, shift, piles, running):
    """Add the rows of a batch to the sums, unless the tasks have done so on piles of their own."""
    _, _, sums, weights, _, touched, _ = running
    if len(piles.touched):
        _add_piles(piles, running)
    else:
        n = len(listed)
        _add_rows(0, n, X, listed, labels, row_weights, shift, sums, weights, touched, 0)


@helper
def _finish(due, inertias, rules, running, follow):
    """All of a step after its rows have been added; `REASSIGN` before the rules are followed."""
    centers, exact, sums, weights, _, touched, _ = running
    for cluster in range(len(weights)):
        if touched[cluster]:
            scale = 1.0 / weights[cluster]
            for t in range(exact.shape[1]):
                exact[cluster, t] = sums[cluster, t] * scale
            for t in range(exact.shape[1]):
                centers[cluster, t] = exact[cluster, t]
    return judge(due, inertias, rules, running, follow)


@helper
def judge(due, inertias, rules, running, follow):
    """After the centers have moved: follow the inertia, unless they are to be reassigned first."""
    _, _, _, weights, _, _, monitor = running
    total = 0.0
    for task in range(len(inertias)):
        total += inertias[task]
    monitor[MEAN] = total / rules.seen_per_step
    if due and rules.ratio > 0.0:
        least, most = np.inf, 0.0
        for cluster in range(len(weights)):
            least, most = min(least, weights[cluster]), max(most, weights[cluster])
        if least < rules.ratio * most:
            return REASSIGN
    return _follow(rules, running) if follow else MORE


@kernel
def _assign(
    counter, gate, n_tasks, X, listed, row_weights, shift, n_clusters, panels, labels, apart,
    inertias, lengths, piles,
):  # fmt: skip
    """Nearest centers of the rows of `X` that a batch lists.

    Where there is an array `apart`, it receives how far each row is at least from all centers but
    its own; `lengths` receives the sum of squared lengths of each task's rows, which is finite only
    where they are.  Where rows are read only once, they are added to `piles`.
    """
    by_features, n_wide, n_narrow, packed_centers, bias = panels
    pile_sums, pile_weights, pile_touched = piles
    n_features, batch_size = X.shape[1], len(listed)
    packed = scratch(shift, np.int64(0) if by_features else len(shift) * TILE_ROWS)
    block = np.empty((TILE_ROWS if by_features else 0, n_features), shift.dtype)
    best, index = scratch(shift, TILE_ROWS), scratch(shift, TILE_ROWS)
    second = scratch(shift, TILE_ROWS)
    norms = np.empty(TILE_ROWS, shift.dtype)
    winners = np.empty(TILE_ROWS, np.int32)
    # One vector more than a tile: rows that pack_listed_rows fetches early.
    tile = np.zeros(2 * TILE_ROWS, np.int64)
    rounding = 8.0 * (n_features + 8) * (1.2e-7 if shift.itemsize == 4 else 2.3e-16)
    reach = 0.0
    for cluster in range(n_clusters if len(apart) else 0):
        reach = max(reach, 2.0 * np.float64(bias[cluster]))
    weighted = len(row_weights) > 0
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        total, length = 0.0, 0.0
        if by_features:
            for place in range(task * n_clusters, (task + 1) * n_clusters):
                pile_weights[place] = 0.0
                pile_touched[place] = False
                for t in range(n_features):
                    pile_sums[place, t] = 0.0
        start = task * TASK_TILES * TILE_ROWS
        stop = min(start + TASK_TILES * TILE_ROWS, batch_size)
        for first in range(start, stop, TILE_ROWS):
            filled = min(TILE_ROWS, batch_size - first)
            if by_features:
                # A few rows at a time, for all that is done with them: they are read once.
                for row in range(0, filled, FEATURE_ROWS):
                    few = min(FEATURE_ROWS, filled - row)
                    for i in range(row, row + few):
                        norms[i] = _copy_row(X, listed[first + i], shift, block, i)
                    nearest_of_few(
                        X[:0], block, 0, shift, packed_centers, bias, n_wide, n_narrow, best,
                        index, row,
                    )  # fmt: skip
                    changed_labels(index, labels, first, winners, np.int64(0))
                    for i in range(row, row + few):
                        labels[first + i] = winners[i]
                        length += np.float64(norms[i])
                        square = max(np.float64(norms[i]) + 2.0 * np.float64(best[i]), 0.0)
                        weight = np.float64(row_weights[first + i]) if weighted else 1.0
                        total += square * weight
                    _add_rows(
                        first + row, first + row + few, X, listed, labels, row_weights,
                        shift, pile_sums, pile_weights, pile_touched, task * n_clusters,
                    )  # fmt: skip
                continue
            for i in range(2 * TILE_ROWS):  # the last row stands in where there are no more
                tile[i] = listed[min(first + i, batch_size - 1)]
            if n_features > FEW_FEATURES:
                pack_listed_rows(X, tile, 0, n_features, shift, packed)
            else:
                for i in range(TILE_ROWS):
                    row = tile[i]
                    for t in range(n_features):
                        packed[t * TILE_ROWS + i] = X[row, t] - shift[t]
            if len(apart):
                nearest_two_in_tile(
                    packed, packed_centers, bias, n_wide, n_narrow, n_features, best, index,
                    second,
                )  # fmt: skip
            else:
                nearest_in_tile(
                    packed, packed_centers, bias, n_wide, n_narrow, n_features, best, index
                )
            changed_labels(index, labels, first, winners, np.int64(0))
            for i in range(TILE_ROWS):
                norms[i] = 0
            for t in range(n_features):
                for i in range(TILE_ROWS):
                    value = packed[t * TILE_ROWS + i]
                    norms[i] += value * value
            if len(apart):
                for i in range(filled):
                    norm = np.float64(norms[i])
                    square = norm + 2.0 * np.float64(second[i]) - rounding * (norm + reach)
                    apart[first + i] = np.sqrt(max(square, 0.0))
            for i in range(filled):
                labels[first + i] = winners[i]
                length += np.float64(norms[i])
                square = max(np.float64(norms[i]) + 2.0 * np.float64(best[i]), 0.0)
                weight = np.float64(row_weights[first + i]) if weighted else 1.0
                total += square * weight
        inertias[task], lengths[task] = total, length


@vector_sum
def _own_distance(X, row, shift, exact, cluster):
    """As :func:`.tiles.squared_distance`, without views of rows, whose references are counted."""
    total = 0.0
    for t in range(X.shape[1]):
        difference = centred_difference(X[row, t], shift[t], exact[cluster, t])
        total += difference * difference
    return total


@kernel
def _relabel(
    counter, gate, n_tasks, X, listed, row_weights, shift, panels, exact, labels, apart, moved,
    inertias,
):  # fmt: skip
    """Nearest centers of one batch after they have moved by at most `moved`, and the inertia.

    By the triangle inequality a row stays where its own center is closer than `apart` less
    `moved`; only the others are compared with all centers.
    """
    _, n_wide, n_narrow, packed_centers, bias = panels
    n_features = X.shape[1]
    batch_size = len(listed)
    packed = scratch(shift, len(shift) * TILE_ROWS)
    best, index = scratch(shift, TILE_ROWS), scratch(shift, TILE_ROWS)
    winners, unused = np.empty(TILE_ROWS, np.int32), np.empty(TILE_ROWS, np.int32)
    places = np.empty(RELABEL_TILES * TILE_ROWS, np.int64)
    own = np.empty(RELABEL_TILES * TILE_ROWS)
    tile = np.zeros(2 * TILE_ROWS, np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start = task * RELABEL_TILES * TILE_ROWS
        stop = min(start + RELABEL_TILES * TILE_ROWS, batch_size)
        count = 0
        for i in range(start, stop):
            own[i - start] = _own_distance(X, listed[i], shift, exact, labels[i])
            places[count] = i
            count += not np.sqrt(own[i - start]) < apart[i] - moved
        for first in range(0, count, TILE_ROWS):
            for i in range(2 * TILE_ROWS):
                tile[i] = listed[places[min(first + i, count - 1)]]
            if n_features > FEW_FEATURES:
                pack_listed_rows(X, tile, 0, n_features, shift, packed)
            else:
                for i in range(TILE_ROWS):
                    row = tile[i]
                    for t in range(n_features):
                        packed[t * TILE_ROWS + i] = X[row, t] - shift[t]
            nearest_in_tile(packed, packed_centers, bias, n_wide, n_narrow, n_features, best, index)
            changed_labels(index, unused, 0, winners, np.int64(0))
            for i in range(min(TILE_ROWS, count - first)):
                place = places[first + i]
                if labels[place] != winners[i]:
                    labels[place] = winners[i]
                    own[place - start] = _own_distance(X, tile[i], shift, exact, winners[i])
        total = 0.0
        for i in range(start, stop):
            weight = np.float64(row_weights[i]) if len(row_weights) else 1.0
            total += own[i - start] * weight
        inertias[task] = total


@vector_sum
def _squared_move(exact, previous, cluster):
    total = 0.0
    for t in range(exact.shape[1]):
        change = exact[cluster, t] - previous[cluster, t]
        total += change * change
    return total


@helper
def _move(exact, previous):
    """Largest distance that a center has moved; zero where nobody asks."""
    largest = 0.0
    for cluster in range(previous.shape[0]):
        largest = max(largest, _squared_move(exact, previous, cluster))
    return np.sqrt(largest)


@kernel
def _largest_move(exact, previous):
    return _move(exact, previous)


@helper
def _open(given, weights, shift, running):
    """Centre `given` centers (k, d); begin with no step made.

    By their mean where it is more than a standard deviation from zero: what is not may be the work
    of a few huge centers, and would round off what the others are.  How many rows have been seen
    since the last weighing is not changed.
    """
    centers, exact, sums, own_weights, _, _, monitor = running
    n_clusters, n_features = given.shape
    mean, variance = np.zeros(n_features), np.zeros(n_features)
    for cluster in range(n_clusters):
        for t in range(n_features):
            mean[t] += given[cluster, t]
    for t in range(n_features):
        mean[t] /= n_clusters
    for cluster in range(n_clusters):
        for t in range(n_features):
            variance[t] += (given[cluster, t] - mean[t]) ** 2
    for t in range(n_features):
        shift[t] = mean[t] if mean[t] ** 2 > variance[t] / n_clusters else 0.0
    for cluster in range(n_clusters):
        weight = weights[cluster]
        own_weights[cluster] = weight
        for t in range(n_features):  # one array at a time: LLVM can not know that none overlap
            exact[cluster, t] = np.float64(given[cluster, t]) - np.float64(shift[t])
        for t in range(n_features):
            centers[cluster, t] = exact[cluster, t]
        for t in range(n_features):
            sums[cluster, t] = exact[cluster, t] * weight
    for slot in range(len(monitor)):
        if slot != SEEN:
            monitor[slot] = np.nan if slot in (SMOOTHED, LEAST) else 0.0


@helper
def _round_centers(exact, shift, out):
    """Write the centers, not centred any more, to `out` (k, d), of the dtype of the rows."""
    for cluster in range(out.shape[0]):
        for t in range(out.shape[1]):
            out[cluster, t] = exact[cluster, t] + np.float64(shift[t])


class Calls(NamedTuple):
    """References to kernels; see :mod:`.machine.calling`."""

    assign: Any
    pack: Any
    relabel: Any


class Batch(NamedTuple):
    """What :func:`_assign` is run with, from the weights of the rows on."""

    row_weights: Array
    shift: Array
    n_clusters: int
    panels: Panels
    labels: Array
    apart: Array
    inertias: Array
    lengths: Array
    piles: Piles


@helper
def _pack_again(calls, size, batch, running):
    """Pack the centers as they are now."""
    by_features, n_wide, n_narrow, packed, bias = batch.panels
    arguments = (running.centers, by_features, n_wide, n_narrow, size, packed, bias)
    call(calls.pack, None, arguments, ())


@helper
def _step(calls, counter, gate, n_tasks, X, listed, batch, rules, running, follow):
    """One step, from packed centers; `MORE`, or why to stop."""
    due = begin(rules, running)
    offer_tasks(counter)
    call(calls.assign, None, (counter, gate, n_tasks, X, listed), batch)
    labels, row_weights, shift, piles = batch.labels, batch.row_weights, batch.shift, batch.piles
    _add_batch(X, listed, labels, row_weights, shift, piles, running)
    return _finish(due, batch.inertias, rules, running, follow)


@kernel
def _steps(
    calls, counter, gate, n_tasks, n_steps, follow, size, draws, X, batches, batch, rules, running,
):  # fmt: skip
    """Make a step for each row of `batches` (n_steps, size of a batch), which lists rows of `X`.

    Where there are `draws` to be made, there is one such row, and each step draws it afresh.
    Returns the number of steps made and why it has come back.
    """
    status, step = np.int64(MORE), 0
    while step < n_steps and status == MORE:
        _pack_again(calls, size, batch, running)
        listed = batches[0 if draws.n_samples else step]
        if draws.n_samples:
            draw_rows(draws, listed)
        status = _step(calls, counter, gate, n_tasks, X, listed, batch, rules, running, follow)
        step += 1
    return step, status


@kernel
def _step_and_relabel(
    calls, counter, gate, n_tasks, n_relabelled, size, X, listed, batch, rules, given, weights,
    inertias, out, running,
):  # fmt: skip
    """Begin with the `given` centers and make a step of the one batch that they are to see.

    Where no center is to be reassigned, and rows are finite, the new centers, not centred any more,
    are written to `out`, and the batch is labelled once more.  Returns whether rows are finite,
    whether centers are to be reassigned, and how far one has moved at most.
    """
    _open(given, weights, batch.shift, running)
    _pack_again(calls, size, batch, running)
    status = _step(calls, counter, gate, n_tasks, X, listed, batch, rules, running, False)
    _pack_again(calls, size, batch, running)
    moved = _move(running.exact, running.previous)
    length = 0.0
    for task in range(n_tasks):
        length += batch.lengths[task]
    finite = np.isfinite(length)
    if finite and status == MORE:
        _round_centers(running.exact, batch.shift, out)
        if n_relabelled > 0:
            offer_tasks(counter)
            arguments = counter, gate, n_relabelled, X, listed, batch.row_weights, batch.shift
            rest = batch.panels, running.exact, batch.labels, batch.apart, moved, inertias
            call(calls.relabel, None, arguments, rest)
    return finite, status, moved


@kernel
def _write_centers(exact, shift, out):
    _round_centers(exact, shift, out)


@kernel
def _follow_step(rules, running):
    return _follow(rules, running)


def make_running(centers: Array, weights: Array, dtype: Any, *, moves: bool) -> Running:
    """The state before the first step; `moves` says whether movements are asked for."""
    monitor = np.zeros(MONITOR_SIZE)
    monitor[[SMOOTHED, LEAST]] = np.nan
    return Running(
        centers.astype(dtype),
        centers,
        centers * weights[:, None],
        weights,
        np.empty(centers.shape if moves else (0, 0)),
        np.empty(len(centers), np.bool_),
        monitor,
    )


class MiniBatches:
    """Runs steps of mini-batch k-means from given centers.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows that batches are taken from: C-contiguous, read-only.
    shift : ndarray of shape (padded n_features,)
        What every row is centred by; as from :func:`.tiles.padded_vector`.
    centers : ndarray of shape (n_clusters, n_features), float64
        Centred centers to start from.
    weights : ndarray of shape (n_clusters,), float64
        Weight of the rows that each center is the mean of; zeros at the start.
    batch_size : int
        Rows of a batch.
    rules : Rules
        When to stop and to reassign.
    team : Team
        Threads to run on, where a step is large.
    relabels : bool
        Whether :meth:`relabel` will be called.
    """

    given: tuple[Array, Array]  # centers and weights that :meth:`open` was told of
    finite = True  # whether all numbers of the last batch of :meth:`step` surely are
    _moved: float | None = None  # how far a center has moved at most in the last step, if known
    _rounded: Array | None = None  # the centers after it, not centred, if known
    _relabelled = False  # whether its batch has been labelled once more

    def __init__(
        self,
        X: Array,
        shift: Array,
        centers: Array,
        weights: Array,
        batch_size: int,
        rules: Rules,
        team: Team,
        *,
        relabels: bool = False,
    ) -> None:
        n_clusters, n_features = centers.shape
        self.X, self.shift, self.rules = X, shift, rules
        moves = rules.tol > 0.0 or relabels
        self.running = make_running(centers, weights, X.dtype, moves=moves)
        self.labels = np.empty(round_up(batch_size, TILE_ROWS), np.int32)
        self.apart = np.empty(batch_size if relabels else 0)
        self.n_tasks = -(-batch_size // (TASK_TILES * TILE_ROWS))
        self.inertias, self.lengths = np.empty(self.n_tasks), np.empty(self.n_tasks)
        self.own_inertias = np.empty(-(-batch_size // (RELABEL_TILES * TILE_ROWS)))
        # The tile by features keeps no second distances.
        by_features = prefers_features(n_features, n_clusters) and not relabels
        self.panels = make_panels(n_clusters, n_features, X.dtype, by_features=by_features)
        self.size = lanes(X.dtype)
        self.work = float(batch_size) * n_features * (n_clusters + 4)
        self.listed = np.empty((1, batch_size), np.int64)
        self.none = read_only(np.empty(0, X.dtype))
        self.no_rows = read_only(np.empty((0, n_features), X.dtype))
        self._join(team)
        n_piles = self.n_tasks * n_clusters if by_features else 0
        self.piles = Piles(
            np.empty((n_piles, n_features)), np.empty(n_piles), np.empty(n_piles, np.bool_)
        )

    def _join(self, team: Team) -> None:
        self.team = team
        large = self.work * self.shift.itemsize >= 4 * LARGE_STEP
        self.shared = large and len(team.helpers) > 0

    def open(self, X: Array, centers: Array, weights: Array, team: Team) -> None:
        """Begin once more, with all rows of `X` as the one batch of :meth:`step`.

        Parameters
        ----------
        X : ndarray of shape (batch_size, n_features)
            As many rows, of the same dtype, as those before; read-only.
        centers : ndarray of shape (n_clusters, n_features)
            Centers to go on from, not centred.
        weights : ndarray of shape (n_clusters,), float64
            Weight of the rows that each is the mean of.
        team : Team
            Threads to run on.
        """
        self.X, self.given = X, (read_only(centers), read_only(weights))
        self._join(team)

    def step(self, batch: Array, row_weights: Array | None = None) -> int:
        """One step that :meth:`open` came before, and :meth:`relabel` may follow.

        Rows need not be finite, but then the step is worthless; see :attr:`finite`.

        Parameters
        ----------
        batch : ndarray of shape (batch_size,), int64
            All rows.
        row_weights : ndarray of shape (batch_size,), optional
            Their weights.

        Returns
        -------
        int
            `MORE`, or `REASSIGN` where :meth:`reassign` is to be called.
        """
        centers, weights = self.given
        passed, rounded = self._batch(row_weights), np.empty(centers.shape, self.shift.dtype)
        n_relabelled = len(self.own_inertias) if len(self.apart) else 0
        self.finite, status, self._moved = _step_and_relabel(
            self._calls(passed), *self._open_gate(), self.n_tasks, n_relabelled, self.size, self.X,
            batch, passed, self.rules, centers, weights, self.own_inertias, rounded, self.running,
        )  # fmt: skip
        complete = self.finite and status == MORE
        self._rounded = rounded if complete else None
        self._relabelled = complete and n_relabelled > 0
        return int(status)

    def close(self) -> None:
        """Let the rows go; :meth:`open` may follow."""
        self.X, self._rounded = self.no_rows, None

    def centers(self) -> Array:
        """The centers (n_clusters, n_features), not centred, in the dtype of the rows."""
        if self._rounded is not None:
            return self._rounded
        exact = self.running.exact
        centers = np.empty(exact.shape, self.shift.dtype)
        _write_centers(exact, self.shift, centers)
        return centers

    @property
    def most_steps(self) -> int:
        """Steps from one look at signals to the next: some milliseconds."""
        return 1 + int(LOOP_WORK / (self.work + ROW_WORK * self.listed.size))

    def run(
        self, batches: Array, row_weights: Array | None = None, *, follow: bool = True
    ) -> tuple[int, int]:
        """Make a step for each batch, and stop early where the rules say so.

        Parameters
        ----------
        batches : ndarray of shape (n_steps, batch_size), int64
            Rows of each batch; at most :attr:`most_steps` batches.
        row_weights : ndarray of shape (batch_size,), optional
            Weights of the rows of the batch, by their place in it.
        follow : bool
            Whether the inertia is followed, by which a run ends.

        Returns
        -------
        n_steps : int
            Number of steps made.
        status : int
            `MORE`, `SMALL_SHIFT`, `NO_IMPROVEMENT`, or `REASSIGN`: :meth:`reassign` is to be
            called, and then :meth:`follow`, before more steps are made.
        """
        return self._run(len(batches), NO_DRAWS, batches, row_weights, follow)

    def run_drawn(self, n_steps: int, draws: RowDraws) -> int:
        """Make up to `n_steps` steps, each on a batch that is drawn for it; as :meth:`run`.

        Parameters
        ----------
        n_steps : int
            At most :attr:`most_steps`.
        draws : RowDraws
            How; the last batch that was drawn is ``listed[0]``.

        Returns
        -------
        int
            `MORE`, or why it has come back.
        """
        return self._run(n_steps, draws, self.listed, None, True)[1]

    def _run(
        self, n_steps: int, draws: RowDraws, batches: Array, row_weights: Array | None, follow: bool
    ) -> tuple[int, int]:
        self._moved, self._rounded, self._relabelled = None, None, False
        passed = self._batch(row_weights)
        return _steps(
            self._calls(passed), *self._open_gate(), self.n_tasks, n_steps, follow, self.size,
            draws, self.X, batches, passed, self.rules, self.running,
        )  # fmt: skip

    def _open_gate(self) -> tuple[Array, Array]:
        return self.team.open(self.work if self.shared else 0.0, self.n_tasks)

    def _batch(self, row_weights: Array | None) -> Batch:
        weights = self.none if row_weights is None else read_only(row_weights)
        return Batch(
            weights, self.shift, len(self.running.weights), self.panels, self.labels, self.apart,
            self.inertias, self.lengths, self.piles,
        )  # fmt: skip

    def _calls(self, batch: Batch) -> Calls:
        gate, listed, running = self.team.gate, self.listed[0], self.running
        key = self.X.dtype
        arguments = gate, gate, 1, self.X, listed
        relabel = NOWHERE
        if len(self.apart):
            again = self.panels, running.exact, self.labels, self.apart, 0.0, self.own_inertias
            relabel = reference(
                _relabel, key, *arguments, batch.row_weights, self.shift, *again
            )  # fmt: skip
        return Calls(
            reference(_assign, key, *arguments, *batch),
            panels_reference(running.centers, self.panels),
            relabel,
        )

    def follow(self) -> int:
        """Follow the rules after a reassignment; `MORE` or why to stop."""
        return int(_follow_step(self.rules, self.running))

    def relabel(self, batch: Array, row_weights: Array | None = None) -> tuple[Array, float]:
        """Labels and inertia of the batch just seen, for the centers as they are now.

        Parameters
        ----------
        batch : ndarray of shape (batch_size,), int64
            Its rows.
        row_weights : ndarray of shape (batch_size,), optional
            Weights of its rows.

        Returns
        -------
        labels : ndarray of shape (batch_size,), int32
            Index of the nearest center.
        inertia : float
            Weighted sum of squared distances to these.
        """
        running = self.running
        if self._moved is None:
            fill_panels(running.centers, self.panels)
            self._moved = _largest_move(running.exact, running.previous)
        if not self._relabelled:
            weights = self.none if row_weights is None else read_only(row_weights)
            self.team.run(
                _relabel, self.work if self.shared else 0.0, len(self.own_inertias), self.X, batch,
                weights, self.shift, self.panels, running.exact, self.labels, self.apart,
                self._moved, self.own_inertias,
            )  # fmt: skip
            self._relabelled = True
        return self.labels[: len(batch)].copy(), float(self.own_inertias.sum())

    def reassign(self, batch: Array, random_state: np.random.RandomState) -> int:
        """Move centers of little weight to rows of the batch just seen, as scikit-learn does.

        Parameters
        ----------
        batch : ndarray of shape (batch_size,), int64
            Its rows.
        random_state : numpy.random.RandomState
            Drawn from once.

        Returns
        -------
        int
            Number of centers that were moved.
        """
        self._moved, self._rounded, self._relabelled = None, None, False
        weights = self.running.weights
        moved = weights < self.rules.ratio * weights.max()
        most = int(0.5 * len(batch))
        if np.count_nonzero(moved) > 0.5 * len(batch):
            moved[np.argsort(weights)[most:]] = False
        n_moved = int(np.count_nonzero(moved))
        if n_moved:
            chosen = random_state.choice(len(batch), replace=False, size=n_moved)
            weights[moved] = weights[~moved].min()
            self._move(moved, batch[chosen])
        return n_moved

    def _move(self, moved: Array, listed: Array) -> None:
        """Make centers the listed rows, each of the weight that it has now."""
        centers, exact, sums, weights = self.running[:4]
        exact[moved] = self.X[listed] - self.shift[: self.X.shape[1]]
        sums[moved] = exact[moved] * weights[moved, None]
        centers[moved] = exact[moved]

    def state(self) -> dict[str, Array]:
        """What the steps to come depend on, by name: to be saved, and written to when restored."""
        names = ("centers", "exact", "sums", "weights", "monitor")
        return {name: getattr(self.running, name) for name in names}
