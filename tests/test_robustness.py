"""Fits among threads, forks, pools, signals and exits, beside each of Numba's threading layers.

All scenarios run one after the other in a process for each layer, which Numba has started there:
what is tested is that fits neither need it nor are harmed by it.  The process says which scenario
it has come through.  Where it hangs, it prints the stacks of its threads and fails.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX signals")

HANGS = 60  # seconds after which a process dumps its stacks and gives up
# Seconds for which eight threads fit at once; a minute shows more.
TOGETHER = float(os.environ.get("FASTCLUST_SECONDS_OF_THREADS", "2"))
COMPILES = 240  # the same while kernels may have to be compiled
LAYERS = ("workqueue", "omp", "tbb")

LAUNCH = """
import numba
numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
print(numba.threading_layer(), flush=True)
"""

# What every script begins with.  Three problems take the three ways through a fit: whole
# iterations in one call, one pile of sums per slice, and sums by owners.
PRELUDE = (
    f"""
import faulthandler, os, sys, threading, time, warnings

def give_up_after(seconds):
    faulthandler.dump_traceback_later(seconds, exit=True)

HANGS = {HANGS}
give_up_after({COMPILES})
"""
    + LAUNCH
    + """
import numpy as np
from fastclust import KMeans

def problem(n_samples, n_features, n_clusters, dtype):
    X = np.random.RandomState(0).standard_normal((n_samples, n_features)).astype(dtype)
    return X, n_clusters

PROBLEMS = [
    problem(40_000, 3, 4, "float64"),
    problem(20_000, 8, 10, "float32"),
    problem(3000, 90, 200, "float64"),
]

def bits(which=1):
    X, n_clusters = PROBLEMS[which % 3]
    return fitted_bits(X, n_clusters)

def fitted_bits(X, n_clusters):
    model = KMeans(n_clusters, random_state=0, max_iter=6).fit(X)
    return model.cluster_centers_.tobytes() + model.labels_.tobytes(), model.inertia_

