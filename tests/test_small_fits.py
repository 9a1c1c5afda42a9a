"""Fits in compiled code: the same bits as when every step comes back to Python."""

import pickle

import numpy as np
import pytest
from numba import config

from fastclust import GaussianMixture, KMeans
from fastclust.kernels import em
from fastclust.kernels.algorithms import ALGORITHMS
from fastclust.kernels.lloyd import Lloyd
from fastclust.kernels.machine import calling
from fastclust.kernels.starts import SmallStarts
from fastclust.validation import check_seed

FOUND = ("labels_", "cluster_centers_", "inertia_", "n_iter_", "n_distances_")


def in_python(monkeypatch):
    """Have the loop in Python make every step."""
    monkeypatch.setattr(SmallStarts, "serve", staticmethod(lambda *arguments: False))
    for kind in set(ALGORITHMS.values()):
        monkeypatch.setattr(kind, "iterates", property(lambda self: False))


def both_ways(monkeypatch, X, weights=None, **parameters):
    """The same fit on both paths, and what the generator gives after it."""
    fits = []
    for change in (lambda _: None, in_python):
        with monkeypatch.context() as patch, np.errstate(all="raise"):
            change(patch)
            random_state = np.random.RandomState(3)
            model = KMeans(random_state=random_state, **parameters).fit(X, sample_weight=weights)
            fits.append([*(getattr(model, name) for name in FOUND), random_state.random_sample()])
    return fits


