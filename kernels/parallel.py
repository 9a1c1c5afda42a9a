"""Runs a serial kernel over row blocks on all threads, and owns every rule about threads.

No threading layer of Numba is used: its `workqueue` aborts the process when two Python threads
enter it at once, `omp` aborts a forked child, and either compiles slowly.  Instead a few daemon
threads of our own call the very kernel that the caller calls; kernels release the GIL and take
their tasks from atomic counters.  What follows from that:

* The caller takes part and never depends on a helper.  Helpers that come late find the counter
  drained; helpers that do not exist (in a forked child, at interpreter exit, because another fit
  has them) are not missed.  There is nothing to dead-lock on and nothing to abort.
* Fits in several Python threads share the helpers: whoever comes first has them, the others run
  serially, so the machine is never oversubscribed.
* A helper that sleeps is woken beside the caller, not behind it: Linux, in virtual machines above
  all, may wake a thread on the processor of whoever wakes it, and leave it there for tens of
  milliseconds though others have nothing to do.
* A thread takes the tasks of its own share first, the same in every call with as many: what it
  has read and written then is in its own caches, which on some CPUs are far from the others'.
  Nothing more depends on it; what a task computes and where it writes does not change with the
  thread.  Kernels merge their results in task order, so results do not depend on thread counts.

A kernel that can be run here has the signature ``kernel(counter, gate, n_tasks, *arguments)``,
calls ``enter(counter, gate)`` first, takes tasks by ``next_task(counter, gate, n_tasks)`` until
they are used up, and calls ``leave(counter, gate)`` last.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import config
from numba.np.ufunc import parallel as numba_threads
from threadpoolctl import ThreadpoolController

from .compiling import inlined, kernel
from .forking import undivided
from .simd import BACK, CALLERS_GATE, FRONT, RECORD, TAKEN, fetch_add, peek
from .simd import next_task as next_task

INSIDE, OPEN = BACK + 1, 0  # more slots: of a counter's first record, and of the gate
DRAINED = 1 << 60
MOST_SEATS = 1024
# A helper that has just finished looks out for the next job without sleeping: waking a thread
# takes 50 µs, as long as a whole iteration on 20,000 rows.  About 200 µs: half a nanosecond each.
SPIN_ROUNDS = 400_000
# Work (multiply-adds) below which a second thread costs more than it brings.
SMALL_WORK = 500_000


def new_counter(n_seats: int = 1) -> np.ndarray[Any, Any]:
    """What the threads of one kernel call take their tasks from."""
    return np.zeros(n_seats * RECORD, np.int64)


def drain(counter: np.ndarray[Any, Any]) -> None:
    """Withdraw the tasks that are left."""
    counter[TAKEN::RECORD] = DRAINED


@inlined
def restart(counter: Any) -> None:
    """Offer all tasks again, to a thread that runs a kernel alone."""
    counter[TAKEN] = counter[FRONT] = counter[BACK] = 0


@inlined
def enter(counter: Any, gate: Any) -> None:
    """Register this thread with the job; the caller's own entry opens the gate for its helpers.

    The gate is opened here, without the GIL, and not before the call: helpers that are looking
    out need the GIL next, and would have to sleep while the caller still held it.
    """
    fetch_add(counter, INSIDE, 1)
    fetch_add(gate, OPEN, 1)


@inlined
def leave(counter: Any, gate: Any) -> None:
    """Say that this thread will write nothing more; a helper then waits a while for the next job.

    It waits here, still without the GIL: going back to Python now would make the caller, which
    comes back at the same moment, sleep for the GIL.
    """
    fetch_add(counter, INSIDE, -1)
    if len(gate) > CALLERS_GATE:
        seen = peek(gate, OPEN)
        rounds = SPIN_ROUNDS
        while peek(gate, OPEN) == seen and rounds > 0:
            rounds -= 1


@kernel
def _all_left(counter: Any, rounds: int) -> bool:
    """Wait for a while until nobody is inside the job."""
    while peek(counter, INSIDE) > 0 and rounds > 0:
        rounds -= 1
    return peek(counter, INSIDE) <= 0


def _find_getcpu() -> Callable[[], int]:
    """The C library's function that tells the processor; -1 where it has none."""
    try:
        # It keeps the GIL: handing that on would take longer than the call.
        found: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu
    except (OSError, AttributeError):
        return lambda: -1
    return found


