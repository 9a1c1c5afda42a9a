"""GaussianMixture and BayesianGaussianMixture against scikit-learn's, and what is theirs alone."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.mixture
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import fastclust
from fastclust import BayesianGaussianMixture, GaussianMixture
from fastclust.fits import Clustering
from fastclust.kernels.machine import parallel
from fastclust.preparation import survey

TYPES = ["full", "tied", "diag", "spherical"]
INITS = ["kmeans", "k-means++", "random", "random_from_data"]
CLASSES = ["GaussianMixture", "BayesianGaussianMixture"]
FITTED = ["weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"]
POSTERIOR = ["weight_concentration_", "mean_precision_", "degrees_of_freedom_"]
PRIORS = [
    "weight_concentration_prior_",
    "mean_precision_prior_",
    "mean_prior_",
    "degrees_of_freedom_prior_",
    "covariance_prior_",
]


def blobs(n: int = 600, d: int = 3, k: int = 3, *, distance: float = 4.0, seed: int = 0) -> Any:
    """Components of different covariances, on a simplex `distance` apart, and of random size."""
    rng = np.random.default_rng([seed, n, d, k])
    labels = rng.choice(k, size=n, p=rng.dirichlet(np.full(k, 20.0)))
    centers = rng.normal(size=(k, d)) * distance / np.sqrt(2)
    shapes = np.eye(d) + 0.3 * rng.normal(size=(k, d, d))
    return centers[labels] + np.einsum("ni,nij->nj", rng.normal(size=(n, d)), shapes[labels])


def both(name: str, X: Any, **parameters: Any) -> tuple[Any, Any]:
    """Fits of fastclust and of scikit-learn with the same parameters."""
    fits = []
    for module in (fastclust, sklearn.mixture):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fits.append(getattr(module, name)(**parameters).fit(X))
    return fits[0], fits[1]


def assert_alike(ours: Any, theirs: Any, X: Any, *, tolerance: float = 1e-6) -> None:
    names = [*FITTED, *(POSTERIOR if hasattr(ours, "mean_precision_") else [])]
    for name in names:
        a, b = getattr(ours, name), getattr(theirs, name)
        scale = np.abs(np.asarray(b)).max() if not isinstance(b, tuple) else 1.0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, err_msg=name)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.converged_ == theirs.converged_
    bound = float(np.sum(theirs.lower_bound_))
    np.testing.assert_allclose(ours.lower_bound_, bound, rtol=tolerance)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


# --------------------------------------------------------------------------------------------
# Against scikit-learn


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("init", INITS)
def test_same_solution_as_scikit_learn(name: str, kind: str, init: str) -> None:
    X = blobs()
    ours, theirs = both(
        name, X, n_components=3, covariance_type=kind, init_params=init, random_state=1, max_iter=15
    )
    assert_alike(ours, theirs, X)
    if hasattr(theirs, "lower_bounds_"):
        np.testing.assert_allclose(ours.lower_bounds_, np.ravel(theirs.lower_bounds_), rtol=1e-6)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=1e-6)
    for prior in PRIORS if name == "BayesianGaussianMixture" else []:
        np.testing.assert_allclose(getattr(ours, prior), getattr(theirs, prior), rtol=1e-9)
    if name == "GaussianMixture":
        np.testing.assert_allclose(ours.bic(X), theirs.bic(X), rtol=1e-6)
        np.testing.assert_allclose(ours.aic(X), theirs.aic(X), rtol=1e-6)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("kind", TYPES)
def test_many_features(name: str, kind: str) -> None:
    X = blobs(1500, 30, 4)
    ours, theirs = both(name, X, n_components=4, covariance_type=kind, random_state=0, max_iter=10)
    assert_alike(ours, theirs, X)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("kind", TYPES)
def test_one_component_and_one_feature(name: str, kind: str) -> None:
    X = blobs(200, 1, 2)
    for k in (1, 2):
        ours, theirs = both(name, X, n_components=k, covariance_type=kind, random_state=0)
        assert_alike(ours, theirs, X)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("kind", TYPES)
def test_float32_stays_float32_and_accurate(name: str, kind: str) -> None:
    """Compared with scikit-learn's fit to the same numbers in float64."""
    X = blobs().astype(np.float32) + np.float32(1000)
    options = {"n_components": 3, "covariance_type": kind, "random_state": 0}
    ours = getattr(fastclust, name)(**options).fit(X)
    theirs = getattr(sklearn.mixture, name)(**options).fit(X.astype(float))
    for attribute in FITTED:
        found, wanted = getattr(ours, attribute), getattr(theirs, attribute)
        # The weights of a variational mixture are float64 in scikit-learn, too.
        wide = attribute == "weights_" and name == "BayesianGaussianMixture"
        assert found.dtype == (np.float64 if wide else np.float32), attribute
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5 * scale, err_msg=attribute)
    np.testing.assert_allclose(ours.lower_bound_, np.sum(theirs.lower_bound_), rtol=1e-6)
    assert np.mean(ours.predict(X) == theirs.predict(X.astype(float))) > 0.998
    assert ours.sample(100)[0].shape == (100, 3)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("offset_dtype", [np.float32, np.float64])
