"""Mini-batch k-means: many steps in one call, each a pass over the rows that a batch lists.

Sculley, D.: Web-scale k-means clustering. WWW 2010.

A step assigns the rows of one batch, moves every center to the mean of all rows it has been given
so far, and follows the smoothed inertia of the batches, as scikit-learn does.  Rows are read where
they lie, by their numbers; no batch is ever copied.  What one step costs beside the distances is
little enough that Python would cost more: :func:`_steps` therefore draws the batches itself, makes
a launch for each, and comes back early only where the rules end a run or centers are reassigned.

Centers are sums and weights in float64 of centred rows; what rows are compared with is their
quotient, rounded to the dtype of the rows.  Sums are made in the order of the batch, by one thread,
so that results are the same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .batch_labels import RELABEL_TILES, TASK_TILES, assign_listed, relabel_listed
from .batch_rules import (
    MORE,
    Piles,
    Rules,
    add_batch,
    begin,
    finish,
    follow_rules,
    largest_of_moves,
    make_running,
    open_running,
    round_centers,
)
from .draws import RowDraws, draw_rows
from .emit.cpu import TILE_ROWS, lanes, round_up
from .machine.calling import NOWHERE, call, offer_tasks, reference
from .machine.compiling import helper, kernel
from .machine.parallel import LOOP_WORK, Team
from .tiles import (
    Array,
    Panels,
    fill_panels,
    make_panels,
    panels_reference,
    prefers_features,
    read_only,
)

# Multiply-adds, those of float64 counted twice, from which on a step is worth a call of its own by
# all threads: some 100 µs.
LARGE_STEP = 5_000_000
ROW_WORK = 100.0  # what a step does for each row beside the distances, in multiply-adds

NO_DRAWS = RowDraws(0, 0, np.empty(0))


@kernel
def _largest_move(exact, previous):
    return largest_of_moves(exact, previous)


class Calls(NamedTuple):
    """References to kernels; see :mod:`.machine.calling`."""

    assign: Any
    pack: Any
    relabel: Any


class Batch(NamedTuple):
    """What :func:`assign_listed` is run with, from the weights of the rows on."""

    row_weights: Array
    shift: Array
    n_clusters: int
    panels: Panels
    labels: Array
    apart: Array
    inertias: Array
    lengths: Array
    piles: Piles


@helper
def _pack_again(calls, size, batch, running):
    """Pack the centers as they are now."""
    by_features, n_wide, n_narrow, packed, bias = batch.panels
    arguments = (running.centers, by_features, n_wide, n_narrow, size, packed, bias)
    call(calls.pack, None, arguments, ())


@helper
def _step(calls, counter, gate, n_tasks, X, listed, batch, rules, running, follow):
    """One step, from packed centers; `MORE`, or why to stop."""
    due = begin(rules, running)
    offer_tasks(counter)
    call(calls.assign, None, (counter, gate, n_tasks, X, listed), batch)
    labels, row_weights, shift, piles = batch.labels, batch.row_weights, batch.shift, batch.piles
    add_batch(X, listed, labels, row_weights, shift, piles, running)
    return finish(due, batch.inertias, rules, running, follow)


@kernel
def _steps(
    calls, counter, gate, n_tasks, n_steps, follow, size, draws, X, batches, batch, rules, running,
):  # fmt: skip
    """Make a step for each row of `batches` (n_steps, size of a batch), which lists rows of `X`.

    Where there are `draws` to be made, there is one such row, and each step draws it afresh.
    Returns the number of steps made and why it has come back.
    """
    status, step = np.int64(MORE), 0
    while step < n_steps and status == MORE:
        _pack_again(calls, size, batch, running)
        listed = batches[0 if draws.n_samples else step]
        if draws.n_samples:
            draw_rows(draws, listed)
        status = _step(calls, counter, gate, n_tasks, X, listed, batch, rules, running, follow)
        step += 1
    return step, status


@kernel
def _step_and_relabel(
    calls, counter, gate, n_tasks, n_relabelled, size, X, listed, batch, rules, given, weights,
    inertias, out, running,
):  # fmt: skip
    """Begin with the `given` centers and make a step of the one batch that they are to see.

    Where no center is to be reassigned, and rows are finite, the new centers, not centred any more,
    are written to `out`, and the batch is labelled once more.  Returns whether rows are finite,
    whether centers are to be reassigned, and how far one has moved at most.
    """
    open_running(given, weights, batch.shift, running)
    _pack_again(calls, size, batch, running)
    status = _step(calls, counter, gate, n_tasks, X, listed, batch, rules, running, False)
    _pack_again(calls, size, batch, running)
    moved = largest_of_moves(running.exact, running.previous)
    length = 0.0
    for task in range(n_tasks):
        length += batch.lengths[task]
    finite = np.isfinite(length)
    if finite and status == MORE:
        round_centers(running.exact, batch.shift, out)
        if n_relabelled > 0:
            offer_tasks(counter)
            arguments = counter, gate, n_relabelled, X, listed, batch.row_weights, batch.shift
            rest = batch.panels, running.exact, batch.labels, batch.apart, moved, inertias
            call(calls.relabel, None, arguments, rest)
    return finite, status, moved


@kernel
def _write_centers(exact, shift, out):
    round_centers(exact, shift, out)


@kernel
def _follow_step(rules, running):
    return follow_rules(rules, running)


class MiniBatches:
    """Runs steps of mini-batch k-means from given centers.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The rows that batches are taken from: C-contiguous, read-only.
    shift : ndarray of shape (padded n_features,)
        What every row is centred by; as from :func:`.tiles.padded_vector`.
    centers : ndarray of shape (n_clusters, n_features), float64
        Centred centers to start from.
    weights : ndarray of shape (n_clusters,), float64
        Weight of the rows that each center is the mean of; zeros at the start.
    batch_size : int
        Rows of a batch.
    rules : Rules
        When to stop and to reassign.
    team : Team
        Threads to run on, where a step is large.
    relabels : bool
        Whether :meth:`relabel` will be called.
    """

    given: tuple[Array, Array]  # centers and weights that :meth:`open` was told of
    finite = True  # whether all numbers of the last batch of :meth:`step` surely are
    _moved: float | None = None  # how far a center has moved at most in the last step, if known
    _rounded: Array | None = None  # the centers after it, not centred, if known
    _relabelled = False  # whether its batch has been labelled once more

    def __init__(
        self,
        X: Array,
        shift: Array,
        centers: Array,
        weights: Array,
        batch_size: int,
        rules: Rules,
        team: Team,
        *,
        relabels: bool = False,
    ) -> None:
        n_clusters, n_features = centers.shape
        self.X, self.shift, self.rules = read_only(X), shift, rules
        moves = rules.tol > 0.0 or relabels
        self.running = make_running(centers, weights, X.dtype, moves=moves)
        self.labels = np.empty(round_up(batch_size, TILE_ROWS), np.int32)
        self.apart = np.empty(batch_size if relabels else 0)
        self.n_tasks = -(-batch_size // (TASK_TILES * TILE_ROWS))
        self.inertias, self.lengths = np.empty(self.n_tasks), np.empty(self.n_tasks)
        self.own_inertias = np.empty(-(-batch_size // (RELABEL_TILES * TILE_ROWS)))
        # The tile by features keeps no second distances.
        by_features = prefers_features(n_features, n_clusters) and not relabels
        self.panels = make_panels(n_clusters, n_features, X.dtype, by_features=by_features)
        self.size = lanes(X.dtype)
        self.work = float(batch_size) * n_features * (n_clusters + 4)
        self.listed = np.empty((1, batch_size), np.int64)
        self.none = read_only(np.empty(0, X.dtype))
        self.no_rows = read_only(np.empty((0, n_features), X.dtype))
        self._join(team)
        n_piles = self.n_tasks * n_clusters if by_features else 0
        self.piles = Piles(
            np.empty((n_piles, n_features)), np.empty(n_piles), np.empty(n_piles, np.bool_)
        )

    def _join(self, team: Team) -> None:
        self.team = team
        large = self.work * self.shift.itemsize >= 4 * LARGE_STEP
        self.shared = large and len(team.helpers) > 0

    def open(self, X: Array, centers: Array, weights: Array, team: Team) -> None:
        """Begin once more, with all rows of `X` as the one batch of :meth:`step`.

        Parameters
        ----------
        X : ndarray of shape (batch_size, n_features)
            As many rows, of the same dtype, as those before; read-only.
        centers : ndarray of shape (n_clusters, n_features)
            Centers to go on from, not centred.
        weights : ndarray of shape (n_clusters,), float64
            Weight of the rows that each is the mean of.
        team : Team
            Threads to run on.
        """
        self.X, self.given = X, (read_only(centers), read_only(weights))
        self._join(team)

    def step(self, batch: Array, row_weights: Array | None = None) -> int:
        """One step that :meth:`open` came before, and :meth:`relabel` may follow.

        Rows need not be finite, but then the step is worthless; see :attr:`finite`.

        Parameters
        ----------
        batch : ndarray of shape (batch_size,), int64
            All rows.
        row_weights : ndarray of shape (batch_size,), optional
            Their weights.

        Returns
        -------
        int
            `MORE`, or `REASSIGN` where :meth:`reassign` is to be called.
        """
        centers, weights = self.given
        passed, rounded = self._batch(row_weights), np.empty(centers.shape, self.shift.dtype)
        n_relabelled = len(self.own_inertias) if len(self.apart) else 0
        self.finite, status, self._moved = _step_and_relabel(
            self._calls(passed), *self._open_gate(), self.n_tasks, n_relabelled, self.size, self.X,
            batch, passed, self.rules, centers, weights, self.own_inertias, rounded, self.running,
        )  # fmt: skip
        complete = self.finite and status == MORE
        self._rounded = rounded if complete else None
        self._relabelled = complete and n_relabelled > 0
        return int(status)

    def close(self) -> None:
        """Let the rows go; :meth:`open` may follow."""
        self.X, self._rounded = self.no_rows, None

    def centers(self) -> Array:
        """The centers (n_clusters, n_features), not centred, in the dtype of the rows."""
        if self._rounded is not None:
            return self._rounded
        exact = self.running.exact
        centers = np.empty(exact.shape, self.shift.dtype)
        _write_centers(exact, self.shift, centers)
        return centers

    @property
    def most_steps(self) -> int:
        """Steps from one look at signals to the next: some milliseconds."""
        return 1 + int(LOOP_WORK / (self.work + ROW_WORK * self.listed.size))

    def run(
        self, batches: Array, row_weights: Array | None = None, *, follow: bool = True
    ) -> tuple[int, int]:
        """Make a step for each batch, and stop early where the rules say so.

        Parameters
        ----------
        batches : ndarray of shape (n_steps, batch_size), int64
            Rows of each batch; at most :attr:`most_steps` batches.
        row_weights : ndarray of shape (batch_size,), optional
            Weights of the rows of the batch, by their place in it.
        follow : bool
            Whether the inertia is followed, by which a run ends.

        Returns
        -------
        n_steps : int
            Number of steps made.
        status : int
            `MORE`, `SMALL_SHIFT`, `NO_IMPROVEMENT`, or `REASSIGN`: :meth:`reassign` is to be
            called, and then :meth:`follow`, before more steps are made.
        """
        return self._run(len(batches), NO_DRAWS, batches, row_weights, follow)

    def run_drawn(self, n_steps: int, draws: RowDraws) -> int:
        """Make up to `n_steps` steps, each on a batch that is drawn for it; as :meth:`run`.

        Parameters
        ----------
        n_steps : int
            At most :attr:`most_steps`.
        draws : RowDraws
            How; the last batch that was drawn is ``listed[0]``.

        Returns
        -------
        int
            `MORE`, or why it has come back.
        """
        return self._run(n_steps, draws, self.listed, None, True)[1]

    def _run(
        self, n_steps: int, draws: RowDraws, batches: Array, row_weights: Array | None, follow: bool
    ) -> tuple[int, int]:
        self._moved, self._rounded, self._relabelled = None, None, False
        passed = self._batch(row_weights)
        return _steps(
            self._calls(passed), *self._open_gate(), self.n_tasks, n_steps, follow, self.size,
            draws, self.X, batches, passed, self.rules, self.running,
        )  # fmt: skip

    def _open_gate(self) -> tuple[Array, Array]:
        return self.team.open(self.work if self.shared else 0.0, self.n_tasks)

    def _batch(self, row_weights: Array | None) -> Batch:
        weights = self.none if row_weights is None else read_only(row_weights)
        return Batch(
            weights, self.shift, len(self.running.weights), self.panels, self.labels, self.apart,
            self.inertias, self.lengths, self.piles,
        )  # fmt: skip

    def _calls(self, batch: Batch) -> Calls:
        gate, listed, running = self.team.gate, self.listed[0], self.running
        key = self.X.dtype
        arguments = gate, gate, 1, self.X, listed
        relabel = NOWHERE
        if len(self.apart):
            again = self.panels, running.exact, self.labels, self.apart, 0.0, self.own_inertias
            relabel = reference(
                relabel_listed, key, *arguments, batch.row_weights, self.shift, *again
            )  # fmt: skip
        return Calls(
            reference(assign_listed, key, *arguments, *batch),
            panels_reference(running.centers, self.panels),
            relabel,
        )

    def follow(self) -> int:
        """Follow the rules after a reassignment; `MORE` or why to stop."""
        return int(_follow_step(self.rules, self.running))

    def relabel(self, batch: Array, row_weights: Array | None = None) -> tuple[Array, float]:
        """Labels and inertia of the batch just seen, for the centers as they are now.

        Parameters
        ----------
        batch : ndarray of shape (batch_size,), int64
            Its rows.
        row_weights : ndarray of shape (batch_size,), optional
            Weights of its rows.

        Returns
        -------
        labels : ndarray of shape (batch_size,), int32
            Index of the nearest center.
        inertia : float
            Weighted sum of squared distances to these.
        """
        running = self.running
        if self._moved is None:
            fill_panels(running.centers, self.panels)
            self._moved = _largest_move(running.exact, running.previous)
        if not self._relabelled:
            weights = self.none if row_weights is None else read_only(row_weights)
            self.team.run(
                relabel_listed, self.work if self.shared else 0.0, len(self.own_inertias), self.X,
                batch,
                weights, self.shift, self.panels, running.exact, self.labels, self.apart,
                self._moved, self.own_inertias,
            )  # fmt: skip
            self._relabelled = True
        return self.labels[: len(batch)].copy(), float(self.own_inertias.sum())

    def reassign(self, batch: Array, random_state: np.random.RandomState) -> int:
        """Move centers of little weight to rows of the batch just seen, as scikit-learn does.

        Parameters
        ----------
        batch : ndarray of shape (batch_size,), int64
            Its rows.
        random_state : numpy.random.RandomState
            Drawn from once.

        Returns
        -------
        int
            Number of centers that were moved.
        """
        self._moved, self._rounded, self._relabelled = None, None, False
        weights = self.running.weights
        moved = weights < self.rules.ratio * weights.max()
        most = int(0.5 * len(batch))
        if np.count_nonzero(moved) > 0.5 * len(batch):
            moved[np.argsort(weights)[most:]] = False
        n_moved = int(np.count_nonzero(moved))
        if n_moved:
            chosen = random_state.choice(len(batch), replace=False, size=n_moved)
            weights[moved] = weights[~moved].min()
            self._move(moved, batch[chosen])
        return n_moved

    def _move(self, moved: Array, listed: Array) -> None:
        """Make centers the listed rows, each of the weight that it has now."""
        centers, exact, sums, weights = self.running[:4]
        exact[moved] = self.X[listed] - self.shift[: self.X.shape[1]]
        sums[moved] = exact[moved] * weights[moved, None]
        centers[moved] = exact[moved]

    def state(self) -> dict[str, Array]:
        """What the steps to come depend on, by name: to be saved, and written to when restored."""
        names = ("centers", "exact", "sums", "weights", "monitor")
        return {name: getattr(self.running, name) for name in names}
