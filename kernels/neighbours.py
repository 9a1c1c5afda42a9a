"""DBSCAN of rows with any number of features: leaves of a tree against leaves, tile by tile.

A row is not compared any more once it is known to be core, and two leaves are not compared whose
core rows are all in one cluster: what is left are rows that are no core, and leaves of different
clusters that lie near each other.  Nothing is kept of a pair of rows.

Ester, M., Kriegel, H.-P., Sander, J., Xu, X.: A density-based algorithm for discovering clusters in
large spatial databases with noise. KDD 1996.

Distances come from vector code, in the type of the rows.  Those that are so near the limit that
its rounding might decide are computed again as scikit-learn's trees do: differences in float64,
added up one feature after the other, no addition fused with a product.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .clusters import BORDER_MAYBE, UNDECIDED, Clusters, Problem, number_clusters
from .emit.bits import count_bits
from .emit.cpu import TILE_ROWS
from .emit.masks import below, lowest_bit
from .emit.rows_and_rows import add_absolutes, add_differences
from .leaves import Leaves, gap, leaves_near, span, take_lanes
from .machine.compiling import helper, kernel
from .machine.parallel import Team, next_task
from .tiles import Array, padded_vector, scratch
from .unions import find, singletons, unite

ONE = np.uint64(1)
MOST_WORK = 2e9  # multiply-adds of one call of a kernel, which Ctrl-C cannot interrupt


class Measure(NamedTuple):
    """How far rows may be apart, squared or (`absolute`) as a sum of absolute differences."""

    absolute: bool
    narrow: bool  # differences are rounded to the type of the rows
    limit: float
    low: float  # rows nearer than this by vector code are near,
    high: float  # and those that are not nearer than this are not
    lows: Array  # (64,): the same, in the type of the rows
    highs: Array


def make_measure(X: Array, limit: float, *, absolute: bool, narrow: bool) -> Measure:
    """A limit for rows of the shape and type of `X`, with what rounding may do to distances."""
    slack = (X.shape[1] + 8.0) * 2 * np.finfo(X.dtype).eps
    low, high = limit * (1 - slack), np.nextafter(X.dtype.type(limit * (1 + slack)), np.inf)
    lows, highs = (padded_vector(np.full(TILE_ROWS, each), X.dtype) for each in (low, high))
    return Measure(absolute, narrow, float(limit), float(low), float(high), lows, highs)


@helper
def distance(X, row, Y, other, absolute, narrow):
    """Distance of two rows as scikit-learn has it, squared unless `absolute`."""
    total = 0.0
    for t in range(X.shape[1]):
        if narrow:
            difference = np.float64(X[row, t] - Y[other, t])
        else:
            difference = np.float64(X[row, t]) - np.float64(Y[other, t])
        total += abs(difference) if absolute else difference * difference
    return total


@helper
def rows_of_leaf(n_samples, leaf):
    """Mask of the rows that a leaf has."""
    here = min(TILE_ROWS, n_samples - leaf * TILE_ROWS)
    return ~np.uint64(0) >> np.uint64(TILE_ROWS - here)


@helper
def measure_leaf(leaves, absolute, leaf, queries, count, values):
    """Distances of `count` rows of a tile to the rows of a leaf, ``[query][row]``."""
    n_features, block, tiles = leaves.X.shape[1], leaves.block, leaves.tiles
    for i in range(-(-count // 4) * 4 * TILE_ROWS):
        values[i] = 0
    for start in range(0, n_features, block):
        width = min(block, n_features - start)
        own = tiles[(leaf * n_features + start) * TILE_ROWS :]
        others = queries[start * TILE_ROWS :]
        if absolute:
            add_absolutes(own, others, width, count, values)
        else:
            add_differences(own, others, width, count, values)


@helper
def _near(leaves, measure, leaf, queries, rows, count, wanted, values, masks):
    """Masks of the `wanted` rows of a leaf that are near each of some rows; whether there are any.

    `queries` are these rows as a tile, `rows` their numbers.
    """
    X, order, limit = leaves.X, leaves.order, measure.limit
    lows, highs, absolute, narrow = measure.lows, measure.highs, measure.absolute, measure.narrow
    measure_leaf(leaves, absolute, leaf, queries, count, values)
    found = np.uint64(0)
    for k in range(count):
        near = below(values, k * TILE_ROWS, lows) & wanted
        open_ = below(values, k * TILE_ROWS, highs) & wanted & ~near
        while open_ != 0:
            lane = lowest_bit(open_)
            open_ &= open_ - ONE
            other = order[leaf * TILE_ROWS + lane]
            if distance(X, rows[k], X, other, absolute, narrow) <= limit:
                near |= ONE << np.uint64(lane)
        masks[k] = near
        found |= near
    return found != 0


@helper
def _weight(weights, order, leaf, mask):
    total = 0.0
    while mask != 0:
        total += weights[order[leaf * TILE_ROWS + lowest_bit(mask)]]
        mask &= mask - ONE
    return total


@helper
def _list_lanes(mask, lanes):
    """List the bits of a mask; how many."""
    count = np.int64(0)
    while mask != 0:
        lanes[count] = lowest_bit(mask)
        count += 1
        mask &= mask - ONE
    return count


@kernel
def _find_cores(counter, gate, n_tasks, begin, leaves, measure, problem, core, masks_of_core):
    """Which rows are core (`core`, in the order of the leaves), and their masks by leaf.

    Those of leaves ``begin … begin + n_tasks - 1``, as in all kernels here.
    """
    X, order, tiles, boxes = leaves.X, leaves.order, leaves.tiles, leaves.boxes
    absolute, low, high = measure.absolute, measure.low, measure.high
    weights, least, doubt = problem.weights, problem.min_samples, problem.doubt
    n_samples, n_features = X.shape
    weighted = len(weights) > 0
    queries = scratch(tiles, n_features * TILE_ROWS)
    values = scratch(tiles, TILE_ROWS * TILE_ROWS)
    masks, box = np.empty(TILE_ROWS, np.uint64), np.empty((2, n_features))
    lanes, rows = np.empty(TILE_ROWS, np.int64), np.empty(TILE_ROWS, np.int64)
    totals, sums = np.empty(TILE_ROWS, np.int64), np.empty(TILE_ROWS)
    near = np.empty(len(boxes), np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        leaf = begin + task
        count = _list_lanes(rows_of_leaf(n_samples, leaf), lanes)
        here = count
        for i in range(TILE_ROWS):
            totals[i], sums[i] = 0, 0.0
        take_lanes(leaves, leaf, lanes, count, queries, rows, box)
        n_near = leaves_near(boxes, leaves.groups, box, high, absolute, leaf, len(boxes), near)
        for i in range(n_near):
            other = near[i]
            if gap(boxes, other, box, absolute) > high:
                continue
            all_rows = rows_of_leaf(n_samples, other)
            if span(boxes, other, box, absolute) < low:
                for k in range(count):
                    masks[k] = all_rows
            elif not _near(leaves, measure, other, queries, rows, count, all_rows, values, masks):
                continue
            for k in range(count):
                totals[lanes[k]] += count_bits(masks[k])
                if weighted:
                    sums[lanes[k]] += _weight(weights, order, other, masks[k])
            if weighted:
                continue
            left = np.int64(0)
            for k in range(count):
                left += totals[lanes[k]] < least
            if left == 0:
                break
            if (left + 3) // 4 < (count + 3) // 4:
                left = 0
                for k in range(count):
                    if totals[lanes[k]] < least:
                        lanes[left] = lanes[k]
                        left += 1
                count = left
                take_lanes(leaves, leaf, lanes, count, queries, rows, box)
        found = np.uint64(0)
        for lane in range(here):
            if weighted:
                is_core = sums[lane] >= least
                undecided = abs(sums[lane] - least) <= doubt
            else:
                is_core, undecided = totals[lane] >= least, False
            state = BORDER_MAYBE if totals[lane] > 1 else 0
            if undecided:
                state = UNDECIDED
            elif is_core:
                state = 1
            core[leaf * TILE_ROWS + lane] = state
            if is_core:
                found |= ONE << np.uint64(lane)
        masks_of_core[leaf] = found


@helper
def _is_whole(parents, leaf, mask):
    """Whether rows of a leaf are of one set."""
    first = leaf * TILE_ROWS
    root = find(parents, first + lowest_bit(mask))
    mask &= mask - ONE
    while mask != 0:
        if find(parents, first + lowest_bit(mask)) != root:
            return False
        mask &= mask - ONE
    return True


@helper
def _join(parents, member, leaf, mask):
    """Unite a row with rows of a leaf."""
    while mask != 0:
        other = leaf * TILE_ROWS + lowest_bit(mask)
        mask &= mask - ONE
        if find(parents, member) != find(parents, other):
            unite(parents, member, other)


@kernel
def _unite(counter, gate, n_tasks, begin, leaves, measure, masks_of_core, parents, whole):
    """Make one set of core rows that are near each other; each pair is seen from the later leaf.

    ``whole[leaf]`` becomes 1 where its core rows are seen to be of one set, which they then stay.
    """
    X, tiles, boxes, absolute, high = (
        leaves.X, leaves.tiles, leaves.boxes, measure.absolute, measure.high,
    )  # fmt: skip
    n_features = X.shape[1]
    queries = scratch(tiles, n_features * TILE_ROWS)
    values = scratch(tiles, TILE_ROWS * TILE_ROWS)
    masks, box = np.empty(TILE_ROWS, np.uint64), np.empty((2, n_features))
    lanes, rows = np.empty(TILE_ROWS, np.int64), np.empty(TILE_ROWS, np.int64)
    near = np.empty(len(boxes), np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        leaf = begin + task
        own = masks_of_core[leaf]
        if own == 0:
            continue
        count = _list_lanes(own, lanes)
        take_lanes(leaves, leaf, lanes, count, queries, rows, box)
        first = leaf * TILE_ROWS
        n_near = leaves_near(boxes, leaves.groups, box, high, absolute, leaf, leaf + 1, near)
        for i in range(n_near):
            other = near[i]
            theirs = masks_of_core[other]
            if theirs == 0:
                continue
            if whole[other] == 0 and _is_whole(parents, other, theirs):
                whole[other] = 1
            if whole[leaf] == 0 and _is_whole(parents, leaf, own):
                whole[leaf] = 1
            one = find(parents, other * TILE_ROWS + lowest_bit(theirs))
            both = whole[other] == 1 and whole[leaf] == 1
            if both and find(parents, first + lanes[0]) == one:
                continue
            if not _near(leaves, measure, other, queries, rows, count, theirs, values, masks):
                continue
            for k in range(count):
                mask = masks[k]
                if whole[other] == 1 and mask != 0:
                    mask = ONE << np.uint64(lowest_bit(mask))
                _join(parents, first + lanes[k], other, mask)


@kernel
def _name_roots(counter, gate, n_tasks, begin, leaves, masks_of_core, parents, labels):
    """Give each core row its root for a label, and all others -1."""
    order = leaves.order
    n_samples = len(order)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        leaf = begin + task
        mask = masks_of_core[leaf]
        for row in range(leaf * TILE_ROWS, min((leaf + 1) * TILE_ROWS, n_samples)):
            labels[order[row]] = find(parents, row) if mask & ONE != 0 else -1
            mask >>= ONE


@kernel
def _label_borders(
    counter, gate, n_tasks, begin, leaves, measure, core, masks_of_core, whole, parents, numbers,
    labels,
):  # fmt: skip
    """Give each row that is no core the first cluster of a core row near it."""
    X, tiles, boxes = leaves.X, leaves.tiles, leaves.boxes
    absolute, high = measure.absolute, measure.high
    n_samples, n_features = X.shape
    queries = scratch(tiles, n_features * TILE_ROWS)
    values = scratch(tiles, TILE_ROWS * TILE_ROWS)
    masks, box = np.empty(TILE_ROWS, np.uint64), np.empty((2, n_features))
    lanes, rows = np.empty(TILE_ROWS, np.int64), np.empty(TILE_ROWS, np.int64)
    best, near = np.empty(TILE_ROWS, np.int64), np.empty(len(boxes), np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        leaf = begin + task
        first, count = leaf * TILE_ROWS, np.int64(0)
        for lane in range(min(TILE_ROWS, n_samples - first)):
            if core[first + lane] == BORDER_MAYBE:
                lanes[count], best[count] = lane, len(numbers)
                count += 1
        if count == 0:
            continue
        take_lanes(leaves, leaf, lanes, count, queries, rows, box)
        n_near = leaves_near(boxes, leaves.groups, box, high, absolute, leaf, len(boxes), near)
        for i in range(n_near):
            other = near[i]
            theirs = masks_of_core[other]
            if theirs == 0:
                continue
            if whole[other] == 1:
                number = numbers[find(parents, other * TILE_ROWS + lowest_bit(theirs))]
                worst = np.int64(-1)
                for k in range(count):
                    worst = max(worst, best[k])
                if number >= worst:
                    continue
            if not _near(leaves, measure, other, queries, rows, count, theirs, values, masks):
                continue
            for k in range(count):
                mask = masks[k]
                while mask != 0:
                    member = other * TILE_ROWS + lowest_bit(mask)
                    mask &= mask - ONE
                    best[k] = min(best[k], numbers[find(parents, member)])
        for k in range(count):
            if best[k] < len(numbers):
                labels[rows[k]] = best[k]


def cluster_leaves(leaves: Leaves, measure: Measure, problem: Problem, team: Team) -> Clusters:
    """Cores and clusters of rows in leaves.

    Parameters
    ----------
    leaves : Leaves
        Rows.
    measure : Measure
        What makes neighbours of them.
    problem : Problem
        What makes cores.
    team : Team
        Threads to run on.
    """
    n_samples, n_features = leaves.X.shape
    n_leaves = len(leaves.boxes)
    per_leaf = float(TILE_ROWS * n_samples * n_features)
    together = max(team.n_threads, int(MOST_WORK / per_leaf))

    def run(function: Any, *arguments: Any) -> None:
        for begin in range(0, n_leaves, together):
            some = min(together, n_leaves - begin)
            team.run(function, per_leaf * some, some, begin, leaves, *arguments)

    core, masks = np.zeros(n_samples, np.uint8), np.zeros(n_leaves, np.uint64)
    run(_find_cores, measure, problem.numbers(), core, masks)
    if problem.decide(core, leaves.order):
        bits = np.zeros(n_leaves * TILE_ROWS, np.uint8)
        bits[:n_samples] = core == 1
        masks[:] = np.packbits(bits, bitorder="little").view("<u8")
    parents, whole = singletons(n_leaves * TILE_ROWS), np.zeros(n_leaves, np.uint8)
    run(_unite, measure, masks, parents, whole)
    labels = np.empty(n_samples, np.int64)
    run(_name_roots, masks, parents, labels)
    numbers = number_clusters(labels, len(parents))
    run(_label_borders, measure, core, masks, whole, parents, numbers, labels)
    return Clusters.of(labels, core, leaves.order)
