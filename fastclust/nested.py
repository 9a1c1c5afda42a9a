"""Nested mini-batches: k-means on a growing part of the rows, each counted once.

Newling, J., Fleuret, F.: Nested mini-batch k-means. NIPS 2016.

The rows are put into random order, and k-means runs on the first of them only.  A row that changes
its cluster leaves the sum of the old one, so that centers are means of their rows and not of their
history, as those of ordinary mini-batches are.  The part is doubled once the centers move by less
than the standard errors that come of its size: to settle them any better would be in vain.  What
more rows could add is seen when they join: where they are as close to the centers as the rows that
these were fitted to, the run ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .kernels.distances import own_distances
from .kernels.lloyd import Lloyd
from .kernels.machine.parallel import Team
from .kernels.tiles import Array, Rows, make_rows
from .kernels.update import Update
from .rows import mapped

# Standard errors of the centers over their movements, from which on more rows are asked for.
RESTING = 2.0
# Share by which rows may be farther from the centers for not having been fitted.
EXCESS = 1e-3


class Nested(NamedTuple):
    """Result of a run; `centers` are still centred."""

    centers: Array
    weights: Array
    n_steps: int
    n_rows: int
    mean_inertia: float


class NestedRules(NamedTuple):
    """When a run grows and ends, and whom it tells.

    Attributes
    ----------
    first : int
        Rows of the first part, not fewer than clusters.
    most_rows : float
        Rows that are assigned at most, each counted as often as it is.
    tol : float
        Largest sum of squared movements of the centers on all rows that counts as convergence.
    early_stop : bool
        Whether to end when more rows no longer help.
    verbose : bool
        Print a line for each step.
    observe : callable or None
        Called with the number of the step, its rows, the shift and the inertia; True ends the run.
    """

    first: int
    most_rows: float
    tol: float
    early_stop: bool
    verbose: bool
    observe: Callable[[int, int, float, float], bool] | None


class _Part:
    """The first rows of the order, and k-means on them.

    Parameters
    ----------
    rows : Rows
        The rows of this part.
    mean : ndarray of shape (padded n_features,)
        What they are centred by.
    n_clusters : int
        Number of clusters.
    team : Team
        Threads to run on.
    """

    def __init__(self, rows: Rows, mean: Array, n_clusters: int, team: Team) -> None:
        self.rows, self.mean, self.team = rows, mean, team
        self.update = Update(rows, mean, n_clusters, team)
        self.lloyd = Lloyd(rows, mean, n_clusters, self.update, team)

    @property
    def labels(self) -> Array:
        """Labels of the rows, -1 for those that have just joined."""
        return self.lloyd.labels[: len(self.rows.X)]

    def inherit(self, before: _Part, places: Array) -> None:
        """Take over the sums of a smaller part, and the labels of its rows, which are `places`."""
        for own, old in zip(self.update.totals, before.update.totals, strict=True):
            own[:] = old
        self.labels[places] = before.labels

    def squares(self, centers: Array) -> Array:
        """Squared distances of the rows to their own centers."""
        distances = np.empty(len(self.rows.X))
        own_distances(
            self.rows, self.mean, centers, self.lloyd.labels, self.team, distances=distances
        )
        return distances

    def step(self, centers: Array, new_centers: Array) -> tuple[bool, float, Array]:
        """One iteration; whether it changed anything, shift, and squared distances to `centers`."""
        n_changed = self.lloyd.assign(centers)
        shift, n_empty = self.update.new_centers(self.lloyd.labels, centers, new_centers)
        distances = self.squares(centers)
        n_moved = 0
        if n_empty:
            labels = self.lloyd.labels
            shift, n_moved = self.update.relocated(labels, distances, centers, new_centers)
        return n_changed + n_moved > 0, shift, distances

    def average(self, distances: Array) -> float:
        """Weighted mean of what belongs to the rows."""
        return float(
            np.average(distances, weights=self.rows.weights if len(self.rows.weights) else None)
        )

    def rests(self, distances: Array, centers: Array, new_centers: Array) -> bool:
        """Whether the last step lowered the inertia by less than the chance of the rows matters.

        A center that moves by p to the mean of rows of weight w lowers it by w p² (or more, by
        changed labels); its standard error as an estimate is worth as much as w times its square.
        """
        totals = self.update.totals
        weights = self.rows.weights if len(self.rows.weights) else 1.0
        scatter = np.bincount(self.labels, distances * weights, minlength=len(totals.counts))
        error = float((scatter / np.maximum(totals.counts - 1, 1)).sum())
        moved = ((new_centers.astype(np.float64) - centers) ** 2).sum(axis=1)
        return RESTING**2 * float((totals.weights * moved).sum()) <= error


def run_nested(
    X: Array,
    weights: Array | None,
    mean: Array,
    start: Array,
    rules: NestedRules,
    random_state: np.random.RandomState,
    team: Team,
) -> Nested:
    """k-means on nested parts of `X` from centred centers `start`.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        All rows.
    weights : ndarray of shape (n_samples,) or None
        Their weights.
    mean : ndarray of shape (padded n_features,)
        What rows and centers are centred by.
    start : ndarray of shape (n_clusters, n_features)
        Centers to start from, of the dtype of `X`.
    rules : NestedRules
        When it grows and ends.
    random_state : numpy.random.RandomState
        Source of the order of the rows.
    team : Team
        Threads to run on.

    Returns
    -------
    Nested
        The centers and what it took.
    """
    n_samples, n_features = X.shape
    n_clusters = len(start)
    order = random_state.permutation(n_samples)
    if weights is not None:  # rows of no weight last: no part has nothing else
        order = order[np.argsort(weights[order] == 0, kind="stable")]
    buffer = np.empty((0, n_features), X.dtype)
    part: _Part | None = None
    centers, new_centers = start.copy(), np.empty_like(start)
    size, seen, n_steps = min(rules.first, n_samples), 0.0, 0
    fitted = 0.0
    while True:
        before, places = part, np.arange(0)
        joining = 0 if before is None else len(before.rows.X)
        if 2 * size > n_samples:  # the rest joins in place: half the rows are copied at most
            size = n_samples
            rows, places, buffer = make_rows(X, weights), order[:joining], buffer[:0]
        else:
            buffer = _grown(buffer, X, order, size)
            own = None if weights is None else weights[order[:size]]
            rows, places = make_rows(buffer, own), np.arange(joining)
        part = _Part(rows, mean, n_clusters, team)
        if before is not None:
            part.inherit(before, places)
        joined: Any = part.labels < 0
        settled = False
        while not settled:
            changed, shift, distances = part.step(centers, new_centers)
            mapped.check()
            seen, n_steps = seen + size, n_steps + 1
            if rules.verbose:
                print(f"Nested step {n_steps}: {size} rows, mean inertia: {distances.mean()}")
            rests = part.rests(distances, centers, new_centers)
            centers, new_centers = new_centers, centers
            enough = joined is not None and _as_close(distances[joined], fitted)
            joined, fitted = None, part.average(distances)
            inertia = fitted * n_samples
            ends = rules.observe is not None and rules.observe(n_steps, size, shift, inertia)
            settled = rests or not changed
            done = size == n_samples and (settled or shift <= rules.tol)
            if ends or done or (rules.early_stop and enough) or seen + size > rules.most_rows:
                return Nested(centers, part.update.totals.weights, n_steps, int(seen), fitted)
        size *= 2


def _as_close(distances: Array, fitted: float) -> bool:
    """Whether rows are surely hardly farther for not having been fitted, which others were.

    That is all that more rows could mend.
    """
    error = float(distances.std()) / np.sqrt(len(distances))
    return float(distances.mean()) + 2 * error <= (1 + EXCESS) * fitted


def _grown(buffer: Array, X: Array, order: Array, size: int) -> Array:
    """The first `size` rows of the order; `buffer` holds some of them."""
    grown = np.empty((size, X.shape[1]), X.dtype)
    grown[: len(buffer)] = buffer
    np.take(X, order[len(buffer) : size], axis=0, out=grown[len(buffer) :], mode="clip")
    return grown
