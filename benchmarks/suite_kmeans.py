"""Suites for airspeed velocity: k-means in every form, over the project's history."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import sklearn.cluster

import fastclust
from benchmarks import suite
from benchmarks.selection import FITS, SPARSE, name
from benchmarks.suite import ratio
from fastclust.commands.comparison import measure
from fastclust.commands.engines import competitors
from fastclust.kernels.algorithms import ALGORITHMS
from fastclust.workloads import Workload

NAMES = [name(problem) for problem in FITS]
SPARSE_NAMES = [name(problem) for problem in SPARSE]
PEERS = ["scikit-learn", "sklearnex", "faiss"]


class KMeans(suite.Centers):
    """One k-means++ start and the iterations from it, by every algorithm."""

    params = (NAMES, [each for each in ALGORITHMS if each not in ("full", "exponion")])
    param_names = ("problem", "algorithm")

    def make(self, module: Any, algorithm: str = "lloyd") -> Any:
        """The estimator."""
        return module.KMeans(self.k, n_init=1, random_state=0, algorithm=algorithm)

    def track_distances(self, label: str, algorithm: str) -> float:
        """Distances between rows and centers that a fit computes."""
        return float(self.fitted.n_distances_)

    track_distances.unit = "distances"  # type: ignore[attr-defined]


class Prediction(suite.Suite):
    """What follows a fit."""

    params = (NAMES, ["predict", "transform", "score"])
    param_names = ("problem", "method")

    def setup(self, label: str, method: str) -> None:
        """Load the data, fit them, and call the method once.

        Parameters
        ----------
        label, method : str
            Name of the problem and of the method.
        """
        self.X = self.load(label)
        model = fastclust.KMeans(self.problem(label).n_clusters, n_init=1, random_state=0)
        self.method = getattr(model.fit(self.X), method)
        self.method(self.X)

    def time_call(self, label: str, method: str) -> None:
        """Seconds of a call, with all rows."""
        self.method(self.X)


class Peers(suite.Suite):
    """fastclust against the other engines, where they are installed."""

    params = (NAMES, PEERS)
    param_names = ("problem", "peer")

    def setup(self, label: str, peer: str) -> None:
        """Find the peer.

        Parameters
        ----------
        label : str
            Name of the problem.
        peer : str
            Name of the engine.
        """
        n, d, k, dtype = self.problem(label)
        engines = {each.name: each for each in competitors(peers=True)[0]}
        if peer not in engines or dtype not in engines[peer].dtypes:
            raise NotImplementedError(f"{peer} is not installed, or takes no {dtype}")
        # The second one is the reference of the comparison.
        self.entrants = [engines["fastclust"], engines["scikit-learn"]]
        if peer != "scikit-learn":
            self.entrants.append(engines[peer])
        self.workload = Workload(label, n, d, k, dtype, "", partial(self.load, label))

    def track_ratio(self, label: str, peer: str) -> float:
        """How many times as fast as the peer's a fit is, timed in turn.

        More is better: what asv reports as a regression is a gain.
        """
        return measure(self.workload, self.entrants).ratio(peer)

    track_ratio.unit = "times as fast"  # type: ignore[attr-defined]


class KMeansPlusPlus(suite.Suite):
    """Greedy k-means++ by itself."""

    params = (NAMES,)
    param_names = ("problem",)

    def setup(self, label: str) -> None:
        """Load the data, and choose centers once.

        Parameters
        ----------
        label : str
            Name of the problem.
        """
        self.X, self.k = self.load(label), self.problem(label).n_clusters
        self.time_choice(label)

    def time_choice(self, label: str) -> None:
        """Seconds of the choice of all centers."""
        fastclust.kmeans_plusplus(self.X, self.k, random_state=0)

    def track_ratio_to_sklearn(self, label: str) -> float:
        """How many times as fast as scikit-learn's it is, timed in turn."""
        return ratio(
            {
                module.__name__: partial(module.kmeans_plusplus, self.X, self.k, random_state=0)
                for module in (fastclust, sklearn.cluster)
            }
        )

    track_ratio_to_sklearn.unit = "times as fast"  # type: ignore[attr-defined]


