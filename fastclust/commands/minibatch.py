"""``fastclust compare minibatch``: what mini-batches save, and what they cost.

The chapter's experiment: KMeans and MiniBatchKMeans over the number of clusters, the inertia they
reach and the time they take, in a figure of two panels. Here both of either library take part.
Every fit chooses its own start, as a user's would: the time is that of the whole fit.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fastclust.workloads import FloatArray, Workload, five_blobs_workload

from . import options
from .drawing import COLOURS
from .experiments import Entrant, Experiment, Trial, conduct, estimators, named_columns
from .measuring import SEED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEM = "fastclust-minibatch"
QUICK = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100)
FULL = tuple(range(1, 101))
COLUMNS = {
    "workload": True,
    "n×d": False,
    "k": False,
    "engine": True,
    "estimator": True,
    "seconds": False,
    "times batch": False,
    "times sklearn": False,
    "inertia": False,
    "vs batch": False,
}
ESTIMATORS = {"batch": "KMeans", "mini-batch": "MiniBatchKMeans"}


def minibatch_entrant(engine: str, variant: str) -> Entrant:
    """One of the estimators, with its defaults.

    Parameters
    ----------
    engine : {"fastclust", "scikit-learn"}
        Whose.
    variant : {"batch", "mini-batch"}
        Which one.

    Returns
    -------
    Entrant
        The entrant.
    """

    def fit(X: FloatArray, n_clusters: int, start: FloatArray | None) -> Any:
        estimator = getattr(estimators(engine), ESTIMATORS[variant])
        return estimator(n_clusters, n_init=1, random_state=SEED).fit(X)

    return Entrant(engine, variant, fit)


ENTRANTS = tuple(
    minibatch_entrant(engine, variant)
    for engine in ("fastclust", "scikit-learn")
    for variant in ESTIMATORS
)


def minibatch_workloads(base: Workload, clusters: Sequence[int]) -> list[Workload]:
    """The same data with several numbers of clusters.

    Parameters
    ----------
    base : Workload
        The data; made once.
    clusters : sequence of int
        Numbers of clusters, at most the number of rows.

    Returns
    -------
    list of Workload
        One for each different number, in ascending order.
    """
    make = lru_cache(maxsize=1)(base.make)
    return [
        replace(base, name=f"{base.name} k={k}", n_clusters=k, make=make)
        for k in sorted(set(clusters))
    ]


def _base_name(trial: Trial) -> str:
    return trial.workload.name.partition(" k=")[0]


def minibatch_rows(trial: Trial) -> list[dict[str, str]]:
    """One row for each run."""
    shared = named_columns(trial) | {"workload": _base_name(trial)}
    rows = []
    for i, (name, run) in enumerate(trial.runs.items()):
        engine, variant = name.split()
        batch = trial.runs[f"{engine} batch"]
        excess = (run.inertia - batch.inertia) / batch.inertia if batch.inertia else 0.0
        row = dict.fromkeys(COLUMNS, "") | (shared if i == 0 else {})
        row |= {
            "engine": engine,
            "estimator": variant,
            "seconds": f"{run.median:.4g}",
            "times batch": f"{trial.ratio(name, f'{engine} batch'):.2f}",
            "times sklearn": f"{trial.ratio(name, f'scikit-learn {variant}'):.2f}",
            "inertia": f"{run.inertia:.5g}",
            "vs batch": f"{100 * excess:+.1f} %",
        }
        rows.append(row)
    return rows


def minibatch_remarks(trials: Sequence[Trial]) -> list[str]:
    """What the table's ratios are."""
    return [
        "times batch: times as fast as the same library's KMeans; times sklearn: as scikit-learn's",
        "whole fits, k-means++ included, n_init=1; vs batch: inertia against the same library's",
    ]


def minibatch_figure(trials: Sequence[Trial]) -> Figure:
    """The chapter's two panels: inertia and training time over k."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(10, 4), layout="constrained")
    panels = drawing.subplots(1, 2)
    ks = [trial.workload.n_clusters for trial in trials]
    for name in trials[0].runs:
        engine, variant = name.split()
        runs = [trial.runs[name] for trial in trials]
        style = {
            "color": COLOURS[0] if engine == "fastclust" else COLOURS[1],
            "linestyle": "-" if variant == "batch" else "--",
            "marker": "." if len(ks) < 40 else "",
            "linewidth": 1.4,
            "label": f"{engine} {ESTIMATORS[variant]}",
        }
        panels[0].plot(ks, [run.inertia for run in runs], **style)
        panels[1].plot(ks, [run.median for run in runs], **style)
    for axes, title in zip(panels, ("Inertia", "Training time (seconds)"), strict=True):
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("k")
        # Both span decades, and the interesting part is at the end of them.
        axes.set_yscale("log")
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=9)
    w = trials[0].workload
    drawing.suptitle(f"{_base_name(trials[0])}: {w.n_samples:,}×{w.n_features}", fontsize=10)
    return drawing


EXPERIMENT = Experiment(
    STEM, COLUMNS, minibatch_rows, minibatch_remarks, minibatch_figure, shared_start=False
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, as every command does."""
    options.add_profile(parser)
    options.add_output(parser, STEM)
    parser.add_argument(
        "--clusters",
        nargs="+",
        type=options.count,
        metavar="K",
        help=f"numbers of clusters (default: {len(QUICK)} from 1 to 100; full: 1, 2, … 100)",
    )
    parser.add_argument(
        "--data",
        type=options.workload,
        metavar="NAME",
        help="a workload of `fastclust compare --list` instead of the chapter's 2,000 rows",
    )


def command(args: argparse.Namespace) -> int:
    """Run the command, as every one is run."""
    base = args.data or five_blobs_workload()
    clusters = args.clusters or (QUICK if args.profile == "quick" else FULL)

    def action() -> int:
        options.check_clusters(clusters, base.n_samples)
        return conduct(EXPERIMENT, minibatch_workloads(base, clusters), ENTRANTS, args)

    return options.guarded("compare minibatch", args, action)
