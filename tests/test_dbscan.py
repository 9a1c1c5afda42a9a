"""DBSCAN: scikit-learn's labels to the last border row, and kernels against NumPy."""

from __future__ import annotations

import itertools
import logging
import pickle
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.cluster
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.metrics.pairwise import pairwise_distances

import fastclust
from fastclust import DBSCAN, dbscan, from_sklearn
from fastclust.density import EUCLIDEAN
from fastclust.kernels import cells, reference
from fastclust.kernels.clusters import Problem
from fastclust.kernels.emit.bits import count_bits
from fastclust.kernels.emit.rows_and_rows import add_absolutes
from fastclust.kernels.leaves import make_leaves, tree_order
from fastclust.kernels.machine.atomic import replace_if
from fastclust.kernels.machine.compiling import kernel
from fastclust.kernels.machine.parallel import team
from fastclust.kernels.neighbours import cluster_leaves, make_measure
from fastclust.kernels.tiles import aligned_empty
from fastclust.kernels.unions import find, singletons, unite

Array = np.ndarray[Any, Any]
FEATURES = (1, 2, 3, 4, 7, 16, 40)


def clustered(n: int, d: int, seed: int, dtype: Any = np.float64) -> tuple[Array, float]:
    """Some blobs and noise, and an `eps` that makes clusters, borders and noise of them."""
    rng = np.random.RandomState(seed)
    centers = rng.rand(4, d) * 6
    X = np.concatenate([centers[rng.randint(4, size=n)] + rng.normal(size=(n, d)) * 0.5])
    X[: n // 5] = rng.rand(n // 5, d) * 8 - 1
    eps = float(np.quantile(pairwise_distances(X), rng.uniform(0.01, 0.12)))
    return X[rng.permutation(n)].astype(dtype), max(eps, 1e-3) * (1 + 1e-5)  # no distance itself


def grid_of_integers(n: int, d: int, seed: int, dtype: Any = np.float64) -> tuple[Array, float]:
    """Whole numbers, with many distances of `eps` exactly."""
    rng = np.random.RandomState(seed)
    X = rng.randint(0, max(2, round(n ** (1 / d))), size=(n, d)).astype(dtype)
    return X, float(rng.choice([1.0, 2.0, 3.0, 5.0]))


def assert_same(X: Any, sample_weight: Any = None, **options: Any) -> DBSCAN:
    """Ours is scikit-learn's, in every attribute."""
    theirs = sklearn.cluster.DBSCAN(**options).fit(X, sample_weight=sample_weight)
    ours = DBSCAN(**options).fit(X, sample_weight=sample_weight)
    np.testing.assert_array_equal(ours.core_sample_indices_, theirs.core_sample_indices_)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_array_equal(ours.components_, theirs.components_)
    assert ours.labels_.dtype == theirs.labels_.dtype
    assert ours.components_.dtype == theirs.components_.dtype
    assert ours.n_features_in_ == theirs.n_features_in_
    return ours


@pytest.mark.parametrize("make", [clustered, grid_of_integers])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_labels_are_those_of_scikit_learn(make: Any, dtype: Any) -> None:
    for seed in range(50):
        rng = np.random.RandomState(seed)
        d, n = FEATURES[seed % len(FEATURES)], rng.randint(1, 350)
        X, eps = make(n, d, seed, dtype)
        weights = None if seed % 3 else rng.randint(-1, 4, n)
        assert_same(X, weights, eps=eps, min_samples=rng.randint(1, 9))


@pytest.mark.parametrize("metric", ["manhattan", "sqeuclidean", "cosine"])
@pytest.mark.parametrize("d", [2, 5, 20])
def test_the_labels_of_other_metrics(metric: str, d: int) -> None:
    for seed in range(4):
        X, eps = clustered(200, d, seed)
        if metric == "manhattan":
            assert_same(X.astype(np.float32), eps=eps * d**0.5, metric=metric)
            assert_same(np.round(X), eps=2.0, metric=metric)
        size = float(np.quantile(pairwise_distances(X, metric=metric), 0.04)) * (1 + 1e-5)
        assert_same(X, eps=size, metric=metric)


@pytest.mark.parametrize("make", [clustered, grid_of_integers])
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_cells_and_leaves_are_the_reference(make: Any, d: int) -> None:
    for seed, weighted in itertools.product(range(4), (False, True)):
        X, eps = make(260, d, seed)
        rng = np.random.RandomState(seed)
        weights = rng.randint(-1, 4, 260).astype(float) if weighted else None
        near = reference.squared_distances(X, X) <= eps * eps
        ones = np.ones(260) if weights is None else weights
        cores, labels = reference.dbscan(near, ones, 5)
        problem = Problem(5, weights)
        with team() as threads:
            measure = make_measure(X, eps * eps, absolute=False, narrow=False)
            found = [cluster_leaves(make_leaves(X, threads), measure, problem, threads)]
            if d <= cells.MOST_FEATURES:
                grid = cells.make_grid(X, eps)
                assert grid is not None
                found.append(cells.cluster_cells(grid, eps * eps, problem, threads))
        for result in found:
            np.testing.assert_array_equal(result.cores, cores)
            np.testing.assert_array_equal(result.labels, labels)


def test_cells_that_are_too_many_are_leaves() -> None:
    X = np.tile([[0.0, 0.0], [1e-9, 0.0], [1e3, 1e3], [1e3, 1e3 + 1e-9]], (5, 1))
    assert cells.make_grid(X, 1e-8) is None
    assert_same(X, eps=1e-8, min_samples=2)
    assert_same(np.float32(X * 1e-18), eps=1e-24, min_samples=2)


@pytest.mark.parametrize("d", [2, 5])
def test_the_threads_change_nothing(d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    X, eps = clustered(2000, d, 0)
    X = np.concatenate([X + shift for shift in (0, 0.01, 9, 9.03)])
    found = []
    for n_threads in (1, 2, 5):
        monkeypatch.setattr("fastclust.density.team", partial(team, n_threads))
        found.append(DBSCAN(eps).fit(X))
    for other in found[1:]:
        np.testing.assert_array_equal(other.labels_, found[0].labels_)
        np.testing.assert_array_equal(other.core_sample_indices_, found[0].core_sample_indices_)


def test_calls_that_are_cut_for_ctrl_c_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    X, eps = clustered(1500, 5, 0)
    whole = DBSCAN(eps).fit(X)
    for module in ("neighbours", "nearest"):
        monkeypatch.setattr(f"fastclust.kernels.{module}.MOST_WORK", 1.0)
    cut = DBSCAN(eps).fit(X)
    np.testing.assert_array_equal(cut.labels_, whole.labels_)
    np.testing.assert_array_equal(cut.predict(X), whole.predict(X))


@kernel
def _unite_all(parents, pairs):
    for i in range(len(pairs)):
        unite(parents, pairs[i, 0], pairs[i, 1])


@kernel
def _replace(numbers, place, old, new):
    return replace_if(numbers, place, old, new)


@kernel
def _ones(mask):
    return count_bits(mask)


@kernel
def _absolutes(rows, others, n_features, count, results):
    add_absolutes(rows, others, n_features, count, results)


def test_sets_are_known_by_their_least_member() -> None:
    rng = np.random.RandomState(0)
    pairs = rng.randint(0, 300, size=(200, 2))
    parents = singletons(300)
    _unite_all(parents, pairs)
    graph = scipy.sparse.coo_array((np.ones(200), pairs.T), shape=(300, 300))
    _, of = scipy.sparse.csgraph.connected_components(graph, directed=False)
    least = np.full(300, 300)
    np.minimum.at(least, of, np.arange(300))
    np.testing.assert_array_equal([find.plain(parents.copy(), i) for i in range(300)], least[of])
    assert (parents <= np.arange(300)).all()


def test_a_number_is_replaced_only_if_it_is_the_expected_one() -> None:
    numbers = np.arange(4)
    assert not _replace(numbers, 2, 3, 9)
    assert _replace(numbers, 2, 2, 9)
    np.testing.assert_array_equal(numbers, [0, 1, 9, 3])


@pytest.mark.parametrize("mask", [0, 1, 2**63, 2**64 - 1, 0x123456789ABCDEF])
def test_bits_are_counted(mask: int) -> None:
    assert _ones(np.uint64(mask)) == count_bits.plain(np.uint64(mask)) == mask.bit_count()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_absolute_differences(dtype: Any) -> None:
    rng = np.random.RandomState(0)
    tiles = [aligned_empty(64 * 5, dtype) for _ in range(2)]
    for tile in tiles:
        tile[:] = rng.normal(size=64 * 5)
    results = [aligned_empty(64 * 64, dtype) for _ in range(2)]
    for result, function in zip(results, (_absolutes, add_absolutes.plain), strict=True):
        result[:] = 1
        function(*tiles, 5, 9, result)
    np.testing.assert_allclose(results[0][: 9 * 64], results[1][: 9 * 64], rtol=1e-5)


@pytest.mark.parametrize("d", [2, 30])
def test_leaves_hold_every_row_once_in_boxes(d: int) -> None:
    X, _ = clustered(1100, d, 1)
    assert sorted(tree_order(X)) == list(range(1100))
    with team() as threads:
        leaves = make_leaves(X, threads)
    for leaf in range(len(leaves.boxes)):
        rows = X[leaves.order[leaf * 64 : leaf * 64 + 64]]
        np.testing.assert_array_equal(leaves.boxes[leaf], [rows.min(axis=0), rows.max(axis=0)])
        low, high = leaves.groups[leaf // 16]
        assert (low <= rows).all()
        assert (rows <= high).all()


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_predict_is_the_nearest_core_sample(metric: str, dtype: Any) -> None:
    for d in (2, 7, 20):
        X, _ = clustered(400, d, 3, dtype)
        size = float(np.quantile(pairwise_distances(X, metric=metric), 0.04)) * (1 + 1e-5)
        model = DBSCAN(size, metric=metric).fit(X)
        asked = np.concatenate([X[:50], X[50:120] + dtype(0.3) * X[120:190]])
        distances = pairwise_distances(
            asked.astype(np.float64), model.components_.astype(np.float64), metric=metric
        )
        expected = model.labels_[model.core_sample_indices_][distances.argmin(axis=1)]
        expected[distances.min(axis=1) > size] = -1
        np.testing.assert_array_equal(model.predict(asked), expected)
        cores = model.core_sample_indices_
        if metric != "cosine":
            np.testing.assert_array_equal(model.predict(X[cores]), model.labels_[cores])


def test_of_equally_near_core_samples_the_first_decides() -> None:
    X = np.array([[4.0], [5.0], [0.0], [1.0]])
    model = DBSCAN(2.0, min_samples=2).fit(X)
    np.testing.assert_array_equal(model.labels_, [0, 0, 1, 1])
    np.testing.assert_array_equal(model.predict([[2.5], [2.4], [8.0], [7.0]]), [0, 1, -1, 0])


def test_predict_without_core_samples_is_noise() -> None:
    model = DBSCAN(0.1).fit([[0.0], [1.0]])
    np.testing.assert_array_equal(model.predict([[0.0]]), [-1])
    assert model.components_.shape == (0, 1)


def test_predict_by_other_ways() -> None:
    X, eps = clustered(120, 3, 0)
    expected = DBSCAN(eps).fit(X).predict(X)
    D = pairwise_distances(X)
    np.testing.assert_array_equal(DBSCAN(eps, metric="precomputed").fit(D).predict(D), expected)
    sparse = DBSCAN(eps).fit(scipy.sparse.csr_array(X))
    np.testing.assert_array_equal(sparse.predict(scipy.sparse.csr_array(X)), expected)


def test_what_is_not_ours_is_handed_on_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    X, eps = clustered(150, 3, 0)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (pairwise_distances(X), {"metric": "precomputed"}, "metric='precomputed' is not"),
        (X, {"metric": "chebyshev"}, "metric='chebyshev' is not"),
        (X, {"metric": "minkowski", "p": 3.0}, "metric='minkowski' is not"),
        (X, {"metric": "minkowski", "p": 2, "metric_params": {"w": np.ones(3)}}, "metric_params"),
        (np.concatenate([X, X[:1] * 0]), {"metric": "cosine"}, "rows of zeros have no cosine"),
    ]
    for rows, options, words in cases:
        caplog.clear()
        with caplog.at_level(logging.INFO, "fastclust"):
            assert_same(rows, eps=min(eps, 0.2), **options)
        assert any(words in message for message in caplog.messages), (options, caplog.messages)
    caplog.clear()
    with caplog.at_level(logging.INFO, "fastclust"):
        ours = DBSCAN(eps).fit(scipy.sparse.csr_array(X))
    assert "fastclust: scikit-learn's DBSCAN is used, since X is sparse" in caplog.messages
    np.testing.assert_array_equal(ours.labels_, DBSCAN(eps).fit(X).labels_)


def test_names_of_the_same_metric() -> None:
    X, eps = clustered(100, 4, 0)
    expected = DBSCAN(eps).fit(X)
    assert "l2" in EUCLIDEAN
    for options in ({"metric": "l2"}, {"metric": "minkowski"}, {"metric": "minkowski", "p": 2}):
        found = DBSCAN(eps, **options).fit(X)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found.labels_, expected.labels_)


def test_sums_of_weights_are_those_of_scikit_learn() -> None:
    """Ten tenths are one or not, by the order in which they are added."""
    rng = np.random.RandomState(0)
    for d, dtype in itertools.product((2, 5), (np.float64, np.float32)):
        X = rng.randint(0, 4, size=(300, d)).astype(dtype)
        weights = (rng.randint(0, 4, 300) * 0.1).astype(dtype)
        for min_samples in (1, 2, 3):
            assert_same(X, weights, eps=1.0, min_samples=min_samples)


@pytest.mark.parametrize("kind", [int, np.float16, object, "F"])
def test_rows_of_other_types_stay_what_they_are(kind: Any) -> None:
    X = np.random.RandomState(0).randint(0, 5, size=(80, 3))
    X = np.asfortranarray(X, np.float64) if kind == "F" else X.astype(kind)
    assert_same(X, eps=1.0)


def test_rows_from_a_file(tmp_path: Path) -> None:
    X, eps = clustered(300, 5, 0)
    np.save(tmp_path / "X.npy", X)
    expected = DBSCAN(eps).fit(X)
    for rows in (tmp_path / "X.npy", np.load(tmp_path / "X.npy", mmap_mode="r")):
        model = DBSCAN(eps).fit(rows)
        np.testing.assert_array_equal(model.labels_, expected.labels_)
        np.testing.assert_array_equal(model.predict(rows), expected.predict(X))
    with pytest.raises(TypeError, match="X must be an array, a memory map or the path"):
        DBSCAN().fit(lambda: iter([X]))


@pytest.mark.parametrize("d", [2, 6])
def test_the_memory_does_not_grow_with_eps(d: int) -> None:
    X = np.random.RandomState(0).rand(20_000, d)
    DBSCAN(0.01).fit(X)  # compiled
    peaks = []
    for eps in (0.01, 10.0):
        tracemalloc.start()
        DBSCAN(eps).fit(X)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 12 * X.shape[0] * 8 + 4 * X.nbytes
    assert peaks[1] < 1.5 * peaks[0]


def test_clones_pickles_and_scikit_learns_own() -> None:
    X, eps = make_moons(200, noise=0.05, random_state=0)[0], 0.2
    model = DBSCAN(eps, min_samples=4).fit(X)
    assert clone(model).get_params() == model.get_params()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    theirs = model.to_sklearn()
    assert type(theirs) is sklearn.cluster.DBSCAN
    assert theirs.get_params() == model.get_params()
    back = from_sklearn(sklearn.cluster.DBSCAN(eps, min_samples=4).fit(X))
    for other in (theirs, back):
        for name in ("labels_", "components_", "core_sample_indices_", "n_features_in_"):
            np.testing.assert_array_equal(getattr(other, name), getattr(model, name))
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


def test_the_function_is_the_estimator() -> None:
    X, eps = clustered(100, 3, 0)
    weights = np.arange(100) % 3
    for found in zip(
        dbscan(X, eps, min_samples=4, sample_weight=weights),
        sklearn.cluster.dbscan(X, eps, min_samples=4, sample_weight=weights),
        strict=True,
    ):
        np.testing.assert_array_equal(*found)


BAD = [
    ({"eps": 0.0}, "eps must be above 0"),
    ({"eps": -1.0}, "eps must be finite and not negative"),
    ({"eps": "wide"}, "eps must be a number"),
    ({"min_samples": 0}, "min_samples must be at least 1"),
    ({"min_samples": 2.5}, "min_samples must be an integer"),
    ({"metric": "taxi"}, "metric must be a callable or one of .* but it is 'taxi'"),
    ({"metric": 3}, "metric must be a callable or one of"),
    ({"metric_params": [1]}, "metric_params must be None or a dictionary"),
    ({"algorithm": "tree"}, "algorithm must be one of 'auto', 'ball_tree'"),
    ({"leaf_size": 0}, "leaf_size must be at least 1"),
    ({"p": -1.0}, "p must be finite and not negative"),
    ({"n_jobs": 1.5}, "n_jobs must be None or an integer"),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_wrong_parameters(options: dict[str, Any], words: str) -> None:
    model = DBSCAN(**options)
    with pytest.raises(ValueError, match=words):
        model.fit([[0.0], [1.0]])
    assert not hasattr(model, "n_features_in_")


def test_wrong_data_leave_the_estimator_as_it_was() -> None:
    model = DBSCAN().fit([[0.0], [1.0]])
    before = dict(vars(model))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.fit([[np.nan, 1.0]])
    with pytest.raises(ValueError, match=r"sample_weight\.shape"):
        model.fit([[0.0, 1.0]], sample_weight=[1, 2, 3])
    assert vars(model) == before
    with pytest.raises(ValueError, match="expecting 1 features"):
        model.predict([[0.0, 1.0]])


def test_it_is_what_a_patched_scikit_learn_has() -> None:
    X, eps = clustered(100, 3, 0)
    with fastclust.patch_sklearn():
        from sklearn.cluster import DBSCAN as patched

        assert issubclass(patched, DBSCAN)
        model = patched(eps).fit(X)
        far = patched(eps, metric="chebyshev").fit(X)
    np.testing.assert_array_equal(model.labels_, DBSCAN(eps).fit(X).labels_)
    theirs = sklearn.cluster.DBSCAN(eps, metric="chebyshev").fit(X)
    np.testing.assert_array_equal(far.labels_, theirs.labels_)
