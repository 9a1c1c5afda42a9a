"""Micro-benchmarks of the kernels: ``pytest benchmarks --benchmark-only``, about a minute.

Each is one call of what a fit calls, on all threads, with every buffer made before.  The shapes
stand for the ways in which a kernel's time is spent: few features and many, few clusters and many,
and either precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fastclust.kernels.distances import own_distances
from fastclust.kernels.lloyd import Lloyd
from fastclust.kernels.moments import column_moments
from fastclust.kernels.parallel import Team, team
from fastclust.kernels.seeding import GreedyKMeansPlusPlus
from fastclust.kernels.tiles import Array, Rows, make_rows, padded_vector
from fastclust.kernels.update import Update
from fastclust.workloads import gaussian_blobs

# Rows, features, clusters, data type.
SHAPES = (
    (200_000, 2, 8, "float64"),
    (200_000, 3, 64, "float32"),
    (100_000, 16, 26, "float64"),
    (50_000, 64, 100, "float32"),
    (10_000, 784, 10, "float32"),
    (10_000, 128, 1000, "float32"),
)
# Rows, features, data type, of kernels in which the number of clusters plays no part.
FLAT_SHAPES = (
    (1_000_000, 2, "float64"),
    (200_000, 16, "float32"),
    (50_000, 64, "float64"),
    (10_000, 784, "float32"),
)
# The pytest-benchmark fixture.
Benchmark = Callable[..., Any]


def _name(shape: tuple[Any, ...]) -> str:
    return "-".join(map(str, shape))


per_shape = pytest.mark.parametrize("shape", SHAPES, ids=_name)
per_flat_shape = pytest.mark.parametrize("shape", FLAT_SHAPES, ids=_name)


@pytest.fixture(scope="module")
def threads() -> Iterator[Team]:
    """The threads of a fit, for all benchmarks together."""
    with team() as gathered:
        yield gathered


def timed(benchmark: Benchmark, action: Callable[[], Any]) -> None:
    """Benchmark `action`, which is called once before, as its first call compiles."""
    action()
    benchmark(action)


def engine(
    shape: tuple[int, int, int, str], threads: Team
) -> tuple[Rows, Array, Array, Update, Lloyd]:
    """Rows, mean, centered centers, update and assignment of a fit, the rows labelled."""
    n_samples, n_features, n_clusters, dtype = shape
    X = gaussian_blobs(n_samples, n_features, n_clusters, dtype)
    means, _ = column_moments(X, threads)
    mean = padded_vector(means, X.dtype)
    rows = make_rows(X)
    chosen = np.random.default_rng(0).choice(n_samples, n_clusters, replace=False)
    centers = X[chosen] - mean[:n_features]
    update = Update(rows, mean, n_clusters, threads)
    lloyd = Lloyd(rows, mean, n_clusters, update, threads)
    lloyd.assign(centers)
    return rows, mean, centers, update, lloyd


@per_shape
def test_assignment(benchmark: Benchmark, threads: Team, shape: Any) -> None:
    """An assignment pass that changes no label: all distances, and the smallest of each row."""
    *_, centers, _, lloyd = engine(shape, threads)
    timed(benchmark, lambda: lloyd.assign(centers, account=False))


@per_shape
def test_first_iteration(benchmark: Benchmark, threads: Team, shape: Any) -> None:
    """An iteration that changes every label: the assignment, and the most that an update can be."""
    *_, centers, update, lloyd = engine(shape, threads)
    new_centers = np.empty_like(centers)

    def iteration() -> None:
        update.reset()
        lloyd.reset()
        lloyd.assign(centers)
        update.new_centers(lloyd.labels, centers, new_centers)

    timed(benchmark, iteration)


@per_shape
def test_inertia(benchmark: Benchmark, threads: Team, shape: Any) -> None:
    """Distances of all rows to their own centers, in double precision."""
    rows, mean, centers, _, lloyd = engine(shape, threads)
    timed(benchmark, lambda: own_distances(rows, mean, centers, lloyd.labels, threads))


@per_flat_shape
def test_moments(benchmark: Benchmark, threads: Team, shape: Any) -> None:
    """Mean and variance of all columns, in one read of the data."""
    n_samples, n_features, dtype = shape
    X = gaussian_blobs(n_samples, n_features, 10, dtype)
    timed(benchmark, lambda: column_moments(X, threads))


@pytest.mark.parametrize("n_clusters", [2, 16])
@per_flat_shape
def test_seeding(benchmark: Benchmark, threads: Team, shape: Any, n_clusters: int) -> None:
    """Greedy k-means++: a first pass over all rows, and with more clusters the pruned ones."""
    n_samples, n_features, dtype = shape
    rows = make_rows(gaussian_blobs(n_samples, n_features, 16, dtype))

    def seeding() -> None:
        GreedyKMeansPlusPlus(rows, n_clusters, threads).choose(np.random.RandomState(0))

    timed(benchmark, seeding)
