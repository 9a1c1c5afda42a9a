"""Breathing k-means: a solution of k-means made better by centers that come and go.

Fritzke, B.: The breathing k-means algorithm. arXiv 2006.15666v5.

A breath adds m centers beside those of the largest error and runs k-means; then it takes away the m
centers that are missed least, and runs k-means again.  Where that has gained too little, the next
breath has one center less.  The best clusters of all breaths are kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .callbacks import Listeners
from .checkpoints import Checkpoint
from .fits import MOST, recorded, state_found
from .kernels.auto import Auto
from .kernels.lloyd import Lloyd
from .kernels.machine.parallel import Team
from .kernels.rivals import rivals
from .kernels.tiles import Array
from .lloyd_loop import Fit, Loop, State
from .rows.streaming import StreamedRows

OFFSET = 0.01  # of a new center from an old one, in root mean squared distances of the rows
LEAST_GAIN = 1e-4  # share of the inertia below which a breath has gained too little
# Centers that were added need not come to rest: what is asked of them is which are worth most.
HASTE = 30.0  # by which `tol` is larger for them
# Multiply-adds of a pass below which the caller makes it alone.  What is done in Python between two
# runs takes as long as a few of them, and helpers would look out for the next one all the while.
ALONE = 10_000_000
# Runs of a breath, without its centers and with them; the last of all.
NARROW, WIDE, LAST = range(3)


class Refinement:
    """The breaths of one fit.

    Within a breath every run goes on from the labels and sums of the one before, and its inertia is
    that of labels one iteration older than its centers, which is too high by little.  The best
    clusters of all breaths come to rest in a last run, like those of any start.

    Parameters
    ----------
    loop : Loop
        That of the starts.
    best : Fit
        The best start.
    size : int
        Most centers that come and go together.
    random_state : RandomState
        Where new centers are put is drawn from it.
    n_starts : int
        Number of starts.

    Attributes
    ----------
    number : int
        Number of the breath, from 1.
    size : int
        Number of centers that come and go in it.
    stage : int
        Which run it is: `NARROW`, `WIDE` or `LAST`.
    best : Fit
        The best clusters so far.
    state : State or None
        Where the run of a checkpoint had come to.
    """

    def __init__(
        self,
        loop: Loop,
        best: Fit,
        size: int,
        random_state: np.random.RandomState,
        n_starts: int,
    ) -> None:
        (n_samples, n_features), k = loop.rows.shape, len(best.centers)
        self.given, self.loop, kind = loop, loop, type(loop.algorithm)
        if n_samples * n_features * k < ALONE:  # bounds do not pay either
            self.loop = loop.alike(Lloyd if kind is Auto else kind, k, Team(0))
        self.random_state, self.n_starts = random_state, n_starts
        self.number, self.size, self.stage = 0, min(size, k, n_samples - k), NARROW
        self.start, self.best = best, best.kept(True)
        self.state: State | None = None
        self.n_iter, self.ended = 0, False
        self._wide_loop: Loop | None = None

    def _resume(self, saved: Checkpoint) -> None:
        """Go back to where a checkpoint was written, if it was within a breath."""
        if saved.found is None or saved.integer("number", 0, self.n_starts) < self.n_starts:
            return
        loop, shape = self.loop, self.start.centers.shape
        self.number = saved.integer("breath", 1, MOST)
        self.size = saved.integer("size", 0, max(self.size, 1))
        self.stage = saved.integer("stage", NARROW, LAST)
        self.n_iter = saved.integer("n_written", 1, MOST)
        self.start = self.start._replace(
            centers=saved.array("start_centers", shape, loop.rows.dtype),
            inertia=saved.real("start_inertia"),
            n_iter=saved.integer("start_n_iter", 1, loop.max_iter),
        )
        self.state = state_found(saved, self._wider() if self.stage == WIDE else loop)

    def run(self, listeners: Listeners, saved: Checkpoint) -> Fit:
        """Breathe until no center gains enough, or a callback ends it; the best clusters."""
        self.listeners, self.saved = listeners, saved
        self._resume(saved)
        loop, start = self.loop, self.start
        if self.state is None and self.size > 0 and len(start.centers) > 1 and start.inertia > 0:
            self._measure(start)
            loop.update.refresh(loop.algorithm.labels, np.empty_like(start.centers))
        elif self.state is None:
            return start
        if self.stage != LAST:
            self._breathe()
        if not self.best.inertia < start.inertia:
            return self.best
        if self.ended:
            fit = loop.labelled(self.best)
        else:
            self.stage = LAST
            fit = self._run(loop, self.best.centers)
        # Rounding may have made it worse, where it was hardly better.
        return fit if fit.inertia < start.inertia else loop.labelled(start)

    def _breathe(self) -> None:
        while self.state is not None or (self.size > 0 and self.best.inertia > 0):
            if self.state is None:
                self.number, self.stage = self.number + 1, WIDE
                if self.loop.verbose:
                    print(f"Breath {self.number}, centers that come and go: {self.size}.")
                self._inhale()
            if self.stage == WIDE:
                more = self._run(self._wider())
                if self.ended:
                    break
                self.stage = NARROW
                self._exhale(more)
            self._measure(self._run(self.loop))
            self._judge()
            if self.ended:
                break

    def _measure(self, fit: Fit) -> None:
        """Take these clusters for those to go on from; the error of each."""
        inertia, own = self.loop.measured(fit.labels, fit.centers)
        self.fit = fit._replace(inertia=inertia)
        self.errors = self._per_cluster(own, fit.labels, len(fit.centers))

    def _judge(self) -> None:
        """Keep what is better; let fewer centers come and go where it is not by enough."""
        inertia = self.best.inertia
        if self.fit.inertia < inertia:
            self.best = self.fit.kept(True)
        if not self.fit.inertia < inertia * (1 - LEAST_GAIN):
            self.size -= 1

    def _run(self, loop: Loop, start: Array | None = None) -> Fit:
        """k-means from centers, or else from the state that was made or found."""
        state, self.state = self.state, None
        loop.observe = self._observer(loop) if self.listeners else None
        loop.save = self._save if self.saved else None
        before = loop.algorithm.n_distances
        fit = loop.run(start, state, rough=self.stage != LAST)
        if loop is not self.given:
            self.given.algorithm.n_distances += loop.algorithm.n_distances - before
        return fit

    def _wider(self) -> Loop:
        """A loop of as many centers as this breath has when it is full."""
        loop, k = self.loop, len(self.best.centers) + self.size
        if self._wide_loop is None or self._wide_loop.n_clusters != k:
            self._wide_loop = loop.alike(type(loop.algorithm), k, loop.team)
            self._wide_loop.tol = HASTE * loop.tol
        return self._wide_loop

    def _per_cluster(self, values: Array, labels: Array, n_clusters: int) -> Array:
        """Sum of a value over the rows of each cluster, by weight and in their order."""
        weights = self.loop.rows.weights
        values = values * weights if len(weights) else values
        return np.bincount(labels, values, minlength=n_clusters)

    def _inhale(self) -> None:
        """Put new centers beside those of the largest error."""
        centers, errors, size = self.fit.centers, self.errors, self.size
        weights = self.loop.rows.weights
        total = weights.sum(dtype=np.float64) if len(weights) else self.loop.rows.shape[0]
        most = np.argsort(-errors, kind="stable")[:size]
        drawn = self.random_state.uniform(-0.5, 0.5, (size, centers.shape[1]))
        new = centers[most] + OFFSET * np.sqrt(errors.sum() / total) * drawn
        wider = np.concatenate([centers, new.astype(centers.dtype)])
        totals = tuple(
            np.concatenate([sums, np.zeros((size, *sums.shape[1:]), sums.dtype)])
            for sums in self.loop.update.totals
        )
        self.state = State(wider, self.fit.labels, totals, 0, 0)

    def _exhale(self, fit: Fit) -> None:
        """Take away the centers that are missed least; no two of them are nearest neighbours.

        A center is missed by as much as the inertia rises where its rows go to their second
        nearest.
        """
        own, rival = _rivals(self.loop, fit)
        gone = self._least_missed(fit, self._per_cluster(rival - own, fit.labels, len(fit.centers)))
        numbers = np.full(len(fit.centers), -1, np.int32)  # rows of those that are gone have none
        stays = np.delete(np.arange(len(fit.centers)), gone)
        numbers[stays] = np.arange(len(stays))
        totals = tuple(sums[stays] for sums in self._wider().update.totals)
        self.state = State(fit.centers[stays], numbers[fit.labels], totals, 0, 0)

    def _least_missed(self, fit: Fit, missed: Array) -> list[int]:
        """Centers to take away, given by how much each is missed."""
        wide, n_centers = fit.centers.astype(np.float64), len(fit.centers)
        gone: list[int] = []
        frozen: set[int] = set()
        for center in np.argsort(missed, kind="stable").tolist():
            if center in frozen:
                continue
            gone.append(center)
            if len(gone) == self.size:
                break
            if len(frozen) + self.size < n_centers:
                squares = np.square(wide - wide[center]).sum(axis=1)
                squares[center] = np.inf
                frozen.add(int(squares.argmin()))
        return gone

    def _observer(self, loop: Loop) -> Any:
        """What tells the callbacks of an iteration."""

        def observe(n_iter: int, shift: float, centers: Array) -> bool:
            self.ended = self.listeners.tell(
                float(loop.rows.shape[0]),
                iteration=n_iter,
                max_iter=loop.max_iter,
                start=self.n_starts,
                n_starts=self.n_starts,
                breath=self.number,
                shift=shift,
                objective=lambda: loop.inertia(centers),
            )
            return self.ended

        return observe

    def _save(self, state: State) -> None:
        """Write a checkpoint when it is due; iterations count on from breath to breath."""
        self.n_iter += 1
        if self.saved.due(self.n_iter):
            values, arrays = recorded(state, self.n_starts, self.best, self.random_state)
            values |= {"breath": self.number, "size": self.size, "stage": self.stage}
            values |= {"n_written": self.n_iter, "start_n_iter": self.start.n_iter}
            values["start_inertia"] = self.start.inertia
            arrays["start_centers"] = self.start.centers
            self.saved.write(values, arrays)


def _rivals(loop: Loop, fit: Fit) -> tuple[Array, Array]:
    rows = loop.rows
    if isinstance(rows, StreamedRows):
        return rows.rivals(loop.mean, fit.centers, fit.labels, loop.team)
    return rivals(rows, loop.mean, fit.centers, fit.labels, loop.team)
