"""What the rounds of the exact algorithms share; each of them goes through the rows slice by slice.

A round on a slice is this, 64 rows at a time:

gather
    the rows, adjacent ones or those that bounds have not settled, into a tile
search
    the tile for the nearest center of each row, in float32 where a screen is asked
settle doubt
    one row at a time, in the type of the rows
account
    for the rows whose label has changed, in the pile of the slice

The steps are instructions of :mod:`.emit.labelling` and :mod:`.emit.changes`, which cost a kernel
nothing.  Here is what happens once for a task or for a slice.
"""

from __future__ import annotations

import numpy as np

from .emit.bounds import unsettled_rows
from .emit.cpu import ALL_ROWS, TILE_ROWS
from .emit.masks import LIST_SLACK, lowest_bit
from .machine.compiling import inlined
from .records import Tile
from .tiles import scratch

# Rows that change are listed, and moved when so many have come together: the code that moves them
# then runs without a branch that cannot be foreseen, and is called once for many tiles.
LISTED = 128
LIST_ROOM = LISTED + TILE_ROWS + LIST_SLACK


@inlined
def tile_on(packed, row):
    """A tile whose rows are `packed`; `row` is room for one in the type of the data."""
    numbers = scratch(packed, 4 * TILE_ROWS)
    return Tile(
        packed,
        numbers[:TILE_ROWS],
        numbers[TILE_ROWS : 2 * TILE_ROWS],
        numbers[2 * TILE_ROWS : 3 * TILE_ROWS],
        numbers[3 * TILE_ROWS :],
        row,
    )


@inlined
def rows_below(count):
    """Mask of the first `count` rows of a tile, of which there is at least one."""
    return ALL_ROWS >> np.uint64(TILE_ROWS - count)


@inlined
def list_unsettled(start, stop, labels, bounds, listed):
    """Move the bounds of a slice; list the rows that they do not settle, and return how many."""
    upper, lower, table, slack, reach, _ = bounds
    n_listed = np.int64(0)
    for first in range(start, stop, TILE_ROWS):
        left = unsettled_rows(labels, first, upper, lower, table, slack, reach)
        left &= rows_below(min(TILE_ROWS, stop - first))
        while left != 0:
            listed[n_listed] = first + lowest_bit(left)
            left &= left - np.uint64(1)
            n_listed += 1
    return n_listed
