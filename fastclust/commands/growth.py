"""``fastclust growth``: how the time of each kernel grows with the problem, and with threads.

Along each of the numbers of rows, features and clusters the others stay as they are, and a power
law is fitted to the times: an exponent of 1 is time in proportion. Beside it stands the exponent
of the operations that the problem needs, counted as in `.calls`: time that grows by less is a
fixed cost that comes to weigh less, or fuller vectors; time that grows by more is a cache that has
become too small.

For threads, one thread and several are timed in turn on the same problem: the efficiency is the
speed-up divided by the number of threads.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastclust.kernels.parallel import effective_n_threads, team

from . import documents, options
from .calls import Problem, make_task
from .drawing import COLOURS, duration
from .measuring import in_turn
from .progress import announcer
from .tables import print_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEM = "fastclust-growth"
# Seeding by two rounds: in later ones rows are skipped, as the data allow.
KERNELS = {
    "Lloyd iteration": "float32",
    "EM sweep, full": "float64",
    "EM sweep, diag": "float64",
    "seeding, 2 rounds": "float64",
}
# What a problem is measured against, by the name of its field.
AXES = {"n_samples": "rows", "n_features": "features", "n_clusters": "clusters"}
# Of two rounds of seeding no number of clusters is a parameter.
WITHOUT_CLUSTERS = frozenset({"seeding, 2 rounds"})
CURVES = {
    "kernel": True,
    "against": True,
    "from": False,
    "to": False,
    "time": False,
    "to time": False,
    "exponent": False,
    "upper half": False,
    "operations": False,
}
THREADS = {
    "kernel": True,
    "shape": True,
    "threads": False,
    "one thread": False,
    "time": False,
    "speed-up": False,
    "efficiency": False,
}


class Grid(NamedTuple):
    """The problem in the middle, the values along each axis, and the problem for threads."""

    base: Problem
    values: Mapping[str, tuple[int, ...]]
    threads: Problem


GRIDS = {
    "quick": Grid(
        Problem(20_000, 16, 16),
        {
            "n_samples": (5_000, 10_000, 20_000, 40_000, 80_000, 160_000),
            "n_features": (2, 4, 8, 16, 32, 64),
            "n_clusters": (4, 8, 16, 32, 64, 128),
        },
        Problem(200_000, 16, 64),
    ),
    "full": Grid(
        Problem(50_000, 32, 32),
        {
            "n_samples": (12_500, 25_000, 50_000, 100_000, 200_000, 400_000, 800_000),
            "n_features": (2, 4, 8, 16, 32, 64, 128, 256),
            "n_clusters": (2, 4, 8, 16, 32, 64, 128, 256, 512),
        },
        Problem(1_000_000, 32, 64),
    ),
}


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The exponent of a power law, by least squares of the logarithms.

    Parameters
    ----------
    x, y : sequence of float
        At least two points, all greater than 0.

    Returns
    -------
    float
        The slope of log y over log x.

    Examples
    --------
    >>> round(exponent([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


@dataclass(frozen=True)
class Curve:
    """Times of a kernel along one axis.

    Attributes
    ----------
    kernel : str
        Its name.
    axis : str
        A key of `AXES`.
    problems : tuple of Problem
        The points, in ascending order along the axis.
    seconds, flops : tuple of float
        Median time of a call, and operations that it needs, at each point.
    """

    kernel: str
    axis: str
    problems: tuple[Problem, ...]
    seconds: tuple[float, ...]
    flops: tuple[float, ...]

    @property
    def at(self) -> list[int]:
        """Values along the axis."""
        return [getattr(problem, self.axis) for problem in self.problems]

    @property
    def exponent(self) -> float:
        """Exponent of the time."""
        return exponent(self.at, self.seconds)

    @property
    def upper_exponent(self) -> float:
        """Exponent of the time over the upper half of the points, at least two."""
        half = min(len(self.at) // 2, len(self.at) - 2)
        return exponent(self.at[half:], self.seconds[half:])

    @property
    def operations_exponent(self) -> float:
        """Exponent of the operations."""
        return exponent(self.at, self.flops)


@dataclass(frozen=True)
class Scaling:
    """A kernel on several threads, timed in turn with one.

    Attributes
    ----------
    kernel : str
        Its name.
    problem : Problem
        What it is called on.
    n_threads : int
        How many.
    one, seconds : float
        Median times on one thread and on all of them.
    """

    kernel: str
    problem: Problem
    n_threads: int
    one: float
    seconds: float

    @property
    def speed_up(self) -> float:
        """How many times as fast as on one thread."""
        return self.one / self.seconds

    @property
    def efficiency(self) -> float:
        """Speed-up for each thread; 1 at best."""
        return self.speed_up / self.n_threads


# --- Measuring -------------------------------------------------------------------------------


def measure_curve(kernel: str, axis: str, problems: Sequence[Problem], repeats: int) -> Curve:
    """Time a kernel along an axis, on all threads.

    Parameters
    ----------
    kernel : str
        A key of :data:`.calls.KERNELS`.
    axis : str
        A key of `AXES`.
    problems : sequence of Problem
        The points, in ascending order along the axis.
    repeats : int
        Timed calls of each, at least, made in turn.

    Returns
    -------
    Curve
        The times.
    """
    with team() as threads:
        tasks = [make_task(kernel, problem, threads) for problem in problems]
        calls = {str(i): task.action for i, task in enumerate(tasks)}
        seconds, _ = in_turn(calls, repeats)
    medians = tuple(statistics.median(of) for of in seconds.values())
    return Curve(kernel, axis, tuple(problems), medians, tuple(task.flops for task in tasks))


def measure_scaling(kernel: str, problem: Problem, n_threads: int, repeats: int) -> Scaling:
    """Time a kernel on one thread and on several, in turn.

    Parameters
    ----------
    kernel : str
        A key of :data:`.calls.KERNELS`.
    problem : Problem
        What to call it on.
    n_threads : int
        How many threads.
    repeats : int
        Timed calls of each, at least.

    Returns
    -------
    Scaling
        The times; of as many threads as the system gives.
    """
    with team(1) as one, team(n_threads) as several:
        calls = {
            name: make_task(kernel, problem, threads).action
            for name, threads in (("one", one), ("several", several))
        }
        seconds, _ = in_turn(calls, repeats)
        medians = {name: statistics.median(of) for name, of in seconds.items()}
        return Scaling(kernel, problem, several.n_threads, medians["one"], medians["several"])


def curves(grid: Grid, repeats: int, report: Callable[[str], None]) -> Iterator[Curve]:
    """Measure every kernel along every axis.

    Parameters
    ----------
    grid : Grid
        The points.
    repeats : int
        Timed calls of each, at least.
    report : callable
        Told of each curve as it begins.

    Yields
    ------
    Curve
        As soon as it is there.
    """
    for kernel, dtype in KERNELS.items():
        base = grid.base._replace(dtype=dtype)
        for axis, values in grid.values.items():
            if axis == "n_clusters" and kernel in WITHOUT_CLUSTERS:
                continue
            report(f"{kernel}, against {AXES[axis]}")
            problems = [Problem(**(base._asdict() | {axis: value})) for value in values]
            yield measure_curve(kernel, axis, problems, repeats)


def scalings(
    grid: Grid, most: int, repeats: int, report: Callable[[str], None]
) -> Iterator[Scaling]:
    """Measure every kernel on 2, 3, … threads.

    Parameters
    ----------
    grid : Grid
        The problem.
    most : int
        Up to how many threads.
    repeats : int
        Timed calls of each, at least.
    report : callable
        Told of each measurement as it begins.

    Yields
    ------
    Scaling
        As soon as it is there.
    """
    for kernel, dtype in KERNELS.items():
        for n_threads in range(2, most + 1):
            report(f"{kernel}, on {n_threads} threads")
            yield measure_scaling(kernel, grid.threads._replace(dtype=dtype), n_threads, repeats)


# --- Results ---------------------------------------------------------------------------------


def curve_row(curve: Curve) -> dict[str, str]:
    """A curve in the table of `CURVES`."""
    return {
        "kernel": curve.kernel,
        "against": AXES[curve.axis],
        "from": str(curve.at[0]),
        "to": str(curve.at[-1]),
        "time": duration(curve.seconds[0]),
        "to time": duration(curve.seconds[-1]),
        "exponent": f"{curve.exponent:.2f}",
        "upper half": f"{curve.upper_exponent:.2f}",
        "operations": f"{curve.operations_exponent:.2f}",
    }


def scaling_row(scaling: Scaling) -> dict[str, str]:
    """A measurement in the table of `THREADS`."""
    return {
        "kernel": scaling.kernel,
        "shape": scaling.problem.text,
        "threads": str(scaling.n_threads),
        "one thread": duration(scaling.one),
        "time": duration(scaling.seconds),
        "speed-up": f"{scaling.speed_up:.2f}",
        "efficiency": f"{100 * scaling.efficiency:.0f} %",
    }


def curve_document(curve: Curve) -> dict[str, Any]:
    """A curve in JSON's types."""
    return {
        "kernel": curve.kernel,
        "against": curve.axis,
        "problems": [problem._asdict() for problem in curve.problems],
        "median_seconds": list(curve.seconds),
        "flops": list(curve.flops),
        "exponent": curve.exponent,
        "upper_half_exponent": curve.upper_exponent,
        "operations_exponent": curve.operations_exponent,
    }


