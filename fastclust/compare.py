"""``fastclust compare``: fastclust against scikit-learn on the same data, in speed and in result.

The comparison is meant to be repeated by a reader on their own machine, so it is arranged to be
hard to get wrong: the competitors are timed in turn in one process, after an untimed fit of each
(which also compiles fastclust's kernels); the medians are compared; and the inertia of every
result is computed again from its centers by one function in double precision, so that no
engine's own arithmetic judges it.

Beside ``fastclust`` and scikit-learn, scikit-learn-intelex and faiss take part with ``--peers``.
Any callable can: see `Competitor` and `compare`.

Packages that only some options need, or that are slow to import, are imported where they are
used: ``--help``, ``--list`` and the errors stay quick, and rich and matplotlib are optional.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from fastclust.tables import aligned
from fastclust.workloads import (
    PROFILES,
    FloatArray,
    MissingExtraError,
    Workload,
    get,
    photo,
    workloads,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

STEM = "fastclust-compare"
SEED = 0
WIDTH = 100
# Okabe and Ito's palette, told apart in every common form of colour blindness and in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
# Largest array of distances held at once when an inertia is computed: 32 MiB of float64.
_MAX_DISTANCES = 1 << 22


class Fitted(Protocol):
    """What a fit must return: the three attributes of a fitted scikit-learn ``KMeans``."""

    @property
    def cluster_centers_(self) -> Any: ...

    @property
    def labels_(self) -> Any: ...

    @property
    def n_iter_(self) -> Any: ...


Fit: TypeAlias = Callable[..., Fitted]
# Told of each step as it begins: the workload, what is done, and the share of it already done.
Report: TypeAlias = Callable[[Workload, str, float], None]


@dataclass(frozen=True)
class Competitor:
    """An engine which takes part in a comparison.

    Attributes
    ----------
    name : str
        As shown.
    fit : callable
        ``fit(X, n_clusters, seed)`` does one k-means fit and returns its result.
    dtypes : frozenset of str
        Data types which it clusters; it is left out of the workloads of other ones.
    paced : bool
        Whether it has no stopping rule of its own: it is then called with, in addition, the
        number of iterations of the first competitor, as ``n_iter``.
    note : str
        What a reader must know to judge its figures; shown below the table.
    """

    name: str
    fit: Fit
    dtypes: frozenset[str] = frozenset({"float32", "float64"})
    paced: bool = False
    note: str = ""


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


# --- Competitors -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Clusters:
    cluster_centers_: FloatArray
    labels_: npt.NDArray[np.integer[Any]]
    n_iter_: int


def estimator_fit(module: str) -> Fit:
    """Make the fit of a competitor which has scikit-learn's interface.

    Parameters
    ----------
    module : str
        Name of the module which holds its ``KMeans``.

    Returns
    -------
    callable
        ``fit(X, n_clusters, seed)``: one k-means++ start and Lloyd's iterations.
    """
    estimator = importlib.import_module(module).KMeans

    def fit(X: FloatArray, n_clusters: int, seed: int) -> Fitted:
        model = estimator(n_clusters, init="k-means++", n_init=1, random_state=seed)
        return model.fit(X)

    return fit


def _faiss_fit() -> Fit:
    faiss = importlib.import_module("faiss")

    def fit(X: FloatArray, n_clusters: int, seed: int, n_iter: int) -> Fitted:
        engine = faiss.Kmeans(
            X.shape[1],
            n_clusters,
            niter=n_iter,
            seed=seed,
            # By default faiss trains on 256 points per center and drops the others.
            max_points_per_centroid=10**9,
            min_points_per_centroid=1,
            verbose=False,
        )
        engine.train(X)
        # The others return labels, so it must: one more search.
        labels = engine.index.search(X, 1)[1].ravel()
        return _Clusters(engine.centroids, labels, n_iter)

    return fit


SKLEARNEX_NOTE = "sklearnex: k-means++ with draws of its own, so other clusters and iterations"
FAISS_NOTE = "faiss: as many iterations as fastclust, from random points: no k-means++ in its time"


def competitors(peers: bool = False) -> tuple[list[Competitor], list[str]]:
    """The engines to compare.

    Parameters
    ----------
    peers : bool
        Whether scikit-learn-intelex and faiss take part where they are installed.

    Returns
    -------
    list of Competitor
        fastclust, scikit-learn and then the peers.
    list of str
        One line for each peer which is not installed.
    """
    entrants = [
        Competitor("fastclust", estimator_fit("fastclust")),
        Competitor("scikit-learn", estimator_fit("sklearn.cluster")),
    ]
    missing: list[str] = []
    if peers:
        try:
            fit = estimator_fit("sklearnex.cluster")
            entrants.append(Competitor("sklearnex", fit, note=SKLEARNEX_NOTE))
        except ImportError:
            missing.append("scikit-learn-intelex is not installed and takes no part")
        try:
            fit = _faiss_fit()
            entrants.append(Competitor("faiss", fit, frozenset({"float32"}), True, FAISS_NOTE))
        except ImportError:
            missing.append("faiss is not installed and takes no part")
    return entrants, missing


# --- Measuring -------------------------------------------------------------------------------


def inertia(X: FloatArray, centers: FloatArray) -> float:
    """Sum of squared distances of samples to their nearest center, in double precision.

    Every distance is the sum of the squares of differences: the expanded form, which engines
    use for its speed, loses digits when the data are far from the origin.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.
    centers : ndarray of shape (n_clusters, n_features)
        The centers.

    Returns
    -------
    float
        The sum. At most 32 MiB of distances are held at once.
    """
    from scipy.spatial.distance import cdist

    centers = np.asarray(centers, dtype=np.float64)
    step = max(1, _MAX_DISTANCES // max(centers.shape))
    total = 0.0
    for start in range(0, len(X), step):
        part = X[start : start + step].astype(np.float64)
        total += float(cdist(part, centers, "sqeuclidean").min(axis=1).sum())
    return total


def _silent(workload: Workload, phase: str, share: float) -> None:
    """Report to nobody."""


def measure(
    workload: Workload,
    entrants: Sequence[Competitor],
    repeats: int = 3,
    seed: int = SEED,
    report: Report = _silent,
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
    seconds: dict[str, list[float]] = {entrant.name: [] for entrant in entrants}
    n_fits = (repeats + 1) * len(entrants)
    for i in range(n_fits):
        turn, entrant = i // len(entrants), entrants[i % len(entrants)]
        phase = f"{entrant.name} {turn} of {repeats}" if turn else f"{entrant.name} warm-up"
        report(workload, phase, i / n_fits)
        pace = {"n_iter": int(fitted[entrants[0].name].n_iter_)} if entrant.paced else {}
        start = perf_counter()
        fitted[entrant.name] = entrant.fit(X, workload.n_clusters, seed, **pace)
        elapsed = perf_counter() - start
        if turn:
            seconds[entrant.name].append(elapsed)
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
    report: Report = _silent,
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


# --- Text ------------------------------------------------------------------------------------

# Title of each column, and whether it holds text (aligned left) rather than a number.
COLUMNS = {
    "workload": True,
    "n×d": False,
    "k": False,
    "dtype": True,
    "engine": True,
    "seconds": False,
    "ratio": False,
    "iter": False,
    "inertia": False,
    "rel.diff": False,
    "ARI": False,
}
# Left out on a narrow terminal; the relative difference tells what matters about the inertia.
WIDE_ONLY = frozenset({"dtype", "inertia"})


def _ratio(cell: Cell, name: str, decimals: int, sign: str = "") -> str:
    """A ratio, starred where it compares different work; the blank keeps columns aligned."""
    return f"{cell.ratio(name):.{decimals}f}{sign}{' ' if cell.same_work(name) else '*'}"


def _rows(cell: Cell) -> list[dict[str, str]]:
    """One row of text per competitor; what they share is in the first one only."""
    rows = []
    for name, result in cell.results.items():
        row = dict.fromkeys(COLUMNS, "")
        row["engine"] = name
        row["seconds"] = f"{result.median:.4f}"
        row["ratio"] = "" if name == cell.subject else _ratio(cell, name, 2)
        row["iter"] = str(result.n_iter)
        row["inertia"] = f"{result.inertia:.4e}"
        excess = cell.excess(name)
        row["rel.diff"] = f"{excess:+.0e}" if excess else "0"
        # A bare 1 is an exact one: not a single sample differs.
        row["ARI"] = "1" if result.agreement == 1 else f"{result.agreement:.4f}"
        rows.append(row)
    workload = cell.workload
    rows[0]["workload"] = workload.name
    rows[0]["n×d"] = f"{workload.n_samples}×{workload.n_features}"
    rows[0]["k"] = str(workload.n_clusters)
    rows[0]["dtype"] = workload.dtype
    return rows


def plain_table(cells: Sequence[Cell]) -> str:
    """The results as aligned text.

    Parameters
    ----------
    cells : sequence of Cell
        The results.

    Returns
    -------
    str
        A head, a rule and one line per workload and competitor, within 100 columns.
    """
    return aligned(COLUMNS, [row for cell in cells for row in _rows(cell)])


def rich_table(cells: Sequence[Cell], width: int = WIDTH) -> Table:
    """The results as a table for a terminal.

    Parameters
    ----------
    cells : sequence of Cell
        The results.
    width : int
        Columns of the terminal; below 100, data type and inertia are left out.

    Returns
    -------
    rich.table.Table
        One row per workload and competitor, the ratio green where the subject is the faster one
        and red where it is the slower one.
    """
    from rich import box
    from rich.table import Table

    titles = [title for title in COLUMNS if width >= WIDTH or title not in WIDE_ONLY]
    # One blank between columns: with rich's usual padding the table would need 112.
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for title in titles:
        table.add_column(title, justify="left" if COLUMNS[title] else "right", no_wrap=True)
    for cell in cells:
        for name, row in zip(cell.results, _rows(cell), strict=True):
            if row["ratio"]:
                colour = "green" if cell.ratio(name) >= 1 else "red"
                row["ratio"] = f"[bold {colour}]{row['ratio']}[/]"
            table.add_row(*(row[title] for title in titles))
    return table


def summary(cells: Sequence[Cell]) -> str:
    """The geometric means in one line.

    Parameters
    ----------
    cells : sequence of Cell
        The results, of at least one workload.

    Returns
    -------
    str
        The line.
    """
    means = [
        f"{name} {mean:.2f} ({count}" for name, (mean, count) in geometric_means(cells).items()
    ]
    means[0] += " workloads" if len(cells) > 1 else " workload"
    return f"geometric mean of the ratios: {', '.join(f'{mean})' for mean in means)}"


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


def remarks(cells: Sequence[Cell]) -> list[str]:
    """What a reader must know of the ratios to the reference.

    Parameters
    ----------
    cells : sequence of Cell
        The results, of at least one workload.

    Returns
    -------
    list of str
        Lines which name the workloads where subject and reference did different work, and give
        the geometric mean without them; none if there is no such workload.
    """
    reference = cells[0].peers[0]
    apart = [cell.workload.name for cell in cells if not cell.same_work(reference)]
    if not apart:
        return []
    lines = [
        f"* {cells[0].subject} and {reference} ended in other clusters or after another number of",
        f"  iterations, their ratio compares different work: {', '.join(apart)}",
    ]
    alike = like_for_like(cells)
    if alike is not None:
        lines.append(f"  geometric mean without these: {reference} {alike:.2f}")
    return lines


def show(cells: Sequence[Cell], notes: Sequence[str], fancy: bool) -> None:
    """Print results to the standard output.

    Parameters
    ----------
    cells : sequence of Cell
        The results, of at least one workload.
    notes : sequence of str
        Lines to print below the table.
    fancy : bool
        Whether rich draws the table if the output is a terminal.
    """
    if fancy and sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        console.print(rich_table(cells, console.width))
    else:
        print(plain_table(cells))
    for line in [*notes, summary(cells)]:
        print(line)


def listing() -> str:
    """The table of all workloads as text.

    Returns
    -------
    str
        One line per workload, under the name of its profile.
    """
    lines = []
    for profile, members in PROFILES.items():
        lines.append(f"{profile}:")
        for w in members:
            shape = f"{w.n_samples}×{w.n_features}"
            lines.append(
                f"  {w.name:<16} {shape:>10}  k={w.n_clusters:<5}{w.dtype}  {w.description}"
            )
    return "\n".join(lines)


# --- Progress --------------------------------------------------------------------------------


@contextmanager
def progress(chosen: Sequence[Workload], wanted: bool) -> Iterator[Report]:
    """Show on the standard error how far a comparison is.

    A bar with the workload, the step and the time left if it is a terminal, a line for each
    workload if it is not. The bar is drawn anew when a step begins and never in between: a
    thread which redraws it would take time from the fits that are timed.

    Parameters
    ----------
    chosen : sequence of Workload
        The workloads which will be run.
    wanted : bool
        If false, nothing is shown and rich is not needed.

    Yields
    ------
    callable
        The ``report`` to give to `compare`.
    """
    if not wanted:
        yield _silent
        return
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        yield from _bar(chosen, console)
    else:
        yield _lines(chosen)


def _lines(chosen: Sequence[Workload]) -> Report:
    """Report each workload by a line as it begins."""
    begun: set[str] = set()

    def report(workload: Workload, phase: str, share: float) -> None:
        if workload.name not in begun:
            begun.add(workload.name)
            text = f"[{len(begun)}/{len(chosen)}] {workload.name}"
            print(text, file=sys.stderr, flush=True)

    return report


def _bar(chosen: Sequence[Workload], console: Any) -> Iterator[Report]:
    """Report by a bar whose length is the expected time."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    # An iteration's time is about proportional to this (measured with scikit-learn: finding the
    # least of the distances costs about as much as twelve features). The number of iterations
    # is not known beforehand.
    costs = [w.n_samples * w.n_clusters * (w.n_features + 12) for w in chosen]
    ends = dict(zip((w.name for w in chosen), accumulate(costs), strict=True))
    spans = dict(zip((w.name for w in chosen), costs, strict=True))
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeLeft())
    # A single fit may take longer than the half minute over which rich measures the speed.
    bar = Progress(
        *columns, console=console, transient=True, auto_refresh=False, speed_estimate_period=3600
    )
    with bar:
        task = bar.add_task("", total=sum(costs))

        def report(workload: Workload, phase: str, share: float) -> None:
            done = ends[workload.name] - (1 - share) * spans[workload.name]
            text = f"{workload.name:<15} {phase:<20}"
            bar.update(task, completed=done, description=text, refresh=True)

        yield report


