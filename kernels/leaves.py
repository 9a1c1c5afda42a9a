"""Rows in leaves of a tree: tiles of 64 rows that lie near each other, each with the box around it.

Rows are halved at the median along the axis on which they are spread most, until 64 are left
(Bentley, J. L.: Multidimensional binary search trees used for associative searching. Communications
of the ACM 18, 1975).  Leaves that follow each other lie near each other, and so do groups of them,
which have boxes, too.  Rows of two leaves whose boxes are too far apart are never compared.

Of rows with many features, it is a few directions along which they are spread most that decide
where they are halved.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .emit.cpu import TILE_ROWS, part_rows
from .machine.compiling import helper, kernel, vector_sum
from .machine.parallel import Team, next_task
from .tiles import Array, aligned_empty, read_only

BLOCK_BYTES = 1024  # of each row that meet at a time: two parts fit into the first-level cache
GROUP = 16  # leaves that share a box
MOST_AXES = 16  # features up to which rows are halved along these themselves
DIRECTIONS, SAMPLE = 8, 512  # directions along which others are, and rows by which these are found


class Leaves(NamedTuple):
    """Rows in the order of their leaves."""

    X: Array  # (n, d): as they came
    order: Array  # (n,): which rows the leaves consist of
    tiles: Array  # ``[leaf][block of features][part][feature][row]``
    block: int  # features of a block
    part: int  # rows of a part
    boxes: Array  # (leaves, 2, d) float64: least and largest value
    groups: Array  # (groups, 2, d) float64: of GROUP leaves


def _directions(X: Array) -> Array:
    """A few directions along which rows are spread most, roughly (d, directions)."""
    sample = X[:: max(1, len(X) // SAMPLE)].astype(np.float64)
    sample -= sample.mean(axis=0)
    found = np.random.RandomState(0).normal(size=(X.shape[1], DIRECTIONS))
    for _ in range(2):
        found = np.linalg.qr(sample.T @ (sample @ found))[0]
    return found.astype(X.dtype)


def tree_order(X: Array) -> Array:
    """Numbers of the rows, leaf by leaf."""
    if X.shape[1] > MOST_AXES:
        X = X @ _directions(X)
    order = np.arange(len(X))
    waiting = [(0, len(X))]
    while waiting:
        start, stop = waiting.pop()
        n_leaves = -(-(stop - start) // TILE_ROWS)
        if n_leaves < 2:
            continue
        own = order[start:stop]
        rows = X.take(own, axis=0)
        axis = int(np.argmax(rows.max(axis=0) - rows.min(axis=0)))
        middle = n_leaves // 2 * TILE_ROWS
        order[start:stop] = own[np.argpartition(rows[:, axis], middle)]
        waiting += [(start, start + middle), (start + middle, stop)]
    return order


@kernel
def _pack(counter, gate, n_tasks, X, order, block, part, tiles, boxes):
    n_samples, n_features = X.shape
    while True:
        leaf = next_task(counter, gate, n_tasks)
        if leaf >= n_tasks:
            break
        first = leaf * TILE_ROWS
        for lane in range(TILE_ROWS):
            row = order[min(first + lane, n_samples - 1)]  # the last leaf is filled with its last
            for start in range(0, n_features, block):
                width = min(block, n_features - start)
                place = (leaf * n_features + start) * TILE_ROWS
                place += lane // part * part * width + lane % part
                for t in range(width):
                    tiles[place + t * part] = X[row, start + t]
            for t in range(n_features):
                value = np.float64(X[row, t])
                if lane == 0 or value < boxes[leaf, 0, t]:
                    boxes[leaf, 0, t] = value
                if lane == 0 or value > boxes[leaf, 1, t]:
                    boxes[leaf, 1, t] = value


def make_leaves(X: Array, team: Team) -> Leaves:
    """Sort rows (n, d), C-contiguous floats, into leaves."""
    n_samples, n_features = X.shape
    order = tree_order(X)
    n_leaves = -(-n_samples // TILE_ROWS)
    block, part = BLOCK_BYTES // X.itemsize, part_rows(X.dtype)
    tiles = aligned_empty(n_leaves * TILE_ROWS * n_features, X.dtype)
    boxes = np.empty((n_leaves, 2, n_features))
    team.run(
        _pack, 4.0 * X.size, n_leaves, read_only(X), read_only(order), block, part, tiles, boxes
    )  # fmt: skip
    starts = np.arange(0, n_leaves, GROUP)
    groups = np.empty((len(starts), 2, n_features))
    np.minimum.reduceat(boxes[:, 0], starts, out=groups[:, 0])
    np.maximum.reduceat(boxes[:, 1], starts, out=groups[:, 1])
    X, order, tiles, boxes, groups = map(read_only, (X, order, tiles, boxes, groups))
    return Leaves(X, order, tiles, block, part, boxes, groups)


@vector_sum
def gap(boxes, number, box, absolute):
    """How far a box is from another one: the squared distance, or the sum along the axes."""
    total = 0.0
    for t in range(boxes.shape[2]):
        between = max(boxes[number, 0, t] - box[1, t], box[0, t] - boxes[number, 1, t])
        between = max(between, 0.0)
        total += between if absolute else between * between
    return total


@vector_sum
def span(boxes, number, box, absolute):
    """How far two points of the boxes can be from each other."""
    total = 0.0
    for t in range(boxes.shape[2]):
        across = max(boxes[number, 1, t] - box[0, t], box[1, t] - boxes[number, 0, t])
        total += across if absolute else across * across
    return total


@helper
def leaves_near(boxes, groups, box, reach, absolute, leaf, stop, found):
    """List the leaves below `stop` that may have rows within `reach` of a box; how many.

    The group of `leaf` first, then those beside it, farther and farther away.
    """
    n_groups, home, count = len(groups), leaf // GROUP, np.int64(0)
    for turn in range(2 * n_groups):
        group = home + (turn + 1) // 2 * (1 if turn % 2 == 0 else -1)
        if group < 0 or group >= n_groups or group * GROUP >= stop:
            continue
        if gap(groups, group, box, absolute) > reach:
            continue
        for other in range(group * GROUP, min((group + 1) * GROUP, stop)):
            if gap(boxes, other, box, absolute) <= reach:
                found[count] = other
                count += 1
    return count


@helper
def take_lanes(leaves, leaf, lanes, count, queries, rows, box):
    """Copy `count` rows of a leaf to a tile of their own, and find their numbers and their box."""
    X, order, tiles = leaves.X, leaves.order, leaves.tiles
    n_features, part, block = X.shape[1], leaves.part, leaves.block
    for k in range(count):
        lane = lanes[k]
        row = order[leaf * TILE_ROWS + lane]
        rows[k] = row
        for start in range(0, n_features, block):
            width = min(block, n_features - start)
            source = (leaf * n_features + start) * TILE_ROWS
            source += lane // part * part * width + lane % part
            target = start * TILE_ROWS + k // part * part * width + k % part
            for t in range(width):
                queries[target + t * part] = tiles[source + t * part]
        for t in range(n_features):
            value = np.float64(X[row, t])
            if k == 0 or value < box[0, t]:
                box[0, t] = value
            if k == 0 or value > box[1, t]:
                box[1, t] = value
