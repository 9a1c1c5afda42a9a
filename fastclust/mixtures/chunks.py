"""Random responsibilities, drawn for some rows at a time."""

from __future__ import annotations

import numpy as np

from ..kernels.emit.cpu import TILE_ROWS
from ..kernels.gaussian import Densities, Moments, Sweep
from ..kernels.machine.parallel import Team
from ..kernels.records import Array, Rows

# Rows whose random responsibilities are drawn at once, and the most numbers that these are.
CHUNK_ROWS, CHUNK_ELEMENTS = 65_536, 1 << 22


def chunk_rows(n_features: int, n_components: int) -> int:
    """Rows whose responsibilities are drawn at once, in whole tiles."""
    most = CHUNK_ELEMENTS // max(n_features, n_components)
    return max(TILE_ROWS, min(CHUNK_ROWS, most) // TILE_ROWS * TILE_ROWS)


def drawn_moments(
    random_state: np.random.RandomState,
    rows: Rows,
    center: Array,
    components: Densities,
    order: int,
    team: Team,
) -> Moments:
    """Moments of responsibilities that are drawn as scikit-learn draws them."""
    given = random_state.uniform(size=(rows.shape[0], components.n_components))
    given /= given.sum(axis=1, keepdims=True)
    return Sweep(rows, center, team).moments(components, order, given=given)
