"""On which problems kernels and estimators are timed, and what these problems are called.

The names are what results are found by at other commits: problems are added, not changed.
"""

from __future__ import annotations

from fastclust.commands.calls import KERNELS, Problem

# Few features and many, few clusters and many, either precision.
DENSE = (
    Problem(200_000, 2, 8, "float64"),
    Problem(200_000, 3, 64, "float32"),
    Problem(100_000, 16, 26, "float64"),
    Problem(50_000, 64, 100, "float32"),
    Problem(10_000, 784, 10, "float32"),
    Problem(10_000, 128, 1000, "float32"),
)
# The number of clusters, which is that of the blobs, plays no part.
FLAT = (
    Problem(1_000_000, 2, 16, "float64"),
    Problem(200_000, 16, 16, "float32"),
    Problem(50_000, 64, 16, "float64"),
    Problem(10_000, 784, 16, "float32"),
)
MIXTURES = (Problem(100_000, 2, 10), Problem(30_000, 16, 16), Problem(5_000, 64, 20))
SPARSE = (Problem(50_000, 1_000, 64), Problem(50_000, 1_000, 10, "float32"))
# Of whole fits, which take many iterations.
FITS = (
    Problem(100_000, 2, 8, "float64"),
    Problem(20_000, 16, 26, "float64"),
    Problem(20_000, 64, 100, "float32"),
    Problem(5_000, 784, 10, "float32"),
)


def name(problem: Problem) -> str:
    """A problem as the part of a benchmark's name."""
    n_samples, n_features, n_clusters, dtype = problem
    return f"{n_samples}x{n_features} k={n_clusters} {dtype}"


def problems_of(kernel: str) -> tuple[Problem, ...]:
    """The problems on which a kernel is timed."""
    if "sparse" in kernel:
        return SPARSE
    if kernel.startswith(("EM sweep", "log densities")):
        return MIXTURES
    if kernel.startswith(("column moments", "seeding")):
        return FLAT
    return DENSE


KERNEL_PROBLEMS = {kernel: problems_of(kernel) for kernel in KERNELS}
