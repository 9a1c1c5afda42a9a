"""Rows onto float64 sums: one row, and rows that move from cluster to cluster."""

from __future__ import annotations

import numpy as np

from .cpu import LOW_FEATURES, TILE_ROWS, VECTOR_BYTES, round_up
from .instructions import emits
from .language import (
    BYTE,
    DOUBLE,
    INT64,
    Kind,
    address_of,
    cases,
    either,
    either_place,
    fma,
    loop,
    loop_with_rest,
    where,
)


@emits(floats="X mean", doubles="sums", double="weight")
def add_row(X, row, n_features, mean, weight, sums, place):
    """``sums[place : place + d] += weight * (X[row] - mean)`` in float64, `sums` seen as flat.

    The difference is rounded as in the tiles, so that a cluster of one row has that row as center.
    Written out because LLVM, which can not know that the arrays do not overlap, spends more on
    finding out than the few additions take.
    """
    x, total = X.at(row * n_features), sums.at(place)
    weights = sums.kind.splat(weight)

    @loop_with_rest(n_features, (VECTOR_BYTES // 8, 1))
    def _(t, width):
        if width == 1:
            step = weight * (x[t] - mean[t]).to(DOUBLE)
            total[t] = total[t] + step
            return
        value, shift, old = (p.load(t, width, aligned=False) for p in (x, mean, total))
        total.store(t, fma(weights, (value - shift).to(DOUBLE), old), aligned=False)


@add_row.twin
def _(X, row, n_features, mean, weight, sums, place):
    total = sums.reshape(-1)[place : place + n_features]
    total += weight * (X[row] - mean[:n_features]).astype(np.float64)


@emits(floats="values", doubles="sums")
def add_line(values, first, sums, place):
    """Add ``values[first : first + 64]`` to ``sums[place : place + 64]``, which are float64."""
    added = values.load(first, TILE_ROWS, aligned=False).to(DOUBLE)
    sums.add(place, added, aligned=False)


@add_line.twin
def _(values, first, sums, place):
    sums[place : place + 64] += values[first : first + 64]


# --------------------------------------------------------------------------------------------
# Records of clusters


def record_size(n_features: int) -> int:
    """Numbers of a record of :func:`move_rows`: a sum of rows, one of weights, a number of rows."""
    return round_up(n_features + 2, 4)


class _Pile:
    """The records of a pile, and the rows that are moved among them, in order.

    ``entry(i)`` tells the i-th of `count` rows and, where rows have one, the cluster that it
    leaves, negative for none.
    """

    def __init__(self, entry, count, labels, records, touched, pile):
        self.entry, self.count, self.labels = entry, count, labels
        _, n_records, size = records.shape
        self.records, self.size = records.at(pile * (n_records * size)), size
        self.touched = touched.at(pile * touched.shape[1])

    def move(self, size, body):
        """Run ``body(row, change)`` for all rows, with records of a `size`.

        ``change(numbers, t)`` adds to the numbers from `t` on of the new cluster's record, and
        takes the same off the old one's.
        """
        mark = Kind(BYTE)(1)

        @loop(self.count)
        def _(i):
            row, old = self.entry(i)
            new = self.labels[row].to(INT64)

            def record_of(cluster, t):
                return self.records.at(cluster * size + t)

            def add(numbers, t):
                record_of(new, t).add(0, numbers, aligned=False)

            def change(numbers, t):
                add(numbers, t)
                place = record_of(old, t)
                left = place.load(0, numbers.kind.lanes, aligned=False) - numbers
                place.store(0, left, aligned=False)

            self.touched[new] = mark
            if old is None:
                body(row, add)
                return

            @either(old >= 0)
            def _(leaves):
                if leaves:
                    self.touched[old] = mark
                body(row, change if leaves else add)


def _move(X, mean, weights, pile):
    """Move the rows of a pile, by the code for their number of features."""
    n_features, n_weights = X.shape[1], weights.shape[0]
    weighted = n_weights > 0

    def weight_of(weights, row):
        """What a row adds to the sum of the weights and to the number of rows."""
        weight = weights[row].to(DOUBLE)
        return weight, (weight != 0.0).to(DOUBLE)

    def few(n, weighted):
        shift = mean.load(0, n, aligned=False)
        empty = Kind(DOUBLE, record_size(n))(0.0)

        def body(row, change):
            value = (X.load(row * n_features, n, aligned=False) - shift).to(DOUBLE)
            numbers = [Kind(DOUBLE)(1.0)] * 2
            if weighted:
                numbers = weight_of(weights, row)
                value = value * value.kind.splat(numbers[0])
            record = empty
            for t in range(n):
                record = record.with_lane(t, value.lane(t))
            for t, number in enumerate(numbers, n):
                record = record.with_lane(t, number)
            change(record, 0)

        pile.move(record_size(n), body)

    def many(row, change, weights):
        weight, counted = weight_of(weights, where(weighted, row, 0))

        @loop_with_rest(n_features, (8, 4, 1))
        def _(t, width):
            shift = mean.load(t, width, aligned=False)
            value = X.load(row * n_features + t, width, aligned=False)
            centred = (value - shift).to(DOUBLE)
            change(centred * centred.kind.splat(weight), t)

        pair = Kind(DOUBLE, 2).nothing.with_lane(0, weight).with_lane(1, counted)
        change(pair, n_features)

    @cases(n_features, range(1, LOW_FEATURES + 1))
    def _(n):
        if n is not None:
            either(weighted)(lambda weighted: few(n, weighted))
            return
        # Without weights there is one, of one, for all rows.
        one = address_of(Kind(weights.kind.element)(1.0))
        present = either_place(weighted, weights, one)
        pile.move(pile.size, lambda row, change: many(row, change, present))


@emits(
    floats="X mean weights", doubles="records", int64s="movers", int32s="sources labels",
    flags="touched",
)  # fmt: skip
def move_rows(X, mean, weights, movers, sources, count, labels, records, touched, pile):
    """Move the rows ``movers[:count]`` from the clusters `sources` to their labels, in order.

    `movers` are int64, `sources` int32 and negative for a row that leaves no cluster, `weights`
    empty for weights of one.  A row is added to the record of its new cluster among
    ``records[pile]``, and the same numbers are taken off its old one's; ``touched[pile]`` marks
    both.

    A record, float64, holds ``sum(weight * (x - mean))``, the difference rounded as in the tiles,
    then the sum of the weights, then the number of rows whose weight is not zero; see
    :func:`record_size`.  Up to :data:`LOW_FEATURES` features all of it is one vector.
    """

    def entry(i):
        old = sources[i].to(INT64)
        return movers[i], old

    _move(X, mean, weights, _Pile(entry, count, labels, records, touched, pile))


def _record(X, mean, weights, row):
    weight = float(weights[row]) if len(weights) else 1.0
    centred = (X[row] - mean[: X.shape[1]]).astype(np.float64)
    return np.append(centred * weight, [weight, weight != 0])


@move_rows.twin
def _(X, mean, weights, movers, sources, count, labels, records, touched, pile):
    for row, old in zip(movers[:count], sources[:count], strict=True):
        moved = _record(X, mean, weights, row)
        records[pile, labels[row], : len(moved)] += moved
        touched[pile, labels[row]] = True
        if old >= 0:
            records[pile, old, : len(moved)] -= moved
            touched[pile, old] = True


@emits(floats="X mean weights", doubles="records", int32s="labels", flags="touched")
def add_rows(X, mean, weights, first, count, labels, records, touched, pile):
    """Add `count` rows from `first` on to the records of their labels; see :func:`move_rows`."""

    def entry(i):
        return first + i, None

    _move(X, mean, weights, _Pile(entry, count, labels, records, touched, pile))


@add_rows.twin
def _(X, mean, weights, first, count, labels, records, touched, pile):
    for row in range(first, first + count):
        moved = _record(X, mean, weights, row)
        records[pile, labels[row], : len(moved)] += moved
        touched[pile, labels[row]] = True
