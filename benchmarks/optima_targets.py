"""Measures better clusters, searches for their number and scores at scale.

::

    python benchmarks/optima_targets.py [ROW ...] [--quick] [--output FILE] [--list]

It measures as ``targets.py`` does.  ``OPTIMA=FOLDER`` in the environment names a folder of files
``NAME.csv``, rows of numbers, which `refine` then takes in place of its own problems; a file
``NAME.k`` beside each holds the number of clusters and the best inertia that is known.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture

# A script finds only its own folder.  The checkout comes last, behind the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
from benchmarks import targets
from benchmarks.targets import OURS, THEIRS, Effort, Figure, Outcome, Session, in_turn, timed
from fastclust.workloads import five_blobs, gaussian_blobs


def problems(effort: Effort) -> dict[str, tuple[Any, int, float | None]]:
    """Rows, number of clusters and the best inertia that is known, by name."""
    folder = os.environ.get("OPTIMA")
    if folder:
        found = {}
        for path in sorted(Path(folder).glob("*.csv")):
            k, best = path.with_suffix(".k").read_text(encoding="utf-8").split()
            found[path.stem] = (np.loadtxt(path, delimiter=","), int(k), float(best))
        return found
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), -1).reshape(-1, 2)
    grid = np.repeat(grid, effort.reduced(20_000) // 100 + 1, axis=0)
    return {
        "grid of 100 blobs": (grid + 0.12 * rng.normal(size=grid.shape), 100, None),
        "10,000×15, k=50": (gaussian_blobs(effort.reduced(10_000), 15, 60, "float64"), 50, None),
        "10,000×8, k=100, float32": (
            gaussian_blobs(effort.reduced(10_000), 8, 130, "float32"),
            100,
            None,
        ),
    }


def refine(session: Session) -> Outcome:
    """KMeans(refine=5) and 20 against scikit-learn's n_init=10: inertia, and CPU seconds."""
    engines: dict[str, Callable[[int, int], Any]] = {
        THEIRS: lambda k, seed: sklearn.cluster.KMeans(k, n_init=10, random_state=seed),
        "refine=5": lambda k, seed: fastclust.KMeans(k, refine=5, random_state=seed),
        "refine=20": lambda k, seed: fastclust.KMeans(k, refine=20, random_state=seed),
    }
    seeds = range(2 if session.effort.repeats == 1 else 5)
    details: dict[str, Any] = {}
    for name, (X, k, known) in problems(session.effort).items():
        fastclust.KMeans(k, refine=1, max_iter=2, random_state=0).fit(X)
        cell: dict[str, Any] = {}
        for engine, make in engines.items():
            inertias, seconds = [], []
            for seed in seeds:
                time.sleep(0.05)
                begun = time.process_time()
                inertias.append(float(make(k, seed).fit(X).inertia_))
                seconds.append(time.process_time() - begun)
            cell[engine] = {"inertia": inertias, "cpu_seconds": seconds}
        best = min(min(side["inertia"]) for side in cell.values())
        cell["best"] = best if known is None else known
        details[name] = cell
        targets.say(f"  {name}")
    figures = []
    for m, gap, least_gap, cpu, least_cpu in ((5, 0.5, 0.6, 30, 15), (20, 0.1, 0.2, 10, 6)):
        side = f"refine={m}"
        gaps = [100 * (np.mean(c[side]["inertia"]) / c["best"] - 1) for c in details.values()]
        ratios = [
            sum(c[THEIRS]["cpu_seconds"]) / sum(c[side]["cpu_seconds"]) for c in details.values()
        ]
        better = [
            np.mean(c[side]["inertia"]) <= np.mean(c[THEIRS]["inertia"]) for c in details.values()
        ]
        what = f"{side}: mean gap to the best known"
        figures.append(Figure("refine", what, float(np.mean(gaps)), "%", gap, least_gap, True))
        what = f"{side}: CPU time of scikit-learn's n_init=10 over it, geometric mean"
        ratio = statistics.geometric_mean(ratios)
        figures.append(Figure("refine", what, ratio, "×", cpu, least_cpu))
        what = f"{side}: problems where it is no worse than that"
        figures.append(Figure("refine", what, 100 * float(np.mean(better)), "%", 100, 100))
    return Outcome(figures, [], details)


