"""What the experiments ``fastclust compare elkan``, ``minibatch`` and ``regimes`` share.

Each is a list of workloads and a list of entrants. On every workload all entrants are fitted in
turn in one process, after an untimed fit of each, and the medians are compared. The inertia of
every result is computed again from its centers by `.compare.inertia`.

rich and matplotlib, of the extra ``cli``, are imported where they are used.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from fastclust.compare import (
    SEED,
    Report,
    _count,
    _directory,
    _silent,
    inertia,
    machine,
    progress,
    require,
    versions,
)
from fastclust.kmeans import kmeans_plusplus
from fastclust.tables import Columns, print_table
from fastclust.workloads import FloatArray, MissingExtraError, Workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Fits of a fraction of a millisecond are repeated for this long, and at most so often.
FILL_SECONDS, MOST_TURNS = 0.5, 51
# The chapter's five blobs: scikit-learn's `make_blobs` with these, and 2,000 rows.
BLOB_CENTERS = ((0.2, 2.3), (-1.5, 2.3), (-2.8, 1.8), (-2.8, 2.8), (-2.8, 1.3))
BLOB_SPREADS = (0.4, 0.3, 0.1, 0.1, 0.1)
BLOB_SEED = 7


class OptionError(ValueError):
    """Options that are each right do not fit together; the message names them."""


class Fit(Protocol):
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
    fit: Fit

    @property
    def name(self) -> str:
        """Engine and variant."""
        return f"{self.engine} {self.variant}"


@dataclass(frozen=True)
class Run:
    """Of one entrant on one workload.

    Attributes
    ----------
    seconds : tuple of float
        Of each timed fit.
    n_iter : int
        Iterations; of mini-batches, passes over the data.
    inertia : float
        Sum of squared distances to the nearest center, computed in double precision.
    n_distances : int or None
        Distances between rows and centers that the fit computed; None where that is not counted.
    """

    seconds: tuple[float, ...]
    n_iter: int
    inertia: float
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
        The rows of a trial in the table.
    remarks : callable
        The lines below the table, from all trials.
    figure : callable
        The figure, from all trials.
    shared_start : bool
        Whether all entrants start from the same centers, which are found before the clock starts.
    """

    stem: str
    columns: Columns
    rows: Callable[[Trial], list[dict[str, str]]]
    remarks: Callable[[Sequence[Trial]], list[str]]
    figure: Callable[[Sequence[Trial]], Figure]
    shared_start: bool


# --- Data ------------------------------------------------------------------------------------


def five_blobs(n_samples: int = 2000) -> FloatArray:
    """The chapter's five blobs in the plane, of which three are small and close to each other.

    Parameters
    ----------
    n_samples : int
        Number of rows.

    Returns
    -------
    ndarray of shape (n_samples, 2), float64
        The rows.

    References
    ----------
    Géron, A.: Hands-On Machine Learning with Scikit-Learn, Keras, and TensorFlow, chapter 9.
    """
    from sklearn.datasets import make_blobs

    X, _ = make_blobs(
        n_samples, centers=BLOB_CENTERS, cluster_std=BLOB_SPREADS, random_state=BLOB_SEED
    )
    return X


def five_blobs_workload(n_clusters: int = 5, name: str = "five-blobs") -> Workload:
    """The chapter's 2,000 rows as a workload.

    Parameters
    ----------
    n_clusters : int
        Number of clusters to look for.
    name : str
        Name of the workload.

    Returns
    -------
    Workload
        The workload.
    """
    return Workload(name, 2000, 2, n_clusters, "float64", "the chapter's blobs", five_blobs)


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
        estimator = _estimators(engine).KMeans
        return estimator(n_clusters, init=start, n_init=1, algorithm=algorithm).fit(X)

    return Entrant(engine, algorithm, fit)


def _estimators(engine: str) -> Any:
    import sklearn.cluster

    import fastclust

    return {"fastclust": fastclust, "scikit-learn": sklearn.cluster}[engine]


