"""What threads cost, what a machine could give with them, and what to expect on more of them.

`measure_machine` finds, for a number of threads, the cost of a launch and the two roofs: the peak
of multiply-adds and the bandwidth. `expected` is a model of a pass on a machine that is not at
hand. It counts; nothing in it is fitted: how many tasks there are, what is summed apart and merged
where all threads wait for it, and what one thread does between two passes. It knows nothing of
bandwidth, of caches or of clocks that slow down when all cores work, which the roofs of the machine
itself tell: what it gives is what can be expected of fastclust, where the machine keeps up.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastclust.kernels.emit.cpu import lanes
from fastclust.kernels.emit.roof import ROOF_CHAINS
from fastclust.kernels.emit.sums import record_size
from fastclust.kernels.gaussian import (
    COVARIANCES,
    VARIANCES,
    moments_of_component,
    sweep_rows,
    sweep_work,
)
from fastclust.kernels.machine.parallel import Team, team, threads_that_pay
from fastclust.kernels.machine.roof import Read, Spin, spin
from fastclust.kernels.seeding import rows_per_block
from fastclust.kernels.slices import MAX_SLICES
from fastclust.kernels.update import is_large, slice_rows

from .calls import Problem, Task
from .measuring import Timed, in_turn

READ_BYTES, N_ROUNDS, LAUNCHES = 512_000_000, 20_000, 200
# What the model takes for the cost of a launch, and of each thread more; measured on 16 cores.
LAUNCH_SECONDS, THREAD_SECONDS = 5e-6, 1e-6
# Bytes a second at which a thread adds one sum to another that another core has written.
MERGE_BANDWIDTH = 5e9
# Averaging centers and packing them for the next pass, for each of their numbers.
NUMBER_SECONDS = 2e-9
ON_CORES = (8, 16, 64)


@dataclass(frozen=True)
class Machine:
    """What a number of threads cost and could do.

    Attributes
    ----------
    n_threads : int
        How many.
    launch : float
        Median seconds of a launch of a task for each that has nothing to do.
    peaks : mapping of str to float
        Operations a second of multiply-adds in registers, by type of numbers.
    bandwidth : float
        Bytes a second of a read of a large array.
    """

    n_threads: int
    launch: float
    peaks: Mapping[str, float]
    bandwidth: float

    def roof(self, task: Task) -> float:
        """Most operations a second that these threads could do of a kernel's."""
        return min(self.peaks[task.arithmetic], task.flops / task.n_bytes * self.bandwidth)


def thread_counts(most: int) -> list[int]:
    """1, 2, 4, … and `most`.

    Examples
    --------
    >>> thread_counts(12)
    [1, 2, 4, 8, 12]
    """
    return sorted({2**i for i in range(most.bit_length()) if 2**i <= most} | {most})


def measure_machine(n_threads: int, repeats: int) -> Machine:
    """Measure what so many threads cost and could do.

    Parameters
    ----------
    n_threads : int
        How many.
    repeats : int
        Timed calls of each, at least.

    Returns
    -------
    Machine
        The figures; of as many threads as the system gives.
    """
    with team(n_threads) as threads:
        spins = {dtype: Spin(dtype, N_ROUNDS, threads) for dtype in ("float32", "float64")}
        read = Read(READ_BYTES, threads)
        actions: dict[str, Callable[[], Any]] = {"launch": _launches(threads), "read": read}
        sides = {name: Timed(action) for name, action in (actions | spins).items()}
        seconds = in_turn(sides, repeats)
        median = {name: statistics.median(of) for name, of in seconds.items()}
        peaks = {dtype: each.flops / median[dtype] for dtype, each in spins.items()}
        launch = median["launch"] / LAUNCHES
        return Machine(threads.n_threads, launch, peaks, read.n_bytes / median["read"])


def _launches(threads: Team) -> Callable[[], None]:
    """Launches with next to nothing to do, said to be much work; one after the other."""
    values = np.full((threads.n_threads, ROOF_CHAINS * lanes("float32")), 0.5, np.float32)

    def action() -> None:
        for _ in range(LAUNCHES):
            threads.run(spin, 1e12, len(values), 1, values)

    return action


# --- The model -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    """What of a call does not become faster by threads, counted from its shape.

    Attributes
    ----------
    n_launches : int
        Passes over the rows.
    work : float
        Multiply-adds of a pass, by which the number of its threads is chosen.
    n_tasks : int
        Tasks of a pass.
    kept : int
        Bytes that a slice sums apart, at most.
    serial : float
        Seconds that one thread works between two passes.
    """

    n_launches: int
    work: float
    n_tasks: int
    kept: int
    serial: float

    @property
    def merged(self) -> int:
        """Bytes that a pass merges, at most: all slices' but the first one's."""
        return (self.n_tasks - 1) * self.kept


def count(kernel: str, problem: Problem) -> Counted:
    """Count what a kernel does not share among threads.

    Parameters
    ----------
    kernel : str
        One of those of ``fastclust growth``.
    problem : Problem
        What it is called on.

    Returns
    -------
    Counted
        The counts.
    """
    n, d, k, _ = problem
    numbers = NUMBER_SECONDS * k * d
    if kernel == "Lloyd iteration":
        kept = 0 if is_large(k, d) else 8 * k * record_size(d)
        return Counted(1, float(n) * d * (k + 4), -(-n // slice_rows(n, d, k)), kept, numbers)
    if kernel == "seeding, 2 rounds":
        block, n_trials = rows_per_block(d), 2  # of so few centers
        n_tasks = min(-(-n // block), MAX_SLICES)
        search = NUMBER_SECONDS * n_trials * (n / block)
        return Counted(2, 2.0 * n * d * (n_trials + 1), n_tasks, 8 * n_trials, search)
    order = {"EM sweep, full": COVARIANCES, "EM sweep, diag": VARIANCES}[kernel]
    kept = 8 * k * moments_of_component(order, d)
    second = numbers * (d if order == COVARIANCES else 2)
    return Counted(1, sweep_work(k, n, d, order), -(-n // sweep_rows(n, d)), kept, second)


def expected(counted: Counted, one: float, n_threads: int) -> float:
    """Seconds that a call should take on a machine with so many cores.

    Parameters
    ----------
    counted : Counted
        What it does not share.
    one : float
        Seconds of the call on one thread.
    n_threads : int
        Threads to be had.

    Returns
    -------
    float
        Of each pass: the launch; the tasks of the thread that has most; the sums that are merged
        on the way from the last task to the root of the tree; what one thread does before the next.

    Examples
    --------
    >>> counted = Counted(1, 1e12, n_tasks=20, kept=0, serial=0.0)
    >>> round(1.0 / expected(counted, 1.0, 8), 2)  # three tasks for some, two for others
    6.67
    """
    fixed = LAUNCH_SECONDS + counted.serial
    shared = max(0.0, one / counted.n_launches - fixed)
    threads = threads_that_pay(counted.work, min(n_threads, counted.n_tasks))
    most = math.ceil(counted.n_tasks / threads) / counted.n_tasks
    merging = math.ceil(math.log2(threads)) * counted.kept / MERGE_BANDWIDTH
    launch = LAUNCH_SECONDS + THREAD_SECONDS * (threads - 1)
    return counted.n_launches * (launch + shared * most + merging + counted.serial)
