"""Times everyday calls beside scikit-learn's: nobody should ever wait longer than with it.

::

    python benchmarks/floor.py [--only PATTERN] [--runs N] [--quick] [--output FILE] [--list]

The calls are small on purpose: a row to predict, a hundred rows of text, a fit to fifty rows.
Where there is next to nothing to compute, what is measured is what surrounds it.  Both sides of a
call are run in turn (see ``targets.py``); its figure is the median of the ratios of N runs over all
calls, 3 by default.  Below 1 it is missed.  ``--only`` takes a regular expression, such as
``"^predict"``: the file is written after every call, and keeps those that were measured before.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture

sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
from benchmarks.measuring.command import Session, document, show
from benchmarks.measuring.figures import OURS, THEIRS, Figure, Outcome
from benchmarks.measuring.turns import PAUSE, Effort, measured
from fastclust.commands.measuring import Seconds, Timed
from fastclust.workloads import gaussian_blobs

ENGINES = {
    OURS: fastclust,
    THEIRS: SimpleNamespace(
        **{
            name: getattr(module, name)
            for module in (sklearn.cluster, sklearn.mixture, sklearn.metrics)
            for name in module.__all__
            if hasattr(fastclust, name)
        }
    ),
}
EFFORT = Effort(repeats=5, fill=0.0)
QUICK = Effort(repeats=1, fill=0.0)
# Seconds over which a side repeats its call within a turn.
LEAST = 0.02
WIDTH = 240  # characters of a line of the file

# Makes, for the name of an engine, the call that is timed.
Maker = Callable[[str], Callable[[], Any]]

# Features and clusters of the dense models.
SHAPES = ((2, 5), (20, 20), (100, 1000), (784, 10))
TEXTS = ((20_000, 20), (200_000, 2))
KINDS = ("full", "tied", "diag", "spherical")  # of covariances
MANY = 2_000


@cache
def dense(n_samples: int, n_features: int, n_clusters: int, dtype: str = "float64") -> Any:
    """Rows around centers."""
    return gaussian_blobs(n_samples, n_features, n_clusters, dtype)


@cache
def sparse(n_samples: int, n_features: int, per_row: int = 50) -> Any:
    """Rows like those of words: few entries each, more of them in the first columns."""
    rng = np.random.default_rng(0)
    columns = (n_features * rng.random((n_samples, per_row)) ** 3).astype(np.int32)
    lines = np.repeat(np.arange(n_samples), per_row)
    shape = (n_samples, n_features)
    return scipy.sparse.csr_matrix((rng.random(columns.size), (lines, columns.ravel())), shape)


@cache
def fitted(kind: str, engine: str, n_features: int, n_clusters: int, dtype: str = "float64") -> Any:
    """A model of the class `kind` that has seen a few more rows than it has clusters."""
    rows = dense(max(2 * n_clusters, 300), n_features, n_clusters, dtype)
    return model(kind, engine, n_clusters).fit(rows)


@cache
def fitted_to_text(engine: str, n_features: int, n_clusters: int) -> Any:
    """A model of sparse rows."""
    return model("KMeans", engine, n_clusters).fit(sparse(300, n_features))


@cache
def fitted_mixture(name: str, kind: str, engine: str) -> Any:
    """A mixture of five components."""
    options = {"n_components": 5, "covariance_type": kind, "random_state": 0}
    return getattr(ENGINES[engine], name)(**options).fit(dense(300, 8, 5))


def model(kind: str, engine: str, n_clusters: int) -> Any:
    """A model that is fitted in next to no time."""
    return getattr(ENGINES[engine], kind)(n_clusters, random_state=0, max_iter=3)


def asked(method: str, X: Any, find: Callable[[str], Any]) -> Maker:
    """Ask a fitted model about rows."""
    return lambda engine: partial(getattr(find(engine), method), X)


def fit(kind: str, X: Any, *counts: int, method: str = "fit", **options: Any) -> Maker:
    """Fit a new model to rows."""

    def make(engine: str) -> Callable[[], Any]:
        estimator = getattr(ENGINES[engine], kind)

        def call() -> Any:
            return getattr(estimator(*counts, random_state=0, **options), method)(X)

        return call

    return make


def fit_mixture(X: Any, k: int, name: str = "GaussianMixture", **options: Any) -> Maker:
    """Fit a new mixture to rows."""
    return fit(name, X, n_components=k, **options)


def partial_fit(X: Any, n_clusters: int) -> Maker:
    """One more batch."""

    def make(engine: str) -> Callable[[], Any]:
        return partial(ENGINES[engine].MiniBatchKMeans(n_clusters, random_state=0).partial_fit, X)

    return make


def function(name: str, *arguments: Any, **options: Any) -> Maker:
    """A function of the engine."""
    return lambda engine: partial(getattr(ENGINES[engine], name), *arguments, **options)


def _of_dense_models() -> dict[str, Maker]:
    calls: dict[str, Maker] = {}
    for d, k in SHAPES:
        find = partial(fitted, "KMeans", n_features=d, n_clusters=k)
        for method, counts in (
            ("predict", (1, 100, MANY)),
            ("score", (1, MANY)),
            ("transform", (1, MANY)),
        ):
            for n in counts:
                X = dense(MANY, d, k)[:n]
                calls[f"{method} {n:,}, d={d} k={k}"] = asked(method, X, find)
    return calls


def _of_other_input() -> dict[str, Maker]:
    """Rows that are not C-contiguous float64 arrays."""
    import pandas

    d, k = SHAPES[1]
    rows = dense(MANY, d, k)
    find = partial(fitted, "KMeans", n_features=d, n_clusters=k)
    single = partial(fitted, "KMeans", n_features=100, n_clusters=1000, dtype="float32")
    named = pandas.DataFrame(rows, columns=[f"column{t}" for t in range(d)])

    @cache
    def by_names(engine: str) -> Any:
        return model("KMeans", engine, k).fit(named[:300])

    floats = dense(MANY, 100, 1000, "float32")
    return {
        "predict 1, float32, d=100 k=1000": asked("predict", floats[:1], single),
        "predict 2,000, float32, d=100 k=1000": asked("predict", floats, single),
        "transform 2,000, float32, d=100 k=1000": asked("transform", floats, single),
        "predict 1, a list": asked("predict", rows[:1].tolist(), find),
        "predict 2,000, integers": asked("predict", rows.astype(np.int64), find),
        "predict 2,000, float16": asked("predict", rows.astype(np.float16), find),
        "predict 2,000, Fortran order": asked("predict", np.asfortranarray(rows), find),
        "transform 2,000, Fortran order": asked("transform", np.asfortranarray(rows), find),
        "predict 1, a frame": asked("predict", named[:1], by_names),
        "predict 2,000, a frame": asked("predict", named, by_names),
    }


def _of_sparse_models() -> dict[str, Maker]:
    calls: dict[str, Maker] = {}
    for d, k in TEXTS:
        find = partial(fitted_to_text, n_features=d, n_clusters=k)
        for method, counts in (
            ("predict", (1, 100, MANY)),
            ("score", (100,)),
            ("transform", (1, MANY)),
        ):
            for n in counts:
                X = sparse(MANY, d)[:n]
                calls[f"sparse {method} {n:,}, d={d:,} k={k}"] = asked(method, X, find)
    return calls


def _of_other_clusterings() -> dict[str, Maker]:
    batches = partial(fitted, "MiniBatchKMeans", n_features=20, n_clusters=20)
    tree = partial(fitted, "BisectingKMeans", n_features=10, n_clusters=500)
    rows = dense(MANY, 10, 500)
    return {
        "minibatch predict 1, d=20 k=20": asked("predict", dense(MANY, 20, 20)[:1], batches),
        "minibatch transform 2,000, d=20 k=20": asked("transform", dense(MANY, 20, 20), batches),
        "partial_fit 100×20 k=20": partial_fit(dense(100, 20, 20), 20),
        "sparse partial_fit 100×100,000 k=50": partial_fit(sparse(100, 100_000), 50),
        "sparse partial_fit 1,000×2,000 k=50": partial_fit(sparse(1_000, 2_000), 50),
        "bisecting predict 1, d=10 k=500": asked("predict", rows[:1], tree),
        "bisecting predict 2,000, d=10 k=500": asked("predict", rows, tree),
        "bisecting fit 2,000×10 k=500": fit("BisectingKMeans", rows, 500),
        "bisecting fit 300×2 k=8": fit("BisectingKMeans", dense(300, 2, 8), 8),
    }


def _fits() -> dict[str, Maker]:
    fit_predict = partial(fit, "KMeans", method="fit_predict")
    return {
        "fit 50×100,000 k=5": fit("KMeans", dense(50, 100_000, 5), 5),
        "fit_predict 50×4 k=3": fit_predict(dense(50, 4, 3), 3),
        "fit_predict 300×20 k=8, float32": fit_predict(dense(300, 20, 8, "float32"), 8),
        "sparse fit_predict 100×20,000 k=5": fit_predict(sparse(100, 20_000), 5),
        "sparse fit_predict 20×200 k=3": fit_predict(sparse(20, 200, 10), 3),
        "minibatch fit 200×4 k=3": fit("MiniBatchKMeans", dense(200, 4, 3), 3),
        "fit_transform 300×20 k=8": fit("KMeans", dense(300, 20, 8), 8, method="fit_transform"),
    }


def _of_seeding_and_silhouettes() -> dict[str, Maker]:
    calls = {
        f"k-means++ {n:,}×{d:,} k={k}": function(
            "kmeans_plusplus", dense(n, d, k), k, random_state=0
        )
        for n, d, k in ((100, 2, 5), (2_000, 20, 20), (300, 50_000, 8), (100, 5_000, 5))
    }
    for n, d, k in ((100, 20_000, 8), (2_000, 2_000, 20)):
        calls[f"sparse k-means++ {n:,}×{d:,} k={k}"] = function(
            "kmeans_plusplus", sparse(n, d), k, random_state=0
        )
    for n, d in ((1_000, 2_000), (5_000, 784), (2_000, 784), (2_000, 2), (300, 10), (100, 4)):
        labels = np.arange(n) % 5
        what = f"silhouette {n:,}×{d:,}"
        calls[what] = function("silhouette_score", dense(n, d, 5), labels)
    return calls


def _of_mixtures() -> dict[str, Maker]:
    calls: dict[str, Maker] = {}
    rows = dense(300, 8, 5)
    for kind in KINDS:
        find = partial(fitted_mixture, "GaussianMixture", kind)
        for method in ("predict", "score_samples", "predict_proba"):
            for n in (1, 100):
                calls[f"mixture {method} {n}, {kind}, d=8 k=5"] = asked(method, rows[:n], find)
    find = partial(fitted_mixture, "GaussianMixture", "full")
    for method in ("score", "bic"):
        calls[f"mixture {method} 100, full, d=8 k=5"] = asked(method, rows[:100], find)
    find = partial(fitted_mixture, "BayesianGaussianMixture", "full")
    for n in (1, 100):
        calls[f"Bayesian mixture predict {n}, full, d=8 k=5"] = asked("predict", rows[:n], find)
    return calls


def _fits_of_mixtures() -> dict[str, Maker]:
    calls: dict[str, Maker] = {}
    small, narrow, rows = dense(30, 2, 2), dense(500, 1, 3), dense(300, 8, 5)
    for kind in KINDS:
        one = partial(fit_mixture, covariance_type=kind)
        calls[f"mixture fit 30×2 k=2, {kind}"] = one(small, 2)
        calls[f"mixture fit 500×1 k=3, {kind}"] = one(narrow, 3)
        calls[f"mixture fit 300×8 k=5, {kind}, n_init=5"] = one(rows, 5, n_init=5)
    for start in ("k-means++", "random"):
        calls[f"mixture fit 300×8 k=5, {start}"] = fit_mixture(rows, 5, init_params=start)
    bayesian = partial(fit_mixture, name="BayesianGaussianMixture")
    calls["Bayesian mixture fit 30×2 k=2, full"] = bayesian(small, 2)
    calls["Bayesian mixture fit 300×8 k=5, diag"] = bayesian(rows, 5, covariance_type="diag")
    return calls


def calls() -> dict[str, Maker]:
    """All calls by name."""
    return {
        **_of_dense_models(),
        **_of_other_input(),
        **_of_sparse_models(),
        **_of_other_clusterings(),
        **_fits(),
        **_of_seeding_and_silhouettes(),
        **_of_mixtures(),
        **_fits_of_mixtures(),
    }


def ratio(seconds: Seconds) -> float:
    """How many times as long as ours scikit-learn's call takes."""
    return statistics.median(seconds[THEIRS]) / statistics.median(seconds[OURS])


