"""``fastclust compare minibatch``: what mini-batches save, what they cost, and where they pay.

KMeans and MiniBatchKMeans over the number of clusters, the inertia they reach and the time they
take, on two data sets: a textbook's 2,000 rows with the textbook's settings, on which batches are
so small that a step's fixed cost decides, and many rows, for which mini-batches are made.  Both
estimators of either library take part.  Every fit chooses its own start, as a user's would: the
time is that of the whole fit.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from fastclust.workloads import FloatArray, Workload, five_blobs_workload, gaussian_blobs

from . import options
from .drawing import COLOURS
from .experiments import Entrant, Experiment, Trial, conduct, estimators, named_columns
from .measuring import SEED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEM = "fastclust-minibatch"
QUICK = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100)
FULL = tuple(range(1, 101))
LARGE = (1, 2, 3, 5, 10, 30, 100)
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


@dataclass(frozen=True)
class Side:
    """One data set, and what the estimators are told.

    Attributes
    ----------
    base : Workload
        The data.
    clusters : sequence of int
        Numbers of clusters.
    settings : mapping of str to mapping
        Parameters of "batch" and of "mini-batch".
    text : str
        The settings in words.
    """

    base: Workload
    clusters: Sequence[int]
    settings: Mapping[str, Mapping[str, Any]]
    text: str

    @property
    def entrants(self) -> tuple[Entrant, ...]:
        """Both estimators of either library."""
        return tuple(
            minibatch_entrant(engine, variant, self.settings[variant])
            for engine in ("fastclust", "scikit-learn")
            for variant in ESTIMATORS
        )


DEFAULTS = {"batch": {"n_init": 1}, "mini-batch": {"n_init": 1}}
# What both libraries took by default when the chapter was written.
CHAPTERS = {"batch": {"n_init": 10}, "mini-batch": {"n_init": 3, "batch_size": 100}}


def large_workload(n_samples: int) -> Workload:
    """Rows enough for mini-batches to pay.

    Parameters
    ----------
    n_samples : int
        Number of rows.

    Returns
    -------
    Workload
        Overlapping blobs in 8 dimensions.
    """
    make = partial(gaussian_blobs, n_samples, 8, 100, "float64")
    text = "overlapping Gaussian blobs in 8 dimensions"
    return Workload("blobs-8d", n_samples, 8, 100, "float64", text, make)


def sides(profile: str, clusters: Sequence[int] | None, large: bool) -> list[Side]:
    """The two data sets.

    Parameters
    ----------
    profile : {"quick", "full"}
        Which one.
    clusters : sequence of int or None
        Numbers of clusters in the place of the profile's.
    large : bool
        Whether the large one has a million rows, and is the only one.

    Returns
    -------
    list of Side
        The chapter's first.
    """
    rows = 1_000_000 if large or profile == "full" else 100_000
    text = "n_init=1, batches of 1,024"
    many = Side(large_workload(rows), clusters or LARGE, DEFAULTS, text)
    if large:
        return [many]
    few = clusters or (QUICK if profile == "quick" else FULL)
    text = "n_init=10 against 3, batches of 100"
    return [Side(five_blobs_workload(), few, CHAPTERS, text), many]


def minibatch_entrant(engine: str, variant: str, settings: Mapping[str, Any]) -> Entrant:
    """One of the estimators.

    Parameters
    ----------
    engine : {"fastclust", "scikit-learn"}
        Whose.
    variant : {"batch", "mini-batch"}
        Which one.
    settings : mapping
        Its parameters.

    Returns
    -------
    Entrant
        The entrant.
    """

    def fit(X: FloatArray, n_clusters: int, start: FloatArray | None) -> Any:
        estimator = getattr(estimators(engine), ESTIMATORS[variant])
        return estimator(n_clusters, random_state=SEED, **settings).fit(X)

    return Entrant(engine, variant, fit)


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


def base_name(workload: Workload) -> str:
    """Name of the data of one of `minibatch_workloads`."""
    return workload.name.partition(" k=")[0]


def _base_name(trial: Trial) -> str:
    return base_name(trial.workload)


def minibatch_rows(trial: Trial) -> list[dict[str, str]]:
    """One row for each run."""
    shared = named_columns(trial) | {"workload": _base_name(trial)}
    rows = []
    for i, (name, run) in enumerate(trial.runs.items()):
        engine, variant = name.split()
        batch = trial.runs[f"{engine} batch"]
        excess = (run.objective - batch.objective) / batch.objective if batch.objective else 0.0
        row = dict.fromkeys(COLUMNS, "") | (shared if i == 0 else {})
        row |= {
            "engine": engine,
            "estimator": variant,
            "seconds": f"{run.median:.4g}",
            "times batch": f"{trial.ratio(name, f'{engine} batch'):.2f}",
            "times sklearn": f"{trial.ratio(name, f'scikit-learn {variant}'):.2f}",
            "inertia": f"{run.objective:.5g}",
            "vs batch": f"{100 * excess:+.1f} %",
        }
        rows.append(row)
    return rows


def crossing(trials: Sequence[Trial], engine: str) -> int | None:
    """The number of clusters from which on mini-batches are the faster ones.

    Parameters
    ----------
    trials : sequence of Trial
        Of one data set, in the order of their numbers of clusters.
    engine : {"fastclust", "scikit-learn"}
        Whose.

    Returns
    -------
    int or None
        None where batches are as fast for the largest number.
    """
    found = None
    for trial in reversed(trials):
        if trial.ratio(f"{engine} mini-batch", f"{engine} batch") <= 1:
            break
        found = trial.workload.n_clusters
    return found


def _by_data(trials: Sequence[Trial]) -> list[list[Trial]]:
    """The trials of each data set."""
    return [list(group) for _, group in groupby(trials, _base_name)]


def minibatch_remarks(trials: Sequence[Trial]) -> list[str]:
    """What the table's ratios are, and where the lines cross."""
    lines = [
        "times batch: times as fast as the same library's KMeans; times sklearn: as scikit-learn's",
        "whole fits, k-means++ included; vs batch: inertia against the same library's",
    ]
    for group in _by_data(trials):
        for engine in ("fastclust", "scikit-learn"):
            k = crossing(group, engine)
            first = k == group[0].workload.n_clusters
            where = "at no k" if k is None else "at every k" if first else f"from k={k} on"
            lines.append(f"{_base_name(group[0])}: {engine}'s mini-batches are faster {where}")
    return lines


