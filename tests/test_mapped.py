"""Files that shrink while they are mapped: an error that names them, and the process lives on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from fastclust import BisectingKMeans, GaussianMixture, KMeans, MiniBatchKMeans, mapped

pytestmark = pytest.mark.skipif(not mapped.SUPPORTED, reason="maps are watched on Linux alone")

LOST = r"the file 'rows\.npy', which is mapped, could not be read from byte \d+ on: it has shrunk"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    X = np.random.default_rng(0).normal(size=(40_000, 4))
    np.save(tmp_path / "rows.npy", X)
    return tmp_path / "rows.npy"


def shrink(path: Path) -> None:
    os.truncate(path, 200_000)


class Shrink:
    """A callback that shrinks the file in the second iteration."""

    def __init__(self, path: Path) -> None:
        self.path, self.last = path, 0

    def __call__(self, progress: Any) -> None:
        self.last = progress.iteration
        if progress.iteration == 2:
            shrink(self.path)


@pytest.mark.parametrize("as_map", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        KMeans(4, random_state=0, tol=0, max_iter=200),
        KMeans(4, random_state=0, algorithm="hamerly", tol=0, max_iter=200),
        MiniBatchKMeans(4, random_state=0, max_no_improvement=None),
        MiniBatchKMeans(4, random_state=0, algorithm="nested", max_no_improvement=None),
    ],
)
def test_a_fit_to_a_file_that_shrinks_ends_with_an_error(
    model: Any, as_map: bool, path: Path
) -> None:
    rows: Any = np.load(path, mmap_mode="r") if as_map else path
    watch = Shrink(path)
    with pytest.raises(ValueError, match=LOST):
        model.fit(rows, callbacks=[watch])
    assert not [name for name in vars(model) if name.endswith("_")]
    assert watch.last < 100  # and not after all the iterations that zeros would have taken


def test_other_methods_are_served_as_well(path: Path) -> None:
    X = np.load(path)
    models = [Estimator(3, random_state=0).fit(X) for Estimator in (KMeans, BisectingKMeans)]
    rows = np.load(path, mmap_mode="r")
    shrink(path)
    for model in models:
        for method in (model.predict, model.transform, model.score):
            with pytest.raises(ValueError, match=LOST):
                method(rows)
            np.save(path, X)  # what was lost reads as zeros: map the file anew
            rows = np.load(path, mmap_mode="r")
            shrink(path)
    with pytest.raises(ValueError, match=LOST):
        BisectingKMeans(3).fit(rows)
    np.save(path, X)
    rows = np.load(path, mmap_mode="r")
    model = MiniBatchKMeans(3, random_state=0).partial_fit(rows[:1000])
    before = model.cluster_centers_
    shrink(path)
    with pytest.raises(ValueError, match=LOST):
        model.partial_fit(rows[-1000:])
    assert model.cluster_centers_ is before


def test_mixtures_are_served_as_well(path: Path) -> None:
    X = np.load(path)
    model = GaussianMixture(2, max_iter=2, tol=0, random_state=0)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        model.fit(X)
    means = model.means_
    for method in (model.predict, model.predict_proba, model.score_samples, model.score, model.fit):
        np.save(path, X)
        rows = np.load(path, mmap_mode="r")
        shrink(path)
        with pytest.raises(ValueError, match=LOST):
            method(rows)
        assert model.means_ is means


def test_a_fit_beside_it_goes_on(path: Path) -> None:
    """The thread that reads the lost rows is the one that gets the error."""
    X, rows = np.load(path)[:5000], np.load(path, mmap_mode="r")
    begun, ended = threading.Event(), threading.Event()
    fits: list[Any] = []

    def beside() -> None:
        def wait(progress: Any) -> None:
            begun.set()
            ended.wait(60)

        fits.append(KMeans(3, random_state=0).fit(X.tolist(), callbacks=[wait]))

    thread = threading.Thread(target=beside)
    thread.start()
    begun.wait(60)
    shrink(path)
    with pytest.raises(ValueError, match=LOST), mapped.survived(rows):
        rows.sum()
    ended.set()
    thread.join()
    np.testing.assert_array_equal(fits[0].labels_, KMeans(3, random_state=0).fit(X).labels_)


PROGRAM = """
import os, signal, sys
import numpy as np
from fastclust import mapped
rows = np.load(sys.argv[1], mmap_mode="r")
os.truncate(sys.argv[1], 200_000)
with mapped.survived(rows):
    if sys.argv[2] == "foreign":
        os.kill(os.getpid(), signal.SIGBUS)
rows.sum()
"""


@pytest.mark.parametrize("kind", ["outside", "foreign"])
def test_other_signals_do_what_they_did(kind: str, path: Path) -> None:
    """After the block, and where no mapped file is the reason."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, path, kind], timeout=60)
    assert done.returncode == -signal.SIGBUS


def test_arrays_in_memory_are_not_watched() -> None:
    X = np.ones((10, 2))
    for rows in (X, X[2:], X[2:].T, np.asarray(X)):
        with mapped.survived(rows):
            assert not mapped._watches
    with mapped.survived("rows.npy"):
        assert len(mapped._watches) == 1
    assert not mapped._watches
