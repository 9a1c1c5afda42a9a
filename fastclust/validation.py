"""Every check of a user's input, and every message about it.

A message is one sentence that names the argument, what it was and what it must be.  Nothing is
changed before all checks have passed.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from .kernels.algorithms import ALGORITHMS
from .kernels.tiles import Array

FLOATS = [np.float64, np.float32]


def _said(value: Any) -> str:
    """Short description of what an argument was."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_int(name: str, value: Any, least: int) -> int:
    """An integer that is at least `least`; booleans and 3.0 are not integers."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{name} must be an integer, not {_said(value)} of type {type(value).__name__}."
        )
    if value < least:
        raise ValueError(f"{name} must be at least {least}, but it is {value}.")
    return int(value)


def check_tolerance(name: str, value: Any) -> float:
    """A finite number that is not negative."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name} must be a number, not {_said(value)} of type {type(value).__name__}."
        )
    if not 0 <= float(value) < np.inf:
        raise ValueError(f"{name} must be finite and not negative, but it is {value}.")
    return float(value)


def check_algorithm(value: Any) -> Any:
    """The class behind the name of an algorithm."""
    if not isinstance(value, str) or value not in ALGORITHMS:
        known = ", ".join(map(repr, ALGORITHMS))
        raise ValueError(f"algorithm must be one of {known}, but it is {_said(value)}.")
    return ALGORITHMS[value]


def check_init(init: Any) -> Any:
    """The name of a method, a callable, or anything that can be made an array of."""
    if isinstance(init, str):
        if init not in ("k-means++", "random"):
            raise ValueError(
                "init must be 'k-means++', 'random', a callable or an array of shape "
                f"(n_clusters, n_features), but it is {init!r}."
            )
    elif not callable(init) and not hasattr(init, "__array__") and not hasattr(init, "__len__"):
        raise TypeError(
            "init must be 'k-means++', 'random', a callable or an array of shape "
            f"(n_clusters, n_features), not {_said(init)}."
        )
    return init


def check_n_init(value: Any, init: Any, default: int) -> int:
    """Number of starts: ``"auto"`` is 1 for k-means++ and arrays, `default` otherwise."""
    if isinstance(value, str):
        if value != "auto":
            raise ValueError(f"n_init must be 'auto' or an integer, but it is {value!r}.")
        return default if callable(init) or (isinstance(init, str) and init == "random") else 1
    return check_int("n_init", value, 1)


def check_data(estimator: Any, X: Any, *, fitting: bool) -> Array:
    """Rows as a C-contiguous float array, float32 kept, copied only where it must be converted.

    Messages about the data are scikit-learn's own, which name `X` and what is wrong with it.
    """
    if scipy.sparse.issparse(X):
        raise TypeError(
            f"X must be a dense array, but it is a sparse {type(X).__name__}; "
            "use X.toarray() if it fits in memory."
        )
    return validate_data(estimator, X, reset=fitting, dtype=FLOATS, order="C")


def check_rows(X: Any) -> Array:
    """As :func:`check_data`, for functions that have no estimator."""
    if scipy.sparse.issparse(X):
        raise TypeError(
            f"X must be a dense array, but it is a sparse {type(X).__name__}; "
            "use X.toarray() if it fits in memory."
        )
    return check_array(X, dtype=FLOATS, order="C", input_name="X")


def check_fitted(estimator: Any) -> None:
    """Raise scikit-learn's NotFittedError before a fit."""
    check_is_fitted(estimator)


def check_n_clusters(n_clusters: Any, n_samples: int) -> int:
    """A number of clusters between 1 and the number of rows."""
    n_clusters = check_int("n_clusters", n_clusters, 1)
    if n_clusters > n_samples:
        raise ValueError(f"n_samples={n_samples} should be >= n_clusters={n_clusters}.")
    return n_clusters


def check_weights(sample_weight: Any, X: Array) -> Array | None:
    """Weights of the dtype of `X`, or None where all are one."""
    if sample_weight is None:
        return None
    n_samples = len(X)
    if isinstance(sample_weight, numbers.Number):
        sample_weight = np.full(n_samples, sample_weight)
    weights = check_array(
        sample_weight, dtype=X.dtype, ensure_2d=False, order="C", input_name="sample_weight"
    )
    if weights.shape != (n_samples,):
        raise ValueError(
            f"sample_weight.shape == {weights.shape}, expected {(n_samples,)}: "
            "there must be one weight for each row of X."
        )
    if (weights < 0).any():
        raise ValueError(
            f"Negative values in data passed to `sample_weight`: weights must not be negative, "
            f"but the smallest is {weights.min()}."
        )
    if not weights.any():
        raise ValueError("sample_weight must have a weight above zero, but all are zero.")
    return weights


def check_norms(x_squared_norms: Any, X: Array) -> None:
    """Squared norms, one for each row."""
    norms = check_array(x_squared_norms, ensure_2d=False, input_name="x_squared_norms")
    if len(norms) != len(X):
        raise ValueError(
            f"The length of x_squared_norms {len(norms)} should be equal to "
            f"the length of n_samples {len(X)}."
        )


def check_centers(name: str, centers: Any, X: Array, n_clusters: int) -> Array:
    """Initial centers as a new array of shape (n_clusters, n_features) and the dtype of `X`."""
    centers = check_array(centers, dtype=X.dtype, order="C", copy=True, input_name=name)
    if centers.shape[0] != n_clusters:
        raise ValueError(
            f"The shape of the initial centers {centers.shape} does not match "
            f"the number of clusters {n_clusters}."
        )
    if centers.shape[1] != X.shape[1]:
        raise ValueError(
            f"The shape of the initial centers {centers.shape} does not match "
            f"the number of features of the data {X.shape[1]}."
        )
    return centers


def is_array_like(init: Any) -> bool:
    """Whether `init` gives the centers themselves."""
    return not isinstance(init, str) and not callable(init)
