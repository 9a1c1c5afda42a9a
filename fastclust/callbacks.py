"""What a fit tells while it runs: one :class:`Progress` for each iteration, and a ready bar.

A callback is called as ``callback(progress)``; where it returns True the fit ends with what it has,
as if `max_iter` were reached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from time import perf_counter
from typing import Any, TypeAlias

from .validation import said


class Progress:
    """One iteration of a fit.

    Attributes
    ----------
    iteration : int
        Number of the iteration, from 1; of the step for mini-batches.
    max_iter : int or None
        Most iterations (or steps) of this start; None where nested batches know of no number.
    start, n_starts : int
        Number of the start, from 1, and number of all starts.
    breath : int
        Number of the breath of ``KMeans(refine=...)``, from 1; 0 during the starts.
    shift : float
        Sum of squared movements of the centers; NaN for mini-batches without `tol`.
    rows_per_second : float
        Rows assigned per second, since the fit began.
    elapsed : float
        Seconds since the fit began.
    """

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
        objective: Callable[[], float],
        breath: int = 0,
    ) -> None:
        self.iteration, self.max_iter = iteration, max_iter
        self.start, self.n_starts = start, n_starts
        self.breath = breath
        self.shift = shift
        self.elapsed = elapsed
        self.rows_per_second = n_rows / max(elapsed, 1e-9)
        self._objective = objective

    @cached_property
    def objective(self) -> float:
        """Inertia of the centers that the iteration began with, or of the batches smoothed.

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

    def __bool__(self) -> bool:
        return bool(self.callbacks)

    def tell(self, n_rows: float, **what: Any) -> bool:
        """Call all; whether one of them wants the fit to end."""
        self.n_rows += n_rows
        elapsed = perf_counter() - self.begun
        progress = Progress(n_rows=self.n_rows, elapsed=elapsed, **what)
        answers = [each(progress) for each in self.callbacks]  # all are asked
        return any(answer is True for answer in answers)

    def close(self) -> None:
        """Tell those that want to know that the fit has ended."""
        for each in self.callbacks:
            if hasattr(each, "close"):
                each.close()


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
        self._run = (0, 0)

    def __call__(self, progress: Progress) -> None:
        """Show an iteration."""
        run = progress.start, progress.breath
        if self._bar is None or run != self._run:
            self.close()
            label = f"start {progress.start}/{progress.n_starts}"
            label = f"breath {progress.breath}" if progress.breath else label
            options = {"total": progress.max_iter, "desc": label, **self._options}
            self._bar, self._run = self._make(**options), run
        shown = {"shift": f"{progress.shift:.3g}", "rows/s": f"{progress.rows_per_second:.3g}"}
        if self._objective:
            shown["objective"] = f"{progress.objective:.6g}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(progress.iteration - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
