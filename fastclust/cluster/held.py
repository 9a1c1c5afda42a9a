"""Rows that workers hold, as the loops of one machine see them.

What stands here for rows, weights, labels and sums has the methods of what it stands for, and asks
the :class:`~.engine.Crew`.  Nothing as long as the data comes here: centers go out, nodes of the
tree of slices come back, a few for each worker, and are merged as on one machine.  Two things go
from worker to worker in the order of the rows instead, for the sake of the same bits: draws of
k-means++, which look for a place in one long sum, and sums that are too many for every slice to
have its own (:mod:`fastclust.kernels.update`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..kernels.algorithms import ALGORITHMS
from ..kernels.fingerprint import Fingerprint
from ..kernels.gaussian import Densities, Moments, Sweep
from ..kernels.machine.parallel import Team
from ..kernels.moments import merged
from ..kernels.records import PILES, Array
from ..kernels.seeding import draw_first
from ..kernels.slices import Chain, add
from ..kernels.tiles import make_rows
from ..kernels.update import Update, by_distance, farthest, make_piles, slice_rows
from ..lloyd_loop import Loop
from ..rows.sources import DistantWeights, Source
from .engine import Crew, Order
from .holder import Drawn
from .vectors import total

_numbers = itertools.count()


def joined(found: Iterable[Sequence[tuple[int, Any]]], merge: Callable[[Any, Any], Any]) -> Any:
    """The sum of all slices, of the nodes that each worker gives."""
    chain: Chain[Any] = Chain(merge)
    for own in found:
        for n_slices, node in own:
            chain.add(n_slices, node)
    return chain.total()


class HeldRows(Source):
    """All rows of a fit, which workers hold.

    Parameters
    ----------
    crew : Crew
        The workers.
    shape : tuple of int
        Rows and columns.
    dtype : dtype
        Of the rows.
    example : object
        A row or more with the names of the columns, if there are names.
    name : str
        What messages call the rows.
    """

    def __init__(
        self, crew: Crew, shape: tuple[int, int], dtype: Any, example: Any, name: str
    ) -> None:
        self.crew, self.shape, self.dtype = crew, shape, np.dtype(dtype)
        self.example, self.name = example, name

    def head(self) -> Any:
        return self.example

    def take(self, rows: Array) -> Array:
        rows = np.asarray(rows)
        result = np.empty((len(rows), self.shape[1]), self.dtype)
        for places, found in self.crew.take(rows, "take", self.dtype):
            result[places] = found
        return result

    def opened(self, weights: Any) -> OpenedRows:
        """The rows for kernels; see :func:`fastclust.preparation.open_parts`."""
        return OpenedRows(self, weights)


class HeldWeights(DistantWeights):
    """The weights of rows that workers hold."""

    def __init__(self, crew: Crew, n_samples: int, dtype: Any) -> None:
        self.crew, self.n_samples, self.dtype = crew, n_samples, np.dtype(dtype)
        self.shape = (n_samples,)

    def __len__(self) -> int:
        return self.n_samples

    @cached_property
    def _seen(self) -> list[tuple[float, float, int]]:
        return self.crew.map("weights_seen")

    def least(self) -> float:
        return min(each[0] for each in self._seen)

    def most(self) -> float:
        return max(each[1] for each in self._seen)

    def n_positive(self) -> int:
        return sum(each[2] for each in self._seen)

    def sum(self, dtype: Any = None) -> Any:
        chunked = dtype is not None and np.dtype(dtype) != self.dtype
        found = self.crew.map("weight_pieces", self.dtype, chunked)
        return total(found, self.n_samples, chunked=chunked)

    def astype(self, dtype: Any) -> HeldWeights:
        return HeldWeights(self.crew, self.n_samples, dtype)

    def __getitem__(self, rows: Any) -> Array:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(self.n_samples))
        result = np.empty(len(rows), self.dtype)
        for places, found in self.crew.take(np.asarray(rows), "take_weights", self.dtype):
            result[places] = found
        return result

    def identity(self) -> str:
        found = Fingerprint((self.n_samples, 1), Team(0))
        for own in self.crew.map("weight_digests"):
            found.add_digests(own)
        return f"held {self.dtype.name} {self.n_samples} {found.text()}"

    def first_row(self, uniform: float) -> int:
        """Row drawn in proportion to its weight; see :func:`.kernels.seeding.first_rows`."""
        whole, reached = self.sum(), [0.0]
        for number in range(len(self.crew.shares)):
            [end] = self._ask(number, "cumulate", reached[-1], whole)
            reached.append(end)
        last, number = reached[-1], 0
        while reached[number + 1] / last <= uniform:
            number += 1
        [row] = self._ask(number, "find", uniform, reached[number], last, whole)
        return int(row)

    def _ask(self, number: int, method: str, *arguments: Any) -> list[Any]:
        return self.crew.one(number, method, *arguments, self.dtype)


class HeldLabels:
    """Labels of all rows, by the name under which workers keep them.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, n_features)
        Those that the labels follow from.
    """

    def __init__(self, crew: Crew, name: str, n_samples: int) -> None:
        self.crew, self.name, self.n_samples = crew, name, n_samples
        self.centers: Array = np.empty((0, 0))

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, rows: slice) -> HeldLabels:
        """All of them: what is behind the last row is nobody's here."""
        return self

    def __setitem__(self, rows: slice, centers: Array) -> None:
        """Make them those of `centers`."""
        self.assign(centers)

    def assign(self, centers: Array, account: bool = False) -> list[Any]:
        """Label all rows, and have workers say what that brings."""
        arguments = self.name, centers, account
        found = self.crew.map("assign", *arguments, subject=self.name, last=2)
        self.centers = centers.copy()
        return found

    def copy(self) -> HeldLabels:
        """The same, to be kept while those of this name change."""
        kept = HeldLabels(self.crew, f"{self.name}/{next(_numbers)}", self.n_samples)
        kept.centers = self.centers
        arguments = self.name, kept.name, self.centers
        self.crew.map("keep_labels", *arguments, subject=kept.name, fresh=True)
        return kept

    def occupied(self, n_clusters: int, weighted: bool) -> Array:
        """Which clusters have a row; see :func:`fastclust.lloyd_loop.occupied`."""
        found = self.crew.map("occupied", self.name, n_clusters, weighted)
        result: Array = np.any(found, axis=0)
        return result

    def is_same_clustering(self, others: HeldLabels, n_clusters: int) -> bool:
        """Whether two labellings are the same up to a permutation of the labels."""
        mapping = np.full(n_clusters, -1)
        for own in self.crew.map("mapping", self.name, others.name, n_clusters):
            if own is None or ((own >= 0) & (mapping >= 0) & (own != mapping)).any():
                return False
            mapping = np.where(own >= 0, own, mapping)
        return True


