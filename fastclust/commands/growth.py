"""``fastclust growth``: how the time of each kernel grows with the problem, and with threads.

Along each of the numbers of rows, features and clusters the others stay as they are, and a power
law is fitted to the times: an exponent of 1 is time in proportion. Beside it stands the exponent
of the operations that the problem needs, counted as in `.calls`: time that grows by less is a
fixed cost that comes to weigh less, or fuller vectors; time that grows by more is a cache that has
become too small.

For 1, 2, 4, … threads stands what they cost and could do: a launch, the peak of multiply-adds, the
bandwidth. Each kernel is timed on one thread and on several in turn, on the same problem: the
efficiency is the speed-up divided by the number of threads; beside it stands the speed-up that the
machine would allow, by its own peak and bandwidth, and which share of that is reached. More threads
than cores share these, and are no measure of what more cores would give. For those there is a
model, which counts what threads do not share: see `.scaling`.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastclust.kernels.machine.parallel import effective_n_threads, team

from . import documents, options
from . import scaling as model
from .calls import Problem, make_task
from .drawing import COLOURS, duration
from .measuring import Timed, in_turn
from .progress import announcer
from .scaling import Machine
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
MACHINE = {
    "threads": False,
    "launch, µs": False,
    "GFLOP/s float32": False,
    "GFLOP/s float64": False,
    "GB/s": False,
}
THREADS = {
    "kernel": True,
    "shape": True,
    "threads": False,
    "one thread": False,
    "time": False,
    "speed-up": False,
    "efficiency": False,
    "machine allows": False,
    "share of that": False,
}
EXPECTED = {
    "kernel": True,
    "shape": True,
    "tasks": False,
    "merged": False,
    "serial": False,
    **{f"{n} cores": False for n in model.ON_CORES},
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
    allowed : float
        The speed-up of the machine's own roof over this kernel, where it was measured.
    n_cores : int
        Cores that the threads had; 0 for enough.
    """

    kernel: str
    problem: Problem
    n_threads: int
    one: float
    seconds: float
    allowed: float = math.nan
    n_cores: int = 0

    @property
    def speed_up(self) -> float:
        """How many times as fast as on one thread."""
        return self.one / self.seconds

    @property
    def efficiency(self) -> float:
        """Speed-up for each thread; 1 at best."""
        return self.speed_up / self.n_threads

    @property
    def shares_cores(self) -> bool:
        """Whether there were more threads than cores."""
        return 0 < self.n_cores < self.n_threads


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
        calls = {str(i): Timed(task.action) for i, task in enumerate(tasks)}
        seconds = in_turn(calls, repeats)
    medians = tuple(statistics.median(of) for of in seconds.values())
    return Curve(kernel, axis, tuple(problems), medians, tuple(task.flops for task in tasks))


