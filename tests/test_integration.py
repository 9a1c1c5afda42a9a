"""The estimators as members of scikit-learn's family: its checks, and its tools around them."""

from __future__ import annotations

import pickle
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastclust
from fastclust import KMeans

ESTIMATORS = {
    "KMeans": {"n_clusters": 3},
    "MiniBatchKMeans": {"n_clusters": 3, "batch_size": 64},
    "BisectingKMeans": {"n_clusters": 3},
    "GaussianMixture": {"n_components": 2},
    "BayesianGaussianMixture": {"n_components": 2},
}
MODELS = [
    getattr(fastclust, name)(**parameters, random_state=0)
    for name, parameters in ESTIMATORS.items()
    if hasattr(fastclust, name)
]
CLUSTERERS = [model for model in MODELS if hasattr(model, "fit_transform")]
X = np.random.RandomState(0).normal(size=(120, 4)) + 6 * (np.arange(120) % 3)[:, None]
Y = np.arange(120) % 3


def name_of(model: Any) -> str:
    """Name of the class."""
    return type(model).__name__


each_model = pytest.mark.parametrize("model", MODELS, ids=name_of)
each_clusterer = pytest.mark.parametrize("model", CLUSTERERS, ids=name_of)


def expected_failures(_: Any) -> dict[str, str]:
    """What scikit-learn expects of its own classes, too: k-means draws rows by their places."""
    reason = (
        "draws depend on number and order of rows, so weights are not repetitions of rows there"
    )
    check = "check_sample_weight_equivalence_on"
    return {f"{check}_dense_data": reason, f"{check}_sparse_data": reason}


@parametrize_with_checks(MODELS, expected_failed_checks=expected_failures)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@each_model
def test_weights_are_repetitions_where_nothing_is_drawn(model: Any) -> None:
    # What the expected failures above leave out, from the same start.
    if not hasattr(model, "n_clusters") or "init" not in model.get_params():
        pytest.skip("no draws to be kept out")
    weights = np.random.RandomState(1).randint(1, 4, size=120)
    start = (
        X[:3] if name_of(model) != "BisectingKMeans" else lambda data, k, random_state: _ends(data)
    )
    if name_of(model) == "MiniBatchKMeans":
        pytest.skip("its batches are drawn")
    weighted = clone(model).set_params(init=start, n_init=1).fit(X, sample_weight=weights)
    repeated = clone(model).set_params(init=start, n_init=1).fit(np.repeat(X, weights, axis=0))
    assert_array_equal(weighted.predict(X), repeated.predict(X))
    np.testing.assert_allclose(weighted.inertia_, repeated.inertia_)


def _ends(data: Any) -> Any:
    """The rows of the smallest and of the largest sum."""
    order = np.argsort(data.sum(axis=1))
    return data[[order[0], order[-1]]]


@each_model
def test_tags_are_scikit_learns(model: Any) -> None:
    home = sklearn.mixture if name_of(model).endswith("Mixture") else sklearn.cluster
    theirs = get_tags(getattr(home, name_of(model))())
    ours = get_tags(model)
    if not getattr(model, "reads_sparse", True):
        ours.input_tags.sparse = theirs.input_tags.sparse
    if theirs.transformer_tags is not None:
        assert set(ours.transformer_tags.preserves_dtype) >= set(
            theirs.transformer_tags.preserves_dtype
        )
        ours.transformer_tags = theirs.transformer_tags
    assert ours == theirs


@each_clusterer
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_in_and_out(model: Any, library: str) -> None:
    frames = pytest.importorskip(library)
    names = ["height", "width", "depth", "mass"]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    model = clone(model).set_output(transform=library).fit(frame)
    assert list(model.feature_names_in_) == names
    found = model.transform(frame)
    assert isinstance(found, frames.DataFrame)
    prefix = name_of(model).lower()
    assert list(found.columns) == [f"{prefix}{i}" for i in range(3)]
    expected = clone(model).set_output(transform="default").fit(X).transform(X)
    np.testing.assert_allclose(found.to_numpy(), expected)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(pd.DataFrame(X, columns=[*names[1:], names[0]]))


@each_model
def test_copies_predict_the_same(model: Any, tmp_path: Any) -> None:
    fitted = clone(model).fit(X)
    joblib.dump(fitted, tmp_path / "model")
    copies = [
        pickle.loads(pickle.dumps(fitted)),
        joblib.load(tmp_path / "model"),
        joblib.load(tmp_path / "model", mmap_mode="r"),
    ]
    for copy in copies:
        assert_array_equal(copy.predict(X), fitted.predict(X))
    unfitted = clone(fitted)
    assert unfitted.get_params() == model.get_params()
    assert not hasattr(unfitted, "n_features_in_")


@each_model
def test_representations(model: Any) -> None:
    assert name_of(model) in model._repr_html_()
    assert repr(model).startswith(f"{name_of(model)}(")
    assert "fitted" in clone(model).fit(X)._repr_html_()


@each_clusterer
def test_weights_are_routed(model: Any) -> None:
    weights = np.random.RandomState(1).rand(120)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = clone(model).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), asking)
        pipeline.fit(X, sample_weight=weights)
        expected = clone(model).fit(StandardScaler().fit_transform(X), sample_weight=weights)
        assert_array_equal(pipeline[-1].cluster_centers_, expected.cluster_centers_)
        assert_array_equal(pipeline[-1].labels_, expected.labels_)
        ignoring = clone(model).set_fit_request(sample_weight=False)
        pipeline = make_pipeline(StandardScaler(), ignoring).fit(X)
        plain = clone(model).fit(StandardScaler().fit_transform(X))
        assert_array_equal(pipeline[-1].cluster_centers_, plain.cluster_centers_)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_search_in_parallel(backend: str) -> None:
    pipeline = make_pipeline(StandardScaler(), KMeans(random_state=0), LogisticRegression())
    grid = {"kmeans__n_clusters": [2, 3, 5]}
    expected = GridSearchCV(pipeline, grid, cv=3).fit(X, Y).cv_results_["mean_test_score"]
    with joblib.parallel_config(backend=backend):
        search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2).fit(X, Y)
    assert_array_equal(search.cv_results_["mean_test_score"], expected)


@each_model
def test_search_over_every_estimator(model: Any) -> None:
    name = "n_clusters" if hasattr(model, "n_clusters") else "n_components"
    search = GridSearchCV(model, {name: [1, 2, 3]}, cv=2, n_jobs=2).fit(X)
    assert search.best_estimator_.predict(X).shape == (120,)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
