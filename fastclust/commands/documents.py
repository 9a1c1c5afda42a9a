"""What a command leaves behind: a JSON file that says where it was measured, and a figure."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastclust.workloads import Workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """What of this machine decides the figures.

    Returns
    -------
    dict
        Processor, cores which this process may use, threads of either kind, operating system.
        Nothing in it tells whose machine it is.
    """
    import joblib
    import numba
    from threadpoolctl import threadpool_info

    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"]
    return {
        "cpu": _cpu_model(),
        "cores": joblib.cpu_count(),
        "numba_threads": numba.get_num_threads(),
        "openmp_threads": max(pools, default=None),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages which take part.

    Returns
    -------
    dict of str to str
        By the name of the package.
    """
    found = {"python": platform.python_version()}
    packages = ("fastclust", "numpy", "numba", "scikit-learn", "scikit-learn-intelex", "faiss-cpu")
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def head(stem: str, repeats: int, notes: Sequence[str]) -> dict[str, Any]:
    """What every JSON file begins with.

    Parameters
    ----------
    stem : str
        Name of the command's files.
    repeats : int
        Timed calls of each, at least.
    notes : sequence of str
        Remarks.

    Returns
    -------
    dict
        Format, date, versions, machine, repeats and notes.
    """
    return {
        "format": f"{stem}/1",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": machine(),
        "repeats": repeats,
        "notes": list(notes),
    }


def shape(workload: Workload) -> dict[str, Any]:
    """A workload in JSON's types.

    Parameters
    ----------
    workload : Workload
        The workload.

    Returns
    -------
    dict
        Its name, its shape, its number of clusters and its data type.
    """
    return {
        "name": workload.name,
        "n_samples": workload.n_samples,
        "n_features": workload.n_features,
        "n_clusters": workload.n_clusters,
        "dtype": workload.dtype,
    }


def write(
    output: Path,
    stem: str,
    contents: Mapping[str, Any],
    drawing: Figure | None,
    dpi: int = 120,
) -> None:
    """Write a command's files, and say so on the standard error.

    Parameters
    ----------
    output : Path
        Directory.
    stem : str
        Name of the files.
    contents : mapping
        What the JSON file holds.
    drawing : matplotlib.figure.Figure or None
        What the PNG file shows.
    dpi : int
        Its dots per inch.
    """
    written = [output / f"{stem}.json"]
    text = json.dumps(contents, indent=2, ensure_ascii=False)
    written[0].write_text(text + "\n", encoding="utf-8")
    if drawing is not None:
        written.append(output / f"{stem}.png")
        drawing.savefig(written[1], dpi=dpi)
    print(f"wrote {' and '.join(map(str, written))}", file=sys.stderr)