def scaling_document(scaling: Scaling) -> dict[str, Any]:
    """A measurement on threads in JSON's types."""
    return {
        "kernel": scaling.kernel,
        "problem": scaling.problem._asdict(),
        "n_threads": scaling.n_threads,
        "one_thread_median_seconds": scaling.one,
        "median_seconds": scaling.seconds,
        "speed_up": scaling.speed_up,
        "efficiency": scaling.efficiency,
    }


def growth_figure(measured: Sequence[Curve], scaled: Sequence[Scaling]) -> Figure:
    """Times along each axis, both axes logarithmic, and the efficiency over threads.

    Parameters
    ----------
    measured : sequence of Curve
        The curves.
    scaled : sequence of Scaling
        The measurements on threads; may be empty.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9, 7), layout="constrained")
    *panels, last = drawing.subplots(2, 2).ravel()
    colours = dict(zip(KERNELS, COLOURS, strict=False))
    for axes, (axis, name) in zip(panels, AXES.items(), strict=True):
        for curve in measured:
            if curve.axis == axis:
                label = f"{curve.kernel}: {curve.upper_exponent:.2f}"
                style = {"color": colours[curve.kernel], "marker": ".", "label": label}
                axes.plot(curve.at, [1e3 * each for each in curve.seconds], **style)
                axes.set_xscale("log", base=2)
                axes.set_xticks(curve.at, [f"{each:,}" for each in curve.at], fontsize=8)
        axes.set_yscale("log")
        axes.set_xlabel(name)
        axes.set_ylabel("milliseconds")
        axes.set_title(f"Time against {name}; exponent of the upper half", fontsize=10)
        _frame(axes)
    _draw_threads(last, scaled, colours)
    return drawing


def _draw_threads(axes: Axes, scaled: Sequence[Scaling], colours: Mapping[str, str]) -> None:
    """The efficiency of each kernel over threads; one thread is all of one."""
    for kernel, colour in colours.items():
        here = [each for each in scaled if each.kernel == kernel]
        x = [1, *(each.n_threads for each in here)]
        y = [100.0, *(100 * each.efficiency for each in here)]
        axes.plot(x, y, color=colour, marker=".", label=kernel)
    axes.set_xticks(range(1, max((each.n_threads for each in scaled), default=1) + 1))
    axes.set_ylim(0, 115)
    axes.set_xlabel("threads")
    axes.set_ylabel("% of the ideal speed-up")
    axes.set_title("Efficiency of threads", fontsize=10)
    _frame(axes)


def _frame(axes: Axes) -> None:
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False, fontsize=8)


# --- Command ---------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, as every command does."""
    options.add_profile(parser)
    options.add_output(parser, STEM)
    parser.add_argument(
        "--threads",
        type=options.count,
        metavar="N",
        help="measure 1, 2, … N threads (default: as many as a fit uses)",
    )


