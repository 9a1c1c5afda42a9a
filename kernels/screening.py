"""Distances of float64 data, asked in float32 first.

The tile by rows runs in float32, which is twice as fast, and finds the nearest center of each row
and the score of the second nearest.  Where the two are farther apart than float32 can be wrong,
the nearest is the one that float64 would have found.  The other rows, a few in a thousand, are
looked at again one by one in float64, by :func:`.nearest_in_row`: the labels are the same
bits as if nothing had been screened.

A score in float32, ``|c|²/2 - x·c``, is off by less than ``(d + 6) · 2⁻²⁴ · (|x|²/2 + |c|²)``, and
by products of errors, less than a hundredth of it for up to MOST_FEATURES features.  In this,
``|c|² <= 2 |x|² + 2 |x - c|² = 4 |x|² + 4 · score``, which grows with the score: no center behind
the second nearest can be nearer than its error allows.  Where squares under- or overflow in
float32 this does not hold; there every row is in doubt.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .emit.screens import LEAST_SCORE as LEAST_SCORE
from .machine.calling import NOWHERE, reference
from .machine.compiling import kernel
from .records import Panels, Screen
from .tiles import aligned_empty, prefers_features

ROUNDING, MOST_FEATURES = 1.01 * 2.0**-24, 30_000
# |c|²/2 of centers that can be looked through in float32, at most.
MOST_BIAS = 1e37
# Share of the rows in doubt above which float64 is asked at once.
MOST_DOUBTED = 0.15


def pays_to_screen(n_clusters: int, n_features: int, dtype: Any) -> bool:
    """Whether float32 is asked first: float64 rows are, where the tile by rows looks at them."""
    if np.dtype(dtype) != np.float64 or prefers_features(n_features, n_clusters):
        return False
    return n_clusters > 1 and n_features <= MOST_FEATURES


def make_screen(panels: Panels, pays: bool, n_clusters: int, n_features: int) -> Screen | None:
    """Room for the centers in float32, if it `pays`; none for float32, which has no such code."""
    if panels.packed.dtype != np.float64:
        return None
    size, n_padded = (panels.packed.size, panels.bias.size) if pays else (0, 0)
    packed, bias = aligned_empty(size, np.float32), aligned_empty(n_padded, np.float32)
    return Screen(packed, bias, n_clusters, np.float32((n_features + 6) * ROUNDING))


@kernel
def _fill(packed, bias, coarse_centers, coarse_bias, n_centers):
    """Round packed centers and their biases to float32; False if that can not hold them."""
    for i in range(n_centers):
        if not bias[i] < MOST_BIAS:
            return False
    for i in range(len(coarse_bias)):
        coarse_bias[i] = bias[i]
    for i in range(len(coarse_centers)):
        coarse_centers[i] = packed[i]
    return True


def fill_screen(panels: Panels, screen: Screen | None) -> bool:
    """Round the centers of `panels` to float32; False if that can not hold them."""
    assert screen is not None
    return _fill(panels.packed, panels.bias, screen.packed, screen.bias, screen.n_centers)


def screen_reference(panels: Panels, screen: Screen | None) -> Any:
    """To the kernel of :func:`fill_screen`; anything where there is no screen."""
    if screen is None:
        return NOWHERE
    key = panels.packed.dtype
    return reference(_fill, key, panels.packed, panels.bias, screen.packed, screen.bias, 1)
