"""What estimators whose clusters are the rows nearest to a center have in common.

Labels, distances and scores of new rows need nothing but ``cluster_centers_``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Self, Unpack

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)

from . import validation
from .callbacks import FitOptions
from .counterpart import Interchangeable
from .kernels.algorithms import algorithm_for
from .kernels.machine.parallel import Team
from .kernels.sparse import SparseRows
from .kernels.tiles import Array, Rows
from .persistence import Persistent
from .preparation import open_once
from .rows import mapped
from .rows.sources import Source, once_by_blocks
from .rows.streaming import StreamedRows, streamed_labels
from .serving import Centers, centers_of


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
    # Whether `predict` gives the nearest center, with which `transform` is to agree.
    _predicts_nearest = True

    @property
    def reads_sparse(self) -> bool:
        """Whether `X` may be sparse."""
        return False

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, **options: Unpack[FitOptions]
    ) -> Self:
        """Find the clusters of `X`; every subclass has its own way."""
        raise NotImplementedError

    def fit_predict(
        self, X: Any, y: Any = None, sample_weight: Any = None, **options: Unpack[FitOptions]
    ) -> Array:
        """Find the clusters of `X` and return its labels.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to cluster.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.
        **options
            Those of :meth:`fit`: callbacks, checkpoint, checkpoint_every, resume.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
            Index of the cluster of each row.
        """
        return self.fit(X, sample_weight=sample_weight, **options).labels_

    @once_by_blocks
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
        X = validation.open_data(self, X, fitting=False, finite=False)
        centers = centers_of(self)
        rows = open_once(_widened(X, centers))
        with centers.team_for(rows) as threads:
            validation.check_finite(self, X, threads)
            return nearest(rows, centers, threads)

    @once_by_blocks
    def transform(self, X: Any) -> Array:
        """Distances of each row of `X` to each center.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to transform.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_clusters)
            Euclidean distances, taken from differences and so accurate to rounding, however far
            from zero the rows are.  That to the center which :meth:`predict` gives is the smallest,
            unless only more precision than that of the rows can tell two centers.
        """
        validation.check_fitted(self)
        X = validation.open_data(self, X, fitting=False, finite=False)
        centers = centers_of(self)
        dtype = np.result_type(X.dtype, centers.array.dtype)
        distances = np.empty((X.shape[0], len(centers.array)), dtype)
        blocks = X.blocks(max(1, 2**20 // X.shape[1])) if isinstance(X, Source) else [X]
        first = 0
        for block in blocks:
            self._write_distances(block, centers, distances[first : first + block.shape[0]])
            first += block.shape[0]
        return distances

    def _write_distances(self, X: Any, centers: Centers, distances: Array) -> None:
        """Write the distances of rows in memory to all centers."""
        rows = open_once(X)
        with centers.team_for(rows) as threads:
            if isinstance(rows, SparseRows):
                validation.check_finite(self, X, threads)

            def labels_of(numbers: Array) -> Array:
                return nearest(open_once(_widened(X[numbers], centers)), centers, threads)

            agreeing = labels_of if self._predicts_nearest else None
            if not centers.distances(rows, agreeing, threads, distances):
                validation.check_finite(self, X, threads)

    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: Any = None, **options: Unpack[FitOptions]
    ) -> Array:
        """Find the clusters of `X` and return the distances of its rows to the centers.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to cluster.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.
        **options
            Those of :meth:`fit`: callbacks, checkpoint, checkpoint_every, resume.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_clusters)
            Euclidean distances.
        """
        return self.fit(X, sample_weight=sample_weight, **options).transform(X)

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
            Minus the weighted sum of squared distances to the centers of the clusters that
            :meth:`predict` gives.
        """
        validation.check_fitted(self)
        X = validation.open_data(self, X, fitting=False, finite=False)
        weights = validation.check_weights(sample_weight, X)
        centers = centers_of(self)
        rows = open_once(_widened(X, centers), weights)
        with centers.team_for(rows) as threads:
            validation.check_finite(self, X, threads)
            if self._predicts_nearest:
                return -_labels_and_inertia(rows, centers, threads)[1]
            return -_inertia(rows, centers, self.predict(X), threads)

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


def _widened(X: Any, centers: Centers) -> Any:
    """`X`, in float64 where distances to the centers ask for it."""
    return X.astype(np.float64) if centers.wants_float64(X.dtype) else X


def assigned(rows: Rows | SparseRows, centers: Array, mean: Array, threads: Team) -> Any:
    """An algorithm that has labelled the rows; `centers` are centred by `mean`, as rows will be."""
    kind = algorithm_for(rows, "lloyd")
    algorithm = kind(rows, mean, len(centers), kind.update_class(rows, mean, 0, threads), threads)
    algorithm.assign(centers, account=False)
    return algorithm


def nearest(rows: Any, centers: Centers, threads: Team) -> Array:
    """Label of each row: its nearest center, the lowest of several."""
    if isinstance(rows, StreamedRows):
        own = centers.dense(rows.dtype)
        return streamed_labels(rows, own.mean, own.centred, threads)
    return centers.labels(rows, threads)


def labels_and_inertia(rows: Any, centers: Array, threads: Team) -> tuple[Array, float]:
    """Labels of rows, and the weighted sum of squared distances to their centers."""
    return _labels_and_inertia(rows, Centers(centers), threads)


def _labels_and_inertia(rows: Any, centers: Centers, threads: Team) -> tuple[Array, float]:
    labels = nearest(rows, centers, threads)
    return labels, _inertia(rows, centers, labels, threads)


def _inertia(rows: Any, centers: Centers, labels: Array, threads: Team) -> float:
    if isinstance(rows, StreamedRows):
        own = centers.dense(rows.dtype)
        return float(rows.own_distances(own.mean, own.exact, labels, threads))
    return centers.inertia(rows, labels, threads)
