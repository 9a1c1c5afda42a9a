"""Labelling a tile: gather its rows, find their nearest centers, settle what float32 left in doubt.

A tile is `dense` where it holds the 64 rows from `first` on.  Otherwise it holds those that
``listed[place : place + 64]`` (int64) lists, of which the last may be repeated to fill it.
"""

from __future__ import annotations

from numba import types

from .cpu import IN_REGISTERS, TILE_ROWS
from .instructions import emits, integers_of
from .language import FLOAT, INT32, Kind, either, either_place, loop, repeat, when
from .packing import pack_listed_rows, pack_rows, tile_of, tile_start
from .screens import LEAST_SCORE, doubtful_rows
from .search_in_place import FEATURE_ROWS, nearest_of_few, nearest_of_few_at, nearest_of_low
from .search_rows import (
    nearest_in_row,
    nearest_in_tile,
    nearest_of_many,
    nearest_two_in_tile,
    nearest_two_of_many,
)

FEW_FEATURES = 4  # up to here rows are gathered one number at a time


@emits(records="rows", floats="mean packed", int64s="listed", flag="dense")
def gather(rows, mean, dense, first, listed, place, packed):
    """Write the rows of a tile, minus `mean`, to `packed` (features, 64).

    One vector of `listed` behind the tile is read, to fetch those rows early.
    """
    X, n_features = rows.X, rows.X.shape[1]

    @either(dense)
    def _(adjacent):
        if adjacent:
            pack_rows.body(X, rows.tail, first, mean, packed)
            return

        @either(n_features <= FEW_FEATURES)
        def _(few):
            if not few:
                pack_listed_rows.body(X, listed, place, n_features, mean, packed)
                return

            @loop(TILE_ROWS)
            def _(i):
                row = X.at(listed[place + i] * n_features)

                @loop(n_features)
                def _(t):
                    packed[t * TILE_ROWS + i] = (row[t] - mean[t]).to(packed.kind.element)


@gather.twin
def _(rows, mean, dense, first, listed, place, packed):
    if dense:
        pack_rows.plain(rows.X, rows.tail, first, mean, packed)
    else:
        pack_listed_rows.plain(rows.X, listed, place, rows.X.shape[1], mean, packed)


def _find_two(tile, centers, bias, panels, n_features):
    """Smallest and second smallest scores of the rows of a tile."""
    nearest_two_in_tile.body(
        tile.packed, centers, bias, panels.n_wide, panels.n_narrow, n_features, tile.best,
        tile.index, tile.second,
    )  # fmt: skip


@emits(records="tile panels")
def find_two(tile, panels, n_features):
    """As :func:`nearest_two_in_tile`, for the rows in ``tile.packed``."""
    _find_two(tile, panels.packed, panels.bias, panels, n_features)


@find_two.twin
def _(tile, panels, n_features):
    _, n_wide, n_narrow, packed, bias = panels
    nearest_two_in_tile.plain(
        tile.packed, packed, bias, n_wide, n_narrow, n_features, tile.best, tile.index, tile.second
    )


@emits(types.uint64, records="tile panels screen")
def find_two_coarsely(tile, panels, screen, n_features):
    """As :func:`find_two` in float32; the mask of the rows in doubt.  Norms are written, too."""
    _find_two(tile, screen.packed, screen.bias, panels, n_features)
    slack, least = screen.slack, Kind(FLOAT)(float(LEAST_SCORE))
    return doubtful_rows.body(
        tile.packed, n_features, tile.best, tile.second, slack, least, tile.norms
    )


@find_two_coarsely.twin
def _(tile, panels, screen, n_features):
    counts, slack = (panels.n_wide, panels.n_narrow), screen.slack
    nearest_two_in_tile.plain(
        tile.packed, screen.packed, screen.bias, *counts, n_features, tile.best, tile.index,
        tile.second,
    )  # fmt: skip
    return doubtful_rows.plain(
        tile.packed, n_features, tile.best, tile.second, slack, LEAST_SCORE, tile.norms
    )


