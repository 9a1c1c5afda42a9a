"""Fits of k-means: the loop for the rows of a data set, the best of its starts, its checkpoints.

What the estimators do with :class:`.lloyd_loop.Loop` beyond one run of it.  All starts of a small
fit are made in one call of compiled code (:class:`.kernels.starts.SmallStarts`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from . import validation
from .checkpoints import Checkpoint, generator_state
from .kernels.algorithms import algorithm_for
from .kernels.machine.parallel import Team
from .kernels.seeding import draw_starts
from .kernels.starts import INERTIA, STEPS, Draws, SmallStarts
from .kernels.tiles import Array
from .lloyd_loop import Fit, Loop, State, occupied
from .preparation import Survey
from .rows import mapped
from .starts import first_centers

MOST = 2**63 - 1  # that a checkpoint may count to


def make_loop(algorithm: str, rows: Any, mean: Array, n_clusters: int, threads: Team) -> Loop:
    """The loop on opened rows, which are centred by `mean`."""
    kind = getattr(rows, "loop_class", Loop)  # of rows that are not here
    return kind(algorithm_for(rows, algorithm), rows, mean, n_clusters, threads)


def small_starts(
    loop: Loop, n_clusters: int, n_init: int, init: Any, random_state: np.random.RandomState
) -> SmallStarts | None:
    """What runs all starts in one call, on few rows; None where that is for the loop."""
    rows, algorithm = loop.rows, loop.algorithm
    if callable(init) or not SmallStarts.serve(algorithm):
        return None
    seeding = loop.seeding(rows, n_clusters, loop.team)
    shape = n_init, n_clusters, rows.shape[1]
    firsts, uniforms = np.empty(0, np.int64), np.empty((0, n_clusters - 1, seeding.n_trials))
    if isinstance(init, str) and init == "k-means++":
        starts = np.empty(shape, rows.dtype)
        firsts, uniforms = draw_starts(rows, *shape[:2], seeding.n_trials, random_state)
    else:
        drawn = [first_centers(loop, None, n_clusters, init, random_state) for _ in range(n_init)]
        starts = np.array(drawn).reshape(shape)
    return SmallStarts(algorithm, starts, loop.max_iter, loop.tol, seeding, firsts, uniforms)


def best_of_small(loop: Loop, starts: SmallStarts) -> Fit:
    """As the loop would find it."""
    number, n_starts = 0, len(starts.draws.starts)
    while number < n_starts:
        number, here = starts.run(number)
        mapped.check()
        if here:
            continue
        fit = loop.run(starts.draws.starts[number])
        if is_better(fit, None if number == 0 else _found(loop, starts)):
            starts.keep(fit.labels, fit.centers, fit.inertia, fit.n_iter)
        number += 1
    return _found(loop, starts)


def _found(loop: Loop, starts: SmallStarts) -> Fit:
    labels, centers, numbers = starts.best
    n_distances = loop.algorithm.n_distances
    return Fit(labels, float(numbers[INERTIA]), centers, int(numbers[STEPS]), n_distances)


def is_better(fit: Fit, best: Fit | None) -> bool:
    """Whether a start replaces the best so far: one that finds the same clusters does not."""
    return best is None or (
        fit.inertia < best.inertia
        and not _is_same_clustering(fit.labels, best.labels, len(best.centers))
    )


def _is_same_clustering(labels: Array, others: Array, n_clusters: int) -> bool:
    """Whether two labellings are the same up to a permutation of the labels."""
    if not isinstance(labels, np.ndarray):  # rows that workers hold
        return bool(labels.is_same_clustering(others, n_clusters))
    mapping = np.full(n_clusters, -1, others.dtype)
    mapping[labels] = others
    return bool((mapping[labels] == others).all())


class Clustering:
    """Plain fits of :class:`.kmeans.KMeans` with one start each.

    Parameters
    ----------
    data : Survey
        The rows.
    n_clusters : int
        Number of clusters.
    threads : Team
        Threads to run on.

    Attributes
    ----------
    starts : SmallStarts or None
        Where whole fits are run in compiled code.
    """

    starts: SmallStarts | None = None

    def __init__(self, data: Survey, n_clusters: int, threads: Team) -> None:
        data = data.widened()
        name = "lloyd" if n_clusters == 1 else "auto"
        self.loop = make_loop(name, data.opened(), data.center, n_clusters, threads)
        self.loop.tol = 1e-4 * data.mean_variance

    def run(self, random_state: np.random.RandomState) -> Array:
        """Labels of one fit, which lie where the next one writes its own."""
        loop, starts = self.loop, self.starts
        if starts is None:
            starts = small_starts(loop, loop.n_clusters, 1, "k-means++", random_state)
            self.starts = starts
        else:
            drawn = draw_starts(
                loop.rows, 1, loop.n_clusters, starts.seeding.n_trials, random_state
            )
            starts.draws = Draws(starts.draws.starts, *drawn)
        if starts is not None:
            return self._checked(best_of_small(loop, starts))
        start = loop.seeding(loop.rows, loop.n_clusters, loop.team).choose(random_state)
        return self._checked(loop.run(loop.centred(start)))

    def _checked(self, fit: Fit) -> Array:
        validation.check_inertia(fit.inertia)
        warn_of_duplicates(fit.labels, self.loop.n_clusters)
        return fit.labels


class Recorded:
    """Labels by a :class:`Clustering`, run by run, for fits that would all make the same runs.

    Mixtures of several covariance types begin alike where the rows, the number of components and
    the seed are the same: the first of these fits makes the runs, and the others read them.
    """

    def __init__(self, n_clusters: int = 0) -> None:
        self.n_clusters, self.number = n_clusters, 0
        self.runs: list[Array] = []

    def rewound(self, n_clusters: int) -> Recorded:
        """This record from its beginning; of another number of clusters, a new one."""
        self.number = 0
        return self if n_clusters == self.n_clusters else Recorded(n_clusters)

    def next(self, clustering: Callable[[], Clustering], random_state: Any) -> Array:
        """Labels of the next run; made, and drawn for, only by the first fit."""
        if self.number == len(self.runs):
            self.runs.append(clustering().run(random_state).copy())
        self.number += 1
        return self.runs[self.number - 1]


def warn_of_duplicates(labels: Array, n_clusters: int) -> None:
    n_distinct = int(np.count_nonzero(occupied(labels, n_clusters)))
    if n_distinct < n_clusters:
        validation.warn(
            f"Number of distinct clusters ({n_distinct}) found smaller than "
            f"n_clusters ({n_clusters}). Possibly due to duplicate points in X.",
            ConvergenceWarning,
        )


def recorded(
    state: State, number: int, best: Fit | None, random_state: np.random.RandomState
) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a checkpoint holds of a start and of the best so far: values and arrays."""
    values, arrays = generator_state(random_state)
    values |= {"number": number, "n_iter": state.n_iter, "n_empty": int(state.n_empty)}
    if best is not None:
        values |= {"best_inertia": best.inertia, "best_n_iter": best.n_iter}
        values["best_n_distances"] = best.n_distances
        arrays |= {"best_labels": _kept(best.labels), "best_centers": best.centers}
    sums, weights, counts = state.totals
    arrays |= {"sums": sums, "weights": weights, "counts": counts}
    return values, arrays | {"centers": state.centers, "labels": _kept(state.labels)}


