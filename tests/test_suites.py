"""Every benchmark of the asv suites, and of pytest-benchmark, runs on tiny data.

No time is asserted.  Which kernels and problems there are is not chosen here: new ones are found.
"""

import inspect
import itertools
import json
import sys
from pathlib import Path

import pytest

# Last, so that the tests are of the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks import bench_kernels, suite, suite_kernels, suite_kmeans, suite_mixture
from benchmarks.selection import KERNEL_PROBLEMS
from fastclust.commands.calls import KERNELS, Problem, make_task
from fastclust.kernels.machine.parallel import team

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ("time_", "peakmem_", "track_")
SUITES = [
    each
    for module in (suite_kernels, suite_kmeans, suite_mixture)
    for each in vars(module).values()
    if inspect.isclass(each) and each.__module__ == module.__name__ and each.__name__[0] != "_"
]


def tiny(problem):
    """The same kind of problem, of next to no size."""
    return Problem(1100, min(problem.n_features, 40), 4, problem.dtype)


def one_of_each(parameters):
    """Combinations in which every value of every parameter occurs."""
    longest = max(map(len, parameters))
    turns = [list(itertools.islice(itertools.cycle(each), longest)) for each in parameters]
    return list(zip(*turns, strict=True))


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Tiny data under the names of the real ones, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    for table in (suite.DENSE, suite.ROWS):
        for label, problem in list(table.items()):
            monkeypatch.setitem(table, label, tiny(problem))
    for case, (kernel, problem) in list(suite_kernels.CASES.items()):
        monkeypatch.setitem(suite_kernels.CASES, case, (kernel, tiny(problem)))
    monkeypatch.setattr(suite_kernels, "READ_BYTES", 8000)
    monkeypatch.setattr(suite_kernels, "SPIN_ROUNDS", 10)
    for module in (suite, suite_kernels):
        monkeypatch.setattr(module, "REPEATS", 1)
    monkeypatch.setattr("fastclust.commands.measuring.FILL_SECONDS", 0.0)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", SUITES, ids=lambda kind: kind.__name__)
def test_every_benchmark_of_a_suite_runs(kind):
    assert len(kind.params) == len(kind.param_names)
    names = [name for name in dir(kind) if name.startswith(BENCHMARKS)]
    assert names
    kind.setup_cache(kind) if hasattr(kind, "setup_cache") else None
    ran = set()
    for values in one_of_each(kind.params):
        benchmark = kind()
        try:
            benchmark.setup(*values)
        except NotImplementedError:  # how asv is told to skip
            continue
        for name in names:
            # asv skips by the setup alone: here the same error would be a failure.
            value = getattr(benchmark, name)(*values)
            ran.add(name)
            if name.startswith("track_"):
                assert isinstance(value, float)
                assert getattr(kind, name).unit
        if hasattr(benchmark, "teardown"):
            benchmark.teardown(*values)
    assert ran == set(names)


def test_every_kernel_has_its_problems_and_their_names_differ():
    assert set(KERNEL_PROBLEMS) == set(KERNELS)
    assert all(KERNEL_PROBLEMS.values())
    marks = bench_kernels.test_kernel.pytestmark
    (cases,) = (mark.args[1] for mark in marks if mark.name == "parametrize")
    identifiers = [case.id for case in cases]
    assert len(set(identifiers)) == len(identifiers) == sum(map(len, KERNEL_PROBLEMS.values()))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_does_the_same_at_every_call(kernel):
    with team(2) as threads:
        task = make_task(kernel, Problem(1500, 5, 3), threads)
        assert task.flops > 0
        assert task.n_bytes > 0
        task.action()
        task.action()
        twice = make_task(kernel, Problem(3000, 5, 3), threads)
    assert (twice.kernel, twice.shape, twice.dtype) == (kernel, "3000×5, k=3", "float64")
    if "sparse" not in kernel and "batches" not in kernel:
        assert twice.flops == 2 * task.flops
        assert twice.n_bytes == 2 * task.n_bytes


def test_the_settings_of_asv_are_read():
    text = (ROOT / "asv.conf.json").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.strip().startswith("//")]
    settings = json.loads("\n".join(lines))
    assert (ROOT / settings["benchmark_dir"]).is_dir()
    assert settings["launch_method"] == "forkserver"
