"""scikit-learn's own tests, run on fastclust's classes and functions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.utils.fixes import parse_version
from sklearn_with_fastclust import EXCLUDED

from fastclust import GaussianMixture
from fastclust.kernels.gaussian import Sweep

HERE = Path(__file__).parent
# Tests of scikit-learn, a class that they are about, whether they run in float32, too (mixtures
# compute log-likelihoods in float64), how many pass on scikit-learn 1.9.1's own classes (363 in
# all, and 21 more in float32), and how many of these are excluded by name.
SUITES = [
    ("sklearn.cluster.tests.test_k_means", "KMeans", "1", 282, 0),
    ("sklearn.cluster.tests.test_bisect_k_means", "BisectingKMeans", "1", 25, 0),
    ("sklearn.cluster.tests.test_hierarchical", "AgglomerativeClustering", "1", 72, 0),
    ("sklearn.cluster.tests.test_dbscan", "DBSCAN", "0", 32, 0),
    ("sklearn.mixture", "GaussianMixture", "0", 77, 1),
]


@pytest.mark.parametrize(("suite", "name", "single", "n_passed", "n_excluded"), SUITES)
def test_suite_of_scikit_learn(
    suite: str, name: str, single: str, n_passed: int, n_excluded: int, tmp_path: Path
) -> None:
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
    summary = finished.stdout.splitlines()[-1]
    passed = re.search(r"(\d+) passed", summary)
    assert passed is not None
    assert f"{n_excluded} deselected" in summary or not n_excluded
    if parse_version("1.9.1") <= parse_version(sklearn.__version__) < parse_version("1.10"):
        assert int(passed[1]) >= n_passed - n_excluded, summary


def test_what_the_excluded_case_is_about(monkeypatch: pytest.MonkeyPatch) -> None:
    # A start that is given in whole is not estimated: no sweep over the rows but those of EM.
    (name,) = EXCLUDED
    assert name == "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters"
    n_sweeps = 0
    moments = Sweep.moments

    def counting(sweep: Sweep, *arguments: Any, **options: Any) -> Any:
        nonlocal n_sweeps
        n_sweeps += 1
        return moments(sweep, *arguments, **options)

    monkeypatch.setattr(Sweep, "moments", counting)
    X = np.random.RandomState(0).rand(200, 3)
    given: dict[str, Any] = {
        "weights_init": np.full(3, 1 / 3),
        "means_init": X[:3],
        "precisions_init": np.stack([np.eye(3)] * 3),
    }
    listening: Any = [lambda event: None]  # steps that are listened to come back to Python
    model = GaussianMixture(3, random_state=0, **given).fit(X, callbacks=listening)
    assert n_sweeps == model.n_iter_ > 1
    n_sweeps = 0
    model = GaussianMixture(3, random_state=0, means_init=X[:3]).fit(X, callbacks=listening)
    assert n_sweeps > model.n_iter_