def _kept(labels: Any) -> Array:
    """What a checkpoint holds of labels: they, or the centers that those of workers follow from."""
    found: Array = labels if isinstance(labels, np.ndarray) else labels.centers
    return found


def _labels_found(saved: Checkpoint, name: str, loop: Loop) -> Any:
    """Labels of a checkpoint; where workers hold them, the centers that they follow from."""
    n_samples, shape = loop.rows.shape[0], loop.update.totals.sums.shape
    if isinstance(loop.algorithm.labels, np.ndarray):
        return saved.array(name, (n_samples,), np.int32, 0, shape[0] - 1)
    return saved.array(name, shape, loop.rows.dtype)


def best_found(saved: Checkpoint, loop: Loop, reach: float = np.inf) -> Fit | None:
    """The best start of a checkpoint, if one had come to its end; no center is beyond `reach`."""
    if saved.integer("number", 0, MOST) == 0:
        return None
    shape = loop.update.totals.sums.shape
    labels = _labels_found(saved, "best_labels", loop)
    if not isinstance(loop.algorithm.labels, np.ndarray):
        loop.algorithm.labels.assign(labels)
        labels = loop.algorithm.labels.copy()
    return Fit(
        labels,
        saved.real("best_inertia"),
        saved.array("best_centers", shape, loop.rows.dtype, -reach, reach),
        saved.integer("best_n_iter", 1, loop.max_iter),
        saved.integer("best_n_distances", 0, MOST),
    )


def state_found(saved: Checkpoint, loop: Loop) -> State:
    """Where the run of a checkpoint had come to."""
    n_samples, shape = loop.rows.shape[0], loop.update.totals.sums.shape
    totals = (
        saved.array("sums", shape, np.float64),
        saved.array("weights", shape[:1], np.float64),
        saved.array("counts", shape[:1], np.int64, 0, n_samples),
    )
    return State(
        saved.array("centers", shape, loop.rows.dtype),
        _labels_found(saved, "labels", loop),
        totals,
        saved.integer("n_iter", 1, loop.max_iter),
        saved.integer("n_empty", 0, shape[0]),
    )
