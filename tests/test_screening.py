"""Screening in float32: it decides nothing that float64 would decide otherwise."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from fastclust import KMeans
from fastclust.kernels import lloyd, screening
from fastclust.kernels.auto import Auto
from fastclust.kernels.elkan import Elkan
from fastclust.kernels.emit.cpu import TILE_ROWS
from fastclust.kernels.emit.packing import pack_rows
from fastclust.kernels.emit.screens import doubtful_rows
from fastclust.kernels.emit.search_rows import nearest_in_row, nearest_in_tile, nearest_two_in_tile
from fastclust.kernels.hamerly import Hamerly
from fastclust.kernels.machine.compiling import kernel
from fastclust.kernels.tiles import aligned_empty, fill_panels, make_panels, padded_vector
from fastclust.serving import centers_of

ALGORITHMS = ("lloyd", "hamerly", "elkan", "auto")
ITERATES = {kind: vars(kind)["iterates"] for kind in (lloyd.Lloyd, Elkan, Auto)}


class Round(NamedTuple):
    """What one assignment has done."""

    screened: bool
    n_rows: int
    n_doubted: int


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[Round]:
    """One entry for each assignment that screens or might have done so, none in compiled loops."""
    monkeypatch.setattr(lloyd, "SMALL_WORK", 0)
    for kind in ITERATES:
        monkeypatch.setattr(kind, "iterates", property(lambda self: False))
    seen: list[Round] = []
    original = lloyd.Lloyd._count_distances

    def noted(self: Any, n_rows: int, n_doubted: int) -> None:
        seen.append(Round(self.screens, n_rows, n_doubted))
        original(self, n_rows, n_doubted)

    by_bounds = Hamerly._run_rounds

    def noted_by_bounds(self: Any, *arguments: Any) -> Any:
        screened = self.screens
        outcome = by_bounds(self, *arguments)
        seen.append(Round(screened, int(self.computed.sum()), int(self.doubted.sum())))
        return outcome

    monkeypatch.setattr(lloyd.Lloyd, "_count_distances", noted)
    monkeypatch.setattr(Hamerly, "_run_rounds", noted_by_bounds)
    return seen


def near_ties(d: int, gap: float) -> tuple[Any, Any]:
    """Rows nearly half-way between two centers, by `gap` nearer to one of them, and others."""
    rng = np.random.default_rng(d)
    centers = rng.integers(-8, 9, size=(40, d)) + np.arange(40)[:, None] / 64
    one, other = centers[rng.integers(0, 40, 4000)], centers[rng.integers(0, 40, 4000)]
    share = 0.5 + gap * rng.choice([-1, 0, 1], 4000)
    X = one + share[:, None] * (other - one)
    return np.concatenate([X, rng.normal(size=(4000, d)) + one]), centers


def unscreened(X: Any, start: Any, **parameters: Any) -> KMeans:
    """Lloyd's algorithm in float64 throughout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lloyd, "pays_to_screen", lambda *_: False)
        return KMeans(len(start), init=start, n_init=1, **parameters).fit(X)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-22, 1e17, 1e19, 1e25, 1e100])
