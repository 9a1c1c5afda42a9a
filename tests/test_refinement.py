"""KMeans(refine=m): breathing k-means, and what it must not change."""

from __future__ import annotations

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.base
from conftest import SHAPES
from threadpoolctl import threadpool_limits

from fastclust import KMeans, ProgressBar, from_sklearn
from fastclust.kernels import reference
from fastclust.kernels.machine.parallel import Team
from fastclust.kernels.rivals import rivals
from fastclust.kernels.sparse import make_sparse_rows
from fastclust.kernels.tiles import make_rows, padded_vector

RNG = np.random.default_rng(5)
GRID = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), -1).reshape(-1, 2)
# 25 blobs, of which one start of k-means++ misses some.
X = np.repeat(GRID, 60, 0) + 0.08 * RNG.normal(size=(1500, 2))
WEIGHTS = RNG.integers(0, 4, 1500).astype(float)
OPTIONS: dict[str, Any] = {"n_clusters": 25, "init": "random", "n_init": 1, "random_state": 2}


class Killed(Exception):
    pass


def same(one: Any, other: Any) -> None:
    np.testing.assert_array_equal(one.cluster_centers_, other.cluster_centers_)
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert (one.inertia_, one.n_iter_) == (other.inertia_, other.n_iter_)


# --- The kernel -------------------------------------------------------------------------------


def expected(X: Any, centers: Any, labels: Any) -> tuple[Any, Any]:
    squares = reference.squared_distances(X, centers)
    own = squares[np.arange(len(X)), labels].copy()
    squares[np.arange(len(X)), labels] = np.inf
    return own, squares.min(axis=1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_distances_to_the_own_center_and_the_next(n: int, d: int, k: int, dtype: Any) -> None:
    rng = np.random.default_rng(n + d + k)
    rows, centers = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(k, d)).astype(dtype)
    centers[-1] = rows[0]
    labels = rng.integers(0, k, n).astype(np.int32)
    wanted = expected(rows, centers, labels)
    zero = padded_vector(np.zeros(d), dtype)
    found = rivals(make_rows(rows), zero, centers, labels, Team(0))
    again = rivals(make_rows(rows), zero, centers, labels, Team(1))
    sparse = make_sparse_rows(scipy.sparse.csr_array(rows))
    for one, two, by_entries, right in zip(
        found, again, rivals(sparse, zero, centers, labels, Team(0)), wanted, strict=True
    ):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, right, rtol=1e-12 if dtype == np.float64 else 2e-5)
        np.testing.assert_allclose(by_entries, right, rtol=1e-10, atol=1e-12 * d)


@pytest.mark.parametrize("k", [1, 2, 5, 6, 7, 48, 49, 50, 55, 97, 130])
def test_every_number_of_centers(k: int) -> None:
    rng = np.random.default_rng(k)
    rows, centers = 1e6 + rng.normal(size=(70, 3)), 1e6 + rng.normal(size=(k, 3))
    labels = rng.integers(0, k, 70).astype(np.int32)
    mean = padded_vector(rows.mean(axis=0), float)
    found = rivals(make_rows(rows), mean, centers - mean[:3], labels, Team(0))
    for one, right in zip(found, expected(rows, centers, labels), strict=True):
        np.testing.assert_allclose(one, right, rtol=1e-7)


