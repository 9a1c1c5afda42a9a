"""What is asked about a mask of 64 rows beside those that it names."""

from __future__ import annotations

from numba import types

from .instructions import emits


@emits(types.int64, mask="mask")
def count_bits(mask):
    """Number of the bits that are set."""
    return mask.ones()


@count_bits.twin
def _(mask):
    return int(mask).bit_count()
