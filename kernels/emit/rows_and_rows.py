"""Rows against rows, tile by tile; and rows in place against a panel of centers."""

from __future__ import annotations

import numpy as np

from .cpu import NARROW, ROW_VECTORS, TILE_ROWS, VECTOR_BYTES, part_rows
from .instructions import emits
from .language import DOUBLE, fma, fma_squared, larger, loop, loop_with_rest, where
from .tiles_of_rows import over_row_parts, row_vectors
from .vectors import crossed

PANEL_VECTORS, PANEL_ROWS = 3, 3  # accumulators: what 16 registers hold beside the operands
PANEL = PANEL_VECTORS * VECTOR_BYTES // 8  # centers


def _meet(rows, others, n_features, count, results, step):
    """Add ``step(row vector, other row, so far)`` over all features to the results, [other][row].

    A part of the rows, which stays in the first-level cache, meets four of the others at a time:
    the first `count`, or, where that is 0, those of its own tile up to the end of its part.
    """
    size = ROW_VECTORS * rows.lanes
    own_tile, count = count == 0, count + (NARROW - 1)

    def part(first):
        own = rows.at(first * n_features)

        limit = where(own_tile, first + size, count)

        @loop(limit // NARROW)
        def _(group):
            other = group * NARROW
            inside = other & (size - 1)
            theirs = others.at((other - inside) * n_features + inside)
            places = [
                [
                    results.at((other + j) * TILE_ROWS + first + v * rows.lanes)
                    for v in range(ROW_VECTORS)
                ]
                for j in range(NARROW)
            ]

            @loop(n_features, [[place.load() for place in line] for line in places])
            def totals(t, totals):
                place = t * size
                vectors = row_vectors(own, place)
                values = (theirs.broadcast(place + j) for j in range(NARROW))
                return crossed(step, vectors, values, totals)

            for line, values in zip(places, totals, strict=True):
                for place, total in zip(line, values, strict=True):
                    place.store(0, total)

    over_row_parts(rows.kind, part)


def _rows_of(tile, n_features):
    """Rows (64, features) of a tile that lies in parts."""
    parts = tile[: 64 * n_features].reshape(-1, n_features, part_rows(tile.dtype))
    return parts.transpose(0, 2, 1).reshape(64, n_features)


@emits(floats="rows others results")
def add_products(rows, others, n_features, count, results):
    """Add the products of 64 rows with the first `count` others to `results`, [other][row].

    A `count` of 0 is for a tile that meets itself: each part of its rows meets those up to its
    end.  Tiles lie in parts, ``[part][feature][row]``; see :func:`.cpu.part_rows`.
    """
    _meet(rows, others, n_features, count, results, fma)


@add_products.twin
def _(rows, others, n_features, count, results):
    count = count or 64
    products = _rows_of(others, n_features)[:count] @ _rows_of(rows, n_features).T
    results.reshape(-1, 64)[:count] += products


@emits(floats="rows others results")
def add_differences(rows, others, n_features, count, results):
    """As :func:`add_products`, for squared distances."""

    def step(row, other, total):
        return fma_squared(row - other, total)

    _meet(rows, others, n_features, count, results, step)


@add_differences.twin
def _(rows, others, n_features, count, results):
    count = count or 64
    difference = _rows_of(others, n_features)[:count, None] - _rows_of(rows, n_features)
    results.reshape(-1, 64)[:count] += (difference * difference).sum(axis=2)


@emits(floats="rows others results")
def add_absolutes(rows, others, n_features, count, results):
    """As :func:`add_products`, for sums of absolute differences."""

    def step(row, other, total):
        return total + larger(row - other, other - row)

    _meet(rows, others, n_features, count, results, step)


@add_absolutes.twin
def _(rows, others, n_features, count, results):
    count = count or 64
    difference = _rows_of(others, n_features)[:count, None] - _rows_of(rows, n_features)
    results.reshape(-1, 64)[:count] += abs(difference).sum(axis=2)


@emits(floats="X panels squares")
def squares_to_panel(X, first, count, panels, place, squares):
    """Squared distances of `count` rows of `X` from `first` on to the :data:`PANEL` centers of one.

    `X` (n, d) is C-contiguous, of either dtype; the panel is the negated centers
    ``[feature][center]`` from ``panels[place]`` on and ``squares[row * PANEL + center]`` is
    written: float64, aligned.  A distance is the same bits whichever rows come with its own.
    """
    n_features, panel = X.shape[1], panels.at(place)
    zero = panel.kind(0.0)
    columns = [v * panel.lanes for v in range(PANEL_VECTORS)]

    def step(center, value, total):
        return fma_squared(value + center, total)

    @loop_with_rest(count, (PANEL_ROWS, 1))
    def _(row, together):
        numbers = [row + r for r in range(together)]
        starts = [X.at((first + number) * n_features) for number in numbers]

        @loop(n_features, [[zero] * PANEL_VECTORS] * together)
        def sums(t, sums):
            line = panel.at(t * PANEL)
            centers = [line.load(column) for column in columns]
            values = (panel.kind.splat(start[t].to(DOUBLE)) for start in starts)
            return crossed(step, centers, values, sums)

        for number, totals in zip(numbers, sums, strict=True):
            for column, total in zip(columns, totals, strict=True):
                squares.store(number * PANEL + column, total)


@squares_to_panel.twin
def _(X, first, count, panels, place, squares):
    n_features = X.shape[1]
    negated = panels[place : place + n_features * PANEL].reshape(n_features, PANEL)
    differences = X[first : first + count, :, None].astype(np.float64) + negated
    # Added feature by feature, as a lane does.
    total = np.zeros((count, PANEL))
    for t in range(n_features):
        total += differences[:, t] ** 2
    squares[: count * PANEL] = total.reshape(-1)
