"""What the machine can do at most, on the threads that fastclust uses.

Two loops with nothing to do but the one thing that is measured: multiply-adds whose operands stay
in registers, and a sum over an array that is larger than every cache.  They run on fastclust's own
`Team`, so that a kernel and its roof have the same threads at the same moment.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..emit.cpu import lanes
from ..emit.roof import ROOF_CHAINS, spin_multiply_adds
from ..tiles import aligned_empty
from .compiling import kernel, vector_sum
from .parallel import Team, next_task

# Small beside the whole, so that a thread which comes first does not wait long for the last one.
TASKS_PER_THREAD = 64


@kernel
def spin(counter, gate, n_tasks, n_rounds, values):
    """Per task: `n_rounds` rounds of multiply-adds on its own row of `values`."""
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        spin_multiply_adds(values[task], n_rounds)


@vector_sum
def _total(values):
    total = 0.0
    for i in range(len(values)):
        total += values[i]
    return total


@kernel
def _read(counter, gate, n_tasks, values, totals):
    """Per task: the sum of its share of `values`."""
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start, stop = task * len(values) // n_tasks, (task + 1) * len(values) // n_tasks
        totals[task] = _total(values[start:stop])


class Spin:
    """Fused multiply-adds as fast as the threads can: call it, and time the call.

    Parameters
    ----------
    dtype : data-type
        float32 or float64.
    n_rounds : int
        Rounds per task, of `ROOF_CHAINS` vector instructions each.
    team : Team
        Threads to run on.

    Attributes
    ----------
    flops : float
        Floating-point operations of one call; a multiply-add is two.
    """

    def __init__(self, dtype: Any, n_rounds: int, team: Team) -> None:
        self._team, self._n_rounds = team, n_rounds
        self._n_tasks = TASKS_PER_THREAD * team.n_threads
        # One half is drawn towards one by s → s/2 + 1/2: no overflow, and nothing subnormal.
        self._values = aligned_empty((self._n_tasks, ROOF_CHAINS * lanes(dtype)), dtype)
        self._values[:] = 0.5
        self.flops = 2.0 * n_rounds * self._values.size

    def __call__(self) -> None:
        """Do the multiply-adds."""
        self._team.run(spin, self.flops / 2, self._n_tasks, self._n_rounds, self._values)


class Read:
    """A read of a large array by all threads: call it, and time the call.

    Parameters
    ----------
    n_bytes : int
        Size of the array; several times that of the last cache, or it is the cache that is read.
    team : Team
        Threads to run on.

    Attributes
    ----------
    n_bytes : int
        Bytes read by one call.
    """

    def __init__(self, n_bytes: int, team: Team) -> None:
        self._team = team
        # Written to, each page is a page of memory; zeros from the system would all be one.
        self._values = np.ones(max(1, n_bytes // 8))
        self._totals = np.empty(TASKS_PER_THREAD * team.n_threads)
        self.n_bytes = self._values.nbytes

    def __call__(self) -> float:
        """Read the array; its sum, which is its number of elements."""
        self._team.run(_read, self._values.size, len(self._totals), self._values, self._totals)
        return float(self._totals.sum())
