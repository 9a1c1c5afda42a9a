"""How it is measured: sides in turn, so that a slow spell of the machine hits all alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn.cluster

import fastclust
from benchmarks.measuring.figures import OURS, THEIRS, say
from fastclust.commands.measuring import Seconds, Side, Timed, in_turn
from fastclust.workloads import FloatArray, Workload

# Seconds: a side that takes longer is timed once.
LONG = 10.0
# Most turns of sides that take next to no time.
MOST_TURNS = 25
# Seconds before each run, in which the threads of the other side stop looking out for more work.
PAUSE = 0.2
# What is over sooner than this many seconds is repeated within its turn: after a pause, caches and
# clocks would be all that a fit of a millisecond shows.
BRIEF = 0.02


@dataclass(frozen=True)
class Effort:
    """How much is done for a figure.

    Attributes
    ----------
    divisor : int
        What every number of rows is divided by.
    repeats : int
        Least number of timed runs of each side.
    fill : float
        Seconds up to which more runs are added.
    seeds : tuple of int
        Random states of the fits.
    cold, warm : int
        Processes that are started without and with compiled kernels in the cache.
    """

    divisor: int = 1
    repeats: int = 3
    fill: float = 1.0
    seeds: tuple[int, ...] = (0, 1, 2)
    cold: int = 2
    warm: int = 5

    def reduced(self, count: int) -> int:
        """A number of rows, divided."""
        return max(64, count // self.divisor)

    def data(self, workload: Workload) -> FloatArray:
        """Evenly spaced rows of a workload."""
        return np.ascontiguousarray(workload.make()[:: self.divisor])


FULL = Effort()
QUICK = Effort(divisor=20, repeats=1, fill=0.0, seeds=(0, 1), cold=1, warm=1)


def measured(
    label: str,
    sides: Mapping[str, Side],
    effort: Effort,
    *,
    warm_up: bool = True,
    pause: float | None = None,
) -> Seconds:
    """Run sides in turn, and say what they took.

    Parameters
    ----------
    label : str
        Names the line of progress.
    sides : mapping of str to callable
        What to run, by name.
    effort : Effort
        How often; a side that takes more than `LONG` seconds is run once.
    warm_up : bool
        Whether each is run once before, and that run forgotten.
    pause : float, optional
        Seconds before each run, by default `PAUSE`.

    Returns
    -------
    dict of str to list of float
        Seconds of each run, by name.
    """
    seconds = in_turn(
        sides,
        effort.repeats,
        fill=effort.fill,
        most=MOST_TURNS,
        warm_up=warm_up,
        pause=PAUSE if pause is None else pause,
        long=LONG,
    )
    medians = (f"{name} {statistics.median(of):.4g} s" for name, of in seconds.items())
    say(f"  {label}: {', '.join(medians)}")
    return seconds


def over_seeds(
    label: str, sides_of: Callable[[int], Mapping[str, Side]], effort: Effort
) -> list[Seconds]:
    """Run sides in turn for every seed; they are warmed up with the first one.

    Parameters
    ----------
    label : str
        Names the lines of progress.
    sides_of : callable
        Makes the sides for a seed.
    effort : Effort
        How often, and for which seeds.

    Returns
    -------
    list of dict of str to list of float
        For each seed, seconds by name.
    """
    return [
        measured(f"{label}, seed {seed}", sides_of(seed), effort, warm_up=i == 0)
        for i, seed in enumerate(effort.seeds)
    ]


def total(runs: Sequence[Seconds], name: str) -> float:
    """Sum over the seeds of a side's median seconds."""
    return sum(statistics.median(seconds[name]) for seconds in runs)


def race(label: str, work: Callable[[Any, int], Any], effort: Effort) -> list[Seconds]:
    """Time ``work(module, seed)`` with fastclust and with scikit-learn as the module."""
    modules = {OURS: fastclust, THEIRS: sklearn.cluster}

    def side(module: Any, seed: int) -> Side:
        return Timed(lambda: work(module, seed), BRIEF)

    def sides_of(seed: int) -> dict[str, Side]:
        return {name: side(module, seed) for name, module in modules.items()}

    return over_seeds(label, sides_of, effort)