def command(args: argparse.Namespace) -> int:
    """Run the command, as every one is run."""
    return options.guarded("growth", args, partial(_run, args))


def _run(args: argparse.Namespace) -> int:
    fancy, grid = not args.no_progress, GRIDS[args.profile]
    most = args.threads or effective_n_threads()
    report = announcer(fancy)
    measured = list(curves(grid, args.repeats, report))
    scaled = list(scalings(grid, most, args.repeats, report))
    notes = [
        f"{AXES[axis]}: {', '.join(map(str, values))}, the others as in {grid.base.text}"
        for axis, values in grid.values.items()
    ]
    notes += [
        "exponent: of the time, over all points and over their upper half; operations: of those "
        "that the problem needs",
        *args.note,
    ]
    print_table(CURVES, [curve_row(curve) for curve in measured], fancy)
    if scaled:
        print()
        print_table(THREADS, [scaling_row(each) for each in scaled], fancy)
    for line in notes:
        print(line)
    contents = documents.head(STEM, args.repeats, notes) | {
        "profile": args.profile,
        "most_threads": most,
        "curves": [curve_document(curve) for curve in measured],
        "threads": [scaling_document(each) for each in scaled],
    }
    drawing = None if args.no_figure else growth_figure(measured, scaled)
    documents.write(args.output, STEM, contents, drawing)
    return 0
