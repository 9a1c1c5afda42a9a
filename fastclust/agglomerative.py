"""AgglomerativeClustering, ward_tree and linkage_tree: scikit-learn's, on trees of our own.

The estimator derives from scikit-learn's: parameters, the cut of the tree and so the numbers of
the clusters are its own.  What takes the time is the tree: for Euclidean distances without a
connectivity it is built here.  Everything else (a connectivity, other metrics, distances that are
given) is scikit-learn's own code, which a line in the log says.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.cluster import _agglomerative
from sklearn.utils import check_array
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import check_is_fitted, check_memory

from . import validation
from .centroids import unchanged_on_error
from .counterpart import Interchangeable
from .kernels.linkage import tree_of
from .kernels.linkage_matrix import matrix_merges
from .kernels.machine.parallel import team
from .kernels.spanning import spanning_merges
from .kernels.tiles import Array
from .kernels.ward import ward_merges
from .persistence import Persistent
from .rows import mapped
from .rows.mapped import surviving
from .rows.sources import Source, open_rows

logger = logging.getLogger("fastclust")

LINKAGES = ("ward", "complete", "average", "single")
EUCLIDEAN = ("euclidean", "l2")
# Binary exponents of the largest number of the data beyond which squares might leave the range of
# float64: rows are then scaled.
EXPONENTS = (-400, 400)


def _exact_center(X: Array) -> Array:
    """The mean of each column where all of it is so near that differences are exact, else zero.

    They are where a number is from a half to the double of the other (Sterbenz); elsewhere a mean
    that is subtracted would cost small numbers their last digits.
    """
    center = X.mean(axis=0, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.sort([X.min(axis=0) / center, X.max(axis=0) / center], axis=0)
    return np.where((low >= 0.5) & (high <= 2.0), center, 0.0)


def _tree(X: Array, linkage: str) -> tuple[Array, Array]:
    """Children and heights of the nodes of the whole tree of checked rows."""
    exponent = int(np.frexp(max(abs(float(X.min())), abs(float(X.max()))))[1])
    extreme = not EXPONENTS[0] < exponent < EXPONENTS[1]
    if extreme:
        X = np.ldexp(X.astype(np.float64), -exponent)
    with team() as threads:
        if linkage == "ward":
            merges = ward_merges(X, _exact_center(X), threads)
        elif linkage == "single":
            merges = spanning_merges(X, threads)
        else:
            merges = matrix_merges(X, linkage, threads)
    children, heights = tree_of(merges, sort=linkage != "single")
    return children, np.ldexp(heights, exponent) if extreme else heights


def _is_ours(linkage: Any, metric: Any, connectivity: Any) -> bool:
    """Whether the tree is built here."""
    euclidean = isinstance(metric, str) and metric in EUCLIDEAN
    known = isinstance(linkage, str) and linkage in LINKAGES
    return euclidean and known and connectivity is None


def _hand_on(what: str) -> None:
    logger.info(
        "%s: scikit-learn's own code builds this tree; fastclust builds those of Euclidean "
        "distances without a connectivity",
        what,
    )


def _whole_tree(X: Any, linkage: str, n_clusters: Any, return_distance: bool) -> Any:
    """What scikit-learn's functions return, for a tree that is built here."""
    if n_clusters is not None:
        warnings.warn(
            "Partial build of the tree is implemented only with a connectivity: the full tree is "
            "built.",
            stacklevel=4,
        )
    X = open_rows(np.asarray(X) if isinstance(X, list | tuple) else X)
    if isinstance(X, Source):
        raise validation.Unsupported(
            "X must be an array, a memory map or the path of a '.npy' file of C-contiguous floats, "
            f"but it is {X.name}, which is read block by block."
        )
    if getattr(X, "ndim", 2) == 1:
        X = np.reshape(X, (-1, 1))
    X = check_array(X, input_name="X", ensure_min_samples=2, order="C", dtype=validation.FLOATS)
    children, heights = _tree(X, linkage)
    found = (children, 1, len(X), None)
    return (*found, heights) if return_distance else found


