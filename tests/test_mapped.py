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

from fastclust import BisectingKMeans, GaussianMixture, KMeans, MiniBatchKMeans
from fastclust.rows import mapped

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
    with pytest.raises(ValueError, match=LOST), mapped.survived():
        rows.sum()
    ended.set()
    thread.join()
    np.testing.assert_array_equal(fits[0].labels_, KMeans(3, random_state=0).fit(X).labels_)


PROGRAM = """
import os, signal, sys
import numpy as np
from fastclust.rows import mapped
rows = np.load(sys.argv[1], mmap_mode="r")
os.truncate(sys.argv[1], 200_000)
with mapped.survived():
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
    @mapped.surviving
    def n_watches(*args: Any, **options: Any) -> int:
        return len(mapped._watches)

    class Model(mapped.Guarded):
        def n_watches(self, *args: Any, **options: Any) -> int:
            return len(mapped._watches)

    X = np.ones((10, 2))
    model = Model()
    model.init, model.n_clusters, model.found_ = "random", 3, [1.0]  # type: ignore[attr-defined]
    for call in (n_watches, model.n_watches):
        for rows in (X, X[2:], X[2:].T, np.asarray(X), None, 3, 1.5):
            assert call(rows) == call(rows, weights=rows) == 0
        for other in ("rows.npy", [[1.0]], X.view(np.matrix), lambda: X):
            assert call(other) == call(X, weights=other) == 1
        assert not mapped._watches
    for name in ("init", "found_"):
        other_model = Model()
        setattr(other_model, name, X.view(np.memmap))
        assert other_model.n_watches(X) == 1


def test_what_is_not_there_stays_so() -> None:
    assert hasattr(MiniBatchKMeans(3), "partial_fit")
    assert not hasattr(MiniBatchKMeans(3, algorithm="nested"), "partial_fit")


# Every public callable, with every argument and parameter that takes an array, in one process each.
EVERYTHING = """
import inspect, os, sys, warnings
import numpy as np
import fastclust
from sklearn.base import BaseEstimator

warnings.simplefilter("ignore")
ROWS, K, D = 4096, 3, 4
X = np.random.RandomState(0).rand(ROWS, D)
ARRAYS = {
    "X": X,
    "sample_weight": np.ones(ROWS),
    "labels": np.arange(ROWS) % K,
    "x_squared_norms": np.ones(ROWS),
    "init": X[:K],
    "means_init": X[:K],
    "weights_init": np.full(K, 1 / K),
    "precisions_init": np.tile(np.eye(D), (K, 1, 1)),
    "mean_prior": np.ones(D),
    "covariance_prior": np.eye(D),
    "weight_concentration_prior": np.ones(()),
}
# No arrays of numbers: y is ignored, and the rest chooses what is done.
OTHERS = set(sys.argv[2].split())
def names_of(function):
    return [each.name for each in inspect.signature(function).parameters.values()
            if each.name != "self" and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]

def lost(array):
    # The array as a map of a file that has shrunk; of small ones all is gone.
    path = os.path.join(sys.argv[1], "lost.dat")
    if os.path.exists(path):
        os.unlink(path)
    values = np.memmap(path, array.dtype, "w+", shape=array.shape)
    values[...] = array
    os.truncate(path, 4096 if values.nbytes > 8192 else 0)
    return values

def check(what, function, **arguments):
    try:
        function(**arguments)
    except ValueError as error:
        if "lost.dat" in str(error):
            print("good", what)
            return
        print("other", what, error)
    else:
        print("none", what)

def needed(function):
    parameters = inspect.signature(function).parameters
    return {name: ARRAYS[name] for name in names_of(function)
            if name in ARRAYS and parameters[name].default is inspect.Parameter.empty}

def small(kind):
    if kind is fastclust.ClusterSearch:  # by the one criterion that takes weights
        return kind(fastclust.KMeans(n_init=1, max_iter=2), [K, K + 1], criterion="inertia")
    if kind is fastclust.DBSCAN:  # such that there are core samples
        return kind(100.0)
    sizes = {name: K for name in ("n_clusters", "n_components") if name in names_of(kind)}
    if kind is fastclust.AgglomerativeClustering:  # whose to_scipy_linkage wants heights
        sizes["compute_distances"] = True
    limits = {name: 2 for name in ("max_iter", "n_init") if name in names_of(kind)}
    return kind(**sizes, **(limits | {"n_init": 1} if limits else {}))

