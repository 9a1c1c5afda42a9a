"""Lloyd's algorithm: every distance of every pass, on the fastest tile for the shape.

Lloyd, S.: Least squares quantization in PCM. IEEE Transactions on Information Theory 28 (1982).

A pass reads X once, computes ``|c|²/2 - x·c`` for all centers, keeps the smallest in registers and
hands the rows whose label has changed to :mod:`.update`.  Nothing of size n·k is ever stored.
Scores of float64 data are computed in float32 wherever that decides; see :mod:`.screening`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .distances import own_distances
from .emit.changes import account, add_unlabelled
from .emit.cpu import ALL_ROWS, TILE_ROWS, VECTOR_BYTES, round_up
from .emit.labelling import find_nearest, find_nearest_coarsely, settle_doubt
from .emit.masks import changed_labels, list_changes, unlabelled_rows
from .machine.calling import NOWHERE, call, offer_tasks, reference, threads_of
from .machine.compiling import helper, kernel
from .machine.loops import launch_for, offer
from .machine.parallel import LOOP_WORK, SMALL_WORK, Team, next_task
from .records import LABELS_ONLY, PILES, RECORD, Array, Job, Panels, Piles, Rows, Screen, Totals
from .rounds import LIST_ROOM, LISTED, rows_below, tile_on
from .screening import (
    MOST_DOUBTED,
    fill_screen,
    make_screen,
    pays_to_screen,
    screen_reference,
)
from .tiles import aligned_empty, fill_panels, make_panels, panels_reference, scratch
from .update import Update, average_reference, merge_pile, owners_reference


class Pass(NamedTuple):
    """What every pass of one data set is run with."""

    job: Job
    panels: Panels
    screen: Screen | None
    doubted: Array


@kernel
def label_slices(counter, gate, n_tasks, asks, mode, job, panels, screen, doubted):
    """Assign all rows, slice by slice, and account for those that change.

    Where it `asks` the `screen`, None for float32 data, `doubted` counts the rows of each slice
    that float64 had to decide.
    """
    # Taken out of their tuples here: inside the loop each access would count references.
    slice_size, rows, mean, labels, piles, changes = job
    n_samples, n_changes = rows.X.shape[0], changes.n
    n_packed = np.int64(0) if panels.by_features else len(mean) * TILE_ROWS
    packed = scratch(mean, n_packed)
    tile = tile_on(packed, packed)
    index = tile.index
    if screen is not None:
        coarse = tile_on(scratch(screen.bias, n_packed), packed)
        coarse_index = coarse.index
    winners = scratch(labels, 2 * TILE_ROWS)
    movers, sources = scratch(n_changes, LIST_ROOM), scratch(labels, LIST_ROOM)
    while True:
        task = next_task(counter, gate, n_tasks)
        if task >= n_tasks:
            break
        start = task * slice_size
        stop = min(start + slice_size, n_samples)
        n_changed, n_listed, n_doubted = np.int64(0), np.int64(0), np.int64(0)
        # Handle a tile's changes during the next tile: this hides the misprediction of the
        # branch that asks whether there are any.
        mask, slot = np.uint64(0), np.int64(0)
        for first in range(start, stop + TILE_ROWS, TILE_ROWS):
            before, mask = mask, np.uint64(0)
            if first < stop:
                valid = rows_below(min(TILE_ROWS, n_samples - first))
                if screen is not None and asks:
                    doubt = find_nearest_coarsely(rows, mean, first, panels, screen, coarse)
                    n_doubted += settle_doubt(doubt & valid, rows, mean, first, panels, coarse)
                    mask = changed_labels(coarse_index, labels, first, winners, slot)
                else:
                    find_nearest(rows, mean, first, panels, screen, tile)
                    mask = changed_labels(index, labels, first, winners, slot)
                mask &= valid
            slot = TILE_ROWS - slot
            last = first - TILE_ROWS
            # Where no row of a tile has had a label there is nothing to list.
            if before != 0 and mode == PILES and unlabelled_rows(labels, last) == ALL_ROWS:
                count = min(TILE_ROWS, stop - last)
                n_changed += add_unlabelled(job, last, count, winners, slot, task)
            elif before != 0:
                n_listed = list_changes(
                    before, last, winners, slot, labels, movers, sources, n_listed
                )
            if n_listed >= LISTED or (n_listed and first >= stop):
                start_of_list = start + n_changed
                n_changed += account(mode, job, movers, sources, n_listed, start_of_list, task)
                n_listed = np.int64(0)
        n_changes[task], doubted[task] = n_changed, n_doubted
        if mode == PILES:
            merge_pile(task, n_tasks, piles)


class Calls(NamedTuple):
    """References to the kernels of an iteration; see :mod:`.machine.calling`."""

    assign: Any
    move: Any  # recorded rows, where piles are large; else never called
    average: Any
    pack: Any
    screen: Any


class Sums(NamedTuple):
    """What piles become: totals, and of these the next centers."""

    piles: Piles
    totals: Totals
    centers: Array
    new_centers: Array


class Limits(NamedTuple):
    """What ends a run of iterations, beside empty clusters, which the loop must see to."""

    n_steps: int  # most iterations
    tol: float  # shift
    few: int  # rows whose label has changed


@helper
def asks_first(calls, panels, screen, screens):
    """Round packed centers for the screen, where it `screens`; whether it can be asked."""
    asks = False
    if screen is not None:
        coarse, coarse_bias, n_centers, _ = screen
        if screens:
            arguments = (panels.packed, panels.bias, coarse, coarse_bias, n_centers)
            asks = call(calls.screen, False, arguments, ())
    return asks


@helper
def pack(calls, centers, panels):
    """Pack centers for the next pass."""
    by_features, n_wide, n_narrow, packed, bias = panels
    size = VECTOR_BYTES // centers.itemsize
    call(calls.pack, None, (centers, by_features, n_wide, n_narrow, size, packed, bias), ())


@helper
def move_centers(calls, launch, mode, n_changed, job, sums):
    """Bring the sums up to date with a pass and average them; shift, and number of empty clusters.

    Rows that the pass has recorded are moved by the owners of their clusters.
    """
    if mode == RECORD:
        slice_size, rows, mean, labels, _, changes = job
        work = 2.0 * n_changed * rows.X.shape[1]
        n_owners = threads_of(launch.counter) if work > SMALL_WORK else 1
        own_gate = offer(launch, work)
        arguments = launch.counter, own_gate, n_owners, False, slice_size, rows, mean
        call(calls.move, None, arguments, (labels, changes, sums.totals))
    return call(calls.average, (0.0, np.int64(0)), sums, ())


@helper
def copy_centers(centers, out):
    """Write centers to `out`; a loop compiles in less time than an assignment of arrays."""
    for cluster in range(centers.shape[0]):
        for t in range(centers.shape[1]):
            out[cluster, t] = centers[cluster, t]


@helper
def iterate(calls, launch, limits, screens, passed, sums):
    """Whole iterations from ``sums.centers`` until one of the `limits`, each pass a launch.

    Returns steps, changed rows, shift and number of empty clusters of the last step, which began
    with ``sums.centers``, and whether the screen still pays.
    """
    counter, gate, n_tasks, _ = launch
    n_steps, tol, few = limits
    centers, n_samples = sums.centers, passed.job.rows.X.shape[0]
    mode = PILES if len(sums.piles.touched) else RECORD
    step = 0
    while True:
        pack(calls, centers, passed.panels)
        asks = asks_first(calls, passed.panels, passed.screen, screens)
        offer_tasks(counter)
        call(calls.assign, None, (counter, gate, n_tasks, asks, mode), passed)
        n_changed, n_doubted = np.int64(0), np.int64(0)
        for task in range(n_tasks):
            n_changed += passed.job.changes.n[task]
            n_doubted += passed.doubted[task]
        screens = screens and n_doubted <= MOST_DOUBTED * n_samples
        shift, n_empty = move_centers(calls, launch, mode, n_changed, passed.job, sums)
        step += 1
        if step == n_steps or n_changed <= few or shift <= tol or n_empty > 0:
            break
        copy_centers(sums.new_centers, centers)
    return step, n_changed, shift, n_empty, screens


@kernel
def _iterate(calls, launch, limits, screens, passed, sums):
    return iterate(calls, launch, limits, screens, passed, sums)


class Lloyd:
    """Assignment by all distances.

    Parameters
    ----------
    rows : Rows
        The data.
    mean : ndarray of shape (padded n_features,)
        What every row is centred by; centers are, too.
    n_clusters : int
        Number of centers.
    update : Update
        Told of every row that changes its cluster.
    team : Team
        Threads to run on.

    Attributes
    ----------
    labels : ndarray of shape (n_samples padded to a tile,), int32
        Nearest center of each row after :meth:`assign`; -1 before.
    n_distances : int
        Number of distances computed so far; one that is looked at twice counts once.
    """

    update_class = Update

    def __init__(
        self, rows: Rows, mean: Array, n_clusters: int, update: Update, team: Team
    ) -> None:
        n_samples, n_features = rows.X.shape
        self.rows, self.mean, self.update, self.team = rows, mean, update, team
        self.labels = aligned_empty(round_up(n_samples, TILE_ROWS), np.int32)
        self.labels[:] = -1
        self.n_clusters, self.n_distances = n_clusters, 0
        self.panels = make_panels(n_clusters, n_features, rows.X.dtype)
        self.pays_to_screen = pays_to_screen(n_clusters, n_features, rows.X.dtype)
        self.screen = make_screen(self.panels, self.pays_to_screen, n_clusters, n_features)
        self.screens = self.pays_to_screen
        self.work = float(n_samples) * n_features * (n_clusters + 4)
        self.n_slices = update.n_slices
        self.doubted = np.zeros(self.n_slices, np.int64)

    def own_distances(self, centers: Array, distances: Array | None = None) -> float:
        """Inertia of the labels for `centers`; see :func:`.distances.own_distances`."""
        return own_distances(
            self.rows, self.mean, centers, self.labels, self.team, distances=distances
        )

    def reset(self) -> None:
        """Forget the labels."""
        self.labels[:] = -1
        self.screens = self.pays_to_screen

    def assign(self, centers: Array, *, account: bool = True) -> int:
        """Label every row with its nearest center, the lowest where several are.

        Parameters
        ----------
        centers : ndarray of shape (n_clusters, n_features)
            Centred centers, of the dtype of the rows.
        account : bool
            Whether the update is told of the changes.

        Returns
        -------
        int
            Number of rows whose label has changed.
        """
        fill_panels(centers, self.panels)
        asks = self.screens and fill_screen(self.panels, self.screen)
        mode = self.update.mode if account else LABELS_ONLY
        self.team.run(label_slices, self.work, self.n_slices, asks, mode, *self.passed())
        self._count_distances(self.rows.X.shape[0], int(self.doubted.sum()))
        return int(self.update.changes.n.sum())

    def _count_distances(self, n_rows: int, n_doubted: int) -> None:
        """Account for distances to all centers; screen no more where that decides too little."""
        self.n_distances += n_rows * self.n_clusters
        if n_doubted > MOST_DOUBTED * n_rows:
            self.screens = False

    @property
    def is_small(self) -> bool:
        """Whether a second thread would not pay."""
        return self.work < SMALL_WORK and self.update.mode == PILES

    @property
    def iterates(self) -> bool:
        """Whether :meth:`iterate` is offered."""
        return True

    def iterate(
        self, n_steps: int, tol: float, centers: Array, new_centers: Array, few: int = 0
    ) -> tuple[int, int, float, int]:
        """Run up to `n_steps` whole iterations without coming back to Python.

        Parameters
        ----------
        n_steps : int
            Most iterations; after a tenth of a second there are no more in any case.
        tol : float
            Shift at which iterations end.
        centers, new_centers : ndarray of shape (n_clusters, n_features)
            Receive the centers before and after the last iteration; `centers` those to begin with.
        few : int
            Number of rows with a new label at which iterations end.

        Returns
        -------
        n_steps, n_changed, shift, n_empty
            As the loop would have seen them at the last iteration.
        """
        passed, sums = self.passed(), self.sums(centers, new_centers)
        n_steps, n_changed, shift, n_empty, self.screens = _iterate(
            self.calls(passed, sums),
            launch_for(self.team, self.work, self.n_slices),
            Limits(min(n_steps, self.most_steps), float(tol), few),
            self.screens,
            passed,
            sums,
        )
        self.n_distances += n_steps * self.rows.X.shape[0] * len(centers)
        return n_steps, n_changed, shift, n_empty

    @property
    def most_steps(self) -> int:
        """Iterations from one look at signals to the next."""
        return 1 + int(LOOP_WORK / self.work)

    def job(self) -> Job:
        """The rows, and where changes are accounted for."""
        update = self.update
        return Job(
            update.slice_rows, self.rows, self.mean, self.labels, update.piles, update.changes
        )

    def passed(self) -> Pass:
        """What passes are run with."""
        return Pass(self.job(), self.panels, self.screen, self.doubted)

    def sums(self, centers: Array, new_centers: Array) -> Sums:
        """What iterations add up, and the centers that they go from and to."""
        return Sums(self.update.piles, self.update.totals, centers, new_centers)

    def _move_reference(self, totals: Totals) -> Any:
        """To the kernel that moves recorded rows; nowhere where none are recorded."""
        if self.update.mode != RECORD:
            return NOWHERE
        size, rows, mean, labels, _, changes = self.job()
        return owners_reference(size, rows, mean, labels, changes, totals, self.team.gate)

    def calls(self, passed: Pass, sums: Sums) -> Calls:
        """References to the kernels of an iteration on such arguments."""
        gate = self.team.gate
        key = self.rows.dtype, passed.job.changes.rows.dtype
        return Calls(
            reference(label_slices, key, gate, gate, 1, True, PILES, *passed),
            self._move_reference(sums.totals),
            average_reference(*sums),
            panels_reference(sums.centers, self.panels),
            screen_reference(self.panels, self.screen),
        )
