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
from .callbacks import Callbacks, Listeners
from .centroids import CentroidEstimator, assigned, unchanged_on_error
from .checkpoints import Checkpoint, described, restore_generator
from .choices import Algorithm, Strategy
from .fits import MOST, best_found, make_loop, recorded, state_found
from .kernels.algorithms import algorithm_for
from .kernels.descent import Descent
from .kernels.machine.parallel import Team, team
from .kernels.tiles import Array, padded_vector, read_only
from .lloyd_loop import Fit, Loop, State
from .preparation import Survey, open_parts, survey
from .rows.mapped import in_memory
from .rows.sources import Listed, Source, once_by_blocks
from .rows.streaming import StreamedRows, streamed_labels
from .serving import kept_beside
from .starts import first_centers

# A later start replaces the best one if its inertia is lower by more than this share of it.
SAME_INERTIA = 1e-6
# What decides about a fit, beside the data and the draws: `algorithm` does not.
DECIDING = ("n_clusters", "n_init", "max_iter", "tol", "bisecting_strategy")
# Rows that are compared at a time: the first of most clusters differ.
COMPARED_ROWS = 256
# Rows of a cluster that take more are not copied, but gathered block by block in every pass, which
# takes up to twice the time; of a map, the fourth part.
COPIED_BYTES = 1 << 26
# Rows at a cut up to which each is sent on by itself: a tile of two centers is much faster by row,
# but its surroundings take as long as some hundreds of rows.
FEW_ROWS = 1024


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


class _Tree:
    """The cuts so far.

    Parameters
    ----------
    center : ndarray of shape (n_features,)
        Of the root.
    rows : ndarray of shape (n_samples,)
        Numbers of all rows.

    Attributes
    ----------
    nodes : list of Node
        The root first, and the two halves of a cut after those of the cut before.
    leaves : list of _Leaf
        From left to right.
    places : list of int
        Of each cut: which leaf it was of those at that time.
    """

    def __init__(self, center: Array, rows: Array) -> None:
        self.nodes = [Node(center, -1, -1, -1)]
        self.leaves = [_Leaf(0, rows, 0.0)]
        self.places: list[int] = []

    def cut(self, place: int, centers: Array, labels: Array, scores: Array) -> None:
        """Cut a leaf in two by the labels of its rows, 0 and 1."""
        rows = self.leaves[place].rows
        self.grow(place, centers, [rows[labels == side] for side in range(2)], scores)

    def grow(self, place: int, centers: Array, rows: list[Array], scores: Array) -> None:
        """Put two leaves in the place of one."""
        parent, first = self.leaves[place].node, len(self.nodes)
        self.nodes[parent] = self.nodes[parent]._replace(left=first, right=first + 1)
        self.nodes += [Node(own, -1, -1, -1) for own in centers]
        self.leaves[place : place + 1] = [
            _Leaf(first + side, rows[side], scores[side]) for side in range(2)
        ]
        self.places.append(place)

    def state(self) -> dict[str, Array]:
        """All of it, as arrays for a checkpoint."""
        labels = np.empty(sum(len(leaf.rows) for leaf in self.leaves), np.int32)
        for label, leaf in enumerate(self.leaves):
            labels[leaf.rows] = label
        return {
            "tree_places": np.array(self.places, np.int64),
            "tree_centers": np.array([node.center for node in self.nodes[1:]]),
            "tree_scores": np.array([leaf.score for leaf in self.leaves], np.float64),
            "tree_labels": labels,
        }

    def restore(self, saved: Checkpoint, most: int, reach: float) -> None:
        """Make again the cuts of a checkpoint: at most so many, and no center beyond `reach`."""
        n_cuts = saved.integer("n_cuts", 0, most)
        root, all_rows = self.nodes[0].center, self.leaves[0].rows
        places = saved.array("tree_places", (n_cuts,), np.int64, 0, most)
        if (places > np.arange(n_cuts)).any():
            raise saved.wrong("its tree_places must be those of leaves that are there")
        if not n_cuts:
            return
        shape = 2 * n_cuts, len(root)
        centers = saved.array("tree_centers", shape, root.dtype, -reach, reach)
        scores = saved.array("tree_scores", (n_cuts + 1,), np.float64, 0.0)
        labels = saved.array("tree_labels", (len(all_rows),), np.int32, 0, n_cuts)
        nobody, unknown = all_rows[:0], np.zeros(2)
        for number, place in enumerate(places.tolist()):
            self.grow(place, centers[2 * number : 2 * number + 2], [nobody, nobody], unknown)
        sizes = np.bincount(labels, minlength=n_cuts + 1)
        own = np.split(all_rows[np.argsort(labels, kind="stable")], np.cumsum(sizes)[:-1])
        self.leaves = [
            leaf._replace(rows=rows, score=score)
            for leaf, rows, score in zip(self.leaves, own, scores, strict=True)
        ]


