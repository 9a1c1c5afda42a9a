"""k-means on sparse rows (CSR): one row against the transposed centers, lanes over centers.

The entries of a row pick lines out of a table (features, padded centers); each line is multiplied
by the entry and added to the scores of all centers, which stay in vector registers.  A center thus
costs a lane, not a gather, and nothing of size n·d or n·k is ever stored.

Sparse rows are not centred (they would not be sparse any more): the mean that the loop carries is
zero.  Entries of a row are in the order of their columns, each column once, which
:func:`make_sparse_rows` sees to: sums over a row then come in the same order as sums over a dense
one, and a row that equals a center has distance zero exactly.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .distances import are_close, rounding_of
from .emit.cpu import lanes, round_up
from .emit.sparse_rows import nearest_of_sparse
from .machine.compiling import inlined, kernel
from .machine.parallel import SMALL_WORK, Team, next_task
from .records import RECORD, Array, Changes, Piles, Totals
from .slices import MAX_SLICES, tree_sum
from .tiles import aligned_empty, read_only, scratch
from .update import Update

SLICE_WORK = 200_000  # multiply-adds of a slice that are worth a task, about 50 µs
TABLE_FEATURES = 256  # features that a task transposes


class SparseRows(NamedTuple):
    """Rows in CSR form as kernels see them; see :func:`make_sparse_rows`."""

    data: Array
    indices: Array
    indptr: Array
    weights: Array
    n_features: int

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and of features."""
        return len(self.indptr) - 1, self.n_features

    @property
    def dtype(self) -> Any:
        """Type of the entries."""
        return self.data.dtype

    @property
    def row_size(self) -> float:
        """Entries of a row, on average and at least one."""
        return max(1.0, len(self.data) / (len(self.indptr) - 1))

    def take(self, indices: Array) -> Array:
        """The listed rows as a dense array."""
        result = np.zeros((len(indices), self.n_features), self.dtype)
        for row, index in zip(result, indices, strict=True):
            own = slice(self.indptr[index], self.indptr[index + 1])
            row[self.indices[own]] = self.data[own]
        return result


def make_sparse_rows(X: Any, weights: Array | None = None) -> SparseRows:
    """Prepare a SciPy CSR matrix or array (n, d) of float32 or float64 for kernels.

    Copied only where a row has columns out of order or twice.  `weights` is (n,) or None; an empty
    array stands for weights of one.
    """
    X = canonical(X)
    index = np.int64 if np.int64 in (X.indices.dtype, X.indptr.dtype) else np.int32
    return SparseRows(
        read_only(X.data),
        read_only(X.indices.astype(index, copy=False)),
        read_only(X.indptr.astype(np.int64, copy=False)),
        read_only(np.empty(0, X.dtype) if weights is None else weights),
        int(X.shape[1]),
    )


def canonical(X: Any) -> Any:
    """`X`, or a copy in which each row has its columns in order and once."""
    if not X.has_canonical_format:
        X = X.copy()
        X.has_sorted_indices = False  # as SciPy may remember from before they were changed
        X.sum_duplicates()
    return X


CANONICAL, UNORDERED, BAD_POINTERS, BAD_INDICES = range(4)


@kernel
def _structure(indices, indptr, n_columns):
    n_rows = len(indptr) - 1
    if indptr[0] != 0 or indptr[n_rows] > len(indices):
        return BAD_POINTERS
    for row in range(n_rows):
        if indptr[row + 1] < indptr[row]:
            return BAD_POINTERS
    # Over all entries at once, in vectors; then what falls from row to row is taken off again.
    used = indices[: indptr[n_rows]]
    n_outside = 0
    for i in range(len(used)):
        n_outside += (used[i] < 0) | (used[i] >= n_columns)
    if n_outside:
        return BAD_INDICES
    columns, following = used[:-1], used[1:]
    n_falls = 0
    for i in range(len(following)):
        n_falls += following[i] <= columns[i]
    for row in range(1, n_rows):
        start = indptr[row]
        if indptr[row - 1] < start < len(used):  # an empty row begins where the next one does
            n_falls -= used[start] <= used[start - 1]
    return UNORDERED if n_falls else CANONICAL


