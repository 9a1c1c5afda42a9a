"""The nearest of some rows to each of others, if any is near enough: leaves against leaves."""

from __future__ import annotations

import numpy as np

from .emit.cpu import TILE_ROWS
from .emit.masks import below, lowest_bit
from .leaves import Leaves, gap, leaves_near, take_lanes
from .machine.compiling import kernel
from .machine.parallel import Team, next_task
from .neighbours import MOST_WORK, Measure, distance, measure_leaf, rows_of_leaf
from .tiles import Array, scratch


@kernel
def _find(counter, gate, n_tasks, begin, asking, leaves, measure, slack, least, found):
    """Number of the nearest row, the lowest of several, or -1; `asking` are leaves of rows, too."""
    X, order, tiles, boxes = leaves.X, leaves.order, leaves.tiles, leaves.boxes
    Y, numbers = asking.X, asking.order
    absolute, narrow, limit = measure.absolute, measure.narrow, measure.limit
    n_samples, n_features = X.shape
    queries, limits = scratch(tiles, n_features * TILE_ROWS), scratch(tiles, TILE_ROWS)
    values = scratch(tiles, TILE_ROWS * TILE_ROWS)
    lanes, rows = np.arange(TILE_ROWS), np.empty(TILE_ROWS, np.int64)
    box = np.empty((2, n_features))
    best, nearest = np.empty(TILE_ROWS), np.empty(TILE_ROWS, np.int64)
    near = np.empty(len(boxes), np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        leaf = begin + task
        count = min(TILE_ROWS, len(numbers) - leaf * TILE_ROWS)
        take_lanes(asking, leaf, lanes, count, queries, rows, box)
        for k in range(count):
            best[k], nearest[k] = limit, -1
        n_near = leaves_near(boxes, leaves.groups, box, measure.high, absolute, 0, len(boxes), near)
        closest, smallest = np.int64(0), np.inf
        for i in range(n_near):
            away = gap(boxes, near[i], box, absolute)
            if away < smallest:
                closest, smallest = i, away
        for i in range(n_near):
            # The leaf whose box is nearest comes first.
            other = near[closest if i == 0 else 0 if i == closest else i]
            worst = 0.0
            for k in range(count):
                worst = max(worst, best[k])
            if gap(boxes, other, box, absolute) > worst * slack + least:
                continue
            measure_leaf(leaves, absolute, other, queries, count, values)
            all_rows = rows_of_leaf(n_samples, other)
            for k in range(count):
                bound = best[k] * slack + least  # above what rounding makes of the best
                for lane in range(TILE_ROWS):
                    limits[lane] = bound
                mask = below(values, k * TILE_ROWS, limits) & all_rows
                while mask != 0:
                    row = order[other * TILE_ROWS + lowest_bit(mask)]
                    mask &= mask - np.uint64(1)
                    away = distance(Y, rows[k], X, row, absolute, narrow)
                    first = nearest[k] < 0 or row < nearest[k]
                    if away < best[k] or (away == best[k] and first):
                        best[k], nearest[k] = away, row
        for k in range(count):
            found[rows[k]] = nearest[k]


def nearest_rows(asking: Leaves, leaves: Leaves, measure: Measure, team: Team) -> Array:
    """Number of the nearest row of `leaves` to each row of `asking`, -1 where none is near."""
    n_leaves, (n_samples, n_features) = len(asking.boxes), leaves.X.shape
    slack = 1 + 2 * (n_features + 8.0) * 2 * float(np.finfo(leaves.X.dtype).eps)
    least = float(np.finfo(leaves.X.dtype).tiny)
    found = np.empty(len(asking.X), np.int64)
    per_leaf = float(TILE_ROWS * n_samples * n_features)
    together = max(team.n_threads, int(MOST_WORK / per_leaf))
    for begin in range(0, n_leaves, together):
        some = min(together, n_leaves - begin)
        team.run(_find, per_leaf * some, some, begin, asking, leaves, measure, slack, least, found)
    return found
