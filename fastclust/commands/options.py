"""The options that commands share, and what is checked before any of them measures."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fastclust.workloads import MissingExtraError, Workload, get


class OptionError(ValueError):
    """Options that are each right do not fit together; the message names them."""


def workload(text: str) -> Workload:
    """The workload of that name, for argparse."""
    try:
        return get(text)
    except ValueError as error:
        # The one type of error whose message argparse shows.
        raise argparse.ArgumentTypeError(str(error)) from None


def count(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def directory(text: str) -> Path:
    """A directory, which may be still to make, for argparse."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"must be a directory, and {text!r} is a file")
    return path


def require(package: str, purpose: str, option: str) -> None:
    """Check that a package of the extra ``cli`` can be imported.

    Parameters
    ----------
    package : str
        Its name.
    purpose : str
        What it is needed for.
    option : str
        The option that makes it unnecessary.

    Raises
    ------
    MissingExtraError
        If it cannot.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f'{purpose} needs {package}: pip install "fastclust[cli]", or give {option}'
        ) from error


def add_output(parser: argparse.ArgumentParser, stem: str, repeats: int = 3) -> None:
    """Declare the options of all commands: how often, where to, and what to leave out.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        To which they are added.
    stem : str
        Name of the command's files.
    repeats : int
        Default of ``--repeats``.
    """
    add = parser.add_argument
    add(
        "--repeats",
        type=count,
        default=repeats,
        metavar="N",
        help=f"timed runs of each, at least (default: {repeats})",
    )
    add(
        "--output",
        type=directory,
        default=Path(),
        metavar="DIR",
        help=f"where {stem}.json and {stem}.png go (default: the current directory)",
    )
    add("--note", action="append", default=[], metavar="TEXT", help="a remark to keep in the JSON")
    add("--no-figure", action="store_true", help="no figure; matplotlib is not needed")
    add(
        "--no-progress",
        action="store_true",
        help="no progress bar and a plain table; rich is not needed",
    )


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Declare ``--profile`` of an experiment.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        To which it is added.
    """
    parser.add_argument(
        "--profile",
        choices=["quick", "full"],
        default="quick",
        help="how much is measured: quick takes a minute or less, full many (default: quick)",
    )


def check_clusters(clusters: Sequence[int], n_samples: int) -> None:
    """Check that there are rows for all clusters.

    Parameters
    ----------
    clusters : sequence of int
        The values of ``--clusters``.
    n_samples : int
        Number of rows.

    Raises
    ------
    OptionError
        If there are too few.
    """
    if max(clusters) > n_samples:
        raise OptionError(
            f"argument --clusters: {max(clusters)} are more than the {n_samples} rows"
        )


class Ending:
    """How a command's measuring came to its end; see :func:`interruptible`.

    Attributes
    ----------
    status : int
        Exit status of the command.
    notes : list of str
        What is to be said of it beside the results.
    """

    def __init__(self) -> None:
        self.status = 0
        self.notes: list[str] = []


@contextlib.contextmanager
def interruptible(results: Sequence[Any]) -> Iterator[Ending]:
    """Let Ctrl-C end the measuring and no more: finished results are shown and written.

    Parameters
    ----------
    results : sequence
        Those which are finished; it grows in the block.

    Yields
    ------
    Ending
        With status 130 and a note, once the block was interrupted.
    """
    ending = Ending()
    try:
        yield ending
    except KeyboardInterrupt:
        ending.status = 130
        print("interrupted: results so far" if results else "interrupted: no results so far")
        ending.notes.append("interrupted: the workloads that are missing were not measured")


def guarded(name: str, args: argparse.Namespace, action: Callable[[], int]) -> int:
    """Run a command once its packages and its directory are known to be there.

    Parameters
    ----------
    name : str
        The command, as in messages.
    args : argparse.Namespace
        Values of the options of `add_output`.
    action : callable
        The command; returns its exit status.

    Returns
    -------
    int
        Exit status; 2 if something needed is missing.
    """
    try:
        # Before the fits rather than after them.
        if not args.no_progress:
            require("rich", "the progress bar", "--no-progress")
        if not args.no_figure:
            require("matplotlib", "the figure", "--no-figure")
        args.output.mkdir(parents=True, exist_ok=True)
        return action()
    except (MissingExtraError, OptionError, OSError) as error:
        print(f"fastclust {name}: error: {error}", file=sys.stderr)
        return 2
