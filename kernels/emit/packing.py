"""Packing: 64 rows of X, centred, into ``[feature][row]``; and back, lines into rows."""

from __future__ import annotations

import numpy as np

from .cpu import TILE_ROWS
from .instructions import emits
from .language import DOUBLE, INT16, cases, either, either_place, loop, shuffle, when
from .vectors import transposed

LONG_ROW = 384  # bytes; from such rows on, as measured, packing reads twice
# Bytes by which rows of few features are asked for early: while changed rows are listed and moved,
# no load runs ahead.
FETCHED_AHEAD = 4096


def _pack_squares(lanes, row_start, n_features, mean, packed, adjacent):
    """Transpose squares of lanes × lanes; the last one overlaps the one before where d is ragged.

    At least as many features as lanes.  Long rows that are `adjacent` are touched first.
    """
    if adjacent:
        start = row_start(0)
        with when(n_features >= LONG_ROW // start.kind.size):
            start.touch(n_features * TILE_ROWS)

    @loop(TILE_ROWS // lanes)
    def _(group):
        first = group * lanes
        starts = [row_start(first + i) for i in range(lanes)]
        # The rows of the next group: the hardware's prefetcher does not follow so many streams.
        later = [row_start(first + (lanes + i)) for i in range(lanes)]

        def square(feature):
            shift = mean.load(feature, lanes, aligned=False)
            rows = [start.load(feature, lanes, aligned=False) - shift for start in starts]
            for t, vector in enumerate(transposed(rows)):
                column = (feature + t) * TILE_ROWS
                packed.store(column + first, vector.to(packed.kind.element))

        @loop(n_features // lanes)
        def _(i):
            feature = i * lanes
            if lanes == starts[0].lanes:
                for start in later:
                    start.prefetch(feature)
            square(feature)

        with when(n_features % lanes > 0):
            square(n_features - lanes)


def _pack_blocks(lanes, row_start, n_features, mean, packed, *, adjacent):
    """Transpose by squares of the widest vectors that the features fill; 5 features or more."""
    if lanes <= 4:
        _pack_squares(lanes, row_start, n_features, mean, packed, adjacent)
        return

    @either(n_features >= lanes)
    def _(fits):
        if fits:
            _pack_squares(lanes, row_start, n_features, mean, packed, adjacent)
        else:
            _pack_blocks(lanes // 2, row_start, n_features, mean, packed, adjacent=adjacent)


def columns_of(start, n_features, mean):
    """1 to 4 features of a vector of adjacent rows, minus `mean`: lanes picked out by shuffles."""
    size = start.lanes
    vectors = []
    for v in range(n_features):
        place = start.at(v * size)
        place.prefetch(FETCHED_AHEAD // start.kind.size)
        vectors.append(place.load(aligned=False))
    columns = []
    for t in range(n_features):
        places = [divmod(lane * n_features + t, size) for lane in range(size)]
        column = vectors[0]
        for v in range(1, n_features):
            # Lanes already gathered stay; those that live in vector v come in.
            picks = [
                size + place if vector == v else (lane if v > 1 else place)
                for lane, (vector, place) in enumerate(places)
            ]
            column = shuffle(column, vectors[v], picks)
        columns.append(column - mean.broadcast(t))
    return columns


def _pack_few(source, n_features, mean, packed):
    """1 to 4 features of 64 adjacent rows: whole vectors in, whole vectors out."""

    @loop(TILE_ROWS // source.lanes)
    def _(group):
        first = group * source.lanes
        start = source.at(first * n_features)
        for t, column in enumerate(columns_of(start, n_features, mean)):
            packed.store(first + t * TILE_ROWS, column.to(packed.kind.element))


def tile_start(X, tail, first):
    """Address of the 64 rows from `first` on: in `X`, or `tail` where `X` (n, d) ends before."""
    n_samples, n_features = X.shape
    inside = first + TILE_ROWS <= n_samples
    return either_place(inside, X.at(first * n_features), tail)


def _pack(source, n_features, mean, packed):
    """Pack the 64 adjacent rows at `source`, by the code for their number of features."""

    @cases(n_features, range(1, 5))
    def _(count):
        if count is not None:
            _pack_few(source, count, mean, packed)
            return

        def row_start(i):
            return source.at(i * n_features)

        _pack_blocks(source.lanes, row_start, n_features, mean, packed, adjacent=True)


def tile_of(X, tail, first):
    """64 rows from `first` on, of `tail` where `X` ends before; for twins."""
    return X[first : first + 64] if first + 64 <= len(X) else tail


@emits(floats="X tail mean packed")
def pack_rows(X, tail, first_row, mean, packed):
    """Write rows ``first_row … first_row + 63`` of `X`, minus `mean`, to `packed` (features, 64).

    `X` (n, d) is C-contiguous and may be read-only; where it ends before the tile does, `tail`
    (64, d) is read instead.  `packed` is aligned; it may be float32 where `X` is not.
    """
    _pack(tile_start(X, tail, first_row), X.shape[1], mean, packed)


@pack_rows.twin
def _(X, tail, first_row, mean, packed):
    n_features = X.shape[1]
    packed.reshape(-1, 64)[:n_features] = (tile_of(X, tail, first_row) - mean[:n_features]).T


@emits(floats="X mean packed", int64s="rows")
def pack_listed_rows(X, rows, first, n_features, mean, packed):
    """As :func:`pack_rows`, for the 64 rows that ``rows[first : first + 64]`` (int64) lists.

    One vector of `rows` more is read, to fetch those rows early; they need not be rows of X.
    """

    def row_start(i):
        return X.at(rows[first + i] * n_features)

    _pack_blocks(X.lanes, row_start, n_features, mean, packed, adjacent=False)


@pack_listed_rows.twin
def _(X, rows, first, n_features, mean, packed):
    listed = X[rows[first : first + 64]]
    packed.reshape(-1, 64)[:n_features] = (listed - mean[:n_features]).T


@emits(floats="X tail zeros raw", doubles="center packed")
def pack_doubles(X, tail, first_row, zeros, center, raw, packed):
    """As :func:`pack_rows`, to float64: rows minus `center` into `packed` (features, 64).

    `zeros` and `raw` are room for rows of another dtype: zeros (features,) and (features, 64) of
    the dtype of `X`.
    """
    n_features, source = X.shape[1], tile_start(X, tail, first_row)
    if X.kind.element == DOUBLE:
        _pack(source, n_features, center, packed)
        return
    _pack(source, n_features, zeros, raw)

    @loop(n_features)
    def _(t):
        shift, line = center.broadcast(t), t * TILE_ROWS
        for row in range(0, TILE_ROWS, packed.lanes):
            wide = raw.load(line + row, packed.lanes).to(DOUBLE)
            packed.store(line + row, wide - shift)


@pack_doubles.twin
def _(X, tail, first_row, zeros, center, raw, packed):
    n_features = X.shape[1]
    tile = tile_of(X, tail, first_row).astype(np.float64) - center[:n_features]
    packed.reshape(-1, 64)[:n_features] = tile.T


@emits(singles="lines", int64s="rows", uint16s="results")
def scatter_lines(lines, n_lines, rows, first, results):
    """``results[row] = column`` of `lines` (n_lines, 64) for the rows ``rows[first : first + 64]``.

    `lines` are float32, and of each number the upper half is kept: `results` (n, n_lines) is
    uint16.  The number of lines is whole vectors; a row may be listed several times at the end.
    """
    size = lines.lanes

    @loop(TILE_ROWS // size)
    def _(part):
        slot = part * size
        targets = [results.at(rows[first + slot + i] * n_lines) for i in range(size)]

        @loop(n_lines // size)
        def _(i):
            line = i * size
            square = [lines.load((line + i) * TILE_ROWS + slot) for i in range(size)]
            for vector, target in zip(transposed(square), targets, strict=True):
                halves = (vector.bits_as(lines.kind.integers) >> 16).to(INT16)
                target.store(line, halves, aligned=False)


@scatter_lines.twin
def _(lines, n_lines, rows, first, results):
    columns = np.ascontiguousarray(lines.reshape(-1, 64)[:n_lines].T)
    results[rows[first : first + 64]] = columns.view(np.uint32) >> 16
