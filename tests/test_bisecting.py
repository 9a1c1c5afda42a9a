"""BisectingKMeans against scikit-learn's, and what it must refuse."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.cluster
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_blobs

import fastclust.bisecting
from fastclust import BisectingKMeans
from fastclust.kernels.machine import parallel

STRATEGIES = ["biggest_inertia", "largest_cluster"]


def dense(n: int = 600, d: int = 5, offset: float = 0.0) -> Any:
    """Overlapping clusters."""
    X, _ = make_blobs(n, d, centers=12, random_state=1, cluster_std=2.0)
    return X + offset


def sparse(n: int = 500, d: int = 40) -> Any:
    """Random rows with a fifth of their entries."""
    return scipy.sparse.random(n, d, 0.2, format="csr", random_state=0)


def assert_same(X: Any, new: Any, weights: Any = None, **options: Any) -> None:
    """Both libraries find the same clusters and send new rows the same way."""
    theirs = sklearn.cluster.BisectingKMeans(**options).fit(X, sample_weight=weights)
    ours = BisectingKMeans(**options).fit(X, sample_weight=weights)
    assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.labels_.dtype == theirs.labels_.dtype
    scale = np.abs(theirs.cluster_centers_).max()
    assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-12 * scale)
    assert_allclose(ours.inertia_, theirs.inertia_)
    assert_array_equal(ours.predict(new), theirs.predict(new))
    assert_array_equal(ours.predict(X), ours.labels_)


@pytest.mark.parametrize("init", ["random", "k-means++"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("make", [dense, sparse])
def test_clusters_are_scikit_learns(make: Any, init: str, strategy: str, weighted: bool) -> None:
    X = make()
    weights = np.random.default_rng(0).random(X.shape[0]) if weighted else None
    assert_same(
        X,
        3 * X[::-1],
        weights,
        n_clusters=9,
        init=init,
        n_init=2,
        bisecting_strategy=strategy,
        random_state=3,
    )


@pytest.mark.parametrize("n_clusters", [1, 2, 40])
def test_numbers_of_clusters(n_clusters: int) -> None:
    assert_same(dense(40), dense(90), n_clusters=n_clusters, random_state=0)


def test_callable_init_gets_the_rows_of_the_cluster() -> None:
    seen = []

    def init(X: Any, n_clusters: int, random_state: Any) -> Any:
        seen.append(X.shape)
        return X[:n_clusters].copy()  # or scikit-learn would write its centers to X

    assert_same(dense(), dense(), n_clusters=4, init=init, random_state=0)
    assert seen[:3] == seen[3:]
    assert seen[0] == (600, 5)


def test_far_from_the_origin() -> None:
    near = BisectingKMeans(6, random_state=0).fit(dense())
    far = BisectingKMeans(6, random_state=0).fit(dense(offset=2.0**20))
    assert_array_equal(near.labels_, far.labels_)
    assert_array_equal(far.predict(dense(offset=2.0**20)), far.labels_)


@pytest.mark.parametrize("algorithm", ["lloyd", "elkan", "full", "auto"])
def test_every_algorithm_gives_the_same_bits(algorithm: str) -> None:
    expected = BisectingKMeans(6, random_state=0).fit(dense())
    found = BisectingKMeans(6, random_state=0, algorithm=algorithm).fit(dense())
    assert found.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()


@pytest.mark.parametrize("make", [dense, sparse])
def test_same_bits_for_any_number_of_threads(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X = make(30_000, 20)
    results = set()
    for n_threads in (1, 2, 5):
        monkeypatch.setattr(parallel, "effective_n_threads", lambda n=n_threads: n)
        model = BisectingKMeans(5, random_state=0, max_iter=10).fit(X)
        parts = model.cluster_centers_, model.labels_, model.inertia_, model.predict(X)
        results.add(tuple(np.asarray(part).tobytes() for part in parts))
    assert len(results) == 1


def test_float32_stays_float32() -> None:
    single = BisectingKMeans(6, random_state=0).fit(dense().astype(np.float32))
    assert single.cluster_centers_.dtype == np.float32
    assert_array_equal(single.labels_, BisectingKMeans(6, random_state=0).fit(dense()).labels_)
    assert_array_equal(single.predict(dense()), single.labels_)


def test_duplicates_leave_empty_halves() -> None:
    X = np.repeat([[0.0, 1.0], [2.0, 3.0]], 10, axis=0)
    for init in ("random", "k-means++"):
        model = BisectingKMeans(5, init=init, random_state=0).fit(X)
        assert model.inertia_ < 1e-25
        assert_array_equal(model.predict(X), model.labels_)
        assert len(set(model.labels_)) == 2


def test_a_tree_of_many_levels_can_be_pickled() -> None:
    # Each cut takes the farthest row off.  Its first iteration finds that, and further ones would
    # only move empty clusters to and fro.
    X = 1.8 ** np.arange(500)[:, None]
    model = BisectingKMeans(400, random_state=0, max_iter=1).fit(X)
    again = pickle.loads(pickle.dumps(model))
    predicted = model.predict(X)
    assert_array_equal(again.predict(X), predicted)
    # Rows that are nothing beside the mean of the largest may fall on either side, by rounding.
    assert (predicted == model.labels_).mean() > 0.99


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        (
            "init",
            "kmeans",
            ValueError,
            "init must be 'k-means.*', 'random' or a callable.*'kmeans'",
        ),
        ("init", np.eye(2), ValueError, r"init must be .*, but it is array"),
        ("n_init", "auto", TypeError, "n_init must be an integer, not 'auto'"),
        ("n_init", 0, ValueError, "n_init must be at least 1, but it is 0"),
        ("n_clusters", 41, ValueError, "n_samples=40 should be >= n_clusters=41"),
        ("max_iter", 2.5, TypeError, "max_iter must be an integer, not 2.5"),
        ("tol", -1.0, ValueError, "tol must be finite and not negative, but it is -1"),
        ("algorithm", "fast", ValueError, "algorithm must be one of .*'fast'"),
        ("random_state", "seed", ValueError, "random_state.*'seed'"),
        (
            "bisecting_strategy",
            "largest",
            ValueError,
            "bisecting_strategy must be one of 'biggest_inertia', 'largest_cluster', .*'largest'",
        ),
    ],
)
def test_bad_parameters(name: str, value: Any, error: type[Exception], message: str) -> None:
    model = BisectingKMeans(3, random_state=0).fit(dense(30))
    before = dict(vars(model.set_params(**{name: value})))
    with pytest.raises(error, match=message):
        model.fit(dense(40))
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[key] is before[key] for key in before)


def test_too_few_rows_of_weight() -> None:
    weights = np.zeros(40)
    weights[:3] = 1
    with pytest.raises(ValueError, match=r"n_clusters=5 must not exceed .* cut into"):
        BisectingKMeans(5, random_state=0).fit(dense(40), sample_weight=weights)


@pytest.mark.parametrize("strategy", ["biggest_inertia", "largest_cluster"])
@pytest.mark.parametrize("init", ["random", "k-means++", lambda X, k, random_state: X[:k]])
def test_large_clusters_are_gathered_to_the_same_bits(
    init: Any, strategy: str, monkeypatch: Any
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 5)).astype(np.float32)
    weights = rng.integers(0, 3, 4000)
    model = BisectingKMeans(9, init=init, n_init=2, random_state=0, bisecting_strategy=strategy)
    for own in (None, weights):
        copied = clone(model).fit(X, sample_weight=own)
        labels = copied.predict(X)
        with monkeypatch.context() as patch:
            patch.setattr(fastclust.bisecting, "COPIED_BYTES", 10_000)
            gathered = clone(model).fit(X, sample_weight=own)
            np.testing.assert_array_equal(gathered.predict(X), labels)
        np.testing.assert_array_equal(gathered.labels_, copied.labels_)
        np.testing.assert_array_equal(gathered.cluster_centers_, copied.cluster_centers_)
        assert gathered.inertia_ == copied.inertia_


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_score_is_that_of_its_own_labels(kind: Any, weighted: bool) -> None:
    rng = np.random.default_rng(3)
    X = kind(np.maximum(rng.normal(size=(400, 5)), 0))
    weights = rng.random(400) if weighted else None
    model = BisectingKMeans(13, random_state=0).fit(X, sample_weight=weights)
    assert np.array_equal(model.labels_, model.predict(X))
    assert -model.score(X, sample_weight=weights) == pytest.approx(model.inertia_, rel=1e-12)
    dense = X.toarray() if scipy.sparse.issparse(X) else X
    squares = ((dense - model.cluster_centers_[model.labels_]) ** 2).sum(axis=1)
    expected = squares.sum() if weights is None else squares @ weights
    assert model.inertia_ == pytest.approx(expected, rel=1e-12)
    # It is another one than that of the nearest centers, to which the cuts do not always lead.
    distances = ((dense[:, None] - model.cluster_centers_) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) != model.labels_).any()


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("strategy", ["largest_cluster", "biggest_inertia"])
def test_clusters_of_equal_rows_are_cut_last(kind: Any, strategy: str) -> None:
    X = kind(np.repeat([[0.0, 9.0], [5.0, 0.0], [6.0, 0.0], [7.0, 1.0]], [50, 2, 1, 1], axis=0))
    model = BisectingKMeans(4, bisecting_strategy=strategy, random_state=0).fit(X)
    assert sorted(np.bincount(model.labels_)) == [1, 1, 2, 50]
    assert model.inertia_ < 1e-25
    weights = np.where(np.arange(54) < 52, 1.0, 0.0)  # two different rows are left
    model = BisectingKMeans(2, bisecting_strategy=strategy, random_state=0)
    assert model.fit(X, sample_weight=weights).inertia_ < 1e-25


@pytest.mark.parametrize("shape", [(300, 1, 9), (400, 3, 60), (500, 120, 7), (200, 17, 200)])
def test_rows_that_are_sent_alone_go_where_tiles_send_them(
    shape: tuple[int, int, int], dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, d, k = shape
    X = np.random.default_rng(shape).normal(size=(n, d)).astype(dtype) + 3
    X[::7] = X[0]
    model = BisectingKMeans(k, random_state=0).fit(X)
    for kind in (np.float32, np.float64):  # of other rows than those of the fit, too
        found = []
        for few in (0, 40, 10**9):
            monkeypatch.setattr(fastclust.bisecting, "FEW_ROWS", few)
            found.append(model.predict(X.astype(kind)))
        assert_array_equal(found[0], found[1])
        assert_array_equal(found[0], found[2])
    assert_array_equal(model.predict(X), model.labels_)


def test_a_refitted_tree_is_the_one_that_is_used() -> None:
    X = np.random.default_rng(0).normal(size=(200, 3))
    model = BisectingKMeans(20, random_state=0)
    for rows in (X, X[::-1] * 2, X + 1):
        model.fit(rows)
        assert_array_equal(model.predict(rows), model.labels_)
