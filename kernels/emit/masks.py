"""64 rows at once: which labels have changed, which numbers are above a limit; lists of them."""

from __future__ import annotations

import numpy as np
from numba import types

from .cpu import ALL_ROWS, TILE_ROWS
from .instructions import emits, integers_of, mask_of
from .language import BIT, INT32, INT64, Kind, either, index, loop, repeat, where

LIST_SLACK = 4  # entries behind a list that :func:`list_changes` may write


@emits(types.uint64, floats="numbers", int32s="labels winners")
def changed_labels(numbers, labels, first, winners, slot):
    """64-bit mask of the rows whose winner differs from ``labels[first:]``, which stays as it is.

    `numbers` (64,) holds bits as left by :func:`nearest_in_tile`; `labels` and `winners` are int32,
    and ``winners[slot : slot + 64]`` receives them as such.
    """
    winners = winners.at(slot)
    new = numbers.integers().load(0, TILE_ROWS).to(INT32)
    winners.store(0, new, aligned=False)
    return (new != labels.load(first, TILE_ROWS, aligned=False)).mask()


@changed_labels.twin
def _(numbers, labels, first, winners, slot):
    winners[slot : slot + 64] = integers_of(numbers)
    return mask_of(labels[first : first + 64] != winners[slot : slot + 64])


@emits(types.uint64, int32s="labels")
def unlabelled_rows(labels, first):
    """64-bit mask of the rows that have no label: where ``labels[first : first + 64]`` < 0."""
    return (labels.load(first, TILE_ROWS, aligned=False) < 0).mask()


@unlabelled_rows.twin
def _(labels, first):
    return mask_of(labels[first : first + 64] < 0)


@emits(types.uint64, floats="values limits")
def below(values, first, limits):
    """64-bit mask of the numbers ``values[first : first + 64]`` that are below `limits` (64,)."""
    found, limit = (place.load(0, TILE_ROWS, aligned=False) for place in (values.at(first), limits))
    return (found < limit).mask()


@below.twin
def _(values, first, limits):
    return mask_of(values[first : first + 64] < limits[:64])


@emits(types.uint64, doubles="values", double="limit")
def above(values, first, limit):
    """64-bit mask of the numbers in ``values[first : first + 64]`` that are above `limit`."""
    found = values.load(first, TILE_ROWS)
    return (found > found.kind.splat(limit)).mask()


@above.twin
def _(values, first, limit):
    return mask_of(values[first : first + 64] > limit)


def _list_all(first, olds, movers, sources):
    """List all rows of a tile."""
    sources.store(0, olds, aligned=False)
    steps = Kind(INT64, movers.lanes)
    for i in range(0, TILE_ROWS, steps.lanes):
        rows = steps.splat(first) + steps(range(i, i + steps.lanes))
        movers.store(i, rows, aligned=False)


def _list_some(mask, first, labels, movers, sources):
    """List the rows of a tile that the bits of `mask` stand for.

    A round takes several rows whether there are so many or not: their number is not to be foreseen,
    and a wrong guess costs more than the rows.  Where the bits run out, the last row is read.
    """

    @repeat((mask, index(0)))
    def _(state):
        left, entry = state
        for i in range(LIST_SLACK):
            bit = (left | 1 << (TILE_ROWS - 1)).lowest_one()
            left = left & (left - 1)
            row, place = first + bit, entry + i
            sources[place] = labels[row]
            movers[place] = row
        return (left, entry + LIST_SLACK), left != 0


@emits(types.intp, mask="mask", int32s="winners labels sources", int64s="movers")
def list_changes(mask, first, winners, slot, labels, movers, sources, count):
    """Store the winners of the rows of a tile that `mask` names, and list these rows.

    For bit i of `mask`, ``labels[first + i]`` becomes ``winners[slot + i]``; behind the first
    `count` entries, `movers` (int64) receives the row and `sources` (int32) its old label.
    Returns the new number of entries.  Up to :data:`LIST_SLACK` more are written.
    """
    here, found = labels.at(first), winners.at(slot)
    ends = movers.at(count), sources.at(count)
    olds = here.load(0, TILE_ROWS, aligned=False)

    @either(mask == int(ALL_ROWS))
    def _(every):
        if every:
            _list_all(first, olds, *ends)
        else:
            _list_some(mask, first, labels, *ends)

    # Vectors, not row by row: the CPU would take a load of the next row for one of this store.
    change = mask.bits_as(Kind(BIT, TILE_ROWS))
    here.store(0, where(change, found.load(0, TILE_ROWS, aligned=False), olds), aligned=False)
    return count + mask.ones()


@list_changes.twin
def _(mask, first, winners, slot, labels, movers, sources, count):
    for bit in range(64):
        if int(mask) >> bit & 1:
            movers[count], sources[count] = first + bit, labels[first + bit]
            labels[first + bit] = winners[slot + bit]
            count += 1
    return count


@emits(types.intp, uint64s="masks", int64s="places")
def list_bits(masks, n_words, places):
    """Write the places of the bits that are set in `masks`, in order, and return how many."""

    @loop(n_words, index(0))
    def count(word, count):
        first, mask = word * 64, masks[word]

        @loop(mask.ones(), (mask, count))
        def found(_, state):
            left, count = state
            places[count] = first + left.lowest_one()
            return left & (left - 1), count + 1

        return found[1]

    return count


@list_bits.twin
def _(masks, n_words, places):
    bits = np.unpackbits(masks[:n_words].view(np.uint8), bitorder="little")
    found = np.flatnonzero(bits)
    places[: len(found)] = found
    return len(found)


@emits(types.intp, mask="mask")
def lowest_bit(mask):
    """Position of the lowest bit that is set in a mask that is not zero."""
    return mask.lowest_one()


@lowest_bit.twin
def _(mask):
    return (int(mask) & -int(mask)).bit_length() - 1