def test_far_from_the_origin(name: str, kind: str, offset_dtype: Any) -> None:
    """A million standard deviations away: the fit to the same numbers moved back."""
    X = (blobs(500, 2) + 1e6).astype(offset_dtype)
    near = X.astype(float) - 1e6
    options = {
        "n_components": 3,
        "covariance_type": kind,
        "random_state": 0,
        "init_params": "kmeans",
    }
    far_fit = getattr(fastclust, name)(**options).fit(X.astype(float))
    near_fit = getattr(fastclust, name)(**options).fit(near)
    np.testing.assert_allclose(far_fit.means_ - 1e6, near_fit.means_, atol=1e-6)
    np.testing.assert_allclose(far_fit.covariances_, near_fit.covariances_, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(far_fit.lower_bound_, near_fit.lower_bound_, rtol=1e-7)
    narrow = getattr(fastclust, name)(**options).fit(X)
    np.testing.assert_allclose(narrow.covariances_, near_fit.covariances_, rtol=1e-4, atol=1e-5)
    assert narrow.means_.dtype == offset_dtype


@pytest.mark.parametrize("name", CLASSES)
def test_best_of_several_starts(name: str) -> None:
    X = blobs(400, 2, 5)
    options = {"n_components": 5, "init_params": "random_from_data", "max_iter": 8}
    ours, theirs = both(name, X, n_init=4, random_state=3, **options)
    assert_alike(ours, theirs, X)
    single, _ = both(name, X, n_init=1, random_state=3, **options)
    assert ours.lower_bound_ >= single.lower_bound_


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("kind", TYPES)
def test_warm_start(name: str, kind: str) -> None:
    X = blobs()
    options = {
        "n_components": 3, "covariance_type": kind, "random_state": 2, "init_params": "random",
        "max_iter": 4, "warm_start": True,
    }  # fmt: skip
    ours, theirs = both(name, X, **options)
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            ours.fit(X)
            theirs.fit(X)
        assert_alike(ours, theirs, X)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("kind", TYPES)
def test_no_step_at_all_keeps_the_start(name: str, kind: str) -> None:
    X = blobs()
    ours, theirs = both(name, X, n_components=3, covariance_type=kind, random_state=0, max_iter=0)
    for attribute in FITTED:
        np.testing.assert_allclose(
            getattr(ours, attribute), getattr(theirs, attribute), rtol=1e-8, atol=1e-10
        )
    assert ours.n_iter_ == theirs.n_iter_ == 0
    assert not ours.converged_
    assert ours.lower_bound_ == theirs.lower_bound_ == -np.inf


def given_start(kind: str, d: int = 3, k: int = 3) -> dict[str, Any]:
    """First weights, means and precisions."""
    rng = np.random.default_rng(8)
    square = rng.normal(size=(k, d, d)) * 0.2
    precisions = np.eye(d) + square @ square.transpose(0, 2, 1)
    return {
        "weights_init": np.array([0.5, 0.3, 0.2]),
        "means_init": blobs()[[0, 100, 200]],
        "precisions_init": {
            "full": precisions,
            "tied": precisions[0],
            "diag": np.einsum("kii->ki", precisions),
            "spherical": np.einsum("kii->k", precisions) / d,
        }[kind],
    }


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    "given",
    [
        ("weights_init",),
        ("means_init",),
        ("precisions_init",),
        ("weights_init", "means_init", "precisions_init"),
    ],
    ids="+".join,
)
def test_given_start(kind: str, given: tuple[str, ...]) -> None:
    X = blobs()
    start = {key: value for key, value in given_start(kind).items() if key in given}
    ours, theirs = both(
        "GaussianMixture",
        X,
        n_components=3,
        covariance_type=kind,
        random_state=0,
        max_iter=6,
        **start,
    )
    assert_alike(ours, theirs, X)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("verbose", [1, 2])
def test_progress_is_printed_as_by_scikit_learn(name: str, verbose: int, capsys: Any) -> None:
    X = blobs(200)
    lines = []
    for module in (fastclust, sklearn.mixture):
        estimator = getattr(module, name)(
            n_components=3, n_init=2, verbose=verbose, verbose_interval=2, random_state=0
        )
        estimator.fit(X)
        text = capsys.readouterr().out
        lines.append(re.sub(r"time lapse [0-9.]+s", "time", text))
    assert lines[0] == lines[1]
    assert "Iteration 2" in lines[0]


