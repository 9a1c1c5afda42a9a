"""BayesianGaussianMixture: scikit-learn's class on the fused sweep of EM."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.mixture
from scipy.special import digamma

from ..kernels.components import LOGS, ORDERS, estimate
from ..kernels.gaussian import Moments
from ..kernels.tiles import Array
from .ascent import Limits
from .covariances import precisions_cholesky
from .em_loop import FusedMixture, defaults_of
from .em_problem import Estimates, Problem, Start


class BayesianGaussianMixture(FusedMixture, sklearn.mixture.BayesianGaussianMixture):
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
        Number of starts; the best is kept.
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
        Lower bound on the evidence of the best start, without constants.
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

    _defaults = defaults_of(sklearn.mixture.BayesianGaussianMixture.__init__)

    def _check_parameters_for(self, problem: Problem) -> None:
        """scikit-learn's checks; default priors come from our moments, not from copies of X."""
        self._check_weights_parameters()
        self._check_means_parameters(problem.example)
        self._check_precision_parameters(problem.example)
        if self.covariance_prior is not None:
            self._checkcovariance_prior_parameter(problem.example)
        if self.mean_prior is not None and self.covariance_prior is not None:
            return
        mean, covariance = self._spread(problem)
        if self.mean_prior is None:
            self.mean_prior_ = mean
        if self.covariance_prior is None:
            self.covariance_prior_ = covariance

    def _limits(self, problem: Problem) -> Limits:
        k, total, process = self.n_components, problem.total, self._is_process()
        concentration, precision = self.weight_concentration_prior_, self.mean_precision_prior_
        freedom = self.degrees_of_freedom_prior_
        least = min(1.0, concentration) if process else concentration

        def counted(prior: float) -> float:
            """No less than a prior with the counts of all rows, however it is rounded."""
            return 2.0 * (prior + total)

        return {
            "weight_concentration": (
                (2, k) if process else (k,),
                least,
                counted(max(1.0, concentration)),
            ),
            "mean_precision": ((k,), precision, counted(precision)),
            "means": (problem.limits(k, float(np.abs(self.mean_prior_).max())))["means"],
            "degrees_of_freedom": (
                () if self.covariance_type == "tied" else (k,),
                freedom,
                counted(freedom),
            ),
            "covariances": problem.limits(k)["covariances"],
        }

    def _is_process(self) -> bool:
        return bool(self.weight_concentration_prior_type == "dirichlet_process")

    def _set_parameters(self, params: Any, **options: Any) -> None:
        """As scikit-learn; in a checkpoint the two parts of the concentrations are one array."""
        concentration, *others = params
        if self._is_process():
            concentration = tuple(concentration)
        super()._set_parameters((concentration, *others), **options)

    def _check_type(self, when: str) -> None:
        super()._check_type(when)
        if isinstance(self.weight_concentration_, tuple) != self._is_process():
            prior = self.weight_concentration_prior_type
            raise ValueError(
                f"weight_concentration_prior_type={prior!r} must not change {when}, but the "
                "mixture was fitted with the other one."
            )

    def _spread(self, problem: Problem) -> tuple[Array, Any]:
        """Weighted mean and unbiased covariance of all rows, in the shape of one covariance."""
        if problem.total <= 1:
            raise ValueError(
                "sample_weight must add up to more than 1 where covariance_prior is None, "
                f"but it adds up to {problem.total}."
            )
        kind = "diag" if self.covariance_type in ("diag", "spherical") else "full"
        order, center = ORDERS[kind], problem.center[None]
        labels = problem.one_label()
        moments = problem.sweep.moments(problem.components(center), order, labels=labels)
        found, sums = estimate(kind, moments, center, problem.sweep.center, np.empty(0), 0.0)
        mean = found.means
        spread = Moments.of(0.0, 0.0, sums, order, len(mean)).second[0] / (problem.total - 1)
        return mean, spread.mean() if self.covariance_type == "spherical" else spread

    def _initialize_from(self, problem: Problem, start: Start) -> None:
        self._adopt(problem.parameters(start.moments, start.means, self.reg_covar, start.scatter))

    def _maximise(self, problem: Problem, moments: Moments, means: Array) -> None:
        self._adopt(problem.parameters(moments, means, self.reg_covar))

    def _adopt(self, found: Estimates) -> None:
        counts, _, centers, covariances, _ = found
        self._estimate_weights(counts)
        self._estimate_means(counts, centers)
        self._estimate_precisions(counts, centers, covariances)

    def _estimate_precisions(self, nk: Array, xk: Array, sk: Array) -> None:
        getattr(self, f"_estimate_wishart_{self.covariance_type}")(nk, xk, sk)
        self.precisions_cholesky_ = precisions_cholesky(self.covariances_, self.covariance_type)

    def _terms(self) -> tuple[Array, int]:
        """Expected logs of weights and of determinants, less what scikit-learn normalises away."""
        d = self.means_.shape[1]
        freedom = np.asarray(self.degrees_of_freedom_, np.float64)
        halves = 0.5 * (freedom - np.arange(d).reshape(-1, *[1] * freedom.ndim))
        log_lambda = d * np.log(2.0) + digamma(halves).sum(axis=0)
        terms = log_lambda - d / self.mean_precision_ - d * np.log(freedom)
        return np.asarray(self._estimate_log_weights() + 0.5 * terms, np.float64), LOGS

    def _bound(self, problem: Problem, moments: Moments) -> float:
        # The only term of scikit-learn's that needs all responsibilities is their entropy.
        # (For tied covariances scikit-learn's sum is an array of one number.)
        return float(np.sum(self._compute_lower_bound(np.zeros(1), None)) - moments.negentropy)