for name in fastclust.__all__:
    thing = getattr(fastclust, name)
    if inspect.isclass(thing) and issubclass(thing, BaseEstimator):
        unknown = set(names_of(thing)) - set(ARRAYS) - OTHERS
        assert not unknown, (name, unknown)
        model = small(thing).fit(X)
        methods = [method for method, _ in inspect.getmembers(model, inspect.ismethod)
                   if not method.startswith(("_", "get_", "set_"))]
        for method in methods:
            call = getattr(model, method)
            arguments = names_of(call)
            unknown = set(arguments) - set(ARRAYS) - OTHERS
            assert not unknown, (name, method, unknown)
            for argument in arguments:
                if argument in ARRAYS:
                    fresh = small(thing).fit(X)
                    given = needed(call) | {argument: lost(ARRAYS[argument])}
                    check(f"{name}.{method}({argument})", getattr(fresh, method), **given)
            # A fitted model that is a map itself, as joblib loads it.
            fresh = small(thing).fit(X)
            holder = getattr(fresh, "best_estimator_", fresh)
            keys = ("cluster_centers_", "means_", "components_", "children_")
            key = next(key for key in keys if hasattr(holder, key))
            setattr(holder, key, lost(np.asarray(getattr(holder, key))))
            if hasattr(fresh, "_nodes"):  # of which predict makes use instead
                fresh._nodes = [node._replace(center=lost(node.center)) for node in fresh._nodes]
            if "fit" not in method and method not in ("cluster_labels", "results_frame"):
                given = {"n_samples": 5} if method == "sample" else needed(call)
                check(f"{name}.{method} of a map", getattr(fresh, method), **given)
        for parameter in names_of(thing):
            if parameter in ARRAYS and ARRAYS[parameter].ndim:
                if name == "BisectingKMeans":  # takes no centers
                    continue
                fresh = small(thing)
                for method in ("fit", "partial_fit"):
                    if hasattr(fresh, method):
                        fresh.set_params(**{parameter: lost(ARRAYS[parameter])})
                        check(f"{name}({parameter}).{method}", getattr(fresh, method), X=X)
    elif name == "from_sklearn":
        from sklearn.cluster import KMeans
        theirs = KMeans(K, n_init=1).fit(X)
        theirs.cluster_centers_ = lost(theirs.cluster_centers_)
        check(name, thing, estimator=theirs)
    elif inspect.isfunction(thing) and name not in OTHERS:
        unknown = set(names_of(thing)) - set(ARRAYS) - OTHERS
        assert not unknown, (name, unknown)
        for argument in names_of(thing):
            if argument in ARRAYS:
                given = needed(thing) | {argument: lost(ARRAYS[argument])}
                if "n_clusters" in names_of(thing):
                    given["n_clusters"] = K
                check(f"{name}({argument})", thing, **given)
sampled = fastclust.SampledKMeansPlusPlus(50)
check("SampledKMeansPlusPlus()", sampled, X=lost(X), n_clusters=K, random_state=0)
"""

OTHER_ARGUMENTS = """
y n_samples callbacks checkpoint checkpoint_every resume n_clusters n_components n_init max_iter tol
verbose random_state copy_x algorithm batch_size compute_labels max_no_improvement init_size
reassignment_ratio bisecting_strategy covariance_type reg_covar init_params warm_start
metric memory connectivity compute_full_tree linkage distance_threshold compute_distances affinity
return_distance verbose_interval acceleration weight_concentration_prior_type mean_precision_prior
estimator criterion covariance_types n_references reference_rows starts refine
degrees_of_freedom_prior return_n_iter n_local_trials metric sample_size
eps min_samples metric_params leaf_size p n_jobs
load_ipython_extension unload_ipython_extension unpatch_sklearn
"""


def test_every_array_of_every_public_callable_is_guarded(tmp_path: Path) -> None:
    """By introspection: a new method, parameter or argument that is not known here is an error."""
    done = subprocess.run(
        [sys.executable, "-c", EVERYTHING, tmp_path, OTHER_ARGUMENTS],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr[-2000:])
    lines = done.stdout.splitlines()
    assert len(lines) > 70
    assert [line for line in lines if not line.startswith("good ")] == []
