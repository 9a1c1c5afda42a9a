"""One start of EM on its way: what its next step depends on, whom it tells, and its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..callbacks import Listeners
from ..checkpoints import Checkpoint, generator_state, restore_generator
from .covariances import precisions_cholesky

# Shape of an array, its least and its largest number, by its name.
Limits = dict[str, tuple[tuple[int, ...], float, float]]


@dataclass
class Ascent:
    """A start of EM; its parameters are the mixture's until it has come to its end.

    Attributes
    ----------
    lower_bound : float
        What the next bound is compared with.
    bounds : list of float
        The bound of every step.
    n_iter : int
        Number of sweeps over the rows.
    converged : bool
        Whether the last step has told so.
    longest : float
        Longest step that SQUAREM takes.
    resting : bool
        Whether nothing else decides about the next step: within a round of SQUAREM more does.
    parameters : tuple
        Those of its end, or of the checkpoint that it goes on from.
    written : int
        Sweep after which the last checkpoint was written.
    """

    lower_bound: float = -np.inf
    bounds: list[float] = field(default_factory=list)
    n_iter: int = 0
    converged: bool = False
    longest: float = 1.0
    resting: bool = True
    parameters: tuple[Any, ...] = ()
    written: int = 0

    @property
    def reached(self) -> float:
        """The last bound."""
        return self.bounds[-1] if self.bounds else -np.inf


class Watch:
    """What happens beside EM after a step: callbacks are told, and checkpoints written.

    Parameters
    ----------
    listeners, saved
        The callbacks and the checkpoint of the fit.
    random_state : RandomState
        The generator of the fit.
    limits : dict
        Of the parameters that a checkpoint holds: all but the factors of the precisions, which
        come last and follow from the covariances before them.
    n_starts, n_rows, max_iter : int
        Number of starts, of rows, and most sweeps of a start.

    Attributes
    ----------
    number : int
        Number of the start, from 0.
    best : Ascent or None
        The best start before it.
    """

    def __init__(
        self,
        listeners: Listeners,
        saved: Checkpoint,
        random_state: np.random.RandomState,
        limits: Limits,
        *,
        n_starts: int,
        n_rows: int,
        max_iter: int,
    ) -> None:
        self.listeners, self.saved, self.random_state = listeners, saved, random_state
        self.limits, self.n_starts, self.n_rows = limits, n_starts, n_rows
        self.max_iter, self.number = max_iter, 0
        self.best: Ascent | None = None

    def __bool__(self) -> bool:
        """Whether anybody wants to know of every step."""
        return bool(self.listeners) or bool(self.saved)

    def tell(self, ascent: Ascent, rise: float) -> bool:
        """Call the callbacks; whether one of them wants this start to end."""
        reached = ascent.reached
        return bool(self.listeners) and self.listeners.tell(
            float(self.n_rows),
            unit="steps",
            iteration=ascent.n_iter,
            max_iter=self.max_iter,
            start=self.number + 1,
            n_starts=self.n_starts,
            shift=float("nan"),
            rise=rise,
            objective=lambda: reached,
        )

    def save(self, ascent: Ascent, parameters: Any) -> None:
        """Write a checkpoint if one is due and can be gone on from."""
        due = ascent.resting and ascent.n_iter - ascent.written >= self.saved.every
        if not self.saved or not due:
            return
        values, arrays = generator_state(self.random_state)
        values |= {"number": self.number, "longest": ascent.longest}
        values["lower_bound"] = ascent.lower_bound
        runs = [("", ascent, parameters)]
        if self.best is not None:
            values["best_converged"] = int(self.best.converged)
            runs.append(("best_", self.best, self.best.parameters))
        for prefix, run, given in runs:
            values |= {f"{prefix}n_iter": run.n_iter, f"{prefix}n_bounds": len(run.bounds)}
            arrays[f"{prefix}bounds"] = np.array(run.bounds)
            for name, value in zip(self.limits, given[:-1], strict=True):
                arrays[prefix + name] = np.asarray(value)
        self.saved.write(values, arrays)
        ascent.written = ascent.n_iter

    def resume(self, covariance_type: str) -> Ascent | None:
        """Where a checkpoint was written, if there is one."""
        saved = self.saved
        if saved.found is None:
            return None
        self.number = saved.integer("number", 0, self.n_starts - 1)
        if self.number > 0:
            self.best = self._found("best_", self.max_iter, covariance_type)
            self.best.converged = saved.integer("best_converged", 0, 1) == 1
        ascent = self._found("", self.max_iter - 1, covariance_type)
        ascent.lower_bound = saved.real("lower_bound")
        ascent.longest = saved.real("longest", 1.0)
        ascent.written = ascent.n_iter
        restore_generator(self.random_state, saved)
        return ascent

    def _found(self, prefix: str, most: int, covariance_type: str) -> Ascent:
        saved = self.saved
        n_iter = saved.integer(f"{prefix}n_iter", 1, most)
        n_bounds = saved.integer(f"{prefix}n_bounds", 1, n_iter)
        bounds = saved.array(f"{prefix}bounds", (n_bounds,), np.float64)
        parameters = [
            saved.array(prefix + name, shape, np.float64, least, largest)[()]  # a number is one
            for name, (shape, least, largest) in self.limits.items()
        ]
        try:
            factors = precisions_cholesky(parameters[-1], covariance_type)
        except ValueError as error:
            raise saved.wrong(f"its {prefix}covariances must be positive definite") from error
        return Ascent(bounds=bounds.tolist(), n_iter=n_iter, parameters=(*parameters, factors))
