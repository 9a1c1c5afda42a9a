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
from .kernels.rivals import rivals
from .kernels.tiles import Array
from .kmeans import MOST, recorded, state_found
from .lloyd_loop import Fit, Loop, State
from .rows.streaming import StreamedRows

OFFSET = 0.01  # of a new center from an old one, in root mean squared distances of the rows
LEAST_GAIN = 1e-4  # share of the inertia below which a breath has gained too little
# Centers that were added need not come to rest: what is asked of them is which are worth most.
HASTE = 30.0  # by which `tol` is larger for them


class Refinement:
    """The breaths of one fit.

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
    wide : bool
        Whether these are there.
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
        n_samples, k = loop.rows.shape[0], len(best.centers)
        self.loop, self.random_state, self.n_starts = loop, random_state, n_starts
        self.number, self.size, self.wide = 0, min(size, k, n_samples - k), False
        self.best, self.fit = best.kept(True), best
        self.state: State | None = None
        self.n_iter, self.ended = 0, False
        self._wide_loop: Loop | None = None

    def _resume(self, saved: Checkpoint) -> None:
        """Go back to where a checkpoint was written, if it was within a breath."""
        if saved.found is None or saved.integer("number", 0, self.n_starts) < self.n_starts:
            return
        self.number = saved.integer("breath", 1, MOST)
        self.size = saved.integer("size", 1, max(self.size, 1))
        self.wide = saved.integer("wide", 0, 1) == 1
        self.n_iter = saved.integer("n_written", 1, MOST)
        self.state = state_found(saved, self._wider() if self.wide else self.loop)

    def run(self, listeners: Listeners, saved: Checkpoint) -> Fit:
        """Breathe until no center gains enough, or a callback ends it; the best clusters."""
        self.listeners, self.saved = listeners, saved
        self._resume(saved)
        k = len(self.best.centers)
        while self.state is not None or (self.size > 0 and k > 1 and self.best.inertia > 0):
            if self.state is None:
                self.number, self.wide = self.number + 1, True
                if self.loop.verbose:
                    print(f"Breath {self.number}, centers that come and go: {self.size}.")
            if self.wide:
                more = self._run(self._wider(), self._inhaled)
                if self.ended:
                    break
                self.wide = False
                self.fit = self._run(self.loop, lambda more=more: self._exhaled(more))
            else:
                self.fit = self._run(self.loop)
            self._judge()
            if self.ended:
                break
        return self.best

    def _judge(self) -> None:
        """Keep what is better; let fewer centers come and go where it is not by enough."""
        inertia = self.best.inertia
        if self.fit.inertia < inertia:
            self.best = self.fit.kept(True)
        if not self.fit.inertia < inertia * (1 - LEAST_GAIN):
            self.size -= 1

    def _run(self, loop: Loop, start: Any = None) -> Fit:
        """k-means from where a checkpoint was written, or else from what `start` makes."""
        state, self.state = self.state, None
        centers = start() if state is None else None
        loop.observe = self._observer(loop) if self.listeners else None
        loop.save = self._save if self.saved else None
        before = loop.algorithm.n_distances
        fit = loop.run(centers, state)
        if loop is not self.loop:
            self.loop.algorithm.n_distances += loop.algorithm.n_distances - before
        return fit

    def _wider(self) -> Loop:
        """A loop of as many centers as this breath has when it is full."""
        loop, k = self.loop, len(self.best.centers) + self.size
        if self._wide_loop is None or self._wide_loop.n_clusters != k:
            self._wide_loop = wide = loop.with_clusters(k)
            wide.max_iter, wide.verbose, wide.tol = loop.max_iter, loop.verbose, HASTE * loop.tol
        return self._wide_loop

    def _per_cluster(self, values: Array, labels: Array, n_clusters: int) -> Array:
        """Sum of a value over the rows of each cluster, by weight and in their order."""
        weights = self.loop.rows.weights
        values = values * weights if len(weights) else values
        return np.bincount(labels, values, minlength=n_clusters)

    def _inhaled(self) -> Array:
        """Centers, and new ones beside those of the largest error."""
        loop, centers, labels = self.loop, self.fit.centers, self.fit.labels
        errors = self._per_cluster(loop.distances(labels, centers), labels, len(centers))
        weights = loop.rows.weights
        total = weights.sum(dtype=np.float64) if len(weights) else len(labels)
        most = np.argsort(-errors, kind="stable")[: self.size]
        drawn = self.random_state.uniform(-0.5, 0.5, (self.size, centers.shape[1]))
        new = centers[most] + OFFSET * np.sqrt(errors.sum() / total) * drawn
        return np.concatenate([centers, new.astype(centers.dtype)])

    def _exhaled(self, fit: Fit) -> Array:
        """Centers without those that are missed least, of which no two are nearest neighbours.

        A center is missed by as much as the inertia rises where its rows go to their second
        nearest.
        """
        own, rival = _rivals(self.loop, fit)
        n_centers = len(fit.centers)
        missed = self._per_cluster(rival - own, fit.labels, n_centers)
        wide = fit.centers.astype(np.float64)
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
        return np.delete(fit.centers, gone, axis=0)

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
            values |= {"breath": self.number, "size": self.size, "wide": int(self.wide)}
            values["n_written"] = self.n_iter
            self.saved.write(values, arrays)


def _rivals(loop: Loop, fit: Fit) -> tuple[Array, Array]:
    rows = loop.rows
    if isinstance(rows, StreamedRows):
        return rows.rivals(loop.mean, fit.centers, fit.labels, loop.team)
    return rivals(rows, loop.mean, fit.centers, fit.labels, loop.team)