@pytest.mark.parametrize("name", CLASSES)
def test_warning_where_it_did_not_converge(name: str) -> None:
    X = blobs()
    estimator = getattr(fastclust, name)(n_components=3, max_iter=2, tol=0.0, random_state=0)
    with pytest.warns(ConvergenceWarning, match="Best performing initialization did not converge"):
        estimator.fit(X)
    assert not estimator.converged_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.set_params(max_iter=200, tol=1e-3).fit(X)
    assert estimator.converged_


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("kind", TYPES)
def test_sample_and_predict(name: str, kind: str) -> None:
    X = blobs()
    ours, theirs = both(name, X, n_components=3, covariance_type=kind, random_state=0)
    for state in (ours, theirs):
        state.set_params(random_state=5)
    (a, a_labels), (b, b_labels) = ours.sample(50), theirs.sample(50)
    np.testing.assert_array_equal(a_labels, b_labels)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    p = ours.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_array_equal(p.argmax(axis=1), ours.predict(X))
    refit = clone(ours).set_params(random_state=0)
    np.testing.assert_array_equal(refit.fit_predict(X), refit.predict(X))


# --------------------------------------------------------------------------------------------
# Weights


def weighted_problem() -> tuple[Any, Any, Any]:
    X = blobs()
    weights = np.random.default_rng(1).integers(0, 4, size=len(X))
    return X, weights, np.repeat(X, weights, axis=0)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("d", [3, 30])
def test_weights_are_repeated_rows(kind: str, d: int) -> None:
    X = blobs(900, d)
    weights = np.random.default_rng(1).integers(0, 4, size=len(X))
    repeated = np.repeat(X, weights, axis=0)
    start = {"means_init": X[:3], "weights_init": np.ones(3) / 3}
    start["precisions_init"] = {
        "full": np.repeat(np.eye(d)[None], 3, axis=0) / d, "tied": np.eye(d) / d,
        "diag": np.ones((3, d)) / d, "spherical": np.ones(3) / d,
    }[kind]  # fmt: skip
    options = {"n_components": 3, "covariance_type": kind, "tol": 1e-6, **start}
    a = GaussianMixture(**options).fit(X, sample_weight=weights)
    b = GaussianMixture(**options).fit(repeated)
    assert_alike(a, b, X, tolerance=1e-8)
    np.testing.assert_allclose(a.score(X, sample_weight=weights), b.score(repeated), rtol=1e-12)
    np.testing.assert_allclose(a.lower_bounds_, b.lower_bounds_, rtol=1e-10)


@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_tied_start_from_weighted_rows(offset: float) -> None:
    X, weights, repeated = weighted_problem()
    X, repeated = X + offset, repeated + offset
    fit = GaussianMixture(
        3, covariance_type="tied", init_params="k-means++", max_iter=0, random_state=0
    ).fit(X, sample_weight=weights)
    own = np.array([weights[np.isclose(mean, X).all(axis=1)][0] for mean in fit.means_])
    # scikit-learn's formula, in which most rows belong to no component.
    scatter = repeated.T @ repeated - (own * fit.means_.T) @ fit.means_
    expected = scatter / own.sum() + 1e-6 * np.eye(3)
    np.testing.assert_allclose(fit.covariances_, expected, rtol=1e-9, atol=1e-9)


def in_order(estimator: Any) -> Any:
    """Components by their first coordinate."""
    return np.argsort(estimator.means_[:, 0])


@pytest.mark.parametrize("kind", TYPES)
def test_weights_are_repeated_rows_for_the_bayesian_mixture(kind: str) -> None:
    X = blobs(distance=12.0)
    weights = np.random.default_rng(1).integers(0, 4, size=len(X))
    repeated = np.repeat(X, weights, axis=0)
    options = {"n_components": 3, "covariance_type": kind, "tol": 1e-8, "random_state": 0}
    # The weights of a stick-breaking process depend on the order of the components.
    options["weight_concentration_prior_type"] = "dirichlet_distribution"
    a = BayesianGaussianMixture(**options).fit(X, sample_weight=weights)
    b = BayesianGaussianMixture(**options).fit(repeated)
    for prior in PRIORS:
        np.testing.assert_allclose(getattr(a, prior), getattr(b, prior), rtol=1e-10, atol=1e-12)
    i, j = in_order(a), in_order(b)
    np.testing.assert_allclose(a.weights_[i], b.weights_[j], rtol=1e-7)
    np.testing.assert_allclose(a.means_[i], b.means_[j], rtol=1e-7)
    np.testing.assert_allclose(a.lower_bound_, b.lower_bound_, rtol=1e-9)
    np.testing.assert_allclose(a.score(X, sample_weight=weights), b.score(repeated), rtol=1e-9)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("init", INITS)
