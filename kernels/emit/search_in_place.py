"""The nearest center of rows that are read in place: those of very few features, and of many.

With up to `IN_REGISTERS` features lanes are rows, which stay in registers.  With many features and
few centers lanes are features, and centers are packed ``[group][chunk of lanes][center][lane]``.
"""

from __future__ import annotations

import numpy as np
from numba import types

from .cpu import IN_REGISTERS, MANY_REGISTERS, ROW_VECTORS, TILE_ROWS, lanes, round_up
from .instructions import emits, integers_of
from .language import Kind, cases, fma, index, loop, reduced_sum, shuffle, where
from .packing import columns_of, pack_rows, tile_of, tile_start
from .screens import doubtful_rows, is_sure
from .search_rows import nearest_in_tile, nearest_two_in_tile
from .tiles_of_rows import low_search, over_groups
from .vectors import crossed

FEATURE_ROWS = 4 if MANY_REGISTERS else 2


def _low_rows(kind, start, n_features, mean):
    """Features ``[feature][v]`` of ROW_VECTORS vectors of rows, rounded to what `kind` has."""
    vectors = [[] for _ in range(n_features)]
    for v in range(ROW_VECTORS):
        first = v * kind.lanes
        pieces = [
            columns_of(start.at(row * n_features), n_features, mean)
            for row in range(first, first + kind.lanes, start.lanes)
        ]
        for t in range(n_features):
            column = pieces[0][t]
            if len(pieces) > 1:  # of twice the width
                column = shuffle(column, pieces[1][t], range(kind.lanes))
            vectors[t].append(column.to(kind.element))
    return vectors


