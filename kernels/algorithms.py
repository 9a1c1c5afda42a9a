"""The one table of exact k-means algorithms; the loop, the tests and the benchmarks read it."""

from __future__ import annotations

from typing import Any

from .auto import Auto
from .elkan import Elkan
from .hamerly import Hamerly
from .lloyd import Lloyd
from .seeding import GreedyKMeansPlusPlus
from .sparse import SparseLloyd, SparseRows
from .sparse_seeding import SparseKMeansPlusPlus
from .tiles import Rows

# "full" and "exponion" are old names.
ALGORITHMS: dict[str, type[Lloyd]] = {
    "auto": Auto,
    "elkan": Elkan,
    "exponion": Hamerly,
    "full": Lloyd,
    "hamerly": Hamerly,
    "lloyd": Lloyd,
}


def algorithm_for(rows: Rows | SparseRows, name: str) -> type[Any]:
    """Class that assigns `rows`; sparse ones have one algorithm for all names."""
    return SparseLloyd if isinstance(rows, SparseRows) else ALGORITHMS[name]


def seeding_for(rows: Rows | SparseRows) -> type[Any]:
    """Class that chooses among `rows` by greedy k-means++."""
    return SparseKMeansPlusPlus if isinstance(rows, SparseRows) else GreedyKMeansPlusPlus
