"""``fastclust compare``: fastclust against scikit-learn on the workloads, a table and a figure.

What is compared, and how, is `comparison`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from fastclust.workloads import PROFILES, SINGLE, workloads

from . import documents, options
from .comparison import Cell, compare, geometric_means, like_for_like
from .comparison_figure import figure, segment
from .comparison_text import remarks, show
from .engines import competitors, engine_notes
from .measuring import SEED, busy
from .progress import progress

STEM = "fastclust-compare"


def listing() -> str:
    """The table of all workloads as text.

    Returns
    -------
    str
        One line per workload, under the name of its profile.
    """
    lines = []
    for profile, members in {**PROFILES, "quick, with --peers": SINGLE}.items():
        lines.append(f"{profile}:")
        for w in members:
            shape = f"{w.n_samples}×{w.n_features}"
            lines.append(
                f"  {w.name:<17} {shape:>10}  k={w.n_clusters:<5}{w.dtype}  {w.description}"
            )
    return "\n".join(lines)


def document(cells: Sequence[Cell], notes: Sequence[str], repeats: int) -> dict[str, Any]:
    """The results as what ``fastclust-compare.json`` holds.

    Parameters
    ----------
    cells : sequence of Cell
        The results, of at least one workload.
    notes : sequence of str
        Remarks on them.
    repeats : int
        Timed fits of each.

    Returns
    -------
    dict
        Of JSON's types only.
    """
    return documents.head(STEM, repeats, notes) | {
        "fit": {"init": "k-means++", "n_init": 1, "random_state": SEED},
        "subject": cells[0].subject,
        "reference": cells[0].peers[0],
        "workloads": [_cell_document(cell) for cell in cells],
        "geometric_means": {name: mean for name, (mean, _) in geometric_means(cells).items()},
        "like_for_like_geometric_mean": like_for_like(cells),
    }


def _cell_document(cell: Cell) -> dict[str, Any]:
    return documents.shape(cell.workload) | {
        "results": {
            name: {
                "seconds": list(result.seconds),
                "median_seconds": result.median,
                "n_iter": result.n_iter,
                "inertia": result.inertia,
                "inertia_relative_difference": cell.excess(name),
                "adjusted_rand_index": result.agreement,
            }
            for name, result in cell.results.items()
        },
        "ratios": {name: cell.ratio(name) for name in cell.peers},
        "same_work": {name: cell.same_work(name) for name in cell.peers},
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, as every command does."""
    add = parser.add_argument
    add(
        "--profile",
        choices=list(PROFILES),
        default="quick",
        help="workloads to run: quick takes seconds, full minutes (default: quick)",
    )
    add(
        "--only",
        nargs="+",
        type=options.workload,
        metavar="NAME",
        help="run these workloads instead, of either profile",
    )
    add("--peers", action="store_true", help="also time scikit-learn-intelex and faiss")
    add("--list", action="store_true", help="list the workloads and exit")
    options.add_output(parser, STEM)


def command(args: argparse.Namespace) -> int:
    """Run the command, as every one is run."""
    if args.list:
        print(listing())
        return 0
    return options.guarded("compare", args, partial(_run, args))


def _run(args: argparse.Namespace) -> int:
    # A workload named twice is run once.
    chosen = tuple(dict.fromkeys(args.only)) if args.only else workloads(args.profile)
    if args.peers and not args.only and args.profile == "quick":
        chosen += SINGLE
    entrants, notes = competitors(args.peers)
    notes += [*engine_notes(entrants, {each.dtype for each in chosen}), *args.note]
    fancy = not args.no_progress
    cells: list[Cell] = []
    segmentation = None
    with options.interruptible(cells) as ended:
        with progress(chosen, fancy) as report:
            for cell in compare(chosen, entrants, args.repeats, SEED, report):
                cells.append(cell)
        segmentation = None if args.no_figure else segment(entrants)
    if cells:
        notes += [*ended.notes, *remarks(cells), *busy(_seconds(cells))]
        show(cells, notes, fancy)
        drawing = None if args.no_figure else figure(cells, segmentation)
        documents.write(args.output, STEM, document(cells, notes, args.repeats), drawing, dpi=150)
    return ended.status


def _seconds(cells: Sequence[Cell]) -> dict[str, tuple[float, ...]]:
    """All timings, by what was timed."""
    return {
        f"{name} on {cell.workload.name}": result.seconds
        for cell in cells
        for name, result in cell.results.items()
    }