def measure_scaling(
    kernel: str,
    problem: Problem,
    n_threads: int,
    repeats: int,
    machines: Mapping[int, Machine] | None = None,
) -> Scaling:
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
    machines : mapping of int to Machine, optional
        What one thread and so many could do.

    Returns
    -------
    Scaling
        The times; of as many threads as the system gives.
    """
    with team(1) as one, team(n_threads) as several:
        tasks = {
            name: make_task(kernel, problem, threads)
            for name, threads in (("one", one), ("several", several))
        }
        sides = {name: Timed(task.action) for name, task in tasks.items()}
        seconds = in_turn(sides, repeats)
        medians = {name: statistics.median(of) for name, of in seconds.items()}
        allowed = math.nan
        if machines is not None:
            task = tasks["one"]
            allowed = machines[n_threads].roof(task) / machines[1].roof(task)
        return Scaling(
            kernel,
            problem,
            several.n_threads,
            medians["one"],
            medians["several"],
            allowed,
            documents.machine()["cores"],
        )


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
    grid: Grid,
    most: int,
    repeats: int,
    report: Callable[[str], None],
    machines: Mapping[int, Machine] | None = None,
) -> Iterator[Scaling]:
    """Measure every kernel on 2, 4, … threads.

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
    machines : mapping of int to Machine, optional
        What each number of threads could do.

    Yields
    ------
    Scaling
        As soon as it is there.
    """
    for kernel, dtype in KERNELS.items():
        problem = grid.threads._replace(dtype=dtype)
        for n_threads in model.thread_counts(most)[1:]:
            report(f"{kernel}, on {n_threads} threads")
            yield measure_scaling(kernel, problem, n_threads, repeats, machines)


def machines_of(most: int, repeats: int, report: Callable[[str], None]) -> dict[int, Machine]:
    """Measure what 1, 2, 4, … threads cost and could do.

    Parameters
    ----------
    most : int
        Up to how many threads.
    repeats : int
        Timed calls of each, at least.
    report : callable
        Told of each measurement as it begins.

    Returns
    -------
    dict of int to Machine
        By the number of threads.
    """
    found = {}
    for n_threads in model.thread_counts(most):
        report(f"the machine, on {n_threads} threads")
        found[n_threads] = model.measure_machine(n_threads, repeats)
    return found


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
    """A measurement in the table of `THREADS`.

    Threads that share cores have no efficiency of their own, and say so.
    """
    measured = not math.isnan(scaling.allowed) and not scaling.shares_cores
    share = scaling.speed_up / scaling.allowed if measured else math.nan
    return {
        "kernel": scaling.kernel,
        "shape": scaling.problem.text,
        "threads": threads_text(scaling.n_threads, scaling.n_cores),
        "one thread": duration(scaling.one),
        "time": duration(scaling.seconds),
        "speed-up": f"{scaling.speed_up:.2f}",
        "efficiency": "-" if scaling.shares_cores else f"{100 * scaling.efficiency:.0f} %",
        "machine allows": f"{scaling.allowed:.2f}" if measured else "-",
        "share of that": f"{100 * share:.0f} %" if measured else "-",
    }


def threads_text(n_threads: int, n_cores: int) -> str:
    """A number of threads, and of cores where these are fewer."""
    return f"{n_threads} on {n_cores} cores" if 0 < n_cores < n_threads else str(n_threads)


def machine_row(machine: Machine, n_cores: int) -> dict[str, str]:
    """What threads cost and could do in the table of `MACHINE`."""
    return {
        "threads": threads_text(machine.n_threads, n_cores),
        "launch, µs": f"{1e6 * machine.launch:.1f}",
        **{f"GFLOP/s {dtype}": f"{peak / 1e9:.0f}" for dtype, peak in machine.peaks.items()},
        "GB/s": f"{machine.bandwidth / 1e9:.1f}",
    }


def expected_row(kernel: str, problem: Problem, one: float) -> dict[str, str]:
    """What the model says of a kernel that takes one thread `one` seconds, for `EXPECTED`."""
    counted = model.count(kernel, problem)
    speed_ups = {n: one / model.expected(counted, one, n) for n in model.ON_CORES}
    return {
        "kernel": kernel,
        "shape": problem.text,
        "tasks": str(counted.n_tasks),
        "merged": f"{counted.merged / 1e6:.2f} MB",
        "serial": duration(counted.serial),
        **{f"{n} cores": f"{each:.1f}" for n, each in speed_ups.items()},
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
        "allowed_speed_up": None if math.isnan(scaling.allowed) else scaling.allowed,
        "shares_cores": scaling.shares_cores,
    }


def expected_document(kernel: str, problem: Problem, one: float) -> dict[str, Any]:
    """What the model says of a kernel, in JSON's types."""
    counted = model.count(kernel, problem)
    return {
        "kernel": kernel,
        "problem": problem._asdict(),
        "one_thread_median_seconds": one,
        **asdict(counted),
        "merged_bytes": counted.merged,
        "seconds": {str(n): model.expected(counted, one, n) for n in model.ON_CORES},
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
        here = [each for each in scaled if each.kernel == kernel and not each.shares_cores]
        x = [1, *(each.n_threads for each in here)]
        y = [100.0, *(100 * each.efficiency for each in here)]
        axes.plot(x, y, color=colour, marker=".", label=kernel)
    axes.set_xticks(sorted({1, *(each.n_threads for each in scaled if not each.shares_cores)}))
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
        help="measure 1, 2, 4, … N threads (default: as many as a fit uses)",
    )


def command(args: argparse.Namespace) -> int:
    """Run the command, as every one is run."""
    return options.guarded("growth", args, partial(_run, args))


def _run(args: argparse.Namespace) -> int:
    fancy, grid = not args.no_progress, GRIDS[args.profile]
    most = args.threads or effective_n_threads()
    report = announcer(fancy)
    measured = list(curves(grid, args.repeats, report))
    machines = machines_of(most, args.repeats, report)
    scaled = list(scalings(grid, most, args.repeats, report, machines))
    cores = documents.machine()["cores"]
    ones = {each.kernel: (each.problem, each.one) for each in scaled}
    notes = [
        f"{AXES[axis]}: {', '.join(map(str, values))}, the others as in {grid.base.text}"
        for axis, values in grid.values.items()
    ]
    notes += [
        "exponent: of the time, over all points and over their upper half; operations: of those "
        "that the problem needs",
        "launch: of as many tasks as threads, which do nothing; machine allows: the speed-up of "
        "its own peak or bandwidth, whichever is the roof over the kernel",
    ]
    if most > cores:
        notes.append(
            f"more than {cores} threads share the {cores} cores: such rows say nothing about what "
            "more cores would bring"
        )
    if scaled:
        notes.append(
            "expected on more cores: speed-ups by a model of what threads do not share (tasks, "
            "sums merged at most, seconds of one thread between passes), where the machine's "
            "bandwidth and clock keep up"
        )
    notes += args.note
    print_table(CURVES, [curve_row(curve) for curve in measured], fancy)
    print()
    print_table(MACHINE, [machine_row(each, cores) for each in machines.values()], fancy)
    if scaled:
        print()
        print_table(THREADS, [scaling_row(each) for each in scaled], fancy)
        print()
        rows = [expected_row(kernel, *found) for kernel, found in ones.items()]
        print_table(EXPECTED, rows, fancy)
    for line in notes:
        print(line)
    contents = documents.head(STEM, args.repeats, notes) | {
        "profile": args.profile,
        "most_threads": most,
        "curves": [curve_document(curve) for curve in measured],
        "machines": [asdict(each) for each in machines.values()],
        "threads": [scaling_document(each) for each in scaled],
        "expected": [expected_document(kernel, *found) for kernel, found in ones.items()],
    }
    drawing = None if args.no_figure else growth_figure(measured, scaled)
    documents.write(args.output, STEM, contents, drawing)
    return 0
