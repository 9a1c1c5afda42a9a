"""How all commands measure: actions in turn, and one judge of every result."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from fastclust.workloads import FloatArray

SEED = 0
# Actions of a fraction of a millisecond are repeated for this long, and at most so often.
FILL_SECONDS, MOST_TURNS = 0.5, 51
# A middle half of the repeats that is this wide, as a share of their median, makes ratios doubtful.
WIDE = 0.25
# Largest array of distances held at once when an inertia is computed: 32 MiB of float64.
_MAX_DISTANCES = 1 << 22


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


def in_turn(
    actions: Mapping[str, Callable[[], Any]],
    repeats: int,
    report: Callable[[str, float], None] = lambda phase, share: None,
    *,
    fill: float | None = None,
) -> tuple[dict[str, tuple[float, ...]], dict[str, Any]]:
    """Time actions one after the other, so that a slow spell of the machine hits all alike.

    Parameters
    ----------
    actions : mapping of str to callable
        What to time. Each is called once before, untimed.
    repeats : int
        Timed calls of each, at least.
    report : callable
        Told of each step and the share of all that is done.
    fill : float, optional
        More calls follow while all together have taken less than this, by default `FILL_SECONDS`.

    Returns
    -------
    dict of str to tuple of float
        The seconds of each action's timed calls.
    dict of str to object
        What each returned last.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    results: dict[str, Any] = {}
    fill = FILL_SECONDS if fill is None else fill
    turn, spent = 0, 0.0
    while turn <= repeats or (spent < fill and turn <= MOST_TURNS):
        for i, (name, action) in enumerate(actions.items()):
            if turn <= repeats:
                phase = f"{name} {turn} of {repeats}" if turn else f"{name} warm-up"
                report(phase, (turn + i / len(actions)) / (repeats + 1))
            start = perf_counter()
            results[name] = action()
            elapsed = perf_counter() - start
            if turn:
                seconds[name].append(elapsed)
                spent += elapsed
        turn += 1
    return {name: tuple(of) for name, of in seconds.items()}, results


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
