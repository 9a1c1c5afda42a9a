"""What the ways to DBSCAN's clusters share: what is asked for, the result, how it is numbered."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .machine.compiling import kernel
from .tiles import Array, read_only

# What a row is that is no core (1): noise (0), or a row that has a neighbour beside itself; and
# where the rounding of a sum of weights would decide.
BORDER_MAYBE, UNDECIDED = 2, 3


class Numbers(NamedTuple):
    """What kernels know of a problem."""

    min_samples: float
    doubt: float  # sums of weights that are as near min_samples are undecided; -1 for none
    weights: Array  # (n,) float64, or empty for weights of one


class Problem(NamedTuple):
    """What makes a row core: the number, or the weight, of its neighbours."""

    min_samples: int
    weights: Array | None  # (n,) float64
    ask: Callable[[Array], Array] | None = None  # whether the rows of these numbers are core
    doubt: float = 1e-12  # what rounding may do to sums of weights, as a share of the sum of all

    def numbers(self) -> Numbers:
        """For kernels."""
        least = float(self.min_samples)
        if self.weights is None:
            return Numbers(least, -1.0, read_only(np.empty(0)))
        whole = np.array_equal(self.weights, np.floor(self.weights))
        total = float(np.abs(self.weights).sum())
        exact = whole and total < 2.0**53
        return Numbers(least, -1.0 if exact else self.doubt * total, read_only(self.weights))

    def decide(self, core: Array, order: Array) -> bool:
        """Ask about the rows that are undecided; whether there were any."""
        places = np.flatnonzero(core == UNDECIDED)
        if len(places):
            assert self.ask is not None
            core[places] = np.where(self.ask(order[places]), 1, BORDER_MAYBE)
        return len(places) > 0


class Clusters(NamedTuple):
    """Cluster of each row, -1 for noise, and which rows are core."""

    labels: Array
    cores: Array

    @classmethod
    def of(cls, labels: Array, core: Array, order: Array) -> Clusters:
        """From labels by row, and what rows are in another order."""
        cores = np.empty(len(labels), bool)
        cores[order] = core == 1
        return cls(labels, cores)


@kernel
def _number(labels, numbers):
    count = np.int64(0)
    for row in range(len(labels)):
        root = labels[row]
        if root >= 0:
            if numbers[root] < 0:
                numbers[root] = count
                count += 1
            labels[row] = numbers[root]


def number_clusters(labels: Array, n_roots: int) -> Array:
    """Number clusters by their first core rows: `labels` (n,) holds roots, or -1.

    Returns the number of each root's cluster (n_roots,), -1 for what is no root.
    """
    numbers = np.full(n_roots, -1, np.int64)
    _number(labels, numbers)
    return numbers
