"""fastclust in place of scikit-learn's clustering, for programs that are not to be edited.

``python -m fastclust script.py``, ``%load_ext fastclust`` and :func:`patch_sklearn` put classes and
functions of fastclust's into the namespaces ``sklearn.cluster`` and ``sklearn.mixture``.  What has
been taken out of them before (``from sklearn.cluster import KMeans``) stays what it was: patch
first.

The classes put there are those below.  They differ from fastclust's own in one thing: where a fit
asks for something that fastclust lacks, they say so and become scikit-learn's.
"""

from __future__ import annotations

import logging
import os
import runpy
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Self

import sklearn.cluster
import sklearn.cluster._bicluster
import sklearn.cluster._spectral
import sklearn.metrics.cluster
import sklearn.mixture
from sklearn.base import clone

from . import agglomerative, bisecting, density, kmeans, minibatch, scores, silhouette
from .interchange import to_sklearn
from .mixtures import bayesian_mixture, mixture
from .validation import Unsupported

logger = logging.getLogger("fastclust")


class _Substitute:
    """Fits by fastclust, or by the class of scikit-learn that it stands for."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **options: Any) -> Self:
        """As the class it substitutes, and with the options of fastclust's `fit`."""
        self._by_either("fit", X, y, sample_weight, **options)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None, **options: Any) -> Any:
        """As the class it substitutes, and with the options of fastclust's `fit`."""
        return self._by_either("fit_predict", X, y, sample_weight, **options)

    def _by_either(self, method: str, X: Any, y: Any, sample_weight: Any, **options: Any) -> Any:
        try:
            return getattr(super(), method)(X, y, sample_weight=sample_weight, **options)
        except Unsupported as reason:
            if options:  # which scikit-learn does not know
                raise
            # A fit that has failed has left nothing behind: all that is there are parameters, or
            # a former fit, which the next one replaces.
            name = type(self).__name__
            say(logging.WARNING, f"fastclust: scikit-learn's {name} is used, since {reason}")
            # Values of parameters that only fastclust knows become scikit-learn's.
            parameters = to_sklearn(clone(self)).get_params(deep=False)
            estimator: Any = self
            estimator.__class__ = _ORIGINALS[name]
            estimator.set_params(**parameters)
            weights = {} if sample_weight is None else {"sample_weight": sample_weight}
            return getattr(estimator, method)(X, y, **weights)


class KMeans(_Substitute, kmeans.KMeans):
    """:class:`fastclust.KMeans` in scikit-learn's place."""


class MiniBatchKMeans(_Substitute, minibatch.MiniBatchKMeans):
    """:class:`fastclust.MiniBatchKMeans` in scikit-learn's place."""

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """As the class it substitutes."""
        self._by_either("partial_fit", X, y, sample_weight)
        return self


class BisectingKMeans(_Substitute, bisecting.BisectingKMeans):
    """:class:`fastclust.BisectingKMeans` in scikit-learn's place."""


class DBSCAN(_Substitute, density.DBSCAN):
    """:class:`fastclust.DBSCAN` in scikit-learn's place."""


class GaussianMixture(_Substitute, mixture.GaussianMixture):
    """:class:`fastclust.GaussianMixture` in scikit-learn's place."""


class BayesianGaussianMixture(_Substitute, bayesian_mixture.BayesianGaussianMixture):
    """:class:`fastclust.BayesianGaussianMixture` in scikit-learn's place."""


def silhouette_samples(X: Any, labels: Any, *, metric: Any = "euclidean", **kwds: Any) -> Any:
    """:func:`fastclust.silhouette_samples` in scikit-learn's place."""
    return _called(silhouette.silhouette_samples, X, labels, metric=metric, **kwds)


def silhouette_score(
    X: Any,
    labels: Any,
    *,
    metric: Any = "euclidean",
    sample_size: Any = None,
    random_state: Any = None,
    **kwds: Any,
) -> Any:
    """:func:`fastclust.silhouette_score` in scikit-learn's place."""
    options = {"metric": metric, "sample_size": sample_size, "random_state": random_state}
    return _called(silhouette.silhouette_score, X, labels, **options, **kwds)


def calinski_harabasz_score(X: Any, labels: Any) -> Any:
    """:func:`fastclust.calinski_harabasz_score` in scikit-learn's place."""
    return _called(scores.calinski_harabasz_score, X, labels)


def davies_bouldin_score(X: Any, labels: Any) -> Any:
    """:func:`fastclust.davies_bouldin_score` in scikit-learn's place."""
    return _called(scores.davies_bouldin_score, X, labels)


def _called(function: Any, X: Any, labels: Any, **options: Any) -> Any:
    """The result of a function of ours, or of scikit-learn's of the same name."""
    try:
        return function(X, labels, **options)
    except Unsupported as reason:
        name = function.__name__
        say(logging.WARNING, f"fastclust: scikit-learn's {name} is used, since {reason}")
        return _ORIGINALS[name](X, labels, **options)


