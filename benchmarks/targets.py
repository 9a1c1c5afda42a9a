"""Measures every figure that fastclust publishes, and says which of them meet their target.

::

    python benchmarks/targets.py [ROW ...] [--quick] [--output FILE] [--list]

All rows are run where none is named.  Progress goes to the standard error, a table and remarks to
the standard output, and everything that was measured to a JSON file, after each row.

How it is measured:

* The sides of a ratio are run in turn, A B A B, in one process and after an untimed run of each,
  so that a slow spell of the machine hits all alike.  Medians are compared.
* Fits are compared over several seeds.  In float32 engines round differently, a start may then
  differ in one center, and the way to convergence be longer or shorter by chance.  The ratio is
  that of the summed medians, and it comes with what tells whether the work was the same: the
  relative difference of the inertias, the adjusted Rand index of the labels, and that index
  between scikit-learn's own fits to the data in float32 and in float64, which no engine can be
  expected to surpass.
* What depends on the state of a process (start-up time, peak memory) is measured in fresh ones.

The exit status is 0 whether or not targets are met, and 1 if a row could not be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import sklearn.cluster
from sklearn.metrics import adjusted_rand_score

# A script finds only its own folder.  The checkout comes last, behind the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
from fastclust.commands.documents import machine, versions
from fastclust.commands.engines import Competitor, Fitted, competitors
from fastclust.commands.measuring import inertia
from fastclust.kernels.lloyd import Lloyd
from fastclust.kernels.machine.parallel import Team, team
from fastclust.kernels.machine.roof import Read, Spin
from fastclust.kernels.moments import column_moments
from fastclust.kernels.tiles import make_rows, padded_vector
from fastclust.kernels.update import Update
from fastclust.workloads import FloatArray, Workload, gaussian_blobs, get, workloads

FORMAT = "fastclust-targets/1"
OURS, THEIRS = "fastclust", "scikit-learn"

# Seconds: a side that takes longer is timed once.
LONG = 10.0
# Most turns of sides that take next to no time.
MOST_TURNS = 25
# Seconds before each run, in which the threads of the other side stop looking out for more work.
PAUSE = 0.2
# What is over sooner than this many seconds is repeated within its turn: after a pause, caches and
# clocks would be all that a fit of a millisecond shows.
BRIEF = 0.02

# Data and number of clusters of the seedings.
SEEDINGS = (
    ("image-64", 64),
    ("blobs-64d-100", 100),
    ("blobs-8d-32", 256),
    ("plane-100", 500),
    ("blobs-128d-1000", 1000),
)
EARLY = 10  # iterations that are averaged
LATE = 100  # the iteration after which one counts as late

# Makes one run of a side; returns its seconds.
Side: TypeAlias = Callable[[], float]
# Seconds of every run, by side.
Seconds: TypeAlias = dict[str, list[float]]


# --- What is reported ------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """One number, and what it should be.

    Attributes
    ----------
    row : str
        Name of the row it belongs to.
    what : str
        What it is a figure of.
    value : float
        The number.
    unit : str
        Its unit.
    target, at_least : float or None
        What is aimed at, and what is the least that will do.
    lower_is_better : bool
        Whether `value` should be below these, rather than above.
    """

    row: str
    what: str
    value: float
    unit: str
    target: float | None = None
    at_least: float | None = None
    lower_is_better: bool = False

    def reaches(self, bound: float | None) -> bool:
        """Whether the value is as good as `bound`, or there is none."""
        if bound is None:
            return True
        return self.value <= bound if self.lower_is_better else self.value >= bound

    @property
    def verdict(self) -> str:
        """``"met"``, ``"at least"`` (but not the target), ``"missed"``, or "" without bounds."""
        if self.target is None and self.at_least is None:
            return ""
        if not self.reaches(self.at_least):
            return "missed"
        return "met" if self.reaches(self.target) else "at least"

    def amount(self, value: float) -> str:
        """A number in the unit of this figure, with three significant digits."""
        decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        return f"{value:.{decimals}f} {self.unit}"


@dataclass(frozen=True)
class Outcome:
    """What a row has measured.

    Attributes
    ----------
    figures : list of Figure
        What the table shows.
    notes : list of str
        What a reader must know to judge them.
    details : dict
        Everything behind them, of JSON's types only.
    """

    figures: list[Figure]
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


# --- How it is measured ----------------------------------------------------------------------


@dataclass(frozen=True)
class Effort:
    """How much is done for a figure.

    Attributes
    ----------
    divisor : int
        What every number of rows is divided by.
    repeats : int
        Least number of timed runs of each side.
    fill : float
        Seconds up to which more runs are added.
    seeds : tuple of int
        Random states of the fits.
    cold, warm : int
        Processes that are started without and with compiled kernels in the cache.
    """

    divisor: int = 1
    repeats: int = 3
    fill: float = 1.0
    seeds: tuple[int, ...] = (0, 1, 2)
    cold: int = 2
    warm: int = 5

    def reduced(self, count: int) -> int:
        """A number of rows, divided."""
        return max(64, count // self.divisor)

    def data(self, workload: Workload) -> FloatArray:
        """Evenly spaced rows of a workload."""
        return np.ascontiguousarray(workload.make()[:: self.divisor])


FULL = Effort()
QUICK = Effort(divisor=20, repeats=1, fill=0.0, seeds=(0, 1), cold=1, warm=1)


class Session:
    """The rows of one call of this script, and what they share.

    Parameters
    ----------
    effort : Effort
        How much is done.
    rows : sequence of str
        Names of the rows that will be measured.
    """

    def __init__(self, effort: Effort, rows: Sequence[str] = ()) -> None:
        self.effort = effort
        self.rows = rows

    @cached_property
    def cells(self) -> list[Cell]:
        """Fits to the workloads of the full profile, by all engines that the rows ask for."""
        return [measure_cell(w, self.entrants[0], self.effort) for w in workloads("full")]

    @cached_property
    def entrants(self) -> tuple[list[Competitor], list[str]]:
        """The engines, and a line for each that is not installed."""
        return competitors(peers="peers" in self.rows)


def timed(action: Callable[[], Any], least: float = 0.0) -> Side:
    """Make a side of anything that can be called.

    Parameters
    ----------
    action : callable
        What is timed.
    least : float
        Seconds up to which it is called again, one call right after the other; the side then is
        the median of the calls.
    """

    def side() -> float:
        calls: list[float] = []
        while not calls or sum(calls) < least:
            start = perf_counter()
            action()
            calls.append(perf_counter() - start)
        return statistics.median(calls)

    return side


def in_turn(
    label: str,
    sides: Mapping[str, Side],
    effort: Effort,
    *,
    warm_up: bool = True,
    pause: float | None = None,
) -> Seconds:
    """Run sides in turn.

    Parameters
    ----------
    label : str
        Names the line of progress.
    sides : mapping of str to callable
        What to run, by name.
    effort : Effort
        How often; a side that takes more than `LONG` seconds is run once.
    warm_up : bool
        Whether each is run once before, and that run forgotten.
    pause : float, optional
        Seconds before each run, by default `PAUSE`.

    Returns
    -------
    dict of str to list of float
        Seconds of each run, by name.
    """
    if warm_up:
        for side in sides.values():
            side()
    seconds: Seconds = {name: [] for name in sides}
    turn, spent = 0, 0.0
    while turn < effort.repeats or (spent < effort.fill and turn < MOST_TURNS):
        for name, side in sides.items():
            if turn and seconds[name][0] > LONG:
                continue
            time.sleep(PAUSE if pause is None else pause)
            seconds[name].append(side())
        turn += 1
        spent = sum(map(sum, seconds.values()))
    medians = (f"{name} {statistics.median(of):.4g} s" for name, of in seconds.items())
    say(f"  {label}: {', '.join(medians)}")
    return seconds


def over_seeds(
    label: str, sides_of: Callable[[int], Mapping[str, Side]], effort: Effort
) -> list[Seconds]:
    """Run sides in turn for every seed; they are warmed up with the first one.

    Parameters
    ----------
    label : str
        Names the lines of progress.
    sides_of : callable
        Makes the sides for a seed.
    effort : Effort
        How often, and for which seeds.

    Returns
    -------
    list of dict of str to list of float
        For each seed, seconds by name.
    """
    return [
        in_turn(f"{label}, seed {seed}", sides_of(seed), effort, warm_up=i == 0)
        for i, seed in enumerate(effort.seeds)
    ]


def total(runs: Sequence[Seconds], name: str) -> float:
    """Sum over the seeds of a side's median seconds."""
    return sum(statistics.median(seconds[name]) for seconds in runs)


