"""Measures fits to a file that is larger than what they may hold, and kills some of them.

::

    python benchmarks/streaming_targets.py [ROW ...] [--quick] [--output FILE] [--list]

The file, 4 GB of random blobs as float32 in ``.npy`` form, is made in the folder for temporary
files (``TMPDIR``) and removed at the end.  Whether it comes out of the page cache or from a disk is
for the machine's memory to say: the sum that a fit is compared with reads it in the same way.
"""

from __future__ import annotations

import functools
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import command
from benchmarks.measuring.command import Session
from benchmarks.measuring.figures import OURS, Figure, Outcome, say
from benchmarks.measuring.turns import measured
from fastclust import (
    BayesianGaussianMixture,
    BisectingKMeans,
    GaussianMixture,
    KMeans,
    MiniBatchKMeans,
)
from fastclust.commands.measuring import Timed

N_ROWS, N_FEATURES, N_CLUSTERS, N_ITERATIONS = 8_000_000, 128, 50, 5
KILLS = 20
MB = 1e6
CHUNK = 100_000


@functools.cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """Where the files of one run lie; removed when the script ends."""
    return tempfile.TemporaryDirectory(prefix="fastclust-")


@functools.cache
def rows_on_disk(n_rows: int) -> Path:
    """A file of overlapping blobs, made once."""
    path = Path(folder().name, f"{n_rows}.npy")
    say(f"  making {n_rows:,} × {N_FEATURES} rows on disk")
    rng = np.random.default_rng(0)
    centers = rng.uniform(-10, 10, (N_CLUSTERS, N_FEATURES)).astype(np.float32)
    file = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, N_FEATURES))
    for start in range(0, n_rows, CHUNK):
        block = 4 * rng.standard_normal((min(CHUNK, n_rows - start), N_FEATURES), np.float32)
        file[start : start + CHUNK] = block + centers[rng.integers(N_CLUSTERS, size=len(block))]
    return path