def outcome(runs: Mapping[str, Sequence[Seconds]]) -> Outcome:
    """The figures of calls, from the times of their runs."""
    ratios = {name: [ratio(run) for run in each] for name, each in runs.items()}
    medians = {name: statistics.median(each) for name, each in ratios.items()}
    figures = [Figure("floor", name, value, "×", 2, 1) for name, value in medians.items()]
    mean = statistics.geometric_mean(medians.values())
    figures.append(Figure("floor", f"geometric mean of {len(medians)}", mean, "×", 2, 1))
    below = [f"{name}: {value:.2f}" for name, value in medians.items() if value < 1]
    notes = [f"{len(below)} of {len(medians)} below 1", *below]
    return Outcome(figures, notes, {"seconds": dict(runs)})


def compact(value: Any, indent: str = "") -> str:
    """JSON in which whatever fits on a line has one: a figure, a run of a call."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent + line) <= WIDTH or not isinstance(value, (dict, list)):
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        parts = [
            f"{json.dumps(k, ensure_ascii=False)}: {compact(v, inner)}" for k, v in value.items()
        ]
    else:
        parts = [compact(each, inner) for each in value]
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return f"{begin}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{end}"


def floor(
    session: Session, chosen: dict[str, Maker], runs: int, keep: Callable[[Outcome], Any]
) -> Outcome:
    """The chosen calls against scikit-learn's; what is measured so far is handed to `keep`."""
    seconds: dict[str, list[Seconds]] = {}
    # Threads of scikit-learn's BLAS look out for more work for a tenth of a second.
    pause = 0.0 if session.effort == QUICK else PAUSE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fits that are stopped early
        for number in range(runs):
            for name, make in chosen.items():
                sides = {side: Timed(make(side), LEAST) for side in ENGINES}
                found = measured(name, sides, session.effort, warm_up=number == 0, pause=pause)
                rounded = {
                    side: [float(f"{t:.4g}") for t in times] for side, times in found.items()
                }
                seconds.setdefault(name, []).append(rounded)
                keep(outcome(seconds))
    return outcome(seconds)


