"""The one table of exact k-means algorithms; the loop, the tests and the benchmarks read it."""

from __future__ import annotations

from .auto import Auto
from .elkan import Elkan
from .exponion import Exponion
from .hamerly import Hamerly
from .lloyd import Lloyd

ALGORITHMS: dict[str, type[Lloyd]] = {
    "auto": Auto,
    "elkan": Elkan,
    "exponion": Exponion,
    "full": Lloyd,
    "hamerly": Hamerly,
    "lloyd": Lloyd,
}
