"""THE iteration loop of k-means: tolerance, empty clusters, verbosity, for every algorithm.

An algorithm (see ``fastclust.kernels.lloyd``) assigns rows to given centers; an
:class:`~fastclust.kernels.update.Update` keeps the sums.  Convergence is scikit-learn's: strict
when no label changes, else when the centers have moved by no more than the tolerance.  Beyond it,
however a run ends, its labels are those of its centers, and no cluster is empty that could be moved
to a row.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from .kernels.algorithms import seeding_for
from .kernels.machine.parallel import Team
from .kernels.sparse import SparseRows
from .kernels.tiles import Array, Rows
from .rows import mapped

LOOK_AT = 1 << 14  # labels at a time


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


class End(Enum):
    """Why iterations have come to their end."""

    STRICT = "no label changes: labels and centers match"
    SETTLED = "no label changes, and clusters are empty that cannot be moved to a row"
    TOLERANCE = "centers hardly move, and there may be more iterations"
    LIMIT = "there may be no more iterations"


class Loop:
    """Runs k-means from given starts on one data set, reusing its buffers.

    Parameters
    ----------
    algorithm : type
        One of the classes in ``fastclust.kernels.algorithms.ALGORITHMS``.
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
        self.n_clusters = n_clusters
        self._equip(algorithm, n_clusters)

    def _equip(self, algorithm: type[Any], n_clusters: int) -> None:
        self.seeding = seeding_for(self.rows)
        self.update = algorithm.update_class(self.rows, self.mean, n_clusters, self.team)
        self.algorithm = algorithm(self.rows, self.mean, n_clusters, self.update, self.team)

    def alike(self, algorithm: type[Any], n_clusters: int, team: Team) -> Loop:
        """A loop on the same rows, for another number of clusters or with other threads."""
        loop = type(self)(algorithm, self.rows, self.mean, n_clusters, team)
        loop.max_iter, loop.verbose, loop.tol = self.max_iter, self.verbose, self.tol
        return loop

    def centred(self, indices: Array) -> Array:
        """Rows of the data as centers to start from."""
        return self.rows.take(indices) - self.mean[: self.rows.shape[1]]

    def run(self, start: Array | None, resumed: State | None = None, *, rough: bool = False) -> Fit:
        """Iterate from centred centers `start` (n_clusters, n_features) to convergence.

        Or go on where a state was saved.  What is `rough` has no inertia yet, and labels that are
        those of the last iteration, one before its centers.
        """
        algorithm, update = self.algorithm, self.update
        update.reset()
        algorithm.reset()
        n_iter, n_empty = 0, 0
        if resumed is not None:
            start, n_iter, n_empty = resumed.centers, resumed.n_iter, resumed.n_empty
            algorithm.labels[: len(resumed.labels)] = resumed.labels
            for total, saved in zip(update.totals, resumed.totals, strict=True):
                total[:] = saved
        assert start is not None
        centers, end = start.copy(), End.TOLERANCE
        for _ in start:  # each round but the last puts a center to where it is sure of a row
            if end == End.TOLERANCE:
                centers, n_iter, end, n_empty = self._iterate(centers, n_iter, n_empty)
                if rough:
                    labels = algorithm.labels[: self.rows.shape[0]]
                    return Fit(labels, np.nan, centers, n_iter, algorithm.n_distances)
                centers = self._polished(centers, n_empty)
            if end == End.STRICT:
                break
            # Labels are to match the centers that are returned.
            algorithm.assign(centers, account=False)
            if end == End.SETTLED or not self._fill(centers):
                break
        else:
            algorithm.assign(centers, account=False)
        labels = algorithm.labels[: self.rows.shape[0]]
        return Fit(labels, self.inertia(centers), centers, n_iter, algorithm.n_distances)

    def labelled(self, fit: Fit) -> Fit:
        """The same with labels and inertia of its centers."""
        algorithm = self.algorithm
        algorithm.reset()
        algorithm.assign(fit.centers, account=False)
        labels = algorithm.labels[: self.rows.shape[0]]
        return fit._replace(labels=labels, inertia=self.inertia(fit.centers))

    def _iterate(self, centers: Array, n_iter: int, n_empty: int) -> tuple[Array, int, End, int]:
        """Iterations from number `n_iter` on.

        Returns the centers, the next number, why they end, and how many clusters were empty.

        The array `centers` is written to.
        """
        new_centers, end, stops = np.empty_like(centers), End.LIMIT, False
        while n_iter < self.max_iter and not stops:
            steps, n_changed, shift, n_empty = self._advance(n_iter, centers, new_centers)
            n_iter, n_moved = n_iter + steps, 0
            mapped.check()
            if n_empty:
                shift, n_moved = self._relocate(centers, new_centers)
            if self.verbose:
                inertia = self.inertia(centers)
                print(f"Iteration {n_iter - 1}, inertia {inertia}.")
            stops = self.observe is not None and self.observe(n_iter, shift, centers)
            centers, new_centers = new_centers, centers
            if n_changed == 0 and not n_moved:
                # An empty cluster that no row is left for has been put to another one's center.
                end = End.SETTLED if n_empty else End.STRICT
                self._report(n_iter - 1, True, shift)
                break
            if shift <= self.tol:
                end = End.LIMIT if stops or n_iter == self.max_iter else End.TOLERANCE
                self._report(n_iter - 1, False, shift)
                break
            if self.save is not None and not stops:
                labels, totals = self.algorithm.labels, tuple(self.update.totals)
                own = labels[: self.rows.shape[0]]
                self.save(State(centers, own, totals, n_iter, n_empty))
        return centers, n_iter, end, n_empty

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

    def _relocate(self, centers: Array, new_centers: Array) -> tuple[float, int]:
        """Move empty clusters to the farthest rows; the movement of all centers, and how many."""
        distances = self._distances(centers)
        return self.update.relocated(self.algorithm.labels, distances, centers, new_centers)

    def _fill(self, centers: Array) -> bool:
        """Move centers that no row belongs to any more to the farthest rows; whether any was moved.

        Unlike :meth:`_relocate`, of centers that no other step may follow: the others stay.
        """
        labels, update = self.algorithm.labels, self.update
        empty = np.flatnonzero(
            ~occupied(labels[: self.rows.shape[0]], len(centers), self.rows.weights)
        )
        if not len(empty):
            return False
        update.refresh(labels, np.empty_like(centers))
        distances = self._distances(centers)
        *_, rows = update.destinations(labels, distances, centers, empty)
        centers[empty[: len(rows)]] = rows
        return len(rows) > 0

    def inertia(self, centers: Array) -> float:
        """Sum of squared distances of the rows, as labelled, to `centers`."""
        return self._own_distances(centers)

    def measured(self, labels: Array, centers: Array) -> tuple[float, Array]:
        """Inertia of the rows with these labels, and the squared distance of each row."""
        distances = np.empty(len(labels))
        self.algorithm.labels[: len(labels)] = labels
        return self._own_distances(centers, distances), distances

    def _distances(self, centers: Array) -> Array:
        """Squared distance of each row to the center of its label."""
        distances = np.empty(self.rows.shape[0])
        self._own_distances(centers, distances)
        return distances

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


def occupied(labels: Any, n_clusters: int, weights: Array | None = None) -> Array:
    """Which clusters have a row, of `weights` above zero where there are any (n_clusters,).

    Most often the first rows show that all have.
    """
    if not isinstance(labels, np.ndarray):  # rows that workers hold
        return labels.occupied(n_clusters, weights is not None and len(weights) > 0)
    found = np.zeros(n_clusters, np.bool_)
    for start in range(0, len(labels), LOOK_AT):
        here = labels[start : start + LOOK_AT]
        if weights is not None and len(weights):
            here = here[weights[start : start + LOOK_AT] > 0]
        found[here] = True
        if found.all():
            break
    return found
