"""Fingerprints: any bit that differs is noticed, and nothing but the numbers decides about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import config

from fastclust.kernels.fingerprint import (
    CHUNK,
    KEYS,
    Fingerprint,
    checksum,
    digest_words,
    digest_words_plainly,
    fingerprint,
)
from fastclust.kernels.machine.parallel import team
from fastclust.kernels.moments import moment_slice_rows

Array = np.ndarray[Any, Any]


def of(array: Array, n_threads: int = 1) -> str:
    with team(n_threads) as threads:
        return fingerprint(array, threads)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_kernel_is_its_twin(size: int) -> None:
    words = np.random.default_rng(size).integers(0, 2**64, size + 5, dtype=np.uint64)
    ours, reference = (
        function(words, 3, 3 + size, KEYS) for function in (digest_words, digest_words_plainly)
    )
    assert tuple(map(int, ours)) == tuple(map(int, reference))
    # In integers of Python, one word at a time.
    pair = [0, 0]
    for begin in range(3, 3 + size, CHUNK):
        for which in range(2):
            total = pair[which]
            for place, word in enumerate(words[begin : min(begin + CHUNK, 3 + size)].tolist()):
                both = (word + int(KEYS[place + which])) % 2**64
                total += (both % 2**32) * (both >> 32)
            x = total % 2**64
            x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
            x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
            pair[which] = x ^ (x >> 31)
    assert [int(number) for number in ours] == pair


@pytest.mark.parametrize("values", ["normal", "integers", "zeros"])
def test_every_bit_is_noticed(values: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    X = {
        "normal": rng.normal(size=(9, 5)),
        "integers": rng.integers(0, 3, (9, 5)),
        "zeros": np.zeros((9, 5)),
    }[values].astype(dtype)
    found = {of(X)}
    raw = X.view(np.uint8).reshape(-1)
    for place in range(raw.size):
        for bit in range(8):
            raw[place] ^= 1 << bit
            found.add(of(X))
            raw[place] ^= 1 << bit
    assert len(found) == 1 + 8 * raw.size
    assert of(X) in found


def test_order_is_noticed(dtype: Any) -> None:
    """Swaps of rows and columns of small integers, which means and sums do not tell apart."""
    X = np.random.default_rng(1).integers(0, 2, (40, 12)).astype(dtype)
    versions = [X]
    for axis in range(2):
        for i in range(X.shape[axis]):
            for j in range(i):
                order = np.arange(X.shape[axis])
                order[[i, j]] = j, i
                versions.append(np.ascontiguousarray(X.take(order, axis=axis)))
    versions += [X[::-1].copy(), X[:, ::-1].copy(), X[np.r_[1:40, 0]]]
    versions += [X.reshape(12, 40), X.reshape(-1), X[:39].copy()]
    different = {(version.shape, version.tobytes()) for version in versions}
    assert len({of(version) for version in versions}) == len(different) > 800


@pytest.mark.skipif(config.DISABLE_JIT, reason="takes minutes")
def test_swaps_of_far_rows_are_noticed(dtype: Any) -> None:
    """Between slices, and between chunks of one slice."""
    X = np.random.default_rng(2).integers(0, 2, (60_001, 3)).astype(dtype)
    X[[0, 700, 30_000, 60_000]] = [[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1]]
    found = {of(X)}
    for i, j in [(0, 700), (0, 30_000), (0, 60_000), (700, 30_000), (30_000, 60_000)]:
        swapped = X.copy()
        swapped[[i, j]] = X[[j, i]]
        found.add(of(swapped))
    assert len(found) == 6


def test_zeros_of_both_signs_are_different(dtype: Any) -> None:
    assert of(np.zeros((3, 3), dtype)) != of(-np.zeros((3, 3), dtype))


def test_type_and_shape_are_noticed() -> None:
    zeros = [np.zeros(shape, kind) for shape in [(8,), (8, 1), (4, 2), (2, 4)] for kind in "fdil"]
    assert len({of(array) for array in zeros}) == len(zeros)


@pytest.mark.skipif(config.DISABLE_JIT, reason="takes minutes")
@pytest.mark.parametrize("d", [1, 3, 700])
def test_blocks_and_threads_do_not_matter(d: int, dtype: Any) -> None:
    n = 400_001 // d
    X = np.random.default_rng(3).normal(size=(n, d)).astype(dtype)
    whole = of(X)
    assert of(X, 2) == whole
    assert of(X, 5) == whole
    view = X.view()
    view.flags.writeable = False
    assert of(view) == whole
    slice_size = moment_slice_rows(n, d)
    for n_slices in (1, 2, 5):
        with team(2) as threads:
            found = Fingerprint(X.shape, threads)
            for start in range(0, n, n_slices * slice_size):
                found.add(X[start : start + n_slices * slice_size])
        assert whole.endswith(found.text())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_checksum_tells_numbers_their_order_and_their_signs(dtype: Any) -> None:
    array = np.random.default_rng(0).normal(size=(7, 3)).astype(dtype)
    others = [array[::-1], -array, array * 2, array[:, ::-1]]
    for place in np.ndindex(array.shape):
        one = array.copy()
        one[place] = np.nextafter(one[place], dtype(9))
        others.append(one)
    two = array.copy()
    two[[0, 4], [0, 2]] *= -1
    found = {checksum(np.ascontiguousarray(each)) for each in [array, *others, two]}
    assert len(found) == len(others) + 2
    assert checksum(array.copy()) == checksum(array)
