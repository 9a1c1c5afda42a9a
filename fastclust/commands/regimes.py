"""``fastclust compare regimes``: which exact algorithm is the fastest, and where.

Over the number of features, the number of clusters and how far the clusters are apart: a map of
the winner among fastclust's algorithms, its lead over Lloyd's, and how near ``"auto"``, which has
to choose without trying, comes to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastclust.workloads import Workload, separated_workload

from . import options
from .elkan import OURS
from .experiments import Experiment, Trial, conduct, kmeans_entrant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEM = "fastclust-regimes"
ENTRANTS = tuple(kmeans_entrant("fastclust", algorithm) for algorithm in OURS)
# Those one may choose; "auto" is judged against the best of them.
SINGLE = tuple(name for name in OURS if name != "auto")
COLUMNS = {
    "separation": False,
    "d": False,
    "k": False,
    "iter": False,
    **{f"{name} ms": False for name in OURS},
    "winner": True,
    "vs lloyd": False,
    "auto/best": False,
    "distances": False,
}


class Grid(NamedTuple):
    """The cells of a map: all combinations of these, on so many rows."""

    n_samples: int
    features: tuple[int, ...]
    clusters: tuple[int, ...]
    separations: tuple[float, ...]


GRIDS = {
    "quick": Grid(20_000, (2, 8, 32), (10, 100, 500), (1.0, 4.0)),
    "full": Grid(100_000, (2, 8, 32, 128), (10, 50, 100, 500, 1000), (1.0, 2.0, 4.0)),
}


def regimes_workloads(grid: Grid) -> list[Workload]:
    """The cells of a grid.

    Parameters
    ----------
    grid : Grid
        The grid.

    Returns
    -------
    list of Workload
        By separation, then features, then clusters; named after the three.
    """
    return [
        replace(separated_workload(grid.n_samples, d, k, s), name=f"d={d} k={k} s={s:g}")
        for s in grid.separations
        for d in grid.features
        for k in grid.clusters
    ]


def _separation(trial: Trial) -> float:
    return float(trial.workload.name.rpartition("s=")[2])


def winner(trial: Trial) -> str:
    """The fastest of the algorithms that one may choose.

    Parameters
    ----------
    trial : Trial
        The trial.

    Returns
    -------
    str
        Its name.
    """
    return min(SINGLE, key=lambda name: trial.runs[f"fastclust {name}"].median)


def lead(trial: Trial) -> float:
    """How many times as fast as Lloyd's algorithm the fastest is, at least 1.

    Parameters
    ----------
    trial : Trial
        The trial.

    Returns
    -------
    float
        The ratio of the medians.
    """
    return trial.ratio(f"fastclust {winner(trial)}", "fastclust lloyd")


def auto_excess(trial: Trial) -> float:
    """The time of ``"auto"`` as a multiple of the fastest algorithm's.

    Parameters
    ----------
    trial : Trial
        The trial.

    Returns
    -------
    float
        The ratio of the medians; under 1 where choosing anew in every iteration pays.
    """
    return trial.ratio(f"fastclust {winner(trial)}", "fastclust auto")


def regimes_rows(trial: Trial) -> list[dict[str, str]]:
    """One row, of all runs."""
    best = trial.runs[f"fastclust {winner(trial)}"]
    everything = trial.runs["fastclust lloyd"]
    share = (best.n_distances or 0) / (everything.n_distances or 1)
    row = {
        "separation": f"{_separation(trial):g}",
        "d": str(trial.workload.n_features),
        "k": str(trial.workload.n_clusters),
        "iter": str(everything.n_iter),
        **{f"{name} ms": f"{1e3 * trial.runs[f'fastclust {name}'].median:.4g}" for name in OURS},
        "winner": winner(trial),
        "vs lloyd": f"{lead(trial):.2f}",
        "auto/best": f"{auto_excess(trial):.2f}",
        "distances": f"{100 * share:.1f} %",
    }
    return [row]


def regimes_remarks(trials: Sequence[Trial]) -> list[str]:
    """How often each algorithm wins, and how far from the best ``"auto"`` is."""
    won = [winner(trial) for trial in trials]
    counts = ", ".join(f"{name} {won.count(name)}" for name in SINGLE if name in won)
    excesses = sorted(auto_excess(trial) for trial in trials)
    near = sum(excess <= 1.1 for excess in excesses)
    return [
        "vs lloyd: times as fast the winner is; distances: of the winner, as a share of lloyd's",
        f"cells won: {counts}",
        f"auto: {np.median(excesses):.2f} of the best time in the median, {excesses[-1]:.2f} at "
        f"worst, within 10 % of the best in {near} of {len(trials)} cells",
        f"{trials[0].workload.n_samples} rows, same starts, fits to convergence; separation: half "
        "the mean gap between neighbours, in standard deviations",
    ]


def regimes_figure(trials: Sequence[Trial]) -> Figure:
    """A heat map of the lead over Lloyd's for each separation, the winner in each cell."""
    from matplotlib.figure import Figure

    separations = list(dict.fromkeys(map(_separation, trials)))
    features = sorted({trial.workload.n_features for trial in trials})
    clusters = sorted({trial.workload.n_clusters for trial in trials})
    width = 1.2 + len(separations) * (0.6 + 0.95 * len(clusters))
    drawing = Figure(figsize=(max(5.0, width), 1.6 + 0.7 * len(features)), layout="constrained")
    panels = drawing.subplots(1, len(separations), squeeze=False, sharey=True).ravel()
    top = max(2.0, *(lead(trial) for trial in trials))
    for axes, separation in zip(panels, separations, strict=True):
        here = [trial for trial in trials if _separation(trial) == separation]
        leads = np.full((len(features), len(clusters)), np.nan)
        for trial in here:
            at = (
                features.index(trial.workload.n_features),
                clusters.index(trial.workload.n_clusters),
            )
            leads[at] = np.log2(lead(trial))
            dark = leads[at] > 0.6 * np.log2(top)
            text = f"{winner(trial)}\n{lead(trial):.1f}×"
            place = {"ha": "center", "va": "center"}
            axes.text(at[1], at[0], text, **place, fontsize=8, color="w" if dark else "k")
        image = axes.imshow(leads, cmap="Blues", vmin=0.0, vmax=np.log2(top), aspect="auto")
        axes.set_xticks(range(len(clusters)), [f"k={k}" for k in clusters], fontsize=8)
        axes.set_yticks(range(len(features)), [f"d={d}" for d in features], fontsize=8)
        axes.set_title(f"separation {separation:g}", fontsize=9)
        axes.tick_params(length=0)
    ticks = np.arange(int(np.log2(top)) + 1)
    bar = drawing.colorbar(image, ax=list(panels), ticks=ticks, label="times as fast as lloyd")
    bar.ax.set_yticklabels([f"{2**tick}×" for tick in ticks])
    n = trials[0].workload.n_samples
    drawing.suptitle(f"Fastest exact algorithm, {n:,} rows", fontsize=10)
    return drawing