_getcpu = _find_getcpu()


def _allowed_processors() -> set[int]:
    """Processors that this thread may run on; none where threads cannot be bound."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _bind(thread: int, processors: set[int]) -> None:
    """Let a thread run on these processors only; if there are none, where it might before."""
    if processors:
        with contextlib.suppress(OSError):  # forbidden, or not there any more: as it was, then
            os.sched_setaffinity(thread, processors)


class _Helper(threading.Thread):
    """A daemon thread that runs the jobs of the team it belongs to at the moment."""

    def __init__(self) -> None:
        super().__init__(name="fastclust", daemon=True)
        self.wake = threading.Semaphore(0)
        self.team: weakref.ref[Team] | None = None
        self.asleep = False
        # What it looks out at; it stays from team to team, so that a call soon after another finds
        # it awake although the helpers have meanwhile been given back and taken again.
        self.gate = np.zeros(CALLERS_GATE + MOST_SEATS, np.int64)
        self.seat = 1  # among the threads of the team; the caller's is 0
        self.processors: set[int] = set()  # where it was allowed to run when it was started
        self.start()

    def run(self) -> None:
        self.processors = _allowed_processors()
        while True:
            self.asleep = True
            self.wake.acquire()
            self._serve()

    def rouse(self) -> None:
        """Wake it up on another processor than that of the thread that calls.

        There it keeps away from until the next time: it also sleeps, if briefly, for the GIL.
        """
        if self.native_id is not None:
            _bind(self.native_id, self.processors - {_getcpu()})
        self.asleep = False
        self.wake.release()

    def _serve(self) -> None:
        while True:
            reference = self.team
            team = reference() if reference is not None else None
            job = team.job if team is not None else None
            if team is None or job is None or not job.takes(self):
                return
            gate = team.helpers_gate[: CALLERS_GATE + self.seat]
            # Not held during the job: a team that nobody else holds any more is given up.
            del team
            job.run(gate)
            del job


class _Job:
    """One kernel call, shared by the caller and its helpers."""

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], n_seats: int
    ) -> None:
        self.function = function
        self.arguments = arguments
        self.counter = new_counter(n_seats)
        self.takers: set[_Helper] = set()
        self.error: BaseException | None = None

    def takes(self, taker: _Helper) -> bool:
        """True once for each helper."""
        if taker in self.takers:
            return False
        self.takers.add(taker)
        return True

    def run(self, gate: np.ndarray[Any, Any]) -> None:
        """What a helper does: call the kernel, and keep its error for the caller."""
        try:
            self.function(self.counter, gate, *self.arguments)
        except BaseException as error:  # carried to the caller
            self.error = error
            drain(self.counter)


class Team:
    """The caller and the helpers that it could get; see :func:`team`."""

    def __init__(self, wanted: int) -> None:
        self.helpers: list[_Helper] = []
        self.job: _Job | None = None
        # Helpers come back even if Ctrl-C strikes before a `with` block begins or as it ends.
        self.close = weakref.finalize(self, _give_back, self.helpers, _idle)
        self.close.atexit = False
        _take_helpers(wanted, self.helpers)
        first = self.helpers[0].gate if self.helpers else np.zeros(CALLERS_GATE, np.int64)
        self.helpers_gate, self.gate = first, first[:CALLERS_GATE]
        for number, member in enumerate(self.helpers):
            member.seat = 1 + number % MOST_SEATS
            member.team = weakref.ref(self)

    @property
    def n_threads(self) -> int:
        """Threads that may run a kernel, the caller included."""
        return 1 + len(self.helpers)

    def run(self, function: Callable[..., Any], work: float, n_tasks: int, *arguments: Any) -> None:
        """Call ``function(counter, gate, n_tasks, *arguments)`` on all threads of the team.

        Parameters
        ----------
        function : callable
            A kernel as described in this module's docstring.
        work : float
            Its multiply-adds, roughly: little work is done by the caller alone.
        n_tasks : int
            Number of tasks.
        *arguments
            Further arguments of the kernel.
        """
        if not self.helpers or work < SMALL_WORK or n_tasks < 2:
            function(new_counter(), self.gate, n_tasks, *arguments)
            return
        job = _Job(function, (n_tasks, *arguments), min(self.n_threads, n_tasks))
        self.job = job
        try:
            for member in self.helpers[: n_tasks - 1]:
                if member.asleep:
                    member.rouse()
            function(job.counter, self.gate, *job.arguments)
            while not _all_left(job.counter, 1_000_000) and job.error is None:
                time.sleep(0)
        except BaseException:
            # Ctrl-C, for one: helpers stop at their next task, and hold the arrays until then.
            drain(job.counter)
            raise
        finally:
            self.job = None
        if job.error is not None:
            raise job.error


_idle: list[_Helper] = []
_n_helpers = 0
_started: list[_Helper] = []
# Taken once more by the thread that has it where a signal's handler fits, or where the garbage
# collector gives up a team, while helpers are taken.
_lock = threading.RLock()


def _forget_helpers() -> None:
    """In a forked child the parent's helpers do not run; it starts its own when it needs them."""
    global _idle, _n_helpers, _lock
    _idle, _n_helpers, _lock = [], 0, threading.RLock()
    for member in _started:  # a fit that goes on in the child wakes nobody up
        member.asleep = False
    _started.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


