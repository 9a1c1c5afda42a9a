"""The same mathematics in a few lines of NumPy: the yardstick of every kernel test.

All in float64 and difference form, with everything that the kernels avoid: n × k arrays, copies
of X, one cumulative sum over all rows per draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def squared_distances(X: Array, centers: Array) -> Array:
    """Squared distances (n, k), row by row so that large shapes fit in memory."""
    X, centers = X.astype(np.float64), centers.astype(np.float64)
    return np.array([((x - centers) ** 2).sum(axis=1) for x in X]).reshape(len(X), len(centers))


def assign(X: Array, centers: Array) -> Array:
    """Index of the nearest center of each row, the lowest of several."""
    return squared_distances(X, centers).argmin(axis=1)


def sums(X: Array, weights: Array, labels: Array, n_clusters: int) -> tuple[Array, Array]:
    """Weighted sums of rows (k, d) and weights (k,) of the clusters."""
    total, weight = np.zeros((n_clusters, X.shape[1])), np.zeros(n_clusters)
    np.add.at(total, labels, weights[:, None] * X.astype(np.float64))
    np.add.at(weight, labels, weights)
    return total, weight


def inertia(X: Array, weights: Array, centers: Array, labels: Array) -> float:
    """Weighted sum of squared distances of rows to the centers of their labels."""
    squares = ((X.astype(np.float64) - centers.astype(np.float64)[labels]) ** 2).sum(axis=1)
    return float(weights @ squares)


def lloyd(X: Array, weights: Array, centers: Array, n_iter: int) -> tuple[Array, Array]:
    """Centers and labels after `n_iter` iterations in which no cluster runs empty."""
    centers = centers.astype(np.float64)
    for _ in range(n_iter):
        labels = assign(X, centers)
        total, weight = sums(X, weights, labels, len(centers))
        centers = total / weight[:, None]
    return centers, labels


def greedy_kmeans_plusplus(
    X: Array, weights: Array, n_clusters: int, random_state: np.random.RandomState, n_trials: int
) -> Array:
    """Rows chosen by greedy k-means++ with scikit-learn's draws."""
    chosen = [random_state.choice(len(X), p=weights / weights.sum())]
    closest = squared_distances(X, X[chosen])[:, 0]
    for _ in range(1, n_clusters):
        values = random_state.uniform(size=n_trials) * (weights @ closest)
        drawn = np.searchsorted(np.cumsum(weights * closest), values)
        drawn = np.minimum(drawn, len(X) - 1)
        left = np.minimum(closest[:, None], squared_distances(X, X[drawn]))
        best = int(np.argmin(weights @ left))
        chosen.append(drawn[best])
        closest = left[:, best]
    return np.array(chosen)
