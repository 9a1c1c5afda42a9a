"""What estimators whose clusters are the rows nearest to a center have in common.

Labels, distances and scores of new rows need nothing but ``cluster_centers_``.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.metrics.pairwise import euclidean_distances

from . import validation
from .kernels.distances import own_distances
from .kernels.lloyd import Lloyd
from .kernels.parallel import Team, team
from .kernels.tiles import Array, make_rows, padded_vector
from .kernels.update import Update
from .sources import Source
from .streaming import StreamedRows, streamed_labels


class CentroidEstimator(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """Prediction, transformation and scoring for a fitted ``cluster_centers_``."""

    cluster_centers_: Array
    labels_: Array

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the clusters of `X`; every subclass has its own way."""
        raise NotImplementedError

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Array:
        """Find the clusters of `X` and return its labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
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
        X : array-like of shape (n_samples, n_features)
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
        with team() as threads:
            return nearest(open_parts(X), self.cluster_centers_, threads)[0]

    def transform(self, X: Any) -> Array:
        """Distances of each row of `X` to each center.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to transform.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_clusters)
            Euclidean distances.
        """
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
        X : array-like of shape (n_samples, n_features)
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
        X : array-like of shape (n_samples, n_features)
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
        rows = open_parts(X, validation.check_weights(sample_weight, X))
        with team() as threads:
            return -labels_and_inertia(rows, self.cluster_centers_, threads)[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
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


def open_parts(X: Any, weights: Array | None = None) -> Any:
    """Rows of an array for kernels, or what stands for them where `X` must be read."""
    return StreamedRows(X, weights) if isinstance(X, Source) else make_rows(X, weights)


def nearest(rows: Any, centers: Array, threads: Team) -> tuple[Array, Array]:
    """Labels of rows, and the shift (the centers' mean) by which both sides were centred."""
    centers = np.ascontiguousarray(centers, rows.X.dtype)
    shift = padded_vector(centers.mean(axis=0, dtype=np.float64), rows.X.dtype)
    centred = centers - shift[: centers.shape[1]]
    if isinstance(rows, StreamedRows):
        return streamed_labels(rows, shift, centred, threads), shift
    algorithm = Lloyd(rows, shift, len(centers), Update(rows, shift, 0, threads), threads)
    algorithm.assign(centred, account=False)
    return algorithm.labels[: rows.X.shape[0]], shift


def labels_and_inertia(rows: Any, centers: Array, threads: Team) -> tuple[Array, float]:
    """Labels of rows, and the weighted sum of squared distances to their centers."""
    labels, shift = nearest(rows, centers, threads)
    centred = centers - shift[: centers.shape[1]]
    if isinstance(rows, StreamedRows):
        return labels, rows.own_distances(shift, centred, labels, threads)
    return labels, own_distances(rows, shift, centred, labels, threads)
