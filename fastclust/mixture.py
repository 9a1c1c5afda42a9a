"""GaussianMixture and BayesianGaussianMixture: scikit-learn's classes on one fused sweep of EM.

The classes derive from scikit-learn's: parameters, priors, sampling, criteria and every message
are its own.  What takes the time is replaced: a step of EM is one sweep over the rows
(:mod:`fastclust.kernels.gaussian`) that gives the moments from which scikit-learn's formulas make
the next parameters.  No array of shape (n_samples, n_components) is made.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import sklearn
import sklearn.mixture
from scipy.linalg import lapack
from scipy.special import digamma
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.fixes import parse_version
from sklearn.utils.validation import check_is_fitted, validate_data

from . import validation
from .centroids import unchanged_on_error
from .interchange import Interchangeable
from .kernels.gaussian import (
    COVARIANCES,
    MEANS,
    VARIANCES,
    Densities,
    Moments,
    Sweep,
    make_densities,
)
from .kernels.moments import column_moments
from .kernels.parallel import Team, team
from .kernels.tiles import Array, make_rows
from .kmeans import KMeans, kmeans_plusplus

# Releases of scikit-learn that know array namespaces hand one to their own methods.
_NAMESPACE: dict[str, Any] = (
    {"xp": np}
    if "xp" in inspect.signature(sklearn.mixture.GaussianMixture._check_parameters).parameters
    else {}
)
_ORDERS = {"full": COVARIANCES, "tied": MEANS, "diag": VARIANCES, "spherical": VARIANCES}
STEP_FACTOR = 4.0  # by which SQUAREM's longest step grows and shrinks
STEP_EXPONENT = 0.7  # of the step sizes of stepwise EM; between 0.5 and 1 for convergence
_CHUNK_ROWS = 65_536  # rows whose random responsibilities are drawn at once
_LEAST_COUNT = 10 * np.finfo(np.float64).eps  # what scikit-learn adds to every count
# scikit-learn's message; its end changed with 1.7, and is what the release at hand would say.
_REMEDY = (
    "increase reg_covar, or scale the input data."
    if parse_version(sklearn.__version__) >= parse_version("1.7")
    else "or increase reg_covar."
)
_ILL_DEFINED = (
    "Fitting the mixture model failed because some components have ill-defined empirical "
    "covariance (for instance caused by singleton or collapsed samples). Try to decrease the "
    f"number of components, {_REMEDY}"
)


def precisions_cholesky(covariances: Array, covariance_type: str) -> Array:
    """Upper triangular U with ``U Uᵀ`` the inverse of each covariance.

    Parameters
    ----------
    covariances : ndarray
        (k, d, d), (d, d), (k, d) or (k,), by `covariance_type`.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
        As in scikit-learn.

    Raises
    ------
    ValueError
        Where a covariance is not positive definite.
    """
    if covariance_type in ("diag", "spherical"):
        if not (covariances > 0).all():
            raise ValueError(_ILL_DEFINED)
        return 1.0 / np.sqrt(covariances)
    if not np.isfinite(covariances).all():
        raise ValueError(_ILL_DEFINED)
    try:
        factors = np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        raise ValueError(_ILL_DEFINED) from None
    result = np.empty_like(factors)
    flat = result.reshape(-1, *factors.shape[-2:])
    for place, factor in enumerate(factors.reshape(flat.shape)):
        # The transpose is a view in LAPACK's order: no copy, and its inverse is what is wanted.
        flat[place], failed = lapack.dtrtri(factor.T, lower=0)
        if failed:
            raise ValueError(_ILL_DEFINED)
    return result


def _log_det(factors: Array, covariance_type: str, n_features: int) -> Any:
    """Log of the determinant of each factor of a precision."""
    if covariance_type == "full":
        return np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    if covariance_type == "tied":
        return np.log(np.diagonal(factors)).sum()
    if covariance_type == "diag":
        return np.log(factors).sum(axis=1)
    return n_features * np.log(factors)


class _Start(NamedTuple):
    """First guess of the components: moments of given responsibilities about given means."""

    moments: Moments
    means: Array
    scatter: Array | None = None


class _Problem:
    """One data set, its weights, and what is computed once for it."""

    def __init__(self, X: Array, weights: Array | None, covariance_type: str) -> None:
        self.X, self.weights, self.covariance_type = X, weights, covariance_type
        self.rows = make_rows(X, weights)
        self.total = float(len(X) if weights is None else weights.sum(dtype=np.float64))
        with team() as threads:
            self.center = column_moments(X, threads)[0]
            self.scatter = np.empty((0, 0))
            if covariance_type == "tied":
                self.scatter = self.whole(threads).second[0]

    def sweep(self, threads: Team) -> Sweep:
        return Sweep(self.rows, self.center, threads)

    def components(self, means: Array) -> Densities:
        """Components of which only the means matter."""
        k = len(means)
        return make_densities("spherical", means - self.center, np.ones(k), np.zeros(k))

    def whole(self, threads: Team) -> Moments:
        """Moments of all rows about the center."""
        everything = np.zeros(len(self.X), np.int32)
        components = self.components(self.center[None])
        return self.sweep(threads).moments(components, COVARIANCES, labels=everything)

    def parameters(
        self, moments: Moments, means: Array, reg_covar: float, scatter: Array | None = None
    ) -> tuple[Array, Array, Array]:
        """Counts, means and covariances as scikit-learn estimates them, from moments about `means`.

        The moments are moved to the new means; nothing cancels but what the means have moved.
        """
        counts = moments.zeroth + _LEAST_COUNT
        moved = (moments.first - _LEAST_COUNT * means) / counts[:, None]
        new = means + moved
        second = _shifted(moments, moved).second
        if self.covariance_type == "full":
            covariances = second / counts[:, None, None]
            covariances[:, range(new.shape[1]), range(new.shape[1])] += reg_covar
        elif self.covariance_type == "tied":
            centred = new - self.center
            scatter = self.scatter if scatter is None else scatter
            covariances = (scatter - (counts * centred.T) @ centred) / counts.sum()
            covariances[np.diag_indices(len(covariances))] += reg_covar
        else:
            covariances = second / counts[:, None] + reg_covar
            if self.covariance_type == "spherical":
                covariances = covariances.mean(axis=1)
        return counts, new, covariances

    def start_from_labels(self, labels: Array, n_components: int, threads: Team) -> _Start:
        """Each row belongs to its label: means first, then moments about them."""
        sweep = self.sweep(threads)
        near = np.repeat(self.center[None], n_components, axis=0)
        moments = sweep.moments(self.components(near), MEANS, labels=labels)
        means = near + moments.first / np.maximum(moments.zeroth, _LEAST_COUNT)[:, None]
        order = _ORDERS[self.covariance_type]
        return _Start(sweep.moments(self.components(means), order, labels=labels), means)

    def start_from_rows(self, indices: Array) -> _Start:
        """Each component is one row."""
        means = self.X[indices].astype(np.float64)
        shape = means.shape if self.covariance_type != "full" else (*means.shape, means.shape[1])
        weights = np.ones(len(indices)) if self.weights is None else self.weights[indices]
        weights = weights.astype(np.float64)
        moments = Moments(0.0, 0.0, weights, np.zeros(means.shape), np.zeros(shape))
        return _Start(moments, means, self._scatter_about_origin(weights, means))

    def _scatter_about_origin(self, weights: Array, means: Array) -> Array | None:
        """What scikit-learn takes for the tied scatter where most rows belong to no component.

        Its ``X.T @ X`` holds all rows nevertheless, and so depends on where the origin is.
        """
        if self.covariance_type != "tied":
            return None
        aside = np.outer(weights @ (means - self.center), self.center)
        missing = (self.total - weights.sum()) * np.outer(self.center, self.center)
        return self.scatter - aside - aside.T + missing

    def start_at_random(self, random_state: Any, n_components: int, threads: Team) -> _Start:
        """Responsibilities drawn as scikit-learn draws them, some rows at a time."""
        components = self.components(np.repeat(self.center[None], n_components, axis=0))
        order = _ORDERS[self.covariance_type]
        parts = []
        for first in range(0, len(self.X), _CHUNK_ROWS):
            chunk = slice(first, first + _CHUNK_ROWS)
            weights = None if self.weights is None else self.weights[chunk]
            given = random_state.uniform(size=(len(self.X[chunk]), n_components))
            given /= given.sum(axis=1, keepdims=True)
            sweep = Sweep(make_rows(self.X[chunk], weights), self.center, threads)
            parts.append(sweep.moments(components, order, given=given))
        sums = [sum(part[field] for part in parts) for field in range(2, 5)]
        means = np.repeat(self.center[None], n_components, axis=0)
        return _Start(Moments(0.0, 0.0, *sums), means)  # type: ignore[arg-type]


class _FusedMixture(Interchangeable):
    """What the two mixtures share: the loop of EM, and everything that is computed row by row."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Estimate the parameters of the mixture by EM.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; read in place where they are a C-contiguous float array.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row, not negative: a row of weight 2 counts as the same row twice.

        Returns
        -------
        self : object
            The fitted mixture.

        Raises
        ------
        ValueError, TypeError
            Where an argument is not what it must be, or a component has collapsed; the estimator
            is then as it was before.
        """
        self._estimate(X, sample_weight)
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Array:
        """Estimate the parameters and return the likeliest component of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            Index of the component of each row.
        """
        return self._labels(self._estimate(X, sample_weight))

    def predict(self, X: Any) -> Array:
        """Likeliest component of each row of `X`, the lowest of several.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            Index of the component of each row.
        """
        return self._labels(self._rows(X))

    def predict_proba(self, X: Any) -> Array:
        """Posterior probability of each component for each row of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        resp : ndarray of shape (n_samples, n_components)
            Probabilities; each row adds up to one.
        """
        X = self._rows(X)
        with team() as threads:
            return self._sweep(X, threads).posteriors(self._densities(self._center()))

    def score_samples(self, X: Any) -> Array:
        """Log of the density of the mixture at each row of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            Natural logarithms.
        """
        X = self._rows(X)
        with team() as threads:
            return self._sweep(X, threads).log_norms(self._densities(self._center()))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean log-likelihood of the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
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
        weights = validation.check_weights(sample_weight, X)
        total = len(X) if weights is None else weights.sum(dtype=np.float64)
        with team() as threads:
            sweep = Sweep(make_rows(X, weights), self._center(), threads)
            return sweep.log_likelihood(self._densities(self._center())) / float(total)

    def _rows(self: Any, X: Any) -> Array:
        check_is_fitted(self)
        return validation.check_data(self, X, fitting=False)

    def _labels(self, X: Array) -> Array:
        with team() as threads:
            return self._sweep(X, threads).labels(self._densities(self._center()))

    def _sweep(self, X: Array, threads: Team) -> Sweep:
        return Sweep(make_rows(X), self._center(), threads)

    def _center(self: Any) -> Array:
        """A point near the rows that does not depend on which rows are asked about."""
        return np.asarray(self.means_, np.float64).mean(axis=0)

    def _densities(self: Any, center: Array) -> Densities:
        """The components of this moment, centred."""
        means = np.asarray(self.means_, np.float64)
        factors = np.asarray(self.precisions_cholesky_, np.float64)
        constants = self._log_constants() + _log_det(factors, self.covariance_type, means.shape[1])
        constants = constants - 0.5 * means.shape[1] * np.log(2 * np.pi)
        return make_densities(self.covariance_type, means - center, factors, constants)

    def _checked(self: Any, X: Any, *, least_samples: int) -> Array:
        self._validate_params()
        X = validate_data(
            self,
            X,
            dtype=validation.FLOATS,
            order="C",
            ensure_min_samples=least_samples,
        )
        return X

    def _checked_weights(self: Any, sample_weight: Any, X: Array) -> Array | None:
        """Weights to start from: no component can begin with a row that does not count."""
        weights = validation.check_weights(sample_weight, X)
        if weights is not None and np.count_nonzero(weights) < self.n_components:
            raise ValueError(
                f"sample_weight must have at least n_components={self.n_components} weights above "
                f"zero, but it has {np.count_nonzero(weights)}."
            )
        return weights

    def _estimate(self: Any, X: Any, sample_weight: Any) -> Array:
        """The fit; returns the checked rows."""
        with unchanged_on_error(self):
            X = self._checked(X, least_samples=2)
            if len(X) < self.n_components:
                raise ValueError(
                    "Expected n_samples >= n_components but got n_components = "
                    f"{self.n_components}, n_samples = {len(X)}"
                )
            weights = self._checked_weights(sample_weight, X)
            problem = _Problem(X, weights, self.covariance_type)
            self._check_parameters_for(problem)
            fresh = not (self.warm_start and hasattr(self, "converged_"))
            random_state = check_random_state(self.random_state)
            best: dict[str, Any] = {}
            for init in range(self.n_init if fresh else 1):
                self._print_verbose_msg_init_beg(init)
                if fresh:
                    self._initialize_from(problem, self._start(problem, random_state))
                lower_bound = -np.inf if fresh else self.lower_bound_
                found = self._iterate(problem, lower_bound)
                so_far = best.get("lower_bound_", -np.inf)
                if so_far == -np.inf or found["lower_bound_"] > so_far:
                    best = {**found, "parameters": self._get_parameters()}
            self._keep(best, X.dtype)
        if not self.converged_ and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return X

    def _keep(self: Any, best: dict[str, Any], dtype: Any) -> None:
        """Set the attributes; they have the dtype of the data, as in scikit-learn."""
        parameters = best.pop("parameters")
        if dtype == np.float32:
            parameters = tuple(_as_float32(value) for value in parameters)
        self._set_parameters(parameters, **_NAMESPACE)
        if dtype == np.float32:
            self.precisions_ = _as_float32(self.precisions_)  # float64 in earlier releases
        for name, value in best.items():
            setattr(self, name, value)

    def _iterate(self: Any, problem: _Problem, lower_bound: float) -> dict[str, Any]:
        """EM from the present parameters until the bound changes by less than `tol`."""
        bounds: list[float] = []
        n_iter, converged = 0, False
        if self.max_iter > 0:
            with team() as threads:
                steps = self._steps(problem, problem.sweep(threads), lower_bound, bounds)
                for rise, telling in steps:
                    n_iter += 1
                    self._print_verbose_msg_iter_end(n_iter, rise)
                    converged = telling and abs(rise) < self.tol
                    if converged or n_iter == self.max_iter:
                        break
            self._print_verbose_msg_init_end(bounds[-1], converged)
        return {
            "converged_": converged,
            "n_iter_": n_iter,
            "lower_bound_": bounds[-1] if bounds else -np.inf,
            "lower_bounds_": bounds,
        }

    def _steps(
        self: Any, problem: _Problem, sweep: Sweep, lower_bound: float, bounds: list[float]
    ) -> Iterator[tuple[float, bool]]:
        """Endless sweeps: how much each raised the bound, and whether that tells convergence."""
        while True:
            self._step(problem, sweep, bounds)
            yield bounds[-1] - lower_bound, True
            lower_bound = bounds[-1]

    def _step(self: Any, problem: _Problem, sweep: Sweep, bounds: list[float]) -> None:
        moments, means = self._sweep_once(problem, sweep)
        self._maximise(problem, moments, means)
        bounds.append(self._bound(problem, moments))

    def _sweep_once(self: Any, problem: _Problem, sweep: Sweep) -> tuple[Moments, Array]:
        """Moments of the posteriors of this moment, and the means that they are about."""
        means = np.asarray(self.means_, np.float64)
        densities = self._densities(problem.center)
        return sweep.moments(densities, _ORDERS[self.covariance_type]), means

    def _start(self: Any, problem: _Problem, random_state: Any) -> _Start:
        """Moments of the first responsibilities, with scikit-learn's draws."""
        X, weights, k = problem.X, problem.weights, self.n_components
        if self.init_params == "k-means++":
            indices = kmeans_plusplus(X, k, random_state=random_state, sample_weight=weights)[1]
            return problem.start_from_rows(indices)
        if self.init_params == "random_from_data":
            p = None if weights is None else weights / weights.sum(dtype=np.float64)
            indices = random_state.choice(len(X), size=k, replace=False, p=p)
            return problem.start_from_rows(indices)
        if self.init_params == "random":
            with team() as threads:
                return problem.start_at_random(random_state, k, threads)
        kmeans = KMeans(n_clusters=k, n_init=1, random_state=random_state)
        labels = kmeans.fit(X, sample_weight=weights).labels_
        with team() as threads:
            return problem.start_from_labels(labels, k, threads)


