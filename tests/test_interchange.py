"""Models to and from scikit-learn's classes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.cluster
import sklearn.mixture
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastclust
from fastclust import acceleration, from_sklearn
from fastclust.interchange import PAIRS

X = np.random.RandomState(0).normal(size=(150, 4)) + 5 * (np.arange(150) % 4)[:, None]
NEW = 3 * X[::-1] + 1
# Trees of clusters predict nothing, nor does scikit-learn's DBSCAN: their own tests convert them.
PREDICTING = [name for name in PAIRS if name not in ("AgglomerativeClustering", "DBSCAN")]
each_pair = pytest.mark.parametrize("name", PREDICTING)
RESULTS = ["cluster_centers_", "labels_", "inertia_", "means_", "covariances_", "weights_"]


def classes(name: str) -> tuple[type[Any], type[Any], dict[str, Any]]:
    """Our class, scikit-learn's, and parameters."""
    size = "n_components" if name.endswith("Mixture") else "n_clusters"
    return PAIRS[name].ours(), PAIRS[name].theirs, {size: 4, "random_state": 0}


def assert_same_model(found: Any, expected: Any, dtype: Any) -> None:
    """The same parameters, results and predictions."""
    new, rtol = NEW.astype(dtype), 1e-6 if dtype == np.float64 else 1e-3
    shared = found.get_params().keys() & expected.get_params().keys() - {"algorithm"}
    assert len(shared) >= 8
    assert all(found.get_params()[name] == expected.get_params()[name] for name in shared)
    for name in RESULTS:
        if hasattr(expected, name):
            one, other = getattr(found, name), getattr(expected, name)
            assert_array_equal(one, other)
            assert np.asarray(one).dtype == np.asarray(other).dtype
            assert not np.may_share_memory(np.asarray(one), np.asarray(other))
    assert_array_equal(found.predict(new), expected.predict(new))
    assert_allclose(found.score(new), expected.score(new), rtol=rtol)
    for method in ("transform", "predict_proba", "score_samples"):
        if hasattr(expected, method):
            one, other = getattr(found, method)(new), getattr(expected, method)(new)
            assert_allclose(one, other, rtol=rtol, atol=1e-3 * rtol)


@each_pair
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_to_scikit_learn(name: str, dtype: Any) -> None:
    ours, theirs, parameters = classes(name)
    model = ours(**parameters).fit(X.astype(dtype))
    found = model.to_sklearn()
    assert type(found) is theirs
    assert_same_model(found, model, dtype)
    assert vars(theirs(**parameters).fit(X.astype(dtype))).keys() == vars(found).keys()


READS = """
import pickle, sys
sys.modules["fastclust"] = None
with open("models", "rb") as file:
    models = pickle.load(file)
for model, X in models:
    print(model.predict(X).tolist())
    model.fit(X)
"""


def test_a_process_without_fastclust_reads_models_and_continues(tmp_path: Path) -> None:
    models, expected = [], []
    for name in PREDICTING:
        ours, _, parameters = classes(name)
        for dtype in (np.float32, np.float64):
            data, new = X.astype(dtype), NEW.astype(dtype)
            model = ours(**parameters).fit(data)
            models.append((model.to_sklearn(), new))
            expected.append(str(model.predict(new).tolist()))
    (tmp_path / "models").write_bytes(pickle.dumps(models))
    output = subprocess.check_output([sys.executable, "-c", READS], cwd=tmp_path, text=True)
    assert output.splitlines() == expected


@each_pair
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_from_scikit_learn(name: str, dtype: Any) -> None:
    ours, theirs, parameters = classes(name)
    model = pickle.loads(pickle.dumps(theirs(**parameters).fit(X.astype(dtype))))
    found = from_sklearn(model)
    assert type(found) is ours
    assert_same_model(found, model, dtype)
    assert vars(ours(**parameters).fit(X.astype(dtype))).keys() == vars(found).keys()
    assert_same_model(pickle.loads(pickle.dumps(found)), model, dtype)
    again = found.to_sklearn()
    assert_same_model(again, model, dtype)


@each_pair
def test_parameters_without_a_fit(name: str) -> None:
    ours, theirs, parameters = classes(name)
    found = ours(**parameters, max_iter=7).to_sklearn()
    assert type(found) is theirs
    assert found.get_params() == theirs(**parameters, max_iter=7).get_params()
    again, expected = from_sklearn(found).get_params(), ours(**parameters, max_iter=7).get_params()
    if name == "KMeans":
        expected["algorithm"] = "lloyd"  # scikit-learn knows no "auto"
    assert again == expected
    with pytest.raises(NotFittedError):
        found.predict(X)


@each_pair
def test_names_of_features(name: str) -> None:
    ours, theirs, parameters = classes(name)
    frame = pd.DataFrame(X, columns=list("abcd"))
    assert list(ours(**parameters).fit(frame).to_sklearn().feature_names_in_) == list("abcd")
    assert list(from_sklearn(theirs(**parameters).fit(frame)).feature_names_in_) == list("abcd")


def test_batches_continue() -> None:
    ours, theirs = (
        kind(4, random_state=0).partial_fit(X)
        for kind in (fastclust.MiniBatchKMeans, sklearn.cluster.MiniBatchKMeans)
    )
    for model in (ours.to_sklearn(), from_sklearn(theirs)):
        found, expected = model.partial_fit(NEW), clone(theirs).partial_fit(X).partial_fit(NEW)
        assert_allclose(found.cluster_centers_, expected.cluster_centers_)
        assert found.n_steps_ == 2


