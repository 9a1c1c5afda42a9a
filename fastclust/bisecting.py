"""BisectingKMeans with scikit-learn's interface, draws and attributes, on the kernels of k-means.

Clusters are cut in two, one after the other, each by a k-means of its own rows; the cuts are a
tree, down which new rows are sent.  The tree is kept as a list in which a node refers to its halves
by number, so that neither a fit nor a pickle is nested as deep as the tree is.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import scipy.sparse

from . import validation
from .centroids import CentroidEstimator, assigned, is_extreme, open_parts, unchanged_on_error
from .choices import Algorithm, Strategy
from .kernels.algorithms import algorithm_for
from .kernels.parallel import Team, team
from .kernels.tiles import Array, padded_vector
from .kmeans import moments
from .lloyd_loop import Fit, Loop, first_centers
from .mapped import in_memory
from .sources import Listed, Source
from .streaming import StreamedLoop, StreamedRows, streamed_labels

# A later start replaces the best one if its inertia is lower by more than this share of it.
SAME_INERTIA = 1e-6
# Rows that are compared at a time: the first of most clusters differ.
COMPARED_ROWS = 256
# Rows of a cluster that take more are not copied, but gathered block by block in every pass, which
# takes up to twice the time; of a map, the fourth part.
COPIED_BYTES = 1 << 26


class Node(NamedTuple):
    """A cluster on the way: its center (minus the mean), and its halves or its label, else -1."""

    center: Array
    left: int
    right: int
    label: int


class _Leaf(NamedTuple):
    """A cluster that could be cut next: number of its node, its rows, and what cutting promises."""

    node: int
    rows: Array
    score: float


class BisectingKMeans(CentroidEstimator):
    """Bisecting k-means clustering: scikit-learn's ``BisectingKMeans``, several times faster.

    The same parameters, draws and attributes; labels and centers agree with scikit-learn's up to
    rounding.  Results are the same bits for any number of threads.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of rows.
    init : {'k-means++', 'random'} or callable, default='random'
        How the first two centers of a cut are found, as for :class:`fastclust.KMeans`; a callable
        is called with a copy of the rows of the cluster that is cut and ``n_clusters=2``.
    n_init : int, default=1
        Number of starts of each cut, of which the best is kept.
    random_state : int, RandomState instance or None, default=None
        Source of the draws; an int makes them reproducible.
    max_iter : int, default=300
        Most iterations of one start.
    verbose : int, default=0
        Print a line for each iteration and each cut.
    tol : float, default=1e-4
        A start has converged when the squared movements of its centers add up to no more than this
        (not relative to the variance, as in scikit-learn), or when no label changes.
    copy_x : bool, default=True
        Accepted for compatibility: `X` is neither copied as a whole nor changed either way.
    algorithm : {'lloyd', 'elkan', 'full', 'auto'}, default='lloyd'
        As for :class:`fastclust.KMeans`.
    bisecting_strategy : {'biggest_inertia', 'largest_cluster'}, default='biggest_inertia'
        Which cluster is cut next: that of the largest sum of squared distances, or that of the
        most rows.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centers, of the dtype of the data.
    labels_ : ndarray of shape (n_samples,), int32
        Cluster of each row: where the cuts have sent it, which need not be the nearest center.
    inertia_ : float
        Weighted sum of squared distances of rows to their centers.
    n_features_in_ : int
        Number of columns seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `X` had names.

    References
    ----------
    Steinbach, M., Karypis, G., Kumar, V.: A comparison of document clustering techniques. KDD
    Workshop on Text Mining 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import BisectingKMeans
    >>> X = np.array([[1, 1], [10, 1], [3, 1], [10, 0], [2, 1], [10, 2],
    ...               [10, 8], [10, 9], [10, 10]])
    >>> model = BisectingKMeans(n_clusters=3, random_state=0).fit(X)
    >>> model.labels_
    array([0, 2, 0, 2, 0, 2, 1, 1, 1], dtype=int32)
    >>> model.predict([[0, 0], [12, 3]])
    array([0, 2], dtype=int32)
    >>> model.cluster_centers_
    array([[ 2.,  1.],
           [10.,  9.],
           [10.,  1.]])
    """

    reads_sparse = True
    _predicts_nearest = False

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "random",
        n_init: int = 1,
        random_state: Any = None,
        max_iter: int = 300,
        verbose: int = 0,
        tol: float = 1e-4,
        copy_x: bool = True,
        algorithm: Algorithm = "lloyd",
        bisecting_strategy: Strategy = "biggest_inertia",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.random_state = random_state
        self.max_iter = max_iter
        self.verbose = verbose
        self.tol = tol
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.bisecting_strategy = bisecting_strategy

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the clusters of `X`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to cluster.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, not negative; one for all by default.

        Returns
        -------
        self : BisectingKMeans
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            Where an argument is not what it must be; the estimator is then as it was before.
        """
        with unchanged_on_error(self):
            validation.check_algorithm(self.algorithm)
            validation.check_bisecting_init(self.init)
            validation.check_int("n_init", self.n_init, 1)
            validation.check_int("max_iter", self.max_iter, 1)
            validation.check_tolerance("tol", self.tol)
            validation.check_int("n_clusters", self.n_clusters, 1)
            validation.check_option(
                "bisecting_strategy",
                self.bisecting_strategy,
                ("biggest_inertia", "largest_cluster"),
            )
            validation.check_bool("copy_x", self.copy_x)
            validation.check_verbose(self.verbose)
            random_state = validation.check_seed(self.random_state)
            X = validation.open_array(self, X, fitting=True, finite=False)
            n_clusters = validation.check_n_clusters(self.n_clusters, X.shape[0])
            weights = validation.check_weights(sample_weight, X)
            with team() as threads:
                means, variances = moments(X, threads)
                validation.check_spread(variances, X, self)
                dtype = X.dtype
                if is_extreme(float(variances.max()), dtype):
                    X = X.astype(np.float64)
                    weights = None if weights is None else weights.astype(np.float64)
                mean = padded_vector(means, X.dtype)
                nodes, leaves = self._cut(X, weights, mean, n_clusters, random_state, threads)
                self._keep(X, weights, mean, nodes, leaves, threads)
                validation.check_inertia(self.inertia_)
                self.cluster_centers_ = self.cluster_centers_.astype(dtype, copy=False)
        return self

    def _cut(
        self,
        X: Any,
        weights: Array | None,
        mean: Array,
        n_clusters: int,
        random_state: Any,
        threads: Team,
    ) -> tuple[list[Node], list[_Leaf]]:
        """All nodes, the root first, and the leaves from left to right."""
        center = X.mean(axis=0) if scipy.sparse.issparse(X) else np.zeros(X.shape[1])
        nodes = [Node(np.asarray(center, X.dtype).reshape(-1), -1, -1, -1)]
        leaves = [_Leaf(0, _numbers(X.shape[0]), 0.0)]
        while len(leaves) < n_clusters:
            place = _next_to_cut(X, leaves, weights, n_clusters)
            parent = leaves[place]
            fit, scores = self._halve(X, weights, mean, parent.rows, random_state, threads)
            halves = range(len(nodes), len(nodes) + 2)
            nodes[parent.node] = nodes[parent.node]._replace(left=halves[0], right=halves[1])
            nodes += [Node(own, -1, -1, -1) for own in fit.centers]
            leaves[place : place + 1] = [
                _Leaf(node, parent.rows[fit.labels == side], scores[side])
                for side, node in enumerate(halves)
            ]
        return nodes, leaves

    def _halve(
        self,
        X: Any,
        weights: Array | None,
        mean: Array,
        listed: Array,
        random_state: Any,
        threads: Team,
    ) -> tuple[Fit, Array]:
        """Cut the listed rows in two, and how much cutting each half is worth."""
        if len(listed) < X.shape[0]:
            X = _taken(X, listed, copied=callable(self.init))
            weights = None if weights is None else weights[listed]
        rows = open_parts(X, weights)
        kind = StreamedLoop if isinstance(X, Source) else Loop
        loop = kind(algorithm_for(rows, self.algorithm), rows, mean, 2, threads)
        loop.max_iter, loop.tol, loop.verbose = self.max_iter, float(self.tol), bool(self.verbose)
        best: Fit | None = None
        for number in range(self.n_init):
            fit = loop.run(self._start(loop, X, random_state))
            if best is None or fit.inertia < best.inertia * (1 - SAME_INERTIA):
                best = fit.kept(number + 1 < self.n_init)
        assert best is not None
        if self.verbose:
            print(f"New centroids from bisection: {best.centers}")
        if self.bisecting_strategy == "largest_cluster":
            return best, np.bincount(best.labels, minlength=2).astype(float)
        distances = np.empty(len(listed))
        loop.algorithm.labels[: len(listed)] = best.labels
        loop.algorithm.own_distances(best.centers, distances)
        if weights is not None:
            distances *= weights
        return best, np.bincount(best.labels, weights=distances, minlength=2)

    def _start(self, loop: Loop, X: Any, random_state: Any) -> Array:
        """Two centred centers."""
        if self.init == "k-means++":
            return loop.centred(loop.seeding(loop.rows, 2, loop.team).choose(random_state))
        return first_centers(loop, X, 2, self.init, random_state)

    def _keep(
        self,
        X: Any,
        weights: Array | None,
        mean: Array,
        nodes: list[Node],
        leaves: list[_Leaf],
        threads: Team,
    ) -> None:
        n_samples, n_features = X.shape
        self.labels_ = np.full(n_samples, -1, np.int32)
        centers = np.empty((len(leaves), n_features), X.dtype)
        for label, leaf in enumerate(leaves):
            self.labels_[leaf.rows] = label
            centers[label] = nodes[leaf.node].center
            nodes[leaf.node] = nodes[leaf.node]._replace(label=label)
        rows = open_parts(X, weights)
        kind = algorithm_for(rows, "lloyd")
        algorithm = kind(rows, mean, 1, kind.update_class(rows, mean, 0, threads), threads)
        algorithm.labels[:n_samples] = self.labels_
        self.inertia_ = float(algorithm.own_distances(centers))
        self.cluster_centers_ = centers + mean[:n_features]
        self._n_features_out = len(centers)
        self._mean, self._nodes = mean[:n_features], nodes

    def predict(self, X: Any) -> Array:
        """Cluster of each row of `X`: where the cuts send it, the nearer center at each of them.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to label.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
            Index of each row's cluster.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before a fit.
        """
        validation.check_fitted(self)
        X = validation.open_data(self, X, fitting=False)
        if isinstance(X, Source):
            blocks = X.blocks(max(1, 2**20 // X.shape[1]))
            return np.concatenate([self._sent_down(block) for block in blocks])
        return self._sent_down(X)

    def _sent_down(self, X: Any) -> Array:
        """Where the cuts send the rows of an array."""
        X = X.astype(np.result_type(X.dtype, self._mean.dtype), copy=False)
        labels = np.full(X.shape[0], -1, np.int32)
        mean = padded_vector(self._mean, X.dtype)
        with team() as threads:
            waiting = [(0, _numbers(X.shape[0]))]
            while waiting:
                number, listed = waiting.pop()
                node = self._nodes[number]
                if node.label >= 0:
                    labels[listed] = node.label
                elif len(listed):
                    halves = [self._nodes[node.left].center, self._nodes[node.right].center]
                    rows = open_parts(X if len(listed) == X.shape[0] else _taken(X, listed))
                    left = _nearer(rows, np.array(halves, X.dtype), mean, threads) == 0
                    waiting += [(node.left, listed[left]), (node.right, listed[~left])]
        return labels


def _taken(X: Any, listed: Array, *, copied: bool = False) -> Any:
    """The listed rows: a copy, or a source where that would be large and need not be."""
    if scipy.sparse.issparse(X):
        return X[listed]
    most = COPIED_BYTES if in_memory(X) else COPIED_BYTES // 4
    if not copied and len(listed) * X.shape[1] * X.itemsize > most:
        return Listed(X, listed)
    return X.take(listed, axis=0)  # faster than indexing


def _nearer(rows: Any, centers: Array, mean: Array, threads: Team) -> Array:
    """Which of two centers, centred by `mean`, is the nearer one to each row."""
    if isinstance(rows, StreamedRows):
        return streamed_labels(rows, mean, centers, threads)
    labels: Array = assigned(rows, centers, mean, threads).labels[: rows.shape[0]]
    return labels


def _numbers(n_samples: int) -> Array:
    """Numbers of all rows, in 4 bytes each where these suffice."""
    return np.arange(n_samples, dtype=np.int32 if n_samples < 2**31 else np.int64)


def _next_to_cut(X: Any, leaves: list[_Leaf], weights: Array | None, n_clusters: int) -> int:
    """Place of the leaf of the highest score among those from which two rows can be drawn.

    Different ones, if there are: of equal rows, one half would stay empty.
    """
    drawable = [
        len(leaf.rows) if weights is None else np.count_nonzero(weights[leaf.rows])
        for leaf in leaves
    ]
    places = [place for place, number in enumerate(drawable) if number >= 2]
    if not places:
        raise ValueError(
            f"n_clusters={n_clusters} must not exceed the number of clusters that the rows with a "
            f"weight above zero can be cut into, but no more than {len(leaves)} were found."
        )
    places.sort(key=lambda place: -leaves[place].score)  # the first of equals stays the first
    return next((p for p in places if _differ(X, leaves[p].rows, weights)), places[0])


def _differ(X: Any, listed: Array, weights: Array | None) -> bool:
    """Whether there are two different rows among the listed ones that weigh something."""
    first = None
    for start in range(0, len(listed), COMPARED_ROWS):
        here = listed[start : start + COMPARED_ROWS]
        if weights is not None:
            here = here[weights[here] > 0]
        if not len(here):
            continue
        rows = X[here] if scipy.sparse.issparse(X) else X.take(here, axis=0)
        first = rows[:1] if first is None else first
        if scipy.sparse.issparse(X):
            bounds = scipy.sparse.vstack([first, rows])
            differ = (bounds.max(axis=0) != bounds.min(axis=0)).nnz > 0
        else:
            differ = bool((rows != first).any())
        if differ:
            return True
    return False
