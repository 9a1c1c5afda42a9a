"""The thread driver: teams, errors, thread limits, and the same bits for any number of threads."""

from __future__ import annotations

import ctypes
import functools
import gc
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
import pytest
from numba import config
from threadpoolctl import ThreadpoolController, threadpool_limits

from fastclust import KMeans
from fastclust.kernels.emit.memory import TAKEN, fetch_add, peek
from fastclust.kernels.machine import boards, parallel
from fastclust.kernels.machine.boards import DRAINED
from fastclust.kernels.machine.calling import offer_tasks
from fastclust.kernels.machine.compiling import OPTIONS, kernel
from fastclust.kernels.machine.launching import WANTED, LaunchingCompiler
from fastclust.kernels.machine.parallel import (
    CALLERS_GATE,
    LEAST_WORK,
    RECORD,
    SMALL_WORK,
    THREAD_WORK,
    Team,
    effective_n_threads,
    new_counter,
    next_task,
    team,
)

pytestmark = pytest.mark.skipif(config.DISABLE_JIT, reason="the interpreter runs on one thread")

MUCH_WORK = 2 * SMALL_WORK
PATIENCE = 60  # seconds after which a thread that was waited for counts as lost


@pytest.fixture
def own_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty stock of helpers for this test, so that they can be counted."""
    monkeypatch.setattr(parallel, "_idle", [])
    monkeypatch.setattr(parallel, "_n_helpers", 0)


@pytest.fixture
def numba_limit() -> Iterator[Callable[[int], None]]:
    """``numba.set_num_threads``, undone after the test."""
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def all_asleep(threads: Team) -> None:
    """Wait until every helper sleeps: one that is about to may miss a job, which is allowed."""
    wait_until(lambda: all(member.asleep for member in threads.helpers))


def nothing_is_open(threads: Team) -> bool:
    """Whether no job is posted at the board of a team, and nobody is inside one."""
    board = threads.board
    return board[boards.JOB] % 2 == board[boards.INSIDE] == board[boards.BUSY] == 0


_trampoline = ctypes.CFUNCTYPE(*[ctypes.c_int64] * 4)


class PythonKernel:
    """A kernel in Python, which launches itself as a compiled one does."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, counter: Any, gate: Any, n_tasks: int, *arguments: Any) -> None:
        def take_part(_: int, seat: int, __: int) -> int:
            self.function(counter, gate_of(seat), n_tasks, *arguments)
            return 0

        if gate[WANTED] < 2:
            self.function(counter, gate, n_tasks, *arguments)
            return
        trampoline = _trampoline(take_part)
        address = ctypes.cast(trampoline, ctypes.c_void_p).value
        board, error = gate.ctypes.data, np.zeros(1, np.int64)
        assert boards.open_job(board, address, 0, counter.ctypes.data) == 1
        try:
            self.function(counter, gate, n_tasks, *arguments)
        finally:
            boards.close_job(board, 0, error.ctypes.data)


def run_by_all(threads: Team) -> set[threading.Thread]:
    """Run a job that ends only when every thread of the team takes part; which threads did."""
    meeting = threading.Barrier(threads.n_threads)
    seen = set()

    def meet(counter: Any, gate: Any, n_tasks: int) -> None:
        meeting.wait(PATIENCE)
        seen.add(threading.current_thread())

    all_asleep(threads)
    threads.run(PythonKernel(meet), np.inf, 10)
    assert len(seen) == threads.n_threads
    return seen


# --- Teams ---


@pytest.mark.usefixtures("own_helpers")
def test_team_has_helpers_and_gives_them_back() -> None:
    with team(3) as threads:
        assert threads.n_threads == 3
        assert len(set(threads.helpers)) == 2
        assert {member.board for member in threads.helpers} == {threads.board.ctypes.data}
        assert [member.home[boards.SEAT] for member in threads.helpers] == [1, 2]
        assert all(member.engaged for member in threads.helpers)
        assert parallel._idle == []
    assert set(parallel._idle) == set(threads.helpers)
    assert not any(member.engaged for member in threads.helpers)


@pytest.mark.usefixtures("own_helpers")
def test_helpers_are_used_again() -> None:
    with team(3) as first:
        pass
    with team(3) as second:
        assert set(second.helpers) == set(first.helpers)
    assert parallel._n_helpers == 2


