"""Trees of clusters against scikit-learn's and against merges one by one in NumPy."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import numba
import numpy as np
import pytest
import scipy.cluster.hierarchy
import sklearn.cluster
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import kneighbors_graph
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastclust
from fastclust import AgglomerativeClustering, linkage_tree, plot, ward_tree
from fastclust.kernels import spanning
from fastclust.kernels.linkage import tree_of
from fastclust.kernels.machine.parallel import team
from fastclust.kernels.reference import merges_one_by_one

Array = np.ndarray[Any, Any]
LINKAGES = ("ward", "complete", "average", "single")
each_linkage = pytest.mark.parametrize("linkage", LINKAGES)


def fits(X: Array, **parameters: Any) -> tuple[Any, Any]:
    """Ours and scikit-learn's."""
    kinds = (AgglomerativeClustering, sklearn.cluster.AgglomerativeClustering)
    ours, theirs = (kind(compute_distances=True, **parameters).fit(X) for kind in kinds)
    return ours, theirs


def assert_same(ours: Any, theirs: Any, rtol: float = 1e-9) -> None:
    np.testing.assert_array_equal(ours.children_, theirs.children_)
    np.testing.assert_allclose(ours.distances_, theirs.distances_, rtol=rtol, atol=1e-12)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert (ours.n_leaves_, ours.n_clusters_) == (theirs.n_leaves_, theirs.n_clusters_)
    assert ours.n_connected_components_ == theirs.n_connected_components_