EXPERIMENT = Experiment(
    STEM, COLUMNS, regimes_rows, regimes_remarks, regimes_figure, shared_start=True
)


def _separation_option(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number greater than 0, not {text!r}")
    return value


def _several(text: str) -> int:
    value = options.count(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 2, not {text!r}")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, as every command does."""
    options.add_profile(parser)
    options.add_output(parser, STEM)
    add = parser.add_argument
    add("--samples", type=options.count, metavar="N", help="rows, instead of the profile's")
    add("--features", nargs="+", type=options.count, metavar="D", help="instead of the profile's")
    add("--clusters", nargs="+", type=_several, metavar="K", help="instead of the profile's")
    add(
        "--separations",
        nargs="+",
        type=_separation_option,
        metavar="S",
        help="half the mean gap between neighbouring clusters, in standard deviations",
    )


def command(args: argparse.Namespace) -> int:
    """Run the command, as every one is run."""
    usual = GRIDS[args.profile]
    grid = Grid(
        args.samples or usual.n_samples,
        tuple(dict.fromkeys(args.features or usual.features)),
        tuple(dict.fromkeys(args.clusters or usual.clusters)),
        tuple(dict.fromkeys(args.separations or usual.separations)),
    )

    def action() -> int:
        options.check_clusters(grid.clusters, grid.n_samples)
        return conduct(EXPERIMENT, regimes_workloads(grid), ENTRANTS, args)

    return options.guarded("compare regimes", args, action)
