"""Whatever data hypothesis comes up with: the estimators against scikit-learn's, and themselves."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.fixes import parse_version

import fastclust
from fastclust import (
    BisectingKMeans,
    KMeans,
    MiniBatchKMeans,
    kmeans_plusplus,
    silhouette_samples,
    silhouette_score,
)
from fastclust.kernels import reference

quick = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
# Numbers with few digits: sums of them are exact, so that both libraries see the same ties.
NUMBERS = st.integers(-64, 64).map(lambda n: n / 4)


@st.composite
def problems(draw: Any, most: int = 60) -> tuple[Any, Any, int, int]:
    """Rows, weights, a number of clusters and a seed."""
    n, d = draw(st.integers(2, most)), draw(st.integers(1, 12))
    X = draw(hnp.arrays(np.float64, (n, d), elements=NUMBERS))
    weights = draw(hnp.arrays(np.float64, n, elements=st.integers(1, 4).map(float)))
    distinct = len(np.unique(X, axis=0))
    return X, weights, draw(st.integers(1, max(1, min(8, distinct)))), draw(st.integers(0, 99))


def quietly(model: Any, *arguments: Any, **keywords: Any) -> Any:
    """A fit without warnings of few distinct rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*arguments, **keywords)


@quick
@given(problems(), st.sampled_from([np.float32, np.float64]), st.booleans())
def test_result_of_k_means_is_a_fixed_point(problem: Any, dtype: Any, sparse: bool) -> None:
    X, weights, k, seed = problem
    X = X.astype(dtype)
    data = scipy.sparse.csr_array(X) if sparse else X
    model = quietly(KMeans(k, random_state=seed, tol=0), data, sample_weight=weights)
    squares = reference.squared_distances(X, model.cluster_centers_)
    own = squares[np.arange(len(X)), model.labels_]
    slack = 1e-4 if dtype == np.float32 else 1e-10
    assert (own - squares.min(axis=1)).max() <= slack * (1 + squares.max())
    assert_allclose(model.inertia_, weights @ own, rtol=slack, atol=slack * (1 + squares.max()))
    assert_array_equal(model.predict(data), model.labels_)
    for label in np.unique(model.labels_):
        mine = model.labels_ == label
        mean = np.average(X[mine].astype(np.float64), axis=0, weights=weights[mine])
        assert_allclose(model.cluster_centers_[label], mean, atol=slack * 20)


@quick
@given(problems(), st.integers(0, 99))
def test_given_start_leads_where_scikit_learn_goes(problem: Any, seed: int) -> None:
    X, weights, k, _ = problem
    # Away from ties, which either library may break its own way.
    rng = np.random.RandomState(seed)
    X = X + rng.uniform(-1e-3, 1e-3, size=X.shape)
    start = X[rng.permutation(len(X))[:k]]
    options: dict[str, Any] = {"n_clusters": k, "init": start, "n_init": 1, "tol": 0}
    ours = quietly(KMeans(**options), X, sample_weight=weights)
    theirs = quietly(sklearn.cluster.KMeans(**options), X, sample_weight=weights)
    assert_array_equal(ours.labels_, theirs.labels_)
    assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-10)
    assert_allclose(ours.inertia_, theirs.inertia_, atol=1e-9)


@quick
@given(problems(), st.booleans())
def test_seeds_are_the_rows_that_scikit_learn_draws(problem: Any, sparse: bool) -> None:
    X, weights, k, seed = problem
    rng = np.random.RandomState(seed)
    X = X + rng.uniform(-1e-3, 1e-3, size=X.shape)
    # The last rows of all are mutual neighbours, between whom rounding decides.
    assume(3 * k <= len(X))
    data = scipy.sparse.csr_array(X) if sparse else X
    options: dict[str, Any] = {"sample_weight": weights, "random_state": seed}
    centers, rows = kmeans_plusplus(data, k, **options)
    assert_array_equal(centers, X[rows])
    assert_array_equal(rows, sklearn.cluster.kmeans_plusplus(data, k, **options)[1])


