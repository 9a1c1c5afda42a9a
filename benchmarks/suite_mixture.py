"""Suites for airspeed velocity: Gaussian mixtures, over the project's history.

A few steps of EM from a start that costs next to nothing, so that the sweep is what is timed.
"""

from __future__ import annotations

from typing import Any

import sklearn.mixture

from benchmarks import suite
from benchmarks.selection import MIXTURES, name

STEPS = 5


NAMES = [name(problem) for problem in MIXTURES]
KINDS = ["full", "tied", "diag", "spherical"]


class _Mixture(suite.Compared):
    """Steps of EM, and what is computed row by row after them."""

    param_names = ("problem", "covariance_type")
    peer = sklearn.mixture

    def setup(self, label: str, *variant: Any) -> None:
        """Load the data, fit them once, and evaluate the mixture once.

        Parameters
        ----------
        label : str
            Name of the problem.
        *variant
            The `covariance_type`.
        """
        super().setup(label, *variant)
        self.fitted.score_samples(self.X)
        self.fitted.predict_proba(self.X)

    def make(self, module: Any, *variant: Any) -> Any:
        """The estimator, whose class has the name of the suite."""
        return getattr(module, type(self).__name__)(
            n_components=self.k,
            covariance_type=variant[0],
            init_params="random_from_data",
            reg_covar=1e-2,
            max_iter=STEPS,
            tol=0.0,
            random_state=0,
        )

    def time_score_samples(self, label: str, kind: str) -> None:
        """Seconds of the log-densities of all rows."""
        self.fitted.score_samples(self.X)

    def time_predict_proba(self, label: str, kind: str) -> None:
        """Seconds of the posteriors of all rows."""
        self.fitted.predict_proba(self.X)

    def track_lower_bound(self, label: str, kind: str) -> float:
        """The lower bound of the log-likelihood that the steps have reached."""
        return float(self.fitted.lower_bound_)

    track_lower_bound.unit = "lower bound"  # type: ignore[attr-defined]


class GaussianMixture(_Mixture):
    """Maximum likelihood."""

    params = (NAMES, KINDS)


class BayesianGaussianMixture(_Mixture):
    """The variational mixture, whose sweep is the same."""

    params = (NAMES[1:2], KINDS)
