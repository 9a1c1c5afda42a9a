"""The nearest center of packed rows, all scores and all distances; lanes are rows."""

from __future__ import annotations

import numpy as np
from numba import types

from .cpu import IN_REGISTERS, LOW_FEATURES, NARROW, TILE_ROWS, WIDE
from .instructions import emits, integers_of
from .language import INT64, Kind, cases, fma, fma_squared, index, loop, loop_with_rest, where
from .tiles_of_rows import (
    fill,
    keep_own_and_rival,
    keep_smallest,
    keep_two_smallest,
    low_search,
    over_row_parts,
    over_tile,
    row_vectors,
    store_all,
)


def _nearest_low(packed, centers, bias, counts, n_features, results):
    """Nearest centers for a fixed, small number of features."""

    def part(row):
        rows = [row_vectors(packed, row, t * TILE_ROWS) for t in range(n_features)]
        found = low_search(rows, centers, bias, counts, two=len(results) > 2)
        for values, target in zip(found, results, strict=True):
            for v, value in enumerate(values):
                target.store(row + v * target.lanes, value)

    over_row_parts(packed.kind, part)


def _nearest(packed, centers, bias, counts, n_features, results, least=1):
    """Search a tile for ``best, numbers`` and, if given, ``second``.

    From `least` up to 3 features have loops of their own.
    """
    best, numbers, *second = results
    results = [best, numbers.integers(), *second]

    @cases(n_features, range(least, LOW_FEATURES + 1))
    def _(few):
        if few is not None:
            _nearest_low(packed, centers, bias, counts, few, results)
            return
        for target, start in zip(results, (float("inf"), 0, float("inf")), strict=False):
            fill(target, target.kind(start))
        keep = keep_two_smallest if second else keep_smallest
        over_tile(packed, centers, counts, n_features, bias.broadcast, fma, keep(*results))


def unpacked(centers, n_wide, n_narrow, n_features):
    """Negated centers (padded centers, features) out of their packed groups; for twins."""
    flat = centers.reshape(-1)
    split = n_wide * 6 * n_features
    end = split + n_narrow * 4 * n_features
    wide = flat[:split].reshape(n_wide, n_features, 6).transpose(0, 2, 1)
    narrow = flat[split:end].reshape(n_narrow, n_features, 4).transpose(0, 2, 1)
    return np.concatenate([wide.reshape(-1, n_features), narrow.reshape(-1, n_features)])


def _scores(packed, centers, bias, n_wide, n_narrow, n_features):
    negated = unpacked(centers, n_wide, n_narrow, n_features)
    rows = packed.reshape(-1, 64)[None, :n_features]
    # Not a matrix product, which may round equal columns differently.
    return bias[: len(negated), None] + (negated[:, :, None] * rows).sum(axis=1)


@emits(floats="packed centers bias best numbers")
def nearest_in_tile(packed, centers, bias, n_wide, n_narrow, n_features, best, numbers):
    """Nearest center of each of 64 packed rows: ``best`` and ``numbers``, both written.

    `packed` (features, 64), `centers` packed and `bias` (padded centers,) are read; `best` (64,)
    receives the smallest ``|c|²/2 - x·c`` and `numbers` (64,) the bits of the lowest center that
    has it, an integer as wide as the dtype that all arrays share.  All are aligned.
    """
    _nearest(packed, centers, bias, (n_wide, n_narrow), n_features, (best, numbers))


@nearest_in_tile.twin
def _(packed, centers, bias, n_wide, n_narrow, n_features, best, numbers):
    scores = _scores(packed, centers, bias, n_wide, n_narrow, n_features)
    integers_of(numbers)[:] = scores.argmin(axis=0)
    best[:] = scores.min(axis=0)


@emits(floats="packed centers bias best numbers second")
def nearest_two_in_tile(packed, centers, bias, n_wide, n_narrow, n_features, best, numbers, second):
    """As :func:`nearest_in_tile`, and the second smallest score of each row into `second` (64,)."""
    _nearest(packed, centers, bias, (n_wide, n_narrow), n_features, (best, numbers, second))


@nearest_two_in_tile.twin
def _(packed, centers, bias, n_wide, n_narrow, n_features, best, numbers, second):
    scores = np.sort(_scores(packed, centers, bias, n_wide, n_narrow, n_features), axis=0)
    nearest_in_tile.plain(packed, centers, bias, n_wide, n_narrow, n_features, best, numbers)
    second[:] = scores[1]


@emits(floats="packed centers bias best numbers")
def nearest_of_many(packed, centers, bias, n_wide, n_narrow, n_features, best, numbers):
    """As :func:`nearest_in_tile`, without the code for up to `IN_REGISTERS` features.

    That code is slow to compile; :func:`nearest_of_low` is faster for it.
    """
    counts, least = (n_wide, n_narrow), IN_REGISTERS + 1
    _nearest(packed, centers, bias, counts, n_features, (best, numbers), least)


nearest_of_many.twin(nearest_in_tile.plain)


@emits(floats="packed centers bias best numbers second")
def nearest_two_of_many(packed, centers, bias, n_wide, n_narrow, n_features, best, numbers, second):
    """As :func:`nearest_two_in_tile`; compare :func:`nearest_of_many`."""
    counts, least = (n_wide, n_narrow), IN_REGISTERS + 1
    _nearest(packed, centers, bias, counts, n_features, (best, numbers, second), least)


nearest_two_of_many.twin(nearest_two_in_tile.plain)


