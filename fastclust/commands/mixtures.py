"""``fastclust compare mixtures``: what a step of EM takes, here and in scikit-learn.

Both libraries begin at the same parameters.  What a step takes is the difference of two fits, one
of `STEPS` steps more than the other, divided by `STEPS`: whatever else a fit does once drops out.
That both did the same work is seen by the likelihood that they have reached.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastclust.workloads import FloatArray, Workload, gaussian_blobs

from . import options
from .drawing import COLOURS, duration
from .experiments import Entrant, Experiment, Trial, conduct, named_columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEM = "fastclust-mixtures"
TYPES = ("full", "tied", "diag", "spherical")
SHAPES = ((300_000, 2, 10), (100_000, 16, 16), (20_000, 64, 20))
STEPS = 4
SAME = 1e-6  # relative difference of two likelihoods that is rounding
COLUMNS = {
    "workload": True,
    "n×d": False,
    "k": False,
    "fastclust": False,
    "scikit-learn": False,
    "times faster": False,
    "log-likelihood": False,
}


def mixture_workloads(profile: str) -> list[Workload]:
    """Every covariance type on three shapes, named after both.

    Parameters
    ----------
    profile : {"quick", "full"}
        Which one: quick has a tenth of the rows.

    Returns
    -------
    list of Workload
        Twelve.
    """
    found = []
    for n_samples, d, k in SHAPES:
        rows = n_samples // 10 if profile == "quick" else n_samples
        make = lru_cache(maxsize=1)(partial(gaussian_blobs, rows, d, k, "float64"))
        found += [
            Workload(f"{d}d {kind}", rows, d, k, "float64", f"{kind} covariances", make)
            for kind in TYPES
        ]
    return found


def _precisions(X: FloatArray, kind: str, k: int) -> FloatArray:
    """Precisions to begin with: those of all rows, along the axes."""
    precision = 1.0 / X.var(axis=0)
    whole = {"full": np.diag(precision), "diag": precision, "spherical": precision.mean()}
    if kind == "tied":
        return np.diag(precision)
    return np.repeat(np.asarray(whole[kind])[None], k, axis=0)


def mixture_entrant(engine: str, kind: str, n_steps: int) -> Entrant:
    """A mixture that makes so many steps from given means.

    Parameters
    ----------
    engine : {"fastclust", "scikit-learn"}
        Whose.
    kind : str
        Its `covariance_type`.
    n_steps : int
        Its `max_iter`.

    Returns
    -------
    Entrant
        The entrant.
    """

    def fit(X: FloatArray, n_clusters: int, start: FloatArray | None) -> Any:
        import sklearn.mixture
        from sklearn.exceptions import ConvergenceWarning

        import fastclust

        module: Any = {"fastclust": fastclust, "scikit-learn": sklearn.mixture}[engine]
        mixture = module.GaussianMixture(
            n_clusters,
            covariance_type=kind,
            max_iter=n_steps,
            tol=0,
            weights_init=np.full(n_clusters, 1.0 / n_clusters),
            means_init=start,
            precisions_init=_precisions(X, kind, n_clusters),
            init_params="random_from_data",
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # as it is meant
            return mixture.fit(X)

    return Entrant(engine, f"{n_steps}", fit)


def mixture_entrants(workload: Workload) -> list[Entrant]:
    """Short and long fits of either library.

    Parameters
    ----------
    workload : Workload
        One of `mixture_workloads`.

    Returns
    -------
    list of Entrant
        Four.
    """
    kind = workload.name.split()[1]
    return [
        mixture_entrant(engine, kind, n_steps)
        for engine in ("fastclust", "scikit-learn")
        for n_steps in (1, 1 + STEPS)
    ]


def step_seconds(trial: Trial, engine: str) -> float:
    """Seconds of one step.

    Where the difference of the medians is lost in the noise, which only tiny data do, the whole of
    the longer fit is divided by its steps instead: that is too much, never too little.

    Parameters
    ----------
    trial : Trial
        The trial.
    engine : {"fastclust", "scikit-learn"}
        Whose.

    Returns
    -------
    float
        Seconds.
    """
    short, long = (trial.runs[f"{engine} {n}"].median for n in (1, 1 + STEPS))
    return (long - short) / STEPS if long > short else long / (1 + STEPS)


def step_ratio(trial: Trial) -> float:
    """How many times as long as fastclust's a step of scikit-learn's takes."""
    return step_seconds(trial, "scikit-learn") / step_seconds(trial, "fastclust")


def mixture_rows(trial: Trial) -> list[dict[str, str]]:
    """The row of a workload."""
    reached = trial.runs[f"fastclust {1 + STEPS}"].objective
    return [
        named_columns(trial)
        | {
            "fastclust": duration(step_seconds(trial, "fastclust")),
            "scikit-learn": duration(step_seconds(trial, "scikit-learn")),
            "times faster": f"{step_ratio(trial):.1f}",
            "log-likelihood": f"{reached:.8g}",
        }
    ]


def mixture_remarks(trials: Sequence[Trial]) -> list[str]:
    """The mean ratio, and trials whose runs differ in likelihood."""
    mean = statistics.geometric_mean([step_ratio(trial) for trial in trials])
    lines = [
        "seconds: of one step of EM, both from the same start; log-likelihood: mean of a row, "
        f"after {1 + STEPS} steps",
        f"a step of EM is {mean:.1f} times faster (geometric mean of {len(trials)})",
    ]
    for trial in trials:
        ours, theirs = (
            trial.runs[f"{engine} {1 + STEPS}"].objective
            for engine in ("fastclust", "scikit-learn")
        )
        if abs(ours - theirs) > SAME * abs(theirs):
            lines.append(
                f"{trial.workload.name}: the likelihoods differ: {ours:.8g} and {theirs:.8g}"
            )
    return lines


def mixture_figure(trials: Sequence[Trial]) -> Figure:
    """A bar for each workload."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7, 0.32 * len(trials) + 1.2), layout="constrained")
    axes = drawing.subplots()
    ratios = [step_ratio(trial) for trial in trials]
    places = np.arange(len(trials))
    axes.barh(places, [ratio - 1 for ratio in ratios], left=1, color=COLOURS[0])
    for place, ratio in zip(places, ratios, strict=True):
        axes.annotate(
            f"{ratio:.1f}×",
            (max(ratio, 1), place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    shapes = [f"{t.workload.name}, {t.workload.n_samples:,} rows" for t in trials]
    axes.set_yticks(places, shapes, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(1, *ratios), 1.6 * max(2, *ratios))
    axes.set_xlabel("a step of EM: times as fast as scikit-learn's")
    axes.spines[["top", "right"]].set_visible(False)
    return drawing


EXPERIMENT = Experiment(
    STEM,
    COLUMNS,
    mixture_rows,
    mixture_remarks,
    mixture_figure,
    shared_start=True,
    objective="lower_bound_",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, as every command does."""
    options.add_profile(parser)
    options.add_output(parser, STEM)


def command(args: argparse.Namespace) -> int:
    """Run the command, as every one is run."""
    action = partial(conduct, EXPERIMENT, mixture_workloads(args.profile), mixture_entrants, args)
    return options.guarded("compare mixtures", args, action)
