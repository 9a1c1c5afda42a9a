"""The rows that a mini-batch lists: their nearest centers, and their labels once more.

Rows are read where they lie, by their numbers; no batch is ever copied.
"""

from __future__ import annotations

import numpy as np

from .batch_rules import add_rows
from .emit.cpu import TILE_ROWS
from .emit.masks import changed_labels
from .emit.packing import pack_listed_rows
from .emit.search_in_place import FEATURE_ROWS, nearest_of_few
from .emit.search_rows import nearest_in_tile, nearest_two_in_tile
from .machine.compiling import kernel, vector_sum
from .machine.parallel import next_task
from .tiles import centred_difference, scratch

TASK_TILES = 2
# Most rows stay where they are when a batch is labelled once more: a task finds the others among so
# many that they fill a tile.
RELABEL_TILES = 8
FEW_FEATURES = 4  # up to here, listed rows are transposed one number at a time


@vector_sum
def copy_row(X, row, shift, block, slot):
    """Copy a row of `X` to a row of `block`; the squared length of it minus `shift`."""
    total = shift[0] - shift[0]  # zero, of their type
    for t in range(X.shape[1]):
        block[slot, t] = X[row, t]
        value = X[row, t] - shift[t]
        total += value * value
    return total


@kernel
def assign_listed(
    counter, gate, n_tasks, X, listed, row_weights, shift, n_clusters, panels, labels, apart,
    inertias, lengths, piles,
):  # fmt: skip
    """Nearest centers of the rows of `X` that a batch lists.

    Where there is an array `apart`, it receives how far each row is at least from all centers but
    its own; `lengths` receives the sum of squared lengths of each task's rows, which is finite only
    where they are.  Where rows are read only once, they are added to `piles`.
    """
    by_features, n_wide, n_narrow, packed_centers, bias = panels
    pile_sums, pile_weights, pile_touched = piles
    n_features, batch_size = X.shape[1], len(listed)
    packed = scratch(shift, np.int64(0) if by_features else len(shift) * TILE_ROWS)
    block = np.empty((TILE_ROWS if by_features else 0, n_features), shift.dtype)
    best, index = scratch(shift, TILE_ROWS), scratch(shift, TILE_ROWS)
    second = scratch(shift, TILE_ROWS)
    norms = np.empty(TILE_ROWS, shift.dtype)
    winners = np.empty(TILE_ROWS, np.int32)
    # One vector more than a tile: rows that pack_listed_rows fetches early.
    tile = np.zeros(2 * TILE_ROWS, np.int64)
    rounding = 8.0 * (n_features + 8) * (1.2e-7 if shift.itemsize == 4 else 2.3e-16)
    reach = 0.0
    for cluster in range(n_clusters if len(apart) else 0):
        reach = max(reach, 2.0 * np.float64(bias[cluster]))
    weighted = len(row_weights) > 0
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        total, length = 0.0, 0.0
        if by_features:
            for place in range(task * n_clusters, (task + 1) * n_clusters):
                pile_weights[place] = 0.0
                pile_touched[place] = False
                for t in range(n_features):
                    pile_sums[place, t] = 0.0
        start = task * TASK_TILES * TILE_ROWS
        stop = min(start + TASK_TILES * TILE_ROWS, batch_size)
        for first in range(start, stop, TILE_ROWS):
            filled = min(TILE_ROWS, batch_size - first)
            if by_features:
                # A few rows at a time, for all that is done with them: they are read once.
                for row in range(0, filled, FEATURE_ROWS):
                    few = min(FEATURE_ROWS, filled - row)
                    for i in range(row, row + few):
                        norms[i] = copy_row(X, listed[first + i], shift, block, i)
                    nearest_of_few(
                        X[:0], block, 0, shift, packed_centers, bias, n_wide, n_narrow, best,
                        index, row,
                    )  # fmt: skip
                    changed_labels(index, labels, first, winners, np.int64(0))
                    for i in range(row, row + few):
                        labels[first + i] = winners[i]
                        length += np.float64(norms[i])
                        square = max(np.float64(norms[i]) + 2.0 * np.float64(best[i]), 0.0)
                        weight = np.float64(row_weights[first + i]) if weighted else 1.0
                        total += square * weight
                    add_rows(
                        first + row, first + row + few, X, listed, labels, row_weights,
                        shift, pile_sums, pile_weights, pile_touched, task * n_clusters,
                    )  # fmt: skip
                continue
            for i in range(2 * TILE_ROWS):  # the last row stands in where there are no more
                tile[i] = listed[min(first + i, batch_size - 1)]
            if n_features > FEW_FEATURES:
                pack_listed_rows(X, tile, 0, n_features, shift, packed)
            else:
                for i in range(TILE_ROWS):
                    row = tile[i]
                    for t in range(n_features):
                        packed[t * TILE_ROWS + i] = X[row, t] - shift[t]
            if len(apart):
                nearest_two_in_tile(
                    packed, packed_centers, bias, n_wide, n_narrow, n_features, best, index,
                    second,
                )  # fmt: skip
            else:
                nearest_in_tile(
                    packed, packed_centers, bias, n_wide, n_narrow, n_features, best, index
                )
            changed_labels(index, labels, first, winners, np.int64(0))
            for i in range(TILE_ROWS):
                norms[i] = 0
            for t in range(n_features):
                for i in range(TILE_ROWS):
                    value = packed[t * TILE_ROWS + i]
                    norms[i] += value * value
            if len(apart):
                for i in range(filled):
                    norm = np.float64(norms[i])
                    square = norm + 2.0 * np.float64(second[i]) - rounding * (norm + reach)
                    apart[first + i] = np.sqrt(max(square, 0.0))
            for i in range(filled):
                labels[first + i] = winners[i]
                length += np.float64(norms[i])
                square = max(np.float64(norms[i]) + 2.0 * np.float64(best[i]), 0.0)
                weight = np.float64(row_weights[first + i]) if weighted else 1.0
                total += square * weight
        inertias[task], lengths[task] = total, length


