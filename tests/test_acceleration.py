"""Programs that are not edited, run with fastclust in scikit-learn's place."""

from __future__ import annotations

import inspect
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.cluster import SpectralBiclustering, SpectralClustering, SpectralCoclustering
from sklearn.utils.fixes import parse_version

import fastclust
from fastclust import acceleration, validation

NAMES = {
    name: (module, getattr(module, name))
    for module, names in acceleration.SUBSTITUTES.items()
    for name in names
}
X = np.random.RandomState(0).rand(60, 3)

PROGRAM = """
import sys
from sklearn.cluster import KMeans
if __name__ == "__main__":
    print(KMeans.__module__, sys.argv[1:], sys.path[0])
    print(KMeans(2, random_state=0).fit([[1.0], [2.0], [9.0]]).labels_.tolist())
    sys.exit(7)
"""


@pytest.fixture(autouse=True)
def _scikit_learn_again() -> Any:
    yield
    fastclust.unpatch_sklearn()


def run(*arguments: str, cwd: Path) -> Any:
    """``python -m fastclust`` with these arguments."""
    return subprocess.run(
        [sys.executable, "-m", "fastclust", *arguments], cwd=cwd, capture_output=True, text=True
    )


def test_a_script_runs_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "program.py").write_text(PROGRAM)
    finished = run("inner/program.py", "-m", "compare", cwd=tmp_path)
    assert finished.returncode == 7, finished.stderr
    modules, labels = finished.stdout.splitlines()
    assert modules == f"fastclust.acceleration ['-m', 'compare'] {tmp_path / 'inner'}"
    assert labels == "[0, 0, 1]"
    assert finished.stderr.count("in scikit-learn's place: KMeans, ") == 1


def test_a_module_runs_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    finished = run("-m", "program", "--fast", cwd=tmp_path)
    assert finished.returncode == 7, finished.stderr
    modules, _ = finished.stdout.splitlines()
    assert modules == f"fastclust.acceleration ['--fast'] {tmp_path}"


def test_neither_a_command_nor_a_file(tmp_path: Path) -> None:
    finished = run("missing.py", cwd=tmp_path)
    assert finished.returncode == 2
    assert finished.stderr == "fastclust: error: there is no file 'missing.py'\n"
    finished = run("compair", cwd=tmp_path)
    assert finished.returncode == 2
    assert "invalid choice: 'compair'" in finished.stderr
    assert "compare" in finished.stderr


def test_workers_of_a_script_use_it_too(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from joblib import Parallel, delayed\n"
        "from sklearn.cluster import KMeans\n"
        "def where(model):\n"
        "    return type(model.fit([[1.0], [2.0], [9.0]])).__module__\n"
        "print(Parallel(2)(delayed(where)(KMeans(2, random_state=0)) for _ in range(2)))\n"
    )
    finished = run("program.py", cwd=tmp_path)
    assert finished.stdout.strip() == str(["fastclust.acceleration"] * 2), finished.stderr


