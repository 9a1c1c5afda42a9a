"""Ways to start that are objects, to be given as ``init``."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.random import sample_without_replacement

from . import validation
from .kernels.machine.parallel import team
from .kernels.seeding import GreedyKMeansPlusPlus
from .kernels.tiles import Array, make_rows
from .rows.mapped import surviving
from .rows.sources import Source


class SampledKMeansPlusPlus:
    """Greedy k-means++ on a random sample of the rows.

    For ``KMeans(init=SampledKMeansPlusPlus())``.  k-means++ reads all rows once for each center;
    where they lie on disk that can take longer than all iterations.  A sample is read once.

    Parameters
    ----------
    n_rows : int, default=100_000
        Rows of the sample, drawn without replacement; all rows where there are fewer.

    References
    ----------
    .. [1] Arthur, D., Vassilvitskii, S.: k-means++: the advantages of careful seeding. SODA 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from fastclust import KMeans, SampledKMeansPlusPlus
    >>> X = np.repeat([[1.0, 2.0], [10.0, 2.0]], 250, axis=0)
    >>> init = SampledKMeansPlusPlus(n_rows=50)
    >>> KMeans(2, init=init, n_init=1, random_state=0).fit(X).cluster_centers_
    array([[ 1.,  2.],
           [10.,  2.]])
    """

    def __init__(self, n_rows: int = 100_000) -> None:
        self.n_rows = validation.check_int("n_rows", n_rows, 1)

    def __repr__(self) -> str:
        return f"SampledKMeansPlusPlus(n_rows={self.n_rows})"

    @surviving
    def __call__(self, X: Array, n_clusters: int, random_state: Any = None) -> Array:
        """Centers among the rows of `X`.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            All rows.
        n_clusters : int
            Number of centers.
        random_state : RandomState instance
            Source of the draws.

        Returns
        -------
        ndarray of shape (n_clusters, n_features)
            The centers.
        """
        rows = self._draw(len(X), n_clusters, random_state)
        return self._among(np.ascontiguousarray(X[rows]), n_clusters, random_state)

    def choose_from(
        self, source: Source, n_clusters: int, random_state: np.random.RandomState
    ) -> Array:
        """As a call, for rows that must be read."""
        rows = self._draw(len(source), n_clusters, random_state)
        return self._among(source.take(rows), n_clusters, random_state)

    def _draw(self, n_samples: int, n_clusters: int, random_state: Any) -> Array:
        size = min(max(self.n_rows, n_clusters), n_samples)
        return np.sort(sample_without_replacement(n_samples, size, random_state=random_state))

    @staticmethod
    def _among(sample: Array, n_clusters: int, random_state: Any) -> Array:
        with team() as threads:
            seeding = GreedyKMeansPlusPlus(make_rows(sample), n_clusters, threads)
            return sample[seeding.choose(random_state)]
