"""The command ``fastclust``, also ``python -m fastclust``.

Every sub-command is a module with ``add_arguments(parser)``, which declares its options, and
``command(args)``, which runs it and returns the exit status. Adding one is adding a line to
`COMMANDS`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import version

# Name, module and what it does.
COMMANDS = (
    (
        "compare",
        "fastclust.compare",
        "time fastclust against scikit-learn on this machine and check that the clusters agree",
    ),
)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Returns
    -------
    argparse.ArgumentParser
        Which sets ``command``, to be called with the values it parsed.
    """
    parser = argparse.ArgumentParser(
        prog="fastclust",
        description="Exact k-means several times faster than scikit-learn's.",
    )
    parser.add_argument("--version", action="version", version=f"fastclust {version('fastclust')}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, module_name, text in COMMANDS:
        module = importlib.import_module(module_name)
        subparser = subparsers.add_parser(name, help=text, description=f"{text.capitalize()}.")
        module.add_arguments(subparser)
        subparser.set_defaults(command=module.command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        Exit status.
    """
    try:
        args = build_parser().parse_args(argv)
        status: int = args.command(args)
    except KeyboardInterrupt:
        # Where a sub-command has nothing to save; 130 is 128 + SIGINT, as shells have it.
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
