"""A pytest plugin: scikit-learn's own tests with fastclust's classes and functions in place.

Loaded by ``-p sklearn_with_fastclust`` (see ``test_sklearn_suite.py``) before anything is
collected: what the test files then import from ``sklearn.cluster`` and ``sklearn.mixture`` is
fastclust's, for every name of `REPLACEABLE` that fastclust has.
"""

from __future__ import annotations

from typing import Any

import sklearn.cluster
import sklearn.mixture

import fastclust

REPLACEABLE = {
    sklearn.cluster: (
        "KMeans",
        "MiniBatchKMeans",
        "BisectingKMeans",
        "k_means",
        "kmeans_plusplus",
    ),
    sklearn.mixture: ("GaussianMixture", "BayesianGaussianMixture"),
}

# Cases that look inside scikit-learn's own classes, and what they look at.
EXCLUDED = {
    "test_sample_weight_init": "calls the private method KMeans._init_centroids",
    "test_sample_weight_zero": "calls the private method KMeans._init_centroids",
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": (
        "counts calls of the private function _estimate_gaussian_parameters"
    ),
}

REPLACED = []
for module, names in REPLACEABLE.items():
    for name in names:
        if hasattr(fastclust, name):
            setattr(module, name, getattr(fastclust, name))
            REPLACED.append(name)


def pytest_report_header() -> str:
    """Name what was replaced."""
    return f"fastclust in place of: {' '.join(REPLACED)}"


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leave out what is excluded by name."""
    excluded = [item for item in items if item.originalname in EXCLUDED]
    config.hook.pytest_deselected(items=excluded)
    items[:] = [item for item in items if item not in excluded]
