"""Measures better clusters, searches for their number and scores at scale.

::

    python benchmarks/optima_targets.py [ROW ...] [--problems FOLDER] [--quick] [--output FILE]

It measures as ``targets.py`` does.  Rows that the JSON file has from before are kept, so that they
can be measured one at a time.

`refine` asks for public problems, which are not shipped: ``--problems`` names a folder that has the
files ``Birch1.csv``, ``gmd5x5.csv``, ``Cloud.zip`` and ``pendigit.txt`` of Fritzke's paper (arXiv
2006.15666).  Without it, that row is left out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture
from sklearn.datasets import load_digits, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline

# A script finds only its own folder.  The checkout comes last, behind the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
from benchmarks.measuring import command
from benchmarks.measuring.command import Session
from benchmarks.measuring.figures import OURS, THEIRS, Figure, Outcome, say
from benchmarks.measuring.turns import FULL, PAUSE, QUICK, measured
from fastclust.commands.measuring import Timed
from fastclust.workloads import FloatArray, five_blobs, gaussian_blobs

# File, number of clusters, and the least inertia that is known, of the public problems.
PUBLIC = {
    "Birch1": ("Birch1.csv", 100, 9.27730e13),
    "gmd5x5": ("gmd5x5.csv", 50, 6.14747),
    "Cloud": ("Cloud.zip", 100, 576_182.0),
    "pendigits": ("pendigit.txt", 50, 2.10818e7),
}
FIVE_BLOBS = 211.5985  # the least inertia of `five_blobs` in 5 clusters
BREATHS = (5, 20)  # what `refine` is, apart from 0
# Gap, ratio of CPU seconds: what is aimed at and what is the least that will do.
WANTED = {5: ((0.5, 0.6), (30, 15)), 20: ((0.1, 0.2), (10, 6))}
GRID = (26, 50, 74)  # of the 98 numbers of clusters of the grid search, which take half an hour


class Problem(NamedTuple):
    """Rows, what to look for in them, and the least inertia that is known."""

    X: Any
    n_clusters: int
    weights: Any = None
    known: float | None = None


def public_problems(folder: Path) -> Iterator[tuple[str, Problem]]:
    """Those of :data:`PUBLIC`, from the folder that has their files."""
    for name, (file, k, known) in PUBLIC.items():
        path = folder / file
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as packed:
                lines = packed.read(f"{path.stem}.csv").decode().splitlines()
        else:
            lines = path.read_text(encoding="utf-8").splitlines()
        separator = "," if "," in lines[0] else None
        # One of the files begins with the shape of the table.
        shaped = len(lines[0].split(separator)) != len(lines[1].split(separator))
        X = np.loadtxt(lines, delimiter=separator, skiprows=int(shaped))
        yield name, Problem(X, k, known=known)


def further_problems(session: Session) -> Iterator[tuple[str, Problem]]:
    """Other kinds of rows: with weights, with outliers, with many features, in float32."""
    rng = np.random.default_rng(0)
    n = session.effort.reduced(10_000)
    grid = np.stack(np.meshgrid(np.arange(10.0), np.arange(10.0)), -1).reshape(-1, 2)
    grid = np.repeat(grid, -(-n // 100), axis=0)
    X = grid + 0.15 * rng.normal(size=grid.shape)
    k = min(100, n // 4)
    yield "grid of blobs, weights", Problem(X, k, rng.exponential(size=len(X)))
    outlying = gaussian_blobs(n, 58, 40, "float64")
    few = rng.choice(n, n // 50, replace=False)
    outlying[few] *= rng.lognormal(1, 0.7, size=(len(few), 58))
    yield "58 features, outliers", Problem(outlying, min(50, n // 4))
    yield "15 features", Problem(gaussian_blobs(n, 15, 60, "float64"), min(50, n // 4))
    yield "8 features, float32", Problem(gaussian_blobs(n, 8, 130, "float32"), k)


def engines(seed: int, k: int) -> dict[str, Any]:
    """Estimators for one problem."""
    theirs = sklearn.cluster.KMeans(k, n_init=10, random_state=seed)
    ours = {m: fastclust.KMeans(k, refine=m, random_state=seed) for m in BREATHS}
    return {THEIRS: theirs, **{f"refine={m}": model for m, model in ours.items()}}


def compared(session: Session, problems: Iterator[tuple[str, Problem]]) -> dict[str, Any]:
    """Inertias and CPU seconds of all engines on each problem, in turn, a fit for each seed."""
    details: dict[str, Any] = {}
    for name, (X, k, weights, known) in problems:
        fastclust.KMeans(k, refine=1, max_iter=2, random_state=0).fit(X, sample_weight=weights)
        cell: dict[str, Any] = {side: {"inertia": [], "cpu_seconds": []} for side in engines(0, k)}
        for seed in range(2 if session.effort.repeats == 1 else 5):
            for side, model in engines(seed, k).items():
                time.sleep(PAUSE)
                begun = time.process_time()
                model.fit(X, sample_weight=weights)
                cell[side]["cpu_seconds"].append(time.process_time() - begun)
                cell[side]["inertia"].append(float(model.inertia_))
        cell["best"] = known or min(min(side["inertia"]) for side in cell.values())
        details[name] = cell
        say(f"  {name}")
    return details


def mean_gap(cell: Any, side: str) -> float:
    """Per cent by which the mean inertia of an engine is above the best that is known."""
    return 100 * (float(np.mean(cell[side]["inertia"])) / cell["best"] - 1)


def figures_of(row: str, details: Mapping[str, Any], known: bool) -> list[Figure]:
    """What the cells of a row say; gaps and times have bounds where the best is `known`."""
    figures = []
    for m in BREATHS:
        side = f"refine={m}"
        gaps = [mean_gap(cell, side) for cell in details.values()]
        ratios = [
            sum(cell[THEIRS]["cpu_seconds"]) / sum(cell[side]["cpu_seconds"])
            for cell in details.values()
        ]
        better = [gap <= mean_gap(c, THEIRS) for gap, c in zip(gaps, details.values(), strict=True)]
        gap, cpu = WANTED[m] if known else ((None, None), (None, None))
        what = f"{side}: mean gap to the best known"
        figures.append(Figure(row, what, float(np.mean(gaps)), "%", *gap, True))
        what = f"{side}: CPU time of scikit-learn's n_init=10 over it, geometric mean"
        figures.append(Figure(row, what, statistics.geometric_mean(ratios), "×", *cpu))
        what = f"{side}: problems where it is no worse than n_init=10"
        figures.append(Figure(row, what, 100 * float(np.mean(better)), "%", 100, 100))
    return figures


def notes_of(details: Mapping[str, Any]) -> list[str]:
    """A line for each problem: gaps and CPU seconds of the engines."""
    return [
        f"{name}: "
        + ", ".join(
            f"{side} {mean_gap(cell, side):.2f} %, "
            f"{statistics.median(cell[side]['cpu_seconds']):.2f} s"
            for side in engines(0, 2)
        )
        for name, cell in details.items()
    ]


def refine(session: Session, folder: Path) -> Outcome:
    """KMeans(refine=5) and 20 on public problems, against scikit-learn's n_init=10."""
    details = compared(session, public_problems(folder))
    return Outcome(figures_of("refine", details, True), notes_of(details), details)