def shape(X: FloatArray, n_clusters: int) -> str:
    """Shape of a problem as text."""
    return f"{X.shape[0]:,}×{X.shape[1]}, k={n_clusters}, {X.dtype}"


# --- Kernels against the machine -------------------------------------------------------------


class Iterations:
    """The two halves of an iteration as a fit runs them, from a start that is always the same.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The data.
    n_clusters : int
        Number of clusters; the start is as many rows drawn at random.
    threads : Team
        Threads to run on.
    """

    def __init__(self, X: FloatArray, n_clusters: int, threads: Team) -> None:
        means, _ = column_moments(X, threads)
        mean = padded_vector(means, X.dtype)
        rows = make_rows(X)
        chosen = np.random.default_rng(0).choice(len(X), n_clusters, replace=False)
        self._start = X[chosen] - mean[: X.shape[1]]
        self._update = Update(rows, mean, n_clusters, threads)
        self._algorithm = Lloyd(rows, mean, n_clusters, self._update, threads)
        self.restart()

    def restart(self) -> None:
        """Go back to the start: no row has a label."""
        self._update.reset()
        self._algorithm.reset()
        self._centers, self._new_centers = self._start.copy(), np.empty_like(self._start)

    def assign(self) -> None:
        """Label the rows, and do no more about it."""
        self._algorithm.assign(self._centers, account=False)

    def step(self) -> None:
        """One iteration."""
        self._algorithm.assign(self._centers)
        self._update.new_centers(self._algorithm.labels, self._centers, self._new_centers)
        self._centers, self._new_centers = self._new_centers, self._centers


