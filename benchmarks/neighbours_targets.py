"""Measures what DBSCAN promises, and says which figures meet their target.

::

    python benchmarks/neighbours_targets.py [ROW ...] [--quick] [--output FILE] [--list]

It measures as ``targets.py`` does: sides in turn, A B A B, in one process.  scikit-learn's DBSCAN
is a side with one job and one with a job for each core; the faster counts.  Rows that the JSON file
has from before are kept, so that they can be measured one at a time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.cluster
from sklearn.datasets import make_blobs, make_moons
from sklearn.metrics.pairwise import pairwise_distances

# A script finds only its own folder.  The checkout comes last, behind the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
from benchmarks.measuring import command
from benchmarks.measuring.command import Session
from benchmarks.measuring.figures import OURS, THEIRS, Figure, Outcome
from benchmarks.measuring.turns import FULL, QUICK, measured
from fastclust.commands.measuring import Timed
from fastclust.workloads import FloatArray

MIN_SAMPLES = 10
PROBLEMS = 200  # random ones, whose labels are compared
MEMORY_ROWS, MEMORY_NEIGHBOURS = 1_000_000, 1_000
# A fit to a few rows comes first, so that neither compiled code nor stacks of threads are counted.
MEMORY_PROGRAM = """
import sys
import numpy as np
sys.path.append(sys.argv[1])
from benchmarks.peak_memory import extra_memory
from fastclust import DBSCAN
X = np.random.default_rng(0).random((int(sys.argv[2]), 2))
model = DBSCAN(float(sys.argv[3]), min_samples=10)
model.fit(X[:10_000].copy())
print(extra_memory(lambda: model.fit(X)))
"""


def _radius(neighbours: float, n: int, d: int) -> float:
    """Of a ball that so many of `n` rows are in, which fill the unit square or cube evenly."""
    ball = {2: np.pi, 3: 4 / 3 * np.pi}[d]
    return float((neighbours / (n * ball)) ** (1 / d))


def _compared(
    session: Session, row: str, X: FloatArray, eps: float, target: float | None, least: float | None
) -> Outcome:
    labels: dict[str, Any] = {}

    def run(name: str, model: Any) -> None:
        labels[name] = model.fit(X).labels_

    jobs = f"{THEIRS}, {os.cpu_count()} jobs"
    options = {"eps": eps, "min_samples": MIN_SAMPLES}
    models = {
        OURS: fastclust.DBSCAN(**options),
        THEIRS: sklearn.cluster.DBSCAN(**options),
        jobs: sklearn.cluster.DBSCAN(**options, n_jobs=-1),
    }
    fastclust.DBSCAN(**options).fit(X)
    sides = {name: Timed(partial(run, name, model)) for name, model in models.items()}
    label = f"{row} {len(X):,}×{X.shape[1]}"
    seconds = measured(label, sides, session.effort, warm_up=False)
    medians = {name: statistics.median(of) for name, of in seconds.items()}
    fastest = min((name for name in medians if name != OURS), key=lambda name: medians[name])
    equal = float(np.mean(labels[OURS] == labels[THEIRS]))
    n_noise = np.count_nonzero(labels[OURS] < 0)
    found = f"{labels[OURS].max() + 1} clusters, {n_noise:,} rows of noise"
    ratio = medians[fastest] / medians[OURS]
    figures = [
        Figure(row, f"{label} ({found}), against {fastest}", ratio, "×", target, least),
        Figure(row, f"{label}, share of rows with scikit-learn's label", equal, "", 1, 1),
    ]
    note = ", ".join(f"{name} {of:.3g} s" for name, of in medians.items())
    return Outcome(figures, [f"{label}: {note}"], {"seconds": seconds})


def planar(session: Session) -> Outcome:
    """200,000×2 with 100 neighbours a row on average."""
    n = session.effort.reduced(200_000)
    X = np.random.default_rng(0).random((n, 2))
    return _compared(session, "planar", X, _radius(100, n, 2), 20, 8)


def spatial(session: Session) -> Outcome:
    """200,000×3 with 100 neighbours a row on average."""
    n = session.effort.reduced(200_000)
    X = np.random.default_rng(0).random((n, 3))
    return _compared(session, "spatial", X, _radius(100, n, 3), 20, 8)


def _blobs(n: int, d: int, n_centers: int) -> FloatArray:
    X: FloatArray = make_blobs(n, d, centers=n_centers, random_state=0)[0]
    return X


def blobs(session: Session) -> Outcome:
    """50,000×16, 20 blobs."""
    return _compared(session, "blobs", _blobs(session.effort.reduced(50_000), 16, 20), 4.0, 10, 4)


def wide(session: Session) -> Outcome:
    """10,000×784, 10 blobs."""
    return _compared(session, "wide", _blobs(session.effort.reduced(10_000), 784, 10), 39.0, 5, 3)


def moons(session: Session) -> Outcome:
    """The two moons of the chapter, 1,000×2."""
    X = make_moons(1_000, noise=0.05, random_state=0)[0]
    return _compared(session, "moons", X, 0.2, 3, 1.5)


def noise(session: Session) -> Outcome:
    """20,000×16 without clusters, of which no box leaves much out: no target."""
    X = np.random.default_rng(0).normal(size=(session.effort.reduced(20_000), 16))
    return _compared(session, "noise", X, 2.2, None, None)


def memory(session: Session) -> Outcome:
    """Memory of 1,000,000×2 with 1,000 neighbours a row, beside the rows, in its own process."""
    n = session.effort.reduced(MEMORY_ROWS)
    root = str(Path(__file__).resolve().parents[1])
    eps = _radius(MEMORY_NEIGHBOURS, n, 2)
    arguments = [sys.executable, "-c", MEMORY_PROGRAM, root, str(n), repr(eps)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    what = f"{n:,}×2, {MEMORY_NEIGHBOURS:,} neighbours a row: memory beside the rows"
    return Outcome([Figure("memory", what, int(done.stdout) / 1e6, "MB", 100, 200, True)])


def labels(session: Session) -> Outcome:
    """Labels of random problems, blobs with noise and grids of whole numbers."""
    count = PROBLEMS if session.effort.divisor == 1 else 10
    same = 0
    for seed in range(count):
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(30, 400)), int(rng.choice([1, 2, 3, 4, 7, 12]))
        if seed % 2:
            X = rng.integers(0, 1 + max(2, round(n ** (1 / d))), size=(n, d)).astype(float)
            eps = float(rng.choice([1.0, 2.0, 3.0]))
        else:
            X = rng.normal(size=(n, d)) + 4 * rng.integers(0, 4, size=(n, 1))
            eps = float(np.quantile(pairwise_distances(X), 0.05)) * (1 + 1e-5) + 1e-3
        options = {"eps": eps, "min_samples": int(rng.integers(2, 8))}
        ours = fastclust.DBSCAN(**options).fit_predict(X)
        same += np.array_equal(ours, sklearn.cluster.DBSCAN(**options).fit_predict(X))
    figure = Figure("labels", f"problems of {count} with equal labels", same, "", count, count)
    return Outcome([figure])


ROWS: Mapping[str, Callable[[Session], Outcome]] = {
    function.__name__: function
    for function in (planar, spatial, blobs, wide, moons, noise, memory, labels)
}


def main(argv: Any = None) -> int:
    """Run the script; see :func:`benchmarks.measuring.command.main`."""
    args = command.parse(argv, ROWS, "neighbours_targets")
    if args.list:
        print(command.listing(ROWS))
        return 0
    chosen = [name for name in ROWS if name in args.rows] or list(ROWS)
    session = Session(QUICK if args.quick else FULL, chosen)
    return command.measure_again(session, args.output, ROWS, list(ROWS))


if __name__ == "__main__":
    sys.exit(main())
