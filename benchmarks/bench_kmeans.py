"""Suites for airspeed velocity: whole fits and predictions over the project's history.

``asv run`` times them at a commit, ``asv continuous main HEAD`` tells whether a change made them
slower.  They run on the quick profile, whose workloads take well under a second.
"""

from __future__ import annotations

import statistics
from time import perf_counter
from typing import Any

import numpy as np
import sklearn.cluster

import fastclust
from fastclust.workloads import get, workloads

NAMES = [workload.name for workload in workloads("quick")]
REPEATS = 3


class KMeans:
    """One k-means++ start and Lloyd's iterations, or what follows them."""

    params = NAMES
    param_names = ("workload",)
    # Seconds; the first benchmark at a commit also compiles the kernels.
    timeout = 300.0

    def setup(self, name: str) -> None:
        """Make the data, and compile what is measured on a few of its rows.

        Parameters
        ----------
        name : str
            Name of the workload.
        """
        workload = get(name)
        self.X = workload.make()
        self.n_clusters = workload.n_clusters
        few = np.ascontiguousarray(self.X[:: len(self.X) // (20 * self.n_clusters)])
        self.fitted = self.estimator(fastclust).fit(few)
        self.fitted.predict(few)

    def estimator(self, module: Any) -> Any:
        """The estimator of fastclust or of scikit-learn, with the parameters of all fits here."""
        return module.KMeans(self.n_clusters, n_init=1, random_state=0)

    def _seconds(self, module: Any) -> float:
        start = perf_counter()
        self.estimator(module).fit(self.X)
        return perf_counter() - start

    def time_fit(self, name: str) -> None:
        """Seconds of a fit."""
        self.estimator(fastclust).fit(self.X)

    def time_predict(self, name: str) -> None:
        """Seconds of labelling all rows with the nearest of given centers."""
        self.fitted.predict(self.X)

    def peakmem_fit(self, name: str) -> None:
        """Peak memory of the process in which a fit runs, data and interpreter included."""
        self.estimator(fastclust).fit(self.X)

    def track_ratio_to_sklearn(self, name: str) -> float:
        """How many times as long as fastclust's fit scikit-learn's takes, timed in turn.

        Parameters
        ----------
        name : str
            Name of the workload.

        Returns
        -------
        float
            Ratio of the medians.  More is better: what asv reports as a regression is a gain.
        """
        modules = (fastclust, sklearn.cluster)
        turns = [[self._seconds(module) for module in modules] for _ in range(REPEATS + 1)]
        # Without the first turn, in which scikit-learn starts its threads.
        ours, theirs = (statistics.median(of) for of in zip(*turns[1:], strict=True))
        return theirs / ours

    track_ratio_to_sklearn.unit = "ratio"  # type: ignore[attr-defined]
