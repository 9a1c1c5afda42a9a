"""Suites for airspeed velocity: every kernel by itself, in seconds and under the roof."""

from __future__ import annotations

from benchmarks.selection import KERNEL_PROBLEMS, name
from fastclust.commands.calls import make_task
from fastclust.commands.roofline import place
from fastclust.kernels.machine.parallel import team
from fastclust.kernels.machine.roof import Read, Spin

# Larger than the last cache of most machines, and soon read.
READ_BYTES, SPIN_ROUNDS = 128_000_000, 5_000
REPEATS, FILL = 5, 0.1
# The first and the last of the problems that a kernel is timed on.
CASES = {
    f"{kernel}: {name(problem)}": (kernel, problem)
    for kernel, problems in KERNEL_PROBLEMS.items()
    for problem in (problems[0], problems[-1])
}
LAST = [f"{kernel}: {name(problems[-1])}" for kernel, problems in KERNEL_PROBLEMS.items()]


class _Kernel:
    """A kernel, its data and the threads it runs on."""

    param_names = ("kernel",)
    timeout = 300.0

    def setup(self, case: str) -> None:
        """Gather the threads, make the data, and call the kernel once.

        Parameters
        ----------
        case : str
            A key of `CASES`.
        """
        self.gathered = team()
        self.threads = self.gathered.__enter__()
        self.task = make_task(*CASES[case], self.threads)
        self.task.action()

    def teardown(self, case: str) -> None:
        """Give the threads back."""
        self.gathered.__exit__(None, None, None)


class Kernels(_Kernel):
    """One call of each kernel, on all threads, with every buffer made before."""

    params = (list(CASES),)

    def time_call(self, case: str) -> None:
        """Seconds of a call."""
        self.task.action()


class Roof(_Kernel):
    """Each kernel's place under the machine's roof."""

    params = (LAST,)

    def track_percent(self, case: str) -> float:
        """Operations per second, as a share of what the machine allows.

        More is better: what asv reports as a regression is a gain.
        """
        spin = Spin(self.task.arithmetic, SPIN_ROUNDS, self.threads)
        found = place(self.task, Read(READ_BYTES, self.threads), spin, REPEATS, fill=FILL)
        return 100.0 * found.reached / found.roof

    track_percent.unit = "% of roof"  # type: ignore[attr-defined]
