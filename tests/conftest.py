"""Shared fixtures: random problems of awkward shapes, as plain NumPy arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

Array = np.ndarray[Any, Any]

# n, d, k: tails of tiles and vectors, single rows and columns, k = 1 and k = n, both tiles, groups
# of centers of every padding, both ways to update.
SHAPES = [
    (1, 1, 1),
    (63, 1, 2),
    (64, 2, 3),
    (65, 3, 4),
    (200, 4, 5),
    (130, 5, 7),
    (1000, 2, 8),
    (500, 7, 9),
    (97, 8, 97),
    (700, 9, 10),
    (333, 15, 11),
    (300, 16, 13),
    (257, 17, 26),
    (640, 33, 64),
    (150, 100, 10),
    (201, 131, 24),
    (90, 257, 3),
    (300, 784, 25),
    (1200, 200, 90),
]
DTYPES = [np.float32, np.float64]


class Problem(NamedTuple):
    """Rows, weights and distinct starting centers."""

    X: Array
    weights: Array
    centers: Array


def make_problem(
    shape: tuple[int, int, int],
    dtype: Any,
    *,
    seed: int = 0,
    offset: float = 0.0,
    duplicates: bool = False,
) -> Problem:
    """Overlapping clusters of the given shape (n, d, k), `offset` standard deviations away."""
    n, d, k = shape
    rng = np.random.default_rng([seed, n, d, k])
    centers = rng.normal(scale=3.0, size=(k, d))
    X = centers[rng.integers(k, size=n)] + rng.normal(size=(n, d)) + offset
    if duplicates:
        X = X[rng.integers(max(1, n // 3), size=n)]
    X = X.astype(dtype)
    weights = rng.integers(1, 5, size=n).astype(dtype)
    start = X[rng.permutation(n)[:k]] + (0 if k == n else rng.normal(scale=0.01, size=(k, d)))
    return Problem(X, weights, start.astype(dtype))


@pytest.fixture(params=SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def shape(request: pytest.FixtureRequest) -> Any:
    """One of the awkward shapes (n, d, k)."""
    return request.param


@pytest.fixture(params=DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def dtype(request: pytest.FixtureRequest) -> Any:
    """float32 and float64."""
    return request.param