def test_weights_of_one_change_nothing_and_rows_of_none_do_not_count(name: str, init: str) -> None:
    X = blobs(distance=12.0)
    make = getattr(fastclust, name)
    options = {
        "n_components": 3,
        "init_params": init,
        "random_state": 0,
        "tol": 1e-9,
        "max_iter": 500,
    }
    plain = make(**options).fit(X)
    ones = make(**options).fit(X, sample_weight=np.ones(len(X)))
    if init != "random_from_data":  # numpy draws others where it is given probabilities
        np.testing.assert_allclose(plain.means_, ones.means_, rtol=1e-9)
    far = np.concatenate([X, np.full((50, 3), 1e3)])
    weights = np.r_[np.ones(len(X)), np.zeros(50)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        none = make(**options).fit(far, sample_weight=weights)
    assert np.abs(none.means_).max() < 100


# --------------------------------------------------------------------------------------------
# Fewer steps


def slow(kind: str) -> tuple[Any, dict[str, Any]]:
    """Two components that overlap, on which EM takes hundreds of steps."""
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.normal(size=(700, 2)), rng.normal(size=(500, 2)) * 1.3 + [1.8, 0.5]])
    return X, {"n_components": 2, "covariance_type": kind, "random_state": 0, "max_iter": 5000}


@pytest.mark.parametrize("kind", TYPES)
def test_squarem_takes_fewer_sweeps_to_the_same_optimum(kind: str) -> None:
    X, options = slow(kind)
    plain = GaussianMixture(**options, tol=1e-10).fit(X)
    fast = GaussianMixture(**options, tol=1e-10, acceleration="squarem").fit(X)
    assert fast.converged_
    assert fast.n_iter_ < plain.n_iter_ / 2
    assert fast.lower_bound_ > plain.lower_bound_ - 1e-8
    assert (np.diff(fast.lower_bounds_) >= -1e-12).all()
    np.testing.assert_allclose(fast.lower_bound_, plain.lower_bound_, rtol=1e-7)
    np.testing.assert_allclose(fast.means_, plain.means_, atol=1e-2)


@pytest.mark.parametrize("kind", TYPES)
def test_squarem_never_lets_the_bound_fall(kind: str) -> None:
    for seed in range(3):
        X = blobs(400, 3, 6, distance=2.0, seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fit = GaussianMixture(
                6, covariance_type=kind, init_params="random_from_data", random_state=seed,
                acceleration="squarem", tol=1e-7,
            ).fit(X)  # fmt: skip
        assert len(fit.lower_bounds_) <= fit.n_iter_
        assert (np.diff(fit.lower_bounds_) >= -1e-11).all()
        np.testing.assert_allclose(fit.weights_.sum(), 1)


def test_squarem_on_one_component_ends() -> None:
    X = blobs(100, 2, 1)
    fit = GaussianMixture(1, acceleration="squarem").fit(X)
    assert fit.converged_
    np.testing.assert_allclose(fit.means_[0], X.mean(axis=0))


# --------------------------------------------------------------------------------------------
# Batches


def shuffled(n: int, seed: int = 0) -> Any:
    X = blobs(n, 2, 3, distance=8.0)
    return X[np.random.default_rng(seed).permutation(n)]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_come_near_the_whole_fit(kind: str, dtype: Any) -> None:
    X = shuffled(20_000).astype(dtype)
    whole = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X)
    learner = GaussianMixture(3, covariance_type=kind, random_state=0)
    for batch in np.split(X, 40):
        learner.partial_fit(batch)
    assert learner.n_iter_ == 40
    assert learner.score(X) > whole.score(X) - 0.01
    assert learner.score(X) <= whole.score(X) + 1e-3
    np.testing.assert_allclose(np.sort(learner.weights_), np.sort(whole.weights_), atol=0.02)
    np.testing.assert_allclose(
        learner.means_[in_order(learner)], whole.means_[in_order(whole)], atol=0.15
    )
    shape = whole.precisions_.shape
    assert learner.precisions_.shape == learner.covariances_.shape == shape


@pytest.mark.parametrize("kind", TYPES)
def test_first_batch_is_one_step_of_em(kind: str) -> None:
    X = blobs()
    learner = GaussianMixture(3, covariance_type=kind, random_state=0).partial_fit(X)
    with pytest.warns(ConvergenceWarning):
        step = GaussianMixture(3, covariance_type=kind, random_state=0, max_iter=1).fit(X)
    for name in FITTED:
        a, b = getattr(learner, name), getattr(step, name)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10, err_msg=name)
    np.testing.assert_allclose(learner.lower_bound_, step.lower_bound_, rtol=1e-12)