def assignment(session: Session) -> Outcome:
    """Multiply-adds per second of an assignment pass, as a share of what the cores can do."""
    effort = session.effort
    n_clusters = 1000
    X = gaussian_blobs(max(n_clusters, effort.reduced(100_000)), 128, n_clusters, "float32")
    with team() as threads:
        iterations = Iterations(X, n_clusters, threads)
        roof = Spin(X.dtype, effort.reduced(200_000), threads)
        # The warm-up settles the labels: later passes find the same ones, and store nothing.
        sides = {"assignment": timed(iterations.assign), "peak": timed(roof)}
        seconds = in_turn("assignment", sides, effort)
        n_threads = threads.n_threads
    reached = 2.0 * X.size * n_clusters / statistics.median(seconds["assignment"]) / 1e9
    peak = roof.flops / statistics.median(seconds["peak"]) / 1e9
    what = f"assignment pass, {shape(X, n_clusters)}: share of the multiply-add peak"
    return Outcome(
        [Figure("assignment", what, 100 * reached / peak, "%", 90, 80)],
        [f"{reached:.0f} of {peak:.0f} GFLOP/s on {n_threads} threads"],
        {"gflops": reached, "peak_gflops": peak, "n_threads": n_threads, "seconds": seconds},
    )


def iteration(session: Session) -> Outcome:
    """Bytes per second of a whole iteration on few features, as a share of the read bandwidth."""
    effort = session.effort
    n_clusters = 8
    X = gaussian_blobs(effort.reduced(1_000_000), 2, n_clusters, "float64")
    steps: list[list[float]] = []
    with team() as threads:
        iterations = Iterations(X, n_clusters, threads)
        read = Read(effort.reduced(512_000_000), threads)

        def early() -> float:
            iterations.restart()
            steps.append([timed(iterations.step)() for _ in range(EARLY)])
            return sum(steps[-1])

        seconds = in_turn("iteration", {"iterations": early, "read": timed(read)}, effort)
        for _ in range(LATE - EARLY):
            iterations.step()
        late = statistics.median(timed(iterations.step)() for _ in range(EARLY))
    mean = statistics.median(seconds["iterations"]) / EARLY
    bandwidth = read.n_bytes / statistics.median(seconds["read"])
    labels = 4 * len(X)

    def share(n_bytes: int, duration: float) -> float:
        return 100 * n_bytes / duration / bandwidth

    what = f"one iteration, {shape(X, n_clusters)}: bytes of X, share of the read bandwidth"
    notes = [
        f"{mean * 1e3:.2f} ms on average over the first {EARLY} iterations, "
        f"{late * 1e3:.2f} ms after {LATE}; bandwidth {bandwidth / 1e9:.1f} GB/s",
        f"bytes of X: {share(X.nbytes, late):.0f} % after {LATE} iterations; with the labels, "
        f"4 bytes a row that are read: {share(X.nbytes + labels, mean):.0f} % and "
        f"{share(X.nbytes + labels, late):.0f} %",
        f"X is {X.nbytes / 1e6:.0f} MB: a cache that holds it is faster than the memory",
    ]
    details = {
        "bandwidth": bandwidth,
        "mean_seconds": mean,
        "late_seconds": late,
        "step_seconds": steps[-1],
        "percent_with_labels": share(X.nbytes + labels, mean),
        "late_percent": share(X.nbytes, late),
        "late_percent_with_labels": share(X.nbytes + labels, late),
        "seconds": seconds,
    }
    return Outcome([Figure("iteration", what, share(X.nbytes, mean), "%", 70, 50)], notes, details)


