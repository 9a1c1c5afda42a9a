"""The choice between all distances and bounds, made anew in every round from what bounds save.

Bounds cost a few nanoseconds a row, whatever the distances cost; so they are not tried where a row
passes the dense tile in less.  Where they are, they are those of :mod:`.elkan`: two for each row,
and one for each center where a row's distances cost most.  The share of the distances that they
spared in the last round decides the next.  The choice depends on shapes and counts alone, never on
a clock: the same data take the same way on every machine, and every way gives the same bits.
"""

from __future__ import annotations

import numpy as np

from .elkan import Elkan
from .emit.cpu import lanes
from .lloyd import Lloyd
from .machine.parallel import SMALL_WORK, Team
from .records import LABELS_ONLY, Array, Rows
from .update import Update

# In vector operations of a tile in the type of the data: what the bounds of a row cost, and what a
# row must cost for bounds to be tried, and for them to be kept from the first round on; that is
# less where distances are screened, since that tile finds the second nearest center anyway.
BOUNDS_COST, WORTH_TRYING, WORTH_KEEPING, WORTH_SCREENING = 30.0, 40.0, 250.0, 160.0
# What is only tried is tried once so few rows change their cluster, and where rounds are long; what
# is kept, but pays through what it spares alone, begins once so few change.
CALM, LONG_ROUND, SETTLING = 0.01, 20 * SMALL_WORK, 0.1
LEAST_GAIN = 1.0  # share of a dense round's cost above which bounds are given up for a while
LONGEST_PAUSE = 16  # rounds


class Auto(Lloyd):
    """All distances or bounds, whichever promises to be faster.

    Parameters and attributes as for :class:`.lloyd.Lloyd`.

    Notes
    -----
    Memory: that of the bounds that are kept, if any.
    """

    def __init__(
        self, rows: Rows, mean: Array, n_clusters: int, update: Update, team: Team
    ) -> None:
        super().__init__(rows, mean, n_clusters, update, team)
        # The epilogue of a center costs about as much as three features.
        self.cost = n_clusters * (rows.X.shape[1] + 3) / lanes(rows.X.dtype)
        self.screened = rows.X.dtype == np.float64
        self.worth_keeping = WORTH_SCREENING if self.screened else WORTH_KEEPING
        self.bounds: Elkan | None = None
        if self._worth_it():
            self.bounds = Elkan(rows, mean, n_clusters, update, team)
            self.bounds.labels = self.labels
        self._start_again()

    def _worth_it(self) -> bool:
        """Whether bounds are tried at all."""
        if self.panels.by_features or self.cost < WORTH_TRYING:
            return False
        return self.work > (LONG_ROUND if self.cost < self.worth_keeping else 4 * SMALL_WORK)

    def reset(self) -> None:
        """Forget labels, bounds and experience."""
        super().reset()
        if self.bounds is not None:
            self.bounds.forget()
        self._start_again()

    def _start_again(self) -> None:
        # Where distances are expensive, bounds are kept even while they spare nothing: they cost
        # little then, and the rounds in which they will spare most are to come.
        self.keeps = self.cost >= self.worth_keeping
        self.calm = SETTLING if self.keeps else CALM
        self.trying, self.pause, self.next_pause = self.keeps and self.screened, 0, 2

    @property
    def iterates(self) -> bool:
        """As Lloyd's; where bounds are tried, as theirs."""
        return self.bounds is None or not self.trying or self.bounds.iterates

    def iterate(
        self, n_steps: int, tol: float, centers: Array, new_centers: Array, few: int = 0
    ) -> tuple[int, int, float, int]:
        """Run up to `n_steps` whole iterations of one kind; see :meth:`.lloyd.Lloyd.iterate`."""
        bounds = self.bounds
        if bounds is None:
            return super().iterate(n_steps, tol, centers, new_centers, few)
        if not self.trying:
            if self.pause > 0:
                n_steps = min(n_steps, self.pause)
            else:
                few = max(few, int(self.calm * self.rows.X.shape[0]))
            outcome = super().iterate(n_steps, tol, centers, new_centers, few)
            self._see_calm(outcome[0], outcome[1])
            return outcome
        if not self.keeps:
            n_steps = 1
        fresh, done = bounds.n_rounds == 0, bounds.n_distances
        outcome = bounds.iterate_by_bounds(n_steps, tol, centers, new_centers, few)
        self._account(bounds.n_distances - done, fresh)
        return outcome

    def assign(self, centers: Array, *, account: bool = True) -> int:
        """Label every row with its nearest center; see :meth:`.lloyd.Lloyd.assign`."""
        bounds = self.bounds
        if bounds is None or not self.trying:
            n_changed = super().assign(centers, account=account)
            self._see_calm(1, n_changed)
            return n_changed
        mode = self.update.mode if account else LABELS_ONLY
        fresh, done = bounds.n_rounds == 0, bounds.n_distances
        n_changed = bounds.assign_by_bounds(centers, mode)
        self._account(bounds.n_distances - done, fresh)
        return n_changed

    def _see_calm(self, n_rounds: int, n_changed: int) -> None:
        """After rounds by all distances: whether bounds are tried from now on."""
        self.pause -= n_rounds
        self.trying = self.pause < 0 and n_changed <= self.calm * self.rows.X.shape[0]

    def _account(self, n_distances: int, fresh: bool) -> None:
        """After rounds by bounds, with so many distances; they are `fresh` after the first."""
        self.n_distances += n_distances
        if not (self.keeps or fresh):
            self._learn(n_distances)

    def _learn(self, n_distances: int) -> None:
        """Give the bounds up for a while where they have spared less than they cost."""
        share = n_distances / (self.rows.X.shape[0] * self.n_clusters)
        if share + BOUNDS_COST / self.cost > LEAST_GAIN:
            self.trying = False
            self.pause, self.next_pause = self.next_pause, min(2 * self.next_pause, LONGEST_PAUSE)
            if self.bounds is not None:
                self.bounds.forget()
        else:
            self.next_pause = 2
