"""Bounds of distances: of 64 rows to two centers, and of one row to all of them."""

from __future__ import annotations

import numpy as np
from numba import types

from .cpu import TILE_ROWS
from .instructions import emits, mask_of
from .language import (
    DOUBLE,
    FLOAT,
    INT32,
    INT64,
    either,
    fma,
    fma_squared,
    index,
    larger,
    loop,
    shuffle,
    smaller,
    square_root,
    where,
)
from .screens import LEAST_SCORE
from .vectors import exchanged, fold, lane_sums

# Roundings of float32, outwards, a few times over; and squares too small to tell apart.
BOUND_UP, BOUND_DOWN, LEAST_SQUARE = 1 + 4e-7, 1 - 4e-7, 1e-30
MOST_SQUARE = 1e38  # of a distance that is used as a bound
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


def _store_bounds(row, norm, best, second, error, highs, lows):
    """Bounds, float32, from squared norms and scores that are off by `error`, float64, together."""
    above = (norm + best + best).to(DOUBLE)
    above = where(above < 0.0, above.kind(0.0), above) + error
    below = (norm + second + second).to(DOUBLE) - error
    below = where(below < 0.0, below.kind(0.0), below)
    below = where(below > MOST_SQUARE, below.kind(MOST_SQUARE), below)
    highs.store(row, square_root(above.to(FLOAT)) * BOUND_UP, aligned=False)
    lows.store(row, square_root(below.to(FLOAT)) * BOUND_DOWN, aligned=False)


@emits(records="tile bounds", singles="highs lows")
def bounds_of_tile(tile, n_features, bounds, highs, lows):
    """Bounds of the distances of 64 packed rows to their two nearest centers: `highs` and `lows`.

    From the scores ``tile.best`` and ``tile.second``.  A score and a squared norm may each be off
    by some roundings of the largest term; see :mod:`.hamerly`.
    """
    size = tile.packed.lanes

    @loop(TILE_ROWS // size)
    def _(part):
        row = part * size

        @loop(n_features, tile.packed.kind(0.0))
        def norm(t, total):
            values = tile.packed.load(t * TILE_ROWS + row)
            return total + values * values

        best, second = tile.best.load(row), tile.second.load(row)
        wide = norm.to(DOUBLE)
        slack, largest = (
            wide.kind.splat(each) for each in (bounds.slack.to(DOUBLE), bounds.largest)
        )
        error = slack * (wide + largest)
        _store_bounds(row, norm, best, second, error, highs, lows)


def _keep_rounded(norms, best, second, errors, highs, lows):
    above = np.maximum((norms + best + best).astype(np.float64), 0.0) + errors
    below = np.maximum((norms + second + second).astype(np.float64) - errors, 0.0)
    highs[:] = np.sqrt(above.astype(np.float32)) * np.float32(BOUND_UP)
    below = np.minimum(below, MOST_SQUARE).astype(np.float32)
    lows[:] = np.sqrt(below) * np.float32(BOUND_DOWN)


@bounds_of_tile.twin
def _(tile, n_features, bounds, highs, lows):
    with np.errstate(over="ignore", invalid="ignore"):
        norms = (tile.packed.reshape(-1, 64)[:n_features] ** 2).sum(axis=0)
        errors = np.float64(bounds.slack) * (norms.astype(np.float64) + bounds.largest)
        _keep_rounded(norms, tile.best, tile.second, errors, highs, lows)


@emits(records="tile screen", singles="highs lows")
def bounds_of_coarse_tile(tile, screen, highs, lows):
    """As :func:`bounds_of_tile`, from scores and norms in float32; see :mod:`.screening`.

    A row whose error is not finite has bounds that settle nothing.
    """
    size = tile.packed.lanes

    @loop(TILE_ROWS // size)
    def _(part):
        row = part * size
        norm, best, second = (
            place.load(row).to(DOUBLE) for place in (tile.norms, tile.best, tile.second)
        )
        slack = norm.kind.splat(screen.slack.to(DOUBLE))
        error = slack * (norm * 4.5 + second * 4.0) + float(LEAST_SCORE)
        error = error * 2.0 + slack * norm  # of the norm, too
        infinity = error.kind(float("inf"))
        finite = error < infinity
        norm, best, second = (where(finite, each, 0.0) for each in (norm, best, second))
        _store_bounds(row, norm, best, second, where(finite, error, infinity), highs, lows)


@bounds_of_coarse_tile.twin
def _(tile, screen, highs, lows):
    norms, best, second = (each.astype(np.float64) for each in (tile.norms, tile.best, tile.second))
    slack = np.float64(screen.slack)
    with np.errstate(over="ignore", invalid="ignore"):
        errors = 2 * (slack * (4.5 * norms + 4 * second) + LEAST_SCORE) + slack * norms
        lost = ~(errors < np.inf)
        norms[lost], best[lost], second[lost], errors[lost] = 0, 0, 0, np.inf
        _keep_rounded(norms, best, second, errors, highs, lows)


@emits(singles="highs lows", records="bounds", int64s="listed", flag="dense")
def keep_bounds(highs, lows, bounds, dense, first, listed, place, filled):
    """Store the bounds of the rows of a tile: see :mod:`.labelling` for which they are.

    Of listed rows these are the first `filled`; adjacent ones begin at a whole tile.
    """
    upper, lower = bounds.upper, bounds.lower

    @either(dense)
    def _(adjacent):
        if adjacent:
            upper.store(first, highs.load(0, TILE_ROWS, aligned=False))
            lower.store(first, lows.load(0, TILE_ROWS, aligned=False))
            return

        @loop(filled)
        def _(i):
            row = listed[place + i]
            upper[row], lower[row] = highs[i], lows[i]


@keep_bounds.twin
def _(highs, lows, bounds, dense, first, listed, place, filled):
    count = 64 if dense else filled
    rows = slice(first, first + 64) if dense else listed[place : place + filled]
    bounds.upper[rows], bounds.lower[rows] = highs[:count], lows[:count]


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
