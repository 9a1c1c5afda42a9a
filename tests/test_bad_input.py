"""Input that must be refused: with the right error, a message that helps, and nothing changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import fastclust
from fastclust import (
    BisectingKMeans,
    GaussianMixture,
    KMeans,
    MiniBatchKMeans,
    k_means,
    kmeans_plusplus,
)

X = np.random.RandomState(0).rand(40, 3)
N_CLUSTERS = 4
GOOD: dict[str, Any] = {"n_clusters": N_CLUSTERS, "random_state": 0}


def with_value(value: float) -> Any:
    """The data with one value replaced."""
    data = X.copy()
    data[17, 1] = value
    return data


def returns(centers: Any) -> Callable[..., Any]:
    """A callable `init` that returns `centers`."""
    return lambda data, n_clusters, random_state: centers


# Name: data, error, message.  Messages about values and shapes of X are scikit-learn's own.
BAD_DATA: dict[str, tuple[Any, type[Exception], str]] = {
    "nan": (with_value(np.nan), ValueError, "Input X contains NaN"),
    "nan, float32": (with_value(np.nan).astype("float32"), ValueError, "Input X contains NaN"),
    "inf": (with_value(np.inf), ValueError, "Input X contains infinity"),
    "minus inf": (with_value(-np.inf), ValueError, "Input X contains infinity"),
    "empty": (X[:0], ValueError, r"0 sample\(s\) \(shape=\(0, 3\)\)"),
    "no columns": (X[:, :0], ValueError, r"0 feature\(s\) \(shape=\(40, 0\)\)"),
    "1-D": (X[:, 0], ValueError, "Expected 2D array, got 1D array"),
    "3-D": (X[None], ValueError, "dim 3"),
    "a number": (3.0, ValueError, "Expected 2D array, got scalar array"),
    "none": (None, ValueError, "Expected 2D array, got scalar array"),
    "complex": (X + 1j, ValueError, "Complex data not supported"),
    "strings": ([["one", "two", "three"]] * 40, ValueError, "string to float: 'one'"),
    "strings as objects": (
        np.array([["one", "two", "three"]] * 40, dtype=object),
        ValueError,
        "string to float: 'one'",
    ),
    "objects": (np.full((40, 3), object()), TypeError, "a real number, not 'object'"),
    "ragged": ([[1, 2, 3], [4, 5]], ValueError, "inhomogeneous"),
    "sparse with nan": (
        scipy.sparse.csr_array(with_value(np.nan)),
        ValueError,
        "Input X contains NaN",
    ),
    "sparse with inf": (
        scipy.sparse.coo_matrix(with_value(np.inf)),
        ValueError,
        "Input X contains infinity",
    ),
    "sparse without rows": (scipy.sparse.csr_array((0, 3)), ValueError, r"0 sample\(s\)"),
    "sparse without columns": (scipy.sparse.csr_array((40, 0)), ValueError, r"0 feature\(s\)"),
    "sparse and complex": (scipy.sparse.csr_array(X + 1j), ValueError, "Complex data"),
}

NOT_AN_INTEGER: dict[str, tuple[Any, str]] = {
    "a float": (3.0, "not 3.0 of type float"),
    "a fraction": (1.5, "not 1.5 of type float"),
    "a numpy float": (np.float32(2), r"not .*2\.0.* of type float32"),
    "true": (True, "not True of type bool"),
    "a numpy bool": (np.True_, r"not .*True.* of type bool"),
    "a string": ("3", "not '3' of type str"),
    "a list": ([3], r"not \[3\] of type list"),
}


def integer_cases(name: str) -> dict[str, tuple[Any, type[Exception], str]]:
    """What an integer parameter that is at least one must refuse."""
    cases: dict[str, tuple[Any, type[Exception], str]] = {
        f"{name} is {what}": (value, TypeError, f"{name} must be an integer, {was}")
        for what, (value, was) in NOT_AN_INTEGER.items()
        if not (name == "n_init" and what == "a string")
    }
    cases |= {
        f"{name} is {value}": (value, ValueError, f"{name} must be at least 1, but it is {value}")
        for value in (0, -3)
    }
    return cases


def of(name: str, cases: dict[str, tuple[Any, type[Exception], str]]) -> dict[str, Any]:
    """The cases with the name of their parameter in front."""
    return {case: (name, *rest) for case, rest in cases.items()}


SHAPE = r"The shape of the initial centers \({shape}\) does not match the number of {what}"
TOO_FEW = SHAPE.format(shape="3, 3", what="clusters 4")
TOO_NARROW = SHAPE.format(shape="4, 2", what="features of the data 3")
INIT = "init must be 'k-means\\+\\+', 'k-means\\|\\|', 'random', a callable or an array of shape"
START = X[:N_CLUSTERS]

BAD_INIT: dict[str, tuple[Any, type[Exception], str]] = {
    "unknown init": ("kmeans++", ValueError, f"{INIT}.*it is 'kmeans\\+\\+'"),
    "empty string as init": ("", ValueError, f"{INIT}.*it is ''"),
    "init is none": (None, TypeError, f"{INIT}.*not None"),
    "init is a number": (5, TypeError, f"{INIT}.*not 5"),
    "init with too few rows": (START[:3], ValueError, TOO_FEW),
    "init with too few columns": (START[:, :2], ValueError, TOO_NARROW),
    "init list with too few rows": (START[:3].tolist(), ValueError, TOO_FEW),
    "init is 1-D": (START[0], ValueError, r"\binit\b"),
    "init is 3-D": (START[None], ValueError, r"\binit\b"),
    "init contains nan": (START * np.nan, ValueError, "Input init contains NaN"),
    "init contains inf": (START + np.inf, ValueError, "Input init contains infinity"),
    "init is complex": (START + 1j, ValueError, r"\binit\b"),
    "init of strings": ([["a"] * 3] * 4, ValueError, r"\binit\b"),
    "sparse init": (scipy.sparse.csr_array(START), TypeError, r"\binit\b"),
    "callable returns too few rows": (returns(START[:3]), ValueError, TOO_FEW),
    "callable returns too few columns": (returns(START[:, :2]), ValueError, TOO_NARROW),
    "callable returns 1-D": (returns(START[0]), ValueError, r"\binit\b"),
    "callable returns none": (returns(None), ValueError, r"\binit\b"),
    "callable returns nan": (returns(START * np.nan), ValueError, "Input init contains NaN"),
}

KNOWN = "algorithm must be one of 'auto', .*'lloyd'"
BAD_ALGORITHM: dict[str, tuple[Any, type[Exception], str]] = {
    "unknown algorithm": ("fast", ValueError, f"{KNOWN}, but it is 'fast'"),
    "algorithm in capitals": ("Lloyd", ValueError, f"{KNOWN}, but it is 'Lloyd'"),
    "algorithm is none": (None, ValueError, f"{KNOWN}, but it is None"),
    "algorithm is a list": (["lloyd"], ValueError, rf"{KNOWN}, but it is \['lloyd'\]"),
}

TOL = "tol must be finite and not negative, but it is"
BAD_TOL: dict[str, tuple[Any, type[Exception], str]] = {
    "tol is negative": (-1e-4, ValueError, f"{TOL} -0.0001"),
    "tol is nan": (np.nan, ValueError, f"{TOL} nan"),
    "tol is infinite": (np.inf, ValueError, f"{TOL} inf"),
    "tol is a string": ("0", TypeError, "tol must be a number, not '0' of type str"),
    "tol is none": (None, TypeError, "tol must be a number, not None"),
    "tol is true": (True, TypeError, "tol must be a number, not True of type bool"),
    "tol is complex": (1j, TypeError, "tol must be a number, not 1j of type complex"),
}

BAD_VERBOSE: dict[str, tuple[Any, type[Exception], str]] = {
    "verbose is a string": ("yes", TypeError, "verbose must be an integer, not 'yes' of type str"),
    "verbose is none": (None, TypeError, "verbose must be an integer, not None"),
    "verbose is negative": (-1, ValueError, "verbose must be at least 0, but it is -1"),
    "verbose is a fraction": (0.5, TypeError, "verbose must be an integer, not 0.5"),
}
BAD_COPY_X: dict[str, tuple[Any, type[Exception], str]] = {
    "copy_x is a string": ("no", TypeError, "copy_x must be True or False, not 'no' of type str"),
    "copy_x is none": (None, TypeError, "copy_x must be True or False, not None"),
    "copy_x is a number": (1, TypeError, "copy_x must be True or False, not 1 of type int"),
}

BAD_RANDOM_STATE: dict[str, tuple[Any, type[Exception], str]] = {
    "random_state is a string": ("seed", ValueError, "random_state.*'seed'"),
    "random_state is negative": (-1, ValueError, "random_state.*-1"),
    "random_state is too large": (2**32, ValueError, f"random_state.*{2**32}"),
    "random_state is a fraction": (1.5, ValueError, "random_state.*1.5"),
    "random_state is a generator": (
        np.random.default_rng(0),
        ValueError,
        "random_state.*Generator",
    ),
}

TOO_MANY = {
    "more clusters than rows": (41, ValueError, "n_samples=40 should be >= n_clusters=41"),
}
BAD_N_CLUSTERS = of("n_clusters", integer_cases("n_clusters") | TOO_MANY)

BAD_PARAMETERS: dict[str, tuple[str, Any, type[Exception], str]] = (
    BAD_N_CLUSTERS
    | of("init", BAD_INIT)
    | of("algorithm", BAD_ALGORITHM)
    | of("max_iter", integer_cases("max_iter"))
    | of("tol", BAD_TOL)
    | of("n_init", integer_cases("n_init"))
    | of("n_init", {"n_init is a word": ("many", ValueError, "n_init must be 'auto'.*'many'")})
    | of("random_state", BAD_RANDOM_STATE)
    | of("verbose", BAD_VERBOSE)
    | of("copy_x", BAD_COPY_X)
)

ONES = np.ones(40)
LENGTH = r"sample_weight.shape == \({shape}\), expected \(40,\)"
BAD_WEIGHTS: dict[str, tuple[Any, type[Exception], str]] = {
    "infinite sum": (1e308 * ONES, ValueError, "sample_weight must add up to a finite.*1e\\+308"),
    "negative": (-ONES, ValueError, "`sample_weight`.*not be negative.*-1.0"),
    "one negative": (ONES - 3 * (ONES.cumsum() == 5), ValueError, "`sample_weight`.*-2.0"),
    "a negative number": (-2, ValueError, "`sample_weight`.*-2.0"),
    "all zero": (0 * ONES, ValueError, "sample_weight must have a weight above zero"),
    "zero": (0, ValueError, "sample_weight must have a weight above zero"),
    "too short": (ONES[1:], ValueError, LENGTH.format(shape="39,")),
    "too long": (np.ones(41), ValueError, LENGTH.format(shape="41,")),
    "empty": ([], ValueError, "sample_weight"),
    "nan": (ONES * np.nan, ValueError, "Input sample_weight contains NaN"),
    "inf": (ONES * np.inf, ValueError, "Input sample_weight contains infinity"),
    "2-D": (ONES[:, None], ValueError, LENGTH.format(shape="40, 1")),
    "3-D": (ONES[:, None, None], ValueError, "sample_weight"),
    "complex": (ONES + 1j, ValueError, "sample_weight"),
    "strings": (["heavy"] * 40, ValueError, "sample_weight"),
    "sparse": (scipy.sparse.csr_array(ONES[:, None]), TypeError, "sample_weight"),
}


def cases(table: dict[str, tuple[Any, ...]]) -> Any:
    """Parametrise a test with the rows of a table."""
    return [pytest.param(*row, id=name) for name, row in table.items()]


def assert_unchanged(estimator: Any, before: dict[str, Any]) -> None:
    """The same attributes, and each the very same object."""
    after = vars(estimator)
    assert set(after) == set(before)
    assert all(after[name] is value for name, value in before.items())


def assert_refused(
    estimator: Any,
    method: str,
    error: type[Exception] | tuple[type[Exception], ...],
    message: str,
    *arguments: Any,
    **keywords: Any,
) -> None:
    """The method raises just this error for the arguments and leaves the estimator as it is."""
    before = dict(vars(estimator))
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        getattr(estimator, method)(*arguments, **keywords)
    assert_unchanged(estimator, before)


class Fitted:
    """A fitted estimator that remembers what it was, to show that it still is."""

    def __init__(self) -> None:
        self.estimator = KMeans(**GOOD).fit(X)
        self.parameters = self.estimator.get_params()
        self.results = self._results()

    def _results(self) -> list[Any]:
        model = self.estimator
        arrays = [model.cluster_centers_, model.labels_, model.predict(X), model.transform(X)]
        numbers = [model.inertia_, model.n_iter_, model.score(X)]
        return numbers + [array.tobytes() for array in arrays]

    def assert_usable(self) -> None:
        self.estimator.set_params(**self.parameters)
        assert self._results() == self.results


@pytest.fixture
def fitted() -> Fitted:
    """A fit of good data with good parameters."""
    return Fitted()


# --- Parameters ---


@pytest.mark.parametrize(("name", "value", "error", "message"), cases(BAD_PARAMETERS))
def test_bad_parameter(
    name: str, value: Any, error: type[Exception], message: str, fitted: Fitted
) -> None:
    fresh = KMeans(**(GOOD | {name: value}))
    assert_refused(fresh, "fit", error, message, X)
    assert_refused(fresh, "fit_predict", error, message, X)

    again = fitted.estimator.set_params(**{name: value})
    assert_refused(again, "fit", error, message.replace("40", "20"), X[::2])
    fitted.assert_usable()


@pytest.mark.parametrize(("name", "value", "error", "message"), cases(BAD_PARAMETERS))
def test_bad_parameter_of_k_means(
    name: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        k_means(X, **(GOOD | {name: value}))


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    cases(
        BAD_N_CLUSTERS
        | of("random_state", BAD_RANDOM_STATE)
        | of("n_local_trials", integer_cases("n_local_trials"))
        | of("sample_weight", BAD_WEIGHTS)
        | of(
            "x_squared_norms",
            {
                "too few norms": (ONES[1:], ValueError, "x_squared_norms 39 .* n_samples 40"),
                "norms with nan": (ONES * np.nan, ValueError, "Input x_squared_norms contains NaN"),
                "norms of strings": (["a"] * 40, ValueError, "x_squared_norms"),
                "2-D norms": (ONES[:, None] * [1, 2], ValueError, "x_squared_norms"),
            },
        )
    ),
)
def test_bad_argument_of_kmeans_plusplus(
    name: str, value: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        kmeans_plusplus(X, **(GOOD | {name: value}))


def test_numpy_integers_are_integers() -> None:
    # What the checks above refuse is not refused too eagerly.
    counts: dict[str, Any] = {
        "n_clusters": np.int64(4),
        "n_init": np.int32(1),
        "max_iter": np.uint8(9),
    }
    model = KMeans(**counts, tol=0, random_state=0)
    assert model.fit(X).cluster_centers_.shape == (4, 3)


# What is wrong for most parameters; for each, what of it is right.
GRID: dict[str, Any] = {
    "None": None,
    "True": True,
    "a word": "x",
    "-1": -1,
    "0": 0,
    "nan": np.nan,
    "inf": np.inf,
    "1.5": 1.5,
    "[]": [],
    "{}": {},
    "object": object(),
    "0-D": np.array(3),
    "text": "3",
    "bytes": b"3",
}
NEVER: set[str] = set()
POSITIVE = {"None", "1.5"}  # and whole numbers, of which the grid has none above zero
RIGHT: dict[str, set[str]] = {
    **dict.fromkeys(["n_clusters", "n_components", "max_iter", "n_init", "batch_size"], NEVER),
    **dict.fromkeys(["verbose_interval", "init", "algorithm", "bisecting_strategy"], NEVER),
    **dict.fromkeys(["covariance_type", "init_params"], NEVER),
    "weight_concentration_prior_type": NEVER,
    **{key: {"0", "1.5"} for key in ["tol", "reg_covar"]},
    "reassignment_ratio": {"0"},
    **{key: {"None"} for key in ["n_local_trials", "sample_size"]},
    "random_state": {"None", "0", "True"},
    "verbose": {"True", "0"},
    **{key: {"True"} for key in ["copy_x", "compute_labels", "warm_start"]},
    "max_no_improvement": {"None", "0"},
    **{key: {"None"} for key in ["init_size", "acceleration"]},
    **{key: {"None"} for key in ["weights_init", "means_init", "precisions_init"]},
    **{key: {"None"} for key in ["mean_prior", "covariance_prior"]},
    **dict.fromkeys(["weight_concentration_prior", "mean_precision_prior"], POSITIVE),
    "degrees_of_freedom_prior": {"None"},  # 1.5 is too small for three columns
    "refine": {"0"},
    **dict.fromkeys(["estimator", "criterion", "n_references", "starts"], NEVER),
    "covariance_types": {"None"},
    "reference_rows": {"None"},
    **{key: {"True"} for key in ["compute_full_tree", "compute_distances"]},
    **dict.fromkeys(["metric", "linkage"], NEVER),
    "memory": {"None", "text", "a word"},
    "eps": {"1.5"},
    "p": {"None", "0", "inf", "1.5"},
    "metric_params": {"None", "{}"},
    "min_samples": NEVER,
    "leaf_size": NEVER,
    "n_jobs": {"None", "True", "-1", "0"},
    "connectivity": {"None", "[]", "{}", "0-D"},  # looked at when the rows are there
    "distance_threshold": {"None"},  # beside n_clusters it is one too many, whatever it is
}
# Their shape is compared with that of the data, which are read first.
COMPARED = {"init", "weights_init", "means_init", "precisions_init", "mean_prior"}
COMPARED |= {"covariance_prior", "degrees_of_freedom_prior"}


def never_read() -> Any:
    raise AssertionError("the data were read before the parameters were checked")


@pytest.mark.parametrize(
    "kind", [name for name in fastclust.__all__ if hasattr(getattr(fastclust, name), "get_params")]
)
def test_every_parameter_refuses_what_it_cannot_be(kind: str) -> None:
    """And names itself, before anything is read or changed; by introspection."""
    sizes = {"n_components" if "Gaussian" in kind else "n_clusters": N_CLUSTERS}
    sizes = {} if kind == "DBSCAN" else sizes
    searches = kind == "ClusterSearch"  # which reads rows to know how many clusters there may be
    model = (
        fastclust.ClusterSearch(KMeans(), [3]) if searches else getattr(fastclust, kind)(**sizes)
    )
    for name in model.get_params(deep=False):
        for case, value in GRID.items():
            no_step = (name, case) == ("max_iter", "0") and "Gaussian" in kind
            # Without a number of starts a search has that of its estimator.
            if case in RIGHT[name] or no_step or (searches and (name, case) == ("n_init", "None")):
                continue
            fresh = clone(model).set_params(**{name: value})
            data = X if name in COMPARED or searches else never_read
            methods = ["fit", "partial_fit"] if hasattr(fresh, "partial_fit") else ["fit"]
            for method in methods:
                if method == "partial_fit" and data is never_read:
                    data = X  # a batch is an array
                before = dict(vars(fresh))
                with pytest.raises((ValueError, TypeError)) as caught:
                    getattr(fresh, method)(data)
                assert name in str(caught.value), (name, case, str(caught.value))
                assert_unchanged(fresh, before)
                if name not in COMPARED:
                    assert isinstance(caught.value, ValueError), (name, case)
                    assert isinstance(caught.value, TypeError), (name, case)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (
            lambda **wrong: kmeans_plusplus(X, **(GOOD | wrong)),
            ["n_clusters", "n_local_trials", "random_state"],
        ),
        (
            lambda **wrong: fastclust.silhouette_score(
                X, np.arange(40) % 3, **({"sample_size": 20} | wrong)
            ),
            ["sample_size", "metric", "random_state"],
        ),
        (fastclust.SampledKMeansPlusPlus, ["n_rows"]),
        (
            lambda **wrong: k_means(X, **(GOOD | wrong)),
            ["n_clusters", "n_init", "max_iter", "tol", "verbose", "copy_x", "algorithm"],
        ),
    ],
)
def test_every_argument_of_functions_refuses_what_it_cannot_be(call: Any, names: Any) -> None:
    for name in names:
        for case, value in GRID.items():
            if case not in RIGHT.get(name, NEVER):
                with pytest.raises((ValueError, TypeError), match=name) as caught:
                    call(**{name: value})
                assert isinstance(caught.value, ValueError)
                assert isinstance(caught.value, TypeError)


# --- Data ---


@pytest.mark.parametrize(("data", "error", "message"), cases(BAD_DATA))
def test_bad_data_in_fit(data: Any, error: type[Exception], message: str, fitted: Fitted) -> None:
    fresh = KMeans(**GOOD)
    for method in ("fit", "fit_predict", "fit_transform"):
        assert_refused(fresh, method, error, message, data)
        assert_refused(fitted.estimator, method, error, message, data)
    fitted.assert_usable()


@pytest.mark.parametrize(("data", "error", "message"), cases(BAD_DATA))
def test_bad_data_in_functions(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        k_means(data, **GOOD)
    with pytest.raises(error, match=message):
        kmeans_plusplus(data, **GOOD)


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
@pytest.mark.parametrize(("data", "error", "message"), cases(BAD_DATA))
def test_bad_data_after_fit(
    method: str, data: Any, error: type[Exception], message: str, fitted: Fitted
) -> None:
    assert_refused(fitted.estimator, method, error, message, data)
    fitted.assert_usable()


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
@pytest.mark.parametrize("data", [X[:, :2], np.hstack([X, X])], ids=["narrower", "wider"])
def test_other_number_of_features_after_fit(method: str, data: Any, fitted: Fitted) -> None:
    message = f"X has {data.shape[1]} features, but KMeans is expecting 3 features"
    assert_refused(fitted.estimator, method, ValueError, message, data)
    fitted.assert_usable()


def test_fit_of_other_data_replaces_the_number_of_features(fitted: Fitted) -> None:
    # A failed fit has kept it in the tests above; one that succeeds must not.
    fitted.estimator.fit(X[:, :2])
    assert fitted.estimator.n_features_in_ == 2
    assert fitted.estimator.predict(X[:, :2]).shape == (40,)


@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_method_before_fit(method: str) -> None:
    fresh = KMeans(**GOOD)
    before = dict(vars(fresh))
    with pytest.raises(NotFittedError, match="This KMeans instance is not fitted yet"):
        getattr(fresh, method)(X)
    assert_unchanged(fresh, before)


def test_failed_fit_is_not_a_fit() -> None:
    fresh = KMeans(**GOOD)
    with pytest.raises(ValueError, match="NaN"):
        fresh.fit(with_value(np.nan))
    with pytest.raises(NotFittedError):
        fresh.predict(X)


# --- The other estimators ---

# The same data and weights, to everything that has a fit.
OTHERS: dict[str, Any] = {
    "MiniBatchKMeans": fastclust.MiniBatchKMeans(N_CLUSTERS, random_state=0),
    "nested": fastclust.MiniBatchKMeans(N_CLUSTERS, random_state=0, algorithm="nested"),
    "BisectingKMeans": fastclust.BisectingKMeans(N_CLUSTERS, random_state=0),
    "GaussianMixture": fastclust.GaussianMixture(N_CLUSTERS, random_state=0),
    "BayesianGaussianMixture": fastclust.BayesianGaussianMixture(
        n_components=N_CLUSTERS, random_state=0
    ),
}
each_other = pytest.mark.parametrize("model", OTHERS.values(), ids=OTHERS)


@each_other
@pytest.mark.parametrize(("data", "error", "message"), cases(BAD_DATA))
def test_bad_data_in_other_estimators(model: Any, data: Any, error: Any, message: str) -> None:
    fresh = clone(model)
    if scipy.sparse.issparse(data) and not getattr(fresh, "reads_sparse", False):
        # Whichever is seen first.
        error, message = (TypeError, ValueError), "[Ss]parse|Complex data"
    assert_refused(fresh, "fit", error, message, data)
    assert_refused(fresh, "fit_predict", error, message, data)
    fitted = clone(model).fit(X)
    for method in ("fit", "predict"):
        assert_refused(fitted, method, error, message, data)


@each_other
@pytest.mark.parametrize(("weights", "error", "message"), cases(BAD_WEIGHTS))
def test_bad_weights_in_other_estimators(
    model: Any, weights: Any, error: type[Exception], message: str
) -> None:
    fresh = clone(model)
    assert_refused(fresh, "fit", error, message, X, sample_weight=weights)


@each_other
def test_other_estimators_before_fit_and_of_other_features(model: Any) -> None:
    name = type(model).__name__
    with pytest.raises(NotFittedError, match=f"This {name} instance is not fitted yet"):
        clone(model).predict(X)
    fitted = clone(model).fit(X)
    message = f"X has 2 features, but {name} is expecting 3 features"
    for method in ("predict", "score"):
        assert_refused(fitted, method, ValueError, message, X[:, :2])


COUNTS = {
    "MiniBatchKMeans": ("n_clusters", "batch_size", "max_iter", "n_init"),
    "BisectingKMeans": ("n_clusters", "max_iter", "n_init"),
}


@pytest.mark.parametrize(
    ("kind", "name", "value", "error", "message"),
    [
        pytest.param(kind, *row, id=f"{kind}, {case}")
        for kind, names in COUNTS.items()
        for name in names
        for case, row in of(name, integer_cases(name)).items()
    ]
    + [
        pytest.param(kind, *row, id=f"{kind}, {case}")
        for kind in COUNTS
        for case, row in (of("tol", BAD_TOL) | of("random_state", BAD_RANDOM_STATE)).items()
    ],
)
def test_bad_parameter_of_other_estimators(
    kind: str, name: str, value: Any, error: type[Exception], message: str
) -> None:
    model = clone(OTHERS[kind]).set_params(**{name: value})
    assert_refused(model, "fit", error, message, X)


# --- Weights ---


@pytest.mark.parametrize(("weights", "error", "message"), cases(BAD_WEIGHTS))
def test_bad_weights(weights: Any, error: type[Exception], message: str, fitted: Fitted) -> None:
    fresh = KMeans(**GOOD)
    for estimator in (fresh, fitted.estimator):
        for method in ("fit", "fit_predict", "fit_transform"):
            assert_refused(estimator, method, error, message, X, sample_weight=weights)
    assert_refused(fitted.estimator, "score", error, message, X, sample_weight=weights)
    fitted.assert_usable()
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        k_means(X, **GOOD, sample_weight=weights)


def test_random_starts_need_as_many_rows_of_weight_as_clusters() -> None:
    weights = np.zeros(40)
    weights[:3] = 1
    fresh = KMeans(**GOOD, init="random")
    assert_refused(fresh, "fit", ValueError, "sample_weight", X, sample_weight=weights)


# --- Sources ---


FOLDERS = {
    "folder.npy": "must hold files of rows, but it holds none.",
    "folder.parquet": "must hold files of rows, but it holds none.",
}


def damaged_files(folder: Path) -> dict[str, str]:
    """Files that hold no rows, and what is said of each."""
    np.save(folder / "good.npy", X)
    good = (folder / "good.npy").read_bytes()
    contents = {
        "empty.npy": b"",
        "foreign.npy": b"a,b" * 100,
        "short.npy": good[:300],
        "head.npy": good[:50],
        "negative.npy": good.replace(b"(40, 3)", b"(-4, 3)"),
        "empty.parquet": b"",
        "foreign.parquet": good,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    for name in FOLDERS:
        (folder / name).mkdir()
    arrays = {
        "one.npy": X[:, 0],
        "three.npy": X[None],
        "rows.npy": X[:0],
        "columns.npy": X[:, :0],
        "complex.npy": X + 1j,
        "words.npy": np.array([["a"]]),
        "fields.npy": np.zeros((5, 2), [("a", float)]),
        "objects.npy": np.array([[1, None]], dtype=object),
    }
    for name, array in arrays.items():
        np.save(folder / name, array, allow_pickle=True)
    with (folder / "several.npy").open("wb") as file:
        np.savez(file, X)
    shapes = "must have two dimensions, rows and columns, but its shape is"
    nothing = "must hold at least one row and one column, but its shape is"
    said = {
        "one.npy": shapes,
        "three.npy": shapes,
        "rows.npy": nothing,
        "columns.npy": nothing,
        "complex.npy": "must hold real numbers, but its dtype is complex128",
        "words.npy": "must hold real numbers, but its dtype is <U1",
        "fields.npy": "must hold real numbers, but its dtype is",
        "several.npy": "must hold one array, but it is an archive of arrays",
        "foreign.npy": "could not be read as rows: it does not begin as a '.npy' file does",
    }
    names = [*contents, *arrays, *FOLDERS, "several.npy", "missing.npy"]
    return {name: said.get(name, "could not be read") for name in names}


def test_files_that_hold_no_rows(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    labels = np.arange(40) % 3
    for name, what in damaged_files(tmp_path).items():
        message = (
            f"The folder '{name}' {FOLDERS[name]}"
            if name in FOLDERS
            else f"the file '{name}' {what}"
        )
        for call in (
            KMeans(3).fit,
            fastclust.BisectingKMeans(3).fit,
            fastclust.GaussianMixture().fit,
            lambda data: kmeans_plusplus(data, 3),
            lambda data: fastclust.silhouette_samples(data, labels),
        ):
            with pytest.raises((ValueError, TypeError)) as caught:
                call(tmp_path / name)
            assert message in str(caught.value), (name, str(caught.value))


def test_what_resembles_a_source_but_is_none(tmp_path: Path) -> None:
    for wrong, message in (
        ([str(tmp_path), "b.npy"], "A list of paths must be of files, but .* is a folder"),
        ((tmp_path,), "A list of paths must be of files, but .* is a folder"),
        (b"a.npy", "X must be .*not b'a.npy' of bytes"),
        (iter([X]), "X must be .*a callable that returns a fresh iterator.*not a list_iterator"),
        ((part for part in [X]), "X must be .*not a generator"),
        ("rows.csv", r"X must be .*must end in '\.npy'.*'rows\.csv'"),
    ):
        for call in (KMeans(3).fit, lambda data: kmeans_plusplus(data, 3)):
            with pytest.raises((ValueError, TypeError), match=message):
                call(wrong)


def test_groups_and_closed_files(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["rows"] = X
        closed = file["rows"]
        for group in (file, file.create_group("part")):
            with pytest.raises(TypeError, match=r"X must be an array of the h5py .*not the"):
                KMeans(3).fit(group)
    for each in (closed, file):
        with pytest.raises(ValueError, match=r"X must be .*open HDF5 file, but the file is closed"):
            KMeans(3).fit(each)
    zarr = pytest.importorskip("zarr")
    with pytest.raises(TypeError, match="X must be an array of the zarr group"):
        KMeans(3).fit(zarr.open_group(str(tmp_path / "rows.zarr"), mode="w"))


def test_parquet_with_a_name_twice(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table([X[:, 0], X[:, 1]], names=["a", "a"]), tmp_path / "X.pq")
    with pytest.raises(ValueError, match=r"file 'X.pq' must have a name of its own.*'a'"):
        KMeans(3).fit(tmp_path / "X.pq")


@pytest.mark.parametrize("n_local_trials", [None, 1])
def test_functions_take_the_sources_that_estimators_take(
    n_local_trials: int | None, tmp_path: Path
) -> None:
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "F.npy", np.asfortranarray(X))
    weights, labels = X[:, 0] + 1, np.arange(40) % 3
    options: dict[str, Any] = {"sample_weight": weights, "n_local_trials": n_local_trials}
    sources: list[Any] = [tmp_path / "X.npy", str(tmp_path / "F.npy")]
    for source in [*sources, lambda: iter([X[:17], X[17:]])]:
        for given, wanted in zip(
            kmeans_plusplus(source, **GOOD, **options),
            kmeans_plusplus(X, **GOOD, **options),
            strict=True,
        ):
            np.testing.assert_array_equal(given, wanted)
        np.testing.assert_array_equal(
            fastclust.silhouette_samples(source, labels), fastclust.silhouette_samples(X, labels)
        )
        sampled = {"sample_size": 20, "random_state": 0}
        found = fastclust.silhouette_score(source, labels, **sampled)
        assert found == fastclust.silhouette_score(X, labels, **sampled)


# --- Data that are odd, not bad ---

FEW = np.repeat([[1.0, 2.0], [5.0, 9.0]], 10, axis=0)


@pytest.mark.parametrize(
    "init",
    [
        "k-means++",
        "k-means||",
        "random",
        FEW[::6],
        lambda data, n_clusters, random_state: data[::6],
    ],
    ids=["k-means++", "k-means||", "random", "array", "callable"],
)
def test_fewer_distinct_rows_than_clusters(init: Any) -> None:
    model = KMeans(4, init=init, n_init=1, random_state=0)
    message = r"Number of distinct clusters \(2\) found smaller than n_clusters \(4\)"
    with pytest.warns(ConvergenceWarning, match=message) as caught:
        model.fit(FEW)
    assert len(caught) == 1
    assert model.inertia_ == 0
    assert model.cluster_centers_.shape == (4, 2)
    np.testing.assert_array_equal(model.cluster_centers_[model.labels_], FEW)
    assert len(np.unique(model.labels_)) == 2


def test_fewer_distinct_rows_than_clusters_in_functions() -> None:
    with pytest.warns(ConvergenceWarning, match=r"n_clusters \(4\)"):
        centers, labels, inertia = k_means(FEW, 4, random_state=0)
    assert inertia == 0
    np.testing.assert_array_equal(centers[labels], FEW)

    centers, indices = kmeans_plusplus(FEW, 4, random_state=0)
    np.testing.assert_array_equal(centers, FEW[indices])
    assert len(np.unique(centers, axis=0)) == 2


def test_array_init_with_several_starts_warns() -> None:
    with pytest.warns(RuntimeWarning, match="only one init in KMeans instead of n_init=5"):
        KMeans(N_CLUSTERS, init=START, n_init=5).fit(X)


def test_the_names_that_are_typed_are_those_that_are_accepted() -> None:
    """An editor completes what a fit takes, and nothing else."""
    from typing import get_args

    from fastclust import choices
    from fastclust.kernels.algorithms import ALGORITHMS

    assert set(get_args(choices.Algorithm)) == set(ALGORITHMS)
    X = np.arange(12.0).reshape(6, 2)
    for name in get_args(choices.BatchAlgorithm):
        MiniBatchKMeans(2, algorithm=name, random_state=0).fit(X)
    for name in get_args(choices.Strategy):
        BisectingKMeans(2, bisecting_strategy=name, random_state=0).fit(X)
    for name in get_args(choices.Covariance):
        GaussianMixture(covariance_type=name).fit(X)
    for name in get_args(choices.Responsibilities):
        GaussianMixture(init_params=name).fit(X)


def test_warnings_are_of_the_line_that_calls() -> None:
    """However many frames of this package are in between."""
    start = START.copy()
    calls: list[Callable[[], Any]] = [
        lambda: KMeans(N_CLUSTERS, init=start, n_init=5).fit(X),
        lambda: KMeans(N_CLUSTERS, init=start, n_init=5).fit_predict(X),
        lambda: KMeans(4, random_state=0).fit(FEW),
        lambda: KMeans(1, algorithm="elkan").fit_transform(X),
        lambda: k_means(X, N_CLUSTERS, init=start, n_init=5),
        lambda: fastclust.MiniBatchKMeans(N_CLUSTERS, init_size=2, max_iter=1).fit(X),
        lambda: fastclust.MiniBatchKMeans(N_CLUSTERS, init=start, n_init=2).partial_fit(X),
        lambda: fastclust.GaussianMixture(2, max_iter=1, tol=0, random_state=0).fit(X),
        lambda: fastclust.GaussianMixture(2, max_iter=1, tol=0, random_state=0).fit_predict(X),
    ]
    for call in calls:
        with pytest.warns((RuntimeWarning, ConvergenceWarning)) as caught:
            call()
        assert {warning.filename for warning in caught} == {__file__}
