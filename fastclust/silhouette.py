"""silhouette_score and silhouette_samples with scikit-learn's interface: exact, and fused.

Every distance is computed once, none is stored: the memory is that of two copies of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import validation
from .kernels.machine.parallel import team
from .kernels.moments import near_most
from .kernels.silhouette import silhouettes
from .kernels.tiles import Array
from .preparation import survey
from .rows.mapped import surviving
from .scores import cosine_silhouettes


@surviving
def silhouette_samples(X: Any, labels: Any, *, metric: Any = "euclidean", **kwds: Any) -> Array:
    """Silhouette of each row: how much nearer it is to its own cluster than to the next one.

    It is ``(b - a) / max(a, b)``, where ``a`` is the mean distance of a row to the others of its
    cluster and ``b`` the smallest mean distance to the rows of another one; 0 for a row that is
    alone in its cluster.  The same values as scikit-learn's up to rounding, and nearer the truth
    far from the origin; the same bits for any number of threads.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), path or callable
        Rows; those that must be read (see :mod:`fastclust.rows.sources`) are read into memory.
    labels : array-like of shape (n_samples,)
        Cluster of each row; integers, strings or anything that can be sorted.
    metric : {'euclidean', 'l2', 'cosine'}, default='euclidean'
        How distances are measured; the first two names are of the same.  Cosine distances take
        time by rows and clusters only, not by pairs of rows.
    **kwds
        Parameters of other metrics; there are none here.

    Returns
    -------
    values : ndarray of shape (n_samples,)
        From -1 (in the wrong cluster) to 1, of the dtype of the data (float32 stays float32).

    Raises
    ------
    ValueError
        Where there are not 2 to ``n_samples - 1`` clusters, or an argument is not what it must be.
    TypeError
        Where `X` is sparse, or `metric` any other.

    References
    ----------
    Rousseeuw, P. J.: Silhouettes: a graphical aid to the interpretation and validation of cluster
    analysis. Journal of Computational and Applied Mathematics 20 (1987).

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import silhouette_samples
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
    >>> silhouette_samples(X, [0, 0, 1, 1]).round(3)
    array([0.889, 0.889, 0.889, 0.889])
    """
    validation.check_metric(metric, kwds)
    X, labels, sizes = validation.check_labelled_rows(X, labels)
    if metric == "cosine":
        with team() as threads:
            survey(X, None, threads, unseen=True)
            return cosine_silhouettes(X, labels, sizes, threads).astype(X.dtype)
    return _samples(X, labels[None], [sizes])[0].astype(X.dtype)


def _samples(X: Array, labels: Array, sizes: Sequence[Array]) -> Array:
    """Silhouettes of checked rows by each of several labelings, float64."""
    with team() as threads:
        data = survey(X, None, threads, unseen=True).widened()
        center = near_most(data.means, data.variances)
        return silhouettes(data.X, center, labels, sizes, threads)


@surviving
def silhouette_score(
    X: Any,
    labels: Any,
    *,
    metric: Any = "euclidean",
    sample_size: int | None = None,
    random_state: Any = None,
    **kwds: Any,
) -> float:
    """Mean silhouette of the rows: how well clusters are separated.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), path or callable
        Rows; those that must be read (see :mod:`fastclust.rows.sources`) are read into memory.
    labels : array-like of shape (n_samples,)
        Cluster of each row.
    metric : {'euclidean', 'l2', 'cosine'}, default='euclidean'
        As for :func:`silhouette_samples`.
    sample_size : int, default=None
        Number of rows to draw, among which silhouettes are measured; all of them by default.
    random_state : int, RandomState instance or None, default=None
        Source of that draw, which is scikit-learn's.
    **kwds
        As for :func:`silhouette_samples`.

    Returns
    -------
    score : float
        From -1 to 1.

    Raises
    ------
    ValueError, TypeError
        As :func:`silhouette_samples`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import silhouette_score
    >>> X = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]])
    >>> round(silhouette_score(X, [0, 0, 1, 1]), 3)
    0.889
    """
    if sample_size is not None:
        sample_size = validation.check_int("sample_size", sample_size, 1)
        random_state = validation.check_seed(random_state)
        validation.check_metric(metric, kwds)
        X, labels = validation.check_rows_and_labels(X, labels)
        drawn = random_state.permutation(X.shape[0])[:sample_size]
        X, labels = X[drawn], labels[drawn]
    return float(np.mean(silhouette_samples(X, labels, metric=metric, **kwds)))


def mean_silhouettes(X: Array, labelings: Sequence[Array]) -> list[float]:
    """:func:`silhouette_score` of several labelings of the same rows, which share the distances."""
    if not labelings:
        return []
    checked = [validation.check_labelled_rows(X, labels)[1:] for labels in labelings]
    labels, sizes = zip(*checked, strict=True)
    values = _samples(X, np.stack(labels), sizes)
    return [float(np.mean(each.astype(X.dtype))) for each in values]
