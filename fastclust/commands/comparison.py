"""fastclust against other engines on the same data, in speed and in result.

The comparison is meant to be repeated by a reader on their own machine, so it is arranged to be
hard to get wrong: the competitors are timed in turn in one process, after an untimed fit of each
(which also compiles fastclust's kernels); the medians are compared; and the inertia of every
result is computed again from its centers by one function in double precision, so that no
engine's own arithmetic judges it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from fastclust.workloads import FloatArray, Workload

from .engines import Competitor, Fitted
from .measuring import SEED, Timed, in_turn, inertia
from .progress import Report, silent


@dataclass(frozen=True)
class Result:
    """Of one competitor on one workload.

    Attributes
    ----------
    seconds : tuple of float
        Of each timed fit.
    n_iter : int
        Iterations of Lloyd's algorithm.
    inertia : float
        Sum of squared distances to the nearest center, computed by `inertia`.
    agreement : float
        Adjusted Rand index between its labels and the reference's; 1 is the same partition.
    """

    seconds: tuple[float, ...]
    n_iter: int
    inertia: float
    agreement: float

    @property
    def median(self) -> float:
        """Median of the seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Cell:
    """The results of all competitors on one workload.

    Attributes
    ----------
    workload : Workload
        The workload.
    results : mapping of str to Result
        By name, in the order of the competitors: the first one is the subject of the ratios,
        the second one the reference for inertia and labels.
    """

    workload: Workload
    results: Mapping[str, Result]

    @property
    def subject(self) -> str:
        """Name of the competitor whose speed is in question."""
        return next(iter(self.results))

    @property
    def peers(self) -> list[str]:
        """Names of all others; the first one is the reference."""
        return list(self.results)[1:]

    def ratio(self, name: str) -> float:
        """How many times as long as the subject a competitor took."""
        return self.results[name].median / self.results[self.subject].median

    def excess(self, name: str) -> float:
        """Relative difference of a competitor's inertia from the reference's."""
        reference = self.results[self.peers[0]].inertia
        return (self.results[name].inertia - reference) / reference

    def same_work(self, name: str) -> bool:
        """Whether a competitor went the subject's way, so that their ratio is one of speeds.

        A start which differs in one center, or a tie broken otherwise, may lead to another local
        minimum by a shorter or longer way; the ratio of times then says little of the engines.
        """
        pair = (self.results[self.subject], self.results[name])
        return pair[0].n_iter == pair[1].n_iter and all(each.agreement > 0.999 for each in pair)


def measure(
    workload: Workload,
    entrants: Sequence[Competitor],
    repeats: int = 3,
    seed: int = SEED,
    report: Report = silent,
) -> Cell:
    """Time competitors on one workload and check their results.

    Parameters
    ----------
    workload : Workload
        The data and the number of clusters.
    entrants : sequence of Competitor
        At least two: the subject, the reference, and others. Those which do not take the
        workload's data type are left out.
    repeats : int
        Timed fits of each, made in turn so that a slow spell of the machine hits all alike.
    seed : int
        Seed of every fit.
    report : callable
        Told of each step.

    Returns
    -------
    Cell
        The results.
    """
    entrants = [entrant for entrant in entrants if workload.dtype in entrant.dtypes]
    report(workload, "making the data", 0.0)
    X = workload.make()
    fitted: dict[str, Fitted] = {}

    def fit(entrant: Competitor) -> Callable[[], None]:
        def action() -> None:
            pace = {"n_iter": int(fitted[entrants[0].name].n_iter_)} if entrant.paced else {}
            fitted[entrant.name] = entrant.fit(X, workload.n_clusters, seed, **pace)

        return action

    fits = {entrant.name: Timed(fit(entrant)) for entrant in entrants}
    seconds = in_turn(fits, repeats, partial(report, workload), fill=0.0)
    report(workload, "checking", 1.0)
    reference = fitted[entrants[1].name]
    return Cell(
        workload,
        {name: _judge(X, fitted[name], reference, seconds[name]) for name in fitted},
    )


def _judge(X: FloatArray, fitted: Fitted, reference: Fitted, seconds: Sequence[float]) -> Result:
    from sklearn.metrics import adjusted_rand_score

    return Result(
        seconds=tuple(seconds),
        n_iter=int(fitted.n_iter_),
        inertia=inertia(X, fitted.cluster_centers_),
        agreement=float(adjusted_rand_score(reference.labels_, fitted.labels_)),
    )


def compare(
    chosen: Sequence[Workload],
    entrants: Sequence[Competitor],
    repeats: int = 3,
    seed: int = SEED,
    report: Report = silent,
) -> Iterator[Cell]:
    """Compare competitors on several workloads, one after the other.

    Parameters
    ----------
    chosen : sequence of Workload
        The workloads.
    entrants, repeats, seed, report
        As for `measure`.

    Yields
    ------
    Cell
        The results on each workload as soon as they are there, so that those of an interrupted
        comparison are not lost.
    """
    for workload in chosen:
        yield measure(workload, entrants, repeats, seed, report)


def geometric_means(cells: Sequence[Cell]) -> dict[str, tuple[float, int]]:
    """Geometric mean of each peer's ratios.

    Parameters
    ----------
    cells : sequence of Cell
        The results.

    Returns
    -------
    dict of str to tuple of float and int
        By the peer's name, the mean and the number of workloads in which it took part.
    """
    ratios: dict[str, list[float]] = {}
    for cell in cells:
        for name in cell.peers:
            ratios.setdefault(name, []).append(cell.ratio(name))
    return {name: (statistics.geometric_mean(of), len(of)) for name, of in ratios.items()}


def like_for_like(cells: Sequence[Cell]) -> float | None:
    """Geometric mean of the reference's ratios where it did the same work as the subject.

    Parameters
    ----------
    cells : sequence of Cell
        The results, of at least one workload.

    Returns
    -------
    float or None
        The mean; None if there is no such workload.
    """
    reference = cells[0].peers[0]
    ratios = [cell.ratio(reference) for cell in cells if cell.same_work(reference)]
    return statistics.geometric_mean(ratios) if ratios else None
