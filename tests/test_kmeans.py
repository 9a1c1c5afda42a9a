"""KMeans beside scikit-learn's: same draws, same labels, same attributes."""

from __future__ import annotations

import io
import pickle
import re
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.cluster
from conftest import make_problem
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array

from fastclust import KMeans, k_means, kmeans_plusplus
from fastclust.kernels import auto, elkan, lloyd, reference
from fastclust.kernels.algorithms import ALGORITHMS
from fastclust.starts import draw_rows

pytestmark = pytest.mark.filterwarnings("ignore:Number of distinct clusters")


def both(X: Any, k: int, weights: Any = None, **parameters: Any) -> tuple[Any, Any]:
    """The same fit by scikit-learn and by fastclust."""
    theirs = sklearn.cluster.KMeans(k, **parameters).fit(X, sample_weight=weights)
    return theirs, KMeans(k, **parameters).fit(X, sample_weight=weights)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("init", ["k-means++", "random", "array", "callable"])
def test_same_fit_as_scikit_learn(shape: Any, init: str, weighted: bool) -> None:
    n, d, k = shape
    X, weights, start = make_problem(shape, np.float64, seed=2)
    methods: dict[str, Any] = {"array": start, "callable": lambda X, k, random_state: X[:k] * 1.01}
    theirs, ours = both(
        X,
        k,
        weights if weighted else None,
        init=methods.get(init, init),
        n_init=1,
        random_state=4,
    )
    assert adjusted_rand_score(theirs.labels_, ours.labels_) == 1
    assert_allclose(theirs.inertia_, ours.inertia_, rtol=1e-9, atol=1e-18 * n * d)
    if init == "k-means++" and 2 * k > n:
        return  # of mutual neighbours, rounding decides which is the first center
    assert_array_equal(theirs.labels_, ours.labels_)
    assert_allclose(theirs.cluster_centers_, ours.cluster_centers_, rtol=1e-9, atol=1e-9)
    assert theirs.n_iter_ == ours.n_iter_


@pytest.mark.parametrize("seed", range(5))
def test_float32_agrees_where_scikit_learn_agrees_with_itself(seed: int) -> None:
    X, _ = make_blobs(1500, n_features=6, centers=12, cluster_std=1.5, random_state=seed)
    single = X.astype(np.float32)
    parameters: dict[str, Any] = {"n_init": 1, "random_state": seed}
    wide = sklearn.cluster.KMeans(12, **parameters).fit(single.astype(float))
    theirs, ours = both(single, 12, **parameters)
    if adjusted_rand_score(wide.labels_, theirs.labels_) == 1:
        assert adjusted_rand_score(theirs.labels_, ours.labels_) == 1
        assert_allclose(ours.inertia_, wide.inertia_, rtol=1e-5)
    assert ours.cluster_centers_.dtype == np.float32
    assert ours.transform(single).dtype == np.float32


