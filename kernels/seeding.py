"""Greedy k-means++ with scikit-learn's draws, in one read of the rows that can matter per center.

Arthur, D., Vassilvitskii, S.: k-means++: the advantages of careful seeding. SODA 2007.
Raff, E.: Exact acceleration of k-means++ and k-means||. IJCAI 2021 (the pruning).

For every new center, L candidates are drawn with probability proportional to the squared distance
to the closest center so far, and the one that leaves the smallest potential is kept.  Here

* sums over blocks of rows replace the cumulative sum over all rows: a draw searches the
  block sums and then one block;
* one pass applies the winner of the previous round and evaluates the new candidates together;
* a row x whose closest center a has ``d(z, a) ≥ 2 d(x, a)`` for every candidate z can not come
  closer to any of them, by the triangle inequality, and is not read.  The test is widened by the
  rounding of the distances, so the choice is the one that would have been made without it.

Distances are in difference form: a row equal to a center has distance zero exactly.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .compiling import helper, inlined, kernel, vector_sum
from .parallel import Team, enter, leave, next_task
from .simd import (
    NARROW,
    TILE_ROWS,
    WIDE,
    center_groups,
    distances_in_tile,
    lanes,
    pack_listed_rows,
    pack_rows,
)
from .tiles import Array, Rows, aligned_empty, pack_centers, padded_vector, scratch

# Rows per sum, multiples of the tile.  A draw reads half a block, which should not cost more than
# its share of a round.
BLOCK_ROWS, BLOCK_ROWS_HIGH, HIGH = 1024, 256, 32
MAX_TASKS = 256
MOSTLY, NEARLY_ALL = 0.6, 0.95  # shares of the rows of a block
PATIENCE = 4  # rounds
FEW_FEATURES = 4  # up to here, listed rows are transposed one number at a time


class Candidates(NamedTuple):
    """What one round evaluates: the winner of the round before (column 0) and the candidates."""

    n_wide: int
    n_narrow: int
    packed: Array  # all of them, as the tile wants them
    bias: Array  # unused by distances; packing fills it
    reach: Array  # (k,) squared distance up to which a row stays with that chosen center


class Rounds(NamedTuple):
    """State carried from round to round."""

    closest: Array  # (n,) squared distance to the closest center that has been applied
    nearest: Array  # (n,) int32, which center that is
    block_sums: Array  # (n_blocks,) weighted sums of `closest`, the latest winner included
    potentials: Array  # (n_blocks, L) the same if a candidate were chosen
    chosen: Array  # (k,) int64, rows
    centers: Array  # (k, d) their coordinates
    drawn: Array  # (L,) int64, rows
    patience: Array  # (n_blocks,) int64, rounds in which all rows of the block are read anyway


def rows_per_block(n_features: int) -> int:
    """Rows that share a sum: decided by the shape alone."""
    return BLOCK_ROWS if n_features < HIGH else BLOCK_ROWS_HIGH


@vector_sum
def _squared_gap(a, b):
    """Squared distance of two vectors, in their own precision."""
    total = a[0] - a[0]  # zero, of their type
    for t in range(len(a)):
        difference = a[t] - b[t]
        total += difference * difference
    return total


@vector_sum
def _weighted_minima(own, column, offset, weight):
    """``sum(weight * min(own, column[offset:]))`` over the rows of a tile."""
    total = 0.0
    for i in range(TILE_ROWS):
        other = column[offset + i]
        total += np.float64(other if other < own[i] else own[i]) * np.float64(weight[i])
    return total


@vector_sum
def _settled(start, stop, weights, reach, closest, nearest):
    """Weighted sum of the distances of the rows that no candidate can come closer to."""
    total = 0.0
    weighted = len(weights) > 0
    for row in range(start, stop):
        own = closest[row]
        weight = np.float64(weights[row]) if weighted else 1.0
        total += 0.0 if own > reach[nearest[row]] else np.float64(own) * weight
    return total


@helper
def _pack_list(X, tile, zero, packed):
    """Pack 64 listed rows of `X`."""
    n_features = X.shape[1]
    if n_features > FEW_FEATURES:
        pack_listed_rows(X, tile, 0, n_features, zero, packed)
    else:
        for i in range(TILE_ROWS):
            row = tile[i]
            for t in range(n_features):
                packed[t * TILE_ROWS + i] = X[row, t]


@helper
def _apply_winner(own, near, distances, latest):
    """Bring 64 rows to the previous winner (the first column) where it is closer; how many."""
    came = 0
    for i in range(TILE_ROWS):
        closer = distances[i] < own[i]
        near[i] = latest if closer else near[i]
        own[i] = distances[i] if closer else own[i]
        came += closer
    return came


@helper
def _list_rows(start, stop, reach, closest, nearest, listed):
    """List the rows of a block that a candidate may come closer to; their number."""
    count = 0
    for row in range(start, stop):
        listed[count] = row
        count += closest[row] > reach[nearest[row]]
    return count


@kernel
def _pass(
    counter, gate, n_tasks, block_rows, rows, zero, candidates, n_candidates, latest, rounds
):  # fmt: skip
    """One round over all blocks; ``rounds.potentials`` is written, the winner before applied."""
    enter(counter, gate)
    # Taken out of their tuples here: inside the loops each access would count references.
    X, _, weights = rows
    n_wide, n_narrow, packed_candidates, _, reach = candidates
    closest, nearest, _, potentials, _, _, _, patience = rounds
    n_samples, n_features = X.shape
    packed = scratch(zero, len(zero) * TILE_ROWS)
    columns = WIDE * n_wide + NARROW * n_narrow
    distances = scratch(zero, columns * TILE_ROWS)
    listed = np.empty(block_rows + 1, np.int64)
    own, weight = np.empty(TILE_ROWS, zero.dtype), np.ones(TILE_ROWS, zero.dtype)
    # One vector more than a tile: rows that pack_listed_rows fetches early, here none.
    tile = np.zeros(2 * TILE_ROWS, np.int64)
    near = np.empty(TILE_ROWS, np.int32)
    n_blocks = potentials.shape[0]
    while True:
        task = next_task(counter)
        if task >= n_tasks:
            break
        for block in range(task * n_blocks // n_tasks, (task + 1) * n_blocks // n_tasks):
            start, stop = block * block_rows, min((block + 1) * block_rows, n_samples)
            # Reading all rows in order costs less than picking out most of them; and where all
            # have mattered, finding out again can wait.
            everything = patience[block] > 0
            count = stop - start
            if everything:
                patience[block] -= 1
            else:
                count = _list_rows(start, stop, reach, closest, nearest, listed)
                everything = count > MOSTLY * (stop - start)
                if count > NEARLY_ALL * (stop - start):
                    patience[block] = PATIENCE
            settled = 0.0
            if everything:
                count = stop - start
            else:
                settled = _settled(start, stop, weights, reach, closest, nearest)
            for j in range(n_candidates):
                potentials[block, j] = settled
            for first in range(0, count, TILE_ROWS):
                filled = min(TILE_ROWS, count - first)
                if not everything or filled < TILE_ROWS:
                    for i in range(TILE_ROWS):  # the last row stands in where there are no more
                        place = min(first + i, count - 1)
                        tile[i] = start + place if everything else listed[place]
                    _pack_list(X, tile, zero, packed)
                    for i in range(TILE_ROWS):
                        own[i], near[i] = closest[tile[i]], nearest[tile[i]]
                else:
                    base = start + first
                    pack_rows(X, X, base, zero, packed)
                    for i in range(TILE_ROWS):
                        own[i] = closest[base + i]
                        near[i] = nearest[base + i]
                        tile[i] = base + i
                distances_in_tile(
                    packed, packed_candidates, n_wide, n_narrow, n_features, distances
                )
                if len(weights):
                    for i in range(TILE_ROWS):
                        weight[i] = weights[tile[i]]
                for i in range(filled, TILE_ROWS):
                    weight[i] = 0.0
                if _apply_winner(own, near, distances, np.int32(latest)):
                    for i in range(filled):
                        closest[tile[i]], nearest[tile[i]] = own[i], near[i]
                for j in range(n_candidates):
                    potentials[block, j] += _weighted_minima(
                        own, distances, (j + 1) * TILE_ROWS, weight
                    )
                for i in range(filled, TILE_ROWS):
                    weight[i] = 1.0
    leave(counter, gate)


@inlined
def _keep_best(n_candidates, latest, rounds):
    """Keep the candidate that leaves the smallest potential, the first of several."""
    n_blocks = len(rounds.block_sums)
    best, smallest = 0, np.inf
    for candidate in range(n_candidates):
        total = 0.0
        for block in range(n_blocks):
            total += rounds.potentials[block, candidate]
        if total < smallest:
            best, smallest = candidate, total
    for block in range(n_blocks):
        rounds.block_sums[block] = rounds.potentials[block, best]
    rounds.chosen[latest] = rounds.drawn[best]
    return best


@inlined
def _draw(value, block_rows, rows, latest, rounds):
    """First row at which the cumulative weighted distance reaches `value`.

    The rows of its block may not know yet of center `latest`.
    """
    block, last = 0, len(rounds.block_sums) - 1
    while block < last and value > rounds.block_sums[block]:
        value -= rounds.block_sums[block]
        block += 1
    row, stop = block * block_rows, min((block + 1) * block_rows, rows.X.shape[0])
    total = 0.0
    while True:
        square = _squared_gap(rows.X[row], rounds.centers[latest])
        own = np.float64(min(square, rounds.closest[row]))
        total += own * np.float64(rows.weights[row]) if len(rows.weights) else own
        if total >= value or row + 1 == stop:
            break
        row += 1
    return row


@inlined
def _see_reach(n, n_chosen, coordinates, reach, centers):
    """Per chosen center: up to which squared distance from it no candidate can matter.

    A quarter of the squared distance to the nearest candidate, less the rounding of both.
    """
    n_features = coordinates.shape[1]
    epsilon = 1.2e-7 if coordinates.itemsize == 4 else 2.3e-16
    widened = 0.25 * (1.0 - 4.0 * (n_features + 8) * epsilon)
    for center in range(n_chosen):
        smallest = np.inf
        # Rows of the previous winner itself have been told of it, if there are any yet.
        for j in range(0 if center < n_chosen - 1 else 1, n + 1):
            smallest = min(smallest, np.float64(_squared_gap(centers[center], coordinates[j])))
        reach[center] = max(smallest * widened, 0.0)


@kernel
def _next_round(uniforms, n_candidates, n_chosen, size, block_rows, rows, candidates, rounds):
    """Settle a round of `n_candidates`, then draw and pack the candidates of the next one.

    `n_chosen` counts the center that is settled now.  Without `uniforms` the next round is the
    very first, in which the first center is the only candidate.
    """
    n_features = rows.X.shape[1]
    latest = n_chosen - 1
    if n_candidates > 0:
        _keep_best(n_candidates, latest, rounds)
    for t in range(n_features):
        rounds.centers[latest, t] = rows.X[rounds.chosen[latest], t]
    if n_chosen == len(rounds.chosen) and n_candidates > 0:
        return
    n = max(1, len(uniforms))
    rounds.drawn[0] = rounds.chosen[0]
    total = 0.0
    for block in range(len(rounds.block_sums)):
        total += rounds.block_sums[block]
    for j in range(len(uniforms)):
        rounds.drawn[j] = _draw(uniforms[j] * total, block_rows, rows, latest, rounds)
    coordinates = np.empty((n + 1, n_features), rounds.centers.dtype)
    for t in range(n_features):
        coordinates[0, t] = rounds.centers[latest, t]
        for j in range(n):
            coordinates[j + 1, t] = rows.X[rounds.drawn[j], t]
    pack_centers(
        coordinates, False, candidates.n_wide, candidates.n_narrow, size, candidates.packed,
        candidates.bias,
    )  # fmt: skip
    _see_reach(n, n_chosen, coordinates, candidates.reach, rounds.centers)


@kernel
def settle_round(n_candidates, latest, rounds):
    """Keep the best of the candidates as center `latest`; which one that is."""
    return _keep_best(n_candidates, latest, rounds)


@kernel
def draw_in_block(value, block_rows, rows, latest, rounds):
    """Number of the row drawn in the one block that `rows` and `rounds` are of."""
    return _draw(value, block_rows, rows, latest, rounds)


@kernel
def prepare_round(n, n_chosen, coordinates, size, candidates, rounds):
    """Pack the previous winner and the `n` candidates of a round, and see how far they reach."""
    pack_centers(
        coordinates, False, candidates.n_wide, candidates.n_narrow, size, candidates.packed,
        candidates.bias,
    )  # fmt: skip
    _see_reach(n, n_chosen, coordinates, candidates.reach, rounds.centers)


def draw_first(rows: Any, random_state: np.random.RandomState) -> int:
    """Row drawn with probability proportional to its weight.

    The same draw as ``random_state.choice(n, p=weights / weights.sum())``, without its arrays of
    size n where all weights are one.
    """
    n_samples = rows.shape[0]
    uniform = random_state.random_sample()
    if not len(rows.weights):
        return min(int(uniform * n_samples), n_samples - 1)
    cumulative = np.cumsum((rows.weights / rows.weights.sum()).astype(np.float64))
    cumulative /= cumulative[-1]
    return int(np.searchsorted(cumulative, uniform, side="right"))


class GreedyKMeansPlusPlus:
    """Chooses rows by greedy k-means++, as often as asked, in the same buffers.

    Parameters
    ----------
    rows : Rows
        The data.
    n_clusters : int
        Number of centers, at most the number of rows.
    team : Team
        Threads to run on.
    n_local_trials : int, optional
        Candidates per center, by default ``2 + int(log(n_clusters))``.
    """

    def __init__(
        self, rows: Rows, n_clusters: int, team: Team, n_local_trials: int | None = None
    ) -> None:
        n_samples, n_features = rows.X.shape
        dtype = rows.X.dtype
        n_trials = 2 + int(np.log(n_clusters)) if n_local_trials is None else n_local_trials
        n_blocks = -(-n_samples // rows_per_block(n_features))
        n_wide, n_narrow = center_groups(n_trials + 1)
        padded = WIDE * n_wide + NARROW * n_narrow
        self.rows, self.team, self.n_trials = rows, team, n_trials
        self.zero = padded_vector(np.zeros(n_features), dtype)
        self.candidates = Candidates(
            n_wide,
            n_narrow,
            aligned_empty(padded * n_features, dtype),
            aligned_empty(padded, dtype),
            np.zeros(n_clusters),
        )
        self.rounds = Rounds(
            np.empty(n_samples, dtype),
            np.empty(n_samples, np.int32),
            np.empty(n_blocks),
            np.empty((n_blocks, n_trials)),
            np.empty(n_clusters, np.int64),
            np.empty((n_clusters, n_features), dtype),
            np.empty(n_trials, np.int64),
            np.empty(n_blocks, np.int64),
        )

    def choose(self, random_state: np.random.RandomState) -> Array:
        """Indices of the rows chosen.

        Parameters
        ----------
        random_state : numpy.random.RandomState
            Drawn from exactly as scikit-learn does.

        Returns
        -------
        ndarray of shape (n_clusters,), int64
            The same for any number of threads.
        """
        rows, candidates, rounds, zero = self.rows, self.candidates, self.rounds, self.zero
        n_clusters, n_trials = len(rounds.chosen), self.n_trials
        rounds.closest.fill(np.inf)
        rounds.nearest.fill(0)
        rounds.patience.fill(0)
        rounds.chosen[0] = draw_first(rows, random_state)
        # One call draws the same stream as scikit-learn's call for each center.
        uniforms = random_state.uniform(size=(n_clusters - 1, n_trials))
        if n_clusters == 1:
            return rounds.chosen.copy()
        work = 2.0 * rows.X.size * (n_trials + 1)
        n_tasks = min(len(rounds.patience), MAX_TASKS)
        size, settled, none = lanes(zero.dtype), 0, np.empty(0)
        block = rows_per_block(rows.X.shape[1])
        for latest, uniform in enumerate([none, *uniforms]):
            n_chosen = max(1, latest)
            _next_round(uniform, settled, n_chosen, size, block, rows, candidates, rounds)
            settled = max(1, len(uniform))
            arguments = (block, rows, zero, candidates, settled, n_chosen - 1, rounds)
            self.team.run(_pass, work, n_tasks, *arguments)
        _next_round(none, settled, n_clusters, size, block, rows, candidates, rounds)
        return rounds.chosen.copy()
