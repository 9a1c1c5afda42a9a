"""k-means||: first centers in a few passes, however many there are.

Bahmani, B., Moseley, B., Vattani, A., Kumar, R., Vassilvitskii, S.: Scalable k-means++. VLDB 2012.

k-means++ goes through all rows once for each center.  Here a round draws some `OVERSAMPLING` k
candidates at once, in proportion to the squared distances that rows have to the candidates so far.
After `ROUNDS` rounds each candidate weighs what the rows weigh that it is the nearest one of, and
greedy k-means++ chooses among these few.

A round draws by one number for each of 2k equal shares of the sum of distances, from the first row
to the last.  So a row is expected to be drawn as often as in the paper, where each row tosses a
coin of its own, with fewer draws and less left to chance.  What is drawn from the random state:
one number for the first candidate, 2k for each round, and at last what k-means++ draws.

:class:`Part` is what the holder of some rows does; :class:`Passes` is the face of all rows that
:func:`choose` asks for, here for rows that one process reads.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import scipy.sparse

from .kernels.algorithms import seeding_for
from .kernels.machine.parallel import Team
from .kernels.oversampling import approach, find
from .kernels.seeding import draw_first
from .kernels.slices import Chain, add, tree_sum
from .kernels.sparse import SparseRows, make_sparse_rows
from .kernels.tiles import Array, make_rows, read_only
from .kernels.update import slice_rows
from .rows.streaming import StreamedRows
from .serving import Centers

ROUNDS = 5
OVERSAMPLING = 2  # candidates of a round for each center


class Part:
    """What rows of consecutive slices know of the candidates.

    Parameters
    ----------
    n_samples : int
        Number of rows, of whole slices unless they are the last ones.
    slice_size : int
        Rows of a slice.
    weights : ndarray of shape (n_samples,) or empty
        Weights of the rows.
    """

    def __init__(self, n_samples: int, slice_size: int, weights: Array) -> None:
        self.slice_size, self.weights = slice_size, read_only(weights)
        self.closest = np.full(n_samples, np.inf)
        self.nearest = np.zeros(n_samples, np.int32)

    def narrowed(self, first: int, stop: int) -> Part:
        """The rows from `first`, which begins a slice, to `stop`: a view."""
        part = object.__new__(Part)
        part.slice_size, part.weights = self.slice_size, self.weights[first:stop]
        part.closest, part.nearest = self.closest[first:stop], self.nearest[first:stop]
        return part

    def tell(self, rows: Any, candidates: Centers, n_before: int, own: Array, team: Team) -> Array:
        """Tell the rows of new candidates; the sum of distances that each slice is left with.

        Parameters
        ----------
        rows : Rows or SparseRows
            The rows.
        candidates : Centers
            The new ones.
        n_before : int
            How many there were before.
        own : ndarray of shape (n_candidates,), int64
            Which of these rows they are; not within the part where they are rows of others.
        team : Team
            Threads to run on.
        """
        labels, squares = candidates.labels(rows, team), np.empty(len(self.closest))
        candidates.inertia(rows, labels, team, squares)
        # A label is decided by scores that are rounded, but a candidate is its own nearest one.
        here = np.flatnonzero((own >= 0) & (own < len(squares)))
        squares[own[here]], labels[own[here]] = 0.0, here
        return approach(
            n_before, labels, squares, self.weights, self.closest, self.nearest, self.slice_size,
            team,
        )  # fmt: skip

    def find(self, numbers: Array, values: Array) -> Array:
        """Rows that values of the cumulative sums of these slices fall on; both ascend."""
        found = []
        for number in np.unique(numbers).tolist():
            start = number * self.slice_size
            stop = min(start + self.slice_size, len(self.closest))
            own = values[numbers == number]
            found.append(find(own, start, stop, self.weights, self.closest))
        return np.concatenate(found)

    def attracted(self, n_candidates: int, begin: int, end: int) -> Array:
        """Weight of the rows that each candidate is the nearest one of.

        Of the rows of slices `begin` to `end`, which must be a node of the tree of slices; see
        :mod:`.kernels.slices`.
        """
        size = self.slice_size
        nearest, weights = self.nearest[: end * size], self.weights[: end * size]
        if not len(weights):  # whole numbers, which add up to the same in any order
            return np.bincount(nearest[begin * size :], minlength=n_candidates).astype(np.float64)
        chain: Chain[Array] = Chain(add)
        for start in range(begin * size, len(nearest), size):
            here = slice(start, start + size)
            chain.add(1, np.bincount(nearest[here], weights[here], n_candidates))
        return chain.total()


class Passes(Protocol):
    """All rows, as :func:`choose` asks for them."""

    def first(self, random_state: np.random.RandomState) -> int:
        """A row, drawn in proportion to the weights."""

    def tell(self, drawn: Array, n_before: int) -> Array:
        """Tell all rows of new candidates; the sum of distances that each slice is left with."""

    def find(self, numbers: Array, values: Array) -> Array:
        """Rows that values of the cumulative sums of these slices fall on; both ascend."""

    def attracted(self, n_candidates: int) -> Array:
        """Weight of the rows that each candidate is the nearest of."""

    def among(self, drawn: Array, weights: Array) -> Any:
        """Some of the rows with other weights, opened for kernels."""


class LocalPasses:
    """Rows that one process has or reads.

    Parameters
    ----------
    rows : Rows, SparseRows or StreamedRows
        The rows.
    team : Team
        Threads to run on.
    """

    def __init__(self, rows: Any, team: Team) -> None:
        self.rows, self.team = rows, team
        n_samples, n_features = rows.shape
        self.whole = Part(n_samples, slice_rows(n_samples, n_features, 1), rows.weights)

    def first(self, random_state: np.random.RandomState) -> int:
        return draw_first(self.rows, random_state)

    def tell(self, drawn: Array, n_before: int) -> Array:
        candidates = Centers(self._take(drawn))
        if not isinstance(self.rows, StreamedRows):
            return self.whole.tell(self.rows, candidates, n_before, drawn, self.team)
        sums = []
        for first, rows in self.rows.parts(self.whole.slice_size):
            part = self.whole.narrowed(first, first + len(rows.X))
            sums.append(part.tell(rows, candidates, n_before, drawn - first, self.team))
        return np.concatenate(sums)

    def find(self, numbers: Array, values: Array) -> Array:
        return self.whole.find(numbers, values)

    def attracted(self, n_candidates: int) -> Array:
        n_slices = -(-self.rows.shape[0] // self.whole.slice_size)
        return self.whole.attracted(n_candidates, 0, n_slices)

    def among(self, drawn: Array, weights: Array) -> Any:
        rows, own = self.rows, weights.astype(self.rows.dtype)
        if not isinstance(rows, SparseRows):
            return make_rows(self._take(drawn), own)
        matrix = scipy.sparse.csr_array((rows.data, rows.indices, rows.indptr), rows.shape)
        return make_sparse_rows(matrix[drawn], own)

    def _take(self, drawn: Array) -> Array:
        rows = self.rows
        taken = (rows.source if isinstance(rows, StreamedRows) else rows).take(drawn)
        return np.ascontiguousarray(taken)


def choose(
    passes: Passes, n_clusters: int, random_state: np.random.RandomState, team: Team
) -> Array:
    """Rows that k-means|| chooses.

    Parameters
    ----------
    passes : Passes
        All rows.
    n_clusters : int
        How many, at most as there are rows.
    random_state : RandomState
        Source of the draws.
    team : Team
        Threads on which to choose among the candidates.

    Returns
    -------
    ndarray of shape (n_clusters,), int64
        Numbers of the rows.  Where fewer than so many rows differ, the first candidate stands for
        those that are missing, as the first row does in k-means++.
    """
    if n_clusters == 1:
        return np.array([passes.first(random_state)])
    drawn = chosen = np.array([passes.first(random_state)])
    n_rounds, shares = 0, np.arange(OVERSAMPLING * n_clusters)
    while True:
        sums = passes.tell(drawn, len(chosen) - len(drawn))
        total = float(tree_sum(sums))
        if total <= 0 or (n_rounds >= ROUNDS and len(chosen) >= n_clusters):
            break
        values = (shares + random_state.random_sample(len(shares))) * (total / len(shares))
        drawn = np.unique(passes.find(*_located(values, sums)))
        chosen, n_rounds = np.concatenate([chosen, drawn]), n_rounds + 1
    if len(chosen) <= n_clusters:
        return np.concatenate([chosen, np.repeat(chosen[:1], n_clusters - len(chosen))])
    candidates = passes.among(chosen, passes.attracted(len(chosen)))
    seeding = seeding_for(candidates)(candidates, n_clusters, team)
    return chosen[seeding.choose(random_state)]


def _located(values: Array, sums: Array) -> tuple[Array, Array]:
    """Slices in which ascending values of the cumulative sum lie, and what is left of them there.

    None lies in a slice that has no sum.
    """
    reached = np.cumsum(sums)
    numbers = np.searchsorted(reached, values, side="right")
    numbers = np.minimum(numbers, np.flatnonzero(sums)[-1])
    before = np.where(numbers > 0, reached[numbers - 1], 0.0)
    return numbers, values - before