def _nearest_in_groups(x, centers, bias, width, n_groups, n_features, first_center):
    """Smallest score of each lane, and whose it is, over the groups of one width."""
    kind, whole = Kind(x.kind.element, width), Kind(INT64, width)
    stride = n_features * width
    x = x.in_lanes(width)

    # Four at once: a chain alone would wait for every one of its additions.
    @loop_with_rest(n_groups, (4, 1), (kind(float("inf")), whole(0)))
    def found(first, together, found):
        numbers = [first + i for i in range(together)]
        panels = [centers.at(number * stride) for number in numbers]
        places = [first_center + number * width for number in numbers]

        @loop(n_features, [bias.load(place, width, aligned=False) for place in places])
        def scores(t, scores):
            value, column = x.broadcast(t), t * width
            return [
                fma(value, panel.load(column, width, aligned=False), score)
                for panel, score in zip(panels, scores, strict=True)
            ]

        least, winner = found
        for place, score in zip(places, scores, strict=True):
            less = score < least
            least = where(less, score, least)
            winner = where(less, whole.splat(place) + whole(range(width)), winner)
        return least, winner

    return found


@emits(types.intp, floats="x centers bias")
def nearest_in_row(x, centers, bias, n_wide, n_narrow, n_features):
    """Number of the center nearest to the centred row `x` (n_features,), as in the tile.

    `centers` and `bias` as for :func:`nearest_in_tile`, of whose time it takes a fiftieth.  Lanes
    are the centers of a group; each score is the chain of multiply-adds that it is in the tile, so
    it is the same bits.
    """
    least, winner = Kind(x.kind.element)(float("inf")), index(0)
    base, first_center = index(0), index(0)
    for width, n_groups in ((WIDE, n_wide), (NARROW, n_narrow)):
        scores, numbers = _nearest_in_groups(
            x, centers.at(base), bias, width, n_groups, n_features, first_center
        )
        for lane in range(width):
            score, number = scores.lane(lane), numbers.lane(lane)
            wins = (score < least) | ((score == least) & (number < winner))
            least, winner = where(wins, score, least), where(wins, number, winner)
        base = base + n_groups * (n_features * width)
        first_center = first_center + n_groups * width
    return winner


@nearest_in_row.twin
def _(x, centers, bias, n_wide, n_narrow, n_features):
    tile = np.repeat(x[:n_features, None], 64, axis=1)  # summed as the tile is
    return int(_scores(tile, centers, bias, n_wide, n_narrow, n_features)[:, 0].argmin())


@emits(floats="packed centers bias scores")
def scores_in_tile(packed, centers, bias, n_wide, n_narrow, n_features, scores):
    """All scores ``|c|²/2 - x·c`` of 64 packed rows: `scores` (padded centers, 64).

    The same bits as those that :func:`nearest_in_tile` compares.
    """
    counts, keep = (n_wide, n_narrow), store_all(scores)
    over_tile(packed, centers, counts, n_features, bias.broadcast, fma, keep)


@scores_in_tile.twin
def _(packed, centers, bias, n_wide, n_narrow, n_features, scores):
    found = _scores(packed, centers, bias, n_wide, n_narrow, n_features)
    scores.reshape(-1, 64)[: len(found)] = found


@emits(floats="packed centers distances")
def distances_in_tile(packed, centers, n_wide, n_narrow, n_features, distances):
    """Squared distances of 64 packed rows to packed (negated) centers, in difference form.

    `distances` (padded centers, 64) is written: ``sum((x + (-c))²)``, exactly zero for equal rows.
    """

    def step(x, negated, total):
        return fma_squared(x + negated, total)

    counts, keep = (n_wide, n_narrow), store_all(distances)
    zero = packed.kind(0.0)
    over_tile(packed, centers, counts, n_features, lambda _: zero, step, keep)


@distances_in_tile.twin
def _(packed, centers, n_wide, n_narrow, n_features, distances):
    negated = unpacked(centers, n_wide, n_narrow, n_features)
    difference = packed.reshape(-1, 64)[None, :n_features] + negated[:, :, None]
    distances.reshape(-1, 64)[: len(negated)] = (difference * difference).sum(axis=1)


@emits(floats="packed centers start labels own rival")
def own_and_rival_in_tile(
    packed, centers, start, n_wide, n_narrow, n_features, labels, own, rival
):  # fmt: skip
    """Squared distances of 64 packed rows to the center of their label, and to the nearest other.

    As by :func:`distances_in_tile`, to the bit.  `start` (padded centers,) is zero, and infinite
    for centers that do not exist; `labels` (64,) are integers as wide as the dtype that all arrays
    share; `own` and `rival` (64,) are written.
    """

    def step(x, negated, total):
        return fma_squared(x + negated, total)

    fill(rival, rival.kind(float("inf")))
    keep = keep_own_and_rival(labels.integers(), own, rival)
    over_tile(packed, centers, (n_wide, n_narrow), n_features, start.broadcast, step, keep)


@own_and_rival_in_tile.twin
def _(packed, centers, start, n_wide, n_narrow, n_features, labels, own, rival):
    squares = np.empty(len(start) * 64, packed.dtype)
    distances_in_tile.plain(packed, centers, n_wide, n_narrow, n_features, squares)
    squares = squares.reshape(-1, 64) + start[:, None]
    places = integers_of(labels), np.arange(64)
    own[:] = squares[places]
    squares[places] = np.inf
    rival[:] = squares.min(axis=0)
