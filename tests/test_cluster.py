"""Fits to rows that workers hold: the bits of one machine, by the engine in this process."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import fastclust
from fastclust import KMeans, SampledKMeansPlusPlus
from fastclust.cluster.engine import Crew
from fastclust.cluster.held import HeldRows, HeldWeights
from fastclust.cluster.in_process import InProcess
from fastclust.cluster.layout import Share, nodes, shares
from fastclust.cluster.passes import Sizes, kmeans_sizes, mixture_sizes
from fastclust.cluster.vectors import pieces, total
from fastclust.kernels import gaussian, update
from fastclust.kernels.moments import Node, merged
from fastclust.mixtures import chunks

Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: Any) -> None:
    """Slices so small that there are many."""
    monkeypatch.setattr(update, "SLICE_WORK", 1000)


def rows(n_samples: int, n_features: int, dtype: Any = np.float64, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(6, n_features), scale=4.0)
    X = centers[rng.integers(6, size=n_samples)] + rng.normal(size=(n_samples, n_features))
    return X.astype(dtype)


def held(
    X: Array, weights: Array | None, sizes: Sizes, n_workers: int
) -> tuple[InProcess, HeldRows, HeldWeights | None]:
    main, others = sizes(*X.shape)
    own = None if weights is None else weights.astype(X.dtype)
    engine = InProcess(X, own, shares(X.shape, main, others, [1.0] * n_workers), 1)
    crew = Crew(engine)
    found = HeldRows(crew, X.shape, X.dtype, X[:1], "X")
    return engine, found, None if own is None else HeldWeights(crew, len(X), X.dtype)


def labels_of(estimator: Any) -> Array:
    labels = estimator.labels_
    return np.concatenate(labels.crew.map("labels", labels.name))


def assert_same(held_one: Any, local: Any, labels: bool = True) -> None:
    assert held_one.cluster_centers_.tobytes() == local.cluster_centers_.tobytes()
    assert held_one.inertia_ == local.inertia_
    assert held_one.n_iter_ == local.n_iter_
    if labels:
        assert labels_of(held_one).tobytes() == local.labels_.tobytes()


CASES = [
    (3000, 3, 5, np.float32, {"n_init": 3}),
    (4100, 16, 20, np.float64, {}),
    (1500, 40, 450, np.float64, {"max_iter": 5}),  # large piles
    (2500, 2, 8, np.float64, {"init": "random", "n_init": 2}),
    (1100, 300, 4, np.float32, {"algorithm": "elkan"}),
    (900, 5, 3, np.float32, {"init": SampledKMeansPlusPlus(100), "n_init": 2}),
    (3000, 3, 30, np.float32, {"init": "k-means||", "n_init": 2}),
    (900, 20, 60, np.float64, {"init": "k-means||"}),
    (40, 2, 1, np.float64, {}),
    (700, 4, 3, np.float64, {"tol": 0.0, "algorithm": "hamerly"}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_same_bits_as_on_one_machine(case: Any, weighted: bool) -> None:
    n_samples, n_features, k, dtype, options = case
    X = rows(n_samples, n_features, dtype)
    weights = np.random.default_rng(1).random(n_samples) if weighted else None
    options = {"random_state": 0, "max_iter": 20, **options}
    local = KMeans(k, **options).fit(X, sample_weight=weights)
    for n_workers in (1, 2, 3, 5):
        _, X_held, own = held(X, weights, kmeans_sizes(k), n_workers)
        assert_same(KMeans(k, **options).fit(X_held, sample_weight=own), local)


def test_wide_rows_are_drawn_as_on_one_machine() -> None:
    X = rows(200, 4100, np.float32)
    local = KMeans(5, random_state=0, max_iter=3).fit(X)
    _, X_held, _ = held(X, None, kmeans_sizes(5), 3)
    assert_same(KMeans(5, random_state=0, max_iter=3).fit(X_held), local)


@pytest.mark.parametrize("n_far", [1, 4])
def test_empty_clusters_are_moved_to_the_same_rows(n_far: int) -> None:
    X = rows(1500, 3)
    init = np.concatenate([X[:3], np.full((n_far, 3), 1e3) + np.arange(n_far)[:, None]])
    local = KMeans(3 + n_far, init=init, n_init=1, max_iter=30).fit(X)
    _, X_held, _ = held(X, None, kmeans_sizes(3 + n_far), 3)
    assert_same(KMeans(3 + n_far, init=init, n_init=1, max_iter=30).fit(X_held), local)


def test_duplicate_rows_leave_clusters_empty() -> None:
    X = np.repeat(rows(4, 2), 100, axis=0)
    with pytest.warns(UserWarning, match="distinct clusters"):
        local = KMeans(6, random_state=0, init="random", n_init=1).fit(X)
    _, X_held, _ = held(X, None, kmeans_sizes(6), 2)
    with pytest.warns(UserWarning, match="distinct clusters"):
        assert_same(KMeans(6, random_state=0, init="random", n_init=1).fit(X_held), local)


def test_rows_of_extreme_size_are_widened() -> None:
    X = (rows(500, 3) * 1e18).astype(np.float32)
    local = KMeans(3, random_state=0).fit(X)
    _, X_held, _ = held(X, None, kmeans_sizes(3), 2)
    assert_same(KMeans(3, random_state=0).fit(X_held), local)


@pytest.mark.parametrize(("k", "init"), [(5, "k-means++"), (5, "k-means||"), (450, "k-means++")])
def test_a_lost_worker_changes_no_bit(k: int, init: str) -> None:
    X, weights = rows(1500, 40), np.random.default_rng(1).random(1500)
    options: Any = {"init": init, "random_state": 0, "max_iter": 6, "n_init": 2}
    local = KMeans(k, **options).fit(X, sample_weight=weights)
    moments = np.random.default_rng(0).integers(20, 100 if k == 5 else 3000, size=(8, 2))
    for some in moments:
        engine, X_held, own = held(X, weights, kmeans_sizes(k), 3)
        n_workers = len(engine.shares)
        engine.to_lose = {(i % n_workers, int(call)) for i in range(3) for call in some}
        restored: list[int] = []
        restore = engine.restore

        def noted(numbers: Iterable[int], restore: Any = restore, noted: Any = restored) -> None:
            noted.extend(numbers)
            restore(list(numbers))

        engine.restore = noted  # type: ignore[method-assign]
        found = KMeans(k, **options)
        assert_same(found.fit(X_held, sample_weight=own), local)
        assert restored


def test_checkpoints_and_callbacks(tmp_path: Path) -> None:
    X, path = rows(2000, 4), tmp_path / "fit"
    options: Any = {"random_state": 0, "tol": 0.0, "n_init": 2}
    local = KMeans(8, **options).fit(X)
    seen: list[float] = []

    class Stopped(Exception):
        pass

    def stop(progress: Any) -> None:
        seen.append(progress.objective)
        if len(seen) == 12:
            raise Stopped

    how: Any = {"checkpoint": path, "checkpoint_every": 2}
    _, X_held, _ = held(X, None, kmeans_sizes(8), 2)
    with pytest.raises(Stopped):
        KMeans(8, **options).fit(X_held, callbacks=[stop], **how)
    assert path.stat().st_size < 10_000  # nothing of it is as long as the data
    _, X_held, _ = held(X, None, kmeans_sizes(8), 3)
    assert_same(KMeans(8, **options).fit(X_held, resume=True, **how), local)
    told: list[float] = []
    KMeans(8, **options).fit(X, callbacks=[lambda progress: told.append(progress.objective)])
    assert seen == told[:12]


def test_little_passes_between_workers() -> None:
    X, k = rows(20_000, 16, np.float32), 50
    engine, X_held, _ = held(X, None, kmeans_sizes(k), 4)

    def fit(max_iter: int) -> int:
        before = engine.n_bytes
        KMeans(k, init=X[:k], n_init=1, max_iter=max_iter, tol=0.0).fit(X_held)
        return engine.n_bytes - before

    assert (fit(12) - fit(2)) / 10 / 4 < 8 * k * 16 * 8


MIXTURES = [
    ("GaussianMixture", kind, {"init_params": init})
    for kind, init in zip(
        ["full", "tied", "diag", "spherical"],
        ["kmeans", "random", "k-means++", "kmeans"],
        strict=True,
    )
] + [
    ("BayesianGaussianMixture", kind, {"init_params": init})
    for kind, init in zip(
        ["full", "tied", "diag", "spherical"],
        ["random", "k-means++", "kmeans", "kmeans"],
        strict=True,
    )
]
MIXTURES.append(("GaussianMixture", "diag", {"acceleration": "squarem", "n_init": 2}))
FITTED = ["weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_", "n_iter_"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("case", MIXTURES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mixtures_have_the_same_bits(case: Any, dtype: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(gaussian, "LEAST_SLICE_ROWS", 128)
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 192)
    name, kind, options = case
    X = rows(1500, 3, dtype)
    options = {"covariance_type": kind, "random_state": 0, "max_iter": 5, **options}
    for weights in (None, np.random.default_rng(1).random(len(X))):
        local = getattr(fastclust, name)(n_components=3, **options)
        local.fit(X, sample_weight=weights)
        for n_workers in (1, 3):
            sizes = mixture_sizes(3, options.get("init_params") == "random")
            engine, X_held, own = held(X, weights, sizes, n_workers)
            engine.to_lose = {(n_workers - 1, 9), (0, 14)}
            found = clone(local).fit(X_held, sample_weight=own)
            for each in FITTED:
                assert np.array_equal(getattr(found, each), getattr(local, each)), each


def test_nodes_are_aligned_and_cover_all() -> None:
    for begin in range(40):
        for end in range(begin, 60):
            found = list(nodes(begin, end))
            assert [i for first, n in found for i in range(first, first + n)] == list(
                range(begin, end)
            )
            assert all(first % n == 0 and n & (n - 1) == 0 for first, n in found)


@pytest.mark.parametrize("n_workers", [1, 2, 3, 7, 64, 100])
def test_shares_are_even_and_of_few_nodes(n_workers: int) -> None:
    found = shares((512 * 640, 16), 640, [1024, 64], [1.0] * n_workers)
    assert found[0].first == 0
    assert found[-1].stop == 512 * 640
    for share, after in itertools.pairwise(found):
        assert share.stop == after.first
        assert share.stop <= share.end < share.stop + 1024
    sizes = np.array([share.stop - share.first for share in found])
    even = 512 * 640 / n_workers
    assert (abs(sizes - even) <= max(0.1 * even, 640)).all()
    counts = [len(list(nodes(*share.slices(640)))) for share in found]
    assert np.mean(counts) <= 5


def test_fewer_slices_than_workers() -> None:
    assert shares((100, 2), 64, [128], [1.0] * 5)[-1].stop == 100
    assert shares((10, 2), 64, [], [1.0] * 5) == [Share(0, 10, 10, 10, 2)]


@pytest.mark.parametrize("n", [1, 7, 128, 129, 1000, 8192, 20_001])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_in_parts_are_those_of_numpy(n: int, dtype: Any) -> None:
    values = np.random.default_rng(n).random(n).astype(dtype)
    for n_parts in (1, 2, 3, 6):
        borders = np.linspace(0, n, n_parts + 1).astype(int)
        parts = [(int(low), values[low:high]) for low, high in itertools.pairwise(borders)]
        found = total([pieces(part, low, n) for low, part in parts], n)
        assert found == values.sum()
        assert found.dtype == dtype
        wide = [pieces(part.astype(np.float64), low, n, chunked=True) for low, part in parts]
        if dtype == np.float32:
            assert total(wide, n, chunked=True) == values.sum(dtype=np.float64)


def test_moments_of_two_are_merged_as_by_the_kernel() -> None:
    left, right = (Node(n, np.full(2, float(n)), np.ones(2)) for n in (3, 5))
    node = merged(left, right)
    assert node.n_rows == 8
    np.testing.assert_allclose(node.means, (3 * 3 + 5 * 5) / 8)
    np.testing.assert_allclose(node.squares, 2 + 3 * 5 / 8 * 4)
