"""Single linkage by the shortest spanning tree of the rows, in the memory of the rows.

Few features: Borůvka's rounds over a k-d tree.  Every component looks for its shortest edge to
another one; rows whose nearest other component is known to be farther than that are passed over,
and so are boxes of the tree that lie in one component.  March, W. B., Ram, P., Gray, A. G.: Fast
Euclidean minimum spanning tree (2010).  Many features: Prim's tree, one pass over the rows that are
left for each row.

Edges are compared by their length and then by their rows, so that there is one shortest tree.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .linkage import Merges
from .machine.compiling import helper, kernel, vector_least
from .machine.parallel import Team, next_task
from .tiles import Array, read_only

MOST_FEATURES = 6  # for which boxes leave out more than looking at them takes
FEW_ROWS = 256  # for which a tree does not pay
LEAF = 12  # rows of a leaf of the k-d tree, at most
TASK_ROWS = 512
BLOCK = 512  # rows that Prim's pass looks at together
CLOSED = 0.75  # rows are closed up when so many of them are left
MOST_WORK = 2e8  # distances of one call, which Ctrl-C cannot interrupt


class Boxes(NamedTuple):
    """A k-d tree; the children of node i are nodes 2i + 1 and 2i + 2."""

    rows: Array  # (n, d): in the order of the tree
    numbers: Array  # (n,): which they are
    edges: Array  # (nodes, 2): rows of each node
    low: Array  # (nodes, d)
    high: Array


@helper
def _select(X, column, numbers, start, stop, middle):
    """Put the number of the row that belongs there at `middle`, lower rows before it (Hoare)."""
    while stop - start > 1:
        pivot = X[numbers[(start + stop) // 2], column]
        i, j = start, stop - 1
        while i <= j:
            while X[numbers[i], column] < pivot:
                i += 1
            while X[numbers[j], column] > pivot:
                j -= 1
            if i <= j:
                numbers[i], numbers[j] = numbers[j], numbers[i]
                i += 1
                j -= 1
        if middle <= j:
            stop = j + 1
        elif middle >= i:
            start = i
        else:
            return


@kernel
def _grow(X, boxes):
    """Cut the rows in halves along the longest side of each box."""
    rows, numbers, edges, low, high = boxes
    n_samples, n_features = X.shape
    edges[0, 0], edges[0, 1] = 0, n_samples
    for node in range(len(edges)):
        start, stop = edges[node]
        for t in range(n_features):
            low[node, t], high[node, t] = np.inf, -np.inf
        for i in range(start, stop):
            for t in range(n_features):
                value = X[numbers[i], t]
                low[node, t], high[node, t] = min(low[node, t], value), max(high[node, t], value)
        if 2 * node + 2 < len(edges):
            widest = 0
            for t in range(n_features):
                if high[node, t] - low[node, t] > high[node, widest] - low[node, widest]:
                    widest = t
            middle = (start + stop) // 2
            _select(X, widest, numbers, start, stop, middle)
            edges[2 * node + 1, 0], edges[2 * node + 1, 1] = start, middle
            edges[2 * node + 2, 0], edges[2 * node + 2, 1] = middle, stop
    for i in range(n_samples):
        for t in range(n_features):
            rows[i, t] = X[numbers[i], t]


@helper
def _apart(rows, i, low, high, node):
    """Squared distance of a row to a box."""
    total = 0.0
    for t in range(rows.shape[1]):
        value = rows[i, t]
        outside = max(low[node, t] - value, value - high[node, t], 0.0)
        total += outside * outside
    return total


@helper
def _before(one, other, third, fourth):
    """Whether an edge between two rows comes before one of the same length."""
    a, b = min(one, other), max(one, other)
    c, d = min(third, fourth), max(third, fourth)
    return a < c or (a == c and b < d)


class Reach(NamedTuple):
    """What is known of components and of rows, which are in the order of the tree."""

    components: Array  # (n,) int64
    of_boxes: Array  # (nodes,) int64: the component that all rows of a box are in, or -1
    least: Array  # (n,): squared; no row of another component is nearer
    lengths: Array  # (n,): squared, of the shortest edge that was found in this round
    ends: Array  # (n,) int64: its other end, or -1
    limits: Array  # (n,): squared length of an edge that a component has


@kernel
def _look(counter, gate, n_tasks, boxes, reach):
    """Find the shortest edge of each row to another component, if the component may need it.

    Threads tell each other by `limits`; what they leave out is longer than what is chosen, and so
    makes no difference.
    """
    rows, numbers, edges, low, high = boxes
    components, of_boxes, least, lengths, ends, limits = reach
    n_samples, n_features = rows.shape
    stack, apart = np.empty(128, np.int64), np.empty(128)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for i in range(task * TASK_ROWS, min((task + 1) * TASK_ROWS, n_samples)):
            own = components[i]
            best, end = limits[own], np.int64(-1)
            ends[i] = -1
            if least[i] > best:
                continue
            stack[0], apart[0], size = 0, 0.0, 1
            while size > 0:
                size -= 1
                node = stack[size]
                if apart[size] > best or of_boxes[node] == own:
                    continue
                left = 2 * node + 1
                if left < len(edges):
                    near, far = (
                        _apart(rows, i, low, high, left),
                        _apart(rows, i, low, high, left + 1),
                    )
                    first = left if near > far else left + 1  # which is looked at later
                    stack[size], apart[size] = first, max(near, far)
                    stack[size + 1], apart[size + 1] = 2 * left + 1 - first, min(near, far)
                    size += 2
                    continue
                for j in range(edges[node, 0], edges[node, 1]):
                    if components[j] != own:
                        total = 0.0
                        for t in range(n_features):
                            difference = rows[i, t] - rows[j, t]
                            total += difference * difference
                        if total < best or (
                            total == best
                            and (
                                end < 0 or _before(numbers[i], numbers[j], numbers[i], numbers[end])
                            )
                        ):
                            best, end = total, j
            least[i] = best
            if end >= 0:
                lengths[i], ends[i] = best, end
                limits[own] = min(limits[own], best)


@helper
def _root(parents, node):
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@kernel
def _unite(boxes, reach, parents, chosen, found, squares, n_found):
    """Add the shortest edge of each component; returns how many edges there are."""
    _, numbers, edges, _, _ = boxes
    components, of_boxes, _, lengths, ends, limits = reach
    n_samples = len(components)
    chosen[:] = -1
    for i in range(n_samples):
        if ends[i] >= 0:
            other = chosen[components[i]]
            if (
                other < 0
                or lengths[i] < lengths[other]
                or (
                    lengths[i] == lengths[other]
                    and _before(numbers[i], numbers[ends[i]], numbers[other], numbers[ends[other]])
                )
            ):
                chosen[components[i]] = i
    for component in range(n_samples):
        i = chosen[component]
        if i >= 0:
            a, b = _root(parents, i), _root(parents, ends[i])
            if a != b:
                parents[max(a, b)] = min(a, b)
                found[n_found, 0], found[n_found, 1] = numbers[i], numbers[ends[i]]
                squares[n_found] = lengths[i]
                n_found += 1
    for i in range(n_samples):
        components[i] = _root(parents, i)
        limits[i] = np.inf
    n_boxes = len(edges)
    for back in range(n_boxes):
        node = n_boxes - 1 - back
        left = 2 * node + 1
        if left < n_boxes:
            same = of_boxes[left] == of_boxes[left + 1]
            of_boxes[node] = of_boxes[left] if same else -1
        else:
            own = components[edges[node, 0]]
            for j in range(edges[node, 0], edges[node, 1]):
                if components[j] != own:
                    own = -1
            of_boxes[node] = own
    return n_found


@kernel
def _walk(starts, others, weights, sources, targets, lengths):
    """Edges of a tree as Prim finds them from row 0 on: from the row that was there before."""
    n_samples = len(starts) - 1
    seen = np.zeros(n_samples, np.bool_)
    heap_rows, heap = np.empty((n_samples, 2), np.int64), np.empty(n_samples)
    size, row = 0, 0
    seen[0] = True
    for number in range(n_samples - 1):
        for place in range(starts[row], starts[row + 1]):
            other, weight = others[place], weights[place]
            if not seen[other]:
                child = size
                size += 1
                while child > 0 and weight < heap[(child - 1) // 2]:
                    heap[child] = heap[(child - 1) // 2]
                    heap_rows[child] = heap_rows[(child - 1) // 2]
                    child = (child - 1) // 2
                heap[child], heap_rows[child, 0], heap_rows[child, 1] = weight, row, other
        sources[number], targets[number] = heap_rows[0, 0], heap_rows[0, 1]
        lengths[number], row = heap[0], heap_rows[0, 1]
        seen[row] = True
        size -= 1
        last, a, b = heap[size], heap_rows[size, 0], heap_rows[size, 1]
        node = 0
        while 2 * node + 1 < size:
            child = 2 * node + 1
            if child + 1 < size and heap[child + 1] < heap[child]:
                child += 1
            if heap[child] >= last:
                break
            heap[node], heap_rows[node] = heap[child], heap_rows[child]
            node = child
        heap[node], heap_rows[node, 0], heap_rows[node, 1] = last, a, b


@vector_least
def _least(values, start, stop):
    low = np.inf
    for i in range(start, stop):
        low = min(low, values[i])
    return low


class Front(NamedTuple):
    """The rows that Prim's tree has not reached, in their order."""

    columns: Array  # (d, n)
    numbers: Array  # (n,) int64
    squares: Array  # (n,): squared distance to the tree; infinite where it has been reached
    sources: Array  # (n,) int64: the row of the tree that is so near


