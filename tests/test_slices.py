"""The tree along which slices are merged: one order, whoever merges what."""

import doctest
from typing import Any

import numpy as np
import pytest
from conftest import SHAPES, make_problem

from fastclust.kernels import slices, update
from fastclust.kernels.emit.cpu import TILE_ROWS
from fastclust.kernels.lloyd import Lloyd
from fastclust.kernels.machine.compiling import kernel
from fastclust.kernels.machine.parallel import Team, next_task, team
from fastclust.kernels.moments import column_moments, moment_slice_rows, moments_of_blocks
from fastclust.kernels.records import PILES
from fastclust.kernels.seeding import GreedyKMeansPlusPlus
from fastclust.kernels.slices import Chain, add, aligned, merge_upward, rows_per_slice, tree_sum
from fastclust.kernels.sparse import make_sparse_rows
from fastclust.kernels.sparse_seeding import SparseKMeansPlusPlus
from fastclust.kernels.tiles import make_rows, padded_vector
from fastclust.kernels.update import Update, slice_rows

THREADS = (1, 2, 7, 16, 64)


def by_definition(parts: Any) -> Any:
    """A node is its left child plus its right one; the left one has a power of two of slices."""
    if len(parts) == 1:
        return parts[0]
    half = aligned(len(parts) - 1)
    return by_definition(parts[:half]) + by_definition(parts[half:])


def uneven(n: int, size: int = 3) -> Any:
    """Numbers whose sum depends on its order."""
    rng = np.random.default_rng(n)
    return rng.normal(size=(n, size)) * 10.0 ** rng.integers(-9, 9, size=(n, size))


@kernel
def _fill_and_merge(counter, gate, n_tasks, parts, arrivals, sums):  # type: ignore[no-untyped-def]
    """A task a slice."""
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for i in range(parts.shape[1]):
            sums[task, i] = parts[task, i]
        merge_upward(task, n_tasks, arrivals, sums)


def merged(parts: Any, threads: Team) -> Any:
    sums, arrivals = np.empty_like(parts), np.zeros(len(parts), np.int64)
    threads.run(_fill_and_merge, 1e12, len(parts), parts, arrivals, sums)
    assert not arrivals.any()  # ready for the next pass
    return sums[0]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 31, 64, 100, 513])
def test_all_ways_to_merge_follow_the_definition(n: int) -> None:
    parts = uneven(n)
    expected = by_definition(parts).tobytes()
    assert tree_sum(parts).tobytes() == expected
    assert n < 5 or parts.sum(axis=0).tobytes() != expected  # the order matters
    for n_threads in THREADS:
        with team(n_threads) as threads:
            for _ in range(3):
                assert merged(parts, threads).tobytes() == expected


@pytest.mark.parametrize("n", [1, 2, 9, 48, 64, 77])
@pytest.mark.parametrize("size", [1, 2, 8, 32])
def test_whoever_holds_an_aligned_range_merges_it_alone(n: int, size: int) -> None:
    """Ranges by themselves, numbered from zero, and then their results: the bits of the whole."""
    parts, chain = uneven(n), Chain(add)
    with team(2) as threads:
        for start in range(0, n, size):
            own = parts[start : start + size]
            chain.add(len(own), merged(own, threads))
    assert chain.total().tobytes() == by_definition(parts).tobytes()


def test_ranges_of_many_sizes() -> None:
    """Consecutive aligned ranges, as several machines of unlike size may hold."""
    rng = np.random.default_rng(0)
    for n in (5, 64, 333):
        parts, chain, start = uneven(n), Chain(add), 0
        while start < n:
            largest = start & -start or aligned(n)
            size = int(largest >> rng.integers(0, largest.bit_length()))
            chain.add(len(parts[start : start + size]), tree_sum(parts[start : start + size]))
            start += size
        assert chain.total().tobytes() == by_definition(parts).tobytes()


def test_a_sum_of_one_and_the_example() -> None:
    assert doctest.testmod(slices).failed == 0
    assert tree_sum(np.array([3.0])) == 3.0
    parts = uneven(6)
    before = parts.copy()
    tree_sum(parts)
    np.testing.assert_array_equal(parts, before)
    assert [aligned(n) for n in (0, 1, 2, 3, 4, 7, 8)] == [1, 1, 2, 2, 4, 4, 8]