class _Watch:
    """What happens beside the iterations: callbacks are told, and checkpoints written.

    Parameters
    ----------
    listeners, saved, random_state
        The callbacks, the checkpoint and the generator of the fit.
    n_clusters, n_init : int
        As for the estimator.
    spread : float
        No row is farther from the mean of all rows.

    Attributes
    ----------
    number : int
        Number of the start of the present cut, from 0.
    best : Fit or None
        The best start of that cut so far.
    n_iter : int
        Number of iterations of all cuts that another one has followed.
    """

    def __init__(
        self,
        listeners: Listeners,
        saved: Checkpoint,
        random_state: np.random.RandomState,
        n_clusters: int,
        n_init: int,
        spread: float,
    ) -> None:
        self.listeners, self.saved, self.random_state = listeners, saved, random_state
        self.n_clusters, self.n_init, self.spread = n_clusters, n_init, spread
        self.number, self.n_iter = 0, 0
        self.best: Fit | None = None
        self.resumes = saved.found is not None

    def resume(self, tree: _Tree) -> None:
        """Take what is to be cut, and has been where a checkpoint was written."""
        self.tree = tree
        # Twice what it would be if nothing was rounded.
        self.reach = 2.0 * (float(np.abs(tree.nodes[0].center).max()) + self.spread)
        if self.resumes:
            tree.restore(self.saved, self.n_clusters - 2, self.reach)
            self.n_iter = self.saved.integer("n_written", 1, MOST)

    def begin(self, loop: Loop) -> State | None:
        """Begin a cut; where its run had come to, if a checkpoint was written in it."""
        self.number, self.best, state = 0, None, None
        if self.resumes:
            self.number = self.saved.integer("number", 0, self.n_init - 1)
            self.best = best_found(self.saved, loop, self.reach)
            state = state_found(self.saved, loop)
            restore_generator(self.random_state, self.saved)
            self.resumes = False
        loop.observe = self._observer(loop) if self.listeners else None
        loop.save = self._save if self.saved else None
        return state

    def _observer(self, loop: Loop) -> Any:
        """What tells the callbacks of an iteration."""

        def observe(n_iter: int, shift: float, centers: Array) -> bool:
            return self.listeners.tell(
                float(loop.rows.shape[0]),
                iteration=n_iter,
                max_iter=loop.max_iter,
                start=self.number + 1,
                n_starts=self.n_init,
                cut=len(self.tree.leaves),
                n_cuts=self.n_clusters - 1,
                shift=shift,
                objective=lambda: loop.inertia(centers),
            )

        return observe

    def _save(self, state: State) -> None:
        """Write a checkpoint when it is due."""
        self.n_iter += 1
        if self.saved.due(self.n_iter):
            values, arrays = recorded(state, self.number, self.best, self.random_state)
            values |= {"n_written": self.n_iter, "n_cuts": len(self.tree.places)}
            self.saved.write(values, arrays | self.tree.state())


