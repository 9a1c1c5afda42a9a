"""MiniBatchKMeans with scikit-learn's interface, draws and attributes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.sparse
from sklearn.utils.metaestimators import available_if

from . import validation
from .callbacks import Callbacks, Listeners
from .centroids import CentroidEstimator, labels_and_inertia, single_start, unchanged_on_error
from .checkpoints import Checkpoint, described, generator_state, restore_generator
from .choices import BatchAlgorithm, Starts
from .kernels.algorithms import seeding_for
from .kernels.batch_rules import (
    MEAN,
    MORE,
    REASSIGN,
    SEEN,
    SHIFT,
    SINCE_LEAST,
    SMALL_SHIFT,
    SMOOTHED,
    STEP,
    Rules,
)
from .kernels.draws import RowDraws, draw_batch, generator_of, lock_of
from .kernels.machine.parallel import SMALL_WORK, Team, team, team_for
from .kernels.minibatch import LARGE_STEP, MiniBatches
from .kernels.moments import near_most
from .kernels.sparse_minibatch import FewColumns, SparseMiniBatches
from .kernels.tiles import Array, padded_vector, read_only
from .nested import NestedRules, run_nested
from .preparation import Survey, open_parts, survey
from .rows import mapped
from .rows.sources import Source, once_by_blocks
from .starts import draw_rows, oversampled

STOPPED = -1  # by a callback
MOST = 1e15  # rows or steps that are counted
# Of rows that are read, each pass brings a sample: so many bytes, or so many rows for each cluster.
SAMPLE_BYTES, SAMPLE_ROWS = 1 << 26, 100


def _takes_batches(estimator: MiniBatchKMeans) -> bool:
    """Whether there is a ``partial_fit``."""
    if estimator.algorithm == "nested":
        raise AttributeError(
            "algorithm='nested' needs all rows at once: partial_fit must have "
            "algorithm='minibatch'."
        )
    return True


class MiniBatchKMeans(CentroidEstimator):
    """Mini-batch k-means: :class:`sklearn.cluster.MiniBatchKMeans`, ten and more times faster.

    The same parameters, draws and attributes as scikit-learn 1.9; with the same `random_state`
    every batch holds the same rows.  Results are the same bits for any number of threads.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of rows.
    init : {'k-means++', 'k-means||', 'random'}, callable or array-like of shape \
            (n_clusters, n_features), default='k-means++'
        How the first centers are found among `init_size` rows, as for :class:`fastclust.KMeans`;
        a callable gets those rows as they are.
    max_iter : int, default=100
        Most passes over the data: batches of as many rows in all.
    batch_size : int, default=1024
        Rows of a batch.
    verbose : int, default=0
        Print a line for each step.
    compute_labels : bool, default=True
        Whether all rows are labelled at the end of a fit (and a batch at the end of
        :meth:`partial_fit`).
    random_state : int, RandomState instance or None, default=None
        Source of the draws; an int makes them reproducible.
    tol : float, default=0.0
        Stop when the squared movements of the centers in a step add up to no more than `tol` times
        the mean variance of the columns; 0 disables this rule.
    max_no_improvement : int or None, default=10
        Stop after so many steps in a row in which the smoothed inertia of the batches has found no
        new minimum; None disables this rule.
    init_size : int or None, default=None
        Rows among which the first centers are sought; by default 3 `batch_size`, or 3 `n_clusters`
        where that is less than `n_clusters`.
    n_init : 'auto' or int, default='auto'
        Number of starts that are compared on a sample of `init_size` rows; 'auto' is 1 for
        'k-means++', 'k-means||' and arrays, 3 otherwise.
    reassignment_ratio : float, default=0.01
        Centers whose weight is below this share (0 to 1) of the largest are moved to random rows.
    algorithm : {'minibatch', 'nested'}, default='minibatch'
        'minibatch' [1]_ is scikit-learn's.  'nested' [2]_ runs k-means on a part of the rows that
        begins with `batch_size` random ones and is doubled whenever its centers have come to rest;
        every row counts once.  Its inertia comes closer to that of :class:`fastclust.KMeans`.  It
        copies up to half the rows, which must be dense, has no :meth:`partial_fit`, and of the
        rules for stopping knows `max_iter` and `tol`; with `max_no_improvement=None` it does not
        end before all rows have joined.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
        Centers, of the dtype of the data.
    labels_ : ndarray of shape (n_samples,), int32
        Index of the center nearest to each row; with `compute_labels`.
    inertia_ : float
        Weighted sum of squared distances of rows to their centers; without `compute_labels` an
        estimate by the last batches.
    counts_ : ndarray of shape (n_clusters,), float64
        Weight of the rows that each center is the mean of.
    n_iter_ : int
        Number of passes over the data, begun ones included.
    n_steps_ : int
        Number of batches.
    n_features_in_ : int
        Number of columns seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `X` had names.

    References
    ----------
    .. [1] Sculley, D.: Web-scale k-means clustering. WWW 2010.
    .. [2] Newling, J., Fleuret, F.: Nested mini-batch k-means. NIPS 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import MiniBatchKMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [4, 2], [4, 0], [4, 4],
    ...               [4, 5], [0, 1], [2, 2], [3, 2], [5, 5], [1, -1]])
    >>> kmeans = MiniBatchKMeans(n_clusters=2, random_state=0, batch_size=6)
    >>> kmeans = kmeans.partial_fit(X[:6]).partial_fit(X[6:])
    >>> kmeans.predict([[0, 0], [4, 4]])
    array([1, 0], dtype=int32)
    >>> kmeans.cluster_centers_
    array([[3.375, 3.   ],
           [0.75 , 0.5  ]])
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: Any = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: Starts = "auto",
        reassignment_ratio: float = 0.01,
        algorithm: BatchAlgorithm = "minibatch",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.algorithm = algorithm

    @property
    def reads_sparse(self) -> bool:
        """Whether `X` may be sparse."""
        return self.algorithm != "nested"

    @property
    def _counts(self) -> Array:
        """scikit-learn's name of :attr:`counts_`."""
        return self.counts_

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        callbacks: Callbacks = None,
        checkpoint: Any = None,
        checkpoint_every: int = 100,
        resume: bool = False,
    ) -> Self:
        """Find the clusters of `X` by batches drawn from its rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or rows that are read
            Rows to cluster; read in place where they are a C-contiguous float array, in CSR form, a
            memory map or the path of such a ``.npy`` file.  Other rows (see
            :mod:`fastclust.rows.sources`) are read in passes.  Up to 64 MB, or 100 rows for each
            cluster, batches are the array's.  Of more, each of the `max_iter` passes brings a
            random sample of that size, from which batches are drawn.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, not negative: rows are drawn with probability proportional to it.
        callbacks : list of callable, default=None
            Each is called after every step with a :class:`fastclust.callbacks.Progress`; True from
            one of them ends the fit.
        checkpoint : path-like, default=None
            File that is written after every `checkpoint_every` steps, and removed at the end of
            the fit.  The file must not exist, unless ``resume=True``.  For 'minibatch' on arrays,
            memory maps and sparse data.
        checkpoint_every : int, default=100
            Steps from one checkpoint to the next.
        resume : bool, default=False
            Go on from `checkpoint` where it is there, to the bits of a fit that was never
            interrupted.

        Returns
        -------
        self : MiniBatchKMeans
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
            X = validation.open_data(self, X, fitting=True, finite=False)
            weights = validation.check_weights(sample_weight, X)
            init = self._resolve(X)
            if self.algorithm == "nested" and isinstance(X, Source):
                raise ValueError(
                    "algorithm='nested' needs rows as an array or a memory map: for "
                    f"{X.name} it must be 'minibatch'."
                )
            # The most that a pass is: over all rows, or of the seeding.
            with team_for(X.shape[0] * X.shape[1] * (self.n_clusters + 8.0)) as threads:
                data = survey(X, weights, threads, self, identify=bool(saved))
                tol = self.tol * data.mean_variance
                if saved:
                    self._check_checkpoint(X)
                    saved.describe(
                        **self._described(tol),
                        **described(init, self.random_state, random_state, data, threads),
                    )
                data = data.widened()
                rows = data.opened()
                if saved.found is None:
                    start = self._best_start(data, data.fitting(init), random_state, threads)
                else:
                    start = saved.array("start", (self.n_clusters, X.shape[1]), data.X.dtype)
                job = _Job(data, start, tol, random_state, threads, listeners, saved)
                fit = self._fit_nested if self.algorithm == "nested" else self._fit_batches
                mean_inertia = fit(job)
                if self.compute_labels:
                    self.labels_, self.inertia_ = labels_and_inertia(
                        rows, self.cluster_centers_, threads
                    )
                else:
                    self.inertia_ = mean_inertia * _total(data)
            validation.check_inertia(self.inertia_)
            self.cluster_centers_ = self.cluster_centers_.astype(X.dtype, copy=False)
            saved.remove()
        return self

    def _check_checkpoint(self, X: Any) -> None:
        """That there can be one of this fit."""
        if self.algorithm == "nested" or isinstance(X, Source):
            raise ValueError(
                "checkpoint is supported only for algorithm='minibatch' with rows in an array or a "
                "memory map; it must be None."
            )

    def _described(self, tol: float) -> dict[str, Any]:
        """What of this estimator decides about a fit, for its checkpoint."""
        names = ("n_clusters", "max_iter", "max_no_improvement", "reassignment_ratio")
        return {
            "estimator": "MiniBatchKMeans",
            **{name: getattr(self, name) for name in names},
            "sizes": [self._n_init, self._batch_size, self._init_size],
            "tol": tol,
        }

    def _fit_batches(self, job: _Job) -> float:
        """Set centers by scikit-learn's algorithm; an estimate of the mean inertia."""
        X, size = job.data.X, self._batch_size
        shift, exact = _centred(job.start, X)
        none = np.zeros(self.n_clusters)
        rules = self._rules(job.tol, X.shape[0])
        streamed = isinstance(X, Source)
        first = np.empty((0, X.shape[1]), X.dtype) if streamed else X
        steps = _make_steps(first, shift, exact, none, size, rules, job.threads)
        if streamed:
            self._run_over_samples(steps, job)
        else:
            if job.saved.found is not None:
                _restore(steps, job, self._n_steps(X))
            batches = _Batches(X.shape[0], job.data.weights, size, job.random_state)
            self._run(steps, batches, job, self._n_steps(X))
        self._keep(steps)
        self.n_steps_ = int(steps.running.monitor[STEP])
        self.n_iter_ = -(-self.n_steps_ * size // X.shape[0])
        return float(steps.running.monitor[SMOOTHED])

    def _fit_nested(self, job: _Job) -> float:
        """Set centers by nested batches; an estimate of the mean inertia."""
        X = job.data.X
        mean, exact = _centred(job.start, X)

        def observe(step: int, size: int, shift: float, inertia: float) -> bool:
            return job.listeners.tell(
                size,
                unit="steps",
                iteration=step,
                max_iter=None,
                start=1,
                n_starts=1,
                shift=shift,
                objective=lambda: inertia,
            )

        rules = NestedRules(
            first=max(self._batch_size, self.n_clusters),
            most_rows=float(self.max_iter) * X.shape[0],
            tol=job.tol,
            early_stop=self.max_no_improvement is not None,
            verbose=bool(self.verbose),
            observe=observe if job.listeners else None,
        )
        start = exact.astype(X.dtype)
        fit = run_nested(X, job.data.weights, mean, start, rules, job.random_state, job.threads)
        self.cluster_centers_ = fit.centers + mean[: X.shape[1]]
        self._n_features_out = len(self.cluster_centers_)
        self.counts_ = fit.weights
        self._n_since_last_reassign = 0
        self.n_steps_ = fit.n_steps
        self.n_iter_ = -(-fit.n_rows // X.shape[0])
        return fit.mean_inertia

    @available_if(_takes_batches)
    @once_by_blocks
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Move the centers by one more batch.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows of the batch.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, not negative.

        Returns
        -------
        self : MiniBatchKMeans
            The estimator, with centers moved.

        Raises
        ------
        ValueError, TypeError
            Where an argument is not what it must be; the estimator is then as it was before.
        """
        with unchanged_on_error(self):
            self._check_parameters()
            first = not hasattr(self, "cluster_centers_")
            if not first and len(self.cluster_centers_) != self.n_clusters:
                raise ValueError(
                    f"n_clusters={self.n_clusters} must not change between batches, but there are "
                    f"{len(self.cluster_centers_)} centers so far."
                )
            X = validation.check_batch(self, X, fitting=first)
            weights = validation.check_weights(sample_weight, X, all_zero=True)
            if not hasattr(self, "_random_state"):
                self._random_state = validation.check_seed(self.random_state)
            if first:
                init = self._resolve(X)
                with team() as threads:
                    data = survey(X, weights, threads).widened()  # as all batches will be
                    X, weights = data.X, data.weights
                    self.cluster_centers_ = self._first_centers(
                        data, data.fitting(init), self._random_state, threads
                    )
                self.counts_ = np.zeros(self.n_clusters)
                self._n_since_last_reassign = 0
                self.n_steps_ = 0
            else:
                X = X.astype(self.cluster_centers_.dtype, copy=False)
                weights = None if weights is None else weights.astype(X.dtype, copy=False)
            self._step(X, weights)
        return self

    def _step(self, X: Array, weights: Array | None) -> None:
        """One step of :meth:`partial_fit`, with all rows of `X` as the batch."""
        weights = None if weights is None else read_only(weights)
        sparse = scipy.sparse.issparse(X)
        n_bytes = X.data.nbytes if sparse else X.nbytes
        large = n_bytes * self.n_clusters >= 4 * LARGE_STEP
        large |= sparse and self.cluster_centers_.size >= SMALL_WORK  # all of which are written
        with team(None if large else 1) as threads:
            steps, batch = self._opened(X, threads)
            steps.running.monitor[SEEN] = self._n_since_last_reassign
            status = steps.step(batch, weights)
            if not steps.finite:  # or too long for their dtype: before anything is drawn
                validation.check_data(self, X, fitting=False)
            if status == REASSIGN:
                self._reassign(steps, batch, self._random_state)
            self._keep(steps)
            if self.compute_labels:
                self.labels_, self.inertia_ = steps.relabel(batch, weights)
                validation.check_inertia(self.inertia_)
            steps.close()
        self.n_steps_ += 1

    def _opened(self, X: Any, threads: Team) -> tuple[MiniBatches, Array]:
        """What makes the step, and the batch that it is made with: all rows of `X`.

        For dense rows it is kept for the next batch, which is most often of the same shape.
        """
        rules = self._rules(0.0, X.shape[0])
        counts = np.ascontiguousarray(self.counts_, np.float64)
        key = (X.shape, X.dtype, self.n_clusters, self.compute_labels, rules)
        sparse = scipy.sparse.issparse(X)
        if sparse or getattr(self, "_kept", (None,))[0] != key:
            few = sparse and 0 < len(X.indices) < X.shape[1] // 4
            shift, exact = _centred(self.cluster_centers_, X, copy=not few)
            steps = (FewColumns if few else _make_steps)(
                X, shift, exact, counts.copy(), X.shape[0], rules, threads,
                relabels=self.compute_labels,
            )  # fmt: skip
            batch = np.arange(X.shape[0])
            if sparse:
                return steps, batch
            self._kept = key, steps, batch
        _, steps, batch = self._kept
        centers = np.ascontiguousarray(self.cluster_centers_)
        steps.open(read_only(X), centers, counts, threads)
        return steps, batch

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_kept"}

    def _keep(self, steps: MiniBatches) -> None:
        running = steps.running
        self.cluster_centers_ = steps.centers()
        self.counts_ = running.weights.copy()
        self._n_since_last_reassign = int(running.monitor[SEEN])
        self._n_features_out = len(self.cluster_centers_)

    def _n_steps(self, X: Any) -> int:
        """Most steps of a fit to `X`."""
        return int(self.max_iter * X.shape[0] // self._batch_size)

    def _run(self, steps: MiniBatches, batches: _Batches, job: _Job, until: int) -> int:
        """Make steps up to number `until`; `MORE`, or why to stop."""
        monitor, saved = steps.running.monitor, job.saved
        in_all = self._n_steps(job.data.X)
        status = MORE
        most = 1 if self.verbose or job.listeners else steps.most_steps
        while (done := int(monitor[STEP])) < until and status == MORE:
            wanted = min(most, until - done)
            if saved:
                wanted = min(wanted, saved.every - done % saved.every)
            with batches.opened() as draws:
                status = steps.run_drawn(wanted, draws)
            mapped.check()
            if status == REASSIGN:
                self._reassign(steps, steps.listed[0], batches.random_state)
                status = steps.follow()
            if self.verbose:
                self._report(monitor, in_all, status)
            if job.listeners and job.tell(steps, self._batch_size, in_all) and status == MORE:
                status = STOPPED
            if status == MORE and saved.due(int(monitor[STEP])):
                _save(steps, job)
        return status

    def _run_over_samples(self, steps: MiniBatches, job: _Job) -> None:
        """Make steps on rows that are read: on all of them if they are few, else on samples.

        One pass over the rows brings one sample of rows, drawn as those of a batch are; batches are
        drawn from it, as many as make one of the `max_iter` passes that the fit may take.
        """
        source, random_state = job.data.X, job.random_state
        n_samples, n_features = source.shape
        most = SAMPLE_BYTES // (n_features * source.dtype.itemsize)
        size = max(most, SAMPLE_ROWS * self.n_clusters, self._batch_size)
        in_all = self._n_steps(source)
        if size >= n_samples:
            steps.X = read_only(source.take(np.arange(n_samples)))
            batches = _Batches(n_samples, job.data.weights, self._batch_size, random_state)
            self._run(steps, batches, job, in_all)
            return
        samples = _Batches(n_samples, job.data.weights, size, random_state)
        batches = _Batches(size, None, self._batch_size, random_state)
        for turn in range(1, self.max_iter + 1):
            steps.X = read_only(np.empty((0, n_features), source.dtype))  # before the next is read
            steps.X = read_only(source.take(samples.draw()))
            if self._run(steps, batches, job, in_all * turn // self.max_iter) != MORE:
                return

    def _reassign(
        self, steps: MiniBatches, batch: Array, random_state: np.random.RandomState
    ) -> None:
        n_moved = steps.reassign(batch, random_state)
        if self.verbose and n_moved:
            print(f"[MiniBatchKMeans] Reassigning {n_moved} cluster centers.")

    def _report(self, monitor: Array, n_steps: int, status: int) -> None:
        step = f"step {int(monitor[STEP])}/{n_steps}"
        line = f"Minibatch {step}: mean batch inertia: {monitor[MEAN]}"
        if monitor[STEP] > 1:
            line += f", ewa inertia: {monitor[SMOOTHED]}"
        print(line)
        if status == SMALL_SHIFT:
            print(f"Converged (small centers change) at {step}")
        elif status != MORE:
            print(f"Converged (lack of improvement in inertia) at {step}")

    def _check_parameters(self) -> None:
        """Everything that can be said of the parameters without data."""
        validation.check_n_init(self.n_init, validation.check_init(self.init), 3)
        validation.check_verbose(self.verbose)
        for name in ("n_clusters", "max_iter", "batch_size"):
            validation.check_int(name, getattr(self, name), 1)
        if self.max_no_improvement is not None:
            validation.check_int("max_no_improvement", self.max_no_improvement, 0)
        if self.init_size is not None:
            validation.check_int("init_size", self.init_size, 1)
        validation.check_tolerance("tol", self.tol)
        validation.check_share("reassignment_ratio", self.reassignment_ratio)
        validation.check_option("algorithm", self.algorithm, ("minibatch", "nested"))
        validation.check_bool("compute_labels", self.compute_labels)

    def _resolve(self, X: Any) -> Any:
        """Sizes for these data, under scikit-learn's names; `init`, checked if an array."""
        n_clusters = validation.check_n_clusters(self.n_clusters, X.shape[0])
        self._n_init = validation.check_n_init(self.n_init, self.init, 3)
        self._batch_size = min(self.batch_size, X.shape[0])
        wanted = 3 * self._batch_size if self.init_size is None else self.init_size
        if wanted < n_clusters:
            if self.init_size is not None:
                validation.warn(
                    f"init_size={wanted} should be larger than n_clusters={n_clusters}. "
                    "Setting it to min(3*n_clusters, n_samples)",
                    RuntimeWarning,
                )
            wanted = 3 * n_clusters
        self._init_size = min(wanted, X.shape[0])
        if validation.is_array_like(self.init):
            self._n_init = single_start(self._n_init, self)
            return validation.check_centers("init", self.init, X, n_clusters)
        return self.init

    def _rules(self, tol: float, n_samples: int) -> Rules:
        patience = self.max_no_improvement
        return Rules(
            float(tol),
            min(2.0 * self._batch_size / (n_samples + 1), 1.0),
            -1 if patience is None else int(patience),
            float(self.reassignment_ratio),
            10 * int(self.n_clusters),
            self._batch_size,
        )

    def _best_start(
        self, data: Survey, init: Any, random_state: np.random.RandomState, threads: Team
    ) -> Array:
        """First centers: of several starts those that suit a sample of the rows best."""
        # Drawn even where one start needs no comparison: draws are scikit-learn's.
        sample = random_state.randint(0, data.X.shape[0], self._init_size)
        rows = None
        if self._n_init > 1 or self.verbose:
            rows = open_parts(*_chosen(data, sample))
        best, least = None, np.inf
        for number in range(1, self._n_init + 1):
            if self.verbose:
                print(f"Init {number}/{self._n_init} with method {init}")
            centers = self._first_centers(data, init, random_state, threads)
            inertia = 0.0 if rows is None else labels_and_inertia(rows, centers, threads)[1]
            if self.verbose:
                print(f"Inertia for init {number}/{self._n_init}: {inertia}")
            if best is None or inertia < least:
                best, least = centers, inertia
        assert best is not None
        return best

    def _first_centers(
        self, data: Survey, init: Any, random_state: np.random.RandomState, threads: Team
    ) -> Array:
        """Centers to start from, found among `init_size` rows."""
        X, weights = data.X, data.weights
        n_drawn = 0  # by their weights, and different
        if isinstance(init, str):
            n_drawn = self.n_clusters if init == "random" else 1
            validation.check_drawable(weights, n_drawn, init)
        if self._init_size < X.shape[0]:
            sample = random_state.randint(0, X.shape[0], self._init_size)
            if weights is not None and np.count_nonzero(weights[sample]) < n_drawn:
                # Rows that cannot be drawn from: among those that weigh something, once more.
                sample = random_state.choice(np.flatnonzero(weights), self._init_size)
            X, weights = _chosen(data, sample)
        elif isinstance(X, Source):
            X = X.take(np.arange(X.shape[0]))
        if not isinstance(init, str):
            if not callable(init):
                return init
            centers = init(X, self.n_clusters, random_state=random_state)
            return validation.check_centers("init", centers, X, self.n_clusters)
        if init == "random":
            chosen = draw_rows(random_state, X.shape[0], self.n_clusters, weights)
            return open_parts(X).take(chosen)
        rows = open_parts(X, weights)
        if init == "k-means||":
            return rows.take(oversampled(rows, self.n_clusters, random_state, threads))
        seeding = seeding_for(rows)(rows, self.n_clusters, threads)
        return rows.take(seeding.choose(random_state))


class _Job(NamedTuple):
    """What a fit works on and whom it tells."""

    data: Survey
    start: Array
    tol: float
    random_state: np.random.RandomState
    threads: Team
    listeners: Listeners
    saved: Checkpoint

    def tell(self, steps: MiniBatches, batch_size: int, n_steps: int) -> bool:
        """Tell the callbacks of a step; whether one of them wants the fit to end."""
        monitor = steps.running.monitor
        smoothed = float(monitor[MEAN] if monitor[STEP] == 1 else monitor[SMOOTHED])
        return self.listeners.tell(
            batch_size,
            unit="steps",
            iteration=int(monitor[STEP]),
            max_iter=n_steps,
            start=1,
            n_starts=1,
            shift=float(monitor[SHIFT]) if self.tol > 0 else float("nan"),
            objective=lambda: smoothed * self.data.X.shape[0],
        )


def _save(steps: MiniBatches, job: _Job) -> None:
    """Write a checkpoint."""
    values, arrays = generator_state(job.random_state)
    job.saved.write(values, arrays | steps.state() | {"start": job.start})


def _restore(steps: MiniBatches, job: _Job, most_steps: int) -> None:
    """Go on where a checkpoint was written."""
    for name, values in steps.state().items():
        least = 0.0 if name == "weights" else -np.inf
        values[:] = job.saved.array(
            name, values.shape, values.dtype, least, finite=name != "monitor"
        )
    counts = steps.running.monitor[[STEP, SEEN, SINCE_LEAST]]
    if not ((counts % 1 == 0) & (counts >= [1, 0, 0]) & (counts <= [most_steps, MOST, MOST])).all():
        raise job.saved.wrong(
            f"its monitor must count steps up to {most_steps} and rows, but it has {counts}"
        )
    restore_generator(job.random_state, job.saved)


class _Batches:
    """Draws the rows of batches: scikit-learn 1.9's draws, without its work for every row.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    weights : ndarray of shape (n_samples,) or None
        Rows are drawn with probability proportional to these.
    size : int
        Rows of a batch.
    random_state : numpy.random.RandomState
        Where the draws come from.
    """

    def __init__(
        self, n_samples: int, weights: Array | None, size: int, random_state: np.random.RandomState
    ) -> None:
        self.n_samples, self.size, self.random_state = n_samples, size, random_state
        self.cumulative = np.empty(0)
        if weights is not None:
            self.cumulative = np.cumsum(weights / weights.sum(), dtype=np.float64)
            self.cumulative /= self.cumulative[-1]
        self.draws = RowDraws(generator_of(random_state), n_samples, self.cumulative)

    @contextlib.contextmanager
    def opened(self) -> Iterator[RowDraws]:
        """The draws, while nobody else can draw from the generator."""
        with lock_of(self.random_state):
            yield self.draws

    def draw(self) -> Array:
        """Rows of the next batch (size,), int64."""
        listed = np.empty(self.size, np.int64)
        with self.opened() as draws:
            draw_batch(draws, listed)
        return listed


def _make_steps(X: Any, *arguments: Any, **options: Any) -> MiniBatches:
    """What makes the steps on these rows."""
    if scipy.sparse.issparse(X):
        return SparseMiniBatches(X, *arguments, **options)
    return MiniBatches(read_only(X), *arguments, **options)


def _chosen(data: Survey, rows: Array) -> tuple[Any, Array | None]:
    """The given rows on their own, and their weights."""
    X = data.X.take(rows) if isinstance(data.X, Source) else data.X[rows]
    if not scipy.sparse.issparse(X):
        X = np.asarray(X)
    return X, None if data.weights is None else data.weights[rows]


def _total(data: Survey) -> float:
    """What all rows weigh."""
    return data.X.shape[0] if data.weights is None else float(data.weights.sum(dtype=np.float64))


def _centred(centers: Array, X: Any, *, copy: bool = True) -> tuple[Array, Array]:
    """What rows are centred by, and the centers minus it in float64.

    A point near most centers, but zeros for sparse rows, which would not be sparse any more.
    Without `copy` the centers may be the very array that is given, and must not be written to.
    """
    if scipy.sparse.issparse(X):
        shift = padded_vector(np.zeros(centers.shape[1]), centers.dtype)
        return shift, np.array(centers, np.float64, order="C", copy=copy or None)
    exact = centers.astype(np.float64)
    near = near_most(exact.mean(axis=0), exact.var(axis=0))
    shift = padded_vector(near, centers.dtype)
    return shift, exact - shift[: centers.shape[1]]
