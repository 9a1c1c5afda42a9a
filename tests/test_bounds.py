"""Bounds: the vector code that moves them, and the algorithms that trust them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_blobs

from fastclust import KMeans
from fastclust.kernels import auto, elkan, hamerly, lloyd
from fastclust.kernels.algorithms import ALGORITHMS
from fastclust.kernels.emit.bounds import (
    BOUND_DOWN,
    BOUND_LANES,
    near_centers,
    squares_to_four,
    unsettled_rows,
)
from fastclust.kernels.emit.cpu import TILE_ROWS, lanes, round_up
from fastclust.kernels.emit.masks import below
from fastclust.kernels.emit.packing import pack_rows, scatter_lines
from fastclust.kernels.emit.search_rows import scores_in_tile
from fastclust.kernels.machine.compiling import kernel
from fastclust.kernels.tiles import aligned_empty, fill_panels, make_panels, padded_vector

BOUNDED = sorted(set(ALGORITHMS) - {"lloyd", "full", "exponion"})


@kernel
def move_bounds(labels, first, upper, lower, table, slack, reach):
    return unsettled_rows(labels, first, upper, lower, table, slack, reach)


@kernel
def mask_below(values, first, limits):
    return below(values, first, limits)


@kernel
def left_open(bounds, row, ahead, fallen, since, wall, masks):
    return near_centers(bounds, row, ahead, fallen, since, wall, masks)


@kernel
def four_squares(x, centers, near, place, squares):
    squares_to_four(x, centers, near, place, squares)


@kernel
def scatter(lines, n_lines, rows, first, results):
    scatter_lines(lines, n_lines, rows, first, results)


@kernel
def all_scores(X, mean, centers, bias, n_wide, n_narrow, d, packed, scores):
    pack_rows(X, X, 0, mean, packed)
    scores_in_tile(packed, centers, bias, n_wide, n_narrow, d, scores)


def aligned(values: Any) -> Any:
    """Aligned copy."""
    result = aligned_empty(values.shape, values.dtype)
    result[...] = values
    return result


def test_bounds_move_and_settle() -> None:
    rng = np.random.default_rng(0)
    n, k = 3 * TILE_ROWS, 9
    labels = rng.integers(-1, k, n).astype(np.int32)
    upper = aligned(rng.uniform(0, 2, n).astype(np.float32))
    lower = aligned(rng.uniform(0, 3, n).astype(np.float32))
    table = aligned(rng.uniform(0, 1, (k, 4)).astype(np.float32))
    table[:, 3] += 3
    table[4] = 0, 0, np.inf, np.inf
    expected = upper.copy(), lower.copy()
    slack, reach = np.float32(1e-3), np.float32(2)
    for first in (TILE_ROWS, 2 * TILE_ROWS):
        mask = unsettled_rows.plain(labels, first, *expected, table, 1e-3, 2.0)
        assert int(move_bounds(labels, first, upper, lower, table, slack, reach)) == int(mask)
        assert 0 < int(mask) < 2**64 - 1
    np.testing.assert_allclose(upper, expected[0], rtol=1e-6)
    np.testing.assert_allclose(lower, expected[1], rtol=1e-6)
    assert np.all(upper[TILE_ROWS:] >= expected[0][TILE_ROWS:] * BOUND_DOWN)


def test_nothing_is_settled_where_squares_vanish() -> None:
    labels = np.zeros(TILE_ROWS, np.int32)
    upper, lower = aligned_empty(TILE_ROWS, np.float32), aligned_empty(TILE_ROWS, np.float32)
    table = aligned(np.array([[0, 0, 0, np.inf]], np.float32))
    for near, far in ((0, 1e-16), (1e-25, 1e-24), (1e25, np.inf), (np.inf, np.inf)):
        upper[:], lower[:] = near, far
        mask = int(move_bounds(labels, 0, upper, lower, table, np.float32(0.1), np.float32(0)))
        assert mask == 2**64 - 1


def test_masks_of_numbers_below(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    values, limits = aligned(rng.normal(size=200).astype(dtype)), rng.normal(size=64).astype(dtype)
    values[70] = limits[3]  # equal is not below
    mask = int(mask_below(values, 67, limits))
    expected = values[67:131] < limits
    assert [bool(mask >> i & 1) for i in range(64)] == expected.tolist()


def upper_halves(values: Any) -> Any:
    return (values.view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("n_bounds", [BOUND_LANES, 3 * BOUND_LANES])
def test_centers_that_bounds_leave_open(n_bounds: int) -> None:
    rng = np.random.default_rng(n_bounds)
    values = rng.uniform(1, 2, size=(7, n_bounds)).astype(np.float32)
    fallen = rng.uniform(0, 1, size=(4, n_bounds)).astype(np.float32)
    halves = upper_halves(values)
    values = (halves.astype(np.uint32) << 16).view(np.float32)
    masks = np.zeros(-(-n_bounds // 64), np.uint64)
    for row in range(7):
        bounds = values[row] - fallen[2]
        wall = bounds[5]  # equal is left open
        least = left_open(halves, row, 6, fallen, 2, wall, masks)
        near = [j for j in range(n_bounds) if int(masks[j // 64]) >> j % 64 & 1]
        assert near == np.flatnonzero(bounds <= wall).tolist()
        assert least == bounds[bounds > wall].min(initial=np.inf)


@pytest.mark.parametrize("d", [1, 5, 16, 40])
def test_squares_to_four_centers(d: int, dtype: Any) -> None:
    rng = np.random.default_rng(d)
    centers = aligned_empty((9, round_up(d, lanes(dtype))), dtype)
    centers[:, d:] = 0
    centers[:, :d] = rng.normal(size=(9, d))
    x = padded_vector(rng.normal(size=d), dtype)
    near, squares = np.array([8, 0, 3, 8, 1, 2]), np.full(7, -1, dtype)
    four_squares(x, centers, near, 2, squares)
    expected = ((x.astype(float) - centers[[3, 8, 1, 2]]) ** 2).sum(axis=1)
    np.testing.assert_allclose(squares[2:6], expected, rtol=(d + 3) * np.finfo(dtype).eps)
    assert squares[1] == squares[6] == -1


def test_lines_become_rows() -> None:
    rng = np.random.default_rng(2)
    lines = aligned(rng.uniform(size=(32, TILE_ROWS)).astype(np.float32))
    lines[3] = np.inf
    results = np.zeros((100, 32), np.uint16)
    rows = np.concatenate([[0, 0], rng.permutation(100)[:TILE_ROWS]])
    scatter(lines, 32, rows, 2, results)
    np.testing.assert_array_equal(results[rows[2:]], upper_halves(lines).T)
    np.testing.assert_array_equal(np.delete(results, rows[2:], axis=0), 0)


@pytest.mark.parametrize("d", [1, 2, 5, 17])
@pytest.mark.parametrize("k", [1, 4, 11])
def test_all_scores(d: int, k: int, dtype: Any) -> None:
    rng = np.random.default_rng([d, k])
    X, centers = (
        rng.normal(size=(TILE_ROWS, d)).astype(dtype),
        rng.normal(size=(k, d)).astype(dtype),
    )
    panels = make_panels(k, d, dtype, by_features=False)
    fill_panels(centers, panels)
    _, n_wide, n_narrow, packed_centers, bias = panels
    zero = padded_vector(np.zeros(d), dtype)
    packed = aligned_empty(len(zero) * TILE_ROWS, dtype)
    scores = aligned_empty((6 * n_wide + 4 * n_narrow, TILE_ROWS), dtype)
    all_scores(X, zero, packed_centers, bias, n_wide, n_narrow, d, packed, scores)
    wide = centers.astype(float)
    expected = (wide**2).sum(axis=1)[:, None] / 2 - wide @ X.astype(float).T
    atol = 4 * (d + 2) * np.finfo(dtype).eps * (1 + (wide**2).sum(axis=1).max())
    np.testing.assert_allclose(scores[:k], expected, atol=atol)
    assert np.all(scores[k:] == np.inf)


PROBLEMS = {
    "plane": (6000, 2, 300, 0.05, 1.0, 0.0),
    "line": (3000, 1, 200, 0.01, 1.0, 0.0),
    "space": (5000, 5, 120, 0.2, 1.0, 0.0),
    "many features, few clusters": (2000, 120, 9, 3.0, 1.0, 0.0),
    "overlapping": (3000, 20, 50, 8.0, 1.0, 0.0),
    "far away": (4000, 3, 150, 0.1, 1.0, 1e4),
    "tiny": (2000, 3, 60, 0.1, 1e-18, 0.0),
    "huge": (2000, 3, 60, 0.1, 1e18, 0.0),
}


def problem(name: str, dtype: Any) -> tuple[Any, Any]:
    n, d, k, spread, scale, offset = PROBLEMS[name]
    X, _ = make_blobs(n, d, centers=k, cluster_std=spread * 3, random_state=3)
    X = ((X + offset) * scale).astype(dtype)
    return X, X[np.random.default_rng(0).choice(n, k, replace=False)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", sorted(PROBLEMS))
@pytest.mark.parametrize("algorithm", BOUNDED)
def test_the_bits_of_lloyd_over_whole_fits(
    algorithm: str, name: str, weighted: bool, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lloyd, "SMALL_WORK", 0)
    monkeypatch.setattr(auto, "SMALL_WORK", 0)
    monkeypatch.setattr(auto, "LONG_ROUND", 0)
    monkeypatch.setattr(auto, "WORTH_TRYING", 0)
    monkeypatch.setattr(auto, "CALM", 1)
    monkeypatch.setattr(elkan, "DEAR", 0)
    X, start = problem(name, dtype)
    weights = np.random.default_rng(1).uniform(0, 2, len(X)) if weighted else None
    parameters: dict[str, Any] = {"init": start, "n_init": 1, "max_iter": 60}
    expected = KMeans(len(start), algorithm="lloyd", **parameters).fit(X, sample_weight=weights)
    found = KMeans(len(start), algorithm=algorithm, **parameters).fit(X, sample_weight=weights)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    assert found.inertia_ == expected.inertia_
    assert found.n_iter_ == expected.n_iter_


@pytest.mark.parametrize("name", ["overlapping", "many features, few clusters", "space"])
def test_elkan_keeps_bounds_of_fewer_rows_where_memory_is_short(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elkan, "DEAR", 0)
    monkeypatch.setattr(elkan, "AT_REST", 1)
    X, start = problem(name, np.float64)
    parameters: dict[str, Any] = {"init": start, "n_init": 1}
    expected = KMeans(len(start), algorithm="lloyd", **parameters).fit(X)
    whole = KMeans(len(start), algorithm="elkan", **parameters).fit(X)
    line = 2 * round_up(len(start), BOUND_LANES)
    monkeypatch.setattr(elkan, "MOST_BYTES", line * 900)
    made = []
    original = elkan.Elkan._keep_all_bounds

    def noted(self: Any) -> None:
        original(self)
        made.append(self.halves.nbytes)

    monkeypatch.setattr(elkan.Elkan, "_keep_all_bounds", noted)
    found = KMeans(len(start), algorithm="elkan", **parameters).fit(X)
    assert made == [line * 901]  # one for all rows that have none
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    assert whole.n_distances_ < found.n_distances_ < expected.n_distances_


@pytest.mark.parametrize("like", ["elkan", "hamerly"])
def test_auto_chooses_the_bounds_by_what_distances_cost(
    like: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elkan, "DEAR", 0 if like == "elkan" else np.inf)
    monkeypatch.setattr(auto, "WORTH_SCREENING", 0)
    monkeypatch.setattr(auto, "SMALL_WORK", 0)
    X, start = problem("overlapping", np.float64)
    parameters: dict[str, Any] = {"init": start, "n_init": 1}
    expected = KMeans(len(start), algorithm=like, **parameters).fit(X)
    found = KMeans(len(start), algorithm="auto", **parameters).fit(X)
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    assert found.n_distances_ == expected.n_distances_


@pytest.mark.parametrize("algorithm", BOUNDED)
def test_fewer_distances_where_clusters_are_apart(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "CALM", 1)
    X, _ = make_blobs(20_000, n_features=10, centers=60, cluster_std=0.7, random_state=0)
    parameters: dict[str, Any] = {"init": X[:60], "n_init": 1, "tol": 0}
    dense = KMeans(60, algorithm="lloyd", **parameters).fit(X)
    spared = KMeans(60, algorithm=algorithm, **parameters).fit(X)
    assert dense.n_distances_ == dense.n_iter_ * X.shape[0] * 60
    assert spared.n_distances_ >= X.shape[0] * 60  # those of the first iteration
    assert spared.n_distances_ < 0.5 * dense.n_distances_


def test_auto_gives_bounds_up_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "WORTH_TRYING", 0)
    monkeypatch.setattr(auto, "CALM", 1)
    monkeypatch.setattr(auto, "LONG_ROUND", 0)
    monkeypatch.setattr(auto, "WORTH_KEEPING", np.inf)
    monkeypatch.setattr(auto, "WORTH_SCREENING", np.inf)
    monkeypatch.setattr(auto, "LEAST_GAIN", 0.5)
    ways = []
    for kind, name in ((lloyd.Lloyd, "iterate"), (hamerly.Hamerly, "iterate_by_bounds")):
        original = getattr(kind, name)

        def noted(self: Any, *arguments: Any, original: Any = original, **options: Any) -> Any:
            ways.append(original.__qualname__)
            return original(self, *arguments, **options)

        monkeypatch.setattr(kind, name, noted)
    X, start = problem("overlapping", np.float64)
    found = KMeans(len(start), init=start, n_init=1, algorithm="auto").fit(np.tile(X, (4, 1)))
    assert {"Lloyd.iterate", "Hamerly.iterate_by_bounds"} <= set(ways)
    first = ways.index("Lloyd.iterate")
    assert "Hamerly.iterate_by_bounds" in ways[first:]
    expected = KMeans(len(start), init=start, n_init=1, algorithm="lloyd").fit(np.tile(X, (4, 1)))
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)


def test_exponion_is_a_deprecated_name_of_hamerly() -> None:
    X, start = problem("overlapping", np.float64)
    with pytest.warns(FutureWarning, match="algorithm='exponion' is deprecated"):
        found = KMeans(len(start), init=start, n_init=1, algorithm="exponion").fit(X)
    expected = KMeans(len(start), init=start, n_init=1, algorithm="hamerly").fit(X)
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    assert found.n_distances_ == expected.n_distances_


def test_one_cluster_needs_no_bounds() -> None:
    X = np.random.default_rng(0).normal(size=(500, 3))
    for algorithm in ("hamerly", "elkan"):
        with pytest.warns(RuntimeWarning, match=f"algorithm='{algorithm}' doesn't make sense"):
            KMeans(1, algorithm=algorithm).fit(X)
    assert KMeans(1, algorithm="auto").fit(X).n_iter_ == 2