@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-6, 1e-4])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 7, 33])
def test_float32_decides_nothing_that_float64_would_not(
    d: int,
    gap: float,
    scale: float,
    algorithm: str,
    rounds: list[Round],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, start = near_ties(d, gap)
    X, start = X * scale, start * scale
    expected = unscreened(X, start, max_iter=4)
    assert not any(done.screened or done.n_doubted for done in rounds)
    rounds.clear()
    found = KMeans(len(start), init=start, n_init=1, max_iter=4, algorithm=algorithm).fit(X)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    first = rounds[0]
    assert first.screened
    assert first.n_rows == len(X)
    # What float32 can not hold is not asked for.
    if scale > 1e18:
        assert first.n_doubted == 0
    else:
        assert first.n_doubted > (200 if gap < 1e-6 else 0)
    if algorithm in ("lloyd", "auto"):  # several iterations in one call decide the same
        for kind, iterates in ITERATES.items():
            monkeypatch.setattr(kind, "iterates", iterates)
        again = KMeans(len(start), init=start, n_init=1, max_iter=4, algorithm=algorithm).fit(X)
        np.testing.assert_array_equal(again.labels_, expected.labels_)
        np.testing.assert_array_equal(again.cluster_centers_, expected.cluster_centers_)
        assert again.n_distances_ == found.n_distances_


@pytest.mark.parametrize("algorithm", ["lloyd", "hamerly"])
def test_screening_is_given_up_where_it_decides_nothing(
    algorithm: str, rounds: list[Round]
) -> None:
    X, start = near_ties(5, 0.0)
    parameters: dict[str, Any] = {"init": start, "n_init": 1, "max_iter": 3, "tol": 0}
    model = KMeans(len(start), algorithm=algorithm, **parameters).fit(X[:4000])
    assert [done.screened for done in rounds] == [True] + [False] * (len(rounds) - 1)
    assert rounds[0].n_doubted > screening.MOST_DOUBTED * rounds[0].n_rows
    assert all(done.n_doubted == 0 for done in rounds[1:])
    assert model.n_distances_ == 40 * sum(done.n_rows for done in rounds)
    rounds.clear()
    KMeans(len(start), algorithm=algorithm, **parameters).fit(X[4000:])
    assert all(done.screened for done in rounds)
    assert rounds[0].n_doubted < 0.01 * rounds[0].n_rows


@pytest.mark.parametrize(
    ("d", "k", "dtype", "screened"),
    [
        (1, 2, np.float64, True),
        (4, 2, np.float64, True),
        (4, 1, np.float64, False),
        (4, 20, np.float32, False),
        (100, 10, np.float64, False),  # the tile by features reads rows as they are
    ],
)
def test_what_is_screened(d: int, k: int, dtype: Any, screened: bool, rounds: list[Round]) -> None:
    X = np.random.default_rng(0).normal(size=(500, d)).astype(dtype)
    KMeans(k, init=X[:k], n_init=1, max_iter=2).fit(X)
    assert [done.screened for done in rounds] == [screened] * len(rounds)


def test_predictions_are_screened_too() -> None:
    X, start = near_ties(4, 1e-6)
    model = unscreened(X, start)
    expected = ((X[:, None] - model.cluster_centers_[None]) ** 2).sum(axis=2)
    labels = model.predict(X)
    assert centers_of(model).dense(X.dtype).asks
    assert not centers_of(model).dense(np.float32).asks
    own = expected[np.arange(len(X)), labels]
    np.testing.assert_allclose(own, expected.min(axis=1), rtol=1e-12)


@kernel
def look_at_tile(X, mean, centers, bias, n_wide, n_narrow, d, packed, best, index):
    pack_rows(X, X, 0, mean, packed)
    nearest_in_tile(packed, centers, bias, n_wide, n_narrow, d, best, index)


@kernel
def look_at_row(x, centers, bias, n_wide, n_narrow, d):
    return nearest_in_row(x, centers, bias, n_wide, n_narrow, d)


@kernel
def doubts(X, mean, centers, bias, n_wide, n_narrow, d, packed, scores, slack, norms):
    best, index, second = scores
    pack_rows(X, X, 0, mean, packed)
    nearest_two_in_tile(packed, centers, bias, n_wide, n_narrow, d, best, index, second)
    return doubtful_rows(packed, d, best, second, slack, screening.LEAST_SCORE, norms)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 2, 4, 5, 6, 7, 23, 24, 25, 30, 61])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 17, 40])
def test_a_row_has_the_center_that_it_has_in_the_tile(d: int, k: int, dtype: Any) -> None:
    rng = np.random.default_rng(100 * d + k)
    # Few values, so that there are ties, and others, whose roundings decide.
    for values in (rng.integers(-2, 3, (TILE_ROWS + k, d)), rng.normal(size=(TILE_ROWS + k, d))):
        X, centers = values[:TILE_ROWS].astype(dtype), values[TILE_ROWS:].astype(dtype)
        mean = padded_vector(np.full(d, 0.25), dtype)
        panels = make_panels(k, d, dtype, by_features=False)
        fill_panels(centers - mean[:d], panels)
        _, n_wide, n_narrow, packed_centers, bias = panels
        best, index = aligned_empty(TILE_ROWS, dtype), aligned_empty(TILE_ROWS, dtype)
        packed = aligned_empty(TILE_ROWS * len(mean), dtype)
        look_at_tile(X, mean, packed_centers, bias, n_wide, n_narrow, d, packed, best, index)
        expected = index.view(np.int32 if dtype == np.float32 else np.int64)
        found = [look_at_row(x - mean[:d], packed_centers, bias, n_wide, n_narrow, d) for x in X]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("d", [1, 3, 4, 7, 8, 40])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_doubts(d: int, scale: float) -> None:
    rng = np.random.default_rng(d)
    X, centers = rng.integers(-3, 4, (TILE_ROWS, d)) * scale, rng.normal(size=(9, d)) * scale
    centers[1] = centers[0]  # two that are always equally far
    X[::2] += 1e-3 * scale
    mean = padded_vector(np.zeros(d), np.float64)
    panels = make_panels(9, d, np.float32, by_features=False)
    with np.errstate(over="ignore"):
        fill_panels(centers.astype(np.float32), panels)
    _, n_wide, n_narrow, packed_centers, bias = panels
    packed = aligned_empty(TILE_ROWS * len(mean), np.float32)
    scores = tuple(aligned_empty(TILE_ROWS, np.float32) for _ in range(3))
    norms = aligned_empty(TILE_ROWS, np.float32)
    slack = np.float32(1e-3)
    arguments = (packed_centers, bias, n_wide, n_narrow, d, packed, scores, slack, norms)
    found = int(doubts(X, mean, *arguments))
    np.testing.assert_array_equal(
        packed.reshape(-1, TILE_ROWS)[:d], X.T.astype(np.float32), err_msg="rounded where packed"
    )
    best, _, second = scores
    expected = np.empty_like(norms)
    mask = doubtful_rows.plain(packed, d, best, second, slack, screening.LEAST_SCORE, expected)
    assert found == int(mask)
    np.testing.assert_allclose(norms, expected, rtol=1e-5)
    if scale == 1.0:
        assert 0 < found < 2**64 - 1
    else:
        assert found == 2**64 - 1
