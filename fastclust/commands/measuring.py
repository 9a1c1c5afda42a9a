"""How all commands measure: actions in turn, and one judge of every result."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from fastclust.workloads import FloatArray

SEED = 0
# Actions of a fraction of a millisecond are repeated for this long, and at most so often.
FILL_SECONDS, MOST_TURNS = 0.5, 51
# A middle half of the repeats that is this wide, as a share of their median, makes ratios doubtful.
WIDE = 0.25
# Largest array of distances held at once when an inertia is computed: 32 MiB of float64.
_MAX_DISTANCES = 1 << 22

# Makes one run of a side; returns its seconds.
Side: TypeAlias = Callable[[], float]
# Seconds of every run, by side.
Seconds: TypeAlias = dict[str, list[float]]


def inertia(X: FloatArray, centers: FloatArray) -> float:
    """Sum of squared distances of samples to their nearest center, in double precision.

    Every distance is the sum of the squares of differences: the expanded form, which engines
    use for its speed, loses digits when the data are far from the origin.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.
    centers : ndarray of shape (n_clusters, n_features)
        The centers.

    Returns
    -------
    float
        The sum. At most 32 MiB of distances are held at once.
    """
    from scipy.spatial.distance import cdist

    centers = np.asarray(centers, dtype=np.float64)
    step = max(1, _MAX_DISTANCES // max(centers.shape))
    total = 0.0
    for start in range(0, len(X), step):
        part = X[start : start + step].astype(np.float64)
        total += float(cdist(part, centers, "sqeuclidean").min(axis=1).sum())
    return total


class Timed:
    """An action as a side: called, it is done and gives its seconds.

    Parameters
    ----------
    action : callable
        What is timed.
    least : float
        Seconds up to which it is called again, one call right after the other; the side then gives
        the median of the calls.

    Attributes
    ----------
    result : object
        What the action returned last.
    """

    def __init__(self, action: Callable[[], Any], least: float = 0.0) -> None:
        self.action, self.least = action, least
        self.result: Any = None

    def __call__(self) -> float:
        calls: list[float] = []
        while not calls or sum(calls) < self.least:
            start = perf_counter()
            self.result = self.action()
            calls.append(perf_counter() - start)
        return statistics.median(calls)


def in_turn(
    sides: Mapping[str, Side],
    repeats: int,
    report: Callable[[str, float], None] = lambda phase, share: None,
    *,
    fill: float | None = None,
    most: int = MOST_TURNS,
    warm_up: bool = True,
    pause: float = 0.0,
    long: float = math.inf,
) -> Seconds:
    """Run sides one after the other, so that a slow spell of the machine hits all alike.

    Parameters
    ----------
    sides : mapping of str to callable
        What to run, by name; each returns the seconds that it took, see :class:`Timed`.
    repeats : int
        Turns, at least.
    report : callable
        Told of each step and the share of all that is done.
    fill : float, optional
        More turns follow while all together have taken less than this, by default `FILL_SECONDS`.
    most : int
        Turns, at most, that follow for that.
    warm_up : bool
        Whether each side is run once before, and that run forgotten.
    pause : float
        Seconds before each run that counts.
    long : float
        Seconds; a side that takes longer is run once.

    Returns
    -------
    dict of str to list of float
        Seconds of each run, by name.
    """
    seconds: Seconds = {name: [] for name in sides}
    fill = FILL_SECONDS if fill is None else fill
    turn, spent = 0 if warm_up else 1, 0.0
    while turn <= repeats or (spent < fill and turn <= most):
        for i, (name, side) in enumerate(sides.items()):
            if turn > 1 and seconds[name][0] > long:
                continue
            if turn <= repeats:
                phase = f"{name} {turn} of {repeats}" if turn else f"{name} warm-up"
                report(phase, (turn + i / len(sides)) / (repeats + 1))
            if turn and pause:
                time.sleep(pause)
            elapsed = side()
            if turn:
                seconds[name].append(elapsed)
                spent += elapsed
        turn += 1
    return seconds


def spread(seconds: Sequence[float]) -> float:
    """Width of the middle half of timings, as a share of their median.

    Parameters
    ----------
    seconds : sequence of float
        At least one timing.

    Returns
    -------
    float
        0 where all are equal.

    Examples
    --------
    >>> spread([1.0, 2.0, 2.0, 2.0, 9.0])
    0.0
    """
    lower, upper = np.percentile(seconds, (25, 75))
    return float((upper - lower) / statistics.median(seconds))


def busy(timed: Mapping[str, Sequence[float]]) -> list[str]:
    """Say so where timings spread as on a machine that has something else to do.

    Parameters
    ----------
    timed : mapping of str to sequence of float
        Timings, by what was timed.

    Returns
    -------
    list of str
        No line, or one that says how many of them spread, and which the most.
    """
    spreads = {name: spread(seconds) for name, seconds in timed.items() if len(seconds) > 2}
    wide = [name for name, share in spreads.items() if share > WIDE]
    if 4 * len(wide) <= len(spreads):  # a slow moment now and then is normal
        return []
    worst = max(wide, key=spreads.__getitem__)
    return [
        f"this machine seems busy: repeats of {len(wide)} of {len(spreads)} fits differ by more "
        f"than {WIDE:.0%} (most: {worst}, {spreads[worst]:.0%}); the ratios are uncertain"
    ]
