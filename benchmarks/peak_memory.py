"""Memory that one fit takes at its peak, beside its data: run as a script in a process of its own.

``python benchmarks/peak_memory.py MODULE N_SAMPLES N_FEATURES N_CLUSTERS [ESTIMATOR]`` fits the
``KMeans`` of ``MODULE`` to float32 data, or another estimator of it to float64 data, and prints
the bytes by which the resident memory rose during the fit.  The data are made before.  A fit to a
few rows comes first, so that what is counted is neither compiled code nor a thread's stack.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from fastclust.workloads import gaussian_blobs

# What is fitted: the dtype of its data, and its parameters beside the number of clusters.
ESTIMATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "KMeans": ("float32", {"n_init": 1, "random_state": 0}),
    "GaussianMixture": ("float64", {"max_iter": 2, "tol": 0.0, "random_state": 0}),
    "AgglomerativeClustering": ("float64", {}),
}
ROWS_PER_CLUSTER = 20  # of the warm-up: enough for every thread to take part in it
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def _status(field: str) -> int:
    """Bytes in a field of Linux's process status."""
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {field}")


def _largest() -> int:
    """Bytes of the largest resident memory of this process so far."""
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _give_back() -> None:
    """Return what was freed to the system: reused by the fit, it would not be counted."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc alone has the function
        ctypes.CDLL(None).malloc_trim(0)


def extra_memory(action: Callable[[], Any]) -> int:
    """Bytes by which the resident memory rises, at its peak, while `action` runs.

    Parameters
    ----------
    action : callable
        Called once.

    Returns
    -------
    int
        The rise.  Where the peak that the system keeps cannot be reset, which only Linux can do,
        the rise above the earlier peak: too little if that was above what is resident now.
    """
    _give_back()
    try:
        _CLEAR.write_text("5", encoding="ascii")
        before = _status("VmRSS")
    except OSError:
        before = _largest()
        action()
        return _largest() - before
    action()
    return _status("VmHWM") - before


def main(
    module: str, n_samples: int, n_features: int, n_clusters: int, name: str = "KMeans"
) -> int:
    """Measure one fit.

    Parameters
    ----------
    module : str
        Holds the estimator to measure.
    n_samples, n_features : int
        Shape of the data.
    n_clusters : int
        Number of clusters.
    name : str
        Name of the estimator.

    Returns
    -------
    int
        Bytes, see `extra_memory`.
    """
    dtype, parameters = ESTIMATORS[name]
    make = getattr(importlib.import_module(module), name)
    estimator = make(n_clusters, **parameters)
    warnings.simplefilter("ignore", ConvergenceWarning)  # two steps of EM are enough to measure
    X = gaussian_blobs(n_samples, n_features, n_clusters, dtype)
    estimator.fit(X[: ROWS_PER_CLUSTER * n_clusters].copy())
    return extra_memory(lambda: estimator.fit(X))


if __name__ == "__main__":
    print(main(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:]))