def first_centers(path: Path) -> Any:
    """Some of the rows, to start from."""
    rows = np.load(path, mmap_mode="r")
    return np.array(rows[:: -(-len(rows) // N_CLUSTERS)][:N_CLUSTERS])


def model(path: Path) -> KMeans:
    """What is fitted."""
    start = first_centers(path)
    return KMeans(len(start), init=start, max_iter=N_ITERATIONS, tol=0)


def stream(session: Session) -> Outcome:
    """Five iterations of KMeans beside five sums of the file."""
    path = rows_on_disk(session.effort.reduced(N_ROWS))
    ours = model(path)

    def read() -> None:
        for _ in range(N_ITERATIONS):
            np.load(path, mmap_mode="r").sum()

    sides = {OURS: Timed(lambda: ours.fit(path)), "five sums": Timed(read)}
    seconds = measured("KMeans on a file", sides, session.effort)
    ratio = statistics.median(seconds[OURS]) / statistics.median(seconds["five sums"])
    flops = 2.0 * (ours.n_iter_ + 1) * session.effort.reduced(N_ROWS) * N_FEATURES * N_CLUSTERS
    notes = [
        f"{ours.n_iter_} iterations and the last labelling are {flops / 1e12:.2f} TFLOP: "
        f"{flops / statistics.median(seconds[OURS]) / 1e9:.0f} GFLOP/s over the whole fit"
    ]
    what = "time over five sums of the file"
    return Outcome(
        [Figure("stream", what, ratio, "×", 1.2, 1.6, True)], notes, {"seconds": seconds}
    )


def anonymous() -> int:
    """Bytes of anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status has no RssAnon")


def anonymous_peak(action: Callable[[], Any]) -> int:
    """Bytes by which anonymous memory rises, looked at every few milliseconds."""
    before, done = anonymous(), threading.Event()
    seen = [before]

    def look() -> None:
        while not done.wait(0.005):
            seen.append(anonymous())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        action()
    finally:
        done.set()
        thread.join()
    return max(seen) - before


MEMORY_PROGRAM = """
import sys
import numpy as np
sys.path.append(sys.argv[1])
from benchmarks.streaming_targets import *
path = Path(sys.argv[2])
model(path).fit(np.array(np.load(path, mmap_mode="r")[:20_000]))
print(anonymous_peak(lambda: model(path).fit(SOURCES[sys.argv[3]](path))))
"""

SOURCES: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "iterator": lambda path: lambda: iter_blocks(path),
}


def iter_blocks(path: Path) -> Any:
    """The rows of a file in copied blocks."""
    rows = np.load(path, mmap_mode="r")
    return (np.array(rows[start : start + 10_000]) for start in range(0, len(rows), 10_000))


def memory(session: Session) -> Outcome:
    """Anonymous memory of the same fit, in a process of its own."""
    path = rows_on_disk(session.effort.reduced(N_ROWS))
    figures = []
    for kind in SOURCES:
        root = Path(__file__).resolve().parents[1]
        command = [sys.executable, "-c", MEMORY_PROGRAM, str(root), str(path), kind]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        megabytes = int(done.stdout) / MB
        say(f"  {kind}: {megabytes:.1f} MB")
        figures.append(Figure("memory", f"anonymous, {kind}", megabytes, "MB", 150, 300, True))
    return Outcome(figures)


KILLED_PROGRAM = """
import sys
import numpy as np
sys.path.append(sys.argv[1])
from benchmarks.streaming_targets import KILLED, killed_rows, results
print("begun", flush=True)
model = KILLED[sys.argv[2]]().fit(
    killed_rows(), checkpoint=sys.argv[3], checkpoint_every=1, resume=True
)
np.savez(sys.argv[3] + ".npz", **results(model))
"""

KILLED: dict[str, Callable[[], Any]] = {
    "KMeans": lambda: KMeans(20, n_init=4, random_state=0, max_iter=120, tol=0),
    "MiniBatchKMeans": lambda: MiniBatchKMeans(
        20, random_state=0, max_no_improvement=None, max_iter=15
    ),
    "GaussianMixture": lambda: GaussianMixture(
        8, n_init=4, random_state=0, max_iter=60, tol=0, init_params="k-means++"
    ),
    "BayesianGaussianMixture": lambda: BayesianGaussianMixture(
        n_components=8, n_init=4, random_state=0, max_iter=60, tol=0, init_params="k-means++"
    ),
    "BisectingKMeans": lambda: BisectingKMeans(60, n_init=2, random_state=0, tol=0),
}
# Of a fit, what must be the same bits.
COMPARED = (
    "cluster_centers_",
    "labels_",
    "weights_",
    "means_",
    "covariances_",
    "precisions_cholesky_",
    "lower_bounds_",
)


def results(model: Any) -> dict[str, Any]:
    """What a fit has found, by name."""
    return {name: np.asarray(vars(model)[name]) for name in COMPARED if name in vars(model)}


def killed_rows() -> Any:
    """What the fits that are killed are fitted to."""
    return np.random.default_rng(0).normal(size=(30_000, 6))


def identical_after_kill(name: str, checkpoint: Path, seed: int) -> bool:
    """Kill a fit with a checkpoint at a random moment; compare it, resumed, with a whole one."""
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-c", KILLED_PROGRAM, str(root), name, str(checkpoint)]
    result, rng = Path(f"{checkpoint}.npz"), np.random.default_rng(seed)
    whole, seconds = whole_fit(name)
    while True:
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        while child.poll() is None and not checkpoint.exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, seconds))
        child.kill()
        child.communicate()
        if checkpoint.exists():
            break
        result.unlink(missing_ok=True)  # it had come to its end: another moment
    say(f"  {name}, kill {seed}: resumed")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with np.load(result) as found:
        same = all(np.array_equal(found[name], value) for name, value in results(whole).items())
    return same and not checkpoint.exists()


@functools.cache
def whole_fit(name: str) -> tuple[Any, float]:
    """A fit that nobody kills, and the seconds that one with checkpoints takes."""
    whole = KILLED[name]().fit(killed_rows())
    start = perf_counter()
    KILLED[name]().fit(killed_rows(), checkpoint=Path(folder().name, "whole"), checkpoint_every=1)
    return whole, perf_counter() - start


def kill(session: Session) -> Outcome:
    """SIGKILL at random moments of fits that write checkpoints, then resumed: the same bits."""
    if not hasattr(signal, "SIGKILL"):
        raise OSError("this system has no SIGKILL")
    figures = []
    count = KILLS if session.effort.divisor == 1 else 2
    for name in KILLED:
        same = sum(
            identical_after_kill(name, Path(folder().name, f"{name}-{seed}"), seed)
            for seed in range(count)
        )
        say(f"  {name}: {same} of {count} identical")
        figures.append(Figure("kill", f"{name}, identical of {count}", same, "fits", count, count))
    return Outcome(figures)


ROWS = {function.__name__: function for function in (stream, memory, kill)}


if __name__ == "__main__":
    sys.exit(command.main(rows=ROWS, output="results"))
