"""Every kernel of a fit, ready to be called, and what a call of it must do.

One table, `KERNELS`, for whatever times kernels: ``fastclust roofline``, ``fastclust growth`` and
the repository's benchmarks. A maker gets the shape of a problem and the threads; it makes the data
and every buffer, and returns the call.

Operations and bytes are those that the problem needs, counted by formulae from its shape, not what
the kernel happens to do: a kernel which spares work may come out above the roof. Bytes are counted
once for each pass, as if nothing but the rows had to come from memory; exponentials and
comparisons count nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fastclust.kernels.algorithms import ALGORITHMS
from fastclust.kernels.batch_rules import Rules
from fastclust.kernels.components import make_densities
from fastclust.kernels.distances import own_distances
from fastclust.kernels.gaussian import (
    COVARIANCES,
    DISTANCES,
    MEANS,
    VARIANCES,
    Densities,
    Sweep,
)
from fastclust.kernels.lloyd import Lloyd
from fastclust.kernels.machine.parallel import Team
from fastclust.kernels.minibatch import MiniBatches
from fastclust.kernels.moments import column_moments
from fastclust.kernels.screening import pays_to_screen
from fastclust.kernels.seeding import GreedyKMeansPlusPlus
from fastclust.kernels.sparse import (
    SparseLloyd,
    SparseUpdate,
    make_sparse_rows,
)
from fastclust.kernels.sparse_minibatch import SparseMiniBatches
from fastclust.kernels.sparse_seeding import SparseKMeansPlusPlus
from fastclust.kernels.tiles import make_rows, padded_vector
from fastclust.kernels.update import Update
from fastclust.workloads import FloatArray, gaussian_blobs

from .measuring import SEED

LABEL_BYTES = 4
# Iterations of the algorithms with bounds, which spare little in the first and more in each later.
ITERATIONS = 10
SEEDING_ROUNDS = 16
NEVER = -1.0  # a tolerance that no shift of centers is within
BATCH_SIZE, BATCH_STEPS = 1024, 16
SPARSE_DENSITY = 0.01


class Problem(NamedTuple):
    """Shape of a problem: rows, features, clusters and data type."""

    n_samples: int
    n_features: int
    n_clusters: int
    dtype: str = "float64"

    @property
    def text(self) -> str:
        """The shape, without the data type."""
        return f"{self.n_samples}×{self.n_features}, k={self.n_clusters}"

    @property
    def products(self) -> float:
        """Operations of all distances, or of all dot products."""
        return 2.0 * self.n_samples * self.n_features * self.n_clusters

    def make(self) -> FloatArray:
        """The data: as many blobs as clusters."""
        return gaussian_blobs(self.n_samples, self.n_features, self.n_clusters, self.dtype)


@dataclass(frozen=True)
class Task:
    """One call of a kernel, and what it must do.

    Attributes
    ----------
    kernel, shape, dtype : str
        Names.
    arithmetic : str
        Type in which nearly all of its operations are done: not always that of the data.
    flops, n_bytes : float
        Operations, a multiply-add being two, and bytes to move.
    action : callable
        The call.
    """

    kernel: str
    shape: str
    dtype: str
    arithmetic: str
    flops: float
    n_bytes: float
    action: Callable[[], Any]


# What a maker returns: operations, bytes, and the call.
Call: TypeAlias = tuple[float, float, Callable[[], Any]]
Maker: TypeAlias = Callable[[Problem, Team], Call]


# --- k-means ---------------------------------------------------------------------------------


class Iterations:
    """The two halves of an iteration as a fit runs them, from the same start as often as asked.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The data.
    n_clusters : int
        Number of clusters; the start is as many rows drawn at random.
    threads : Team
        Threads to run on.
    algorithm : type
        Of :data:`.kernels.algorithms.ALGORITHMS`.
    """

    def __init__(
        self, X: FloatArray, n_clusters: int, threads: Team, algorithm: type[Lloyd] = Lloyd
    ) -> None:
        n_samples, n_features = X.shape
        self.X, self.threads = X, threads
        self.mean = padded_vector(column_moments(X, threads)[0], X.dtype)
        self.rows = make_rows(X)
        chosen = np.random.default_rng(SEED).choice(n_samples, n_clusters, replace=False)
        self.start = X[chosen] - self.mean[:n_features]
        self.centers, self.new_centers = self.start.copy(), np.empty_like(self.start)
        self.update = Update(self.rows, self.mean, n_clusters, threads)
        self.algorithm = algorithm(self.rows, self.mean, n_clusters, self.update, threads)
        self.n_bytes = float(X.nbytes + LABEL_BYTES * n_samples)

    def assign(self) -> None:
        """Label the rows by the start, and do no more about it."""
        self.algorithm.assign(self.start, account=False)

    def step(self) -> None:
        """One iteration more."""
        self.algorithm.assign(self.centers)
        self.update.new_centers(self.algorithm.labels, self.centers, self.new_centers)
        self.centers, self.new_centers = self.new_centers, self.centers

    def iterate(self, times: int = 1) -> None:
        """Iterations from the start, as a fit makes them; no row need have a label."""
        self.centers[:] = self.start
        while times > 0:
            if self.algorithm.iterates:
                times -= self.algorithm.iterate(times, NEVER, self.centers, self.new_centers)[0]
                self.centers, self.new_centers = self.new_centers, self.centers
            else:
                times -= 1
                self.step()

    def restart(self, times: int = 1) -> None:
        """Iterations from the start, before which no row has a label."""
        self.update.reset()
        self.algorithm.reset()
        self.iterate(times)


def _iterations_of(problem: Problem, threads: Team, algorithm: type[Lloyd] = Lloyd) -> Iterations:
    return Iterations(problem.make(), problem.n_clusters, threads, algorithm)


def _assignment(problem: Problem, threads: Team) -> Call:
    """All distances, and the smallest of each row; no label changes."""
    fit = _iterations_of(problem, threads)
    return problem.products, fit.n_bytes, fit.assign


def _iteration(problem: Problem, threads: Team) -> Call:
    """An iteration once the labels are settled: of the update its merge remains."""
    fit = _iterations_of(problem, threads)
    fit.restart()
    return problem.products, fit.n_bytes, fit.iterate


def _first_iteration(problem: Problem, threads: Team) -> Call:
    """An iteration that changes every label: the most that an update can be."""
    fit = _iterations_of(problem, threads)
    return problem.products + fit.X.size, fit.n_bytes, fit.restart


def _iterations(problem: Problem, threads: Team, *, algorithm: str) -> Call:
    """Several iterations of one algorithm from the same start, beginning with every label."""
    fit = _iterations_of(problem, threads, ALGORITHMS[algorithm])
    flops, n_bytes = problem.products + fit.X.size, fit.n_bytes
    return ITERATIONS * flops, ITERATIONS * n_bytes, partial(fit.restart, ITERATIONS)


def _inertia(problem: Problem, threads: Team) -> Call:
    """Distances of all rows to their own centers, in double precision."""
    fit = _iterations_of(problem, threads)
    fit.assign()
    labels = fit.algorithm.labels
    action = partial(own_distances, fit.rows, fit.mean, fit.start, labels, threads)
    return 2.0 * fit.X.size, fit.n_bytes, action


def _moments(problem: Problem, threads: Team) -> Call:
    """Mean and variance of all columns, in one read of the data."""
    X = problem.make()
    return 3.0 * X.size, float(X.nbytes), partial(column_moments, X, threads)


def _seeding(problem: Problem, threads: Team, *, n_rounds: int) -> Call:
    """Rounds of greedy k-means++: a first center, and the best of the candidates for each other.

    After two rounds rows are skipped that no candidate can win, and work is no longer fixed.
    """
    X = problem.make()
    seeding = GreedyKMeansPlusPlus(make_rows(X), n_rounds, threads)
    # Each round reads the rows, and reads or writes every row's distance to its nearest center.
    n_bytes = float(n_rounds * (X.nbytes + X.itemsize * problem.n_samples))
    flops = 2.0 * X.size * (1 + (n_rounds - 1) * seeding.n_trials)
    return flops, n_bytes, lambda: seeding.choose(np.random.RandomState(SEED))


def _batch_steps(
    problem: Problem, make: Callable[..., MiniBatches], X: Any, start: FloatArray, threads: Team
) -> Callable[[], None]:
    """Steps of mini-batches, all drawn before; each call goes on where the one before ended."""
    size = min(BATCH_SIZE, problem.n_samples)
    rules = Rules(0.0, 1.0, -1, 0.0, 10 * problem.n_clusters, size)
    shift = padded_vector(np.zeros(problem.n_features), X.dtype)
    steps = make(X, shift, start.astype(np.float64), np.zeros(len(start)), size, rules, threads)
    batches = np.random.default_rng(SEED).integers(problem.n_samples, size=(BATCH_STEPS, size))

    def action() -> None:
        for first in range(0, BATCH_STEPS, steps.most_steps):
            steps.run(batches[first : first + steps.most_steps])

    return action


def _minibatch_steps(problem: Problem, threads: Team) -> Call:
    """Steps of mini-batch k-means."""
    X = problem.make()
    action = _batch_steps(problem, MiniBatches, X, X[: problem.n_clusters].copy(), threads)
    share = BATCH_STEPS * min(BATCH_SIZE, problem.n_samples) / problem.n_samples
    return share * problem.products, share * X.nbytes, action


# --- Mixtures --------------------------------------------------------------------------------


def _mixture(problem: Problem, threads: Team, kind: str) -> tuple[Sweep, Densities, float]:
    """A sweep, components to evaluate, and the multiply-adds of one row and one component."""
    _, d, k, _ = problem
    X = problem.make()
    center = column_moments(X, threads)[0]
    precision = 1.0 / float(X.std())
    factors = {
        "full": np.stack([precision * np.eye(d)] * k),
        "tied": precision * np.eye(d),
        "diag": np.full((k, d), precision),
        "spherical": np.full(k, precision),
    }[kind]
    densities = make_densities(kind, X[:k] - center, factors, np.zeros(k))
    # A triangle, which tied components share, or a scaling; round ones need neither.
    triangle = d * (d + 1) / 2
    products = {"full": triangle, "tied": triangle / k, "diag": float(d), "spherical": 0.0}[kind]
    return Sweep(make_rows(X), center, threads), densities, products


def _sweep(problem: Problem, threads: Team, *, kind: str) -> Call:
    """A step of EM: densities, posteriors and their moments."""
    sweep, densities, products = _mixture(problem, threads, kind)
    n, d, k, _ = problem
    # The squares of the products' results; then the first moments, and the second ones.
    seconds = {"full": d * (d + 1) / 2, "diag": float(d)}.get(kind, 0.0)
    order = {"full": COVARIANCES, "tied": MEANS, "diag": VARIANCES, "spherical": DISTANCES}[kind]
    flops = 2.0 * n * k * (products + d + d + seconds)
    return flops, float(sweep.rows.X.nbytes), partial(sweep.moments, densities, order)


def _log_densities(problem: Problem, threads: Team, *, kind: str) -> Call:
    """The log-density of the mixture at every row."""
    sweep, densities, products = _mixture(problem, threads, kind)
    n, d, k, _ = problem
    n_bytes = float(sweep.rows.X.nbytes + 8 * n)
    return 2.0 * n * k * (products + d), n_bytes, partial(sweep.log_norms, densities)


# --- Sparse rows -----------------------------------------------------------------------------


def sparse_rows(problem: Problem) -> Any:
    """Sparse rows: one value in a hundred is not zero.

    Parameters
    ----------
    problem : Problem
        The shape.

    Returns
    -------
    scipy.sparse.csr_matrix of shape (n_samples, n_features)
        The rows.
    """
    import scipy.sparse

    return scipy.sparse.random(
        problem.n_samples,
        problem.n_features,
        density=SPARSE_DENSITY,
        format="csr",
        random_state=SEED,
        dtype=np.dtype(problem.dtype).type,
    )


class SparseFit:
    """An assignment of sparse rows in the middle of a fit.

    Parameters
    ----------
    problem : Problem
        The shape.
    threads : Team
        Threads to run on.
    """

    def __init__(self, problem: Problem, threads: Team) -> None:
        X, k = sparse_rows(problem), problem.n_clusters
        rows, mean = make_sparse_rows(X), np.zeros(problem.n_features, X.dtype)
        self.start = X[:k].toarray()
        self.update = SparseUpdate(rows, mean, k, threads)
        self.lloyd = SparseLloyd(rows, mean, k, self.update, threads)
        self.flops = 2.0 * X.nnz * k
        n_bytes = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
        self.n_bytes = float(n_bytes + LABEL_BYTES * problem.n_samples)

    def restart(self) -> None:
        """A first iteration, which changes every label."""
        self.update.reset()
        self.lloyd.reset()
        self.lloyd.assign(self.start)
        self.update.new_centers(self.lloyd.labels, self.start, np.empty_like(self.start))


def _sparse_assignment(problem: Problem, threads: Team) -> Call:
    """All distances of sparse rows, and the smallest of each."""
    fit = SparseFit(problem, threads)
    return fit.flops, fit.n_bytes, partial(fit.lloyd.assign, fit.start, account=False)


def _sparse_first_iteration(problem: Problem, threads: Team) -> Call:
    """An iteration over sparse rows that changes every label."""
    fit = SparseFit(problem, threads)
    return fit.flops, fit.n_bytes, fit.restart


def _sparse_seeding(problem: Problem, threads: Team) -> Call:
    """Rounds of greedy k-means++ on sparse rows."""
    X = sparse_rows(problem)
    seeding = SparseKMeansPlusPlus(make_sparse_rows(X), SEEDING_ROUNDS, threads)
    flops = 2.0 * X.nnz * (1 + (SEEDING_ROUNDS - 1) * seeding.n_trials)
    n_bytes = float(SEEDING_ROUNDS * (X.data.nbytes + X.indices.nbytes))
    return flops, n_bytes, lambda: seeding.choose(np.random.RandomState(SEED))


def _sparse_minibatch_steps(problem: Problem, threads: Team) -> Call:
    """Steps of mini-batch k-means on sparse rows."""
    X = sparse_rows(problem)
    start = X[: problem.n_clusters].toarray()
    action = _batch_steps(problem, SparseMiniBatches, X, start, threads)
    share = BATCH_STEPS * min(BATCH_SIZE, problem.n_samples) / problem.n_samples
    return share * 2.0 * X.nnz * problem.n_clusters, share * X.data.nbytes, action


# --- The table -------------------------------------------------------------------------------

KINDS = ("full", "tied", "diag", "spherical")
# By name. Names are kept, as they are what results are found by over the years.
KERNELS: dict[str, Maker] = {
    "assignment": _assignment,
    "first iteration": _first_iteration,
    "Lloyd iteration": _iteration,
    **{
        f"{ITERATIONS} iterations, {name}": partial(_iterations, algorithm=name)
        for name in ALGORITHMS
        if name not in ("full", "exponion")  # old names
    },
    "inertia": _inertia,
    "column moments": _moments,
    "seeding, 2 rounds": partial(_seeding, n_rounds=2),
    f"seeding, {SEEDING_ROUNDS} rounds": partial(_seeding, n_rounds=SEEDING_ROUNDS),
    f"{BATCH_STEPS} mini-batches": _minibatch_steps,
    **{f"EM sweep, {kind}": partial(_sweep, kind=kind) for kind in KINDS},
    **{f"log densities, {kind}": partial(_log_densities, kind=kind) for kind in KINDS},
    "sparse assignment": _sparse_assignment,
    "sparse first iteration": _sparse_first_iteration,
    f"sparse seeding, {SEEDING_ROUNDS} rounds": _sparse_seeding,
    f"{BATCH_STEPS} sparse mini-batches": _sparse_minibatch_steps,
}


# Kernels whose distances are those of Lloyd's tile.
SCREENED = ("assignment", "first iteration", "Lloyd iteration")


def arithmetic(kernel: str, problem: Problem) -> str:
    """Type in which a kernel computes nearly everything.

    Parameters
    ----------
    kernel : str
        A key of `KERNELS`.
    problem : Problem
        The shape.

    Returns
    -------
    str
        ``"float32"`` or ``"float64"``.
    """
    _, n_features, n_clusters, dtype = problem
    if kernel.endswith("iterations, lloyd") or kernel in SCREENED:
        return "float32" if pays_to_screen(n_clusters, n_features, dtype) else dtype
    return dtype


def make_task(kernel: str, problem: Problem, threads: Team) -> Task:
    """A kernel, ready to be called.

    Parameters
    ----------
    kernel : str
        A key of `KERNELS`.
    problem : Problem
        The shape.
    threads : Team
        Threads to run on.

    Returns
    -------
    Task
        The call, and what it must do.
    """
    flops, n_bytes, action = KERNELS[kernel](problem, threads)
    kind = arithmetic(kernel, problem)
    return Task(kernel, problem.text, problem.dtype, kind, flops, n_bytes, action)