@pytest.mark.parametrize("name", NAMES)
def test_patched_and_put_back(name: str) -> None:
    module, original = NAMES[name]
    fastclust.patch_sklearn()
    patched = getattr(module, name)
    ours = getattr(fastclust, name)
    assert patched is not original
    assert patched.__name__ == name
    assert patched is ours or inspect.isfunction(ours) or issubclass(patched, ours)
    fastclust.patch_sklearn()  # twice is once
    fastclust.unpatch_sklearn()
    assert getattr(module, name) is original


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (SpectralClustering(3, affinity="nearest_neighbors", random_state=0), "KMeans"),
        (SpectralBiclustering(3, random_state=0), "KMeans"),
        (SpectralCoclustering(3, random_state=0, mini_batch=True), "MiniBatchKMeans"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scikit_learns_own_estimators_use_it(
    model: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, fits = getattr(fastclust, name), []
    fit = kind.fit

    def counting(estimator: Any, *arguments: Any, **options: Any) -> Any:
        fits.append(estimator)
        return fit(estimator, *arguments, **options)

    monkeypatch.setattr(kind, "fit", counting)
    with fastclust.patch_sklearn():
        clone(model).fit(X)
    n_fits = len(fits)
    assert n_fits > 0
    clone(model).fit(X)
    assert len(fits) == n_fits


def test_other_metrics_are_scikit_learns(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.arange(60) % 3
    expected = sklearn.metrics.silhouette_score(X, labels, metric="manhattan")
    with fastclust.patch_sklearn(), caplog.at_level(logging.WARNING, logger="fastclust"):
        found = sklearn.metrics.silhouette_score(X, labels, metric="manhattan")
        sklearn.metrics.silhouette_samples(scipy.sparse.csr_array(X), labels)
        with pytest.raises(ValueError, match="Number of labels is 1"):
            sklearn.metrics.silhouette_samples(X, 0 * labels)
        assert sklearn.metrics.cluster.silhouette_score is sklearn.metrics.silhouette_score
    assert found == expected
    first, second = (record.getMessage() for record in caplog.records)
    assert (
        "scikit-learn's silhouette_score is used, since metric must be 'euclidean', 'l2' or"
        in first
    )
    assert "scikit-learn's silhouette_samples is used, since X must be a dense array" in second


def test_context_managers_nest() -> None:
    original = sklearn.cluster.KMeans
    with fastclust.patch_sklearn():
        patched = sklearn.cluster.KMeans
        with pytest.raises(KeyError), fastclust.patch_sklearn():
            raise KeyError
        assert sklearn.cluster.KMeans is patched is not original
    assert sklearn.cluster.KMeans is original


def test_notebook_extension() -> None:
    original = sklearn.cluster.KMeans
    fastclust.load_ipython_extension(None)
    assert issubclass(sklearn.cluster.KMeans, fastclust.KMeans)
    fastclust.unload_ipython_extension(None)
    assert sklearn.cluster.KMeans is original


def test_notebook_magic() -> None:
    shells = pytest.importorskip("IPython.core.interactiveshell")
    shell = shells.InteractiveShell()
    shell.run_line_magic("load_ext", "fastclust")
    shell.run_cell("from sklearn.cluster import KMeans")
    assert issubclass(shell.user_ns["KMeans"], fastclust.KMeans)
    shell.run_line_magic("unload_ext", "fastclust")
    assert not issubclass(sklearn.cluster.KMeans, fastclust.KMeans)


def test_says_once_what_it_has_replaced(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceleration, "_said", False)
    monkeypatch.setattr(sys.modules["__main__"], "KMeans", sklearn.cluster.KMeans, raising=False)
    with caplog.at_level(logging.INFO, logger="fastclust"):
        fastclust.patch_sklearn()
        fastclust.unpatch_sklearn()
        fastclust.patch_sklearn()
    place, early = (record.getMessage() for record in caplog.records)
    assert all(name in place for name in NAMES)
    assert early == "fastclust: imported before, and so still scikit-learn's: KMeans"


@pytest.mark.parametrize("name", [name for name in NAMES if name[0].isupper()])
def test_fits_are_fastclusts(name: str) -> None:
    module, original = NAMES[name]
    known = original().get_params().keys()
    values = {"n_components": 3, "n_clusters": 3, "random_state": 0}
    given = {parameter: value for parameter, value in values.items() if parameter in known}
    with fastclust.patch_sklearn():
        model = getattr(module, name)(**given)
    assert known <= model.get_params().keys()
    expected = getattr(fastclust, name)(**given).fit(X)
    found = model.fit(X)
    assert type(found).__module__.startswith("fastclust")
    for one in (found, pickle.loads(pickle.dumps(found))):
        for result in ("labels_", "means_", "cluster_centers_", "children_", "components_"):
            if hasattr(expected, result):
                assert_array_equal(getattr(one, result), getattr(expected, result))
        if hasattr(expected, "predict"):
            assert_array_equal(one.predict(X), expected.predict(X))
    assert repr(model) == repr(expected)


def test_what_fastclust_lacks_is_scikit_learns(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fastclust.KMeans, "reads_sparse", False)
    data = scipy.sparse.csr_array(X)
    weights = np.arange(60) % 4
    with fastclust.patch_sklearn():
        model = sklearn.cluster.KMeans(3, random_state=0)
    with caplog.at_level(logging.WARNING, logger="fastclust"):
        found = model.fit_transform(data, sample_weight=weights)
    (record,) = caplog.records
    reason = "X must be a dense array, but it is a sparse csr_array"
    assert f"scikit-learn's KMeans is used, since {reason}" in record.getMessage()
    assert type(model) is sklearn.cluster.KMeans
    expected = sklearn.cluster.KMeans(3, random_state=0).fit_transform(data, sample_weight=weights)
    np.testing.assert_allclose(found, expected)
    with pytest.raises(validation.Unsupported):
        fastclust.KMeans(3).fit(data)


ARRAY_API = """
import array_api_strict, numpy, sklearn.mixture
import fastclust
rows = array_api_strict.asarray(numpy.random.RandomState(0).rand(60, 3))
with sklearn.config_context(array_api_dispatch=True), fastclust.patch_sklearn():
    for method in ("fit", "fit_predict"):
        model = sklearn.mixture.GaussianMixture(2, init_params="random", random_state=0)
        assert isinstance(model, fastclust.GaussianMixture)
        getattr(model, method)(rows)
        print(type(model).__module__, type(model.means_).__module__)
"""


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.8"), reason="NumPy's arrays only"
)
def test_arrays_of_other_libraries_are_scikit_learns(tmp_path: Path) -> None:
    pytest.importorskip("array_api_strict")
    finished = subprocess.run(
        [sys.executable, "-c", ARRAY_API],
        env=os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    line = "sklearn.mixture._gaussian_mixture array_api_strict._array_object"
    assert finished.stdout.splitlines() == [line, line]
    reason = "X must be an array of NumPy's where array_api_dispatch=True, but it is a Array of"
    assert finished.stderr.count(f"scikit-learn's GaussianMixture is used, since {reason}") == 2


def test_options_of_a_fit_are_no_reason_to_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    with fastclust.patch_sklearn():
        model = sklearn.cluster.KMeans(3, random_state=0)
    model.fit(X, callbacks=[told.append])
    assert len(told) == model.n_iter_
    monkeypatch.setattr(fastclust.KMeans, "reads_sparse", False)
    with pytest.raises(validation.Unsupported):  # scikit-learn's would tell nothing
        model.fit(scipy.sparse.csr_array(X), callbacks=[told.append])
    assert isinstance(model, fastclust.KMeans)


def test_bad_input_is_no_reason_to_fall_back() -> None:
    with fastclust.patch_sklearn():
        model = sklearn.cluster.KMeans(3)
    with pytest.raises(ValueError, match="n_samples=2 should be >= n_clusters=3"):
        model.fit(X[:2])
    assert isinstance(model, fastclust.KMeans)
