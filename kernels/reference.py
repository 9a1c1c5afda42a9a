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


def oversampled(
    X: Array, weights: Array, n_clusters: int, random_state: np.random.RandomState, n_rounds: int
) -> tuple[Array, Array]:
    """Candidates of k-means||, 2 k a round, and the weights of the rows they attract."""
    chosen = np.array([random_state.choice(len(X), p=weights / weights.sum())])
    shares = 2 * n_clusters
    for _ in range(n_rounds):
        left = np.cumsum(weights * squared_distances(X, X[chosen]).min(axis=1))
        values = (np.arange(shares) + random_state.random_sample(shares)) / shares * left[-1]
        drawn = np.searchsorted(left, values, side="right")
        chosen = np.concatenate([chosen, np.unique(np.minimum(drawn, len(X) - 1))])
    nearest = squared_distances(X, X[chosen]).argmin(axis=1)
    return chosen, np.bincount(nearest, weights, len(chosen))


def full_factors(factors: Array, covariance_type: str, n_components: int, d: int) -> Array:
    """Factors of precisions of any kind as matrices (k, d, d)."""
    shape = (n_components, d, d)
    if covariance_type in ("full", "tied"):
        return np.broadcast_to(factors, shape)
    return np.broadcast_to(factors.reshape(n_components, -1, 1) * np.eye(d), shape)


def log_densities(X: Array, means: Array, factors: Array, constants: Array) -> Array:
    """``constant - |(x - mean) U|²/2`` (n, k); `factors` U is (k, d, d)."""
    difference = X[:, None] - means  # of the dtype of X: extended precision stays
    y = np.einsum("nki,kij->nkj", difference, factors)
    return constants - (y * y).sum(axis=2) / 2


def posteriors(logits: Array) -> tuple[Array, Array, Array]:
    """Posteriors (n, k), log of the density of the mixture (n,), and ``sum(p log p)`` (n,)."""
    largest = logits.max(axis=1, keepdims=True)
    log_norm = largest + np.log(np.exp(logits - largest).sum(axis=1, keepdims=True))
    log_posterior = logits - log_norm
    p = np.exp(log_posterior)
    terms = p * np.where(p > 0, log_posterior, 0)
    return p, log_norm[:, 0], terms.sum(axis=1)


def mixture_moments(
    X: Array, weights: Array, posterior: Array, means: Array
) -> tuple[Array, Array, Array]:
    """Sums of r (k,), of r z (k, d) and of r z zᵀ (k, d, d), ``z = x - mean``, r with weights."""
    r = posterior * weights[:, None]
    z = X[:, None] - means
    return (
        r.sum(axis=0),
        np.einsum("nk,nki->ki", r, z),
        np.einsum("nk,nki,nkj->kij", r, z, z, optimize=X.dtype == np.float64),
    )


def estimates(
    X: Array, weights: Array, posterior: Array, covariance_type: str, reg_covar: float
) -> tuple[Array, Array, Array]:
    """Counts, means and covariances of components, by scikit-learn's formulas."""
    counts = (posterior * weights[:, None]).sum(axis=0) + 10 * np.finfo(np.float64).eps
    means = (posterior * weights[:, None]).T @ X / counts[:, None]
    full = mixture_moments(X, weights, posterior, means)[2]
    d = X.shape[1]
    if covariance_type == "tied":
        return counts, means, full.sum(axis=0) / counts.sum() + reg_covar * np.eye(d)
    full = full / counts[:, None, None] + reg_covar * np.eye(d)
    diagonals = np.einsum("kii->ki", full)
    kinds = {"full": full, "diag": diagonals, "spherical": diagonals.mean(axis=1)}
    return counts, means, kinds[covariance_type]


def silhouettes(X: Array, labels: Array) -> Array:
    """Silhouette of each row; 0 where it is alone in its cluster, or nothing is apart."""
    distances = np.sqrt(squared_distances(X, X))
    sums = np.stack([distances[:, labels == c].sum(axis=1) for c in np.unique(labels)], axis=1)
    sizes, rows = np.unique_counts(labels).counts, np.arange(len(X))
    own = np.unique_inverse(labels).inverse_indices
    inside = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[rows, own] = np.inf
    outside = means.min(axis=1)
    largest = np.where(sizes[own] == 1, np.inf, np.maximum(inside, outside))
    values: Array = (outside - inside) / np.where(largest > 0, largest, 1)
    return values


def merges_one_by_one(X: Array, linkage: str) -> tuple[Array, Array]:
    """Children, the lower first, and heights of a tree: the two nearest clusters, each time."""
    X = X.astype(np.float64)
    distances = np.sqrt(squared_distances(X, X))
    members = {row: [row] for row in range(len(X))}
    children, heights = [], []

    def height(one: int, other: int) -> float:
        a, b = members[one], members[other]
        if linkage == "ward":
            apart = np.linalg.norm(X[a].mean(axis=0) - X[b].mean(axis=0))
            return float(np.sqrt(2 * len(a) * len(b) / (len(a) + len(b))) * apart)
        of: Any = {"complete": np.max, "average": np.mean, "single": np.min}[linkage]
        return float(of(distances[np.ix_(a, b)]))

    while len(members) > 1:
        nodes = sorted(members)
        pairs = [(height(a, b), a, b) for i, b in enumerate(nodes) for a in nodes[:i]]
        least, a, b = min(pairs)
        children.append((a, b))
        heights.append(least)
        members[len(X) + len(heights) - 1] = members.pop(a) + members.pop(b)
    return np.array(children), np.array(heights)


def dbscan(near: Array, weights: Array, min_samples: float) -> tuple[Array, Array]:
    """Cores (n,) and labels (n,) of DBSCAN where ``near[i, j]`` says whether rows are neighbours.

    As scikit-learn goes about it: clusters begin with the first core row that has no label yet,
    and take all rows that are not taken and can be reached over core rows.
    """
    cores, labels = near @ weights >= min_samples, np.full(len(near), -1)
    count = 0
    for first in np.flatnonzero(cores):
        if labels[first] >= 0:
            continue
        waiting: list[Any] = [first]
        while waiting:
            row = waiting.pop()
            if labels[row] < 0:
                labels[row] = count
                if cores[row]:
                    waiting += np.flatnonzero(near[row] & (labels < 0)).tolist()
        count += 1
    return cores, labels