@surviving
def ward_tree(
    X: Any, *, connectivity: Any = None, n_clusters: Any = None, return_distance: bool = False
) -> Any:
    """Tree of Ward's linkage, as :func:`sklearn.cluster.ward_tree`, in the memory of the rows.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows.
    connectivity : array-like or sparse matrix of shape (n_samples, n_samples), default=None
        Which rows are neighbours; with one, the tree is scikit-learn's.
    n_clusters : int, default=None
        Where to stop, with a connectivity; otherwise the whole tree is built, with a warning.
    return_distance : bool, default=False
        Whether to return the heights of the nodes, too.

    Returns
    -------
    children : ndarray of shape (n_samples - 1, 2)
        What each node is made of: a row, or ``n_samples`` plus the number of an earlier node.
    n_connected_components : int
        Parts of the connectivity; 1 without.
    n_leaves : int
        Number of rows.
    parents : ndarray or None
        Parent of each node, with a connectivity.
    distances : ndarray of shape (n_samples - 1,)
        Heights, with `return_distance`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import ward_tree
    >>> X = np.array([[0.0], [1.0], [5.0], [7.0]])
    >>> children, _, n_leaves, _ = ward_tree(X)
    >>> children
    array([[0, 1],
           [2, 3],
           [4, 5]])
    """
    if connectivity is None:
        return _whole_tree(X, "ward", n_clusters, return_distance)
    _hand_on("ward_tree")
    return _agglomerative.ward_tree(
        X, connectivity=connectivity, n_clusters=n_clusters, return_distance=return_distance
    )


@surviving
def linkage_tree(
    X: Any,
    connectivity: Any = None,
    n_clusters: Any = None,
    linkage: str = "complete",
    affinity: Any = "euclidean",
    return_distance: bool = False,
) -> Any:
    """Tree of another linkage, as ``sklearn.cluster.linkage_tree``.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows.
    connectivity : sparse matrix of shape (n_samples, n_samples), default=None
        Which rows are neighbours; with one, the tree is scikit-learn's.
    n_clusters : int, default=None
        Where to stop, with a connectivity; otherwise the whole tree is built, with a warning.
    linkage : {'complete', 'average', 'single'}, default='complete'
        Distance of two clusters: the largest of their rows, the mean of all, or the smallest.
    affinity : str or callable, default='euclidean'
        Metric; with any except 'euclidean' and 'l2' the tree is scikit-learn's.
    return_distance : bool, default=False
        Whether to return the heights of the nodes, too.

    Returns
    -------
    children, n_connected_components, n_leaves, parents, distances
        As of :func:`ward_tree`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import linkage_tree
    >>> X = np.array([[0.0], [1.0], [5.0], [7.0]])
    >>> linkage_tree(X, linkage="single", return_distance=True)[-1]
    array([1., 2., 4.])
    """
    if _is_ours(linkage, affinity, connectivity) and linkage != "ward":
        return _whole_tree(X, linkage, n_clusters, return_distance)
    _hand_on("linkage_tree")
    return _agglomerative.linkage_tree(
        X, connectivity=connectivity, n_clusters=n_clusters, linkage=linkage, affinity=affinity,
        return_distance=return_distance,
    )  # fmt: skip


