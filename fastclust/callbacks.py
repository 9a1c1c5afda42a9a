"""What a fit tells while it runs: one :class:`Progress` for each iteration, and a ready bar.

A callback is called as ``callback(progress)``; where it returns True the fit ends with what it has,
as if `max_iter` were reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from time import perf_counter
from typing import Any, Self, TypeAlias, TypedDict

from .validation import said


class Progress:
    """One iteration of a fit.

    Attributes
    ----------
    iteration : int
        Number of the iteration, from 1; of the step for mini-batches.
    max_iter : int or None
        Most iterations (or steps) of this start; None where nested batches know of no number.
    unit : {"iterations", "steps", "fits"}
        What is counted.
    start, n_starts : int
        Number of the start, from 1, and number of all starts.
    breath : int
        Number of the breath of ``KMeans(refine=...)``, from 1; 0 during the starts.
    cut, n_cuts : int
        Of :class:`fastclust.BisectingKMeans`, which cut is made, from 1, and number of all cuts; 0
        elsewhere.
    shift : float
        Sum of squared movements of the centers; NaN for mini-batches without `tol`, and mixtures.
    rise : float
        By how much a step has raised the lower bound of a mixture, infinite for the first one; NaN
        where there is no mixture.
    rows_per_second : float
        Rows assigned per second, since the fit began.
    elapsed : float
        Seconds since the fit began.
    stopped : bool
        Whether a callback has answered True; set once all have been called.
    """

    stopped = False

    def __init__(
        self,
        *,
        iteration: int,
        max_iter: int | None,
        start: int,
        n_starts: int,
        shift: float,
        n_rows: float,
        elapsed: float,
        unit: str = "iterations",
        objective: Callable[[], float],
        breath: int = 0,
        cut: int = 0,
        n_cuts: int = 0,
        rise: float = math.nan,
    ) -> None:
        self.iteration, self.max_iter, self.unit = iteration, max_iter, unit
        self.start, self.n_starts = start, n_starts
        self.breath, self.cut, self.n_cuts = breath, cut, n_cuts
        self.shift, self.rise = shift, rise
        self.elapsed = elapsed
        self.rows_per_second = n_rows / max(elapsed, 1e-9)
        self._objective = objective

    @cached_property
    def objective(self) -> float:
        """Inertia of the centers that the iteration began with, or of the batches smoothed.

        For mixtures it is the lower bound, which is to rise.
        For :class:`fastclust.KMeans` it is computed when it is asked for, during the callback, and
        takes a pass over the rows.
        """
        return self._objective()

    def __repr__(self) -> str:
        return (
            f"Progress(iteration={self.iteration}, max_iter={self.max_iter}, start={self.start}, "
            f"n_starts={self.n_starts}, shift={self.shift:.6g})"
        )


# What `fit(callbacks=...)` takes.
Callbacks: TypeAlias = Sequence[Callable[[Progress], object]] | None


class FitOptions(TypedDict, total=False):
    """What `fit_predict` and `fit_transform` hand on to `fit`."""

    callbacks: Callbacks
    checkpoint: Any
    checkpoint_every: int
    resume: bool


class Listeners:
    """The callbacks of one fit.

    Parameters
    ----------
    callbacks : sequence of callable or None
        Called in turn.

    Raises
    ------
    TypeError
        Where one cannot be called.
    """

    def __init__(self, callbacks: Any) -> None:
        if callbacks is None:
            callbacks = []
        if callable(callbacks) or not isinstance(callbacks, Sequence):
            raise TypeError(f"callbacks must be a list of callables, not {said(callbacks)}.")
        for each in callbacks:
            if not callable(each):
                raise TypeError(f"callbacks must be callables, but one is {said(each)}.")
        self.callbacks = list(callbacks)
        self.begun = perf_counter()
        self.n_rows = 0.0
        self.stopped = False  # by one of them

    def __bool__(self) -> bool:
        return bool(self.callbacks)

    def tell(self, n_rows: float, **what: Any) -> bool:
        """Call all; whether one of them wants the fit to end."""
        self.n_rows += n_rows
        elapsed = perf_counter() - self.begun
        progress = Progress(n_rows=self.n_rows, elapsed=elapsed, **what)
        answers = [each(progress) for each in self.callbacks]  # all are asked
        self.stopped = progress.stopped = any(answer is True for answer in answers)
        return self.stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *rest: object) -> None:
        """Tell those that want to know that the fit has ended, well or by an error."""
        for each in self.callbacks:
            if error is None and hasattr(each, "finish"):
                each.finish()
            elif hasattr(each, "close"):
                each.close()


def outcome(last: Progress) -> str:
    """Why a fit, or a start, has ended after its last iteration, in words."""
    if last.n_cuts:
        return f"{last.n_cuts} cuts"
    done = f"{last.iteration} {last.unit}"
    if last.stopped:
        return f"ended by a callback after {done}"
    if last.unit == "fits":
        return done
    if last.iteration == last.max_iter:
        return f"{done}, as many as there may be"
    return f"converged after {done}"


def place_of(progress: Progress) -> tuple[int, int]:
    """Which run of iterations it is of."""
    return progress.start, progress.breath


class ProgressBar:
    """A bar that shows iterations, movement and speed, in a terminal or a notebook.

    Parameters
    ----------
    objective : bool, default=False
        Whether it shows the objective, too, which for :class:`fastclust.KMeans` takes a pass over
        the rows in each iteration.
    **options
        Options of ``tqdm.auto.tqdm``, such as ``file`` or ``disable``.

    Raises
    ------
    ImportError
        Without tqdm.
    """

    def __init__(self, *, objective: bool = False, **options: Any) -> None:
        try:
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError(
                'a ProgressBar needs tqdm: pip install "fastclust[progress]"'
            ) from error
        self._make = tqdm
        self._options = options
        self._objective = objective
        self._bar: Any = None
        self._last: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Show an iteration."""
        last = self._last
        if last is not None and not progress.n_cuts and place_of(last) != place_of(progress):
            self.finish()
        if self._bar is None:
            label = f"start {progress.start}/{progress.n_starts}"
            label = f"breath {progress.breath}" if progress.breath else label
            label = "search" if progress.unit == "fits" else label
            # Nobody knows when a fit converges: `max_iter` is no length to measure it by.
            total = progress.max_iter if progress.unit == "fits" else None
            if progress.n_cuts:  # one bar for all
                label, total = "cuts", progress.n_cuts
            self._bar = self._make(**{"total": total, "desc": label, **self._options})
        self._last = progress
        shown = {"rows/s": f"{progress.rows_per_second:.3g}"}
        for name in ("shift", "rise"):
            if math.isfinite(value := getattr(progress, name)):
                shown = {name: f"{value:.3g}", **shown}
        if self._objective:
            shown["objective"] = f"{progress.objective:.6g}"
        self._bar.set_postfix(shown, refresh=False)
        done = progress.cut - 1 if progress.n_cuts else progress.iteration
        self._bar.update(done - self._bar.n)

    def finish(self) -> None:
        """Show that the fit, or the start, has come to its end, and why."""
        bar, last = self._bar, self._last
        if bar is None or last is None:
            return
        bar.n = last.n_cuts or bar.n
        bar.total = bar.n
        bar.set_postfix_str(outcome(last), refresh=False)
        if hasattr(bar, "container"):  # a notebook's, whose widget is lost where it is converted
            bar.container.children[1].max = max(bar.n, 1)
            print(f"{bar.desc} {outcome(last)}")
        bar.refresh()
        self.close()

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = self._last = None
