"""``fastclust roofline``: what this machine can do at most, and each kernel's share of it.

A kernel does some arithmetic and must move some bytes. With I multiply-adds' operations per byte
it can reach no more than the lesser of the arithmetic peak and I times the bandwidth: the roof.
Peak and bandwidth are measured by `.kernels.machine.roof` on the threads that a fit uses, in turn
with the kernel, so that both see the machine in the same state.

Operations and bytes are those that the problem needs, as `.calls` counts them, not what the kernel
happens to do: a kernel which spares work may come out above the roof.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastclust.kernels.machine.parallel import team
from fastclust.kernels.machine.roof import Read, Spin

from . import documents, options
from .calls import Problem, Task, make_task
from .drawing import COLOURS
from .measuring import Timed, in_turn
from .progress import announcer
from .tables import print_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEM = "fastclust-roofline"
COLUMNS = {
    "kernel": True,
    "shape": True,
    "dtype": True,
    "computed in": True,
    "ms": False,
    "GFLOP/s": False,
    "GB/s": False,
    "FLOP/byte": False,
    "% of roof": False,
    "bound by": True,
}


# The kernels that are measured. Of seeding, two rounds: later ones have no fixed amount of work.
LLOYD = (
    Problem(100_000, 2, 8, "float64"),
    Problem(100_000, 16, 26, "float64"),
    Problem(50_000, 64, 100, "float32"),
    Problem(20_000, 128, 1000, "float32"),
    Problem(20_000, 128, 100, "float64"),
)
SELECTION = (
    *((kernel, problem) for problem in LLOYD for kernel in ("assignment", "Lloyd iteration")),
    ("seeding, 2 rounds", Problem(200_000, 16, 16)),
    *((f"EM sweep, {kind}", Problem(50_000, 16, 16)) for kind in ("full", "diag")),
    ("sparse assignment", Problem(50_000, 1000, 64)),
)
LEAST_ROWS = 1000


@dataclass(frozen=True)
class Place:
    """A kernel's place under the roof.

    Attributes
    ----------
    kernel, shape, dtype, arithmetic, flops, n_bytes
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
    arithmetic: str
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


# --- Measuring -------------------------------------------------------------------------------


def place(task: Task, read: Read, spin: Spin, repeats: int, *, fill: float | None = None) -> Place:
    """Time a kernel in turn with both roofs.

    Parameters
    ----------
    task : Task
        The kernel.
    read, spin : Read, Spin
        The roofs, on the same threads; `spin` of the type that the kernel computes in.
    repeats : int
        Timed calls of each, at least.
    fill : float, optional
        As for `.measuring.in_turn`.

    Returns
    -------
    Place
        Where the kernel is.
    """
    sides = {"kernel": Timed(task.action), "spin": Timed(spin), "read": Timed(read)}
    seconds = in_turn(sides, repeats, fill=fill)
    median = {name: statistics.median(of) for name, of in seconds.items()}
    return Place(
        task.kernel,
        task.shape,
        task.dtype,
        task.arithmetic,
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
        for kernel, problem in SELECTION:
            n_samples = max(LEAST_ROWS, int(problem.n_samples * scale))
            task = make_task(kernel, problem._replace(n_samples=n_samples), threads)
            report(f"{task.kernel}, {task.shape}, {task.dtype}")
            places.append(place(task, read, spins[task.arithmetic], repeats))
        return places, threads.n_threads


# --- Results ---------------------------------------------------------------------------------


def summit(places: Sequence[Place]) -> tuple[dict[str, float], float]:
    """The machine's peaks by type of numbers and its bandwidth: medians over all kernels' turns.

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
    kinds = sorted({each.arithmetic for each in places})
    peaks = {
        kind: statistics.median(each.peak for each in places if each.arithmetic == kind)
        for kind in kinds
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
        "computed in": each.arithmetic,
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
        "arithmetic": each.arithmetic,
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
        axes.plot(x, roof, color=colour, label=f"computed in {dtype}: {peak / 1e9:.0f} GFLOP/s")
        here = [(i, each) for i, each in enumerate(places, 1) if each.arithmetic == dtype]
        at = [each.intensity for _, each in here]
        axes.scatter(at, [each.reached / 1e9 for _, each in here], color=colour, s=22, zorder=3)
        for i, each in here:
            axes.annotate(
                str(i),
                (each.intensity, each.reached / 1e9),
                _beside(each, places),
                textcoords="offset points",
                fontsize=8,
                color=colour,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, position: f"{value:g}")
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


def _beside(each: Place, places: Sequence[Place]) -> tuple[float, float]:
    """Where a point's number goes, in points: above it, or below it where another is just above."""
    for other in places:
        near = abs(np.log(other.intensity / each.intensity)) < 0.15
        if other is not each and near and 1 <= other.reached / each.reached < 1.5:
            return (4.0, -11.0)
    return (4.0, 4.0)


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
    places, n_threads = measure_places(args.repeats, scale, report=announcer(fancy))
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
