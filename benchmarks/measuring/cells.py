"""Fits of several engines to one workload, and how alike their results are."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from benchmarks.measuring.figures import OURS, THEIRS, say
from benchmarks.measuring.turns import Effort, over_seeds, total
from fastclust.commands.engines import Competitor, Fitted
from fastclust.commands.measuring import Seconds, Side, Timed, inertia
from fastclust.workloads import FloatArray, Workload


@dataclass(frozen=True)
class Run:
    """Fits of all engines with one seed.

    Attributes
    ----------
    seed : int
        Random state.
    seconds : dict of str to list of float
        Of each fit, by engine.
    n_iter : dict of str to int
        Iterations.
    inertia : dict of str to float
        All computed by one function, from the centers.
    agreement : dict of str to float
        Adjusted Rand index with scikit-learn's labels.
    own_agreement : float
        That index between scikit-learn's labels in float32 and in float64.
    """

    seed: int
    seconds: Seconds
    n_iter: dict[str, int]
    inertia: dict[str, float]
    agreement: dict[str, float]
    own_agreement: float

    def excess(self, name: str) -> float:
        """Relative difference of an engine's inertia from scikit-learn's."""
        return self.inertia[name] / self.inertia[THEIRS] - 1


@dataclass(frozen=True)
class Cell:
    """Fits of all engines to one workload.

    Attributes
    ----------
    name : str
        Of the workload.
    n_samples, n_features, n_clusters : int
        Shape of the problem.
    dtype : str
        Data type.
    runs : list of Run
        One for each seed.
    """

    name: str
    n_samples: int
    n_features: int
    n_clusters: int
    dtype: str
    runs: list[Run]

    def ratio(self, name: str) -> float:
        """How many times as long as fastclust an engine took, over all seeds."""
        runs = [run.seconds for run in self.runs]
        return total(runs, name) / total(runs, OURS)

    @property
    def fastest(self) -> str:
        """Name of the fastest engine other than fastclust."""
        return min((name for name in self.runs[0].seconds if name != OURS), key=self.ratio)

    def excess(self, name: str) -> float:
        """Mean over the seeds of an engine's relative difference in inertia."""
        return statistics.mean(run.excess(name) for run in self.runs)

    def document(self) -> dict[str, Any]:
        """All of it, of JSON's types only."""
        names = list(self.runs[0].seconds)
        return asdict(self) | {
            "ratios": {name: self.ratio(name) for name in names if name != OURS},
            "inertia_relative_difference": {name: self.excess(name) for name in names},
        }


def measure_cell(workload: Workload, entrants: Sequence[Competitor], effort: Effort) -> Cell:
    """Time the fits of several engines to one workload.

    Parameters
    ----------
    workload : Workload
        The data and the number of clusters.
    entrants : sequence of Competitor
        fastclust, scikit-learn, and others; those that do not take the data type are left out.
    effort : Effort
        How much is done.

    Returns
    -------
    Cell
        The results.
    """
    X = effort.data(workload)
    n_clusters = min(workload.n_clusters, len(X) // 2)
    entrants = [entrant for entrant in entrants if workload.dtype in entrant.dtypes]
    results: dict[int, dict[str, Fitted]] = {seed: {} for seed in effort.seeds}

    def side(entrant: Competitor, seed: int) -> Side:
        fitted = results[seed]

        def fit() -> None:
            # fastclust comes first; an engine that can not stop by itself does as many iterations.
            pace = {"n_iter": int(fitted[OURS].n_iter_)} if entrant.paced else {}
            fitted[entrant.name] = entrant.fit(X, n_clusters, seed, **pace)

        return Timed(fit)

    def sides_of(seed: int) -> dict[str, Side]:
        return {entrant.name: side(entrant, seed) for entrant in entrants}

    runs = over_seeds(workload.name, sides_of, effort)
    reference = next(entrant for entrant in entrants if entrant.name == THEIRS)
    say(f"  {workload.name}: checking")
    return Cell(
        workload.name,
        X.shape[0],
        X.shape[1],
        n_clusters,
        workload.dtype,
        [
            judge(X, n_clusters, reference, seed, seconds, results[seed])
            for seed, seconds in zip(effort.seeds, runs, strict=True)
        ],
    )


def judge(
    X: FloatArray,
    n_clusters: int,
    reference: Competitor,
    seed: int,
    seconds: Seconds,
    fitted: Mapping[str, Fitted],
) -> Run:
    """Compare results with scikit-learn's, and those with its own in the other precision.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The data.
    n_clusters : int
        Number of clusters.
    reference : Competitor
        scikit-learn.
    seed : int
        Random state of the fits.
    seconds : dict of str to list of float
        What they took.
    fitted : mapping of str to Fitted
        Their results, by engine.

    Returns
    -------
    Run
        The comparison.
    """
    labels = fitted[THEIRS].labels_
    other = X.astype(np.float64 if X.dtype == np.float32 else np.float32)
    own = reference.fit(other, n_clusters, seed)
    return Run(
        seed,
        seconds,
        {name: int(result.n_iter_) for name, result in fitted.items()},
        {name: inertia(X, result.cluster_centers_) for name, result in fitted.items()},
        {
            name: float(adjusted_rand_score(labels, result.labels_))
            for name, result in fitted.items()
            if name != THEIRS
        },
        float(adjusted_rand_score(labels, own.labels_)),
    )
