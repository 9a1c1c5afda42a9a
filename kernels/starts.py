"""All starts of a small fit in one call: seeding, iterations, labels, and which start is the best.

On a few thousand rows a pass takes microseconds, and Python between two passes takes longer.  The
kernels are those of every fit, called in the same order, so that the bits are the same.  What does
not end as most starts do (an empty cluster, more iterations than one call may take) is left to the
loop in Python, which runs that start again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .distances import own_reference
from .lloyd import Limits, Lloyd, asks_first, iterate, pack
from .machine.calling import call, offer_tasks
from .machine.compiling import helper, kernel
from .machine.loops import Launch
from .machine.parallel import new_counter
from .records import LABELS_ONLY, Array
from .seeding import GreedyKMeansPlusPlus, Seeds, forget_centers, run_rounds
from .update import slice_rows, slices_reference


class Calls(NamedTuple):
    """References to kernels; see :mod:`.machine.calling`."""

    iterate: Any
    seed: Any
    sum_slices: Any
    own: Any


class Draws(NamedTuple):
    """What the starts begin with: centers, or draws by which they are chosen."""

    starts: Array  # (n, k, d), written where rows are chosen
    firsts: Array  # (n,) the first rows
    uniforms: Array  # (n, k - 1, L)


class Chooser(NamedTuple):
    """What :func:`.seeding.run_rounds` is given, which chooses starts."""

    n_tasks: int
    seeds: Seeds
    gaps: Array


class Turn(NamedTuple):
    """What one call does."""

    first: int  # start
    most_steps: int  # after so many there are no more starts
    max_iter: int  # iterations of a start, at most
    tol: float  # shift at which they end


class Best(NamedTuple):
    """The best start so far."""

    labels: Array  # (n,) int32
    centers: Array  # (k, d)
    numbers: Array  # inertia; see below


INERTIA, STEPS, STEPS_SO_FAR = range(3)  # slots of Best.numbers


class Own(NamedTuple):
    """Room for what :func:`.distances.own_distances` adds up."""

    slice_size: int
    inertias: Array  # of slices
    exact: Array  # (k, d) float64: the centers


@helper
def _choose(calls, launch, number, draws, chooser, mean):
    """Write the rows that k-means++ chooses to the start, centred."""
    n_tasks, seeds, gaps = chooser
    starts, firsts, uniforms = draws
    _, rows, _, rounds = seeds
    forget_centers(rounds)
    rounds.chosen[0] = firsts[number]
    n_clusters = len(rounds.chosen)
    if n_clusters > 1:
        own = Launch(launch.counter, launch.gate, n_tasks, launch.alone)
        run_rounds(calls, own, 0, n_clusters, uniforms[number], seeds, gaps)
    for cluster in range(n_clusters):
        row = rounds.chosen[cluster]
        for t in range(starts.shape[2]):
            starts[number, cluster, t] = rows.X[row, t] - mean[t]


@helper
def _inertia(calls, launch, centers, job, own):
    """Sum of the squared distances of the rows to their own centers."""
    slice_size, inertias, exact = own
    exact[:] = centers
    offer_tasks(launch.counter)
    arguments = launch.counter, launch.gate, np.int64(len(inertias)), slice_size
    rest = job.rows, job.mean, exact, job.labels, inertias, inertias[:0]
    call(calls.own, None, arguments, rest)
    step = 1
    while step < len(inertias):  # as slices.tree_sum
        for place in range(0, len(inertias) - step, 2 * step):
            inertias[place] += inertias[place + step]
        step *= 2
    return inertias[0]


@helper
def _forget_rows(totals):
    """Begin with no row in any cluster."""
    totals.sums[:] = 0
    totals.weights[:] = 0
    totals.counts[:] = 0


@helper
def _are_occupied(labels, weights, n_samples, n_clusters):
    """Whether every cluster has a row that weighs something."""
    found = np.zeros(n_clusters, np.bool_)
    for row in range(n_samples):
        if len(weights) == 0 or weights[row] > 0:
            found[labels[row]] = True
    n_found = 0
    for cluster in range(n_clusters):
        n_found += found[cluster]
    return n_found == n_clusters


@helper
def _is_same_clustering(labels, others, n_clusters):
    """Whether two labellings are the same up to a permutation of the labels."""
    mapping = np.full(n_clusters, -1, np.int32)
    for row in range(len(others)):
        mapping[labels[row]] = others[row]
    n_others = 0
    for row in range(len(others)):
        n_others += mapping[labels[row]] != others[row]
    return n_others == 0


@kernel
def _run_starts(calls, launch, turn, screens, passed, sums, draws, chooser, own, best):
    """Run starts from number ``turn.first`` on; the number of the first that is left, and why.

    That is False where it must be run by the loop, its centers being in ``draws.starts``.
    """
    piles, totals, centers, new_centers = sums
    counter, gate, n_tasks, _ = launch
    first, left, max_iter, tol = turn
    slice_size, rows, mean, labels, _, _ = passed.job
    n_samples, n_clusters, numbers = len(best.labels), centers.shape[0], best.numbers
    limits = Limits(min(max_iter, left), tol, np.int64(0))
    for number in range(first, len(draws.starts)):
        if left <= 0:
            return number, True
        if len(draws.firsts):
            _choose(calls.seed, launch, number, draws, chooser, mean)
        centers[:] = draws.starts[number]
        labels[:] = -1
        _forget_rows(totals)
        steps, n_changed, shift, n_empty, asks = iterate(
            calls.iterate, launch, limits, screens, passed, sums
        )
        left -= steps
        strict = n_changed == 0
        if n_empty > 0 or not (strict or shift <= tol or steps == max_iter):
            return number, False
        # The same centers, summed afresh: what rows came and left is forgotten.
        _forget_rows(totals)
        offer_tasks(counter)
        arguments = counter, gate, n_tasks, slice_size, rows, mean
        call(calls.sum_slices, None, arguments, (labels, piles))
        none = 0.0, np.int64(0)
        call(calls.iterate.average, none, (piles, totals, new_centers, new_centers), ())
        passes = steps
        if not strict:  # labels are to match the centers that are returned
            passes += 1
            pack(calls.iterate, new_centers, passed.panels)
            asks = asks_first(calls.iterate, passed.panels, passed.screen, asks)
            offer_tasks(counter)
            arguments = counter, gate, n_tasks, asks, LABELS_ONLY
            call(calls.iterate.assign, None, arguments, passed)
            if not _are_occupied(labels, rows.weights, n_samples, n_clusters):
                return number, False
        numbers[STEPS_SO_FAR] += passes
        inertia = _inertia(calls, launch, new_centers, passed.job, own)
        if number == 0 or (
            inertia < numbers[INERTIA] and not _is_same_clustering(labels, best.labels, n_clusters)
        ):
            numbers[INERTIA], numbers[STEPS] = inertia, steps
            best.centers[:] = new_centers
            for row in range(n_samples):
                best.labels[row] = labels[row]
    return len(draws.starts), True


class SmallStarts:
    """Runs of k-means from several starts on few rows.

    Parameters
    ----------
    algorithm : Lloyd
        Whose passes are made; :attr:`.lloyd.Lloyd.is_small`.
    starts : ndarray of shape (n_starts, n_clusters, n_features)
        Centred centers; written where `seeding` chooses them.
    max_iter : int
        Most iterations of a start.
    tol : float
        Shift at which iterations end.
    seeding : GreedyKMeansPlusPlus
        On the same rows.
    firsts, uniforms : ndarray of shape (n_starts,) and (n_starts, n_clusters - 1, n_trials)
        What it draws for each start; empty where the starts are given.

    Attributes
    ----------
    best : Best
        The best start so far.
    """

    def __init__(
        self,
        algorithm: Lloyd,
        starts: Array,
        max_iter: int,
        tol: float,
        seeding: GreedyKMeansPlusPlus,
        firsts: Array,
        uniforms: Array,
    ) -> None:
        rows = algorithm.rows
        n_samples, n_features = rows.X.shape
        self.algorithm, self.max_iter, self.tol = algorithm, max_iter, tol
        self.draws = Draws(starts, firsts, uniforms)
        self.best = Best(
            np.empty(n_samples, np.int32), np.empty(starts.shape[1:], rows.dtype), np.zeros(3)
        )
        self.sums = algorithm.sums(np.empty_like(starts[0]), np.empty_like(starts[0]))
        own_slice = slice_rows(n_samples, n_features, 1)
        self.own = Own(
            own_slice, np.empty(-(-n_samples // own_slice)), np.empty(self.sums.centers.shape)
        )
        self.seeding = seeding

    @staticmethod
    def serve(algorithm: Any) -> bool:
        """Whether starts can be run here."""
        return isinstance(algorithm, Lloyd) and algorithm.is_small

    def run(self, first: int) -> tuple[int, bool]:
        """Run starts from number `first` on.

        Returns
        -------
        number : int
            The first that is left.
        here : bool
            Whether it can be run here.
        """
        algorithm, best, seeding, own = self.algorithm, self.best, self.seeding, self.own
        passed, gate = algorithm.passed(), algorithm.team.gate
        size, rows, mean, labels, piles, _ = passed.job
        calls = Calls(
            algorithm.calls(passed, self.sums),
            seeding.calls(),
            slices_reference(size, rows, mean, labels, piles, gate),
            own_reference(rows, mean, own.exact, labels, own.inertias, gate),
        )
        before = best.numbers[STEPS_SO_FAR]
        number, here = _run_starts(
            calls,
            Launch(new_counter(), gate, algorithm.n_slices, gate),
            Turn(first, algorithm.most_steps, self.max_iter, self.tol),
            algorithm.pays_to_screen,
            passed,
            self.sums,
            self.draws,
            Chooser(seeding.n_tasks, seeding.seeds(), seeding.gaps),
            own,
            best,
        )
        n_passes = int(best.numbers[STEPS_SO_FAR] - before)
        algorithm.n_distances += n_passes * len(best.labels) * algorithm.n_clusters
        return number, here

    def keep(self, labels: Array, centers: Array, inertia: float, n_iter: int) -> None:
        """Take a start that was run elsewhere for the best so far."""
        self.best.labels[:], self.best.centers[:] = labels, centers
        self.best.numbers[[INERTIA, STEPS]] = inertia, n_iter
