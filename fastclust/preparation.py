"""Rows on their way into a fit: one look at them, and what every estimator makes of it.

All fits begin alike.  :mod:`.validation` has checked the data, except for what takes a pass over
them.  One pass gives the means and variances of the columns and, for a checkpoint, a fingerprint.
They show whether all numbers are finite, and whether squared distances stay within the range of
float32; if not, the fit computes in float64.  Then the rows are opened for the kernels, whatever
they come from: an array, a sparse matrix, or a source that is read block by block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from . import validation
from .kernels.fingerprint import Fingerprint, sparse_fingerprint
from .kernels.machine.parallel import Team
from .kernels.moments import column_moments
from .kernels.serving import FEW_ROWS
from .kernels.sparse import canonical, column_variances, make_sparse_rows
from .kernels.tiles import Array, Rows, make_rows, padded_vector, read_only
from .rows.sources import Source
from .rows.streaming import StreamedRows

# Variances of columns at which float32 data are clustered in float64: their squares come near the
# ends of the range, with room for many features and for rows far out.
SQUARES = (1e-26, 1e26)


class Survey(NamedTuple):
    """The rows of a data set, and what one pass over them has told.

    Attributes
    ----------
    X : ndarray, sparse matrix or Source of shape (n_samples, n_features)
        The rows.
    weights : ndarray of shape (n_samples,) or None
        Their weights.
    means, variances : ndarray of shape (n_features,), float64
        Of the columns.  Columns are centred by the means, which are therefore zeros for sparse
        rows: these would not be sparse any more.
    identity : str
        Fingerprint of the rows, the same for an array, a file and blocks of the same rows; empty
        where nobody has asked for it.
    """

    X: Any
    weights: Array | None
    means: Array
    variances: Array
    identity: str = ""

    @property
    def mean_variance(self) -> float:
        """The mean variance of the columns, by which tolerances are scaled."""
        return float(self.variances.mean())

    @property
    def center(self) -> Array:
        """What rows and centers are centred by, in the dtype of the rows (padded n_features,)."""
        return padded_vector(self.means, self.X.dtype)

    def widened(self) -> Survey:
        """The same, in float64 where squared distances leave the range of float32."""
        if not is_extreme(float(self.variances.max()), self.X.dtype):
            return self
        weights = None if self.weights is None else self.weights.astype(np.float64)
        return self._replace(X=self.X.astype(np.float64), weights=weights)

    def fitting(self, init: Any) -> Any:
        """`init`, in the dtype of the rows if it is an array of centers."""
        return init.astype(self.X.dtype, copy=False) if validation.is_array_like(init) else init

    def opened(self) -> Any:
        """The rows for kernels."""
        return open_parts(self.X, self.weights)


def survey(
    X: Any,
    weights: Array | None,
    threads: Team,
    estimator: Any = None,
    *,
    unseen: bool = False,
    identify: bool = False,
) -> Survey:
    """Look at rows once, and check what that shows.

    Parameters
    ----------
    X : ndarray, sparse matrix or Source of shape (n_samples, n_features)
        Rows that :mod:`.validation` has checked.
    weights : ndarray of shape (n_samples,) or None
        Their weights.
    threads : Team
        Threads to run on.
    estimator, unseen
        Whose rows they are, and whether they may still hold numbers that are not finite; see
        :func:`.validation.check_spread`.
    identify : bool, default=False
        Whether :attr:`Survey.identity` is asked for.

    Raises
    ------
    ValueError
        Where numbers are not finite, or their squares do not add up to finite numbers.
    """
    identity = ""
    if scipy.sparse.issparse(X):
        means, variances = np.zeros(X.shape[1]), column_variances(X)
        identity = sparse_fingerprint(canonical(X), threads) if identify else ""
    else:
        found = Fingerprint(X.shape, threads) if identify else None
        if isinstance(X, Source):  # which is not read once more for it
            means, variances = open_parts(X).moments(threads, found)
        else:
            means, variances = column_moments(X, threads)
            if found is not None:
                found.add(X)
        identity = "" if found is None else found.text()
    validation.check_spread(variances, X, estimator, unseen=unseen)
    return Survey(X, weights, means, variances, identity)


def is_extreme(variance: float, dtype: Any) -> bool:
    """Whether squared distances of this size leave the range of float32, and `dtype` is that."""
    least, most = SQUARES
    return dtype == np.float32 and (0 < variance < least or variance > most)


def open_parts(X: Any, weights: Array | None = None) -> Any:
    """Rows of data for kernels, or what stands for them where `X` must be read."""
    if isinstance(X, Source):
        return X.opened(weights) if hasattr(X, "opened") else StreamedRows(X, weights)
    return make_sparse_rows(X, weights) if scipy.sparse.issparse(X) else make_rows(X, weights)


def open_once(X: Any, weights: Array | None = None) -> Any:
    """As :func:`open_parts`, for one look at the rows: few rows have no tail that nobody reads."""
    if type(X) is not np.ndarray:
        return open_parts(X, weights)
    return make_rows(X, weights) if len(X) > FEW_ROWS else unpadded(X, weights)


def unpadded(X: Array, weights: Array | None = None) -> Rows:
    """As `make_rows`, without the tail, for whoever reads none: it is a copy of up to 63 rows."""
    X = read_only(X)
    return Rows(X, X, read_only(np.empty(0, X.dtype) if weights is None else weights))
