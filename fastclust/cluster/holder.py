"""What a worker does with the rows that it holds: the passes of all fits, a call each.

A call gives sums of the worker's own slices, as few nodes of the tree along which all slices are
merged (:mod:`fastclust.kernels.slices`).  What belongs to single rows stays here: their labels, the
bounds of an algorithm, how near the centers of k-means++ have come.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..centroids import assigned
from ..kernels.algorithms import ALGORITHMS
from ..kernels.distances import own_inertias
from ..kernels.fingerprint import slice_digests
from ..kernels.gaussian import Densities, Moments, Sweep, sweep_rows
from ..kernels.machine.parallel import Team
from ..kernels.moments import Node, moment_slice_rows, node_of_blocks
from ..kernels.records import PILES, Array, Rows
from ..kernels.seeding import (
    GreedyKMeansPlusPlus,
    Seeds,
    draw_in_block,
    prepare_round,
    rows_per_block,
    seeding_round,
    settle_round,
)
from ..kernels.slices import MAX_SLICES, tree_sum
from ..kernels.tiles import ALIGNMENT, aligned_empty, make_rows
from ..kernels.update import Update, slice_rows
from ..mixtures.chunks import drawn_moments
from ..oversampling import Part
from ..rows.streaming import part_of_rounds
from ..serving import Centers
from .layout import Share, nodes
from .vectors import Pieces, pieces


class Brought(NamedTuple):
    """What some slices have brought to clusters: numbers of these, and a record of each."""

    n_slices: int
    clusters: Array
    records: Array


class Drawn(NamedTuple):
    """Candidates on their way along the holders: what is left of each value, and what was found."""

    values: Array
    rows: Array  # -1 where it is still to come
    coordinates: Array


class _Part(NamedTuple):
    """A node of slices of an assignment."""

    n_slices: int
    rows: Rows
    update: Update
    algorithm: Any

    @property
    def labels(self) -> Array:
        """Of its rows."""
        labels: Array = self.algorithm.labels[: len(self.rows.X)]
        return labels


class _Loop:
    """The assignment that a loop is at: its parts, and the centers of the last labels."""

    def __init__(self, parts: list[_Part], place: slice, mean: Array) -> None:
        self.parts, self.place, self.mean = parts, place, mean
        self.centers: Array | None = None

    def labels(self) -> Array:
        """Of all rows in the parts."""
        return np.concatenate([np.empty(0, np.int32), *(part.labels for part in self.parts)])


class Oversampling(NamedTuple):
    """Rows of whole slices, the number of their first one, and what they know of candidates."""

    first: int
    rows: Rows
    part: Part


class Holder:
    """Some of the rows of a fit, with all that belongs to them.

    Parameters
    ----------
    share : Share
        Which rows.
    X : ndarray of shape (rows held, n_features), C-contiguous
        These rows.
    weights : ndarray of shape (rows held,) or None
        Their weights, of the dtype of the rows.
    n_threads : int
        Threads of this worker.
    """

    def __init__(self, share: Share, X: Array, weights: Array | None, n_threads: int = 1) -> None:
        self.share, self.dtype, self.n_threads = share, X.dtype, n_threads
        self.team = Team(n_threads - 1)
        self._held = {X.dtype: make_rows(X, weights)}
        self._loops: dict[str, _Loop] = {}
        self._kept: dict[str, tuple[Array, Array]] = {}  # labels of the place of a loop
        self._seedings: dict[str, GreedyKMeansPlusPlus] = {}
        self._oversamplings: dict[str, Oversampling] = {}

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """What the method of this name gives."""
        return getattr(self, method)(*landed(arguments))

    def forget(self, subject: str) -> None:
        """Let go of what belongs to a subject."""
        for named in (self._loops, self._kept, self._seedings, self._oversamplings):
            named.pop(subject, None)

    # Rows.

    def rows(self, dtype: Any) -> Rows:
        """All rows that are held, in this dtype."""
        dtype = np.dtype(dtype)
        if dtype not in self._held:
            X, _, weights = self._held[self.dtype]
            own = weights.astype(dtype) if len(weights) else None
            self._held[dtype] = make_rows(X.astype(dtype), own)
        return self._held[dtype]

    def _some(self, dtype: Any, place: slice) -> Rows:
        """Adjacent rows."""
        X, _, weights = self.rows(dtype)
        return make_rows(X[place], weights[place] if len(weights) else None)

    def _nodes(self, dtype: Any, size: int) -> Iterator[tuple[int, slice, Rows]]:
        """Nodes of the slices of a pass: how many slices, where the rows are, and the rows."""
        for begin, count in nodes(*self.share.slices(size)):
            place = self.share.rows(size, begin, begin + count)
            yield count, place, self._some(dtype, place)

    def take(self, numbers: Array, dtype: Any) -> Array:
        """The numbered rows."""
        return self.rows(dtype).X[numbers]

    def take_weights(self, numbers: Array, dtype: Any) -> Array:
        """The weights of the numbered rows."""
        return self.rows(dtype).weights[numbers]

    def _own_weights(self, dtype: Any) -> Array:
        return self.rows(dtype).weights[: self.share.stop - self.share.first]

    def weights_seen(self) -> tuple[float, float, int]:
        """Smallest and largest weight, and how many are above zero."""
        own = self._own_weights(self.dtype)
        return float(own.min()), float(own.max()), int(np.count_nonzero(own))

    def weight_pieces(self, dtype: Any, as_float64: bool) -> Pieces:
        """Of the sum of weights that NumPy gives for all; see :mod:`.vectors`."""
        own, wide = self._own_weights(dtype), as_float64 and np.dtype(dtype) != np.float64
        own = own.astype(np.float64) if wide else own
        return pieces(own, self.share.first, self.share.n_samples, chunked=wide)

    def cumulate(self, reached: float, total: Any, dtype: Any) -> float:
        """What the cumulative probabilities of the rows end at that began at `reached`."""
        return float(self._cumulated(reached, total, dtype)[-1])

    def find(self, uniform: float, reached: float, last: float, total: Any, dtype: Any) -> int:
        """Row at whose cumulative probability a draw arrives."""
        sums = self._cumulated(reached, total, dtype) / last
        return self.share.first + int(np.searchsorted(sums, uniform, side="right"))

    def _cumulated(self, reached: float, total: Any, dtype: Any) -> Array:
        own = self._own_weights(dtype)
        p = (own / own.dtype.type(total)).astype(np.float64)
        p[0] += reached
        return np.cumsum(p)

    # What one pass tells before a fit.

    def moments(self, dtype: Any) -> list[tuple[int, Node]]:
        """Of the columns."""
        found, size = [], moment_slice_rows(self.share.n_samples, self.share.n_features)
        for count, _, rows in self._nodes(dtype, size):
            means, squares = node_of_blocks([rows.X], rows.shape, size, self.team)
            found.append((count, Node(len(rows.X), means, squares)))
        return found

    def digests(self, dtype: Any) -> list[bytes]:
        """What a fingerprint of all rows is made of."""
        size = moment_slice_rows(self.share.n_samples, self.share.n_features)
        begin, end = self.share.slices(size)
        place = self.share.rows(size, begin, end)
        X = self._some(dtype, place).X
        return [slice_digests(X, size * self.share.n_features, self.team)] if len(X) else []

    def weight_digests(self) -> bytes:
        """The same for its own weights."""
        own = self._own_weights(self.dtype)
        return slice_digests(own, len(own) + len(own) % 2, self.team)

    # k-means.

    def begin_loop(self, name: str, dtype: Any, mean: Array, k: int, algorithm: str) -> None:
        """Prepare the assignment of rows to `k` centers."""
        size = slice_rows(self.share.n_samples, self.share.n_features, k)
        parts = []
        for count, _, rows in self._nodes(dtype, size):
            update = Update(rows, mean, k, self.team, size)
            kind = ALGORITHMS[algorithm]
            parts.append(_Part(count, rows, update, kind(rows, mean, k, update, self.team)))
        place = self.share.rows(size, *self.share.slices(size))
        self._loops[name] = _Loop(parts, place, mean)

    def reset(self, name: str) -> None:
        """Forget the labels."""
        loop = self._loops[name]
        loop.centers = None
        for part in loop.parts:
            part.update.reset()
            part.algorithm.reset()

    def assign(
        self, name: str, centers: Array, account: bool
    ) -> tuple[int, int, list[Brought] | None]:
        """Label the rows: how many changed, distances computed, and what they bring if asked."""
        loop = self._loops[name]
        loop.centers = centers
        n_changed, brought, done = 0, [], 0
        for part in loop.parts:
            done -= part.algorithm.n_distances
            n_changed += part.algorithm.assign(centers, account=account)
            done += part.algorithm.n_distances
            if account and part.update.mode == PILES:
                brought.append(_brought(part))
        return n_changed, done, brought if account else None

    def absorb(self, totals: tuple[Array, ...], name: str) -> tuple[Array, ...]:
        """Move the rows that the last assignment has recorded."""
        for part in self._loops[name].parts:
            for own, total in zip(part.update.totals, totals, strict=True):
                own[:] = total
            part.update.absorb(part.algorithm.labels)
            totals = tuple(total.copy() for total in part.update.totals)
        return totals

    def sum_all(self, name: str) -> list[Brought]:
        """What all rows bring to the clusters of their labels."""
        brought = []
        for part in self._loops[name].parts:
            part.update.sum_slices(part.algorithm.labels)
            brought.append(_brought(part))
        return brought

    def add_all(self, totals: tuple[Array, ...], name: str) -> tuple[Array, ...]:
        """The same in row order, where piles are large."""
        for part in self._loops[name].parts:
            changes = part.update.changes
            for own, total in zip(part.update.totals, totals, strict=True):
                own[:] = total
            part.update.add_all(part.algorithm.labels)
            part.update.changes = changes
            totals = tuple(total.copy() for total in part.update.totals)
        return totals

    def own_distances(self, name: str, centers: Array) -> list[tuple[int, float]]:
        """Sums of squared distances of rows, as labelled, to `centers`."""
        loop, found = self._loops[name], []
        size = slice_rows(self.share.n_samples, self.share.n_features, 1)
        for count, place, rows in self._nodes(centers.dtype, size):
            labels = self._labels_at(loop.labels(), loop.place, loop.mean, loop.centers, place)
            sums = own_inertias(rows, loop.mean, centers, labels, self.team, size)
            found.append((count, float(tree_sum(sums))))
        return found

    def _labels_at(
        self, labels: Array, known: slice, mean: Array, centers: Any, wanted: slice
    ) -> Array:
        """Labels of rows, some of which a neighbour has labelled: those are labelled once more."""
        found, margins = [], []
        start, stop = max(wanted.start, known.start), min(wanted.stop, known.stop)
        if start >= stop:
            margins = [(wanted.start, wanted.stop)]
        else:
            margins = [(wanted.start, start), (stop, wanted.stop)]
            found = [labels[start - known.start : stop - known.start]]
        for place, (low, high) in enumerate(margins):
            if low < high:
                rows = self._some(centers.dtype, slice(low, high))
                more = assigned(rows, centers, mean, self.team).labels[: high - low]
                found.insert(0 if place == 0 else len(found), more)
        return np.ascontiguousarray(np.concatenate(found))

    # Labels and distances of single rows, where the loop asks for some of them.

    def keep_labels(self, name: str, kept: str, centers: Array) -> None:
        """Keep the labels, those of `centers`, under a name of their own."""
        loop = self._loops[name]
        if loop.centers is None or not np.array_equal(loop.centers, centers):
            rows = self._some(centers.dtype, loop.place)
            algorithm = assigned(rows, centers, loop.mean, self.team)
            self._kept[kept] = algorithm.labels[: len(rows.X)].copy(), centers
        else:
            self._kept[kept] = loop.labels(), centers

    def labels(self, name: str) -> Array:
        """Of the rows whose slices it owns."""
        return self._kept[name][0] if name in self._kept else self._loops[name].labels()

    def labels_and_distances(self, name: str, centers: Array) -> tuple[Array, Array, Array]:
        """Of the same rows, and their weights if they have any."""
        loop = self._loops[name]
        rows, labels = self._some(centers.dtype, loop.place), loop.labels()
        distances = np.empty(len(labels))
        if len(labels):
            size = slice_rows(self.share.n_samples, self.share.n_features, 1)
            own_inertias(rows, loop.mean, centers, labels, self.team, size, distances)
        return labels, distances, rows.weights

    def occupied(self, name: str, n_clusters: int, weighted: bool) -> Array:
        """Which clusters have a row, of weight above zero where it is `weighted`."""
        labels = self.labels(name)
        if weighted:
            loop = self._loops[name.partition("/")[0]]
            labels = labels[self.rows(self.dtype).weights[loop.place] > 0]
        found = np.zeros(n_clusters, np.bool_)
        found[labels] = True
        return found

    def mapping(self, name: str, other: str, n_clusters: int) -> Array | None:
        """Label in another labelling by label, -1 where none is; None where there are several."""
        labels, others = self.labels(name), self.labels(other)
        mapping = np.full(n_clusters, -1, others.dtype)
        mapping[labels] = others
        return mapping if bool((mapping[labels] == others).all()) else None

    # k-means++.

    def begin_seeding(self, name: str, dtype: Any, k: int, n_trials: int) -> None:
        """Forget all centers."""
        size = rows_per_block(self.share.n_features)
        rows = self._some(dtype, self.share.rows(size, *self.share.slices(size)))
        self._seedings[name] = seeding = GreedyKMeansPlusPlus(rows, k, self.team, n_trials)
        seeding.reset()

    def read_round(
        self, name: str, n: int, n_chosen: int, coordinates: Array, drawn: Array
    ) -> list[tuple[int, Array]]:
        """Potentials if each of `n` candidates were chosen; the center before them is applied."""
        seeding, found = self._seedings[name], []
        rounds = seeding.rounds
        rounds.drawn[: len(drawn)] = drawn
        if n_chosen == 1 and n == 1:
            rounds.centers[:1] = coordinates
        prepare_round(n, n_chosen, coordinates, seeding.candidates, rounds)
        size = seeding.block_rows
        begin, end = self.share.slices(size)
        for first, count in nodes(begin, end):
            sums = slice(first - begin, first - begin + count)
            here = slice(sums.start * size, min(sums.stop * size, len(rounds.closest)))
            part = part_of_rounds(rounds, here, sums)._replace(
                merged=rounds.merged[sums], arrivals=rounds.arrivals[sums]
            )
            X, _, weights = seeding.rows
            rows = make_rows(X[here], weights[here] if len(weights) else None)
            seeds = Seeds(size, rows, seeding.candidates, part)
            seeding.team.run(
                seeding_round, 2.0 * rows.X.size * (n + 1), min(count, MAX_SLICES), 0, n,
                max(0, n_chosen - 1), seeds, seeding.gaps[here],
            )  # fmt: skip
            found.append((count, part.merged[0, :n].copy()))
        return found

    def settle(self, name: str, n: int, latest: int, potentials: Array, chosen: Array) -> None:
        """Keep the candidate of the smallest potential, whose coordinates are `chosen`."""
        seeding = self._seedings[name]
        if len(seeding.rounds.merged):
            seeding.rounds.merged[0, :n] = potentials
            settle_round(n, latest, seeding.rounds, seeding.gaps)
        seeding.rounds.centers[latest] = chosen

    def draw(self, drawn: Drawn, name: str, latest: int) -> Drawn:
        """Look for the rows at which values arrive that have not arrived before."""
        seeding = self._seedings[name]
        rounds, size = seeding.rounds, seeding.block_rows
        begin, end = self.share.slices(size)
        last = end * size >= self.share.n_samples
        values, rows, coordinates = (np.array(each) for each in drawn)
        sums = rounds.block_sums.tolist()
        for j in np.flatnonzero(rows < 0):
            value, block = float(values[j]), 0
            while block < len(sums) - last and value > sums[block]:
                value -= sums[block]
                block += 1
            values[j] = value
            if block == len(sums):
                continue
            here = slice(block * size, min((block + 1) * size, len(rounds.closest)))
            X, _, weights = seeding.rows
            part = part_of_rounds(rounds, here, slice(block, block + 1))
            row = draw_in_block(
                value, size, make_rows(X[here], weights[here] if len(weights) else None),
                seeding.candidates, latest, part, seeding.gaps.ndim == 2,
            )  # fmt: skip
            rows[j] = (begin + block) * size + row
            coordinates[j] = X[here.start + row]
        return Drawn(values, rows, coordinates)

    # k-means||.

    def begin_oversampling(self, name: str, dtype: Any) -> None:
        """Forget all candidates."""
        size = slice_rows(self.share.n_samples, self.share.n_features, 1)
        place = self.share.rows(size, *self.share.slices(size))
        rows = self._some(dtype, place)
        part = Part(len(rows.X), size, rows.weights)
        self._oversamplings[name] = Oversampling(self.share.first + place.start, rows, part)

    def tell_candidates(self, name: str, candidates: Array, n_before: int, drawn: Array) -> Array:
        """Tell the rows of new candidates; see :meth:`fastclust.oversampling.Part.tell`."""
        first, rows, part = self._oversamplings[name]
        if not len(rows.X):
            return np.empty(0)
        return part.tell(rows, Centers(candidates), n_before, drawn - first, self.team)

    def find_candidates(self, name: str, numbers: Array, values: Array) -> Array:
        """Rows that values fall on in its own slices of these numbers; both ascend."""
        first, _, part = self._oversamplings[name]
        return first + part.find(numbers, values)

    def attracted(self, name: str, n_candidates: int) -> list[tuple[int, Array]]:
        """What the rows weigh that each candidate is the nearest one of."""
        part = self._oversamplings[name].part
        begin, end = self.share.slices(part.slice_size)
        return [
            (count, part.attracted(n_candidates, at - begin, at - begin + count))
            for at, count in nodes(begin, end)
        ]

    # Mixtures.

    def sweep(
        self, dtype: Any, center: Array, densities: Densities, order: int, labels: str | None
    ) -> list[tuple[int, Moments]]:
        """Moments of posteriors, or of labels by the name of those who keep them, "" for zeros."""
        n_samples, n_features = self.share.n_samples, self.share.n_features
        found = []
        for count, place, rows in self._nodes(dtype, sweep_rows(n_samples, n_features)):
            sweep = Sweep(rows, center, self.team, n_samples)
            own = None
            if labels is not None:
                own = np.zeros(len(rows.X), np.int32) if labels == "" else self._of(labels, place)
            found.append((count, sweep.moments(densities, order, labels=own)))
        return found

    def draw_moments(
        self,
        baton: tuple[Any, list[Any]],
        dtype: Any,
        center: Array,
        components: Densities,
        order: int,
        size: int,
    ) -> tuple[Any, list[Any]]:
        """Add the moments of its chunks of `size` rows; see :mod:`fastclust.mixtures.chunks`."""
        state, sums = baton
        random_state = np.random.RandomState()
        random_state.set_state(state)
        for number in range(*self.share.slices(size)):
            rows = self._some(dtype, self.share.rows(size, number, number + 1))
            part = drawn_moments(random_state, rows, center, components, order, self.team)
            sums = [before + own for before, own in zip(sums, part[2:], strict=True)]
        return random_state.get_state(), sums

    def _of(self, name: str, place: slice) -> Array:
        loop = self._loops[name.partition("/")[0]]
        labels, centers = self._kept.get(name, (loop.labels(), loop.centers))
        return self._labels_at(labels, loop.place, loop.mean, centers, place)


def landed(value: Any) -> Any:
    """What has arrived, with arrays such as kernels are compiled for.

    They can be written to and begin at a cache line; those of a message need not.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        if value.flags.writeable and value.ctypes.data % ALIGNMENT == 0:
            return value
        copy = aligned_empty(value.shape, value.dtype)
        copy[...] = value
        return copy
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(landed, value))
    if isinstance(value, tuple | list):
        return type(value)(map(landed, value))
    return value


def _brought(part: _Part) -> Brought:
    """What the slices of a part have brought together, which is taken away."""
    records, touched, _ = part.update.piles
    clusters = np.flatnonzero(touched[0])
    brought = Brought(part.n_slices, clusters.astype(np.int32), records[0, clusters])
    records[0, clusters], touched[0] = 0.0, False
    return brought