# --- Fits against other engines --------------------------------------------------------------


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

        return timed(fit)

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


def _indices(values: Sequence[float]) -> str:
    """Adjusted Rand indices as text; a bare 1 is an exact one."""
    return " ".join("1" if value == 1 else f"{value:.4f}" for value in values)


def _fit_note(cell: Cell) -> str:
    agreements = _indices([run.agreement[OURS] for run in cell.runs])
    own = _indices([run.own_agreement for run in cell.runs])
    return (
        f"{cell.name}: {cell.ratio(THEIRS):.2f}×, inertia {cell.excess(OURS):+.0e}, "
        f"ARI {agreements}, scikit-learn float32/float64 {own}"
    )


def _peers_note(cell: Cell) -> str:
    others = [name for name in cell.runs[0].seconds if name != OURS]
    sides = (f"{name} {cell.ratio(name):.2f}× ({cell.excess(name):+.0e})" for name in others)
    return f"{cell.name}: {', '.join(sides)}"


def _summary(
    row: str,
    ratios: Mapping[str, float],
    against: str,
    *,
    target: float | None,
    at_least: float,
    each: float,
) -> list[Figure]:
    """Geometric mean and lowest of several ratios."""
    lowest = min(ratios, key=lambda name: ratios[name])
    mean = statistics.geometric_mean(ratios.values())
    what = f"{against}, geometric mean of {len(ratios)}"
    return [
        Figure(row, what, mean, "×", target, at_least),
        Figure(row, f"{against}, the lowest: {lowest}", ratios[lowest], "×", None, each),
    ]


def fit(session: Session) -> Outcome:
    """Whole fits from k-means++ against scikit-learn's, on the nine workloads."""
    ratios = {cell.name: cell.ratio(THEIRS) for cell in session.cells}
    against = "fit against scikit-learn"
    return Outcome(
        _summary("fit", ratios, against, target=10, at_least=8, each=3),
        [_fit_note(cell) for cell in session.cells],
        {"cells": [cell.document() for cell in session.cells]},
    )


def peers(session: Session) -> Outcome:
    """The same fits against the fastest of scikit-learn, scikit-learn-intelex and faiss."""
    entrants, missing = session.entrants
    ratios = {cell.name: cell.ratio(cell.fastest) for cell in session.cells}
    against = "fit against the fastest peer"
    notes = [_peers_note(cell) for cell in session.cells]
    notes.append("in brackets: relative difference of the inertia from scikit-learn's")
    notes += [entrant.note for entrant in entrants if entrant.note] + missing
    return Outcome(
        _summary("peers", ratios, against, target=None, at_least=2, each=1),
        notes,
        {
            "fastest": {cell.name: cell.fastest for cell in session.cells},
            "cells": [cell.document() for cell in session.cells],
        },
    )


def _race(label: str, work: Callable[[Any, int], Any], effort: Effort) -> list[Seconds]:
    """Time ``work(module, seed)`` with fastclust and with scikit-learn as the module."""
    modules = {OURS: fastclust, THEIRS: sklearn.cluster}

    def side(module: Any, seed: int) -> Side:
        return timed(lambda: work(module, seed), BRIEF)

    def sides_of(seed: int) -> dict[str, Side]:
        return {name: side(module, seed) for name, module in modules.items()}

    return over_seeds(label, sides_of, effort)


