"""Vector code of Gaussian mixtures against NumPy, and the machine code that it becomes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from test_simd import compiled_only, innermost_loop, machine_code

from fastclust.kernels.components import make_densities
from fastclust.kernels.emit.cpu import (
    CPU_FEATURES,
    ROW_VECTORS,
    TILE_ROWS,
    VECTOR_BYTES,
    center_groups,
)
from fastclust.kernels.emit.densities import (
    log_density_in_tile,
    round_log_densities,
    scaled_log_densities,
    triangle_order,
    whiten_in_tile,
)
from fastclust.kernels.emit.elementary import EXP_COEFFICIENTS, LEAST_EXPONENT, exp_of, log_of
from fastclust.kernels.emit.masks import above
from fastclust.kernels.emit.posteriors import (
    LANES,
    add_covariances,
    add_means,
    add_outer_products,
    add_variances,
    gather_row,
    posterior_in_tile,
    weigh_in_tile,
)
from fastclust.kernels.machine.compiling import kernel
from fastclust.kernels.tiles import aligned_empty

# Below, at and above the groups of 6 columns and the vectors of every machine.
FEATURES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 23, 24, 25, 64]


@kernel
def exp_all(values, count):
    exp_of(values, count)


@kernel
def log_all(values, count):
    log_of(values, count)


@kernel
def density(packed, triangles, place, shifts, first_shift, constant, d, logits, first_logit):
    log_density_in_tile(
        packed, triangles, place, shifts, first_shift, constant, d, logits, first_logit
    )


@kernel
def whiten(packed, triangle, d, white):
    whiten_in_tile(packed, triangle, d, white)


@kernel
def scaled(packed, panels, n_wide, n_narrow, constants, d, logits):
    scaled_log_densities(packed, panels, n_wide, n_narrow, constants, d, logits)


@kernel
def round_densities(packed, panels, n_wide, n_narrow, halves, constants, d, squares, logits):
    round_log_densities(packed, panels, n_wide, n_narrow, halves, constants, d, squares, logits)


@kernel
def posteriors(logits, k, norm, negentropy):
    posterior_in_tile(logits, k, norm, negentropy)


@kernel
def mask_above(values, first, limit):
    return above(values, first, limit)


@kernel
def means_of(packed, parts, place, means, first, begin, end, d, moments, base):
    add_means(packed, parts, place, means, first, begin, end, d, moments, base)


@kernel
def variances_of(packed, parts, place, means, first, begin, end, d, moments, base):
    add_variances(packed, parts, place, means, first, begin, end, d, moments, base)


@kernel
def covariances_of(packed, parts, place, means, first, begin, end, d, moments, base):
    add_covariances(packed, parts, place, means, first, begin, end, d, moments, base)


@kernel
def weigh(posterior, weights, k, squares, squared, totals):
    weigh_in_tile(posterior, weights, k, squares, squared, totals)


@kernel
def gather(X, row, part, d, center, means, first, left, right, place, sums):
    gather_row(X, row, part, d, center, means, first, left, right, place, sums)


@kernel
def outer(left, right, n_rows, d, stride, products, base):
    add_outer_products(left, right, n_rows, d, stride, products, base)


def aligned(values: Any) -> Any:
    """Flat, aligned float64 copy."""
    values = np.asarray(values, np.float64)
    result = aligned_empty(values.size, np.float64)
    result[:] = values.ravel()
    return result


def tile_of(d: int, seed: int = 0) -> tuple[Any, Any]:
    """64 rows, and the same packed."""
    X = np.random.default_rng([seed, d]).normal(size=(TILE_ROWS, d))
    return X, aligned(X.T)


def triangle_of(d: int, seed: int = 0) -> Any:
    U = np.triu(np.random.default_rng([seed, d, 1]).normal(size=(d, d)))
    U[np.diag_indices(d)] = np.abs(np.diag(U)) + 0.5
    return U


def in_ulps(found: Any, expected: Any) -> float:
    """Largest error in units of the last place of what is expected."""
    return float((np.abs(found - expected) / np.spacing(np.abs(expected))).max())


# --------------------------------------------------------------------------------------------
# Elementary functions


def exponents() -> Any:
    """Numbers over the whole range, its ends, and around every multiple of log(2) / 2."""
    rng = np.random.default_rng(0)
    turns = np.arange(-2040, 2041) * (np.log(2) / 2)
    special = [0.0, -0.0, 5e-324, -1e-308, 1e-17, -1e-17, LEAST_EXPONENT, -LEAST_EXPONENT]
    near = [turns, np.nextafter(turns, np.inf), np.nextafter(turns, -np.inf)]
    spread = [rng.uniform(-708, 708, 60_000), rng.uniform(-1, 1, 30_000), rng.normal(size=9_000)]
    tiny = rng.normal(size=2_000) * 2.0 ** rng.uniform(-60, 0, 2_000)
    values = np.concatenate([special, *near, *spread, tiny])
    values = values[np.abs(values) <= -LEAST_EXPONENT]
    return values[: len(values) // LANES * LANES]


def test_exp() -> None:
    x = exponents()
    values = aligned(x)
    exp_all(values, len(values))
    assert in_ulps(values, np.exp(x)) <= 2
    assert (values[x == 0] == 1).all()


def test_exp_touches_no_more_than_it_should() -> None:
    values = aligned(np.full(3 * LANES, 1.0))
    exp_all(values, 2 * LANES)
    assert (values[: 2 * LANES] != 1).all()
    assert (values[2 * LANES :] == 1).all()


def test_log() -> None:
    rng = np.random.default_rng(1)
    powers = 2.0 ** np.arange(-1022, 1024)
    roots = np.sqrt(0.5) * 2.0 ** np.arange(-1020, 1024)  # where the exponent changes
    x = np.concatenate(
        [
            [
                np.finfo(float).tiny,
                np.finfo(float).max,
                1.0,
                np.nextafter(1, 0),
                np.nextafter(1, 2),
            ],
            powers,
            roots,
            np.nextafter(roots, 0),
            np.nextafter(roots, np.inf),
            10 ** rng.uniform(-307, 308, 50_000),
            1 + 2.0 ** rng.uniform(-52, 0, 20_000),
            1 - 2.0 ** rng.uniform(-53, -1, 20_000),
            rng.uniform(1, 1000, 20_000),
        ]
    )
    x = x[: len(x) // LANES * LANES]
    values = aligned(x)
    log_all(values, len(values))
    expected = np.log(x)
    assert (values[x == 1] == 0).all()
    away = x != 1
    assert in_ulps(values[away], expected[away]) <= 2


# --------------------------------------------------------------------------------------------
# Densities


@pytest.mark.parametrize("d", [*FEATURES, 37])
def test_triangle_order_holds_every_element_of_the_triangle_once(d: int) -> None:
    order = triangle_order(d)
    assert len(np.unique(order)) == len(order)
    i, j = np.triu_indices(d)
    assert set(i * d + j) <= set(order)
    assert len(order) <= d * (d + 1) // 2 + 3 * d  # no more than half a group is padding


@pytest.mark.parametrize("d", FEATURES)
def test_log_density(d: int) -> None:
    X, packed = tile_of(d)
    U = triangle_of(d)
    rng = np.random.default_rng(d)
    shift = rng.normal(size=d)
    order = triangle_order(d)
    triangles = np.concatenate([np.full(5, np.nan), U.ravel()[order], np.full(7, np.nan)])
    shifts = np.concatenate([np.full(3, np.nan), shift, [np.nan]])
    logits = aligned(np.full(4 * TILE_ROWS, 7.0))
    density(packed, triangles, 5, shifts, 3, 1.25, d, logits, 2 * TILE_ROWS)
    y = X @ U + shift
    expected = 1.25 - 0.5 * (y**2).sum(axis=1)
    scale = 0.5 * ((np.abs(X) @ np.abs(U) + np.abs(shift)) ** 2).sum(axis=1) + 1.25
    error = np.abs(logits[2 * TILE_ROWS : 3 * TILE_ROWS] - expected)
    assert (error <= 4 * (d + 2) * np.finfo(float).eps * scale).all()
    others = np.delete(logits.reshape(4, -1), 2, axis=0)
    assert (others == 7).all()


def test_log_density_of_a_component_without_weight() -> None:
    _, packed = tile_of(7)
    logits = aligned(np.zeros(TILE_ROWS))
    triangle = triangle_of(7).ravel()[triangle_order(7)]
    density(packed, triangle, 0, np.zeros(7), 0, -np.inf, 7, logits, 0)
    assert np.isneginf(logits).all()


@pytest.mark.parametrize("d", FEATURES)
def test_whitening(d: int) -> None:
    X, packed = tile_of(d, seed=1)
    U = triangle_of(d, seed=1)
    white = aligned(np.full(d * TILE_ROWS, np.nan))
    whiten(packed, U.ravel()[triangle_order(d)], d, white)
    scale = np.abs(X) @ np.abs(U)
    error = np.abs(white.reshape(d, TILE_ROWS).T - X @ U)
    assert (error <= 2 * (d + 1) * np.finfo(float).eps * scale).all()


@pytest.mark.parametrize("d", [1, 2, 3, 8, 17, 64])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 24, 50])
def test_scaled_log_densities(d: int, k: int) -> None:
    X, packed = tile_of(d, seed=k)
    rng = np.random.default_rng([d, k])
    means, roots = rng.normal(size=(k, d)), rng.uniform(0.5, 2, size=(k, d))
    constants = rng.normal(size=k)
    constants[k // 2] = -np.inf
    densities = make_densities("diag", means, roots, constants)
    n_padded = 6 * densities.n_wide + 4 * densities.n_narrow
    assert (densities.n_wide, densities.n_narrow) == center_groups(k)
    logits = aligned(np.full((n_padded, TILE_ROWS), np.nan))
    scaled(
        packed, densities.panels, densities.n_wide, densities.n_narrow, densities.constants, d,
        logits,
    )  # fmt: skip
    squares = (((X - means[:, None]) * roots[:, None]) ** 2).sum(axis=2)
    found = logits.reshape(n_padded, TILE_ROWS)
    np.testing.assert_allclose(
        found[:k], constants[:, None] - squares / 2, rtol=1e-14 * (d + 2), atol=1e-14 * (d + 2)
    )
    assert np.isneginf(found[k:]).all()


@pytest.mark.parametrize("d", [1, 2, 3, 8, 17, 64])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 24, 50])
def test_round_log_densities(d: int, k: int) -> None:
    X, packed = tile_of(d, seed=k)
    rng = np.random.default_rng([d, k])
    means, roots = rng.normal(size=(k, d)), rng.uniform(0.5, 2, size=k)
    constants = rng.normal(size=k)
    constants[k // 2] = -np.inf
    densities = make_densities("spherical", means, roots, constants)
    n_padded = 6 * densities.n_wide + 4 * densities.n_narrow
    logits, squares = aligned(np.full((2, n_padded, TILE_ROWS), np.nan)).reshape(2, -1)
    round_densities(
        packed, densities.panels, densities.n_wide, densities.n_narrow, densities.halves,
        densities.constants, d, squares, logits,
    )  # fmt: skip
    expected = ((X - means[:, None]) ** 2).sum(axis=2)
    tolerance = {"rtol": 1e-15 * (d + 2), "atol": 0}
    np.testing.assert_allclose(squares.reshape(n_padded, -1)[:k], expected, **tolerance)
    found = logits.reshape(n_padded, TILE_ROWS)
    logs = constants[:, None] - roots[:, None] ** 2 * expected / 2
    np.testing.assert_allclose(found[:k], logs, rtol=1e-14 * (d + 2), atol=1e-14 * (d + 2))
    assert np.isneginf(found[k:]).all()


def test_squared_distances_do_not_cancel_far_from_the_center_of_the_rows() -> None:
    d, offset = 5, 1e9
    X, _ = tile_of(d)
    means = np.full((1, d), offset)
    densities = make_densities("spherical", means, np.ones(1), np.zeros(1))
    squares, logits = aligned(np.zeros((2, 4 * TILE_ROWS))).reshape(2, -1)
    far = X + offset
    round_densities(
        aligned(far.T), densities.panels, densities.n_wide, densities.n_narrow, densities.halves,
        densities.constants, d, squares, logits,
    )  # fmt: skip
    expected = ((far - offset) ** 2).sum(axis=1)  # differences are exact
    np.testing.assert_allclose(squares[:TILE_ROWS], expected, rtol=2e-15)


# --------------------------------------------------------------------------------------------
# Posteriors


def expected_posteriors(logits: Any) -> tuple[Any, Any, Any]:
    """Posteriors, log norms and negentropies in extended precision, where there is any."""
    exact = logits.astype(np.longdouble)
    with np.errstate(invalid="ignore"):
        x = exact - exact.max(axis=0)
        parts = np.exp(x)
        total = parts.sum(axis=0)
        p = parts / total
        terms = np.where(p > 0, p * (x - np.log(total)), 0)
    norm = exact.max(axis=0) + np.log(total)
    return p.astype(float), norm.astype(float), terms.sum(axis=0).astype(float)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 16, 33])
@pytest.mark.parametrize("spread", [1e-9, 1.0, 30.0, 600.0, 1e5])
@pytest.mark.parametrize("offset", [0.0, -1e6, 1e3])
def test_posterior(k: int, spread: float, offset: float) -> None:
    rng = np.random.default_rng([k, int(spread)])
    given = rng.normal(size=(k, TILE_ROWS)) * spread + offset
    logits, norm, negentropy = aligned(given), aligned(np.zeros(64)), aligned(np.zeros(64))
    posteriors(logits, k, norm, negentropy)
    p, expected_norm, expected_negentropy = expected_posteriors(given)
    found = logits.reshape(k, TILE_ROWS)
    # The difference of two logits is rounded; an error in an exponent is a relative one.
    gap = given.max(axis=0) - given
    assert (np.abs(found - p) <= (4e-15 + np.finfo(float).eps * gap) * p + 1e-300).all()
    np.testing.assert_allclose(norm, expected_norm, rtol=4e-16 * (k + 2), atol=1e-15 * k)
    np.testing.assert_allclose(negentropy, expected_negentropy, rtol=4e-14, atol=2e-15 * k)
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-15 * k)


def test_posterior_of_components_without_weight() -> None:
    rng = np.random.default_rng(3)
    given = rng.normal(size=(6, TILE_ROWS))
    given[[0, 3, 5]] = -np.inf
    logits, norm, negentropy = aligned(given), aligned(np.zeros(64)), aligned(np.zeros(64))
    posteriors(logits, 6, norm, negentropy)
    p, expected_norm, expected_negentropy = expected_posteriors(given)
    np.testing.assert_allclose(logits.reshape(6, TILE_ROWS), p, rtol=4e-15)
    np.testing.assert_allclose(norm, expected_norm, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(negentropy, expected_negentropy, rtol=1e-14)
    assert (logits.reshape(6, TILE_ROWS)[[0, 3, 5]] == 0).all()


def test_posterior_of_logits_far_apart() -> None:
    """What is too small for float64 is zero, and everything else is right and finite."""
    given = np.full((4, TILE_ROWS), -1e300)
    given[1] = np.linspace(-1e5, 1e5, TILE_ROWS)
    given[2] = given[1] + np.linspace(-760, -650, TILE_ROWS)
    given[3] = -1.7e308
    logits, norm, negentropy = aligned(given), aligned(np.zeros(64)), aligned(np.zeros(64))
    posteriors(logits, 4, norm, negentropy)
    p = logits.reshape(4, TILE_ROWS)
    assert (p[1] == 1).all()
    assert (p[[0, 3]] == 0).all()
    gaps = given[2] - given[1]
    assert (p[2][gaps <= LEAST_EXPONENT] == 0).all()
    visible = gaps > LEAST_EXPONENT
    assert visible.any()
    assert not visible.all()
    np.testing.assert_allclose(p[2][visible], np.exp(gaps[visible]), rtol=1e-15)
    np.testing.assert_array_equal(norm, given[1])
    np.testing.assert_allclose(negentropy, p[2] * gaps, rtol=1e-14)


def test_posterior_of_equal_logits_is_uniform() -> None:
    logits, norm, negentropy = (
        aligned(np.full(8 * 64, 3.5)),
        aligned(np.ones(64)),
        aligned([0] * 64),
    )
    posteriors(logits, 8, norm, negentropy)
    assert (logits == 0.125).all()
    np.testing.assert_allclose(norm, 3.5 + np.log(8), rtol=1e-15)
    np.testing.assert_allclose(negentropy, -np.log(8), rtol=1e-15)


def test_mask_of_numbers_above_a_limit() -> None:
    values = aligned(np.zeros(3 * TILE_ROWS))
    chosen = [0, 1, 31, 32, 63]
    values[64 + np.array(chosen)] = [0.6, 1e300, np.inf, 0.5 + 1e-15, 0.75]
    values[64 + 5] = 0.5  # not above
    values[64 + 6] = np.nan
    values[[63, 128]] = 1.0  # beside the tile
    assert int(mask_above(values, 64, 0.5)) == sum(1 << bit for bit in chosen)
    assert int(mask_above(aligned(np.ones(64)), 0, 0.0)) == 2**64 - 1


# --------------------------------------------------------------------------------------------
# Moments


def moments_problem(d: int) -> tuple[Any, ...]:
    X, packed = tile_of(d, seed=2)
    rng = np.random.default_rng(d)
    r = rng.uniform(size=TILE_ROWS)
    r[::7] = 0
    r[-3:] = 0
    mean = rng.normal(size=d)
    parts = aligned(np.concatenate([np.full(64, np.nan), r]))
    means = np.concatenate([np.full(d, np.nan), mean])
    return X, packed, parts, r, mean, means


def close(found: Any, terms: Any) -> None:
    """`found` against the sum of `terms` over rows (last axis)."""
    scale = np.abs(terms).sum(axis=-1)
    assert (np.abs(found - terms.sum(axis=-1)) <= 64 * np.finfo(float).eps * scale + 1e-300).all()


@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("order", ["means", "variances", "covariances"])
def test_moments(d: int, order: str) -> None:
    X, packed, parts, r, mean, means = moments_problem(d)
    function = {"means": means_of, "variances": variances_of, "covariances": covariances_of}[order]
    lower = np.tril_indices(d)
    length = d + {"means": 0, "variances": d, "covariances": len(lower[0])}[order]
    base = 2 * LANES
    moments = aligned(np.zeros((length + 4) * LANES))
    start = np.random.default_rng(1).normal(size=moments.size)
    for repeat in (1, 2):  # added to what is there
        moments[:] = start
        for _ in range(repeat):
            for begin, end in ((0, d // 3), (d // 3, d)):  # in two parts
                function(packed, parts, TILE_ROWS, means, d, begin, end, d, moments, base)
        gained = (moments - start).reshape(-1, LANES)
        assert not gained[:2].any()
        assert not gained[2 + length :].any()
        sums = gained[2 : 2 + length].sum(axis=1)
        z = (X - mean).T
        terms = [r * z]
        if order == "variances":
            terms.append(r * z * z)
        if order == "covariances":
            terms.append(r * z[lower[0]] * z[lower[1]])
        exact = np.concatenate(terms)
        np.testing.assert_allclose(sums, repeat * exact.sum(axis=1), rtol=1e-13, atol=1e-13)
    moments[:] = 0
    function(packed, parts, TILE_ROWS, means, d, 0, d, d, moments, base)
    close(moments.reshape(-1, LANES)[2 : 2 + length].sum(axis=1), exact)


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("squared", [False, True])
def test_weighing(k: int, squared: bool) -> None:
    rng = np.random.default_rng(k)
    p, squares = rng.uniform(size=(2, k + 1, TILE_ROWS))
    w = rng.uniform(size=TILE_ROWS)
    posterior, totals = aligned(p), aligned(rng.normal(size=(k + 1) * 2 * LANES))
    start = totals.copy()
    weigh(posterior, aligned(w), k, aligned(squares), squared, totals)
    r = p[:k] * w
    np.testing.assert_array_equal(posterior.reshape(p.shape), [*r, p[k]])
    gained = (totals - start).reshape(k + 1, 2, LANES)
    assert not gained[k].any()
    found = gained[:k].sum(axis=2)
    expected = np.stack([r.sum(axis=1), (r * squares[:k]).sum(axis=1) * squared], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13 * squared)


@pytest.mark.parametrize("d", FEATURES)
def test_gathered_row(d: int, dtype: Any) -> None:
    rng = np.random.default_rng(d)
    X = (rng.normal(size=(9, d)) + 100).astype(dtype)
    center, mean = np.full(d, 100.0), rng.normal(size=d)
    stride = (d + 23) // 24 * 24
    left, right = aligned(np.zeros(3 * stride)), aligned(np.zeros(3 * stride))
    means = np.concatenate([np.full(d, np.nan), mean, np.full(d, np.nan)])
    sums = rng.normal(size=3 * d)
    before = sums.copy()
    gather(X, 8, 0.3, d, aligned(center), means, d, left, right, stride, sums)
    z = X[8].astype(float) - center - mean
    np.testing.assert_array_equal(right[stride : stride + d], z)
    np.testing.assert_array_equal(left[stride : stride + d], 0.3 * z)
    for side in (left, right):
        assert not side[:stride].any()
        assert not side[stride + d :].any()
    before[d : 2 * d] += 0.3 * z
    np.testing.assert_allclose(sums, before, rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("d", FEATURES)
@pytest.mark.parametrize("n_rows", [0, 1, 5, 64])
def test_outer_products(d: int, n_rows: int) -> None:
    rng = np.random.default_rng([d, n_rows])
    stride = (d + 23) // 24 * 24
    left, right = np.zeros((2, TILE_ROWS, stride))
    left[:, :d], right[:, :d] = rng.normal(size=(2, TILE_ROWS, d))
    start = rng.normal(size=(2, stride, stride))
    products = aligned(start)
    outer(aligned(left), aligned(right), n_rows, d, stride, products, stride * stride)
    first, second = products.reshape(start.shape)
    np.testing.assert_array_equal(first, start[0])
    upper = np.triu_indices(d)
    expected = start[1] + left[:n_rows].T @ right[:n_rows]
    np.testing.assert_allclose(second[upper], expected[upper], rtol=1e-12, atol=1e-12)
    assert np.array_equal(second[:, d:], start[1][:, d:])


# --------------------------------------------------------------------------------------------
# Machine code


@compiled_only
@pytest.mark.skipif("fma" not in CPU_FEATURES, reason="no fused multiply-add on this CPU")
def test_inner_loop_of_densities_is_fused_full_width_and_does_not_spill() -> None:
    d = 64
    _, packed = tile_of(d)
    logits = aligned(np.zeros(TILE_ROWS))
    triangle = triangle_of(d).ravel()[triangle_order(d)]
    code = machine_code(density, packed, triangle, 0, np.zeros(d), 0, 0.0, d, logits, 0)
    loop = innermost_loop(code, "vfmadd")
    register = {64: "zmm", 32: "ymm", 16: "xmm"}[VECTOR_BYTES]
    fused = [line for line in loop if re.match(r"vfmadd\d+pd\b", line)]
    assert len(fused) >= 4 * ROW_VECTORS  # how far a loop is unrolled depends on the CPU
    assert all(register in line for line in fused)
    assert not [line for line in loop if "(%rsp" in line and register in line]


@compiled_only
@pytest.mark.skipif("fma" not in CPU_FEATURES, reason="no fused multiply-add on this CPU")
def test_exp_is_vector_code_without_a_call() -> None:
    code = machine_code(exp_all, aligned(np.ones(64)), 64)
    register = {64: "zmm", 32: "ymm", 16: "xmm"}[VECTOR_BYTES]
    fused = [line for line in code.splitlines() if re.match(r"\s*vfmadd\d+pd\b", line)]
    assert len(fused) >= len(EXP_COEFFICIENTS)
    assert any(register in line for line in fused)
    assert not re.search(r"\bexp\b", code)