def blobs(session: Session) -> Outcome:
    """Five blobs, k=5, refine=5: seeds that reach the best inertia of all."""
    X, n = five_blobs(), 20 if session.effort.repeats == 1 else 100
    found = [fastclust.KMeans(5, refine=5, random_state=s).fit(X).inertia_ for s in range(n)]
    share = 100 * float(np.mean(np.array(found) < min(found) * (1 + 1e-4)))
    return Outcome([Figure("blobs", "seeds that reach the best", share, "%", 100, 100)])


def search(session: Session) -> Outcome:
    """k=2…30 on 100,000×16 by inertia, gap and simplified silhouette, against three fits."""
    X = gaussian_blobs(session.effort.reduced(100_000), 16, 12, "float64")
    options: dict[str, Any] = {"reference_rows": min(2_000, len(X)), "shared_seeds": True}
    criteria = ("inertia", "gap", "simplified_silhouette")

    def ours() -> None:
        model = fastclust.KMeans(random_state=0)
        fastclust.ClusterSearch(model, range(2, 31), criterion=criteria, **options).fit(X)

    def theirs() -> None:
        for k in (10, 20, 30):
            sklearn.cluster.KMeans(k, random_state=0).fit(X)

    runs = in_turn("search", {OURS: timed(ours), THEIRS: timed(theirs)}, session.effort)
    ratio = statistics.median(runs[OURS]) / statistics.median(runs[THEIRS]) * 3
    what = "time of the search, in fits of scikit-learn's (mean of k=10, 20, 30)"
    notes = ["gap with references of 2,000 rows, and shared_seeds=True"]
    return Outcome([Figure("search", what, ratio, "fits", 3, 6, True)], notes, {"seconds": runs})


def silhouettes(session: Session) -> Outcome:
    """Exact silhouettes for k=2…9 on 20,000×16."""
    X = gaussian_blobs(session.effort.reduced(20_000), 16, 6, "float64")
    labels = [fastclust.KMeans(k, random_state=0).fit(X).labels_ for k in range(2, 10)]

    def theirs() -> None:
        for one in labels:
            sklearn.metrics.silhouette_score(X, one)

    ours = partial(fastclust.silhouette.mean_silhouettes, X, labels)
    runs = in_turn("silhouettes", {OURS: timed(ours), THEIRS: timed(theirs)}, session.effort)
    ratio = statistics.median(runs[THEIRS]) / statistics.median(runs[OURS])
    what = "silhouettes for k=2…9 on 20,000×16"
    return Outcome([Figure("silhouettes", what, ratio, "×", 25, 12)], [], {"seconds": runs})


def bic(session: Session) -> Outcome:
    """BIC over k=1…10, four types, n_init=10, on 1,250 points of three ellipsoids."""
    rng = np.random.default_rng(42)
    turned = rng.normal(size=(1000, 2)) @ np.array([[0.374, 0.95], [0.732, 0.598]])
    turned[:500] += [4, -4]
    X = np.concatenate([turned, rng.normal((6, -8), size=(250, 2))])
    types = ("full", "tied", "diag", "spherical")
    top = 4 if session.effort.repeats == 1 else 11

    def ours() -> None:
        model = fastclust.GaussianMixture(random_state=0, n_init=10)
        options: dict[str, Any] = {"criterion": "bic", "covariance_types": types}
        fastclust.ClusterSearch(model, range(1, top), **options).fit(X)

    def theirs() -> None:
        for kind in types:
            for k in range(1, top):
                model = sklearn.mixture.GaussianMixture(
                    k, covariance_type=kind, n_init=10, random_state=0
                )
                model.fit(X).bic(X)

    runs = in_turn("bic", {OURS: timed(ours), THEIRS: timed(theirs)}, session.effort)
    ratio = statistics.median(runs[THEIRS]) / statistics.median(runs[OURS])
    figure = Figure("bic", "BIC over k=1…10 × 4 types × n_init=10", ratio, "×", 60, 40)
    return Outcome([figure], [], {"seconds": runs})


ROWS: Mapping[str, Callable[[Session], Outcome]] = {
    function.__name__: function for function in (refine, blobs, search, silhouettes, bic)
}


if __name__ == "__main__":
    sys.exit(targets.main(rows=ROWS, output="optima"))