class OpenedRows:
    """What the loops need to know of rows that are not here; see :class:`HeldRows`."""

    def __init__(self, source: HeldRows, weights: HeldWeights | None = None) -> None:
        self.source, self.crew = source, source.crew
        self.X = source  # for its shape and dtype
        self.shape, self.dtype = source.shape, source.dtype
        self.weights: Any = np.empty(0, source.dtype) if weights is None else weights
        self.loop_class, self.seeding_class = HeldLoop, HeldKMeansPlusPlus
        self.passes_class = HeldPasses

    def moments(self, team: Team, found: Fingerprint | None = None) -> tuple[Array, Array]:
        """Mean and variance of every column; see :func:`.kernels.moments.column_moments`."""
        node = joined(self.crew.map("moments", self.dtype), merged)
        if found is not None:
            for own in self.crew.map("digests", self.dtype):
                for digests in own:
                    found.add_digests(digests)
        return node.means, node.squares / self.shape[0]

    def sweep(self, center: Array, team: Team) -> HeldSweep:
        """Sweeps of EM over the rows."""
        return HeldSweep(self, center, team)

    def draw_moments(
        self,
        random_state: np.random.RandomState,
        center: Array,
        components: Densities,
        order: int,
        size: int,
    ) -> list[Array]:
        """Moments of responsibilities that are drawn for `size` rows at a time, worker by worker.

        The generator goes with them.  See :mod:`fastclust.mixtures.chunks`.
        """
        baton = random_state.get_state(), [0, 0, 0]
        arguments = self.dtype, center, components, order, size
        state, sums = self.crew.relay("draw_moments", baton, *arguments)
        random_state.set_state(state)
        found: list[Array] = sums
        return found


