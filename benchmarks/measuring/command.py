"""The command line of targets: rows that are measured, shown, and written to a file."""

from __future__ import annotations

import argparse
import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.measuring.cells import Cell, measure_cell
from benchmarks.measuring.figures import Outcome, say, table
from benchmarks.measuring.turns import FULL, QUICK, Effort
from fastclust.commands.documents import machine, versions
from fastclust.commands.engines import Competitor, competitors
from fastclust.workloads import workloads

FORMAT = "fastclust-targets/1"


class Session:
    """The rows of one call of this script, and what they share.

    Parameters
    ----------
    effort : Effort
        How much is done.
    rows : sequence of str
        Names of the rows that will be measured.
    """

    def __init__(self, effort: Effort, rows: Sequence[str] = ()) -> None:
        self.effort = effort
        self.rows = rows

    @cached_property
    def cells(self) -> list[Cell]:
        """Fits to the workloads of the full profile, by all engines that the rows ask for."""
        return [measure_cell(w, self.entrants[0], self.effort) for w in workloads("full")]

    @cached_property
    def entrants(self) -> tuple[list[Competitor], list[str]]:
        """The engines, and a line for each that is not installed."""
        return competitors(peers="peers" in self.rows)


Rows: TypeAlias = Mapping[str, Callable[[Session], Outcome]]


def document(
    outcomes: Mapping[str, Outcome], effort: Effort, failed: Mapping[str, str]
) -> dict[str, Any]:
    """What the JSON file holds.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
        By the name of the row.
    effort : Effort
        How much was done.
    failed : mapping of str to str
        Type of the error, by the name of a row that could not be measured.

    Returns
    -------
    dict
        Of JSON's types only.  Nothing in it tells whose machine it was.
    """
    return {
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": machine(),
        "effort": asdict(effort),
        "figures": [
            asdict(figure) | {"verdict": figure.verdict}
            for outcome in outcomes.values()
            for figure in outcome.figures
        ],
        "notes": {name: outcome.notes for name, outcome in outcomes.items()},
        "details": {name: outcome.details for name, outcome in outcomes.items()},
        "failed": dict(failed),
    }


def show(outcomes: Mapping[str, Outcome], failed: Mapping[str, str], effort: Effort) -> None:
    """Print what was measured to the standard output.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
        By the name of the row.
    failed : mapping of str to str
        Type of the error, by the name of a row that could not be measured.
    effort : Effort
        How much was done.
    """
    if effort.divisor > 1:
        print(f"number of rows divided by {effort.divisor}: a trial run, not the figures\n")
    print(table([figure for outcome in outcomes.values() for figure in outcome.figures]))
    for name, outcome in outcomes.items():
        print(f"\n{name}")
        for note in outcome.notes:
            print(f"  {note}")
    for name, error in failed.items():
        print(f"\n{name}: not measured ({error})")


def listing(rows: Rows) -> str:
    """Names of the rows and what they measure, as text."""
    width = max(map(len, rows))
    lines = []
    for name, function in rows.items():
        summary = (function.__doc__ or "").splitlines()[0]
        lines.append(f"{name:<{width}}  {summary}")
    return "\n".join(lines)


def parse(argv: Sequence[str] | None, rows: Rows, output: str) -> argparse.Namespace:
    """Read the command line.

    Parameters
    ----------
    argv : sequence of str or None
        The arguments; by default those of the process.
    rows : mapping of str to callable
        The rows that can be named.
    output : str
        Name of the JSON file by default, less its ending.

    Returns
    -------
    argparse.Namespace
        Their values.
    """

    def row(text: str) -> str:
        if text not in rows:
            known = ", ".join(rows)
            raise argparse.ArgumentTypeError(f"no row is named {text!r}: they are {known}")
        return text

    parser = argparse.ArgumentParser(description="Measure the figures that fastclust publishes.")
    add = parser.add_argument
    add("rows", nargs="*", type=row, metavar="ROW", help="rows to measure (default: all)")
    add("--quick", action="store_true", help="a trial run: a twentieth of the rows, one repeat")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help=f"JSON file to write (default: {output}.json, with --quick {output}-quick.json)",
    )
    add("--list", action="store_true", help="list the rows and exit")
    args = parser.parse_args(argv)
    if args.output is None:
        args.output = Path(f"{output}-quick.json" if args.quick else f"{output}.json")
    return args


def main(argv: Sequence[str] | None = None, *, rows: Rows, output: str) -> int:
    """Run the script.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.
    rows : mapping of str to callable
        What can be measured.
    output : str
        Name of the JSON file by default, less its ending.

    Returns
    -------
    int
        Exit status: 0, 1 if a row could not be measured, 130 if interrupted.
    """
    args = parse(argv, rows, output)
    if args.list:
        print(listing(rows))
        return 0
    effort = QUICK if args.quick else FULL
    chosen = [name for name in rows if name in args.rows] or list(rows)
    return measure(Session(effort, chosen), args.output, rows)


def measure(session: Session, output: Path, rows: Rows) -> int:
    """Measure the rows of a session, show them and write them to a file.

    Parameters
    ----------
    session : Session
        What to measure.
    output : Path
        The file; it is written anew after every row, so that an interruption loses only one.
    rows : mapping of str to callable
        How each row is measured.

    Returns
    -------
    int
        Exit status: 0, 1 if a row could not be measured, 130 if interrupted.
    """
    outcomes: dict[str, Outcome] = {}
    failed: dict[str, str] = {}
    interrupted = False
    for i, name in enumerate(session.rows, start=1):
        say(f"[{i}/{len(session.rows)}] {name}")
        try:
            outcomes[name] = rows[name](session)
        except KeyboardInterrupt:
            interrupted = True
            break
        except Exception as error:
            # One row's peer or platform must not cost the others' hours.
            traceback.print_exc()
            failed[name] = type(error).__name__
        text = json.dumps(document(outcomes, session.effort, failed), indent=2, ensure_ascii=False)
        output.write_text(text + "\n", encoding="utf-8")
    show(outcomes, failed, session.effort)
    if interrupted:
        return 130
    return 1 if failed else 0


def merged(before: dict[str, Any], now: dict[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """Results with the rows that others have from before, if as much was done for them."""
    if before.get("effort") != now["effort"]:
        return now
    rows = {row: now if row in now["details"] else before for row in before["details"]}
    rows |= dict.fromkeys(now["details"], now)
    figures = [
        figure
        for row in order
        if row in rows
        for figure in rows[row]["figures"]
        if figure["row"] == row
    ]
    parts = {
        part: {row: rows[row][part][row] for row in order if row in rows}
        for part in ("notes", "details")
    }
    return now | {"figures": figures, **parts}


def measure_again(session: Session, output: Path, rows: Rows, order: Sequence[str]) -> int:
    """As :func:`measure`; rows that the file has from before are kept, in this order of all."""
    part = output.with_name(output.name + ".part")
    status = measure(session, part, rows)
    if part.exists():
        before = json.loads(output.read_text("utf-8")) if output.exists() else {}
        found = merged(before, json.loads(part.read_text("utf-8")), order)
        text = json.dumps(found, indent=2, ensure_ascii=False)
        output.write_text(text + "\n", encoding="utf-8")
        part.unlink()
    return status