def test_trees_of_sparse_data() -> None:
    data = scipy.sparse.random(100, 20, 0.2, format="csr", random_state=0)
    ours = fastclust.BisectingKMeans(7, random_state=0).fit(data)
    assert_array_equal(ours.to_sklearn().predict(data), ours.labels_)
    theirs = sklearn.cluster.BisectingKMeans(7, random_state=0).fit(data)
    assert_array_equal(from_sklearn(theirs).predict(data), theirs.labels_)


def test_names_that_only_fastclust_knows() -> None:
    model = fastclust.KMeans(4, algorithm="full", random_state=0).fit(X).to_sklearn()
    assert model.algorithm == "lloyd"
    assert_array_equal(model.fit(X).labels_, fastclust.KMeans(4, random_state=0).fit(X).labels_)


def test_models_made_in_scikit_learns_place() -> None:
    model = acceleration.KMeans(4, random_state=0).fit(X)
    with fastclust.patch_sklearn():
        assert type(model.to_sklearn()) is PAIRS["KMeans"].theirs


# skl2onnx itself knows no BisectingKMeans.
@pytest.mark.parametrize("name", [name for name in PREDICTING if name != "BisectingKMeans"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exported_to_onnx(name: str, dtype: Any) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    runtime = pytest.importorskip("onnxruntime")
    ours, _, parameters = classes(name)
    data, new = X.astype(dtype), NEW.astype(dtype)
    model = ours(**parameters).fit(data)
    exported = skl2onnx.to_onnx(model.to_sklearn(), data[:1]).SerializeToString()
    session = runtime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    labels, values = session.run(None, {"X": new})
    assert_array_equal(labels.ravel(), model.predict(new))
    expected = model.predict_proba(new) if name.endswith("Mixture") else model.transform(new)
    assert values.dtype == dtype
    rtol = 1e-10 if dtype == np.float64 else 1e-4
    assert_allclose(values, expected, rtol=rtol, atol=1e-2 * rtol)


def test_exported_to_onnx_without_conversion() -> None:
    """Also in a pipeline, with options, and in scikit-learn's place."""
    skl2onnx = pytest.importorskip("skl2onnx")
    runtime = pytest.importorskip("onnxruntime")
    import fastclust.onnx

    fastclust.onnx.register()
    for name in [name for name in PREDICTING if name != "BisectingKMeans"]:
        ours, _, parameters = classes(name)
        for kind in (ours, getattr(acceleration, name)):
            model = make_pipeline(StandardScaler(), kind(**parameters)).fit(X)
            mixture = name.endswith("Mixture")
            options = {id(model[-1]): {"score_samples": True} if mixture else {"gemm": False}}
            graph = skl2onnx.to_onnx(model, X[:1], options=options).SerializeToString()
            session = runtime.InferenceSession(graph, providers=["CPUExecutionProvider"])
            labels, values, *rest = session.run(None, {"X": NEW})
            assert_array_equal(labels.ravel(), model.predict(NEW))
            expected = model.predict_proba(NEW) if mixture else model.transform(NEW)
            assert_allclose(values, expected, rtol=1e-9, atol=1e-9)
            if mixture:
                assert_allclose(rest[0].ravel(), model.score_samples(NEW), rtol=1e-9)


def test_what_onnx_cannot_say_is_refused() -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    import fastclust.onnx

    fastclust.onnx.register()
    search = fastclust.ClusterSearch(fastclust.KMeans(random_state=0), [2], criterion="inertia")
    for model, remedy in (
        (fastclust.BisectingKMeans(2), r"export a KMeans, or pickle what its to_sklearn\(\) gives"),
        (search, "export its best_estimator_"),
    ):
        with pytest.raises(NotImplementedError, match=f"cannot be written as ONNX: {remedy}"):
            skl2onnx.to_onnx(model.fit(X), X[:1])


PATCHED = """
import sys
import numpy as np
import fastclust
X = np.random.RandomState(0).rand(60, 3)
if sys.argv[1] == "before":
    import skl2onnx
fastclust.patch_sklearn()
import skl2onnx, onnxruntime
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
for kind in (KMeans, MiniBatchKMeans, GaussianMixture, BayesianGaussianMixture):
    assert kind.__module__ == "fastclust.acceleration"
    size = {"n_components" if "Mixture" in kind.__name__ else "n_clusters": 2}
    model = kind(**size, random_state=0, max_iter=500).fit(X)
    graph = skl2onnx.to_onnx(model, X[:1]).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert (session.run(None, {"X": X})[0].ravel() == model.predict(X)).all()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_programs_that_are_patched_export(when: str) -> None:
    """Whether they load skl2onnx before fastclust is put in scikit-learn's place, or after."""
    pytest.importorskip("skl2onnx")
    pytest.importorskip("onnxruntime")
    subprocess.run([sys.executable, "-c", PATCHED, when], check=True)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [(PCA(), "PCA"), (fastclust.KMeans(), "fastclust.kmeans.KMeans"), (None, "NoneType")],
)
def test_other_classes_are_refused(estimator: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"estimator must be scikit-learn's own KMeans.*{name}"):
        from_sklearn(estimator)