class MiniBatchKMeans(suite.Centers, suite.Compared):
    """Mini-batches, drawn and nested; scikit-learn's are drawn."""

    params = (NAMES, ["minibatch", "nested"])
    param_names = ("problem", "algorithm")
    peer = sklearn.cluster

    def make(self, module: Any, algorithm: str) -> Any:
        """The estimator."""
        ours = {"algorithm": algorithm} if module is fastclust else {}
        return module.MiniBatchKMeans(self.k, n_init=1, random_state=0, **ours)


class PartialFit(suite.Suite):
    """Mini-batches that are given one by one."""

    params = (NAMES,)
    param_names = ("problem",)

    def setup(self, label: str) -> None:
        """Cut batches of 1,024 rows, and learn from them once.

        Parameters
        ----------
        label : str
            Name of the problem.
        """
        X, self.k = self.load(label), self.problem(label).n_clusters
        self.batches = [X[first : first + 1024] for first in range(0, len(X) - 1023, 1024)][:10]
        self.time_batches(label)

    def time_batches(self, label: str) -> None:
        """Seconds of all batches, ten or fewer."""
        model = fastclust.MiniBatchKMeans(self.k, random_state=0)
        for batch in self.batches:
            model.partial_fit(batch)


class BisectingKMeans(suite.Centers, suite.Compared):
    """Clusters that are cut in two."""

    params = (NAMES[1:3], ["biggest_inertia", "largest_cluster"])
    param_names = ("problem", "strategy")
    peer = sklearn.cluster

    def make(self, module: Any, strategy: str) -> Any:
        """The estimator."""
        return module.BisectingKMeans(self.k, n_init=1, random_state=0, bisecting_strategy=strategy)


class SparseKMeans(suite.Centers, suite.Compared):
    """Sparse rows; from rows drawn at random, so that the iterations are what is timed."""

    params = (SPARSE_NAMES, ["KMeans", "MiniBatchKMeans"])
    param_names = ("problem", "estimator")
    peer = sklearn.cluster

    def make(self, module: Any, estimator: str) -> Any:
        """The estimator."""
        return getattr(module, estimator)(
            self.k, n_init=1, init="random", random_state=0, max_iter=20
        )


class Sources(suite.Suite):
    """The same fit to rows that come from an array, from a file, and block by block."""

    SOURCES = ("array", "memory map", "npy file", "parquet file", "blocks")
    params = ([NAMES[1], NAMES[2]], list(SOURCES))
    param_names = ("problem", "source")

    def setup(self, label: str, source: str) -> None:
        """Lay the rows out, and fit them once.

        Parameters
        ----------
        label : str
            Name of the problem.
        source : str
            One of `SOURCES`.
        """
        self.k = self.problem(label).n_clusters
        X = self.load(label)
        if source == "parquet file":
            self.X: Any = self.path(label).with_suffix(".parquet")
            self._write_parquet(X)
        else:
            self.X = {
                "array": lambda: X,
                "memory map": lambda: np.load(self.path(label), mmap_mode="r"),
                "npy file": lambda: self.path(label),
                "blocks": lambda: partial(np.array_split, X, 8),
            }[source]()
        self.fitted = self._fit()
        self.time_predict(label, source)

    def _write_parquet(self, X: Any) -> None:
        try:
            import pandas as pd
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise NotImplementedError("pandas or pyarrow is not installed") from error
        frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
        frame.to_parquet(self.X, index=False, row_group_size=5000)

    def _fit(self) -> Any:
        return fastclust.KMeans(self.k, init="random", n_init=1, random_state=0).fit(self.X)

    def time_fit(self, label: str, source: str) -> None:
        """Seconds of a fit, from rows drawn at random."""
        self._fit()

    def time_predict(self, label: str, source: str) -> None:
        """Seconds of labelling all rows."""
        self.fitted.predict(self.X)

    def peakmem_fit(self, label: str, source: str) -> None:
        """Peak memory of the process in which a fit runs, interpreter included."""
        self._fit()
