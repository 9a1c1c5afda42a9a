"""Measures what the exact algorithms with bounds promise, and says which figures meet their target.

::

    python benchmarks/bounds_targets.py [ROW ...] [--quick] [--output FILE] [--list]

It is to bounds what `targets` is to k-means, and measures as that does: sides in turn, A B A B, in
one process and after an untimed run of each; medians are compared.  All algorithms of fastclust
end at the same bits, which is checked; only how long they take differs.

"Clustered data" are Gaussian blobs, as many as clusters are looked for; their separation is the
mean distance of a blob from the nearest other, in twice the spread of a blob along an axis.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.cluster

# A script finds only its own folder.  The checkout comes last, behind the installed fastclust.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import fastclust
from benchmarks.measuring import command
from benchmarks.measuring.command import Session
from benchmarks.measuring.figures import OURS, THEIRS, Figure, Outcome, summary
from benchmarks.measuring.turns import BRIEF, Effort, measured, total
from fastclust.commands.engines import competitors
from fastclust.commands.measuring import Seconds, Timed, inertia
from fastclust.workloads import FloatArray, Workload, five_blobs_workload, get, separated_blobs

SINGLE = ("lloyd", "hamerly", "elkan")  # those one may choose instead of "auto"
CLUSTERED_ROWS = 50_000


def clustered(n: int, d: int, k: int, separation: float, dtype: str = "float64") -> Workload:
    """Blobs as a workload, named after their shape."""
    make = partial(separated_blobs, n, d, k, separation, dtype)
    name = f"{n:,}×{d}, k={k}, s={separation:g}, {dtype}"
    return Workload(name, n, d, k, dtype, f"Gaussian blobs, separation {separation:g}", make)


# Where Elkan's algorithm is compared with scikit-learn's.
ELKAN_CELLS = (
    five_blobs_workload(),
    get("image-64"),
    get("digits-100"),
    get("blobs-64d-100"),
    clustered(100_000, 16, 256, 2.0),
)
# Where the best exact algorithm is compared with Lloyd's.
OWN_CELLS = (
    clustered(2 * CLUSTERED_ROWS, 2, 500, 3.0),
    clustered(2 * CLUSTERED_ROWS, 8, 500, 3.0),
    clustered(CLUSTERED_ROWS, 32, 500, 3.0),
    clustered(CLUSTERED_ROWS, 128, 500, 3.0, "float32"),
)
# Where "auto" is compared with the best: these were looked at while its rule was made …
TUNED_CELLS = tuple(
    clustered(*cell)
    for cell in (
        (2_000, 2, 5, 2.0), (20_000, 2, 10, 1.0), (20_000, 2, 100, 4.0), (20_000, 2, 500, 2.0),
        (20_000, 8, 10, 4.0), (20_000, 8, 100, 1.0), (20_000, 8, 500, 4.0), (20_000, 32, 10, 2.0),
        (20_000, 32, 100, 4.0), (20_000, 32, 500, 1.0), (100_000, 2, 50, 2.0),
        (100_000, 2, 1000, 3.0), (100_000, 3, 64, 1.0), (100_000, 8, 32, 2.0),
        (100_000, 8, 500, 2.0), (50_000, 16, 256, 2.0), (50_000, 32, 100, 2.0),
        (20_000, 64, 100, 2.0, "float32"), (10_000, 128, 500, 3.0, "float32"),
        (10_000, 256, 20, 2.0, "float32"),
    )
)  # fmt: skip
# … and these were not.
HELD_OUT_CELLS = tuple(
    clustered(*cell)
    for cell in (
        (5_000, 4, 20, 2.0), (40_000, 3, 300, 1.5), (30_000, 16, 64, 3.0), (150_000, 5, 16, 4.0),
        (30_000, 64, 200, 1.0, "float32"), (80_000, 2, 200, 1.0), (20_000, 24, 400, 2.5),
        (10_000, 100, 50, 2.0), (60_000, 10, 150, 1.0, "float32"),
        (8_000, 200, 300, 2.0, "float32"),
    )
)  # fmt: skip
# Where whole fits are compared with those of other libraries.
PEER_CELLS = (
    get("image-8"), get("image-64"), get("plane-100"), get("letters-26"), get("digits-10"),
    get("digits-100"), clustered(200_000, 4, 50, 2.0, "float32"),
    clustered(100_000, 16, 256, 2.0, "float32"), clustered(100_000, 64, 100, 2.0, "float32"),
    clustered(20_000, 128, 500, 2.0, "float32"),
)  # fmt: skip


def problem(workload: Workload, effort: Effort) -> tuple[FloatArray, int]:
    """Data and number of clusters of a cell."""
    X = effort.data(workload)
    return X, min(workload.n_clusters, len(X) // 2)


class Race:
    """Fits of several algorithms of fastclust to one cell, from the same start.

    Parameters
    ----------
    workload : Workload
        The cell.
    algorithms : sequence of str
        Which; all must find the same clusters.
    effort : Effort
        How often.
    whole : bool
        Whether k-means++ is part of a fit; otherwise it begins at given centers.
    """

    def __init__(
        self, workload: Workload, algorithms: Sequence[str], effort: Effort, *, whole: bool = False
    ) -> None:
        X, k = problem(workload, effort)
        self.name = workload.name
        start: Any = "k-means++"
        if not whole:
            start, _ = fastclust.kmeans_plusplus(X, k, random_state=0)
        self.models = {
            name: fastclust.KMeans(k, init=start, n_init=1, random_state=0, algorithm=name)
            for name in algorithms
        }
        sides = {name: Timed(partial(m.fit, X)) for name, m in self.models.items()}
        # All sides are fastclust: there are no threads of another library to wait for.
        self.seconds = measured(workload.name, sides, effort, pause=0.001)
        self.medians = {name: statistics.median(of) for name, of in self.seconds.items()}
        first, *others = self.models.values()
        self.same = all(
            np.array_equal(first.labels_, other.labels_)
            and np.array_equal(first.cluster_centers_, other.cluster_centers_)
            for other in others
        )

    @property
    def best(self) -> str:
        """The fastest of those that one may choose."""
        return min((name for name in SINGLE if name in self.medians), key=self.medians.__getitem__)

    def document(self) -> dict[str, Any]:
        """All of it, of JSON's types only."""
        return {
            "name": self.name,
            "best": self.best,
            "n_iter": int(self.models[self.best].n_iter_),
            "n_distances": {name: int(m.n_distances_) for name, m in self.models.items()},
            "medians": self.medians,
            "same_bits": self.same,
            "seconds": self.seconds,
        }