@quick
@given(problems(), st.booleans())
def test_weights_draw_what_repeated_rows_in_their_order_draw(problem: Any, sparse: bool) -> None:
    X, weights, k, seed = problem
    X = X + np.random.RandomState(seed).uniform(-1e-3, 1e-3, size=X.shape)
    assume(3 * k <= len(X))
    weights[1:] -= weights[1:] == 4  # some of three, and a row that does not count
    weights[0] = 0
    make = scipy.sparse.csr_array if sparse else np.asarray
    options: dict[str, Any] = {"n_clusters": k, "random_state": seed}
    repeated = np.repeat(X, weights.astype(int), axis=0)
    centers, _ = kmeans_plusplus(make(X), sample_weight=weights, **options)
    assert_array_equal(centers, kmeans_plusplus(make(repeated), **options)[0])
    one = quietly(KMeans(**options), make(X), sample_weight=weights)
    other = quietly(KMeans(**options), make(repeated))
    assert_allclose(one.cluster_centers_, other.cluster_centers_, atol=1e-10)
    assert_allclose(one.inertia_, other.inertia_, atol=1e-9)


@quick
@given(problems(), st.sampled_from(["k-means++", "random"]), st.booleans())
def test_drawn_starts_lead_where_scikit_learn_goes(problem: Any, init: str, sparse: bool) -> None:
    X, weights, k, seed = problem
    X = X + np.random.RandomState(seed).uniform(-1e-3, 1e-3, size=X.shape)
    assume(3 * k <= len(X))
    data = scipy.sparse.csr_array(X) if sparse else X
    options: dict[str, Any] = {"n_clusters": k, "init": init, "n_init": 2, "random_state": seed}
    ours = quietly(KMeans(**options), data, sample_weight=weights)
    theirs = quietly(sklearn.cluster.KMeans(**options), data, sample_weight=weights)
    assert_array_equal(ours.labels_, theirs.labels_)
    assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-10)
    assert ours.n_iter_ == theirs.n_iter_


@quick
@given(problems(), st.sampled_from(["biggest_inertia", "largest_cluster"]))
def test_cuts_are_scikit_learns(problem: Any, strategy: str) -> None:
    X, weights, k, seed = problem
    X = X + np.random.RandomState(seed).uniform(-1e-3, 1e-3, size=X.shape)
    assume(k <= len(X) // 2)
    options: dict[str, Any] = {
        "n_clusters": k,
        "bisecting_strategy": strategy,
        "random_state": seed,
    }
    theirs = quietly(sklearn.cluster.BisectingKMeans(**options), X, sample_weight=weights)
    ours = quietly(BisectingKMeans(**options), X, sample_weight=weights)
    assert_array_equal(ours.labels_, theirs.labels_)
    assert_array_equal(ours.predict(X), ours.labels_)


@quick
@given(problems(), st.integers(1, 70))
def test_batches_leave_every_row_with_its_nearest_center(problem: Any, batch_size: int) -> None:
    X, weights, k, seed = problem
    model = MiniBatchKMeans(k, batch_size=batch_size, random_state=seed, max_iter=5)
    quietly(model, X, sample_weight=weights)
    squares = reference.squared_distances(X, model.cluster_centers_)
    own = squares[np.arange(len(X)), model.labels_]
    assert (own - squares.min(axis=1)).max() <= 1e-10 * (1 + squares.max())
    assert_allclose(model.inertia_, weights @ own, rtol=1e-9, atol=1e-9)


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.7"), reason="batches are drawn otherwise"
)
@quick
@given(problems(), st.integers(1, 70))
def test_batches_lead_where_scikit_learn_goes(problem: Any, batch_size: int) -> None:
    X, weights, k, seed = problem
    X = X + np.random.RandomState(seed).uniform(-1e-3, 1e-3, size=X.shape)
    assume(3 * k <= len(X))
    options: dict[str, Any] = {
        "n_clusters": k,
        "batch_size": batch_size,
        "init_size": len(X),
        "random_state": seed,
        "max_iter": 5,
    }
    ours = quietly(MiniBatchKMeans(**options), X, sample_weight=weights)
    theirs = quietly(sklearn.cluster.MiniBatchKMeans(**options), X, sample_weight=weights)
    assert (ours.n_steps_, ours.n_iter_) == (theirs.n_steps_, theirs.n_iter_)
    assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-9)
    assert_array_equal(ours.labels_, theirs.labels_)


