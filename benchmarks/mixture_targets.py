"""Measures what Gaussian mixtures promise, and says which figures meet their target.

::

    python benchmarks/mixture_targets.py [ROW ...] [--quick] [--output FILE] [--list]

It is to mixtures what `targets` is to k-means, and measures as that does: sides in turn, A B A B,
in one process and after an untimed run of each; medians are compared.

What a step of EM takes is the difference of two fits, one of `STEPS` steps more than the other,
divided by `STEPS`.  Both engines begin at the same parameters, so whatever else a fit does once
(checks, the start, scikit-learn's last E-step for the labels, the scatter of tied covariances)
drops out for either.  That both did the same work is checked by the log-likelihood that they have
reached after the same number of steps.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning

# A script finds only its own folder.  The checkout comes last, behind the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
from benchmarks.measuring import command
from benchmarks.measuring.command import Session
from benchmarks.measuring.figures import OURS, THEIRS, Figure, Outcome, say, shape, summary
from benchmarks.measuring.turns import Effort, measured, over_seeds, total
from fastclust.commands.measuring import Seconds, Side, Timed
from fastclust.kernels.machine import parallel
from fastclust.workloads import FloatArray, gaussian_blobs

MODULES: dict[str, Any] = {OURS: fastclust, THEIRS: sklearn.mixture}
CLASSES = ("GaussianMixture", "BayesianGaussianMixture")
TYPES = ("full", "tied", "diag", "spherical")
SHAPES = ((300_000, 2, 10), (100_000, 16, 16), (20_000, 64, 20))
STEPS = 4  # steps of EM that are timed together
FITTED = ("weights_", "means_", "covariances_", "precisions_cholesky_")


@dataclass(frozen=True)
class Problem:
    """One data set, one kind of covariances, and where all engines begin.

    Attributes
    ----------
    name : str
        Class of the estimator.
    kind : str
        The `covariance_type`.
    X : ndarray of shape (n_samples, n_features)
        The data.
    n_components : int
        Number of components.
    """

    name: str
    kind: str
    X: FloatArray
    n_components: int

    @property
    def label(self) -> str:
        """What a line of progress calls it."""
        n, d = self.X.shape
        return f"{self.kind} {n:,}×{d}, k={self.n_components}"

    def estimator(self, module: Any, n_steps: int) -> Any:
        """An estimator that makes `n_steps` steps from the common start."""
        options: dict[str, Any] = {"max_iter": n_steps, "tol": 0.0, "random_state": 0}
        options |= self._start() if self.name == "GaussianMixture" else self._drawn()
        return getattr(module, self.name)(
            n_components=self.n_components, covariance_type=self.kind, **options
        )

    def fit(self, module: Any, n_steps: int) -> Any:
        """A fit of `n_steps` steps; that it does not converge is meant so."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return self.estimator(module, n_steps).fit(self.X)

    def _drawn(self) -> dict[str, Any]:
        # The priors keep covariances of single rows apart from zero.
        return {"init_params": "random_from_data"}

    def _start(self) -> dict[str, Any]:
        k, d = self.n_components, self.X.shape[1]
        precision = 1.0 / self.X.var(axis=0)
        shapes = {
            "full": np.repeat(np.diag(precision)[None], k, axis=0),
            "tied": np.diag(precision),
            "diag": np.repeat(precision[None], k, axis=0),
            "spherical": np.full(k, precision.mean()),
        }
        chosen = np.random.default_rng(d).choice(len(self.X), k, replace=False)
        return {
            "weights_init": np.full(k, 1.0 / k),
            "means_init": self.X[chosen],
            "precisions_init": shapes[self.kind],
        }


def problems(name: str, effort: Effort) -> Iterator[Problem]:
    """The twelve cells.

    Parameters
    ----------
    name : str
        Class of the estimator.
    effort : Effort
        By how much the numbers of rows are divided.

    Yields
    ------
    Problem
        Every covariance type on every shape.
    """
    for n_samples, n_features, k in SHAPES:
        X = gaussian_blobs(effort.reduced(n_samples), n_features, k, "float64")
        for kind in TYPES:
            yield Problem(name, kind, X, k)


