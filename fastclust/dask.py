"""KMeans and Gaussian mixtures on a Dask cluster, with the answers of one machine.

The three changed lines::

    from distributed import Client
    from fastclust.dask import KMeans             # and GaussianMixture, BayesianGaussianMixture

    client = Client("scheduler:8786")
    kmeans = KMeans(n_clusters=100, random_state=0).fit(X)

Classes, parameters, draws and results are those of :mod:`fastclust`: the same bits as from a fit to
the same rows on one machine, for any number of workers, threads and chunks.  One more parameter,
`client`, is the Dask client, by default the current one.

``fit(X, y=None, sample_weight=None, *, callbacks=None, checkpoint=None, checkpoint_every=10,
resume=False)`` takes as `X`

* a dask array, in chunks of any size (columns in several chunks are joined, with a warning);
* a dask dataframe, whose numbers of rows need not be known;
* a list of delayed blocks or of futures, each an array or a frame;
* the path of a file, of a folder or of several files, Parquet or ``.npy``, which workers read
  themselves.

and as `sample_weight` a dask array or series, a list of blocks like that of `X`, or an array.

``cluster_centers_``, ``means_`` and everything else whose size does not depend on the number of
rows is NumPy's; ``labels_`` is a dask array with the chunks of `X`, which workers hold.
``predict``, ``transform``, ``predict_proba``, ``score_samples`` and ``score`` are lazy for dask
collections, and NumPy's for everything else.  ``to_local()`` gives the plain estimator, without
``labels_``.

A worker holds its share of the rows in one array for the time of a fit.  A worker that is lost is
replaced during the fit, its rows are computed or read anew, and the result has the same bits.

There is no MiniBatchKMeans: each step follows from the one before and looks at one batch of some
thousand rows, which is less work than it is to ask a second worker.
"""

from __future__ import annotations

from typing import Any, Self

try:
    import dask.array

    from .cluster import on_dask
except ImportError as error:
    if (error.name or "").partition(".")[0] not in ("dask", "distributed"):
        raise
    raise ImportError(
        'fastclust.dask needs Dask and its distributed scheduler: pip install "fastclust[dask]"'
    ) from error

from . import kmeans, validation
from .callbacks import Callbacks
from .choices import Acceleration, Algorithm, Covariance, Responsibilities, Starts
from .cluster.collections import is_collection, lazily, scored
from .cluster.passes import kmeans_sizes, mixture_sizes
from .kernels.update import slice_rows
from .mixtures import bayesian_mixture, mixture

__all__ = ["BayesianGaussianMixture", "GaussianMixture", "KMeans"]


class Distributed:
    """What the estimators have beside those of one machine."""

    client: Any
    _local: type[Any]

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """Parameters; a client is none, since it cannot be copied."""
        names: list[str] = cls._local._get_param_names()
        return names

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {name: value for name, value in state.items() if name not in ("client", "labels_")}

    def to_local(self) -> Any:
        """The same model as the estimator of one machine, without ``labels_``.

        Returns
        -------
        estimator : estimator of fastclust
            Fitted if this one is.
        """
        local = self._local()
        state = {name: value for name, value in vars(self).items() if name != "client"}
        state.pop("labels_", None)
        vars(local).update(state)
        return local

    def predict(self, X: Any) -> Any:
        """Cluster or component of each row of `X`; see the class of one machine.

        Parameters
        ----------
        X : dask collection, or whatever the class of one machine takes
            Rows to label.

        Returns
        -------
        labels : dask array or ndarray of shape (n_samples,)
            Index of each row's cluster; lazy where `X` is a dask collection.
        """
        return self._of_local("predict", X)

    def _of_local(self, method: str, X: Any, width: int = 0) -> Any:
        """A method of the local estimator, lazily for dask collections."""
        validation.check_fitted(self)
        local = self.to_local()
        return lazily(local, method, X, width) if is_collection(X) else getattr(local, method)(X)


