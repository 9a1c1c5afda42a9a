"""k-means on rows that are read block by block: the same bits as on an array.

Every pass has a size of slice that the shape of all rows decides (``kernels.update.slice_rows``
and its like).  The kernels of the passes over arrays are run on each block.  A block is a node of
the tree along which slices are merged (``kernels.slices``): its sum is what a pass over an array
makes of its slices, and the sums of blocks are merged as the rest of the tree says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..kernels.distances import own_inertias
from ..kernels.emit.cpu import TILE_ROWS, round_up
from ..kernels.fingerprint import Fingerprint
from ..kernels.lloyd import Lloyd
from ..kernels.machine.parallel import Team
from ..kernels.moments import moment_slice_rows, moments_of_blocks
from ..kernels.records import PILES, Array, Rows
from ..kernels.rivals import rivals
from ..kernels.seeding import (
    GreedyKMeansPlusPlus,
    Rounds,
    Seeds,
    draw_first,
    draw_in_block,
    prepare_round,
    rows_per_block,
    seeding_round,
    settle_round,
)
from ..kernels.slices import MAX_SLICES, Chain, add, aligned, tree_sum
from ..kernels.tiles import make_rows
from ..kernels.update import Update, make_piles, slice_rows
from ..lloyd_loop import Loop
from .sources import Source

BLOCK_BYTES = 1 << 24


class StreamedRows:
    """What kernels need to know of rows that are not there: their number, and their weights.

    Parameters
    ----------
    source : Source
        Where they come from.
    weights : ndarray of shape (n_samples,) or None
        Their weights.
    """

    def __init__(self, source: Source, weights: Array | None = None) -> None:
        self.source = source
        self.X = source  # for its shape and dtype
        self.shape, self.dtype = source.shape, source.dtype
        self.weights = np.empty(0, source.dtype) if weights is None else weights
        self.loop_class, self.seeding_class = StreamedLoop, StreamedKMeansPlusPlus

    def parts(self, slice_size: int) -> Iterator[tuple[int, Rows]]:
        """All rows in blocks of aligned slices, each with the number of its first row."""
        per_slice = slice_size * self.source.shape[1] * self.source.dtype.itemsize
        size = slice_size * aligned(BLOCK_BYTES // per_slice)
        first = 0
        for block in self.source.blocks(size):
            own = self.weights[first : first + len(block)] if len(self.weights) else None
            yield first, make_rows(block, own)
            first += len(block)

    def moments(self, team: Team, found: Fingerprint | None = None) -> tuple[Array, Array]:
        """Mean and variance of every column; see :func:`.kernels.moments.column_moments`.

        In the same pass the rows are added to the fingerprint `found`.
        """
        size = moment_slice_rows(*self.source.shape)

        def blocks() -> Iterator[Array]:
            for _, rows in self.parts(size):
                if found is not None:
                    found.add(rows.X)
                yield rows.X

        return moments_of_blocks(blocks(), self.source.shape, team)

    def own_distances(
        self,
        shift: Array,
        centers: Array,
        labels: Array,
        team: Team,
        *,
        distances: Array | None = None,
    ) -> float:
        """Inertia; see :func:`.kernels.distances.own_distances`."""
        size = slice_rows(*self.source.shape, 1)
        inertias = []
        for first, rows in self.parts(size):
            here = slice(first, first + len(rows.X))
            own = None if distances is None else distances[here]
            inertias.append(own_inertias(rows, shift, centers, labels[here], team, size, own))
        return float(tree_sum(np.concatenate(inertias)))

    def rivals(
        self, shift: Array, centers: Array, labels: Array, team: Team
    ) -> tuple[Array, Array]:
        """Distances to the own center and the next; see :func:`.kernels.rivals.rivals`."""
        own, rival = np.empty((2, len(self.source)))
        for first, rows in self.parts(slice_rows(*self.source.shape, 1)):
            here = slice(first, first + len(rows.X))
            own[here], rival[here] = rivals(rows, shift, centers, labels[here], team)
        return own, rival


class _StreamedUpdate(Update):
    """Sums of clusters over rows that come in parts; see :class:`.kernels.update.Update`."""

    def __init__(self, rows: StreamedRows, mean: Array, n_clusters: int, team: Team) -> None:
        self.streamed = rows
        self.slice_of_all = slice_rows(*rows.source.shape, n_clusters)
        none = make_rows(np.empty((0, rows.source.shape[1]), rows.source.dtype), rows.weights)
        super().__init__(none, mean, n_clusters, team, self.slice_of_all)
        self.brought: Chain[Array] = Chain(add)  # by the parts of a pass, so far
        if self.mode == PILES:
            self.piles = make_piles(1, n_clusters, rows.source.shape[1])

    def part(self, rows: Rows) -> Update:
        """The same sums, for a pass over some of the rows."""
        n_clusters = len(self.totals.counts)
        part = Update(rows, self.mean, n_clusters, self.team, self.slice_of_all)
        part.totals = self.totals
        return part

    def parts(self) -> Iterator[tuple[int, Rows]]:
        """The rows of each pass."""
        return self.streamed.parts(self.slice_of_all)

    def absorb_part(self, part: Update, labels: Array) -> None:
        """Bring the sums up to date with what a pass over the next part has changed."""
        if self.mode == PILES:
            self.brought.add(part.n_slices, part.piles.records[0].copy())
        else:
            part.absorb(labels)

    def settle(self) -> None:
        """Take what the parts of a pass have brought together for what one slice has."""
        if self.mode == PILES:
            self.piles.records[0] = self.brought.total()
            self.piles.touched[0] = True

    def refresh(self, labels: Array, out: Array) -> None:
        """Sum all clusters afresh, in row order, and write their means to `out`."""
        self.reset()
        for first, rows in self.parts():
            part, own = self.part(rows), labels[first : first + len(rows.X)]
            if self.mode == PILES:
                part.sum_slices(own)
                self.absorb_part(part, own)
            else:
                part.add_all(own)
        self.settle()
        self.average(out)

    def new_centers(self, labels: Array, centers: Array, out: Array) -> tuple[float, int]:
        """Average the sums, which every part has brought up to date; see :class:`Update`."""
        del labels
        return self.average(out, centers)

    def take(self, numbers: Array) -> Array:
        """The listed rows of the data."""
        return self.streamed.source.take(numbers)


class _StreamedLloyd:
    """Lloyd's algorithm on rows that come in parts; see :class:`.kernels.lloyd.Lloyd`."""

    iterates = False

    def __init__(
        self, rows: StreamedRows, mean: Array, n_clusters: int, update: Any, team: Team
    ) -> None:
        self.rows, self.mean, self.update, self.team = rows, mean, update, team
        self.n_clusters = n_clusters
        self.labels = np.full(round_up(rows.source.shape[0], TILE_ROWS), -1, np.int32)
        self.n_distances = 0

    def reset(self) -> None:
        """Forget the labels."""
        self.labels[:] = -1

    def assign(self, centers: Array, *, account: bool = True) -> int:
        """Label every row with its nearest center; number of rows whose label has changed."""
        n_changed = 0
        for first, rows in self.update.parts():
            part = self.update.part(rows)
            lloyd = Lloyd(rows, self.mean, self.n_clusters, part, self.team)
            lloyd.labels = self.labels[first : first + len(lloyd.labels)]
            n_changed += lloyd.assign(centers, account=account)
            if account:
                self.update.absorb_part(part, lloyd.labels)
            self.n_distances += lloyd.n_distances
        if account:
            self.update.settle()
        return n_changed

    def own_distances(self, centers: Array, distances: Array | None = None) -> float:
        """Inertia of the labels; see :meth:`StreamedRows.own_distances`."""
        return self.rows.own_distances(
            self.mean, centers, self.labels, self.team, distances=distances
        )


