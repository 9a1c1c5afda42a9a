"""Every check of a user's input, and every message about it.

A message is one sentence that names the argument, what it was and what it must be.  Nothing is
changed before all checks have passed.  A wrong parameter is scikit-learn's InvalidParameterError,
which is a ValueError and a TypeError.
"""

from __future__ import annotations

import math
import numbers
import sys
import warnings
from typing import Any

import numpy as np
import scipy.sparse
import sklearn
from numpy.random.bit_generator import ISeedSequence
from sklearn.utils import assert_all_finite, check_array, check_random_state, check_X_y
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import check_is_fitted, validate_data

from .kernels.algorithms import ALGORITHMS
from .kernels.machine.parallel import Team
from .kernels.serving import all_finite
from .kernels.sparse import BAD_INDICES, BAD_POINTERS, CANONICAL, structure
from .kernels.tiles import Array
from .rows.sources import DistantWeights, Source, open_rows


class Unsupported(TypeError):
    """A request that scikit-learn supports and fastclust does not."""


class UnsupportedParameter(Unsupported, InvalidParameterError):
    """Such a wish that is the value of a parameter."""


STARTS = ("k-means++", "k-means||", "random")  # names of ways to find first centers
FLOATS = [np.float64, np.float32]
FLOAT_TYPES = frozenset(map(np.dtype, FLOATS))


def said(value: Any) -> str:
    """Short description of what an argument was."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def warn(message: str, category: type[Warning]) -> None:
    """Warn of a line of the user's: the nearest that is not of this package."""
    frame, level = sys._getframe(1), 2
    # Decorators of scikit-learn's are in between, too.
    passed = (__name__.removesuffix("validation"), "sklearn.utils._")
    while frame.f_back is not None and frame.f_globals["__name__"].startswith(passed):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def check_int(name: str, value: Any, least: int) -> int:
    """An integer that is at least `least`; booleans and 3.0 are not integers."""
    if type(value) is not int and (  # the general question takes a while, and every batch asks
        isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral)
    ):
        raise InvalidParameterError(
            f"{name} must be an integer, not {said(value)} of type {type(value).__name__}."
        )
    if value < least:
        raise InvalidParameterError(f"{name} must be at least {least}, but it is {value}.")
    return int(value)


def check_tolerance(name: str, value: Any) -> float:
    """A finite number that is not negative."""
    if type(value) is not float and (
        isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real)
    ):
        raise InvalidParameterError(
            f"{name} must be a number, not {said(value)} of type {type(value).__name__}."
        )
    if not 0 <= float(value) < np.inf:
        raise InvalidParameterError(f"{name} must be finite and not negative, but it is {value}.")
    return float(value)


def check_share(name: str, value: Any) -> float:
    """A number from 0 to 1."""
    if check_tolerance(name, value) > 1:
        raise InvalidParameterError(f"{name} must be from 0 to 1, but it is {value}.")
    return float(value)


def check_bool(name: str, value: Any) -> bool:
    """True or False, nothing that merely counts as such."""
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidParameterError(
            f"{name} must be True or False, not {said(value)} of type {type(value).__name__}."
        )
    return bool(value)


def check_option(name: str, value: Any, known: tuple[str, ...]) -> str:
    """One of several names."""
    if not isinstance(value, str) or value not in known:
        options = ", ".join(map(repr, known))
        raise InvalidParameterError(f"{name} must be one of {options}, but it is {said(value)}.")
    return value


def check_algorithm(value: Any) -> Any:
    """The class behind the name of an algorithm."""
    name = check_option("algorithm", value, tuple(ALGORITHMS))
    if name == "exponion":
        warn(
            "algorithm='exponion' is deprecated and will be removed: it is 'hamerly' now, which "
            "gives the same bits.",
            FutureWarning,
        )
    return ALGORITHMS[name]