@pytest.mark.parametrize("data", [load_iris, load_digits])
@pytest.mark.parametrize("k", [2, 3, 10])
def test_bundled_data(data: Any, k: int) -> None:
    X = data().data + np.random.default_rng(0).normal(scale=1e-6, size=data().data.shape)
    theirs, ours = both(X, k, n_init=3, random_state=0)
    assert_array_equal(theirs.labels_, ours.labels_)
    assert_allclose(theirs.inertia_, ours.inertia_, rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_labels_are_those_of_the_best_start_whichever_it_was(seed: int) -> None:
    X = np.random.default_rng(seed).normal(size=(500, 2))
    model = KMeans(12, init="random", n_init=4, random_state=seed).fit(X)
    assert_array_equal(model.labels_, model.predict(X))


def test_weights_are_repetitions() -> None:
    X, weights, start = make_problem((300, 5, 6), np.float64)
    counts = weights.astype(int) - 1  # some rows are not there at all
    weights = counts.astype(float)
    ours = KMeans(6, init=start, n_init=1).fit(X, sample_weight=weights)
    repeated = KMeans(6, init=start, n_init=1).fit(np.repeat(X, counts, axis=0))
    assert_allclose(ours.cluster_centers_, repeated.cluster_centers_, rtol=1e-9)
    assert_allclose(ours.inertia_, repeated.inertia_, rtol=1e-9)


def test_centers_are_the_means_of_their_rows(dtype: Any) -> None:
    """At strict convergence, to the last bits: nothing is left of where rows had been."""
    X, _, start = make_problem((800, 7, 9), dtype, seed=7)
    ours = KMeans(9, init=start, n_init=1, tol=0, max_iter=1000).fit(X)
    total, weight = reference.sums(X, np.ones(len(X)), ours.labels_, 9)
    eps = np.finfo(dtype).eps
    assert_allclose(ours.cluster_centers_, total / weight[:, None], rtol=0, atol=20 * eps)


@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_far_from_the_origin(offset: float, dtype: Any) -> None:
    """Labels do not depend on where the origin is, as far as the data themselves do not."""
    X, _, _ = make_problem((600, 4, 5), np.float64, seed=3)
    moved = (X + offset).astype(dtype)
    start = moved[:5]
    here = KMeans(5, init=start.astype(float) - offset, n_init=1).fit(moved.astype(float) - offset)
    there = KMeans(5, init=start, n_init=1).fit(moved)
    assert adjusted_rand_score(here.labels_, there.labels_) > 0.99
    assert_allclose(here.inertia_, there.inertia_, rtol=1e-3)


def test_empty_clusters_are_relocated_as_in_scikit_learn() -> None:
    X = np.array([[0.0], [0.1], [0.2], [5.0], [9.0], [20.0]])
    start = np.array([[0.1], [100.0], [-100.0]])
    theirs, ours = both(X, 3, init=start, n_init=1)
    assert_array_equal(theirs.labels_, ours.labels_)
    assert_allclose(theirs.cluster_centers_, ours.cluster_centers_)
    weights = np.array([1.0, 2, 3, 4, 0.5, 1])
    theirs, ours = both(X, 3, weights, init=start, n_init=1)
    assert_array_equal(theirs.labels_, ours.labels_)
    assert_allclose(theirs.cluster_centers_, ours.cluster_centers_)


def test_k_equals_n_and_k_equals_one(dtype: Any) -> None:
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(dtype)
    assert KMeans(40, random_state=0).fit(X).inertia_ == 0
    one = KMeans(1, random_state=0).fit(X)
    assert_allclose(one.cluster_centers_[0], X.mean(axis=0), atol=1e-6)
    assert not one.labels_.any()


def test_ties_go_to_the_lowest_label() -> None:
    ours = KMeans(2, init=np.array([[-1.0], [1.0]]), n_init=1).fit([[-1.0], [1.0]])
    assert_array_equal(ours.predict([[0.0], [1e-9]]), [0, 1])
    duplicates = KMeans(3, init=np.zeros((3, 1)), n_init=1).fit(np.zeros((5, 1)))
    assert not duplicates.labels_.any()


def test_predict_score_transform_agree_with_scikit_learn(shape: Any) -> None:
    n, d, k = shape
    X, weights, _ = make_problem(shape, np.float64, seed=9)
    theirs, ours = both(X, k, n_init=1, random_state=0)
    other = make_problem((max(n, 100), d, 1), np.float64, seed=10).X
    assert_array_equal(ours.predict(X), ours.labels_)
    assert_array_equal(theirs.predict(other), ours.predict(other))
    assert_allclose(theirs.transform(other), ours.transform(other), rtol=1e-6, atol=1e-6)
    assert_allclose(theirs.score(other), ours.score(other), rtol=1e-9)
    assert_allclose(
        theirs.score(X, sample_weight=weights), ours.score(X, sample_weight=weights), atol=1e-8
    )
    assert_array_equal(KMeans(k, random_state=0).fit_predict(X), ours.labels_)
    assert_allclose(KMeans(k, random_state=0).fit_transform(X), ours.transform(X))


@pytest.mark.parametrize("layout", ["fortran", "strided", "reversed", "big-endian", "integers"])
def test_any_layout_gives_the_same_fit(layout: str) -> None:
    X = np.random.default_rng(0).integers(0, 50, size=(200, 6)).astype(float)
    expected = KMeans(4, random_state=0).fit(X)
    other = {
        "fortran": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
        "reversed": X[::-1].copy()[::-1],
        "big-endian": X.astype(">f8"),
        "integers": X.astype(np.int32),
    }[layout]
    found = KMeans(4, random_state=0).fit(other)
    assert_array_equal(found.labels_, expected.labels_)
    assert_array_equal(found.cluster_centers_, expected.cluster_centers_)


@pytest.mark.parametrize("copy_x", [True, False])
def test_data_are_never_written_to(copy_x: bool, tmp_path: Any) -> None:
    X = np.random.default_rng(0).normal(size=(500, 4)) + 10
    expected = KMeans(3, random_state=0, copy_x=copy_x).fit(X).cluster_centers_
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    found = KMeans(3, random_state=0, copy_x=copy_x).fit(mapped).cluster_centers_
    assert_array_equal(found, expected)
    assert_array_equal(X, mapped)


def lines(estimator: Any, X: Any) -> list[str]:
    """What a fit prints, numbers taken out."""
    out = io.StringIO()
    with redirect_stdout(out):
        estimator.fit(X)
    return [re.sub(r"\d+\.?[\de-]*", "#", line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("tol", [0, 1e-2])
def test_verbose_lines_are_scikit_learns(tol: float) -> None:
    X, _ = make_blobs(300, centers=4, random_state=1, cluster_std=3)
    parameters: dict[str, Any] = {"n_init": 2, "random_state": 0, "verbose": 1, "tol": tol}
    theirs = lines(sklearn.cluster.KMeans(4, **parameters), X)
    ours = lines(KMeans(4, **parameters), X)
    assert ours == theirs


def test_max_iter_and_tol() -> None:
    X, _ = make_blobs(2000, centers=8, random_state=1, cluster_std=4)
    for max_iter in (1, 2, 3):
        theirs, ours = both(X, 8, max_iter=max_iter, n_init=1, random_state=0)
        assert ours.n_iter_ == theirs.n_iter_ == max_iter
        assert_allclose(theirs.cluster_centers_, ours.cluster_centers_)
        assert_array_equal(theirs.labels_, ours.labels_)
    assert ours.n_distances_ == 4 * 2000 * 8  # as many as there are: the rows are cheap


@pytest.mark.filterwarnings("ignore:algorithm='[a-z]*' doesn't make sense")
@pytest.mark.parametrize("variant", ["plain", "weighted", "duplicates", "offset", "apart"])
@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"lloyd", "exponion"}))
def test_algorithms_give_the_bits_of_lloyd(
    algorithm: str, variant: str, shape: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lloyd, "SMALL_WORK", 0)  # no problem is too small for bounds
    monkeypatch.setattr(auto, "WORTH_TRYING", 0)
    monkeypatch.setattr(elkan, "DEAR", 0)
    offset = 1e4 if variant == "offset" else 0.0
    X, weights, start = make_problem(
        shape, dtype, seed=5, offset=offset, duplicates=variant == "duplicates"
    )
    if variant == "apart":
        X[: len(start)] = start = start * 10
    chosen = weights if variant == "weighted" else None
    parameters: dict[str, Any] = {"init": start, "n_init": 1, "tol": 0, "max_iter": 50}
    expected = KMeans(shape[2], algorithm="lloyd", **parameters).fit(X, sample_weight=chosen)
    found = KMeans(shape[2], algorithm=algorithm, **parameters).fit(X, sample_weight=chosen)
    assert_array_equal(found.labels_, expected.labels_)
    assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    assert found.inertia_ == expected.inertia_
    assert found.n_iter_ == expected.n_iter_