SUBSTITUTES: dict[Any, dict[str, Any]] = {
    sklearn.cluster: {
        "KMeans": KMeans,
        "MiniBatchKMeans": MiniBatchKMeans,
        "BisectingKMeans": BisectingKMeans,
        "AgglomerativeClustering": agglomerative.AgglomerativeClustering,
        "DBSCAN": DBSCAN,
        "dbscan": density.dbscan,
        "k_means": kmeans.k_means,
        "kmeans_plusplus": kmeans.kmeans_plusplus,
        "ward_tree": agglomerative.ward_tree,
        "linkage_tree": agglomerative.linkage_tree,
    },
    sklearn.mixture: {
        "GaussianMixture": GaussianMixture,
        "BayesianGaussianMixture": BayesianGaussianMixture,
    },
    sklearn.metrics: {
        "calinski_harabasz_score": calinski_harabasz_score,
        "davies_bouldin_score": davies_bouldin_score,
        "silhouette_samples": silhouette_samples,
        "silhouette_score": silhouette_score,
    },
}
# As scikit-learn has them: nothing is patched before this module is imported.
_ORIGINALS = {
    name: getattr(module, name) for module, names in SUBSTITUTES.items() for name in names
}
# Where they are, too: scikit-learn's spectral clustering and biclusters use them.
_USERS = (sklearn.cluster._spectral, sklearn.cluster._bicluster, sklearn.metrics.cluster)
# Every name in every namespace that is patched.
_PLACES: list[tuple[Any, str, Any]] = [
    (place, name, substitute)
    for module, names in SUBSTITUTES.items()
    for name, substitute in names.items()
    for place in (module, *_USERS)
    if getattr(place, name, None) is _ORIGINALS[name]
]
_said = False


def say(level: int, message: str) -> None:
    """To the log, or to standard error where nobody has set up a log."""
    if logger.hasHandlers():
        logger.log(level, message)
    else:
        print(message, file=sys.stderr)


def _in_main(name: str, value: Any) -> bool:
    return getattr(sys.modules.get("__main__"), name, None) is value


class patch_sklearn:
    """Put fastclust's estimators and functions in the place of scikit-learn's.

    Names imported from ``sklearn.cluster`` and ``sklearn.mixture`` from now on are fastclust's, and
    spectral clustering and biclusters use them; what a module has imported before stays
    scikit-learn's.  Says once, in the log or on standard error, what it has replaced, and what
    ``__main__`` had already imported.

    As a context manager, it is undone at the end of the block.

    Examples
    --------
    >>> import fastclust, sklearn.cluster
    >>> with fastclust.patch_sklearn():
    ...     from sklearn.cluster import KMeans
    >>> issubclass(KMeans, fastclust.KMeans)
    True
    >>> issubclass(sklearn.cluster.KMeans, fastclust.KMeans)
    False
    """

    def __init__(self) -> None:
        global _said
        self._before = [(module, name, getattr(module, name)) for module, name, _ in _PLACES]
        for module, name, substitute in _PLACES:
            setattr(module, name, substitute)
        if (
            "skl2onnx" in sys.modules
        ):  # which otherwise takes these for scikit-learn's when it comes
            from .onnx import register

            register()
        if not _said:
            _said = True
            names = ", ".join(name for names in SUBSTITUTES.values() for name in names)
            say(logging.INFO, f"fastclust {version('fastclust')} in scikit-learn's place: {names}")
            early = [name for name, value in _ORIGINALS.items() if _in_main(name, value)]
            if early:
                names = ", ".join(early)
                say(
                    logging.WARNING,
                    f"fastclust: imported before, and so still scikit-learn's: {names}",
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for module, name, value in self._before:
            setattr(module, name, value)


def unpatch_sklearn() -> None:
    """Put scikit-learn's own estimators and functions back."""
    for module, name, _ in _PLACES:
        setattr(module, name, _ORIGINALS[name])


def run_program(arguments: Sequence[str]) -> None:
    """Run a program as ``python`` would, with fastclust in scikit-learn's place.

    Parameters
    ----------
    arguments : sequence of str
        The path of a script, or '-m' and the name of a module, followed by its own arguments.
    """
    is_module = arguments[0] == "-m"
    program = list(arguments[is_module:])
    patch_sklearn()
    sys.argv[:] = program
    if is_module:
        sys.path[0] = os.getcwd()
        runpy.run_module(program[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(program[0]))
        runpy.run_path(program[0], run_name="__main__")


def load_ipython_extension(_: Any) -> None:
    """``%load_ext fastclust``."""
    patch_sklearn()


def unload_ipython_extension(_: Any) -> None:
    """``%unload_ext fastclust``."""
    unpatch_sklearn()
