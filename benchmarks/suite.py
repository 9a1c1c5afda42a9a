"""What all suites of airspeed velocity share: data kept in files, and fits to them.

The classes here are no benchmarks themselves: those that measure are abstract.  A benchmark's
setup ends with an untimed run of what it measures: compilation is never timed.
"""

from __future__ import annotations

import statistics
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

import fastclust
from benchmarks.selection import FITS, MIXTURES, SPARSE, name
from fastclust.commands.calls import Problem, sparse_rows
from fastclust.commands.measuring import Timed, in_turn, inertia
from fastclust.workloads import FloatArray

REPEATS = 3
DENSE = {name(problem): problem for problem in (*FITS, *MIXTURES)}
ROWS = {name(problem): problem for problem in SPARSE}


def ratio(actions: Mapping[str, Callable[[], Any]]) -> float:
    """How many times as long as the first of two actions the second takes, timed in turn."""
    sides = {name: Timed(action) for name, action in actions.items()}
    seconds = in_turn(sides, REPEATS, fill=0.0)
    ours, theirs = (statistics.median(of) for of in seconds.values())
    return theirs / ours


class Suite:
    """Benchmarks whose data are made once at a commit and kept in asv's working folder."""

    # Seconds; the first benchmarks at a commit also compile the kernels.
    timeout = 300.0

    def setup_cache(self) -> None:
        """Write the data of all problems to files."""
        for label, problem in DENSE.items():
            np.save(f"{label}.npy", problem.make())
        for label, problem in ROWS.items():
            scipy.sparse.save_npz(f"{label}.npz", sparse_rows(problem), compressed=False)

    @staticmethod
    def path(label: str) -> Path:
        """The file that holds the data of a dense problem."""
        return Path(f"{label}.npy").resolve()

    @staticmethod
    def load(label: str) -> Any:
        """The data of a problem: an array, or sparse rows."""
        sparse = label in ROWS
        return scipy.sparse.load_npz(f"{label}.npz") if sparse else np.load(f"{label}.npy")

    @staticmethod
    def problem(label: str) -> Problem:
        """The problem of that name."""
        return {**DENSE, **ROWS}[label]


class Estimator(Suite, ABC):
    """Fits of one estimator: time, memory, and what they end at.

    A suite names its `params`, of which the first is the problem, and makes the estimator.
    """

    def setup(self, label: str, *variant: Any) -> None:
        """Load the data, and fit them once.

        Parameters
        ----------
        label : str
            Name of the problem.
        *variant
            The other parameters.
        """
        warnings.simplefilter("ignore", ConvergenceWarning)
        self.X = self.load(label)
        self.k = self.problem(label).n_clusters
        self.fitted = self.make(fastclust, *variant).fit(self.X)

    @abstractmethod
    def make(self, module: Any, *variant: Any) -> Any:
        """The estimator of fastclust, or of the module of scikit-learn that has it."""

    def time_fit(self, label: str, *variant: Any) -> None:
        """Seconds of a fit."""
        self.make(fastclust, *variant).fit(self.X)

    def peakmem_fit(self, label: str, *variant: Any) -> None:
        """Peak memory of the process in which a fit runs, data and interpreter included."""
        self.make(fastclust, *variant).fit(self.X)


class Compared(Estimator):
    """An estimator that scikit-learn has, too.

    Attributes
    ----------
    peer : module
        Where scikit-learn has it.
    """

    peer: Any

    def track_ratio_to_sklearn(self, label: str, *variant: Any) -> float:
        """How many times as fast as scikit-learn's a fit is, timed in turn.

        More is better: what asv reports as a regression is a gain.
        """
        modules = {"fastclust": fastclust, "scikit-learn": self.peer}
        return ratio(
            {
                engine: lambda module=module: self.make(module, *variant).fit(self.X)
                for engine, module in modules.items()
            }
        )

    track_ratio_to_sklearn.unit = "times as fast"  # type: ignore[attr-defined]


class Centers(Estimator):
    """An estimator with centers, and what its fit ends at."""

    def track_inertia(self, label: str, *variant: Any) -> float:
        """Sum of squared distances to the nearest center, in double precision."""
        X: FloatArray = self.X.toarray() if scipy.sparse.issparse(self.X) else self.X
        return inertia(X, self.fitted.cluster_centers_)

    track_inertia.unit = "inertia"  # type: ignore[attr-defined]