@pytest.mark.parametrize("kind", TYPES)
def test_batches_far_from_the_origin_and_with_weights(kind: str) -> None:
    X = shuffled(4000)
    weights = np.random.default_rng(0).integers(0, 3, size=len(X))
    near, far, repeated = (
        GaussianMixture(3, covariance_type=kind, random_state=0) for _ in range(3)
    )
    # From one start, as weights and repeated rows are drawn differently.
    first = GaussianMixture(3, covariance_type=kind, random_state=0).fit(X[:500])
    start = {
        "weights_init": first.weights_, "means_init": first.means_,
        "precisions_init": first.precisions_,
    }  # fmt: skip
    near.set_params(**start)
    repeated.set_params(**start)
    far.set_params(**{**start, "means_init": first.means_ + 1e6})
    for i in range(8):
        rows = slice(500 * i, 500 * (i + 1))
        near.partial_fit(X[rows], sample_weight=weights[rows])
        far.partial_fit(X[rows] + 1e6, sample_weight=weights[rows])
        repeated.partial_fit(np.repeat(X[rows], weights[rows], axis=0))
    for name in FITTED:
        wanted = getattr(near, name)
        np.testing.assert_allclose(getattr(repeated, name), wanted, rtol=1e-9, atol=1e-10)
        shift = 1e6 if name == "means_" else 0.0
        np.testing.assert_allclose(getattr(far, name) - shift, wanted, rtol=1e-6, atol=1e-6)


def test_a_fit_forgets_the_batches_before_it() -> None:
    X = shuffled(2000)
    learner = GaussianMixture(3, random_state=0)
    for batch in np.split(X + 100, 4):
        learner.partial_fit(batch)
    learner.fit(X)
    once = GaussianMixture(3, random_state=0).fit(X)
    for estimator in (learner, once):
        estimator.partial_fit(X[:500])
    np.testing.assert_array_equal(learner.means_, once.means_)
    assert learner.n_iter_ == once.n_iter_


def test_batches_that_cannot_be_learnt_change_nothing() -> None:
    X = shuffled(300)
    learner = GaussianMixture(3, random_state=0)
    with pytest.raises(ValueError, match=r"first batch.*n_components = 3, n_samples = 2"):
        learner.partial_fit(X[:2])
    assert not hasattr(learner, "means_")
    learner.partial_fit(X)
    before = pickle.dumps(learner)
    with pytest.raises(ValueError, match="features"):
        learner.partial_fit(X[:, :1])
    with pytest.raises(ValueError, match="NaN"):
        learner.partial_fit(np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="sample_weight"):
        learner.partial_fit(X, sample_weight=-np.ones(300))
    with pytest.raises(ValueError, match=r"n_components=4 must not change.*fitted with 3"):
        learner.set_params(n_components=4).partial_fit(X)
    with pytest.raises(ValueError, match=r"covariance_type='diag' must not change.*\(3, 2, 2\)"):
        learner.set_params(n_components=3, covariance_type="diag").partial_fit(X)
    assert pickle.dumps(learner.set_params(covariance_type="full")) == before
    learner.partial_fit(X[:1])  # later batches may be of any size
    assert learner.n_iter_ == 2


# --------------------------------------------------------------------------------------------
# Errors


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "n_components"),
        ({"covariance_type": "round"}, "covariance_type"),
        ({"tol": -1.0}, "tol"),
        ({"reg_covar": -1.0}, "reg_covar"),
        ({"init_params": "best"}, "init_params"),
        ({"max_iter": -1}, "max_iter"),
        ({"n_init": 0}, "n_init"),
        ({"n_components": 1000}, "n_components = 1000, n_samples = 600"),
    ],
    ids=str,
)
def test_bad_parameters(name: str, parameters: Any, message: str) -> None:
    X = blobs()
    estimator = getattr(fastclust, name)(n_components=2, random_state=0).fit(X)
    means = estimator.means_
    with pytest.raises(ValueError, match=message):
        estimator.set_params(**parameters).fit(X[:, :2])
    assert estimator.means_ is means
    assert estimator.n_features_in_ == 3


def test_bad_acceleration() -> None:
    with pytest.raises(ValueError, match=r"'acceleration' parameter.*must be.*'squarem'.*'turbo'"):
        GaussianMixture(acceleration="turbo").fit(blobs())


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"sample_weight.shape == \(3,\), expected \(600,\)"),
        (-np.ones(600), "must not be negative, but the smallest is -1"),
        (np.zeros(600), "must have a weight above zero"),
        (np.full(600, np.nan), "sample_weight contains NaN"),
    ],
)
def test_bad_weights(name: str, weights: Any, message: str) -> None:
    X = blobs()
    estimator = getattr(fastclust, name)(n_components=2, random_state=0)
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, sample_weight=weights)
    assert not hasattr(estimator, "means_")
    estimator.fit(X)
    with pytest.raises(ValueError, match=message):
        estimator.score(X, sample_weight=weights)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("init", ["k-means++", "random_from_data", "kmeans"])
