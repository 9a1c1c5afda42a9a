"""Forks at bad moments, and children that are killed at some: nobody waits for ever."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest
from numba import config

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
compiled = pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled, nothing is launched")

PRELUDE = """
import gc, os, signal, sys, threading, time
import numba
import numpy as np
from fastclust import GaussianMixture, KMeans, MiniBatchKMeans
from fastclust.kernels.machine import boards, forking, garbage, parallel

X = np.random.RandomState(0).rand(300, 3)

def fit_all(seed=0):
    KMeans(3, random_state=seed).fit(X).predict(X[:1])
    MiniBatchKMeans(3, random_state=seed, max_iter=2).fit(X).partial_fit(X)
    GaussianMixture(2, random_state=seed, reg_covar=1.0).fit(X).score(X)

fit_all()

def status_of(child, seconds=30):
    '''Exit status of a child; -9 where it had to be killed, since it hung.'''
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def in_child(function):
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return status_of(child)
"""


def run(script: str) -> str:
    """What `script` prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LIMITS = """
from threadpoolctl import threadpool_limits
seen = []

def look():
    seen.append((parallel.effective_n_threads(), numba.get_num_threads()))

def look_everywhere():
    look()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    look()

def check_in_child():
    look_everywhere()
    numba.set_num_threads(2)
    look()
    assert [numbas for _, numbas in seen] == [1, 3, 1, 2]
    assert all(ours == numbas for ours, numbas in seen), seen

with threadpool_limits(16, user_api="openmp"):
    for n_threads in (2, 1):
        numba.set_num_threads(n_threads)
        look_everywhere()
    assert [numbas for _, numbas in seen] == [2, 3, 2, 1, 3, 1]
    assert all(ours == numbas for ours, numbas in seen), seen
    seen.clear()
    print(in_child(check_in_child))
"""


@compiled
def test_numbas_limit_is_that_of_the_thread_that_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    assert run(LIMITS).split() == ["0"]


# Another thread holds the lock at the moment of the fork, and lets it go a little later.
HELD = """
held, enough = threading.Event(), threading.Event()

def hold(lock):
    with lock:
        held.set()
        enough.wait(0.3)

def forked_while_held(lock, function):
    held.clear()
    thread = threading.Thread(target=hold, args=(lock,))
    thread.start()
    held.wait()
    status = in_child(function)
    thread.join()
    return status

def compile_anew():
    assert numba.njit(lambda x: x + 1)(1) == 2
    KMeans(3, random_state=0).fit(X.astype(np.float32))

def draw():
    fit_all(None)

def count_threads():
    parallel._openmp = None
    fit_all()

def collect():
    assert gc.isenabled()

from llvmlite.binding import ffi
from numba.core.compiler_lock import global_compiler_lock

CASES = {
    "helpers": (parallel._lock, fit_all),
    "compiler": (global_compiler_lock, compile_anew),
    "llvm": (ffi.lib._lock, compile_anew),
    "random": (np.random.get_bit_generator().lock, draw),
    "libraries": (forking.undivided, count_threads),
    "collector": (garbage.collector_paused(), collect),
}
print(*(forked_while_held(*CASES[name]) for name in CASES))
assert gc.isenabled()
fit_all(None)
"""


GOES_ON = """
model = KMeans(50, random_state=0, max_iter=5, tol=0)
rows = np.random.RandomState(1).rand(20_000, 8)
expected = model.fit(rows).cluster_centers_
children = []

def fork(progress):
    if progress.iteration != 2:
        return
    helpers = threading.enumerate()[1:]
    assert helpers
    for helper in helpers:  # as if each were inside a job, and others slept in want of a semaphore
        helper.wake._cond.acquire()
        helper.home[[boards.INSIDE, boards.SLEEPING]] += 1
    children.append(os.fork())
    if children[0]:
        for helper in helpers:
            helper.home[[boards.INSIDE, boards.SLEEPING]] -= 1
            helper.wake._cond.release()

found = model.fit(rows, callbacks=[fork]).cluster_centers_
same = np.array_equal(found, expected)
if children == [0]:
    os._exit(0 if same else 1)
print(status_of(children[0]), same)
"""


READS = """
from fastclust.rows.sources import open_rows

halves, found = [X[:100], X[100:]], []
for model in (KMeans(3, random_state=0, tol=0), MiniBatchKMeans(3, random_state=0)):
    children = []

    def fork(progress):
        if not children:
            children.append(os.fork())

    status = 0
    try:
        model.fit(lambda: iter(halves), callbacks=[fork])
    except RuntimeError as error:
        status = 1 if "cannot go on in a child that was forked" in str(error) else 2
    if children == [0]:
        os._exit(status)
    found += [status, status_of(children[0])]

blocks = open_rows(lambda: iter(halves)).blocks(20)
next(blocks)
child = os.fork()
try:
    status = 0 if 1 + len(list(blocks)) == -(-len(X) // 20) else 2
except RuntimeError as error:
    status = 1 if "cannot go on in a child that was forked" in str(error) else 2
if child == 0:
    os._exit(status)
print(*found, status, status_of(child))
"""


SIGNALS = """
fits = []

def fit_in_handler(number, frame):
    fits.append(KMeans(3, random_state=0).fit(X).inertia_)

signal.signal(signal.SIGALRM, fit_in_handler)
with parallel._lock:
    os.kill(os.getpid(), signal.SIGALRM)
print(len(fits))
"""

KILLED_WITH_THE_LOCK = """
from numba.np.ufunc import parallel as numba_threads
numba.set_num_threads(1)
lock = numba_threads._backend_init_process_lock

def die():
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)

assert in_child(die) == -signal.SIGKILL
assert not lock.acquire(timeout=0.1)  # left locked for all
fit_all()
assert in_child(fit_all) == 0
print("done")
"""


@functools.cache
def scenarios() -> dict[str, list[str]]:
    """The words that each of these prints, one after the other in one process."""
    scripts = {
        "held": HELD,
        "goes on": GOES_ON,
        "reads": READS,
        "signals": SIGNALS,
        "killed with the lock": KILLED_WITH_THE_LOCK,  # which stays locked: the last
    }
    output = run("print('|')\n".join(scripts.values()))
    return dict(zip(scripts, map(str.split, output.split("|")), strict=True))


@compiled
def test_no_lock_of_another_thread_is_left_locked_in_a_child() -> None:
    assert set(scenarios()["held"]) == {"0"}


@compiled
def test_a_fit_goes_on_in_a_child_that_is_forked_in_its_midst() -> None:
    assert scenarios()["goes on"] == ["0", "True"]


@compiled
def test_a_fit_that_reads_goes_on_in_a_child_or_says_that_it_cannot() -> None:
    """Between two passes it goes on; in the midst of one, what reads ahead is not there."""
    assert scenarios()["reads"] == ["0", "0", "0", "0", "0", "1"]


@compiled
def test_a_handler_of_a_signal_may_fit_whatever_it_interrupts() -> None:
    assert scenarios()["signals"] == ["1"]


@compiled
def test_a_fit_never_waits_for_the_launch_of_numbas_threads() -> None:
    """That lock is shared with forked children, of which one may have been killed with it."""
    assert scenarios()["killed with the lock"] == ["done"]