def same_bits(row: str, races: Sequence[Race]) -> Figure:
    """Share of the cells in which all algorithms ended at the same bits."""
    share = 100 * statistics.mean(race.same for race in races)
    return Figure(row, "cells in which all algorithms find the same bits", share, "%", 100, 100)


# --- Rows ------------------------------------------------------------------------------------


def elkan(session: Session) -> Outcome:
    """Whole fits with algorithm="elkan" against scikit-learn's "elkan"."""
    effort = session.effort
    engines: dict[str, Any] = {OURS: fastclust.KMeans, THEIRS: sklearn.cluster.KMeans}
    ratios: dict[str, float] = {}
    notes, details = [], []
    for workload in ELKAN_CELLS:
        X, k = problem(workload, effort)
        inertias: dict[str, list[float]] = {name: [] for name in engines}
        runs: list[Seconds] = []
        for seed in effort.seeds[: 1 if len(X) > 50_000 else None]:
            models = {
                name: engine(k, n_init=1, random_state=seed, algorithm="elkan")
                for name, engine in engines.items()
            }
            sides = {name: Timed(partial(m.fit, X), BRIEF) for name, m in models.items()}
            runs.append(measured(f"{workload.name}, seed {seed}", sides, effort))
            for name, model in models.items():
                inertias[name].append(float(inertia(X, model.cluster_centers_)))
        ours, theirs = (total(runs, name) / len(runs) for name in engines)
        ratios[workload.name] = theirs / ours
        excess = sum(inertias[OURS]) / sum(inertias[THEIRS]) - 1
        notes.append(
            f"{workload.name}: {ours * 1e3:.4g} and {theirs * 1e3:.4g} ms, "
            f"{theirs / ours:.2f}×, inertia {excess:+.0e}"
        )
        details.append({"name": workload.name, "inertia": inertias, "seconds": runs})
    against = "algorithm='elkan' against scikit-learn's"
    figures = summary("elkan", ratios, against, target=12, at_least=8, each=4)
    return Outcome(figures, notes, {"cells": details})