def _settle(doubt, rows, mean, row_of, panels, tile):
    X, n_features, x = rows.X, rows.X.shape[1], tile.row
    centers, counts = (panels.packed, panels.bias), (panels.n_wide, panels.n_narrow)
    numbers = tile.index.integers()

    with when(doubt != 0):

        @repeat(doubt)
        def _(left):
            bit = left.lowest_one()
            row = X.at(row_of(bit) * n_features)

            @loop(n_features)
            def _(t):
                x[t] = row[t] - mean[t]

            winner = nearest_in_row.body(x, *centers, *counts, n_features)
            numbers[bit] = winner.to(INT32)
            tile.second[bit] = tile.best[bit]
            left = left & (left - 1)
            return left, left != 0

    return doubt.ones()


def _settle_plainly(doubt, rows, mean, row_of, panels, tile):
    X, n_features = rows.X, rows.X.shape[1]
    _, n_wide, n_narrow, packed, bias = panels
    bits = [bit for bit in range(64) if int(doubt) >> bit & 1]
    for bit in bits:
        x = X[row_of(bit)] - mean[:n_features]
        winner = nearest_in_row.plain(x, packed, bias, n_wide, n_narrow, n_features)
        integers_of(tile.index)[bit] = winner
        tile.second[bit] = tile.best[bit]
    return len(bits)


@emits(types.intp, mask="doubt", records="rows panels tile", floats="mean")
def settle_doubt(doubt, rows, mean, first, panels, tile):
    """Find the nearest centers of the rows of a float32 `tile` that the bits of `doubt` stand for.

    As the tile in the type of the rows would; `panels` are the centers in that type.  The tile
    holds the rows from `first` on.  Numbers go to ``tile.index``; a second score is set to the
    best: no center is nearer than the nearest.  Returns the number of rows.
    """
    return _settle(doubt, rows, mean, lambda bit: first + bit, panels, tile)


@settle_doubt.twin
def _(doubt, rows, mean, first, panels, tile):
    return _settle_plainly(doubt, rows, mean, lambda bit: first + bit, panels, tile)


@emits(
    types.intp, mask="doubt", records="rows panels tile", floats="mean", int64s="listed",
    flag="dense",
)  # fmt: skip
def settle_doubt_among(doubt, rows, mean, dense, first, listed, place, panels, tile):
    """As :func:`settle_doubt`, for a tile of adjacent or of listed rows."""

    def row_of(bit):
        return either(dense)(lambda adjacent: first + bit if adjacent else listed[place + bit])

    return _settle(doubt, rows, mean, row_of, panels, tile)


@settle_doubt_among.twin
def _(doubt, rows, mean, dense, first, listed, place, panels, tile):
    def row_of(bit):
        return first + bit if dense else listed[place + bit]

    return _settle_plainly(doubt, rows, mean, row_of, panels, tile)


