"""Scores by distances to centers, and silhouettes by cosine distances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from threadpoolctl import threadpool_limits

import fastclust
from fastclust import (
    calinski_harabasz_score,
    davies_bouldin_score,
    silhouette_samples,
    silhouette_score,
    simplified_silhouette_score,
)

RNG = np.random.default_rng(3)


def simplified(X: Any, labels: Any) -> float:
    X = X.astype(np.float64)
    names = np.unique(labels)
    means = np.array([X[labels == name].mean(axis=0) for name in names])
    distances = np.sqrt(((X[:, None] - means) ** 2).sum(axis=2))
    own = np.searchsorted(names, labels)
    rows = np.arange(len(X))
    a = distances[rows, own].copy()
    distances[rows, own] = np.inf
    b = distances.min(axis=1)
    return float(((b - a) / np.where(np.maximum(a, b) > 0, np.maximum(a, b), 1)).mean())


SCORES: list[Any] = [
    (calinski_harabasz_score, sklearn.metrics.calinski_harabasz_score),
    (davies_bouldin_score, sklearn.metrics.davies_bouldin_score),
    (simplified_silhouette_score, simplified),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("ours", "theirs"), SCORES)
@pytest.mark.parametrize(
    ("n", "d", "k"),
    [(3, 1, 2), (64, 2, 3), (65, 1, 64), (700, 9, 10), (300, 131, 7), (500, 40, 90)],
)
def test_the_values_of_scikit_learn(
    n: int, d: int, k: int, ours: Any, theirs: Any, dtype: Any
) -> None:
    X = RNG.normal(size=(n, d)).astype(dtype)
    labels = RNG.permutation(np.arange(n) % k)
    X += labels[:, None].astype(dtype) / k
    names = np.array([f"cluster {i}" for i in range(k)])[labels]
    right = theirs(X.astype(np.float64), labels)
    found = ours(X, labels)
    assert type(found) is float
    assert found == pytest.approx(right, rel=1e-9 if dtype == np.float64 else 1e-4, abs=1e-6)
    assert ours(X, names) == pytest.approx(found, rel=1e-12)
    with threadpool_limits(1):
        assert ours(X, labels) == found


@pytest.mark.parametrize(("ours", "theirs"), SCORES)
def test_far_from_the_origin_nothing_cancels(ours: Any, theirs: Any) -> None:
    labels = np.repeat([0, 1, 2], 60)
    X = np.round(RNG.normal(size=(180, 3)) + labels[:, None] * 4, 3)
    assert ours(X + 2.0**20, labels) == pytest.approx(theirs(X, labels), rel=1e-6)
    huge = (X * 1e30).astype(np.float32)  # squares overflow
    assert ours(huge, labels) > 0


@pytest.mark.parametrize(("ours", "theirs"), SCORES[:2])
def test_duplicates_and_clusters_in_one_place(ours: Any, theirs: Any) -> None:
    labels = np.array([0, 0, 1, 1])
    for X in (np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([[0.0], [1.0], [0.0], [1.0]])):
        assert ours(X, labels) == theirs(X, labels)


@pytest.mark.parametrize("ours", [score for score, _ in SCORES])
def test_labels_that_make_no_sense(ours: Any) -> None:
    with pytest.raises(
        ValueError, match=r"Number of labels is 1\. Valid values are 2 to n_samples"
    ):
        ours([[0.0], [1.0], [2.0]], [1, 1, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ours([[0.0], [1.0], [2.0]], [0, 1])


def test_in_scikit_learns_place() -> None:
    with fastclust.patch_sklearn():
        from sklearn.metrics import davies_bouldin_score as patched
    X, labels = RNG.normal(size=(30, 2)), np.arange(30) % 3
    assert patched(X, labels) == davies_bouldin_score(X, labels)


# --- Cosine -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("n", "d", "k"), [(5, 2, 2), (300, 5, 4), (257, 60, 30), (100, 1, 3)])
def test_cosine_silhouettes(n: int, d: int, k: int, dtype: Any) -> None:
    X = RNG.normal(size=(n, d)).astype(dtype) + 0.3
    labels = RNG.permutation(np.arange(n) % k)
    if n > 100:
        X[::17] = 0  # of no direction: at distance 1 from all others
        labels[labels == 0] = 1
        labels[0] = 0  # alone
    right = sklearn.metrics.silhouette_samples(X.astype(np.float64), labels, metric="cosine")
    found = silhouette_samples(X, labels, metric="cosine")
    assert found.dtype == dtype
    np.testing.assert_allclose(found, right, atol=1e-9 if dtype == np.float64 else 1e-5)
    score = silhouette_score(X, labels, metric="cosine")
    assert score == pytest.approx(right.mean(), abs=1e-5)
    many = silhouette_score(X, labels, metric="cosine", sample_size=n - 1, random_state=0)
    theirs = sklearn.metrics.silhouette_score(
        X.astype(np.float64), labels, metric="cosine", sample_size=n - 1, random_state=0
    )
    assert many == pytest.approx(theirs, abs=1e-5)
    # Lengths do not matter.
    scaled = (X.T * RNG.choice([1e-30, 1.0, 1e30], n)).T.astype(np.float64)
    np.testing.assert_allclose(
        silhouette_samples(scaled, labels, metric="cosine"), right, atol=1e-5
    )


def test_nearly_parallel_rows_are_told_apart() -> None:
    # 1 - cos is 1e-18 here, less than rounding leaves of it: silhouettes are those of the angles.
    angles = 1e-9 * np.array([0.0, 1.0, 20.0, 21.0])
    X = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    squares = np.subtract.outer(angles, angles) ** 2
    a = squares[[0, 1, 2, 3], [1, 0, 3, 2]]
    b = np.array([squares[i, [2, 3] if i < 2 else [0, 1]].mean() for i in range(4)])
    found = silhouette_samples(X, [0, 0, 1, 1], metric="cosine")
    np.testing.assert_allclose(found, (b - a) / b, rtol=1e-6)


def test_an_unknown_metric() -> None:
    with pytest.raises(TypeError, match="metric must be 'euclidean', 'l2' or 'cosine', but it is"):
        silhouette_score([[0.0], [1.0], [2.0]], [0, 0, 1], metric="cosinus")
