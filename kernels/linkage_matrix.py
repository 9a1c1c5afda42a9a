"""Complete and average linkage over the distances of all pairs of clusters.

Distances lie by rows, those of a slot to all before it side by side: half a square of float64.
float32 would take half of the memory, and make equal what differs in the eighth digit: with ten
thousand rows some clusters would be merged in another order.

A round merges many pairs (see :mod:`.linkage`).  Each distance of two new clusters is made of the
one, two or four between their halves by one task, which alone reads and writes these: rows can be
shared out among threads, in place.  Distances to dead slots are made infinite by the same task.
"""

from __future__ import annotations

import numpy as np

from .emit.cpu import TILE_ROWS
from .emit.rows_and_rows import add_differences
from .linkage import Merges, Rounds, Search, new_search
from .machine.compiling import helper, kernel, vector_least
from .machine.parallel import Team, next_task
from .tiles import Array, aligned_empty, scratch
from .ward import lay_out

BANDS = 16  # of about as many distances each, over which all slots are searched together
MANY = 8  # all are searched together where more than one in so many is searched for


@kernel
def _fill(counter, gate, n_tasks, tiles, n_features, n_samples, distances):
    """Distances of the rows of a tile to all rows before them."""
    squares = scratch(tiles, TILE_ROWS * TILE_ROWS)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        tile = n_tasks - 1 - task  # the longest first
        first = tile * TILE_ROWS
        count = min(TILE_ROWS, n_samples - first)
        for other in range(tile + 1):
            squares[:] = 0.0
            begin = other * TILE_ROWS
            rows, queries = tiles[begin * n_features :], tiles[first * n_features :]
            add_differences(rows, queries, n_features, count, squares)
            for q in range(count):
                row = first + q
                place = row * (row - 1) // 2 + begin
                for i in range(min(TILE_ROWS, row - begin)):
                    distances[place + i] = np.sqrt(squares[q * TILE_ROWS + i])


@vector_least
def _least(distances, start, stop):
    low = np.inf
    for i in range(start, stop):
        low = min(low, distances[i])
    return low


@helper
def _least_before(distances, slot):
    """Smallest distance of a slot to those before it, and the first of these that has it."""
    start = slot * (slot - 1) // 2
    low = _least(distances, start, start + slot)
    if low == np.inf:
        return low, np.int64(-1)
    other = 0
    while distances[start + other] != low:
        other += 1
    return low, np.int64(other)


@kernel
def _search_all(counter, gate, n_tasks, edges, leaves, distances, search):
    """Find the nearest of all slots at once: each band of slots tells those before, and itself.

    The last part of the search is what slots have found before themselves.
    """
    _, found, others = search
    while True:
        band = next_task(counter, gate, n_tasks)
        if band >= n_tasks:
            break
        heights, nearest = found[band], others[band]
        for slot in range(edges[band], edges[band + 1]):
            if leaves[slot] >= 0:
                start = slot * (slot - 1) // 2
                found[n_tasks, slot], others[n_tasks, slot] = _least_before(distances, slot)
                for i in range(slot):
                    value = distances[start + i]
                    nearer = value < heights[i]
                    heights[i] = value if nearer else heights[i]
                    nearest[i] = slot if nearer else nearest[i]