def structure(indices: Array, indptr: Array, n_columns: int) -> int:
    """What can be said of indices (int32 or int64) in CSR form, before anything follows them.

    `CANONICAL` where each row has its columns in order and once, `UNORDERED` where not;
    `BAD_POINTERS` where `indptr` does not begin at zero, falls, or ends behind the last of
    `indices`; `BAD_INDICES` where one of these is no column.
    """
    pointers = read_only(indptr.astype(np.int64, copy=False))
    return int(_structure(read_only(indices), pointers, n_columns))


@kernel
def _column_sums(values, columns, sums, counts):
    for place in range(len(values)):
        sums[columns[place]] += np.float64(values[place])
        counts[columns[place]] += 1


@kernel
def _column_squares(values, columns, mean, squares):
    for place in range(len(values)):
        difference = np.float64(values[place]) - mean[columns[place]]
        squares[columns[place]] += difference * difference


def column_variances(X: Any) -> Array:
    """Population variance of the columns of a CSR matrix (n, d): (d,), float64.

    In two passes, so that far from zero nothing cancels; in float64 whatever the entries are.
    """
    X = canonical(X)
    sums, squares = np.zeros((2, X.shape[1]))
    counts = np.zeros(X.shape[1], np.int64)
    _column_sums(X.data, X.indices, sums, counts)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = sums / X.shape[0]
        _column_squares(X.data, X.indices, mean, squares)
        return (squares + (X.shape[0] - counts) * mean**2) / X.shape[0]


# --------------------------------------------------------------------------------------------
# The table of centers


@kernel
def _fill_table(counter, gate, n_tasks, centers, stride, table):
    """Transpose and negate `centers` (k, d) into ``table`` (d, stride), padding left as it is."""
    n_clusters, n_features = centers.shape
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start = task * TABLE_FEATURES
        for first in range(start, min(start + TABLE_FEATURES, n_features), 16):
            for cluster in range(n_clusters):
                for t in range(first, min(first + 16, n_features)):
                    table[t * stride + cluster] = -centers[cluster, t]


@kernel
def _squared_norms(counter, gate, n_tasks, centers, norms):
    """Squared norm of each center, in float64 and in the order of the features."""
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        center = centers[task]
        total = 0.0
        for t in range(len(center)):
            total += np.float64(center[t]) * np.float64(center[t])
        norms[task] = total


def squared_norms(centers: Array, team: Team) -> Array:
    """Squared norm of each center (k, d), in float64."""
    norms = np.empty(len(centers))
    team.run(_squared_norms, 4.0 * centers.size, len(centers), centers, norms)
    return norms