def kinds(session: Session) -> Outcome:
    """The same with weights, with outliers, with more features and in float32."""
    details = compared(session, further_problems(session))
    return Outcome(figures_of("kinds", details, False), notes_of(details), details)


def blobs(session: Session) -> Outcome:
    """Five blobs, k=5, refine=5: seeds that reach the least inertia."""
    X, n = five_blobs(), 20 if session.effort.repeats == 1 else 100
    found = [fastclust.KMeans(5, refine=5, random_state=s).fit(X).inertia_ for s in range(n)]
    reached = float(np.sum(np.array(found) < FIVE_BLOBS + 1e-4))
    what = f"five blobs: seeds of {n} that reach {FIVE_BLOBS}"
    return Outcome([Figure("blobs", what, reached, "seeds", n, n)], [], {"inertia": found})


def search(session: Session) -> Outcome:
    """k=2…30 on 100,000×16 by inertia, gap and simplified silhouette, against three fits."""
    X = gaussian_blobs(session.effort.reduced(100_000), 16, 12, "float64")
    criterion = ("inertia", "gap", "simplified_silhouette")
    size = min(2_000, len(X))

    def ours(starts: str) -> None:
        fastclust.ClusterSearch(
            fastclust.KMeans(random_state=0),
            range(2, 31),
            criterion=criterion,
            reference_rows=size,
            starts=starts,
        ).fit(X)

    def theirs() -> None:
        for k in (10, 20, 30):
            sklearn.cluster.KMeans(k, random_state=0).fit(X)

    sides = {OURS: Timed(partial(ours, "warm")), THEIRS: Timed(theirs)}
    runs = measured("search", sides, session.effort)
    alone = Timed(partial(ours, "own"))()
    fits = [statistics.median(runs[OURS]), alone]
    one = statistics.median(runs[THEIRS]) / 3
    what = "search of 29 numbers by 3 criteria, in fits of scikit-learn's (mean of k=10, 20, 30)"
    figure = Figure("search", what, fits[0] / one, "fits", 3, 6, True)
    note = f"starts='warm', gap by 10 references of {size} rows; starts='own': {alone / one:.1f}"
    return Outcome([figure], [note], {"seconds": runs, "own": alone})


