"""Passes over whole data sets against the NumPy reference, on awkward shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import make_problem
from numpy.testing import assert_allclose, assert_array_equal

from fastclust.kernels import reference, seeding
from fastclust.kernels.algorithms import ALGORITHMS
from fastclust.kernels.distances import own_distances
from fastclust.kernels.machine.parallel import team
from fastclust.kernels.moments import column_moments
from fastclust.kernels.records import PILES, RECORD
from fastclust.kernels.seeding import GreedyKMeansPlusPlus
from fastclust.kernels.tiles import make_rows, padded_vector, prefers_features
from fastclust.kernels.update import Update, slice_rows


def rounding(X: Any, d: int) -> float:
    """Bound for the error of a squared distance in expanded form."""
    centred = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    return float(8 * (d + 4) * np.finfo(X.dtype).eps * (centred**2).sum(axis=1).max())


def choose(rows: Any, k: int, seed: int, threads: Any) -> Any:
    """Rows chosen by greedy k-means++."""
    return GreedyKMeansPlusPlus(rows, k, threads).choose(np.random.RandomState(seed))


def clusters(rows: Any, X: Any, k: int, threads: Any, name: str = "lloyd") -> tuple[Any, Any, Any]:
    """Algorithm, update and mean for the rows of `X`."""
    mean = padded_vector(X.mean(axis=0, dtype=np.float64), X.dtype)
    update = Update(rows, mean, k, threads)
    return ALGORITHMS[name](rows, mean, k, update, threads), update, mean


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - {"exponion"}))
def test_assignment_finds_a_nearest_center(name: str, shape: Any, dtype: Any) -> None:
    n, d, k = shape
    X, _, centers = make_problem(shape, dtype)
    with team() as threads:
        algorithm, _, mean = clusters(make_rows(X), X, k, threads, name)
        changed = algorithm.assign(centers - mean[:d])
    squares = reference.squared_distances(X, centers)
    found = algorithm.labels[:n]
    assert changed == n
    assert algorithm.n_distances >= n * k
    gap = squares[np.arange(n), found] - squares.min(axis=1)
    assert gap.max() <= rounding(X, d)


@pytest.mark.parametrize("weighted", [False, True])
def test_update_after_several_passes(shape: Any, dtype: Any, weighted: bool) -> None:
    """Sums that moved along with changed rows equal sums made afresh."""
    n, d, k = shape
    X, weights, centers = make_problem(shape, dtype, seed=1)
    rows = make_rows(X, weights if weighted else None)
    weights = weights if weighted else np.ones(n)
    with team() as threads:
        algorithm, update, mean = clusters(rows, X, k, threads)
        centers = centers - mean[:d]
        new = np.empty_like(centers)
        for _ in range(4):
            algorithm.assign(centers)
            shift, n_empty = update.new_centers(algorithm.labels, centers, new)
            labels = algorithm.labels[:n]
            total, weight = reference.sums(X - mean[:d], weights, labels, k)
            np.testing.assert_allclose(update.totals.weights, weight, atol=1e-9)
            scale = np.abs(X - mean[:d]).max() * max(weight.max(), 1)
            np.testing.assert_allclose(update.totals.sums, total, atol=1e-12 * scale)
            assert n_empty == np.count_nonzero(weight == 0)
            moved = ((new.astype(float) - centers.astype(float)) ** 2).sum()
            np.testing.assert_allclose(shift, moved, rtol=1e-9, atol=1e-20)
            alive = weight > 0
            expected = total[alive] / weight[alive, None]
            atol = 4 * np.finfo(dtype).eps * np.abs(expected).max() + 1e-12 * scale
            np.testing.assert_allclose(new[alive], expected, atol=atol)
            centers, new = new, centers
        polished = centers.copy()
        update.refresh(algorithm.labels, polished)
        np.testing.assert_allclose(polished, centers, atol=atol)


def test_both_updates_and_both_tiles_are_among_the_shapes() -> None:
    """The shapes of these tests reach every branch that a shape decides."""
    from conftest import SHAPES

    with team(1) as threads:
        modes = set()
        for n, d, k in SHAPES:
            rows = make_rows(np.zeros((n, d)))
            modes.add(Update(rows, padded_vector(np.zeros(d), np.float64), k, threads).mode)
    assert modes == {PILES, RECORD}
    assert {prefers_features(d, k) for _, d, k in SHAPES} == {False, True}
    assert any(slice_rows(n, d, k) < n for n, d, k in SHAPES)


def test_emptied_cluster_takes_the_center_of_the_heaviest(dtype: Any) -> None:
    X = np.repeat(np.array([[0.0, 0.0], [8.0, 8.0]]), [30, 10], axis=0).astype(dtype)
    centers = np.array([[0.0, 0.0], [8.0, 8.0], [100.0, 0.0]], dtype)
    with team(1) as threads:
        algorithm, update, mean = clusters(make_rows(X), X, 3, threads)
        new = np.empty_like(centers)
        algorithm.assign(centers - mean[:2])
        _, n_empty = update.new_centers(algorithm.labels, centers, new)
    assert n_empty == 1
    np.testing.assert_allclose(new + mean[:2], [[0, 0], [8, 8], [0, 0]])


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments(shape: Any, dtype: Any, offset: float) -> None:
    X = make_problem(shape, dtype, offset=offset).X
    with team() as threads:
        mean, variance = column_moments(X, threads)
    exact = X.astype(np.longdouble)
    np.testing.assert_allclose(mean, exact.mean(axis=0).astype(float), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(variance, exact.var(axis=0).astype(float), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_inertia(shape: Any, dtype: Any, weighted: bool, offset: float) -> None:
    n, d, _ = shape
    X, weights, centers = make_problem(shape, dtype, offset=offset)
    labels = reference.assign(X, centers).astype(np.int32)
    shift = padded_vector(X[0], dtype)
    distances = np.empty(n)
    rows = make_rows(X, weights if weighted else None)
    with team() as threads:
        found = own_distances(
            rows, shift, centers - shift[:d], labels, threads, distances=distances
        )
    weights = weights if weighted else np.ones(n)
    centred = X - shift[:d]
    expected = reference.inertia(centred, weights.astype(float), centers - shift[:d], labels)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(weights @ distances, expected, rtol=1e-9, atol=1e-9)


def _potential(X: Any, weights: Any, chosen: Any) -> float:
    squares = ((X[:, None] - X[chosen]).astype(np.float64) ** 2).sum(axis=2)
    return float(weights @ squares.min(axis=1))


# Each two of the three in every combination.
@pytest.mark.parametrize(
    ("weighted", "duplicates", "offset"),
    [(False, False, 0.0), (True, False, 1e3), (False, True, 1e3), (True, True, 0.0)],
)
def test_seeding(shape: Any, dtype: Any, weighted: bool, duplicates: bool, offset: float) -> None:
    n, _, k = shape
    X, weights, _ = make_problem(shape, dtype, duplicates=duplicates, offset=offset)
    n_trials = 2 + int(np.log(k))
    rows = make_rows(X, weights if weighted else None)
    with team() as threads:
        found = choose(rows, k, 3, threads)
    weights = weights.astype(float) if weighted else np.ones(n)
    expected = reference.greedy_kmeans_plusplus(X, weights, k, np.random.RandomState(3), n_trials)
    same = X[found] == X[expected] if duplicates else found == expected
    if 2 * k > n:
        # Mutual neighbours leave the same potential: which is chosen first, rounding decides.
        assert duplicates or len(set(found)) == k
        return
    # In float32 a draw may fall between the roundings of two sums; then the rest differs, too.
    exact = dtype == np.float64 or n * k < 1000
    if exact and not same.all():
        # Where duplicates are as far from each other as from all else, either may be chosen.
        parted = 1 + int(np.flatnonzero(~same.reshape(k, -1).all(axis=1))[0])
        potentials = [_potential(X, weights, rows[:parted]) for rows in (found, expected)]
        assert duplicates
        assert potentials[0] == pytest.approx(potentials[1], rel=1e-12)
    else:
        assert exact or same.mean() > 0.2
    assert np.all((found >= 0) & (found < n))


@pytest.mark.parametrize(("d", "k", "n_trials"), [(1, 2, 1), (7, 30, 8), (1100, 12, 4)])
@pytest.mark.parametrize("weighted", [False, True])
def test_wide_rows_are_seeded_alike(
    d: int, k: int, n_trials: int, weighted: bool, dtype: Any, monkeypatch: Any
) -> None:
    """Panels that are met part by part, and gaps that are kept, lead to the same choice."""
    X, weights, _ = make_problem((300, d, k), dtype)
    rows, found = make_rows(X, weights if weighted else None), []
    for wide in (np.inf, 1):
        monkeypatch.setattr(seeding, "WIDE", wide)
        with team() as threads:
            engine = GreedyKMeansPlusPlus(rows, k, threads, n_trials)
            chosen = engine.choose(np.random.RandomState(1))
            assert engine.gaps.ndim == 1 + (wide == 1)
            found.append((chosen, engine.rounds.block_sums.copy()))
    assert_array_equal(found[0][0], found[1][0])
    tolerance = 1e-12 if dtype == np.float64 else 1e-6
    assert_allclose(found[0][1], found[1][1], rtol=tolerance)


def test_seeding_never_draws_rows_of_no_weight(dtype: Any) -> None:
    X, weights, _ = make_problem((500, 3, 40), dtype)
    weights[::2] = 0
    with team() as threads:
        rows = make_rows(X, weights)
        found = choose(rows, 40, 0, threads)
    assert np.all(found % 2 == 1)


def test_seeding_with_fewer_distinct_rows_than_centers(dtype: Any) -> None:
    X = np.repeat(np.array([[0.0, 1.0], [5.0, 5.0]]), 40, axis=0).astype(dtype)
    with team() as threads:
        found = choose(make_rows(X), 5, 0, threads)
    assert np.all((found >= 0) & (found < 80))
    assert len(np.unique(X[found[:2]], axis=0)) == 2


def test_pruned_rounds_choose_what_full_rounds_choose(dtype: Any) -> None:
    """Well separated clusters, of which most rows are skipped in most rounds."""
    rng = np.random.default_rng(5)
    centers = rng.normal(scale=50, size=(60, 6))
    X = (centers[rng.integers(60, size=6000)] + rng.normal(size=(6000, 6))).astype(dtype)
    with team() as threads:
        found = choose(make_rows(X), 80, 1, threads)
    expected = reference.greedy_kmeans_plusplus(
        X, np.ones(len(X)), 80, np.random.RandomState(1), 2 + int(np.log(80))
    )
    agreement = (found == expected).mean()
    assert agreement == 1 if dtype == np.float64 else agreement > 0.3