def _search_in_place(source, n_features, mean, panels, tile):
    """Nearest centers of the 64 rows that are there, by the tile by features."""

    @loop(TILE_ROWS // FEATURE_ROWS)
    def _(part):
        nearest_of_few_at(
            source, n_features, mean, panels.packed, panels.bias, (panels.n_wide, panels.n_narrow),
            tile.best, tile.index, part * FEATURE_ROWS,
        )  # fmt: skip


@emits(records="rows panels tile", floats="mean gathered", int64s="listed", flag="dense")
def nearest_in_place(rows, mean, dense, first, listed, place, panels, gathered, tile):
    """Nearest center of the rows of a tile, by `panels` that are packed by features.

    The tile that Lloyd's algorithm has there: ``tile.best`` and ``tile.index`` are written.  Listed
    rows are copied to `gathered` (64, features).
    """
    X, n_features = rows.X, rows.X.shape[1]

    @either(dense)
    def _(adjacent):
        if adjacent:
            return

        @loop(TILE_ROWS)
        def _(i):
            row, copy = X.at(listed[place + i] * n_features), gathered.at(i * n_features)

            @loop(n_features)
            def _(t):
                copy[t] = row[t]

    source = either_place(dense, tile_start(X, rows.tail, first), gathered)
    _search_in_place(source, n_features, mean, panels, tile)


def _plain_in_place(chosen, mean, panels, tile):
    _, n_wide, n_narrow, packed, bias = panels
    for row in range(0, 64, FEATURE_ROWS):
        nearest_of_few.plain(
            chosen, chosen, 0, mean, packed, bias, n_wide, n_narrow, tile.best, tile.index, row
        )


@nearest_in_place.twin
def _(rows, mean, dense, first, listed, place, panels, gathered, tile):
    chosen = tile_of(rows.X, rows.tail, first) if dense else rows.X[listed[place : place + 64]]
    _plain_in_place(chosen, mean, panels, tile)


# --------------------------------------------------------------------------------------------
# Lloyd's tile, which needs no second score


@emits(records="rows panels screen tile", floats="mean")
def find_nearest(rows, mean, first, panels, screen, tile):
    """Nearest center of each row from `first` on, by the fastest tile: ``tile.index``.

    Where there is a `screen`, the code for features that stay in registers is left out:
    :func:`find_nearest_coarsely` has it.
    """
    X, n_features = rows.X, rows.X.shape[1]
    counts = panels.n_wide, panels.n_narrow

    def by_rows():
        pack_rows.body(X, rows.tail, first, mean, tile.packed)
        nearest_of_many.body(
            tile.packed, panels.packed, panels.bias, *counts, n_features, tile.best, tile.index
        )

    @either(panels.by_features)
    def _(by_features):
        if by_features:
            source = tile_start(X, rows.tail, first)
            _search_in_place(source, n_features, mean, panels, tile)
            return
        if screen is not None:
            by_rows()
            return

        @either(n_features <= IN_REGISTERS)
        def _(low):
            if low:
                packed = panels.packed, panels.bias
                nearest_of_low.body(
                    X, rows.tail, first, mean, *packed, *counts, tile.index, None, None
                )
            else:
                by_rows()


@find_nearest.twin
def _(rows, mean, first, panels, screen, tile):
    by_features, n_wide, n_narrow, packed, bias = panels
    if by_features:
        _plain_in_place(tile_of(rows.X, rows.tail, first), mean, panels, tile)
        return
    pack_rows.plain(rows.X, rows.tail, first, mean, tile.packed)
    nearest_in_tile.plain(
        tile.packed, packed, bias, n_wide, n_narrow, rows.X.shape[1], tile.best, tile.index
    )


@emits(types.uint64, records="rows panels screen tile", floats="mean")
def find_nearest_coarsely(rows, mean, first, panels, screen, tile):
    """As :func:`find_nearest` by rows in float32; the mask of the rows in doubt."""
    X, n_features = rows.X, rows.X.shape[1]
    packed, counts = (screen.packed, screen.bias), (panels.n_wide, panels.n_narrow)
    limits = screen.slack, Kind(FLOAT)(float(LEAST_SCORE))

    @either(n_features <= IN_REGISTERS)
    def doubt(low):
        if low:
            return nearest_of_low.body(
                X, rows.tail, first, mean, *packed, *counts, tile.index, *limits
            )
        pack_rows.body(X, rows.tail, first, mean, tile.packed)
        nearest_two_of_many.body(
            tile.packed, *packed, *counts, n_features, tile.best, tile.index, tile.second
        )
        return doubtful_rows.body(
            tile.packed, n_features, tile.best, tile.second, *limits, tile.norms
        )

    return doubt


@find_nearest_coarsely.twin
def _(rows, mean, first, panels, screen, tile):
    pack_rows.plain(rows.X, rows.tail, first, mean, tile.packed)
    return find_two_coarsely.plain(tile, panels, screen, rows.X.shape[1])
