"""DBSCAN with scikit-learn's interface and labels, in memory that does not depend on `eps`.

scikit-learn lists the neighbours of every row before it looks at any; here they are counted, and
clusters united, without a list.  Rows with up to three features are sorted into cells
(:mod:`.kernels.cells`), others into the leaves of a tree (:mod:`.kernels.neighbours`).
"""

from __future__ import annotations

import logging
import math
import numbers
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from . import validation
from .centroids import unchanged_on_error
from .counterpart import Interchangeable
from .kernels import cells
from .kernels.clusters import Clusters, Problem
from .kernels.leaves import make_leaves
from .kernels.machine.parallel import team
from .kernels.nearest import nearest_rows
from .kernels.neighbours import Measure, cluster_leaves, make_measure
from .kernels.tiles import Array
from .persistence import Persistent
from .rows.mapped import Guarded
from .rows.sources import Source, open_rows

logger = logging.getLogger("fastclust")

EUCLIDEAN, MANHATTAN = ("euclidean", "l2"), ("manhattan", "l1", "cityblock")
SEARCHES = ("auto", "ball_tree", "kd_tree", "brute")
# scikit-learn's trees are for fewer features than this; beyond, it takes differences of float32
# rows in float32 where it adds up their absolute values.
TREE_FEATURES = 15
# Squared distances in float32, as a share of whose range `eps` must not be.
LEAST, MOST = 1e-30, 1e30
ASKED = 256  # rows whose neighbours scikit-learn lists at a time


class _Distance(NamedTuple):
    """A metric as kernels know it."""

    absolute: bool = False  # sums of absolute differences
    squared: bool = False  # `eps` is a squared distance
    cosine: bool = False

    def limit(self, eps: float) -> float:
        """What distances of kernels are compared with."""
        if self.cosine:  # |a - b|² = 2 (1 - a·b) where |a| = |b| = 1
            return 2.0 * eps
        return eps if self.absolute or self.squared else eps * eps

    def rows(self, X: Array) -> Array | None:
        """Rows for kernels; None where there are some that have no direction."""
        if not self.cosine:
            return X
        X = X.astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", X, X))
        if not (norms > 0).all():
            return None
        X /= norms[:, None]
        return X


def _known_distance(metric: Any, p: Any, parameters: Any, algorithm: str) -> _Distance | None:
    """The distance of a metric that kernels have."""
    if parameters or not isinstance(metric, str):
        return None
    if metric == "minkowski":
        metric = {None: "euclidean", 2: "euclidean", 1: "manhattan"}.get(p)
    if metric in EUCLIDEAN:
        return _Distance()
    if metric in MANHATTAN:
        return _Distance(absolute=True)
    if algorithm in ("auto", "brute"):  # scikit-learn's trees refuse these
        if metric == "sqeuclidean":
            return _Distance(squared=True)
        if metric == "cosine":
            return _Distance(cosine=True)
    return None


def _measured(X: Array, distance: _Distance, eps: float) -> tuple[Array, Measure]:
    """Rows and what makes neighbours of them, in float64 where float32 is too small."""
    limit = distance.limit(eps)
    if X.dtype == np.float32 and not LEAST < limit < MOST:
        X = X.astype(np.float64)
    narrow = distance.absolute and X.dtype == np.float32 and X.shape[1] > TREE_FEATURES
    return X, make_measure(X, limit, absolute=distance.absolute, narrow=narrow)


def _floats(X: Any) -> Array:
    """Rows as kernels take them."""
    dtype = X.dtype if X.dtype in validation.FLOATS else np.float64
    return np.ascontiguousarray(X, dtype)


