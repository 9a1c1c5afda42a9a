"""GaussianMixture: scikit-learn's class on the fused sweep of EM, with SQUAREM and stepwise EM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import sklearn.mixture
from sklearn.utils._param_validation import StrOptions

from .. import validation
from ..centroids import unchanged_on_error
from ..choices import Acceleration, Covariance, Responsibilities
from ..kernels.components import WEIGHTS
from ..kernels.em import Steps
from ..kernels.gaussian import Moments, Sweep
from ..kernels.machine.parallel import team
from ..kernels.tiles import Array
from ..rows.sources import once_by_blocks
from .ascent import Ascent, Limits
from .covariances import cholesky_of_precisions, diagonal_of, precisions_cholesky
from .em_loop import NAMESPACE, FusedMixture, defaults_of
from .em_problem import Estimates, Problem, Start

STEP_FACTOR = 4.0  # by which SQUAREM's longest step grows and shrinks
STEP_EXPONENT = 0.7  # of the step sizes of stepwise EM; between 0.5 and 1 for convergence


class GaussianMixture(FusedMixture, sklearn.mixture.GaussianMixture):
    """Gaussian mixture fitted by EM: :class:`sklearn.mixture.GaussianMixture`, many times faster.

    The same parameters, draws and attributes, and the same solution up to rounding; results are
    the same bits for any number of threads.  It also takes `sample_weight`, learns from batches
    (:meth:`partial_fit`) and can take fewer steps (`acceleration`).

    Parameters
    ----------
    n_components : int, default=1
        Number of components.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        Shape of the covariances: one matrix each, one matrix for all, axis-parallel, or round.
    tol : float, default=1e-3
        Convergence is declared when the mean log-likelihood of a row rises by less.
    reg_covar : float, default=1e-6
        Added to the diagonal of every covariance.
    max_iter : int, default=100
        Most steps of EM of one start.
    n_init : int, default=1
        Number of starts; the best is kept.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'}, default='kmeans'
        How the first responsibilities are found.
    weights_init : array-like of shape (n_components,), default=None
        First weights.
    means_init : array-like of shape (n_components, n_features), default=None
        First means.
    precisions_init : array-like, default=None
        First precisions (inverses of covariances), of the shape of `precisions_`.
    random_state : int, RandomState instance or None, default=None
        Source of the draws, which are scikit-learn's.
    warm_start : bool, default=False
        Whether a fit goes on from where the last one ended.
    verbose : int, default=0
        Print progress: 1 for steps, 2 for times and changes, too.
    verbose_interval : int, default=10
        Steps between two lines.
    acceleration : {None, 'squarem'}, default=None
        'squarem' [2]_ extrapolates from two steps of EM and keeps the result where it is likelier:
        the same optimum by a fraction of the steps, where EM takes many.  The likelihood never
        falls.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Weights; they add up to one.
    means_ : ndarray of shape (n_components, n_features)
        Means.
    covariances_ : ndarray
        (n_components, n_features, n_features) for 'full', (n_features, n_features) for 'tied',
        (n_components, n_features) for 'diag', (n_components,) for 'spherical'.
    precisions_ : ndarray
        Their inverses.
    precisions_cholesky_ : ndarray
        Upper triangular factors U of the precisions, ``U Uᵀ``.
    converged_ : bool
        Whether the best start converged.
    n_iter_ : int
        Number of sweeps over the rows of the best start.
    lower_bound_ : float
        Mean log-likelihood of a row before the last step of the best start.
    lower_bounds_ : list of float
        The same after every step; extrapolations that were given up are not among them.
    n_features_in_ : int
        Number of columns seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `X` had names.

    References
    ----------
    .. [1] Dempster, A. P., Laird, N. M., Rubin, D. B.: Maximum likelihood from incomplete data via
       the EM algorithm. Journal of the Royal Statistical Society B 39 (1977).
    .. [2] Varadhan, R., Roland, C.: Simple and globally convergent methods for accelerating the
       convergence of any EM algorithm. Scandinavian Journal of Statistics 35 (2008).
    .. [3] Cappé, O., Moulines, E.: On-line expectation-maximization algorithm for latent data
       models. Journal of the Royal Statistical Society B 71 (2009).

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import GaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> gm = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> gm.means_.round(6)
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> gm.predict([[0, 0], [12, 3]])
    array([1, 0])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **sklearn.mixture.GaussianMixture._parameter_constraints,
        "acceleration": [StrOptions({"squarem"}), None],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: Covariance = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: Responsibilities = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        acceleration: Acceleration = None,
    ) -> None:
        super().__init__(
            n_components=n_components,
            covariance_type=covariance_type,
            tol=tol,
            reg_covar=reg_covar,
            max_iter=max_iter,
            n_init=n_init,
            init_params=init_params,
            weights_init=weights_init,
            means_init=means_init,
            precisions_init=precisions_init,
            random_state=random_state,
            warm_start=warm_start,
            verbose=verbose,
            verbose_interval=verbose_interval,
        )
        self.acceleration = acceleration

    _defaults = defaults_of(__init__)
    _batches: _Batches | None = None  # what :meth:`partial_fit` has learnt

    @once_by_blocks
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from one batch by a step of stepwise EM (Cappé and Moulines).

        The sufficient statistics are a running mean over batches: batch t = 1, 2, … enters with
        the step size ``(t + 1) ** -0.7``.  The first batch, unless the mixture is fitted already,
        starts the components as `init_params` says.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the batch; the first has at least `n_components` of them.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        self : GaussianMixture
            The mixture; `lower_bound_` is the mean log-likelihood of the batch before the step.
        """
        with unchanged_on_error(self), team() as threads:
            fresh = not hasattr(self, "means_")
            if fresh:
                first = self._checked(X)
                if len(first) < self.n_components:
                    raise ValueError(
                        "The first batch must have n_samples >= n_components but got "
                        f"n_components = {self.n_components}, n_samples = {len(first)}"
                    )
                weights = self._checked_weights(sample_weight, first)
            else:
                self._check_numbers()
                self._validate_params()
                first = validation.open_data(self, X, fitting=False)
                self._check_goes_on(first, "between batches")
                weights = validation.check_weights(sample_weight, first)
            problem = Problem(first, weights, self.covariance_type, threads, self)
            if fresh:
                self._check_parameters_for(problem)
                start = self._start(problem, validation.check_seed(self.random_state))
                self._initialize_from(problem, start)
                self._batches = None
            self._learn(problem)
        return self

    def bic(self, X: Any) -> float:
        """Bayesian information criterion of the mixture on `X`: the lower, the better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path or callable
            Rows, as for :meth:`fit`.

        Returns
        -------
        bic : float
            As scikit-learn's.
        """
        X = self._rows(X)
        fitness = -2 * self._mean_log_likelihood(X) * len(X)
        return float(fitness + self._n_parameters() * np.log(len(X)))

    def aic(self, X: Any) -> float:
        """Akaike information criterion of the mixture on `X`: the lower, the better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), path or callable
            Rows, as for :meth:`fit`.

        Returns
        -------
        aic : float
            As scikit-learn's.
        """
        X = self._rows(X)
        return float(-2 * self._mean_log_likelihood(X) * len(X) + 2 * self._n_parameters())

    def _learn(self, problem: Problem) -> None:
        """Blend the statistics of a batch into those of the batches before."""
        before = self._batches
        if before is not None:
            problem.centre_by(before.center)
        moments, means = self._sweep_once(problem)
        batches = _Batches.first(problem, moments)
        if before is not None:
            batches = before.blended(batches)
        problem.scatter = batches.scatter
        found = self._maximise(problem, batches.moments, means)
        self._batches = batches._replace(moments=found.moments(self.covariance_type))
        self.lower_bound_ = moments.log_likelihood / problem.total
        self.n_iter_ = batches.n_batches
        self.converged_ = False
        self._set_parameters(self._get_parameters(), **NAMESPACE)

    def _estimate(self, X: Any, sample_weight: Any, **options: Any) -> Any:
        X = super()._estimate(X, sample_weight, **options)
        self._batches = None  # statistics of batches before this fit are of other components
        return X

    def _limits(self, problem: Problem) -> Limits:
        k = self.n_components
        weights = (k,), 0.0, 1.0
        return {"weights": weights, **problem.limits(k)}

    def _initialize_from(self, problem: Problem, start: Start) -> None:
        found = problem.parameters(start.moments, start.means, self.reg_covar, start.scatter)
        given = self.weights_init, self.means_init, self.precisions_init
        self.weights_ = found.counts / problem.total if given[0] is None else _as_float64(given[0])
        self.means_ = found.means if given[1] is None else _as_float64(given[1])
        self.covariances_ = found.covariances
        if given[2] is None:
            self.precisions_cholesky_ = precisions_cholesky(found.covariances, self.covariance_type)
        else:
            self.precisions_cholesky_ = cholesky_of_precisions(
                _as_float64(given[2]), self.covariance_type
            )

    def _start(self, problem: Problem, random_state: Any) -> Start:
        given = self.weights_init, self.means_init, self.precisions_init
        if any(value is None for value in given):
            return super()._start(problem, random_state)
        # Everything is given: nothing is drawn, and the covariances come with the first step.
        return problem.start_from_rows(np.zeros(self.n_components, np.int64))

    def _check_parameters_for(self, problem: Problem) -> None:
        self._check_parameters(problem.example, **NAMESPACE)

    def _terms(self) -> tuple[Array, int]:
        return self.weights_, WEIGHTS

    def _maximise(self, problem: Problem, moments: Moments, means: Array) -> Estimates:
        found = problem.parameters(moments, means, self.reg_covar)
        self.weights_, self.means_, self.covariances_ = found[1:4]
        self.precisions_cholesky_ = precisions_cholesky(self.covariances_, self.covariance_type)
        return found

    def _bound(self, problem: Problem, moments: Moments) -> float:
        return moments.log_likelihood / problem.total

    def _compiled_steps(self, problem: Problem) -> Steps | None:
        if self.acceleration is not None or not isinstance(problem.sweep, Sweep):
            return None
        steps = Steps(
            problem.sweep,
            self.covariance_type,
            self.n_components,
            total=problem.total,
            tol=self.tol,
            reg_covar=self.reg_covar,
            scatter=problem.scatter,
        )
        return steps if steps.serves else None

    def _begins_with_clusters(self) -> bool:
        given = self.weights_init, self.means_init, self.precisions_init
        return self.init_params == "kmeans" and all(value is None for value in given)

    def _steps(self, problem: Problem, ascent: Ascent) -> Iterator[tuple[float, bool]]:
        if self.acceleration is None:
            yield from super()._steps(problem, ascent)
        while True:
            points = [self._point()]
            rise = self._step(problem, ascent)
            ascent.resting = False
            yield rise, True
            points.append(self._point())
            rise = self._step(problem, ascent)
            points.append(self._point())
            length = min(ascent.longest, _step_length(*points))
            leaps = length > 1.0
            if leaps:
                yield rise, True
                leap = _extrapolated(points[0], points[1], points[2], length)
                rise = self._leap(problem, leap, ascent.bounds)
                ascent.lower_bound += rise
            if length == ascent.longest:  # the limit was felt: widen it where that helped
                helped = rise > 0.0 or not leaps
                wider, narrower = length * STEP_FACTOR, max(1.0, length / STEP_FACTOR)
                ascent.longest = wider if helped else narrower
            ascent.resting = True
            # However small the rise by a leap, it is no sign of convergence: only EM's own are.
            yield rise, not leaps

    def _leap(self, problem: Problem, point: Array, bounds: list[float]) -> float:
        """A step of EM from `point` if it is likelier than before; by how much.

        Before is where the last likelihood was computed: a step of EM behind the parameters.
        """
        safe = self._get_parameters()
        self._move_to(point)
        moments, means = self._sweep_once(problem)
        bound = self._bound(problem, moments)
        try:
            if not bound >= bounds[-1]:
                raise ValueError
            self._maximise(problem, moments, means)
        except ValueError:  # less likely, or a component has collapsed
            self.weights_, self.means_, self.covariances_, self.precisions_cholesky_ = safe
            return 0.0
        rise = bound - bounds[-1]
        bounds.append(bound)
        return rise

    def _point(self) -> Array:
        """The parameters as one vector in which every point is valid."""
        factors = self.precisions_cholesky_.copy()
        diagonal = diagonal_of(factors, self.covariance_type)
        diagonal[...] = np.log(diagonal)
        logits = np.log(np.maximum(self.weights_, np.finfo(np.float64).tiny))
        return np.concatenate([logits, self.means_.ravel(), factors.ravel()])

    def _move_to(self, point: Array) -> None:
        """The inverse of :meth:`_point`; the covariances follow with the next step."""
        k, n_means = self.weights_.size, self.means_.size
        logits, means, factors = np.split(point, [k, k + n_means])
        self.weights_ = np.exp(logits - logits.max())
        self.weights_ /= self.weights_.sum()
        self.means_ = means.reshape(self.means_.shape)
        factors = factors.reshape(self.precisions_cholesky_.shape).copy()
        diagonal = diagonal_of(factors, self.covariance_type)
        diagonal[...] = np.exp(diagonal)
        self.precisions_cholesky_ = factors


def _step_length(start: Array, once: Array, twice: Array) -> float:
    """SQUAREM's third scheme: how many steps of EM the two seem worth; at least 1."""
    first = once - start
    curvature = float(np.linalg.norm(twice - once - first))
    length = float(np.linalg.norm(first)) / curvature if curvature > 0.0 else 1.0
    return length if 1.0 < length < np.inf else 1.0


