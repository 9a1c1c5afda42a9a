"""Models that are asked about dask collections: block by block, and only when somebody computes."""

from __future__ import annotations

from typing import Any

import dask
import dask.array
import numpy as np

from ..kernels.tiles import Array


def is_collection(X: Any) -> bool:
    """Whether `X` is rows of Dask's."""
    return bool(dask.is_dask_collection(X))


def _blocks(X: Any) -> tuple[list[Any], list[float]]:
    """Delayed blocks of rows, and how many rows each has, if that is known."""
    if isinstance(X, dask.array.Array):
        if X.ndim > 1 and X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
        return X.to_delayed().ravel().tolist(), list(X.chunks[0])
    blocks = X.to_delayed() if hasattr(X, "to_delayed") else [X]
    return list(blocks), [np.nan] * len(blocks)


def _ask(model: Any, method: str, block: Any, width: int, dtype: Any) -> Array:
    if len(block) == 0:
        return np.empty((0, width) if width else 0, dtype)
    result: Array = getattr(model, method)(block)
    return result


def lazily(model: Any, method: str, X: Any, width: int = 0) -> Any:
    """What a method gives for each row, as a dask array.

    Parameters
    ----------
    model : estimator
        A local one.
    method : str
        Of the model.
    X : dask collection
        The rows.
    width : int
        Columns of the result; 0 where it has one number for each row.
    """
    blocks, sizes = _blocks(X)
    # Of the columns alone: what a row gives is of the dtype that it is here.
    names = getattr(model, "feature_names_in_", None)
    example: Any = np.zeros((1, model.n_features_in_), getattr(X, "dtype", np.float64))
    if names is not None:
        import pandas

        example = pandas.DataFrame(example, columns=names)
    dtype = getattr(model, method)(example).dtype
    held = dask.delayed(model)
    parts = []
    for block, size in zip(blocks, sizes, strict=True):
        shape = (size, width) if width else (size,)
        found = dask.delayed(_ask)(held, method, block, width, dtype)
        parts.append(dask.array.from_delayed(found, shape, dtype))
    return dask.array.concatenate(parts)


def _sum_of(model: Any, method: str, block: Any, weights: Any) -> float:
    if len(block) == 0:
        return 0.0
    return float(getattr(model, method)(block, sample_weight=weights))


def summed(model: Any, method: str, X: Any, sample_weight: Any) -> Any:
    """The sum of what a method gives for the blocks of `X`, a dask array of one number."""
    blocks, sizes = _blocks(X)
    weights = weights_of_blocks(sample_weight, sizes)
    held = dask.delayed(model)
    parts = [
        dask.delayed(_sum_of)(held, method, block, own)
        for block, own in zip(blocks, weights, strict=True)
    ]
    return dask.array.from_delayed(dask.delayed(sum)(parts), (), np.float64)


def weights_of_blocks(weights: Any, sizes: list[float]) -> list[Any]:
    """Weights by the blocks of the rows."""
    if weights is None:
        return [None] * len(sizes)
    if hasattr(weights, "to_dask_array"):
        weights = weights.to_dask_array()
    if not is_collection(weights):
        weights = dask.array.from_array(np.asarray(weights))
    if not np.isnan(sizes).any():
        weights = weights.rechunk((tuple(sizes),))
    blocks: list[Any] = weights.to_delayed().ravel().tolist()
    return blocks