class DBSCAN(Guarded, Persistent, Interchangeable, ClusterMixin, BaseEstimator):
    """Density-based clustering: :class:`sklearn.cluster.DBSCAN`, many times faster.

    The same parameters, attributes and labels, those of border rows included; the memory does not
    grow with `eps`.  Results are the same bits for any number of threads.

    Parameters
    ----------
    eps : float, default=0.5
        Rows that are no farther apart are neighbours.
    min_samples : int, default=5
        Number, or weight, of the neighbours that make a row a core sample; it is its own neighbour.
    metric : str or callable, default='euclidean'
        How distances are measured.  'euclidean', 'sqeuclidean', 'manhattan', their other names and
        'cosine' are computed here; with any other one, with 'precomputed' and with sparse rows,
        the fit is scikit-learn's, and a line on the logger ``fastclust`` says so.
    metric_params : dict, default=None
        Parameters of the metric; with any, the fit is scikit-learn's.
    algorithm : {'auto', 'ball_tree', 'kd_tree', 'brute'}, default='auto'
        Which of scikit-learn's searches is used where the fit is scikit-learn's; without effect
        otherwise.
    leaf_size : int, default=30
        As `algorithm`.
    p : float, default=None
        Power of the Minkowski metric: 2, which None stands for, and 1 are computed here.
    n_jobs : int, default=None
        As `algorithm`: the threads of fastclust are governed by
        ``numba.set_num_threads``, ``NUMBA_NUM_THREADS`` and ``OMP_NUM_THREADS``.

    Attributes
    ----------
    core_sample_indices_ : ndarray of shape (n_core_samples,)
        Which rows are core samples.
    components_ : ndarray of shape (n_core_samples, n_features)
        Copy of these rows.
    labels_ : ndarray of shape (n_samples,)
        Cluster of each row, -1 for noise.
    n_features_in_ : int
        Number of columns seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `X` had names.

    Notes
    -----
    Clusters are numbered by their first core samples, and a row that is near core samples of
    several clusters, but none itself, is of the first of these.

    Whether rows are neighbours is decided in float64, whatever the type of the rows.  Where the
    distance of two rows is `eps` up to the last digits of a float64, and these digits have been
    rounded (multiples of 0.1, say), scikit-learn's own searches do not agree on it: the answer
    here is that of comparing the two rows alone.  Cosine distances of float32 rows, which
    scikit-learn rounds to float32, differ from its own in the seventh digit.

    References
    ----------
    Ester, M., Kriegel, H.-P., Sander, J., Xu, X.: A density-based algorithm for discovering
    clusters in large spatial databases with noise. KDD 1996.

    Gan, J., Tao, Y.: DBSCAN revisited: mis-claim, un-fixability, and approximation. SIGMOD 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import DBSCAN
    >>> X = np.array([[1, 2], [2, 2], [2, 3], [8, 7], [8, 8], [25, 80]])
    >>> model = DBSCAN(eps=3, min_samples=2).fit(X)
    >>> model.labels_
    array([ 0,  0,  0,  1,  1, -1])
    >>> model.predict([[1, 1], [9, 9], [50, 50]])
    array([ 0,  1, -1])
    """

    reads_sparse = True
    labels_: Array
    core_sample_indices_: Array
    components_: Any

    def __init__(
        self,
        eps: float = 0.5,
        *,
        min_samples: int = 5,
        metric: Any = "euclidean",
        metric_params: dict[str, Any] | None = None,
        algorithm: str = "auto",
        leaf_size: int = 30,
        p: float | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.eps = eps
        self.min_samples = min_samples
        self.metric = metric
        self.metric_params = metric_params
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.p = p
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the clusters of `X`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or path
            Rows to cluster, which may be a memory map or the path of a ``.npy`` file; with
            ``metric='precomputed'``, their distances (n_samples, n_samples).
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, one for all by default.  A row of weight `min_samples` is a core
            sample by itself; weights below zero keep their neighbours from being one.

        Returns
        -------
        self : DBSCAN
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            Where an argument is not what it must be; the estimator is then as it was before.
        """
        with unchanged_on_error(self):
            self._check_parameters()
            X = self._opened(X, fitting=True)
            distance = _known_distance(self.metric, self.p, self.metric_params, self.algorithm)
            reason = "" if distance else f"metric={validation.said(self.metric)} is not fastclust's"
            if self.metric_params:
                reason = "metric_params are not fastclust's"
            if scipy.sparse.issparse(X):
                reason = "X is sparse"
            rows = None
            if distance is not None and not reason:
                rows = distance.rows(_floats(X))
                reason = "" if rows is not None else "rows of zeros have no cosine"
            if distance is None or rows is None:
                return self._fit_by_sklearn(X, sample_weight, reason)
            weights = None
            if sample_weight is not None:
                weights = _check_sample_weight(sample_weight, X)
            found = self._clusters(X, rows, distance, weights)
            self.core_sample_indices_ = np.flatnonzero(found.cores)
            self.labels_ = found.labels.astype(np.intp, copy=False)
            self.components_ = (
                X[self.core_sample_indices_]
                if len(self.core_sample_indices_)
                else np.empty((0, X.shape[1]))
            )
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Array:
        """Find the clusters of `X` and return its labels.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or path
            Rows to cluster, as for :meth:`fit`.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Cluster of each row, -1 for noise.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: Any) -> Array:
        """Cluster of the nearest core sample of each row of `X`, of those within `eps`.

        Rows that the fit has seen get their own label, except those at the border of several
        clusters, of which the nearest is not always the first.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or path
            Rows to label; with ``metric='precomputed'``, their distances to all rows of the fit.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Cluster of each row, -1 where no core sample is within `eps`.  Of core samples that are
            equally near, the first decides.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before a fit.
        """
        check_is_fitted(self, "labels_")
        self._check_parameters()
        X = self._opened(X, fitting=False)
        if not len(self.core_sample_indices_):
            return np.full(X.shape[0], -1, np.intp)
        nearest = self._nearest_cores(X)
        labels = self.labels_[self.core_sample_indices_][nearest]
        return np.where(nearest >= 0, labels, -1)

    def _check_parameters(self) -> None:
        """Everything that can be said of the parameters without data."""
        validation.check_tolerance("eps", self.eps)
        if self.eps == 0:
            raise InvalidParameterError("eps must be above 0, but it is 0.")
        validation.check_int("min_samples", self.min_samples, 1)
        validation.check_option("algorithm", self.algorithm, SEARCHES)
        validation.check_int("leaf_size", self.leaf_size, 1)
        if self.p is not None and self.p != math.inf:
            validation.check_tolerance("p", self.p)
        if self.n_jobs is not None and not isinstance(self.n_jobs, numbers.Integral):
            raise InvalidParameterError(
                f"n_jobs must be None or an integer, but it is {validation.said(self.n_jobs)}."
            )
        if self.metric_params is not None and not isinstance(self.metric_params, dict):
            raise InvalidParameterError(
                "metric_params must be None or a dictionary, but it is "
                f"{validation.said(self.metric_params)}."
            )
        if not callable(self.metric):
            from sklearn.metrics.pairwise import _VALID_METRICS

            known = {*_VALID_METRICS, "precomputed"}
            if not isinstance(self.metric, str) or self.metric not in known:
                raise InvalidParameterError(
                    f"metric must be a callable or one of {', '.join(map(repr, sorted(known)))}, "
                    f"but it is {validation.said(self.metric)}."
                )

    def _opened(self, X: Any, *, fitting: bool) -> Any:
        """Checked rows, of the type that they come in, as scikit-learn keeps them."""
        X = open_rows(X)
        if isinstance(X, Source):
            raise validation.Unsupported(
                "X must be an array, a memory map or the path of a '.npy' file of C-contiguous "
                f"floats for DBSCAN, but it is {X.name}, which is read block by block."
            )
        validation.check_namespace(X)
        return validate_data(self, X, reset=fitting, accept_sparse="csr")

    def _clusters(
        self, X: Array, rows: Array, distance: _Distance, weights: Array | None
    ) -> Clusters:
        """Clusters of dense rows; `X` is what they were given as."""
        problem = Problem(self.min_samples, None)
        if weights is not None:

            def ask(listed: Array) -> Array:
                return self._are_core(X, listed, weights)

            doubt = 4.0 * len(weights) ** 0.5 * float(np.finfo(weights.dtype).eps)
            problem = Problem(self.min_samples, weights.astype(np.float64), ask, doubt)
        eps = float(self.eps)
        with team() as threads:
            few = rows.shape[1] <= cells.MOST_FEATURES
            if few and not distance.absolute and not distance.cosine:
                limit = distance.limit(eps)
                grid = cells.make_grid(rows, math.sqrt(limit))
                if grid is not None:
                    return cells.cluster_cells(grid, limit, problem, threads)
            rows, measure = _measured(rows, distance, eps)
            return cluster_leaves(make_leaves(rows, threads), measure, problem, threads)

    def _are_core(self, X: Array, listed: Array, weights: Array) -> Array:
        """Whether the listed rows are core, by scikit-learn's own sums of weights."""
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(
            radius=self.eps, **self._search_options(), algorithm=self.algorithm
        ).fit(X)
        sums: list[Any] = []
        for first in range(0, len(listed), ASKED):
            some = X[listed[first : first + ASKED]]
            found = search.radius_neighbors(some, return_distance=False)
            sums += [np.sum(weights[each]) for each in found]
        return np.array(sums) >= self.min_samples

    def _search_options(self) -> dict[str, Any]:
        """What scikit-learn's searches are told of the metric."""
        names = "leaf_size", "metric", "metric_params", "p", "n_jobs"
        return {name: getattr(self, name) for name in names}

    def _fit_by_sklearn(self, X: Any, sample_weight: Any, reason: str) -> Self:
        from sklearn.cluster._dbscan import DBSCAN as Theirs

        logger.info("fastclust: scikit-learn's DBSCAN is used, since %s", reason)
        model = Theirs(**self.get_params(deep=False)).fit(X, sample_weight=sample_weight)
        for name in ("core_sample_indices_", "components_", "labels_"):
            setattr(self, name, getattr(model, name))
        return self

    def _nearest_cores(self, X: Any) -> Array:
        """Which core sample is the nearest within `eps`, -1 for none."""
        distance = _known_distance(self.metric, self.p, self.metric_params, self.algorithm)
        sparse = scipy.sparse.issparse(X) or scipy.sparse.issparse(self.components_)
        if distance is not None and not sparse:
            asking, cores = (distance.rows(_floats(each)) for each in (X, self.components_))
            if asking is not None and cores is not None:
                return self._nearest_by_kernels(asking, cores, distance)
        if self.metric == "precomputed":
            if scipy.sparse.issparse(X):
                raise validation.Unsupported(
                    "X must be a dense array of distances for predict, but it is a sparse "
                    f"{type(X).__name__}."
                )
            distances = np.asarray(X)[:, self.core_sample_indices_]
            nearest = distances.argmin(axis=1)
            least = distances[np.arange(len(nearest)), nearest]
        else:
            from sklearn.neighbors import NearestNeighbors

            search = NearestNeighbors(
                n_neighbors=1, **self._search_options(), algorithm=self.algorithm
            ).fit(self.components_)
            least, nearest = (each[:, 0] for each in search.kneighbors(X))
        return np.where(least <= self.eps, nearest, -1)

    def _nearest_by_kernels(self, X: Array, cores: Array, distance: _Distance) -> Array:
        shared = np.result_type(X.dtype, cores.dtype)
        cores, measure = _measured(cores.astype(shared, copy=False), distance, float(self.eps))
        X = X.astype(cores.dtype, copy=False)
        with team() as threads:
            asking, leaves = make_leaves(X, threads), make_leaves(cores, threads)
            return nearest_rows(asking, leaves, measure, threads)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.metric == "precomputed"
        tags.input_tags.sparse = True
        return tags


