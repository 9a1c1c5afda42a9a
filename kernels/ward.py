"""Ward's linkage in the memory of the rows: nearest clusters by their centers, tile by tile.

Two clusters of a and b rows are merged at the height ``sqrt(2ab / (a + b))`` times the distance of
their centers, which is all that has to be kept of them.  Ward, J. H.: Hierarchical grouping to
optimize an objective function. Journal of the American Statistical Association 58 (1963).

Squared heights are compared; rounds of merges are those of :mod:`.linkage`.
"""

from __future__ import annotations

import numpy as np

from .emit.cpu import TILE_ROWS, part_rows, round_up
from .emit.rows_and_rows import add_differences
from .linkage import Merges, Rounds, Search, new_search
from .machine.compiling import helper, kernel, vector_least
from .machine.parallel import Team, next_task
from .tiles import Array, aligned_empty, scratch

MOST_WORK = 2e9  # multiply-adds of one call of the kernel, which Ctrl-C cannot interrupt
FEW_BLOCKS = 32  # of 64 searched slots; with fewer, the clusters are searched in parts, too
MOST_PARTS = 16
PART_TILES = 16  # tiles of a part, at least
# Products of three roundings are compared first, and then what they stand for.
SLACK = 1.0 + 1e-12


@vector_least
def _least(squares, place, sizes, first, size, height):
    """Below or about zero, where one of 64 clusters is as near as `height`, or nearer."""
    low = np.inf
    for i in range(TILE_ROWS):
        here = squares[place + i] * sizes[first + i] * size
        low = min(low, here - height * (size + sizes[first + i]))
    return low


@helper
def _copy(source, slot, target, place, n_features, size):
    """Copy a center to another slot, in tiles that lie in parts of `size` rows."""
    here = slot // size * size * n_features + slot % size
    there = place // size * size * n_features + place % size
    for t in range(n_features):
        target[there + t * size] = source[here + t * size]


