"""However a fit ends: labels are of the centers, and no cluster is empty that could have a row."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from fastclust import BisectingKMeans, KMeans, MiniBatchKMeans, k_means
from fastclust.kernels import auto, elkan, lloyd, reference

SEVERAL = ["lloyd", "hamerly", "elkan", "auto"]


@pytest.fixture
def bounds_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """No problem is too small for bounds."""
    monkeypatch.setattr(lloyd, "SMALL_WORK", 0)
    monkeypatch.setattr(auto, "WORTH_TRYING", 0)
    monkeypatch.setattr(elkan, "DEAR", 0)


def quietly(model: Any, data: Any, weights: Any = None, **options: Any) -> Any:
    """A fit without warnings of few distinct rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(data, sample_weight=weights, **options)


def assert_labels_of_centers(model: Any, data: Any, X: Any, weights: Any) -> None:
    """Labels and inertia are those of the centers, by NumPy and by the model's own methods."""
    counted = np.ones(len(X)) if weights is None else weights.astype(np.float64)
    squares = reference.squared_distances(X, model.cluster_centers_)
    slack = 20 * np.finfo(X.dtype).eps * (1 + np.abs(X).max()) ** 2 * X.shape[1]
    own = squares[np.arange(len(X)), model.labels_]
    assert (own - squares.min(axis=1)).max() <= slack
    predicted = squares[np.arange(len(X)), model.predict(data)]
    assert np.abs(predicted - own).max() <= slack
    assert abs(model.inertia_ - counted @ own) <= slack * (counted.sum() + counted @ own)
    score = model.score(data, sample_weight=weights)
    assert abs(model.inertia_ + score) <= slack * (counted.sum() - score)


def assert_no_needless_vacancy(model: Any, X: Any, weights: Any) -> None:
    """As many clusters have a row of weight as there are, or as there are different rows."""
    counts = slice(None) if weights is None else weights > 0
    n_distinct = len(np.unique(X[counts], axis=0))
    n_occupied = len(np.unique(model.labels_[counts]))
    assert n_occupied == min(len(model.cluster_centers_), n_distinct)


@st.composite
def problems(draw: Any) -> tuple[Any, Any, int, Any]:
    """Few small numbers many times over, weights of which many are zero, k near n, poor starts."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.RandomState(seed)
    n, d = draw(st.integers(2, 70)), draw(st.integers(1, 3))
    X = rng.randint(0, draw(st.sampled_from([2, 3, 5, 10])), (n, d))
    X = X.astype(draw(st.sampled_from([np.float32, np.float64])))
    if draw(st.booleans()):
        X = X / X.dtype.type(7) + X.dtype.type(0.1)
    if draw(st.booleans()):
        X = X[rng.randint(max(1, n // 4), size=n)]
    weights = None
    if draw(st.booleans()):
        weights = rng.randint(0, 3, n).astype(X.dtype) * X.dtype.type(
            draw(st.sampled_from([1, 0.1]))
        )
        weights[rng.randint(n)] = 1
    k = draw(st.sampled_from([n, max(1, n - 1), rng.randint(1, n + 1), min(n, 3)]))
    starts = {"rows": X[rng.randint(n, size=k)], "afar": rng.randint(-20, 20, (k, d))}
    kinds = ["rows", "afar", "k-means++"]
    if weights is None or np.count_nonzero(weights) >= k:
        kinds.append("random")
    init = draw(st.sampled_from(kinds))
    return X, weights, k, starts.get(init, init)


@pytest.mark.usefixtures("bounds_for_all")
@pytest.mark.filterwarnings("ignore:algorithm='[a-z]*' doesn't make sense")
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    problem=problems(),
    kind=st.sampled_from(["dense", "sparse", "streamed"]),
    algorithm=st.sampled_from(SEVERAL),
    max_iter=st.sampled_from([1, 2, 3, 300]),
    tol=st.sampled_from([0, 1e-4, 0.1]),
)
def test_labels_are_of_the_centers_and_clusters_have_rows(
    problem: Any, kind: str, algorithm: str, max_iter: int, tol: float
) -> None:
    X, weights, k, init = problem
    n_init = 2 if isinstance(init, str) else 1
    data: Any = X
    if kind == "sparse":
        data = scipy.sparse.csr_array(X)
    elif kind == "streamed":
        data = lambda: iter([X[first : first + 17] for first in range(0, len(X), 17)])  # noqa: E731
    model = KMeans(
        k, init=init, n_init=n_init, max_iter=max_iter, tol=tol, algorithm=algorithm, random_state=0
    )
    quietly(model, data, weights)
    assert_labels_of_centers(model, data, X, weights)
    assert_no_needless_vacancy(model, X, weights)
    assert model.n_iter_ <= min(max_iter, 100)  # clusters do not take turns until there is no more


@pytest.mark.parametrize("algorithm", SEVERAL)
def test_a_row_for_each_cluster(algorithm: str) -> None:
    """An empty cluster is moved in a step in which no label changes; once that ended the fit."""
    X = np.array([[3.0], [2], [5], [2], [3], [5], [5], [4], [4]])
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(4\)"):
        model = KMeans(9, random_state=1, algorithm=algorithm).fit(X)
    assert model.inertia_ < 1e-20
    assert_labels_of_centers(model, X, X, None)
    assert_no_needless_vacancy(model, X, None)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(4\)"):
        assert k_means(X, 9, random_state=1, algorithm=algorithm)[2] < 1e-20


@pytest.mark.parametrize("seed", range(3))
def test_more_clusters_than_distinct_rows(seed: int) -> None:
    """No cluster is emptied to the last rounding, and none is moved for the sake of rounding."""
    rng = np.random.default_rng(seed)
    distinct = rng.normal(size=(50, 3))
    X = distinct[np.r_[np.arange(50), rng.integers(50, size=350)]]
    model = quietly(KMeans(80, init="random", n_init=1, random_state=seed), X)
    assert model.inertia_ < 1e-25
    assert model.n_iter_ < 20
    assert len(np.unique(model.labels_)) == 50


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_array])
def test_rows_of_no_weight_occupy_no_cluster(make: Any) -> None:
    X = np.array([[0.0], [1], [10], [11], [1000], [2000]])
    weights = np.array([1.0, 1, 1, 1, 0, 0])
    start = np.array([[5.0], [1000], [2000]])
    model = KMeans(3, init=start).fit(make(X), sample_weight=weights)
    assert len(np.unique(model.labels_[:4])) == 3
    assert model.inertia_ == 0.5
    assert_labels_of_centers(model, make(X), X, weights)


def test_a_resumed_and_a_stopped_fit_end_alike(tmp_path: Any) -> None:
    """Relocations on both sides of an interruption, and a callback that ends the fit there."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 12, size=(120, 2)).astype(float)
    start = np.vstack([X[:20], np.full((40, 2), 1e3)])
    whole = quietly(KMeans(60, init=start), X)

    class Kill(Exception):
        pass

    def kill(progress: Any) -> None:
        if progress.iteration == 2:
            raise Kill

    path = tmp_path / "fit"
    with pytest.raises(Kill):
        KMeans(60, init=start).fit(X, callbacks=[kill], checkpoint=path, checkpoint_every=1)
    resumed = quietly(KMeans(60, init=start), X, checkpoint=path, resume=True)
    assert_array_equal(resumed.cluster_centers_, whole.cluster_centers_)
    assert_array_equal(resumed.labels_, whole.labels_)
    stopped = quietly(KMeans(60, init=start), X, callbacks=[lambda progress: True])
    assert stopped.n_iter_ == 1
    for model in whole, stopped:
        assert_labels_of_centers(model, X, X, None)
        assert_no_needless_vacancy(model, X, None)


