"""The results of a comparison as a figure: bars of seconds, and a photograph in few colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastclust.workloads import photo

from .comparison import Cell, geometric_means, like_for_like
from .comparison_text import agreement_text, ratio_text
from .drawing import COLOURS, duration
from .engines import Competitor
from .measuring import SEED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Segmentation:
    """A photograph in the colours of its clusters, by two competitors.

    Attributes
    ----------
    images : mapping of str to ndarray of shape (height, width, 3)
        By the competitor's name; each pixel has the colour of its cluster's center.
    n_colours : int
        Number of clusters.
    agreement : float
        Adjusted Rand index between the two.
    """

    images: Mapping[str, npt.NDArray[np.float32]]
    n_colours: int
    agreement: float


def segment(entrants: Sequence[Competitor], n_colours: int = 8, step: int = 2) -> Segmentation:
    """Cluster the colours of a photograph with the first two competitors.

    Parameters
    ----------
    entrants : sequence of Competitor
        The competitors.
    n_colours : int
        Number of clusters.
    step : int
        Every how many pixels one is taken, in height and in width.

    Returns
    -------
    Segmentation
        The two images.
    """
    from sklearn.metrics import adjusted_rand_score

    picture = photo("china.jpg")[::step, ::step]
    X = np.ascontiguousarray(picture.reshape(-1, 3))
    subject, reference = (entrant.fit(X, n_colours, SEED) for entrant in entrants[:2])
    images = {
        entrant.name: np.clip(fitted.cluster_centers_[fitted.labels_], 0, 1).reshape(picture.shape)
        for entrant, fitted in zip(entrants[:2], (subject, reference), strict=True)
    }
    agreement = float(adjusted_rand_score(reference.labels_, subject.labels_))
    return Segmentation(images, n_colours, agreement)


def figure(cells: Sequence[Cell], segmentation: Segmentation | None) -> Figure:
    """Draw results: the seconds of each workload, and one picture of clusters.

    Parameters
    ----------
    cells : sequence of Cell
        The results, of at least one workload.
    segmentation : Segmentation or None
        What the lower panels show; None leaves them out.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, which belongs to no window and needs no display.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for cell in cells for name in cell.results))
    # Inches: the bars keep their thickness whatever their number.
    bars_height = 1.1 + 0.17 * (len(names) + 0.8) * len(cells)
    images_height = 0.0 if segmentation is None else 3.3
    drawing = Figure(figsize=(9, bars_height + images_height), layout="constrained")
    if segmentation is None:
        _draw_bars(drawing.subplots(), cells, names)
        return drawing
    heights = [bars_height, images_height]
    upper, lower = drawing.subfigures(2, squeeze=False, height_ratios=heights).ravel()
    _draw_bars(upper.subplots(), cells, names)
    lower.suptitle(
        f"A photograph in {segmentation.n_colours} colours: {_verdict(segmentation.agreement)}",
        fontsize=11,
        fontweight="bold",
    )
    panels = lower.subplots(1, 2)
    for axes, (name, image) in zip(panels, segmentation.images.items(), strict=True):
        axes.imshow(image)
        axes.set_axis_off()
        axes.set_title(name, fontsize=10)
    return drawing


def _verdict(agreement: float) -> str:
    """What an adjusted Rand index says of two partitions, without rounding it to equality."""
    if agreement == 1:
        return "the same clusters"
    verdict = "the same clusters up to ties" if agreement > 0.999 else "the clusters differ"
    return f"{verdict} (adjusted Rand index {agreement_text(agreement)})"


def _draw_bars(axes: Axes, cells: Sequence[Cell], names: Sequence[str]) -> None:
    """One group of bars per workload, each with its seconds and its ratio written at its end."""
    places = np.arange(len(cells)) * (len(names) + 0.8)
    for i, name in enumerate(names):
        # A peer may be missing from some workloads, its place in the group then stays empty.
        drawn = [
            (at + i, cell) for at, cell in zip(places, cells, strict=True) if name in cell.results
        ]
        heights = [at for at, _ in drawn]
        medians = [cell.results[name].median for _, cell in drawn]
        axes.barh(heights, medians, height=0.92, color=COLOURS[i % len(COLOURS)], label=name)
        for (at, cell), median in zip(drawn, medians, strict=True):
            text = axes.annotate(
                duration(median),
                (median, at),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
            if name != cell.subject:
                axes.annotate(
                    ratio_text(cell, name, 1, "×"),
                    (1, 0),
                    xycoords=text,
                    xytext=(7, 0),
                    textcoords="offset points",
                    va="bottom",
                    fontsize=8,
                    fontweight="bold",
                )
    _frame_bars(axes, cells, places + (len(names) - 1) / 2)


def _tick(seconds: float, position: float) -> str:
    """A power of ten of seconds."""
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"


def _frame_bars(axes: Axes, cells: Sequence[Cell], middles: npt.NDArray[np.floating[Any]]) -> None:
    """Scale, ticks, title and legend of the bars."""
    medians = [result.median for cell in cells for result in cell.results.values()]
    axes.set_xscale("log")
    # Half a decade on the right holds the text of the longest bar.
    axes.set_xlim(min(medians) / 3, max(medians) * 4)
    axes.xaxis.set_major_formatter(_tick)
    label = "median time of a fit (logarithmic)"
    if not all(cell.same_work(name) for cell in cells for name in cell.peers):
        label += "\n* not the same clusters or iterations: the ratio compares different work"
        alike = like_for_like(cells)
        if alike is not None:
            label += f" (geometric mean without these: {alike:.1f}×)"
    axes.set_xlabel(label, fontsize=9)
    labels = [
        f"{w.name}\n{w.n_samples:,}×{w.n_features}, k={w.n_clusters}"
        for w in (cell.workload for cell in cells)
    ]
    axes.set_yticks(middles, labels, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    subject, reference = cells[0].subject, cells[0].peers[0]
    mean, _ = geometric_means(cells)[reference]
    axes.set_title(
        f"k-means: {subject} is {mean:.1f}× as fast as {reference} (geometric mean)",
        fontsize=11,
        fontweight="bold",
        pad=24,
    )
    # Between the title and the bars, where it hides none of them.
    axes.legend(
        frameon=False,
        fontsize=9,
        ncols=4,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        borderaxespad=0.2,
    )
