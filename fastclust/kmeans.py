"""KMeans, k_means and kmeans_plusplus with scikit-learn's interface, draws and attributes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from . import validation
from .callbacks import Callbacks, Listeners
from .centroids import CentroidEstimator, is_extreme, open_parts, single_start, unchanged_on_error
from .checkpoints import Checkpoint, described, generator_state, restore_generator
from .choices import Algorithm, Starts
from .kernels.algorithms import algorithm_for, seeding_for
from .kernels.auto import Auto
from .kernels.fingerprint import Fingerprint, fingerprint
from .kernels.lloyd import Lloyd
from .kernels.machine.parallel import Team, team, team_for
from .kernels.moments import column_moments
from .kernels.seeding import draw_starts
from .kernels.sparse import canonical, column_variances
from .kernels.starts import INERTIA, STEPS, SmallStarts
from .kernels.tiles import Array, padded_vector
from .lloyd_loop import Fit, Loop, State, first_centers, occupied
from .rows import mapped
from .rows.mapped import surviving
from .rows.sources import Source
from .rows.streaming import StreamedKMeansPlusPlus, StreamedLoop, StreamedRows
from .serving import unpadded

MOST = 2**63 - 1


class KMeans(CentroidEstimator):
    """k-means clustering: :class:`sklearn.cluster.KMeans`, several times faster.

    The same parameters, draws and attributes; labels and centers agree with scikit-learn's up to
    rounding.  Results are the same bits for any number of threads.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of rows.
    init : {'k-means++', 'random'}, callable or array-like of shape (n_clusters, n_features), \
            default='k-means++'
        How the first centers are found.  'k-means++' is greedy k-means++ [2]_; 'random' takes
        distinct rows; a callable is called as ``init(X, n_clusters, random_state=...)`` with a
        copy of the data from which the mean has been subtracted (sparse data come as they are), as
        in scikit-learn, and returns centers for it.  :class:`fastclust.SampledKMeansPlusPlus` is a
        callable for data on disk.
    n_init : 'auto' or int, default='auto'
        Number of starts; the best is kept.  'auto' is 1 for 'k-means++' and for arrays,
        10 otherwise.
    max_iter : int, default=300
        Most iterations of one start.
    tol : float, default=1e-4
        Convergence is declared when the squared movements of the centers add up to no more than
        `tol` times the mean variance of the columns, or when no label changes.
    verbose : int, default=0
        Print a line for each iteration.
    random_state : int, RandomState instance or None, default=None
        Source of the draws; an int makes them reproducible.
    copy_x : bool, default=True
        Accepted for compatibility: `X` is neither copied nor changed either way.
    algorithm : {'auto', 'lloyd', 'full', 'elkan', 'hamerly', 'exponion'}, default='auto'
        All give the same bits, and compute distances of float64 data in float32 where that decides.
        'lloyd' [1]_ computes every distance, 'full' is its old name.  The others keep bounds and
        compute fewer: 'hamerly' [4]_ keeps two for each row ('exponion' is a deprecated name of
        it), 'elkan' [3]_ one for each row and center, 2 bytes each (1 GiB at most), once centers
        have nearly stopped moving and a row's distances cost far more than checking its bounds.
        'auto' chooses what promises to be fastest.
        Sparse data have one algorithm for all names.
    refine : int, default=0
        Centers that come and go together in breathing k-means [5]_, which makes the best start
        better; 0 leaves it as it is.  5 is quick, 20 finds better clusters; as many as
        `n_clusters` are the most.  See the notes.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centers, of the dtype of the data (float32 stays float32).
    labels_ : ndarray of shape (n_samples,), int32
        Index of the center nearest to each row; the lowest of several.
    inertia_ : float
        Weighted sum of squared distances of rows to their centers.
    n_iter_ : int
        Number of iterations of the best start, or of the last run where breaths were better.
    n_distances_ : int
        Number of distances between rows and centers that the iterations of all starts, and of all
        breaths, computed.
    n_features_in_ : int
        Number of columns seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `X` had names.

    Notes
    -----
    With `refine` m, a breath puts m centers beside those with the largest errors, runs k-means,
    takes those m centers away that are missed least, and runs k-means again; both runs are of
    `max_iter` iterations at most.  The second ends by `tol`; the first, of which only counts where
    centers are missed, by 30 times that.  A breath that lowers the inertia by less than 0.01 %
    leaves the next one a center less.  After the last center the best clusters of all breaths are
    those that a last run starts from, so that `inertia_` is never above that of the same fit
    without `refine`.  New centers are drawn from `random_state`, after the starts.

    References
    ----------
    .. [1] Lloyd, S.: Least squares quantization in PCM. IEEE Transactions on Information Theory
       28 (1982).
    .. [2] Arthur, D., Vassilvitskii, S.: k-means++: the advantages of careful seeding. SODA 2007.
    .. [3] Elkan, C.: Using the triangle inequality to accelerate k-means. ICML 2003.
    .. [4] Hamerly, G.: Making k-means even faster. SDM 2010.
    .. [5] Fritzke, B.: The breathing k-means algorithm. arXiv 2006.15666v5.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import KMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> kmeans = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> kmeans.labels_
    array([1, 1, 1, 0, 0, 0], dtype=int32)
    >>> kmeans.predict([[0, 0], [12, 3]])
    array([1, 0], dtype=int32)
    >>> kmeans.cluster_centers_
    array([[10.,  2.],
           [ 1.,  2.]])
    """

    reads_sparse = True

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: Starts = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: Algorithm = "auto",
        refine: int = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.refine = refine

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
        X : array-like or sparse matrix of shape (n_samples, n_features), or rows that are read
            Rows to cluster; read in place where they are a C-contiguous float array, in CSR form, a
            memory map or the path of such a ``.npy`` file.  A Parquet file, an HDF5 or Zarr array
            and a callable that returns an iterator of blocks are read block by block, once in every
            iteration, and give the same bits; see :mod:`fastclust.rows.sources`.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, not negative; one for all by default.
        callbacks : list of callable, default=None
            Each is called after every iteration with a :class:`fastclust.callbacks.Progress`; True
            from one of them ends this start, or all breaths of `refine`, of which the best clusters
            so far are kept.  :class:`fastclust.ProgressBar` is one.
        checkpoint : path-like, default=None
            File that is written after every `checkpoint_every` iterations, and removed at the end
            of the fit.  The file must not exist, unless ``resume=True``.
        checkpoint_every : int, default=10
            Iterations from one checkpoint to the next; those of breaths are counted on.
        resume : bool, default=False
            Go on from `checkpoint` where it is there, to the bits of a fit that was never
            interrupted.

        Returns
        -------
        self : KMeans
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
            algorithm = validation.check_algorithm(self.algorithm)
            n_init = validation.check_n_init(self.n_init, validation.check_init(self.init), 10)
            max_iter = validation.check_int("max_iter", self.max_iter, 1)
            tol = validation.check_tolerance("tol", self.tol)
            refine = validation.check_int("refine", self.refine, 0)
            validation.check_int("n_clusters", self.n_clusters, 1)
            validation.check_bool("copy_x", self.copy_x)
            verbose = validation.check_verbose(self.verbose)
            saved = Checkpoint(checkpoint, checkpoint_every, resume)
            random_state = validation.check_seed(self.random_state)
            X = validation.open_data(self, X, fitting=True, finite=False)
            n_clusters = validation.check_n_clusters(self.n_clusters, X.shape[0])
            weights = validation.check_weights(sample_weight, X)
            validation.check_init_for(self.init, X)
            if n_clusters == 1 and algorithm not in (Auto, Lloyd):
                validation.warn(
                    f"algorithm={self.algorithm!r} doesn't make sense for a single cluster. "
                    "Using 'lloyd' instead.",
                    RuntimeWarning,
                )
            init = self.init
            if isinstance(init, str) and init == "random":
                validation.check_drawable(weights, n_clusters)
            if validation.is_array_like(init):
                init = validation.check_centers("init", init, X, n_clusters)
                n_init = single_start(n_init, self)
            # The most that a pass is: of the iterations, or of the seeding.
            with team_for(X.shape[0] * X.shape[1] * (n_clusters + 8.0)) as threads:
                means, variances, identity = survey(X, threads, identify=bool(saved))
                validation.check_spread(variances, X, self)
                if saved:
                    saved.describe(
                        estimator="KMeans",
                        n_clusters=n_clusters,
                        n_init=n_init,
                        max_iter=max_iter,
                        tol=tol,
                        **({"refine": refine} if refine else {}),
                        **described(init, self.random_state, random_state, X, weights, threads),
                        data=identity,
                    )
                dtype = X.dtype
                if is_extreme(float(variances.max()), dtype):
                    X, weights, init = in_float64(X, weights, init)
                name = "lloyd" if n_clusters == 1 else self.algorithm
                loop = _make_loop(name, X, weights, means, n_clusters, threads)
                loop.max_iter, loop.verbose = max_iter, verbose
                loop.tol = tol * float(variances.mean())
                best = self._best_of(loop, X, n_init, init, random_state, listeners, saved)
                if refine:
                    from .refinement import Refinement  # which most fits do without

                    refinement = Refinement(loop, best, refine, random_state, n_init)
                    best = refinement.run(listeners, saved)
            self._n_init = n_init
            validation.check_inertia(best.inertia)
            self._keep(best, loop.mean[: X.shape[1]], dtype, loop.algorithm.n_distances)
            saved.remove()
        return self

    def _best_of(
        self,
        loop: Loop,
        X: Any,
        n_init: int,
        init: Any,
        random_state: np.random.RandomState,
        listeners: Listeners,
        saved: Checkpoint,
    ) -> Fit:
        """Best of several starts; one that finds the same clusters does not replace the first."""
        best: Fit | None = None
        seeding = None
        first, state = 0, None
        if saved.found is not None:
            first = saved.integer("number", 0, n_init if self.refine else n_init - 1)
            best = best_found(saved, loop)
            if first < n_init:  # else it was written within the refinement
                state = state_found(saved, loop)
            restore_generator(random_state, saved)
        if not (listeners or saved or loop.verbose):
            starts = small_starts(loop, self.n_clusters, n_init, init, random_state)
            if starts is not None:
                return _best_of_small(loop, starts)
        for number in range(first, n_init):
            start = None
            if state is None and isinstance(init, str) and init == "k-means++":
                if seeding is None:
                    seeding = loop.seeding(loop.rows, self.n_clusters, loop.team)
                start = loop.centred(seeding.choose(random_state))
                if n_init == 1:
                    seeding = None  # its buffers are as long as the data
            elif state is None:
                start = first_centers(loop, X, self.n_clusters, init, random_state)
            if loop.verbose and state is None:
                print("Initialization complete")
            if listeners:
                loop.observe = _observer(loop, listeners, number, n_init)
            if saved:
                loop.save = _saver(saved, number, best, random_state)
            fit = loop.run(start, state)
            state = None
            if _is_better(fit, best):
                best = fit.kept(number + 1 < n_init)
        assert best is not None
        return best

    def _keep(self, fit: Fit, mean: Array, dtype: Any, n_distances: int) -> None:
        _warn_of_duplicates(fit.labels, self.n_clusters)
        self.cluster_centers_ = (fit.centers + mean).astype(dtype, copy=False)
        self._n_features_out = len(self.cluster_centers_)
        self.labels_ = fit.labels
        self.inertia_ = fit.inertia
        self.n_iter_ = fit.n_iter
        self.n_distances_ = n_distances


def small_starts(
    loop: Loop, n_clusters: int, n_init: int, init: Any, random_state: np.random.RandomState
) -> SmallStarts | None:
    """What runs all starts in one call, on few rows; None where that is for the loop."""
    rows, algorithm = loop.rows, loop.algorithm
    if callable(init) or not SmallStarts.serve(algorithm):
        return None
    seeding = loop.seeding(rows, n_clusters, loop.team)
    shape = n_init, n_clusters, rows.shape[1]
    firsts, uniforms = np.empty(0, np.int64), np.empty((0, n_clusters - 1, seeding.n_trials))
    if isinstance(init, str) and init == "k-means++":
        starts = np.empty(shape, rows.dtype)
        firsts, uniforms = draw_starts(rows, *shape[:2], seeding.n_trials, random_state)
    else:
        drawn = [first_centers(loop, None, n_clusters, init, random_state) for _ in range(n_init)]
        starts = np.array(drawn).reshape(shape)
    return SmallStarts(algorithm, starts, loop.max_iter, loop.tol, seeding, firsts, uniforms)


def _best_of_small(loop: Loop, starts: SmallStarts) -> Fit:
    """As the loop would find it."""
    number, n_starts = 0, len(starts.draws.starts)
    while number < n_starts:
        number, here = starts.run(number)
        mapped.check()
        if here:
            continue
        fit = loop.run(starts.draws.starts[number])
        if _is_better(fit, None if number == 0 else _found(loop, starts)):
            starts.keep(fit.labels, fit.centers, fit.inertia, fit.n_iter)
        number += 1
    return _found(loop, starts)


def _found(loop: Loop, starts: SmallStarts) -> Fit:
    labels, centers, numbers = starts.best
    n_distances = loop.algorithm.n_distances
    return Fit(labels, float(numbers[INERTIA]), centers, int(numbers[STEPS]), n_distances)


def _is_better(fit: Fit, best: Fit | None) -> bool:
    """Whether a start replaces the best so far: one that finds the same clusters does not."""
    return best is None or (
        fit.inertia < best.inertia
        and not _is_same_clustering(fit.labels, best.labels, len(best.centers))
    )


def _warn_of_duplicates(labels: Array, n_clusters: int) -> None:
    n_distinct = int(np.count_nonzero(occupied(labels, n_clusters)))
    if n_distinct < n_clusters:
        validation.warn(
            f"Number of distinct clusters ({n_distinct}) found smaller than "
            f"n_clusters ({n_clusters}). Possibly due to duplicate points in X.",
            ConvergenceWarning,
        )


def moments(X: Any, threads: Team) -> tuple[Array, Array]:
    """Means to centre the columns by (zeros for sparse data), and their variances."""
    return survey(X, threads, identify=False)[:2]


def survey(X: Any, threads: Team, *, identify: bool) -> tuple[Array, Array, str]:
    """As :func:`moments`; and, if asked for, what tells these rows from others.

    That is the same for an array, a file and blocks of the same rows.
    """
    if scipy.sparse.issparse(X):
        identity = _identity(X, threads) if identify else ""
        return np.zeros(X.shape[1]), column_variances(X), identity
    found = Fingerprint(X.shape, threads) if identify else None
    if isinstance(X, Source):  # which is not read once more for it
        means, variances = StreamedRows(X).moments(threads, found)
    else:
        means, variances = column_moments(X, threads)
        if found is not None:
            found.add(X)
    return means, variances, "" if found is None else found.text()


def _identity(X: Any, threads: Team) -> str:
    """Fingerprint of sparse rows: the same whatever integers their indices are."""
    X = canonical(X)
    parts = (X.data, X.indices.astype(np.int64, copy=False), X.indptr.astype(np.int64, copy=False))
    return " ".join(fingerprint(part, threads) for part in parts)


def in_float64(X: Any, weights: Array | None, init: Any) -> tuple[Any, Array | None, Any]:
    """Rows, weights and centers for data whose squares leave the range of float32."""
    weights = None if weights is None else weights.astype(np.float64)
    init = init.astype(np.float64) if validation.is_array_like(init) else init
    return X.astype(np.float64), weights, init


def _make_loop(
    algorithm: str, X: Any, weights: Array | None, means: Array, n_clusters: int, threads: Team
) -> Loop:
    """The loop for these rows, which are centred by `means`."""
    rows = open_parts(X, weights)
    kind = StreamedLoop if isinstance(X, Source) else Loop
    mean = padded_vector(means, X.dtype)
    return kind(algorithm_for(rows, algorithm), rows, mean, n_clusters, threads)


def _observer(loop: Loop, listeners: Listeners, number: int, n_init: int) -> Any:
    """What tells the callbacks of an iteration."""

    def observe(n_iter: int, shift: float, centers: Array) -> bool:
        return listeners.tell(
            float(loop.rows.shape[0]),
            iteration=n_iter,
            max_iter=loop.max_iter,
            start=number + 1,
            n_starts=n_init,
            shift=shift,
            objective=lambda: loop.inertia(centers),
        )

    return observe


def _saver(
    saved: Checkpoint, number: int, best: Fit | None, random_state: np.random.RandomState
) -> Any:
    """What writes a checkpoint when it is due: this start's state, and the best so far."""

    def save(state: State) -> None:
        if saved.due(state.n_iter):
            saved.write(*recorded(state, number, best, random_state))

    return save


