"""k-means++: rows, read in place, against the candidates of a round.

Vector lanes are candidates, in panels of 8 laid out ``[panel][feature][candidate]``:
a number of a row is broadcast and meets all of them at once.  Unlike the tiles of packed rows this
needs no transposition, which for so few centers would cost several times what the distances do.

Rows are given as a list, so that those which no candidate can reach are not read.  Distances are
in difference form, ``sum((x - c)²)``: a row that equals a candidate has distance zero exactly.
"""

from __future__ import annotations

import operator

import numpy as np
from numba import types

from .cpu import ARM64, CACHE_LINE, MANY_REGISTERS, VECTOR_BYTES
from .instructions import emits
from .language import (
    DOUBLE,
    INT64,
    Kind,
    either,
    fma,
    fma_squared,
    index,
    loop,
    loop_with_rest,
    smaller,
    table,
    when,
    where,
)
from .vectors import fold

PANEL = 8  # candidates side by side
UNROLLED = 4  # features per turn of the inner loop, where they do not fill a cache line
PARTIAL_SUMS = 4 if MANY_REGISTERS else 2


def n_panels(n_candidates: int) -> int:
    """Panels that hold so many candidates."""
    return -(-n_candidates // PANEL)


def _rows_at_once(size: int) -> int:
    """Rows whose accumulators stay in registers, for elements of `size` bytes."""
    registers = max(1, PANEL * size // VECTOR_BYTES)
    return max(1, (16 if ARM64 else 8) // registers)


def _distances(starts, later, panel, n_features, begin=0, sums=None):
    """Squared distances of the rows at `starts` to the 8 candidates of a panel.

    The rows at `later` are fetched meanwhile, a cache line of each with a line of these.  With
    `begin`, what the features from there on add to `sums`.
    """
    kind = panel.kind
    line = (CACHE_LINE // kind.size,) if later else ()
    sums = sums or [kind(0.0)] * len(starts)

    @loop_with_rest(n_features, (*line, UNROLLED, 1), sums, begin)
    def sums(first, width, sums):
        if width > UNROLLED:
            for start in later:
                start.prefetch(first)
        for t in range(width):
            feature = first + t
            centers = panel.load(feature * PANEL, aligned=False)
            sums = [
                fma_squared(kind.splat(start[feature]) - centers, total)
                for start, total in zip(starts, sums, strict=True)
            ]
        return sums

    return sums


def _over_listed(X, rows, first, count, panel, state, finish, ahead=None):
    """Run ``state = finish(place, rows, distances, state)`` over ``rows[first : first + count]``.

    Several rows at once, then one by one; `place` is that of the first of them in the list.  With
    `ahead`, rows that are listed so many places later, and may be none, are fetched early.
    """
    n_features = X.shape[1]

    @loop_with_rest(count, (_rows_at_once(X.kind.size), 1), state)
    def state(place, width, *state):
        def listed(place):
            return [rows[first + place + i] for i in range(width)]

        def starts(found):
            return [X.at(row * n_features) for row in found]

        now = listed(place)
        early = ahead is not None and width > 1
        later = starts(listed(place + ahead)) if early else []
        return finish(place, now, _distances(starts(now), later, panel, n_features), *state)

    return state


def _panel(X, panels, number):
    return panels.in_lanes(PANEL).at(number * (X.shape[1] * PANEL))


def _tell(square, row, closest, nearest, number):
    """Store a squared distance and whose it is, where it is below the row's `closest`."""
    own, near = closest.at(row), nearest.at(row)
    old = own[0]
    less = square < old
    own[0] = where(less, square, old)
    near[0] = where(less, number, near[0])


def _tell_plainly(listed, squares, number, closest, nearest):
    closer = squares < closest[listed]
    closest[listed[closer]] = squares[closer]
    nearest[listed[closer]] = number


def _gaps_plainly(X, rows, panels, number):
    """Squared distances (rows, 8) of listed rows to the candidates of a panel."""
    size = 8 * X.shape[1]
    candidates = panels[number * size : (number + 1) * size].reshape(-1, 8).T
    gaps = X[rows][:, None, :] - candidates[None]
    return (gaps * gaps).sum(axis=2)


@emits(
    floats="X panels closest", doubles="factors potentials", int64s="rows", int32s="nearest",
    int32="winner",
)  # fmt: skip
def add_potentials(
    X, rows, first, count, ahead, panels, number, winner, closest, nearest, factors, potentials
):
    """``potentials[j] += sum(factor * min(closest, |x - c_j|²))`` over listed rows, in float64.

    Rows are ``rows[first : first + count]`` (int64) of `X` (n, d), candidates those of panel
    `number`, ``factors[: count]`` (float64) the rows' weights in the order of the list.  With
    `winner` (int32) not negative, the first candidate is a center of that number that rows have
    to be told of first, as by :func:`come_closer`.  The list goes on for `ahead` places more, whose
    rows, which need not be rows of X, are fetched early.
    """
    wide = Kind(DOUBLE, PANEL)

    def finish(place, listed, distances, sums):
        sums = list(sums)
        with when(winner >= 0):
            for row, distance in zip(listed, distances, strict=True):
                _tell(distance.lane(0), row, closest, nearest, winner)
        for i, (row, distance) in enumerate(zip(listed, distances, strict=True)):
            least = smaller(distance, distance.kind.splat(closest[row])).to(DOUBLE)
            factor = wide.splat(factors[place + i])
            sums[i % PARTIAL_SUMS] = fma(least, factor, sums[i % PARTIAL_SUMS])
        return sums

    panel = _panel(X, panels, number)
    zeros = [wide(0.0)] * PARTIAL_SUMS
    total, *parts = _over_listed(X, rows, first, count, panel, zeros, finish, ahead)
    for part in parts:
        total = total + part
    potentials.add(number * PANEL, total, aligned=False)


@add_potentials.twin
def _(X, rows, first, count, ahead, panels, number, winner, closest, nearest, factors, potentials):
    listed = rows[first : first + count]
    squares = _gaps_plainly(X, listed, panels, number)
    if winner >= 0:
        _tell_plainly(listed, squares[:, 0], winner, closest, nearest)
    least = np.minimum(squares, closest[listed][:, None])
    potentials[number * 8 : number * 8 + 8] += factors[:count] @ least.astype(np.float64)


@emits(floats="X panels squares", int64s="rows")
def add_gaps(X, rows, first, count, panels, number, start, stop, squares):
    """``squares[8 i + j] += |x_i - c_j|²`` over the features from `start` to `stop`.

    Rows and candidates are as in :func:`add_potentials`.  From the first feature to the last, in
    any number of calls, it is what :func:`add_potentials` computes, to the bit: a panel that does
    not fit into the caches meets many rows a part at a time.
    """
    n_features, panel = X.shape[1], _panel(X, panels, number)

    @loop_with_rest(count, (_rows_at_once(X.kind.size), 1))
    def _(place, width):
        numbers = [place + i for i in range(width)]
        starts = [X.at(rows[first + i] * n_features) for i in numbers]
        held = [squares.at(i * PANEL) for i in numbers]
        sums = [each.load(0, PANEL, aligned=False) for each in held]
        for total, each in zip(_distances(starts, [], panel, stop, start, sums), held, strict=True):
            each.store(0, total, aligned=False)


@add_gaps.twin
def _(X, rows, first, count, panels, number, start, stop, squares):
    size = 8 * X.shape[1]
    candidates = panels[number * size : (number + 1) * size].reshape(-1, 8)[start:stop].T
    gaps = X[rows[first : first + count], None, start:stop] - candidates[None]
    squares[: 8 * count] += (gaps * gaps).sum(axis=2).ravel()


@emits(floats="X panels closest", int64s="rows")
def lower_to_candidates(X, count, rows, panels, number, closest):
    """``closest[row] = min(closest[row], |x - c_j|² for all j)`` over ``rows[:count]``.

    The candidates are those of panel `number`.
    """

    def finish(place, listed, distances):
        for row, distance in zip(listed, distances, strict=True):
            closest[row] = smaller(fold(distance, smaller), closest[row])

    _over_listed(X, rows, 0, count, _panel(X, panels, number), None, finish)


@lower_to_candidates.twin
def _(X, count, rows, panels, number, closest):
    listed = rows[:count]
    least = _gaps_plainly(X, listed, panels, number).min(axis=1)
    closest[listed] = np.minimum(closest[listed], least)


@emits(floats="X center closest", int64s="rows", int32s="nearest", int32="number")
def come_closer(X, rows, first, count, center, number, closest, nearest):
    """Tell the rows ``rows[first : first + count]`` of a new center, with lanes over features.

    Where ``|x - center|²`` is below ``closest[row]`` it takes its place, and `number` that of
    ``nearest[row]`` (int32).  `center` is (d,).
    """
    n_features = X.shape[1]
    vectors = n_features // PANEL
    done = vectors * PANEL
    rest = n_features - done

    @loop(count)
    def _(i):
        row = rows[first + i]
        start = X.at(row * n_features)

        @loop(vectors, Kind(X.kind.element, PANEL)(0.0))
        def sums(turn, sums):
            t = turn * PANEL
            x, c = (place.load(t, PANEL, aligned=False) for place in (start, center))
            return fma_squared(x - c, sums)

        @loop(rest, fold(sums, operator.add))
        def square(i, square):
            t = done + i
            gap = start[t] - center[t]
            return square + gap * gap

        _tell(square, row, closest, nearest, number)


@come_closer.twin
def _(X, rows, first, count, center, number, closest, nearest):
    listed = rows[first : first + count]
    gaps = X[listed] - center
    _tell_plainly(listed, (gaps * gaps).sum(axis=1), number, closest, nearest)


# Bit mask of 8 rows -> places of those that are set, one byte each.
_PLACES = [[i for i in range(8) if mask >> i & 1] for mask in range(256)]
_PLACES = [places + [0] * (8 - len(places)) for places in _PLACES]


@emits(
    types.intp, floats="weights reach closest", doubles="settled", int64s="listed",
    int32s="nearest", flag="weighted",
)  # fmt: skip
def list_rows(start, stop, weights, weighted, reach, closest, nearest, listed, settled):
    """List the rows of a range whose ``closest`` is above ``reach[nearest]``; their number.

    The sum of `closest`, times `weights` where they are `weighted`, over the others is written to
    ``settled[0]`` (float64).  `listed` has room for 8 more.
    """
    places = table("fastclust_places", _PLACES)
    size = stop - start
    turns = size // PANEL
    done = turns * PANEL

    def limit_of(row):
        return reach[nearest[row].to(INT64)]

    @either(weighted)
    def count(weighted):
        def kept(above, own, factor):
            amount = where(above, own.kind(0.0), own).to(DOUBLE)
            return amount if factor is None else amount * factor.to(DOUBLE)

        @loop(turns, (index(0), Kind(DOUBLE, PANEL)(0.0)))
        def found(turn, state):
            count, total = state
            row = start + turn * PANEL
            own = closest.load(row, PANEL, aligned=False)
            limits = own.kind.nothing
            for i in range(PANEL):
                limits = limits.with_lane(i, limit_of(row + i))
            above = own > limits
            factor = weights.load(row, PANEL, aligned=False) if weighted else None
            mask = above.mask()
            rows = places.load(mask * PANEL).to(INT64, signed=False)
            listed.store(count, rows + rows.kind.splat(row), aligned=False)
            return count + mask.ones(), total + kept(above, own, factor)

        @loop(size - done, (found[0], fold(found[1], operator.add)))
        def found(i, state):
            count, total = state
            row = start + done + i
            own = closest[row]
            above = own > limit_of(row)
            factor = weights[row] if weighted else None
            listed[count] = row
            return count + above.to(INT64, signed=False), total + kept(above, own, factor)

        count, total = found
        settled[0] = total
        return count

    return count


@list_rows.twin
def _(start, stop, weights, weighted, reach, closest, nearest, listed, settled):
    own = closest[start:stop]
    above = own > reach[nearest[start:stop]]
    count = int(above.sum())
    listed[:count] = start + np.flatnonzero(above)
    amounts = np.where(above, 0.0, own).astype(np.float64)
    settled[0] = (amounts * weights[start:stop] if weighted else amounts).sum()
    return count
