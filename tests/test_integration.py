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
from sklearn.utils import estimator_checks, get_tags
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


def result_of(model: Any) -> bytes:
    """The bits of centers or means."""
    name = "means_" if hasattr(model, "means_") else "cluster_centers_"
    return bytes(getattr(model, name).tobytes())


each_model = pytest.mark.parametrize("model", MODELS, ids=name_of)
each_clusterer = pytest.mark.parametrize("model", CLUSTERERS, ids=name_of)


EXPECTED_FAILURES = {
    f"check_sample_weight_equivalence_on_{kind}_data": (
        "draws depend on number and order of rows, so weights are not repetitions of rows there"
    )
    for kind in ("dense", "sparse")
}


@parametrize_with_checks(MODELS, expected_failed_checks=lambda _: EXPECTED_FAILURES)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("model", CLUSTERERS, ids=name_of)
def test_failures_that_scikit_learn_expects_of_its_own_classes(model: Any) -> None:
    # The same random_state draws the same rows as scikit-learn's, from rows in the same order: the
    # checks compare weights with repeated rows in another order.  Mixtures, whose weights
    # scikit-learn does not have, start from k-means by default.
    table = pytest.importorskip("sklearn.utils._test_common.instance_generator")
    theirs = table.PER_ESTIMATOR_XFAIL_CHECKS[getattr(sklearn.cluster, name_of(model))]
    assert theirs.keys() == EXPECTED_FAILURES.keys()


@pytest.mark.parametrize(
    "model",
    [
        KMeans(3, init=X[:3]),
        fastclust.BisectingKMeans(3, init=lambda data, n_clusters, random_state: _ends(data)),
        fastclust.GaussianMixture(3, means_init=X[:3], init_params="k-means++", random_state=0),
    ],
    ids=name_of,
)
def test_weights_are_repetitions_where_nothing_is_drawn(model: Any) -> None:
    # What the expected failures above leave out, from the same start.
    weights = np.random.RandomState(1).randint(1, 4, size=120)
    if name_of(model) == "GaussianMixture":
        model = clone(model).set_params(
            weights_init=[0.3, 0.3, 0.4], precisions_init=np.stack([np.eye(4)] * 3)
        )
    weighted = clone(model).fit(X, sample_weight=weights)
    repeated = clone(model).fit(np.repeat(X, weights, axis=0))
    assert_array_equal(weighted.predict(X), repeated.predict(X))
    np.testing.assert_allclose(
        weighted.score(X, sample_weight=weights), repeated.score(np.repeat(X, weights, axis=0))
    )


# Two rows of the data of the check below, to start from; both have a weight there.
ROWS = np.random.RandomState(42).rand(15, 30)[[0, 6]]


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize(
    "model",
    [
        KMeans(2, init=ROWS, n_init=1),
        fastclust.GaussianMixture(
            2, weights_init=[0.5, 0.5], means_init=ROWS, covariance_type="spherical",
            precisions_init=np.full(2, 10.0),
        ),
        fastclust.BayesianGaussianMixture(n_components=1),
    ],
    ids=name_of,
)  # fmt: skip
def test_scikit_learns_check_of_weights_where_nothing_is_drawn(model: Any, kind: str) -> None:
    # The very checks that are expected to fail above: draws are all that they fail for.  (Bisecting
    # k-means starts among rows that are centred by all of them, weight or none, as scikit-learn's.)
    if kind == "sparse" and not hasattr(model, "fit_transform"):
        pytest.skip("mixtures of sparse data are refused")
    check = getattr(estimator_checks, f"check_sample_weight_equivalence_on_{kind}_data")
    check(name_of(model), model)


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_draws_of_scikit_learn_depend_on_the_order_of_rows(model: Any) -> None:
    # Why those failures must be: the checks compare with a fit without weights to rows in another
    # order, which has scikit-learn's draws, and these are others in every order.
    home = sklearn.mixture if name_of(model).endswith("Mixture") else sklearn.cluster
    parameters = ESTIMATORS[name_of(model)]
    rows = np.repeat(np.random.RandomState(42).rand(15, 30), 2, axis=0)
    found = []
    for order in (np.arange(30), np.random.RandomState(0).permutation(30)):
        theirs = getattr(home, name_of(model))(**parameters, random_state=0).fit(rows[order])
        found.append(theirs.predict(rows))
    assert (found[0] != found[1]).any()


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


@each_model
def test_weights_are_routed(model: Any) -> None:
    weights = np.random.RandomState(1).rand(120)
    scaled = StandardScaler().fit_transform(X)
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        asking = clone(model).set_fit_request(sample_weight=True)
        asking.set_score_request(sample_weight=True)
        pipeline = make_pipeline(scaler, asking).fit(X, sample_weight=weights)
        expected = clone(model).fit(scaled, sample_weight=weights)
        assert result_of(pipeline[-1]) == result_of(expected)
        score = expected.score(scaled, sample_weight=weights)
        assert pipeline.score(X, sample_weight=weights) == score != expected.score(scaled)
        ignoring = clone(model).set_fit_request(sample_weight=False)
        pipeline = make_pipeline(StandardScaler(), ignoring).fit(X)
        assert result_of(pipeline[-1]) == result_of(clone(model).fit(scaled))
        silent = make_pipeline(scaler, clone(model))
        with pytest.raises(ValueError, match=r"sample_weight.*not explicitly set"):
            silent.fit(X, sample_weight=weights)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_search_in_parallel(backend: str) -> None:
    # A pipeline of it, and mini-batches: what the workers find is what one process finds.
    pipeline = make_pipeline(StandardScaler(), KMeans(random_state=0), LogisticRegression())
    searches = [
        (pipeline, {"kmeans__n_clusters": [2, 3, 5]}),
        (fastclust.MiniBatchKMeans(random_state=0), {"n_clusters": [2, 3, 5]}),
        (fastclust.GaussianMixture(random_state=0), {"n_components": [1, 2, 3]}),
    ]
    for model, grid in searches:
        expected = GridSearchCV(model, grid, cv=3).fit(X, Y).cv_results_["mean_test_score"]
        with joblib.parallel_config(backend=backend):
            search = GridSearchCV(model, grid, cv=3, n_jobs=2).fit(X, Y)
        assert_array_equal(search.cv_results_["mean_test_score"], expected)


@each_model
def test_search_over_every_estimator(model: Any) -> None:
    name = "n_clusters" if hasattr(model, "n_clusters") else "n_components"
    search = GridSearchCV(model, {name: [1, 2, 3]}, cv=2, n_jobs=2).fit(X)
    assert search.best_estimator_.predict(X).shape == (120,)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