class SparseCenters:
    """The table of centers (features, padded centers), and what their scores begin with.

    Parameters
    ----------
    n_clusters, n_features : int
        Shape of the centers.
    dtype : dtype
        Of the rows.
    """

    def __init__(self, n_clusters: int, n_features: int, dtype: Any) -> None:
        stride = round_up(n_clusters, lanes(dtype))
        self.n_clusters, self.n_vectors = n_clusters, stride // lanes(dtype)
        self.table = aligned_empty(n_features * stride, dtype)
        self.table.fill(0)
        self.bias = aligned_empty(stride, dtype)
        self.bias.fill(np.inf)

    def fill(self, centers: Array, team: Team) -> None:
        """Take over centers (n_clusters, n_features) of the dtype of the rows."""
        n_tasks = -(-centers.shape[1] // TABLE_FEATURES)
        stride = len(self.bias)
        team.run(_fill_table, 2.0 * centers.size, n_tasks, centers, stride, self.table)
        self.bias[: self.n_clusters] = 0.5 * squared_norms(centers, team)

    def labels(self, rows: SparseRows, team: Team) -> Array:
        """Label of each row: its nearest center, the lowest of several."""
        labels = np.full(rows.shape[0], -1, np.int32)
        size = sparse_slice_rows(rows, self.n_clusters)
        n_slices = -(-len(labels) // size)
        none = np.empty(0, np.int32)
        changes = Changes(np.empty(n_slices, np.int64), none, none)
        self.assign(rows, size, labels, False, changes, team)
        return labels

    def assign(
        self,
        rows: SparseRows,
        slice_size: int,
        labels: Array,
        record: bool,
        changes: Changes,
        team: Team,
    ) -> None:
        """Bring `labels` up to date; with `record`, list the rows whose label changes."""
        work = rows.row_size * len(labels) * (self.n_clusters + 4)
        team.run(
            _assign, work, len(changes.n), slice_size, rows, self.table, self.bias, self.n_vectors,
            labels, record, changes,
        )  # fmt: skip


def sparse_slice_rows(rows: SparseRows, n_clusters: int) -> int:
    """Rows per slice, decided by the data alone."""
    least = int(SLICE_WORK / (rows.row_size * (n_clusters + 4)))
    return max(1, least, -(-rows.shape[0] // MAX_SLICES))


# --------------------------------------------------------------------------------------------
# Assignment


@kernel
def _assign(
    counter, gate, n_tasks, slice_size, rows, table, bias, n_vectors, labels, record, changes,
):  # fmt: skip
    """Label all rows, slice by slice; with `record`, list those whose label changes."""
    # Taken out of their tuples here: inside the loop each access would count references.
    data, indices, indptr, _, _ = rows
    n_changes, changed_rows, changed_labels = changes
    n_samples = len(indptr) - 1
    size = len(bias) // n_vectors
    best, index = scratch(bias, size), scratch(bias, size)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start = task * slice_size
        n_changed = 0
        for row in range(start, min(start + slice_size, n_samples)):
            winner = nearest_of_sparse(
                data, indices, indptr[row], indptr[row + 1], table, bias, n_vectors, best, index
            )
            old = labels[row]
            if winner != old:
                labels[row] = winner
                if record:
                    changed_rows[start + n_changed] = row
                    changed_labels[start + n_changed] = old
                n_changed += 1
        n_changes[task] = n_changed


@kernel
def _own_distances(
    counter, gate, n_tasks, slice_size, rows, centers, norms, labels, inertias, distances,
):  # fmt: skip
    """Per slice: weighted sum of squared distances to the own center; each one where asked for."""
    data, indices, indptr, weights, _ = rows
    n_samples = len(indptr) - 1
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        total = 0.0
        start = task * slice_size
        for row in range(start, min(start + slice_size, n_samples)):
            own = labels[row]
            # Features of the center that the row has no entry for are what its norm is too long.
            square, covered = 0.0, 0.0
            for place in range(indptr[row], indptr[row + 1]):
                center = np.float64(centers[own, indices[place]])
                difference = np.float64(data[place]) - center
                square += difference * difference
                covered += center * center
            square += max(norms[own] - covered, 0.0)
            if len(distances):
                distances[row] = square
            if len(weights):
                square *= weights[row]
            total += square
        inertias[task] = total


class SparseUpdate(Update):
    """Sums of clusters over sparse rows, brought up to date by owners; see :mod:`.update`."""

    rows: Any

    def __init__(self, rows: SparseRows, mean: Array, n_clusters: int, team: Team) -> None:
        n_samples, n_features = rows.shape
        self.rows, self.mean, self.team = rows, mean, team
        self.mode = RECORD
        self.slice_rows = sparse_slice_rows(rows, n_clusters)
        self.n_slices = -(-n_samples // self.slice_rows)
        self.row_size = rows.row_size
        self.piles = Piles(
            np.empty((0, n_clusters, n_features)),
            np.zeros((0, n_clusters), np.bool_),
            np.zeros(0, np.int64),
        )
        self.changes = Changes(
            np.zeros(self.n_slices, np.int64),
            np.empty(n_samples, np.int64 if n_samples > 2**31 - 1 else np.int32),
            np.empty(n_samples, np.int32),
        )
        self.totals = Totals(
            np.zeros((n_clusters, n_features)),
            np.zeros(n_clusters),
            np.zeros(n_clusters, np.int64),
        )

    def _sum_by_owners(self, work: float, labels: Array, *, everything: bool) -> None:
        n_clusters = len(self.totals.counts)
        # Any number of owners gives the same bits.  Clusters differ in size, so that there are
        # more owners than threads; each has to look at every label.
        n_owners = min(n_clusters, 4 * self.team.n_threads) if work > SMALL_WORK else 1
        self.team.run(
            _sum_by_owners,
            work,
            n_owners,
            everything,
            self.slice_rows,
            self.rows,
            labels,
            self.changes,
            self.totals,
        )

    def summed(self, labels: Array) -> Totals:
        """Sums, weights and numbers of the rows of each cluster, afresh."""
        self._sum_by_owners(self.rows.shape[0] * self.row_size, labels, everything=True)
        return self.totals

    def take(self, numbers: Array) -> Array:
        """The listed rows of the data, dense."""
        return self.rows.take(numbers)


@kernel
def _sum_by_owners(
    counter, gate, n_tasks, everything, slice_size, rows, labels, changes, totals,
):  # fmt: skip
    """Each task brings the sums of its own range of clusters up to date, in row order.

    From the recorded changes, or, with `everything`, afresh from all rows.
    """
    data, indices, indptr, row_weights, _ = rows
    sums, weights, counts = totals
    n_changes, changed_rows, changed_labels = changes
    n_samples = len(indptr) - 1
    n_clusters, n_features = sums.shape
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
                weight = np.float64(row_weights[row]) if len(row_weights) else 1.0
                for side in range(2):
                    cluster = np.int64(labels[row])
                    signed = weight
                    if side == 1:
                        cluster = np.int64(-1) if everything else np.int64(changed_labels[place])
                        signed = -weight
                    if low <= cluster < high:
                        for entry in range(indptr[row], indptr[row + 1]):
                            sums[cluster, indices[entry]] += signed * np.float64(data[entry])
                        weights[cluster] += signed
                        counts[cluster] += 1 if signed > 0.0 else -1 if signed < 0.0 else 0


class SparseLloyd:
    """Assignment of sparse rows by all distances; the face of :class:`.lloyd.Lloyd`.

    Parameters
    ----------
    rows : SparseRows
        The data.
    mean : ndarray of shape (padded n_features,)
        Zero.
    n_clusters : int
        Number of centers.
    update : SparseUpdate
        Told of every row that changes its cluster.
    team : Team
        Threads to run on.

    Attributes
    ----------
    labels : ndarray of shape (n_samples,), int32
        Nearest center of each row after :meth:`assign`; -1 before.
    n_distances : int
        Number of distances computed so far.
    """

    update_class = SparseUpdate
    iterates = False

    def __init__(
        self, rows: SparseRows, mean: Array, n_clusters: int, update: SparseUpdate, team: Team
    ) -> None:
        self.rows, self.mean, self.update, self.team = rows, mean, update, team
        n_samples, n_features = rows.shape
        self.labels = np.full(n_samples, -1, np.int32)
        self.n_distances = 0
        self.centers = SparseCenters(n_clusters, n_features, rows.dtype)

    def reset(self) -> None:
        """Forget the labels."""
        self.labels[:] = -1

    def assign(self, centers: Array, *, account: bool = True) -> int:
        """Label every row with its nearest center; see :meth:`.lloyd.Lloyd.assign`."""
        self.centers.fill(centers, self.team)
        self.n_distances += self.rows.shape[0] * len(centers)
        update = self.update
        self.centers.assign(
            self.rows, update.slice_rows, self.labels, account, update.changes, self.team
        )
        return int(update.changes.n.sum())

    def own_distances(self, centers: Array, distances: Array | None = None) -> float:
        """Inertia of the labels for `centers`; see :func:`.distances.own_distances`."""
        centers = centers.astype(np.float64, copy=False)
        norms = squared_norms(centers, self.team)
        size = self.update.slice_rows
        return own_distances(self.rows, centers, norms, self.labels, size, self.team, distances)


def own_distances(
    rows: SparseRows,
    centers: Array,
    norms: Array,
    labels: Array,
    slice_size: int,
    team: Team,
    distances: Array | None = None,
) -> float:
    """As :func:`.distances.own_distances`, given the squared norms of the centers (float64)."""
    n_slices = -(-rows.shape[0] // slice_size)
    inertias = np.empty(n_slices)
    distances = np.empty(0) if distances is None else distances
    team.run(
        _own_distances, 4.0 * len(rows.data), n_slices, slice_size, rows, centers, norms, labels,
        inertias, distances,
    )  # fmt: skip
    return float(tree_sum(inertias))


# --------------------------------------------------------------------------------------------
# Distances to all centers


@inlined
def _add_exactly(high, low, value):
    """Add a number to a sum of two; the second is what the first was rounded by."""
    total = high + value
    back = total - high
    return total, low + ((high - (total - back)) + (value - back))


@kernel
def _exact_norms(table, stride, n_features, high, low):
    """Squared norm of each column of ``table`` (d, stride) as a sum of two numbers."""
    high[:] = 0.0
    low[:] = 0.0
    for t in range(n_features):
        for j in range(stride):
            value = table[t * stride + j]
            high[j], low[j] = _add_exactly(high[j], low[j], value * value)


@kernel
def _all_distances(
    counter, gate, n_tasks, slice_size, rows, table, high, low, tolerance, distances, close,
):  # fmt: skip
    """Distances of all rows to all centers; where asked for, whether the least are close."""
    data, indices, indptr, _, _ = rows
    n_samples, n_clusters = distances.shape
    stride = len(high)
    squares, covered, lost = scratch(high, stride), scratch(high, stride), scratch(high, stride)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for row in range(task * slice_size, min((task + 1) * slice_size, n_samples)):
            for j in range(stride):
                squares[j] = 0.0
                covered[j] = 0.0
                lost[j] = 0.0
            for place in range(indptr[row], indptr[row + 1]):
                value = np.float64(data[place])
                line = table[np.int64(indices[place]) * stride :][:stride]
                for j in range(stride):
                    difference = value + line[j]
                    squares[j] += difference * difference
                    square = line[j] * line[j]
                    covered[j], lost[j] = _add_exactly(covered[j], lost[j], square)
            for j in range(n_clusters):
                # Features of the center that the row has no entry for.  Where these are few the
                # norm is nearly used up: to what sums of two numbers say of what is left of it.
                left = (high[j] - covered[j]) + (low[j] - lost[j])
                distances[row, j] = np.sqrt(squares[j] + max(left, 0.0))
            if len(close):
                close[row] = are_close(distances[row], tolerance)


class SparseDistances:
    """Centers (k, d) that sparse rows are compared with in difference form, in float64.

    Parameters
    ----------
    centers : SparseCenters
        Filled, of float64.
    """

    def __init__(self, centers: SparseCenters) -> None:
        self.n_clusters, self.table = centers.n_clusters, centers.table
        stride = len(centers.bias)
        self.high, self.low = np.empty((2, stride))
        n_features = len(self.table) // stride
        _exact_norms(self.table, stride, n_features, self.high, self.low)

    def write(self, rows: SparseRows, close: Array, team: Team, distances: Array) -> None:
        """Write all distances; see :func:`.distances.all_distances`."""
        size = sparse_slice_rows(rows, 4 * self.n_clusters)
        n_slices = -(-rows.shape[0] // size)
        work = 4.0 * rows.row_size * distances.size
        team.run(
            _all_distances, work, n_slices, size, rows, self.table, self.high, self.low,
            rounding_of(rows.dtype), distances, close,
        )  # fmt: skip