@dataclass(frozen=True)
class Steps:
    """Seconds of fits of one and of `STEPS` more steps, by engine, and what they reached."""

    label: str
    seconds: dict[str, Seconds]
    bounds: dict[str, float]

    def step(self, engine: str) -> float:
        """Seconds of one step, by the difference of the medians.

        Where that is lost in the noise, which only tiny data do, the whole of the longer fit is
        divided by its steps instead: that is too much, never too little.
        """
        short, long = (statistics.median(self.seconds[which][engine]) for which in _LENGTHS)
        return (long - short) / STEPS if long > short else long / (1 + STEPS)

    @property
    def ratio(self) -> float:
        """How many times as long as fastclust's a step of scikit-learn's takes."""
        return self.step(THEIRS) / self.step(OURS)

    @property
    def difference(self) -> float:
        """Relative difference of the bounds, in millionths."""
        return 1e6 * abs(self.bounds[OURS] / self.bounds[THEIRS] - 1.0)

    @property
    def note(self) -> str:
        """A line for the reader."""
        ours, theirs = self.step(OURS) * 1e3, self.step(THEIRS) * 1e3
        return f"{self.label}: {ours:.2f} and {theirs:.1f} ms a step, {self.ratio:.1f}×"

    def document(self) -> dict[str, Any]:
        """All of it, of JSON's types only."""
        return {
            "label": self.label,
            "ratio": self.ratio,
            "step_seconds": {name: self.step(name) for name in MODULES},
            "lower_bound": self.bounds,
            "seconds": self.seconds,
        }


def measure_steps(problem: Problem, effort: Effort) -> Steps:
    """Time steps of EM of both engines.

    Parameters
    ----------
    problem : Problem
        What to fit.
    effort : Effort
        How often.

    Returns
    -------
    Steps
        What was measured.
    """
    fitted: dict[tuple[str, int], Any] = {}

    def side(name: str, n_steps: int) -> Side:
        def fit() -> None:
            fitted[name, n_steps] = problem.fit(MODULES[name], n_steps)

        return Timed(fit)

    # All four in turn, so that the two that are subtracted ran at the same speed of the machine.
    sides = {(which, name): side(name, n) for which, n in _LENGTHS.items() for name in MODULES}
    names = {key: " ".join(key) for key in sides}
    flat = measured(problem.label, {names[key]: sides[key] for key in sides}, effort)
    seconds = {which: {name: flat[names[which, name]] for name in MODULES} for which in _LENGTHS}
    bounds = {name: float(np.sum(fitted[name, 1 + STEPS].lower_bound_)) for name in MODULES}
    return Steps(problem.label, seconds, bounds)


_LENGTHS = {"short": 1, "long": 1 + STEPS}  # steps of the two fits


def _cells(
    row: str, found: Sequence[Steps], *, target: float, at_least: float, each: float
) -> Outcome:
    ratios = {steps.label: steps.ratio for steps in found}
    figures = summary(
        row, ratios, "one step of EM against scikit-learn", target=target, at_least=at_least,
        each=each,
    )  # fmt: skip
    figures.append(_sameness(row, found))
    return Outcome(
        figures, [steps.note for steps in found], {"cells": [steps.document() for steps in found]}
    )


def _sameness(row: str, found: Sequence[Steps]) -> Figure:
    worst = max(steps.difference for steps in found)
    what = "relative difference of the bound after the same steps, the largest"
    return Figure(row, what, worst, "millionths", 1, 1, lower_is_better=True)


# --- Rows ------------------------------------------------------------------------------------


def steps(session: Session) -> Outcome:
    """One step of EM against scikit-learn's, four covariance types on three shapes."""
    found = [measure_steps(each, session.effort) for each in problems(CLASSES[0], session.effort)]
    return _cells("steps", found, target=30, at_least=20, each=5)


def plane(session: Session) -> Outcome:
    """One step of EM with full covariances on half a million rows of two features."""
    X = gaussian_blobs(session.effort.reduced(500_000), 2, 10, "float64")
    found = measure_steps(Problem(CLASSES[0], "full", X, 10), session.effort)
    what = f"one step of EM against scikit-learn, {found.label}"
    figures = [Figure("plane", what, found.ratio, "×", 80, 40), _sameness("plane", [found])]
    return Outcome(figures, [found.note], {"cells": [found.document()]})


def bayesian(session: Session) -> Outcome:
    """One step of the variational mixture against scikit-learn's, on the same twelve cells."""
    found = [measure_steps(each, session.effort) for each in problems(CLASSES[1], session.effort)]
    return _cells("bayesian", found, target=25, at_least=15, each=5)


def fit(session: Session) -> Outcome:
    """Whole fits: k-means start and thirty steps."""
    X = gaussian_blobs(session.effort.reduced(100_000), 2, 50, "float64")
    bounds: dict[str, list[float]] = {name: [] for name in MODULES}

    def side(name: str, seed: int) -> Side:
        def run() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                estimator = MODULES[name].GaussianMixture(
                    50, tol=0.0, max_iter=30, random_state=seed
                )
                bounds[name].append(estimator.fit(X).lower_bound_)

        return Timed(run)

    def sides_of(seed: int) -> dict[str, Side]:
        return {name: side(name, seed) for name in MODULES}

    runs = over_seeds("fit", sides_of, session.effort)
    ours, theirs = total(runs, OURS), total(runs, THEIRS)
    what = f"fit against scikit-learn, {shape(X, 50)}, k-means start, 30 steps"
    last = {name: values[-1] for name, values in bounds.items()}
    note = (
        f"{ours / len(runs):.3f} s and {theirs / len(runs):.2f} s a fit; mean log-likelihood of "
        f"the last {last[OURS]:.9f} and {last[THEIRS]:.9f}"
    )
    return Outcome(
        [Figure("fit", what, theirs / ours, "×", 30, 15)],
        [note],
        {"seconds": runs, "lower_bounds": bounds},
    )


