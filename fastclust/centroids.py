"""What estimators whose clusters are the rows nearest to a center have in common.

Labels, distances and scores of new rows need nothing but ``cluster_centers_``.
"""

from __future__ import annotations

import contextlib
import warnings
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
from sklearn.metrics.pairwise import euclidean_distances

from . import validation
from .interchange import Interchangeable
from .kernels.algorithms import algorithm_for
from .kernels.parallel import Team, team
from .kernels.sparse import SparseRows, make_sparse_rows
from .kernels.tiles import Array, Rows, make_rows, padded_vector

# Variances of columns at which float32 data are clustered in float64: their squares come near the
# ends of the range, with room for many features and for rows far out.
SQUARES = (1e-26, 1e26)


class CentroidEstimator(
    Interchangeable,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    BaseEstimator,
):
    """Prediction, transformation and scoring for a fitted ``cluster_centers_``."""

    cluster_centers_: Array
    labels_: Array
    reads_sparse = False

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
        X = validation.check_data(self, X, fitting=False)
        X = _widened(X, self.cluster_centers_)
        with team() as threads:
            return nearest(rows_of(X), self.cluster_centers_, threads)

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
        validation.check_fitted(self)
        X = validation.check_data(self, X, fitting=False)
        return euclidean_distances(X, self.cluster_centers_)

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
        X = validation.check_data(self, X, fitting=False)
        weights = validation.check_weights(sample_weight, X)
        rows = rows_of(_widened(X, self.cluster_centers_), weights)
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
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def single_start(n_init: int, estimator: Any) -> int:
    """The one start that given centers are; a warning where more were asked for."""
    if n_init != 1:
        warnings.warn(
            "Explicit initial center position passed: performing only one init in "
            f"{type(estimator).__name__} instead of n_init={n_init}.",
            RuntimeWarning,
            stacklevel=3,
        )
    return 1


def is_extreme(variance: float, dtype: Any) -> bool:
    """Whether squared distances of this size leave the range of float32, and `dtype` is that."""
    least, most = SQUARES
    return dtype == np.float32 and (0 < variance < least or variance > most)


def _widened(X: Any, centers: Array) -> Any:
    """`X`, in float64 where distances to the centers ask for it."""
    variance = float(centers.var(axis=0, dtype=np.float64).max())
    return X.astype(np.float64) if is_extreme(variance, X.dtype) else X


def rows_of(X: Any, weights: Array | None = None) -> Rows | SparseRows:
    """What kernels read, for dense and for sparse data that have passed the checks."""
    return make_sparse_rows(X, weights) if scipy.sparse.issparse(X) else make_rows(X, weights)


def assigned(rows: Rows | SparseRows, centers: Array, mean: Array, threads: Team) -> Any:
    """An algorithm that has labelled the rows; `centers` are centred by `mean`, as rows will be."""
    kind = algorithm_for(rows, "lloyd")
    algorithm = kind(rows, mean, len(centers), kind.update_class(rows, mean, 0, threads), threads)
    algorithm.assign(centers, account=False)
    return algorithm


def _assigned(rows: Rows | SparseRows, centers: Array, threads: Team) -> Any:
    """The same for centers that are not centred."""
    centers = np.ascontiguousarray(centers, rows.dtype)
    shift = centers.mean(axis=0, dtype=np.float64)
    if isinstance(rows, SparseRows):
        shift[:] = 0
    mean = padded_vector(shift, rows.dtype)
    return assigned(rows, centers - mean[: centers.shape[1]], mean, threads)


def nearest(rows: Rows | SparseRows, centers: Array, threads: Team) -> Array:
    """Label of each row: its nearest center, the lowest of several."""
    labels: Array = _assigned(rows, centers, threads).labels[: rows.shape[0]]
    return labels


def labels_and_inertia(
    rows: Rows | SparseRows, centers: Array, threads: Team
) -> tuple[Array, float]:
    """Labels of rows, and the weighted sum of squared distances to their centers."""
    algorithm = _assigned(rows, centers, threads)
    inertia = algorithm.own_distances(centers - algorithm.mean[: centers.shape[1]])
    return algorithm.labels[: rows.shape[0]], float(inertia)
