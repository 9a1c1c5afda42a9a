"""One sweep of EM over the rows: densities, posteriors and moments while a tile is in cache.

Dempster, A. P., Laird, N. M., Rubin, D. B.: Maximum likelihood from incomplete data via the EM
algorithm. Journal of the Royal Statistical Society B 39 (1977).

A sweep reads X once and stores nothing of size n·k.  Whatever the dtype of X, it computes in
float64 on rows that are centred by a point near them; second moments are taken about the means
that the posteriors were computed from, so that nothing cancels however far the data lie from the
origin.  Moments are summed slice by slice and merged along a tree that the shape of the data fixes
(:mod:`.slices`), so results are the same bits for any number of threads.

Covariances of many features work on lists: the rows in which a component has a part at all are
gathered, 64 at a time, and their outer products go through a tile with lanes over features.  Round
components need no second moments of features: the distances from the E-step do.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .emit.cpu import TILE_ROWS
from .emit.densities import (
    NEAR_FEATURES,
    log_density_in_tile,
    round_log_densities,
    scaled_log_densities,
    whiten_in_tile,
)
from .emit.masks import above, lowest_bit
from .emit.packing import pack_doubles
from .emit.posteriors import (
    COVARIANCES,
    DISTANCES,
    LANES,
    MEANS,
    NO_MOMENTS,
    OUTER_PRODUCTS,
    VARIANCES,
    add_covariances,
    add_means,
    add_outer_products,
    add_variances,
    gather_row,
    posterior_in_tile,
    weigh_in_tile,
)
from .machine.calling import reference
from .machine.compiling import helper, kernel
from .machine.parallel import Team, next_task
from .slices import Chain, add, aligned, first_of, next_merge, rows_per_slice
from .tiles import Array, Rows, make_rows, padded_vector, scratch

FULL, TIED, AXES, ROUND = 0, 1, 2, 3  # kinds of densities
# Posteriors up to here are taken for zero where rows are gathered: the sums would not feel them.
INVISIBLE = 1e-30
# From here on outer products are faster by lists, as measured.
MANY_FEATURES = 24
# Of fewer rows a slice takes as long to add up its lanes as to fill them.
LEAST_SLICE_ROWS = 1024
# Moments that are kept apart at a time: as many slices as fit, and 16 at least.
MAX_MOMENT_BYTES, LEAST_SLICES = 1 << 24, 16


class Densities(NamedTuple):
    """Components as the sweep sees them: ``log_density(x) = constant - |(x - mean) U|²/2``.

    Where U is round, or rows are whitened beforehand, that is ``constant + half |x - mean|²``.
    """

    kind: int
    n_components: int
    triangles: Array
    shifts: Array
    panels: Array
    n_wide: int
    n_narrow: int
    halves: Array
    constants: Array
    means: Array


class Outputs(NamedTuple):
    """What is kept of every row; empty where it is not wanted."""

    log_norm: Array
    posterior: Array
    labels: Array


class Passed(NamedTuple):
    """What :func:`_sweep` is given beside its tasks."""

    slice_size: int
    size: int
    rows: Rows
    zeros: Array
    center: Array
    densities: Densities
    given: Array
    labels: Array
    order: int
    kept: Array
    likelihoods: Array
    arrivals: Array
    outputs: Outputs


NO_POSTERIORS, NO_LABELS = np.empty((0, 0)), np.empty(0, np.int32)
NO_OUTPUTS = Outputs(np.empty(0), NO_POSTERIORS, np.empty(0, np.int64))


class Moments(NamedTuple):
    """Sums over rows, weighted by posterior and row weight, about the means of the sweep.

    Attributes
    ----------
    log_likelihood, negentropy : float
        Weighted sums of ``log p(x)`` and of ``sum(p log p)``.
    zeroth : ndarray of shape (k,)
        Sums of weights.
    first : ndarray of shape (k, d)
        Of ``x - mean``.
    second : ndarray of shape (k,), (k, d) or (k, d, d), or empty
        Of its squared length, squares or outer products.
    """

    log_likelihood: float
    negentropy: float
    zeroth: Array
    first: Array
    second: Array

    @classmethod
    def of(cls, log_likelihood: float, negentropy: float, sums: Array, order: int, d: int) -> Any:
        """From the line of sums of each component that a slice has."""
        second = sums[:, 1 + d :]
        if order == DISTANCES:
            second = second[:, 0]
        if order == COVARIANCES:
            second = second.take(_square_places(d), axis=1)
        return cls(log_likelihood, negentropy, sums[:, 0], sums[:, 1 : 1 + d], second)

    def packed(self) -> Array:
        """A line of sums for each component, as a slice has them."""
        second = self.second.reshape(len(self.zeroth), -1)
        if self.second.ndim == 3:
            lines, columns = np.tril_indices(self.second.shape[1])
            second = self.second[:, lines, columns]
        return np.concatenate([self.zeroth[:, None], self.first, second], axis=1)


@helper
def _add_gathered(
    X, listed, parts, first, count, n_features, stride, means, first_mean, center, left, right,
    sums, products, base,
):  # fmt: skip
    """Add the outer products of `count` listed rows about one mean."""
    for i in range(count):
        gather_row(
            X, listed[first + i], parts[first + i], n_features, center, means, first_mean, left,
            right, i * stride, sums,
        )  # fmt: skip
    add_outer_products(left, right, count, n_features, stride, products, base)


@helper
def _keep_labels(logits, n_components, first, n_valid, labels):
    """Write the likeliest component of each row, the lowest of several."""
    best = np.empty(TILE_ROWS)
    where = np.zeros(TILE_ROWS, np.int64)
    for row in range(TILE_ROWS):
        best[row] = logits[row]
    for component in range(1, n_components):
        for row in range(TILE_ROWS):
            value = logits[component * TILE_ROWS + row]
            more = value > best[row]
            best[row] = value if more else best[row]
            where[row] = component if more else where[row]
    for row in range(n_valid):
        labels[first + row] = where[row]


@helper
def _fill_given(given, labels, first, n_valid, n_components, posterior):
    """Posteriors from a matrix (n, k), or one for the label of each row; none for a label of -1."""
    for i in range(n_components * TILE_ROWS):
        posterior[i] = 0.0
    for row in range(n_valid):
        if len(labels):
            label = labels[first + row]
            if label >= 0:
                posterior[label * TILE_ROWS + row] = 1.0
        else:
            for component in range(n_components):
                posterior[component * TILE_ROWS + row] = given[first + row, component]


@helper
def _spread_totals(n_components, n_features, order, size, totals, kept, task):
    """Moments of a slice: the sums of weights and of weighted distances."""
    for component in range(n_components):
        weight, distance = 0.0, 0.0
        for lane in range(size):
            weight += totals[2 * component * size + lane]
            distance += totals[(2 * component + 1) * size + lane]
        kept[task, component, 0] = weight
        if order == DISTANCES:
            kept[task, component, 1 + n_features] = distance


@helper
def _spread(n_components, n_sums, size, sums, kept, task):
    """Moments of a slice by rows: add up lanes."""
    for component in range(n_components):
        for i in range(n_sums):
            total = 0.0
            for lane in range(size):
                total += sums[(component * n_sums + i) * size + lane]
            kept[task, component, 1 + i] = total


@helper
def _spread_products(n_components, n_features, stride, zeroth, firsts, products, kept, task):
    """Moments of a slice: line by line from the upper triangles."""
    for component in range(n_components):
        kept[task, component, 0] = zeroth[component]
        base = component * stride * stride
        for i in range(n_features):
            kept[task, component, 1 + i] = firsts[component * n_features + i]
            line = 1 + n_features + i * (i + 1) // 2
            for j in range(i + 1):
                kept[task, component, line + j] = products[base + j * stride + i]


@helper
def _merge(number, n_slices, arrivals, kept, likelihoods):
    """After slice `number`: add up what can be; see :func:`.slices.next_merge`."""
    step = next_merge(number, np.int64(1), n_slices, arrivals)
    while step > 0:
        left = first_of(number, 2 * step)
        right = left + step
        for i in range(2):
            likelihoods[left, i] += likelihoods[right, i]
        for component in range(kept.shape[1]):
            for i in range(kept.shape[2]):
                kept[left, component, i] += kept[right, component, i]
        step = next_merge(number, 2 * step, n_slices, arrivals)


@kernel
def _sweep(
    counter, gate, n_tasks, slice_size, size, rows, zeros, center, densities, given, given_labels,
    order, kept, likelihoods, arrivals, outputs,
):  # fmt: skip
    """Sweep over all rows, slice by slice; `size` is the number of lanes of moments.

    What slices bring is merged along the tree of :mod:`.slices`, to the first line of ``kept``
    (n_tasks, k, moments) and of `likelihoods` (n_tasks, 2).  Posteriors are computed, unless
    `given` (n, k) or `given_labels` (n,) has them.
    """
    # Taken out of their tuples here: inside the loop each access would count references.
    X, tail, weights = rows
    kind, k, triangles, shifts, panels, n_wide, n_narrow, halves, constants, means = densities
    log_norms, posteriors, labels = outputs
    n_samples, d = X.shape
    n_triangle = np.int64(len(triangles) // k)
    computed = len(given) == 0 and len(given_labels) == 0
    by_lists = order == OUTER_PRODUCTS
    stride = (d + 23) // 24 * 24  # whole vectors and whole groups of 6
    n_sums = d  # of a component, by rows
    if order >= VARIANCES:
        n_sums += d if order == VARIANCES else d * (d + 1) // 2
    raw = scratch(zeros, d * TILE_ROWS)
    packed = scratch(center, d * TILE_ROWS)
    white = scratch(center, d * TILE_ROWS if kind == TIED else np.int64(0))
    posterior = scratch(center, (6 * n_wide + 4 * n_narrow) * TILE_ROWS)
    squares = scratch(center, len(posterior) if kind in (TIED, ROUND) else np.int64(0))
    totals = scratch(center, 2 * k * size)
    norm, negentropy = scratch(center, TILE_ROWS), scratch(center, TILE_ROWS)
    row_weights = scratch(center, TILE_ROWS)
    sums = scratch(center, k * n_sums * size if not by_lists else k * d)
    products = scratch(center, k * stride * stride if by_lists else np.int64(0))
    left = scratch(center, TILE_ROWS * stride if by_lists else np.int64(0))
    right = scratch(center, TILE_ROWS * stride if by_lists else np.int64(0))
    n_listed = k * TILE_ROWS if by_lists else np.int64(0)
    listed, parts = np.empty(n_listed, np.int64), np.empty(n_listed)
    counts, zeroth = np.zeros(k, np.int64), np.zeros(k)
    left[:] = 0.0
    right[:] = 0.0
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        sums[:] = 0.0
        totals[:] = 0.0
        products[:] = 0.0
        zeroth[:] = 0.0
        total, entropy = 0.0, 0.0
        start = task * slice_size
        for first in range(start, min(start + slice_size, n_samples), TILE_ROWS):
            n_valid = min(TILE_ROWS, n_samples - first)
            pack_doubles(X, tail, first, zeros, center, raw, packed)
            for row in range(TILE_ROWS):
                row_weights[row] = 1.0 if row < n_valid else 0.0
            if len(weights):
                for row in range(n_valid):
                    row_weights[row] = weights[first + row]
            if computed or order == DISTANCES:
                if kind == FULL:
                    for component in range(k):
                        log_density_in_tile(
                            packed, triangles, component * n_triangle, shifts, component * d,
                            constants[component], d, posterior, component * TILE_ROWS,
                        )  # fmt: skip
                elif kind == AXES:
                    scaled_log_densities(packed, panels, n_wide, n_narrow, constants, d, posterior)
                else:
                    axes = packed
                    if kind == TIED:
                        whiten_in_tile(packed, triangles, d, white)
                        axes = white
                    round_log_densities(
                        axes, panels, n_wide, n_narrow, halves, constants, d, squares, posterior
                    )
            if computed:
                if len(labels):
                    _keep_labels(posterior, k, first, n_valid, labels)
                posterior_in_tile(posterior, k, norm, negentropy)
                for row in range(TILE_ROWS):
                    total += row_weights[row] * norm[row]
                    entropy += row_weights[row] * negentropy[row]
            else:
                _fill_given(given, given_labels, first, n_valid, k, posterior)
            if len(log_norms):
                for row in range(n_valid):
                    log_norms[first + row] = norm[row]
            if len(posteriors):
                for row in range(n_valid):
                    for component in range(k):
                        posteriors[first + row, component] = posterior[component * TILE_ROWS + row]
            if not by_lists and order != NO_MOMENTS:
                weigh_in_tile(posterior, row_weights, k, squares, order == DISTANCES, totals)
            if MEANS <= order <= VARIANCES:
                for begin in range(0, d, NEAR_FEATURES):
                    end = min(begin + NEAR_FEATURES, d)
                    for component in range(k):
                        place, base = component * TILE_ROWS, component * n_sums * size
                        if order == VARIANCES:
                            add_variances(
                                packed, posterior, place, means, component * d, begin, end, d,
                                sums, base,
                            )  # fmt: skip
                        else:
                            add_means(
                                packed, posterior, place, means, component * d, begin, end, d,
                                sums, base,
                            )  # fmt: skip
            elif order == COVARIANCES:
                for component in range(k):
                    add_covariances(
                        packed, posterior, component * TILE_ROWS, means, component * d, 0, d, d,
                        sums, component * n_sums * size,
                    )  # fmt: skip
            elif by_lists:
                for component in range(k):
                    mask = above(posterior, component * TILE_ROWS, INVISIBLE)
                    if n_valid < TILE_ROWS:
                        mask &= (np.uint64(1) << np.uint64(n_valid)) - np.uint64(1)
                    place, count = component * TILE_ROWS, counts[component]
                    while mask != 0:
                        row = lowest_bit(mask)
                        mask &= mask - np.uint64(1)
                        part = posterior[place + row] * row_weights[row]
                        zeroth[component] += part
                        listed[place + count] = first + row
                        parts[place + count] = part
                        count += 1
                        if count == TILE_ROWS:
                            _add_gathered(
                                X, listed, parts, place, count, d, stride, means, component * d,
                                center, left, right, sums, products,
                                component * stride * stride,
                            )  # fmt: skip
                            count = np.int64(0)
                    counts[component] = count
        likelihoods[task, 0] = total
        likelihoods[task, 1] = entropy
        if by_lists:
            for component in range(k):
                _add_gathered(
                    X, listed, parts, component * TILE_ROWS, counts[component], d, stride, means,
                    component * d, center, left, right, sums, products,
                    component * stride * stride,
                )  # fmt: skip
                counts[component] = 0
            _spread_products(k, d, stride, zeroth, sums, products, kept, task)
        elif order != NO_MOMENTS:
            _spread_totals(k, d, order, size, totals, kept, task)
            _spread(k, n_sums, size, sums, kept, task)
        _merge(task, n_tasks, arrivals, kept, likelihoods)


def sweep_work(
    n_components: int, n_samples: int, n_features: int, order: int = NO_MOMENTS
) -> float:
    """Multiply-adds of a sweep, roughly."""
    depth = 4 * n_features if order < COVARIANCES else n_features**2
    return float(n_samples) * n_components * (depth + 20)


# Second moments of a component of d features.
_N_SECOND = {
    MEANS: lambda d: 0,
    DISTANCES: lambda d: 1,
    VARIANCES: lambda d: d,
    COVARIANCES: lambda d: d * (d + 1) // 2,
}


def moments_of_component(order: int, n_features: int) -> int:
    """Numbers that a slice sums for each component."""
    return 1 + n_features + _N_SECOND[order](n_features)


def sweep_rows(n_samples: int, n_features: int) -> int:
    """Rows of a slice: by the shape of the data alone."""
    return rows_per_slice(n_samples, n_features, LEAST_SLICE_ROWS)


@functools.lru_cache(maxsize=4)
def _square_places(n_features: int) -> Array:
    """Where the elements of a symmetric matrix (d, d) are in its lower triangle, line by line."""
    lines = np.arange(n_features)
    low, high = np.minimum(lines, lines[:, None]), np.maximum(lines, lines[:, None])
    return high * (high + 1) // 2 + low


class Sweep:
    """Sweeps over one data set.

    Parameters
    ----------
    rows : Rows, or rows that come in parts
        The data.  Those that come in parts have a `shape`, a `dtype`, and ``parts(slice_size)``,
        which gives blocks of whole slices as pairs of the number of the first row and `Rows`.
    center : ndarray of shape (d,), float64
        Point near the rows by which they are centred.
    team : Team
        Threads to run on.
    n_samples : int, optional
        Of all rows, where these are a node of them.
    """

    def __init__(self, rows: Any, center: Array, team: Team, n_samples: int | None = None) -> None:
        self.rows, self.team = rows, team
        self.n_samples, self.n_features = n_samples or rows.shape[0], rows.shape[1]
        self.zeros = padded_vector(np.zeros(self.n_features), rows.dtype)
        self.center = padded_vector(center, np.float64)

    def moments(
        self,
        densities: Densities,
        order: int,
        *,
        given: Array | None = None,
        labels: Array | None = None,
    ) -> Moments:
        """Moments about the means of `densities`, of posteriors computed or given.

        Parameters
        ----------
        densities : Densities
            The components; with `given` or `labels` only their means matter.
        order : {MEANS, DISTANCES, VARIANCES, COVARIANCES}
            Highest moments wanted; distances are those of round components.
        given : ndarray of shape (n, k), optional
            Posteriors.
        labels : ndarray of shape (n,), int32, optional
            Component of each row; -1 for none.
        """
        k, d = densities.n_components, self.n_features
        length = moments_of_component(order, d)
        by_lists = order == COVARIANCES and d >= MANY_FEATURES
        slice_size = sweep_rows(self.n_samples, self.n_features)
        sums: Chain[Array] = Chain(add)
        likelihoods: Chain[Array] = Chain(add)
        for first, rows in self._parts(slice_size, MAX_MOMENT_BYTES // (8 * k * length)):
            here = slice(first, first + len(rows.X))
            n_slices = -(-len(rows.X) // slice_size)
            kept, parts = np.empty((n_slices, k, length)), np.empty((n_slices, 2))
            self._run(
                rows,
                densities,
                OUTER_PRODUCTS if by_lists else order,
                slice_size,
                kept,
                parts,
                given=None if given is None else given[here],
                labels=None if labels is None else labels[here],
            )
            sums.add(n_slices, kept[0].copy())
            likelihoods.add(n_slices, parts[0])
        moments = sums.total()
        log_likelihood, negentropy = likelihoods.total()
        return Moments.of(float(log_likelihood), float(negentropy), moments, order, d)

    def passed(self, densities: Densities, order: int, labels: Array = NO_LABELS) -> Passed | None:
        """Arguments of a sweep for moments, which can be repeated; None where it is in parts."""
        k, d = densities.n_components, self.n_features
        length = moments_of_component(order, d)
        slice_size = sweep_rows(self.n_samples, d)
        n_slices = -(-self.n_samples // slice_size)
        most = max(LEAST_SLICES, MAX_MOMENT_BYTES // (8 * k * length))
        if not isinstance(self.rows, Rows) or n_slices > aligned(most):
            return None
        return Passed(
            slice_size,
            LANES,
            self.rows,
            self.zeros,
            self.center,
            densities,
            NO_POSTERIORS,
            labels,
            OUTER_PRODUCTS if order == COVARIANCES and d >= MANY_FEATURES else order,
            np.empty((n_slices, k, length)),
            np.empty((n_slices, 2)),
            np.zeros(n_slices, np.int64),
            NO_OUTPUTS,
        )

    def log_norms(self, densities: Densities) -> Array:
        """Log of the density of the whole mixture at each row."""
        result = np.empty(self.n_samples)
        self._evaluate(densities, log_norm=result)
        return result

    def posteriors(self, densities: Densities) -> Array:
        """Posterior probabilities (n, k)."""
        result = np.empty((self.n_samples, densities.n_components))
        self._evaluate(densities, posterior=result)
        return result

    def labels(self, densities: Densities) -> Array:
        """Likeliest component of each row, the lowest of several."""
        result = np.empty(self.n_samples, np.int64)
        self._evaluate(densities, labels=result)
        return result

    def log_likelihood(self, densities: Densities) -> float:
        """Weighted sum of the log of the density of the whole mixture."""
        return float(self._evaluate(densities)[0])

    def _evaluate(self, densities: Densities, **outputs: Array) -> Array:
        slice_size = sweep_rows(self.n_samples, self.n_features)
        likelihoods: Chain[Array] = Chain(add)
        for first, rows in self._parts(slice_size, self.n_samples):
            here = slice(first, first + len(rows.X))
            n_slices = -(-len(rows.X) // slice_size)
            parts = np.empty((n_slices, 2))
            kept = np.empty((n_slices, densities.n_components, 0))
            wanted = {name: array[here] for name, array in outputs.items()}
            self._run(rows, densities, NO_MOMENTS, slice_size, kept, parts, outputs=wanted)
            likelihoods.add(n_slices, parts[0])
        return likelihoods.total()

    def _parts(self, slice_size: int, n_slices: int) -> Iterator[tuple[int, Rows]]:
        """The rows, those of an array so many slices at a time, with the number of the first.

        How they are cut has no say in the results, which are added up slice by slice.
        """
        if not isinstance(self.rows, Rows):
            yield from self.rows.parts(slice_size)
            return
        X, _, weights = self.rows
        size = slice_size * aligned(max(LEAST_SLICES, n_slices))
        if size >= len(X):
            yield 0, self.rows
            return
        for first in range(0, len(X), size):
            here = slice(first, first + size)
            yield first, make_rows(X[here], weights[here] if len(weights) else None)

    def _run(
        self,
        rows: Rows,
        densities: Densities,
        order: int,
        slice_size: int,
        kept: Array,
        likelihoods: Array,
        *,
        given: Array | None = None,
        labels: Array | None = None,
        outputs: dict[str, Array] | None = None,
    ) -> None:
        kept_rows = NO_OUTPUTS._replace(**outputs) if outputs else NO_OUTPUTS
        n_samples, n_features = rows.X.shape
        self.team.run(
            _sweep,
            sweep_work(densities.n_components, n_samples, n_features, order),
            len(likelihoods),
            slice_size,
            LANES,
            rows,
            self.zeros,
            self.center,
            densities,
            NO_POSTERIORS if given is None else given,
            NO_LABELS if labels is None else labels,
            order,
            kept,
            likelihoods,
            np.zeros(len(likelihoods), np.int64),
            kept_rows,
        )


def sweep_reference(passed: Passed, gate: Array) -> Any:
    """To the kernel of a sweep; see :mod:`.machine.calling`."""
    return reference(_sweep, passed.rows.dtype, gate, gate, 1, *passed)