@pytest.mark.usefixtures("own_helpers")
def test_helpers_look_out_for_the_next_team() -> None:
    with team(2) as first:
        board = first.board
        with team(2) as without:
            assert without.n_threads == 1
    with team(2) as second:
        assert second.board is board


@pytest.mark.usefixtures("own_helpers")
def test_team_of_one_starts_no_thread() -> None:
    with team(1) as threads:
        assert threads.n_threads == 1
    assert parallel._n_helpers == 0


@pytest.mark.usefixtures("own_helpers")
def test_smaller_team_leaves_the_other_helpers_idle() -> None:
    with team(4), team(1):
        pass
    with team(2) as threads:
        assert threads.n_threads == 2
        assert len(parallel._idle) == 2


@pytest.mark.usefixtures("own_helpers")
def test_helpers_come_back_after_an_error() -> None:
    with pytest.raises(KeyboardInterrupt), team(3) as threads:
        raise KeyboardInterrupt
    assert set(parallel._idle) == set(threads.helpers)
    assert not any(member.engaged for member in threads.helpers)


@pytest.mark.usefixtures("own_helpers")
def test_nested_team_does_without_the_helpers_of_the_outer_one() -> None:
    with team(3) as outer, team(3) as inner:
        assert (outer.n_threads, inner.n_threads) == (3, 1)
    assert parallel._n_helpers == len(parallel._idle) == 2


@pytest.mark.usefixtures("own_helpers")
def test_nested_team_may_be_larger() -> None:
    with team(2) as outer, team(4) as inner:
        assert (outer.n_threads, inner.n_threads) == (2, 3)
        assert not set(outer.helpers) & set(inner.helpers)
    assert parallel._n_helpers == len(parallel._idle) == 3