alone = [bits(which) for which in range(3)]
"""
    + "give_up_after(HANGS)\n"
)


def environment(layer: str) -> dict[str, str]:
    """Environment of a process that uses `layer`, with more threads than one."""
    result = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    for name in ("NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        if name in os.environ:
            result[name] = os.environ[name]
    result["NUMBA_THREADING_LAYER"] = layer
    result["NUMBA_NUM_THREADS"] = result["OMP_NUM_THREADS"] = "3"
    # The wheel of TBB keeps its library where the loader does not look by itself.
    folders = [str(Path(sys.prefix, "lib")), os.environ.get("LD_LIBRARY_PATH", "")]
    result["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, folders))
    return result


def start(script: str, layer: str) -> subprocess.Popen[str]:
    """Begin to run `script`, in a session of its own so that its children end with it."""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment(layer),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What a process still prints; fails with its errors unless it ends, and with status 0."""
    try:
        output, errors = process.communicate(timeout=COMPILES + 2 * HANGS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        pytest.fail(f"The process hangs.\n{output}\n{errors}")
    assert process.returncode == 0, f"Exit status {process.returncode}.\n{output}\n{errors}"
    return output


def run(script: str, layer: str) -> list[str]:
    """Run `script` after the prelude; the words that it prints after the name of the layer."""
    name, *words = finish(start(PRELUDE + script, layer)).split()
    assert name == layer
    return words


@functools.cache
def problem_with(layer: str) -> str:
    """Why Numba cannot start `layer` here; nothing if it can."""
    process = subprocess.run(
        [sys.executable, "-c", LAUNCH], env=environment(layer), capture_output=True, text=True
    )
    return process.stderr.strip()[-300:] if process.returncode else ""


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> str:
    """Each threading layer that Numba can start on this machine."""
    problem = problem_with(request.param)
    if problem:
        pytest.skip(f"Numba cannot start {request.param}: {problem}")
    return str(request.param)


THREADS = (
    f"""
SECONDS = {TOGETHER}
give_up_after({COMPILES})
"""
    + """
from fastclust import BisectingKMeans, GaussianMixture, MiniBatchKMeans
from sklearn.base import clone

X = PROBLEMS[1][0]
OTHERS = [
    MiniBatchKMeans(10, random_state=0, max_iter=3),
    GaussianMixture(3, random_state=0, max_iter=3, tol=0, init_params="random_from_data"),
    BisectingKMeans(6, random_state=0),
]

def bits(which):
    if which % 6 < 3:
        return fitted_bits(*PROBLEMS[which % 3])
    return clone(OTHERS[which % 3]).fit(X).predict(X).tobytes()

warnings.simplefilter("ignore")  # mixtures do not converge in three steps
all_alone = alone + [bits(which) for which in range(3, 6)]
give_up_after(SECONDS + 60)

@numba.njit(parallel=True)
def parallel_sum(values):
    total = 0.0
    for i in numba.prange(len(values)):
        total += values[i]
    return total

ones = np.ones(100_000)
everybody = threading.Barrier(9 if LOOPS else 8)
stop = threading.Event()
failures, fits, loops = [], [0] * 8, 0

def fit_in_turn(number):
    everybody.wait()
    while not stop.is_set():
        which = fits[number] + number
        if bits(which) != all_alone[which % 6]:
            failures.append(f"thread {number} has other bits for problem {which % 6}")
        fits[number] += 1

def loop_all_the_time():
    global loops
    everybody.wait()
    while not stop.is_set():
        if parallel_sum(ones) != 100_000:
            failures.append("Numba's own loop is wrong")
        loops += 1

def guarded(function, *arguments):
    try:
        function(*arguments)
    except BaseException as error:
        failures.append(repr(error))
        everybody.abort()

if LOOPS:
    parallel_sum(ones)
threads = [threading.Thread(target=guarded, args=(fit_in_turn, i)) for i in range(8)]
if LOOPS:
    threads.append(threading.Thread(target=guarded, args=(loop_all_the_time,)))
for thread in threads:
    thread.start()
time.sleep(SECONDS)
stop.set()
for thread in threads:
    thread.join()
if failures:
    sys.exit("; ".join(failures[:5]))
assert min(fits) > 0
assert (loops > 0) == LOOPS
print("threads", flush=True)
"""
)


FORK = """
# The thread that would dump stacks is not there in a child, which would wait for it for ever.
faulthandler.cancel_dump_traceback_later()

def check_in_child(which):
    child = os.fork()
    if child == 0:
        give_up_after(HANGS)
        status = 1
        try:
            # Twice: the first fit starts the child's own helpers, the second uses them again.
            same = bits(which) == bits(which) == alone[which]
            helped = "fastclust" in [thread.name for thread in threading.enumerate()]
            status = 0 if same and helped else 3
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, f"a child that fits problem {which} ends with {status}"
    assert bits(which) == alone[which], "the parent has other bits after a fork"
"""

FORK_WHEN_IDLE = """
for which in range(3):
    check_in_child(which)

import multiprocessing
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(bits, range(3)) == alone
print("idle", flush=True)
"""

FORK_WHEN_BUSY = """
busy, stop, failures = threading.Event(), threading.Event(), []

def fit_all_the_time():
    while not stop.is_set():
        if bits(1) != alone[1]:
            failures.append("the other thread has other bits")
        busy.set()

thread = threading.Thread(target=fit_all_the_time)
thread.start()
busy.wait()
try:
    for which in range(3):
        check_in_child(which)
finally:
    stop.set()
    thread.join()
assert not failures, failures
print("busy", flush=True)
give_up_after(HANGS)
"""


POOLS = """
from joblib import Parallel, delayed

def check_joblib(backend):
    # The larger problems come to the workers of loky as read-only memory maps.
    jobs = (delayed(fitted_bits)(*PROBLEMS[i % 3]) for i in range(6))
    results = Parallel(n_jobs=2, backend=backend, max_nbytes="500K")(jobs)
    assert results == alone * 2, f"other bits from joblib's {backend}"

def check_dask():
    import dask
    tasks = [dask.delayed(fitted_bits)(*PROBLEMS[i % 3]) for i in range(6)]
    results = dask.compute(*tasks, scheduler="threads", num_workers=4)
    assert list(results) == alone * 2, "other bits from dask"
"""


INTERRUPT = """
import signal
give_up_after(HANGS)
# A process that was started in the background ignores Ctrl-C unless told otherwise.
signal.signal(signal.SIGINT, signal.default_int_handler)

def interrupt(model, shape):
    rows = np.random.RandomState(1).standard_normal(shape)
    before = dict(vars(model))
    # Until it is well inside the fit; any moment is a fair one.
    ctrl_c = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    ctrl_c.start()
    try:
        model.fit(rows)
    except KeyboardInterrupt:
        pass
    else:
        sys.exit("the fit came to its end")
    ctrl_c.join()
    assert vars(model) == before, f"left behind: {set(vars(model)) - set(before)}"
    assert [bits(which) for which in range(3)] == alone, "other bits after an interrupt"

# Hours of work, or (the seeding) many minutes: among threads, in one call per start, before any.
for model, shape in (
    (KMeans(60, init='random', n_init=10**9, tol=0), (60_000, 16)),
    (KMeans(5, init='random', n_init=10**9, tol=0), (300, 2)),
    (KMeans(50_000), (400_000, 4)),
):
    interrupt(model, shape)
print("interrupts", flush=True)
"""

EXIT = """
import atexit

def last_fit():
    print("atexit" if bits(1) == alone[1] else "wrong", flush=True)

def fit_for_ever():
    while True:
        bits(1)

def outlive_the_main_thread():
    threading.main_thread().join()
    print("outlived" if bits(1) == alone[1] else "wrong", flush=True)

atexit.register(last_fit)
threading.Thread(target=fit_for_ever, daemon=True).start()
threading.Thread(target=outlive_the_main_thread).start()
time.sleep(0.2)
"""


def test_fits_among_threads_forks_pools_signals_and_at_the_end(layer: str) -> None:
    # Numba's workqueue ends the process where two threads use it at once; fits do not use it.
    loops = f"LOOPS = {layer != 'workqueue'}\n"
    pools = POOLS + "check_joblib('threading')\n"
    if importlib.util.find_spec("dask"):
        pools += "check_dask()\n"
    script = "".join([pools, loops, THREADS, INTERRUPT, FORK, FORK_WHEN_IDLE, FORK_WHEN_BUSY, EXIT])
    assert run(script, layer) == [
        "threads", "interrupts", "idle", "busy", "outlived", "atexit"
    ]  # fmt: skip


def test_joblib_processes_fit() -> None:
    # For one layer: its workers are new processes, which start none.
    assert run(POOLS + "check_joblib('loky')\nprint('done')", "workqueue") == ["done"]


def test_process_ends_after_its_only_fit_at_exit() -> None:
    # No helper exists yet, and from Python 3.12 on none can be started any more.
    script = """
import atexit
import numpy as np
from fastclust import KMeans
X = np.random.RandomState(0).standard_normal((20_000, 8))
atexit.register(lambda: print(KMeans(10, random_state=0).fit(X).labels_.shape, flush=True))
"""
    assert finish(start(script, "workqueue")) == "(20000,)\n"