@vector_sum
def own_distance(X, row, shift, exact, cluster):
    """As :func:`.tiles.squared_distance`, without views of rows, whose references are counted."""
    total = 0.0
    for t in range(X.shape[1]):
        difference = centred_difference(X[row, t], shift[t], exact[cluster, t])
        total += difference * difference
    return total


@kernel
def relabel_listed(
    counter, gate, n_tasks, X, listed, row_weights, shift, panels, exact, labels, apart, moved,
    inertias,
):  # fmt: skip
    """Nearest centers of one batch after they have moved by at most `moved`, and the inertia.

    By the triangle inequality a row stays where its own center is closer than `apart` less
    `moved`; only the others are compared with all centers.
    """
    _, n_wide, n_narrow, packed_centers, bias = panels
    n_features = X.shape[1]
    batch_size = len(listed)
    packed = scratch(shift, len(shift) * TILE_ROWS)
    best, index = scratch(shift, TILE_ROWS), scratch(shift, TILE_ROWS)
    winners, unused = np.empty(TILE_ROWS, np.int32), np.empty(TILE_ROWS, np.int32)
    places = np.empty(RELABEL_TILES * TILE_ROWS, np.int64)
    own = np.empty(RELABEL_TILES * TILE_ROWS)
    tile = np.zeros(2 * TILE_ROWS, np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start = task * RELABEL_TILES * TILE_ROWS
        stop = min(start + RELABEL_TILES * TILE_ROWS, batch_size)
        count = 0
        for i in range(start, stop):
            own[i - start] = own_distance(X, listed[i], shift, exact, labels[i])
            places[count] = i
            count += not np.sqrt(own[i - start]) < apart[i] - moved
        for first in range(0, count, TILE_ROWS):
            for i in range(2 * TILE_ROWS):
                tile[i] = listed[places[min(first + i, count - 1)]]
            if n_features > FEW_FEATURES:
                pack_listed_rows(X, tile, 0, n_features, shift, packed)
            else:
                for i in range(TILE_ROWS):
                    row = tile[i]
                    for t in range(n_features):
                        packed[t * TILE_ROWS + i] = X[row, t] - shift[t]
            nearest_in_tile(packed, packed_centers, bias, n_wide, n_narrow, n_features, best, index)
            changed_labels(index, unused, 0, winners, np.int64(0))
            for i in range(min(TILE_ROWS, count - first)):
                place = places[first + i]
                if labels[place] != winners[i]:
                    labels[place] = winners[i]
                    own[place - start] = own_distance(X, tile[i], shift, exact, winners[i])
        total = 0.0
        for i in range(start, stop):
            weight = np.float64(row_weights[i]) if len(row_weights) else 1.0
            total += own[i - start] * weight
        inertias[task] = total
