"""The named tuples that kernels are given: what belongs together has one name and one place.

A kernel takes about eight arguments: the three by which it takes tasks, and records.  Instructions
take records whole, which costs nothing.  An attribute of a record, taken inside a loop, counts
references: a kernel takes out what it needs itself before its loops.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

# What an assignment does with the rows whose label has changed; see :mod:`.update`.
LABELS_ONLY, PILES, RECORD = 0, 1, 2


class Rows(NamedTuple):
    """Rows of X as kernels see them: the array itself, and its ragged end padded to a tile."""

    X: Array
    tail: Array
    weights: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and of features."""
        return self.X.shape

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self.X.dtype

    def take(self, indices: Array) -> Array:
        """The listed rows."""
        return self.X[indices]


class Panels(NamedTuple):
    """Centers packed for one of the two tiles; see :mod:`.emit` for the layouts."""

    by_features: bool
    n_wide: int
    n_narrow: int
    packed: Array
    bias: Array


class Screen(NamedTuple):
    """Centers by rows in float32, and what their scores may be wrong by; see :mod:`.screening`."""

    packed: Array
    bias: Array
    n_centers: int
    slack: np.float32


class Tile(NamedTuple):
    """Room for 64 rows of a task, and for what a search finds about each of them."""

    packed: Array  # (features, 64): centred rows
    best: Array  # smallest score
    second: Array  # second smallest score
    index: Array  # type: ignore[assignment]  # the bits of the number of the nearest center
    norms: Array  # squared norm
    row: Array  # (features,): room for one row that is looked at by itself


class Piles(NamedTuple):
    """What the rows of a slice have brought to each cluster, less what they have taken away."""

    records: Array  # (n_slices, k or more, size); see emit.sums.move_rows. Zero where not touched
    touched: Array  # (n_slices, k or more)
    arrivals: Array  # (n_slices,); see slices.next_merge


class Changes(NamedTuple):
    """Per slice: number of changed rows, and (large piles) which they are and what they were."""

    n: Array
    rows: Array
    labels: Array


class Totals(NamedTuple):
    """Per cluster, over all rows: sum of rows, of weights, number of rows that weigh."""

    sums: Array
    weights: Array
    counts: Array


class Job(NamedTuple):
    """The rows that an assignment labels, slice by slice, and where it accounts for changes."""

    slice_size: int
    rows: Rows
    mean: Array  # (padded features,): what rows are centred by
    labels: Array  # (n padded to a tile,) int32
    piles: Piles
    changes: Changes


class Bounds(NamedTuple):
    """Two bounds a row, and what moves them; see :func:`.emit.bounds.unsettled_rows`."""

    upper: Array  # (n padded to a tile,) float32: of the distance to the own center
    lower: Array  # the same for all other centers
    table: Array  # (k, 4) float32: of each cluster
    slack: np.float32  # see :mod:`.hamerly`
    reach: np.float32
    largest: float  # squared norm of a center