def test_fewer_rows_of_weight_than_components(name: str, init: str) -> None:
    estimator = getattr(fastclust, name)(n_components=3, init_params=init, random_state=0)
    weights = np.zeros(600)
    weights[:2] = 1
    with pytest.raises(ValueError, match=r"n_components=3 weights above zero.*but it has 2"):
        estimator.fit(blobs(), sample_weight=weights)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_collapsed_component(kind: str, dtype: Any) -> None:
    X = np.repeat([[0.0, 0.0], [1.0, 1.0]], 20, axis=0).astype(dtype)
    estimator = GaussianMixture(2, covariance_type=kind, random_state=0).fit(X)
    before = pickle.dumps(estimator)
    estimator.set_params(reg_covar=0.0)
    with pytest.raises(ValueError, match=r"ill-defined empirical covariance.*increase reg_covar"):
        estimator.fit(X)
    assert pickle.dumps(estimator.set_params(reg_covar=1e-6)) == before


@pytest.mark.parametrize("name", CLASSES)
def test_bad_data(name: str) -> None:
    estimator = getattr(fastclust, name)(n_components=2)
    for method in ("predict", "predict_proba", "score_samples", "score"):
        with pytest.raises(NotFittedError):
            getattr(estimator, method)(blobs())
    for X, message in (
        (np.ones(5), "2D array"),
        (np.array([[1.0, np.nan], [0, 1]]), "NaN"),
        (np.array([[1.0, np.inf], [0, 1]]), "infinity"),
        (np.ones((1, 2)), "minimum of 2 is required"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.fit(X)
    estimator.fit(blobs())
    with pytest.raises(ValueError, match="expecting 3 features"):
        estimator.predict(np.ones((4, 2)))


def test_weights_too_light_for_a_prior() -> None:
    with pytest.raises(ValueError, match="sample_weight must add up to more than 1"):
        BayesianGaussianMixture(n_components=1).fit(blobs(), sample_weight=np.full(600, 1e-3))


# --------------------------------------------------------------------------------------------
# Estimator


@pytest.mark.parametrize("name", CLASSES)
def test_parameters_clone_and_pickle(name: str) -> None:
    X = blobs()
    estimator = getattr(fastclust, name)(n_components=3, random_state=0)
    theirs = getattr(sklearn.mixture, name)(n_components=3, random_state=0)
    ours = estimator.get_params()
    if name == "GaussianMixture":
        assert ours.pop("acceleration") is None
    assert ours == theirs.get_params()
    copy = clone(estimator.fit(X))
    assert not hasattr(copy, "means_")
    loaded = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(loaded.predict_proba(X), estimator.predict_proba(X))
    np.testing.assert_array_equal(copy.fit(X).means_, estimator.means_)
    assert isinstance(estimator, getattr(sklearn.mixture, name))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("kind", TYPES)
def test_same_bits_however_the_rows_arrive(
    name: str, kind: str, tmp_path: Any, monkeypatch: Any
) -> None:
    X = blobs(5000, 4)
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", X.dtype, X.shape)
    mapped[:] = X
    readonly = np.load(tmp_path / "X.npy", mmap_mode="r")
    wide = np.zeros((5000, 8))
    wide[:, ::2] = X
    arrivals = [
        X,
        np.asfortranarray(X),
        mapped,
        readonly,
        wide[:, ::2],
        X.tolist(),
        pd.DataFrame(X),
    ]
    options = {"n_components": 3, "covariance_type": kind, "random_state": 0, "max_iter": 100}
    found = [getattr(fastclust, name)(**options).fit(rows) for rows in arrivals]
    monkeypatch.setattr(parallel, "SMALL_WORK", 0)
    for n_threads in (1, 2, 7):
        monkeypatch.setattr(parallel, "effective_n_threads", lambda n=n_threads: n)
        found.append(getattr(fastclust, name)(**options).fit(X))
    for attribute in FITTED:
        bits = {np.asarray(getattr(fit, attribute)).tobytes() for fit in found}
        assert len(bits) == 1, attribute
    assert len({fit.lower_bound_ for fit in found}) == 1


@pytest.mark.parametrize("name", CLASSES)
def test_data_are_not_changed(name: str) -> None:
    X = blobs()
    before = X.copy()
    X.flags.writeable = False
    weights = np.ones(len(X))
    weights.flags.writeable = False
    getattr(fastclust, name)(n_components=2, random_state=0).fit(X, sample_weight=weights)
    np.testing.assert_array_equal(X, before)


def test_names_of_columns() -> None:
    frame = pd.DataFrame(blobs(), columns=["a", "b", "c"])
    estimator = GaussianMixture(2, random_state=0).fit(frame)
    assert list(estimator.feature_names_in_) == ["a", "b", "c"]
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        estimator.predict(frame.to_numpy())


# --------------------------------------------------------------------------------------------
# The variational mixture


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])
def test_ten_components_are_reduced_to_three(kind: str, prior: str) -> None:
    X = blobs(900, 2, 3, distance=12.0)
    ours, theirs = both(
        "BayesianGaussianMixture", X, n_components=10, covariance_type=kind, random_state=4,
        weight_concentration_prior_type=prior, weight_concentration_prior=0.01, max_iter=60,
        reg_covar=1e-3, init_params="random",
    )  # fmt: skip
    np.testing.assert_allclose(ours.weights_, theirs.weights_, atol=1e-5)
    assert ours.n_iter_ == theirs.n_iter_


