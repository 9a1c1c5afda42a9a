"""Centers of a model as rows meet them: packed once, kept while they are what they were.

A model is fitted once and asked a million times.  What its centers are packed into lies beside the
models, not in them: pickles, copies and clones know nothing of it, and it goes when the model goes.
Each call looks at all numbers of ``cluster_centers_``, which anybody may set or write into; where
they have changed, all is packed anew.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cached_property
from math import prod
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from .kernels.distances import agree, all_distances, distance_panels
from .kernels.fingerprint import checksum
from .kernels.machine.parallel import Team, team_for
from .kernels.serving import DenseCenters
from .kernels.sparse import (
    SparseCenters,
    SparseDistances,
    SparseRows,
    own_distances,
    sparse_slice_rows,
    squared_norms,
)
from .kernels.tiles import Array, Rows
from .preparation import is_extreme

Form = TypeVar("Form")
FEW_BYTES = 4096  # up to which a copy is sooner made than a digest
FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


class Centers:
    """Centers (n_clusters, n_features), and what is made of them when it is first asked for."""

    def __init__(self, array: Array) -> None:
        self.array = np.ascontiguousarray(array)
        self._forms: dict[Any, Any] = {}  # threads that meet here make the same twice, at worst

    def _form(self, name: Any, make: Callable[[], Form]) -> Form:
        found = self._forms.get(name)
        if found is None:
            found = self._forms[name] = make()
        return found

    @cached_property
    def variance(self) -> float:
        """Largest variance of a column."""
        return float(self.array.var(axis=0, dtype=np.float64).max())

    def wants_float64(self, dtype: Any) -> bool:
        """Whether distances ask for more than rows of this dtype have."""
        return dtype == np.float32 and is_extreme(self.variance, dtype)

    def dense(self, dtype: Any) -> DenseCenters:
        """For dense rows."""
        return self._form(np.dtype(dtype), lambda: DenseCenters(self.array, np.dtype(dtype)))

    def sparse(self, dtype: Any, team: Team) -> SparseCenters:
        """For sparse rows."""

        def make() -> SparseCenters:
            n_clusters, n_features = self.array.shape
            centers = SparseCenters(n_clusters, n_features, np.dtype(dtype))
            centers.fill(np.ascontiguousarray(self.array, dtype), team)
            return centers

        return self._form(("sparse", np.dtype(dtype)), make)

    def labels(self, rows: Rows | SparseRows, team: Team) -> Array:
        """Label of each row: its nearest center, the lowest of several."""
        if isinstance(rows, SparseRows):
            return self.sparse(rows.dtype, team).labels(rows, team)
        return self.dense(rows.dtype).labels(rows, team)

    def inertia(
        self,
        rows: Rows | SparseRows,
        labels: Array,
        team: Team,
        distances: Array | None = None,
    ) -> float:
        """Weighted sum of squared distances of rows to the centers of their labels.

        That of each row, without its weight, is written to `distances` if given.
        """
        if not isinstance(rows, SparseRows):
            return self.dense(rows.dtype).own_distances(rows, labels, team, distances)
        wide = np.ascontiguousarray(self.array, np.float64)
        norms = self._form("norms", lambda: squared_norms(wide, team))
        size = sparse_slice_rows(rows, 0)
        return own_distances(rows, wide, norms, labels, size, team, distances)

    def distances(
        self,
        rows: Rows | SparseRows,
        labels_of: Callable[[Array], Array] | None,
        team: Team,
        out: Array,
    ) -> bool:
        """Write the distance of each row to each center, least for its label.

        Only where rounding decides which is the least, `labels_of` is asked for the labels of rows;
        without it they do not matter.

        Returns
        -------
        bool
            False where there may be numbers in dense rows that are not finite.
        """
        finite = True
        close = np.empty(len(out) if labels_of and len(self.array) > 1 else 0, np.bool_)
        if isinstance(rows, SparseRows):
            table = self.sparse(np.float64, team)
            self._form("squares", lambda: SparseDistances(table)).write(rows, close, team, out)
        else:
            panels = self._form("panels", lambda: distance_panels(self.array))
            finite = all_distances(rows.X, panels, close, team, out)
        if labels_of:
            agree(close, labels_of, rows.dtype, out)
        return finite

    def team_for(self, rows: Any) -> Any:
        """Threads for one look of rows at all centers."""
        size = rows.row_size * rows.shape[0] if isinstance(rows, SparseRows) else prod(rows.shape)
        return team_for(float(size) * (len(self.array) + 4))


def digest(value: Any) -> Any:
    """What tells whether an array is what it was, shape and dtype included."""
    array = np.asarray(value)
    few = array.nbytes <= FEW_BYTES or array.dtype not in FLOATS
    return array.shape, array.dtype, array.tobytes() if few else checksum(array)


class _Kept(NamedTuple):
    model: weakref.ref[Any]
    state: Any
    made: Any


_kept: dict[tuple[int, str], _Kept] = {}  # by the id of the model: a subclass may have no hash


def kept_beside(model: Any, name: str, state: Any, make: Callable[[], Form]) -> Form:
    """What was made for a model when its state was the same, or what is made now."""
    key = id(model), name
    found = _kept.get(key)
    if found is None or found.model() is not model or found.state != state:
        reference = weakref.ref(model, lambda _: _kept.pop(key, None))
        found = _kept[key] = _Kept(reference, state, make())
    return cast(Form, found.made)


def centers_of(model: Any) -> Centers:
    """The centers of a fitted model, with what has been made of them before."""
    array = np.ascontiguousarray(model.cluster_centers_)
    if array.dtype not in FLOATS:  # set by hand
        array = array.astype(np.float64)
    state = array.shape, array.dtype, checksum(array)
    centers = kept_beside(model, "centers", state, lambda: Centers(array))
    # The same numbers, but where they lie now: nothing holds on to an array that is gone.
    centers.array = array
    return centers
