"""THE iteration loop of k-means: tolerance, empty clusters, verbosity, for every algorithm.

An algorithm (see ``fastclust.kernels.lloyd``) assigns rows to given centers; an
:class:`~fastclust.kernels.update.Update` keeps the sums.  Convergence is scikit-learn's: strict
when no label changes, else when the centers have moved by no more than the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from . import mapped, validation
from .kernels.algorithms import seeding_for
from .kernels.parallel import Team
from .kernels.sparse import SparseRows
from .kernels.tiles import Array, Rows
from .sources import Source


class Fit(NamedTuple):
    """Result of one run from one start; `centers` are still centred.

    The labels lie where the next run of the loop will write its own; see :meth:`kept`.
    """

    labels: Array
    inertia: float
    centers: Array
    n_iter: int
    n_distances: int

    def kept(self, more: bool) -> Fit:
        """The same, to be held while there are `more` runs, if there are: with a copy of labels."""
        return self._replace(labels=self.labels.copy()) if more else self


class State(NamedTuple):
    """All that the rest of a run depends on, between two iterations."""

    centers: Array
    labels: Array
    totals: tuple[Array, ...]
    n_iter: int
    n_empty: int


class Loop:
    """Runs k-means from given starts on one data set, reusing its buffers.

    Parameters
    ----------
    algorithm : type
        One of the classes in ``fastclust.kernels.lloyd.ALGORITHMS``.
    rows : Rows or SparseRows
        The data.
    mean : ndarray of shape (padded n_features,)
        What rows and centers are centred by.
    n_clusters : int
        As for :class:`fastclust.KMeans`.
    team : Team
        Threads to run on.

    Attributes
    ----------
    max_iter : int
        As for :class:`fastclust.KMeans`.
    tol : float
        Absolute: largest sum of squared movements of centers that counts as convergence.
    verbose : bool
        Print a line for each iteration.
    observe : callable or None
        Called as ``observe(n_iter, shift, centers)`` after each iteration, with the centers that
        it began with; True ends the run.
    save : callable or None
        Called with the :class:`State` after each iteration that another one follows.
    """

    max_iter: int = 300
    tol: float = 0.0
    verbose: bool = False
    observe: Callable[[int, float, Array], bool] | None = None
    save: Callable[[State], None] | None = None

    def __init__(
        self,
        algorithm: type[Any],
        rows: Rows | SparseRows,
        mean: Array,
        n_clusters: int,
        team: Team,
    ) -> None:
        self.rows, self.mean, self.team = rows, mean, team
        self._equip(algorithm, n_clusters)

    def _equip(self, algorithm: type[Any], n_clusters: int) -> None:
        self.seeding = seeding_for(self.rows)
        self.update = algorithm.update_class(self.rows, self.mean, n_clusters, self.team)
        self.algorithm = algorithm(self.rows, self.mean, n_clusters, self.update, self.team)

    def centred(self, indices: Array) -> Array:
        """Rows of the data as centers to start from."""
        return self.rows.take(indices) - self.mean[: self.rows.shape[1]]

    def run(self, start: Array | None, resumed: State | None = None) -> Fit:
        """Iterate from centred centers `start` (n_clusters, n_features) to convergence.

        Or go on where a state was saved.
        """
        algorithm, update = self.algorithm, self.update
        update.reset()
        algorithm.reset()
        n_iter, n_empty, strict = 0, 0, False
        if resumed is not None:
            start, n_iter, n_empty = resumed.centers, resumed.n_iter, resumed.n_empty
            algorithm.labels[:] = resumed.labels
            for total, saved in zip(update.totals, resumed.totals, strict=True):
                total[:] = saved
        assert start is not None
        centers, new_centers = start.copy(), np.empty_like(start)
        while n_iter < self.max_iter:
            steps, n_changed, shift, n_empty = self._advance(n_iter, centers, new_centers)
            n_iter += steps
            mapped.check()
            if n_empty:
                shift = self._relocate(centers, new_centers)
            if self.verbose:
                inertia = self.inertia(centers)
                print(f"Iteration {n_iter - 1}, inertia {inertia}.")
            ends = self.observe is not None and self.observe(n_iter, shift, centers)
            centers, new_centers = new_centers, centers
            strict = n_changed == 0
            if strict or shift <= self.tol:
                self._report(n_iter - 1, strict, shift)
                break
            if ends:
                break
            if self.save is not None:
                totals = tuple(update.totals)
                self.save(State(centers, algorithm.labels, totals, n_iter, n_empty))
        centers = self._polished(centers, n_empty)
        if not strict:
            # Labels are to match the centers that are returned.
            algorithm.assign(centers, account=False)
        labels = algorithm.labels[: self.rows.shape[0]]
        return Fit(labels, self.inertia(centers), centers, n_iter, algorithm.n_distances)

    def _advance(
        self, n_iter: int, centers: Array, new_centers: Array
    ) -> tuple[int, int, float, int]:
        """One iteration, or several where the algorithm can and nobody listens."""
        if self.algorithm.iterates and not (self.verbose or self.observe or self.save):
            left = self.max_iter - n_iter
            return self.algorithm.iterate(left, self.tol, centers, new_centers)
        n_changed = self.algorithm.assign(centers)
        shift, n_empty = self.update.new_centers(self.algorithm.labels, centers, new_centers)
        return 1, n_changed, shift, n_empty

    def _polished(self, centers: Array, n_empty: int) -> Array:
        """The same centers, summed afresh: what rows came and left is forgotten."""
        if n_empty:  # relocated centers are not the means of their rows
            return centers
        polished = centers.copy()
        self.update.refresh(self.algorithm.labels, polished)
        return polished

    def _relocate(self, centers: Array, new_centers: Array) -> float:
        """Move empty clusters to the farthest rows; the movement of all centers thereafter."""
        distances = np.empty(self.rows.shape[0])
        self._own_distances(centers, distances)
        return self.update.relocated(self.algorithm.labels, distances, centers, new_centers)

    def inertia(self, centers: Array) -> float:
        """Sum of squared distances of the rows, as labelled, to `centers`."""
        return self._own_distances(centers)

    def _own_distances(self, centers: Array, distances: Array | None = None) -> float:
        return float(self.algorithm.own_distances(centers, distances))

    def _report(self, iteration: int, strict: bool, shift: float) -> None:
        if self.verbose and strict:
            print(f"Converged at iteration {iteration}: strict convergence.")
        elif self.verbose:
            print(
                f"Converged at iteration {iteration}: center shift {shift} "
                f"within tolerance {self.tol}."
            )


def first_centers(loop: Loop, X: Any, n_clusters: int, init: Any, random_state: Any) -> Array:
    """Centred centers for all ways to start but k-means++, with scikit-learn's draws."""
    rows = loop.rows
    n_samples, n_features = rows.shape
    mean = loop.mean[:n_features]
    if isinstance(init, str):
        weights = rows.weights if len(rows.weights) else np.ones(n_samples, rows.dtype)
        probabilities = weights / weights.sum()
        chosen = random_state.choice(n_samples, size=n_clusters, replace=False, p=probabilities)
        return loop.centred(chosen)
    if callable(init):
        if isinstance(X, Source):
            return init.choose_from(X, n_clusters, random_state) - mean
        data = X if scipy.sparse.issparse(X) else X - mean
        centers = init(data, n_clusters, random_state=random_state)
        return validation.check_centers("init", centers, X, n_clusters)
    return init - mean