def test_slices_are_enough_for_128_threads_and_what_they_keep_is_bounded() -> None:
    for n, d, k in ((10**6, 16, 32), (10**7, 64, 100), (200_000, 128, 1000)):
        assert n // slice_rows(n, d, k) > 3 * 128
    for n, d, k in ((10**6, 64, 100), (2 * 10**5, 2, 5000), (10**8, 3, 3000), (10**4, 784, 20)):
        size = slice_rows(n, d, k)
        assert size % TILE_ROWS == 0
        kept = 8 * k * d * -(-n // size)
        # Of the largest piles 64; or an 80th of the data.
        assert kept <= max(64 * update.LARGE_PILE, 4 * n * d / 80)
    assert (rows_per_slice(10**9, 100, 1) - TILE_ROWS) * 100 < slices.SLICE_ELEMENTS


def passes(X: Any, k: int, n_threads: int, slice_size: int | None = None) -> list[bytes]:
    """Sums after some passes, and afresh."""
    with team(n_threads) as threads:
        rows, mean = make_rows(X), padded_vector(np.zeros(X.shape[1]), X.dtype)
        keeper = Update(rows, mean, k, threads, slice_size)
        lloyd = Lloyd(rows, mean, k, keeper, threads)
        centers, new, found = X[:k].copy(), np.empty((k, X.shape[1]), X.dtype), []
        for _ in range(3):
            lloyd.assign(centers)
            keeper.new_centers(lloyd.labels, centers, new)
            found += [total.tobytes() for total in keeper.totals]
            centers, new = new, centers
        keeper.refresh(lloyd.labels, new)
        return [*found, new.tobytes()]


@pytest.mark.parametrize(("d", "k"), [(7, 3), (70, 260)])
def test_sums_of_clusters_for_any_number_of_threads(d: int, k: int, monkeypatch: Any) -> None:
    """Small piles and large ones, in many slices of one tile."""
    from fastclust.kernels.machine import parallel

    for name in ("SMALL_WORK", "LEAST_WORK", "THREAD_WORK"):
        monkeypatch.setattr(parallel, name, 0.0001)
    X = np.ascontiguousarray(uneven(1501, d)).astype(np.float32)
    found = {n: passes(X, k, n, TILE_ROWS) for n in THREADS}
    assert all(each == found[1] for each in found.values())


def test_a_range_of_slices_brings_what_it_brings_to_all() -> None:
    """The piles of workers that have a quarter of the rows each make that of the whole."""
    X, _, start = make_problem((2048, 3, 5), np.float64)
    with team(2) as threads:
        mean = padded_vector(np.zeros(3), X.dtype)

        def brought(part: Any) -> Any:
            rows = make_rows(part)
            keeper = Update(rows, mean, 5, threads, TILE_ROWS)
            assert keeper.mode == PILES
            lloyd = Lloyd(rows, mean, 5, keeper, threads)
            lloyd.assign(start)
            return keeper.piles.records[0].copy()

        whole = brought(X)
        chain = Chain(add)
        for first in range(0, 2048, 512):  # eight slices each
            chain.add(8, brought(X[first : first + 512]))
    assert chain.total().tobytes() == whole.tobytes()


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_by_blocks_and_threads(offset: float, dtype: Any) -> None:
    X = make_problem((9000, 40, 3), dtype, offset=offset).X
    size, found = moment_slice_rows(*X.shape), []
    assert 8 < len(X) // size < 16
    for n_threads in THREADS:
        with team(n_threads) as threads:
            found.append(column_moments(X, threads))
            for n_slices in (1, 3, 4):  # blocks need not be aligned here: nodes are kept
                starts = range(0, len(X), n_slices * size)
                blocks = [X[start : start + n_slices * size] for start in starts]
                found.append(moments_of_blocks(blocks, X.shape, threads))
    assert len({(mean.tobytes(), variance.tobytes()) for mean, variance in found}) == 1


def test_moments_of_a_column_that_is_constant(dtype: Any) -> None:
    X = np.full((50_000, 3), 0.1, dtype)
    with team(2) as threads:
        mean, variance = column_moments(X, threads)
    np.testing.assert_array_equal(mean, np.full(3, X[0, 0], np.float64))
    np.testing.assert_array_equal(variance, 0.0)


def test_draws_for_any_number_of_threads(monkeypatch: Any) -> None:
    import scipy.sparse

    from fastclust.kernels.machine import parallel

    for name in ("SMALL_WORK", "LEAST_WORK", "THREAD_WORK"):
        monkeypatch.setattr(parallel, name, 0.0001)
    X = make_problem((20_000, 3, 9), np.float64).X
    sparse = make_sparse_rows(scipy.sparse.csr_matrix(X * (X > 0)))
    for make, rows in ((GreedyKMeansPlusPlus, make_rows(X)), (SparseKMeansPlusPlus, sparse)):
        found = set()
        for n_threads in THREADS:
            with team(n_threads) as threads:
                seeding = make(rows, 9, threads)
                found.add(seeding.choose(np.random.RandomState(0)).tobytes())
                found.add(seeding.choose(np.random.RandomState(0)).tobytes())
        assert len(found) == 1


def test_shapes_reach_several_slices() -> None:
    assert any(n > 2 * slice_rows(n, d, k) for n, d, k in SHAPES)