# --- Fits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float64", "float32", "weights", "sparse", "far", "starts"])
def test_clusters_get_better_and_all_results_agree(kind: str) -> None:
    data: Any = X.astype(np.float32) if kind == "float32" else X + (1e5 if kind == "far" else 0)
    weights = WEIGHTS if kind == "weights" else None
    options = OPTIONS | ({"n_init": 3} if kind == "starts" else {})
    if kind == "sparse":
        data = scipy.sparse.csr_array(data)
    plain = KMeans(**options).fit(data, sample_weight=weights)
    fitted = KMeans(**options, refine=5).fit(data, sample_weight=weights)
    assert fitted.inertia_ < 0.8 * plain.inertia_
    dense = X if kind == "sparse" else data
    true = np.concatenate([dense[60 * b : 60 * b + 60] for b in range(25)]).reshape(25, 60, 2)
    w = np.ones((25, 60)) if weights is None else weights.reshape(25, 60)
    means = np.einsum("bi,bij->bj", w, true.astype(float)) / w.sum(axis=1)[:, None]
    best = np.einsum("bi,bij->", w, (true - means[:, None]) ** 2)
    assert fitted.inertia_ == pytest.approx(best, rel=0.02)
    np.testing.assert_array_equal(fitted.labels_, fitted.predict(data))
    squares = reference.squared_distances(dense, fitted.cluster_centers_)
    right = (squares.min(axis=1) * w.ravel()).sum()
    assert fitted.inertia_ == pytest.approx(right, rel=1e-3 if kind == "far" else 1e-5)
    assert -fitted.score(data, sample_weight=weights) == pytest.approx(fitted.inertia_, rel=1e-5)
    assert 0 < fitted.n_iter_ <= fitted.max_iter
    assert fitted.n_distances_ > plain.n_distances_
    assert fitted.cluster_centers_.dtype == data.dtype


