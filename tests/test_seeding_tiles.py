"""Rows in place against candidates side by side, against NumPy, and the machine code of it."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from numba import config
from test_simd import innermost_loop, machine_code

from fastclust.kernels.emit.candidates import (
    PANEL,
    add_gaps,
    add_potentials,
    come_closer,
    list_rows,
    lower_to_candidates,
    n_panels,
)
from fastclust.kernels.emit.cpu import CPU_FEATURES, VECTOR_BYTES
from fastclust.kernels.machine.compiling import kernel

SIZES = [(1, 1), (7, 2), (8, 3), (9, 8), (64, 9), (65, 17), (130, 64), (50, 131)]


@kernel
def potentials_of(
    X, rows, first, count, ahead, panels, number, winner, closest, nearest, factors, out
):
    add_potentials(
        X, rows, first, count, ahead, panels, number, np.int32(winner), closest, nearest, factors,
        out,
    )  # fmt: skip


@kernel
def gaps_of(X, rows, first, count, panels, number, start, stop, squares):
    add_gaps(X, rows, first, count, panels, number, start, stop, squares)


@kernel
def tell(X, rows, first, count, center, number, closest, nearest):
    come_closer(X, rows, first, count, center, np.int32(number), closest, nearest)


@kernel
def lower(X, count, rows, panels, number, closest):
    lower_to_candidates(X, count, rows, panels, number, closest)


@kernel
def list_open(start, stop, weights, weighted, reach, closest, nearest, listed, settled):
    return list_rows(start, stop, weights, weighted, reach, closest, nearest, listed, settled)


class Problem:
    """Rows, of which some are listed, and two panels of candidates, the second one not full."""

    def __init__(self, size: tuple[int, int], dtype: Any, offset: float = 0.0) -> None:
        n, d = size
        self.rng = rng = np.random.default_rng([n, d])
        self.X = (rng.normal(size=(n, d)) + offset).astype(dtype)
        self.count = max(1, n // 2)
        self.ahead = 16
        self.rows = rng.permutation(n + 40) % n
        self.candidates = (rng.normal(size=(PANEL + 3, d)) + offset).astype(dtype)
        self.candidates[0] = self.X[self.rows[0]]
        padded = np.full((2 * PANEL, d), np.inf, dtype)
        padded[: PANEL + 3] = self.candidates
        panels = padded.reshape(2, PANEL, d).transpose(0, 2, 1)
        self.panels = np.ascontiguousarray(panels).ravel()
        self.closest = (d * rng.random(n) * 2).astype(dtype)
        self.nearest = rng.integers(5, size=n).astype(np.int32)

    def squares(self, first: int) -> Any:
        listed = self.X[self.rows[first : first + self.count]].astype(np.longdouble)
        return ((listed[:, None] - self.candidates.astype(np.longdouble)) ** 2).sum(axis=2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("winner", [-1, 3])
def test_potentials(size: Any, dtype: Any, winner: int) -> None:
    problem = Problem(size, dtype)
    first = 1
    listed = problem.rows[first : first + problem.count]
    squares = problem.squares(first)
    closest, nearest = problem.closest.copy(), problem.nearest.copy()
    if winner >= 0:  # rows may be listed twice; then they are told twice, which changes nothing
        for row, square in zip(listed, squares[:, 0].astype(dtype), strict=True):
            if square < closest[row]:
                closest[row], nearest[row] = square, winner
    factors = problem.rng.random(problem.count)
    expected = 0.5 + factors @ np.minimum(squares, closest[listed][:, None])
    found = np.full(2 * PANEL, 0.5)
    for number in range(2):
        potentials_of(
            problem.X, problem.rows, first, problem.count, problem.ahead, problem.panels, number,
            winner if number == 0 else -1, problem.closest, problem.nearest, factors, found,
        )  # fmt: skip
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(found[: PANEL + 3], expected.astype(float), rtol=tolerance)
    np.testing.assert_allclose(problem.closest, closest, rtol=tolerance, atol=1e-30)
    np.testing.assert_array_equal(problem.nearest, nearest)


@pytest.mark.parametrize("size", SIZES)
def test_gaps_of_parts_of_the_features(size: Any, dtype: Any) -> None:
    problem, d = Problem(size, dtype), size[1]
    found = []
    for borders in ((0, d), (0, d // 3, d // 2, d)):
        squares = np.zeros((problem.count + 1, 2, PANEL), dtype)
        for number in range(2):
            own = np.zeros((problem.count + 1) * PANEL, dtype)
            for start, stop in itertools.pairwise(borders):
                gaps_of(
                    problem.X, problem.rows, 1, problem.count, problem.panels, number, start, stop,
                    own,
                )  # fmt: skip
            squares[:, number] = own.reshape(-1, PANEL)
        found.append(squares.reshape(-1, 2 * PANEL))
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    expected = problem.squares(1).astype(float)
    np.testing.assert_allclose(found[0][:-1, : PANEL + 3], expected, rtol=tolerance)
    assert not found[0][-1].any()
    if not config.DISABLE_JIT:  # to the bit, however many parts there are
        np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_rows_come_closer(size: Any, dtype: Any, offset: float) -> None:
    problem = Problem(size, dtype, offset)
    listed = problem.rows[: problem.count]
    squares = problem.squares(0)[:, 0].astype(dtype)
    expected = problem.closest.copy()
    np.minimum.at(expected, listed, squares)
    nearest = np.where(expected < problem.closest, 9, problem.nearest)
    tell(
        problem.X, problem.rows, 0, problem.count, problem.candidates[0], 9, problem.closest,
        problem.nearest,
    )  # fmt: skip
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(problem.closest, expected, rtol=tolerance)
    np.testing.assert_array_equal(problem.nearest, nearest)
    assert problem.closest[problem.rows[0]] == 0  # it is that center


@pytest.mark.parametrize("size", SIZES)
def test_lowering(size: Any, dtype: Any) -> None:
    problem = Problem(size, dtype)
    listed = problem.rows[: problem.count]
    expected = problem.closest.copy()
    np.minimum.at(expected, listed, problem.squares(0).min(axis=1).astype(dtype))
    for number in range(2):
        lower(problem.X, problem.count, problem.rows, problem.panels, number, problem.closest)
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(problem.closest, expected, rtol=tolerance)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("bounds", [(0, 1), (3, 10), (0, 64), (5, 200)])
def test_listing(bounds: tuple[int, int], dtype: Any, weighted: bool) -> None:
    start, stop = bounds
    rng = np.random.default_rng(stop)
    closest, weights = rng.random(200).astype(dtype), rng.random(200).astype(dtype)
    nearest = rng.integers(7, size=200).astype(np.int32)
    reach = rng.random(7).astype(dtype)
    closest[start] = reach[nearest[start]]  # not above
    listed, settled = np.full(stop - start + 8, -1), np.empty(1)
    given = weights if weighted else np.empty(0, dtype)
    count = list_open(start, stop, given, weighted, reach, closest, nearest, listed, settled)
    open_ = closest > reach[nearest]
    rows = np.arange(start, stop)
    np.testing.assert_array_equal(listed[:count], rows[open_[start:stop]])
    factors = weights.astype(float) if weighted else np.ones(200)
    expected = (factors * closest)[start:stop][~open_[start:stop]].sum()
    assert settled[0] == pytest.approx(expected, rel=1e-12)


def test_panels_hold_all_candidates() -> None:
    assert [n_panels(n) for n in (1, 8, 9, 16, 17)] == [1, 1, 2, 2, 3]


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="needs machine code")
@pytest.mark.skipif("fma" not in CPU_FEATURES, reason="no fused multiply-add on this CPU")
def test_inner_loop_is_fused_and_hardly_spills(dtype: Any) -> None:
    problem = Problem((130, 64), dtype)
    code = machine_code(
        potentials_of, problem.X, problem.rows, 0, 64, 16, problem.panels, 0, 2, problem.closest,
        problem.nearest, np.ones(64), np.zeros(2 * PANEL),
    )  # fmt: skip
    loop = innermost_loop(code, "vfmadd")
    suffix = "ps" if dtype == np.float32 else "pd"
    fused = [line for line in loop if re.match(rf"vfmadd\d+{suffix}\b", line)]
    assert len(fused) >= 4 * 4  # LLVM unrolls as far as its model of the CPU asks it to
    wide = min(VECTOR_BYTES, PANEL * np.dtype(dtype).itemsize)
    register = {64: "zmm", 32: "ymm", 16: "xmm"}[wide]
    assert all(register in line for line in fused)
    spills = [line for line in loop if "(%rsp" in line and register in line]
    assert len(spills) <= (0 if VECTOR_BYTES == 64 else len(fused) // 16)
