"""k-means and Gaussian mixtures with scikit-learn's interface, several times faster."""

import importlib.util
from typing import TYPE_CHECKING, Any

from . import moved as moved
from .kernels.machine.garbage import collector_paused

if TYPE_CHECKING:
    from .acceleration import (
        load_ipython_extension,
        patch_sklearn,
        unload_ipython_extension,
        unpatch_sklearn,
    )
    from .agglomerative import AgglomerativeClustering, linkage_tree, ward_tree
    from .bisecting import BisectingKMeans
    from .callbacks import ProgressBar
    from .density import DBSCAN, dbscan
    from .interchange import from_sklearn
    from .kmeans import KMeans, k_means, kmeans_plusplus
    from .minibatch import MiniBatchKMeans
    from .mixtures.bayesian_mixture import BayesianGaussianMixture
    from .mixtures.mixture import GaussianMixture
    from .scores import (
        calinski_harabasz_score,
        davies_bouldin_score,
        simplified_silhouette_score,
    )
    from .search import ClusterSearch
    from .silhouette import silhouette_samples, silhouette_score
    from .starts import SampledKMeansPlusPlus

    __version__: str

# Where each public name lives.  Its module is imported when the name is first asked for, so that
# a program which needs KMeans alone does not wait for the others.
_HOMES = {
    "AgglomerativeClustering": "agglomerative",
    "BayesianGaussianMixture": "mixtures.bayesian_mixture",
    "BisectingKMeans": "bisecting",
    "ClusterSearch": "search",
    "DBSCAN": "density",
    "GaussianMixture": "mixtures.mixture",
    "KMeans": "kmeans",
    "MiniBatchKMeans": "minibatch",
    "ProgressBar": "callbacks",
    "SampledKMeansPlusPlus": "starts",
    "calinski_harabasz_score": "scores",
    "davies_bouldin_score": "scores",
    "dbscan": "density",
    "from_sklearn": "interchange",
    "k_means": "kmeans",
    "kmeans_plusplus": "kmeans",
    "linkage_tree": "agglomerative",
    "load_ipython_extension": "acceleration",
    "patch_sklearn": "acceleration",
    "silhouette_samples": "silhouette",
    "silhouette_score": "silhouette",
    "simplified_silhouette_score": "scores",
    "unload_ipython_extension": "acceleration",
    "unpatch_sklearn": "acceleration",
    "ward_tree": "agglomerative",
}


def __getattr__(name: str) -> Any:
    with collector_paused():
        if name in _HOMES:
            # By far the largest part of what comes, and slower the deeper the call that asks for
            # it: where a stack just fits its pages, Python maps and unmaps one in every call.
            import sklearn  # noqa: F401
        value = _imported(name)
    globals()[name] = value
    return value


def _imported(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    module = f"{__name__}.{name}"
    if name.startswith("_") or importlib.util.find_spec(module) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(module)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


__all__ = [
    "DBSCAN",
    "AgglomerativeClustering",
    "BayesianGaussianMixture",
    "BisectingKMeans",
    "ClusterSearch",
    "GaussianMixture",
    "KMeans",
    "MiniBatchKMeans",
    "ProgressBar",
    "SampledKMeansPlusPlus",
    "__version__",
    "calinski_harabasz_score",
    "davies_bouldin_score",
    "dbscan",
    "from_sklearn",
    "k_means",
    "kmeans_plusplus",
    "linkage_tree",
    "load_ipython_extension",
    "patch_sklearn",
    "silhouette_samples",
    "silhouette_score",
    "simplified_silhouette_score",
    "unload_ipython_extension",
    "unpatch_sklearn",
    "ward_tree",
]