def check_verbose(value: Any) -> bool:
    """True, False, or a number: zero means False, any other True."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return check_int("verbose", value, 0) > 0


def check_spread(variances: Array, X: Any, estimator: Any = None, *, unseen: bool = False) -> None:
    """Data whose squared distances are numbers.

    With `estimator`, or if `unseen` where there is none, whether they are finite is not known yet:
    what is not shows in the variances, too.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(variances.sum()) * X.shape[0]
    if not math.isfinite(total):
        if (unseen or estimator is not None) and not isinstance(X, Source):
            name = None if estimator is None else type(estimator).__name__
            assert_all_finite(X, estimator_name=name, input_name="X")
        raise ValueError(
            "X must have columns whose squares add up to finite numbers, but the sum of squared "
            f"distances to the mean is {total}: scale X down."
        )


def check_inertia(inertia: float) -> None:
    """A result that has not overflowed."""
    if not np.isfinite(inertia):
        raise ValueError(
            "X and sample_weight must be small enough for a finite weighted sum of squared "
            f"distances, but it is {inertia}: scale one of them down."
        )


def check_bisecting_init(init: Any) -> None:
    """The name of a method or a callable."""
    if not callable(init) and not (isinstance(init, str) and init in ("k-means++", "random")):
        raise InvalidParameterError(
            f"init must be 'k-means++', 'random' or a callable, but it is {said(init)}."
        )


def check_init(init: Any) -> Any:
    """The name of a method, a callable, or anything that can be made an array of."""
    if isinstance(init, str):
        if init not in STARTS:
            raise InvalidParameterError(
                "init must be 'k-means++', 'k-means||', 'random', a callable or an array of shape "
                f"(n_clusters, n_features), but it is {init!r}."
            )
    elif not callable(init) and not hasattr(init, "__array__") and not hasattr(init, "__len__"):
        raise InvalidParameterError(
            "init must be 'k-means++', 'k-means||', 'random', a callable or an array of shape "
            f"(n_clusters, n_features), not {said(init)}."
        )
    return init


def check_init_for(init: Any, X: Any) -> None:
    """That rows which must be read are not asked for as an array."""
    if isinstance(X, Source) and callable(init) and not hasattr(init, "choose_from"):
        raise InvalidParameterError(
            "init must be 'k-means++', 'k-means||', 'random', an array or SampledKMeansPlusPlus "
            f"for {X.name}, not a callable that wants all rows as an array ({said(init)})."
        )


def check_n_init(value: Any, init: Any, default: int) -> int:
    """Number of starts: `default` for random ones if ``"auto"``, 1 for all others."""
    if isinstance(value, str):
        if value != "auto":
            raise InvalidParameterError(
                f"n_init must be 'auto' or an integer, but it is {value!r}."
            )
        return default if callable(init) or (isinstance(init, str) and init == "random") else 1
    return check_int("n_init", value, 1)


# Sparse matrices of every format become CSR, with indices of 32 or of 64 bits as they come.
DATA: dict[str, Any] = {"accept_sparse": "csr", "dtype": FLOATS, "order": "C"}


def check_namespace(X: Any) -> None:
    """No array of another library where scikit-learn has been told to compute by that library."""
    if not sklearn.get_config()["array_api_dispatch"]:
        return
    from sklearn.utils._array_api import get_namespace  # which moves: only where it is needed

    name = get_namespace(X)[0].__name__
    if not name.endswith("numpy"):
        raise Unsupported(
            "X must be an array of NumPy's where array_api_dispatch=True, but it is a "
            f"{type(X).__name__} of {name}; use np.asarray(X)."
        )


INDICES = (np.dtype(np.int32), np.dtype(np.int64))