@kernel
def _reach(front, n_left, place, steps, merges, n_before):
    """Add up to `steps` rows to the tree, of which that at `place` is the last; returns the last.

    Rows that have been reached are infinitely far away from there on.
    """
    columns, numbers, squares, sources = front
    totals, x = np.empty(BLOCK), np.empty(len(columns))
    for step in range(steps):
        row = numbers[place]
        squares[place] = np.inf
        for t in range(len(columns)):
            x[t] = columns[t, place]
            columns[t, place] = np.inf
        low, nearest = np.inf, 0
        for start in range(0, n_left, BLOCK):
            stop = min(start + BLOCK, n_left)
            totals[:] = 0.0
            for t in range(len(columns)):
                value, line = x[t], columns[t]
                for i in range(stop - start):
                    difference = line[start + i] - value
                    totals[i] += difference * difference
            for i in range(stop - start):
                nearer = totals[i] < squares[start + i]
                squares[start + i] = totals[i] if nearer else squares[start + i]
                sources[start + i] = row if nearer else sources[start + i]
            least = _least(squares, start, stop)
            if least < low:
                low, nearest = least, start
        while squares[nearest] != low:
            nearest += 1
        merges.first[n_before + step] = sources[nearest]
        merges.second[n_before + step] = numbers[nearest]
        merges.heights[n_before + step] = np.sqrt(low)
        place = nearest
    return place


