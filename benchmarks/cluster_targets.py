"""Measures fits on a Dask cluster of this machine: two worker processes of one thread each.

::

    python benchmarks/cluster_targets.py [ROW ...] [--dask-ml PYTHON] [--quick] [--output FILE]

It measures as ``targets.py`` does.  Rows that the JSON file has from before are kept, so that they
can be measured one at a time.

``--dask-ml`` names a Python interpreter that has dask-ml and distributed, which may be others than
this one's.  Without it, the rows `sums` and `peer` leave dask-ml out.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dask
import dask.array
import dask.dataframe
import numpy as np
import pandas
import psutil
import sklearn.cluster
from distributed import Client, LocalCluster, wait
from distributed.comm.tcp import TCP
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning

# A script finds only its own folder.  The checkout comes last, behind the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
import fastclust.dask
from benchmarks.measuring import command
from benchmarks.measuring.command import Session
from benchmarks.measuring.figures import OURS, THEIRS, Figure, Outcome, say
from benchmarks.measuring.turns import FULL, QUICK, measured
from fastclust.commands.measuring import Timed
from fastclust.workloads import FloatArray, gaussian_blobs

MB = 1e6
WORKERS = 2
KILLS = 20
RESTART = 15  # seconds in which Dask starts a worker again
DASK_ML = "dask-ml"
# Of a fit, what must be the same bits.
COMPARED = (
    "cluster_centers_", "labels_", "inertia_", "n_iter_", "weights_", "means_", "covariances_",
    "precisions_cholesky_", "lower_bound_",
)  # fmt: skip


@contextlib.contextmanager
def cluster(n_workers: int = WORKERS, n_threads: int = 1) -> Iterator[Client]:
    """Worker processes of this machine, and a client of theirs."""
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=n_threads,
            processes=True,
            dashboard_address=None,
            memory_limit=0,
        ) as workers,
        Client(workers) as client,
    ):
        yield client


def held(X: FloatArray, n_parts: int) -> Any:
    """Rows in the memory of the workers, in so many blocks."""
    rows = dask.array.from_array(X, chunks=(-(-len(X) // n_parts), X.shape[1])).persist()
    wait(rows)
    return rows


def results(model: Any) -> dict[str, Any]:
    """What a fit has found, by name."""
    return {name: np.asarray(getattr(model, name)) for name in COMPARED if hasattr(model, name)}


def is_same(found: Any, expected: Any) -> bool:
    """Whether two fits have found the same bits."""
    own, other = results(found), results(expected)
    return own.keys() == other.keys() and all(
        np.array_equal(own[name], other[name]) for name in own
    )


# --- Bits ------------------------------------------------------------------------------------

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "KMeans": ("KMeans", {"n_clusters": 6, "max_iter": 8, "random_state": 0}),
    **{
        f"GaussianMixture, {kind}": (
            "GaussianMixture",
            {"n_components": 3, "covariance_type": kind, "max_iter": 4, "random_state": 0},
        )
        for kind in ("full", "tied", "diag", "spherical")
    },
    "BayesianGaussianMixture": (
        "BayesianGaussianMixture",
        {"n_components": 3, "max_iter": 4, "random_state": 0},
    ),
}


def chunkings(n_rows: int) -> dict[str, list[int]]:
    """Sizes of blocks: one, even ones, uneven ones, and many of which one has a single row."""
    even = -(-n_rows // 6)
    many = [1, *([n_rows // 17] * 16)]
    return {
        "one": [n_rows],
        "even": [even] * 5 + [n_rows - 5 * even],
        "uneven": [n_rows // 10, n_rows // 2, n_rows - n_rows // 10 - n_rows // 2],
        "many": [*many, n_rows - sum(many)],
    }


def rows_of(kind: str, X: FloatArray, sizes: Sequence[int], folder: Path) -> Any:
    """Rows as a collection of Dask's, or a folder of Parquet files, in blocks of these sizes."""
    if kind == "array":
        return dask.array.from_array(X, chunks=(tuple(sizes), X.shape[1]))
    names = [f"column {t}" for t in range(X.shape[1])]
    borders = np.cumsum([0, *sizes])
    frames = [pandas.DataFrame(X[i:j], columns=names) for i, j in itertools.pairwise(borders)]
    if kind == "dataframe":
        return dask.dataframe.from_delayed([dask.delayed(frame) for frame in frames])
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        frame.to_parquet(folder / f"part-{number:03}.parquet")
    return str(folder)