class KMeans(Distributed, kmeans.KMeans):
    """k-means on a Dask cluster: :class:`fastclust.KMeans`, with the same bits.

    Parameters
    ----------
    n_clusters, init, n_init, max_iter, tol, verbose, random_state, copy_x, algorithm
        As for :class:`fastclust.KMeans`.  A callable `init` must be
        :class:`fastclust.SampledKMeansPlusPlus`.
    refine : int, default=0
        Must be 0.
    client : distributed.Client, default=None
        The client; the current one by default.

    Attributes
    ----------
    cluster_centers_, inertia_, n_iter_, n_distances_, n_features_in_, feature_names_in_
        As for :class:`fastclust.KMeans`.
    labels_ : dask array of shape (n_samples,), int32
        Index of the center nearest to each row, in the chunks of `X`.
    """

    _local = kmeans.KMeans

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
        client: Any = None,
    ) -> None:
        super().__init__(
            n_clusters,
            init=init,
            n_init=n_init,
            max_iter=max_iter,
            tol=tol,
            verbose=verbose,
            random_state=random_state,
            copy_x=copy_x,
            algorithm=algorithm,
            refine=refine,
        )
        self.client = client

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
        """Find the clusters of `X`; see :mod:`fastclust.dask` for what it may be.

        Parameters
        ----------
        X : dask array, dask dataframe, list of delayed blocks or futures, or path
            Rows to cluster.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : dask array, dask series, list of blocks or array, default=None
            Weight of each row, not negative.
        callbacks, checkpoint, checkpoint_every, resume
            As for :meth:`fastclust.KMeans.fit`.

        Returns
        -------
        self : KMeans
            The fitted estimator.
        """
        own = self._checked()
        if own.refine:
            raise validation.UnsupportedParameter(
                f"refine must be 0 for rows that workers hold, but it is {own.refine}."
            )
        sizes = kmeans_sizes(own.n_clusters)
        engine, rows, weights = on_dask.hold(X, sample_weight, self.client, sizes)
        try:
            super().fit(
                rows,
                sample_weight=weights,
                callbacks=callbacks,
                checkpoint=checkpoint,
                checkpoint_every=checkpoint_every,
                resume=resume,
            )
            labels: Any = self.labels_
            self.labels_ = engine.labels(labels, slice_rows(*rows.shape, own.n_clusters))
        finally:
            engine.close()
        return self

    def transform(self, X: Any) -> Any:
        """Distances of each row of `X` to each center; see :meth:`fastclust.KMeans.transform`.

        Parameters
        ----------
        X : dask collection, or whatever :meth:`fastclust.KMeans.transform` takes
            Rows to transform.

        Returns
        -------
        X_new : dask array or ndarray of shape (n_samples, n_clusters)
            Euclidean distances; lazy where `X` is a dask collection.
        """
        return self._of_local("transform", X, width=self.n_clusters)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Minus the inertia of `X` for the centers of this fit.

        Parameters
        ----------
        X : dask collection, or whatever :meth:`fastclust.KMeans.score` takes
            Rows to score.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : dask array or array of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        score : dask array of one number, or float
            Minus the weighted sum of squared distances; lazy where `X` is a dask collection.
        """
        validation.check_fitted(self)
        local = self.to_local()
        if is_collection(X):
            return scored(local, X, sample_weight)[0]
        return local.score(X, sample_weight=sample_weight)


class _Mixture(Distributed):
    """What the two mixtures share."""

    n_components: int
    init_params: str

    def _estimate(self, X: Any, sample_weight: Any, **options: Any) -> Any:
        """The fit, to rows that workers hold."""
        k = validation.check_int("n_components", self.n_components, 1)
        sizes = mixture_sizes(k, self.init_params == "random")
        engine, rows, weights = on_dask.hold(X, sample_weight, self.client, sizes)
        try:
            super()._estimate(rows, weights, **options)  # type: ignore[misc]
        finally:
            engine.close()
        return X

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None, **options: Any) -> Any:
        """Estimate the parameters; the likeliest component of each row, as by :meth:`predict`.

        Parameters
        ----------
        X, y, sample_weight, **options
            As for `fit`; see :mod:`fastclust.dask`.

        Returns
        -------
        labels : dask array or ndarray of shape (n_samples,), int64
            Index of the component of each row; lazy where `X` is a dask collection.
        """
        self._estimate(X, sample_weight, **options)
        return self.predict(X)

    def predict_proba(self, X: Any) -> Any:
        """Posterior probability of each component for each row of `X`.

        Parameters
        ----------
        X : dask collection, or whatever the class of one machine takes
            Rows.

        Returns
        -------
        resp : dask array or ndarray of shape (n_samples, n_components)
            Probabilities; lazy where `X` is a dask collection.
        """
        return self._of_local("predict_proba", X, width=self.n_components)

    def score_samples(self, X: Any) -> Any:
        """Log of the density of the mixture at each row of `X`.

        Parameters
        ----------
        X : dask collection, or whatever the class of one machine takes
            Rows.

        Returns
        -------
        log_prob : dask array or ndarray of shape (n_samples,)
            Natural logarithms; lazy where `X` is a dask collection.
        """
        return self._of_local("score_samples", X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Mean log-likelihood of the rows of `X`.

        Parameters
        ----------
        X : dask collection, or whatever the class of one machine takes
            Rows.
        y : Ignored
            Present for scikit-learn's conventions.
        sample_weight : dask array or array of shape (n_samples,), default=None
            Weight of each row in the mean.

        Returns
        -------
        log_likelihood : dask array of one number, or float
            Natural logarithm, per row; lazy where `X` is a dask collection.
        """
        validation.check_fitted(self)
        local = self.to_local()
        if is_collection(X):
            return scored(local, X, sample_weight, mean=True)[0]
        return local.score(X, sample_weight=sample_weight)


