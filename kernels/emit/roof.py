"""The loop that measures how many multiply-adds a CPU can do."""

from __future__ import annotations

from .cpu import MANY_REGISTERS
from .instructions import emits
from .language import fma, loop

ROOF_CHAINS = 24 if MANY_REGISTERS else 12


@emits(floats="values")
def spin_multiply_adds(values, count):
    """`count` rounds of :data:`ROOF_CHAINS` independent multiply-adds: the arithmetic roof.

    `values` (chains · lanes,) is read and written; a round is ``2 · chains · lanes`` operations.
    """
    places = [i * values.lanes for i in range(ROOF_CHAINS)]
    factor = values.load(aligned=False)

    @loop(count, [values.load(place, aligned=False) for place in places])
    def sums(_, sums):
        return [fma(total, factor, factor) for total in sums]

    for place, total in zip(places, sums, strict=True):
        values.store(place, total, aligned=False)


@spin_multiply_adds.twin
def _(values, count):
    chains = values.reshape(ROOF_CHAINS, -1)
    factor = chains[0].copy()
    for _ in range(count):
        chains[:] = chains * factor + factor