class BisectingKMeans(CentroidEstimator):
    """Bisecting k-means clustering: :class:`sklearn.cluster.BisectingKMeans`, several times faster.

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
        Number of starts of each cut; the best is kept.
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
    algorithm : {'lloyd', 'full', 'elkan', 'hamerly', 'auto', 'exponion'}, default='lloyd'
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

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        callbacks: Callbacks = None,
        checkpoint: Any = None,
        checkpoint_every: int = 10,
        resume: bool = False,
    ) -> Self:
        """Find the clusters of `X`.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows to cluster.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, not negative; one for all by default.
        callbacks : list of callable, default=None
            Each is called after every iteration with a :class:`fastclust.callbacks.Progress`; True
            from one of them ends this start of this cut.  :class:`fastclust.ProgressBar` is one.
        checkpoint : path-like, default=None
            File that is written after every `checkpoint_every` iterations, and removed at the end
            of the fit.  The file must not exist, unless ``resume=True``.
        checkpoint_every : int, default=10
            Iterations from one checkpoint to the next; those of all cuts are counted on.
        resume : bool, default=False
            Go on from `checkpoint` where it is there, to the bits of a fit that was never
            interrupted.

        Returns
        -------
        self : BisectingKMeans
            The fitted estimator.

        Raises
        ------
        ValueError, TypeError
            Where an argument is not what it must be; the estimator is then as it was before.
        OSError
            Where `checkpoint` cannot be read or written (a full disk); it is then as it was, and so
            is the estimator.
        """
        with unchanged_on_error(self), Listeners(callbacks) as listeners:
            self._check_parameters()
            saved = Checkpoint(checkpoint, checkpoint_every, resume)
            random_state = validation.check_seed(self.random_state)
            X = validation.open_array(self, X, fitting=True, finite=False)
            n_clusters = validation.check_n_clusters(self.n_clusters, X.shape[0])
            weights = validation.check_weights(sample_weight, X)
            with team() as threads:
                data = survey(X, weights, threads, self, identify=bool(saved))
                if saved:
                    saved.describe(
                        estimator="BisectingKMeans",
                        **{name: getattr(self, name) for name in DECIDING},
                        **described(self.init, self.random_state, random_state, data, threads),
                    )
                data = data.widened()
                spread = float(np.sqrt(X.shape[0]) * np.sqrt(data.variances.max()))
                watch = _Watch(listeners, saved, random_state, n_clusters, self.n_init, spread)
                tree = self._cut(data, watch, threads)
                self._keep(data, tree, threads)
                validation.check_inertia(self.inertia_)
                self.cluster_centers_ = self.cluster_centers_.astype(X.dtype, copy=False)
            saved.remove()
        return self

    def _check_parameters(self) -> None:
        """Everything that can be said of the parameters without data."""
        validation.check_algorithm(self.algorithm)
        validation.check_bisecting_init(self.init)
        validation.check_int("n_init", self.n_init, 1)
        validation.check_int("max_iter", self.max_iter, 1)
        validation.check_tolerance("tol", self.tol)
        validation.check_int("n_clusters", self.n_clusters, 1)
        strategies = "biggest_inertia", "largest_cluster"
        validation.check_option("bisecting_strategy", self.bisecting_strategy, strategies)
        validation.check_bool("copy_x", self.copy_x)
        validation.check_verbose(self.verbose)

    def _cut(self, data: Survey, watch: _Watch, threads: Team) -> _Tree:
        """All cuts."""
        X, mean = data.X, data.center
        center = X.mean(axis=0) if scipy.sparse.issparse(X) else np.zeros(X.shape[1])
        tree = _Tree(np.asarray(center, X.dtype).reshape(-1), _numbers(X.shape[0]))
        watch.resume(tree)
        while len(tree.leaves) < watch.n_clusters:
            place = _next_to_cut(X, tree.leaves, data.weights, watch.n_clusters)
            fit, scores = self._halve(data, mean, tree.leaves[place].rows, watch, threads)
            tree.cut(place, fit.centers, fit.labels, scores)
        return tree

    def _halve(
        self, data: Survey, mean: Array, listed: Array, watch: _Watch, threads: Team
    ) -> tuple[Fit, Array]:
        """Cut the listed rows in two, and how much cutting each half is worth."""
        X, weights = data.X, data.weights
        if len(listed) < X.shape[0]:
            X = _taken(X, listed, copied=callable(self.init))
            weights = None if weights is None else weights[listed]
        loop = make_loop(self.algorithm, open_parts(X, weights), mean, 2, threads)
        loop.max_iter, loop.tol, loop.verbose = self.max_iter, float(self.tol), bool(self.verbose)
        best = self._best_of(loop, X, watch)
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

    def _best_of(self, loop: Loop, X: Any, watch: _Watch) -> Fit:
        """The best start of a cut."""
        state = watch.begin(loop)
        for number in range(watch.number, self.n_init):
            watch.number = number
            start = None if state else self._start(loop, X, watch.random_state)
            fit, state = loop.run(start, state), None
            best = watch.best
            if best is None or fit.inertia < best.inertia * (1 - SAME_INERTIA):
                watch.best = fit.kept(number + 1 < self.n_init)
        assert watch.best is not None
        return watch.best

    def _start(self, loop: Loop, X: Any, random_state: Any) -> Array:
        """Two centred centers."""
        if self.init == "k-means++":
            return loop.centred(loop.seeding(loop.rows, 2, loop.team).choose(random_state))
        return first_centers(loop, X, 2, self.init, random_state)

    def _keep(self, data: Survey, tree: _Tree, threads: Team) -> None:
        nodes, leaves, mean = tree.nodes, tree.leaves, data.center
        n_samples, n_features = data.X.shape
        self.labels_ = np.full(n_samples, -1, np.int32)
        centers = np.empty((len(leaves), n_features), data.X.dtype)
        for label, leaf in enumerate(leaves):
            self.labels_[leaf.rows] = label
            centers[label] = nodes[leaf.node].center
            nodes[leaf.node] = nodes[leaf.node]._replace(label=label)
        rows = data.opened()
        kind = algorithm_for(rows, "lloyd")
        algorithm = kind(rows, mean, 1, kind.update_class(rows, mean, 0, threads), threads)
        algorithm.labels[:n_samples] = self.labels_
        self.inertia_ = float(algorithm.own_distances(centers))
        self.cluster_centers_ = centers + mean[:n_features]
        self._n_features_out = len(centers)
        self._mean, self._nodes = mean[:n_features], nodes

    @once_by_blocks
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
        """Where the cuts send the rows of an array.

        Many rows go cut by cut, in tiles; those that meet others at a cut no more go alone.
        """
        X = X.astype(np.result_type(X.dtype, self._mean.dtype), copy=False)
        labels = np.full(X.shape[0], -1, np.int32)
        mean = padded_vector(self._mean, X.dtype)
        few = 0 if scipy.sparse.issparse(X) else FEW_ROWS
        alone: list[tuple[int, Array]] = []
        with team() as threads:
            waiting = [(0, _numbers(X.shape[0]))]
            while waiting:
                number, listed = waiting.pop()
                node = self._nodes[number]
                if node.label >= 0:
                    labels[listed] = node.label
                elif len(listed) > few:
                    halves = [self._nodes[node.left].center, self._nodes[node.right].center]
                    rows = open_parts(X if len(listed) == X.shape[0] else _taken(X, listed))
                    left = _nearer(rows, np.array(halves, X.dtype), mean, threads) == 0
                    waiting += [(node.left, listed[left]), (node.right, listed[~left])]
                elif len(listed):
                    alone.append((number, listed))
            if alone:
                starts = np.repeat([number for number, _ in alone], [len(of) for _, of in alone])
                numbers = np.concatenate([of for _, of in alone]).astype(np.int64)
                self._descent(mean).send(read_only(X), numbers, starts, threads, labels)
        return labels

    def _descent(self, mean: Array) -> Descent:
        """The tree packed for rows that are centred by `mean`, once for as long as it is the same.

        The list of nodes is made anew by a fit, and never changed.
        """
        nodes = self._nodes

        def make() -> Descent:
            centers = np.array([node.center for node in nodes], mean.dtype)
            children = [(node.left, node.right) for node in nodes]
            return Descent(centers, children, [node.label for node in nodes], mean)

        return kept_beside(self, f"descent {mean.dtype}", _Same(nodes), make)


class _Same:
    """Equal only to what holds the very same object."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.held is self.held

    def __hash__(self) -> int:
        return id(self.held)


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
