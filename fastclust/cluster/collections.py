"""Models that are asked about dask collections: block by block, and only when somebody computes."""

from __future__ import annotations

from typing import Any

import dask
import dask.array
import numpy as np
from dask.delayed import Delayed
from distributed import Future

from ..kernels.tiles import Array


def is_collection(X: Any) -> bool:
    """Whether `X` is rows of Dask's: an array, a frame or a list of blocks."""
    if isinstance(X, list | tuple):
        return len(X) > 0 and all(isinstance(block, Delayed | Future) for block in X)
    return bool(dask.is_dask_collection(X))


def _blocks(X: Any) -> tuple[list[Any], list[float]]:
    """Delayed blocks of rows, and how many rows each has, if that is known."""
    if isinstance(X, dask.array.Array):
        if X.ndim > 1 and X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
        return X.to_delayed().ravel().tolist(), list(X.chunks[0])
    blocks = X if isinstance(X, list | tuple) else X.to_delayed()
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


def _score_of(model: Any, block: Any, weights: Any) -> Array:
    if len(block) == 0:
        return np.zeros(2)
    weight = len(block) if weights is None else weights.sum(dtype=np.float64)
    if weight == 0:
        return np.zeros(2)
    return np.array([model.score(block, sample_weight=weights), weight])


def _total(parts: list[Array]) -> Array:
    return np.array([sum(score for score, _ in parts), len(parts)])


def _mean(parts: list[Array]) -> Array:
    weight = sum(weight for _, weight in parts)
    return np.array([sum(score * own for score, own in parts) / weight, weight])


def scored(model: Any, X: Any, sample_weight: Any, *, mean: bool = False) -> Any:
    """The score of all blocks of `X`: the sum of theirs, or the mean by their weights.

    A dask array of two numbers, of which the second is the weight of all rows if it is a mean.
    """
    blocks, sizes = _blocks(X)
    weights = weights_of_blocks(sample_weight, sizes)
    held = dask.delayed(model)
    parts = [
        dask.delayed(_score_of)(held, block, own)
        for block, own in zip(blocks, weights, strict=True)
    ]
    join = dask.delayed(_mean if mean else _total)
    return dask.array.from_delayed(join(parts), (2,), np.float64)


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