# --- Files -----------------------------------------------------------------------------------


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """What of this machine decides the figures.

    Returns
    -------
    dict
        Processor, cores which this process may use, threads of either kind, operating system.
        Nothing in it tells whose machine it is.
    """
    import joblib
    import numba
    from threadpoolctl import threadpool_info

    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"]
    return {
        "cpu": _cpu_model(),
        "cores": joblib.cpu_count(),
        "numba_threads": numba.get_num_threads(),
        "openmp_threads": max(pools, default=None),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages which take part.

    Returns
    -------
    dict of str to str
        By the name of the package.
    """
    found = {"python": platform.python_version()}
    packages = ("fastclust", "numpy", "numba", "scikit-learn", "scikit-learn-intelex", "faiss-cpu")
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def document(cells: Sequence[Cell], notes: Sequence[str], repeats: int) -> dict[str, Any]:
    """The results as what ``fastclust-compare.json`` holds.

    Parameters
    ----------
    cells : sequence of Cell
        The results, of at least one workload.
    notes : sequence of str
        Remarks on them.
    repeats : int
        Timed fits of each.

    Returns
    -------
    dict
        Of JSON's types only.
    """
    return {
        "format": f"{STEM}/1",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": machine(),
        "fit": {"init": "k-means++", "n_init": 1, "random_state": SEED},
        "repeats": repeats,
        "subject": cells[0].subject,
        "reference": cells[0].peers[0],
        "workloads": [_cell_document(cell) for cell in cells],
        "geometric_means": {name: mean for name, (mean, _) in geometric_means(cells).items()},
        "like_for_like_geometric_mean": like_for_like(cells),
        "notes": list(notes),
    }


def _cell_document(cell: Cell) -> dict[str, Any]:
    workload = cell.workload
    return {
        "name": workload.name,
        "n_samples": workload.n_samples,
        "n_features": workload.n_features,
        "n_clusters": workload.n_clusters,
        "dtype": workload.dtype,
        "results": {
            name: {
                "seconds": list(result.seconds),
                "median_seconds": result.median,
                "n_iter": result.n_iter,
                "inertia": result.inertia,
                "inertia_relative_difference": cell.excess(name),
                "adjusted_rand_index": result.agreement,
            }
            for name, result in cell.results.items()
        },
        "ratios": {name: cell.ratio(name) for name in cell.peers},
        "same_work": {name: cell.same_work(name) for name in cell.peers},
    }


@dataclass(frozen=True)
class Segmentation:
    """A photograph in the colours of its clusters, by two competitors.

    Attributes
    ----------
    images : mapping of str to ndarray of shape (height, width, 3)
        By the competitor's name; each pixel has the colour of its cluster's center.
    n_colours : int
        Number of clusters.
    agreement : float
        Adjusted Rand index between the two.
    """

    images: Mapping[str, npt.NDArray[np.float32]]
    n_colours: int
    agreement: float


def segment(entrants: Sequence[Competitor], n_colours: int = 8, step: int = 2) -> Segmentation:
    """Cluster the colours of a photograph with the first two competitors.

    Parameters
    ----------
    entrants : sequence of Competitor
        The competitors.
    n_colours : int
        Number of clusters.
    step : int
        Every how many pixels one is taken, in height and in width.

    Returns
    -------
    Segmentation
        The two images.
    """
    from sklearn.metrics import adjusted_rand_score

    picture = photo("china.jpg")[::step, ::step]
    X = np.ascontiguousarray(picture.reshape(-1, 3))
    subject, reference = (entrant.fit(X, n_colours, SEED) for entrant in entrants[:2])
    images = {
        entrant.name: np.clip(fitted.cluster_centers_[fitted.labels_], 0, 1).reshape(picture.shape)
        for entrant, fitted in zip(entrants[:2], (subject, reference), strict=True)
    }
    agreement = float(adjusted_rand_score(reference.labels_, subject.labels_))
    return Segmentation(images, n_colours, agreement)


def figure(cells: Sequence[Cell], segmentation: Segmentation) -> Figure:
    """Draw results: the seconds of each workload, and one picture of clusters.

    Parameters
    ----------
    cells : sequence of Cell
        The results, of at least one workload.
    segmentation : Segmentation
        What the lower panels show.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, which belongs to no window and needs no display.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for cell in cells for name in cell.results))
    # Inches: the bars keep their thickness whatever their number.
    bars_height = 1.1 + 0.17 * (len(names) + 0.8) * len(cells)
    images_height = 3.3
    drawing = Figure(figsize=(9, bars_height + images_height), layout="constrained")
    heights = [bars_height, images_height]
    upper, lower = drawing.subfigures(2, squeeze=False, height_ratios=heights).ravel()
    _draw_bars(upper.subplots(), cells, names)

    agreement = segmentation.agreement
    verdict = "the same clusters" if agreement > 0.9995 else "the clusters differ"
    lower.suptitle(
        f"A photograph in {segmentation.n_colours} colours: {verdict} "
        f"(adjusted Rand index {agreement:.3f})",
        fontsize=11,
        fontweight="bold",
    )
    panels = lower.subplots(1, 2)
    for axes, (name, image) in zip(panels, segmentation.images.items(), strict=True):
        axes.imshow(image)
        axes.set_axis_off()
        axes.set_title(name, fontsize=10)
    return drawing


