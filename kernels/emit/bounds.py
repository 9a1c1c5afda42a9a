"""Bounds of distances: of 64 rows to two centers, and of one row to all of them."""

from __future__ import annotations

import numpy as np
from numba import types

from .cpu import TILE_ROWS
from .instructions import emits, mask_of
from .language import INT32, INT64, fma, fma_squared, index, larger, loop, shuffle, smaller, where
from .vectors import exchanged, fold, lane_sums

# Roundings of float32, outwards, a few times over; and squares too small to tell apart.
BOUND_UP, BOUND_DOWN, LEAST_SQUARE = 1 + 4e-7, 1 - 4e-7, 1e-30
BOUND_LANES = 32  # bounds that are looked at together; their number is padded to this


def _fields(table, labels):
    """Four vectors: the fields of ``table[label]`` (k, 4) for the labels of one vector of rows.

    One load of four floats a row and a transposition: a fourth of the work of four gathers.
    """

    def fields(row):
        # Rows after the last have no label, but need an address.
        label = labels[row].to(INT64)
        return table.load(where(label < 0, label.kind(0), label) * 4, 4)

    def joined(parts):
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [shuffle(a, b, range(2 * a.kind.lanes)) for a, b in pairs]
        return parts[0]

    # Line i holds rows i, i + 4, i + 8 …, so that each quarter is a 4 × 4 matrix to transpose.
    lines = [joined([fields(row) for row in range(i, table.lanes, 4)]) for i in range(4)]
    return exchanged(exchanged(lines, 2), 1)


@emits(types.uint64, int32s="labels", singles="upper lower table", single="slack reach")
def unsettled_rows(labels, first, upper, lower, table, slack, reach):
    """Move the bounds of rows ``first … first + 63``; the mask of those that they do not settle.

    `upper` and `lower`, aligned, bound the distances to the row's own center and to all others;
    ``table[label]`` (k, 4) says how far the own center has moved, how far the lower bound falls,
    half the distance to the nearest other center, and the distance of the nearest center that the
    fall leaves out.  All float32.  See :mod:`.hamerly` for `slack` and `reach`.
    """
    slacks, reaches = upper.kind.splat(slack), upper.kind.splat(reach)

    @loop(TILE_ROWS // upper.lanes, index(0))
    def mask(part, mask):
        offset = part * upper.lanes
        row = first + offset
        drift, fall, near, far = _fields(table, labels.at(row))
        u = (upper.load(row) + drift) * BOUND_UP
        upper.store(row, u)
        fallen = lower.load(row) - fall
        lowered = larger(smaller(far - u, fallen), 0.0) * BOUND_DOWN
        lower.store(row, lowered)
        best, wall = larger(lowered, near), u + reaches
        limit = fma(u, u, slacks * (wall * wall)) * BOUND_UP + LEAST_SQUARE
        settled = best * best * BOUND_DOWN > limit
        return mask | (~settled).mask() << offset

    return mask


@unsettled_rows.twin
def _(labels, first, upper, lower, table, slack, reach):
    up, down = np.float32(BOUND_UP), np.float32(BOUND_DOWN)
    rows = slice(first, first + 64)
    drift, fall, near, far = table[np.maximum(labels[rows], 0)].T
    upper[rows] = u = (upper[rows] + drift) * up
    lower[rows] = lowered = (
        np.maximum(np.minimum(far - u, lower[rows] - fall), np.float32(0)) * down
    )
    best, wall = np.maximum(lowered, near), u + np.float32(reach)
    with np.errstate(over="ignore"):
        limit = (u * u + np.float32(slack) * (wall * wall)) * up + np.float32(LEAST_SQUARE)
        settled = best * best * down > limit
    return mask_of(~settled)


@emits(types.float32, uint16s="bounds", singles="fallen", single="wall", uint64s="masks")
def near_centers(bounds, row, ahead, fallen, since, wall, masks):
    """Find the centers with ``bounds[row] - fallen[since] <= wall``.

    `bounds` (n, m) are the upper halves of float32 numbers, `fallen` (rounds, m) is float32, and m
    a multiple of BOUND_LANES; ``bounds[ahead]`` is fetched for a later call.  `masks` (m / 64,
    rounded up), uint64, receives a bit for each center; the smallest of the other bounds is
    returned.
    """
    n_bounds = fallen.shape[1]
    start, later = (bounds.in_lanes(BOUND_LANES).at(r * n_bounds) for r in (row, ahead))
    falls = fallen.in_lanes(BOUND_LANES).at(since * n_bounds)
    pieces = masks.cast(INT32)
    kind = falls.kind
    walls, infinity = kind.splat(wall), kind(float("inf"))

    @loop(n_bounds // BOUND_LANES, infinity)
    def least(part, least):
        center = part * BOUND_LANES
        later.prefetch(center)
        bits = start.load(center, aligned=False).to(INT32, signed=False)
        bound = (bits << 16).bits_as(kind) - falls.load(center, aligned=False)
        near = ~(bound > walls)
        pieces[part] = near.mask().to(INT32)
        return smaller(where(near, infinity, bound), least)

    return fold(least, lambda low, high: smaller(high, low))


@near_centers.twin
def _(bounds, row, ahead, fallen, since, wall, masks):
    found = (bounds[row].astype(np.uint32) << 16).view(np.float32) - fallen[since]
    near = ~(found > wall)
    masks[:] = 0
    for center in np.flatnonzero(near):
        masks[center // 64] |= np.uint64(1 << int(center % 64))
    return np.where(near, np.float32(np.inf), found).min()


@emits(floats="x centers squares", int64s="near")
def squares_to_four(x, centers, near, place, squares):
    """``squares[place + i]`` is the squared distance of `x` to ``centers[near[place + i]]``, i < 4.

    `x` (d,) and `centers` (k, d), aligned, are whole vectors; sums of squared differences.
    """
    n_features = centers.shape[1]
    starts = [centers.at(near[place + i] * n_features) for i in range(4)]

    @loop(n_features // x.lanes, [x.kind(0.0)] * 4)
    def sums(part, sums):
        feature = part * x.lanes
        row = x.load(feature)
        return [
            fma_squared(row - start.load(feature), total)
            for start, total in zip(starts, sums, strict=True)
        ]

    squares.store(place, lane_sums(sums), aligned=False)


@squares_to_four.twin
def _(x, centers, near, place, squares):
    four = slice(place, place + 4)
    squares[four] = ((x - centers[near[four]]) ** 2).sum(axis=1)