def silhouettes(session: Session) -> Outcome:
    """Exact silhouettes for k=2…9 on 20,000×16."""
    X = gaussian_blobs(session.effort.reduced(20_000), 16, 6, "float64")
    labels = [fastclust.KMeans(k, random_state=0).fit(X).labels_ for k in range(2, 10)]

    def theirs() -> None:
        for one in labels:
            sklearn.metrics.silhouette_score(X, one)

    ours = partial(fastclust.silhouette.mean_silhouettes, X, labels)
    runs = measured("silhouettes", {OURS: Timed(ours), THEIRS: Timed(theirs)}, session.effort)
    ratio = statistics.median(runs[THEIRS]) / statistics.median(runs[OURS])
    what = "silhouettes for k=2…9 on 20,000×16"
    return Outcome([Figure("silhouettes", what, ratio, "×", 25, 12)], [], {"seconds": runs})


def ellipsoids() -> FloatArray:
    """A textbook's 1,250 points of three ellipsoids (Géron, chapter 9)."""
    pair, _ = make_blobs(1000, centers=((4, -4), (0, 0)), random_state=42)
    one, _ = make_blobs(250, centers=1, random_state=42)
    turned = pair @ np.array([[0.374, 0.95], [0.732, 0.598]])
    return np.concatenate([turned, one + np.array([6, -8])])


def bic(session: Session) -> Outcome:
    """BIC over k=1…10, four types, n_init=10, on 1,250 points of three ellipsoids."""
    X = ellipsoids()
    types = ("full", "tied", "diag", "spherical")
    sizes = range(1, 3 if session.effort.repeats == 1 else 11)

    def ours() -> None:
        model = fastclust.GaussianMixture(random_state=42, n_init=10)
        fastclust.ClusterSearch(model, sizes, criterion="bic", covariance_types=types).fit(X)

    def theirs() -> None:
        for kind in types:
            for k in sizes:
                sklearn.mixture.GaussianMixture(
                    k, covariance_type=kind, n_init=10, random_state=42
                ).fit(X).bic(X)

    ours()
    sides = {OURS: Timed(ours), THEIRS: Timed(theirs)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        runs = measured("bic", sides, session.effort, warm_up=False)
    ratio = statistics.median(runs[THEIRS]) / statistics.median(runs[OURS])
    figure = Figure("bic", "BIC over k=1…10 × 4 types × n_init=10", ratio, "×", 60, 40)
    return Outcome([figure], [], {"seconds": runs})


def grid(session: Session) -> Outcome:
    """A grid search over the k of a pipeline on digits, whole, with the names replaced."""
    X, y = load_digits(return_X_y=True)
    X, _, y, _ = train_test_split(X, y, random_state=42)
    sizes = [2, 3] if session.effort.repeats == 1 else list(GRID)
    most = 20 if session.effort.repeats == 1 else 5000
    scores: dict[str, list[float]] = {}
    steps: dict[str, float] = {}

    def whole(side: str, kind: Any) -> None:
        classifier = LogisticRegression(max_iter=most, random_state=42)
        steps_ = [("kmeans", kind(n_init=10, random_state=42)), ("log_reg", classifier)]
        found = GridSearchCV(Pipeline(steps_), {"kmeans__n_clusters": sizes}, cv=3).fit(X, y)
        scores[side] = found.cv_results_["mean_test_score"].tolist()

    def clustering(kind: Any) -> None:
        for k in sizes:
            kind(k, n_init=10, random_state=42).fit(X)

    classes = {OURS: fastclust.KMeans, THEIRS: sklearn.cluster.KMeans}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for side, kind in classes.items():
            clustering(kind)
            steps[side] = Timed(partial(clustering, kind))() / len(sizes)
        sides = {side: Timed(partial(whole, side, kind)) for side, kind in classes.items()}
        runs = measured("grid", sides, session.effort, warm_up=False)
    ratio = statistics.median(runs[THEIRS]) / statistics.median(runs[OURS])
    n_fits = 3 * len(sizes)
    figures = [Figure("grid", f"grid search, {n_fits} of 294 fits, whole", ratio, "×", 4, 3)]
    alone = steps[THEIRS] / steps[OURS]
    figures.append(Figure("grid", "the fits of k-means in it, n_init=10, alone", alone, "×"))
    note = f"k-means is {100 * 3 * len(sizes) * steps[THEIRS] / runs[THEIRS][0]:.0f} % of the time"
    return Outcome(figures, [note], {"seconds": runs, "kmeans_seconds": steps, "scores": scores})


ROWS: Mapping[str, Callable[[Session], Outcome]] = {
    function.__name__: function for function in (kinds, blobs, search, silhouettes, bic, grid)
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; the exit status is as that of ``command.main``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--problems", type=Path, metavar="FOLDER")
    own, others = parser.parse_known_args(argv)
    rows = dict(ROWS)
    if own.problems is not None:
        rows = {"refine": partial(refine, folder=own.problems), **rows}
        rows["refine"].__doc__ = refine.__doc__
    args = command.parse(others, rows, "optima")
    if args.list:
        print(command.listing(rows))
        return 0
    chosen = [name for name in rows if name in args.rows] or list(rows)
    session = Session(QUICK if args.quick else FULL, chosen)
    return command.measure_again(session, args.output, rows, ["refine", *ROWS])


if __name__ == "__main__":
    sys.exit(main())
