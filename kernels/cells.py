"""DBSCAN of rows with up to three features: rows in cells, and cells united.

Gan, J., Tao, Y.: DBSCAN revisited: mis-claim, un-fixability, and approximation. SIGMOD 2015.
Wang, Y., Gu, Y., Shun, J.: Theoretically-efficient and practical parallel DBSCAN. SIGMOD 2020.

Space is cut into cells so small that rows of one cell are neighbours.  All rows of a cell that has
as many as make a core are core at once, and those of a cell that are core are in one cluster: what
is united are cells.  Two of them are compared only while nothing else has united them, and only
until two core rows are found near.  Nothing is kept of a pair of rows; the memory is that of the
rows, sorted by cell, and a few numbers for each.

Whether two rows are near is asked in the arithmetic of scikit-learn's trees: differences in
float64, squares added one feature after the other, no addition fused with a product.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .clusters import BORDER_MAYBE, UNDECIDED, Clusters, Problem, number_clusters
from .machine.compiling import helper, kernel
from .machine.parallel import Team, next_task
from .tiles import Array, read_only
from .unions import find, singletons, unite

MOST_FEATURES = 3
# A cell is smaller than it might be by this share, so that no rounding of a row's place in the
# grid makes neighbours of rows that are none.
SHRINK = 1e-5
MOST_CELLS = 2.0**30  # side by side: places are exact to much less than that share of a cell
REACH = 2  # no row has neighbours in cells farther away, along each axis
TASK_ROWS = 2048  # rows of a task, about


class Grid(NamedTuple):
    """Rows sorted by their cells; a cell is known by its key, the last axis running fastest."""

    x: Array  # (n,) float64: first feature of the sorted rows
    y: Array  # second feature, or zeros
    z: Array  # third feature, or zeros
    order: Array  # (n,): which rows they are
    keys: Array  # (m,): ascending, of the cells that have rows
    starts: Array  # (m + 1,): their first rows
    shifts: Array  # from the key of a cell to those of the middles of the lines around it
    bounds: Array  # (n_tasks + 1,): first cell of each task


def make_grid(X: Array, eps: float) -> Grid | None:
    """Cells for rows (n, 1 to 3); None where there were too many side by side."""
    n_samples, n_features = X.shape
    side = eps / np.sqrt(n_features) * (1 - SHRINK)
    least = X.min(axis=0).astype(np.float64)
    with np.errstate(over="ignore"):
        sizes = np.floor((X.max(axis=0) - least) / side) + 1 + 2 * REACH
    if not (sizes < MOST_CELLS).all() or not np.prod(sizes) < 2.0**62:
        return None
    keys = np.zeros(n_samples, np.int64)
    for t in range(n_features):
        keys *= int(sizes[t])
        keys += ((X[:, t] - least[t]) / side).astype(np.int64)
    order = np.argsort(keys)
    keys = keys[order]
    first = np.empty(n_samples, bool)
    first[0] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    starts = np.append(np.flatnonzero(first), n_samples)
    keys = keys[starts[:-1]]
    columns = [X[:, t].astype(np.float64)[order] for t in range(n_features)]
    zeros = np.zeros(n_samples if n_features < MOST_FEATURES else 0)
    columns += [zeros] * (MOST_FEATURES - n_features)
    bounds = np.searchsorted(starts, np.arange(0, n_samples + TASK_ROWS, TASK_ROWS))
    bounds = np.unique(np.minimum(bounds, len(keys)))
    arrays = *columns, order, keys, starts, _shifts(sizes), bounds
    return Grid(*(read_only(each) for each in arrays))


def _shifts(sizes: Array) -> Array:
    """The lines of cells around a cell, the nearest first; those before it have negative shifts."""
    shifts, distances = np.zeros(1, np.int64), np.zeros(1, np.int64)
    steps = np.arange(-REACH, REACH + 1)
    for size in sizes[1:]:
        shifts = ((shifts[:, None] + steps) * int(size)).reshape(-1)
        distances = (distances[:, None] + steps * steps).reshape(-1)
    return shifts[np.argsort(distances, kind="stable")]


@helper
def _first_cell(keys, key):
    """Number of the first cell whose key is not below `key`."""
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def _begin(grid, cell, firsts, stops):
    """Find the lines around a cell: their cells are ``firsts[line] … stops[line] - 1``."""
    for line in range(len(grid.shifts)):
        middle = grid.keys[cell] + grid.shifts[line]
        firsts[line] = _first_cell(grid.keys, middle - REACH)
        stops[line] = _first_cell(grid.keys, middle + REACH + 1)


@helper
def _go_on(keys, shifts, cell, firsts, stops):
    """As :func:`_begin`, from what was found for a cell before this one."""
    n_cells, key = len(keys), keys[cell]
    for line in range(len(shifts)):
        low, high = key + shifts[line] - REACH, key + shifts[line] + REACH
        first, stop = firsts[line], stops[line]
        while first < n_cells and keys[first] < low:
            first += 1
        stop = max(stop, first)
        while stop < n_cells and keys[stop] <= high:
            stop += 1
        firsts[line], stops[line] = first, stop


@kernel
def _find_cores(counter, gate, n_tasks, grid, limit, problem, core, in_cell):
    """Which rows are core (`core`, as sorted), and how many of each cell."""
    x, y, z, keys, starts, shifts = grid.x, grid.y, grid.z, grid.keys, grid.starts, grid.shifts
    bounds, order = grid.bounds, grid.order
    min_samples, doubt, weights = problem.min_samples, problem.doubt, problem.weights
    n_lines, weighted = len(shifts), len(weights) > 0
    firsts, stops = np.empty(n_lines, np.int64), np.empty(n_lines, np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        _begin(grid, bounds[task], firsts, stops)
        for cell in range(bounds[task], bounds[task + 1]):
            begin, end = starts[cell], starts[cell + 1]
            n_core = 0
            if not weighted and end - begin >= min_samples:
                for row in range(begin, end):
                    core[row] = 1
                in_cell[cell] = end - begin
                continue
            _go_on(keys, shifts, cell, firsts, stops)
            for row in range(begin, end):
                a, b, c = x[row], y[row], z[row]
                found, weight = 0, 0.0
                for line in range(n_lines):
                    for other in range(starts[firsts[line]], starts[stops[line]]):
                        u, v, w = x[other] - a, y[other] - b, z[other] - c
                        found += (u * u + v * v) + w * w <= limit
                    if not weighted and found >= min_samples:
                        break
                if weighted:
                    for line in range(n_lines):
                        for other in range(starts[firsts[line]], starts[stops[line]]):
                            u, v, w = x[other] - a, y[other] - b, z[other] - c
                            if (u * u + v * v) + w * w <= limit:
                                weight += weights[order[other]]
                is_core = weight >= min_samples if weighted else found >= min_samples
                if weighted and abs(weight - min_samples) <= doubt:
                    core[row] = UNDECIDED
                else:
                    core[row] = 1 if is_core else (BORDER_MAYBE if found > 1 else 0)
                n_core += is_core
            in_cell[cell] = n_core


@helper
def _meet(grid, limit, core, cell, other):
    """Whether a core row of one cell is near a core row of the other."""
    x, y, z, starts = grid.x, grid.y, grid.z, grid.starts
    begin, end = starts[other], starts[other + 1]
    for row in range(starts[cell], starts[cell + 1]):
        if core[row] != 1:
            continue
        a, b, c = x[row], y[row], z[row]
        found = 0
        for i in range(begin, end):
            u, v, w = x[i] - a, y[i] - b, z[i] - c
            found += ((u * u + v * v) + w * w <= limit) & (core[i] == 1)
        if found > 0:
            return True
    return False


@kernel
def _unite(counter, gate, n_tasks, grid, limit, core, in_cell, parents):
    """Make one set of cells that have core rows near each other; each pair is seen from above."""
    keys, shifts, bounds = grid.keys, grid.shifts, grid.bounds
    n_lines = len(shifts)
    firsts, stops = np.empty(n_lines, np.int64), np.empty(n_lines, np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        _begin(grid, bounds[task], firsts, stops)
        for cell in range(bounds[task], bounds[task + 1]):
            if in_cell[cell] == 0:
                continue
            _go_on(keys, shifts, cell, firsts, stops)
            for line in range(n_lines):
                if shifts[line] > 0:
                    continue
                for back in range(stops[line] - firsts[line]):
                    other = stops[line] - 1 - back
                    if other >= cell or in_cell[other] == 0:
                        continue
                    if find(parents, cell) == find(parents, other):
                        continue
                    if _meet(grid, limit, core, cell, other):
                        unite(parents, cell, other)


@kernel
def _name_roots(counter, gate, n_tasks, grid, core, parents, labels):
    """Give each core row the root of its cell for a label, and all others -1."""
    order, starts, bounds = grid.order, grid.starts, grid.bounds
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for cell in range(bounds[task], bounds[task + 1]):
            root = find(parents, cell)
            for row in range(starts[cell], starts[cell + 1]):
                labels[order[row]] = root if core[row] == 1 else -1


@kernel
def _label_borders(counter, gate, n_tasks, grid, limit, core, in_cell, parents, numbers, labels):
    """Give each row that is no core the first cluster of a core row near it."""
    x, y, z, keys, starts, shifts = grid.x, grid.y, grid.z, grid.keys, grid.starts, grid.shifts
    bounds, order = grid.bounds, grid.order
    n_lines, nothing = len(shifts), len(numbers)
    firsts, stops = np.empty(n_lines, np.int64), np.empty(n_lines, np.int64)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        _begin(grid, bounds[task], firsts, stops)
        for cell in range(bounds[task], bounds[task + 1]):
            if in_cell[cell] == starts[cell + 1] - starts[cell]:
                continue
            _go_on(keys, shifts, cell, firsts, stops)
            for row in range(starts[cell], starts[cell + 1]):
                if core[row] != BORDER_MAYBE:
                    continue
                a, b, c = x[row], y[row], z[row]
                best = nothing
                for line in range(n_lines):
                    for other in range(firsts[line], stops[line]):
                        if in_cell[other] == 0:
                            continue
                        number = numbers[find(parents, other)]
                        if number >= best:
                            continue
                        found = 0
                        for i in range(starts[other], starts[other + 1]):
                            u, v, w = x[i] - a, y[i] - b, z[i] - c
                            found += ((u * u + v * v) + w * w <= limit) & (core[i] == 1)
                        if found > 0:
                            best = number
                if best < nothing:
                    labels[order[row]] = best


def cluster_cells(grid: Grid, limit: float, problem: Problem, team: Team) -> Clusters:
    """Cores and clusters of the rows of a grid.

    Parameters
    ----------
    grid : Grid
        Rows, by cells made for the root of `limit`.
    limit : float
        Largest squared distance of neighbours.
    problem : Problem
        What makes cores.
    team : Team
        Threads to run on.
    """
    n_samples, n_cells, n_tasks = len(grid.x), len(grid.keys), len(grid.bounds) - 1
    core, in_cell = np.zeros(n_samples, np.uint8), np.zeros(n_cells, np.int64)
    work = 100.0 * n_samples
    team.run(_find_cores, work, n_tasks, grid, limit, problem.numbers(), core, in_cell)
    if problem.decide(core, grid.order):
        in_cell = np.add.reduceat((core == 1).astype(np.int64), grid.starts[:-1])
    parents = singletons(n_cells)
    team.run(_unite, work, n_tasks, grid, limit, core, in_cell, parents)
    labels = np.empty(n_samples, np.int64)
    team.run(_name_roots, 10.0 * n_samples, n_tasks, grid, core, parents, labels)
    numbers = number_clusters(labels, n_cells)
    team.run(
        _label_borders, work, n_tasks, grid, limit, core, in_cell, parents, numbers, labels
    )  # fmt: skip
    return Clusters.of(labels, core, grid.order)