class GaussianMixture(_Mixture, mixture.GaussianMixture):
    """Gaussian mixture on a Dask cluster: :class:`fastclust.GaussianMixture`, with the same bits.

    Parameters
    ----------
    n_components, covariance_type, tol, reg_covar, max_iter, n_init, init_params, weights_init, \
            means_init, precisions_init, random_state, warm_start, verbose, verbose_interval, \
            acceleration
        As for :class:`fastclust.GaussianMixture`; 'random_from_data' is not for rows with weights.
    client : distributed.Client, default=None
        The client; the current one by default.
    """

    _local = mixture.GaussianMixture

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
        client: Any = None,
    ) -> None:
        super().__init__(
            n_components,
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
            acceleration=acceleration,
        )
        self.client = client

    def bic(self, X: Any) -> Any:
        """Bayesian information criterion; see :meth:`fastclust.GaussianMixture.bic`.

        Parameters
        ----------
        X : dask collection, or whatever the class of one machine takes
            Rows.

        Returns
        -------
        bic : dask array of one number, or float
            As scikit-learn's; lazy where `X` is a dask collection.
        """
        local = self.to_local()
        if not is_collection(X):
            return local.bic(X)
        mean, n_rows = scored(local, X, None, mean=True)
        return -2 * mean * n_rows + local._n_parameters() * dask.array.log(n_rows)

    def aic(self, X: Any) -> Any:
        """Akaike information criterion; see :meth:`fastclust.GaussianMixture.aic`.

        Parameters
        ----------
        X : dask collection, or whatever the class of one machine takes
            Rows.

        Returns
        -------
        aic : dask array of one number, or float
            As scikit-learn's; lazy where `X` is a dask collection.
        """
        local = self.to_local()
        if not is_collection(X):
            return local.aic(X)
        mean, n_rows = scored(local, X, None, mean=True)
        return -2 * mean * n_rows + 2 * local._n_parameters()


class BayesianGaussianMixture(_Mixture, bayesian_mixture.BayesianGaussianMixture):
    """Bayesian mixture on a Dask cluster: :class:`fastclust.BayesianGaussianMixture`, same bits.

    Parameters
    ----------
    n_components, covariance_type, tol, reg_covar, max_iter, n_init, init_params, \
            weight_concentration_prior_type, weight_concentration_prior, mean_precision_prior, \
            mean_prior, degrees_of_freedom_prior, covariance_prior, random_state, warm_start, \
            verbose, verbose_interval
        As for :class:`fastclust.BayesianGaussianMixture`; 'random_from_data' is not for rows with
        weights.
    client : distributed.Client, default=None
        The client; the current one by default.
    """

    _local = bayesian_mixture.BayesianGaussianMixture

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
        weight_concentration_prior_type: str = "dirichlet_process",
        weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None,
        mean_prior: Any = None,
        degrees_of_freedom_prior: float | None = None,
        covariance_prior: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        client: Any = None,
    ) -> None:
        super().__init__(
            n_components=n_components,
            covariance_type=covariance_type,
            tol=tol,
            reg_covar=reg_covar,
            max_iter=max_iter,
            n_init=n_init,
            init_params=init_params,
            weight_concentration_prior_type=weight_concentration_prior_type,
            weight_concentration_prior=weight_concentration_prior,
            mean_precision_prior=mean_precision_prior,
            mean_prior=mean_prior,
            degrees_of_freedom_prior=degrees_of_freedom_prior,
            covariance_prior=covariance_prior,
            random_state=random_state,
            warm_start=warm_start,
            verbose=verbose,
            verbose_interval=verbose_interval,
        )
        self.client = client