@pytest.mark.parametrize("seed", range(12))
def test_never_worse_than_without(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, d, k = int(rng.integers(2, 90)), int(rng.integers(1, 5)), int(rng.integers(1, 12))
    rows = rng.integers(0, 3, (n, d)).astype([float, np.float32][seed % 2])  # many duplicates
    rows += seed % 3 * rng.normal(size=(n, d)).astype(rows.dtype)
    weights = rng.integers(0, 3, n) + (np.arange(n) == 0) if seed % 4 == 0 else None
    options: dict[str, Any] = {"n_clusters": min(k, n), "random_state": seed, "n_init": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn.exceptions.ConvergenceWarning)
        plain = KMeans(**options).fit(rows, sample_weight=weights)
        for m in (1, 3, 100):
            fitted = KMeans(**options, refine=m).fit(rows, sample_weight=weights)
            assert fitted.inertia_ <= plain.inertia_
            assert len(fitted.cluster_centers_) == min(k, n)


def test_nothing_changes_without_it() -> None:
    rs = np.random.RandomState(0)
    KMeans(25, n_init=1, random_state=rs).fit(X)
    after = rs.random_sample()
    rs = np.random.RandomState(0)
    KMeans(25, n_init=1, random_state=rs, refine=0).fit(X)
    assert rs.random_sample() == after
    # One cluster, as many as rows, and no error at all: there is nothing to refine.
    for k, rows in ((1, X), (20, X[:20]), (3, np.repeat(X[:3], 9, 0))):
        same(KMeans(k, random_state=0, refine=4).fit(rows), KMeans(k, random_state=0).fit(rows))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_same_bits_whatever_the_source_and_the_threads(weights: Any, tmp_path: Path) -> None:
    rows = np.concatenate([X, X + 0.01 * RNG.normal(size=X.shape)])
    weights = None if weights is None else np.concatenate([weights, weights])
    model = KMeans(**OPTIONS, refine=3).fit(rows, sample_weight=weights)
    with threadpool_limits(1):
        same(KMeans(**OPTIONS, refine=3).fit(rows, sample_weight=weights), model)
    np.save(tmp_path / "rows.npy", rows)

    def blocks() -> Any:
        yield from (rows[i : i + 700] for i in range(0, len(rows), 700))

    for source in (blocks, str(tmp_path / "rows.npy")):
        same(KMeans(**OPTIONS, refine=3).fit(source, sample_weight=weights), model)
    for algorithm in ("lloyd", "hamerly", "elkan"):
        other = KMeans(**OPTIONS, refine=3, algorithm=algorithm)
        same(other.fit(rows, sample_weight=weights), model)


@pytest.mark.parametrize("source", ["array", "sparse", "blocks"])
def test_a_checkpoint_inside_a_breath_goes_on_to_the_same_bits(source: str, tmp_path: Path) -> None:
    data: Any = {"array": X, "sparse": scipy.sparse.csr_array(X), "blocks": lambda: iter([X])}
    data, path = data[source], tmp_path / "c"
    options = OPTIONS | {"n_init": 2, "refine": 3}
    whole = KMeans(**options).fit(data)
    told: list[Any] = []
    same(KMeans(**options).fit(data, callbacks=[told.append]), whole)
    first = sum(one.breath == 0 for one in told)
    for last in (1, first - 1, first + 1, first + 2, first + 7, len(told) - 2):
        seen = 0

        def kill(_: Any, last: int = last) -> None:
            nonlocal seen
            seen += 1
            if seen > last:
                raise Killed

        with pytest.raises(Killed):
            KMeans(**options).fit(data, callbacks=[kill], checkpoint=path, checkpoint_every=1)
        same(KMeans(**options).fit(data, checkpoint=path, checkpoint_every=1, resume=True), whole)
        assert not path.exists()


def test_a_checkpoint_of_another_refinement_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"

    def kill(progress: Any) -> None:
        if progress.breath == 2:
            raise Killed

    with pytest.raises(Killed):
        KMeans(**OPTIONS, refine=3).fit(X, callbacks=[kill], checkpoint=path, checkpoint_every=1)
    for refine in (0, 4):
        with pytest.raises(ValueError, match=r"a different fit \(different: refine\)"):
            KMeans(**OPTIONS, refine=refine).fit(X, checkpoint=path, resume=True)


def test_callbacks_are_told_of_breaths_and_end_them() -> None:
    told: list[Any] = []
    model = KMeans(**OPTIONS, refine=2).fit(X, callbacks=[told.append])
    breaths = [progress.breath for progress in told]
    assert breaths == sorted(breaths)
    assert set(breaths) == set(range(max(breaths) + 1))
    assert max(breaths) >= 2
    same(model, KMeans(**OPTIONS, refine=2).fit(X))
    # Ended at once, the start is what there is.
    ended = KMeans(**OPTIONS, refine=2).fit(X, callbacks=[lambda progress: progress.breath == 1])
    same(ended, KMeans(**OPTIONS).fit(X))
    stopped = KMeans(**OPTIONS, refine=2).fit(X, callbacks=[lambda progress: progress.breath == 3])
    assert model.inertia_ <= stopped.inertia_ <= ended.inertia_


def test_the_bar_and_the_lines_show_breaths(capsys: Any) -> None:
    screen = io.StringIO()
    bar = ProgressBar(file=screen, mininterval=0)
    KMeans(**OPTIONS, refine=2, verbose=1).fit(X, callbacks=[bar])
    assert "breath 2" in screen.getvalue()
    assert "Breath 2, centers that come and go: " in capsys.readouterr().out


def test_max_iter_bounds_every_run() -> None:
    told: list[Any] = []
    KMeans(**OPTIONS, refine=4, max_iter=2).fit(X, callbacks=[told.append])
    assert {progress.iteration for progress in told} == {1, 2}


def test_the_parameter_travels() -> None:
    model = KMeans(**OPTIONS, refine=2).fit(X)
    assert sklearn.base.clone(model).refine == 2
    same(pickle.loads(pickle.dumps(model)), model)
    theirs = model.to_sklearn()
    np.testing.assert_array_equal(theirs.predict(X), model.labels_)
    assert from_sklearn(theirs).refine == 0
    state = model.__getstate__()
    del state["refine"]  # as an older release leaves it
    old = KMeans.__new__(KMeans)
    old.__setstate__(state)
    assert old.refine == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "refine must be at least 0, but it is -1"),
        (1.5, "refine must be an integer, not 1.5 of type float"),
        (True, "refine must be an integer, not True of type bool"),
    ],
)
def test_what_it_must_be(value: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        KMeans(3, refine=value).fit(X)
