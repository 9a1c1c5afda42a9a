"""The one table of exact k-means algorithms; the loop, the tests and the benchmarks read it."""

from __future__ import annotations

from .elkan import Elkan
from .lloyd import Lloyd

ALGORITHMS: dict[str, type[Lloyd]] = {
    "auto": Lloyd,
    "elkan": Elkan,
    "full": Lloyd,
    "lloyd": Lloyd,
}
