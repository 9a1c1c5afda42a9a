"""Lets pytest find the micro-benchmarks in this folder, whose names are not those of tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The folder's own modules, behind the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Collect ``bench_kernels.py``; pytest itself does so where it is named on the command line."""
    if file_path.name != "bench_kernels.py" or parent.session.isinitpath(file_path):
        return None
    return pytest.Module.from_parent(parent, path=file_path)
