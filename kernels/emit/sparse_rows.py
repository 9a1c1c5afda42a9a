"""Sparse rows: one row against a table of columns, lanes over columns."""

from __future__ import annotations

import numpy as np
from numba import types

from .instructions import emits
from .language import INT64, call, cases, fma, loop, where

MAX_VECTORS = 8  # accumulators of one sweep over the entries of a row


def _sweeps(row, table, n_vectors, start, epilogue):
    """Sum ``value * table[column]`` over the entries of a row, up to 8 vectors of a sum at a time.

    `start` gives the vector that the sum of an offset begins with, `epilogue` receives the first
    offset and the sums of a sweep.
    """
    values, columns, first, last = row
    kind = table.kind
    stride = n_vectors * kind.lanes
    count = last - first

    def sweep(offset, width):
        places = [offset + v * kind.lanes for v in range(width)]

        @loop(count, [start(place) for place in places])
        def sums(i, sums):
            place = first + i
            factor = kind.splat(values[place].to(kind.element))
            line = table.at(columns[place].to(INT64) * stride)
            return [
                fma(factor, line.load(spot), total)
                for spot, total in zip(places, sums, strict=True)
            ]

        epilogue(offset, sums)

    step = MAX_VECTORS * kind.lanes
    n_full = n_vectors // MAX_VECTORS
    loop(n_full)(lambda i: sweep(i * step, MAX_VECTORS))
    offset = n_full * step

    @cases(n_vectors % MAX_VECTORS, range(1, MAX_VECTORS))
    def _(width):
        if width is not None:
            sweep(offset, width)


@emits(types.intp, floats="values table bias best numbers", indices="columns")
def nearest_of_sparse(values, columns, first, last, table, bias, n_vectors, best, numbers):
    """Nearest center of the sparse row whose entries are ``values[first:last]``; returns it.

    `table` (features, centers padded to `n_vectors` vectors) holds the negated centers, `bias`
    (padded centers,) ``|c|²/2``, +inf for padding; `best` and `numbers` (lanes,) are scratch.  All
    of the dtype of `values`; the last four are aligned, `columns` is int32 or int64.
    """
    kind, numbers = table.kind, numbers.integers()
    own = kind.integers(range(kind.lanes))
    best.store(0, kind(float("inf")))
    numbers.store(0, own)

    def keep_smallest(offset, sums):
        least, winner = best.load(), numbers.load()
        here = own + kind.splat(offset.to(kind.integers.element))
        for v, score in enumerate(sums):
            less = score < least
            least = where(less, score, least)
            winner = where(less, here + v * kind.lanes, winner)
        best.store(0, least)
        numbers.store(0, winner)

    _sweeps((values, columns, first, last), table, n_vectors, bias.load, keep_smallest)
    scores, winners = best.load(), numbers.load()
    least = call(f"llvm.vector.reduce.fmin.{kind.name}", kind.element, scores)
    none = 2 ** (8 * kind.size - 1) - 1
    lowest = where(scores == kind.splat(least), winners, none)
    whole = kind.integers
    winner = call(f"llvm.vector.reduce.umin.{whole.name}", whole.element, lowest)
    return winner.to(INT64, signed=False)


@nearest_of_sparse.twin
def _(values, columns, first, last, table, bias, n_vectors, best, numbers):
    scores = bias.copy()
    lines = table.reshape(-1, len(bias))
    for value, column in zip(values[first:last], columns[first:last], strict=True):
        scores += value * lines[column]
    return int(scores.argmin())


@emits(floats="values", doubles="table out", indices="columns")
def sparse_products(values, columns, first, last, table, n_vectors, out):
    """Products of the sparse row ``values[first:last]`` with the columns of a float64 `table`.

    `table` is (features, columns padded to `n_vectors` vectors) and ``out[:padded]`` written; both
    are aligned.
    """
    kind = table.kind

    def keep(offset, sums):
        for v, total in enumerate(sums):
            out.store(offset + v * kind.lanes, total)

    row = values, columns, first, last
    _sweeps(row, table, n_vectors, lambda _: kind(0.0), keep)


@sparse_products.twin
def _(values, columns, first, last, table, n_vectors, out):
    out[:] = 0
    lines = table.reshape(-1, len(out))
    for value, column in zip(values[first:last], columns[first:last], strict=True):
        out += np.float64(value) * lines[column]  # in the order of the entries, as a lane does


@emits(types.float64, double="a b c")
def multiply_add(a, b, c):
    """``a * b + c`` in float64, rounded as a lane of :func:`sparse_products` rounds it."""
    return fma(a, b, c)


@multiply_add.twin
def _(a, b, c):
    return a * b + c