def _draw_bars(axes: Axes, cells: Sequence[Cell], names: Sequence[str]) -> None:
    """One group of bars per workload, each with its seconds and its ratio written at its end."""
    places = np.arange(len(cells)) * (len(names) + 0.8)
    for i, name in enumerate(names):
        # A peer may be missing from some workloads, its place in the group then stays empty.
        drawn = [
            (at + i, cell) for at, cell in zip(places, cells, strict=True) if name in cell.results
        ]
        heights = [at for at, _ in drawn]
        medians = [cell.results[name].median for _, cell in drawn]
        axes.barh(heights, medians, height=0.92, color=COLOURS[i % len(COLOURS)], label=name)
        for (at, cell), median in zip(drawn, medians, strict=True):
            text = axes.annotate(
                _duration(median),
                (median, at),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
            if name != cell.subject:
                axes.annotate(
                    _ratio(cell, name, 1, "×"),
                    (1, 0),
                    xycoords=text,
                    xytext=(7, 0),
                    textcoords="offset points",
                    va="bottom",
                    fontsize=8,
                    fontweight="bold",
                )
    _frame_bars(axes, cells, places + (len(names) - 1) / 2)


def _duration(seconds: float) -> str:
    """A duration with three significant digits, in the unit that reads best."""
    value, unit = (seconds * 1e3, "ms") if seconds < 1 else (seconds, "s")
    decimals = min(max(0, 2 - math.floor(math.log10(value))), 3)
    return f"{value:.{decimals}f} {unit}"


def _tick(seconds: float, position: float) -> str:
    """A power of ten of seconds."""
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"


def _frame_bars(axes: Axes, cells: Sequence[Cell], middles: npt.NDArray[np.floating[Any]]) -> None:
    """Scale, ticks, title and legend of the bars."""
    medians = [result.median for cell in cells for result in cell.results.values()]
    axes.set_xscale("log")
    # Half a decade on the right holds the text of the longest bar.
    axes.set_xlim(min(medians) / 3, max(medians) * 4)
    axes.xaxis.set_major_formatter(_tick)
    label = "median time of a fit (logarithmic)"
    if not all(cell.same_work(name) for cell in cells for name in cell.peers):
        label += "\n* not the same clusters or iterations: the ratio compares different work"
        alike = like_for_like(cells)
        if alike is not None:
            label += f" (geometric mean without these: {alike:.1f}×)"
    axes.set_xlabel(label, fontsize=9)
    labels = [
        f"{w.name}\n{w.n_samples:,}×{w.n_features}, k={w.n_clusters}"
        for w in (cell.workload for cell in cells)
    ]
    axes.set_yticks(middles, labels, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    subject, reference = cells[0].subject, cells[0].peers[0]
    mean, _ = geometric_means(cells)[reference]
    axes.set_title(
        f"k-means: {subject} is {mean:.1f}× as fast as {reference} (geometric mean)",
        fontsize=11,
        fontweight="bold",
        pad=24,
    )
    # Between the title and the bars, where it hides none of them.
    axes.legend(
        frameon=False,
        fontsize=9,
        ncols=4,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        borderaxespad=0.2,
    )


# --- Command ---------------------------------------------------------------------------------


def _workload(text: str) -> Workload:
    try:
        return get(text)
    except ValueError as error:
        # The one type of error whose message argparse shows.
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def _directory(text: str) -> Path:
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a directory, and {text!r} is a file")
    return path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        To which they are added.
    """
    add = parser.add_argument
    add(
        "--profile",
        choices=list(PROFILES),
        default="quick",
        help="workloads to run: quick takes seconds, full minutes (default: quick)",
    )
    add(
        "--only",
        nargs="+",
        type=_workload,
        metavar="NAME",
        help="run these workloads instead, of either profile",
    )
    add("--repeats", type=_count, default=3, metavar="N", help="timed fits of each (default: 3)")
    add(
        "--output",
        type=_directory,
        default=Path(),
        metavar="DIR",
        help=f"where {STEM}.json and {STEM}.png go (default: the current directory)",
    )
    add("--peers", action="store_true", help="also time scikit-learn-intelex and faiss")
    add("--list", action="store_true", help="list the workloads and exit")
    add("--no-figure", action="store_true", help="no figure; matplotlib is not needed")
    add(
        "--no-progress",
        action="store_true",
        help="no progress bar and a plain table; rich is not needed",
    )


def require(package: str, purpose: str, option: str) -> None:
    """Check that a package of the extra ``cli`` can be imported.

    Parameters
    ----------
    package : str
        Its name.
    purpose : str
        What it is needed for.
    option : str
        The option that makes it unnecessary.

    Raises
    ------
    MissingExtraError
        If it cannot.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f'{purpose} needs {package}: pip install "fastclust[cli]", or give {option}'
        ) from error


def command(args: argparse.Namespace) -> int:
    """Run ``fastclust compare``.

    Parameters
    ----------
    args : argparse.Namespace
        The values of the options of `add_arguments`.

    Returns
    -------
    int
        Exit status: 0, 2 if something needed is missing, 130 if interrupted.
    """
    if args.list:
        print(listing())
        return 0
    try:
        # Before the fits rather than after them.
        if not args.no_progress:
            require("rich", "the progress bar", "--no-progress")
        if not args.no_figure:
            require("matplotlib", "the figure", "--no-figure")
        args.output.mkdir(parents=True, exist_ok=True)
        return _run(args)
    except (MissingExtraError, OSError) as error:
        print(f"fastclust compare: error: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    # A workload named twice is run once.
    chosen = tuple(dict.fromkeys(args.only)) if args.only else workloads(args.profile)
    entrants, notes = competitors(args.peers)
    notes += [entrant.note for entrant in entrants if entrant.note]
    fancy = not args.no_progress
    cells: list[Cell] = []
    try:
        with progress(chosen, fancy) as report:
            for cell in compare(chosen, entrants, args.repeats, SEED, report):
                cells.append(cell)
        segmentation = None if args.no_figure else segment(entrants)
    except KeyboardInterrupt:
        print("interrupted: results so far" if cells else "interrupted: no results so far")
        if cells:
            show(cells, notes + remarks(cells), fancy)
        return 130
    notes += remarks(cells)
    show(cells, notes, fancy)
    written = [args.output / f"{STEM}.json"]
    text = json.dumps(document(cells, notes, args.repeats), indent=2, ensure_ascii=False)
    written[0].write_text(text + "\n", encoding="utf-8")
    if segmentation is not None:
        written.append(args.output / f"{STEM}.png")
        figure(cells, segmentation).savefig(written[1], dpi=150)
    print(f"wrote {' and '.join(map(str, written))}", file=sys.stderr)
    return 0