def bits(session: Session) -> Outcome:
    """Each estimator on 1, 2, 3 and 5 workers × 4 chunkings × 3 kinds of rows, with weights."""
    n = max(300, session.effort.reduced(6_000))
    X = gaussian_blobs(n, 5, 6, "float64")
    weights = np.random.default_rng(0).integers(1, 4, n).astype(float)
    workers = (1, 2, 3, 5) if session.effort.divisor == 1 else (2,)
    fits = {name: _fitted(fastclust, name, X, weights) for name in MODELS}
    same = dict.fromkeys(MODELS, 0)
    with tempfile.TemporaryDirectory(prefix="fastclust-") as folder:
        for n_workers in workers:
            with cluster(n_workers):
                for (chunks, sizes), kind in itertools.product(
                    chunkings(n).items(), ("array", "dataframe", "parquet")
                ):
                    rows = rows_of(kind, X, sizes, Path(folder, str(n_workers), chunks))
                    own = dask.array.from_array(weights, chunks=(tuple(sizes),))
                    for name in MODELS:
                        found = _fitted(fastclust.dask, name, rows, own)
                        same[name] += is_same(found, fits[name])
            say(f"  {n_workers} workers: {same}")
    count = len(workers) * 4 * 3
    figures = [
        Figure("bits", f"{name}: the local fit's, of {count}", good, "fits", count, count)
        for name, good in same.items()
    ]
    return Outcome(figures, [], {"same": same, "of": count})


def _fitted(module: Any, name: str, rows: Any, weights: Any) -> Any:
    """One of :data:`MODELS`, fitted; mixtures take weights as well."""
    kind, parameters = MODELS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return getattr(module, kind)(**parameters).fit(rows, sample_weight=weights)


# --- Time ------------------------------------------------------------------------------------


