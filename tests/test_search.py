"""ClusterSearch: the same fits as alone, their scores, and the choice."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastclust import (
    BayesianGaussianMixture,
    BisectingKMeans,
    ClusterSearch,
    GaussianMixture,
    KMeans,
    MiniBatchKMeans,
    ProgressBar,
    kmeans_plusplus,
    simplified_silhouette_score,
)
from fastclust.fits import Clustering
from fastclust.search import HELD, OF_INERTIA

UNIFORM = np.random.default_rng(0).uniform(size=(400, 3))
X, _ = make_blobs(400, centers=[[0, 0], [8, 0], [0, 8], [8, 8]], random_state=0)
ALL = (*HELD, *OF_INERTIA)


# A range is no default that the first of them knows; k-means++ draws rows by their weights.
LEFT_OUT = ("check_parameters_default_constructible", "check_sample_weight_equivalence")


@parametrize_with_checks(
    [ClusterSearch(KMeans(n_init=1, random_state=0), (2, 3), criterion="inertia")]
)
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    if not check.func.__name__.startswith(LEFT_OUT):
        check(estimator)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans, BisectingKMeans, GaussianMixture])
def test_the_bits_of_the_estimator_alone(kind: Any, dtype: Any) -> None:
    rows = X.astype(dtype)
    search = ClusterSearch(kind(random_state=3), [4, 2, 3], n_init=2).fit(rows)
    for k, model in zip((2, 3, 4), search.estimators_, strict=True):
        alone = kind(k, random_state=3, n_init=2)
        labels = alone.fit_predict(rows)
        np.testing.assert_array_equal(search.cluster_labels(k), labels)
        name = "means_" if kind is GaussianMixture else "cluster_centers_"
        np.testing.assert_array_equal(getattr(model, name), getattr(alone, name))


def test_every_criterion_is_that_of_scikit_learn_and_finds_the_blobs() -> None:
    search = ClusterSearch(KMeans(n_init=3, random_state=0), range(2, 8), criterion=ALL).fit(X)
    found = search.results_
    labels = [search.cluster_labels(k) for k in range(2, 8)]
    for name, score in (
        ("silhouette", sklearn.metrics.silhouette_score),
        ("calinski_harabasz", sklearn.metrics.calinski_harabasz_score),
        ("davies_bouldin", sklearn.metrics.davies_bouldin_score),
        ("simplified_silhouette", simplified_silhouette_score),
    ):
        np.testing.assert_allclose(found[name], [score(X, one) for one in labels], rtol=1e-9)
    np.testing.assert_array_equal(found["n_clusters"], np.arange(2, 8))
    assert (found["fit_time"] > 0).all()
    for name in ALL:
        alone = ClusterSearch(KMeans(n_init=3, random_state=0), range(2, 8), criterion=name).fit(X)
        assert alone.best_n_clusters_ == 4, name
        np.testing.assert_array_equal(alone.results_[name], found[name])
        np.testing.assert_array_equal(alone.labels_, alone.predict(X))
        assert alone.best_estimator_ is alone.estimators_[2]
        assert alone.best_covariance_type_ is None


def test_the_gap_statistic() -> None:
    search = ClusterSearch(
        KMeans(random_state=0), range(1, 7), criterion="gap", n_references=4, random_state=5
    ).fit(X)
    rs = np.random.RandomState(5)
    low, high = X.min(axis=0), X.max(axis=0)
    logs = []
    for _ in range(4):
        drawn = low + (high - low) * rs.random_sample(X.shape)
        logs.append([np.log(KMeans(k, random_state=0).fit(drawn).inertia_) for k in range(1, 7)])
    inertias = [KMeans(k, random_state=0).fit(X).inertia_ for k in range(1, 7)]
    gaps = np.mean(logs, axis=0) - np.log(inertias)
    errors = np.std(logs, axis=0) * np.sqrt(1.25)
    np.testing.assert_allclose(search.results_["gap"], gaps, rtol=1e-9)
    np.testing.assert_allclose(search.results_["gap_error"], errors, rtol=1e-9)
    right = next(k for k in range(1, 6) if gaps[k - 1] >= gaps[k] - errors[k])
    assert search.best_n_clusters_ == right == 4
    few = ClusterSearch(
        KMeans(random_state=0), range(1, 7), criterion="gap", reference_rows=200
    ).fit(X)
    assert few.best_n_clusters_ == 4
    np.testing.assert_allclose(few.results_["gap"], gaps, atol=0.15)
    # Rows of one blob have no clusters.
    one = ClusterSearch(KMeans(random_state=0), range(1, 5), criterion="gap").fit(UNIFORM)
    assert one.best_n_clusters_ == 1


def test_the_elbow_by_kneedles_rule() -> None:
    search = ClusterSearch(KMeans(random_state=0), range(1, 10), criterion="inertia").fit(X)
    y = search.results_["inertia"]
    heights = (y - y[-1]) / (y[0] - y[-1])
    below = 1 - np.arange(9) / 8 - heights
    assert search.best_n_clusters_ == 1 + int(below.argmax())
    assert search.best_n_clusters_ in (3, 4)


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_mixtures_by_numbers_and_types(criterion: str) -> None:
    types = ["full", "tied", "diag", "spherical"]
    search = ClusterSearch(
        GaussianMixture(random_state=0), range(1, 6), criterion=criterion, covariance_types=types
    ).fit(X)
    assert len(search.results_[criterion]) == 20
    for kind, k, value in zip(
        search.results_["covariance_type"],
        search.results_["n_clusters"],
        search.results_[criterion],
        strict=True,
    ):
        theirs = sklearn.mixture.GaussianMixture(k, covariance_type=kind, random_state=0).fit(X)
        p = theirs.predict_proba(X)
        right = {
            "bic": theirs.bic(X),
            "aic": theirs.aic(X),
            "icl": theirs.bic(X) - 2 * (p * np.log(np.maximum(p, 1e-300))).sum(),
        }
        assert value == pytest.approx(right[criterion], rel=1e-3)
    best = int(np.argmin(search.results_[criterion]))
    assert search.best_index_ == best
    assert search.best_n_clusters_ == 4
    assert search.best_covariance_type_ == search.results_["covariance_type"][best]
    assert search.best_estimator_.covariance_type == search.best_covariance_type_
    np.testing.assert_array_equal(search.labels_, search.best_estimator_.predict(X))
    np.testing.assert_array_equal(search.cluster_labels(4), search.labels_)


@pytest.mark.parametrize("random_state", [3, np.random.RandomState(3)])
@pytest.mark.parametrize("kind", [GaussianMixture, BayesianGaussianMixture])
def test_types_begin_with_the_clusters_of_the_first(
    kind: Any, random_state: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    run = Clustering.run

    def counted(self: Clustering, generator: Any) -> Any:
        made.append(self.loop.n_clusters)
        return run(self, generator)

    monkeypatch.setattr(Clustering, "run", counted)
    types = ["tied", "full", "spherical", "full"]
    model = kind(random_state=random_state, n_init=2, max_iter=5, tol=1e-2)
    criterion = "bic" if kind is GaussianMixture else "simplified_silhouette"
    search = ClusterSearch(model, (2, 3), criterion=criterion, covariance_types=types).fit(X)
    assert made == [2, 2, 3, 3]
    assert search.results_["n_clusters"].tolist() == [2, 3] * 4
    assert search.results_["covariance_type"].tolist() == [t for t in types for _ in (2, 3)]
    for found in search.estimators_:
        assert "_record" not in vars(found)
        alone = clone(found).set_params(random_state=clone(model).random_state).fit(X)
        np.testing.assert_array_equal(found.means_, alone.means_)
        np.testing.assert_array_equal(found.precisions_, alone.precisions_)
        assert found.lower_bound_ == alone.lower_bound_

    def stop(progress: Any) -> bool:
        return bool(progress.iteration == 5)

    ended = ClusterSearch(model, (2, 3), criterion=criterion, covariance_types=types)
    ended.fit(X, callbacks=[stop])
    assert ended.results_["n_clusters"].tolist() == [2, 3, 2, 2, 2]


@pytest.mark.parametrize("starts", ["nested", "warm"])
def test_the_gap_with_starts_that_are_shared(starts: str) -> None:
    search = ClusterSearch(
        KMeans(random_state=0), range(2, 6), criterion="gap", n_references=3, starts=starts
    ).fit(X)
    assert search.best_n_clusters_ == 4
    own = clone(search).set_params(starts="own").fit(X)
    np.testing.assert_allclose(search.results_["gap"], own.results_["gap"], atol=0.1)


def test_nested_seeds() -> None:
    weights = np.arange(400) % 3
    for given in (None, weights):
        search = ClusterSearch(
            KMeans(random_state=0), range(2, 6), criterion="inertia", starts="nested"
        ).fit(X, sample_weight=given)
        seeds, _ = kmeans_plusplus(X, 5, sample_weight=given, random_state=0)
        for k, value in zip(range(2, 6), search.results_["inertia"], strict=True):
            alone = KMeans(k, init=seeds[:k], n_init=1).fit(X, sample_weight=given)
            assert value == alone.inertia_


@pytest.mark.parametrize("weights", [None, np.arange(400) % 3 + 0.5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_warm_starts_split_the_centers_of_the_largest_error(weights: Any, dtype: Any) -> None:
    rows, sizes = X.astype(dtype), [2, 3, 6, 7]
    model = KMeans(random_state=3)
    search = ClusterSearch(model, sizes, criterion="inertia", starts="warm")
    search.fit(rows, sample_weight=weights)
    first, *others = search.estimators_
    alone = KMeans(2, random_state=3).fit(rows, sample_weight=weights)
    np.testing.assert_array_equal(first.cluster_centers_, alone.cluster_centers_)
    fits = [first, *others]
    for before, after in zip(fits, others, strict=False):
        k, start = before.n_clusters, after.init
        squares = np.square(rows - before.cluster_centers_[before.labels_]).sum(axis=1)
        errors = np.bincount(before.labels_, squares * (1 if weights is None else weights))
        np.testing.assert_array_equal(start[:k], before.cluster_centers_)
        assert start.dtype == dtype
        far = np.linalg.norm(start[k:, None] - start[None, :k], axis=-1)
        assert (far.min(axis=1) < 0.05).all()  # beside a center
        assert (far.min(axis=1) > 0).all()
        assert far[0].argmin() == errors.argmax()
        assert len(np.unique(start, axis=0)) == after.n_clusters
        again = KMeans(after.n_clusters, init=start, n_init=1, random_state=3)
        np.testing.assert_array_equal(after.labels_, again.fit(rows, sample_weight=weights).labels_)
    assert (np.diff(search.results_["inertia"]) < 0).all()


def test_estimators_of_scikit_learn_are_searched_too() -> None:
    search = ClusterSearch(sklearn.cluster.AgglomerativeClustering(), range(2, 6)).fit(X)
    assert search.best_n_clusters_ == 4
    theirs = sklearn.cluster.AgglomerativeClustering(4).fit(X).labels_
    np.testing.assert_array_equal(search.labels_, theirs)


def test_sparse_rows_weights_and_rows_that_are_read(tmp_path: Any) -> None:
    weights = np.arange(400) % 3
    search = ClusterSearch(KMeans(random_state=0), range(2, 5), criterion="inertia")
    search.fit(X, sample_weight=weights)
    right = [KMeans(k, random_state=0).fit(X, sample_weight=weights).inertia_ for k in (2, 3, 4)]
    np.testing.assert_array_equal(search.results_["inertia"], right)
    plain = clone(search).set_params(criterion=("gap",), n_references=2).fit(X)

    def blocks() -> Any:
        yield from (X[:150], X[150:])

    for starts in ("own", "nested", "warm"):
        plain.set_params(starts=starts).fit(X)
        for rows in (scipy.sparse.csr_array(X), blocks):
            found = clone(plain).fit(rows)
            np.testing.assert_allclose(found.results_["gap"], plain.results_["gap"], rtol=1e-9)
            np.testing.assert_array_equal(found.predict(rows), plain.predict(X))


def test_a_pipeline_a_clone_a_pickle_and_a_frame() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b"])
    search = ClusterSearch(KMeans(random_state=0), range(2, 6), criterion=["davies_bouldin"])
    pipeline = make_pipeline(StandardScaler(), clone(search)).fit(frame)
    assert pipeline[-1].best_n_clusters_ == 4
    assert len(pipeline.predict(frame)) == 400
    search.fit(frame)
    assert list(search.feature_names_in_) == ["a", "b"]
    table = search.results_frame()
    assert list(table["n_clusters"]) == [2, 3, 4, 5]
    assert {"fit_time", "inertia", "davies_bouldin"} <= set(table.columns)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(frame), search.labels_)
    np.testing.assert_array_equal(again.cluster_labels(3), search.cluster_labels(3))


def test_callbacks_are_told_of_every_fit_and_end_the_search() -> None:
    told: list[Any] = []
    search = ClusterSearch(KMeans(random_state=0), range(2, 7), criterion="davies_bouldin")
    search.fit(X, callbacks=[told.append])
    assert [one.iteration for one in told] == [1, 2, 3, 4, 5]
    assert {one.max_iter for one in told} == {5}
    np.testing.assert_array_equal([one.objective for one in told], search.results_["inertia"])
    search.fit(X, callbacks=[lambda progress: progress.iteration == 2, ProgressBar(disable=True)])
    assert search.results_["n_clusters"].tolist() == [2, 3]
    assert search.best_n_clusters_ == 3


GM, KM = GaussianMixture(), KMeans()


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (ClusterSearch(KM, [2, 500], criterion="inertia"), "n_clusters must be from 1 to 400 and"),
        (ClusterSearch(KM, [1, 2]), "n_clusters must be from 2 to 399 for criterion='silhouette'"),
        (ClusterSearch(KM, [0, 2]), "n_clusters must be at least 1, but it is 0"),
        (ClusterSearch(KM, [2, 2.5]), "n_clusters must be an integer, not 2.5"),
        (ClusterSearch(KM, []), "n_clusters must be one number or more, but it is empty"),
        (ClusterSearch(KM, "5"), "n_clusters must be a range or list of integers, not '5'"),
        (ClusterSearch(sklearn.cluster.DBSCAN()), "must cluster rows and have a parameter n_clus"),
        (ClusterSearch(KMeans), "estimator must cluster rows and have a parameter n_clusters"),
        (
            ClusterSearch(KM, criterion="bic"),
            "'bic' must have a mixture, but estimator is a K",
        ),
        (ClusterSearch(GM, criterion="gap"), "'gap' must have an estimator with an inertia_, but"),
        (ClusterSearch(KM, criterion="elbow"), "criterion must be one of 'silhouette', "),
        (ClusterSearch(KM, criterion=()), "criterion must be a name or several, but it is empty"),
        (ClusterSearch(KM, covariance_types=["full"]), "covariance_types must be None for an est"),
        (ClusterSearch(GM, covariance_types="full"), "covariance_types must be a list of names"),
        (ClusterSearch(GM, covariance_types=["round"]), "covariance_types must be one of 'full'"),
        (ClusterSearch(KM, n_init=0), "n_init must be at least 1, but it is 0"),
        (
            ClusterSearch(GM, starts="warm"),
            "starts must be 'own' for an estimator without init",
        ),
        (ClusterSearch(KM, starts="cold"), "starts must be one of 'own', 'nested', 'warm', bu"),
        (
            ClusterSearch(KM, criterion="gap", reference_rows=7),
            "reference_rows must be at least the largest n_clusters, 30, but it is 7",
        ),
    ],
)
def test_what_makes_no_sense_is_said_in_a_sentence(search: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        search.fit(X)
    assert not hasattr(search, "results_")


def test_more_that_makes_no_sense() -> None:
    search = ClusterSearch(KM, range(2, 5), criterion="gap")
    with pytest.raises(ValueError, match="sample_weight must be None for criterion='gap'"):
        search.fit(X, sample_weight=np.ones(400))
    with pytest.raises(TypeError, match="X must be an array, a memory map"):
        ClusterSearch(KM, range(2, 5)).fit(lambda: iter([X]))
    fitted = ClusterSearch(KM, range(2, 5)).fit(X)
    with pytest.raises(ValueError, match=r"n_clusters must be one of \[2, 3, 4\], but it is 9"):
        fitted.cluster_labels(9)