def check_sparse(X: Any) -> Any:
    """A sparse matrix whose indices are those of places that it has: kernels follow them unseen.

    SciPy checks the structure of a matrix when it is made, but not what is written to its arrays
    thereafter, and follows the indices itself when it converts it to CSR.  Whether they are in
    order is remembered with a CSR matrix, as SciPy does.
    """
    if X.ndim != 2:  # scikit-learn has a message for it
        return X
    if X.format == "coo":
        return _check_coordinates(X)
    if X.format not in ("csr", "csc", "bsr"):
        X = X.tocsr()  # formats without indices that could lead astray
    data, indices, indptr = X.data, X.indices, X.indptr
    n_rows, n_columns = X.shape[::-1] if X.format == "csc" else X.shape
    if X.format == "bsr":
        n_rows, n_columns = n_rows // X.blocksize[0], n_columns // X.blocksize[1]
    for name, array in (("indices", indices), ("indptr", indptr)):
        if array.ndim != 1 or array.dtype not in INDICES:
            raise ValueError(
                f"X.{name} must be a vector of int32 or int64, but it is of shape {array.shape} "
                f"and of {array.dtype}."
            )
    if (
        len(data) != len(indices)
        or len(indptr) != n_rows + 1
        or (data.shape[1:] != (X.blocksize if X.format == "bsr" else ()))
    ):
        raise ValueError(
            f"X.data and X.indices must be of one length and X.indptr of length {n_rows + 1}, but "
            f"their shapes are {data.shape}, {indices.shape} and {indptr.shape}."
        )
    found = structure(np.ascontiguousarray(indices), np.ascontiguousarray(indptr), n_columns)
    if found == BAD_POINTERS:
        raise ValueError(
            f"X.indptr must begin at 0, never fall and end at most at {len(indices)}, the number "
            "of X.indices."
        )
    if found == BAD_INDICES:
        raise ValueError(
            f"X.indices must be from 0 to {n_columns - 1}, but they are from {indices.min()} to "
            f"{indices.max()}."
        )
    if X.format != "csr":
        return X
    if len(indices) > indptr[-1] or not (
        data.flags.c_contiguous and indices.flags.c_contiguous and indptr.flags.c_contiguous
    ):
        X = X.copy()  # without what stands behind the last row
        X.prune()
    X.has_canonical_format = found == CANONICAL
    return X


def _check_coordinates(X: Any) -> Any:
    """As :func:`check_sparse`, for a COO matrix."""
    for name, array, size in (("row", X.row, X.shape[0]), ("col", X.col, X.shape[1])):
        if array.shape != X.data.shape or array.dtype.kind not in "iu":
            raise ValueError(
                f"X.{name} must be integers, as many as X.data, but it is of shape {array.shape} "
                f"and of {array.dtype}, and X.data of shape {X.data.shape}."
            )
        if array.size and not (array.min() >= 0 and array.max() < size):
            raise ValueError(
                f"X.{name} must be from 0 to {size - 1}, but it is from {array.min()} to "
                f"{array.max()}."
            )
    return X


def check_data(estimator: Any, X: Any, *, fitting: bool, finite: bool = True) -> Array:
    """Rows as a C-contiguous or CSR float array, float32 kept, copied only where converted.

    Without `finite`, whether they are finite is left to :func:`check_spread` or
    :func:`check_finite`, which saves a pass.
    Messages about the data are scikit-learn's own, which name `X` and what is wrong with it.
    """
    check_namespace(X)
    _check_dense(estimator, X, "toarray()")
    if scipy.sparse.issparse(X):
        X = check_sparse(X)
    X = X if finite else _put_in_order(X)
    if not finite and (_is_in_order(X) or _is_csr(X)):
        # All that scikit-learn would find out about it; most of a small fit would go into that.
        if fitting:
            estimator.n_features_in_ = X.shape[1]
            vars(estimator).pop("feature_names_in_", None)
            return X
        if _has_features_of(estimator, X):
            return X
    if not finite and (found := _of_plain_frame(X)) is not None:
        names = vars(estimator).get("feature_names_in_")
        if fitting or names is None or names.tolist() != X.columns.tolist():
            validate_data(estimator, X, reset=fitting, skip_check_array=True)
        return found
    rows = validate_data(estimator, X, reset=fitting, ensure_all_finite=finite, **DATA)
    _check_dense(estimator, rows, "sparse.to_dense()")  # what a frame of sparse columns becomes
    return rows


