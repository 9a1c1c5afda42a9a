"""Suites for airspeed velocity: Gaussian mixtures over the project's history.

A few steps of EM from a start that costs next to nothing, so that the sweep is what is timed.
"""

from __future__ import annotations

import statistics
import warnings
from time import perf_counter
from typing import Any

import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning

import fastclust
from fastclust.workloads import gaussian_blobs

SHAPES = {"30000x2, k=10": (30_000, 2, 10), "10000x16, k=16": (10_000, 16, 16)}
STEPS = 5
REPEATS = 3


class Mixture:
    """Steps of EM, and what is computed row by row after them."""

    params = (
        ["GaussianMixture", "BayesianGaussianMixture"],
        ["full", "tied", "diag", "spherical"],
        list(SHAPES),
    )
    param_names = ("estimator", "covariance_type", "shape")
    # Seconds; the first benchmark at a commit also compiles the kernels.
    timeout = 300.0

    def setup(self, name: str, kind: str, shape: str) -> None:
        """Make the data, and compile what is measured.

        Parameters
        ----------
        name : str
            Class of the estimator.
        kind : str
            The `covariance_type`.
        shape : str
            A key of `SHAPES`.
        """
        n_samples, n_features, self.n_components = SHAPES[shape]
        self.X = gaussian_blobs(n_samples, n_features, self.n_components, "float64")
        self.name, self.kind = name, kind
        warnings.simplefilter("ignore", ConvergenceWarning)
        self.fitted = self.estimator(fastclust).fit(self.X)
        self.fitted.score_samples(self.X)
        self.fitted.predict_proba(self.X)

    def estimator(self, module: Any) -> Any:
        """The estimator of fastclust or of scikit-learn, with the parameters of all fits here."""
        return getattr(module, self.name)(
            n_components=self.n_components,
            covariance_type=self.kind,
            init_params="random_from_data",
            reg_covar=1e-2,
            max_iter=STEPS,
            tol=0.0,
            random_state=0,
        )

    def _seconds(self, module: Any) -> float:
        start = perf_counter()
        self.estimator(module).fit(self.X)
        return perf_counter() - start

    def time_fit(self, name: str, kind: str, shape: str) -> None:
        """Seconds of a fit."""
        self.estimator(fastclust).fit(self.X)

    def time_score_samples(self, name: str, kind: str, shape: str) -> None:
        """Seconds of the log-densities of all rows."""
        self.fitted.score_samples(self.X)

    def time_predict_proba(self, name: str, kind: str, shape: str) -> None:
        """Seconds of the posteriors of all rows."""
        self.fitted.predict_proba(self.X)

    def peakmem_fit(self, name: str, kind: str, shape: str) -> None:
        """Peak memory of the process in which a fit runs, data and interpreter included."""
        self.estimator(fastclust).fit(self.X)

    def track_ratio_to_sklearn(self, name: str, kind: str, shape: str) -> float:
        """How many times as long as fastclust's fit scikit-learn's takes, timed in turn.

        Parameters
        ----------
        name, kind, shape : str
            As for `setup`.

        Returns
        -------
        float
            Ratio of the medians.  More is better: what asv reports as a regression is a gain.
        """
        modules = (fastclust, sklearn.mixture)
        turns = [[self._seconds(module) for module in modules] for _ in range(REPEATS + 1)]
        # Without the first turn, in which scikit-learn starts its threads.
        ours, theirs = (statistics.median(of) for of in zip(*turns[1:], strict=True))
        return theirs / ours

    track_ratio_to_sklearn.unit = "ratio"  # type: ignore[attr-defined]