class _HeldUpdate(Update):
    """Sums of clusters over rows that workers hold; see :class:`.kernels.update.Update`."""

    def __init__(self, rows: OpenedRows, mean: Array, n_clusters: int, team: Team) -> None:
        none = make_rows(np.empty((0, rows.shape[1]), rows.dtype))
        super().__init__(none, mean, n_clusters, team, 1)
        self.held = rows
        if self.mode == PILES:
            self.piles = make_piles(1, n_clusters, rows.shape[1])

    def absorb_brought(self, labels: HeldLabels, found: list[Any]) -> None:
        """Bring the sums up to date with what a pass has changed."""
        if self.mode == PILES:
            self._settle(found)
        else:
            self._adopt(labels.crew.relay("absorb", tuple(self.totals), labels.name))

    def refresh(self, labels: Any, out: Array) -> None:
        """Sum all clusters afresh, in row order, and write their means to `out`."""
        self.reset()
        if self.mode == PILES:
            self._settle(labels.crew.map("sum_all", labels.name))
        else:
            self._adopt(labels.crew.relay("add_all", tuple(self.totals), labels.name))
        self.average(out)

    def new_centers(self, labels: Any, centers: Array, out: Array) -> tuple[float, int]:
        """Average the sums, which every pass has brought up to date; see :class:`Update`."""
        del labels
        return self.average(out, centers)

    def take(self, numbers: Array) -> Array:
        """The listed rows of the data."""
        return self.held.source.take(numbers)

    def weight_of(self, number: int) -> float:
        """Of a row."""
        weights = self.held.weights
        return float(weights[np.array([number])][0]) if len(weights) else 1.0

    def farthest(
        self, labels: Any, distances: Any, centers: Array, n_rows: int
    ) -> tuple[Array, Array]:
        """See :meth:`.kernels.update.Update.farthest`: one worker looks at all distances."""
        limits = self.limits(centers)
        arguments = labels.name, distances
        found = labels.crew.together("labels_and_distances", arguments, _farthest, limits, n_rows)
        return found[0], found[1]

    def by_distance(
        self, labels: Any, distances: Any, centers: Array, start: int, stop: int
    ) -> tuple[Array, Array]:
        """See :meth:`.kernels.update.Update.by_distance`."""
        limits, arguments = self.limits(centers), (labels.name, distances)
        found = labels.crew.together(
            "labels_and_distances", arguments, _by_distance, limits, start, stop
        )
        return found[0], found[1]

    def _settle(self, found: list[Any]) -> None:
        """Take what workers have brought for what one slice has."""
        shape = self.piles.records.shape[1:]
        parts = []
        for own in found:
            parts.append([(each.n_slices, _spread(each, shape)) for each in own])
        self.piles.records[0] = joined(parts, add)
        self.piles.touched[0] = True

    def _adopt(self, totals: tuple[Array, ...]) -> None:
        for own, found in zip(self.totals, totals, strict=True):
            own[:] = found


def _spread(brought: Any, shape: tuple[int, ...]) -> Array:
    records = np.zeros(shape)
    records[brought.clusters] = brought.records
    return records


def _joined_rows(results: list[Any]) -> tuple[Array, Array, Array]:
    """Labels, distances and weights of all rows."""
    labels, distances, weights = (np.concatenate(parts) for parts in zip(*results, strict=True))
    return labels, distances, weights


