"""The four kinds of covariances: their shapes, and factors of their inverses."""

from __future__ import annotations

import numpy as np
import sklearn
from scipy.linalg import lapack
from sklearn.utils.fixes import parse_version

from ..kernels.components import factorise, factorises
from ..kernels.tiles import Array

# scikit-learn's message; its end changed with 1.7, and is what the release at hand would say.
_REMEDY = (
    "increase reg_covar, or scale the input data."
    if parse_version(sklearn.__version__) >= parse_version("1.7")
    else "or increase reg_covar."
)
ILL_DEFINED = (
    "Fitting the mixture model failed because some components have ill-defined empirical "
    "covariance (for instance caused by singleton or collapsed samples). Try to decrease the "
    f"number of components, {_REMEDY}"
)


def covariance_shapes(k: int, d: int) -> dict[str, tuple[int, ...]]:
    """Shape of the covariances of k components in d dimensions, by `covariance_type`."""
    return {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}


def are_factors_of(factors: Array, covariance_type: str, k: int, d: int) -> bool:
    """Whether these are `precisions_cholesky_` of k components of this type in d dimensions."""
    if factors.shape != covariance_shapes(k, d)[covariance_type]:
        return False
    if covariance_type in ("full", "spherical") or k != d or d == 1:
        return True
    # Two types of one shape: a triangle has zeros below its diagonal, deviations are none.
    return bool(factors[-1, 0] == 0) == (covariance_type == "tied")


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
    if factorises(covariance_type, covariances.shape[-1] if covariances.ndim else 1):
        factors = factorise(covariance_type, covariances)
        if factors is None:
            raise ValueError(ILL_DEFINED)
        return factors
    if not np.isfinite(covariances).all():
        raise ValueError(ILL_DEFINED)
    result = np.empty_like(covariances)
    places = result.reshape(-1, *result.shape[-2:])
    # One library for both steps: threads of another BLAS, still waiting for more, would take the
    # processors from it.  The transpose is a view in LAPACK's order.
    for place, covariance in zip(places, covariances.reshape(places.shape), strict=True):
        factor, failed = lapack.dpotrf(covariance.T, lower=0)
        if not failed:
            place[:], failed = lapack.dtrtri(factor, lower=0, overwrite_c=1)
        if failed:
            raise ValueError(ILL_DEFINED)
    return result


def cholesky_of_precisions(precisions: Array, covariance_type: str) -> Array:
    """Upper triangular U with ``U Uᵀ`` the precision: Cholesky of the reversed matrix, reversed."""
    if covariance_type in ("diag", "spherical"):
        return np.sqrt(precisions)
    reverse = precisions[..., ::-1, ::-1]
    return np.ascontiguousarray(np.linalg.cholesky(reverse)[..., ::-1, ::-1])


def diagonal_of(factors: Array, covariance_type: str) -> Array:
    """View of the numbers that must be positive."""
    if covariance_type in ("diag", "spherical"):
        return factors
    return np.einsum("...ii->...i", factors)
