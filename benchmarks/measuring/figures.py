"""What is reported: figures, what they should be, and what a reader must know to judge them."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastclust.workloads import FloatArray

OURS, THEIRS = "fastclust", "scikit-learn"


@dataclass(frozen=True)
class Figure:
    """One number, and what it should be.

    Attributes
    ----------
    row : str
        Name of the row it belongs to.
    what : str
        What it is a figure of.
    value : float
        The number.
    unit : str
        Its unit.
    target, at_least : float or None
        What is aimed at, and what is the least that will do.
    lower_is_better : bool
        Whether `value` should be below these, rather than above.
    """

    row: str
    what: str
    value: float
    unit: str
    target: float | None = None
    at_least: float | None = None
    lower_is_better: bool = False

    def reaches(self, bound: float | None) -> bool:
        """Whether the value is as good as `bound`, or there is none."""
        if bound is None:
            return True
        return self.value <= bound if self.lower_is_better else self.value >= bound

    @property
    def verdict(self) -> str:
        """``"met"``, ``"at least"`` (but not the target), ``"missed"``, or "" without bounds."""
        if self.target is None and self.at_least is None:
            return ""
        if not self.reaches(self.at_least):
            return "missed"
        return "met" if self.reaches(self.target) else "at least"

    def amount(self, value: float) -> str:
        """A number in the unit of this figure, with three significant digits."""
        decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        return f"{value:.{decimals}f} {self.unit}"


@dataclass(frozen=True)
class Outcome:
    """What a row has measured.

    Attributes
    ----------
    figures : list of Figure
        What the table shows.
    notes : list of str
        What a reader must know to judge them.
    details : dict
        Everything behind them, of JSON's types only.
    """

    figures: list[Figure]
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def summary(
    row: str,
    ratios: Mapping[str, float],
    against: str,
    *,
    target: float | None,
    at_least: float,
    each: float,
) -> list[Figure]:
    """Geometric mean and lowest of several ratios."""
    lowest = min(ratios, key=lambda name: ratios[name])
    mean = statistics.geometric_mean(ratios.values())
    what = f"{against}, geometric mean of {len(ratios)}"
    return [
        Figure(row, what, mean, "×", target, at_least),
        Figure(row, f"{against}, the lowest: {lowest}", ratios[lowest], "×", None, each),
    ]


def shape(X: FloatArray, n_clusters: int) -> str:
    """Shape of a problem as text."""
    return f"{X.shape[0]:,}×{X.shape[1]}, k={n_clusters}, {X.dtype}"


def table(figures: Sequence[Figure]) -> str:
    """Figures as aligned text.

    Parameters
    ----------
    figures : sequence of Figure
        The figures.

    Returns
    -------
    str
        A head, a rule and one line per figure.
    """
    lines: list[tuple[str, ...]] = [("row", "what", "figure", "target", "at least", "verdict")]
    for each in figures:
        bounds = [
            f"{'≤' if each.lower_is_better else '≥'} {each.amount(bound)}"
            if bound is not None
            else ""
            for bound in (each.target, each.at_least)
        ]
        lines.append((each.row, each.what, each.amount(each.value), *bounds, each.verdict))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    # Text on the left, numbers on the right.
    formats = [f"{sign}{width}" for sign, width in zip("<<>>><", widths, strict=True)]
    return "\n".join("  ".join(map(format, line, formats)).rstrip() for line in lines)