def _farthest(results: list[Any], limits: Array, n_rows: int) -> tuple[Array, Array]:
    return farthest(*_joined_rows(results), limits, n_rows)


def _by_distance(results: list[Any], limits: Array, start: int, stop: int) -> tuple[Array, Array]:
    numbers, own = by_distance(*_joined_rows(results), limits)
    return numbers[start:stop], own[start:stop]


class _HeldAssignment:
    """An algorithm of :mod:`.kernels.algorithms` where rows are held."""

    iterates = False

    def __init__(
        self,
        algorithm: type[Any],
        rows: OpenedRows,
        mean: Array,
        n_clusters: int,
        update: _HeldUpdate,
    ) -> None:
        self.rows, self.update, self.n_distances = rows, update, 0
        name = f"loop {next(_numbers)}"
        self.labels = HeldLabels(rows.crew, name, rows.shape[0])
        known = next(key for key, kind in ALGORITHMS.items() if kind is algorithm)
        rows.crew.map(
            "begin_loop", name, rows.dtype, mean, n_clusters, known, subject=name, fresh=True
        )

    def reset(self) -> None:
        """Forget the labels."""
        self.rows.crew.map("reset", self.labels.name, subject=self.labels.name, last=1)

    def assign(self, centers: Array, *, account: bool = True) -> int:
        """Label every row with its nearest center; number of rows whose label has changed."""
        found = self.labels.assign(centers, account)
        self.n_distances += sum(each[1] for each in found)
        if account:
            self.update.absorb_brought(self.labels, [each[2] for each in found])
        return sum(each[0] for each in found)

    def own_distances(self, centers: Array, distances: None = None) -> float:
        """Inertia of the labels; see :func:`.kernels.distances.own_distances`."""
        found = self.rows.crew.map("own_distances", self.labels.name, centers)
        return float(joined(found, add))


def first_row(rows: OpenedRows, random_state: np.random.RandomState) -> int:
    """Row drawn in proportion to its weight."""
    if len(rows.weights):
        return int(rows.weights.first_row(float(random_state.random_sample())))
    return draw_first(rows, random_state)


class HeldKMeansPlusPlus:
    """Greedy k-means++ on rows that workers hold: the draws of an array.

    Parameters as for :class:`fastclust.kernels.seeding.GreedyKMeansPlusPlus`.
    """

    def __init__(
        self, rows: OpenedRows, n_clusters: int, team: Team, n_local_trials: int | None = None
    ) -> None:
        self.rows, self.n_clusters = rows, n_clusters
        n_trials = 2 + int(np.log(n_clusters)) if n_local_trials is None else n_local_trials
        self.n_trials, self.name = n_trials, f"seeding {next(_numbers)}"

    def choose(self, random_state: np.random.RandomState) -> Array:
        """Indices of the rows chosen; see the class on one machine."""
        rows, name, crew = self.rows, self.name, self.rows.crew
        k, n_trials = self.n_clusters, self.n_trials
        chosen = np.empty(k, np.int64)
        chosen[0] = first_row(rows, random_state)
        uniforms = random_state.uniform(size=(k - 1, n_trials))
        if k == 1:
            return chosen
        crew.map("begin_seeding", name, rows.dtype, k, n_trials, subject=name, fresh=True)
        drawn, coordinates = chosen[:1].copy(), rows.source.take(chosen[:1])
        least = 0.0
        for number in range(k):
            if number:
                drawn, coordinates = self._draw(uniforms[number - 1] * least, number - 1)
            arguments = len(drawn), max(1, number), coordinates, drawn
            found = crew.map("read_round", name, *arguments, subject=name)
            potentials = joined(found, add)
            best = int(np.argmin(potentials))
            least = potentials[best]
            chosen[number] = drawn[best]
            arguments = len(drawn), number, potentials, coordinates[best]
            crew.map("settle", name, *arguments, subject=name)
        crew.forget(name)
        return chosen

    def _draw(self, values: Array, latest: int) -> tuple[Array, Array]:
        """Rows of the candidates of a round, and their coordinates."""
        shape = len(values), self.rows.shape[1]
        nothing = Drawn(values, np.full(len(values), -1), np.empty(shape, self.rows.dtype))
        found = self.rows.crew.relay("draw", nothing, self.name, latest, subject=self.name)
        return found.rows, found.coordinates


