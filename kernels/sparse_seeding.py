"""Greedy k-means++ on sparse rows: candidates are the columns of a table, as centers are.

One sweep over a row's entries gives its products with the last winner and with all candidates; see
:mod:`.sparse`.
"""

from __future__ import annotations

import numpy as np

from .emit.cpu import lanes, round_up
from .emit.sparse_rows import multiply_add, sparse_products
from .machine.compiling import kernel
from .machine.parallel import Team, next_task
from .records import Array
from .seeding import draw_first
from .slices import tree_sum
from .sparse import SparseRows
from .tiles import aligned_empty, scratch

BLOCK_ROWS = 512  # rows that share a sum of distances


@kernel
def _row_norms(counter, gate, n_tasks, rows, norms):
    """Squared norm of each row, rounded as the product of the row with itself is."""
    data, _, indptr, _, _ = rows
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for row in range(task * BLOCK_ROWS, min((task + 1) * BLOCK_ROWS, len(norms))):
            total = 0.0
            for place in range(indptr[row], indptr[row + 1]):
                value = np.float64(data[place])
                total = multiply_add(value, value, total)
            norms[row] = total


@kernel
def _set_columns(rows, listed, stride, filled, table):
    """Write the listed rows into the columns of ``table`` (d, stride), or zeros over them."""
    for column in range(len(listed)):
        for place in range(rows.indptr[listed[column]], rows.indptr[listed[column] + 1]):
            value = np.float64(rows.data[place]) if filled else 0.0
            table[np.int64(rows.indices[place]) * stride + column] = value


@kernel
def _pass(
    counter, gate, n_tasks, rows, norms, listed, table, n_vectors, closest, potentials,
):  # fmt: skip
    """One round over all blocks: apply the winner (column 0), evaluate the candidates (others)."""
    data, indices, indptr, weights, _ = rows
    n_candidates = len(listed) - 1
    out = scratch(table, len(table) // rows.n_features)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for j in range(n_candidates):
            potentials[task, j] = 0.0
        for row in range(task * BLOCK_ROWS, min((task + 1) * BLOCK_ROWS, len(closest))):
            sparse_products(data, indices, indptr[row], indptr[row + 1], table, n_vectors, out)
            weight = np.float64(weights[row]) if len(weights) else 1.0
            norm = norms[row]
            own = min(closest[row], max(norm + norms[listed[0]] - 2.0 * out[0], 0.0))
            closest[row] = own
            for j in range(n_candidates):
                square = max(norm + norms[listed[j + 1]] - 2.0 * out[j + 1], 0.0)
                potentials[task, j] += weight * min(own, square)


@kernel
def _draw(values, rows, norms, latest, column, table, n_vectors, closest, block_sums, drawn):
    """First rows at which the cumulative weighted distance reaches each of the values.

    Row `latest`, the center in `column` of the table, has not been applied to `closest` yet.
    """
    data, indices, indptr, weights, _ = rows
    out = scratch(table, len(table) // rows.n_features)
    n_samples = len(closest)
    for j in range(len(values)):
        value = values[j]
        block, last = 0, len(block_sums) - 1
        while block < last and value > block_sums[block]:
            value -= block_sums[block]
            block += 1
        row, stop = block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, n_samples)
        total = 0.0
        while True:
            sparse_products(data, indices, indptr[row], indptr[row + 1], table, n_vectors, out)
            square = max(norms[row] + norms[latest] - 2.0 * out[column], 0.0)
            own = min(closest[row], square)
            total += own * np.float64(weights[row]) if len(weights) else own
            if total >= value or row + 1 == stop:
                break
            row += 1
        drawn[j] = row


class SparseKMeansPlusPlus:
    """Greedy k-means++ on sparse rows; the face of :class:`.seeding.GreedyKMeansPlusPlus`.

    Distances are float64 whatever the rows are.
    """

    def __init__(
        self, rows: SparseRows, n_clusters: int, team: Team, n_local_trials: int | None = None
    ) -> None:
        n_samples, n_features = rows.shape
        n_trials = 2 + int(np.log(n_clusters)) if n_local_trials is None else n_local_trials
        self.rows, self.team, self.n_clusters, self.n_trials = rows, team, n_clusters, n_trials
        self.n_blocks = -(-n_samples // BLOCK_ROWS)
        self.stride = round_up(n_trials + 1, lanes(np.float64))
        self.table = aligned_empty(n_features * self.stride, np.float64)
        self.table.fill(0.0)
        self.closest, self.norms = np.empty(n_samples), np.empty(n_samples)
        team.run(_row_norms, float(len(rows.data)), self.n_blocks, rows, self.norms)

    def choose(self, random_state: np.random.RandomState) -> Array:
        """Indices of the rows chosen; see :meth:`.seeding.GreedyKMeansPlusPlus.choose`."""
        chosen = np.empty(self.n_clusters, np.int64)
        chosen[0] = draw_first(self.rows, random_state)
        uniforms = random_state.uniform(size=(self.n_clusters - 1, self.n_trials))
        if self.n_clusters == 1:
            return chosen
        self.closest.fill(np.inf)
        # In the very first round the first center is the only candidate.
        listed, best = np.array([chosen[0], chosen[0]]), 0
        _set_columns(self.rows, listed, self.stride, True, self.table)
        for latest, uniform in enumerate(uniforms):
            potentials = self._evaluate(listed)
            totals = tree_sum(potentials)
            best = int(np.argmin(totals))
            chosen[latest] = listed[best + 1]
            listed = self._draw(uniform * totals[best], listed, best, potentials[:, best])
        totals = tree_sum(self._evaluate(listed))
        chosen[-1] = listed[int(np.argmin(totals)) + 1]
        _set_columns(self.rows, listed, self.stride, False, self.table)
        return chosen

    def _evaluate(self, listed: Array) -> Array:
        """Per block and candidate, the sum of distances that would be left."""
        potentials = np.empty((self.n_blocks, len(listed) - 1))
        n_vectors = self.stride // lanes(np.float64)
        self.team.run(
            _pass,
            float(len(self.rows.data)) * self.stride,
            self.n_blocks,
            self.rows,
            self.norms,
            listed,
            self.table,
            n_vectors,
            self.closest,
            potentials,
        )
        return potentials

    def _draw(self, values: Array, listed: Array, best: int, block_sums: Array) -> Array:
        """The winner, followed by the next candidates; the table then holds them."""
        block_sums = np.ascontiguousarray(block_sums)
        following = np.empty(1 + len(values), np.int64)
        following[0] = listed[best + 1]
        _draw(
            values,
            self.rows,
            self.norms,
            following[0],
            best + 1,
            self.table,
            self.stride // lanes(np.float64),
            self.closest,
            block_sums,
            following[1:],
        )
        _set_columns(self.rows, listed, self.stride, False, self.table)
        _set_columns(self.rows, following, self.stride, True, self.table)
        return following
