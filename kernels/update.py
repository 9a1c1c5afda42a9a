"""The centroid update: sums of the rows of each cluster, moved along with the rows that move.

Sums are float64 and hold centred rows.  An assignment pass lists only the rows whose label has
changed; each is subtracted from its old cluster and added to its new one.  How that happens
depends on the size of a pile (one sum per cluster), never on the number of threads:

small piles
    Every slice of rows has a pile of its own that stays in the cache beside the tile; piles are
    merged along the tree of :mod:`.slices` as slices are finished, and what that leaves in the
    first one is added to the totals.
large piles
    Slices record their changed rows; then every thread owns a range of clusters and moves the
    rows that concern it.  A cluster's sum is thus made in row order whoever makes it.

At the end of a fit :meth:`Update.refresh` sums every cluster afresh, in the same order, so that
centers are the means of their rows and not of their history.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .emit.cpu import CACHE_LINE, round_up
from .emit.sums import add_row, add_rows, record_size
from .machine.calling import reference
from .machine.compiling import helper, inlined, kernel
from .machine.parallel import SMALL_WORK, Team, next_task
from .records import PILES, RECORD, Array, Changes, Piles, Rows, Totals
from .slices import SLICE_ELEMENTS, first_of, next_merge, rows_per_slice
from .tiles import aligned_empty

LARGE_PILE = 128 * 1024  # bytes: more does not stay in the second-level cache beside X

# Multiply-adds of a slice that are worth a task: 5 to 25 µs, beside which 0.3 µs are little.
SLICE_WORK = 250_000


def slice_rows(n_samples: int, n_features: int, n_clusters: int) -> int:
    """Rows per slice, a multiple of the tile: decided by the shape of the problem alone."""
    least = SLICE_WORK // (n_features * (n_clusters + 4))
    kept = 0
    if not is_large(n_clusters, n_features):
        kept = 8 * n_clusters * record_size(n_features)
    return rows_per_slice(n_samples, n_features, least, kept)


def is_large(n_clusters: int, n_features: int) -> bool:
    """Whether piles are too large for every slice to have one."""
    return n_clusters * n_features * 8 > LARGE_PILE


def make_piles(n_slices: int, n_clusters: int, n_features: int) -> Piles:
    """Empty piles, with clusters that do not exist to keep those of two slices apart.

    Threads that write to one cache line, or to two that the CPU fetches together, wait for one
    another.
    """
    size, lines = record_size(n_features), 2 * CACHE_LINE
    records = aligned_empty((n_slices, round_up(n_clusters, lines // 32), size), np.float64)
    touched = aligned_empty((n_slices, round_up(n_clusters, lines)), np.bool_)
    records[:] = 0.0
    touched[:] = False
    return Piles(records, touched, np.zeros(n_slices, np.int64))


@helper
def merge_pile(number, n_slices, piles):
    """After the pile of slice `number` is complete: add up what can be, and empty what was added.

    When all slices are done the first pile holds what they have brought together.
    """
    records, touched, arrivals = piles
    step = next_merge(number, np.int64(1), n_slices, arrivals)
    while step > 0:
        left = first_of(number, 2 * step)
        right = left + step
        for cluster in range(records.shape[1]):
            if touched[right, cluster]:
                touched[right, cluster] = False
                touched[left, cluster] = True
                for t in range(records.shape[2]):
                    records[left, cluster, t] += records[right, cluster, t]
                    records[right, cluster, t] = 0.0
        step = next_merge(number, 2 * step, n_slices, arrivals)


@kernel
def _sum_slices(counter, gate, n_tasks, slice_size, rows, mean, labels, piles):
    """Each task brings all rows of its slice to the piles of their clusters, in row order."""
    X, _, row_weights = rows
    records, touched, _ = piles
    n_samples = X.shape[0]
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start = task * slice_size
        count = min(slice_size, n_samples - start)
        add_rows(X, mean, row_weights, start, count, labels, records, touched, task)
        merge_pile(task, n_tasks, piles)


@inlined
def take_pile(piles, totals):
    """Add what all slices have brought, which is in the first pile, to the totals; empty it."""
    n_clusters, n_features = totals.sums.shape
    for cluster in range(n_clusters if len(piles.touched) else 0):
        if piles.touched[0, cluster]:
            piles.touched[0, cluster] = False
            for t in range(n_features):
                totals.sums[cluster, t] += piles.records[0, cluster, t]
            totals.weights[cluster] += piles.records[0, cluster, n_features]
            totals.counts[cluster] += np.int64(piles.records[0, cluster, n_features + 1])
            for t in range(n_features + 2):
                piles.records[0, cluster, t] = 0.0


@kernel
def _sum_by_owners(
    counter, gate, n_tasks, everything, slice_size, rows, mean, labels, changes, totals,
):  # fmt: skip
    """Each task brings the sums of its own range of clusters up to date, in row order.

    From the recorded changes, or, with `everything`, afresh from all rows.
    """
    X, _, row_weights = rows
    sums, weights, counts = totals
    n_changes, changed_rows, changed_labels = changes
    n_samples, n_features = X.shape
    n_clusters = len(counts)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        low, high = task * n_clusters // n_tasks, (task + 1) * n_clusters // n_tasks
        if everything:
            for cluster in range(low, high):
                weights[cluster] = 0.0
                counts[cluster] = 0
                for t in range(n_features):
                    sums[cluster, t] = 0.0
        for s in range(len(n_changes)):
            first = s * slice_size
            count = min(slice_size, n_samples - first) if everything else n_changes[s]
            for place in range(first, first + count):
                row = place if everything else np.int64(changed_rows[place])
                old = np.int64(-1) if everything else np.int64(changed_labels[place])
                new = np.int64(labels[row])
                if not (low <= new < high or low <= old < high):
                    continue
                weight = np.float64(row_weights[row]) if len(row_weights) else 1.0
                counted = 1 if weight != 0.0 else 0
                if low <= new < high:
                    add_row(X, row, n_features, mean, weight, sums, new * n_features)
                    weights[new] += weight
                    counts[new] += counted
                if low <= old < high:
                    add_row(X, row, n_features, mean, -weight, sums, old * n_features)
                    weights[old] -= weight
                    counts[old] -= counted


@inlined
def average(totals, centers, new_centers):
    """Centers as weighted means; an empty cluster gets the heaviest one's, as in scikit-learn.

    Returns the squared movement of all centers together and the number of empty clusters.
    """
    sums, weights, counts = totals
    n_clusters, n_features = new_centers.shape
    heaviest = 0
    for cluster in range(n_clusters):
        if counts[cluster] == 0:
            # What rounding has left behind of rows that are gone.
            weights[cluster] = 0.0
            for t in range(n_features):
                sums[cluster, t] = 0.0
        elif weights[cluster] > weights[heaviest]:
            heaviest = cluster
    shift = 0.0
    n_empty = 0
    for cluster in range(n_clusters):
        source = cluster
        if weights[cluster] <= 0.0:
            source = heaviest
            n_empty += 1
        scale = 1.0 / weights[source] if weights[source] > 0.0 else 0.0
        for t in range(n_features):
            new_centers[cluster, t] = sums[source, t] * scale
            change = np.float64(new_centers[cluster, t]) - np.float64(centers[cluster, t])
            shift += change * change
    return shift, n_empty


@kernel
def _take(piles, totals):
    take_pile(piles, totals)


@kernel
def _take_and_average(piles, totals, centers, new_centers):
    take_pile(piles, totals)
    return average(totals, centers, new_centers)


def average_reference(piles: Piles, totals: Totals, centers: Array, new_centers: Array) -> Any:
    """To the kernel of :meth:`Update.average`; see :mod:`.machine.calling`."""
    key = centers.dtype
    return reference(_take_and_average, key, piles, totals, centers, new_centers)


def slices_reference(
    slice_size: int, rows: Rows, mean: Array, labels: Array, piles: Piles, gate: Array
) -> Any:
    """To the kernel by which :meth:`Update.add_all` fills piles; see :mod:`.machine.calling`."""
    arguments = slice_size, rows, mean, labels, piles
    return reference(_sum_slices, mean.dtype, gate, gate, 1, *arguments)


def owners_reference(
    slice_size: int, rows: Rows, mean: Array, labels: Array, changes: Changes, totals: Totals,
    gate: Array,
) -> Any:  # fmt: skip
    """To the kernel by which owners of clusters move recorded rows; see :mod:`.machine.calling`."""
    key = mean.dtype, changes.rows.dtype
    arguments = slice_size, rows, mean, labels, changes, totals
    return reference(_sum_by_owners, key, gate, gate, 1, False, *arguments)


class Update:
    """Sums, weights and row counts of all clusters over one fit.

    Parameters
    ----------
    rows : Rows
        The data.
    mean : ndarray of shape (padded n_features,)
        What every row is centred by.
    n_clusters : int
        Number of clusters.
    team : Team
        Threads to run on.
    slice_size : int, optional
        Rows of a slice, where `rows` are a part of what decides about it.
    """

    def __init__(
        self, rows: Rows, mean: Array, n_clusters: int, team: Team, slice_size: int | None = None
    ) -> None:
        n_samples, n_features = rows.X.shape
        self.rows, self.mean, self.team = rows, mean, team
        self.slice_rows = slice_size or slice_rows(n_samples, n_features, n_clusters)
        self.n_slices = -(-n_samples // self.slice_rows)
        self.row_size: float = n_features  # elements to read
        self.mode = RECORD if is_large(n_clusters, n_features) else PILES
        n_piles = self.n_slices if self.mode == PILES else 0
        n_recorded = self.n_slices * self.slice_rows if self.mode == RECORD else 0
        self.piles = make_piles(n_piles, n_clusters, n_features)
        self.changes = Changes(
            np.zeros(self.n_slices, np.int64),
            np.empty(n_recorded, np.int64 if n_samples > 2**31 - 1 else np.int32),
            np.empty(n_recorded, np.int32),
        )
        self.totals = Totals(
            np.zeros((n_clusters, n_features)),
            np.zeros(n_clusters),
            np.zeros(n_clusters, np.int64),
        )

    def reset(self) -> None:
        """Forget all rows: the labels start at -1 again."""
        for total in self.totals:
            total[:] = 0
        for pile in self.piles:
            pile[:] = 0

    def new_centers(self, labels: Array, centers: Array, out: Array) -> tuple[float, int]:
        """Bring the sums up to date with what an assignment pass has changed, and average them.

        Parameters
        ----------
        labels : ndarray of shape (n_samples,), int32
            Labels after the pass.
        centers : ndarray of shape (n_clusters, n_features)
            Centers before.
        out : ndarray of shape (n_clusters, n_features)
            Receives the new centers.

        Returns
        -------
        shift : float
            Sum of squared distances that the centers have moved.
        n_empty : int
            Number of clusters of no weight.
        """
        if self.mode == RECORD:
            work = float(self.changes.n.sum()) * 2 * self.row_size
            self._sum_by_owners(work, labels, everything=False)
        return self.average(out, centers)

    def absorb(self, labels: Array) -> None:
        """Bring the sums up to date with what an assignment pass has changed, and no more."""
        if self.mode == RECORD:
            work = float(self.changes.n.sum()) * 2 * self.row_size
            self._sum_by_owners(work, labels, everything=False)
        _take(self.piles, self.totals)

    def add_all(self, labels: Array) -> None:
        """Add all rows, in row order, as if they had had no label before."""
        if self.mode == PILES:
            self.sum_slices(labels)
            _take(self.piles, self.totals)
            return
        n_samples = len(self.rows.X)
        counts = np.minimum(self.slice_rows, n_samples - np.arange(self.n_slices) * self.slice_rows)
        rows = np.arange(n_samples, dtype=self.changes.rows.dtype)
        self.changes = Changes(counts, rows, np.full(n_samples, -1, np.int32))
        self._sum_by_owners(float(self.rows.X.size), labels, everything=False)

    def sum_slices(self, labels: Array) -> None:
        """Bring all rows to the piles of their slices, and merge these to the first one."""
        self.team.run(
            _sum_slices,
            float(self.rows.X.size),
            self.n_slices,
            self.slice_rows,
            self.rows,
            self.mean,
            labels,
            self.piles,
        )

    def refresh(self, labels: Array, out: Array) -> None:
        """Sum all clusters afresh, in the order of the rows, and write their means to `out`."""
        if self.mode == PILES:
            self.reset()
            self.add_all(labels)
        else:
            work = self.rows.shape[0] * self.row_size
            self._sum_by_owners(work, labels, everything=True)
        self.average(out)

    def _sum_by_owners(self, work: float, labels: Array, *, everything: bool) -> None:
        # Any number of owners gives the same bits; each has to look at every label.
        n_owners = self.team.n_threads if work > SMALL_WORK else 1
        self.team.run(
            _sum_by_owners,
            work,
            n_owners,
            everything,
            self.slice_rows,
            self.rows,
            self.mean,
            labels,
            self.changes,
            self.totals,
        )

    def average(self, out: Array, centers: Array | None = None) -> tuple[float, int]:
        """Write the means of the clusters to `out`; as :meth:`new_centers` after :meth:`absorb`."""
        return _take_and_average(self.piles, self.totals, out if centers is None else centers, out)

    def take(self, numbers: Array) -> Array:
        """The listed rows of the data."""
        return self.rows.X[numbers]

    def relocated(
        self, labels: Array, distances: Array, centers: Array, out: Array
    ) -> tuple[float, int]:
        """New centers with empty clusters moved to the rows farthest from their centers.

        As in scikit-learn, a row that is moved to leaves its cluster's sum, and its label stays;
        which rows that can be is said in :meth:`destinations`.

        Parameters
        ----------
        labels : ndarray of shape (n_samples,), int32
            Labels after a pass.
        distances : ndarray of shape (n_samples,), float64
            Squared distances of the rows to `centers`.
        centers : ndarray of shape (n_clusters, n_features)
            Centers before.
        out : ndarray of shape (n_clusters, n_features)
            Receives the new centers.

        Returns
        -------
        shift : float
            Sum of squared distances that the centers have moved.
        n_moved : int
            Number of clusters that were moved.
        """
        # Afresh: what seems to be empty, or has a distance to its mean, may be so by rounding.
        self.refresh(labels, out)
        totals = Totals(*(total.copy() for total in self.totals))
        empty = np.flatnonzero(totals.weights <= 0)
        numbers, own, rows = self.destinations(labels, distances, centers, empty)
        moved = empty[: len(rows)]
        for cluster, label, number, row in zip(moved, own, numbers, rows, strict=True):
            weight = self.weight_of(number)
            weighted = row.astype(np.float64) * weight
            totals.sums[label] -= weighted
            totals.weights[label] -= weight
            totals.sums[cluster], totals.weights[cluster] = weighted, weight
            totals.counts[cluster] = 1
        shift, _ = _take_and_average(self.piles, totals, centers, out)
        out[moved] = rows  # except for the rounding of their weights
        return float(shift), len(rows)

    def destinations(
        self, labels: Array, distances: Array, centers: Array, empty: Array
    ) -> tuple[Array, Array, Array]:
        """Where `empty` clusters are to be moved: numbers of rows, their labels, and they, centred.

        The rows farthest from their own centers, in scikit-learn's order where that will do; fewer
        than there are clusters where no others can be told from a center.  Each of them

        * weighs something, and leaves a row that does in its cluster;
        * is farther from its center than the mean of equal rows may be by rounding, or clusters of
          equal rows would take turns for ever;
        * is neither like another one, nor where an empty cluster is: such a row, which has stayed
          with a center that is farther away, rounding keeps from coming over.

        The sums must be those of the labels.  Parameters as for :meth:`relocated`.
        """
        n_empty, vacant = len(empty), centers[empty]
        choice = _Choice(self, vacant)
        if n_empty:
            choice.look(*self.farthest(labels, distances, centers, n_empty))
        if n_empty and len(choice.numbers) < n_empty:
            choice = _Choice(self, vacant)
            size, start = max(n_empty, SLICE_ELEMENTS // (8 * centers.shape[1])), 0
            while len(choice.numbers) < n_empty:
                some = self.by_distance(labels, distances, centers, start, start + size)
                if not len(some[0]):
                    break
                choice.look(*some)
                start += size
        return choice.found()

    def limits(self, centers: Array) -> Array:
        """By cluster: squared distance that a row must be beyond to be moved, infinite for none."""
        counts = self.totals.counts
        lengths = np.einsum("ij,ij->i", centers, centers, dtype=np.float64)
        rounding = (counts + 8) * np.finfo(np.float64).eps
        return np.where(counts > 1, rounding**2 * lengths, np.inf)

    def farthest(
        self, labels: Array, distances: Array, centers: Array, n_rows: int
    ) -> tuple[Array, Array]:
        """Of the rows farthest from their centers those that may be moved, and their labels."""
        own, weights = labels[: len(distances)], self.rows.weights
        return farthest(own, distances, weights, self.limits(centers), n_rows)

    def by_distance(
        self, labels: Array, distances: Array, centers: Array, start: int, stop: int
    ) -> tuple[Array, Array]:
        """All rows that may be moved, the farthest first, and their labels: some of them."""
        own, weights = labels[: len(distances)], self.rows.weights
        numbers, own = by_distance(own, distances, weights, self.limits(centers))
        return numbers[start:stop], own[start:stop]

    def weight_of(self, number: int) -> float:
        """Of a row."""
        return float(self.rows.weights[number]) if len(self.rows.weights) else 1.0


class _Choice:
    """Rows for vacant centers: none like another one or like a vacant center, no cluster empty."""

    def __init__(self, update: Update, vacant: Array) -> None:
        self.update, self.vacant = update, vacant
        self.left = update.totals.counts.copy()
        self.known = {(center + 0).tobytes() for center in vacant}
        self.numbers: list[int] = []
        self.labels: list[int] = []
        self.rows: list[Array] = []

    def look(self, far: Array, own: Array) -> None:
        """Take of these rows as many as are still wanted; `own` are their labels."""
        if not len(far):  # nothing to read
            return
        n_features = self.vacant.shape[1]
        # No negative zeros.
        centred = self.update.take(far) - self.update.mean[:n_features] + 0
        for number, label, row in zip(far, own, centred, strict=True):
            if len(self.rows) == len(self.vacant):
                break
            if self.left[label] > 1 and row.tobytes() not in self.known:
                self.left[label] -= 1
                self.known.add(row.tobytes())
                self.numbers.append(number)
                self.labels.append(label)
                self.rows.append(row)

    def found(self) -> tuple[Array, Array, Array]:
        """Numbers, labels and centred rows."""
        rows = np.array(self.rows, self.vacant.dtype).reshape(-1, self.vacant.shape[1])
        return np.array(self.numbers, np.int64), np.array(self.labels, np.int64), rows


def _movable(own: Array, distances: Array, weights: Array, limits: Array) -> Array:
    movable: Array = distances > limits[own]
    return movable & (weights > 0) if len(weights) else movable


def farthest(
    own: Array, distances: Array, weights: Array, limits: Array, n_rows: int
) -> tuple[Array, Array]:
    """See :meth:`Update.farthest`."""
    far = np.argpartition(distances, -n_rows)[: -n_rows - 1 : -1]
    far = far[_movable(own[far], distances[far], weights[far] if len(weights) else weights, limits)]
    return far, own[far]


def by_distance(own: Array, distances: Array, weights: Array, limits: Array) -> tuple[Array, Array]:
    """See :meth:`Update.by_distance`; rows that agree in distance and label are one."""
    far = np.flatnonzero(_movable(own, distances, weights, limits))
    far = far[np.lexsort((own[far], -distances[far]))]
    # Rows that agree in both are most often equal, and there may be a great many.
    differ = (np.diff(own[far]) != 0) | (np.diff(distances[far]) != 0)
    far = far[np.r_[np.ones(min(1, len(far)), np.bool_), differ]]
    return far, own[far]
