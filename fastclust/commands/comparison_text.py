"""The results of a comparison as text: a table, its remarks and its summary."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .comparison import Cell, geometric_means, like_for_like
from .tables import aligned, fits, rich_table

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 100
# Title of each column, and whether it holds text (aligned left) rather than a number.
COLUMNS = {
    "workload": True,
    "n×d": False,
    "k": False,
    "dtype": True,
    "engine": True,
    "seconds": False,
    "ratio": False,
    "iter": False,
    "inertia": False,
    "rel.diff": False,
    "ARI": False,
}
# Left out on a narrow terminal, in this order, until no text of the others has to be cut.
LEFT_OUT = ("dtype", "inertia", "iter", "n×d", "k", "ARI", "rel.diff")
# More digits do not tell partitions apart that differ in one row of a million.
ALMOST = 0.99995


def ratio_text(cell: Cell, name: str, decimals: int, sign: str = "") -> str:
    """A ratio, starred where it compares different work; the blank keeps columns aligned."""
    return f"{cell.ratio(name):.{decimals}f}{sign}{' ' if cell.same_work(name) else '*'}"


def agreement_text(agreement: float) -> str:
    """An adjusted Rand index: a bare 1 is an exact one, no other is rounded to it.

    Examples
    --------
    >>> agreement_text(1.0), agreement_text(0.99999), agreement_text(0.9996)
    ('1', '<1', '0.9996')
    """
    if agreement == 1:
        return "1"
    return f"{agreement:.4f}" if agreement < ALMOST else "<1"


def _rows(cell: Cell) -> list[dict[str, str]]:
    """One row of text per competitor; what they share is in the first one only."""
    rows = []
    for name, result in cell.results.items():
        row = dict.fromkeys(COLUMNS, "")
        row["engine"] = name
        row["seconds"] = f"{result.median:.4f}"
        row["ratio"] = "" if name == cell.subject else ratio_text(cell, name, 2)
        row["iter"] = str(result.n_iter)
        row["inertia"] = f"{result.inertia:.4e}"
        excess = cell.excess(name)
        row["rel.diff"] = f"{excess:+.0e}" if excess else "0"
        row["ARI"] = agreement_text(result.agreement)
        rows.append(row)
    workload = cell.workload
    rows[0]["workload"] = workload.name
    rows[0]["n×d"] = f"{workload.n_samples}×{workload.n_features}"
    rows[0]["k"] = str(workload.n_clusters)
    rows[0]["dtype"] = workload.dtype
    return rows


def plain_table(cells: Sequence[Cell]) -> str:
    """The results as aligned text.

    Parameters
    ----------
    cells : sequence of Cell
        The results.

    Returns
    -------
    str
        A head, a rule and one line per workload and competitor, within 100 columns.
    """
    return aligned(COLUMNS, [row for cell in cells for row in _rows(cell)])


def terminal_table(cells: Sequence[Cell], width: int = WIDTH) -> Table:
    """The results as a table for a terminal.

    Parameters
    ----------
    cells : sequence of Cell
        The results.
    width : int
        Columns of the terminal; where it is narrow, what matters least is left out.

    Returns
    -------
    rich.table.Table
        One row per workload and competitor, the ratio green where the subject is the faster one
        and red where it is the slower one.
    """
    columns = dict(COLUMNS)
    rows = [row for cell in cells for row in _rows(cell)]
    for title in LEFT_OUT:
        if fits(columns, rows, width):
            break
        del columns[title]
    styles = [
        {"ratio": "bold green" if cell.ratio(name) >= 1 else "bold red"}
        for cell in cells
        for name in cell.results
    ]
    return rich_table(columns, rows, styles)


def summary(cells: Sequence[Cell]) -> str:
    """The geometric means in one line.

    Parameters
    ----------
    cells : sequence of Cell
        The results, of at least one workload.

    Returns
    -------
    str
        The line.
    """
    means = [
        f"{name} {mean:.2f} ({count}" for name, (mean, count) in geometric_means(cells).items()
    ]
    means[0] += " workloads" if len(cells) > 1 else " workload"
    return f"geometric mean of the ratios: {', '.join(f'{mean})' for mean in means)}"


def remarks(cells: Sequence[Cell]) -> list[str]:
    """What a reader must know of the ratios to the reference.

    Parameters
    ----------
    cells : sequence of Cell
        The results, of at least one workload.

    Returns
    -------
    list of str
        Lines which name the workloads where subject and reference did different work, and give
        the geometric mean without them, and those where they differ by ties; none if there is no
        such workload.
    """
    reference = cells[0].peers[0]
    ties = [cell.workload.name for cell in cells if _differs_by_ties(cell)]
    lines = []
    if ties:
        lines = [
            "ARI just below 1 at equal inertia: rows as far from one center as from another (up to",
            f"  rounding), which each engine gives to either: {', '.join(ties)}",
        ]
    apart = [cell.workload.name for cell in cells if not cell.same_work(reference)]
    if not apart:
        return lines
    lines += [
        f"* {cells[0].subject} and {reference} ended in other clusters or after another number of",
        f"  iterations, their ratio compares different work: {', '.join(apart)}",
    ]
    alike = like_for_like(cells)
    if alike is not None:
        lines.append(f"  geometric mean without these: {reference} {alike:.2f}")
    return lines


def _differs_by_ties(cell: Cell) -> bool:
    """Whether subject and reference did the same work, and differ in rows between two centers."""
    agreement = cell.results[cell.subject].agreement
    alike = abs(cell.excess(cell.subject)) < 1e-6
    return agreement < 1 and alike and cell.same_work(cell.peers[0])


def show(cells: Sequence[Cell], notes: Sequence[str], fancy: bool) -> None:
    """Print results to the standard output.

    Parameters
    ----------
    cells : sequence of Cell
        The results, of at least one workload.
    notes : sequence of str
        Lines to print below the table.
    fancy : bool
        Whether rich draws the table if the output is a terminal.
    """
    if fancy and sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        console.print(terminal_table(cells, console.width))
    else:
        print(plain_table(cells))
    for line in [*notes, summary(cells)]:
        print(line)