def _take_helpers(wanted: int, taken: list[_Helper]) -> None:
    """Move up to `wanted` idle helpers to `taken`, started now where there are too few."""
    global _n_helpers
    with _lock:
        while len(_idle) < wanted and _n_helpers < wanted:
            try:
                _started.append(_Helper())
            except RuntimeError:  # the system gives no more threads: do with what there is
                break
            _idle.append(_started[-1])
            _n_helpers += 1
        # No call in between, after which an interrupt could come.
        taken[:], _idle[:] = _idle[:wanted], _idle[wanted:]


def _give_back(helpers: list[_Helper], home: list[_Helper]) -> None:
    """Make the helpers of a team idle again, unless this is a child forked meanwhile."""
    for member in helpers:
        member.team = None
    with _lock:
        if home is _idle:
            _idle.extend(helpers)


@contextlib.contextmanager
def team(n_threads: int | None = None) -> Iterator[Team]:
    """Gather the threads for one fit or one prediction.

    Parameters
    ----------
    n_threads : int, optional
        Most threads to use; :func:`effective_n_threads` by default.

    Yields
    ------
    Team
        With between 1 and `n_threads` threads.
    """
    wanted = effective_n_threads() if n_threads is None else n_threads
    members = Team(max(0, wanted - 1))
    try:
        yield members
    finally:
        members.close()


# Whoever needs no helper needs no lock either, and all may use one gate, which is only counted up.
_alone = Team(0)


def team_for(work: float) -> contextlib.AbstractContextManager[Team]:
    """As :func:`team`, for one call: the caller alone where `work` is too little for a second."""
    return contextlib.nullcontext(_alone) if work < SMALL_WORK else team()


def _numba_limit() -> int:
    """``numba.get_num_threads()``, without launching Numba's threads only to count them.

    That function takes the lock of the launch even when they have been launched, a lock which this
    process shares with those it has forked: killed at that moment, one of them leaves it locked
    for all.  The number is the calling thread's own, and Numba's C library tells it without.
    """
    if numba_threads._is_initialized:
        return int(numba_threads._get_num_threads())
    return int(config.NUMBA_NUM_THREADS)


_openmp: ThreadpoolController | None = None


def _openmp_limit() -> int:
    """Smallest thread limit that OpenMP libraries have, by OMP_NUM_THREADS or threadpoolctl."""
    global _openmp
    if _openmp is None or not _openmp.lib_controllers:  # as long as none has been loaded
        with undivided:  # the loader's list of libraries is locked meanwhile
            _openmp = ThreadpoolController().select(user_api="openmp")
    limits = [library.num_threads for library in _openmp.lib_controllers]
    return min(limits, default=_numba_limit())


def effective_n_threads() -> int:
    """Threads that a fit uses: what Numba may use, and no more than OpenMP is limited to.

    ``numba.set_num_threads``, ``NUMBA_NUM_THREADS`` (which joblib sets in its workers),
    ``OMP_NUM_THREADS`` and ``threadpoolctl.threadpool_limits`` are all obeyed, as scikit-learn's
    users expect.
    """
    if config.DISABLE_JIT:
        return 1
    return max(1, min(_numba_limit(), _openmp_limit()))
