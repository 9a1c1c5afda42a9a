"""The choice between all distances and bounds, made anew in every round from what bounds save.

Bounds cost a few nanoseconds a row, whatever the distances cost; so they are not tried where a row
passes the dense tile in less.  Where they are, the share of the distances that they spared in the
last round decides the next.  The choice depends on counts alone, never on a clock: the same data
take the same way on every machine, and every way gives the same bits.
"""

from __future__ import annotations

from .exponion import Exponion
from .hamerly import Hamerly
from .lloyd import Lloyd
from .parallel import SMALL_WORK, Team
from .simd import lanes
from .tiles import Array, Rows
from .update import LABELS_ONLY, Update

# In vector operations of the dense tile: what the bounds of a row cost, and what a row must cost
# for bounds to be tried, and for rows to be grouped, at all.
BOUNDS_COST, WORTH_TRYING, WORTH_GROUPING = 30.0, 56.0, 250.0
LEAST_GAIN = 1.0  # share of a dense round's cost above which bounds are given up for a while
MANY_ROWS = 1 << 16  # fewer, in slices, fill Hamerly's tiles badly
LONGEST_PAUSE = 16  # rounds


class Auto(Exponion):
    """Whichever of Lloyd's, Hamerly's and exponion's ways promises to be the fastest.

    Parameters and attributes as for :class:`.lloyd.Lloyd`.

    Notes
    -----
    Memory: that of Exponion where bounds are tried, that of Lloyd otherwise.
    """

    def __init__(
        self, rows: Rows, mean: Array, n_clusters: int, update: Update, team: Team
    ) -> None:
        n_features, dtype = rows.X.shape[1], rows.X.dtype
        # The epilogue of a center costs about as much as three features.
        self.cost = n_clusters * (n_features + 3) / lanes(dtype)
        Lloyd.__init__(self, rows, mean, n_clusters, update, team)
        self.grouping = self.cost >= WORTH_GROUPING
        worth_it = self.cost >= WORTH_TRYING and rows.X.shape[0] >= MANY_ROWS
        self.bounded = (
            (self.grouping or worth_it)
            and self.work > 4 * SMALL_WORK
            and not self.panels.by_features
        )
        if self.bounded:
            super().__init__(rows, mean, n_clusters, update, team)
        self._start_again()

    def reset(self) -> None:
        """Forget labels, bounds and experience."""
        Lloyd.reset(self)
        self._start_again()

    def _start_again(self) -> None:
        self.before = None
        self.pause, self.next_pause = 0 if self.grouping else 2, 2

    @property
    def iterates(self) -> bool:
        """As Lloyd's, where bounds are not tried."""
        return not self.bounded and Lloyd.iterates.fget(self)  # type: ignore[attr-defined]

    def assign(self, centers: Array, *, account: bool = True) -> int:
        """Label every row with its nearest center; see :meth:`.lloyd.Lloyd.assign`."""
        if not self.bounded or self.pause > 0:
            self.pause -= 1
            self.before = None
            return Lloyd.assign(self, centers, account=account)
        mode = self.update.mode if account else LABELS_ONLY
        fresh, done = self.before is None, self.n_distances
        if self.grouping:
            n_changed = self.assign_by_bounds(centers, mode)
        else:
            n_changed = Hamerly.assign_by_bounds(self, centers, mode)
        # Where distances are dear, bounds are kept even while they spare nothing: their cost is
        # small then, and the rounds in which they will spare most are to come.
        if not fresh and not self.grouping:
            self._learn(self.n_distances - done, len(centers))
        return n_changed

    def _learn(self, n_distances: int, n_clusters: int) -> None:
        """Give the bounds up for a while where they have spared less than they cost."""
        share = n_distances / (self.rows.X.shape[0] * n_clusters)
        if share + BOUNDS_COST / self.cost > LEAST_GAIN:
            self.pause, self.next_pause = self.next_pause, min(2 * self.next_pause, LONGEST_PAUSE)
        else:
            self.next_pause = 2
