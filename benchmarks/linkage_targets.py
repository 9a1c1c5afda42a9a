"""Measures what trees of clusters promise, and says which figures meet their target.

::

    python benchmarks/linkage_targets.py [ROW ...] [--quick] [--output FILE] [--list]

It measures as ``targets.py`` does: sides in turn, A B A B, in one process.  Sides are scikit-learn,
SciPy and, where it is installed, fastcluster.  What another side takes more than ten seconds for is
run once.  Rows that the JSON file has from before are kept, so that they can be measured one at a
time.
"""

from __future__ import annotations

import contextlib
import importlib
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.cluster.hierarchy
import sklearn.cluster

# A script finds only its own folder.  The checkout comes last, behind the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
from benchmarks.measuring import command
from benchmarks.measuring.command import Session
from benchmarks.measuring.figures import OURS, THEIRS, Figure, Outcome
from benchmarks.measuring.turns import FULL, QUICK, measured
from fastclust.commands.measuring import Timed
from fastclust.workloads import FloatArray, gaussian_blobs

N_CLUSTERS = 20
MEMORY_ROWS = 100_000


def _sides(X: FloatArray, linkage: str, found: dict[str, Any]) -> dict[str, Any]:
    """What builds the tree, by name; trees are put into `found`."""

    def by(module: Any) -> FloatArray:
        tree: FloatArray = module.linkage_tree(X, linkage=linkage, return_distance=True)[-1]
        return tree

    def ward(module: Any) -> FloatArray:
        tree: FloatArray = module.ward_tree(X, return_distance=True)[-1]
        return tree

    def scipys() -> FloatArray:
        tree: FloatArray = scipy.cluster.hierarchy.linkage(X, linkage)[:, 2]
        return tree

    def fastclusters(module: Any) -> FloatArray:
        # Without the distances of all pairs where it can.
        whole = module.linkage_vector if linkage == "single" else module.linkage
        tree: FloatArray = whole(X, linkage)[:, 2]
        return tree

    build = ward if linkage == "ward" else by
    trees: dict[str, Callable[[], FloatArray]] = {
        OURS: partial(build, fastclust),
        THEIRS: partial(build, sklearn.cluster),
    }
    if linkage != "single":  # for which it needs the distances of all pairs, 10 GB
        trees["SciPy"] = scipys
    with contextlib.suppress(ImportError):
        trees["fastcluster"] = partial(fastclusters, importlib.import_module("fastcluster"))

    def run(name: str) -> None:
        found[name] = trees[name]()

    return {name: Timed(partial(run, name)) for name in trees}


def _compared(
    session: Session, linkage: str, n: int, d: int, target: float, at_least: float
) -> Outcome:
    X = gaussian_blobs(session.effort.reduced(n), d, N_CLUSTERS, "float64")
    found: dict[str, Any] = {}
    # One run of ours beforehand compiles; a run of the others to warm up would take minutes.
    sides = _sides(X, linkage, found)
    fastclust.AgglomerativeClustering(linkage=linkage).fit(X[:1_000])
    label = f"{linkage} {len(X):,}×{d}"
    seconds = measured(label, sides, session.effort, warm_up=False)
    medians = {name: statistics.median(of) for name, of in seconds.items()}
    fastest = min((name for name in medians if name != OURS), key=lambda name: medians[name])
    ratio = medians[fastest] / medians[OURS]
    error = max(
        float(np.max(np.abs(found[name] - found[OURS]) / np.max(found[OURS]))) for name in found
    )
    figures = [
        Figure(
            linkage, f"{label}, against the fastest other: {fastest}", ratio, "×", target, at_least
        ),
        Figure(
            linkage,
            f"{label}, largest difference of heights",
            error,
            "of the root's",
            1e-9,
            1e-6,
            True,
        ),
    ]
    note = ", ".join(f"{name} {of:.3g} s" for name, of in medians.items())
    return Outcome(figures, [f"{label}: {note}"], {"seconds": seconds})


def ward(session: Session) -> Outcome:
    """Ward's linkage of 20,000×16."""
    return _compared(session, "ward", 20_000, 16, 5, 2.5)


def complete(session: Session) -> Outcome:
    """Complete linkage of 10,000×16."""
    return _compared(session, "complete", 10_000, 16, 4, 2)


def average(session: Session) -> Outcome:
    """Average linkage of 10,000×16."""
    return _compared(session, "average", 10_000, 16, 4, 2)


def single(session: Session) -> Outcome:
    """Single linkage of 50,000×3."""
    return _compared(session, "single", 50_000, 3, 20, 8)


def memory(session: Session) -> Outcome:
    """Memory of Ward's linkage of 100,000×16, beside the rows, in a process of its own."""
    program = str(Path(__file__).resolve().with_name("peak_memory.py"))
    n = session.effort.reduced(MEMORY_ROWS)
    arguments = ["fastclust", str(n), "16", str(N_CLUSTERS), "AgglomerativeClustering"]
    done = subprocess.run(
        [sys.executable, program, *arguments], capture_output=True, text=True, check=True
    )
    size = int(done.stdout) / 1e6
    what = f"ward {n:,}×16, memory beside the rows"
    return Outcome([Figure("memory", what, size, "MB", 100, 300, True)])


ROWS: Mapping[str, Callable[[Session], Outcome]] = {
    function.__name__: function for function in (ward, complete, average, single, memory)
}


def main(argv: Any = None) -> int:
    """Run the script; see :func:`benchmarks.measuring.command.main`."""
    args = command.parse(argv, ROWS, "linkage_targets")
    if args.list:
        print(command.listing(ROWS))
        return 0
    chosen = [name for name in ROWS if name in args.rows] or list(ROWS)
    session = Session(QUICK if args.quick else FULL, chosen)
    return command.measure_again(session, args.output, ROWS, list(ROWS))


if __name__ == "__main__":
    sys.exit(main())
