"""Tiles, packing and bit tricks against NumPy, and the machine code that they become."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import config, njit
from numpy.testing import assert_allclose, assert_array_equal

from fastclust.kernels import emit
from fastclust.kernels.emit.cpu import (
    ALL_ROWS,
    CPU_FEATURES,
    NARROW,
    ROW_VECTORS,
    TILE_ROWS,
    VECTOR_BYTES,
    center_groups,
    lanes,
    part_rows,
    round_up,
)
from fastclust.kernels.emit.instructions import INSTRUCTIONS
from fastclust.kernels.emit.masks import (
    LIST_SLACK,
    changed_labels,
    list_changes,
    lowest_bit,
    unlabelled_rows,
)
from fastclust.kernels.emit.memory import fetch_add, peek
from fastclust.kernels.emit.packing import pack_listed_rows, pack_rows
from fastclust.kernels.emit.rows_and_rows import (
    PANEL,
    add_differences,
    add_products,
    squares_to_panel,
)
from fastclust.kernels.emit.search_in_place import FEATURE_ROWS, nearest_of_few
from fastclust.kernels.emit.search_rows import (
    distances_in_tile,
    nearest_in_tile,
    nearest_two_in_tile,
    own_and_rival_in_tile,
)
from fastclust.kernels.emit.sums import add_line, add_row, add_rows, move_rows, record_size
from fastclust.kernels.machine.compiling import kernel
from fastclust.kernels.tiles import Panels, aligned_empty, fill_panels, padded_vector

compiled_only = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="needs machine code")


@kernel
def tile_by_rows(packed, centers, bias, n_wide, n_narrow, d, best, index):
    nearest_in_tile(packed, centers, bias, n_wide, n_narrow, d, best, index)


@kernel
def top_two(packed, centers, bias, n_wide, n_narrow, d, best, index, second):
    nearest_two_in_tile(packed, centers, bias, n_wide, n_narrow, d, best, index, second)


@kernel
def tile_by_features(X, mean, centers, bias, n_wide, n_narrow, best, index):
    for row in range(0, TILE_ROWS, FEATURE_ROWS):
        nearest_of_few(X, X, 0, mean, centers, bias, n_wide, n_narrow, best, index, row)


@kernel
def all_distances(packed, centers, n_wide, n_narrow, d, distances):
    distances_in_tile(packed, centers, n_wide, n_narrow, d, distances)


@kernel
def own_and_rival(packed, centers, start, n_wide, n_narrow, d, labels, own, rival):
    own_and_rival_in_tile(packed, centers, start, n_wide, n_narrow, d, labels, own, rival)


@kernel
def panel_of(X, first, count, panels, place, squares):
    squares_to_panel(X, first, count, panels, place, squares)


@kernel
def products(rows, others, d, count, results):
    add_products(rows, others, d, count, results)


@kernel
def differences(rows, others, d, count, results):
    add_differences(rows, others, d, count, results)


@kernel
def line(values, first, sums, place):
    add_line(values, first, sums, place)


@kernel
def pack(X, tail, first, mean, packed):
    pack_rows(X, tail, first, mean, packed)


@kernel
def pack_list(X, rows, first, d, mean, packed):
    pack_listed_rows(X, rows, first, d, mean, packed)


@kernel
def changes(index, labels, first, winners, slot):
    return changed_labels(index, labels, first, winners, slot)


@kernel
def note(mask, first, winners, slot, labels, movers, sources, count):
    return list_changes(np.uint64(mask), first, winners, slot, labels, movers, sources, count)


@kernel
def add(X, row, d, mean, weight, sums, place):
    add_row(X, row, d, mean, weight, sums, place)


@kernel
def without_label(labels, first):
    return unlabelled_rows(labels, first)


@kernel
def add_all(X, mean, weights, first, count, labels, records, touched, pile):
    add_rows(X, mean, weights, first, count, labels, records, touched, pile)


@kernel
def move(X, mean, weights, movers, sources, count, labels, records, touched, pile):
    move_rows(X, mean, weights, movers, sources, count, labels, records, touched, pile)


@kernel
def bit(mask):
    return lowest_bit(np.uint64(mask))


@kernel
def count(counters, amount):
    before = fetch_add(counters, 1, amount)
    return before, peek(counters, 1)


def panels_of(centers: Any, *, by_features: bool) -> Panels:
    """Centers packed for either tile, whatever their shape would choose."""
    n_wide, n_narrow = center_groups(len(centers))
    padded = 6 * n_wide + 4 * n_narrow
    depth = round_up(centers.shape[1], lanes(centers.dtype))
    panels = Panels(
        by_features,
        n_wide,
        n_narrow,
        aligned_empty(padded * depth, centers.dtype),
        aligned_empty(padded, centers.dtype),
    )
    fill_panels(centers, panels)
    return panels


def integers(index: Any) -> Any:
    """The bits of `index` as the integers that they are."""
    return index.view(f"i{index.itemsize}")


def scores(X: Any, centers: Any) -> Any:
    """``|c|²/2 - x·c`` in float64."""
    X, centers = X.astype(np.float64), centers.astype(np.float64)
    return (centers**2).sum(axis=1) / 2 - X @ centers.T


def rounding(X: Any, centers: Any) -> float:
    """Bound for the error of a score: (d + 2) roundings of numbers up to |x||c| + |c|²."""
    eps = np.finfo(X.dtype).eps
    x, c = np.linalg.norm(X, axis=1).max(), np.linalg.norm(centers, axis=1).max()
    return float((X.shape[1] + 2) * eps * (x * c + c * c))


def tile_problem(d: int, k: int, dtype: Any, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng([seed, d, k])
    X = rng.normal(size=(TILE_ROWS, d)).astype(dtype)
    mean = rng.normal(size=d).astype(dtype)
    return X, mean, rng.normal(size=(k, d)).astype(dtype)


@pytest.mark.parametrize("k", range(1, 41))
def test_groups_hold_all_centers_with_little_padding(k: int) -> None:
    n_wide, n_narrow = center_groups(k)
    padded = 6 * n_wide + 4 * n_narrow
    assert k <= padded <= max(4, k + 1)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 40, 100])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6, 7, 8, 13, 24])
@pytest.mark.parametrize("tile", ["rows", "features"])
def test_nearest_center(d: int, k: int, tile: str, dtype: Any) -> None:
    X, mean, centers = tile_problem(d, k, dtype)
    shift = padded_vector(mean, dtype)
    best, index = aligned_empty(TILE_ROWS, dtype), aligned_empty(TILE_ROWS, dtype)
    panels = panels_of(centers, by_features=tile == "features")
    _, n_wide, n_narrow, packed_centers, bias = panels
    if tile == "rows":
        packed = aligned_empty(round_up(d, lanes(dtype)) * TILE_ROWS, dtype)
        pack(X, X, 0, shift, packed)
        tile_by_rows(packed, packed_centers, bias, n_wide, n_narrow, d, best, index)
    else:
        tile_by_features(X, shift, packed_centers, bias, n_wide, n_narrow, best, index)
    expected = scores(X - mean, centers)
    error = rounding(X - mean, centers)
    found = integers(index)
    assert np.all((found >= 0) & (found < k))
    np.testing.assert_allclose(best, expected.min(axis=1), atol=error)
    assert np.all(expected[np.arange(TILE_ROWS), found] <= expected.min(axis=1) + 2 * error)


@pytest.mark.parametrize("d", [1, 2, 8, 33])
@pytest.mark.parametrize("k", [2, 5, 9, 30])
def test_two_nearest_centers(d: int, k: int, dtype: Any) -> None:
    X, _, centers = tile_problem(d, k, dtype)
    centers[-1] = centers[0]  # a tie, whose second score equals the first
    zero = padded_vector(np.zeros(d), dtype)
    packed = aligned_empty(round_up(d, lanes(dtype)) * TILE_ROWS, dtype)
    pack(X, X, 0, zero, packed)
    best, index, second = (aligned_empty(TILE_ROWS, dtype) for _ in range(3))
    _, n_wide, n_narrow, packed_centers, bias = panels_of(centers, by_features=False)
    top_two(packed, packed_centers, bias, n_wide, n_narrow, d, best, index, second)
    expected = np.sort(scores(X, centers), axis=1)
    error = rounding(X, centers)
    np.testing.assert_allclose(best, expected[:, 0], atol=error)
    np.testing.assert_allclose(second, expected[:, 1], atol=error)
    assert np.all(integers(index) < k - 1)  # never the higher index of the tie


@pytest.mark.parametrize("tile", ["rows", "features"])
@pytest.mark.parametrize("k", [2, 7, 12, 25])
def test_lowest_of_equal_centers_wins(tile: str, k: int, dtype: Any) -> None:
    X, _, centers = tile_problem(20, 1, dtype)
    centers = np.repeat(centers, k, axis=0)
    zero = padded_vector(np.zeros(20), dtype)
    best, index = aligned_empty(TILE_ROWS, dtype), aligned_empty(TILE_ROWS, dtype)
    _, n_wide, n_narrow, packed_centers, bias = panels_of(centers, by_features=tile == "features")
    if tile == "rows":
        packed = aligned_empty(round_up(20, lanes(dtype)) * TILE_ROWS, dtype)
        pack(X, X, 0, zero, packed)
        tile_by_rows(packed, packed_centers, bias, n_wide, n_narrow, 20, best, index)
    else:
        tile_by_features(X, zero, packed_centers, bias, n_wide, n_narrow, best, index)
    assert not integers(index).any()


@pytest.mark.parametrize("d", [1, 3, 4, 10, 50])
def test_distances_of_equal_rows_are_zero(d: int, dtype: Any) -> None:
    X, _, centers = tile_problem(d, 9, dtype)
    X += np.asarray(1e6, dtype)
    centers += np.asarray(1e6, dtype)
    X[5], X[63] = centers[2], centers[8]
    zero = padded_vector(np.zeros(d), dtype)
    packed = aligned_empty(round_up(d, lanes(dtype)) * TILE_ROWS, dtype)
    pack(X, X, 0, zero, packed)
    _, n_wide, n_narrow, packed_centers, _ = panels_of(centers, by_features=False)
    distances = aligned_empty(((6 * n_wide + 4 * n_narrow), TILE_ROWS), dtype)
    all_distances(packed, packed_centers, n_wide, n_narrow, d, distances)
    gaps = X.astype(np.float64)[None] - centers.astype(np.float64)[:, None]
    expected = (gaps**2).sum(axis=2)
    np.testing.assert_allclose(distances[:9], expected, rtol=(d + 3) * np.finfo(dtype).eps)
    assert distances[2, 5] == 0
    assert distances[8, 63] == 0
    # The same bits, of which only two a row are kept.
    start = aligned_empty(len(distances), dtype)
    start[:9], start[9:] = 0, np.inf
    labels, own, rival = (aligned_empty(TILE_ROWS, dtype) for _ in range(3))
    integers(labels)[:] = np.arange(TILE_ROWS) % 9
    own_and_rival(packed, packed_centers, start, n_wide, n_narrow, d, labels, own, rival)
    places = integers(labels), np.arange(TILE_ROWS)
    np.testing.assert_array_equal(own, distances[places])
    distances[places] = np.inf
    np.testing.assert_array_equal(rival, distances[:9].min(axis=0))


@pytest.mark.parametrize("d", [1, 2, 7, 65])
def test_tiles_meet_tiles(d: int, dtype: Any) -> None:
    rows, others = np.random.default_rng(d).standard_normal((2, TILE_ROWS, d)).astype(dtype)
    others[5] = rows[3]
    parts = []
    for tile in (rows, others):
        parts.append(aligned_empty(tile.size, dtype))
        parts[-1][:] = tile.reshape(-1, part_rows(dtype), d).swapaxes(1, 2).ravel()
    results = aligned_empty((TILE_ROWS, TILE_ROWS), dtype)
    for count in (TILE_ROWS, 21):
        # With what is behind them in the tile; the twin stops where it is told to.
        met = count if config.DISABLE_JIT else -(-count // NARROW) * NARROW
        results[:] = 2
        products(*parts, d, count, results.reshape(-1))
        assert_allclose(results[:met], 2 + others[:met] @ rows.T, rtol=1e-5, atol=1e-5)
        assert (results[met:] == 2).all() or met == TILE_ROWS
        results[:] = 0
        differences(*parts, d, count, results.reshape(-1))
        assert results[5, 3] == 0
        expected = ((others[:met, None] - rows) ** 2).sum(axis=2)
        assert_allclose(results[:met], expected, rtol=1e-5)
        assert not results[met:].any()


@pytest.mark.parametrize("d", [1, 7, 65])
def test_a_tile_meets_itself_once(d: int, dtype: Any) -> None:
    rows = np.random.default_rng(d).standard_normal((TILE_ROWS, d)).astype(dtype)
    part, size = aligned_empty(rows.size, dtype), part_rows(dtype)
    part[:] = rows.reshape(-1, size, d).swapaxes(1, 2).ravel()
    number = np.arange(TILE_ROWS)
    met = number[:, None] < (number // size + 1) * size  # the others up to a row's own part
    results = aligned_empty((TILE_ROWS, TILE_ROWS), dtype)
    for meet, expected in (
        (products, rows @ rows.T),
        (differences, ((rows[:, None] - rows) ** 2).sum(axis=2)),
    ):
        results[:] = 0
        meet(part, part, d, 0, results.reshape(-1))
        assert_allclose(results[met], expected[met], rtol=1e-5, atol=1e-5)
        if not config.DISABLE_JIT:
            assert not results[~met].any()


def test_lines_are_added(dtype: Any) -> None:
    values, sums = np.arange(200, dtype=dtype), np.arange(99.0)
    line(values, 17, sums, 5)
    expected = np.arange(99.0)
    expected[5:69] += values[17:81]
    assert_array_equal(sums, expected)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5, 6, 7, 8, 11, 15, 16, 17, 24, 33, 64, 100])
def test_packing(d: int, dtype: Any) -> None:
    rng = np.random.default_rng(d)
    X = rng.normal(size=(200, d)).astype(dtype)
    X.flags.writeable = False
    mean = padded_vector(rng.normal(size=d), dtype)
    packed = aligned_empty((round_up(d, lanes(dtype)), TILE_ROWS), dtype)
    tail = X[:TILE_ROWS] + 1
    pack(X, tail, 136, mean, packed)  # up to the very last row
    np.testing.assert_array_equal(packed[:d], (X[136:] - mean[:d]).T)
    pack(X, tail, 137, mean, packed)  # and one beyond
    np.testing.assert_array_equal(packed[:d], (tail - mean[:d]).T)
    if d > 4:
        rows = np.zeros(4 * TILE_ROWS, np.int64)
        rows[3 : 3 + TILE_ROWS] = rng.integers(200, size=TILE_ROWS)
        pack_list(X, rows, 3, d, mean, packed)
        np.testing.assert_array_equal(packed[:d], (X[rows[3 : 3 + TILE_ROWS]] - mean[:d]).T)


def test_changed_labels(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    index = aligned_empty(TILE_ROWS, dtype)
    integers(index)[:] = rng.integers(1000, size=TILE_ROWS)
    labels = np.full(70, -1, np.int32)
    labels[5:69] = integers(index)
    labels[[5, 6, 37, 68]] += 1
    before = labels.copy()
    winners = np.full(3 * TILE_ROWS, -7, np.int32)
    mask = int(changes(index, labels, 5, winners, TILE_ROWS))
    assert mask == 1 << 0 | 1 << 1 | 1 << 32 | 1 << 63
    np.testing.assert_array_equal(winners[TILE_ROWS : 2 * TILE_ROWS], integers(index))
    assert np.all(winners[:TILE_ROWS] == -7)
    assert np.all(winners[2 * TILE_ROWS :] == -7)
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize("n_changed", [0, 1, 2, 3, 4, 5, 8, 31, 63, 64])
def test_list_changes(n_changed: int) -> None:
    rng = np.random.default_rng(n_changed)
    labels = rng.integers(-1, 9, TILE_ROWS + 10).astype(np.int32)
    winners = rng.integers(9, 20, TILE_ROWS + 4).astype(np.int32)
    bits = np.sort(rng.choice(TILE_ROWS, n_changed, replace=False))
    mask = np.uint64(sum(1 << int(bit) for bit in bits))
    before = labels.copy()
    movers = np.full(3 + TILE_ROWS + LIST_SLACK + 1, -7, np.int64)
    sources = movers.astype(np.int32)
    assert note(mask, 5, winners, 4, labels, movers, sources, 3) == 3 + n_changed
    listed = slice(3, 3 + n_changed)
    np.testing.assert_array_equal(movers[listed], 5 + bits)
    np.testing.assert_array_equal(sources[listed], before[5 + bits])
    for entries in (movers, sources):
        assert np.all(entries[:3] == -7)
        assert np.all(entries[3 + n_changed + LIST_SLACK :] == -7)
    before[5 + bits] = winners[4 + bits]
    np.testing.assert_array_equal(labels, before)


def test_rows_without_a_label() -> None:
    labels = np.random.default_rng(0).integers(-1, 2, 70).astype(np.int32)
    mask = int(without_label(labels, 5))
    assert [mask >> i & 1 for i in range(TILE_ROWS)] == [label < 0 for label in labels[5:69]]
    assert without_label(np.full(64, -1, np.int32), 0) == ALL_ROWS


@pytest.mark.parametrize("d", [1, 2, 7, 8, 9, 17, 64])
def test_add_row(d: int, dtype: Any) -> None:
    rng = np.random.default_rng(d)
    X = rng.normal(size=(5, d)).astype(dtype)
    mean = padded_vector(rng.normal(size=d), dtype)
    sums = rng.normal(size=(3, d))
    expected = sums.copy()
    expected[1] += -2.5 * (X[3] - mean[:d]).astype(float)
    add(X, 3, d, mean, -2.5, sums, d)
    np.testing.assert_allclose(sums, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("d", [1, 2, 3, 4, 7, 8, 9, 13, 64])
def test_rows_are_moved_and_added(d: int, dtype: Any, weighted: bool) -> None:
    rng = np.random.default_rng(d)
    X = rng.normal(size=(30, d)).astype(dtype)
    mean = padded_vector(rng.normal(size=d), dtype)
    weights = (0.75 * rng.integers(0, 3, 30 if weighted else 0)).astype(dtype)
    labels = rng.integers(0, 6, 30).astype(np.int32)
    movers = rng.permutation(30)
    sources = rng.integers(-1, 6, 30).astype(np.int32)
    records = rng.normal(size=(3, 7, record_size(d)))
    touched = np.zeros((3, 10), np.bool_)
    expected, marks = records.copy(), touched.copy()

    def record(row: int) -> Any:
        weight = float(weights[row]) if weighted else 1.0
        return np.append(weight * (X[row] - mean[:d]).astype(float), [weight, weight != 0])

    for row, old in zip(movers[:20], sources[:20], strict=True):
        expected[1, labels[row], : d + 2] += record(row)
        marks[1, labels[row]] = True
        if old >= 0:
            expected[1, old, : d + 2] -= record(row)
            marks[1, old] = True
    move(X, mean, weights, movers, sources, 20, labels, records, touched, 1)
    np.testing.assert_array_equal(records, expected)
    np.testing.assert_array_equal(touched, marks)
    for row in range(3, 16):
        expected[2, labels[row], : d + 2] += record(row)
        marks[2, labels[row]] = True
    add_all(X, mean, weights, 3, 13, labels, records, touched, 2)
    np.testing.assert_array_equal(records, expected)
    np.testing.assert_array_equal(touched, marks)
    add_all(X, mean, weights, 3, 0, labels, records, touched, 1)
    move(X, mean, weights, movers, sources, 0, labels, records, touched, 1)
    np.testing.assert_array_equal(records, expected)


def test_bits_and_counters() -> None:
    assert [bit(np.uint64(1 << i)) for i in (0, 5, 63)] == [0, 5, 63]
    assert bit(np.uint64(0b1011000)) == 3
    counters = np.array([7, 40], np.int64)
    assert count(counters, 2) == (40, 42)
    assert counters[0] == 7


def test_every_instruction_has_a_twin() -> None:
    for path in Path(emit.__file__).parent.glob("*.py"):
        importlib.import_module(f"{emit.__name__}.{path.stem}")
    assert len(INSTRUCTIONS) >= 55
    for instruction in INSTRUCTIONS.values():
        assert inspect.isfunction(instruction.plain)


def machine_code(function: Any, *arguments: Any) -> str:
    """Assembly of `function` for these arguments."""
    dispatcher = njit(nogil=True, error_model="numpy")(function.py_func)
    dispatcher(*arguments)
    return next(iter(dispatcher.inspect_asm().values()))


def innermost_loop(assembly: str, instruction: str) -> list[str]:
    """Lines of the tightest loop that holds the most of an instruction."""
    lines = [line.strip() for line in assembly.splitlines() if line.strip()]
    places = {line[:-1]: i for i, line in enumerate(lines) if line.endswith(":")}
    best: list[str] = []
    score = 0.0
    for i, line in enumerate(lines):
        jump = re.match(r"j\w+\s+(\S+)$", line)
        start = places.get(jump.group(1), i) if jump else i
        body = lines[start:i]
        n = sum(instruction in entry for entry in body)
        if n >= 12 and n / len(body) > score:
            best, score = body, n / len(body)
    return best


@compiled_only
@pytest.mark.skipif("fma" not in CPU_FEATURES, reason="no fused multiply-add on this CPU")
@pytest.mark.parametrize("tile", ["rows", "features"])
def test_inner_loop_is_fused_full_width_and_does_not_spill(tile: str, dtype: Any) -> None:
    X, _, centers = tile_problem(128, 24, dtype)
    zero = padded_vector(np.zeros(128), dtype)
    best, index = aligned_empty(TILE_ROWS, dtype), aligned_empty(TILE_ROWS, dtype)
    panels = panels_of(centers, by_features=tile == "features")
    _, n_wide, n_narrow, packed_centers, bias = panels
    if tile == "rows":
        packed = aligned_empty(128 * TILE_ROWS, dtype)
        arguments: tuple[Any, ...] = (packed, packed_centers, bias, n_wide, n_narrow, 128)
        code = machine_code(tile_by_rows, *arguments, best, index)
        accumulators = 6 * ROW_VECTORS
    else:
        arguments = (X, zero, packed_centers, bias, n_wide, n_narrow)
        code = machine_code(tile_by_features, *arguments, best, index)
        accumulators = 6 * FEATURE_ROWS
    suffix = "ps" if dtype == np.float32 else "pd"
    loop = innermost_loop(code, "vfmadd")
    register = {64: "zmm", 32: "ymm", 16: "xmm"}[VECTOR_BYTES]
    fused = [line for line in loop if re.match(rf"vfmadd\d+{suffix}\b", line)]
    assert len(fused) >= accumulators
    assert all(register in line for line in fused)
    assert not [line for line in loop if "(%rsp" in line and register in line]


@pytest.mark.parametrize("d", [1, 2, 3, 17])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 11])
def test_squares_to_a_panel(d: int, count: int, dtype: Any) -> None:
    rng = np.random.default_rng([d, count])
    X = (rng.normal(size=(20, d)) + 1e6).astype(dtype)
    centers = rng.normal(size=(PANEL, d)) + 1e6
    centers[0] = X[4]
    panels = aligned_empty(2 * d * PANEL, np.float64)
    panels[: d * PANEL] = np.nan
    panels[d * PANEL :] = -centers.T.reshape(-1)
    squares = aligned_empty((count + 1) * PANEL, np.float64)
    squares[:] = -1
    panel_of(X, 3, count, panels, d * PANEL, squares)
    expected = ((X[3 : 3 + count, None].astype(np.float64) - centers) ** 2).sum(axis=2)
    np.testing.assert_allclose(squares[:-PANEL].reshape(count, PANEL), expected, rtol=1e-14)
    assert (squares[-PANEL:] == -1).all()
    if count > 1:
        assert squares[PANEL] == 0