class AgglomerativeClustering(
    mapped.Guarded, Persistent, Interchangeable, _agglomerative.AgglomerativeClustering
):
    """Clusters of clusters: :class:`sklearn.cluster.AgglomerativeClustering`, several times faster.

    The same parameters, tree and labels, the same bits for any number of threads.  Where several
    clusters are equally near, the order of merges is not scikit-learn's: each takes the next one in
    the order of the rows.

    Parameters
    ----------
    n_clusters : int or None, default=2
        Number of clusters; None where `distance_threshold` is given.
    metric : str or callable, default='euclidean'
        Metric; with any except 'euclidean' and 'l2' scikit-learn's own code builds the tree.
    memory : str or object with the joblib.Memory interface, default=None
        Where trees are kept for later fits.
    connectivity : array-like, sparse matrix or callable, default=None
        Which rows are neighbours; with one, scikit-learn's own code builds the tree.
    compute_full_tree : 'auto' or bool, default='auto'
        Whether to build the tree up to its root; it always is without a connectivity.
    linkage : {'ward', 'complete', 'average', 'single'}, default='ward'
        How near two clusters are: by the variance within them once merged, by their farthest rows,
        by the mean of all distances between them, or by their nearest rows.
    distance_threshold : float, default=None
        Height from which on clusters are not merged.
    compute_distances : bool, default=False
        Whether to keep the heights without a threshold, too.

    Attributes
    ----------
    n_clusters_ : int
        Number of clusters.
    labels_ : ndarray of shape (n_samples,)
        Cluster of each row.
    n_leaves_ : int
        Number of rows.
    n_connected_components_ : int
        Parts of the connectivity; 1 without.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where all are strings.
    children_ : ndarray of shape (n_samples - 1, 2)
        What each node is made of: a row, or ``n_samples`` plus the number of an earlier node.
    distances_ : ndarray of shape (n_samples - 1,)
        Heights of the nodes, with `distance_threshold` or `compute_distances`.

    Notes
    -----
    Memory: that of the rows for ward and single linkage; half a square of float64 for complete and
    average linkage, 400 MB for 10,000 rows.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import AgglomerativeClustering
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> AgglomerativeClustering(n_clusters=2).fit(X).labels_
    array([1, 1, 1, 0, 0, 0])
    """

    _built_on: ClassVar[tuple[str, ...]] = ("fastclust", "scikit-learn")

    # What scikit-learn sets, for type checkers, to which its classes are not typed.
    n_clusters_: int
    labels_: Array
    n_leaves_: int
    n_connected_components_: int
    children_: Array
    distances_: Array

    def __init__(
        self,
        n_clusters: int | None = 2,
        *,
        metric: Any = "euclidean",
        memory: Any = None,
        connectivity: Any = None,
        compute_full_tree: Any = "auto",
        linkage: Any = "ward",
        distance_threshold: float | None = None,
        compute_distances: bool = False,
    ) -> None:
        super().__init__(
            n_clusters=n_clusters,
            metric=metric,
            memory=memory,
            connectivity=connectivity,
            compute_full_tree=compute_full_tree,
            linkage=linkage,
            distance_threshold=distance_threshold,
            compute_distances=compute_distances,
        )

    def fit(self, X: Any, y: Any = None) -> Self:
        """Build the tree of the rows, and cut it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or path of a ``.npy`` file
            Rows; distances of all pairs for ``metric="precomputed"``.
        y : object
            Not used.

        Returns
        -------
        self : AgglomerativeClustering
            Fitted.
        """
        with unchanged_on_error(self):
            self._check_parameters()
            if hasattr(self, "distances_"):
                del self.distances_
            if _is_ours(self.linkage, self.metric, self.connectivity):
                self._fit_here(X)
            else:
                _hand_on(type(self).__name__)
                super().fit(X)
        return self

    def _check_parameters(self) -> None:
        if self.n_clusters is not None:
            validation.check_int("n_clusters", self.n_clusters, 1)
        self._validate_params()
        if (self.n_clusters is None) == (self.distance_threshold is None):
            raise InvalidParameterError(
                "Exactly one of n_clusters and distance_threshold must be given, the other must be "
                "None."
            )
        if self.distance_threshold is not None and not self.compute_full_tree:
            raise InvalidParameterError(
                "compute_full_tree must be True if distance_threshold is set."
            )

    def _fit_here(self, X: Any) -> None:
        threshold = self.distance_threshold
        X = validation.open_array(self, X, fitting=True)
        if len(X) < 2:
            check_array(X, ensure_min_samples=2, estimator=self)
        build: Callable[..., Any] = check_memory(self.memory).cache(_tree)
        self.children_, heights = build(X, self.linkage)
        self.n_connected_components_, self.n_leaves_ = 1, len(X)
        if threshold is not None or self.compute_distances:
            self.distances_ = heights
        n_clusters = self.n_clusters
        if threshold is not None:
            n_clusters = int(np.count_nonzero(heights >= threshold)) + 1
        self.n_clusters_ = n_clusters
        self.labels_ = _agglomerative._hc_cut(n_clusters, self.children_, self.n_leaves_)

    def fit_predict(self, X: Any, y: Any = None) -> Array:
        """As :meth:`fit`; returns the labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : object
            Not used.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Cluster of each row.
        """
        return self.fit(X).labels_

    def to_scipy_linkage(self) -> Array:
        """The tree as :mod:`scipy.cluster.hierarchy` knows it, for its dendrograms and cuts.

        Returns
        -------
        Z : ndarray of shape (n_samples - 1, 4), float64
            Children, height and number of rows of each node.

        Raises
        ------
        ValueError
            Where the fit has not kept its heights, or has stopped below the root.
        """
        check_is_fitted(self)
        if not hasattr(self, "distances_"):
            raise ValueError(
                "There are no distances_: fit with compute_distances=True or a distance_threshold."
            )
        children = np.asarray(self.children_)
        n_leaves = self.n_leaves_
        if len(children) != n_leaves - 1:
            raise ValueError("The tree is not whole: fit with compute_full_tree=True.")
        counts = [1] * n_leaves
        for a, b in children.tolist():
            counts.append(counts[a] + counts[b])
        return np.column_stack([children, self.distances_, counts[n_leaves:]]).astype(np.float64)
