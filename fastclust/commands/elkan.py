"""``fastclust compare elkan``: do bounds beat computing every distance?

The chapter's experiment, Elkan against full on five blobs; the same on data of more clusters, where
there is something to spare; and on noise, where no bound can spare much: all exact algorithms of
fastclust and both of scikit-learn, from the same starts. All must end in the same clusters; what
differs is how many distances they compute on the way, and how long that takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fastclust.workloads import (
    Workload,
    five_blobs_workload,
    gaussian_blobs,
    get,
    separated_workload,
)

from . import options
from .drawing import COLOURS, duration
from .experiments import Experiment, Run, Trial, conduct, kmeans_entrant, named_columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEM = "fastclust-elkan"
OURS = ("lloyd", "elkan", "hamerly", "auto")
THEIRS = ("lloyd", "elkan")
ENTRANTS = (
    *(kmeans_entrant("fastclust", algorithm) for algorithm in OURS),
    *(kmeans_entrant("scikit-learn", algorithm) for algorithm in THEIRS),
)
NO_BOUNDS = ("lloyd", "auto")  # which chooses, and so is no algorithm of its own
PAYS = 1.05  # times as fast as lloyd: less is within what the clock tells
COLUMNS = {
    "workload": True,
    "n×d": False,
    "k": False,
    "engine": True,
    "algorithm": True,
    "seconds": False,
    "vs lloyd": False,
    "vs sk elkan": False,
    "iter": False,
    "distances": False,
    "inertia": False,
}


def elkan_workloads(profile: str) -> list[Workload]:
    """The data of a profile.

    Parameters
    ----------
    profile : {"quick", "full"}
        Which one.

    Returns
    -------
    list of Workload
        The chapter's blobs first.
    """
    if profile == "quick":
        generated = [(50_000, 16, 256), (25_000, 64, 100)]
        separated = (separated_workload(*shape, 3.0) for shape in generated)
        return [five_blobs_workload(), *separated, noise_workload(10_000)]
    generated = [(100_000, 16, 256), (50_000, 64, 100), (200_000, 2, 1000)]
    return [
        five_blobs_workload(),
        *(separated_workload(*shape, 3.0) for shape in generated),
        noise_workload(50_000),
        get("image-64-s"),
        get("blobs-64d-100-s"),
    ]


def noise_workload(n_samples: int) -> Workload:
    """Rows without clusters: all centers are about as far from a row, and no bound can tell them.

    Parameters
    ----------
    n_samples : int
        Number of rows.

    Returns
    -------
    Workload
        One Gaussian blob in 64 dimensions, to be cut in 100.
    """
    make = partial(gaussian_blobs, n_samples, 64, 1, "float64")
    return Workload("noise-64d-100", n_samples, 64, 100, "float64", "one Gaussian blob", make)


def elkan_rows(trial: Trial) -> list[dict[str, str]]:
    """One row for each run."""
    rows = []
    for i, (name, run) in enumerate(trial.runs.items()):
        engine, algorithm = name.split()
        row = dict.fromkeys(COLUMNS, "") | (named_columns(trial) if i == 0 else {})
        row |= {
            "engine": engine,
            "algorithm": algorithm,
            "seconds": f"{run.median:.4g}",
            "vs lloyd": f"{trial.ratio(name, f'{engine} lloyd'):.2f}",
            "vs sk elkan": f"{trial.ratio(name, 'scikit-learn elkan'):.2f}",
            "iter": str(run.n_iter),
            "distances": _share(run, trial),
            "inertia": f"{run.objective:.6e}",
        }
        rows.append(row)
    return rows


def _share(run: Run, trial: Trial) -> str:
    """The distances computed, as a share of Lloyd's."""
    everything = trial.runs["fastclust lloyd"].n_distances
    if run.n_distances is None or not everything:
        return ""
    return f"{100 * run.n_distances / everything:.1f} %"


def elkan_remarks(trials: Sequence[Trial]) -> list[str]:
    """Ratios as the table defines them, and trials whose runs differ in inertia."""
    lines = [
        "vs lloyd: times as fast as the same library's lloyd; vs sk elkan: as scikit-learn's elkan",
        "distances: between rows and centers, as a share of those of lloyd",
    ]
    for trial in trials:
        lines.append(_verdict(trial))
    for trial in trials:
        inertias = [run.objective for run in trial.runs.values()]
        if max(inertias) - min(inertias) > 1e-9 * max(inertias):
            lines.append(f"{trial.workload.name}: not all runs ended in the same clusters")
    return lines


def _verdict(trial: Trial) -> str:
    """Whether bounds pay here: the fastest of fastclust's against its lloyd."""
    lloyd = "fastclust lloyd"
    bounded = [n for n in trial.runs if n.startswith("fastclust") and n.split()[1] not in NO_BOUNDS]
    best = max(bounded, key=lambda name: trial.ratio(name, lloyd))
    ratio = trial.ratio(best, lloyd)
    pay = "pay" if ratio > PAYS else "do not pay"
    return f"{trial.workload.name}: bounds {pay} ({best.split()[1]}, {ratio:.2f}× as fast as lloyd)"


def elkan_figure(trials: Sequence[Trial]) -> Figure:
    """One panel of bars for each workload."""
    from matplotlib.figure import Figure

    n_columns = min(3, len(trials))
    n_rows = -(-len(trials) // n_columns)
    drawing = Figure(figsize=(3.6 * n_columns + 1.2, 3.0 * n_rows + 0.5), layout="constrained")
    panels = drawing.subplots(n_rows, n_columns, squeeze=False).ravel()
    for i, (axes, trial) in enumerate(zip(panels, trials, strict=False)):
        names = list(trial.runs)
        medians = [run.median for run in trial.runs.values()]
        colours = [COLOURS[0] if name.startswith("fastclust") else COLOURS[1] for name in names]
        places = np.arange(len(names))
        axes.barh(places, medians, color=colours)
        for place, (name, median) in enumerate(zip(names, medians, strict=True)):
            text = duration(median)
            if name != f"{name.split()[0]} lloyd":
                text += f"  {trial.ratio(name, f'{name.split()[0]} lloyd'):.1f}×"
            axes.annotate(
                text, (median, place), (4, 0), textcoords="offset points", va="center", fontsize=8
            )
        w = trial.workload
        axes.set_title(f"{w.name}\n{w.n_samples:,}×{w.n_features}, k={w.n_clusters}", fontsize=9)
        axes.set_yticks(places, names if i % n_columns == 0 else [""] * len(names), fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.45 * max(medians))
        axes.tick_params(axis="x", labelsize=8)
        axes.set_xlabel("seconds", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(trials) :]:
        axes.set_axis_off()
    drawing.suptitle(
        "Exact k-means from the same starts (×: against the same library's lloyd)", fontsize=10
    )
    return drawing


EXPERIMENT = Experiment(STEM, COLUMNS, elkan_rows, elkan_remarks, elkan_figure, shared_start=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, as every command does."""
    options.add_profile(parser)
    options.add_output(parser, STEM)


def command(args: argparse.Namespace) -> int:
    """Run the command, as every one is run."""
    action = partial(conduct, EXPERIMENT, elkan_workloads(args.profile), ENTRANTS, args)
    return options.guarded("compare elkan", args, action)
