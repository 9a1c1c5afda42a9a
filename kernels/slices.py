"""How rows are cut into slices, and in which order what was summed over them is added up.

The number of slices and their borders follow from the shape of the data alone, so that results do
not depend on threads.  What slices bring is merged along one binary tree, which is the same for all
kernels: slices ``2i`` and ``2i + 1`` make a pair, pairs ``2j`` and ``2j + 1`` make a quad, and so
on up to a node that is the whole.  Where a right sibling lies behind the last slice, the left one
goes up alone.  What follows from that:

* A node covers ``2**level`` slices from a multiple of ``2**level`` on: an *aligned* range.  Whoever
  holds the slices of an aligned range can number them from zero and merge them alone, as if there
  were no others: a thread, a block of rows from a file, another machine.  What comes out is the
  node, bit for bit.  Only the last range may have fewer slices.  :class:`Chain` then merges
  consecutive nodes, and holds no more of them than the tree is high.
* Merging needs no pass of its own: of two siblings, the thread that finishes the later one adds
  them, while they are in its cache.  Which thread that is may be left to chance; what is added to
  what is not.

Left and right are added in this order everywhere, elementwise and in float64.  Not summed by slices
are clusters whose sums are many, or of sparse rows: there every owner of some clusters moves their
rows, in row order (:mod:`.update`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from .emit.cpu import TILE_ROWS, round_up
from .emit.memory import fetch_add
from .machine.compiling import helper
from .tiles import Array

Node = TypeVar("Node")

# Four tasks for each of 128 threads: one that is late then costs a quarter of its share.
MAX_SLICES = 512
# What slices keep apart takes up to so many bytes, or an 80th of what float32 rows take if that is
# more; FEWEST_SLICES there may be in any case.
KEPT_BYTES, KEPT_SHARE, FEWEST_SLICES = 3 << 20, 80, 64
# No slice has more numbers than this, so that rows which do not fit in memory are read by slices.
SLICE_ELEMENTS = 1 << 21


def rows_per_slice(n_samples: int, n_features: int, least: int, kept_bytes: int = 0) -> int:
    """Rows of a slice, in whole tiles: decided by the shape of the problem alone.

    Parameters
    ----------
    n_samples, n_features : int
        Shape of all rows.
    least : int
        Rows that are worth a task.
    kept_bytes : int
        What a slice keeps apart until it is merged: the more, the fewer slices.
    """
    room = max(KEPT_BYTES, 4 * n_samples * n_features // KEPT_SHARE)
    most = min(MAX_SLICES, max(FEWEST_SLICES, room // max(1, kept_bytes)))
    share = min(-(-n_samples // most), SLICE_ELEMENTS // n_features)
    return round_up(max(1, least, share), TILE_ROWS)


def aligned(n_slices: int) -> int:
    """Slices of a block, at most `n_slices`, so that every block is a node of the tree."""
    return 1 << (max(1, n_slices).bit_length() - 1)


@helper
def first_of(number, size):
    """The first slice of the node of `size`, a power of two, that slice `number` belongs to."""
    return number & -size


@helper
def next_merge(number, step, n_slices, arrivals):
    """How far right of its left sibling the next node lies that this thread has to merge.

    Called by whoever has finished slice `number`, with a `step` of 1; then, when what lies `step`
    behind ``first_of(number, 2 * step)`` has been added to that, with the double.  0 where there
    is nothing to do any more, or where the sibling is still to come: its thread will go on.
    ``arrivals`` (n_slices,) int64 is zero before and after.
    """
    while step < n_slices:
        right = first_of(number, 2 * step) + step
        if right < n_slices:
            # Each inner node has a right child that begins at a slice of its own.
            if fetch_add(arrivals, right, np.int64(1)) == 0:
                return np.int64(0)
            arrivals[right] = 0
            return step
        step *= 2
    return np.int64(0)


@helper
def merge_upward(number, n_slices, arrivals, sums):
    """After slice `number` of ``sums`` (slices, size) is there: add up what can be, to line 0."""
    step = next_merge(number, np.int64(1), n_slices, arrivals)
    while step > 0:
        left = first_of(number, 2 * step)
        for i in range(sums.shape[1]):
            sums[left, i] += sums[left + step, i]
        step = next_merge(number, 2 * step, n_slices, arrivals)


def tree_sum(parts: Array) -> Array:
    """The same sum over the first axis of ``parts`` (slices, …), of at least one slice."""
    sums, step = np.array(parts, np.float64), 1
    while step < len(sums):
        right = sums[step :: 2 * step]
        sums[: len(right) * 2 * step : 2 * step] += right
        step *= 2
    return sums[0]


class Chain(Generic[Node]):
    """Merges the nodes of consecutive ranges of slices to the node of all.

    Parameters
    ----------
    merge : callable
        Makes a node of its left and its right child.

    Examples
    --------
    >>> chain = Chain(lambda left, right: f"({left} {right})")
    >>> for node in "abcde":
    ...     chain.add(2, node)
    >>> chain.add(1, "f")
    >>> chain.total()
    '(((a b) (c d)) (e f))'
    """

    def __init__(self, merge: Callable[[Node, Node], Node]) -> None:
        self._merge = merge
        self._nodes: list[tuple[int, Node]] = []  # numbers of slices, which fall; and their sums

    def add(self, n_slices: int, node: Node) -> None:
        """Take over the next range: an aligned one, or the last of all."""
        while self._nodes and self._nodes[-1][0] == n_slices:
            node = self._merge(self._nodes.pop()[1], node)
            n_slices *= 2
        self._nodes.append((n_slices, node))

    def total(self) -> Node:
        """The sum of all ranges, of which there must be one; the chain is empty again."""
        node = self._nodes.pop()[1]
        while self._nodes:
            node = self._merge(self._nodes.pop()[1], node)
        return node


def add(left: Any, right: Any) -> Any:
    """The node of two sums."""
    return left + right
