"""Pickles of this release, of others, and those that are kept in ``data/models.pickle``.

``python tests/test_persistence.py`` writes that file anew.  It is to be read by every release to
come: write it only where a class has been added.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning

import fastclust
from fastclust import acceleration
from fastclust.interchange import PAIRS
from fastclust.persistence import installed

KEPT = Path(__file__).parent / "data" / "models.pickle"
X = np.random.RandomState(0).normal(size=(30, 3)) + 8 * (np.arange(30) % 3)[:, None]
NEW = X[::-2] + 1


def fitted_models() -> dict[str, Any]:
    """Models of every class, and after batches where there are any, in both dtypes."""
    models: dict[str, Any] = {}
    others = ("AgglomerativeClustering", "DBSCAN")  # have tests of their own
    for name in [name for name in PAIRS if name not in others]:
        size = "n_components" if name.endswith("Mixture") else "n_clusters"
        model = getattr(fastclust, name)(**{size: 3}, random_state=0)
        for dtype in ("float32", "float64"):
            models[f"{name} {dtype}"] = clone(model).fit(X.astype(dtype))
        if hasattr(model, "partial_fit"):
            models[f"{name} batch"] = clone(model).partial_fit(X[:20]).partial_fit(X[20:])
    models["KMeans in place"] = acceleration.KMeans(3, random_state=0).fit(X)
    return models


def results(model: Any) -> dict[str, Any]:
    """What a model says of new rows, by every method that it has."""
    names = ("predict", "transform", "predict_proba", "score_samples", "score")
    return {name: getattr(model, name)(NEW) for name in names if hasattr(model, name)}


def loaded(text: bytes) -> Any:
    """What is in a pickle, of whatever release."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        return pickle.loads(text)


def of_release(model: Any, **versions: str) -> bytes:
    """A pickle as another release would have written it."""
    state = model.__getstate__()
    state["_versions"] |= {name.replace("_", "-"): value for name, value in versions.items()}
    return pickle.dumps(_Written(type(model), state))


class _Written:
    """Has the pickle of another object."""

    def __init__(self, kind: type[Any], state: dict[str, Any]) -> None:
        self.kind, self.state = kind, state

    def __reduce__(self) -> Any:
        return self.kind.__new__, (self.kind,), self.state


def test_models_that_are_kept_can_be_read() -> None:
    kept = loaded(KEPT.read_bytes())
    models = fitted_models()
    assert kept.keys() == models.keys()
    for name, (model, expected) in kept.items():
        found = results(model)
        assert found.keys() == expected.keys()
        for method, values in expected.items():
            assert_allclose(found[method], values, rtol=1e-4, err_msg=f"{name}: {method}")
        assert model.get_params() == models[name].get_params()
        assert vars(model).keys() == vars(models[name]).keys() - {"_kept"}
        rows = NEW.astype(getattr(model, "cluster_centers_", NEW).dtype)  # or scikit-learn refuses
        assert_array_equal(model.to_sklearn().predict(rows), expected["predict"])
        if name.endswith("batch"):
            model.partial_fit(NEW)
            models[name].partial_fit(NEW)
            assert_array_equal(model.predict(X), models[name].predict(X))
        assert_array_equal(model.fit(X).predict(X), clone(model).fit(X).predict(X))


MODELS = fitted_models()
each_model = pytest.mark.parametrize("name", MODELS)


@each_model
def test_own_pickles_are_read_in_silence(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    joblib.dump(model, tmp_path / "model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copies = [copy.copy(model), copy.deepcopy(model), joblib.load(tmp_path / "model")]
        copies += [pickle.loads(pickle.dumps(model, protocol)) for protocol in range(2, 6)]
    for found in copies:
        assert vars(found).keys() == vars(model).keys() - {"_kept"}
        assert_array_equal(found.predict(NEW), model.predict(NEW))


@each_model
def test_other_releases_are_read_with_scikit_learns_warning(name: str) -> None:
    model = MODELS[name]
    with pytest.warns(InconsistentVersionWarning) as caught:
        found = pickle.loads(of_release(model, fastclust="0.0.1"))
    (warning,) = caught
    kind = type(model).__name__
    assert f"{kind} (fastclust) from version 0.0.1 when using" in str(warning.message)
    assert_array_equal(found.predict(NEW), model.predict(NEW))
    assert pickle.dumps(found) == pickle.dumps(model)
    # Mixtures are built on scikit-learn's classes; the others are not, and need no warning.
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter("always")
        pickle.loads(of_release(model, scikit_learn="1.6.0"))
    messages = [str(record.message) for record in records]
    assert len(messages) == kind.endswith("Mixture")
    assert all(f"{kind} (scikit-learn) from version 1.6.0" in message for message in messages)


@each_model
def test_pickles_that_name_no_release(name: str) -> None:
    model = MODELS[name]
    state = dict(vars(model))
    with pytest.warns(InconsistentVersionWarning, match="from version unknown when"):
        found = pickle.loads(pickle.dumps(_Written(type(model), state)))
    assert_array_equal(found.predict(NEW), model.predict(NEW))


@pytest.mark.parametrize(
    ("name", "parameter", "default"),
    [
        ("KMeans float64", "algorithm", "auto"),
        ("MiniBatchKMeans float64", "algorithm", "minibatch"),
        ("BisectingKMeans float64", "bisecting_strategy", "biggest_inertia"),
        ("GaussianMixture float64", "acceleration", None),
        ("BayesianGaussianMixture float64", "covariance_type", "full"),
    ],
)
def test_parameters_that_an_older_release_did_not_have(
    name: str, parameter: str, default: Any
) -> None:
    older = copy.deepcopy(MODELS[name])
    delattr(older, parameter)
    found = loaded(of_release(older, fastclust="0.0.1"))
    assert getattr(found, parameter) == default
    assert found.get_params() == MODELS[name].get_params()
    assert_array_equal(found.fit(X).predict(NEW), MODELS[name].predict(NEW))


def test_states_are_not_changed_by_reading_them() -> None:
    model = MODELS["KMeans float64"]
    state = model.__getstate__()
    assert state["_versions"] == {"fastclust": installed("fastclust")}
    before = dict(state)
    type(model).__new__(type(model)).__setstate__(state)
    assert state == before
    assert not hasattr(model, "_versions")


if __name__ == "__main__":
    KEPT.parent.mkdir(exist_ok=True)
    kept = {name: (model, results(model)) for name, model in fitted_models().items()}
    KEPT.write_bytes(pickle.dumps(kept, protocol=4))
    print(f"{KEPT}: {KEPT.stat().st_size} bytes")
