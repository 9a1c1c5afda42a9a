"""What ``fastclust compare elkan``, ``minibatch``, ``mixtures`` and ``regimes`` share.

Each is a list of workloads and a list of entrants. On every workload all entrants are fitted in
turn in one process, after an untimed fit of each, and the medians are compared. The inertia of
every k-means is computed again from its centers by `.measuring.inertia`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from fastclust.kmeans import kmeans_plusplus
from fastclust.workloads import FloatArray, Workload

from . import documents, options
from .measuring import SEED, Timed, busy, in_turn, inertia
from .progress import Report, progress, silent
from .tables import Columns, print_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SharedStartFit(Protocol):
    """Fits one estimator: data, number of clusters and, where starts are shared, the centers."""

    def __call__(self, X: FloatArray, n_clusters: int, start: FloatArray | None) -> Any: ...


@dataclass(frozen=True)
class Entrant:
    """An estimator which takes part.

    Attributes
    ----------
    engine : str
        ``"fastclust"`` or ``"scikit-learn"``.
    variant : str
        Which algorithm or estimator of it.
    fit : callable
        Fits it and returns it.
    """

    engine: str
    variant: str
    fit: SharedStartFit

    @property
    def name(self) -> str:
        """Engine and variant."""
        return f"{self.engine} {self.variant}"


# Those of all workloads, or of each.
Entrants: TypeAlias = Sequence[Entrant] | Callable[[Workload], Sequence[Entrant]]


@dataclass(frozen=True)
class Run:
    """Of one entrant on one workload.

    Attributes
    ----------
    seconds : tuple of float
        Of each timed fit.
    n_iter : int
        Iterations; of mini-batches, passes over the data.
    objective : float
        The experiment's: the sum of squared distances to the nearest center, computed in double
        precision, or what a mixture has reached.
    n_distances : int or None
        Distances between rows and centers that the fit computed; None where that is not counted.
    """

    seconds: tuple[float, ...]
    n_iter: int
    objective: float
    n_distances: int | None

    @property
    def median(self) -> float:
        """Median of the seconds."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Trial:
    """The runs of all entrants on one workload, by name and in the entrants' order."""

    workload: Workload
    runs: Mapping[str, Run]

    def ratio(self, name: str, reference: str) -> float:
        """How many times as fast as the reference an entrant is."""
        return self.runs[reference].median / self.runs[name].median


@dataclass(frozen=True)
class Experiment:
    """How the trials of an experiment are made and shown.

    Attributes
    ----------
    stem : str
        Of the names of its files.
    columns : mapping of str to bool
        Of its table; see :mod:`.tables`.
    rows : callable
        The rows of a trial in the table; what they share is in the first one only.
    remarks : callable
        The lines below the table, from all trials.
    figure : callable
        The figure, from all trials.
    shared_start : bool
        Whether all entrants start from the same centers, which are found before the clock starts.
    objective : str
        What is compared of the results: "inertia", computed from the centers, or an attribute of
        the estimator.
    """

    stem: str
    columns: Columns
    rows: Callable[[Trial], list[dict[str, str]]]
    remarks: Callable[[Sequence[Trial]], list[str]]
    figure: Callable[[Sequence[Trial]], Figure]
    shared_start: bool
    objective: str = "inertia"


# --- Measuring -------------------------------------------------------------------------------


def kmeans_entrant(engine: str, algorithm: str) -> Entrant:
    """``KMeans`` with one algorithm, from given centers.

    Parameters
    ----------
    engine : {"fastclust", "scikit-learn"}
        Whose.
    algorithm : str
        Its parameter of that name.

    Returns
    -------
    Entrant
        The entrant.
    """

    def fit(X: FloatArray, n_clusters: int, start: FloatArray | None) -> Any:
        estimator = estimators(engine).KMeans
        return estimator(n_clusters, init=start, n_init=1, algorithm=algorithm).fit(X)

    return Entrant(engine, algorithm, fit)


def estimators(engine: str) -> Any:
    """The module that holds an engine's estimators.

    Parameters
    ----------
    engine : {"fastclust", "scikit-learn"}
        Whose.

    Returns
    -------
    module
        With ``KMeans`` and its relatives in it.
    """
    import sklearn.cluster

    import fastclust

    return {"fastclust": fastclust, "scikit-learn": sklearn.cluster}[engine]