def _of_plain_frame(X: Any) -> Array | None:
    """The rows of a pandas frame whose columns are one block of floats in memory, else None.

    scikit-learn would ask each column about its type first, which takes longer than to use them.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None or type(X) is not pandas.DataFrame or X.columns.nlevels > 1:
        return None
    kinds = set(X.dtypes.array)
    if len(kinds) != 1 or not kinds <= FLOAT_TYPES:
        return None
    rows = np.ascontiguousarray(X.to_numpy())
    return rows if _is_in_order(rows) else None


def _check_dense(estimator: Any, X: Any, remedy: str) -> None:
    """No sparse rows for an estimator that reads none."""
    if scipy.sparse.issparse(X) and not getattr(estimator, "reads_sparse", False):
        raise Unsupported(
            f"X must be a dense array, but it is a sparse {type(X).__name__}; "
            f"use X.{remedy} if it fits in memory."
        )


def open_data(estimator: Any, X: Any, *, fitting: bool, finite: bool = True) -> Any:
    """Rows as by :func:`check_data`, or a :class:`.rows.sources.Source` of what must be read."""
    X = open_rows(X)
    if not isinstance(X, Source):
        return check_data(estimator, X, fitting=fitting, finite=finite)
    # Names and number of columns; values are checked when they are read.
    validate_data(estimator, X.head(), reset=fitting, dtype=FLOATS, ensure_all_finite=False)
    return X


def open_array(estimator: Any, X: Any, *, fitting: bool, finite: bool = True) -> Array:
    """As :func:`open_data`, where rows are wanted in any order and not block by block."""
    X = open_rows(X)
    if isinstance(X, Source):
        raise Unsupported(
            f"X must be an array, a memory map or the path of a '.npy' file of C-contiguous floats "
            f"for {type(estimator).__name__}, but it is {X.name}, which is read block by block."
        )
    return check_data(estimator, X, fitting=fitting, finite=finite)


def check_batch(estimator: Any, X: Any, *, fitting: bool) -> Array:
    """As :func:`check_data`, in a fraction of the time for a batch that is as it should be.

    Whether its numbers are finite is then left to the step.
    """
    if not fitting and _is_in_order(X) and _has_features_of(estimator, X):
        return X
    return check_data(estimator, X, fitting=fitting)


def check_finite(estimator: Any, X: Any, team: Team) -> None:
    """That rows which :func:`check_data` has let pass unseen are finite."""
    if isinstance(X, Source):  # which sees to it
        return
    if not all_finite(X.data if scipy.sparse.issparse(X) else X, team):
        assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")


def _put_in_order(X: Any) -> Any:
    """An array of floats or integers as scikit-learn would convert it; anything else as it is."""
    if type(X) is not np.ndarray or X.ndim != 2 or X.size == 0 or _is_in_order(X):
        return X
    if X.dtype.kind not in "fiu" or X.dtype.itemsize > 8:
        return X
    return np.ascontiguousarray(X, X.dtype if X.dtype in FLOATS else np.float64)


def _is_in_order(X: Any) -> bool:
    """Whether `X` is an array that needs no conversion, has rows and columns, and no names."""
    return (
        type(X) is np.ndarray
        and X.dtype in FLOATS
        and X.ndim == 2
        and X.size > 0
        and X.flags.c_contiguous
        and X.flags.aligned
    )


def _is_csr(X: Any) -> bool:
    """As :func:`_is_in_order`, for sparse rows."""
    return (
        scipy.sparse.issparse(X)
        and X.format == "csr"
        and X.ndim == 2
        and X.dtype in FLOATS
        and X.shape[0] > 0
        and X.shape[1] > 0
    )


def _has_features_of(estimator: Any, X: Array) -> bool:
    """Whether `X` has the columns that `estimator` was fitted to, which had no names."""
    return X.shape[1] == estimator.n_features_in_ and not hasattr(estimator, "feature_names_in_")


def open_unowned(X: Any, *, finite: bool = True) -> Any:
    """As :func:`open_data`, for functions that have no estimator."""
    X = open_rows(X)
    if isinstance(X, Source):
        return X
    if scipy.sparse.issparse(X):
        X = check_sparse(X)
    if not finite and (_is_in_order(X) or _is_csr(X)):
        return X
    return check_array(X, input_name="X", ensure_all_finite=finite, **DATA)


def check_rows_and_labels(X: Any, labels: Any, *, finite: bool = True) -> tuple[Array, Array]:
    """Dense rows, those of a source in memory, and as many labels of any kind.

    Without `finite`, whether rows are finite is left to :func:`check_spread`.
    """
    check_namespace(X)
    X = open_rows(X)
    if isinstance(X, Source):
        X = X.ranges([(0, X.shape[0])])[0]
    if scipy.sparse.issparse(X):
        raise Unsupported(f"X must be a dense array, but it is a sparse {type(X).__name__}.")
    rows: tuple[Array, Array] = check_X_y(
        X, labels, dtype=FLOATS, order="C", ensure_all_finite=finite
    )
    return rows


def check_labelled_rows(X: Any, labels: Any) -> tuple[Array, Array, Array]:
    """Rows, their clusters as numbers from 0, and the sizes of these clusters.

    Whether the rows are finite is left to :func:`check_spread`.
    """
    X, labels = check_rows_and_labels(X, labels, finite=False)
    names, numbers_, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if not 1 < len(names) < len(X):
        raise ValueError(
            f"Number of labels is {len(names)}. Valid values are 2 to n_samples - 1 (inclusive): "
            f"labels must be of 2 to {len(X) - 1} clusters."
        )
    return X, numbers_.astype(np.int64), sizes.astype(np.int64)


def check_metric(metric: Any, parameters: dict[str, Any]) -> None:
    """Distances of a known kind, which have no parameters."""
    if not isinstance(metric, str) or metric not in ("euclidean", "l2", "cosine"):
        raise UnsupportedParameter(
            f"metric must be 'euclidean', 'l2' or 'cosine', but it is {said(metric)}."
        )
    if parameters:
        raise Unsupported(
            f"metric={metric!r} must have no parameters, but these are given: "
            f"{', '.join(sorted(parameters))}."
        )


def check_fitted(estimator: Any) -> None:
    """Raise scikit-learn's NotFittedError before a fit."""
    if "cluster_centers_" not in vars(estimator):  # or it is: scikit-learn asks for its tags, too
        check_is_fitted(estimator)


