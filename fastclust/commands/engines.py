"""The engines that ``fastclust compare`` times beside each other.

fastclust and scikit-learn, and scikit-learn-intelex and faiss where they are installed. Any
callable can take part: see `Competitor`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from fastclust.workloads import FloatArray


class Fitted(Protocol):
    """What a fit must return: the three attributes of a fitted scikit-learn ``KMeans``."""

    @property
    def cluster_centers_(self) -> Any: ...

    @property
    def labels_(self) -> Any: ...

    @property
    def n_iter_(self) -> Any: ...


FitFunction: TypeAlias = Callable[..., Fitted]


@dataclass(frozen=True)
class Competitor:
    """An engine which takes part in a comparison.

    Attributes
    ----------
    name : str
        As shown.
    fit : callable
        ``fit(X, n_clusters, seed)`` does one k-means fit and returns its result.
    dtypes : frozenset of str
        Data types which it clusters; it is left out of the workloads of other ones.
    paced : bool
        Whether it has no stopping rule of its own: it is then called with, in addition, the
        number of iterations of the first competitor, as ``n_iter``.
    note : str
        What a reader must know to judge its figures; shown below the table.
    """

    name: str
    fit: FitFunction
    dtypes: frozenset[str] = frozenset({"float32", "float64"})
    paced: bool = False
    note: str = ""


@dataclass(frozen=True)
class _Clusters:
    cluster_centers_: FloatArray
    labels_: npt.NDArray[np.integer[Any]]
    n_iter_: int


def estimator_fit(module: str) -> FitFunction:
    """Make the fit of a competitor which has scikit-learn's interface.

    Parameters
    ----------
    module : str
        Name of the module which holds its ``KMeans``.

    Returns
    -------
    callable
        ``fit(X, n_clusters, seed)``: one k-means++ start and Lloyd's iterations.
    """
    estimator = importlib.import_module(module).KMeans

    def fit(X: FloatArray, n_clusters: int, seed: int) -> Fitted:
        model = estimator(n_clusters, init="k-means++", n_init=1, random_state=seed)
        return model.fit(X)

    return fit


def _faiss_fit() -> FitFunction:
    faiss = importlib.import_module("faiss")

    def fit(X: FloatArray, n_clusters: int, seed: int, n_iter: int) -> Fitted:
        engine = faiss.Kmeans(
            X.shape[1],
            n_clusters,
            niter=n_iter,
            seed=seed,
            # By default faiss trains on 256 points per center and drops the others.
            max_points_per_centroid=10**9,
            min_points_per_centroid=1,
            verbose=False,
        )
        engine.train(X)
        # The others return labels, so it must: one more search.
        labels = engine.index.search(X, 1)[1].ravel()
        return _Clusters(engine.centroids, labels, n_iter)

    return fit


SKLEARNEX_NOTE = "sklearnex: k-means++ with draws of its own, so other clusters and iterations"
FAISS_NOTE = "faiss: as many iterations as fastclust, from random points: no k-means++ in its time"


def competitors(peers: bool = False) -> tuple[list[Competitor], list[str]]:
    """The engines to compare.

    Parameters
    ----------
    peers : bool
        Whether scikit-learn-intelex and faiss take part where they are installed.

    Returns
    -------
    list of Competitor
        fastclust, scikit-learn and then the peers.
    list of str
        One line for each peer which is not installed.
    """
    entrants = [
        Competitor("fastclust", estimator_fit("fastclust")),
        Competitor("scikit-learn", estimator_fit("sklearn.cluster")),
    ]
    missing: list[str] = []
    if peers:
        try:
            fit = estimator_fit("sklearnex.cluster")
            entrants.append(Competitor("sklearnex", fit, note=SKLEARNEX_NOTE))
        except ImportError:
            missing.append("scikit-learn-intelex is not installed and takes no part")
        try:
            fit = _faiss_fit()
            entrants.append(Competitor("faiss", fit, frozenset({"float32"}), True, FAISS_NOTE))
        except ImportError:
            missing.append("faiss is not installed and takes no part")
    return entrants, missing


def engine_notes(entrants: Sequence[Competitor], dtypes: Collection[str]) -> list[str]:
    """What a reader must know of the engines.

    Parameters
    ----------
    entrants : sequence of Competitor
        The engines.
    dtypes : collection of str
        Data types of the workloads.

    Returns
    -------
    list of str
        The note of each that takes part; a line for each that has no workload of its types.
    """
    lines = []
    for each in entrants:
        if each.dtypes.isdisjoint(dtypes):
            kinds = " or ".join(sorted(each.dtypes))
            lines.append(f"{each.name} takes no part: it needs {kinds}, which no workload here is")
        elif each.note:
            lines.append(each.note)
    return lines
