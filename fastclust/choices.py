"""The names that parameters take, as types: what an editor completes and a type checker refuses.

What a fit accepts is checked in :mod:`.validation`; a test holds the two together.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Algorithm: TypeAlias = Literal["auto", "lloyd", "full", "elkan", "hamerly", "exponion"]
BatchAlgorithm: TypeAlias = Literal["minibatch", "nested"]
Strategy: TypeAlias = Literal["biggest_inertia", "largest_cluster"]
Covariance: TypeAlias = Literal["full", "tied", "diag", "spherical"]
Responsibilities: TypeAlias = Literal["kmeans", "k-means++", "random", "random_from_data"]
Acceleration: TypeAlias = Literal["squarem"] | None
Starts: TypeAlias = int | Literal["auto"]
