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

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import sklearn.cluster

# A script finds only its own folder.  The checkout comes last, behind the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
from benchmarks.measuring import command
from benchmarks.measuring.cells import Cell
from benchmarks.measuring.command import Rows, Session
from benchmarks.measuring.figures import OURS, THEIRS, Figure, Outcome, say, shape, summary
from benchmarks.measuring.turns import Effort, measured, race, total
from fastclust.commands.calls import Iterations
from fastclust.commands.measuring import Seconds, Side, Timed
from fastclust.kernels.machine.parallel import team
from fastclust.kernels.machine.roof import Read, Spin
from fastclust.workloads import FloatArray, gaussian_blobs, get

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


# --- Kernels against the machine -------------------------------------------------------------


def assignment(session: Session) -> Outcome:
    """Multiply-adds per second of an assignment pass, as a share of what the cores can do."""
    effort = session.effort
    n_clusters = 1000
    X = gaussian_blobs(max(n_clusters, effort.reduced(100_000)), 128, n_clusters, "float32")
    with team() as threads:
        iterations = Iterations(X, n_clusters, threads)
        roof = Spin(X.dtype, effort.reduced(200_000), threads)
        # The warm-up settles the labels: later passes find the same ones, and store nothing.
        sides = {"assignment": Timed(iterations.assign), "peak": Timed(roof)}
        seconds = measured("assignment", sides, effort)
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
            iterations.restart(0)
            steps.append([Timed(iterations.step)() for _ in range(EARLY)])
            return sum(steps[-1])

        seconds = measured("iteration", {"iterations": early, "read": Timed(read)}, effort)
        for _ in range(LATE - EARLY):
            iterations.step()
        late = statistics.median(Timed(iterations.step)() for _ in range(EARLY))
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


def fit(session: Session) -> Outcome:
    """Whole fits from k-means++ against scikit-learn's, on the nine workloads."""
    ratios = {cell.name: cell.ratio(THEIRS) for cell in session.cells}
    against = "fit against scikit-learn"
    return Outcome(
        summary("fit", ratios, against, target=10, at_least=8, each=3),
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
        summary("peers", ratios, against, target=None, at_least=2, each=1),
        notes,
        {
            "fastest": {cell.name: cell.fastest for cell in session.cells},
            "cells": [cell.document() for cell in session.cells],
        },
    )


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

        runs = race(f"seeding {name}, k={k}", work, effort)
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
    figures = summary("seeding", ratios, against, target=15, at_least=10, each=5)
    return Outcome(figures, notes, {"cells": details})


def small(session: Session) -> Outcome:
    """A fit with ten starts to small data against scikit-learn's, which is all overhead."""
    effort = session.effort
    n_clusters = 5
    X = gaussian_blobs(effort.reduced(2_000), 2, n_clusters, "float64")

    def work(module: Any, seed: int) -> None:
        module.KMeans(n_clusters, n_init=10, random_state=seed).fit(X)

    runs = race("small", work, effort)
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
                return Timed(lambda: run_program(OURS, empty))()

        def warm(name: str) -> Side:
            return Timed(lambda: until_fit[name].append(run_program(name, folder)))

        run_program(THEIRS, folder)  # its files are in the page cache from here on
        turns = {"cold": effort.cold, "warm": effort.warm}
        sides = {"cold": cold, "warm": warm(OURS)}
        seconds: dict[str, Seconds] = {}
        for state, side in sides.items():
            # Started so often and no more: a process takes too long to fill the time with them.
            times = Effort(repeats=turns[state], fill=0.0)
            seconds[state] = measured(
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


ROWS: Rows = {
    function.__name__: function
    for function in (assignment, iteration, fit, peers, seeding, small, memory, start)
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; see :func:`.measuring.command.main`."""
    return command.main(argv, rows=ROWS, output="results")


if __name__ == "__main__":
    sys.exit(main())
