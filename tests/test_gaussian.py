"""Sweeps of EM over whole data sets against the NumPy reference, on awkward shapes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import config

from fastclust.kernels import components, gaussian, reference
from fastclust.kernels.components import make_densities
from fastclust.kernels.gaussian import (
    COVARIANCES,
    DISTANCES,
    LEAST_SLICE_ROWS,
    MANY_FEATURES,
    MEANS,
    VARIANCES,
    Moments,
    Sweep,
    sweep_rows,
)
from fastclust.kernels.machine.parallel import team
from fastclust.kernels.tiles import make_rows
from fastclust.mixtures.em_problem import Problem

# n, d, k: tails, one row, one column, one component, all ways to pad groups of components and of
# features, lists of rows (many features) that do and do not fill up, several slices.
SHAPES = [
    (1, 1, 1),
    (63, 1, 2),
    (64, 2, 3),
    (65, 3, 4),
    (200, 5, 7),
    (130, 6, 5),
    (333, 8, 11),
    (97, 12, 30),
    (1100, 2, 8),
    (2500, 7, 1),
    (300, 23, 3),
    (300, 24, 6),
    (1300, 25, 2),
    (150, 40, 9),
    (70, 64, 3),
]
TYPES = ["full", "tied", "diag", "spherical"]
ORDERS = {"full": COVARIANCES, "tied": MEANS, "diag": VARIANCES, "spherical": DISTANCES}


class Mixture(NamedTuple):
    """Rows, weights and components."""

    X: Any
    weights: Any
    means: Any
    factors: Any
    constants: Any


@pytest.fixture(params=SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def shape(request: pytest.FixtureRequest) -> Any:
    """One of the shapes (n, d, k)."""
    return request.param


def make_mixture(
    shape: Any, kind: str, dtype: Any, *, offset: float = 0.0, duplicates: bool = False
) -> Mixture:
    """Overlapping components, `offset` standard deviations from the origin."""
    n, d, k = shape
    rng = np.random.default_rng([n, d, k])
    centers = rng.normal(size=(k, d)) * (2 / np.sqrt(d))
    X = centers[rng.integers(k, size=n)] + rng.normal(size=(n, d))
    if duplicates:
        X = X[rng.integers(max(1, n // 5), size=n)]
    X = (X + offset).astype(dtype)
    weights = rng.uniform(0.5, 3, size=n).astype(dtype)
    weights[::5] = 0
    if n == 1:
        weights[:] = 2
    factors = np.triu(rng.normal(size=(k, d, d)) / d) + np.eye(d) * rng.uniform(0.7, 1.5, d)
    if kind == "tied":
        factors = factors[0]
    elif kind == "diag":
        factors = rng.uniform(0.5, 1.5, size=(k, d))
    elif kind == "spherical":
        factors = rng.uniform(0.5, 1.5, size=k)
    constants = np.log(rng.dirichlet(np.ones(k)))
    return Mixture(X, weights, centers + offset, factors, constants)


def sweep_of(problem: Mixture, kind: str, threads: Any, *, weighted: bool) -> tuple[Sweep, Any]:
    """A sweep, and densities centred as its rows are."""
    center = problem.X.mean(axis=0, dtype=np.float64)
    rows = make_rows(problem.X, problem.weights if weighted else None)
    densities = make_densities(kind, problem.means - center, problem.factors, problem.constants)
    return Sweep(rows, center, threads), densities


def expected_moments(problem: Mixture, kind: str, *, weighted: bool, wide: bool = False) -> Moments:
    """The reference's, in extended precision if `wide`."""
    dtype = np.longdouble if wide else np.float64
    X, means = problem.X.astype(dtype), problem.means.astype(dtype)
    weights = (problem.weights if weighted else np.ones(len(X))).astype(dtype)
    k, d = means.shape
    factors = reference.full_factors(problem.factors, kind, k, d).astype(dtype)
    logits = reference.log_densities(X, means, factors, problem.constants.astype(dtype))
    p, log_norm, negentropy = reference.posteriors(logits)
    zeroth, first, second = reference.mixture_moments(X, weights, p, means)
    if ORDERS[kind] == VARIANCES:
        second = np.einsum("kii->ki", second)
    if ORDERS[kind] == DISTANCES:
        second = np.einsum("kii->k", second)
    if ORDERS[kind] == MEANS:
        second = second[:, :0, :0].reshape(k, 0)
    parts = (weights @ log_norm, weights @ negentropy, zeroth, first, second)
    return Moments(*(np.asarray(part, np.float64) for part in parts))  # type: ignore[arg-type]


