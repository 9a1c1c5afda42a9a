"""What mini-batches have added up, from step to step, and the rules by which a run ends.

Centers are sums and weights in float64 of centred rows; what rows are compared with is their
quotient, rounded to the dtype of the rows.  The rules are scikit-learn's: the smoothed inertia of
the batches, how far centers move, and when those that get few rows are reassigned.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .emit.sums import add_row
from .machine.compiling import helper, vector_sum
from .tiles import Array

# Why a run of steps has come back.
MORE, REASSIGN, SMALL_SHIFT, NO_IMPROVEMENT = 0, 1, 2, 3
# Slots of `Running.monitor`.
MEAN, SMOOTHED, LEAST, SINCE_LEAST, SEEN, STEP, SHIFT = range(7)
MONITOR_SIZE = 7


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
def add_rows(start, stop, X, listed, labels, row_weights, shift, sums, weights, touched, base):
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
def follow_rules(rules, running):
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
def add_piles(piles, running):
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
def add_batch(X, listed, labels, row_weights, shift, piles, running):
    """Add the rows of a batch to the sums, unless the tasks have done so on piles of their own."""
    _, _, sums, weights, _, touched, _ = running
    if len(piles.touched):
        add_piles(piles, running)
    else:
        n = len(listed)
        add_rows(0, n, X, listed, labels, row_weights, shift, sums, weights, touched, 0)


@helper
def finish(due, inertias, rules, running, follow):
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
    return follow_rules(rules, running) if follow else MORE


@vector_sum
def squared_move(exact, previous, cluster):
    total = 0.0
    for t in range(exact.shape[1]):
        change = exact[cluster, t] - previous[cluster, t]
        total += change * change
    return total


@helper
def largest_of_moves(exact, previous):
    """Largest distance that a center has moved; zero where nobody asks."""
    largest = 0.0
    for cluster in range(previous.shape[0]):
        largest = max(largest, squared_move(exact, previous, cluster))
    return np.sqrt(largest)


@helper
def open_running(given, weights, shift, running):
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
def round_centers(exact, shift, out):
    """Write the centers, not centred any more, to `out` (k, d), of the dtype of the rows."""
    for cluster in range(out.shape[0]):
        for t in range(out.shape[1]):
            out[cluster, t] = exact[cluster, t] + np.float64(shift[t])


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