@pytest.mark.parametrize("name", ["GaussianMixture", "BayesianGaussianMixture"])
@quick
@given(problem=problems(), covariance_type=st.sampled_from(["full", "tied", "diag", "spherical"]))
def test_mixtures_rate_rows_as_scikit_learn_does(
    name: str, problem: Any, covariance_type: str
) -> None:
    X, _, k, seed = problem
    assume(np.ptp(X, axis=0).min() > 0)  # what the default priors of the Bayesian one divide by
    options: dict[str, Any] = {
        "n_components": k,
        "covariance_type": covariance_type,
        "random_state": seed,
        "reg_covar": 1e-2,
        "init_params": "random_from_data",
        "max_iter": 3,
    }
    theirs = quietly(getattr(sklearn.mixture, name)(**options), X)
    ours = quietly(getattr(fastclust, name)(**options), X)
    assert_allclose(ours.weights_.sum(), 1)
    assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["GaussianMixture", "BayesianGaussianMixture"])
@quick
@given(problem=problems(), covariance_type=st.sampled_from(["full", "tied", "diag", "spherical"]))
def test_weights_of_mixtures_are_repeated_rows_in_their_order(
    name: str, problem: Any, covariance_type: str
) -> None:
    X, weights, k, seed = problem
    X = X + np.random.RandomState(seed).uniform(-1e-3, 1e-3, size=X.shape)
    assume(3 * k <= len(X))
    weights[0] = 0
    options: dict[str, Any] = {
        "n_components": k,
        "covariance_type": covariance_type,
        "random_state": seed,
        "reg_covar": 1.0,
        "max_iter": 3,
    }
    one = quietly(getattr(fastclust, name)(**options), X, sample_weight=weights)
    repeated = np.repeat(X, weights.astype(int), axis=0)
    other = quietly(getattr(fastclust, name)(**options), repeated)
    assert_allclose(one.means_, other.means_, rtol=1e-6, atol=1e-6)
    assert_allclose(one.score_samples(X), other.score_samples(X), rtol=1e-6, atol=1e-6)


@quick
@given(problems(), st.sampled_from([np.float32, np.float64]))
def test_silhouettes_are_scikit_learns(problem: Any, dtype: Any) -> None:
    X, _, k, seed = problem
    labels = np.random.RandomState(seed).randint(max(2, k), size=len(X))
    assume(1 < len(np.unique(labels)) < len(X))
    found = silhouette_samples(X.astype(dtype), labels)
    expected = sklearn.metrics.silhouette_samples(X, labels)
    assert_allclose(found, expected, atol=1e-5 if dtype == np.float32 else 1e-6)
    assert (np.abs(found) <= 1).all()
    assert_allclose(silhouette_score(X.astype(dtype), labels), found.mean(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans, BisectingKMeans])
@quick
@given(problem=problems())
def test_order_of_columns_does_not_matter(kind: Any, problem: Any) -> None:
    X, _, k, seed = problem
    X = X + np.random.RandomState(seed).uniform(-1e-3, 1e-3, size=X.shape)
    order = np.random.RandomState(seed).permutation(X.shape[1])
    one = quietly(kind(k, init="random", n_init=1, random_state=seed), X)
    other = quietly(kind(k, init="random", n_init=1, random_state=seed), X[:, order])
    assert_array_equal(one.labels_, other.labels_)
