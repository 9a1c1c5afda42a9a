"""Densities of Gaussian mixtures, 64 rows at a time.

Everything of mixtures is float64, whatever the dtype of X.  Quantities of components are
``[component][row]``.

triangle
    An upper triangular matrix U for ``y = x U``: its columns in groups of 6, each group
    ``[row][column]`` down to the diagonal, and the ragged rest of the columns as a last group; see
    :func:`triangle_order`.
panels
    Means ``[group][feature][component]``, or scales and shifts ``[group][feature][2][component]``,
    in the groups of 6 and 4 of :func:`.cpu.center_groups`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .cpu import ROW_VECTORS, TILE_ROWS, WIDE
from .instructions import emits
from .language import INT64, fma, fma_squared, index, loop
from .tiles_of_rows import fill, over_groups, over_row_parts, over_tile, row_vectors, store_all
from .vectors import crossed

# Features of a tile that stay in the first-level cache while all components pass over them.
NEAR_FEATURES = 16


def triangle_order(n_features: int) -> np.ndarray[Any, Any]:
    """Places, in a flattened upper triangular matrix, of the elements of the triangle layout."""
    groups = []
    for first in range(0, n_features, WIDE):
        columns = np.arange(first, min(first + WIDE, n_features))
        depth = columns[-1] + 1
        groups.append((np.arange(depth)[:, None] * n_features + columns).ravel())
    return np.concatenate(groups)


# --------------------------------------------------------------------------------------------
# Triangular products: densities of full covariances, whitening for tied ones


def _over_triangle(packed, triangle, n_features, start, epilogue):
    """``y = start + x U`` for 64 rows, a group of columns at a time.

    `epilogue` receives the first row, the first column and ``[column][vector]``.  Nothing else is
    kept in registers from group to group: there is no room.
    """
    n_full, ragged = n_features // WIDE, n_features % WIDE

    def part(row):
        own = packed.at(row)

        def columns(width, first, depth, place):
            panel = triangle.at(place)

            @loop(depth, [[start(first + j)] * ROW_VECTORS for j in range(width)])
            def sums(t, sums):
                vectors, line = row_vectors(own.at(t * TILE_ROWS)), panel.at(t * width)
                return crossed(fma, vectors, map(line.broadcast, range(width)), sums)

            epilogue(row, first, sums)
            return place + depth * width

        @loop(n_full, index(0))
        def place(group, place):
            first = group * WIDE
            return columns(WIDE, first, first + WIDE, place)

        first = n_full * WIDE
        for width in range(1, WIDE):

            @loop((ragged == width).to(INT64, signed=False), place)
            def place(_, place):
                return columns(width, first, n_features, place)

    over_row_parts(packed.kind, part)


def _times_triangle(packed, triangles, place, n_features):
    """``x U`` (features, 64) for packed rows, U in the triangle layout from `place` on."""
    order = triangle_order(n_features)
    square = np.zeros(n_features * n_features)
    square[order] = triangles[place : place + len(order)]
    rows = packed.reshape(-1, 64)[:n_features]
    return square.reshape(n_features, n_features).T @ rows


@emits(doubles="packed triangles shifts logits", double="constant")
def log_density_in_tile(
    packed, triangles, place, shifts, first_shift, constant, n_features, logits, first_logit
):
    """``constant - |x U + shift|²/2`` of 64 packed rows into ``logits[first_logit : + 64]``.

    U lies in `triangles` from `place` on; the shift is ``shifts[first_shift : + n_features]``.
    """
    own, shifts = logits.at(first_logit), shifts.at(first_shift)
    fill(own, own.kind.splat(constant))

    def epilogue(row, column, sums):
        for v in range(ROW_VECTORS):
            here = row + v * own.lanes
            logit = own.load(here)
            for values in sums:
                logit = fma(values[v] * -0.5, values[v], logit)
            own.store(here, logit)

    _over_triangle(packed, triangles.at(place), n_features, shifts.broadcast, epilogue)


@log_density_in_tile.twin
def _(packed, triangles, place, shifts, first_shift, constant, n_features, logits, first_logit):
    shift = shifts[first_shift : first_shift + n_features, None]
    y = _times_triangle(packed, triangles, place, n_features) + shift
    logits.reshape(-1)[first_logit : first_logit + 64] = constant - 0.5 * (y * y).sum(axis=0)


@emits(doubles="packed triangle white")
def whiten_in_tile(packed, triangle, n_features, white):
    """``x U`` of 64 packed rows into `white` (features, 64)."""
    zero = packed.kind(0.0)
    _over_triangle(packed, triangle, n_features, lambda _: zero, store_all(white))


@whiten_in_tile.twin
def _(packed, triangle, n_features, white):
    result = _times_triangle(packed, triangle, 0, n_features)
    white.reshape(-1, 64)[:n_features] = result


# --------------------------------------------------------------------------------------------
# Axis-parallel densities, and round ones


def _grouped(panels, n_wide, n_narrow, n_features, depth):
    """Numbers (padded components, features, depth) out of their groups."""
    split = n_wide * 6 * n_features * depth
    parts = []
    for flat, width in ((panels[:split], 6), (panels[split:], 4)):
        groups = flat.reshape(-1, n_features, depth, width).transpose(0, 3, 1, 2)
        parts.append(groups.reshape(-1, n_features, depth))
    return np.concatenate(parts)


@emits(doubles="packed panels constants logits")
def scaled_log_densities(packed, panels, n_wide, n_narrow, constants, n_features, logits):
    """``constant - sum((x · scale + shift)²)/2`` for all components: `logits` (padded k, 64)."""
    zero = packed.kind(0.0)

    def step(x, scale_and_shift, total):
        return fma_squared(fma(x, *scale_and_shift), total)

    def group(width, panel, first, _):
        def part(row):
            own = packed.at(row)

            @loop(n_features, [[zero] * ROW_VECTORS] * width)
            def squares(t, squares):
                vectors, line = row_vectors(own.at(t * TILE_ROWS)), panel.at(t * (2 * width))
                values = ((line.broadcast(j), line.broadcast(width + j)) for j in range(width))
                return crossed(step, vectors, values, squares)

            for j in range(width):
                component = first + j
                constant, line = constants.broadcast(component), component * TILE_ROWS
                for v, square in enumerate(squares[j]):
                    logits.store(line + row + v * logits.lanes, fma(square, -0.5, constant))

        over_row_parts(packed.kind, part)
        return ()

    # A component has two numbers for each feature.
    over_groups(panels, (n_wide, n_narrow), n_features * 2, group)


@scaled_log_densities.twin
def _(packed, panels, n_wide, n_narrow, constants, n_features, logits):
    both = _grouped(panels, n_wide, n_narrow, n_features, 2)
    rows = packed.reshape(-1, 64)[None, :n_features]
    y = rows * both[:, :, :1] + both[:, :, 1:]
    n_padded = len(both)
    logits.reshape(-1, 64)[:n_padded] = constants[:n_padded, None] - 0.5 * (y * y).sum(axis=1)


@emits(doubles="packed panels halves constants squares logits")
def round_log_densities(
    packed, panels, n_wide, n_narrow, halves, constants, n_features, squares, logits
):
    """``constant + half · |x - mean|²`` for all components: `logits` (padded k, 64).

    `squares` (padded k, 64) receives the squared distances.  A subtraction and a multiply-add for
    each number: CPUs that add beside multiplying need half the time of two multiply-adds.
    """

    def epilogue(row, first, sums):
        for j, values in enumerate(sums):
            component = first + j
            half, constant = halves.broadcast(component), constants.broadcast(component)
            line = component * TILE_ROWS
            for v, square in enumerate(values):
                place = line + (row + v * logits.lanes)
                squares.store(place, square)
                logits.store(place, fma(square, half, constant))

    def step(x, mean, total):
        return fma_squared(x - mean, total)

    zero = packed.kind(0.0)
    counts = n_wide, n_narrow
    over_tile(packed, panels, counts, n_features, lambda _: zero, step, epilogue)


@round_log_densities.twin
def _(packed, panels, n_wide, n_narrow, halves, constants, n_features, squares, logits):
    means = _grouped(panels, n_wide, n_narrow, n_features, 1)
    n_padded = len(means)
    z = packed.reshape(-1, 64)[None, :n_features] - means
    found = (z * z).sum(axis=1)
    squares.reshape(-1, 64)[:n_padded] = found
    values = constants[:n_padded, None] + halves[:n_padded, None] * found
    logits.reshape(-1, 64)[:n_padded] = values