@pytest.mark.filterwarnings("ignore:Number of distinct clusters", "ignore:algorithm='elkan'")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n_samples", "n_features", "n_clusters"),
    [(1, 1, 1), (7, 2, 7), (64, 1, 3), (65, 3, 8), (500, 2, 1), (700, 17, 9), (2100, 2, 5)],
)
def test_small_fits_have_the_same_bits(monkeypatch, dtype, n_samples, n_features, n_clusters):
    rng = np.random.default_rng(n_samples)
    rows = rng.standard_normal((n_samples, n_features)) + 100
    rows[n_samples // 2 :: 3] = rows[0]  # duplicates
    weights = rng.integers(0, 3, n_samples) + (np.arange(n_samples) == 0)
    for X in (rows, np.round(rows)):
        for given in (None, weights):
            for more in (
                {"n_init": 4},
                {"n_init": 3, "tol": 0.0, "max_iter": 2},
                {"n_init": 2, "algorithm": "elkan"},
            ):
                seeds = {"n_clusters": n_clusters, **more}
                for found, wanted in zip(
                    *both_ways(monkeypatch, X.astype(dtype), given, **seeds), strict=True
                ):
                    np.testing.assert_array_equal(found, wanted)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("init", ["array", "random"])
def test_starts_that_the_loop_must_see_to_have_the_same_bits(monkeypatch, init):
    X = np.random.default_rng(0).standard_normal((300, 2))
    given = init if init == "random" else np.concatenate([X[:3], np.full((2, 2), 50.0)])
    n_init = 5 if init == "random" else 1
    parameters = {"n_clusters": 5, "init": given, "n_init": n_init}
    left = []
    run = SmallStarts.run

    def watched(self, first):
        left.append(run(self, first))
        return left[-1]

    monkeypatch.setattr(SmallStarts, "run", watched)
    for found, wanted in zip(*both_ways(monkeypatch, X, **parameters), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert left == ([(5, True)] if init == "random" else [(0, False)])


def test_long_fits_come_back_between_starts_and_iterations(monkeypatch):
    X = np.random.default_rng(0).standard_normal((1000, 2))
    monkeypatch.setattr(Lloyd, "most_steps", property(lambda self: 3))
    for found, wanted in zip(
        *both_ways(monkeypatch, X, n_clusters=6, n_init=5, tol=0.0), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_clusters", [3, 40])
@pytest.mark.parametrize("large_piles", [False, True])
def test_whole_iterations_with_helpers_have_the_same_bits(
    monkeypatch, dtype, n_clusters, large_piles
):
    if large_piles:
        monkeypatch.setattr("fastclust.kernels.update.LARGE_PILE", 0)
    X = np.random.default_rng(0).standard_normal((30_000, 9)).astype(dtype)
    parameters = {"n_clusters": n_clusters, "max_iter": 12, "algorithm": "lloyd"}
    for found, wanted in zip(*both_ways(monkeypatch, X, **parameters), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("algorithm", ["hamerly", "elkan", "auto"])
@pytest.mark.parametrize("large_piles", [False, True])
def test_whole_rounds_of_bounds_have_the_same_bits(monkeypatch, dtype, algorithm, large_piles):
    if large_piles:
        monkeypatch.setattr("fastclust.kernels.update.LARGE_PILE", 0)
    monkeypatch.setattr("fastclust.kernels.lloyd.SMALL_WORK", 0)
    monkeypatch.setattr("fastclust.kernels.elkan.DEAR", 300)
    for name in ("SMALL_WORK", "LONG_ROUND", "WORTH_TRYING"):
        monkeypatch.setattr(f"fastclust.kernels.auto.{name}", 0)
    rng = np.random.default_rng(1)
    for n_features, n_clusters, apart in [(2, 70, 9), (9, 40, 0), (100, 5, 9), (20, 300, 9)]:
        places = apart * rng.standard_normal((n_clusters, n_features))
        X = (places[np.arange(3000) % n_clusters] + rng.standard_normal((3000, n_features))).astype(
            dtype
        )
        parameters = {"init": X[:n_clusters] + X[-1:], "max_iter": 40, "algorithm": algorithm}
        for found, wanted in zip(
            *both_ways(monkeypatch, X, n_clusters=n_clusters, **parameters), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)


MIXTURE = (
    "weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_", "n_iter_",
    "converged_",
)  # fmt: skip


def mixtures(X, weights=None, **parameters):
    """The same fit in compiled code and, with a callback, step by step; and further draws."""
    for callbacks in (None, [lambda progress: None]):
        random_state = np.random.RandomState(3)
        model = GaussianMixture(random_state=random_state, **parameters)
        model.fit(X, sample_weight=weights, callbacks=callbacks)
        yield [*(getattr(model, name) for name in MIXTURE), random_state.random_sample()]


def assert_equal_fits(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mixtures_have_the_same_bits(kind, dtype):
    for n_samples, n_features, k in [(2, 1, 1), (90, 1, 4), (500, 2, 8), (300, 7, 3), (200, 40, 2)]:
        rng = np.random.default_rng(n_samples)
        X = (rng.standard_normal((n_samples, n_features)) + 10 * rng.integers(2)).astype(dtype)
        parameters = {"n_components": k, "covariance_type": kind}
        for weights in (None, rng.uniform(0.1, 2, n_samples)):
            assert_equal_fits(*mixtures(X, weights, n_init=3, **parameters))
    for more in ({"max_iter": 1}, {"init_params": "random_from_data", "n_init": 2}):
        assert_equal_fits(*mixtures(X, **more, **parameters))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_mixtures_that_the_loop_must_see_to_have_the_same_bits(monkeypatch):
    X = np.random.default_rng(0).standard_normal((400, 2))
    parameters = {"n_components": 3, "n_init": 4, "tol": 0.0, "max_iter": 7}
    expected = list(mixtures(X, **parameters))[1]
    for serves in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr(em, "LOOP_WORK", 200_000)  # some steps a call
            if not serves:
                patch.setattr(SmallStarts, "serve", staticmethod(lambda algorithm: False))
            assert_equal_fits(next(mixtures(X, **parameters)), expected)
    with monkeypatch.context() as patch:
        patch.setattr(Lloyd, "most_steps", property(lambda self: 2))
        assert_equal_fits(next(mixtures(X, **parameters)), expected)


def test_whole_steps_with_helpers_have_the_same_bits():
    X = np.random.default_rng(0).standard_normal((30_000, 3))
    assert_equal_fits(*mixtures(X, n_components=2, tol=0.0, max_iter=5))


@pytest.mark.parametrize("kind", ["full", "tied", "diag"])
def test_collapsed_mixtures_raise_as_step_by_step(kind):
    X = np.random.default_rng(0).standard_normal((60, 2)) * [1, 0]
    for callbacks in (None, [lambda progress: None]):
        model = GaussianMixture(2, covariance_type=kind, reg_covar=0.0, random_state=0)
        with pytest.raises(ValueError, match="ill-defined empirical covariance"):
            model.fit(X, callbacks=callbacks)
        assert not hasattr(model, "means_")


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_generators_are_numpys(seed):
    made, wanted = check_seed(seed), np.random.RandomState(seed)
    np.testing.assert_array_equal(made.standard_normal(700), wanted.standard_normal(700))
    copied = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(copied.random_sample(700), wanted.random_sample(700))


@pytest.mark.skipif(config.DISABLE_JIT, reason="references are the kernels themselves")
def test_a_kernel_of_other_types_is_not_called():
    @calling.helper
    def right(value):
        return value + 1.0

    @calling.helper
    def run(kernel, value):
        return calling.call(kernel, 0.0, (value,), ())

    kernel = calling.reference(right, "here", 1.5)
    assert run(kernel, 1.5) == 2.5
    with pytest.raises(TypeError, match="other types"):
        run(kernel, 1)