def _by_prim(X: Array) -> Merges:
    """The shortest spanning tree, row by row."""
    n_samples, n_features = X.shape
    ends = np.empty((2, n_samples - 1), np.int64)
    merges = Merges(ends[0], ends[1], np.empty(n_samples - 1))
    front = Front(
        np.array(X.T, np.float64, order="C"), np.arange(n_samples), np.full(n_samples, np.inf),
        np.zeros(n_samples, np.int64),
    )  # fmt: skip
    done = place = 0
    while done < n_samples - 1:
        n_left = len(front.numbers)
        steps = min(
            n_samples - 1 - done,
            max(1, int(MOST_WORK / (n_left * n_features))),
            int((1 - CLOSED) * n_left) + 1,
        )
        place = _reach(front, n_left, place, steps, merges, done)
        done += steps
        keep = np.isfinite(front.columns[0])
        place = int(np.count_nonzero(keep[:place]))
        front = Front(*(np.ascontiguousarray(array[..., keep]) for array in front))
    return merges


def _equal_rows(X: Array) -> tuple[Array, Array]:
    """Pairs of equal rows that unite all of them, and the first of each."""
    order = np.lexsort(X.T)
    same = (X[order[1:]] == X[order[:-1]]).all(axis=1)
    firsts = np.sort(order[np.concatenate([[True], ~same])])
    return np.stack([order[:-1][same], order[1:][same]], axis=1), firsts


def _by_boxes(X: Array, team: Team) -> Merges:
    """The shortest spanning tree, by Borůvka's rounds over a k-d tree."""
    zeros, firsts = _equal_rows(X)
    unique = X[firsts]
    n_rows, n_features = unique.shape
    depth = 0
    while n_rows > LEAF << depth:
        depth += 1
    n_boxes = (2 << depth) - 1
    boxes = Boxes(
        np.empty((n_rows, n_features)), np.arange(n_rows), np.empty((n_boxes, 2), np.int64),
        *np.empty((2, n_boxes, n_features)),
    )  # fmt: skip
    _grow(unique, boxes)
    reach = Reach(
        np.arange(n_rows), np.full(n_boxes, -1), np.zeros(n_rows), np.empty(n_rows),
        np.full(n_rows, -1), np.full(n_rows, np.inf),
    )  # fmt: skip
    found, squares = np.empty((n_rows, 2), np.int64), np.empty(n_rows)
    parents, chosen, n_found = np.arange(n_rows), np.empty(n_rows, np.int64), 0
    while n_found < n_rows - 1:
        team.run(_look, 200.0 * n_rows, -(-n_rows // TASK_ROWS), boxes, reach)
        n_found = _unite(boxes, reach, parents, chosen, found, squares, n_found)
    edges = np.concatenate([zeros, firsts[found[:n_found]]])
    lengths = np.concatenate([np.zeros(len(zeros)), np.sqrt(squares[:n_found])])
    return _walked(edges, lengths)


def _walked(edges: Array, lengths: Array) -> Merges:
    """A tree as Prim finds it."""
    n_samples = len(edges) + 1
    pairs = np.empty((2, n_samples - 1), np.int64)
    merges = Merges(pairs[0], pairs[1], np.empty(n_samples - 1))
    ends = edges.T.reshape(-1)
    order = np.argsort(ends, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(ends, minlength=n_samples))])
    others = edges[:, ::-1].T.reshape(-1)[order]
    _walk(starts, others, np.concatenate([lengths, lengths])[order], *merges)
    return merges


def spanning_merges(X: Array, team: Team) -> Merges:
    """All merges of single linkage: the edges of the shortest spanning tree.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        Rows, two at least.
    team : Team
        Threads to run on.

    Returns
    -------
    merges : Merges
        In the order in which Prim's algorithm finds them from row 0 on, the nearer row first; the
        same bits for any number of threads.
    """
    X = read_only(np.ascontiguousarray(X, np.float64))
    if X.shape[1] > MOST_FEATURES or len(X) < FEW_ROWS:
        return _by_prim(X)
    return _by_boxes(X, team)