class HeldPasses:
    """k-means|| on rows that workers hold; see :func:`fastclust.oversampling.choose`.

    Parameters
    ----------
    rows : OpenedRows
        The rows.
    team : Team
        Of the client; workers have their own.
    """

    def __init__(self, rows: OpenedRows, team: Team) -> None:
        del team
        self.rows, self.crew, self.name = rows, rows.crew, f"oversampling {next(_numbers)}"
        size = slice_rows(*rows.shape, 1)
        self.begins = np.array([share.slices(size)[0] for share in self.crew.shares])
        self.crew.map("begin_oversampling", self.name, rows.dtype, subject=self.name, fresh=True)

    def first(self, random_state: np.random.RandomState) -> int:
        return first_row(self.rows, random_state)

    def tell(self, drawn: Array, n_before: int) -> Array:
        arguments = self.name, self.rows.source.take(drawn), n_before, drawn
        return np.concatenate(self.crew.map("tell_candidates", *arguments, subject=self.name))

    def find(self, numbers: Array, values: Array) -> Array:
        owners = np.searchsorted(self.begins, numbers, side="right") - 1
        orders = []
        for owner in np.unique(owners).tolist():
            own = owners == owner
            arguments = self.name, numbers[own] - self.begins[owner], values[own]
            orders.append(Order(owner, "find_candidates", arguments))
        return np.concatenate(self.crew.call(orders))

    def attracted(self, n_candidates: int) -> Array:
        found = self.crew.map("attracted", self.name, n_candidates)
        weights: Array = joined(found, add)
        self.crew.forget(self.name)
        return weights

    def among(self, drawn: Array, weights: Array) -> Any:
        return make_rows(self.rows.source.take(drawn), weights.astype(self.rows.dtype))


class HeldLoop(Loop):
    """THE iteration loop, on rows that workers hold."""

    rows: Any
    algorithm: Any

    def _equip(self, algorithm: type[Any], n_clusters: int) -> None:
        self.seeding = HeldKMeansPlusPlus
        self.update = _HeldUpdate(self.rows, self.mean, n_clusters, self.team)
        self.algorithm = _HeldAssignment(algorithm, self.rows, self.mean, n_clusters, self.update)

    def centred(self, indices: Array) -> Array:
        """Rows of the data as centers to start from."""
        return self.rows.source.take(indices) - self.mean[: self.rows.shape[1]]

    def _distances(self, centers: Array) -> Any:
        """Of rows to these centers: workers compute them when they are asked for."""
        return centers.copy()


class HeldSweep:
    """Sweeps over rows that workers hold; see :class:`fastclust.kernels.gaussian.Sweep`."""

    def __init__(self, rows: OpenedRows, center: Array, team: Team) -> None:
        none = make_rows(np.empty((0, rows.shape[1]), rows.dtype))
        self.rows, self.center = rows, Sweep(none, center, team, 1).center

    def moments(
        self, densities: Densities, order: int, *, given: None = None, labels: Any = None
    ) -> Moments:
        """Moments about the means of `densities`; labels are held, or "" where all are zero."""
        assert given is None
        name = labels.name if isinstance(labels, HeldLabels) else labels
        center = self.center[: self.rows.shape[1]]
        found = self.rows.crew.map("sweep", self.rows.dtype, center, densities, order, name)
        result: Moments = joined(found, _added)
        return result

    def one_label(self) -> str:
        """Labels by which all rows belong to the first component, for :meth:`moments`."""
        return ""


def _added(left: Any, right: Any) -> Moments:
    return Moments(*(a + b for a, b in zip(left, right, strict=True)))