@pytest.mark.parametrize("concentration", [0.01, 10000])
@pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])
def test_concentration(concentration: float, prior: str) -> None:
    X = blobs(600, 2, 4, distance=6.0)
    ours, theirs = both(
        "BayesianGaussianMixture", X, n_components=8, random_state=0, max_iter=50,
        weight_concentration_prior_type=prior, weight_concentration_prior=concentration,
    )  # fmt: skip
    np.testing.assert_allclose(ours.weights_, theirs.weights_, atol=1e-5)
    assert np.count_nonzero(ours.weights_ > 0.01) == np.count_nonzero(theirs.weights_ > 0.01)


def test_moons() -> None:
    X = make_moons(1000, noise=0.05, random_state=0)[0]
    ours, theirs = both("BayesianGaussianMixture", X, n_components=10, random_state=42)
    np.testing.assert_allclose(ours.weights_, theirs.weights_, atol=1e-5)


@pytest.mark.parametrize("kind", TYPES)
def test_given_priors(kind: str) -> None:
    X = blobs()
    rng = np.random.default_rng(0)
    square = rng.normal(size=(3, 3))
    matrix = np.eye(3) + square @ square.T
    covariance = {"full": matrix, "tied": matrix, "diag": np.diag(matrix), "spherical": 2.0}[kind]
    ours, theirs = both(
        "BayesianGaussianMixture", X, n_components=3, covariance_type=kind, random_state=0,
        mean_precision_prior=0.5, mean_prior=np.array([1.0, -1.0, 0.5]),
        degrees_of_freedom_prior=5.5, covariance_prior=covariance,
    )  # fmt: skip
    assert_alike(ours, theirs, X)
    for prior in PRIORS:
        np.testing.assert_allclose(getattr(ours, prior), getattr(theirs, prior))


def test_sample_from_float32_with_nearly_empty_components() -> None:
    X = blobs(900, 2, 3, distance=12.0).astype(np.float32)
    for seed in range(6):
        fit = BayesianGaussianMixture(
            n_components=10, random_state=seed, weight_concentration_prior=1e-6, max_iter=400
        ).fit(X)
        rows, labels = fit.sample(40)
        assert rows.shape == (40, 2)
        assert labels.shape == (40,)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("kind", TYPES)
def test_a_warm_start_goes_on_from_the_same_kind_of_mixture(name: str, kind: str) -> None:
    """As many components as columns, so that types of covariances have one shape."""
    X = blobs(200, 3, 3)
    model = getattr(fastclust, name)(
        n_components=3, covariance_type=kind, warm_start=True, random_state=0, tol=1e9
    ).fit(X)
    expected = model.predict(X)
    model.set_params(n_components=5)
    with pytest.raises(ValueError, match=r"n_components=5 must not change .*fitted with 3\.$"):
        model.fit(X)
    model.set_params(n_components=3)
    with pytest.raises(ValueError, match=r"same number of columns .* has 2 .* fitted to 3"):
        model.fit(X[:, :2])
    assert model.n_features_in_ == 3
    for other in set(TYPES) - {kind}:
        model.set_params(covariance_type=other)
        for call in model.fit, model.predict, model.score:
            with pytest.raises(ValueError, match=f"covariance_type='{other}' must not change"):
                call(X)
    np.testing.assert_array_equal(model.set_params(covariance_type=kind).predict(X), expected)
    model.fit(X.astype(np.float32))


def test_a_warm_start_keeps_its_kind_of_prior() -> None:
    X = blobs(200, 3, 3)
    kinds = ["dirichlet_process", "dirichlet_distribution"]
    for kind, other in (kinds, kinds[::-1]):
        model = fastclust.BayesianGaussianMixture(
            n_components=3,
            weight_concentration_prior_type=kind,
            warm_start=True,
            tol=1e9,
            random_state=0,
        ).fit(X)
        model.set_params(weight_concentration_prior_type=other)
        with pytest.raises(ValueError, match=f"prior_type='{other}' must not change"):
            model.fit(X)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("estimator", [GaussianMixture, BayesianGaussianMixture])