def assert_close(found: Moments, expected: Moments, n: int, tolerance: float) -> None:
    """Each number within `tolerance` times the number of rows and the size of a row's part."""
    for name in Moments._fields:
        a, b = np.asarray(getattr(found, name)), np.asarray(getattr(expected, name))
        assert a.shape == b.shape, name
        size = max(1.0, float(np.abs(b).max(initial=0.0)) / n)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * n * size, err_msg=name)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_sweep(shape: Any, kind: str, dtype: Any, weighted: bool) -> None:
    problem = make_mixture(shape, kind, dtype)
    with team() as threads:
        sweep, densities = sweep_of(problem, kind, threads, weighted=weighted)
        found = sweep.moments(densities, ORDERS[kind])
        log_likelihood = sweep.log_likelihood(densities)
        everything = (
            sweep.posteriors(densities),
            sweep.log_norms(densities),
            sweep.labels(densities),
        )
    expected = expected_moments(problem, kind, weighted=weighted)
    assert_close(found, expected, shape[0], 1e-13)
    np.testing.assert_allclose(log_likelihood, expected.log_likelihood, rtol=1e-12)
    _, d, k = shape
    factors = reference.full_factors(problem.factors, kind, k, d)
    X = problem.X.astype(float)
    logits = reference.log_densities(X, problem.means, factors, problem.constants)
    p, log_norm, _ = reference.posteriors(logits)
    np.testing.assert_allclose(everything[0], p, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(everything[1], log_norm, rtol=1e-12, atol=1e-12)
    rows = np.arange(len(X))
    assert (logits[rows, everything[2]] >= logits.max(axis=1) - 1e-11).all()


def test_lists_and_whole_covariances_are_both_among_the_shapes() -> None:
    features = [d for _, d, _ in SHAPES]
    assert min(features) < MANY_FEATURES - 1 < MANY_FEATURES < max(features)
    assert max(n for n, _, _ in SHAPES) > 2 * LEAST_SLICE_ROWS


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("d", [3, 30])
def test_duplicates_and_components_without_weight(kind: str, d: int) -> None:
    problem = make_mixture((400, d, 5), kind, np.float64, duplicates=True)
    problem.constants[[1, 4]] = -np.inf
    with team() as threads:
        sweep, densities = sweep_of(problem, kind, threads, weighted=True)
        found = sweep.moments(densities, ORDERS[kind])
        p = sweep.posteriors(densities)
    assert_close(found, expected_moments(problem, kind, weighted=True), 400, 1e-13)
    assert (found.zeroth[[1, 4]] == 0).all()
    assert (p[:, [1, 4]] == 0).all()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("d", [1, 2, 9, 24, 31])
def test_data_far_from_the_origin(kind: str, d: int, dtype: Any) -> None:
    """At 1e6 standard deviations nothing is lost but what the data themselves have not."""
    problem = make_mixture((700, d, 4), kind, dtype, offset=1e6)
    with team() as threads:
        sweep, densities = sweep_of(problem, kind, threads, weighted=True)
        found = sweep.moments(densities, ORDERS[kind])
        norms = sweep.log_norms(densities)
    expected = expected_moments(problem, kind, weighted=True, wide=True)
    # Centred means are rounded once, to 1e6 ulps of what they are.
    assert_close(found, expected, 700, 2e-9)
    near = problem._replace(X=(problem.X.astype(float) - 1e6), means=problem.means - 1e6)
    with team() as threads:
        sweep, densities = sweep_of(near, kind, threads, weighted=True)
        np.testing.assert_allclose(norms, sweep.log_norms(densities), rtol=1e-8)


@pytest.mark.parametrize("shape", [(300, 3, 4), (257, 30, 5)], ids=str)
@pytest.mark.parametrize("order", [MEANS, DISTANCES, VARIANCES, COVARIANCES])
def test_moments_of_given_posteriors_and_labels(shape: Any, order: int, dtype: Any) -> None:
    n, _, k = shape
    problem = make_mixture(shape, "spherical", dtype)
    rng = np.random.default_rng(7)
    given = rng.dirichlet(np.ones(k), size=n)
    labels = rng.integers(-1, k, size=n).astype(np.int32)
    one_hot = (labels[:, None] == np.arange(k)).astype(float)
    with team() as threads:
        sweep, densities = sweep_of(problem, "spherical", threads, weighted=True)
        results = (
            (sweep.moments(densities, order, given=given), given),
            (sweep.moments(densities, order, labels=labels), one_hot),
        )
    X, weights = problem.X.astype(float), problem.weights.astype(float)
    for found, p in results:
        zeroth, first, second = reference.mixture_moments(X, weights, p, problem.means)
        np.testing.assert_allclose(found.zeroth, zeroth, rtol=1e-12)
        np.testing.assert_allclose(found.first, first, rtol=1e-12, atol=1e-10)
        if order == DISTANCES:
            np.testing.assert_allclose(found.second, np.einsum("kii->k", second), rtol=1e-12)
        if order == VARIANCES:
            np.testing.assert_allclose(found.second, np.einsum("kii->ki", second), rtol=1e-12)
        if order == COVARIANCES:
            np.testing.assert_allclose(found.second, second, rtol=1e-12, atol=1e-10)


def bits(moments: Moments) -> list[bytes]:
    return [np.asarray(field).tobytes() for field in moments]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("d", [2, 26])
def test_same_bits_for_any_number_of_threads(
    kind: str, d: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastclust.kernels.machine import parallel

    monkeypatch.setattr(parallel, "SMALL_WORK", 0)
    problem = make_mixture((9 * LEAST_SLICE_ROWS + 77, d, 5), kind, dtype)
    found = []
    for n_threads in (1, 2, 7, 2):
        with team(n_threads) as threads:
            # Helpers run compiled code alone.
            assert threads.n_threads == (1 if config.DISABLE_JIT else n_threads)
            sweep, densities = sweep_of(problem, kind, threads, weighted=True)
            found.append(bits(sweep.moments(densities, ORDERS[kind])))
            found[-1].append(np.float64(sweep.log_likelihood(densities)).tobytes())
            found[-1].append(sweep.posteriors(densities).tobytes())
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("d", [2, 26])
def test_same_bits_however_many_slices_are_kept_apart(
    monkeypatch: pytest.MonkeyPatch, kind: str, d: int
) -> None:
    problem = make_mixture((5000, d, 3), kind, np.float64)
    found = []
    with team(2) as threads:
        for most in (gaussian.MAX_MOMENT_BYTES, 1):
            monkeypatch.setattr(gaussian, "MAX_MOMENT_BYTES", most)
            monkeypatch.setattr(gaussian, "LEAST_SLICES", 2)
            sweep, densities = sweep_of(problem, kind, threads, weighted=True)
            found.append(bits(sweep.moments(densities, ORDERS[kind])))
    assert found[0] == found[1]


def test_slices_are_neither_too_short_nor_too_long() -> None:
    shapes = {(100, 2): 1024, (6_400_000, 2): 12_544, (64_000_000, 256): 8192}
    for shape, size in shapes.items():
        assert sweep_rows(*shape) == size


def test_symmetric_moments_are_symmetric() -> None:
    for d in (5, 30):
        problem = make_mixture((500, d, 2), "full", np.float64)
        with team() as threads:
            sweep, densities = sweep_of(problem, "full", threads, weighted=False)
            second = sweep.moments(densities, COVARIANCES).second
        assert (second == second.transpose(0, 2, 1)).all()


def test_parts_too_small_to_feel_are_left_out_of_lists() -> None:
    """And what is above the limit is not."""
    d = MANY_FEATURES
    X = np.zeros((100, d))
    X[50:, 0] = 14.0
    means = np.zeros((2, d))
    means[1, 0] = 14.0
    factors = np.repeat(np.eye(d)[None], 2, axis=0)
    with team() as threads:
        sweep = Sweep(make_rows(X), np.zeros(d), threads)
        found = sweep.moments(make_densities("full", means, factors, np.zeros(2)), COVARIANCES)
    assert np.exp(-98.0) < gaussian.INVISIBLE < np.exp(-24.5)
    np.testing.assert_array_equal(found.zeroth, [50, 50])
    with team() as threads:
        sweep = Sweep(make_rows(X / 2), np.zeros(d), threads)
        found = sweep.moments(make_densities("full", means / 2, factors, np.zeros(2)), COVARIANCES)
    np.testing.assert_allclose(found.first[0, 0], 50 * 7 * np.exp(-24.5), rtol=1e-10)


@pytest.mark.parametrize("d", [1, 2, 9, 24, 31])
@pytest.mark.parametrize("far", [0.0, 1.0, 1e3])
def test_variances_of_round_components_whose_means_move_far(d: int, far: float, dtype: Any) -> None:
    """They lose to cancellation what the square of the move is worth, and no more than that."""
    rng = np.random.default_rng(d)
    X = (rng.normal(size=(700, d)) + 1e6).astype(dtype)
    with team() as threads:
        problem = Problem(X, None, "spherical", threads)
        means = problem.center[None] + far
        densities = make_densities("spherical", means - problem.center, np.ones(1), np.zeros(1))
        moments = problem.sweep.moments(densities, DISTANCES)
    _, _, new, variances, _ = problem.parameters(moments, means, 0.0)
    exact = X.astype(np.longdouble)
    mean = exact.mean(axis=0)
    expected = float(((exact - mean) ** 2).mean())
    np.testing.assert_allclose(new[0], mean.astype(float), rtol=1e-15)
    # The means are rounded at 1e6, which moves them by 1e-10; a square of the move cancels.
    tolerance = 1e-9 * max(far, 1e-3) + 1e-15 * far**2 + 1e-13
    np.testing.assert_allclose(variances, expected, rtol=tolerance)


@pytest.mark.parametrize("kind", TYPES)
def test_estimates_and_their_factors(shape: Any, kind: str, dtype: Any) -> None:
    """The reference's, from moments about other means, which move along."""
    n, d, k = shape
    problem = make_mixture(shape, "full", dtype, offset=3.0)
    X, weights = problem.X.astype(float), problem.weights.astype(float)
    given = np.random.default_rng(k).dirichlet(np.ones(k), size=n)
    center = X.mean(axis=0)
    with team() as threads:
        sweep = Sweep(make_rows(problem.X, problem.weights), center, threads)
        plain = make_densities("spherical", problem.means, np.ones(k), np.ones(k), center=center)
        moments = sweep.moments(plain, ORDERS[kind], given=given)
    scatter = (weights[:, None] * (X - center)).T @ (X - center) if kind == "tied" else np.empty(0)
    found, sums = components.estimate(kind, moments, problem.means, center, scatter, 1e-3)
    counts, means, covariances = reference.estimates(X, weights, given, kind, 1e-3)
    np.testing.assert_allclose(found.counts, counts, rtol=1e-12)
    np.testing.assert_allclose(found.weights.sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(found.means, means.ravel(), rtol=1e-11)
    np.testing.assert_allclose(found.covariances, covariances.ravel(), rtol=1e-9, atol=1e-10)
    moved = Moments.of(0.0, 0.0, sums, ORDERS[kind], d)
    zeroth, first, second = reference.mixture_moments(X, weights, given, means)
    np.testing.assert_allclose(moved.zeroth, zeroth, rtol=1e-12)
    np.testing.assert_allclose(moved.first, first, atol=1e-10 * n)
    if kind == "full":
        np.testing.assert_allclose(moved.second, second, rtol=1e-9, atol=1e-10 * n)
    factors = components.factorise(kind, covariances)
    assert factors is not None
    U = reference.full_factors(factors, kind, k, d)
    inverses = np.einsum("kij,klj->kil", U, U)
    if kind in ("full", "tied"):
        assert (np.tril(factors, -1) == 0).all()
        expected = np.broadcast_to(np.linalg.inv(covariances), inverses.shape)
    else:
        expected = reference.full_factors(1 / covariances, kind, k, d)
    np.testing.assert_allclose(inverses, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_covariances_without_factors() -> None:
    for bad in (0.0, -1.0, np.nan):
        assert components.factorise("diag", np.array([[1.0, bad]])) is None
        assert components.factorise("spherical", np.array([1.0, bad])) is None
        assert components.factorise("tied", np.diag([1.0, bad])) is None
    assert components.factorise("full", np.ones((1, 2, 2))) is None
    assert components.factorise("full", np.diag([1.0, np.inf])[None]) is None
