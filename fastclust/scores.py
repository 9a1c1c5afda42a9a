"""How good clusters are, for millions of rows: scores that need distances to centers alone.

The first two are scikit-learn's, in float64 whatever the data.  All are the same bits for any
number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import validation
from .kernels.distances import own_distances
from .kernels.machine.parallel import Team, team
from .kernels.rivals import rivals
from .kernels.tiles import Array, Rows, make_rows, padded_vector
from .kernels.update import Update
from .preparation import survey
from .rows.mapped import surviving


class Labelled:
    """Rows, centred, with what the scores need of a labelling of them.

    Parameters
    ----------
    rows : Rows
        The data.
    mean : ndarray of shape (padded n_features,)
        What they are centred by, near their mean.
    labels : ndarray of shape (n_samples,), int64
        Cluster of each row, from 0.
    sizes : ndarray of shape (n_clusters,), int64
        Number of rows of each cluster; none is empty.
    threads : Team
        Threads to run on.
    """

    def __init__(self, rows: Rows, mean: Array, labels: Array, sizes: Array, threads: Team) -> None:
        self.rows, self.mean, self.sizes, self.threads = rows, mean, sizes, threads
        self.labels = labels.astype(np.int32)
        update = Update(rows, mean, len(sizes), threads)
        update.add_all(self.labels)
        self.centers: Array = update.totals.sums / update.totals.weights[:, None]

    def squares(self) -> Array:
        """Squared distance of each row to the mean of its cluster."""
        found = np.empty(len(self.labels))
        own_distances(
            self.rows, self.mean, self.centers, self.labels, self.threads, distances=found
        )
        return found

    def calinski_harabasz(self) -> float:
        """See :func:`calinski_harabasz_score`."""
        n_samples, k = len(self.labels), len(self.sizes)
        middle = self.sizes @ self.centers / n_samples
        between = float(self.sizes @ np.square(self.centers - middle).sum(axis=1))
        within = float(self.squares().sum())
        return 1.0 if within == 0 else between * (n_samples - k) / (within * (k - 1))

    def davies_bouldin(self) -> float:
        """See :func:`davies_bouldin_score`."""
        widths = np.bincount(self.labels, np.sqrt(self.squares())) / self.sizes
        worst = np.zeros(len(widths))
        apart = 0.0
        for cluster, center in enumerate(self.centers):
            distances = np.sqrt(np.square(self.centers - center).sum(axis=1))
            apart = max(apart, float(distances.max()))
            distances[distances == 0] = np.inf  # itself, and those in the same place
            worst[cluster] = ((widths + widths[cluster]) / distances).max()
        return 0.0 if np.allclose(widths, 0) or np.isclose(apart, 0) else float(worst.mean())

    def simplified_silhouettes(self) -> Array:
        """See :func:`simplified_silhouette_score`."""
        centers = self.centers.astype(self.rows.dtype)
        own, rival = rivals(self.rows, self.mean, centers, self.labels, self.threads)
        return compared(np.sqrt(own), np.sqrt(rival))


def compared(inside: Array, outside: Array) -> Array:
    """Silhouettes out of distances to the own cluster and to the next; 0 where both are."""
    larger = np.maximum(inside, outside)
    values: Array = (outside - inside) / np.where(larger > 0, larger, 1)
    return values


def cosine_silhouettes(X: Array, labels: Array, sizes: Array, threads: Team) -> Array:
    """Silhouette of each row by cosine distances, from distances to the means of the clusters.

    The mean of ``1 - u·v`` over the rows v of a cluster is half of the squared distance of u to
    their mean and half of their mean squared distance to it, if u and all v are of length 1.
    Nothing cancels, and no row meets another.  A row of zeros has distance 1 to all others.
    """
    n_samples, n_features = X.shape
    X = X.astype(np.float64)
    largest = np.abs(X).max(axis=1, keepdims=True)
    X /= np.where(largest > 0, largest, 1)  # squares stay within range
    X /= np.sqrt(np.where(largest > 0, np.einsum("ij,ij->i", X, X)[:, None], 1))
    zeros = largest[:, 0] == 0
    mean = padded_vector(np.zeros(n_features + 1), np.float64)
    # In a dimension of their own, means are as far from all rows as their rows are spread.
    rows = make_rows(np.concatenate([X, np.zeros((n_samples, 1))], axis=1))
    labelled = Labelled(rows, mean, labels, sizes, threads)
    spread = np.bincount(labels, labelled.squares() + zeros) / sizes
    labelled.centers[:, -1] = np.sqrt(spread)
    own, rival = rivals(rows, mean, labelled.centers, labelled.labels, threads)
    size = sizes[labels]
    values = compared(own * (size / np.maximum(size - 1, 1)), rival)
    values[(size == 1) | zeros] = 0
    return values


def _labelled(X: Any, labels: Any, threads: Team) -> Labelled:
    X, labels, sizes = validation.check_labelled_rows(X, labels)
    data = survey(X, None, threads, unseen=True).widened()
    return Labelled(data.opened(), data.center, labels, sizes, threads)


@surviving
def calinski_harabasz_score(X: Any, labels: Any) -> float:
    """Variance between clusters over that within, each per degree of freedom: high is good.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows.
    labels : array-like of shape (n_samples,)
        Cluster of each row; integers, strings or anything that can be sorted.

    Returns
    -------
    score : float
        scikit-learn's up to rounding, and nearer the truth far from the origin.

    Raises
    ------
    ValueError, TypeError
        Where there are not 2 to ``n_samples - 1`` clusters, or `X` is not what it must be.

    References
    ----------
    Caliński, T., Harabasz, J.: A dendrite method for cluster analysis. Communications in Statistics
    3 (1974).

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import calinski_harabasz_score
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
    >>> calinski_harabasz_score(X, [0, 0, 1, 1])
    162.0
    """
    with team() as threads:
        return _labelled(X, labels, threads).calinski_harabasz()


@surviving
def davies_bouldin_score(X: Any, labels: Any) -> float:
    """How wide clusters are beside their distance from the most similar other: low is good.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows.
    labels : array-like of shape (n_samples,)
        Cluster of each row; integers, strings or anything that can be sorted.

    Returns
    -------
    score : float
        scikit-learn's up to rounding, and nearer the truth far from the origin.

    Raises
    ------
    ValueError, TypeError
        As :func:`calinski_harabasz_score`.

    References
    ----------
    Davies, D. L., Bouldin, D. W.: A cluster separation measure. IEEE Transactions on Pattern
    Analysis and Machine Intelligence 1 (1979).

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import davies_bouldin_score
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
    >>> round(davies_bouldin_score(X, [0, 0, 1, 1]), 3)
    0.111
    """
    with team() as threads:
        return _labelled(X, labels, threads).davies_bouldin()


@surviving
def simplified_silhouette_score(X: Any, labels: Any) -> float:
    """Mean silhouette by distances to the *means* of clusters, not to their rows: high is good.

    A silhouette then is ``(b - a) / max(a, b)``, where ``a`` is the distance of a row to the mean
    of its own cluster and ``b`` that to the nearest mean of another one.  It takes time by rows and
    clusters, where :func:`silhouette_score` takes it by pairs of rows, and its values are others:
    compare it with itself only.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows.
    labels : array-like of shape (n_samples,)
        Cluster of each row; integers, strings or anything that can be sorted.

    Returns
    -------
    score : float
        From -1 to 1.

    Raises
    ------
    ValueError, TypeError
        As :func:`calinski_harabasz_score`.

    References
    ----------
    Hruschka, E. R., de Castro, L. N., Campello, R. J. G. B.: Evolutionary algorithms for clustering
    gene-expression data. ICDM 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import simplified_silhouette_score
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
    >>> round(simplified_silhouette_score(X, [0, 0, 1, 1]), 3)
    0.945
    """
    with team() as threads:
        return float(_labelled(X, labels, threads).simplified_silhouettes().mean())