def dbscan(
    X: Any,
    eps: float = 0.5,
    *,
    min_samples: int = 5,
    metric: Any = "minkowski",
    metric_params: dict[str, Any] | None = None,
    algorithm: str = "auto",
    leaf_size: int = 30,
    p: float | None = 2,
    sample_weight: Any = None,
    n_jobs: int | None = None,
) -> tuple[Array, Array]:
    """Density-based clustering: :func:`sklearn.cluster.dbscan`, many times faster.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features), or path
        Rows to cluster, as for :meth:`DBSCAN.fit`.
    eps, min_samples, metric, metric_params, algorithm, leaf_size, p, n_jobs
        As for :class:`DBSCAN`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row.

    Returns
    -------
    core_samples : ndarray of shape (n_core_samples,)
        Which rows are core samples.
    labels : ndarray of shape (n_samples,)
        Cluster of each row, -1 for noise.

    Examples
    --------
    >>> from fastclust import dbscan
    >>> dbscan([[1, 2], [2, 2], [2, 3], [8, 7], [8, 8], [25, 80]], eps=3, min_samples=2)
    (array([0, 1, 2, 3, 4]), array([ 0,  0,  0,  1,  1, -1]))
    """
    model = DBSCAN(
        eps,
        min_samples=min_samples,
        metric=metric,
        metric_params=metric_params,
        algorithm=algorithm,
        leaf_size=leaf_size,
        p=p,
        n_jobs=n_jobs,
    ).fit(X, sample_weight=sample_weight)
    return model.core_sample_indices_, model.labels_
