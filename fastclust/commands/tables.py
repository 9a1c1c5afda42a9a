"""Tables of results, as aligned text and, on a terminal, as rich draws them.

A table is its columns, each a title and whether it holds text (aligned left) rather than a number,
and its rows, each a text for every title.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.table import Table

Columns: TypeAlias = Mapping[str, bool]
Row: TypeAlias = Mapping[str, str]


def aligned(columns: Columns, rows: Sequence[Row]) -> str:
    """A table as plain text.

    Parameters
    ----------
    columns : mapping of str to bool
        Whether a column holds text, by its title.
    rows : sequence of mapping of str to str
        One text for each title.

    Returns
    -------
    str
        A head, a rule and a line for each row.

    Examples
    --------
    >>> print(aligned({"name": True, "k": False}, [{"name": "blobs", "k": "10"}]))
    name   k
    ----- --
    blobs 10
    """
    widths = _widths(columns, rows)

    def line(row: Row) -> str:
        fields = (
            row[title].ljust(widths[title]) if is_text else row[title].rjust(widths[title])
            for title, is_text in columns.items()
        )
        return " ".join(fields).rstrip()

    head = line({title: title for title in columns})
    rule = " ".join("-" * width for width in widths.values())
    return "\n".join([head, rule, *map(line, rows)])


def _widths(columns: Columns, rows: Sequence[Row]) -> dict[str, int]:
    """Characters that each column needs."""
    return {title: max(len(row[title]) for row in [{title: title}, *rows]) for title in columns}


def fits(columns: Columns, rows: Sequence[Row], width: int) -> bool:
    """Whether a table has room in a terminal, one blank between columns.

    Parameters
    ----------
    columns, rows
        As for `aligned`.
    width : int
        Columns of the terminal.

    Returns
    -------
    bool
        Whether no text of it would have to be cut.
    """
    return sum(_widths(columns, rows).values()) + len(columns) <= width


def rich_table(columns: Columns, rows: Sequence[Row], styles: Sequence[Row] | None = None) -> Table:
    """A table for a terminal.

    Parameters
    ----------
    columns, rows
        As for `aligned`.
    styles : sequence of mapping of str to str, optional
        For each row, rich's styles of some of its texts.

    Returns
    -------
    rich.table.Table
        One blank between columns, and no frame.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for title, is_text in columns.items():
        table.add_column(title, justify="left" if is_text else "right", no_wrap=True)
    for row, style in zip(rows, styles or [{}] * len(rows), strict=True):
        # As Text, brackets are brackets and no markup.
        table.add_row(*(Text(row[title], style.get(title, "")) for title in columns))
    return table


def print_table(columns: Columns, rows: Sequence[Row], fancy: bool) -> None:
    """Print a table to the standard output.

    Parameters
    ----------
    columns, rows
        As for `aligned`.
    fancy : bool
        Whether rich draws it if the output is a terminal that has room for it; rich would cut
        numbers where it has not.
    """
    if fancy and sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        if fits(columns, rows, console.width):
            console.print(rich_table(columns, rows))
            return
    print(aligned(columns, rows))