def _extrapolated(start: Array, once: Array, twice: Array, length: float) -> Array:
    """Where two steps of EM seem to lead; a length of 1 is where they have led."""
    first = once - start
    return start + 2 * length * first + length**2 * (twice - once - first)


class _Batches(NamedTuple):
    """Running means of the sufficient statistics of the batches of :meth:`partial_fit`."""

    center: Array
    n_batches: int
    moments: Moments
    scatter: Array

    @classmethod
    def first(cls, problem: Problem, moments: Moments) -> _Batches:
        """Statistics of one batch, per unit of weight."""
        fields = (field / problem.total for field in moments[2:])
        scatter = problem.scatter / problem.total
        return cls(problem.center, 1, Moments(0.0, 0.0, *fields), scatter)

    def blended(self, batch: _Batches) -> _Batches:
        """With one batch more; the moments of both are about the same means."""
        n_batches = self.n_batches + 1
        step = (n_batches + 1) ** -STEP_EXPONENT
        pairs = zip(
            (*self.moments[2:], self.scatter), (*batch.moments[2:], batch.scatter), strict=True
        )
        *sums, scatter = ((1 - step) * old + step * new for old, new in pairs)
        return _Batches(self.center, n_batches, Moments(0.0, 0.0, *sums), scatter)


def _as_float64(value: Any) -> Array:
    return np.asarray(value, np.float64)