@emits(types.uint64, floats="X tail mean centers bias numbers", real="slack least")
def nearest_of_low(
    X, tail, first_row, mean, centers, bias, n_wide, n_narrow, numbers, slack, least
):
    """Nearest center of rows ``first_row … first_row + 63``, of up to `IN_REGISTERS` features.

    What :func:`pack_rows` and :func:`nearest_in_tile` do, without a packed tile in between.  Where
    `centers`, `bias` and `numbers` are float32 and `X` is not, they do as :func:`doubtful_rows`
    does: the mask of the rows in doubt is returned, which otherwise is zero.
    """
    source = tile_start(X, tail, first_row)
    kind, numbers = centers.kind, numbers.integers()
    screened = kind.element != X.kind.element
    size = ROW_VECTORS * kind.lanes

    @cases(X.shape[1], range(1, IN_REGISTERS + 1))
    def doubt(n_features):
        if n_features is None:
            return index(0)

        @loop(TILE_ROWS // size, index(0))
        def doubt(part, doubt):
            row = part * size
            rows = _low_rows(kind, source.at(row * n_features), n_features, mean)
            found = low_search(rows, centers, bias, (n_wide, n_narrow), two=screened)
            for v in range(ROW_VECTORS):
                here = row + v * kind.lanes
                numbers.store(here, found[1][v])
                if screened:
                    norm = kind(0.0)
                    for column in rows:
                        norm = fma(column[v], column[v], norm)
                    sure = is_sure(norm, found[0][v], found[2][v], slack, least)
                    doubt = doubt | (~sure).mask() << here
            return doubt

        return doubt

    return doubt


@nearest_of_low.twin
def _(X, tail, first_row, mean, centers, bias, n_wide, n_narrow, numbers, slack, least):
    n_features = X.shape[1]
    packed = np.empty((n_features, 64), centers.dtype)
    best, second, norms = np.empty((3, 64), centers.dtype)
    pack_rows.plain(X, tail, first_row, mean, packed)
    arguments = packed, centers, bias, n_wide, n_narrow, n_features, best, numbers
    if centers.dtype == X.dtype:
        nearest_in_tile.plain(*arguments)
        return np.uint64(0)
    nearest_two_in_tile.plain(*arguments, second)
    return doubtful_rows.plain(packed, n_features, best, second, slack, least, norms)


def _feature_sums(source, panel, width, n_features, mean):
    """Scalars ``sum_t (x_t - mean_t) * (-c_t)``, ``[row][center]``, for one group of centers."""
    size = source.lanes

    def step(feature, load, sums):
        shift = mean.load(feature)
        chunk = panel.at(feature * width)
        rows = []
        for r in range(FEATURE_ROWS):
            row = source.at(n_features * r + feature)
            # The hardware's prefetcher loses the short streams of single rows.
            row.prefetch(n_features * (2 * FEATURE_ROWS))
            rows.append(load(row) - shift)
        return crossed(fma, rows, (chunk.load(j * size) for j in range(width)), sums)

    n_full = n_features // size

    @loop(n_full, [[source.kind(0.0)] * FEATURE_ROWS] * width)
    def sums(i, sums):
        return step(i * size, lambda row: row.load(aligned=False), sums)

    done = n_full * size
    rest = n_features - done

    @loop(where(rest > 0, index(1), 0), sums)
    def sums(_, sums):
        return step(done, lambda row: row.first_of(rest), sums)

    return [[reduced_sum(sums[j][r]) for j in range(width)] for r in range(FEATURE_ROWS)]


def nearest_of_few_at(tile, n_features, mean, centers, bias, counts, best, numbers, slot):
    """What :func:`nearest_of_few` does with rows `slot` and following of the tile that is there."""
    source = tile.at(slot * n_features)
    padded = (n_features + (source.lanes - 1)) // source.lanes * source.lanes
    numbers = numbers.integers()
    none = Kind(source.kind.element)(float("inf"))
    state = [none] * FEATURE_ROWS, [index(0)] * FEATURE_ROWS

    def group(width, panel, first, state):
        least, winner = (list(each) for each in state)
        sums = _feature_sums(source, panel, width, n_features, mean)
        for j in range(width):
            number = first + j
            start = bias[number]
            for r in range(FEATURE_ROWS):
                score = sums[r][j] + start
                less = score < least[r]
                least[r] = where(less, score, least[r])
                winner[r] = where(less, number, winner[r])
        return least, winner

    least, winner = over_groups(centers, counts, padded, group, state)
    for r in range(FEATURE_ROWS):
        best[slot + r] = least[r]
        numbers[slot + r] = winner[r].to(numbers.kind.element)


@emits(floats="X tail mean centers bias best numbers")
def nearest_of_few(X, tail, first_row, mean, centers, bias, n_wide, n_narrow, best, numbers, slot):
    """Nearest center of :data:`FEATURE_ROWS` rows of a tile, read in place.

    They are rows `slot` and following of the tile that begins at `first_row` of `X` (n, d), or of
    `tail` (64, d) where `X` ends before the tile does.
    `centers` is packed by features, ``[group][chunk of lanes][center][lane]``; ``best[slot…]`` and
    ``numbers[slot…]`` are written as by :func:`nearest_in_tile`.
    """
    source, counts = tile_start(X, tail, first_row), (n_wide, n_narrow)
    nearest_of_few_at(source, X.shape[1], mean, centers, bias, counts, best, numbers, slot)


@nearest_of_few.twin
def _(X, tail, first_row, mean, centers, bias, n_wide, n_narrow, best, numbers, slot):
    size, n_features = lanes(X.dtype), X.shape[1]
    chunks = round_up(n_features, size) // size
    flat = centers.reshape(-1)
    split = n_wide * 6 * chunks * size
    end = split + n_narrow * 4 * chunks * size
    wide = flat[:split].reshape(n_wide, chunks, 6, size).transpose(0, 2, 1, 3)
    narrow = flat[split:end].reshape(n_narrow, chunks, 4, size).transpose(0, 2, 1, 3)
    negated = np.concatenate([wide.reshape(-1, chunks * size), narrow.reshape(-1, chunks * size)])
    negated = negated[:, :n_features]
    rows = tile_of(X, tail, first_row)[slot : slot + FEATURE_ROWS] - mean[:n_features]
    scores = (rows[:, None] * negated[None]).sum(axis=2) + bias[: len(negated)]
    best[slot : slot + FEATURE_ROWS] = scores.min(axis=1)
    integers_of(numbers)[slot : slot + FEATURE_ROWS] = scores.argmin(axis=1)