def check_n_clusters(n_clusters: Any, n_samples: int) -> int:
    """A number of clusters between 1 and the number of rows."""
    n_clusters = check_int("n_clusters", n_clusters, 1)
    if n_clusters > n_samples:
        raise ValueError(f"n_samples={n_samples} should be >= n_clusters={n_clusters}.")
    return n_clusters


def _real_array(name: str, value: Any) -> Array:
    """An array of real numbers, of any shape."""
    if scipy.sparse.issparse(value):
        raise TypeError(f"{name} must be a dense array, but it is a sparse {type(value).__name__}.")
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            if array.dtype.kind == "c":
                raise ValueError("complex numbers")
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be an array of real numbers, but it is {said(value)} ({error})."
        ) from error
    return array


def check_numbers(name: str, value: Any, *, scalar: bool) -> None:
    """None or an array of real numbers, whose shape is compared later; maybe a single number."""
    if value is None:
        return
    array = _real_array(name, value)
    if array.size == 0 or (array.ndim == 0 and not scalar) or isinstance(value, bool):
        raise InvalidParameterError(
            f"{name} must be None or an array of numbers, but it is {said(value)}."
        )


def _reals(name: str, value: Any, shape: tuple[int | str, ...], dtype: Any) -> Array:
    """An array of finite real numbers, C-contiguous and of `dtype`; letters in `shape` are free."""
    array = _real_array(name, value)
    wanted = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
    fits = len(array.shape) == len(shape) and all(
        isinstance(size, str) or size == found
        for size, found in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name}.shape == {array.shape}, expected {wanted}.")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype)
    if not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else "infinity"
        raise ValueError(
            f"Input {name} contains {what} as {np.dtype(dtype).name}: it must be finite."
        )
    return array