def test_functions() -> None:
    X, _ = make_blobs(400, centers=6, random_state=0)
    theirs = sklearn.cluster.k_means(X, 6, random_state=1, return_n_iter=True)
    ours = k_means(X, 6, random_state=1, return_n_iter=True)
    assert_allclose(theirs[0], ours[0])
    assert_array_equal(theirs[1], ours[1])
    assert theirs[3] == ours[3]
    assert len(k_means(X, 6, random_state=1)) == 3
    for weights in (None, np.arange(400.0)):
        for n_local_trials in (None, 1, 4):
            parameters: dict[str, Any] = {
                "random_state": 2,
                "sample_weight": weights,
                "n_local_trials": n_local_trials,
            }
            centers, indices = kmeans_plusplus(X, 6, **parameters)
            expected = sklearn.cluster.kmeans_plusplus(X, 6, **parameters)
            assert_array_equal(indices, expected[1])
            assert_array_equal(centers, expected[0])


def test_random_state_instance_is_advanced_as_by_scikit_learn() -> None:
    X, _ = make_blobs(300, centers=4, random_state=0)
    theirs, ours = np.random.RandomState(0), np.random.RandomState(0)
    for init in ("k-means++", "random"):
        sklearn.cluster.KMeans(4, init=init, n_init=3, random_state=theirs).fit(X)
        KMeans(4, init=init, n_init=3, random_state=ours).fit(X)
        assert theirs.uniform() == ours.uniform()


def test_data_frames_pickles_clones_and_pipelines() -> None:
    frame = pd.DataFrame(load_iris().data, columns=list("abcd"))
    ours = KMeans(3, random_state=0).set_output(transform="pandas").fit(frame)
    assert_array_equal(ours.feature_names_in_, list("abcd"))
    assert list(ours.transform(frame).columns) == ["kmeans0", "kmeans1", "kmeans2"]
    copy = pickle.loads(pickle.dumps(ours))
    assert_array_equal(copy.predict(frame), ours.labels_)
    assert clone(ours).get_params() == ours.get_params()
    piped = make_pipeline(StandardScaler(), KMeans(3, random_state=0)).fit(frame)
    assert piped.predict(frame).shape == (150,)


