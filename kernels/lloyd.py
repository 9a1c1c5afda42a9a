"""Lloyd's algorithm: every distance of every pass, on the fastest tile for the shape.

Lloyd, S.: Least squares quantization in PCM. IEEE Transactions on Information Theory 28 (1982).

A pass reads X once, computes ``|c|²/2 - x·c`` for all centers, keeps the smallest in registers and
hands the rows whose label has changed to :mod:`.update`.  Nothing of size n·k is ever stored.
Scores of float64 data are computed in float32 wherever that decides; see :mod:`.screening`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiling import kernel
from .distances import own_distances
from .parallel import SMALL_WORK, Team, new_counter, next_task, restart
from .screening import (
    LEAST_SCORE,
    MOST_DOUBTED,
    fill_screen,
    make_screen,
    pays_to_screen,
    round_centers,
)
from .simd import (
    ALL_ROWS,
    FEATURE_ROWS,
    IN_REGISTERS,
    TILE_ROWS,
    add_rows,
    changed_labels,
    doubtful_rows,
    lanes,
    list_changes,
    lowest_bit,
    move_rows,
    nearest_in_row,
    nearest_of_few,
    nearest_of_low,
    nearest_of_many,
    nearest_two_of_many,
    pack_rows,
    round_up,
    unlabelled_rows,
)
from .tiles import (
    Array,
    Rows,
    aligned_empty,
    fill_panels,
    make_panels,
    pack_centers,
    scratch,
)
from .update import (
    LABELS_ONLY,
    LIST_ROOM,
    LISTED,
    PILES,
    RECORD,
    Update,
    average,
    merge_pile,
    record_changes,
    take_pile,
)


@kernel
def _run(
    counter, gate, n_tasks, n_steps, tol, size, slice_size, rows, mean, panels, screen, asks,
    labels, mode, piles, changes, totals, centers, new_centers, doubted,
):  # fmt: skip
    """Assign all rows, slice by slice, and account for those that change.

    With `n_steps` above zero, by one thread: up to so many whole iterations, for fits too small to
    come back to Python in between.  Stops as the loop would, at unchanged labels and at a shift
    within `tol`, and at empty clusters, which the loop must see to.  Returns steps, changed rows,
    shift and number of empty clusters of the last step; `centers` is what it started from.

    Where it `asks` the `screen`, None for float32 data, `doubted` counts the rows of each slice
    that float64 had to decide.
    """
    # Taken out of their tuples here: inside the loop each access would count references.
    X, tail, row_weights = rows
    by_features, n_wide, n_narrow, packed_centers, bias = panels
    records, touched, arrivals = piles
    n_changes, changed_rows, changed_sources = changes
    n_samples, n_features = X.shape
    packed = scratch(mean, np.int64(0) if by_features else len(mean) * TILE_ROWS)
    best, index = scratch(mean, TILE_ROWS), scratch(mean, TILE_ROWS)
    if screen is not None:
        coarse_centers, coarse_bias, n_coarse, coarse_slack = screen
        shrunk = scratch(coarse_bias, np.int64(0) if by_features else len(mean) * TILE_ROWS)
        coarse_best, coarse_index = scratch(coarse_bias, TILE_ROWS), scratch(coarse_bias, TILE_ROWS)
        coarse_second = scratch(coarse_bias, TILE_ROWS)
        norms, coarse_bits = scratch(coarse_bias, TILE_ROWS), coarse_index.view(np.int32)
    winners = scratch(labels, 2 * TILE_ROWS)
    movers, sources = scratch(n_changes, LIST_ROOM), scratch(labels, LIST_ROOM)
    step, all_changed, shift, n_empty = 0, np.int64(0), 0.0, 0
    while True:
        while True:
            task = next_task(counter, gate, n_tasks)
            if task >= n_tasks:
                break
            start = task * slice_size
            stop = min(start + slice_size, n_samples)
            n_changed, n_listed, n_doubted = np.int64(0), np.int64(0), np.int64(0)
            # The changes of a tile are looked at when the next one is under way: the CPU then has
            # work to do while it finds out that it has guessed wrong whether there are any.
            mask, slot = np.uint64(0), np.int64(0)
            for first in range(start, stop + TILE_ROWS, TILE_ROWS):
                before, mask = mask, np.uint64(0)
                if first < stop:
                    valid = ALL_ROWS
                    if first + TILE_ROWS > n_samples:
                        valid = (np.uint64(1) << np.uint64(n_samples - first)) - np.uint64(1)
                    if screen is not None and asks:
                        if n_features <= IN_REGISTERS:
                            doubt = nearest_of_low(
                                X, tail, first, mean, coarse_centers, coarse_bias, n_wide,
                                n_narrow, coarse_index, coarse_slack, LEAST_SCORE,
                            )  # fmt: skip
                        else:
                            pack_rows(X, tail, first, mean, shrunk)
                            nearest_two_of_many(
                                shrunk, coarse_centers, coarse_bias, n_wide, n_narrow, n_features,
                                coarse_best, coarse_index, coarse_second,
                            )  # fmt: skip
                            doubt = doubtful_rows(
                                shrunk, n_features, coarse_best, coarse_second, coarse_slack,
                                LEAST_SCORE, norms,
                            )  # fmt: skip
                        doubt &= valid
                        while doubt != 0:
                            bit = lowest_bit(doubt)
                            doubt &= doubt - np.uint64(1)
                            for t in range(n_features):
                                packed[t] = X[first + bit, t] - mean[t]
                            coarse_bits[bit] = nearest_in_row(
                                packed, packed_centers, bias, n_wide, n_narrow, n_features
                            )
                            n_doubted += 1
                        mask = changed_labels(coarse_index, labels, first, winners, slot)
                    else:
                        if by_features:
                            for row in range(0, TILE_ROWS, FEATURE_ROWS):
                                nearest_of_few(
                                    X, tail, first, mean, packed_centers, bias, n_wide, n_narrow,
                                    best, index, row,
                                )  # fmt: skip
                        elif screen is None and n_features <= IN_REGISTERS:
                            nearest_of_low(
                                X, tail, first, mean, packed_centers, bias, n_wide, n_narrow, index,
                                LEAST_SCORE, LEAST_SCORE,
                            )  # fmt: skip
                        else:
                            pack_rows(X, tail, first, mean, packed)
                            nearest_of_many(
                                packed, packed_centers, bias, n_wide, n_narrow, n_features, best,
                                index,
                            )  # fmt: skip
                        mask = changed_labels(index, labels, first, winners, slot)
                    mask &= valid
                slot = TILE_ROWS - slot
                last = first - TILE_ROWS
                # Where no row of a tile has had a label there is nothing to list.
                if before != 0 and mode == PILES and unlabelled_rows(labels, last) == ALL_ROWS:
                    count = min(TILE_ROWS, stop - last)
                    for i in range(count):
                        labels[last + i] = winners[slot + i]
                    add_rows(X, mean, row_weights, last, count, labels, records, touched, task)
                    n_changed += count
                elif before != 0:
                    n_listed = list_changes(
                        before, last, winners, slot, labels, movers, sources, n_listed
                    )
                if n_listed >= LISTED or (n_listed and first >= stop):
                    if mode == PILES:
                        move_rows(
                            X, mean, row_weights, movers, sources, n_listed, labels, records,
                            touched, task,
                        )  # fmt: skip
                    elif mode == RECORD:
                        record_changes(
                            movers, sources, n_listed, changed_rows, changed_sources,
                            start + n_changed,
                        )  # fmt: skip
                    n_changed += n_listed
                    n_listed = np.int64(0)
            n_changes[task], doubted[task] = n_changed, n_doubted
            if mode == PILES:
                merge_pile(task, n_tasks, records, touched, arrivals)
        if n_steps == 0:
            break
        all_changed = np.int64(0)
        for task in range(n_tasks):
            all_changed += n_changes[task]
        take_pile(piles, totals)
        shift, n_empty = average(totals, centers, new_centers)
        step += 1
        if step == n_steps or all_changed == 0 or shift <= tol or n_empty > 0:
            break
        for cluster in range(centers.shape[0]):
            for t in range(centers.shape[1]):
                centers[cluster, t] = new_centers[cluster, t]
        pack_centers(centers, by_features, n_wide, n_narrow, size, packed_centers, bias)
        if screen is not None and asks:
            asks = round_centers(packed_centers, bias, coarse_centers, coarse_bias, n_coarse)
        restart(counter)
    return step, all_changed, shift, n_empty


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
        arguments = self._arguments(0, 0.0, mode, centers, centers, asks)
        self.team.run(_run, self.work, self.n_slices, *arguments)
        self._count_distances(self.rows.X.shape[0], int(self.doubted.sum()))
        return int(self.update.changes.n.sum())

    def _count_distances(self, n_rows: int, n_doubted: int) -> None:
        """Account for distances to all centers; screen no more where that decides too little."""
        self.n_distances += n_rows * self.n_clusters
        if n_doubted > MOST_DOUBTED * n_rows:
            self.screens = False

    @property
    def iterates(self) -> bool:
        """Whether :meth:`iterate` is offered: where a second thread would not pay anyway."""
        return self.work < SMALL_WORK and self.update.mode == PILES

    def iterate(
        self, n_steps: int, tol: float, centers: Array, new_centers: Array
    ) -> tuple[int, int, float, int]:
        """Run up to `n_steps` whole iterations without coming back to Python.

        Returns
        -------
        n_steps, n_changed, shift, n_empty
            As the loop would have seen them at the last step; `centers` and `new_centers` are
            those before and after it.
        """
        fill_panels(centers, self.panels)
        counter = new_counter()
        asks = self.screens and fill_screen(self.panels, self.screen)
        arguments = self._arguments(n_steps, tol, PILES, centers, new_centers, asks)
        outcome = _run(counter, self.team.gate, self.n_slices, *arguments)
        self.n_distances += outcome[0] * self.rows.X.shape[0] * len(centers)
        return outcome

    def _arguments(
        self,
        n_steps: int,
        tol: float,
        mode: int,
        centers: Array,
        new_centers: Array,
        asks: bool,
    ) -> tuple[Any, ...]:
        update = self.update
        return (
            n_steps,
            tol,
            lanes(centers.dtype),
            update.slice_rows,
            self.rows,
            self.mean,
            self.panels,
            self.screen,
            asks,
            self.labels,
            mode,
            update.piles,
            update.changes,
            update.totals,
            centers,
            new_centers,
            self.doubted,
        )
