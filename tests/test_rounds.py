"""The steps of a round on a tile of rows, against their NumPy twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastclust.kernels.emit.bounds import bounds_of_coarse_tile, bounds_of_tile, keep_bounds
from fastclust.kernels.emit.changes import (
    account,
    add_unlabelled,
    differing_labels,
    list_changed,
    winners_of,
)
from fastclust.kernels.emit.cpu import TILE_ROWS
from fastclust.kernels.emit.labelling import (
    find_two,
    find_two_coarsely,
    gather,
    nearest_in_place,
    settle_doubt_among,
)
from fastclust.kernels.emit.masks import list_bits
from fastclust.kernels.machine.compiling import kernel
from fastclust.kernels.records import LABELS_ONLY, PILES, RECORD, Bounds, Changes, Job, Tile
from fastclust.kernels.rounds import rows_below
from fastclust.kernels.screening import fill_screen, make_screen
from fastclust.kernels.tiles import (
    aligned_empty,
    fill_panels,
    make_panels,
    make_rows,
    padded_vector,
)
from fastclust.kernels.update import make_piles


@kernel
def fine_round(rows, mean, dense, first, listed, place, panels, tile, bounds, highs, lows):
    gather(rows, mean, dense, first, listed, place, tile.packed)
    find_two(tile, panels, rows.X.shape[1])
    bounds_of_tile(tile, rows.X.shape[1], bounds, highs, lows)
    keep_bounds(highs, lows, bounds, dense, first, listed, place, 50)


@kernel
def coarse_round(rows, mean, dense, first, listed, place, panels, screen, tile, highs, lows):
    gather(rows, mean, dense, first, listed, place, tile.packed)
    doubt = find_two_coarsely(tile, panels, screen, rows.X.shape[1])
    count = settle_doubt_among(doubt, rows, mean, dense, first, listed, place, panels, tile)
    bounds_of_coarse_tile(tile, screen, highs, lows)
    return doubt, count


@kernel
def round_in_place(rows, mean, dense, first, listed, place, panels, gathered, tile):
    nearest_in_place(rows, mean, dense, first, listed, place, panels, gathered, tile)


@kernel
def note(numbers, winners, listed, place, filled, labels, movers, sources, count):
    winners_of(numbers, winners)
    mask = differing_labels(winners, labels, 3)
    return mask, list_changed(winners, listed, place, filled, labels, movers, sources, count)


@kernel
def add_first_labels(job, first, count, winners, slot, pile):
    return add_unlabelled(job, first, count, winners, slot, pile)


@kernel
def take_account(mode, job, movers, sources, count, place, pile):
    return account(mode, job, movers, sources, count, place, pile)


@kernel
def places_of(masks, n_words, places):
    return list_bits(masks, n_words, places)


@kernel
def first_rows(count):
    return rows_below(count)


def make_tile(n_features: int, dtype: Any, row_dtype: Any) -> Tile:
    """Room for a tile."""
    numbers = [aligned_empty(TILE_ROWS, dtype) for _ in range(4)]
    packed = aligned_empty(n_features * TILE_ROWS, dtype)
    return Tile(packed, *numbers, aligned_empty(n_features * TILE_ROWS, row_dtype))


def problem(d: int, k: int, dtype: Any, *, by_features: bool = False) -> tuple[Any, ...]:
    """Rows, their mean, a list of them, and centers for a tile; the last rows are two to a line."""
    rng = np.random.default_rng([d, k])
    X = (rng.normal(size=(200, d)) + 1).astype(dtype)
    mean = padded_vector(np.ones(d), dtype)
    listed = rng.integers(200, size=TILE_ROWS + 40)
    panels = make_panels(k, d, dtype, by_features=by_features)
    centers = X[:k] - mean[:d]
    centers[-1] = centers[0] + dtype(1e-8)  # so that float32 can not tell them apart
    fill_panels(centers, panels)
    return make_rows(X), mean, listed, panels


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("d", [1, 4, 5, 40])
def test_a_round_on_a_tile(d: int, dense: bool, dtype: Any) -> None:
    rows, mean, listed, panels = problem(d, 9, dtype)
    tile = make_tile(len(mean), dtype, dtype)
    upper, lower = aligned_empty(256, np.float32), aligned_empty(256, np.float32)
    upper[:] = lower[:] = -1
    table = aligned_empty((9, 4), np.float32)
    bounds = Bounds(upper, lower, table, np.float32(1e-6), np.float32(1), 7.0)
    highs, lows = np.empty((2, TILE_ROWS), np.float32)
    fine_round(rows, mean, dense, 128, listed, 5, panels, tile, bounds, highs, lows)
    numbers = slice(128, 192) if dense else listed[5 : 5 + TILE_ROWS]
    centred = rows.X[numbers] - mean[:d]
    np.testing.assert_array_equal(tile.packed.reshape(-1, TILE_ROWS)[:d], centred.T)
    expected = np.empty((2, TILE_ROWS), np.float32)
    bounds_of_tile.plain(tile, d, bounds, *expected)
    np.testing.assert_allclose([highs, lows], expected, rtol=1e-5, atol=1e-5)
    kept = np.full((2, 256), -1, np.float32)
    keep_bounds.plain(
        highs, lows, bounds._replace(upper=kept[0], lower=kept[1]), dense, 128, listed, 5, 50
    )
    np.testing.assert_array_equal([upper, lower], kept)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("d", [1, 4, 5, 40])
def test_a_round_in_float32(d: int, dense: bool) -> None:
    rows, mean, listed, panels = problem(d, 9, np.float64)
    screen = make_screen(panels, True, 9, d)
    assert fill_screen(panels, screen)
    tile = make_tile(len(mean), np.float32, np.float64)
    highs, lows = np.empty((2, TILE_ROWS), np.float32)
    doubt, count = coarse_round(
        rows, mean, dense, 130, listed, 5, panels, screen, tile, highs, lows
    )
    assert 0 < count == int(doubt).bit_count() < TILE_ROWS
    exact = make_tile(len(mean), np.float64, np.float64)
    gather.plain(rows, mean, dense, 130, listed, 5, exact.packed)
    find_two.plain(exact, panels, d)
    np.testing.assert_array_equal(tile.index.view(np.int32), exact.index.view(np.int64))
    bits = np.array([int(doubt) >> i & 1 for i in range(TILE_ROWS)], bool)
    np.testing.assert_array_equal(tile.second[bits], tile.best[bits])
    distances = np.sqrt(
        np.maximum((exact.packed.reshape(-1, 64)[:d] ** 2).sum(0) + 2 * exact.best, 0)
    )
    assert np.all(highs >= distances)
    assert np.all(lows <= np.where(bits, distances, np.inf) + 1e-6)
    expected = np.empty((2, TILE_ROWS), np.float32)
    bounds_of_coarse_tile.plain(tile, screen, *expected)
    np.testing.assert_allclose([highs, lows], expected, rtol=1e-6)


@pytest.mark.parametrize("dense", [True, False])
def test_a_round_by_features(dense: bool, dtype: Any) -> None:
    d = 100
    rows, mean, listed, panels = problem(d, 9, dtype, by_features=True)
    tile, expected = (make_tile(len(mean), dtype, dtype) for _ in range(2))
    gathered = np.empty((TILE_ROWS, d), dtype)
    arguments = rows, mean, dense, 160, listed, 5, panels, gathered
    round_in_place(*arguments, tile)
    nearest_in_place.plain(*arguments, expected)
    numbers = "i4" if dtype == np.float32 else "i8"
    unlike = tile.index.view(numbers) != expected.index.view(numbers)
    assert unlike.sum() <= 2  # of centers that are next to equal
    np.testing.assert_allclose(tile.best, expected.best, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("filled", [1, 37, TILE_ROWS])
def test_listed_rows_that_change(filled: int, dtype: Any) -> None:
    rng = np.random.default_rng(filled)
    numbers = aligned_empty(TILE_ROWS, dtype)
    found = numbers.view("i4" if dtype == np.float32 else "i8")
    found[:] = rng.integers(3, size=TILE_ROWS)
    labels = rng.integers(-1, 3, 100).astype(np.int32)
    listed, winners = rng.permutation(100), np.empty(TILE_ROWS, np.int32)
    movers, sources = np.full(5 + TILE_ROWS + 1, -7, np.int64), np.full(70, -7, np.int32)
    expected = labels.copy(), movers.copy(), sources.copy()
    mask, count = note(numbers, winners, listed, 2, filled, labels, movers, sources, 4)
    np.testing.assert_array_equal(winners, found)
    assert int(mask) == int(differing_labels.plain(winners, expected[0], 3))
    assert count == list_changed.plain(winners, listed, 2, filled, *expected, 4)
    np.testing.assert_array_equal(labels, expected[0])
    np.testing.assert_array_equal(movers[:count], expected[1][:count])
    np.testing.assert_array_equal(sources[:count], expected[2][:count])


@pytest.mark.parametrize("d", [2, 9])
def test_changes_are_accounted_for(d: int, dtype: Any) -> None:
    rng = np.random.default_rng(d)
    rows = make_rows(rng.normal(size=(128, d)).astype(dtype))
    mean = padded_vector(rng.normal(size=d), dtype)
    labels = rng.integers(4, size=128).astype(np.int32)
    winners = rng.integers(4, size=2 * TILE_ROWS).astype(np.int32)
    movers, sources = rng.permutation(128), rng.integers(-1, 4, 128).astype(np.int32)

    def job() -> Job:
        changes = Changes(
            np.zeros(2, np.int64), np.full(128, -7, np.int32), np.full(128, -7, np.int32)
        )
        return Job(64, rows, mean, labels.copy(), make_piles(2, 4, d), changes)

    for mode in (PILES, RECORD, LABELS_ONLY):
        found, expected = job(), job()
        assert take_account(mode, found, movers, sources, 20, 30, 1) == 20
        account.plain(mode, expected, movers, sources, 20, 30, 1)
        for left, right in zip(
            found.piles + found.changes, expected.piles + expected.changes, strict=True
        ):
            np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)
    found, expected = job(), job()
    assert add_first_labels(found, 64, 40, winners, TILE_ROWS, 1) == 40
    add_unlabelled.plain(expected, 64, 40, winners, TILE_ROWS, 1)
    np.testing.assert_array_equal(found.labels, expected.labels)
    for left, right in zip(found.piles, expected.piles, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)


def test_places_of_bits() -> None:
    masks = np.array([0, 1 | 1 << 63, 0b1010, 2**64 - 1], np.uint64)
    for n_words in range(5):
        places, expected = np.full((2, 256), -7)
        count = places_of(masks, n_words, places)
        assert count == list_bits.plain(masks, n_words, expected)
        np.testing.assert_array_equal(places, expected)


def test_masks_of_first_rows() -> None:
    for count in (1, 2, 63, 64):
        assert int(first_rows(count)) == 2**count - 1
