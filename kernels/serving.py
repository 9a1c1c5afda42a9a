"""Centers that rows are labelled by again and again: packed once, for as many calls as there are.

Whoever serves a model asks for a row at a time: there is then next to nothing to compute, and what
counts is what is done besides.  A few rows are looked at one by one, and everything about the
centers is made before; labels are the same bits as those of :class:`.lloyd.Lloyd`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .distances import own_distances
from .emit.cpu import TILE_ROWS, round_up
from .emit.search_in_place import FEATURE_ROWS, nearest_of_few
from .emit.search_rows import nearest_in_row
from .lloyd import label_slices
from .machine.compiling import kernel
from .machine.parallel import Team, next_task
from .moments import near_most
from .records import LABELS_ONLY, Array, Changes, Job, Piles, Rows
from .screening import fill_screen, make_screen, pays_to_screen
from .tiles import (
    aligned_empty,
    fill_panels,
    make_panels,
    padded_vector,
    read_only,
    scratch,
)
from .update import slice_rows

# So many rows are looked at one by one: a tile takes the time of some thirty to fifty.
FEW_ROWS = 16
SCANNED = 1 << 16  # numbers that a task looks through


@kernel
def _all_finite(counter, gate, n_tasks, values, found):
    """Per task, whether its share of the numbers are finite."""
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        # A part of its own: at an index that might be negative LLVM does not vectorise.
        part = values[task * SCANNED : (task + 1) * SCANNED]
        n_others = 0
        for i in range(len(part)):
            n_others += part[i] - part[i] != 0
        found[task] = n_others == 0


def all_finite(array: Array, team: Team) -> bool:
    """Whether all numbers of a contiguous array are finite."""
    flat = read_only(array).reshape(-1)
    n_tasks = -(-flat.size // SCANNED)
    found = np.empty(n_tasks, np.bool_)
    team.run(_all_finite, float(flat.size), n_tasks, flat, found)
    return bool(found.all())


@kernel
def _label_few(X, mean, by_features, n_wide, n_narrow, centers, bias, labels):
    """Label rows one by one, by the scores of the tile that `centers` are packed for."""
    n_samples, n_features = X.shape
    x = scratch(mean, len(mean))
    rows = np.zeros((FEATURE_ROWS if by_features else 0, n_features), X.dtype)
    best, index = scratch(mean, TILE_ROWS), scratch(mean, TILE_ROWS)
    numbers = index.view(np.int32)
    width = len(numbers) // TILE_ROWS
    for row in range(n_samples):
        if by_features:
            for t in range(n_features):
                rows[0, t] = X[row, t]
            nearest_of_few(
                rows, rows, 0, mean, centers, bias, n_wide, n_narrow, best, index, np.int64(0)
            )
            # Numbers are as wide as the rows' elements; their lower halves come first.
            labels[row] = numbers[0] if width == 1 else index.view(np.int64)[0]
        else:
            for t in range(n_features):
                x[t] = X[row, t] - mean[t]
            labels[row] = nearest_in_row(x, centers, bias, n_wide, n_narrow, n_features)


NO_PILES = Piles(np.empty((0, 0, 0)), np.empty((0, 0), np.bool_), np.empty(0, np.int64))


class DenseCenters:
    """Centers for dense rows of one dtype.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features)
        Centers of any dtype.
    dtype : dtype
        Of the rows.

    Attributes
    ----------
    mean : ndarray of shape (padded n_features,)
        What rows are centred by.
    centred : ndarray of shape (n_clusters, n_features)
        The centers in `dtype`, minus that.
    exact : ndarray of shape (n_clusters, n_features), float64
        The same, rounded to nothing less than their own dtype.
    """

    def __init__(self, centers: Array, dtype: Any) -> None:
        own = np.ascontiguousarray(centers, dtype)
        wide = own.astype(np.float64, copy=False)
        self.n_clusters, n_features = own.shape
        self.mean = padded_vector(near_most(wide.mean(axis=0), wide.var(axis=0)), dtype)
        self.centred = own - self.mean[:n_features]
        self.exact = (centers - self.mean[:n_features]).astype(np.float64, copy=False)
        self.panels = make_panels(self.n_clusters, n_features, dtype)
        fill_panels(self.centred, self.panels)
        pays = pays_to_screen(self.n_clusters, n_features, dtype)
        self.screen = make_screen(self.panels, pays, self.n_clusters, n_features)
        self.asks = pays and fill_screen(self.panels, self.screen)

    def work(self, n_samples: int) -> float:
        """Multiply-adds that it takes to label so many rows."""
        return float(n_samples) * self.centred.shape[1] * (self.n_clusters + 4)

    def labels(self, rows: Rows, team: Team) -> Array:
        """Label of each row: its nearest center, the lowest of several.

        Parameters
        ----------
        rows : Rows
            Rows, as by :func:`.tiles.make_rows`; of up to `FEW_ROWS` the tail is not looked at.
        team : Team
            Threads to run on.
        """
        n_samples, n_features = rows.X.shape
        if n_samples <= FEW_ROWS:
            labels = np.empty(n_samples, np.int32)
            by_features, n_wide, n_narrow, packed, bias = self.panels
            _label_few(rows.X, self.mean, by_features, n_wide, n_narrow, packed, bias, labels)
            return labels
        labels = aligned_empty(round_up(n_samples, TILE_ROWS), np.int32)
        labels[:] = -1
        size = slice_rows(n_samples, n_features, 0)
        n_slices = -(-n_samples // size)
        index = np.int64 if n_samples > 2**31 - 1 else np.int32
        changes = Changes(np.empty(n_slices, np.int64), np.empty(0, index), np.empty(0, np.int32))
        job = Job(size, rows, self.mean, labels, NO_PILES, changes)
        team.run(
            label_slices, self.work(n_samples), n_slices, self.asks, LABELS_ONLY, job, self.panels,
            self.screen, np.empty(n_slices, np.int64),
        )  # fmt: skip
        return labels[:n_samples]

    def own_distances(
        self, rows: Rows, labels: Array, team: Team, distances: Array | None = None
    ) -> float:
        """Inertia of rows with these labels; see :func:`.distances.own_distances`."""
        return own_distances(rows, self.mean, self.exact, labels, team, distances=distances)
