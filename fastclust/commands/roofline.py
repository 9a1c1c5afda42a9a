"""``fastclust roofline``: what this machine can do at most, and each kernel's share of it.

A kernel does some arithmetic and must move some bytes. With I multiply-adds' operations per byte
it can reach no more than the lesser of the arithmetic peak and I times the bandwidth: the roof.
Peak and bandwidth are measured by `.kernels.roof` on the threads that a fit uses, in turn with the
kernel, so that both see the machine in the same state.

Operations and bytes are those that the problem needs, counted by formulae from its shape, not what
the kernel happens to do: a kernel which spares work may come out above the roof. Bytes are counted
once for each pass, as if nothing but the rows had to come from memory; exponentials and
comparisons count nothing.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastclust.kernels.gaussian import COVARIANCES, VARIANCES, Sweep, make_densities
from fastclust.kernels.lloyd import Lloyd
from fastclust.kernels.moments import column_moments
from fastclust.kernels.parallel import Team, team
from fastclust.kernels.roof import Read, Spin
from fastclust.kernels.seeding import GreedyKMeansPlusPlus
from fastclust.kernels.sparse import SparseLloyd, SparseUpdate, make_sparse_rows
from fastclust.kernels.tiles import make_rows, padded_vector
from fastclust.kernels.update import Update
from fastclust.workloads import gaussian_blobs

from . import documents, options
from .drawing import COLOURS
from .measuring import SEED, in_turn
from .tables import print_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEM = "fastclust-roofline"
COLUMNS = {
    "kernel": True,
    "shape": True,
    "dtype": True,
    "ms": False,
    "GFLOP/s": False,
    "GB/s": False,
    "FLOP/byte": False,
    "% of roof": False,
    "bound by": True,
}
LABEL_BYTES = 4


@dataclass(frozen=True)
class Task:
    """One call of a kernel, and what it must do.

    Attributes
    ----------
    kernel, shape, dtype : str
        Names.
    flops, n_bytes : float
        Operations, a multiply-add being two, and bytes to move.
    action : callable
        The call.
    """

    kernel: str
    shape: str
    dtype: str
    flops: float
    n_bytes: float
    action: Callable[[], Any]


@dataclass(frozen=True)
class Place:
    """A kernel's place under the roof.

    Attributes
    ----------
    kernel, shape, dtype, flops, n_bytes
        As for `Task`.
    seconds : float
        Median time of a call.
    peak : float
        Operations per second of multiply-adds in registers, measured in turn with it.
    bandwidth : float
        Bytes per second of a read of a large array, measured in turn with it.
    """

    kernel: str
    shape: str
    dtype: str
    flops: float
    n_bytes: float
    seconds: float
    peak: float
    bandwidth: float

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.flops / self.n_bytes

    @property
    def reached(self) -> float:
        """Operations per second."""
        return self.flops / self.seconds

    @property
    def roof(self) -> float:
        """Most operations per second that the machine allows at this intensity."""
        return min(self.peak, self.intensity * self.bandwidth)

    @property
    def bound(self) -> str:
        """What sets the roof: ``"arithmetic"`` or ``"memory"``."""
        return "arithmetic" if self.peak <= self.intensity * self.bandwidth else "memory"


# --- Kernels ---------------------------------------------------------------------------------


def kernel_tasks(threads: Team, scale: float = 1.0) -> Iterator[Task]:
    """The kernels of fits, each ready to be called.

    Parameters
    ----------
    threads : Team
        Threads to run on.
    scale : float
        Factor of all numbers of rows.

    Yields
    ------
    Task
        One after the other, so that the data of one are gone before the next one's are made.
    """

    def rows(n: int) -> int:
        return max(1000, int(n * scale))

    for n, d, k, dtype in (
        (100_000, 2, 8, "float64"),
        (100_000, 16, 26, "float64"),
        (50_000, 64, 100, "float32"),
        (20_000, 128, 1000, "float32"),
        (20_000, 128, 100, "float64"),
    ):
        yield from _lloyd_tasks(rows(n), d, k, dtype, threads)
    yield _seeding_task(rows(200_000), 16, "float64", threads)
    for kind in ("full", "diag"):
        yield _sweep_task(rows(50_000), 16, 16, kind, threads)
    yield _sparse_task(rows(50_000), 1000, 64, threads)


def _text(n: int, d: int, k: int) -> str:
    return f"{n}×{d}, k={k}"


def _lloyd_tasks(n: int, d: int, k: int, dtype: str, threads: Team) -> Iterator[Task]:
    """An assignment, and an iteration once the labels are settled."""
    X = gaussian_blobs(n, d, k, dtype)
    mean = padded_vector(column_moments(X, threads)[0], X.dtype)
    rows = make_rows(X)
    centers = X[np.random.default_rng(0).choice(n, k, replace=False)] - mean[:d]
    new_centers = np.empty_like(centers)
    update = Update(rows, mean, k, threads)
    lloyd = Lloyd(rows, mean, k, update, threads)

    def iteration() -> None:
        lloyd.assign(centers)
        update.new_centers(lloyd.labels, centers, new_centers)

    flops, n_bytes = 2.0 * X.size * k, float(X.nbytes + LABEL_BYTES * n)
    assign = partial(lloyd.assign, centers, account=False)
    yield Task("assignment", _text(n, d, k), dtype, flops, n_bytes, assign)
    # The update is told of the rows that move, of which there are none: its merge remains.
    update.reset()
    lloyd.reset()
    yield Task("Lloyd iteration", _text(n, d, k), dtype, flops, n_bytes, iteration)


def _seeding_task(n: int, d: int, dtype: str, threads: Team) -> Task:
    """Two rounds of greedy k-means++: a first center, and the best of the candidates for another.

    Later rounds skip the rows that no candidate can win, and have no fixed amount of work.
    """
    X = gaussian_blobs(n, d, 16, dtype)
    seeding = GreedyKMeansPlusPlus(make_rows(X), 2, threads)
    # Each round reads the rows, and reads or writes every row's distance to its nearest center.
    n_bytes = 2.0 * (X.nbytes + X.itemsize * n)
    flops = 2.0 * X.size * (1 + seeding.n_trials)
    return Task(
        "seeding, 2 rounds",
        _text(n, d, 2),
        dtype,
        flops,
        n_bytes,
        lambda: seeding.choose(np.random.RandomState(SEED)),
    )


def _sweep_task(n: int, d: int, k: int, kind: str, threads: Team) -> Task:
    """A step of EM: densities, posteriors and their moments."""
    X = gaussian_blobs(n, d, k, "float64")
    center = column_moments(X, threads)[0]
    means = X[:k] - center
    spread = float(X.std())
    factors = np.full((k, d), 1.0 / spread)
    if kind == "full":
        factors = np.stack([np.eye(d) / spread] * k)
    densities = make_densities(kind, means, factors, np.zeros(k))
    # Multiply-adds of a row and a component: a triangle, or a scaling, and the squares of its
    # results; then the first moments and the second ones, of which there are as many.
    products = d * (d + 1) // 2 if kind == "full" else d
    flops = 2.0 * n * k * (products + d + d + products)
    sweep = Sweep(make_rows(X), center, threads)
    order = COVARIANCES if kind == "full" else VARIANCES
    action = partial(sweep.moments, densities, order)
    return Task(f"EM sweep, {kind}", _text(n, d, k), "float64", flops, float(X.nbytes), action)


def _sparse_task(n: int, d: int, k: int, threads: Team) -> Task:
    """An assignment of sparse rows, of which one value in a hundred is not zero."""
    import scipy.sparse

    X = scipy.sparse.random(n, d, density=0.01, format="csr", random_state=0, dtype=np.float64)
    rows = make_sparse_rows(X)
    mean = np.zeros(d)
    centers = X[:k].toarray()
    lloyd = SparseLloyd(rows, mean, k, SparseUpdate(rows, mean, k, threads), threads)
    n_bytes = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes + LABEL_BYTES * n
    action = partial(lloyd.assign, centers, account=False)
    return Task(
        "sparse assignment", _text(n, d, k), "float64", 2.0 * X.nnz * k, float(n_bytes), action
    )


# --- Measuring -------------------------------------------------------------------------------


def place(task: Task, read: Read, spin: Spin, repeats: int) -> Place:
    """Time a kernel in turn with both roofs.

    Parameters
    ----------
    task : Task
        The kernel.
    read, spin : Read, Spin
        The roofs, on the same threads; `spin` of the kernel's data type.
    repeats : int
        Timed calls of each, at least.

    Returns
    -------
    Place
        Where the kernel is.
    """
    seconds, _ = in_turn({"kernel": task.action, "spin": spin, "read": read}, repeats)
    median = {name: statistics.median(of) for name, of in seconds.items()}
    return Place(
        task.kernel,
        task.shape,
        task.dtype,
        task.flops,
        task.n_bytes,
        median["kernel"],
        spin.flops / median["spin"],
        read.n_bytes / median["read"],
    )


def measure_places(
    repeats: int,
    scale: float = 1.0,
    read_bytes: int = 512_000_000,
    n_rounds: int = 20_000,
    report: Callable[[str], None] = lambda text: None,
) -> tuple[list[Place], int]:
    """Measure all kernels.

    Parameters
    ----------
    repeats : int
        Timed calls of each, at least.
    scale : float
        Factor of all numbers of rows.
    read_bytes : int
        Size of the array whose read is the bandwidth; several times the last cache.
    n_rounds : int
        Rounds of multiply-adds, as for `Spin`.
    report : callable
        Told of each kernel as it begins.

    Returns
    -------
    list of Place
        The kernels' places.
    int
        Number of threads.
    """
    places = []
    with team() as threads:
        read = Read(read_bytes, threads)
        spins = {dtype: Spin(dtype, n_rounds, threads) for dtype in ("float32", "float64")}
        for task in kernel_tasks(threads, scale):
            report(f"{task.kernel}, {task.shape}, {task.dtype}")
            places.append(place(task, read, spins[task.dtype], repeats))
        return places, threads.n_threads


# --- Results ---------------------------------------------------------------------------------


def summit(places: Sequence[Place]) -> tuple[dict[str, float], float]:
    """The machine's peaks by data type and its bandwidth: medians over all kernels' turns.

    Parameters
    ----------
    places : sequence of Place
        The places.

    Returns
    -------
    dict of str to float
        Operations per second.
    float
        Bytes per second.
    """
    dtypes = sorted({each.dtype for each in places})
    peaks = {
        dtype: statistics.median(each.peak for each in places if each.dtype == dtype)
        for dtype in dtypes
    }
    return peaks, statistics.median(each.bandwidth for each in places)


def place_row(each: Place) -> dict[str, str]:
    """The row of a place in the table.

    Parameters
    ----------
    each : Place
        The place.

    Returns
    -------
    dict of str to str
        By the title of the column.
    """
    return {
        "kernel": each.kernel,
        "shape": each.shape,
        "dtype": each.dtype,
        "ms": f"{1e3 * each.seconds:.3g}",
        "GFLOP/s": f"{each.reached / 1e9:.1f}",
        "GB/s": f"{each.n_bytes / each.seconds / 1e9:.2f}",
        "FLOP/byte": f"{each.intensity:.1f}",
        "% of roof": f"{100 * each.reached / each.roof:.0f}",
        "bound by": each.bound,
    }


def place_document(each: Place) -> dict[str, Any]:
    """A place in JSON's types.

    Parameters
    ----------
    each : Place
        The place.

    Returns
    -------
    dict
        Its attributes, in operations, bytes and seconds.
    """
    return {
        "kernel": each.kernel,
        "shape": each.shape,
        "dtype": each.dtype,
        "flops": each.flops,
        "bytes": each.n_bytes,
        "median_seconds": each.seconds,
        "flops_per_second": each.reached,
        "flops_per_byte": each.intensity,
        "peak_flops_per_second": each.peak,
        "bandwidth_bytes_per_second": each.bandwidth,
        "share_of_roof": each.reached / each.roof,
        "bound_by": each.bound,
    }


def roofline_figure(places: Sequence[Place]) -> Figure:
    """The kernels under the roofs, both axes logarithmic.

    Parameters
    ----------
    places : sequence of Place
        The places.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    from matplotlib.figure import Figure

    peaks, bandwidth = summit(places)
    drawing = Figure(figsize=(9.5, 5.5), layout="constrained")
    axes = drawing.subplots()
    intensities = [each.intensity for each in places]
    x = np.geomspace(min(intensities) / 3, max(intensities) * 3, 200)
    for colour, (dtype, peak) in zip(COLOURS, peaks.items(), strict=False):
        roof = np.minimum(peak, x * bandwidth) / 1e9
        axes.plot(x, roof, color=colour, label=f"{dtype}: {peak / 1e9:.0f} GFLOP/s")
        here = [(i, each) for i, each in enumerate(places, 1) if each.dtype == dtype]
        at = [each.intensity for _, each in here]
        axes.scatter(at, [each.reached / 1e9 for _, each in here], color=colour, s=22, zorder=3)
        for i, each in here:
            axes.annotate(
                str(i),
                (each.intensity, each.reached / 1e9),
                # An assignment and the iteration with it are next to each other.
                (4, 5 if each.kernel == "assignment" else -10),
                textcoords="offset points",
                fontsize=8,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations per byte")
    axes.set_ylabel("GFLOP/s")
    axes.grid(color="0.92", which="both")
    axes.set_title(f"Kernels under the roof ({bandwidth / 1e9:.1f} GB/s read)", fontsize=11)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    key = "\n".join(
        f"{i}  {each.kernel}, {each.shape}, {each.dtype}" for i, each in enumerate(places, 1)
    )
    axes.text(1.02, 1.0, key, transform=axes.transAxes, va="top", fontsize=7.5)
    return drawing


# --- Command ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, as every command does."""
    options.add_profile(parser)
    options.add_output(parser, STEM, repeats=7)


def command(args: argparse.Namespace) -> int:
    """Run the command, as every one is run."""
    return options.guarded("roofline", args, partial(_run, args))


def _run(args: argparse.Namespace) -> int:
    fancy = not args.no_progress
    scale = 1.0 if args.profile == "quick" else 5.0
    if fancy:
        from rich.console import Console

        # Still while a kernel is timed: a thread that draws would take time from it.
        console = Console(stderr=True)
        places, n_threads = measure_places(
            args.repeats, scale, report=partial(console.print, highlight=False)
        )
    else:
        places, n_threads = measure_places(args.repeats, scale)
    peaks, bandwidth = summit(places)
    tops = ", ".join(f"{peak / 1e9:.0f} GFLOP/s in {dtype}" for dtype, peak in peaks.items())
    notes = [
        f"peak of multiply-adds {tops}; read bandwidth {bandwidth / 1e9:.1f} GB/s; "
        f"{n_threads} threads",
        "operations and bytes are what the problem needs, by formulae: data that stay in a cache, "
        "and work that is spared, put a kernel above the roof",
        *args.note,
    ]
    print_table(COLUMNS, [place_row(each) for each in places], fancy)
    for line in notes:
        print(line)
    contents = documents.head(STEM, args.repeats, notes)
    contents |= {
        "profile": args.profile,
        "n_threads": n_threads,
        "peak_flops_per_second": peaks,
        "bandwidth_bytes_per_second": bandwidth,
        "kernels": [place_document(each) for each in places],
    }
    documents.write(
        args.output, STEM, contents, None if args.no_figure else roofline_figure(places)
    )
    return 0