def speed(session: Session) -> Outcome:
    """KMeans on 2M×16, k=64, float32, 20 iterations, beside the local fit with two threads."""
    X = gaussian_blobs(session.effort.reduced(2_000_000), 16, 64, "float32")
    k = min(64, len(X) // 4)
    parameters = {"init": X[:: len(X) // k][:k].copy(), "max_iter": 20, "tol": 0.0}
    with cluster():
        rows = held(X, 16)
        ours = fastclust.dask.KMeans(k, **parameters)
        local = fastclust.KMeans(k, **parameters)
        sides = {"cluster": Timed(lambda: ours.fit(rows)), "local": Timed(lambda: local.fit(X))}
        runs = measured("speed", sides, session.effort)
        same = is_same(ours, local)
    ratio = statistics.median(runs["cluster"]) / statistics.median(runs["local"])
    what = "time of 20 iterations, 2 workers of one thread, over the local fit's with 2 threads"
    note = f"{ours.n_iter_} iterations; the same bits: {same}"
    return Outcome([Figure("speed", what, ratio, "×", 1.2, 1.5, True)], [note], {"seconds": runs})


def overhead(session: Session) -> Outcome:
    """An iteration with next to nothing to compute: 2 workers with 16 partitions each."""
    X = np.random.default_rng(0).uniform(size=(3_200, 4))
    times: list[float] = []
    with cluster():
        rows = held(X, 32)
        model = fastclust.dask.KMeans(30, init=X[:30].copy(), max_iter=40, tol=0.0)
        model.fit(rows)
        model.fit(rows, callbacks=[lambda progress: times.append(time.perf_counter())])
    steps = (1000 * np.diff(times)).tolist()
    what = "overhead of an iteration, median"
    figure = Figure("overhead", what, statistics.median(steps), "ms", 10, 20, True)
    return Outcome([figure], [f"{len(steps) + 1} iterations"], {"milliseconds": steps})


def count_bytes() -> None:
    """Have this process add up what it writes to others."""
    if "plain_write" in vars(TCP):
        return
    plain = TCP.write

    @functools.wraps(plain)
    async def write(self: Any, *args: Any, **options: Any) -> Any:
        written = await plain(self, *args, **options)
        TCP.written += written or 0  # type: ignore[attr-defined]
        return written

    TCP.plain_write, TCP.written, TCP.write = plain, 0, write  # type: ignore[attr-defined]


def bytes_written() -> int:
    """What :func:`count_bytes` has added up."""
    return int(TCP.written)  # type: ignore[attr-defined]


def traffic(session: Session) -> Outcome:
    """Bytes between processes in an iteration, k=100, d=64."""
    X = np.random.default_rng(0).normal(size=(session.effort.reduced(40_000), 64))
    k = min(100, len(X) // 4)
    count_bytes()
    with cluster() as client:
        client.run(count_bytes)
        rows = held(X, 32)

        def sent(n_iter: int) -> int:
            def total() -> int:
                return bytes_written() + sum(client.run(bytes_written).values())

            before = total()
            fastclust.dask.KMeans(k, init=X[:k].copy(), max_iter=n_iter, tol=0.0).fit(rows)
            return total() - before

        sent(2)
        few, many = sent(3), sent(13)
    each = (many - few) / 10 / WORKERS / (8 * k * 64)
    what = "bytes between processes, an iteration and worker, over k·d·8"
    details = {"3 iterations": few, "13 iterations": many}
    return Outcome([Figure("traffic", what, each, "×", 3, 8, True)], [], details)


# --- The peer --------------------------------------------------------------------------------

# Run by the interpreter that has dask-ml.
PEER_PROGRAM = """
import json, sys, time
import dask.array, numpy
from dask_ml.cluster import KMeans
from distributed import Client, LocalCluster, wait

path, k, seeds, workers = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
X = numpy.load(path)
found = []
with LocalCluster(
    n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
) as cluster, Client(cluster) as client:
    rows = dask.array.from_array(X, chunks=(-(-len(X) // 16), X.shape[1])).persist()
    wait(rows)
    for seed in seeds:
        start = time.perf_counter()
        model = KMeans(k, random_state=seed).fit(rows)
        seconds = time.perf_counter() - start
        found.append({
            "seed": seed, "seconds": seconds, "reported": float(model.inertia_),
            "n_iter": int(model.n_iter_), "centers": numpy.asarray(model.cluster_centers_).tolist(),
        })
print(json.dumps(found))
"""


def by_peer(python: str, X: FloatArray, k: int, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Fits of dask-ml in a process of its own; with their true sums of squares."""
    with tempfile.TemporaryDirectory(prefix="fastclust-") as folder:
        path = Path(folder, "rows.npy")
        np.save(path, X)
        arguments = [str(path), str(k), json.dumps(list(seeds)), str(WORKERS)]
        done = subprocess.run(
            [python, "-W", "ignore", "-c", PEER_PROGRAM, *arguments],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    for fit in found:
        fit["inertia"] = sum_of_squares(X, np.array(fit.pop("centers")))
    return found


def sum_of_squares(X: FloatArray, centers: FloatArray) -> float:
    """Of rows to their nearest center, by one function for all engines."""
    model = fastclust.KMeans(len(centers), init=centers.astype(X.dtype), n_init=1, max_iter=1)
    model.fit(X)
    model.cluster_centers_ = centers.astype(np.float64)
    return -float(model.score(X))


def sums(session: Session, python: str | None = None) -> Outcome:
    """Sums of squares on 20,000×16, 50 blobs, 5 seeds, beside scikit-learn's and dask-ml's."""
    n = session.effort.reduced(20_000)
    X, k = make_blobs(n, 16, centers=50, random_state=0)[0], min(50, n // 4)
    seeds = range(5)
    found: dict[str, list[float]] = {THEIRS: [], "k-means++": [], "k-means||": []}
    with cluster():
        rows = held(X, 16)
        for seed in seeds:
            theirs = sklearn.cluster.KMeans(k, n_init=1, random_state=seed).fit(X)
            found[THEIRS].append(sum_of_squares(X, theirs.cluster_centers_))
            for init in ("k-means++", "k-means||"):
                ours = fastclust.dask.KMeans(k, init=init, random_state=seed).fit(rows)
                found[init].append(sum_of_squares(X, ours.cluster_centers_))
    plain = np.array(found["k-means++"]) / np.array(found[THEIRS]) - 1
    oversampled = np.mean(found["k-means||"]) / np.mean(found[THEIRS]) - 1
    figures = [
        Figure("sums", "k-means++: largest deviation from scikit-learn's sum of squares, of 5 "
               "seeds", 100 * float(np.abs(plain).max()), "%", 1e-6, 1e-6, True),
        Figure("sums", "k-means||: mean sum of squares above scikit-learn's", 100 *
               float(oversampled), "%", 3, 5, True),
    ]  # fmt: skip
    details: dict[str, Any] = {"inertia": found}
    if python is not None:
        details[DASK_ML] = by_peer(python, X, k, seeds)
        ratios = [
            fit["inertia"] / theirs for fit, theirs in zip(details[DASK_ML], found[THEIRS],
                                                           strict=True)
        ]  # fmt: skip
        what = "dask-ml: mean sum of squares over scikit-learn's"
        figures.append(Figure("sums", what, float(np.mean(ratios)), "×"))
    return Outcome(figures, [], details)


def peer(session: Session, python: str) -> Outcome:
    """KMeans on 1M×16, k=50 to its own stop, beside dask-ml's."""
    X = gaussian_blobs(session.effort.reduced(1_000_000), 16, 50, "float64")
    k, seeds = min(50, len(X) // 4), session.effort.seeds
    theirs = by_peer(python, X, k, seeds)
    figures, details = [], {DASK_ML: theirs}
    for init in ("k-means||", "k-means++"):
        fits = []
        with cluster():
            rows = held(X, 16)
            fastclust.dask.KMeans(k, init=init, random_state=0, max_iter=1).fit(rows)
            for seed in seeds:
                start = time.perf_counter()
                model = fastclust.dask.KMeans(k, init=init, random_state=seed).fit(rows)
                seconds = time.perf_counter() - start
                inertia = sum_of_squares(X, model.cluster_centers_)
                fits.append({"seed": seed, "seconds": seconds, "n_iter": model.n_iter_,
                             "inertia": inertia})  # fmt: skip
        details[f"{OURS}, {init}"] = fits
        ratio = sum(fit["seconds"] for fit in theirs) / sum(fit["seconds"] for fit in fits)
        bounds = (10, 5) if init == "k-means||" else (None, None)
        figures.append(Figure("peer", f"time of dask-ml over ours, {init}", ratio, "×", *bounds))
    notes = [
        f"{name}: {statistics.mean(fit['seconds'] for fit in fits):.2f} s, "
        f"{statistics.mean(fit['n_iter'] for fit in fits):.0f} iterations, "
        f"sum of squares {statistics.mean(fit['inertia'] for fit in fits):.5g}"
        for name, fits in details.items()
    ]
    return Outcome(figures, notes, details)


# --- Workers that die, and their memory ------------------------------------------------------

KILLED: dict[str, tuple[str, dict[str, Any]]] = {
    "KMeans": ("KMeans", {"n_clusters": 20, "max_iter": 60, "tol": 0.0, "random_state": 0}),
    "GaussianMixture": (
        "GaussianMixture",
        {"n_components": 5, "max_iter": 40, "tol": 0.0, "random_state": 0},
    ),
}


def fit_with_kill(client: Client, model: Any, rows: Any, moment: float, number: int) -> bool:
    """Fit, and kill a worker process after so many seconds; whether the fit was still on."""
    pids = sorted(client.run(os.getpid).values())
    over, killed = threading.Event(), []

    def kill() -> None:
        if not over.wait(moment):
            os.kill(pids[number % len(pids)], signal.SIGKILL)
            killed.append(moment)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        model.fit(rows)
    finally:
        over.set()
        thread.join()
    return bool(killed)


def kill(session: Session) -> Outcome:
    """A worker process killed at random moments of a fit: the fit goes on, to the same result."""
    if not hasattr(signal, "SIGKILL"):
        raise OSError("this system has no SIGKILL")
    count = KILLS if session.effort.divisor == 1 else 2
    X = np.random.default_rng(0).normal(size=(30_000, 6))
    figures, details = [], {}
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name, (kind, parameters) in KILLED.items():
        whole = getattr(fastclust, kind)(**parameters).fit(X)
        rng, same, moments = np.random.default_rng(0), 0, []
        while len(moments) < count:
            with cluster() as client, contextlib.suppress(TimeoutError):
                rows = dask.array.from_array(X, chunks=(2_000, 6))
                start = time.perf_counter()
                getattr(fastclust.dask, kind)(**parameters).fit(rows)
                seconds = time.perf_counter() - start
                while len(moments) < count:
                    # Where Dask does not start a worker again, there is a new cluster.
                    client.wait_for_workers(WORKERS, timeout=RESTART)
                    model = getattr(fastclust.dask, kind)(**parameters)
                    moment = rng.uniform(0, seconds)
                    if fit_with_kill(client, model, rows, moment, len(moments)):
                        moments.append(moment)
                        same += is_same(model, whole)
        say(f"  {name}: {same} of {count} identical")
        figures.append(Figure("kill", f"{name}, identical of {count}", same, "fits", count, count))
        details[name] = {"moments": moments, "identical": same}
    return Outcome(figures, [], details)


class Peak:
    """The most memory that this process has held since it was told to look."""

    most = 0

    @classmethod
    def begin(cls) -> int:
        """Look every few milliseconds from now on; what is held now."""
        process = psutil.Process()
        now = cls.most = int(process.memory_info().rss)

        def look() -> None:
            while True:
                cls.most = max(cls.most, int(process.memory_info().rss))
                time.sleep(0.005)

        threading.Thread(target=look, daemon=True).start()
        return now

    @classmethod
    def found(cls) -> int:
        """The most so far."""
        return cls.most


def memory(session: Session) -> Outcome:
    """200 partitions of 10,000×16 rows from Parquet: memory of a worker over its rows."""
    n_parts, size = 200, session.effort.reduced(10_000)
    figures, details = [], {}
    with tempfile.TemporaryDirectory(prefix="fastclust-") as folder:
        for number in range(n_parts):
            X = np.random.default_rng(number).normal(size=(size, 16))
            frame = pandas.DataFrame(X, columns=[f"column {t}" for t in range(16)])
            frame.to_parquet(Path(folder, f"part-{number:03}.parquet"))
        with cluster() as client:
            model = fastclust.dask.KMeans(50, max_iter=10, tol=0.0, random_state=0)
            few = dask.array.random.normal(size=(1_000, 16), chunks=(100, 16))
            model.fit(few)  # loads modules and kernels
            before = client.run(Peak.begin)
            model.fit(folder)
            after = client.run(Peak.found)
        rows = n_parts * size * 16 * 8 / WORKERS
        over = [(after[worker] - before[worker] - rows) / MB for worker in before]
        details = {"over": over, "rows": rows / MB}
        what = "memory of a worker over its rows, at the peak"
        figures.append(Figure("memory", what, max(over), "MB", 100, 200, True))
    return Outcome(figures, [], details)


ROWS: Mapping[str, Callable[[Session], Outcome]] = {
    function.__name__: function for function in (bits, speed, overhead, traffic, sums, kill, memory)
}
ORDER = ("bits", "speed", "overhead", "traffic", "sums", "peer", "kill", "memory")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; the exit status is as that of ``command.main``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--dask-ml", metavar="PYTHON")
    own, others = parser.parse_known_args(argv)
    rows = dict(ROWS)
    if own.dask_ml is not None:
        for function in (sums, peer):
            row = functools.partial(function, python=own.dask_ml)
            row.__doc__ = function.__doc__
            rows[function.__name__] = row
    rows = {name: rows[name] for name in ORDER if name in rows}
    args = command.parse(others, rows, "cluster_targets")
    if args.list:
        print(command.listing(rows))
        return 0
    chosen = [name for name in rows if name in args.rows] or list(rows)
    session = Session(QUICK if args.quick else FULL, chosen)
    return command.measure_again(session, args.output, rows, ORDER)


if __name__ == "__main__":
    sys.exit(main())
