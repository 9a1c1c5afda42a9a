"""Rows sent down a tree of cuts, one by one: each goes to the nearer of two centers, on and on.

Where a cut has many rows, :class:`.lloyd.Lloyd` labels them in tiles.  In a deep tree most cuts
have few, and what is done around each takes longer than to look at its rows; here all rows go all
the way in one call.  They go where a tile would send them, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .emit.cpu import TILE_ROWS, round_up
from .emit.search_in_place import FEATURE_ROWS, nearest_of_few
from .emit.search_rows import nearest_in_row
from .machine.compiling import kernel
from .machine.parallel import Team, next_task
from .tiles import ALIGNMENT, Array, aligned_empty, fill_panels, make_panels, scratch

TASK_ROWS = 64


@kernel
def _descend(
    counter, gate, n_tasks, X, numbers, starts, mean, by_features, n_wide, n_narrow, packed, bias,
    children, leaves, labels,
):  # fmt: skip
    """Label the rows of these `numbers` of `X`, each from its node in `starts` on.

    ``packed[node]`` are the two centers that `children` of a node have, ``leaves[node]`` is the
    label of a node without children, else -1.
    """
    n_features = X.shape[1]
    x = scratch(mean, len(mean))
    rows = np.zeros((FEATURE_ROWS if by_features else 0, n_features), X.dtype)
    best, index = scratch(mean, TILE_ROWS), scratch(mean, TILE_ROWS)
    lowest = index.view(np.int32)  # of numbers as wide as the rows' elements: their lower halves
    size, step = packed.shape[1], bias.shape[1]
    centers, biases = packed.reshape(-1), bias.reshape(-1)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for i in range(task * TASK_ROWS, min((task + 1) * TASK_ROWS, len(numbers))):
            row, node = numbers[i], starts[i]
            for t in range(n_features):
                if by_features:
                    rows[0, t] = X[row, t]
                else:
                    x[t] = X[row, t] - mean[t]
            while leaves[node] < 0:
                own, shift = centers[node * size :], biases[node * step :]
                if by_features:
                    nearest_of_few(
                        rows, rows, 0, mean, own, shift, n_wide, n_narrow, best, index, np.int64(0)
                    )
                    side = lowest[0]
                else:
                    side = nearest_in_row(x, own, shift, n_wide, n_narrow, n_features)
                node = children[node, side]
            labels[row] = leaves[node]


class Descent:
    """A tree, packed for :meth:`send`.

    Parameters
    ----------
    centers : ndarray of shape (n_nodes, n_features)
        Center of each node, minus `mean`.
    children : sequence of n_nodes pairs of int
        Numbers of the nodes that each one is cut into; of a node that is not cut, any numbers.
    leaves : sequence of n_nodes int
        Label of each node that is not cut, -1 of the others.
    mean : ndarray of shape (padded n_features,)
        What rows are centred by.
    """

    def __init__(
        self,
        centers: Array,
        children: Sequence[tuple[int, int]],
        leaves: Sequence[int],
        mean: Array,
    ) -> None:
        self.mean = mean
        self.children = np.array(children, np.int64)
        self.leaves = np.array(leaves, np.int32)
        panels = make_panels(2, centers.shape[1], centers.dtype)
        self.layout = panels[:3]
        unit = ALIGNMENT // centers.itemsize
        sizes = [round_up(array.size, unit) for array in panels[3:]]
        self.packed, self.bias = (aligned_empty((len(centers), n), centers.dtype) for n in sizes)
        for node in np.flatnonzero(self.leaves < 0):
            own = panels._replace(packed=self.packed[node], bias=self.bias[node])
            fill_panels(centers[self.children[node]], own)

    def send(self, X: Array, numbers: Array, starts: Array, team: Team, labels: Array) -> None:
        """Label the rows of these `numbers`, from the nodes in `starts` on.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features), C-contiguous
            Rows, of the dtype of the centers.
        numbers, starts : ndarray of int64
            Rows and their nodes.
        team : Team
            Threads to run on.
        labels : ndarray of shape (n_samples,), int32
            Written.
        """
        levels = 4 * float(np.log2(len(self.leaves) + 1))  # a row and center take some of a tile's
        work = levels * len(numbers) * (X.shape[1] + 20)
        team.run(
            _descend, work, -(-len(numbers) // TASK_ROWS), X, numbers, starts, self.mean,
            *self.layout, self.packed, self.bias, self.children, self.leaves, labels,
        )  # fmt: skip
