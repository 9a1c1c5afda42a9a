"""Callbacks, and checkpoints from which a fit that was killed goes on to the same bits."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone

from fastclust import (
    BayesianGaussianMixture,
    BisectingKMeans,
    ClusterSearch,
    GaussianMixture,
    KMeans,
    MiniBatchKMeans,
    ProgressBar,
    acceleration,
    bisecting,
)

Array = np.ndarray[Any, Any]
X = np.random.default_rng(0).normal(size=(6000, 4))
WEIGHTS = np.random.default_rng(1).integers(0, 3, len(X)).astype(float)


class Killed(Exception):
    """Stands for anything that ends a fit."""


def ends_after(n: int) -> Any:
    """A callback that raises in its n-th call."""
    calls = []

    def callback(progress: Any) -> None:
        calls.append(progress)
        if len(calls) == n:
            raise Killed

    return callback


FITS: dict[str, Any] = {
    "lloyd": lambda: KMeans(9, n_init=3, random_state=0, max_iter=40, tol=0),
    "elkan": lambda: KMeans(9, random_state=0, max_iter=60, tol=0, algorithm="elkan"),
    "hamerly": lambda: KMeans(9, random_state=0, max_iter=60, tol=0, algorithm="hamerly"),
    "random": lambda: KMeans(9, init="random", n_init=3, random_state=0, max_iter=40),
    "many sums": lambda: KMeans(4500, init=X[:4500], max_iter=5),
    "mini-batches": lambda: MiniBatchKMeans(9, random_state=0, batch_size=50),
    "reassigning": lambda: MiniBatchKMeans(
        50, random_state=0, batch_size=60, reassignment_ratio=0.3, max_iter=2, tol=1e-9
    ),
}


MIXTURES: dict[str, Any] = {
    "three starts": lambda **more: GaussianMixture(3, n_init=3, **more),
    "squarem": lambda **more: GaussianMixture(3, acceleration="squarem", **more),
    "tied": lambda **more: GaussianMixture(3, covariance_type="tied", **more),
    "spherical": lambda **more: GaussianMixture(3, covariance_type="spherical", **more),
    "process": lambda **more: BayesianGaussianMixture(n_components=3, n_init=2, **more),
    "process, tied": lambda **more: BayesianGaussianMixture(
        n_components=3, covariance_type="tied", **more
    ),
    "Dirichlet": lambda **more: BayesianGaussianMixture(
        n_components=3,
        n_init=2,
        covariance_type="diag",
        weight_concentration_prior_type="dirichlet_distribution",
        **more,
    ),
}


def mixture(name: str, **more: Any) -> Any:
    """A mixture whose starts all take 13 steps."""
    common = {"tol": 0, "max_iter": 13, "random_state": 0, "init_params": "random_from_data"}
    return MIXTURES[name](**{**common, **more})


def assert_same(ours: Any, theirs: Any) -> None:
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_array_equal(ours.cluster_centers_, theirs.cluster_centers_)
    assert ours.inertia_ == theirs.inertia_
    assert ours.n_iter_ == theirs.n_iter_


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", FITS)
def test_a_fit_goes_on_to_the_same_bits(name: str, weighted: bool, tmp_path: Path) -> None:
    weights = WEIGHTS if weighted else None
    whole = FITS[name]().fit(X, sample_weight=weights)
    path = tmp_path / "fit.checkpoint"
    for moment in (1, 3, 4, 26, 60):
        for attempt in range(2):  # killed twice
            try:
                FITS[name]().fit(
                    X,
                    sample_weight=weights,
                    callbacks=[ends_after(moment)],
                    checkpoint=path,
                    checkpoint_every=3,
                    resume=attempt > 0,
                )
            except Killed:
                pass
            else:
                break
        resumed = FITS[name]()
        resumed.fit(X, sample_weight=weights, checkpoint=path, checkpoint_every=3, resume=True)
        assert_same(resumed, whole)
        assert not list(tmp_path.iterdir())


def test_rows_that_are_read_go_on_to_the_same_bits(tmp_path: Path) -> None:
    def blocks() -> Any:
        return (X[start : start + 700] for start in range(0, len(X), 700))

    def model() -> Any:
        return KMeans(5, init=X[:5], max_iter=15, tol=0)

    with pytest.raises(Killed):
        model().fit(
            blocks, callbacks=[ends_after(8)], checkpoint=tmp_path / "c", checkpoint_every=2
        )
    resumed = model().fit(blocks, checkpoint=tmp_path / "c", resume=True)
    assert_same(resumed, model().fit(X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_rows_go_on_to_the_same_bits(dtype: Any, tmp_path: Path) -> None:
    sparse = scipy.sparse.random_array(
        (3000, 40), density=0.1, format="csr", rng=np.random.default_rng(3), dtype=dtype
    )
    path = tmp_path / "c"

    def model() -> Any:
        return KMeans(9, n_init=3, random_state=0, max_iter=30, tol=0)

    whole = model().fit(sparse, sample_weight=WEIGHTS[:3000])
    for moment in (1, 3, 8, 40):
        with pytest.raises(Killed):
            model().fit(
                sparse,
                sample_weight=WEIGHTS[:3000],
                callbacks=[ends_after(moment)],
                checkpoint=path,
                checkpoint_every=2,
            )
        if path.exists():
            with pytest.raises(ValueError, match=r"a different fit \(different: data\)"):
                model().fit(-sparse, sample_weight=WEIGHTS[:3000], checkpoint=path, resume=True)
        resumed = model()
        resumed.fit(sparse, sample_weight=WEIGHTS[:3000], checkpoint=path, resume=True)
        assert_same(resumed, whole)


def assert_same_mixture(ours: Any, theirs: Any) -> None:
    """Every attribute of a fit is the same, in type, dtype and bits."""
    for name, value in vars(theirs).items():
        if name.endswith("_"):
            own = getattr(ours, name)
            assert type(own) is type(value), name
            for one, other in zip(np.atleast_1d(own), np.atleast_1d(value), strict=True):
                assert one.dtype == other.dtype, name
                np.testing.assert_array_equal(one, other, err_msg=name)


BISECTING: dict[str, Any] = {
    "three starts": {"n_init": 3},
    "k-means++, largest": {"init": "k-means++", "bisecting_strategy": "largest_cluster"},
    "callable": {"init": lambda rows, k, random_state: rows[[0, -1]]},
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("three starts", "float32"),
        ("three starts", "sparse"),
        ("k-means++, largest", "extreme"),
        ("k-means++, largest", "streamed"),
        ("callable", "float64"),
    ],
)
def test_cuts_go_on_to_the_same_bits(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: Any = X[:900].astype("float32" if kind in ("float32", "extreme") else "float64")
    weights = WEIGHTS[:900]
    if kind == "extreme":
        rows *= np.float32(1e18)
    elif kind == "streamed":  # as clusters of many rows are
        monkeypatch.setattr(bisecting, "COPIED_BYTES", 1 << 13)
    elif kind == "sparse":
        rows = scipy.sparse.csr_array(np.where(rows > 0, rows, 0))

    def model() -> Any:
        return BisectingKMeans(5, random_state=0, tol=0, **BISECTING[name])

    told: list[Any] = []
    whole = model().fit(rows, sample_weight=weights, callbacks=[told.append])
    path = tmp_path / "c"
    starts = [i for i, each in enumerate(told) if each.iteration == 1]
    for moment in {4, starts[1] + 2, starts[-1] + 3, len(told) - 1}:
        with pytest.raises(Killed):
            model().fit(
                rows, sample_weight=weights, callbacks=[ends_after(moment)],
                checkpoint=path, checkpoint_every=2,
            )  # fmt: skip
        resumed = model()
        labels = resumed.fit_predict(rows, sample_weight=weights, checkpoint=path, resume=True)
        np.testing.assert_array_equal(labels, whole.labels_)
        np.testing.assert_array_equal(resumed.cluster_centers_, whole.cluster_centers_)
        assert resumed.inertia_ == whole.inertia_
        np.testing.assert_array_equal(resumed.predict(rows), whole.predict(rows))
        assert [node[1:] for node in resumed._nodes] == [node[1:] for node in whole._nodes]
        assert not list(tmp_path.iterdir())


def test_callbacks_of_cuts() -> None:
    told: list[Any] = []
    model = BisectingKMeans(5, random_state=0, n_init=2)
    distances = model.fit_transform(X, callbacks=[told.append])
    np.testing.assert_array_equal(
        distances, BisectingKMeans(5, random_state=0, n_init=2).fit_transform(X)
    )
    assert sorted({(each.cut, each.start) for each in told}) == [
        (cut, start) for cut in range(1, 5) for start in (1, 2)
    ]
    assert {(each.n_cuts, each.n_starts) for each in told} == {(4, 2)}
    np.testing.assert_allclose(told[0].objective, ((X - X.mean(axis=0)) ** 2).sum(), rtol=0.5)
    once = [each for each in told if (each.cut, each.start) == (2, 1)]
    assert [each.iteration for each in once] == list(range(1, len(once) + 1))
    ended: list[Any] = []
    model.fit(X, callbacks=[lambda each: ended.append(each) or True])
    assert len(ended) == 8


def test_checkpoints_of_other_cuts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with pytest.raises(Killed):
        BisectingKMeans(5, random_state=0).fit(
            X, callbacks=[ends_after(5)], checkpoint=path, checkpoint_every=2
        )
    content = path.read_bytes()
    for more in ({"n_clusters": 6}, {"n_init": 2}, {"tol": 0}, {"max_iter": 3}, {"random_state": 1},
                 {"init": "k-means++"}, {"bisecting_strategy": "largest_cluster"}):  # fmt: skip
        other = BisectingKMeans(**{"n_clusters": 5, "random_state": 0, **more})
        with pytest.raises(ValueError, match=rf"a different fit \(different: {next(iter(more))}\)"):
            other.fit(X, checkpoint=path, resume=True)
    for rows, weights, what in ((X[::-1], None, "data"), (X, WEIGHTS, "weights")):
        with pytest.raises(ValueError, match=rf"a different fit \(different: {what}\)"):
            BisectingKMeans(5, random_state=0).fit(
                rows, sample_weight=weights, checkpoint=path, resume=True
            )
    assert path.read_bytes() == content


TAKING_OPTIONS: list[Any] = [
    KMeans(2, n_init=1, random_state=0),
    MiniBatchKMeans(2, random_state=0, batch_size=100),
    BisectingKMeans(2, random_state=0),
    GaussianMixture(2, random_state=0),
    BayesianGaussianMixture(n_components=2, random_state=0),
    acceleration.KMeans(2, n_init=1, random_state=0),
    acceleration.GaussianMixture(2, random_state=0),
]


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.parametrize("model", TAKING_OPTIONS, ids=lambda m: type(m).__qualname__)
def test_every_way_to_fit_takes_the_options_of_fit(model: Any, tmp_path: Path) -> None:
    rows, path = X[:500], tmp_path / "c"
    name = type(model).__name__
    for method in ("fit", "fit_predict", "fit_transform"):
        if not hasattr(model, method):
            assert (method, hasattr(model, "means_init")) != ("fit", True)
            continue
        whole = getattr(clone(model), method)(rows)
        with pytest.raises(Killed):
            getattr(clone(model), method)(
                rows, callbacks=[ends_after(2)], checkpoint=path, checkpoint_every=1
            )
        assert path.exists()
        resumed = getattr(clone(model), method)(rows, checkpoint=path, resume=True)
        assert not path.exists()
        if method != "fit":
            np.testing.assert_array_equal(resumed, whole)
        called = r"(fit|fit_predict|fit_transform)\(\)"
        with pytest.raises(TypeError, match=rf"^{name}\.{called} got an unexpected .* 'callback'"):
            getattr(clone(model), method)(rows, callback=print)
        with pytest.raises(TypeError, match=rf"^{name}\.{method}\(\) missing 1 required .* 'X'"):
            getattr(clone(model), method)()


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_goes_on_to_the_same_bits(name: str, dtype: Any, tmp_path: Path) -> None:
    rows, weights = X[:900].astype(dtype), WEIGHTS[:900]
    whole = mixture(name).fit(rows, sample_weight=weights)
    n_steps = 13 * whole.n_init
    path = tmp_path / "c"
    for moment in (1, 4, 13, n_steps // 2 + 2, n_steps - 1):
        for attempt in range(2):  # killed twice
            try:
                mixture(name).fit(
                    rows,
                    sample_weight=weights,
                    callbacks=[ends_after(moment)],
                    checkpoint=path,
                    checkpoint_every=3,
                    resume=attempt > 0,
                )
            except Killed:
                pass
            else:
                break
        resumed = mixture(name)
        labels = resumed.fit_predict(
            rows, sample_weight=weights, checkpoint=path, checkpoint_every=3, resume=True
        )
        assert_same_mixture(resumed, whole)
        np.testing.assert_array_equal(labels, whole.predict(rows))
        assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.parametrize("name", ["squarem", "process"])
def test_a_warm_start_goes_on_to_the_same_bits(name: str, tmp_path: Path) -> None:
    rows, path = X[:900], tmp_path / "c"

    def warm() -> Any:
        return mixture(name, max_iter=4, warm_start=True).fit(rows).set_params(max_iter=13)

    with pytest.raises(Killed):
        warm().fit(rows, callbacks=[ends_after(7)], checkpoint=path, checkpoint_every=2)
    cold = mixture(name, warm_start=True)
    with pytest.raises(ValueError, match=r"a different fit \(different: start\)"):
        cold.fit(rows, checkpoint=path, resume=True)
    assert_same_mixture(warm().fit(rows, checkpoint=path, resume=True), warm().fit(rows))


def test_a_mixture_of_rows_that_are_read_goes_on(tmp_path: Path) -> None:
    """From an array to blocks of the same rows."""

    def blocks() -> Any:
        return (X[start : start + 700] for start in range(0, len(X), 700))

    def model() -> Any:
        return GaussianMixture(3, max_iter=10, random_state=0, init_params="k-means++")

    path = tmp_path / "c"
    with pytest.raises(Killed):
        model().fit(X, callbacks=[ends_after(6)], checkpoint=path, checkpoint_every=2)
    resumed = model().fit(blocks, checkpoint=path, resume=True)
    assert_same_mixture(resumed, model().fit(X))


@pytest.mark.parametrize(
    ("more", "different"),
    [
        ({"tol": 1e-9}, "tol"),
        ({"n_components": 4}, "n_components"),
        ({"covariance_type": "diag"}, "covariance_type"),
        ({"init_params": "kmeans"}, "init"),
        ({"means_init": X[1:4]}, "means_init"),
        ({"acceleration": "squarem"}, "acceleration"),
        ({"random_state": 1}, "random_state"),
    ],
)
def test_checkpoints_of_another_mixture_are_refused(
    more: Any, different: str, tmp_path: Path
) -> None:
    path = tmp_path / "c"
    given = {"means_init": X[:3].tolist()}
    with pytest.raises(Killed):
        mixture("tied", **given).fit(
            X, callbacks=[ends_after(3)], checkpoint=path, checkpoint_every=1
        )
    content = path.read_bytes()
    other = GaussianMixture(
        **{**mixture("tied", **given).get_params(), **more},
    )
    if more.get("n_components") == 4:
        other.set_params(means_init=None)
        different = "means_init, n_components"
    with pytest.raises(ValueError, match=rf"a different fit \(different: {different}\)"):
        other.fit(X, checkpoint=path, resume=True)
    with pytest.raises(ValueError, match=r"a different fit \(different: data\)"):
        mixture("tied", **given).fit(X[::-1], checkpoint=path, resume=True)
    assert path.read_bytes() == content


def test_callbacks_of_a_mixture(recwarn: pytest.WarningsRecorder) -> None:
    told: list[Any] = []
    model = mixture("three starts").fit(X, callbacks=[told.append])
    assert_same_mixture(model, mixture("three starts").fit(X))
    assert [(each.start, each.iteration) for each in told] == [
        (start, step) for start in (1, 2, 3) for step in range(1, 14)
    ]
    assert (told[0].rise, told[-1].unit, told[-1].n_starts) == (np.inf, "steps", 3)
    assert max(each.objective for each in told) == model.lower_bound_
    assert told[5].rise == told[5].objective - told[4].objective
    recwarn.clear()
    model.fit(X, callbacks=[lambda progress: progress.iteration == 4])
    assert (model.n_iter_, model.converged_) == (4, False)
    assert not recwarn.list  # who has ended it needs no warning that it did not converge
    with pytest.raises(Killed):
        GaussianMixture(2).fit(X, callbacks=[ends_after(2)])


@pytest.mark.parametrize("scale", [1e-18, 1e18])
def test_extreme_rows_go_on_to_the_same_bits(scale: float, tmp_path: Path) -> None:
    extreme = (X * scale).astype(np.float32)

    def model() -> Any:
        return KMeans(5, random_state=0, max_iter=15, tol=0)

    with pytest.raises(Killed):
        model().fit(
            extreme, callbacks=[ends_after(8)], checkpoint=tmp_path / "c", checkpoint_every=2
        )
    resumed = model().fit(extreme, checkpoint=tmp_path / "c", resume=True)
    assert_same(resumed, model().fit(extreme))
    assert resumed.cluster_centers_.dtype == np.float32


def large(engine: str) -> tuple[Any, Array]:
    """A model and rows whose fit takes a while."""
    rows = np.random.default_rng(0).normal(size=(30_000, 6))
    if engine == "KMeans":
        return KMeans(20, n_init=4, random_state=0, max_iter=120, tol=0), rows
    return MiniBatchKMeans(20, random_state=0, max_no_improvement=None, max_iter=100), rows


ENDS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from test_progress import large

for engine in sys.argv[2:]:
    model, rows = large(engine)
    model.fit(rows, checkpoint=engine, resume=True)
    np.savez(engine + ".npz", centers=model.cluster_centers_, labels=model.labels_)
"""


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Thrice, by SIGKILL; a new process goes on with what they have left."""
    rng, engines = np.random.default_rng(7), ("KMeans", "MiniBatchKMeans")
    for engine in engines:
        model, rows = large(engine)
        options: Any = {"checkpoint": tmp_path / engine, "checkpoint_every": 1, "resume": True}
        for _ in range(3):
            child = os.fork()
            if not child:
                try:
                    clone(model).fit(rows, **options)
                finally:
                    os._exit(0)
            time.sleep(rng.uniform(0, 0.6))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    command = [sys.executable, "-c", ENDS, str(Path(__file__).parent), *engines]
    subprocess.run(command, cwd=tmp_path, check=True)
    for engine in engines:
        model, rows = large(engine)
        whole = model.fit(rows)
        with np.load(tmp_path / f"{engine}.npz") as result:
            np.testing.assert_array_equal(result["centers"], whole.cluster_centers_)
            np.testing.assert_array_equal(result["labels"], whole.labels_)


KILLED = {
    "GaussianMixture": GaussianMixture(4, n_init=2, random_state=0, tol=0, max_iter=20),
    "BayesianGaussianMixture": BayesianGaussianMixture(
        n_components=4, n_init=2, random_state=0, tol=0, max_iter=20
    ),
    "BisectingKMeans": BisectingKMeans(12, n_init=2, random_state=0),
}


@pytest.mark.filterwarnings("ignore:Best performing initialization did not converge")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("name", KILLED)
def test_killed_again_and_again(name: str, tmp_path: Path) -> None:
    """By SIGKILL, each process in its fifth iteration, until what is left is shorter."""
    rows, path = X[:900], tmp_path / "c"

    def killed() -> bool:
        """Go on in a forked child, which kills itself; whether it has."""
        calls: list[Any] = []

        def kill(progress: Any) -> None:
            calls.append(progress)
            if len(calls) == 5:
                os.kill(os.getpid(), signal.SIGKILL)

        child = os.fork()
        if not child:
            try:
                options = {"checkpoint": path, "checkpoint_every": 2, "resume": True}
                clone(KILLED[name]).fit(rows, callbacks=[kill], **options)
            finally:
                os._exit(0)
        return os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL

    for _ in range(4):
        assert killed()
        assert path.exists()
    resumed = clone(KILLED[name]).fit(rows, checkpoint=path, resume=True)
    whole = clone(KILLED[name]).fit(rows)
    for attribute in ("cluster_centers_", "labels_", "means_", "covariances_", "lower_bounds_"):
        if hasattr(whole, attribute):
            np.testing.assert_array_equal(getattr(resumed, attribute), getattr(whole, attribute))


def interrupted(path: Path, **parameters: Any) -> None:
    with pytest.raises(Killed):
        KMeans(**{"n_clusters": 5, "random_state": 0, "tol": 0, **parameters}).fit(
            X, callbacks=[ends_after(5)], checkpoint=path, checkpoint_every=2
        )


def test_checkpoints_that_do_not_fit_are_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / "c"
    interrupted(path)
    content = path.read_bytes()
    model = KMeans(5, random_state=0, tol=0)
    with pytest.raises(ValueError, match="is there already: go on from it by resume=True, or"):
        model.fit(X, checkpoint=path)
    others: list[tuple[Any, Any, Any, str]] = [
        (KMeans(6, random_state=0, tol=0), X, None, "n_clusters"),
        (KMeans(5, random_state=1, tol=0), X, None, "random_state"),
        (KMeans(5, random_state=0, tol=0, init="random", n_init=1), X, None, "init"),
        (model, X[:-1], None, "data, shape"),
        (model, X + 1e-9, None, "data"),
        (model, X.astype(np.float32), None, "data, dtype"),
        (model, X, WEIGHTS, "weights"),
        (MiniBatchKMeans(5, random_state=0), X, None, "estimator, "),
    ]
    for other, data, weights, message in others:
        with pytest.raises(ValueError, match=rf"a different fit \(different: .*{message}.*\)"):
            other.fit(data, sample_weight=weights, checkpoint=path, resume=True)
        assert not hasattr(other, "cluster_centers_")
    assert path.read_bytes() == content
    for damaged in (content[:-1], content[: len(content) // 2], content[:40], content[:-9] + b"x"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is truncated or damaged; it is left as it is"):
            model.fit(X, checkpoint=path, resume=True)
        assert path.read_bytes() == damaged
    path.write_text("a letter")
    with pytest.raises(ValueError, match="is not a checkpoint of this version of fastclust"):
        model.fit(X, checkpoint=path, resume=True)
    assert path.read_text() == "a letter"


def test_arguments_that_make_no_sense(tmp_path: Path) -> None:
    model = KMeans(5)
    with pytest.raises(ValueError, match="resume=True needs checkpoint, the path of a file"):
        model.fit(X, resume=True)
    with pytest.raises(TypeError, match="checkpoint must be the path of a file or None, not 3"):
        model.fit(X, checkpoint=3)
    with pytest.raises(ValueError, match="checkpoint must be in a folder that exists"):
        model.fit(X, checkpoint=tmp_path / "no" / "c")
    with pytest.raises(ValueError, match="checkpoint_every must be at least 1"):
        model.fit(X, checkpoint=tmp_path / "c", checkpoint_every=0)
    with pytest.raises(TypeError, match="callbacks must be a list of callables, not <"):
        model.fit(X, callbacks=print)
    with pytest.raises(TypeError, match="callbacks must be callables, but one is 3"):
        model.fit(X, callbacks=[3])
    with pytest.raises(ValueError, match="checkpoint is supported only for algorithm='minibatch'"):
        MiniBatchKMeans(5, algorithm="nested").fit(X, checkpoint=tmp_path / "c")
    assert not list(tmp_path.iterdir())


def test_callbacks_are_told_of_every_iteration() -> None:
    told: list[tuple[int, int, float, float]] = []

    def note(progress: Any) -> None:
        assert progress.rows_per_second > 0
        assert progress.n_starts == 2
        told.append((progress.start, progress.iteration, progress.objective, progress.shift))

    model = KMeans(6, n_init=2, random_state=0, max_iter=50)
    quiet = KMeans(6, n_init=2, random_state=0, max_iter=50).fit(X)
    assert_same(model.fit(X, callbacks=[note]), quiet)
    for start in (1, 2):
        own = [entry for entry in told if entry[0] == start]
        assert [entry[1] for entry in own] == list(range(1, len(own) + 1))
        objectives = np.array([entry[2] for entry in own])
        assert (np.diff(objectives) <= 0).all()
        assert own[-1][3] < own[0][3]
    assert min(entry[2] for entry in told) == pytest.approx(quiet.inertia_, rel=1e-3)


@pytest.mark.parametrize("algorithm", ["minibatch", "nested"])
def test_callbacks_of_mini_batches(algorithm: str) -> None:
    told: list[Any] = []
    model = MiniBatchKMeans(6, random_state=0, batch_size=200, algorithm=algorithm)
    quiet = MiniBatchKMeans(6, random_state=0, batch_size=200, algorithm=algorithm).fit(X)
    model.fit(X, callbacks=[told.append])
    assert_same(model, quiet)
    assert [progress.iteration for progress in told] == list(range(1, model.n_steps_ + 1))
    assert told[-1].objective == pytest.approx(model.inertia_, rel=0.2)
    model.fit(X, callbacks=[lambda progress: progress.iteration == 3])
    assert model.n_steps_ == 3


def test_a_callback_ends_a_fit_early() -> None:
    model = KMeans(6, random_state=0, tol=0).fit(X, callbacks=[lambda told: told.iteration == 4])
    assert_same(model, KMeans(6, random_state=0, tol=0, max_iter=4).fit(X))
    # Only True: what a callback returns by chance ends nothing.
    chatty = KMeans(6, random_state=0, tol=0, max_iter=9)
    assert chatty.fit(X, callbacks=[lambda told: told.iteration]).n_iter_ == 9


def test_an_error_of_a_callback_leaves_the_estimator_unfitted() -> None:
    model = KMeans(6)
    with pytest.raises(Killed):
        model.fit(X, callbacks=[ends_after(2)])
    assert not hasattr(model, "cluster_centers_")


def test_the_bar_shows_where_a_fit_is() -> None:
    screen = io.StringIO()
    bar = ProgressBar(objective=True, file=screen, mininterval=0)
    KMeans(6, n_init=2, random_state=0, max_iter=5, tol=0).fit(X, callbacks=[bar])
    shown = screen.getvalue()
    assert "start 1/2" in shown
    assert "start 2/2" in shown
    assert "5/5" in shown
    assert "objective=" in shown
    assert "rows/s=" in shown


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (KMeans(3, random_state=0), r"converged after \d+ iterations"),
        (KMeans(6, random_state=0, max_iter=2, tol=0), "2 iterations, as many as there may be"),
        (MiniBatchKMeans(3, random_state=0, batch_size=64), r"converged after \d+ steps"),
        (MiniBatchKMeans(3, random_state=0, algorithm="nested"), r"converged after \d+ steps"),
        (ClusterSearch(KMeans(random_state=0), [2, 3]), "2 fits"),
        (GaussianMixture(2, random_state=0, tol=0.1), r"converged after \d+ steps"),
        (BisectingKMeans(4, n_init=2, random_state=0), "3 cuts"),
    ],
)
def test_a_bar_ends_full_and_says_why(model: Any, why: str) -> None:
    screen = io.StringIO()
    model.fit(X[:500], callbacks=[ProgressBar(file=screen, mininterval=0)])
    last = screen.getvalue().rstrip().split("\r")[-1]
    assert "100%" in last
    assert re.search(rf", {why}\]$", last), last
    assert "nan" not in screen.getvalue()


@pytest.mark.parametrize(
    ("model", "unit"),
    [
        (KMeans(6, n_init=2, random_state=0, tol=0), "iterations"),
        (GaussianMixture(6, n_init=2, random_state=0, tol=0), "steps"),
    ],
)
def test_every_start_has_a_bar_and_says_how_it_ended(model: Any, unit: str) -> None:
    screen = io.StringIO()
    bar = ProgressBar(file=screen, mininterval=0)
    model.fit(X[:500], callbacks=[bar, lambda p: p.iteration == 2 + p.start])
    for start in (1, 2):
        assert re.search(
            rf"start {start}/2: 100%.*, ended by a callback after {2 + start} {unit}",
            screen.getvalue(),
        )


def test_a_bar_says_that_a_callback_or_an_error_has_ended_the_fit() -> None:
    screen = io.StringIO()
    bar = ProgressBar(file=screen, mininterval=0)
    KMeans(6, random_state=0, tol=0).fit(X, callbacks=[bar, lambda p: p.iteration == 3])
    assert "100%" in screen.getvalue()
    assert "ended by a callback after 3 iterations" in screen.getvalue()

    def fails(progress: Any) -> None:
        raise RuntimeError("no more")

    screen.truncate(0)
    with pytest.raises(RuntimeError, match="no more"):
        KMeans(6, random_state=0, tol=0).fit(X, callbacks=[bar, fails])
    assert "1it" in screen.getvalue()
    assert "100%" not in screen.getvalue()
