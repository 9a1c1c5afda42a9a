"""Which worker holds which rows: ranges whose sums are few nodes of the tree of slices.

A pass cuts rows into slices by the shape of all of them (:mod:`fastclust.kernels.slices`), and
different passes have slices of different sizes.  A slice belongs to the worker in whose range its
first row is; the worker also holds the rows behind its range that its last slices reach into, at
most a slice.  So nobody needs a row of a neighbour, in no pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

TOLERANCE = 0.04  # of its share, by which a range may be shorter or longer to be of fewer nodes


class Share(NamedTuple):
    """Rows of one worker among all: it owns ``first`` to ``stop`` and holds those to ``end``."""

    first: int
    stop: int
    end: int
    n_samples: int
    n_features: int

    def slices(self, size: int) -> tuple[int, int]:
        """Numbers of the first slice of `size` rows that it owns, and of the first behind them."""
        return -(-self.first // size), -(-self.stop // size)

    def rows(self, size: int, begin: int, end: int) -> slice:
        """Where the rows of slices `begin` to `end` are among those that it holds."""
        return slice(begin * size - self.first, min(end * size, self.n_samples) - self.first)


def nodes(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Aligned ranges of which slices `begin` to `end` consist: first slices, and how many."""
    while begin < end:
        size = 1 << ((end - begin).bit_length() - 1)
        if begin:
            size = min(size, begin & -begin)
        yield begin, size
        begin += size


def shares(
    shape: tuple[int, int], main: int, others: Sequence[int], weights: Sequence[float]
) -> list[Share]:
    """Cut rows into ranges for workers, in their order.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    main : int
        Rows of a slice of the pass that takes most of the time: ranges begin at its slices.
    others : sequence of int
        Rows of a slice in all other passes.
    weights : sequence of float
        How much each worker is to have, in any unit.  Where there are fewer slices than workers,
        the last ones have none.
    """
    n_samples, n_features = shape
    n_slices = -(-n_samples // main)
    step, borders, done = n_slices / len(weights), [0], 0.0
    for weight in weights[:-1]:
        done += weight
        border = _round(n_slices * done / sum(weights), step * TOLERANCE)
        if borders[-1] < border < n_slices:
            borders.append(border)
    borders.append(n_slices)
    found = []
    for begin, end in itertools.pairwise(borders):
        stop = min(end * main, n_samples)
        last = max(-(-stop // size) * size for size in (main, *others))
        found.append(Share(begin * main, stop, min(last, n_samples), n_samples, n_features))
    return found


def _round(wanted: float, slack: float) -> int:
    """The multiple of the largest power of two that is near enough."""
    power = 1 << max(0, int(wanted)).bit_length()
    while power > 1:
        border = round(wanted / power) * power
        if abs(border - wanted) <= slack:
            return border
        power //= 2
    return round(wanted)
