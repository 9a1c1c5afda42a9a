"""First centers: every way to find them, with scikit-learn's draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.utils.random import sample_without_replacement

from . import validation
from .kernels.algorithms import seeding_for
from .kernels.machine.parallel import Team, team
from .kernels.seeding import GreedyKMeansPlusPlus
from .kernels.tiles import Array, make_rows
from .lloyd_loop import Loop
from .oversampling import LocalPasses, choose
from .preparation import Survey, open_parts, unpadded
from .rows.mapped import surviving
from .rows.sources import Source

DRAWN_FROM = 1 << 16  # rows at a time


def first_centers(loop: Loop, X: Any, n_clusters: int, init: Any, random_state: Any) -> Array:
    """Centred centers for all ways to start but k-means++, with scikit-learn's draws."""
    rows = loop.rows
    n_samples, n_features = rows.shape
    mean = loop.mean[:n_features]
    if isinstance(init, str) and init == "k-means||":
        return loop.centred(oversampled(rows, n_clusters, random_state, loop.team))
    if isinstance(init, str):
        weights = rows.weights if len(rows.weights) else None
        return loop.centred(
            draw_rows(random_state, n_samples, n_clusters, weights, dtype=rows.dtype)
        )
    if callable(init):
        if isinstance(X, Source):
            return init.choose_from(X, n_clusters, random_state) - mean
        data = X if scipy.sparse.issparse(X) else X - mean
        centers = init(data, n_clusters, random_state=random_state)
        return validation.check_centers("init", centers, X, n_clusters)
    return init - mean


def seeds(
    data: Survey,
    n_clusters: int,
    random_state: np.random.RandomState,
    threads: Team,
    n_local_trials: int | None = None,
) -> tuple[Any, Array]:
    """Rows, opened for kernels, and which of them k-means++ chooses."""
    X, weights = data.widened().X, data.weights  # by which rows are drawn as they were given
    rows = unpadded(X, weights) if isinstance(X, np.ndarray) else open_parts(X, weights)
    kind = getattr(rows, "seeding_class", None) or seeding_for(rows)
    return rows, kind(rows, n_clusters, threads, n_local_trials).choose(random_state)


def oversampled(
    rows: Any, n_clusters: int, random_state: np.random.RandomState, threads: Team
) -> Array:
    """Which of opened rows k-means|| chooses."""
    kind = getattr(rows, "passes_class", LocalPasses)  # of rows that are not here
    return choose(kind(rows, threads), n_clusters, random_state, threads)


def draw_rows(
    random_state: np.random.RandomState,
    n_samples: int,
    n_drawn: int,
    weights: Array | None = None,
    *,
    dtype: Any = np.float64,
) -> Array:
    """Different rows, drawn in proportion to their weights.

    The draws are those of ``random_state.choice(n_samples, n_drawn, replace=False, p=...)``, which
    would make five arrays of a number for each row; here they are made block by block.

    Parameters
    ----------
    random_state : RandomState
        Source of the draws.
    n_samples, n_drawn : int
        Number of rows, and of those that are drawn.
    weights : ndarray of shape (n_samples,), optional
        Weight of each row, the same for all by default.
    dtype : dtype, default=numpy.float64
        In which equal weights are turned into probabilities.

    Returns
    -------
    ndarray of shape (n_drawn,), int64
        Numbers of the rows, in the order in which they were drawn.

    Raises
    ------
    ValueError
        Where fewer rows have a probability above zero.
    """
    if weights is None:
        weights = np.broadcast_to(np.ones(1, dtype), n_samples)
    total_weight = weights.sum()
    drawn = np.empty(0, np.int64)

    def cumulated() -> Iterator[tuple[Array, int]]:
        """Cumulative probabilities of the rows not yet drawn, and how many of a block have one."""
        reached = 0.0
        for start in range(0, n_samples, DRAWN_FROM):
            p = (weights[start : start + DRAWN_FROM] / total_weight).astype(np.float64)
            p[drawn[(drawn >= start) & (drawn < start + len(p))] - start] = 0
            n_possible = int(np.count_nonzero(p))
            p[0] += reached
            np.cumsum(p, out=p)
            reached = float(p[-1])
            yield p, n_possible

    while len(drawn) < n_drawn:
        uniform = random_state.random_sample(n_drawn - len(drawn))
        n_possible = 0
        for sums, possible in cumulated():
            last, n_possible = sums[-1], n_possible + possible
        if n_possible < len(uniform):
            raise ValueError(
                f"sample_weight must give at least {n_drawn} rows a probability above zero, but "
                f"there are {n_possible + len(drawn)}."
            )
        found = np.zeros(len(uniform), np.int64)
        for sums, _ in cumulated():
            found += np.searchsorted(sums / last, uniform, side="right")
        first = np.sort(np.unique(found, return_index=True)[1])
        drawn = np.concatenate([drawn, found[first]])
    return drawn


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
