"""What EM is run on: the rows of one data set, their weights, and moments of them.

A sweep gives moments about the means that the posteriors were computed from; from those come
scikit-learn's counts, means and covariances.  First guesses are moments, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..kernels.components import LEAST_COUNT, ORDERS, estimate, make_densities
from ..kernels.gaussian import COVARIANCES, MEANS, Densities, Moments, Sweep
from ..kernels.machine.parallel import Team
from ..kernels.moments import near_most
from ..kernels.tiles import Array, make_rows
from ..preparation import survey
from ..rows.sources import Source
from .ascent import Limits
from .chunks import chunk_rows, drawn_moments
from .covariances import covariance_shapes


class Start(NamedTuple):
    """First guess of the components: moments of given responsibilities about given means."""

    moments: Moments
    means: Array
    scatter: Array | None = None


class Estimates(NamedTuple):
    """Components as scikit-learn estimates them, and the moments about their means."""

    counts: Array
    weights: Array
    means: Array
    covariances: Array
    sums: Array  # packed; see kernels.gaussian.Moments

    def moments(self, covariance_type: str) -> Moments:
        """The moments, of no likelihood."""
        order, d = ORDERS[covariance_type], self.means.shape[1]
        moments: Moments = Moments.of(0.0, 0.0, self.sums, order, d)
        return moments


class Problem:
    """One data set, its weights, and what is computed once for it.

    Parameters
    ----------
    X : ndarray or Source of shape (n_samples, n_features)
        The rows.
    weights : ndarray of shape (n_samples,) or None
        Their weights.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
        Which moments are needed.
    team : Team
        Threads to run on.  There is one for all of a fit: to gather it takes longer than a step
        of EM on few rows, and while it has the helpers there are none for another.
    estimator : object, optional
        Whose rows come unseen: that they are finite shows in their moments.
    identify : bool, default=False
        Whether a checkpoint wants a fingerprint of the rows; see :attr:`data`.

    Attributes
    ----------
    data : Survey
        The rows, and what one pass over them has told.
    """

    def __init__(
        self,
        X: Any,
        weights: Array | None,
        covariance_type: str,
        team: Team,
        estimator: Any = None,
        *,
        identify: bool = False,
    ) -> None:
        self.X, self.weights, self.covariance_type, self.team = X, weights, covariance_type, team
        # What stands for the rows where scikit-learn checks other things by their shape.
        self.example = np.zeros((1, X.shape[1]), X.dtype)
        self.total = float(len(X) if weights is None else weights.sum(dtype=np.float64))
        self.data = survey(X, weights, team, estimator, identify=identify)
        self.rows = self.data.opened()
        self.scatter, self.sums = np.empty((0, 0)), np.empty(0)
        self.centre_by(near_most(self.data.means, self.data.variances))

    def limits(self, n_components: int, prior: float = 0.0) -> Limits:
        """Of means and covariances: means are weighted ones of the rows, of zero and of a prior.

        The largest number of the prior is given.
        """
        d = self.X.shape[1]
        data = self.data
        farthest = np.abs(data.means) + np.sqrt(len(self.X)) * np.sqrt(data.variances)
        most = 2.0 * max(float(farthest.max()), prior)  # twice: sums are rounded
        shapes = covariance_shapes(n_components, d)
        return {
            "means": ((n_components, d), -most, most),
            "covariances": (shapes[self.covariance_type], -np.inf, np.inf),
        }

    def centre_by(self, center: Array) -> None:
        """Take the rows relative to this point."""
        self.center = center
        held = hasattr(self.rows, "sweep")  # by workers
        self.sweep: Any = (
            self.rows.sweep(center, self.team) if held else Sweep(self.rows, center, self.team)
        )
        if self.covariance_type == "tied":
            whole = self._whole()
            self.scatter, self.sums = whole.second[0], whole.first[0]

    def components(self, means: Array) -> Densities:
        """Components of which only the means matter."""
        k = len(means)
        ones, zeros = np.ones(k), np.zeros(k)
        return make_densities("spherical", means, ones, zeros, center=self.sweep.center)

    def one_label(self) -> Any:
        """Labels by which all rows belong to the first component."""
        if isinstance(self.sweep, Sweep):
            return np.zeros(len(self.X), np.int32)
        return self.sweep.one_label()

    def _whole(self) -> Moments:
        """Moments of all rows about the center."""
        components = self.components(self.center[None])
        return self.sweep.moments(components, COVARIANCES, labels=self.one_label())

    def parameters(
        self, moments: Moments, means: Array, reg_covar: float, scatter: Array | None = None
    ) -> Estimates:
        """The components that follow from moments about `means`."""
        scatter = self.scatter if scatter is None else scatter
        found, sums = estimate(
            self.covariance_type, moments, means, self.sweep.center, scatter, reg_covar
        )
        shape = covariance_shapes(*means.shape)[self.covariance_type]
        return Estimates(
            found.counts,
            found.weights,
            found.means.reshape(means.shape),
            found.covariances.reshape(shape),
            sums,
        )

    def start_from_labels(self, labels: Array, n_components: int) -> Start:
        """Each row belongs to its label: means first, then moments about them."""
        near = np.repeat(self.center[None], n_components, axis=0)
        moments = self.sweep.moments(self.components(near), MEANS, labels=labels)
        means = near + moments.first / np.maximum(moments.zeroth, LEAST_COUNT)[:, None]
        order = ORDERS[self.covariance_type]
        return Start(self.sweep.moments(self.components(means), order, labels=labels), means)

    def start_from_rows(self, indices: Array) -> Start:
        """Each component is one row."""
        chosen = self.X.take(indices) if isinstance(self.X, Source) else self.X[indices]
        means = chosen.astype(np.float64)
        k, d = means.shape
        shape = {"full": (k, d, d), "spherical": (k,)}.get(self.covariance_type, (k, d))
        weights = np.ones(len(indices)) if self.weights is None else self.weights[indices]
        weights = weights.astype(np.float64)
        moments = Moments(0.0, 0.0, weights, np.zeros(means.shape), np.zeros(shape))
        return Start(moments, means, self._scatter_about_origin(weights, means))

    def _scatter_about_origin(self, weights: Array, means: Array) -> Array | None:
        """What scikit-learn takes for the tied scatter where most rows belong to no component.

        Its ``X.T @ X`` holds all rows nevertheless, and so depends on where the origin is.
        """
        if self.covariance_type != "tied":
            return None
        aside = np.outer(weights @ (means - self.center) - self.sums, self.center)
        missing = (self.total - weights.sum()) * np.outer(self.center, self.center)
        return self.scatter - aside - aside.T + missing

    def start_at_random(self, random_state: Any, n_components: int) -> Start:
        """Responsibilities drawn as scikit-learn draws them, some rows at a time."""
        components = self.components(np.repeat(self.center[None], n_components, axis=0))
        order = ORDERS[self.covariance_type]
        if hasattr(self.rows, "draw_moments"):  # rows that workers hold
            size = chunk_rows(self.X.shape[1], n_components)
            sums = self.rows.draw_moments(random_state, self.center, components, order, size)
        else:
            sums = [0, 0, 0]
            for first, X in self._chunks(n_components):
                weights = None if self.weights is None else self.weights[first : first + len(X)]
                rows = make_rows(X, weights)
                part = drawn_moments(random_state, rows, self.center, components, order, self.team)
                sums = [before + own for before, own in zip(sums, part[2:], strict=True)]
        means = np.repeat(self.center[None], n_components, axis=0)
        return Start(Moments(0.0, 0.0, *sums), means)

    def _chunks(self, n_components: int) -> Iterator[tuple[int, Array]]:
        """All rows, some at a time, each time with the number of the first."""
        size = chunk_rows(self.X.shape[1], n_components)
        starts = range(0, len(self.X), size)
        if isinstance(self.X, Source):
            yield from zip(starts, self.X.blocks(size), strict=True)
        else:
            yield from ((first, self.X[first : first + size]) for first in starts)