def seeding(session: Session) -> Outcome:
    """k-means++ alone against scikit-learn's."""
    effort = session.effort
    ratios: dict[str, float] = {}
    notes: list[str] = []
    details: list[dict[str, Any]] = []
    for name, n_clusters in SEEDINGS:
        X = effort.data(get(name))
        k = min(n_clusters, len(X) // 2)
        chosen: dict[tuple[Any, int], Any] = {}

        def work(module: Any, seed: int, X: FloatArray = X, k: int = k, into: Any = chosen) -> None:
            _, into[module, seed] = module.kmeans_plusplus(X, k, random_state=seed)

        runs = _race(f"seeding {name}, k={k}", work, effort)
        alike = [
            float(np.mean(chosen[fastclust, seed] == chosen[sklearn.cluster, seed]))
            for seed in effort.seeds
        ]
        label = f"{name}, k={k}"
        ratios[label] = total(runs, THEIRS) / total(runs, OURS)
        shares = ", ".join(f"{100 * share:.4g} %" for share in alike)
        notes.append(f"{name}: {shape(X, k)}: {ratios[label]:.2f}×, the same centers: {shares}")
        details.append(
            {
                "name": name,
                "n_samples": X.shape[0],
                "n_features": X.shape[1],
                "n_clusters": k,
                "dtype": str(X.dtype),
                "ratio": ratios[label],
                "same_centers": alike,
                "seconds": runs,
            }
        )
    against = "k-means++ alone against scikit-learn"
    figures = _summary("seeding", ratios, against, target=15, at_least=10, each=5)
    return Outcome(figures, notes, {"cells": details})


def small(session: Session) -> Outcome:
    """A fit with ten starts to small data against scikit-learn's, which is all overhead."""
    effort = session.effort
    n_clusters = 5
    X = gaussian_blobs(effort.reduced(2_000), 2, n_clusters, "float64")

    def work(module: Any, seed: int) -> None:
        module.KMeans(n_clusters, n_init=10, random_state=seed).fit(X)

    runs = _race("small", work, effort)
    ours, theirs = total(runs, OURS), total(runs, THEIRS)
    what = f"fit against scikit-learn, {shape(X, n_clusters)}, n_init=10"
    note = f"{ours / len(runs) * 1e3:.2f} ms and {theirs / len(runs) * 1e3:.2f} ms a fit"
    return Outcome(
        [Figure("small", what, theirs / ours, "×", 5, 3)],
        [note],
        {"seconds": runs},
    )


# --- Fresh processes -------------------------------------------------------------------------


def memory(session: Session) -> Outcome:
    """Memory that a fit takes beside the data, at its peak, in a process of its own."""
    n_samples, n_features, n_clusters = session.effort.reduced(1_000_000), 64, 100
    program = str(Path(__file__).resolve().with_name("peak_memory.py"))
    size = [str(count) for count in (n_samples, n_features, n_clusters)]
    extra: dict[str, float] = {}
    for name, module in ((OURS, "fastclust"), (THEIRS, "sklearn.cluster")):
        say(f"  memory: {name}")
        child = subprocess.run(
            [sys.executable, program, module, *size], check=True, capture_output=True, text=True
        )
        extra[name] = int(child.stdout) / 1e6
    what = f"peak memory of a fit beside X, {n_samples:,}×{n_features}, k={n_clusters}, float32"
    return Outcome(
        [Figure("memory", what, extra[OURS], "MB", 40, 80, lower_is_better=True)],
        [f"scikit-learn: {extra[THEIRS]:.1f} MB; X is {n_samples * n_features * 4 / 1e6:.0f} MB"],
        {"megabytes": extra},
    )


# What a user's first program does; either side also pays for the interpreter.
_FIRST_FIT = """
import numpy as np
import {module} as engine
X = np.random.RandomState(0).rand(1000, 8)
engine.KMeans(8, n_init=1, random_state=0).fit(X)
"""
_TELL = "import time\nprint(time.time())\n"
PROGRAMS = {
    OURS: _FIRST_FIT.format(module="fastclust"),
    THEIRS: _FIRST_FIT.format(module="sklearn.cluster"),
}


def run_program(name: str, cache: str) -> float:
    """Run one of `PROGRAMS` in a new process, with compiled kernels kept in `cache`.

    Returns
    -------
    float
        Seconds from the start of the process until its fit has returned.
    """
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    # An installed package has its bytecode, whatever is said here about that of a checkout.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.time()
    # Started in the cache's folder: from the checkout it would import the checkout.
    child = subprocess.run(
        [sys.executable, "-c", f"{PROGRAMS[name]}\n{_TELL}"],
        check=True,
        cwd=cache,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(child.stdout) - started


def start(session: Session) -> Outcome:
    """Time that the first fit of a process, imports included, takes beyond scikit-learn's."""
    effort = session.effort
    until_fit: Seconds = {OURS: [], THEIRS: []}
    with TemporaryDirectory() as folder:

        def cold() -> float:
            with TemporaryDirectory() as empty:
                return timed(lambda: run_program(OURS, empty))()

        def warm(name: str) -> Side:
            return timed(lambda: until_fit[name].append(run_program(name, folder)))

        run_program(THEIRS, folder)  # its files are in the page cache from here on
        turns = {"cold": effort.cold, "warm": effort.warm}
        sides = {"cold": cold, "warm": warm(OURS)}
        seconds: dict[str, Seconds] = {}
        for state, side in sides.items():
            # Started so often and no more: a process takes too long to fill the time with them.
            times = Effort(repeats=turns[state], fill=0.0)
            seconds[state] = in_turn(
                f"start, {state}",
                {OURS: side, THEIRS: warm(THEIRS)},
                times,
                warm_up=state == "warm",
            )
    more = {
        state: statistics.median(of[OURS]) - statistics.median(of[THEIRS])
        for state, of in seconds.items()
    }
    returned = {name: statistics.median(of[-effort.warm :]) for name, of in until_fit.items()}
    what = "first fit of a process, time beyond scikit-learn's"
    return Outcome(
        [
            Figure("start", f"{what}, nothing compiled", more["cold"], "s", 5, 10, True),
            Figure("start", f"{what}, kernels in the cache", more["warm"], "s", 0.3, 0.5, True),
        ],
        [
            f"scikit-learn: {statistics.median(seconds['warm'][THEIRS]):.2f} s in all; until the"
            f" fit has returned {returned[THEIRS]:.2f} s, fastclust {returned[OURS]:.2f} s"
        ],
        {"seconds": seconds, "until_fit": until_fit},
    )


# --- Command ---------------------------------------------------------------------------------

Rows: TypeAlias = Mapping[str, Callable[[Session], Outcome]]

ROWS: Rows = {
    function.__name__: function
    for function in (assignment, iteration, fit, peers, seeding, small, memory, start)
}


def table(figures: Sequence[Figure]) -> str:
    """Figures as aligned text.

    Parameters
    ----------
    figures : sequence of Figure
        The figures.

    Returns
    -------
    str
        A head, a rule and one line per figure.
    """
    lines: list[tuple[str, ...]] = [("row", "what", "figure", "target", "at least", "verdict")]
    for each in figures:
        bounds = [
            f"{'≤' if each.lower_is_better else '≥'} {each.amount(bound)}"
            if bound is not None
            else ""
            for bound in (each.target, each.at_least)
        ]
        lines.append((each.row, each.what, each.amount(each.value), *bounds, each.verdict))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    # Text on the left, numbers on the right.
    formats = [f"{sign}{width}" for sign, width in zip("<<>>><", widths, strict=True)]
    return "\n".join("  ".join(map(format, line, formats)).rstrip() for line in lines)


def document(
    outcomes: Mapping[str, Outcome], effort: Effort, failed: Mapping[str, str]
) -> dict[str, Any]:
    """What the JSON file holds.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
        By the name of the row.
    effort : Effort
        How much was done.
    failed : mapping of str to str
        Type of the error, by the name of a row that could not be measured.

    Returns
    -------
    dict
        Of JSON's types only.  Nothing in it tells whose machine it was.
    """
    return {
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": machine(),
        "effort": asdict(effort),
        "figures": [
            asdict(figure) | {"verdict": figure.verdict}
            for outcome in outcomes.values()
            for figure in outcome.figures
        ],
        "notes": {name: outcome.notes for name, outcome in outcomes.items()},
        "details": {name: outcome.details for name, outcome in outcomes.items()},
        "failed": dict(failed),
    }


def show(outcomes: Mapping[str, Outcome], failed: Mapping[str, str], effort: Effort) -> None:
    """Print what was measured to the standard output.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
        By the name of the row.
    failed : mapping of str to str
        Type of the error, by the name of a row that could not be measured.
    effort : Effort
        How much was done.
    """
    if effort.divisor > 1:
        print(f"number of rows divided by {effort.divisor}: a trial run, not the figures\n")
    print(table([figure for outcome in outcomes.values() for figure in outcome.figures]))
    for name, outcome in outcomes.items():
        print(f"\n{name}")
        for note in outcome.notes:
            print(f"  {note}")
    for name, error in failed.items():
        print(f"\n{name}: not measured ({error})")


def listing(rows: Rows) -> str:
    """Names of the rows and what they measure, as text."""
    width = max(map(len, rows))
    lines = []
    for name, function in rows.items():
        summary = (function.__doc__ or "").splitlines()[0]
        lines.append(f"{name:<{width}}  {summary}")
    return "\n".join(lines)


def parse(argv: Sequence[str] | None, rows: Rows, output: str) -> argparse.Namespace:
    """Read the command line.

    Parameters
    ----------
    argv : sequence of str or None
        The arguments; by default those of the process.
    rows : mapping of str to callable
        The rows that can be named.
    output : str
        Name of the JSON file by default, less its ending.

    Returns
    -------
    argparse.Namespace
        Their values.
    """

    def row(text: str) -> str:
        if text not in rows:
            known = ", ".join(rows)
            raise argparse.ArgumentTypeError(f"no row is named {text!r}: they are {known}")
        return text

    parser = argparse.ArgumentParser(description="Measure the figures that fastclust publishes.")
    add = parser.add_argument
    add("rows", nargs="*", type=row, metavar="ROW", help="rows to measure (default: all)")
    add("--quick", action="store_true", help="a trial run: a twentieth of the rows, one repeat")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"JSON file to write (default: {output}.json, with --quick {output}-quick.json)",
    )
    add("--list", action="store_true", help="list the rows and exit")
    args = parser.parse_args(argv)
    if args.output is None:
        args.output = Path(f"{output}-quick.json" if args.quick else f"{output}.json")
    return args


def main(argv: Sequence[str] | None = None, *, rows: Rows = ROWS, output: str = "results") -> int:
    """Run the script.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.
    rows : mapping of str to callable
        What can be measured.
    output : str
        Name of the JSON file by default, less its ending.

    Returns
    -------
    int
        Exit status: 0, 1 if a row could not be measured, 130 if interrupted.
    """
    args = parse(argv, rows, output)
    if args.list:
        print(listing(rows))
        return 0
    effort = QUICK if args.quick else FULL
    chosen = [name for name in rows if name in args.rows] or list(rows)
    return measure(Session(effort, chosen), args.output, rows)


def measure(session: Session, output: Path, rows: Rows | None = None) -> int:
    """Measure the rows of a session, show them and write them to a file.

    Parameters
    ----------
    session : Session
        What to measure.
    output : Path
        The file; it is written anew after every row, so that an interruption loses only one.
    rows : mapping of str to callable, optional
        How each row is measured; `ROWS` by default.

    Returns
    -------
    int
        Exit status: 0, 1 if a row could not be measured, 130 if interrupted.
    """
    rows = ROWS if rows is None else rows
    outcomes: dict[str, Outcome] = {}
    failed: dict[str, str] = {}
    interrupted = False
    for i, name in enumerate(session.rows, start=1):
        say(f"[{i}/{len(session.rows)}] {name}")
        try:
            outcomes[name] = rows[name](session)
        except KeyboardInterrupt:
            interrupted = True
            break
        except Exception as error:
            # One row's peer or platform must not cost the others' hours.
            traceback.print_exc()
            failed[name] = type(error).__name__
        text = json.dumps(document(outcomes, session.effort, failed), indent=2, ensure_ascii=False)
        output.write_text(text + "\n", encoding="utf-8")
    show(outcomes, failed, session.effort)
    if interrupted:
        return 130
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