def _as_float32(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_as_float32(part) for part in value)
    return value.astype(np.float32) if isinstance(value, np.ndarray) else value


class GaussianMixture(_FusedMixture, sklearn.mixture.GaussianMixture):
    """Gaussian mixture fitted by EM: scikit-learn's ``GaussianMixture``, many times faster.

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
        Number of starts, of which the best is kept.
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
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        acceleration: str | None = None,
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

    _batches: _Batches | None = None  # what :meth:`partial_fit` has learnt

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
        with unchanged_on_error(self):
            fresh = not hasattr(self, "means_")
            if fresh:
                first = self._checked(X, least_samples=2)
                if len(first) < self.n_components:
                    raise ValueError(
                        "The first batch must have n_samples >= n_components but got "
                        f"n_components = {self.n_components}, n_samples = {len(first)}"
                    )
                weights = self._checked_weights(sample_weight, first)
            else:
                self._validate_params()
                self._check_goes_on()
                first = validation.check_data(self, X, fitting=False)
                weights = validation.check_weights(sample_weight, first)
            problem = _Problem(first, weights, self.covariance_type)
            if fresh:
                self._check_parameters_for(problem)
                start = self._start(problem, check_random_state(self.random_state))
                self._initialize_from(problem, start)
                self._batches = None
            self._learn(problem)
        return self

    def _check_goes_on(self) -> None:
        """A further batch finds the components that the ones before have left."""
        k, d = self.means_.shape
        shape = {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}
        if k != self.n_components:
            raise ValueError(
                f"n_components={self.n_components} must not change between batches, but the "
                f"mixture was fitted with {k}."
            )
        if self.precisions_cholesky_.shape != shape[self.covariance_type]:
            raise ValueError(
                f"covariance_type={self.covariance_type!r} must not change between batches, but "
                f"the mixture was fitted with covariances of shape {self.covariances_.shape}."
            )

    def _learn(self, problem: _Problem) -> None:
        """Blend the statistics of a batch into those of the batches before."""
        before = self._batches
        if before is not None:
            problem.center = before.center
        with team() as threads:
            if problem.covariance_type == "tied":
                problem.scatter = problem.whole(threads).second[0]
            moments, means = self._sweep_once(problem, problem.sweep(threads))
        batches = _Batches.first(problem, moments)
        if before is not None:
            batches = before.blended(batches)
        problem.scatter = batches.scatter
        self._maximise(problem, batches.moments, means)
        moved = np.asarray(self.means_) - means
        self._batches = batches._replace(moments=_shifted(batches.moments, moved))
        self.lower_bound_ = moments.log_likelihood / problem.total
        self.n_iter_ = batches.n_batches
        self.converged_ = False
        self._set_parameters(self._get_parameters(), **_NAMESPACE)

    def _estimate(self, X: Any, sample_weight: Any) -> Array:
        X = super()._estimate(X, sample_weight)
        self._batches = None  # statistics of batches before this fit are of other components
        return X

    def _initialize_from(self, problem: _Problem, start: _Start) -> None:
        counts, means, covariances = problem.parameters(
            start.moments, start.means, self.reg_covar, start.scatter
        )
        given = self.weights_init, self.means_init, self.precisions_init
        self.weights_ = counts / problem.total if given[0] is None else _as_float64(given[0])
        self.means_ = means if given[1] is None else _as_float64(given[1])
        self.covariances_ = covariances
        if given[2] is None:
            self.precisions_cholesky_ = precisions_cholesky(covariances, self.covariance_type)
        else:
            self.precisions_cholesky_ = _cholesky_of_precisions(
                _as_float64(given[2]), self.covariance_type
            )

    def _start(self, problem: _Problem, random_state: Any) -> _Start:
        if any(
            value is None for value in (self.weights_init, self.means_init, self.precisions_init)
        ):
            return super()._start(problem, random_state)
        # Everything is given: nothing is drawn, and the covariances come with the first step.
        return problem.start_from_rows(np.zeros(self.n_components, np.int64))

    def _check_parameters_for(self, problem: _Problem) -> None:
        self._check_parameters(problem.X, **_NAMESPACE)

    def _log_constants(self) -> Array:
        with np.errstate(divide="ignore"):
            return np.log(np.asarray(self.weights_, np.float64))

    def _maximise(self, problem: _Problem, moments: Moments, means: Array) -> None:
        counts, self.means_, self.covariances_ = problem.parameters(moments, means, self.reg_covar)
        self.weights_ = counts / counts.sum()
        self.precisions_cholesky_ = precisions_cholesky(self.covariances_, self.covariance_type)

    def _bound(self, problem: _Problem, moments: Moments) -> float:
        return moments.log_likelihood / problem.total

    def _steps(
        self, problem: _Problem, sweep: Sweep, lower_bound: float, bounds: list[float]
    ) -> Iterator[tuple[float, bool]]:
        if self.acceleration is None:
            yield from super()._steps(problem, sweep, lower_bound, bounds)
        longest = 1.0
        while True:
            points = [self._point()]
            for _ in range(2):
                self._step(problem, sweep, bounds)
                yield bounds[-1] - lower_bound, True
                lower_bound = bounds[-1]
                points.append(self._point())
            length = min(longest, _step_length(*points))
            rise = 0.0
            if length > 1.0:
                leap = _extrapolated(points[0], points[1], points[2], length)
                rise = self._leap(problem, sweep, leap, bounds)
                lower_bound += rise
                # However small the rise, it is no sign of convergence: only EM's own steps are.
                yield rise, False
            if length == longest:  # the limit was felt: widen it where that helped
                helped = rise > 0.0 or length == 1.0
                longest = longest * STEP_FACTOR if helped else max(1.0, longest / STEP_FACTOR)

    def _leap(self, problem: _Problem, sweep: Sweep, point: Array, bounds: list[float]) -> float:
        """A step of EM from `point` if it is likelier than before; by how much.

        Before is where the last likelihood was computed: a step of EM behind the parameters.
        """
        safe = self._get_parameters()
        self._move_to(point)
        moments, means = self._sweep_once(problem, sweep)
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
        diagonal = _diagonal(factors, self.covariance_type)
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
        diagonal = _diagonal(factors, self.covariance_type)
        diagonal[...] = np.exp(diagonal)
        self.precisions_cholesky_ = factors


def _diagonal(factors: Array, covariance_type: str) -> Array:
    """View of the numbers that must be positive."""
    if covariance_type in ("diag", "spherical"):
        return factors
    return np.einsum("...ii->...i", factors)


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
    def first(cls, problem: _Problem, moments: Moments) -> _Batches:
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


def _shifted(moments: Moments, moved: Array) -> Moments:
    """Moments about means that have moved by `moved`."""
    zeroth, first, second = moments.zeroth, moments.first, moments.second
    if second.ndim == 3:
        cross = first[:, :, None] * moved[:, None, :]
        square = moved[:, :, None] * moved[:, None, :]
        second = second - cross - cross.transpose(0, 2, 1) + zeroth[:, None, None] * square
    elif second.size:
        second = second - 2 * first * moved + zeroth[:, None] * moved**2
    return moments._replace(first=first - zeroth[:, None] * moved, second=second)


def _as_float64(value: Any) -> Array:
    return np.asarray(value, np.float64)


def _cholesky_of_precisions(precisions: Array, covariance_type: str) -> Array:
    """Upper triangular U with ``U Uᵀ`` the precision: Cholesky of the reversed matrix, reversed."""
    if covariance_type in ("diag", "spherical"):
        return np.sqrt(precisions)
    reverse = precisions[..., ::-1, ::-1]
    return np.ascontiguousarray(np.linalg.cholesky(reverse)[..., ::-1, ::-1])


class BayesianGaussianMixture(_FusedMixture, sklearn.mixture.BayesianGaussianMixture):
    """Variational Bayesian Gaussian mixture: scikit-learn's, many times faster.

    The same parameters, draws, priors and attributes, and the same solution up to rounding;
    results are the same bits for any number of threads.  `fit` and `score` also take
    `sample_weight`.

    Parameters
    ----------
    n_components : int, default=1
        Most components; the data may leave some of them nearly empty.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        Shape of the covariances.
    tol : float, default=1e-3
        Convergence is declared when the lower bound changes by less.
    reg_covar : float, default=1e-6
        Added to the diagonal of every covariance.
    max_iter : int, default=100
        Most steps of one start.
    n_init : int, default=1
        Number of starts, of which the best is kept.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'}, default='kmeans'
        How the first responsibilities are found.
    weight_concentration_prior_type : {'dirichlet_process', 'dirichlet_distribution'}, \
            default='dirichlet_process'
        Prior of the weights.
    weight_concentration_prior : float, default=None
        Concentration of that prior; ``1 / n_components`` by default.
    mean_precision_prior : float, default=None
        Precision of the prior of the means; 1 by default.
    mean_prior : array-like of shape (n_features,), default=None
        Mean of the prior of the means; that of the data by default.
    degrees_of_freedom_prior : float, default=None
        Degrees of freedom of the Wishart prior; ``n_features`` by default.
    covariance_prior : float or array-like, default=None
        Scale of the Wishart prior, of the shape of one covariance; that of the data by default.
    random_state : int, RandomState instance or None, default=None
        Source of the draws, which are scikit-learn's.
    warm_start : bool, default=False
        Whether a fit goes on from where the last one ended.
    verbose : int, default=0
        Print progress: 1 for steps, 2 for times and changes, too.
    verbose_interval : int, default=10
        Steps between two lines.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Weights; they add up to one.
    means_ : ndarray of shape (n_components, n_features)
        Means.
    covariances_, precisions_, precisions_cholesky_ : ndarray
        Covariances, their inverses, and upper triangular factors of these, of the shapes of
        :class:`GaussianMixture`.
    converged_ : bool
        Whether the best start converged.
    n_iter_ : int
        Number of steps of the best start.
    lower_bound_ : float
        Lower bound on the evidence, but for constants, of the best start.
    lower_bounds_ : list of float
        The same after every step.
    weight_concentration_prior_, weight_concentration_, mean_precision_prior_, mean_precision_, \
            mean_prior_, degrees_of_freedom_prior_, degrees_of_freedom_, covariance_prior_
        Parameters of the priors and of the posterior, as in scikit-learn.
    n_features_in_ : int
        Number of columns seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `X` had names.

    References
    ----------
    Blei, D. M., Jordan, M. I.: Variational inference for Dirichlet process mixtures. Bayesian
    Analysis 1 (2006).

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import BayesianGaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [4, 2], [12, 4], [10, 7]])
    >>> bgm = BayesianGaussianMixture(n_components=2, random_state=42).fit(X)
    >>> bgm.means_.round(1)
    array([[2.5, 2.3],
           [8.5, 4.5]])
    >>> bgm.predict([[0, 0], [9, 3]])
    array([0, 1])
    """

    def _check_parameters_for(self, problem: _Problem) -> None:
        """scikit-learn's checks; default priors come from our moments, not from copies of X."""
        X = problem.X
        self._check_weights_parameters()
        self._check_means_parameters(X[:1])
        self._check_precision_parameters(X)
        if self.covariance_prior is not None:
            self._checkcovariance_prior_parameter(X[:1])
        if self.mean_prior is not None and self.covariance_prior is not None:
            return
        mean, covariance = self._spread(problem)
        if self.mean_prior is None:
            self.mean_prior_ = mean
        if self.covariance_prior is None:
            self.covariance_prior_ = covariance

    def _spread(self, problem: _Problem) -> tuple[Array, Any]:
        """Weighted mean and unbiased covariance of all rows, in the shape of one covariance."""
        if problem.total <= 1:
            raise ValueError(
                "sample_weight must add up to more than 1 where covariance_prior is None, "
                f"but it adds up to {problem.total}."
            )
        order = VARIANCES if self.covariance_type in ("diag", "spherical") else COVARIANCES
        with team() as threads:
            moments = problem.sweep(threads).moments(
                problem.components(problem.center[None]),
                order,
                labels=np.zeros(len(problem.X), np.int32),
            )
        moved = moments.first / problem.total
        spread = _shifted(moments, moved).second[0] / (problem.total - 1)
        mean = problem.center + moved[0]
        return mean, spread.mean() if self.covariance_type == "spherical" else spread

    def _initialize_from(self, problem: _Problem, start: _Start) -> None:
        self._adopt(*problem.parameters(start.moments, start.means, self.reg_covar, start.scatter))

    def _maximise(self, problem: _Problem, moments: Moments, means: Array) -> None:
        self._adopt(*problem.parameters(moments, means, self.reg_covar))

    def _adopt(self, counts: Array, centers: Array, covariances: Array) -> None:
        self._estimate_weights(counts)
        self._estimate_means(counts, centers)
        self._estimate_precisions(counts, centers, covariances)

    def _estimate_precisions(self, nk: Array, xk: Array, sk: Array) -> None:
        getattr(self, f"_estimate_wishart_{self.covariance_type}")(nk, xk, sk)
        self.precisions_cholesky_ = precisions_cholesky(self.covariances_, self.covariance_type)

    def _log_constants(self) -> Array:
        """Expected logs of weights and of determinants, less what scikit-learn normalises away."""
        d = self.means_.shape[1]
        freedom = np.asarray(self.degrees_of_freedom_, np.float64)
        halves = 0.5 * (freedom - np.arange(d).reshape(-1, *[1] * freedom.ndim))
        log_lambda = d * np.log(2.0) + digamma(halves).sum(axis=0)
        terms = log_lambda - d / self.mean_precision_ - d * np.log(freedom)
        return np.asarray(self._estimate_log_weights() + 0.5 * terms, np.float64)

    def _bound(self, problem: _Problem, moments: Moments) -> float:
        # The only term of scikit-learn's that needs all responsibilities is their entropy.
        # (For tied covariances scikit-learn's sum is an array of one number.)
        return float(np.sum(self._compute_lower_bound(np.zeros(1), None)) - moments.negentropy)