class StreamedKMeansPlusPlus(GreedyKMeansPlusPlus):
    """Greedy k-means++ that reads all rows once for each center: the draws of an array."""

    rows: Any

    def choose(self, random_state: np.random.RandomState) -> Array:
        """Indices of the rows chosen; see the base class."""
        source, rounds, candidates = self.rows.source, self.rounds, self.candidates
        n_clusters, n_trials = len(rounds.chosen), self.n_trials
        self.reset()
        rounds.chosen[0] = draw_first(self.rows, random_state)
        uniforms = random_state.uniform(size=(n_clusters - 1, n_trials))
        if n_clusters == 1:
            return rounds.chosen.copy()
        rounds.centers[:1] = first = source.take(rounds.chosen[:1])
        rounds.drawn[0] = rounds.chosen[0]
        n_candidates = 1
        prepare_round(n_candidates, 1, first, candidates, rounds)
        self._read(n_candidates, 0)
        best = settle_round(n_candidates, 0, rounds, self.gaps)
        for latest, uniform in enumerate(uniforms):
            drawn = self._draw(uniform * rounds.merged[0, best], latest)
            prepare_round(n_trials, latest + 1, drawn, candidates, rounds)
            self._read(n_trials, latest)
            best = settle_round(n_trials, latest + 1, rounds, self.gaps)
            rounds.centers[latest + 1] = drawn[best]
        return rounds.chosen.copy()

    def _read(self, n_candidates: int, latest: int) -> None:
        """One round over all rows; the winner `latest` is applied to them."""
        per_sum = rows_per_block(self.rows.source.shape[1])
        rounds = self.rounds
        for first, rows in self.rows.parts(per_sum):
            sums = slice(first // per_sum, -(-(first + len(rows.X)) // per_sum))
            part = part_of_rounds(rounds, slice(first, first + len(rows.X)), sums)
            n_tasks = min(len(part.patience), MAX_SLICES)
            self.team.run(
                seeding_round,
                2.0 * rows.X.size * (n_candidates + 1),
                n_tasks,
                sums.start,
                n_candidates,
                latest,
                Seeds(per_sum, rows, self.candidates, part),
                self.gaps[first : first + len(rows.X)],
            )

    def _draw(self, values: Array, latest: int) -> Array:
        """Draw the candidates of a round into ``rounds.drawn``; their coordinates."""
        source, rounds = self.rows.source, self.rounds
        per_sum, n_samples = rows_per_block(source.shape[1]), source.shape[0]
        found = [_find(value, rounds.block_sums) for value in values.tolist()]
        borders = [(b * per_sum, min((b + 1) * per_sum, n_samples)) for b, _ in found]
        coordinates = np.empty((len(found), source.shape[1]), source.dtype)
        for j, ((block, value), (start, stop), X) in enumerate(
            zip(found, borders, source.ranges(borders), strict=True)
        ):
            weights = self.rows.weights[start:stop] if len(self.rows.weights) else None
            part = part_of_rounds(rounds, slice(start, stop), slice(block, block + 1))
            row = draw_in_block(
                value, per_sum, make_rows(X, weights), self.candidates, latest, part,
                self.gaps.ndim == 2,
            )  # fmt: skip
            rounds.drawn[j] = start + row
            coordinates[j] = X[row]
        return coordinates


def part_of_rounds(rounds: Rounds, rows: slice, sums: slice) -> Rounds:
    """The state of some of the rows and of their sums."""
    return rounds._replace(
        closest=rounds.closest[rows],
        nearest=rounds.nearest[rows],
        block_sums=rounds.block_sums[sums],
        potentials=rounds.potentials[sums],
        patience=rounds.patience[sums],
    )


def _find(value: float, block_sums: Array) -> tuple[int, float]:
    """Block in which the cumulative sum reaches `value`, and what is left of it there."""
    sums = block_sums.tolist()
    block = 0
    while block < len(sums) - 1 and value > sums[block]:
        value -= sums[block]
        block += 1
    return block, value


class StreamedLoop(Loop):
    """THE iteration loop, on rows that are read block by block."""

    rows: Any
    algorithm: Any

    def _equip(self, algorithm: type[Any], n_clusters: int) -> None:
        del algorithm  # all give the same bits
        self.seeding = StreamedKMeansPlusPlus
        self.update = _StreamedUpdate(self.rows, self.mean, n_clusters, self.team)
        self.algorithm = _StreamedLloyd(self.rows, self.mean, n_clusters, self.update, self.team)

    def centred(self, indices: Array) -> Array:
        """Rows of the data as centers to start from."""
        source = self.rows.source
        return source.take(indices) - self.mean[: source.shape[1]]


def streamed_labels(rows: StreamedRows, shift: Array, centers: Array, team: Team) -> Array:
    """Nearest of centred `centers` for every row."""
    update = _StreamedUpdate(rows, shift, len(centers), team)
    lloyd = _StreamedLloyd(rows, shift, len(centers), update, team)
    lloyd.assign(centers, account=False)
    return lloyd.labels[: len(rows.source)]
