"""Steps of mini-batch k-means on sparse rows: a batch is a small CSR matrix of its own.

What a batch adds to each center is summed by :class:`.sparse.SparseUpdate`, in the order of the
batch; moving the centers and following the inertia is that of :mod:`.minibatch`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .minibatch import MORE, MiniBatches, Piles, Rules, _finish_step, make_running
from .parallel import Team
from .sparse import SparseLloyd, SparseUpdate, canonical, make_sparse_rows
from .tiles import Array, read_only


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
    most_steps = 1  # each in a call of its own

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
        self.X, self.shift, self.rules, self.team = canonical(X), shift, rules, team
        del batch_size  # batches say how long they are
        self.running = make_running(centers, weights, X.dtype, moves=rules.tol > 0.0 or relabels)
        self.none = np.empty(0, X.dtype)
        self.no_rows = read_only(np.empty((0, centers.shape[1]), X.dtype))

    def _labelled(self, batch: Array, row_weights: Array | None) -> SparseLloyd:
        """The batch, each row at its nearest center."""
        taken = len(batch) != self.X.shape[0] or not np.array_equal(batch, np.arange(len(batch)))
        rows = make_sparse_rows(self.X[batch] if taken else self.X, row_weights)
        n_clusters = len(self.running.centers)
        update = SparseUpdate(rows, self.shift, n_clusters, self.team)
        lloyd = SparseLloyd(rows, self.shift, n_clusters, update, self.team)
        lloyd.assign(self.running.centers, account=False)
        return lloyd

    def run(
        self, batches: Array, row_weights: Array | None = None, *, follow: bool = True
    ) -> tuple[int, int]:
        """Make a step for each batch; see :meth:`.MiniBatches.run`."""
        step, status = 0, MORE
        while step < len(batches) and status == MORE:
            status = self._step(batches[step], row_weights, follow)
            step += 1
        return step, status

    def step(self, batch: Array, row_weights: Array | None = None) -> int:
        """One step; see :meth:`.MiniBatches.step`."""
        return self._step(batch, row_weights, False)

    def _step(self, batch: Array, row_weights: Array | None, follow: bool) -> int:
        running = self.running
        lloyd = self._labelled(batch, row_weights)
        inertia = lloyd.own_distances(running.centers)
        sums, weights, _ = lloyd.update.summed(lloyd.labels)
        status = _finish_step(
            self.no_rows, batch, lloyd.labels, self.none, np.array([inertia]), self.shift,
            self.rules, Piles(sums, weights, weights > 0.0), running, follow,
        )  # fmt: skip
        return int(status)

    def relabel(self, batch: Array, row_weights: Array | None = None) -> tuple[Array, float]:
        """Labels and inertia of the batch just seen; see :meth:`.MiniBatches.relabel`."""
        lloyd = self._labelled(batch, row_weights)
        return lloyd.labels, lloyd.own_distances(self.running.exact)

    def _taken(self, listed: Array) -> Array:
        """The listed rows, dense."""
        taken: Array = self.X[listed].toarray()
        return taken
