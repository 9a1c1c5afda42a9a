"""What estimators whose clusters are the rows nearest to a center have in common.

Labels, distances and scores of new rows need nothing but ``cluster_centers_``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import scipy.sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)

from . import mapped, validation
from .counterpart import Interchangeable
from .kernels.algorithms import algorithm_for
from .kernels.parallel import Team, team
from .kernels.sparse import SparseRows, make_sparse_rows
from .kernels.tiles import Array, Rows, make_rows, padded_vector
from .persistence import Persistent
from .sources import Source
from .streaming import StreamedRows, streamed_labels

# Variances of columns at which float32 data are clustered in float64: their squares come near the
# ends of the range, with room for many features and for rows far out.
SQUARES = (1e-26, 1e26)


class CentroidEstimator(
    mapped.Guarded,
    Persistent,
    Interchangeable,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Prediction, transformation and scoring for a fitted ``cluster_centers_``."""

    cluster_centers_: Array
    labels_: Array

    @property
    def reads_sparse(self) -> bool:
        """Whether `X` may be sparse."""
        return False

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the clusters of `X`; every subclass has its own way."""
        raise NotImplementedError

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Array:
        """Find the clusters of `X` and return its labels.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to cluster.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
            Index of the cluster of each row.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: Any) -> Array:
        """Index of the center nearest to each row of `X`, the lowest of several.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to label.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
            Index of each row's cluster.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before a fit.
        """
        validation.check_fitted(self)
        X = validation.open_data(self, X, fitting=False)
        X = _widened(X, self.cluster_centers_)
        with team() as threads:
            return nearest(open_parts(X), self.cluster_centers_, threads)

    def transform(self, X: Any) -> Array:
        """Distances of each row of `X` to each center.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to transform.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_clusters)
            Euclidean distances.
        """
        # All of scikit-learn's metrics, of which a fit needs nothing.
        from sklearn.metrics.pairwise import euclidean_distances

        validation.check_fitted(self)
        X = validation.open_data(self, X, fitting=False)
        if not isinstance(X, Source):
            return euclidean_distances(X, self.cluster_centers_)
        result, first = np.empty((len(X), len(self.cluster_centers_)), X.dtype), 0
        for block in X.blocks(max(1, 2**20 // X.shape[1])):
            result[first : first + len(block)] = euclidean_distances(block, self.cluster_centers_)
            first += len(block)
        return result

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Array:
        """Find the clusters of `X` and return the distances of its rows to the centers.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to cluster.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_clusters)
            Euclidean distances.
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the inertia of `X` for the centers of this fit.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to score.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        score : float
            Minus the weighted sum of squared distances to the nearest centers.
        """
        validation.check_fitted(self)
        X = validation.open_data(self, X, fitting=False)
        weights = validation.check_weights(sample_weight, X)
        rows = open_parts(_widened(X, self.cluster_centers_), weights)
        with team() as threads:
            return -labels_and_inertia(rows, self.cluster_centers_, threads)[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.reads_sparse
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


@contextlib.contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Leave `estimator` as it was if the block does not come to its end."""
    before = dict(vars(estimator))
    try:
        yield
        mapped.check()
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def single_start(n_init: int, estimator: Any) -> int:
    """The one start that given centers are; a warning where more were asked for."""
    if n_init != 1:
        validation.warn(
            "Explicit initial center position passed: performing only one init in "
            f"{type(estimator).__name__} instead of n_init={n_init}.",
            RuntimeWarning,
        )
    return 1


def is_extreme(variance: float, dtype: Any) -> bool:
    """Whether squared distances of this size leave the range of float32, and `dtype` is that."""
    least, most = SQUARES
    return dtype == np.float32 and (0 < variance < least or variance > most)


def near_most(means: Array, variances: Array) -> Array:
    """Where to centre columns of these means: at zero, unless that is far from most numbers.

    A mean within a standard deviation of zero may be that of a few huge numbers, and to subtract it
    would round off what the others are; where it is not, next to nothing is gained by it.
    """
    with np.errstate(under="ignore"):
        return np.where(means * means > variances, means, 0.0)


def _widened(X: Any, centers: Array) -> Any:
    """`X`, in float64 where distances to the centers ask for it."""
    variance = float(centers.var(axis=0, dtype=np.float64).max())
    if isinstance(X, Source):
        validation.check_readable(is_extreme(variance, X.dtype), X)
        return X
    return X.astype(np.float64) if is_extreme(variance, X.dtype) else X


def open_parts(X: Any, weights: Array | None = None) -> Any:
    """Rows of data for kernels, or what stands for them where `X` must be read."""
    if isinstance(X, Source):
        return StreamedRows(X, weights)
    return make_sparse_rows(X, weights) if scipy.sparse.issparse(X) else make_rows(X, weights)


def assigned(rows: Rows | SparseRows, centers: Array, mean: Array, threads: Team) -> Any:
    """An algorithm that has labelled the rows; `centers` are centred by `mean`, as rows will be."""
    kind = algorithm_for(rows, "lloyd")
    algorithm = kind(rows, mean, len(centers), kind.update_class(rows, mean, 0, threads), threads)
    algorithm.assign(centers, account=False)
    return algorithm


def _centred(rows: Any, centers: Array) -> tuple[Array, Array]:
    """Centers of the dtype of the rows, centred, and what they are centred by; 0 if sparse."""
    centers = np.ascontiguousarray(centers, rows.dtype)
    wide = centers.astype(np.float64, copy=False)
    shift = near_most(wide.mean(axis=0), wide.var(axis=0))
    if isinstance(rows, SparseRows):
        shift[:] = 0
    mean = padded_vector(shift, rows.dtype)
    return centers - mean[: centers.shape[1]], mean


def nearest(rows: Any, centers: Array, threads: Team) -> Array:
    """Label of each row: its nearest center, the lowest of several."""
    centred, mean = _centred(rows, centers)
    if isinstance(rows, StreamedRows):
        return streamed_labels(rows, mean, centred, threads)
    labels: Array = assigned(rows, centred, mean, threads).labels[: rows.shape[0]]
    return labels


def labels_and_inertia(rows: Any, centers: Array, threads: Team) -> tuple[Array, float]:
    """Labels of rows, and the weighted sum of squared distances to their centers."""
    centred, mean = _centred(rows, centers)
    exact = centers - mean[: centers.shape[1]]
    if isinstance(rows, StreamedRows):
        labels = streamed_labels(rows, mean, centred, threads)
        return labels, rows.own_distances(mean, exact, labels, threads)
    algorithm = assigned(rows, centred, mean, threads)
    return algorithm.labels[: rows.shape[0]], float(algorithm.own_distances(exact))
