"""scikit-learn's own tests, run on fastclust's classes and functions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastclust

HERE = Path(__file__).parent
# Tests of scikit-learn, the class without which they would only test scikit-learn itself, and
# whether they run in float32, too (where mixtures compute log-likelihoods in float64).
SUITES = [
    (suite, name, single)
    for suite, name, single in (
        ("sklearn.cluster.tests.test_k_means", "KMeans", "1"),
        ("sklearn.cluster.tests.test_bisect_k_means", "BisectingKMeans", "1"),
        ("sklearn.mixture", "GaussianMixture", "0"),
    )
    if hasattr(fastclust, name)
]


@pytest.mark.parametrize(("suite", "name", "single"), SUITES)
def test_suite_of_scikit_learn(suite: str, name: str, single: str, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # not this project's options
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = ["-m", "pytest", "-p", "sklearn_with_fastclust", "-p", "no:cacheprovider"]
    finished = subprocess.run(
        [sys.executable, *command, "-rfE", "--tb=short", "--pyargs", suite],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "SKLEARN_RUN_FLOAT32_TESTS": single},
        capture_output=True,
        text=True,
    )
    failed = re.findall(r"^(?:FAILED|ERROR) .*", finished.stdout, re.MULTILINE)
    assert not failed, "\n".join([finished.stdout[-8000:], *failed])
    assert finished.returncode == 0, finished.stdout + finished.stderr
    replaced = re.search(r"^fastclust in place of: (.*)", finished.stdout, re.MULTILINE)
    assert replaced is not None
    assert name in replaced[1].split()
