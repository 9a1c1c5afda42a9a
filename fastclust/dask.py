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
    from .cluster import on_dask
except ImportError as error:
    if (error.name or "").partition(".")[0] not in ("dask", "distributed"):
        raise
    raise ImportError(
        'fastclust.dask needs Dask and its distributed scheduler: pip install "fastclust[dask]"'
    ) from error

from . import kmeans, validation
from .callbacks import Callbacks
from .choices import Algorithm, Starts
from .cluster.collections import is_collection, lazily, summed
from .cluster.passes import kmeans_sizes
from .kernels.update import slice_rows

__all__ = ["KMeans"]


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
        return self._asked("predict", X)

    def _asked(self, method: str, X: Any, width: int = 0) -> Any:
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
        return self._asked("transform", X, width=self.n_clusters)

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
            return summed(local, "score", X, sample_weight)
        return local.score(X, sample_weight=sample_weight)