def score(session: Session) -> Outcome:
    """score_samples and predict_proba against scikit-learn's, on the twelve cells."""
    ratios: dict[str, float] = {}
    details: list[dict[str, Any]] = []
    for problem in problems(CLASSES[0], session.effort):
        fitted = {name: problem.fit(module, 2) for name, module in MODULES.items()}
        for method in ("score_samples", "predict_proba"):
            label = f"{method}, {problem.label}"
            sides: dict[str, Side] = {
                name: Timed(_call(getattr(fitted[name], method), problem.X)) for name in MODULES
            }
            seconds = measured(label, sides, session.effort)
            medians = {name: statistics.median(seconds[name]) for name in MODULES}
            ratios[label] = medians[THEIRS] / medians[OURS]
            results = [getattr(estimator, method)(problem.X) for estimator in fitted.values()]
            gap = float(np.abs(results[0] - results[1]).max())
            details.append(
                {"label": label, "ratio": ratios[label], "largest_gap": gap, "seconds": seconds}
            )
    notes = [f"{label}: {ratio:.1f}×" for label, ratio in ratios.items()]
    against = "score_samples and predict_proba against scikit-learn"
    figures = summary("score", ratios, against, target=20, at_least=8, each=1)
    return Outcome(figures, notes, {"cells": details})


def _call(method: Callable[[FloatArray], Any], X: FloatArray) -> Callable[[], Any]:
    return lambda: method(X)


def memory(session: Session) -> Outcome:
    """Memory that a fit takes beside the data, at its peak, in a process of its own."""
    n_samples, n_features, k = session.effort.reduced(1_000_000), 16, 64
    n_samples = max(n_samples, 2 * k)
    program = str(Path(__file__).resolve().with_name("peak_memory.py"))
    size = [str(count) for count in (n_samples, n_features, k)]
    extra: dict[str, float] = {}
    for name, module in ((OURS, "fastclust"), (THEIRS, "sklearn.mixture")):
        say(f"  memory: {name}")
        command = [sys.executable, program, module, *size, "GaussianMixture"]
        child = subprocess.run(command, check=True, capture_output=True, text=True)
        extra[name] = int(child.stdout) / 1e6
    what = f"peak memory of a fit beside X, {n_samples:,}×{n_features}, k={k}, full, float64"
    return Outcome(
        [Figure("memory", what, extra[OURS], "MB", 50, 100, lower_is_better=True)],
        [f"scikit-learn: {extra[THEIRS]:.0f} MB; X is {n_samples * n_features * 8 / 1e6:.0f} MB"],
        {"megabytes": extra},
    )


def bits(session: Session) -> Outcome:
    """Whether fits on 1, 2 and 7 threads give the same bits."""
    n_samples = session.effort.reduced(200_000)
    same: dict[str, bool] = {}
    for name in CLASSES:
        for n_features in (2, 32):
            X = gaussian_blobs(n_samples, n_features, 8, "float64")
            for kind in TYPES:
                problem = Problem(name, kind, X, 8)
                fits = [_on_threads(problem, n) for n in (1, 2, 7)]
                same[f"{name}, {problem.label}"] = fits.count(fits[0]) == len(fits)
    what = f"of {len(same)} fits are the same bits on 1, 2 and 7 threads"
    figure = Figure("bits", what, sum(same.values()), "fits", len(same), len(same))
    return Outcome([figure], [], {"same": same})


def _on_threads(problem: Problem, n_threads: int) -> list[bytes]:
    """Bytes of everything that a fit on so many threads has found."""
    with (
        mock.patch.object(parallel, "effective_n_threads", return_value=n_threads),
        mock.patch.object(parallel, "SMALL_WORK", 0),
    ):
        fitted = problem.fit(fastclust, 4)
        found = [np.asarray(getattr(fitted, name)).tobytes() for name in FITTED]
        return [
            *found,
            np.float64(fitted.lower_bound_).tobytes(),
            fitted.predict(problem.X).tobytes(),
        ]


ROWS: dict[str, Callable[[Session], Outcome]] = {
    function.__name__: function for function in (steps, plane, fit, bayesian, score, memory, bits)
}


if __name__ == "__main__":
    sys.exit(command.main(rows=ROWS, output="results-mixture"))
