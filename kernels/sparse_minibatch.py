"""Steps of mini-batch k-means on sparse rows: what a step costs is its batch, not its centers.

Centers of sparse rows are dense, and so many numbers that to touch all of them in every step would
take longer than the step.  They are therefore kept as the sums of their rows, each with the weight
that divides it and with its squared length: a row that joins a cluster changes the sum where the
row has entries, and nowhere else.  The sums lie transposed, as the table of :mod:`.sparse` does, so
that the entries of a row pick lines of it and vector lanes are centers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .batch_rules import MORE, Rules, begin, judge, make_running
from .draws import RowDraws, draw_batch
from .emit.cpu import lanes, round_up
from .emit.memory import fetch
from .emit.sparse_rows import sparse_products
from .machine.compiling import kernel
from .machine.parallel import Team, next_task
from .minibatch import MiniBatches
from .sparse import SparseRows, canonical, make_sparse_rows
from .tiles import Array, aligned_empty, scratch

TASK_ROWS = 32
ROWS_AHEAD = 2
LINE = 8  # centers whose sums share a cache line: one thread's, or threads would wait
BLOCK = 16  # features that are transposed together


@kernel
def _label(
    counter, gate, n_tasks, rows, listed, row_weights, table, squares, weights, n_vectors, labels,
    inertias,
):  # fmt: skip
    """Nearest centers of the `listed` rows, and per task the sum of squared distances to them."""
    data, indices, indptr, _, _ = rows
    n_clusters, stride = len(weights), len(squares)
    products, scores = scratch(squares, stride), scratch(squares, stride)
    scales, biases = scratch(squares, stride), scratch(squares, stride)
    for cluster in range(n_clusters):
        scales[cluster] = 1.0 / weights[cluster] if weights[cluster] > 0.0 else 1.0
        biases[cluster] = 0.5 * squares[cluster] * scales[cluster] * scales[cluster]
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        total = 0.0
        for i in range(task * TASK_ROWS, min((task + 1) * TASK_ROWS, len(listed))):
            first, last = indptr[listed[i]], indptr[listed[i] + 1]
            later = listed[min(i + ROWS_AHEAD, len(listed) - 1)]  # rows drawn at random
            for place in range(indptr[later], indptr[later + 1], LINE):
                fetch(data, place)
                fetch(indices, place)
            sparse_products(data, indices, first, last, table, n_vectors, products)
            for cluster in range(n_clusters):
                scores[cluster] = biases[cluster] - scales[cluster] * products[cluster]
            own, least = 0, scores[0]
            for cluster in range(1, n_clusters):
                own = cluster if scores[cluster] < least else own
                least = min(least, scores[cluster])
            labels[i] = own
            # Features of the center that the row has no entry for are what its norm is too long.
            square, covered = 0.0, 0.0
            for place in range(first, last):
                center = table[np.int64(indices[place]) * stride + own] * scales[own]
                difference = np.float64(data[place]) - center
                square += difference * difference
                covered += center * center
            square += max(2.0 * biases[own] - covered, 0.0)
            total += square * row_weights[i] if len(row_weights) else square
        inertias[task] = total


@kernel
def _absorb(counter, gate, n_tasks, rows, listed, row_weights, labels, table, squares, weights):
    """Add the rows of a batch to the sums of their clusters, in order: a task has a few of these.

    A center that has had no rows is what it started from, and that is forgotten now.
    """
    data, indices, indptr, _, n_features = rows
    stride = len(squares)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for i in range(len(listed)):
            own = np.int64(labels[i])
            weight = np.float64(row_weights[i]) if len(row_weights) else 1.0
            if own // LINE != task or weight <= 0.0:
                continue
            if weights[own] == 0.0:
                squares[own] = 0.0
                for t in range(n_features):
                    table[t * stride + own] = 0.0
            weights[own] += weight
            longer = 0.0
            for place in range(indptr[listed[i]], indptr[listed[i] + 1]):
                at = np.int64(indices[place]) * stride + own
                before, change = table[at], weight * np.float64(data[place])
                table[at] = before + change
                longer += change * (2.0 * before + change)
            squares[own] += longer


@kernel
def _fold(exact, weights, table, squares):
    """Fill the table from centers (k, d) and the weights of their rows."""
    n_clusters, n_features = exact.shape
    stride = len(squares)
    squares[:] = 0.0
    for first in range(0, n_features, BLOCK):
        for cluster in range(n_clusters):
            scale = weights[cluster] if weights[cluster] > 0.0 else 1.0
            for t in range(first, min(first + BLOCK, n_features)):
                value = exact[cluster, t] * scale
                table[t * stride + cluster] = value
                squares[cluster] += value * value


@kernel
def _place(rows, listed, places, weights, table, squares):
    """Make the centers `places` the `listed` rows, each with the weight that it has."""
    data, indices, indptr, _, n_features = rows
    stride = len(squares)
    for t in range(n_features):
        for place in places:
            table[t * stride + place] = 0.0
    for i in range(len(places)):
        own = places[i]
        scale = weights[own] if weights[own] > 0.0 else 1.0
        squares[own] = 0.0
        for entry in range(indptr[listed[i]], indptr[listed[i] + 1]):
            value = np.float64(data[entry]) * scale
            table[np.int64(indices[entry]) * stride + own] = value
            squares[own] += value * value


@kernel
def _unfold(table, weights, stride, exact):
    """Write the centers (k, d) that the table stands for."""
    n_clusters, n_features = exact.shape
    for first in range(0, n_features, BLOCK):
        for cluster in range(n_clusters):
            scale = 1.0 / weights[cluster] if weights[cluster] > 0.0 else 1.0
            for t in range(first, min(first + BLOCK, n_features)):
                exact[cluster, t] = table[t * stride + cluster] * scale


@kernel
def _begin_step(rules, running):
    return begin(rules, running)


@kernel
def _judge_step(due, inertias, rules, running, follow):
    return judge(due, inertias, rules, running, follow)


class SparseMiniBatches(MiniBatches):
    """Runs steps of mini-batch k-means on sparse rows; the face of :class:`.MiniBatches`.

    Parameters
    ----------
    X : scipy.sparse CSR matrix or array of shape (n_samples, n_features)
        The rows that batches are taken from.
    shift : ndarray of shape (padded n_features,)
        Zeros: sparse rows are not centred.
    centers, weights, batch_size, rules, team, relabels
        As for :class:`.MiniBatches`.
    """

    X: Any
    most_steps = 16

    def __init__(
        self,
        X: Any,
        shift: Array,
        centers: Array,
        weights: Array,
        batch_size: int,
        rules: Rules,
        team: Team,
        *,
        relabels: bool = False,
    ) -> None:
        del relabels  # any batch can be labelled at any time
        self.X, self.shift, self.rules, self.team = canonical(X), shift, rules, team
        self.rows: SparseRows = make_sparse_rows(self.X)
        # The table stands for the centers; `exact` is written where somebody asks for them.
        running = make_running(centers, weights, X.dtype, moves=rules.tol > 0.0)
        none = np.empty((0, centers.shape[1]), X.dtype)
        self.running = running._replace(centers=none, sums=none.astype(np.float64))
        self.none = np.empty(0, X.dtype)
        n_clusters, n_features = centers.shape
        stride = round_up(n_clusters, lanes(np.float64))
        self.n_vectors, self.n_owners = stride // lanes(np.float64), -(-n_clusters // LINE)
        self.table = aligned_empty(n_features * stride, np.float64)
        self.squares = aligned_empty(stride, np.float64)
        self.table[:] = 0.0
        self.labels = np.empty(batch_size, np.int32)
        self.listed = np.empty((1, batch_size), np.int64)
        self.inertias = np.empty(-(-batch_size // TASK_ROWS))
        _fold(centers, weights, self.table, self.squares)

    def _label(self, batch: Array, weights: Array) -> None:
        entries = self.rows.row_size * len(batch)
        self.team.run(
            _label, entries * (len(self.squares) + 8), len(self.inertias), self.rows, batch,
            weights, self.table, self.squares, self.running.weights, self.n_vectors, self.labels,
            self.inertias,
        )  # fmt: skip

    def run(
        self, batches: Array, row_weights: Array | None = None, *, follow: bool = True
    ) -> tuple[int, int]:
        """Make a step for each batch; see :meth:`.MiniBatches.run`."""
        step, status = 0, MORE
        while step < len(batches) and status == MORE:
            status = self._step(batches[step], row_weights, follow)
            step += 1
        return step, status

    def run_drawn(self, n_steps: int, draws: RowDraws) -> int:
        """Make steps on batches that are drawn for them; see :meth:`.MiniBatches.run_drawn`."""
        listed, status = self.listed[0], MORE
        for _ in range(n_steps):
            draw_batch(draws, listed)
            status = self._step(listed, None, True)
            if status != MORE:
                break
        return status

    def step(self, batch: Array, row_weights: Array | None = None) -> int:
        """One step; see :meth:`.MiniBatches.step`."""
        return self._step(batch, row_weights, False)

    def _step(self, batch: Array, row_weights: Array | None, follow: bool) -> int:
        running, weights = self.running, self.none if row_weights is None else row_weights
        due = _begin_step(self.rules, running)
        self._label(batch, weights)
        self.team.run(
            _absorb, 16.0 * self.rows.row_size * len(batch), self.n_owners, self.rows, batch,
            weights, self.labels, self.table, self.squares, running.weights,
        )  # fmt: skip
        if len(running.previous):
            self._unfold()
        return int(_judge_step(due, self.inertias, self.rules, running, follow))

    def relabel(self, batch: Array, row_weights: Array | None = None) -> tuple[Array, float]:
        """Labels and inertia of the batch just seen; see :meth:`.MiniBatches.relabel`."""
        self._label(batch, self.none if row_weights is None else row_weights)
        return self.labels[: len(batch)].copy(), float(self.inertias.sum())

    def close(self) -> None:
        """Nothing: these are made for one batch after another, or for one alone."""

    def _unfold(self) -> None:
        running = self.running
        _unfold(self.table, running.weights, len(self.squares), running.exact)

    def centers(self) -> Array:
        """The centers (n_clusters, n_features), in the dtype of the rows."""
        self._unfold()
        return super().centers()

    def state(self) -> dict[str, Array]:
        """What the steps to come depend on; see :meth:`.MiniBatches.state`."""
        running = self.running
        return {
            "table": self.table,
            "squares": self.squares,
            "weights": running.weights,
            "monitor": running.monitor,
        }

    def _move(self, moved: Array, listed: Array) -> None:
        places = np.flatnonzero(moved)
        _place(self.rows, listed, places, self.running.weights, self.table, self.squares)


# --------------------------------------------------------------------------------------------
# One step on a batch that has entries in few of many columns


@kernel
def _folded_squares(counter, gate, n_tasks, exact, weights, squares):
    """Squared lengths as :func:`_fold` finds them, a center a task."""
    n_features = exact.shape[1]
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        scale = weights[task] if weights[task] > 0.0 else 1.0
        total = 0.0
        for t in range(n_features):
            value = exact[task, t] * scale
            total += value * value
        squares[task] = total


@kernel
def _expand(
    counter, gate, n_tasks, exact, before, weights, forgotten, columns, changed, centers,
):  # fmt: skip
    """Write the centers after a step, a center a task, as if all had been folded and unfolded."""
    n_features = exact.shape[1]
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        fold = before[task] if before[task] > 0.0 else 1.0
        unfold = 1.0 / weights[task] if weights[task] > 0.0 else 1.0
        if forgotten[task]:
            for t in range(n_features):
                centers[task, t] = 0.0
        else:
            for t in range(n_features):
                centers[task, t] = exact[task, t] * fold * unfold + 0.0
        for i in range(len(columns)):
            centers[task, columns[i]] = changed[task, i] + 0.0


class FewColumns(SparseMiniBatches):
    """A step on rows with entries in few columns: the table holds only these; the same bits.

    Parameters
    ----------
    X, shift, centers, weights, batch_size, rules, team, relabels
        As for :class:`SparseMiniBatches`; `X` has an entry, and all rows of it are the batch.
    """

    def __init__(
        self,
        X: Any,
        shift: Array,
        centers: Array,
        weights: Array,
        batch_size: int,
        rules: Rules,
        team: Team,
        *,
        relabels: bool = False,
    ) -> None:
        X = canonical(X)
        self.columns, places = np.unique(X.indices, return_inverse=True)
        parts = X.data, places.astype(np.int32), X.indptr
        narrow = type(X)(parts, shape=(X.shape[0], len(self.columns)))
        own = np.ascontiguousarray(centers.take(self.columns, axis=1))
        super().__init__(
            narrow, shift[: len(self.columns)], own, weights, batch_size, rules, team,
            relabels=relabels,
        )  # fmt: skip
        self.whole, self.before = centers, weights.copy()
        self.moved = np.zeros(len(centers), np.bool_)
        team.run(_folded_squares, 2.0 * centers.size, len(centers), centers, weights, self.squares)

    def centers(self) -> Array:
        """The centers (n_clusters, n_features), in the dtype of the rows."""
        self._unfold()
        running = self.running
        centers = np.empty(self.whole.shape, self.shift.dtype)
        forgotten = self.moved | ((self.before == 0) & (running.weights > 0))
        self.team.run(
            _expand, 2.0 * centers.size, len(centers), self.whole, self.before, running.weights,
            forgotten, self.columns, running.exact, centers,
        )  # fmt: skip
        return centers

    def _move(self, moved: Array, listed: Array) -> None:
        super()._move(moved, listed)
        self.moved |= moved