def measure(
    workload: Workload,
    entrants: Sequence[Entrant],
    repeats: int,
    *,
    shared_start: bool = True,
    objective: str = "inertia",
    report: Report = silent,
) -> Trial:
    """Time entrants on one workload.

    Parameters
    ----------
    workload : Workload
        The data and the number of clusters.
    entrants : sequence of Entrant
        Who takes part.
    repeats : int
        Timed fits of each, at least.
    shared_start : bool
        Whether all start from the same centers, chosen by k-means++ and outside of the time.
    objective : str
        As for `Experiment`.
    report : callable
        Told of each step.

    Returns
    -------
    Trial
        The runs.
    """
    report(workload, "making the data", 0.0)
    X, k = workload.make(), workload.n_clusters
    start = kmeans_plusplus(X, k, random_state=SEED)[0] if shared_start else None
    fits = {each.name: Timed(partial(each.fit, X, k, start)) for each in entrants}
    seconds = in_turn(fits, repeats, partial(report, workload))
    report(workload, "checking", 1.0)
    known: dict[bytes, float] = {}  # many entrants end in the same bits
    runs = {}
    for name, timed in fits.items():
        estimator = timed.result
        if objective == "inertia":
            centers = estimator.cluster_centers_
            key = centers.tobytes()
            if key not in known:
                known[key] = inertia(X, centers)
            reached = known[key]
        else:
            reached = float(getattr(estimator, objective))
        n_distances = getattr(estimator, "n_distances_", None)
        runs[name] = Run(tuple(seconds[name]), int(estimator.n_iter_), reached, n_distances)
    return Trial(workload, runs)


def trials(
    experiment: Experiment,
    workloads: Sequence[Workload],
    entrants: Entrants,
    repeats: int,
    report: Report = silent,
) -> Iterator[Trial]:
    """Measure all workloads, one after the other.

    Parameters
    ----------
    experiment, workloads, entrants, repeats, report
        As for `conduct` and `measure`.

    Yields
    ------
    Trial
        As soon as it is there, so that those of an interrupted experiment are not lost.
    """
    for workload in workloads:
        own = entrants(workload) if callable(entrants) else entrants
        yield measure(
            workload,
            own,
            repeats,
            shared_start=experiment.shared_start,
            objective=experiment.objective,
            report=report,
        )


def trial_document(trial: Trial, objective: str = "inertia") -> dict[str, Any]:
    """A trial in JSON's types.

    Parameters
    ----------
    trial : Trial
        The trial.
    objective : str
        Name of what is compared.

    Returns
    -------
    dict
        The workload, and the runs by name.
    """
    return documents.shape(trial.workload) | {
        "runs": {
            name: {
                "seconds": list(run.seconds),
                "median_seconds": run.median,
                "n_iter": run.n_iter,
                objective.rstrip("_"): run.objective,
                "n_distances": run.n_distances,
            }
            for name, run in trial.runs.items()
        },
    }


# --- Commands --------------------------------------------------------------------------------


def conduct(
    experiment: Experiment,
    workloads: Sequence[Workload],
    entrants: Entrants,
    args: argparse.Namespace,
) -> int:
    """Run an experiment with progress, show its table and write its files.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    workloads : sequence of Workload
        The data, of distinct names.
    entrants : sequence of Entrant, or callable
        Who takes part; or what says so of a workload.
    args : argparse.Namespace
        Values of the options of `.options.add_output` and `add_profile`.

    Returns
    -------
    int
        Exit status: 0, or 130 if interrupted; what was measured until then is shown and written.
    """
    fancy = not args.no_progress
    done: list[Trial] = []
    with options.interruptible(done) as ended, progress(workloads, fancy) as report:
        for trial in trials(experiment, workloads, entrants, args.repeats, report):
            done.append(trial)
    if not done:
        return ended.status
    notes = [*ended.notes, *busy(_seconds(done)), *args.note]
    notes = _show(experiment, done, notes, fancy)
    contents = documents.head(experiment.stem, args.repeats, notes)
    contents |= {
        "profile": args.profile,
        "shared_start": experiment.shared_start,
        "trials": [trial_document(trial, experiment.objective) for trial in done],
    }
    drawing = None if args.no_figure else experiment.figure(done)
    documents.write(args.output, experiment.stem, contents, drawing)
    return ended.status


def _seconds(done: Sequence[Trial]) -> dict[str, tuple[float, ...]]:
    """All timings, by what was timed."""
    return {
        f"{name} on {trial.workload.name}": run.seconds
        for trial in done
        for name, run in trial.runs.items()
    }


def _show(
    experiment: Experiment, done: Sequence[Trial], notes: Sequence[str], fancy: bool
) -> list[str]:
    """Print the table and the remarks, which are returned."""
    rows = [row for trial in done for row in experiment.rows(trial)]
    print_table(experiment.columns, rows, fancy)
    lines = [*experiment.remarks(done), *notes]
    for line in lines:
        print(line)
    return lines


def named_columns(trial: Trial) -> dict[str, str]:
    """Texts of the columns that tell a workload: name, n×d and k.

    Parameters
    ----------
    trial : Trial
        The trial.

    Returns
    -------
    dict of str to str
        By the title of the column.
    """
    workload = trial.workload
    return {
        "workload": workload.name,
        "n×d": f"{workload.n_samples}×{workload.n_features}",
        "k": str(workload.n_clusters),
    }