@kernel
def _search(counter, gate, n_tasks, n_slots, tiles, n_features, size, forest, search):
    """Find the nearest cluster of up to 64 slots of the search, in one part of all clusters."""
    slots, found, others = search
    leaves, sizes = forest.leaves, forest.sizes
    queries = scratch(tiles, TILE_ROWS * n_features)
    squares = scratch(tiles, TILE_ROWS * TILE_ROWS)
    queries[:] = 0.0
    n_parts = found.shape[0]
    n_tiles = (n_slots + TILE_ROWS - 1) // TILE_ROWS
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        begin, part = task // n_parts * TILE_ROWS, task % n_parts
        count = min(TILE_ROWS, len(slots) - begin)
        for q in range(count):
            _copy(tiles, slots[begin + q], queries, q, n_features, size)
        for tile in range(part * n_tiles // n_parts, (part + 1) * n_tiles // n_parts):
            for i in range((count + 3) // 4 * 4 * TILE_ROWS):
                squares[i] = 0.0
            first = tile * TILE_ROWS
            add_differences(tiles[first * n_features :], queries, n_features, count, squares)
            for q in range(count):
                own = slots[begin + q]
                best, which = found[part, begin + q], others[part, begin + q]
                place, mine = q * TILE_ROWS, sizes[own]
                if (
                    which < 0
                    or _least(squares, place, sizes, first, 2.0 * mine, best * SLACK) <= 0.0
                ):
                    for i in range(TILE_ROWS):
                        slot, other = first + i, sizes[first + i]
                        height = squares[place + i] * (2.0 * mine * other / (mine + other))
                        if (
                            leaves[slot] >= 0
                            and slot != own
                            and (
                                which < 0
                                or height < best
                                or (height == best and slot > own and own > which)
                            )
                        ):
                            best, which = height, slot
                    found[part, begin + q], others[part, begin + q] = best, which


@kernel
def _merge(pairs, tiles, n_features, size, sizes):
    """Write the centers of merged clusters; nothing is near a dead slot."""
    for k in range(len(pairs)):
        a, b = pairs[k]
        share = sizes[a] / (sizes[a] + sizes[b])
        here = a // size * size * n_features + a % size
        there = b // size * size * n_features + b % size
        for t in range(n_features):
            value = tiles[there + t * size]
            tiles[there + t * size] = value + (tiles[here + t * size] - value) * share
            tiles[here + t * size] = np.inf


@kernel
def _move(places, tiles, n_features, size):
    """Move centers to the first slots; `places` are ascending where they are not negative."""
    count = 0
    for slot in range(len(places)):
        if places[slot] >= 0:
            _copy(tiles, slot, tiles, places[slot], n_features, size)
            count += 1
    for slot in range(count, len(places)):
        here = slot // size * size * n_features + slot % size
        for t in range(n_features):
            tiles[here + t * size] = np.inf


def lay_out(X: Array, center: Array | None = None) -> Array:
    """Rows minus a center, in tiles as :func:`.emit.rows_and_rows.add_products` reads them.

    Slots that fill the last tile are infinitely far away.
    """
    n_samples, n_features = X.shape
    size = part_rows(np.float64)
    padded = round_up(n_samples, TILE_ROWS)
    tiles = aligned_empty(padded * n_features, np.float64)
    parts = tiles.reshape(-1, n_features, size)
    whole = n_samples // size
    zero = np.zeros(n_features) if center is None else center
    rows = X[: whole * size].reshape(whole, size, n_features).transpose(0, 2, 1)
    np.subtract(rows, zero[:, None], out=parts[:whole])
    parts[whole:] = np.inf
    if n_samples > whole * size:
        rest = X[whole * size :]
        parts[whole, :, : len(rest)] = (rest - zero).T
    return tiles


class _Ward(Rounds):
    """Clusters, and their centers in tiles.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        Rows.
    center : ndarray of shape (n_features,), float64
        A point near them.
    team : Team
        Threads to run on.
    """

    def __init__(self, X: Array, center: Array, team: Team) -> None:
        super().__init__(len(X), round_up(len(X), TILE_ROWS))
        self.team, self.n_features = team, X.shape[1]
        self.layout = (lay_out(X, center), X.shape[1], part_rows(np.float64))

    def search(self, slots: Array) -> Search:
        """As :meth:`Rounds.search`, some slots at a time."""
        n_tiles = -(-self.n_slots // TILE_ROWS)
        few = len(slots) <= FEW_BLOCKS * TILE_ROWS
        n_parts = max(1, min(MOST_PARTS, n_tiles // PART_TILES)) if few else 1
        each = float(TILE_ROWS) * self.n_slots * (self.n_features + 4)
        step = max(1, int(MOST_WORK / each)) * TILE_ROWS
        found = []
        for begin in range(0, len(slots), step):
            some = new_search(slots[begin : begin + step], n_parts)
            n_blocks = -(-len(some.slots) // TILE_ROWS)
            self.team.run(
                _search, each * len(some.slots) / TILE_ROWS, n_blocks * n_parts, self.n_slots,
                *self.layout, self.forest, some,
            )  # fmt: skip
            found.append(some)
        return Search(*(np.concatenate(arrays, axis=-1) for arrays in zip(*found, strict=True)))

    def merge(self, pairs: Array) -> None:
        """As :meth:`Rounds.merge`."""
        _merge(pairs, *self.layout, self.forest.sizes)

    def move(self, places: Array) -> None:
        """As :meth:`Rounds.move`."""
        _move(places, *self.layout)


def ward_merges(X: Array, center: Array, team: Team) -> Merges:
    """All merges of Ward's linkage, at its heights.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        Rows, two at least.
    center : ndarray of shape (n_features,), float64
        A point near them.
    team : Team
        Threads to run on.

    Returns
    -------
    merges : Merges
        The same bits for any number of threads.
    """
    merges = _Ward(X, center, team).run()
    return merges._replace(heights=np.sqrt(merges.heights))
