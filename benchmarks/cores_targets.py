"""Measures what threads cost and bring: launches, short passes beside an older state, small fits.

::

    python benchmarks/cores_targets.py [ROW ...] [--before DIR] [--quick] [--output FILE]

`passes` compares with another checkout of this project (``git worktree add DIR COMMIT``), which
runs in a process of its own; the two are run in turn, and one waits while the other one works.
With ``--sides DIR`` what they have compiled is kept there for the next run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

import numpy as np
import sklearn.cluster
import sklearn.mixture

# Behind the installed fastclust, and behind the one that a side is told to use.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
from fastclust.commands.calls import Problem, make_task
from fastclust.workloads import five_blobs

try:
    from fastclust.kernels.machine.parallel import Team, team
except ModuleNotFoundError:  # the other checkout may be older than that folder
    from fastclust.kernels.parallel import Team, team

HERE = Path(__file__).resolve()
REST = 0.002  # seconds after which helpers sleep
PASSES = {
    "Lloyd iteration, 100,000×2, k=8": ("Lloyd iteration", Problem(100_000, 2, 8)),
    "Lloyd iteration, 20,000×16, k=26": ("Lloyd iteration", Problem(20_000, 16, 26)),
}
PARTIAL = "partial_fit, 1,024×64, k=100, float32"


def median(action: Callable[[], Any], repeats: int, rest: float = 0.0) -> float:
    """Median seconds of a call, each after `rest` seconds in which nothing happens."""
    seconds = []
    for _ in range(repeats):
        if rest:
            sleep(rest)
        start = perf_counter()
        action()
        seconds.append(perf_counter() - start)
    return statistics.median(seconds)


def empty_launch(threads: Team) -> Callable[[], None]:
    """A launch of one tiny task for each of two threads, said to be much work."""
    # Only here: the other checkout may have them elsewhere.
    from fastclust.kernels.emit.cpu import lanes
    from fastclust.kernels.emit.roof import ROOF_CHAINS
    from fastclust.kernels.machine.roof import spin

    values = np.full((2, ROOF_CHAINS * lanes("float32")), 0.5, np.float32)
    return lambda: threads.run(spin, 1e12, len(values), 1, values)


def launch(session: Any) -> Any:
    """What a launch with two threads takes beyond one with one."""
    from benchmarks.measuring.figures import Figure, Outcome

    figures, details = [], {}
    for state, rest, repeats, bounds in (
        ("hot", 0.0, 2_000, (2, 4)),
        ("after 2 ms of rest", REST, 200, (20, 40)),
    ):
        turns: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(session.effort.repeats):
            for n_threads, seconds in turns.items():
                with team(n_threads) as threads:
                    action = empty_launch(threads)
                    median(action, 50)
                    seconds.append(median(action, repeats, rest))
        alone, together = (1e6 * statistics.median(turns[n]) for n in (1, 2))
        figures.append(Figure("launch", state, together - alone, "µs", *bounds, True))
        details[state] = {"one thread": alone, "two threads": together}
    return Outcome(figures, [str(details)], details)


def partial_fits() -> Callable[[], None]:
    """Ten batches for one model."""
    X = np.random.default_rng(0).standard_normal((11 * 1024, 64), dtype=np.float32)
    start = X[:100].copy()
    model = fastclust.MiniBatchKMeans(100, init=start, n_init=1, random_state=0)
    batches = X.reshape(11, 1024, 64)
    model.partial_fit(batches[0])

    def run() -> None:
        for batch in batches[1:]:
            model.partial_fit(batch)

    return run


def side() -> None:
    """Serve one checkout: for each name that is read, time what it stands for."""
    with team() as threads:
        actions = {name: make_task(*what, threads).action for name, what in PASSES.items()}
        for line in sys.stdin:
            name = line.strip()
            if name == PARTIAL and name not in actions:
                threads.close()
                actions[name] = partial_fits()
            action = actions[name]
            median(action, 20)
            print(median(action, 200), flush=True)


def passes(session: Any) -> Any:
    """Passes of a fraction of a millisecond, against those of another checkout."""
    from benchmarks.measuring.figures import Figure, Outcome

    sides, seconds = {}, {}
    with TemporaryDirectory() if session.sides is None else nullcontext(session.sides) as folder:
        for name, root in (("now", HERE.parents[1]), ("before", session.before)):
            package = Path(folder) / name / "fastclust"
            # In a checkout the kernels lie beside the package.
            shutil.copytree(root / "fastclust", package, dirs_exist_ok=True)
            shutil.copytree(root / "kernels", package / "kernels", dirs_exist_ok=True)
            sides[name] = subprocess.Popen(
                [sys.executable, HERE, "--side"],
                env={**os.environ, "PYTHONPATH": str(package.parent), "PYTHONSAFEPATH": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        for what in (*PASSES, PARTIAL):
            seconds[what] = {name: [] for name in sides}
            for _ in range(session.effort.repeats):
                for name, process in sides.items():
                    print(what, file=process.stdin, flush=True)
                    seconds[what][name].append(float(process.stdout.readline()))
        for process in sides.values():
            process.communicate()
    figures, notes = [], []
    for what, runs in seconds.items():
        now, before = (statistics.median(runs[name]) for name in ("now", "before"))
        figures.append(Figure("passes", what, before / now, "×", 1.3, 1.1))
        notes.append(f"{what}: before {1e6 * before:.0f} µs, now {1e6 * now:.0f} µs")
    return Outcome(figures, notes, seconds)


def small(session: Any) -> Any:
    """Fits to 2,000 rows of two features, against scikit-learn's."""
    from benchmarks.measuring.figures import OURS, THEIRS, Figure, Outcome
    from benchmarks.measuring.turns import measured
    from fastclust.commands.measuring import Timed

    X = five_blobs()
    fits = {
        "KMeans, k=5, n_init=1": ("cluster.KMeans", {"n_clusters": 5, "n_init": 1}),
        "KMeans, k=5, n_init=10": ("cluster.KMeans", {"n_clusters": 5, "n_init": 10}),
        "elkan, k=5": ("cluster.KMeans", {"n_clusters": 5, "algorithm": "elkan"}),
        "GaussianMixture, k=3": ("mixture.GaussianMixture", {"n_components": 3}),
        "MiniBatchKMeans, k=5": ("cluster.MiniBatchKMeans", {"n_clusters": 5}),
    }
    figures, details = [], {}
    for what, (path, parameters) in fits.items():
        module, name = path.split(".")
        classes = {OURS: getattr(fastclust, name), THEIRS: getattr(getattr(sklearn, module), name)}
        models = {engine: each(random_state=0, **parameters) for engine, each in classes.items()}
        sides = {engine: Timed(lambda m=m: m.fit(X)) for engine, m in models.items()}
        runs = measured(what, sides, session.effort)
        ratio = statistics.median(runs[THEIRS]) / statistics.median(runs[OURS])
        figures.append(Figure("small", what, ratio, "×", 6, 4))
        details[what] = runs
    return Outcome(figures, [], details)


ROWS = {function.__name__: function for function in (launch, passes, small)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; the exit status is that of ``command.measure``."""
    from benchmarks.measuring import command
    from benchmarks.measuring.turns import FULL, QUICK

    parser = argparse.ArgumentParser(description="Measure what threads cost and bring.")
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], metavar="ROW")
    parser.add_argument("--before", type=Path, metavar="DIR", help="checkout of an older state")
    parser.add_argument("--sides", type=Path, metavar="DIR", help="keep both sides of passes here")
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument("--output", type=Path, default=Path("cores.json"), metavar="FILE")
    args = parser.parse_args(argv)
    chosen = [name for name in ROWS if name in args.rows] or list(ROWS)
    if args.before is None:
        if "passes" in args.rows:
            parser.error("passes needs --before DIR, a checkout to compare with")
        chosen = [name for name in chosen if name != "passes"]
    session = command.Session(QUICK if args.quick else FULL, chosen)
    session.before, session.sides = args.before, args.sides
    return command.measure(session, args.output, ROWS)


if __name__ == "__main__":
    if "--side" in sys.argv:
        side()
    else:
        sys.exit(main())