@pytest.mark.parametrize("algorithm", ["minibatch", "nested"])
@pytest.mark.parametrize("seed", range(10))
def test_mini_batches_end_with_labels_of_their_centers(algorithm: str, seed: int) -> None:
    rng = np.random.RandomState(seed)
    n = rng.randint(8, 70)
    X = rng.randint(0, 5, (n, 2)).astype([np.float32, np.float64][seed % 2])
    weights = rng.randint(0, 3, n).astype(X.dtype)
    weights[:2] = 1
    k = rng.randint(1, n)
    model = MiniBatchKMeans(k, batch_size=8, algorithm=algorithm, random_state=seed, max_iter=3)
    quietly(model, X, weights)
    assert_labels_of_centers(model, X, X, weights)


@pytest.mark.parametrize("seed", range(10))
def test_cuts_end_with_labels_of_their_tree(seed: int) -> None:
    rng = np.random.RandomState(seed)
    X = rng.randint(0, 4, (40, 2)).astype(float)
    weights = rng.randint(0, 3, 40).astype(float)
    k = rng.randint(1, 12)
    model = quietly(BisectingKMeans(k, max_iter=1 + seed % 3, random_state=seed), X, weights)
    assert_array_equal(model.labels_, model.predict(X))
    squares = ((X - model.cluster_centers_[model.labels_]) ** 2).sum(axis=1)
    np.testing.assert_allclose(model.inertia_, weights @ squares, atol=1e-12)
    assert_no_needless_vacancy(model, X, weights)


@pytest.mark.parametrize("algorithm", ["minibatch", "nested"])
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_samples_and_batches_that_could_weigh_nothing(algorithm: str, init: str) -> None:
    """One row in a thousand weighs: no sample of the rows, and no first part, holds any."""
    X = np.random.default_rng(0).normal(size=(4000, 2))
    weights = np.zeros(4000)
    weights[::1000] = 1
    model = MiniBatchKMeans(
        2, init=init, algorithm=algorithm, batch_size=8, init_size=8, random_state=0
    )
    quietly(model, X, weights)
    assert_labels_of_centers(model, X, X, weights)
    # Centers are means of the four rows that weigh, of any two groups of them.
    best = KMeans(2, n_init=10, random_state=0).fit(X[::1000]).inertia_
    worst = X[::1000].var(axis=0).sum() * 4
    assert best - 1e-9 <= model.inertia_ <= worst + 1e-9


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_a_first_batch_of_no_weight_is_named(init: str) -> None:
    wanted = "a weight" if init == "k-means++" else "at least n_clusters=2 weights"
    message = f"sample_weight must have {wanted} above zero for init='{init}'"
    model = MiniBatchKMeans(2, init=init, random_state=0)
    with pytest.raises(ValueError, match=f"{message.replace('+', '[+]')}, but it has 0"):
        model.partial_fit(np.eye(4), sample_weight=np.zeros(4))
    model.partial_fit(np.eye(4))
    before = model.cluster_centers_
    model.partial_fit(np.eye(4), sample_weight=np.zeros(4))  # teaches nothing, and is no error
    assert_array_equal(model.cluster_centers_, before)


def test_batches_keep_their_number_of_clusters() -> None:
    X = np.random.default_rng(0).normal(size=(30, 2))
    model = MiniBatchKMeans(3, random_state=0).partial_fit(X).set_params(n_clusters=5)
    with pytest.raises(ValueError, match=r"n_clusters=5 must not change .*, but there are 3"):
        model.partial_fit(X)
    assert len(model.set_params(n_clusters=3).partial_fit(X).cluster_centers_) == 3
