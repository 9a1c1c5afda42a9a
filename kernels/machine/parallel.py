"""Runs a serial kernel over row blocks on all threads, and owns every rule about threads.

No threading layer of Numba is used: its `workqueue` aborts the process when two Python threads
enter it at once, `omp` aborts a forked child, and either compiles slowly.  Instead a few daemon
threads of our own call the very kernel that the caller calls; kernels release the GIL and take
their tasks from atomic counters.  What follows from that:

* The caller takes part and never depends on a helper.  Helpers that come late find the job closed;
  helpers that do not exist (in a forked child, at interpreter exit, because another fit has them)
  are not missed.  There is nothing to dead-lock on and nothing to abort.
* Helpers live in compiled code and run no Python: a kernel hands itself to them (see
  :mod:`.launching`), and they look out for it, or sleep, without the GIL (see :mod:`.boards`).
* Fits in several Python threads share the helpers: whoever comes first has them, the others run
  serially, so the machine is never oversubscribed.
* A launch takes as many threads as its work pays for, which may be fewer than the team has.
* A helper that sleeps is woken beside the caller, not behind it: Linux, in virtual machines above
  all, may wake a thread on the processor of whoever wakes it, and leave it there for tens of
  milliseconds though others have nothing to do.
* A thread takes the tasks of its own share first, the same in every call with as many: what it
  has read and written then is in its own caches, which on some CPUs are far from the others'.
  Nothing more depends on it; what a task computes and where it writes does not change with the
  thread.  Kernels merge their results along a tree (:mod:`.slices`), whichever thread does so.

A kernel that can be run here has the signature ``kernel(counter, gate, n_tasks, *arguments)`` and
takes tasks by ``next_task(counter, gate, n_tasks)`` until they are used up.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import config
from numba.np.ufunc import parallel as numba_threads
from threadpoolctl import ThreadpoolController

from ..emit.memory import CALLERS_GATE, RECORD
from ..emit.memory import next_task as next_task
from ..tiles import Array
from . import boards
from .forking import undivided
from .launching import WANTED

# Work (multiply-adds) below which a second thread that has to be woken costs more than it brings.
SMALL_WORK = 500_000
# A thread more adds about 1 µs to a launch (measured: 6 µs with one, 21 with 16), in which the
# fastest kernels do 50,000 multiply-adds.  With n threads a launch of W takes W/(50,000 n) + n µs,
# which is least at the square root of W/50,000, and hardly more at the half or the double of that.
THREAD_WORK = 50_000
LEAST_WORK = 4 * THREAD_WORK  # for two threads

# After so many a loop of launches comes back to Python, where Ctrl-C is heard: less than a tenth of
# a second.
LOOP_WORK = 100_000_000


def new_counter(n_seats: int = 1) -> np.ndarray[Any, Any]:
    """What the threads of one kernel call take their tasks from."""
    return np.zeros(n_seats * RECORD, np.int64)


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
    """A daemon thread that runs the jobs of the team it belongs to at the moment.

    It stays at its board from team to team, so that a call soon after another finds it awake
    although the helpers have meanwhile been given back and taken again.
    """

    def __init__(self) -> None:
        super().__init__(name="fastclust", daemon=True)
        self.way = boards.way_to_sleep()
        self.home = boards.new_board(self.way)  # where a team that it is the first of posts jobs
        self.wake = threading.Semaphore(0)  # where it cannot sleep in compiled code
        self.processors: set[int] = set()  # where it was allowed to run when it was started
        self.avoids = -1  # the processor that it keeps away from
        self.start()

    def run(self) -> None:
        self.processors = _allowed_processors()
        address = self.home.ctypes.data
        while True:
            boards.serve(address)
            self.wake.acquire()

    @property
    def asleep(self) -> bool:
        return bool(self.home[boards.ASLEEP])

    @property
    def engaged(self) -> bool:
        """Whether it belongs to a team."""
        return bool(self.home[boards.ENGAGED])

    def engage(self, board: Array, seat: int) -> None:
        """Make it look out at a board for jobs that have such a seat."""
        home, old, there = self.home, self.board, board.ctypes.data
        if (old, home[boards.SEAT]) != (there, seat):
            home[boards.SEAT], home[boards.BOARD] = seat, there
            boards.open_job(old, 0, 0, 0)  # it may sleep there
            if self.asleep:
                self.wake.release()
        home[boards.ENGAGED] = 1

    def dismiss(self) -> None:
        self.home[boards.ENGAGED] = 0

    @property
    def board(self) -> int:
        """Address of the board at which it looks out."""
        return int(self.home[boards.BOARD])

    def keep_off(self, processor: int) -> None:
        """Let it wake up on another processor than this one.

        There it keeps away from until the next time.
        """
        if self.avoids != processor and self.native_id is not None:
            _bind(self.native_id, self.processors - {processor})
            self.avoids = processor


def threads_that_pay(work: float, most: int) -> int:
    """Threads, up to `most`, that a launch of so many multiply-adds takes if they are awake."""
    if most < 2 or work < LEAST_WORK:
        return 1
    if work < most * most * THREAD_WORK:
        return int(math.sqrt(work / THREAD_WORK))
    return most


class Team:
    """The caller and the helpers that it could get; see :func:`team`."""

    def __init__(self, wanted: int) -> None:
        self.helpers: list[_Helper] = []
        # Helpers come back even if Ctrl-C strikes before a `with` block begins or as it ends.
        self.close = weakref.finalize(self, _give_back, self.helpers, _idle)
        self.close.atexit = False
        # Helpers run compiled code alone.
        most = 0 if config.DISABLE_JIT else boards.MOST_SEATS
        _take_helpers(min(wanted, most), self.helpers)
        # The gate of kernels that are called without helpers, and that of those that are launched.
        self.gate = np.zeros(CALLERS_GATE, np.int64)
        if self.helpers:
            self.board = self.helpers[0].home
            self._open_gate = self.board[:CALLERS_GATE]
            # Numbers in it, at a fraction of what NumPy takes for one.
            self._wanted = self.board.data[WANTED : WANTED + 1]
            self._sleeping = self.board.data[boards.SLEEPING :][: boards.N_GROUPS]
            for number, member in enumerate(self.helpers):
                member.engage(self.board, 1 + number)

    @property
    def n_threads(self) -> int:
        """Threads that may run a kernel, the caller included."""
        return 1 + len(self.helpers)

    def run(self, function: Callable[..., Any], work: float, n_tasks: int, *arguments: Any) -> None:
        """Call ``function(counter, gate, n_tasks, *arguments)`` on as many threads as pay.

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
        function(*self.open(work, n_tasks), n_tasks, *arguments)

    def open(self, work: float, n_tasks: int) -> tuple[Array, Array]:
        """Counter and gate of a launch of so much work, and of others like it soon after."""
        n_threads = self.threads_for(work, n_tasks)
        gate = self.gate
        if n_threads > 1:
            gate = self._open_gate
            self._wanted[0] = n_threads
        return new_counter(n_threads), gate

    def threads_for(self, work: float, n_tasks: int) -> int:
        """Threads that a launch of so much work takes; they are awake, or told how to wake up."""
        n_threads = threads_that_pay(work, min(self.n_threads, n_tasks))
        for group in range((n_threads - 1).bit_length()):
            if self._sleeping[group]:
                if work < SMALL_WORK:
                    return 1
                self._prepare(n_threads - 1)
                break
        return n_threads

    def _prepare(self, n_helpers: int) -> None:
        here = _getcpu()
        for member in self.helpers[:n_helpers]:
            if member.asleep:
                member.keep_off(here)
                if member.way == boards.BY_SEMAPHORE:
                    member.wake.release()


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
    for member in _started:  # a fit that goes on in the child waits for nobody and wakes nobody up
        boards.reset(member.home)
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
        member.dismiss()
    with _lock:
        if home is _idle:
            _idle[:0] = helpers  # the next team finds them as they are


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
