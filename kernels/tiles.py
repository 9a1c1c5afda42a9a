"""What the tiles of instructions need around them: layouts, alignment, and which tile to use.

Two tiles find the nearest centers of rows of X:

by rows
    64 rows are transposed and centred into a block that stays in the first-level cache; vector
    lanes are rows.  Best wherever the transposition is paid back by enough centers, and for few
    features, where there is nothing else to put into lanes.
by features
    Vector lanes are features; rows of X are read in place, once.  Best for few centers and many
    features, where a transposition would cost as much as the distances.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from .emit.cpu import NARROW, TILE_ROWS, WIDE, center_groups, lanes, round_up
from .machine.calling import reference
from .machine.compiling import helper, inlined, kernel, vector_sum
from .records import Array as Array
from .records import Panels as Panels
from .records import Rows as Rows

ALIGNMENT = 64


def aligned_empty(shape: tuple[int, ...] | int, dtype: Any) -> Array:
    """``np.empty`` whose data begin at a cache line, as the tiles' loads and stores demand."""
    dtype = np.dtype(dtype)
    size = (shape if isinstance(shape, int) else math.prod(shape)) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    # A third of the time that NumPy's own `raw.ctypes.data` takes.
    address = ctypes.addressof(ctypes.c_char.from_buffer(raw))  # type: ignore[arg-type]
    return np.ndarray(shape, dtype, raw, -address % ALIGNMENT)


def padded_vector(values: Array, dtype: Any) -> Array:
    """Copy of a vector of features, aligned and padded with zeros to whole vector registers."""
    result = aligned_empty(round_up(len(values), lanes(dtype)), dtype)
    result[: len(values)] = values
    result[len(values) :] = 0
    return result


def prefers_features(n_features: int, n_clusters: int) -> bool:
    """Whether the tile by features is the faster one, as measured; the shape alone decides."""
    return n_features >= 96 and n_clusters <= 24


def make_panels(
    n_clusters: int, n_features: int, dtype: Any, *, by_features: bool | None = None
) -> Panels:
    """Room for the packed centers, for the faster tile by default; :func:`fill_panels` fills it."""
    if by_features is None:
        by_features = prefers_features(n_features, n_clusters)
    n_wide, n_narrow = center_groups(n_clusters)
    padded = WIDE * n_wide + NARROW * n_narrow
    depth = round_up(n_features, lanes(dtype)) if by_features else n_features
    return Panels(
        by_features,
        n_wide,
        n_narrow,
        aligned_empty(padded * depth, dtype),
        aligned_empty(padded, dtype),
    )


@vector_sum
def _squared_norm(centers, center):
    total = 0.0
    for t in range(centers.shape[1]):
        value = np.float64(centers[center, t])
        total += value * value
    return total


@inlined
def pack_centers(centers, by_features, n_wide, n_narrow, size, packed, bias):
    """Fill panels from `centers` (k, d), centred as the rows are; `size` is the number of lanes."""
    n_clusters, n_features = centers.shape
    chunk = size if by_features else 1  # features that lie side by side
    depth = -(-n_features // chunk) * chunk
    start, center = 0, 0
    for group in range(n_wide + n_narrow):
        width = WIDE if group < n_wide else NARROW
        for j in range(width):
            real = center < n_clusters
            bias[center] = 0.5 * _squared_norm(centers, center) if real else np.inf
            for t in range(depth):
                value = centers[center, t] if real and t < n_features else centers[0, 0] * 0
                if by_features:
                    place = start + t // size * size * width + j * size + t % size
                else:
                    place = start + t * width + j
                packed[place] = -value
            center += 1
        start += width * depth


@kernel
def _fill(centers, by_features, n_wide, n_narrow, size, packed, bias):
    pack_centers(centers, by_features, n_wide, n_narrow, size, packed, bias)


def fill_panels(centers: Array, panels: Panels) -> None:
    """Pack `centers` (k, d) into `panels`."""
    by_features, n_wide, n_narrow, packed, bias = panels
    size = lanes(centers.dtype)
    _fill(np.ascontiguousarray(centers), by_features, n_wide, n_narrow, size, packed, bias)


def panels_reference(centers: Array, panels: Panels) -> Any:
    """To the kernel of :func:`fill_panels`; see :mod:`.machine.calling`."""
    by_features, n_wide, n_narrow, packed, bias = panels
    arguments = centers, by_features, n_wide, n_narrow, 1, packed, bias
    return reference(_fill, centers.dtype, *arguments)


@inlined
def scratch(prototype, size):
    """Aligned vector of `size` elements of the type of `prototype`, for use inside a kernel."""
    raw = np.empty(size + ALIGNMENT // prototype.itemsize, prototype.dtype)
    start = (-raw.ctypes.data % ALIGNMENT) // prototype.itemsize
    return raw[start : start + size]


@helper
def centred_difference(x, shift, center):
    return np.float64(x - shift) - np.float64(center)


@vector_sum
def squared_distance(x, shift, center):
    """``sum(((x - shift) - center)²)``, the first difference rounded as in the tiles, the rest in
    float64."""
    total = 0.0
    for t in range(len(x)):
        difference = centred_difference(x[t], shift[t], center[t])
        total += difference * difference
    return total


def make_rows(X: Array, weights: Array | None = None) -> Rows:
    """Prepare C-contiguous `X` (n, d) for kernels, without copying more than 63 rows.

    `weights` is (n,) or None; an empty array stands for weights of one.
    """
    n_samples, n_features = X.shape
    whole = n_samples - n_samples % TILE_ROWS
    tail = np.zeros((TILE_ROWS if whole < n_samples else 0, n_features), X.dtype)
    tail[: n_samples - whole] = X[whole:]
    weights = np.empty(0, X.dtype) if weights is None else weights
    return Rows(read_only(X), read_only(tail), read_only(weights))


def read_only(array: Array) -> Array:
    """View that cannot be written to: one type for all, so one compiled kernel for all."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view
