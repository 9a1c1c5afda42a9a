"""Where jobs are posted, and what helpers do there: in compiled code, without the GIL.

A board is a few numbers in memory.  The number of the job is odd while one is open; beside it is
what a helper calls (see :mod:`.launching`) and how many seats the job has.  A helper that finds a
new job open says that it is inside, looks at the number again and calls.  Whoever closes the job
makes the number even and then waits until nobody is inside: a helper that comes late finds another
number and leaves, so none can use arguments that are gone.

Helpers look out for a while after a job, because to be woken takes longer than many a job does.
Then they sleep until the number of the job changes: by a futex on Linux, where one call wakes those
whose seats are wanted and no others; by a condition of POSIX threads elsewhere; and where neither
is to be had (Windows), in Python, by a semaphore that the caller releases.

Memory of a board is never given back while its process lives: a helper may look at it at any time.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import time
from typing import Any

import numpy as np

from ..emit.memory import RECORD, TAKEN
from ..tiles import Array, aligned_empty
from .compiling import helper, kernel
from .launching import (
    CLOSE,
    CLOSE_TYPES,
    OPEN,
    OPEN_TYPES,
    WANTED,
    add,
    call_system,
    jump,
    load,
    pause,
    store,
)

# Slots of a board, by who writes to them: two cache lines each, which CPUs fetch together.
# The first record is the gate of the kernels that are launched.
JOB, TRAMPOLINE, ARGUMENTS, SEATS, COUNTER = range(RECORD, RECORD + 5)
INSIDE, FAILED, CODE, ERROR = range(2 * RECORD, 2 * RECORD + 4)
BUSY = 3 * RECORD
SLEEPING = 4 * RECORD  # helpers that sleep, by group of seats: 1, 2 and 3, 4 to 7, and so on
N_GROUPS = 10
MOST_SEATS = (1 << N_GROUPS) - 1
LOCK, CONDITION = 5 * RECORD, 6 * RECORD  # of POSIX threads, which need up to 64 bytes each
# Slots of the helper to whom the board belongs: where it is, and what it knows.
BOARD, SEAT, ENGAGED = range(7 * RECORD, 7 * RECORD + 3)
ASLEEP, SLEPT_AT, GROUP, RAISED, SECONDS = range(8 * RECORD, 8 * RECORD + 5)  # and nanoseconds
# Functions of the C library, and what they are called with.
WAY, SLEEP, WAKE, NUMBER, GET_LOCK, LET_GO, CLOCK, CLOCK_NUMBER, YIELD = range(
    9 * RECORD, 9 * RECORD + 9
)
SIZE = 10 * RECORD

BY_SEMAPHORE, BY_FUTEX, BY_CONDITION = 0, 1, 2
FUTEX_WAIT, FUTEX_WAKE = 9 | 128, 10 | 128  # those that take a mask, within a process
FUTEX_NUMBERS = {"x86_64": 202, "aarch64": 98, "riscv64": 98, "ppc64le": 221}

DRAINED = 1 << 60
# How long a helper looks out for the next job. To be woken takes 20 to 50 µs, as long as a whole
# iteration on 20,000 rows; what happens between two iterations takes less than this.
PATIENCE = 200_000  # nanoseconds
PAUSES = 64  # between two looks at the clock
PAUSE = 40  # nanoseconds of one, where there is no clock
# After so many looks whether helpers are gone, the caller lets others have its processor.
MOST_LOOKS = 2_000


@helper
def _now(home, rounds):
    if load(home, CLOCK) == 0:
        return rounds * PAUSE
    call_system(load(home, CLOCK), (load(home, CLOCK_NUMBER), home + 8 * SECONDS))
    return load(home, SECONDS) * 1_000_000_000 + load(home, SECONDS + 1)


@helper
def _drain(board):
    """Withdraw the tasks that are left."""
    for seat in range(load(board, SEATS)):
        store(load(board, COUNTER), seat * RECORD + TAKEN, DRAINED)


@helper
def _take_part(home, board, job, seat):
    """Run the job if it is still open, and keep an error for whoever has opened it."""
    add(board, INSIDE, 1)
    if load(board, JOB) == job:
        where = home + 8 * RAISED
        code = jump(load(board, TRAMPOLINE), load(board, ARGUMENTS), seat, where)
        if code != 0:
            if add(board, FAILED, 1) == 0:
                store(board, CODE, code)
                store(board, ERROR, load(home, RAISED))
            _drain(board)
    add(board, INSIDE, -1)


@helper
def _sleep(home, board, job, seat):
    """Sleep until the job is another one; False if that is for Python to do."""
    group = 0
    while (2 << group) <= seat:
        group += 1
    store(home, SLEPT_AT, board)
    store(home, GROUP, group)
    store(home, ASLEEP, 1)
    add(board, SLEEPING + group, 1)
    word = board + 8 * JOB  # its lower half, where numbers begin with that
    if load(home, WAY) == BY_FUTEX:
        arguments = (load(home, NUMBER), word, FUTEX_WAIT, job & 0xFFFFFFFF, 0, 0, 1 << group)
        call_system(load(home, SLEEP), arguments)
    elif load(home, WAY) == BY_CONDITION:
        lock, condition = board + 8 * LOCK, board + 8 * CONDITION
        call_system(load(home, GET_LOCK), (lock,))
        while load(board, JOB) == job:
            call_system(load(home, SLEEP), (condition, lock))
        call_system(load(home, LET_GO), (lock,))
    else:
        return False
    return True


@helper
def _awake(home):
    """Say so, if it has slept."""
    if load(home, ASLEEP) != 0:
        add(load(home, SLEPT_AT), SLEEPING + load(home, GROUP), -1)
        store(home, ASLEEP, 0)


@kernel
def serve(home):
    """What a helper does all its life, `home` being its own board; returns where Python sleeps."""
    board, seen, rounds = np.int64(0), np.int64(0), np.int64(0)
    _awake(home)
    since = _now(home, rounds)
    while True:
        if load(home, BOARD) != board:
            board, seen = load(home, BOARD), np.int64(0)
        job = load(board, JOB)
        # After the number of the job, which changes last: or it might sleep at the old board.
        seat = load(home, SEAT)
        if load(home, BOARD) != board:
            continue
        if job % 2 == 1 and job != seen:
            seen = job
            if load(home, ENGAGED) != 0 and seat < load(board, SEATS):
                _take_part(home, board, job, seat)
                since = _now(home, rounds)
        pause()
        rounds += 1
        if rounds % PAUSES == 0 and _now(home, rounds) - since > PATIENCE:
            if not _sleep(home, board, job, seat):
                return
            _awake(home)
            since = _now(home, rounds)


@kernel
def open_job(board, trampoline, arguments, counter):
    """Post a job and wake who is wanted: 1, or 0 if the board is in use by another thread.

    Without a trampoline there is no job, but everybody wakes up and looks where it belongs.
    """
    n_groups = 0
    if trampoline == 0:
        n_groups = N_GROUPS
        add(board, JOB, 2)
    else:
        if add(board, BUSY, 1) != 0:
            add(board, BUSY, -1)
            return 0
        wanted = load(board, WANTED)
        while (1 << n_groups) < wanted:
            n_groups += 1
        store(board, TRAMPOLINE, trampoline)
        store(board, ARGUMENTS, arguments)
        store(board, COUNTER, counter)
        store(board, SEATS, wanted)
        store(board, FAILED, 0)
        add(board, JOB, 1)
    asleep = 0
    for group in range(n_groups):
        asleep += load(board, SLEEPING + group)
    if asleep > 0:
        if load(board, WAY) == BY_FUTEX:
            word, seats = board + 8 * JOB, (1 << n_groups) - 1
            arguments_ = (load(board, NUMBER), word, FUTEX_WAKE, MOST_SEATS, 0, 0, seats)
            call_system(load(board, WAKE), arguments_)
        elif load(board, WAY) == BY_CONDITION:
            # With the lock, so that nobody is between its look at the job and its sleep.
            call_system(load(board, GET_LOCK), (board + 8 * LOCK,))
            call_system(load(board, WAKE), (board + 8 * CONDITION,))
            call_system(load(board, LET_GO), (board + 8 * LOCK,))
    return 1


@kernel
def close_job(board, failed, error):
    """Withdraw the job and wait until nobody is inside; the code of a helper's error, or 0.

    Where the caller has `failed` itself, helpers stop at their next task.
    """
    if failed != 0:
        _drain(board)
    add(board, JOB, 1)
    looks = 0
    while load(board, INSIDE) > 0:
        pause()
        looks += 1
        if looks > MOST_LOOKS and load(board, YIELD) != 0:
            call_system(load(board, YIELD), (0,))
    code = 0
    if failed == 0 and load(board, FAILED) > 0:
        code = load(board, CODE)
        store(error, 0, load(board, ERROR))
    add(board, BUSY, -1)
    return code


def _compiled(function: Any, kinds: list[Any]) -> int:
    """Address of a kernel as compiled code calls it."""
    function.compile(tuple(kinds))
    result = function.overloads[tuple(kinds)]
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))


def _library() -> Any:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None


_c_library = _library()


def _function(name: str) -> int:
    """Address of a function of the C library; 0 where it has none."""
    function = getattr(_c_library, name, None)
    return ctypes.cast(function, ctypes.c_void_p).value or 0 if function is not None else 0


def way_to_sleep() -> int:
    """How helpers sleep on this system."""
    if (
        sys.platform == "linux"
        and platform.machine() in FUTEX_NUMBERS
        and sys.maxsize > 2**32
        and _function("syscall")
    ):
        return BY_FUTEX
    return BY_CONDITION if _function("pthread_cond_wait") else BY_SEMAPHORE


def new_board(way: int) -> Array:
    """A board at which nothing has been posted, and the place of the helper to whom it belongs."""
    board = aligned_empty(SIZE, np.int64)
    board[:] = 0
    board[OPEN] = _compiled(open_job, OPEN_TYPES)
    board[CLOSE] = _compiled(close_job, CLOSE_TYPES)
    board[BOARD] = board.ctypes.data
    board[WAY], board[YIELD] = way, _function("sched_yield")
    if hasattr(time, "CLOCK_MONOTONIC"):
        board[CLOCK], board[CLOCK_NUMBER] = _function("clock_gettime"), time.CLOCK_MONOTONIC
    if way == BY_FUTEX:
        board[SLEEP] = board[WAKE] = _function("syscall")
        board[NUMBER] = FUTEX_NUMBERS[platform.machine()]
    elif way == BY_CONDITION:
        names = {
            SLEEP: "pthread_cond_wait",
            WAKE: "pthread_cond_broadcast",
            GET_LOCK: "pthread_mutex_lock",
            LET_GO: "pthread_mutex_unlock",
        }
        for slot, name in names.items():
            board[slot] = _function(name)
        for slot, name in ((LOCK, "pthread_mutex_init"), (CONDITION, "pthread_cond_init")):
            getattr(_c_library, name)(ctypes.c_void_p(board[slot:].ctypes.data), None)
    return board


def reset(board: Array) -> None:
    """In a forked child, where none of the helpers runs: nobody is inside, and nobody sleeps."""
    board[JOB] += board[JOB] % 2
    board[[INSIDE, BUSY, ASLEEP]] = 0
    board[SLEEPING : SLEEPING + N_GROUPS] = 0
