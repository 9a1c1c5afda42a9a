"""THE loop of EM, and everything that the two mixtures compute row by row.

The estimators derive from scikit-learn's: parameters, priors, sampling, criteria and every message
are its own.  What takes the time is replaced: a step of EM is one sweep over the rows
(:mod:`fastclust.kernels.gaussian`) that gives the moments from which scikit-learn's formulas make
the next parameters.  No array of shape (n_samples, n_components) is made.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Self

import numpy as np
import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted

from .. import validation
from ..callbacks import Callbacks, Listeners
from ..centroids import unchanged_on_error
from ..checkpoints import Checkpoint, described
from ..counterpart import Interchangeable
from ..fits import Clustering, Recorded
from ..kernels.components import ORDERS, Parameters, make_densities
from ..kernels.em import COLLAPSED, CONVERGED, Steps
from ..kernels.fingerprint import fingerprint
from ..kernels.gaussian import Densities, Moments, Sweep, sweep_work
from ..kernels.machine.parallel import team_for
from ..kernels.moments import near_most
from ..kernels.tiles import Array
from ..persistence import Persistent
from ..preparation import open_parts
from ..rows import mapped
from ..rows.sources import DistantWeights, once_by_blocks
from ..serving import digest, kept_beside
from ..starts import seeds
from .ascent import Ascent, Limits, Watch
from .covariances import ILL_DEFINED, are_factors_of, covariance_shapes
from .em_problem import Problem, Start

# Releases of scikit-learn that know array namespaces hand one to their own methods.
NAMESPACE: dict[str, Any] = (
    {"xp": np}
    if "xp" in inspect.signature(sklearn.mixture.GaussianMixture._check_parameters).parameters
    else {}
)
# Standard deviations whose squares float32 holds, and the inverses of these, for many features.
DEVIATIONS = (1e-17, 1e17)

# What :meth:`FusedMixture._check_numbers` checks: integers with the least that they may be, others.
_INTEGERS = {"n_components": 1, "n_init": 1, "verbose_interval": 1, "max_iter": 0}
_TOLERANCES = ("tol", "reg_covar")
_NUMBERS = {*_INTEGERS, *_TOLERANCES, "random_state"}

# What is a number and what an array, where it is given and the mixture has such a parameter.
_PRIORS = {"weight_concentration_prior", "mean_precision_prior", "degrees_of_freedom_prior"}
_ARRAYS = {"weights_init", "means_init", "precisions_init", "mean_prior", "covariance_prior"}

# What the fields of :class:`Parameters` after the first are in a mixture.
_FLAT = ("weights_", "means_", "covariances_", "precisions_cholesky_")


def defaults_of(function: Any) -> dict[str, Any]:
    """What the parameters of a function are by default."""
    return {name: found.default for name, found in inspect.signature(function).parameters.items()}


class FusedMixture(mapped.Guarded, Persistent, Interchangeable):
    """What the two mixtures share: the loop of EM, and everything that is computed row by row."""

    _built_on = ("fastclust", "scikit-learn")
    _defaults: ClassVar[dict[str, Any]]  # of the parameters of the mixture
    _record: Recorded | None = None  # of the clusters to begin with, while a search has set one

    # What scikit-learn sets, for type checkers, to which its classes are not typed.
    weights_: Array
    means_: Array
    covariances_: Array
    precisions_: Array
    precisions_cholesky_: Array
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]

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
        """Estimate the parameters of the mixture by EM.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path or callable
            Rows; read in place where they are a C-contiguous float array or memory map.  A path of
            a ``.npy`` or Parquet file, an HDF5 or Zarr array and a callable that returns an
            iterator of blocks are read block by block, once in every step, and give the same bits;
            see :mod:`fastclust.rows.sources`.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, not negative: a row of weight 2 counts as the same row twice.
        callbacks : list of callable, default=None
            Each is called after every step with a :class:`fastclust.callbacks.Progress`; True from
            one of them ends this start.  :class:`fastclust.ProgressBar` is one.
        checkpoint : path-like, default=None
            File that is written after every `checkpoint_every` steps (with 'squarem' when the round
            that these end in is over), and removed at the end of the fit.  The file must not
            exist, unless ``resume=True``.
        checkpoint_every : int, default=10
            Steps from one checkpoint to the next.
        resume : bool, default=False
            Go on from `checkpoint` where it is there, to the bits of a fit that was never
            interrupted.

        Returns
        -------
        self : object
            The fitted mixture.

        Raises
        ------
        ValueError, TypeError
            Where an argument is not what it must be, or a component has collapsed; the estimator
            is then as it was before.
        OSError
            Where `checkpoint` cannot be read or written (a full disk); it is then as it was, and so
            is the estimator.
        """
        self._estimate(
            X,
            sample_weight,
            callbacks=callbacks,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            resume=resume,
        )
        return self

    def fit_predict(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        callbacks: Callbacks = None,
        checkpoint: Any = None,
        checkpoint_every: int = 10,
        resume: bool = False,
    ) -> Array:
        """Estimate the parameters and return the likeliest component of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path or callable
            Rows, as for :meth:`fit`.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.
        callbacks, checkpoint, checkpoint_every, resume
            As for :meth:`fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            Index of the component of each row.
        """
        rows = self._estimate(
            X,
            sample_weight,
            callbacks=callbacks,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            resume=resume,
        )
        return self._labels(rows)

    @once_by_blocks
    def predict(self, X: Any) -> Array:
        """Likeliest component of each row of `X`, the lowest of several.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path or callable
            Rows, as for :meth:`fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            Index of the component of each row.
        """
        return self._labels(self._rows(X))

    @once_by_blocks
    def predict_proba(self, X: Any) -> Array:
        """Posterior probability of each component for each row of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path or callable
            Rows, as for :meth:`fit`.

        Returns
        -------
        resp : ndarray of shape (n_samples, n_components)
            Probabilities; each row adds up to one.
        """
        X = self._rows(X)
        with self._asked(X) as (sweep, densities):
            return sweep.posteriors(densities)

    @once_by_blocks
    def score_samples(self, X: Any) -> Array:
        """Log of the density of the mixture at each row of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path or callable
            Rows, as for :meth:`fit`.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            Natural logarithms.
        """
        X = self._rows(X)
        with self._asked(X) as (sweep, densities):
            return sweep.log_norms(densities)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean log-likelihood of the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path or callable
            Rows, as for :meth:`fit`.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the mean.

        Returns
        -------
        log_likelihood : float
            Natural logarithm, per row.
        """
        X = self._rows(X)
        return self._mean_log_likelihood(X, validation.check_weights(sample_weight, X))

    def _mean_log_likelihood(self, X: Any, weights: Array | None = None) -> float:
        total = len(X) if weights is None else weights.sum(dtype=np.float64)
        with self._asked(X, weights) as (sweep, densities):
            return sweep.log_likelihood(densities) / float(total)

    def _rows(self: Any, X: Any) -> Any:
        """Rows to ask about; :meth:`_asked` sees whether they are finite."""
        if "means_" not in vars(self):  # or it is fitted: scikit-learn asks for its tags, too
            check_is_fitted(self)
        self._check_type("after a fit")
        return validation.open_data(self, X, fitting=False, finite=False)

    def _labels(self, X: Any) -> Array:
        with self._asked(X) as (sweep, densities):
            return sweep.labels(densities)

    @contextlib.contextmanager
    def _asked(
        self: Any, X: Any, weights: Array | None = None
    ) -> Iterator[tuple[Sweep, Densities]]:
        """A sweep over rows, and the components that it is to meet."""
        state = (self.covariance_type, *map(digest, self._flat_parameters()))
        center, densities = kept_beside(self, "components", state, self._components)
        rows = open_parts(X, weights)
        with team_for(sweep_work(densities.n_components, *X.shape)) as threads:
            validation.check_finite(self, X, threads)
            yield Sweep(rows, center, threads), densities

    def _components(self: Any) -> tuple[Array, Densities]:
        """The components, centred, and by what.

        It is a point near the rows that does not depend on which rows are asked about.
        """
        means = np.asarray(self.means_, np.float64)
        center = near_most(means.mean(axis=0), means.var(axis=0))
        return center, self._densities(center)

    def _densities(self: Any, center: Array) -> Densities:
        """The components of this moment, centred."""
        terms, known = self._terms()
        return make_densities(
            self.covariance_type,
            np.asarray(self.means_),
            self.precisions_cholesky_,
            terms,
            center=center,
            known=known,
        )

    def _terms(self) -> tuple[Array, int]:
        """What the constants of the densities follow from; see :func:`make_densities`."""
        raise NotImplementedError

    def _check_numbers(self: Any) -> None:
        """What is to be a number is one, and not True; scikit-learn checks everything else."""
        for name, least in _INTEGERS.items():
            validation.check_int(name, getattr(self, name), least)
        for name in _TOLERANCES:
            validation.check_tolerance(name, getattr(self, name))
        validation.check_seed(self.random_state)
        for name in _PRIORS & vars(self).keys():
            if getattr(self, name) is not None:
                validation.check_tolerance(name, getattr(self, name))
        for name in _ARRAYS & vars(self).keys():
            scalar = name == "covariance_prior" and self.covariance_type == "spherical"
            validation.check_numbers(name, getattr(self, name), scalar=scalar)

    def _validate_params(self: Any) -> None:
        """scikit-learn's checks: they take as long as a small fit.

        So they are spared to what is a default or has been checked before.
        """
        given = {
            name: getattr(self, name)
            for name in self._parameter_constraints.keys() - _NUMBERS
            if getattr(self, name) is not self._defaults.get(name, self)
        }
        if given:
            validate_parameter_constraints(
                self._parameter_constraints, given, caller_name=type(self).__name__
            )

    def _checked(self: Any, X: Any) -> Any:
        """Rows to begin with: an array, or a source of what must be read.

        Whether they are finite is left to :class:`Problem`.
        """
        self._check_numbers()
        self._validate_params()
        X = validation.open_data(self, X, fitting=True, finite=False)
        if len(X) < 2:
            raise ValueError(
                f"Found array with {len(X)} sample(s) (shape={X.shape}) while a minimum of 2 is "
                f"required by {type(self).__name__}."
            )
        return X

    def _checked_weights(self: Any, sample_weight: Any, X: Any) -> Array | None:
        """Weights to start from: no component can begin with a row that does not count."""
        weights = validation.check_weights(sample_weight, X)
        if weights is not None and validation.n_positive(weights) < self.n_components:
            raise ValueError(
                f"sample_weight must have at least n_components={self.n_components} weights above "
                f"zero, but it has {validation.n_positive(weights)}."
            )
        return weights

    def _check_goes_on(self: Any, X: Any, when: str) -> None:
        """That what is fitted can be gone on from: the same components for the same columns."""
        k, d = self.means_.shape
        if k != self.n_components:
            raise ValueError(
                f"n_components={self.n_components} must not change {when}, but the mixture was "
                f"fitted with {k}."
            )
        if d != X.shape[1]:
            raise ValueError(
                f"X must have the same number of columns {when}, but it has {X.shape[1]} and the "
                f"mixture was fitted to {d}."
            )
        self._check_type(when)

    def _check_type(self: Any, when: str) -> None:
        factors = np.asarray(self.precisions_cholesky_)
        if not are_factors_of(factors, self.covariance_type, *self.means_.shape):
            raise ValueError(
                f"covariance_type={self.covariance_type!r} must not change {when}, but the mixture "
                f"was fitted with another one: its covariances are of shape "
                f"{self.covariances_.shape}."
            )

    def _estimate(
        self: Any,
        X: Any,
        sample_weight: Any,
        *,
        callbacks: Callbacks = None,
        checkpoint: Any = None,
        checkpoint_every: int = 10,
        resume: bool = False,
    ) -> Any:
        """The fit; returns the checked rows."""
        with (
            unchanged_on_error(self),
            Listeners(callbacks) as listeners,
            contextlib.ExitStack() as stack,
        ):
            saved = Checkpoint(checkpoint, checkpoint_every, resume)
            X = self._checked(X)
            if len(X) < self.n_components:
                raise ValueError(
                    "Expected n_samples >= n_components but got n_components = "
                    f"{self.n_components}, n_samples = {len(X)}"
                )
            weights = self._checked_weights(sample_weight, X)
            fresh = not (self.warm_start and hasattr(self, "converged_"))
            if not fresh:
                self._check_goes_on(X, "between fits where warm_start=True")
            threads = stack.enter_context(team_for(self._most_work(*X.shape)))
            problem = Problem(X, weights, self.covariance_type, threads, self, identify=bool(saved))
            self._check_parameters_for(problem)
            random_state = validation.check_seed(self.random_state)
            if saved:
                saved.describe(**self._described(problem, random_state, fresh))
            watch = Watch(
                listeners,
                saved,
                random_state,
                self._limits(problem),
                n_starts=self.n_init if fresh else 1,
                n_rows=len(X),
                max_iter=self.max_iter,
            )
            self._keep(self._best_of(problem, fresh, watch), X.dtype)
            saved.remove()
        if not self.converged_ and self.max_iter > 0 and not listeners.stopped:
            validation.warn(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data.",
                ConvergenceWarning,
            )
        return X

    def _described(
        self: Any, problem: Problem, random_state: np.random.RandomState, fresh: bool
    ) -> dict[str, Any]:
        """What decides about a fit, for its checkpoint."""
        own = self.get_params()
        for name in ("init_params", "random_state", "warm_start", "verbose", "verbose_interval"):
            del own[name]
        start = [] if fresh else [self.lower_bound_, *self._flat_parameters()]
        own["start"] = np.concatenate([np.ravel(part) for part in start]) if start else ""
        data, threads = problem.data, problem.team
        for name, value in own.items():
            if np.ndim(value) > 0:
                own[name] = fingerprint(np.array(value, np.float64, order="C"), threads)
        return {
            "estimator": type(self).__name__,
            **own,
            **described(self.init_params, self.random_state, random_state, data, threads),
        }

    def _flat_parameters(self: Any) -> Iterator[Any]:
        """What a fit has estimated, array by array."""
        for value in self._get_parameters():
            yield from value if isinstance(value, tuple) else (value,)

    def _limits(self: Any, problem: Problem) -> Limits:
        """What every parameter is within after a step of EM, but the factors of the precisions."""
        raise NotImplementedError

    def _best_of(self: Any, problem: Problem, fresh: bool, watch: Watch) -> Ascent:
        """The best of several starts."""
        ascent = watch.resume(self.covariance_type)
        listened = bool(watch) or bool(self.verbose) or self.max_iter == 0
        steps = None if listened else self._compiled_steps(problem)
        clustered = steps is not None and fresh and self._begins_with_clusters()
        cluster = self._clustered(problem)
        for number in range(watch.number, watch.n_starts):
            watch.number = number
            self._print_verbose_msg_init_beg(number)
            if ascent is not None:
                self._set_parameters(ascent.parameters, **NAMESPACE)
            else:
                if fresh and not clustered:
                    self._initialize_from(problem, self._start(problem, watch.random_state))
                ascent = Ascent(-np.inf if fresh else self.lower_bound_)
            if steps is not None:
                labels = cluster(watch.random_state) if clustered else None
                self._climb(steps, ascent, labels)
            else:
                self._iterate(problem, ascent, watch)
            best = watch.best
            if best is None or best.reached == -np.inf or ascent.reached > best.reached:
                ascent.parameters = self._get_parameters()
                watch.best = ascent
            ascent = None
        assert watch.best is not None
        return watch.best

    def _clustered(self: Any, problem: Problem) -> Callable[[np.random.RandomState], Array]:
        """What gives the labels to begin with, for a start after the other."""

        @functools.cache
        def clustering() -> Clustering:
            return Clustering(problem.data, self.n_components, problem.team)

        record = self._record
        if record is not None:
            return lambda random_state: record.next(clustering, random_state)
        return lambda random_state: clustering().run(random_state)

    def _climb(self: Any, steps: Steps, ascent: Ascent, labels: Array | None) -> None:
        """As :meth:`_iterate`, without coming back to Python after every step."""
        parameters = steps.parameters
        if labels is None:
            for name, place in zip(_FLAT, parameters[1:], strict=True):
                place[:] = np.ravel(getattr(self, name))
        while not ascent.converged and ascent.n_iter < self.max_iter:
            bounds, end = steps.run(self.max_iter - ascent.n_iter, ascent.lower_bound, labels)
            mapped.check()
            if end == COLLAPSED:
                raise ValueError(ILL_DEFINED)
            ascent.bounds += bounds
            ascent.lower_bound, ascent.converged = bounds[-1], end == CONVERGED
            ascent.n_iter += len(bounds)
            labels = None
        self._adopt_flat(parameters)

    def _adopt_flat(self: Any, parameters: Parameters) -> None:
        """Take over the components that compiled steps have come to."""
        k, d = self.n_components, len(parameters.means) // self.n_components
        square = covariance_shapes(k, d)[self.covariance_type]
        for name, place, shape in zip(
            _FLAT, parameters[1:], ((k,), (k, d), square, square), strict=True
        ):
            setattr(self, name, place.reshape(shape).copy())

    def _compiled_steps(self, problem: Problem) -> Steps | None:
        """What takes steps without coming back to Python; None where nothing does."""
        return None

    def _begins_with_clusters(self) -> bool:
        """Whether all of a start follows from clusters."""
        return False

    def _most_work(self: Any, n_samples: int, n_features: int) -> float:
        """Multiply-adds of a sweep, or of a pass of the k-means before it, roughly: the most."""
        return float(n_samples) * (self.n_components + 8) * (n_features + 4) ** 2

    def _keep(self: Any, best: Ascent, dtype: Any) -> None:
        """Set the attributes; they have the dtype of the data if it can hold them."""
        parameters = best.parameters
        narrow = dtype == np.float32 and _fit_float32(*parameters[-2:])
        if narrow:
            parameters = tuple(_as_float32(value) for value in parameters)
        self._set_parameters(parameters, **NAMESPACE)
        if narrow:
            self.precisions_ = _as_float32(self.precisions_)  # float64 in earlier releases
        self.converged_, self.n_iter_ = best.converged, best.n_iter
        self.lower_bound_, self.lower_bounds_ = best.reached, best.bounds

    def _iterate(self: Any, problem: Problem, ascent: Ascent, watch: Watch) -> None:
        """EM from the present parameters until the bound changes by less than `tol`."""
        if self.max_iter == 0:
            return
        for rise, telling in self._steps(problem, ascent):
            ascent.n_iter += 1
            mapped.check()
            self._print_verbose_msg_iter_end(ascent.n_iter, rise)
            ascent.converged = telling and abs(rise) < self.tol
            stops = watch.tell(ascent, rise)
            if ascent.converged or stops or ascent.n_iter == self.max_iter:
                break
            watch.save(ascent, self._get_parameters())
        self._print_verbose_msg_init_end(ascent.reached, ascent.converged)

    def _steps(self: Any, problem: Problem, ascent: Ascent) -> Iterator[tuple[float, bool]]:
        """Endless sweeps: how much each raised the bound, and whether that tells convergence."""
        while True:
            yield self._step(problem, ascent), True

    def _step(self: Any, problem: Problem, ascent: Ascent) -> float:
        """One step of EM; how much it raised the bound."""
        moments, means = self._sweep_once(problem)
        self._maximise(problem, moments, means)
        before, ascent.lower_bound = ascent.lower_bound, self._bound(problem, moments)
        ascent.bounds.append(ascent.lower_bound)
        return ascent.lower_bound - before

    def _sweep_once(self: Any, problem: Problem) -> tuple[Moments, Array]:
        """Moments of the posteriors of this moment, and the means that they are about."""
        means = np.asarray(self.means_, np.float64)
        densities = self._densities(problem.center)
        return problem.sweep.moments(densities, ORDERS[self.covariance_type]), means

    def _start(self: Any, problem: Problem, random_state: Any) -> Start:
        """Moments of the first responsibilities, with scikit-learn's draws."""
        k, weights = self.n_components, problem.weights
        if self.init_params == "k-means++":
            indices = seeds(problem.data, k, random_state, problem.team)[1]
            return problem.start_from_rows(indices)
        if self.init_params == "random_from_data":
            if isinstance(weights, DistantWeights):
                raise validation.UnsupportedParameter(
                    "init_params must not be 'random_from_data' for rows that workers hold with "
                    "their weights: its draws need an array of all weights."
                )
            p = None if weights is None else weights / weights.sum(dtype=np.float64)
            indices = random_state.choice(len(problem.X), size=k, replace=False, p=p)
            return problem.start_from_rows(indices)
        if self.init_params == "random":
            return problem.start_at_random(random_state, k)
        return problem.start_from_labels(self._clustered(problem)(random_state), k)


def _fit_float32(covariances: Array, factors: Array) -> bool:
    """Whether covariances, factors of their inverses and these inverses are within its range."""
    least, most = DEVIATIONS
    return bool(np.abs(covariances).max() < most**2 and np.abs(factors).max() < 1 / least)


def _as_float32(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_as_float32(part) for part in value)
    return value.astype(np.float32) if isinstance(value, np.ndarray) else value