def test_frames_of_floats_are_checked_as_all_others(dtype: Any) -> None:
    """They take a way of their own past scikit-learn's conversion; nothing else differs."""
    X = load_iris().data.astype(dtype)
    frame = pd.DataFrame(X, columns=list("abcd"))
    ours, theirs = (
        kind(3, n_init=1, random_state=0).fit(frame) for kind in (KMeans, sklearn.cluster.KMeans)
    )
    assert ours.cluster_centers_.dtype == dtype
    for rows in (frame, frame.copy(), frame[::2], frame[["a", "b", "c", "d"]]):
        assert_array_equal(ours.predict(rows), theirs.predict(rows))
    numbered = pd.DataFrame(X)
    assert_array_equal(KMeans(3, random_state=0).fit(numbered).predict(numbered), ours.labels_)
    for wrong in (
        frame[["b", "a", "c", "d"]],
        frame[["a", "b", "c"]],
        frame.rename(columns={"a": "x"}),
        frame.assign(a=np.nan),
        frame.assign(a=np.inf),
        frame[:0],
    ):
        with pytest.raises(ValueError, match=r".") as expected:
            theirs.predict(wrong)
        with pytest.raises(ValueError, match=r".") as found:
            ours.predict(wrong)
        assert str(found.value) == str(expected.value)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        KMeans(3).fit(frame.assign(a=np.nan))


def test_arrays_of_numbers_are_converted_as_by_scikit_learn(dtype: Any) -> None:
    X = np.ascontiguousarray(load_iris().data.astype(dtype))
    backwards, byteorder = X[::-1].copy(), X.dtype.newbyteorder()
    for rows in (
        np.asfortranarray(X),
        backwards[::-1],
        np.repeat(X, 2, axis=1)[:, ::2],
        X.astype(byteorder),
        X.astype(np.float16),
        np.asfortranarray(X.astype(np.int32)),
        X.astype(np.uint8),
        X > 1,
        X.astype(np.longdouble),
        X.astype(object),
    ):
        plain = check_array(rows, dtype=[np.float64, np.float32], order="C")
        expected, found = (KMeans(3, random_state=0).fit(each) for each in (plain, rows))
        assert found.cluster_centers_.dtype == plain.dtype
        assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
        assert found.n_features_in_ == 4
        assert_array_equal(expected.predict(rows), expected.predict(plain))
        assert_array_equal(expected.transform(rows), expected.transform(plain))


def test_parameters_are_scikit_learns() -> None:
    # All algorithms give the same bits, so that the fastest can be the default.
    expected = sklearn.cluster.KMeans().get_params() | {"algorithm": "auto", "refine": 0}
    assert KMeans().get_params() == expected


def test_n_init_keeps_the_best() -> None:
    X, _ = make_blobs(600, centers=9, random_state=3, cluster_std=1.0)
    for seed in range(3):
        theirs, ours = both(X, 9, n_init=6, random_state=seed)
        assert_allclose(theirs.inertia_, ours.inertia_)
        assert_array_equal(theirs.labels_, ours.labels_)


def test_warnings_are_scikit_learns() -> None:
    X = np.zeros((10, 2))
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(1\) .* n_clusters \(3\)"):
        KMeans(3, random_state=0).fit(X)
    with pytest.warns(RuntimeWarning, match="only one init in KMeans instead of n_init=5"):
        KMeans(2, init=np.eye(2), n_init=5).fit(np.random.default_rng(0).normal(size=(10, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_samples", [1, 7, 1_000, 65_537])
def test_rows_are_drawn_as_by_choice(n_samples: int, dtype: Any) -> None:
    """Block by block, but the very draws of NumPy, also where some have to be made again."""
    rng = np.random.default_rng(n_samples)
    some = rng.random(n_samples).astype(dtype)
    some[rng.random(n_samples) < 0.3] = 0
    some[0] = 1000.0  # drawn again and again
    for weights in (None, some):
        own = np.ones(n_samples, dtype) if weights is None else weights
        n_drawn = min(40, np.count_nonzero(own))
        ours, theirs = np.random.RandomState(0), np.random.RandomState(0)
        drawn = draw_rows(ours, n_samples, n_drawn, weights, dtype=dtype)
        chosen = theirs.choice(n_samples, n_drawn, replace=False, p=own / own.sum())
        assert np.array_equal(drawn, chosen)
        assert ours.random_sample() == theirs.random_sample()
    with pytest.raises(ValueError, match=f"at least {n_samples + 1} rows"):
        draw_rows(np.random.RandomState(0), n_samples, n_samples + 1)