@pytest.mark.usefixtures("own_helpers")
def test_eight_threads_share_the_helpers_of_one() -> None:
    everybody, teams = threading.Barrier(8), []

    def hold_a_team() -> None:
        everybody.wait(PATIENCE)
        with team(3) as threads:
            teams.append(threads)
            everybody.wait(PATIENCE)  # nobody lets go before everybody has one

    callers = [threading.Thread(target=hold_a_team) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(PATIENCE)
    held = [member for threads in teams for member in threads.helpers]
    assert len(teams) == 8
    assert len(held) == len(set(held)) == parallel._n_helpers == 2
    assert set(parallel._idle) == set(held)


def test_abandoned_team_gives_its_helpers_back() -> None:
    """As after an interrupt between the gathering of a team and its `with` block."""
    lost = parallel.Team(1)
    members = list(lost.helpers)
    assert len(members) == 1
    assert members[0] not in parallel._idle
    del lost
    gc.collect()
    assert members[0] in parallel._idle
    assert not members[0].engaged


def test_fit_inside_a_fit_gives_the_same_bits() -> None:
    X = np.random.RandomState(0).rand(5000, 16)
    inner = KMeans(12, random_state=0, max_iter=5)
    expected = inner.fit(X).cluster_centers_.copy()
    seen = []

    def init(centred: Any, n_clusters: int, random_state: Any) -> Any:
        seen.append(inner.fit(X).cluster_centers_)
        return seen[0] - X.mean(axis=0)

    outer = KMeans(12, init=init, n_init=1, max_iter=5).fit(X)
    again = KMeans(12, init=expected, max_iter=5).fit(X)
    np.testing.assert_array_equal(seen, [expected])
    np.testing.assert_array_equal(outer.labels_, again.labels_)


# --- Jobs ---


@pytest.mark.usefixtures("own_helpers")
def test_all_threads_of_a_team_run_the_kernel() -> None:
    with team(3) as threads:
        for _ in range(3):  # helpers wake up again for the next job
            assert run_by_all(threads) == {threading.current_thread(), *threads.helpers}


@pytest.mark.parametrize(
    ("work", "n_tasks"), [(SMALL_WORK - 1, 10), (MUCH_WORK, 1)], ids=["little work", "one task"]
)
def test_caller_does_small_jobs_alone(work: float, n_tasks: int) -> None:
    seen = []
    with team(3) as threads:
        all_asleep(threads)
        watched = PythonKernel(lambda *_: seen.append(threading.current_thread()))
        threads.run(watched, work, n_tasks)
        assert all(member.asleep for member in threads.helpers)
    assert seen == [threading.current_thread()]


def test_no_more_helpers_wake_up_than_there_are_tasks() -> None:
    meeting, seen = threading.Barrier(2), set()

    def meet(counter: Any, gate: Any, n_tasks: int) -> None:
        meeting.wait(PATIENCE)
        seen.add(threading.current_thread())

    with team(4) as threads:
        all_asleep(threads)
        threads.run(PythonKernel(meet), MUCH_WORK, 2)
        all_asleep(threads)
    assert seen == {threading.current_thread(), threads.helpers[0]}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads cannot be bound here")
@pytest.mark.usefixtures("own_helpers")
def test_helpers_wake_up_beside_the_caller(monkeypatch: Any) -> None:
    """And where there is one processor only, or none known, they are left alone."""
    allowed = os.sched_getaffinity(0)
    with team(2) as threads:
        (helper,) = threads.helpers
        for here in [*allowed, -1]:
            monkeypatch.setattr(parallel, "_getcpu", lambda here=here: here)
            run_by_all(threads)
            assert os.sched_getaffinity(helper.native_id) == (allowed - {here} or allowed)
    assert os.sched_getaffinity(0) == allowed


@kernel
def refusing(counter, gate, n_tasks, values):  # type: ignore[no-untyped-def]
    """A kernel that raises wherever it runs."""
    values[0] = n_tasks
    raise ValueError("the kernel refuses")


@pytest.mark.parametrize("n_threads", [1, 3])
def test_error_of_a_kernel_reaches_the_caller(n_threads: int) -> None:
    values = np.zeros(1)
    with team(n_threads) as threads:
        with pytest.raises(ValueError, match="the kernel refuses"):
            threads.run(refusing, MUCH_WORK, 10, values)
        assert n_threads == 1 or nothing_is_open(threads)
        assert values[0] == 10
        all_asleep(threads)
        assert len(run_by_all(threads)) == n_threads


MANY_LOOKS = 10**9  # a second or so: what waits in compiled code waits for longer than ever needed
BEGUN, ENDED, FINISHED, STATES = 0, 1, 2, 3  # what the next kernels say to each other, and to tests


@kernel
def one_side_fails(counter, gate, n_tasks, helper_fails, states):  # type: ignore[no-untyped-def]
    """Raises in one thread when another one has begun; that one goes on to the end of the tasks."""
    helps = len(gate) > CALLERS_GATE
    looks = 0
    if helps == helper_fails:
        while peek(states, BEGUN) == 0 and looks < MANY_LOOKS:
            looks += 1
        fetch_add(states, FINISHED, 1)
        raise ArithmeticError("only one side fails")
    fetch_add(states, BEGUN, 1)
    while next_task(counter, gate, n_tasks) < n_tasks and looks < MANY_LOOKS:
        looks += 1
    if looks < MANY_LOOKS:
        fetch_add(states, ENDED, 1)


@pytest.mark.parametrize("helper_fails", [True, False], ids=["helper", "caller"])
def test_error_of_one_side_reaches_the_caller_and_ends_the_job(helper_fails: bool) -> None:
    states = np.zeros(STATES, np.int64)
    with team(2) as threads:
        all_asleep(threads)
        with pytest.raises(ArithmeticError, match="only one side fails"):
            threads.run(one_side_fails, MUCH_WORK, 1 << 40, helper_fails, states)
        # The other side has left before its tasks were used up, and before the caller came back.
        np.testing.assert_array_equal(states, 1)
        assert nothing_is_open(threads)
        assert len(run_by_all(threads)) == 2


def test_interrupt_between_two_launches_leaves_nothing_open() -> None:
    caller = threading.current_thread()

    def interrupted(*_: Any) -> None:
        if threading.current_thread() is caller:
            raise KeyboardInterrupt

    with team(2) as threads:
        all_asleep(threads)
        with pytest.raises(KeyboardInterrupt):
            threads.run(PythonKernel(interrupted), MUCH_WORK, 1 << 40)
        assert nothing_is_open(threads)
        assert len(run_by_all(threads)) == 2


def test_caller_waits_for_helpers_that_are_inside() -> None:
    caller, inside, finished = threading.current_thread(), threading.Event(), []

    def slow_helper(counter: Any, gate: Any, n_tasks: int) -> None:
        if threading.current_thread() is caller:
            assert inside.wait(PATIENCE)
            return
        inside.set()
        time.sleep(0.05)
        finished.append(True)

    with team(2) as threads:
        all_asleep(threads)
        threads.run(PythonKernel(slow_helper), MUCH_WORK, 10)
        assert finished == [True]


def test_a_board_in_use_by_another_thread_is_left_alone() -> None:
    """Two threads that share a team, which none should: each gets its result, one without help."""
    inside, may_go = threading.Event(), threading.Event()

    def held(counter: Any, gate: Any, n_tasks: int) -> None:
        inside.set()
        assert may_go.wait(PATIENCE)

    seats = np.full(50, -1)
    with team(2) as threads:
        all_asleep(threads)
        other = threading.Thread(target=threads.run, args=(PythonKernel(held), MUCH_WORK, 10))
        other.start()
        assert inside.wait(PATIENCE)
        threads.run(note_seats, MUCH_WORK, len(seats), 0, seats)
        may_go.set()
        other.join(PATIENCE)
        np.testing.assert_array_equal(seats, 0)
        assert nothing_is_open(threads)


# --- Helpers without the GIL ---


@kernel
def note_seats(counter, gate, n_tasks, rounds, seats):  # type: ignore[no-untyped-def]
    """Each task takes a while, and notes who did it."""
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for _ in range(rounds):
            peek(counter, TAKEN)
        seats[task] = len(gate) - CALLERS_GATE


@kernel
def meet_without_python(counter, gate, n_tasks, states):  # type: ignore[no-untyped-def]
    """Ends well if two threads are inside at once."""
    fetch_add(states, BEGUN, 1)
    looks = 0
    while peek(states, BEGUN) < 2 and looks < MANY_LOOKS:
        looks += 1
    if looks < MANY_LOOKS:
        fetch_add(states, ENDED, 1)


HELPED = STATES
TASKS = 3_000


@kernel
def work_while_held(counter, gate, n_tasks, states, seats):  # type: ignore[no-untyped-def]
    """Tasks that begin when another thread holds the GIL.

    The caller lets helpers do one for each two of its own, whatever else keeps the machine busy;
    if they cannot come, it has soon waited long enough.
    """
    fetch_add(states, BEGUN, 1)
    looks, done = 0, 0
    while peek(states, ENDED) == 0 and looks < MANY_LOOKS:
        looks += 1
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        seats[task] = len(gate) - CALLERS_GATE
        if seats[task] > 0:
            fetch_add(states, HELPED, 1)
        else:
            done += 1
            while 2 * peek(states, HELPED) < done and looks < MANY_LOOKS:
                looks += 1
    fetch_add(states, FINISHED, 1)


@numba.njit
def hold_the_gil(states):  # type: ignore[no-untyped-def]
    """A long call of compiled code that keeps the GIL, until both threads have finished."""
    looks = 0
    fetch_add(states, ENDED, 1)
    while peek(states, FINISHED) < 2 and looks < 2 * MANY_LOOKS:
        looks += 1
    return peek(states, FINISHED)


@pytest.fixture(params=["futex", "condition", "semaphore"])
def way(request: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """How helpers that are started in this test sleep; those of before are set aside."""
    ways = {
        "futex": boards.BY_FUTEX,
        "condition": boards.BY_CONDITION,
        "semaphore": boards.BY_SEMAPHORE,
    }
    chosen = ways[request.param]
    if boards.way_to_sleep() not in (chosen, boards.BY_FUTEX):
        pytest.skip("not on this system")
    monkeypatch.setattr(parallel, "_idle", [])
    monkeypatch.setattr(parallel, "_n_helpers", 0)
    monkeypatch.setattr(boards, "way_to_sleep", lambda: chosen)
    return chosen


def test_helpers_sleep_and_wake_up_in_every_way(way: int) -> None:
    with team(4) as threads:
        assert {member.way for member in threads.helpers} == {way}
        for _ in range(3):
            assert len(run_by_all(threads)) == 4
    with team(2) as first, team(4) as others:  # whoever has to move to another board wakes up
        assert (first.n_threads, others.n_threads) == (2, 3)
        for _ in range(2):
            assert len(run_by_all(others)) == 3
            assert len(run_by_all(first)) == 2
    with team(4) as threads:
        assert len(run_by_all(threads)) == 4


def test_only_those_who_are_wanted_wake_up() -> None:
    with team(5) as threads:
        run_by_all(threads)
        all_asleep(threads)
        seats = np.full(10_000, -1)
        # Enough work for two threads, of tasks that take 10 ms together.
        threads.run(note_seats, SMALL_WORK, len(seats), 5_000, seats)
        assert threads.threads_for(SMALL_WORK, len(seats)) == 3
        assert set(seats) <= {0, 1, 2}


@pytest.mark.skipif(boards.way_to_sleep() == boards.BY_SEMAPHORE, reason="Python wakes them here")
def test_helpers_work_while_another_thread_holds_the_gil() -> None:
    """From sleep to sleep: more than a third of the tasks are theirs."""
    states, seats, held = np.zeros(STATES + 1, np.int64), np.full(TASKS, -1), []
    finished = np.array([0, 0, 2, 0])
    hold_the_gil(finished)  # compiled now, as the kernel is

    def hold() -> None:
        while states[BEGUN] == 0:
            time.sleep(0.0001)
        held.append(hold_the_gil(states))

    with team(2) as threads:
        work_while_held(new_counter(), threads.gate, 0, finished, seats)
        all_asleep(threads)
        holder = threading.Thread(target=hold)
        holder.start()
        threads.run(work_while_held, MUCH_WORK, len(seats), states, seats)
        holder.join(PATIENCE)
    assert held == [2]
    assert states[HELPED] == np.count_nonzero(seats == 1) >= TASKS / 3


@pytest.mark.skipif(boards.way_to_sleep() == boards.BY_SEMAPHORE, reason="Python wakes them here")
def test_helpers_need_no_gil_to_wake_up_and_to_come() -> None:
    """The caller itself keeps the GIL, from before the job is posted until it is closed."""
    states = np.zeros(STATES, np.int64)
    options = {**OPTIONS, "nogil": False, "pipeline_class": LaunchingCompiler}
    meet = numba.njit(**options)(meet_without_python.py_func)
    with team(2) as threads:
        for call in range(1, 4):
            all_asleep(threads)
            threads.run(meet, MUCH_WORK, 2, states)
            assert states[ENDED] == 2 * call
            states[BEGUN] = 0


# --- Number of threads of a launch ---


def test_threads_follow_from_the_work() -> None:
    with team(16) as threads:
        for least in (SMALL_WORK, LEAST_WORK):  # asleep, and, since one is told, as if awake
            assert threads.threads_for(least - 1, 1_000) == 1
            threads._sleeping = np.zeros(boards.N_GROUPS, np.int64)
        taken = [threads.threads_for(THREAD_WORK * n**2, 1_000) for n in range(1, 20)]
        assert taken == [1, *range(2, 17), 16, 16, 16]
        assert threads.threads_for(np.inf, 3) == 3


# --- Tasks ---


@numba.njit(**OPTIONS)
def take(counter, gate, n_tasks):  # type: ignore[no-untyped-def]
    return next_task(counter, gate, n_tasks)


def gate_of(seat: int) -> Any:
    return np.zeros(CALLERS_GATE + seat, np.int64)


@pytest.mark.parametrize("n_tasks", [0, 1, 2, 3, 7, 64, 65])
@pytest.mark.parametrize("n_seats", [1, 2, 3, 5])
def test_every_task_is_taken_once_whoever_comes_when(n_seats: int, n_tasks: int) -> None:
    rng = np.random.default_rng(n_tasks)
    for _ in range(5):
        counter, taken = new_counter(n_seats), []
        for seat in rng.integers(0, n_seats + 2, n_tasks):  # two more than there are seats
            taken.append(take(counter, gate_of(seat), n_tasks))
        assert sorted(taken) == list(range(n_tasks))
        assert all(take(counter, gate_of(seat), n_tasks) == n_tasks for seat in range(n_seats))


def test_own_tasks_come_first_and_others_from_their_end() -> None:
    counter = new_counter(3)
    assert len(counter) == 3 * RECORD
    taken = [take(counter, gate_of(1), 9) for _ in range(5)]
    assert taken == [3, 4, 5, 8, 7]
    assert [take(counter, gate_of(2), 9) for _ in range(2)] == [6, 2]
    assert [take(counter, gate_of(0), 9) for _ in range(3)] == [0, 1, 9]


def test_tasks_are_withdrawn_and_offered_again() -> None:
    counter = new_counter()
    assert [take(counter, gate_of(0), 3) for _ in range(2)] == [0, 1]
    counter[TAKEN::RECORD] = DRAINED
    assert take(counter, gate_of(0), 3) == 3
    offer_tasks(counter)
    assert [take(counter, gate_of(0), 3) for _ in range(4)] == [0, 1, 2, 3]
    counter = new_counter(4)
    counter[TAKEN::RECORD] = DRAINED
    assert {take(counter, gate_of(seat), 100) for seat in range(4)} == {100}


def test_threads_keep_their_shares_from_call_to_call() -> None:
    first, second = np.full(64, -1), np.full(64, -1)

    def note(seen: Any) -> Callable[..., None]:
        def kernel(counter: Any, gate: Any, n_tasks: int) -> None:
            meeting.wait(PATIENCE)
            for _ in range(n_tasks // 2):  # what is its own, and no more
                seen[take(counter, gate, n_tasks)] = threading.get_ident()
            meeting.wait(PATIENCE)

        return kernel

    meeting = threading.Barrier(2)
    with team(2) as threads:
        for seen in (first, second):
            all_asleep(threads)
            threads.run(PythonKernel(note(seen)), MUCH_WORK, 64)
    np.testing.assert_array_equal(first, second)
    assert len(set(first[:32])) == len(set(first[32:])) == 1
    assert first[0] != first[-1]


# --- Number of threads ---


def run_script(script: str, **environment: str) -> str:
    """Run `script` in a new process and return what it prints; its errors are shown."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {"NUMBA_NUM_THREADS", "OMP_NUM_THREADS"}
    }
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


several = pytest.mark.skipif(config.NUMBA_NUM_THREADS < 2, reason="one thread at most")
openmp = pytest.mark.skipif(
    not ThreadpoolController().select(user_api="openmp").lib_controllers,
    reason="no OpenMP library is loaded",
)


@several
def test_numba_set_num_threads_is_obeyed(numba_limit: Callable[[int], None]) -> None:
    with threadpool_limits(config.NUMBA_NUM_THREADS, user_api="openmp"):
        for n_threads in (2, 1, 2):
            numba_limit(n_threads)
            assert effective_n_threads() == n_threads
            with team() as threads:
                assert threads.n_threads <= n_threads


@several
@openmp
def test_threadpoolctl_is_obeyed(numba_limit: Callable[[int], None]) -> None:
    numba_limit(2)
    with threadpool_limits(2, user_api="openmp"):
        assert effective_n_threads() == 2
        with threadpool_limits(1, user_api="openmp"):
            assert effective_n_threads() == 1
        assert effective_n_threads() == 2


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"NUMBA_NUM_THREADS": "1"}, 1),
        pytest.param({"NUMBA_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3, marks=openmp),
        pytest.param({"NUMBA_NUM_THREADS": "5", "OMP_NUM_THREADS": "3"}, 3, marks=openmp),
    ],
    ids=["numba alone", "numba is smaller", "openmp is smaller"],
)
def test_environment_is_obeyed(environment: dict[str, str], expected: int) -> None:
    script = """
from numba.np.ufunc import parallel as numba_threads
from fastclust import KMeans  # which loads scikit-learn's OpenMP
from fastclust.kernels.machine.parallel import effective_n_threads
print(effective_n_threads(), numba_threads._is_initialized)
"""
    # Numba's own threads are not started for the answer.
    assert run_script(script, **environment).split() == [str(expected), "False"]


# --- The same bits ---

# Name: n_samples, n_features, n_clusters, dtype, weighted, further parameters.
CASES: dict[str, tuple[int, int, int, str, bool, dict[str, Any]]] = {
    "small": (500, 3, 4, "float64", False, {}),
    "small, float32, weighted": (333, 7, 5, "float32", True, {}),
    "one column": (20_000, 1, 30, "float64", False, {}),
    "random starts": (4000, 20, 10, "float64", True, {"init": "random", "n_init": 3}),
    "large centers": (3000, 100, 300, "float64", False, {}),
    "large centers, float32, weighted": (3000, 100, 300, "float32", True, {}),
    "many rows": (30_000, 8, 20, "float64", True, {}),
    "many rows, float32": (30_001, 8, 20, "float32", False, {}),
    "by features": (30_000, 100, 5, "float32", False, {"max_iter": 4}),
    "by features, weighted": (30_000, 97, 6, "float64", True, {"max_iter": 4}),
    "elkan": (20_000, 8, 30, "float64", False, {"algorithm": "elkan"}),
    "elkan, float32, weighted": (3000, 100, 300, "float32", True, {"algorithm": "elkan"}),
    "empty clusters": (20_000, 4, 12, "float64", False, {"init": "far away"}),
}


def result_of(case: str) -> str:
    """Everything that a fit on the data of `case` gives, to the last bit."""
    n_samples, n_features, n_clusters, dtype, weighted, parameters = CASES[case]
    random = np.random.RandomState(n_samples + n_features)
    X = random.standard_normal((n_samples, n_features)).astype(dtype) * 3 + 10
    weights = random.uniform(0, 2, n_samples) if weighted else None
    parameters = {"max_iter": 12, "random_state": 0, **parameters}
    if parameters.get("init") == "far away":
        parameters["init"] = X[:n_clusters] + np.arange(n_clusters)[:, None] * 1000
    model = KMeans(n_clusters, **parameters).fit(X, sample_weight=weights)
    digest = hashlib.sha256(model.cluster_centers_.tobytes() + model.labels_.tobytes())
    digest.update(model.predict(X).tobytes())
    score = model.score(X, sample_weight=weights)
    return f"{digest.hexdigest()} {model.inertia_!r} {model.n_iter_} {score!r}"


SEVEN_THREADS = """
import json, sys
sys.path.insert(0, {folder!r})
import numba
from fastclust.kernels.machine import parallel
from test_parallel import CASES, result_of

# Launches for several threads; that helpers come, other tests show.
launched = []
threads_for = parallel.Team.threads_for
def counted(self, work, n_tasks):
    launched.append(threads_for(self, work, n_tasks))
    return launched[-1]
parallel.Team.threads_for = counted

results = {{}}
for n_threads in (1, 2, 7):
    numba.set_num_threads(n_threads)
    assert parallel.effective_n_threads() == n_threads
    launched.clear()
    results[n_threads] = {{case: result_of(case) for case in CASES}}
    results[n_threads]["launched"] = max(launched)
print(json.dumps(results))
"""


@functools.cache
def results_of_a_process_with_seven_threads() -> dict[str, dict[str, Any]]:
    """Results of all cases by number of threads, from a process that may have more than cores."""
    script = SEVEN_THREADS.format(folder=os.path.dirname(__file__))
    return json.loads(run_script(script, NUMBA_NUM_THREADS="7", OMP_NUM_THREADS="7"))


@openmp
def test_helpers_took_part() -> None:
    launched = {n: r["launched"] for n, r in results_of_a_process_with_seven_threads().items()}
    assert launched == {"1": 1, "2": 2, "7": 7}


@openmp
@pytest.mark.parametrize("case", CASES)
def test_result_is_the_same_bits_for_more_threads_than_cores(case: str) -> None:
    results = results_of_a_process_with_seven_threads()
    assert results["7"][case] == results["2"][case] == results["1"][case]


@several
@pytest.mark.parametrize("case", CASES)
def test_result_is_the_same_bits_for_two_threads(
    case: str, numba_limit: Callable[[int], None]
) -> None:
    numba_limit(1)
    expected = result_of(case)
    numba_limit(2)
    assert result_of(case) == expected
