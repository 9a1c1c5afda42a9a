"""Measures MiniBatchKMeans beside scikit-learn's, as ``targets.py`` does for KMeans.

::

    python benchmarks/minibatch_targets.py [ROW ...] [--quick] [--output FILE]

A ratio counts only beside its inertia: both are reported, and no fit may end more than 3 % above
scikit-learn's.  The sides are run in turn; a side that takes longer than ten seconds is timed once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import sklearn.cluster

sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
from benchmarks.measuring import command
from benchmarks.measuring.command import Session
from benchmarks.measuring.figures import OURS, THEIRS, Figure, Outcome
from benchmarks.measuring.turns import FULL, QUICK, Effort, measured
from fastclust.commands.measuring import Timed
from fastclust.workloads import digit_images, five_blobs, gaussian_blobs

# Rows of the untimed fit before each seed's: enough for the threads of either side, and for kernels
# that are read from the cache, as those of a first fit are in half a second.
WARM_ROWS = 100_000

ENGINES = {OURS: fastclust.MiniBatchKMeans, THEIRS: sklearn.cluster.MiniBatchKMeans}


def problems(effort: Effort) -> dict[str, tuple[Any, int]]:
    """Data and number of clusters of the fits, by name."""
    reduced = effort.reduced
    return {
        "five blobs, 2,000×2, k=5": (five_blobs(), 5),
        "digits, 10,000×784, k=10": (digit_images(reduced(10_000)).astype(np.float32), 10),
        "1,000,000×16, k=64": (gaussian_blobs(reduced(1_000_000), 16, 64, "float64"), 64),
        "2,000,000×4, k=200, float32": (gaussian_blobs(reduced(2_000_000), 4, 200, "float32"), 200),
        "200,000×64, k=100, float32": (gaussian_blobs(reduced(200_000), 64, 100, "float32"), 100),
    }


def fits(session: Session, **more: Any) -> Outcome:
    """``fit`` against scikit-learn's, over seeds; `more` is passed to ours alone."""
    figures, details, notes, ratios = [], {}, [], []
    for name, (X, n_clusters) in problems(session.effort).items():
        seconds: dict[str, float] = dict.fromkeys(ENGINES, 0.0)
        inertias: dict[str, list[float]] = {engine: [] for engine in ENGINES}
        for seed in session.effort.seeds:
            models = {
                OURS: ENGINES[OURS](n_clusters, random_state=seed, **more),
                THEIRS: ENGINES[THEIRS](n_clusters, random_state=seed),
            }
            sides = {engine: Timed(partial(m.fit, X)) for engine, m in models.items()}
            for model in models.values():
                model.fit(X[:WARM_ROWS])
            runs = measured(f"{name}, seed {seed}", sides, session.effort, warm_up=False)
            for engine, model in models.items():
                seconds[engine] += statistics.median(runs[engine])
                inertias[engine].append(float(model.inertia_))
        ratios.append(seconds[THEIRS] / seconds[OURS])
        excess = sum(inertias[OURS]) / sum(inertias[THEIRS]) - 1
        what = "nested" if more else "fit"
        figures.append(Figure(what, name, ratios[-1], "×", 20, 2.5))
        worse = 100 * excess
        figures.append(Figure(what, f"{name}: inertia above", worse, "%", 0, 3, True))
        times = ", ".join(f"{k} {v / len(session.effort.seeds):.4f} s" for k, v in seconds.items())
        notes.append(f"{name}: {times}")
        details[name] = {"seconds": seconds, "inertias": inertias}
    mean = float(np.exp(np.mean(np.log(ratios))))
    figures.append(Figure("fit" if not more else "nested", "geometric mean", mean, "×", 20, 10))
    return Outcome(figures, notes, details)


def fit(session: Session) -> Outcome:
    """Fits with the defaults: the same draws, the same batches."""
    return fits(session)


def nested(session: Session) -> Outcome:
    """Fits by nested batches, against scikit-learn's with its defaults."""
    return fits(session, algorithm="nested")


def partial_fit(session: Session) -> Outcome:
    """Batch after batch of 1,024 rows of 64 features, k=100."""
    figures, details = [], {}
    for dtype in ("float32", "float64"):
        batches = gaussian_blobs(1024 * 100, 64, 100, dtype).reshape(100, 1024, 64)

        def side(engine: Any, batches: Any = batches) -> Any:
            def run() -> float:
                model = engine(100, random_state=0).partial_fit(batches[0])
                start = perf_counter()
                for batch in batches[1:]:
                    model.partial_fit(batch)
                return (perf_counter() - start) / (len(batches) - 1)

            return run

        runs = measured(
            f"partial_fit, {dtype}",
            {name: side(engine) for name, engine in ENGINES.items()},
            session.effort,
        )
        ratio = statistics.median(runs[THEIRS]) / statistics.median(runs[OURS])
        figures.append(Figure("partial_fit", f"1,024×64, k=100, {dtype}", ratio, "×", 6, 3))
        details[dtype] = {"seconds": runs}
    return Outcome(figures, [], details)


ROWS = {function.__name__: function for function in (fit, nested, partial_fit)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; the exit status is that of ``command.measure``."""
    parser = argparse.ArgumentParser(description="Measure MiniBatchKMeans beside scikit-learn's.")
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="ROW")
    parser.add_argument("--quick", action="store_true", help="a trial run on a twentieth of rows")
    parser.add_argument("--output", type=Path, default=Path("minibatch.json"), metavar="FILE")
    args = parser.parse_args(argv)
    chosen = [name for name in ROWS if name in args.rows] or list(ROWS)
    return command.measure(Session(QUICK if args.quick else FULL, chosen), args.output, ROWS)


if __name__ == "__main__":
    sys.exit(main())
