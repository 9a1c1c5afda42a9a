"""Disjoint sets that any number of threads unite at once.

Anderson, R. J., Woll, H.: Wait-free parallel algorithms for the union-find problem. STOC 1991.

Sets are trees of numbers: ``parents[i]`` is never above `i`, and a root is its own parent.  The
larger of two roots is hung below the smaller one, in one step that fails where another thread was
faster.  So the root of a set is its smallest member whatever the order of the unions.
"""

from __future__ import annotations

import numpy as np

from .emit.unions import find as find
from .machine.atomic import replace_if
from .machine.compiling import helper
from .tiles import Array


def singletons(size: int) -> Array:
    """Parents (int64) of so many sets of one member each."""
    return np.arange(size, dtype=np.int64)


@helper
def unite(parents, a, b):
    """Make one set of those of `a` and `b`."""
    while True:
        a, b = find(parents, a), find(parents, b)
        if a == b:
            return
        if a < b:
            a, b = b, a
        if replace_if(parents, a, a, b):
            return
