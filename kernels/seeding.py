"""Greedy k-means++ with scikit-learn's draws, in one read of the rows that can matter per center.

Arthur, D., Vassilvitskii, S.: k-means++: the advantages of careful seeding. SODA 2007.
Raff, E.: Exact acceleration of k-means++ and k-means||. IJCAI 2021 (the pruning).

For every new center, L candidates are drawn with probability proportional to the squared distance
to the closest center so far, and the one that leaves the smallest potential is kept.  Here

* sums over blocks of rows replace the cumulative sum over all rows: a draw searches the
  block sums and then one block.  Potentials are merged along the tree of :mod:`.slices`, whose
  slices are these blocks;
* one pass tells the rows of the winner of the previous round and evaluates the new candidates;
  rows are read in place, against all candidates side by side (:mod:`.emit.candidates`);
* a row x whose closest center a has ``d(z, a) ≥ 2 d(x, a)`` for every candidate z can not come
  closer to any of them, by the triangle inequality, and is not read.  The test is widened by the
  rounding of the distances, so the choice is the one that would have been made without it.

Distances are in difference form: a row equal to a center has distance zero exactly.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .emit.candidates import (
    PANEL,
    add_gaps,
    add_potentials,
    come_closer,
    list_rows,
    lower_to_candidates,
    n_panels,
)
from .machine.calling import call, offer_tasks, reference
from .machine.compiling import helper, inlined, kernel
from .machine.loops import launch_for
from .machine.parallel import LOOP_WORK, Team, next_task
from .slices import MAX_SLICES, merge_upward
from .tiles import Array, Rows, aligned_empty

# Features below which so many rows share a sum.  A draw reads a block, which should not cost more
# than its share of a round.
BLOCK_ROWS = ((32, 1024), (256, 256), (4096, 64), (np.inf, 16))
CHUNK_ROWS = 64  # rows between two looks at anything but rows
CHUNK_BYTES = 8192  # of rows that are to stay in the first-level cache until they are read again
AHEAD = 16  # rows of which the later ones are fetched early
# Features from which on a panel leaves the second-level cache, and how many of them stay there.
# The distances of such rows to the candidates are kept: there are few beside the features.
WIDE, PART_FEATURES = 4096, 1024
NEARLY_ALL = 0.95  # share of the rows of a block
PATIENCE, MOST_PATIENCE = 4, 32  # rounds


class Candidates(NamedTuple):
    """What one round evaluates."""

    panels: Array  # the candidates; see emit.candidates
    reach: Array  # (k,) squared distance up to which a row stays with that chosen center
    order: Array  # (max(k, block),) int64: 0, 1, 2, …
    spare: Array  # (k,) int32, scratch
    first_lane: int  # of the candidates: after the previous winner, where a panel has room for it


class Rounds(NamedTuple):
    """State carried from round to round."""

    closest: Array  # (n,) squared distance to the closest center that has been applied
    nearest: Array  # (n,) int32, which center that is
    block_sums: Array  # (n_blocks,) weighted sums of `closest`, the latest winner included
    potentials: Array  # (n_blocks, L) the same if a candidate were chosen
    # (n_blocks of all rows, L) these merged: the sums over all rows are in the first line
    merged: Array
    arrivals: Array  # (n_blocks of all rows,); see slices.next_merge
    chosen: Array  # (k,) int64, rows
    centers: Array  # (k, d) their coordinates
    drawn: Array  # (L,) int64, rows
    # (n_blocks, 2) int64: rounds in which all rows of the block are read anyway, and how many such
    # rounds there will be after the next look
    patience: Array


class Seeds(NamedTuple):
    """The rows that are chosen among, and all that is known of them."""

    block_rows: int
    rows: Rows
    candidates: Candidates
    rounds: Rounds


def rows_per_block(n_features: int) -> int:
    """Rows that share a sum: decided by the shape alone."""
    return next(rows for limit, rows in BLOCK_ROWS if n_features < limit)


@inlined
def _keep_best(n_candidates, latest, rounds):
    """Keep the candidate that leaves the smallest potential, the first of several."""
    n_blocks = len(rounds.block_sums)
    best, smallest = 0, np.inf
    for candidate in range(n_candidates):
        if rounds.merged[0, candidate] < smallest:
            best, smallest = candidate, rounds.merged[0, candidate]
    for block in range(n_blocks):
        rounds.block_sums[block] = rounds.potentials[block, best]
    rounds.chosen[latest] = rounds.drawn[best]
    return best


@inlined
def _draw(value, block_rows, rows, candidates, latest, rounds, told):
    """First row at which the cumulative weighted distance reaches `value`.

    The rows of its block, who may not know yet of center `latest`, are told.
    """
    block, last = 0, len(rounds.block_sums) - 1
    while block < last and value > rounds.block_sums[block]:
        value -= rounds.block_sums[block]
        block += 1
    row, stop = block * block_rows, min((block + 1) * block_rows, rows.X.shape[0])
    closest = rounds.closest[row:stop]
    if not told:
        come_closer(
            rows.X[row:stop], candidates.order, 0, stop - row, rounds.centers[latest],
            np.int32(latest), closest, rounds.nearest[row:stop],
        )  # fmt: skip
    weights = rows.weights
    weighted = len(weights) > 0
    total, place = 0.0, 0
    while True:
        own = np.float64(closest[place])
        total += own * np.float64(weights[row + place]) if weighted else own
        if total >= value or row + place + 1 == stop:
            break
        place += 1
    return row + place


@inlined
def _prepare(n, n_chosen, coordinates, candidates, rounds):
    """Pack `n` candidates, and see how far they reach where a block is going to ask."""
    panels, _, _, _, first_lane = candidates
    n_features = coordinates.shape[1]
    count_panels = (first_lane + n + PANEL - 1) // PANEL
    for panel in range(count_panels):
        for t in range(n_features):
            place = (panel * n_features + t) * PANEL
            for lane in range(PANEL):
                j = panel * PANEL + lane - first_lane
                panels[place + lane] = coordinates[j, t] if 0 <= j < n else np.inf
    wanted = False
    for block in range(len(rounds.patience)):
        wanted |= rounds.patience[block, 0] == 0
    if wanted:
        _see_reach(n_chosen, count_panels, candidates, rounds.centers)
    if first_lane > 0:  # only now: it does not keep its own rows from itself
        for t in range(n_features):
            panels[t * PANEL] = rounds.centers[n_chosen - 1, t]


@inlined
def _see_reach(n_chosen, count_panels, candidates, centers):
    """Up to which squared distance each chosen center keeps its rows from all candidates.

    A quarter of the squared distance to the nearest candidate, or to the previous winner, less
    the rounding of both.
    """
    panels, reach, order, spare, _ = candidates
    n_features = centers.shape[1]
    for center in range(n_chosen):
        reach[center] = np.inf
    # Rows of the previous winner itself have been told of it, if there are any yet.
    come_closer(centers, order, 0, n_chosen - 1, centers[n_chosen - 1], np.int32(0), reach, spare)
    for panel in range(count_panels):
        lower_to_candidates(centers, n_chosen, order, panels, panel, reach)
    epsilon = 1.2e-7 if centers.itemsize == 4 else 2.3e-16
    widened = 0.25 * (1.0 - 4.0 * (n_features + 10) * epsilon)
    for center in range(n_chosen):
        reach[center] = max(reach[center] * widened, 0.0)


@helper
def _tell_all(best, latest, gaps, closest, nearest):
    """Tell all rows of center `latest`, whose distances they know as those to candidate `best`."""
    for row in range(len(closest)):
        if gaps[row, best] < closest[row]:
            closest[row], nearest[row] = gaps[row, best], latest


@kernel
def _next_round(uniforms, number, seeds, gaps):
    """Settle round `number` - 1, if there was one, and draw and pack the candidates of this one.

    In the very first, the first center is the only candidate.  Returns the number of candidates,
    none after the last round, and the latest center.
    """
    block_rows, rows, candidates, rounds = seeds
    n_features, n_trials = rows.X.shape[1], uniforms.shape[1]
    latest, best = max(0, number - 1), 0
    if number > 0:
        best = _keep_best(1 if number == 1 else n_trials, latest, rounds)
        if gaps.ndim == 2:
            _tell_all(best, latest, gaps, rounds.closest, rounds.nearest)
    for t in range(n_features):
        rounds.centers[latest, t] = rows.X[rounds.chosen[latest], t]
    n = 0
    if number == 0:
        rounds.drawn[0] = rounds.chosen[0]
        n = 1
    elif number < len(rounds.chosen):
        for j in range(n_trials):
            value = uniforms[number - 1, j] * rounds.merged[0, best]
            rounds.drawn[j] = _draw(
                value, block_rows, rows, candidates, latest, rounds, gaps.ndim == 2
            )
        n = n_trials
    if n > 0:
        coordinates = np.empty((n, n_features), rounds.centers.dtype)
        for j in range(n):
            for t in range(n_features):
                coordinates[j, t] = rows.X[rounds.drawn[j], t]
        _prepare(n, latest + 1, coordinates, candidates, rounds)
    return n, latest


class Read(NamedTuple):
    """The listed rows of a block, as they are met by the candidates."""

    X: Array
    listed: Array
    closest: Array
    factors: Array  # of the rows of a chunk: their weights


@inlined
def _add_wide_potentials(read, first, filled, panels, panel, held, gaps, sums):
    """As :func:`.emit.candidates.add_potentials`, a part of the features of all rows at a time.

    Distances are written to `gaps`; `held` is scratch.
    """
    X, listed, closest, factors = read
    for i in range(filled * PANEL):
        held[i] = 0
    for start in range(0, X.shape[1], PART_FEATURES):
        stop = min(start + PART_FEATURES, X.shape[1])
        add_gaps(X, listed, first, filled, panels, panel, start, stop, held)
    for i in range(filled):
        row = listed[first + i]
        own, factor = closest[row], factors[i]
        for j in range(PANEL):
            gap = held[i * PANEL + j]
            gaps[row, panel * PANEL + j] = gap
            sums[panel * PANEL + j] += factor * np.float64(min(gap, own))


def new_gaps(n_samples: int, n_features: int, n_trials: int, dtype: Any) -> Array:
    """Where :func:`seeding_round` keeps distances of wide rows to candidates, or an empty array.

    Its number of dimensions tells which way is taken; Numba compiles one of the two only.
    """
    shape = (n_samples, n_panels(n_trials) * PANEL) if n_features >= WIDE else 0
    return np.empty(shape, dtype)


@kernel
def seeding_round(counter, gate, n_tasks, first_block, n_candidates, latest, seeds, gaps):
    """One round over the blocks of rows, which may be a part of all, from `first_block` on.

    ``seeds.rounds.potentials`` is written, the winner before applied.  `gaps` are those of
    :func:`new_gaps`; where there are any, the winner has been applied already.
    """
    # Taken out of their tuples here: inside the loops each access would count references.
    block_rows, rows, candidates, rounds = seeds
    X, _, weights = rows
    panels, reach, _, _, first_lane = candidates
    closest, nearest, _, potentials, merged, arrivals, _, centers, _, patience = rounds
    n_samples, n_blocks = X.shape[0], potentials.shape[0]
    chunk, ahead = CHUNK_ROWS, AHEAD
    if (
        gaps.ndim == 1 and first_lane == 0
    ):  # rows are told of the winner apart, a chunk at a time, and so are fetched
        chunk = max(8, min(CHUNK_ROWS, CHUNK_BYTES // (X.itemsize * X.shape[1]) // 8 * 8))
        ahead = chunk
    listed = np.zeros(block_rows + CHUNK_ROWS, np.int64)
    factors, settled = np.ones(CHUNK_ROWS), np.empty(1)
    held = np.empty(CHUNK_ROWS * PANEL, X.dtype)
    sums = np.empty((first_lane + potentials.shape[1] + PANEL - 1) // PANEL * PANEL)
    winner, read = centers[latest], Read(X, listed, closest, factors)
    count_panels = (first_lane + n_candidates + PANEL - 1) // PANEL
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        for block in range(task * n_blocks // n_tasks, (task + 1) * n_blocks // n_tasks):
            start, stop = block * block_rows, min((block + 1) * block_rows, n_samples)
            count = stop - start
            settled[0] = 0.0
            if gaps.ndim == 2:  # rows that are not listed come no closer
                gaps[start:stop] = np.inf
            if patience[block, 0] > 0:  # where all rows mattered, finding out again can wait
                patience[block, 0] -= 1
                for i in range(count + ahead):
                    listed[i] = start + i
            else:
                count = list_rows(
                    start, stop, weights, len(weights) > 0, reach, closest, nearest, listed,
                    settled,
                )  # fmt: skip
                if count > NEARLY_ALL * (stop - start):
                    patience[block, 0] = patience[block, 1]
                    patience[block, 1] = min(2 * patience[block, 1], MOST_PATIENCE)
                else:
                    patience[block, 1] = PATIENCE
            for j in range(len(sums)):
                sums[j] = 0.0
            for first in range(0, count, chunk):
                filled = min(chunk, count - first)
                if gaps.ndim == 1 and first_lane == 0:
                    come_closer(
                        X, listed, first, filled, winner, np.int32(latest), closest, nearest
                    )
                if len(weights):
                    for i in range(filled):
                        factors[i] = weights[listed[first + i]]
                for panel in range(count_panels):
                    if gaps.ndim == 2:
                        _add_wide_potentials(read, first, filled, panels, panel, held, gaps, sums)
                    else:
                        add_potentials(
                            X, listed, first, filled, ahead, panels, panel,
                            np.int32(latest) if panel < first_lane else np.int32(-1), closest,
                            nearest, factors, sums,
                        )  # fmt: skip
            for j in range(n_candidates):
                potentials[block, j] = settled[0] + sums[first_lane + j]
                merged[first_block + block, j] = potentials[block, j]
            merge_upward(first_block + block, len(arrivals), arrivals, merged)


class Calls(NamedTuple):
    """References to the kernels of a round; see :mod:`.machine.calling`."""

    go_on: Any
    read: Any


@helper
def run_rounds(calls, launch, begin, end, uniforms, seeds, gaps):
    """Rounds `begin` to `end`, each pass a launch; the last of all is settled, too."""
    counter, gate, n_tasks, _ = launch
    none = np.int64(0), np.int64(0)
    for number in range(begin, end):
        n_candidates, latest = call(calls.go_on, none, (uniforms, number, seeds, gaps), ())
        offer_tasks(counter)
        arguments = counter, gate, n_tasks, np.int64(0), n_candidates, latest
        call(calls.read, None, arguments, (seeds, gaps))
    if end == len(seeds.rounds.chosen):
        call(calls.go_on, none, (uniforms, end, seeds, gaps), ())


@kernel
def _run_rounds(calls, launch, begin, end, uniforms, seeds, gaps):
    run_rounds(calls, launch, begin, end, uniforms, seeds, gaps)


@helper
def forget_centers(rounds):
    """Begin once more, with no center chosen."""
    rounds.closest[:] = np.inf
    rounds.nearest[:] = 0
    for block in range(len(rounds.patience)):
        rounds.patience[block, 0], rounds.patience[block, 1] = 0, PATIENCE


@kernel
def settle_round(n_candidates, latest, rounds, gaps):
    """Keep the best of the candidates as center `latest`; which one that is."""
    best = _keep_best(n_candidates, latest, rounds)
    if gaps.ndim == 2:
        _tell_all(best, latest, gaps, rounds.closest, rounds.nearest)
    return best


@kernel
def draw_in_block(value, block_rows, rows, candidates, latest, rounds, told):
    """Number of the row drawn in the one block that `rows` and `rounds` are of."""
    return _draw(value, block_rows, rows, candidates, latest, rounds, told)


@kernel
def prepare_round(n, n_chosen, coordinates, candidates, rounds):
    """Pack the `n` candidates of a round, and see how far they reach."""
    _prepare(n, n_chosen, coordinates, candidates, rounds)


def draw_first(rows: Any, random_state: np.random.RandomState) -> int:
    """Row drawn with probability proportional to its weight."""
    return int(first_rows(rows, random_state.random_sample(1))[0])


def first_rows(rows: Any, uniforms: Array) -> Array:
    """Rows drawn with probabilities proportional to their weights.

    The same draws as ``random_state.choice(n, p=weights / weights.sum())``, without its arrays of
    size n where all weights are one.
    """
    n_samples = rows.shape[0]
    if not len(rows.weights):
        return np.minimum((uniforms * n_samples).astype(np.int64), n_samples - 1)
    cumulative = np.cumsum((rows.weights / rows.weights.sum()).astype(np.float64))
    cumulative /= cumulative[-1]
    return np.searchsorted(cumulative, uniforms, side="right").astype(np.int64)


def draw_starts(
    rows: Any, n_starts: int, n_clusters: int, n_trials: int, random_state: np.random.RandomState
) -> tuple[Array, Array]:
    """What :meth:`GreedyKMeansPlusPlus.choose` draws in so many calls: first rows, and uniforms."""
    drawn = random_state.random_sample((n_starts, 1 + (n_clusters - 1) * n_trials))
    uniforms = np.ascontiguousarray(drawn[:, 1:]).reshape(n_starts, n_clusters - 1, n_trials)
    return first_rows(rows, drawn[:, 0]), uniforms


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
        self.rows, self.team, self.n_trials = rows, team, n_trials
        self.gaps = new_gaps(n_samples, n_features, n_trials, dtype)
        self.block_rows = block = rows_per_block(n_features)
        self.n_tasks = min(n_blocks, MAX_SLICES)
        self.work = 2.0 * n_samples * n_features * (n_trials + 1)
        self.candidates = Candidates(
            aligned_empty(n_panels(n_trials) * PANEL * n_features, dtype),
            np.zeros(n_clusters, dtype),
            np.arange(max(n_clusters, block)),
            np.zeros(n_clusters, np.int32),
            1 if n_trials % PANEL and self.gaps.ndim == 1 else 0,
        )
        self.rounds = Rounds(
            np.empty(n_samples, dtype),
            np.empty(n_samples, np.int32),
            np.empty(n_blocks),
            np.empty((n_blocks, n_trials)),
            np.zeros((n_blocks, n_trials)),
            np.zeros(n_blocks, np.int64),
            np.empty(n_clusters, np.int64),
            np.empty((n_clusters, n_features), dtype),
            np.empty(n_trials, np.int64),
            np.empty((n_blocks, 2), np.int64),
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
        rounds = self.rounds
        n_clusters, n_trials = len(rounds.chosen), self.n_trials
        self.reset()
        rounds.chosen[0] = draw_first(self.rows, random_state)
        # One call draws the same stream as scikit-learn's call for each center.
        uniforms = random_state.uniform(size=(n_clusters - 1, n_trials))
        if n_clusters == 1:
            return rounds.chosen.copy()
        at_once = 1 + int(LOOP_WORK / self.work)
        for begin in range(0, n_clusters, at_once):
            _run_rounds(
                self.calls(),
                launch_for(self.team, self.work, self.n_tasks),
                begin,
                min(begin + at_once, n_clusters),
                uniforms,
                self.seeds(),
                self.gaps,
            )
        return rounds.chosen.copy()

    def seeds(self) -> Seeds:
        """The rows, and all that is known of them."""
        return Seeds(self.block_rows, self.rows, self.candidates, self.rounds)

    def calls(self) -> Calls:
        """References to the kernels of a round."""
        gate, key = self.team.gate, (self.rows.dtype, self.gaps.ndim)
        seeds, gaps = self.seeds(), self.gaps
        return Calls(
            reference(_next_round, key, np.empty((1, 1)), 1, seeds, gaps),
            reference(seeding_round, key, gate, gate, 1, 0, 1, 1, seeds, gaps),
        )

    def reset(self) -> None:
        """Forget all centers."""
        self.rounds.closest.fill(np.inf)
        self.rounds.nearest.fill(0)
        self.rounds.patience[:] = 0, PATIENCE
        self.rounds.arrivals.fill(0)
