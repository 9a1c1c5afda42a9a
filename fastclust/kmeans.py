"""KMeans, k_means and kmeans_plusplus with scikit-learn's interface, draws and attributes."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from . import validation
from .callbacks import Callbacks, Listeners
from .centroids import CentroidEstimator, single_start, unchanged_on_error
from .checkpoints import Checkpoint, described, restore_generator
from .choices import Algorithm, Starts
from .fits import (
    best_found,
    best_of_small,
    is_better,
    make_loop,
    recorded,
    small_starts,
    state_found,
    warn_of_duplicates,
)
from .kernels.auto import Auto
from .kernels.lloyd import Lloyd
from .kernels.machine.parallel import team, team_for
from .kernels.tiles import Array
from .lloyd_loop import Fit, Loop, State
from .preparation import survey
from .rows.mapped import surviving
from .rows.sources import Source
from .starts import first_centers, seeds


class _Checked(NamedTuple):
    """Parameters that have been checked; see :class:`KMeans`."""

    algorithm: Any
    n_init: int
    max_iter: int
    tol: float
    refine: int
    n_clusters: int
    copy_x: bool
    verbose: bool


class KMeans(CentroidEstimator):
    """k-means clustering: :class:`sklearn.cluster.KMeans`, several times faster.

    The same parameters, draws and attributes; labels and centers agree with scikit-learn's up to
    rounding.  Results are the same bits for any number of threads.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of rows.
    init : {'k-means++', 'k-means||', 'random'}, callable or array-like of shape \
            (n_clusters, n_features), default='k-means++'
        How the first centers are found.  'k-means++' is greedy k-means++ [2]_, a pass over all rows
        for each center; 'k-means||' [6]_ chooses among some ten candidates for each center, which
        take six passes in all; 'random' takes distinct rows; a callable is called as
        ``init(X, n_clusters, random_state=...)`` with a copy of the data from which the mean has
        been subtracted (sparse data come as they are), as in scikit-learn, and returns centers for
        it.  :class:`fastclust.SampledKMeansPlusPlus` is a callable for data on disk.
    n_init : 'auto' or int, default='auto'
        Number of starts; the best is kept.  'auto' is 1 for 'k-means++', 'k-means||'
        and arrays, 10 otherwise.
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
    `max_iter` iterations at most.  The second ends by `tol`; the first only has to show where
    centers are missed, and ends by 30 times `tol`.  A breath that lowers the inertia by less than
    0.01 % leaves the next one a center less.  After the last center the best clusters of all
    breaths are those that a last run starts from, so that `inertia_` is never above that of the
    same fit without `refine`.  New centers are drawn from `random_state`, after the starts.

    References
    ----------
    .. [1] Lloyd, S.: Least squares quantization in PCM. IEEE Transactions on Information Theory
       28 (1982).
    .. [2] Arthur, D., Vassilvitskii, S.: k-means++: the advantages of careful seeding. SODA 2007.
    .. [3] Elkan, C.: Using the triangle inequality to accelerate k-means. ICML 2003.
    .. [4] Hamerly, G.: Making k-means even faster. SDM 2010.
    .. [5] Fritzke, B.: The breathing k-means algorithm. arXiv 2006.15666v5.
    .. [6] Bahmani, B., Moseley, B., Vattani, A., Kumar, R., Vassilvitskii, S.: Scalable k-means++.
       VLDB 2012.

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
            from one of them ends this start, or all breaths of `refine`; the best clusters so far
            are kept.  :class:`fastclust.ProgressBar` is one.
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
            own = self._checked()
            saved = Checkpoint(checkpoint, checkpoint_every, resume)
            random_state = validation.check_seed(self.random_state)
            X = validation.open_data(self, X, fitting=True, finite=False)
            n_clusters = validation.check_n_clusters(own.n_clusters, X.shape[0])
            weights = validation.check_weights(sample_weight, X)
            init, n_init = self._checked_start(own, X, weights)
            # The most that a pass is: of the iterations, or of the seeding.
            with team_for(X.shape[0] * X.shape[1] * (n_clusters + 8.0)) as threads:
                data = survey(X, weights, threads, self, identify=bool(saved))
                if saved:
                    saved.describe(
                        estimator="KMeans",
                        n_clusters=n_clusters,
                        n_init=n_init,
                        max_iter=own.max_iter,
                        tol=own.tol,
                        **({"refine": own.refine} if own.refine else {}),
                        **described(init, self.random_state, random_state, data, threads),
                    )
                data = data.widened()
                name = "lloyd" if n_clusters == 1 else self.algorithm
                loop = make_loop(name, data.opened(), data.center, n_clusters, threads)
                loop.max_iter, loop.verbose = own.max_iter, own.verbose
                loop.tol = own.tol * data.mean_variance
                init = data.fitting(init)
                best = self._best_of(loop, data.X, n_init, init, random_state, listeners, saved)
                if own.refine:
                    from .refinement import Refinement  # which most fits do without

                    refinement = Refinement(loop, best, own.refine, random_state, n_init)
                    best = refinement.run(listeners, saved)
            self._n_init = n_init
            validation.check_inertia(best.inertia)
            self._keep(best, loop.mean[: X.shape[1]], X.dtype, loop.algorithm.n_distances)
            saved.remove()
        return self

    def _checked(self) -> _Checked:
        """The parameters, and everything that can be said of them without data."""
        return _Checked(
            algorithm=validation.check_algorithm(self.algorithm),
            n_init=validation.check_n_init(self.n_init, validation.check_init(self.init), 10),
            max_iter=validation.check_int("max_iter", self.max_iter, 1),
            tol=validation.check_tolerance("tol", self.tol),
            refine=validation.check_int("refine", self.refine, 0),
            n_clusters=validation.check_int("n_clusters", self.n_clusters, 1),
            copy_x=validation.check_bool("copy_x", self.copy_x),
            verbose=validation.check_verbose(self.verbose),
        )

    def _checked_start(self, own: _Checked, X: Any, weights: Array | None) -> tuple[Any, int]:
        """What to start from and how often; centers that are given are an array by now."""
        init = self.init
        validation.check_init_for(init, X)
        if own.n_clusters == 1 and own.algorithm not in (Auto, Lloyd):
            validation.warn(
                f"algorithm={self.algorithm!r} doesn't make sense for a single cluster. "
                "Using 'lloyd' instead.",
                RuntimeWarning,
            )
        if isinstance(init, str) and init == "random":
            validation.check_drawable(weights, own.n_clusters)
        if not validation.is_array_like(init):
            return init, own.n_init
        init = validation.check_centers("init", init, X, own.n_clusters)
        return init, single_start(own.n_init, self)

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
                return best_of_small(loop, starts)
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
            if is_better(fit, best):
                best = fit.kept(number + 1 < n_init)
        assert best is not None
        return best

    def _keep(self, fit: Fit, mean: Array, dtype: Any, n_distances: int) -> None:
        warn_of_duplicates(fit.labels, self.n_clusters)
        self.cluster_centers_ = (fit.centers + mean).astype(dtype, copy=False)
        self._n_features_out = len(self.cluster_centers_)
        self.labels_ = fit.labels
        self.inertia_ = fit.inertia
        self.n_iter_ = fit.n_iter
        self.n_distances_ = n_distances


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
        data = survey(X, weights, threads, unseen=True)
        rows, indices = seeds(data, n_clusters, random_state, threads, n_local_trials)
    chosen = (X if isinstance(X, Source) else rows).take(indices)
    return chosen.astype(X.dtype, copy=False), indices