def minibatch_figure(trials: Sequence[Trial], texts: Mapping[str, str]) -> Figure:
    """The chapter's two panels for each data set: inertia and training time over k."""
    from matplotlib.figure import Figure

    groups = _by_data(trials)
    drawing = Figure(figsize=(10, 4 * len(groups)), layout="constrained")
    panels = drawing.subplots(len(groups), 2, squeeze=False)
    for row, group in zip(panels, groups, strict=True):
        _draw(row, group)
        w = group[0].workload
        name = _base_name(group[0])
        shape = f"{name}: {w.n_samples:,}×{w.n_features}, {texts[name]}"
        row[0].set_title(f"{shape}\ninertia", fontsize=10, loc="left")
        row[1].set_title("training time (seconds)", fontsize=10, loc="left")
    panels[0, 0].legend(frameon=False, fontsize=9)
    return drawing


def _draw(panels: Any, trials: Sequence[Trial]) -> None:
    """The lines of one data set, and where those of fastclust's times cross."""
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
        panels[0].plot(ks, [run.objective for run in runs], **style)
        panels[1].plot(ks, [run.median for run in runs], **style)
    for axes in panels:
        axes.set_xlabel("k")
        # Both span decades, and the interesting part is at the end of them.
        axes.set_yscale("log")
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    k = crossing(trials, "fastclust")
    if k is not None and k != ks[0]:
        panels[1].axvline(k, color="0.6", linewidth=1, zorder=0)
        panels[1].annotate(
            f" mini-batches pay from k={k}",
            (k, 0.02),
            xycoords=("data", "axes fraction"),
            fontsize=8,
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
        help=f"numbers of clusters (default: {len(QUICK)} from 1 to 100; full: 1, 2, … 100; of "
        f"the large data: {', '.join(map(str, LARGE))})",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--data",
        type=options.workload,
        metavar="NAME",
        help="a workload of `fastclust compare --list` instead of the two data sets",
    )
    choice.add_argument(
        "--large", action="store_true", help="a million rows instead of the two data sets (minutes)"
    )


def command(args: argparse.Namespace) -> int:
    """Run the command, as every one is run."""
    if args.data:
        few = args.clusters or (QUICK if args.profile == "quick" else FULL)
        chosen = [Side(args.data, few, DEFAULTS, "n_init=1, batches of 1,024")]
    else:
        chosen = sides(args.profile, args.clusters, args.large)
    texts = {side.base.name: side.text for side in chosen}
    experiment = Experiment(
        STEM,
        COLUMNS,
        minibatch_rows,
        minibatch_remarks,
        partial(minibatch_figure, texts=texts),
        shared_start=False,
    )
    workloads = [w for side in chosen for w in minibatch_workloads(side.base, side.clusters)]
    entrants = {side.base.name: side.entrants for side in chosen}

    def action() -> int:
        for side in chosen:
            options.check_clusters(side.clusters, side.base.n_samples)
        return conduct(experiment, workloads, lambda w: entrants[base_name(w)], args)

    return options.guarded("compare minibatch", args, action)