def recorded(
    state: State, number: int, best: Fit | None, random_state: np.random.RandomState
) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a checkpoint holds of a start and of the best so far: values and arrays."""
    values, arrays = generator_state(random_state)
    values |= {"number": number, "n_iter": state.n_iter, "n_empty": int(state.n_empty)}
    if best is not None:
        values |= {"best_inertia": best.inertia, "best_n_iter": best.n_iter}
        values["best_n_distances"] = best.n_distances
        arrays |= {"best_labels": best.labels, "best_centers": best.centers}
    sums, weights, counts = state.totals
    arrays |= {"sums": sums, "weights": weights, "counts": counts}
    return values, arrays | {"centers": state.centers, "labels": state.labels}


def best_found(saved: Checkpoint, loop: Loop, reach: float = np.inf) -> Fit | None:
    """The best start of a checkpoint, if one had come to its end; no center is beyond `reach`."""
    if saved.integer("number", 0, MOST) == 0:
        return None
    n_samples, shape = loop.rows.shape[0], loop.update.totals.sums.shape
    return Fit(
        saved.array("best_labels", (n_samples,), np.int32, 0, shape[0] - 1),
        saved.real("best_inertia"),
        saved.array("best_centers", shape, loop.rows.dtype, -reach, reach),
        saved.integer("best_n_iter", 1, loop.max_iter),
        saved.integer("best_n_distances", 0, MOST),
    )


def state_found(saved: Checkpoint, loop: Loop) -> State:
    """Where the run of a checkpoint had come to."""
    n_samples, shape = loop.rows.shape[0], loop.update.totals.sums.shape
    totals = (
        saved.array("sums", shape, np.float64),
        saved.array("weights", shape[:1], np.float64),
        saved.array("counts", shape[:1], np.int64, 0, n_samples),
    )
    return State(
        saved.array("centers", shape, loop.rows.dtype),
        saved.array("labels", (n_samples,), np.int32, 0, shape[0] - 1),
        totals,
        saved.integer("n_iter", 1, loop.max_iter),
        saved.integer("n_empty", 0, shape[0]),
    )


def _is_same_clustering(labels: Array, others: Array, n_clusters: int) -> bool:
    """Whether two labellings are the same up to a permutation of the labels."""
    mapping = np.full(n_clusters, -1, others.dtype)
    mapping[labels] = others
    return bool((mapping[labels] == others).all())


@surviving
def k_means(
    X: Any,
    n_clusters: int,
    *,
    sample_weight: Any = None,
    init: Any = "k-means++",
    n_init: Starts = "auto",
    max_iter: int = 300,
    verbose: int = False,
    tol: float = 1e-4,
    random_state: Any = None,
    copy_x: bool = True,
    algorithm: Algorithm = "auto",
    return_n_iter: bool = False,
) -> tuple[Any, ...]:
    """Cluster the rows of `X`: :class:`KMeans` as a function.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Rows to cluster.
    n_clusters : int
        Number of clusters.
    sample_weight, init, n_init, max_iter, verbose, tol, random_state, copy_x, algorithm
        As for :class:`KMeans` and its `fit`.
    return_n_iter : bool, default=False
        Whether the number of iterations is returned, too.

    Returns
    -------
    centroid : ndarray of shape (n_clusters, n_features)
        Centers.
    label : ndarray of shape (n_samples,), int32
        Index of the center of each row.
    inertia : float
        Weighted sum of squared distances of rows to their centers.
    best_n_iter : int
        Number of iterations of the best start; only with `return_n_iter`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import k_means
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> centroid, label, inertia = k_means(X, n_clusters=2, random_state=0)
    >>> inertia
    16.0
    """
    estimator = KMeans(
        n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        verbose=verbose,
        tol=tol,
        random_state=random_state,
        copy_x=copy_x,
        algorithm=algorithm,
    ).fit(X, sample_weight=sample_weight)
    result = (estimator.cluster_centers_, estimator.labels_, estimator.inertia_)
    return (*result, estimator.n_iter_) if return_n_iter else result


@surviving
def kmeans_plusplus(
    X: Any,
    n_clusters: int,
    *,
    sample_weight: Any = None,
    x_squared_norms: Any = None,
    random_state: Any = None,
    n_local_trials: int | None = None,
) -> tuple[Array, Array]:
    """Choose `n_clusters` rows of `X` as first centers by greedy k-means++.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features), path or callable
        Rows to choose from; what must be read is read once for each center, see
        :mod:`fastclust.rows.sources`.
    n_clusters : int
        Number of centers, at most the number of rows.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row.
    x_squared_norms : array-like of shape (n_samples,), default=None
        Accepted for compatibility, and checked; distances are computed without norms.
    random_state : int, RandomState instance or None, default=None
        Source of the draws, which are scikit-learn's.
    n_local_trials : int, default=None
        Candidates per center; the best is kept.  ``2 + int(log(n_clusters))`` by default.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features)
        The rows chosen.
    indices : ndarray of shape (n_clusters,)
        Their places in `X`.

    References
    ----------
    Arthur, D., Vassilvitskii, S.: k-means++: the advantages of careful seeding. SODA 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import kmeans_plusplus
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> centers, indices = kmeans_plusplus(X, n_clusters=2, random_state=0)
    >>> centers
    array([[10.,  2.],
           [ 1.,  0.]])
    >>> indices
    array([3, 2])
    """
    X = validation.open_unowned(X, finite=False)
    n_clusters = validation.check_n_clusters(n_clusters, X.shape[0])
    weights = validation.check_weights(sample_weight, X)
    if x_squared_norms is not None:
        validation.check_norms(x_squared_norms, X)
    if n_local_trials is not None:
        n_local_trials = validation.check_int("n_local_trials", n_local_trials, 1)
    random_state = validation.check_seed(random_state)
    with team() as threads:
        spread = moments(X, threads)
        validation.check_spread(spread[1], X, unseen=True)
        known = X, weights, spread
        rows, indices = seeds(*known, n_clusters, random_state, threads, n_local_trials)
    chosen = (X if isinstance(X, Source) else rows).take(indices)
    return chosen.astype(X.dtype, copy=False), indices


def seeds(
    X: Any,
    weights: Array | None,
    spread: tuple[Array, Array],
    n_clusters: int,
    random_state: np.random.RandomState,
    threads: Team,
    n_local_trials: int | None = None,
) -> tuple[Any, Array]:
    """Rows, and which of them k-means++ chooses, where the moments of the columns are known."""
    if is_extreme(float(spread[1].max()), X.dtype):
        X = X.astype(np.float64)
    rows = unpadded(X, weights) if isinstance(X, np.ndarray) else open_parts(X, weights)
    kind = StreamedKMeansPlusPlus if isinstance(X, Source) else seeding_for(rows)
    return rows, kind(rows, n_clusters, threads, n_local_trials).choose(random_state)


def partition(
    X: Any,
    weights: Array | None,
    spread: tuple[Array, Array],
    n_clusters: int,
    random_state: np.random.RandomState,
    threads: Team,
) -> Array:
    """Labels of a plain fit of :class:`KMeans` with one start, for whoever knows the moments."""
    means, variances = spread
    if is_extreme(float(variances.max()), X.dtype):
        X, weights, _ = in_float64(X, weights, "k-means++")
    name = "lloyd" if n_clusters == 1 else "auto"
    loop = _make_loop(name, X, weights, means, n_clusters, threads)
    loop.tol = 1e-4 * float(variances.mean())
    starts = small_starts(loop, n_clusters, 1, "k-means++", random_state)
    if starts is not None:
        fit = _best_of_small(loop, starts)
    else:
        start = loop.seeding(loop.rows, n_clusters, threads).choose(random_state)
        fit = loop.run(loop.centred(start))
    validation.check_inertia(fit.inertia)
    _warn_of_duplicates(fit.labels, n_clusters)
    return fit.labels