def _own(row: str, effort: Effort, *, whole: bool) -> Outcome:
    races = [Race(w, (*SINGLE, "auto"), effort, whole=whole) for w in OWN_CELLS]
    figures, notes = [], []
    ratios: dict[str, dict[str, float]] = {"best": {}, "auto": {}}
    for race in races:
        for which, name in (("best", race.best), ("auto", "auto")):
            ratios[which][race.name] = race.medians["lloyd"] / race.medians[name]
        sides = (f"{n} {race.medians['lloyd'] / s:.2f}×" for n, s in race.medians.items())
        notes.append(f"{race.name}: {', '.join(sides)}")
    subject = "fit" if whole else "iterations"
    for which, of in ratios.items():
        label = "the best algorithm" if which == "best" else "auto"
        mean = statistics.geometric_mean(of.values())
        third = sorted(of.values())[-3]
        what = f"{subject}, {label} against lloyd"
        bounds = (None, None) if whole else (5, None)
        figures.append(Figure(row, f"{what}, geometric mean", mean, "×", *bounds))
        bounds = (None, None) if whole else (None, 2)
        figures.append(Figure(row, f"{what}, the third of four", third, "×", *bounds))
    figures.append(same_bits(row, races))
    return Outcome(figures, notes, {"cells": [race.document() for race in races]})


def iterations(session: Session) -> Outcome:
    """Converged fits from given centers, the best exact algorithm and auto against lloyd."""
    return _own("iterations", session.effort, whole=False)


def fits(session: Session) -> Outcome:
    """The same with k-means++, which all algorithms share."""
    return _own("fits", session.effort, whole=True)


def _choice(row: str, cells: Sequence[Workload], effort: Effort, at_least: float) -> Outcome:
    races = [Race(w, (*SINGLE, "auto"), effort) for w in cells]
    excess = {race.name: race.medians["auto"] / race.medians[race.best] for race in races}
    worst = max(excess, key=excess.__getitem__)
    what = f"time of auto over that of the best, the largest of {len(races)}"
    figures = [
        Figure(row, f"{what}: {worst}", excess[worst], "", 1.05, at_least, True),
        Figure(row, "the same, geometric mean", statistics.geometric_mean(excess.values()), ""),
        same_bits(row, races),
    ]
    notes = [
        f"{race.name}: {excess[race.name]:.2f} of {race.best}, "
        f"{race.medians[race.best] * 1e3:.3g} ms"
        for race in races
    ]
    return Outcome(figures, notes, {"cells": [race.document() for race in races]})


def auto(session: Session) -> Outcome:
    """How much longer auto takes than the best algorithm, on cells its rule was tuned on."""
    return _choice("auto", TUNED_CELLS, session.effort, 1.1)


def auto_held_out(session: Session) -> Outcome:
    """The same on cells that its rule was not tuned on."""
    return _choice("auto_held_out", HELD_OUT_CELLS, session.effort, 1.25)


def peers(session: Session) -> Outcome:
    """Whole fits against the fastest of scikit-learn, scikit-learn-intelex and faiss."""
    effort = session.effort
    entrants, missing = competitors(peers=True)
    ratios: dict[str, float] = {}
    notes, details = [], []
    for workload in PEER_CELLS:
        X, k = problem(workload, effort)
        fitted: dict[str, Any] = {}

        def fit(entrant: Any, X: Any = X, k: int = k, into: dict[str, Any] = fitted) -> None:
            pace = {"n_iter": int(into[OURS].n_iter_)} if entrant.paced else {}
            into[entrant.name] = entrant.fit(X, k, 0, **pace)

        sides = {
            entrant.name: Timed(partial(fit, entrant))
            for entrant in entrants
            if workload.dtype in entrant.dtypes
        }
        seconds = measured(workload.name, sides, effort)
        medians = {name: statistics.median(of) for name, of in seconds.items()}
        times = {n: s / medians[OURS] for n, s in medians.items() if n != OURS}
        ratios[workload.name] = min(times.values())
        found = {name: inertia(X, model.cluster_centers_) for name, model in fitted.items()}
        parts = (f"{n} {t:.2f}× ({found[n] / found[OURS] - 1:+.0e})" for n, t in times.items())
        notes.append(f"{workload.name}: {medians[OURS] * 1e3:.4g} ms; {', '.join(parts)}")
        details.append({"name": workload.name, "inertia": found, "seconds": seconds})
    notes.append("in brackets: relative difference of the inertia from fastclust's")
    notes += [entrant.note for entrant in entrants if entrant.note] + missing
    against = "fit against the fastest peer"
    figures = summary("peers", ratios, against, target=5, at_least=3, each=1)
    return Outcome(figures, notes, {"cells": details, "ratios": ratios})


ROWS: Mapping[str, Callable[[Session], Outcome]] = {
    function.__name__: function
    for function in (elkan, iterations, fits, auto, auto_held_out, peers)
}


if __name__ == "__main__":
    sys.exit(command.main(rows=ROWS, output="bounds"))