def in_turn(
    actions: Mapping[str, Callable[[], Any]],
    repeats: int,
    report: Callable[[str, float], None] = lambda phase, share: None,
) -> tuple[dict[str, tuple[float, ...]], dict[str, Any]]:
    """Time actions one after the other, so that a slow spell of the machine hits all alike.

    Parameters
    ----------
    actions : mapping of str to callable
        What to time. Each is called once before, untimed.
    repeats : int
        Timed calls of each, at least: more follow while all together have taken less than
        `FILL_SECONDS`.
    report : callable
        Told of each step and the share of all that is done.

    Returns
    -------
    dict of str to tuple of float
        The seconds of each action's timed calls.
    dict of str to object
        What each returned last.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    results: dict[str, Any] = {}
    turn, spent = 0, 0.0
    while turn <= repeats or (spent < FILL_SECONDS and turn <= MOST_TURNS):
        for i, (name, action) in enumerate(actions.items()):
            if turn <= repeats:
                report(name, (turn + i / len(actions)) / (repeats + 1))
            start = perf_counter()
            results[name] = action()
            elapsed = perf_counter() - start
            if turn:
                seconds[name].append(elapsed)
                spent += elapsed
        turn += 1
    return {name: tuple(of) for name, of in seconds.items()}, results


def measure(
    workload: Workload,
    entrants: Sequence[Entrant],
    repeats: int,
    *,
    shared_start: bool = True,
    report: Report = _silent,
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
    fits = {each.name: partial(each.fit, X, k, start) for each in entrants}
    seconds, fitted = in_turn(fits, repeats, partial(report, workload))
    report(workload, "checking", 1.0)
    known: dict[bytes, float] = {}  # many entrants end in the same bits
    runs = {}
    for name, estimator in fitted.items():
        centers = estimator.cluster_centers_
        key = centers.tobytes()
        if key not in known:
            known[key] = inertia(X, centers)
        n_distances = getattr(estimator, "n_distances_", None)
        runs[name] = Run(seconds[name], int(estimator.n_iter_), known[key], n_distances)
    return Trial(workload, runs)


def trials(
    experiment: Experiment,
    workloads: Sequence[Workload],
    entrants: Sequence[Entrant],
    repeats: int,
    report: Report = _silent,
) -> Iterator[Trial]:
    """Measure all workloads, one after the other.

    Parameters
    ----------
    experiment, workloads, entrants, repeats, report
        As for `measure`.

    Yields
    ------
    Trial
        As soon as it is there, so that those of an interrupted experiment are not lost.
    """
    for workload in workloads:
        yield measure(
            workload, entrants, repeats, shared_start=experiment.shared_start, report=report
        )


# --- Files -----------------------------------------------------------------------------------


def document(stem: str, repeats: int, notes: Sequence[str]) -> dict[str, Any]:
    """What the JSON file of every experiment begins with.

    Parameters
    ----------
    stem : str
        Name of the experiment's files.
    repeats : int
        Timed calls of each, at least.
    notes : sequence of str
        Remarks.

    Returns
    -------
    dict
        Format, date, versions, machine, repeats and notes.
    """
    return {
        "format": f"{stem}/1",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": machine(),
        "repeats": repeats,
        "notes": list(notes),
    }


def trial_document(trial: Trial) -> dict[str, Any]:
    """A trial in JSON's types.

    Parameters
    ----------
    trial : Trial
        The trial.

    Returns
    -------
    dict
        The workload, and the runs by name.
    """
    workload = trial.workload
    return {
        "name": workload.name,
        "n_samples": workload.n_samples,
        "n_features": workload.n_features,
        "n_clusters": workload.n_clusters,
        "dtype": workload.dtype,
        "runs": {
            name: {
                "seconds": list(run.seconds),
                "median_seconds": run.median,
                "n_iter": run.n_iter,
                "inertia": run.inertia,
                "n_distances": run.n_distances,
            }
            for name, run in trial.runs.items()
        },
    }


def write(output: Path, stem: str, contents: Mapping[str, Any], drawing: Figure | None) -> None:
    """Write an experiment's files, and say so on the standard error.

    Parameters
    ----------
    output : Path
        Directory.
    stem : str
        Name of the files.
    contents : mapping
        What the JSON file holds.
    drawing : matplotlib.figure.Figure or None
        What the PNG file shows.
    """
    written = [output / f"{stem}.json"]
    text = json.dumps(contents, indent=2, ensure_ascii=False)
    written[0].write_text(text + "\n", encoding="utf-8")
    if drawing is not None:
        written.append(output / f"{stem}.png")
        drawing.savefig(written[1], dpi=120)
    print(f"wrote {' and '.join(map(str, written))}", file=sys.stderr)


# --- Commands --------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, stem: str, repeats: int = 3) -> None:
    """Declare the options that all experiments have.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        To which they are added.
    stem : str
        Name of the experiment's files.
    repeats : int
        Default of ``--repeats``.
    """
    add = parser.add_argument
    add(
        "--profile",
        choices=["quick", "full"],
        default="quick",
        help="how much is measured: quick takes a minute or less, full many (default: quick)",
    )
    add(
        "--repeats",
        type=_count,
        default=repeats,
        metavar="N",
        help=f"timed runs of each, at least (default: {repeats})",
    )
    add(
        "--output",
        type=_directory,
        default=Path(),
        metavar="DIR",
        help=f"where {stem}.json and {stem}.png go (default: the current directory)",
    )
    add("--note", action="append", default=[], metavar="TEXT", help="a remark to keep in the JSON")
    add("--no-figure", action="store_true", help="no figure; matplotlib is not needed")
    add(
        "--no-progress",
        action="store_true",
        help="no progress bar and a plain table; rich is not needed",
    )


def guarded(name: str, args: argparse.Namespace, action: Callable[[], int]) -> int:
    """Run a command once its packages and its directory are known to be there.

    Parameters
    ----------
    name : str
        The command, as in messages.
    args : argparse.Namespace
        Values of the options of `add_arguments`.
    action : callable
        The command; returns its exit status.

    Returns
    -------
    int
        Exit status; 2 if something needed is missing.
    """
    try:
        # Before the fits rather than after them.
        if not args.no_progress:
            require("rich", "the progress bar", "--no-progress")
        if not args.no_figure:
            require("matplotlib", "the figure", "--no-figure")
        args.output.mkdir(parents=True, exist_ok=True)
        return action()
    except (MissingExtraError, OptionError, OSError) as error:
        print(f"fastclust {name}: error: {error}", file=sys.stderr)
        return 2


def conduct(
    experiment: Experiment,
    workloads: Sequence[Workload],
    entrants: Sequence[Entrant],
    args: argparse.Namespace,
) -> int:
    """Run an experiment with progress, show its table and write its files.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    workloads : sequence of Workload
        The data, of distinct names.
    entrants : sequence of Entrant
        Who takes part.
    args : argparse.Namespace
        Values of the options of `add_arguments`.

    Returns
    -------
    int
        Exit status: 0, or 130 if interrupted; what was measured until then is shown.
    """
    fancy = not args.no_progress
    done: list[Trial] = []
    try:
        with progress(workloads, fancy) as report:
            for trial in trials(experiment, workloads, entrants, args.repeats, report):
                done.append(trial)
    except KeyboardInterrupt:
        print("interrupted: results so far" if done else "interrupted: no results so far")
        if done:
            _show(experiment, done, args.note, fancy)
        return 130
    notes = _show(experiment, done, args.note, fancy)
    contents = document(experiment.stem, args.repeats, notes)
    contents |= {
        "profile": args.profile,
        "shared_start": experiment.shared_start,
        "trials": [trial_document(trial) for trial in done],
    }
    drawing = None if args.no_figure else experiment.figure(done)
    write(args.output, experiment.stem, contents, drawing)
    return 0


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
