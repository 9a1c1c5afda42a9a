"""Rows whose label has changed: found, listed, and accounted for in the piles of their slice."""

from __future__ import annotations

from numba import types

from ..records import PILES, RECORD
from .cpu import TILE_ROWS
from .instructions import emits, integers_of, mask_of
from .language import INT32, either, index, loop, when, where
from .sums import add_rows, move_rows


@emits(floats="numbers", int32s="winners")
def winners_of(numbers, winners):
    """Write the `numbers` (64,) of centers, bits as left by :func:`nearest_in_tile`, as int32."""
    winners.store(0, numbers.integers().load(0, TILE_ROWS).to(INT32), aligned=False)


@winners_of.twin
def _(numbers, winners):
    winners[:64] = integers_of(numbers)


@emits(types.uint64, int32s="winners labels")
def differing_labels(winners, labels, first):
    """64-bit mask of the rows whose winner differs from their label, ``labels[first:]``."""
    new, old = winners.load(0, TILE_ROWS, aligned=False), labels.at(first)
    return (new != old.load(0, TILE_ROWS, aligned=False)).mask()


@differing_labels.twin
def _(winners, labels, first):
    return mask_of(labels[first : first + 64] != winners[:64])


@emits(types.intp, int32s="winners labels sources", int64s="listed movers")
def list_changed(winners, listed, place, filled, labels, movers, sources, count):
    """As :func:`.masks.list_changes`, for the rows ``listed[place : place + filled]``.

    Row i has the winner ``winners[i]``.  One entry more than there are may be written.
    """

    @loop(filled, count)
    def count(i, count):
        row, new = listed[place + i], winners[i]
        old = labels[row]
        # Without a branch, which could not be foreseen.
        movers[count], sources[count], labels[row] = row, old, new
        return count + where(new != old, index(1), 0)

    return count


@list_changed.twin
def _(winners, listed, place, filled, labels, movers, sources, count):
    for i in range(filled):
        row = listed[place + i]
        if winners[i] != labels[row]:
            movers[count], sources[count] = row, labels[row]
            labels[row] = winners[i]
            count += 1
    return count


@emits(types.intp, records="job", int32s="winners")
def add_unlabelled(job, first, count, winners, slot, pile):
    """Give `count` rows from `first` on their first labels, ``winners[slot:]``; add them to a pile.

    Returns `count`.
    """
    X, _, weights = job.rows

    @loop(count)
    def _(i):
        job.labels[first + i] = winners[slot + i]

    records, touched, _ = job.piles
    add_rows.body(X, job.mean, weights, first, count, job.labels, records, touched, pile)
    return count


@add_unlabelled.twin
def _(job, first, count, winners, slot, pile):
    job.labels[first : first + count] = winners[slot : slot + count]
    X, _, weights = job.rows
    records, touched, _ = job.piles
    add_rows.plain(X, job.mean, weights, first, count, job.labels, records, touched, pile)
    return count


@emits(types.intp, records="job", int64s="movers", int32s="sources")
def account(mode, job, movers, sources, count, place, pile):
    """Account for the rows ``movers[:count]``, which were of the clusters `sources`.

    Where the `mode` is `PILES` they are moved among the records of the pile; where it is `RECORD`
    they are recorded, from `place` on.  Returns `count`.
    """
    X, _, weights = job.rows
    records, touched, _ = job.piles
    rows, olds = job.changes.rows, job.changes.labels

    @either(mode == PILES)
    def _(moves):
        if moves:
            move_rows.body(
                X, job.mean, weights, movers, sources, count, job.labels, records, touched, pile
            )
            return
        with when(mode == RECORD):

            @loop(count)
            def _(i):
                rows[place + i] = movers[i].to(rows.kind.element)
                olds[place + i] = sources[i]

    return count


@account.twin
def _(mode, job, movers, sources, count, place, pile):
    X, _, weights = job.rows
    records, touched, _ = job.piles
    if mode == PILES:
        move_rows.plain(
            X, job.mean, weights, movers, sources, count, job.labels, records, touched, pile
        )
    elif mode == RECORD:
        job.changes.rows[place : place + count] = movers[:count]
        job.changes.labels[place : place + count] = sources[:count]
    return count
