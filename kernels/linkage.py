"""What all trees of clusters share: who is merged with whom, and the tree that comes of it.

A round merges all pairs of clusters that are each other's nearest at once, instead of one pair:
Sumengen, B. et al.: Scaling hierarchical agglomerative clustering to billion-sized datasets (2021).
For ward, complete and average linkage that gives the tree that one merge at a time gives, since a
merged cluster is never nearer to a third one than the nearer of its two halves was.  For the same
reason a cluster keeps its nearest one until that is itself merged: only what is new, or has lost
its nearest, is searched for again.  These searches are many at a time, and so tiles.

Clusters have slots, in the order of the rows.  A merged cluster has the later slot of the two; the
other slot is dead.  Of several nearest clusters the next one in the order of the slots counts,
after the last of which comes the first: equal rows are merged in pairs, not all into the first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from .machine.compiling import kernel
from .records import Array

# Slots are closed up when fewer of them than this share are alive.
FULL = 0.7


class Forest(NamedTuple):
    """The clusters that there are, by slot."""

    leaves: Array  # int64: a row of the cluster; -1 where a slot is dead
    sizes: Array  # float64: number of rows; 1 where a slot is dead
    nearest: Array  # int64: slot of the nearest cluster; -1 where it must be searched for
    heights: Array  # float64: at what height the two would be merged
    partners: Array  # int64: slot of the one that it is merged with in this round, or -1


class Merges(NamedTuple):
    """All merges in the order in which they were found: a row of each of the two, and heights."""

    first: Array
    second: Array
    heights: Array


class Search(NamedTuple):
    """Slots whose nearest is searched for, and what each part of a search has found."""

    slots: Array  # (n,) int64
    heights: Array  # (parts, n) float64
    nearest: Array  # (parts, n) int64


def new_forest(n_samples: int, padded: int) -> Forest:
    """Each row a cluster, in `padded` slots."""
    leaves = np.full(padded, -1)
    leaves[:n_samples] = np.arange(n_samples)
    nothing = np.full(padded, -1)
    return Forest(leaves, np.ones(padded), nothing, np.full(padded, np.inf), nothing.copy())


def new_merges(n_samples: int) -> Merges:
    """Room for the merges of so many rows."""
    first, second = np.empty((2, n_samples - 1), np.int64)
    return Merges(first, second, np.empty(n_samples - 1))


def new_search(slots: Array, n_parts: int) -> Search:
    """A search that has found nothing yet."""
    shape = (n_parts, len(slots))
    return Search(slots, np.full(shape, np.inf), np.full(shape, -1))


@kernel
def match(n_slots, search, forest, pairs):
    """Enter what a search has found, and pair clusters that are each other's nearest.

    A pair ``(a, b)``, ``a < b``, is written to `pairs`, and how many there are is returned: one at
    least.  Parts of a search are in the order of the slots that they looked at, but for slots
    before their own, which come last.
    """
    slots, found, others = search
    leaves, _, nearest, heights, partners = forest
    for q in range(len(slots)):
        own = slots[q]
        best, which = np.inf, np.int64(-1)
        for part in range(found.shape[0]):
            height, other = found[part, q], others[part, q]
            later = other > own and own > which
            if height < best or which < 0 or (height == best and later):
                best, which = height, other
        heights[own], nearest[own] = best, which
    partners[:n_slots] = -1
    n_pairs = 0
    for a in range(n_slots):
        if leaves[a] >= 0 and partners[a] < 0:
            b = nearest[a]
            # Rounding, or a third cluster as near, may leave `a` out of what `b` calls nearest.
            if partners[b] < 0 and heights[a] <= heights[b]:
                partners[a], partners[b] = b, a
                pairs[n_pairs, 0], pairs[n_pairs, 1] = min(a, b), max(a, b)
                n_pairs += 1
    return n_pairs


@kernel
def join(n_slots, pairs, forest, merges, n_before, outdated):
    """Merge the pairs in the forest; returns how many slots must be searched for, and lists them.

    ``merges`` has `n_before` merges already.
    """
    leaves, sizes, nearest, heights, partners = forest
    for k in range(len(pairs)):
        a, b = pairs[k]
        merges.first[n_before + k] = leaves[a]
        merges.second[n_before + k] = leaves[b]
        merges.heights[n_before + k] = min(heights[a], heights[b])
        sizes[b] += sizes[a]
        sizes[a] = 1.0
        leaves[a] = -1
    count = 0
    for slot in range(n_slots):
        if leaves[slot] >= 0 and (partners[slot] >= 0 or partners[nearest[slot]] >= 0):
            nearest[slot] = -1
            outdated[count] = slot
            count += 1
    return count


@kernel
def close_up(n_slots, forest, places):
    """Move living clusters to the first slots; returns their number, and the new slot of each."""
    leaves, sizes, nearest, heights, _ = forest
    count = 0
    for slot in range(n_slots):
        places[slot] = -1
        if leaves[slot] >= 0:
            places[slot] = count
            count += 1
    for slot in range(n_slots):
        place = places[slot]
        if place >= 0:
            leaves[place], sizes[place], heights[place] = leaves[slot], sizes[slot], heights[slot]
            nearest[place] = places[nearest[slot]] if nearest[slot] >= 0 else -1
    for slot in range(count, n_slots):
        leaves[slot], sizes[slot] = -1, 1.0
    return count


class Rounds(ABC):
    """Clusters on their way up the tree, by whatever it takes to know which are near.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    padded : int
        Number of slots, which may be more.
    """

    def __init__(self, n_samples: int, padded: int) -> None:
        self.n_slots = n_samples
        self.forest, self.merges = new_forest(n_samples, padded), new_merges(n_samples)

    @abstractmethod
    def search(self, slots: Array) -> Search:
        """Find the nearest cluster of each of these slots, and of others if that is easier."""

    @abstractmethod
    def merge(self, pairs: Array) -> None:
        """Prepare for merged clusters in the later slots of these pairs."""

    @abstractmethod
    def move(self, places: Array) -> None:
        """Put what is known of slots to new places; there are fewer slots now."""

    def run(self) -> Merges:
        """Merge until there is one cluster."""
        n_samples = alive = self.n_slots
        pairs, outdated = np.empty((n_samples // 2, 2), np.int64), np.arange(n_samples)
        room = np.empty(n_samples, np.int64)
        while alive > 1:
            n_pairs = match(self.n_slots, self.search(outdated), self.forest, pairs)
            some = pairs[:n_pairs]
            self.merge(some)
            done = n_samples - alive
            count = join(self.n_slots, some, self.forest, self.merges, done, room)
            outdated = room[:count].copy()
            alive -= n_pairs
            if alive < FULL * self.n_slots:
                places = np.empty(self.n_slots, np.int64)
                self.n_slots = close_up(self.n_slots, self.forest, places)
                self.move(places)
                outdated = places[outdated]
        return self.merges


@kernel
def _label(order, first, second, sort, children):
    """Nodes of the tree out of merges of rows, by union-find."""
    n_samples = len(order) + 1
    parents = np.arange(2 * n_samples - 1)
    for k in range(len(order)):
        for side in range(2):
            node = first[order[k]] if side == 0 else second[order[k]]
            while parents[node] != node:
                parents[node] = parents[parents[node]]
                node = parents[node]
            children[k, side] = node
        a, b = children[k, 0], children[k, 1]
        if sort and a > b:
            children[k, 0], children[k, 1] = b, a
        parents[a] = parents[b] = n_samples + k


def tree_of(merges: Merges, *, sort: bool) -> tuple[Array, Array]:
    """Children and heights of all nodes, the lowest first.

    Parameters
    ----------
    merges : Merges
        Two rows and a height for each node.
    sort : bool
        Whether the child of the lower number is the first one; otherwise that of the first row.

    Returns
    -------
    children : ndarray of shape (n_samples - 1, 2), int64
        Rows, or ``n_samples`` plus the number of a node before.
    heights : ndarray of shape (n_samples - 1,), float64
        Ascending.
    """
    order = np.argsort(merges.heights, kind="stable")
    children = np.empty((len(order), 2), np.int64)
    _label(order, merges.first, merges.second, sort, children)
    return children, merges.heights[order]