class Results:
    """The JSON file: the calls that were measured now, and those that it has from before.

    Parameters
    ----------
    path : Path
        The file.  What it holds of another effort is no part of the same table, and is replaced.
    effort : Effort
        How much is done.
    """

    def __init__(self, path: Path, effort: Effort) -> None:
        self.path, self.effort = path, effort
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        same = before.get("effort") == json.loads(json.dumps(asdict(effort)))
        self.before = before["details"]["floor"]["seconds"] if same else {}

    def write(self, found: Outcome) -> Outcome:
        """Write what was found over what there was, in the order of :func:`calls`."""
        runs = self.before | found.details["seconds"]
        whole = outcome({name: runs[name] for name in calls() if name in runs})
        text = compact(document({"floor": whole}, self.effort, {}))
        # A process that is killed while it writes leaves the file as it was.
        beside = self.path.with_name(self.path.name + ".part")
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(self.path)
        return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; the exit status is 0, or 130 if interrupted."""
    parser = argparse.ArgumentParser(description="Time everyday calls beside scikit-learn's.")
    add = parser.add_argument
    add("--only", type=re.compile, default=re.compile(""), metavar="PATTERN", help="part of names")
    add("--runs", type=int, default=3, metavar="N", help="runs over all calls (default: 3)")
    add("--quick", action="store_true", help="a trial: one run, one turn")
    add(
        "--output", type=Path, default=Path("floor.json"), metavar="FILE", help="JSON file to write"
    )
    add("--list", action="store_true", help="list the calls and exit")
    args = parser.parse_args(argv)
    chosen = {name: make for name, make in calls().items() if args.only.search(name)}
    if not chosen:
        parser.error(f"--only must match the name of a call, but {args.only.pattern!r} does not")
    if args.list:
        print("\n".join(chosen))
        return 0
    runs = 1 if args.quick else args.runs
    session = Session(QUICK if args.quick else EFFORT, ["floor"])
    results = Results(args.output, session.effort)
    try:
        found = floor(session, chosen, runs, results.write)
    except KeyboardInterrupt:
        return 130
    show({"floor": results.write(found)}, {}, session.effort)
    return 0


if __name__ == "__main__":
    sys.exit(main())
