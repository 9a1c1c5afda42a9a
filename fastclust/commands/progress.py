"""What a command shows while it measures: a bar on a terminal, lines elsewhere.

rich, of the extra ``cli``, is imported where it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, TypeAlias

from fastclust.workloads import Workload

# Told of each step as it begins: the workload, what is done, and the share of it already done.
Report: TypeAlias = Callable[[Workload, str, float], None]


def silent(workload: Workload, phase: str, share: float) -> None:
    """Report to nobody."""


@contextmanager
def progress(chosen: Sequence[Workload], wanted: bool) -> Iterator[Report]:
    """Show on the standard error how far the measuring is.

    A bar with the workload, the step and the time left if it is a terminal, a line for each
    workload if it is not. The bar is drawn anew when a step begins and never in between: a
    thread which redraws it would take time from the fits that are timed.

    Parameters
    ----------
    chosen : sequence of Workload
        The workloads which will be run.
    wanted : bool
        If false, nothing is shown and rich is not needed.

    Yields
    ------
    callable
        The ``report`` to give to whatever measures.
    """
    if not wanted:
        yield silent
        return
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        yield from _bar(chosen, console)
    else:
        yield _lines(chosen)


def _lines(chosen: Sequence[Workload]) -> Report:
    """Report each workload by a line as it begins."""
    begun: set[str] = set()

    def report(workload: Workload, phase: str, share: float) -> None:
        if workload.name not in begun:
            begun.add(workload.name)
            text = f"[{len(begun)}/{len(chosen)}] {workload.name}"
            print(text, file=sys.stderr, flush=True)

    return report


def _bar(chosen: Sequence[Workload], console: Any) -> Iterator[Report]:
    """Report by a bar whose length is the expected time."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    # An iteration's time is about proportional to this (measured with scikit-learn: finding the
    # least of the distances costs about as much as twelve features). The number of iterations
    # is not known beforehand.
    costs = [w.n_samples * w.n_clusters * (w.n_features + 12) for w in chosen]
    ends = dict(zip((w.name for w in chosen), accumulate(costs), strict=True))
    spans = dict(zip((w.name for w in chosen), costs, strict=True))
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeLeft())
    # A single fit may take longer than the half minute over which rich measures the speed.
    bar = Progress(
        *columns, console=console, transient=True, auto_refresh=False, speed_estimate_period=3600
    )
    with bar:
        task = bar.add_task("", total=sum(costs))

        def report(workload: Workload, phase: str, share: float) -> None:
            done = ends[workload.name] - (1 - share) * spans[workload.name]
            text = f"{workload.name:<15} {phase:<32}"
            bar.update(task, completed=done, description=text, refresh=True)

        yield report


def announcer(wanted: bool) -> Callable[[str], None]:
    """Tell by a line on the standard error what is measured next.

    A line stays as it is while a kernel is timed: a thread that draws would take time from it.

    Parameters
    ----------
    wanted : bool
        If false, nothing is shown.

    Returns
    -------
    callable
        To be given each line.
    """

    def announce(text: str) -> None:
        if wanted:
            print(text, file=sys.stderr, flush=True)

    return announce
