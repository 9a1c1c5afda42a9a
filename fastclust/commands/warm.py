"""``fastclust warm``: compile kernels into the cache now, so that no fit has to wait for it later.

For images of containers, and for machines on which many short processes fit. Each estimator is
fitted and asked to predict on a few rows; whatever it calls on the way is compiled, if it is not in
the cache already, and stays there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from fastclust.choices import Covariance

DTYPES = ("float32", "float64")
N_ROWS, N_FEATURES, N_CLUSTERS = 300, 6, 3
# More rows than one thread would take: some kernels are called by several threads only.
MANY_ROWS = 60_000


def _kmeans(X: Any) -> None:
    from fastclust import KMeans

    for algorithm in ("lloyd", "hamerly", "elkan"):
        model = KMeans(N_CLUSTERS, algorithm=algorithm, n_init=2, random_state=0).fit(X)
    model.predict(X)
    model.transform(X)
    model.score(X)
    many = np.resize(X, (MANY_ROWS, X.shape[1])) + np.arange(MANY_ROWS, dtype=X.dtype)[:, None]
    KMeans(N_CLUSTERS, random_state=0, max_iter=5).fit(many)
    KMeans(N_CLUSTERS, refine=1, random_state=0).fit(X)


def _minibatch(X: Any) -> None:
    from fastclust import MiniBatchKMeans

    for algorithm in ("minibatch", "nested"):
        model = MiniBatchKMeans(N_CLUSTERS, algorithm=algorithm, batch_size=100, random_state=0)
        model.fit(X)
    model = MiniBatchKMeans(N_CLUSTERS, random_state=0).partial_fit(X)
    model.partial_fit(X).predict(X)


def _bisecting(X: Any) -> None:
    from fastclust import BisectingKMeans

    BisectingKMeans(N_CLUSTERS, random_state=0).fit(X).predict(X)


def _agglomerative(X: Any) -> None:
    from fastclust import AgglomerativeClustering

    for linkage in ("ward", "complete", "average", "single"):
        AgglomerativeClustering(N_CLUSTERS, linkage=linkage).fit(X)
    AgglomerativeClustering(N_CLUSTERS, linkage="single").fit(np.ascontiguousarray(X[:, :2]))


def _dbscan(X: Any) -> None:
    from fastclust import DBSCAN

    for metric in ("euclidean", "manhattan"):
        DBSCAN(1.0, metric=metric).fit(X).predict(X)
    DBSCAN(0.3).fit(X[:, :2])


def _sparse(X: Any) -> None:
    import scipy.sparse

    from fastclust import KMeans, MiniBatchKMeans

    rows = scipy.sparse.csr_array(X * (X > 0))
    for estimator in (KMeans, MiniBatchKMeans):
        model = estimator(N_CLUSTERS, random_state=0).fit(rows)
        model.predict(rows)
        model.transform(rows)


def _mixture(kind: Covariance, X: Any) -> None:
    from fastclust import BayesianGaussianMixture, GaussianMixture

    for estimator in (GaussianMixture, BayesianGaussianMixture):
        model = estimator(n_components=2, covariance_type=kind, tol=1.0, random_state=0).fit(X)
        model.predict_proba(X)
        model.score_samples(X)
    options: dict[str, Any] = {"n_components": 2, "covariance_type": kind, "tol": 1.0}
    GaussianMixture(**options, init_params="random_from_data", random_state=0).fit(X)


def _search(X: Any) -> None:
    from fastclust import ClusterSearch, KMeans

    criteria = ("silhouette", "calinski_harabasz", "davies_bouldin", "simplified_silhouette")
    ClusterSearch(KMeans(random_state=0), [2, N_CLUSTERS], criterion=criteria).fit(X)


# What is compiled for, and what compiles it.
ESTIMATORS: dict[str, Callable[[Any], None]] = {
    "kmeans": _kmeans,
    "minibatch": _minibatch,
    "bisecting": _bisecting,
    "agglomerative": _agglomerative,
    "dbscan": _dbscan,
    "sparse": _sparse,
    "mixture-full": partial(_mixture, "full"),
    "mixture-tied": partial(_mixture, "tied"),
    "mixture-diag": partial(_mixture, "diag"),
    "mixture-spherical": partial(_mixture, "spherical"),
    "search": _search,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, as every command does."""
    add = parser.add_argument
    add(
        "--dtype",
        nargs="+",
        choices=DTYPES,
        default=list(DTYPES),
        help="data types to compile for (default: both)",
    )
    add(
        "--estimators",
        nargs="+",
        choices=list(ESTIMATORS),
        default=list(ESTIMATORS),
        metavar="NAME",
        help=f"what to compile for, of {', '.join(ESTIMATORS)} (default: all)",
    )
    add("--no-progress", action="store_true", help="say nothing but the total")


def command(args: argparse.Namespace) -> int:
    """Run the command, as every one is run."""
    jobs = [(name, dtype) for dtype in args.dtype for name in args.estimators]
    begun = perf_counter()
    for number, (name, dtype) in enumerate(jobs, 1):
        X = np.random.default_rng(0).normal(size=(N_ROWS, N_FEATURES)).astype(dtype)
        at = perf_counter()
        if not args.no_progress:
            _say(f"[{number}/{len(jobs)}] {name}, {dtype} … ")
        ESTIMATORS[name](X)
        if not args.no_progress:
            _say(f"{perf_counter() - at:.1f} s\n")
    print(f"compiled, or found in the cache, in {perf_counter() - begun:.1f} s")
    return 0


def _say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)