def test_answers_are_of_the_parameters_of_this_moment(estimator: Any, kind: str) -> None:
    # What is prepared from parameters is kept, but not when they are set or written into.
    X = np.random.default_rng(0).standard_normal((60, 3)) + 4 * (np.arange(60) % 3)[:, None]
    mixture = estimator(n_components=3, covariance_type=kind, random_state=0).fit(X)
    theirs = mixture.to_sklearn()

    def same() -> None:
        assert_allclose(mixture.score_samples(X), theirs.score_samples(X), rtol=1e-9)

    same()
    for name in ("weights_", "means_", "precisions_cholesky_"):
        for model in (mixture, theirs):
            if name != "weights_" or estimator is GaussianMixture:
                values = getattr(model, name)
                values[0] = 0.5 * values[0] + (name == "means_")  # in place
        same()
        for model in (mixture, theirs):
            setattr(model, name, 1.25 * getattr(model, name))
        same()
    kept = mixture.score_samples(X)
    for other in (pickle.loads(pickle.dumps(mixture)), copy.deepcopy(mixture)):
        assert_array_equal(other.score_samples(X), kept)
        other.means_[0] += 1.0
        assert (other.score_samples(X) != kept).any()
    assert_array_equal(mixture.score_samples(X), kept)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "score_samples", "score", "bic", "aic"]
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_to_ask_about_are_finite(method: str, value: float, dtype: Any) -> None:
    X = np.random.default_rng(0).standard_normal((30, 2)).astype(dtype)
    mixture = GaussianMixture(2, random_state=0).fit(X)
    X[17, 1] = value
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        getattr(mixture, method)(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("start", INITS)
@pytest.mark.parametrize("name", CLASSES)
def test_a_fit_gathers_its_threads_once(
    kind: str, start: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    gather = parallel.Team.__init__

    def counted(self: Any, wanted: int) -> None:
        made.append(wanted)
        gather(self, wanted)

    monkeypatch.setattr(parallel.Team, "__init__", counted)
    X = np.random.default_rng(0).normal(size=(1500, 3))  # for fewer rows none are gathered
    options = {"n_components": 2, "covariance_type": kind, "init_params": start, "n_init": 3}
    getattr(fastclust, name)(**options, max_iter=2, random_state=0).fit(X)
    assert len(made) == 1


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("scale", [1.0, 1e-16])
@pytest.mark.parametrize("k", [1, 4, 40])
def test_first_labels_are_those_of_kmeans(k: int, scale: float, dtype: Any) -> None:
    """With the same draws, of which as many are left; 40 clusters are of 30 distinct rows."""
    rng = np.random.default_rng(k)
    X = (np.repeat(rng.normal(size=(30, 3)), 3, axis=0) * scale).astype(dtype)
    weights = rng.integers(1, 4, len(X)).astype(dtype)
    first, second = np.random.RandomState(5), np.random.RandomState(5)
    for given in (None, weights):
        expected = fastclust.KMeans(k, random_state=first).fit(X, sample_weight=given).labels_
        with parallel.team() as threads:
            found = Clustering(survey(X, given, threads), k, threads).run(second)
        np.testing.assert_array_equal(found, expected)
    assert first.randint(1 << 30) == second.randint(1 << 30)


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_no_default_is_checked(name: str) -> None:
    """Also where it is set later, or is the default of a class derived from ours."""
    X = np.random.default_rng(0).normal(size=(30, 2))
    mixture = getattr(fastclust, name)(n_components=2).fit(X)
    with pytest.raises(ValueError, match="'init_params' parameter"):
        mixture.set_params(init_params="kmean").fit(X)

    class Derived(getattr(fastclust, name)):  # type: ignore[misc]
        def __init__(self, n_components: int = 2, covariance_type: Any = "round") -> None:
            super().__init__(n_components=n_components, covariance_type=covariance_type)

    with pytest.raises(ValueError, match="'covariance_type' parameter of Derived"):
        Derived().fit(X)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("batch", [False, True])
def test_rows_that_are_not_finite_are_named(value: float, batch: bool, dtype: Any) -> None:
    X = np.random.default_rng(0).normal(size=(130, 3)).astype(dtype)
    X[129, 2] = value
    mixture = fastclust.GaussianMixture(2)
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        (mixture.partial_fit if batch else mixture.fit)(X)
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        fastclust.kmeans_plusplus(X, 2)
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        fastclust.kmeans_plusplus(scipy.sparse.csr_matrix(X), 2)
