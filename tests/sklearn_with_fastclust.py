"""A pytest plugin: scikit-learn's own tests with fastclust's classes and functions in place.

Loaded by ``-p sklearn_with_fastclust`` (see ``test_sklearn_suite.py``): what the test files then
import from ``sklearn.cluster`` and ``sklearn.mixture`` is fastclust's, for every name of
`REPLACEABLE`.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import sklearn.cluster
import sklearn.mixture

import fastclust
from fastclust.kernels.starts import SmallStarts
from fastclust.lloyd_loop import Loop

REPLACEABLE = {
    sklearn.cluster: (
        "KMeans",
        "MiniBatchKMeans",
        "BisectingKMeans",
        "DBSCAN",
        "dbscan",
        "k_means",
        "kmeans_plusplus",
        "AgglomerativeClustering",
        "ward_tree",
        "linkage_tree",
    ),
    sklearn.mixture: ("GaussianMixture", "BayesianGaussianMixture"),
}

# Cases that look inside scikit-learn's own classes, and what they look at.  What they are about is
# tested in test_sklearn_suite.py.
EXCLUDED = {
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": (
        "counts calls of scikit-learn's private function _estimate_gaussian_parameters"
    ),
}


def _init_centroids(
    self: Any,
    *,
    X: Any,
    init: Any,
    sample_weight: Any,
    n_centroids: int,
    random_state: Any,
    x_squared_norms: Any,
) -> Any:
    """Centers that a fit starts from: two of scikit-learn's tests ask by this private name.

    They are what `fit` hands to its loop, not what another function would give it.
    """
    starts: list[Any] = []
    run = Loop.run

    def spying(loop: Loop, start: Any, resumed: Any = None) -> Any:
        starts.append(np.asarray(start + loop.mean[: X.shape[1]]))
        return run(loop, start, resumed)

    # Starts on few rows never come to the loop.
    apart = mock.patch.object(SmallStarts, "serve", staticmethod(lambda algorithm: False))
    with apart, mock.patch.object(Loop, "run", spying):
        model = type(self)(n_centroids, init=init, n_init=1, random_state=random_state)
        model.fit(X, sample_weight=sample_weight)
    (start,) = starts
    return start


def pytest_configure() -> None:
    """Replace what is to be tested, before any test is imported."""
    for module, names in REPLACEABLE.items():
        for name in names:
            setattr(module, name, getattr(fastclust, name))
    fastclust.KMeans._init_centroids = _init_centroids  # type: ignore[attr-defined]


def pytest_report_header() -> str:
    """Name what was replaced."""
    return f"fastclust in place of: {' '.join(sum(REPLACEABLE.values(), ()))}"


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out what is excluded by name."""
    excluded = [item for item in items if item.originalname in EXCLUDED]
    config.hook.pytest_deselected(items=excluded)
    items[:] = [item for item in items if item not in excluded]
