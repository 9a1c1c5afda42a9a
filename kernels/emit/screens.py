"""Which rows a float32 search leaves in doubt; see :mod:`fastclust.kernels.screening`."""

from __future__ import annotations

import numpy as np
from numba import types

from .cpu import TILE_ROWS
from .instructions import emits, mask_of
from .language import fma, loop

LEAST_SCORE = np.float32(1e-36)  # what a score may be off by, however small all terms are


def is_sure(norm, best, second, slack, least):
    """Mask of the rows whose two smallest scores are farther apart than both may be wrong."""
    by_norm, by_score, rest = (
        norm.kind.splat(value * factor)
        for value, factor in ((slack, 9.0), (slack, 8.0), (least, 2.0))
    )
    error = fma(by_norm, norm, fma(by_score, second, rest))
    # Not where anything is infinite or no number.
    return second - best > error


@emits(types.uint64, floats="packed best second norms", real="slack least")
def doubtful_rows(packed, n_features, best, second, slack, least, norms):
    """64-bit mask of the packed rows whose two smallest scores may be in the wrong order.

    A score may be off by ``slack · (4.5 |x|² + 4 · second) + least``, and by anything where |x|²
    is infinite.  `norms` (64,) receives |x|².
    """
    packed, best, second = (each.in_lanes(TILE_ROWS) for each in (packed, best, second))

    @loop(n_features, packed.kind(0.0))
    def norm(t, total):
        values = packed.load(t * TILE_ROWS, aligned=False)
        return fma(values, values, total)

    norms.store(0, norm, aligned=False)
    nearest, runner_up = (scores.load(aligned=False) for scores in (best, second))
    return (~is_sure(norm, nearest, runner_up, slack, least)).mask()


@doubtful_rows.twin
def _(packed, n_features, best, second, slack, least, norms):
    with np.errstate(over="ignore", invalid="ignore"):
        norms[:] = (packed.reshape(-1, 64)[:n_features] ** 2).sum(axis=0)
        error = slack * (9 * norms + 8 * second) + 2 * least
        sure = second - best > error
    return mask_of(~sure)