@kernel
def _search_some(counter, gate, n_tasks, n_slots, leaves, distances, search):
    """Find the nearest of one slot of the search."""
    slots, found, others = search
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        own = slots[task]
        low, which = np.inf, np.int64(-1)
        for slot in range(own + 1, n_slots):
            if leaves[slot] >= 0:
                value = distances[slot * (slot - 1) // 2 + own]
                if value < low:
                    low, which = value, slot
        before, other = _least_before(distances, own)
        if before < low:
            low, which = before, other
        found[0, task], others[0, task] = low, which


@helper
def _taken(distances, a, b):
    """The distance of two slots, which becomes infinite."""
    place = a * (a - 1) // 2 + b if a > b else b * (b - 1) // 2 + a
    value = distances[place]
    distances[place] = np.inf
    return value


@helper
def _united(average, one, other, weight, other_weight):
    if average:
        return (weight * one + other_weight * other) / (weight + other_weight)
    return max(one, other)


@kernel
def _merge(counter, gate, n_tasks, edges, average, pairs, forest, distances):
    """Distances of and to merged clusters, for a band of slots and what is before each."""
    leaves, sizes, _, _, partners = forest
    while True:
        band = next_task(counter, gate, n_tasks)
        if band >= n_tasks:
            break
        for b in range(edges[band], edges[band + 1]):
            a, start = partners[b], b * (b - 1) // 2
            if leaves[b] < 0 or a > b:
                continue
            if a < 0:
                for k in range(len(pairs)):
                    c, d = pairs[k]
                    if d < b:
                        one = _taken(distances, b, c)
                        place = start + d
                        distances[place] = _united(
                            average, one, distances[place], sizes[c], sizes[d]
                        )
                continue
            mine, others = sizes[a], sizes[b]
            distances[start + a] = np.inf
            for d in range(b):
                c = partners[d]
                if leaves[d] < 0 or d == a or c > d:
                    continue
                place = start + d
                near = _united(average, _taken(distances, a, d), distances[place], mine, others)
                if c >= 0:
                    one, other = _taken(distances, a, c), _taken(distances, b, c)
                    far = _united(average, one, other, mine, others)
                    near = _united(average, far, near, sizes[c], sizes[d])
                distances[place] = near


@kernel
def _move(places, distances):
    """Move distances of living slots to where those are now."""
    living = np.flatnonzero(places >= 0)
    for row in range(len(living)):
        start, there = living[row] * (living[row] - 1) // 2, row * (row - 1) // 2
        for other in range(row):
            distances[there + other] = distances[start + living[other]]


class _Matrix(Rounds):
    """Clusters, and the distances of all pairs of them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        Rows.
    average : bool
        Average linkage, not complete.
    team : Team
        Threads to run on.
    """

    def __init__(self, X: Array, average: bool, team: Team) -> None:
        n_samples, n_features = X.shape
        super().__init__(n_samples, n_samples)
        self.average, self.team = average, team
        self.distances = aligned_empty(n_samples * (n_samples - 1) // 2, np.float64)
        team.run(
            _fill, len(self.distances) * (n_features + 4.0), -(-n_samples // TILE_ROWS),
            lay_out(X), n_features, n_samples, self.distances,
        )  # fmt: skip

    @property
    def edges(self) -> Array:
        """Bands of slots with about as many distances each."""
        shares = np.sqrt(np.arange(BANDS + 1) / BANDS)
        return np.round(self.n_slots * shares).astype(np.int64)

    def search(self, slots: Array) -> Search:
        """As :meth:`Rounds.search`; of all that are alive where these are many."""
        leaves = self.forest.leaves
        if MANY * len(slots) > self.n_slots:
            search = new_search(np.arange(self.n_slots), BANDS + 1)
            self.team.run(
                _search_all, float(self.n_slots) ** 2, BANDS, self.edges, leaves, self.distances,
                search,
            )  # fmt: skip
            keep = leaves[: self.n_slots] >= 0
            return Search(*(np.ascontiguousarray(array[..., keep]) for array in search))
        search = new_search(slots, 1)
        self.team.run(
            _search_some, 8.0 * self.n_slots * len(slots), len(slots), self.n_slots, leaves,
            self.distances, search,
        )  # fmt: skip
        return search

    def merge(self, pairs: Array) -> None:
        """As :meth:`Rounds.merge`: the distances of what these pairs become."""
        self.team.run(
            _merge, 8.0 * self.n_slots * len(pairs), BANDS, self.edges, self.average, pairs,
            self.forest, self.distances,
        )  # fmt: skip

    def move(self, places: Array) -> None:
        """As :meth:`Rounds.move`."""
        _move(places, self.distances)


def matrix_merges(X: Array, linkage: str, team: Team) -> Merges:
    """All merges of complete or average linkage.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        Rows, two at least.
    linkage : {'complete', 'average'}
        By the largest distance of the rows of two clusters, or the mean of all.
    team : Team
        Threads to run on.

    Returns
    -------
    merges : Merges
        The same bits for any number of threads.
    """
    return _Matrix(X, linkage == "average", team).run()
