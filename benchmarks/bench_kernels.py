"""Micro-benchmarks of the kernels: ``pytest benchmarks --benchmark-only``, about two minutes.

Each is one call of what a fit calls, on all threads, with every buffer made before.  The problems
stand for the ways in which a kernel's time is spent: few features and many, few clusters and many,
and either precision.  A benchmark's name is its kernel and its problem, and stays the same, so that
``--benchmark-save`` and ``--benchmark-compare`` find it again at another commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks.selection import KERNEL_PROBLEMS, name
from fastclust.commands.calls import Problem, make_task
from fastclust.kernels.machine.parallel import Team, team


@pytest.fixture(scope="module")
def threads() -> Iterator[Team]:
    """The threads of a fit, for all benchmarks together."""
    with team() as gathered:
        yield gathered


@pytest.mark.benchmark(min_rounds=5, max_time=0.3)
@pytest.mark.parametrize(
    ("kernel", "problem"),
    [
        pytest.param(kernel, problem, id=f"{kernel}: {name(problem)}")
        for kernel, problems in KERNEL_PROBLEMS.items()
        for problem in problems
    ],
)
def test_kernel(
    benchmark: Callable[..., Any], threads: Team, kernel: str, problem: Problem
) -> None:
    """One call of a kernel; its rate is kept beside its time."""
    task = make_task(kernel, problem, threads)
    task.action()  # compiles
    benchmark(task.action)
    if benchmark.stats is not None:  # type: ignore[attr-defined]
        seconds = benchmark.stats.stats.median  # type: ignore[attr-defined]
        benchmark.extra_info["gflops"] = task.flops / seconds / 1e9  # type: ignore[attr-defined]
        benchmark.extra_info["n_threads"] = threads.n_threads  # type: ignore[attr-defined]