@each_linkage
@pytest.mark.parametrize("seed", range(30))
def test_random_problems_are_scikit_learns(linkage: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    n_samples, n_features = int(random.integers(2, 500)), int(random.integers(1, 10))
    X = random.normal(size=(n_samples, n_features)) * random.uniform(0.1, 5, n_features)
    X[: n_samples // 2] += 4 * (seed % 3)
    n_clusters = int(random.integers(1, min(9, n_samples) + 1))
    assert_same(*fits(X, linkage=linkage, n_clusters=n_clusters))


@parametrize_with_checks(
    [AgglomerativeClustering(3), AgglomerativeClustering(3, linkage="complete")]
)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@each_linkage
def test_merges_of_the_reference(linkage: str) -> None:
    X = np.random.default_rng(0).normal(size=(30, 3))
    children, heights = merges_one_by_one(X, linkage)
    model = AgglomerativeClustering(linkage=linkage, compute_distances=True).fit(X)
    np.testing.assert_array_equal(np.sort(model.children_, axis=1), children)
    np.testing.assert_allclose(model.distances_, heights, rtol=1e-9)


@each_linkage
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_from_zero_and_in_float32(linkage: str, offset: float, dtype: str) -> None:
    X = (np.random.default_rng(1).normal(size=(300, 5)) * 100 + offset).astype(dtype)
    assert_same(*fits(X, linkage=linkage, n_clusters=5), rtol=1e-7)


@each_linkage
@pytest.mark.parametrize("scale", [1e-170, 1e170])
def test_squares_beyond_the_range(linkage: str, scale: float) -> None:
    X = np.random.default_rng(2).normal(size=(70, 3))
    near = AgglomerativeClustering(3, linkage=linkage, compute_distances=True).fit(X)
    far = clone(near).fit(X * scale)
    np.testing.assert_array_equal(far.children_, near.children_)
    np.testing.assert_allclose(far.distances_ / scale, near.distances_)


@each_linkage
def test_equal_rows(linkage: str) -> None:
    places = np.random.default_rng(3).normal(size=(12, 2))
    X = np.repeat(places, 50, axis=0)
    ours, theirs = fits(X, linkage=linkage, n_clusters=6)
    assert adjusted_rand_score(ours.labels_, theirs.labels_) == 1.0
    np.testing.assert_allclose(ours.distances_, theirs.distances_, rtol=1e-9, atol=1e-12)
    assert np.all(ours.distances_[: len(X) - 12] == 0.0)
    same = AgglomerativeClustering(2, linkage=linkage).fit(np.ones((300, 2)))
    assert len(set(same.labels_)) == 2


@each_linkage
def test_a_grid_has_a_tree_of_its_least_distances(linkage: str) -> None:
    X = np.stack(np.meshgrid(np.arange(20.0), np.arange(15.0)), axis=-1).reshape(-1, 2)
    model = AgglomerativeClustering(4, linkage=linkage, compute_distances=True).fit(X)
    assert np.all(np.diff(model.distances_) >= -1e-12)
    assert np.bincount(model.labels_).min() > 0
    assert scipy.cluster.hierarchy.is_valid_linkage(model.to_scipy_linkage())
    if linkage == "single":
        np.testing.assert_array_equal(model.distances_, 1.0)


@each_linkage
def test_one_column_whose_rows_merge_one_after_the_other(linkage: str) -> None:
    X = 1.3 ** np.arange(120.0)[:, None]
    assert_same(*fits(X, linkage=linkage, n_clusters=3))
    assert_same(*fits(X[:2], linkage=linkage, n_clusters=1))


@each_linkage
def test_the_same_bits_for_any_number_of_threads(linkage: str) -> None:
    X = np.random.default_rng(4).normal(size=(1_500, 3))
    found = []
    before = numba.get_num_threads()
    for n_threads in (1, before):
        numba.set_num_threads(n_threads)
        found.append(AgglomerativeClustering(linkage=linkage, compute_distances=True).fit(X))
    numba.set_num_threads(before)
    for name in ("children_", "distances_", "labels_"):
        np.testing.assert_array_equal(*(getattr(model, name) for model in found))


def test_both_ways_to_the_shortest_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(5).normal(size=(600, 2))
    found = []
    for features in (0, 6):
        monkeypatch.setattr(spanning, "MOST_FEATURES", features)
        with team() as threads:
            found.append(tree_of(spanning.spanning_merges(X, threads), sort=False))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@each_linkage
def test_thresholds(linkage: str) -> None:
    X = np.random.default_rng(6).normal(size=(200, 2))
    assert_same(*fits(X, linkage=linkage, n_clusters=None, distance_threshold=0.7))


def test_functions_return_what_scikit_learns_do() -> None:
    X = np.random.default_rng(7).normal(size=(90, 3))
    for ours, theirs in (
        (ward_tree(X, return_distance=True), sklearn.cluster.ward_tree(X, return_distance=True)),
        *(
            (
                linkage_tree(X, linkage=name, return_distance=True),
                sklearn.cluster.linkage_tree(X, linkage=name, return_distance=True),
            )
            for name in LINKAGES[1:]
        ),
    ):
        np.testing.assert_array_equal(ours[0], theirs[0])
        assert ours[1:4] == theirs[1:4]
        np.testing.assert_allclose(ours[4], theirs[4])
    assert len(ward_tree(X)) == 4
    assert len(ward_tree(X[:, 0])[0]) == 89
    with pytest.warns(UserWarning, match="Partial build"):
        ward_tree(X, n_clusters=3)
    with pytest.raises(ValueError, match="minimum of 2"):
        ward_tree(X[:1])
    with pytest.raises(ValueError, match="Unknown linkage"):
        linkage_tree(X, linkage="none")


@pytest.mark.parametrize(
    "parameters",
    [
        {"connectivity": lambda X: kneighbors_graph(X, 8, include_self=False)},
        {"metric": "manhattan", "linkage": "average"},
        {"metric": "cosine", "linkage": "single"},
        {"metric": lambda X: np.abs(X[:, None] - X[None]).sum(axis=2), "linkage": "complete"},
    ],
)
def test_what_is_handed_on(parameters: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    X = np.random.default_rng(8).normal(size=(120, 3))
    with caplog.at_level(logging.INFO, logger="fastclust"):
        ours, theirs = fits(X, n_clusters=4, **parameters)
    assert_same(ours, theirs)
    assert "scikit-learn's own code builds this tree" in caplog.text


def test_bad_input_leaves_the_fit_that_was_there() -> None:
    X = np.random.default_rng(9).normal(size=(30, 2))
    model = AgglomerativeClustering(3).fit(X)
    labels = model.labels_
    for parameters, message in (
        ({"n_clusters": None}, "Exactly one of n_clusters"),
        ({"n_clusters": 3, "distance_threshold": 1.0}, "Exactly one of n_clusters"),
        (
            {"n_clusters": None, "distance_threshold": 1.0, "compute_full_tree": False},
            "compute_full_tree must be True",
        ),
        ({"n_clusters": 0}, "n_clusters"),
        ({"n_clusters": 31}, "more clusters than samples"),
        ({"linkage": "none"}, "linkage"),
        ({"metric": "manhattan"}, "Ward can only work with euclidean"),
    ):
        broken = clone(model).set_params(**parameters)
        with pytest.raises(ValueError, match=message):
            broken.fit(X)
        assert not hasattr(broken, "labels_")
    for rows, message in (
        (np.full((5, 2), np.nan), "contains NaN"),
        (X[:1], "minimum of 2"),
        (X[:, :0], r"0 feature\(s\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(rows)
        assert model.labels_ is labels


def test_clones_pickles_and_scikit_learns_class() -> None:
    X = np.random.default_rng(10).normal(size=(50, 2))
    model = AgglomerativeClustering(3, linkage="average", compute_distances=True).fit(X)
    assert clone(model).get_params() == model.get_params()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.labels_, model.labels_)
    theirs = model.to_sklearn()
    assert type(theirs) is sklearn.cluster.AgglomerativeClustering
    np.testing.assert_array_equal(theirs.distances_, model.distances_)
    back = fastclust.from_sklearn(theirs)
    assert type(back) is AgglomerativeClustering
    np.testing.assert_array_equal(back.children_, model.children_)
    np.testing.assert_array_equal(model.fit_predict(X), model.labels_)


def test_trees_for_scipy_and_their_picture() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    X = np.random.default_rng(11).normal(size=(80, 2))
    for linkage in LINKAGES:
        model = AgglomerativeClustering(4, linkage=linkage, compute_distances=True).fit(X)
        table = model.to_scipy_linkage()
        wanted = scipy.cluster.hierarchy.linkage(X, linkage)
        np.testing.assert_allclose(table[:, 2:], wanted[:, 2:])
        cut = scipy.cluster.hierarchy.fcluster(table, 4, "maxclust")
        assert adjusted_rand_score(cut, model.labels_) == 1.0
    figure = pytest.importorskip("matplotlib.figure")
    ax = figure.Figure().subplots()
    assert plot.dendrogram(model, max_leaves=12, ax=ax) is ax
    assert len(ax.get_xticklabels()) == 12
    with pytest.raises(ValueError, match="compute_distances=True"):
        plot.dendrogram(AgglomerativeClustering(4).fit(X), ax=ax)
    with pytest.raises(TypeError, match="must be an AgglomerativeClustering"):
        plot.dendrogram(fastclust.KMeans(2), ax=ax)
    part = AgglomerativeClustering(
        4, connectivity=kneighbors_graph(X, 20), compute_full_tree=False, compute_distances=True
    ).fit(X)
    with pytest.raises(ValueError, match="not whole"):
        part.to_scipy_linkage()