def check_weights(sample_weight: Any, X: Array, *, all_zero: bool = False) -> Any:
    """Weights of the dtype of `X`, or None where all are one; `all_zero` says if they may be."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, DistantWeights):
        least, most = sample_weight.least(), sample_weight.most()
        _check_weights(least, most, sample_weight.sum(np.float64), all_zero)
        return sample_weight
    if isinstance(sample_weight, numbers.Number):
        sample_weight = np.full(X.shape[0], sample_weight)
    weights = _reals("sample_weight", sample_weight, (X.shape[0],), X.dtype)
    with np.errstate(over="ignore"):
        total = weights.sum(dtype=np.float64)
    _check_weights(weights.min(), weights.max(), total, all_zero)
    return weights


def _check_weights(least: float, most: float, total: float, all_zero: bool) -> None:
    """Weights of this smallest and this largest one, and of this sum."""
    if least < 0:
        raise ValueError(
            "Negative values in data passed to `sample_weight`: weights must not be negative, "
            f"but the smallest is {least}."
        )
    if not np.isfinite(total):
        raise ValueError(
            "sample_weight must add up to a finite number, but its largest weight is "
            f"{most}: scale it down."
        )
    if not all_zero and most == 0:
        raise ValueError("sample_weight must have a weight above zero, but all are zero.")


def n_positive(weights: Any) -> int:
    """How many weights are above zero, of such as are not negative."""
    if isinstance(weights, DistantWeights):
        return weights.n_positive()
    return int(np.count_nonzero(weights))


def check_drawable(weights: Array | None, n_drawn: int, init: str = "random") -> None:
    """Enough rows that can be drawn as first centers: for 'random', one for each cluster."""
    if weights is not None and n_positive(weights) < n_drawn:
        least = f"at least n_clusters={n_drawn} weights" if init == "random" else "a weight"
        raise ValueError(
            f"sample_weight must have {least} above zero for init={init!r}, but it has "
            f"{n_positive(weights)}."
        )


def check_norms(x_squared_norms: Any, X: Array) -> None:
    """Squared norms, one for each row."""
    if len(np.shape(x_squared_norms)) > 0 and len(x_squared_norms) != X.shape[0]:
        raise ValueError(
            f"The length of x_squared_norms {len(x_squared_norms)} should be equal to "
            f"the length of n_samples {X.shape[0]}."
        )
    _reals("x_squared_norms", x_squared_norms, (X.shape[0],), X.dtype)


def check_centers(name: str, centers: Any, X: Array, n_clusters: int) -> Array:
    """Initial centers as a new array of shape (n_clusters, n_features) and the dtype of `X`."""
    found = _reals(name, centers, ("n_clusters", "n_features"), X.dtype)
    for size, wanted, what in (
        (found.shape[0], n_clusters, "number of clusters"),
        (found.shape[1], X.shape[1], "number of features of the data"),
    ):
        if size != wanted:
            raise ValueError(
                f"The shape of the initial centers {found.shape} does not match the "
                f"{what} {wanted}."
            )
    return found.copy() if np.may_share_memory(found, np.asarray(centers)) else found


class _Unseeded(ISeedSequence):
    """Words of a state that is replaced at once.

    ``RandomState(0)`` first asks the system for entropy and mixes a state of it, which takes twenty
    times as long as the state that is wanted.
    """

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """Zeros, in the kind of sequence that NumPy copies fastest."""
        return (0,) * n_words


_UNSEEDED = _Unseeded()


def check_seed(random_state: Any) -> np.random.RandomState:
    """What scikit-learn makes of `random_state`."""
    if type(random_state) is int and 0 <= random_state < 2**32:
        made = np.random.RandomState(np.random.MT19937(_UNSEEDED))  # type: ignore[arg-type]
        made.seed(random_state)
        return made
    try:
        return check_random_state(random_state)
    except (TypeError, ValueError) as error:
        raise InvalidParameterError(
            "random_state must be None, an integer from 0 to 2**32 - 1 or a RandomState instance, "
            f"but it is {said(random_state)}."
        ) from error


def is_array_like(init: Any) -> bool:
    """Whether `init` gives the centers themselves."""
    return not isinstance(init, str) and not callable(init)
