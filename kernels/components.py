"""Components of a mixture between two sweeps: their estimates, factors, and what the sweep sees.

After a sweep, moments become counts, means and covariances by scikit-learn's formulas
(:func:`estimate`), covariances become factors of their inverses (:func:`factorise`), and these the
layouts of the next sweep (:func:`make_densities`).  Whoever runs a step of EM, in Python or in a
compiled loop (:mod:`.em`), calls the same three kernels, and so gets the same bits.

Arrays of components are flat here: one type for all kinds of covariances, and so one kernel.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .emit.cpu import NARROW, WIDE, center_groups
from .emit.densities import triangle_order
from .emit.sparse_rows import multiply_add
from .gaussian import (
    AXES,
    COVARIANCES,
    DISTANCES,
    FULL,
    MEANS,
    ROUND,
    TIED,
    VARIANCES,
    Densities,
    Moments,
)
from .machine.calling import reference
from .machine.compiling import kernel
from .tiles import Array, aligned_empty

KINDS = {"full": FULL, "tied": TIED, "diag": AXES, "spherical": ROUND}
# Highest moments that the estimates follow from.
ORDERS = {"full": COVARIANCES, "tied": MEANS, "diag": VARIANCES, "spherical": DISTANCES}
LEAST_COUNT = 10 * 2.220446049250313e-16  # what scikit-learn adds to every count
LOG_OF_CIRCLE = float(np.log(2 * np.pi))
# What is known of the constants of the densities: all, or the logs of weights, or weights.
CONSTANTS, LOGS, WEIGHTS = 0, 1, 2
# From here on LAPACK's factors, in blocks, are the faster ones.
LAPACK_FEATURES = 32


class Parameters(NamedTuple):
    """Components as a sweep leaves them, flat."""

    counts: Array  # (k,)
    weights: Array  # (k,), which add up to one
    means: Array  # (k·d,)
    covariances: Array  # (k·d·d,), (d·d,), (k·d,) or (k,)
    factors: Array  # as many: of the inverses


def n_covariances(covariance_type: str, k: int, d: int) -> int:
    """How many numbers the covariances of k components in d dimensions are."""
    return {"full": k * d * d, "tied": d * d, "diag": k * d, "spherical": k}[covariance_type]


def new_parameters(covariance_type: str, k: int, d: int) -> Parameters:
    """Room for the components."""
    size = n_covariances(covariance_type, k, d)
    return Parameters(np.empty(k), np.empty(k), np.empty(k * d), np.empty(size), np.empty(size))


# --------------------------------------------------------------------------------------------
# From moments to parameters


@kernel
def _estimate(kind, sums, center, scatter, reg_covar, parameters):
    """Estimate components from moments about the means of `parameters`, which move.

    ``sums`` (k, moments) is what a sweep gives, and moves to the new means, too.  `scatter` (d·d,)
    is that of all rows about `center`; only tied covariances need it.
    """
    counts, weights, means, covariances, _ = parameters
    k = len(counts)
    d = len(means) // k
    moved, middle = np.empty(d), np.empty(d)
    total = 0.0
    for component in range(k):
        zeroth = sums[component, 0]
        count = zeroth + LEAST_COUNT
        counts[component] = count
        total += count
        for t in range(d):
            mean, first = means[component * d + t], sums[component, 1 + t]
            new = mean + (first - LEAST_COUNT * mean) / count
            moved[t] = new - mean
            middle[t] = first - 0.5 * zeroth * moved[t]
            means[component * d + t] = new
        if kind == FULL:
            place, base = 1 + d, component * d * d
            for i in range(d):
                for j in range(i + 1):
                    second = sums[component, place] - (middle[i] * moved[j] + moved[i] * middle[j])
                    sums[component, place] = second
                    covariances[base + i * d + j] = second / count
                    covariances[base + j * d + i] = second / count
                    place += 1
                covariances[base + i * d + i] += reg_covar
        elif kind == AXES:
            for t in range(d):
                second = sums[component, 1 + d + t] - 2.0 * sums[component, 1 + t] * moved[t]
                second += zeroth * (moved[t] * moved[t])
                sums[component, 1 + d + t] = second
                covariances[component * d + t] = second / count + reg_covar
        elif kind == ROUND:
            second = 0.0
            for t in range(d):
                second += moved[t] * (zeroth * moved[t] - 2.0 * sums[component, 1 + t])
            second += sums[component, 1 + d]
            sums[component, 1 + d] = second
            covariances[component] = second / (count * d) + reg_covar
        for t in range(d):
            sums[component, 1 + t] -= zeroth * moved[t]
    for component in range(k):
        weights[component] = counts[component] / total
    if kind == TIED:
        for i in range(d * d):
            covariances[i] = 0.0
        for component in range(k):
            for t in range(d):
                moved[t] = means[component * d + t] - center[t]
            for i in range(d):
                weighted = counts[component] * moved[i]
                for j in range(d):
                    covariances[i * d + j] = multiply_add(
                        weighted, moved[j], covariances[i * d + j]
                    )
        for i in range(d * d):
            covariances[i] = (scatter[i] - covariances[i]) / total
        for i in range(d):
            covariances[i * d + i] += reg_covar


def estimate(
    covariance_type: str,
    moments: Moments,
    means: Array,
    center: Array,
    scatter: Array,
    reg_covar: float,
) -> tuple[Parameters, Array]:
    """Components as scikit-learn estimates them, from moments about `means`.

    The moments are moved to the new means; nothing cancels but what the means have moved.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
        As in scikit-learn.
    moments : Moments
        Of a sweep of this type.
    means : ndarray of shape (k, d)
        What they are about.
    center : ndarray of shape (d,)
        A point near the rows.
    scatter : ndarray of shape (d, d)
        Sum of the outer products of all rows about `center`; empty unless the type is 'tied'.
    reg_covar : float
        Added to the diagonals.

    Returns
    -------
    parameters : Parameters
        All but the factors.
    sums : ndarray of shape (k, moments)
        The moments, packed, about the new means.
    """
    k, d = means.shape
    parameters, sums = new_parameters(covariance_type, k, d), moments.packed()
    parameters.means[:] = means.ravel()
    flat = np.ascontiguousarray(scatter, np.float64).ravel()
    _estimate(KINDS[covariance_type], sums, center, flat, float(reg_covar), parameters)
    return parameters, sums


@kernel
def _factorise(kind, d, covariances, factors):
    """Factors of the inverses; whether all covariances are positive definite."""
    if kind in (AXES, ROUND):
        for i in range(len(covariances)):
            if not covariances[i] > 0.0:
                return False
            factors[i] = 1.0 / np.sqrt(covariances[i])
        return True
    # Rounded as LAPACK does it, fused and by reciprocals: a singular matrix ends alike in both.
    lower, inverse = np.empty(d * d), np.empty(d)
    for base in range(0, len(covariances), d * d):
        for i in range(d):
            for j in range(i + 1):
                value = covariances[base + i * d + j]
                if not np.isfinite(value):
                    return False
                for t in range(j):
                    value = multiply_add(-lower[i * d + t], lower[j * d + t], value)
                if j < i:
                    lower[i * d + j] = value * inverse[j]
            if not value > 0.0:
                return False
            lower[i * d + i] = np.sqrt(value)
            inverse[i] = 1.0 / lower[i * d + i]
        # A line of U is a column of the inverse of the lower triangle.
        for j in range(d):
            line = base + j * d
            for i in range(j):
                factors[line + i] = 0.0
            factors[line + j] = inverse[j]
            for i in range(j + 1, d):
                value = 0.0
                for t in range(j, i):
                    value += lower[i * d + t] * factors[line + t]
                factors[line + i] = -value * inverse[i]
    return True


def factorises(covariance_type: str, n_features: int) -> bool:
    """Whether :func:`factorise` is for such covariances; LAPACK is for the others."""
    return covariance_type in ("diag", "spherical") or n_features < LAPACK_FEATURES


def factorise(covariance_type: str, covariances: Array) -> Array | None:
    """Upper triangular U with ``U Uᵀ`` the inverse of each covariance; None where there is none."""
    covariances = np.ascontiguousarray(covariances, np.float64)
    factors = np.empty(covariances.shape)
    kind, d = KINDS[covariance_type], covariances.shape[-1]
    return factors if _factorise(kind, d, covariances.ravel(), factors.reshape(-1)) else None


# --------------------------------------------------------------------------------------------
# What the sweep sees


@functools.lru_cache(maxsize=4)
def places_of(covariance_type: str, n_features: int) -> Array:
    """:func:`.emit.densities.triangle_order` of covariances that have triangles."""
    if covariance_type in ("diag", "spherical"):
        return np.empty(0, np.int64)
    return triangle_order(n_features)


@kernel
def _fill(means, center, factors, terms, known, places, densities):
    """Write components to `densities`; see :func:`make_densities`."""
    kind, k, triangles, shifts, panels, n_wide, _, halves, constants, centred = densities
    d, n = len(means) // k, len(places)
    log_det = 0.0
    if kind == TIED:
        for i in range(n):
            triangles[i] = factors[places[i]]
        for t in range(d):
            log_det += np.log(factors[t * d + t])
    for component in range(k):
        own = component * d
        for t in range(d):
            centred[own + t] = means[own + t] - center[t]
        # Where the component's numbers are in the panels.
        first = min(component // WIDE, n_wide) * WIDE
        width = WIDE if first < n_wide * WIDE else NARROW
        first += (component - first) // width * width
        lane, depth = component - first, 2 if kind == AXES else 1
        line = first * d * depth + lane
        if kind in (FULL, TIED):
            base = own * d if kind == FULL else 0
            for t in range(d):
                shifts[own + t] = 0.0
            for i in range(d):
                for j in range(i, d):
                    shifts[own + j] -= centred[own + i] * factors[base + i * d + j]
        if kind == FULL:
            for i in range(n):
                triangles[component * n + i] = factors[base + places[i]]
            log_det = 0.0
            for t in range(d):
                log_det += np.log(factors[base + t * d + t])
        elif kind == TIED:
            for t in range(d):
                panels[line + t * width] = -shifts[own + t]
        elif kind == AXES:
            log_det = 0.0
            for t in range(d):
                factor = factors[own + t]
                panels[line + 2 * t * width] = factor
                panels[line + (2 * t + 1) * width] = -centred[own + t] * factor
                log_det += np.log(factor)
        else:
            factor = factors[component]
            for t in range(d):
                panels[line + t * width] = centred[own + t]
            halves[component] = -0.5 * (factor * factor)
            log_det = d * np.log(factor)
        term = terms[component]
        if known == WEIGHTS:
            term = np.log(term)
        if known != CONSTANTS:
            term = term + log_det - 0.5 * d * LOG_OF_CIRCLE
        constants[component] = term


def new_densities(covariance_type: str, k: int, d: int) -> Densities:
    """Room for what the sweep sees of k components in d dimensions."""
    kind = KINDS[covariance_type]
    n_wide, n_narrow = center_groups(k)
    n_padded = WIDE * n_wide + NARROW * n_narrow
    constants = aligned_empty(n_padded, np.float64)
    constants[k:] = -np.inf
    return Densities(
        kind,
        k,
        np.empty(len(places_of(covariance_type, d)) * (k if kind == FULL else 1)),
        np.empty(k * d if kind in (FULL, TIED) else 0),
        np.zeros(n_padded * d * {FULL: 0, AXES: 2}.get(kind, 1)),
        n_wide,
        n_narrow,
        np.full(n_padded, -0.5),
        constants,
        np.empty(k * d),
    )


def make_densities(
    covariance_type: str,
    means: Array,
    precisions_cholesky: Array,
    terms: Array,
    *,
    center: Array | None = None,
    known: int = CONSTANTS,
) -> Densities:
    """Components in the layouts of the sweep.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
        As in scikit-learn.
    means : ndarray of shape (k, d)
        Means.
    precisions_cholesky : ndarray
        (k, d, d), (d, d), (k, d) or (k,), as scikit-learn's attribute.
    terms : ndarray of shape (k,)
        What to add to ``-|(x - mean) U|²/2``, or what that follows from.
    center : ndarray of shape (d,), optional
        What the rows are centred by, and not yet the means.
    known : {CONSTANTS, LOGS, WEIGHTS}
        Which `terms` are given: with the latter two, components are normal densities.
    """
    k, d = means.shape
    densities = new_densities(covariance_type, k, d)
    _fill(
        _flat(means), np.zeros(d) if center is None else center, _flat(precisions_cholesky),
        _flat(terms), known, places_of(covariance_type, d), densities,
    )  # fmt: skip
    return densities


def _flat(array: Any) -> Array:
    return np.array(array, np.float64, order="C").ravel()


class Calls(NamedTuple):
    """References to the three kernels, in the order of a step; see :mod:`.machine.calling`."""

    fill: Any
    estimate: Any
    factorise: Any


def references(
    parameters: Parameters, densities: Densities, places: Array, sums: Array, scatter: Array
) -> Calls:
    """To the three kernels."""
    _, weights, means, covariances, factors = parameters
    center = sums[0]
    return Calls(
        reference(_fill, None, means, center, factors, weights, WEIGHTS, places, densities),
        reference(_estimate, None, FULL, sums, center, scatter, 0.0, parameters),
        reference(_factorise, None, FULL, 1, covariances, factors),
    )
